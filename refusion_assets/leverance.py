"""Understands a delivery on disk: which files lie there, and whether each is what its manifest says."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import polars as pl

from refusion_assets.domain.kontrol import kroner_text
from refusion_assets.domain.raw import HEADER, oere
from refusion_assets.domain.rules import Kilde, Rulebook
from refusion_assets.domain.stop import Fault

REPORT_NAME = re.compile(
    r"eindkomst-yr-(?P<kilde>[a-z0-9]+)-(?P<enhed>[0-9]+)-(?P<maaned>[0-9]{6})-(?P<nr>[0-9]{4})\.(?P<form>csv|txt)"
)
UNIT_DIGITS = {"kommunal": 3, "national": 8}
MONTH_NAME = re.compile(r"[0-9]{4}-[0-9]{2}")
MONEY = ("sum_felt0014", "sum_felt0037")
MANIFEST = ".manifest.json"
SUMS = {
    "antal_raekker": pl.len(),
    "antal_T": (pl.col("Indberetningsart") == "T").sum(),
    "sum_felt0014": oere(pl.col("Felt0014")).sum(),
    "sum_felt0037": oere(pl.col("Felt0037")).sum(),
}
BLOCK_BYTES = 64 * 2**20
NO_MARKS = bytes(sorted({*range(256)} - {*b";\n"}))
BOPAEL_HEADER = "CPR;Kommunekode;Bopael_start;Bopael_slut"
FLEKS_HEADER = "CPR;Maaned;Beregningsgrundlag;Loen"


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
    """The month that a folder is named by (`YYYY-MM`); None if it is none."""
    try:
        return date.fromisoformat(f"{name}-01") if MONTH_NAME.fullmatch(name) else None
    except ValueError:
        return None


def months_on_disk(raw: Path, kilde: str, through: date) -> Iterator[tuple[date, Path]]:
    """Each month folder of a source up to and including `through`, in order; other folders are no month."""
    for folder in sorted((raw / kilde).glob("????-??")):
        month = month_named(folder.name)
        if month and month <= through and folder.is_dir():
            yield month, folder


def find(raw: Path, through: date, rules: Rulebook) -> tuple[list[Delivery], list[Fault]]:
    """Every file of reports received through a month, by path; and those in the form that is not read yet.

    What has no such name is taken in nowhere (FIL-007), and so is what is no file.
    """
    deliveries, faults = [], []
    for kilde in sorted(rules.kilder, key=lambda k: k.id):
        for month, folder in months_on_disk(raw, kilde.id, through):
            for path in sorted(folder.iterdir()):
                name = report_name(path.name, kilde, month)
                if not name or not path.is_file():
                    continue
                if name["form"] == "txt":
                    text = "den faste form (.txt) kan ikke læses endnu; bed afsenderen om filen som CSV"
                    faults.append(Fault("FIL-002", path.name, text))
                    continue
                sti = str(path.relative_to(raw))
                deliveries.append(Delivery(path, sti, kilde.id, name["enhed"], month, int(name["nr"])))
    return deliveries, faults


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
    return [(month, path) for month, path in named if path.is_file()]


def manifest_of(path: Path) -> Path:
    """Where the manifest of a file lies."""
    return path.with_name(path.name.rpartition(".")[0] + MANIFEST)


def fingerprint(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_reports(delivery: Delivery) -> Content:
    """The lines of a file of reports, proved against manifest and header; FileRejected else.

    The sums are known with the last part: if it is then rejected, what was taken of it must be given up.
    Source: input.md sections 1 and 4 (FIL-001, FIL-002).
    """
    content = _read(delivery.path, HEADER)
    return Content(content.sha256, _summed(delivery.path, content.parts))


def _summed(path: Path, parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The parts of a file of reports; FileRejected at the end if their sums are not those of the manifest."""
    claimed = _manifest(path)
    found = dict.fromkeys(SUMS, 0)
    for part in parts:
        sums = part.lazy().select(**SUMS).collect().row(0, named=True)
        found = {key: found[key] + value for key, value in sums.items()}
        yield part
    _compare(path, claimed, found)


def read_register(path: Path, header: str) -> tuple[str, pl.DataFrame]:
    """The hash and the lines of a supporting register, once it is proved against its manifest; FileRejected else."""
    content = _read(path, header)
    lines = pl.concat(content.parts)
    _compare(path, _manifest(path), {"antal_raekker": lines.height})
    return content.sha256, lines


def _manifest(path: Path) -> dict[str, Any]:
    """The manifest beside a file, amounts in øre; FileRejected if it is missing or unreadable."""
    beside = manifest_of(path)
    try:
        manifest: dict[str, Any] = dict(json.loads(beside.read_text("utf-8")).items())
        for key in MONEY:
            if key in manifest:
                manifest[key] = Decimal(str(manifest[key])) * 100
    except FileNotFoundError:
        raise FileRejected(Fault("FIL-001", path.name, "manifestet mangler; bed afsenderen om det")) from None
    except (ValueError, InvalidOperation, AttributeError, TypeError):
        raise FileRejected(Fault("FIL-001", path.name, "manifestet kan ikke læses; bed afsenderen om et nyt")) from None
    return manifest


