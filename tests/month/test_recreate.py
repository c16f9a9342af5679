"""As known then: a run is made again byte for byte from the raw files and the rules it knew."""

import hashlib
import shutil
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pytest

from refusion_assets.assets.opgoerelse import settle_month
from refusion_assets.assets.raw.let_pass import Knowingly
from refusion_assets.assets.raw.reports import reload
from refusion_assets.domain.calendar import month_of
from tests.conftest import DataRoot
from tests.kit import rule_edits, timeline
from tests.kit.data_root import EXAMPLE, RULES, read_csv, write_file, write_manifest, write_register
from tests.month.test_histories import few_kommuner

RUNS = ("2024-02", "2024-03", "2024-04")
WEEK = date(2024, 1, 8), date(2024, 1, 14)
LATE = "eindkomst-yr-akasse-20100001-202401-0099.csv"


@dataclass(frozen=True)
class Sent:
    """A data root after three runs with corrections, each under rules of its own, and what each sent."""

    root: DataRoot
    files: dict[str, dict[str, bytes]]


def late(root: Path) -> Path:
    """A report about February that lies in the folder of January, and was not there before."""
    row = timeline.row("D", date(2024, 2, 5), date(2024, 2, 11), 7)
    fil = timeline.fil("D", [row], "2024-01", 99)
    return write_file(root, replace(fil, filnavn=LATE))


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """Three runs: before the second the law changes backwards, before the third forwards, and a file comes late.

    The late file is first seen by a reload of everything after the second run.
    """
    folder = tmp_path_factory.mktemp("genskab")
    shutil.copytree(EXAMPLE / "data" / "raw", folder / "raw")
    root = DataRoot(folder, Path(shutil.copytree(RULES, folder / "rules")))
    root.run("2024-02")
    rule_edits.staircase(root.rules, "refusion", date(2024, 1, 15), 75, 40, 30, 20)
    rule_edits.declare(root.rules, "trappe", date(2024, 1, 1))
    root.run("2024-03")
    late(folder)
    with root.place.warehouse.open() as session:
        reload(session, root.place, month_of("2024-03"), lambda _: None)
    rule_edits.staircase(root.rules, "medfinansiering", date(2024, 4, 1), 25, 60, 70, 80)
    root.run("2024-04")
    return Sent(root, {month: root.files(month) for month in RUNS})


@pytest.fixture
def root(sent: Sent, tmp_path: Path) -> DataRoot:
    """A copy of the data root to spoil."""
    return sent.root.copy(tmp_path)


