"""A state that is published: its files hold what the warehouse holds, at the cost of what has changed."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from subprocess import PIPE
from unittest import mock

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refusion_assets.domain.contract import kinds_of
from refusion_assets.domain.stop import Stop
from refusion_assets.store import publish, session, state
from refusion_assets.store.session import Warehouse
from refusion_assets.store.tables import PARTS, TABLES
from tests.kit.data_root import REPO
from tests.kit.timeline import TIMES_AS_MANY

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


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """A warehouse of two runs, published."""
    made = Warehouse(tmp_path / "rod")
    for number in (1, 2):
        add(made, number)
    publish.publish(made)
    return made


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
    monkeypatch.setattr(publish, "CUT_FROM", 5)
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
        killed.setattr(publish, "_show_to_analysts", mock.Mock(side_effect=KeyboardInterrupt))
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


@pytest.mark.parametrize("table", PARTS)
def test_the_parts_of_a_table_are_the_whole_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    monkeypatch.setattr(publish, "CUT_FROM", 1)
    warehouse = Warehouse(tmp_path)
    kinds = {"DATE": "DATE '2024-01-31' + i::INT", "BIGINT": "i * 100", "VARCHAR": "i::VARCHAR", "BOOLEAN": "true"}
    with warehouse.open() as session:
        session.run("""INSERT INTO raw.fil SELECT i * 100, i, '', '', '', DATE '2024-01-01' + to_months(i::INT), 1,
            '', 1, NULL, false, DATE '2024-01-01', '' FROM range(40) r(i)""")
        values = ", ".join(kinds.get(kind, "NULL") for kind in publish.types_of(table).values())
        session.run(f"INSERT INTO {table} SELECT {values} FROM range(40) r(i)")
    publish.publish(warehouse)
    with warehouse.watching() as live, warehouse.reading() as read:
        assert read.content(table) == live.content(table)
    found = state.State.read(tmp_path)
    assert found is not None
    assert len([part for part in found.dele if part.tabel == table]) > 1 or PARTS[table][0] == "people"


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
        "opfoelgning", "tabeller", publish.SQL_VIEWS, "ydelsesrefusion.duckdb",
    ]  # fmt: skip
    assert of_analysts(warehouse) == (2, 1600)


# --- only what was written is read --------------------------------------------------------------------------------

# One table for each way of cutting: by month, run, file and people, and one that is not cut.
TABLES_CUT = (
    "refusion.placering",
    "opgoerelse.foraeldet",
    "classified.dom",
    "duration.forloeb",
    "refusion.aendret",
)


def of_kind(table: str, numbers: list[int]) -> pl.DataFrame:
    """Rows of a table, one for each number: it says the part, and the person."""
    of_type = {
        pl.Date: lambda n: date(2024, 1, 31).replace(month=n % 12 + 1, day=1),
        pl.Int64: lambda n: n * 100_000,
        pl.String: str,
        pl.Boolean: lambda n: n % 2 == 0,
        pl.Datetime: lambda n: datetime(2024, n, 1),  # noqa: DTZ001  as the tables have them
    }
    kinds = kinds_of(TABLES[table])
    rows = {name: [of_type[kind.base_type()](n) for n in numbers] for name, kind in kinds.items()}
    return pl.DataFrame(rows, schema=kinds)


def written(live: session.Session, table: str, how: str, n: int) -> None:
    """Row `n` put in a table or taken out of it, in one of the ways in which the program writes."""
    column = "fil_id" if table == "classified.dom" else "koersel" if "foraeldet" in table else "borger_id"
    names = list(TABLES[table].to_schema().columns)
    if how == "insert":
        live.insert(table, of_kind(table, [n]))
    elif how == "run":
        rows = live.temp("rows", f"SELECT * FROM {table} LIMIT 0")
        with live.lending("one", of_kind(table, [n])):
            live.add(rows, "FROM one")
        live.run(f"INSERT INTO {table} SELECT * FROM {rows}")
    elif how == "take":
        with live.lending("one", of_kind(table, [n])):
            live.take(table, ", ".join(names), "FROM one")
    elif how == "delete":
        live.run(f"DELETE FROM {table} WHERE {column} = $n", n=n * 100_000)
    elif how == "delete using":
        rows = live.temp("rows", "SELECT $n::BIGINT AS id", n=n * 100_000)
        live.run(f"DELETE FROM {table} t USING {rows} r WHERE t.{column} = r.id")
    elif how == "delete all":
        live.run(f"DELETE FROM {table}")
    elif how == "replace":
        live.replace(table, of_kind(table, [n]))
    else:
        live.run(f"UPDATE {table} SET {names[-1]} = {names[-1]} WHERE {column} = $n", n=n * 100_000)


WAYS = ("insert", "run", "take", "delete", "delete using", "delete all", "replace", "update")
ENDS = ("kept", "kept", "lost", "shown")
STEPS = st.lists(
    st.tuples(st.sampled_from(TABLES_CUT), st.sampled_from(WAYS), st.integers(1, 9), st.sampled_from(ENDS)),
    min_size=10,
    max_size=20,
)


@given(steps=STEPS)
@settings(max_examples=8 * TIMES_AS_MANY)
def test_whatever_was_written_since_a_state_is_in_the_next_one(steps: list[tuple[str, str, int, str]]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(publish, "CUT_FROM", 1),
        mock.patch.object(state, "ROWS_TOGETHER", 1),
        mock.patch.object(session, "validate", lambda _, rows: rows),
    ):
        made = Warehouse(Path(folder))
        with made.open() as live:
            live.insert("raw.fil", of_kind("raw.fil", list(range(1, 10))))
            for table in TABLES_CUT:
                live.insert(table, of_kind(table, [1, 2, 3]))
        publish.publish(made)
        for table, how, n, end in steps:
            with suppress(KeyboardInterrupt), made.open() as live:
                written(live, table, how, n)
                if end == "lost":
                    raise KeyboardInterrupt
            if end == "shown":
                publish.publish(made)
        publish.publish(made)
        with made.watching() as live, made.reading() as read:
            assert {table: read.content(table) for table in TABLES_CUT} == {
                table: live.content(table) for table in TABLES_CUT
            }


@pytest.mark.parametrize("how", ["insert", "delete"])
def test_rows_of_a_file_that_is_not_known_count_as_any_part(warehouse: Warehouse, how: str) -> None:
    with warehouse.open() as live, mock.patch.object(session, "validate", lambda _, rows: rows):
        live.insert("raw.fil", of_kind("raw.fil", [1]))
        live.insert("classified.dom", of_kind("classified.dom", [1, 2]))
    publish.publish(warehouse)
    with warehouse.open() as live, mock.patch.object(session, "validate", lambda _, rows: rows):
        written(live, "classified.dom", how, 2)
    with warehouse.watching() as live:
        assert live.frame("FROM lager.skrevet").rows() == [("classified.dom", "*")]


def behind_the_back(warehouse: Warehouse) -> None:
    """Another amount in the warehouse, and no note of it."""
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("UPDATE opgoerelse.postering SET refusion_oere = 81 WHERE borger_id = 3 AND koersel = 1")


def test_a_table_that_was_made_anew_is_published_with_the_rows_that_it_has_now(warehouse: Warehouse) -> None:
    with warehouse.open() as live:
        live.empty("opgoerelse.postering")
        live.run(ROWS, n=9)
    publish.publish(warehouse)
    with warehouse.watching() as live, warehouse.reading() as read:
        assert read.content("opgoerelse.postering") == live.content("opgoerelse.postering")
        assert read.frame("SELECT DISTINCT koersel FROM opgoerelse.postering").rows() == [(9,)]


def test_a_table_that_nobody_wrote_is_not_read_again(warehouse: Warehouse) -> None:
    behind_the_back(warehouse)
    add_run_alone(warehouse)
    publish.publish(warehouse)
    assert seen(warehouse) == (3, 1600)


def test_a_full_proof_names_what_was_changed_past_the_program_and_not_what_a_run_wrote(warehouse: Warehouse) -> None:
    add_run_alone(warehouse)
    assert publish.prove(warehouse)[1] == []
    behind_the_back(warehouse)
    [fault] = publish.prove(warehouse)[1]
    assert fault.startswith("opgoerelse.postering, del alt: tilstanden har 20 rækker, lageret 20")
    publish.publish(warehouse)
    assert len(publish.prove(warehouse)[1]) == 1
    add(warehouse, 4)
    assert publish.prove(warehouse)[1] == []
    publish.publish(warehouse)
    assert (publish.prove(warehouse)[1], seen(warehouse)) == ([], (4, 2401))


def test_a_full_proof_makes_a_live_file_that_is_gone_again_of_the_state(warehouse: Warehouse) -> None:
    warehouse.path.unlink()
    warehouse.path.with_name(f"{warehouse.path.name}.wal").unlink(missing_ok=True)
    assert (publish.prove(warehouse)[1], seen(warehouse)) == ([], (2, 1600))
    with warehouse.watching() as live:
        assert live.count("opgoerelse.postering") == 20


def test_a_full_proof_of_a_large_table_names_the_part(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "CUT_FROM", 5)
    assert publish.prove(warehouse)[1] != []  # a file of the whole table is no longer a part
    add(warehouse, 3)
    assert publish.prove(warehouse)[1] == []
    publish.publish(warehouse)
    behind_the_back(warehouse)
    assert [fault.split(":")[0] for fault in publish.prove(warehouse)[1]] == ["opgoerelse.postering, del 0001"]


def add_run_alone(warehouse: Warehouse) -> None:
    with warehouse.open() as session:
        session.run(RUN, n=3)


@pytest.mark.parametrize("what", ["older", "anew", "of an earlier program"])
def test_everything_is_read_where_the_live_file_is_not_the_one_that_the_state_shows(
    warehouse: Warehouse, what: str
) -> None:
    older = warehouse.path.read_bytes()
    add_run_alone(warehouse)
    publish.publish(warehouse)
    if what == "older":
        warehouse.path.write_bytes(older)
        warehouse.path.with_name(f"{warehouse.path.name}.wal").unlink(missing_ok=True)
    elif what == "anew":
        warehouse.path.unlink()
        warehouse.path.with_name(f"{warehouse.path.name}.wal").unlink(missing_ok=True)
        with warehouse.open():
            pass
    else:
        with duckdb.connect(str(warehouse.path)) as connection:
            connection.execute("DROP TABLE lager.skrevet; COMMENT ON TABLE identitet.borger IS 'en tidligere udgave'")
    behind_the_back(warehouse)
    publish.publish(warehouse)
    assert seen(warehouse)[1] == 1601
    add(warehouse, 4)
    publish.publish(warehouse)
    assert seen(warehouse)[1] == 2401


@pytest.mark.parametrize(
    "statement",
    ["WITH x AS (SELECT 1) DELETE FROM raw.fil", "TRUNCATE raw.fil", "DROP TABLE raw.fil", "DELETE FROM fil"],
)
def test_a_statement_whose_table_cannot_be_told_is_refused(warehouse: Warehouse, statement: str) -> None:
    with pytest.raises(ValueError, match="nævner ikke"), warehouse.open() as session:
        session.run(statement)


def test_no_statement_moves_a_file_to_another_month() -> None:
    sources = [path.read_text("utf-8") for path in (REPO / "refusion_assets").rglob("*.py")]
    assert not [text for text in sources if re.search(r"UPDATE raw\.fil SET[^\"]*modtaget_maaned =", text)]


# --- killed at every step ---------------------------------------------------------------------------------------

# Reads a folder and a number; forks a child that publishes the folder and is killed before its step of that number.
KILLER = """
import os, signal, sys
from pathlib import Path
from refusion_assets.store import durable, publish
from refusion_assets.store.session import Warehouse

publish.TABLES = {table: publish.TABLES[table] for table in sys.argv[1:]}
publish.views_of = list

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
    for module in (publish, session):
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
            publish._show_to_analysts(own, state.State.read(root))  # its views name files by their whole path
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
            assert not list(root.rglob(f"*{publish.FRESH}")), number
            number += 1
            shutil.rmtree(root)
        killer.stdin.close()
        assert number > FEWEST_STEPS
