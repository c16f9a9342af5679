"""Who is told, of what: the file of receivers, real servers with their faults, and no person in any message."""

import logging
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import astuple
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.wording import without_persons
from refusion_assets.operations import receivers
from refusion_assets.operations.receivers import EVERYTHING, Alarm, Modtager, deliver
from tests.conftest import DataRoot, Ran
from tests.house.test_house import python
from tests.kit import inbox
from tests.kit.data_root import REPO
from tests.kit.inbox import PASSWORD, USER, mail_server, webhook

MAIL = 'navn = "drift"\nurl = "mailto://127.0.0.1:{port}?from=refusion@kommune.dk&to=drift@kommune.dk"'
LOGIN = (
    'navn = "drift"\nurl = "mailtos://{user}:${{SMTP_KODE}}@localhost:{port}?from=refusion@kommune.dk&to=d@kommune.dk"'
)
HOOK = 'navn = "vagt"\nurl = "json://127.0.0.1:{port}/${{NOEGLE}}"'
# The address as Power Automate gives it.
TEAMS = (
    "https://prod-12.westeurope.logic.azure.com:443/workflows/643e69f8/triggers/manual/paths/invoke"
    "?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=KODMg5xuE_p"
)
STOPPET = Alarm("stop", "STOPPET 2026-10: FIL-006 ky-161 har ikke leveret", "FIL-006 ky-161\n\nÆblegrød på Færøerne\n")


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secrets of the tests, no proxy, and servers that need not be waited for long."""
    for name, value in {"SMTP_KODE": PASSWORD, "NOEGLE": "en/nøgle?", "NO_PROXY": "*", "no_proxy": "*"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(receivers, "SECONDS_FOR_AN_ANSWER", 1.0)
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate of the servers is one that we trust."""
    monkeypatch.setenv("SSL_CERT_FILE", str(inbox.CERTIFICATE))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(inbox.CERTIFICATE))


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What a log of everything would hold."""
    said: list[str] = []
    handler, root = logging.Handler(), logging.getLogger()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield said
    root.setLevel(level)
    root.removeHandler(handler)


def only(root: Path, entry: str, **filled: Any) -> Modtager:
    """The one receiver of a file."""
    inbox.write(root, entry.format(user=USER, **filled))
    [found] = receivers.receivers(root)
    return found


def told(one: Modtager, *alarms: Alarm) -> tuple[int, str]:
    """How many messages got through, and why the next did not."""
    return deliver({one: alarms or (STOPPET,)})[one]


# --- sent -------------------------------------------------------------------------------------------------------


def test_a_mail_arrives_once_as_plain_text_with_its_danish_letters(tmp_path: Path) -> None:
    with mail_server() as mail:
        assert told(only(tmp_path, MAIL, port=mail.port)) == (1, "")
    [letter] = mail.letters
    assert (letter["subject"], letter["from"], letter["to"]) == (
        STOPPET.emne,
        "refusion@kommune.dk",
        "drift@kommune.dk",
    )
    assert (letter.get_content_type(), letter.get_content_charset()) == ("text/plain", "utf-8")
    assert letter.get_content().splitlines() == STOPPET.tekst.splitlines()


@pytest.mark.usefixtures("known")
def test_a_mail_is_sent_after_starttls_and_a_login_from_the_environment(tmp_path: Path) -> None:
    with mail_server(login=True) as mail:
        assert told(only(tmp_path, LOGIN, port=mail.port)) == (1, "")
    assert (len(mail.letters), mail.encrypted) == (1, [True])


def test_a_webhook_gets_subject_and_text_and_the_key_of_the_environment(tmp_path: Path) -> None:
    with webhook() as hook:
        assert told(only(tmp_path, HOOK, port=hook.port)) == (1, "")
    [(path, body)] = hook.calls
    assert path == "/en%2Fn%C3%B8gle%3F"
    assert (body["title"], body["message"], body["type"]) == (STOPPET.emne, STOPPET.tekst.strip(), "warning")


@pytest.mark.usefixtures("known")
def test_teams_gets_a_card_whose_lines_stand_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook(encrypted=True) as hook:
        monkeypatch.setenv("TEAMS", f"workflows://localhost:{hook.port}/arbejdsgang/signatur")
        one = only(tmp_path, 'navn = "teams"\nurl = "${{TEAMS}}"')
        assert told(one, Alarm("stop", "STOPPET 2026-10: x", "FIL-006\nÆble")) == (1, "")
        assert "signatur" not in one.shown()
    [(path, card)] = hook.calls
    assert "sig=signatur" in path
    said = [block["text"] for block in card["attachments"][0]["content"]["body"]]
    assert said == ["STOPPET 2026-10: x", "FIL-006\n\nÆble"]


def test_many_messages_are_sent_without_a_pause_and_in_order(tmp_path: Path) -> None:
    alarms = [Alarm("stop", f"STOPPET nr. {number}", "x") for number in range(4)]
    begun = time.monotonic()
    with mail_server() as mail:
        assert told(only(tmp_path, MAIL, port=mail.port), *alarms) == (4, "")
    assert [letter["subject"] for letter in mail.letters] == [alarm.emne for alarm in alarms]
    assert time.monotonic() - begun < 5


# --- not sent ---------------------------------------------------------------------------------------------------


def broken(root: Path, fault: str, stack: ExitStack) -> Modtager:
    """A receiver behind a server with a fault."""
    servers: dict[str, dict[str, Any]] = {
        "refused login": {"login": True},
        "unknown certificate": {"login": True},
        "refused recipient": {"refuses": "drift@kommune.dk"},
        "slow": {"waits": 3},
        "cut": {"cuts": True},
        "no starttls": {},
    }
    if fault == "down":
        return only(root, MAIL, port=inbox.free_port())
    if fault == "no such server":
        return only(root, MAIL.replace("127.0.0.1", "findes.invalid"), port=25)
    if fault.startswith("webhook"):
        hook = stack.enter_context(webhook(answers=int(fault.rsplit(maxsplit=1)[-1])))
        return only(root, HOOK, port=hook.port)
    mail = stack.enter_context(mail_server(**servers[fault]))
    if fault == "refused login":
        return only(root, LOGIN.replace("{user}", "andre"), port=mail.port)
    if fault == "unknown certificate":
        return only(root, LOGIN, port=mail.port)
    return only(root, MAIL.replace("mailto", "mailtos") if fault == "no starttls" else MAIL, port=mail.port)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("refused login", "serveren afviste login; er brugernavn og adgangskode rigtige?"),
        ("unknown certificate", "serverens certifikat kan ikke godkendes"),
        ("refused recipient", "serveren afviste modtageren (550)"),
        ("slow", "serveren svarede ikke i tide"),
        ("cut", "forbindelsen blev afbrudt"),
        ("no starttls", "serveren tilbyder ikke kryptering (STARTTLS)"),
        ("down", "der er ingen server på adressen og porten"),
        ("no such server", "serverens navn kendes ikke"),
        ("webhook 401", "serveren afviste adgangen; er nøglen i adressen rigtig?"),
        ("webhook 500", "serveren afviste beskeden (500)"),
    ],
)
def test_a_message_that_does_not_get_through_says_why_in_danish_and_without_secrets(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logged: list[str],
    capfd: pytest.CaptureFixture[str],
    fault: str,
    why: str,
) -> None:
    if fault == "refused login":
        monkeypatch.setenv("SSL_CERT_FILE", str(inbox.CERTIFICATE))
    if fault == "no such server":
        unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        monkeypatch.setattr(socket, "getaddrinfo", mock.Mock(side_effect=unknown))
    with ExitStack() as stack:
        assert told(broken(tmp_path, fault, stack)) == (0, why)
    everything = "".join([*logged, *capfd.readouterr()])
    assert [secret for secret in (PASSWORD, "nøgle?", "n%C3%B8gle", STOPPET.tekst) if secret in everything] == []


def test_a_slow_receiver_delays_nobody_and_is_left_after_a_while(tmp_path: Path) -> None:
    with webhook(waits=5) as slow, webhook() as quick, pytest.MonkeyPatch.context() as patch:
        patch.setattr(receivers, "SECONDS_FOR_AN_ANSWER", 9.0)
        inbox.write(tmp_path, HOOK.format(port=slow.port), HOOK.replace("vagt", "drift").format(port=quick.port))
        one, two = receivers.receivers(tmp_path)
        begun = time.monotonic()
        done = deliver({one: [STOPPET], two: [STOPPET, STOPPET]}, seconds=1)
        assert time.monotonic() - begun < 4
    assert done == {one: (0, "serveren svarede ikke inden 1 sekunder"), two: (2, "")}


def test_after_a_message_that_fails_no_later_one_overtakes_it(tmp_path: Path) -> None:
    with webhook() as hook:
        one = only(tmp_path, HOOK, port=hook.port)
        hook.answers = 503
        assert told(one, STOPPET, STOPPET) == (0, "serveren afviste beskeden (503)")
    assert hook.calls == []


# --- the file ---------------------------------------------------------------------------------------------------

GOOD = 'navn = "drift"\nurl = "json://127.0.0.1/a"'
WRONG = [
    ('[[modtager]]\nnavn = "drift"\n', "alarm.toml, modtager, post 1: mangler url"),
    (f"[[modtager]]\n{GOOD}\nhvem = 1\n", "alarm.toml, modtager, post 1: ukendt nøgle hvem"),
    (f"[[modtagere]]\n{GOOD}\n", "alarm.toml, modtagere: ukendt emne; skriv [[modtager]]"),
    (f"[modtager]\n{GOOD}\n", "alarm.toml, modtager: er skrevet som een post; skriv [[modtager]]"),
    (f'[[modtager]]\n{GOOD}\nom = ["brand"]\n', "om: nr. 1 = 'brand': er ikke en af stop, advarsel"),
    (f"[[modtager]]\n{GOOD}\nom = []\n", "alarm.toml, modtager, post 1: om: er tom"),
    (f"[[modtager]]\n{GOOD}\n[[modtager]]\n{GOOD}\n", "alarm.toml, modtager, post 2: navn = 'drift': står to gange"),
    ('[[modtager]]\nnavn = "drift\n', "alarm.toml, linje 2: kan ikke læses som TOML"),
    ('[[modtager]]\nnavn = "a"\nurl = "mailtos://u:kode1234@b.dk"\n', "post 1: url: adgangskoden står i filen"),
    ('[[modtager]]\nnavn = "a"\nurl = "mailtos://u:$KODE@b.dk"\n', "post 1: url: adgangskoden står i filen"),
    ('[[modtager]]\nnavn = "a"\nurl = "json://b.dk/$kode1234"\n', "post 1: url: tegnet $ står alene"),
    ('[[modtager]]\nnavn = "a"\nurl = "json://b.dk/kode1234 "\n', "post 1: url: begynder eller slutter med blanktegn"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_file_that_cannot_stand_is_refused_with_file_and_entry_and_without_its_secrets(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "alarm.toml").write_text(text, "utf-8")
    ran = DataRoot(tmp_path).refusion("alarm")
    assert (ran.code, ran.err.count("\n"), said in ran.err, "kode1234" in ran.err) == (1, 1, True, False), ran.err


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("json://b.dk/${ER_IKKE_SAT}", "url: miljøvariablen ER_IKKE_SAT er ikke sat"),
        ("ingenting", "url: adressen forstås ikke"),
        ("mailto://b.dk?from=a@b.dk&to=c@b.dk,d@b.dk", "url: adressen nævner flere modtagere"),
        ("mailto://b.dk?from=a@b.dk&to=c@b.dk&cc=d@b.dk", "url: adressen nævner flere modtagere"),
    ],
)
def test_an_address_that_cannot_be_used_fails_alone_and_the_others_are_told(
    tmp_path: Path, url: str, said: str
) -> None:
    with webhook() as hook:
        inbox.write(tmp_path, f'navn = "a"\nurl = "{url}"', HOOK.format(port=hook.port))
        root = DataRoot(tmp_path)
        listed, tried = root.refusion("alarm"), root.refusion("alarm", "--proev")
    assert (listed.code, f"a: kan ikke få besked: alarm.toml, modtager, post 1: {said}" in listed.out) == (1, True)
    assert (tried.code, "vagt: kom igennem\n" in tried.out, said in tried.out) == (1, True, True)
    assert len(hook.calls) == 1


# --- the command ------------------------------------------------------------------------------------------------


def test_the_command_lists_the_receivers_and_their_kinds_without_secrets(tmp_path: Path) -> None:
    inbox.write(tmp_path, LOGIN.format(user=USER, port=587), HOOK.format(port=8080) + '\nom = ["stop", "disk"]')
    ran = DataRoot(tmp_path).refusion("alarm")
    assert (ran.code, ran.out.splitlines()) == (
        0,
        [
            f"Alarmer efter {tmp_path / 'alarm.toml'}:",
            "  drift: mail til d@kommune.dk over localhost:587; får alt",
            "  vagt: JSON på 127.0.0.1:8080; får stop, disk",
        ],
    )


def test_the_command_says_for_each_receiver_if_a_trial_got_through(tmp_path: Path) -> None:
    with mail_server() as mail:
        inbox.write(tmp_path, MAIL.format(port=mail.port), HOOK.format(port=inbox.free_port()))
        ran = DataRoot(tmp_path).refusion("alarm", "--proev")
    assert ran == Ran(
        1,
        "drift: kom igennem\nvagt: kom ikke igennem: der er ingen server på adressen og porten\n",
        f"STOPPET: 1 af modtagerne i {tmp_path / 'alarm.toml'} kan ikke få besked\n",
    )
    assert mail.letters[0]["subject"] == f"PRØVE: alarmer fra {tmp_path.name}"


def test_the_file_of_the_guide_can_be_copied_and_is_the_one_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, guide = (REPO / "docs" / name for name in ("service/alarm.toml", "alarmer.md"))
    assert f"```toml\n{given.read_text('utf-8')}```" in guide.read_text("utf-8")
    monkeypatch.setenv("TEAMS_ADRESSE", TEAMS)
    monkeypatch.setenv("VAGT_NOEGLE", "hemmelig")
    shutil.copyfile(given, tmp_path / "alarm.toml")
    ran = DataRoot(tmp_path).refusion("alarm")
    assert (ran.code, ran.out.splitlines()[1:], "hemmelig" in ran.out) == (
        0,
        [
            "  drift: mail til drift@kommune.dk over smtp.kommune.dk:587; får alt",
            "  teams: Teams på prod-12.westeurope.logic.azure.com:443; får stop, frist, ikke_opgjort",
            "  vagt: JSON på vagt.kommune.dk; får stop, disk",
        ],
        False,
    )
    assert [f"`{kind}`" for kind in EVERYTHING if f"| `{kind}` |" not in guide.read_text("utf-8")] == []


def test_without_a_file_nobody_is_told_and_the_command_says_so(tmp_path: Path) -> None:
    root = DataRoot(tmp_path)
    said = f"{tmp_path / 'alarm.toml'} findes ikke, så ingen får besked; se docs/alarmer.md"
    assert root.refusion("alarm") == Ran(0, f"{said}\n", "")
    assert root.refusion("alarm", "--proev") == Ran(1, "", f"STOPPET: {said}\n")


def test_the_file_may_lie_elsewhere_but_not_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = inbox.write(tmp_path, GOOD)
    monkeypatch.setenv("REFUSION_ALARM", str(elsewhere))
    root = DataRoot(tmp_path / "rod")
    assert "drift: JSON" in root.refusion("alarm").out
    elsewhere.unlink()
    assert root.refusion("alarm").err.startswith(f"STOPPET: REFUSION_ALARM nævner {elsewhere}, som ikke findes")


def test_the_library_that_sends_is_not_loaded_before_something_is_sent() -> None:
    code = "import sys, refusion_assets.cli, refusion_assets.operations.receivers; print('apprise' in sys.modules)"
    assert python(code) == "False"


# --- no person --------------------------------------------------------------------------------------------------

DIGITS = st.text("0123456789", min_size=10, max_size=10)
BIRTH = st.dates().map(lambda day: f"{day:%d%m}{day.year % 100:02}")
PEOPLE = st.one_of(DIGITS, st.builds(lambda born, last: f"{born}{last:04}", BIRTH, st.integers(0, 9999)))
AROUND = st.text(max_size=20) | st.text("0123456789- ,.\nab", max_size=12)
WRITTEN = ("{0}{1}", "{0}-{1}", "{0} - {1}", "{0}\u2013{1}", "{0}\u2011{1}", "{0}\u00ad{1}", "{0}_{1}")


@given(person=PEOPLE, form=st.sampled_from(WRITTEN), before=AROUND, after=AROUND)
def test_ten_digits_never_get_out_whatever_stands_around_them(person: str, form: str, before: str, after: str) -> None:
    written = form.format(person[:6], person[6:])
    alarm = Alarm("stop", f"{before}{written}{after}", f"{after}\n{before}{written}{after}\n{written}")
    for text in astuple(alarm)[1:3]:
        assert person not in text
        assert written not in text
        assert f"{person[:6]}-{person[6:]}" not in text


@given(
    born=BIRTH,
    last=st.integers(0, 9999),
    form=st.sampled_from(("{0} {1}", "{0}/{1}", "{0}.{1}", "{0}\n{1}", "{0}: {1}")),
)
def test_a_birth_date_and_four_digits_are_hidden_with_any_sign_between(born: str, last: int, form: str) -> None:
    parts = (f"{born[:2]}{between}{born[2:4]}{between}{born[4:]}" for between in ("", ".", "-", "/", " "))
    for day in parts:
        assert f"{last:04}" not in without_persons(f"personen {form.format(day, f'{last:04}')}, men")


def test_names_of_files_months_amounts_and_commands_stay_as_they_are() -> None:
    for text in (
        "FIL-001 eindkomst-yr-akasse-20100001-202610-0001.csv: antal_raekker er 10, manifestet siger 20",
        "eindkomst-yr-ky-101-201401-0001.csv og bopael-202610.csv: 1.234.567.890,00 kr.",
        "refusion opgoer 2026-10 --kommuner 706,630; refusion koer 2024-01..2026-10",
        "200.000,00 kr.: SYG_BORGER fra 29101000 og 29147000 den 28.10.2026 kl. 12.00",
    ):
        assert without_persons(text) == text


def test_a_subject_is_one_short_line() -> None:
    alarm = Alarm("stop", "STOPPET\n2026-10: " + "x" * 500, "")
    assert (len(alarm.emne), "\n" in alarm.emne, alarm.emne[-1]) == (150, False, "…")
    assert set(EVERYTHING) == {"stop", "advarsel", "fil", "sen", "frist", "ikke_opgjort", "disk", "levering"}
