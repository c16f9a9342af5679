"""Understands one field by hand: a date, a moment, an amount and its rounding, a possible CPR number, a month."""

import re
import unicodedata
from datetime import date, timedelta
from fractions import Fraction

HALF = Fraction(1, 2)


def read_date(text: str) -> date | None:
    """The day written as YYYY-MM-DD; None where there is no such day."""
    try:
        return date.fromisoformat(text) if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else None
    except ValueError:
        return None


def rounded(number: Fraction | int) -> int:
    """The nearest whole number, half away from zero."""
    whole = int(abs(Fraction(number)) + HALF)
    return whole if number >= 0 else -whole


def has_other_digit(text: str) -> bool:
    """Whether a decimal digit of another script than ASCII stands in the text."""
    return any(unicodedata.category(sign) == "Nd" and not "0" <= sign <= "9" for sign in text)


def is_timestamp(text: str) -> bool:
    """Whether the text is a moment, YYYY-MM-DDTHH:MM:SS."""
    clock = re.fullmatch("T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]", text[10:])
    return clock is not None and read_date(text[:10]) is not None


def read_oere(text: str) -> int | None:
    """The amount in øre, from at most ten digits and at most two decimals; None where unreadable."""
    found = re.fullmatch("(-?)([0-9]{1,10})(?:,([0-9]{1,2}))?", text)
    if found is None:
        return None
    sign, kroner, decimals = found.groups()
    return int(sign + kroner + (decimals or "").ljust(2, "0"))


def possible_cpr(cpr: str, received: date) -> bool:
    """Whether ten digits can be a person born no later than the receipt; modulus 11 is not asked.

    Hjemmel: none, technical (contract: input.md section 4; the seventh digit gives the century).
    """
    if not re.fullmatch("[0-9]{10}", cpr):
        return False
    day, month, yy, seventh = int(cpr[:2]), int(cpr[2:4]), int(cpr[4:6]), cpr[6]
    if seventh in "0123" or (seventh in "49" and yy > 36):
        century = 1900
    else:
        century = 1800 if seventh in "5678" and yy > 57 else 2000
    try:
        return date(century + yy, month, day - 60 if day > 60 else day) <= received
    except ValueError:
        return False


def month_end(maaned: str) -> date:
    """The last day of a month, YYYY-MM."""
    return (date.fromisoformat(f"{maaned}-01") + timedelta(days=31)).replace(day=1) - timedelta(days=1)
