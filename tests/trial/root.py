"""Understands the small data root of a trial: its months, its commands, and whether two states of it are the same."""

import hashlib
import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from refusion_assets.domain.calendar import month_of
from refusion_assets.store.session import Session
from refusion_assets.store.tables import TABLES
from tests.conftest import DataRoot
from tests.kit import timeline
from tests.kit.data_root import write_file, write_register
from tests.month.test_histories import few_kommuner
from tests.trial.program import Ended, Program

MONTHS = ("2024-01", "2024-02", "2024-03")
PEOPLE = 24
RECEIVERS = ("101", "169")
COMMANDS = {
    "koer": ("koer", "2024-03"),
    "koer igen": ("koer", "2024-02"),
    "genberegn": ("genberegn", "2024-01..2024-02"),
    "genindlaes": ("genindlaes",),
    "konsekvens": ("konsekvens", "--regler", "{forslag}", "2024-01..2024-02"),
    "lever": ("lever", "2024-02"),
    "opfoelgning": ("opfoelgning", "2024-02"),
    "luk": ("luk", "2024-02", "--ja"),
}
# Moments, and how often a delivery was tried, differ from run to run.
UNEQUAL = {"levering.forsendelse": {"forsoeg"}}
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
# The views that are kept as text name their state and files, which other moments make others.
LEFT_OUT = re.compile(
    r"^(raw|dagster|modtager)/|\.laas$|^lager/ydelsesrefusion\.duckdb|^udgivet/(ydelsesrefusion\.|visninger\.sql$)"
)
OF_DAGSTER = re.compile(r"^dagster/(history/runs/[-0-9a-f]+\.db(-wal|-shm)?$|storage/|.*\.db-(wal|shm)$)")
OF_A_STATE = re.compile(r"^(lager/laesning|udgivet/tabeller)/")
Rows = tuple[str, ...]


def person(number: int) -> str:
    """A made-up number of a person: day of birth + 60."""
    return f"{61 + number % 28:02d}{1 + number % 12:02d}{60 + number % 30:02d}{5000 + number:04d}"


def deliver(root: DataRoot, month: str, people: int) -> None:
    """A month of a municipality and an a-kasse, with a correction of the month before, and the registers."""
    first, last = month_of(month), month_of(month).replace(day=28)
    for letter in ("K", "D"):
        mine = range(0 if letter == "K" else people // 2, people // 2 if letter == "K" else people)
        rows = [
            timeline.row(letter, first, last, 1, cpr=person(n), IndberetningsID=f"{letter}{month}{n}") for n in mine
        ]
        write_file(root.path, timeline.fil(letter, rows, month, int(month[-2:])))
    kommuner = ("101", "169")
    stays = [
        {"CPR": person(n), "Kommunekode": kommuner[n % 2], "Bopael_start": "2010-01-01", "Bopael_slut": ""}
        for n in range(people)
    ]
    write_register(root.path, "bopael", month, stays)


@dataclass(frozen=True)
class Bed:
    """A data root ready for a command, its rules and proposal, and the folder that its receivers read."""

    folder: Path

    @property
    def root(self) -> DataRoot:
        """The data root under its rules."""
        return DataRoot(self.folder / "data", self.folder / "data" / "regelsaet")

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the command."""
        return self.root.environment | {"POLARS_MAX_THREADS": "1"}

    def arguments(self, command: str) -> list[str]:
        """The words of a command."""
        return [word.format(forslag=self.root.rules) for word in COMMANDS[command]]

    def again(self, other: "Bed") -> None:
        """The root as `other` has it, in its own place: the rules name the folder of the receivers."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(other.folder, self.folder, symlinks=True)


LEVERING = """[[afsender]]
forsoeg = 1
"""
RECEIVER = """
[[modtager]]
kommunekode = "{kode}"
cvr = "{cvr}"
kanal = "mappe"
ud = "{folder}"
filer = ["beregning", "advisering"]
"""


def made(program: Program | None, at: Path, aside: Path, people: int = PEOPLE) -> Bed:
    """A bed in `aside` that has run two months, and is copied to the place `at` for each trial.

    Without the program the months are run without Dagster.
    """
    shutil.rmtree(at, ignore_errors=True)
    few = few_kommuner(at)
    (at / "data").mkdir()
    shutil.move(few.rules, at / "data" / "regelsaet")
    here, told = Bed(at), [LEVERING]
    for kode, cvr in zip(RECEIVERS, ("64942212", "19501817"), strict=True):
        (at / "data" / "modtager" / kode).mkdir(parents=True)
        told.append(RECEIVER.format(kode=kode, cvr=cvr, folder=at / "data" / "modtager" / kode))
    (here.root.rules / "levering.toml").write_text("".join(told), encoding="utf-8")
    for month in MONTHS:
        deliver(here.root, month, people)
    for month in MONTHS[:2]:
        if program:
            right(program.run(here.environment, ["koer", month]))
        else:
            here.root.run(month)
    bed = Bed(aside)
    bed.again(here)
    return bed


def right(ended: Ended) -> Ended:
    """A command that must succeed."""
    assert (ended.signal, ended.code) == (0, 0), ended.err or ended.out
    return ended


@dataclass(frozen=True)
class State:
    """What a root holds: the bytes of its files, the content of its tables and copy, and the names of everything."""

    files: dict[str, str]
    tables: dict[str, str]
    copy: dict[str, str]
    given: dict[str, str]
    names: frozenset[str]
    postings: tuple[Rows, ...] = field(repr=False)

    @classmethod
    def of(cls, bed: Bed) -> "State":
        """The state of a root now; nothing is changed."""
        root = bed.root.path
        every = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file() or path.is_symlink()}
        with bed.root.place.warehouse.watching() as session:
            tables = dict(_tables(session))
            query = "SELECT * FROM opgoerelse.postering ORDER BY ALL"
            postings = tuple(tuple(map(str, row)) for row in session.frame(query).rows())
        with bed.root.place.warehouse.reading() as session:
            copy = dict(_tables(session))
        return cls(
            {
                name: _sum(path)
                for name, path in every.items()
                if not LEFT_OUT.search(name) and not OF_A_STATE.match(name)
            },
            tables,
            copy,
            {name: _sum(path) for name, path in every.items() if name.startswith("modtager/")},
            frozenset(
                name
                for name in every
                if not OF_DAGSTER.match(name) and not name.endswith((".laas", ".wal", ".forrige"))
            ),
            postings,
        )

    def differs(self, other: "State") -> list[str]:
        """What `other` has otherwise; empty if nothing."""
        found = []
        for what in ("files", "tables", "copy", "given"):
            mine, theirs = getattr(self, what), getattr(other, what)
            found += [
                f"{what}: {name}" for name in sorted(mine.keys() | theirs.keys()) if mine.get(name) != theirs.get(name)
            ]
        return found


