"""Understands the user interface as a process: Dagster's pages behind the door, with its daemon and its code server."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import uvicorn
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from graphql import FieldNode, GraphQLError, OperationDefinitionNode, OperationType, parse, visit
from graphql.language import Visitor
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute
from starlette.websockets import WebSocket

from refusion_assets.domain.stop import Stop
from refusion_assets.door import users
from refusion_assets.door.entry import Door, Inside, application, door_of
from refusion_assets.door.users import DRIFT

HOST, POLL_MILLISECONDS, STATEMENT_MILLISECONDS, POOL_SECONDS, POOL_MORE = "127.0.0.1", 2000, 15000, 3600, 20
LAST_WORDS, SECONDS_TO_END, LARGEST_MESSAGE = 5, 60, 1 << 20
LAUNCHED_BY = "refusion/bruger"
# Ways to write into Dagster's memory, or to read a file, that nothing here uses.
CLOSED = ("/notebook", "/dagit/notebook", "/report_asset_")
RUNS = re.compile(rb'"(?:runId|id|backfillId)":\s*"([0-9a-f]{8}-[0-9a-f-]{27}|[a-z]{8})"')
# The system ends a child with its parent, however that ends: PR_SET_PDEATHSIG is 1.
WITH_PARENT = (
    "import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGTERM); os.execv(sys.argv[1], sys.argv[1:])"
)


class _Fields(Visitor):
    """The names of all fields of a document."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        """Keep the name of a field."""
        self.names.add(node.name.value)


class Asked(WorkspaceRequestContext):
    """The rights of one request: Dagster itself refuses all changes of a reader."""

    def get_viewer_tags(self) -> dict[str, str]:
        """The tags of what the user launches."""
        return {LAUNCHED_BY: _user(self.source).navn}

    def get_reporting_user_tags(self) -> dict[str, str]:
        """The tags of what the user reports by hand."""
        return self.get_viewer_tags()


def _user(source: object) -> Inside:
    """The user who sent a request; the door has let it in."""
    assert isinstance(source, HTTPConnection)  # noqa: S101  Dagster hands on what it got
    user = source.user
    assert isinstance(user, Inside)  # noqa: S101  the door lets in nobody else
    return user


class Webserver(DagsterWebserver[WorkspaceProcessContext, Asked]):
    """Dagster's pages, where each request has the rights of its user, and a change comes by one way only."""

    def __init__(self, context: WorkspaceProcessContext, home: Path) -> None:
        """Serve a workspace; changes are noted in a home."""
        super().__init__(context, "", POLL_MILLISECONDS)
        self._home = home
        changes = self._graphene_schema.graphql_schema.mutation_type
        self._changes = frozenset(changes.fields if changes else ())

    def _make_request_context(self, conn: HTTPConnection) -> Asked:
        process = self._process_context
        return Asked(
            instance=process.instance,
            current_workspace=process.get_current_workspace(),
            process_context=process,
            version=process.version,
            source=conn,
            read_only=_user(conn).rolle != DRIFT,
        )

    def build_routes(self) -> list[BaseRoute]:
        """Dagster's addresses without those that nothing here uses."""
        routes: list[BaseRoute] = super().build_routes()  # type: ignore[no-untyped-call]
        return [route for route in routes if not getattr(route, "path", "").startswith(CLOSED)]

    async def download_debug_file_endpoint(self, request: Request) -> Response:
        """All that Dagster knows of a run, for operators."""
        if _user(request).rolle != DRIFT:
            return PlainTextResponse("Kun for rollen drift.", 403)
        dump: Response = await super().download_debug_file_endpoint(request)
        return dump

    async def download_captured_logs_endpoint(self, request: Request) -> Response:
        """The output of a run; nothing for a path that leads out of their folder."""
        try:
            printed: Response = await super().download_captured_logs_endpoint(request)
        except ValueError:
            return PlainTextResponse("Ingen log.", 404)
        return printed

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """The answer to a query; a body is one JSON object, as a form or a script of another origin cannot send it."""
        if request.method == "POST":
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                return _refusal("kun application/json", 415)
            try:
                body = await request.json()
            except (ValueError, RecursionError):
                return _refusal("ikke JSON", 400)
            if not isinstance(body, dict) or not isinstance(body.get("query"), str):
                return _refusal("een forespørgsel ad gangen", 400)
            if not isinstance(body.get("variables") or {}, dict):
                return _refusal("variables er ikke et objekt", 400)
        answer: Response = await super().graphql_http_endpoint(request)
        return answer

    async def execute_graphql_request(
        self, request: Request, query: str, variables: dict[str, Any] | None, operation_name: str | None
    ) -> JSONResponse:
        """The answer of Dagster; a change only by POST, only for an operator, and noted with the runs it began.

        Every way of Dagster's to take a query over HTTP ends here.
        """
        changes = self._changes_in(query)
        user = _user(request)
        if changes is None:
            return await super().execute_graphql_request(request, query, variables, operation_name)
        if request.method != "POST":
            return _refusal("ændringer kun med POST", 405)
        if user.rolle != DRIFT:
            users.note(self._home, "afvist ændring", user.navn, user.rolle, felter=changes)
            return _refusal("rollen laeser kan ikke ændre noget", 403)
        answer = await super().execute_graphql_request(request, query, _tagged(variables, user), operation_name)
        began = sorted({run.decode() for run in RUNS.findall(bytes(answer.body))})
        users.note(
            self._home, "ændring", user.navn, user.rolle, felter=changes, svar=answer.status_code, koersler=began
        )
        return answer

    async def execute_graphql_subscription(
        self,
        websocket: WebSocket,
        operation_id: str,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
    ) -> Any:
        """A stream of news; nothing else passes a websocket, and no stream begins after the session has ended."""
        operations = _operations(query) or []
        if any(operation.operation is not OperationType.SUBSCRIPTION for operation in operations):
            return None, {"message": "ændringer kun med POST"}
        if time.time() > _user(websocket).until:
            return None, {"message": "log ind igen"}
        return await super().execute_graphql_subscription(websocket, operation_id, query, variables, operation_name)

    def _changes_in(self, query: str) -> list[str] | None:
        """The changes that a document names, if one of its operations is a change; else None."""
        operations = _operations(query)
        if operations is None or all(o.operation is not OperationType.MUTATION for o in operations):
            return None
        found = _Fields()
        visit(parse(query), found)
        return sorted(found.names & self._changes)


