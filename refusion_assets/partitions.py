"""Understands the grids of months and municipalities, and the names of cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import pandera.polars as pa
import polars as pl
from dagster._core.storage.tags import PARTITION_NAME_TAG

from refusion_assets import figures
from refusion_assets.domain.calendar import month_range, next_month
from refusion_assets.domain.contract import described
from refusion_assets.domain.opgoerelse.ledger import ydelse_navne
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.files.arrivals import kept
from refusion_assets.files.delivered import months_on_disk, report_files
from refusion_assets.store.tables import SQL_TYPE, TABLES

KOMMUNE, MAANED, AFSENDER = "kommune", "maaned", "afsender"
MONTHS_ON_BOARD = 13


def last_month(root: Path, rules: Rulebook, today: date) -> date:
    """The last month of the grids: this month, or a later one with a delivery."""
    return max([today.replace(day=1), *_delivered(root, rules)])


def _delivered(root: Path, rules: Rulebook) -> list[date]:
    """The month of each folder of a source under raw/."""
    return [month for k in rules.kilder for month, _ in months_on_disk(root / "raw", k.id, date.max)]


@dataclass(frozen=True)
class Grids:
    """The partitions of the assets: by month, by municipality and month, and by sender and month.

    `delivered`: the last of the months through the newest with a delivery; empty if there is none.
    """

    months: dg.StaticPartitionsDefinition
    cells: dg.MultiPartitionsDefinition
    senders: dg.MultiPartitionsDefinition
    delivered: Sequence[str]


def grids(root: Path, rules: Rulebook, today: date) -> Grids:
    """The partitions of a data root on a day.

    Nothing else reads `raw/` or asks for the day when Dagster loads the code.
    """
    months = month_grid(rules.optaelling.gaelder_fra, last_month(root, rules, today))
    known, lately = senders(root, rules), _lately(root, rules)
    delivered = lately.get_partition_keys()[:-1] if known else []
    return Grids(months, cell_grid(tuple(rules.koder), months), sender_grid(known, lately), delivered)


def _lately(root: Path, rules: Rulebook) -> dg.StaticPartitionsDefinition:
    """The last months with a delivery, and the one that comes after them."""
    found = (month for month in _delivered(root, rules) if month.year < date.max.year)
    last = next_month(max(found, default=rules.optaelling.gaelder_fra))
    return month_grid(max(rules.optaelling.gaelder_fra, next_month(last, -MONTHS_ON_BOARD)), last)


def on_board(root: Path, rules: Rulebook, month: date) -> bool:
    """True if the board (`leverance`) has cells for a month."""
    return f"{month:%Y-%m}" in _lately(root, rules).get_partition_keys()


@lru_cache(maxsize=4)
def month_grid(first: date, last: date) -> dg.StaticPartitionsDefinition:
    """Months as cells `YYYY-MM`; a fixed list, so no run reads the clock."""
    return dg.StaticPartitionsDefinition([f"{month:%Y-%m}" for month in month_range(first, last)])


class _Cells(dg.MultiPartitionsDefinition):
    """Cells of two dimensions, of which a run launched on several does all.

    Dagster tags a run over a range of cells with the municipality and the month of the first, too, and a run with these
    tags does that cell only.
    """

    @cached_property
    def _every(self) -> Sequence[dg.MultiPartitionKey]:
        return super().get_partition_keys()

    @cached_property
    def _stretches(self) -> dict[dg.PartitionKeyRange, Sequence[Any]]:
        return {}

    def get_partition_keys(self, *_: Any, **__: Any) -> Sequence[dg.MultiPartitionKey]:
        """Every cell, made once: no clock changes them, and Dagster asks for the ten thousand several times a run."""
        return self._every

    def get_partition_keys_in_range(
        self, partition_key_range: dg.PartitionKeyRange, dynamic_partitions_store: Any = None
    ) -> Sequence[Any]:
        """The cells from one to another, made once: Dagster asks for all those of a run at the metadata of each."""
        if partition_key_range not in self._stretches:
            self._stretches[partition_key_range] = super().get_partition_keys_in_range(
                partition_key_range, dynamic_partitions_store
            )
        return self._stretches[partition_key_range]

    def get_tags_for_partition_key(self, partition_key: str) -> Mapping[str, str]:
        """The run tag of a cell, without a tag of each dimension."""
        return {PARTITION_NAME_TAG: partition_key}


@lru_cache(maxsize=4)
def cell_grid(koder: tuple[str, ...], months: dg.StaticPartitionsDefinition) -> dg.MultiPartitionsDefinition:
    """Municipality x month as cells `KKK|YYYY-MM`."""
    return _Cells({KOMMUNE: dg.StaticPartitionsDefinition(list(koder)), MAANED: months})


def range_tags(first: str, last: str) -> dict[str, str]:
    """The run tags that make one run cover every cell from the first to the last."""
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def senders(root: Path, rules: Rulebook) -> list[str]:
    """Every sender (`kilde-enhed`) that has a file by its name under raw/, or was on the board before, in order."""
    lie = {f"{name['kilde']}-{name['enhed']}" for _, name, _ in report_files(root / "raw", date.max, rules)}
    return sorted(lie | {f"{proof.kilde}-{proof.enhed}" for proof in kept(root).values() if proof.enhed})


def sender_grid(afsendere: list[str], months: dg.StaticPartitionsDefinition) -> dg.MultiPartitionsDefinition:
    """Sender x month as cells `kilde-enhed|YYYY-MM`."""
    return dg.MultiPartitionsDefinition({AFSENDER: dg.StaticPartitionsDefinition(afsendere), MAANED: months})


def sender_cell(kilde: str, enhed: str, month: date) -> dg.MultiPartitionKey:
    """The cell of a sender and a month of receipt."""
    return dg.MultiPartitionKey({AFSENDER: f"{kilde}-{enhed}", MAANED: f"{month:%Y-%m}"})


KINDS = {"duckdb", "polars"}
OWNER = "team:ydelsesrefusion"


def table_schema(model: type[pa.DataFrameModel]) -> dg.TableSchema:
    """The columns of a contract as the UI shows them: type, constraints and description."""
    meaning, columns = described(model), []
    for name, column in model.to_schema().columns.items():
        checks = [str(check.error or check.name) for check in column.checks]
        columns.append(
            dg.TableColumn(
                name,
                SQL_TYPE[column.dtype.type.base_type()],
                description=meaning[name],
                constraints=dg.TableColumnConstraints(nullable=column.nullable, other=checks),
            )
        )
    return dg.TableSchema(columns)


def of_table(table: str) -> dict[str, Any]:
    """The metadata every asset of a table carries: its columns and its name."""
    return {"dagster/column_schema": table_schema(TABLES[table]), "dagster/table_name": table}


def kroner(oere: int) -> float:
    """Øre as kroner for plotting in the UI only; money is never computed from it."""
    return oere / 100


def names_of_benefits(rules: Rulebook) -> dict[str, str]:
    """The latest name of each benefit by its id."""
    return dict(ydelse_navne(rules).select("ydelse_id", "navn").iter_rows())


Shown = dict[str, dict[str, Any]]


def by_month(rows: pl.DataFrame, head: str, names: Mapping[str, str]) -> Shown:
    """The numbers of each month as its cell shows them, with a table of groups (`oversigt`); the UI plots the numbers.

    `rows`: maaned, gruppe (an id of `names`; null: the whole month), borgere, and other counts and amounts (`_oere`).
    """
    numbers = ["borgere", *(name for name in rows.columns if name not in ("maaned", "gruppe", "borgere"))]
    shown: Shown = {}
    for (month,), mine in rows.group_by("maaned"):
        whole = mine.filter(pl.col("gruppe").is_null()).row(0, named=True)
        said = {
            name.replace("_oere", "_kr"): kroner(whole[name]) if name.endswith("_oere") else whole[name]
            for name in numbers
        }
        groups = mine.drop_nulls("gruppe").select(pl.col("gruppe").replace(names), *numbers)
        shown[f"{month:%Y-%m}"] = said | {"oversigt": dg.MetadataValue.md(figures.groups(head, groups))}
    return shown


def show(context: dg.AssetExecutionContext, shown: Shown, asset_key: dg.AssetKey | None = None) -> None:
    """Show metadata on the cells of a run; cells that the run does not make are left alone."""
    for key, said in shown.items():
        if key in context.partition_keys:
            context.add_asset_metadata(said, asset_key, partition_key=key)
