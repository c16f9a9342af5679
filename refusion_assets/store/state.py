"""Understands a published state: immutable Parquet files listed by one small file, and what was written since."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import duckdb
import polars as pl

from refusion_assets.domain.stop import Stop
from refusion_assets.store.key import FOOTER_KEY, refusal
from refusion_assets.store.tables import FILE, LEFT_OUT, PARTS, columns_of, cut_of, listed, quoted, visible

READING = Path("lager") / "laesning"
ANALYSTS = Path("udgivet") / "tabeller"
STATE, BEFORE = "tilstand.json", "tilstand.forrige.json"
FORM = 1
"""The number of the layout of the files; another number makes every file anew."""


@dataclass(frozen=True)
class Part:
    """One file of a state: its table, the part of it, rows, and the number and hash of the bytes.

    `indhold`: what DuckDB says of the rows in the warehouse (`publish`). `analytiker`: it lies in `udgivet/` and holds
    only what analysts may see.
    """

    tabel: str
    del_: str
    navn: str
    raekker: int
    indhold: str
    stoerrelse: int
    sha256: str
    analytiker: bool

    @property
    def path(self) -> Path:
        """Where the file lies, from the data root."""
        return (ANALYSTS if self.analytiker else READING) / self.tabel / self.navn


@dataclass(frozen=True)
class State:
    """A whole state of the warehouse: its files, and the columns of each table."""

    root: Path
    dele: tuple[Part, ...]
    kolonner: Mapping[str, Mapping[str, str]]
    krypteret: bool = False

    @classmethod
    def read(cls, root: Path, name: str = STATE) -> "State | None":
        """The state that a file lists; None if there is no such file. Stop if it cannot be read."""
        path = root / READING / name
        try:
            said = json.loads(path.read_bytes())
            return cls(root, tuple(Part(**one) for one in said["dele"]), said["kolonner"], said["krypteret"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError):
            raise Stop(
                f"{path} kan ikke læses; flyt filen et andet sted hen, og kør den sidste måned igen (eller refusion "
                "luk), så laves den forfra"
            ) from None

    @cached_property
    def text(self) -> str:
        """The state as it stands in its file."""
        dele = [vars(part) for part in self.dele]
        return (
            json.dumps(
                {"form": FORM, "krypteret": self.krypteret, "kolonner": self.kolonner, "dele": dele},
                ensure_ascii=False,
                indent=0,
            )
            + "\n"
        )

    @cached_property
    def number(self) -> str:
        """A short hash of the content."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def of(self, table: str, *, analysts: bool) -> list[Part]:
        """The files of a table as its readers or the analysts have it, in order of part."""
        alone = analysts or not LEFT_OUT[table]
        return [part for part in self.dele if part.tabel == table and part.analytiker is alone]

    def lost(self, *, hashed: bool = False) -> list[Path]:
        """The files of the state that are gone or of another size; if `hashed`, also those with other bytes."""
        return [part.path for part in self.dele if not is_whole(self.root, part, hashed=hashed)]

    def refuse_lost(self, *, hashed: bool = False) -> None:
        """Stop if a file of the state is missing or damaged, with its name and the remedy."""
        if lost := self.lost(hashed=hashed):
            more = f" (og {len(lost) - 1} til)" if len(lost) > 1 else ""
            raise Stop(
                f"{self.root / lost[0]}{more} mangler eller er beskadiget; flyt den væk, og kør den sidste måned igen "
                "(eller refusion luk), så laves den forfra"
            )

    def views(self, *, analysts: bool = False, root: Path | None = None, database: str = "") -> Iterator[str]:
        """The statements that make each table of the state a view on its files.

        `root`: the folder that the files are named from, else the data root. `database`: an attached database.
        """
        before = f"{database}." if database else ""
        base = self.root if root is None else root
        for schema in dict.fromkeys(table.partition(".")[0] for table in self.kolonner):
            yield f"CREATE SCHEMA IF NOT EXISTS {before}{schema}"
        for table, columns in self.kolonner.items():
            seen = [name for name in columns if name in visible(table)] if analysts else list(columns)
            if not seen:
                continue
            files = [base / part.path for part in self.of(table, analysts=analysts)]
            empty = ", ".join(f'NULL::{columns[name]} AS "{name}"' for name in seen)
            source = (
                f"FROM {of_files(files, encrypted=self.krypteret)}" if files else f"FROM (SELECT {empty}) WHERE false"
            )
            yield f"CREATE OR REPLACE VIEW {before}{table} AS SELECT {listed(seen)} {source}"


