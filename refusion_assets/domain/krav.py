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
    """One row per delivered line that is not used: its verdict, and the øre it is on (none on a reversal).

    A line of the files of `classified.grundlag` that is not here is used.
    """

    fil_id: pl.Int64
    linje: pl.Int64
    status: pl.String = pa.Field(isin=[TILBAGEFOERT, KARANTAENE, VIRKET, VENTER])
    regel: pl.String = pa.Field(nullable=True)
    trukket: pl.Boolean = pa.Field(description="a standing reversal takes the line back, whatever its verdict")
    beloeb_oere: pl.Int64 = pa.Field(nullable=True, description="as in classified.linje, so that sums need no join")

    class Config:
        """Exactly these columns; one row per line."""

        strict = True
        unique = ["fil_id", "linje"]  # noqa: RUF012


@dataclass(frozen=True)
class Classified:
    """The verdict on every line (fil_id, linje, status, regel), and the claims that stand."""

    linjer: pl.DataFrame
    krav: pl.DataFrame


class Aendret(pa.DataFrameModel):
    """One row per person whose claims have changed, and the first day a change can be seen."""

    borger_id: pl.Int64
    fra_dag: pl.Date

    class Config:
        """Exactly these columns; a person can stand more than once until it is calculated."""

        strict = True


class Grundlag(pa.DataFrameModel):
    """One row per file that the verdicts and claims rest on."""

    fil_id: pl.Int64

    class Config:
        """Exactly these columns; one row per file."""

        strict = True
        unique = ["fil_id"]  # noqa: RUF012


VERDICT = list(Dom.to_schema().columns)


def not_used(verdicts: pl.DataFrame) -> pl.DataFrame:
    """The verdicts that are kept (`Dom`): nearly all lines are used, and to say so of each would cost the most."""
    return verdicts.filter(pl.col("status").ne_missing(BRUGT))


def classify(linjer: pl.DataFrame) -> Classified:
    """The verdict on every line and the claims that stand, as a function of the set of lines.

    `linjer`: fil_id, fil_orden (rank of the file), linje, art, indberetning_id, reference_id, pligt_se,
    kommunekode_betaler, borger_id, ydelse_id, konto, kilde_id, periode_start, periode_slut, beloeb_oere,
    regel. Order of judgement: row rules, EI-013 and EI-015, reversals, EI-010. Source: input.md 3.
    """
    judged = judge_set(linjer)
    standing = linjer.join(judged.filter(pl.col("status") == BRUGT).select("fil_id", "linje"), on=["fil_id", "linje"])
    krav, spoiled = claims(standing)
    lines = spoil(judged, spoiled)
    return Classified(lines.select(VERDICT).sort("fil_id", "linje"), krav)


def spoil(judged: pl.DataFrame, spoiled: pl.DataFrame) -> pl.DataFrame:
    """Verdicts with EI-010 on the lines of claims below zero."""
    marked = judged.join(spoiled.with_columns(below=True), on=["fil_id", "linje"], how="left", maintain_order="left")
    below = pl.col("below").is_not_null()
    return marked.with_columns(
        status=pl.when(below).then(pl.lit(KARANTAENE)).otherwise("status"),
        regel=pl.when(below).then(pl.lit("EI-010")).otherwise("regel"),
    ).drop("below")


def judge_set(linjer: pl.DataFrame) -> pl.DataFrame:
    """The verdict on every line but for EI-010 (columns of `Dom`): duplicates, reversals of reversals, reversals.

    A report is judged by what shares its IndberetningsID or points at it, a reversal by what it points at;
    so the lines can be handed over in groups of ids. Source: input.md section 3.
    """
    reports, reversals = linjer.filter(pl.col("art") == "I"), linjer.filter(pl.col("art") == "T")
    other = linjer.filter(pl.col("art").is_null())
    first_file = pl.col("fil_orden").min().over("indberetning_id")
    again = pl.col("regel").is_null() & (pl.col("fil_orden") > first_file)
    reports = reports.with_columns(regel=pl.when(again).then(pl.lit("EI-013")).otherwise("regel"))
    reversals = _judge_reversals(reversals, reports)
    reports = _reverse(reports, reversals)
    unreadable = other.with_columns(status=pl.lit(KARANTAENE), trukket=pl.lit(value=False))
    parts = (reports, _effect(reversals, reports), unreadable)
    return pl.concat([part.select(VERDICT) for part in parts])


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
    return both.with_columns(status=status, trukket=pl.lit(value=False), beloeb_oere=pl.lit(None, pl.Int64))


def _reverse(reports: pl.DataFrame, reversals: pl.DataFrame) -> pl.DataFrame:
    """Reports with `status`: reversed where a standing reversal from the same payer points at them.

    A report whose id another has taken before (EI-013) is taken back (`trukket`) only by a reversal of a later file:
    an earlier one, and one sent along with it, is about that other report.
    """
    aim = ["reference_id", "pligt_se", "borger_id"]
    standing = reversals.filter(pl.col("regel").is_null()).group_by(aim).agg(pl.col("fil_orden").max())
    whole = standing.filter(pl.col("borger_id").is_null()).select("reference_id", "pligt_se", whole="fil_orden")
    person = standing.filter(pl.col("borger_id").is_not_null()).select(*aim, one="fil_orden")
    keys = ["indberetning_id", "pligt_se"]
    marked = reports.join(whole, left_on=keys, right_on=aim[:2], how="left").join(
        person, left_on=[*keys, "borger_id"], right_on=aim, how="left"
    )
    last = pl.max_horizontal("whole", "one")
    status = (
        pl.when(pl.col("regel").is_not_null())
        .then(pl.lit(KARANTAENE))
        .when(last.is_not_null())
        .then(pl.lit(TILBAGEFOERT))
        .otherwise(pl.lit(BRUGT))
    )
    of_this = (pl.col("regel").fill_null("") != "EI-013") | (last > pl.col("fil_orden"))
    taken_back = last.is_not_null() & of_this.fill_null(value=False)
    return marked.with_columns(status=status, trukket=taken_back).drop("whole", "one")


def claims(standing: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One row per claim that stands (`Krav`), and the lines (fil_id, linje) of claims below zero. Øre.

    `standing`: the report lines that no rule and no reversal has taken. EI-010; input.md section 3.
    """
    krav = standing.group_by(CLAIM).agg(
        pl.col("ydelse_id", "kilde_id").first(),
        pl.col("beloeb_oere").sum(),
        antal_raekker=pl.len().cast(pl.Int64),
    )
    below = krav.filter(pl.col("beloeb_oere") < 0).select(CLAIM)
    spoiled = standing.join(below, on=CLAIM, how="semi", nulls_equal=True).select("fil_id", "linje")
    stands = krav.filter(pl.col("beloeb_oere") >= 0).select(list(Krav.to_schema().columns)).sort(CLAIM)
    return stands, spoiled
