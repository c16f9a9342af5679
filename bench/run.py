"""Measures one critical month on generated data, and prints ratios measured in this run as Markdown."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from refusion_assets.domain.calendar import month_of
from refusion_assets.example import write
from refusion_assets.files.delivered import fingerprint
from refusion_assets.place import REPOSITORY
from refusion_assets.rulebook.load import load
from refusion_assets.store.session import Warehouse

HERE = Path(__file__).resolve().parent
# Lies beside what the product is installed with: pandera loads pandas where it finds it, which costs our month 0.4 s.
PANDAS = Path(sys.prefix) / "kun-bench"
BEFORE, MONTH = "2026-09", "2026-10"
HISTORY = 24
SINCE = "2016-01..2026-10"
PARTS = (8, 4, 2, 1)
CORRECTED = 40


@dataclass(frozen=True)
class Ran:
    """A process that is done: seconds on the clock, seconds of the processor, peak memory (MiB), what it said."""

    wall: float
    cpu: float
    mib: int
    out: str


def process(*command: str, **variables: str) -> Ran:
    """A command run in a process of its own, with some variables in its environment; an error if it fails."""
    environment = os.environ | variables
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(command, stdout=out, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begin
        out.seek(0)
        said = out.read()
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return Ran(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024, said)


def script(name: str, *arguments: str | Path, **variables: str) -> Ran:
    """One of the scripts beside this one."""
    return process(sys.executable, str(HERE / f"{name}.py"), *map(str, arguments), **variables)


def refusion(root: Path, *arguments: str, cores: str = "") -> Ran:
    """The `refusion` command on a data root; on some cores alone, if they are named as `taskset` does."""
    held = ("taskset", "--cpu-list", cores) if cores else ()
    return process(*held, str(Path(sys.executable).parent / "refusion"), *arguments, REFUSION_DATA=str(root))


def made(folder: Path, borgere: int) -> Path:
    """A data root of so many people with the month before run and closed, and the month delivered.

    To close a root's first month takes each row of its opening once. An owner does it outside of the critical week.
    """
    rules = load(REPOSITORY / "rules")
    konti, kommuner = write.tables(rules)
    root = folder / str(borgere)
    write.BORGERE["midi"] = borgere
    write.write_example(root, konti, kommuner, "midi", month_of(BEFORE), month_of(MONTH), 1, historik=HISTORY)
    refusion(root, "koer", BEFORE)
    refusion(root, "luk", BEFORE)
    return root


def lines(root: Path, month: str) -> int:
    """How many lines were received in a month."""
    return sum(
        json.loads(path.read_text("utf-8"))["antal_raekker"]
        for path in (root / "raw").glob(f"*/{month}/eindkomst-*.manifest.json")
    )


def counted_before(root: Path, target: Path) -> Path:
    """The number of every person before the month, for the pandas job that cannot count history."""
    query = f"""COPY (SELECT cpr, max(CASE WHEN art = 'A' THEN n_foer + antal_uger ELSE n_foer END) AS n
        FROM duration.forloeb JOIN identitet.borger USING (borger_id) GROUP BY cpr) TO '{target}' (HEADER)"""
    database = Warehouse(root).path
    code = f"import duckdb; duckdb.connect({str(database)!r}, read_only=True).execute({query!r})"
    process(sys.executable, "-c", code)
    return target


def corrected(root: Path) -> None:
    """A further file from one municipality, of which some reports of its last file of the month come again as 1 kr.

    All of them have ids of their own, so they are new.
    """
    last = max((root / "raw" / "ky" / MONTH).glob("eindkomst-*.csv"))
    head, *told = (line.split(";") for line in last.read_text("utf-8").splitlines())
    place = {name: head.index(name) for name in ("IndberetningsID", "Indberetningsart", "Felt0037", "Felt0014")}
    again = [row for row in told if len(row) == len(head) and row[place["Indberetningsart"]] == "I"][:CORRECTED]
    sums = dict.fromkeys(("Felt0037", "Felt0014"), 0)
    for number, row in enumerate(again, 1):
        row[0], row[place["IndberetningsID"]] = str(number), f"RET{row[place['IndberetningsID']]}"
        for name in sums:
            if row[place[name]]:
                row[place[name]], sums[name] = "1,00", sums[name] + 1
    sender, number = last.stem.rsplit("-", 1)
    path = last.with_name(f"{sender}-{int(number) + 1:04}.csv")
    path.write_text("\n".join(";".join(row) for row in [head, *again]) + "\n", encoding="utf-8")
    manifest = json.loads(last.with_suffix(".manifest.json").read_text("utf-8"))
    manifest |= {"filnavn": path.name, "loebenr": int(number) + 1, "antal_raekker": len(again), "antal_T": 0}
    manifest |= {f"sum_{name.lower()}": f"{kroner}.00" for name, kroner in sums.items()}
    manifest |= {"sha256": fingerprint(path)}
    path.with_suffix(".manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def done_again(root: Path, work: Path) -> list[str]:
    """A month that is settled, done again: for one municipality's further file, for a new law, and from raw files."""
    work.mkdir()
    corrected(root)
    correction = refusion(root, "koer", MONTH)
    proved = refusion(root, "efterproev")
    recalculated = refusion(root, "genberegn", SINCE)
    reloaded = refusion(root, "genindlaes")
    floor = script("floor", root, "alt", work)
    rows = [
        (f"en kommunes fil med {CORRECTED} linjer til, og måneden igen", correction, ""),
        ("`efterproev`: hele lageret mod det udgivne", proved, ""),
        (f"`genberegn {SINCE}`", recalculated, ""),
        ("`genindlaes`", reloaded, f"{reloaded.wall / floor.wall:.1f} x I/O-gulvet på {floor.wall:.1f} s"),
    ]
    told = ["| Gjort igen | Sekunder | Top, MiB | |", "| --- | ---: | ---: | --- |"]
    return [*told, *(f"| {name} | {ran.wall:.1f} | {ran.mib} | {what} |" for name, ran, what in rows)]


