"""The how-to pages do what they say: their diff, their reports and their numbers through the real pipeline."""

from pathlib import Path

import pytest

from tests.conftest import DataRoot
from tests.kit.data_root import REPO
from tests.kit.how_to import PAGES, STATE, Page, squeezed
from tests.month.test_histories import few_kommuner

NAMES = sorted(path.stem for path in PAGES.glob("[0-9]-*.md"))
RELOAD = "5-genindlaes-alt"
LEDGER = "SELECT * FROM opgoerelse.postering ORDER BY ALL"


def followed(name: str, folder: Path) -> tuple[Page, DataRoot]:
    """A page followed by the letter: its rules, and its reports delivered; nothing is run yet."""
    page, root = Page.read(name), few_kommuner(folder)
    page.apply(folder)
    page.deliver(root, root.place.rules)
    return page, root


def state(root: DataRoot, page: Page) -> list[tuple[object, ...]]:
    """The rows of the months that the page speaks of."""
    months = sorted({str(row[1])[:7] for row in page.expected})
    chosen = ", ".join(f"'{month}'" for month in months)
    return sorted(root.rows(f"{STATE} WHERE strftime(maaned, '%Y-%m') IN ({chosen})"))


def test_there_is_a_page_for_each_change_that_the_contract_names_and_the_index_has_them_all() -> None:
    index = (PAGES / "README.md").read_text("utf-8")
    assert [name[0] for name in NAMES] == ["1", "2", "3", "4", "5"]
    assert all(f"({name}.md)" in index for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_followed_by_the_letter_gives_the_numbers_it_has_worked_out(name: str, tmp_path: Path) -> None:
    page, root = followed(name, tmp_path)
    proved = root.refusion("regler")
    assert (proved.code, proved.err) == (0, "")
    *earlier, last = page.months
    for month in earlier:
        root.run(month)
    said = squeezed(proved.out + root.koer(last).out)
    assert state(root, page) == page.expected
    assert root.rows("SELECT bestaaet FROM kontrol.resultat WHERE kontrol = 'efterregning_enig'") == [(True,)]
    shown = [line.strip() for block in page.fenced("text") for line in squeezed(block).splitlines()]
    assert shown
    assert [line for line in shown if line not in said] == []


def test_what_a_change_would_cost_is_what_the_page_has_worked_out(tmp_path: Path) -> None:
    page, after = followed("3-aendret-trappe", tmp_path / "efter")
    root = few_kommuner(tmp_path / "foer")
    page.deliver(root, root.place.rules)
    *earlier, last = page.months
    for month in earlier:
        root.run(month)
    root.koer(last)
    assert [row[-2] for row in state(root, page)] == [80] * len(page.expected), "before the change all is 80 per cent"
    ran = root.refusion("konsekvens", "--regler", str(after.rules), "2027-02..2027-03")
    assert (ran.code, ran.err) == (0, "")
    [printed] = page.fenced("console")
    assert [line for line in printed.splitlines()[1:] if line not in squeezed(ran.out)] == []


def test_a_diff_whose_surroundings_are_not_there_is_refused(tmp_path: Path) -> None:
    root = few_kommuner(tmp_path)
    path = root.rules / "ydelser.csv"
    path.chmod(0o644)
    path.write_text(path.read_text("utf-8").replace("Kontanthjælp;", "Noget andet;"), encoding="utf-8")
    with pytest.raises(Exception, match="git"):
        Page.read("1-ny-ydelse").apply(tmp_path)


def test_a_reload_gives_the_same_as_the_months_run_one_by_one(tmp_path: Path) -> None:
    page, root = followed(RELOAD, tmp_path)
    for month in page.months:
        root.run(month)
    before = state(root, page), root.rows(LEDGER)
    files = {month: root.files(month) for month in page.months}
    reloaded = root.refusion("genindlaes")
    assert (reloaded.code, reloaded.err) == (0, "")
    assert (state(root, page), root.rows(LEDGER)) == before
    assert before[0] == page.expected
    assert {month: root.files(month) for month in page.months} == files
    assert all(files.values())
    [*_, printed] = page.fenced("console")
    assert [line for line in printed.splitlines()[1:] if line not in reloaded.out] == []


def test_a_page_names_only_commands_that_there_are() -> None:
    commands = {"regler", "konsekvens", "koer", "genindlaes", "luk", "genberegn"}
    for name in (*NAMES, "README"):
        for line in (PAGES / f"{name}.md").read_text("utf-8").splitlines():
            if ".venv/bin/refusion " in line:
                assert line.split(".venv/bin/refusion ")[1].split()[0].strip("`.,") in commands
    assert (REPO / "docs" / "konsekvens.md").exists()
