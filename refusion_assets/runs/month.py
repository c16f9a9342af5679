"""Understands the critical week as the command line runs it: the same jobs, one after the other."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import dagster as dg
import polars as pl
from dagster._core.storage.tags import MAX_RETRIES_TAG

from refusion_assets.assets.faelles.udrulning import settling
from refusion_assets.assets.findings.statement import keep, stated, stopped
from refusion_assets.assets.gate import (
    GENBEREGN,
    GENINDLAES,
    POOL,
    gate,
    head,
    held_back,
    last_closed,
    last_run,
    never_run,
    settled,
    withdraw,
)
from refusion_assets.assets.konsekvens import JOB as KONSEKVENS
from refusion_assets.assets.konsekvens import STEP
from refusion_assets.assets.levering.asset import LEVER, receive
from refusion_assets.assets.levering.shipments import asked
from refusion_assets.assets.opfoelgning.asset import JOB as OPFOELGNING
from refusion_assets.assets.opfoelgning.asset import balances_kept, refuse_unsettled
from refusion_assets.assets.opgoerelse import close, refuse_to_close, reopen
from refusion_assets.assets.outgoing import copy_is_old, published_is_current, stand
from refusion_assets.assets.raw.let_pass import BEFORE_READING, Knowingly, refuse_number, refuse_unneeded, wanted
from refusion_assets.assets.raw.reports import stops_before_reading
from refusion_assets.assets.stale import difference, moved_money, stale, sums
from refusion_assets.definitions import KRITISK_UGE, OPGOER, build_defs, settle_tags
from refusion_assets.domain.calendar import month_of, month_range
from refusion_assets.domain.findings.statement import Oversigt
from refusion_assets.domain.opgoerelse.ledger import run_number
from refusion_assets.domain.rules.change import as_ranges
from refusion_assets.domain.stop import Stop, of_the_disk
from refusion_assets.domain.wording import kroner_text, plural
from refusion_assets.files.estimate import RESULTAT, folder_of
from refusion_assets.operations.automation import COMMAND_LINE, STARTED_BY
from refusion_assets.partitions import last_month, range_tags
from refusion_assets.place import Place, alone
from refusion_assets.progress import patient
from refusion_assets.rulebook.load import delivery, load
from refusion_assets.store import events
from refusion_assets.store.processes import MARK, carrying_out, living_runs
from refusion_assets.store.publish import is_behind, publish

SECONDS_BETWEEN_LOOKS = 1.0
RUNS_SHOWN = 3
LOCK, FOLLOW_UP_LOCK = "kommando.laas", "opfoelgning.laas"
T = TypeVar("T")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class NobodyInOperation(Stop):
    """A month is calculated, and nothing of it is settled, as the plan has nobody in operation yet."""


def critical_week(
    place: Place,
    month: date,
    say: Callable[[str], None],
    accepter: Sequence[str] = (),
    begrundelse: str = "",
    undtagen: Sequence[str] = (),
) -> Oversigt:
    """Run month `month` from raw files to the municipalities' files; the statement of the month.

    `accepter` names stops that are let pass (`FIL-006:ksd-657`), `undtagen` municipalities that are held back, both
    with their reason. Stop with one line if the run fails; nothing half-written is left. NobodyInOperation if the month
    has nobody to settle by the plan.
    """
    cell = f"{month:%Y-%m}"
    refuse_unknown(place, undtagen)
    if undtagen and not begrundelse.strip():
        raise Stop("kommuner kan kun holdes tilbage med en begrundelse; skriv den med --begrundelse")
    refuse_number(begrundelse)
    if set(undtagen) >= set(place.rules.koder):
        raise Stop("alle kommuner kan ikke holdes tilbage; nævn dem, der skal vente")
    place = replace(place, tell=patient(say))
    config = Knowingly(accepter=list(accepter), begrundelse=begrundelse)
    wanted(config)
    with _instance(place, say) as instance:
        _may_run(place, month, config)
        defs = build_defs(place)
        say(f"{cell}: indlæser, klassificerer, tæller og beregner ...")
        with _said_in_the_statement(place, month):
            _execute(place, defs, KRITISK_UGE, instance, {STARTED_BY: COMMAND_LINE}, cell, _as_config(config))
            koder = _to_settle(place, month, undtagen)
            return _settle(place, month, koder, defs, instance, begrundelse if undtagen else "", say)


def _to_settle(place: Place, month: date, undtagen: Sequence[str]) -> list[str]:
    """The municipalities in operation that are not held back; Stop if there are none."""
    with place.warehouse.open() as session:
        ready = settling(session, place, month)
    if koder := [kode for kode in ready if kode not in undtagen]:
        return koder
    if not ready:
        raise NobodyInOperation(
            f"{month:%Y-%m}: beregnet og ikke opgjort, da ingen kommune er i drift endnu; stikprøver kan tages"
        )
    raise Stop(f"alle kommuner, der er i drift i {month:%Y-%m}, kan ikke holdes tilbage; nævn dem, der skal vente")


@contextmanager
def _said_in_the_statement(place: Place, month: date) -> Iterator[None]:
    """An error in the block becomes the statement of the month too, if it leaves the month without files.

    The error takes the remarks of the statement along as its notes.
    """
    try:
        yield
    except NobodyInOperation:
        raise
    except Exception as error:
        for remark in stopped(place, month, error_text(error)).bemaerkninger:
            error.add_note(remark)
        raise


def settle(place: Place, month: date, kommuner: Sequence[str], say: Callable[[str], None]) -> Oversigt:
    """Settle municipalities that run `month` holds back, and show their files; the statement of the month.

    Stop if the month has not been calculated, is closed, or if a later one has been run.
    """
    place = replace(place, tell=patient(say))
    refuse_unknown(place, kommuner)
    with _instance(place, say) as instance:
        with place.warehouse.open() as session:
            if last_run(session) != month:
                raise Stop(
                    f"{month:%Y-%m} er ikke den sidste kørsel; kun den kan opgøre kommuner, der blev holdt tilbage"
                )
            gate(session, place, month)
            held = held_back(session, place, month)
            ready = stand(session, place, month)
        asked = [kode for kode in kommuner if kode in held]
        if not asked and ready:
            say(f"{', '.join(kommuner)} er allerede opgjort i kørsel {month:%Y-%m}; intet er ændret.")
            if is_behind(place.warehouse):
                publish(place.warehouse)  # an earlier one was killed before it came to the copy
            with place.warehouse.open() as session:
                return stated(session, place, month)
        with _said_in_the_statement(place, month):
            return _settle(place, month, sorted(asked or kommuner), build_defs(place), instance, "", say)


def to_be_closed(place: Place, month: date) -> Iterator[str]:
    """What closing run `month` closes, line by line; Stop if it cannot be closed. Nothing is changed.

    A copy that a killed closing left old is renewed first.
    """
    with place.warehouse.open() as session:
        closed = last_closed(session, month) == month
    if closed and is_behind(place.warehouse):
        publish(place.warehouse)  # an earlier one was killed before it came to the copy
    with place.warehouse.open() as session:
        refuse_to_close(session, place, month)
        said = stated(session, place, month)
    yield f"Kørsel {said.maaned} med regler {said.regelversion} lukkes; det kan ikke gøres om:"
    counts = plural(said.kommuner, "kommune", "kommuner"), plural(said.borgere, "borger", "borgere")
    yield f"  {', '.join(counts)}, {plural(said.raekker, 'række', 'rækker')}"
    yield from (f"  {post.navn + ':':<33}{kroner_text(post.oere):>24}" for post in said.poster)
    yield f"  Filer: {said.filer}"
    yield "  Derefter ændres hverken rækker eller filer; det, der opdages senere, rettes i næste kørsel."


def close_run(place: Place, month: date) -> str:
    """Run `month` closed for good, and the copy for analysts renewed; the head of the chain (`head`)."""
    with place.warehouse.open() as session:
        close(session, place, month)
        told = head(session)
    publish(place.warehouse)
    return told


def refuse_unknown(place: Place, kommuner: Sequence[str]) -> None:
    """Stop if a code is no municipality's."""
    if strange := sorted(set(kommuner) - set(place.rules.koder)):
        raise Stop(f"{', '.join(strange)} er ikke en kommunekode i kommuner.csv; skriv tre cifre, fx 706")


