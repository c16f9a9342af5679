"""The calendar: weeks named by their Monday, months, and the cells a week is cut in."""

from datetime import date, timedelta

import numpy as np
import pytest

from refusion_assets.domain.calendar import (
    as_date,
    day_number,
    expand,
    last_day,
    make_grid,
    monday,
    month_of,
    month_range,
    next_month,
    round_half_away,
    years_before,
)

COUNTED_FROM = date(2014, 7, 1)


@pytest.mark.parametrize(
    ("day", "named_by"),
    [
        (date(2016, 1, 3), date(2015, 12, 28)),
        (date(2016, 1, 4), date(2016, 1, 4)),
        (date(2014, 7, 1), date(2014, 6, 30)),
        (date(2024, 2, 29), date(2024, 2, 26)),
        (date(2020, 12, 31), date(2020, 12, 28)),
        (date(2021, 1, 3), date(2020, 12, 28)),
        (date(2021, 1, 4), date(2021, 1, 4)),
    ],
)
def test_a_week_is_named_by_its_monday_also_over_new_year(day: date, named_by: date) -> None:
    assert monday(day) == named_by


@pytest.mark.parametrize(
    ("day", "years", "earlier"),
    [
        (date(2024, 2, 28), 3, date(2021, 2, 28)),
        (date(2024, 2, 29), 3, date(2021, 2, 28)),
        (date(2024, 2, 29), 4, date(2020, 2, 29)),
        (date(2024, 3, 1), 3, date(2021, 3, 1)),
        (date(2016, 1, 4), 0, date(2016, 1, 4)),
    ],
)
def test_the_same_date_years_earlier_is_28_february_where_there_is_no_29th(
    day: date, years: int, earlier: date
) -> None:
    assert years_before(day, years) == earlier


@pytest.mark.parametrize(
    ("month", "months", "later"),
    [
        (date(2015, 12, 1), 1, date(2016, 1, 1)),
        (date(2016, 1, 1), -1, date(2015, 12, 1)),
        (date(2016, 1, 1), 12, date(2017, 1, 1)),
        (date(2016, 12, 1), 0, date(2016, 12, 1)),
    ],
)
def test_months_are_counted_over_new_year_both_ways(month: date, months: int, later: date) -> None:
    assert next_month(month, months) == later


@pytest.mark.parametrize(
    ("month", "day"),
    [(date(2023, 2, 1), 28), (date(2024, 2, 1), 29), (date(2024, 4, 1), 30), (date(2024, 12, 1), 31)],
)
def test_the_last_day_of_a_month_knows_leap_years(month: date, day: int) -> None:
    assert last_day(month) == month.replace(day=day)


def test_a_month_is_written_with_year_and_month_and_nothing_else_is_one() -> None:
    assert month_of("2016-01") == date(2016, 1, 1)
    for text in ("2016-13", "2016-00", "2016", "16-01", "2016-01-01", ""):
        with pytest.raises(ValueError, match=r"."):
            month_of(text)


def test_a_range_of_months_holds_both_ends_and_an_empty_one_none() -> None:
    assert month_range(date(2015, 12, 1), date(2016, 1, 1)) == [date(2015, 12, 1), date(2016, 1, 1)]
    assert month_range(date(2016, 2, 1), date(2016, 1, 1)) == []


def test_a_date_and_its_day_number_are_the_same_thing() -> None:
    assert [day_number(date(1970, 1, 1)), day_number(date(2016, 1, 4))] == [0, 16_804]
    assert as_date(16_804) == date(2016, 1, 4)


def test_the_grid_begins_on_the_monday_before_the_first_counted_day() -> None:
    grid = make_grid(COUNTED_FROM, date(2014, 7, 31))
    assert (grid.monday_of(0), grid.first_day, grid.days) == (date(2014, 6, 30), 1, 32)
    assert grid.week_of(date(2014, 7, 6)) == 0
    assert grid.week_of(date(2014, 7, 7)) == 1


