"""Receivers: who is told by `alarm.toml`, a message without persons, and if it got through."""

import logging
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import quote

from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import without_persons
from refusion_assets.rulebook.load import RuleError, read_entries

Slags = Literal["stop", "advarsel", "fil", "sen", "frist", "ikke_opgjort", "disk", "levering"]
EVERYTHING: tuple[Slags, ...] = get_args(Slags)
FILE, ELSEWHERE = "alarm.toml", "REFUSION_ALARM"
MOST_LETTERS_OF_A_SUBJECT = 150
# A tick of a Dagster sensor may last a minute; a server that is slower than this is tried again at the next.
SECONDS_FOR_AN_ANSWER, SECONDS_FOR_ALL = 10.0, 30.0

# The ways whose address begins with a server; in those of other services a key may stand there.
SERVERS_NAMED = {"json", "jsons", "xml", "xmls", "form", "forms", "workflow", "workflows"}
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
WRITTEN_SECRET = re.compile(r"://[^/@?#]*:(?!\$\{)[^/@?#]+@")
# Signs in the words of the library, and the reason for the operator; those words may hold an address with a key.
REASONS = (
    (r"\(535\b|\(534\b|\(530\b|Authentication", "serveren afviste login; er brugernavn og adgangskode rigtige?"),
    (r"CERTIFICATE_VERIFY_FAILED", "serverens certifikat kan ikke godkendes"),
    (r"STARTTLS extension not supported", "serveren tilbyder ikke kryptering (STARTTLS)"),
    (r"AUTH extension not supported|No suitable authentication", "serveren tager ikke imod login"),
    (r"timed out|[Tt]imeout", "serveren svarede ikke i tide"),
    (r"Connection refused", "der er ingen server på adressen og porten"),
    (r"Name or service not known|name resolution|NameResolution|No address associated", "serverens navn kendes ikke"),
    (r"unexpectedly closed|reset by peer|Connection aborted|RemoteDisconnected|Broken pipe|connect\(\) first|EOF",
     "forbindelsen blev afbrudt"),
    (r"error=40[13]\b", "serveren afviste adgangen; er nøglen i adressen rigtig?"),
)  # fmt: skip
CODE = re.compile(r"(?:\(|error=|refused: )(?P<code>[45]\d\d)\b")


@dataclass(frozen=True)
class Alarm:
    """A message of a kind, with the subject and text that are sent; never with a person's number.

    `forbi`: it says that something is over.
    """

    slags: str
    emne: str
    tekst: str
    forbi: bool = False

    def __post_init__(self) -> None:
        """Hide numbers of persons, whoever wrote the text."""
        subject = " ".join(without_persons(self.emne).split())
        if len(subject) > MOST_LETTERS_OF_A_SUBJECT:
            subject = subject[: MOST_LETTERS_OF_A_SUBJECT - 1] + "…"
        object.__setattr__(self, "emne", subject)
        object.__setattr__(self, "tekst", without_persons(self.tekst))


@dataclass(frozen=True)
class Post:
    """An entry `[[modtager]]` as it is written."""

    navn: str
    url: str
    om: tuple[Slags, ...] = EVERYTHING


