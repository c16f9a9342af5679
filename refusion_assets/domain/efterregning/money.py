"""Understands the law by hand: claims in, the state of a run out, week by week in whole øre.

An independent and slow statement of the act and the contract (rules.md, sections 4 to 7). It checks the fast
calculation and shares nothing with it but the rules. The parts before it are `efterregning/reports.py` (rows to claims)
and `efterregning/weeks.py` (weeks, counters and maxima).
"""

from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from refusion_assets.domain.efterregning.reports import (
    Claim,
    Fil,
    benefit,
    claims,
    in_force,
    judge,
    month_end,
    read_date,
    read_oere,
    rounded,
)
from refusion_assets.domain.efterregning.weeks import Talt, Uge, count_all, days, monday, mondays, shares
from refusion_assets.domain.rules.entries import LOVENS_TAELLER, Fleksbidrag, Rulebook, Trappe, Ydelse


@dataclass(frozen=True)
class Bopael:
    """One municipality of residence of one person, both days inclusive."""

    kommunekode: str
    start: date
    slut: date


def residence(week: date, rows: Sequence[Bopael], rules: Rulebook) -> str | None:
    """The municipality where the person lives in the week; None where no residence is known in it.

    Reading `bopael_paa`: where they live on Monday, else on the first day after it that a residence covers. The other
    value: where they live on Sunday, else on the last day before it.

    Hjemmel: BEK nr. 1772 af 16/12/2015, § 1, stk. 2.
    """
    week_days = days(week, week + timedelta(days=6))
    if rules.laesning("bopael_paa") == "soendag":
        week_days.reverse()
    for day in week_days:
        here = [row for row in rows if row.start <= day <= row.slut]
        if here:
            return max(here, key=lambda row: (row.start, row.slut, row.kommunekode)).kommunekode
    return None


def municipality(claim: Claim, week: date, rows: Sequence[Bopael], rules: Rulebook) -> str | None:
    """The municipality that finances a claim in a week: the payer's, for national payers the residence.

    Hjemmel: § 2; reading `finansieringskommune_refusion`.
    """
    if claim.kommunekode and rules.laesning("finansieringskommune_refusion") == "betaler":
        return claim.kommunekode
    return residence(week, rows, rules)


def read_bopael(rows: Iterable[Mapping[str, str]], rules: Rulebook) -> dict[str, list[Bopael]]:
    """The residences of each person; codes that are no municipality, and days that are none, are left out."""
    known = {kommune.kommunekode for kommune in rules.kommuner}
    result: dict[str, list[Bopael]] = defaultdict(list)
    for row in rows:
        start = read_date(row["Bopael_start"])
        slut = read_date(row["Bopael_slut"]) if row["Bopael_slut"] else date.max
        if row["Kommunekode"] in known and start and slut:
            result[row["CPR"]].append(Bopael(row["Kommunekode"], start, slut))
    return result


Grundlag = Mapping[tuple[str, str], tuple[int, int]]  # cpr, maaned: beregningsgrundlag and løn in øre


class Betalt(NamedTuple):
    """Days of one benefit that are settled with a municipality, the whole per cent of their week, and their øre."""

    ydelse_id: str
    maaned: str
    kommune: str
    dage: list[date]
    procent: int
    oere: int


def paragraf_7(entry: Fleksbidrag, grundlag: int, loen: int, refusion: int, share: Fraction) -> int:
    """The fleksbidrag of one person and month in øre; `share` of its days lie on the step.

    Hjemmel: § 7, stk. 2-3.
    """
    beyond = Fraction(entry.forskel_procent, 100) * (grundlag - refusion)
    ceiling = min(beyond, Fraction(entry.beregningsgrundlag_procent, 100) * grundlag)
    rest = max(Fraction(0), ceiling - Fraction(entry.loen_procent, 100) * loen)
    return entry.afrunding_oere * rounded(share * rest / entry.afrunding_oere)


