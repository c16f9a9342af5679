"""Where a command works: a wrong data root makes nothing, and what cannot be read is mended as docs/drift.md says."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from refusion_assets.place import LONGEST, PACKAGE
from refusion_assets.store.publish import publish
from tests.conftest import DataRoot
from tests.kit.data_root import REPO, RULES
from tests.kit.timeline import CPR
from tests.month.test_histories import few_kommuner
from tests.month.test_month_stops import deliver

ASKED = ("--formaal", "klage, sag 24-1234")
READS = [("forklar", CPR, "2024-01", *ASKED), ("regler",)]
WRITES = [("koer", "2024-01"), ("luk", "2024-01"), ("genberegn",), ("genindlaes",), ("genskab", "2024-01"), ("ui",)]
WRITES += [("konsekvens", "2024-01", "--regler", str(RULES))]
MONTHS = ("2024-01", "2024-02", "2024-03")
FROM_THE_STATE = (
    "flyt lager/ydelsesrefusion.duckdb og ydelsesrefusion.duckdb.wal et andet sted hen, og kør det samme igen"
)


def below(folder: Path) -> list[str]:
    """Everything that lies below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("command", [*READS, *WRITES], ids=lambda command: command[0])
def test_a_mistyped_data_root_is_told_and_nothing_is_made(tmp_path: Path, command: tuple[str, ...]) -> None:
    ran = DataRoot(tmp_path / "forkert").refusion(*command)
    assert str(tmp_path / "forkert") in ran.err + ran.out
    assert (ran.code, below(tmp_path)) == (0 if command == ("regler",) else 1, [])


@pytest.mark.parametrize("command", WRITES, ids=lambda command: command[0])
def test_a_folder_without_deliveries_is_no_data_root_and_is_left_as_it_is(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "andet").mkdir()
    ran = DataRoot(tmp_path).refusion(*command)
    assert (ran.code, ran.err.count("\n"), "refusion eksempel" in ran.err, below(tmp_path)) == (1, 1, True, ["andet"])


def test_a_file_is_no_data_root(tmp_path: Path) -> None:
    (tmp_path / "fil").touch()
    for command in (*WRITES, ("eksempel",)):
        assert "er en fil og ikke en mappe" in DataRoot(tmp_path / "fil").refusion(*command).err


ODD = ["hvad?", "100%", "50%41", "[ab]", "s*r", "to\nlinjer", "\x7f", "byte\udcff"]


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_a_path_that_would_be_read_as_something_else_is_refused_before_anything_is_made(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name / "raw").mkdir(parents=True)
    before = below(tmp_path)
    for command in (*READS, *WRITES, ("eksempel",)):
        ran = DataRoot(tmp_path / name).refusion(*command)
        assert (ran.code, ran.err.count("\n"), "i stien" in ran.err) == (1, 1, True)
    assert below(tmp_path) == before


