"""A delivery killed anywhere and started again: every file is delivered once."""

import os
import signal
import subprocess
import sys

import pytest

from tests.kit.data_root import REPO
from tests.kit.sftp import needs_sshd
from tests.levering.conftest import MONTH, Shown

pytestmark = needs_sshd

# The delivery in a process of its own, which kills itself at the n-th call of a function, before or after it.
KILLED = """
import os, signal, sys
from refusion_assets.assets.levering import shipments
from refusion_assets.domain.calendar import month_of
from refusion_assets.levering import channel, shipping
from refusion_assets.place import Place

name, when, left = sys.argv[2], sys.argv[3], int(sys.argv[4])

def killing(function):
    def count():
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    async def slow(*arguments):
        if when == "before":
            count()
        done = await function(*arguments)
        if when == "after":
            count()
        return done
    def quick(*arguments):
        if when == "before":
            count()
        done = function(*arguments)
        if when == "after":
            count()
        return done
    return slow if name in ("put", "send", "_whole") else quick

shipping.AT_ONCE, shipping.FILES_A_STEP, shipping.SECONDS_TO_TAKE = 1, 2, 0.2
home = shipments if name in ("begin", "_keep") else channel.Far
setattr(home, name, killing(getattr(home, name)))
shipments.deliver(Place.from_environment(), month_of(sys.argv[1]), (), lambda _: None)
"""
POINTS = [
    ("put", "after", 1),  # a file under its own name, not kept
    ("_keep", "after", 2),  # kept as laid, no trigger
    ("send", "after", 1),  # a trigger stands, and is not kept
    ("_keep", "before", 5),  # the last triggers stand, and are not kept
]
MORE = [
    (name, when, number)
    for name, numbers in (("begin", 1), ("put", 4), ("send", 4), ("_whole", 4), ("_keep", 5))
    for when in ("before", "after")
    for number in range(1, numbers + 1)
]


@pytest.mark.parametrize("holding", [False, True] if os.environ.get("REFUSION_FLERE") else [False])
@pytest.mark.parametrize("point", MORE if os.environ.get("REFUSION_FLERE") else POINTS, ids=str)
def test_a_delivery_that_was_killed_is_made_up_for_and_no_file_goes_twice(
    shown: Shown, point: tuple[str, str, int], *, holding: bool
) -> None:
    platform = shown.server.platform
    platform.holding = holding
    name, when, number = point
    command = [sys.executable, "-c", KILLED, MONTH, name, when, str(number)]
    environment = shown.root.environment | shown.server.environment | {"POLARS_MAX_THREADS": "1"}
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert shown.deliver().faults == ()
    platform.holding = False
    platform.settled(4)
    assert shown.receipts().faults == ()
    assert shown.statuses() == {"leveret"}
    assert platform.refused == []
    names = [(one.modtager, one.fil) for one in platform.given]
    assert len(names) == len(set(names)) == 4
    assert not list(shown.server.out.iterdir())
