"""`refusion deling` as the owners meet it, without a data root: tables, files, other parties, refused agreements."""

import csv
import io
import re
import shutil
from pathlib import Path

import pytest

from refusion_assets.rulebook.load import agreements, load, prices
from tests.conftest import DataRoot
from tests.kit.data_root import REPO, RULES, read_csv


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return DataRoot(tmp_path / "data")


def edited(folder: Path, old: str, new: str) -> DataRoot:
    """A data root under rules with another text in the file of agreements."""
    rules = Path(shutil.copytree(RULES, folder / "regler"))
    text = (rules / "deling.toml").read_text("utf-8")
    assert old in text
    (rules / "deling.toml").write_text(text.replace(old, new, 1), "utf-8")
    return DataRoot(folder / "data", rules)


def oere(text: str) -> int:
    return int(text.replace(",", "").replace(".", "").removesuffix(" kr"))


def test_the_first_agreement_is_shown_without_a_name_and_the_others_are_named(root: DataRoot) -> None:
    ran = root.refusion("deling")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("egen-loesning: ")
    assert "Andre aftaler" in ran.out
    assert "faelles-budget" in ran.out
    assert re.search(r"^  I alt +9\.800\.000,00 kr\.", ran.out, re.MULTILINE)
    assert "Andre aftaler" not in root.refusion("deling", "mulighed-1").out


def test_the_bills_in_the_file_sum_to_the_total_and_the_plot_lies_beside_it(root: DataRoot, tmp_path: Path) -> None:
    ran = root.refusion("deling", "faelles-budget", "--udtraek", "--til", str(tmp_path / "ud"))
    assert ran.code == 0, ran.err
    rows = read_csv(tmp_path / "ud" / "deling-faelles-budget.csv")
    assert sum(oere(row["Andel"]) for row in rows) == 519150000
    assert {row["Part"]: row["Andel"] for row in rows}["751"] == "710011,03"
    assert (tmp_path / "ud" / "deling-faelles-budget.svg").read_text("utf-8").startswith("<?xml")
    assert not (root.path / "faelles").exists()


def test_more_or_fewer_parties_are_shown_before_and_after_and_as_a_file(root: DataRoot, tmp_path: Path) -> None:
    ran = root.refusion("deling", "--med", "101,147", "--udtraek", "--til", str(tmp_path))
    assert ran.code == 0, ran.err
    rows = list(
        csv.DictReader(io.StringIO((tmp_path / "deling-egen-loesning-aendring.csv").read_text()), delimiter=";")
    )
    paid = {row["Part"]: row for row in rows}
    assert len(paid) == 98
    assert sum(oere(row["Efter"]) for row in rows if row["Efter"]) == sum(oere(row["Før"]) for row in rows) == 980000000
    assert paid["860"]["Efter"] == ""
    assert sum(oere(row["Forskel"]) for row in rows) == 0


def test_the_hours_of_a_thousand_inhabitants_have_two_decimals(root: DataRoot) -> None:
    assert re.search(r"Små 26 +10\.057 +21 timer +22 timer +2,09 timer", root.refusion("deling", "mulighed-1").out)


