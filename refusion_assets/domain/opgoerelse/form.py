"""Understands a voucher in a form: its lines as the text of a file, and such text read as lines again."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from refusion_assets.domain.opgoerelse.voucher import DEBET, KREDIT, SIGNED, fields_of
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.rules.posting import AMOUNTS, DAYS, Bilagsform
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import kroner, procent

# How ledgers write the two sides, besides the words of the form itself.
DEBIT_WORDS, CREDIT_WORDS = {"debet", "debit", "d", "s"}, {"kredit", "credit", "k", "c", "h"}
# An amount in kroner, its thousands parted by a mark or blanks, its decimals after the other mark.
AMOUNT = {
    mark: re.compile(rf"(?:\d+|\d{{1,3}}(?:{re.escape(other)}\d{{3}})+)(?:{re.escape(mark)}(\d{{1,2}}))?")
    for mark, other in ((",", "."), (".", ","))
}
LINES_ABOVE = 10
"""A spreadsheet may have some lines of its own above the headings."""


@dataclass(frozen=True)
class Posted:
    """One line of a voucher as a file says it: its number in the file, and øre, below zero for kredit.

    `konto`: the account and each field of the municipality, in the order of the form. A value that the file does
    not have is empty.
    """

    linje: int
    konto: tuple[str, ...]
    oere: int
    bilagsnr: str = ""
    ydelse: str = ""
    procent: str = ""
    tekst: str = ""


def shown(lines: pl.DataFrame, form: Bilagsform, rules: Rulebook) -> pl.DataFrame:
    """The lines of a municipality's voucher (`Bilagslinje`) as the columns of a form, all of them text. Kroner.

    Hjemmel: none, technical.
    """
    ordered = lines.sort("linje")
    felter = [fields_of(row, rules) for row in ordered.iter_rows(named=True)] if form.felter else []
    nothing = pl.lit(None, dtype=pl.String)
    columns = []
    for kolonne in form.kolonner:
        column: pl.Expr = pl.lit(kolonne.tekst) if kolonne.tekst else nothing
        if kolonne.felt:
            column = pl.lit(pl.Series([said.get(kolonne.felt) for said in felter], dtype=pl.String))
        elif kolonne.vaerdi:
            column = _value(kolonne.vaerdi, form)
        columns.append(column.cast(pl.String).alias(kolonne.navn))
    return ordered.select(columns)


def _value(name: str, form: Bilagsform) -> pl.Expr:
    """A value of a line as the form writes it."""
    oere, debit = pl.col("beloeb_oere"), pl.col("debet_kredit") == DEBET
    amounts = {
        "beloeb": oere,
        "beloeb_med_fortegn": SIGNED,
        "debetbeloeb": pl.when(debit).then(oere),
        "kreditbeloeb": pl.when(~debit).then(oere),
    }
    if name in amounts:
        return kroner(amounts[name]).str.replace(",", form.decimaltegn, literal=True)
    if name == "procent":
        return procent(pl.col("procent")).str.replace(",", form.decimaltegn, literal=True)
    if name == "debet_kredit":
        return pl.col(name).replace_strict({DEBET: form.debet, KREDIT: form.kredit})
    if name == "bogfoeringsdato":
        return pl.col(name).dt.strftime(DAYS[form.datoform])
    if name == "maaned":  # a voucher is posted in the month after the run month
        return pl.col("bogfoeringsdato").dt.offset_by("-1mo").dt.strftime("%Y-%m")
    return pl.col("navn" if name == "ydelse" else name)


def recognised(rows: Sequence[Sequence[str]], forms: Iterable[Bilagsform]) -> tuple[Bilagsform, int] | None:
    """The form that a file's headings are those of, and the place of the headings; None if of no form.

    Columns may be missing, more or in another order, as long as account and amount are there. The form with the most
    headings in the file is chosen, the first of those alike.
    """
    best: tuple[int, Bilagsform, int] | None = None
    for place, row in enumerate(rows[:LINES_ABOVE]):
        there = {_word(cell) for cell in row}
        for form in forms:
            found = len(there & {_word(k.navn) for k in form.kolonner})
            if all(_word(name) in there for name in needed(form)) and (best is None or found > best[0]):
                best = found, form, place
    return (best[1], best[2]) if best else None


def needed(form: Bilagsform) -> list[str]:
    """The headings without which a file in the form says neither account nor amount."""
    amounts = next(names for names in AMOUNTS if names <= form.vaerdier.keys())
    account = [k.navn for k in form.kolonner if k.vaerdi == "konto" or (k.felt and k.kraeves)]
    return [form.vaerdier[name] for name in sorted(amounts)] + (account or list(form.felter.values()))


def read(rows: Sequence[Sequence[str]], form: Bilagsform, headings: int | None) -> Iterator[Posted]:
    """The lines of a file in a form, in order; blank ones are left out.

    `rows`: every line of the file; `headings`: the place of the headings among them, None in a file without. Stop with
    the number of the line and the column if an amount, a side or an account cannot be read.
    """
    names = [kolonne.navn for kolonne in form.kolonner] if headings is None else list(rows[headings])
    places = {_word(name): place for place, name in reversed(list(enumerate(names)))}
    at = {value: places[_word(name)] for value, name in form.vaerdier.items() if _word(name) in places}
    accounts = [places.get(_word(k.navn)) for k in form.kolonner if k.felt or k.vaerdi == "konto"]
    for number, row in enumerate(rows, 1):
        if (headings is not None and number <= headings + 1) or not any(cell.strip() for cell in row):
            continue
        cells = [cell.strip() for cell in row] + [""] * (len(names) - len(row))
        konto = tuple("" if place is None else cells[place] for place in accounts)
        if not any(konto):
            raise Stop(f"linje {number}: kontoen mangler; står der en sum under linjerne, så slet den")
        said = {value: cells[place] for value, place in at.items()}
        texts = {name: said.get(name, "") for name in ("bilagsnr", "ydelse", "procent", "tekst")}
        yield Posted(number, konto, _oere(said, form, number), **texts)


def _oere(said: Mapping[str, str], form: Bilagsform, number: int) -> int:
    """The amount of a line, below zero for kredit; Stop if it cannot be read. Øre."""

    def amount(name: str) -> int:
        found = oere_of(said[name], form.decimaltegn)
        if found is None:
            raise Stop(
                f"linje {number}, kolonnen {form.vaerdier[name]}: kan ikke læses som et beløb; skriv det som 1234,50"
            )
        return found

    if "beloeb_med_fortegn" in said:
        return amount("beloeb_med_fortegn")
    if "debetbeloeb" in said:
        sides = [amount(name) if said[name] else 0 for name in ("debetbeloeb", "kreditbeloeb")]
        if not any(said[name] for name in ("debetbeloeb", "kreditbeloeb")):
            raise Stop(f"linje {number}: har intet beløb; slet linjen, eller skriv beløbet")
        return sides[0] - sides[1]
    side = said["debet_kredit"].casefold()
    if side in {form.debet.casefold(), *DEBIT_WORDS} - {form.kredit.casefold()}:
        return amount("beloeb")
    if side in {form.kredit.casefold(), *CREDIT_WORDS}:
        return -amount("beloeb")
    heading = form.vaerdier["debet_kredit"]
    raise Stop(f"linje {number}, kolonnen {heading}: er hverken {form.debet} eller {form.kredit}; ret den")


def oere_of(text: str, mark: str) -> int | None:
    """The øre of an amount in kroner as people, ledgers and spreadsheets write it; None if it cannot be read.

    `mark`: the decimal mark of the form. The other mark parts thousands, but is taken for the decimal mark where one or
    two digits follow it and `mark` is not there. The minus can be before or after.
    """
    bare = re.sub(r"[\s'\u00a0\u202f]|kr\.?", "", text.replace("\u2212", "-"), flags=re.IGNORECASE)
    digits, minus = bare.strip("-"), "-" in bare
    if bare.count("-") > 1:
        return None
    for sign in (mark, "." if mark == "," else ","):
        if found := AMOUNT[sign].fullmatch(digits):
            decimals = found[1] or ""
            whole = digits[: len(digits) - len(decimals) - 1] if decimals else digits
            value = int(re.sub(r"[.,]", "", whole)) * 100 + int(decimals.ljust(2, "0") or 0)
            return -value if minus else value
    return None


def _word(text: str) -> str:
    return " ".join(text.casefold().split())
