"""Understands a maximum: the part of a person's money of a week or month that it leaves."""

from collections.abc import Iterator
from datetime import date

import numpy as np
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.calendar import Ints, round_half_away
from refusion_assets.domain.contract import Contract
from refusion_assets.domain.refusion.split import KEY
from refusion_assets.domain.rules.entries import Rulebook, in_force

GROUP = ["borger_id", "ydelse_id"]
NO_LIMIT = 2**62


class OverLoft(Contract, key=[*KEY, "loft_id"]):
    """One row per result row and maximum that took something of it. Øre.

    The share of a row is the rounded percentage of its amount less `beloeb_oere` here, less `refusion_oere` here.
    """

    uge: pl.Date = pa.Field(description="mandag")
    maaned: pl.Date = pa.Field(description="ydelsesmåned, første dag")
    borger_id: pl.Int64
    ydelse_id: pl.String
    kommunekode: pl.String
    loft_id: pl.String
    beloeb_oere: pl.Int64 = pa.Field(ge=0, description="of the amount, above the maximum")
    refusion_oere: pl.Int64 = pa.Field(ge=0, description="of the refusion or medfinansiering, above the maximum")
    hjemmel: pl.String


def limit(rows: pl.DataFrame, rules: Rulebook) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The result rows with what the maxima leave of refusion and medfinansiering, and what they took (`OverLoft`). Øre.

    `rows` must hold all rows of every week and month in it, by person, benefit, month, week and municipality. In that
    order they use up a maximum. Maxima on the amount come first, those of a week before those of a month, then by name.
    Each applies to the rest after the one before.
    Hjemmel: none of its own; the act that brings the maximum, as its entry says. Source: rules.md section 8, point 4.
    """
    first = {periode: _first_of_group(rows, periode) for periode in ("uge", "maaned")}
    amount = rows["beloeb_oere"].to_numpy().copy()
    share = (rows["refusion_oere"] + rows["medfinansiering_oere"]).to_numpy().copy()
    taken: list[pl.DataFrame] = [OverLoft.empty()]
    stages = {(loft.paa != "beloeb", loft.periode != "uge", loft.id, loft.paa, loft.periode) for loft in rules.lofter}
    for _, _, loft_id, paa, periode in sorted(stages):
        # The maximum in force for each row, and its paragraph; without one, a number above any amount.
        limits = _in_force(rows, paa, periode, loft_id, rules)
        held = rows.select(KEY).join(limits, on=[periode, "ydelse_id"], how="left", maintain_order="left")
        held = held.with_columns(pl.col("loft").fill_null(NO_LIMIT))
        money = amount if paa == "beloeb" else share
        over = _above(money, held["loft"].to_numpy(), first[periode])
        money -= over
        hit = np.flatnonzero(over)
        if paa == "beloeb":
            share[hit] = round_half_away(amount[hit] * rows["procent"].to_numpy()[hit], 100)
        taken.append(_taken(held[hit], over[hit], paa, loft_id))
    left = {
        name: pl.when(pl.col(name) > 0).then(pl.Series(share)).otherwise(0)
        for name in ("refusion_oere", "medfinansiering_oere")
    }
    return rows.with_columns(**left), pl.concat(taken).sort(*KEY, "loft_id")


def _first_of_group(rows: pl.DataFrame, periode: str) -> Ints:
    """Per row the place of the first row of the same person, benefit and period."""
    begins = rows.select(pl.any_horizontal(pl.col(c).ne_missing(pl.col(c).shift()) for c in (*GROUP, periode)))
    place = np.arange(rows.height)
    first: Ints = np.maximum.accumulate(np.where(begins.to_series().to_numpy(), place, 0)) if rows.height else place
    return first


def _in_force(rows: pl.DataFrame, paa: str, periode: str, loft_id: str, rules: Rulebook) -> pl.DataFrame:
    """One row per day that names a period, and benefit that a maximum holds for then: its øre and paragraph."""

    def versions(days: list[date]) -> Iterator[tuple[date, str, int, str]]:
        for day in days:
            loft = in_force([one for one in rules.lofter if one.id == loft_id], day)
            if loft is not None and (loft.paa, loft.periode) == (paa, periode):
                yield from ((day, ydelse_id, loft.beloeb_oere, loft.hjemmel) for ydelse_id in loft.ydelser)

    schema = {periode: pl.Date, "ydelse_id": pl.String, "loft": pl.Int64, "loft_hjemmel": pl.String}
    return pl.DataFrame(list(versions(rows[periode].unique().to_list())), schema=schema, orient="row")


def _above(money: Ints, most: Ints, first: Ints) -> Ints:
    """How much of each row's money lies above the maximum, after the rows before it. Øre."""
    through = np.cumsum(money)
    in_group = through - (through - money)[first]
    return np.clip(in_group - most, 0, money)


def _taken(hit: pl.DataFrame, over: Ints, paa: str, loft_id: str) -> pl.DataFrame:
    nothing = pl.Series(np.zeros_like(over))
    return hit.select(
        *KEY,
        loft_id=pl.lit(loft_id),
        beloeb_oere=pl.Series(over) if paa == "beloeb" else nothing,
        refusion_oere=nothing if paa == "beloeb" else pl.Series(over),
        hjemmel="loft_hjemmel",
    )
