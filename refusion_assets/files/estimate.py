"""Understands the output of an estimate: short tables, a plot, and a line per changed rule."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from refusion_assets import figures
from refusion_assets.domain.calendar import last_day, round_half_away
from refusion_assets.domain.konsekvens import COUNTS, FORSLAG, GAELDENDE, MONEY, UDEN_TRIN, WHERE, Virkning
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.rules.proposal import FORAELDELSE, Forskel
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import kroner, kroner_text, thousands
from refusion_assets.figures import table
from refusion_assets.files.outgoing import Outgoing, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_EACH_WAY = 10
BOOKS = {GAELDENDE: "gældende", FORSLAG: "forslag"}
GAIN, LOSS = "#1b6ca8", "#d1495b"
NET = {book: pl.col(f"refusion_oere_{book}") - pl.col(f"medfinansiering_oere_{book}") for book in (GAELDENDE, FORSLAG)}


@dataclass(frozen=True)
class Konsekvens:
    """The effect of a proposal on some benefit months, with the claims known to run `kendt`.

    `beregnet`: the warehouse already holds these months under the rules in force.
    """

    gaeldende: Rulebook
    forslag: Rulebook
    maaneder: tuple[date, ...]
    kendt: date
    forskelle: tuple[Forskel, ...]
    nye_konti: tuple[str, ...]
    virkning: Virkning
    beregnet: bool


@dataclass(frozen=True)
class Tabel:
    """A small table as text: title, headings and rows; the first `ord` columns are words, the rest numbers."""

    titel: str
    hoved: tuple[str, ...]
    raekker: list[tuple[str, ...]]
    ord: int = 1

    def lines(self) -> Iterator[str]:
        """The table for a terminal."""
        widths = [max(map(len, column)) for column in zip(self.hoved, *self.raekker, strict=True)]
        yield f"{self.titel}:"
        for row in (self.hoved, *self.raekker):
            cells = [
                text.ljust(width) if place < self.ord else text.rjust(width)
                for place, (text, width) in enumerate(zip(row, widths, strict=True))
            ]
            yield f"  {'  '.join(cells).rstrip()}"

    def markdown(self) -> str:
        """The table in Markdown."""
        return f"**{self.titel}**\n\n{table(self.hoved, self.raekker, self.ord)}"


def _tabel(titel: str, rows: pl.DataFrame, words: dict[str, str], more: dict[str, str]) -> Tabel:
    """A table of the money under both rule sets, in øre: columns `words` before it, columns `more` after it.

    `words`, `more`: heading by column. A null number becomes an empty cell.
    """
    cells = [
        (
            *(str(row[word]) for word in words),
            *map(kroner_text, (row[GAELDENDE], row[FORSLAG], row[FORSLAG] - row[GAELDENDE])),
            *(row[name] if isinstance(row[name], str) else _count(row[name]) for name in more),
        )
        for row in rows.iter_rows(named=True)
    ]
    return Tabel(titel, (*words.values(), "Gældende", "Forslag", "Forskel", *more.values()), cells, len(words))


def _count(number: int | None) -> str:
    return "" if number is None else thousands(number)


def _net(celler: pl.DataFrame, *by: str | pl.Expr) -> pl.DataFrame:
    """The municipalities' net amount under both rule sets (øre) and person-weeks, summed and sorted by `by`."""
    weeks = {f"uger_{book}": pl.col(f"personuger_{book}").sum() for book in NET}
    summed = {book: net.sum() for book, net in NET.items()} | weeks
    return celler.group_by(by).agg(**summed).sort(pl.all()) if by else celler.select(**summed)


def net_difference(result: Konsekvens) -> int:
    """The net difference of the proposal over all municipalities and months. Øre."""
    return int(result.virkning.celler.select((NET[FORSLAG] - NET[GAELDENDE]).sum()).item())


def _with_people(rows: pl.DataFrame, result: Konsekvens, *by: str) -> pl.DataFrame:
    """`rows` with the persons with changed money and with a changed step, by month, by municipality or over all."""
    asked = [pl.col(column).is_not_null() == (column in by) for column in WHERE]
    people = result.virkning.beroerte.filter(asked).select(*by, "borgere", "skifter")
    if not by:
        return pl.concat([rows, people.sum()], how="horizontal")
    joined = rows.join(people, on=by, how="left", maintain_order="left")
    return joined.with_columns(pl.col("borgere", "skifter").fill_null(0))


