"""What the user interface shows: cells, runs, reasons and differences as they are."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import get_reexecution_strategy

from refusion_assets.assets import classified, refusion
from refusion_assets.assets.gate import GENBEREGN
from refusion_assets.assets.refusion import FORLOEB, KRAV, RAEKKE
from refusion_assets.assets.rules_edited import GENBEREGN_FORAELDEDE
from refusion_assets.definitions import KRITISK_UGE, OPGOER, build_defs
from refusion_assets.operations.automation import STARTED_BY, TIMETABLE
from refusion_assets.partitions import range_tags
from refusion_assets.place import PACKAGE, Place, environment
from refusion_assets.store import events
from tests.conftest import DataRoot
from tests.kit import rule_edits
from tests.kit.data_root import RULES
from tests.kit.timeline import CPR
from tests.month.test_month_stops import deliver

MONTH = "2024-01"
RAW = dg.AssetKey(["raw", "indberetning"])
FILER, POSTERING = dg.AssetKey(["opgoerelse", "filer"]), dg.AssetKey(["opgoerelse", "postering"])


@contextmanager
def opened(root: DataRoot) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance of a root, with the environment of a command in it."""
    with (
        mock.patch.dict(os.environ, root.environment | environment(root.place)),
        events.instance(root.path / "dagster") as instance,
    ):
        yield instance


