"""Understands the trace that a look at a person leaves: a line in a log, on the disk before anything is shown."""

import fcntl
import json
import os
import pwd
from datetime import datetime
from pathlib import Path

from refusion_assets.domain.forklar.model import Forklaring
from refusion_assets.domain.stop import Stop
from refusion_assets.look_up.inquiry import Inquiry

LOG = Path("opslag") / "opslag.jsonl"


def log(path: Path, inquiry: Inquiry, found: Forklaring, pakke: str = "", opslag: str = "forklar") -> None:
    """Add a line to the log of look-ups, on the disk when this returns; Stop if it cannot be written.

    Never the CPR number: the person is the surrogate, or nobody where the number is unknown.
    """
    entry = {
        "tidspunkt": datetime.now().astimezone().isoformat(timespec="seconds"),
        "bruger": user(),
        "opslag": opslag,
        "borger_id": found.borger_id,
        "maaned": f"{inquiry.maaned:%Y-%m}",
        "formaal": inquiry.formaal,
        "fundet": found.borger_id is not None,
        "svar": found.svar,
        "viden_til": f"{found.viden_til:%Y-%m}",
    }
    if pakke:
        entry["pakke"] = pakke
    try:
        _append(path, json.dumps(entry, ensure_ascii=False))
    except OSError as error:
        raise Stop(
            f"opslaget kan ikke skrives i loggen ({error.strerror}), så intet vises; sig det til driften"
        ) from None


def user() -> str:
    """The user of the command by the operating system, not by the environment."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _append(path: Path, line: str) -> None:
    """Append a line to a file and to the disk; a line cut short by an earlier crash is ended first."""
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
