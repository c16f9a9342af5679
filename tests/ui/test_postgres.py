"""Dagster keeps its memory in a real PostgreSQL when `dagster.yaml` names one, and says in Danish when it cannot."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock
from uuid import uuid4

import dagster as dg
import pytest

from refusion_assets.assets.gate import POOL
from refusion_assets.definitions import KRITISK_UGE, build_defs
from refusion_assets.place import PACKAGE
from refusion_assets.store import events
from refusion_assets.store.processes import MARK, living_runs
from tests.conftest import DataRoot
from tests.kit.sftp import free_port
from tests.month.test_month_stops import deliver

MONTH = "2024-01"
FILER = dg.AssetKey(["opgoerelse", "filer"])
# SQLAlchemy 2.1 would take another driver than the one dagster-postgres brings.
STORAGE = """
storage:
  postgres:
    postgres_db:
      scheme: postgresql+psycopg2
      username: postgres
      password: {{env: DAGSTER_PG_PASSWORD}}
      hostname: 127.0.0.1
      port: {port}
      db_name: postgres
"""


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL of its own: where it lies, and how it is asked for."""

    folder: Path
    port: int
    password: str

    def do(self, program: str, *arguments: str) -> None:
        """A program of PostgreSQL, as the user who owns the cluster: it refuses to run as root."""
        [binaries] = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
        command = [str(binaries / program), "-D", str(self.folder / "data"), *arguments]
        owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        subprocess.run([*owner, *command], check=True, capture_output=True, cwd=self.folder)  # noqa: S603

    def start(self) -> None:
        """The server on the loopback address, ready when this returns."""
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -c unix_socket_directories= -c fsync=off"
        self.do("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A new cluster with a password, in a folder outside those of the tests, which its owner cannot enter."""
    folder = Path(tempfile.mkdtemp(prefix="refusion-pg-"))
    made = Cluster(folder, free_port(), secrets.token_hex(8))
    (folder / "kodeord").write_text(made.password)
    if os.geteuid() == 0:
        for path in (folder, folder / "kodeord"):
            shutil.chown(path, "postgres")
    try:
        made.do("initdb", "-A", "scram-sha-256", "-U", "postgres", f"--pwfile={folder / 'kodeord'}")
        made.start()
        yield made
        made.do("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def root(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataRoot:
    """A data root whose `dagster.yaml` names the cluster, with one delivered month."""
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", cluster.password)
    made = DataRoot(tmp_path / "data")
    deliver(made.path, MONTH)
    (made.path / "dagster").mkdir()
    said = (PACKAGE / "dagster.yaml").read_text("utf-8") + STORAGE.format(port=cluster.port)
    (made.path / "dagster" / "dagster.yaml").write_text(said, encoding="utf-8")
    return made


def test_a_month_leaves_its_runs_cells_and_checks_in_the_database_and_none_in_files(root: DataRoot) -> None:
    root.koer(MONTH)
    everyone = {f"{kode}|{MONTH}" for kode in root.place.rules.koder}
    with mock.patch.dict(os.environ, root.environment), events.instance(root.path / "dagster") as instance:
        assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
        assert [run.status.value for run in instance.get_runs()] == ["SUCCESS", "SUCCESS"]
        assert instance.get_materialized_partitions(FILER) == everyone
        key = dg.AssetCheckKey(FILER, "filer_er_kladden")
        [said] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert said.status.value == "SUCCEEDED"
        assert living_runs(instance, root.path, POOL) == set()
        events.forget(instance, FILER.path, [f"101|{MONTH}"])
        assert instance.get_materialized_partitions(FILER) == everyone - {f"101|{MONTH}"}
    assert not list(root.path.glob("dagster/**/*.db"))


def test_a_killed_run_in_the_database_is_ended_by_the_next_command(root: DataRoot) -> None:
    run_id = str(uuid4())
    with mock.patch.dict(os.environ, root.environment), events.instance(root.path / "dagster") as instance:
        job = build_defs(root.place).resolve_job_def(KRITISK_UGE)
        instance.create_run_for_job(job, run_id=run_id, tags={MARK: run_id}, status=dg.DagsterRunStatus.STARTED)
    ran = root.refusion("kvitteringer")
    with mock.patch.dict(os.environ, root.environment), events.instance(root.path / "dagster") as instance:
        ended = instance.get_run_by_id(run_id)
    assert ended
    assert ended.status == dg.DagsterRunStatus.FAILURE
    assert f"Kørsel {run_id[:8]} (kritisk_uge) blev afbrudt" in ran.out


def test_a_database_that_does_not_answer_stops_the_command_in_one_line(root: DataRoot, cluster: Cluster) -> None:
    cluster.do("pg_ctl", "-w", "-m", "fast", "stop")
    try:
        ran = root.refusion("koer", MONTH)
    finally:
        cluster.start()
    file = root.path / "dagster" / "dagster.yaml"
    said = f"databasen, som {file} nævner, svarer ikke; start den, eller ret navn, bruger og kodeord"
    assert (ran.code, ran.out, ran.err) == (1, "", f"STOPPET: {said}, og kør det igen\n")
    assert root.files(MONTH) == {}


def test_a_password_that_is_not_in_the_environment_is_named(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_PG_PASSWORD")
    ran = root.refusion("koer", MONTH)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "nævner DAGSTER_PG_PASSWORD, som mangler i miljøet" in ran.err
