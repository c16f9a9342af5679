"""Settled months done again, without settling: after a change of the law, and from the raw files."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from refusion_assets.assets.opgoerelse import settle_month
from refusion_assets.assets.refusion import calculate
from refusion_assets.assets.rules_edited import CHECK, sensor
from refusion_assets.definitions import build_defs
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.raw import NAMES
from refusion_assets.domain.stop import Stop
from refusion_assets.partitions import range_tags
from refusion_assets.place import environment
from refusion_assets.store import events
from tests.conftest import DataRoot, Example
from tests.kit import rule_edits
from tests.kit.data_root import csv_bytes, read_csv, rewrite, write_manifest

STATE = "SELECT * EXCLUDE regelversion FROM refusion.borger_uge_ydelse ORDER BY ALL"
TABLES = {
    "classified.krav": "SELECT * FROM classified.krav ORDER BY ALL",
    "classified.karantaene": "SELECT * EXCLUDE beloeb_oere FROM classified.karantaene ORDER BY ALL",
    "duration.forloeb": "SELECT * FROM duration.forloeb ORDER BY ALL",
    "refusion.borger_uge_ydelse": STATE,
    "raw.fil": "SELECT sti, sha256, dublet, kendt_fra, antal_raekker FROM raw.fil ORDER BY ALL",
}

MADE = ("classified.krav", "duration.forloeb", "refusion.borger_uge_ydelse")


@pytest.fixture
def root(small_example: DataRoot, tmp_path: Path) -> DataRoot:
    """A copy of the example after its three runs, with rules of its own."""
    return replace(small_example.copy(tmp_path), rules=Path(shutil.copytree(small_example.rules, tmp_path / "rules")))


@pytest.fixture
def instance(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance of the root, with the log of the command line: a test of a job stores a thousand events."""
    for name, value in (root.environment | environment(root.place)).items():
        monkeypatch.setenv(name, value)
    with events.instance(Path(os.environ["DAGSTER_HOME"])) as opened:
        yield opened


def change_the_law(root: DataRoot) -> None:
    """From 15 January 2024 the first step of refusion is 75 per cent instead of 80, and is meant to reach back."""
    rule_edits.staircase(root.rules, "refusion", date(2024, 1, 15), 75, 40, 30, 20)
    rule_edits.declare(root.rules, "trappe", date(2024, 1, 1))


def test_a_reload_of_everything_gives_what_the_months_gave_one_by_one(root: DataRoot) -> None:
    before = {table: root.rows(query) for table, query in TABLES.items()}, root.ledger()
    ran = root.refusion("genindlaes")
    assert (ran.code, ran.err, ran.out.splitlines()[-1]) == (0, "", "Ingen forskel.")
    assert ({table: root.rows(query) for table, query in TABLES.items()}, root.ledger()) == before


def test_a_reload_calculates_whom_the_files_now_tell_of_otherwise(root: DataRoot) -> None:
    """The last line of a file of a closed month is gone, and a stay of the newest snapshot is somewhere else."""
    report = next(root.path.glob("raw/ky/2024-03/*.csv"))
    rows = read_csv(report)[:-1]
    report.write_bytes(csv_bytes(rows, NAMES))
    write_manifest(report, rows)
    rewrite(lambda text: text.replace(b";169;2010-01-01;\n", b";101;2010-01-01;\n", 1))(
        max(root.path.glob("raw/bopael/*/*.csv"))
    )
    before = root.rows(STATE)
    stopped = root.refusion("genindlaes")
    changed = (report.name, "bopael-202404.csv")
    assert (stopped.code, stopped.err.count("\n")) == (1, 1)
    assert [stopped.err.count(f"FIL-008 {name}: ") for name in changed] == [1, 1]
    accept = [word for name in changed for word in ("--accepter", f"FIL-008:{name}")]
    assert root.refusion("genindlaes", *accept, "--begrundelse", "rettet").code == 0
    found = {table: root.rows(TABLES[table]) for table in MADE}
    # The one whose line is gone, and the one who moved and has fleksløntilskud; others who have it may be too.
    changed_now = "SELECT count(DISTINCT borger_id) FROM refusion.aendret WHERE maaned > '2024-04-01' AND borger_id"
    assert root.rows(f"{changed_now} NOT IN (SELECT borger_id FROM refusion.fleksbidrag)") == [(1,)]
    assert root.rows(f"{changed_now} IN (SELECT borger_id FROM refusion.fleksbidrag)") > [(0,)]
    shutil.rmtree(root.path / "lager")
    for month in ("2024-02", "2024-03", "2024-04"):
        root.run(month)
    assert {table: root.rows(TABLES[table]) for table in MADE} == found
    assert found["refusion.borger_uge_ydelse"] != before


def test_months_calculated_again_under_the_same_rules_differ_in_nothing(root: DataRoot) -> None:
    before = root.rows(STATE), root.ledger(), root.files("2024-04")
    ran = root.refusion("genberegn", "2016-01..2024-04")
    assert (ran.code, ran.err, ran.out.splitlines()[-1]) == (0, "", "Ingen forskel.")
    assert (root.rows(STATE), root.ledger(), root.files("2024-04")) == before
    assert root.rows("SELECT count(*) FROM refusion.aendret WHERE maaned > '2024-04-01'") == [(0,)]


