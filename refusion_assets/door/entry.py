"""Understands a request at the door: from where it comes, who sends it, how one logs in, and what every answer says."""

import getpass
import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from anyio import CapacityLimiter, to_thread
from cryptography.fernet import Fernet, InvalidToken
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from refusion_assets.domain.stop import Stop
from refusion_assets.door import users
from refusion_assets.door.users import DRIFT, Bruger

HEADER, SECRET, SECRET_HEADER = "REFUSION_UI_BRUGERHOVED", "REFUSION_UI_HEMMELIGHED", "X-Refusion-Hemmelighed"
LEAST_SECRET, HOURS, LONGEST_FORM = 32, 10, 4096
LOG_IN, LOG_OUT, HEALTH = "/log-ind", "/log-ud", "/sundhed"
FREE_TRIES, LONGEST_WAIT = 3, 60
ABROAD = ("cross-site", "same-site")
READING = ("GET", "HEAD")
ALWAYS = {
    # A second policy beside Dagster's own, which names the scripts: a browser holds both.
    "Content-Security-Policy": "frame-ancestors 'none'; form-action 'self'; connect-src 'self'; base-uri 'none'; "
    "object-src 'none'; img-src 'self' data: blob:; font-src 'self' data:",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # With no-referrer a browser would send a form of ours without its origin.
    "Referrer-Policy": "same-origin",
}
PAGES = Environment(loader=PackageLoader(__package__, ""), autoescape=True, undefined=StrictUndefined)


@dataclass(frozen=True)
class Inside(BaseUser):
    """Somebody who is let in: the name, the role, and until when (seconds since 1970)."""

    navn: str
    rolle: str
    until: float

    @property
    def is_authenticated(self) -> bool:
        """Always: nobody else is one."""
        return True

    @property
    def display_name(self) -> str:
        """The name."""
        return self.navn


