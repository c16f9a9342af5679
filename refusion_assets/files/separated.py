"""Separated: reads a file in the CSV form of the contract as columns of text, or says why it is not in that form."""

import csv
import hashlib
import io
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import polars as pl

LONGEST = 100_000
UNEVEN = "en linje har et forkert antal kolonner"
RETURNS = "teksten har et vognretur-tegn (CR) uden for anførselstegn, og en linje ender med LF alene"
OPEN = "et anførselstegn bliver aldrig lukket"
MISPLACED = "en værdi går videre efter sit anførselstegn"
TOO_LONG = f"en værdi er længere end {LONGEST} tegn"
BLOCK_BYTES = 64 * 2**20
ROWS_PER_PART = 50_000
NO_MARKS = bytes(sorted({*range(256)} - {*b";\n"}))


class Unreadable(Exception):
    """A file that is not in its form; the text says why, in words for the sender."""


@dataclass(frozen=True)
class Looked:
    """A file looked through once: its hash, why it is not in its form (or None), and its lines, not yet read.

    `parts`: the lines as text, some at a time, with their number in the file (`linje`). Unreadable on a fault that
    is first seen there.
    """

    sha256: str
    fault: str | None
    parts: Iterator[pl.DataFrame]


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """A file of bytes; OSError if it is anything but a file, as reading a pipe without a writer would never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "det er ikke en fil")
    with path.open("rb") as file:
        yield file


def _blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file: its first line, and then whole lines, so many at a time that memory is bounded."""
    with opened(path) as file:
        yield file.readline()
        while block := file.read(BLOCK_BYTES):
            yield block + file.readline()


def look_through(path: Path, header: str) -> Looked:
    """A file in the CSV form with this header (line 1), read once for its hash and its form.

    Source: input.md sections 1 and 2 (FIL-002).
    """
    sha256, quoted, fault = _looked_through(path, header)
    return Looked(sha256, fault, _numbered(path, header.split(";"), quoted=quoted))


def _looked_through(path: Path, header: str) -> tuple[str, bool, str | None]:
    """The sha256 of a file, whether it has quotes, and why it is not the agreed CSV, or None."""
    sha256, quoted, text = hashlib.sha256(), False, True
    known, even, returns = True, True, False
    for number, block in enumerate(_blocks(path)):
        sha256.update(block)
        quoted = quoted or b'"' in block
        text = text and _is_text(block)
        known = known and (number > 0 or block.removesuffix(b"\n") == header.encode())
        returns = returns or b"\r" in block
        even = even and (quoted or _all_lines_have(block, header.count(";")))
    if not text:
        fault = "teksten er ikke UTF-8"
    elif not known:
        fault = "overskriften er ikke den aftalte"
    elif quoted:
        return sha256.hexdigest(), quoted, _wrong_in_rows(path, header.count(";"))
    elif returns:
        fault = RETURNS
    elif not even:
        fault = UNEVEN
    else:
        return sha256.hexdigest(), quoted, None
    return sha256.hexdigest(), quoted, fault


def _is_text(block: bytes) -> bool:
    """True if the bytes are UTF-8."""
    try:
        return block.isascii() or bool(block.decode("utf-8"))
    except UnicodeDecodeError:
        return False


def _all_lines_have(block: bytes, width: int) -> bool:
    """True if every line has so many separators; for blocks without quotes."""
    marks = (block if block.endswith(b"\n") else block + b"\n").translate(None, delete=NO_MARKS)
    line = b";" * width + b"\n"
    return marks == line * (len(marks) // len(line))


def _rows(path: Path) -> Iterator[list[str]]:
    """The rows of a file with quotes; a separator or the end of a line within quotes is text.

    csv.Error where a quote never ends, a value goes on after its quote, or a line is ended by a carriage return.
    """
    last = ""

    def remembered(lines: Iterable[str]) -> Iterator[str]:
        nonlocal last
        for line in lines:
            last = line
            yield line

    with path.open(encoding="utf-8", newline="\n") as file:
        for row in csv.reader(remembered(file), delimiter=";", strict=True):
            if last.endswith(("\r\n", "\r")):
                raise csv.Error(RETURNS)
            yield row


def _wrong_in_rows(path: Path, width: int) -> str | None:
    """Why the rows of a file with quotes are not those agreed, or None."""
    try:
        return None if all(len(row) == width + 1 for row in _rows(path)) else UNEVEN
    except csv.Error as error:
        said = str(error)
        known = {"unexpected end of data": OPEN, "field larger": TOO_LONG, "new-line": RETURNS, RETURNS: RETURNS}
        return next((why for sign, why in known.items() if said.startswith(sign)), MISPLACED)


def _lines(path: Path) -> Iterator[pl.DataFrame]:
    """The lines of a file without quotes as text, some at a time."""
    blocks = _blocks(path)
    header = next(blocks).removesuffix(b"\n") + b"\n"
    for block in blocks:
        yield pl.read_csv(header + block, separator=";", infer_schema=False, quote_char=None)


def _quoted_lines(path: Path, names: list[str]) -> Iterator[pl.DataFrame]:
    """The lines of a file with quotes as text, some at a time; a line may span lines."""
    rows = _rows(path)
    next(rows)
    while some := list(islice(rows, ROWS_PER_PART)):
        part = pl.DataFrame(some, schema=dict.fromkeys(names, pl.String), orient="row")
        yield part.with_columns(pl.all().replace("", None))


def _numbered(path: Path, names: list[str], *, quoted: bool) -> Iterator[pl.DataFrame]:
    """The parts of a file, at least one, with the number in the file (`linje`) of each line.

    Unreadable if a value is too long for a reader of CSV.
    """
    first, short = 2, path.stat().st_size <= LONGEST
    parts = _quoted_lines(path, names) if quoted else _lines(path)
    for part in chain(parts, [pl.DataFrame(schema=dict.fromkeys(names, pl.String))]):
        longest = None if short else part.select(pl.max_horizontal(pl.all().str.len_bytes().max())).item()
        if (longest or 0) > LONGEST:
            raise Unreadable(TOO_LONG)
        if part.height or first == 2:
            yield part.insert_column(0, pl.int_range(first, first + part.height, eager=True).alias("linje"))
        first += part.height
