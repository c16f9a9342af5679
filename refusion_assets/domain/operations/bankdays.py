"""Bank days: the hours of the critical week, in Danish time."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from danish_banking_holidays import DanishBankingCalendar  # type: ignore[import-untyped]

from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.rules.entries import KritiskUge

DANISH = ZoneInfo("Europe/Copenhagen")
CALENDAR = DanishBankingCalendar()


def bank_day(month: date, number: int) -> date:
    """The bank day with a number in a month, named by its first day; 1 is the first."""
    day: date = CALENDAR.add_business_days(month - timedelta(days=1), number)
    return day


@dataclass(frozen=True)
class Window:
    """The hours of the critical week of one run month, in Danish time.

    `opens`: the month may start. `late`: a missing sender is late. `deadline`: what `ved_frist` says holds.
    `overdue`: a month without files is told.
    """

    opens: datetime
    late: datetime
    deadline: datetime
    overdue: datetime


def window(entry: KritiskUge, month: date) -> Window:
    """The hours of run month `month`: bank days of the month after. Hjemmel: none, technical (`drift.toml`)."""

    def at(number: int, hour: str) -> datetime:
        return datetime.combine(bank_day(next_month(month), number), time.fromisoformat(hour), DANISH)

    return Window(
        at(entry.aabner_bankdag, entry.aabner_kl),
        at(entry.sen_bankdag, entry.aabner_kl),
        at(entry.frist_bankdag, entry.frist_kl),
        at(entry.opgjort_bankdag, entry.aabner_kl),
    )


def bank_days_left(now: datetime, until: datetime) -> int:
    """The bank days after today, to and with that of a moment; 0 on the day itself, negative after it."""
    today, last = now.astimezone(DANISH).date(), until.astimezone(DANISH).date()
    first, after = min(today, last), max(today, last)
    days = (first + timedelta(days=number) for number in range(1, (after - first).days + 1))
    count = sum(not CALENDAR.is_holiday(day) for day in days)
    return count if last >= today else -count
