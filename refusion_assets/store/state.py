"""Understands a published state: immutable Parquet files listed by one small file, and what was written since."""

import hashlib
import json
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import duckdb
import polars as pl

from refusion_assets.domain.stop import Stop
from refusion_assets.store import durable
from refusion_assets.store.key import FOOTER_KEY, key_of, refusal, unlock
from refusion_assets.store.tables import (
    FILE,
    LEFT_OUT,
    PARTS,
    TABLES,
    columns_of,
    cut_of,
    listed,
    quoted,
    types_of,
    views_of,
    visible,
)

READING = Path("lager") / "laesning"
ANALYSTS = Path("udgivet") / "tabeller"
STATE, BEFORE = "tilstand.json", "tilstand.forrige.json"
FRESH = ".ny"
SQL_VIEWS = "visninger.sql"
FORM = 1
"""The number of the layout of the files; another number makes every file anew."""
MONEY = ("refusion_oere", "medfinansiering_oere")
CUT_FROM = 1_000_000
"""The rows from which a table is more than one file."""
BY_PERSON = frozenset(
    table for table, (kind, _) in PARTS.items()
    if kind != FILE and table != "identitet.borger"
    and (column := TABLES[table].to_schema().columns.get("borger_id")) and not column.nullable
)  # fmt: skip
"""The tables of which the rows of some people are published without the rest of a part; each row has its person."""


