"""Understands the way to a receiver: keys and connection of SFTP, a folder, and why a file gets no further."""

import asyncio
import hashlib
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import asyncssh

from refusion_assets.domain.levering import Fil, Modtager
from refusion_assets.domain.stop import Stop, of_the_disk
from refusion_assets.levering.trigger import MOST_BYTES, TRIGGER, Refused, id_of

KNOWN, KEY, CODE = "REFUSION_SFTP_KENDTE", "REFUSION_SFTP_NOEGLE", "REFUSION_SFTP_NOEGLE_KODE"
SECONDS_TO_CONNECT, SECONDS_OF_SILENCE = 20.0, 20.0
# So long a server may leave a request unanswered while its host still answers; large pieces may lie before it.
SECONDS_OF_STANDSTILL = 120.0
PIECE = 1 << 20
HIDDEN = ".{}.undervejs"
# No answer of the server: the connection is gone.
CUT = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection)
RENAME_REFUSED = (asyncssh.SFTPOpUnsupported, asyncssh.SFTPPermissionDenied, asyncssh.SFTPFailure)


@dataclass(frozen=True)
class Endpoint:
    """A server and the user there: one connection."""

    vaert: str
    port: int
    bruger: str

    @classmethod
    def of(cls, one: Modtager) -> "Endpoint":
        """The endpoint of a receiver."""
        return cls(one.vaert, one.port, one.bruger)

    def __str__(self) -> str:
        """The endpoint for people."""
        return f"{self.bruger}@{self.vaert}" + (f":{self.port}" if self.port != asyncssh.DEFAULT_PORT else "")


@dataclass(frozen=True)
class Keys:
    """Our key, and the file of the servers' keys; nobody else is trusted."""

    ours: Any
    known: Path

    @classmethod
    def from_environment(cls, root: Path) -> "Keys":
        """The keys that the environment names; Stop if one is missing, lies in the data root, or is read by others."""
        known, ours = _file(KNOWN, root), _file(KEY, root)
        if stat.S_IMODE(ours.stat().st_mode) & 0o077:
            raise Stop(f"{KEY}: {ours} kan læses af andre; skriv chmod 600 {ours}")
        try:
            key = asyncssh.read_private_key(str(ours), os.environ.get(CODE) or None)
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
            raise Stop(f"{KEY}: {ours} {_unusable(str(error))}") from None
        if stat.S_IMODE(known.stat().st_mode) & 0o022:
            raise Stop(f"{KNOWN}: {known} kan ændres af andre; skriv chmod 644 {known}")
        try:
            asyncssh.read_known_hosts(str(known))
        except ValueError:
            raise Stop(f"{KNOWN}: {known} kan ikke læses som OpenSSH's known_hosts") from None
        return cls(key, known)


def _unusable(said: str) -> str:
    """Why a private key cannot be used, by the words of the library."""
    if "must be specified" in said:
        return f"er låst med en kode; sæt {CODE}"
    wrong = "decrypt" in said or "Incorrect passphrase" in said
    return f"er låst, og {CODE} er ikke dens kode" if wrong else "er ingen privat nøgle i OpenSSH's form"


def _file(variable: str, root: Path) -> Path:
    """The file that a variable names; Stop if it is not set, not there, or lies in the data root."""
    said = os.environ.get(variable, "")
    if not said:
        raise Stop(f"{variable} er ikke sat; docs/levering.md siger, hvilken fil den nævner")
    path = Path(said).expanduser().resolve()
    if not path.is_file() or not os.access(path, os.R_OK):
        raise Stop(f"{variable}: {path} findes ikke, eller den må ikke læses")
    if path.is_relative_to(root.resolve()):
        raise Stop(f"{variable}: {path} ligger i dataroden; flyt den et andet sted hen")
    return path


