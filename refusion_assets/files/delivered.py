"""Understands a delivery on disk: which files lie there, and whether each is what its manifest says."""

import csv
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from refusion_assets.domain.calendar import month_of, next_month
from refusion_assets.domain.raw import HEADER, oere
from refusion_assets.domain.rules.entries import Kilde, Rulebook
from refusion_assets.domain.stop import Fault
from refusion_assets.domain.wording import kroner_text
from refusion_assets.files import fixed, separated
from refusion_assets.files.fixed import ODD_REVERSAL
from refusion_assets.files.separated import Looked, Unreadable, opened

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
MANIFEST = ".manifest.json"
SUMS = {
    "antal_raekker": pl.len(),
    "antal_T": pl.col("Indberetningsart").is_in(["T", ODD_REVERSAL]).sum(),
    "sum_felt0014": oere(pl.col("Felt0014")).sum(),
    "sum_felt0037": oere(pl.col("Felt0037")).sum(),
}
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

    @property
    def fixed(self) -> bool:
        """True if the file has the fixed-width form."""
        return self.path.suffix == ".txt"

    @property
    def kommune(self) -> str | None:
        """The municipality of a municipal sender; None of a national one."""
        return self.enhed if len(self.enhed) == UNIT_DIGITS["kommunal"] else None


@dataclass(frozen=True)
class Content:
    """What is in a file: its hash and its lines as text, part by part.

    `linje` is the number of the line in the file: the header of a CSV is line 1; a row of the fixed-width form has the
    line of its record 6000 or 4101.
    """

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


def find(raw: Path, through: date, rules: Rulebook) -> list[Delivery]:
    """Every file of reports received through a month, by path, in either form.

    A non-file with the name of a file is rejected when read.
    """
    return [delivery_of(raw, path, name, month) for path, name, month in report_files(raw, through, rules)]


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
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_if_there(path: Path) -> str | None:
    """The sha256 of a file; None if it is not there or cannot be opened."""
    try:
        return fingerprint(path)
    except OSError:
        return None


def read_reports(delivery: Delivery) -> Content:
    """The lines of a file of reports, proved against manifest and header; FileRejected else.

    The sums are complete with the last part: if the file is then rejected, the caller must drop the earlier parts.
    Source: input.md sections 1 and 4 (FIL-001, FIL-002).
    """
    path = delivery.path
    twin = path.with_suffix(".csv" if delivery.fixed else ".txt")
    if os.path.lexists(twin):
        both = f"{twin.name} ligger ved siden af, og de har samme manifest; spørg afsenderen, hvilken der gælder"
        raise FileRejected(Fault("FIL-001", path.name, f"{both}, og flyt den anden"))
    claimed = claims_of(path, REPORT_KEYS)
    lies = {"filnavn": path.name, "kilde": delivery.kilde, "enhed": delivery.enhed}
    lies["modtaget_maaned"] = f"{delivery.maaned:%Y-%m}"
    with _rejecting(path):
        look = fixed.look_through(path, delivery.kommune) if delivery.fixed else separated.look_through(path, HEADER)
    left = _what_is_left(delivery) if claimed["sha256"] != look.sha256 else {}
    content = _read(path, look, claimed, lies | {"sha256": look.sha256} | left)  # told in this order
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
    with _rejecting(path):
        looked = separated.look_through(path, header)
    content = _read(path, looked, claimed, {"filnavn": path.name, "modtaget_maaned": path.parent.name})
    lines = pl.concat(content.parts)
    _compare(path, claimed, {"antal_raekker": lines.height})
    return content.sha256, lines


def claims_of(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """The manifest beside a file, amounts in øre; FileRejected if it is missing, unreadable or without a key."""

    def rejected(why: str) -> FileRejected:
        return FileRejected(Fault("FIL-001", path.name, f"manifestet {why}; bed afsenderen om et nyt"))

    try:
        with opened(manifest_of(path)) as file:
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


def _read(path: Path, looked: Looked, claimed: dict[str, Any], found: dict[str, Any]) -> Content:
    """The file as text columns, once its manifest fits its hash and `found`: its place, and other totals.

    FileRejected on another hash or place, or where the file is not in its form.
    """
    _compare(path, claimed, {**found, "sha256": looked.sha256})
    if looked.fault:
        raise FileRejected(_unreadable(path, looked.fault))
    return Content(looked.sha256, _whole_parts(path, looked.parts))


def _whole_parts(path: Path, parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The parts of a file; FileRejected on a fault first seen there."""
    with _rejecting(path):
        yield from parts


def _unreadable(path: Path, why: str) -> Fault:
    """The fault of a file that is not in the agreed form, with the reason."""
    return Fault("FIL-002", path.name, f"{why}; bed afsenderen om at levere filen igen")


@contextmanager
def _rejecting(path: Path) -> Iterator[None]:
    """Within the block, any error in reading a file is a fault of that file; the other files are still read."""
    try:
        yield
    except OSError as error:
        raise FileRejected(_unreadable(path, f"filen kan ikke åbnes ({error.strerror})")) from None
    except Unreadable as fault:
        raise FileRejected(_unreadable(path, str(fault))) from None
    except (csv.Error, pl.exceptions.PolarsError, UnicodeError):
        raise FileRejected(_unreadable(path, "filen kan ikke læses")) from None


def _what_is_left(delivery: Delivery) -> dict[str, Any]:
    """The totals of a file of reports that does not fit its manifest, as far as they can be read."""
    try:
        if delivery.fixed:
            looked = fixed.look_through(delivery.path, delivery.kommune)
            return {} if looked.fault else pl.concat(looked.parts).select(**SUMS).row(0, named=True)
        lines = pl.read_csv(
            delivery.path, separator=";", infer_schema=False, truncate_ragged_lines=True, encoding="utf8-lossy"
        )
        return lines.select(**SUMS).row(0, named=True)
    except (Unreadable, OSError, pl.exceptions.PolarsError):
        return {}
