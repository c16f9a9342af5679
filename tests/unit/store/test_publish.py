"""The copy for analysts: the live file's bytes, at the cost of what has changed, and never under a reader."""

from pathlib import Path
from unittest import mock

import duckdb
import pytest

from refusion_assets.domain.stop import Stop
from refusion_assets.store import publish, session
from refusion_assets.store.session import Warehouse

BLOCK = 262_144


def change(live: Path, *statements: str) -> None:
    with duckdb.connect(str(live)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def live(tmp_path: Path) -> Path:
    path = tmp_path / "levende.duckdb"
    change(path, "CREATE TABLE t AS SELECT range AS i, hash(range) AS h FROM range(2_000_000)")
    return path


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return tmp_path / "udgivet" / "kopi.duckdb"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of every write of `store.publish`, in order."""
    sizes: list[int] = []
    write = publish._write

    def counted(source: object, target: object, first: int, after: int) -> None:
        sizes.append(after - first)
        write(source, target, first, after)  # type: ignore[arg-type]

    monkeypatch.setattr(publish, "_write", counted)
    return sizes


def test_the_copy_has_the_bytes_of_the_live_file_after_every_change(live: Path, published: Path) -> None:
    changes = [
        "INSERT INTO t SELECT range, 7 FROM range(300_000)",
        "DELETE FROM t WHERE i % 10 = 3",
        "UPDATE t SET h = 1 WHERE i = 1_999_999",
        "CREATE TABLE u AS FROM t LIMIT 10",
        "DROP TABLE t",
    ]
    for statement in ["SELECT 1", *changes]:
        change(live, statement)
        publish.copy_changed(live, published)
        assert published.read_bytes() == live.read_bytes(), statement


def test_what_is_written_follows_the_change_and_not_the_file(live: Path, published: Path, written: list[int]) -> None:
    for _ in range(2):
        publish.copy_changed(live, published)
    assert not written  # there is nothing to build upon yet
    change(live, "UPDATE t SET h = 1 WHERE i = 5")
    publish.copy_changed(live, published)
    assert 0 < sum(written) < live.stat().st_size // 2
    assert published.read_bytes() == live.read_bytes()


def test_a_reader_keeps_the_copy_it_has_open_however_often_a_new_one_is_published(live: Path, published: Path) -> None:
    publish.copy_changed(live, published)
    with duckdb.connect(str(published), read_only=True) as reader:
        for number in range(4):
            change(live, f"UPDATE t SET h = {number}")
            publish.copy_changed(live, published)
            assert reader.execute("SELECT count(*) FROM t WHERE h = hash(i)").fetchone() == (2_000_000,)
        assert published.read_bytes() == live.read_bytes()


def test_a_copy_that_was_being_written_when_the_process_ended_is_not_built_upon(live: Path, published: Path) -> None:
    for _ in range(2):
        publish.copy_changed(live, published)
    torn = bytearray(live.read_bytes())
    torn[publish.HEADERS + 100 : publish.HEADERS + 200] = bytes(100)  # under a check sum that is right
    published.with_suffix(".forrige").unlink()
    published.with_suffix(".ny").write_bytes(torn)
    publish.copy_changed(live, published)
    assert published.read_bytes() == live.read_bytes()


def test_a_file_of_other_blocks_is_copied_whole(tmp_path: Path, live: Path, published: Path) -> None:
    small = tmp_path / "smaa.duckdb"
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{small}' AS s (BLOCK_SIZE 16384)")
        connection.execute("CREATE TABLE s.t AS SELECT range AS i FROM range(500_000)")
    for source in (live, live, small, small, live):
        publish.copy_changed(source, published)
        assert published.read_bytes() == source.read_bytes()


def test_the_block_size_is_read_from_the_file_and_not_taken_for_granted(tmp_path: Path, live: Path) -> None:
    other = tmp_path / "tekst.duckdb"
    other.write_bytes(bytes(publish.HEADERS))
    with live.open("rb") as file, other.open("rb") as text:
        assert publish._block_size(file) == BLOCK
        assert publish._block_size(text) == 0


def test_a_file_that_must_not_be_written_is_told_with_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = mock.MagicMock()
    refused = duckdb.IOException('IO Error: Cannot open file "x": Read-only file system')
    engine.return_value.cursor.return_value.__enter__.return_value.execute.side_effect = refused
    monkeypatch.setattr(session, "_engine", engine)
    warehouse = Warehouse(tmp_path)
    with (
        pytest.raises(Stop, match=f"systemet siger Read-only file system: {warehouse.path}; ret det"),
        warehouse.open(),
    ):
        pass