def fingerprints(root: DataRoot) -> dict[str, str]:
    """The hash of every file of the data root but what is made again, and Dagster's own."""
    paths = [p for p in sorted(root.path.rglob("*")) if p.is_file() and not {"genskabt", "dagster"} & {*p.parts}]
    return {str(p.relative_to(root.path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


@pytest.mark.parametrize("month", RUNS)
def test_each_run_comes_again_byte_for_byte_and_nothing_else_is_touched(sent: Sent, month: str, tmp_path: Path) -> None:
    before = fingerprints(sent.root)
    ran = sent.root.refusion("genskab", month, "--til", str(tmp_path / "igen"))
    assert (ran.code, ran.err) == (0, "")
    files = sum(name.endswith(".csv") for name in sent.files[month])
    assert f"Kørsel {month} er genskabt byte for byte: {files} filer" in ran.out
    made = {path.name: path.read_bytes() for path in sorted((tmp_path / "igen").iterdir())}
    assert made == sent.files[month]
    assert fingerprints(sent.root) == before


def test_the_runs_were_under_three_laws_and_the_late_file_is_of_the_last_one_only(sent: Sent) -> None:
    versions = sent.root.rows("SELECT count(DISTINCT regelversion) FROM opgoerelse.koersel")
    assert versions == [(3,)]
    assert len(list((sent.root.path / "regler").iterdir())) == 3
    known = "SELECT strftime(maaned, '%Y-%m') FROM opgoerelse.kendt_fil WHERE sti LIKE '%-0099.csv'"
    assert sent.root.rows(known) == [("2024-04",)]
    assert sent.root.rows("SELECT strftime(kendt_fra, '%Y-%m') FROM raw.fil WHERE sti LIKE '%-0099.csv'") == [
        ("2024-04",)
    ]
    corrections = (
        "SELECT count(*) > 0 FROM opgoerelse.postering WHERE koersel = 51 AND raekketype = 'K' AND procent = 75"
    )
    assert sent.root.rows(corrections) == [(True,)]


def refused(root: DataRoot, month: str) -> str:
    """Why a run cannot be made again, in one line; no folder is left behind."""
    ran = root.refusion("genskab", month)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert list(root.path.glob(".genskab-*")) == []
    return ran.err


def test_a_raw_file_that_is_changed_or_gone_is_told_of_the_runs_that_knew_it(root: DataRoot) -> None:
    path = root.path / "raw" / "akasse" / "2024-01" / LATE
    path.write_bytes(path.read_bytes().replace(b"1000,00", b"1000,01"))
    text = refused(root, "2024-04")
    assert f"raw/akasse/2024-01/{LATE} er ændret, siden kørsel 2024-04 læste den" in text
    path.unlink()
    assert f"{LATE} mangler" in refused(root, "2024-04")
    assert root.refusion("genskab", "2024-02").code == 0


def test_a_raw_file_that_was_changed_and_read_again_is_told_all_the_same(root: DataRoot) -> None:
    path = next(p for p in sorted((root.path / "raw" / "ky" / "2024-03").glob("*.csv")) if p.stat().st_size > 900)
    rows = read_csv(path)
    changed = path.read_bytes().rstrip(b"\n")
    for gone in (path, path.with_suffix(".manifest.json")):
        gone.unlink()
    path.write_bytes(changed)
    write_manifest(path, rows)
    with root.place.warehouse.open() as session:
        let = Knowingly(accepter=[f"FIL-008:{path.name}"], begrundelse="rettet")
        reload(session, root.place, month_of("2024-04"), lambda _: None, let)
    assert path.name in refused(root, "2024-03")


def test_rules_that_are_changed_or_gone_are_told(root: DataRoot) -> None:
    [(version,)] = root.rows("SELECT regelversion FROM opgoerelse.koersel WHERE koersel = 50")
    kept = root.path / "regler" / version
    rule_edits.put(kept, "trapper.toml", "procent = 80", "procent = 79")
    assert f"de gemte regler {version[:12]} er ændret" in refused(root, "2024-02")
    shutil.rmtree(kept)
    assert f"reglerne {version[:12]} er ikke gemt" in refused(root, "2024-03")


def test_an_outgoing_file_that_is_no_longer_what_was_sent_is_named(root: DataRoot) -> None:
    folder = root.path / "udgaaende" / "2024-02"
    path = next(folder.glob("*-beregning-101-*.csv"))
    path.write_bytes(path.read_bytes() + b"\n")
    text = refused(root, "2024-02")
    assert "er ikke længere, hvad kørslen sendte: 1 fil" in text
    assert path.name in text


def test_a_run_that_comes_out_otherwise_says_which_files_differ(root: DataRoot) -> None:
    with root.place.warehouse.open() as session:
        session.run("UPDATE opgoerelse.koersel SET filsum = repeat('0', 64) WHERE koersel = 50")
    assert "kørsel 2024-02 er ikke genskabt" in refused(root, "2024-02")


def test_only_a_run_that_sent_its_files_can_be_made_again(root: DataRoot) -> None:
    assert "ingen færdig kørsel 2024-05" in refused(root, "2024-05")
    place = root.place
    with place.warehouse.open() as session:
        settle_month(session, place, month_of("2024-04"), place.rules.koder)
    assert "ingen færdig kørsel 2024-04" in refused(root, "2024-04")


def test_a_folder_with_something_in_it_is_not_written_over(root: DataRoot, tmp_path: Path) -> None:
    (tmp_path / "fuld").mkdir()
    (tmp_path / "fuld" / "x").write_text("x", encoding="utf-8")
    ran = root.refusion("genskab", "2024-02", "--til", str(tmp_path / "fuld"))
    assert (ran.code, "er ikke tom" in ran.err) == (1, True)


def test_what_a_run_let_pass_is_let_pass_when_it_is_made_again(tmp_path: Path) -> None:
    root = DataRoot(tmp_path, Path(shutil.copytree(RULES, tmp_path / "rules")))
    for letter in ("K", "D"):
        lines = [timeline.row(letter, date(2024, 2, 5), date(2024, 2, 18), 1)]
        write_file(root.path, timeline.fil(letter, lines, "2024-02", 1))
    write_register(root.path, "bopael", "2024-02", [])
    root.run("2024-02")
    write_file(root.path, timeline.fil("K", [], "2024-03", 2))
    with root.place.warehouse.open() as session:
        session.run(
            "INSERT INTO kontrol.accept VALUES (DATE '2024-03-01', 'FIL-006', 'akasse-20100001', 'aftalt med kassen')"
        )
    root.run("2024-03")
    ran = root.refusion("genskab", "2024-03")
    assert (ran.code, ran.err) == (0, "")


# What an operator does, one after the other: a snapshot of residences with so many people in the folder of a month, a
# stop for fewer people let pass in a month, a month calculated or run.
FEWER_PEOPLE = {
    "a late snapshot of an earlier folder": [
        ("snapshot", "2024-01", 4),
        ("run", "2024-02"),
        ("snapshot", "2024-02", 2),
        ("let pass", "2024-03", "bopael-202402.csv"),
        ("run", "2024-03"),
    ],
    "the first run after a calculated month": [
        ("snapshot", "2024-01", 4),
        ("calculate", "2024-01"),
        ("snapshot", "2024-02", 2),
        ("let pass", "2024-02", "bopael-202402.csv"),
        ("run", "2024-02"),
    ],
    "calculated months that read the folder before": [
        ("snapshot", "2023-12", 4),
        ("calculate", "2024-01"),
        ("snapshot", "2024-01", 2),
        ("let pass", "2024-02", "bopael-202401.csv"),
        ("calculate", "2024-02"),
        ("snapshot", "2024-03", 2),
        ("run", "2024-03"),
    ],
}


@pytest.mark.parametrize("steps", FEWER_PEOPLE.values(), ids=FEWER_PEOPLE)
def test_a_run_after_a_register_of_fewer_people_was_let_pass_comes_again(
    steps: list[tuple[str, str, int | str]], tmp_path: Path
) -> None:
    root = few_kommuner(tmp_path)
    for what, month, *more in steps:
        if what == "snapshot":
            people = [f"610{n}010000" for n in range(1, int(more[0]) + 1)]
            stays = [
                {"CPR": cpr, "Kommunekode": "169", "Bopael_start": "2010-01-01", "Bopael_slut": ""} for cpr in people
            ]
            write_register(root.path, "bopael", month, stays)
        elif what == "let pass":
            with root.place.warehouse.open() as session:
                session.run(
                    "INSERT INTO kontrol.accept VALUES ($m, 'REG-001', $f, 'flyttet')", m=f"{month}-01", f=more[0]
                )
        else:
            write_file(root.path, timeline.fil("D", [timeline.row("D", *WEEK, int(month[-2:]))], month, 1))
            (root.run if what == "run" else root.calculate)(month)
    ran = root.refusion("genskab", steps[-1][1])
    assert (ran.code, ran.err) == (0, "")
    assert "genskabt byte for byte" in ran.out
