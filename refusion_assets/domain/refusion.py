"""Understands the money: a claim's amount placed on weeks, and the percentage each week gives."""

from dataclasses import dataclass

import numpy as np
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.duration import KIND_C, Counted
from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.satser import SIDE_INGEN, SIDE_REFUSION, Rates
from refusion_assets.domain.weeks import Grid, Ints

NO_KOMMUNE = -1
KEY = ["uge", "maaned", "borger_id", "ydelse_id", "kommunekode"]


class BorgerUgeYdelse(pa.DataFrameModel):
    """One row per person, week, benefit month, benefit and financing municipality. Amounts in øre."""

    uge: pl.Date = pa.Field(description="mandag")
    maaned: pl.Date = pa.Field(description="ydelsesmåned, første dag")
    borger_id: pl.Int64
    ydelse_id: pl.String
    kommunekode: pl.String = pa.Field(str_length={"min_value": 3, "max_value": 3})
    indberettet_oere: pl.Int64 = pa.Field(ge=0)
    beloeb_oere: pl.Int64 = pa.Field(gt=0)
    procent: pl.Int64 = pa.Field(ge=0, le=100)
    refusion_oere: pl.Int64 = pa.Field(ge=0)
    medfinansiering_oere: pl.Int64 = pa.Field(ge=0)
    ydelsestaeller: pl.Int64 = pa.Field(nullable=True, ge=0)
    genoptjeningstaeller: pl.Int64 = pa.Field(nullable=True, ge=0)
    trin: pl.Int64 = pa.Field(nullable=True, ge=1)
    hjemmel: pl.String
    regelversion: pl.String

    class Config:
        """Exactly these columns; one row per key."""

        strict = True
        unique = KEY


@dataclass(frozen=True)
class Parts:
    """Claims cut in parts, one per cell they touch: claim index, cell, øre placed there."""

    claim: Ints
    cell: Ints
    oere: Ints


def round_half_away(numerator: Ints, denominator: Ints | int) -> Ints:
    """Numerator / denominator in whole øre, half away from zero: the one rounding of money.

    Hjemmel: rules.md section 5 (a reading; the order's rule on rounding was not found).
    """
    magnitude: Ints = (2 * np.abs(numerator) + denominator) // (2 * np.asarray(denominator))
    return np.sign(numerator) * magnitude


def _days_through(first: Ints, day: Ints, method: str, origin_weekday: int = 0) -> Ints:
    """How many days that carry money lie in first..day (both included), by the reading `fordeling`."""
    if method == "kalenderdage":
        return day - first + 1
    return _weekdays_before(day + 1 + origin_weekday) - _weekdays_before(first + origin_weekday)


