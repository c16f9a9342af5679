"""A delivery through a real OpenSSH server: each file once, its receipt read, and what may not be sent stays here."""

import inspect
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from refusion_assets.assets.gate import LEVERING, OPGJORT
from refusion_assets.assets.levering import shipments
from refusion_assets.assets.levering.receipts import leveret_er_kladden, receipts_in
from refusion_assets.definitions import OPGOER, build_defs
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.levering import senders_file_id
from refusion_assets.domain.stop import Stop
from refusion_assets.operations.board import status_lines, undelivered
from refusion_assets.operations.told import changes
from refusion_assets.partitions import range_tags
from refusion_assets.place import alone
from refusion_assets.rulebook.load import delivery
from refusion_assets.runs.month import QUIET, deliver
from refusion_assets.store import session as store
from refusion_assets.store.publish import publish_if_idle
from tests.kit.sftp import USER, levering_toml, needs_sshd
from tests.levering.conftest import MONTH, Shown

pytestmark = needs_sshd


def test_every_file_reaches_its_receiver_once_and_its_receipt_makes_it_delivered(shown: Shown) -> None:
    done = shown.deliver()
    assert (done.lines, done.faults) == (("2026-10: 4 filer sendt.",), ())
    assert shown.statuses() == {"sendt"}
    shown.server.platform.settled(4)
    told = shown.receipts()
    assert told.lines == ("Levering 2026-10: 4 af 4 filer er kvitteret.",)
    assert shown.statuses() == {"leveret"}
    sums = {(one.modtager, one.fil): one.sha256 for one in shown.server.platform.given}
    assert sums == {(f"K{kode}", fil): sha for kode, fil, sha in shown.rows("kommunekode, fil, sha256")}
    assert list(shown.server.out.iterdir()) == []


def test_what_was_sent_is_not_sent_again(shown: Shown) -> None:
    shown.deliver()
    shown.server.platform.settled(4)
    assert shown.deliver().lines == ("2026-10: 0 filer sendt, 4 filer var sendt i forvejen.",)
    shown.receipts()
    assert shown.deliver().lines == ("2026-10: 0 filer sendt, 4 filer var leveret i forvejen.",)
    assert len(shown.server.platform.given) == 4


def folder_of(shown: Shown) -> Path:
    return shown.root.place.outgoing / MONTH


def test_the_id_of_a_delivery_follows_from_run_name_and_content_alone(shown: Shown) -> None:
    shown.deliver()
    for koersel, fil, sha256, own in shown.rows("koersel, fil, sha256, senders_file_id"):
        assert own == senders_file_id(koersel, fil, sha256)
        others = [(koersel + 1, fil, sha256), (koersel, f"{fil}x", sha256), (koersel, fil, "0" * 64)]
        assert own not in {senders_file_id(*other) for other in others}
        assert senders_file_id(koersel, fil, sha256, 2) != own


