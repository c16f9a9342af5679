"""Whether the process of a run still lives: it is known by its number and by when it began."""

import os
import subprocess
import sys
import time
from typing import Any
from unittest import mock

import dagster as dg

from refusion_assets.store.events import _lives


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
