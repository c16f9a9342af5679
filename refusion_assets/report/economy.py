"""Understands the shared solution's economy as people read it: tables, a plot by size, and bills as files."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from refusion_assets import figures
from refusion_assets.domain.faelles.aftale import Aftale, Enhed, units
from refusion_assets.domain.faelles.deling import MEASURES, Aendring, Deling, Klassepris, class_prices, half_up
from refusion_assets.domain.faelles.driftspris import Driftslinje, Maanedspris
from refusion_assets.domain.wording import as_cell, kroner, kroner_text, plural, thousands
from refusion_assets.files.estimate import Tabel
from refusion_assets.store import durable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEYS = {
    "indbyggere": "efter indbyggertal",
    "stoerrelse": "efter størrelse, lige inden for en klasse",
    "forbrug": "efter forbrug",
    "faste_andele": "faste andele",
    "lige": "lige",
}
EACH, SIDES = "#1b6ca8", ("#1b6ca8", "#d1495b", "#8a6d3b", "#2d6a4f")


def amount(value: int, enhed: Enhed) -> str:
    """An amount with its unit: øre as kroner, or whole hours."""
    return f"{thousands(value)} timer" if enhed == "timer" else kroner_text(value)


def heading(deling: Deling) -> str:
    """The cost and its parties, in one line."""
    aftale = deling.aftale
    parties = plural(len(deling.parter), "part", "parter")
    return f"{aftale.id}: {aftale.navn}; {amount(deling.total, aftale.enhed)}, {parties}"


def sharing_tables(deling: Deling) -> list[Tabel]:
    """The tables of an agreement: its posts, the classes of each post by size, and what each party pays."""
    enhed = deling.aftale.enhed
    posts = list[tuple[str, ...]]()
    for post, value in zip(deling.aftale.poster, deling.beloeb, strict=True):
        measure = f" ({MEASURES[post.maal]})" if post.maal else ""
        posts.append((post.navn, f"{KEYS[post.noegle]}{measure}", amount(value, enhed)))
        posts += [(f"- {line.navn}", "", amount(units(line.beloeb, enhed) or 0, enhed)) for line in post.linjer]
    classes = [_class_table(name, prices, enhed) for name, prices in class_prices(deling).items()]
    return [Tabel("Poster", ("Post", "Deles", "Beløb"), posts, 2), *classes, _prices(deling)]


def _class_table(name: str, prices: Sequence[Klassepris], enhed: Enhed) -> Tabel:
    """The printed table of a post by size; the last row says what rounding alone would ask too much of all."""
    rows: list[tuple[str, ...]] = [
        (
            one.navn,
            thousands(one.antal),
            thousands(one.indbyggere),
            f"{one.promille // 10},{one.promille % 10}",
            amount(one.klassens, enhed),
            amount(one.hver, enhed),
            amount(one.antal * one.hver, enhed),
        )
        for one in prices
    ]
    sums = [sum(getattr(one, key) for one in prices) for key in ("antal", "indbyggere", "klassens")]
    paid = amount(sum(one.antal * one.hver for one in prices), enhed)
    rows.append(("I alt", thousands(sums[0]), thousands(sums[1]), "", amount(sums[2], enhed), "", paid))
    head = ("Klasse", "Parter", "Indbyggere", "Pct.", "Klassens", "Hver", "Alle i klassen")
    return Tabel(f"{name}, som en trykt tabel (hvert tal rundet for sig)", head, rows)


def _prices(deling: Deling) -> Tabel:
    """The price of each party: exact to the total, as printed, and by inhabitant where they are known."""
    enhed, paid = deling.aftale.enhed, deling.priser
    printed = deling.i_alt_trykt
    rows: list[tuple[str, ...]] = [
        (
            one.id,
            one.navn if one.kommune else "",
            "" if one.indbyggertal is None else thousands(one.indbyggertal),
            amount(paid[one.id], enhed),
            amount(printed[i], enhed),
            _by_inhabitant(paid[one.id], one.indbyggertal, enhed),
        )
        for i, one in enumerate(deling.parter)
    ]
    rows.append(("I alt", "", "", amount(deling.total, enhed), amount(sum(printed), enhed), ""))
    last = "Pr. indbygger" if enhed == "kroner" else "Pr. 1.000 indbyggere"
    return Tabel("Regninger", ("Part", "Navn", "Indbyggere", "Regning", "Som trykt", last), rows, 2)


def _by_inhabitant(value: int, inhabitants: int | None, enhed: Enhed) -> str:
    """The price by inhabitant, in kroner; in hours by a thousand of them. Empty where they are not known."""
    if not inhabitants:
        return ""
    hundredths = half_up(Fraction(value if enhed == "kroner" else 100_000 * value, inhabitants))
    text = kroner_text(hundredths)
    return text if enhed == "kroner" else text.replace("kr.", "timer")


def change_table(changes: Sequence[Aendring], enhed: Enhed) -> Tabel:
    """The price of each party before and after others join or leave, and the difference."""
    rows: list[tuple[str, ...]] = [
        (
            one.part.id,
            one.part.navn if one.part.kommune else "",
            "ikke med" if one.foer is None else amount(one.foer, enhed),
            "ikke med" if one.efter is None else amount(one.efter, enhed),
            amount(one.forskel, enhed),
        )
        for one in changes
    ]
    sums = [sum(getattr(one, key) or 0 for one in changes) for key in ("foer", "efter", "forskel")]
    rows.append(("I alt", "", *(amount(value, enhed) for value in sums)))
    return Tabel("Flere eller færre", ("Part", "Navn", "Før", "Efter", "Forskel"), rows, 2)


def others(aftaler: Sequence[Aftale], shown: str) -> Iterator[str]:
    """The other agreements of the file, a line each."""
    left = [aftale for aftale in aftaler if aftale.id != shown]
    if left:
        yield "Andre aftaler (refusion deling ID):"
    width = max((len(aftale.id) for aftale in left), default=0)
    yield from (f"  {aftale.id.ljust(width)}  {aftale.navn}" for aftale in left)


def sharing_plot(deling: Deling) -> str:
    """The price for an inhabitant by the size of the party (SVG), a dot for each; empty where none is known."""
    paid = deling.priser
    dots = [(one.indbyggertal, paid[one.id], one.gruppe) for one in deling.parter if one.indbyggertal]
    return figures.plot(partial(_dots, deling, dots), 7.5, 4.0) if dots else ""


def _dots(deling: Deling, dots: Sequence[tuple[int, int, str]], figure: "Figure") -> None:
    kroner_ = deling.aftale.enhed == "kroner"
    axes = figure.subplots(gridspec_kw={"left": 0.1, "right": 0.98, "bottom": 0.14, "top": 0.9})
    groups = sorted({gruppe for _, _, gruppe in dots})
    for place, name in enumerate(groups):
        mine = [(size, value) for size, value, gruppe in dots if gruppe == name]
        sizes = [size for size, _ in mine]
        rates = [value / size / 100 if kroner_ else 1000 * value / size for size, value in mine]
        axes.scatter(sizes, rates, s=18, color=SIDES[place % len(SIDES)], label=name or None, alpha=0.8)
    bounds = {k.fra for post in deling.aftale.poster for k in post.klasser if k.fra}
    for bound in sorted(bounds):
        axes.axvline(bound, color="#5c5c5c", linewidth=0.8, linestyle="--")
    axes.set_title("Kroner pr. indbygger" if kroner_ else "Timer pr. 1.000 indbyggere", loc="left")
    axes.set_xlabel("Indbyggere")
    axes.set_xscale("log")
    shown = [tick for tick in TICKS if min(dots)[0] <= tick <= max(dots)[0]]
    axes.set_xticks(shown, [thousands(tick) for tick in shown], minor=False)
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace(".", ","))
    axes.set_ylim(bottom=0)
    if len(groups) > 1:
        axes.legend(frameon=False)


TICKS = (1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)


def write_sharing(deling: Deling, folder: Path) -> list[Path]:
    """The bills of an agreement as a CSV file, a row for each party and post, and its plot; the paths."""
    aftale = deling.aftale
    money = aftale.enhed == "kroner"
    rows = deling.rows().select(
        pl.col("aftale").alias("Aftale"),
        as_cell(pl.col("part")).alias("Part"),
        as_cell(pl.col("navn")).alias("Navn"),
        as_cell(pl.col("gruppe")).alias("Gruppe"),
        pl.col("indbyggertal").alias("Indbyggertal"),
        as_cell(pl.col("post")).alias("Post"),
        pl.lit(aftale.enhed).alias("Enhed"),
        *(
            (kroner(pl.col(name)) if money else pl.col(name)).alias(title)
            for name, title in (("andel", "Andel"), ("trykt", "Som trykt"))
        ),
    )
    made = [_written(folder / f"deling-{aftale.id}.csv", _csv(rows))]
    if svg := sharing_plot(deling):
        made.append(_written(folder / f"deling-{aftale.id}.svg", svg))
    return made


def write_change(aftale: Aftale, changes: Sequence[Aendring], folder: Path) -> Path:
    """The price of each party before and after, as a CSV file; empty where it takes no part."""
    head = ("Part", "Navn", "Før", "Efter", "Forskel")
    cells = [(one.part.id, one.part.navn, one.foer, one.efter, one.forskel) for one in changes]
    schema = dict(zip(head, (pl.String, pl.String, pl.Int64, pl.Int64, pl.Int64), strict=True))
    rows = pl.DataFrame(cells, schema=schema, orient="row").with_columns(
        as_cell(pl.col(name)).alias(name) for name in head[:2]
    )
    if aftale.enhed == "kroner":
        rows = rows.with_columns(kroner(pl.col(name)).alias(name) for name in head[2:])
    return _written(folder / f"deling-{aftale.id}-aendring.csv", _csv(rows))


def price_tables(price: Maanedspris) -> list[Tabel]:
    """The price of a calendar month as tables: each function, and what the law asks for apart from the rest."""
    rows: list[tuple[str, ...]] = [
        (
            row["funktion"],
            "ja" if row["lovpligtig"] else "nej",
            _seconds(row["ms"]),
            _seconds(row["ms_kritisk"]),
            kroner_text(row["fast_oere"]),
            kroner_text(row["kritisk_oere"]),
            kroner_text(row["fast_oere"] + row["kritisk_oere"]),
        )
        for row in price.rows.iter_rows(named=True)
    ]
    law, rest = price.oere(lovpligtig=True), price.oere(lovpligtig=False)
    settled: list[tuple[str, ...]] = [
        ("Lovpligtigt", kroner_text(law)),
        ("Ikke lovpligtigt, afregnes for sig", kroner_text(rest)),
        ("I alt", kroner_text(law + rest)),
    ]
    head = ("Funktion", "Lovpligtig", "Sekunder", "I den kritiske uge", "Fast pris", "Tillæg", "I alt")
    volume = f"{thousands(price.maengde)} {VOLUMES[price.maal]}"
    step = f"trin fra {thousands(price.trin.fra)}"
    return [
        Tabel(f"{price.maaned:%Y-%m}, {volume} ({step})", head, rows, 2),
        Tabel("Afregnes", ("", "Kr."), settled),
    ]


VOLUMES = {"raekker": "afregnede rækker", "borgere": "afregnede borgere"}


def _seconds(ms: int) -> str:
    tenths = half_up(Fraction(ms, 100))
    return f"{thousands(tenths // 10)},{tenths % 10}"


def write_prices(prices: Sequence[Maanedspris], folder: Path) -> Path:
    """The price of each calendar month and function as a CSV file."""
    names = list(Driftslinje.to_schema().columns)
    rows = pl.concat([price.rows for price in prices]).select(names)
    table = rows.select(
        pl.col("maaned").dt.strftime("%Y-%m").alias("Måned"),
        as_cell(pl.col("funktion")).alias("Funktion"),
        pl.when("lovpligtig").then(pl.lit("ja")).otherwise(pl.lit("nej")).alias("Lovpligtig"),
        pl.col("ms").alias("Millisekunder"),
        pl.col("ms_kritisk").alias("Millisekunder i den kritiske uge"),
        kroner(pl.col("fast_oere")).alias("Fast pris"),
        kroner(pl.col("kritisk_oere")).alias("Tillæg"),
    )
    months = dict.fromkeys(f"{price.maaned:%Y-%m}" for price in (prices[0], prices[-1]))
    return _written(folder / f"driftspris-{'..'.join(months)}.csv", _csv(table))


def _csv(rows: pl.DataFrame) -> str:
    return rows.write_csv(separator=";", line_terminator="\n")


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write(path, text)
    return path
