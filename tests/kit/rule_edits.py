"""Understands edits of a folder of rules, for tests: a dated entry more, another value, a declaration."""

import csv
import shutil
from datetime import date
from pathlib import Path

import polars as pl

from refusion_assets.assets.konsekvens import Forslag, estimate, estimated
from refusion_assets.domain.calendar import month_of, month_range
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.files.estimate import Konsekvens
from tests.conftest import DataRoot
from tests.kit.data_root import RULEBOOK, RULES

CITED = "hjemmel = 'x'\nkilde = 'x'\nkontrolleret = 2026-01-01\nsikkerhed = 'x'\n"


def append(folder: Path, file: str, text: str) -> None:
    """One file, made if it is not there, with more at its end."""
    path = folder / file
    before = path.read_text("utf-8") if path.exists() else ""
    path.unlink(missing_ok=True)
    path.write_text(before + text, encoding="utf-8")


def put(folder: Path, file: str, old: str, new: str) -> None:
    """The first place of a text in a file replaced."""
    text = (folder / file).read_text("utf-8")
    assert old in text, f"{file} no longer says {old}"
    (folder / file).unlink()
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")


def staircase(folder: Path, name: str, gaelder_fra: date, *procent: int) -> None:
    """A staircase from a date: its per cents from week 1, 5, 27 and 53."""
    steps = ", ".join(
        f"{{ fra_uge = {week}, procent = {p}, hjemmel = '§ 5' }}"
        for week, p in zip((1, 5, 27, 53), procent, strict=False)
    )
    append(
        folder, "trapper.toml", f"\n[[trappe]]\nid = '{name}'\ngaelder_fra = {gaelder_fra}\ntrin = [{steps}]\n{CITED}"
    )


def benefit(folder: Path, ydelse_id: str, gaelder_fra: date, **values: str) -> None:
    """A benefit as it first stands, from a date with other values."""
    header, *lines = (folder / "ydelser.csv").read_text("utf-8").splitlines()
    names = header.split(";")
    first = next(line for line in lines if line.startswith(f"{ydelse_id};"))
    row = dict(zip(names, first.split(";"), strict=True)) | {"gaelder_fra": str(gaelder_fra)} | values
    append(folder, "ydelser.csv", ";".join(row[name] for name in names) + "\n")


def restart(folder: Path, gaelder_fra: date, uger: int, vindue_aar: int) -> None:
    """From a date a restart takes so many weeks within so many years."""
    text = f"uger = {uger}\nvindue_aar = {vindue_aar}\nmetode = 'hele_kalenderuger'\n"
    append(folder, "optaelling.toml", f"\n[[genoptjening]]\ngaelder_fra = {gaelder_fra}\n{text}{CITED}")


def declare(folder: Path, emne: str, fra: date, begrundelse: str = "prøve") -> None:
    """A declaration that a change of a topic reaches back."""
    text = f"emne = '{emne}'\nfra = {fra}\nbegrundelse = '{begrundelse}'\n"
    append(folder, "tilbagevirkning.toml", f"\n[[tilbagevirkning]]\n{text}{CITED}")


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


def asked(root: DataRoot, forslag: Rulebook, gaeldende: Rulebook = RULEBOOK) -> Konsekvens:
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
