"""Understands what can be added beside the act's own rules: counters over chosen benefits, and maxima."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from refusion_assets.domain.rules_cited import Cited


@dataclass(frozen=True, kw_only=True)
class Taeller(Cited):
    """A counter beside the law's own: weeks of some benefits only, whatever their kategori.

    A week that a day from `gaelder_fra` in a claim of one of `ydelser` touches is counted. Free weeks are the law's
    whole weeks of self-support that no such claim touches (`selvforsoergelse`), or all whole weeks that no such claim
    touches (`uden_ydelserne`). `genoptjening_uger` free weeks within `vindue_aar` years start the count over; it never
    starts over where both are missing, and then the weeks have no genoptjeningstaeller. Else as the law's own counter.
    """

    id: str
    gaelder_fra: date
    ydelser: tuple[str, ...]
    fri_uge: Literal["selvforsoergelse", "uden_ydelserne"]
    genoptjening_uger: int | None = None
    vindue_aar: int | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Loft(Cited):
    """A maximum from a date on, of one person's money of each of some benefits in a week or calendar month. Øre.

    Of the amount that the percentage is taken of (`beloeb`), or of the refusion or medfinansiering (`refusion`).
    The one in force on the week's Monday or on the first of the month holds; before the first there is none.
    """

    id: str
    gaelder_fra: date
    ydelser: tuple[str, ...]
    periode: Literal["uge", "maaned"]
    beloeb_oere: int
    paa: Literal["beloeb", "refusion"]
    note: str = ""
