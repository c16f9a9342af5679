"""Understands how dates, months, amounts and lists are said in Danish."""

import re
import textwrap
from collections.abc import Sequence
from datetime import date

from refusion_assets.domain.kontrol import kroner_text as kroner
from refusion_assets.domain.skrift import plural

__all__ = ["day", "kroner", "listed", "month", "plural", "small", "span", "weekday", "wrapped"]

MAANEDER = (
    *("januar", "februar", "marts", "april", "maj", "juni"),
    *("juli", "august", "september", "oktober", "november", "december"),
)
WIDTH = 100
COLUMNS = re.compile(r"  .{13}\S.{40} \d+ uger? ")  # a run of weeks in the history
NO_BREAK = "\u00a0"
DAGE = ("mandag", "tirsdag", "onsdag", "torsdag", "fredag", "lørdag", "søndag")


def day(when: date) -> str:
    """A date: `4. marts 2024`."""
    return f"{when.day}. {MAANEDER[when.month - 1]} {when.year}"


def month(when: date) -> str:
    """A month: `marts 2024`."""
    return f"{MAANEDER[when.month - 1]} {when.year}"


def weekday(when: date) -> str:
    """A day by its name: `mandag den 4. marts`."""
    return f"{DAGE[when.weekday()]} den {when.day}. {MAANEDER[when.month - 1]}"


def span(first: date, last: date) -> str:
    """Days from first to last, both included: `4.-10. marts 2024`, `26. februar - 3. marts 2024`."""
    if first == last:
        return day(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}.-{day(last)}"
    if first.year == last.year:
        return f"{first.day}. {MAANEDER[first.month - 1]} - {day(last)}"
    return f"{day(first)} - {day(last)}"


def listed(parts: Sequence[str]) -> str:
    """Parts as a list in a sentence: `a, b og c`."""
    return " og ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def small(name: str) -> str:
    """A name inside a sentence: its first letter small, unless it is a word of capitals such as SU."""
    return name if name[:2].isupper() else name[:1].lower() + name[1:]


def wrapped(line: str) -> list[str]:
    """A line cut to the width of a page; what follows stands a little further in. A double full stop becomes one."""
    text = line.rstrip().replace("kr..", "kr.")
    if len(text) <= WIDTH:
        return [text]
    inner = (
        " " * 66
        if COLUMNS.match(text)
        else " " * (len(text) - len(text.lstrip()) + (4 if text.lstrip()[:1] == "[" else 2))
    )
    joined = re.sub(rf" (?=kr\.)|(?<=\d\.) (?={'|'.join(MAANEDER)})|(?<=\]) (?=\S)", NO_BREAK, text)
    parts = textwrap.wrap(joined, WIDTH, subsequent_indent=inner, break_long_words=False, break_on_hyphens=False)
    return [part.replace(NO_BREAK, " ") for part in parts]