def _settle(
    place: Place,
    month: date,
    koder: Sequence[str],
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    begrundelse: str,
    say: Callable[[str], None],
) -> Oversigt:
    """Settle some municipalities of a calculated month and show their files; the statement of the month.

    The shown folder decides. Once the files of the run are shown, no later fault withdraws them; if a part stopped,
    none are shown.
    """
    cell = f"{month:%Y-%m}"
    say(f"{cell}: opgør {plural(len(koder), 'kommune', 'kommuner')} ...")
    why = {"ops": {"opgoerelse__postering": {"config": {"begrundelse": begrundelse}}}}
    remarks = []
    for number, part in enumerate(stretches(place.rules.koder, koder)):
        try:
            _execute(place, defs, OPGOER, instance, {STARTED_BY: COMMAND_LINE, **settle_tags(part, cell)}, config=why)
        except Exception as error:
            if not _have_files(place, month, part):
                if number:
                    _take_back(place, month)
                raise
            remarks = [f"filerne er skrevet, men kørslen blev ikke ført til ende i Dagster: {error_text(error)}"]
    with place.warehouse.open() as session:
        said = stated(session, place, month)
        if not published_is_current(session, place, month):
            remarks.append(copy_is_old())
    remarks += keep(place, said)
    return replace(said, bemaerkninger=(*said.bemaerkninger, *remarks))


