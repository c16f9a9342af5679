"""Understands `refusion ui` as a process: its port, whether it answers, and its end."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kit.sftp import free_port

START_SECONDS, STOP_SECONDS = 240, 60


def answers(address: str) -> bool:
    """True if a server answers at an address."""
    try:
        with urllib.request.urlopen(f"{address}/sundhed", timeout=5) as answer:  # noqa: S310  loopback only
            return bool(answer.status == 204)
    except OSError:
        return False


@contextmanager
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
