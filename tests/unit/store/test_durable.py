"""What was written is on the disk before anybody is shown it: files, then the names in their folders."""

import os
from pathlib import Path

import pytest

from refusion_assets.files.outgoing import Outgoing
from refusion_assets.store import durable


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is asked of the system, in order: the files that are flushed, and the renames."""
    told: list[tuple[str, str]] = []
    rename = os.rename

    def renamed(old: Path, new: Path) -> None:
        told.append(("rename", Path(new).name))
        rename(old, new)

    monkeypatch.setattr(durable, "flush", lambda path: told.append(("flush", Path(path).name)))
    monkeypatch.setattr(os, "rename", renamed)
    monkeypatch.setattr(os, "replace", renamed)
    return told


def test_outgoing_files_and_their_folder_are_on_the_disk_before_they_are_shown(
    tmp_path: Path, asked: list[tuple[str, str]]
) -> None:
    outgoing = Outgoing.begun(tmp_path / "2024-02")
    for name in ("a.csv", "SHA256SUMS"):
        (outgoing.ready / name).write_text("x")
    outgoing.show()
    shown = asked.index(("rename", "2024-02"))
    assert {("flush", "a.csv"), ("flush", "SHA256SUMS"), ("flush", outgoing.ready.name)} <= set(asked[:shown])
    assert asked[shown + 1 :] == [("flush", tmp_path.name)]


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_another(
    tmp_path: Path, asked: list[tuple[str, str]]
) -> None:
    durable.write(tmp_path / "tilstand.json", "ny")
    assert asked == [("flush", "tilstand.json.ny"), ("rename", "tilstand.json"), ("flush", tmp_path.name)]
