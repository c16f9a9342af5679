"""The alarms of a data root: each thing told once to each receiver, also one that was down, and once when over."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock
from uuid import uuid4

import dagster as dg
import pytest

from refusion_assets.assets import classified
from refusion_assets.definitions import KRITISK_UGE, build_defs
from refusion_assets.domain.stop import Stop
from refusion_assets.operations import alarms
from refusion_assets.operations.told import Memory
from refusion_assets.rulebook.load import RuleError
from refusion_assets.store.processes import DIED, MARK
from tests.conftest import DataRoot
from tests.kit import inbox
from tests.kit.inbox import Mail, mail_server, webhook
from tests.kit.timeline import CPR
from tests.month.test_histories import few_kommuner
from tests.month.test_month_stops import deliver
from tests.month.test_user_interface import from_the_ui, opened, spoilt

MONTH = "2024-01"
RUNS = 'om = ["stop", "advarsel"]\n'
ALL = 'navn = "drift"\nurl = "mailto://127.0.0.1:{port}?from=refusion@kommune.dk&to=drift@kommune.dk"\n'
MAIL, HOOK = ALL + RUNS, 'navn = "vagt"\nurl = "json://127.0.0.1:{port}/"\n' + RUNS


@pytest.fixture(scope="module")
def january(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A root after its first month; only to be copied and looked at."""
    made = few_kommuner(tmp_path_factory.mktemp("alarm"))
    deliver(made.path, MONTH)
    made.koer(MONTH)
    return made


