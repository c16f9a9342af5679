"""Outcomes of checks: by rule id, and what has moved a month's amount."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.findings.outcome import Outcome, balance, by_rule, causes
from tests.kit.data_root import RULEBOOK

Finding = tuple[str, int | None, int | None, bool]


def outcome(regel: str, *found: Finding) -> Outcome:
    """What is said of a rule, given findings: rule, person, øre, new."""
    schema = {"regel": pl.String, "borger_id": pl.Int64, "beloeb_oere": pl.Int64, "ny": pl.Boolean}
    return next(by_rule(pl.DataFrame(found, schema=schema, orient="row"), [regel], RULEBOOK))


def test_a_rule_with_nothing_new_passes_and_says_what_is_still_open() -> None:
    assert outcome("YR-001").bestaaet
    old = outcome("YR-001", ("YR-001", 7, 500, False), ("YR-002", 7, 500, True))
    assert (old.bestaaet, old.antal, old.beloeb_oere) == (True, 0, 0)
    assert old.tekst.endswith(": Kontoen findes i klassifikationen. 1 ældre fund er åbent.")
    two = outcome("YR-001", ("YR-001", 7, 500, False), ("YR-001", 8, 500, False))
    assert two.tekst.endswith(" 2 ældre fund er åbne.")


def test_a_rule_with_something_new_says_how_many_how_much_and_three_persons_at_most() -> None:
    found = [("EI-003", person, 100_00, True) for person in (9, 7, 8, 6, 7)]
    new = outcome("EI-003", *found, ("EI-003", 1, 5, False), ("EI-003", None, None, True))
    assert (new.bestaaet, new.antal, new.beloeb_oere, new.eksempler) == (False, 6, 500_00, (6, 7, 8))
    assert new.tal == {"nye": 6, "aabne": 7, "nye_oere": 500_00}
    assert "EI-003" in new.tekst
    assert "500,00 kr." in new.tekst


def test_one_is_said_as_one_and_two_as_two() -> None:
    new = ("YR-001", 7, 500, True)
    assert outcome("YR-001", new).tekst.endswith(": 1 nyt fund (5,00 kr.).")
    assert outcome("YR-001", new, new).tekst.endswith(": 2 nye fund (10,00 kr.).")
    assert outcome("YR-001", new, ("YR-001", 8, 5, False)).tekst.endswith(": 1 nyt fund (5,00 kr.), 2 er åbne i alt.")


def test_what_is_new_about_files_names_three_senders_or_files_at_most() -> None:
    told = pl.DataFrame({"regel": "FIL-003", "vaerdi": [f"ky-10{n}: 0 rækker" for n in range(4)], "fil": "f.csv"})
    findings = told.with_columns(borger_id=pl.lit(None, pl.Int64), beloeb_oere=pl.lit(None, pl.Int64), ny=True)
    (said,) = (outcome.tekst for outcome in by_rule(findings, ["FIL-003"], RULEBOOK))
    assert said.endswith("4 nye fund: ky-100: 0 rækker; ky-101: 0 rækker; ky-102: 0 rækker.")


def test_what_is_only_told_passes_and_is_told_all_the_same() -> None:
    told = outcome("EI-019", ("EI-019", 1, 100, True))
    assert (told.bestaaet, told.antal, told.beloeb_oere) == (True, 1, 100)


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
        ((-8_000, 8_000, (10, 10), (-10_000, 10_000)), (0, 16_000, 0)),  # more was taken back than paid
        ((10**18, 0, (1, 10**6), (1, 1)), (2**62, -(2**62), -(10**18))),  # a cause that 64 bits do not hold
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