FORMLER = {"paragraf_7": paragraf_7}


def entry_of(maaned: str, rules: Rulebook) -> Fleksbidrag | None:
    """The rule of fleksbidrag in force on the first of a month; None before the first of them."""
    begun = [entry for entry in rules.fleksbidrag if entry.gaelder_fra.isoformat() <= f"{maaned}-01"]
    return max(begun, key=lambda entry: entry.gaelder_fra, default=None)


def whole(maaned: str, paid: Iterable[Betalt], rules: Rulebook) -> int:
    """How many days the days on the step are a share of: those of the month, or those of the claims in it."""
    if rules.laesning("fleksbidrag_andel") == "maanedens_dage":
        return monthrange(int(maaned[:4]), int(maaned[5:]))[1]
    return len({day for part in paid for day in part.dage})


def contributions(
    paid: Sequence[Betalt], refunded: Mapping[tuple[str, str, str], int], grundlag: Grundlag, cpr: str, rules: Rulebook
) -> Iterator[tuple[date, str, str, str, int]]:
    """Last week on the step, month, id, municipality and øre of each contribution that is not zero.

    `refunded`: what the state refunds by benefit, month and municipality. Hjemmel: § 7.
    """
    for maaned, kommune in sorted({(part.maaned, part.kommune) for part in paid}):
        entry, basis = entry_of(maaned, rules), grundlag.get((cpr, maaned))
        if entry is None or basis is None:
            continue
        mine = [
            part for part in paid if (part.ydelse_id, part.maaned, part.kommune) == (entry.ydelse_id, maaned, kommune)
        ]
        if not any(part.oere for part in mine):
            continue  # no øre of the benefit is settled in the month
        on_step = {day for part in mine if part.procent == entry.trin_procent for day in part.dage}
        if on_step:
            share, refusion = (
                Fraction(len(on_step), whole(maaned, mine, rules)),
                refunded.get((entry.ydelse_id, maaned, kommune), 0),
            )
            oere = FORMLER[entry.formel](entry, *basis, refusion, share)
            if oere:
                yield monday(max(on_step)), maaned, entry.id, kommune, oere


def read_grundlag(rows: Iterable[Mapping[str, str]]) -> Grundlag:
    """The newest basis for fleksbidrag in øre, person x month: the last row whose month and amounts can be read."""
    basis = {}
    for row in rows:
        grundlag, loen = read_oere(row["Beregningsgrundlag"]), read_oere(row["Loen"])
        if grundlag is not None and loen is not None and read_date(f"{row['Maaned']}-01"):
            basis[row["CPR"], row["Maaned"]] = grundlag, loen
    return basis


Row = Mapping[str, str]
Key = tuple[date, str, str, str, str]  # uge, maaned, cpr, ydelse_id, kommunekode
Rate = tuple[Ydelse, int, int | None]  # the benefit, whole per cent, step

UDEN_FOR = Uge("-", 0, 0)  # a week before the count begins


class Resultat(NamedTuple):
    """One row of the state: øre, whole per cent, and the counters; None = outside the count."""

    indberettet: int
    beloeb: int
    procent: int
    refusion: int
    medfinansiering: int
    n: int | None
    genoptjening: int | None
    trin: int | None


class Penge(NamedTuple):
    """The øre of one row: reported, placed in it, and what of that is refunded or paid."""

    indberettet: int
    beloeb: int
    andel: int


class Part(NamedTuple):
    """One part of a claim: week x calendar month, before or from the day the benefit is settled."""

    uge: date
    maaned: str
    dage: list[date]
    finansieres: bool
    beloeb: int


@lru_cache(maxsize=10_000)
def staircase(trappe_id: str, day: date, rules: Rulebook) -> Trappe:
    """The staircase of a name as it is on a day."""
    return in_force([trappe for trappe in rules.trapper if trappe.id == trappe_id], day)


