"""The registers as they lie: the newest file that fits is used, and what is gone or another is used so, or stops."""

import random
import shutil
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from refusion_assets.assets.classified import classify_through
from refusion_assets.assets.raw import registers, reports
from refusion_assets.assets.raw.let_pass import Knowingly
from refusion_assets.assets.refusion import calculate
from refusion_assets.domain.calendar import last_day, month_of
from refusion_assets.domain.stop import Fault, Faulty
from refusion_assets.store.session import Session
from tests.conftest import DataRoot
from tests.kit import timeline
from tests.kit.data_root import Row, write_file, write_register
from tests.kit.fleks import basis, flex, kth
from tests.kit.timeline import CPR

MONTHS = ("2024-01", "2024-02", "2024-03")
LAST = MONTHS[-1]
PEOPLE = (CPR, "6201912197", "7001662194", "6202802196")
FLEKS_JOBBER = PEOPLE[0]
KOMMUNER = ("101", "147", "169", "")
STATE = """SELECT cpr, uge, maaned, ydelse_id, kommunekode, beloeb_oere, refusion_oere, medfinansiering_oere
    FROM refusion.tilstand JOIN identitet.borger USING (borger_id) ORDER BY ALL"""
HOMELESS = """SELECT cpr, uge, ydelse_id, beloeb_oere FROM refusion.uden_kommune JOIN identitet.borger USING (borger_id)
    ORDER BY ALL"""
BASES = """SELECT cpr, maaned, beregningsgrundlag_oere, loen_oere FROM refusion.fleksbidrag
    JOIN identitet.borger USING (borger_id) ORDER BY ALL"""


def stay(cpr: str, kommune: str, fra: str = "2010-01-01", til: str = "") -> Row:
    """One residence."""
    return {"CPR": cpr, "Kommunekode": kommune, "Bopael_start": fra, "Bopael_slut": til}


def homes(root: Path, month: str, *kommuner: str) -> Path:
    """The snapshot of a month: where each person lives; nothing of a person without municipality."""
    return write_register(
        root, "bopael", month, [stay(cpr, kode) for cpr, kode in zip(PEOPLE, kommuner, strict=False) if kode]
    )


def bases(root: Path, month: str, grundlag: str) -> Path:
    """The bases of a month and the one before."""
    rows = [basis(f"2024-{nr:02}", grundlag, cpr=FLEKS_JOBBER) for nr in (int(month[-2:]) - 1, int(month[-2:])) if nr]
    return write_register(root, "fleksgrundlag", month, rows)


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """Four people with dagpenge, one of them in fleksjob on the last step, and three months run."""
    root = DataRoot(tmp_path_factory.mktemp("registre"))
    for nr, month in enumerate(MONTHS, 1):
        first = month_of(month)
        weeks = [first + timedelta(days=7 - first.weekday(), weeks=week) for week in range(3)]
        lines = [
            timeline.row("D", week, week + timedelta(days=6), 10 * who + place, "3000,00", cpr=cpr)
            | {"IndberetningsID": f"D{month}{who}{place}"}
            for who, cpr in enumerate(PEOPLE)
            for place, week in enumerate(weeks)
        ]
        write_file(root.path, timeline.fil("D", lines, month, nr))
        own = [flex(first, last_day(first), 1, "9000,00", cpr=FLEKS_JOBBER, IndberetningsID=f"F{month}")]
        before = [line | {"CPR": FLEKS_JOBBER} for line in kth(60, first)] if nr == 1 else []
        write_file(root.path, timeline.fil("K", [*before, *own], month, nr))
        homes(root.path, month, *(("101", "147", "169", "101")[nr - 1 :] + ("101", "147", "169", "101")[: nr - 1]))
        bases(root.path, month, f"{20000 + 1000 * nr},00")
        root.run(month)
    return root


def state(root: DataRoot) -> list[list[tuple[Any, ...]]]:
    """What is calculated, person by person."""
    return [root.rows(query) for query in (STATE, HOMELESS, BASES)]


def accepting(faults: Sequence[Fault]) -> Knowingly:
    """All of them let pass."""
    return Knowingly(accepter=[f"{fault.regel}:{fault.genstand}" for fault in faults], begrundelse="det er rigtigt")


def rerun(session: Session, root: DataRoot, knowingly: Knowingly) -> None:
    """The last month taken in again."""
    reports.ingest(session, root.place, month_of(LAST), knowingly=knowingly)
    registers.ingest_registers(session, root.place, month_of(LAST))


def genindlaes(session: Session, root: DataRoot, knowingly: Knowingly) -> None:
    """Everything taken in again."""
    reports.reload(session, root.place, month_of(LAST), lambda _: None, knowingly)
    registers.reload(session, root.place, month_of(LAST))


Act = Callable[[Session, DataRoot, Knowingly], None]


def attempt(root: DataRoot, act: Act) -> list[str]:
    """An act, and once more with what stops it let pass; the rules that stop it for good, none if it is done."""
    knowingly, stops = Knowingly(), ["not tried"]
    while stops and not {"REG-002", "FIL-001"} & set(stops):
        stops = []
        try:
            with root.place.warehouse.open() as session:
                act(session, root, knowingly)
                classify_through(session, root.place, month_of(LAST))
                calculate(session, root.place, month_of(LAST), lambda _: None)
        except Faulty as stop:
            stops = [fault.regel for fault in stop.faults]
            knowingly = accepting(stop.faults)
    return stops


def afresh(root: DataRoot, target: Path) -> DataRoot:
    """A new root with the files of today, calculated through the last month."""
    shutil.copytree(root.path / "raw", target / "raw")
    fresh = DataRoot(target)
    fresh.calculate(LAST)
    return fresh


def at_random(chance: random.Random, root: Path) -> str:
    """Something done to a register at random, and what it was."""
    art, month = chance.choice(("bopael", "bopael", "fleksgrundlag")), chance.choice(MONTHS)
    path = root / "raw" / art / month / f"{art}-{month.replace('-', '')}.csv"
    what = chance.choice(("take away", "empty", "misname", "deliver", "deliver", "deliver"))
    if what == "take away":
        shutil.rmtree(path.parent, ignore_errors=True)
    elif what == "empty":
        for inside in path.parent.glob("*"):
            inside.unlink()
    elif what == "misname" and path.exists():
        path.rename(path.with_name(chance.choice((path.name.upper(), f"ny-{path.name}", path.name[:-5] + ".csv"))))
    elif art == "bopael":
        homes(root, month, *(chance.choice(KOMMUNER) for _ in PEOPLE[1:]), "101")
    else:
        bases(root, month, f"{chance.randint(15000, 25000)},00")
    return f"{what} {art} {month}"


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_to_a_register_the_result_is_that_of_a_fresh_root_or_a_stop(
    settled: DataRoot, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311  a test, no secret
    root, done = settled.copy(tmp_path), []
    for step in range(2):
        done += [at_random(chance, root.path) for _ in range(chance.randint(1, 3))]
        act = chance.choice((rerun, genindlaes))
        stops = attempt(root, act)
        if stops:
            assert {"REG-002", "FIL-001"} & set(stops), (done, stops)
            continue
        assert state(root) == state(afresh(root, tmp_path / f"fresh{step}")), (done, act.__name__)
