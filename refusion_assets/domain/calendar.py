"""Understands the calendar: weeks named by their Monday, the parts a month cuts them in, and the one rounding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
T = TypeVar("T")
EPOCH = date(1970, 1, 1)


def round_half_away(numerator: Ints, denominator: Ints | int) -> Ints:
    """Numerator / denominator in whole øre, half away from zero: the one rounding of money.

    Hjemmel: rules.md section 5 (a reading; the order's rule on rounding was not found).
    """
    magnitude: Ints = (2 * np.abs(numerator) + denominator) // (2 * np.asarray(denominator))
    return np.sign(numerator) * magnitude


def day_number(day: date) -> int:
    """Days since 1970-01-01, the physical form of a date in Polars and DuckDB."""
    return (day - EPOCH).days


def as_date(number: int) -> date:
    """The date of a day number."""
    return EPOCH + timedelta(days=int(number))


def monday(day: date) -> date:
    """The Monday that names the week of a day."""
    return day - timedelta(days=day.weekday())


def month_of(text: str) -> date:
    """The first day of the month written `YYYY-MM`; ValueError if it is not one, or the calendar ends with it."""
    month = date.fromisoformat(f"{text}-01")
    next_month(month)
    return month


def next_month(month: date, months: int = 1) -> date:
    """The first day of the month so many months later."""
    index = month.year * 12 + month.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def last_day(month: date) -> date:
    """The last day of a month."""
    return next_month(month) - timedelta(days=1)


def years_before(day: date, years: int) -> date:
    """The same date so many years earlier; 29 February becomes 28 February. Hjemmel: § 6, stk. 1."""
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return day.replace(year=day.year - years, day=28)


@dataclass(frozen=True)
class Grid:
    """The weeks from the first counted one to the last day of the run month, and their cells.

    A cell is a week x calendar month; it knows its first and last day, its week and month. Days are counted from the
    first Monday (`origin`, a day number). `cell_of_day[d]` is the cell of day d.
    """

    origin: int
    first_day: int
    days: int
    weeks: int
    whole_weeks: int
    cell_of_day: Ints
    cell_first: Ints
    cell_last: Ints
    cell_week: Ints
    cell_month: Ints

    def day_of(self, day: date) -> int:
        """A date as days from the first Monday; may lie before or after the grid."""
        return day_number(day) - self.origin

    def week_of(self, day: date) -> int:
        """The number of the week of a day, counted from the first week of the grid."""
        return self.day_of(day) // 7

    def monday_of(self, week: int) -> date:
        """The Monday of a week number."""
        return as_date(self.origin + 7 * week)

    def offsets(self, days: pl.Series) -> Ints:
        """Dates as days from the first Monday; may lie before or after the grid."""
        return days.cast(pl.Int32).to_numpy().astype(np.int64) - self.origin


@lru_cache(maxsize=8)
def make_grid(counted_from: date, through: date) -> Grid:
    """The grid from the week of `counted_from` through `through`, the last day known.

    Hjemmel: § 30, stk. 1 (first day); rules.md section 2 (a week cut by the end of the month).
    """
    first_monday = monday(counted_from)
    origin = day_number(first_monday)
    days = day_number(through) - origin + 1
    dates = [first_monday + timedelta(days=d) for d in range(days)]
    starts = np.array([d == 0 or day.weekday() == 0 or day.day == 1 for d, day in enumerate(dates)])
    cell_first = np.flatnonzero(starts)
    return Grid(
        origin=origin,
        first_day=day_number(counted_from) - origin,
        days=days,
        weeks=-(-days // 7),
        whole_weeks=days // 7,
        cell_of_day=np.cumsum(starts) - 1,
        cell_first=cell_first,
        cell_last=np.append(cell_first[1:], days) - 1,
        cell_week=cell_first // 7,
        cell_month=np.array([day_number(dates[d].replace(day=1)) for d in cell_first]),
    )


def expand(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Every whole number of the ranges first..last: index of the range, and number. None where last < first."""
    count = np.maximum(last - first + 1, 0)
    before = np.cumsum(count) - count
    numbers = np.arange(count.sum())
    numbers -= np.repeat(before - first, count)
    return np.repeat(np.arange(len(count)), count), numbers


def month_range(first: date, last: date) -> list[date]:
    """Every month from `first` to `last`, both included, as first days."""
    months = []
    while first <= last:
        months.append(first)
        first = next_month(first)
    return months


def unbroken(values: Sequence[T], after: Callable[[T], T]) -> list[tuple[T, T]]:
    """The first and last of each run of ascending values in which each is the one after (`after`) the one before."""
    found: list[tuple[T, T]] = []
    for value in values:
        if found and value == after(found[-1][1]):
            found[-1] = (found[-1][0], value)
        else:
            found.append((value, value))
    return found
