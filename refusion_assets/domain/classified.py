"""Understands what a row is about and whether it counts: rules per row, reversals, claims."""

from dataclasses import dataclass
from datetime import date

import pandera.polars as pa
import polars as pl

from refusion_assets.domain.raw import AMOUNTS, REQUIRED, bits, is_possible_cpr
from refusion_assets.domain.rules import Rulebook

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


class Linje(pa.DataFrameModel):
    """One row per delivered line: what it is about, and the first row rule it breaks. Amount in øre."""

    fil_id: pl.Int64
    linje: pl.Int64
    art: pl.String = pa.Field(nullable=True)
    indberetning_id: pl.String = pa.Field(nullable=True)
    reference_id: pl.String = pa.Field(nullable=True)
    pligt_se: pl.String = pa.Field(nullable=True)
    kommunekode_betaler: pl.String = pa.Field(nullable=True)
    borger_id: pl.Int64 = pa.Field(nullable=True)
    ydelse_id: pl.String = pa.Field(nullable=True)
    konto: pl.String = pa.Field(nullable=True)
    kilde_id: pl.String
    periode_start: pl.Date = pa.Field(nullable=True)
    periode_slut: pl.Date = pa.Field(nullable=True)
    beloeb_oere: pl.Int64
    regel: pl.String = pa.Field(nullable=True)

    class Config:
        """Exactly these columns; one row per line."""

        strict = True
        unique = ["fil_id", "linje"]  # noqa: RUF012  pandera reads the list


class Dom(pa.DataFrameModel):
    """One row per delivered line: the verdict of the set it stands in."""

    fil_id: pl.Int64
    linje: pl.Int64
    status: pl.String = pa.Field(isin=[BRUGT, TILBAGEFOERT, KARANTAENE, VIRKET, VENTER])
    regel: pl.String = pa.Field(nullable=True)

    class Config:
        """Exactly these columns; one row per line."""

        strict = True
        unique = ["fil_id", "linje"]  # noqa: RUF012


@dataclass(frozen=True)
class Classified:
    """The verdict on every line (fil_id, linje, status, regel), and the claims that stand."""

    linjer: pl.DataFrame
    krav: pl.DataFrame


def konto_table(rules: Rulebook) -> pl.DataFrame:
    """One row per account: ydelse_id, kilde_id, felt, kontoart."""
    return pl.DataFrame(
        [(k.konto, k.ydelse_id, k.kilde_id, k.felt, k.kontoart) for k in rules.konti],
        schema=["konto", "ydelse_id", "konto_kilde", "konto_felt", "kontoart"],
        orient="row",
    )


def _amount(rules: Rulebook) -> pl.Expr:
    """A row's amount in øre: the benefit's amount fields less repaid help. § 5, stk. 4."""
    before_atp = rules.laesning("beloebsgrundlag") == "felt0014_er_foer_atp"
    total = pl.lit(None, dtype=pl.Int64)
    for ydelse in rules.ydelser:
        fields = pl.sum_horizontal(pl.col(f"Felt{felt}").fill_null(0) for felt in ydelse.felter)
        if before_atp and ydelse.lov_nr in ("1", "2"):
            fields = fields - pl.col("Felt0046").fill_null(0)
        in_force = (pl.col("ydelse_id") == ydelse.ydelse_id) & (
            (pl.col("periode_start") >= ydelse.gaelder_fra) | (rules.ydelse_on(ydelse.ydelse_id, date.min) == ydelse)
        )
        total = pl.when(in_force).then(fields - pl.col("Felt0098").fill_null(0)).otherwise(total)
    return total


def _missing(*columns: str) -> pl.Expr:
    """True where any of the columns is empty (not: unreadable)."""
    mask = bits(list(columns))
    return (pl.col("udfyldt") & mask) != mask


def _row_rules(rules: Rulebook) -> list[tuple[str, pl.Expr]]:
    """The row rules in the order of the contract: id, and whether a row breaks it. Source: input.md 4."""
    art_i, art_t = pl.col("Indberetningsart") == "I", pl.col("Indberetningsart") == "T"
    known = [k.konto for k in rules.konti]
    unknown = [pl.col(felt).is_not_null() & ~pl.col(felt).is_in(known) for felt in ("Felt0114", "Felt0115")]
    national = ~pl.col("kilde").is_in([k.id for k in rules.kilder if k.art == "kommunal"])
    codes = [k.kommunekode for k in rules.kommuner]
    days = (pl.col("periode_slut") - pl.col("periode_start")).dt.total_days() + 1
    subject = pl.when(art_t).then(pl.col("CPR")).otherwise(pl.col("subjekt"))
    received = pl.col("Modtaget_tidspunkt").dt.date()
    kommune = pl.col("Kommunekode")
    return [
        ("YR-001", art_i & (unknown[0] | unknown[1])),
        ("YR-002", art_i & ~_missing("Felt0114", "Felt0115")),
        ("YR-003", art_i & pl.col("konto").is_null()),
        ("YR-004", art_i & (pl.col("kontoart") == 1) & _missing("Felt0214_start", "Felt0214_slut")),
        ("YR-005", art_i & (pl.col("kontoart") == 2) & _missing("Felt0215_start", "Felt0215_slut", "Felt0216")),
        ("YR-006", art_i & (pl.col("kontoart") == 3) & _missing("Felt0215_start", "Felt0215_slut")),
        ("YR-007", art_i & (pl.col("konto_felt") != pl.col("felt"))),
        ("YR-008", art_i & (pl.col("konto_kilde") != pl.col("kilde"))),
        (
            "EI-001",
            _missing(*REQUIRED)
            | (art_t & _missing("ReferenceID"))
            | (~national & _missing("Kommunekode"))
            | (pl.col("ulaeselig") != 0)
            | (pl.col("Felt0098") < 0).fill_null(value=False),
        ),
        (
            "EI-002",
            (pl.col("Loenperiode_slut") < pl.col("Loenperiode_start"))
            | (art_i & ((days < 1) | (days > rules.graense("periode_dage")))),
        ),
        ("EI-003", (art_i | subject.is_not_null()) & ~is_possible_cpr(subject, received)),
        (
            "EI-008",
            pl.when(national)
            .then(kommune.is_not_null())
            .otherwise(~kommune.is_in(codes) | (kommune != pl.col("enhed"))),
        ),
    ]


