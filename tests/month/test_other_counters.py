"""Counters and maxima of their own through raw files and the warehouse, month by month: what is kept must not show."""

from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, given

from refusion_assets.assets.checks.calculated import (
    noegler_er_unikke,
    procenter_findes,
    raekker_har_trin,
    taeller_stiger_med_een,
    uger_talt_een_gang,
)
from refusion_assets.assets.checks.sample import efterregning_enig
from refusion_assets.assets.gate import Asked
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.efterregning.money import Resultat
from refusion_assets.domain.efterregning.money import state as plain_state
from tests.conftest import DataRoot
from tests.kit import timeline
from tests.kit.data_root import write_file
from tests.kit.other_counters import RULEBOOK, append, change, entry, staircase
from tests.kit.timeline import History, examples, histories
from tests.month.test_histories import LEDGER, STATE, deliver, few_kommuner

QUESTIONS = (
    efterregning_enig,
    noegler_er_unikke,
    procenter_findes,
    raekker_har_trin,
    taeller_stiger_med_een,
    uger_talt_een_gang,
)
KTH = "KTH;2014-07-01;Kontanthjælp;5;A;refusion;trappe"
ADP = "ADP;2014-07-01;Arbejdsløshedsdagpenge;1;A;medfinansiering;trappe"
OVER = "SELECT strftime(maaned, '%m'), uge, beloeb_oere, refusion_oere FROM refusion.over_loft ORDER BY ALL"


def loft(name: str, periode: str, paa: str, oere: int, ydelser: str) -> str:
    """One maximum as an entry."""
    text = f'id = "{name}"\ngaelder_fra = 2014-07-01\nydelser = {ydelser}\nperiode = "{periode}"\n'
    return entry("loft", f'{text}beloeb_oere = {oere}\npaa = "{paa}"')


def own_root(folder: Path) -> DataRoot:
    """An empty data root under rules with two counters and three maxima."""
    root = few_kommuner(folder)
    text = 'gaelder_fra = 2015-12-09\nydelser = ["KTH", "SU", "BEFORD"]\nfri_uge = "uden_ydelserne"\n'
    append(root.rules, "taellere.toml", entry("taeller", f'id = "t"\n{text}genoptjening_uger = 3\nvindue_aar = 1'))
    text = 'gaelder_fra = 2014-07-01\nydelser = ["ADP", "LED"]\nfri_uge = "selvforsoergelse"'
    append(root.rules, "taellere.toml", entry("taeller", f'id = "u"\n{text}'))
    append(root.rules, "trapper.toml", staircase("st", "2016-01-04", {1: 100, 2: 61, 6: 0}, 'taeller = "t"'))
    append(root.rules, "trapper.toml", staircase("su", "2014-07-01", {1: 3, 9: 97}, 'taeller = "u"'))
    append(
        root.rules, "trapper.toml", staircase("su", "2023-12-20", {1: 5, 4: 33, 5: 34, 6: 35, 7: 36}, 'taeller = "u"')
    )
    for old, name in ((KTH, "st"), (ADP, "su")):
        change(root.rules, "ydelser.csv", old, f"{old} {name}")
    append(root.rules, "lofter.toml", loft("a", "maaned", "refusion", 90_000, '["KTH", "ADP", "SYG_BORGER"]'))
    append(root.rules, "lofter.toml", loft("b", "uge", "beloeb", 50_000, '["KTH", "FLEKS", "JAF"]'))
    append(root.rules, "lofter.toml", loft("c", "maaned", "beloeb", 120_000, '["FOEP", "LED", "ADP"]'))
    return root


def asked(root: DataRoot, month: str) -> dict[str, bool]:
    """Whether the checks of weeks and rows pass."""
    with root.place.warehouse.open() as session:
        what = Asked(session, root.place, month_of(month))
        return {question.__name__: question(what).bestaaet for question in QUESTIONS}


@examples(2, phases=[Phase.generate])
@given(history=histories(RULEBOOK))
def test_months_run_one_by_one_give_the_state_and_the_ledger_of_the_plain_walk(history: History) -> None:
    with TemporaryDirectory() as folder:
        root = own_root(Path(folder))
        for month, bopael in zip(history.months, history.snapshots, strict=True):
            deliver(root.path, history, month)
            root.run(month)
            known = [fil for fil in history.files if fil.maaned <= month]
            state = plain_state(known, bopael, month, root.place.rules)
            assert {row[:5]: Resultat(*row[5:]) for row in root.rows(STATE)} == state
            total = {row[:5]: row[5:] for row in root.rows(LEDGER) if any(row[5:])}
            assert total == {key: (r.indberettet, r.beloeb, r.refusion, r.medfinansiering) for key, r in state.items()}
            assert set(asked(root, month).values()) == {True}


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """An empty data root under rules with counters and maxima."""
    return own_root(tmp_path)


def report(root: DataRoot, month: str, number: int, *rows: dict[str, str]) -> None:
    """A file of reports of kontanthjælp."""
    write_file(root.path, timeline.fil("K", list(rows), month, number))


