"""Understands the voucher: the money of a run on the accounts of each municipality, balanced."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData

from refusion_assets.domain.contract import Contract
from refusion_assets.domain.opgoerelse.ledger import run_day, run_number, ydelse_navne
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.rules.posting import UKENDT, Kommunekonto
from refusion_assets.domain.wording import plural

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
    side: pl.String = pa.Field(isin=[*(side for side, _, _ in SIDES), BALANCE])
    ydelse_id: pl.String = pa.Field(nullable=True, description="empty on the line that balances")
    funktion: pl.String = pa.Field(
        description="the function of the account of the rules; empty on the line that balances"
    )
    pladsholder: pl.Boolean = pa.Field(description="true if nobody has filled in the account")

    @pa.dataframe_check
    @classmethod
    def balances(cls, data: PolarsData) -> pl.LazyFrame:
        """Debit equals credit to the øre in every voucher."""
        return data.lazyframe.select(SIGNED.sum().over("bilagsnr") == 0)


def voucher(ledger: pl.DataFrame, navne: pl.DataFrame, run_month: date, rules: Rulebook) -> pl.DataFrame:
    """One voucher per municipality with a line per benefit and percentage, and one to balance (`Bilagslinje`). Øre.

    `ledger`: a run's rows (kommunekode, ydelse_id, procent, refusion_oere, medfinansiering_oere); `navne`:
    ydelse_id, navn. A net amount below zero changes side; one of zero makes no line.
    An account is the municipality's own, if the rules have one on the day of the voucher, else that of all.
    Hjemmel: none, technical (contract: output.md section 3.4).
    """
    day = run_day(run_month, rules)
    lines = _own(posted(ledger, rules), day, rules)
    named = lines.join(navne.select("ydelse_id", "navn"), on="ydelse_id", how="left", maintain_order="left")
    # Side, month, benefit, percentage, and a mark if nobody has verified the account.
    doubt = pl.when(pl.col("verificeret")).then(pl.lit("")).otherwise(pl.lit(" (konto ikke verificeret)"))
    month, ydelse = pl.lit(f"{run_month:%Y-%m}"), pl.col("navn").fill_null("ydelse")
    side = pl.col("side").replace_strict({side: side.capitalize() for side, _, _ in SIDES})
    text = pl.format("{} {}: {}, {} pct.{}", side, month, ydelse, "procent", doubt)
    named = named.with_columns(tekst=text).sort("kommunekode", "orden", "navn", "procent", descending=_ORDER)
    every = pl.concat([named.select(_LINE), _balance(named, run_month, rules)]).sort("kommunekode", maintain_order=True)
    number = run_number(run_month, rules)
    rows = every.with_columns(
        bilagsnr=pl.format("YR-{}-{}", pl.lit(f"{number:04d}"), "kommunekode"),
        bogfoeringsdato=pl.lit(day),
        linje=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("kommunekode"),
        debet_kredit=pl.when(pl.col("debet_oere") > 0).then(pl.lit(DEBET)).otherwise(pl.lit(KREDIT)),
        beloeb_oere=pl.col("debet_oere").abs(),
        koersel=pl.lit(number, pl.Int64),
    )
    return Bilagslinje.validate(rows.select(list(Bilagslinje.to_schema().columns)))


_LINE = [
    "kommunekode",
    "konto",
    "debet_oere",
    "tekst",
    "navn",
    "procent",
    "side",
    "ydelse_id",
    "funktion",
    "pladsholder",
]
_ORDER = [False, True, False, True]  # refusion first, and the highest percentage first


def posted(rows: pl.DataFrame, rules: Rulebook) -> pl.DataFrame:
    """Money by municipality, benefit, percentage and side, with its account (`konto`) and debit (`debet_oere`). Øre.

    `rows`: kommunekode, ydelse_id, procent, refusion_oere, medfinansiering_oere. A net of zero makes no row. The
    accounts are those of the rules for all; `pladsholder` is true where they have none.
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
        funktion = funktioner.get(ydelse_id) or UKENDT
        konto = entry.konto(funktion, rate)
        rows.append((ydelse_id, rate, konto, konto.rsplit(".", 2)[0], entry.verificeret, entry.placeholder(funktion)))
    known = {"konto": pl.String, "funktion": pl.String, "verificeret": pl.Boolean, "pladsholder": pl.Boolean}
    konti = pl.DataFrame(rows, schema={"ydelse_id": pl.String, "procent": pl.Int64, **known}, orient="row")
    return sums.join(konti, on=["ydelse_id", "procent"]).with_columns(
        side=pl.lit(side), orden=pl.lit(-sign), debet_oere=sign * pl.col("oere")
    )


def _balance(lines: pl.DataFrame, run_month: date, rules: Rulebook) -> pl.DataFrame:
    """One line per municipality whose voucher does not balance: the rest on the account `mellemregning`. Øre."""
    entry = rules.kontering("", BALANCE)
    sums = lines.group_by("kommunekode", maintain_order=True).agg(debet_oere=-pl.col("debet_oere").sum())
    rest = sums.filter(pl.col("debet_oere") != 0).with_columns(
        konto=pl.lit(entry.konto("", 0)),
        navn=pl.lit(None, dtype=pl.String),
        procent=pl.lit(None, dtype=pl.Int64),
        side=pl.lit(BALANCE),
        ydelse_id=pl.lit(None, dtype=pl.String),
        funktion=pl.lit(""),
        pladsholder=pl.lit(entry.placeholder("")),
        verificeret=pl.lit(entry.verificeret),
    )
    doubt = pl.when("verificeret").then(pl.lit("")).otherwise(pl.lit(" (konto ikke verificeret)"))
    text = pl.concat_str(pl.lit(f"Mellemregning med staten {run_month:%Y-%m}"), doubt)
    return _own(rest, run_day(run_month, rules), rules).with_columns(tekst=text).select(_LINE)