def _kommuner(result: Konsekvens) -> pl.DataFrame:
    """One row per municipality: name, net money under both rule sets, difference, persons with changed money."""
    kommuner = result.gaeldende.kommuner
    return (
        _with_people(_net(result.virkning.celler, "kommunekode"), result, "kommunekode")
        .with_columns(
            kommune=pl.col("kommunekode").replace(result.gaeldende.kommunenavne),
            indbyggere=pl.col("kommunekode").replace_strict({k.kommunekode: k.indbyggertal for k in kommuner}),
            forskel=pl.col(FORSLAG) - pl.col(GAELDENDE),
        )
        .sort("forskel", "kommunekode", descending=[True, False])
    )


def ydelse_navne(result: Konsekvens) -> dict[str, str]:
    """The name of every benefit and of fleksbidrag."""
    books = (result.gaeldende, result.forslag)
    fleksbidrag = {entry.id: entry.navn for book in books for entry in book.fleksbidrag}
    return fleksbidrag | {y.ydelse_id: y.navn for book in books for y in book.ydelser}


def _by_month(result: Konsekvens) -> Tabel:
    """Net money by month, by year if there are several, and in all."""
    celler = result.virkning.celler
    months = _with_people(_net(celler, "maaned"), result, "maaned").with_columns(pl.col("maaned").dt.strftime("%Y-%m"))
    years = _net(celler, pl.format("{} i alt", pl.col("maaned").dt.year()).alias("maaned"))
    whole = _with_people(_net(celler), result).with_columns(maaned=pl.lit("I alt"))
    rows = pl.concat([months, years.filter(years.height > 1), whole], how="diagonal")
    more = {"borgere": "Borgere med andet beløb", "skifter": "Borgere på andet trin"}
    return _tabel("Netto til kommunerne, måned for måned", rows, {"maaned": "Måned"}, more)


def _by_kommune(result: Konsekvens, *, gain: bool) -> Tabel:
    """The municipalities with the largest gain, or the largest loss."""
    moved = _kommuner(result).filter(pl.col("forskel") > 0 if gain else pl.col("forskel") < 0)
    first = (moved if gain else moved.reverse()).head(MOST_EACH_WAY)
    each = round_half_away(first["forskel"].to_numpy(), first["indbyggere"].to_numpy()).tolist()
    rows = first.with_columns(hver=pl.Series(list(map(kroner_text, each)), dtype=pl.String))
    more = {"borgere": "Borgere med andet beløb", "hver": "Forskel pr. indbygger"}
    return _tabel(f"De kommuner, der får mest {'mere' if gain else 'mindre'}", rows, {"kommune": "Kommune"}, more)


def _by_ydelse(result: Konsekvens) -> Tabel:
    """Net money by benefit and side, if it differs."""
    moved = _net(result.virkning.celler, "ydelse_id", "side").filter(pl.col(GAELDENDE) != pl.col(FORSLAG))
    rows = moved.with_columns(pl.col("ydelse_id").replace(ydelse_navne(result))).sort("ydelse_id", "side")
    words = {"ydelse_id": "Ydelse", "side": "Side"}
    return _tabel("Netto til kommunerne for de ydelser, der flytter sig", rows, words, {})


def _by_step(result: Konsekvens) -> Tabel:
    """Net money and person-weeks by side and step."""
    rows = _net(result.virkning.celler, "side", "trin")
    named = rows.with_columns(pl.col("trin").map_elements(step, return_dtype=pl.String))
    more = {f"uger_{book}": f"Personuger {title}" for book, title in BOOKS.items()}
    return _tabel("Netto til kommunerne efter trin", named, {"side": "Side", "trin": "Trin"}, more)


def step(trin: int) -> str:
    """A step in words."""
    return "uden trin" if trin == UDEN_TRIN else f"trin {trin}"


