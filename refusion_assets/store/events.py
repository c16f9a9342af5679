"""Understands Dagster's event log on one small machine: few transactions, cells forgotten, and why a run failed."""

import logging
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import dagster as dg
from dagster._core.definitions.executor_definition import IN_PROC_CONFIG
from dagster._core.events import EngineEventData
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.instance.ref import InstanceRef
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.event_log import SqlEventLogStorage, SqlEventLogStorageTable, SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._core.storage.tags import RETRY_STRATEGY_TAG
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_shared.error import SerializableErrorInfo
from sqlalchemy import Connection, Engine, create_engine, delete
from sqlalchemy.exc import DatabaseError

from refusion_assets.domain.stop import DISK_IS_FULL, Stop, of_the_disk
from refusion_assets.store.processes import MARK, carrying_out

Told = Callable[[dg.DagsterRun, str], None]
BUSY_SECONDS = 60
STOPPED = "STOPPET"
LOCATION, MODULE, REPOSITORY = "ydelsesrefusion", "refusion_assets.definitions", "__repository__"
"""The code location as `workspace.yaml` names it; Dagster gives a module's definitions the name of the repository."""
# A command writes to the terminal itself. Dagster's own class would send both streams through files, with four more
# processes a job to copy them back.
NOTHING_CAPTURED = {
    "module": "dagster._core.storage.noop_compute_log_manager",
    "class": "NoOpComputeLogManager",
    "config": {},
}
# SQLite takes no more values than this in a statement of any version.
VALUES_ASKED = 500
LEAST_ROOM = 2**20
# SQLite's messages for a fault of the system, with a file that may be whole.
NOT_OURS = re.compile(r"full|readonly|unable to open|locked|permission", re.IGNORECASE)

NO_ANSWER = "databasen, som {} nævner, svarer ikke; start den, eller ret navn, bruger og kodeord"
LACKS = re.compile(r'environment variable "(\w+)"|import module (\w+)')


class Haendelseslog(SqliteEventLogStorage):
    """The event log in the files that Dagster's own class reads and writes, at a fraction of the cost.

    For every event, Dagster makes an engine, which compiles every statement anew, and commits two or three times. That
    costs about 15 ms an event, and a critical month has seven hundred. Here one engine a file keeps its connection, as
    SQLite cleans up a file at each last close. The events of a batch (the cells of a month) are one transaction. ADR
    0014.
    """

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        """As the class it extends; `base_dir` is the folder of the files."""
        self._engines: dict[str, Engine] = {}
        self._held: dict[str, Connection] = {}
        self._tables: set[str] = set()
        self._columns: set[str] = set()
        self._newest: dict[tuple[str, str], tuple[dg.EventLogEntry, int]] = {}
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
        """True if the index has a table. The file is read until the table is there; nothing removes it."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        """True if the table of assets has a column; Dagster asks for each event, and nothing removes it."""
        if column_name not in self._columns and super()._has_asset_key_col_on_connection(conn, column_name):
            self._columns.add(column_name)
        return column_name in self._columns

    def _store_asset_event(self, conn: Connection, event: dg.EventLogEntry, event_id: int) -> None:
        """Store the newest event of each kind of an asset in the index; a batch does it once, at its end."""
        said = event.get_dagster_event()
        if conn is not self._held.get(INDEX_SHARD_NAME) or said.asset_key is None:
            super()._store_asset_event(conn, event, event_id)
            return
        kind = said.asset_key.to_string(), said.event_type_value
        self._newest.pop(kind, None)
        self._newest[kind] = event, event_id

    def let_go(self, run_id: str) -> None:
        """Close the file of a run, if it is open; it is opened again when it is asked for."""
        if run_id not in self._held and (engine := self._engines.pop(run_id, None)):
            engine.dispose()

    def dispose(self) -> None:
        """Close every engine and connection."""
        for engine in self._engines.values():
            engine.dispose()
        super().dispose()

    @contextmanager
    def together(self, run_id: str) -> Iterator[None]:
        """Within the block, the events of a run that this thread stores are one transaction a file."""
        with self._db_lock, ExitStack() as stack:
            self._held = {
                shard: stack.enter_context(self._engine(shard).begin()) for shard in (run_id, INDEX_SHARD_NAME)
            }
            self._holder = threading.get_ident()
            try:
                yield
                for newest in self._newest.values():
                    super()._store_asset_event(self._held[INDEX_SHARD_NAME], *newest)
            finally:
                self._holder, self._held, self._newest = None, {}, {}

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Events of one run, stored in one transaction a file."""
        with self.together(events[0].run_id):
            for event in events:
                self.store_event(event)


