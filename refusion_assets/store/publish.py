"""Publish: a new state of Parquet files, of which only those with another content are written."""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import duckdb
import polars as pl

from refusion_assets.domain.stop import Stop
from refusion_assets.store import durable
from refusion_assets.store.batches import sql_list
from refusion_assets.store.key import FOOTER_KEY, key_of
from refusion_assets.store.session import Locked, Relation, Session, Warehouse
from refusion_assets.store.state import (
    ANALYSTS,
    ANY,
    BEFORE,
    FORM,
    FRESH,
    READING,
    STATE,
    Part,
    State,
    content_of,
    is_cut,
    is_whole,
    of_files,
    sha256_of,
    share,
    show_to_analysts,
    together,
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
    visible,
)

LOCK = "udgivelse.laas"
ROWS_A_GROUP = 20 * 2048
WHOLE = "alt"
SUPPLEMENT = "-tillaeg"
"""Ends the name of the part that holds the rows of now of people whose rows in the file of a part no longer hold."""
LEAST_KEPT = 100_000
"""The rows of the smallest part that gets a supplement; a smaller one is written whole."""
MOST_APART = 10_000
"""The people of a table, over all its parts, whose rows may lie in supplements; every reader's query names them."""
ROWS_TOGETHER = 16_000_000
"""The rows of the files that are written of one reading: every part lies in the whole of a large table."""
MOST_SORTED = 50_000_000
"""The rows of the largest part that is sorted; to sort the first ledger of a country takes more disk than it has."""
# The rows of a file lie by person, who is then found by the statistics of the groups of rows.
PERSON = ("borger_id", "cpr")
OF_FILES = "LEFT JOIN (SELECT fil_id, modtaget_maaned FROM raw.fil) f USING (fil_id)"


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

    Every table is read, and every file of the state. Parts written since the state was shown are left out. Stop if
    there is no state.
    """
    _shown(warehouse)
    with _alone(warehouse), warehouse.alone() as session:
        state = _shown(warehouse)  # that of a publishing that was going on
        lost = state.lost(hashed=True)
        session.fill_in()
        since = session.changes.since(state) or {}
        now = {(table, name): (rows, content) for table, name, rows, content in Contents(session).parts()}
    said = {(part.tabel, part.del_): (part.raekker, part.indhold) for part in state.dele}
    for table, name in [key for key in said if key[1].endswith(SUPPLEMENT)]:
        base = (table, name.removesuffix(SUPPLEMENT))
        said[base] = together(said.pop((table, name)), said.get(base, (0, "")))
    faults = [f"{path} mangler eller er beskadiget" for path in lost]
    for table, name in sorted({*now, *said}):
        marks = since.get(table, {}).keys()
        later = marks and ({name, ANY} & marks or (table, WHOLE) in said or (table, WHOLE) in now)
        if now.get((table, name)) != said.get((table, name)) and not later:
            rows = [found[table, name][0] if (table, name) in found else 0 for found in (said, now)]
            faults.append(f"{table}, del {name}: tilstanden har {rows[0]} rækker, lageret {rows[1]} med andet indhold")
    return state, faults


def _shown(warehouse: Warehouse) -> State:
    """The published state; Stop if there is none."""
    state = State.read(warehouse.root)
    if state is None:
        raise Stop(f"der er ingen udgivet kørsel i {warehouse.root} endnu; kør en måned først")
    return state


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
    show_to_analysts(warehouse.published, new)
    _sweep(root, [new, before])
    share(warehouse.published.parent)
    if session.has("lager.skrevet"):
        session.changes.forget(new)
    # The session keeps others from writing the live file until this is said.
    _lock(warehouse).write_text(_written_at(warehouse), "ascii")


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
    supplements: dict[str, Relation] = field(default_factory=dict)
    """By table, the rows of the supplements that were written to; `parts` fills it."""

    @cached_property
    def since(self) -> dict[str, dict[str, set[int] | None]] | None:
        """The parts of each table written since the state was shown, and whose rows; None if that is not known."""
        return self.session.changes.since(self.state) if self.state else None

    @cached_property
    def kept(self) -> list[Part]:
        """The parts of the state whose files are there; of a table with a supplement only if all can be used."""
        state = self.state
        if state is None:
            return []
        there = [part for part in state.dele if is_whole(state.root, part)]
        odd = {part.tabel for part in {*state.dele}.difference(there)}
        odd |= {part.tabel for part in there if _is_split(part) and not self._can_lose_rows(state, part)}
        split = {part.tabel for part in state.dele if _is_split(part)}
        return [part for part in there if part.tabel not in odd & split]

    def _can_lose_rows(self, state: State, part: Part | None) -> bool:
        """True if a file is there with the columns of now, so that it can stay when some of its rows do not hold."""
        if part is None or state.form != FORM or state.kolonner[part.tabel] != types_of(part.tabel):
            return False
        with suppress(duckdb.Error):
            columns = _columns(part.tabel, analysts=part.analytiker)
            return self.session.frame(f"FROM {state.rows_of(part)} LIMIT 0").columns == columns
        return False

    @cached_property
    def files(self) -> dict[tuple[str, str, bool], Part]:
        """The parts of `kept` by table, part, and whether they are for analysts."""
        return {(part.tabel, part.del_, part.analytiker): part for part in self.kept}

    @cached_property
    def apart(self) -> dict[tuple[str, str], tuple[int, ...]]:
        """By table and part, the people whose rows are in its supplement; `parts` brings it to what is so now."""
        return {(part.tabel, part.del_): part.uden for part in self.kept if part.uden}

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
        small = [table for table in TABLES if rows[table] and not is_cut(table, rows[table])]
        said = {table: self._unwritten(table, rows[table]) for table in small}
        whole = " UNION ALL ".join(
            f"SELECT {quoted(table)} AS tabel, {content_of(table)} FROM {table} t" for table in small if not said[table]
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

    def _written(self, table: str) -> dict[str, set[int] | None]:
        """The parts of a table written since the state was shown, and whose rows; any if that is not known."""
        return {ANY: None} if self.since is None else self.since.get(table, {})

    def _cut(self, table: str, rows: int) -> dict[str, tuple[int, str]]:
        """The parts of a large table: those written since the state are read, all if the rest are not known."""
        written = self._written(table)
        said = {name: one for name, one in self.said.get(table, {}).items() if name != WHOLE}
        if self.state and written and ANY not in written:
            few = self._few(self.state, table, written)
            for name in written:
                said.pop(f"{name}{SUPPLEMENT}", None)
                said.pop(name, None)
            many = written.keys() - few.keys()
            for name in many:
                self.apart.pop((table, name), None)
            said |= self._hashed(table, many) if many else {}
            with suppress(duckdb.Error):  # a damaged file of the state; then the rows do not add up
                said |= self._put_apart(self.state, table, few)
        if ANY in written or sum(number for number, _ in said.values()) != rows:
            for key in [key for key in self.apart if key[0] == table]:
                del self.apart[key]
            said = self._hashed(table, None)
        if sum(number for number, _ in said.values()) != rows:
            raise NotTheSame(f"{table}: delene er ikke hele tabellen")
        return said

    def _few(self, state: State, table: str, written: Mapping[str, set[int] | None]) -> dict[str, set[int]]:
        """Of the written parts those that get a supplement, with its people: the fewest people first."""
        found = {
            name: people.union(self.apart.get((table, name), ()))
            for name, people in written.items()
            if people is not None and self.said.get(table, {}).get(name, (0, ""))[0] >= LEAST_KEPT
            and all(self._can_lose_rows(state, self.files.get((table, name, analysts))) for analysts in _readers(table))
        }  # fmt: skip
        room = MOST_APART - sum(len(who) for (of, name), who in self.apart.items() if of == table and name not in found)
        ordered = sorted(found.items(), key=lambda one: (len(one[1]), one[0]))
        reached = accumulate(len(people) for _, people in ordered)
        return {name: people for (name, people), number in zip(ordered, reached, strict=True) if number <= room}

    def _put_apart(self, state: State, table: str, few: Mapping[str, set[int]]) -> dict[str, tuple[int, str]]:
        """The parts without the rows of some people, and their supplements, whose rows are put in `supplements`."""
        column, cut = cut_of(table)
        said: dict[str, tuple[int, str]] = {}
        for name, people in few.items():
            new = sql_list(pl.Series([*people.difference(self.apart.get((table, name), ()))], dtype=pl.Int64))
            file = state.rows_of(self.files[table, name, not LEFT_OUT[table]])
            theirs = self.session.frame(f"SELECT {content_of(table)} FROM {file} t WHERE borger_id IN ({new})").row(0)
            said[name] = together(self.said[table][name], theirs, -1)
            self.apart[table, name] = tuple(sorted(people))
            if not said[name][0]:  # all rows of the part are in its supplement
                del said[name], self.apart[table, name]
        if few:
            whose = " UNION ALL ".join(
                f"SELECT {cut.in_sql.format(name)} AS del, unnest({[*people]}::BIGINT[]) AS borger_id"
                for name, people in few.items()
            )
            everybody = sql_list(pl.Series([*set().union(*few.values())], dtype=pl.Int64))
            query = f"""SELECT t.* FROM {table} t SEMI JOIN ({whose}) w
                ON w.borger_id = t.borger_id AND w.del = {cut.of_row.format(f"t.{column}")}
                WHERE t.borger_id IN ({everybody})"""
            rows = self.supplements[table] = self.session.temp("supplement", query)
            said |= {f"{name}{SUPPLEMENT}": one for name, one in self._hashed(table, None, str(rows)).items()}
        return said

    def _hashed(self, table: str, names: AbstractSet[str] | None, rows: str = "") -> dict[str, tuple[int, str]]:
        """The rows and content of some parts of a table, or of all, by name; of some of its `rows` if given."""
        column, cut = cut_of(table)
        of_files = PARTS[table][0] == FILE
        part = cut.of_row.format("f.modtaget_maaned" if of_files else column)
        where = "true" if names is None else f"{part} IN ({', '.join(map(cut.in_sql.format, names))})"
        source = f"{rows or table} t {OF_FILES if of_files else ''}"
        query = f"SELECT {part} AS del, {content_of(table)} FROM {source} WHERE {where}"
        found = self.session.frame(f"{query} GROUP BY 1").drop_nulls("del").iter_rows()
        return {f"{value:{cut.named}}": (number, content) for value, number, content in found}


class _Written:
    """The parts of a new state: those of the old one with the same content, and the files written for the others."""

    def __init__(self, root: Path, session: Session, old: State | None) -> None:
        self.root, self.session = root, session
        self.encrypted = key_of(root) is not None
        # Where the key is new or gone, every file is made anew, also of parts that nobody has written.
        self.contents = Contents(session, old if old and old.krypteret is self.encrypted else None)
        self.known = {(part.tabel, part.navn): part for part in self.contents.kept}
        self.parts: dict[tuple[str, str], Part] = {}
        self.fresh: list[Part] = []

    def all(self) -> None:
        """The parts of every table; NotTheSame if a written file differs from the warehouse."""
        lot: list[Part] = []
        for table, mark, rows, content in self.contents.parts():
            files = [self._named(table, mark, rows, content, analysts=analysts) for analysts in _readers(table)]
            missing = [part for part in files if not part.sha256]
            if mark.endswith(SUPPLEMENT):
                self.parts |= {(table, part.navn): part for part in files}
                for part in missing:
                    self._file(part, str(self.contents.supplements[table]))
                continue
            if lot and missing and (lot[0].tabel != table or _rows(lot + missing) > ROWS_TOGETHER):
                self._write(lot)
                lot = []
            self.parts |= {(table, part.navn): part for part in files}
            lot += missing
        self._write(lot)

    def _named(self, table: str, mark: str, rows: int, content: str, *, analysts: bool) -> Part:
        """The file of a part: that of the old state with the same content, or one to be written, without a hash."""
        if people := self.contents.apart.get((table, mark)):
            return replace(self.contents.files[table, mark, analysts], raekker=rows, indhold=content, uden=people)
        shape = f"{FORM} {self.encrypted} {table} {types_of(table)} {_columns(table, analysts=analysts)} {content}"
        name = f"{mark}-{hashlib.sha256(shape.encode()).hexdigest()[:24]}.parquet"
        known = self.known.get((table, name))
        if known is not None and known.analytiker is analysts:
            # A file is named by all its rows, so these hold again even if some people's did not in the state before.
            return replace(known, raekker=rows, indhold=content, uden=())
        return Part(table, mark, name, rows, content, 0, "", analysts)

    def _write(self, lot: Sequence[Part]) -> None:
        """Write and prove files of one table; of several it reads the rows in one go, if there are not too many."""
        if not lot:
            return
        table = source = lot[0].tabel
        if ROWS_TOGETHER >= _rows(lot) > lot[0].raekker:
            where = " OR ".join(sorted({_where(part) for part in lot}))
            # Sorted by part, so that DuckDB finds each of several parts without reading the others.
            order = f"ORDER BY {cut_of(table)[0]}" if len({part.del_ for part in lot}) > 1 else ""
            source = str(self.session.temp("parts", f"SELECT * FROM {table} WHERE {where} {order}"))
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
            f"SELECT {content_of(table, columns)} FROM {of_files([fresh], encrypted=self.encrypted)} t"
        ).row(0)
        if columns == list(types_of(table)):
            wanted = (part.raekker, part.indhold)
        else:
            query = f"SELECT {content_of(table, columns)} FROM {source} t WHERE {_where(part)}"
            wanted = self.session.frame(query).row(0)
        if said != wanted or said[0] != part.raekker:
            raise NotTheSame(f"{table}, {part.del_}: filen er ikke det, lageret har")


def _readers(table: str) -> list[bool]:
    """The files of a part, each by whether it is for analysts: theirs, and one of all columns if they see fewer."""
    return [*([False] if LEFT_OUT[table] else []), *([True] if visible(table) else [])]


def _columns(table: str, *, analysts: bool) -> list[str]:
    """The columns of a file."""
    return visible(table) if analysts else list(types_of(table))


def _is_split(part: Part) -> bool:
    """True for a file with rows that no longer hold, and for a supplement."""
    return bool(part.uden) or part.del_.endswith(SUPPLEMENT)


def _rows(files: Sequence[Part]) -> int:
    return sum(part.raekker for part in files)


def _where(part: Part) -> str:
    """SQL that is true for the rows of a part."""
    if part.del_ == WHOLE:
        return "true"
    column, cut = cut_of(part.tabel)
    return cut.where.format(column, cut.in_sql.format(part.del_.removesuffix(SUPPLEMENT)))


def _order(table: str) -> list[str]:
    """The columns that the rows of a file are sorted by: the person, then the key, or every column where none is."""
    names = list(types_of(table))
    person = [name for name in PERSON if name in names and table != "identitet.borger"]
    rest = TABLES[table].to_schema().unique or names
    return [*person, *(name for name in rest if name not in person)]


def write_file(session: Session, query: str, path: Path, *, encrypted: bool) -> None:
    """The rows of a query as a Parquet file: the one place where a file of a state is written."""
    more = f", ENCRYPTION_CONFIG {FOOTER_KEY}" if encrypted else ""
    session.run(
        f"COPY ({query}) TO {quoted(str(path))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROWS_A_GROUP}{more})"
    )


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