def _matrix(result: Konsekvens) -> Tabel:
    """Persons by old and new step, over all months and municipalities; each person once a cell."""
    skift = result.virkning.skift.filter(pl.col("maaned").is_null() & pl.col("kommunekode").is_null())
    people = {(fra, til): n for fra, til, n in skift.select("fra_trin", "til_trin", "borgere").iter_rows()}
    fra, til = (sorted({pair[place] for pair in people}) for place in (0, 1))
    rows = [(f"fra {step(one)}", *(_count(people.get((one, two), 0)) for two in til)) for one in fra]
    return Tabel("Borgere, der skifter trin", ("", *(f"til {step(two)}" for two in til)), rows)


def tables(result: Konsekvens) -> dict[str, Tabel]:
    """The short tables of an estimate, by name."""
    return {
        "maaneder": _by_month(result),
        "kommuner_mere": _by_kommune(result, gain=True),
        "kommuner_mindre": _by_kommune(result, gain=False),
        "ydelser": _by_ydelse(result),
        "trin": _by_step(result),
        "skift": _matrix(result),
    }


def proposal(result: Konsekvens) -> Iterator[str]:
    """The lines on the proposal: its differences, the months they can touch, effects outside the estimate."""
    first, last = result.maaneder[0], result.maaneder[-1]
    months = f"ydelsesmåned {first:%Y-%m}" if first == last else f"ydelsesmånederne {first:%Y-%m}..{last:%Y-%m}"
    yield (
        f"Forslag {result.forslag.version[:12]} over for de gældende regler {result.gaeldende.version[:12]}, "
        f"{months}, som kørsel {result.kendt:%Y-%m} kender {'den' if first == last else 'dem'}"
    )
    for forskel in result.forskelle:
        said = f"{forskel.felt}: {forskel.gaeldende} -> {forskel.forslag}"
        yield f"  {forskel.fil}, {forskel.post}, {said}; {reach(result, forskel)}"
    if not result.forskelle:
        yield "  Forslaget siger det samme som de gældende regler."
    if any(forskel.fil == FORAELDELSE for forskel in result.forskelle):
        yield (
            "  Bemærk: forslaget ændrer, hvad kørsler retter i gamle måneder. Her sammenlignes ydelsesmåneder, som de "
            "er beregnet, så det ses ikke i beløbene; det ses, når en kopi af dataroden køres under forslaget."
        )
    for konto in result.nye_konti:
        yield f"  Bemærk: {konto} er ny; ingen indberetning på den er regnet med, så den giver ingen penge her."
    if not result.beregnet:
        yield "  Bemærk: lageret er ikke beregnet efter de gældende regler; begge sider er beregnet her."


def reach(result: Konsekvens, forskel: Forskel) -> str:
    """The estimated months that a difference of the rules can touch, in words."""
    touched = [month for month in result.maaneder if forskel.touches(month, last_day(month))]
    if forskel.fil == FORAELDELSE:
        return "rører kørsler, ikke ydelsesmåneder"
    if not forskel.penge:
        return "flytter ingen penge"
    return f"kan røre {touched[0]:%Y-%m}..{touched[-1]:%Y-%m}" if touched else "rører ingen af månederne"


def text(result: Konsekvens) -> list[str]:
    """The estimate for a terminal."""
    return [*proposal(result), *(line for tabel in tables(result).values() if tabel.raekker for line in tabel.lines())]


def plot(result: Konsekvens) -> str:
    """One bar per municipality (SVG) with its net difference, the largest gain at the top."""
    rows = _kommuner(result).filter(pl.col("forskel") != 0).select("kommune", "forskel").rows()
    return figures.plot(partial(_bars, rows), 7.5, 0.5 + 0.17 * len(rows))


def _bars(rows: list[tuple[str, int]], figure: "Figure") -> None:
    axes = figure.subplots(
        gridspec_kw={"left": 0.2, "right": 0.98, "bottom": 0, "top": 1 - 0.4 / figure.get_figheight()}
    )
    axes.set_title("Forskel, netto til kommunen" if rows else "Ingen kommune får mere eller mindre", loc="left")
    axes.set_axis_off()
    if rows:
        kommuner, oere = zip(*rows, strict=True)
        bars = axes.barh(range(len(rows)), oere, color=[LOSS if amount < 0 else GAIN for amount in oere])
        axes.bar_label(bars, list(map(kroner_text, oere)), padding=4)
        axes.set(ylim=(len(rows) - 0.5, -0.5), yticks=range(len(rows)), yticklabels=kommuner)
        axes.set_axis_on()
        axes.xaxis.set_visible(False)
        axes.margins(x=0.35)
        axes.grid(visible=False)
        axes.tick_params(left=False)
        axes.spines[:].set_visible(False)
        axes.axvline(0, color="#5c5c5c", linewidth=0.8)