def _weekdays_before(day: Ints) -> Ints:
    """Weekdays (Monday to Friday) from the first Monday of the grid to before `day`; negative before it."""
    return (day // 7) * 5 + np.minimum(day % 7, 5)


def split(krav: pl.DataFrame, grid: Grid, rates: Rates, rules: Rulebook) -> Parts:
    """The settled parts of each claim: one per week x month, from `finansieres_fra` to the last known day.

    Øre; the parts of a whole period sum to the claim's amount. `krav`: ydelse_nr, periode_start,
    periode_slut, beloeb_oere (> 0). Hjemmel: § 5, stk. 5 (omregning fra måned til uger); § 29, stk. 3.
    """
    start, end = grid.offsets(krav["periode_start"]), grid.offsets(krav["periode_slut"])
    amount = krav["beloeb_oere"].to_numpy().astype(np.int64)
    ydelse = krav["ydelse_nr"].to_numpy()
    earliest = rates.financed_from.min(axis=1)[ydelse]
    lo = np.maximum(np.maximum(start, 0), earliest)
    hi = np.minimum(end, grid.days - 1)
    claim = np.flatnonzero(lo <= hi)
    cell_lo, cell_hi = grid.cell_of_day[lo[claim]], grid.cell_of_day[hi[claim]]
    count = cell_hi - cell_lo + 1
    claim = np.repeat(claim, count)
    offset = np.arange(len(claim)) - np.repeat(np.cumsum(count) - count, count)
    cell = np.repeat(cell_lo, count) + offset
    week = grid.cell_week[cell]
    first = np.maximum(np.maximum(grid.cell_first[cell], start[claim]), rates.financed_from[ydelse[claim], week])
    last = np.minimum(grid.cell_last[cell], end[claim])
    keep = (first <= last) & (rates.side[ydelse[claim], week] != SIDE_INGEN)
    claim, cell, first, last = claim[keep], cell[keep], first[keep], last[keep]
    oere = _placed(amount[claim], start[claim], end[claim], first, last, rules.laesning("fordeling"))
    return Parts(claim, cell, oere)


def _placed(amount: Ints, start: Ints, end: Ints, first: Ints, last: Ints, method: str) -> Ints:
    """Øre of each part first..last of a period start..end, by cumulative rounding."""
    days = _days_through(start, end, method)
    use_calendar = days == 0
    before, through = _days_through(start, first - 1, method), _days_through(start, last, method)
    days = np.where(use_calendar, end - start + 1, days)
    before = np.where(use_calendar, first - start, before)
    through = np.where(use_calendar, last - start + 1, through)
    return round_half_away(amount * through, days) - round_half_away(amount * before, days)


def week_numbers(counted: Counted, person: Ints, week: Ints, grid: Grid, rules: Rulebook) -> tuple[Ints, Ints]:
    """Per row the week's own number n, and the number that decides its step. Weeks.

    A week before the overgang takes the step of the first week after it. Hjemmel: § 29, stk. 3.
    """
    n = counted.n[week, person].astype(np.int64)
    before = week < grid.week_of(rules.overgang.gaelder_fra)
    return n, np.where(before, counted.n_overgang[person].astype(np.int64), n)


def price(
    krav: pl.DataFrame, counted: Counted, kommune_of: Ints, grid: Grid, rates: Rates, rules: Rulebook
) -> tuple[pl.DataFrame, int]:
    """The result rows (`BorgerUgeYdelse`), and the øre that found no municipality (EI-018).

    `krav`: one row per claim with positive amount (borger_id, ydelse_id, kommunekode_betaler or null,
    periode_start, periode_slut, beloeb_oere); `kommune_of[week, person]`: municipality of residence or -1.
    Hjemmel: § 5, stk. 2-3; rules.md sections 5-6.
    """
    claims = krav.with_columns(
        ydelse_nr=pl.col("ydelse_id").replace_strict(
            rates.ydelse_ids, range(len(rates.ydelse_ids)), return_dtype=pl.Int64
        )
    )
    parts = split(claims, grid, rates, rules)
    persons = np.searchsorted(counted.borger_id, claims["borger_id"].to_numpy())
    person, week = persons[parts.claim], grid.cell_week[parts.cell]
    payer = claims["kommunekode_betaler"].cast(pl.Int64).fill_null(NO_KOMMUNE).to_numpy()[parts.claim]
    by_payer = (payer != NO_KOMMUNE) & (rules.laesning("finansieringskommune_refusion") == "betaler")
    kommune = np.where(by_payer, payer, kommune_of[week, person])
    homeless = int(parts.oere[kommune == NO_KOMMUNE].sum())
    frame = pl.DataFrame(
        {
            "claim": parts.claim,
            "person": person,
            "cell": parts.cell,
            "ydelse_nr": claims["ydelse_nr"].to_numpy()[parts.claim],
            "kommune": kommune,
            "oere": parts.oere,
        }
    ).filter((pl.col("kommune") != NO_KOMMUNE) & (pl.col("oere") != 0))
    amounts = claims["beloeb_oere"].to_numpy()
    first_part = pl.col("claim").is_first_distinct()
    frame = frame.with_columns(
        indberettet=pl.when(first_part).then(pl.Series(amounts[frame["claim"].to_numpy()])).otherwise(0)
    )
    rows = frame.group_by("person", "cell", "ydelse_nr", "kommune").agg(pl.col("oere", "indberettet").sum())
    rows = rows.sort("cell", "person", "ydelse_nr", "kommune")
    return _with_percentages(rows, counted, grid, rates, rules), homeless


def _with_percentages(rows: pl.DataFrame, counted: Counted, grid: Grid, rates: Rates, rules: Rulebook) -> pl.DataFrame:
    """Rows with percentage, step, paragraph and the two results. Whole per cent, øre."""
    person, cell, ydelse = (rows[c].to_numpy() for c in ("person", "cell", "ydelse_nr"))
    week, amount = grid.cell_week[cell], rows["oere"].to_numpy()
    n, number = week_numbers(counted, person, week, grid, rules)
    place = (ydelse, week, np.minimum(number, rates.top))
    procent = rates.procent[place].astype(np.int64)
    result = round_half_away(amount * procent, 100)
    refunded = rates.side[ydelse, week] == SIDE_REFUSION
    stepped = pl.Series(rates.on_staircase[ydelse, week])
    known = pl.Series(counted.kind[week, person] != KIND_C)
    return rows.select(
        uge=_dates(grid.origin + 7 * week),
        maaned=_dates(grid.cell_month[cell]),
        borger_id=pl.Series(counted.borger_id[person]),
        ydelse_id=pl.Series(rates.ydelse_ids, dtype=pl.String).gather(ydelse),
        kommunekode=pl.col("kommune").cast(pl.String).str.zfill(3),
        indberettet_oere="indberettet",
        beloeb_oere="oere",
        procent=pl.Series(procent),
        refusion_oere=pl.Series(np.where(refunded, result, 0)),
        medfinansiering_oere=pl.Series(np.where(refunded, 0, result)),
        ydelsestaeller=pl.when(stepped).then(pl.Series(n)),
        genoptjeningstaeller=pl.when(known).then(pl.Series(counted.genoptjening[week, person].astype(np.int64))),
        trin=pl.when(stepped).then(pl.Series(rates.trin[place].astype(np.int64))),
        hjemmel=pl.Series(rates.texts, dtype=pl.String).gather(rates.hjemmel[place].astype(np.int64)),
        regelversion=pl.lit(rules.version[:12]),
    )


def _dates(days: Ints) -> pl.Series:
    """Day numbers as dates."""
    return pl.Series(days.astype(np.int32)).cast(pl.Date)
