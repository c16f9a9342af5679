"""Understands which lines stand: duplicates, reversals, and the claims that the standing lines make."""

from dataclasses import dataclass

import pandera.polars as pa
import polars as pl

CLAIM = ["borger_id", "konto", "periode_start", "periode_slut", "pligt_se", "kommunekode_betaler"]
BRUGT, TILBAGEFOERT, KARANTAENE, VIRKET, VENTER = "brugt", "tilbagefoert", "karantaene", "virket", "venter"


class Krav(pa.DataFrameModel):
    """One row per claim K: subject, account, period, payer and paying municipality. Amount in øre."""

    borger_id: pl.Int64
    ydelse_id: pl.String
    konto: pl.String
    kilde_id: pl.String
    periode_start: pl.Date
    periode_slut: pl.Date
    pligt_se: pl.String
    kommunekode_betaler: pl.String = pa.Field(nullable=True)
    beloeb_oere: pl.Int64 = pa.Field(ge=0, description="sum of the active rows")
    antal_raekker: pl.Int64 = pa.Field(ge=1)

    class Config:
        """Exactly these columns; one row per claim."""

        strict = True
        unique = CLAIM


class Dom(pa.DataFrameModel):
    """One row per delivered line: the verdict of the set it stands in."""

    fil_id: pl.Int64
    linje: pl.Int64
    status: pl.String = pa.Field(isin=[BRUGT, TILBAGEFOERT, KARANTAENE, VIRKET, VENTER])
    regel: pl.String = pa.Field(nullable=True)
    trukket: pl.Boolean = pa.Field(description="a standing reversal points at the line, whatever its verdict")

    class Config:
        """Exactly these columns; one row per line."""

        strict = True
        unique = ["fil_id", "linje"]  # noqa: RUF012


@dataclass(frozen=True)
class Classified:
    """The verdict on every line (fil_id, linje, status, regel), and the claims that stand."""

    linjer: pl.DataFrame
    krav: pl.DataFrame


def classify(linjer: pl.DataFrame) -> Classified:
    """The verdict on every line and the claims that stand, as a function of the set of lines.

    `linjer`: fil_id, fil_orden (rank of the file), linje, art, indberetning_id, reference_id, pligt_se,
    kommunekode_betaler, borger_id, ydelse_id, konto, kilde_id, periode_start, periode_slut, beloeb_oere,
    regel. Order of judgement: row rules, EI-013 and EI-015, reversals, EI-010. Source: input.md 3.
    """
    reports, reversals = linjer.filter(pl.col("art") == "I"), linjer.filter(pl.col("art") == "T")
    other = linjer.filter(pl.col("art").is_null())
    first_file = pl.col("fil_orden").min().over("indberetning_id")
    again = pl.col("regel").is_null() & (pl.col("fil_orden") > first_file)
    reports = reports.with_columns(regel=pl.when(again).then(pl.lit("EI-013")).otherwise("regel"))
    reversals = _judge_reversals(reversals, reports)
    reports = _reverse(reports, reversals)
    reports, krav = _claims(reports)
    verdict = ["fil_id", "linje", "status", "regel", "trukket"]
    quarantined = pl.when(pl.col("regel").is_not_null()).then(pl.lit(KARANTAENE))
    lines = pl.concat(
        [
            reports.select(verdict),
            _effect(reversals, reports).select(verdict),
            other.with_columns(status=quarantined, trukket=pl.lit(value=False)).select(verdict),
        ]
    )
    return Classified(lines.sort("fil_id", "linje"), krav)


def _judge_reversals(reversals: pl.DataFrame, reports: pl.DataFrame) -> pl.DataFrame:
    """EI-015: a reversal of a reversal has no effect."""
    of_reversal = pl.col("reference_id").is_in(reversals["indberetning_id"].drop_nulls().unique().implode())
    of_report = pl.col("reference_id").is_in(reports["indberetning_id"].drop_nulls().unique().implode())
    pointless = pl.col("regel").is_null() & of_reversal & ~of_report
    return reversals.with_columns(regel=pl.when(pointless).then(pl.lit("EI-015")).otherwise("regel"))


def _effect(reversals: pl.DataFrame, reports: pl.DataFrame) -> pl.DataFrame:
    """Reversals with `status`: one that found no report waits (EI-014)."""
    keys = ["reference_id", "pligt_se"]
    aims = reports.select(reference_id="indberetning_id", pligt_se="pligt_se", borger_id="borger_id").unique()
    by_person = reversals.join(aims.with_columns(one=True), on=[*keys, "borger_id"], how="left")
    both = by_person.join(aims.select(keys).unique().with_columns(whole=True), on=keys, how="left")
    found = pl.when(pl.col("borger_id").is_null()).then(pl.col("whole")).otherwise(pl.col("one")).is_not_null()
    status = (
        pl.when(pl.col("regel").is_not_null())
        .then(pl.lit(KARANTAENE))
        .when(found)
        .then(pl.lit(VIRKET))
        .otherwise(pl.lit(VENTER))
    )
    return both.with_columns(status=status, trukket=pl.lit(value=False))


def _reverse(reports: pl.DataFrame, reversals: pl.DataFrame) -> pl.DataFrame:
    """Reports with `status`: reversed where a standing reversal from the same payer points at them."""
    standing = reversals.filter(pl.col("regel").is_null()).select("reference_id", "pligt_se", "borger_id").unique()
    whole = standing.filter(pl.col("borger_id").is_null()).select("reference_id", "pligt_se", whole=True)
    person = standing.filter(pl.col("borger_id").is_not_null()).with_columns(one=True)
    keys = ["indberetning_id", "pligt_se"]
    marked = reports.join(whole, left_on=keys, right_on=["reference_id", "pligt_se"], how="left").join(
        person, left_on=[*keys, "borger_id"], right_on=["reference_id", "pligt_se", "borger_id"], how="left"
    )
    status = (
        pl.when(pl.col("regel").is_not_null())
        .then(pl.lit(KARANTAENE))
        .when(pl.col("whole").is_not_null() | pl.col("one").is_not_null())
        .then(pl.lit(TILBAGEFOERT))
        .otherwise(pl.lit(BRUGT))
    )
    pointed_at = pl.col("whole").is_not_null() | pl.col("one").is_not_null()
    return marked.with_columns(status=status, trukket=pointed_at).drop("whole", "one")


def _claims(reports: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reports with EI-010 judged, and one row per claim that stands (`Krav`). Øre."""
    active = reports.filter(pl.col("status") == BRUGT)
    krav = active.group_by(CLAIM).agg(
        pl.col("ydelse_id", "kilde_id").first(),
        pl.col("beloeb_oere").sum(),
        antal_raekker=pl.len().cast(pl.Int64),
    )
    below = krav.filter(pl.col("beloeb_oere") < 0).select(*CLAIM, below=True)
    marked = reports.join(below, on=CLAIM, how="left", nulls_equal=True)
    spoiled = (pl.col("status") == BRUGT) & pl.col("below").is_not_null()
    marked = marked.with_columns(
        status=pl.when(spoiled).then(pl.lit(KARANTAENE)).otherwise("status"),
        regel=pl.when(spoiled).then(pl.lit("EI-010")).otherwise("regel"),
    ).drop("below")
    standing = krav.filter(pl.col("beloeb_oere") >= 0).select(list(Krav.to_schema().columns)).sort(CLAIM)
    return marked, standing
