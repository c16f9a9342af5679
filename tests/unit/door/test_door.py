"""The door of the user interface: nobody in without a login, no other page reaches in, a reader changes nothing."""

import json
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from refusion_assets.cli import main
from refusion_assets.domain.stop import Stop
from refusion_assets.door import users
from refusion_assets.door.entry import HOURS, Door, application, door_of
from refusion_assets.door.serve import LAUNCHED_BY, Webserver, _tagged

PORT, OWN, FOREIGN = 3000, "http://127.0.0.1:3000", "http://127.0.0.1:4000"
PASSWORD = "en lang sætning"  # noqa: S105  made up
WRITE = {"Origin": OWN, "Sec-Fetch-Site": "same-origin"}
CHANGE = "mutation { setNuxSeen }"
CHANGES = [
    CHANGE,
    "query A { __typename } mutation B { setNuxSeen }",
    "mutation { ...F } fragment F on Mutation { setNuxSeen }",
    "mutation { a: setNuxSeen b: setNuxSeen }",
]
LOOK = "{ __typename }"
SOCKET = "ws://127.0.0.1:3000/graphql"


def opens(client: TestClient, headers: dict[str, str]) -> bool:
    """True if a websocket is opened."""
    try:
        with client.websocket_connect(SOCKET, headers=headers):
            return True
    except WebSocketDisconnect:
        return False


@dataclass(frozen=True)
class House:
    """A data root with a door, and Dagster behind it."""

    root: Path
    door: Door
    app: Any

    def visitor(self, **headers: str) -> TestClient:
        """A browser that has never been here."""
        return TestClient(self.app, OWN, headers=headers, follow_redirects=False)

    def inside(self, navn: str) -> TestClient:
        """A browser that has logged in."""
        client = self.visitor()
        answer = client.post("/log-ind", data={"navn": navn, "kode": PASSWORD}, headers=WRITE)
        assert answer.status_code == 303, answer.text
        return client

    def noted(self) -> list[dict[str, Any]]:
        """The lines of the door's log."""
        log = self.root / users.LOG
        return [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkspaceProcessContext]:
    """Dagster without a code location."""
    with (
        dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context,
    ):
        yield context


