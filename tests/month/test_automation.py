"""The month that starts by itself: when, with what, and what it leaves to a person; the sensor and the schedule."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from unittest import mock

import dagster as dg
import pytest
from dagster._core.execution.retries import auto_reexecution_should_retry_run

from refusion_assets.definitions import build_defs
from refusion_assets.domain.operations.bankdays import DANISH
from refusion_assets.operations import automation
from refusion_assets.operations.automation import BOARD, BOARD_CHECK, Start, decide, request
from refusion_assets.place import Place
from tests.conftest import DataRoot
from tests.kit.senders import kth
from tests.month.test_board import MONTH, OPENED, files_of, look, run_through_march, senders_of, with_own_rules
from tests.month.test_user_interface import opened

PASSED = datetime(2024, 5, 3, 12, tzinfo=DANISH)


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A root that is only to be copied."""
    return run_through_march(tmp_path_factory.mktemp("af-sig-selv"))


@pytest.fixture
def root(settled: DataRoot, tmp_path: Path) -> DataRoot:
    """A copy of that root."""
    return with_own_rules(settled, tmp_path)


def start_of(root: DataRoot, now: datetime) -> Start | str:
    """What the schedule decides at a moment."""
    return decide(root.place, look(root, now))


def edit_rules(root: DataRoot, old: str, new: str) -> None:
    """One place of drift.toml changed."""
    path = root.rules / "drift.toml"
    text = path.read_text("utf-8")
    assert old in text
    path.chmod(0o644)
    path.write_text(text.replace(old, new), "utf-8")


def test_a_month_starts_from_its_bank_day_once_all_have_delivered(root: DataRoot) -> None:
    assert "2 mangler" in str(start_of(root, OPENED))
    senders_of(root).deliver("2024-04", [kth("c1")])
    assert "starter tidligst onsdag 1. maj 2024 kl. 06:00" in str(start_of(root, OPENED - timedelta(seconds=1)))
    start = start_of(root, OPENED)
    assert isinstance(start, Start)
    assert (start.maaned, start.accepter) == (MONTH, ())
    path = files_of(root, "ky")
    path.write_bytes(path.read_bytes() + b"x")
    assert "FIL-001" in str(start_of(root, PASSED))


def test_at_the_deadline_it_waits_or_goes_on_as_the_rules_say(root: DataRoot) -> None:
    senders_of(root).deliver("2024-04")
    shutil.rmtree(root.path / "raw" / "akasse" / "2024-04")
    assert "1 mangler" in str(start_of(root, PASSED))
    edit_rules(root, 'ved_frist = "vent"', 'ved_frist = "fortsaet"\nbegrundelse = "aftalt med styregruppen"')
    assert "1 mangler" in str(start_of(root, PASSED - timedelta(minutes=1)))
    start = start_of(root, PASSED)
    assert isinstance(start, Start)
    assert (start.accepter, start.begrundelse) == (("FIL-006:akasse-20100001",), "aftalt med styregruppen")
    assert request(start).run_config == {
        "ops": {"raw__indberetning": {"config": {"accepter": list(start.accepter), "begrundelse": start.begrundelse}}}
    }


def test_nothing_that_moves_settled_money_starts_by_itself(root: DataRoot) -> None:
    senders_of(root).deliver("2024-04", [kth("c1")])
    assert isinstance(start_of(root, OPENED), Start)
    with root.place.warehouse.open() as session:  # a person has begun the month, and it was stopped
        session.run(
            "INSERT INTO opgoerelse.koersel SELECT * REPLACE (52 AS koersel, DATE '2024-04-01' AS maaned, "
            "'opgjort' AS status) FROM opgoerelse.koersel LIMIT 1"
        )
    assert "et menneske fører den til ende" in str(start_of(root, OPENED))
    with root.place.warehouse.open() as session:
        session.run("DELETE FROM opgoerelse.koersel WHERE maaned = DATE '2024-04-01'")
        session.run("INSERT INTO opgoerelse.tilbageholdt VALUES (DATE '2024-03-01', '169', 'mangler svar')")
    assert "holdes tilbage i 2024-03: 169" in str(start_of(root, OPENED))


def test_a_change_of_the_rules_that_touches_calculated_months_waits_for_a_person(root: DataRoot) -> None:
    senders_of(root).deliver("2024-04", [kth("c1")])
    path = root.rules / "optaelling.toml"
    path.chmod(0o644)
    path.write_text(path.read_text("utf-8").replace("uger = 52", "uger = 51"), "utf-8")
    assert "genberegn_foraeldede" in str(start_of(root, OPENED))


def test_no_month_starts_by_itself_without_a_single_delivery(root: DataRoot) -> None:
    edit_rules(root, 'ved_frist = "vent"', 'ved_frist = "fortsaet"\nbegrundelse = "aftalt med styregruppen"')
    said = str(start_of(root, PASSED))
    assert "uden een leverance" in said


