"""Benefits and staircases that change from a date, by editing the rules alone: results worked out by hand."""

import csv
import io
import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.rulebook.load import load
from tests.conftest import DataRoot
from tests.kit import timeline
from tests.kit.data_root import RULES, calculate, write_file, write_register
from tests.kit.other_counters import append, change, staircase
from tests.kit.timeline import CPR
from tests.month.test_histories import few_kommuner

START = date(2024, 1, 1)  # a Monday
HOME = [{"CPR": CPR, "Kommunekode": "101", "Bopael_start": "2010-01-01", "Bopael_slut": ""}]
KTH = "KTH;2014-07-01;Kontanthjælp;5;A;refusion;trappe;0014;2016-01-01;5.57.73;x;x;2026-01-01;x\n"
SU = "SU;2014-07-01;Statens uddannelsesstøtte;;B;ingen;;0014;;;x;x;2026-01-01;x\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the rules to change."""
    return Path(shutil.copytree(RULES, tmp_path / "rules"))


def version(folder: Path, row: str, fra: str, *changes: tuple[str, str]) -> None:
    """A new version of a benefit from a date, with changes."""
    row = row.replace("2014-07-01", fra, 1)
    for old, new in changes:
        assert old in row
        row = row.replace(old, new, 1)
    append(folder, "ydelser.csv", row)


def weeks(text: str, rules: Rulebook, fra: date = START, **raw: str) -> list[tuple[Any, ...]]:
    """Amount, percentage, refusion, medfinansiering, number and step of every row, by week."""
    month = f"{timeline.last_day(text, fra):%Y-%m}"
    files = [replace(fil, rows=[row | raw for row in fil.rows]) for fil in timeline.files(text, fra, month)]
    rows = calculate(files, HOME, month, rules).rows.sort("uge", "maaned")
    names = ("beloeb_oere", "procent", "refusion_oere", "medfinansiering_oere", "ydelsestaeller", "trin")
    return rows.select(names).rows()


@pytest.mark.parametrize("fra", ["2024-01-15", "2024-01-10"])
def test_a_benefit_gets_another_percentage_from_the_first_monday_on_or_after_the_date(folder: Path, fra: str) -> None:
    version(folder, KTH, fra, (";trappe;", ";fast 65;"))
    old, new = (100_000, 80, 80_000, 0), (100_000, 65, 65_000, 0, None, None)
    assert weeks("K4", load(folder)) == [(*old, 1, 1), (*old, 2, 1), new, new]


def test_a_benefit_gets_another_side_and_its_weeks_count_as_before(folder: Path) -> None:
    version(folder, KTH, "2024-01-15", (";refusion;", ";medfinansiering;"))
    assert weeks("K4", load(folder))[1:3] == [(100_000, 80, 80_000, 0, 2, 1), (100_000, 20, 0, 20_000, 3, 1)]


def test_a_benefit_stops_being_settled_and_one_begins(folder: Path) -> None:
    version(folder, KTH, "2024-01-15", (";refusion;trappe;", ";ingen;;"))
    begins = (";B;ingen;;0014;;;", ";A;refusion;trappe;0014;2024-01-24;5.57.73;")
    version(folder, SU, "2024-01-15", begins)
    # U: its weeks are neutral until 15 January; the week of 22 January carries money from Wednesday, 5 days of 7
    assert weeks("K1 U1 K1 U1", load(folder)) == [(100_000, 80, 80_000, 0, 1, 1), (71_429, 80, 57_143, 0, 3, 1)]


def test_a_benefit_changes_kategori_from_a_date(folder: Path) -> None:
    version(folder, KTH, "2024-01-15", (";A;refusion;trappe;", ";B;refusion;fast 50;"))
    found = weeks("K4 D1", load(folder), date(2023, 12, 25))
    # 25 December, 1 and 8 January count; 15 January does not; so the week of dagpenge is number 4
    assert [row[1:] for row in found if row[3]] == [(20, 0, 20_000, 4, 1)]
    assert [row[4] for row in found if row[2]] == [1, 2, 3, None]


def test_a_benefit_gets_other_amount_fields_from_a_date(folder: Path) -> None:
    version(folder, KTH, "2024-01-15", (";0014;", ";0014,0048;"))
    found = weeks("K3", load(folder), Felt0048="10,00")
    assert [row[0] for row in found] == [100_000, 100_000, 101_000]


