"""Kills of runs of the user interface: the daemon ends them and starts them again, and the month settles."""

import json
import os
import random
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from refusion_assets.door.users import of_the_machine
from refusion_assets.store import events
from tests.kit.served import serving
from tests.trial.kills import Figures
from tests.trial.program import NONE, Program
from tests.trial.root import Bed, State, going_on, left_over, right

MONTH, JOB, SETTLES = "2024-03", "kritisk_uge", "opgoer"
SECONDS, LONGEST_WAIT, MOMENT = 300, 8.0, 0.004
LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
__typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
# The server keeps the board and the keys of its door, Dagster makes a nameless file, and the follow-up comes later.
BESIDE = re.compile(r"\btavle/|runs/\.db|opfoelgning|-insight-|insight/|dagster/(doer\.|log-ind|workspace\.yaml)")
OVER = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def _until(ready: object, seconds: float) -> bool:
    """True as soon as something is so; False if it is not in time."""
    assert callable(ready)
    end = time.monotonic() + seconds
    while not (said := ready()) and time.monotonic() < end:
        time.sleep(0.5)
    return bool(said)


def launched(address: str, home: Path) -> str:
    """The id of a run of the month, launched as a click in the user interface launches it, through the door."""
    where = {"repositoryLocationName": "ydelsesrefusion", "repositoryName": "__repository__", "jobName": JOB}
    tags = [{"key": "dagster/partition", "value": MONTH}]
    said = {"p": {"selector": where, "runConfigData": {}, "executionMetadata": {"tags": tags}}}
    body = json.dumps({"query": LAUNCH, "variables": said}).encode()
    heads = {"Content-Type": "application/json", **of_the_machine(home)}
    asked = urllib.request.Request(f"{address}/graphql", body, heads)  # noqa: S310  our own address
    with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310  our own address
        found = json.load(answer)["data"]["launchRun"]
    assert found["__typename"] == "LaunchRunSuccess", found
    return str(found["run"]["runId"])


def process_of(instance: dg.DagsterInstance, run_id: str) -> int:
    """The number of the process of a run, as it told; 0 if it has not yet."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        if pid := entry.get_dagster_event().engine_event_data.metadata.get("pid"):
            return int(str(pid.value))
    return 0


def _until_its_last_step(instance: dg.DagsterInstance, run_id: str) -> None:
    """Wait till all steps of a run have ended, and stop its process there; a run may end first."""
    run = instance.get_run_by_id(run_id)
    assert run
    assert run.execution_plan_snapshot_id
    steps = len(instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id).step_keys_to_execute)
    pid, ended = process_of(instance, run_id), dg.DagsterEventType.STEP_SUCCESS
    while (done := len(instance.all_logs(run_id, of_type=ended))) < steps and _status(instance, run_id) not in OVER:
        if done == steps - 1:
            # The process goes on for a moment at a time, as a poll alone finds the run ended.
            os.kill(pid, signal.SIGCONT)
            time.sleep(MOMENT)
            os.kill(pid, signal.SIGSTOP)


def _status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus | None:
    found = instance.get_run_by_id(run_id)
    return found.status if found else None


def _settled(instance: dg.DagsterInstance, since: float) -> bool:
    """True if a run has settled the month since, and none is in the queue or at work."""
    every = instance.get_run_records(filters=dg.RunsFilter(job_name=SETTLES, statuses=[OVER[0]]), limit=5)
    return any((one.end_time or 0) > since for one in every) and all(
        run.status in OVER for run in instance.get_runs(limit=20)
    )


def trial(program: Program, bed: Bed, here: Bed, times: int, dice: random.Random) -> Iterator[Figures]:
    """The figures of so many killed runs of the user interface, all in one root with one server."""
    found, began = Figures("brugerfladen"), time.monotonic()
    here.again(bed)
    right(program.run(here.environment, ["koer", MONTH], NONE))
    undisturbed = State.of(here)
    home = here.root.path / "dagster"
    with serving(here.environment, here.folder / "brugerflade.log") as address, events.instance(home) as instance:
        for number in range(times):
            since, wait = time.time(), dice.uniform(0, LONGEST_WAIT)
            what = f"kørsel {number + 1} i brugerfladen dræbt {wait:.1f} s efter at dens proces begyndte"
            run_id = launched(address, home)
            if not _until(lambda run=run_id: process_of(instance, run), SECONDS):
                found.unfinished += 1
                found.wrong.append(f"{what}: den begyndte aldrig; køen er spærret")
                continue
            if number == 0:
                what = f"kørsel {number + 1} i brugerfladen dræbt efter sit sidste trin"
                _until_its_last_step(instance, run_id)
            else:
                time.sleep(wait)
            if _status(instance, run_id) not in OVER:
                os.kill(process_of(instance, run_id), signal.SIGKILL)
                found.tried += 1
            if not _until(lambda at=since: _settled(instance, at), SECONDS):
                found.unfinished += 1
                found.wrong.append(f"{what}: måneden blev ikke opgjort af sig selv")
        _until(lambda: not going_on(home), SECONDS)
    after = State.of(here)
    if differences := [one for one in undisturbed.differs(after) if not BESIDE.search(one)]:
        found.differs += 1
        found.wrong.append(f"brugerfladen: {', '.join(differences[:6])}")
    if left := [one for one in left_over(here, undisturbed, after) if not BESIDE.search(one)]:
        found.left += 1
        found.wrong.append(f"brugerfladen: tilbage er {', '.join(left[:6])}")
    found.seconds = time.monotonic() - began
    yield found
