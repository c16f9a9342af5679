"""Verdicts of checks: by rule id, and what has moved a month's amount."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.kontrol import Outcome, balance, by_rule, causes, kroner_text
from refusion_assets.rulebook import load
from tests.support import RULES

RULEBOOK = load(RULES)
Finding = tuple[str, int | None, int | None, bool]


def outcome(regel: str, *found: Finding) -> Outcome:
    """What is said of a rule, given findings: rule, person, øre, new."""
    schema = {"regel": pl.String, "borger_id": pl.Int64, "beloeb_oere": pl.Int64, "ny": pl.Boolean}
    return dict(by_rule(pl.DataFrame(found, schema=schema, orient="row"), [regel], RULEBOOK))[regel]


def test_a_rule_with_nothing_new_passes_and_says_what_is_still_open() -> None:
    assert outcome("YR-001").bestaaet
    old = outcome("YR-001", ("YR-001", 7, 500, False), ("YR-002", 7, 500, True))
    assert (old.bestaaet, old.antal, old.beloeb_oere) == (True, 0, 0)
    assert "1 ældre er åbne" in old.tekst


def test_a_rule_with_something_new_says_how_many_how_much_and_three_persons_at_most() -> None:
    found = [("EI-003", person, 100_00, True) for person in (9, 7, 8, 6, 7)]
    new = outcome("EI-003", *found, ("EI-003", 1, 5, False), ("EI-003", None, None, True))
    assert (new.bestaaet, new.antal, new.beloeb_oere, new.eksempler) == (False, 6, 500_00, (6, 7, 8))
    assert new.tal == {"nye": 6, "aabne": 7, "nye_oere": 500_00}
    assert "EI-003" in new.tekst
    assert "500,00 kr." in new.tekst


def test_what_is_only_told_passes_and_is_told_all_the_same() -> None:
    told = outcome("EI-019", ("EI-019", 1, 100, True))
    assert (told.bestaaet, told.antal, told.beloeb_oere) == (True, 1, 100)


@pytest.mark.parametrize(
    ("oere", "text"), [(0, "0,00 kr."), (-5, "-0,05 kr."), (123_456_789, "1.234.567,89 kr."), (100_000, "1.000,00 kr.")]
)
def test_an_amount_is_written_as_a_dane_would(oere: int, text: str) -> None:
    assert kroner_text(oere) == text


def test_a_balance_that_is_an_oere_off_fails_and_says_by_how_much() -> None:
    assert balance("x", {"brugt": 60, "karantaene": 40}, 100).bestaaet
    off = balance("x", {"brugt": 60, "karantaene": 39}, 100)
    assert (off.bestaaet, off.beloeb_oere) == (False, 1)
    assert off.tal == {"brugt_oere": 60, "karantaene_oere": 39, "i_alt_oere": 100}


def moved(foer: int, nu: int, borgere: tuple[int, int], beloeb: tuple[int, int]) -> dict[str, int]:
    """The causes of one change."""
    row = {"foer": foer, "nu": nu, "borgere_foer": borgere[0], "borgere": borgere[1]}
    frame = pl.DataFrame([row | {"beloeb_foer": beloeb[0], "beloeb": beloeb[1], "maaned": date(2024, 1, 1)}])
    names = ("flere_borgere", "stoerre_beloeb", "anden_procent")
    return causes(frame).select(names).row(0, named=True)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ((8_000, 16_000, (10, 20), (10_000, 20_000)), (8_000, 0, 0)),  # twice the people, all else as before
        ((8_000, 16_000, (10, 10), (10_000, 20_000)), (0, 8_000, 0)),  # twice the amount for each
        ((8_000, 4_000, (10, 10), (10_000, 10_000)), (0, 0, -4_000)),  # from 80 to 40 per cent
        ((8_000, 0, (10, 0), (10_000, 0)), (-8_000, 0, 0)),  # everybody is gone
        ((0, 8_000, (0, 10), (0, 10_000)), (0, 0, 8_000)),  # there was nothing to compare with
    ],
)
def test_the_cause_of_a_change_is_the_one_thing_that_changed(
    change: tuple[int, int, tuple[int, int], tuple[int, int]], expected: tuple[int, int, int]
) -> None:
    assert tuple(moved(*change).values()) == expected


AMOUNT = st.integers(0, 10**12)
PERCENT = st.integers(0, 100)
PEOPLE = st.integers(0, 10**6)


@given(st.tuples(AMOUNT, AMOUNT), st.tuples(PERCENT, PERCENT), st.tuples(PEOPLE, PEOPLE))
def test_the_causes_sum_to_the_change_whatever_has_moved(
    beloeb: tuple[int, int], procent: tuple[int, int], borgere: tuple[int, int]
) -> None:
    foer, nu = (amount * percent // 100 for amount, percent in zip(beloeb, procent, strict=True))
    assert sum(moved(foer, nu, borgere, beloeb).values()) == nu - foer
