"""The base of every contract: its columns and no others, one row per key, nothing coerced."""

import pandera.errors
import polars as pl
import pytest

from refusion_assets.domain.contract import Contract
from refusion_assets.store.tables import TABLES


class Person(Contract, key=["id"]):
    """One row per person."""

    id: pl.Int64
    alder: pl.Int64


class Older(Person, key=["id", "alder"]):
    """One row per person and age."""


class Named(Contract):
    """Rows without a key."""

    navn: pl.String


GOOD = pl.DataFrame({"id": [1, 2], "alder": [30, 30]})


@pytest.mark.parametrize(
    "frame",
    [
        GOOD.with_columns(mere=pl.lit(1)),
        GOOD.drop("alder"),
        GOOD.with_columns(id=pl.lit(1)),
        GOOD.with_columns(pl.col("alder").cast(pl.Int32)),
        GOOD.with_columns(alder=pl.lit(None, dtype=pl.Int64)),
    ],
    ids=["a column more", "a column less", "a key twice", "another type", "null"],
)
def test_a_contract_refuses(frame: pl.DataFrame) -> None:
    Person.validate(GOOD)
    with pytest.raises(pandera.errors.SchemaError):
        Person.validate(frame)


def test_a_contract_without_key_takes_a_row_twice_and_one_with_a_wider_key_takes_the_rest_twice() -> None:
    Named.validate(pl.DataFrame({"navn": ["a", "a"]}))
    Older.validate(pl.DataFrame({"id": [1, 1], "alder": [30, 31]}))
    assert Person.to_schema().unique == ["id"]


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_is_strict_and_its_key_lies_in_its_columns(table: str) -> None:
    schema = TABLES[table].to_schema()
    assert (schema.strict, schema.coerce, schema.ordered) == (True, False, False)
    assert set(schema.unique or ()) <= set(schema.columns)
