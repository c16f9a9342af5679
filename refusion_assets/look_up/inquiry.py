"""Understands what a user asks in a look-up: a person, a month and a purpose that names nobody."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.raw import is_possible_cpr
from refusion_assets.domain.stop import Stop

MOST_CHARACTERS = 300
# Ten digits with at most a few separators between them, read at every place they can begin.
TEN_DIGITS = re.compile(r"(?<!\d)(?=((?:\d[ .\-/]{0,3}){9}\d)(?!\d))")
EXAMPLE = "--formaal 'klage, sag 24-1234'"
USAGE = "skriv refusion forklar CPR ÅÅÅÅ-MM, fx med måneden 2026-10"


@dataclass(frozen=True)
class Inquiry:
    """One look-up: a person by number, a benefit month, and the purpose."""

    cpr: str
    maaned: date
    formaal: str


def inquiry_of(words: Sequence[str], formaal: str | None, ask: Callable[[], str]) -> Inquiry:
    """The person, month and purpose of a command; Stop in one line that repeats no typed text.

    `ask` asks for the purpose if the command has none.
    """
    if len(words) != 2:
        raise Stop(f"der skal stå eet personnummer og een måned; {USAGE}")
    cpr = words[0].replace("-", "", 1)
    if not re.fullmatch(r"[0-9]{10}", cpr):
        raise Stop(f"det første er ikke et personnummer på ti cifre; {USAGE}")
    if not pl.select(is_possible_cpr(pl.lit(cpr), pl.lit(date.today()))).item():  # noqa: DTZ011  the day here
        raise Stop("personnummeret kan ikke findes: dagen eller måneden i det er umulig")
    try:
        maaned = month_of(words[1]) if re.fullmatch(r"[0-9]{4}-[0-9]{2}", words[1]) else None
    except ValueError:
        maaned = None
    if maaned is None:
        raise Stop(f"det andet er ikke en måned; {USAGE}")
    said = ask() if formaal is None else formaal
    if formaal is None and not said.strip():
        raise Stop(f"skriv, hvad opslaget er til, med --formaal, fx {EXAMPLE}")
    return Inquiry(cpr, maaned, purpose(said, cpr))


def purpose(text: str, cpr: str) -> str:
    """The purpose of a look-up, on one line; Stop if it is empty, long, or holds a personal number."""
    formaal = " ".join(text.split())
    if not formaal:
        raise Stop(f"formålet er tomt; skriv, hvad opslaget er til, fx {EXAMPLE}")
    if not re.search(r"[^\W\d_]{3}", formaal):
        raise Stop(f"formålet er for kort; skriv mindst et ord på tre bogstaver, fx {EXAMPLE}")
    if len(formaal) > MOST_CHARACTERS:
        raise Stop(f"formålet må højst fylde {MOST_CHARACTERS} tegn")
    if cpr in re.sub(r"\D", "", formaal) or any(_personal(hit[1]) for hit in TEN_DIGITS.finditer(formaal)):
        raise Stop("der står et personnummer i formålet; skriv sagens nummer i stedet")
    return formaal


def _personal(text: str) -> bool:
    """True if ten digits begin like a personal number: a day (or day + 60) and a month."""
    digits = re.sub(r"\D", "", text)
    day, month = int(digits[:2]), int(digits[2:4])
    return 1 <= (day - 60 if day > 60 else day) <= 31 and 1 <= month <= 12
