"""Contracts asked of DuckDB: the same verdict as pandera gives on a frame, and every check of ours can be asked."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from refusion_assets.assets.checks.calculated import SQL_MADE, kontrakter_holder
from refusion_assets.assets.gate import Asked
from refusion_assets.domain.calendar import month_of
from refusion_assets.place import Place
from refusion_assets.store.session import ContractError, Session, validate
from refusion_assets.store.tables import TABLES
from tests.kit.data_root import RULES

GOOD = {"fil_id": 1, "linje": 2, "status": "virket", "regel": None, "trukket": False, "beloeb_oere": 100}
KRAV = {
    "borger_id": 1, "ydelse_id": "KTH", "kilde_id": "ky", "konto": "k", "periode_start": month_of("2024-01"),
    "periode_slut": month_of("2024-02"), "pligt_se": "29101000", "kommunekode_betaler": "101", "beloeb_oere": 100,
    "antal_raekker": 1,
}  # fmt: skip


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """An empty warehouse."""
    with Place(tmp_path, RULES).warehouse.open() as opened:
        yield opened


def stored(session: Session, table: str, row: dict[str, object]) -> None:
    """A row in a table without asking its contract."""
    names = ", ".join(row)
    session.run(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f'${name}' for name in row)})", **row)


def typed(table: str, row: dict[str, object]) -> pl.DataFrame:
    """A row as a frame with the types of its contract."""
    schema = {name: column.dtype.type for name, column in TABLES[table].to_schema().columns.items()}
    return pl.DataFrame([tuple(row[name] for name in schema)], schema=schema, orient="row")


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_contract_can_be_asked_of_duckdb_and_an_empty_table_keeps_it(session: Session, table: str) -> None:
    assert session.breaches(table) == {}


@pytest.mark.parametrize(
    ("table", "good", "wrong"),
    [
        ("classified.dom", GOOD, {"status": "andet"}),
        ("classified.dom", GOOD, {"status": None}),
        ("classified.dom", GOOD, {"trukket": None}),
        ("classified.krav", KRAV, {"borger_id": None}),
        ("classified.krav", KRAV, {"antal_raekker": 0}),
        ("classified.krav", KRAV, {"beloeb_oere": -1}),
    ],
)
def test_a_row_that_pandera_refuses_is_found_in_the_table_too(
    session: Session, table: str, good: dict[str, object], wrong: dict[str, object]
) -> None:
    stored(session, table, good)
    validate(table, typed(table, good))
    assert session.breaches(table) == {}
    stored(session, table, good | wrong)
    with pytest.raises(ContractError):
        validate(table, typed(table, good | wrong))
    assert sum(session.breaches(table).values()) == 1


def test_a_broken_contract_stops_the_month_and_names_the_column(session: Session, tmp_path: Path) -> None:
    asked = Asked(session, Place(tmp_path, RULES), month_of("2024-01"))
    assert kontrakter_holder(asked).bestaaet
    stored(session, SQL_MADE[0], GOOD | {"status": "andet"})
    broken = kontrakter_holder(asked)
    assert (broken.bestaaet, broken.antal) == (False, 1)
    assert "classified.dom, status: isin (1)" in broken.tekst