def test_a_changed_law_is_told_by_municipality_and_settled_by_the_run_that_comes(root: DataRoot) -> None:
    settled, ledger = root.files("2024-04"), root.ledger()
    change_the_law(root)
    query = """SELECT sum(refusion_oere - medfinansiering_oere)::BIGINT FROM refusion.borger_uge_ydelse
        WHERE maaned BETWEEN '2024-01-01' AND '2024-03-01'"""
    [(before,)] = root.rows(query)
    ran = root.refusion("genberegn", "2024-01..2024-03")
    assert (ran.code, ran.err) == (0, "")
    [(after,)] = root.rows(query)
    assert after < before
    told = sum(
        int(line.rsplit(maxsplit=2)[1].replace(".", "").replace(",", ""))
        for line in ran.out.splitlines()
        if line[2:5].isdigit()
    )
    assert told == after - before
    touched = "SELECT DISTINCT borger_id FROM refusion.{} ORDER BY 1"
    moved = "borger_uge_ydelse WHERE uge >= '2024-01-15' AND trin = 1 AND refusion_oere > 0"
    assert root.rows(touched.format("aendret WHERE maaned > '2024-04-01'")) == root.rows(touched.format(moved))
    assert (root.files("2024-04"), root.ledger()) == (settled, ledger)
    again = root.refusion("koer", "2024-04")
    assert again.code == 0, again.err
    keys = "uge, maaned, borger_id, ydelse_id, kommunekode"
    summed = root.rows(f"""SELECT {keys}, sum(refusion_oere)::BIGINT AS oere FROM opgoerelse.postering GROUP BY ALL
        HAVING sum(beloeb_oere) <> 0 ORDER BY ALL""")
    assert summed == root.rows(f"SELECT {keys}, refusion_oere FROM refusion.borger_uge_ydelse ORDER BY ALL")


@pytest.mark.parametrize(
    ("command", "why"),
    [(("genberegn", "2024-04..2024-05"), "2024-05 er ikke kørt endnu"), (("genberegn", "2025-01"), "2025-01")],
)
def test_a_month_that_was_never_run_is_not_calculated_again(root: DataRoot, command: tuple[str, ...], why: str) -> None:
    before = root.rows(STATE)
    ran = root.refusion(*command)
    assert (ran.code, ran.err.count("\n"), why in ran.err) == (1, 1, True)
    assert root.rows(STATE) == before


def test_a_reload_before_any_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    ran = DataRoot(tmp_path).refusion("genindlaes")
    assert (ran.code, ran.err.count("\n"), "ingen kørsel" in ran.err) == (1, 1, True)


