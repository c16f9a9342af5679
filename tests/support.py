"""Understands a data root on disk, for tests: raw files in, rows as text out."""

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

from refusion_assets.domain.efterregning_raa import Fil
from refusion_assets.domain.rules import Rulebook

REPO = Path(__file__).resolve().parent.parent
RULES = REPO / "rules"
DATA = REPO / "tests" / "data"
EXAMPLE = DATA / "example"

Row = dict[str, str]


def read_csv(path: Path) -> list[Row]:
    """The rows of one `;`-separated file as text, empty = null."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))


def read_root(path: Path, until_month: str) -> tuple[list[Fil], list[Row], list[Row]]:
    """What a run of `until_month` knows of a data root: raw files, residences, bases for fleksbidrag.

    Raw files up to the month, judged by nobody (all count as accepted; only the CSV form is read); the newest
    snapshot of residences; the rows of all snapshots of the basis, oldest first.
    """
    files, bopael, fleksgrundlag = [], [], []
    for csv_path in sorted((path / "raw").glob("*/*/*.csv"), key=lambda p: (p.parent.name, p.name)):
        kilde, maaned = csv_path.parent.parent.name, csv_path.parent.name
        if maaned > until_month:
            continue
        rows = read_csv(csv_path)
        if kilde == "bopael":
            bopael = rows
        elif kilde == "fleksgrundlag":
            fleksgrundlag += rows
        else:
            enhed = csv_path.name.split("-")[3]
            sha256 = hashlib.sha256(csv_path.read_bytes()).hexdigest()
            files.append(Fil(csv_path.name, kilde, enhed, maaned, sha256, rows))
    return files, bopael, fleksgrundlag


def with_reading(rules: Rulebook, navn: str, vaerdi: str) -> Rulebook:
    """The rules with one reading switched."""
    return replace(
        rules,
        laesninger=tuple(replace(entry, vaerdi=vaerdi) if entry.navn == navn else entry for entry in rules.laesninger),
    )