def weekly(fra: date, number: int, weeks: int = 1, kroner: str = "400,00", **changes: str) -> dict[str, str]:
    """A report of kontanthjælp for whole weeks."""
    return timeline.row("K", fra, fra + timedelta(days=7 * weeks - 1), number, kroner, **changes)


def refunded(root: DataRoot) -> list[tuple[Any, ...]]:
    """Month, week and refusion of every row, in order."""
    what = "strftime(maaned, '%m'), day(uge)::INTEGER, refusion_oere"
    return root.rows(f"SELECT {what} FROM refusion.borger_uge_ydelse ORDER BY maaned, uge")


def test_a_late_report_of_one_week_moves_what_later_weeks_have_left_of_the_month(root: DataRoot) -> None:
    monday = date(2024, 1, 1)
    report(root, "2024-01", 1, *(weekly(monday + timedelta(weeks=w), w + 1) for w in (0, 2, 3)))
    root.run("2024-01")
    # 100 % of 40.000; then week 2 and 3 of the counter at 61 %: 24.400 each, in all 88.800 of 90.000
    assert refunded(root) == [("01", 1, 40_000), ("01", 15, 24_400), ("01", 22, 24_400)]
    assert root.rows(OVER) == []
    report(root, "2024-02", 2, weekly(monday + timedelta(weeks=1), 9))
    root.run("2024-02")
    assert refunded(root) == [("01", 1, 40_000), ("01", 8, 24_400), ("01", 15, 24_400), ("01", 22, 1_200)]
    assert root.rows(OVER) == [("01", date(2024, 1, 22), 0, 23_200)]
    told = (
        "SELECT raekketype, day(uge)::INTEGER, refusion_oere FROM opgoerelse.postering WHERE koersel = 50 ORDER BY ALL"
    )
    assert root.rows(told) == [("K", 22, 1_200), ("N", 8, 24_400), ("T", 22, -24_400)]
    assert set(asked(root, "2024-02").values()) == {True}


def test_the_second_half_of_a_week_has_what_the_month_before_left_of_its_maximum(root: DataRoot) -> None:
    report(root, "2024-01", 1, weekly(date(2024, 1, 29), 1, kroner="700,00"))
    root.run("2024-01")
    assert refunded(root) == [("01", 29, 30_000)]
    report(root, "2024-02", 2)
    root.run("2024-02")
    # 30.000 and 40.000; at most 50.000 of the week
    assert refunded(root) == [("01", 29, 30_000), ("02", 29, 20_000)]
    assert root.rows(OVER) == [("02", date(2024, 1, 29), 20_000, 0)]


@pytest.mark.parametrize(
    ("spoiled", "question"),
    [
        ("UPDATE refusion.over_loft SET beloeb_oere = beloeb_oere + 1", "raekker_har_trin"),
        ("DELETE FROM refusion.over_loft", "raekker_har_trin"),
        ("INSERT INTO refusion.over_loft FROM refusion.over_loft", "noegler_er_unikke"),
        ("INSERT INTO duration.forloeb_taeller FROM duration.forloeb_taeller", "noegler_er_unikke"),
        ("UPDATE duration.forloeb_taeller SET n_foer = 7 WHERE art = 'A'", "taeller_stiger_med_een"),
        ("UPDATE duration.forloeb_taeller SET antal_uger = 9 WHERE art = 'C'", "uger_talt_een_gang"),
        ("UPDATE refusion.borger_uge_ydelse SET procent = 99", "procenter_findes"),
        ("UPDATE refusion.borger_uge_ydelse SET ydelsestaeller = ydelsestaeller + 1", "efterregning_enig"),
        ("UPDATE refusion.borger_uge_ydelse SET refusion_oere = refusion_oere + 1", "efterregning_enig"),
    ],
)
def test_a_check_finds_what_is_wrong_with_a_counter_or_a_maximum(root: DataRoot, spoiled: str, question: str) -> None:
    report(root, "2024-01", 1, weekly(date(2024, 1, 1), 1, kroner="700,00"), weekly(date(2024, 1, 15), 2))
    root.run("2024-01")
    assert set(asked(root, "2024-01").values()) == {True}
    with root.place.warehouse.open() as session:
        session.run(spoiled)
    assert asked(root, "2024-01")[question] is False


def test_a_month_of_the_command_is_settled_under_a_counter_and_maxima_of_a_week_and_a_month(root: DataRoot) -> None:
    monday = date(2024, 1, 1)
    report(root, "2024-01", 1, *(weekly(monday + timedelta(weeks=w), w + 1, kroner="700,00") for w in range(4)))
    said = root.koer("2024-01")
    # 50.000 of 70.000 a week: 50.000 at 100 %, then 30.500 at 61 %; of 90.000 in the month 9.500 are left; then none
    assert refunded(root) == [("01", 1, 50_000), ("01", 8, 30_500), ("01", 15, 9_500), ("01", 22, 0)]
    assert " 900,00 " in said.out
    asked_of_all = "SELECT bestaaet FROM kontrol.resultat WHERE kontrol = 'efterregning_enig'"
    assert root.rows(asked_of_all) == [(True,)]
