"""Understands what a user asks in a look-up: a person, a month and a purpose that names nobody."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.raw import is_possible_cpr
from refusion_assets.domain.stop import Stop

MOST_CHARACTERS = 300
MONTH = re.compile("[0-9]{4}-[0-9]{2}")
# Ten digits with at most a few separators between them, read at every place they can begin.
TEN_DIGITS = re.compile(r"(?<!\d)(?=((?:\d[\W_]{0,5}){9}\d)(?!\d))")
# A whole date is no part of a personal number: day or year first.
A_DATE = re.compile(
    r"(?<!\d)(?:(?:0?[1-9]|[12]\d|3[01])[./-] ?(?:0?[1-9]|1[0-2])[./-] ?(?:19|20)\d\d"
    r"|(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))(?!\d)"
)
# A day of birth with its century, and the four last digits of a personal number after it; no date of a case.
WHOLE_YEAR = re.compile(
    r"(?<!\d)(?:(?:[0-2]?\d|3[01]|[6-8]\d|9[01])[./-] ?(?:0?[1-9]|1[0-2])[./-] ?(?:18|19|20)\d\d"
    r"|(?:18|19|20)\d\d[./-](?:0?[1-9]|1[0-2])[./-](?:[0-2]?\d|3[01]|[6-8]\d|9[01]))[\W_]{1,3}\d{4}(?!\d|[-./]\d)"
)
# Characters that cannot be seen, and marks laid over the one before.
UNSEEN = ("Cf", "Mn", "Me")
LIKE_A_DIGIT = str.maketrans("OoIil|", "001111")
ONES = ("nul", "en", "to", "tre", "fire", "fem", "seks", "syv", "otte", "ni")
TENS = ("ti", "elleve", "tolv", "tretten", "fjorten", "femten", "seksten", "sytten", "atten", "nitten")
TWENTIES = ("tyve", "tredive", "fyrre", "halvtreds", "tres", "halvfjerds", "firs", "halvfems")
EXAMPLE = "--formaal 'klage, sag 24-1234'"
USAGE = "skriv refusion forklar ÅÅÅÅ-MM, fx med måneden 2026-10; der spørges efter nummeret"


@dataclass(frozen=True)
class Inquiry:
    """One look-up: a person by number, a benefit month, and the purpose."""

    cpr: str
    maaned: date
    formaal: str


def inquiry_of(
    words: Sequence[str], formaal: str | None, ask: Callable[[], str], ask_number: Callable[[], str] | None = None
) -> Inquiry:
    """The person, month and purpose of a command; Stop in one line that repeats no typed text.

    `ask` asks for the purpose if the command has none, and `ask_number` for the number if it has a month alone.
    """
    if len(words) == 1 and ask_number and MONTH.fullmatch(words[0]):
        words = (ask_number().strip(), *words)
        if not words[0]:
            raise Stop("der er intet personnummer; skriv det, når der spørges, eller send det ind med --cpr -")
    if len(words) != 2:
        raise Stop(f"der skal stå eet personnummer og een måned; {USAGE}")
    cpr = words[0].replace("-", "", 1)
    if not re.fullmatch(r"[0-9]{10}", cpr):
        raise Stop(f"det første er ikke et personnummer på ti cifre; {USAGE}")
    if not pl.select(is_possible_cpr(pl.lit(cpr), pl.lit(date.today()))).item():  # noqa: DTZ011  the day here
        raise Stop("personnummeret kan ikke findes: dagen eller måneden i det er umulig")
    try:
        maaned = month_of(words[1]) if MONTH.fullmatch(words[1]) else None
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
    if any(_names_a_person(written, cpr) for written in readings(formaal)):
        raise Stop("der står et personnummer i formålet; skriv sagens nummer i stedet")
    return formaal


def readings(text: str) -> Iterator[str]:
    """The ways in which a reader can take a text's digits.

    Digits of other scripts, letters that look like digits, and Danish words for numbers become the digits they mean.
    """
    plain = "".join(
        _digit(sign) for sign in unicodedata.normalize("NFKC", text) if unicodedata.category(sign) not in UNSEEN
    )
    yield plain
    alike = re.sub(r"[\w|]+", lambda hit: _alike(hit[0]), plain)
    yield alike
    yield re.sub(r"[^\W\d_]+", lambda hit: _in_digits(hit[0].lower()), alike)


def _numbers() -> dict[str, str]:
    """The digits of the Danish words for numbers from nul to nioghalvfems."""
    said = {word: str(value) for value, word in enumerate((*ONES, *TENS))}
    for ten, word in enumerate(TWENTIES, 2):
        said[word] = str(10 * ten)
        said |= {f"{one}og{word}": str(10 * ten + value) for value, one in enumerate(ONES) if value}
        said |= {f"{one}og{word}": str(10 * ten + 1) for one in ("et", "een", "én")}
    return said | dict.fromkeys(("et", "een", "én", "eet", "ét"), "1") | {"halvtredsindstyve": "50", "fyrretyve": "40"}


NUMBERS = _numbers()
# The numbers below ten first: `treseks` is 3 6 and no 60.
GLUED = ["|".join(word for word, said in NUMBERS.items() if len(said) == 1), "|".join(sorted(NUMBERS, key=len)[::-1])]


def _digit(sign: str) -> str:
    """The digit that a sign of any script means, also the Chinese; the sign itself if it means none."""
    value = unicodedata.numeric(sign, -1)
    return str(int(value)) if value in range(10) else sign


def _in_digits(word: str) -> str:
    """A word that is one Danish number or several without a blank between, as their digits; else the word."""
    if word in NUMBERS:
        return NUMBERS[word]
    numbers = next((each for each in GLUED if re.fullmatch(f"(?:{each})+", word)), None)
    return re.sub(numbers, lambda hit: NUMBERS[hit[0]], word) if numbers else word


def _alike(word: str) -> str:
    """A word as digits if it has a digit and else only letters that look like one, or is a lone such letter."""
    as_digits = word.translate(LIKE_A_DIGIT)
    return as_digits if as_digits.isdigit() and (len(word) == 1 or not word.isalpha()) else word


def _names_a_person(text: str, cpr: str) -> bool:
    """True if the digits of a text hold the number that is looked up, or one that could be somebody's."""
    if cpr in re.sub(r"\D", "", text) or WHOLE_YEAR.search(text):
        return True
    return any(_personal(hit[1]) for hit in TEN_DIGITS.finditer(A_DATE.sub("x", text)))


def _personal(text: str) -> bool:
    """True if ten digits begin like a personal number: a day (or day + 60) and a month."""
    digits = re.sub(r"\D", "", text)
    day, month = int(digits[:2]), int(digits[2:4])
    return 1 <= (day - 60 if day > 60 else day) <= 31 and 1 <= month <= 12
