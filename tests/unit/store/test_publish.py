"""A state that is published: its files hold what the warehouse holds, at the cost of what has changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from unittest import mock

import duckdb
import pytest

from refusion_assets.domain.stop import Stop
from refusion_assets.store import publish, session, state
from refusion_assets.store.session import Warehouse
from refusion_assets.store.tables import PARTS, TABLES

RUN = "INSERT INTO opgoerelse.koersel VALUES ($n, DATE '2024-01-01', 'åben', 'r', 'f')"
ROWS = """INSERT INTO opgoerelse.postering SELECT DATE '2024-01-01', DATE '2024-01-01', i, 'KTH', '101', 'N', 100, 100,
    80, 0, 80, NULL, NULL, NULL, $n, NULL, '§', 'r' FROM range(10) r(i)"""


LEDGER_SUM = "SELECT sum(refusion_oere) FROM opgoerelse.postering"
FEWEST_STEPS = 20


def add(warehouse: Warehouse, number: int) -> None:
    """A run with ten ledger rows of 80 øre."""
    with warehouse.open() as session:
        session.run(RUN, n=number)
        session.run(ROWS, n=number)


def of_two_runs(folder: Path) -> Warehouse:
    """A warehouse of two runs, published."""
    made = Warehouse(folder / "rod")
    for number in (1, 2):
        add(made, number)
    publish.publish(made)
    return made


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return of_two_runs(tmp_path)


def files(warehouse: Warehouse) -> dict[str, int]:
    """Every file of both folders of states, with its inode."""
    return {
        str(path.relative_to(warehouse.root)): path.stat().st_ino
        for path in warehouse.root.rglob("*.parquet")
    }  # fmt: skip


def seen(warehouse: Warehouse) -> tuple[int, int]:
    """The runs and the sum of the ledger that a reader sees."""
    with warehouse.reading() as session:
        return session.count("opgoerelse.koersel"), session.integer(
            "SELECT sum(refusion_oere) FROM opgoerelse.postering"
        )


def of_analysts(warehouse: Warehouse) -> tuple[int, ...]:
    """The same as an analyst sees it."""
    with duckdb.connect(str(warehouse.published), read_only=True) as connection:
        row = connection.sql(
            "SELECT (SELECT count(*) FROM opgoerelse.koersel), (SELECT sum(refusion_oere) FROM opgoerelse.postering)"
        ).fetchone()
    assert row is not None
    return tuple(map(int, row))


def test_readers_and_analysts_see_the_rows_of_the_warehouse(warehouse: Warehouse) -> None:
    assert seen(warehouse) == of_analysts(warehouse) == (2, 1600)


def test_every_table_is_read_from_a_state_as_it_is_in_the_warehouse(warehouse: Warehouse) -> None:
    with warehouse.watching() as live, warehouse.reading() as read:
        for table in TABLES:
            query = f"SELECT column_name, column_type FROM (DESCRIBE {table})"
            assert read.frame(query).rows() == live.frame(query).rows()
            assert read.content(table) == live.content(table)


def test_only_the_tables_that_changed_are_written(warehouse: Warehouse) -> None:
    before = files(warehouse)
    add(warehouse, 3)
    publish.publish(warehouse)
    fresh = {path.split("/")[2] for path, inode in files(warehouse).items() if before.get(path) != inode}
    assert (fresh, seen(warehouse)) == ({"opgoerelse.koersel", "opgoerelse.postering"}, (3, 2400))


def test_a_publishing_that_changes_nothing_keeps_the_state_before(warehouse: Warehouse) -> None:
    add(warehouse, 3)
    publish.publish(warehouse)
    kept = state.State.read(warehouse.root, state.BEFORE)
    inodes = files(warehouse)
    publish.publish(warehouse)
    assert (state.State.read(warehouse.root, state.BEFORE), files(warehouse)) == (kept, inodes)


@pytest.mark.parametrize("column", ["refusion_oere", "hjemmel", "trin", "uge"])
def test_a_change_of_one_value_is_published(warehouse: Warehouse, column: str) -> None:
    values = {"refusion_oere": "81", "hjemmel": "'§ 2'", "trin": "1", "uge": "DATE '2024-01-08'"}
    with warehouse.open() as session:
        session.run(f"UPDATE opgoerelse.postering SET {column} = {values[column]} WHERE borger_id = 3 AND koersel = 1")
    publish.publish(warehouse)
    with warehouse.watching() as live, warehouse.reading() as read:
        assert read.content("opgoerelse.postering") == live.content("opgoerelse.postering")


def test_a_large_table_is_cut_and_only_the_part_of_a_run_is_written(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "CUT_FROM", 5)
    publish.publish(warehouse)
    before = files(warehouse)
    add(warehouse, 3)
    publish.publish(warehouse)
    fresh = [Path(path).name[:4] for path in files(warehouse).keys() - before.keys() if "postering" in path]
    assert (fresh, seen(warehouse)) == (["0003"], (3, 2400))


def test_a_state_is_behind_from_a_write_or_a_kill_until_a_publishing_comes_to_its_end(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warehouse.open() as session:
        session.count("opgoerelse.koersel")
    assert not publish.is_behind(warehouse)
    add(warehouse, 3)
    assert publish.is_behind(warehouse)
    with monkeypatch.context() as killed:
        killed.setattr(publish, "show_to_analysts", mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            publish.publish(warehouse)
    assert publish.is_behind(warehouse)
    publish.publish(warehouse)
    assert not publish.is_behind(warehouse)
    os.utime(warehouse.path, (0, 0))  # written with a clock that was set back
    assert publish.is_behind(warehouse)


@pytest.mark.parametrize(("mode", "files", "folders"), [(0o700, 0, 0), (0o2750, 0o040, 0o2050)])
def test_a_group_that_was_let_in_reads_what_is_published_and_no_other_account_does(
    warehouse: Warehouse, mode: int, files: int, folders: int
) -> None:
    warehouse.published.parent.chmod(mode)
    add(warehouse, 3)
    publish.publish(warehouse)
    every = list(warehouse.published.parent.rglob("*"))
    assert {path.stat().st_mode & 0o7077 for path in every if path.is_file()} == {files}
    assert {path.stat().st_mode & 0o7077 for path in every if path.is_dir()} == {folders}
    assert {path.stat().st_mode & 0o077 for path in (warehouse.root / state.READING).rglob("*")} == {0}


def of_forty(folder: Path, table: str) -> Warehouse:
    """A warehouse with forty rows of a table, in as many parts as they can lie in."""
    warehouse = Warehouse(folder)
    kinds = {"DATE": "DATE '2024-01-31' + i::INT", "BIGINT": "i * 100", "VARCHAR": "i::VARCHAR", "BOOLEAN": "true"}
    with warehouse.open() as session:
        session.run("""INSERT INTO raw.fil SELECT i * 100, i, '', '', '', DATE '2024-01-01' + to_months(i::INT), 1,
            '', 1, NULL, false, DATE '2024-01-01', '' FROM range(40) r(i)""")
        values = ", ".join(kinds.get(kind, "NULL") for kind in publish.types_of(table).values())
        session.run(f"INSERT INTO {table} SELECT {values} FROM range(40) r(i)")
    return warehouse


@pytest.mark.parametrize("table", PARTS)
def test_the_parts_of_a_table_are_the_whole_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    monkeypatch.setattr(state, "CUT_FROM", 1)
    warehouse = of_forty(tmp_path, table)
    publish.publish(warehouse)
    with warehouse.watching() as live, warehouse.reading() as read:
        assert read.content(table) == live.content(table)
    found = state.State.read(tmp_path)
    assert found is not None
    assert len([part for part in found.dele if part.tabel == table]) > 1 or PARTS[table][0] == "people"


@pytest.mark.parametrize(("most", "first"), [(40, 0), (39, 39)], ids=["as many as are sorted", "one more"])
def test_a_part_that_is_too_large_to_sort_is_published_as_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, first: int
) -> None:
    monkeypatch.setattr(publish, "MOST_SORTED", most)
    warehouse = Warehouse(tmp_path)
    with warehouse.open() as session:
        session.run("INSERT INTO duration.forloeb (borger_id) SELECT 39 - i FROM range(40) r(i)")
    publish.publish(warehouse)
    with warehouse.reading() as read, warehouse.watching() as live:
        assert read.frame("SELECT borger_id FROM duration.forloeb LIMIT 1").item() == first
        assert read.content("duration.forloeb") == live.content("duration.forloeb")


@pytest.mark.parametrize("table", ["opgoerelse.postering", "classified.linje", "refusion.borger_uge_ydelse"])
def test_the_files_of_a_state_are_the_same_however_many_rows_are_read_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setattr(state, "CUT_FROM", 1)
    dele, readings, plain = [], [], publish.Session.temp
    monkeypatch.setattr(publish.Session, "temp", lambda *args, **said: readings.append(1) or plain(*args, **said))
    for together in (0, 25, 1000):
        monkeypatch.setattr(publish, "ROWS_TOGETHER", together)
        warehouse = of_forty(tmp_path / str(together), table)
        publish.publish(warehouse)
        found = state.State.read(warehouse.root)
        assert found is not None
        dele.append(found.dele)
        assert bool(readings) <= (together > 0)
    assert dele[0] == dele[1] == dele[2]
    assert readings


def test_a_file_that_differs_from_the_warehouse_is_never_shown(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = publish.write_file

    def short(session: publish.Session, query: str, path: Path, *, encrypted: bool) -> None:
        real(session, f"{query} LIMIT 19", path, encrypted=encrypted)

    add(warehouse, 3)
    monkeypatch.setattr(publish, "write_file", short)
    with pytest.raises(publish.NotTheSame, match=r"opgoerelse\.postering"):
        publish.publish(warehouse)
    assert seen(warehouse) == of_analysts(warehouse) == (2, 1600)


@pytest.mark.parametrize("folder", [state.READING, state.ANALYSTS])
def test_a_file_that_is_gone_is_named_and_the_next_publishing_writes_it(warehouse: Warehouse, folder: Path) -> None:
    table = "opgoerelse.tilbageholdt" if folder == state.READING else "opgoerelse.koersel"
    with warehouse.open() as session:
        session.run("INSERT INTO opgoerelse.tilbageholdt VALUES (DATE '2024-01-01', '101', 'venter')")
    publish.publish(warehouse)
    [lost] = (warehouse.root / folder / table).iterdir()
    lost.unlink()
    with pytest.raises(Stop, match=lost.name), warehouse.reading():
        pass
    publish.publish(warehouse)
    assert seen(warehouse) == (2, 1600)


def test_a_file_with_other_bytes_is_named_when_it_is_read(warehouse: Warehouse) -> None:
    [path] = (warehouse.root / state.ANALYSTS / "opgoerelse.postering").iterdir()
    data = path.read_bytes()
    path.write_bytes(data[:8] + bytes(len(data) - 200) + data[-192:])
    with pytest.raises(Stop, match=path.name):
        seen(warehouse)


def test_what_former_versions_of_the_program_left_is_removed(warehouse: Warehouse) -> None:
    udgivet = warehouse.published.parent
    for name in ("ydelsesrefusion.forrige", "ydelsesrefusion.ny", "ydelsesrefusion.duckdb.wal"):
        (udgivet / name).write_bytes(b"ingen database")
    with duckdb.connect(str(udgivet / "gammel.duckdb")) as old:
        old.execute("CREATE TABLE t AS SELECT 1")
    os.replace(udgivet / "gammel.duckdb", warehouse.published)
    (udgivet / "opfoelgning").mkdir()
    publish.publish(warehouse)
    assert sorted(path.name for path in udgivet.iterdir()) == [
        "opfoelgning", "tabeller", state.SQL_VIEWS, "ydelsesrefusion.duckdb",
    ]  # fmt: skip
    assert of_analysts(warehouse) == (2, 1600)


# --- killed at every step ---------------------------------------------------------------------------------------

# Reads a folder and a number; forks a child that publishes the folder and is killed before its step of that number.
KILLER = """
import os, signal, sys
from pathlib import Path
from refusion_assets.store import durable, publish, state
from refusion_assets.store.session import Warehouse

