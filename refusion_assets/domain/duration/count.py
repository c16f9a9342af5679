"""Understands how many weeks a person has received benefits, and when the count starts over."""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import numpy.typing as npt
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.calendar import Grid, Ints, day_number, expand, monday, years_before
from refusion_assets.domain.contract import Contract
from refusion_assets.domain.rules.entries import Rulebook, Taeller

KIND_C, KIND_B, KIND_A = 0, 1, 2
KIND_OF = {"A": KIND_A, "B": KIND_B}
Counts = npt.NDArray[np.int16]
Flags = npt.NDArray[np.bool_]


class Vindue(Contract):
    """One row per rule of restart: from which Monday, weeks needed, years of the window. § 6, stk. 1."""

    gaelder_fra_uge: pl.Date
    uger: pl.Int64
    vindue_aar: pl.Int64
    ved_opnaaelse: pl.Boolean = pa.Field(description="the count starts over when the weeks are reached")


def windows(rules: Rulebook) -> pl.DataFrame:
    """The rules of restart as a table (`Vindue`), for the analysts' view of weeks."""
    reached = rules.laesning("genoptjening_proeves") == "ved_opnaaelse"
    rows = [(monday(g.gaelder_fra), g.uger, g.vindue_aar, reached) for g in rules.genoptjening]
    return pl.DataFrame(rows, schema=list(Vindue.to_schema().columns), orient="row")


@dataclass(frozen=True)
class Counted:
    """Week x person matrices of a shard: kind, ydelsestæller n and free weeks in the window.

    Row w is week `first` + w of the grid, column p is the person `borger_id[p]` (sorted). `restart` marks the week
    that reached the restart; `n_overgang` is the number the week of the overgang has or would have. Weeks.
    `others`: the same of each counter beside the law's own, in the order of the rules: A counted, C free, B neither.
    With a `Standing`, the rows before its `begin` are zero; do not read them.
    """

    borger_id: Ints
    kind: npt.NDArray[np.uint8]
    n: Counts
    genoptjening: Counts
    restart: Flags
    n_overgang: Counts
    others: tuple["Counted", ...] = ()
    first: int = 0

    def slots(self, week: Ints, person: Ints) -> Ints:
        """The places of weeks of the grid and persons (columns) in the matrices, row after row."""
        return (week - self.first) * len(self.borger_id) + person


@dataclass(frozen=True)
class Standing:
    """The stored weeks of a shard's people before week `begin` of the grid; no later week changes them.

    `kind` and `free` (weeks of self-support that count towards a restart) are week x person. They go from week `first`,
    the earliest in the window of a later week, to before `begin`. Per person `n` before `begin`, and `begun`: the free
    weeks from `first` to the first week of the running count. The spell with the week before `begin` has its first week
    `fra`, `ended` (by a restart in that week), and the columns of `Forloeb`. Weeks.
    """

    borger_id: Ints
    first: int
    begin: int
    kind: npt.NDArray[np.uint8]
    free: Flags
    n: Counts
    begun: Counts
    ended: Flags
    fra: Ints
    n_foer: Ints
    taelling: Ints
    taeller: Flags


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
    """The first counted day if days count from `fra`, from the grid's first Monday. Hjemmel: § 30, stk. 1."""
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
    # Filled person by person, as the units of a span are then neighbours in memory.
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


def week_kinds(
    krav: pl.DataFrame, borger_id: Ints, grid: Grid, rules: Rulebook, since: int = 0
) -> npt.NDArray[np.uint8]:
    """Week x person: A where benefit touches the week, B where other support does, else C.

    `krav` holds claims with a positive amount: borger_id, ydelse_id, periode_start, periode_slut.
    Hjemmel: § 5, stk. 5 (berørt uge); § 6, stk. 2 (A before B, whole weeks of self-support).
    """
    # The first row is week `since` of the grid.
    counted_from = first_counted_day(rules, grid, rules.optaelling.gaelder_fra)
    claims = _spans(krav, borger_id, grid, max(counted_from, 7 * since))
    spans = claims.join(category_spans(rules, grid), on="ydelse_id").select(
        "person",
        "kind",
        first=pl.max_horizontal("first", "first_day") - 7 * since,
        last=pl.min_horizontal("last", "last_day") - 7 * since,
    )
    spans = spans.filter(pl.col("first") <= pl.col("last"))
    benefit = spans.filter(pl.col("kind") == KIND_A)
    shape = (grid.weeks - since, len(borger_id))
    one_day = rules.laesning("uge_beroert") == "een_dag"
    is_a = _touched(benefit, 7, shape) if one_day else _wholly_covered(benefit, shape)
    # B is 1 and A is 2: any support makes a week B, and benefit adds one.
    return _touched(spans, 7, shape).astype(np.uint8) + is_a


