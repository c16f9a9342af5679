"""Understands how texts are written for people to read: amounts, counts, no number of a person, no hidden sign."""

import json
import re
import unicodedata

import polars as pl

HIDDEN = "(personnummer)"
# The name of a delivered file has ten digits in a row of another kind: no month of a person's birth is above 12.
FILE_NAME = r"-(?:\d{8}|\d{3})-20(?:1[3-9]|[2-9]\d)(?:0[1-9]|1[0-2])-\d{4}\.(?:csv|txt|manifest)"
DAY, MONTH, DASHES = (
    r"(?:[0-2]\d|3[01]|[6-8]\d|9[01])",
    r"(?:0[1-9]|1[0-2])",
    r"[ \t]*[-\u2010-\u2015\u2212\ufe58\ufe63\uff0d_]+[ \t]*",
)
# The code of a written text that may hold a CPR number (`raw.skrevet`).
CODE_FORM = "skjult-[0-9a-f]{32}"
PERSON = re.compile(
    rf"(?P<file>{FILE_NAME})"
    rf"|{CODE_FORM}"
    r"|\d{10,}"
    rf"|\d{{6,}}{DASHES}\d{{4,}}"
    rf"|(?<!\d){DAY}{MONTH}\d\d(?:\d\d)?[\W_]{{1,3}}\d{{4}}(?!\d)"
    rf"|(?<!\d){DAY}[\W_]{MONTH}[\W_]\d\d(?:\d\d)?[\W_]{{1,3}}\d{{4}}(?!\d)"
)

# A sign that a reader does not see, or that moves the rest of the line, stands as one that is seen.
UNSEEN = ("Cc", "Cf", "Zl", "Zp")
SEEN = {
    chr(code): chr(0x2400 + code) if code < 32 else "\u2421" if code == 127 else f"<U+{code:04X}>"
    for code in (*range(0x10000), *range(0xE0000, 0xE0080))
    if unicodedata.category(chr(code)) in UNSEEN
}
# A spreadsheet takes a cell for a formula by its first sign, also after blanks and quotes, and also if it is wide.
FORMULA = r"^[\s'\"\x{2018}\x{2019}\x{201c}\x{201d}`]*[=+\-@\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}]"
PLAIN_NUMBER = r"^[+-]?[0-9]+([.][0-9]+)*(,[0-9]+)?$"


def visible(text: str, *, lines: bool = False) -> str:
    """A text in which every control character and every sign without a width is seen; `lines` keeps line breaks."""
    return "".join(sign if lines and sign == "\n" else SEEN.get(sign, sign) for sign in text)


def visible_json(text: str) -> str:
    """A JSON text with every hidden sign within its strings as an escape, which reads back as the sign."""
    return "".join(json.dumps(sign)[1:-1] if sign in SEEN and sign != "\n" else sign for sign in text)


def as_cell(text: pl.Expr) -> pl.Expr:
    """A sender's text as a cell that a spreadsheet shows and never works out, with every hidden sign seen.

    An apostrophe goes before what would be a formula; a plain number stays. To read it back, take the first apostrophe
    away where the rest begins as a formula.
    """
    seen = text.str.replace_many(list(SEEN), list(SEEN.values()))
    formula = seen.str.contains(FORMULA) & ~seen.str.contains(PLAIN_NUMBER)
    return pl.when(formula).then(pl.concat_str(pl.lit("'"), seen)).otherwise(seen)


def kroner(oere: pl.Expr) -> pl.Expr:
    """Øre as kroner with decimal comma and exactly two decimals."""
    whole, rest = oere.abs() // 100, oere.abs() % 100
    sign = pl.when(oere < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    return pl.concat_str(sign, whole.cast(pl.String), pl.lit(","), rest.cast(pl.String).str.zfill(2))


def plural(number: int, one: str, more: str) -> str:
    """A number with its noun: `1 uge`, `2 uger`."""
    return f"{number} {one if number == 1 else more}"


def thousands(number: int) -> str:
    """A whole number with a point between thousands: `1.234`."""
    return f"{number:,}".replace(",", ".")


def kroner_text(oere: int) -> str:
    """Øre as a Danish amount for a sentence: `-1.234,50 kr.`."""
    whole, rest = divmod(abs(oere), 100)
    sign = "-" if oere < 0 else ""
    return f"{sign}{thousands(whole)},{rest:02d} kr."


def procent(column: pl.Expr) -> pl.Expr:
    """Whole per cent with decimal comma and two decimals."""
    return pl.concat_str(column.cast(pl.String), pl.lit(",00"))


def without_persons(text: str) -> str:
    """A text without ten digits that could be a person's number, however they are written; line breaks are kept."""
    legible = text.encode("utf-8", "replace").decode("utf-8")
    plain = (sign for sign in legible if sign == "\n" or unicodedata.category(sign) not in ("Cf", "Cc") or sign == "\t")
    return PERSON.sub(lambda found: found[0] if found["file"] else HIDDEN, "".join(plain))
