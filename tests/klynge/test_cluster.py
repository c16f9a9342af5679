"""The pass over the people on a cluster of real processes: the same bytes as one process, or one line that says why."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import distributed.comm.tcp
import pytest

from refusion_assets import cluster
from refusion_assets.assets import refusion
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.stop import Stop
from tests.conftest import DataRoot
from tests.kit.data_root import EXAMPLE
from tests.kit.klynge import Cluster, certificates
from tests.kit.klynge import cluster as processes
from tests.kit.rule_edits import proposal
from tests.kit.timeline import TIMES_AS_MANY

MONTH, NEXT = "2024-02", "2024-03"
RUNS_WITH_A_LOSS = 2 if TIMES_AS_MANY == 1 else 20
RESULTS = (*refusion.MADE, "refusion.beregnet", "refusion.aendret")


@pytest.fixture(scope="module")
def klynge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and two workers."""
    with processes(tmp_path_factory.mktemp("klynge"), 2) as made:
        yield made


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusion, "CLAIMS_PER_SHARD", 200)


@pytest.fixture(scope="module")
def february(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """The contract's example, run through its first month in one process."""
    root = DataRoot(tmp_path_factory.mktemp("februar") / "data")
    shutil.copytree(EXAMPLE / "data" / "raw", root.path / "raw")
    root.run(MONTH)
    return root


@pytest.fixture(scope="module")
def alone(february: DataRoot, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """That root, run through the next month in one process too."""
    root = february.copy(tmp_path_factory.mktemp("alene"))
    root.run(NEXT)
    return root


@pytest.fixture
def root(february: DataRoot, tmp_path: Path) -> DataRoot:
    """A copy of the first root."""
    return february.copy(tmp_path)


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """What a command finds in its environment. Dask reads its variables when it is loaded, so it reads them again."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    distributed.comm.tcp.dask.config.refresh()


def everybody_again(root: DataRoot, month: str = MONTH) -> list[str]:
    """The pass over everybody, and what it says."""
    said: list[str] = []
    with root.place.warehouse.open() as session:
        session.run("DELETE FROM refusion.beregnet")
        refusion.calculate(session, root.place, month_of(month), said.append)
    return said


def results(root: DataRoot) -> dict[str, list[tuple[Any, ...]]]:
    """Every row that the pass has made."""
    return {table: root.rows(f"SELECT * FROM {table} ORDER BY ALL") for table in RESULTS}


def at_result(number: int, what: Callable[[], None]) -> Callable[..., Any]:
    """`cluster._result`, with something done before the n-th of them."""
    asked, whole = iter(range(1, 10_000)), cluster._result

    def counted(*arguments: Any) -> Any:
        if next(asked) == number:
            what()
        return whole(*arguments)

    return counted


# --- the same bytes -----------------------------------------------------------------------------------------


def test_a_month_on_a_cluster_has_the_sums_of_a_month_in_one_process(
    root: DataRoot, alone: DataRoot, klynge: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, klynge.environment)
    root.koer(NEXT)
    assert "SHA256SUMS" in root.files(NEXT)
    assert root.files(NEXT) == alone.files(NEXT)
    assert results(root) == results(alone)


def test_what_is_done_again_and_what_is_estimated_is_the_same_on_a_cluster(
    alone: DataRoot, klynge: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome(root: DataRoot) -> tuple[Any, ...]:
        ran = root.refusion("konsekvens", f"{MONTH}..{NEXT}", "--regler", str(forslag), "--til", str(root.path / "ud"))
        assert ran.code == 0, ran.err
        files = {path.name: path.read_bytes() for path in (root.path / "ud").iterdir()}
        with root.place.warehouse.open() as session:
            session.run("DELETE FROM refusion.beregnet")
        for command in (("genberegn", NEXT), ("genindlaes",)):
            ran = root.refusion(*command)
            assert ran.code == 0, ran.err
        return files, results(root)

    forslag = proposal(tmp_path / "forslag")
    one, many = (alone.copy(tmp_path / name) for name in ("een", "flere"))
    in_one = outcome(one)
    use(monkeypatch, klynge.environment)
    asked: list[int] = []
    monkeypatch.setattr(cluster, "_result", at_result(1, lambda: asked.append(1)))
    assert outcome(many) == in_one
    assert asked


@pytest.mark.parametrize("seed", range(RUNS_WITH_A_LOSS))
def test_a_worker_that_is_killed_at_any_shard_costs_no_row(
    root: DataRoot, klynge: Cluster, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    before = results(root)
    luck = random.Random(seed)  # noqa: S311  the same in every run
    shards = len(everybody_again(root))
    assert shards > 5
    use(monkeypatch, klynge.environment)
    if luck.random() < 0.5 and len(klynge.workers) < 3:
        klynge.join()
    at = luck.randint(1, shards)
    lost: list[int] = []

    def lose() -> None:
        lost.append(klynge.workers[0].pid)
        klynge.lose(luck.randrange(len(klynge.workers)))
        klynge.join()

    monkeypatch.setattr(cluster, "_result", at_result(at, lose))
    assert len(everybody_again(root)) == shards
    assert len(lost) == 1
    assert results(root) == before


# --- one line that says why ---------------------------------------------------------------------------------


def test_a_scheduler_that_is_killed_stops_the_month_in_one_line_and_the_next_run_is_right(
    root: DataRoot, alone: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results(root)
    with processes(tmp_path, 1) as own:
        with monkeypatch.context() as there:
            use(there, own.environment)
            assert own.scheduler is not None
            there.setattr(cluster, "_result", at_result(2, own.scheduler.kill))
            ran = root.refusion("koer", NEXT)
        assert ran.code == 1
        assert [line for line in ran.err.splitlines() if line.startswith("STOPPET: forbindelsen til klyngen er tabt")]
        assert len(ran.err.splitlines()) == 1
        assert not root.files(NEXT)
        assert results(root) == before
    root.run(NEXT)
    assert root.files(NEXT) == alone.files(NEXT)


def test_a_certificate_of_another_authority_is_refused(
    root: DataRoot, klynge: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, klynge.environment | certificates(tmp_path / "fremmed"))
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 2)
    with pytest.raises(Stop, match="kan ikke nås med vores certifikat"):
        everybody_again(root)


def test_a_worker_with_another_program_is_refused_with_both_versions(
    root: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "andet.py"
    other.write_text("from refusion_assets import cluster\ncluster.program = lambda: 64 * '0'\n", "utf-8")
    with processes(tmp_path, 0) as own:
        own.join("--preload", str(other))
        use(monkeypatch, own.environment)
        with pytest.raises(Stop, match=r"andet program end denne maskine: 000000000000, polars .* mod "):
            everybody_again(root)


def test_a_cluster_without_workers_is_not_waited_for_for_ever(
    root: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ALONE_SECONDS", 1)
    with processes(tmp_path, 0) as own:
        use(monkeypatch, own.environment)
        with pytest.raises(Stop, match="ingen arbejdere efter 1 sekunder"):
            everybody_again(root)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({cluster.KLYNGE: "tcp://127.0.0.1:8786"}, "nås kun krypteret, fx tls://"),
        ({cluster.KLYNGE: "127.0.0.1:8786"}, "nås kun krypteret, fx tls://"),
        ({"DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY": ""}, "CLIENT__KEY er ikke; klyngen nås kun med certifikater"),
        ({"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": "/findes/ikke"}, "CA_FILE er /findes/ikke, som ikke kan læses"),
    ],
)
def test_a_cluster_is_reached_only_by_certificates_on_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], said: str
) -> None:
    use(monkeypatch, certificates(tmp_path) | {cluster.KLYNGE: "tls://127.0.0.1:1"} | changed)
    with pytest.raises(Stop, match=said):
        list(cluster.worked([]))


# --- what crosses the wire ----------------------------------------------------------------------------------


@pytest.mark.parametrize("planted", [False, True])
def test_no_personal_number_crosses_the_wire_and_one_that_did_would_be_found(
    root: DataRoot, klynge: Cluster, monkeypatch: pytest.MonkeyPatch, planted: bool
) -> None:
    use(monkeypatch, klynge.environment)
    wire = bytearray()
    to_frames, from_frames = distributed.comm.tcp.to_frames, distributed.comm.tcp.from_frames

    async def sent(*arguments: Any, **more: Any) -> Any:
        frames = await to_frames(*arguments, **more)
        wire.extend(b"".join(map(bytes, frames)))
        return frames

    async def received(frames: Any, **more: Any) -> Any:
        wire.extend(b"".join(map(bytes, frames)))
        return await from_frames(frames, **more)

    monkeypatch.setattr(distributed.comm.tcp, "to_frames", sent)
    monkeypatch.setattr(distributed.comm.tcp, "from_frames", received)
    if planted:
        read = refusion.read_shard

        def with_numbers(session: Any, shard: Any, claims: Any, *others: Any) -> Any:
            told = read(session, shard, claims, *others)
            cpr = session.frame("SELECT borger_id, cpr FROM identitet.borger")
            return [told[0].join(cpr, on="borger_id"), *told[1:]]

        monkeypatch.setattr(refusion, "read_shard", with_numbers)
    everybody_again(root)
    people = root.rows("SELECT borger_id, cpr FROM identitet.borger SEMI JOIN classified.krav USING (borger_id)")
    assert len(people) > 20
    forms = [(cpr.encode(), f"{cpr[:6]}-{cpr[6:]}".encode(), int(cpr).to_bytes(8, "little")) for _, cpr in people]
    found = sum(any(form in wire for form in one) for one in forms)
    assert found == (len(people) if planted else 0)
    # The capture is whole and can be read: both what was sent and what came back is in it.
    assert all(borger_id.to_bytes(8, "little") in wire for borger_id, _ in people)
    assert b"KTH" in wire
    assert b"\xc2\xa7 5, stk. 2" in wire


def test_without_the_variable_dask_is_not_loaded() -> None:
    code = "import sys, refusion_assets.definitions; print('dask' in sys.modules, 'distributed' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != cluster.KLYNGE}
    asked = [sys.executable, "-c", code]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, env=environment)  # noqa: S603
    assert done.stdout == "False False\n"
