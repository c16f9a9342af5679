"""Understands delivered lines: subject, first broken rule, verdict, and the claims of the used lines.

Quarantine: `judge` sets the row rule (`classified.linje.regel`), `judge_set` adds EI-013 and EI-015, `spoil` EI-010.
`assets.classified` stores the verdict in `classified.dom` (status `karantaene`). Its SQL makes two results without this
module: `judge_reports` the verdict on a report that no other line concerns, and `make_claims` a claim of one line.
"""

from dataclasses import dataclass
from datetime import date

import pandera.polars as pa
import polars as pl

from refusion_assets.domain.calendar import round_half_away
from refusion_assets.domain.contract import Contract
from refusion_assets.domain.raw import AMOUNTS, BIT, REQUIRED, bits, is_possible_cpr
from refusion_assets.domain.rules.entries import Rulebook, spans
from refusion_assets.domain.wording import DAY, MONTH

LARGEST, HUNDREDTHS = 999_999_999_999, 100
"""The most øre that an amount field can hold, and what a unit is counted in, as an amount field has two decimals."""


class Linje(Contract, key=["fil_id", "linje"]):
    """One row per delivered line: person, account, period, payer, and the first row rule it breaks. Amount in øre."""

    fil_id: pl.Int64
    linje: pl.Int64
    art: pl.String = pa.Field(nullable=True, description="I = report, T = reversal")
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
    regel: pl.String = pa.Field(nullable=True, description="the first row rule that the line breaks")
    uventet_indkomst: pl.Boolean = pa.Field(description="EI-006")
    uden_for_gyldighed: pl.Boolean = pa.Field(description="EI-007")


def konto_table(rules: Rulebook) -> pl.DataFrame:
    """One row per account: the benefit, and the expected form of a report on it."""
    columns: dict[str, tuple[str, type[pl.DataType]]] = {
        "konto": ("konto", pl.String),
        "ydelse_id": ("ydelse_id", pl.String),
        "konto_kilde": ("kilde_id", pl.String),
        "konto_felt": ("felt", pl.String),
        "kontoart": ("kontoart", pl.Int64),
        "ventet_type": ("indkomsttype", pl.String),
        "ventet_art": ("indtaegtsart", pl.String),
        "gyldig_fra": ("gyldig_fra", pl.Date),
        "gyldig_til": ("gyldig_til", pl.Date),
    }
    series = [pl.Series(name, [getattr(k, key) for k in rules.konti], kind) for name, (key, kind) in columns.items()]
    return pl.DataFrame(series)


def _version(ydelse_id: str, since: date, until: date) -> pl.Expr:
    """True on rows of a benefit whose period begins from `since` until before `until`."""
    version = pl.col("ydelse_id") == ydelse_id
    if since != date.min:
        version &= pl.col("periode_start") >= since
    return version if until == date.max else version & (pl.col("periode_start") < until)


def _in_money(number: pl.Expr, rules: Rulebook) -> pl.Expr:
    """The sum of a row's amount fields in øre: of a benefit with a price, hundredths of units times the price.

    The price is the one on the first day of the period. Null where the product has more than ten digits of kroner.
    """
    if not rules.enhedspriser:
        return number
    price = pl.lit(None, dtype=pl.Int64)
    for name in sorted({entry.ydelse_id for entry in rules.enhedspriser}):
        for entry, since, until in spans([p for p in rules.enhedspriser if p.ydelse_id == name], back=True):
            price = pl.when(_version(name, since, until)).then(pl.lit(entry.pris_oere)).otherwise(price)
    fits = number.abs() <= HUNDREDTHS * LARGEST // price
    product = pl.when(fits).then(number * price).otherwise(0)
    oere = product.map_batches(lambda many: pl.Series(round_half_away(many.to_numpy(), HUNDREDTHS)), pl.Int64)
    return pl.when(price.is_null()).then(number).when(fits).then(oere)