@pytest.mark.parametrize(
    ("through", "weeks", "whole_weeks"),
    [(date(2014, 8, 2), 5, 4), (date(2014, 8, 3), 5, 5), (date(2014, 8, 4), 6, 5)],
)
def test_the_last_week_is_whole_only_when_its_sunday_is_known(through: date, weeks: int, whole_weeks: int) -> None:
    grid = make_grid(COUNTED_FROM, through)
    assert (grid.weeks, grid.whole_weeks) == (weeks, whole_weeks)


def cells(first: date, last: date) -> list[tuple[date, date, date, date]]:
    """Monday, month, first and last day of every cell that touches first..last."""
    grid = make_grid(COUNTED_FROM, date(2026, 12, 31))
    numbers = sorted({int(grid.cell_of_day[day_number(d) - grid.origin]) for d in (first, last)})
    return [
        (
            grid.monday_of(int(grid.cell_week[cell])),
            as_date(int(grid.cell_month[cell])),
            as_date(grid.origin + int(grid.cell_first[cell])),
            as_date(grid.origin + int(grid.cell_last[cell])),
        )
        for cell in range(numbers[0], numbers[-1] + 1)
    ]


def test_a_week_over_a_month_end_is_two_cells_and_any_other_is_one() -> None:
    week = date(2024, 1, 29)
    assert cells(week, week + timedelta(days=6)) == [
        (week, date(2024, 1, 1), date(2024, 1, 29), date(2024, 1, 31)),
        (week, date(2024, 2, 1), date(2024, 2, 1), date(2024, 2, 4)),
    ]
    whole = date(2024, 2, 5)
    assert cells(whole, whole + timedelta(days=6)) == [(whole, date(2024, 2, 1), whole, date(2024, 2, 11))]


def test_a_week_that_ends_with_its_month_is_one_cell() -> None:
    week = date(2021, 2, 22)
    assert cells(week, week + timedelta(days=6)) == [(week, date(2021, 2, 1), week, date(2021, 2, 28))]


@pytest.mark.parametrize(
    ("year", "week_53"), [(2015, date(2015, 12, 28)), (2020, date(2020, 12, 28)), (2026, date(2026, 12, 28))]
)
def test_week_53_is_a_week_like_any_other_cut_at_new_year(year: int, week_53: date) -> None:
    assert week_53.isocalendar()[:2] == (year, 53)
    halves = cells(week_53, min(week_53 + timedelta(days=6), date(2026, 12, 31)))
    assert halves[0] == (week_53, date(year, 12, 1), week_53, date(year, 12, 31))
    grid = make_grid(COUNTED_FROM, date(2026, 12, 31))
    assert grid.week_of(week_53) - grid.week_of(week_53 - timedelta(days=1)) == 1
    assert grid.monday_of(grid.week_of(week_53)) == week_53


def test_the_cells_cover_every_day_once_and_never_cross_a_week_or_a_month() -> None:
    grid = make_grid(COUNTED_FROM, date(2016, 2, 29))
    assert grid.cell_first[0] == 0
    assert grid.cell_last[-1] == grid.days - 1
    assert (grid.cell_first[1:] == grid.cell_last[:-1] + 1).all()
    assert (grid.cell_first // 7 == grid.cell_last // 7).all()
    first_month = [as_date(grid.origin + int(day)).month for day in grid.cell_first]
    assert first_month == [as_date(grid.origin + int(day)).month for day in grid.cell_last]


def test_ranges_are_laid_out_number_by_number_and_an_empty_one_has_none() -> None:
    place, number = expand(np.array([3, 7, 5]), np.array([4, 6, 5]))
    assert (place.tolist(), number.tolist()) == ([0, 0, 2], [3, 4, 5])
    nothing = np.array([], np.int64)
    assert [part.tolist() for part in expand(nothing, nothing)] == [[], []]


@pytest.mark.parametrize(
    ("numerator", "denominator", "rounded"),
    [(1, 2, 1), (-1, 2, -1), (3, 2, 2), (-3, 2, -2), (49, 100, 0), (-49, 100, 0), (50, 100, 1), (7, 7, 1), (0, 5, 0)],
)
def test_halves_are_rounded_away_from_zero(numerator: int, denominator: int, rounded: int) -> None:
    assert round_half_away(np.array([numerator]), denominator).tolist() == [rounded]
