"""What stops a month: one line that names the rule and the file, exit code 1, and nothing half-written."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from refusion_assets.assets.classified import classify_through
from refusion_assets.assets.gate import AABEN, gate
from refusion_assets.assets.opgoerelse import record, settle_month
from refusion_assets.assets.outgoing import show, write_files
from refusion_assets.assets.refusion import calculate
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.stop import Stop
from refusion_assets.store import events
from tests.conftest import DataRoot, Ran
from tests.kit import rule_edits, timeline
from tests.kit.data_root import read_csv, rewrite, write_file, write_manifest, write_register
from tests.kit.timeline import CPR
from tests.month.test_histories import few_kommuner

KY, BOPAEL = "eindkomst-yr-ky-169-202402-0002.csv", "bopael-202402.csv"


def deliver(root: Path, month: str) -> None:
    """A month of one municipality and one a-kasse, and the registers."""
    first, last = month_of(month), month_of(month).replace(day=28)
    for letter, cpr in (("K", CPR), ("D", "6201912197")):
        row = timeline.row(letter, first, last, 1, cpr=cpr, IndberetningsID=f"{letter}{month}")
        write_file(root, timeline.fil(letter, [row], month, int(month[-2:])))
    stay = {"CPR": "6201912197", "Kommunekode": "101", "Bopael_start": "2010-01-01", "Bopael_slut": ""}
    write_register(root, "bopael", month, [stay])


@pytest.fixture(scope="module")
def january(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A root that has run 2024-01, and has 2024-02 delivered; only to be copied."""
    made = few_kommuner(tmp_path_factory.mktemp("stop"))
    for month in ("2024-01", "2024-02"):
        deliver(made.path, month)
    made.koer("2024-01")
    return made


@pytest.fixture
def root(january: DataRoot, tmp_path: Path) -> DataRoot:
    """A copy of that root to spoil."""
    return january.copy(tmp_path)