@dataclass
class Door(AuthenticationBackend):
    """The door of one user interface: where its users and its key lie, its own addresses, and who failed of late."""

    root: Path
    home: Path
    origins: frozenset[str]
    header: str = ""
    secret: str = ""
    once: str = ""
    _key: Fernet = field(init=False)
    _ended: set[str] = field(default_factory=set)
    _failed: dict[str, tuple[int, float]] = field(default_factory=dict)
    _one_at_a_time: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    _owner: Bruger = field(init=False)

    def __post_init__(self) -> None:
        """Read key and users, so that their faults are told before anybody comes; Stop if they cannot stand."""
        self._key = users.key(self.home)
        if not users.read(self.root) and not self.header:
            self.once = secrets.token_urlsafe(32)
        # The session of the link ends with the process: its mark is of this process alone.
        self._owner = Bruger(getpass.getuser(), DRIFT, secrets.token_hex())

    @property
    def cookie(self) -> str:
        """The name of the session's cookie; a browser keeps those of one name for all ports together."""
        return f"refusion-{urlsplit(min(self.origins)).port or 443}"

    @property
    def hosts(self) -> list[str]:
        """The names under which the door answers."""
        return sorted({urlsplit(origin).hostname or "" for origin in self.origins})

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, Inside] | None:
        """The user who sends a request; None for nobody. An error if the users cannot be read."""
        try:
            found = self._machine(conn) or (self._handed_over(conn) if self.header else self._session(conn))
        except Stop as error:
            raise AuthenticationError(str(error)) from None
        return (AuthCredentials([found.rolle]), found) if found else None

    def _machine(self, conn: HTTPConnection) -> Inside | None:
        """Our own daemon, by a token that holds for a minute."""
        scheme, _, token = conn.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            return None
        try:
            said = self._key.decrypt(token, ttl=users.MACHINE_SECONDS)
        except InvalidToken:
            return None
        return Inside("dæmonen", DRIFT, time.time() + users.MACHINE_SECONDS) if said == users.MACHINE else None

    def _handed_over(self, conn: HTTPConnection) -> Inside | None:
        """The user whom a trusted proxy names: it shows the secret, and names one user of the file."""
        shown, named = conn.headers.getlist(SECRET_HEADER), conn.headers.getlist(self.header)
        if len(shown) != 1 or len(named) != 1 or not secrets.compare_digest(shown[0].encode(), self.secret.encode()):
            return None
        user = users.read(self.root).get(named[0].strip().lower())
        return Inside(user.navn, user.rolle, time.time() + HOURS * 3600) if user else None

    def _session(self, conn: HTTPConnection) -> Inside | None:
        """The user of a session that has not ended."""
        token = conn.cookies.get(self.cookie, "")
        if not token or token in self._ended:
            return None
        try:
            said = json.loads(self._key.decrypt(token, ttl=HOURS * 3600))
            made = self._key.extract_timestamp(token)
        except (InvalidToken, ValueError):
            return None
        if not isinstance(said, dict):  # a token of the daemon holds a word
            return None
        user = self._owner if said.get("m") == self._owner.mark else users.read(self.root).get(said.get("b", ""))
        if user is None or user.mark != said.get("m"):
            return None
        return Inside(user.navn, user.rolle, made + HOURS * 3600)

    async def page(self, request: Request) -> Response:
        """The page to log in on, and the answer to it."""
        if self.header:
            return PlainTextResponse("Log ind gennem organisationens egen indgang.", 404)
        if request.method in READING:
            return self._form(request, engang=request.query_params.get("engang", ""))
        said = await _form_of(request)
        if said.get("engang"):
            return self._by_link(request, said)
        return await self._by_password(request, said)

    def _form(self, request: Request, fejl: str = "", engang: str = "", status: int = 200, til: str = "") -> Response:
        til = _within(til or request.query_params.get("til", "/"))
        nonce = secrets.token_urlsafe(16)
        text = PAGES.get_template("side.html.j2").render(
            nonce=nonce, fejl=fejl, engang=engang, til=til, inde="", ny=bool(self.once)
        )
        return HTMLResponse(text, status, _strict(nonce))

    def _by_link(self, request: Request, said: Mapping[str, str]) -> Response:
        """A session for whoever holds the link of the terminal, the first time it is used."""
        if not self.once or not secrets.compare_digest(said["engang"].encode(), self.once.encode()):
            users.note(self.home, "afvist", "linket")
            return self._form(request, "Linket er brugt eller gammelt. Start brugerfladen igen for et nyt.", status=403)
        self.once = ""
        return self._let_in(request, self._owner, said)

    async def _by_password(self, request: Request, said: Mapping[str, str]) -> Response:
        """A session for a right name and password; each failure after the third makes the next wait longer."""
        try:
            every = users.read(self.root)
        except Stop as error:
            return self._form(request, f"Ingen kan logge ind: {error}.", status=503)
        user = every.get(said.get("navn", "").strip().lower())
        known = user.navn if user else ""
        failures, last = self._failed.get(known, (0, 0.0))
        wait = min(2 ** (failures - FREE_TRIES), LONGEST_WAIT) if failures >= FREE_TRIES else 0
        left = int(last + wait - time.monotonic()) + 1 if wait else 0
        til = said.get("til", "/")
        if left > 0:
            return self._form(request, f"For mange forsøg. Vent {left} sekunder, og prøv igen.", status=429, til=til)
        # Counted before it is tried: many tries at once wait for each other no less.
        self._failed[known] = (failures + 1, time.monotonic())
        if not await to_thread.run_sync(users.is_right, user, said.get("kode", ""), limiter=self._one_at_a_time):
            users.note(self.home, "afvist", known or "ukendt")
            return self._form(request, "Brugernavn eller adgangskode er forkert.", status=403, til=til)
        assert user is not None  # noqa: S101  nobody else has a right password
        self._failed.pop(known, None)
        return self._let_in(request, user, said)

    def _let_in(self, request: Request, user: Bruger, said: Mapping[str, str]) -> Response:
        users.note(self.home, "log ind", user.navn, user.rolle)
        token = self._key.encrypt(json.dumps({"b": user.navn, "m": user.mark}).encode()).decode()
        answer = RedirectResponse(_within(said.get("til", "/")), 303)
        secure = request.headers.get("origin", "").startswith("https:")
        answer.set_cookie(self.cookie, token, HOURS * 3600, secure=secure, httponly=True, samesite="strict")
        return answer

    async def leave(self, request: Request) -> Response:
        """The page to log out on; its button ends the session."""
        user = request.user
        if not user.is_authenticated or self.header:
            return RedirectResponse(LOG_IN if not self.header else "/", 303)
        if request.method in READING:
            nonce = secrets.token_urlsafe(16)
            page = PAGES.get_template("side.html.j2").render(
                nonce=nonce, fejl="", engang="", til="/", inde=f"{user.navn} ({user.rolle})", ny=False
            )
            return HTMLResponse(page, headers=_strict(nonce))
        self._ended.add(request.cookies.get(self.cookie, ""))
        users.note(self.home, "log ud", user.navn, user.rolle)
        answer = RedirectResponse(LOG_IN, 303)
        answer.delete_cookie(self.cookie, httponly=True, samesite="strict")
        return answer


