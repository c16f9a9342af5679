"""Which process a run belongs to: the run of a dead one is ended, that of a living one never."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.storage.tags import MAX_RETRIES_TAG

from refusion_assets.store import events, processes
from refusion_assets.store.processes import MARK, _lives, abandoned, carrying_out, living_runs, settle
from tests.conftest import empty_home

POOL = "lager"
FAILED, STARTED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED


def lives(pid: int, since: float) -> bool:
    """Whether the process that told its number at a time lives."""
    instance: Any = mock.Mock()
    event = instance.all_logs.return_value = [mock.Mock(timestamp=since)]
    event[0].get_dagster_event().engine_event_data.metadata = {"pid": dg.MetadataValue.text(str(pid))}
    return _lives(instance, "run")


def test_this_process_lives() -> None:
    assert lives(os.getpid(), time.time())


def test_a_process_that_began_after_the_run_told_its_number_is_another_one() -> None:
    assert not lives(os.getpid(), time.time() - 24 * 3600 * 365)


def test_a_process_that_has_ended_does_not_live_whether_anybody_has_asked_for_its_end_or_not() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as ended:
        assert ended.stdout is not None
        ended.stdout.read()
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        unasked = lives(ended.pid, time.time())
        ended.wait()
    assert (unasked, lives(ended.pid, time.time())) == (False, False)


def test_a_run_that_never_told_its_number_has_no_process() -> None:
    instance: Any = mock.Mock()
    instance.all_logs.return_value = []
    assert not _lives(instance, "run")


@dg.job
def kritisk_uge() -> None:
    """A job without steps."""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance in a data root."""
    shutil.copytree(empty_home(), tmp_path / "dagster")
    with events.instance(tmp_path / "dagster") as opened:
        yield opened


def run_in(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, *, marked: bool) -> str:
    """The id of a run of 2024-02 in a state, of a process that took its byte or has not yet."""
    run_id = str(uuid4())
    tags = {"dagster/partition": "2024-02", MAX_RETRIES_TAG: "0", MARK: run_id if marked else "the run before"}
    home = events._origin("kritisk_uge")
    instance.create_run_for_job(kritisk_uge, run_id=run_id, tags=tags, status=status, remote_job_origin=home)
    return run_id


def state(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run_id)
    assert found
    return found.status


@pytest.mark.parametrize(
    ("status", "ended"),
    [("NOT_STARTED", "FAILURE"), ("STARTING", "FAILURE"), ("STARTED", "FAILURE"), ("CANCELING", "CANCELED")],
)
def test_a_run_whose_process_was_killed_is_ended_and_said_once(
    status: str, ended: str, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    said: list[str] = []
    run_id = run_in(instance, dg.DagsterRunStatus(status), marked=True)
    home = tmp_path / "dagster"
    assert [name.split(" (")[0] for name in abandoned(home, tmp_path)] == [f"Kørsel {run_id[:8]}"]
    for _ in range(2):
        settle(instance, tmp_path, said.append)
    assert (state(instance, run_id).value, abandoned(home, tmp_path)) == (ended, [])
    text = "blev afbrudt, og dens proces er væk; den er nu ført som fejlet."
    assert said == [f"Kørsel {run_id[:8]} (kritisk_uge 2024-02) {text}"]


def test_a_run_that_is_carried_out_in_another_process_is_left_in_peace_until_that_is_killed(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run_id = run_in(instance, STARTED, marked=True)
    hold = f"""import pathlib, time
from refusion_assets.store.processes import carrying_out
with carrying_out(pathlib.Path({str(tmp_path)!r}), {run_id!r}):
    print(flush=True)
    time.sleep(60)"""
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE) as other:  # noqa: S603  a fixed program
        assert other.stdout is not None
        other.stdout.readline()
        settle(instance, tmp_path)
        living = state(instance, run_id), abandoned(tmp_path / "dagster", tmp_path)
        other.kill()
        other.wait()
    settle(instance, tmp_path)
    assert (living, state(instance, run_id)) == ((STARTED, []), FAILED)


def test_a_run_of_this_process_and_one_in_the_queue_are_left_in_peace(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    mine, queued = (
        run_in(instance, STARTED, marked=True),
        run_in(instance, dg.DagsterRunStatus.QUEUED, marked=False),
    )
    with carrying_out(tmp_path, mine):
        settle(instance, tmp_path)
    assert (state(instance, mine), state(instance, queued)) == (STARTED, dg.DagsterRunStatus.QUEUED)


@pytest.mark.parametrize(("status", "seconds"), [("NOT_STARTED", 180), ("STARTING", 180), ("STARTED", 60)])
def test_a_run_of_the_ui_that_has_told_of_no_process_may_load_for_a_while(
    status: str, seconds: int, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, begun = run_in(instance, dg.DagsterRunStatus(status), marked=False), time.time()
    clock = mock.Mock()
    monkeypatch.setattr(processes, "time", clock)
    states = []
    for waited in (seconds - 5, seconds + 5):
        clock.time.return_value = begun + waited
        settle(instance, tmp_path)
        states.append(state(instance, run_id).value)
    assert states == [status, "FAILURE"]


def test_the_place_of_a_killed_run_in_the_pool_is_given_back(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    log = instance.event_log_storage
    log.set_concurrency_slots(POOL, 1)
    killed, living = (run_in(instance, STARTED, marked=True) for _ in range(2))
    with carrying_out(tmp_path, living):
        log.claim_concurrency_slot(POOL, killed, "skridt")
        log.claim_concurrency_slot(POOL, living, "skridt")
        assert living_runs(instance, tmp_path, POOL) == {living}
        log.claim_concurrency_slot(POOL, living, "skridt")
        assert log.get_concurrency_info(POOL).active_run_ids == {living}
