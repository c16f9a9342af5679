"""Raw: what was delivered, proved against its manifest and stored line by line as it came."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

import dagster as dg
import polars as pl

from refusion_assets import leverance
from refusion_assets.assets import fund_opslag as opslag
from refusion_assets.assets.change import ahead
from refusion_assets.assets.modtagelse import FILE_CHECKS, Knowingly, answers, check_specs, let_pass, let_passed
from refusion_assets.assets.wiring import POOL, gate, reopen, report_deliveries, span, stopping, withdraw
from refusion_assets.context import Place
from refusion_assets.domain.kontrol import kroner_text
from refusion_assets.domain.raw import Fil, Indberetning, typed
from refusion_assets.domain.stop import Fault, Faulty, Stop
from refusion_assets.domain.weeks import next_month
from refusion_assets.leverance import Delivery, FileRejected
from refusion_assets.metadata import KINDS, OWNER, of_table
from refusion_assets.warehouse import Session

LINES_PER_BATCH = 300_000
BY_FILE = ("raw.ukendt", "classified.linje", "classified.dom", "classified.grundlag", "classified.udgaaet")


@dataclass
class Taken:
    """What is known of a file so far: where it lay, its hash, its lines and when the first of them was received."""

    delivery: Delivery
    sha256: str
    antal: int = 0
    foerste: datetime | None = None


TakenIn = dict[int, Taken]


@dataclass(frozen=True)
class Ingested:
    """What a run took in: files and lines new to the warehouse, and the files of the month."""

    filer: int
    linjer: int
    leveret: list[tuple[str, str]]


def ingest(session: Session, place: Place, month: date, progress: Callable[[str], None] = lambda _: None) -> Ingested:
    """All reports received through `month` in the warehouse, each file once; Stop if any file is bad.

    Files of closed runs are known and not read again. Source: input.md sections 1 and 4.
    """
    deliveries, faults = leverance.find(place.raw, month, place.rules)
    if not deliveries and not faults:
        raise Stop(f"der er ingen leverancer til og med {month:%Y-%m} under {place.raw.name}/; er dataroden rigtig?")
    fresh = _changed(session, deliveries, month)
    taken = _take(session, fresh, faults, progress)
    faults += _missing_senders(session, deliveries, month)
    passed = {(regel, genstand) for regel, genstand, _ in let_passed(session, month)}
    standing = [fault for fault in faults if (fault.regel, fault.genstand) not in passed]
    if standing:
        raise Faulty(standing)
    _enter(session, taken, month)
    session.run("UPDATE raw.fil SET kendt_fra = $month WHERE kendt_fra > $month", month=month)
    _mark_duplicates(session)
    lines = sum(file.antal for file in taken.values())
    return Ingested(len(fresh), lines, sorted((d.kilde, d.enhed) for d in deliveries if d.maaned == month))


def _changed(session: Session, deliveries: list[Delivery], month: date) -> list[Delivery]:
    """The files to read, by month; what the disk no longer holds, or holds changed, leaves the warehouse."""
    known = {
        sti: (fil_id, sha256, received)
        for sti, fil_id, sha256, received in session.frame(
            "SELECT sti, fil_id, sha256, modtaget_maaned FROM raw.fil"
        ).iter_rows()
    }
    closed = session.value("SELECT max(maaned) FROM opgoerelse.koersel WHERE status = 'lukket' OR maaned < $m", m=month)
    fresh = []
    for delivery in sorted(deliveries, key=lambda d: (d.maaned, d.sti)):
        entry = known.pop(delivery.sti, None)
        settled = entry is not None and closed is not None and entry[2] <= closed
        if settled or (entry is not None and entry[1] == leverance.fingerprint(delivery.path)):
            continue
        fresh.append(delivery)
        if entry is not None:
            known[delivery.sti] = entry
    gone = [fil_id for fil_id, _, received in known.values() if closed is None or received > closed]
    session.run(
        """INSERT INTO classified.udgaaet
        SELECT * FROM classified.linje WHERE fil_id IN (SELECT unnest($gone::BIGINT[]))""",
        gone=gone,
    )
    for table in ("raw.indberetning", *BY_FILE[:-1], "raw.fil"):
        session.run(f"DELETE FROM {table} WHERE fil_id IN (SELECT unnest($gone::BIGINT[]))", gone=gone)
    return fresh


def _take(session: Session, fresh: list[Delivery], faults: list[Fault], progress: Callable[[str], None]) -> TakenIn:
    """The lines of the files in the warehouse, and what is known of each file; faults are added to `faults`.

    Once a file is bad nothing more is stored: the rest are only looked through, and the caller must give up all.
    """
    first_id = int(session.value("SELECT coalesce(max(fil_id), -1) + 1 FROM raw.fil"))  # type: ignore[call-overload]
    taken: TakenIn = {}
    # While some lines are stored, those after them are read.
    for _ in ahead(partial(_store, session, lines, taken) for lines in _batches(fresh, first_id, taken, faults)):
        stored = sum(file.antal for file in taken.values())
        progress(f"{len(taken)} af {len(fresh)} filer, {stored} linjer indlæst")
    return taken


def _batches(fresh: list[Delivery], first_id: int, taken: TakenIn, faults: list[Fault]) -> Iterator[list[pl.DataFrame]]:
    """The lines of the files, as many at a time as are stored at once; `taken` and `faults` grow on the way."""
    waiting: list[pl.DataFrame] = []
    for number, delivery in enumerate(fresh, first_id):
        try:
            content = leverance.read_reports(delivery)
            taken[number] = Taken(delivery, content.sha256)
            for part in content.parts:
                waiting.append(part.with_columns(fil_id=pl.lit(number, pl.Int64)))
                if faults:
                    waiting.clear()
                elif sum(lines.height for lines in waiting) >= LINES_PER_BATCH:
                    yield waiting
                    waiting = []
        except FileRejected as rejected:
            faults.append(rejected.fault)
    if waiting and not faults:
        yield waiting


def _store(session: Session, waiting: list[pl.DataFrame], taken: TakenIn) -> None:
    """Some lines in the warehouse, counted in what is known of their files."""
    lines = typed(pl.concat(waiting))
    counts = lines.lazy().group_by("fil_id").agg(pl.len(), pl.col("Modtaget_tidspunkt").min())
    for number, antal, first in counts.collect().iter_rows():
        file = taken[number]
        file.antal += antal
        file.foerste = min(filter(None, (file.foerste, first)), default=None)
    session.insert("raw.indberetning", lines.select(list(Indberetning.to_schema().columns)))


def _enter(session: Session, taken: TakenIn, month: date) -> None:
    """The files in the register of files (`raw.fil`)."""
    rows = [
        (i, d.sti, d.path.name, d.kilde, d.enhed, d.maaned, d.loebenr, f.sha256, f.antal, f.foerste, False, month, None)
        for i, f in taken.items()
        for d in [f.delivery]
    ]
    schema = {name: column.dtype.type for name, column in Fil.to_schema().columns.items()}
    session.insert("raw.fil", pl.DataFrame(rows, schema=schema, orient="row"))


def _mark_duplicates(session: Session) -> None:
    """FIL-004: the same content (with at least one line) counts once, in the order files are judged in."""
    session.run("""
        UPDATE raw.fil SET dublet = o.nr > 1 FROM (
            SELECT fil_id, row_number() OVER (
                PARTITION BY sha256 ORDER BY modtaget_maaned, foerste_modtaget, filnavn) AS nr
            FROM raw.fil WHERE antal_raekker > 0) o
        WHERE raw.fil.fil_id = o.fil_id AND raw.fil.dublet <> (o.nr > 1)""")


def _missing_senders(session: Session, deliveries: list[Delivery], month: date) -> list[Fault]:
    """FIL-006: senders of the month before that have delivered nothing this month, and their money then."""
    senders: dict[date, set[tuple[str, str]]] = defaultdict(set)
    for delivery in deliveries:
        senders[delivery.maaned].add((delivery.kilde, delivery.enhed))
    missing = sorted(senders[next_month(month, -1)] - senders[month])
    then = (
        {(kilde, enhed): oere for kilde, enhed, oere, _ in opslag.expected(session, month).iter_rows()}
        if missing
        else {}
    )
    return [_missing(kilde, enhed, then.get((kilde, enhed), 0), month) for kilde, enhed in missing]


def _missing(kilde: str, enhed: str, oere: int, month: date) -> Fault:
    """A sender that has not delivered, in words."""
    text = f"har ikke leveret for {month:%Y-%m}, men leverede {kroner_text(oere)} måneden før; bed afsenderen om filen"
    return Fault("FIL-006", f"{kilde}-{enhed}", text, oere)


def reload(session: Session, place: Place, month: date, progress: Callable[[str], None]) -> Ingested:
    """Every file received through `month` read again; the claims are left, so that only what differs is calculated.

    A file stays known from the run that first knew it. One that no run has known is known from the next.
    """
    session.run("CREATE OR REPLACE TEMP TABLE kendt AS SELECT sti, kendt_fra FROM raw.fil")
    for table in ("raw.indberetning", "raw.fil", *BY_FILE):
        session.run(f"DELETE FROM {table}")
    done = ingest(session, place, month, progress)
    session.run("UPDATE raw.fil SET kendt_fra = $coming", coming=next_month(month))
    session.run("UPDATE raw.fil SET kendt_fra = kendt.kendt_fra FROM kendt WHERE raw.fil.sti = kendt.sti")
    return done


def _take_in(place: Place, context: dg.AssetExecutionContext, config: Knowingly) -> tuple[date, Ingested | Faulty]:
    """The month, and what it took in or what is wrong with its files; its earlier files are withdrawn first."""
    progress = place.telling(context.log.info)
    with place.warehouse.open() as session:
        asked = span(session, place, context)
        if asked.fra is None:
            gate(session, place, asked.month)
            let_pass(session, asked.month, config)
            reopen(session, place, asked.month)
    if asked.fra is None:
        withdraw(place, asked.month)
    try:
        with place.warehouse.open() as session:
            return asked.month, (reload if asked.fra else ingest)(session, place, asked.month, progress)
    except Faulty as stop:
        return asked.month, stop


def build(months: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The delivered lines, cut by month of receipt."""

    @dg.asset(
        key=["raw", "indberetning"],
        partitions_def=months,
        group_name="raw",
        kinds=KINDS,
        owners=[OWNER],
        metadata=of_table("raw.indberetning"),
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
        output_required=False,
        check_specs=check_specs(FILE_CHECKS, ["raw", "indberetning"]),
    )
    def indberetning(
        context: dg.AssetExecutionContext, config: Knowingly, place: dg.ResourceParam[Place]
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """One row per delivered line: typed values as they came, and what could not be read.

        Reads the files of reports received through the month. Stops the month on FIL-001, FIL-002, FIL-006.
        """
        with stopping():
            month, taken = _take_in(place, context, config)
        if isinstance(taken, Faulty):
            yield from answers(taken.faults, FILE_CHECKS)
            return
        report_deliveries(context, taken.leveret, month)
        with place.warehouse.open() as session:
            passed = let_passed(session, month)
        metadata = {"dagster/row_count": taken.linjer, "filer": taken.filer, "afsendere": len(taken.leveret)}
        yield dg.MaterializeResult(metadata=metadata)
        yield from answers([], FILE_CHECKS, passed)

    return [indberetning]