def _tables(session: Session) -> Iterator[tuple[str, str]]:
    for table in TABLES:
        if session.has(table):
            moments = f"SELECT column_name FROM duckdb_columns() WHERE schema_name || '.' || table_name = '{table}'"
            moments += " AND data_type LIKE 'TIMESTAMP%'"
            out = sorted({name for (name,) in session.frame(moments).rows()} | UNEQUAL.get(table, set()))
            chosen = f"* EXCLUDE ({', '.join(out)})" if out else "*"
            yield table, session.content(f"(SELECT {chosen} FROM {table})")


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "intet"


def left_over(bed: Bed, before: State, after: State) -> list[str]:
    """The names in a root that an undisturbed command would not have left, and what Dagster counts as going on."""
    root = bed.root.path
    listed = "".join(path.read_text("utf-8") for path in (root / "lager").glob("laesning/tilstand*.json"))
    strange = [
        name
        for name in sorted(after.names - before.names)
        if not (OF_A_STATE.match(name) and Path(name).name in listed)
    ]
    return [*strange, *going_on(root / "dagster")]


def going_on(home: Path) -> list[str]:
    """The runs that Dagster takes for unfinished, and the places and steps in its pools."""
    found: list[str] = []
    if not (home / "history" / "runs.db").exists():
        return found
    with closing(sqlite3.connect(home / "history" / "runs.db")) as runs:
        found += [f"kørsel {i[:8]}: {s}" for i, s in runs.execute("SELECT run_id, status FROM runs") if s not in ENDED]
    with closing(sqlite3.connect(home / "history" / "runs" / "index.db")) as index:
        for table in ("concurrency_slots", "pending_steps"):
            held = index.execute(f"SELECT count(*) FROM {table} WHERE run_id IS NOT NULL").fetchone()[0]
            found += [f"{table}: {held}"] if held else []
    return found


@dataclass(frozen=True)
class Baseline:
    """A command undisturbed: the bed it begins from, the state it leaves, and the calls it makes."""

    command: str
    bed: Bed
    state: State
    calls: Sequence[tuple[str, str]]

    @cached_property
    def kinds(self) -> dict[tuple[str, str], list[int]]:
        """By kind of call and part of the root, the numbers of its calls, from 1."""
        found: dict[tuple[str, str], list[int]] = {}
        for number, (kind, path) in enumerate(self.calls, 1):
            found.setdefault((kind, path.split("/")[0]), []).append(number)
        return found


def baseline(program: Program, command: str, bed: Bed, here: Bed) -> Baseline:
    """A command undisturbed from a bed."""
    here.again(bed)
    right(program.run(here.environment, here.arguments(command)))
    calls = program.calls()
    return Baseline(command, bed, State.of(here), calls)
