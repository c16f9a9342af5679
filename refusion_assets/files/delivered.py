"""Understands a delivery on disk: which files lie there, and whether each is what its manifest says."""

import csv
import hashlib
import io
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any

import polars as pl

from refusion_assets.domain.calendar import month_of, next_month
from refusion_assets.domain.raw import HEADER, oere
from refusion_assets.domain.rules.entries import Kilde, Rulebook
from refusion_assets.domain.stop import Fault
from refusion_assets.domain.wording import kroner_text

REPORT_NAME = re.compile(
    r"eindkomst-yr-(?P<kilde>[a-z0-9]+)-(?P<enhed>[0-9]+)-(?P<maaned>[0-9]{6})-(?P<nr>[0-9]{4})\.(?P<form>csv|txt)"
)
UNIT_DIGITS = {"kommunal": 3, "national": 8}
MONTH_NAME = re.compile(r"[0-9]{4}-[0-9]{2}")
MONEY = ("sum_felt0014", "sum_felt0037")
# The keys of a manifest; the first ones are compared with the file's folder and name. The running number and the
# version of the form are not compared: the name and the header give them.
REPORT_KEYS = ("filnavn", "kilde", "enhed", "modtaget_maaned", "loebenr", "oprettet", "antal_raekker", *MONEY,
               "antal_T", "sha256", "skemaversion")  # fmt: skip
REGISTER_KEYS = ("filnavn", "modtaget_maaned", "oprettet", "antal_raekker", "sha256", "skemaversion")
COUNTS = ("antal_raekker", "antal_T")
MANIFEST_BYTES = 2**20
# Sixteen digits of kroner are more than a file can hold, and the øre of them still fit in 64 bits.
MONEY_FORM = re.compile(r"[+-]?[0-9]{1,16}(\.[0-9]{1,10})?")
COUNT_FORM = re.compile(r"-?[0-9]{1,12}")
# The values of a manifest that may be printed: names, words and codes that cannot be a person's number.
SHOWN = re.compile(r"(eindkomst-yr|bopael|fleksgrundlag)-[a-z0-9-]{1,60}\.(csv|txt)|[a-z]{1,20}|[0-9]{3}|[0-9]{8}|"
                   r"[0-9]{4}-[0-9]{2}")  # fmt: skip
LONGEST = 100_000
UNEVEN = "en linje har et forkert antal kolonner"
RETURNS = "teksten har et vognretur-tegn (CR) uden for anførselstegn, og en linje ender med LF alene"
OPEN = "et anførselstegn bliver aldrig lukket"
MISPLACED = "en værdi går videre efter sit anførselstegn"
TOO_LONG = f"en værdi er længere end {LONGEST} tegn"
MANIFEST = ".manifest.json"
SUMS = {
    "antal_raekker": pl.len(),
    "antal_T": (pl.col("Indberetningsart") == "T").sum(),
    "sum_felt0014": oere(pl.col("Felt0014")).sum(),
    "sum_felt0037": oere(pl.col("Felt0037")).sum(),
}
BLOCK_BYTES = 64 * 2**20
ROWS_PER_PART = 50_000
NO_MARKS = bytes(sorted({*range(256)} - {*b";\n"}))
REGISTER_HEADERS = {
    "bopael": "CPR;Kommunekode;Bopael_start;Bopael_slut",
    "fleksgrundlag": "CPR;Maaned;Beregningsgrundlag;Loen",
}


class FileRejected(Exception):
    """A file that cannot be taken in; carries its fault."""

    def __init__(self, fault: Fault) -> None:
        """Keep the fault for the caller."""
        super().__init__(str(fault))
        self.fault = fault


@dataclass(frozen=True)
class Delivery:
    """One file of reports as it lies on disk."""

    path: Path
    sti: str
    kilde: str
    enhed: str
    maaned: date
    loebenr: int


@dataclass(frozen=True)
class Content:
    """What is in a file: its hash and its lines as text, numbered as in the file (header = line 1), part by part."""

    sha256: str
    parts: Iterator[pl.DataFrame]


