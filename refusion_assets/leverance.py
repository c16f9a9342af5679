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

import numpy as np
import polars as pl

from refusion_assets.domain.kontrol import kroner_text
from refusion_assets.domain.raw import HEADER, oere
from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.stop import Fault

REPORT_NAME = re.compile(r"eindkomst-yr-(?P<kilde>[a-z0-9]+)-(?P<enhed>\d+)-(?P<maaned>\d{6})-(?P<nr>\d{4})\.csv")
REPORT_PREFIX = "eindkomst"
SUMS = ("sum_felt0014", "sum_felt0037")
MANIFEST = ".manifest.json"
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
    """What was in a file: its hash and its lines as text, numbered as in the file (header = line 1)."""

    sha256: str
    lines: pl.DataFrame


def months_on_disk(raw: Path, kilde: str, through: date) -> Iterator[tuple[date, Path]]:
    """Each month folder of a source up to and including `through`, in order; other folders are no month."""
    for folder in sorted((raw / kilde).glob("????-??")):
        try:
            month = date.fromisoformat(f"{folder.name}-01")
        except ValueError:
            continue
        if month <= through:
            yield month, folder


def find(raw: Path, through: date, rules: Rulebook) -> tuple[list[Delivery], list[Fault]]:
    """Every file of reports received through a month, by path; and files whose name says nothing we know."""
    deliveries, faults = [], []
    for kilde in sorted(k.id for k in rules.kilder):
        for month, folder in months_on_disk(raw, kilde, through):
            for path in sorted(p for p in folder.iterdir() if p.name.startswith(REPORT_PREFIX)):
                found = _identify(raw, path, kilde, month)
                if isinstance(found, Delivery):
                    deliveries.append(found)
                elif found:
                    faults.append(found)
    return deliveries, faults


def _identify(raw: Path, path: Path, kilde: str, month: date) -> Delivery | Fault | None:
    """What a file in a month folder is: a delivery, a fault, or a manifest that has its file."""
    if path.name.endswith(MANIFEST):
        if path.with_name(path.name.removesuffix(MANIFEST) + ".csv").exists():
            return None
        return Fault("FIL-001", path.name, "manifestet har ingen fil; bed afsenderen om filen")
    name = REPORT_NAME.fullmatch(path.name)
    if not name or name["kilde"] != kilde or name["maaned"] != f"{month:%Y%m}":
        return Fault("FIL-002", path.name, f"navnet passer ikke i mappen {kilde}/{month:%Y-%m}; ret navn eller mappe")
    return Delivery(path, str(path.relative_to(raw)), kilde, name["enhed"], month, int(name["nr"]))


def fingerprint(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_reports(delivery: Delivery) -> Content:
    """The lines of a file of reports, once it is proved against manifest and header; FileRejected else.

    Source: input.md sections 1 and 4 (FIL-001, FIL-002).
    """
    content = _read(delivery.path, HEADER)
    _compare(delivery.path, _manifest(delivery.path), {**_totals(content.lines), "sha256": content.sha256})
    return content


def _totals(lines: pl.DataFrame) -> dict[str, Any]:
    """What a manifest says of the lines of a file of reports: rows, reversals and sums (øre)."""
    sums = lines.select(oere(pl.col("Felt0014")).sum().alias("a"), oere(pl.col("Felt0037")).sum().alias("b")).row(0)
    reversals = lines.filter(pl.col("Indberetningsart") == "T").height
    return {"antal_raekker": lines.height, "antal_T": reversals, **dict(zip(SUMS, sums, strict=True))}


def read_register(path: Path, header: str) -> Content:
    """The lines of a supporting register, once it is proved against its manifest; FileRejected else."""
    content = _read(path, header)
    _compare(path, _manifest(path), {"antal_raekker": content.lines.height, "sha256": content.sha256})
    return content


def _manifest(path: Path) -> dict[str, Any]:
    """The manifest beside a file, amounts in øre; FileRejected if it is missing or unreadable."""
    beside = path.with_name(path.name.removesuffix(".csv") + MANIFEST)
    try:
        manifest: dict[str, Any] = dict(json.loads(beside.read_text("utf-8")).items())
        for key in SUMS:
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
    missing = sum(_whole(claimed.get(name)) - found[name] for name in SUMS if name in found)
    text = f"{'; '.join(said)}; bed afsenderen om at levere filen igen"
    raise FileRejected(Fault("FIL-001", path.name, text, missing))


def _whole(oere: object) -> int:
    """A sum that a manifest claims in whole øre, nothing if it claims none."""
    return int(oere) if isinstance(oere, Decimal) and oere.is_finite() else 0


def _shown(name: str, value: object) -> str:
    """A value of a manifest or a file for people: kroner, or the beginning of a hash."""
    if value is None:
        return "intet"
    if name in SUMS:
        return kroner_text(_whole(Decimal(str(value))))
    return str(value)[:12]


def _read(path: Path, header: str) -> Content:
    """The file as text columns; FileRejected on another header, a line of another length, or not UTF-8."""
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    if _manifest(path).get("sha256") != sha256:
        _compare(path, _manifest(path), {**_what_is_left(data, header), "sha256": sha256})
    fault = _form_fault(data, header)
    if fault:
        raise FileRejected(Fault("FIL-002", path.name, fault))
    names = header.split(";")
    if data.count(b"\n") <= 1 and data.rstrip(b"\n") == header.encode():
        return Content(sha256, pl.DataFrame(schema={"linje": pl.Int64, **dict.fromkeys(names, pl.String)}))
    lines = pl.read_csv(io.BytesIO(data), separator=";", infer_schema=False, row_index_name="linje", row_index_offset=2)
    if b'"' in data:
        lines = lines.with_columns(pl.col(names).replace("", None))
    return Content(sha256, lines.with_columns(pl.col("linje").cast(pl.Int64)))


def _what_is_left(data: bytes, header: str) -> dict[str, Any]:
    """The totals of a file that is not the one its manifest speaks of, as far as they can be read."""
    if header != HEADER or not data.startswith(header.encode()):
        return {}
    try:
        return _totals(
            pl.read_csv(
                io.BytesIO(data), separator=";", infer_schema=False, truncate_ragged_lines=True, encoding="utf8-lossy"
            )
        )
    except pl.exceptions.PolarsError:
        return {}


def _form_fault(data: bytes, header: str) -> str | None:
    """Why a file is not the CSV that was agreed, or None."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return "teksten er ikke UTF-8; bed afsenderen om at levere filen igen"
    if text.split("\n", 1)[0] != header:
        return "overskriften er ikke den aftalte; bed afsenderen om at levere filen igen"
    width = header.count(";")
    if '"' in text:
        wrong = any(len(row) != width + 1 for row in csv.reader(io.StringIO(text), delimiter=";"))
    else:
        wrong = not _all_lines_have(data, width)
    return "en linje har et forkert antal kolonner; bed afsenderen om at levere filen igen" if wrong else None


def _all_lines_have(data: bytes, width: int) -> bool:
    """True if every line has so many separators."""
    letters = np.frombuffer(data if data.endswith(b"\n") else data + b"\n", dtype=np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    separators = np.searchsorted(np.flatnonzero(letters == ord(";")), ends)
    return bool((np.diff(separators, prepend=0) == width).all())
