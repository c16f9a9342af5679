"""Understands a maximum: how much of a person's money of a week or month is left to be refunded under it."""

from collections.abc import Iterator
from datetime import date

import pandera.polars as pa
import polars as pl

from refusion_assets.domain.dele import KEY, round_half_away
from refusion_assets.domain.rules import Rulebook

GROUP = ["borger_id", "ydelse_id"]
SHARE = pl.col("refusion_oere") + pl.col("medfinansiering_oere")


class OverLoft(pa.DataFrameModel):
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

    class Config:
        """Exactly these columns; one row per key and maximum."""

        strict = True
        unique = [*KEY, "loft_id"]  # noqa: RUF012  pandera reads the list


def limit(rows: pl.DataFrame, rules: Rulebook) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The result rows with what the maxima leave of refusion and medfinansiering, and what they took (`OverLoft`). Øre.

    `rows` must hold all rows of every week and month in it, by person, benefit, month, week and municipality: in
    that order they use up a maximum. Maxima are taken one after the other: those on the amount first, those of a week
    before those of a month, by name; each sees what the one before left. Source: rules.md section 8, point 4.
    """
    left = rows.with_columns(grundlag=pl.col("beloeb_oere"), andel=SHARE)
    taken: list[pl.DataFrame] = [OverLoft.empty()]
    for paa, periode, loft_id in _stages(rules):
        column = "grundlag" if paa == "beloeb" else "andel"
        above = _above(left, column, _in_force(left, paa, periode, loft_id, rules), periode)
        left = above.with_columns(pl.col(column) - pl.col("over")).select(left.columns)
        if paa == "beloeb":
            share = round_half_away(left["grundlag"].to_numpy() * left["procent"].to_numpy(), 100)
            left = left.with_columns(andel=pl.Series(share, dtype=pl.Int64))
        taken.append(_taken(above, column, loft_id))
    of_side = {
        name: pl.when(pl.col(name) > 0).then("andel").otherwise(0) for name in ("refusion_oere", "medfinansiering_oere")
    }
    return left.with_columns(**of_side).select(rows.columns), pl.concat(taken).sort(*KEY, "loft_id")


def _stages(rules: Rulebook) -> list[tuple[str, str, str]]:
    """What each maximum is of, the period it is for, and its name, in the order they are taken."""
    found = {(loft.paa, loft.periode, loft.id) for loft in rules.lofter}
    return sorted(found, key=lambda stage: (stage[0] != "beloeb", stage[1] != "uge", stage[2]))


def _in_force(rows: pl.DataFrame, paa: str, periode: str, loft_id: str, rules: Rulebook) -> pl.DataFrame:
    """One row per day that names a period, and benefit that a maximum holds for then: its øre and paragraph."""

    def versions(days: list[date]) -> Iterator[tuple[date, str, int, str]]:
        for day in days:
            loft = rules.loft_on(loft_id, day)
            if loft is not None and (loft.paa, loft.periode) == (paa, periode):
                yield from ((day, ydelse_id, loft.beloeb_oere, loft.hjemmel) for ydelse_id in loft.ydelser)

    schema = {periode: pl.Date, "ydelse_id": pl.String, "loft": pl.Int64, "loft_hjemmel": pl.String}
    return pl.DataFrame(list(versions(rows[periode].unique().to_list())), schema=schema, orient="row")


def _above(rows: pl.DataFrame, column: str, in_force: pl.DataFrame, periode: str) -> pl.DataFrame:
    """The rows in order with `over`: how much of a column lies above the maximum of the period."""
    held = rows.join(in_force, on=[periode, "ydelse_id"], how="left", maintain_order="left")
    through = pl.col(column).cum_sum().over(*GROUP, periode)
    over = pl.min_horizontal(through - pl.col("loft"), pl.col(column)).clip(lower_bound=0)
    return held.with_columns(over=pl.when(pl.col("loft").is_null()).then(0).otherwise(over))


def _taken(above: pl.DataFrame, column: str, loft_id: str) -> pl.DataFrame:
    """The rows of `OverLoft` of one maximum."""
    hit = above.filter(pl.col("over") > 0)
    nothing = pl.lit(0, pl.Int64)
    return hit.select(
        *KEY,
        loft_id=pl.lit(loft_id),
        beloeb_oere=pl.col("over") if column == "grundlag" else nothing,
        refusion_oere=nothing if column == "grundlag" else pl.col("over"),
        hjemmel="loft_hjemmel",
    )