EFFEKT, SKIFT, REGLER = "effekt.csv", "personer_der_skifter_trin.csv", "regler_der_aendres.csv"
PLOT, RESULTAT = "kommuner.svg", "resultat.txt"
HELE_LANDET, ALLE = "Hele landet", "alle"
TITLES = {
    "personuger": "Personuger",
    "borgere": "Borgere",
    "beloeb_oere": "Beløb",
    "refusion_oere": "Refusion",
    "medfinansiering_oere": "Medfinansiering",
}


def folder_of(root: Path, forslag: Rulebook) -> Path:
    """The default folder of a proposal's estimate."""
    return root / "konsekvens" / forslag.version[:12]


def write(result: Konsekvens, folder: Path) -> None:
    """Write the files of an estimate: a reader sees all old ones or all new. Stop if the folder holds other files.

    No row is about one person: the files count persons by month, municipality, benefit and step.
    """
    made = {EFFEKT, SKIFT, REGLER, PLOT, RESULTAT}
    others = {path.name for path in folder.iterdir()} - made if folder.is_dir() else set()
    if others or folder.is_file():
        raise Stop(f"{folder} rummer andet end et anslag; vælg en tom eller ny mappe med --til")
    outgoing = Outgoing.begun(folder)
    for name, frame in {EFFEKT: _effekt(result), SKIFT: _skift(result), REGLER: _regler(result)}.items():
        write_table(outgoing.ready / name, frame)
    (outgoing.ready / PLOT).write_text(plot(result), encoding="utf-8")
    (outgoing.ready / RESULTAT).write_text("".join(f"{line}\n" for line in text(result)), encoding="utf-8")
    outgoing.show()


def _where(result: Konsekvens) -> list[pl.Expr]:
    """Columns for month (`YYYY-MM`), code and name of a municipality; null becomes `alle` and `Hele landet`."""
    names = result.gaeldende.kommunenavne
    code = pl.col("kommunekode")
    return [
        pl.col("maaned").dt.strftime("%Y-%m").fill_null(ALLE).alias("Måned"),
        code.fill_null(ALLE).alias("Kommunekode"),
        code.replace(names).fill_null(HELE_LANDET).alias("Kommune"),
    ]


def _trin(column: str, title: str) -> pl.Expr:
    return pl.col(column).map_elements(step, return_dtype=pl.String).alias(title)


def _effekt(result: Konsekvens) -> pl.DataFrame:
    """One row per month, municipality, benefit, side and step: counts, kroner under both rule sets, difference."""
    measures = []
    for name in (*COUNTS, *MONEY):
        for book, title in BOOKS.items():
            column = pl.col(f"{name}_{book}")
            measures.append((kroner(column) if name in MONEY else column).alias(f"{TITLES[name]} {title}"))
    return result.virkning.celler.select(
        *_where(result),
        pl.col("ydelse_id").replace(ydelse_navne(result)).alias("Ydelse"),
        pl.col("side").alias("Side"),
        _trin("trin", "Trin"),
        *measures,
        kroner(NET[FORSLAG] - NET[GAELDENDE]).alias("Forskel netto til kommunen"),
    )


def _skift(result: Konsekvens) -> pl.DataFrame:
    """One row per month, municipality, old and new step: persons, person-weeks. Totals count each person once."""
    return result.virkning.skift.select(
        *_where(result),
        _trin("fra_trin", "Fra trin"),
        _trin("til_trin", "Til trin"),
        pl.col("borgere").alias("Borgere"),
        pl.col("personuger").alias("Personuger"),
    )


def _regler(result: Konsekvens) -> pl.DataFrame:
    """One row per difference of the rules: place, old and new value, and the months it can touch."""
    head = ("Fil", "Post", "Felt", "Gældende", "Forslag", "Rækkevidde")
    rows = [(f.fil, f.post, f.felt, f.gaeldende, f.forslag, reach(result, f)) for f in result.forskelle]
    return pl.DataFrame(rows, schema=dict.fromkeys(head, pl.String), orient="row")
