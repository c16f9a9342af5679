"""Understands the forecast: people by benefit and week number, moved up the staircase a month at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from refusion_assets.domain.calendar import Grid, Ints, day_number, last_day, make_grid, next_month, round_half_away
from refusion_assets.domain.opfoelgning.views import Prognose
from refusion_assets.domain.refusion.rates import SIDE_INGEN, SIDE_MEDFINANSIERING, SIDE_REFUSION, Rates, make_rates
from refusion_assets.domain.rules.entries import Rulebook

TRAINED, AHEAD, PRICED = 24, 12, 3
BANDS = np.array([1, 5, 27, 53, 105])
"""The first week number of each band that the share of leavers is counted in; outside the staircase is one band."""
OUTSIDE = 0
MILLION, THOUSAND = 1_000_000, 1_000
MOST_WEEKS_OF_A_YEAR = 54
HUNDREDFOLD = 100 * MILLION
PROCENT = 101
COUNTS = ["borgere", "afgang", "tilgang"]
MONEY = ["brutto_oere", "refusion_oere", "medfinansiering_oere"]
BY_PERCENTAGE = ["kommunekode", "ydelse_id", "frem", "procent"]
ERRORS = {
    "ydelse_id": pl.String,
    "fejl_promille": pl.Int64,
    "lav_promille": pl.Int64,
    "hoej_promille": pl.Int64,
}


@dataclass(frozen=True)
class Forecast:
    """The forecast of a run.

    `rows`: columns of `Prognose` but `koersel`. `by_percentage`: one row per municipality, benefit, month ahead
    (`frem`) and per cent, with refusion_oere and medfinansiering_oere. Its sums are those of `rows`. `errors`: one row
    per benefit of the history with its error of a year ago (`fejl_promille`). `lav_promille` and `hoej_promille` are
    the 10 and 90 per cent points of the money that came, by the money expected. A benefit with an unknown error has
    empty values, and no forecast.
    """

    rows: pl.DataFrame
    by_percentage: pl.DataFrame
    errors: pl.DataFrame


def forecast(history: pl.DataFrame, rules: Rulebook, month: date) -> Forecast:
    """The people and the money of the twelve months after run month `month`, by municipality and benefit. Øre.

    `history`: one row per maaned, kommunekode, ydelse_id and ydelsestaeller, with borgere, brutto_oere, refusion_oere
    and medfinansiering_oere of those people's month. The number is that of the last week; empty outside the staircase.
    `afgang`: people of them without the benefit in the municipality the month after. `tilgang`: without it the month
    before. Needs the run month and the 36 before it; with fewer, no benefit has a forecast.

    People leave by the country's share of the last 24 months, by benefit and band of weeks. Those that stay move on by
    the weeks from the last week of a month to that of the next. As many enter as in the same calendar month of the last
    two years, at the week numbers of those. A person's day costs the mean of the last three months in the municipality
    (the country's where it has none).
    Each week has the percentage of its number under `rules`. Fleksbidrag, which has
    no amount, is the mean refusion of a day. The band is the same forecast made a year ago against what came.
    Source: ecosystem of the product, view prognose; Hjemmel: § 5, stk. 2-3 (percentages).
    """
    past = _past(history, rules, month)
    errors = _errors(past)
    known = errors.filter(pl.col("fejl_promille").is_not_null())
    people, money = _expected(past, 0)
    parts = _named(past, money).join(known.select("ydelse_id"), on="ydelse_id", how="semi")
    split = ["refusion_oere", "medfinansiering_oere"]
    by_percentage = parts.group_by(BY_PERCENTAGE).agg(pl.col(split).sum()).sort(BY_PERCENTAGE)
    shown = known.select("ydelse_id", "fejl_promille", low="lav_ppm", high="hoej_ppm")
    return Forecast(_rows(past, people, parts, shown), by_percentage, errors.select(list(ERRORS)))


@dataclass(frozen=True, eq=False)
class _Past:
    """The history as arrays with a place per row: months after the run month (0 and below), benefit, municipality, n.

    `n` is the week number, 0 outside the staircase; `size` is above every n of the year ahead too.
    """

    run_month: date
    grid: Grid
    rates: Rates
    ydelser: list[str]
    koder: list[str]
    size: int
    after: npt.NDArray[np.int16]
    ydelse: Ints
    kommune: Ints
    n: Ints
    values: dict[str, Ints]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Benefits, municipalities and week numbers."""
        return len(self.ydelser), len(self.koder), self.size

    def month(self, after: int) -> date:
        """The month so many after the run month."""
        return next_month(self.run_month, after)

    @cached_property
    def places(self) -> list[int]:
        """The number of each benefit in the table of percentages; -1 for one that has no amount (fleksbidrag)."""
        numbers = {name: number for number, name in enumerate(self.rates.ydelse_ids)}
        return [numbers.get(name, -1) for name in self.ydelser]

    def rows_of(self, months: Sequence[int]) -> Ints:
        """The places of the rows of some months."""
        return np.flatnonzero(np.isin(self.after, np.array(months, np.int16)))

    def people(self, name: str, months: Sequence[int]) -> Ints:
        """A count of some months together, by benefit, municipality and n."""
        rows = self.rows_of(months)
        found = np.zeros(self.shape, np.int64)
        np.add.at(found, (self.ydelse[rows], self.kommune[rows], self.n[rows]), self.values[name][rows])
        return found


def _past(history: pl.DataFrame, rules: Rulebook, month: date) -> _Past:
    rows = history.filter(pl.col("maaned") <= month)
    ydelser, koder = (sorted(rows[name].unique().to_list()) for name in ("ydelse_id", "kommunekode"))
    day, apart = pl.col("maaned").dt, month.year * 12 + month.month
    numbers = rows.select(
        after=(day.year() * 12 + day.month() - apart).cast(pl.Int16),
        ydelse=pl.col("ydelse_id").cast(pl.Enum(ydelser)).to_physical().cast(pl.Int64),
        kommune=pl.col("kommunekode").cast(pl.Enum(koder)).to_physical().cast(pl.Int64),
        n=pl.col("ydelsestaeller").fill_null(OUTSIDE).clip(OUTSIDE),
    )
    grid = make_grid(rules.optaelling.gaelder_fra, last_day(next_month(month, AHEAD)))
    after, ydelse, kommune, n = (column.to_numpy() for column in numbers)
    return _Past(
        run_month=month,
        grid=grid,
        rates=make_rates(rules, grid),
        ydelser=ydelser,
        koder=koder,
        size=int(n.max(initial=0)) + MOST_WEEKS_OF_A_YEAR + 1,
        after=after,
        ydelse=ydelse,
        kommune=kommune,
        n=n,
        values={name: rows[name].to_numpy() for name in (*COUNTS, *MONEY)},
    )


def _band(n: Ints) -> Ints:
    """The band of each week number: 1 and up, and 0 outside the staircase."""
    return np.where(n == OUTSIDE, 0, np.searchsorted(BANDS, n, side="right"))


def _leaving(past: _Past, origin: int) -> Ints:
    """The share of people that leave in a month, in millionths, by benefit and n: of the 24 months before `origin`.

    A band that nobody was in has the share of the whole benefit.
    """
    rows = past.rows_of(range(origin - TRAINED, origin))
    shape = (len(past.ydelser), len(BANDS) + 1)
    risk, left = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    place = (past.ydelse[rows], _band(past.n[rows]))
    np.add.at(risk, place, past.values["borgere"][rows])
    np.add.at(left, place, past.values["afgang"][rows])
    every = [np.broadcast_to(part.sum(axis=1, keepdims=True), shape) for part in (risk, left)]
    risk, left = (np.where(risk == 0, whole, part) for part, whole in zip((risk, left), every, strict=True))
    share = round_half_away(MILLION * left, np.maximum(risk, 1))
    return share[:, _band(np.arange(past.size))]


def _weeks(past: _Past, after: int) -> Iterator[tuple[int, int, Ints]]:
    """Each week of a month: its number, its days in the month, and the n in it of those with n in the last week.

    -1: the person has not begun.
    """
    grid, n = past.grid, np.arange(past.size)
    cells = np.flatnonzero(grid.cell_month == day_number(past.month(after)))
    weeks = grid.cell_week[cells]
    for week, days in zip(weeks, grid.cell_last[cells] - grid.cell_first[cells] + 1, strict=True):
        then = n - (weeks[-1] - week)
        yield int(week), int(days), np.where(n == OUTSIDE, OUTSIDE, np.where(then >= 1, then, -1))


def _per_day(past: _Past, origin: int) -> Ints:
    """The cost of a person's day by benefit and municipality: the mean of the last three months. Thousandths of øre.

    Only days of weeks that the person's number says have begun. The refusion, where the benefit has no amount.
    """
    shape = past.shape[:2]
    oere, days = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    no_amount = np.array(past.places) < 0
    for after in range(origin - PRICED + 1, origin + 1):
        rows = past.rows_of([after])
        begun = sum(count * (then >= 0) for _, count, then in _weeks(past, after))
        place, n = (past.ydelse[rows], past.kommune[rows]), past.n[rows]
        values = past.values
        basis = np.where(no_amount[place[0]], values["refusion_oere"][rows], values["brutto_oere"][rows])
        np.add.at(oere, place, basis)
        np.add.at(days, place, values["borgere"][rows] * np.asarray(begun)[n])
    every = [np.broadcast_to(part.sum(axis=1, keepdims=True), shape) for part in (oere, days)]
    oere, days = (np.where(days == 0, whole, part) for part, whole in zip((oere, days), every, strict=True))
    return round_half_away(THOUSAND * oere, np.maximum(days, 1))


def _person_days(past: _Past, people: Ints, after: int) -> Iterator[tuple[int, int, int, Ints]]:
    """Per benefit, side and percentage of a month: the days of people, by municipality. `people` and days: millionths.

    Each day has the percentage of its own week.
    """
    weeks = list(_weeks(past, after))
    top = past.rates.top
    for ydelse, place in enumerate(past.places):
        code = np.full((len(weeks), past.size), -1)
        for number, (week, _, then) in enumerate(weeks):
            side = SIDE_REFUSION if place < 0 else int(past.rates.side[place, week])
            procent = 0 if place < 0 else past.rates.procent[place, week, np.clip(then, 0, top)]
            code[number] = np.where((then >= 0) & (side != SIDE_INGEN), side * PROCENT + procent, -1)
        count = np.array([days for _, days, _ in weeks])
        for one in np.unique(code[code >= 0]).tolist():
            days = people[ydelse] @ (count @ (code == one))
            yield ydelse, one // PROCENT, one % PROCENT, days


def _expected(past: _Past, origin: int) -> tuple[Ints, pl.DataFrame]:
    """The forecast from a month on: people by benefit, municipality and month ahead (millionths), and their money.

    The money: one row per benefit, municipality, month ahead, side and percentage (their numbers). Øre.
    """
    leaving, per_day = _leaving(past, origin), _per_day(past, origin)
    people = MILLION * past.people("borgere", [origin])
    found = np.zeros((*past.shape[:2], AHEAD), np.int64)
    parts = [np.zeros((0, len(_MONEY)), np.int64)]
    for frem in range(1, AHEAD + 1):
        after = origin + frem
        weeks = past.grid.week_of(last_day(past.month(after))) - past.grid.week_of(last_day(past.month(after - 1)))
        stay = people - round_half_away(people * leaving[:, None, :], MILLION)
        people = round_half_away(MILLION * past.people("tilgang", [after - 12, after - 24]), 2)
        people[:, :, OUTSIDE] += stay[:, :, OUTSIDE]
        people[:, :, 1 + weeks :] += stay[:, :, 1 : past.size - weeks]
        found[:, :, frem - 1] = people.sum(axis=2)
        for ydelse, side, procent, days in _person_days(past, people, after):
            basis = round_half_away(round_half_away(days, THOUSAND) * per_day[ydelse], MILLION)
            parts.append(_money(past, ydelse, frem, (side, procent), basis))
    return found, pl.DataFrame(np.concatenate(parts), schema=_MONEY)


_MONEY = ["ydelse", "kommune", "frem", "procent", *MONEY, "egen_oere"]


def _money(past: _Past, ydelse: int, frem: int, rate: tuple[int, int], basis: Ints) -> Ints:
    """The rows of one benefit, month and percentage with money, by municipality: a column per name of `_MONEY`. Øre."""
    side, procent = rate
    kommune = np.flatnonzero(basis)
    basis = basis[kommune]
    no_amount, none = past.places[ydelse] < 0, np.zeros_like(basis)
    share = basis if no_amount else round_half_away(basis * procent, 100)
    refusion, medfinansiering = (share, none) if side == SIDE_REFUSION else (none, share)
    brutto = none if no_amount else basis
    own = medfinansiering if side == SIDE_MEDFINANSIERING else brutto - refusion
    fixed = (none + ydelse, kommune, none + frem, none + procent)
    return np.stack([*fixed, brutto, refusion, medfinansiering, own], axis=1)


def _actual(past: _Past, origin: int) -> Ints:
    """The own share that came, by benefit, municipality and month after `origin`. Øre.

    Medfinansiering where the benefit is on that side in the month, else amount less refusion.
    """
    rows = past.rows_of(range(origin + 1, origin + AHEAD + 1))
    ydelse, frem = past.ydelse[rows], past.after[rows] - origin - 1
    weeks = [past.grid.week_of(last_day(past.month(origin + 1 + number))) for number in range(AHEAD)]
    sides = np.array(
        [past.rates.side[place, weeks] if place >= 0 else [SIDE_REFUSION] * AHEAD for place in past.places]
    )
    brutto, refusion, medfinansiering = (past.values[name][rows] for name in MONEY)
    own = np.where(sides[ydelse, frem] == SIDE_MEDFINANSIERING, medfinansiering, brutto - refusion)
    found = np.zeros((*past.shape[:2], AHEAD), np.int64)
    np.add.at(found, (ydelse, past.kommune[rows], frem), own)
    return found


def _errors(past: _Past) -> pl.DataFrame:
    """One row per benefit (`ERRORS`): how far the forecast of a year ago was from what came; empty if not known.

    Not known: under 36 months before the run month, nothing expected or nothing came. A point of the band is of
    municipalities and months with something expected, at most a hundredfold.
    """
    origin, rows = -AHEAD, []
    long_enough = int(past.after.min(initial=0)) <= origin - TRAINED
    if long_enough:
        _, money = _expected(past, origin)
        place = tuple(money[name].to_numpy() for name in ("ydelse", "kommune", "frem"))
        expected = np.zeros((*past.shape[:2], AHEAD), np.int64)
        np.add.at(expected, (place[0], place[1], place[2] - 1), money["egen_oere"].to_numpy())
        actual = _actual(past, origin)
    for number, name in enumerate(past.ydelser):
        row: tuple[int | None, ...] = (None,) * 5
        if long_enough and actual[number].sum() and expected[number].any():
            row = _error(expected[number].ravel(), actual[number].ravel())
        rows.append((name, *row))
    points = dict.fromkeys(("lav_ppm", "hoej_ppm"), pl.Int64)
    return pl.DataFrame(rows, schema={**ERRORS, **points}, orient="row")


def _error(expected: Ints, actual: Ints) -> tuple[int, ...]:
    """The error and the band's two points in per mille, and the points in millionths."""
    cells = np.flatnonzero(expected)
    ratio = round_half_away(MILLION * actual[cells] * np.sign(expected[cells]), np.abs(expected[cells]))
    ratio = np.sort(np.clip(ratio, -HUNDREDFOLD, HUNDREDFOLD))
    points = ratio[[-(-len(ratio) * share // 100) - 1 for share in (10, 90)]]
    error = round_half_away(THOUSAND * np.abs(actual - expected).sum(), np.abs(actual.sum()))
    return int(error), *round_half_away(points, THOUSAND).tolist(), *points.tolist()


def _named(past: _Past, money: pl.DataFrame) -> pl.DataFrame:
    """Rows with the names of their benefit and municipality instead of the numbers."""
    names = {"ydelse": ("ydelse_id", past.ydelser), "kommune": ("kommunekode", past.koder)}
    for column, (name, words) in names.items():
        numbered = pl.DataFrame({column: range(len(words)), name: words}, schema={column: pl.Int64, name: pl.String})
        money = money.join(numbered, on=column).drop(column)
    return money


def _rows(past: _Past, people: Ints, parts: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The rows of `Prognose` but `koersel`: all months of each municipality and benefit that expects anybody. Øre."""
    ydelse, kommune = np.nonzero(people.any(axis=2))
    every = pl.DataFrame(
        {
            "ydelse": np.repeat(ydelse, AHEAD),
            "kommune": np.repeat(kommune, AHEAD),
            "frem": np.tile(np.arange(1, AHEAD + 1), len(ydelse)),
            "borgere": round_half_away(people[ydelse, kommune].ravel(), MILLION),
        },
        schema=dict.fromkeys(("ydelse", "kommune", "frem", "borgere"), pl.Int64),
    )
    key, money = ["kommunekode", "ydelse_id", "frem"], [*MONEY, "egen_oere"]
    rows = (
        _named(past, every)
        .join(known, on="ydelse_id")
        .join(parts.group_by(key).agg(pl.col(money).sum()), on=key, how="left")
        .with_columns(pl.col(money).fill_null(0), maaned=pl.lit(past.run_month))
        .sort(key)
    )
    own = rows["egen_oere"].to_numpy()
    ends = np.sort([round_half_away(own * rows[name].to_numpy(), MILLION) for name in ("low", "high")], axis=0)
    names = [name for name in Prognose.to_schema().columns if name != "koersel"]
    return rows.with_columns(lav_oere=pl.Series(ends[0]), hoej_oere=pl.Series(ends[1])).select(names)
