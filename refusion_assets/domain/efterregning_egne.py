"""Understands counters of their own and maxima by hand: weeks of chosen benefits counted, money limited.

The last part of the independent calculation. It follows rules/README.md, "En tæller for sig" and "Et loft", sentence
by sentence, one person and one week at a time, and shares nothing with the fast calculation but the rules.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import NamedTuple

from refusion_assets.domain.efterregning_felter import rounded
from refusion_assets.domain.efterregning_raa import Claim
from refusion_assets.domain.efterregning_uger import (
    Uge,
    count_weeks,
    days,
    kinds,
    monday,
    not_before,
    number_at_transition,
    years_before,
)
from refusion_assets.domain.rules import LOVENS_TAELLER, Rulebook
from refusion_assets.domain.rules_egne import Loft, Taeller

Key = tuple[date, str, str, str, str]  # uge, maaned, cpr, ydelse_id, kommunekode


class Talt(NamedTuple):
    """One person's weeks by one counter, and the number that the first week of the staircases has or would have."""

    uger: dict[date, Uge]
    overgang: int


def own_kinds(claims: Iterable[Claim], taeller: Taeller, last_day: date, rules: Rulebook) -> dict[date, str]:
    """The kind of every week of one person to a counter of its own, as a run knows the days up to its last day.

    A: counted; a day of one of the counter's benefits, or with the reading `hele_ugen` seven. B: neither counted nor
    free; too few such days, or with `fri_uge = "selvforsoergelse"` a day of any benefit of category A or B. C: free;
    seven days of none of them. -: none of them so far, but the run does not know the whole week.

    Hjemmel: the counter's own; readings `uge_beroert` and `foerste_uge`.
    """
    claims = list(claims)
    first_day = taeller.gaelder_fra
    if first_day != monday(first_day) and rules.laesning("foerste_uge") == "taeller_ikke":
        first_day = monday(first_day) + timedelta(days=7)
    paid = {
        day
        for claim in claims
        if claim.ydelse_id in taeller.ydelser and claim.beloeb > 0
        for day in days(max(claim.fra, first_day), min(claim.til, last_day))
    }
    enough = 1 if rules.laesning("uge_beroert") == "een_dag" else 7
    result = {}
    for week, by_law in kinds(claims, last_day, rules).items():
        own = paid.intersection(days(week, week + timedelta(days=6)))
        on_support = taeller.fri_uge == "selvforsoergelse" and by_law in ("A", "B")
        if len(own) >= enough:
            result[week] = "A"
        elif own or on_support:
            result[week] = "B"
        else:
            result[week] = "C" if week + timedelta(days=6) <= last_day else "-"
    return result


def in_window(free: Sequence[date], week: date, taeller: Taeller) -> int | None:
    """How many free weeks lie in the years up to a week; None by a counter that never starts over."""
    if taeller.vindue_aar is None:
        return None
    return not_before(free, years_before(week, taeller.vindue_aar))


def starts_over(free: Sequence[date], week: date, taeller: Taeller) -> bool:
    """Whether there are free weeks enough in the window for the count to start over."""
    found = in_window(free, week, taeller)
    return found is not None and taeller.genoptjening_uger is not None and found >= taeller.genoptjening_uger


def count_own(kind_of: Mapping[date, str], taeller: Taeller, rules: Rulebook) -> dict[date, Uge]:
    """Every week of one person with its number by a counter of its own, and the free weeks in the window.

    Hjemmel: the counter's own; reading `genoptjening_proeves`.
    """
    at_once = rules.laesning("genoptjening_proeves") == "ved_opnaaelse"
    weeks = {}
    n = 0
    free: list[date] = []
    for week, kind in sorted(kind_of.items()):
        if kind == "A":
            if not at_once and starts_over(free, week, taeller):
                n, free = 0, []
            n += 1
        elif kind == "C" and n > 0:
            free.append(week)
            if at_once and starts_over(free, week, taeller):
                n, free = 0, []
        weeks[week] = Uge(kind, n, in_window(free, week, taeller))
    return weeks


def own_number_at_transition(claims: Iterable[Claim], taeller: Taeller, last_day: date, rules: Rulebook) -> int:
    """The number that the first week of the staircases has by a counter of its own, or would have if it counted.

    Hjemmel: § 29, stk. 3.
    """
    start = monday(rules.overgang.gaelder_fra)
    known = min(last_day, start + timedelta(days=6))
    before = {week: kind for week, kind in own_kinds(claims, taeller, known, rules).items() if week < start}
    return count_own({**before, start: "A"}, taeller, rules)[start].n


def count_all(claims: Sequence[Claim], last_day: date, rules: Rulebook) -> dict[str, Talt]:
    """One person's weeks by every counter: the law's own, and those beside it.

    Hjemmel: §§ 5, 6, 29 and 30.
    """
    by_law = Talt(count_weeks(claims, last_day, rules), number_at_transition(claims, last_day, rules))
    return {LOVENS_TAELLER: by_law} | {
        taeller.id: Talt(
            count_own(own_kinds(claims, taeller, last_day, rules), taeller, rules),
            own_number_at_transition(claims, taeller, last_day, rules),
        )
        for taeller in rules.taellere
    }


def maximum(loft_id: str, day: date, rules: Rulebook) -> Loft | None:
    """The newest version of a maximum on a day; None before its first."""
    versions = [loft for loft in rules.lofter if loft.id == loft_id and loft.gaelder_fra <= day]
    return max(versions, key=lambda loft: loft.gaelder_fra, default=None)


def limit(money: dict[Key, int], loft_id: str, turn: tuple[str, str], rules: Rulebook) -> None:
    """Lowers the øre of each row to what one maximum leaves it; `turn` is what it is on, and week or month.

    The rows of one person, benefit and week (or month) use of it in the order of month, week and municipality.
    """
    left: dict[tuple[str, str, date], int] = {}
    for key in sorted(money, key=lambda key: (key[1], key[0], key[4])):
        uge, maaned, cpr, ydelse_id, _ = key
        day = uge if turn[1] == "uge" else date.fromisoformat(f"{maaned}-01")
        loft = maximum(loft_id, day, rules)
        if loft is not None and (loft.paa, loft.periode) == turn and ydelse_id in loft.ydelser:
            whose = (cpr, ydelse_id, day)
            money[key] = min(money[key], left.setdefault(whose, loft.beloeb_oere))
            left[whose] -= money[key]


def shares(rows: Mapping[Key, tuple[int, int]], rules: Rulebook) -> dict[Key, int]:
    """What is refunded or paid of each row, in øre, after every maximum; `rows` holds amount and whole per cent.

    First the maxima on the amount, then the percentage is taken, then the maxima on the result of it; those of a
    week before those of a month; then by name. Each takes of what the one before it has left.

    Hjemmel: § 5, stk. 2-3, and each maximum's own.
    """
    names = sorted({loft.id for loft in rules.lofter})
    grundlag = {key: beloeb for key, (beloeb, _) in rows.items()}
    for periode in ("uge", "maaned"):
        for name in names:
            limit(grundlag, name, ("beloeb", periode), rules)
    andel = {key: rounded(Fraction(grundlag[key] * procent, 100)) for key, (_, procent) in rows.items()}
    for periode in ("uge", "maaned"):
        for name in names:
            limit(andel, name, ("refusion", periode), rules)
    return andel