@pytest.fixture(scope="module")
def january(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A root after its first month, run by the command, with rules of its own; only to be copied and looked at."""
    path = tmp_path_factory.mktemp("brugerflade")
    made = DataRoot(path / "data", Path(shutil.copytree(RULES, path / "rules")))
    deliver(made.path, MONTH)
    made.koer(MONTH)
    return made


@pytest.fixture
def root(january: DataRoot, tmp_path: Path) -> DataRoot:
    """A copy of that root."""
    copied = Path(shutil.copytree(january.path.parent, tmp_path / "copy"))
    return DataRoot(copied / "data", copied / "rules")


def kept_statement(root: DataRoot) -> dict[str, str]:
    """Whether the kept statement of the month says right or stopped, and why."""
    told = json.loads((root.place.statements / f"{MONTH}.json").read_text("utf-8"))
    return {name: told[name] for name in ("tilstand", "grund")}


def test_the_statement_is_shown_on_the_files_as_a_heading_tables_and_lists(january: DataRoot) -> None:
    with opened(january) as instance:
        [event] = instance.fetch_materializations(FILER, limit=1).records
        shown = event.asset_materialization.metadata["opgoerelse"]
    assert isinstance(shown, dg.MarkdownMetadataValue)
    head, *_ = lines = shown.md_str.splitlines()
    assert head.startswith(f"**Kørsel {MONTH} er rigtig og opgjort: 98 kommuner, ")
    assert any(
        re.match(r"\| Refusion til kommunerne \| [\d.]+,\d\d kr\. \| ingen \| ingen \|$", line) for line in lines
    )
    assert lines[-1] == f"Filer: `{january.place.outgoing / MONTH}`"
    assert not any(line.startswith("    ") for line in lines)


def from_the_ui(root: DataRoot, instance: dg.DagsterInstance, job: str, tags: dict[str, str]) -> dg.DagsterRun:
    """A job carried out as a run of the user interface is: by the executor of the code location."""
    found = build_defs(root.place).resolve_job_def(job)
    run = instance.create_run_for_job(job_def=found, tags=tags)
    list(execute_run_iterator(InMemoryJob(found), run, instance))
    return instance.get_runs(filters=dg.RunsFilter(run_ids=[run.run_id]))[0]


def cells(instance: dg.DagsterInstance, key: dg.AssetKey) -> set[str]:
    """The cells of an asset that are shown as made."""
    return instance.get_materialized_partitions(key)


def last_said(instance: dg.DagsterInstance, run_id: str) -> str:
    """The last that is told of a run."""
    return str(instance.all_logs(run_id)[-1].message)


def told_of(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, Any]:
    """What the newest cell of an asset shows, as plain values."""
    [record] = instance.fetch_materializations(key, limit=1).records
    assert record.asset_materialization
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def spoilt(root: DataRoot) -> tuple[Path, bytes]:
    """A delivered file that no longer fits its manifest, and what it held."""
    path = next((root.path / "raw" / "ky").rglob("*.csv"))
    good = path.read_bytes()
    path.write_bytes(good + b"\n")
    return path, good


def test_runs_of_the_command_belong_to_the_code_location_whose_runs_the_start_page_shows(january: DataRoot) -> None:
    [told] = yaml.safe_load((PACKAGE / "workspace.yaml").read_text("utf-8"))["load_from"]
    name = build_defs(january.place).get_repository_def().name
    label = f"{name}@{told['python_module']['location_name']}"
    with opened(january) as instance:
        runs = instance.get_runs(filters=dg.RunsFilter(tags={".dagster/repository": label}))
        origins = [run.remote_job_origin.repository_origin.get_label() for run in runs if run.remote_job_origin]
        assert sorted(run.job_name for run in runs) == ["kritisk_uge", "opgoer"]
    assert origins == [label] * 2


def test_a_month_shows_what_it_holds_however_often_it_is_run(root: DataRoot) -> None:
    held = {"dagster/row_count": 2, "dagster/partition_row_count": 2, "filer": 2, "afsendere": 2, "linjer": 2}
    with opened(root) as instance:
        first = told_of(instance, RAW)
        assert {name: first[name] for name in (*held, "nye_filer", "nye_linjer")} == held | {
            "nye_filer": 2,
            "nye_linjer": 2,
        }
    root.koer(MONTH)
    with opened(root) as instance:
        assert told_of(instance, RAW) == first | {"nye_filer": 0, "nye_linjer": 0}


def test_cells_whose_files_are_withdrawn_are_not_shown_as_made_until_they_are_there_again(root: DataRoot) -> None:
    everyone = {f"{kode}|{MONTH}" for kode in root.place.rules.koder}
    path, good = spoilt(root)
    assert root.refusion("koer", MONTH).code == 1
    with opened(root) as instance:
        assert (cells(instance, FILER), cells(instance, POSTERING)) == (set(), set())
        assert passed(instance) is False
    path.write_bytes(good)
    root.koer(MONTH)
    with opened(root) as instance:
        assert (cells(instance, FILER), cells(instance, POSTERING)) == (everyone, everyone)
        assert passed(instance) is True


def passed(instance: dg.DagsterInstance) -> bool:
    """What the newest answer of the check of the files says."""
    key = dg.AssetCheckKey(FILER, "filer_er_kladden")
    found = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0]
    assert found.event
    return bool(found.event.get_dagster_event().asset_check_evaluation_data.passed)


def test_only_the_cells_of_a_withdrawn_month_and_municipality_are_forgotten(january: DataRoot, root: DataRoot) -> None:
    with opened(root) as instance:
        events.forget(instance, FILER.path, [f"101|{MONTH}", f"101|{MONTH[:-1]}2"])
        assert cells(instance, FILER) == {f"{kode}|{MONTH}" for kode in january.place.rules.koder if kode != "101"}
        assert len(cells(instance, POSTERING)) == len(january.place.rules.koder)


def test_a_run_over_several_cells_is_not_tagged_with_the_municipality_of_the_first(january: DataRoot) -> None:
    tags = (
        build_defs(january.place)
        .resolve_job_def(OPGOER)
        .get_tags_for_partition_key(f"101|{MONTH}", selected_asset_keys=None)
    )
    assert tags["dagster/partition"] == f"101|{MONTH}"
    assert not [name for name in tags if name.startswith("dagster/partition/")]


def test_the_sensor_leaves_a_month_alone_of_which_somebody_has_begun_to_settle_some(january: DataRoot) -> None:
    defs, instance = build_defs(january.place), dg.DagsterInstance.ephemeral()
    beregn, opgoer = defs.resolve_job_def(KRITISK_UGE), defs.resolve_job_def(OPGOER)
    calculation = instance.create_run_for_job(beregn, tags={"dagster/partition": MONTH})
    over = dg.DagsterEvent("PIPELINE_SUCCESS", job_name=KRITISK_UGE)
    instance.report_dagster_event(over, calculation.run_id)

    def asked() -> list[str]:
        context = dg.build_run_status_sensor_context("opgoer_efter_beregning", over, instance, calculation)
        return [type(said).__name__ for said in defs.resolve_sensor_def("opgoer_efter_beregning")(context)]

    assert asked() == ["RunRequest"]
    instance.create_run_for_job(opgoer, tags=range_tags("101|2023-12", "860|2023-12"))
    assert asked() == ["RunRequest"]
    instance.create_run_for_job(opgoer, tags=range_tags(f"101|{MONTH}", f"240|{MONTH}"))
    assert asked() == ["SkipReason"]


def test_a_run_that_fails_ends_with_its_danish_reason_from_the_command_and_from_the_schedule(root: DataRoot) -> None:
    spoilt(root)
    ran = root.refusion("koer", MONTH)
    with opened(root) as instance:
        [run] = instance.get_runs(limit=1)
        assert f"{last_said(instance, run.run_id)}\n" == ran.err
        assert kept_statement(root) == {"tilstand": "stoppet", "grund": ran.err.strip().removeprefix("STOPPET: ")}
        shutil.rmtree(root.place.statements)
        again = from_the_ui(root, instance, KRITISK_UGE, {"dagster/partition": MONTH, STARTED_BY: TIMETABLE})
        assert again.status == dg.DagsterRunStatus.FAILURE
        assert f"{last_said(instance, again.run_id)}\n" == ran.err
        assert kept_statement(root) == {"tilstand": "stoppet", "grund": ran.err.strip().removeprefix("STOPPET: ")}
        [failed] = instance.all_logs(again.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        error = failed.get_dagster_event().job_failure_data.error
    assert error
    assert (error.stack, f"STOPPET: {error.message}\n") == ([], ran.err)


def test_a_reason_that_is_no_check_stands_last_too(root: DataRoot) -> None:
    root.refusion("luk", MONTH, "--ja")
    with opened(root) as instance:
        run = from_the_ui(root, instance, KRITISK_UGE, {"dagster/partition": MONTH})
        assert last_said(instance, run.run_id).startswith(f"STOPPET: kørsel {MONTH} er lukket og ændres ikke")
    assert kept_statement(root) == {"tilstand": "rigtig", "grund": ""}


def test_an_error_that_nobody_foresaw_ends_in_danish_and_names_no_person(root: DataRoot) -> None:
    error = ValueError(f"could not parse {CPR}")
    with opened(root) as instance, mock.patch.object(classified, "classify_through", side_effect=error):
        run = from_the_ui(root, instance, KRITISK_UGE, {"dagster/partition": MONTH})
        said = last_said(instance, run.run_id)
        everything = "".join(map(str, instance.all_logs(run.run_id)))
    assert said.startswith("STOPPET: uventet fejl, ValueError i ")
    assert CPR not in everything


def test_a_run_that_is_killed_after_its_last_step_is_begun_again_with_all_of_them(root: DataRoot) -> None:
    with opened(root) as instance:
        run = from_the_ui(root, instance, KRITISK_UGE, {"dagster/partition": MONTH})
        instance.report_run_failed(run)
        [died] = instance.get_runs(filters=dg.RunsFilter(run_ids=[run.run_id]))
        steps, _ = KnownExecutionState.build_resume_retry_reexecution(instance, died)
        assert (len(steps), get_reexecution_strategy(died, instance)) == (0, ReexecutionStrategy.ALL_STEPS)


def test_the_ui_tells_the_difference_that_the_command_tells(root: DataRoot, tmp_path: Path) -> None:
    rule_edits.staircase(root.rules, "refusion", date(2024, 1, 1), 75, 40, 30, 20)
    rule_edits.declare(root.rules, "trappe", date(2024, 1, 1))
    copied = root.copy(tmp_path / "again")
    ran = copied.refusion("genberegn", MONTH)
    told = ran.out[ran.out.index("  1") :].splitlines()
    assert (ran.err, len(told) > 1, told[-1].startswith("Forskel, netto til kommunerne: ")) == ("", True, True)
    with opened(root) as instance:
        from_the_ui(root, instance, GENBEREGN, range_tags(MONTH, MONTH))
        shown = told_of(instance, dg.AssetKey(["refusion", "borger_uge_ydelse"]))
    assert [line.removeprefix("    ") for line in shown["forskel"].splitlines()] == told


def test_the_months_are_shown_alike_however_many_are_asked_for_at_once(
    january: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = date(2023, 12, 1), date(2024, 1, 1)
    with january.place.warehouse.open() as session:
        together = refusion.shown(session, january.place, first, last)
        monkeypatch.setattr(refusion, "MONTHS_TOGETHER", 1)
        assert refusion.shown(session, january.place, first, last) == together
    assert list(together[RAEKKE]) == [MONTH]


def test_the_tables_show_people_and_kroner_of_each_month_which_the_ui_plots_month_by_month(january: DataRoot) -> None:
    row = january.rows(f"""SELECT count(DISTINCT borger_id), count(*), sum(refusion_oere) / 100
        FROM refusion.borger_uge_ydelse WHERE maaned = '{MONTH}-01'""")
    with opened(january) as instance:
        money = told_of(instance, RAEKKE)
        others = [told_of(instance, key) for key in (RAW, KRAV, FORLOEB, POSTERING)]
        files = told_of(instance, FILER)
    assert [(money["borgere"], money["raekker"], money["refusion_kr"])] == row
    [settled] = january.rows("SELECT sum(refusion_oere) / 100 FROM opgoerelse.postering WHERE koersel > 0")
    assert (files["koerslens_kommuner"], files["koerslens_refusion_kr"]) == (98, *settled)
    assert money["plot"].startswith("![trin](data:image/svg+xml;base64,")
    assert ["borgere" in shown for shown in others] == [True] * 4


def test_every_job_schedule_and_sensor_says_in_danish_when_to_use_it(january: DataRoot) -> None:
    defs = build_defs(january.place)
    every = [*(defs.jobs or ()), *(defs.schedules or ()), *(defs.sensors or ())]
    silent = [
        one.name for one in every if not re.search("(?i)brug det|slå den|lad den|slået|skriv", one.description or "")
    ]
    assert silent == []


def test_the_job_of_the_critical_week_links_to_its_months_newest_first(january: DataRoot) -> None:
    text = build_defs(january.place).resolve_job_def(KRITISK_UGE).description or ""
    links = re.findall(r"\[(.*?)\]\((.*?)\)", text)
    assert [month for month, _ in links] == [MONTH, *("2023-12", "2023-11", "2023-10", "2023-09", "2023-08")]
    assert links[0][1] == f"/locations/ydelsesrefusion/jobs/kritisk_uge?default_range={MONTH}"


def test_the_job_that_settles_chooses_all_municipalities_of_a_month_and_names_them(january: DataRoot) -> None:
    rules = january.place.rules
    text = build_defs(january.place).resolve_job_def(OPGOER).description or ""
    [newest, *_] = re.findall(r"\((/locations/.*?)\)", text)
    chosen = parse_qs(urlsplit(newest).query)
    assert chosen == {"kommune_range": [f"[{rules.koder[0]}...{rules.koder[-1]}]"], "maaned_range": [MONTH]}
    assert [f"{k.kommunekode} {k.navn}" for k in rules.kommuner if f"{k.kommunekode} {k.navn}" not in text] == []


def test_nothing_delivered_gives_no_link(tmp_path: Path) -> None:
    text = build_defs(Place(tmp_path, RULES)).resolve_job_def(KRITISK_UGE).description or ""
    assert "(/locations/" not in text


def test_months_calculated_again_after_a_rule_edit_keep_their_numbers_on_their_cells(root: DataRoot) -> None:
    rule_edits.staircase(root.rules, "refusion", date(2024, 1, 1), 75, 40, 30, 20)
    rule_edits.declare(root.rules, "trappe", date(2024, 1, 1))
    with opened(root) as instance:
        claims, spells = told_of(instance, KRAV), told_of(instance, FORLOEB)
        from_the_ui(root, instance, GENBEREGN_FORAELDEDE, {})
        again = [told_of(instance, key) for key in (KRAV, FORLOEB, RAEKKE)]
    row = root.rows(f"SELECT sum(refusion_oere) / 100 FROM refusion.borger_uge_ydelse WHERE maaned = '{MONTH}-01'")
    assert (again[0]["krav"], again[1]["forloeb"]) == (claims["krav"], spells["forloeb"])
    assert [(again[2]["refusion_kr"],)] == row