def test_many_months_from_the_ui_are_one_run_and_each_shows_as_made(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = root.rows(STATE)
    for name, value in root.environment.items():
        monkeypatch.setenv(name, value)
    for name, value in environment(root.place).items():
        monkeypatch.setenv(name, value)
    job: Callable[[str], dg.JobDefinition] = build_defs(root.place).resolve_job_def
    with dg.DagsterInstance.get() as instance:
        result = job("genberegn").execute_in_process(instance=instance, tags=range_tags("2023-08", "2024-03"))
        made = instance.get_materialized_partitions(dg.AssetKey(["refusion", "borger_uge_ydelse"]))
    assert result.success
    assert {"2023-08", "2023-12", "2024-03"} <= made
    assert root.rows(STATE) == before


def test_the_checks_of_a_table_can_be_asked_alone_of_the_last_run(root: DataRoot, instance: dg.DagsterInstance) -> None:
    chosen = dg.AssetCheckKey(dg.AssetKey(["classified", "krav"]), "YR_001")
    defs = dg.Definitions.merge(
        build_defs(root.place),
        dg.Definitions(jobs=[dg.define_asset_job("een_kontrol", selection=dg.AssetSelection.checks(chosen))]),
    )
    result = defs.resolve_job_def("een_kontrol").execute_in_process(instance=instance)
    assert result.success
    [answered] = result.get_asset_check_evaluations()
    assert (answered.check_name, answered.passed) == ("YR_001", True)


def test_without_months_exactly_those_that_the_law_makes_old_are_calculated_again(root: DataRoot) -> None:
    assert "Ingen ydelsesmåneder er forældede" in root.refusion("genberegn").out
    rule_edits.staircase(root.rules, "refusion", date(2024, 3, 4), 75, 40, 30, 20)
    refused = root.refusion("genberegn")
    assert (refused.code, 'emne = "trappe", fra = 2024-03-01' in refused.err) == (1, True)
    rule_edits.declare(root.rules, "trappe", date(2024, 3, 1))
    ran = root.refusion("genberegn")
    assert (ran.code, ran.err) == (0, "")
    assert "Forældede ydelsesmåneder, som regnes om: 2024-03..2024-04\n" in ran.out
    assert "Ingen ydelsesmåneder er forældede" in root.refusion("genberegn").out
    new = root.place.rules.version[:12]
    # The week of 26 February has days of both months, so some of it was asked for; who may have fleksbidrag is
    # calculated from the first of a month.
    query = """SELECT DISTINCT uge >= DATE '2024-03-04' AS siden, regelversion = '{}' FROM refusion.borger_uge_ydelse
        WHERE uge <> DATE '2024-02-26' AND borger_id NOT IN (
            SELECT borger_id FROM classified.krav WHERE ydelse_id = 'FLEKS')"""
    assert sorted(root.rows(query.format(new))) == [(False, False), (True, True)]


def test_the_ui_shows_what_an_edit_touches_and_one_job_calculates_it_again(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    rule_edits.staircase(root.rules, "refusion", date(2024, 3, 4), 75, 40, 30, 20)
    rule_edits.declare(root.rules, "trappe", date(2024, 3, 1))
    job: Callable[[str], dg.JobDefinition] = build_defs(root.place).resolve_job_def
    [before] = job("se_regler").execute_in_process(instance=instance).get_asset_check_evaluations()
    seen = instance.fetch_observations(dg.AssetKey(["regler", "trappe"]), limit=500).records
    assert job("genberegn_foraeldede").execute_in_process(instance=instance).success
    [after] = job("se_regler").execute_in_process(instance=instance).get_asset_check_evaluations()
    made = instance.get_materialized_partitions(CHECK.asset_key)
    versions = {r.partition_key: (r.asset_observation and r.asset_observation.tags[DATA_VERSION_TAG]) for r in seen}
    assert (len(versions) > 140, versions["2016-02"] == versions["2024-02"] != versions["2024-03"]) == (True, True)
    assert (before.passed, before.severity, after.passed) == (False, dg.AssetCheckSeverity.WARN, True)
    assert "2 ydelsesmåneder er forældede efter en ændring af reglerne: 2024-03..2024-04." in str(before.description)
    assert made == {"2024-02", "2024-03", "2024-04"}


def test_the_sensor_looks_at_the_rules_once_for_each_version(root: DataRoot) -> None:
    looked = sensor(root.place)
    first = looked(dg.build_sensor_context())
    assert first is not None
    context = dg.build_sensor_context(cursor=root.place.rules.version)
    assert [type(request).__name__ for request in looked(context) or ()] == ["SkipReason"]
    rule_edits.staircase(root.rules, "refusion", date(2024, 3, 4), 75, 40, 30, 20)
    assert [type(request).__name__ for request in looked(context) or ()] == ["RunRequest"]
    rule_edits.put(root.rules, "trapper.toml", "procent = 80", "procent = 180")
    assert [type(request).__name__ for request in looked(context) or ()] == ["SkipReason"]


def test_a_month_run_again_after_the_next_one_was_calculated_and_stopped_is_as_if_that_had_not_been(
    example: Example, tmp_path: Path
) -> None:
    root = DataRoot(tmp_path)
    shutil.copytree(example.root.path / "raw", root.path / "raw")
    for month in ("2024-02", "2024-03"):
        root.run(month)
    root.calculate("2024-04")
    with root.place.warehouse.open() as session, pytest.raises(Stop, match="ikke som kendt i 2024-03"):
        settle_month(session, root.place, month_of("2024-03"), root.place.rules.koder)
    for month in ("2024-03", "2024-04"):
        root.run(month)
        assert root.files(month) == example.files[month]


def test_rows_are_not_calculated_from_the_claims_of_another_month(example: Example, tmp_path: Path) -> None:
    root = example.root.copy(tmp_path)
    with (
        root.place.warehouse.open() as session,
        pytest.raises(Stop, match="ikke gjort op af filerne til og med 2024-03"),
    ):
        calculate(session, root.place, month_of("2024-03"), lambda _: None)


def test_months_before_the_count_begins_and_folders_that_are_no_month_are_no_traceback(root: DataRoot) -> None:
    (root.path / "raw" / "ky" / "2024-13").mkdir()
    ran = root.refusion("genberegn", "2010-01..2024-02")
    assert (ran.code, ran.err) == (1, "STOPPET: 2010-01 ligger før 2014-07-01, hvor optællingen begynder\n")


def test_an_error_that_nobody_foresaw_is_one_line_without_what_it_said(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refusion_assets.runs.month.build_defs", lambda _: {}["6101911111"])
    ran = root.refusion("koer", "2024-04")
    assert (ran.code, ran.err.count("\n"), "uventet fejl, KeyError i test_again.py" in ran.err) == (1, 1, True)
    assert "6101911111" not in ran.out + ran.err


def test_what_the_system_refuses_is_told_with_the_path(root: DataRoot) -> None:
    shutil.rmtree(root.path / "udgaaende")
    (root.path / "udgaaende").write_text("")
    ran = root.refusion("koer", "2024-04")
    assert (ran.code, ran.err.count("\n"), "udgaaende" in ran.err) == (1, 1, True)
