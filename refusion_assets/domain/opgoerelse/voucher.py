"""Understands the voucher: the money of a run on the accounts of each municipality, balanced."""

from datetime import date

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData

from refusion_assets.domain.contract import Contract
from refusion_assets.domain.opgoerelse.ledger import run_day, run_number
from refusion_assets.domain.rules.entries import Rulebook

DEBET, KREDIT = "Debet", "Kredit"
BALANCE = "mellemregning"
# Side of the money, its column in the ledger, and the sign of its debit: refusion is the municipality's income.
SIDES = (("refusion", "refusion_oere", -1), ("medfinansiering", "medfinansiering_oere", 1))


# The amount of a line of a voucher, below zero for kredit. Øre.
SIGNED = pl.when(pl.col("debet_kredit") == DEBET).then(pl.col("beloeb_oere")).otherwise(-pl.col("beloeb_oere"))


class Bilagslinje(Contract, key=["bilagsnr", "linje"]):
    """One row per municipality, voucher and line, without any person. Amount in øre, always positive."""

    kommunekode: pl.String
    bilagsnr: pl.String = pa.Field(str_matches=r"^YR-\d{4,}-\d{3}$")
    bogfoeringsdato: pl.Date
    linje: pl.Int64 = pa.Field(ge=1)
    konto: pl.String
    debet_kredit: pl.String = pa.Field(isin=[DEBET, KREDIT])
    beloeb_oere: pl.Int64 = pa.Field(gt=0)
    tekst: pl.String
    navn: pl.String = pa.Field(nullable=True, description="the benefit; empty on the line that balances")
    procent: pl.Int64 = pa.Field(nullable=True, ge=0, le=100)
    koersel: pl.Int64 = pa.Field(ge=1)

    @pa.dataframe_check
    @classmethod
    def balances(cls, data: PolarsData) -> pl.LazyFrame:
        """Debit equals credit to the øre in every voucher."""
        return data.lazyframe.select(SIGNED.sum().over("bilagsnr") == 0)


def voucher(ledger: pl.DataFrame, navne: pl.DataFrame, run_month: date, rules: Rulebook) -> pl.DataFrame:
    """One voucher per municipality with a line per benefit and percentage, and one to balance (`Bilagslinje`). Øre.

    `ledger`: a run's rows (kommunekode, ydelse_id, procent, refusion_oere, medfinansiering_oere); `navne`:
    ydelse_id, navn. A net amount below zero changes side; one of zero makes no line.
    Hjemmel: none, technical (contract: output.md section 3.4); the accounts are those of the rules.
    """
    lines = posted(ledger, rules)
    named = lines.join(navne.select("ydelse_id", "navn"), on="ydelse_id", how="left", maintain_order="left")
    # Side, month, benefit, percentage, and a mark if nobody has verified the account.
    doubt = pl.when(pl.col("verificeret")).then(pl.lit("")).otherwise(pl.lit(" (konto ikke verificeret)"))
    month, ydelse = pl.lit(f"{run_month:%Y-%m}"), pl.col("navn").fill_null("ydelse")
    text = pl.format("{} {}: {}, {} pct.{}", "side", month, ydelse, "procent", doubt)
    named = named.with_columns(tekst=text).sort("kommunekode", "orden", "navn", "procent", descending=_ORDER)
    every = pl.concat([named.select(_LINE), _balance(named, run_month, rules)]).sort("kommunekode", maintain_order=True)
    number = run_number(run_month, rules)
    rows = every.with_columns(
        bilagsnr=pl.format("YR-{}-{}", pl.lit(f"{number:04d}"), "kommunekode"),
        bogfoeringsdato=pl.lit(run_day(run_month, rules)),
        linje=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("kommunekode"),
        debet_kredit=pl.when(pl.col("debet_oere") > 0).then(pl.lit(DEBET)).otherwise(pl.lit(KREDIT)),
        beloeb_oere=pl.col("debet_oere").abs(),
        koersel=pl.lit(number, pl.Int64),
    )
    return Bilagslinje.validate(rows.select(list(Bilagslinje.to_schema().columns)))


_LINE = ["kommunekode", "konto", "debet_oere", "tekst", "navn", "procent"]
_ORDER = [False, True, False, True]  # refusion first, and the highest percentage first


def posted(rows: pl.DataFrame, rules: Rulebook) -> pl.DataFrame:
    """Money by municipality, benefit, percentage and side, with its account (`konto`) and debit (`debet_oere`). Øre.

    `rows`: kommunekode, ydelse_id, procent, refusion_oere, medfinansiering_oere. A net of zero makes no row.
    """
    money = [column for _, column, _ in SIDES]
    sums = rows.group_by("kommunekode", "ydelse_id", "procent").agg(pl.col(money).sum())
    return pl.concat([_side(sums, rules, *side) for side in SIDES])


def _side(every: pl.DataFrame, rules: Rulebook, side: str, column: str, sign: int) -> pl.DataFrame:
    """One row per municipality, benefit and percentage with money on a side: its account and debit. Øre."""
    sums = every.select("kommunekode", "ydelse_id", "procent", oere=column).filter(pl.col("oere") != 0)
    funktioner = {y.ydelse_id: y.kontering for y in rules.ydelser}
    rows = []
    for ydelse_id, rate in sums.select("ydelse_id", "procent").unique().iter_rows():
        entry = rules.kontering(ydelse_id, side, rate)
        funktion = funktioner.get(ydelse_id) or "ukendt"
        rows.append((ydelse_id, rate, entry.konto(funktion, rate), entry.verificeret))
    schema = {"ydelse_id": pl.String, "procent": pl.Int64, "konto": pl.String, "verificeret": pl.Boolean}
    konti = pl.DataFrame(rows, schema=schema, orient="row")
    return sums.join(konti, on=["ydelse_id", "procent"]).with_columns(
        side=pl.lit(side.capitalize()), orden=pl.lit(-sign), debet_oere=sign * pl.col("oere")
    )


def _balance(lines: pl.DataFrame, run_month: date, rules: Rulebook) -> pl.DataFrame:
    """One line per municipality whose voucher does not balance: the rest on the account `mellemregning`. Øre."""
    entry = rules.kontering("", BALANCE)
    doubt = "" if entry.verificeret else " (konto ikke verificeret)"
    sums = lines.group_by("kommunekode", maintain_order=True).agg(debet_oere=-pl.col("debet_oere").sum())
    return sums.filter(pl.col("debet_oere") != 0).select(
        "kommunekode",
        konto=pl.lit(entry.konto("", 0)),
        debet_oere="debet_oere",
        tekst=pl.lit(f"Mellemregning med staten {run_month:%Y-%m}{doubt}"),
        navn=pl.lit(None, dtype=pl.String),
        procent=pl.lit(None, dtype=pl.Int64),
    )
