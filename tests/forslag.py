"""Understands a proposal, for tests: a folder of rules with one edit, and what the estimate says of it."""

import csv
import shutil
from pathlib import Path

import polars as pl

from refusion_assets.assets.konsekvens import Forslag, estimate, estimated
from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.weeks import month_of, month_range
from refusion_assets.konsekvens import Konsekvens
from refusion_assets.rulebook import load
from tests.conftest import DataRoot
from tests.support import RULES

GAELDENDE = load(RULES)
MONTHS = month_range(month_of("2015-12"), month_of("2024-04"))
EVERY_MONTH = "2015-12..2024-04"
BOOKS = ("gaeldende", "forslag")


def proposal(folder: Path, file: str = "trapper.toml", old: str = "procent = 80", new: str = "procent = 75") -> Path:
    """A folder of rules with one text in one file written otherwise, once."""
    made = Path(shutil.copytree(RULES, folder))
    text = (made / file).read_text("utf-8")
    assert old in text
    (made / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    return made


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))


def oere(kroner: str) -> int:
    """Kroner with decimal comma, or as a sentence has them, in øre."""
    return int(kroner.removesuffix(" kr.").replace(".", "").replace(",", ""))


def asked(root: DataRoot, forslag: Rulebook, gaeldende: Rulebook = GAELDENDE) -> Konsekvens:
    """The estimate of a proposal for every month."""
    with root.place.warehouse.reading() as session:
        return estimate(session, gaeldende, forslag, MONTHS, lambda _: None)


def in_files(root: DataRoot, forslag: Path, mappe: str = "") -> Path:
    """The folder of an estimate of four months, made without the command."""
    wanted = Forslag(regler=str(forslag), fra="2024-01", til="2024-04", mappe=mappe)
    return estimated(root.place, wanted, lambda _: None)[1]


def by_estimate(result: Konsekvens, book: str) -> dict[tuple[str, str, str], tuple[int, ...]]:
    """What an estimate says of each month, municipality and benefit under one of its rule sets. Øre."""
    money = [pl.col(f"{name}_oere_{book}").sum() for name in ("beloeb", "refusion", "medfinansiering")]
    summed = result.virkning.celler.group_by("maaned", "kommunekode", "ydelse_id").agg(money)
    found = {(f"{maaned:%Y-%m}", kode, ydelse): tuple(sums) for maaned, kode, ydelse, *sums in summed.iter_rows()}
    return {key: sums for key, sums in found.items() if any(sums)}
