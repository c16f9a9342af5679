"""Understands a cluster of real processes on this machine, with certificates made for it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from refusion_assets.cluster.workers import KLYNGE
from tests.kit.data_root import REPO

SETTINGS = REPO / "docs" / "service" / "klynge.env"
Signed = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _signed(name: str, by: Signed | None) -> Signed:
    """A certificate and its key, signed by an authority; without one, an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(by[0].subject if by else named)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    return builder.sign(by[1] if by else key, hashes.SHA256()), key


def certificates(folder: Path) -> dict[str, str]:
    """An authority of its own and a certificate by it, in files; what docs/service/klynge.env sets, with them."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = _signed("klyngens udsteder", None)
    own, key = _signed("klyngens led", authority)
    pem = serialization.Encoding.PEM
    (folder / "udsteder.pem").write_bytes(authority[0].public_bytes(pem))
    (folder / "led.pem").write_bytes(own.public_bytes(pem))
    plain = (pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "led.key").write_bytes(key.private_bytes(*plain))
    lines = SETTINGS.read_text("utf-8").replace("/etc/refusion/klynge", str(folder)).splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Cluster:
    """A scheduler and its workers; `environment` is what a command needs to use them."""

    folder: Path
    secrets: dict[str, str]
    port: int = field(default_factory=free_port)
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    scheduler: "subprocess.Popen[bytes] | None" = None

    @property
    def address(self) -> str:
        """Where the scheduler listens."""
        return f"tls://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a command that uses the cluster."""
        return {**self.secrets, KLYNGE: self.address}

    def _dask(self, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "dask", *arguments, "--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
                env=os.environ | self.secrets, cwd=REPO, stdout=log, stderr=log,
            )  # fmt: skip

    def begin(self, workers: int) -> None:
        """Start the scheduler and so many workers; nobody is waited for."""
        self.scheduler = self._dask("scheduler", "--host", self.address, "--port", str(self.port))
        for _ in range(workers):
            self.join()

    def join(self, *more: str) -> None:
        """Start another worker."""
        own = ("--no-nanny", "--nthreads", "1", "--memory-limit", "0", "--host", "127.0.0.1", "--death-timeout", "30")
        loaded = ("--preload", "refusion_assets.cluster.workers")
        self.workers.append(
            self._dask("worker", self.address, *own, "--local-directory", str(self.folder), *loaded, *more)
        )

    def lose(self, number: int) -> None:
        """Kill a worker in the middle of what it does."""
        self.workers.pop(number % len(self.workers)).send_signal(signal.SIGKILL)

    def end(self) -> None:
        """Kill all that is left."""
        for process in (*self.workers, *([self.scheduler] if self.scheduler else [])):
            process.kill()
            process.wait()


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    """A cluster with certificates of its own, until the end of the block."""
    made = Cluster(folder, certificates(folder / "certifikater"))
    made.begin(workers)
    try:
        yield made
    finally:
        made.end()
