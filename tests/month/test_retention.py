"""Only what the rules let go is deleted, and what is left proves what was there."""

import re
import shutil
from datetime import date
from pathlib import Path

import duckdb
import pytest

from refusion_assets.domain.operations.opbevaring import FOR_EVER, is_due
from refusion_assets.domain.stop import Stop
from refusion_assets.runs.retention import delete, told
from tests.conftest import DataRoot, Example
from tests.kit.data_root import RULES

FIRST, LATER = "2024-02", date(2030, 1, 1)


def kept(folder: Path, **years: int) -> Path:
    """The rules with other periods."""
    rules = Path(shutil.copytree(RULES, folder / "regler"))
    path = rules / "opbevaring.toml"
    text = path.read_text("utf-8")
    for slag, aar in years.items():
        text = re.sub(rf'(slag = "{slag}"\n)(aar = 0\n)?', rf"\1aar = {aar}\n", text)
    path.write_text(text, "utf-8")
    return rules


@pytest.fixture
def root(example: Example, tmp_path: Path) -> DataRoot:
    return DataRoot(example.root.copy(tmp_path).path, kept(tmp_path, udgaaende=5, oversigter=5))


@pytest.mark.parametrize(("today", "gone"), [(date(2029, 12, 31), False), (date(2030, 1, 1), True)])
def test_the_years_are_counted_from_the_end_of_the_year_of_the_run(today: date, gone: bool) -> None:
    assert is_due(date(2024, 2, 1), 5, today) == gone
    assert not is_due(date(2024, 2, 1), 0, today)


@pytest.mark.parametrize(("slag", "aar"), [*((slag, 10) for slag in FOR_EVER), ("udgaaende", 4), ("udgaaende", -1)])
def test_a_period_that_could_change_a_result_or_is_too_short_is_refused(tmp_path: Path, slag: str, aar: int) -> None:
    root = DataRoot(tmp_path, kept(tmp_path, **{slag: aar}))
    ran = root.refusion("regler")
    assert (ran.code, f"opbevaring.toml, {slag}" in ran.err) == (1, True)


def test_as_the_rules_are_shipped_nothing_is_deleted_and_their_version_is_the_same(
    root: DataRoot, example: Example
) -> None:
    lines, files = told(example.root.place, date(2099, 1, 1))
    assert files == 0
    assert {line.partition(":")[0] for line in lines} >= {*FOR_EVER, "udgaaende"}
    assert root.place.rules.version == example.root.place.rules.version
    ran = root.refusion("slet", "--efter-reglerne", "--ja")
    assert (ran.code, "intet er slettet" in ran.out) == (0, True)
    assert root.refusion("slet").code == 2


def test_what_is_deleted_leaves_its_sums_and_the_rest_can_still_be_inspected(root: DataRoot) -> None:
    ledger, folder = root.ledger(), root.path / "udgaaende" / FIRST
    lines, files = told(root.place, LATER)
    assert files == len(root.files(FIRST)) + len(root.files("2024-03")) - 2 + 4
    assert any(line.startswith(f"udgaaende {FIRST}: ") for line in lines)
    assert root.ledger() == ledger
    assert len(list(delete(root.place, LATER, print))) == 4
    assert [path.name for path in folder.iterdir()] == ["SHA256SUMS"]
    assert root.files("2024-04")
    assert root.ledger() == ledger
    ran = root.refusion("efterse")
    assert (ran.code, ran.out.count("filerne er slettet efter reglerne 2030-01-01")) == (0, 2)
    assert list(delete(root.place, LATER, print)) == []
    assert root.refusion("luk", "2024-04", "--ja").code == 0
    assert root.refusion("efterse").code == 0
    with duckdb.connect(str(root.place.warehouse.path)) as connection:
        connection.execute("DELETE FROM opgoerelse.slettet WHERE nr = 1")
    ran = root.refusion("efterse")
    assert "listen over sletninger er ændret" in ran.out


def test_a_file_that_differs_from_what_was_sent_is_not_deleted(root: DataRoot) -> None:
    path = min((root.path / "udgaaende" / FIRST).glob("*-beregning-*"))
    path.write_text("andet\n", "utf-8")
    with pytest.raises(Stop, match=path.name):
        list(delete(root.place, LATER, print))
    assert root.files("2024-03")


def test_a_deletion_that_was_killed_is_done_by_the_next(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink, seen = Path.unlink, []

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.is_relative_to(root.path / "udgaaende"):
            seen.append(path)
        if len(seen) == 5:
            raise KeyboardInterrupt
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            list(delete(root.place, LATER, print))
    assert root.refusion("efterse").code == 0
    list(delete(root.place, LATER, print))
    assert [path.name for path in (root.path / "udgaaende" / FIRST).iterdir()] == ["SHA256SUMS"]
    assert root.rows("SELECT count(*), count(DISTINCT (slag, maaned)) FROM opgoerelse.slettet") == [(4, 4)]
