"""Understands a sealed package: encrypted with age before anybody sees it, opened without a plain copy on the disk."""

import os
import secrets
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyrage

from refusion_assets.domain.stop import Stop
from refusion_assets.place import Place, archive
from refusion_assets.store.session import Warehouse

MODTAGER, NOEGLE = "REFUSION_PAKKE_MODTAGER", "REFUSION_PAKKE_NOEGLE"
BEGINS = b"age-encryption.org/v1\n"
PRIVATE = ("AGE-SECRET-KEY-", "-----BEGIN")
LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # none that can be taken for another
# Fewer signs are guessed at home.
SHORTEST = 12
GROUPS, IN_A_GROUP = 6, 5
PIECE = 2**20
# The words of pyrage for a key that does not fit; a damaged head sounds the same.
OTHER_KEY = ("No matching keys", "Decryption failed")


@dataclass(frozen=True)
class Recipient:
    """The owners of public keys, or a passphrase, that can open a package; `made`: nobody knows it yet."""

    keys: tuple[pyrage.x25519.Recipient | pyrage.ssh.Recipient, ...] = ()
    passphrase: str = ""
    made: bool = False


def recipient(said: str | None, target: Path, root: Path, named: tuple[str, str] = (MODTAGER, NOEGLE)) -> Recipient:
    """The recipient that an option or the environment names; a new passphrase if neither does.

    `said`, or REFUSION_PAKKE_MODTAGER: public keys (age1..., ssh-ed25519 or ssh-rsa), or a file of them.
    REFUSION_PAKKE_NOEGLE: a file with a passphrase, which nobody else can read, outside `target` and the data root.
    `named`: the two variables, where others are meant. Stop with the reason if a key is none.
    """
    modtager, noegle = named
    said = said or os.environ.get(modtager, "").strip()
    if said:
        return Recipient(keys=tuple(_public(line) for line in _lines(said)))
    if os.environ.get(noegle):
        text = secret((target, root), noegle).decode("utf-8", "replace").strip()
        if text.startswith(PRIVATE) or not text:
            raise Stop(f"{noegle} skal nævne en fil med en adgangssætning; en offentlig nøgle gives med --modtager")
        if len(text) < SHORTEST:
            raise Stop(f"adgangssætningen er for kort; skriv mindst {SHORTEST} tegn i filen, som {noegle} nævner")
        return Recipient(passphrase=text)
    groups = ("".join(secrets.choice(LETTERS) for _ in range(IN_A_GROUP)) for _ in range(GROUPS))
    return Recipient(passphrase="-".join(groups), made=True)


def _lines(said: str) -> list[str]:
    """The keys of a file, or the key itself."""
    path = Path(said).expanduser()
    try:
        text = path.read_text("utf-8") if " " not in said and path.is_file() else said
    except (OSError, UnicodeDecodeError):
        raise Stop(f"{said} kan ikke læses som en fil med offentlige nøgler") from None
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise Stop(f"der er ingen nøgle i {said}")
    return lines


def _public(line: str) -> pyrage.x25519.Recipient | pyrage.ssh.Recipient:
    if line.startswith(PRIVATE):
        raise Stop("modtagerens nøgle er hemmelig; bed om den offentlige (age1..., ssh-ed25519 eller ssh-rsa)")
    try:
        of = pyrage.x25519 if line.startswith("age1") else pyrage.ssh
        return of.Recipient.from_str(line)
    except pyrage.RecipientError:
        raise Stop("modtageren er ingen offentlig nøgle (age1..., ssh-ed25519 eller ssh-rsa)") from None


def secret(never_in: Sequence[Path], named: str = NOEGLE) -> bytes:
    """The content of the file that a variable names; Stop if others can read it, or it lies in a wrong folder."""
    path = Path(os.environ[named]).expanduser()
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise Stop(f"{named} nævner ikke en fil: {path}")
        if mode & 0o077:
            raise Stop(f"andre kan læse {path}; skriv chmod 600 {path}")
        for folder in never_in:
            if path.resolve().is_relative_to(folder.resolve()):
                raise Stop(f"nøglen {path} ligger i {folder}; den må aldrig ligge ved pakken eller i dataroden")
        return path.read_bytes()
    except OSError as error:
        raise Stop(f"{named} kan ikke læses ({error.strerror}): {path}") from None


def seal(plain: Path, target: Path, to: Recipient) -> None:
    """Encrypt a file as `target`, on the disk when this returns; the one before stands until then."""
    fresh = target.with_name(f".{target.name}.ny")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            if to.keys:
                with plain.open("rb") as source:
                    pyrage.encrypt_io(source, file, list(to.keys))
            else:
                file.write(pyrage.passphrase.encrypt(plain.read_bytes(), to.passphrase))
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, target)
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def is_sealed(path: Path) -> bool:
    """True if a file begins as age writes one."""
    with path.open("rb") as file:
        return file.read(len(BEGINS)) == BEGINS