def _have_files(place: Place, month: date, koder: Sequence[str]) -> bool:
    """True if the shown files are those of run `month`, and it has settled these municipalities."""
    with place.warehouse.open() as session:
        return stand(session, place, month) and set(koder) <= set(settled(session, run_number(month, place.rules)))


def _take_back(place: Place, month: date) -> None:
    """Withdraw the files of run `month` and open it again: a part of it could not be settled."""
    with place.warehouse.open() as session:
        reopen(session, place, month)
    withdraw(place, month)


def error_text(error: Exception) -> str:
    """The text of an error of ours or of the disk; else only its kind, as the text may hold a person's number."""
    return str(error) if isinstance(error, Stop) else of_the_disk(error) or type(error).__name__


def stretches(every: Sequence[str], chosen: Sequence[str]) -> list[list[str]]:
    """The given codes as stretches of neighbours among all codes: a run covers one stretch of cells."""
    parts: list[list[str]] = []
    before = -2
    for place_of, kode in enumerate(every):
        if kode in chosen:
            if place_of != before + 1:
                parts.append([])
            parts[-1].append(kode)
            before = place_of
    return parts


def _as_config(knowingly: Knowingly) -> dict[str, Any]:
    """The run config that lets stops pass."""
    said = {"accepter": knowingly.accepter, "begrundelse": knowingly.begrundelse}
    return {"ops": {"raw__indberetning": {"config": said}}}


def recalculate(place: Place, months: Sequence[date] | None, say: Callable[[str], None]) -> Iterator[str]:
    """Benefit months calculated again as the last run knows them, without settling; the difference by municipality.

    Without named months: those that the rules have made out of date. With named months these are done too, as one law
    must hold for all; only the difference of the named ones is shown. Stop if a month has not been run. The next run
    settles the difference as corrections.
    """
    with place.warehouse.open() as session:
        last, old = last_run(session), stale(session, place).maaneder
    asked = months or (month_range(old[0], old[-1]) if old else [])
    if not asked:
        yield "Ingen ydelsesmåneder er forældede; reglerne giver det, der er beregnet."
        return
    if last is None or asked[-1] > last:
        raise never_run(asked[-1])
    if asked[0] < place.rules.optaelling.gaelder_fra.replace(day=1):
        raise Stop(f"{asked[0]:%Y-%m} ligger før {place.rules.optaelling.gaelder_fra}, hvor optællingen begynder")
    if old:
        yield f"Forældede ydelsesmåneder, som regnes om: {as_ranges(old)}"
    yield from _done_again(place, GENBEREGN, asked, say)


