"""Understands the weeks of a municipality's citizens that belong elsewhere: kinds of weeks, and nothing of the money.

In a package (`runs.package`) each stretch of such weeks is a report of a benefit of this module's own. It has a kind,
the weeks, and the run that first knew them. So a look-up works out the count and its causes as from any report.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.calendar import Grid, Ints, as_date, last_day, make_grid
from refusion_assets.domain.classified import TILBAGEFOERT, VIRKET, Dom, Linje
from refusion_assets.domain.contract import Contract, kinds_of
from refusion_assets.domain.duration.count import KIND_A, own_kinds, week_kinds
from refusion_assets.domain.raw import Fil
from refusion_assets.domain.rules.entries import Kilde, Kommune, Rulebook, Ydelse

ANDRE, ELSEWHERE = "andre", "999"
"""The source and the municipality that stand for all others."""

NAVN = "en anden kommune"
KATEGORIER = ("-", "B", "A")  # by the kind of the week
NAMES = {"A": "Ydelse", "B": "Støtte", "-": "Ydelse"}
Kinds = npt.NDArray[np.int64]


class Udeladt(Contract, key=["borger_id", "maaned"]):
    """One row per person and benefit month of which a package leaves out money or lines of other municipalities."""

    borger_id: pl.Int64
    maaned: pl.Date = pa.Field(description="benefit month, first day")


def is_elsewhere(ydelse_id: str | None) -> bool:
    """True if a benefit is one of this module's own."""
    return (ydelse_id or "").startswith(f"{ANDRE}-")


@lru_cache(maxsize=64)
def with_elsewhere(rules: Rulebook, ydelse_ids: tuple[str, ...]) -> Rulebook:
    """The rules, which also know the benefits of this module among `ydelse_ids`, the source and the municipality.

    The name of such a benefit says how its weeks count, `andre-A+X` that they are counted on counter X too.
    """
    basis = rules.optaelling
    cited = {name: getattr(basis, name) for name in ("hjemmel", "kilde", "kontrolleret", "sikkerhed")}
    known = tuple(
        Ydelse(
            ydelse_id=name, gaelder_fra=basis.gaelder_fra, navn=NAMES[name[6]], kategori=name[6],  # type: ignore[arg-type]
            side="ingen", beloebsfelter="", **cited,
        )
        for name in sorted(filter(is_elsewhere, ydelse_ids))
    )  # fmt: skip
    return replace(
        rules,
        ydelser=(*rules.ydelser, *known),
        kilder=(*rules.kilder, Kilde(id=ANDRE, navn=NAVN, art="national", gaelder_fra=basis.gaelder_fra, **cited)),
        kommuner=(*rules.kommuner, Kommune(kommunekode=ELSEWHERE, navn=NAVN, region="", indbyggertal=0, aar=0)),
        taellere=tuple(
            replace(one, ydelser=(*one.ydelser, *(y.ydelse_id for y in known if one.id in y.ydelse_id.split("+")[1:])))
            for one in rules.taellere
        ),
    )


@dataclass(frozen=True)
class Known:
    """The claims with an amount that a run knew: `CLAIM`, ydelse_id, and `egen` (the municipality's own); its rules."""

    koersel: int
    maaned: date
    rules: Rulebook
    krav: pl.DataFrame


def weeks_elsewhere(runs: Sequence[Known]) -> pl.DataFrame:
    """One row per person, unbroken weeks elsewhere of one kind, and the runs that knew them so. Weeks.

    Columns: borger_id, ydelse_id (of this module), periode_start (Monday), periode_slut (Sunday), fra, til. `fra` is
    the place in `runs` of the first run that knew them, `til` of the first that no longer did; null while they stand.
    Hjemmel: § 5, stk. 2-3 and § 6, stk. 1 (the count is over all municipalities).
    """
    foreign = [run.krav.filter(~pl.col("egen"))["borger_id"] for run in runs]
    who = pl.concat(foreign).unique().sort().to_numpy().astype(np.int64)
    counters = sorted({one.id for run in runs for one in run.rules.taellere})
    first = min(run.rules.optaelling.gaelder_fra for run in runs)
    shape = make_grid(first, last_day(runs[-1].maaned)).weeks, len(who)
    before, since = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    found = []
    for place, run in enumerate(runs):
        grid = make_grid(first, last_day(run.maaned))
        now = np.zeros(shape, np.int64)
        now[: grid.weeks] = _codes(run, who, grid, counters)
        changed = now != before
        found.append(_cells(changed & (before > 0), before, since, place))
        since[changed] = place
        before = now
    found.append(_cells(before > 0, before, since, None))
    return _stretches(pl.concat(found), who, grid, counters)


def _codes(run: Known, who: Ints, grid: Grid, counters: Sequence[str]) -> Kinds:
    """Week x person: the kind that claims elsewhere give a week, and from the third on a digit for each counter.

    Where own claims and others make a week together, it has the kind that both give.
    """
    mine = run.krav.filter(pl.col("borger_id").is_in(who))
    own, other = mine.filter("egen"), mine.filter(~pl.col("egen"))
    alone, with_own, without = (week_kinds(part, who, grid, run.rules) for part in (other, mine, own))
    code = np.where(with_own > without, with_own, alone).astype(np.int64)
    for one in run.rules.taellere:
        lone, both, less = (
            own_kinds(part, kinds, who, grid, run.rules, one) == KIND_A
            for part, kinds in ((other, alone), (mine, with_own), (own, without))
        )
        code += len(KATEGORIER) * 2 ** counters.index(one.id) * (lone | (both & ~less))
    return code


