"""Automation: marks deliveries on the board as they come, and starts the month when all have delivered."""

import hashlib
import json
import os
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from http.client import HTTPException
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.tags import PARTITION_NAME_TAG

from refusion_assets.assets.gate import POOL
from refusion_assets.assets.stale import stale
from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.operations.board import (
    FEJL,
    LEVERET,
    MANGLER,
    SEN,
    UNDERVEJS,
    Afsender,
    Board,
    deadline,
    moment,
    sender_line,
    summary,
)
from refusion_assets.domain.rules.change import as_ranges
from refusion_assets.domain.stop import Stop, of_the_system
from refusion_assets.domain.wording import without_persons
from refusion_assets.door.users import of_the_machine
from refusion_assets.operations.board import board, coming_month, known, now_in_danish_time, runs
from refusion_assets.partitions import grids, kroner, sender_cell
from refusion_assets.place import Place
from refusion_assets.rulebook.load import RuleError
from refusion_assets.store.events import bury_dead, forget, living_runs
from refusion_assets.store.session import Locked

STARTED_BY, COMMAND_LINE, TIMETABLE = "refusion/startet_af", "kommandolinje", "tidsplan"
INPUT_TAG = "refusion/grundlag"
BOARD, BOARD_CHECK = dg.AssetKey("leverance"), "alle_har_leveret"
ADDRESS, ADDRESS_HERE = "REFUSION_UI", "REFUSION_UI_LOKAL"
SECONDS_BETWEEN_LOOKS, SECONDS_TO_PROVE, SECONDS_TO_SETTLE = 30, 30.0, 15.0
NOT_ENDED = (
    *(dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING),
    *(dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING),
)
UNSEEN = (RuleError, Stop, Locked, OSError)
RELOAD = 'mutation { reloadRepositoryLocation(repositoryLocationName: "ydelsesrefusion") { __typename } }'


@dataclass(frozen=True)
class Start:
    """A month to be started now: its acceptances with their reason, and a print of what it would be run on."""

    maaned: date
    accepter: tuple[str, ...]
    begrundelse: str
    grundlag: str


def decide(place: Place, found: Board) -> Start | str:
    """The start of the board's month, or why it is not started now. Hjemmel: none, technical (`drift.toml`).

    Only a month that no run has settled is started, and only if it settles no change of the rules: a person starts all
    else.
    """
    if why := next(_obstacles(place, found), None):
        return why
    entry = place.rules.kritisk_uge_on(next_month(found.maaned))
    goes_on = entry is not None and found.uge is not None and entry.ved_frist == "fortsaet"
    passed = {genstand for regel, genstand, _ in found.accepteret if regel == "FIL-006"}
    missing = [sender.navn for sender in found.i_stand(MANGLER, SEN) if sender.navn not in passed]
    if missing and not (goes_on and found.uge and found.nu >= found.uge.deadline):
        return f"{summary(found)} {deadline(found)}"
    if not found.antal[LEVERET]:
        # All at once is no delay of the senders: perhaps the folder is on a disk that is not there.
        return f"{summary(found)} Er {place.raw} på plads? Ingen måned starter af sig selv uden een leverance."
    accepter = tuple(f"FIL-006:{navn}" for navn in missing)
    lies = [[a.navn, a.filer, vars(a.nu) if a.nu else None] for a in found.afsendere]
    said = json.dumps([f"{found.maaned}", lies, accepter, place.rules.version], sort_keys=True)
    why = entry.begrundelse if entry and missing else ""
    return Start(found.maaned, accepter, why, hashlib.sha256(said.encode()).hexdigest()[:16])


def _obstacles(place: Place, found: Board) -> Iterator[str]:
    """Why a month may not start by itself, whoever is missing."""
    every = runs(place)
    if not every:
        yield "der er ingen kørsel endnu; den første startes af et menneske"
    if any(run.maaned >= found.maaned for run in every):
        yield f"kørsel {found.maaned:%Y-%m} er begyndt; et menneske fører den til ende"
    for run in every:
        yield from (f"en kommune holdes tilbage i {run.maaned:%Y-%m}: {line}" for line in run.tilbageholdt)
    if found.uge is None:
        yield "reglerne har ingen kritisk uge (drift.toml, kritisk_uge), så intet starter af sig selv"
    elif found.nu < found.uge.opens:
        yield f"{found.maaned:%Y-%m} starter tidligst {moment(found.uge.opens)}"
    nothing: list[date] = []
    if old := known(place, lambda session: stale(session, place).maaneder, nothing):
        yield (
            f"reglerne er ændret og rører ydelsesmåneder, der er beregnet ({as_ranges(old)}); se forskellen med jobbet "
            "genberegn_foraeldede, og start selv måneden"
        )
    if found.fejl:
        yield f"{summary(found)} {found.fejl[0]}"
    if found.antal[UNDERVEJS]:
        yield f"{summary(found)} Filerne prøves, når de er skrevet færdig."
    if found.plads.koersler < 1:
        yield "disken har ikke plads til kørslen; gør plads"


