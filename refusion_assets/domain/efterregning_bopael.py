"""Understands by hand which municipality finances a week: the payer's, or where the person lives.

A part of the independent calculation (rules.md, section 6); it shares nothing but the rules.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from refusion_assets.domain.efterregning_felter import read_date
from refusion_assets.domain.efterregning_raa import Claim
from refusion_assets.domain.efterregning_uger import days
from refusion_assets.domain.rules import Rulebook


@dataclass(frozen=True)
class Bopael:
    """One municipality of residence of one person, both days inclusive."""

    kommunekode: str
    start: date
    slut: date


def residence(week: date, rows: Sequence[Bopael], rules: Rulebook) -> str | None:
    """The municipality where the person lives in the week; None where no residence is known in it.

    Reading `bopael_paa`: where they live on Monday, else on the first day after it that a residence covers;
    or where they live on Sunday, else on the last day before it.

    Hjemmel: BEK nr. 1772 af 16/12/2015, § 1, stk. 2.
    """
    week_days = days(week, week + timedelta(days=6))
    if rules.laesning("bopael_paa") == "soendag":
        week_days.reverse()
    for day in week_days:
        here = [row for row in rows if row.start <= day <= row.slut]
        if here:
            return max(here, key=lambda row: (row.start, row.slut, row.kommunekode)).kommunekode
    return None


def municipality(claim: Claim, week: date, rows: Sequence[Bopael], rules: Rulebook) -> str | None:
    """The municipality that finances a claim in a week: the payer's, for national payers the residence.

    Hjemmel: § 2; reading `finansieringskommune_refusion`.
    """
    if claim.kommunekode and rules.laesning("finansieringskommune_refusion") == "betaler":
        return claim.kommunekode
    return residence(week, rows, rules)


def read_bopael(rows: Iterable[Mapping[str, str]], rules: Rulebook) -> dict[str, list[Bopael]]:
    """The residences of each person; codes that are no municipality, and days that are none, are left out."""
    known = {kommune.kommunekode for kommune in rules.kommuner}
    result: dict[str, list[Bopael]] = defaultdict(list)
    for row in rows:
        start = read_date(row["Bopael_start"])
        slut = read_date(row["Bopael_slut"]) if row["Bopael_slut"] else date.max
        if row["Kommunekode"] in known and start and slut:
            result[row["CPR"]].append(Bopael(row["Kommunekode"], start, slut))
    return result
