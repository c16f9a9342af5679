"""Understands how the parts make one code location: assets, jobs, the chain of the critical week."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote

import dagster as dg

from refusion_assets.assets import classified, konsekvens, opgoerelse, outgoing, refusion, rules_edited
from refusion_assets.assets.checks import asset, quality
from refusion_assets.assets.faelles import deling, driftspris, udrulning
from refusion_assets.assets.findings.statement import stopped
from refusion_assets.assets.gate import GENBEREGN, GENINDLAES
from refusion_assets.assets.levering import asset as levering
from refusion_assets.assets.opfoelgning import asset as opfoelgning
from refusion_assets.assets.raw import registers, reports
from refusion_assets.assets.raw.let_pass import FILE_CHECKS, REGISTER_CHECKS
from refusion_assets.domain.calendar import month_of
from refusion_assets.operations import alarms, automation
from refusion_assets.operations.automation import COMMAND_LINE, STARTED_BY
from refusion_assets.partitions import KOMMUNE, MAANED, OWNER, Grids, grids, range_tags
from refusion_assets.place import Place
from refusion_assets.store.events import LOCATION, in_danish

# Backfill policies and partition mappings are marked beta; the version is locked, so the warning says nothing.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

KRITISK_UGE, OPGOER = "kritisk_uge", "opgoer"
LINKED_MONTHS = 6
CALCULATION = (
    *(["classified", "krav"], ["duration", "forloeb"]),
    *(["refusion", "borger_uge_ydelse"], ["refusion", "fleksbidrag"]),
)
DELIVERIES = (["raw", "indberetning"], ["raw", "register"])
Assets = Sequence[dg.AssetsDefinition]


def build_defs(place: Place) -> dg.Definitions:
    """The code location of a data root under its rules; RuleError if the rules cannot stand."""
    rules = place.rules
    cut = grids(place.root, rules, date.today())  # noqa: DTZ011  the grids follow the local calendar
    months = cut.months
    leverance = dg.AssetSpec(
        "leverance",
        description=(
            "Tavlen: har afsenderen (kilde og enhed) leveret hele filer for måneden? Sensoren nye_leverancer viser "
            "det, når filerne kommer, og kørslen, når den læser dem. De seneste tretten måneder med leverancer."
        ),
        group_name="raw",
        owners=[OWNER],
        partitions_def=cut.senders,
    )
    monthly = [
        *reports.build(months),
        *registers.build(months),
        *classified.build(months),
        *quality.build(months),
        *refusion.build(months, rules_edited.topic_keys(rules)),
    ]
    settled = [*opgoerelse.build(cut.cells, rules), *outgoing.build(cut.cells)]
    beregn, opgoer = _jobs(monthly, settled, place, cut)
    followed, follow_up = opfoelgning.build(months), opfoelgning.job()
    sent, (lever, kvitteringer) = levering.build(cut.cells), levering.jobs()
    return dg.Definitions(
        assets=[
            leverance,
            *rules_edited.build(rules, months),
            *monthly,
            *settled,
            *followed,
            *sent,
            *konsekvens.build(),
            *deling.build(),
            *driftspris.build(),
            *udrulning.build(),
        ],
        asset_checks=[*asset.build(rules), automation.check()],
        jobs=[beregn, opgoer, *_again(), *rules_edited.jobs(rules), follow_up, lever, kvitteringer, konsekvens.job()],
        schedules=[automation.schedule(place, beregn), levering.schedule(kvitteringer)],
        sensors=[
            _chain(beregn, opgoer, rules.koder),
            _follow_up(opgoer, follow_up),
            _deliver(opgoer, lever, rules.koder),
            automation.sensor(place),
            rules_edited.sensor(place),
            alarms.sensor(place),
        ],
        resources={"place": place},
        executor=in_danish(place.root, _told_of_a_stop(place)),
    )


def _told_of_a_stop(place: Place) -> Callable[[dg.DagsterRun, str], None]:
    """What a failed run of the critical week is told to: the statement of its month."""

    def told(run: dg.DagsterRun, reason: str) -> None:
        key = run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_end")
        if key and run.job_name in (KRITISK_UGE, OPGOER):
            stopped(place, month_of(key.split("|")[-1]), reason)

    return told


def _jobs(monthly: Assets, settled: Assets, place: Place, cut: Grids) -> list[Any]:
    """The two jobs of the critical week: calculate the month, and settle it."""
    koder, kommuner = place.rules.koder, place.rules.kommuner
    every = f"{KOMMUNE}_range={quote(f'[{koder[0]}...{koder[-1]}]')}"
    return [
        dg.define_asset_job(
            KRITISK_UGE,
            selection=dg.AssetSelection.assets(*monthly),
            description=(
                "Kør en måned i den kritiske uge: indlæs leverancerne, klassificér, tæl uger og beregn. Brug det, når "
                "alle har leveret (leverance). Lykkes det, opgør sensoren opgoer_efter_beregning alle kommuner.\n\n"
                + _months_to_launch(KRITISK_UGE, cut.delivered, "default_range")
            ),
            tags={"dagster/priority": "10"},
        ),
        dg.define_asset_job(
            OPGOER,
            selection=dg.AssetSelection.assets(*settled),
            description=(
                "Opgør en beregnet måned for de valgte kommuner, og skriv deres filer. Brug det for kommuner, der er "
                "holdt tilbage, og når sensoren opgoer_efter_beregning er slået fra.\n\n"
                + _months_to_launch(OPGOER, cut.delivered, f"{every}&{MAANED}_range")
                + f"\n\nKommunerne: {', '.join(f'{k.kommunekode} {k.navn}' for k in kommuner)}."
            ),
            tags={"dagster/priority": "10"},
        ),
    ]


def _months_to_launch(job: str, months: Sequence[str], choice: str) -> str:
    """Links to the launch dialog of a job with a month chosen, newest first; empty if nothing has been delivered.

    The dialog itself lists the months as they follow each other, as its plots and ranges of months need (ADR 0005).
    """
    newest = reversed(months[-LINKED_MONTHS:])
    links = [f"[{month}](/locations/{LOCATION}/jobs/{job}?{choice}={month})" for month in newest]
    return f"Vælg en måned, og tryk Materialize: {' · '.join(links)}" if links else ""


def _again() -> list[Any]:
    """The jobs that do settled months again, without settling: launched over a range of months.

    Only the checks that an asset answers itself come along: the others are the questions of a critical week.
    """
    own = [dg.AssetCheckKey(dg.AssetKey(DELIVERIES[0]), name) for name in FILE_CHECKS]
    own += [dg.AssetCheckKey(dg.AssetKey(DELIVERIES[1]), name) for name in REGISTER_CHECKS]
    return [
        dg.define_asset_job(
            GENBEREGN,
            selection=dg.AssetSelection.assets(*CALCULATION).without_checks(),
            description=(
                "Beregn ydelsesmåneder igen uden at opgøre; næste kørsel afregner forskellen. Brug det, når du selv "
                "vil vælge månederne, og ellers genberegn_foraeldede. De valgte måneder bliver een kørsel."
            ),
        ),
        dg.define_asset_job(
            GENINDLAES,
            selection=dg.AssetSelection.assets(*DELIVERIES, *CALCULATION).without_checks()
            | dg.AssetSelection.checks(*own),
            description=(
                "Læs alle leverancer igen fra filerne, uden at opgøre. Brug det, når en fil, som en kørsel har læst, "
                "er ændret (FIL-008). Kun det, der er blevet anderledes, beregnes igen. Vælg alle måneder."
            ),
        ),
    ]


def _chain(beregn: Any, opgoer: Any, koder: list[str]) -> dg.SensorDefinition:
    """The sensor that settles a month for all municipalities when its calculation has succeeded."""

    @dg.run_status_sensor(
        name="opgoer_efter_beregning",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[beregn],
        request_job=opgoer,
        description=(
            "Opgør en måned for alle kommuner, når kritisk_uge er lykkedes. Slå den fra, før måneden køres, når en "
            "kommune skal holdes tilbage; start så opgoer for de andre, og slå den til igen."
        ),
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def opgoer_efter_beregning(context: dg.RunStatusSensorContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Starts `opgoer` over the month's cells, unless the command line or somebody else settles it.

        A sensor that was off while somebody held a municipality back looks at that calculation when it is on again.
        """
        month = context.dagster_run.tags.get("dagster/partition")
        if context.dagster_run.tags.get(STARTED_BY) == COMMAND_LINE or not month:
            yield dg.SkipReason("kommandolinjen opgør selv måneden")
            return
        if _settled_since(context.instance, context.dagster_run, month):
            yield dg.SkipReason(f"{month} er allerede under opgørelse; resten opgøres med jobbet {OPGOER}")
            return
        yield dg.RunRequest(run_key=context.dagster_run.run_id, tags=settle_tags(koder, month))

    return opgoer_efter_beregning