def test_the_schedule_waits_for_a_run_that_has_not_come_to_its_first_step(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    assert automation.busy_with(instance, root.path) == ""
    run = dg.DagsterRun(job_name="kritisk_uge", status=dg.DagsterRunStatus.STARTING)
    instance.add_run(run)
    assert automation.busy_with(instance, root.path) == run.run_id


def test_a_run_of_a_command_that_died_is_not_started_again_by_dagster(instance: dg.DagsterInstance) -> None:
    assert instance.run_retries_max_retries == 1
    for run in instance.get_runs():
        died = run.with_status(dg.DagsterRunStatus.FAILURE)
        assert not auto_reexecution_should_retry_run(instance, died, None)


def test_the_sensor_says_why_the_board_cannot_be_seen(
    root: DataRoot, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automation, "coming_month", mock.Mock(side_effect=PermissionError(13, "nej", "raw")))
    sensor = automation.sensor(Place(root.path, root.rules))
    said = sensor.evaluate_tick(dg.build_sensor_context(instance=instance))
    assert str(said.skip_message) == (
        "tavlen kunne ikke læses: systemet siger nej: raw; giv brugeren, der kører programmet, adgang til stien, "
        "og kør igen"
    )


def test_rules_without_a_critical_week_and_a_full_disk_start_nothing(root: DataRoot) -> None:
    senders_of(root).deliver("2024-04", [kth("c1")])
    found = look(root)
    full = replace(found, plads=replace(found.plads, ledig=found.plads.kraevet - 1))
    assert "gør plads" in str(decide(root.place, full))
    assert full.plads.knap
    assert not found.plads.knap
    text = (root.rules / "drift.toml").read_text("utf-8")
    edit_rules(root, text[text.index("[[kritisk_uge]]") :], "")
    assert "ingen kritisk uge" in str(start_of(root, PASSED))


# --- the board in the user interface ---------------------------------------------------------------------------


@pytest.fixture
def instance(root: DataRoot) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance of the root."""
    with opened(root) as made:
        yield made


def test_the_sensor_marks_senders_as_they_come_and_takes_a_mark_back(
    root: DataRoot, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automation, "SECONDS_TO_SETTLE", 0.0)
    sensor = automation.sensor(Place(root.path, root.rules))
    cursor = None

    def tick() -> str:
        nonlocal cursor
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        said = sensor.evaluate_tick(context)
        cursor = said.cursor
        return str(said.skip_message)

    def cells() -> set[str]:
        return {cell for cell in instance.get_materialized_partitions(BOARD) if cell.endswith("2024-04")}

    assert "0 af 2 afsendere har leveret" in tick()
    assert cells() == set()
    senders_of(root).deliver("2024-04", [kth("c1")])
    assert "2 af 2 afsendere har leveret" in tick()
    assert cells() == {"akasse-20100001|2024-04", "ky-169|2024-04"}
    path = files_of(root, "ky")
    path.write_bytes(path.read_bytes() + b"x")
    assert "1 afsender har en dårlig fil" in tick()
    assert cells() == {"akasse-20100001|2024-04"}
    key = dg.AssetCheckKey(BOARD, BOARD_CHECK)
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    evaluation = record.event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
    assert not evaluation.passed
    assert "FIL-001" in str(evaluation.metadata["hvem"].value)
    before = len(instance.fetch_observations(BOARD, limit=10).records)
    tick()
    assert len(instance.fetch_observations(BOARD, limit=10).records) == before == 1  # told once


def test_the_schedule_starts_a_month_once_and_the_run_settles_it(
    root: DataRoot, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automation, "SECONDS_TO_SETTLE", 0.0)
    monkeypatch.setattr(automation, "now_in_danish_time", lambda: PASSED)
    defs = automation_defs(root)

    def tick() -> dg.RunRequest | str:
        return ticked(defs, instance)

    senders_of(root).deliver("2024-04", [kth("c1")])
    shutil.move(root.path / "raw" / "akasse" / "2024-04", root.path / "senere")
    assert "1 mangler" in str(tick())
    shutil.move(root.path / "senere", root.path / "raw" / "akasse" / "2024-04")
    asked = tick()
    assert isinstance(asked, dg.RunRequest)
    assert asked.partition_key == "2024-04"
    ran = defs.resolve_job_def("kritisk_uge").execute_in_process(
        instance=instance, partition_key=asked.partition_key, run_config=asked.run_config, tags=asked.tags
    )
    assert ran.success
    assert "forsøgt på det samme" in str(tick())


def test_a_month_that_a_person_has_begun_is_left_to_that_person(
    root: DataRoot, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automation, "SECONDS_TO_SETTLE", 0.0)
    monkeypatch.setattr(automation, "now_in_danish_time", lambda: PASSED)
    senders_of(root).deliver("2024-04", [kth("c1")])
    tags = {"dagster/partition": "2024-04", automation.STARTED_BY: automation.COMMAND_LINE}
    stopped = dg.DagsterRun(job_name="kritisk_uge", status=dg.DagsterRunStatus.FAILURE, tags=tags)
    instance.add_run(stopped)  # of `koer 2024-04 --undtagen 169`, as it could not settle
    assert str(ticked(automation_defs(root), instance)).startswith(f"måneden er forsøgt i kørsel {stopped.run_id[:8]}")


def ticked(defs: dg.Definitions, instance: dg.DagsterInstance) -> dg.RunRequest | str:
    """The run that the schedule asks for, or why it asks for none."""
    schedule = defs.resolve_schedule_def("kritisk_uge_klar")
    with dg.build_schedule_context(instance=instance, repository_def=defs.get_repository_def()) as context:
        said = schedule.evaluate_tick(context)
    return said.run_requests[0] if said.run_requests else str(said.skip_message)


def automation_defs(root: DataRoot) -> dg.Definitions:
    """The code location of a root."""
    return build_defs(Place(root.path, root.rules))
