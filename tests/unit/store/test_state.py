"""What a state takes from the notes of written parts: only what was written is read, and nothing is forgotten."""

import re
import tempfile
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from unittest import mock

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refusion_assets.domain.contract import kinds_of
from refusion_assets.store import publish, session, state, tables
from refusion_assets.store.session import Warehouse
from refusion_assets.store.tables import TABLES
from tests.kit.data_root import REPO
from tests.kit.timeline import TIMES_AS_MANY
from tests.unit.store.test_publish import ROWS, RUN, add, files, of_analysts, of_two_runs, seen


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return of_two_runs(tmp_path)


# One table for each way of cutting: by month, run, file and people, and one that is not cut.
TABLES_CUT = (
    "refusion.placering",
    "opgoerelse.foraeldet",
    "classified.dom",
    "duration.forloeb",
    "refusion.aendret",
)


def whole_number(name: str, n: int) -> int:
    """What row `n` says in a column of whole numbers; three or so of nine rows are in each part of a table."""
    return {"koersel": n % 3, "borger_id": n * 40_000}.get(name, n * 100_000)


def of_kind(table: str, numbers: list[int]) -> pl.DataFrame:
    """Rows of a table, one for each number: it says the part, and the person."""
    of_type = {
        pl.Date: lambda n: date(2024, n % 3 + 1, 1),
        pl.String: str,
        pl.Boolean: lambda n: n % 2 == 0,
        pl.Datetime: lambda n: datetime(2024, n, 1),  # noqa: DTZ001  as the tables have them
    }
    kinds = kinds_of(TABLES[table])
    rows = {
        name: [whole_number(name, n) if kind.base_type() is pl.Int64 else of_type[kind.base_type()](n) for n in numbers]
        for name, kind in kinds.items()
    }
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
        live.run(f"DELETE FROM {table} WHERE {column} = $n", n=whole_number(column, n))
    elif how == "delete using":
        rows = live.temp("rows", "SELECT $n::BIGINT AS id", n=whole_number(column, n))
        live.run(f"DELETE FROM {table} t USING {rows} r WHERE t.{column} = r.id")
    elif how == "delete all":
        live.run(f"DELETE FROM {table}")
    elif how == "replace":
        live.replace(table, of_kind(table, [n]))
    else:
        live.run(f"UPDATE {table} SET {names[-1]} = {names[-1]} WHERE {column} = $n", n=whole_number(column, n))


WAYS = ("insert", "run", "take", "delete", "delete using", "delete all", "replace", "update")
ENDS = ("kept", "kept", "lost", "shown")
STEPS = st.lists(
    st.tuples(st.sampled_from(TABLES_CUT), st.sampled_from(WAYS), st.integers(1, 9), st.sampled_from(ENDS)),
    min_size=10,
    max_size=20,
)