def test_a_path_too_long_for_what_lies_below_it_is_refused(tmp_path: Path) -> None:
    root = tmp_path.joinpath(*["m" * 100] * (LONGEST // 100))
    (root / "raw").mkdir(parents=True)
    assert "kortere sti" in DataRoot(root).refusion("koer", "2024-01").err
    assert below(root) == ["raw"]


def test_other_signs_and_letters_work_in_a_path_and_so_does_a_home_folder(
    three: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "Ærø å; 'en' \"to\" #3 $x&(!),~^@{}=+|<>`-\\b:c"
    deliver(tmp_path / name, MONTHS[0])
    monkeypatch.setenv("HOME", str(tmp_path))
    assert DataRoot(Path("~") / name, three.rules).koer(MONTHS[0]).err == ""
    assert DataRoot(tmp_path / name).files(MONTHS[0]) == three.files(MONTHS[0])
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("said", ["", "  "])
@pytest.mark.parametrize("variable", ["REFUSION_DATA", "REFUSION_REGLER"])
def test_a_variable_that_is_empty_is_not_taken_for_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, said: str
) -> None:
    root = DataRoot(tmp_path)
    monkeypatch.setattr(DataRoot, "environment", root.environment | {variable: said})
    assert f"{variable} er sat, men tom" in root.refusion("regler").err


# --- an installed program -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the package that setuptools puts in a wheel, and nothing of the repository."""
    patterns = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    folder = tmp_path_factory.mktemp("installeret")
    data = [path for room, kept in patterns.items() for p in kept for path in (REPO / room.replace(".", "/")).glob(p)]
    for path in (*PACKAGE.rglob("*.py"), *data):
        target = folder / PACKAGE.name / path.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return folder


BY_THE_INSTALLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from refusion_assets import cli
for command in list(sys.argv[2:]):
    words, code = command.split(), 0
    os.environ.update(word.split("=") for word in words if "=" in word)
    sys.argv[1:] = [word for word in words if "=" not in word]
    try:
        cli.run()
    except SystemExit as ended:
        code = ended.code
sys.exit(code)
"""


def by_the_installed(folder: Path, *commands: str, **named: str) -> subprocess.CompletedProcess[str]:
    """Commands of an installed program in one process, each with the variables before it; the last one's exit code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REFUSION_", "DAGSTER_"))}
    command = [sys.executable, "-c", BY_THE_INSTALLED, str(folder), *commands]
    return subprocess.run(command, env=kept | named, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603


def test_an_installed_program_says_what_must_be_named_and_writes_nothing_into_itself(
    installed: Path, tmp_path: Path
) -> None:
    def below_it() -> list[str]:
        return [name for name in below(installed) if "__pycache__" not in name]

    before = below_it()
    ran = by_the_installed(installed, "koer 2024-01", "regler", "eksempel", f"REFUSION_DATA={tmp_path} regler")
    said = ["REFUSION_DATA er ikke sat"] * 3 + ["REFUSION_REGLER er ikke sat"]
    lines = ran.stderr.splitlines()
    assert (ran.returncode, [word in line for word, line in zip(said, lines, strict=True)]) == (1, [True] * 4)
    assert below_it() == before


def test_an_installed_program_runs_a_month_where_both_are_named(installed: Path, tmp_path: Path) -> None:
    deliver(tmp_path, "2024-01")
    ran = by_the_installed(installed, "koer 2024-01", REFUSION_DATA=str(tmp_path), REFUSION_REGLER=str(RULES))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (tmp_path / "dagster" / "dagster.yaml").read_bytes() == (REPO / "dagster.yaml").read_bytes()


# --- what cannot be read ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A root after three months, the first closed by the second and the second by hand before the third."""
    made = few_kommuner(tmp_path_factory.mktemp("tre"))
    for month in MONTHS:
        deliver(made.path, month)
    made.run(MONTHS[0])
    made.koer(MONTHS[1])
    assert made.refusion("luk", MONTHS[1], "--ja").code == 0
    shutil.copytree(made.path, made.path.with_name("to"))
    made.koer(MONTHS[2])
    return made


@pytest.fixture
def two(three: DataRoot, tmp_path: Path) -> DataRoot:
    """A copy of that root as it was after two months, with the third calculated and not settled."""
    root = DataRoot(Path(shutil.copytree(three.path.with_name("to"), tmp_path / "data")), three.rules)
    root.calculate(MONTHS[2])
    assert live(root).with_name(f"{live(root).name}.wal").exists()
    return root


def live(root: DataRoot) -> Path:
    """The live warehouse."""
    return root.place.warehouse.path


def turned(path: Path, part: int) -> None:
    """A stretch of a file turned over, which begins at a part of its length."""
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // part, len(data) // part + 4096)
    data[middle] = bytes(byte ^ 0xFF for byte in data[middle])
    path.write_bytes(data)


def log_turned(path: Path) -> None:
    """The write-ahead log beside the file is damaged in a place that DuckDB notices.

    Where a record's length is hit, it takes the log to end there, as after a kill: one place in twenty.
    """
    for part in (2, 3, 4, 5):
        tried, log = (path.with_name(f"proeve.duckdb{ending}") for ending in ("", ".wal"))
        shutil.copyfile(path, tried)
        shutil.copyfile(path.with_name(f"{path.name}.wal"), log)
        turned(log, part)
        try:
            duckdb.connect(str(tried)).close()
        except duckdb.Error:
            turned(path.with_name(f"{path.name}.wal"), part)
            return
        finally:
            tried.unlink()
            log.unlink(missing_ok=True)
    pytest.fail("DuckDB took each damaged log for one that was cut short")


def headers_turned(path: Path) -> None:
    """The headers of the file are damaged."""
    path.write_bytes(bytes(20_000) + path.read_bytes()[20_000:])


def database_header_turned(path: Path) -> None:
    """The first database header is damaged; DuckDB tells of a `block`, which is no lock."""
    data = bytearray(path.read_bytes())
    data[4096:4160] = bytes(64)
    data[8192:8256] = bytes(64)
    path.write_bytes(data)


def emptied(path: Path) -> None:
    """The file has no byte."""
    path.write_bytes(b"")


def back_from_the_state(root: DataRoot) -> None:
    """What docs/drift.md says: the live file moved away, with its log."""
    aside = root.path / "lager-beskadiget"
    aside.mkdir()
    for path in live(root).parent.glob("ydelsesrefusion.duckdb*"):
        path.rename(aside / path.name)


@pytest.mark.parametrize("harm", [headers_turned, database_header_turned, emptied], ids=lambda harm: harm.__name__)
def test_a_warehouse_that_cannot_be_read_is_told_at_once_with_what_to_do(
    two: DataRoot, harm: Callable[[Path], None]
) -> None:
    harm(live(two))
    for command in (("koer", MONTHS[2]), ("luk", MONTHS[1]), ("genindlaes",), ("regler",)):
        ran = two.refusion(*command)
        assert (ran.code, ran.err.count("\n"), FROM_THE_STATE in ran.err) == (1, 1, True), command


def test_a_log_that_cannot_be_replayed_is_mended_from_the_state_and_every_file_is_right(
    three: DataRoot, two: DataRoot
) -> None:
    sent = {month: two.files(month) for month in MONTHS[:2]}
    log_turned(live(two))
    ran = two.refusion("koer", MONTHS[2])
    assert (ran.code, ran.err.count("\n"), "loggen" in ran.err, FROM_THE_STATE in ran.err) == (1, 1, True, True)
    back_from_the_state(two)
    assert f"kørsel {MONTHS[1]} er lukket" in two.refusion("koer", MONTHS[1]).err
    two.koer(MONTHS[2])
    assert {month: two.files(month) for month in MONTHS} == {month: three.files(month) for month in MONTHS}
    assert {month: two.files(month) for month in MONTHS[:2]} == sent
    assert two.ledger() == three.ledger()


def test_after_the_state_was_taken_back_a_run_whose_files_were_withdrawn_is_not_closed_by_the_next(
    three: DataRoot, tmp_path: Path
) -> None:
    root = three.copy(tmp_path)
    path = next((root.path / "raw" / "ky" / MONTHS[2]).glob("*.csv"))
    good = path.read_bytes()
    path.write_bytes(good + b"\n")
    assert (root.refusion("koer", MONTHS[2]).code, root.files(MONTHS[2])) == (1, {})
    back_from_the_state(root)
    path.write_bytes(good)
    deliver(root.path, "2024-04")
    assert f"mappen {MONTHS[2]} mangler; kør den igen med" in root.refusion("koer", "2024-04").err
    root.koer(MONTHS[2])
    assert root.files(MONTHS[2]) == three.files(MONTHS[2])


def test_a_warehouse_without_a_state_is_made_again_from_the_first_month(three: DataRoot, tmp_path: Path) -> None:
    root = three.copy(tmp_path)
    emptied(live(root))
    shutil.rmtree(live(root).parent / "laesning")
    assert "kør månederne igen fra den første" in root.refusion("koer", MONTHS[2]).err
    for folder in ("lager", "udgaaende"):
        (root.path / folder).rename(root.path / f"{folder}-foer")
    for month in MONTHS:
        root.run(month)
    assert {month: root.files(month) for month in MONTHS} == {month: three.files(month) for month in MONTHS}


def test_a_warehouse_that_is_gone_begins_no_new_ledger_beside_files_that_were_sent(two: DataRoot) -> None:
    sent = {month: two.files(month) for month in MONTHS[:2]}
    copy = two.place.warehouse.published.read_bytes()
    live(two).parent.rename(two.path / "lager-vaek")
    ran = two.refusion("koer", MONTHS[2])
    assert (ran.code, ran.err.count("\n"), "lageret kender ingen kørsel" in ran.err) == (1, 1, True)
    assert f"eller kør månederne igen fra {MONTHS[0]}" in ran.err
    assert {month: two.files(month) for month in MONTHS} == sent | {MONTHS[2]: {}}
    assert two.place.warehouse.published.read_bytes() == copy


@pytest.mark.parametrize("harm", [headers_turned, emptied, Path.unlink], ids=["turned", "emptied", "unlinked"])
def test_a_file_of_the_state_that_cannot_be_read_is_named_and_made_again_by_the_next_publishing(
    three: DataRoot, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    root = three.copy(tmp_path)
    broken = next((root.path / "lager" / "laesning" / "identitet.borger").iterdir())
    harm(broken)
    asked = ("forklar", CPR, "2024-01", *ASKED)
    ran = root.refusion(*asked)
    assert (ran.code, ran.err.count("\n"), str(broken) in ran.err) == (1, 1, True)
    broken.unlink(missing_ok=True)
    publish(root.place.warehouse)
    assert root.refusion(*asked).code == 0


def test_a_log_beside_a_live_file_that_is_gone_is_not_read_into_the_one_made_of_the_state(
    three: DataRoot, tmp_path: Path
) -> None:
    root = three.copy(tmp_path)
    told = root.ledger()
    live(root).unlink()
    live(root).with_name(f"{live(root).name}.wal").write_bytes(b"en anden fils log")
    with root.place.warehouse.open():
        assert not live(root).with_name("ydelsesrefusion.duckdb.wal").exists()
    assert root.ledger() == told
    assert [path.name for path in live(root).parent.glob("*.wal*")] == ["ydelsesrefusion.duckdb.wal.beskadiget"]


def test_what_dagster_remembers_can_be_moved_away_when_it_cannot_be_read(three: DataRoot, tmp_path: Path) -> None:
    root = three.copy(tmp_path)
    home = root.path / "dagster"
    for file in ("history/runs.db", "history/runs/index.db", "schedules/schedules.db", "dagster.yaml"):
        shutil.rmtree(home)
        shutil.copytree(three.path / "dagster", home)
        (home / file).write_text("ikke : [ noget" * 1000, "utf-8")
        for beside in (home / file).parent.glob(f"{Path(file).name}-*"):
            beside.unlink()
        ran = root.refusion("koer", MONTHS[2])
        assert (ran.code, ran.err.count("\n"), "et andet sted hen" in ran.err) == (1, 1, True), file
    home.rename(root.path / "dagster-beskadiget")
    root.koer(MONTHS[2])
    assert root.files(MONTHS[2]) == three.files(MONTHS[2])