@dataclass(frozen=True)
class Far:
    """A server that is connected."""

    sftp: asyncssh.SFTPClient

    async def names(self, folder: str) -> set[str]:
        """The names in a folder on the server; Refused if there is no such folder, or it may not be read."""
        try:
            return set(await self.sftp.listdir(folder))
        except asyncssh.SFTPNoSuchFile:
            raise Refused(f"mappen {folder} findes ikke på serveren") from None
        except asyncssh.SFTPPermissionDenied:
            raise Refused(f"mappen {folder} må ikke læses på serveren") from None

    async def content(self, path: str, most: int) -> bytes | None:
        """The bytes of a file on the server; None if it is gone, or has more than `most`."""
        try:
            size = (await self.sftp.stat(path)).size
            if size is None or size > most:
                return None
            async with self.sftp.open(path, "rb") as file:
                data: bytes = await file.read(most + 1)
        except asyncssh.SFTPNoSuchFile:
            return None
        return data if len(data) <= most else None

    async def answer(self, path: str) -> bytes | None:
        """The bytes of a receipt; None if it is gone, too large, or cannot be read: one holds no others up."""
        try:
            return await self.content(path, MOST_BYTES)
        except CUT:
            raise
        except asyncssh.SFTPError:
            return None

    async def pending(self, folder: str, name: str) -> str | None:
        """The id in the trigger of a file that the platform has not taken yet; None if there is none."""
        try:
            data = await self.content(f"{folder}/{name}{TRIGGER}", MOST_BYTES)
        except CUT:
            raise
        except asyncssh.SFTPError:
            raise Refused(f"{name}{TRIGGER} på serveren kan ikke læses; se på den dér") from None
        return None if data is None else id_of(data)

    async def lies_there(self, folder: str, fil: Fil) -> bool:
        """True if a file on the server has the size and the content of ours."""
        path, summed = f"{folder}/{fil.fil}", hashlib.sha256()
        try:
            if (await self.sftp.stat(path)).size != fil.stoerrelse:
                return False
            async with self.sftp.open(path, "rb") as file:
                while piece := await file.read(PIECE):
                    summed.update(piece)  # type: ignore[arg-type]  # a file opened as bytes gives bytes
        except asyncssh.SFTPNoSuchFile:
            return False
        return summed.hexdigest() == fil.sha256

    async def put(self, folder: str, fil: Fil, source: BinaryIO) -> None:
        """Put a file in a folder under its name, whole; Refused if it is not the one that SHA256SUMS lists.

        It is written under another name first, and only then given its own.
        """
        ready, final = f"{folder}/{HIDDEN.format(fil.fil)}", f"{folder}/{fil.fil}"
        await self._whole(ready, fil, source)
        try:
            await self.sftp.posix_rename(ready, final)
        except RENAME_REFUSED:
            # Nobody takes a file before its trigger is there, so it can also be written under its own name.
            source.seek(0)
            await self._whole(final, fil, source)
            with suppress(asyncssh.SFTPError):
                await self.sftp.remove(ready)

    async def _whole(self, path: str, fil: Fil, source: BinaryIO) -> None:
        """Write a file and prove what was sent and what has arrived; what is not right is removed."""
        summed, written = hashlib.sha256(), 0
        try:
            async with self.sftp.open(path, "wb") as file:
                while piece := await asyncio.to_thread(source.read, PIECE):
                    summed.update(piece)
                    written += len(piece)
                    await file.write(piece)
            size = (await self.sftp.stat(path)).size
        except CUT:
            raise
        except asyncssh.SFTPError as error:
            with suppress(asyncssh.SFTPError, OSError):
                await self.sftp.remove(path)
            raise Refused(await self._why_not(error, path, fil.stoerrelse)) from None
        if size == fil.stoerrelse == written and summed.hexdigest() == fil.sha256:
            return
        with suppress(asyncssh.SFTPError):
            await self.sftp.remove(path)
        if size != written:
            raise Refused(f"{fil.fil} kom ikke helt frem: {size} af {written} byte; er serverens disk fuld?")
        raise Refused(f"{fil.fil} er ikke den, SHA256SUMS nævner; er måneden ved at blive kørt igen?")

    async def _why_not(self, error: asyncssh.SFTPError, path: str, size: int) -> str:
        """Why the server did not take a file; OpenSSH says the same of a full disk as of anything else."""
        folder = path.rpartition("/")[0] or "."
        if isinstance(error, asyncssh.SFTPNoSuchFile):
            return f"mappen {folder} findes ikke på serveren"
        if isinstance(error, asyncssh.SFTPPermissionDenied):
            return f"vi må ikke skrive i mappen {folder} på serveren"
        with suppress(asyncssh.SFTPError, OSError):
            room = await self.sftp.statvfs(folder)
            if room.bavail * room.frsize < size:
                return "disken på serveren er fuld; bed modtagerens drift om plads"
        return "serveren ville ikke tage hele filen; er dens disk fuld, eller er kvoten brugt?"

    async def ready(self, folder: str, name: str, xml: bytes) -> None:
        """Put the trigger of a file beside it under a name that nobody takes; `send` gives it its own."""
        path = f"{folder}/{HIDDEN.format(name + TRIGGER)}"
        try:
            await self._small(path, xml)
        except CUT:
            raise
        except asyncssh.SFTPError as error:
            raise Refused(await self._why_not(error, path, len(xml))) from None

    async def is_ready(self, folder: str, name: str) -> bool:
        """True if a trigger lies there that was made ready and has not got its name."""
        return bool(await self.sftp.exists(f"{folder}/{HIDDEN.format(name + TRIGGER)}"))

    async def send(self, folder: str, name: str, xml: bytes) -> None:
        """Give the trigger that is ready its name in one step; from then on the platform may take file and trigger."""
        ready, final = f"{folder}/{HIDDEN.format(name + TRIGGER)}", f"{folder}/{name}{TRIGGER}"
        try:
            try:
                await self.sftp.posix_rename(ready, final)
            except RENAME_REFUSED:
                await self._small(final, xml)
                with suppress(asyncssh.SFTPError):
                    await self.sftp.remove(ready)
        except CUT:
            raise
        except asyncssh.SFTPError as error:
            raise Refused(await self._why_not(error, final, len(xml))) from None

    async def _small(self, path: str, data: bytes) -> None:
        async with self.sftp.open(path, "wb") as file:
            await file.write(data)

    async def remove(self, path: str) -> None:
        """Remove a file on the server, if the server lets us."""
        with suppress(asyncssh.SFTPError):
            await self.sftp.remove(path)