def rate(ydelse: Ydelse, day: date, number: int, rules: Rulebook) -> tuple[int, int | None]:
    """The whole per cent of week `number` on the staircase in force on the day, and its step; else the fixed.

    Hjemmel: § 5, stk. 2-3.
    """
    if ydelse.trappe is None:
        return ydelse.fast_procent or 0, None
    trin = staircase(ydelse.trappe, day, rules).trin
    reached = [(place, step) for place, step in enumerate(trin, 1) if step.fra_uge <= max(number, 1)]
    return reached[-1][1].procent, reached[-1][0]


@lru_cache(maxsize=100_000)
def settled_as(ydelse_id: str, week: date, rules: Rulebook) -> tuple[Ydelse, date]:
    """The benefit as the money of a week is settled, and the Monday whose rules decide.

    Hjemmel: § 29, stk. 3 (weeks before the staircases are settled as the first week of them).
    """
    day = max(week, monday(rules.overgang.gaelder_fra))
    return benefit(ydelse_id, day, rules), day


def split(claim: Claim, rules: Rulebook) -> Iterator[Part]:
    """The parts of one claim, week x month x before/after the day it is settled from; they sum to its amount.

    Hjemmel: § 5, stk. 5, § 29, stk. 3; reading `fordeling`: calendar days, or Monday to Friday.
    """
    begins = {
        week: settled_as(claim.ydelse_id, week, rules)[0].finansieres_fra for week in mondays(claim.fra, claim.til)
    }

    def place(day: date) -> tuple[date, str, bool]:
        week = monday(day)
        return week, day.isoformat()[:7], day >= (begins[week] or date.max)

    period = days(claim.fra, claim.til)
    weekdays = {day for day in period if day.weekday() < 5}
    shares = weekdays if weekdays and rules.laesning("fordeling") == "hverdage" else set(period)
    so_far = placed = 0
    for (week, maaned, finansieres), group in groupby(period, key=place):
        part = list(group)
        so_far += len(shares.intersection(part))
        up_to = rounded(Fraction(claim.beloeb * so_far, len(shares)))
        yield Part(week, maaned, part, finansieres, up_to - placed)
        placed = up_to


@dataclass(frozen=True)
class Borger:
    """One person as a run sees them: claims, residences, and the weeks by every counter."""

    cpr: str
    claims: list[Claim]
    bopael: list[Bopael]
    talt: dict[str, Talt]

    def counted(self, ydelse: Ydelse, day: date, rules: Rulebook) -> Talt:
        """The weeks by the counter that a benefit's staircase is climbed by; the law's own for all others."""
        return self.talt[staircase(ydelse.trappe, day, rules).taeller if ydelse.trappe else LOVENS_TAELLER]


def rate_of(ydelse_id: str, week: date, borger: Borger, rules: Rulebook) -> Rate:
    """The benefit, whole per cent and step of one person's week.

    Hjemmel: § 5, stk. 2-3, § 29, stk. 3.
    """
    ydelse, day = settled_as(ydelse_id, week, rules)
    talt = borger.counted(ydelse, day, rules)
    number = talt.overgang if week < day else talt.uger.get(week, UDEN_FOR).n
    return ydelse, *rate(ydelse, day, number, rules)


def due(claim: Claim, borger: Borger, last_day: date, rules: Rulebook) -> Iterator[tuple[Part, str]]:
    """The parts of a claim that the run settles, each with its municipality; none where that is unknown."""
    for part in split(claim, rules):
        if part.finansieres and part.dage[-1] <= last_day:
            kommune = municipality(claim, part.uge, borger.bopael, rules)
            if kommune is not None:
                yield part, kommune


