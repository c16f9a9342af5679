"""Understands the page of a municipality: its first screen, and a section per view, from rows to one file of HTML."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.contract import kinds_of
from refusion_assets.domain.findings.outcome import INFO
from refusion_assets.domain.findings.statement import POSTER
from refusion_assets.domain.findings.words import NOBODY
from refusion_assets.domain.opfoelgning.views import ANDEN_KOMMUNE, UDENFOR, VIEWS
from refusion_assets.report.catalogue import (
    KINDS,
    LAND,
    MONTHS,
    NOTHING,
    WRITTEN,
    Kolonne,
    Tabel,
    Visning,
    kr,
    maaned,
    pct,
    promille,
    signed,
    tal,
    visninger,
)
from refusion_assets.report.charts import OUTSIDE, SHADES, bars, course

Row = dict[str, Any]
Words = Mapping[str, Callable[[Any], str]]
Cell = tuple[str, str]
MONEY = ("brutto_oere", "refusion_oere", "medfinansiering_oere", "egen_oere")
HIDDEN, OLDEST = "skjult", "aeldste_koersel"
MOST_SHOWN = 3
# The measures of the comparison, each with the median that stands beside it.
MEDIANS = {
    "egen_promille": "median_promille",
    "trin4_promille": "median_trin4_promille",
    "egen_pr_indbygger_oere": "median_pr_indbygger_oere",
}
PARTS_OF_13 = ((1, 4), (5, 8), (9, 13))
# The change of the own share by what has happened to the people.
NEW, LEFT, DEARER, CHEAPER = (
    "Nye på trappen",
    "Gået fra trappen",
    "Rykket til et dyrere trin",
    "Rykket til et billigere trin",
)
SAME, MIGRATED, BESIDE = "Samme trin som før", "Flyttet ind eller ud", "Ydelser uden for trappen"
MOVED = (NEW, LEFT, DEARER, CHEAPER, SAME, MIGRATED, BESIDE)


@dataclass(frozen=True)
class Report:
    """All that a page and a workbook of one municipality are made of.

    `rows`: by view, its rows. `grouped`: by view, the rows of each of its tables. `settled`: by run month, the money of
    the statement (refusion, medfinansiering, corrections; øre). `kommuner`: of the country, a row per municipality.
    """

    kommunekode: str
    navn: str
    month: date
    koersel: int
    bound: int
    rows: Mapping[str, Sequence[Row]]
    grouped: Mapping[str, Sequence[Sequence[Row]]]
    settled: Mapping[date, tuple[int, int, int]]
    kommuner: Sequence[Row] = ()

    @property
    def own(self) -> bool:
        """True for one municipality, False for the country."""
        return self.kommunekode != NOBODY


@cache
def _template() -> Environment:
    """The template of the page; an undefined name is an error, and every text is escaped."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )


def grouped(tabel: Tabel, rows: pl.DataFrame, month: date) -> pl.DataFrame:
    """The rows of a table for all municipalities at once, sorted as they are shown.

    A sum leaves out unknown and hidden parts, and is null where there is no other. A share is made again.
    """
    if not tabel.maaneder:
        rows = rows.filter(pl.col("maaned") == month)
    by = ["kommunekode", *tabel.efter, *([tabel.kryds] if tabel.kryds else [])]
    made = []
    for name in tabel.vis:
        column = pl.col(name)
        both = column.any() if rows.schema[name] == pl.Boolean else column.min() if name == OLDEST else column.sum()
        made.append(pl.when(column.count() > 0).then(both).alias(name))
    has_unit = "enhed" in rows.columns
    table = rows.group_by(by).agg(*made, *([pl.col("enhed").first()] if has_unit else []))
    if {"egen_promille", "egen_oere", "brutto_oere"} <= set(tabel.vis):
        parts = table.select("egen_oere", "brutto_oere").rows()
        shares = [None if None in two else promille(*two) for two in parts]
        table = table.with_columns(egen_promille=pl.Series(shares, dtype=pl.Int64))
    if tabel.sorter:
        order = pl.col(tabel.sorter).abs()
        return table.sort(
            "kommunekode", order, *tabel.efter, descending=[False, True, *[False] * len(tabel.efter)], nulls_last=True
        )
    return table.sort(by, nulls_last=True)


