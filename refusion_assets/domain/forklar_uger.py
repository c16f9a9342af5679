"""Understands the weeks of one person: kind, both counters and the restarts, from the spells that are stored."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import polars as pl

from refusion_assets.domain.forklar_post import restart_entry
from refusion_assets.domain.forklar_udtryk import small
from refusion_assets.domain.forklaring import Forfra, Stykke
from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.weeks import monday, years_before

WEEK = timedelta(days=7)


@dataclass(frozen=True)
class TaltUge:
    """One week of a person: kind, which count it is of, n, and the weeks of self-support in its window."""

    uge: date
    art: str
    taelling: int
    n: int
    fri: bool
    genoptjent: bool
    antal: int = 0
    foerste: date | None = None


@dataclass(frozen=True)
class Krav:
    """One claim of the person with its sender, in full and as a place; `linjer` are the lines that make it. Øre."""

    ydelse_id: str
    ydelse: str
    afsender: str
    sted: str
    kommunekode_betaler: str | None
    start: date
    slut: date
    oere: int
    linjer: tuple[tuple[int, int], ...]


def counted_weeks(forloeb: pl.DataFrame, through: date, rules: Rulebook) -> dict[date, TaltUge]:
    """Every week of the person from the first week of support to `through`, by Monday.

    `forloeb`: the spells of one person (`Forloeb`). The whole weeks after the last spell are self-support, and can
    reach a restart. Hjemmel: § 5, stk. 2-3; § 6, stk. 1.
    """
    reached = rules.laesning("genoptjening_proeves") == "ved_opnaaelse"
    found: dict[date, TaltUge] = {}
    free: list[date] = []
    taelling, forfra = 1, 0
    for stored, own in _all_weeks(forloeb, through):
        week = replace(stored, taelling=stored.taelling + forfra)
        if week.taelling != taelling:
            free, taelling = [], week.taelling
        week = replace(week, n=0 if forfra else week.n, fri=week.fri and not forfra)
        if week.fri:
            free.append(week.uge)
        rule = rules.genoptjening_on(week.uge)
        inside = free[bisect_left(free, years_before(week.uge, rule.vindue_aar)) :]
        restart = week.genoptjent or (not own and week.fri and reached and len(inside) >= rule.uger)
        if restart:
            week, inside = replace(week, genoptjent=True, n=0), []
            forfra += not own
        found[week.uge] = replace(week, antal=len(inside), foerste=inside[0] if inside else None)
    return found


def _all_weeks(forloeb: pl.DataFrame, through: date) -> Iterator[tuple[TaltUge, bool]]:
    """The weeks of the spells, and the whole weeks after them; whether the week is of a spell."""
    after, taelling, n = None, 1, 0
    for spell in forloeb.sort("fra_uge").iter_rows(named=True):
        taelling, n = spell["taelling"], spell["n_foer"]
        for step in range(spell["antal_uger"]):
            n += spell["art"] == "A"
            last = spell["genoptjent"] and step == spell["antal_uger"] - 1
            uge = spell["fra_uge"] + step * WEEK
            yield TaltUge(uge, spell["art"], taelling, 0 if last else n, spell["taeller"], last), True
        after = spell["fra_uge"] + spell["antal_uger"] * WEEK
    while after is not None and after + WEEK - timedelta(days=1) <= through:
        yield TaltUge(after, "C", taelling, n, n > 0, genoptjent=False), False
        after += WEEK


def begun(uger: dict[date, TaltUge], taelling: int) -> date | None:
    """The first week of benefit of a count; None before it."""
    return min((uge for uge, week in uger.items() if week.taelling == taelling and week.art == "A"), default=None)


def restarted(uger: dict[date, TaltUge], taelling: int, rules: Rulebook) -> Forfra | None:
    """When a count started over from the one before it; None for the first. § 6, stk. 1."""
    before = [uge for uge, week in uger.items() if week.taelling == taelling - 1 and week.genoptjent]
    own = [uge for uge, week in uger.items() if week.taelling == taelling]
    if taelling == 1 or not own:
        return None
    uge = before[-1] if before else own[0]
    rule = rules.genoptjening_on(uge)
    return Forfra(uge=uge, kraevet=rule.uger, vindue_aar=rule.vindue_aar, post=restart_entry(rule))


def days_in(krav: Krav, uge: date, through: date, rules: Rulebook) -> tuple[date, date] | None:
    """The first and last day of a claim that count in a week; None if there is none. § 30, stk. 1."""
    first = rules.optaelling.gaelder_fra
    if rules.laesning("foerste_uge") != "taeller":
        first = monday(first + timedelta(days=6))
    fra, til = max(krav.start, uge, first), min(krav.slut, uge + timedelta(days=6), through)
    return (fra, til) if fra <= til and krav.oere > 0 else None


def history(uger: dict[date, TaltUge], krav: Sequence[Krav], fra: date, til: date, rules: Rulebook) -> list[Stykke]:
    """The weeks from the beginning of the count that is in force in week `fra`, through week `til`, in runs.

    A run is of one kind, one count and one set of benefits; so it can be followed how the number of a week came about.
    """
    if fra not in uger:
        known = [uge for uge in uger if uge <= til]
        if not known:
            return []
        fra = known[-1] if fra > known[-1] else known[0]
    taelling = uger[fra].taelling
    claims = _by_week(krav)
    runs: list[Stykke] = []
    for uge, week in uger.items():
        if week.taelling < taelling or uge > til:
            continue
        ydelser = _benefits(claims.get(uge, []), week, rules)
        n = week.n if week.art == "A" else None
        last = runs[-1] if runs else None
        same = last and (last.art, last.ydelser, last.taelling, last.genoptjent) == (
            week.art, ydelser, week.taelling, False
        )  # fmt: skip
        if last and same:
            runs[-1] = replace(
                last,
                til_uge=uge,
                antal_uger=last.antal_uger + 1,
                ydelsestaeller_til=n,
                genoptjent=week.genoptjent and week.art == "C",
            )
        else:
            restart = week.genoptjent and week.art == "C"
            runs.append(
                Stykke(
                    fra_uge=uge, til_uge=uge, antal_uger=1, art=week.art, ydelser=ydelser, ydelsestaeller_fra=n,
                    ydelsestaeller_til=n, taelling=week.taelling, genoptjent=restart,
                )
            )  # fmt: skip
    return runs


def _by_week(krav: Sequence[Krav]) -> dict[date, list[Krav]]:
    """The claims with an amount, by each week they have days in."""
    found: dict[date, list[Krav]] = {}
    for claim in krav:
        uge = monday(claim.start)
        while claim.oere > 0 and uge <= claim.slut:
            found.setdefault(uge, []).append(claim)
            uge += WEEK
    return found


def _benefits(claims: Sequence[Krav], week: TaltUge, rules: Rulebook) -> list[str]:
    """What gave a week its kind: benefit and sender, in alphabetical order."""
    kinds = ((k, rules.ydelse_on(k.ydelse_id, week.uge).kategori) for k in claims)
    return sorted({f"{small(k.ydelse)}, {k.sted}" for k, kategori in kinds if kategori == week.art})
