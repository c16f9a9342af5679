"""The one door to DuckDB: transactions, tables from contracts, temporary tables."""

import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import pandera.errors
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.stop import Stop
from refusion_assets.store.tables import TABLES

if find_spec("pandas") is None:
    # For each value of a query DuckDB asks for pandas, and Python would look through every folder each time.
    sys.modules["pandas"] = None  # type: ignore[assignment]

LOCK_PATIENCE_SECONDS = 30.0
# DuckDB keeps blocks in memory up to this limit and spills beyond it; the frames of a shard come on top.
MEMORY_LIMIT = "2500MB"
SQL_TYPE = {
    pl.Date: "DATE",
    pl.Int64: "BIGINT",
    pl.String: "VARCHAR",
    pl.Boolean: "BOOLEAN",
    pl.Datetime: "TIMESTAMP",
}
# DuckDB reads a step's commit again at each opening of the file, until a checkpoint moves it into the file.
COMMITTED_LIMIT = "1MB"
# A thread that waits for the disk leaves its core to another.
THREADS = 2 * (os.cpu_count() or 1)
WAREHOUSE = "lager"
VIEWS = Path(__file__).parent / "views.sql"


class ContractError(ValueError):
    """A table that breaks its contract; the text holds check names and counts, never values."""


class Locked(RuntimeError):
    """Somebody else has the warehouse open."""


# DuckDB's messages for a file, or the log beside it, with other bytes than it wrote.
DAMAGED = re.compile(
    r"corrupt|replaying WAL|not a valid DuckDB|Could not read|Is a directory|INTERNAL Error|Serializ", re.IGNORECASE
)
OF_THE_SYSTEM = re.compile("Read-only file system|Permission denied")
OF_THE_LOCK = re.compile(r"Could not set lock|Conflicting lock")
OF_ANOTHER_DUCKDB = re.compile(r"version number", re.IGNORECASE)