def _amount(rules: Rulebook) -> pl.Expr:
    """A row's amount in øre: the amount fields of the benefit's version less repaid help. § 5, stk. 4."""
    before_atp = rules.laesning("beloebsgrundlag") == "felt0014_er_foer_atp"
    fields: dict[tuple[tuple[str, ...], bool], pl.Expr] = {}
    versions = [
        s for name in rules.ydelse_ids for s in spans([y for y in rules.ydelser if y.ydelse_id == name], back=True)
    ]
    for ydelse, since, until in versions:
        version = _version(ydelse.ydelse_id, since, until)
        key = ydelse.felter, before_atp and ydelse.lov_nr in ("1", "2")
        fields[key] = fields[key] | version if key in fields else version
    total = pl.lit(None, dtype=pl.Int64)
    for (felter, less_atp), chosen in fields.items():
        amount = _in_money(pl.sum_horizontal(pl.col(f"Felt{felt}").fill_null(0) for felt in felter), rules)
        atp = pl.col("Felt0046").fill_null(0) if less_atp else pl.lit(0)
        total = pl.when(chosen).then(amount - atp - pl.col("Felt0098").fill_null(0)).otherwise(total)
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
    codes = rules.koder
    days = (pl.col("periode_slut") - pl.col("periode_start")).dt.total_days() + 1
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
            | (pl.col("ulaeselig") & ~pl.col("subjekt_bit") != 0)
            | (pl.col("Felt0098") < 0).fill_null(value=False)
            # Units times the price is more than an amount can be.
            | (art_i & pl.col("ydelse_id").is_not_null() & pl.col("beloeb_oere").is_null()),
        ),
        (
            "EI-002",
            (pl.col("Loenperiode_slut") < pl.col("Loenperiode_start"))
            | (art_i & ((days < 1) | (days > rules.graense("periode_dage")))),
        ),
        ("EI-003", (art_i | pl.col("subjekt").is_not_null()) & ~pl.col("muligt_cpr")),
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
    periode_start, periode_slut, subjekt (null if impossible), beloeb_oere, `regel` (null = good) and the
    warnings uventet_indkomst and uden_for_gyldighed.
    Hjemmel: none, technical (contract: input.md sections 2 and 4).
    """
    konto = pl.coalesce("Felt0114", "Felt0115")
    felt = pl.when(pl.col("Felt0114").is_not_null()).then(pl.lit("0114")).otherwise(pl.lit("0115"))
    # Lazy, so that a value of several rules is computed once.
    frame = (
        rows.lazy()
        .with_columns(konto=konto, felt=felt)
        .join(konto_table(rules).lazy(), on="konto", how="left", maintain_order="left")
    )
    use_214 = pl.col("kontoart") == 1
    by_employer = (pl.col("kontoart") == 2) & pl.col("Indberetningsart").ne_missing("T")
    subject = pl.when(by_employer).then(pl.col("Felt0216")).otherwise(pl.col("CPR"))
    frame = frame.with_columns(
        subjekt=subject,
        # EI-001 leaves the faults of this column to EI-003.
        subjekt_bit=pl.when(by_employer).then(BIT["Felt0216"]).otherwise(BIT["CPR"]),
        muligt_cpr=is_possible_cpr(subject, pl.col("Modtaget_tidspunkt").dt.date()),
        periode_start=pl.when(use_214).then(pl.col("Felt0214_start")).otherwise(pl.col("Felt0215_start")),
        periode_slut=pl.when(use_214).then(pl.col("Felt0214_slut")).otherwise(pl.col("Felt0215_slut")),
    )
    frame = frame.with_columns(beloeb_oere=_amount(rules))
    verdict = pl.lit(None, dtype=pl.String)
    for rule, broken in reversed(_row_rules(rules)):
        verdict = pl.when(broken.fill_null(value=False)).then(pl.lit(rule)).otherwise(verdict)
    # A row on an unknown account gets the sum of all amount fields, so that its money is counted.
    benefit = [name for name in AMOUNTS if name not in ("Felt0046", "Felt0098")]
    every = pl.sum_horizontal(pl.col(name).fill_null(0) for name in benefit) - pl.col("Felt0098").fill_null(0)
    judged = frame.with_columns(regel=verdict).with_columns(
        beloeb_oere=pl.coalesce("beloeb_oere", every), subjekt=pl.when("muligt_cpr").then("subjekt"), **_warnings()
    )
    return judged.collect()


def _warnings() -> dict[str, pl.Expr]:
    """EI-006 and EI-007 of a good report: an unexpected income type or period for the account."""
    good = (pl.col("Indberetningsart") == "I") & pl.col("regel").is_null()
    other_type = (pl.col("Indkomsttype") != pl.col("ventet_type")) | (
        pl.col("Indtaegtsart").fill_null("") != pl.col("ventet_art")
    )
    outside = (pl.col("periode_slut") < pl.col("gyldig_fra")) | (pl.col("periode_start") > pl.col("gyldig_til"))
    return {
        "uventet_indkomst": (good & other_type).fill_null(value=False),
        "uden_for_gyldighed": (good & outside.fill_null(value=False)).fill_null(value=False),
    }


AS_WRITTEN = ("indberetning_id", "reference_id", "pligt_se", "kommunekode_betaler", "konto")
"""The columns of a line that repeat what a sender wrote. An account of the rules is not the sender's."""


# A day, a month and six digits with no other digit beside them, and at most two other signs before the last four.
TYPED_FORM = rf"(^|\D){DAY}[\W_]?{MONTH}[\W_]?\d{{2}}[\W_]{{0,2}}\d{{4}}(\D|$)"
CPR_LENGTH = 10


def may_name_a_person(name: str) -> pl.Expr:
    """True where a column of `AS_WRITTEN` may hold a CPR number as some sender types it; then a code stands for it."""
    holds = (pl.col(name).str.len_bytes() >= CPR_LENGTH) & pl.col(name).str.contains(TYPED_FORM)
    return holds & pl.col("ydelse_id").is_null() if name == "konto" else holds


