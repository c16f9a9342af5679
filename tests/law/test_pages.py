"""The law pages: approved by a person, complete, and standing on functions, tests and cases that are there."""

import dataclasses
import difflib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from refusion_assets.domain.stop import Stop
from refusion_assets.law_pages import page as laesning
from refusion_assets.law_pages.page import front, page, pages, topics_of, write
from refusion_assets.law_pages.proof import cites, funktion, of_topic, proeve_link, users, worked
from refusion_assets.law_pages.topics import PAGES, Emne, Vej, read_emner
from refusion_assets.rulebook.load import TOPICS, RuleError, load
from tests.conftest import DataRoot
from tests.kit.data_root import REPO, RULES

EMNER = read_emner()
ASK = """
Lovsiderne i docs/regler er ikke længere det, reglerne, koden og prøverne siger.
Kør `make regelsider`, læs forskellen sammen med juristen, og gem siderne sammen med ændringen af reglerne.

"""


def difference() -> str:
    """What stands in docs/regler against what the rules, the code and the tests make of it, as one diff."""
    made = pages(RULES)
    stands = {path.name: path.read_text("utf-8") for path in PAGES.glob("*.md")}
    lines: list[str] = []
    for name in sorted({*made, *stands}):
        before, after = (text.get(name, "").splitlines(keepends=True) for text in (stands, made))
        lines += difflib.unified_diff(before, after, f"docs/regler/{name} (godkendt)", f"docs/regler/{name} (nu)", n=1)
    return "".join(lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the rules to change."""
    return Path(shutil.copytree(RULES, tmp_path / "rules"))


def changed(folder: Path, file: str, old: str, new: str) -> Path:
    """The folder with one place of one file changed."""
    text = (folder / file).read_text("utf-8")
    assert old in text
    (folder / file).chmod(0o644)
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    return folder


def emne(fil: str, **changes: Any) -> Emne:
    """What is written about one file, with changes."""
    return replace(EMNER.of_file(fil), **changes)


def trappe(name: str, fra: str, first: int) -> str:
    """A staircase of two steps from a date on."""
    steps = [f"{{ fra_uge = {uge}, procent = {procent}, hjemmel = '§ 5, stk. 2, nr. {nr}' }}"
             for nr, (uge, procent) in enumerate([(1, first), (5, 40)], 1)]  # fmt: skip
    cited = "hjemmel = '§ 5, stk. 2'\nkilde = 'x'\nkontrolleret = 2026-01-01\nsikkerhed = 'set i lovteksten'\n"
    return f"[[trappe]]\nid = '{name}'\ngaelder_fra = {fra}\ntrin = [{', '.join(steps)}]\n{cited}"


def staircases(folder: Path, *blocks: str) -> Path:
    """The folder with these staircases, and one for medfinansiering."""
    (folder / "trapper.toml").chmod(0o644)
    text = "\n".join([*blocks, trappe("medfinansiering", "2016-01-04", 20)])
    (folder / "trapper.toml").write_text(text, encoding="utf-8")
    return folder


# --- approval -----------------------------------------------------------------------------------------------


def test_the_law_pages_are_the_ones_that_were_approved() -> None:
    found = difference()
    assert found == "", ASK + found


def test_a_changed_percentage_changes_the_page_of_its_file_and_no_other(folder: Path) -> None:
    before = pages(staircases(folder, trappe("refusion", "2016-01-04", 80)))
    after = pages(staircases(folder, trappe("refusion", "2016-01-04", 85)))
    assert [name for name in before if before[name] != after[name]] == ["trapper.md"]
    assert "| 1 | 80 · § 5, stk. 2, nr. 1 |" in before["trapper.md"]
    assert "| 1 | 85 · § 5, stk. 2, nr. 1 |" in after["trapper.md"]


def test_a_later_staircase_stands_beside_the_one_before_also_where_a_step_is_new(folder: Path) -> None:
    later = trappe("refusion", "2027-07-01", 75).replace("fra_uge = 5", "fra_uge = 9")
    found = pages(staircases(folder, later, trappe("refusion", "2016-01-04", 80)))["trapper.md"]
    assert "| Fra uge | Gælder fra 2016-01-04: procent · hjemmel | Gælder fra 2027-07-01: procent · hjemmel |" in found
    assert "| 1 | 80 · § 5, stk. 2, nr. 1 | 75 · § 5, stk. 2, nr. 1 |" in found
    assert "| 5 | 40 · § 5, stk. 2, nr. 2 |  |\n| 9 |  | 40 · § 5, stk. 2, nr. 2 |" in found


def test_a_later_version_of_a_benefit_stands_below_the_one_before(folder: Path) -> None:
    row = next(line for line in (folder / "ydelser.csv").read_text("utf-8").splitlines() if line.startswith("KTH;"))
    (folder / "ydelser.csv").chmod(0o644)
    with (folder / "ydelser.csv").open("a", encoding="utf-8") as file:
        file.write(row.replace(";2014-07-01;", ";2027-07-01;", 1) + "\n")
    lines = [line for line in pages(folder)["ydelser.md"].splitlines() if line.startswith("| ")]
    place = next(number for number, line in enumerate(lines) if line.startswith("| KTH | 2014-07-01 |"))
    assert lines[place + 1].startswith("| KTH | 2027-07-01 | Kontanthjælp |")


def test_the_pages_are_the_same_bytes_each_time_and_what_is_no_longer_a_page_goes_away(tmp_path: Path) -> None:
    (tmp_path / "gammel.md").write_text("gone")
    written = write(RULES, tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert write(RULES, tmp_path) == written == sorted(first)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first


def test_the_command_writes_the_pages_of_its_rules(tmp_path: Path, folder: Path) -> None:
    changed(folder, "optaelling.toml", "uger = 52", "uger = 40")
    ran = DataRoot(tmp_path / "root", folder).refusion("regler", "--sider", str(tmp_path / "sider"))
    assert (ran.code, ran.err) == (0, "")
    assert "| 2014-07-01 | 40 | 3 |" in (tmp_path / "sider" / "optaelling.md").read_text("utf-8")


# --- nothing is left out ------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", sorted(TOPICS))
def test_every_topic_of_the_rules_has_a_page(topic: str) -> None:
    assert EMNER.of_file(TOPICS[topic][0]).titel


def test_every_page_is_about_a_file_of_a_topic_and_no_file_has_two() -> None:
    assert sorted(e.fil for e in EMNER.sider) == sorted({file for file, _ in TOPICS.values()})


def test_a_topic_that_may_be_left_out_has_a_page_without_entries(folder: Path) -> None:
    (folder / "kilder.toml").unlink()
    text = page(EMNER.of_file("kilder.toml"), EMNER, folder)
    assert "\n\nIngen poster i dag.\n\n" in text
    assert "(../../rules/kilder.toml)" not in text


def test_a_file_without_a_page_is_refused_by_name() -> None:
    with pytest.raises(Stop, match=r"rules/nye\.toml har ingen side"):
        EMNER.of_file("nye.toml")


def test_every_worked_case_with_a_paragraph_of_a_page_stands_on_one() -> None:
    shown = {case["id"] for e in EMNER.sider for cases in of_topic(e).values() for case in cases}
    known = {case["id"] for cases in worked().values() for case in cases}
    assert known - shown == set()


def test_what_is_left_out_stands_on_the_page_it_belongs_to() -> None:
    left_out = [record["hjemmel"] for record in topics_of(RULES, "ikke_modelleret.toml")["ikke_modelleret"]]
    told = {hjemmel for e in EMNER.sider for hjemmel in e.ikke_modelleret}
    assert told == set(left_out)


def test_every_reading_stands_on_a_page_beside_its_own() -> None:
    named = {name for e in EMNER.sider for name in e.laesninger}
    assert named == {entry.navn for entry in load(RULES).laesninger}


def test_every_page_but_that_of_what_is_left_out_shows_code_and_tests() -> None:
    bare = [e.fil for e in EMNER.sider if not e.proever or not e.funktioner]
    assert bare == ["ikke_modelleret.toml"]


def test_every_bound_is_asked_for_by_somebody() -> None:
    bounds = {entry.id.partition(":")[0] for entry in load(RULES).graenser}
    assert {name for kind, name in users() if kind == "graense"} == bounds


def test_every_link_of_the_pages_leads_to_a_file() -> None:
    targets = {
        part.partition(")")[0].partition("#")[0] for text in pages(RULES).values() for part in text.split("](")[1:]
    }
    inside = {target for target in targets if not target.startswith(("http", "../vejledning/"))}
    assert {"README.md", "../../rules/trapper.toml"} <= inside
    assert [target for target in sorted(inside) if not (PAGES / target).exists()] == []


# --- what a page names must be there ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["refusion_assets.domain.refusion.rates:make_rate", "refusion_assets.domain.sats:make_rates", "make_rates"]
)
def test_a_function_that_is_gone_is_refused_by_name(name: str) -> None:
    with pytest.raises(Stop, match=f"{name} findes ikke"):
        funktion(name)


def test_a_function_that_names_no_paragraph_is_refused() -> None:
    with pytest.raises(Stop, match="siger ikke sin hjemmel"):
        funktion("refusion_assets.domain.calendar:monday")


def test_a_function_is_shown_in_its_own_words_with_its_paragraphs_apart() -> None:
    found = funktion("refusion_assets.domain.calendar:years_before")
    assert found.ord == "The same date so many years earlier; 29 February becomes 28 February."
    assert (found.hjemmel, found.anden) == ("§ 6, stk. 1", False)
    assert funktion("refusion_assets.domain.efterregning.money:rate").anden


def test_a_test_that_is_gone_is_refused_by_name() -> None:
    with pytest.raises(Stop, match="test_nothing findes ikke"):
        proeve_link("tests/unit/domain/test_calendar.py::test_nothing", "docs/regler/emner.toml")


def test_a_case_that_is_gone_is_refused_by_name() -> None:
    with pytest.raises(Stop, match="T99 findes ikke"):
        of_topic(emne("trapper.toml", eksempler=["T99"]))


@pytest.mark.parametrize(
    ("vej", "named"),
    [
        (Vej(spoergsmaal="x", side="trapper", vejledning="ny.md"), "vejledningen ny.md findes ikke"),
        (Vej(spoergsmaal="x", side="stiger"), "siden stiger findes ikke"),
    ],
)
def test_a_way_to_a_guide_or_a_page_that_is_gone_is_refused_by_name(vej: Vej, named: str) -> None:
    with pytest.raises(Stop, match=named):
        front(replace(EMNER, veje=[vej]))


@pytest.mark.parametrize(
    ("text", "paragraf", "named"),
    [("§ 6, stk. 1", "§ 6", True), ("§ 60", "§ 6", False), ("§ 5, stk. 2, nr. 1", "§ 5, stk. 2", True)],
)
def test_a_case_belongs_where_its_paragraph_does(text: str, paragraf: str, named: bool) -> None:
    assert cites(text, paragraf) is named


def test_a_reading_without_a_case_is_refused_and_one_that_only_tests_show_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = topics_of(RULES, "laesninger.toml")["laesning"][0]
    monkeypatch.setattr(laesning, "reading_cases", list)
    with pytest.raises(Stop, match="uge_beroert har intet eksempel"):
        laesning.reading(entry)
    test = "tests/unit/domain/test_calendar.py::test_a_week_that_ends_with_its_month_is_one_cell"
    case = {"id": "L99", "laesning": "uge_beroert", "navn": "x", "kilde": "y", "proever": [test]}
    monkeypatch.setattr(laesning, "reading_cases", lambda: [case])
    assert "Vist ved prøverne nedenfor.\n\nPrøver, der viser begge værdier:\n\n- [`test_a_week" in laesning.reading(
        entry
    )


# --- what a page says of dates ------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [e.fil for e in EMNER.sider if "koden vælger ikke efter den" in e.datoen])
def test_where_a_page_says_that_the_date_decides_nothing_a_second_date_is_refused(folder: Path, file: str) -> None:
    topic = next(topic for topic in reversed(TOPICS) if TOPICS[topic][0] == file)
    block = f"[[{topic}]]" + (folder / file).read_text("utf-8").split(f"[[{topic}]]")[1].partition("\n[[")[0]
    assert "gaelder_fra = 201" in block
    later = block.replace("gaelder_fra = 201", "gaelder_fra = 203")
    changed(folder, file, block, f"{block}\n{later}\n")
    with pytest.raises(RuleError, match="to gange"):
        load(folder)


def test_doubts_name_entries_that_are_not_seen_in_the_law_and_accounts_that_nobody_has_seen() -> None:
    text = page(EMNER.of_file("ydelser.csv"), EMNER, RULES).partition("## Tvivl")[2]
    assert "Uddannelseshjælp" in text
    assert "- *nummer er læsning*: Uddannelseshjælp; Ledighedsydelse" in text
    unseen = page(EMNER.of_file("kontering.toml"), EMNER, RULES).partition("## Tvivl")[2]
    assert "`verificeret = false`" in unseen
    assert "5.57.71 refusion 010" not in unseen


def test_what_people_write_about_a_page_is_all_there_is() -> None:
    assert {field.name for field in dataclasses.fields(Emne)} >= {"fil", "titel", "regulerer", "datoen", "laest"}
    assert (REPO / "docs" / "regler" / "emner.toml").read_text("utf-8").count("[[side]]") == len(EMNER.sider) + 1
