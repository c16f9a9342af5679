"""A delivery killed anywhere and started again: every file is delivered once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kit.data_root import REPO
from tests.kit.sftp import needs_sshd
from tests.levering.conftest import MONTH, Shown

pytestmark = needs_sshd

# A process that has loaded the program once, and makes each delivery in a child, as loading costs six seconds. The
# child kills itself at the n-th call of a function, before or after it.
KILLED = """
import json, os, signal, sys
from refusion_assets.assets.levering import shipments
from refusion_assets.domain.calendar import month_of
from refusion_assets.levering import channel, shipping
from refusion_assets.place import Place

def deliver(month, name, when, left):
    left = [left]

    def count(now):
        if now == when:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    home = shipments if name in ("begin", "_keep") else channel.Far
    function = getattr(home, name)

    async def slow(*arguments):
        count("before")
        await function(*arguments)
        count("after")

    def quick(*arguments):
        count("before")
        function(*arguments)
        count("after")

    setattr(home, name, quick if home is shipments else slow)
    shipping.AT_ONCE, shipping.FILES_A_STEP = 1, 2
    shipments.deliver(Place.from_environment(), month_of(month), (), lambda _: None)

for line in sys.stdin:
    environment, *asked = json.loads(line)
    child = os.fork()
    if not child:
        os.environ.update(environment)
        deliver(*asked)
        os._exit(0)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def killed() -> Iterator[Callable[..., int]]:
    """A delivery that is killed at a point; the signal that ended it, 0 if none did."""
    environment = os.environ | {"POLARS_MAX_THREADS": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", KILLED], cwd=REPO, env=environment, **pipes) as process:  # noqa: S603
        assert process.stdin is not None
        assert process.stdout is not None

        def kill(*asked: Any) -> int:
            print(json.dumps(asked), file=process.stdin, flush=True)
            return int(process.stdout.readline())  # type: ignore[union-attr]  # seen above

        yield kill
        process.stdin.close()


POINTS = [
    ("put", "after", 1),  # a file under its own name, not kept
    ("_keep", "after", 2),  # kept as laid, no trigger
    ("send", "after", 1),  # a trigger stands, and is not kept
    ("_keep", "before", 5),  # the last triggers stand, and are not kept
]
MORE = [
    (name, when, number)
    for name, numbers in (("begin", 1), ("put", 4), ("ready", 4), ("send", 4), ("_whole", 4), ("_keep", 5))
    for when in ("before", "after")
    for number in range(1, numbers + 1)
]


@pytest.mark.parametrize("holding", [False, True] if os.environ.get("REFUSION_FLERE") else [False])
@pytest.mark.parametrize("point", MORE if os.environ.get("REFUSION_FLERE") else POINTS, ids=str)
def test_a_delivery_that_was_killed_is_made_up_for_and_no_file_goes_twice(
    shown: Shown, killed: Callable[..., int], point: tuple[str, str, int], *, holding: bool
) -> None:
    platform = shown.server.platform
    platform.holding = holding
    name, when, number = point
    environment = shown.root.environment | shown.server.environment
    assert killed(environment, MONTH, name, when, number) == signal.SIGKILL
    assert shown.deliver().faults == ()
    platform.holding = False
    platform.settled(4)
    assert shown.receipts().faults == ()
    assert shown.statuses() == {"leveret"}
    assert platform.refused == []
    names = [(one.modtager, one.fil) for one in platform.given]
    assert len(names) == len(set(names)) == 4
    assert not list(shown.server.out.iterdir())


def test_a_trigger_that_a_slow_platform_has_taken_before_its_file_is_not_written_again(
    shown: Shown, killed: Callable[..., int]
) -> None:
    platform = shown.server.platform
    platform.holding = True
    assert killed(shown.root.environment | shown.server.environment, MONTH, "send", "after", 1) == signal.SIGKILL
    [taken] = shown.server.out.glob("*.trigger")
    taken.unlink()
    assert (shown.server.out / taken.stem).exists()
    assert shown.deliver().faults == ()
    assert shown.statuses() == {"sendt"}
    assert not taken.exists()
    assert len(list(shown.server.out.glob("*.trigger"))) == 3
