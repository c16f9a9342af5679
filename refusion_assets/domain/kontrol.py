"""Understands the verdict of a check: did it pass, how much does it concern, and what must be done."""

from dataclasses import dataclass, field

import pandera.polars as pa
import polars as pl


class Resultat(pa.DataFrameModel):
    """One row per run month and check: the evidence that stays when the UI has forgotten."""

    maaned: pl.Date
    kontrol: pl.String
    tabel: pl.String
    bestaaet: pl.Boolean
    blokerer: pl.Boolean
    antal: pl.Int64 = pa.Field(ge=0, description="how many rows the check points at")
    beloeb_oere: pl.Int64
    tekst: pl.String

    class Config:
        """Exactly these columns; one row per run month and check."""

        strict = True
        unique = ["maaned", "kontrol"]  # noqa: RUF012  pandera reads the list


class Accept(pa.DataFrameModel):
    """One row per stop that an operator has let pass, knowing why: run month, rule and what it is about."""

    maaned: pl.Date
    regel: pl.String
    genstand: pl.String
    begrundelse: pl.String = pa.Field(str_length={"min_value": 1})

    class Config:
        """Exactly these columns; a thing is let pass once a month."""

        strict = True
        unique = ["maaned", "regel", "genstand"]  # noqa: RUF012


@dataclass(frozen=True)
class Outcome:
    """What a check found: rows it points at, their money (øre), a Danish sentence, and what to do about it.

    `tal` are counts and sums for the UI; `eksempler` at most three persons by surrogate, never by CPR.
    """

    bestaaet: bool
    tekst: str
    handling: str = ""
    antal: int = 0
    beloeb_oere: int = 0
    tal: dict[str, int] = field(default_factory=dict)
    eksempler: tuple[int, ...] = ()


def kroner_text(oere: int) -> str:
    """Øre as a Danish amount for a sentence: `-1.234,50 kr.`."""
    whole, rest = divmod(abs(oere), 100)
    sign = "-" if oere < 0 else ""
    return f"{sign}{whole:,}".replace(",", ".") + f",{rest:02d} kr."


def balance(name: str, parts: dict[str, int], whole: int) -> Outcome:
    """Whether the parts sum to the whole, to the øre."""
    gap = whole - sum(parts.values())
    if gap == 0:
        text = f"{name} stemmer: {kroner_text(whole)} er fordelt til øren."
        return Outcome(True, text, tal={**parts, "i_alt": whole})
    return Outcome(
        False,
        f"{name} stemmer ikke: {kroner_text(gap)} mangler.",
        "Luk ikke måneden; find linjerne i classified.dom, og meld fejlen til systemets ejere.",
        antal=1,
        beloeb_oere=gap,
        tal={**parts, "i_alt": whole},
    )
