"""Understands what the Dagster UI shows of a table: columns, counts and sums, never a cell value."""

from typing import Any

import dagster as dg
import pandera.polars as pa

from refusion_assets.tables import TABLES
from refusion_assets.warehouse import SQL_TYPE

KINDS = {"duckdb", "polars"}
OWNER = "team:ydelsesrefusion"


def table_schema(model: type[pa.DataFrameModel]) -> dg.TableSchema:
    """The columns of a contract as the UI shows them: type, constraints and description."""
    columns = []
    for name, column in model.to_schema().columns.items():
        checks = [str(check.error or check.name) for check in column.checks]
        columns.append(
            dg.TableColumn(
                name,
                SQL_TYPE[column.dtype.type.base_type()],
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable, other=checks),
            )
        )
    return dg.TableSchema(columns)


def of_table(table: str) -> dict[str, Any]:
    """The metadata every asset of a table carries: its columns and where it lies."""
    return {"dagster/column_schema": table_schema(TABLES[table]), "dagster/table_name": table}


def kroner(oere: int) -> float:
    """Øre as kroner for plotting in the UI only; money is never computed from it."""
    return oere / 100