def request(start: Start) -> dg.RunRequest:
    """The run that starts a month, with its acceptances."""
    accepted = {"config": {"accepter": list(start.accepter), "begrundelse": start.begrundelse}}
    return dg.RunRequest(
        partition_key=f"{start.maaned:%Y-%m}",
        run_config={"ops": {"raw__indberetning": accepted}} if start.accepter else {},
        tags={STARTED_BY: TIMETABLE, INPUT_TAG: start.grundlag},
    )


def schedule(place: Place, beregn: Any) -> dg.ScheduleDefinition:
    """The schedule that starts the critical week; off until a person turns it on."""

    @dg.schedule(
        name="kritisk_uge_klar",
        job=beregn,
        cron_schedule="*/10 * * * *",
        execution_timezone="Europe/Copenhagen",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=(
            "Slå den til, når måneden skal køre af sig selv. Hvert tiende minut i den kritiske uge (drift.toml) ser "
            "den, om alle har leveret, og starter så måneden. Ved fristen venter den på et menneske, eller den starter "
            "uden de afsendere, der mangler, som reglerne siger. En måned, der er opgjort, kører den aldrig igen."
        ),
    )
    def kritisk_uge_klar(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        here = place.reread()
        try:
            month = coming_month(here)
            if month is None:
                return dg.SkipReason(f"der er ingen leverancer under {here.raw}")
            start = decide(here, _look(here, month))
        except UNSEEN as error:
            return dg.SkipReason(unseen(error))
        if isinstance(start, str):
            return dg.SkipReason(start)
        if why := next(_begun(context.instance, start), None):
            return dg.SkipReason(why)
        return request(start)

    return kritisk_uge_klar


def busy_with(instance: dg.DagsterInstance) -> str:
    """The id of a run that is at work or in the queue; empty if none is. A run in the queue has no place in a pool."""
    living = living_runs(instance, POOL)
    waiting = instance.get_runs(dg.RunsFilter(statuses=list(NOT_ENDED)), limit=1)
    return min([*living, *(run.run_id for run in waiting)], default="")


def _begun(instance: dg.DagsterInstance, start: Start) -> Iterator[str]:
    """Why a month may not start, by the runs that Dagster remembers."""
    if busy := busy_with(instance):
        yield f"kørsel {busy[:8]} er i gang eller i kø"
    # A person who began the month perhaps holds a municipality back; the warehouse does not know before it settles.
    for run in instance.get_runs(dg.RunsFilter(tags={PARTITION_NAME_TAG: f"{start.maaned:%Y-%m}"})):
        if run.tags.get(STARTED_BY) != TIMETABLE:
            yield f"måneden er forsøgt i kørsel {run.run_id[:8]}; et menneske fører den til ende"
    for run in instance.get_runs(dg.RunsFilter(tags={INPUT_TAG: start.grundlag}), limit=1):
        yield f"måneden er forsøgt på det samme i kørsel {run.run_id[:8]}; ret fejlen, og start den selv"


def unseen(error: Exception) -> str:
    """Why the board cannot be seen now: rules that cannot stand, or a warehouse or a file that cannot be read."""
    if isinstance(error, RuleError):
        return f"reglerne kan ikke stå: {error}"
    said = of_the_system(error) if isinstance(error, OSError) else str(error)
    return f"tavlen kunne ikke læses: {without_persons(said)}"


def _look(place: Place, month: date) -> Board:
    """The board now, within the time that Dagster gives a tick; what was proved is kept for the next."""
    now = now_in_danish_time()
    return board(place, month, now, seconds=SECONDS_TO_PROVE, settling=SECONDS_TO_SETTLE, keep=True)


def sensor(place: Place) -> dg.SensorDefinition:
    """The sensor that proves files as they come and marks their senders on the board; nothing is calculated."""
    loaded = shape(place)

    @dg.sensor(
        name="nye_leverancer",
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Prøver hver ny fil mod sit manifest, når den er skrevet færdig, og viser det på tavlen (leverance): en "
            "celle for hver afsender og måned, og kontrollen alle_har_leveret. Den beregner intet; lad den være til."
        ),
    )
    def nye_leverancer(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        bury_dead(context.instance, POOL)
        here = place.reread()
        try:
            here.rules  # noqa: B018  read here, so that rules that cannot stand are told
            month = coming_month(here)
            if month is None:
                return dg.SkipReason(f"der er ingen leverancer under {place.raw}")
            found = _look(here, month)
        except UNSEEN as error:
            return dg.SkipReason(unseen(error))
        shown = json.loads(context.cursor or "{}")
        context.update_cursor(json.dumps(mark(context.instance, found, shown), sort_keys=True))
        old = "" if shape(here) == loaded else f" {reload_code()}"
        return dg.SkipReason(f"{summary(found)}{old}")

    return nye_leverancer


def shape(place: Place) -> tuple[Any, ...]:
    """The months, senders and municipalities of a code location; when they differ, Dagster must load it again."""
    cut = grids(place.root, place.rules, date.today())  # noqa: DTZ011  the grids follow the local calendar
    return tuple(cut.months.get_partition_keys()), tuple(cut.senders.get_partition_keys()), tuple(place.rules.koder)


def reload_code() -> str:
    """Ask the UI to load the code location again, as months or senders are new; what came of it in words."""
    # Behind a login the address that people use answers no program.
    address = os.environ.get(ADDRESS_HERE) or os.environ.get(ADDRESS, "")
    if not address.startswith(("http://", "https://")):
        return f"Der er nye måneder eller afsendere: tryk Reload definitions, eller sæt {ADDRESS_HERE}."
    body = json.dumps({"query": RELOAD}).encode()
    try:
        headers = {"Content-Type": "application/json", **of_the_machine(Path(os.environ.get("DAGSTER_HOME", "")))}
        asked = urllib.request.Request(f"{address.rstrip('/')}/graphql", body, headers)  # noqa: S310
        with urllib.request.urlopen(asked, timeout=20) as answer:  # noqa: S310  http or https, as seen above
            answer.read()
    except (OSError, ValueError, HTTPException, Stop) as error:
        return f"Der er nye måneder eller afsendere, men {address} svarer ikke ({type(error).__name__})."
    return "Brugerfladen læser nye måneder og afsendere."


def mark(instance: dg.DagsterInstance, found: Board, shown: dict[str, str]) -> dict[str, str]:
    """The cells and the check of the board made as `found` says; `shown` is what they showed, returned as it is now."""
    month = f"{found.maaned:%Y-%m}"
    now = {sender.navn: sender_line(sender, found.afviger_procent) for sender in found.afsendere}
    now |= {"": summary(found), "maaned": month}
    before = shown if shown.get("maaned") == month else {}
    for sender in found.afsendere:
        if before.get(sender.navn) != now[sender.navn]:
            _mark_cell(instance, found, sender)
    if before != now:
        instance.report_runless_asset_event(_evaluation(found))
    return now


def _mark_cell(instance: dg.DagsterInstance, found: Board, sender: Afsender) -> None:
    """The cell of a sender: made when its files are whole; else not made, with an observation if they are bad."""
    cell = sender_cell(sender.kilde, sender.enhed, found.maaned)
    said: dict[str, Any] = {"tavle": sender_line(sender, found.afviger_procent), "filer": sender.filer}
    if sender.stand == LEVERET and sender.nu:
        numbers = {"linjer": sender.nu.linjer, "kroner": kroner(sender.nu.oere)}
        instance.report_runless_asset_event(dg.AssetMaterialization(BOARD, partition=cell, metadata=said | numbers))
        return
    forget(instance, BOARD.path, [str(cell)])
    if sender.stand == FEJL:
        instance.report_runless_asset_event(dg.AssetObservation(BOARD, partition=cell, metadata=said))


def _evaluation(found: Board) -> dg.AssetCheckEvaluation:
    """The answer of the check `alle_har_leveret`, with a line for each sender that lacks a whole file."""
    wrong = [a for a in found.afsendere if a.stand != LEVERET]
    table = "\n".join(f"- {sender_line(a, found.afviger_procent)}" for a in wrong)
    return dg.AssetCheckEvaluation(
        asset_key=BOARD,
        check_name=BOARD_CHECK,
        passed=not wrong and not found.fejl,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{summary(found)} {deadline(found)}".strip(),
        metadata={
            "hvem": dg.MetadataValue.md(table or "Ingen."),
            **dict(found.antal.items()),
        },
    )


def check() -> dg.AssetChecksDefinition:
    """The check of the board; the sensor answers it as files come, and anybody can ask it again."""

    @dg.asset_check(
        asset=BOARD,
        name=BOARD_CHECK,
        description="Alle ventede afsendere har leveret hele filer for den måned, der skal køres.",
    )
    def alle_har_leveret(place: dg.ResourceParam[Place]) -> dg.AssetCheckResult:
        month = coming_month(place)
        if month is None:
            return dg.AssetCheckResult(passed=True, description="Der er ingen leverancer endnu.")
        said = _evaluation(board(place, month, now_in_danish_time()))
        return dg.AssetCheckResult(
            passed=said.passed, severity=said.severity, description=said.description, metadata=said.metadata
        )

    return alle_har_leveret
