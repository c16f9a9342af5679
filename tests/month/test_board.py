"""The board before a run: who has delivered, and what is wrong."""

import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.operations.bankdays import DANISH
from refusion_assets.domain.operations.board import FEJL, LEVERET, MANGLER, SEN, UNDERVEJS, Board
from refusion_assets.files import arrivals, separated
from refusion_assets.operations.board import board, coming_month, run_lines
from refusion_assets.store.session import Locked, Warehouse
from refusion_assets.store.tables import TABLES
from tests.conftest import DataRoot
from tests.kit.senders import BORN_1858, Senders, adp, kth
from tests.month.test_histories import few_kommuner

MONTH = month_of("2024-04")
OPENED = datetime(2024, 5, 1, 6, tzinfo=DANISH)
PASSED = datetime(2024, 5, 3, 12, tzinfo=DANISH)


def senders_of(root: DataRoot) -> Senders:
    """What delivers to a root, after the three months that each root begins with."""
    return Senders(root.path, 30)


def run_through_march(folder: Path) -> DataRoot:
    """A root of few municipalities, run through 2024-03."""
    root = few_kommuner(folder)
    senders = Senders(root.path)
    for number, (month, run) in enumerate((("2024-02", root.run), ("2024-03", root.koer))):
        senders.deliver(month, [kth(f"a{number}"), adp(f"b{number}")])
        senders.live(month)
        run(month)
    return root


def with_own_rules(root: DataRoot, folder: Path) -> DataRoot:
    """A copy of a root, with rules of its own."""
    copied = Path(shutil.copytree(root.path, folder / "rod"))
    return DataRoot(copied, copied / "rules")


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A root that is only to be copied."""
    return run_through_march(tmp_path_factory.mktemp("tavle"))


@pytest.fixture
def root(settled: DataRoot, tmp_path: Path) -> DataRoot:
    """A copy of that root."""
    return with_own_rules(settled, tmp_path)


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
