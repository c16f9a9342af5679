"""Kills of runs of the user interface: the daemon ends them and starts them again, and the month settles."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import dagster as dg

from refusion_assets.place import PACKAGE, environment
from refusion_assets.store import events
from tests.trial.kills import Figures
from tests.trial.program import NONE, Program
from tests.trial.root import Bed, State, going_on, left_over, right

MONTH, JOB, SETTLES = "2024-03", "kritisk_uge", "opgoer"
START_SECONDS, SECONDS, LONGEST_WAIT = 120, 300, 8.0
LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
__typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
# The server keeps the board, Dagster makes a file without a name, and the follow-up comes when the files are in sight.
BESIDE = re.compile(r"\btavle/|runs/\.db|opfoelgning|-insight-|insight/")
OVER = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@contextmanager
def served(bed: Bed) -> Iterator[str]:
    """The address of Dagster's server and daemon over a data root, as `refusion ui` starts them."""
    port, home = free_port(), bed.root.path / "dagster"
    with mock.patch.dict(os.environ, bed.environment | environment(bed.root.place)):
        command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)]
        with (bed.folder / "brugerflade.log").open("w") as told:
            server = subprocess.Popen(  # noqa: S603  our own command
                [*command, "-w", str(PACKAGE / "workspace.yaml")],
                stdout=told,
                stderr=told,
                cwd=home,
                start_new_session=True,
            )
        try:
            address = f"http://127.0.0.1:{port}"
            _until(lambda: _answers(address), START_SECONDS)
            yield address
        finally:
            server.terminate()
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/server_info", timeout=5):  # noqa: S310  our own address
            return True
    except OSError:
        return False


def _until(ready: object, seconds: float) -> bool:
    """True as soon as something is so; False if it is not in time."""
    assert callable(ready)
    end = time.monotonic() + seconds
    while not (said := ready()) and time.monotonic() < end:
        time.sleep(0.5)
    return bool(said)


def launched(address: str) -> str:
    """The id of a run of the month, launched as a click in the user interface launches it."""
    where = {"repositoryLocationName": "ydelsesrefusion", "repositoryName": "__repository__", "jobName": JOB}
    tags = [{"key": "dagster/partition", "value": MONTH}]
    said = {"p": {"selector": where, "runConfigData": {}, "executionMetadata": {"tags": tags}}}
    body = json.dumps({"query": LAUNCH, "variables": said}).encode()
    asked = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})  # noqa: S310
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
    with served(here) as address, events.instance(here.root.path / "dagster") as instance:
        for number in range(times):
            since, wait = time.time(), dice.uniform(0, LONGEST_WAIT)
            what = f"kørsel {number + 1} i brugerfladen dræbt {wait:.1f} s efter at dens proces begyndte"
            run_id = launched(address)
            if not _until(lambda run=run_id: process_of(instance, run), SECONDS):
                found.unfinished += 1
                found.wrong.append(f"{what}: den begyndte aldrig; køen er spærret")
                continue
            time.sleep(wait)
            if _status(instance, run_id) not in OVER:
                os.kill(process_of(instance, run_id), signal.SIGKILL)
                found.tried += 1
            if not _until(lambda at=since: _settled(instance, at), SECONDS):
                found.unfinished += 1
                found.wrong.append(f"{what}: måneden blev ikke opgjort af sig selv")
        _until(lambda: not going_on(here.root.path / "dagster"), SECONDS)
    after = State.of(here)
    if differences := [one for one in undisturbed.differs(after) if not BESIDE.search(one)]:
        found.differs += 1
        found.wrong.append(f"brugerfladen: {', '.join(differences[:6])}")
    if left := [one for one in left_over(here, undisturbed, after) if not BESIDE.search(one)]:
        found.left += 1
        found.wrong.append(f"brugerfladen: tilbage er {', '.join(left[:6])}")
    found.seconds = time.monotonic() - began
    yield found