def reload(
    place: Place, say: Callable[[str], None], accepter: Sequence[str] = (), begrundelse: str = ""
) -> Iterator[str]:
    """Everything read again from the raw files, through the last run; the difference by municipality, if any.

    `accepter` names stops that are let pass (`FIL-008:<file name>`), with their reason.
    """
    config = Knowingly(accepter=list(accepter), begrundelse=begrundelse)
    wanted(config)
    with place.warehouse.open() as session:
        last = last_run(session)
    if last is None:
        raise Stop("der er ingen kørsel endnu; den første kørsel læser alt ind af sig selv")
    yield from _done_again(place, GENINDLAES, month_range(place.rules.optaelling.gaelder_fra, last), say, config)


def consequence(
    place: Place, regler: Path, months: Sequence[date], til: Path | None, say: Callable[[str], None]
) -> Iterator[str]:
    """The effect of a proposal on some benefit months: the lines of a short statement, and the place of the files."""
    asked = {"regler": str(regler.resolve()), "fra": f"{months[0]:%Y-%m}", "til": f"{months[-1]:%Y-%m}"}
    config = {"ops": {STEP: {"config": asked | ({"mappe": str(til.resolve())} if til else {})}}}
    place = replace(place, tell=patient(say))
    with _instance(place, say) as instance:
        _execute(place, build_defs(place), KONSEKVENS, instance, {STARTED_BY: COMMAND_LINE}, config=config)
    folder = til.resolve() if til else folder_of(place.root, load(regler))
    yield from (folder / RESULTAT).read_text("utf-8").splitlines()
    yield f"Filer: {folder}"


def follow_up(place: Place, month: date, say: Callable[[str], None]) -> Path:
    """The follow-up of a settled month, made anew; the folder of its pages. No month waits for it, but for its storing.

    Says the balances that do not hold. Stop if the month is not settled and published.
    """
    with place.warehouse.reading() as session:
        refuse_unsettled(session, month)
    with alone(place, say, FOLLOW_UP_LOCK), _dagster(place, say) as instance:
        defs = build_defs(replace(place, tell=patient(say)))
        _execute(place, defs, OPFOELGNING, instance, {STARTED_BY: COMMAND_LINE}, f"{month:%Y-%m}")
    for outcome in balances_kept(place, month).values():
        if not outcome.bestaaet:
            say(f"Bemærk: {outcome.tekst} {outcome.handling}")
    return place.outgoing / f"{month:%Y-%m}"


def deliver(place: Place, month: date, koder: Sequence[str], say: Callable[[str], None], *, igen: bool = False) -> None:
    """The files of run `month` sent to their receivers (`levering.shipments.deliver`), in the job that the UI has.

    Stop at the end if a file did not arrive; the others have.
    """
    refuse_unknown(place, koder)
    mine = sorted(asked(delivery(place.rules_folder, place.rules), koder), key=place.rules.koder.index)
    with _dagster(place, say) as instance:
        tags = {STARTED_BY: COMMAND_LINE, **settle_tags([mine[0], mine[-1]], f"{month:%Y-%m}")}
        config = {"ops": {"levering__forsendelse": {"config": {"igen": igen, "kommuner": mine}}}}
        done = _execute(place, build_defs(replace(place, tell=say)), LEVER, instance, tags, config=config)
    if wrong := [one.description for one in done.get_asset_check_evaluations() if not one.passed]:
        raise Stop(" ".join(filter(None, wrong)))


