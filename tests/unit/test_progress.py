"""How far long work is: a bar on a terminal, and elsewhere the lines that a log can keep."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping

import pytest

from refusion_assets import progress
from tests.kit.data_root import REPO

COMMAND = """
import sys, time
from refusion_assets.progress import each, patient, saying, tinted
with saying() as say:
    for month in each(say, ["2024-01", "2024-02"]):
        say(f"{month}: regner [x] ...")
        tell = patient(say)
        for done in (1, 2, 4):
            tell(f"[##  ] {done} af 4 skiver")
            time.sleep(float(sys.argv[1]) * (done > 1))
        tell("ingen del")
    say(tinted("færdig", "rigtig"))"""
PLAIN = "2024-01: regner [x] ...\n2024-02: regner [x] ...\nfærdig\n"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
GREEN = "\x1b[32mfærdig"
COLOUR = re.compile(r"\x1b\[[0-9;]+m")


def on_terminal(pause: float = 0.3, **environment: str) -> str:
    """What the command says to a terminal, control codes and all; a bar is drawn anew four times a second."""
    ours, its = pty.openpty()
    python = [sys.executable, "-c", COMMAND, str(pause)]
    with os.fdopen(ours, "rb", buffering=0) as screen:
        with subprocess.Popen(python, cwd=REPO, env=_with(environment), stdout=its) as command:  # noqa: S603
            os.close(its)
            said = b""
            try:
                while part := screen.read(4096):
                    said += part
            except OSError:  # the other end of a terminal has closed
                pass
        assert command.returncode == 0
    return said.decode("utf-8").replace("\r\n", "\n")


def _with(own: Mapping[str, str]) -> dict[str, str]:
    """The environment of a terminal, without what a user may have set for it."""
    left_out = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    return (
        {k: v for k, v in os.environ.items() if k not in left_out} | {"TERM": "xterm-256color", "COLUMNS": "100"} | own
    )


def test_a_terminal_shows_a_bar_for_the_work_and_one_for_the_months_and_at_the_end_only_the_lines() -> None:
    said = on_terminal()
    shown = CONTROL.sub("", said)
    assert "4 af 4 skiver" in shown
    assert "1 af 2 måneder" in shown
    assert re.search(r"━+ \S+ tilbage", shown)
    assert "##" not in shown
    lines = [line.rpartition("\r")[2] for line in shown.split("\n")]
    assert [line for line in lines if "regner" in line or "færdig" in line] == PLAIN.splitlines()
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h") == 1  # the cursor is hidden, and given back
    assert GREEN in said


def test_a_terminal_without_colours_shows_the_bar_without_them() -> None:
    said = on_terminal(NO_COLOR="1")
    assert "2 af 4 skiver" in said
    assert {found for found in COLOUR.findall(said) if re.search(r"\b[349][0-7]\b|38;", found)} == set()


def test_a_dumb_terminal_gets_the_plain_lines() -> None:
    assert on_terminal(0, TERM="dumb") == PLAIN


def test_what_is_no_terminal_gets_the_plain_lines_byte_for_byte() -> None:
    command = [sys.executable, "-c", COMMAND, "0"]
    done = subprocess.run(command, cwd=REPO, env=_with({"FORCE_COLOR": "1"}), capture_output=True, check=True)  # noqa: S603
    assert (done.stdout.decode("utf-8"), done.stderr) == (PLAIN, b"")


def test_without_a_terminal_a_line_of_progress_is_said_when_some_seconds_have_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    clock = iter([0, 1, 4, 4, 5])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    tell = progress.patient(said.append)
    for part in ("1 af 3", "2 af 3", "3 af 3"):
        tell(part)
    assert said == ["  2 af 3"]
