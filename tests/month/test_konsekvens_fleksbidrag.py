"""The estimate of a proposal counts særligt fleksbidrag: what is told is what a run under the proposal settles."""

import shutil
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from refusion_assets.assets.konsekvens import estimate
from refusion_assets.domain.calendar import month_of, month_range
from refusion_assets.domain.stop import Stop
from refusion_assets.files.estimate import text
from refusion_assets.rulebook.load import load
from refusion_assets.store.publish import publish
from tests.conftest import DataRoot
from tests.kit import rule_edits, timeline
from tests.kit.data_root import write_file, write_register
from tests.kit.fleks import basis, flex, kth
from tests.month.test_histories import few_kommuner

MONTHS = month_range(month_of("2021-01"), month_of("2023-01"))
LEDGER = """SELECT ydelse_id, sum(refusion_oere - medfinansiering_oere)::BIGINT FROM opgoerelse.postering
    WHERE koersel = 37 GROUP BY 1 ORDER BY 1"""
# Week 53 begins on 9 January: 8 of 31 days on 30 per cent, 23 on 20.
GIVEN, FEWER_DAYS, MORE_REFUSION = 131_300, 45_700, 115_300


@pytest.fixture(scope="module")
def january(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A data root with one person in fleksjob in January 2023 (300 kr. a day, basis 8.000 kr.), run and published."""
    made = few_kommuner(tmp_path_factory.mktemp("fleks"))
    january = date(2023, 1, 1)
    rows = [*kth(50, january), flex(january, date(2023, 1, 31), 1, "9300,00")]
    write_file(made.path, timeline.fil("K", rows, "2023-01"))
    write_register(made.path, "bopael", "2023-01", [])
    write_register(made.path, "fleksgrundlag", "2023-01", [basis("2023-01", "8000,00")])
    made.koer("2023-01")
    return made


@pytest.fixture
def root(january: DataRoot, tmp_path: Path) -> DataRoot:
    """A copy of that root; only to be changed by one test."""
    return january.copy(tmp_path)


def of_another_step(rules: Path) -> None:
    """Fleksbidrag for the days on 30 per cent."""
    rule_edits.put(rules, "fleksbidrag.toml", "trin_procent = 20", "trin_procent = 30")


def a_dearer_step(rules: Path) -> None:
    """60 per cent in the weeks 27-52: more refusion, so less fleksbidrag."""
    rule_edits.put(rules, "trapper.toml", "fra_uge = 27, procent = 30", "fra_uge = 27, procent = 60")


def none_at_all(rules: Path) -> None:
    """No fleksbidrag."""
    (rules / "fleksbidrag.toml").unlink()


@pytest.mark.parametrize(
    ("edit", "after"), [(of_another_step, FEWER_DAYS), (a_dearer_step, MORE_REFUSION), (none_at_all, 0)]
)
def test_what_is_told_of_fleksbidrag_is_what_the_run_settles_otherwise(
    root: DataRoot, tmp_path: Path, edit: Callable[[Path], None], after: int
) -> None:
    forslag = Path(shutil.copytree(root.rules, tmp_path / "forslag"))
    edit(forslag)
    with root.place.warehouse.reading() as session:
        result = estimate(session, root.place.rules, load(forslag), MONTHS, lambda _: None)
    assert result.beregnet
    told: dict[str, dict[str, int]] = {}
    for book in ("gaeldende", "forslag"):
        net = (pl.col(f"refusion_oere_{book}") - pl.col(f"medfinansiering_oere_{book}")).sum()
        told[book] = dict(result.virkning.celler.filter(pl.col("maaned") == MONTHS[-1]).group_by("ydelse_id").agg(net)
                          .rows())  # fmt: skip
    assert (told["gaeldende"]["FLEKSBIDRAG"], told["forslag"].get("FLEKSBIDRAG", 0)) == (GIVEN, after)
    assert any("Fleksbidrag fra staten" in line and " 1.313,00 kr." in line for line in text(result))
    settled = [dict(root.rows(LEDGER))]
    other = DataRoot(root.path, forslag)
    other.koer("2023-01")
    settled.append(dict(other.rows(LEDGER)))
    changed: dict[str, int] = defaultdict(int)
    for sign, sums in ((-1, settled[0]), (1, settled[1])):
        for ydelse_id, oere in sums.items():
            changed[ydelse_id] += sign * oere
    difference = {y: told["forslag"].get(y, 0) - told["gaeldende"][y] for y in ("FLEKS", "FLEKSBIDRAG")}
    assert {y: changed[y] for y in difference} == difference


def test_fleksbidrag_in_the_warehouse_that_the_rules_in_force_do_not_give_stops_the_estimate(root: DataRoot) -> None:
    with root.place.warehouse.open() as session:
        session.run("UPDATE refusion.fleksbidrag SET refusion_oere = refusion_oere + 100")
    publish(root.place.warehouse)
    with (
        root.place.warehouse.reading() as session,
        pytest.raises(Stop, match=r"giver 1,00 kr\. andet her end i lageret"),
    ):
        estimate(session, root.place.rules, root.place.rules, MONTHS, lambda _: None)
