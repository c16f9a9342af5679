"""Contracts asked of DuckDB: the same verdict as pandera gives on a frame, and every check of ours can be asked."""

from collections.abc import Iterator
from pathlib import Path

import pandera.errors
import pandera.polars as pa
import polars as pl
import pytest

from refusion_assets.assets.checks.calculated import SQL_MADE, kontrakter_holder
from refusion_assets.assets.gate import Asked
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.contract import BREAKS, Contract, kinds_of
from refusion_assets.place import Place
from refusion_assets.store.session import Session
from refusion_assets.store.tables import TABLES, ContractError, validate
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
    schema = kinds_of(TABLES[table])
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


ASKED = {
    repr(check.statistics) + check.name: (column, check)
    for model in TABLES.values()
    for column in model.to_schema().columns.values()
    for check in column.checks
}


@pytest.mark.parametrize("asked", sorted(ASKED))
def test_each_check_breaks_on_the_values_that_pandera_refuses_one_by_one(asked: str) -> None:
    column, check = ASKED[asked]
    dtype, said = column.dtype.type, check.statistics
    bounds = [said.get(name) or 0 for name in ("min_value", "max_value")]
    words = [
        *said.get("allowed_values", ()),
        "",
        "1",
        "16",
        "169",
        "1690",
        "0" * 24,
        f"skjult-{0:032}",
        "YR-0001-001",
        "6101901111",
        "x",
    ]
    values = (
        words if dtype == pl.String else [*said.get("allowed_values", ()), *(b + d for b in bounds for d in (-1, 0, 1))]
    )
    alone = pa.DataFrameSchema({"v": pa.Column(dtype, checks=check)})
    verdicts = set()
    for value in values:
        frame = pl.DataFrame({"v": [value]}, schema={"v": dtype})
        broken = frame.select(BREAKS[check.name](pl.col("v"), said)).item()
        verdicts.add(broken)
        if broken:
            with pytest.raises(pandera.errors.SchemaError):
                alone.validate(frame)
        else:
            alone.validate(frame)
    assert verdicts == {True, False}


def test_a_frame_of_other_columns_types_or_keys_breaks_its_contract() -> None:
    good = typed("classified.krav", KRAV)
    for frame in (
        good.drop("konto"),
        good.with_columns(ny=1),
        good.with_columns(pl.col("konto").cast(pl.Binary)),
        pl.concat([good, good]),
    ):
        with pytest.raises(ContractError):
            validate("classified.krav", frame)


def test_a_check_of_the_whole_frame_belongs_to_the_contract_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pair(Contract):
        a: pl.Int64
        b: pl.Int64

        @pa.dataframe_check
        def b_is_above_a(cls, data: pa.PolarsData) -> pl.LazyFrame:  # noqa: N805  as pandera calls it
            return data.lazyframe.select(pl.col("b") > pl.col("a"))

    monkeypatch.setitem(TABLES, "proeve.par", Pair)
    validate("proeve.par", pl.DataFrame({"a": [1], "b": [2]}))
    with pytest.raises(ContractError):
        validate("proeve.par", pl.DataFrame({"a": [1], "b": [1]}))


def test_a_broken_contract_stops_the_month_and_names_the_column(session: Session, tmp_path: Path) -> None:
    asked = Asked(session, Place(tmp_path, RULES), month_of("2024-01"))
    assert kontrakter_holder(asked).bestaaet
    stored(session, SQL_MADE[0], GOOD | {"status": "andet"})
    broken = kontrakter_holder(asked)
    assert (broken.bestaaet, broken.antal) == (False, 1)
    assert "classified.dom, status: isin (1)" in broken.tekst
