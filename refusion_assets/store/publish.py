"""Publish: a new state of Parquet files, of which only those with another content are written."""

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import duckdb

from refusion_assets.domain.stop import Stop
from refusion_assets.store import durable
from refusion_assets.store.key import FOOTER_KEY, key_of, unlock
from refusion_assets.store.session import Locked, Session, Warehouse
from refusion_assets.store.state import (
    ANALYSTS,
    ANY,
    BEFORE,
    FORM,
    READING,
    STATE,
    Part,
    State,
    is_whole,
    of_files,
    sha256_of,
)
from refusion_assets.store.tables import (
    FILE,
    LEFT_OUT,
    PARTS,
    TABLES,
    cut_of,
    listed,
    quoted,
    types_of,
    views_of,
    visible,
)

LOCK = "udgivelse.laas"
FRESH = ".ny"
SQL_VIEWS = "visninger.sql"
ROWS_A_GROUP = 20 * 2048
WHOLE = "alt"
CUT_FROM = 1_000_000
"""The rows from which a table is more than one file."""
ROWS_TOGETHER = 16_000_000
"""The rows of the files that are written of one reading: every part lies in the whole of a large table."""
MOST_SORTED = 50_000_000
"""The rows of the largest part that is sorted; to sort the first ledger of a country takes more disk than it has."""
MONEY = ("refusion_oere", "medfinansiering_oere")
# The rows of a file lie by person, who is then found by the statistics of the groups of rows.
PERSON = ("borger_id", "cpr")
OF_FILES = "LEFT JOIN (SELECT fil_id, modtaget_maaned FROM raw.fil) f USING (fil_id)"


# `classified.karantaene` as analysts have it: the file and line, and nothing as it was written.
QUARANTINE = """CREATE OR REPLACE VIEW classified.karantaene AS
SELECT d.fil_id, d.linje, d.regel, l.borger_id, l.ydelse_id, l.beloeb_oere, f.kilde, f.modtaget_maaned
FROM classified.dom d JOIN classified.linje l USING (fil_id, linje) JOIN raw.fil f USING (fil_id)
WHERE d.status = 'karantaene'"""


class NotTheSame(RuntimeError):
    """A written file does not hold what the warehouse holds; nothing is shown."""


def publish(warehouse: Warehouse) -> Path:
    """The state of the live file shown to all readers; those who read keep the state they have."""
    with _alone(warehouse), warehouse.alone() as session:
        _show(warehouse, session)
    return warehouse.published


def publish_if_idle(warehouse: Warehouse) -> bool:
    """True if a new state was shown; not while a run has the live file open, which will do it itself.

    For those outside the queue of runs: nobody can write the live file while it is read.
    """
    try:
        with _alone(warehouse), warehouse.alone(patience=1.0) as session:
            _show(warehouse, session)
    except Locked:
        return False
    return True


def prove(warehouse: Warehouse) -> tuple[State, list[str]]:
    """The published state, and its parts whose rows are not the warehouse's, whatever was noted as written.

    Every table is read. Parts written since the state was shown are left out. Stop if there is no state.
    """
    state = State.read(warehouse.root)
    if state is None:
        raise Stop(f"der er ingen udgivet kørsel i {warehouse.root} endnu; kør en måned først")
    with _alone(warehouse), warehouse.alone() as session:
        session.fill_in()
        since = session.changes.since(state) or {}
        now = {(table, name): (rows, content) for table, name, rows, content in Contents(session).parts()}
    said = {(part.tabel, part.del_): (part.raekker, part.indhold) for part in state.dele}
    faults = []
    for table, name in sorted({*now, *said}):
        marks = since.get(table, set())
        later = marks and ({name, ANY} & marks or (table, WHOLE) in said or (table, WHOLE) in now)
        if now.get((table, name)) != said.get((table, name)) and not later:
            rows = [found[table, name][0] if (table, name) in found else 0 for found in (said, now)]
            faults.append(f"{table}, del {name}: tilstanden har {rows[0]} rækker, lageret {rows[1]} med andet indhold")
    return state, faults


def is_behind(warehouse: Warehouse) -> bool:
    """True if something was written since the last publishing that came to its end, or a publishing was killed."""
    lock = _lock(warehouse)
    return not lock.exists() or lock.read_text("ascii") != _written_at(warehouse)


def _written_at(warehouse: Warehouse) -> str:
    """When the live file, its log and the state were last written: equal or not, whatever the clock says."""
    files = (warehouse.path, warehouse.path.with_name(f"{warehouse.path.name}.wal"), warehouse.root / READING / STATE)
    return " ".join(str(path.stat().st_mtime_ns) if path.exists() else "-" for path in files)


