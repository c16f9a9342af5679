"""Understands time on support by hand: one person's claims in, the kind of every week and both counters out.

The second part of the independent calculation (rules.md, sections 2 and 3); the first is `efterregning/reports.py`.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from refusion_assets.domain.efterregning.reports import Claim, benefit, in_force, rounded
from refusion_assets.domain.rules.entries import LOVENS_TAELLER, Loft, Rulebook, Taeller


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
    B: not A, and a day lies in a claim of category A or B. So a week that fails to be A is neutral, not free.
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
    """The number of weeks, from some in order of time, that begin on a day or later."""
    return len(weeks) - bisect_left(weeks, day)


def count(kind_of: Mapping[date, str], rules: Rulebook) -> dict[date, Uge]:
    """Every week of one person with its number: the count and the weeks of self-support in the window.

    The reading `genoptjening_proeves` decides when the restart is tried: in the 52nd week, or when the next benefit
    comes.

    Hjemmel: § 5, stk. 5 (the count), § 6, stk. 1 (52 weeks within 3 years: the count starts over).
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
    """True if the window has enough free weeks for a restart."""
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
    """The øre refunded or paid of each row after every maximum; `rows` holds amount and whole per cent.

    First the maxima on the amount, then the percentage, then the maxima on the result of it. Those of a week come
    before those of a month; then by name. Each applies to the rest after the one before.

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