def settled(borger: Borger, last_day: date, rules: Rulebook) -> dict[Key, Resultat]:
    """The rows of one person: week x month x benefit x municipality.

    Hjemmel: § 5 and § 29, stk. 3; the rounding is the contract's.
    """
    reported: dict[Key, int] = defaultdict(int)
    placed: dict[Key, int] = defaultdict(int)
    for claim in borger.claims:
        parts = [(part, kommune) for part, kommune in due(claim, borger, last_day, rules) if part.beloeb]
        for number, (part, kommune) in enumerate(parts):
            key = (part.uge, part.maaned, claim.cpr, claim.ydelse_id, kommune)
            placed[key] += part.beloeb
            reported[key] += claim.beloeb if number == 0 else 0
    rates = {key: rate_of(key[3], key[0], borger, rules) for key in placed}
    andel = shares({key: (beloeb, rates[key][1]) for key, beloeb in placed.items()}, rules)
    return {
        key: shown(key, Penge(reported[key], beloeb, andel[key]), rates[key], borger, rules)
        for key, beloeb in placed.items()
    }


def shown(key: Key, penge: Penge, rate: Rate, borger: Borger, rules: Rulebook) -> Resultat:
    """One row: its percentage, what the state refunds or the municipality pays, the counters of the week.

    `genoptjening` is empty in three cases. The week is free or may become so. The week has only a benefit of no
    category, or one outside its counter. The counter never starts over.

    Hjemmel: § 5, stk. 2-3.
    """
    week, _, _, ydelse_id, _ = key
    ydelse, procent, trin = rate
    uge = borger.counted(*settled_as(ydelse_id, week, rules), rules).uger.get(week, UDEN_FOR)
    return Resultat(
        penge.indberettet,
        penge.beloeb,
        procent,
        penge.andel if ydelse.side == "refusion" else 0,
        penge.andel if ydelse.side == "medfinansiering" else 0,
        uge.n if trin else None,
        uge.genoptjening if uge.kind in ("A", "B") else None,
        trin,
    )


def flex_rows(
    borger: Borger, rows: Mapping[Key, Resultat], grundlag: Grundlag, last_day: date, rules: Rulebook
) -> dict[Key, Resultat]:
    """The fleksbidrag of one person: month x municipality that pays the benefit in it, where not zero.

    Hjemmel: § 7.
    """
    paying = {entry.ydelse_id for entry in rules.fleksbidrag}
    paid = [
        Betalt(
            claim.ydelse_id,
            part.maaned,
            kommune,
            part.dage,
            rate_of(claim.ydelse_id, part.uge, borger, rules)[1],
            part.beloeb,
        )
        for claim in borger.claims
        if claim.ydelse_id in paying
        for part, kommune in due(claim, borger, last_day, rules)
    ]
    result = {}
    for week, maaned, bidrag_id, kommune, oere in contributions(paid, refunded(rows), grundlag, borger.cpr, rules):
        result[week, maaned, borger.cpr, bidrag_id, kommune] = Resultat(0, 0, 0, oere, 0, None, None, None)
    return result


def refunded(rows: Mapping[Key, Resultat]) -> dict[tuple[str, str, str], int]:
    """The refusion of one person's rows, in øre, by benefit, month and municipality."""
    total: dict[tuple[str, str, str], int] = defaultdict(int)
    for (_, maaned, _, ydelse_id, kommune), row in rows.items():
        total[ydelse_id, maaned, kommune] += row.refusion
    return total


def state(
    files: Iterable[Fil],
    bopael: Iterable[Row],
    run_month: str,
    rules: Rulebook,
    persons: set[str] | None = None,
    fleksbidrag: bool = False,
    fleksgrundlag: Iterable[Row] = (),
) -> dict[Key, Resultat]:
    """The state of run `run_month`: week x month x person x benefit x municipality, as the run knows it.

    `files` may go beyond the run month, and are cut there. `bopael` is the one snapshot that the run uses.
    `fleksgrundlag` holds the rows of all snapshots up to the run, oldest first. `persons` makes it a sample.

    Hjemmel: the act as a whole.
    """
    last_day = month_end(run_month)
    by_person: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims(judge((fil for fil in files if fil.maaned <= run_month), rules).brugt, rules):
        if persons is None or claim.cpr in persons:
            by_person[claim.cpr].append(claim)
    lives, grundlag = read_bopael(bopael, rules), read_grundlag(fleksgrundlag)
    result: dict[Key, Resultat] = {}
    for cpr, own in by_person.items():
        borger = Borger(cpr, own, lives.get(cpr, []), count_all(own, last_day, rules))
        rows = settled(borger, last_day, rules)
        result |= rows
        if fleksbidrag:
            result |= flex_rows(borger, rows, grundlag, last_day, rules)
    return result