def _cells(which: npt.NDArray[np.bool_], code: Kinds, since: Kinds, til: int | None) -> pl.DataFrame:
    week, person = np.nonzero(which)
    rows = pl.DataFrame({"person": person, "week": week, "code": code[which], "fra": since[which]})
    return rows.cast(pl.Int64).with_columns(til=pl.lit(til, pl.Int64))


def _stretches(cells: pl.DataFrame, who: Ints, grid: Grid, counters: Sequence[str]) -> pl.DataFrame:
    """Cells of one person, code and runs, week after week, as one row."""
    same = ["person", "fra", "til", "code"]
    rows = cells.sort(*same, "week").with_columns(apart=pl.col("week") - pl.int_range(pl.len()).over(same))
    runs = rows.group_by(*same, "apart", maintain_order=True).agg(
        start=pl.col("week").first(), slut=pl.col("week").last()
    )
    names = {code: _name(code, counters) for code in runs["code"].unique()}
    day = {row: as_date(grid.origin + 7 * row) for row in range(grid.weeks + 1)}
    return runs.select(
        borger_id=pl.Series(who[runs["person"].to_numpy()], dtype=pl.Int64),
        ydelse_id=pl.col("code").replace_strict(names, return_dtype=pl.String),
        periode_start=pl.col("start").replace_strict(day, return_dtype=pl.Date),
        periode_slut=pl.col("slut").replace_strict(day, return_dtype=pl.Date) + timedelta(days=6),
        fra="fra",
        til="til",
    ).sort("borger_id", "periode_start", "fra")


def _name(code: int, counters: Sequence[str]) -> str:
    bits, kind = divmod(code, len(KATEGORIER))
    return "+".join([f"{ANDRE}-{KATEGORIER[kind]}", *(one for n, one in enumerate(counters) if bits >> n & 1)])


def as_reports(stretches: pl.DataFrame, runs: Sequence[Known]) -> dict[str, pl.DataFrame]:
    """The rows of `weeks_elsewhere` as one report each of 0,01 kr., and a reversal where they no longer stand.

    By name: `fil` (a file per run), `linje`, `dom` and `krav` in the form of their tables.
    """
    numbered = stretches.with_row_index("nr", 1).with_columns(
        pl.col("nr").cast(pl.Int64), indberetning_id=pl.format("ANDRE{}", "nr"), konto=pl.lit(""), pligt_se=pl.lit("")
    )
    numbers = {place: -run.koersel for place, run in enumerate(runs)}
    gone = numbered.filter(pl.col("til").is_not_null())

    def lines(rows: pl.DataFrame, art: str, seen: str) -> pl.DataFrame:
        back = art == "T"
        none = [name for name in ("ydelse_id", "konto", "periode_start", "periode_slut") if back]
        made = rows.with_columns(
            fil_id=pl.col(seen).replace_strict(numbers, return_dtype=pl.Int64), linje=pl.col("nr") * 2 + back,
            art=pl.lit(art), reference_id=pl.col("indberetning_id") if back else pl.lit(None, pl.String),
            indberetning_id=pl.format("{}T", "indberetning_id") if back else pl.col("indberetning_id"),
            kommunekode_betaler=pl.lit(None, pl.String), kilde_id=pl.lit(ANDRE), regel=pl.lit(None, pl.String),
            beloeb_oere=pl.lit(0 if back else 1, pl.Int64), uventet_indkomst=pl.lit(value=False),
            uden_for_gyldighed=pl.lit(value=False), antal_raekker=pl.lit(1, pl.Int64),
        )  # fmt: skip
        return made.with_columns(pl.lit(None, made.schema[name]).alias(name) for name in none)

    reports, reversals = lines(numbered, "I", "fra"), lines(gone, "T", "til")
    linjer = pl.concat([part.select(list(Linje.to_schema().columns)) for part in (reports, reversals)])
    taken = [
        part.with_columns(status=pl.lit(status), trukket=pl.lit(trukket)).select(list(Dom.to_schema().columns))
        for part, status, trukket in (
            (reports.filter(pl.col("til").is_not_null()), TILBAGEFOERT, True),
            (reversals.with_columns(beloeb_oere=pl.lit(None, pl.Int64)), VIRKET, False),
        )
    ]
    used = linjer["fil_id"].unique()
    filer = [run for place, run in enumerate(runs) if numbers[place] in used]
    names = [f"andre-kommuner-{run.maaned:%Y%m}" for run in filer]
    same = {"kilde": ANDRE, "enhed": "", "loebenr": 0, "sha256": "", "antal_raekker": 0, "foerste_modtaget": None}
    fil = pl.DataFrame(
        [
            {"fil_id": -run.koersel, "sti": name, "filnavn": name, "modtaget_maaned": run.maaned, "dublet": False}
            | same | {"kendt_fra": run.maaned, "bedoemt_med": None}
            for run, name in zip(filer, names, strict=True)
        ],
        schema=kinds_of(Fil),
    )  # fmt: skip
    return {"fil": fil, "linje": linjer, "dom": pl.concat(taken), "krav": reports.filter(pl.col("til").is_null())}
