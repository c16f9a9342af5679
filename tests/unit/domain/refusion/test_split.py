"""A claim cut in parts: whole øre by cumulative rounding, and every øre that carries no money told apart."""

from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest

from refusion_assets.domain.calendar import as_date
from refusion_assets.domain.refusion.split import Parts, split
from refusion_assets.domain.rules.entries import Rulebook
from tests.kit.data_root import RULEBOOK, rates_of, with_reading

WEEKDAYS = with_reading(RULEBOOK, "fordeling", "hverdage")
A_RUN = date(2024, 12, 31)


def parts_of(
    ydelse_id: str, fra: date, til: date, oere: int, through: date = A_RUN, rules: Rulebook = RULEBOOK
) -> tuple[list[tuple[date, date, int]], Parts]:
    """Week, month and øre of every part of one claim; and the parts themselves."""
    grid, rates = rates_of(rules, through)
    krav = pl.DataFrame(
        {
            "ydelse_nr": [rules.ydelse_ids.index(ydelse_id)],
            "periode_start": [fra],
            "periode_slut": [til],
            "beloeb_oere": [oere],
            "fra_uge": [grid.monday_of(0)],
        }
    )
    parts = split(krav, grid, rates, rules)
    cells = [
        (grid.monday_of(int(grid.cell_week[cell])), as_date(int(grid.cell_month[cell])), int(oere))
        for cell, oere in zip(parts.cell, parts.oere, strict=True)
    ]
    return cells, parts


def oere_of(*arguments: object, **options: object) -> list[int]:
    """The øre of the parts alone."""
    return [oere for _, _, oere in parts_of(*arguments, **options)[0]]  # type: ignore[arg-type]


def left_out(parts: Parts) -> tuple[int, int, int]:
    """Øre before the benefit is settled, after the run, and of a benefit that is not settled."""
    return parts.foer_finansiering.item(), parts.ikke_forfalden.item(), parts.uden_afregning.item()


def test_the_largest_amount_over_the_longest_period_keeps_every_oere() -> None:
    found = oere_of("KTH", date(2023, 1, 1), date(2024, 1, 1), 999_999_999_999)
    assert sum(found) == 999_999_999_999
    assert (len(found), found[0]) == (64, 2_732_240_437)


def test_a_claim_has_one_part_for_each_week_and_month_it_touches() -> None:
    found, _ = parts_of("KTH", date(2024, 1, 28), date(2024, 2, 5), 900)
    assert found == [
        (date(2024, 1, 22), date(2024, 1, 1), 100),
        (date(2024, 1, 29), date(2024, 1, 1), 300),
        (date(2024, 1, 29), date(2024, 2, 1), 400),
        (date(2024, 2, 5), date(2024, 2, 1), 100),
    ]


def test_an_oere_lies_where_the_running_sum_reaches_its_half() -> None:
    assert oere_of("KTH", date(2024, 1, 1), date(2024, 1, 14), 1) == [1, 0]
    assert oere_of("KTH", date(2024, 1, 2), date(2024, 1, 14), 1) == [0, 1]
    assert oere_of("KTH", date(2024, 1, 1), date(2024, 1, 21), 100) == [33, 34, 33]


def test_the_parts_of_february_follow_the_leap_year() -> None:
    assert oere_of("KTH", date(2024, 2, 1), date(2024, 2, 29), 2900) == [400, 700, 700, 700, 400]
    assert oere_of("KTH", date(2023, 2, 1), date(2023, 2, 28), 2800) == [500, 700, 700, 700, 200]


def test_week_53_is_cut_at_new_year() -> None:
    found, _ = parts_of("KTH", date(2020, 12, 28), date(2021, 1, 3), 700)
    week = date(2020, 12, 28)
    assert found == [(week, date(2020, 12, 1), 400), (week, date(2021, 1, 1), 300)]