def _own(lines: pl.DataFrame, day: date, rules: Rulebook) -> pl.DataFrame:
    """The lines with the municipalities' own accounts, where they have one on the day of the voucher.

    `lines`: `OWN`, konto, verificeret and pladsholder. An own account is in no doubt.
    """
    having = {entry.kommunekode for entry in rules.kommunekonti}
    if not having:
        return lines
    konti = []
    for row in lines.select(OWN).iter_rows(named=True):
        entry = own_posting(row, day, rules) if row["kommunekode"] in having else None
        konti.append(entry.konto or None if entry else None)
    own = pl.Series("egen", konti, dtype=pl.String)
    return lines.with_columns(
        konto=pl.coalesce(own, "konto"),
        verificeret=pl.col("verificeret") | own.is_not_null(),
        pladsholder=pl.col("pladsholder") & own.is_null(),
    )


def unfilled(lines: pl.DataFrame, rules: Rulebook) -> pl.DataFrame:
    """The lines of vouchers that no ledger can book, and what is missing on each (`mangler`): `Bilagslinje` and it.

    A line with a placeholder for its account, and one without a field that the municipality's own form requires. A
    municipality whose rules say `tillad_pladsholder` has none. Hjemmel: none, technical.
    """
    forms = forms_of(lines, rules)
    missing: list[str | None] = []
    for row in lines.iter_rows(named=True):
        wish = rules.own_postings.bilag(row["kommunekode"], row["bogfoeringsdato"])
        if wish and wish.tillad_pladsholder:
            missing.append(None)
            continue
        form = rules.bilagsform(forms.get(row["kommunekode"], ""))
        felter = fields_of(row, rules)
        needed = [k.felt for k in form.kolonner if k.kraeves and k.felt not in felter and k.felt] if form else []
        missing.append(f"pladsholderen {row['konto']}" if row["pladsholder"] else ", ".join(needed) or None)
    return lines.with_columns(mangler=pl.Series(missing, dtype=pl.String)).filter(pl.col("mangler").is_not_null())


def refused(ledger: pl.DataFrame, run_month: date, rules: Rulebook) -> dict[str, str]:
    """By municipality, a sentence: why its voucher cannot be delivered, and what to fill in; empty if all can.

    `ledger`: as for `voucher`. The run itself goes on; only who delivers the voucher asks. Hjemmel: none, technical.
    """
    found = {}
    lines = unfilled(voucher(ledger, ydelse_navne(rules), run_month, rules), rules)
    for kode, mine in lines.group_by("kommunekode", maintain_order=True):
        row = mine.row(0, named=True)
        what = "linjen mellemregning med staten"
        if row["side"] != BALANCE:
            what = f"{row['side']}, {row['navn'] or row['ydelse_id']}, {row['procent']} pct.,"
        filled = "konto" if row["pladsholder"] else "felter"
        more = f" (og {plural(mine.height - 1, 'linje', 'linjer')} til)" if mine.height > 1 else ""
        found[str(kode[0])] = (
            f"bilaget {row['bilagsnr']} sendes ikke: {what} har kun {row['mangler']}{more}; skriv {filled} i en "
            f"[[kommunekonto]] for {kode[0]} i kontering.toml, eller tillad_pladsholder = true i dens [[kommunebilag]]"
            if row["pladsholder"]
            else f"bilaget {row['bilagsnr']} sendes ikke: {what} mangler {row['mangler']}{more}; skriv {filled} i en "
            f"[[kommunekonto]] eller [[kommunebilag]] for {kode[0]} i kontering.toml"
        )
    return found


def forms_of(lines: pl.DataFrame, rules: Rulebook) -> dict[str, str]:
    """The id of the form of its own that each municipality of the lines has asked for; those without are left out."""
    days = lines.select("kommunekode", "bogfoeringsdato").unique()
    return wished(days["kommunekode"], days["bogfoeringsdato"][0], rules) if days.height else {}


def wished(koder: Iterable[str], day: date, rules: Rulebook) -> dict[str, str]:
    """The id of the form of its own that each municipality has on a day; those without are left out."""
    wishes = {kode: rules.own_postings.bilag(kode, day) for kode in koder}
    return {kode: wish.bilagsform for kode, wish in wishes.items() if wish and wish.bilagsform}


def fields_of(line: Mapping[str, Any], rules: Rulebook) -> dict[str, str]:
    """The fields that a municipality's ledger wants of a line, by name: the line's own before those of all lines.

    `line`: kommunekode, side, ydelse_id, funktion, procent and bogfoeringsdato.
    """
    day = line["bogfoeringsdato"]
    wish = rules.own_postings.bilag(line["kommunekode"], day)
    own = own_posting(line, day, rules)
    return (wish.felter if wish else {}) | (own.felter if own else {})


OWN = ("kommunekode", "side", "ydelse_id", "funktion", "procent")


def own_posting(line: Mapping[str, Any], day: date, rules: Rulebook) -> Kommunekonto | None:
    """The municipality's own entry for a line (`OWN`) posted on a day; None if it has none."""
    kode, side, ydelse_id, funktion, rate = (line[name] for name in OWN)
    return rules.own_postings.konto(kode, side, ydelse_id or "", funktion, rate, day)
