"""The kinds of week and the two counters, on timelines."""

import tomllib
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from refusion_assets.domain.calendar import Grid, make_grid
from refusion_assets.domain.duration.count import KIND_C, Counted, count_weeks, window_starts, windows
from refusion_assets.domain.duration.spells import spells
from refusion_assets.domain.efterregning.reports import Claim
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.store.tables import validate
from tests.kit import timeline
from tests.kit.data_root import DATA, RULEBOOK, calculate, with_reading

CASES: list[dict[str, Any]] = tomllib.loads((DATA / "cases.toml").read_text("utf-8"))["tidslinje"]
START = date(2016, 1, 4)
NEXT_BENEFIT = with_reading(RULEBOOK, "genoptjening_proeves", "ved_naeste_ydelse")
WHOLE_WEEK = with_reading(RULEBOOK, "uge_beroert", "hele_ugen")
WHOLE_FIRST_WEEK = with_reading(RULEBOOK, "foerste_uge", "taeller_ikke")


def counted(claims: list[Claim], through: date, rules: Rulebook = RULEBOOK) -> tuple[Counted, Grid]:
    """The kernel's counters of people known by the first digit of their number."""
    rows = [(int(c.cpr[0]), c.ydelse_id, c.fra, c.til, c.beloeb) for c in claims]
    columns = ["borger_id", "ydelse_id", "periode_start", "periode_slut", "beloeb_oere"]
    grid = make_grid(date(2014, 7, 1), through)
    return count_weeks(pl.DataFrame(rows, schema=columns, orient="row"), grid, rules), grid


def weeks(claims: list[Claim], through: date, rules: Rulebook = RULEBOOK) -> dict[date, tuple[str, int, int]]:
    """Kind, number and weeks of self-support of every week of the only person."""
    found, grid = counted(claims, through, rules)
    rows = zip("CBA", (0, 1, 2), strict=True)
    names = {number: name for name, number in rows}
    return {
        grid.monday_of(week): (names[int(found.kind[week, 0])], int(found.n[week, 0]), int(found.genoptjening[week, 0]))
        for week in range(grid.weeks)
    }


def last(text: str, rules: Rulebook = RULEBOOK, fra: date = START) -> tuple[str, int, int]:
    """Kind, number and weeks of self-support in the last week of a timeline."""
    found = weeks(timeline.claims(text, fra), timeline.last_day(text, fra), rules)
    return found[max(found)]


def claim(fra: date, til: date, ydelse_id: str = "KTH", oere: int = 100) -> Claim:
    return Claim(timeline.CPR, ydelse_id, "konto", fra, til, "p", "101", oere)


# --- the worked cases ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES])
def test_a_timeline_ends_on_the_number_and_the_percentage_of_its_case(case: dict[str, Any]) -> None:
    assert last(case["uger"], fra=case["fra"])[1] == case["n"]
    month = timeline.last_day(case["uger"], case["fra"]).isoformat()[:7]
    state = calculate(timeline.files(case["uger"], case["fra"], month), [], month, RULEBOOK).state
    assert (state[max(state)].n, state[max(state)].procent) == (case["n"], case["procent"])


# --- the restart --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("free", "n"), [(50, 2), (51, 2), (52, 1), (53, 1)])
def test_52_weeks_of_self_support_start_the_count_over_and_51_do_not(free: int, n: int) -> None:
    assert last(f"K1 S{free} K1")[1] == n
    assert last(f"K1 S{free} K1", NEXT_BENEFIT)[1] == n


@pytest.mark.parametrize(("neutral", "n"), [(104, 1), (105, 1), (106, 2), (107, 2)])
def test_the_first_of_52_weeks_must_lie_within_3_years_of_the_last(neutral: int, n: int) -> None:
    # 3 years are 156 weeks and some days: the week of self-support 156 weeks back is in, 157 weeks back is out.
    assert last(f"K1 S1 U{neutral} S51 K1")[1] == n


def test_the_counter_of_self_support_shows_51_before_the_restart_and_0_after() -> None:
    assert last("K1 S51") == ("C", 1, 51)
    assert last("K1 S52") == ("C", 0, 0)
    assert last("K1 S53") == ("C", 0, 0)
    assert last("K1 S52 K1") == ("A", 1, 0)
    assert last("K1 S52 K1 S1") == ("C", 1, 1)


def test_weeks_of_self_support_leave_the_window_after_3_years() -> None:
    assert last("K1 S10 U147")[2] == 10
    assert last("K1 S10 U148")[2] == 9
    assert last("K1 S10 U156")[2] == 1
    assert last("K1 S10 U157")[2] == 0


def test_neutral_weeks_neither_count_nor_interrupt() -> None:
    assert last("K3 U5") == ("B", 3, 0)
    assert last("K3 U5 K1") == ("A", 4, 0)
    assert last("K3 S20 U5 S31") == ("C", 3, 51)
    assert last("K3 S20 U5 S32") == ("C", 0, 0)