# --- where the money begins ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ydelse_id", "first_day", "parts", "before"),
    [
        # 21 December 2015 to 10 January 2016, 100 øre a day: sickness from 28 December, most from 1 January,
        # dagpenge from 4 January.
        ("SYG_BORGER", "2015-12-28", [400, 300, 700], 700),
        ("KTH", "2016-01-01", [300, 700], 1100),
        ("FOEP", "2016-01-01", [300, 700], 1100),
        ("ADP", "2016-01-04", [700], 1400),
    ],
)
def test_money_begins_on_the_day_of_paragraph_29(ydelse_id: str, first_day: str, parts: list[int], before: int) -> None:
    found, made = parts_of(ydelse_id, date(2015, 12, 21), date(2016, 1, 10), 2100)
    assert [oere for _, _, oere in found] == parts
    assert left_out(made) == (before, 0, 0)
    day = date.fromisoformat(first_day)
    assert oere_of(ydelse_id, day, day, 5) == [5]
    eve = day - timedelta(days=1)
    assert left_out(parts_of(ydelse_id, eve, eve, 5)[1]) == (5, 0, 0)


def test_the_days_before_the_money_take_part_in_the_rounding() -> None:
    # 6 days: the running sums are 17, 33, 50, 67, 83, 100; the first two days carry no money.
    assert oere_of("KTH", date(2015, 12, 30), date(2016, 1, 4), 100) == [50, 17]


def test_a_part_is_cut_where_the_money_begins_in_the_middle_of_a_week() -> None:
    late = replace(next(y for y in RULEBOOK.ydelser if y.ydelse_id == "KTH"), finansieres_fra=date(2016, 1, 7))
    rules = replace(RULEBOOK, ydelser=tuple(late if y.ydelse_id == "KTH" else y for y in RULEBOOK.ydelser))
    found, made = parts_of("KTH", date(2016, 1, 4), date(2016, 1, 10), 100, rules=rules)
    assert found == [(date(2016, 1, 4), date(2016, 1, 1), 57)]
    assert left_out(made) == (43, 0, 0)


@pytest.mark.parametrize("ydelse_id", ["SU", "UDD_SAERLIG", "EFTL"])
def test_a_benefit_of_no_side_carries_no_money(ydelse_id: str) -> None:
    found, made = parts_of(ydelse_id, date(2024, 1, 1), date(2024, 1, 14), 1000)
    assert (found, left_out(made)) == ([], (0, 0, 1000))


# --- where the run ends -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("through", "parts", "later"),
    [(date(2024, 1, 31), [300], 400), (date(2024, 2, 29), [300, 400], 0), (date(2023, 12, 31), [], 700)],
)
def test_days_after_the_run_are_left_for_later_and_do_not_change_the_cut(
    through: date, parts: list[int], later: int
) -> None:
    found, made = parts_of("KTH", date(2024, 1, 29), date(2024, 2, 4), 700, through)
    assert ([oere for _, _, oere in found], left_out(made)) == (parts, (0, later, 0))


def test_a_claim_from_before_the_count_is_placed_on_its_whole_period() -> None:
    found, made = parts_of("KTH", date(2014, 6, 1), date(2014, 7, 10), 4000)
    assert (found, left_out(made)) == ([], (4000, 0, 0))


# --- the reading of days ------------------------------------------------------------------------------------


def test_the_other_reading_spreads_over_monday_to_friday() -> None:
    thursday_to_tuesday = ("KTH", date(2024, 1, 4), date(2024, 1, 9), 400)
    assert oere_of(*thursday_to_tuesday) == [267, 133]
    assert oere_of(*thursday_to_tuesday, rules=WEEKDAYS) == [200, 200]
    assert oere_of("KTH", date(2024, 1, 5), date(2024, 1, 7), 300, rules=WEEKDAYS) == [300]


def test_a_weekend_without_weekdays_is_spread_over_its_days_by_both_readings() -> None:
    weekend = ("KTH", date(2022, 12, 31), date(2023, 1, 1), 5)
    assert oere_of(*weekend) == oere_of(*weekend, rules=WEEKDAYS) == [3, 2]


def test_a_part_of_weekend_days_only_gets_nothing_by_the_other_reading() -> None:
    friday_to_monday = ("KTH", date(2024, 3, 29), date(2024, 4, 1), 400)
    assert oere_of(*friday_to_monday) == [300, 100]
    assert oere_of(*friday_to_monday, rules=WEEKDAYS) == [200, 200]
    assert oere_of("KTH", date(2024, 8, 30), date(2024, 9, 1), 400, rules=WEEKDAYS) == [400, 0]
