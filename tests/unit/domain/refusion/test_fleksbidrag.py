"""Særligt fleksbidrag: the formula, its rounding, and which days lie on the step. Numbers are worked out by hand."""

from dataclasses import replace
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.domain.refusion.fleksbidrag import FACTS, contributions, paragraf_7
from refusion_assets.domain.rules.entries import Rulebook
from tests.kit import timeline
from tests.kit.data_root import RULEBOOK, Row, with_reading
from tests.kit.fleks import basis, flex, kernel, kth, lives, plain
from tests.kit.timeline import examples

[ENTRY] = RULEBOOK.fleksbidrag
OF_THE_CLAIMS = with_reading(RULEBOOK, "fleksbidrag_andel", "kravets_dage")
BY_WEEKDAYS = with_reading(RULEBOOK, "fordeling", "hverdage")
MONTHS = ("2023-01", "2023-02", "2023-03")


def formula(grundlag: int, loen: int, refusion: int, on_step: int = 1, days: int = 1) -> int:
    facts = pl.DataFrame([(grundlag, loen, refusion, on_step, days)], schema=FACTS, orient="row")
    return int(paragraf_7(facts, ENTRY)[0])


def sent(rows: list[Row], month: str) -> list[Fil]:
    return [timeline.fil("K", rows, month)]


def both(rows: list[Row], bases: list[Row], month: str, rules: Rulebook = RULEBOOK) -> dict[tuple[date, str, str], int]:
    """Øre by week, month and municipality; both calculations must say the same."""
    files = sent(rows, month)
    found = kernel(files, bases, month, rules)
    assert found == plain(files, bases, month, rules)
    return {(key[0], key[1], key[4]): row.refusion for key, row in found.items()}


@pytest.mark.parametrize(
    ("loen", "bidrag"), [(0, 421_200), (1_000_000, 221_200), (2_105_500, 100), (2_106_000, 0), (3_000_000, 0)]
)
def test_in_2015_the_contribution_was_at_most_4212_and_falls_by_a_fifth_of_the_wage(loen: int, bidrag: int) -> None:
    assert formula(1_755_000, loen, 351_000) == bidrag


def test_the_basis_beyond_the_refusion_is_the_ceiling_when_the_refusion_is_large() -> None:
    # 30 % of (5.000 - 1.000) = 1.200 = 24 % of 5.000; one krone more refusion, and the first is the least.
    assert formula(500_000, 0, 100_000) == 120_000
    assert formula(500_000, 0, 126_000) == 112_200


@pytest.mark.parametrize(
    ("loen", "on_step", "days", "bidrag"),
    [
        (250, 1, 1, 421_200),  # 4.211,50
        (255, 1, 1, 421_100),  # 4.211,49
        (1_000, 7, 28, 105_300),  # 4.210,00 / 4 = 1.052,50
        (1_005, 7, 28, 105_200),  # 4.209,99 / 4 = 1.052,4975
    ],
)
def test_half_a_krone_is_rounded_up_and_less_is_not(loen: int, on_step: int, days: int, bidrag: int) -> None:
    assert formula(1_755_000, loen, 351_000, on_step, days) == bidrag


def test_a_month_split_over_two_steps_gives_the_share_of_its_days_on_the_last() -> None:
    # Week 51 and 52 end on 8 January; 23 of 31 days. (4.212 - 20 % of 5.000) * 23/31 = 2.383,10
    rows = [*kth(50, date(2023, 1, 1)), flex(date(2023, 1, 1), date(2023, 1, 31), 1, "9000,00")]
    bases = [basis("2023-01", "17550,00", "5000,00")]
    assert both(rows, bases, "2023-01") == {(date(2023, 1, 30), "2023-01", "169"): 238_300}