def page(report: Report, words: Words) -> str:
    """The page of a municipality or of the country (000): one file of HTML that needs nothing beside it."""
    sections = [_section(visning, report, words) for visning in visninger()]
    return (
        _template()
        .get_template("kommune.html.j2")
        .render(
            report=report,
            maaned=maaned(report.month),
            overblik=overview(report, words),
            kommuner=[
                [(words["kommunekode"](row["kommunekode"]), "t")]
                + [(HIDDEN if row[name] is None else kr(row[name]), "n") for name in MONEY]
                for row in report.kommuner
            ],
            sections=sections,
            land=LAND,
        )
    )


def _section(visning: Visning, report: Report, words: Words) -> Row:
    """A view on the page: its texts, its tables of written cells and its drawing."""
    shown = zip(visning.tabeller, report.grouped[visning.id], strict=True)
    tables = [_table(visning, tabel, rows, words, own=report.own) for tabel, rows in shown if rows]
    return {"visning": visning, "tables": tables, "drawing": _drawing(visning.id, report) if tables else None}


def _written(kolonne: Kolonne, value: Any, words: Words, unit: str = "", *, own: bool = True) -> Cell:
    """A value as a cell: its text and the class it is styled by."""
    slags = KINDS.get(unit, unit) if kolonne.slags == "enhed" else kolonne.slags
    named = words.get(kolonne.navn)
    if named:
        return named(value), "t"
    if value is None and not own:
        return HIDDEN, "n h"
    if slags in WRITTEN:
        low = isinstance(value, int) and value < 0
        return WRITTEN[slags](value), f"{'t' if slags in ('ja', 'maaned') else 'n'}{' neg' if low else ''}"
    return str(value), "t"


def _table(visning: Visning, tabel: Tabel, rows: Sequence[Row], words: Words, *, own: bool) -> Row:
    """A table of written cells: heads, rows with the first cell as their head, and the sums at the bottom."""
    if tabel.kryds:
        return _crossed(visning, tabel, rows, words, own=own)
    columns = [visning.kolonner[name] for name in (*tabel.efter, *tabel.vis)]
    most = tabel.mest or len(rows)
    cells = [
        [
            _written(c, row[c.navn], words, row.get("enhed", ""), own=own or c.navn in tabel.efter or _no_share(c, row))
            for c in columns
        ]
        for row in rows[:most]
    ]
    heads = [(c.titel, cells[0][i][1][0] if i else "t") for i, c in enumerate(columns)]
    foot = []
    if tabel.lodret and len(rows) == 1:
        pairs = dict(zip((*tabel.efter, *tabel.vis), cells[0], strict=True))
        cells = [
            [(visning.kolonner[name].titel, "t"), (pairs[name][0], "n"), pairs.get(MEDIANS.get(name, ""), ("", "n"))]
            for name in pairs
            if name not in MEDIANS.values()
        ]
        heads = [("Seneste 12 måneder", "t"), ("Kommunen", "n"), ("Gruppens median", "n")]
    elif tabel.ialt and len(rows) > 1:
        for c in columns:
            values = [row[c.navn] for row in rows]
            summed = c.navn in tabel.ialt and not (own and None in values)
            foot.append(WRITTEN[c.slags](sum(v for v in values if v is not None)) if summed else "")
    more = f"De {most} største af {len(rows)} rækker. Alle står i regnearket, og I alt er summen af dem alle."
    return {
        "titel": tabel.titel,
        "heads": heads,
        "rows": cells,
        "foot": foot,
        "note": more if most < len(rows) else "",
        "efter": " ".join(tabel.efter),
    }


def _no_share(kolonne: Kolonne, row: Row) -> bool:
    """True if a share is missing as there is no amount, not as it is hidden."""
    return kolonne.navn == "egen_promille" and row.get("egen_oere") is not None


def _place(label: Any) -> tuple[bool, bool, str]:
    """The order of the places of a movement, or of steps: the steps first, what is outside them last."""
    text = str(label)
    return label is None, not text.startswith("trin"), text


