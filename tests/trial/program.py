"""Understands the program as a trial runs it: loaded once, each command in a child that a fault is planned for."""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from refusion_assets.place import PACKAGE
from tests.kit.data_root import REPO

SOURCE = Path(__file__).with_name("fault.c")
COUNT, BEFORE, AFTER, HALF, ONCE, FROM_NOW_ON = range(6)
KILLS = {BEFORE: "før", AFTER: "efter", HALF: "midt i"}
ERRORS = {"fuld": errno.ENOSPC, "kvote": errno.EDQUOT, "kun læsning": errno.EROFS, "ingen adgang": errno.EACCES}
MOST_SECONDS = 180


@dataclass(frozen=True)
class Fault:
    """What happens at the `at`-th call of some kinds below a part of the root; with an error, its number."""

    part: str = ""
    kinds: str = ""
    at: int = 0
    how: int = COUNT
    error: int = 0


NONE = Fault()


@dataclass(frozen=True)
class Ended:
    """How a command ended: by which signal, its exit code, and what it said."""

    signal: int
    code: int
    out: str
    err: str

    @property
    def killed(self) -> bool:
        """True if the planned kill happened."""
        return self.signal == signal.SIGKILL


def lacking() -> str:
    """Why no trial can be made here; empty if it can."""
    return "" if shutil.which("cc") else "prøven bygger et bibliotek og mangler cc: apt-get install gcc libc6-dev"


class Program:
    """The loaded program."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        """A process that has loaded the program, and a folder for what its children say."""
        self._process, self._folder = process, folder

    def run(self, environment: Mapping[str, str], arguments: Sequence[str], fault: Fault = NONE) -> Ended:
        """A command carried out in a child, with a fault."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = [dict(environment), list(arguments), list(astuple(fault)), str(self._folder)]
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        ended, code = json.loads(self._process.stdout.readline())
        out, err = ((self._folder / name).read_text("utf-8", errors="replace") for name in ("out", "err"))
        return Ended(int(ended), code, out, err)

    def reached(self) -> bool:
        """True if the last command came to its fault."""
        return bool((self._folder / "naaet").read_text("utf-8"))

    def calls(self) -> list[tuple[str, str]]:
        """The kind and path of each call that changed the root in the last command without a fault."""
        lines = (self._folder / "kald").read_text("utf-8", errors="replace").splitlines()
        return [(kind, path) for kind, _, path in (line.partition(" ") for line in lines)]


@contextmanager
def loaded(folder: Path) -> Iterator[Program]:
    """The program loaded with the library of faults, which is built in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "fault.so"
    home = folder / "hjem"
    home.mkdir(exist_ok=True)
    shutil.copyfile(PACKAGE / "dagster.yaml", home / "dagster.yaml")
    build = ["cc", "-shared", "-fPIC", "-O1", "-w", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
    subprocess.run(build, check=True)  # noqa: S603  fixed arguments
    environment = os.environ | {"LD_PRELOAD": str(library), "POLARS_MAX_THREADS": "1"}
    with (
        (folder / "program").open("w") as told,
        subprocess.Popen(  # noqa: S603  a fixed program
            [sys.executable, "-m", "tests.trial.server", str(library), str(home), str(MOST_SECONDS)],
            env=environment,
            cwd=REPO,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
        ) as process,
    ):
        try:
            yield Program(process, folder)
        finally:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
