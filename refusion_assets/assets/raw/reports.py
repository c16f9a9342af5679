"""Raw: the files of reports, proved against their manifests and stored line by line as they came."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

import dagster as dg
import polars as pl

from refusion_assets.assets.checks.received import large_lines
from refusion_assets.assets.classified import forget_files, forget_lines
from refusion_assets.assets.findings import queries
from refusion_assets.assets.opgoerelse import reopen
from refusion_assets.assets.raw import files_read
from refusion_assets.assets.raw.acceptance import (
    BEFORE_READING,
    BY_COMMAND,
    BY_LINE,
    FILE_CHECKS,
    Knowingly,
    answers,
    check_specs,
    decided,
    forget_decisions,
    keep_decisions,
    let_pass,
    let_passed,
    refuse_unneeded,
    wanted,
)
from refusion_assets.assets.raw.registers import register_faults
from refusion_assets.assets.wiring import gate, last_closed, report_deliveries, span, stopping, table_asset, take_back
from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.findings.verdict import kroner_text
from refusion_assets.domain.raw import Fil, Indberetning, typed
from refusion_assets.domain.stop import Fault, Faulty, Refused, Stop
from refusion_assets.domain.wording import plural
from refusion_assets.files import delivered
from refusion_assets.files.delivered import Delivery, FileRejected
from refusion_assets.files.raw_folder import Read
from refusion_assets.place import Place
from refusion_assets.store.batches import ahead
from refusion_assets.store.session import Session, among

LINES_PER_BATCH = 300_000
NOTHING = {"dagster/partition_row_count": 0, "filer": 0, "afsendere": 0}


@dataclass
class Taken:
    """A file so far: its path, its hash, the number of its lines, and the time the first of them was received."""

    delivery: Delivery
    sha256: str
    laest: Read | None
    antal: int = 0
    foerste: datetime | None = None


TakenIn = dict[int, Taken]


@dataclass(frozen=True)
class Ingested:
    """The numbers of files and lines new to the warehouse, and of files of the month by sender."""

    filer: int
    linjer: int
    leveret: Mapping[tuple[str, str], int]


def ingest(
    session: Session,
    place: Place,
    month: date,
    progress: Callable[[str], None] = lambda _: None,
    knowingly: Knowingly | None = None,
) -> Ingested:
    """All reports received through `month` in the warehouse, each file once; Stop if any file is bad.

    Files of closed runs are known and not read again; what has become of them is told, and what lies there unread.
    Stop, too, if something is to be let pass that stops nothing. Source: input.md sections 1 and 4.
    """
    done, stops = _read_in(session, place, month, progress, knowingly)
    standing = let_pass(session, month, knowingly or Knowingly(), stops)
    # The classification decides if a line above its bound is used and stops the month.
    standing = [fault for fault in standing if fault.regel != BY_LINE]
    if standing:
        raise Faulty(standing)
    files_read.look_around(session, place, month)
    return done


def stops_before_reading(session: Session, place: Place, month: date) -> list[Fault]:
    """The faults that stop run `month`, can be let pass, and are known before any line is read."""
    deliveries, _ = delivered.find(place.raw, month, place.rules)
    return [*_missing_senders(session, deliveries, month), *register_faults(session, place, month)]


def _read_in(
    session: Session,
    place: Place,
    month: date,
    progress: Callable[[str], None],
    knowingly: Knowingly | None,
    again: Sequence[Fault] | None = None,
) -> tuple[Ingested, list[Fault]]:
    """The files new to the warehouse read in, and the faults that stop the month unless let pass; Stop on a bad file.

    With `again` (the other stops), every file is read anew and keeps its first run; a new file is known from the next
    run. The amounts of lines are then not compared with their bounds.
    """
    deliveries, bad = delivered.find(place.raw, month, place.rules)
    if not deliveries and not bad:
        raise Stop(f"der er ingen leverancer til og med {month:%Y-%m} under {place.raw.name}/; er dataroden rigtig?")
    fresh = _changed(session, deliveries, month)
    stops = [*_missing_senders(session, deliveries, month), *register_faults(session, place, month), *(again or ())]
    taken = _take(session, place, fresh, bad, progress)
    if bad:
        # Nothing is stored, so nothing is known of the lines.
        _refuse_bad(session, month, knowingly, [*bad, *stops])
    _enter(session, taken, month)
    read: files_read.ReadIn = {file.delivery.sti: (file.laest, None) for file in taken.values() if file.laest}
    if again is not None:
        before = session.frame("SELECT sti FROM raw.laest WHERE art = $art", art=files_read.INDBERETNING)["sti"]
        files_read.read_again(session, read, before, next_month(month))
    else:
        files_read.remember(session, files_read.INDBERETNING, month, read, [delivery.sti for delivery in deliveries])
        session.run("UPDATE raw.fil SET kendt_fra = $month WHERE kendt_fra > $month", month=month)
    _mark_duplicates(session)
    stops += large_lines(session, place.rules, month) if again is None else []
    lines = sum(file.antal for file in taken.values())
    return Ingested(len(fresh), lines, delivered.senders(deliveries, month)), stops


def _refuse_bad(session: Session, month: date, knowingly: Knowingly | None, faults: list[Fault]) -> None:
    """Faulty with those of the faults that are not let pass; Refused if something else is to be let pass."""
    refuse_unneeded(knowingly or Knowingly(), faults, BEFORE_READING)
    passed = {decision for decision in decided(session, month) if decision[0] != BY_COMMAND}
    passed |= set(wanted(knowingly or Knowingly()))
    raise Faulty([fault for fault in faults if (fault.regel, fault.genstand) not in passed])


def _changed(session: Session, deliveries: list[Delivery], month: date) -> list[Delivery]:
    """The files to read, by month. Files that are gone from the disk, or changed there, leave the warehouse."""
    query = """SELECT f.sti, f.fil_id, f.kendt_fra, f.sha256, l.manifest_sha256
        FROM raw.fil f LEFT JOIN raw.laest l USING (sti)"""
    known = {sti: (fil_id, known_from, hashes) for sti, fil_id, known_from, *hashes in session.frame(query).iter_rows()}
    closed = last_closed(session, month)
    fresh = []
    for delivery in sorted(deliveries, key=lambda d: (d.maaned, d.sti)):
        entry = known.pop(delivery.sti, None)
        settled = entry is not None and closed is not None and entry[1] <= closed
        if settled or (entry is not None and entry[2] == _hashes(delivery)):
            continue
        fresh.append(delivery)
        if entry is not None:
            known[delivery.sti] = entry
    gone = [fil_id for fil_id, known_from, _ in known.values() if closed is None or known_from > closed]
    forget_files(session, gone)
    for table in ("raw.indberetning", "raw.fil"):
        session.run(f"DELETE FROM {table} WHERE {among('fil_id', 'gone', 'BIGINT')}", gone=gone)
    return fresh


def _hashes(delivery: Delivery) -> list[str | None]:
    """The sha256 of a file and of its manifest, none of one that cannot be opened."""
    return [delivered.fingerprint_if_there(path) for path in (delivery.path, delivered.manifest_of(delivery.path))]


def _take(
    session: Session, place: Place, fresh: list[Delivery], faults: list[Fault], progress: Callable[[str], None]
) -> TakenIn:
    """The lines of the files in the warehouse, and each file (`Taken`); faults are added to `faults`.

    Once a file is bad nothing more is stored: the rest are only looked through, and the caller must give up all.
    """
    first_id = session.integer("SELECT max(fil_id) + 1 FROM raw.fil")
    taken: TakenIn = {}
    # While some lines are stored, those after them are read.
    for _ in ahead(partial(_store, session, lines, taken) for lines in _batches(place, fresh, first_id, taken, faults)):
        stored = sum(file.antal for file in taken.values())
        progress(f"{len(taken)} af {plural(len(fresh), 'fil', 'filer')}, {plural(stored, 'linje', 'linjer')} indlæst")
    return taken


def _batches(
    place: Place, fresh: list[Delivery], first_id: int, taken: TakenIn, faults: list[Fault]
) -> Iterator[list[pl.DataFrame]]:
    """The lines of the files, as many at a time as are stored at once; `taken` and `faults` grow on the way."""
    waiting: list[pl.DataFrame] = []
    for number, delivery in enumerate(fresh, first_id):
        try:
            before = files_read.prints(place, delivery.sti)
            content = delivered.read_reports(delivery)
            read = files_read.read_of(place, delivery.sti, content.sha256, before)
            taken[number] = Taken(delivery, content.sha256, read)
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
    """Some lines in the warehouse, counted in the files they are of (`taken`)."""
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
    """FIL-004: of files with the same content (and at least one line) the first in the order of judging counts."""
    session.run("""
        UPDATE raw.fil SET dublet = o.nr > 1 FROM (
            SELECT fil_id, row_number() OVER (
                PARTITION BY sha256 ORDER BY modtaget_maaned, foerste_modtaget NULLS FIRST, filnavn) AS nr
            FROM raw.fil WHERE antal_raekker > 0) o
        WHERE raw.fil.fil_id = o.fil_id AND raw.fil.dublet <> (o.nr > 1)""")


def _missing_senders(session: Session, deliveries: list[Delivery], month: date) -> list[Fault]:
    """FIL-006: senders of the month before that have delivered nothing this month, and their money then."""
    missing = delivered.missing(deliveries, month, senders_read(session, next_month(month, -1)))
    then = (
        {(kilde, enhed): oere for kilde, enhed, oere, _ in queries.expected(session, month).iter_rows()}
        if missing
        else {}
    )
    return [_missing(kilde, enhed, then.get((kilde, enhed), 0), month) for kilde, enhed in missing]


def senders_read(session: Session, month: date) -> list[tuple[str, str]]:
    """The senders (kilde, enhed) of the files of a month that are in the warehouse."""
    return session.frame("SELECT DISTINCT kilde, enhed FROM raw.fil WHERE modtaget_maaned = $month", month=month).rows()


def _missing(kilde: str, enhed: str, oere: int, month: date) -> Fault:
    """A sender that has not delivered, in words."""
    text = f"har ikke leveret for {month:%Y-%m}, men leverede {kroner_text(oere)} måneden før; bed afsenderen om filen"
    return Fault("FIL-006", f"{kilde}-{enhed}", text, oere)


def reload(
    session: Session,
    place: Place,
    month: date,
    progress: Callable[[str], None],
    knowingly: Knowingly | None = None,
) -> Ingested:
    """Every file received through `month` read again; the claims are left, so that only what differs is calculated.

    A file keeps its first run. A new file is known from the next run. Faulty if a file that a run has read is gone or
    changed (FIL-008), unless this command lets it pass.
    """
    config = knowingly or Knowingly()
    known = session.temp("files_known", "SELECT sti, kendt_fra FROM raw.fil")
    for table in ("raw.indberetning", "raw.fil"):
        session.run(f"DELETE FROM {table}")
    forget_lines(session)
    done, stops = _read_in(session, place, month, progress, config, files_read.changes(session, place, month))
    refuse_unneeded(config, stops)
    keep_decisions(session, month, config)
    passed = decided(session, month)
    standing = [fault for fault in stops if (fault.regel, fault.genstand) not in passed]
    if standing:
        raise Faulty(standing)
    session.run("UPDATE raw.fil SET kendt_fra = $coming", coming=next_month(month))
    session.run(f"UPDATE raw.fil SET kendt_fra = k.kendt_fra FROM {known} k WHERE raw.fil.sti = k.sti")
    return done


def _take_in(place: Place, context: dg.AssetExecutionContext, config: Knowingly) -> tuple[date, Ingested | Faulty]:
    """The month, and its result or the faults of its files; with faults its earlier files are withdrawn.

    Nothing is touched if something is to be let pass that stops nothing.
    """
    progress = place.telling(context.log.info)
    with place.warehouse.open() as session:
        asked = span(session, place, context)
        if asked.fra is None:
            gate(session, place, asked.month)
        else:
            forget_decisions(session, asked.month, BY_COMMAND)
    if asked.fra:
        try:
            with place.warehouse.open() as session:
                return asked.month, reload(session, place, asked.month, progress, config)
        except Faulty as stop:
            return asked.month, stop
    return asked.month, _of_critical_week(place, context, asked.month, config)


def _of_critical_week(
    place: Place, context: dg.AssetExecutionContext, month: date, config: Knowingly
) -> Ingested | Faulty:
    """The result of a month or the faults of its files; its earlier files are withdrawn, whatever stops it.

    Only a decision that cannot be kept stops it before anything is touched.
    """
    progress = place.telling(context.log.info)
    try:
        with place.warehouse.open() as session:
            done: Ingested | Faulty = ingest(session, place, month, progress, config)
    except Refused:
        raise
    except Faulty as stop:
        done = stop
    except BaseException:
        _unfinish(place, context, month, Knowingly())
        raise
    _unfinish(place, context, month, config if isinstance(done, Faulty) else Knowingly())
    return done


def _unfinish(place: Place, context: dg.AssetExecutionContext, month: date, config: Knowingly) -> None:
    """Without its files a run is not finished: the next month must not close it. The decisions are kept."""
    with place.warehouse.open() as session:
        keep_decisions(session, month, config)
        reopen(session, place, month)
    take_back(context, place, month, anew=True)


def _held(session: Session) -> dict[str, dict[str, int]]:
    """Lines, files and senders in the warehouse for each month of receipt, whichever run took them in."""
    rows = session.frame("""SELECT strftime(modtaget_maaned, '%Y-%m'), sum(antal_raekker)::BIGINT, count(*),
        count(DISTINCT (kilde, enhed)) FROM raw.fil GROUP BY 1""")
    return {month: dict(zip(NOTHING, numbers, strict=True)) for month, *numbers in rows.iter_rows()}


def build(months: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The delivered lines, cut by month of receipt."""

    @table_asset(
        "raw.indberetning", months, output_required=False, check_specs=check_specs(FILE_CHECKS, ["raw", "indberetning"])
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
        report_deliveries(context, place, taken.leveret, month)
        with place.warehouse.open() as session:
            passed = let_passed(session, month)
            held = _held(session)
        for key in context.partition_keys:
            context.add_asset_metadata(held.get(key, NOTHING), partition_key=key)
        lines = sum(said["dagster/partition_row_count"] for said in held.values())
        critical = context.partition_keys == [f"{month:%Y-%m}"]
        fresh = {"nye_filer": taken.filer, "nye_linjer": taken.linjer} if critical else {}
        yield dg.MaterializeResult(metadata={"dagster/row_count": lines, **fresh})
        yield from answers([], FILE_CHECKS, passed)

    return [indberetning]