def own_kinds(
    krav: pl.DataFrame, law: npt.NDArray[np.uint8], borger_id: Ints, grid: Grid, rules: Rulebook, taeller: Taeller
) -> npt.NDArray[np.uint8]:
    """Week x person for a counter beside the law's own: A counted, C free, else B.

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
    """`window_starts` of a counter beside the law's own; without a restart, more weeks than the grid has."""
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
    others = tuple(walk(borger_id, kinds, grid, rules, window) for kinds, window in own)
    return replace(walk(borger_id, kind, grid, rules, window_starts(rules, grid)), others=others)


def count_on(krav: pl.DataFrame, standing: Standing, grid: Grid, rules: Rulebook) -> Counted:
    """As `count_weeks`, from week `standing.begin` on, for persons whose earlier weeks are stored in `standing`.

    `krav`: their claims that end in that week or later. Only the law's own counter. Units: weeks.
    """
    used = krav.filter(pl.col("beloeb_oere") > 0)
    kind = week_kinds(used, standing.borger_id, grid, rules, standing.first)
    kind[: standing.begin - standing.first] = standing.kind
    return walk(standing.borger_id, kind, grid, rules, window_starts(rules, grid), standing)


def walk(
    borger_id: Ints,
    kind: npt.NDArray[np.uint8],
    grid: Grid,
    rules: Rulebook,
    window_of_week: Window,
    standing: Standing | None = None,
) -> Counted:
    """The two counters of every person, from the kinds of their weeks. Units: weeks.

    `window_of_week`: per week the first week of its window, and the free weeks that a restart takes.
    `free` counts the whole weeks of self-support since the first benefit week, never reset; the current
    count began when it was `begun`. So the window holds free - max(free before the window, begun).
    With `standing` both are counted from the first week of `kind`, which no window reaches beyond.
    """
    weeks, persons = kind.shape
    starts, needed = window_of_week
    on_reaching = rules.laesning("genoptjening_proeves") == "ved_opnaaelse"
    overgang = grid.week_of(rules.overgang.gaelder_fra)
    since, begin = (standing.first, standing.begin - standing.first) if standing else (0, 0)
    free, all_n, restarts, begun, n = _before(standing, weeks, persons, begin)
    window_of, n_overgang = np.zeros((weeks, persons), np.int16), np.zeros(persons, np.int16)
    for row, week in enumerate(range(since + begin, grid.weeks), begin):
        start = starts[week] - since
        is_a = kind[row] == KIND_A
        is_free = (kind[row] == KIND_C) & (n > 0) & (week < grid.whole_weeks)
        due = (free[row] - np.maximum(free[start], begun) >= needed[week]) & (not on_reaching)
        if week == overgang:
            n_overgang = np.where(due, 0, n) + np.int16(1)
        starts_over = due & is_a
        n[starts_over] = 0
        begun = np.where(starts_over, free[row], begun)
        n += is_a
        free[row + 1] = free[row] + is_free
        window = free[row + 1] - np.maximum(free[start], begun)
        restart = is_free & (window >= needed[week]) & on_reaching
        n[restart] = 0
        begun = np.where(restart, free[row + 1], begun)
        all_n[row], window_of[row], restarts[row] = n, np.where(restart, 0, window), restart | starts_over
    return Counted(borger_id, kind, all_n, window_of, restarts, n_overgang, first=since)


def _before(
    standing: Standing | None, weeks: int, persons: int, begin: int
) -> tuple[Counts, Counts, Flags, Counts, Counts]:
    """The state before the walk: free weeks up to each week, n and restarts by week, and per person `begun` and n."""
    free, all_n = np.zeros((weeks + 1, persons), np.int16), np.zeros((weeks, persons), np.int16)
    restarts = np.zeros((weeks, persons), np.bool_)
    if standing is None:
        return free, all_n, restarts, np.zeros(persons, np.int16), np.zeros(persons, np.int16)
    free[1 : begin + 1] = standing.free.cumsum(axis=0, dtype=np.int16)
    all_n[begin - 1], restarts[begin - 1] = standing.n, standing.ended
    return free, all_n, restarts, standing.begun, standing.n.copy()