def more_cores(one: float, all_of_them: float) -> str:
    """What the month on one core and on all says of four cores: Amdahl's share, and the seconds that follow."""
    cores = os.cpu_count() or 1
    shared = (1 - all_of_them / one) / (1 - 1 / cores) if cores > 1 else 0
    four = one * (1 - shared + shared / 4)
    return f"{one / all_of_them:.2f} x måneden; {100 * shared:.0f} pct. deles, {four:.1f} s på fire kerner (udregnet)"


def compared(root: Path, folder: Path) -> list[str]:
    """The month of one root against the floor, pandas, the plain calculation, and itself without Dagster."""
    before = counted_before(root, folder / "talt.csv")
    bare = Path(shutil.copytree(root, folder / "uden-dagster"))
    single = refusion(Path(shutil.copytree(root, folder / "een-kerne")), "koer", MONTH, cores="0")
    own = script("own", bare, MONTH)
    ours = refusion(root, "koer", MONTH)
    work = {name: folder / name for name in ("gulv", "pandas")}
    for path in work.values():
        path.mkdir()
    floor = script("floor", root, MONTH, work["gulv"])
    pandas = script("pandas_month", root, MONTH, before, work["pandas"], PYTHONPATH=str(PANDAS))
    plain = json.loads(script("plain", root, MONTH).out)
    steps: dict[str, float] = json.loads(own.out)
    total = sum(steps.values())
    slowly = plain["sekunder_pr_borger"] * plain["borgere"]
    rows = [
        ("vores måned (`refusion koer`, alt med)", ours.wall, f"{ours.mib} MiB"),
        ("I/O-gulvet: læs og skriv de samme bytes", floor.wall, f"måneden er {ours.wall / floor.wall:.1f} x"),
        ("pandas, uden tilbageførsler og kontrol", pandas.wall, f"{pandas.wall / ours.wall:.2f} x måneden"),
        ("borger for borger, månedens borgere", slowly, f"{slowly / ours.wall:.1f} x måneden (udregnet)"),
        ("vores måned på een kerne", single.wall, more_cores(single.wall, ours.wall)),
        ("vores måned uden Dagster", own.wall, f"Dagster er {100 * (1 - own.wall / ours.wall):.0f} pct."),
    ]
    told = ["| Hvad | Sekunder | |", "| --- | ---: | --- |"]
    told += [f"| {name} | {seconds:.1f} | {what} |" for name, seconds, what in rows]
    told += ["", "| Trin | Andel |", "| --- | ---: |"]
    told += [f"| {name} | {100 * seconds / total:.0f} pct. |" for name, seconds in steps.items() if name != "gate"]
    clustered = script("cluster", bare, PYTHONPATH=str(REPOSITORY)).out
    return [*told, "", clustered, "", *done_again(root, folder / "gulv-alt")]


def main() -> None:
    """The whole bench; prints Markdown, and keeps it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--borgere", type=int, default=60_000)
    parser.add_argument("--gem", type=Path, help="also write the result here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="refusion-bench-") as name:
        folder = Path(name)
        scale = [
            "| Borgere | Linjer | Sekunder | CPU pr. mio. linjer | Top, MiB |",
            "| ---: | ---: | ---: | ---: | ---: |",
        ]
        told: list[str] = []
        for part in PARTS:
            root = made(folder, options.borgere // part)
            if part == 1:
                told = compared(Path(shutil.copytree(root, folder / "hele")), folder)
            ran, number = refusion(root, "koer", MONTH), lines(root, MONTH)
            per_million = ran.cpu * 1_000_000 / number
            scale.append(f"| {options.borgere // part} | {number} | {ran.wall:.1f} | {per_million:.0f} | {ran.mib} |")
    names = ("dagster", "duckdb", "polars", "pandera", "numpy")
    head = [
        f"Målt {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} kerner, Python {platform.python_version()}, "
        + ", ".join(f"{package} {version(package)}" for package in names)
        + ".",
        f"Måneden er {MONTH} efter {BEFORE}; {options.borgere} borgere, ni af ti med {HISTORY} måneders historik.",
    ]
    text = "\n".join(["# Resultater", "", *head, "", *told, "", *scale, ""])
    print(text)
    if options.gem:
        options.gem.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
