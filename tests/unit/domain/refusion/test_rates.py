"""The percentages laid out: steps by number, fixed rates, and what changes on a Monday."""

from dataclasses import replace
from datetime import date

import pytest

from refusion_assets.domain.rules.entries import Rulebook, Trin
from tests.kit.data_root import RULEBOOK, rates_of

A_DAY = date(2024, 1, 1)


def rate(ydelse_id: str, number: int, monday: date = A_DAY, rules: Rulebook = RULEBOOK) -> tuple[int, int, str]:
    """Whole per cent, step (0 = none) and paragraph of a benefit in a week, by the number on the staircase."""
    grid, rates = rates_of(rules, date(2026, 12, 31))
    place = rates.ydelse_ids.index(ydelse_id), grid.week_of(monday), min(number, rates.top)
    return int(rates.procent[place]), int(rates.trin[place]), rates.texts[int(rates.hjemmel[place])]


@pytest.mark.parametrize(
    ("number", "refusion", "medfinansiering", "trin"),
    [
        (1, 80, 20, 1),
        (4, 80, 20, 1),
        (5, 40, 60, 2),
        (26, 40, 60, 2),
        (27, 30, 70, 3),
        (51, 30, 70, 3),
        (52, 30, 70, 3),
        (53, 20, 80, 4),
        (54, 20, 80, 4),
        (700, 20, 80, 4),
    ],
)
def test_the_steps_change_after_week_4_26_and_52(number: int, refusion: int, medfinansiering: int, trin: int) -> None:
    assert rate("KTH", number) == (refusion, trin, f"§ 5, stk. 2, nr. {trin}")
    assert rate("ADP", number) == (medfinansiering, trin, f"§ 5, stk. 3, nr. {trin}")


@pytest.mark.parametrize(
    ("ydelse_id", "procent"),
    [("FLYGT", 100), ("FOEP_GL50", 50), ("FOEP_GL65", 65), ("FLEKS_GL", 65), ("SKAANE", 50), ("BEFORD", 50)],
)
def test_a_fixed_rate_has_no_step_and_is_the_same_for_every_number(ydelse_id: str, procent: int) -> None:
    assert {rate(ydelse_id, number)[:2] for number in (0, 1, 5, 27, 53)} == {(procent, 0)}


def test_weeks_before_4_january_2016_stand_on_the_staircase_of_that_week() -> None:
    assert rate("KTH", 5, date(2014, 7, 7)) == rate("KTH", 5, date(2016, 1, 4)) == (40, 2, "§ 5, stk. 2, nr. 2")
    older = replace(
        RULEBOOK.trapper[0], gaelder_fra=date(2014, 7, 1), trin=(Trin(fra_uge=1, procent=7, hjemmel="før"),)
    )
    rules = replace(RULEBOOK, trapper=(older, *RULEBOOK.trapper))
    assert rate("KTH", 5, date(2015, 12, 28), rules)[0] == 40


@pytest.mark.parametrize(("begins", "old", "new"), [
    (date(2026, 7, 6), date(2026, 6, 29), date(2026, 7, 6)),
    (date(2026, 7, 1), date(2026, 6, 29), date(2026, 7, 6)),
])  # fmt: skip
def test_new_steps_hold_from_the_first_monday_on_or_after_their_date(begins: date, old: date, new: date) -> None:
    steps = (Trin(fra_uge=1, procent=55, hjemmel="ny"), Trin(fra_uge=60, procent=11, hjemmel="ny"))
    refusion = next(trappe for trappe in RULEBOOK.trapper if trappe.id == "refusion")
    rules = replace(RULEBOOK, trapper=(*RULEBOOK.trapper, replace(refusion, gaelder_fra=begins, trin=steps)))
    assert [rate("KTH", number, old, rules)[0] for number in (53, 59, 60)] == [20, 20, 20]
    assert [rate("KTH", number, new, rules)[:2] for number in (53, 59, 60)] == [(55, 1), (55, 1), (11, 2)]
    assert rate("ADP", 53, new, rules)[0] == 80


def test_one_benefit_may_stand_on_a_staircase_of_its_own() -> None:
    ny = replace(RULEBOOK.trapper[0], id="ny", trin=(Trin(fra_uge=1, procent=99, hjemmel="ny"),))
    ydelser = tuple(replace(y, sats="trappe ny") if y.ydelse_id == "LED" else y for y in RULEBOOK.ydelser)
    rules = replace(RULEBOOK, trapper=(*RULEBOOK.trapper, ny), ydelser=ydelser)
    assert (rate("LED", 53, rules=rules), rate("KTH", 53, rules=rules)[0]) == ((99, 1, "ny"), 20)
