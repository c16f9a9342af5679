"""Understands § 7 by hand: the fleksbidrag of one person's months, with fractions, one month at a time.

A part of the independent calculation (rules.md, section 7); its numbers stand in `rules/`.
"""

from calendar import monthrange
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from refusion_assets.domain.efterregning_felter import read_date, read_oere, rounded
from refusion_assets.domain.efterregning_uger import monday
from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.rules_fleks import Fleksbidrag

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
