"""A session: temporary tables are values, and single numbers, days and lists of values are asked for in one way."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import date

import duckdb
import pytest

from refusion_assets.store.session import Relation, Session, among


@pytest.fixture
def session() -> Iterator[Session]:
    with duckdb.connect() as connection:
        yield Session(connection)


def test_a_temporary_table_stays_as_it_is_when_another_of_the_same_name_is_made(session: Session) -> None:
    first, second = (session.temp("people", "SELECT $n::BIGINT AS borger_id", n=n) for n in (1, 2))
    session.add(second, f"FROM {first}")
    assert [session.count(first), session.count(second)] == [1, 2]
    assert session.integer(f"SELECT borger_id FROM {first}") == 1


def test_a_query_in_parentheses_is_a_relation_too(session: Session) -> None:
    assert session.count(Relation("(SELECT unnest([1, 2, 3]))")) == 3


def test_no_number_is_zero_and_no_day_is_none(session: Session) -> None:
    nothing, some = Relation("(SELECT 1 AS n WHERE false)"), Relation("(SELECT 4::HUGEINT AS n)")
    assert [session.integer(f"SELECT sum(n) FROM {rows}") for rows in (nothing, some)] == [0, 4]
    assert session.day(f"SELECT max(DATE '2024-01-01') FROM {nothing}") is None
    assert session.day("SELECT max(DATE '2024-01-01')") == date(2024, 1, 1)


@pytest.mark.parametrize(("values", "found"), [(["a", "c"], ["a"]), ([], [])])
def test_a_column_is_compared_with_a_list_of_values(values: list[str], found: list[str], session: Session) -> None:
    letters = session.temp("letters", "SELECT unnest(['a', 'b']) AS letter")
    chosen = f"SELECT letter FROM {letters} WHERE {among('letter', 'values')}"
    assert session.frame(chosen, values=values)["letter"].to_list() == found


# The first question about a frame in a process: its people in a table, as the monthly sample asks for them.
FIRST = """
import duckdb, polars as pl
from refusion_assets.store.session import Session
session = Session(duckdb.connect())
session.connection.execute("CREATE TABLE bopael AS SELECT i::VARCHAR AS cpr, 1 AS n FROM range(600) r(i)")
people = list(range(0, 600, 3))
with session.lending("stikproeve", pl.DataFrame({"borger_id": people, "cpr": [str(number) for number in people]})):
    print(session.frame("SELECT * FROM bopael SEMI JOIN stikproeve USING (cpr)").height)
"""


def test_a_semi_join_with_a_frame_may_be_the_first_question_of_a_process() -> None:
    ran = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=False)  # noqa: S603
    assert (ran.returncode, ran.stdout) == (0, "200\n")
