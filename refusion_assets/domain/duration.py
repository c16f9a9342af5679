"""Understands how many weeks a person has received benefits, and when the count starts over."""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import numpy.typing as npt
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.rules_egne import Taeller
from refusion_assets.domain.weeks import Grid, Ints, day_number, expand, monday, years_before

KIND_C, KIND_B, KIND_A = 0, 1, 2
KIND_OF = {"A": KIND_A, "B": KIND_B}
KIND_NAMES = pl.Series(["C", "B", "A"])
Counts = npt.NDArray[np.int16]
Flags = npt.NDArray[np.bool_]


class Forloeb(pa.DataFrameModel):
    """One row per person and spell: consecutive weeks of one kind within one count."""

    borger_id: pl.Int64
    fra_uge: pl.Date
    antal_uger: pl.Int64 = pa.Field(ge=1)
    art: pl.String = pa.Field(isin=["A", "B", "C"])
    taelling: pl.Int64 = pa.Field(ge=1, description="which count of the person, 1 and up")
    n_foer: pl.Int64 = pa.Field(ge=0, description="ydelsestæller before the first week of the spell")
    taeller: pl.Boolean = pa.Field(description="C-weeks that count towards a restart")
    genoptjent: pl.Boolean = pa.Field(description="the last week of the spell is the restart")

    class Config:
        """Exactly these columns; one spell per person and first week."""

        strict = True
        unique = ["borger_id", "fra_uge"]  # noqa: RUF012  pandera reads the list


class Vindue(pa.DataFrameModel):
    """One row per rule of restart: from which Monday, weeks needed, years of the window. § 6, stk. 1."""

    gaelder_fra_uge: pl.Date
    uger: pl.Int64
    vindue_aar: pl.Int64
    ved_opnaaelse: pl.Boolean = pa.Field(description="the count starts over when the weeks are reached")

    class Config:
        """Exactly these columns."""

        strict = True


def windows(rules: Rulebook) -> pl.DataFrame:
    """The rules of restart as a table (`Vindue`), for the analysts' view of weeks."""
    reached = rules.laesning("genoptjening_proeves") == "ved_opnaaelse"
    rows = [(monday(g.gaelder_fra), g.uger, g.vindue_aar, reached) for g in rules.genoptjening]
    return pl.DataFrame(rows, schema=list(Vindue.to_schema().columns), orient="row")


@dataclass(frozen=True)
class Counted:
    """Week x person matrices of a shard: kind, ydelsestæller n and free weeks in the window.

    Row w is week w of the grid, column p is the person `borger_id[p]` (sorted). `restart` marks the week
    that reached the restart; `n_overgang` is the number the week of the overgang has or would have. Weeks.
    `egne` are the same of the counters beside the law's own, in the order of the rules; there A are the weeks that the
    counter counts, C those that are free to it and B the rest.
    """

    borger_id: Ints
    kind: npt.NDArray[np.uint8]
    n: Counts
    genoptjening: Counts
    restart: Flags
    n_overgang: Counts
    egne: tuple["Counted", ...] = ()