def _crossed(visning: Visning, tabel: Tabel, rows: Sequence[Row], words: Words, *, own: bool) -> Row:
    """A table of two ways, with sums at the right and at the bottom."""
    (name,), (down,) = tabel.vis, tabel.efter
    kolonne = visning.kolonner[name]
    empty = 0 if kolonne.slags == "tal" else ""
    value = {(row[down], row[tabel.kryds]): row[name] for row in rows if row[name] != empty}
    across = sorted({other for _, other in value}, key=_place)
    at = sorted({one for one, _ in value}, key=_place)
    if down in words:  # the largest first
        at.sort(key=lambda one: -abs(sum(value.get((one, other)) or 0 for other in across)))

    def total(pairs: Iterator[tuple[Any, Any]]) -> Cell:
        return _written(kolonne, sum(value.get(pair) or 0 for pair in pairs), {}, own=own)

    def cell(pair: tuple[Any, Any]) -> Cell:
        return _written(kolonne, value[pair], {}, own=own) if pair in value else ("", "n")

    def head(place: Any) -> str:
        if tabel.kryds == "trin":
            return words["trin"](None).capitalize() if place is None else f"Trin {place}"
        return f"{tabel.kryds} {place}"

    return {
        "titel": tabel.titel,
        "heads": [(visning.kolonner[down].titel, "t"), *((head(other), "n") for other in across), ("I alt", "n")],
        "rows": [
            [
                _written(visning.kolonner[down], one, words),
                *(cell((one, other)) for other in across),
                total((one, other) for other in across),
            ]
            for one in at
        ],
        "foot": [
            "I alt",
            *(total((one, other) for one in at)[0] for other in across),
            total((one, other) for one in at for other in across)[0],
        ],
        "note": "",
        "efter": f"{down} {tabel.kryds}",
    }


def overview(report: Report, words: Words) -> Row:
    """The first screen: the month's money beside earlier months, why it moved, the next 13 weeks, and stuck money."""
    months = {row["maaned"]: row for row in report.grouped["trappe"][0]}
    now = months.get(report.month)
    before, year = months.get(next_month(report.month, -1)), months.get(next_month(report.month, -12))
    tiles = []
    for name, titel in (
        ("egen_oere", "Egen andel"),
        ("refusion_oere", "Refusion fra staten"),
        ("medfinansiering_oere", "Medfinansiering til staten"),
        ("brutto_oere", "Ydelser i alt"),
    ):
        value = now[name] if now else 0
        sides = [("måneden før", before), ("sidste år", year)]
        changes = [(text, *_change(value, side[name])) if side else (text, "kendes ikke", "") for text, side in sides]
        tiles.append({"titel": titel, "value": kr(value), "changes": changes})
    known = [row for row in report.grouped["haengende"][0] if row["beloeb_oere"] is not None]
    stuck = sorted(known, key=lambda row: row["alvor"] == INFO)  # nobody must act on these
    return {
        "tiles": tiles,
        "andel": pct(now["egen_promille"]) if now else NOTHING,
        "settled": _settled(report),
        "moved": moved(report, now, before),
        "next": _next(report),
        "causes": [
            (words["aarsag"](row["aarsag"]), _kr(row["netto_oere"], report), _few(row["borgere"]))
            for row in report.grouped["rettelser"][0][:MOST_SHOWN]
            if row["netto_oere"] is not None
        ],
        "causes_sum": signed(kr(sum(row["netto_oere"] or 0 for row in report.grouped["rettelser"][0]))),
        "stuck": [
            (words["regel"](row["regel"]), row, _kr(row["beloeb_oere"], report, sign=False), tal(row["antal"]))
            for row in stuck[:MOST_SHOWN]
        ],
        "stuck_sum": kr(sum(row["beloeb_oere"] or 0 for row in report.grouped["haengende"][0])),
        "stuck_count": tal(sum(row["antal"] or 0 for row in report.grouped["haengende"][0])),
    }


def _kr(oere: int | None, report: Report, *, sign: bool = True) -> str:
    """An amount of the first screen, with its sign; a hidden one says so."""
    if oere is None:
        return NOTHING if report.own else HIDDEN
    return signed(kr(oere)) if sign else kr(oere)


def _few(people: int | None) -> str:
    """People as a word beside an amount."""
    return HIDDEN if people is None else f"{tal(people)} {'borger' if people == 1 else 'borgere'}"


