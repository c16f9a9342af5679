"""The warehouse under a key: nothing can be read on the disk without it, and each mistake is one clear line."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from refusion_assets.domain.stop import Stop
from refusion_assets.store import key as keys
from refusion_assets.store.publish import publish
from refusion_assets.store.session import SPILL, Warehouse

KEY, OTHER = "en lang 'laas' til en proeve", "en anden lang laas"
MARK = "KENDETEGN-" * 40
WRITE = "CREATE TABLE maerke AS SELECT $t AS tekst"


@pytest.fixture
def locked() -> Iterator[None]:
    """A key in the environment."""
    with mock.patch.dict(os.environ, {keys.SAID: KEY}):
        yield


def marked(warehouse: Warehouse) -> None:
    with warehouse.open() as session:
        session.connection.execute(WRITE, {"t": MARK})


def holds(root: Path, text: str) -> list[str]:
    return [path.name for path in root.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def read(warehouse: Warehouse) -> object:
    with warehouse.watching() as session:
        return session.value("SELECT tekst FROM maerke")


@pytest.mark.usefixtures("locked")
def test_what_is_written_under_a_key_is_read_with_it_and_is_nowhere_on_the_disk(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    marked(warehouse)
    assert read(warehouse) == MARK
    with warehouse.alone():
        pass
    assert read(warehouse) == MARK
    assert holds(tmp_path, MARK[:20]) == []


def test_without_a_key_it_is_there_to_be_read(tmp_path: Path) -> None:
    marked(Warehouse(tmp_path))
    assert holds(tmp_path, MARK[:20])


def test_a_wrong_key_no_key_and_a_key_for_a_plain_file_are_told_in_one_line(tmp_path: Path) -> None:
    plain, locked = Warehouse(tmp_path / "plain"), Warehouse(tmp_path / "locked")
    marked(plain)
    with mock.patch.dict(os.environ, {keys.SAID: KEY}):
        marked(locked)
        with pytest.raises(Stop, match=r"er ikke krypteret.*refusion krypter"):
            read(plain)
    with mock.patch.dict(os.environ, {keys.SAID: OTHER}), pytest.raises(Stop, match="nøglen passer ikke"):
        read(locked)
    with pytest.raises(Stop, match="er krypteret, og der er ingen nøgle"):
        read(locked)


def test_a_plain_file_is_made_anew_under_a_key_with_all_its_rows(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    marked(warehouse)
    with pytest.raises(Stop, match="ingen nøgle"):
        warehouse.encrypt()
    with mock.patch.dict(os.environ, {keys.SAID: KEY}):
        warehouse.encrypt()
        assert read(warehouse) == MARK
        with warehouse.open() as session:
            session.connection.execute("INSERT INTO maerke VALUES ('mere')")
        warehouse.encrypt()
        with warehouse.watching() as session:
            assert session.count("maerke") == len((MARK, "mere"))
    with mock.patch.dict(os.environ, {keys.SAID: OTHER}), pytest.raises(Stop, match="nøglen passer ikke"):
        warehouse.encrypt()
    assert holds(tmp_path, MARK[:20]) == []


@pytest.mark.usefixtures("locked")
def test_a_published_state_is_locked_too_and_a_package_taken_of_it_is_plain_as_it_is_sealed_whole(
    tmp_path: Path,
) -> None:
    country, package = Warehouse(tmp_path / "land"), Warehouse(tmp_path / "pakke")
    with country.open() as session:
        session.run(f"INSERT INTO kontrol.accept VALUES ('2024-02-01', 'FIL-006', 'ky-169', '{MARK}')")
    publish(country)
    told = "SELECT begrundelse FROM kontrol.accept"
    with country.reading() as session:
        assert session.value(told) == MARK
    with country.extracting(package) as session:
        session.run("INSERT INTO kontrol.accept SELECT * FROM landet.kontrol.accept")
    with package.reading() as session:
        assert session.value(told) == MARK
    assert holds(tmp_path / "pakke", MARK[:20])
    assert holds(tmp_path / "land", MARK[:20]) == []
    with mock.patch.dict(os.environ):
        del os.environ[keys.SAID]
        with pytest.raises(Stop, match="der er ingen nøgle"), country.reading() as session:
            session.value(told)


def in_file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(("mode", "stops"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_file_with_the_key_is_for_one_account(tmp_path: Path, mode: int, *, stops: bool) -> None:
    path = in_file(tmp_path / "noegle", f"{KEY}\n", mode)
    with mock.patch.dict(os.environ, {keys.FILE: str(path)}):
        if stops:
            with pytest.raises(Stop, match="chmod 600"):
                keys.key_of(tmp_path / "data")
        else:
            assert keys.key_of(tmp_path / "data") == KEY


@pytest.mark.parametrize(("text", "stops"), [("x" * 16, False), ("x" * 15, True), (" " * 20, True), ("", True)])
def test_a_key_has_sixteen_characters(tmp_path: Path, text: str, *, stops: bool) -> None:
    for variable, value in ((keys.SAID, text), (keys.FILE, str(in_file(tmp_path / "noegle", text)))):
        with mock.patch.dict(os.environ, {variable: value}):
            if stops:
                with pytest.raises(Stop, match="under 16 tegn"):
                    keys.key_of(tmp_path / "data")
            else:
                assert keys.key_of(tmp_path / "data") == text


@pytest.mark.parametrize("text", ["nøglen til det hele", "a" * 16 + "\\x41", "a" * 9 + "\n" + "b" * 9])
def test_a_key_has_only_signs_that_every_tool_takes(tmp_path: Path, text: str) -> None:
    with mock.patch.dict(os.environ, {keys.SAID: text}), pytest.raises(Stop, match="almindelige tegn") as stopped:
        keys.key_of(tmp_path)
    assert text not in str(stopped.value)


def test_the_key_lies_outside_the_root_is_named_once_and_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(in_file(tmp_path / "data" / "noegle", KEY))
    for path, why in (("data/noegle", "dataroden"), ("link", "dataroden"), ("borte", "kan ikke læses")):
        with mock.patch.dict(os.environ, {keys.FILE: str(tmp_path / path)}), pytest.raises(Stop, match=why):
            keys.key_of(tmp_path / "data")
    with mock.patch.dict(os.environ, {keys.FILE: "x", keys.SAID: KEY}), pytest.raises(Stop, match="både"):
        keys.key_of(tmp_path)


@pytest.mark.usefixtures("locked")
def test_without_the_extension_nothing_is_written_and_the_package_is_named(tmp_path: Path) -> None:
    with mock.patch.object(keys, "find_spec", return_value=None), pytest.raises(Stop, match="duckdb-extension-httpfs"):
        marked(Warehouse(tmp_path))
    assert not Warehouse(tmp_path).path.exists()


@pytest.mark.parametrize("key", [None, KEY])
def test_what_spills_lies_in_the_warehouse_for_one_account_and_goes_with_the_session(
    tmp_path: Path, key: str | None
) -> None:
    warehouse = Warehouse(tmp_path)
    with mock.patch.dict(os.environ, {keys.SAID: key} if key else {}), warehouse.open() as session:
        session.connection.execute("SET memory_limit = '60MB'")
        session.connection.execute("SET threads = 1")
        query = "SELECT range AS x, concat('KENDETEGN-', hash(range), hash(range + 1)) AS y FROM range(1200000)"
        session.temp("stor", query)
        (folder,) = warehouse.path.parent.glob(f"{SPILL}-*")
        spilled = list(folder.iterdir())
        assert spilled
        assert folder.stat().st_mode & 0o077 == 0
        assert [path for path in spilled if path.stat().st_mode & 0o077] == []
        assert bool(holds(folder, "KENDETEGN-")) == (key is None)
    assert list(warehouse.path.parent.glob(f"{SPILL}-*")) == []


def test_the_spill_of_a_killed_process_is_taken_away_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.path.parent.mkdir()
    dead, living = (warehouse.path.parent / f"{SPILL}-{pid}-1" for pid in (2**22 + 1, os.getppid()))
    for folder in (dead, living):
        folder.mkdir()
        (folder / "duckdb_temp_storage-0.tmp").write_text("x")
    with warehouse.open():
        assert not dead.exists()
        assert living.exists()


def test_the_key_is_in_no_argument_and_no_message(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    with mock.patch.dict(os.environ, {keys.SAID: KEY}):
        marked(warehouse)
        assert KEY not in " ".join(sys.argv)
    with mock.patch.dict(os.environ, {keys.SAID: "x" * 10_000}), pytest.raises(Stop) as stopped:
        read(warehouse)
    assert "xxx" not in str(stopped.value)