def together(instance: dg.DagsterInstance, run_id: str) -> AbstractContextManager[None]:
    """Within the block, the events of a run are stored together, if the instance has a `Haendelseslog`."""
    log = instance.event_log_storage
    return log.together(run_id) if isinstance(log, Haendelseslog) else nullcontext()


def steps_of(instance: dg.DagsterInstance, run_id: str) -> Iterator[tuple[str, float, float]]:
    """The steps of a run that have ended, also those that failed: key, start and end in seconds of the epoch.

    The file of the run is closed again: a year has more runs than a process may have files open.
    """
    found = instance.get_run_step_stats(run_id)
    if isinstance(instance.event_log_storage, Haendelseslog):
        instance.event_log_storage.let_go(run_id)
    yield from ((one.step_key, one.start_time, one.end_time) for one in found if one.start_time and one.end_time)


class Koerselsliste(SqliteRunStorage):
    """The list of runs in the file of Dagster's own class, where a run of this process belongs to the code location.

    Dagster's start page shows runs by their code location, and a run of a command has none.
    """

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> Self:
        """The list that Dagster's configuration describes."""
        return cls.from_local(inst_data=inst_data, **config_value)

    def add_run(self, dagster_run: dg.DagsterRun) -> dg.DagsterRun:
        """Add a run to the list, with the code location if it lacks one."""
        if dagster_run.remote_job_origin is None:
            dagster_run = dagster_run.with_job_origin(_origin(dagster_run.job_name))
        return super().add_run(dagster_run)


def _origin(job: str) -> RemoteJobOrigin:
    """Where the UI finds a job of ours."""
    target = LoadableTargetOrigin(module_name=MODULE)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, LOCATION)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, REPOSITORY), job)


def instance(home: Path) -> dg.DagsterInstance:
    """Dagster's instance in its home; to be closed by the caller.

    Its memory is the quick files above, or the database that `dagster.yaml` names.
    """
    history = home / "history"
    log = {"module": __name__, "class": Haendelseslog.__name__, "config": {"base_dir": str(history / "runs")}}
    runs = {"module": __name__, "class": Koerselsliste.__name__, "config": {"base_dir": str(history)}}
    ours = {"compute_logs": NOTHING_CAPTURED}
    try:
        logging.disable(logging.WARNING)  # each try to reach a database is told in English
        ref = InstanceRef.from_dir(str(home), overrides=ours)
        if ref.event_storage_data and ref.event_storage_data.class_name == SqliteEventLogStorage.__name__:
            ref = InstanceRef.from_dir(str(home), overrides={**ours, "event_log_storage": log, "run_storage": runs})
        return dg.DagsterInstance.from_ref(ref)
    except (DatabaseError, sqlite3.DatabaseError, OSError):
        raise
    except Exception as error:  # noqa: BLE001  a text that is no YAML, or no configuration, raises many kinds of error
        raise Stop(f"{_not_understood(home, error)}, og kør det igen") from None
    finally:
        logging.disable(logging.NOTSET)


