"""The pass over everybody in one process and on a cluster of this machine: ratios, bytes, memory, Amdahl's share.

Each is run in turn in a process of its own, and nothing is kept. Run with the repository in PYTHONPATH.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from refusion_assets.assets import refusion
from refusion_assets.assets.gate import last_run
from refusion_assets.cluster import workers as cluster
from refusion_assets.domain.refusion import shard
from refusion_assets.place import REPOSITORY, Place
from tests.kit.klynge import cluster as processes

MIB = 1024 * 1024
SIZES = (1, 2)


def one_pass(root: Path, size: int) -> None:
    """The pass over everybody, in shards so many times as large; what it took, as JSON. Nothing is kept."""
    place = Place(root, REPOSITORY / "rules")
    took = {"arbejde": 0.0, "byte_ud": 0, "byte_ind": 0}
    work, pack, unpack = shard.rows_of_shard, cluster.pack, cluster.unpack

    def clocked(*arguments: Any) -> Any:
        begin = time.thread_time()
        try:
            return work(*arguments)
        finally:
            took["arbejde"] += time.thread_time() - begin

    def length(packed: cluster.Packed) -> int:
        return len(packed[0]) + sum(map(len, packed[1]))

    def packed(what: object, compression: str | None) -> cluster.Packed:
        made = pack(what, compression)
        took["byte_ud"] += length(made)
        return made

    def unpacked(made: cluster.Packed) -> Any:
        took["byte_ind"] += length(made)
        return unpack(made)

    if cluster.KLYNGE in os.environ:
        cluster.pack, cluster.unpack = packed, unpacked
    else:
        refusion.rows_of_shard = clocked
    refusion.CLAIMS_PER_SHARD *= size
    refusion.PERSONS_PER_SHARD *= size
    shards: list[str] = []
    list(cluster.worked([]))  # connected, so that Dask is loaded: a second whatever the size of the pass
    begin, before = time.perf_counter(), time.process_time()
    with suppress(InterruptedError), place.warehouse.open() as session:
        month = last_run(session)
        session.run("DELETE FROM refusion.beregnet")
        done = refusion.calculate(session, place, month, shards.append)
        sums = [session.content(table) for table in refusion.MADE]
        took |= {"ur": time.perf_counter() - begin, "cpu": time.process_time() - before}
        raise InterruptedError  # so that the session takes back what it did
    told = {"borgere": done.beregnede, "raekker": done.raekker}
    print(json.dumps(took | told | {"skiver": len(shards), "indhold": sums}))


def measured(root: Path, size: int, **variables: str) -> dict[str, Any]:
    """What a pass told, run in a process of its own."""
    asked = [sys.executable, __file__, str(root), "--pas", str(size)]
    environment = os.environ | {"POLARS_MAX_THREADS": "1"} | variables
    done = subprocess.run(asked, env=environment, check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def compared(root: Path, workers: int, times: int) -> list[str]:
    """The lines of a table: the cheapest of some measurements of each, as others use the machine too."""
    heads = ("Skiver", "Ur, een proces", "Ur, klynge", "Forhold", "CPU, een proces", "CPU, driver")
    heads += ("CPU, fordeler og arbejdere", "Forhold", "Byte pr. borger ud", "Ind", "Top pr. arbejder, MiB")
    told = [f"| {' | '.join(heads)} |", f"|{' ---: |' * len(heads)}"]
    shares = []
    for size in SIZES:
        one, several = [], []
        for _ in range(times):
            one.append(measured(root, size))
            several.append(on_cluster(root, size, workers))
        clock = [min(ran["ur"] for ran in runs) for runs in (one, several)]
        alone, many = min(one, key=lambda ran: ran["cpu"]), min(several, key=lambda ran: ran["cpu"] + ran["klynge"])
        if alone["indhold"] != many["indhold"]:
            raise SystemExit("the rows of the cluster are others")
        people, rows = alone["borgere"], alone["raekker"] / 1e6
        ratio, cost = clock[1] / clock[0], (many["cpu"] + many["klynge"]) / alone["cpu"]
        told.append(
            f"| {alone['skiver']} | {clock[0]:.1f} s | {clock[1]:.1f} s | {ratio:.2f} | {alone['cpu']:.1f} s "
            f"| {many['cpu']:.1f} s | {many['klynge']:.1f} s | {cost:.2f} | {many['byte_ud'] // people} "
            f"| {many['byte_ind'] // people} | {many['mib']} |"
        )
        share = alone["arbejde"] / alone["cpu"]
        gain = [1 / (1 - share + share / n) for n in (8, 32)]
        said = (
            f"{alone['skiver']} skiver, {people} borgere, {rows:.2f} mio. rækker. "
            f"Arbejdernes del: {100 * share:.0f} pct.; "
            f"Amdahl: {gain[0]:.2f} x på 8 og {gain[1]:.2f} x på 32 arbejdere. "
            f"CPU pr. mio. rækker: driver {many['cpu'] / rows:.2f} s, resten {many['klynge'] / rows:.2f} s."
        )
        shares += ["", said]
    return [*told, *shares]


def on_cluster(root: Path, size: int, workers: int) -> dict[str, Any]:
    """What a pass told that was run on a cluster of its own, with the CPU and the peak memory of that."""
    with tempfile.TemporaryDirectory() as name, processes(Path(name), workers) as made:
        measured(root, size, **made.environment)  # the first pass loads the program in the workers
        own = [psutil.Process(one.pid) for one in (*made.workers, *([made.scheduler] if made.scheduler else []))]
        begun = _seconds(own)
        told = measured(root, size, **made.environment)
        return told | {"klynge": _seconds(own) - begun, "mib": max(_peak(one.pid) for one in made.workers)}


def _seconds(processes: list[psutil.Process]) -> float:
    """The seconds of the processor that some processes have used."""
    return float(sum(sum(one.cpu_times()[:2]) for one in processes))


def _peak(pid: int) -> int:
    """The peak memory of a process (MiB)."""
    said = Path(f"/proc/{pid}/status").read_text("ascii").split("VmHWM:")[1]
    return int(said.split()[0]) // 1024


def main() -> None:
    """The table, or one pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--pas", type=int)
    parser.add_argument("--arbejdere", type=int, default=2)
    parser.add_argument("--gange", type=int, default=3)
    options = parser.parse_args()
    if options.pas:
        one_pass(options.root, options.pas)
    else:
        print("\n".join(compared(options.root, options.arbejdere, options.gange)))


if __name__ == "__main__":
    main()
