"""Driftspris: the price of a calendar month, measured from the runs, their steps and the log of look-ups."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg

from refusion_assets.assets.gate import stopping
from refusion_assets.domain.calendar import month_of, next_month
from refusion_assets.domain.faelles.driftspris import KOMMANDOER, Brug, Driftspris, Maanedspris, month_price
from refusion_assets.domain.operations.bankdays import DANISH, window
from refusion_assets.domain.rules.entries import in_force
from refusion_assets.domain.stop import Stop
from refusion_assets.look_up.trace import LOG, verify
from refusion_assets.partitions import OWNER
from refusion_assets.place import Place
from refusion_assets.report.economy import price_tables, write_prices
from refusion_assets.rulebook.load import prices
from refusion_assets.store.events import steps_of

DRIFTSPRIS = dg.AssetKey(["faelles", "driftspris"])
OPGOER = "opgoer"
MOST_MONTHS = 12
Uses = Sequence[tuple[datetime, dict[str, Any]]]
VOLUME = """SELECT maaned, sum(raekker)::BIGINT AS raekker, sum(borgere)::BIGINT AS borgere FROM opgoerelse.kommune
JOIN opgoerelse.koersel USING (koersel) GROUP BY 1"""


def month_prices(place: Place, instance: dg.DagsterInstance, months: Sequence[date] | None) -> list[Maanedspris]:
    """The price of calendar months in order; without months, of the last ones in which something was run.

    Reads the memory of Dagster, the log of look-ups and the published copy, and changes nothing. Stop where the rules
    have no price of a month, or nothing was run.
    """
    entries = prices(place.rules_folder)
    asked = list(months) if months else months_run(instance)[-MOST_MONTHS:]
    if not asked:
        raise Stop("intet er kørt endnu, så ingen driftspris kan måles; skriv en måned for at se prisen for beredskab")
    uses = list(look_ups(place))
    volumes = _volumes(place)
    return [_price(place, entries, month, instance, uses, volumes) for month in asked]


def _price(
    place: Place,
    entries: Sequence[Driftspris],
    month: date,
    instance: dg.DagsterInstance,
    uses: Uses,
    volumes: dict[date, tuple[int, int]],
) -> Maanedspris:
    """The price of one calendar month. Its critical week is that of the run month before."""
    entry = in_force(entries, month)
    if entry is None:
        raise Stop(f"driftspris.toml har ingen pris for {month:%Y-%m}; tilføj en [[driftspris]], der gælder da")
    records = _records(instance, month)
    # A run that is settled twice is paid for once.
    settled = {run for record in records if (run := _settled_month(record))}
    volume = sum(volumes.get(run, (0, 0))[0 if entry.maal == "raekker" else 1] for run in settled)
    hours = place.rules.kritisk_uge_on(month)
    critical = window(hours, next_month(month, -1)) if hours else None
    used = [*_steps(instance, records), *_counted(entry, uses, month)]
    return month_price(entry, month, volume, used, critical)


def _records(instance: dg.DagsterInstance, month: date) -> Sequence[dg.RunRecord]:
    """The runs that were made in a calendar month, in Danish time."""
    first = datetime(month.year, month.month, 1, tzinfo=DANISH)
    after = next_month(month)
    before = datetime(after.year, after.month, 1, tzinfo=DANISH)
    # Dagster leaves out both ends.
    asked = dg.RunsFilter(created_after=first - timedelta(microseconds=1), created_before=before)
    return instance.get_run_records(asked)


def months_run(instance: dg.DagsterInstance) -> list[date]:
    """The calendar months in which something was run, in order."""
    days = [record.create_timestamp.astimezone(DANISH).date() for record in instance.get_run_records()]
    return sorted({day.replace(day=1) for day in days})


def _settled_month(record: dg.RunRecord) -> date | None:
    """The run month that a run has settled; None if it has not."""
    run = record.dagster_run
    if run.job_name != OPGOER or run.status != dg.DagsterRunStatus.SUCCESS:
        return None
    cell = run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_end")
    return month_of(cell.rpartition("|")[-1]) if cell else None


def _steps(instance: dg.DagsterInstance, records: Sequence[dg.RunRecord]) -> Iterator[Brug]:
    """The steps of some runs that have ended, also those that failed: the group of assets, the start, the time."""
    for record in records:
        for key, start, end in steps_of(instance, record.dagster_run.run_id):
            yield Brug(key.split("_")[0], datetime.fromtimestamp(start, DANISH), int((end - start) * 1000))


def look_ups(place: Place) -> Iterator[tuple[datetime, dict[str, Any]]]:
    """The logged uses of commands that are counted, in Danish time; lines of an earlier form are left out."""
    for entry in verify(place.root / LOG).opslag:
        if entry.get("opslag") in KOMMANDOER and "tidspunkt" in entry:
            yield datetime.fromisoformat(entry["tidspunkt"]).astimezone(DANISH), entry


def _counted(entry: Driftspris, uses: Uses, month: date) -> Iterator[Brug]:
    """The uses of commands in a calendar month that are paid for, each with the time that it counts as."""
    seconds = {name: one.sekunder_pr_opslag for one in entry.funktioner for name in one.kommandoer}
    for begun, use in uses:
        if use["opslag"] in seconds and (begun.year, begun.month) == (month.year, month.month):
            yield Brug(use["opslag"], begun, 1000 * seconds[use["opslag"]])


def _volumes(place: Place) -> dict[date, tuple[int, int]]:
    """The settled rows and people of each run month."""
    if not place.warehouse.is_published():
        return {}
    with place.warehouse.reading() as session:
        return {month: (rows, people) for month, rows, people in session.frame(VOLUME).rows()}


def build() -> list[dg.AssetsDefinition]:
    """The price of operations by month; asked for, never part of a critical week."""

    @dg.asset(key=DRIFTSPRIS, group_name="faelles", kinds={"csv"}, owners=[OWNER])
    def driftspris(context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]) -> dg.MaterializeResult[None]:
        """Prisen for driften i de seneste kalendermåneder, delt på funktioner; det, loven ikke kræver, for sig.

        Målt på kørslernes trin og loggen over opslag, med priserne i driftspris.toml. Se docs/faelles/driftspris.md.
        """
        with stopping():
            found = month_prices(place.reread(), context.instance, None)
            path = write_prices(found, place.root / "faelles")
        told = "\n\n".join(table.markdown() for price in reversed(found) for table in price_tables(price))
        return dg.MaterializeResult(
            metadata={
                "priser": dg.MetadataValue.md(told),
                "lovpligtigt_oere": found[-1].oere(lovpligtig=True),
                "ikke_lovpligtigt_oere": found[-1].oere(lovpligtig=False),
                "fil": dg.MetadataValue.path(str(path)),
            }
        )

    return [driftspris]
