"""The pass over the people on a cluster of real processes: the same bytes as one process, or one line that says why."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import distributed.comm.tcp
import psutil
import pytest

from refusion_assets.assets import refusion
from refusion_assets.assets.konsekvens import Forslag, estimated
from refusion_assets.cluster import workers as cluster
from refusion_assets.domain.stop import Stop
from tests.conftest import MONTHS, DataRoot, Example
from tests.kit.klynge import Cluster, certificates
from tests.kit.klynge import cluster as processes
from tests.kit.rule_edits import proposal
from tests.kit.timeline import TIMES_AS_MANY
from tests.kit.whole_pass import everybody_again, results

MONTH = MONTHS[-1]
SHARDS = 6
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


@pytest.fixture
def root(example: Example, tmp_path: Path) -> DataRoot:
    """A copy of the contract's example after its three runs, in one process, of whom everybody is to calculate anew."""
    root = example.root.copy(tmp_path)
    with root.place.warehouse.open() as session:
        session.run("DELETE FROM refusion.beregnet")
    return root


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """What a command finds in its environment. Dask reads its variables when it is loaded, so it reads them again."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    distributed.comm.tcp.dask.config.refresh()


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
    root: DataRoot, example: Example, klynge: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, klynge.environment)
    asked: list[int] = []
    monkeypatch.setattr(cluster, "_result", at_result(1, lambda: asked.append(1)))
    root.koer(MONTH)
    assert asked
    assert "SHA256SUMS" in root.files(MONTH)
    assert root.files(MONTH) == example.files[MONTH]
    assert results(root, RESULTS) == results(example.root, RESULTS)


def test_what_is_done_again_and_what_is_estimated_is_the_same_on_a_cluster(
    root: DataRoot, klynge: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forslag = proposal(tmp_path / "forslag")

    def outcome(root: DataRoot) -> tuple[Any, ...]:
        place, told = root.place, tmp_path / root.path.parent.name / "anslag"
        estimated(place, Forslag(regler=str(forslag), fra=MONTH, til=MONTH, mappe=str(told)), lambda _: None)
        ran = [root.refusion(*command) for command in (("genberegn", MONTH), ("genindlaes",))]
        assert [one.code for one in ran] == [0, 0], ran
        return {path.name: path.read_bytes() for path in told.iterdir()}, results(root, RESULTS)

    in_one = outcome(root.copy(tmp_path / "een"))
    use(monkeypatch, klynge.environment)
    asked: list[int] = []
    monkeypatch.setattr(cluster, "_result", at_result(1, lambda: asked.append(1)))
    assert outcome(root) == in_one
    assert asked


@pytest.mark.parametrize("seed", range(RUNS_WITH_A_LOSS))
def test_a_worker_that_is_killed_at_any_shard_costs_no_byte(
    root: DataRoot, example: Example, klynge: Cluster, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    luck = random.Random(seed)  # noqa: S311  the same in every run
    use(monkeypatch, klynge.environment)
    if luck.random() < 0.5 and len(klynge.workers) < 3:
        klynge.join()
    at = luck.randint(1, SHARDS)
    lost: list[int] = []

    def lose() -> None:
        lost.append(klynge.workers[0].pid)
        klynge.lose(luck.randrange(len(klynge.workers)))
        klynge.join()

    monkeypatch.setattr(cluster, "_result", at_result(at, lose))
    root.run(MONTH)
    assert len(lost) == 1
    assert root.files(MONTH) == example.files[MONTH]
    assert results(root, RESULTS) == results(example.root, RESULTS)


# --- one line that says why ---------------------------------------------------------------------------------


def test_a_scheduler_that_is_killed_stops_the_month_in_one_line_and_the_next_run_is_right(
    root: DataRoot, example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results(root, RESULTS)
    with processes(tmp_path, 1) as own:
        with monkeypatch.context() as there:
            use(there, own.environment)
            assert own.scheduler is not None
            there.setattr(cluster, "_result", at_result(2, own.scheduler.kill))
            ran = root.refusion("koer", MONTH)
        assert ran.code == 1
        assert [line for line in ran.err.splitlines() if line.startswith("STOPPET: forbindelsen til klyngen er tabt")]
        assert len(ran.err.splitlines()) == 1
        assert not root.files(MONTH)
        assert results(root, RESULTS) == before
    root.run(MONTH)
    assert root.files(MONTH) == example.files[MONTH]


def test_a_certificate_of_another_authority_is_refused(
    root: DataRoot, klynge: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, klynge.environment | certificates(tmp_path / "fremmed"))
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 2)
    with pytest.raises(Stop, match="kan ikke nås med vores certifikat"):
        everybody_again(root, MONTH)


def test_a_worker_with_another_program_is_refused_with_both_versions(
    root: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "andet.py"
    other.write_text("from refusion_assets.cluster import workers\nworkers.program = lambda: 64 * '0'\n", "utf-8")
    with processes(tmp_path, 0) as own:
        own.join("--preload", str(other))
        use(monkeypatch, own.environment)
        with pytest.raises(Stop, match=r"andet program end denne maskine: 000000000000, polars .* mod "):
            everybody_again(root, MONTH)


def test_a_cluster_without_workers_is_not_waited_for_for_ever(
    root: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ALONE_SECONDS", 1)
    with processes(tmp_path, 0) as own:
        use(monkeypatch, own.environment)
        with pytest.raises(Stop, match="ingen arbejdere efter 1 sekunder"):
            everybody_again(root, MONTH)


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


def test_its_processes_listen_on_their_own_address_alone_and_show_no_page(klynge: Cluster) -> None:
    running = [one for one in (*klynge.workers, klynge.scheduler) if one is not None]
    asked = [place for one in running for place in psutil.Process(one.pid).net_connections()]
    open_to = {place.laddr for place in asked if place.status == psutil.CONN_LISTEN}
    assert {place.ip for place in open_to} == {"127.0.0.1"}
    assert len(open_to) >= len(running)
    seen = []
    for place in open_to:
        http = HTTPConnection("127.0.0.1", place.port, timeout=5)
        http.request("GET", "/info/main/workers.html")
        try:
            seen.append(http.getresponse().status)
        except (HTTPException, OSError):
            seen.append(0)  # TLS
    assert set(seen) <= {0, 404}
    assert 0 in seen


# --- what crosses the wire ----------------------------------------------------------------------------------


@pytest.mark.parametrize("planted", [False, True])
def test_no_personal_number_crosses_the_wire_and_one_that_did_would_be_found(
    root: DataRoot, klynge: Cluster, monkeypatch: pytest.MonkeyPatch, planted: bool
) -> None:
    use(monkeypatch, klynge.environment)
    monkeypatch.setattr(cluster, "COMPRESSION", None)
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
    everybody_again(root, MONTH)
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
