"""A staircase and a counter of its own, by editing the rules alone: results worked out by hand."""

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from refusion_assets.domain.duration.spells import own_spells
from refusion_assets.domain.efterregning.money import state as plain_state
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.rulebook.load import load
from refusion_assets.store.tables import validate
from tests.kit import timeline
from tests.kit.data_root import RULES, Run, calculate, with_reading
from tests.kit.other_counters import append, change, entry, staircase
from tests.kit.timeline import CPR

START = date(2024, 1, 1)  # a Monday
HOME = [{"CPR": CPR, "Kommunekode": "101", "Bopael_start": "2010-01-01", "Bopael_slut": ""}]
KTH = "KTH;2014-07-01;Kontanthjælp;5;A;refusion;trappe;"
SU = "SU;2014-07-01;Statens uddannelsesstøtte;;B;ingen;;0014;;"
BEFORD = "BEFORD;2014-07-01;Befordringsgodtgørelse til forsikrede ledige;;-;medfinansiering;fast 50;"
STEPS = {1: 100, 3: 50, 4: 7, 5: 0, 6: 33, 7: 1}


def counter(
    name: str, *more: str, ydelser: str = '["KTH"]', fra: str = "2014-07-01", fri: str = "uden_ydelserne"
) -> str:
    """One counter as an entry."""
    lines = [f'id = "{name}"', f"gaelder_fra = {fra}", f"ydelser = {ydelser}", f'fri_uge = "{fri}"', *more]
    return entry("taeller", "\n".join(lines))


def law(tmp_path: Path, taeller: str, *changes: tuple[str, str], steps: dict[int, int] | None = None) -> Rulebook:
    """The rules with a counter `t`, kontanthjælp on a staircase `ny` that it climbs, and changes to `ydelser.csv`."""
    folder = Path(shutil.copytree(RULES, tmp_path / "rules"))
    append(folder, "taellere.toml", taeller)
    append(folder, "trapper.toml", staircase("ny", "2016-01-04", steps or STEPS, 'taeller = "t"'))
    for old, new in changes or ((KTH, KTH.replace("trappe", "trappe ny")),):
        change(folder, "ydelser.csv", old, new)
    return load(folder)


def run(text: str, rules: Rulebook, fra: date = START, month: str = "") -> Run:
    """A run that ends with the timeline, over one claim of 1.000,00 a week of support."""
    last = month or f"{timeline.last_day(text, fra):%Y-%m}"
    files = timeline.files(text, fra, last)
    made = calculate(files, HOME, last, rules)
    assert made.state == plain_state(files, HOME, last, rules)
    return made


def told(run: Run, ydelse_id: str = "KTH") -> list[tuple[Any, ...]]:
    """Number, free weeks, step and percentage of every week of a benefit, by week; only its first cell."""
    rows = run.rows.filter(pl.col("ydelse_id") == ydelse_id).sort("uge", "maaned").unique("uge", maintain_order=True)
    return rows.select("ydelsestaeller", "genoptjeningstaeller", "trin", "procent").rows()


RESTART = ("genoptjening_uger = 2", "vindue_aar = 1")


def test_a_counter_counts_only_its_own_benefits_and_starts_over_after_its_own_weeks(tmp_path: Path) -> None:
    made = run("K3 D1 K1 D2 K1", law(tmp_path, counter("t", *RESTART)))
    assert told(made) == [(1, 0, 1, 100), (2, 0, 1, 100), (3, 0, 2, 50), (4, 1, 3, 7), (1, 0, 1, 100)]
    assert told(made, "ADP") == [(4, 0, 1, 20), (6, 0, 2, 60), (7, 0, 2, 60)]


def test_weeks_of_other_support_are_free_only_to_a_counter_that_says_so(tmp_path: Path) -> None:
    made = run("K3 D1 U1 K2 S1 K1", law(tmp_path, counter("t", *RESTART, fri="selvforsoergelse")))
    assert told(made)[3:] == [(4, 0, 3, 7), (5, 0, 4, 0), (6, 1, 5, 33)]


def test_a_counter_without_restart_never_starts_over_and_has_no_free_weeks_to_show(tmp_path: Path) -> None:
    made = run("K3 S110 K5", law(tmp_path, counter("t")))
    numbers = [(1, 1, 100), (2, 1, 100), (3, 2, 50), (4, 3, 7), (5, 4, 0), (6, 5, 33), (7, 6, 1), (8, 6, 1)]
    assert told(made) == [(n, None, trin, procent) for n, trin, procent in numbers]


def test_a_step_of_nothing_and_one_of_everything_give_just_that(tmp_path: Path) -> None:
    made = run("K7", law(tmp_path, counter("t")))
    by_week = made.rows.group_by("uge").agg(pl.col("refusion_oere").sum()).sort("uge")
    assert by_week["refusion_oere"].to_list() == [100_000, 100_000, 50_000, 7_000, 0, 33_000, 1_000]
    nothing = made.rows.filter(pl.col("trin") == 4)
    assert nothing.select("procent", "refusion_oere", "medfinansiering_oere").unique().rows() == [(0, 0, 0)]
    assert nothing["beloeb_oere"].sum() == 100_000