@dataclass(frozen=True)
class Modtager:
    """A receiver: its name, its address with `${...}` for secrets, the kinds it is told, and its place in the file."""

    navn: str
    url: str
    om: tuple[Slags, ...]
    hvor: str

    @property
    def address(self) -> str:
        """The address with the values of the environment; RuleError if one is not set.

        A value within an address may hold any letter; one that is the whole address stands as it is.
        """

        def value(found: re.Match[str]) -> str:
            given = os.environ.get(found[1], "")
            if not given:
                raise RuleError(f"{self.hvor}: url: miljøvariablen {found[1]} er ikke sat")
            return given if found[0] == self.url else quote(given, safe="")

        return VARIABLE.sub(value, self.url)

    def plugin(self) -> Any:
        """The way to the receiver, a notification of apprise; RuleError if the address names none, or several."""
        apprise, asset = _apprise()
        found = apprise.Apprise.instantiate(self.address, asset=asset, suppress_exceptions=True)
        if found is None:
            raise RuleError(f"{self.hvor}: url: adressen forstås ikke; docs/alarmer.md viser, hvordan den skrives")
        if len(found) > 1 or getattr(found, "cc", None) or getattr(found, "bcc", None):
            # One of several may refuse: then nobody could say who must be told again.
            raise RuleError(f"{self.hvor}: url: adressen nævner flere modtagere; skriv en [[modtager]] for hver")
        found.socket_connect_timeout = found.socket_read_timeout = SECONDS_FOR_AN_ANSWER
        return found

    def shown(self) -> str:
        """The receiver in one line, without secrets: the way, the server and what it is told."""
        way = self.plugin()
        name, host, port = str(way.service_name), getattr(way, "smtp_host", ""), getattr(way, "port", None)
        if host:
            name = f"mail til {', '.join(address for _, address in way.targets)} over {host}:{port}"
        elif way.schemas() & SERVERS_NAMED:
            name = f"{'Teams' if 'Teams' in name else name} på {way.host}{f':{port}' if port else ''}"
        told = "alt" if set(self.om) == set(EVERYTHING) else ", ".join(self.om)
        return f"{self.navn}: {name}; får {told}"


@cache
def _apprise() -> tuple[Any, Any]:
    """The library that sends, and how it presents us. It is slow to load, and its log may hold addresses with keys."""
    import apprise  # noqa: PLC0415  only a message that is sent needs it

    log = logging.getLogger("apprise")
    log.propagate = False
    log.setLevel(logging.DEBUG)
    log.addHandler(logging.NullHandler())
    logging.getLogger("urllib3").setLevel(logging.INFO)
    asset = apprise.AppriseAsset(
        app_id="Ydelsesrefusion", app_desc="Ydelsesrefusion", app_url="", image_url_mask="", image_url_logo=""
    )
    return apprise, asset


def file_of(root: Path) -> Path:
    """The file of receivers: the one that REFUSION_ALARM names, else `alarm.toml` in the data root."""
    elsewhere = os.environ.get(ELSEWHERE)
    return Path(elsewhere).expanduser() if elsewhere else root / FILE


def receivers(root: Path) -> tuple[Modtager, ...]:
    """The receivers of a data root in order, none without a file; RuleError with file and entry for what is wrong.

    A file that REFUSION_ALARM names must be there.
    """
    path = file_of(root)
    if not path.exists():
        if os.environ.get(ELSEWHERE):
            raise RuleError(f"{ELSEWHERE} nævner {path}, som ikke findes; ret den, eller fjern variablen")
        return ()
    try:
        posts = read_entries(path, "modtager", Post)
    except RuleError as error:
        # An address that cannot stand may hold a secret.
        raise RuleError(re.sub(r"url = '.*': ", "url: ", str(error), flags=re.DOTALL)) from None
    found = [
        Modtager(post.navn, post.url, post.om, f"{path.name}, modtager, post {number}")
        for number, post in enumerate(posts, 1)
    ]
    for number, one in enumerate(found):
        _refuse(one, {other.navn for other in found[:number]})
    return tuple(found)


def _refuse(one: Modtager, names: set[str]) -> None:
    """RuleError if a receiver has the name of an earlier one, hears nothing, or shows a secret in the file."""
    if one.navn in names:
        raise RuleError(f"{one.hvor}: navn = '{one.navn}': står to gange; giv hver modtager sit navn")
    if not one.om:
        raise RuleError(f"{one.hvor}: om: er tom; nævn, hvad modtageren skal have, eller fjern nøglen for at give alt")
    if WRITTEN_SECRET.search(one.url):
        raise RuleError(f"{one.hvor}: url: adgangskoden står i filen; skriv ${{NAVN}}, og sæt NAVN i miljøet")
    if "$" in VARIABLE.sub("", one.url):
        raise RuleError(f"{one.hvor}: url: tegnet $ står alene; en miljøvariabel skrives ${{NAVN}}")