def category_spans(rules: Rulebook, grid: Grid) -> pl.DataFrame:
    """One row per benefit and unbroken run of weeks in which it has one category (A or B).

    Columns ydelse_id, kind, first_day, last_day (of the grid). The category of a week is the one in force on its
    Monday.
    """
    rows = []
    for ydelse_id in rules.ydelse_ids:
        versions = [y for y in rules.ydelser if y.ydelse_id == ydelse_id]
        # A version holds from the first Monday on or after its date; the first one from the beginning.
        starts = [0, *(max(0, -(-grid.day_of(y.gaelder_fra) // 7)) for y in versions[1:]), grid.weeks]
        for version, first, after in zip(versions, starts, starts[1:], strict=False):
            if version.kategori in KIND_OF and first < after:
                rows.append((ydelse_id, KIND_OF[version.kategori], 7 * first, 7 * after - 1))
    schema = {"ydelse_id": pl.String, "kind": pl.Int64, "first_day": pl.Int64, "last_day": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def first_counted_day(rules: Rulebook, grid: Grid, fra: date) -> int:
    """The first day that counts where days do from `fra`, from the first Monday of the grid. Hjemmel: § 30, stk. 1."""
    first = grid.day_of(fra)
    return first if rules.laesning("foerste_uge") == "taeller" else -(-first // 7) * 7


def _spans(krav: pl.DataFrame, borger_id: Ints, grid: Grid, fra: int) -> pl.DataFrame:
    """The claims as spans of days of the grid from day `fra` on: person (its column), ydelse_id, first, last."""
    return krav.select(
        person=pl.Series(np.searchsorted(borger_id, krav["borger_id"].to_numpy())),
        ydelse_id="ydelse_id",
        first=pl.Series(np.maximum(grid.offsets(krav["periode_start"]), fra)),
        last=pl.Series(np.minimum(grid.offsets(krav["periode_slut"]), grid.days - 1)),
    )


def _touched(spans: pl.DataFrame, unit: int, shape: tuple[int, int]) -> Flags:
    """Unit x person: true where a span of days (person, first, last) touches the unit of so many days."""
    units, persons = shape
    # Painted person by person, as the units of a span then lie side by side.
    begin = spans["person"].to_numpy() * units
    _, place = expand(begin + spans["first"].to_numpy() // unit, begin + spans["last"].to_numpy() // unit)
    flags = np.zeros(persons * units, np.bool_)
    flags[place] = True
    return np.ascontiguousarray(flags.reshape(persons, units).T)


def _wholly_covered(spans: pl.DataFrame, shape: tuple[int, int]) -> Flags:
    """Week x person: true where spans cover all seven days of the week (the other reading of berørt uge)."""
    weeks, persons = shape
    days = _touched(spans, 1, (7 * weeks, persons))
    whole: Flags = np.all(days.reshape(weeks, 7, persons), axis=1).astype(np.bool_)
    return whole


def week_kinds(krav: pl.DataFrame, borger_id: Ints, grid: Grid, rules: Rulebook) -> npt.NDArray[np.uint8]:
    """Week x person: A where benefit touches the week, B where other support does, else C.

    `krav` holds claims with a positive amount: borger_id, ydelse_id, periode_start, periode_slut.
    Hjemmel: § 5, stk. 5 (berørt uge); § 6, stk. 2 (A before B, whole weeks of self-support).
    """
    claims = _spans(krav, borger_id, grid, first_counted_day(rules, grid, rules.optaelling.gaelder_fra))
    spans = claims.join(category_spans(rules, grid), on="ydelse_id").select(
        "person",
        "kind",
        first=pl.max_horizontal("first", "first_day"),
        last=pl.min_horizontal("last", "last_day"),
    )
    spans = spans.filter(pl.col("first") <= pl.col("last"))
    benefit = spans.filter(pl.col("kind") == KIND_A)
    shape = (grid.weeks, len(borger_id))
    one_day = rules.laesning("uge_beroert") == "een_dag"
    is_a = _touched(benefit, 7, shape) if one_day else _wholly_covered(benefit, shape)
    # B is 1 and A is 2: a week that anything touches is B, and one more where benefit does.
    return _touched(spans, 7, shape).astype(np.uint8) + is_a


def own_kinds(
    krav: pl.DataFrame, law: npt.NDArray[np.uint8], borger_id: Ints, grid: Grid, rules: Rulebook, taeller: Taeller
) -> npt.NDArray[np.uint8]:
    """Week x person for a counter beside the law's own: A where it counts the week, C where the week is free, else B.

    `krav` and the readings as in `week_kinds`, whose result is `law`. Source: rules.md section 8, point 4.
    """
    mine = krav.filter(pl.col("ydelse_id").is_in(taeller.ydelser))
    spans = _spans(mine, borger_id, grid, first_counted_day(rules, grid, taeller.gaelder_fra))
    spans = spans.filter(pl.col("first") <= pl.col("last"))
    touched = _touched(spans, 7, law.shape)
    whole = rules.laesning("uge_beroert") != "een_dag"
    counted = _wholly_covered(spans, law.shape) if whole else touched
    taken = touched if taeller.fri_uge == "uden_ydelserne" else touched | (law != KIND_C)
    return taken.astype(np.uint8) + counted


Window = tuple[list[int], list[int]]


def _window_start(grid: Grid, week: int, years: int) -> int:
    """The first week that is not before the same date so many years before a week. Hjemmel: § 6, stk. 1."""
    earliest = day_number(years_before(grid.monday_of(week), years)) - grid.origin
    return max(0, -(-earliest // 7))


def window_starts(rules: Rulebook, grid: Grid) -> Window:
    """Per week: the first week of its window of years, and the weeks of self-support a restart takes. § 6, stk. 1."""
    in_force = [rules.genoptjening_on(grid.monday_of(week)) for week in range(grid.weeks)]
    starts = [_window_start(grid, week, rule.vindue_aar) for week, rule in enumerate(in_force)]
    return starts, [rule.uger for rule in in_force]


def own_window(taeller: Taeller, grid: Grid) -> Window:
    """`window_starts` of a counter beside the law's own; where it never starts over, more weeks than there are."""
    if taeller.genoptjening_uger is None or taeller.vindue_aar is None:
        return [0] * grid.weeks, [grid.weeks + 1] * grid.weeks
    starts = [_window_start(grid, week, taeller.vindue_aar) for week in range(grid.weeks)]
    return starts, [taeller.genoptjening_uger] * grid.weeks


def count_weeks(krav: pl.DataFrame, grid: Grid, rules: Rulebook) -> Counted:
    """Week by week for all persons of the shard: kind, n, genoptjening. Units: weeks.

    Hjemmel: § 5, stk. 2-3 (uger med ydelser), § 6 (52 hele kalenderuger inden for 3 år), § 30, stk. 1.
    """
    borger_id = krav["borger_id"].unique().sort().to_numpy().astype(np.int64)
    used = krav.filter(pl.col("beloeb_oere") > 0)
    kind = week_kinds(used, borger_id, grid, rules)
    own = [(own_kinds(used, kind, borger_id, grid, rules, one), own_window(one, grid)) for one in rules.taellere]
    egne = tuple(walk(borger_id, kinds, grid, rules, window) for kinds, window in own)
    return replace(walk(borger_id, kind, grid, rules, window_starts(rules, grid)), egne=egne)


def walk(borger_id: Ints, kind: npt.NDArray[np.uint8], grid: Grid, rules: Rulebook, window_of_week: Window) -> Counted:
    """The two counters of every person, from the kinds of their weeks. Units: weeks.

    `window_of_week`: per week the first week of its window, and the free weeks that a restart takes.
    `free` counts the whole weeks of self-support since the first benefit week, never reset; the current
    count began where it stood at `begun`. So the window holds free - max(free before the window, begun).
    """
    persons = len(borger_id)
    starts, needed = window_of_week
    on_reaching = rules.laesning("genoptjening_proeves") == "ved_opnaaelse"
    overgang = grid.week_of(rules.overgang.gaelder_fra)
    n, begun, n_overgang = (np.zeros(persons, np.int16) for _ in range(3))
    free = np.zeros((grid.weeks + 1, persons), np.int16)
    all_n, window_of = (np.zeros((grid.weeks, persons), np.int16) for _ in range(2))
    restarts = np.zeros((grid.weeks, persons), np.bool_)
    for week in range(grid.weeks):
        is_a = kind[week] == KIND_A
        is_free = (kind[week] == KIND_C) & (n > 0) & (week < grid.whole_weeks)
        before = free[week] - np.maximum(free[starts[week]], begun)
        due = (before >= needed[week]) & (not on_reaching)
        if week == overgang:
            n_overgang = np.where(due, 0, n) + np.int16(1)
        starts_over = due & is_a
        n[starts_over] = 0
        begun = np.where(starts_over, free[week], begun)
        n += is_a
        free[week + 1] = free[week] + is_free
        window = free[week + 1] - np.maximum(free[starts[week]], begun)
        restart = is_free & (window >= needed[week]) & on_reaching
        n[restart] = 0
        begun = np.where(restart, free[week + 1], begun)
        all_n[week] = n
        window_of[week] = np.where(restart, 0, window)
        restarts[week] = restart | starts_over
    return Counted(borger_id, kind, all_n, window_of, restarts, n_overgang)


def spells(counted: Counted, grid: Grid) -> pl.DataFrame:
    """One row per person and spell (`Forloeb`), from the first A- or B-week to the last. Units: weeks, dates.

    A spell ends where the kind changes and at a restart, so that n rises by one a week within an A-spell.
    """
    person, week, until = _begins(counted)
    kind, restart, n = counted.kind[week, person], counted.restart[week, person], counted.n
    on_c = kind == KIND_C
    n_before = np.where(week > 0, n[week - 1, person], 0)
    # A restart by a C-week ends its spell and belongs to the count before; one by an A-week begins a new count.
    restarts = np.flatnonzero(counted.restart.T)
    begin = person * len(counted.kind)
    done = np.searchsorted(restarts, begin + week + ~on_c) - np.searchsorted(restarts, begin)
    frame = pl.DataFrame(
        {
            "borger_id": counted.borger_id[person],
            "fra_uge": grid.origin + 7 * week,
            "antal_uger": until - week,
            "art": KIND_NAMES.gather(kind),
            "taelling": 1 + done,
            "n_foer": np.where(restart & ~on_c, 0, n_before).astype(np.int64),
            "taeller": on_c & (n_before > 0),
            "genoptjent": counted.restart[until - 1, person] & on_c,
        }
    )
    return frame.with_columns(pl.col("fra_uge").cast(pl.Int32).cast(pl.Date))


def _begins(counted: Counted) -> tuple[Ints, Ints, Ints]:
    """Person, first week and week after the last of every spell from the first A- or B-week of a person to the last."""
    kind, restart = counted.kind, counted.restart
    weeks, persons = kind.shape
    begins = np.ones(kind.shape, np.bool_)
    begins[1:] = kind[1:] != kind[:-1]
    begins[1:] |= np.where(kind[1:] == KIND_C, restart[:-1], restart[1:])
    person, week = np.divmod(np.flatnonzero(begins.T), weeks)
    until = np.append(week[1:], 0)
    until[until == 0] = weeks
    # What lies before a person's first week of support, or after the last one, is no spell.
    supported = np.flatnonzero(kind[week, person] != KIND_C)
    first, last = np.full(persons, len(week)), np.full(persons, -1)
    first[person[supported[::-1]]] = supported[::-1]
    last[person[supported]] = supported
    place = np.arange(len(week))
    kept = (first[person] <= place) & (place <= last[person])
    return person[kept], week[kept], until[kept]
