"""Understands the critical week as the command line runs it: the same jobs, one after the other."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

import dagster as dg

from refusion_assets.assets.filer import told
from refusion_assets.assets.wiring import gate
from refusion_assets.context import Place
from refusion_assets.definitions import (
    COMMAND_LINE,
    KRITISK_UGE,
    OPGOER,
    STARTED_BY,
    build_defs,
    settle_tags,
)
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.weeks import month_of
from refusion_assets.partitions import last_month

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def critical_week(
    place: Place, month: date, say: Callable[[str], None], accepter: Sequence[str] = (), begrundelse: str = ""
) -> Iterator[str]:
    """Run month `month` from raw files to the municipalities' files; the lines of a short statement.

    `accepter` names stops that are let pass (`FIL-006:ksd-657`), with their reason. Stop with one line if it
    cannot be done; nothing half-written is left.
    """
    cell = f"{month:%Y-%m}"
    koder = [k.kommunekode for k in place.rules.kommuner]
    _may_run(place, month)
    defs = build_defs(place)
    with dg.DagsterInstance.get() as instance:
        say(f"{cell}: indlæser, klassificerer, tæller og beregner ...")
        knowingly = {"ops": {"raw__indberetning": {"config": {"accepter": list(accepter), "begrundelse": begrundelse}}}}
        _execute(defs, KRITISK_UGE, instance, {STARTED_BY: COMMAND_LINE}, cell, knowingly)
        say(f"{cell}: opgør {len(koder)} kommuner ...")
        _execute(defs, OPGOER, instance, {STARTED_BY: COMMAND_LINE, **settle_tags(koder, cell)})
    with place.warehouse.open() as session:
        yield from told(session, place, month)


def _may_run(place: Place, month: date) -> None:
    """Stop if the month may not be run, before anything is started; a month outside the grid is no partition."""
    with place.warehouse.open() as session:
        gate(session, place, month)
    if month > last_month(place.root, place.rules, month_of(f"{datetime.now():%Y-%m}")):  # noqa: DTZ005
        raise Stop(f"der er ingen leverancer for {month:%Y-%m} endnu; er måneden rigtig?")


def _execute(
    defs: dg.Definitions,
    job: str,
    instance: dg.DagsterInstance,
    tags: dict[str, str],
    cell: str | None = None,
    config: dict[str, Any] | None = None,
) -> None:
    """One job run in this process and kept in the instance; Stop with its reason if it fails."""
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance, tags=tags, partition_key=cell, raise_on_error=False, run_config={**QUIET, **(config or {})}
    )
    if not result.success:
        raise Stop(_reason(result))


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """Why a run failed, in one line: the check that said no, or the reason a step gave."""
    for evaluation in result.get_asset_check_evaluations():
        if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
            return f"{evaluation.check_name}: {evaluation.description}"
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return data.user_failure_data.description
            if data.error:
                innermost = data.error.cause or data.error
                return f"uventet fejl i {event.step_key}: {innermost.cls_name}; se kørslen i brugerfladen"
    return "kørslen fejlede; se den i brugerfladen"
