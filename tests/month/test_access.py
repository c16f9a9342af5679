"""A citizen gets everything about himself and nothing about anybody else, and the access is logged."""

import io
import json
import os
from pathlib import Path

import pytest

from tests.conftest import DataRoot, Example, Ran


def asked(root: DataRoot, cpr: str, til: Path, monkeypatch: pytest.MonkeyPatch) -> Ran:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{cpr}\n"))
    return root.refusion("indsigt", "--cpr", "-", "--formaal", "indsigt, sag 24-1234", "--til", str(til))


def test_access_gives_one_persons_rows_of_every_table_and_nobody_elses(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, til = example.root.copy(tmp_path), tmp_path / "indsigt"
    people = dict(root.rows("SELECT cpr, borger_id FROM identitet.borger"))
    [(borger,)] = root.rows("SELECT borger_id FROM opgoerelse.postering GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1")
    cpr = next(number for number, known in people.items() if known == borger)
    for number in range(2):
        ran = asked(root, cpr, til / str(number), monkeypatch)
        assert (ran.code, ran.err) == (0, ""), ran.err
        assert cpr not in ran.out
    folder = til / "1"
    text = "".join(path.read_text("utf-8") for path in folder.iterdir())
    assert cpr in text
    assert [other for other in people if other != cpr and other in text] == []
    told = json.loads((folder / "indsigt.json").read_text("utf-8"))
    for table in ("opgoerelse.postering", "classified.linje", "refusion.borger_uge_ydelse"):
        [(rows,)] = root.rows(f"SELECT count(*) FROM {table} WHERE borger_id = {borger}")
        assert len(told[table]) == rows > 0, table
    [(rows,)] = root.rows(f"SELECT count(*) FROM raw.indberetning WHERE CPR = '{cpr}'")
    assert len(told["raw.indberetning"]) >= rows > 0
    assert [entry["opslag"] for entry in told["opslag"]] == ["indsigt", "indsigt"]
    assert {path.stat().st_mode & 0o077 for path in [folder, *folder.iterdir()]} == {0}
    assert cpr not in (root.path / "opslag" / "opslag.jsonl").read_text("utf-8")
    assert "er ikke tom" in asked(root, cpr, folder, monkeypatch).err
    assert "i dataroden" in asked(root, cpr, root.path / "x", monkeypatch).err


def test_an_unknown_number_and_a_number_in_the_command_are_refused(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, til = example.root.copy(tmp_path), tmp_path / "indsigt"
    unknown = "6101010000"
    ran = asked(root, unknown, til, monkeypatch)
    assert (ran.code, "ikke i lageret" in ran.err, unknown in ran.err) == (1, True, False)
    assert json.loads((root.path / "opslag" / "opslag.jsonl").read_text("utf-8"))["fundet"] is False
    ran = root.refusion("indsigt", "--cpr", unknown, "--formaal", "indsigt, sag 24-1234", "--til", str(til))
    assert (ran.code, unknown in ran.err) == (2, False)
    assert not os.path.lexists(til)