CLAIM = ["borger_id", "konto", "periode_start", "periode_slut", "pligt_se", "kommunekode_betaler"]
BRUGT, TILBAGEFOERT, KARANTAENE, VIRKET, VENTER = "brugt", "tilbagefoert", "karantaene", "virket", "venter"


class Krav(Contract, key=CLAIM):
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
    antal_raekker: pl.Int64 = pa.Field(ge=1, description="lines that the claim sums")


class Dom(Contract, key=["fil_id", "linje"]):
    """One row per delivered line that is not used: its verdict, and its øre (null on a reversal).

    Quarantine has status `karantaene`. A line of the files in `classified.grundlag` without a row here is used.
    """

    fil_id: pl.Int64
    linje: pl.Int64
    status: pl.String = pa.Field(isin=[TILBAGEFOERT, KARANTAENE, VIRKET, VENTER], description="why it is not used")
    regel: pl.String = pa.Field(nullable=True, description="the rule that put it in quarantine")
    trukket: pl.Boolean = pa.Field(description="a standing reversal takes the line back, whatever its verdict")
    beloeb_oere: pl.Int64 = pa.Field(nullable=True, description="as in classified.linje, so that sums need no join")


@dataclass(frozen=True)
class Classified:
    """The verdict on every line (fil_id, linje, status, regel), and the claims (`Krav`)."""

    linjer: pl.DataFrame
    krav: pl.DataFrame


class Aendret(Contract):
    """One row per change of a person's claims that no run has calculated: the first day that differs."""

    borger_id: pl.Int64
    fra_dag: pl.Date


class Grundlag(Contract, key=["fil_id"]):
    """One row per file whose lines are judged in `classified.dom` and counted in `classified.krav`."""

    fil_id: pl.Int64


VERDICT = list(Dom.to_schema().columns)


def not_used(verdicts: pl.DataFrame) -> pl.DataFrame:
    """The verdicts to store (`Dom`): used lines, nearly all, get no row."""
    return verdicts.filter(pl.col("status").ne_missing(BRUGT))


def classify(linjer: pl.DataFrame) -> Classified:
    """The verdict on every line and the claims, whatever the order of the lines.

    `linjer`: fil_id, fil_orden (rank of the file), linje, art, indberetning_id, reference_id, pligt_se,
    kommunekode_betaler, borger_id, ydelse_id, konto, kilde_id, periode_start, periode_slut, beloeb_oere, regel. Order
    of judgement: row rules, EI-013 and EI-015, reversals, EI-010. Source: input.md 3.
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
    """The verdict on every line (columns of `Dom`) by row rules, EI-013, EI-015 and reversals; `spoil` adds EI-010.

    The verdict on a report depends on the lines that share its IndberetningsID or refer to it, that on a reversal on
    its target. So the caller may pass the lines in groups of ids. Source: input.md section 3.
    """
    reports, reversals = linjer.filter(pl.col("art") == "I"), linjer.filter(pl.col("art") == "T")
    other = linjer.filter(pl.col("art").is_null())
    first_file = pl.col("fil_orden").min().over("indberetning_id")
    again = pl.col("regel").is_null() & (pl.col("fil_orden") > first_file)
    reports = reports.with_columns(regel=pl.when(again).then(pl.lit("EI-013")).otherwise("regel"))
    # A reversal of a reversal has no effect.
    of_reversal = pl.col("reference_id").is_in(reversals["indberetning_id"].drop_nulls().unique().implode())
    of_report = pl.col("reference_id").is_in(reports["indberetning_id"].drop_nulls().unique().implode())
    pointless = pl.col("regel").is_null() & of_reversal & ~of_report
    reversals = reversals.with_columns(regel=pl.when(pointless).then(pl.lit("EI-015")).otherwise("regel"))
    reports = _reverse(reports, reversals)
    unreadable = other.with_columns(status=pl.lit(KARANTAENE), trukket=pl.lit(value=False))
    parts = (reports, _effect(reversals, reports), unreadable)
    return pl.concat([part.select(VERDICT) for part in parts])


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
    """Reports with `status`: reversed if a valid reversal from the same payer refers to them.

    Only a reversal in a later file takes back (`trukket`) a report with a repeated id (EI-013). Earlier reversals, and
    those of the same file, concern the first report with the id.
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
    """One row per claim of zero or more (`Krav`), and the lines (fil_id, linje) of claims below zero. Øre.

    `standing`: the used report lines. Source: input.md section 3 (EI-010).
    """
    krav = standing.group_by(CLAIM).agg(
        pl.col("ydelse_id", "kilde_id").first(), pl.col("beloeb_oere").sum(), antal_raekker=pl.len().cast(pl.Int64)
    )
    below = krav.filter(pl.col("beloeb_oere") < 0).select(CLAIM)
    spoiled = standing.join(below, on=CLAIM, how="semi", nulls_equal=True).select("fil_id", "linje")
    stands = krav.filter(pl.col("beloeb_oere") >= 0).select(list(Krav.to_schema().columns)).sort(CLAIM)
    return stands, spoiled
