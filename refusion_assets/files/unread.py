"""Unread: the files under raw/ that no run reads, and the mask of a number in a name that may be a person's."""

import os
import re
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

from refusion_assets.domain.rules.entries import Kilde, Rulebook
from refusion_assets.domain.wording import HIDDEN
from refusion_assets.files.delivered import MANIFEST, month_named, register_name, report_name

REGISTERS = ("bopael", "fleksgrundlag")
# Ten or twelve digits with no digit beside them. A CPR number begins with day and month, a file's number does not.
PERSON = re.compile(r"(?<!\d)(\d\d)(\d\d)(?:\d\d){1,2}[-_. ]?\d{4}(?!\d)")
Fits = Callable[[str], bool]


def unread(raw: Path, rules: Rulebook) -> list[str]:
    """The files under raw/ that no run of any month reads: paths from the data root, sorted.

    Lists a folder only if it is empty and no source's. Masks a number that may be a CPR number.
    Source: input.md sections 1 and 4 (FIL-007).
    """
    kilder = {kilde.id: kilde for kilde in rules.kilder}
    found: list[Path] = []
    for source in _entries(raw):
        if not source.is_dir() or not (source.name in kilder or source.name in REGISTERS):
            found += _all_within(source)
            continue
        for folder in _entries(source):
            month = month_named(folder.name)
            if month is None or not folder.is_dir():
                found += _all_within(folder)
            else:
                found += _unread_of(folder, partial(_fits, kilder.get(source.name), source.name, month))
    return sorted({_shown(path, raw) for path in found})


def _fits(kilde: Kilde | None, art: str, month: date, name: str) -> bool:
    """True if a run reads a file of this name from the month folder of a source or register."""
    return report_name(name, kilde, month) is not None if kilde else name == register_name(art, month)


def _unread_of(folder: Path, fits: Fits) -> list[Path]:
    """The unread entries of a source's month folder; the folder itself if it is empty."""
    entries = _entries(folder)
    files = {path.name.rpartition(".")[0] for path in entries if fits(path.name) and path.is_file()}
    odd = [
        path
        for path in entries
        if not path.is_file()
        or not (fits(path.name) or (path.name.endswith(MANIFEST) and path.name.removesuffix(MANIFEST) in files))
    ]
    return [within for path in odd for within in _all_within(path)] if entries else [folder]


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder by name; none without the folder."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _all_within(path: Path) -> list[Path]:
    """Every file and empty folder at or below a path; does not follow links or enter closed folders."""
    found, waiting = [], [path]
    while waiting:
        here = waiting.pop()
        try:
            inside = [] if here.is_symlink() or not here.is_dir() else [Path(entry.path) for entry in os.scandir(here)]
        except OSError:
            inside = []
        waiting += inside
        if not inside:
            found.append(here)
    return found


def _shown(path: Path, raw: Path) -> str:
    """A path from the data root for people: one line, possible CPR numbers masked."""
    text = str(path.relative_to(raw.parent)) + ("/" if path.is_dir() and not path.is_symlink() else "")
    legible = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return without_persons(legible)


def without_persons(text: str) -> str:
    """A text on one line, with possible CPR numbers masked."""
    return PERSON.sub(_hidden, "".join(letter if letter.isprintable() else "?" for letter in text))


def _hidden(found: re.Match[str]) -> str:
    """Ten digits, masked if they begin with a day (or a day + 60) and a month."""
    day, month = int(found[1]), int(found[2])
    return HIDDEN if 1 <= (day - 60 if day > 60 else day) <= 31 and 1 <= month <= 12 else found[0]
