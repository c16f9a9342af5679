"""The files of docs/service are what systemd and nginx accept, and the proxy lets nobody in without a login."""

import http.client
import shutil
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from refusion_assets.door import users
from tests.kit.data_root import RULES
from tests.kit.served import serving
from tests.kit.sftp import free_port
from tests.ui.conftest import Served

SERVICE = RULES.parent / "docs" / "service"
UNITS = ("refusion-code.service", "refusion-web.service", "refusion-daemon.service")
NAMED, NAME, SECRET = {"user": "refusion", "pass": "prøve"}, "refusion.example.dk", "hemmelig" * 5
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "cHJvZXZlIGFmIGJydWdlcg==",
    "Sec-WebSocket-Protocol": "graphql-ws",
}
SETTINGS = """
worker_processes 1;
error_log {folder}/error.log;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    include {folder}/refusion.conf;
}}
"""


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for name in UNITS:
        text = (SERVICE / name).read_text("utf-8").replace("/opt/refusion/.venv/bin", str(Path(sys.executable).parent))
        (tmp_path / name).write_text(text.replace("=refusion\n", "=root\n"), encoding="utf-8")
    told = subprocess.run(  # noqa: S603  a fixed command
        ["/usr/bin/systemd-analyze", "verify", *(str(tmp_path / name) for name in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    # It also reads the units of the machine itself, which may hold faults of their own.
    assert [line for line in told.stderr.splitlines() if "refusion-" in line] == []


@dataclass(frozen=True)
class Proxy:
    """nginx with the settings of docs/service in front of the user interface."""

    port: int
    behind: str

    def status(self, path: str, headers: dict[str, str]) -> int:
        """The status that a request is answered with."""
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE  # the certificate is this test's own
        asked = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=trusting)
        try:
            asked.request("GET", path, headers=headers)
            return asked.getresponse().status
        finally:
            asked.close()


def with_password(user: str, password: str) -> dict[str, str]:
    """The header of somebody who logs in."""
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}


@pytest.fixture
def proxy(served: Served, tmp_path: Path) -> Iterator[Proxy]:
    """The proxy with one user, a certificate of its own and a free port, before a door that believes it."""
    (tmp_path / "workspace.yaml").write_text("load_from: []\n", encoding="utf-8")
    (tmp_path / "secret.conf").write_text(f'proxy_set_header X-Refusion-Hemmelighed "{SECRET}";\n', encoding="utf-8")
    root = served.root.copy(tmp_path / "bag")
    users.file_of(root.path).write_text(f'["{NAMED["user"]}"]\nrolle = "laeser"\n', encoding="utf-8")
    environment = root.environment | {
        "REFUSION_UI": "https://refusion.example.dk",
        "REFUSION_UI_BRUGERHOVED": "X-Bruger",
        "REFUSION_UI_HEMMELIGHED": SECRET,
    }
    with serving(environment, tmp_path / "log", "--workspace", str(tmp_path / "workspace.yaml")) as address:
        yield from nginx_before(address, tmp_path)


def nginx_before(address: str, tmp_path: Path) -> Iterator[Proxy]:
    """Nginx as docs/service sets it, before an address."""
    nginx, openssl, port = shutil.which("nginx", path="/usr/sbin:/usr/bin"), "/usr/bin/openssl", free_port()
    assert nginx, "apt-get install nginx-light"
    key = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=refusion"]
    key += ["-keyout", f"{tmp_path}/refusion.key", "-out", f"{tmp_path}/refusion.crt"]
    subprocess.run(key, check=True, capture_output=True)  # noqa: S603
    hidden = subprocess.run(  # noqa: S603
        [openssl, "passwd", "-apr1", NAMED["pass"]], check=True, capture_output=True, text=True
    )
    (tmp_path / "brugere").write_text(f"{NAMED['user']}:{hidden.stdout}", encoding="utf-8")
    tmp_path.chmod(0o755)
    text = (SERVICE / "nginx.conf").read_text("utf-8")
    for said, here in {
        "listen 443": f"listen 127.0.0.1:{port}",
        "http://127.0.0.1:3000": address,
        "/etc/refusion/tls/": f"{tmp_path}/",
        "/etc/refusion/": f"{tmp_path}/",
    }.items():
        assert said in text
        text = text.replace(said, here)
    (tmp_path / "refusion.conf").write_text(text, encoding="utf-8")
    owner = "user root;\n"
    (tmp_path / "nginx.conf").write_text(owner + SETTINGS.format(folder=tmp_path), encoding="utf-8")
    server = subprocess.Popen([nginx, "-c", f"{tmp_path}/nginx.conf", "-g", "daemon off;"])  # noqa: S603
    try:
        while not (tmp_path / "pid").exists():
            assert server.poll() is None
            time.sleep(0.1)
        yield Proxy(port, address)
    finally:
        server.terminate()
        server.wait(30)


def test_the_proxy_asks_for_a_login_hands_it_over_and_carries_the_live_log_of_a_run(proxy: Proxy) -> None:
    own = {"Host": NAME, **with_password(NAMED["user"], NAMED["pass"])}
    assert proxy.status("/server_info", {"Host": NAME}) == 401
    assert proxy.status("/server_info", {"Host": NAME, **with_password(NAMED["user"], "gæt")}) == 401
    assert proxy.status("/server_info", own) == 200
    assert proxy.status("/server_info", {**own, "Host": "ond.example"}) == 400
    assert proxy.status("/graphql", UPGRADE) == 401
    assert proxy.status("/graphql", {**own, **UPGRADE, "Origin": f"https://{NAME}"}) == 101
    assert proxy.status("/graphql", {**own, **UPGRADE, "Origin": "https://ond.example"}) == 403


def test_a_name_without_the_secret_of_the_proxy_is_not_believed(proxy: Proxy) -> None:
    asked = http.client.HTTPConnection(proxy.behind.removeprefix("http://"), timeout=60)
    for secret, status in ((SECRET, 200), (SECRET[:-1], 401), ("", 401)):
        asked.request("GET", "/server_info", headers={"X-Bruger": NAMED["user"], "X-Refusion-Hemmelighed": secret})
        answer = asked.getresponse()
        assert (answer.read() and answer.status) == status
    asked.close()