def _compare(path: Path, claimed: dict[str, Any], found: dict[str, Any]) -> None:
    """FileRejected if the manifest says something else than the file; the text says what, the fault how much (øre)."""
    wrong = [name for name, value in found.items() if claimed.get(name) != value]
    if not wrong:
        return
    said = [
        f"{name} er {_shown(name, found[name])}, manifestet siger {_shown(name, claimed.get(name))}" for name in wrong
    ]
    missing = sum(_whole(claimed.get(name)) - found[name] for name in MONEY if name in found)
    text = f"{'; '.join(said)}; bed afsenderen om at levere filen igen"
    raise FileRejected(Fault("FIL-001", path.name, text, missing))


def _whole(oere: object) -> int:
    """A sum that a manifest claims in whole øre, nothing if it claims none."""
    return int(oere) if isinstance(oere, Decimal) and oere.is_finite() else 0


def _shown(name: str, value: object) -> str:
    """A value of a manifest or a file for people: kroner, or the beginning of a hash."""
    if value is None:
        return "intet"
    if name in MONEY:
        return kroner_text(_whole(Decimal(str(value))))
    return str(value)[:12]


def _read(path: Path, header: str) -> Content:
    """The file as text columns; FileRejected on another header, a line of another length, or not UTF-8."""
    sha256, quoted, fault = _looked_through(path, header)
    if _manifest(path).get("sha256") != sha256:
        _compare(path, _manifest(path), {**_what_is_left(path, header), "sha256": sha256})
    if fault:
        raise FileRejected(Fault("FIL-002", path.name, fault))
    return Content(sha256, _lines(path, header.split(";"), quoted=quoted))


def _what_is_left(path: Path, header: str) -> dict[str, Any]:
    """The totals of a file that is not the one its manifest speaks of, as far as they can be read."""
    if header != HEADER:
        return {}
    try:
        lines = pl.read_csv(path, separator=";", infer_schema=False, truncate_ragged_lines=True, encoding="utf8-lossy")
        return lines.select(**SUMS).row(0, named=True)
    except pl.exceptions.PolarsError:
        return {}


def _blocks(path: Path, *, whole: bool = False) -> Iterator[bytes]:
    """The bytes of a file: its first line, and then whole lines, so many at a time that memory is bounded."""
    with path.open("rb") as file:
        yield file.readline()
        while block := file.read(-1 if whole else BLOCK_BYTES):
            yield block + file.readline()


def _looked_through(path: Path, header: str) -> tuple[str, bool, str | None]:
    """The sha256 of a file, whether it has quotes, and why it is not the CSV that was agreed, or None."""
    sha256, quoted, text = hashlib.sha256(), False, True
    known, even = True, True
    for number, block in enumerate(_blocks(path)):
        sha256.update(block)
        quoted = quoted or b'"' in block
        text = text and _is_text(block)
        known = known and (number > 0 or block.removesuffix(b"\n") == header.encode())
        even = even and (quoted or _all_lines_have(block, header.count(";")))
    if not text:
        fault = "teksten er ikke UTF-8"
    elif not known:
        fault = "overskriften er ikke den aftalte"
    elif not even or (quoted and not _all_rows_have(path, header.count(";"))):
        fault = "en linje har et forkert antal kolonner"
    else:
        return sha256.hexdigest(), quoted, None
    return sha256.hexdigest(), quoted, f"{fault}; bed afsenderen om at levere filen igen"


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


def _all_rows_have(path: Path, width: int) -> bool:
    """True if every row has so many separators; a separator or the end of a line within quotes is text."""
    with path.open(encoding="utf-8", newline="\n") as file:
        return all(len(row) == width + 1 for row in csv.reader(file, delimiter=";"))


def _lines(path: Path, names: list[str], *, quoted: bool) -> Iterator[pl.DataFrame]:
    """The lines of a file as text, some at a time and at least once; a line with quotes may span lines."""
    blocks = _blocks(path, whole=quoted)
    header = next(blocks)
    first = 2
    for block in blocks:
        try:
            part = pl.read_csv(header + block, separator=";", infer_schema=False)
        except pl.exceptions.PolarsError:
            part = _plainly(header + block, names)
        part = part.with_row_index("linje", first)
        first += part.height
        if quoted:
            part = part.with_columns(pl.col(names).replace("", None))
        yield part.with_columns(pl.col("linje").cast(pl.Int64))
    if first == 2:
        yield pl.DataFrame(schema={"linje": pl.Int64, **dict.fromkeys(names, pl.String)})


def _plainly(text: bytes, names: list[str]) -> pl.DataFrame:
    """The lines of a text that Polars will not read, as when a quote stands within a value: there it is only text."""
    rows = list(csv.reader(io.StringIO(text.decode("utf-8"), newline="\n"), delimiter=";"))[1:]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