def month_named(name: str) -> date | None:
    """The month that a folder is named by (`YYYY-MM`); None if it is none, or the calendar ends with it."""
    try:
        return month_of(name) if MONTH_NAME.fullmatch(name) else None
    except ValueError:
        return None


def months_on_disk(raw: Path, kilde: str, through: date) -> Iterator[tuple[date, Path]]:
    """Each month folder of a source up to and including `through`, in order; other folders are no month."""
    for folder in sorted((raw / kilde).glob("????-??")):
        month = month_named(folder.name)
        if month and month <= through and folder.is_dir():
            yield month, folder


def report_files(raw: Path, through: date, rules: Rulebook) -> Iterator[tuple[Path, re.Match[str], date]]:
    """Every name of a file of reports received through a month, by path: where it lies, its parts, and the month.

    Files with other names are left unread (FIL-007).
    """
    for kilde in sorted(rules.kilder, key=lambda k: k.id):
        for month, folder in months_on_disk(raw, kilde.id, through):
            yield from _named_files(folder, kilde, month)


def files_of_month(raw: Path, month: date, rules: Rulebook) -> Iterator[tuple[Path, re.Match[str], date]]:
    """As `report_files`, for the folders of one month alone."""
    for kilde in sorted(rules.kilder, key=lambda k: k.id):
        folder = raw / kilde.id / f"{month:%Y-%m}"
        if folder.is_dir():
            yield from _named_files(folder, kilde, month)


def _named_files(folder: Path, kilde: Kilde, month: date) -> Iterator[tuple[Path, re.Match[str], date]]:
    for name in sorted(os.listdir(folder)):
        if parts := report_name(name, kilde, month):
            yield folder / name, parts, month


def find(raw: Path, through: date, rules: Rulebook) -> tuple[list[Delivery], list[Fault]]:
    """Every file of reports received through a month, by path; and those in the form that is not read yet.

    A non-file with the name of a file is rejected when read.
    """
    deliveries, faults = [], []
    for path, name, month in report_files(raw, through, rules):
        if name["form"] == "txt":
            faults.append(fixed_form(path))
        else:
            deliveries.append(delivery_of(raw, path, name, month))
    return deliveries, faults


def fixed_form(path: Path) -> Fault:
    """FIL-002 of a file in the fixed-width form."""
    text = "den faste form (.txt) kan ikke læses endnu; bed afsenderen om filen som CSV"
    return Fault("FIL-002", path.name, text)


def delivery_of(raw: Path, path: Path, name: re.Match[str], month: date) -> Delivery:
    """The file at a path, by the parts of its name and the month of its folder."""
    sti = str(path.relative_to(raw))
    return Delivery(path, sti, name["kilde"], name["enhed"], month, int(name["nr"]))


def senders(deliveries: Iterable[Delivery], month: date) -> Counter[tuple[str, str]]:
    """The senders (kilde, enhed) that have delivered for a month, each with its number of files."""
    return Counter((delivery.kilde, delivery.enhed) for delivery in deliveries if delivery.maaned == month)


