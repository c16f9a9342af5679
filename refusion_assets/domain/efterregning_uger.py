"""Understands time on support by hand: one person's claims in, the kind of every week and both counters out.

The second part of the independent calculation (rules.md, sections 2 and 3); first comes `efterregning_raa`.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import NamedTuple

from refusion_assets.domain.efterregning_raa import Claim, benefit, in_force
from refusion_assets.domain.rules import Rulebook


class Uge(NamedTuple):
    """One week of one person: kind A, B, C or - (cut by the end of the run), and both counters after it.

    `genoptjening` is None by a counter that never starts over.
    """

    kind: str
    n: int
    genoptjening: int | None


def monday(day: date) -> date:
    """The Monday that names the week of a day."""
    return day - timedelta(days=day.weekday())


def days(fra: date, til: date) -> list[date]:
    """The days of a period, both ends included."""
    return [date.fromordinal(number) for number in range(fra.toordinal(), til.toordinal() + 1)]


def mondays(fra: date, til: date) -> list[date]:
    """The Mondays of the weeks that a period touches."""
    return [date.fromordinal(number) for number in range(monday(fra).toordinal(), til.toordinal() + 1, 7)]


def years_before(day: date, years: int) -> date:
    """The same date so many years earlier; 29 February becomes 28 February where there is none."""
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return day.replace(year=day.year - years, day=28)


def counted_weeks(last_day: date, rules: Rulebook) -> list[date]:
    """The Mondays of the count, from the week of its first day to the week of the run's last day.

    Hjemmel: § 30, stk. 1; reading `foerste_uge`: does a week count that the first day cuts?
    """
    first_day = rules.optaelling.gaelder_fra
    cut = first_day != monday(first_day)
    skip = 7 if cut and rules.laesning("foerste_uge") == "taeller_ikke" else 0
    return mondays(monday(first_day) + timedelta(days=skip), last_day)


def kinds(claims: Iterable[Claim], last_day: date, rules: Rulebook) -> dict[date, str]:
    """The kind of every week of one person, as a run knows the days up to its last day.

    A: a day lies in a claim of category A. Reading `uge_beroert = "hele_ugen"`: all seven days must.
    B: not A, and a day lies in a claim of category A or B; so a week that fails to be A is neutral, not free.
    C: seven days of neither. -: neither so far, but the run does not know the whole week, so not C.

    Hjemmel: § 3, § 5, stk. 5, § 6, § 30, stk. 1.
    """
    covered: dict[tuple[date, str], set[date]] = defaultdict(set)
    for claim in claims:
        fra, til = max(claim.fra, rules.optaelling.gaelder_fra), min(claim.til, last_day)
        if claim.beloeb > 0 and fra <= til:
            for week in mondays(fra, til):
                kategori = benefit(claim.ydelse_id, week, rules).kategori
                covered[week, kategori].update(days(max(week, fra), min(week + timedelta(days=6), til)))
    enough = 1 if rules.laesning("uge_beroert") == "een_dag" else 7
    result = {}
    for week in counted_weeks(last_day, rules):
        counted = covered.get((week, "A"), ())
        if len(counted) >= enough:
            result[week] = "A"
        elif counted or (week, "B") in covered:
            result[week] = "B"
        else:
            result[week] = "C" if week + timedelta(days=6) <= last_day else "-"
    return result


@lru_cache(maxsize=10_000)
def restart(week: date, rules: Rulebook) -> tuple[int, date]:
    """How many weeks of self-support it takes in a week for the count to start over, and since which day. § 6."""
    rule = in_force(rules.genoptjening, week)
    return rule.uger, years_before(week, rule.vindue_aar)


def not_before(weeks: Sequence[date], day: date) -> int:
    """How many of some weeks, which stand in order of time, begin on a day or later."""
    return len(weeks) - bisect_left(weeks, day)


def count(kind_of: Mapping[date, str], rules: Rulebook) -> dict[date, Uge]:
    """Every week of one person with its number: the count and the weeks of self-support in the window.

    Hjemmel: § 5, stk. 5 (the count), § 6, stk. 1 (52 weeks within 3 years: the count starts over); reading
    `genoptjening_proeves`: is that tried when the 52nd week is reached, or when the next benefit comes?
    """
    at_once = rules.laesning("genoptjening_proeves") == "ved_opnaaelse"
    weeks = {}
    n = 0
    free: list[date] = []
    for week, kind in sorted(kind_of.items()):
        enough, window = restart(week, rules)
        if kind == "A":
            if not at_once and not_before(free, window) >= enough:
                n, free = 0, []
            n += 1
        elif kind == "C" and n > 0:
            free.append(week)
            if at_once and not_before(free, window) >= enough:
                n, free = 0, []
        weeks[week] = Uge(kind, n, not_before(free, window))
    return weeks


def count_weeks(claims: Iterable[Claim], last_day: date, rules: Rulebook) -> dict[date, Uge]:
    """Every week of one person up to the run's last day: kind, number and weeks of self-support.

    Hjemmel: §§ 5, 6 and 30.
    """
    return count(kinds(claims, last_day, rules), rules)


def number_at_transition(claims: Iterable[Claim], last_day: date, rules: Rulebook) -> int:
    """The number the first week of the staircases has, or would have had with a benefit in it.

    Weeks after it say nothing of it, so they are not looked at. Hjemmel: § 29, stk. 3.
    """
    start = monday(rules.overgang.gaelder_fra)
    known = min(last_day, start + timedelta(days=6))
    before = {week: kind for week, kind in kinds(claims, known, rules).items() if week < start}
    return count({**before, start: "A"}, rules)[start].n