@pytest.fixture
def house(tmp_path: Path, dagster: WorkspaceProcessContext, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house with an operator and a reader; the hashes are made with the least work."""
    cheap = bcrypt.gensalt(4)
    monkeypatch.setattr(bcrypt, "gensalt", lambda: cheap)
    monkeypatch.setattr(users, "NOBODY", bcrypt.hashpw(b"nobody", cheap).decode())
    users.add(tmp_path, "anna", users.DRIFT, PASSWORD)
    users.add(tmp_path, "bo", users.LAESER, PASSWORD)
    door = door_of(tmp_path, tmp_path, PORT, {})
    return House(tmp_path, door, application(door, Webserver(dagster, tmp_path).create_asgi_app()))


# --- who comes in ---------------------------------------------------------------------------------------------


def test_nothing_is_told_before_the_login_but_that_the_server_lives(house: House) -> None:
    visitor = house.visitor()
    assert (visitor.get("/sundhed").status_code, visitor.get("/sundhed").content) == (204, b"")
    for path in ("/server_info", "/graphql?query={version}", "/favicon.png", "/logs/x/y.out", "/download_debug/x"):
        assert visitor.get(path).status_code == 401, path
    assert visitor.post("/graphql", json={"query": LOOK}, headers=WRITE).status_code == 401
    led = visitor.get("/runs?a=1", headers={"Accept": "text/html"})
    assert (led.status_code, led.headers["location"]) == (303, "/log-ind?til=/runs%3Fa%3D1")


def test_a_right_password_gives_a_session_that_no_script_and_no_other_site_can_use(house: House) -> None:
    answer = house.visitor().post(
        "/log-ind", data={"navn": "Anna", "kode": PASSWORD, "til": "/runs?a=1"}, headers=WRITE
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs?a=1")
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", f"max-age={HOURS * 3600}"))
    assert house.inside("anna").get("/server_info").status_code == 200


@pytest.mark.parametrize("til", ["//ond.example", "https://ond.example", "/\\ond.example", "\n/x", "x"])
def test_a_login_goes_on_only_to_a_page_of_this_address(house: House, til: str) -> None:
    answer = house.visitor().post("/log-ind", data={"navn": "anna", "kode": PASSWORD, "til": til}, headers=WRITE)
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize(
    "said", [{"navn": "anna", "kode": "gæt"}, {"navn": "carl", "kode": PASSWORD}, {}, {"engang": ""}]
)
def test_a_wrong_name_or_password_is_refused_in_the_same_words(house: House, said: dict[str, str]) -> None:
    answer = house.visitor().post("/log-ind", data=said, headers=WRITE)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert "Brugernavn eller adgangskode er forkert." in answer.text
    assert house.noted()[-1]["hvad"] == "afvist"


def test_after_three_failures_even_the_right_password_waits(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("refusion_assets.door.entry.time.monotonic", lambda: now[0])
    wrong = {"navn": "anna", "kode": "gæt"}
    statuses = [house.visitor().post("/log-ind", data=wrong, headers=WRITE).status_code for _ in range(4)]
    right = {"navn": "anna", "kode": PASSWORD}
    assert statuses == [403, 403, 403, 429]
    assert house.visitor().post("/log-ind", data=right, headers=WRITE).status_code == 429
    assert house.visitor().post("/log-ind", data=right | {"navn": "bo"}, headers=WRITE).status_code == 303
    now[0] += 2
    assert house.visitor().post("/log-ind", data=right, headers=WRITE).status_code == 303


def test_a_session_ends_with_the_password_the_role_the_button_and_the_user(house: House) -> None:
    by_button, by_role, by_removal = house.inside("anna"), house.inside("anna"), house.inside("bo")
    stolen = dict(by_button.cookies)
    assert by_button.post("/log-ud", headers=WRITE).status_code == 303
    thief = house.visitor()
    thief.cookies.update(stolen)
    assert thief.get("/server_info").status_code == 401
    assert by_role.get("/server_info").status_code == 200
    users.add(house.root, "anna", users.LAESER, PASSWORD)
    assert by_role.get("/server_info").status_code == 401
    users.file_of(house.root).write_text('["anna"]\nrolle = "drift"\n', encoding="utf-8")
    assert by_removal.get("/server_info").status_code == 401


def test_a_session_ends_after_its_hours_and_one_of_another_key_never_begins(house: House) -> None:
    client = house.inside("anna")
    (name,) = client.cookies
    body = house.door._key.decrypt(client.cookies[name])
    for seconds, status in ((HOURS * 3600 - 60, 200), (HOURS * 3600 + 60, 401)):
        old = house.visitor()
        old.cookies.set(name, house.door._key.encrypt_at_time(body, int(time.time()) - seconds).decode())
        assert old.get("/server_info").status_code == status
    for token in ("", "x", type(house.door._key)(type(house.door._key).generate_key()).encrypt(body).decode()):
        forged = house.visitor(Cookie=f"{name}={token}")
        assert forged.get("/server_info").status_code == 401


def test_the_link_of_a_fresh_machine_lets_in_once_and_not_by_being_looked_at(
    tmp_path: Path, dagster: WorkspaceProcessContext
) -> None:
    door = door_of(tmp_path, tmp_path, PORT, {})
    fresh = House(tmp_path, door, application(door, Webserver(dagster, tmp_path).create_asgi_app()))
    once, client = door.once, fresh.visitor()
    assert once in client.get(f"/log-ind?engang={once}").text
    assert client.get("/server_info").status_code == 401
    assert client.post("/log-ind", data={"engang": "gæt"}, headers=WRITE).status_code == 403
    assert client.post("/log-ind", data={"engang": once}, headers=WRITE).status_code == 303
    assert client.get("/server_info").status_code == 200
    assert fresh.visitor().post("/log-ind", data={"engang": once}, headers=WRITE).status_code == 403


def test_with_users_there_is_no_link(house: House) -> None:
    assert house.door.once == ""
    assert house.visitor().post("/log-ind", data={"engang": ""}, headers=WRITE).status_code == 403


# --- from where ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["ond.example", "127.0.0.1.ond.example", "ond.example:3000", ""])
def test_a_name_that_is_not_ours_is_refused(house: House, host: str) -> None:
    assert house.inside("anna").get("/server_info", headers={"Host": host}).status_code == 400
    assert not opens(house.inside("anna"), {"Host": host, "Origin": OWN})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": FOREIGN},
        {"Origin": "null"},
        {"Origin": "http://ond.example"},
        {"Origin": OWN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": OWN, "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://127.0.0.1:3000"},
    ],
)
def test_a_page_of_another_origin_posts_nothing(house: House, headers: dict[str, str]) -> None:
    client = house.inside("anna")
    for path in ("/graphql", "/log-ind", "/log-ud"):
        assert client.post(path, json={"query": CHANGE}, headers=headers).status_code == 403, path
    assert not opens(client, headers)
    assert opens(client, WRITE)
    assert [line["hvad"] for line in house.noted()] == ["log ind"]


def test_a_page_of_another_origin_reads_nothing_but_may_link_here(house: House) -> None:
    client = house.inside("anna")
    for site in ("cross-site", "same-site"):
        for mode, dest in (("no-cors", "image"), ("no-cors", "script"), ("cors", "empty"), ("navigate", "iframe")):
            seen = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
            assert client.get("/server_info", headers=seen).status_code == 403, seen
        link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert client.get("/runs", headers=link).status_code == 200
        again = house.visitor().get("/runs", headers=link | {"Accept": "text/html"})
        assert (again.status_code, "http-equiv" in again.text) == (200, True)


def test_every_answer_tells_the_browser_to_keep_the_page_to_itself(house: House) -> None:
    client = house.inside("anna")
    for path in ("/", "/log-ind", "/graphql?query={version}", "/nothing", "/sundhed"):
        headers = client.get(path, headers={"Accept": "text/html"}).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path
        assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")
        assert (headers["referrer-policy"], headers["cache-control"]) == ("same-origin", "no-store")


# --- what each may do ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", CHANGES)
def test_a_change_comes_by_post_as_json_and_by_no_other_way(house: House, query: str) -> None:
    client = house.inside("anna")
    asked = {"query": query, "operationName": "A"} if "query A" in query else {"query": query}
    assert client.get("/graphql", params=asked).status_code == 405
    assert client.head("/graphql", params=asked).status_code == 405
    assert client.post("/graphql", params=asked, headers=WRITE).status_code == 415
    assert client.post("/graphql", data=asked, headers=WRITE).status_code == 415
    assert client.post("/graphql", files={"query": query}, headers=WRITE).status_code == 415
    for kind in ("text/plain", "application/graphql", "text/plain; application/json", "application/json+x", ""):
        sent = client.post("/graphql", content=json.dumps(asked), headers=WRITE | {"Content-Type": kind})
        assert sent.status_code == 415, kind
    for body in (
        [asked],
        query,
        {"id": "1", "extensions": {}},
        {"query": [query]},
        {"query": query, "variables": "[1"},
    ):
        assert client.post("/graphql", json=body, headers=WRITE).status_code == 400, body
    assert [line["hvad"] for line in house.noted()] == ["log ind"]


@pytest.mark.parametrize("query", CHANGES)
def test_a_reader_changes_nothing(house: House, query: str) -> None:
    reader = house.inside("bo")
    assert reader.post("/graphql", json={"query": LOOK}, headers=WRITE).json()["data"]
    assert reader.post("/graphql", json={"query": query}, headers=WRITE).status_code == 403
    assert house.noted()[-1] | {"tid": ""} == {
        "tid": "", "hvad": "afvist ændring", "bruger": "bo", "rolle": "laeser", "felter": ["setNuxSeen"],
    }  # fmt: skip


@pytest.mark.parametrize("navn", ["anna", "bo"])
@pytest.mark.parametrize("query", [*CHANGES, LOOK])
def test_no_change_passes_a_websocket(house: House, navn: str, query: str) -> None:
    with house.inside(navn).websocket_connect(SOCKET, headers=WRITE) as socket:
        socket.send_json({"type": "start", "id": "1", "payload": {"query": query}})
        assert socket.receive_json()["payload"]["message"] == "ændringer kun med POST"
    assert [line["hvad"] for line in house.noted()] == ["log ind"]


def test_dagster_itself_shows_a_reader_that_nothing_may_be_changed(house: House) -> None:
    asked = {"query": "{ permissions { permission value } }"}
    for navn, some in (("anna", True), ("bo", False)):
        said = house.inside(navn).post("/graphql", json=asked, headers=WRITE).json()["data"]["permissions"]
        assert any(one["value"] for one in said if one["permission"] == "launch_pipeline_execution") is some


def test_ways_that_nothing_here_uses_are_closed_to_all(house: House) -> None:
    for navn in ("anna", "bo"):
        client = house.inside(navn)
        for name in ("materialization", "check", "observation"):
            assert client.post(f"/report_asset_{name}/x", json={}, headers=WRITE).status_code == 405
        assert client.get("/notebook?path=/etc/x.ipynb&repoLocName=x").headers["content-type"].startswith("text/html")
        for path in ("/logs/%2e%2e/%2e%2e/x.out", "/logs//etc/passwd.out"):
            assert client.get(path).status_code == 404
    assert house.inside("bo").get("/download_debug/x").status_code == 403


def test_a_change_is_noted_with_its_user_and_never_with_what_was_sent(house: House) -> None:
    text = "mutation Navn($a: String) { setNuxSeen }"
    sent = {"query": text, "variables": {"a": "hemmelig"}, "operationName": "Navn"}
    assert house.inside("anna").post("/graphql", json=sent, headers=WRITE).status_code in (200, 400)
    said = house.noted()[-1]
    assert (said["hvad"], said["bruger"], said["felter"]) == ("ændring", "anna", ["setNuxSeen"])
    assert "hemmelig" not in (house.root / users.LOG).read_text("utf-8")
    assert stat.S_IMODE((house.root / users.LOG).stat().st_mode) == 0o600


def test_a_launch_carries_its_user_and_not_the_one_that_was_sent_along(house: House) -> None:
    user = house.door._owner
    sent = {"p": [{"executionMetadata": {"tags": [{"key": LAUNCHED_BY, "value": "x"}, {"key": "k", "value": "v"}]}}]}
    (made,) = _tagged(sent, user)["p"]
    assert made["executionMetadata"]["tags"] == [{"key": "k", "value": "v"}, {"key": LAUNCHED_BY, "value": user.navn}]


# --- our own daemon, and a login in front ------------------------------------------------------------------------


def test_the_daemon_passes_with_the_key_of_the_home_and_nobody_without(house: House, tmp_path: Path) -> None:
    own, client = users.of_the_machine(house.root), house.visitor()
    assert client.post("/graphql", json={"query": LOOK}, headers=own).status_code == 200
    assert client.post("/graphql", json={"query": LOOK}, headers=own | {"Origin": FOREIGN}).status_code == 403
    other = tmp_path / "other"
    other.mkdir()
    assert users.of_the_machine(other) == {}
    users.key(other)
    for header in (users.of_the_machine(other), {"Authorization": "Bearer x"}, {"Authorization": "Basic YTpi"}):
        assert client.post("/graphql", json={"query": LOOK}, headers=header).status_code == 401
    session = next(iter(house.inside("anna").cookies.values()))
    assert client.get("/server_info", headers={"Authorization": f"Bearer {session}"}).status_code == 401


def test_a_login_in_front_is_believed_with_the_secret_alone(house: House, dagster: WorkspaceProcessContext) -> None:
    secret = "s" * 32
    door = door_of(
        house.root,
        house.root,
        PORT,
        {"REFUSION_UI_BRUGERHOVED": "X-Bruger", "REFUSION_UI_HEMMELIGHED": secret, "REFUSION_UI": "https://r.dk/"},
    )
    behind = House(house.root, door, application(door, Webserver(dagster, house.root).create_asgi_app()))
    there = {"Host": "r.dk", "X-Refusion-Hemmelighed": secret}

    def status(headers: dict[str, str]) -> int:
        return behind.visitor().get("/server_info", headers=headers).status_code

    assert status(there | {"X-Bruger": "anna"}) == 200
    for headers in (there, {**there, "X-Bruger": "carl"}, {"X-Bruger": "anna"},
                    {**there, "X-Bruger": "anna", "X-Refusion-Hemmelighed": secret[:-1] + "t"}):  # fmt: skip
        assert status(headers) == 401, headers
    reader, write = behind.visitor(**there, **{"X-Bruger": "bo"}), {"Origin": "https://r.dk"}
    assert reader.post("/graphql", json={"query": LOOK}, headers=write).status_code == 200
    assert reader.post("/graphql", json={"query": CHANGE}, headers=write).status_code == 403
    assert reader.get("/log-ind").status_code == 404
    assert house.inside("anna").get("/server_info", headers={"X-Bruger": "bo"}).status_code == 200
    with pytest.raises(Stop, match="32 tegn"):
        door_of(house.root, house.root, PORT, {"REFUSION_UI_BRUGERHOVED": "X-Bruger"})


# --- the files ---------------------------------------------------------------------------------------------------


def test_users_and_key_are_for_their_owner_and_a_door_with_open_ones_never_opens(house: House) -> None:
    for path in (users.file_of(house.root), house.root / users.KEY):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o640)
        with pytest.raises(Stop, match=f"chmod 600 {path}"):
            door_of(house.root, house.root, PORT, {})
        path.chmod(0o600)
    door_of(house.root, house.root, PORT, {})


@pytest.mark.parametrize(
    "text",
    ["x", '["A"]\nrolle="drift"', "[a]\nrolle=1", '[a]\nrolle="chef"', '[a]\nrolle="drift"\nkode="åben"', "a = 1"],
)
def test_a_file_of_users_that_is_not_understood_lets_nobody_in_and_is_told_in_one_line(house: House, text: str) -> None:
    client, path = house.inside("anna"), users.file_of(house.root)
    path.write_text(text, encoding="utf-8")
    assert client.get("/server_info").status_code == 503
    with pytest.raises(Stop, match=str(path)):
        users.read(house.root)


def test_a_user_is_made_by_the_command_with_the_password_on_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raw").mkdir()
    monkeypatch.setenv("REFUSION_DATA", str(tmp_path))
    cheap = bcrypt.gensalt(4)
    monkeypatch.setattr(bcrypt, "gensalt", lambda: cheap)
    asked = ["ui", "--ny-bruger", "carl", "--rolle", "laeser"]
    ran = CliRunner().invoke(main, asked, input=f"{PASSWORD}\n", obj=print)
    assert (ran.exit_code, ran.output) == (0, "carl er oprettet med rollen laeser.\n")
    assert users.is_right(users.read(tmp_path)["carl"], PASSWORD)
    assert PASSWORD not in users.file_of(tmp_path).read_text("utf-8")
    for short in ("x" * 11, "æ" * 37):
        assert isinstance(CliRunner().invoke(main, asked, input=f"{short}\n").exception, Stop)
    assert CliRunner().invoke(main, ["ui", "--ny-bruger", "carl"]).exit_code == 2