def _operations(query: str) -> list[OperationDefinitionNode] | None:
    """The operations of a document; None if it is no GraphQL, which Dagster answers."""
    try:
        return [node for node in parse(query).definitions if isinstance(node, OperationDefinitionNode)]
    except (GraphQLError, RecursionError):
        return None


def _tagged(variables: Any, user: Inside) -> Any:
    """The variables of a launch with its user among the tags of the run, in place of one that was sent along."""
    if isinstance(variables, list):
        return [_tagged(one, user) for one in variables]
    if not isinstance(variables, dict):
        return variables
    made = {name: _tagged(value, user) for name, value in variables.items()}
    if isinstance(made.get("executionMetadata"), dict):
        said = made["executionMetadata"].get("tags") or []
        kept = [tag for tag in said if isinstance(tag, dict) and tag.get("key") != LAUNCHED_BY]
        made["executionMetadata"] = {
            **made["executionMetadata"],
            "tags": [*kept, {"key": LAUNCHED_BY, "value": user.navn}],
        }
    return made


def _refusal(why: str, status: int) -> JSONResponse:
    return JSONResponse({"data": None, "errors": [{"message": why}]}, status)


def serve(root: Path, home: Path, port: int, workspace: Path, say: Callable[[str], None], *, alone: bool) -> None:
    """Dagster's user interface behind the door, until the process is told to end; then its children have ended too.

    `alone`: the code server and the daemon are services of their own, which the workspace names. Stop if the port is
    taken, or the users, the key or the environment cannot stand.
    """
    os.umask(0o077)
    door = door_of(root, home, port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):
        taken = stack.enter_context(_bound(port))
        instance = stack.enter_context(dg.DagsterInstance.get())
        instance.optimize_for_webserver(STATEMENT_MILLISECONDS, POOL_SECONDS, POOL_MORE)
        if not alone:
            workspace = stack.enter_context(_code(instance, workspace))
        context = stack.enter_context(
            WorkspaceProcessContext(instance, WorkspaceFileTarget([str(workspace)]), version=__version__)
        )
        app = application(door, Webserver(context, home).create_asgi_app())
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws_max_size=LARGEST_MESSAGE,
                timeout_graceful_shutdown=LAST_WORDS,
            )
        )
        ended = stack.enter_context(_daemon(workspace, server)) if not alone else threading.Event()
        _tell(door, port, say)
        server.run(sockets=[taken])
        if ended.is_set():
            raise Stop("Dagsters dæmon holdt op af sig selv; se, hvad den skrev ovenfor, og start igen")


@contextmanager
def _bound(port: int) -> Iterator[socket.socket]:
    """The port of the loopback address, taken before anything is started; Stop if somebody else has it."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((HOST, port))
        except PermissionError:
            raise Stop(f"port {port} er ikke din at bruge; vælg en over 1023 med --port") from None
        except (OSError, OverflowError):
            raise Stop(f"port {port} er optaget eller findes ikke; vælg en anden med --port") from None
        yield taken


@contextmanager
def _code(instance: dg.DagsterInstance, workspace: Path) -> Iterator[Path]:
    """One code server for web and daemon, on a socket of ours alone; the file that says where it is."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ProxyServerManager(instance, WorkspaceFileTarget([str(workspace)]), "warning") as servers,
    ):
        named = Path(folder) / "workspace.yaml"
        named.write_text(json.dumps({"load_from": servers.get_code_server_specs()}), encoding="utf-8")
        yield named


@contextmanager
def _daemon(workspace: Path, server: uvicorn.Server) -> Iterator[threading.Event]:
    """Dagster's daemon beside the server; the server ends with it, and the event says that it was the first to end."""
    command = [sys.executable, "-m", "dagster._daemon", "run", "--workspace", str(workspace)]
    daemon = subprocess.Popen([sys.executable, "-c", WITH_PARENT, *command])  # noqa: S603  our own command
    first, ending = threading.Event(), threading.Event()

    def watch() -> None:
        daemon.wait()
        if not ending.is_set():
            first.set()
            server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield first
    finally:
        ending.set()
        daemon.terminate()
        try:
            daemon.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            daemon.kill()


def _tell(door: Door, port: int, say: Callable[[str], None]) -> None:
    """How one comes in, said once on the terminal; a link goes to a file of ours where nobody sits at one."""
    address = f"http://{HOST}:{port}"
    link = door.home / "log-ind"
    link.unlink(missing_ok=True)
    say(f"Brugerfladen: {address} (stop den med Ctrl-C)")
    if not door.once:
        return
    said = f"{address}/log-ind?engang={door.once}"
    say("Der er ingen brugere endnu; opret dem med refusion ui --ny-bruger NAVN --rolle drift (eller laeser).")
    if sys.stdout.isatty():
        say(f"Indtil da kommer du ind een gang med dette link: {said}")
        return
    link.touch(0o600)
    link.write_text(f"{said}\n", encoding="utf-8")
    say(f"Indtil da kommer du ind een gang med linket i {link}, som kun du kan læse.")