def missing(deliveries: Sequence[Delivery], month: date, read: Iterable[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """The senders of the month before that have delivered nothing for a month, in order (FIL-006).

    `read`: those whose files of the month before were read, though they may lie there no more.
    """
    before = {*senders(deliveries, next_month(month, -1)), *read}
    return sorted(before - senders(deliveries, month).keys())


def report_name(name: str, kilde: Kilde, month: date) -> re.Match[str] | None:
    """The parts of the name of a file of reports; None if it is no name for a file of that source and month."""
    found = REPORT_NAME.fullmatch(name)
    fits = found and found["kilde"] == kilde.id and found["maaned"] == f"{month:%Y%m}"
    return found if fits and found and len(found["enhed"]) == UNIT_DIGITS[kilde.art] else None


def register_name(art: str, month: date) -> str:
    """The one name that the file of a supporting register has in the folder of a month."""
    return f"{art}-{month:%Y%m}.csv"


def registers(raw: Path, art: str, through: date) -> list[tuple[date, Path]]:
    """Each file of a supporting register received through a month, in order; a folder without one has none."""
    named = ((month, folder / register_name(art, month)) for month, folder in months_on_disk(raw, art, through))
    return [(month, path) for month, path in named if os.path.lexists(path)]


def manifest_of(path: Path) -> Path:
    """The path of the manifest of a file."""
    return path.with_name(path.name.rpartition(".")[0] + MANIFEST)


def fingerprint(path: Path) -> str:
    """The sha256 of a file."""
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_if_there(path: Path) -> str | None:
    """The sha256 of a file; None if it is not there or cannot be opened."""
    try:
        return fingerprint(path)
    except OSError:
        return None


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    """A file of bytes; OSError if it is anything but a file, as reading a pipe without a writer would never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "det er ikke en fil")
    with path.open("rb") as file:
        yield file


def read_reports(delivery: Delivery) -> Content:
    """The lines of a file of reports, proved against manifest and header; FileRejected else.

    The sums are complete with the last part: if the file is then rejected, the caller must drop the earlier parts.
    Source: input.md sections 1 and 4 (FIL-001, FIL-002).
    """
    path = delivery.path
    claimed = claims_of(path, REPORT_KEYS)
    lies = {"filnavn": path.name, "kilde": delivery.kilde, "enhed": delivery.enhed}
    content = _read(path, HEADER, claimed, lies | {"modtaget_maaned": f"{delivery.maaned:%Y-%m}"})
    return Content(content.sha256, _summed(path, claimed, content.parts))


def _summed(path: Path, claimed: dict[str, Any], parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The parts of a file of reports; FileRejected at the end if their sums are not those of the manifest."""
    found = dict.fromkeys(SUMS, 0)
    for part in parts:
        sums = part.lazy().select(**SUMS).collect().row(0, named=True)
        found = {key: found[key] + value for key, value in sums.items()}
        yield part
    _compare(path, claimed, found)


def read_register(path: Path, header: str) -> tuple[str, pl.DataFrame]:
    """The hash and the lines of a supporting register, once it is proved against its manifest; FileRejected else."""
    claimed = claims_of(path, REGISTER_KEYS)
    content = _read(path, header, claimed, {"filnavn": path.name, "modtaget_maaned": path.parent.name})
    lines = pl.concat(content.parts)
    _compare(path, claimed, {"antal_raekker": lines.height})
    return content.sha256, lines


def claims_of(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """The manifest beside a file, amounts in øre; FileRejected if it is missing, unreadable or without a key."""

    def rejected(why: str) -> FileRejected:
        return FileRejected(Fault("FIL-001", path.name, f"manifestet {why}; bed afsenderen om et nyt"))

    try:
        with _opened(manifest_of(path)) as file:
            said = file.read(MANIFEST_BYTES + 1)
        manifest = _parsed(said)
    except FileNotFoundError:
        raise FileRejected(Fault("FIL-001", path.name, "manifestet mangler; bed afsenderen om det")) from None
    except OSError as error:
        raise rejected(f"kan ikke åbnes ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise rejected("kan ikke læses") from None
    missing = [key for key in keys if key not in manifest]
    if missing:
        raise rejected(f"mangler {', '.join(missing)}")
    for key in (key for key in keys if key in MONEY):
        text = str(manifest[key])
        manifest[key] = Decimal(text) * 100 if MONEY_FORM.fullmatch(text) else text
    if isinstance(manifest["sha256"], str):
        manifest["sha256"] = manifest["sha256"].lower()
    return manifest


def _parsed(said: bytes) -> dict[str, Any]:
    """A manifest as written: numbers with a point as their text, no key twice, no infinite number; ValueError else."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    def short(text: str) -> int:
        if not COUNT_FORM.fullmatch(text):
            raise ValueError("a number is too long")
        return int(text)

    def no_number(text: str) -> None:
        raise ValueError(text)

    if len(said) > MANIFEST_BYTES:
        raise ValueError("too long")
    found = json.loads(
        said.decode("utf-8"), object_pairs_hook=once, parse_int=short, parse_float=str, parse_constant=no_number
    )
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004  every fault of a manifest is one kind of error
    return found


def _compare(path: Path, claimed: dict[str, Any], found: dict[str, Any]) -> None:
    """FileRejected if manifest and file differ; the text names the differing key, the fault the amount (øre)."""
    claims = {name: claimed.get(name) for name in found}
    # True is no number, nor is a number written as text.
    wrong = [name for name, value in found.items() if isinstance(claims[name], bool) or claims[name] != value]
    if not wrong:
        return
    said = [f"{name} er {_shown(name, found[name])}, manifestet siger {_shown(name, claims[name])}" for name in wrong]
    missing = sum(_whole(claimed.get(name)) - found[name] for name in MONEY if name in found)
    text = f"{'; '.join(said)}; bed afsenderen om at levere filen igen"
    raise FileRejected(Fault("FIL-001", path.name, text, missing))


def _whole(oere: object) -> int:
    """A sum of a manifest in whole øre; None if it has none."""
    return int(oere) if isinstance(oere, (int, Decimal)) else 0


def _shown(name: str, value: object) -> str:
    """A value of a manifest or a file for people: kroner, a count, a name, or the beginning of a hash."""
    if value is None:
        return "intet"
    if name in MONEY and isinstance(value, (int, Decimal)):
        return kroner_text(_whole(value))
    if name in COUNTS and isinstance(value, int):
        return str(value).lower() if isinstance(value, bool) or abs(value) < 10**9 else "et alt for stort tal"
    if name == "sha256" and isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return value[:12]
    return value if isinstance(value, str) and SHOWN.fullmatch(value) else "noget andet"


def _read(path: Path, header: str, claimed: dict[str, Any], place: dict[str, str]) -> Content:
    """The file as text columns, once its manifest fits (`place`: the place that the manifest names).

    FileRejected on another hash or place, another header, a line of another length, text that is not UTF-8, or
    any other fault in reading.
    """
    with _rejecting(path):
        sha256, quoted, fault = _looked_through(path, header)
        found = {**place, "sha256": sha256}
        if claimed["sha256"] != sha256:
            found |= _what_is_left(path, header)
    _compare(path, claimed, found)
    if fault:
        raise FileRejected(_unreadable(path, fault))
    names = header.split(";")
    return Content(sha256, _numbered(path, names, _quoted_lines(path, names) if quoted else _lines(path)))


def _unreadable(path: Path, why: str) -> Fault:
    """The fault of a file that is not the agreed CSV, with the reason."""
    return Fault("FIL-002", path.name, f"{why}; bed afsenderen om at levere filen igen")


@contextmanager
def _rejecting(path: Path) -> Iterator[None]:
    """Within the block, any error in reading a file is a fault of that file; the other files are still read."""
    try:
        yield
    except OSError as error:
        raise FileRejected(_unreadable(path, f"filen kan ikke åbnes ({error.strerror})")) from None
    except (csv.Error, pl.exceptions.PolarsError, UnicodeError):
        raise FileRejected(_unreadable(path, "filen kan ikke læses som CSV")) from None


def _what_is_left(path: Path, header: str) -> dict[str, Any]:
    """The totals of a file that does not fit its manifest, as far as they can be read."""
    if header != HEADER:
        return {}
    try:
        lines = pl.read_csv(path, separator=";", infer_schema=False, truncate_ragged_lines=True, encoding="utf8-lossy")
        return lines.select(**SUMS).row(0, named=True)
    except pl.exceptions.PolarsError:
        return {}


def _blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file: its first line, and then whole lines, so many at a time that memory is bounded."""
    with _opened(path) as file:
        yield file.readline()
        while block := file.read(BLOCK_BYTES):
            yield block + file.readline()


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


def _numbered(path: Path, names: list[str], parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The parts of a file, at least one, with the number in the file (`linje`) of each line.

    FileRejected if a value is too long for a reader of CSV, or if a reader fails on a part.
    """
    first = 2
    with _rejecting(path):
        for part in chain(parts, [pl.DataFrame(schema=dict.fromkeys(names, pl.String))]):
            longest = part.select(pl.max_horizontal(pl.all().str.len_bytes().max())).item()
            if (longest or 0) > LONGEST:
                raise FileRejected(_unreadable(path, TOO_LONG))
            if part.height or first == 2:
                yield part.with_row_index("linje", first).with_columns(pl.col("linje").cast(pl.Int64))
            first += part.height