def _follow_up(opgoer: Any, followed: Any) -> dg.SensorDefinition:
    """The sensor that makes the follow-up of a month when its files are in sight."""

    @dg.run_status_sensor(
        name="opfoelgning_efter_filer",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[opgoer],
        request_job=followed,
        description=(
            "Lav opfølgningen for en måned, når dens filer er vist. Den læser den udgivne kopi. Slå den fra, hvis "
            "opfølgningen skal vente."
        ),
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def opfoelgning_efter_filer(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        """Starts `opfoelgning` for the month of a run of `opgoer`, whoever launched it."""
        month = _month_of(context.dagster_run)
        if not month:
            return dg.SkipReason("kørslen har ingen måned")
        return dg.RunRequest(run_key=context.dagster_run.run_id, partition_key=month)

    return opfoelgning_efter_filer


def _deliver(opgoer: Any, lever: Any, koder: list[str]) -> dg.SensorDefinition:
    """The sensor that sends a month's files when they are in sight; off until a person turns it on."""

    @dg.run_status_sensor(
        name="lever_efter_filer",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[opgoer],
        request_job=lever,
        description=(
            "Send filerne til modtagerne i levering.toml, når en måneds filer er vist. Slå den til, når den første "
            "levering er gået godt; er den fra, sendes der med refusion lever."
        ),
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.STOPPED,
    )
    def lever_efter_filer(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        """Starts `lever` over the month's cells after a run of `opgoer`, whoever launched it."""
        month = _month_of(context.dagster_run)
        if not month:
            return dg.SkipReason("kørslen har ingen måned")
        return dg.RunRequest(run_key=context.dagster_run.run_id, tags=settle_tags(koder, month))

    return lever_efter_filer


def _month_of(run: dg.DagsterRun) -> str:
    """The month of the cells that a run makes; empty if it has none."""
    cell = run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_end") or ""
    return cell.rpartition("|")[-1]


def _settled_since(instance: dg.DagsterInstance, calculation: dg.DagsterRun, month: str) -> bool:
    """True if a run of `opgoer` over a month has been launched since its calculation ended."""
    record = instance.get_run_record_by_id(calculation.run_id)
    ended = datetime.fromtimestamp(record.end_time, UTC) if record and record.end_time else None
    later = instance.get_runs(dg.RunsFilter(job_name=OPGOER, created_after=ended))
    cells = [run.tags.get(tag, "") for run in later for tag in ("dagster/partition", *range_tags("", ""))]
    return any(cell.endswith(f"|{month}") for cell in cells)


def settle_tags(koder: list[str], month: str) -> dict[str, str]:
    """The run tags that settle a month for all municipalities in one run; the list of runs shows the month."""
    return {**range_tags(f"{koder[0]}|{month}", f"{koder[-1]}|{month}"), "refusion/maaned": month}


@dg.definitions
def defs() -> dg.Definitions:
    """The code location of the data root that the environment names; made when Dagster loads it, not at import."""
    return build_defs(Place.from_environment())