@contextmanager
def _decrypted(path: Path, ask: Callable[[], str]) -> Iterator[BinaryIO]:
    """The plain bytes of a package in memory; Stop if the key does not fit, or the bytes are damaged."""
    if not path.is_file():
        raise Stop(f"{path} findes ikke")
    if not is_sealed(path):
        raise Stop(f"{path} er ingen krypteret pakke")
    key = secret((path.parent,)) if os.environ.get(NOEGLE) else ask().encode()
    if not key.strip():
        raise Stop(f"der skal en nøgle til at åbne pakken; sæt {NOEGLE} til en fil med den")
    with os.fdopen(os.memfd_create("pakke"), "w+b") as plain:
        try:
            _decrypt(path, key, plain)
        except (pyrage.DecryptError, OSError, ValueError) as error:
            why = "nøglen passer ikke" if str(error).startswith(OTHER_KEY) else "filen er beskadiget"
            raise Stop(f"{path.name} kan ikke åbnes: {why}; er nøglen rigtig, så hent pakken igen") from None
        plain.seek(0)
        yield plain


def identity(said: bytes) -> pyrage.x25519.Identity | pyrage.ssh.Identity | None:
    """The private key in some bytes; None where they are a passphrase. Stop if it is a key that cannot be read."""
    text = said.decode("utf-8", "replace").strip()
    line = next((one.strip() for one in text.splitlines() if one.startswith(PRIVATE[0])), "")
    try:
        if line:
            return pyrage.x25519.Identity.from_str(line)
        return pyrage.ssh.Identity.from_buffer(said) if text.startswith(PRIVATE[1]) else None
    except pyrage.IdentityError:
        raise Stop("nøglen kan ikke læses; en SSH-nøgle skal være uden adgangskode") from None


def _decrypt(path: Path, said: bytes, plain: BinaryIO) -> None:
    key = identity(said)
    if key is None:
        plain.write(pyrage.passphrase.decrypt(path.read_bytes(), said.decode("utf-8", "replace").strip()))
        return
    with path.open("rb") as sealed:
        pyrage.decrypt_io(sealed, plain, [key])


COPY = Warehouse(Path()).published


@contextmanager
def opened(path: Path, ask: Callable[[], str]) -> Iterator[Place]:
    """The place that a package is: its copy and its rules, for look-ups. `ask` asks for the key if none is named.

    The copy of a sealed package is in memory alone, so that no way of ending leaves it behind. The temporary folder
    holds the rules and a link. A folder is a package that has been unpacked.
    """
    if path.is_dir():
        yield _place(path)
        return
    with _decrypted(path, ask) as plain, tempfile.TemporaryDirectory(prefix="refusion-pakke-") as scratch, \
            os.fdopen(os.memfd_create("kopi"), "w+b") as copy:  # fmt: skip
        root = Path(scratch)
        with _tar(plain, path) as tar:
            rules = [member for member in tar if member.name.startswith("regler/")]
            tar.extractall(root, rules, filter="data")
            found = tar.extractfile(str(COPY))
            shutil.copyfileobj(found, copy, PIECE) if found else None
            copy.flush()
        link = root / COPY
        link.parent.mkdir()
        link.symlink_to(f"/proc/self/fd/{copy.fileno()}")
        yield _place(root)


@contextmanager
def _tar(plain: BinaryIO, path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(fileobj=plain, mode="r:") as tar:
            yield tar
    except (tarfile.TarError, KeyError):
        raise Stop(f"{path.name} er ikke en pakke fra refusion udlever") from None


def _place(root: Path) -> Place:
    """A folder with a copy and rules as a place, under the rules of its last run."""
    if not (root / COPY).exists():
        raise Stop(f"{root} er ingen pakke; der mangler {COPY}")
    with Warehouse(root).reading() as session:
        version = session.value("SELECT regelversion FROM refusion.beregnet")
    place = Place(root, root, kept=True)
    return Place(root, archive(place) / str(version), kept=True)


def unpack(path: Path, folder: Path, ask: Callable[[], str]) -> list[str]:
    """Write the files of a package in an empty folder, which only the owner can read; their names, sorted.

    A folder that is there stays the same one: it can be a disk of its own, or the one that the user stands in.
    """
    folder = folder.resolve()
    there = folder.is_dir()
    ready = folder / ".klar" if there else folder.with_name(f".{folder.name}.klar")
    shutil.rmtree(ready, ignore_errors=True)
    if folder.exists() and (not there or any(folder.iterdir())):
        raise Stop(f"{folder} er ikke tom; vælg en anden mappe med --til")
    ready.mkdir(mode=0o700, parents=True)
    try:
        with _decrypted(path, ask) as plain, _tar(plain, path) as tar:
            tar.extractall(ready, filter="data")
            names = sorted(tar.getnames())
        if there:
            folder.chmod(0o700)
            for part in sorted(ready.iterdir()):
                os.rename(part, folder / part.name)
        else:
            os.rename(ready, folder)
    finally:
        shutil.rmtree(ready, ignore_errors=True)
    return names
