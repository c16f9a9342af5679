"""Understands who may come in to the user interface: the file of users with their roles, and the key of the door."""

import hashlib
import json
import os
import re
import tomllib
from base64 import urlsafe_b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bcrypt
from cryptography.fernet import Fernet

from refusion_assets.domain.stop import Stop

LAESER, DRIFT = "laeser", "drift"
ROLES = (LAESER, DRIFT)
FILE, KEY, LOG = "brugere.toml", "doer.noegle", "doer.jsonl"
NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
# bcrypt reads 72 bytes; a longer password would be taken for another that begins alike.
SHORTEST, LONGEST = 12, 72
# Made with the same cost as a user's: a name that is not there takes as long to refuse as one that is.
NOBODY = "$2b$12$C6UzMDM.H6dfI/f/IKcEeO4eS8TJ0zZ8mDkFxRyQHnPqyVZ8n4w8u"
MACHINE, MACHINE_SECONDS = b"maskine", 60


@dataclass(frozen=True)
class Bruger:
    """A user: the name, the role, and the bcrypt hash of the password; none for one that another login knows."""

    navn: str
    rolle: str
    kode: str = ""

    @property
    def mark(self) -> str:
        """The print that a session is bound to: it ends when the role or the password is another."""
        return hashlib.sha256(f"{self.rolle}:{self.kode}".encode()).hexdigest()[:16]


def file_of(root: Path) -> Path:
    """The file of users in a data root."""
    return root / FILE


def read(root: Path) -> dict[str, Bruger]:
    """The users by name; none if there is no file. Stop if the file is open to others, or is not understood."""
    path = file_of(root)
    if not path.exists():
        return {}
    _closed(path)
    try:
        said = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise Stop(f"{path} er ikke TOML, der kan læses; ret filen") from None
    return {navn: _user(path, navn, entry) for navn, entry in said.items()}


def _user(path: Path, navn: str, entry: Any) -> Bruger:
    """A user of the file; Stop that names the fault."""
    if not NAME.fullmatch(navn):
        raise Stop(f"{path}: et navn må kun have små bogstaver a-z, cifre og . _ @ -; ret filen")
    if not isinstance(entry, dict) or not set(entry) <= {"rolle", "kode"} or entry.get("rolle") not in ROLES:
        raise Stop(f'{path}: {navn} skal have rolle = "laeser" eller "drift", og højst en kode; ret filen')
    kode = entry.get("kode", "")
    if not isinstance(kode, str) or (kode and not re.fullmatch(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}", kode)):
        raise Stop(f"{path}: koden for {navn} er ikke skrevet af refusion ui --ny-bruger {navn}; opret brugeren igen")
    return Bruger(navn, entry["rolle"], kode)


def _closed(path: Path) -> None:
    """Stop if others than the owner can read a file that holds a secret."""
    if path.stat().st_mode & 0o077:
        raise Stop(f"andre kan læse {path}; luk den med chmod 600 {path}")


def refused(password: str) -> str:
    """Why a new password cannot be used; empty if it can."""
    if len(password) < SHORTEST:
        return f"adgangskoden skal have mindst {SHORTEST} tegn"
    if len(password.encode()) > LONGEST:
        return f"adgangskoden må højst fylde {LONGEST} byte"
    return ""


def add(root: Path, navn: str, rolle: str, password: str) -> bool:
    """Write a user to the file, in place of one of the same name; True if the name was new. Stop if refused."""
    if not NAME.fullmatch(navn):
        raise Stop("et brugernavn har kun små bogstaver a-z, cifre og . _ @ -, og højst 64 tegn")
    if why := refused(password):
        raise Stop(why)
    every = read(root)
    new = navn not in every
    every[navn] = Bruger(navn, rolle, bcrypt.hashpw(password.encode(), bcrypt.gensalt()).decode())
    lines = [
        "# Hvem der må komme ind i brugerfladen; skrives af refusion ui --ny-bruger. Slet en bruger ved at slette den."
    ]
    for user in every.values():
        lines += ["", f'["{user.navn}"]', f'rolle = "{user.rolle}"', *([f'kode = "{user.kode}"'] if user.kode else [])]
    path = file_of(root)
    ready = path.with_name(f".{path.name}")
    ready.unlink(missing_ok=True)
    with os.fdopen(os.open(ready, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(ready, path)
    return new


def is_right(user: Bruger | None, password: str) -> bool:
    """True if a password is the user's; it takes as long for a name that is not there."""
    said = password.encode()
    if len(said) > LONGEST:
        return False
    known = user is not None and bool(user.kode)
    right = bcrypt.checkpw(said, (user.kode if user is not None and known else NOBODY).encode())
    return right and known


def key(home: Path) -> Fernet:
    """The key that signs sessions, made the first time; it lies in Dagster's home, for its owner alone."""
    path = home / KEY
    if not path.exists():
        ready = home / f".{KEY}.{os.getpid()}"
        with os.fdopen(os.open(ready, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(Fernet.generate_key())
        try:
            os.link(ready, path)  # another process that was first keeps its key
        except FileExistsError:
            pass
        finally:
            ready.unlink()
    _closed(path)
    try:
        said = path.read_bytes()
        urlsafe_b64decode(said)
        return Fernet(said)
    except (ValueError, NotBase64):
        raise Stop(f"{path} er ikke en nøgle; slet filen, og start igen") from None


def of_the_machine(home: Path) -> dict[str, str]:
    """The header by which our own daemon passes the door, for a minute; none where no door has been opened yet."""
    return {"Authorization": f"Bearer {key(home).encrypt(MACHINE).decode()}"} if (home / KEY).exists() else {}


def note(home: Path, hvad: str, bruger: str, rolle: str = "", **more: Any) -> None:
    """One line in the door's log: when, who, and what was done; never what was sent along."""
    line: Mapping[str, Any] = {
        "tid": datetime.now(UTC).isoformat(timespec="seconds"),
        "hvad": hvad,
        "bruger": bruger,
        "rolle": rolle,
        **more,
    }
    log = os.open(home / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(log, f"{json.dumps(line, ensure_ascii=False)}\n".encode())
    finally:
        os.close(log)
