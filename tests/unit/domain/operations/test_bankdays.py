"""Bank days: the hours of the critical week in Danish time, and the days that banks are closed."""

from datetime import date, datetime, timedelta

import pytest

from refusion_assets.domain.operations.bankdays import CALENDAR, DANISH, bank_day, bank_days_left, window
from refusion_assets.domain.rules.entries import KritiskUge
from tests.kit.data_root import RULEBOOK

# Source: Finans Danmark, list of days on which banks are closed.
CLOSED = [
    *(date(2026, 1, 1), date(2026, 4, 2), date(2026, 4, 3), date(2026, 4, 6), date(2026, 5, 14), date(2026, 5, 15)),
    *(date(2026, 5, 25), date(2026, 6, 5), date(2026, 12, 24), date(2026, 12, 25), date(2026, 12, 31)),
]


def entry() -> KritiskUge:
    """The entry of the repository's own rules."""
    found = RULEBOOK.kritisk_uge_on(date(2026, 11, 1))
    assert found
    return found


def test_banks_are_closed_on_weekends_and_on_the_days_that_their_association_lists() -> None:
    weekdays = [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]
    assert [day for day in weekdays if day.weekday() < 5 and CALENDAR.is_holiday(day)] == CLOSED


@pytest.mark.parametrize(
    ("month", "number", "day"),
    [
        (date(2026, 12, 1), 1, date(2026, 12, 1)),
        (date(2027, 1, 1), 1, date(2027, 1, 4)),  # New Year on a Friday
        (date(2026, 4, 1), 2, date(2026, 4, 7)),  # Easter
        (date(2026, 5, 1), 1, date(2026, 5, 1)),  # the first of May is a bank day
        (date(2024, 4, 1), 1, date(2024, 4, 2)),
        (date(2023, 5, 1), 5, date(2023, 5, 8)),  # Store Bededag for the last time
    ],
)
def test_a_bank_day_is_counted_from_the_first_of_its_month(month: date, number: int, day: date) -> None:
    assert bank_day(month, number) == day


def test_the_window_of_a_month_lies_in_the_month_after_in_danish_time_summer_and_winter() -> None:
    winter, summer = window(entry(), date(2026, 11, 1)), window(entry(), date(2026, 5, 1))
    assert winter.opens == datetime(2026, 12, 1, 6, tzinfo=DANISH)
    assert winter.opens.utcoffset() == timedelta(hours=1)
    assert winter.late < winter.deadline < winter.overdue
    assert (summer.opens.date(), summer.opens.utcoffset()) == (date(2026, 6, 1), timedelta(hours=2))
    assert summer.deadline == datetime(2026, 6, 3, 12, tzinfo=DANISH)
    assert summer.overdue.date() == date(2026, 6, 4)  # the fifth is Grundlovsdag, and is not asked


@pytest.mark.parametrize(
    ("now", "left"),
    [
        (datetime(2026, 12, 3, 23, tzinfo=DANISH), 0),
        (datetime(2026, 12, 1, 6, tzinfo=DANISH), 2),
        (datetime(2026, 11, 27, 12, tzinfo=DANISH), 4),  # a weekend lies between
        (datetime(2026, 12, 4, 1, tzinfo=DANISH), -1),
    ],
)
def test_the_days_left_are_bank_days(now: datetime, left: int) -> None:
    assert bank_days_left(now, window(entry(), date(2026, 11, 1)).deadline) == left
