"""Understands how an operator sees how far long work is: lines, or on a terminal a bar with the time left."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Say = Callable[[str], None]
SECONDS_BETWEEN_LINES = 3.0
SECONDS_OF_SPEED = 600.0
# The form of progress in a line, and of a bar drawn in a line of text.
PART = re.compile(r"(\d+) af (\d+)")
DRAWN = re.compile(r"\[[# ]*\] ")


CANNOT = {"dumb", "unknown"}
COLOURS = {"rigtig": "green", "stoppet": "red", "bemærk": "yellow"}


def tinted(line: str, tone: str) -> str:
    """A line in the colour of its tone, if it has one, the terminal can, and nobody wants none (NO_COLOR).

    `click.echo` takes the colour away where the line goes to no terminal.
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") in CANNOT or tone not in COLOURS
    return line if plain else click.style(line, fg=COLOURS[tone])


class Bar:
    """Says lines on a terminal, and below them one bar for the months of a command and one for the work in hand."""

    def __init__(self, terminal: TextIO) -> None:
        """Shown on this file, once there is progress to show."""
        self._terminal = terminal
        self._work: TaskID | None = None

    def __call__(self, line: str) -> None:
        """A line said above the bars; that of the work in hand goes, and comes back with the next line of progress."""
        if "_bars" not in self.__dict__:
            click.echo(line)
            return
        if self._work is not None:
            self._bars.remove_task(self._work)
            self._work = None
        from rich.text import Text  # noqa: PLC0415  only a terminal needs it

        self._bars.console.print(Text.from_ansi(line), soft_wrap=True)

    @cached_property
    def _bars(self) -> "Progress":
        """The bars, drawn by rich four times a second while they are shown."""
        from rich.console import Console  # noqa: PLC0415  only a terminal needs it
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415  the same

        columns = (TextColumn("  {task.description}", markup=False), BarColumn(20), TimeRemainingColumn())
        return Progress(
            *(*columns, TextColumn("tilbage")),
            console=Console(file=self._terminal),
            refresh_per_second=4,
            speed_estimate_period=SECONDS_OF_SPEED,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def tell(self, line: str) -> None:
        """The bar of the work in hand moved to where a line of progress (`3 af 7 ...`) says; anew for new work."""
        text, found = DRAWN.sub("", line), PART.search(line)
        if not found:
            return
        done, of_all = map(int, found.groups())
        if self._work is None:
            self._work = self._bars.add_task(text, total=of_all)
        task = next(task for task in self._bars.tasks if task.id == self._work)
        if of_all != task.total or done < task.completed:
            self._bars.reset(self._work, total=of_all)
        self._bars.update(self._work, completed=done, description=text)
        self._bars.start()

    def each(self, months: Sequence[date]) -> Iterator[date]:
        """The months one after another, with a bar that says how many are done."""
        bar = self._bars.add_task("", total=len(months))
        for done, month in enumerate(months):
            self._bars.update(bar, completed=done, description=f"{done} af {len(months)} måneder")
            yield month

    def close(self) -> None:
        """Remove the bars, if they were shown; printed lines stay."""
        if "_bars" in self.__dict__:
            self._bars.stop()


@contextmanager
def saying() -> Iterator[Say]:
    """What a command says its lines with: a Bar where standard output is a terminal that can, else `click.echo`."""
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") in CANNOT:
        yield click.echo
        return
    bar = Bar(sys.stdout)
    try:
        yield bar
    finally:
        bar.close()


def patient(say: Say) -> Say:
    """What moves the bar of a terminal by a line of progress; else says one if it is some seconds since the last."""
    if isinstance(say, Bar):
        return say.tell
    last = time.monotonic()

    def now_and_then(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            say(f"  {line}")

    return now_and_then


def each(say: Say, months: Sequence[date]) -> Iterator[date]:
    """The months one after another; a terminal shows how many of several are done."""
    return say.each(months) if isinstance(say, Bar) and len(months) > 1 else iter(months)