def _not_understood(home: Path, error: Exception) -> str:
    """Why Dagster's configuration gives no instance, with the remedy."""
    file = home / "dagster.yaml"
    if isinstance(error.__cause__, DatabaseError):
        return NO_ANSWER.format(file)
    if lacks := LACKS.search(str(error)):
        return (
            f"{file} nævner {lacks[1] or lacks[2]}, som mangler i miljøet; sæt variablen, eller installér biblioteket"
        )
    return f"{file} kan ikke forstås; flyt den et andet sted hen"


@contextmanager
def readable(home: Path) -> Iterator[None]:
    """Within the block, a file of Dagster's that cannot be read or written becomes a Stop with the remedy."""
    try:
        yield
    except (DatabaseError, sqlite3.DatabaseError) as error:
        cause = getattr(error, "orig", error) or error
        said = str(cause)
        if not isinstance(cause, sqlite3.Error):
            why = NO_ANSWER.format(home / "dagster.yaml")
        elif full := of_the_disk(error) or _without_room(home):
            why = f"{home} kan ikke skrives, da {full}"
        elif NOT_OURS.search(said):
            why = f"{home} kan ikke skrives eller åbnes ({said}); ret det"
        else:
            why = f"Dagsters hukommelse i {home} er beskadiget; flyt mappen et andet sted hen, den husker kun kørsler"
        raise Stop(f"{why}, og kør det samme igen") from None


def _without_room(home: Path) -> str:
    """The error of a full disk, if it is full: SQLite then reports a lost table or a fault of the disk."""
    room = shutil.disk_usage(home).free if home.exists() else LEAST_ROOM
    return DISK_IS_FULL if room < LEAST_ROOM else ""


def forget(instance: dg.DagsterInstance, key: Sequence[str], cells: Collection[str]) -> None:
    """Mark cells of an asset as not made, as their data is gone; the events of the runs are kept.

    Dagster's own way (`wipe_asset_partitions`) does not work with SQLite.
    """
    log, asset = instance.event_log_storage, dg.AssetKey(key)
    if not isinstance(log, SqlEventLogStorage):
        return
    made = dg.DagsterEventType.ASSET_MATERIALIZATION.value
    events, every = SqlEventLogStorageTable.c, sorted(cells)
    with log.index_connection() as connection:
        for first in range(0, len(every), VALUES_ASKED):
            some = events.partition.in_(every[first : first + VALUES_ASKED])
            mine = (events.asset_key == asset.to_string()) & (events.dagster_event_type == made) & some
            connection.execute(delete(SqlEventLogStorageTable).where(mine))
    instance.wipe_asset_cached_status([asset])


VERSION_TAG = "dagster/data_version"


def observed_versions(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, str]:
    """The data version last observed of each partition of an asset."""
    seen = instance.event_log_storage.get_latest_tags_by_partition(
        key, dg.DagsterEventType.ASSET_OBSERVATION, [VERSION_TAG]
    )
    return {partition: tags[VERSION_TAG] for partition, tags in seen.items() if VERSION_TAG in tags}


def _quicken(instance: dg.DagsterInstance) -> None:
    """The event log of the process of a run of the UI written by `Haendelseslog`, if it lies in Dagster's own files."""
    log = instance.event_log_storage
    if type(log) is SqliteEventLogStorage:
        quick = Haendelseslog(log._base_dir, log.inst_data)  # noqa: SLF001  the folder of the same files
        quick.register_instance(instance)
        instance._event_storage = quick  # noqa: SLF001  Dagster reads no other configuration here


def reason_of(events: Iterable[dg.DagsterEvent]) -> str:
    """Why a run failed, in one line: the failed checks, or the reason of a step."""
    failures: list[dg.DagsterEvent] = []
    said_no: dict[str | None, list[str]] = {}  # by description: two checks may have met the same fault
    for event in events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            said = event.asset_check_evaluation_data
            if not said.passed and said.severity == dg.AssetCheckSeverity.ERROR:
                said_no.setdefault(said.description, []).append(said.check_name)
        if event.is_step_failure:
            failures.append(event)
    if said_no:
        return " | ".join(f"{', '.join(names)}: {description}" for description, names in said_no.items())
    return next(map(_reason_of_step, failures), "kørslen fejlede; se den i brugerfladen")


