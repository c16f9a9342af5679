"""Understands which percentage a week has: the rules laid out as one table per benefit, week and number."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from refusion_assets.domain.calendar import Grid, Ints, day_number
from refusion_assets.domain.rules.entries import LOVENS_TAELLER, Rulebook, Ydelse

SIDE_INGEN, SIDE_REFUSION, SIDE_MEDFINANSIERING = 0, 1, 2
SIDES = {"ingen": SIDE_INGEN, "refusion": SIDE_REFUSION, "medfinansiering": SIDE_MEDFINANSIERING}
NEVER = 10**7
NO_STEP = 0


@dataclass(frozen=True)
class Rates:
    """Lookup tables by benefit number y, week w and number on the staircase k (0 .. `top`).

    `side[y, w]`, `financed_from[y, w]` (day of the grid), `on_staircase[y, w]`; `procent`, `trin` and
    `hjemmel` [y, w, k] in whole per cent, step 1.., and index into `texts`. `taeller[y, w]` is the counter that k is
    read from: 0 the law's own, 1 and up those of the rules.
    """

    ydelse_ids: list[str]
    top: int
    side: npt.NDArray[np.int8]
    financed_from: Ints
    on_staircase: npt.NDArray[np.bool_]
    taeller: npt.NDArray[np.int8]
    procent: npt.NDArray[np.int16]
    trin: npt.NDArray[np.int16]
    hjemmel: npt.NDArray[np.int16]
    texts: list[str]


def _steps(rules: Rulebook, ydelse: Ydelse, on_day: date, top: int) -> list[tuple[int, int, str]]:
    """Per number 0..top: percentage, step and paragraph of one benefit on a day."""
    if ydelse.fast_procent is not None:
        return [(ydelse.fast_procent, NO_STEP, ydelse.hjemmel)] * (top + 1)
    if ydelse.trappe is None:
        return [(0, NO_STEP, ydelse.hjemmel)] * (top + 1)
    steps = rules.trappe_on(ydelse.trappe, on_day).trin
    reached = [max((i for i, t in enumerate(steps) if t.fra_uge <= k), default=0) for k in range(top + 1)]
    return [(steps[i].procent, i + 1, steps[i].hjemmel) for i in reached]


def _eras(rules: Rulebook, ydelse_id: str, grid: Grid) -> Iterator[tuple[Ydelse, date, slice]]:
    """The runs of weeks in which one version of a benefit uses one version of its staircase."""
    first, settled = grid.monday_of(0), rules.overgang.gaelder_fra
    versions = [ydelse for ydelse in rules.ydelser if ydelse.ydelse_id == ydelse_id]
    climbed = {ydelse.trappe for ydelse in versions}
    staircases = [trappe.gaelder_fra for trappe in rules.trapper if trappe.id in climbed]
    changes = sorted([*(ydelse.gaelder_fra for ydelse in versions), *staircases])
    begins = {0, *(grid.week_of(day + timedelta(days=6)) for day in changes if day > max(first, settled))}
    bounds = [*sorted(week for week in begins if week < grid.weeks), grid.weeks]
    for week, after in pairwise(bounds):
        on_day = max(grid.monday_of(week), settled)
        yield rules.ydelse_on(ydelse_id, on_day), on_day, slice(week, after)


def make_rates(rules: Rulebook, grid: Grid) -> Rates:
    """The percentages of every benefit and week of the grid, by the number on the staircase.

    The rule of a week is the one in force on its Monday; weeks before the overgang take the staircase of
    the overgang. Whole per cent. Hjemmel: § 5, stk. 2-3; § 29, stk. 3.
    """
    ids = rules.ydelse_ids
    # A count never exceeds the weeks of the grid, so steps beyond them are never reached.
    top = min(max(trin.fra_uge for trappe in rules.trapper for trin in trappe.trin), grid.weeks)
    counters = [LOVENS_TAELLER, *(taeller.id for taeller in rules.taellere)]
    counter_of = {trappe.id: counters.index(trappe.taeller) for trappe in rules.trapper}
    shape = (len(ids), grid.weeks)
    (side, taeller), on_staircase = np.zeros((2, *shape), np.int8), np.zeros(shape, np.bool_)
    financed = np.full(shape, NEVER, np.int64)
    procent, trin, hjemmel = (np.zeros((*shape, top + 1), np.int16) for _ in range(3))
    texts: dict[str, int] = {}
    for y, ydelse_id in enumerate(ids):
        for ydelse, on_day, weeks in _eras(rules, ydelse_id, grid):
            side[y, weeks] = SIDES[ydelse.side]
            on_staircase[y, weeks] = ydelse.trappe is not None
            taeller[y, weeks] = counter_of[ydelse.trappe] if ydelse.trappe else 0
            if ydelse.finansieres_fra is not None:
                financed[y, weeks] = day_number(ydelse.finansieres_fra) - grid.origin
            steps = _steps(rules, ydelse, on_day, top)
            procent[y, weeks] = [s[0] for s in steps]
            trin[y, weeks] = [s[1] for s in steps]
            hjemmel[y, weeks] = [texts.setdefault(s[2], len(texts)) for s in steps]
    return Rates(ids, top, side, financed, on_staircase, taeller, procent, trin, hjemmel, list(texts))


@dataclass(frozen=True)
class Eras:
    """The runs of weeks with the same side and first financed day of a benefit, numbered by benefit and time.

    `number[y, w]` is the era of benefit y in week w. Per era: its first and last day of the grid, whether the benefit
    is settled in it, and the first day that carries money.
    """

    number: Ints
    first_day: Ints
    last_day: Ints
    settled: npt.NDArray[np.bool_]
    financed_from: Ints


def eras(rates: Rates) -> Eras:
    """The eras of every benefit. Days of the grid."""
    begins = np.ones(rates.side.shape, np.bool_)
    begins[:, 1:] = (np.diff(rates.side, axis=1) != 0) | (np.diff(rates.financed_from, axis=1) != 0)
    ydelse, week = np.nonzero(begins)
    until = np.append(week[1:], 0)
    until[until == 0] = rates.side.shape[1]
    return Eras(
        number=begins.cumsum().reshape(begins.shape) - 1,
        first_day=7 * week,
        last_day=7 * until - 1,
        settled=rates.side[ydelse, week] != SIDE_INGEN,
        financed_from=rates.financed_from[ydelse, week],
    )
