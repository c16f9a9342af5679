"""The statement of a month: beside the files, the same in the terminal, the UI and as JSON, and gone when they are."""

import io
import json
import re
from pathlib import Path

import pytest

from refusion_assets.assets.findings.statement import WITHDRAWN, causes, stated
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.findings.statement import WIDTH
from tests.conftest import MONTHS, DataRoot, Example
from tests.kit.data_root import REPO

PERSON = re.compile(r"(?<!\d)\d{6}-?\d{4}(?!\d)")


def kept(root: DataRoot, month: str) -> dict[str, str]:
    """The statement of a month as it is kept, by the ending of its file."""
    return {path.suffix: path.read_text("utf-8") for path in root.place.statements.glob(f"{month}.*")}


@pytest.fixture(scope="module")
def before(example: Example, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A copy of the example, only to be copied."""
    return example.root.copy(tmp_path_factory.mktemp("foer"))


@pytest.mark.parametrize("month", MONTHS)
def test_the_causes_of_a_run_sum_to_its_corrections_and_name_each_person_once(example: Example, month: str) -> None:
    with example.root.place.warehouse.reading() as session:
        found = causes(session, example.root.place.rules, month_of(month))
        said = stated(session, example.root.place, month_of(month))
    [corrections] = [post.oere for post in said.poster if post.navn.startswith("Heraf rettelser")]
    assert sum(one.oere for one in found) == corrections
    assert bool(found) == (month != MONTHS[0])
    assert len({one.aarsag for one in found}) == len(found)


def test_the_statement_is_kept_beside_the_files_as_text_and_json_and_the_terminal_says_the_same(
    example: Example,
) -> None:
    for number, month in enumerate(MONTHS):
        both = kept(example.root, month)
        assert set(both) == {".txt", ".json"}
        told = json.loads(both[".json"])
        assert (told["maaned"], told["tilstand"], told["kommuner"]) == (month, "rigtig", 98)
        assert [post["sidste_maaned"] is None for post in told["poster"]] == [number == 0] * 3
        terminal = "".join(example.said[month].out.partition("Kørsel")[1:])
        assert both[".txt"].split() == terminal.replace(f"{example.root.path}/", "").split()
        assert max(map(len, both[".txt"].splitlines())) <= WIDTH
        assert [text for text in both.values() if PERSON.search(text)] == []


@pytest.mark.parametrize("page", ["README.md", "docs/drift.md"])
def test_the_statement_of_the_documents_is_the_one_that_the_example_gives(example: Example, page: str) -> None:
    [block] = re.findall(r"```\n([^`]*?Kørsel 2024-03 er rigtig.*?)```", (REPO / page).read_text("utf-8"), re.DOTALL)
    shown = [line for line in block.splitlines() if not re.match(r"\S*:|  (Filer|Det hele):|\$", line)]
    assert [line for line in shown if line not in example.said["2024-03"].out.splitlines()] == []


def test_a_month_run_again_says_the_same_and_one_that_stops_says_only_why(before: DataRoot, tmp_path: Path) -> None:
    root, month = before.copy(tmp_path), MONTHS[-1]
    first = kept(root, month)
    again = root.refusion("koer", month, "--json")
    assert (again.code, again.err) == (0, "")
    assert kept(root, month) == first
    told = json.loads(first[".json"]) | {"filer": str(root.place.outgoing / month)}
    assert json.loads(again.out) == {"koersler": [told]}
    manifest = next((root.path / "raw" / "ky" / month).glob("*.manifest.json"))
    manifest.unlink()
    stopped = root.refusion("koer", month, "--json")
    assert stopped.code == 1
    reason = stopped.err.removeprefix("STOPPET: ").strip()
    [told] = json.loads(stopped.out)["koersler"]
    assert (told["maaned"], told["tilstand"], told["grund"]) == (month, "stoppet", reason)
    assert told["bemaerkninger"] == [WITHDRAWN]
    said = f"Kørsel {month} er STOPPET: {reason} Bemærk: {WITHDRAWN}"
    assert kept(root, month)[".txt"].split() == said.split()
    status = root.refusion("status").out.splitlines()
    assert f"Kørsel {month} er STOPPET (det hele står i oversigt/{month}.txt): {reason}" in status
    assert json.loads(kept(root, month)[".json"]) == told
    assert root.files(month) == {}


def test_quiet_says_one_line_and_a_refusal_leaves_the_statement_as_it_was(before: DataRoot, tmp_path: Path) -> None:
    root, month = before.copy(tmp_path), MONTHS[-1]
    ran = root.refusion("koer", month, "--stille")
    assert (ran.code, ran.out.count("\n")) == (0, 1)
    assert ran.out.startswith(f"Kørsel {month} er rigtig og opgjort: 98 kommuner, ")
    here = kept(root, month)
    for command in (("koer", MONTHS[0]), ("koer", "2024-07")):
        refused = root.refusion(*command, "--stille")
        assert (refused.code, refused.out) == (1, "")
    assert kept(root, month) == here
    assert kept(root, "2024-07") == {}


def test_a_municipality_that_is_held_back_is_left_out_of_both_months_that_are_compared(
    before: DataRoot, tmp_path: Path
) -> None:
    root, month = before.copy(tmp_path), MONTHS[-1]
    mine = "FROM opgoerelse.kommune JOIN opgoerelse.koersel USING (koersel) WHERE maaned = $m"
    largest = f"SELECT kommunekode, refusion_oere {mine} ORDER BY abs(refusion_oere) DESC LIMIT 1"
    with root.place.warehouse.open() as session:
        [(held, oere)] = session.frame(largest, m=month_of(MONTHS[-2])).rows()
        every = session.integer(f"SELECT sum(refusion_oere) {mine}", m=month_of(MONTHS[-2]))
        session.run(
            "DELETE FROM opgoerelse.kommune WHERE kommunekode = $k AND koersel = (SELECT max(koersel) "
            "FROM opgoerelse.koersel)",
            k=held,
        )
        [refusion, *_] = stated(session, root.place, month_of(month)).poster
    assert oere
    assert refusion.sidste_maaned
    assert refusion.sidste_maaned.oere == every - oere


def test_a_statement_that_cannot_be_written_takes_nothing_back(before: DataRoot, tmp_path: Path) -> None:
    root, month = before.copy(tmp_path), MONTHS[-1]
    files = root.files(month)

    (root.place.statements / f".{month}.txt").mkdir()
    ran = root.koer(month)
    assert "er rigtig og opgjort" in ran.out
    assert "Bemærk: oversigten kunne ikke skrives" in ran.out
    assert root.files(month) == files
    assert kept(root, month) == {}


def test_closing_says_what_it_closes_and_asks(
    before: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, month = before.copy(tmp_path), MONTHS[-1]
    told = json.loads(kept(root, month)[".json"])
    for said, closed in (("nej", False), ("", False), ("ja", True)):
        monkeypatch.setattr("sys.stdin", Answer(said))
        monkeypatch.setattr("click.termui.visible_prompt_func", lambda _, said=said: said)
        ran = root.refusion("luk", month)
        assert (ran.code, f"Kørsel {month} er lukket." in ran.out) == (0, closed)
        assert ("Intet er ændret." in ran.out) == (not closed)
        assert f"Kørsel {month} med regler {told['regelversion']} lukkes; det kan ikke gøres om" in ran.out
        assert str(root.place.outgoing / month) in ran.out
    assert root.rows("SELECT status FROM opgoerelse.koersel ORDER BY maaned")[-1] == ("lukket",)
    assert "allerede lukket" in root.refusion("luk", month, "--ja").err


@pytest.mark.parametrize("stdin", ["none", "no terminal"])
def test_closing_in_a_script_asks_nobody(
    before: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stdin: str
) -> None:
    root, month = before.copy(tmp_path), MONTHS[-1]
    monkeypatch.setattr("sys.stdin", None if stdin == "none" else io.StringIO())
    ran = root.refusion("luk", month)
    assert (ran.code, f"Kørsel {month} er lukket." in ran.out) == (0, True)


class Answer:
    """A terminal that somebody types at."""

    def __init__(self, said: str) -> None:
        """With this answer."""
        self.said = said

    def isatty(self) -> bool:
        """It is one."""
        return True