publish.TABLES = {table: publish.TABLES[table] for table in sys.argv[1:]}
state.views_of = list

def counted(real):
    def step(*given, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **named)
    return step

for line in sys.stdin:
    number, _, folder = line.rstrip().partition(" ")
    child = os.fork()
    if child == 0:
        left, durable.WRITERS = int(number), 1
        for name in ("replace", "unlink", "fsync", "rmdir"):
            setattr(os, name, counted(getattr(os, name)))
        publish.write_file, Path.write_text = counted(publish.write_file), counted(Path.write_text)
        try:
            publish.publish(Warehouse(Path(folder)))
        finally:
            os._exit(0)
    print(int(os.WIFSIGNALED(os.waitpid(child, 0)[1])), flush=True)
"""


def test_a_publishing_killed_at_any_step_also_twice_leaves_a_whole_state_and_the_next_mends_all(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {table: TABLES[table] for table in ("opgoerelse.koersel", "opgoerelse.kommune", "opgoerelse.postering")}
    monkeypatch.setattr(publish, "TABLES", few)  # in the child too; fewer tables have the same kinds of steps
    for module in (state, session):
        monkeypatch.setattr(module, "views_of", list)
    publish.publish(warehouse)
    add(warehouse, 3)
    before, after = (2, 1600), (3, 2400)
    command = [sys.executable, "-c", KILLER, *few]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, bufsize=1) as killer:  # noqa: S603
        assert killer.stdin is not None
        assert killer.stdout is not None
        killed, number = True, 0
        while killed:
            root = shutil.copytree(warehouse.root, tmp_path / str(number))
            own = Warehouse(root)
            state.show_to_analysts(own.published, state.State.read(root))  # its views name files by their whole path
            with own.reading() as reader, duckdb.connect(str(own.published), read_only=True) as analyst:
                for again in range(2):
                    killer.stdin.write(f"{number} {root}\n")
                    ended = killer.stdout.readline() == "0\n"
                    killed = killed and not (ended and again == 0)
                    assert seen(own) in (before, after), (number, again)
                    assert of_analysts(own) in (before, after), (number, again)
                assert reader.integer(LEDGER_SUM) == 1600
                assert analyst.sql(LEDGER_SUM).fetchall() == [(1600,)]
            publish.publish(own)
            assert (seen(own), of_analysts(own)) == (after, after), number
            states = [state.State.read(root, name) for name in (state.STATE, state.BEFORE)]
            assert set(files(own)) == {str(part.path) for one in states if one for part in one.dele}, number
            assert not list(root.rglob(f"*{state.FRESH}")), number
            number += 1
            shutil.rmtree(root)
        killer.stdin.close()
        assert number > FEWEST_STEPS