def _lock(warehouse: Warehouse) -> Path:
    """The file that one publishing at a time holds; it says which writes the last publishing has shown."""
    return warehouse.path.parent / LOCK


@contextmanager
def _alone(warehouse: Warehouse) -> Iterator[None]:
    """Within the block, nobody else publishes the data root."""
    with _lock(warehouse).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _show(warehouse: Warehouse, session: Session) -> None:
    """Write the changed files, prove them, and put the new state in the place of the old one, last the analysts' views.

    A kill at any place leaves a whole state. The next publishing removes what no state names, and makes the analysts'
    views anew if they are not of the state.
    """
    root = warehouse.root
    session.fill_in()
    old = _readable(root, STATE)
    _sweep(root, [old, _readable(root, BEFORE)])
    written = _Written(root, session, old)
    written.all()
    durable.flush_all(root / part.path for part in written.fresh)
    new = State(root, tuple(written.parts.values()), {table: types_of(table) for table in TABLES}, written.encrypted)
    if old is None or new.text != old.text:
        folder = root / READING
        folder.mkdir(parents=True, exist_ok=True)
        if old is not None:
            durable.write(folder / BEFORE, old.text)
        durable.write(folder / STATE, new.text)
    before = _readable(root, BEFORE)
    if before and before.krypteret != new.krypteret:  # nothing plain stays beside what is encrypted
        (root / READING / BEFORE).unlink()
        before = None
    _show_to_analysts(warehouse, new)
    _sweep(root, [new, before])
    _share(warehouse.published.parent)
    if session.has("lager.skrevet"):
        session.changes.forget(new)
    # The session keeps others from writing the live file until this is said.
    _lock(warehouse).write_text(_written_at(warehouse), "ascii")


def _share(folder: Path) -> None:
    """Let the group of the analysts' folder read what lies in it, where an operator gave the folder setgid."""
    if folder.stat().st_mode & stat.S_ISGID:
        for path in folder.rglob("*"):
            path.chmod(0o2750 if path.is_dir() else 0o640)


def _readable(root: Path, name: str) -> State | None:
    """A state that is kept; None if its file is gone or cannot be read, so that all is written anew."""
    try:
        return State.read(root, name)
    except Exception:  # noqa: BLE001  whatever it is, a new state mends it
        return None


@dataclass(frozen=True)
class Contents:
    """The rows and content of every part of every table, as the warehouse has them.

    A part that nobody has written since `state` was shown has the content that the state says. Without a state, or
    with one that the live file does not know, every table is read.
    """

    session: Session
    state: State | None = None

    @cached_property
    def since(self) -> dict[str, set[str]] | None:
        """The parts of each table written since the state was shown; None if that is not known."""
        return self.session.changes.since(self.state) if self.state else None

    @cached_property
    def kept(self) -> list[Part]:
        """The parts of the state whose files are there."""
        return [part for part in self.state.dele if is_whole(self.state.root, part)] if self.state else []

    @cached_property
    def said(self) -> dict[str, dict[str, tuple[int, str]]]:
        """The rows and content of the parts of `kept`, by table and part."""
        said: dict[str, dict[str, tuple[int, str]]] = {}
        for part in self.kept:
            said.setdefault(part.tabel, {})[part.del_] = (part.raekker, part.indhold)
        return said

    def parts(self) -> Iterator[tuple[str, str, int, str]]:
        """Each part that has rows: table, part, rows, content; by table. NotTheSame if parts are not the whole."""
        counted = " UNION ALL ".join(
            f"SELECT {quoted(table)} AS tabel, count(*) AS raekker FROM {table}" for table in TABLES
        )
        rows = self.session.pairs(counted)
        small = [table for table in TABLES if rows[table] and (table not in PARTS or rows[table] < CUT_FROM)]
        said = {table: self._unwritten(table, rows[table]) for table in small}
        whole = " UNION ALL ".join(
            f"SELECT {quoted(table)} AS tabel, {_content(table)} FROM {table} t" for table in small if not said[table]
        )
        said |= self.session.pairs(f"SELECT tabel, indhold FROM ({whole})") if whole else {}
        for table in TABLES:
            if table in said:
                yield table, WHOLE, rows[table], said[table]
            elif rows[table]:
                yield from ((table, name, *one) for name, one in sorted(self._cut(table, rows[table]).items()))

    def _unwritten(self, table: str, rows: int) -> str:
        """The content of a table of one file as the state says; empty if it was written since or is not known."""
        number, content = self.said.get(table, {}).get(WHOLE, (0, ""))
        return content if number == rows and not self._written(table) else ""

    def _written(self, table: str) -> set[str]:
        """The parts of a table written since the state was shown; any if that is not known."""
        return {ANY} if self.since is None else self.since.get(table, set())

    def _cut(self, table: str, rows: int) -> dict[str, tuple[int, str]]:
        """The parts of a large table: those written since the state are hashed, all if the rest are not known."""
        written = self._written(table)
        said = {name: one for name, one in self.said.get(table, {}).items() if name not in {*written, WHOLE}}
        if written and ANY not in written:
            said |= self._hashed(table, written)
        if ANY in written or sum(number for number, _ in said.values()) != rows:
            said = self._hashed(table, None)
        if sum(number for number, _ in said.values()) != rows:
            raise NotTheSame(f"{table}: delene er ikke hele tabellen")
        return said

    def _hashed(self, table: str, names: set[str] | None) -> dict[str, tuple[int, str]]:
        """The rows and content of some parts of a table, or of all, by name."""
        column, cut = cut_of(table)
        of_files = PARTS[table][0] == FILE
        part = cut.of_row.format("f.modtaget_maaned" if of_files else column)
        where = "true" if names is None else f"{part} IN ({', '.join(map(cut.in_sql.format, names))})"
        query = f"SELECT {part} AS del, {_content(table)} FROM {table} t {OF_FILES if of_files else ''} WHERE {where}"
        found = self.session.frame(f"{query} GROUP BY 1").drop_nulls("del").iter_rows()
        return {f"{value:{cut.named}}": (number, content) for value, number, content in found}


