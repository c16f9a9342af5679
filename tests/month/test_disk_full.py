"""Where the disk is full: exit code 0 if and only if the files stand there, one line, and the run can be made again."""

import errno
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from refusion_assets.assets import opgoerelse, outgoing
from refusion_assets.cli import _reason
from refusion_assets.domain.stop import Stop
from refusion_assets.files import outgoing as files
from refusion_assets.store import events
from refusion_assets.store.session import Session
from tests.conftest import DataRoot
from tests.month.test_histories import few_kommuner
from tests.month.test_month_stops import deliver

MONTH = "2024-03"
NO_SPACE = OSError(errno.ENOSPC, "No space left on device", "/disk")
OF_DUCKDB = duckdb.IOException("IO Error: Could not write file: No space left on device")
OF_SQLITE = sqlite3.OperationalError("database or disk is full")
Place = tuple[object, str, Callable[[Any, Any], Any]]


def always(error: Exception) -> Callable[[Any, Any], Any]:
    """What raises instead of doing what was asked."""

    def refuse(*_: object, **__: object) -> None:
        raise error

    return lambda _plain, _root: refuse


def when_shown(error: Exception) -> Callable[[Any, Any], Any]:
    """What raises once the month's files are in sight."""

    def patched(plain: Callable[..., Any], root: DataRoot) -> Callable[..., Any]:
        def store(*arguments: object, **named: object) -> Any:
            if root.files(MONTH):
                raise error
            return plain(*arguments, **named)

        return store

    return patched


def into(table: str, error: Exception) -> Callable[[Any, Any], Any]:
    """What raises when rows are put in a table."""

    def patched(plain: Callable[..., Any], _root: DataRoot) -> Callable[..., Any]:
        def insert(self: Session, name: str, *arguments: object) -> Any:
            if name == table:
                raise error
            return plain(self, name, *arguments)

        return insert

    return patched


STEPS: dict[str, tuple[Place, int]] = {
    "the lines are stored": ((Session, "insert", into("raw.indberetning", OF_DUCKDB)), 1),
    "the ledger is made": ((opgoerelse, "settle_month", always(OF_DUCKDB)), 1),
    "a file is written": ((files, "_write", always(NO_SPACE)), 1),
    "the files are put in sight": ((files.Outgoing, "show", always(NO_SPACE)), 1),
    "the run is opened": ((outgoing, "record", always(OF_DUCKDB)), 1),
    "the copy is published": ((outgoing, "publish", always(NO_SPACE)), 0),
    "the log is written after the files": ((events.Haendelseslog, "store_event", when_shown(OF_SQLITE)), 0),
    "the log is written before the files": ((events.Haendelseslog, "store_event", always(OF_SQLITE)), 1),
}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A root of few municipalities with 2024-02 run and 2024-03 delivered."""
    root = few_kommuner(tmp_path_factory.mktemp("fuld"))
    for month in ("2024-02", MONTH):
        deliver(root.path, month)
    root.koer("2024-02")
    return root


@pytest.fixture(scope="module")
def whole(before: DataRoot, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A copy of that root with 2024-03 run, on a disk with room."""
    root = before.copy(tmp_path_factory.mktemp("plads"))
    root.koer(MONTH)
    return root


@pytest.mark.parametrize("step", STEPS)
def test_exit_code_0_means_that_the_files_stand_there_whichever_step_finds_the_disk_full(
    step: str, before: DataRoot, whole: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = before.copy(tmp_path)
    (where, name, patched), code = STEPS[step]
    with monkeypatch.context() as patch:
        patch.setattr(where, name, patched(getattr(where, name), root))
        ran = root.refusion("koer", MONTH)
    assert ran.code == code, ran.err
    assert "uventet" not in ran.err + ran.out
    if code:
        assert "disken er fuld" in ran.err
        assert (ran.err.count("STOPPET"), root.files(MONTH)) == (1, {})
        (root.koer if where is events.Haendelseslog else root.run)(MONTH)
    else:
        assert "Bemærk" in ran.out
    assert root.files(MONTH) == whole.files(MONTH) != {}


@pytest.mark.parametrize("times", [1, 10_000], ids=["once", "for good"])
def test_a_log_that_fails_late_in_the_first_of_several_parts_leaves_all_that_was_asked_for_or_nothing(
    times: int, before: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, left = before.copy(tmp_path), [times]
    plain = events.Haendelseslog.store_event

    def store(*arguments: Any) -> None:
        if left[0] and root.files(MONTH):
            left[0] -= 1
            raise OF_SQLITE
        plain(*arguments)

    first, held, *others = root.place.rules.koder
    with monkeypatch.context() as patch:
        patch.setattr(events.Haendelseslog, "store_event", store)
        ran = root.refusion("koer", MONTH, "--undtagen", held, "--begrundelse", "venter på svar")
    kommuner = {name.split("-")[3] for name in root.files(MONTH) if name.endswith(".csv")} - {"000"}
    assert (ran.code, kommuner) == ((0, {first, *others}) if times == 1 else (1, set())), ran.err


def test_a_table_that_dagster_misses_is_a_full_disk_where_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = sqlite3.OperationalError("no such table: runs")
    with pytest.raises(Stop, match="er beskadiget"), events.readable(tmp_path):
        raise lost
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(Stop, match="kan ikke skrives, da disken er fuld; gør plads"), events.readable(tmp_path):
        raise lost


def test_a_command_that_only_copies_says_in_danish_that_the_disk_is_full() -> None:
    assert _reason(OSError(errno.ENOSPC, "No space left on device")) == "disken er fuld; gør plads"
    assert "systemet siger Permission denied: x" in _reason(OSError(errno.EACCES, "Permission denied", "x"))


@pytest.mark.parametrize(
    ("spill", "said"), [("", "hukommelsen slap op; luk andre programmer"), ("spild", "disken er fuld; gør plads")]
)
def test_a_question_that_needs_more_than_there_is_says_in_danish_of_what(tmp_path: Path, spill: str, said: str) -> None:
    many = "CREATE TABLE t AS SELECT md5(i::VARCHAR) AS tekst FROM range(3000000) r(i) ORDER BY 1"
    with duckdb.connect() as connection:
        connection.execute(f"SET temp_directory = '{tmp_path / spill if spill else ''}'; SET memory_limit = '60MB'")
        connection.execute("SET max_temp_directory_size = '1MB'")
        with pytest.raises(duckdb.OutOfMemoryException) as caught:
            connection.execute(many)
    assert _reason(caught.value).startswith(said)


def test_a_process_that_gets_no_memory_says_so() -> None:
    assert _reason(MemoryError()).startswith("hukommelsen slap op")
