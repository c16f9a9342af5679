"""The board before a run: who has delivered, what is wrong, and whether the month may start by itself."""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import dagster as dg
import pytest
from dagster._core.execution.retries import auto_reexecution_should_retry_run

from refusion_assets.definitions import build_defs
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.operations.bankdays import DANISH
from refusion_assets.domain.operations.board import FEJL, LEVERET, MANGLER, SEN, UNDERVEJS, Board
from refusion_assets.files import arrivals, separated
from refusion_assets.operations import automation
from refusion_assets.operations.automation import BOARD, BOARD_CHECK, Start, decide, request
from refusion_assets.operations.board import board, coming_month, run_lines
from refusion_assets.place import Place
from refusion_assets.store.session import Locked, Warehouse
from refusion_assets.store.tables import TABLES
from tests.conftest import DataRoot
from tests.kit.senders import BORN_1858, Senders, adp, kth
from tests.month.test_histories import few_kommuner
from tests.month.test_user_interface import opened

MONTH = month_of("2024-04")
OPENED = datetime(2024, 5, 1, 6, tzinfo=DANISH)
PASSED = datetime(2024, 5, 3, 12, tzinfo=DANISH)


def senders_of(root: DataRoot) -> Senders:
    """What delivers to a root, after the three months that each root begins with."""
    return Senders(root.path, 30)


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A root of few municipalities, run through 2024-03; only to be copied."""
    root = few_kommuner(tmp_path_factory.mktemp("tavle"))
    senders = Senders(root.path)
    for number, (month, run) in enumerate((("2024-02", root.run), ("2024-03", root.koer))):
        senders.deliver(month, [kth(f"a{number}"), adp(f"b{number}")])
        senders.live(month)
        run(month)
    return root


@pytest.fixture
def root(settled: DataRoot, tmp_path: Path) -> DataRoot:
    """A copy of that root with rules of its own."""
    copied = Path(shutil.copytree(settled.path, tmp_path / "rod"))
    return DataRoot(copied, copied / "rules")


def look(root: DataRoot, now: datetime = OPENED, **more: float | bool) -> Board:
    """The board of the coming month."""
    month = coming_month(root.place)
    assert month == MONTH
    return board(root.place, month, now, **more)  # type: ignore[arg-type]


def states(found: Board) -> dict[str, str]:
    """The state of each sender."""
    return {sender.navn: sender.stand for sender in found.afsendere}


def files_of(root: DataRoot, kilde: str) -> Path:
    """The one file of a source of the coming month."""
    [path] = (root.path / "raw" / kilde / "2024-04").glob("*.csv")
    return path


def test_every_sender_of_last_month_is_expected_and_is_late_from_its_bank_day(root: DataRoot) -> None:
    assert set(states(look(root)).values()) == {MANGLER}
    late = datetime(2024, 5, 2, 6, tzinfo=DANISH)
    assert set(states(look(root, late - timedelta(minutes=1))).values()) == {MANGLER}
    assert set(states(look(root, late)).values()) == {SEN}
    ksd, ky = "akasse-20100001", "ky-169"
    senders_of(root).deliver("2024-04", [kth("c1", "250,50")])
    found = look(root, late)
    assert states(found) == {ksd: LEVERET, ky: LEVERET}
    [sender] = [s for s in found.afsendere if s.navn == ky]
    assert sender.nu
    assert (sender.nu.linjer, sender.nu.oere) == (1, 25050)
    assert sender.plejer
    assert sender.plejer.oere == 100000
    assert sender.afviger(50)
    assert not sender.afviger(75)


def test_a_sender_whose_folders_are_all_gone_is_missed(root: DataRoot) -> None:
    shutil.rmtree(root.path / "raw" / "ky")
    assert states(look(root))["ky-169"] == MANGLER
    shutil.rmtree(root.path / "lager")  # the warehouse does not know it either, but the board has seen it before
    assert "ky-169" not in states(board(root.place, MONTH, OPENED))


@pytest.mark.parametrize("spoil", ["manifest", "bytes", "header"])
def test_a_bad_file_is_told_with_its_rule_before_any_run(root: DataRoot, spoil: str) -> None:
    senders_of(root).deliver("2024-04", [kth("c1")])
    path = files_of(root, "ky")
    if spoil == "manifest":
        path.with_suffix(".manifest.json").unlink()
    elif spoil == "bytes":
        path.write_bytes(path.read_bytes() + b"\n")
    else:
        path.write_bytes(path.read_bytes().replace(b"CPR;", b"CPRNR;"))
    found = look(root)
    assert states(found)["ky-169"] == FEJL
    [fault] = found.fejl
    assert (fault.regel, fault.genstand) == ("FIL-001", path.name)
    ran = root.refusion("status", "2024-04")
    assert f"fejl     ky-169: FIL-001 {path.name}" in ran.out
    assert (
        ran.out.splitlines()[0] == "Leverancer for 2024-04: 1 af 2 afsendere har leveret, 1 afsender har en dårlig fil."
    )


def test_a_bad_file_that_comes_late_for_a_settled_month_is_told_and_a_good_one_is_not(root: DataRoot) -> None:
    """The run reads it, and stops."""
    senders_of(root).deliver("2024-04", [kth("c1")])
    senders_of(root).deliver("2024-02", [kth("c2")])
    assert set(states(look(root)).values()) == {LEVERET}
    [late] = (root.path / "raw" / "ky" / "2024-02").glob("*-0031.csv")
    manifest = late.with_suffix(".manifest.json")
    said = manifest.read_bytes()
    manifest.unlink()
    assert states(look(root, settling=15.0))["ky-169"] == UNDERVEJS
    manifest.write_bytes(said)
    board(root.place, month_of("2024-02"), OPENED, keep=True)  # the month was looked at when the file had come
    [ky] = [sender for sender in look(root).afsendere if sender.navn == "ky-169"]
    assert (ky.stand, ky.filer) == (LEVERET, 1)
    late.write_bytes(late.read_bytes() + b"\n")
    assert states(look(root, keep=True)) == states(look(root)) == {"akasse-20100001": LEVERET, "ky-169": FEJL}
    assert f"fejl     ky-169: FIL-001 {late.name}" in root.refusion("status").out
    assert late.name in root.refusion("koer", "2024-04").err
    assert states(board(root.place, month_of("2024-03"), OPENED))["ky-169"] == FEJL


def test_a_file_that_came_late_and_went_again_leaves_nobody_to_wait_for(root: DataRoot) -> None:
    senders_of(root).deliver("2024-04", [kth("c1")])
    [own] = (root.path / "raw" / "ky" / "2024-03").glob("*.csv")
    odd = own.with_name(own.name.replace("ky-169", "ky-168"))
    odd.write_bytes(own.read_bytes())
    assert states(look(root, keep=True))["ky-168"] == FEJL
    odd.unlink()
    assert states(look(root, keep=True)) == states(look(root)) == {"akasse-20100001": LEVERET, "ky-169": LEVERET}


def test_a_bad_register_is_told_too(root: DataRoot) -> None:
    senders_of(root).deliver("2024-04")
    senders_of(root).live("2024-04")
    [path] = (root.path / "raw" / "bopael" / "2024-04").glob("*.csv")
    path.write_text("CPR;Kommune\n", "utf-8")
    [fault] = look(root).fejl
    assert (fault.regel, fault.genstand) == ("FIL-001", path.name)


def test_a_file_is_proved_once_and_again_when_it_has_changed(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    senders_of(root).deliver("2024-04", [kth("c1"), adp("d1")])
    read: list[str] = []
    proved = arrivals.proved

    def counted(raw: Path, proof: arrivals.Proof, *rest: object) -> arrivals.Proof:
        read.append(proof.kilde)
        return proved(raw, proof, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(arrivals, "proved", counted)
    for _ in range(2):
        look(root, keep=True)
    assert sorted(read) == ["akasse", "ky"]
    path = files_of(root, "ky")
    path.write_bytes(path.read_bytes() + b"x")
    assert states(look(root, keep=True))["ky-169"] == FEJL
    assert sorted(read) == ["akasse", "ky", "ky"]
    (root.path / "tavle" / "leverancer.json").write_text("{", "utf-8")
    assert states(look(root))["ky-169"] == FEJL  # proofs that cannot be read are made again
    arrivals.keep(root.path, [arrivals.Proof("spor", "ky", "169", None, None)])
    assert states(look(root, keep=True))["ky-169"] == FEJL


def test_a_file_that_is_being_written_and_one_there_was_no_time_for_are_on_their_way(root: DataRoot) -> None:
    senders_of(root).deliver("2024-04")
    assert set(states(look(root, settling=60.0)).values()) == {UNDERVEJS}
    assert set(states(look(root, seconds=-1.0)).values()) == {UNDERVEJS}
    for path in (root.path / "raw").rglob("*"):
        os.utime(path, (1, 1))
    assert set(states(look(root, settling=60.0)).values()) == {LEVERET}


def test_a_file_that_goes_while_it_is_looked_at_is_on_its_way_and_stops_nothing(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    senders_of(root).deliver("2024-04", [kth("c1")])
    lying = arrivals.lying

    def and_gone(*where: Any) -> list[arrivals.Proof]:
        found = lying(*where)
        for path in (root.path / "raw" / "ky" / "2024-04").iterdir():
            path.unlink()
        return found

    monkeypatch.setattr(arrivals, "lying", and_gone)
    assert states(look(root))["ky-169"] == UNDERVEJS


def test_a_link_to_itself_is_a_bad_file_and_not_a_fault_of_the_board(root: DataRoot) -> None:
    senders_of(root).deliver("2024-04", [kth("c1")])
    path = files_of(root, "ky")
    path.unlink()
    path.symlink_to(path.name)
    [fault] = look(root).fejl
    assert fault.regel == "FIL-002"


def test_a_file_that_the_system_would_not_open_is_tried_again_at_the_next_look(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    senders_of(root).deliver("2024-04", [kth("c1")])

    def closed(*_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(separated, "look_through", closed)
        assert states(look(root, keep=True))["ky-169"] == FEJL
    assert states(look(root))["ky-169"] == LEVERET  # access has no trace in the print of the file


def test_a_board_whose_proofs_cannot_be_kept_is_shown_all_the_same(root: DataRoot) -> None:
    shutil.rmtree(root.path / "tavle", ignore_errors=True)
    (root.path / "tavle").touch()
    senders_of(root).deliver("2024-04", [kth("c1")])
    assert set(states(look(root, keep=True)).values()) == {LEVERET}


def test_the_sensor_and_the_schedule_keep_their_proofs_at_once(root: DataRoot) -> None:
    senders_of(root).deliver("2024-04", [kth("c1")])
    found = arrivals.prove(root.place.raw, MONTH, root.place.rules, {}, seconds=9, settling=0)
    names = set()
    real = os.replace

    def slow(fresh: Path, to: Path) -> None:
        names.add(fresh.name)
        gate.wait()
        real(fresh, to)

    gate = threading.Barrier(2, timeout=9)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(arrivals.os, "replace", slow)
        list(pool.map(lambda _: arrivals.keep(root.path, found), range(2)))
    assert len(names) == 2
    assert arrivals.kept(root.path).keys() == {proof.sti for proof in found}


def test_the_board_is_shown_while_the_first_run_has_the_warehouse_open(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(root.path / "udgivet")
    shutil.rmtree(root.path / "lager" / "laesning")

    def locked(_: Warehouse) -> NoReturn:
        raise Locked

    monkeypatch.setattr(Warehouse, "watching", locked)
    assert coming_month(root.place) == month_of("2024-03")
    assert set(states(board(root.place, MONTH, OPENED)).values()) == {MANGLER}


def test_a_warehouse_from_before_a_table_was_added_tells_the_same_of_its_runs(root: DataRoot) -> None:
    said, seen = list(run_lines(root.place)), states(look(root))
    read = ("opgoerelse.koersel", "opgoerelse.kommune", "opgoerelse.kaede")
    added = [table for table in TABLES if table not in read]
    with root.place.warehouse.open() as session:
        for table in added:
            session.connection.execute(f"DROP TABLE {table}")
    before = root.place.warehouse.path.read_bytes()
    assert list(run_lines(root.place)) == said
    assert states(look(root)) == seen
    assert root.place.warehouse.path.read_bytes() == before
    with root.place.warehouse.open() as session:
        for table in ("opgoerelse.koersel", "opgoerelse.kaede"):
            session.connection.execute(f"DROP TABLE {table}")
    assert list(run_lines(root.place)) == ["Ingen kørsel endnu."]


def test_status_says_the_same_as_json_and_hides_no_file_that_nobody_reads(root: DataRoot) -> None:
    senders_of(root).deliver("2024-04", [kth("c1")])
    stray = root.path / "raw" / "ky" / "2024-04" / f"ky {BORN_1858}.csv"
    stray.touch()
    ran = root.refusion("status", "--json")
    said = json.loads(ran.out)
    assert (said["maaned"], said["antal"]["leveret"]) == ("2024-04", 2)
    assert said["plads"]["ledig"] > said["plads"]["kraevet"] > 0
    assert "FIL-007" in root.refusion("status").out
    assert BORN_1858 not in ran.out + root.refusion("status").out


# --- the month that starts by itself ---------------------------------------------------------------------------


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


def test_a_manifest_may_come_later_than_its_file(root: DataRoot) -> None:
    senders_of(root).deliver("2024-04", [kth("c1")])
    path = files_of(root, "ky")
    path.with_suffix(".manifest.json").unlink()
    for lies in (root.path / "raw").rglob("*.csv"):
        os.utime(lies, (time.time() - 100,) * 2)
    assert states(look(root, settling=15.0))["ky-169"] == UNDERVEJS
    os.utime(path, (time.time() - 700,) * 2)
    assert states(look(root, settling=15.0))["ky-169"] == FEJL


def test_a_large_month_beside_small_ones_does_not_fill_the_disk_by_estimate(root: DataRoot) -> None:
    senders_of(root).deliver("2024-04", [kth("c1")])
    stray = root.path / "raw" / "ky" / "2024-04" / "stort.txt"
    stray.write_bytes(bytes(2_000_000))
    assert look(root).plads.kraevet < 2_100_000 * (4 * 10 + 1) + 2 * root.place.warehouse.path.stat().st_size
