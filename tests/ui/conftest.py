"""Understands one user interface for all journeys: a small data root, the server as a process, a browser."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from refusion_assets.door import users
from tests.conftest import DataRoot, Example
from tests.kit.data_root import EXAMPLE, RULES
from tests.ui.browser import Operator, operator

START_SECONDS, STOP_SECONDS = 240, 60
ANNA, BO, PASSWORD = "anna", "bo", "en lang sætning"
SHOWN = pytest.StashKey[tuple[Operator, Path]]()


@dataclass(frozen=True)
class Served:
    """A data root with its rules, and the address of its user interface."""

    root: DataRoot
    address: str
    log: Path


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def answers(address: str) -> bool:
    """True if a server answers at an address."""
    try:
        with urllib.request.urlopen(f"{address}/sundhed", timeout=5) as answer:  # noqa: S310  loopback only
            return bool(answer.status == 204)
    except OSError:
        return False


@pytest.fixture(scope="session")
def served(example: Example, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`refusion ui` on the contract's example, of which the command line has run the first month."""
    folder = tmp_path_factory.mktemp("brugerflade")
    root = DataRoot(folder / "data", Path(shutil.copytree(RULES, folder / "regler")))
    shutil.copytree(EXAMPLE / "data" / "raw", root.path / "raw")
    root.run(next(iter(example.said)))
    for navn, rolle in ((ANNA, users.DRIFT), (BO, users.LAESER)):
        users.add(root.path, navn, rolle, PASSWORD)
    with serving(root.environment, folder / "brugerflade.log") as address:
        yield Served(root, address, folder / "brugerflade.log")


@contextlib.contextmanager
def serving(environment: dict[str, str], log: Path, *more: str) -> Iterator[str]:
    """`refusion ui` with an environment, until the end of the block: its address."""
    port = free_port()
    with log.open("w") as told:
        server = subprocess.Popen(  # noqa: S603  our own command
            [str(Path(sys.executable).with_name("refusion")), "ui", "--port", str(port), *more],
            env=environment,
            stdout=told,
            stderr=told,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + START_SECONDS
        while not answers(address):
            assert server.poll() is None, f"the user interface ended at once; see {log}"
            assert time.monotonic() < end, f"the user interface never answered; see {log}"
            time.sleep(0.5)
        yield address
    finally:
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    """Stop a server and what it has started: its own group of processes."""
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def _browser(served: Served) -> Iterator[Operator]:
    """One browser for the journeys of a module; Dagster in this process wants no other event loop beside its own."""
    with operator(served.address, ANNA, PASSWORD) as made:
        yield made


@pytest.fixture
def clicks(_browser: Operator, served: Served, request: pytest.FixtureRequest) -> Operator:
    """The operator of a journey; if it fails, a picture of the page is left beside the server's log."""
    request.node.stash[SHOWN] = (_browser, served.log.parent)
    return _browser


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """The report of a journey; a failed one leaves a picture of the page, and says where."""
    report = yield
    if report.failed and (left := item.stash.get(SHOWN, None)):
        shown, folder = left
        path = folder / f"{item.name}.png"
        with contextlib.suppress(Exception):  # the browser may be what failed
            shown.page.screenshot(path=path)
        report.sections.append(("The page and the server's log", f"{path}\n{folder}/brugerflade.log"))
    return report
