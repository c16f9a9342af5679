"""Understands which process each run of Dagster's belongs to, and ends the runs whose process is gone.

A process holds a lock on one byte of `lager/koersler.laas` for each run that it carries out. The system releases the
lock however the process ends. Every process that shares the file sees it, also one of another container. ADR 0035.
"""

import fcntl
import os
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import dagster as dg
import psutil  # type: ignore[import-untyped]
from dagster._core.storage.dagster_run import RunRecord
from dagster._serdes import deserialize_value

from refusion_assets.store.session import WAREHOUSE

LOCK = "koersler.laas"
MARK = "refusion/proces"
"""The tag of a run whose process holds its byte, or has ended: its own id, as a run that is begun again copies tags."""

SECONDS_TO_BEGIN, SECONDS_TO_START = 60, 180
DIED = "Kørslens proces er væk; den nåede ikke at sige, hvorfor."
BEGUN = (
    *(dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING),
    *(dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING),
)
"""The states of a run that has or had a process; one in the queue has none, and waits for the daemon."""

FORM = "hhqqi4x"
Say = Callable[[str], None]


def _byte(run_id: str) -> int:
    """The byte of a run: its id as a number."""
    return int(run_id.replace("-", "")[:15], 16)


def _lock(file: BinaryIO, run_id: str, how: int) -> None:
    fcntl.fcntl(file, how, struct.pack(FORM, fcntl.F_WRLCK, os.SEEK_SET, _byte(run_id), 1, 0))


@contextmanager
def _locks(root: Path) -> Iterator[BinaryIO]:
    """The file of locks of a data root; made where it is missing."""
    path = root / WAREHOUSE / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
        yield file


@contextmanager
def carrying_out(root: Path, run_id: str) -> Iterator[None]:
    """Within the block, this process carries out the run; for a moment it may wait for one that looks at the run."""
    with _locks(root) as file:
        _lock(file, run_id, fcntl.F_OFD_SETLKW)
        yield


def marked(run: dg.DagsterRun) -> bool:
    """True if a process has taken the byte of the run."""
    return run.tags.get(MARK) == run.run_id


def has_process(root: Path, run_id: str) -> bool:
    """True if a process carries out the run, or the file of locks cannot be read. Nothing is changed."""
    try:
        with (root / WAREHOUSE / LOCK).open("rb") as file:
            asked = struct.pack(FORM, fcntl.F_WRLCK, os.SEEK_SET, _byte(run_id), 1, 0)
            kind: int = struct.unpack(FORM, fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked))[0]
            return kind != fcntl.F_UNLCK
    except FileNotFoundError:
        return False
    except OSError:
        return True


def living_runs(instance: dg.DagsterInstance, root: Path, pool: str, say: Say = lambda _: None) -> set[str]:
    """The runs that hold or await a place in a pool, after `settle`; a place that an ended run kept is given back."""
    settle(instance, root, say)
    log = instance.event_log_storage
    info = log.get_concurrency_info(pool)
    living = set()
    for run_id in info.active_run_ids | info.assigned_run_ids | info.pending_run_ids:
        run = instance.get_run_by_id(run_id)
        if run and not run.is_finished:
            living.add(run_id)
        else:
            log.free_concurrency_slots_for_run(run_id)
    return living


def settle(instance: dg.DagsterInstance, root: Path, say: Say = lambda _: None) -> None:
    """End the runs whose process is gone: as failed, or as cancelled if somebody had asked for it; each is said.

    Their places in the pools are given back. A killed process ends no run, and the queue would count it for ever. A run
    in the queue is left alone, and one that has just begun.
    """
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(BEGUN))):
        run_id = record.dagster_run.run_id
        with _locks(root) as file:
            try:
                _lock(file, run_id, fcntl.F_OFD_SETLK)
            except OSError:
                continue
            # It may have ended, or begun, since the list was made; nobody else ends it while its byte is held here.
            now = instance.get_run_record_by_id(run_id)
            if now and now.dagster_run.status in BEGUN and _gone(instance, now):
                _end(instance, now.dagster_run)
                say(f"{named(now.dagster_run)} blev afbrudt, og dens proces er væk; den er nu ført som fejlet.")


def _end(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, DIED)
    else:
        instance.report_run_failed(run, DIED)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _gone(instance: dg.DagsterInstance, record: RunRecord) -> bool:
    """True if a run whose byte nobody holds has no process.

    A run of the user interface has no mark until its first step is near. Till then its process is known by the number
    that it told; it is left in peace while it may still be loading.
    """
    run = record.dagster_run
    if marked(run):
        return True
    loading = run.status in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING)
    patience = SECONDS_TO_START if loading else SECONDS_TO_BEGIN
    return time.time() - record.update_timestamp.timestamp() > patience and not _lives(instance, run.run_id)


def _lives(instance: dg.DagsterInstance, run_id: str) -> bool:
    """True if the process that a run has told of still lives; a process begun later has reused its number."""
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    told = [(entry, entry.get_dagster_event().engine_event_data.metadata.get("pid")) for entry in entries]
    for entry, pid in reversed(told):
        if pid:
            try:
                process = psutil.Process(int(str(pid.value)))
                return bool(process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= entry.timestamp + 1)
            except psutil.NoSuchProcess:
                return False
    return False


def named(run: dg.DagsterRun) -> str:
    """A run as people are told of it: the beginning of its id, its job, and its month if it has one."""
    cell = run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_end") or ""
    job = "enkelte tabeller" if run.job_name.startswith("__") else run.job_name
    return f"Kørsel {run.run_id[:8]} ({' '.join(filter(None, (job, cell.rpartition('|')[-1])))})"


def abandoned(home: Path, root: Path) -> list[str]:
    """The runs in Dagster's own files, by name, whose process is gone and that no command has ended; only read.

    None where the files cannot be read: then whoever writes them says why.
    """
    file = home / "history" / "runs.db"
    if not file.exists():
        return []
    words = ", ".join(f"'{status.value}'" for status in BEGUN)
    # A file that nobody has open has no log beside it, and is read without making one.
    alone = "" if file.with_name(f"{file.name}-wal").exists() else "&immutable=1"
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro{alone}", uri=True)) as opened:
            bodies = opened.execute(f"SELECT run_body FROM main.runs WHERE status IN ({words}) ORDER BY id").fetchall()
    except sqlite3.Error:
        return []
    runs = [deserialize_value(body, dg.DagsterRun) for (body,) in bodies]
    return [named(run) for run in runs if marked(run) and not has_process(root, run.run_id)]