def test_a_folder_gets_its_files_whole_and_the_file_itself_is_the_receipt(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "kommune-101"
    text = levering_toml(shown.server.port, ["101"]).replace("sp-simpel", "mappe") + f'ud = "{target}"\n'
    (shown.root.rules / "levering.toml").write_text(text, "utf-8")
    for name in shown.server.environment:  # no key is needed for a folder
        monkeypatch.delenv(name)
    assert shown.deliver().faults == (
        f"101: 2 filer kom ikke frem: mappen {target} findes ikke; er drevet koblet til?",
    )
    target.mkdir()
    (target / "andres.csv").write_text("x")
    assert shown.deliver().faults == ()
    mine = {path.name: path.read_bytes() for path in folder_of(shown).glob("*-101-*.csv")}
    assert {path.name: path.read_bytes() for path in target.iterdir()} == mine | {"andres.csv": b"x"}
    assert shown.statuses() == {"leveret"}
    assert shown.root.rows("SELECT count(*), min(art), max(udfald) FROM levering.kvittering") == [
        (2, "mappe", "SUCCESS")
    ]
    with shown.root.place.warehouse.open() as session:
        assert receipts_in(session, shown.root.place, month_of(MONTH)) == {"101": True}
    assert shown.deliver().lines == ("2026-10: 0 filer sendt, 2 filer var leveret i forvejen.",)


def test_a_routed_transfer_finds_its_receiver_by_cvr(shown: Shown) -> None:
    system = '"123e4567-e89b-42d3-a456-426614174000"'
    text = levering_toml(shown.server.port, ["101"], cvr='"12345678"', it_system=system, infref='"YR_1"')
    (shown.root.rules / "levering.toml").write_text(text.replace("sp-simpel", "sp-rute"), "utf-8")
    assert shown.deliver().faults == ()
    shown.server.platform.settled(2)
    assert {one.modtager for one in shown.server.platform.given} == {"00000101"}


def test_a_trial_says_what_would_go_where_and_sends_nothing(shown: Shown) -> None:
    told = shipments.tried(shown.root.place, month_of(MONTH), ["730"])
    assert told.faults == ()
    assert told.lines[0] == f"730 (sp-simpel, {USER}@127.0.0.1:{shown.server.port}/OUT): 2 filer ville blive sendt"
    assert told.lines[-1] == "Prøve: intet er sendt."
    (shown.server.inn).rmdir()
    assert shipments.tried(shown.root.place, month_of(MONTH), ["730"]).faults == (
        "730: mappen IN findes ikke på serveren",
    )
    assert shown.rows("status") == list(shown.server.out.iterdir()) == []


def test_only_a_shown_and_whole_run_leaves_the_house(shown: Shown) -> None:
    sums = folder_of(shown) / "SHA256SUMS"
    text = sums.read_text()
    sums.write_text(text + " ")
    with pytest.raises(Stop, match="ikke dem, kørslen viste"):
        shown.deliver()
    sums.write_text(text)
    with shown.root.place.warehouse.open() as session:
        session.run("UPDATE opgoerelse.koersel SET status = $s", s=OPGJORT)
    with pytest.raises(Stop, match="har ingen viste filer"):
        shown.deliver()
    sums.unlink()
    with pytest.raises(Stop, match="har ingen viste filer"):
        shown.deliver()
    assert shown.rows("status") == []


def test_a_file_that_is_not_as_it_was_shown_does_not_leave_the_house(shown: Shown) -> None:
    path = next(iter(folder_of(shown).glob("*beregning-101-*")))
    path.write_bytes(path.read_bytes().replace(b"101", b"102"))
    gone = next(iter(folder_of(shown).glob("*advisering-101-*")))
    gone.unlink()
    faults = shown.deliver().faults
    why = f"{path.name} er ikke den, SHA256SUMS nævner; er måneden ved at blive kørt igen?"
    assert faults == (
        f"101: {gone.name} mangler i {folder_of(shown)}",
        f"101: {path.name} kom ikke frem: {why}",
    )
    shown.server.platform.settled(2)
    assert {one.modtager for one in shown.server.platform.given} == {"K730"}
    assert not [name for name in shown.server.out.iterdir() if "101" in name.name]


def test_files_taken_back_under_way_get_no_trigger(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([True, False])
    monkeypatch.setattr(shipments.Shown, "stands", lambda _: next(answers))
    with pytest.raises(Stop, match="trukket tilbage undervejs"):
        shown.deliver()
    assert shown.statuses() == {"lagt"}
    assert not list(shown.server.out.glob("*.trigger"))


def test_a_municipality_without_files_in_the_run_is_told_and_the_others_get_theirs(shown: Shown) -> None:
    shown.receivers(["101", "147", "730"])
    assert shown.deliver().faults == (
        "147: kørslen har ingen fil beregning; er kommunen holdt tilbage?",
        "147: kørslen har ingen fil advisering; er kommunen holdt tilbage?",
    )
    assert shown.statuses() == {"sendt"}


def test_the_check_sees_a_file_that_was_sent_in_another_edition(shown: Shown) -> None:
    place, month = shown.root.place, month_of(MONTH)
    shown.deliver()
    shown.server.platform.settled(4)
    with place.warehouse.open() as session:
        assert leveret_er_kladden(session, place, month).bestaaet
    shown.files(["101", "730"], "en anden\n")
    with place.warehouse.open() as session:
        outcome = leveret_er_kladden(session, place, month)
    assert (outcome.bestaaet, outcome.antal) == (False, 4)
    shown.deliver()
    with place.warehouse.open() as session:
        assert leveret_er_kladden(session, place, month).bestaaet


HOLD = """
import sys, time, duckdb
held = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(3)
"""


def test_a_delivery_waits_for_a_run_that_holds_the_warehouse_and_says_so(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = shown.root.place.warehouse
    monkeypatch.setitem(inspect.unwrap(store.Warehouse._connect).__kwdefaults__, "patience", 0.5)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(warehouse.path)], stdout=subprocess.PIPE) as other:  # noqa: S603
        assert other.stdout is not None
        other.stdout.readline()
        assert not publish_if_idle(warehouse)
        assert shown.deliver().faults == ()
    assert "venter på en kørsel, som bruger lageret ..." in shown.said
    assert publish_if_idle(warehouse)


def test_the_copy_for_analysts_has_the_deliveries(shown: Shown) -> None:
    shown.deliver()
    with shown.root.place.warehouse.reading() as session:
        assert session.count("levering.forsendelse") == 4


def test_a_file_that_is_not_in_order_is_told_by_status_and_alarm_until_it_is(shown: Shown) -> None:
    place = shown.root.place
    name = "yr-ydelsesrefusion-beregning-730-0082-2026-11-03.csv"
    shown.server.platform.errors[name] = (7, "nej")
    assert undelivered(place) == {}
    shown.deliver()
    shown.server.platform.settled(3)
    shown.receipts()
    wrong = {f"levering|{key}": line for key, line in undelivered(place).items()}
    assert wrong == {f"levering|2026-10|730 {name}": f"730: {name}: platformen afviste filen (kode 7): FEJL: nej"}
    [begun] = changes({}, wrong, {}, None, "rod")
    assert (begun.slags, begun.emne[:25]) == ("levering", "LEVERING 2026-10: 730: yr")
    shown.server.platform.errors.clear()
    shown.deliver(igen=True)
    shown.server.platform.settled(4)
    shown.receipts()
    assert undelivered(place) == {}
    [over] = changes(wrong, {}, {}, None, "rod")
    assert over.emne == "I ORDEN 2026-10: leveringen til 730 er i orden"


def test_what_works_by_itself_is_off_and_then_sends_and_reads_as_the_commands_do(shown: Shown) -> None:
    defs, month = build_defs(shown.root.place), MONTH
    assert defs.resolve_sensor_def("lever_efter_filer").default_status == dg.DefaultSensorStatus.STOPPED
    assert defs.resolve_schedule_def("kvitteringer_hvert_kvarter").default_status == dg.DefaultScheduleStatus.STOPPED
    with dg.DagsterInstance.ephemeral() as instance:
        tags = range_tags(f"101|{month}", f"860|{month}")
        settled = instance.create_run_for_job(defs.resolve_job_def(OPGOER), tags=tags)
        over = dg.DagsterEvent("PIPELINE_SUCCESS", job_name=OPGOER)
        context = dg.build_run_status_sensor_context("lever_efter_filer", over, instance, settled)
        asked = defs.resolve_sensor_def("lever_efter_filer")(context)
        assert isinstance(asked, dg.RunRequest)
        job = defs.resolve_job_def("lever")
        assert job.execute_in_process(instance=instance, tags=asked.tags, run_config=QUIET).success
        shown.server.platform.settled(4)
        assert defs.resolve_job_def("kvitteringer").execute_in_process(instance=instance, run_config=QUIET).success
        made = instance.get_materialized_partitions(dg.AssetKey(LEVERING))
    assert made == {f"101|{month}", f"730|{month}"}
    assert shown.statuses() == {"leveret"}


def test_a_municipality_that_is_no_receiver_is_refused_before_anything_is_sent(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(shown.root.place.root / "dagster"))
    said = "levering.toml nævner ikke 860, så intet sendes"
    with pytest.raises(Stop, match=said):
        shipments.tried(shown.root.place, month_of(MONTH), ["101", "860"])
    with pytest.raises(Stop, match=said):
        deliver(shown.root.place, month_of(MONTH), ["101", "860"], shown.said.append)
    assert shown.rows("fil") == []


def test_a_delivery_that_goes_on_is_not_told_as_interrupted_and_one_that_was_killed_is(shown: Shown) -> None:
    place = shown.root.place
    levering = delivery(place.rules_folder, place.rules)
    with place.warehouse.open() as session:
        made = shipments.plan(session, place, month_of(MONTH), levering, sorted(levering.modtagere), igen=False)
        shipments.begin(session, made)
    with alone(place, shown.said.append, shipments.LOCK):
        going_on = undelivered(place), list(status_lines(place, [], som_json=False))[-1]
    assert going_on == ({}, "Levering: der sendes filer eller læses kvitteringer lige nu.")
    assert all("leveringen blev afbrudt" in line for line in undelivered(place).values())
    assert undelivered(place)
