"""Understands what municipalities say of their vouchers in the rules, for tests: own accounts, forms and wishes."""

from pathlib import Path

from tests.kit.rule_edits import CITED, append

# An invented ledger's form: no headings, tabulators, two columns of amounts, a decimal point, Windows' letters.
INVENTED = f"""
[[bilagsform]]
id = "kasse"
navn = "En opdigtet kasse"
endelse = "txt"
tegnsaet = "windows-1252"
skilletegn = "tab"
decimaltegn = "."
linjeskift = "crlf"
overskrift = false
datoform = "DD-MM-ÅÅÅÅ"
kolonner = [
  {{ navn = "Selskab", tekst = "Byen" }},
  {{ navn = "Dag", vaerdi = "bogfoeringsdato" }},
  {{ navn = "Konto", vaerdi = "konto" }},
  {{ navn = "Ind", vaerdi = "debetbeloeb" }},
  {{ navn = "Ud", vaerdi = "kreditbeloeb" }},
  {{ navn = "Tekst", vaerdi = "tekst" }},
]
{CITED}"""


def wish(kode: str, form: str = "", fra: str = "2020-01-01", more: str = "") -> str:
    """A municipality's wish for its vouchers."""
    asked = f'bilagsform = "{form}"\n' if form else ""
    return f'\n[[kommunebilag]]\nkommunekode = "{kode}"\n{asked}gaelder_fra = {fra}\n{more}\n{CITED}'


def own(kode: str, side: str, konto: str, fra: str = "2020-01-01", more: str = "") -> str:
    """A municipality's own account; `more`: lines of TOML that say which lines of the voucher."""
    said = f'konto = "{konto}"\n' if konto else ""
    return f'\n[[kommunekonto]]\nkommunekode = "{kode}"\nside = "{side}"\n{said}gaelder_fra = {fra}\n{more}\n{CITED}'


def put(folder: Path, *entries: str) -> Path:
    """The entries at the end of the rules' file of accounts; the folder of the rules."""
    append(folder, "kontering.toml", "".join(entries))
    return folder