def test_days_that_two_payers_pay_are_seen_once() -> None:
    rows = [
        *kth(50, date(2023, 1, 1)),
        flex(date(2023, 1, 1), date(2023, 1, 31), 1, "9000,00"),
        flex(date(2023, 1, 20), date(2023, 1, 31), 2, "1200,00", Pligt_SE="29169001"),
    ]
    bases = [basis("2023-01", "17550,00", "5000,00")]
    assert both(rows, bases, "2023-01") == {(date(2023, 1, 30), "2023-01", "169"): 238_300}


@pytest.mark.parametrize(
    ("first", "last", "bidrag"),
    [
        (date(2024, 2, 1), date(2024, 2, 29), 363_100),  # 25 of 29 days: 3.631,03
        (date(2023, 2, 1), date(2023, 2, 28), 346_000),  # 23 of 28 days: 3.459,86
    ],
)
def test_february_has_its_own_number_of_days(first: date, last: date, bidrag: int) -> None:
    month = f"{first:%Y-%m}"
    rows = [*kth(51, first), flex(first, last, 1, f"{last.day * 100},00")]
    week = date(2024, 2, 26) if first.year == 2024 else date(2023, 2, 27)
    assert both(rows, [basis(month, "17550,00")], month) == {(week, month, "169"): bidrag}


def test_the_day_before_the_last_step_gives_nothing_and_the_first_day_on_it_does() -> None:
    # Week 53 begins on Monday 9 January.
    before = [*kth(50, date(2023, 1, 1)), flex(date(2023, 1, 1), date(2023, 1, 8), 1, "800,00")]
    assert both(before, [basis("2023-01", "17550,00")], "2023-01") == {}
    after = [*kth(50, date(2023, 1, 1)), flex(date(2023, 1, 1), date(2023, 1, 9), 1, "900,00")]
    # One of 31 days: 4.212 / 31 = 135,87; by the other reading one of nine: 4.212 / 9 = 468.
    bases = [basis("2023-01", "17550,00")]
    assert both(after, bases, "2023-01") == {(date(2023, 1, 9), "2023-01", "169"): 13_600}
    assert both(after, bases, "2023-01", OF_THE_CLAIMS) == {(date(2023, 1, 9), "2023-01", "169"): 46_800}


def test_two_municipalities_in_a_month_have_each_their_days_refusion_and_contribution() -> None:
    a = flex(date(2023, 3, 1), date(2023, 3, 10), 1, "3000,00")
    b = flex(date(2023, 3, 11), date(2023, 3, 31), 2, "6300,00", Kommunekode="101", Pligt_SE="29101000")
    files = [timeline.fil("K", [*kth(60, date(2023, 3, 1)), a], "2023-03")]
    files += [replace(timeline.fil("K", [b], "2023-03", 2), enhed="101")]
    bases = [basis("2023-03", "5000,00")]
    found = kernel(files, bases, "2023-03", RULEBOOK)
    assert found == plain(files, bases, "2023-03", RULEBOOK)
    # 10/31 of 24 % of 5.000: 387,10; and 21/31 of 30 % of (5.000 - 20 % of 6.300): 760,06.
    assert {(str(key[0]), key[4]): row.refusion for key, row in found.items()} == {
        ("2023-03-06", "169"): 38_700,
        ("2023-03-27", "101"): 76_000,
    }
    # By the other reading each gets the whole of what is a month's.
    found = kernel(files, bases, "2023-03", OF_THE_CLAIMS)
    assert found == plain(files, bases, "2023-03", OF_THE_CLAIMS)
    assert sorted(row.refusion for row in found.values()) == [112_200, 120_000]


@pytest.mark.parametrize(("rules", "bidrag"), [(RULEBOOK, 95_100), (OF_THE_CLAIMS, 421_200)])
def test_a_week_of_fleksjob_does_not_give_the_contribution_of_a_month(rules: Rulebook, bidrag: int) -> None:
    # 7 of 31 days: 4.212 * 7/31 = 951,10.
    rows = [*kth(60, date(2023, 1, 1)), flex(date(2023, 1, 9), date(2023, 1, 15), 1, "2100,00")]
    bases = [basis("2023-01", "17550,00")]
    assert both(rows, bases, "2023-01", rules) == {(date(2023, 1, 9), "2023-01", "169"): bidrag}


