"""What the program makes outside raw/ is for its own account alone, whatever the umask it is started with."""

import io
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from refusion_assets.place import Place, at_work, mending, too_open
from tests.conftest import OF_THE_EXAMPLE, DataRoot, Example
from tests.kit.data_root import EXAMPLE, REPO, rules_of_few


def everything(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if "raw" not in path.relative_to(root).parts and not path.is_symlink()]


def test_a_month_run_under_umask_0_makes_nothing_that_others_can_read(tmp_path: Path) -> None:
    raw = tmp_path / "data" / "raw"
    raw.parent.mkdir()
    raw.symlink_to(EXAMPLE / "data" / "raw")
    environment = os.environ | DataRoot(raw.parent, rules_of_few(tmp_path / "rules", OF_THE_EXAMPLE)).environment
    environment.pop("MPLCONFIGDIR", None)  # the list of fonts is made there too
    for words in (["koer", "2024-02", "--stille"], ["opfoelgning", "2024-02"]):
        subprocess.run(  # noqa: S603  this venv's own command
            [sys.executable, "-c", "import os; os.umask(0); from refusion_assets.cli import run; run()", *words],
            cwd=REPO, env=environment, check=True, capture_output=True,
            umask=0, timeout=500,
        )  # fmt: skip
    made = everything(raw.parent)
    assert {"ydelsesrefusion.duckdb", "SHA256SUMS", "dagster.yaml", "runs.db"} <= {path.name for path in made}
    wrong = [
        path for path in made if stat.S_IMODE(path.stat().st_mode) not in ((0o700,) if path.is_dir() else (0o600,))
    ]
    assert wrong == []


def test_loading_the_program_sets_the_umask_and_forbids_core_dumps() -> None:
    code = "import os; os.umask(0); import refusion_assets, resource; "
    code += "print(os.umask(0), resource.getrlimit(resource.RLIMIT_CORE))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)  # noqa: S603
    assert ran.stdout.strip() == f"{0o077} (0, 0)"
    assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0


@pytest.mark.parametrize(
    ("mode", "said"), [(0o700, False), (0o750, True), (0o704, True), (0o2750, False), (0o2755, True)]
)
def test_a_folder_that_is_too_open_is_told_with_the_command_that_mends_it(
    tmp_path: Path, mode: int, *, said: bool
) -> None:
    folder = tmp_path / "udgivet"
    folder.mkdir()
    folder.chmod(mode)
    line = mending(tmp_path)
    assert bool(line) == said
    if said:
        command = line.partition("skriv ")[2]
        subprocess.run(command, shell=True, check=True)  # noqa: S602  the command that is told
        assert mending(tmp_path) == ""


def test_raw_belongs_to_those_who_deliver_and_files_deep_down_are_found_by_the_whole_walk(tmp_path: Path) -> None:
    for name in ("raw", "udgaaende/2024-02"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "raw").chmod(0o777)
    deep = tmp_path / "udgaaende" / "2024-02" / "fil.csv"
    deep.touch()
    deep.chmod(0o644)
    assert too_open(tmp_path) == []
    assert too_open(tmp_path, whole=True) == [deep]


def test_a_command_that_works_says_what_is_too_open_and_goes_on(example: Example, tmp_path: Path) -> None:
    root = example.root.copy(tmp_path)
    (root.path / "lager").chmod(0o755)
    ran = root.refusion("luk", "2024-04", "--ja")
    assert ran.code == 0
    assert ran.err.startswith("ADVARSEL: andre brugere kan læse")
    assert ran.err.count("\n") == 1


def test_a_new_root_without_a_key_is_told_once_at_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    with mock.patch.dict(os.environ, DataRoot(tmp_path).environment), mock.patch("sys.stderr", terminal):
        at_work()
        assert terminal.getvalue().count("REFUSION_NOEGLE_FIL") == 1
        with Place.from_environment().warehouse.open():
            pass
        at_work()
        assert terminal.getvalue().count("REFUSION_NOEGLE_FIL") == 1