class _Written:
    """The parts of a new state: those of the old one with the same content, and the files written for the others."""

    def __init__(self, root: Path, session: Session, old: State | None) -> None:
        self.root, self.session = root, session
        self.contents = Contents(session, old)
        self.known = {(part.tabel, part.navn): part for part in self.contents.kept}
        self.parts: dict[tuple[str, str], Part] = {}
        self.fresh: list[Part] = []
        self.encrypted = key_of(root) is not None

    def all(self) -> None:
        """The parts of every table; NotTheSame if a written file differs from the warehouse."""
        lot: list[Part] = []
        for table, mark, rows, content in self.contents.parts():
            files = [self._named(table, mark, rows, content, analysts=analysts) for analysts in _readers(table)]
            missing = [part for part in files if not part.sha256]
            if lot and missing and (lot[0].tabel != table or _rows(lot + missing) > ROWS_TOGETHER):
                self._write(lot)
                lot = []
            self.parts |= {(table, part.navn): part for part in files}
            lot += missing
        self._write(lot)

    def _named(self, table: str, mark: str, rows: int, content: str, *, analysts: bool) -> Part:
        """The file of a part: that of the old state with the same content, or one to be written, without a hash."""
        shape = f"{FORM} {self.encrypted} {table} {types_of(table)} {_columns(table, analysts=analysts)} {content}"
        name = f"{mark}-{hashlib.sha256(shape.encode()).hexdigest()[:24]}.parquet"
        known = self.known.get((table, name))
        if known is not None and known.analytiker is analysts:
            return known
        return Part(table, mark, name, rows, content, 0, "", analysts)

    def _write(self, lot: Sequence[Part]) -> None:
        """Write and prove files of one table; of several it reads the rows in one go, if there are not too many."""
        if not lot:
            return
        table = source = lot[0].tabel
        if ROWS_TOGETHER >= _rows(lot) > lot[0].raekker:
            where = " OR ".join(sorted({_where(part) for part in lot}))
            source = str(self.session.temp("parts", f"SELECT * FROM {table} WHERE {where}"))
        for part in lot:
            self._file(part, source)
        if source != table:
            self.session.drop(source)

    def _file(self, part: Part, source: str) -> None:
        """The file of a part, written of the rows of a table and proved."""
        path = self.root / part.path
        fresh = path.with_name(f"{part.navn}{FRESH}")
        fresh.parent.mkdir(parents=True, exist_ok=True)
        columns = _columns(part.tabel, analysts=part.analytiker)
        order = f"ORDER BY {listed(_order(part.tabel))}" if part.raekker <= MOST_SORTED else ""
        query = f"SELECT {listed(columns)} FROM {source} WHERE {_where(part)} {order}"
        write_file(self.session, query, fresh, encrypted=self.encrypted)
        self._prove(part, columns, fresh, source)
        part = replace(part, stoerrelse=fresh.stat().st_size, sha256=sha256_of(fresh))
        os.replace(fresh, path)
        self.fresh.append(part)
        self.parts[part.tabel, part.navn] = part

    def _prove(self, part: Part, columns: list[str], fresh: Path, source: str) -> None:
        """Open a written file, and compare its rows, their hash and money with those of the warehouse."""
        table = part.tabel
        said = self.session.frame(
            f"SELECT {_content(table, columns)} FROM {of_files([fresh], encrypted=self.encrypted)} t"
        ).row(0)
        if columns == list(types_of(table)):
            wanted = (part.raekker, part.indhold)
        else:
            query = f"SELECT {_content(table, columns)} FROM {source} t WHERE {_where(part)}"
            wanted = self.session.frame(query).row(0)
        if said != wanted:
            raise NotTheSame(f"{table}, {part.del_}: filen er ikke det, lageret har")


