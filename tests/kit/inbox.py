"""Understands real receivers of alarms on loopback: a mail server with login, encryption and faults, and a webhook."""

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from tests.kit.data_root import DATA

CERTIFICATE = DATA / "tls" / "localhost.pem"
USER, PASSWORD = "drift", "hemmelig/kode@her?"


def tls() -> ssl.SSLContext:
    """The certificate of `localhost`, which no authority knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@dataclass
class Mail:
    """A mail server on loopback, the mail it took, and its faults: a recipient it refuses, seconds it waits, a cut."""

    letters: list[EmailMessage] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    refuses: str = ""
    waits: float = 0
    cuts: bool = False
    port: int = 0

    async def handle_RCPT(self, server: Any, _s: Session, envelope: Envelope, address: str, _o: list[str]) -> str:  # noqa: N802
        """Take a recipient, or not."""
        if self.cuts:
            server.transport.abort()
        if address == self.refuses:
            return "550 5.1.1 ukendt modtager"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take a mail."""
        await asyncio.sleep(self.waits)
        self.letters.append(cast("EmailMessage", message_from_bytes(envelope.content, policy=policy.default)))
        self.encrypted.append(session.ssl is not None)
        return "250 OK"


def _login(_server: Any, _session: Session, _envelope: Envelope, _mechanism: str, said: LoginPassword) -> AuthResult:
    """The one user with the one password."""
    return AuthResult(success=(said.login, said.password) == (USER.encode(), PASSWORD.encode()), handled=False)


@contextmanager
def mail_server(port: int = 0, *, login: bool = False, **faults: Any) -> Iterator[Mail]:
    """A mail server on loopback; with `login`, it takes mail only after STARTTLS and a password."""
    mail = Mail(port=port or free_port(), **faults)
    demands = {"tls_context": tls(), "authenticator": _login, "auth_required": True, "require_starttls": True}
    controller = Controller(mail, hostname="127.0.0.1", port=mail.port, **(demands if login else {}))
    controller.start()
    try:
        yield mail
    finally:
        controller.stop()


@dataclass
class Hook:
    """A receiver of webhooks on loopback, the calls it took, and the code and pause it answers with."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: int = 200
    waits: float = 0
    port: int = 0


@contextmanager
def webhook(port: int = 0, *, encrypted: bool = False, **faults: Any) -> Iterator[Hook]:
    """A receiver of webhooks on loopback."""
    hook = Hook(**faults)

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(hook.waits)
            if hook.answers < 300:
                hook.calls.append((self.path, body))
            self.send_response(hook.answers)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Answering)
    hook.port = server.server_address[1]
    if encrypted:
        server.socket = tls().wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()


def free_port() -> int:
    """A port on loopback that nobody listens to."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def write(root: Path, *receivers: str) -> Path:
    """The file of receivers in a data root; each is the lines of one entry."""
    path = root / "alarm.toml"
    path.write_text("".join(f"[[modtager]]\n{lines}\n" for lines in receivers), "utf-8")
    return path
