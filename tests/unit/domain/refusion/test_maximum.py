"""A maximum per week or month, by editing the rules alone: results worked out by hand."""

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from refusion_assets.domain.efterregning.money import state as plain_state
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.rulebook.load import load
from refusion_assets.store.tables import validate
from tests.kit import timeline
from tests.kit.data_root import RULES, Run, calculate
from tests.kit.other_counters import append, entry
from tests.kit.timeline import CPR

START = date(2024, 1, 1)  # a Monday
HOME = [{"CPR": CPR, "Kommunekode": "101", "Bopael_start": "2010-01-01", "Bopael_slut": ""}]


def loft(periode: str, paa: str, oere: int, fra: str = "2014-07-01", name: str = "l", ydelser: str = '["KTH"]') -> str:
    """One maximum as an entry."""
    return entry(
        "loft",
        f'id = "{name}"\ngaelder_fra = {fra}\nydelser = {ydelser}\nperiode = "{periode}"\n'
        f'beloeb_oere = {oere}\npaa = "{paa}"',
    )


def law(tmp_path: Path, *lofter: str) -> Rulebook:
    """The rules with maxima."""
    folder = Path(shutil.copytree(RULES, tmp_path / "rules"))
    append(folder, "lofter.toml", "".join(lofter))
    return load(folder)


def run(text: str, rules: Rulebook, fra: date = START) -> Run:
    """A run that ends with the timeline, over one claim of 1.000,00 a week of support."""
    month = f"{timeline.last_day(text, fra):%Y-%m}"
    files = timeline.files(text, fra, month)
    made = calculate(files, HOME, month, rules)
    assert made.state == plain_state(files, HOME, month, rules)
    return made


def shares(run: Run) -> list[tuple[Any, ...]]:
    """Amount, refusion and medfinansiering of every row, in order."""
    rows = run.rows.sort("maaned", "uge", "kommunekode")
    return rows.select("beloeb_oere", "refusion_oere", "medfinansiering_oere").rows()


def taken(run: Run) -> list[tuple[Any, ...]]:
    """What each maximum took of each row."""
    rows = validate("refusion.over_loft", run.priced.over_loft).sort("maaned", "uge", "kommunekode", "loft_id")
    return rows.select("loft_id", "beloeb_oere", "refusion_oere").rows()


def test_a_weekly_maximum_on_the_amount_limits_what_the_percentage_is_taken_of(tmp_path: Path) -> None:
    made = run("K2 D1", law(tmp_path, loft("uge", "beloeb", 60_000)))
    assert shares(made) == [(100_000, 48_000, 0), (100_000, 48_000, 0), (100_000, 0, 20_000)]
    assert taken(made) == [("l", 40_000, 0), ("l", 40_000, 0)]


def test_a_weekly_maximum_on_the_refusion_limits_the_refusion(tmp_path: Path) -> None:
    made = run("K5", law(tmp_path, loft("uge", "refusion", 60_000)))
    rows = shares(made)
    # 80 % of 100.000 is over the maximum, 40 % of the fifth week's halves (42.857 and 57.143) is not
    assert rows[:4] == [(100_000, 60_000, 0)] * 4
    assert rows[4:] == [(42_857, 17_143, 0), (57_143, 22_857, 0)]
    assert taken(made) == [("l", 0, 20_000)] * 4


def test_a_week_cut_by_the_end_of_a_month_uses_its_maximum_in_the_order_of_the_months(tmp_path: Path) -> None:
    made = run("K1", law(tmp_path, loft("uge", "beloeb", 60_000)), date(2024, 1, 29))
    # 3 and 4 days: 42.857 and 57.143; 17.143 is left for February; 80 % is 34.285,6 and 13.714,4
    assert shares(made) == [(42_857, 34_286, 0), (57_143, 13_714, 0)]
    assert taken(made) == [("l", 40_000, 0)]


@pytest.mark.parametrize(
    ("oere", "refusion"),
    [
        (99_999, [80_000, 19_999, 0, 0, 0, 22_857]),
        (100_000, [80_000, 20_000, 0, 0, 0, 22_857]),
        (160_000, [80_000, 80_000, 0, 0, 0, 22_857]),
        (160_001, [80_000, 80_000, 1, 0, 0, 22_857]),
        (0, [0, 0, 0, 0, 0, 0]),
        (337_143, [80_000, 80_000, 80_000, 80_000, 17_143, 22_857]),
    ],
)
def test_a_monthly_maximum_is_used_up_week_by_week_and_is_whole_again_next_month(
    tmp_path: Path, oere: int, refusion: list[int]
) -> None:
    made = run("K5", law(tmp_path, loft("maaned", "refusion", oere)))
    assert [row[1] for row in shares(made)] == refusion
    assert [row[0] for row in shares(made)] == [100_000] * 4 + [42_857, 57_143]