@pytest.mark.parametrize(
    ("rules", "kroner", "juli"),
    [
        (RULEBOOK, "700,00", 27_200),  # 200 kr. lie in July: 4.212 * 2/31 = 271,74
        (BY_WEEKDAYS, "700,00", None),  # 1 July 2023 is a Saturday: all 700 kr. lie in June
        (RULEBOOK, "0,01", None),  # the øre lies in June
        (with_reading(OF_THE_CLAIMS, "fordeling", "hverdage"), "700,00", None),
    ],
)
def test_a_month_in_which_no_oere_is_settled_gives_none_by_any_reading(
    rules: Rulebook, kroner: str, juli: int | None
) -> None:
    rows = [*kth(60, date(2023, 6, 26)), flex(date(2023, 6, 26), date(2023, 7, 2), 1, kroner)]
    bases = [basis("2023-06", "17550,00"), basis("2023-07", "17550,00")]
    found = both(rows, bases, "2023-07", rules)
    assert (date(2023, 6, 26), "2023-06", "169") in found
    assert found.get((date(2023, 6, 26), "2023-07", "169")) == juli


def test_a_month_in_which_no_oere_is_settled_has_no_row_and_so_no_advice() -> None:
    # A row without basis is FB-001.
    days = pl.DataFrame(
        [(1, date(2023, month, 1), "169", date(2023, 6, 26), 2, 30) for month in (6, 7)],
        schema=["borger_id", "maaned", "kommunekode", "uge", "dage_paa_trin", "dage"], orient="row",
    )  # fmt: skip
    settled = [(1, date(2023, 6, 1), "169", "FLEKS", 1, 0), (1, date(2023, 7, 1), "169", "FLEKS", 0, 0)]
    rows = pl.DataFrame(
        settled, schema=["borger_id", "maaned", "kommunekode", "ydelse_id", "beloeb_oere", "refusion_oere"],
        orient="row",
    )  # fmt: skip
    none = pl.DataFrame(
        schema={"borger_id": pl.Int64, "maaned": pl.Date, "beregningsgrundlag_oere": pl.Int64, "loen_oere": pl.Int64}
    )
    found = contributions(days, rows, none, RULEBOOK)
    assert found.select("maaned", "refusion_oere").rows() == [(date(2023, 6, 1), 0)]


def test_a_week_cut_by_the_end_of_a_month_can_carry_the_contribution_of_both_months() -> None:
    rows = [
        *kth(60, date(2023, 1, 1)),
        flex(date(2023, 1, 1), date(2023, 1, 31), 1, "3100,00"),
        flex(date(2023, 2, 1), date(2023, 2, 3), 2, "300,00"),
    ]
    bases = [basis("2023-01", "17550,00"), basis("2023-02", "17550,00", "1000,00")]
    assert both(rows, bases, "2023-02") == {
        (date(2023, 1, 30), "2023-01", "169"): 421_200,
        (date(2023, 1, 30), "2023-02", "169"): 43_000,  # 4.012 * 3/28 = 429,86
    }


def test_the_first_days_of_2016_are_on_the_step_of_the_first_week_of_the_staircases() -> None:
    # Week 52 is that of 28 December 2015, but its money is settled as week 53: 31 of 31 days.
    rows = [*kth(51, date(2016, 1, 1)), flex(date(2016, 1, 1), date(2016, 1, 31), 1, "3100,00")]
    found = both(rows, [basis("2016-01", "17550,00")], "2016-01")
    assert found == {(date(2016, 1, 25), "2016-01", "169"): 421_200}


def test_days_before_2016_are_not_settled_and_give_no_contribution() -> None:
    rows = [*kth(60, date(2015, 12, 1)), flex(date(2015, 12, 1), date(2016, 1, 3), 1, "3400,00")]
    bases = [basis(month, "17550,00") for month in ("2015-12", "2016-01")]
    # 3 of 31 days: 4.212 * 3/31 = 407,61.
    assert both(rows, bases, "2016-01") == {(date(2015, 12, 28), "2016-01", "169"): 40_800}