def judge(rows: pl.DataFrame, rules: Rulebook) -> pl.DataFrame:
    """One row per delivered line with its subject, account, period, amount (øre) and first broken rule.

    `rows`: the typed columns of `raw`, with `kilde` and `enhed` of the file. Adds ydelse_id, konto,
    periode_start, periode_slut, subjekt (null if impossible), beloeb_oere and `regel` (null = good).
    Source: input.md sections 2 and 4.
    """
    konto = pl.coalesce("Felt0114", "Felt0115")
    felt = pl.when(pl.col("Felt0114").is_not_null()).then(pl.lit("0114")).otherwise(pl.lit("0115"))
    frame = rows.with_columns(konto=konto, felt=felt).join(
        konto_table(rules), on="konto", how="left", maintain_order="left"
    )
    use_214 = pl.col("kontoart") == 1
    frame = frame.with_columns(
        subjekt=pl.when(pl.col("kontoart") == 2).then(pl.col("Felt0216")).otherwise(pl.col("CPR")),
        periode_start=pl.when(use_214).then(pl.col("Felt0214_start")).otherwise(pl.col("Felt0215_start")),
        periode_slut=pl.when(use_214).then(pl.col("Felt0214_slut")).otherwise(pl.col("Felt0215_slut")),
    )
    verdict = pl.lit(None, dtype=pl.String)
    for rule, broken in reversed(_row_rules(rules)):
        verdict = pl.when(broken.fill_null(value=False)).then(pl.lit(rule)).otherwise(verdict)
    subject = pl.when(pl.col("Indberetningsart") == "T").then(pl.col("CPR")).otherwise(pl.col("subjekt"))
    possible = is_possible_cpr(subject, pl.col("Modtaget_tidspunkt").dt.date())
    return frame.with_columns(regel=verdict, beloeb_oere=_amount(rules)).with_columns(
        beloeb_oere=pl.coalesce("beloeb_oere", _all_fields()), subjekt=pl.when(possible).then(subject)
    )


def _all_fields() -> pl.Expr:
    """The amount of a row whose account is unknown: every amount field, so that nothing is lost."""
    benefit = [name for name in AMOUNTS if name not in ("Felt0046", "Felt0098")]
    return pl.sum_horizontal(pl.col(n).fill_null(0) for n in benefit) - pl.col("Felt0098").fill_null(0)


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
    hit = reports.select("indberetning_id", "pligt_se").unique()
    reversals = reversals.join(
        hit.with_columns(known=True),
        left_on=["reference_id", "pligt_se"],
        right_on=["indberetning_id", "pligt_se"],
        how="left",
    )
    effect = pl.when(pl.col("known")).then(pl.lit(VIRKET)).otherwise(pl.lit(VENTER))
    verdict = ["fil_id", "linje", "status", "regel"]
    quarantined = pl.when(pl.col("regel").is_not_null()).then(pl.lit(KARANTAENE))
    lines = pl.concat(
        [
            reports.select(verdict),
            reversals.with_columns(status=quarantined.otherwise(effect)).select(verdict),
            other.with_columns(status=quarantined).select(verdict),
        ]
    )
    return Classified(lines.sort("fil_id", "linje"), krav)


def _judge_reversals(reversals: pl.DataFrame, reports: pl.DataFrame) -> pl.DataFrame:
    """EI-015: a reversal of a reversal has no effect."""
    of_reversal = pl.col("reference_id").is_in(reversals["indberetning_id"].drop_nulls().unique().implode())
    of_report = pl.col("reference_id").is_in(reports["indberetning_id"].drop_nulls().unique().implode())
    pointless = pl.col("regel").is_null() & of_reversal & ~of_report
    return reversals.with_columns(regel=pl.when(pointless).then(pl.lit("EI-015")).otherwise("regel"))


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
    return marked.with_columns(status=status).drop("whole", "one")


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