def test_municipalities_share_a_week_s_maximum_in_the_order_of_their_codes(tmp_path: Path) -> None:
    sunday = START + timedelta(days=6)
    second = timeline.row("K", START, sunday, 2, "500,00", Kommunekode="101")
    rules = law(tmp_path, loft("uge", "beloeb", 60_000))
    files = [
        timeline.fil("K", [timeline.row("K", START, sunday, 1)], "2024-01"),
        timeline.Fil("eindkomst-yr-ky-101-202401-0001.csv", "ky", "101", "2024-01", "other", [second]),
    ]
    made = calculate(files, HOME, "2024-01", rules)
    assert made.rows.sort("kommunekode").select("kommunekode", "refusion_oere").rows() == [
        ("101", 40_000),
        ("169", 8_000),
    ]


def test_a_maximum_holds_for_each_person_and_each_benefit_by_itself(tmp_path: Path) -> None:
    rules = law(tmp_path, loft("uge", "beloeb", 60_000, ydelser='["KTH", "ADP"]'))
    sunday, other = START + timedelta(days=6), "6201912197"
    kth = [timeline.row("K", START, sunday, number, cpr=cpr) for number, cpr in enumerate((CPR, other), 1)]
    files = [timeline.fil("K", kth, "2024-01"), timeline.fil("D", [timeline.row("D", START, sunday, 1)], "2024-01")]
    made = calculate(files, HOME, "2024-01", rules)
    assert sorted(made.rows.select("refusion_oere", "medfinansiering_oere").rows()) == [
        (0, 12_000),
        (48_000, 0),
        (48_000, 0),
    ]


@pytest.mark.parametrize(
    ("periode", "fra", "refusion"),
    [
        ("uge", "2024-01-08", [80_000, 0, 0]),
        ("uge", "2024-01-09", [80_000, 80_000, 0]),
        ("maaned", "2024-01-01", [0, 0, 0]),
        ("maaned", "2024-01-02", [80_000, 80_000, 80_000]),
    ],
)
def test_the_maximum_of_the_monday_or_of_the_first_of_the_month_decides(
    tmp_path: Path, periode: str, fra: str, refusion: list[int]
) -> None:
    assert [row[1] for row in shares(run("K3", law(tmp_path, loft(periode, "refusion", 0, fra))))] == refusion


def test_a_later_version_replaces_the_earlier_one_whole(tmp_path: Path) -> None:
    rules = law(
        tmp_path,
        loft("uge", "beloeb", 60_000),
        loft("uge", "beloeb", 10_000, "2024-01-08"),
        loft("maaned", "refusion", 70_000, "2024-01-15", ydelser='["ADP"]'),
    )
    # two weeks of a weekly maximum, then none for kontanthjælp; the month of dagpenge first begins in February
    assert shares(run("K3 D1", rules)) == [
        (100_000, 48_000, 0),
        (100_000, 8_000, 0),
        (100_000, 80_000, 0),
        (100_000, 0, 20_000),
    ]


def test_several_maxima_are_taken_one_after_the_other(tmp_path: Path) -> None:
    rules = law(
        tmp_path,
        loft("maaned", "refusion", 100_000, name="a"),
        loft("uge", "refusion", 45_000, name="b"),
        loft("uge", "beloeb", 60_000, name="c"),
    )
    made = run("K4", rules)
    # 80 % of 60.000 is 48.000; 45.000 a week; 100.000 in the month
    assert [row[1] for row in shares(made)] == [45_000, 45_000, 10_000, 0]
    assert taken(made) == [
        ("b", 0, 3_000), ("c", 40_000, 0),
        ("b", 0, 3_000), ("c", 40_000, 0),
        ("a", 0, 35_000), ("b", 0, 3_000), ("c", 40_000, 0),
        ("a", 0, 45_000), ("b", 0, 3_000), ("c", 40_000, 0),
    ]  # fmt: skip


def test_money_without_a_municipality_uses_nothing_of_a_maximum(tmp_path: Path) -> None:
    late = [HOME[0] | {"Bopael_start": "2024-01-08"}]
    rules = law(tmp_path, loft("maaned", "beloeb", 100_000, ydelser='["ADP"]'))
    made = calculate(timeline.files("D2", START, "2024-01"), late, "2024-01", rules)
    assert shares(made) == [(100_000, 0, 20_000)]
    assert made.priced.uden_kommune["beloeb_oere"].to_list() == [100_000]
