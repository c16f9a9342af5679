"""Makes files durable: what was written is on the disk before anything says so."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WRITERS = 8


def flush(path: Path) -> None:
    """A file, or the names in a folder, on the disk when this returns."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def flush_all(files: Iterable[Path]) -> None:
    """Files, and then the names in their folders, on the disk when this returns."""
    paths = list(files)
    # The disk writes what several threads ask for in one go.
    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(flush, paths))
        list(writers.map(flush, {path.parent for path in paths}))


def write(path: Path, text: str) -> None:
    """A file with a text in the place of the one before in one step, on the disk when this returns."""
    fresh = path.with_name(f"{path.name}.ny")
    fresh.write_text(text, encoding="utf-8")
    put(fresh, path)


def put(fresh: Path, path: Path) -> None:
    """A file moved in the place of another in one step, on the disk when this returns."""
    flush(fresh)
    os.replace(fresh, path)
    flush(path.parent)
