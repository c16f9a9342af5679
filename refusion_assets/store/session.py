"""The one door to DuckDB: transactions, tables from contracts, temporary tables."""

import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from refusion_assets.domain.stop import Stop
from refusion_assets.store import durable
from refusion_assets.store.key import NO_FILE, connected, encrypt, key_of, refusal, unlock
from refusion_assets.store.state import NOTES, READING, STATE, Changes, State, mended
from refusion_assets.store.tables import (
    TABLES,
    ContractError,
    breaks,
    columns_of,
    layout,
    listed,
    quoted,
    types_of,
    validate,
    views_of,
)

if find_spec("pandas") is None:
    # For each value of a query DuckDB asks for pandas, and Python would look in every folder each time.
    # Before the mark is set, pyarrow looks too, once for all. It would take the mark for pandas, and a semi join with a
    # frame would end the process.
    pa.scalar(0)
    sys.modules["pandas"] = None  # type: ignore[assignment]

LOCK_PATIENCE_SECONDS = 30.0
# DuckDB keeps blocks in memory up to this limit and spills beyond it; the frames of a shard come on top.
MEMORY_LIMIT = "2500MB"
# DuckDB reads a step's commit again at each opening of the file, until a checkpoint moves it into the file.
COMMITTED_LIMIT = "1MB"
# A thread that waits for the disk leaves its core to another.
THREADS = 2 * (os.cpu_count() or 1)
WAREHOUSE, SPILL = "lager", "spild"
SPILLS = count(1)


class Locked(RuntimeError):
    """Somebody else has the warehouse open."""


