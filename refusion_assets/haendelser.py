"""Understands Dagster's event log on one small machine: few transactions, and one engine a file."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import create_db_conn_string
from sqlalchemy import Connection, Engine, create_engine

BUSY_SECONDS = 60
PROCESSES = Path("/proc")
ZOMBIE = "Z"
DIED = "Kørslens proces er væk; den nåede ikke at sige, hvorfor."


class Haendelseslog(SqliteEventLogStorage):
    """The event log in the files that Dagster's own class reads and writes, at a fraction of the cost.

    Dagster makes an engine for every event, which compiles every statement anew, and commits two or three times
    for each: about 15 ms an event, and a critical month has seven hundred. Here an engine is kept for each file with
    its connection, as SQLite tidies up a file whenever the last one is closed, and the events of a batch (the cells of
    a month) are one transaction. ADR 0014.
    """

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        """As the class it extends; `base_dir` is the folder of the files."""
        self._engines: dict[str, Engine] = {}
        self._held: dict[str, Connection] = {}
        self._tables: set[str] = set()
        self._holder: int | None = None
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> Self:
        """The log that Dagster's configuration describes."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """A transaction on a file of the log; within a batch, that of the batch."""
        if self._holder == threading.get_ident() and shard in self._held:
            yield self._held[shard]
            return
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    def _engine(self, shard: str) -> Engine:
        """The engine of a file, made once; the file is made where it is missing."""
        if shard not in self._engines:
            address = create_db_conn_string(self._base_dir, shard)
            engine = create_engine(address, connect_args={"timeout": BUSY_SECONDS})
            self._initdb(engine)
            self._engines[shard] = engine
        return self._engines[shard]

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table; asked of the file until it is there, as nothing takes it away again."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def dispose(self) -> None:
        """Everything that is open is closed."""
        for engine in self._engines.values():
            engine.dispose()
        super().dispose()

    @contextmanager
    def together(self, run_id: str) -> Iterator[None]:
        """While it lasts, the events of a run that this thread stores are one transaction a file."""
        with self._db_lock, ExitStack() as stack:
            self._held = {
                shard: stack.enter_context(self._engine(shard).begin()) for shard in (run_id, INDEX_SHARD_NAME)
            }
            self._holder = threading.get_ident()
            try:
                yield
            finally:
                self._holder, self._held = None, {}

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Events of one run, stored in one transaction a file."""
        with self.together(events[0].run_id):
            for event in events:
                self.store_event(event)


def together(instance: dg.DagsterInstance, run_id: str) -> AbstractContextManager[None]:
    """While it lasts, the events of a run are stored together, where the instance has the log that can."""
    log = instance.event_log_storage
    return log.together(run_id) if isinstance(log, Haendelseslog) else nullcontext()


def instance(home: Path) -> dg.DagsterInstance:
    """Dagster's instance in its home, with the quick event log; to be closed by the caller."""
    log = {"module": __name__, "class": Haendelseslog.__name__, "config": {"base_dir": str(home / "history" / "runs")}}
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides={"event_log_storage": log}))


def living_runs(instance: dg.DagsterInstance, pool: str) -> set[str]:
    """The runs that hold or await a place in a pool. Those whose process is gone lose it, and are told to have failed.

    A process that is killed gives nothing back, and whoever comes after it would wait for ever.
    """
    log = instance.event_log_storage
    info = log.get_concurrency_info(pool)
    living = set()
    for run_id in info.active_run_ids | info.assigned_run_ids | info.pending_run_ids:
        run = instance.get_run_by_id(run_id)
        if run and not run.is_finished:
            if _lives(instance, run_id):
                living.add(run_id)
                continue
            instance.report_run_failed(run, DIED)
        log.free_concurrency_slots_for_run(run_id)
    return living


def _lives(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the process that carries out a run is still there."""
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    told = [(entry, entry.get_dagster_event().engine_event_data.metadata.get("pid")) for entry in entries]
    last = next(((str(pid.value), entry.timestamp) for entry, pid in reversed(told) if pid), None)
    return last is not None and _is_there(*last)


def _is_there(pid: str, since: float) -> bool:
    """Whether a process that was there at a time still is; a later one may have been given its number."""
    if not PROCESSES.exists():
        return True
    try:
        _, _, said = (PROCESSES / pid / "stat").read_text("utf-8").rpartition(")")
    except OSError:
        return False
    state, *numbers = said.split()
    begun = int(numbers[18]) / os.sysconf("SC_CLK_TCK")
    return state != ZOMBIE and time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - begun) <= since + 1