@pytest.mark.parametrize(
    ("fra", "reading", "numbers"),
    [
        ("2024-01-08", "taeller", [0, 1, 2]),
        ("2024-01-10", "taeller", [0, 1, 2]),
        ("2024-01-14", "taeller", [0, 1, 2]),
        ("2024-01-15", "taeller", [0, 0, 1]),
        ("2024-01-08", "taeller_ikke", [0, 1, 2]),
        ("2024-01-10", "taeller_ikke", [0, 0, 1]),
    ],
)
def test_a_counter_counts_from_its_first_day(tmp_path: Path, fra: str, reading: str, numbers: list[int]) -> None:
    rules = with_reading(law(tmp_path, counter("t", fra=fra)), "foerste_uge", reading)
    found = told(run("K3", rules))
    assert [row[0] for row in found] == numbers
    assert [row[2:] for row in found] == [(1, 100)] * 3, "a week that is not counted yet stands on the first step"


def test_the_other_readings_hold_for_a_counter_too(tmp_path: Path) -> None:
    rules = law(tmp_path, counter("t", *RESTART))
    waiting = with_reading(rules, "genoptjening_proeves", "ved_naeste_ydelse")
    assert [row[:2] for row in told(run("K1 S2 K1", rules))] == [(1, 0), (1, 0)]
    assert [row[:2] for row in told(run("K1 S2 K1", waiting))] == [(1, 0), (1, 0)]
    assert run("K1 S2", rules).counted.others[0].n[-1, 0] == 0
    assert run("K1 S2", waiting).counted.others[0].n[-1, 0] == 1
    whole = with_reading(rules, "uge_beroert", "hele_ugen")
    rows = [timeline.row("K", START, START + timedelta(days=9), 1)]
    parted = calculate([timeline.fil("K", rows, "2024-01")], HOME, "2024-01", whole)
    assert [row[:2] for row in told(parted)] == [(1, 0), (1, 0)], "a week that is touched in part is not counted"


def test_weeks_before_the_overgang_have_the_step_its_week_would_have(tmp_path: Path) -> None:
    old = f"{KTH}0014;2016-01-01;"
    new = old.replace("trappe", "trappe ny").replace("2016-01-01", "2015-12-14")
    rows = run("K3", law(tmp_path, counter("t"), (old, new)), date(2015, 12, 14), "2020-01").rows.sort("uge", "maaned")
    assert rows.select("ydelsestaeller", "trin", "procent").unique(maintain_order=True).rows() == [
        (1, 3, 7),
        (2, 3, 7),
        (3, 3, 7),
    ]


def test_a_benefit_of_kategori_b_or_none_may_stand_on_a_staircase_with_a_counter_of_its_own(tmp_path: Path) -> None:
    taeller = counter("t", ydelser='["SU", "BEFORD"]', fri="selvforsoergelse")
    su = SU.replace("ingen;;0014;;", "medfinansiering;trappe ny;0014;2016-01-01;5.57.78")
    made = run("U1 K1 U2", law(tmp_path, taeller, (SU, su), (BEFORD, BEFORD.replace("fast 50", "trappe ny"))))
    assert told(made, "SU") == [(1, None, 1, 100), (2, None, 1, 100), (3, None, 2, 50)]
    assert made.rows.filter(pl.col("ydelse_id") == "SU")["medfinansiering_oere"].sum() == 250_000
    assert told(made) == [(1, 0, 1, 80)], "kontanthjælp stays on the law's counter, where SU is neutral"
    travel = {"Felt0114": "urn:oio:akasse:konto:befordring", "Felt0014": "", "Felt0048": "10,00"}
    rows = [
        timeline.row("D", START + timedelta(weeks=w), START + timedelta(weeks=w, days=6), w, **travel) for w in range(3)
    ]
    alone = calculate([timeline.fil("D", rows, "2024-01")], HOME, "2024-01", load(tmp_path / "rules"))
    assert told(alone, "BEFORD") == [(1, None, 1, 100), (2, None, 1, 100), (3, None, 2, 50)]


def test_two_counters_count_beside_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    adp = "ADP;2014-07-01;Arbejdsløshedsdagpenge;1;A;medfinansiering;trappe"
    law(tmp_path, counter("t") + counter("u", ydelser='["ADP"]'))
    append(folder, "trapper.toml", staircase("anden", "2016-01-04", {1: 10, 2: 20}, 'taeller = "u"'))
    change(folder, "ydelser.csv", adp, f"{adp} anden")
    made = run("K2 D1 K1 D1", load(folder))
    assert [row[0] for row in told(made)] == [1, 2, 3]
    assert told(made, "ADP") == [(1, None, 1, 10), (2, None, 2, 20)]


def test_the_weeks_of_an_own_counter_stand_as_spells_for_the_analyst(tmp_path: Path) -> None:
    made = run("K2 S1 U1 S1 K1 S2", law(tmp_path, counter("t", *RESTART, fri="selvforsoergelse")))
    rows = validate("duration.forloeb_taeller", own_spells(made.counted, made.grid, load(tmp_path / "rules"))).drop(
        "borger_id"
    )
    week = [START + timedelta(weeks=w) for w in range(6)]
    assert [row[:7] for row in rows.rows()] == [
        (week[0], 2, "A", 1, 0, False, False),
        (week[2], 1, "C", 1, 2, True, False),
        (week[3], 1, "B", 1, 2, False, False),
        (week[4], 1, "C", 1, 2, True, True),
        (week[5], 1, "A", 2, 0, False, False),
    ]
    assert set(rows["taeller_id"]) == {"t"}
    nobody = run("D2", load(tmp_path / "rules"))
    assert own_spells(nobody.counted, nobody.grid, load(tmp_path / "rules")).is_empty()