def of_files(paths: Sequence[Path], *, encrypted: bool) -> str:
    """Files of a state as a table in SQL: the one form in which they are read."""
    named = ", ".join(quoted(str(path)) for path in paths)
    return f"read_parquet([{named}]{f', encryption_config = {FOOTER_KEY}' if encrypted else ''})"


def is_whole(root: Path, part: Part, *, hashed: bool = False) -> bool:
    """True if the file of a part is there with its size, and if `hashed` with its bytes."""
    path = root / part.path
    try:
        same = os.stat(path).st_size == part.stoerrelse
        return same and (not hashed or sha256_of(path) == part.sha256)
    except OSError:
        return False


def sha256_of(path: Path) -> str:
    """The sha256 of the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def mended(state: State) -> Iterator[None]:
    """Within the block, a file of the state that DuckDB cannot read becomes a Stop with its name and the remedy."""
    state.refuse_lost()
    try:
        yield
    except duckdb.Error as error:
        if of_the_key := refusal(str(error), state.root / READING):
            raise Stop(of_the_key) from None
        state.refuse_lost(hashed=True)
        raise


# The statements that change rows: the table with another name for it, and the rows that DELETE names beside it.
CHANGES = re.compile(
    r"\s*(INSERT INTO|DELETE FROM|UPDATE)\s+((\w+\.\w+)(?:\s+(?!WHERE|USING|SET|SELECT)(\w+)(?=\s))?)"
    r"(?:\s+USING\s+(\w+(?:\s+\w+)?)(?=\s+WHERE))?"
)
# DuckDB holds 16 KB of memory for each 2,048 deleted rows until the transaction ends.
MOST_DELETED = 20_000_000
NO_CHANGE = re.compile(r"\s*COPY\b")
OF_THE_TRANSACTION = "rowid >= 36028797018960000"
"""The rows of a table that the transaction has added: DuckDB numbers them from there until they are kept."""
ANY = "*"
"""In `lager.skrevet`: any part of the table."""


@dataclass(frozen=True)
class Changes:
    """The parts of the tables that one transaction writes, kept for `publish` with the rows themselves.

    Every statement that changes a table of the warehouse goes through `run` or `put`, so none can be forgotten. A part
    is a value of the cutting column; of a table cut by files it is `raw.fil.fil_id` until the transaction ends.
    """

    connection: duckdb.DuckDBPyConnection
    parts: dict[str, set[object]] = field(default_factory=dict)
    added_to: set[str] = field(default_factory=set)

    def run(self, statement: str, parameters: Mapping[str, object]) -> None:
        """Carry out a statement that begins with what it does and the table it changes. ValueError if it does not.

        An UPDATE counts as a change of any part of the table. A table that very many rows leave is made anew.
        """
        found = CHANGES.match(statement)
        if found is None:
            if not NO_CHANGE.match(statement):
                raise ValueError("sætningen nævner ikke først den tabel, som den ændrer")
            self.connection.execute(statement, parameters or None)
            return
        how, named, table, alias, beside = found.groups()
        if how == "INSERT INTO":
            self.put(table, statement, parameters)
            return
        if how == "DELETE FROM":
            where = statement[found.end() :].strip()
            if where and not where.startswith("WHERE"):
                raise ValueError("rækkerne efter USING har intet navn")
            rows = f"{named}{f', {beside}' if beside else ''} {where}"
            parts = self._parts_of(table, alias or table, rows, parameters)
            self.note(table, parts)
            if sum(parts.values()) > MOST_DELETED:
                condition = where.removeprefix("WHERE") or "true"
                stays = f"ANTI JOIN {beside} ON {condition}" if beside else f"WHERE ({condition}) IS NOT TRUE"
                self._make_anew(table, f"SELECT * FROM {named} {stays}", parameters)
                return
        else:
            self.note(table)
        self.connection.execute(statement, parameters or None)

    def _make_anew(self, table: str, stays: str, parameters: Mapping[str, object]) -> None:
        """A table with only the rows of a query on it, written to a table beside it that takes its name."""
        anew = f"{table}_anew"
        self.connection.execute(f"CREATE TABLE {anew} ({columns_of(table)})")
        self.connection.execute(f"INSERT INTO {anew} {stays}", parameters or None)
        self.connection.execute(f"DROP TABLE {table}")
        self.connection.execute(f"ALTER TABLE {anew} RENAME TO {table.split('.')[1]}")

    def put(self, table: str, statement: str, parameters: Mapping[str, object]) -> None:
        """Carry out an INSERT of rows in a table; `keep` asks for their parts when all rows are there."""
        self.connection.execute(statement, parameters or None)
        self.added_to.add(table)

    def note_rows(self, table: str, rows: pl.DataFrame) -> None:
        """Rows were added to a table."""
        if table not in PARTS:
            self.note(table)
            return
        column, cut = cut_of(table)
        self.note(table, cut.of_rows(rows[column].unique()).unique())

    def note(self, table: str, parts: Iterable[object] = (ANY,)) -> None:
        """Some parts of a table are written; a part that is null is not known, so it is any."""
        self.parts.setdefault(table, set()).update(ANY if part is None else part for part in parts)

    def _parts_of(self, table: str, name: str, rows: str, parameters: Mapping[str, object]) -> dict[object, int]:
        """The parts that rows of a table, called `name` among them, lie in, each with the number of rows."""
        part = f"'{ANY}'"
        if table in PARTS:
            column, cut = cut_of(table)
            part = cut.of_row.format(f"{name}.{column}")
        query = f"SELECT {part} AS part, count(*) AS antal FROM {rows} GROUP BY 1"
        if table in PARTS and PARTS[table][0] == FILE:
            query = (
                f"SELECT f.modtaget_maaned, sum(antal) FROM ({query}) LEFT JOIN raw.fil f ON f.fil_id = part GROUP BY 1"
            )
        return dict(self.connection.execute(query, parameters or None).fetchall())

    def keep(self) -> None:
        """Note in `lager.skrevet` which parts were written, as part of the transaction."""
        # Asked of the INSERT itself, DuckDB would keep whole rows: 29 GB for the ledger that a country begins with.
        for table in self.added_to:
            self.note(table, self._parts_of(table, table, f"{table} WHERE {OF_THE_TRANSACTION}", {}))
        rows: list[tuple[str, str]] = []
        for table, parts in self.parts.items():
            values, form = parts, ""
            if table in PARTS:
                values, form = self._months(parts) if PARTS[table][0] == FILE else parts, cut_of(table)[1].named
            rows += [(table, ANY if value == ANY else f"{value:{form}}") for value in values]
        if not rows:
            return
        query = "INSERT INTO lager.skrevet SELECT unnest($tabel::VARCHAR[]), unnest($del::VARCHAR[])"
        written = {"tabel": [table for table, _ in rows], "del": [part for _, part in rows]}
        self.connection.execute(f"{query} EXCEPT FROM lager.skrevet", written)

    def _months(self, parts: set[object]) -> set[object]:
        """The months of receipt of files, beside the months that are known already."""
        files = [part for part in parts if isinstance(part, int)]
        known = "SELECT fil_id, modtaget_maaned FROM raw.fil WHERE fil_id IN (SELECT unnest($files::BIGINT[]))"
        months = dict(self.connection.execute(known, {"files": files}).fetchall())
        return {months.get(part, ANY) if isinstance(part, int) else part for part in parts}

    def since(self, state: State) -> dict[str, set[str]] | None:
        """The parts of each table written since a state was shown; None if that is not known.

        It is not known where the live file is older than the state, was made anew, or is of an earlier program.
        """
        known = "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'lager' AND comment = $1"
        row = self.connection.execute(known, [state.number]).fetchone()
        if row is None or not row[0]:
            return None
        rows = self.connection.execute("SELECT tabel, list(del) FROM lager.skrevet GROUP BY 1").fetchall()
        return {table: set(parts) for table, parts in rows}

    def forget(self, state: State) -> None:
        """Note that a state shows all that is in the warehouse; outside a transaction."""
        for statement in (
            "BEGIN",
            "DELETE FROM lager.skrevet",
            f"COMMENT ON TABLE lager.skrevet IS {quoted(state.number)}",
            "COMMIT",
        ):
            self.connection.execute(statement)
