"""The program loaded once: each line of input is a command, which a child carries out with a fault planned for it.

Loading takes six seconds. The process itself starts no thread, so that a child is born whole.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory

from refusion_assets import cli, look_up, sending  # noqa: F401  loaded for the children
from refusion_assets.assets.opfoelgning import asset  # noqa: F401  the same
from refusion_assets.levering import shipping  # noqa: F401  the same
from refusion_assets.report import write  # noqa: F401  the same
from refusion_assets.runs import month  # noqa: F401  the same
from refusion_assets.store import events

NOT_ENDED = 70


def _read_migrations_once(home: Path) -> None:
    """Each opening of Dagster's memory would read 150 scripts of migrations anew."""
    read, known = ScriptDirectory.from_config, {}

    def once(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        return known[place] if place in known else known.setdefault(place, read(config))

    ScriptDirectory.from_config = once
    with events.instance(home) as opened:
        opened.get_runs_count()
        opened.all_instigator_state()


def child(library: Any, environment: dict[str, str], arguments: list[str], fault: list[Any], said: str) -> None:
    """Carry out a command with a fault; the process ends with it."""
    os.setsid()
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{said}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.clear()
    os.environ.update(environment)
    part, kinds, at, how, error = fault
    listing = os.open(f"{said}/kald", os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if how == 0 else -1
    root = environment["REFUSION_DATA"]
    library.trial_arm(root.encode(), part.encode(), kinds.encode(), at, how, error, listing)
    sys.argv = ["refusion", *arguments]
    code: Any = NOT_ENDED
    try:
        cli.run()
        code = 0
    except SystemExit as stopped:
        code = stopped.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        Path(said, "naaet").write_text("1" if library.trial_reached() else "", encoding="utf-8")
        os._exit(code if isinstance(code, int) else 1)


def ended(born: int, seconds: int) -> tuple[int, int]:
    """The signal and the exit code that a child ends with; one that takes too long is aborted."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(born, os.WNOHANG)
        if done:
            return (os.WTERMSIG(status), 0) if os.WIFSIGNALED(status) else (0, os.WEXITSTATUS(status))
        if time.monotonic() > end:
            os.kill(born, signal.SIGABRT)
            end += seconds
        time.sleep(0.02)


def main(named: str, home: str, seconds: str) -> None:
    """Carry out the commands of the input; a line of output tells how each ended."""
    library = ctypes.CDLL(named)
    library.trial_arm.argtypes = [*[ctypes.c_char_p] * 3, ctypes.c_long, *[ctypes.c_int] * 3]
    _read_migrations_once(Path(home))
    for line in sys.stdin:
        asked = json.loads(line)
        born = os.fork()
        if not born:
            child(library, *asked)
        print(json.dumps(ended(born, int(seconds))), flush=True)  # noqa: T201  the answer to the trial


if __name__ == "__main__":
    main(*sys.argv[1:])
