"""Understands edits of a folder of rules, for tests: a dated entry more, another value, a declaration."""

from datetime import date
from pathlib import Path

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
