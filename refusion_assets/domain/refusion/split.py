"""Understands how a claim's amount is placed on weeks: cut in parts, to the øre, with nothing lost."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.calendar import Grid, Ints, expand, round_half_away
from refusion_assets.domain.contract import Contract
from refusion_assets.domain.refusion.rates import NEVER, Rates, eras
from refusion_assets.domain.rules.entries import Rulebook

KEY = ["uge", "maaned", "borger_id", "ydelse_id", "kommunekode"]
Flags = npt.NDArray[np.bool_]


class Placering(Contract, key=["borger_id", "slut_maaned"]):
    """One row per person and month in which claims end of which øre carry no money: where these went."""

    borger_id: pl.Int64
    slut_maaned: pl.Date = pa.Field(description="kravenes sidste dags måned, første dag")
    foer_finansiering_oere: pl.Int64
    ikke_forfalden_oere: pl.Int64
    uden_afregning_oere: pl.Int64


@dataclass(frozen=True)
class Parts:
    """Claims cut in parts, one per cell they touch and that carries money: claim index, cell, øre.

    The parts of a claim follow each other, by cell. Øre outside every part, per claim: days before `finansieres_fra`,
    days after the last known day, weeks in which the benefit is not settled.
    """

    claim: Ints
    cell: Ints
    oere: Ints
    foer_finansiering: Ints
    ikke_forfalden: Ints
    uden_afregning: Ints


@dataclass(frozen=True)
class Spread:
    """The claims of a shard as arrays: first and last day (of the grid), øre, and the reading of days."""

    start: Ints
    end: Ints
    amount: Ints
    method: str

    @cached_property
    def days(self) -> Ints:
        """The days each amount is spread over; those of the calendar where a period has no weekday."""
        calendar = self.end - self.start + 1
        if self.method != "hverdage":
            return calendar
        return np.where(self._weekdays > 0, self._weekdays, calendar)

    @cached_property
    def _weekdays(self) -> Ints:
        return _weekdays_before(self.end + 1) - _weekdays_before(self.start)

    def placed(self, claim: Ints, first: Ints, last: Ints) -> Ints:
        """Øre of the days first..last of each claim, by cumulative rounding. rules.md section 5."""
        return self.through(claim, last) - self.through(claim, first - 1)

    def through(self, claim: Ints, day: Ints) -> Ints:
        """Øre placed on a claim's days up to and including `day` (none before its start)."""
        day = np.minimum(day, self.end[claim])
        done = day - (self.start - 1)[claim]
        if self.method == "hverdage":
            weekdays = _weekdays_before(day + 1) - _weekdays_before(self.start)[claim]
            done = np.where((self._weekdays > 0)[claim], weekdays, done)
        return round_half_away(self.amount[claim] * np.maximum(done, 0), self.days[claim])


def _weekdays_before(day: Ints) -> Ints:
    """Weekdays (Monday to Friday) from the first Monday of the grid to before `day`; negative before it."""
    return (day // 7) * 5 + np.minimum(day % 7, 5)


def split(krav: pl.DataFrame, grid: Grid, rates: Rates, rules: Rulebook) -> Parts:
    """The settled parts of each claim: one per week x month, from `finansieres_fra` to the last known day.

    Øre; the parts and the three sums add up to the claims. `krav`: ydelse_nr, periode_start, periode_slut,
    beloeb_oere (> 0), fra_uge: claims that end before its month are not cut, only summed.
    Hjemmel: § 5, stk. 5 (omregning fra måned til uger); § 29, stk. 3.
    """
    start, end = grid.offsets(krav["periode_start"]), grid.offsets(krav["periode_slut"])
    amount = krav["beloeb_oere"].to_numpy().astype(np.int64)
    spread = Spread(start, end, amount, rules.laesning("fordeling"))
    ydelse = krav["ydelse_nr"].to_numpy()
    every = np.arange(len(amount))
    earliest = rates.financed_from.min(axis=1)[ydelse]
    known_to = np.minimum(end, grid.days - 1)
    lo = np.minimum(np.maximum(np.maximum(start, 0), earliest), known_to + 1)
    early, known = spread.through(every, lo - 1), spread.through(every, known_to)
    never = earliest == NEVER
    foer, uden = np.where(never, 0, early), np.where(never, early, 0)
    claim, first, last, settled, financed = _stretches(ydelse, lo, known_to, rates)
    begins = np.where(settled, np.clip(financed, first, last + 1), last + 1)
    odd = begins > first
    lost = spread.placed(claim[odd], first[odd], begins[odd] - 1)
    np.add.at(foer, claim[odd], np.where(settled[odd], lost, 0))
    np.add.at(uden, claim[odd], np.where(settled[odd], 0, lost))
    wanted = (begins <= last) & (known_to >= grid.offsets(krav["fra_uge"].dt.month_start()))[claim]
    part, cell, oere = _cut(spread, claim[wanted], begins[wanted], last[wanted], grid)
    return Parts(part, cell, oere, foer, ikke_forfalden=amount - known, uden_afregning=uden)


def _stretches(ydelse: Ints, lo: Ints, hi: Ints, rates: Rates) -> tuple[Ints, Ints, Ints, Flags, Ints]:
    """The days lo..hi of each claim, cut where the benefit's rules change; nearly always one stretch a claim.

    Claim index, first and last day, whether the benefit is settled then, and from which day it carries money.
    """
    era = eras(rates)
    asked: Ints = np.flatnonzero(lo <= hi)
    nr, first, last = ydelse[asked], lo[asked], hi[asked]
    place, at = expand(era.number[nr, first // 7], era.number[nr, last // 7])
    return (
        asked[place],
        np.maximum(first[place], era.first_day[at]),
        np.minimum(last[place], era.last_day[at]),
        era.settled[at],
        era.financed_from[at],
    )


def _cut(spread: Spread, claim: Ints, first: Ints, last: Ints, grid: Grid) -> tuple[Ints, Ints, Ints]:
    """The days first..last of each claim cut in cells: claim index, cell and øre of every part, in order.

    The days of a stretch follow each other. So a part is the øre placed through its last day, less the øre placed
    through the last day of the part before.
    """
    stretch, cell = expand(grid.cell_of_day[first], grid.cell_of_day[last])
    part = claim[stretch]
    placed = spread.through(part, np.minimum(grid.cell_last[cell], last[stretch]))
    before = np.empty_like(placed)
    before[1:] = placed[:-1]
    before[np.flatnonzero(np.diff(stretch, prepend=-1))] = spread.through(claim, first - 1)
    return part, cell, placed - before


def placements(krav: pl.DataFrame, parts: Parts) -> pl.DataFrame:
    """One row per person and month in which claims end (`Placering`): their øre outside every part."""
    key = ["borger_id", "slut_maaned"]
    left = krav.select(
        "borger_id",
        slut_maaned=pl.col("periode_slut").dt.month_start(),
        foer_finansiering_oere=pl.Series(parts.foer_finansiering),
        ikke_forfalden_oere=pl.Series(parts.ikke_forfalden),
        uden_afregning_oere=pl.Series(parts.uden_afregning),
    )
    return left.filter(pl.any_horizontal(pl.exclude(key) != 0)).group_by(key).sum().sort(key)