def test_self_support_before_the_first_benefit_is_not_kept() -> None:
    assert last("U1 S51 K1 S1") == ("C", 1, 1)
    assert last("K1 S52 U1 S20 K1 S51") == ("C", 1, 51)


def test_the_other_reading_tries_the_window_only_when_a_benefit_comes() -> None:
    assert last("K4 S60", NEXT_BENEFIT) == ("C", 4, 60)
    assert last("K4 S52 K1", NEXT_BENEFIT) == ("A", 1, 0)
    assert last("K4 S52 U104 K1", NEXT_BENEFIT)[1] == 1
    assert last("K4 S52 U105 K1", NEXT_BENEFIT)[1] == 5
    assert last("K4 S52 U105 K1")[1] == 1


@pytest.mark.parametrize("rules", [RULEBOOK, NEXT_BENEFIT], ids=["ved_opnaaelse", "ved_naeste_ydelse"])
def test_a_small_restart_of_two_weeks_in_one_year_works_the_same_way(rules: Rulebook) -> None:
    rules = replace(rules, genoptjening=(replace(rules.genoptjening[0], uger=2, vindue_aar=1),))
    assert last("K3 S1 K1", rules)[1] == 4
    assert last("K3 S2 K1", rules)[1] == 1
    assert last("K3 S1 U51 S1 K1", rules)[1] == (1 if rules.laesning("genoptjening_proeves") == "ved_opnaaelse" else 4)
    assert last("K3 S1 U52 S1 K1", rules)[1] == 4


def test_a_new_rule_of_restart_holds_from_its_monday() -> None:
    old = RULEBOOK.genoptjening[0]
    new = replace(old, gaelder_fra=START + timedelta(weeks=12), uger=10)
    rules = replace(RULEBOOK, genoptjening=(old, new))
    assert last("K1 S11 K1", rules)[1] == 2
    assert last("K1 S12 K1", rules)[1] == 1
    assert windows(rules).rows() == [(date(2014, 6, 30), 52, 3, True), (START + timedelta(weeks=12), 10, 3, True)]


def test_the_window_from_29_february_reaches_28_february() -> None:
    grid = make_grid(date(2014, 7, 1), date(2016, 3, 6))
    year = replace(RULEBOOK, genoptjening=(replace(RULEBOOK.genoptjening[0], vindue_aar=1),))
    starts, needed = window_starts(year, grid)
    assert grid.monday_of(starts[grid.week_of(date(2016, 2, 29))]) == date(2015, 3, 2)
    assert grid.monday_of(starts[grid.week_of(date(2016, 2, 22))]) == date(2015, 2, 23)
    assert set(needed) == {52}


# --- the kind of a week -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fra", [date(2015, 12, 21), date(2020, 12, 21), date(2026, 12, 21)])
def test_week_53_counts_once(fra: date) -> None:
    assert last("K3", fra=fra) == ("A", 3, 0)
    assert last("K1 S52", fra=fra) == ("C", 0, 0)


def test_one_day_makes_an_a_week_and_seven_free_days_a_c_week() -> None:
    found = weeks([claim(date(2016, 1, 10), date(2016, 1, 11))], date(2016, 1, 24))
    assert [found[START + timedelta(weeks=w)] for w in range(3)] == [("A", 1, 0), ("A", 2, 0), ("C", 2, 1)]


def test_an_a_day_and_a_b_day_make_an_a_week() -> None:
    both = [claim(START, START, "SU"), claim(START + timedelta(days=6), START + timedelta(days=6))]
    assert weeks(both, date(2016, 1, 10))[START] == ("A", 1, 0)


def test_a_benefit_without_category_and_a_claim_of_zero_say_nothing() -> None:
    for silent in (claim(START, START, "BEFORD"), claim(START, START, oere=0)):
        assert weeks([silent], date(2016, 1, 10))[START] == ("C", 0, 0)


def test_the_other_reading_asks_for_seven_days_and_leaves_the_rest_neutral() -> None:
    six, seven = claim(START, START + timedelta(days=5)), claim(START, START + timedelta(days=6))
    assert weeks([six], date(2016, 1, 10), WHOLE_WEEK)[START] == ("B", 0, 0)
    assert weeks([seven], date(2016, 1, 10), WHOLE_WEEK)[START] == ("A", 1, 0)
    sunday = claim(START + timedelta(days=6), START + timedelta(days=6), "ADP")
    assert weeks([six, sunday], date(2016, 1, 10), WHOLE_WEEK)[START] == ("A", 1, 0)
    assert weeks([claim(START, START, "SU")], date(2016, 1, 10), WHOLE_WEEK)[START] == ("B", 0, 0)