class _Heard(logging.Handler):
    """Receives the log of the library while this thread sends."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._thread = threading.get_ident()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Receive a line of this thread."""
        if record.thread == self._thread:
            self.lines.append(record.getMessage())

    def reason(self) -> str:
        """Why a message did not get through, in Danish; of a text that is not known only the server's number."""
        text = "\n".join(line for line in self.lines if "Payload" not in line)
        known = next((why for pattern, why in REASONS if re.search(pattern, text)), "")
        if known:
            return known
        code = CODE.search(text)
        whom = "modtageren" if "refused" in text or (code and code["code"] in ("550", "551", "553")) else "beskeden"
        return f"serveren afviste {whom} ({code['code']})" if code else "beskeden kunne ikke sendes"


def deliver(
    messages: Mapping[Modtager, Sequence[Alarm]], seconds: float = SECONDS_FOR_ALL
) -> dict[Modtager, tuple[int, str]]:
    """For each receiver how many of its messages got through, and why the next one did not, empty if all did.

    The receivers are told side by side and each in order, so that one slow server delays nobody.
    """
    done = dict.fromkeys(messages, (0, f"serveren svarede ikke inden {seconds:.0f} sekunder"))
    _apprise()
    threads = [
        threading.Thread(target=_send, args=(one, tuple(mine), done), daemon=True) for one, mine in messages.items()
    ]
    end = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(done)


def _send(one: Modtager, alarms: Sequence[Alarm], done: dict[Modtager, tuple[int, str]]) -> None:
    """Send messages to a receiver until one does not get through, and keep how far it came."""
    apprise, _ = _apprise()
    log, heard = logging.getLogger("apprise"), _Heard()
    log.addHandler(heard)
    try:
        for number, alarm in enumerate(alarms):
            kind = apprise.NotifyType.SUCCESS if alarm.forbi else apprise.NotifyType.WARNING
            # A way of its own for each message: one that has sent waits seconds before it sends again.
            way = one.plugin()
            text, form = alarm.tekst, "text"
            if way.notify_format == "markdown":
                # There an empty line parts lines; a text that is converted would have a stroke before each full stop.
                text, form = text.replace("\n", "\n\n"), "markdown"
            if not way.notify(text, title=alarm.emne, notify_type=kind, body_format=form):
                done[one] = (number, heard.reason())
                return
            done[one] = (number + 1, "" if number + 1 == len(alarms) else done[one][1])
    except RuleError as error:
        done[one] = (done[one][0], str(error))
    except UnicodeEncodeError:
        done[one] = (done[one][0], "login med brugernavn og adgangskode tager kun bogstaverne a til z, tal og tegn")
    except Exception as error:  # noqa: BLE001  a fault of one way must not silence the others
        done[one] = (done[one][0], f"uventet fejl, {type(error).__name__}")
    finally:
        log.removeHandler(heard)


def listed(root: Path) -> tuple[list[str], int]:
    """A line for each receiver of a data root and what it is told, and how many cannot be told."""
    path, found = file_of(root), receivers(root)
    if not found:
        return [nobody(path)], 0
    lines, failed = [f"Alarmer efter {path}:"], 0
    for one in found:
        try:
            lines.append(f"  {one.shown()}")
        except RuleError as error:
            lines.append(f"  {one.navn}: kan ikke få besked: {error}")
            failed += 1
    return lines, failed


def nobody(path: Path) -> str:
    """Says that there are no receivers, and where they are named."""
    return f"{path} {'nævner ingen' if path.exists() else 'findes ikke'}, så ingen får besked; se docs/alarmer.md"


def tried(root: Path) -> tuple[list[str], int]:
    """A line for each receiver: if a trial message got through; and how many did not. Stop if there is no receiver."""
    found = receivers(root)
    if not found:
        raise Stop(nobody(file_of(root)))
    text = f"Det er en prøve: alarmer fra dataroden {root} når frem hertil.\n\nDu skal ikke gøre noget."
    told = deliver({one: [Alarm("prøve", f"PRØVE: alarmer fra {root.name}", text)] for one in found})
    lines = [f"{one.navn}: {f'kom ikke igennem: {why}' if why else 'kom igennem'}" for one, (_, why) in told.items()]
    return lines, sum(bool(why) for _, why in told.values())
