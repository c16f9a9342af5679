"""The five queries that say most in least: what each says in full, and what it answers for three people or so.

The text lies in `sql/`. To have it written anew, delete the file, run the test twice, and read what has changed.
"""

from collections.abc import Iterator
from datetime import date
from inspect import cleandoc
from pathlib import Path

import duckdb
import polars as pl
import pytest

from refusion_assets.assets import touched
from refusion_assets.assets.findings.queries import ALL_ROWS, CLUMPS, over_bound
from refusion_assets.assets.refusion import going_on
from refusion_assets.assets.touched import moved, since_change
from refusion_assets.store.session import Relation, Session

SQL = Path(__file__).parent / "sql"
JANUARY, FEBRUARY, MARCH = date(2024, 1, 1), date(2024, 2, 5), date(2024, 3, 4)
ROWS = "refusion.borger_uge_ydelse"


@pytest.fixture(scope="module")
def warehouse() -> Iterator[Session]:
    """Every table of the warehouse, in memory and empty."""
    with duckdb.connect() as connection:
        session = Session(connection)
        session.prepare()
        yield session


@pytest.fixture
def session(warehouse: Session) -> Iterator[Session]:
    """The empty warehouse, with names of temporary tables from one on; what a test puts there is taken back."""
    warehouse.connection.execute("BEGIN")
    yield Session(warehouse.connection)
    warehouse.connection.execute("ROLLBACK")


def put(session: Session, table: str, columns: str, *rows: tuple[object, ...]) -> None:
    """Rows with some columns of a table; the query asks for no others."""
    frame = pl.DataFrame(rows, schema=columns.split(", "), orient="row")
    with session.lending("given", frame):
        session.run(f"INSERT INTO {table} ({columns}) FROM given")


def people(session: Session, *weeks: tuple[int, date]) -> Relation:
    """People by number, each with the first week that could change."""
    values = ", ".join(f"({number}, DATE '{week}')" for number, week in weeks)
    return session.temp("people", f"FROM (VALUES {values}) v(borger_id, fra_uge)")


def stored(name: str, sql: str) -> None:
    """The text is the one that lies in `sql/`."""
    path, text = SQL / f"{name}.sql", cleandoc(sql) + "\n"
    if not path.exists():
        path.write_text(text, "utf-8")
        pytest.fail(f"{path.name} was missing and is written; read it, and run the test again")
    assert text == path.read_text("utf-8")


def test_moved_finds_who_lives_elsewhere_and_from_which_day(session: Session) -> None:
    stay, then, now = "cpr, modtaget_maaned, kommunekode, bopael_start, bopael_slut", JANUARY, date(2024, 2, 1)
    born, move = date(2000, 1, 1), date(2024, 1, 20)
    put(session, "raw.bopael", stay, *[(cpr, then, "101", born, None) for cpr in ("moves", "stays")])
    put(session, "raw.bopael", stay, ("stays", now, "101", born, None), ("comes", now, "147", MARCH, None))
    put(session, "raw.bopael", stay, ("moves", now, "101", born, move), ("moves", now, "147", FEBRUARY, None))
    query = moved(*(Relation(f"(FROM raw.bopael WHERE modtaget_maaned = DATE '{month}')") for month in (then, now)))
    assert session.frame(f"FROM {query} ORDER BY cpr").rows() == [("comes", MARCH), ("moves", move)]
    stored("moved", str(query))


@pytest.mark.parametrize(("name", "most"), [("since_change_of_few", 3), ("since_change_of_many", 2)])
def test_since_change_reads_each_person_from_the_week_that_could_change(
    name: str, most: int, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(touched, "MOST_LISTED", most)
    monkeypatch.setattr(touched, "FEW", 0.5)
    put(session, ROWS, "borger_id, uge", *[(number, week) for number in range(1, 5) for week in (JANUARY, MARCH)])
    query = since_change(session, ROWS, "uge", people(session, (1, JANUARY), (2, MARCH), (3, MARCH)))
    found = session.frame(f"SELECT borger_id, uge FROM {query} ORDER BY ALL").rows()
    assert found == [(1, JANUARY), (1, MARCH), (2, MARCH), (3, MARCH)]
    stored(name, query)


def test_going_on_leaves_out_who_has_changed_before_or_whose_self_support_may_not_stand(session: Session) -> None:
    spell = "borger_id, fra_uge, antal_uger, art, n_foer"
    reaching, old, in_window = (1, FEBRUARY, 4, "A", 9), (2, JANUARY, 9, "C", 9), (3, FEBRUARY, 4, "C", 9)
    restarted, ended = (4, FEBRUARY, 4, "C", 0), (5, FEBRUARY, 3, "A", 9)
    put(session, "duration.forloeb", spell, reaching, old, in_window, restarted, ended)
    changed = [(number, MARCH) for number in (1, 2, 3, 4, 5, 6)]
    query = going_on(people(session, *changed, (7, FEBRUARY)))
    found = session.frame(query, uge=MARCH, foerste=date(2024, 1, 29))
    assert found["borger_id"].to_list() == [1, 3, 6], "6 has no spell; 7 has changed before the week"
    stored("going_on", query)


def test_over_bound_finds_weeks_of_one_municipality_and_of_several(session: Session) -> None:
    row = "borger_id, uge, maaned, ydelse_id, kommunekode, beloeb_oere"
    months = date(2024, 1, 1), date(2024, 2, 1)
    alone = [(1, JANUARY, month, "KTH", "101", 600) for month in months]
    shared = [(2, JANUARY, months[0], "KTH", kode, oere) for kode, oere in (("101", 400), ("147", 401), ("169", 400))]
    put(session, ROWS, row, *alone, *shared, (3, JANUARY, months[0], "KTH", "101", 1000))
    query = over_bound(ALL_ROWS)
    with session.lending("graenser", pl.DataFrame({"ydelse_id": ["KTH"], "graense_oere": [1000]})):
        found = session.frame(f"{query} ORDER BY borger_id")
    assert found.select("borger_id", "beloeb_oere", "kommunekode").rows() == [(1, 1200, "101"), (2, 1201, "147")]
    stored("over_bound", query)


def test_clumps_finds_claims_that_share_days_with_another_payers(session: Session) -> None:
    claim = "borger_id, ydelse_id, periode_start, periode_slut, pligt_se, beloeb_oere"
    first, second = (date(2024, 1, 1), date(2024, 1, 31)), (date(2024, 1, 20), date(2024, 1, 25))
    after, within = (date(2024, 2, 1), date(2024, 2, 5)), (date(2024, 1, 30), date(2024, 2, 2))
    put(session, "classified.krav", claim, (1, "KTH", *first, "A", 1), (1, "KTH", *second, "B", 1))
    put(session, "classified.krav", claim, (1, "KTH", *within, "A", 1), (1, "KTH", date(2024, 3, 1), MARCH, "A", 1))
    put(session, "classified.krav", claim, (2, "KTH", *first, "A", 1), (2, "KTH", *after, "B", 1))
    put(session, "classified.krav", claim, (3, "KTH", *first, "A", 1), (3, "KTH", *second, "A", 1))
    with session.lending("kandidat", pl.DataFrame({"borger_id": [1, 2, 3], "ydelse_id": ["KTH"] * 3})):
        found = session.frame(CLUMPS)
    assert found.select("borger_id", "periode_start", "pligt_se", "klump").rows() == [
        (1, date(2024, 1, 1), "A", 1),
        (1, date(2024, 1, 20), "B", 1),
        (1, date(2024, 1, 30), "A", 1),
    ]
    stored("clumps", CLUMPS)