def validate(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame, proved against its table's contract; ContractError without any cell value.

    pandera checks data only in collected frames, so lazy frames are not accepted.
    """
    schema, whole = TABLES[table].to_schema(), _asked_at_once(table)
    if schema.unique and set(schema.unique) <= set(frame.columns) and not _distinct(frame.select(schema.unique)):
        whole = schema
    with suppress(pandera.errors.SchemaErrors):
        return whole.validate(frame, lazy=True)
    try:
        return schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases.group_by("column", "check").len().sort("column", "check")
        found = "; ".join(f"{column}: {check} ({count})" for column, check, count in cases.iter_rows())
    raise ContractError(f"{table} bryder sin kontrakt: {found}")


@cache
def _asked_at_once(table: str) -> pa.DataFrameSchema:
    """The contract of a table without its key, with the conditions of all columns in one question.

    pandera asks a frame twice for each column: two thirds of the time for the small frames of most months.
    """
    schema = TABLES[table].to_schema()
    columns = {name: pa.Column(column.dtype, nullable=True) for name, column in schema.columns.items()}
    broken = [condition for name, column in schema.columns.items() for condition in _breaks(name, column)]

    def kept(data: Any) -> bool:
        return not broken or not data.lazyframe.select(pl.any_horizontal(broken)).collect().item()

    checks = [*schema.checks, pa.Check(kept, name="kontrakt")]
    return pa.DataFrameSchema(columns, checks=checks, strict=True)


# Each pandera check as an expression that is true where a value breaks it.
BREAKS: dict[str, Callable[[pl.Expr, dict[str, Any]], pl.Expr]] = {
    "isin": lambda value, said: ~value.is_in(list(said["allowed_values"])),
    "greater_than": lambda value, said: value <= said["min_value"],
    "greater_than_or_equal_to": lambda value, said: value < said["min_value"],
    "less_than_or_equal_to": lambda value, said: value > said["max_value"],
    "str_matches": lambda value, said: ~value.str.contains(f"^(?:{said['pattern']})"),
    "str_length": lambda value, said: (
        ~value.str.len_chars().is_between(said["min_value"] or 0, said["max_value"] or 2**31)
    ),
}


def _breaks(name: str, column: Any) -> Iterator[pl.Expr]:
    """The conditions of a column's contract, each true if a row of the frame breaks it."""
    if not column.nullable:
        yield pl.col(name).is_null().any()
    for check in column.checks:
        yield BREAKS[check.name](pl.col(name), check.statistics).any()


def _distinct(keys: pl.DataFrame) -> bool:
    """True if all keys are distinct, proved by their hashes: distinct hashes have distinct keys.

    Many times faster than comparing the keys. False proves nothing: then the contract compares the keys.
    """
    return keys.hash_rows().n_unique() == keys.height


@dataclass(frozen=True)
class Warehouse:
    """The DuckDB file of a data root. One writer; readers get the published copy."""

    root: Path

    @property
    def path(self) -> Path:
        """The live file."""
        return self.root / WAREHOUSE / "ydelsesrefusion.duckdb"

    @property
    def published(self) -> Path:
        """The copy that analysts open; replaced by atomic rename after a run."""
        return self.root / "udgivet" / "ydelsesrefusion.duckdb"

    @contextmanager
    def open(self) -> Iterator["Session"]:
        """A session in one transaction: committed if the block ends well, else the state before it."""
        with self._readable(self.path), self._connect(self.path) as connection:
            session = Session(connection)
            connection.execute("BEGIN")
            session.prepare()
            yield session
            connection.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator["Session"]:
        """A session that only reads the published copy, so that no run ever waits for it; Stop if there is none."""
        if not self.published.exists():
            raise Stop(f"der er ingen udgivet kørsel i {self.root} endnu; er REFUSION_DATA rigtig? kør en måned først")
        with self._readable(self.published), self._connect(self.published, read_only=True) as connection:
            yield Session(connection)

    @contextmanager
    def watching(self) -> Iterator["Session"]:
        """A session on the live file that changes nothing, not even the layout; Locked if a run has it open."""
        with self._readable(self.path), self._connect(self.path, read_only=True, patience=1.0) as connection:
            yield Session(connection)

    @contextmanager
    def _readable(self, path: Path) -> Iterator[None]:
        """Within the block, a file that DuckDB cannot read becomes a Stop with the remedy."""
        try:
            yield
        except duckdb.Error as error:
            said = str(error)
            if OF_ANOTHER_DUCKDB.search(said):
                raise Stop(f"{path} er skrevet af en anden udgave af DuckDB; brug den udgave af programmet") from None
            if not DAMAGED.search(said):
                raise
            what = "loggen ved siden af den (.wal)" if "WAL" in said else "filen"
            raise Stop(f"{path} kan ikke læses, {what} er beskadiget; {self._remedy(path)}") from None

    def _remedy(self, path: Path) -> str:
        """The way out when a file cannot be read. The published copy is the live file after the last run."""
        if path == self.published:
            return f"flyt mappen {path.parent.name} et andet sted hen; den næste kørsel laver en ny"
        aside = f"flyt mappen {WAREHOUSE} et andet sted hen"
        if not self.published.exists():
            return f"{aside}, og kør månederne igen fra den første"
        copy = f"{self.published.parent.name}/{self.published.name}"
        return f"{aside}, læg en kopi af {copy} i en ny mappe {WAREHOUSE}, og kør det samme igen"

    def _connect(
        self, path: Path, *, read_only: bool = False, patience: float = LOCK_PATIENCE_SECONDS
    ) -> duckdb.DuckDBPyConnection:
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + patience
        while True:
            try:
                connection = duckdb.connect(str(path), read_only=read_only)
                break
            except duckdb.IOException as error:
                if refused := OF_THE_SYSTEM.search(str(error)):
                    raise Stop(f"systemet siger {refused[0]}: {path}; ret det, og kør igen") from None
                if not OF_THE_LOCK.search(str(error)):
                    raise
                if time.monotonic() > deadline:
                    raise Locked("lageret er åbnet af et andet program; luk det og kør igen") from None
                time.sleep(0.25)
        # A commit makes the rows of a step safe; a later step moves a small log into the file.
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        connection.execute(f"SET checkpoint_threshold = '{COMMITTED_LIMIT}'")
        connection.execute("SET preserve_insertion_order = true")
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        connection.execute(f"SET threads = {THREADS}")
        return connection

    @contextmanager
    def extracting(self, target: "Warehouse") -> Iterator["Session"]:
        """A session on the new published copy of another data root, which can also read this one's, named `landet`.

        All is in one transaction; the new file has no log beside it when the block has ended well.
        """
        with self._readable(self.published), self._connect(target.published) as connection:
            session = Session(connection)
            session.prepare()
            connection.execute(f"ATTACH {_literal(str(self.published))} AS landet (READ_ONLY)")
            connection.execute("BEGIN")
            yield session
            connection.execute("COMMIT")
            connection.execute("DETACH landet")
            connection.execute("CHECKPOINT")

    def checkpoint(self, patience: float = LOCK_PATIENCE_SECONDS) -> None:
        """Move the log of commits into the live file; Locked if somebody has it open for longer than the patience."""
        with self._readable(self.path), self._connect(self.path, patience=patience) as connection:
            connection.execute("CHECKPOINT")


# Each pandera check as SQL that is true where a value breaks it; a missing value has its own condition.
BROKEN: dict[str, Callable[[str, dict[str, Any]], str]] = {
    "isin": lambda name, said: f"{name} NOT IN ({', '.join(map(_literal, said['allowed_values']))})",
    "greater_than": lambda name, said: f"{name} <= {_literal(said['min_value'])}",
    "greater_than_or_equal_to": lambda name, said: f"{name} < {_literal(said['min_value'])}",
    "less_than_or_equal_to": lambda name, said: f"{name} > {_literal(said['max_value'])}",
    "str_matches": lambda name, said: f"NOT regexp_matches({name}, {_literal(said['pattern'])})",
    "str_length": lambda name, said: (
        f"length({name}) NOT BETWEEN {said['min_value'] or 0} AND {said['max_value'] or 2**31}"
    ),
}


def _literal(value: object) -> str:
    """A value of a contract as SQL."""
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def _conditions(name: str, column: Any) -> Iterator[tuple[str, str]]:
    """The conditions of a column's contract: a word, and the SQL that is true where a row breaks it."""
    if not column.nullable:
        yield "not_nullable", f'"{name}" IS NULL'
    for check in column.checks:
        yield check.name, BROKEN[check.name](f'"{name}"', check.statistics)


def _how_many(table: str, name: str, what: str, condition: str) -> str:
    """SQL for how many rows of a table break one condition of a column.

    DuckDB's statistics rule out most rows unread. A list of values would be compared with every row, so each distinct
    value is compared once. Its count is an aggregate, as a second key would be compared with every row too.
    """
    if what != "isin":
        return f"SELECT count(*) FROM {table} WHERE {condition}"
    each = f'SELECT any_value("{name}") AS "{name}", count(*) AS antal FROM {table} GROUP BY "{name}"'
    return f"SELECT coalesce(sum(antal), 0)::BIGINT FROM ({each}) WHERE {condition}"


@cache
def _layout() -> tuple[str, ...]:
    """The statements that make every schema, table and view; tables follow their contracts."""
    statements = []
    for table in TABLES:
        statements.append(f"CREATE SCHEMA IF NOT EXISTS {table.split('.')[0]}")
        statements.append(f"CREATE TABLE IF NOT EXISTS {table} ({_columns(table)})")
    views = VIEWS.read_text("utf-8").split(";\n")
    return (*statements, *(view for view in views if view.strip()))


def _columns(table: str) -> str:
    """The columns of a table in SQL, as its contract has them."""
    columns = TABLES[table].to_schema().columns
    return ", ".join(f'"{name}" {SQL_TYPE[column.dtype.type.base_type()]}' for name, column in columns.items())


def among(column: str, parameter: str, of: str = "VARCHAR") -> str:
    """SQL that is true where a column has one of the values of a list; the list is the parameter of that name."""
    return f"{column} IN (SELECT unnest(${parameter}::{of}[]))"


@dataclass(frozen=True)
class Relation:
    """Rows that SQL can read: a table, a temporary table, or a query in parentheses. Its text fits after FROM."""

    sql: str

    def __str__(self) -> str:
        """The relation in SQL."""
        return self.sql


@dataclass(frozen=True)
class Session:
    """One open transaction on the warehouse."""

    connection: duckdb.DuckDBPyConnection
    _numbers: Iterator[int] = field(default_factory=lambda: count(1), repr=False, compare=False)

    def prepare(self) -> None:
        """Make the schemas, tables and views that are missing or differ from this program's.

        Stop if a table has other columns: an earlier version of the program made it.
        """
        wanted = _layout()
        digest = hashlib.sha256(";".join(wanted).encode()).hexdigest()
        known = "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'identitet' AND comment = $digest"
        if self.value(known, digest=digest):
            return
        self.refuse_other_columns()
        for statement in wanted:
            self.connection.execute(statement)
        self.connection.execute(f"COMMENT ON TABLE identitet.borger IS '{digest}'")

    def refuse_other_columns(self) -> None:
        """Stop if a table that is there has other columns than its contract."""
        found = self.frame("""SELECT schema_name || '.' || table_name AS tabel, list(column_name) AS kolonner
            FROM duckdb_columns() GROUP BY 1""")
        for tabel, kolonner in found.iter_rows():
            if tabel in TABLES and set(kolonner) != set(TABLES[tabel].to_schema().columns):
                raise Stop(
                    f"lageret er lavet af en tidligere udgave af programmet ({tabel}); flyt mappen "
                    f"{WAREHOUSE} et andet sted hen, og kør månederne igen fra den første"
                )

    def has(self, table: str) -> bool:
        """True if the warehouse has a table; one made by an earlier version of the program may lack it."""
        known = "SELECT count(*) > 0 FROM duckdb_tables() WHERE schema_name = $schema AND table_name = $name"
        schema, _, name = table.partition(".")
        return bool(self.value(known, schema=schema, name=name))

    def fill_in(self) -> None:
        """Empty tables in memory in place of those that an earlier version of the program did not make.

        The file stays as it is. Stop if a table that is there has other columns.
        """
        self.refuse_other_columns()
        there = self.frame("SELECT schema_name || '.' || table_name AS tabel FROM duckdb_tables()")["tabel"].to_list()
        lacking = [table for table in TABLES if table not in there]
        if not lacking:
            return
        file = self.value("SELECT current_database()")
        self.connection.execute("ATTACH ':memory:' AS tomme (READ_WRITE)")
        for table in lacking:
            self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS tomme.{table.split('.')[0]}")
            self.connection.execute(f"CREATE TABLE tomme.{table} ({_columns(table)})")
        # DuckDB looks for `schema.table` in each database that the search path names with that schema.
        schemas = self.frame("SELECT database_name, schema_name FROM duckdb_schemas() WHERE NOT internal ORDER BY ALL")
        path = [f"{file}.main", *(".".join(row) for row in schemas.rows() if row[0] in (file, "tomme"))]
        self.connection.execute(f"SET search_path = '{','.join(path)}'")

    def frame(self, query: str, **parameters: object) -> pl.DataFrame:
        """The rows of a query as a frame; `$name` in the query takes the parameter of that name.

        A relation of a query with parameters (`sql`) would pass every value through Python, twenty times slower.
        """
        return self.connection.execute(query, parameters or None).pl()

    @contextmanager
    def lending(self, name: str, frame: pl.DataFrame) -> Iterator[None]:
        """Within the block, queries can read the frame by its name; for small frames, as the transaction keeps it."""
        self.connection.register(name, frame)
        try:
            yield
        finally:
            self.connection.unregister(name)

    def value(self, query: str, **parameters: object) -> object:
        """The single value of a query."""
        row = self.connection.execute(query, parameters or None).fetchone()
        return row[0] if row else None

    def count(self, rows: Relation | str, **parameters: object) -> int:
        """The number of rows of a table or relation."""
        return self.integer(f"SELECT count(*) FROM {rows}", **parameters)

    def integer(self, query: str, **parameters: object) -> int:
        """The single number of a query; 0 if it is null."""
        found: Any = self.value(query, **parameters)
        return int(found or 0)

    def day(self, query: str, **parameters: object) -> date | None:
        """The single date of a query; None if it is null."""
        found: Any = self.value(query, **parameters)
        return found  # type: ignore[no-any-return]

    def pairs(self, query: str, **parameters: object) -> dict[Any, Any]:
        """The first column of a query's rows, each with the second."""
        return dict(self.frame(query, **parameters).iter_rows())

    def run(self, statement: str, **parameters: object) -> None:
        """A statement that gives no rows."""
        self.connection.execute(statement, parameters or None)

    def temp(self, name: str, query: str, **parameters: object) -> Relation:
        """A temporary table with the rows of a query. Its name is `name` and a number that no other of the session has.

        So no later query replaces it while in use. It lasts as long as the session: DuckDB frees the memory of a
        temporary table when the transaction ends, however early it is dropped.
        """
        relation = Relation(f"{name}_{next(self._numbers)}")
        self.connection.execute(f"CREATE TEMP TABLE {relation} AS {query}", parameters or None)
        return relation

    def add(self, relation: Relation, query: str, **parameters: object) -> None:
        """The rows of a query added to a temporary table."""
        self.connection.execute(f"INSERT INTO {relation} {query}", parameters or None)

    def insert(self, table: str, frame: pl.DataFrame) -> int:
        """Rows added to a table, by column name, after its contract is proved.

        DuckDB finds the frame by the name of the variable. If it were registered, the catalog would hold it, and
        with it its memory, until the transaction ends.
        """
        if frame.is_empty():
            return 0
        # Without the newest Arrow format Polars copies the text of every column before DuckDB copies it.
        proved = validate(table, frame).to_arrow(compat_level=pl.CompatLevel.newest())  # noqa: F841
        names = ", ".join(f'"{name}"' for name in TABLES[table].to_schema().columns)
        self.connection.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM proved")
        return frame.height

    def take(self, table: str, columns: str, query: str) -> None:
        """The rows of a query on named columns, sorted, put in a table; ContractError if it has other columns."""
        schema = TABLES[table].to_schema()
        if odd := {name.strip() for name in columns.split(",")} ^ set(schema.columns):
            raise ContractError(f"{table} har andre kolonner: {sorted(odd)}")
        order = ", ".join(schema.unique or ["ALL"])
        self.connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM ({query}) ORDER BY {order}")

    def reword(self, relation: object, column: str, text: str, word: str) -> None:
        """Another word for a text in a column of a temporary table."""
        self.connection.execute(f"UPDATE {relation} SET {column} = $word WHERE {column} = $text",
                                {"word": word, "text": text})  # fmt: skip

    def content(self, table: str) -> str:
        """The number of a table's rows and the sum of their hashes: the same for the same rows in any order."""
        return str(self.value(f"SELECT concat(count(*), ' ', sum(hash(t)::HUGEINT)) FROM {table} t"))

    def breaches(self, table: str) -> dict[str, int]:
        """The number of rows of a table that break each part of its contract, asked of DuckDB; only broken parts.

        For tables too large to pass through a frame. Keys are not tested. KeyError on a check without SQL.
        """
        found = {
            f"{name}: {what}": self.integer(_how_many(table, name, what, condition))
            for name, column in TABLES[table].to_schema().columns.items()
            for what, condition in _conditions(name, column)
        }
        return {what: number for what, number in found.items() if number}

    def replace(self, table: str, frame: pl.DataFrame) -> int:
        """A table with exactly these rows."""
        self.connection.execute(f"DELETE FROM {table}")
        return self.insert(table, frame)