def by_itself(root: DataRoot, *arguments: str) -> Ran:
    """The command in a process of its own."""
    command = [str(Path(sys.executable).parent / "refusion"), *arguments]
    done = subprocess.run(command, env=root.environment, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
    return Ran(done.returncode, done.stdout, done.stderr)


KILLED = """
import os, signal
from refusion_assets import cli
from refusion_assets.assets import classified
classified.classify_through = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
cli.run()"""

HELD = """
import time
from refusion_assets import cli
from refusion_assets.assets import classified
classify = classified.classify_through
classified.classify_through = lambda *asked: (print("i gang", flush=True), time.sleep(2), classify(*asked))[-1]
cli.run()"""


def test_a_run_that_is_killed_is_shown_as_failed_and_the_next_one_does_not_wait_for_it(root: DataRoot) -> None:
    command = [sys.executable, "-c", KILLED, "koer", "2024-02"]
    killed = subprocess.run(command, env=root.environment, capture_output=True, check=False, timeout=120)  # noqa: S603
    ran = root.refusion("koer", "2024-02")
    assert (killed.returncode, ran.code, ran.err) == (-signal.SIGKILL, 0, "")
    assert "venter på kørsel" not in ran.out
    with events.instance(root.path / "dagster") as instance:
        states = [run.status.value for run in instance.get_runs()]
    assert states == ["SUCCESS", "SUCCESS", "FAILURE", "SUCCESS", "SUCCESS"]


def test_a_run_waits_for_one_that_is_going_on_and_says_so(root: DataRoot) -> None:
    command = [sys.executable, "-c", HELD, "koer", "2024-02"]
    with subprocess.Popen(command, env=root.environment, stdout=subprocess.PIPE, text=True) as first:  # noqa: S603
        while first.stdout and "i gang" not in (line := first.stdout.readline()):
            assert line
        second = root.refusion("koer", "2024-02")
    assert (first.returncode, second.code, second.err) == (0, 0, "")
    assert "venter på en anden kommando" in second.out


def stopped(root: DataRoot, month: str) -> str:
    """The one line a run of a month stops with; the ledger and the outgoing folders are untouched."""
    before, folders = root.ledger(), sorted(os.listdir(root.path / "udgaaende"))
    ran = root.refusion("koer", month)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert root.ledger() == before
    assert sorted(os.listdir(root.path / "udgaaende")) == folders
    assert CPR not in ran.out + ran.err
    return ran.err


def delivered(root: DataRoot, file: str) -> Path:
    """A file of 2024-02 by its name."""
    return next(root.path.glob(f"raw/*/2024-02/{file}"))


SPOILT: list[tuple[str, str, str, Callable[[Path], Any]]] = [
    ("the manifest is missing", "FIL-001", KY, lambda path: path.with_suffix(".manifest.json").unlink()),
    ("the hash is another", "FIL-001", KY, lambda path: path.write_bytes(path.read_bytes() + b"\n")),
    ("a sum lies", "FIL-001", KY, lambda path: write_manifest(path, read_csv(path), sum_felt0014="1000.01")),
    ("the header is another", "FIL-002", KY, rewrite(lambda data: data.replace(b"CPR;Person_SE", b"Person_SE;CPR"))),
    ("a row has a column more", "FIL-002", KY, rewrite(lambda data: data[:-1] + b";x\n")),
    ("the text is not UTF-8", "FIL-002", KY, rewrite(lambda data: data.replace(b";06;", b";\xf86;"))),
    ("the register has no manifest", "FIL-001", BOPAEL, lambda path: path.with_suffix(".manifest.json").unlink()),
]


@pytest.mark.parametrize(("regel", "file", "spoil"), [case[1:] for case in SPOILT], ids=[case[0] for case in SPOILT])
def test_a_bad_file_stops_the_month(root: DataRoot, regel: str, file: str, spoil: Callable[[Path], Any]) -> None:
    spoil(delivered(root, file))
    assert f"{regel} {file}" in stopped(root, "2024-02")
    taken = root.rows("SELECT count(*) FROM raw.fil WHERE modtaget_maaned = DATE '2024-02-01'")
    assert taken == [(2 if file == BOPAEL else 0,)]


def test_a_sender_that_delivered_last_month_and_not_this_stops_the_month(root: DataRoot) -> None:
    shutil.rmtree(root.path / "raw" / "akasse" / "2024-02")
    assert "FIL-006 akasse-20100001" in stopped(root, "2024-02")


def test_a_sender_that_was_read_last_month_is_missed_though_its_earlier_files_are_gone_too(root: DataRoot) -> None:
    shutil.rmtree(root.path / "raw" / "akasse")
    assert "  sen      akasse-20100001" in root.refusion("status", "2024-02").out
    assert "FIL-006 akasse-20100001" in stopped(root, "2024-02")


def test_all_bad_files_of_reports_and_registers_are_told_in_one_line(root: DataRoot) -> None:
    write_register(root.path, "fleksgrundlag", "2024-02", [])
    sources = ("ky", "akasse", "bopael", "fleksgrundlag")
    files = [next(root.path.glob(f"raw/{kilde}/2024-02/*.csv")) for kilde in sources]
    for file in files:
        file.with_suffix(".manifest.json").unlink()
    said = stopped(root, "2024-02")
    assert said.count("(og 1 mere): ") == 2
    assert [f"FIL-001 {file.name}: " in said for file in files] == [True] * 4


@pytest.mark.parametrize(
    ("month", "named"),
    [
        ("2024-03", "2024-02"),
        ("2023-12", "2024-02"),
        ("2019-12", "2020-01"),
        ("2014-06", "2020-01"),
        ("2099-01", "2024-02"),
    ],
)
def test_a_month_out_of_order_or_before_the_first_run_is_refused(root: DataRoot, month: str, named: str) -> None:
    assert named in stopped(root, month)


def test_what_is_no_month_is_told_how_to_write_one(root: DataRoot) -> None:
    for text in ("2024-13", "2024", "9999-12", "2024-02..2024-01", "2024-01..2024-02..2024-03"):
        ran = root.refusion("koer", text)
        assert (ran.code, "YYYY-MM" in ran.err) == (2, True)


def test_an_empty_data_root_is_told(tmp_path: Path) -> None:
    ran = DataRoot(tmp_path).refusion("koer", "2024-02")
    assert (ran.code, ran.err.count("\n"), "ingen leverancer" in ran.err) == (1, 1, True)
    assert not (tmp_path / "udgaaende").exists()


@pytest.mark.parametrize(
    ("regel", "spoil"),
    [
        (f"FIL-001 {KY}", lambda root: delivered(root, KY).with_suffix(".manifest.json").unlink()),
        ("REG-002 bopael", lambda root: shutil.rmtree(root.path / "raw" / "bopael")),
    ],
    ids=["a bad file", "no register, so that later steps are skipped"],
)
def test_the_command_by_itself_stops_with_one_line_too(
    root: DataRoot, regel: str, spoil: Callable[[DataRoot], Any]
) -> None:
    spoil(root)
    ran = by_itself(root, "koer", "2024-02")
    assert (ran.code, ran.err.count("\n"), regel in ran.err) == (1, 1, True)
    assert "Traceback" not in ran.out


def test_a_month_without_residences_names_the_files_of_them_that_no_run_reads(root: DataRoot) -> None:
    for path in (root.path / "raw" / "bopael").rglob("bopael-*"):
        path.rename(path.with_name(path.name.replace("bopael-", "bopæl-")))
    said = stopped(root, "2024-02")
    assert "ret dens mappe og navn: raw/bopael/2024-0" in said
    assert "læses ikke af nogen kørsel" in said


# --- after the trouble --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mended(january: DataRoot, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A copy of that root where 2024-02 was stopped by two bad files, both mended, and 2024-02 was run."""
    root = january.copy(tmp_path_factory.mktemp("mended"))
    good = {path: path.read_bytes() for file in (KY, BOPAEL) for path in [delivered(root, file)]}
    for path in good:
        rewrite(lambda data: data.replace(b"CPR", b"Cpr"))(path)
        assert "FIL-002" in stopped(root, "2024-02")
    for path, data in good.items():
        path.write_bytes(data)
        write_manifest(path, read_csv(path))
    root.koer("2024-02")
    return root


def test_a_month_runs_when_its_files_are_mended(mended: DataRoot) -> None:
    rows = mended.rows(
        "SELECT ydelse_id, kommunekode, beloeb_oere FROM opgoerelse.postering WHERE koersel = 50 ORDER BY 1"
    )
    assert {(ydelse, kode) for ydelse, kode, _ in rows} == {("ADP", "101"), ("KTH", "169")}
    assert sum(oere for _, _, oere in rows) == 200_000
    assert len([name for name in mended.files("2024-02") if "-beregning-" in name]) == 3
    assert sorted(os.listdir(mended.path / "udgaaende")) == ["2024-01", "2024-02"]


def test_a_closed_month_is_refused_also_when_closed_by_hand(mended: DataRoot, tmp_path: Path) -> None:
    root = mended.copy(tmp_path)
    assert "2024-01" in stopped(root, "2024-01")
    files = root.files("2024-02")
    assert root.refusion("luk", "2024-02", "--ja").code == 0
    assert "2024-02" in stopped(root, "2024-02")
    assert root.files("2024-02") == files
    for month in ("2024-02", "2024-03"):
        ran = root.refusion("luk", month, "--ja")
        assert (ran.code, month in ran.err) == (1, True)


def test_running_an_open_month_again_gives_the_same_files_and_the_same_ledger(mended: DataRoot) -> None:
    before = mended.files("2024-02"), mended.ledger()
    mended.koer("2024-02")
    assert (mended.files("2024-02"), mended.ledger()) == before


def test_a_month_without_its_files_is_not_closed_by_the_next(mended: DataRoot, tmp_path: Path) -> None:
    root = mended.copy(tmp_path)
    path = delivered(root, KY)
    good = path.read_bytes()
    path.write_bytes(good + b"\n")
    assert root.refusion("koer", "2024-02").code == 1
    path.write_bytes(good)
    deliver(root.path, "2024-03")
    if not root.files("2024-02"):
        assert "2024-02" in stopped(root, "2024-03")
        root.run("2024-02")
    assert root.files("2024-02") == mended.files("2024-02")


def test_municipalities_settled_in_parts_get_the_files_of_all_at_once(mended: DataRoot, tmp_path: Path) -> None:
    root = mended.copy(tmp_path)
    koder = root.place.rules.koder
    before = root.files("2024-02"), root.ledger()
    shutil.rmtree(root.path / "udgaaende" / "2024-02")
    for chosen in ([kode for kode in koder if kode != "101"], ["101"]):
        with root.place.warehouse.open() as session:
            settle_month(session, root.place, month_of("2024-02"), chosen)
            outgoing = write_files(session, root.place, month_of("2024-02"))
        show(root.place, month_of("2024-02"), outgoing)
    assert (root.files("2024-02"), root.ledger()) == before
    assert root.refusion("luk", "2024-02", "--ja").code == 0


def test_a_changed_law_comes_as_corrections_in_the_next_run(mended: DataRoot, tmp_path: Path) -> None:
    root = replace(mended.copy(tmp_path), rules=Path(shutil.copytree(mended.rules, tmp_path / "rules")))
    settled = "SELECT * FROM opgoerelse.postering WHERE koersel <= 50 ORDER BY ALL"
    before = root.rows(settled)
    rule_edits.staircase(root.rules, "refusion", date(2024, 1, 15), 75, 40, 30, 20)
    rule_edits.declare(root.rules, "trappe", date(2024, 1, 1))
    deliver(root.path, "2024-03")
    root.run("2024-03")
    name = "yr-ydelsesrefusion-beregning-169-0051-2024-04-03.csv"
    rows = read_csv(root.path / "udgaaende" / "2024-03" / name)
    told = [(row["Uge"], row["Rækketype"], row["Refusionssats"], row["Oprindelig kørsel"]) for row in rows]
    corrected = ["2024-01-15", "2024-01-22"]
    assert told[:4] == [row for week in corrected for row in ((week, "T", "80,00", "49"), (week, "K", "75,00", ""))]
    assert {kind for _, kind, *_ in told[4:]} == {"N"}
    assert root.rows(settled) == before
    assert {row["Regelversion"] for row in rows} == {root.place.rules.version[:12]}


def test_the_next_month_waits_until_every_municipality_is_settled(mended: DataRoot, tmp_path: Path) -> None:
    root = mended.copy(tmp_path)
    koder = root.place.rules.koder
    march = month_of("2024-03")
    held = ["101", "751"]

    def settle_without_them() -> None:
        with root.place.warehouse.open() as session:
            chosen = [kode for kode in koder if kode not in held]
            classify_through(session, root.place, march)
            calculate(session, root.place, march, lambda _: None)
            settle_month(session, root.place, march, chosen)
            record(session, root.place, march, AABEN, "")
            assert gate(session, root.place, march) == 51
            gate(session, root.place, month_of("2024-04"))

    with pytest.raises(Stop, match=", ".join(held)):
        settle_without_them()
    assert root.rows("SELECT max(koersel) FROM opgoerelse.koersel") == [(50,)]