@given(steps=STEPS, most=st.sampled_from((0, 100)), few=st.sampled_from((0, 1, 500)), apart=st.sampled_from((2, 100)))
@settings(max_examples=5 * TIMES_AS_MANY)
def test_whatever_was_written_since_a_state_is_in_the_next_one(
    steps: list[tuple[str, str, int, str]], most: int, few: int, apart: int
) -> None:
    with (
        mock.patch.object(state, "FEW_ROWS", few),
        mock.patch.object(publish, "LEAST_KEPT", 1),
        mock.patch.object(publish, "MOST_APART", apart),
        mock.patch.object(state, "MOST_DELETED", most),
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(state, "CUT_FROM", 1),
        mock.patch.object(publish, "ROWS_TOGETHER", 6),
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
        assert publish.prove(made)[1] == []
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
        assert live.frame("FROM lager.skrevet").rows() == [("classified.dom", "*", None)]


def behind_the_back(warehouse: Warehouse) -> None:
    """Another amount in the warehouse, and no note of it."""
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("UPDATE opgoerelse.postering SET refusion_oere = 81 WHERE borger_id = 3 AND koersel = 1")


def test_a_table_that_was_made_anew_is_published_with_the_rows_that_it_has_now(warehouse: Warehouse) -> None:
    with warehouse.open() as live, mock.patch.object(state, "MOST_DELETED", 0):
        live.run("DELETE FROM opgoerelse.postering")
        live.run(ROWS, n=9)
    publish.publish(warehouse)
    with warehouse.watching() as live, warehouse.reading() as read:
        assert read.content("opgoerelse.postering") == live.content("opgoerelse.postering")
        assert read.frame("SELECT DISTINCT koersel FROM opgoerelse.postering").rows() == [(9,)]


@pytest.mark.parametrize(
    "deletion",
    [
        "DELETE FROM opgoerelse.postering",
        "DELETE FROM opgoerelse.postering WHERE borger_id < 4 OR oprindelig_koersel > 0",
        "DELETE FROM opgoerelse.postering p WHERE p.borger_id IN (SELECT borger_id FROM {rows})",
        "DELETE FROM opgoerelse.postering p USING {rows} r WHERE p.borger_id = r.borger_id AND p.uge < r.uge",
        "DELETE FROM opgoerelse.postering p USING {rows} r WHERE p.borger_id = r.borger_id AND r.uge IS NULL",
    ],
)
def test_a_table_made_anew_keeps_the_rows_that_a_deletion_leaves(warehouse: Warehouse, deletion: str) -> None:
    left = []
    for most in (1_000, 0):
        with suppress(KeyboardInterrupt), warehouse.open() as live, mock.patch.object(state, "MOST_DELETED", most):
            every = "SELECT borger_id, uge + 1 AS uge FROM opgoerelse.postering"
            rows = live.temp("rows", f"{every} WHERE borger_id <> 2 UNION ALL {every} WHERE borger_id = 1")
            live.run(deletion.format(rows=rows))
            left.append(live.frame("FROM opgoerelse.postering ORDER BY ALL"))
            raise KeyboardInterrupt
    assert left[0].equals(left[1])


def test_a_deletion_that_names_no_table_beside_it_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(ValueError, match="USING"), warehouse.open() as live:
        live.run("DELETE FROM opgoerelse.postering p USING (SELECT 1 AS nr) r WHERE p.borger_id = r.nr")


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
    monkeypatch.setattr(state, "CUT_FROM", 5)
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


# --- supplements: the rows of some people of a part --------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """Two published runs of ten people; each run is a part of the ledger, and large enough for a supplement."""
    monkeypatch.setattr(state, "CUT_FROM", 5)
    monkeypatch.setattr(publish, "LEAST_KEPT", 1)
    return of_two_runs(tmp_path)


def correct(warehouse: Warehouse, *people: int, oere: int | None = 81) -> None:
    """Some people get another amount in run 2, or no row at all, and it is published."""
    with warehouse.open() as live:
        for person in people:
            live.run("DELETE FROM opgoerelse.postering WHERE koersel = 2 AND borger_id = $b", b=person)
            if oere is not None:
                live.run(f"{ROWS.replace('80, 0', f'{oere}, 0')} WHERE i = $b", n=2, b=person)
    publish.publish(warehouse)


def published(warehouse: Warehouse) -> list[state.Part]:
    """The analysts' files of the ledger; readers have the same where no column is left out."""
    found = state.State.read(warehouse.root)
    assert found is not None
    return found.of("opgoerelse.postering", analysts=True)


def parts(warehouse: Warehouse) -> dict[str, tuple[int, tuple[int, ...]]]:
    """The parts of the published ledger: the rows that hold, and the people whose rows in the file do not."""
    return {part.del_: (part.raekker, part.uden) for part in published(warehouse)}


def columns_of_analysts(warehouse: Warehouse) -> set[str]:
    """The columns that the analysts' files of the ledger have."""
    paths = [warehouse.root / part.path for part in published(warehouse)]
    return {name for path in paths for name in duckdb.read_parquet(str(path)).columns}


def is_right(warehouse: Warehouse) -> bool:
    """True if readers and analysts have the ledger of the warehouse, and the full proof finds no fault."""
    with warehouse.watching() as live, warehouse.reading() as read:
        same = live.content("opgoerelse.postering") == read.content("opgoerelse.postering")
    return same and of_analysts(warehouse) == seen(warehouse) and publish.prove(warehouse)[1] == []


def test_the_row_of_one_person_is_published_without_the_rest_of_its_part(ledger: Warehouse) -> None:
    before = files(ledger)
    correct(ledger, 3)
    assert parts(ledger) == {"0001": (10, ()), "0002": (9, (3,)), "0002-tillaeg": (1, ())}
    now = files(ledger)
    assert {name: now[name] for name in before if "postering" in name}.items() <= before.items()
    assert (seen(ledger), is_right(ledger)) == ((2, 1601), True)


def test_a_supplement_grows_by_person_and_one_without_rows_has_none_in_it(ledger: Warehouse) -> None:
    correct(ledger, 3)
    correct(ledger, 3, 5, oere=82)
    correct(ledger, 7, oere=None)
    assert parts(ledger) == {"0001": (10, ()), "0002": (7, (3, 5, 7)), "0002-tillaeg": (2, ())}
    assert (seen(ledger), is_right(ledger)) == ((2, 1600 + 4 - 80), True)
    correct(ledger, 7, oere=80)
    assert (parts(ledger)["0002-tillaeg"][0], seen(ledger), is_right(ledger)) == (3, (2, 1604), True)


@pytest.mark.parametrize(("bound", "most"), [("MOST_APART", 2), ("FEW_ROWS", 0), ("LEAST_KEPT", 11)])
def test_a_part_is_written_whole_over_each_bound(
    ledger: Warehouse, monkeypatch: pytest.MonkeyPatch, bound: str, most: int
) -> None:
    correct(ledger, 3, 4)
    assert parts(ledger)["0002"] == (8, (3, 4))
    monkeypatch.setattr(state if bound == "FEW_ROWS" else publish, bound, most)
    correct(ledger, 5, oere=82)
    assert (parts(ledger), is_right(ledger)) == ({"0001": (10, ()), "0002": (10, ())}, True)


def test_a_part_whose_rows_are_again_those_of_its_file_is_whole_again(
    ledger: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = parts(ledger)
    correct(ledger, 3)
    monkeypatch.setattr(publish, "MOST_APART", 0)
    correct(ledger, 3, oere=80)
    assert (parts(ledger), seen(ledger), is_right(ledger)) == (before, (2, 1600), True)


def test_a_part_all_of_whose_people_have_other_rows_is_its_supplement_alone(ledger: Warehouse) -> None:
    correct(ledger, *range(10))
    assert (parts(ledger), is_right(ledger)) == ({"0001": (10, ()), "0002-tillaeg": (10, ())}, True)
    correct(ledger, 4, oere=82)
    assert (parts(ledger), is_right(ledger)) == ({"0001": (10, ()), "0002": (10, ())}, True)


@pytest.mark.parametrize("lost", ["0002", "0002-tillaeg"])
def test_where_a_file_is_lost_the_parts_are_written_whole(ledger: Warehouse, lost: str) -> None:
    correct(ledger, 3)
    [part] = [part for part in published(ledger) if part.del_ == lost]
    (ledger.root / part.path).unlink()
    correct(ledger, 5)
    assert (parts(ledger), seen(ledger)) == ({"0001": (10, ()), "0002": (10, ())}, (2, 1602))
    assert is_right(ledger)


def test_a_column_that_analysts_may_no_longer_see_leaves_their_files_also_those_with_a_supplement(
    ledger: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for person, left_out in (3, ("hjemmel",)), (4, ("hjemmel",)), (5, ("hjemmel", "regelversion")):
        monkeypatch.setitem(tables.LEFT_OUT, "opgoerelse.postering", left_out)
        correct(ledger, person)
        assert bool(parts(ledger)["0002"][1]) is (person == 4)
    assert columns_of_analysts(ledger) == {*tables.types_of("opgoerelse.postering")} - {"hjemmel", "regelversion"}
    assert (parts(ledger)["0002"], is_right(ledger)) == ((10, ()), True)


def test_a_live_file_that_is_gone_is_made_again_of_parts_and_supplements(ledger: Warehouse) -> None:
    correct(ledger, 3)
    ledger.path.unlink()
    ledger.path.with_name(f"{ledger.path.name}.wal").unlink(missing_ok=True)
    add(ledger, 3)
    publish.publish(ledger)
    assert (seen(ledger), is_right(ledger)) == ((3, 2401), True)


def test_notes_of_an_earlier_program_count_as_anybody_s_rows(ledger: Warehouse) -> None:
    with duckdb.connect(str(ledger.path)) as connection:
        connection.execute("ALTER TABLE lager.skrevet DROP COLUMN borger_id")
        connection.execute("INSERT INTO lager.skrevet VALUES ('opgoerelse.postering', '0002')")
        connection.execute("COMMENT ON TABLE identitet.borger IS 'en tidligere udgave'")
    correct(ledger, 3)
    assert (parts(ledger), is_right(ledger)) == ({"0001": (10, ()), "0002": (10, ())}, True)


@pytest.mark.parametrize("lost", ["0002-tillaeg", ""])
def test_a_supplement_that_is_all_of_its_part_is_written_again_whole_where_it_cannot_be_used(
    ledger: Warehouse, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    monkeypatch.setitem(tables.LEFT_OUT, "opgoerelse.postering", ("hjemmel",))
    correct(ledger)
    correct(ledger, *range(10))
    for part in published(ledger):
        if part.del_ == lost:
            (ledger.root / part.path).unlink()
    if not lost:
        monkeypatch.setitem(tables.LEFT_OUT, "opgoerelse.postering", ("hjemmel", "regelversion"))
    with ledger.open() as live:
        live.run("DELETE FROM opgoerelse.postering WHERE koersel = 1 AND borger_id = 4")
    publish.publish(ledger)
    assert (seen(ledger), is_right(ledger)) == ((2, 1600 + 10 - 80), True)


def test_the_first_supplement_of_a_part_does_not_keep_a_column_that_analysts_may_no_longer_see(
    ledger: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for person, left_out in (3, ("hjemmel",)), (4, ("hjemmel", "regelversion")):
        monkeypatch.setitem(tables.LEFT_OUT, "opgoerelse.postering", left_out)
        with ledger.open() as live:
            live.run("DELETE FROM opgoerelse.postering WHERE koersel = 2 AND borger_id = $b", b=person)
        publish.publish(ledger)
        assert columns_of_analysts(ledger) == {*tables.types_of("opgoerelse.postering")} - {*left_out}


@pytest.mark.parametrize("first", [0, 1], ids=["at its first supplement", "with one already"])
def test_a_damaged_file_of_a_part_is_written_anew(ledger: Warehouse, first: int) -> None:
    correct(ledger, *range(first))
    [part] = [part for part in published(ledger) if part.del_ == "0002"]
    path = ledger.root / part.path
    path.write_bytes(b"\0" * path.stat().st_size)
    correct(ledger, 5)
    assert (parts(ledger)["0002"], is_right(ledger)) == ((10, ()), True)


def test_who_is_published_without_the_rest_of_a_part_is_a_person_that_analysts_see_too() -> None:
    seen_by_analysts = {table: tables.visible(table) for table in state.BY_PERSON}
    assert {table for table, names in seen_by_analysts.items() if names and "borger_id" not in names} == set()
    for table in state.BY_PERSON:
        columns = TABLES[table].to_schema().columns
        assert not [name for name in ("borger_id", *state.MONEY) if name in columns and columns[name].nullable]