@asynccontextmanager
async def connected(to: Endpoint, keys: Keys) -> AsyncIterator[Far]:
    """A connection to a server whose key is known; no other way in than our key, and nobody is trusted at sight."""
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
    async with asyncssh.connect(
        to.vaert,
        to.port,
        username=to.bruger,
        known_hosts=str(keys.known),
        client_keys=[keys.ours],
        agent_path=None,
        config=None,
        preferred_auth="publickey",
        connect_timeout=SECONDS_TO_CONNECT,
        login_timeout=SECONDS_TO_CONNECT,
        keepalive_interval=SECONDS_OF_SILENCE / 2,
        keepalive_count_max=2,
    ) as connection:
        async with asyncio.timeout(SECONDS_TO_CONNECT):
            client = await connection.start_sftp_client()
        pulse = asyncio.create_task(_cut_at_standstill(connection, client))
        try:
            async with client as sftp:
                yield Far(sftp)
        finally:
            pulse.cancel()


async def _cut_at_standstill(connection: asyncssh.SSHClientConnection, sftp: asyncssh.SFTPClient) -> None:
    """Cut a connection whose server answers as a host, but no longer as SFTP, as where its disk hangs."""
    answers = True
    while answers:
        await asyncio.sleep(SECONDS_OF_STANDSTILL / 4)
        try:
            async with asyncio.timeout(SECONDS_OF_STANDSTILL):
                await sftp.realpath(".")
        except (TimeoutError, *CUT):
            answers = False
        except asyncssh.SFTPError:
            pass  # a refusal is an answer too
    connection.abort()


# The kinds of error, the first that fits first: the sentence, and if another attempt is worth it.
REASONS: tuple[tuple[tuple[type[BaseException], ...], str, bool], ...] = (
    ((asyncssh.HostKeyNotVerifiable,),
     f"værtsnøglen fra {{vaert}} er ikke den, vi kender; spørg serverens drift, før {KNOWN} rettes", False),
    ((asyncssh.PermissionDenied,),
     "{vaert} tager ikke imod vores nøgle for brugeren {bruger}; er den offentlige nøgle lagt ind?", False),
    ((socket.gaierror,), "serverens navn {vaert} kendes ikke; ret vaert i levering.toml", False),
    ((TimeoutError,), "{vaert} svarede ikke i tide", True),
    ((ConnectionRefusedError,), "der er ingen SFTP-server på {vaert}, port {port}", True),
    ((*CUT, asyncssh.DisconnectError, OSError),
     "forbindelsen til {vaert} blev afbrudt", True),
    ((asyncssh.Error,), "serveren {vaert} afviste det ({kind})", False),
)  # fmt: skip


def reason(error: BaseException, to: Endpoint) -> tuple[str, bool]:
    """Why a server cannot be reached, in one Danish sentence, and if another attempt is worth it."""
    for kinds, sentence, again in REASONS:
        if isinstance(error, kinds):
            return sentence.format(vaert=to.vaert, port=to.port, bruger=to.bruger, kind=type(error).__name__), again
    raise error


def copied(folder: Path, fil: Fil, source: BinaryIO) -> None:
    """A file laid in a folder, whole and safe on its disk before it has its name; Refused if it cannot be."""
    if not folder.is_dir():
        raise Refused(f"mappen {folder} findes ikke; er drevet koblet til?")
    ready = folder / HIDDEN.format(fil.fil)
    try:
        with ready.open("wb") as target:
            while piece := source.read(PIECE):
                target.write(piece)
            # The readers of the receiver's folder may read the file.
            os.fchmod(target.fileno(), 0o600 | folder.stat().st_mode & 0o044)
            target.flush()
            os.fsync(target.fileno())
        with ready.open("rb") as target:
            if hashlib.file_digest(target, "sha256").hexdigest() != fil.sha256:
                raise Refused(f"{fil.fil} er ikke den, SHA256SUMS nævner; er måneden ved at blive kørt igen?")
        os.replace(ready, folder / fil.fil)
        where = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(where)
        finally:
            os.close(where)
    except OSError as error:
        raise Refused(of_the_disk(error) or f"mappen {folder} tager ikke imod filen ({error.strerror})") from None
    finally:
        ready.unlink(missing_ok=True)


def laid(folder: Path, fil: Fil) -> bool:
    """True if a file lies in a folder on a drive with its hash."""
    path = folder / fil.fil
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == fil.sha256
    except OSError:
        return False
