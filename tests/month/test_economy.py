"""The shared solution's economy measured in a data root that has been run: use, price of operations, the two assets."""

import re
import shutil
from collections import Counter
from datetime import date
from pathlib import Path
from unittest import mock

import dagster as dg
import pytest

from refusion_assets.assets.faelles import deling as sharing
from refusion_assets.assets.faelles import driftspris
from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.faelles.aftale import Maal, Post
from refusion_assets.domain.faelles.driftspris import UDEN
from refusion_assets.domain.operations.bankdays import window
from refusion_assets.look_up import trace
from refusion_assets.store import events
from tests.conftest import DataRoot, Example
from tests.kit.data_root import RULES, read_csv


@pytest.fixture(scope="module")
def root(example: Example, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    return example.root.copy(tmp_path_factory.mktemp("oekonomi"))


def measured(root: DataRoot, maal: Maal, **months: date) -> dict[str, int]:
    post = Post(navn="Post", noegle="forbrug", maal=maal, **months)
    return {kode: antal for kode, antal in sharing.MEASURED[maal](root.place, post).items() if antal}


def test_settled_rows_are_those_of_the_ledger_and_a_post_may_name_its_months(root: DataRoot) -> None:
    wanted = dict(root.rows("SELECT kommunekode, count(*) FROM opgoerelse.postering WHERE koersel > 0 GROUP BY 1"))
    assert measured(root, "raekker") == wanted
    march = date(2024, 3, 1)
    run = root.rows("SELECT koersel FROM opgoerelse.koersel WHERE maaned = DATE '2024-03-01'")[0][0]
    rows = root.rows(f"SELECT kommunekode, count(*) FROM opgoerelse.postering WHERE koersel = {run} GROUP BY 1")
    assert measured(root, "raekker", fra=march, til=march) == dict(rows)


def test_deliveries_are_the_files_of_the_municipalities_own_systems(root: DataRoot) -> None:
    own = [kilde.id for kilde in root.place.rules.kilder if kilde.art == "kommunal"]
    files = [path for kilde in own for path in (root.path / "raw" / kilde).glob("*/eindkomst-*.csv")]
    assert measured(root, "leverancer") == Counter(path.name.split("-")[3] for path in files)


def test_look_ups_are_counted_where_the_citizen_lived(root: DataRoot) -> None:
    weeks = "SELECT borger_id, kommunekode FROM refusion.borger_uge_ydelse WHERE maaned = DATE '2024-03-01'"
    borger, kode = root.rows(f"{weeks} ORDER BY ALL")[0]
    before = measured(root, "opslag").get(kode, 0)
    trace.log(root.path / trace.LOG, "forklar", borger_id=borger, maaned="2024-03", formaal="prøve")
    trace.log(root.path / trace.LOG, "forklar", borger_id=None, maaned="2024-03", formaal="prøve")
    assert measured(root, "opslag") == {kode: before + 1}


def test_the_bills_by_use_sum_to_the_total(root: DataRoot) -> None:
    ran = root.refusion("deling", "egen-loesning-forbrug", "--udtraek")
    assert ran.code == 0, ran.err
    rows = read_csv(root.path / "faelles" / "deling-egen-loesning-forbrug.csv")
    assert sum(int(row["Andel"].replace(",", "")) for row in rows) == 980000000


def test_the_price_of_this_month_is_shared_by_the_steps_of_its_runs(root: DataRoot) -> None:
    ran = root.refusion("driftspris", "--udtraek")
    assert ran.code == 0, ran.err
    settled = sum(count for (count,) in root.rows("SELECT sum(raekker)::BIGINT FROM opgoerelse.kommune"))
    assert re.search(rf"{settled:,} afregnede rækker \(trin fra 0\)".replace(",", "."), ran.out)
    assert UDEN not in ran.out
    assert re.search(r"^  Afregning +ja", ran.out, re.MULTILINE)
    assert re.search(r"^  I alt +400\.000,00 kr\.$", ran.out, re.MULTILINE)
    [path] = (root.path / "faelles").glob("driftspris-*.csv")
    rows = read_csv(path)
    money = [int(row[name].replace(",", "")) for row in rows for name in ("Fast pris", "Tillæg")]
    assert sum(money) == 40000000 * len({row["Måned"] for row in rows})


def test_a_look_up_counts_as_the_seconds_that_the_price_says(root: DataRoot, tmp_path: Path) -> None:
    trace.log(root.path / trace.LOG, "forklar", borger_id=1, maaned="2024-03", formaal="prøve")
    looks = [entry for entry in trace.verify(root.path / trace.LOG).opslag if entry["opslag"] == "forklar"]
    assert root.refusion("driftspris", "--udtraek", "--til", str(tmp_path)).code == 0
    [path] = tmp_path.glob("driftspris-*.csv")
    mine = [row for row in read_csv(path) if row["Funktion"] == "Forklaringer til sagsbehandlere"]
    assert {row["Lovpligtig"] for row in mine} == {"nej"}
    times = [int(row[name]) for row in mine for name in ("Millisekunder", "Millisekunder i den kritiske uge")]
    assert sum(times) == 2000 * len(looks)


def test_a_month_without_runs_is_readiness_and_one_before_the_price_is_refused(root: DataRoot) -> None:
    said = root.refusion("driftspris", "2025-01").out
    assert re.search(r"Beredskab \(intet er kørt\) +ja", said)
    assert re.search(r"kalendermåneden.* der er kørt i 20\d\d-\d\d", said)
    ran = root.refusion("driftspris", "2023-12")
    assert (ran.code, "driftspris.toml har ingen pris for 2023-12" in ran.err) == (1, True)


def test_the_assets_write_every_bill_and_say_why_one_cannot_be_made(root: DataRoot, tmp_path: Path) -> None:
    rules = Path(shutil.copytree(RULES, tmp_path / "regler"))
    place = DataRoot(root.path, rules).place
    with dg.DagsterInstance.ephemeral() as instance:
        shared = dg.materialize(sharing.build(), instance=instance, resources={"place": place})
        priced = dg.materialize(driftspris.build(), instance=instance, resources={"place": place})
    [made] = shared.asset_materializations_for_node("faelles__deling")
    assert {"egen-loesning", "faelles-budget", "mulighed-1", "mappe"} <= set(made.metadata)
    [price] = priced.asset_materializations_for_node("faelles__driftspris")
    assert "Fællesløsningens økonomi" in str(price.metadata["priser"].value)
    empty = DataRoot(tmp_path / "tom", rules).place
    [told] = dg.materialize(sharing.build(), resources={"place": empty}).asset_materializations_for_node(
        "faelles__deling"
    )
    assert "Kan ikke deles endnu" in str(told.metadata["egen-loesning-forbrug"].value)


def test_the_critical_week_of_a_calendar_month_lies_in_it_and_belongs_to_the_run_month_before(root: DataRoot) -> None:
    with events.instance(root.path / "dagster") as instance:
        month = driftspris.months_run(instance)[-1]
        hours = root.place.rules.kritisk_uge_on(month)
        assert hours is not None
        opens = window(hours, next_month(month, -1)).opens.timestamp()
        with mock.patch.object(driftspris, "steps_of", return_value=[("raw__register", opens, opens + 2)]):
            [price] = driftspris.month_prices(root.place, instance, [month])
    [mine] = [row for row in price.rows.iter_rows(named=True) if row["funktion"] == "Afregning"]
    assert (mine["ms"], mine["ms_kritisk"] >= 2000, mine["ms_kritisk"] % 2000) == (0, True, 0)


def test_the_log_of_a_run_is_closed_again_when_its_steps_have_been_read(root: DataRoot) -> None:
    with events.instance(root.path / "dagster") as instance:
        driftspris.month_prices(root.place, instance, None)
        runs = {record.dagster_run.run_id for record in instance.get_run_records()}
        assert runs
        assert not runs & set(instance.event_log_storage._engines)
