"""Odd things in place of our own files and folders: each is named at once, and nothing waits for it or removes it."""

import errno
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from refusion_assets.domain.stop import Stop, of_the_system
from refusion_assets.files.arrivals import kept
from refusion_assets.place import FOLDERS, Place, environment, refuse_odd, unforeseen
from refusion_assets.rulebook.load import RuleError, load
from tests.conftest import DataRoot
from tests.kit.data_root import RULES

Make = Callable[[Path], object]


def of_a_socket(path: Path) -> None:
    """A socket at a path of any length."""
    before = Path.cwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(before)


KINDS: dict[str, tuple[Make, str]] = {
    "a pipe": (os.mkfifo, "er et rør (FIFO)"),
    "a socket": (of_a_socket, "er en sokkel"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "er en enhed"),
    "a link to nothing": (lambda path: path.symlink_to("findes-ikke"), "er et link, der ikke peger på noget"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "er et link, der peger på sig selv"),
    "a link to a pipe": (
        lambda path: (os.mkfifo(path.with_name("rør")), path.symlink_to("rør")),
        "er et rør (FIFO)",
    ),
}
A_FOLDER = (lambda path: path.mkdir(), "er en mappe og ikke en fil")
A_FILE = (lambda path: path.touch(), "er en fil og ikke en mappe")
FILES = [
    *("lager/ydelsesrefusion.duckdb", "lager/ydelsesrefusion.duckdb.wal", "lager/kommando.laas"),
    *("udgivet/ydelsesrefusion.duckdb", "udgaaende/2024-02/SHA256SUMS", "opslag/opslag.jsonl"),
    *("tavle/leverancer.json", "alarm.toml"),
]
CASES = [
    *((place, kind, *case) for place in (*FOLDERS, *FILES) for kind, case in KINDS.items()),
    *((place, "a folder", *A_FOLDER) for place in FILES),
    *((place, "a file", *A_FILE) for place in FOLDERS),
]


@pytest.mark.parametrize(("place", "kind", "make", "said"), CASES, ids=[f"{c[1]} for {c[0]}" for c in CASES])
def test_whatever_is_in_the_way_is_named_before_anything_is_opened(
    tmp_path: Path, place: str, kind: str, make: Make, said: str
) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)
    named = path.with_name("rør") if kind == "a link to a pipe" and path.parent != tmp_path else path
    with pytest.raises(Stop) as stop:
        refuse_odd(tmp_path)
    assert any(f"{one} {said}" in str(stop.value) for one in (path, named)), str(stop.value)
    assert os.path.lexists(path)


def test_links_to_folders_and_files_elsewhere_are_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "disk" / "x.duckdb").touch()
    for name in FOLDERS:
        (tmp_path / "root" / name).symlink_to(tmp_path / "disk")
    refuse_odd(tmp_path / "root")


@pytest.mark.parametrize("make", [os.mkfifo, of_a_socket, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("name", ["trapper.toml", "kommuner.csv", "mere.toml"])
def test_a_pipe_among_the_rules_is_named_and_not_waited_for(tmp_path: Path, name: str, make: Make) -> None:
    rules = Path(shutil.copytree(RULES, tmp_path / "rules"))
    (rules / name).unlink(missing_ok=True)
    make(rules / name)
    with pytest.raises(RuleError, match=f"{name}: er et rør, en sokkel eller en enhed"):
        load(rules)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_dagster_that_are_no_file_are_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "dagster").mkdir()
    KINDS[kind][0](tmp_path / "dagster" / "dagster.yaml")
    with pytest.raises(Stop, match=r"dagster\.yaml er"):
        environment(Place(tmp_path, RULES))


def test_every_command_names_a_pipe_in_place_of_the_warehouse_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "raw" / "ky").mkdir(parents=True)
    (tmp_path / "lager").mkdir()
    os.mkfifo(tmp_path / "lager" / "ydelsesrefusion.duckdb")
    asked = ("forklar", "6110512470", "2024-01", "--formaal", "klage, sag 24-1234")
    for command in (("status",), ("koer", "2024-02"), asked, ("luk", "2024-02", "--ja"), ("genberegn",), ("regler",)):
        ran = DataRoot(tmp_path).refusion(*command)
        assert (ran.code, ran.err.count("\n"), "er et rør (FIFO)" in ran.err) == (1, 1, True), command


def test_the_board_s_proofs_are_made_anew_where_their_file_is_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "tavle").mkdir()
    os.mkfifo(tmp_path / "tavle" / "leverancer.json")
    assert kept(tmp_path) == {}


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        ("EACCES", "adgang"),
        ("EROFS", "kun læses"),
        ("EIO", "undersøgt"),
        ("EMFILE", "åbne filer"),
        ("EXDEV", "ret det"),
    ],
)
def test_a_refusal_of_the_system_names_the_path_and_what_to_do(number: str, remedy: str) -> None:
    said = of_the_system(OSError(getattr(errno, number), "ord", "/rod/lager/x"))
    assert ("/rod/lager/x" in said, remedy in said, said.endswith("og kør igen")) == (True, True, True)


@pytest.mark.parametrize(("said", "remedy"), [("Permission denied", "adgang"), ("Read-only file system", "kun læses")])
def test_a_refusal_that_duckdb_tells_in_its_own_words_is_told_as_the_system_s(said: str, remedy: str) -> None:
    error = RuntimeError(f'Failed to commit: Cannot open file "/rod/lager/y.duckdb.wal": {said}')
    told = unforeseen(error)
    assert (f"systemet siger {said}: /rod/lager/y.duckdb.wal" in told, remedy in told) == (True, True)
    assert "uventet fejl" in unforeseen(caught(ValueError("hul")))


def caught(error: Exception) -> Exception:
    """An error as it is when somebody has caught it."""
    try:
        raise error
    except type(error) as found:
        return found


def test_a_folder_that_may_not_be_read_is_named_itself_and_not_as_a_thing_in_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "udgaaende" / "2024-02"
    folder.mkdir(parents=True)
    seen = Path.stat

    def stat(path: Path, **how: bool) -> os.stat_result:
        if path.name == "SHA256SUMS":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return seen(path, **how)

    with mock.patch.object(Path, "stat", stat), pytest.raises(PermissionError) as said:
        refuse_odd(tmp_path)
    assert said.value.filename == str(folder)