def test_days_after_the_run_month_wait_and_days_are_those_of_the_month_alone() -> None:
    rows = [*kth(60, date(2023, 1, 1)), flex(date(2023, 1, 20), date(2023, 2, 28), 1, "4000,00")]
    bases = [basis("2023-01", "17550,00"), basis("2023-02", "17550,00")]
    assert set(both(rows, bases, "2023-01")) == {(date(2023, 1, 30), "2023-01", "169")}


def test_without_a_basis_or_without_money_there_is_no_contribution() -> None:
    whole = flex(date(2023, 1, 1), date(2023, 1, 31), 1, "3100,00")
    assert both([*kth(60, date(2023, 1, 1)), whole], [basis("2023-02", "17550,00")], "2023-01") == {}
    nothing = [flex(date(2023, 1, 1), date(2023, 1, 31), 2, "-3100,00"), whole]
    assert both([*kth(60, date(2023, 1, 1)), *nothing], [basis("2023-01", "17550,00")], "2023-01") == {}


def test_the_last_row_of_a_basis_wins() -> None:
    rows = [*kth(60, date(2023, 1, 1)), flex(date(2023, 1, 1), date(2023, 1, 31), 1, "3100,00")]
    bases = [basis("2023-01", "1,00"), basis("2023-01", "17550,00", "x"), basis("2023-01", "17550,00", "10000,00")]
    assert both(rows, [*bases, basis("2023-01", "x")], "2023-01") == {(date(2023, 1, 30), "2023-01", "169"): 221_200}


@pytest.mark.parametrize(
    ("changes", "bidrag"),
    [
        ({"trin_procent": 30}, 0),
        ({"loen_procent": 10}, 321_200),
        ({"beregningsgrundlag_procent": 20, "loen_procent": 0}, 351_000),
        ({"afrunding_oere": 1_000}, 221_000),
        ({"ydelse_id": "KTH"}, 0),
        ({"gaelder_fra": date(2023, 2, 1)}, 0),
        ({"gaelder_fra": date(2023, 1, 1)}, 221_200),
    ],
)
def test_every_number_of_the_formula_is_that_of_the_rules_in_both_calculations(
    changes: dict[str, object], bidrag: int
) -> None:
    rules = replace(RULEBOOK, fleksbidrag=(replace(ENTRY, **changes),))
    files = sent([*kth(60, date(2023, 1, 1)), flex(date(2023, 1, 1), date(2023, 1, 31), 1, "3100,00")], "2023-01")
    bases = [basis("2023-01", "17550,00", "10000,00")]
    found = kernel(files, bases, "2023-01", rules)
    assert (found, [row.refusion for row in found.values()]) == (
        plain(files, bases, "2023-01", rules),
        [bidrag] if bidrag else [],
    )


def test_rules_without_fleksbidrag_give_none() -> None:
    rules = replace(RULEBOOK, fleksbidrag=())
    files = sent([*kth(60, date(2023, 1, 1)), flex(date(2023, 1, 1), date(2023, 1, 31), 1, "3100,00")], "2023-01")
    assert kernel(files, [basis("2023-01", "17550,00")], "2023-01", rules) == {}


@examples(6)
@given(life=lives(RULEBOOK, MONTHS), rules=st.sampled_from((RULEBOOK, OF_THE_CLAIMS, BY_WEEKDAYS)))
def test_both_calculations_agree_on_any_life_in_fleksjob(
    life: list[tuple[list[Fil], list[Row]]], rules: Rulebook
) -> None:
    for run, month in enumerate(MONTHS, 1):
        files = [fil for filer, _ in life[:run] for fil in filer]
        bases = [row for _, rows in life[:run] for row in rows]
        assert kernel(files, bases, month, rules) == plain(files, bases, month, rules)
