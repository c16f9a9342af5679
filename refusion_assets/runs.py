"""Understands the critical week as the command line runs it: the same jobs, one after the other."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

import dagster as dg
import polars as pl

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
from refusion_assets.files import kroner
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
    yield from told(place, month)


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


def told(place: Place, month: date) -> list[str]:
    """The short statement of a run: municipalities, people, sums, corrections, and where the files are."""
    with place.warehouse.open() as session:
        row = session.frame(
            """SELECT count(*) AS kommuner, sum(raekker)::BIGINT AS raekker, sum(refusion_oere)::BIGINT AS refusion,
            sum(medfinansiering_oere)::BIGINT AS medfinansiering, sum(rettelser_oere)::BIGINT AS rettelser,
            (SELECT count(DISTINCT borger_id) FROM opgoerelse.postering WHERE koersel = max(k.koersel)) AS borgere
            FROM opgoerelse.kommune k JOIN opgoerelse.koersel USING (koersel) WHERE maaned = $month""",
            month=month,
        )
        accepted = session.frame(
            "SELECT regel, genstand, begrundelse FROM kontrol.accept WHERE maaned = $m ORDER BY ALL", m=month
        )
        doubts = session.frame(
            "SELECT tekst FROM kontrol.resultat WHERE maaned = $m AND NOT bestaaet ORDER BY tabel, kontrol", m=month
        )
    sums = row.select(kroner(pl.col(c)).alias(c) for c in ("refusion", "medfinansiering", "rettelser")).row(0)
    names = ("Refusion til kommunerne", "Medfinansiering fra kommunerne", "Heraf rettelser, netto til kommunerne")
    lines = [
        f"Kørsel {month:%Y-%m}: {row['kommuner'][0]} kommuner, {row['borgere'][0]} borgere, {row['raekker'][0]} rækker"
    ]
    lines += [f"  {name + ':':<42}{amount:>20} kr." for name, amount in zip(names, sums, strict=True)]
    lines += [f"  Accepteret: {regel} {genstand}: {why}" for regel, genstand, why in accepted.iter_rows()]
    lines += [f"  Bemærk: {tekst}" for (tekst,) in doubts.iter_rows()]
    return [*lines, f"  Filer: {place.outgoing / f'{month:%Y-%m}'}"]