def receive_receipts(place: Place, month: date | None, say: Callable[[str], None]) -> None:
    """The receipts of what was sent read, and what stands said; Stop at the end if something must be seen to."""
    with _dagster(place, say) as instance:
        told = receive(place, instance, month, say)
    for line in (*told.lines, *told.faults):
        say(line)
    if told.faults:
        raise Stop(f"{plural(len(told.faults), 'ting', 'ting')} skal ses efter; docs/levering.md siger, hvad der gøres")


def _done_again(
    place: Place, job: str, months: Sequence[date], say: Callable[[str], None], config: Knowingly | None = None
) -> Iterator[str]:
    """Run a job over some months; the lines of the difference."""
    before = _sums(place, months)
    tags = {STARTED_BY: COMMAND_LINE, **range_tags(f"{months[0]:%Y-%m}", f"{months[-1]:%Y-%m}")}
    with _instance(place, say) as instance:
        knowingly = _as_config(config) if config else None
        _execute(place, build_defs(replace(place, tell=patient(say))), job, instance, tags, config=knowingly)
    yield from difference(moved_money(before, _sums(place, months)), place.rules)


@contextmanager
def _instance(place: Place, say: Callable[[str], None]) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance in the home of the environment, once no other run uses the warehouse."""
    with alone(place, say, LOCK), _dagster(place, say) as opened:
        others = living_runs(opened, place.root, POOL)
        if others:
            say(f"venter på kørsel {min(others)[:8]}, som er i gang i brugerfladen ...")
        while others:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            others = living_runs(opened, place.root, POOL, say)
        yield opened


@contextmanager
def _dagster(place: Place, say: Callable[[str], None]) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance in the home of the environment, where runs that were killed have been ended and said."""
    home = Path(os.environ["DAGSTER_HOME"])
    with events.readable(home), events.instance(home) as opened:
        living_runs(opened, place.root, POOL, say)
        yield opened


def _sums(place: Place, months: Sequence[date]) -> pl.DataFrame:
    """The net amounts of some benefit months (`stale.sums`)."""
    with place.warehouse.open() as session:
        return sums(session, months[0], months[-1])


def _may_run(place: Place, month: date, config: Knowingly) -> None:
    """Stop if the month may not be run, before anything is started; a month outside the grid is no partition.

    Stop, too, if `accepter` names a fault that does not stop the month, as far as the files need not be read.
    """
    with place.warehouse.open() as session:
        gate(session, place, month)
        if config.accepter:
            refuse_unneeded(config, stops_before_reading(session, place, month), BEFORE_READING)
    if month > last_month(place.root, place.rules, month_of(f"{datetime.now():%Y-%m}")):  # noqa: DTZ005
        raise Stop(f"der er ingen leverancer for {month:%Y-%m} endnu; er måneden rigtig?")


def _execute(
    place: Place,
    defs: dg.Definitions,
    job: str,
    instance: dg.DagsterInstance,
    tags: dict[str, str],
    cell: str | None = None,
    config: dict[str, Any] | None = None,
) -> dg.ExecuteInProcessResult:
    """One job run in this process and kept in the instance; its result, or Stop with its reason if it fails."""
    # A person sees that a command has ended, and starts it again; a copy begun by Dagster would run into it.
    run_id = str(uuid4())
    tags = {**tags, MAX_RETRIES_TAG: "0", MARK: run_id}
    # It says in English, on standard error, which checks a stopped step did not make.
    logging.getLogger("dagster._core.execution.plan.active").setLevel(logging.ERROR)
    found, run_config = defs.resolve_job_def(job), {**QUIET, **(config or {})}
    with carrying_out(place.root, run_id):
        result = found.execute_in_process(
            run_config, instance, partition_key=cell, raise_on_error=False, run_id=run_id, tags=tags
        )
    if not result.success:
        reason = events.reason_of(result.all_events)
        events.last_word(instance, result.dagster_run, reason)
        raise Stop(reason)
    return result
