"""Understands a real OpenSSH server on loopback that plays Serviceplatformen, and its faults.

The platform takes `OUT/x` when `OUT/x.trigger` is there, gives the receiver `x` and `x.metadata`, and the sender
`IN/x.sftpreceipt`. It is written from the published facts and shares nothing with the product.
"""

import getpass
import hashlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import pytest

SSHD, KEYGEN = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin"), shutil.which("ssh-keygen")
NS = "http://serviceplatformen.dk/xml/wsdl/soap11/SFTP/1/types"
needs_sshd = pytest.mark.skipif(not (SSHD and KEYGEN), reason="OpenSSH's server er ikke installeret (openssh-server)")
CONFIG = """Port {port}
ListenAddress 127.0.0.1
HostKey {base}/vaert
AuthorizedKeysFile {base}/godkendte
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 200
LogLevel ERROR
Subsystem sftp internal-sftp
ForceCommand internal-sftp -d {home}{more}
"""

SECONDS_TO_WRITE = 1.0


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def make_key(path: Path, code: str = "") -> Path:
    """A new key pair at a path."""
    command = [str(KEYGEN), "-q", "-t", "ed25519", "-N", code, "-C", "", "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    return path


@dataclass
class Transfer:
    """A file that the platform has given a receiver."""

    modtager: str
    fil: str
    sha256: str
    senders_file_id: str


@dataclass
class Platform:
    """The platform's loop over the sender's folder; its faults can be set at any time.

    `quiet`: it gives no receipts. `errors`: the code and text that it answers a file with. `holding`: it takes nothing.
    """

    home: Path
    given: list[Transfer] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    errors: dict[str, tuple[int, str]] = field(default_factory=dict)
    quiet: bool = False
    holding: bool = False
    _seen: set[str] = field(default_factory=set)
    _taking: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def inbox(self, modtager: str) -> Path:
        """The folder that a receiver reads."""
        folder = self.home.parent / "modtagere" / modtager / "IN"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def loop(self) -> None:
        """Take triggers until it is stopped."""
        while not self._stop.wait(0.02):
            if not self.holding:
                self.step()

    def triggers(self) -> list[Path]:
        """The triggers that are there."""
        return [path for path in sorted((self.home / "OUT").glob("*.trigger")) if not path.name.startswith(".")]

    def step(self) -> None:
        """Take the triggers that are there."""
        with self._taking:
            for path in self.triggers():
                self._take(path)

    def _take(self, path: Path) -> None:
        name = path.name.removesuffix(".trigger")
        try:
            told = ET.fromstring(path.read_bytes())  # noqa: S314  our own test
            wrong = self._wrong(name, told)
        except ET.ParseError:
            if time.time() - path.stat().st_mtime < SECONDS_TO_WRITE:
                return  # a server that lets nothing be renamed has the trigger while it is written
            told, wrong = ET.Element("x"), (1, "triggeren er ikke XML")
        own = told.findtext("FileDescriptor/SendersFileId", "")
        path.unlink()
        if wrong:
            self.refused.append((name, wrong[1]))
            code, text = wrong
            body = f"<ErrorMessage><ErrorCode>{code}</ErrorCode><ErrorCodeDescription>FEJL</ErrorCodeDescription>"
            self.answer(name, own, f"{body}<ErrorDescription>{escape(text)}</ErrorDescription></ErrorMessage>")
            return
        self._seen.add(own)
        data = (self.home / "OUT" / name).read_bytes()
        (self.home / "OUT" / name).unlink()
        taken = []
        for one in told.findall("FileDescriptor/Recipients"):
            modtager = str(one.text)
            if modtager == "ROUTING_V1_0_0":
                modtager = told.findtext("FileContentDescriptor/SFTPDynamicRoutingInfo/RecipientAuthority", "?")
                modtager = modtager.rpartition(":")[2]
            (self.inbox(modtager) / name).write_bytes(data)
            (self.inbox(modtager) / f"{name}.metadata").write_text("<FileMetadata/>")
            taken.append(Transfer(modtager, name, hashlib.sha256(data).hexdigest(), own))
        self.answer(name, own, "<Receipt><Message>SUCCESS</Message></Receipt>")
        self.given += taken

    def _wrong(self, name: str, told: ET.Element) -> tuple[int, str] | None:
        """Why a trigger is refused: code and text."""
        path = self.home / "OUT" / name
        said = told.find("FileDescriptor")
        if told.tag != f"{{{NS}}}Trigger" or said is None or told.find("FileContentDescriptor") is None:
            return 2, "triggeren har en anden form"
        order = [part.tag for part in said]
        if order[:4] != ["FileName", "SizeInBytes", "Sender", "SendersFileId"] or set(order[4:]) != {"Recipients"}:
            return 2, f"triggeren har en anden form: {order}"
        if said.findtext("FileName") != name or not path.exists():
            return 3, "filen er der ikke"
        if int(said.findtext("SizeInBytes", "-1")) != path.stat().st_size:
            return 4, "filen har en anden størrelse"
        if said.findtext("SendersFileId") in self._seen:
            return 5, "filen er modtaget før"
        return self.errors.get(name)

    def answer(self, name: str, own: str, body: str, root: str = "TechnicalReceipt") -> None:
        """Lay a receipt in the sender's folder."""
        if self.quiet:
            return
        senders = f"<SendersFileId>{own}</SendersFileId>" if own else ""
        xml = f'<s:{root} xmlns:s="{NS}"><FileTransferUUID>{uuid4()}</FileTransferUUID>{senders}{body}</s:{root}>'
        self.lay(name, xml.encode())

    def lay(self, name: str, data: bytes) -> None:
        """Lay bytes as the receipt of a file."""
        ready = self.home / "IN" / f".{name}"
        ready.write_bytes(data)
        ready.rename(self.home / "IN" / f"{name}.sftpreceipt")

    def settled(self, files: int, seconds: float = 20) -> None:
        """Wait until so many files have been given to receivers, and every trigger has its answer."""
        end = time.monotonic() + seconds
        while True:
            with self._taking:
                if len(self.given) >= files and not self.triggers():
                    return
            assert time.monotonic() < end, (len(self.given), self.refused)
            time.sleep(0.02)


@dataclass
class Server:
    """A server that runs: its port, its keys, and the platform behind it."""

    base: Path
    port: int
    platform: Platform
    known: Path
    key: Path

    @property
    def out(self) -> Path:
        """The folder that we send to."""
        return self.platform.home / "OUT"

    @property
    def inn(self) -> Path:
        """The folder that receipts come in."""
        return self.platform.home / "IN"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the command."""
        return {"REFUSION_SFTP_KENDTE": str(self.known), "REFUSION_SFTP_NOEGLE": str(self.key)}

    def know(self, port: int) -> None:
        """The server's key is known at another port too, that of a proxy."""
        kind, key, *_ = (self.base / "vaert.pub").read_text("utf-8").split()
        with self.known.open("a") as known:
            known.write(f"[127.0.0.1]:{port} {kind} {key}\n")


@contextmanager
def sftp_server(base: Path, *, renames: bool = True, most_bytes: int | None = None) -> Iterator[Server]:
    """A server on loopback with keys of its own, ended when the block ends.

    `renames`: it lets files be renamed. `most_bytes`: no file there can be larger, as on a full disk.
    """
    base.mkdir(parents=True, exist_ok=True)
    home, port = base / "hjem", free_port()
    for name in ("OUT", "IN"):
        (home / name).mkdir(parents=True)
    make_key(base / "vaert")
    key = make_key(base / "noegle")
    shutil.copyfile(base / "noegle.pub", base / "godkendte")
    more = "" if renames else " -P posix-rename,rename"
    (base / "sshd.conf").write_text(CONFIG.format(port=port, base=base, home=home, more=more))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)

    def limited() -> None:
        if most_bytes is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    command = [str(SSHD), "-D", "-e", "-f", str(base / "sshd.conf")]
    with (base / "sshd.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log, preexec_fn=limited)  # noqa: S603, PLW1509
    server = Server(base, port, Platform(home), base / "kendte", key)
    server.know(port)
    thread = threading.Thread(target=server.platform.loop, daemon=True)
    try:
        _answering(port, process, base / "sshd.log")
        thread.start()
        yield server
    finally:
        server.platform._stop.set()
        process.terminate()
        process.wait(10)


def _answering(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 10
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, "sshd svarer ikke"
        time.sleep(0.02)


@contextmanager
def cutting(server: Server, after: Sequence[int]) -> Iterator[int]:
    """A port that leads to the server, and cuts the first connections after so many bytes from us; the rest live."""
    left = list(after)
    listening = socket.create_server(("127.0.0.1", 0))
    port = int(listening.getsockname()[1])
    server.know(port)
    stop = threading.Event()

    def pump(source: socket.socket, target: socket.socket, most: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(65536):
                if most is not None and passed + len(data) > most:
                    target.sendall(data[: most - passed])
                    break
                passed += len(data)
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        while not stop.is_set():
            try:
                near, _ = listening.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", server.port))
            most = left.pop(0) if left else None
            threading.Thread(target=pump, args=(near, far, most), daemon=True).start()
            threading.Thread(target=pump, args=(far, near, None), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield port
    finally:
        stop.set()
        listening.close()


USER = getpass.getuser()


def levering_toml(port: int, koder: Sequence[str], **more: str) -> str:
    """A levering.toml with one receiver for each code, by simple transfer; `more`: keys of the sender, as written."""
    lines = [f'[[afsender]]\nvaert = "127.0.0.1"\nport = {port}\nbruger = "{USER}"\n']
    lines += [f"{name} = {value}\n" for name, value in more.items()]
    for kode in koder:
        lines.append(
            f'\n[[modtager]]\nkommunekode = "{kode}"\ncvr = "{int(kode):08}"\nkanal = "sp-simpel"\n'
            f'modtager = "K{kode}"\nfiler = ["beregning", "advisering"]\n'
        )
    return "".join(lines)
