"""Understands how amounts, counts and percentages are written for people to read."""

import polars as pl


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
