"""Understands a data root that is run, for tests: the command in this process, and what it leaves behind."""

import atexit
import contextlib
import csv
import fcntl
import gc
import io
import os
import pickle
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import cache, wraps
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, event

from refusion_assets import cli, place
from refusion_assets.assets import classified
from refusion_assets.assets.classified import classify_through
from refusion_assets.assets.gate import gate
from refusion_assets.assets.opgoerelse import settle_month
from refusion_assets.assets.outgoing import show, write_files
from refusion_assets.assets.raw.registers import ingest_registers
from refusion_assets.assets.raw.reports import ingest
from refusion_assets.assets.refusion import calculate
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.place import PACKAGE, Place
from refusion_assets.store import durable, events
from refusion_assets.store import session as warehouse
from refusion_assets.store.session import Session, Warehouse
from refusion_assets.store.tables import quoted
from tests.kit.data_root import EXAMPLE, RULES, Row, rules_of_few
from tests.kit.senders import OTHER, Senders
from tests.kit.timeline import CPR

# The same histories every time, however slow the machine is: a test is no clock.
settings.register_profile("refusion", deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
settings.load_profile("refusion")
# One database for every question of a test: DuckDB takes twenty milliseconds to make one.
ASKING = duckdb.connect(config={"threads": 1})
MONTHS = ("2024-02", "2024-03", "2024-04")
WRITER_SECONDS = 60
OF_THE_EXAMPLE = ("161", "169", "250", "665", "860", "101")  # nobody lives in the last before a test moves him
# The tests are as many at a time as there are cores, and threads that wait for each other double the work of a small
# month. The example and every command in a process of its own run with the threads of the product.
OF_THE_PRODUCT, warehouse.THREADS = warehouse.THREADS, 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The cluster and the whole months come first, so that no worker is left alone with a long file at the end."""
    items.sort(key=lambda item: not {"klynge", "month"} & set(item.path.parts))


def pytest_collection_finish() -> None:
    """What the modules of the tests made stays to the end, so Python need not look through it for what can go.

    It looks seldom at the rest: most goes by itself, and a worker has memory enough.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _roots(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The roots of a run that passes are taken away at its end: there are a thousand of some MB.

    Not after each test: for a minute the file system looks through what was deleted before it makes a new file, which
    cost a quarter of the time.
    """
    yield
    if not request.session.testsfailed:
        shutil.rmtree(tmp_path_factory.getbasetemp(), ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _left_to_the_system() -> Iterator[None]:
    """No test cuts the power, so the system writes in its own time: four hundred files a run, and Dagster's log."""

    def unhurried(connection: object, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", unhurried)
    with mock.patch.object(durable, "flush"):
        yield
    event.remove(Engine, "connect", unhurried)


@pytest.fixture(scope="session", autouse=True)
def _fonts_listed_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[None]:
    """Every process finds the list of fonts that the first one made; it takes longer to make than a small month."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "matplotlib"
    with mock.patch.dict(os.environ, {"MPLCONFIGDIR": str(shared)}):
        yield


@pytest.fixture(scope="session", autouse=True)
def _numbers_of_people_are_the_same_in_every_root() -> Iterator[None]:
    """Tests compare the tables of two roots, which give a person the same number only under the same secret.

    The root that `genskab` throws away has another secret, as it has in use: its files are the same all the same.
    """

    def secret(place: Place) -> str:
        return place.root.name if place.root.name.startswith(".genskab-") else ""

    with mock.patch.object(classified, "numbering_secret", secret):
        yield


@pytest.fixture(scope="session", autouse=True)
def _migrations_read_once() -> Iterator[None]:
    """Dagster's storages read 150 scripts of migrations each time they are opened; the tests open them 300 times."""
    read, known = ScriptDirectory.from_config, {}

    def once(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        return known[place] if place in known else known.setdefault(place, read(config))

    with mock.patch.object(ScriptDirectory, "from_config", once):
        yield


@pytest.fixture(scope="session", autouse=True)
def _rules_read_once() -> Iterator[None]:
    """A place reads the same rules for the same bytes; reading and proving them anew costs a fifth of a small run."""
    read, known = place.load, {}

    def once(folder: Path, today: date | None = None, *, kept: bool = False) -> Rulebook:
        files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
        key = (*((path.name, path.read_bytes()) for path in files), today, kept)
        return known[key] if key in known else known.setdefault(key, read(folder, today, kept=kept))

    with mock.patch.object(place, "load", once):
        yield


class Instance:
    """One instance of DuckDB for all warehouses of a process; each is attached while a session or a command has it.

    To make an instance takes as long as to read a warehouse's catalogue, and the tests open thousands. A command
    keeps its warehouse attached from the first session that writes to its end: a month has more than twenty.
    """

    def __init__(self) -> None:
        """An instance with nothing attached."""
        self.connection = duckdb.connect()
        self.path: Path | None = None
        self.mode = ""
        self.users = 0

    def connected(self, path: Path, mode: str) -> duckdb.DuckDBPyConnection:
        """A connection that uses the warehouse of a path, which is attached in a mode if it is not."""
        if (self.path, self.mode) != (path, mode):
            self.let_go()
            if not (mode or path.exists() or path.with_name(f"{path.name}.wal").exists()):
                shutil.copyfile(empty_warehouse(), path)
            self.connection.execute(f'ATTACH {quoted(str(path))} AS "{path.stem}" {mode}')
            self.path, self.mode = path, mode
        cursor = self.connection.cursor()
        cursor.execute(f'USE "{path.stem}"')
        return cursor

    @contextmanager
    def used(self) -> Iterator[None]:
        """Within the block, what is attached stays so; then it is let go, if nobody else uses it."""
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1
            if not self.users:
                self.let_go()

    def let_go(self) -> None:
        """Nothing is attached; an instance that has spilled to a folder of one root cannot do so in another's."""
        path, self.path = self.path, None
        if path is None:
            return
        try:
            self.connection.execute(f'DETACH "{path.stem}"')
            spoiled = any(path.parent.glob(f"{warehouse.SPILL}-{os.getpid()}-*"))
        except duckdb.Error:
            spoiled = True
        if spoiled:
            self.connection.close()
            self.connection = duckdb.connect()


INSTANCE = Instance()


@pytest.fixture(scope="session", autouse=True)
def _warehouses_attached() -> Iterator[None]:
    """The sessions of a process on a warehouse share an instance of DuckDB, and a new root begins with empty tables.

    A session on the published state, and one with a key, has its own instance, as every session of the product does.
    """
    plain, session_of = warehouse.connected, Warehouse._connect

    def connected(path: Path, key: str | None, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        ours = path == Warehouse(path.parent.parent).path
        if key or not ours or INSTANCE.path not in (None, path):
            return plain(path, key, read_only=read_only)
        return INSTANCE.connected(path, "(READ_ONLY)" if read_only else "")

    @wraps(session_of)
    @contextmanager
    def connect(self: Warehouse, path: Path, **changes: Any) -> Iterator[duckdb.DuckDBPyConnection]:
        with INSTANCE.used():
            try:
                with session_of(self, path, **changes) as connection:
                    yield connection
            finally:
                with contextlib.suppress(duckdb.Error):  # the tables that `fill_in` made for this session
                    INSTANCE.connection.execute("DETACH DATABASE IF EXISTS tomme")

    with mock.patch.object(warehouse, "connected", connected), mock.patch.object(Warehouse, "_connect", connect):
        yield


@cache
def empty_warehouse() -> Path:
    """A warehouse with every table and no row."""
    root = Path(tempfile.mkdtemp(prefix="refusion-tomt-lager-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    made = Warehouse(root)
    made.path.parent.mkdir()
    with contextlib.closing(duckdb.connect(str(made.path))) as connection:
        Session(connection).prepare()
    return made.path


@cache
def empty_home() -> Path:
    """A home of Dagster that nothing has run in; making its databases costs a tenth of a small run."""
    home = Path(tempfile.mkdtemp(prefix="refusion-tomt-hjem-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    shutil.copyfile(PACKAGE / "dagster.yaml", home / "dagster.yaml")
    with events.instance(home) as opened:
        opened.get_runs_count()
        opened.all_instigator_state()
    return home


@dataclass(frozen=True)
class Ran:
    """What a command said: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class DataRoot:
    """A data root, and the `refusion` command in it."""

    path: Path
    rules: Path = RULES

    @property
    def place(self) -> Place:
        """The place of the root under its rules."""
        return Place(self.path, self.rules)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the command, without a home of Dagster elsewhere."""
        own = {"REFUSION_DATA": str(self.path), "REFUSION_REGLER": str(self.rules)}
        return {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"} | own

    def copy(self, folder: Path) -> "DataRoot":
        """A copy of the root in a folder, under the same rules."""
        return replace(self, path=Path(shutil.copytree(self.path, folder / "data", symlinks=True)))

    def refusion(self, *arguments: str) -> Ran:
        """The command run in this process."""
        out, err = io.StringIO(), io.StringIO()
        code: Any = 0
        with (
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.object(sys, "argv", ["refusion", *arguments]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            INSTANCE.used(),
        ):
            try:
                cli.run()
            except SystemExit as stopped:
                code = stopped.code
        return Ran(code or 0, out.getvalue(), err.getvalue())

    def forklar(self, cpr: str, *words: str) -> Ran:
        """The answer about a person, whose number is sent in as a program would."""
        with mock.patch.object(sys, "stdin", io.StringIO(f"{cpr}\n")):
            return self.refusion("forklar", *words, "--cpr", "-")

    def koer(self, month: str) -> Ran:
        """A run that must succeed."""
        if not (home := self.path.expanduser() / "dagster").exists():
            shutil.copytree(empty_home(), home)
        ran = self.refusion("koer", month)
        assert (ran.code, ran.err) == (0, ""), ran.err
        return ran

    def calculate(self, month: str) -> None:
        """A month taken in, classified and calculated, but not settled."""
        place, first = self.place, month_of(month)
        with place.warehouse.open() as session:
            gate(session, place, first)
            ingest(session, place, first)
            ingest_registers(session, place, first)
            classify_through(session, place, first)
            calculate(session, place, first, lambda _: None)

    def run(self, month: str) -> None:
        """The critical week of a month without Dagster: what the assets do, one after the other."""
        place, first, koder = self.place, month_of(month), self.place.rules.koder
        with INSTANCE.used():
            self.calculate(month)
            with place.warehouse.open() as session:
                settle_month(session, place, first, koder)
                outgoing = write_files(session, place, first)
            show(place, first, outgoing)

    def classify(self, month: str) -> None:
        """A month taken in and classified, and no more."""
        with self.place.warehouse.open() as session:
            ingest(session, self.place, month_of(month))
            classify_through(session, self.place, month_of(month))

    def files(self, month: str) -> dict[str, bytes]:
        """Every file of a run in its outgoing folder, by name, without the follow-up; none where there is no folder."""
        folder = self.path / "udgaaende" / month
        mine = [path for path in sorted(folder.glob("*")) if path.is_file() and "-opfoelgning-" not in path.name]
        return {path.name: path.read_bytes() for path in mine}

    def money(self, month: str) -> dict[str, bytes]:
        """The files of a run about money; those of advice name the file and line of a row."""
        kinds = ("-beregning-", "-opgoerelse-", "-bogfoering-")
        return {name: data for name, data in self.files(month).items() if any(kind in name for kind in kinds)}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query on the warehouse, which is only read; a run of the user interface may be writing it."""
        path = str(self.place.warehouse.path).replace("'", "''")
        end = time.monotonic() + WRITER_SECONDS
        while True:
            try:
                ASKING.execute(f"ATTACH '{path}' AS lager (READ_ONLY)")
                break
            except duckdb.IOException as held:
                if "lock" not in str(held) or time.monotonic() > end:
                    raise
                time.sleep(0.2)
        try:
            ASKING.execute("USE lager")
            return Session(ASKING).frame(query).rows()
        finally:
            ASKING.execute("USE memory")
            ASKING.execute("DETACH lager")

    def ledger(self) -> list[tuple[Any, ...]]:
        """Every row of the ledger and every run."""
        runs = self.rows("SELECT * FROM opgoerelse.koersel ORDER BY ALL")
        return [*runs, *self.rows("SELECT * FROM opgoerelse.postering ORDER BY ALL")]


@dataclass(frozen=True)
class Example:
    """The contract's example after its three runs: what each said and left."""

    root: DataRoot
    said: dict[str, Ran]
    files: dict[str, dict[str, bytes]]

    def rows(self, kind: str, month: str) -> Iterator[Row]:
        """The rows of a run's files of one kind, with all municipalities together."""
        for name, data in self.files[month].items():
            if name.startswith(f"yr-ydelsesrefusion-{kind}-"):
                yield from csv.DictReader(io.StringIO(data.decode("utf-8")), delimiter=";")


@contextmanager
def _made_once(factory: pytest.TempPathFactory, worker_id: str, name: str) -> Iterator[Path]:
    """The folder of a name that all workers share, held by one of them at a time."""
    base = factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / name
    with folder.with_suffix(".laas").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Example:
    """The example run through 2024-02, 2024-03 and 2024-04; run once for all workers, each of which has a copy."""
    own = DataRoot(tmp_path_factory.mktemp("eksempel"))
    with _made_once(tmp_path_factory, worker_id, "foerste-eksempel") as folder:
        first, kept = DataRoot(folder), folder.with_suffix(".sagt")
        if not kept.exists():
            shutil.copytree(EXAMPLE / "data" / "raw", first.path / "raw")
            with mock.patch.object(warehouse, "THREADS", OF_THE_PRODUCT):
                kept.write_bytes(pickle.dumps({month: first.koer(month).out for month in MONTHS}))
    shutil.copytree(first.path, own.path, dirs_exist_ok=True)
    out = pickle.loads(kept.read_bytes())  # noqa: S301  written by a worker of this run
    said = {month: Ran(0, text.replace(str(first.path), str(own.path)), "") for month, text in out.items()}
    return Example(own, said, {month: own.files(month) for month in said})


@pytest.fixture(scope="session")
def small_example(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> DataRoot:
    """The example after its three runs, under rules with few municipalities: a quarter of the files.

    All workers have the same: it is only to be copied.
    """
    with _made_once(tmp_path_factory, worker_id, "lille-eksempel") as folder:
        root, made = DataRoot(folder / "data", folder / "rules"), folder / "faerdig"
        if not made.exists():
            rules_of_few(root.rules, OF_THE_EXAMPLE)
            shutil.copytree(EXAMPLE / "data" / "raw", root.path / "raw")
            for month in MONTHS:
                root.koer(month)
            made.touch()
    return root


@pytest.fixture
def senders(tmp_path: Path) -> Senders:
    """Two senders, and both persons living in 169."""
    made = Senders(tmp_path)
    made.live("2024-02", (CPR, "169", "2010-01-01", ""), (OTHER, "169", "2010-01-01", ""))
    return made