def _readers(table: str) -> list[bool]:
    """The files of a part, each by whether it is for analysts: theirs, and one of all columns if they see fewer."""
    return [*([False] if LEFT_OUT[table] else []), *([True] if visible(table) else [])]


def _columns(table: str, *, analysts: bool) -> list[str]:
    """The columns of a file."""
    return visible(table) if analysts else list(types_of(table))


def _rows(files: Sequence[Part]) -> int:
    return sum(part.raekker for part in files)


def _where(part: Part) -> str:
    """SQL that is true for the rows of a part."""
    if part.del_ == WHOLE:
        return "true"
    column, cut = cut_of(part.tabel)
    return cut.where.format(column, cut.in_sql.format(part.del_))


def _order(table: str) -> list[str]:
    """The columns that the rows of a file are sorted by: the person, then the key, or every column where none is."""
    names = list(types_of(table))
    person = [name for name in PERSON if name in names and table != "identitet.borger"]
    rest = TABLES[table].to_schema().unique or names
    return [*person, *(name for name in rest if name not in person)]


def _content(table: str, columns: list[str] | None = None) -> str:
    """SQL for the number of rows, and a text that is the same for the same rows in any order: hash and money."""
    names = columns or list(types_of(table))
    money = "".join(f", ' ', sum({name})" for name in MONEY if name in names)
    hashes = ", ".join(f't."{name}"' for name in names)
    return f"count(*) AS raekker, concat(sum(hash({hashes})::HUGEINT), ' ', bit_xor(hash({hashes})){money}) AS indhold"


def write_file(session: Session, query: str, path: Path, *, encrypted: bool) -> None:
    """The rows of a query as a Parquet file: the one place where a file of a state is written."""
    more = f", ENCRYPTION_CONFIG {FOOTER_KEY}" if encrypted else ""
    session.run(
        f"COPY ({query}) TO {quoted(str(path))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROWS_A_GROUP}{more})"
    )


def _show_to_analysts(warehouse: Warehouse, state: State) -> None:
    """Put the analysts' database of views in place, and the same views as text, with paths from its folder.

    The text is written last, and says what both are of.
    """
    folder = warehouse.published.parent
    views = [QUARANTINE if "classified.karantaene" in view else view for view in views_of()]
    relative = [*state.views(analysts=True, root=Path()), *views]
    text = "".join(f"{one};\n" for one in relative).replace(f"'{folder.name}/", "'")
    beside, fresh = folder / SQL_VIEWS, folder / f"{warehouse.published.name}{FRESH}"
    if beside.exists() and beside.read_text("utf-8") == _headed(text, state, warehouse.published):
        return
    folder.mkdir(parents=True, exist_ok=True)
    fresh.unlink(missing_ok=True)
    with duckdb.connect(str(fresh)) as connection:
        if key := key_of(warehouse.root):
            unlock(connection, key)
        for statement in ("BEGIN", *state.views(analysts=True, root=state.root.resolve()), *views, "COMMIT"):
            connection.execute(statement)
    text = _headed(text, state, fresh)
    durable.put(fresh, warehouse.published)
    durable.write(beside, text)


def views_are_of(warehouse: Warehouse, state: State) -> bool:
    """True if the analysts' database of views is the one that was made of a state, here or where the root was then."""
    try:
        head = (warehouse.published.parent / SQL_VIEWS).read_text("utf-8").partition("\n")[0]
        return head.startswith(f"-- tilstand {state.number} ") and head.endswith(f" {sha256_of(warehouse.published)}")
    except OSError:
        return False


def _headed(text: str, state: State, database: Path) -> str:
    """The views as text, under a line that says which state, folder and database of views they go with."""
    summed = sha256_of(database) if database.exists() else ""
    return f"-- tilstand {state.number} i {state.root.resolve()}; ydelsesrefusion.duckdb har sha256 {summed}\n{text}"


def _sweep(root: Path, states: Iterable[State | None]) -> None:
    """Remove every file that no given state names, and the copies that earlier versions of the program made."""
    named = {state.root / part.path for state in states if state for part in state.dele}
    for base in (root / READING, root / ANALYSTS):
        for path in base.glob("*/*"):
            if path not in named:
                path.unlink()
        for path in base.iterdir() if base.exists() else ():
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
            elif path.suffix == FRESH:
                path.unlink()
    for path in (root / "udgivet").glob("*"):
        former = path.suffix in (FRESH, ".forrige", ".wal")
        if former and path.is_file():
            path.unlink()