def _change(now: int, then: int) -> tuple[str, str]:
    """A change in kroner and per cent with signs."""
    share = promille(now - then, then) if then > 0 else None
    return signed(kr(now - then)), "" if share is None else signed(pct(share))


def _settled(report: Report) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """The money of the statement: name, amount, and the changes since the run before and that of last year."""
    now = report.settled.get(report.month)
    if now is None:
        return []
    said = []
    names = [name.replace("kommunerne", "kommunen") if report.own else name for name in POSTER.values()]
    for place, name in enumerate(names):
        sides = [("måneden før", -1), ("sidste år", -12)]
        changes = []
        for text, back in sides:
            then = report.settled.get(next_month(report.month, back))
            changes.append((text, signed(kr(now[place] - then[place])) if then else "kendes ikke"))
        said.append((name, kr(now[place]), changes))
    return said


def moved(report: Report, now: Row | None, before: Row | None) -> Row:
    """The change of the own share since the month before, by what happened to the people; the parts sum to the whole.

    `parts`: name, people and change (øre, written). Empty without a month before.
    """
    if now is None or before is None:
        return {"whole": None, "parts": []}
    sums: dict[str, list[int]] = {name: [0, 0] for name in MOVED}
    for row in report.rows["bevaegelser"]:
        name = _movement(row["fra"], row["til"])
        sums[name][0] += row["borgere"] or 0
        sums[name][1] += row["aendring_oere"] or 0
    whole = now["egen_oere"] - before["egen_oere"]
    rest = whole - sum(oere for _, oere in sums.values())
    most = max([1, abs(rest), *(abs(oere) for _, oere in sums.values())])
    parts = [(name, _few(people), oere) for name, (people, oere) in sums.items() if people or oere]
    parts += [("Andet" if report.own else "Andet og skjulte grupper", "", rest)] if rest else []
    return {
        "whole": signed(kr(whole)),
        "parts": [
            {"name": name, "people": people, "oere": signed(kr(oere)), "up": oere > 0, "size": 100 * abs(oere) // most}
            for name, people, oere in parts
        ],
    }


def _movement(fra: str, til: str) -> str:
    """The name of the movement from one place to another."""
    if ANDEN_KOMMUNE in (fra, til):
        return MIGRATED
    if fra == til:
        return BESIDE if fra == UDENFOR else SAME
    if UDENFOR in (fra, til):
        return NEW if fra == UDENFOR else LEFT
    return DEARER if int(til.removeprefix("trin ")) > int(fra.removeprefix("trin ")) else CHEAPER


def _next(report: Report) -> Row:
    """The people who reach a new step in the next 13 weeks and the cost, in all and by weeks and steps."""
    weeks = report.grouped["naeste_trin"][0]
    steps: dict[tuple[int, int], list[int]] = {}
    for row in report.grouped["naeste_trin"][1]:
        both = steps.setdefault((row["fra"], row["til"]), [0, 0])
        both[0] += row["borgere"] or 0
        both[1] += row["tab_13_uger_oere"] or 0

    def of(first: int, last: int) -> tuple[int, int]:
        mine = [row for row in weeks if first <= row["uger_til"] <= last]
        return sum(row["borgere"] or 0 for row in mine), sum(row["tab_13_uger_oere"] or 0 for row in mine)

    people, loss = of(1, 13)
    return {
        "hidden": bool(weeks) and all(row["borgere"] is None for row in weeks),
        "people": tal(people),
        "loss": kr(loss),
        "week": kr(sum(row["tab_pr_uge_oere"] or 0 for row in weeks)),
        "parts": [(f"Uge {a}-{b}", *_people_and_loss(of(a, b))) for a, b in PARTS_OF_13],
        "steps": [
            (f"Trin {fra} til trin {til}", *_people_and_loss((both[0], both[1])))
            for (fra, til), both in sorted(steps.items())
        ],
    }


def _people_and_loss(both: tuple[int, int]) -> tuple[str, str]:
    return _few(both[0]), kr(both[1])


def _label(month: date) -> str:
    """A month below a bar: three letters, and the year at each January."""
    return MONTHS[month.month - 1][:3]


def _drawing(view: str, report: Report) -> Markup | None:
    """The drawing of a view, if it has one."""
    drawings = {"trappe": _stairs, "naeste_trin": _weeks, "prognose": _ahead}
    return drawings[view](report) if view in drawings else None


def _stairs(report: Report) -> Markup:
    """The own share month by month, by step."""
    sums: dict[tuple[date, int | None], int] = {}
    for row in report.rows["trappe"]:
        key = (row["maaned"], row["trin"])
        sums[key] = sums.get(key, 0) + (row["egen_oere"] or 0)
    months = sorted({month for month, _ in sums})
    steps = sorted({step for _, step in sums if step is not None})
    colours = [*((SHADES[min(step, len(SHADES)) - 1], step) for step in steps), (OUTSIDE, None)]
    parts = [(colour, [sums.get((month, step), 0) for month in months]) for colour, step in colours]
    names = [*(f"Trin {step}" for step in steps), "Uden for trappen"]
    legend = Markup("").join(
        Markup('<span><i style="background:{}"></i>{}</span>').format(colour, name)
        for (colour, _), name in zip(parts, names, strict=True)
    )
    title = "Egen andel måned for måned, efter trin"
    told = f"Søjler fra {maaned(months[0])} til {maaned(months[-1])}; hver søjle er delt efter trin, trin 1 nederst."
    drawn = bars([_label(month) for month in months], parts, title, told, "trappe")
    return _captioned(title, drawn, legend)


def _weeks(report: Report) -> Markup:
    """The loss within 13 weeks by the week of the new step, with the number of people on top."""
    rows = {row["uger_til"]: row for row in report.grouped["naeste_trin"][0]}
    weeks = list(range(1, 14))
    lost = [rows[week]["tab_13_uger_oere"] or 0 if week in rows else 0 for week in weeks]
    people = [tal(rows[week]["borgere"]) if week in rows and rows[week]["borgere"] else "" for week in weeks]
    told = "Søjlen er tabet i 13 uger for de borgere, der skifter trin i ugen; tallet over søjlen er borgere."
    title = "Tab i de næste 13 uger efter den uge, trinnet skiftes"
    drawn = bars([str(week) for week in weeks], [(SHADES[1], lost)], title, told, "naeste", people)
    return _captioned(title, drawn, "Uger til skiftet; tallet over søjlen er borgere.")


def _ahead(report: Report) -> Markup | None:
    """The own share of the benefits with a forecast: settled months, then the expected ones with their band."""
    known = {row["ydelse_id"] for row in report.rows["prognose"]}
    past: dict[date, int] = {}
    for row in report.rows["trappe"]:
        if row["ydelse_id"] in known:
            past[row["maaned"]] = past.get(row["maaned"], 0) + (row["egen_oere"] or 0)
    ahead: dict[int, list[int]] = {}
    for row in report.rows["prognose"]:
        three = ahead.setdefault(row["frem"], [0, 0, 0])
        for place, name in enumerate(("lav_oere", "egen_oere", "hoej_oere")):
            three[place] += row[name] if row[name] is not None else row["egen_oere"] or 0
    if not past or not ahead:
        return None
    months = [*sorted(past), *(next_month(report.month, n) for n in sorted(ahead))]
    labels = [_label(month) if month.month % 3 == 1 else "" for month in months]
    title = "Egen andel: opgjort, og forventet med bånd"
    told = "Den fulde linje er opgjorte måneder. Den stiplede er forventet, og det lyse felt er båndet fra lav til høj."
    values = [(three[0], three[1], three[2]) for _, three in sorted(ahead.items())]
    drawn = course(labels, [past[month] for month in sorted(past)], values, (title, told, "prognose"))
    return _captioned(title, drawn, "Fuld linje: opgjort. Stiplet: forventet. Lyst felt: fra lav til høj.")


def _captioned(title: str, drawn: Markup, below: str) -> Markup:
    """A drawing with its title above and a line below it."""
    caption = Markup('<figure><figcaption>{}</figcaption>{}<p class="legend">{}</p></figure>')
    return caption.format(title, drawn, below)


def blank_rows(view: str) -> pl.DataFrame:
    """A view without rows, of its contract's types."""
    return pl.DataFrame(schema=kinds_of(VIEWS[view]))
