"""Understands a finding: its sentences for a caseworker, and its status since the last run."""

from string import Formatter
from typing import Any

import pandera.polars as pa
import polars as pl

from refusion_assets.domain.contract import Contract
from refusion_assets.domain.rules.entries import Kontrol, Rulebook
from refusion_assets.domain.wording import CODE_FORM, kroner

NY, AABEN, LOEST = "NY", "ÅBEN", "LØST"
NOBODY = "000"
KEY = ["noegle", "kommunekode"]

# Every rule id that a run can raise: on files, on lines, on weeks, and the others.
# Hjemmel: input.md sections 3 and 4, rules.md sections 7 (FB-001) and 7a (FO-001).
FILREGLER = ("FIL-003", "FIL-004", "FIL-005", "FIL-007", "FIL-008")
LINJEREGLER = (*(f"YR-00{n}" for n in range(1, 9)), *(f"EI-{n:03}" for n in (1, 2, 3, 4, 6, 7, 8, 10, 13, 14, 15)))
UGEREGLER = ("EI-016", "EI-018", "EI-019", "FB-001")
OTHERS = ("FIL-001", "FIL-002", "FIL-006", "EI-009", "EI-017", "EI-020", "OPG-001", "REG-001", "REG-002", "FO-001")
REGLER = frozenset([*FILREGLER, *LINJEREGLER, *UGEREGLER, *OTHERS])
GRAENSER = frozenset(
    [
        *("periode_dage", "ugebeloeb_oere", "raekkeantal_procent", "raekkeantal_maaneder", "to_udbetalere_promille"),
        *("forsinket_dage", "forsinket_procent", "aendring_procent", "aendring_mindst_oere", "stikproeve_borgere"),
        *("linjebeloeb_oere", "bopael_faerre_procent", "mindste_celle", "ugestop_oere"),
        *("kommuneydelse_oere_pr_indbygger", "kommune_oere_pr_indbygger", "kommune_gange_middel"),
    ]
)
# Rule ids that rules of before them can lack, with a bound that raises each; without the bound they are never raised.
SENERE = {"EI-020": "ugestop_oere", "OPG-001": "kommune_gange_middel"}
# Bounds that rules of before them can lack: who asks has a value of its own, or does not stop.
UNDVAERLIGE = frozenset(
    ["mindste_celle", "kommuneydelse_oere_pr_indbygger", "kommune_oere_pr_indbygger", *SENERE.values()]
)
# These name a file, a line or a municipality that an operator let pass.
ACCEPTEREDE = ("EI-017", "EI-020", "OPG-001", "REG-001")
PLADSHOLDERE = frozenset(
    ["felt", "vaerdi", "beloeb", "uge_fra", "uge_til", "ydelse", "konto", "kilde", "fil", "linje", "mangel"]
)
# EI-014: the reason why a reversal found no report, by the columns to look at. Hjemmel: input.md section 4.
OTHER_PAYER, OTHER_PERSON = "ReferenceID og Pligt_SE", "ReferenceID og CPR"
MANGEL = {
    OTHER_PAYER: "som er modtaget, men fra en anden udbetaler (Pligt_SE)",
    OTHER_PERSON: "som er modtaget, men uden en række om den borger, tilbageførslen nævner",
}

# Ten digits with no other digit beside them, with or without a hyphen: a possible CPR number.
CPR_FORM = r"(^|\D)\d{6}[- ]?\d{4}(\D|$)"


class Fund(Contract, key=["noegle"]):
    """One row per finding of a run: rule, municipality, person, weeks, line and sentences. Amount in øre."""

    noegle: pl.String = pa.Field(str_matches=r"^[0-9a-f]{24}$", description="the same in every run that finds it")
    regel: pl.String
    alvor: pl.String = pa.Field(isin=["FEJL", "ADVARSEL", "INFO"])
    kommunekode: pl.String = pa.Field(str_matches=r"^\d{3}$", description="who gets it; 000 = nobody")
    borger_id: pl.Int64 = pa.Field(nullable=True)
    uge_fra: pl.Date = pa.Field(nullable=True, description="mandag")
    uge_til: pl.Date = pa.Field(nullable=True, description="mandag")
    ydelse_id: pl.String = pa.Field(nullable=True)
    konto: pl.String = pa.Field(nullable=True)
    indberetning_id: pl.String = pa.Field(nullable=True)
    kilde: pl.String = pa.Field(nullable=True)
    felt: pl.String
    vaerdi: pl.String = pa.Field(nullable=True, description="never a CPR number")
    beloeb_oere: pl.Int64 = pa.Field(nullable=True)
    fil: pl.String = pa.Field(nullable=True)
    linje: pl.Int64 = pa.Field(nullable=True)
    tekst: pl.String
    handling: pl.String


# The columns of a finding before `worded`; rule and `identitet` recognise it in another run.
UNWORDED = [name for name in Fund.to_schema().columns if name not in ("noegle", "alvor", "tekst", "handling")]
FOUND: dict[str, Any] = {
    name: pl.String if name == "identitet" else Fund.to_schema().columns[name].dtype.type
    for name in ("regel", "identitet", *UNWORDED[1:])
}