def test_the_first_version_holds_for_claims_older_than_it(folder: Path) -> None:
    late = "LATE;2024-01-15;Ny ydelse;;A;refusion;trappe;0014;2016-01-04;5.57.73;x;x;2026-01-01;x\n"
    append(folder, "ydelser.csv", late)
    change(folder, "konti.csv", "urn:oio:kommune:konto:557731007;KTH;", "urn:oio:kommune:konto:557731007;LATE;")
    assert weeks("K2", load(folder)) == [(100_000, 80, 80_000, 0, 1, 1), (100_000, 80, 80_000, 0, 2, 1)]


@pytest.mark.parametrize(("fra", "first"), [("2024-01-08", 1), ("2024-01-09", 2), ("2024-01-14", 2), ("2024-01-15", 2)])
def test_the_staircase_of_the_monday_decides(folder: Path, fra: str, first: int) -> None:
    append(folder, "trapper.toml", staircase("refusion", fra, {1: 90, 2: 85, 3: 10, 4: 0, 5: 100}))
    percentages = [90, 85, 10, 0]
    expected = [(80, 1)] * first + [(percentages[n], n + 1) for n in range(first, 4)]
    assert [(row[1], row[5]) for row in weeks("K4", load(folder))] == expected


def test_a_staircase_of_one_step_and_one_of_seven(folder: Path) -> None:
    append(folder, "trapper.toml", staircase("refusion", "2024-01-15", {1: 25}))
    append(folder, "trapper.toml", staircase("medfinansiering", "2024-01-15", {n: 10 * n for n in range(1, 8)}))
    found = weeks("K3 D1", load(folder))
    assert [(row[1], row[5]) for row in found] == [(80, 1), (80, 1), (25, 1), (40, 4)]
    later = weeks("D9", load(folder), date(2024, 2, 5))
    # the cut week of 26 February comes twice: four days and three
    assert [row[5] for row in later] == [1, 2, 3, 4, 4, 5, 6, 7, 7, 7]
    assert later[6] == (100_000, 60, 0, 60_000, 6, 6)


def test_some_benefits_move_to_a_new_staircase_from_a_date_and_the_rest_stay(folder: Path) -> None:
    append(folder, "trapper.toml", staircase("ny", "2024-01-08", {1: 11, 3: 22}))
    version(folder, KTH, "2024-01-08", (";trappe;", ";trappe ny;"))
    found = weeks("K3 D1", load(folder))
    assert [(row[1], row[4], row[5]) for row in found] == [(80, 1, 1), (11, 2, 1), (22, 3, 2), (20, 4, 1)]


def test_a_benefit_that_changes_side_is_told_on_the_side_of_each_week(tmp_path: Path) -> None:
    root = few_kommuner(tmp_path)
    version(root.rules, KTH, "2024-01-15", (";refusion;", ";medfinansiering;"))
    rows = [timeline.row("K", START + timedelta(weeks=w), START + timedelta(weeks=w, days=6), w + 1) for w in range(3)]
    write_file(root.path, timeline.fil("K", rows, "2024-01"))
    write_register(root.path, "bopael", "2024-01", HOME)
    root.run("2024-01")
    told = [(row["Uge"], row["Refusionssats"], row["Refusionsbeløb"], row["Medfinansieringssats"],
             row["Medfinansieringsbeløb"]) for row in read(root, "beregning")]  # fmt: skip
    assert told == [
        ("2024-01-01", "80,00", "800,00", "0,00", "0,00"),
        ("2024-01-08", "80,00", "800,00", "0,00", "0,00"),
        ("2024-01-15", "0,00", "0,00", "20,00", "200,00"),
    ]
    stated = [(row["Transaktionstype"], row["Sats"], row["Beløb i alt"]) for row in read(root, "opgoerelse")]
    assert stated == [("MEDFINANSIERING", "20,00", "200,00"), ("REFUSION", "80,00", "1600,00")]


def read(root: DataRoot, kind: str) -> list[dict[str, str]]:
    """The rows of the file of a kind for municipality 169."""
    data = next(data for name, data in root.files("2024-01").items() if f"-{kind}-169-" in name)
    return list(csv.DictReader(io.StringIO(data.decode("utf-8")), delimiter=";"))