@pytest.fixture
def root(january: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataRoot:
    """A copy of that root."""
    monkeypatch.setenv("NO_PROXY", "*")
    return january.copy(tmp_path)


@pytest.fixture
def mail() -> Iterator[Mail]:
    """A mail server."""
    with mail_server() as served:
        yield served


def tick(root: DataRoot, cursor: str | None) -> tuple[str | None, str]:
    """One look of the sensor: the cursor after it, and what it says."""
    with opened(root) as instance:
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        [said] = list(alarms.sensor(root.place)(context))
        return context.cursor, str(said.skip_message)


def subjects(mail: Mail) -> list[str]:
    """The subjects of the mail that came."""
    return [letter["subject"] for letter in mail.letters]


def test_without_a_file_of_receivers_the_sensor_looks_at_nothing(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "look", lambda *_: pytest.fail("it looked"))
    assert tick(root, None) == (
        None,
        f"{root.path / 'alarm.toml'} findes ikke, så ingen får besked; se docs/alarmer.md",
    )


def test_a_run_that_stops_is_told_once_with_its_reason_first_and_once_when_it_is_through(
    root: DataRoot, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUSION_UI", "http://127.0.0.1:3000/")
    inbox.write(root.path, MAIL.format(port=mail.port))
    cursor, _ = tick(root, None)
    path, _ = spoilt(root)
    ran = root.refusion("koer", MONTH)
    for _ in range(2):
        cursor, _ = tick(root, cursor)
    [letter] = mail.letters
    lines = letter.get_content().splitlines()
    assert f"STOPPET: {lines[0]}\n" == ran.err
    assert letter["subject"].startswith(f"STOPPET {MONTH}: FIL-001 {path.name}")
    assert "Gør nu (FIL-001): Driften beder afsenderen" in lines[2]
    with opened(root) as instance:
        [run] = instance.get_runs(limit=1)
    assert lines[-3:] == [
        f"Kørsel: kritisk_uge {MONTH}",
        f"http://127.0.0.1:3000/runs/{run.run_id}",
        f"Datarod: {root.path}",
    ]
    with opened(root) as instance:
        succeeded = instance.create_run_for_job(build_defs(root.place).resolve_job_def(KRITISK_UGE), tags=run.tags)
        success = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, job_name=KRITISK_UGE)
        instance.report_dagster_event(success, succeeded.run_id)
    for _ in range(2):
        cursor, _ = tick(root, cursor)
    assert subjects(mail)[1:] == [f"I ORDEN {MONTH}: kritisk_uge er gennemført"]


def test_the_warnings_of_a_run_are_one_message_with_a_sentence_for_each_check(root: DataRoot, mail: Mail) -> None:
    inbox.write(root.path, MAIL.format(port=mail.port))
    cursor, said = tick(root, an_hour_ago())
    assert said == "drift fik 2"
    assert [subject.split(":")[0] for subject in subjects(mail)] == [f"ADVARSEL {MONTH}"] * 2
    calculated, settled = (letter.get_content().splitlines() for letter in mail.letters)
    assert calculated[0].startswith(
        "EI-006 holder ikke (Indkomsttype og indtægtsart er dem, kontoen venter): 2 nye fund"
    )
    assert settled == [
        "2 adviseringer er åbne. Kommunerne følger adviseringsfilen.",
        "",
        f"Kørsel: opgoer {MONTH}",
        f"Datarod: {root.path}",
    ]
    assert tick(root, cursor)[1] == "intet at sige"


def an_hour_ago() -> str:
    """The memory of a sensor that looked last an hour ago, and had seen no run."""
    return Memory(set_til=(datetime.now(UTC) - timedelta(hours=1)).isoformat()).written()


def test_a_receiver_that_is_down_is_told_once_when_it_is_there_again_and_the_others_once(root: DataRoot) -> None:
    with webhook() as hook:
        port = inbox.free_port()
        inbox.write(root.path, MAIL.format(port=port), HOOK.format(port=hook.port))
        cursor = an_hour_ago()
        for _ in range(3):
            cursor, said = tick(root, cursor)
            assert "drift fik 0, og så: der er ingen server på adressen og porten" in said
        with mail_server(port) as mail:
            for _ in range(2):
                cursor, _ = tick(root, cursor)
    assert subjects(mail) == [call["title"] for _, call in hook.calls]
    assert len(mail.letters) == 2


def test_a_number_of_a_person_in_a_reason_is_neither_sent_nor_kept(
    root: DataRoot, mail: Mail, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    inbox.write(root.path, MAIL.format(port=mail.port))
    cursor, _ = tick(root, None)
    written = f"{CPR[:6]}-{CPR[6:]}"
    with (
        opened(root) as instance,
        mock.patch.object(classified, "classify_through", side_effect=Stop(f"{CPR} {written}")),
    ):
        from_the_ui(root, instance, KRITISK_UGE, {"dagster/partition": MONTH})
    caplog.clear()
    capfd.readouterr()
    with mock.patch.object(alarms, "deliver", lambda messages: dict.fromkeys(messages, (0, "x"))):
        waiting, _ = tick(root, cursor)
    _, said = tick(root, waiting)
    [letter] = mail.letters
    assert letter.get_content().splitlines()[0] == "(personnummer) (personnummer)"
    everything = "".join(
        [str(waiting), said, letter.as_string(), letter.get_content(), *capfd.readouterr(), caplog.text]
    )
    assert (CPR in everything, written in everything, CPR[6:] in everything) == (False, False, False)


def test_a_run_that_lost_its_process_or_was_interrupted_is_told(root: DataRoot, mail: Mail) -> None:
    inbox.write(root.path, MAIL.format(port=mail.port))
    cursor, _ = tick(root, None)
    with opened(root) as instance:
        job = build_defs(root.place).resolve_job_def(KRITISK_UGE)
        for end in (instance.report_run_failed, instance.report_run_canceled):
            end(instance.create_run_for_job(job_def=job, tags={"dagster/partition": MONTH}))
    tick(root, cursor)
    assert [letter.get_content().splitlines()[0] for letter in mail.letters] == [DIED, alarms.INTERRUPTED]


def test_a_killed_run_is_ended_and_told_once(root: DataRoot, mail: Mail) -> None:
    inbox.write(root.path, MAIL.format(port=mail.port))
    cursor, _ = tick(root, None)
    with opened(root) as instance:
        job, run_id = build_defs(root.place).resolve_job_def(KRITISK_UGE), str(uuid4())
        tags = {"dagster/partition": MONTH, MARK: run_id}
        instance.create_run_for_job(job_def=job, run_id=run_id, tags=tags, status=dg.DagsterRunStatus.STARTED)
    for _ in range(2):
        cursor, _ = tick(root, cursor)
    assert [letter.get_content().splitlines()[0] for letter in mail.letters] == [DIED]


def test_a_file_of_receivers_that_cannot_stand_makes_the_tick_fail_in_danish(root: DataRoot) -> None:
    inbox.write(root.path, 'navn = "drift"')
    with pytest.raises(RuleError, match=r"alarm\.toml, modtager, post 1: mangler url"):
        tick(root, None)


# --- the coming month -------------------------------------------------------------------------------------------


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is proved though it has just been written, and a month is calm though a run has just ended."""
    monkeypatch.setattr(alarms, "SECONDS_TO_SETTLE", 0.0)
    monkeypatch.setattr(alarms, "CALM", timedelta(0))


@pytest.mark.usefixtures("at_once")
def test_a_month_is_told_from_the_sender_who_is_late_and_the_bad_file_to_the_settled_files(
    root: DataRoot, mail: Mail
) -> None:
    inbox.write(root.path, ALL.format(port=mail.port) + 'om = ["sen", "fil", "frist", "ikke_opgjort"]')
    cursor, told = None, 0

    def heard() -> list[str]:
        """The subjects since the last look, without the details."""
        nonlocal cursor, told
        cursor, _ = tick(root, cursor)
        fresh, told = subjects(mail)[told:], len(mail.letters)
        return [" ".join(subject.split(" (og ")[0].split()[:9]) for subject in fresh]

    late = [
        "MANGLER 2024-02: akasse-20100001 har ikke leveret for 2024-02",
        "FRIST 2024-02: fristen var tirsdag 5. marts 2024 kl.",
        "IKKE OPGJORT 2024-02: 2024-02 skulle være opgjort senest onsdag",
    ]
    assert heard() == late
    assert heard() == []
    deliver(root.path, "2024-02")
    path = next((root.path / "raw" / "ky" / "2024-02").glob("*.csv"))
    good = path.read_bytes()
    path.write_bytes(good + b"\n")
    assert heard() == [
        f"FEJL I FIL 2024-02: ky-169: FIL-001 {path.name}: sha256 er",
        "I ORDEN 2024-02: akasse-20100001 har leveret for 2024-02",
    ]
    path.write_bytes(good)
    assert heard() == ["I ORDEN 2024-02: ky-169 har leveret for 2024-02"]
    root.run("2024-02")
    # March is late at once, as it is in the past too.
    done = heard()
    assert [line for line in done if line.startswith("I ORDEN")] == ["I ORDEN 2024-02: 2024-02 er opgjort"]
    assert [line.split(":")[0] for line in done if not line.startswith("I ORDEN")] == [
        "MANGLER 2024-03",
        "FRIST 2024-03",
        "IKKE OPGJORT 2024-03",
    ]


@pytest.mark.usefixtures("at_once")
def test_a_month_that_is_run_again_is_not_told_as_late_while_the_run_is_at_work_or_has_just_ended(
    root: DataRoot, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.write(root.path, ALL.format(port=mail.port) + 'om = ["frist", "ikke_opgjort"]')
    with opened(root) as instance:
        job = build_defs(root.place).resolve_job_def(KRITISK_UGE)
        run = instance.create_run_for_job(job_def=job, status=dg.DagsterRunStatus.STARTED)
        cursor, _ = tick(root, None)
        instance.report_run_canceled(run)
    monkeypatch.setattr(alarms, "CALM", timedelta(minutes=5))
    cursor, said = tick(root, cursor)
    assert (said, mail.letters) == ("intet at sige", [])
    monkeypatch.setattr(alarms, "CALM", timedelta(0))
    tick(root, cursor)
    assert [subject.split(":")[0] for subject in subjects(mail)] == ["FRIST 2024-02", "IKKE OPGJORT 2024-02"]


def test_a_board_that_cannot_be_read_does_not_silence_the_runs(
    root: DataRoot, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.write(root.path, MAIL.format(port=mail.port))
    monkeypatch.setattr(alarms, "coming_month", mock.Mock(side_effect=Stop(f"lageret er åbnet af {CPR}")))
    _, said = tick(root, an_hour_ago())
    assert said == "drift fik 2; tavlen kunne ikke læses: lageret er åbnet af (personnummer)"


def test_an_unforeseen_fault_of_the_board_does_not_silence_the_runs_and_says_no_person(
    root: DataRoot, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.write(root.path, MAIL.format(port=mail.port))
    monkeypatch.setattr(alarms, "coming_month", mock.Mock(side_effect=KeyError(CPR)))
    _, said = tick(root, an_hour_ago())
    assert said.startswith("drift fik 2; uventet fejl, KeyError i ")
    assert CPR not in said
