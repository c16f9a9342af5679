"""Levering as an asset: a cell is made when all receipts of a municipality's files are in."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from refusion_assets.assets.checks.asset import Check, answer
from refusion_assets.assets.gate import FILER, LEVERING, chosen_cells, stopping
from refusion_assets.assets.levering.receipts import leveret_er_kladden, read_receipts, receipts_in
from refusion_assets.assets.levering.shipments import Delivered, deliver, patiently
from refusion_assets.domain.findings.outcome import ADVARSEL, FEJL, Outcome
from refusion_assets.partitions import KINDS, KOMMUNE, MAANED, OWNER, of_table
from refusion_assets.place import Place
from refusion_assets.store.events import forget, together

LEVER, KVITTERINGER, GROUP = "lever", "kvitteringer", "levering"
TABLE = ".".join(LEVERING)
SAME = Check("leveret_er_kladden", TABLE, FEJL, blocks=False)
ALL_SENT = Check("alle_filer_er_sendt", TABLE, ADVARSEL, blocks=False)
TEXTS = {
    SAME.name: "Det, der er sendt, er det, kørslens SHA256SUMS nævner.",
    ALL_SENT.name: "Hver modtager i levering.toml har fået sine filer.",
}


class Sending(dg.Config):
    """The choice of a run: if what was refused is to be sent again, and only to these municipalities, if any."""

    igen: bool = False
    kommuner: list[str] = []  # noqa: RUF012  Dagster's configs are declared so


def build(cells: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The deliveries, cut by run month x municipality."""

    @dg.asset(
        key=LEVERING,
        deps=[FILER],
        kinds=KINDS | {"sftp"},
        metadata=of_table(TABLE),
        partitions_def=cells,
        group_name=GROUP,
        owners=[OWNER],
        backfill_policy=dg.BackfillPolicy.single_run(),
        output_required=False,
        check_specs=[
            dg.AssetCheckSpec(check.name, asset=LEVERING, description=TEXTS[check.name]) for check in (SAME, ALL_SENT)
        ],
    )
    def forsendelse(
        context: dg.AssetExecutionContext, config: Sending, place: dg.ResourceParam[Place]
    ) -> Iterator[dg.AssetCheckResult]:
        """Filerne fra en kørsel sendt til de modtagere, levering.toml nævner. Grøn, når alle kvitteringer er inde.

        Sendes een gang; det, der er sendt, sendes ikke igen. Kvitteringerne læses med refusion kvitteringer.
        """
        for month, koder in chosen_cells(context).items():
            mine = [kode for kode in koder if kode in config.kommuner] if config.kommuner else koder
            with stopping():
                # A code location may have read levering.toml long ago.
                here, say = place.reread(), place.telling(context.log.info)
                done = deliver(here, month, mine, say, igen=config.igen)
                for line in (*done.lines, *done.faults):
                    say(line)
                with patiently(here, say) as session:
                    green, outcome = receipts_in(session, here, month), leveret_er_kladden(session, here, month)
            _mark(context, month, {kode: whole for kode, whole in green.items() if kode in mine})
            yield answer(SAME, outcome)
            yield answer(ALL_SENT, _all_sent(done))

    return [forsendelse]


def _all_sent(done: Delivered) -> Outcome:
    """Passed if nothing went wrong in a delivery."""
    if not done.faults:
        return Outcome(True, " ".join(done.lines))
    more = f" (og {len(done.faults) - 1} mere)" if len(done.faults) > 1 else ""
    return Outcome(False, f"{done.faults[0]}{more}.", "Ret årsagen, og lever igen.", len(done.faults))


def _mark(context: dg.AssetExecutionContext, month: date, green: Mapping[str, bool]) -> None:
    """The cells of municipalities shown as made where all receipts are in, and else as not made."""
    with together(context.instance, context.run.run_id):
        for event in marks(context.instance, month, green):
            context.log_event(event)


def marks(instance: dg.DagsterInstance, month: date, green: Mapping[str, bool]) -> Iterator[dg.AssetMaterialization]:
    """The events that make the cells whose receipts are all in; the others are forgotten."""
    cells = {kode: dg.MultiPartitionKey({KOMMUNE: kode, MAANED: f"{month:%Y-%m}"}) for kode in sorted(green)}
    forget(instance, LEVERING, [str(cells[kode]) for kode, whole in green.items() if not whole])
    for kode, cell in cells.items():
        if green[kode]:
            yield dg.AssetMaterialization(LEVERING, partition=cell)


def receive(place: Place, instance: dg.DagsterInstance, month: date | None, say: Any) -> Delivered:
    """The receipts read (`read_receipts`), and the cells of the months that moved marked."""
    told, moved = read_receipts(place, month, say)
    for one in moved:
        with patiently(place, say) as session:
            green = receipts_in(session, place, one)
        for event in marks(instance, one, green):
            instance.report_runless_asset_event(event)
    return told


def jobs() -> Sequence[Any]:
    """The job that sends a month's files, and the job that reads receipts."""

    @dg.op(name="laes_kvitteringer")
    def laes_kvitteringer(context: dg.OpExecutionContext, place: dg.ResourceParam[Place]) -> None:
        with stopping():
            told = receive(place.reread(), context.instance, None, context.log.info)
        for line in (*told.lines, *told.faults):
            context.log.info(line)

    @dg.job(
        name=KVITTERINGER,
        description="Læs kvitteringerne for alt, der er sendt, og gør cellerne grønne, når alle er inde. Tidsplanen "
        "kvitteringer_hvert_kvarter starter det, når den er slået til.",
    )
    def kvitteringer() -> None:
        laes_kvitteringer()

    lever = dg.define_asset_job(
        LEVER,
        selection=dg.AssetSelection.groups(GROUP),
        description="Send en vist måneds filer til modtagerne i levering.toml; det, der er sendt, sendes ikke igen. "
        "Brug det efter opgoer, og for en kommune, der mangler. Sensoren lever_efter_filer kan gøre det af sig selv.",
        tags={"dagster/priority": "-5"},
    )
    return [lever, kvitteringer]


def schedule(job: Any) -> dg.ScheduleDefinition:
    """The schedule that reads receipts; off until a person turns it on."""
    return dg.ScheduleDefinition(
        name="kvitteringer_hvert_kvarter",
        job=job,
        cron_schedule="*/15 * * * *",
        execution_timezone="Europe/Copenhagen",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Læser kvitteringer hvert kvarter. Slå den til, når en kommune er i drift med levering.",
    )
