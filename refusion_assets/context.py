"""Understands where a run works: the data root, the rules folder, and the warehouse between them."""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from pathlib import Path

from refusion_assets.domain.rules import Rulebook
from refusion_assets.rulebook import load
from refusion_assets.warehouse import Warehouse

REPOSITORY = Path(__file__).resolve().parent.parent
SECONDS_BETWEEN_LINES = 3.0


def patient(say: Callable[[str], None]) -> Callable[[str], None]:
    """Says a line of progress if it is some seconds since the last one."""
    last = time.monotonic()

    def now_and_then(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            say(f"  {line}")

    return now_and_then


@cache
def program() -> str:
    """The sha256 of the program that runs, over all its files."""
    folder = Path(__file__).resolve().parent
    every = sorted(path for path in folder.rglob("*") if path.suffix in {".py", ".sql"})
    return hashlib.sha256(b"".join(path.read_bytes() for path in every)).hexdigest()


@dataclass(frozen=True)
class Place:
    """A data root and the rules that hold there; `tell` is where long work says how far it is, besides the log.

    `kept`: the rules are those of an earlier run, which stand as they were.
    """

    root: Path
    rules_folder: Path
    tell: Callable[[str], None] | None = field(default=None, compare=False, repr=False)
    kept: bool = False

    @classmethod
    def from_environment(cls) -> "Place":
        """The place named by REFUSION_DATA and REFUSION_REGLER; `data/` and `rules/` of the repository else."""
        root = Path(os.environ.get("REFUSION_DATA") or REPOSITORY / "data")
        rules = Path(os.environ.get("REFUSION_REGLER") or REPOSITORY / "rules")
        return cls(root.resolve(), rules.resolve())

    @cached_property
    def rules(self) -> Rulebook:
        """The rules, read and proved once."""
        return load(self.rules_folder, kept=True) if self.kept else load(self.rules_folder, date.today())  # noqa: DTZ011

    def telling(self, log: Callable[[str], None]) -> Callable[[str], None]:
        """What long work calls with a line of progress: the log, and whoever else listens."""

        def say(line: str) -> None:
            log(line)
            if self.tell:
                self.tell(line)

        return say

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse of the data root."""
        return Warehouse(self.root)

    @property
    def raw(self) -> Path:
        """Where deliveries lie."""
        return self.root / "raw"

    @property
    def outgoing(self) -> Path:
        """Where the municipalities' files are put."""
        return self.root / "udgaaende"

    @property
    def withdrawn(self) -> Path:
        """Where the outgoing files of the month that is run again lie until its new ones are shown."""
        return self.warehouse.path.parent / "tilbagetrukket"