# DuckDB's messages for a file, or the log beside it, with other bytes than it wrote.
DAMAGED = re.compile(
    r"corrupt|replaying WAL|not a valid DuckDB|Could not read|Is a directory|INTERNAL Error|Serializ", re.IGNORECASE
)
OF_THE_SYSTEM = re.compile("Read-only file system|Permission denied")
OF_THE_LOCK = re.compile(r"Could not set lock|Conflicting lock")
OF_ANOTHER_DUCKDB = re.compile(r"version number", re.IGNORECASE)


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

    def is_published(self) -> bool:
        """True if there is a state, or in an unpacked package a file, for readers."""
        return (self.root / READING / STATE).exists() or self.published.exists()

    @contextmanager
    def open(self) -> Iterator["Session"]:
        """A session in one transaction: committed if the block ends well, else the state before it.

        Where the live file is gone, it is made again of the published state.
        """
        if not self.path.exists():
            self._take_back()
        with self._readable(self.path), self._connect(self.path) as connection:
            session = Session(connection)
            connection.execute("BEGIN")
            session.prepare()
            yield session
            session.changes.keep()
            connection.execute("COMMIT")

    @contextmanager
    def reading(self, state: State | None = None) -> Iterator["Session"]:
        """A session that reads a published state, the last one if none is given; Stop if there is none.

        No run ever waits for it. In an unpacked package it reads the package's DuckDB file.
        """
        state = state or State.read(self.root)
        if state is None:
            with self._plain() as session:
                yield session
            return
        with mended(state), self._connect(NO_FILE) as connection:
            _read_from(connection, state)
            yield Session(connection)

    @contextmanager
    def _plain(self) -> Iterator["Session"]:
        """A session on a file of tables in `udgivet`: that of a package, or the copy of an earlier program."""
        none = f"der er ingen udgivet kørsel i {self.root} endnu; er REFUSION_DATA rigtig? kør en måned først"
        if not self.published.exists():
            raise Stop(none)
        with self._readable(self.published), self._connect(self.published, read_only=True) as connection:
            session = Session(connection)
            if not session.count("duckdb_tables()"):
                raise Stop(none)
            yield session

    @contextmanager
    def watching(self, patience: float = 1.0) -> Iterator["Session"]:
        """A session on the live file that changes nothing, not even the layout; Locked if a run has it open."""
        with self._readable(self.path), self._connect(self.path, read_only=True, patience=patience) as connection:
            yield Session(connection)

    @contextmanager
    def _readable(self, path: Path) -> Iterator[None]:
        """Within the block, a file that DuckDB cannot read becomes a Stop with the remedy."""
        try:
            yield
        except duckdb.Error as error:
            said = str(error)
            if of_the_key := refusal(said, path):
                raise Stop(of_the_key) from None
            if OF_ANOTHER_DUCKDB.search(said):
                raise Stop(f"{path} er skrevet af en anden udgave af DuckDB; brug den udgave af programmet") from None
            if not DAMAGED.search(said):
                raise
            what = "loggen ved siden af den (.wal)" if "WAL" in said else "filen"
            raise Stop(f"{path} kan ikke læses, {what} er beskadiget; {self._remedy(path)}") from None

    def _remedy(self, path: Path) -> str:
        """The way out when a file cannot be read."""
        if path == self.published:
            return f"flyt mappen {path.parent.name} et andet sted hen; den næste kørsel laver en ny"
        if State.read(self.root) is None:
            return f"flyt mappen {WAREHOUSE} et andet sted hen, og kør månederne igen fra den første"
        return (
            f"flyt {WAREHOUSE}/{path.name} og {path.name}.wal et andet sted hen, og kør det samme igen: så laves "
            "lageret af den udgivne tilstand"
        )

    def _take_back(self) -> None:
        """Make the live file of the published state, if there is one. Stop if a file of the state is missing."""
        state = State.read(self.root)
        if state is None:
            return
        fresh = self.path.with_name(f"{self.path.name}.ny")
        for path in (fresh, fresh.with_name(f"{fresh.name}.wal")):
            path.unlink(missing_ok=True)
        with self._beside(state, self, fresh) as session:
            for table in state.kolonner:
                columns = listed(types_of(table))
                session.run(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM landet.{table}")
        # The log of the lost file would be read into the new one.
        lost = self.path.with_name(f"{self.path.name}.wal")
        if lost.exists():
            lost.rename(lost.with_name(f"{lost.name}.beskadiget"))
        durable.put(fresh, self.path)

    def _connect(
        self, path: Path, *, read_only: bool = False, patience: float = LOCK_PATIENCE_SECONDS
    ) -> duckdb.DuckDBPyConnection:
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + patience
        while True:
            try:
                connection = connected(path, self._key(), read_only=read_only)
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
        connection.execute(f"SET temp_directory = {quoted(self._spill(read_only=read_only))}")
        return connection

    def _key(self) -> str | None:
        """The key of the data root; none for a package, which has no live file and is sealed as a whole."""
        return key_of(self.root) if self.path.parent.is_dir() else None

    def _spill(self, *, read_only: bool) -> str:
        """The folder for what DuckDB has no memory for; empty, so that nothing spills, in a package that is read.

        Each connection has its own, and one that writes takes away those of killed processes.
        """
        folder = self.root / WAREHOUSE
        if not folder.is_dir():
            folder = self.published.parent
        if read_only and folder.name != WAREHOUSE:
            return ""
        for left in () if read_only else folder.glob(f"{SPILL}-*"):
            if not Path("/proc", left.name.split("-")[1]).exists():
                shutil.rmtree(left, ignore_errors=True)
        return str(folder / f"{SPILL}-{os.getpid()}-{next(SPILLS)}")

    @contextmanager
    def extracting(self, target: "Warehouse") -> Iterator["Session"]:
        """A session on the new DuckDB file of a package, which can also read this root's state, named `landet`.

        All is in one transaction; the new file has no log beside it when the block has ended well.
        """
        state = State.read(self.root)
        if state is None:
            raise Stop(f"der er ingen udgivet kørsel i {self.root} endnu; kør den sidste måned igen")
        with self._beside(state, target, target.published) as session:
            yield session

    @contextmanager
    def _beside(self, state: State, target: "Warehouse", path: Path) -> Iterator["Session"]:
        """A session in one transaction on a new file with every table, and with those of a state named `landet`."""
        with mended(state), target._connect(path) as connection:  # noqa: SLF001  of this class
            if key := self._key():
                unlock(connection, key)
            session = Session(connection)
            session.prepare()
            connection.execute("ATTACH ':memory:' AS landet")
            for statement in state.views(database="landet"):
                connection.execute(statement)
            connection.execute("BEGIN")
            yield session
            connection.execute("COMMIT")
            connection.execute("DETACH landet")
            connection.execute("CHECKPOINT")

    def encrypt(self) -> None:
        """Make the live file anew, encrypted with the key; Stop if there is none, or the file has another one.

        The new file takes the place of the old by rename when it is whole and on the disk. A file that has the key
        already stays, so that a killed `krypter` can be given again.
        """
        key = key_of(self.root)
        if key is None:
            raise Stop("der er ingen nøgle; nævn en fil med den i REFUSION_NOEGLE_FIL")
        with self._readable(self.path):
            encrypt(self.path, key)
        # An earlier mending left plain files beside the live one.
        for left in (".ny", ".ny.wal", ".wal.beskadiget"):
            self.path.with_name(f"{self.path.name}{left}").unlink(missing_ok=True)

    @contextmanager
    def alone(self, patience: float = LOCK_PATIENCE_SECONDS) -> Iterator["Session"]:
        """A session without a transaction on the live file, with its log of commits moved into it.

        Nobody else can write or read the live file meanwhile. Locked if somebody has it open for longer than the
        patience. Where it is gone, it is made again of the published state.
        """
        if not self.path.exists():
            self._take_back()
        with self._readable(self.path), self._connect(self.path, patience=patience) as connection:
            connection.execute("CHECKPOINT")
            yield Session(connection)


def _read_from(connection: duckdb.DuckDBPyConnection, state: State) -> None:
    """Make every table and view of the warehouse in an empty session, each a view on the files of a state."""
    # The files of a state never change, so what was read of one holds as long as the session. DuckDB 1.5.5 fails if it
    # remembers that of an encrypted file.
    connection.execute(f"SET parquet_metadata_cache = {not state.krypteret}")
    for statement in (*state.views(), *views_of()):
        connection.execute(statement)


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

    @cached_property
    def changes(self) -> Changes:
        """The parts of tables that the transaction has written."""
        return Changes(self.connection)

    def prepare(self) -> None:
        """Make the schemas, tables and views that are missing or differ from this program's.

        Stop if a table has other columns: an earlier version of the program made it.
        """
        wanted = (*layout(), *NOTES)
        digest = hashlib.sha256(";".join(wanted).encode()).hexdigest()
        known = "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'identitet' AND comment = $digest"
        if self.value(known, digest=digest):
            return
        self.refuse_other_columns()
        for statement in wanted:
            self.connection.execute(statement)
        self.connection.execute(f"COMMENT ON TABLE identitet.borger IS '{digest}'")

    def refuse_other_columns(self) -> Collection[str]:
        """The tables that are there; Stop if one has other columns than its contract."""
        query = "SELECT concat(schema_name, '.', table_name), column_name FROM duckdb_columns() WHERE NOT internal"
        found: dict[str, set[str]] = {}
        for tabel, kolonne in self.connection.execute(query).fetchall():
            found.setdefault(tabel, set()).add(kolonne)
        for tabel, kolonner in found.items():
            if tabel in TABLES and kolonner != types_of(tabel).keys():
                raise Stop(
                    f"lageret er lavet af en tidligere udgave af programmet ({tabel}); flyt mappen "
                    f"{WAREHOUSE} et andet sted hen, og kør månederne igen fra den første"
                )
        return found.keys()

    def has(self, table: str) -> bool:
        """True if the warehouse has a table; one made by an earlier version of the program may lack it."""
        known = "SELECT count(*) > 0 FROM duckdb_columns() WHERE schema_name = $schema AND table_name = $name"
        schema, _, name = table.partition(".")
        return bool(self.value(known, schema=schema, name=name))

    def fill_in(self) -> None:
        """Empty tables in memory in place of those that an earlier version of the program did not make.

        The file stays as it is. Stop if a table that is there has other columns.
        """
        there = self.refuse_other_columns()
        lacking = [table for table in TABLES if table not in there]
        if not lacking:
            return
        file = self.value("SELECT current_database()")
        self.connection.execute("ATTACH ':memory:' AS tomme (READ_WRITE)")
        for table in lacking:
            self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS tomme.{table.split('.')[0]}")
            self.connection.execute(f"CREATE TABLE tomme.{table} ({columns_of(table)})")
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
        """A statement that gives no rows; it begins with what it does, and the table it changes."""
        self.changes.run(statement, parameters)

    def temp(self, name: str, query: str, **parameters: object) -> Relation:
        """A temporary table with the rows of a query. Its name is `name` and a number that no other of the session has.

        So no later query replaces it while in use. It lasts as long as the session: DuckDB frees the memory of a
        temporary table when the transaction ends, however early it is dropped.
        """
        relation = Relation(f"{name}_{next(self._numbers)}")
        self.connection.execute(f"CREATE TEMP TABLE {relation} AS {query}", parameters or None)
        return relation

    def drop(self, relation: object) -> None:
        """A temporary table gone, with its memory where the session has no transaction."""
        self.connection.execute(f"DROP TABLE {relation}")

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
        self.changes.note_rows(table, frame)
        return frame.height

    def take(self, table: str, columns: str, query: str) -> None:
        """The rows of a query on named columns, sorted, put in a table; ContractError if it has other columns."""
        schema = TABLES[table].to_schema()
        if odd := {name.strip() for name in columns.split(",")} ^ set(schema.columns):
            raise ContractError(f"{table} har andre kolonner: {sorted(odd)}")
        order = ", ".join(schema.unique or ["ALL"])
        statement = f"INSERT INTO {table} ({columns}) SELECT {columns} FROM ({query}) ORDER BY {order}"
        self.changes.put(table, statement, {})

    def reword(self, relation: object, column: str, text: str, word: str) -> None:
        """Another word for a text in a column of a temporary table."""
        self.connection.execute(f"UPDATE {relation} SET {column} = $word WHERE {column} = $text",
                                {"word": word, "text": text})  # fmt: skip

    def reword_all(self, relation: object, column: str, words: str) -> None:
        """The text (`skrevet`) of each code (`kode`) of a table of words in a column of a temporary table."""
        self.connection.execute(f"UPDATE {relation} SET {column} = w.skrevet FROM {words} w WHERE w.kode = {column}")

    def content(self, table: str) -> str:
        """The number of a table's rows and the sum of their hashes: the same for the same rows in any order."""
        return str(self.value(f"SELECT concat(count(*), ' ', sum(hash(t)::HUGEINT)) FROM {table} t"))

    def breaches(self, table: str) -> dict[str, int]:
        """The number of rows of a table that break each part of its contract, asked of DuckDB; only broken parts.

        For tables too large to pass through a frame. Keys are not tested. KeyError on a check without SQL.
        """
        found = {what: self.integer(query) for what, query in breaks(table).items()}
        return {what: number for what, number in found.items() if number}

    def replace(self, table: str, frame: pl.DataFrame) -> int:
        """A table with exactly these rows."""
        self.run(f"DELETE FROM {table}")
        return self.insert(table, frame)
