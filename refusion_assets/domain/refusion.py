"""Understands the money: the rows of a week, who finances them, and the percentage each week gives."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.dele import Parts, placements, round_half_away, split
from refusion_assets.domain.duration import KIND_C, Counted
from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.satser import SIDE_REFUSION, Rates
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


class UdenKommune(pa.DataFrameModel):
    """One row per person, week, benefit month and benefit whose money found no municipality (EI-018). Øre."""

    uge: pl.Date
    maaned: pl.Date
    borger_id: pl.Int64
    ydelse_id: pl.String
    beloeb_oere: pl.Int64 = pa.Field(gt=0)

    class Config:
        """Exactly these columns."""

        strict = True
        unique = ["uge", "maaned", "borger_id", "ydelse_id"]  # noqa: RUF012  pandera reads the list


class Beregnet(pa.DataFrameModel):
    """One row: what the result rows were last calculated from."""

    maaned: pl.Date = pa.Field(description="the run month whose knowledge the rows show")
    regelversion: pl.String
    bopael_maaned: pl.Date = pa.Field(nullable=True, description="the snapshot of residences that was used")

    class Config:
        """Exactly these columns."""

        strict = True


class AendretUge(pa.DataFrameModel):
    """One row per person and run month whose calculation changed rows: the first week that can differ."""

    maaned: pl.Date
    borger_id: pl.Int64
    fra_uge: pl.Date

    class Config:
        """Exactly these columns; a person can stand more than once."""

        strict = True


class AndenBetaler(pa.DataFrameModel):
    """One row per person, benefit month, benefit, payer and residence where the two differ (EI-019). Øre."""

    borger_id: pl.Int64
    maaned: pl.Date
    ydelse_id: pl.String
    kommunekode: pl.String = pa.Field(description="the municipality that paid")
    bopael_kommunekode: pl.String
    uge_fra: pl.Date
    uge_til: pl.Date
    beloeb_oere: pl.Int64

    class Config:
        """Exactly these columns."""

        strict = True


@dataclass(frozen=True)
class Priced:
    """The result rows of a shard, what found no municipality, whose payer is another, and what is left out."""

    rows: pl.DataFrame
    uden_kommune: pl.DataFrame
    anden_betaler: pl.DataFrame
    placering: pl.DataFrame


def week_numbers(counted: Counted, person: Ints, week: Ints, grid: Grid, rules: Rulebook) -> tuple[Ints, Ints]:
    """Per row the week's own number n, and the number that decides its step. Weeks.

    A week before the overgang takes the step of the first week after it. Hjemmel: § 29, stk. 3.
    """
    n = counted.n[week, person].astype(np.int64)
    before = week < grid.week_of(rules.overgang.gaelder_fra)
    return n, np.where(before, counted.n_overgang[person].astype(np.int64), n)


def price(
    krav: pl.DataFrame, counted: Counted, home: npt.NDArray[np.int16], grid: Grid, rates: Rates, rules: Rulebook
) -> Priced:
    """The result rows of a shard (`BorgerUgeYdelse`) with what could not be placed. Øre, whole per cent.

    `krav`: one row per claim with positive amount (borger_id, ydelse_id, kommunekode_betaler or null,
    periode_start, periode_slut, beloeb_oere), and where it is there `fra_uge`: rows of earlier weeks of the
    person are not wanted. `home[week, person]`: municipality of residence or -1.
    Hjemmel: § 5, stk. 2-3; rules.md sections 5-6.
    """
    numbers = {ydelse_id: number for number, ydelse_id in enumerate(rates.ydelse_ids)}
    claims = krav.with_columns(ydelse_nr=pl.col("ydelse_id").replace_strict(numbers, return_dtype=pl.Int64))
    if "fra_uge" not in claims.columns:
        claims = claims.with_columns(fra_uge=pl.lit(grid.monday_of(0)))
    parts = split(claims, grid, rates, rules)
    placed = _placed(claims, parts, counted, home, grid, rules)
    homed, homeless = placed.filter(pl.col("kommune") != NO_KOMMUNE), placed.filter(pl.col("kommune") == NO_KOMMUNE)
    return Priced(
        rows=_with_percentages(_rows(homed), counted, grid, rates, rules),
        uden_kommune=_homeless(homeless, counted, grid, rates),
        anden_betaler=_other_payer(placed, counted, grid, rates),
        placering=placements(claims, parts),
    )


def _placed(
    claims: pl.DataFrame, parts: Parts, counted: Counted, home: npt.NDArray[np.int16], grid: Grid, rules: Rulebook
) -> pl.DataFrame:
    """One row per part that carries money: whose, which cell, who pays, who finances, and if it is wanted."""
    claim, cell = parts.claim, parts.cell
    person = np.searchsorted(counted.borger_id, claims["borger_id"].to_numpy())[claim]
    week = grid.cell_week[cell]
    betaler = claims["kommunekode_betaler"].cast(pl.Int16).fill_null(NO_KOMMUNE).to_numpy()[claim]
    bopael = home[week, person]
    by_payer = (betaler != NO_KOMMUNE) & (rules.laesning("finansieringskommune_refusion") == "betaler")
    first_month = claims["fra_uge"].dt.month_start().cast(pl.Int32).to_numpy()[claim]
    return pl.DataFrame(
        {
            "claim": claim,
            "person": person,
            "cell": cell,
            "ydelse_nr": claims["ydelse_nr"].to_numpy()[claim],
            "kommune": np.where(by_payer, betaler, bopael),
            "betaler": betaler,
            "bopael": bopael,
            "oere": parts.oere,
            "krav_oere": claims["beloeb_oere"].to_numpy()[claim],
            "ny_uge": week >= (grid.offsets(claims["fra_uge"]) // 7)[claim],
            "ny_maaned": grid.cell_month[cell] >= first_month,
        }
    ).filter(pl.col("oere") != 0)


def _rows(homed: pl.DataFrame) -> pl.DataFrame:
    """Parts added to rows (person, cell, benefit, municipality); a claim is reported on its first part."""
    first = pl.col("claim").is_first_distinct()
    reported = homed.with_columns(indberettet=pl.when(first).then(pl.col("krav_oere")).otherwise(0)).filter("ny_uge")
    rows = reported.group_by("person", "cell", "ydelse_nr", "kommune").agg(pl.col("oere", "indberettet").sum())
    return rows.sort("cell", "person", "ydelse_nr", "kommune")


def _named(frame: pl.DataFrame, counted: Counted, grid: Grid, rates: Rates) -> pl.DataFrame:
    """A frame of person, cell and ydelse_nr with the names of the tables: borger_id, uge, maaned, ydelse_id."""
    cell = frame["cell"].to_numpy()
    return frame.with_columns(
        uge=_dates(grid.origin + 7 * grid.cell_week[cell]),
        maaned=_dates(grid.cell_month[cell]),
        borger_id=pl.Series(counted.borger_id[frame["person"].to_numpy()]),
        ydelse_id=pl.Series(rates.ydelse_ids, dtype=pl.String).gather(frame["ydelse_nr"].to_numpy()),
    )


def _kode(column: str) -> pl.Expr:
    """A municipality number as its three-digit code."""
    return pl.col(column).cast(pl.String).str.zfill(3)


def _homeless(homeless: pl.DataFrame, counted: Counted, grid: Grid, rates: Rates) -> pl.DataFrame:
    """One row per key without municipality (`UdenKommune`). Øre."""
    key = ["uge", "maaned", "borger_id", "ydelse_id"]
    named = _named(homeless.filter("ny_uge"), counted, grid, rates)
    return named.group_by(key).agg(beloeb_oere=pl.col("oere").sum()).sort(key)


def _other_payer(placed: pl.DataFrame, counted: Counted, grid: Grid, rates: Rates) -> pl.DataFrame:
    """One row per person, month, benefit and pair of municipalities that differ (`AndenBetaler`). Øre."""
    known = pl.col("ny_maaned") & (pl.col("betaler") != NO_KOMMUNE) & (pl.col("bopael") != NO_KOMMUNE)
    named = _named(placed.filter(known & (pl.col("betaler") != pl.col("bopael"))), counted, grid, rates)
    key = ["borger_id", "maaned", "ydelse_id", "kommunekode", "bopael_kommunekode"]
    pairs = named.with_columns(kommunekode=_kode("betaler"), bopael_kommunekode=_kode("bopael"))
    return (
        pairs.group_by(key)
        .agg(uge_fra=pl.col("uge").min(), uge_til=pl.col("uge").max(), beloeb_oere=pl.col("oere").sum())
        .sort(key)
    )


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
    return _named(rows, counted, grid, rates).select(
        "uge",
        "maaned",
        "borger_id",
        "ydelse_id",
        kommunekode=_kode("kommune"),
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
