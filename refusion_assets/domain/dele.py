"""Understands how a claim's amount is placed on weeks: cut in parts, to the øre, with nothing lost."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.satser import NEVER, SIDE_INGEN, Rates
from refusion_assets.domain.weeks import Grid, Ints

Flags = npt.NDArray[np.bool_]


class Placering(pa.DataFrameModel):
    """One row per person: what the claims sum to, and where the øre went that carry no money."""

    borger_id: pl.Int64
    krav_oere: pl.Int64
    foer_finansiering_oere: pl.Int64
    ikke_forfalden_oere: pl.Int64
    uden_afregning_oere: pl.Int64

    class Config:
        """Exactly these columns; one row per person."""

        strict = True
        unique = ["borger_id"]  # noqa: RUF012  pandera reads the list


@dataclass(frozen=True)
class Parts:
    """Claims cut in parts, one per cell they touch and that carries money: claim index, cell, øre.

    What carries none stands per claim: øre of days before `finansieres_fra`, of days after the last known
    day, and of benefits (or weeks of a benefit) that are not settled.
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

    def placed(self, claim: Ints, first: Ints, last: Ints) -> Ints:
        """Øre of the days first..last of each claim, by cumulative rounding. rules.md section 5."""
        return self.through(claim, last) - self.through(claim, first - 1)

    def through(self, claim: Ints, day: Ints) -> Ints:
        """Øre placed on a claim's days up to and including `day` (none before its start)."""
        start, end = self.start[claim], self.end[claim]
        by_calendar = np.minimum(day, end) - start + 1, end - start + 1
        done, days = by_calendar
        if self.method == "hverdage":
            weekdays = _weekdays_before(end + 1) - _weekdays_before(start)
            has_weekday = weekdays > 0
            done = np.where(has_weekday, _weekdays_before(np.minimum(day, end) + 1) - _weekdays_before(start), done)
            days = np.where(has_weekday, weekdays, days)
        return round_half_away(self.amount[claim] * np.maximum(done, 0), days)


def round_half_away(numerator: Ints, denominator: Ints | int) -> Ints:
    """Numerator / denominator in whole øre, half away from zero: the one rounding of money.

    Hjemmel: rules.md section 5 (a reading; the order's rule on rounding was not found).
    """
    magnitude: Ints = (2 * np.abs(numerator) + denominator) // (2 * np.asarray(denominator))
    return np.sign(numerator) * magnitude


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
    early = spread.through(every, lo - 1)
    never = earliest == NEVER
    claim, cell = _cells(grid, np.where(_needed(krav, known_to, lo, grid, rates), lo, known_to + 1), known_to)
    week = grid.cell_week[cell]
    first = np.maximum(grid.cell_first[cell], np.maximum(start, lo)[claim])
    last = np.minimum(grid.cell_last[cell], known_to[claim])
    from_day = np.maximum(first, rates.financed_from[ydelse[claim], week])
    settled = rates.side[ydelse[claim], week] != SIDE_INGEN
    keep = settled & (from_day <= last)
    odd = ~settled | (from_day > first)
    whole = spread.placed(claim[odd], first[odd], last[odd])
    part = np.where(keep[odd], spread.placed(claim[odd], from_day[odd], last[odd]), 0)
    lost = whole - part
    foer, uden = np.where(never, 0, early), np.where(never, early, 0)
    np.add.at(foer, claim[odd], np.where(settled[odd], lost, 0))
    np.add.at(uden, claim[odd], np.where(settled[odd], 0, lost))
    return Parts(
        claim=claim[keep],
        cell=cell[keep],
        oere=spread.placed(claim[keep], from_day[keep], last[keep]),
        foer_finansiering=foer,
        ikke_forfalden=amount - spread.through(every, known_to),
        uden_afregning=uden,
    )


def _needed(krav: pl.DataFrame, known_to: Ints, lo: Ints, grid: Grid, rates: Rates) -> Flags:
    """The claims to cut: those that reach a wanted month, or in which the benefit's own rules change."""
    wanted_from = grid.offsets(krav["fra_uge"].dt.month_start())
    ydelse = krav["ydelse_nr"].to_numpy()
    differs = (np.diff(rates.side, axis=1) != 0) | (np.diff(rates.financed_from, axis=1) != 0)
    changed = np.pad(differs.cumsum(axis=1), ((0, 0), (1, 0)))
    first_week, last_week = np.clip(lo // 7, 0, grid.weeks - 1), np.clip(known_to // 7, 0, grid.weeks - 1)
    needed: Flags = (known_to >= wanted_from) | (changed[ydelse, first_week] != changed[ydelse, last_week])
    return needed


def placements(krav: pl.DataFrame, parts: Parts) -> pl.DataFrame:
    """One row per person (`Placering`): the claims and what of them carries no money. Øre."""
    sums = krav.select(
        "borger_id",
        krav_oere="beloeb_oere",
        foer_finansiering_oere=pl.Series(parts.foer_finansiering),
        ikke_forfalden_oere=pl.Series(parts.ikke_forfalden),
        uden_afregning_oere=pl.Series(parts.uden_afregning),
    )
    return sums.group_by("borger_id").sum().sort("borger_id")


def _cells(grid: Grid, lo: Ints, hi: Ints) -> tuple[Ints, Ints]:
    """Every cell that the days lo..hi of each claim touch: claim index and cell, in order."""
    claim = np.flatnonzero(lo <= hi)
    first, last = grid.cell_of_day[lo[claim]], grid.cell_of_day[hi[claim]]
    count = last - first + 1
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(claim, count), np.repeat(first, count) + offset
