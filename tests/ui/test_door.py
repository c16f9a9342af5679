"""The door in a real browser: what another page tries while an operator is logged in, and what a reader sees."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
import pytest
from playwright.sync_api import Page

from refusion_assets.door import users
from tests.kit.served import answers
from tests.kit.sftp import free_port
from tests.ui.browser import Operator, log_in, logged_in, operator
from tests.ui.conftest import ANNA, BO, PASSWORD, Served
from tests.ui.test_pages import CUT, DESK, FAINT, PHONE

CHANGE = "mutation { setAutoMaterializePaused(paused: true) }"
STATE = "{ instance { autoMaterializePaused } }"
ANOTHER_NAME = "ond.test"
FETCHED = """([path, init]) => fetch(path, init).then(a => `${a.type} ${a.status}`, () => 'failed')"""
SOCKET = """url => new Promise(done => {
    const socket = new WebSocket(url, 'graphql-ws')
    socket.onopen = () => done('open')
    socket.onerror = () => done('failed')
})"""
FORM = """([action, type, name, value]) => new Promise(done => {
    const frame = document.body.appendChild(document.createElement('iframe'))
    frame.name = `f${Math.random()}`
    const form = document.body.appendChild(document.createElement('form'))
    Object.assign(form, {method: 'post', action, enctype: type, target: frame.name})
    form.append(Object.assign(document.createElement('input'), {name, value}))
    frame.onload = () => done('answered')
    form.submit()
    setTimeout(() => done('nothing'), 5000)
})"""
PICTURE = """url => new Promise(done => {
    const image = Object.assign(new Image(), {onload: () => done('loaded'), onerror: () => done('failed'), src: url})
    document.body.append(image)
})"""


@dataclass(frozen=True)
class Attack:
    """A page of another origin, opened beside the operator's own in the same browser."""

    page: Page
    own: Page
    target: str

    def paused(self) -> bool:
        """Whether the change has been made, as the operator's own page reads it."""
        said = self.own.evaluate(
            """query => fetch('/graphql', {method: 'POST', headers: {'Content-Type': 'application/json'},
               body: JSON.stringify({query})}).then(a => a.json())""",
            STATE,
        )
        return bool(said["data"]["instance"]["autoMaterializePaused"])


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a page that is not ours."""
    folder = tmp_path_factory.mktemp("ond")
    (folder / "index.html").write_text("<!doctype html><title>x</title><body>", encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.fixture(scope="module")
def victim(served: Served) -> Iterator[Operator]:
    """An operator whose browser takes a foreign name for this machine, as after a rebinding of names."""
    rules = f"--host-resolver-rules=MAP {ANOTHER_NAME} 127.0.0.1"
    with operator(served.address, ANNA, PASSWORD, rules) as made:
        yield made


@pytest.fixture(params=["127.0.0.1", ANOTHER_NAME])
def attack(victim: Operator, elsewhere: int, request: pytest.FixtureRequest) -> Iterator[Attack]:
    """A foreign page, of another port of the same name and of another name."""
    page = victim.page.context.new_page()
    page.goto(f"http://{request.param}:{elsewhere}/")
    made = Attack(page, victim.page, victim.address)
    yield made
    page.close()
    assert not made.paused()


def test_the_operators_own_page_can_do_what_the_foreign_one_tries(victim: Operator) -> None:
    own = Attack(victim.page, victim.page, victim.address)
    json_of = {"method": "POST", "headers": {"Content-Type": "application/json"}}
    for value, said in (("true", True), ("false", False)):
        body = json.dumps({"query": CHANGE.replace("true", value)})
        assert victim.page.evaluate(FETCHED, ["/graphql", {**json_of, "body": body}]) == "basic 200"
        assert own.paused() is said
    assert victim.page.evaluate(SOCKET, f"{victim.address.replace('http', 'ws')}/graphql") == "open"
    assert victim.page.evaluate(PICTURE, f"{victim.address}/favicon.png") == "loaded"


def test_a_foreign_page_fetches_and_posts_nothing(attack: Attack) -> None:
    address, body = f"{attack.target}/graphql", json.dumps({"query": CHANGE})
    ways: list[tuple[str, dict[str, Any]]] = [
        (address, {"method": "POST", "body": body, "headers": {"Content-Type": "application/json"}}),
        (address, {"method": "POST", "body": body, "mode": "no-cors"}),
        (f"{address}?query={quote(CHANGE)}", {"method": "POST", "mode": "no-cors"}),
        (f"{address}?query={quote(CHANGE)}", {"mode": "no-cors"}),
        (f"{attack.target}/server_info", {}),
        (f"{attack.target}/log-ud", {"method": "POST", "mode": "no-cors"}),
    ]
    for url, init in ways:
        said = attack.page.evaluate(FETCHED, [url, {**init, "credentials": "include"}])
        assert said in ("failed", "opaque 0"), (url, init)


def test_a_form_of_a_foreign_page_changes_nothing(attack: Attack) -> None:
    smuggled = '{"query": "' + CHANGE + '", "a": "'
    for kind, name, value in (
        ("application/x-www-form-urlencoded", "query", CHANGE),
        ("multipart/form-data", "query", CHANGE),
        ("text/plain", smuggled, '"}'),
    ):
        for url in (f"{attack.target}/graphql", f"{attack.target}/graphql?query={quote(CHANGE)}"):
            attack.page.evaluate(FORM, [url, kind, name, value])
            assert not attack.paused(), (kind, url)


def test_a_picture_a_websocket_and_a_frame_of_a_foreign_page_get_nothing(attack: Attack) -> None:
    for path in (f"graphql?query={quote(CHANGE)}", "favicon.png"):
        assert attack.page.evaluate(PICTURE, f"{attack.target}/{path}") == "failed"
    assert attack.page.evaluate(SOCKET, f"{attack.target.replace('http', 'ws')}/graphql") == "failed"
    attack.page.set_content(f'<iframe src="{attack.target}/runs"></iframe>')
    attack.page.wait_for_timeout(1000)
    assert "Ydelsesrefusion" not in attack.page.frames[1].content()
    assert attack.page.frames[1].locator("#root").count() == 0


def test_a_foreign_name_for_this_machine_is_refused(victim: Operator) -> None:
    page = victim.page.context.new_page()
    port = urlsplit(victim.address).port
    for path in ("", "log-ind", "graphql?query={version}", "sundhed"):
        answer = page.goto(f"http://{ANOTHER_NAME}:{port}/{path}")
        assert answer is not None
        assert answer.status == 400
    page.close()


def test_a_link_from_elsewhere_opens_the_page_without_a_new_login(victim: Operator, elsewhere: int) -> None:
    page = victim.page.context.new_page()
    page.goto(f"http://{ANOTHER_NAME}:{elsewhere}/")
    page.set_content(f'<a href="{victim.address}/runs">kørsler</a>')
    page.get_by_text("kørsler").click()
    page.wait_for_url(f"{victim.address}/runs**")
    page.locator("a[href^='/overview'], a[href^='/runs']").first.wait_for()
    page.close()


def test_a_reader_sees_all_and_can_turn_nothing_on_or_off(served: Served, victim: Operator) -> None:
    browser = victim.page.context.browser
    assert browser is not None
    reader = logged_in(browser, served.address, BO, PASSWORD)
    reader.open("Automation", "opgoer_efter_beregning")
    reader.page.locator("label:has(input[type=checkbox]:disabled)").first.wait_for()
    assert reader.page.locator("input[type=checkbox]:enabled").count() == 0
    body = json.dumps({"query": CHANGE})
    init = {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": body}
    assert reader.page.evaluate(FETCHED, ["/graphql", init]) == "basic 403"
    reader.page.goto(f"{served.address}/log-ud")
    reader.page.get_by_role("button", name="Log ud").click()
    reader.page.get_by_label("Brugernavn").wait_for()
    reader.page.context.close()
    noted = [json.loads(line) for line in (served.root.path / "dagster" / users.LOG).read_text("utf-8").splitlines()]
    assert [line["hvad"] for line in noted if line["bruger"] == BO] == ["log ind", "afvist ændring", "log ud"]


@pytest.mark.parametrize("wide", [PHONE, DESK])
def test_the_login_is_whole_and_clear_and_says_what_is_wrong(served: Served, victim: Operator, wide: int) -> None:
    browser = victim.page.context.browser
    assert browser is not None
    page = browser.new_page(viewport={"width": wide, "height": 800})
    said: list[str] = []
    page.on("request", lambda asked: said.append(asked.url))
    log_in(page, served.address, "carl", "ikke den rigtige")
    page.get_by_role("alert").wait_for()
    assert page.evaluate(CUT) == []
    assert page.evaluate(FAINT) == []
    assert page.evaluate("document.documentElement.lang") == "da"
    assert [url for url in said if not url.startswith(served.address)] == []
    page.keyboard.type("anna")
    assert page.get_by_label("Brugernavn").input_value() == "anna"
    page.close()


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_the_server_its_children_end_too(served: Served, tmp_path: Path, by: signal.Signals) -> None:
    root, port = served.root.copy(tmp_path), free_port()
    server = subprocess.Popen(  # noqa: S603  our own command
        [str(Path(sys.executable).with_name("refusion")), "ui", "--port", str(port)],
        env=root.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not answers(f"http://127.0.0.1:{port}"):
            assert server.poll() is None
            time.sleep(0.5)
        children = psutil.Process(server.pid).children(recursive=True)
        assert len(children) >= 3
        os.kill(server.pid, by)
        assert server.wait(60) == (-by if by == signal.SIGKILL else 0)
        # A code server looks every half minute whether somebody still asks it.
        _, alive = psutil.wait_procs(children, timeout=120)
        assert alive == []
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
