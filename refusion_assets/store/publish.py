"""Publish: the copy of the warehouse that analysts read while a run writes."""

import fcntl
import os
import shutil
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from refusion_assets.store.session import Locked, Warehouse

HEADERS = 3 * 4096
"""Bytes before the first block of a DuckDB file: one main header and two database headers, 4096 bytes each."""

LOCK = "udgivelse.laas"
MAGIC = b"DUCK"
CHECKSUM = 8
PIECE = 4 * 2**20
READERS, BLOCKS_ASKED = 16, 256
BLOCK_SIZE_AT = 8 + 4 * 8
"""Where a database header says its block size: after its checksum, iteration, two block numbers and block count."""


def publish(warehouse: Warehouse) -> Path:
    """The published copy, made anew from the live file; readers keep the copy they have open."""
    with _alone(warehouse):
        warehouse.checkpoint()
        copy_changed(warehouse.path, warehouse.published)
    return warehouse.published


def publish_if_idle(warehouse: Warehouse) -> bool:
    """True if the published copy was made anew; not while a run has the live file open, which will do it itself.

    For those outside the queue of runs: nobody can write the live file while it is copied.
    """
    try:
        with _alone(warehouse):
            warehouse.checkpoint(patience=1.0)
            with warehouse.watching():
                copy_changed(warehouse.path, warehouse.published)
    except Locked:
        return False
    return True


@contextmanager
def _alone(warehouse: Warehouse) -> Iterator[None]:
    """Within the block, nobody else makes the copy of the data root."""
    with (warehouse.path.parent / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def copy_changed(live: Path, published: Path) -> None:
    """Put a file with the bytes of the live one in its place by rename, so that readers keep the file they have open.

    The program writes only the differing blocks, into the previous copy, which nobody opens. So the cost follows the
    change and not the country. It takes a third file; a file with a reader is left alone.
    """
    published.parent.mkdir(parents=True, exist_ok=True)
    spare, fresh = published.with_suffix(".forrige"), published.with_suffix(".ny")
    # A file by this name was being written when the process ended, so nothing in it can be trusted.
    fresh.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        os.rename(spare, fresh)
    if not (fresh.exists() and _made_like(fresh, live)):
        fresh.unlink(missing_ok=True)
        shutil.copyfile(live, fresh)
    # On a disk without hard links the whole file is copied every time.
    with suppress(OSError):
        os.link(published, spare)
    # A log was copied by hand with its file; DuckDB must not read it into another.
    published.with_name(f"{published.name}.wal").unlink(missing_ok=True)
    os.replace(fresh, published)


def _made_like(old: Path, live: Path) -> bool:
    """True if an old copy took the bytes of the live file; not if a reader has it open."""
    with live.open("rb") as source, old.open("r+b") as target:
        if _in_use(target):
            return False
        block = _block_size(source)
        if not block or block != _block_size(target):
            return False
        size = os.fstat(source.fileno()).st_size
        _write(source, target, 0, HEADERS)
        for first, after in _differing(source, target, block, size):
            _write(source, target, first, after)
        target.truncate(size)
        return True


def _in_use(file: BinaryIO) -> bool:
    """True if a reader's DuckDB holds a lock on the file; otherwise this function takes the lock.

    The lock belongs to an open file, not to a process, so it meets a reader in this process too.
    """
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except OSError:
        return True
    return False


def _block_size(file: BinaryIO) -> int:
    """The bytes of a block, as both headers of a DuckDB file say; 0 if it is none, or they differ."""
    head = os.pread(file.fileno(), HEADERS, 0)
    said = {struct.unpack_from("<Q", head, start + BLOCK_SIZE_AT)[0] for start in (4096, 8192)} - {0}
    return said.pop() if head[8:12] == MAGIC and len(head) == HEADERS and len(said) == 1 else 0


def _differing(source: BinaryIO, target: BinaryIO, block: int, size: int) -> Iterator[tuple[int, int]]:
    """The runs of differing bytes, first and after the last: blocks that begin with different checksums."""

    def changed(starts: range) -> list[bool]:
        said = ([os.pread(file.fileno(), CHECKSUM, start) for start in starts] for file in (source, target))
        return [ours != theirs for ours, theirs in zip(*said, strict=True)]

    starts = range(HEADERS, size, block)
    # Each read is a few bytes, far from the last, so many threads wait for the disk at a time.
    with ThreadPoolExecutor(READERS) as readers:
        answers = readers.map(changed, (starts[i : i + BLOCKS_ASKED] for i in range(0, len(starts), BLOCKS_ASKED)))
        differs = [answer for some in answers for answer in some]
    for other, run in groupby(zip(starts, differs, strict=True), key=itemgetter(1)):
        if other:
            first, *rest = (start for start, _ in run)
            yield first, min((rest or [first])[-1] + block, size)


def _write(source: BinaryIO, target: BinaryIO, first: int, after: int) -> None:
    """Copy some bytes of one file to the same place in another."""
    for at in range(first, after, PIECE):
        os.pwrite(target.fileno(), os.pread(source.fileno(), min(PIECE, after - at), at), at)