class Forskel(NamedTuple):
    """The state of a key less its settled amounts, in øre, and the percentage of the difference."""

    indberettet: int
    beloeb: int
    refusion: int
    medfinansiering: int
    procent: int


class Kladde(NamedTuple):
    """The state after a run: the settled result of each key, and each difference that is too old to settle."""

    afregnet: dict[Key, Resultat]
    foraeldet: dict[Key, Forskel]


def ledgers(
    states: Iterable[tuple[str, Mapping[Key, Resultat]]], rules: Rulebook, modtaget: Mapping[tuple[str, str], str]
) -> Iterator[Kladde]:
    """The ledger after each run, the first of which takes what lies before it as settled.

    `states`: run month and its state, in order. `modtaget`: run month and person -> the month of receipt of the newest
    report that is new in the run; without one, the run month.
    Hjemmel: none for the ledger (output.md section 2); that of the entries for the limit (rules.md section 7a).
    """
    settled: dict[Key, Resultat] = {}
    old: dict[Key, Forskel] = {}
    for number, (run_month, state) in enumerate(states):
        for key in {*state, *settled}:
            now, was = state.get(key), settled.get(key)
            if now is not None and was is not None and now[:5] == was[:5]:
                old.pop(key, None)
                continue
            if now is None and was is None:
                continue
            more = difference(now, was)
            received = modtaget.get((run_month, key[2]), run_month)
            if number and (old.get(key) == more or out_of_time(key[1], more, run_month, received, rules)):
                old[key] = more
                continue
            old.pop(key, None)
            if now is None:
                settled.pop(key)
            else:
                settled[key] = now
        yield Kladde(dict(settled), {key: more for key, more in old.items() if key in state or key in settled})


def difference(now: Resultat | None, was: Resultat | None) -> Forskel:
    """One key's state less what is settled of it; where the key is gone, by the percentage that was settled."""
    nothing = (0, 0, 0, 0)
    a = (now.indberettet, now.beloeb, now.refusion, now.medfinansiering) if now else nothing
    b = (was.indberettet, was.beloeb, was.refusion, was.medfinansiering) if was else nothing
    said = now or was
    return Forskel(a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3], said.procent if said else 0)


def out_of_time(maaned: str, more: Forskel, run_month: str, received: str, rules: Rulebook) -> bool:
    """True if a difference in a benefit month is too old for the run, in its direction.

    Hjemmel: that of the entry (rules.md section 7a).
    """
    paid = more.refusion - more.medfinansiering
    ways = {"til_kommunen"} if paid > 0 else {"til_staten"} if paid < 0 else {"til_kommunen", "til_staten"}
    for way in ways:
        begun = [
            entry
            for entry in rules.foraeldelse
            if entry.gaelder in (way, "begge") and entry.gaelder_fra.isoformat()[:7] <= run_month
        ]
        if not begun:
            return False
        entry = max(begun, key=lambda one: one.gaelder_fra)
        until = run_month if entry.regnes_fra == "ydelsesmaaned" else received
        years, months = int(until[:4]) - int(maaned[:4]), int(until[5:]) - int(maaned[5:])
        if years * 12 + months <= (entry.maaneder if entry.maaneder is not None else 12 * (entry.aar or 0)):
            return False
    return True
