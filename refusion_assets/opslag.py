"""Understands a look-up of a person: what may be asked, and that it stands in the log before anything is shown."""

import fcntl
import json
import os
import pwd
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl

from refusion_assets.context import Place
from refusion_assets.domain.forklar_tekst import told
from refusion_assets.domain.forklaring import Forklaring, as_json
from refusion_assets.domain.raw import is_possible_cpr
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.weeks import month_of
from refusion_assets.forklar import look_up

LOG = Path("opslag") / "opslag.jsonl"
MOST_CHARACTERS = 300
# Ten digits with at most a few separators between them, read at every place they can begin.
TEN_DIGITS = re.compile(r"(?<!\d)(?=((?:\d[ .\-/]{0,3}){9}\d)(?!\d))")
EXAMPLE = "--formaal 'klage, sag 24-1234'"
USAGE = "skriv refusion forklar CPR ÅÅÅÅ-MM, fx med måneden 2026-10"


@dataclass(frozen=True)
class Asked:
    """What is asked: a person by number, a benefit month, and what for."""

    cpr: str
    maaned: date
    formaal: str


def asked(words: Sequence[str], formaal: str | None, ask: Callable[[], str]) -> Asked:
    """The person, month and purpose of a command; Stop in one line that repeats nothing of what was typed.

    `ask` gives the purpose where the command has none.
    """
    if len(words) != 2:
        raise Stop(f"der skal stå eet personnummer og een måned; {USAGE}")
    cpr = words[0].replace("-", "", 1)
    if not re.fullmatch(r"[0-9]{10}", cpr):
        raise Stop(f"det første er ikke et personnummer på ti cifre; {USAGE}")
    if not pl.select(is_possible_cpr(pl.lit(cpr), pl.lit(date.today()))).item():  # noqa: DTZ011  the day here
        raise Stop("personnummeret kan ikke findes: dagen eller måneden i det er umulig")
    try:
        maaned = month_of(words[1]) if re.fullmatch(r"[0-9]{4}-[0-9]{2}", words[1]) else None
    except ValueError:
        maaned = None
    if maaned is None:
        raise Stop(f"det andet er ikke en måned; {USAGE}")
    said = ask() if formaal is None else formaal
    if formaal is None and not said.strip():
        raise Stop(f"skriv, hvad opslaget er til, med --formaal, fx {EXAMPLE}")
    return Asked(cpr, maaned, purpose(said, cpr))


def purpose(text: str, cpr: str) -> str:
    """The purpose of a look-up, on one line; Stop if it is empty, long, or holds a personal number."""
    formaal = " ".join(text.split())
    if not formaal:
        raise Stop(f"formålet er tomt; skriv, hvad opslaget er til, fx {EXAMPLE}")
    if not re.search(r"[^\W\d_]{3}", formaal):
        raise Stop(f"formålet er for kort; skriv mindst et ord på tre bogstaver, fx {EXAMPLE}")
    if len(formaal) > MOST_CHARACTERS:
        raise Stop(f"formålet må højst fylde {MOST_CHARACTERS} tegn")
    if cpr in re.sub(r"\D", "", formaal) or any(_personal(hit[1]) for hit in TEN_DIGITS.finditer(formaal)):
        raise Stop("der står et personnummer i formålet; skriv sagens nummer i stedet")
    return formaal


def _personal(text: str) -> bool:
    """Whether ten digits begin like a personal number: a day (or day + 60) and a month."""
    digits = re.sub(r"\D", "", text)
    day, month = int(digits[:2]), int(digits[2:4])
    return 1 <= (day - 60 if day > 60 else day) <= 31 and 1 <= month <= 12


def answer(place: Place, question: Asked, *, som_json: bool, alt: bool = False) -> str:
    """What is shown: the explanation as JSON, or as text, in short or with `alt` whole.

    It is in the log first; Stop if it cannot be.
    """
    found = look_up(place, question.cpr, question.maaned)
    log(place, question, found)
    hvem = f"borger {found.borger_id} ({question.cpr[:6]}-xxxx)" if found.borger_id is not None else "en ukendt borger"
    return as_json(found) + "\n" if som_json else told(found, hvem, alt=alt)


def log(place: Place, question: Asked, found: Forklaring) -> None:
    """One line more in the log of look-ups, on the disk when this returns; Stop if it cannot be written.

    Never the CPR number: the person is the surrogate, or nobody where the number is unknown.
    """
    entry = {
        "tidspunkt": datetime.now().astimezone().isoformat(timespec="seconds"),
        "bruger": user(),
        "opslag": "forklar",
        "borger_id": found.borger_id,
        "maaned": f"{question.maaned:%Y-%m}",
        "formaal": question.formaal,
        "fundet": found.borger_id is not None,
        "svar": found.svar,
        "viden_til": f"{found.viden_til:%Y-%m}",
    }
    try:
        _append(place.root / LOG, json.dumps(entry, ensure_ascii=False))
    except OSError as error:
        raise Stop(
            f"opslaget kan ikke skrives i loggen ({error.strerror}), så intet vises; sig det til driften"
        ) from None


def user() -> str:
    """Who runs the command, as the operating system knows it; not what the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _append(path: Path, line: str) -> None:
    """A line put at the end of a file and on the disk; a line cut short by an earlier fall is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file).st_size
        cut_short = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        data = f"{chr(10) if cut_short else ''}{line}\n".encode()
        if os.write(file, data) != len(data):
            raise OSError(0, "disken er fuld")
        os.fsync(file)
    finally:
        os.close(file)
    if size == 0:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