@pytest.mark.parametrize(
    ("til", "first"),
    [(date(2014, 6, 30), ("C", 0, 0)), (date(2014, 7, 1), ("A", 1, 0)), (date(2014, 7, 7), ("A", 1, 0))],
)
def test_days_count_from_1_july_2014(til: date, first: tuple[str, int, int]) -> None:
    found = weeks([claim(date(2014, 6, 1), til)], date(2014, 7, 13))
    assert found[date(2014, 6, 30)] == first
    assert found[date(2014, 7, 7)][:2] == (
        "A" if til.day == 7 and til.month == 7 else "C",
        first[1] + (til == date(2014, 7, 7)),
    )


def test_the_other_reading_begins_with_the_first_whole_week() -> None:
    found = weeks([claim(date(2014, 7, 1), date(2014, 7, 7))], date(2014, 7, 13), WHOLE_FIRST_WEEK)
    assert [found[date(2014, 6, 30)][:2], found[date(2014, 7, 7)][:2]] == [("C", 0), ("A", 1)]


@pytest.mark.parametrize(("through", "n"), [(date(2017, 1, 7), 1), (date(2017, 1, 8), 0)])
def test_the_week_cut_by_the_end_of_the_run_is_never_a_week_of_self_support(through: date, n: int) -> None:
    found = weeks(timeline.claims("K1", START), through)
    assert found[date(2017, 1, 2)][1] == n


@pytest.mark.parametrize(("through", "kind"), [(date(2016, 1, 13), "C"), (date(2016, 1, 14), "A")])
def test_the_cut_week_is_an_a_week_through_its_known_days_only(through: date, kind: str) -> None:
    found = weeks([claim(START, START), claim(date(2016, 1, 14), date(2016, 1, 20))], through)
    assert found[date(2016, 1, 11)] == (kind, 1 + (kind == "A"), 0)


# --- the number at the overgang -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"), [("K0", 1), ("K27", 1), ("K28", 29), ("K78", 79), ("K79", 80), ("K80", 80)]
)
def test_the_week_of_4_january_2016_has_or_would_have_one_more_than_the_weeks_before(text: str, number: int) -> None:
    # 79 weeks lie before it; 52 of them on self-support start the count over.
    claims = timeline.claims(text, date(2014, 6, 30)) or [claim(date(2016, 2, 1), date(2016, 2, 1))]
    found, _ = counted(claims, date(2016, 2, 7))
    assert found.n_overgang.tolist() == [number]


def test_an_open_restart_is_tried_for_the_week_that_would_have_been() -> None:
    found, _ = counted(timeline.claims("K4", date(2014, 6, 30)), date(2016, 1, 31), NEXT_BENEFIT)
    assert found.n_overgang.tolist() == [1]


# --- spells -------------------------------------------------------------------------------------------------


def test_a_spell_is_unbroken_weeks_of_one_kind_within_one_count() -> None:
    text = "S2 U1 K2 S52 S3 K1"
    found, grid = counted(timeline.claims(text, START), timeline.last_day(text, START))
    frame = validate("duration.forloeb", spells(found, grid)).drop("borger_id")
    monday = [START + timedelta(weeks=w) for w in (2, 3, 5, 57, 60)]
    assert frame.rows() == [
        (monday[0], 1, "B", 1, 0, False, False),
        (monday[1], 2, "A", 1, 0, False, False),
        (monday[2], 52, "C", 1, 2, True, True),
        (monday[3], 3, "C", 2, 0, False, False),
        (monday[4], 1, "A", 2, 0, False, False),
    ]


@pytest.mark.parametrize("rules", [RULEBOOK, NEXT_BENEFIT], ids=["ved_opnaaelse", "ved_naeste_ydelse"])
@pytest.mark.parametrize("text", ["K1", "U3 K2 U1 S60 K5 S10 D3", "S9 K2 S52 S52 K1 S51 U2 S1 K1"])
def test_the_spells_tell_every_week_and_number_of_a_person_again(text: str, rules: Rulebook) -> None:
    claims = [*timeline.claims(text, START, cpr="7001662194"), *timeline.claims("K9 S5 K1", START)]
    found, grid = counted(claims, timeline.last_day(text, START) + timedelta(days=3), rules)
    n = np.zeros_like(found.n)
    for row in spells(found, grid).iter_rows(named=True):
        person = found.borger_id.tolist().index(row["borger_id"])
        for step in range(row["antal_uger"]):
            rises = row["art"] == "A" and step + 1
            done = row["genoptjent"] and step + 1 == row["antal_uger"]
            n[grid.week_of(row["fra_uge"]) + step, person] = 0 if done else row["n_foer"] + rises
    supported = found.kind != KIND_C
    until_the_last = np.logical_or.accumulate(supported[::-1])[::-1]
    assert (n == np.where(until_the_last, found.n, 0)).all()