def door_of(root: Path, home: Path, port: int, environment: Mapping[str, str] = os.environ) -> Door:
    """The door as the environment sets it; Stop if a login in front is named without a secret that it shows."""
    here = {f"http://127.0.0.1:{port}", f"http://localhost:{port}"}
    outside = urlsplit(environment.get("REFUSION_UI", ""))
    if outside.scheme in ("http", "https") and outside.netloc:
        here.add(f"{outside.scheme}://{outside.netloc.lower()}")
    header, secret = environment.get(HEADER, ""), environment.get(SECRET, "")
    if header and len(secret) < LEAST_SECRET:
        raise Stop(f"{HEADER} er sat, så {SECRET} skal have mindst {LEAST_SECRET} tegn, som kun proxyen kender")
    if secret and not header:
        raise Stop(f"{SECRET} er sat, men {HEADER} mangler; sæt navnet på det felt, proxyen skriver brugeren i")
    return Door(root, home, frozenset(here), header, secret)


def application(door: Door, inner: ASGIApp) -> Starlette:
    """The door with the user interface behind it; nothing of that is reached without a login."""

    async def health(_: Request) -> Response:
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route(HEALTH, health),
            Route(LOG_IN, door.page, methods=["GET", "POST"]),
            Route(LOG_OUT, door.leave, methods=["GET", "POST"]),
            Mount("/", _Guarded(inner)),
        ],
        middleware=[
            Middleware(_Said),
            Middleware(TrustedHostMiddleware, allowed_hosts=door.hosts, www_redirect=False),
            Middleware(_SameOrigin, origins=door.origins),
            Middleware(AuthenticationMiddleware, backend=door, on_error=_nobody),
        ],
    )


def _nobody(_: HTTPConnection, error: AuthenticationError) -> Response:
    return PlainTextResponse(f"STOPPET: {error}", 503)


async def _refuse(scope: Scope, receive: Receive, send: Send, answer: Response) -> None:
    """An answer that ends a request; a websocket is closed before it is opened, which is 403."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
    else:
        await answer(scope, receive, send)


class _Said:
    """Every answer with the headers that a browser holds the page to."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS.items():
                    if name == "Content-Security-Policy":
                        headers.append(name, value)
                    else:
                        headers[name] = value
                if not headers.get("content-type", "").startswith(
                    ("text/css", "image/", "font/", "application/javascript")
                ):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, with_headers)


class _SameOrigin:
    """The rule of the same origin: another page may link here, and send nothing else."""

    def __init__(self, app: ASGIApp, origins: frozenset[str]) -> None:
        self.app = app
        self.origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._may(HTTPConnection(scope), scope):
            await self.app(scope, receive, send)
        else:
            await _refuse(scope, receive, send, PlainTextResponse("Forespørgslen kommer fra en anden side.", 403))

    def _may(self, conn: HTTPConnection, scope: Scope) -> bool:
        origins, site = conn.headers.getlist("origin"), conn.headers.get("sec-fetch-site", "")
        if any(origin not in self.origins for origin in origins):
            return False
        if scope["type"] == "http" and scope["method"] in READING:
            return site not in ABROAD or _followed(conn)
        if not origins:
            # No browser: it would name an origin. A cookie alone is not enough, the daemon's token or a proxy's is.
            return "authorization" in conn.headers and not site
        return site in ("", "same-origin")


def _followed(conn: HTTPConnection) -> bool:
    """True for a link that somebody follows in the window itself, not in a frame."""
    return conn.headers.get("sec-fetch-mode") == "navigate" and conn.headers.get("sec-fetch-dest") == "document"


class _Guarded:
    """The user interface, for those who are let in; others are led to the login."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        conn = HTTPConnection(scope)
        if conn.user.is_authenticated:
            await self.app(scope, receive, send)
            return
        page = scope["type"] == "http" and scope["method"] == "GET" and "text/html" in conn.headers.get("accept", "")
        answer: Response = PlainTextResponse("Log ind først.", 401)
        if page and conn.headers.get("sec-fetch-site") in ABROAD:
            # A browser sends no strict cookie along a link from elsewhere; asked again by our own page it does.
            answer = HTMLResponse(
                '<!doctype html><html lang="da"><meta http-equiv="refresh" content="0"><title>Ydelsesrefusion</title>'
            )
        elif page:
            til = conn.url.path + (f"?{conn.url.query}" if conn.url.query else "")
            answer = RedirectResponse(f"{LOG_IN}?til={quote(til, safe='/')}", 303)
        await _refuse(scope, receive, send, answer)


def _strict(nonce: str) -> dict[str, str]:
    """The policy of our own pages: nothing but their own style."""
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    return {"Content-Security-Policy": policy, "Cache-Control": "no-store"}


def _within(til: str) -> str:
    """A path of this address, to go on to; the first page for anything else."""
    return til if til.startswith("/") and not til.startswith(("//", "/\\")) and til.isprintable() else "/"


async def _form_of(request: Request) -> dict[str, str]:
    """The fields of a posted form, each once; none if it is too long or no form."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            return {}
    try:
        fields = parse_qs(body.decode(), max_num_fields=8, keep_blank_values=True)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}