class Advis(Fund, key=["koersel", *KEY]):
    """One row per run and finding that it lists: the finding, and its status against the previous run."""

    koersel: pl.Int64 = pa.Field(ge=1)
    status: pl.String = pa.Field(isin=[NY, AABEN, LOEST], description="against the advice of the run before")


def found(frame: pl.DataFrame, regel: str | pl.Expr, identity: list[str], **columns: pl.Expr) -> pl.DataFrame:
    """Findings without sentences (`FOUND`), one per row of `frame`; takes its columns of the same names.

    `identity`: the columns that, with the rule, recognise the finding in another run; never an amount.
    """
    if frame.is_empty():
        return pl.DataFrame(schema=FOUND)
    rule = pl.lit(regel) if isinstance(regel, str) else regel
    have = frame.lazy().with_columns(regel=rule).with_columns(**columns)
    parts = [pl.col(name).cast(pl.String).fill_null("") for name in ("regel", *identity)]
    have = have.with_columns(identitet=pl.concat_str(parts, separator="|"))
    there = {*frame.columns, *columns, "regel", "identitet"}
    missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in FOUND.items() if name not in there]
    return have.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in FOUND.items()).collect()


def week(day: str) -> pl.Expr:
    """The Monday of a date column."""
    return pl.col(day).dt.truncate("1w")


def worded(findings: pl.DataFrame, rules: Rulebook) -> pl.DataFrame:
    """Findings with `alvor`, `felt`, `tekst` and `handling` from the rules; a possible CPR number becomes null.

    `findings`: the columns of `FOUND`; all others are kept. KeyError on a rule id without an entry in the rules.
    Hjemmel: none, technical (contract: output.md section 3.2).
    """
    # These values are file names, whose month and number look like a CPR number.
    ours = pl.col("regel").str.starts_with("FIL-") | pl.col("regel").is_in(ACCEPTEREDE)
    personal = f"{CPR_FORM}|{CODE_FORM}"
    safe = [pl.when(ours | ~pl.col(c).str.contains(personal)).then(pl.col(c)).alias(c) for c in ("vaerdi", "konto")]
    names = {y.ydelse_id: y.navn[:1].lower() + y.navn[1:] for y in rules.ydelser}
    rows = findings.with_columns(safe)
    done = []
    for (regel,), part in rows.sort("regel", maintain_order=True).partition_by(
        "regel", as_dict=True, maintain_order=True
    ).items():  # fmt: skip
        kontrol = rules.kontrol(str(regel))
        levelled = part.with_columns(alvor=pl.lit(kontrol.alvor), felt=pl.col("felt").fill_null(kontrol.felt))
        done.append(levelled.with_columns(**_sentences(kontrol, names)))
    return pl.concat(done) if done else rows.with_columns(
        pl.lit(None, dtype=pl.String).alias(name) for name in ("alvor", "tekst", "handling")
    )  # fmt: skip


def _sentences(kontrol: Kontrol, names: dict[str, str]) -> dict[str, pl.Expr]:
    """`tekst` and `handling` of a rule, with their placeholders filled per row."""
    fill = {
        "felt": pl.col("felt"),
        "vaerdi": pl.col("vaerdi").fill_null("tomt"),
        "beloeb": kroner(pl.col("beloeb_oere")).fill_null("ukendt"),
        "uge_fra": pl.col("uge_fra").cast(pl.String).fill_null("ukendt"),
        "uge_til": pl.col("uge_til").cast(pl.String).fill_null("ukendt"),
        "ydelse": pl.col("ydelse_id").replace_strict(names, default=None, return_dtype=pl.String).fill_null("ydelsen"),
        "konto": pl.col("konto").fill_null("ukendt"),
        "kilde": pl.col("kilde").fill_null("ukendt"),
        "fil": pl.col("fil").fill_null("ukendt"),
        "linje": pl.col("linje").cast(pl.String).fill_null("ukendt"),
        "mangel": pl.col("felt").replace_strict(MANGEL, default="som ikke er modtaget", return_dtype=pl.String),
    }
    sentences = {}
    for name, template in (("tekst", kontrol.tekst), ("handling", kontrol.handling)):
        parts = [
            piece
            for words, place, _, _ in Formatter().parse(template)
            for piece in (pl.lit(words), fill[place] if place else pl.lit(""))
        ]
        sentences[name] = pl.concat_str(parts)
    return sentences


def followed(now: pl.DataFrame, before: pl.DataFrame, koersel: int) -> pl.DataFrame:
    """The rows of a run (`Advis`): each finding as NY or ÅBEN, and each one that is gone as LØST.

    `now`: the findings (`Fund`). `before`: the previous run's rows that are not LØST. A finding that moves to another
    municipality is LØST in the old one and NY in the new one. Source: output.md section 3.2.
    """
    open_before = before.select(*KEY, was_open=pl.lit(value=True))
    status = pl.when(pl.col("was_open").is_null()).then(pl.lit(NY)).otherwise(pl.lit(AABEN))
    listed = now.join(open_before, on=KEY, how="left").with_columns(status=status)
    solved = before.join(now, on=KEY, how="anti").with_columns(status=pl.lit(LOEST))
    columns = list(Advis.to_schema().columns)
    run = pl.lit(koersel, pl.Int64)
    rows = pl.concat([part.with_columns(koersel=run).select(columns) for part in (listed, solved)])
    return rows.sort("kommunekode", "regel", "noegle")