@dataclass(frozen=True)
class Part:
    """One file of a state: its table, the part of it, rows, and the number and hash of the bytes.

    `indhold`: what DuckDB says of the rows in the warehouse (`publish`). `analytiker`: it lies in `udgivet/` and holds
    only what analysts may see. `uden`: the people (`borger_id`) whose rows in the file no longer hold. Their rows as
    they are now lie in the supplement of the part; `raekker` and `indhold` are of the others.
    """

    tabel: str
    del_: str
    navn: str
    raekker: int
    indhold: str
    stoerrelse: int
    sha256: str
    analytiker: bool
    uden: tuple[int, ...] = ()

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
    form: int = FORM

    @classmethod
    def read(cls, root: Path, name: str = STATE) -> "State | None":
        """The state that a file lists; None if there is no such file. Stop if it cannot be read."""
        path = root / READING / name
        try:
            said = json.loads(path.read_bytes())
            dele = tuple(Part(**one | {"uden": tuple(one.get("uden", ()))}) for one in said["dele"])
            return cls(root, dele, said["kolonner"], said["krypteret"], said["form"])
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
        dele = [{name: value for name, value in vars(part).items() if value != ()} for part in self.dele]
        return (
            json.dumps(
                {"form": self.form, "krypteret": self.krypteret, "kolonner": self.kolonner, "dele": dele},
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

    def rows_of(self, part: Part) -> str:
        """The file of a part as a table in SQL, with the rows that no longer hold."""
        return of_files([self.root / part.path], encrypted=self.krypteret)

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
            parts = self.of(table, analysts=analysts)
            lots = [[part for part in parts if not part.uden], *([part] for part in parts if part.uden)]
            sources = [
                of_files([base / part.path for part in lot], encrypted=self.krypteret) + others_than(lot[0].uden)
                for lot in lots if lot
            ]  # fmt: skip
            empty = ", ".join(f'NULL::{columns[name]} AS "{name}"' for name in seen)
            sources = sources or [f"(SELECT {empty}) WHERE false"]
            rows = " UNION ALL ".join(f"SELECT {listed(seen)} FROM {source}" for source in sources)
            yield f"CREATE OR REPLACE VIEW {before}{table} AS {rows}"


def is_cut(table: str, rows: int) -> bool:
    """True if a table with so many rows is more than one file."""
    return table in PARTS and rows >= CUT_FROM


def of_files(paths: Sequence[Path], *, encrypted: bool) -> str:
    """Files of a state as a table in SQL: the one form in which they are read."""
    named = ", ".join(quoted(str(path)) for path in paths)
    return f"read_parquet([{named}]{f', encryption_config = {FOOTER_KEY}' if encrypted else ''})"


def others_than(people: Sequence[int]) -> str:
    """The condition that leaves out the rows of some people, if there are any."""
    return f" WHERE borger_id NOT IN ({', '.join(map(str, people))})" if people else ""


def content_of(table: str, columns: list[str] | None = None) -> str:
    """SQL for the number of rows, and a text that is the same for the same rows in any order: hash and money."""
    names = columns or list(types_of(table))
    money = "".join(f", ' ', sum({name})" for name in MONEY if name in names)
    hashes = ", ".join(f't."{name}"' for name in names)
    return f"count(*) AS raekker, concat(sum(hash({hashes})::HUGEINT), ' ', bit_xor(hash({hashes})){money}) AS indhold"


def together(one: tuple[int, str], other: tuple[int, str], sign: int = 1) -> tuple[int, str]:
    """The rows and content (`content_of`) of two lots of rows together, or with -1 of the first without the second."""
    if not other[0]:
        return one
    (hashes, bits, *money), (hashes_2, bits_2, *money_2) = ([int(n) for n in text.split()] for _, text in (one, other))
    sums = [hashes + sign * hashes_2, bits ^ bits_2, *(a + sign * b for a, b in zip(money, money_2, strict=True))]
    return one[0] + sign * other[0], " ".join(map(str, sums))


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


# `classified.karantaene` as analysts have it: the file and line, and nothing as it was written.
QUARANTINE = """CREATE OR REPLACE VIEW classified.karantaene AS
SELECT d.fil_id, d.linje, d.regel, l.borger_id, l.ydelse_id, l.beloeb_oere, f.kilde, f.modtaget_maaned
FROM classified.dom d JOIN classified.linje l USING (fil_id, linje) JOIN raw.fil f USING (fil_id)
WHERE d.status = 'karantaene'"""


def show_to_analysts(published: Path, state: State) -> None:
    """Put the analysts' database of views in place, and the same views as text, with paths from its folder.

    The text is written last, and says what both are of.
    """
    folder = published.parent
    views = [QUARANTINE if "classified.karantaene" in view else view for view in views_of()]
    relative = [*state.views(analysts=True, root=Path()), *views]
    text = "".join(f"{one};\n" for one in relative).replace(f"'{folder.name}/", "'")
    beside, fresh = folder / SQL_VIEWS, folder / f"{published.name}{FRESH}"
    if beside.exists() and beside.read_text("utf-8") == _headed(text, state, published):
        return
    folder.mkdir(parents=True, exist_ok=True)
    fresh.unlink(missing_ok=True)
    with duckdb.connect(str(fresh)) as connection:
        if key := key_of(state.root):
            unlock(connection, key)
        for statement in ("BEGIN", *state.views(analysts=True, root=state.root.resolve()), *views, "COMMIT"):
            connection.execute(statement)
    text = _headed(text, state, fresh)
    durable.put(fresh, published)
    durable.write(beside, text)


def views_are_of(published: Path, state: State) -> bool:
    """True if the analysts' database of views is the one that was made of a state, here or where the root was then."""
    try:
        head = (published.parent / SQL_VIEWS).read_text("utf-8").partition("\n")[0]
        return head.startswith(f"-- tilstand {state.number} ") and head.endswith(f" {sha256_of(published)}")
    except OSError:
        return False


def _headed(text: str, state: State, database: Path) -> str:
    """The views as text, under a line that says which state, folder and database of views they go with."""
    summed = sha256_of(database) if database.exists() else ""
    return f"-- tilstand {state.number} i {state.root.resolve()}; ydelsesrefusion.duckdb har sha256 {summed}\n{text}"


def share(folder: Path) -> None:
    """Let the group of the analysts' folder read what lies in it, where an operator gave the folder setgid."""
    if folder.stat().st_mode & stat.S_ISGID:
        for path in folder.rglob("*"):
            path.chmod(0o2750 if path.is_dir() else 0o640)


# The statements that change rows: the table with another name for it, and the rows that DELETE names beside it.
CHANGES = re.compile(
    r"\s*(INSERT INTO|DELETE FROM|UPDATE)\s+((\w+\.\w+)(?:\s+(?!WHERE|USING|SET|SELECT)(\w+)(?=\s))?)"
    r"(?:\s+USING\s+(\w+(?:\s+\w+)?)(?=\s+WHERE))?"
)
# DuckDB holds 16 KB of memory for each 2,048 deleted rows until the transaction ends.
MOST_DELETED = 20_000_000
# Of a part in which a statement changes so few rows, it is noted whose they are.
FEW_ROWS = 500
NO_CHANGE = re.compile(r"\s*COPY\b")
OF_THE_TRANSACTION = "rowid >= 36028797018960000"
"""The rows of a table that the transaction has added: DuckDB numbers them from there until they are kept."""
ANY = "*"
"""In `lager.skrevet`: any part of the table."""
NOTES = (
    "CREATE SCHEMA IF NOT EXISTS lager",
    "CREATE TABLE IF NOT EXISTS lager.skrevet (tabel VARCHAR, del VARCHAR)",
    "ALTER TABLE lager.skrevet ADD COLUMN IF NOT EXISTS borger_id BIGINT",
)
"""The statements that make the table of notes, which is not published; an earlier program's has no people."""
Written = dict[object, set[int] | None]
"""The parts of a table that were written, each with the people whose rows were; None: anybody's."""


@dataclass(frozen=True)
class Changes:
    """The parts of the tables that one transaction writes, kept for `publish` with the rows themselves.

    Every statement that changes a table of the warehouse goes through `run` or `put`, so none can be forgotten. A part
    is a value of the cutting column; of a table cut by files it is `raw.fil.fil_id` until the transaction ends.
    """

    connection: duckdb.DuckDBPyConnection
    parts: dict[str, Written] = field(default_factory=dict)
    added_to: set[str] = field(default_factory=set)
    by_person: dict[str, bool] = field(default_factory=dict)

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
            if self._note_rows_of(table, alias or table, rows, parameters) > MOST_DELETED:
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
        parts = cut.of_rows(rows[column])
        if not self._is_by_person(table):
            self.note(table, dict.fromkeys(parts.unique()))
            return
        people = pl.DataFrame({"del": parts, "borger_id": rows["borger_id"]}).group_by("del").agg("borger_id")
        few = pl.col("borger_id").list.len() <= FEW_ROWS
        named = people.select("del", pl.when(few).then("borger_id")).iter_rows()
        self.note(table, {part: None if whose is None else set(whose) for part, whose in named})

    def note(self, table: str, parts: Mapping[object, set[int] | None] | None = None) -> None:
        """Some parts of a table are written, or any; a part that is null is not known, so it is any."""
        noted = self.parts.setdefault(table, {})
        for part, people in ({ANY: None} if parts is None else parts).items():
            name = ANY if part is None else part
            before = noted.get(name, set())
            noted[name] = None if people is None or before is None else before | people

    def _is_by_person(self, table: str) -> bool:
        """True if it is noted whose rows of a table are written: of those large enough to be more than one file."""
        if table not in self.by_person:
            number = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone() if table in BY_PERSON else None
            self.by_person[table] = number is not None and is_cut(table, number[0])
        return self.by_person[table]

    def _note_rows_of(self, table: str, name: str, rows: str, parameters: Mapping[str, object]) -> int:
        """Note the parts that rows of a table, called `name` among them, lie in, and say how many rows there are."""
        part = f"'{ANY}'"
        if table in PARTS:
            column, cut = cut_of(table)
            part = cut.of_row.format(f"{name}.{column}")
        query = f"SELECT {part} AS part, count(*) AS antal FROM {rows} GROUP BY 1"
        if table in PARTS and PARTS[table][0] == FILE:
            query = (
                f"SELECT f.modtaget_maaned, sum(antal) FROM ({query}) LEFT JOIN raw.fil f ON f.fil_id = part GROUP BY 1"
            )
        found = dict(self.connection.execute(query, parameters or None).fetchall())
        written: Written = dict.fromkeys(found)
        few = {one for one, number in found.items() if number <= FEW_ROWS}
        if few and self._is_by_person(table):
            query = f"SELECT DISTINCT {part} AS part, {name}.borger_id FROM {rows}"
            query = f"FROM ({query}) WHERE part IN (SELECT unnest($few::{types_of(table)[column]}[]))"
            people = defaultdict[object, set[int]](set)
            for one, person in self.connection.execute(query, {**parameters, "few": [*few]}).fetchall():
                people[one].add(person)
            written |= people
        self.note(table, written)
        return sum(found.values())

    def keep(self) -> None:
        """Note in `lager.skrevet` which parts were written, as part of the transaction."""
        # Asked of the INSERT itself, DuckDB would keep whole rows: 29 GB for the ledger that a country begins with.
        for table in self.added_to:
            self._note_rows_of(table, table, f"{table} WHERE {OF_THE_TRANSACTION}", {})
        rows: list[tuple[str, str, int | None]] = []
        for table, parts in self.parts.items():
            values, form = parts, ""
            if table in PARTS:
                values, form = self._months(parts) if PARTS[table][0] == FILE else parts, cut_of(table)[1].named
            for value, people in values.items():
                name = ANY if value == ANY else f"{value:{form}}"
                rows += [(table, name, person) for person in ([None] if people is None else people)]
        if not rows:
            return
        columns = {"tabel": "VARCHAR", "del": "VARCHAR", "borger_id": "BIGINT"}
        query = ", ".join(f"unnest(${name}::{kind}[])" for name, kind in columns.items())
        written = dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
        self.connection.execute(f"INSERT INTO lager.skrevet SELECT {query} EXCEPT FROM lager.skrevet", written)

    def _months(self, parts: Written) -> Written:
        """The months of receipt of files, beside the months that are known already."""
        files = [part for part in parts if isinstance(part, int)]
        known = "SELECT fil_id, modtaget_maaned FROM raw.fil WHERE fil_id IN (SELECT unnest($files::BIGINT[]))"
        months = dict(self.connection.execute(known, {"files": files}).fetchall())
        return dict.fromkeys(months.get(part, ANY) if isinstance(part, int) else part for part in parts)

    def since(self, state: State) -> dict[str, dict[str, set[int] | None]] | None:
        """The parts of each table written since a state was shown, and whose rows; None if that is not known.

        It is not known where the live file is older than the state, was made anew, or is of an earlier program.
        """
        known = "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'lager' AND comment = $1 AND column_count = 3"
        row = self.connection.execute(known, [state.number]).fetchone()
        if row is None or not row[0]:
            return None
        rows = self.connection.execute("SELECT tabel, del, list(borger_id) FROM lager.skrevet GROUP BY 1, 2").fetchall()
        found: dict[str, dict[str, set[int] | None]] = {}
        for table, part, people in rows:
            found.setdefault(table, {})[part] = None if None in people else set(people)
        return found

    def forget(self, state: State) -> None:
        """Note that a state shows all that is in the warehouse; outside a transaction."""
        for statement in (
            "BEGIN",
            "DELETE FROM lager.skrevet",
            f"COMMENT ON TABLE lager.skrevet IS {quoted(state.number)}",
            "COMMIT",
        ):
            self.connection.execute(statement)
