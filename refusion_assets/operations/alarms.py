"""Alarms: the sensor `alarmer`, which each minute sends the messages about runs and the coming month."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import dagster as dg

from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.wording import without_persons
from refusion_assets.operations.automation import SECONDS_TO_SETTLE, UNSEEN, unseen
from refusion_assets.operations.board import board, coming_month, delivering, undelivered
from refusion_assets.operations.receivers import Modtager, deliver, file_of, nobody, receivers
from refusion_assets.operations.told import OF_A_MONTH, Ended, Memory, changes, over_or_again, standing
from refusion_assets.place import Place, unforeseen
from refusion_assets.rulebook.load import RuleError
from refusion_assets.store.events import STOPPED, reason_of
from refusion_assets.store.processes import DIED, settle

SECONDS_BETWEEN_LOOKS, SECONDS_TO_PROVE = 60, 10.0
UI = "REFUSION_UI"
RUNS_AT_ONCE = 50
# Events of a run may be stored a little after its end; it is told once all the same.
LOOK_BACK, LONGEST_LOOK_BACK = timedelta(seconds=30), timedelta(days=3)
ENDED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.SUCCESS]
AT_WORK = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
# The critical week is two runs, and the second begins a while after the first has ended.
CALM, UNSETTLED = timedelta(minutes=5), ("frist", "ikke_opgjort")
INTERRUPTED = "kørslen blev afbrudt, før den var færdig"


def sensor(place: Place) -> dg.SensorDefinition:
    """The sensor that tells the receivers of `alarm.toml`; without the file it looks at nothing."""

    @dg.sensor(
        name="alarmer",
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Giver besked efter alarm.toml om kørsler, der stopper, kontroller, der advarer, og måneder, der mangler "
            "noget. Hver ting siges een gang, og een gang til, når den er forbi. Skal altid være slået til."
        ),
    )
    def alarmer(context: dg.SensorEvaluationContext) -> Iterator[dg.SkipReason]:
        """Tells what is new since the last look, and what could not be sent then."""
        settle(context.instance, place.root)  # somebody may have turned the other sensor off
        if not (everybody := receivers(place.root)):
            yield dg.SkipReason(nobody(file_of(place.root)))
            return
        memory, said = look(place, context.instance, Memory.read(context.cursor), everybody, datetime.now(UTC))
        context.update_cursor(memory.written())
        yield dg.SkipReason(said)

    return alarmer


def look(
    place: Place, instance: dg.DagsterInstance, memory: Memory, everybody: tuple[Modtager, ...], now: datetime
) -> tuple[Memory, str]:
    """The memory after one look, with all sent that could be; and a line of what was done."""
    place = place.reread()
    try:
        rules = place.rules
    except RuleError:
        rules = None  # a run that stops because of the rules is told all the same
    memory = _runs(place, instance, memory, everybody, rules, now)
    trouble, working = "", instance.get_runs_count(dg.RunsFilter(statuses=AT_WORK))
    calm = not working and now - datetime.fromisoformat(memory.set_til) >= CALM
    try:
        memory = _month(place, memory, everybody, rules, now, calm=calm)
    except UNSEEN as error:
        trouble = unseen(error)
    except Exception as error:  # noqa: BLE001  a fault of the board must not silence the messages about runs
        trouble = unforeseen(error)
    told = deliver(memory.to_send(everybody))
    memory = memory.after_sending({one.navn: n for one, (n, _) in told.items()}, [m.navn for m in everybody], now)
    lines = [f"{one.navn} fik {n}" + (f", og så: {why}" if why else "") for one, (n, why) in told.items()]
    return memory, "; ".join(filter(None, [*lines, trouble])) or "intet at sige"


def _runs(
    place: Place,
    instance: dg.DagsterInstance,
    memory: Memory,
    everybody: tuple[Modtager, ...],
    rules: Rulebook | None,
    now: datetime,
) -> Memory:
    """The memory with the messages about runs that have ended since; the first look takes those it finds as told."""
    first = not memory.set_til
    memory = replace(memory, set_til=memory.set_til or now.isoformat())
    since = max(datetime.fromisoformat(memory.set_til) - LOOK_BACK, now - LONGEST_LOOK_BACK)
    for record in instance.get_run_records(
        filters=dg.RunsFilter(statuses=ENDED, updated_after=since),
        limit=RUNS_AT_ONCE + len(memory.koersler),
        order_by="update_timestamp",
        ascending=True,
    ):
        run = record.dagster_run
        if run.run_id in memory.koersler:
            continue
        memory = memory.with_run(run.run_id, record.update_timestamp)
        if not first:
            memory, news = over_or_again(memory, ending(instance, run), rules, str(place.root))
            memory = memory.with_news(news, everybody, now)
    return memory


def ending(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Ended:
    """How a run ended: the Danish reason of one that failed, the warnings of one that did not."""
    tags, base = run.tags, os.environ.get(UI, "").rstrip("/")
    cells = [tags.get("dagster/asset_partition_range_start"), tags.get("dagster/asset_partition_range_end")]
    months = list(dict.fromkeys(c.split("|")[-1] for c in [tags.get("dagster/partition"), *cells] if c))
    ended = Ended(
        "enkelte tabeller" if run.job_name.startswith("__") else run.job_name,
        "..".join(months),
        link=f"{base}/runs/{run.run_id}" if base else "",
        igen=tags.get("dagster/will_retry") == "true",
    )
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return replace(ended, advarsler=tuple(warnings(instance, run.run_id)))
    return replace(ended, grund=reason(instance, run))


def reason(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Why a run failed: its last word, else the reason of its steps, else that its process is gone."""
    if run.status == dg.DagsterRunStatus.CANCELED:
        return INTERRUPTED
    entries = instance.all_logs(run.run_id)
    messages = [entry.message or (entry.dagster_event.message if entry.dagster_event else "") for entry in entries]
    words = [text.removeprefix(f"{STOPPED}: ") for text in messages if text and text.startswith(f"{STOPPED}: ")]
    if words:
        return words[-1]
    events = [entry.dagster_event for entry in entries if entry.dagster_event]
    if any(event.is_step_failure for event in events):
        return reason_of(events)
    return DIED