def _reason_of_step(event: dg.DagsterEvent) -> str:
    """Why a step failed; of an unforeseen error only its kind, as its text may hold a person's number."""
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    innermost = data.error.cause or data.error if data.error else None
    if innermost and innermost.cls_name == dg.DagsterExecutionInterruptedError.__name__:
        return "kørslen blev afbrudt; kør måneden igen"
    full = of_the_disk(RuntimeError(f"{data.error.message} {innermost.message}")) if data.error and innermost else ""
    if full:
        return full
    kind = innermost.cls_name if innermost else "ukendt"
    return f"uventet fejl i {event.step_key}: {kind}; se kørslen i brugerfladen"


def last_word(instance: dg.DagsterInstance, run: dg.DagsterRun, reason: str) -> None:
    """Store the reason of a failed run as its last event in the UI, after Dagster's own."""
    event = dg.DagsterEvent(
        dg.DagsterEventType.ENGINE_EVENT.value,
        job_name=run.job_name,
        message=f"{STOPPED}: {reason}",
        event_specific_data=EngineEventData(),
    )
    instance.report_dagster_event(event, run.run_id, log_level=logging.ERROR)


class _Ending(logging.Handler):
    """Receives the events of a run, and adds the last one when it has failed."""

    def __init__(self, instance: dg.DagsterInstance, run: dg.DagsterRun, told: Told) -> None:
        super().__init__()
        self._instance, self._run, self._told = instance, run, told
        self._heard: list[dg.DagsterEvent] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Receive an event; Dagster's own handler has stored it before."""
        event: dg.DagsterEvent | None = getattr(record, "dagster_event", None)
        if event is not None and event.event_type == dg.DagsterEventType.RUN_FAILURE and self._heard:
            reason = reason_of(self._heard)
            last_word(self._instance, self._run, reason)
            self._told(self._run, reason)

    def hear(self, event: dg.DagsterEvent) -> dg.DagsterEvent:
        """An event of the run, a failure with the Danish reason in place of a trace for the run to end with."""
        self._heard.append(event)
        if not event.is_step_failure:
            return event
        plain = SerializableErrorInfo(reason_of(self._heard), [], STOPPED)
        return event._replace(event_specific_data=event.step_failure_data._replace(error=plain))


class _InDanish(InProcessExecutor):
    """Runs all steps in one process, as Dagster's own executor does; a failed run ends with its reason."""

    def __init__(self, root: Path, told: Told, **as_configured: Any) -> None:
        super().__init__(**as_configured)
        self._root, self._told = root, told

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """The events of the run."""
        instance, run = plan_context.instance, plan_context.dagster_run
        _quicken(instance)
        ending = _Ending(instance, run, self._told)
        plan_context.log.addHandler(ending)
        with carrying_out(self._root, run.run_id):
            # From the failed step on, Dagster begins no run again that was killed after its last step.
            instance.add_run_tags(
                run.run_id, {MARK: run.run_id, RETRY_STRATEGY_TAG: ReexecutionStrategy.ALL_STEPS.value}
            )
            for event in super().execute(plan_context, execution_plan):
                yield ending.hear(event)


def in_danish(root: Path, told: Told) -> dg.ExecutorDefinition:
    """The executor of the code location: Dagster's `in_process`, whose failed runs end with a Danish reason.

    The process of a run holds its place in the data root `root` (`processes.carrying_out`). `told` is called with each
    failed run and its reason.
    """

    @dg.executor(name="in_process", config_schema=IN_PROC_CONFIG)
    def executor(context: dg.InitExecutorContext) -> _InDanish:
        config: Any = context.executor_config
        retries, marker = RetryMode.from_config(config["retries"]), config.get("marker_to_close")
        return _InDanish(root, told, retries=retries, marker_to_close=marker)

    return executor
