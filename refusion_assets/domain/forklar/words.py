"""Understands the Danish form of dates, months, amounts and lists."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from refusion_assets.domain.calendar import unbroken
from refusion_assets.domain.forklar.model import Forklaring, Post
from refusion_assets.domain.wording import kroner_text as kroner
from refusion_assets.domain.wording import plural

__all__ = ["day", "few", "kroner", "listed", "month", "plural", "runs", "small", "span", "weeks", "wrapped"]

WIDTH = 100
COLUMNS = re.compile(r"  .{13}\S.{24} \d+ uger? ")  # a run of weeks in the history
NO_BREAK = "\u00a0"
MOST_NAMED = 3


def day(when: date) -> str:
    """A date, the one form that all texts have: `2024-03-04`."""
    return when.isoformat()


def month(when: date) -> str:
    """A month: `2024-03`."""
    return f"{when:%Y-%m}"


def span(first: date, last: date) -> str:
    """Days from first to last, both included: `2024-03-04 - 2024-03-10`; one day by itself."""
    return day(first) if first == last else f"{day(first)} - {day(last)}"


def listed(parts: Sequence[str]) -> str:
    """Parts as a list in a sentence: `a, b og c`."""
    return " og ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def few(parts: Sequence[str]) -> str:
    """The first parts as a list in a sentence, and how many more there are."""
    return listed([*parts[:MOST_NAMED], *([f"{len(parts) - MOST_NAMED} mere"] if len(parts) > MOST_NAMED else [])])


def runs(numbers: Sequence[int]) -> str:
    """Ascending numbers as runs in a list: `5-8 og 10`."""
    return listed(
        [
            f"{first}-{last}" if first < last else str(first)
            for first, last in unbroken(numbers, lambda number: number + 1)
        ]
    )


def weeks(mondays: Sequence[date]) -> list[str]:
    """Ascending weeks by their Mondays, those that follow each other as first and last: `2024-01-01 - 2024-01-22`."""
    return [span(first, last) for first, last in unbroken(mondays, lambda uge: uge + timedelta(days=7))]


def small(name: str) -> str:
    """A name inside a sentence: its first letter small, unless it is a word of capitals such as SU."""
    return name if name[:2].isupper() else name[:1].lower() + name[1:]


def wrapped(line: str) -> list[str]:
    """A line cut to the width of a page; later lines are indented. A double full stop becomes one."""
    text = line.rstrip().replace("kr..", "kr.")
    if len(text) <= WIDTH:
        return [text]
    inner = (
        " " * 50
        if COLUMNS.match(text)
        else " " * (len(text) - len(text.lstrip()) + (4 if text.lstrip()[:1] == "[" else 2))
    )
    joined = re.sub(r" (?=kr\.)|(?<=\d) (?=- \d{4}-)|(?<=\d -) (?=\d{4}-)|(?<=\]) (?=\S)", NO_BREAK, text)
    parts = textwrap.wrap(joined, WIDTH, subsequent_indent=inner, break_long_words=False, break_on_hyphens=False)
    return [part.replace(NO_BREAK, " ") for part in parts]


def where(post: Post) -> str:
    """The place of an entry in the rules."""
    return f"{post.fil}, {post.id} fra {day(post.gaelder_fra)}"


def rulings(sag: Forklaring) -> list[str]:
    """The entries that the explanation rests on, each once, with source and how sure we are."""
    posts = sorted(set(_posts(sag)), key=lambda p: (p.fil, p.id, p.gaelder_fra))
    text = ["", "REGLERNE"] if posts else []
    for post in posts:
        text.append(f"  {where(post)}: {post.hjemmel}")
        text.append(f"    {post.kilde}, kontrolleret {day(post.kontrolleret)}: {post.sikkerhed}.")
    return text


def _posts(sag: Forklaring) -> Iterator[Post]:
    if sag.svar == "ukendt_borger":
        return
    yield sag.optaelling
    if sag.forfra:
        yield sag.forfra.post
    for uge in sag.uger:
        if uge.genoptjening:
            yield uge.genoptjening.post
        for row in uge.raekker:
            yield from (post for post in (row.post, row.overgang, *(o.post for o in row.over_loft)) if post)
        yield from (bidrag.post for bidrag in uge.fleksbidrag if bidrag.post)