def warnings(instance: dg.DagsterInstance, run_id: str) -> Iterator[str]:
    """The sentences of the checks of a run that warn, those of faults first; the last answer of a check counts."""
    said = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        if entry.dagster_event:
            answer = entry.dagster_event.asset_check_evaluation_data
            said[answer.asset_check_key] = answer
    # A check that is only marked as open, while a month begins anew, has no level.
    no = [one for one in said.values() if not one.passed and "alvor" in one.metadata]
    no.sort(key=lambda one: one.metadata["alvor"].value != "FEJL")
    yield from (str(one.description) for one in no)


def _month(
    place: Place, memory: Memory, everybody: tuple[Modtager, ...], rules: Rulebook | None, now: datetime, *, calm: bool
) -> Memory:
    """The memory with the messages about what has begun to stand wrong with the coming month, and what is over.

    `calm`: no run is at work, nor has one just ended.
    """
    keys = [key.split("|", 2) for key in memory.staar]
    coming = coming_month(place)
    months = {month_of(month) for slags, month, _ in keys if slags in OF_A_MONTH} | ({coming} if coming else set())
    look_at = partial(board, place, now=now, seconds=SECONDS_TO_PROVE, settling=SECONDS_TO_SETTLE)
    boards = {month: look_at(month=month) for month in sorted(months)}
    if not boards:
        return memory
    stands = {key: line for key, line in memory.staar.items() if key.split("|")[0] == "stop"}
    stands |= {f"levering|{key}": without_persons(line) for key, line in undelivered(place).items()}
    if delivering(place):
        # A file that is not sent is neither over nor told anew before the delivery has ended.
        stands |= {key: line for key, line in memory.staar.items() if key.split("|")[0] == "levering"}
    for one in boards.values():
        stands |= standing(one, memory.staar)
    if not calm:
        # A month that is run again has no files meanwhile.
        stands = {
            key: said for key, said in stands.items() if key in memory.staar or key.split("|")[0] not in UNSETTLED
        }
    news = list(changes(memory.staar, stands, boards, rules, str(place.root)))
    return replace(memory, staar=stands).with_news(news, everybody, now)