def test_one_out_and_one_in_are_named_without_the_rest(root: DataRoot) -> None:
    ran = root.refusion("deling", "faelles-budget", "--uden", "741", "--ogsaa", "101")
    assert ran.code == 0, ran.err
    assert re.search(r"741 +Samsø +6\.787,46 kr\. +ikke med +-6\.787,46 kr\.", ran.out)
    assert re.search(r"101 +København +ikke med +\d", ran.out)
    assert re.search(r"I alt +5\.191\.500,00 kr\. +5\.191\.500,00 kr\. +0,00 kr\.", ran.out)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("ukendt",), 1, "STOPPET: der er ingen aftale med id 'ukendt'"),
        (("--med", "101", "--uden", "147"), 2, "--med nævner alle"),
        (("--med", "999"), 1, "'999': findes ikke i kommuner.csv"),
        (("--med", "x"), 2, "'x' er ikke en kommunekode"),
        (("faelles-budget", "--uden", "101"), 1, "101 er ikke med i aftalen"),
        (("faelles-budget", "--ogsaa", "101,741"), 1, "741 er allerede med i aftalen faelles-budget, så ingen kommer"),
        (("--med", ""), 2, "skriv mindst een kommune"),
        (("--ogsaa", ","), 2, "skriv mindst een kommune"),
        (("--udtraek", "--til", "/proc/q"), 1, "/proc/q findes ikke og kan ikke laves dér; vælg en sti"),
        (("--til", "."), 2, "--til hører til --udtraek"),
        (("--udtraek",), 1, "STOPPET: dataroden"),
        (("egen-loesning-forbrug",), 1, "der er ikke målt nogen"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused_in_one_line(
    root: DataRoot, words: tuple[str, ...], code: int, said: str
) -> None:
    ran = root.refusion("deling", *words)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert "uventet fejl" not in ran.err


WRONG = {
    "a total that is a number": ('total = "9.800.000,00"', "total = 9800000", "er ikke en tekst"),
    "an unknown key": ('enhed = "kroner"', 'enheder = "kroner"', "ukendt nøgle enheder"),
    "an unknown unit": ('enhed = "kroner"', 'enhed = "euro"', "er ikke en af kroner, timer"),
    "a number that is no whole one": (
        "procent = 40",
        "procent = 40.5",
        "post 2 (egen-loesning-forbrug): poster: nr. 2: procent = 40.5: er ikke et",
    ),
    "an empty list": ('noegle = "lige"', 'noegle = "lige"\nklasser = []', "klasser: er en tom liste"),
    "an unknown way": ('noegle = "indbyggere"', 'noegle = "hoveder"', "er ikke en af indbyggere"),
    "posts that are less than the total": ('beloeb = "1.960.000,00"', 'beloeb = "1.950.000"', "1.000.000 øre mindre"),
    "a name twice": ('id = "egen-loesning-forbrug"', 'id = "egen-loesning"', "står to gange"),
    "another topic": ("[[aftale]]", "[[andet]]\n\n[[aftale]]", "ukendt emne"),
}


@pytest.mark.parametrize(("old", "new", "said"), WRONG.values(), ids=WRONG)
def test_a_file_of_agreements_that_cannot_stand_is_refused_by_the_command_and_with_the_rules(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    root = edited(tmp_path, old, new)
    for command in ("deling", "regler"):
        ran = root.refusion(command)
        assert ran.code == 1
        assert re.match(rf"STOPPET: deling\.toml, .*{re.escape(said)}", ran.err), ran.err


def test_an_agreement_and_a_price_are_no_part_of_the_version_of_the_rules(tmp_path: Path) -> None:
    root = edited(tmp_path, "9.800.000,00", "9.800.000,00")
    for name in ("deling.toml", "driftspris.toml"):
        (root.rules / name).unlink()
    assert load(root.rules).version == load(RULES).version
    assert (agreements(root.rules, load(root.rules)), prices(root.rules)) == ((), ())
    assert "deling.toml har ingen aftaler" in root.refusion("deling").err


def test_the_plot_and_the_tables_in_the_guide_are_what_the_program_makes(root: DataRoot, tmp_path: Path) -> None:
    name, guide = "deling-egen-loesning.svg", REPO / "docs" / "faelles"
    assert root.refusion("deling", "--udtraek", "--til", str(tmp_path)).code == 0
    assert (tmp_path / name).read_text("utf-8") == (guide / name).read_text("utf-8")
    text = (guide / "deling.md").read_text("utf-8")
    for aftale, lines in (("mulighed-1", 9), ("faelles-budget", 9)):
        assert "\n".join(root.refusion("deling", aftale).out.splitlines()[:lines]) in text
