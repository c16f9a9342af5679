"""Arrivals: each file that has come for a month, proved against its manifest once, before any run reads it."""

import json
import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.operations.board import Indhold
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.stop import Fault
from refusion_assets.files.delivered import (
    MONEY,
    REGISTER_HEADERS,
    REPORT_KEYS,
    REPORT_NAME,
    FileRejected,
    claims_of,
    delivery_of,
    files_of_month,
    manifest_of,
    read_register,
    read_reports,
    register_name,
    report_files,
)
from refusion_assets.files.prints import Print
from refusion_assets.files.separated import opened

FOLDER, FILE = "tavle", "leverancer.json"
# A manifest may come this many times later than the rest of a file: ten minutes where a file settles in 15 seconds.
PATIENCE = 40


@dataclass(frozen=True)
class Proof:
    """A delivered file as it was proved: the prints of file and manifest then, its content, and its faults.

    `indhold` is None until the file has been proved, and where it is bad. `enhed` is empty for a register. `sen`: it
    came for an earlier month than the board's.
    """

    sti: str
    kilde: str
    enhed: str
    fil: Print | None
    manifest: Print | None
    indhold: Indhold | None = None
    fejl: tuple[Fault, ...] = ()
    sen: bool = False

    @property
    def proved(self) -> bool:
        """True if the file has been read, and found good or bad."""
        return self.indhold is not None or bool(self.fejl)

    def same(self, other: "Proof") -> bool:
        """True if file and manifest have the prints of another proof."""
        return (self.fil, self.manifest) == (other.fil, other.manifest)


def lying(raw: Path, month: date, rules: Rulebook) -> list[Proof]:
    """The files of reports and of registers that lie there for a month, unproved; by path."""
    found = [(path, name["kilde"], name["enhed"]) for path, name, _ in files_of_month(raw, month, rules)]
    for art in REGISTER_HEADERS:
        path = raw / art / f"{month:%Y-%m}" / register_name(art, month)
        if os.path.lexists(path):
            found.append((path, art, ""))
    return [
        Proof(str(path.relative_to(raw)), kilde, enhed, _print(path), _print(manifest_of(path)))
        for path, kilde, enhed in found
    ]


def _print(path: Path) -> Print | None:
    """The print of a file; None too where the system tells nothing, as of a link to itself."""
    try:
        return Print.of(path)
    except OSError:
        return None


def proved(raw: Path, proof: Proof, month: date) -> Proof:
    """A file read whole and compared with its manifest: its content, or its faults (FIL-001, FIL-002)."""
    path = raw / proof.sti
    if not proof.enhed:
        try:
            _, lines = read_register(path, REGISTER_HEADERS[proof.kilde])
        except FileRejected as refused:
            return _refused(proof, refused)
        return replace(proof, indhold=Indhold(lines.height, 0))
    name = REPORT_NAME.fullmatch(path.name)
    if name is None or not os.path.lexists(path):
        return proof  # it has gone since it was listed
    try:
        for _ in read_reports(delivery_of(raw, path, name, month)).parts:
            pass
    except FileRejected as refused:
        return _refused(proof, refused)
    return replace(proof, indhold=content_claimed(path))


def _refused(proof: Proof, refused: FileRejected) -> Proof:
    """A file with its fault; without its print if the system would not open it, so that the next look tries again."""
    fil = None if isinstance(refused.__context__, OSError) else proof.fil
    return replace(proof, fil=fil, fejl=(refused.fault,))


def content_claimed(path: Path) -> Indhold | None:
    """The lines and the øre of a file of reports as its manifest says; None if the manifest says none."""
    try:
        claimed = claims_of(path, REPORT_KEYS)
        return Indhold(int(claimed["antal_raekker"]), sum(int(claimed[name]) for name in MONEY))
    except (FileRejected, ValueError, TypeError, ArithmeticError):
        return None


def prove(
    raw: Path,
    month: date,
    rules: Rulebook,
    before: Mapping[str, Proof],
    *,
    seconds: float,
    settling: float,
    read: Collection[str] = (),
) -> list[Proof]:
    """The files of a month, each proved unless it has the prints of a proof from before; by path.

    With `read`, the files of reports in the folders of earlier months follow that are not among these paths: the run
    reads them too. After so many seconds the rest stay unproved, as does a file that changed in the last `settling`
    seconds: its sender is still writing it.
    """
    until, now = time.monotonic() + seconds, time.time()
    found = []
    for proof, received in [*((proof, month) for proof in lying(raw, month, rules)), *_late(raw, month, rules, read)]:
        known = before.get(proof.sti)
        newest = max((p.aendret_ns for p in (proof.fil, proof.manifest) if p), default=0) / 1e9
        if known is not None and proof.same(known) and known.proved:
            found.append(replace(known, sen=proof.sen))
        elif time.monotonic() > until or 0 <= now - newest < settling * (1 if proof.manifest else PATIENCE):
            found.append(proof)
        else:
            found.append(proved(raw, proof, received))
    return found


def _late(raw: Path, month: date, rules: Rulebook, read: Collection[str]) -> Iterator[tuple[Proof, date]]:
    """The files of reports of earlier months that are not in `read`, unproved, each with its folder's month."""
    if not read:
        return
    for path, name, received in report_files(raw, next_month(month, -1), rules):
        if (sti := str(path.relative_to(raw))) not in read:
            prints = _print(path), _print(manifest_of(path))
            yield Proof(sti, name["kilde"], name["enhed"], *prints, sen=True), received


def kept(root: Path) -> dict[str, Proof]:
    """The proofs kept in a data root, by path under raw/; none where the file is gone or cannot be read."""
    try:
        with opened(root / FOLDER / FILE) as file:
            read = json.loads(file.read().decode("utf-8"))
        return {sti: _as_proof(said) for sti, said in read.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def keep(root: Path, proofs: Iterable[Proof]) -> None:
    """The proofs written to the data root in place of those before; a reader sees the old or the new ones.

    Where the disk takes nothing, those before stay: each file is then proved at each look.
    """
    folder = root / FOLDER
    # The sensor and the schedule are two threads of one process.
    fresh = folder / f".{FILE}.{os.getpid()}.{threading.get_ident()}"
    said = json.dumps({p.sti: asdict(p) for p in proofs}, ensure_ascii=False, sort_keys=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh.write_text(said, "utf-8")
        os.replace(fresh, folder / FILE)
    except OSError:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def _as_proof(said: dict[str, Any]) -> Proof:
    """A proof as it was written."""
    prints = {name: Print(**said[name]) if said[name] else None for name in ("fil", "manifest")}
    content = Indhold(**said["indhold"]) if said["indhold"] else None
    return Proof(**{**said, **prints, "indhold": content, "fejl": tuple(Fault(**fault) for fault in said["fejl"])})
