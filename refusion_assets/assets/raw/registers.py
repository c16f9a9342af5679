"""Register: the supporting registers as delivered: residences, and the basis for fleksbidrag."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl

from refusion_assets.assets.gate import last_closed, run_month, span, stopping, table_asset
from refusion_assets.assets.raw import files_read
from refusion_assets.assets.raw.let_pass import REGISTER_CHECKS, answers, check_specs, decided, let_passed
from refusion_assets.assets.touched import calculated_by, count_as_calculated_by, mark, moved, newest_snapshot
from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.findings.outcome import MOST_NAMED
from refusion_assets.domain.raw import READABLE, bopael_rows, fleks_rows
from refusion_assets.domain.stop import Fault, Faulty
from refusion_assets.files import delivered
from refusion_assets.files.delivered import FileRejected
from refusion_assets.files.unread import REGISTERS, unread
from refusion_assets.place import Place
from refusion_assets.store.session import Relation, Session, among

# The stays of a snapshot, copied before its file is read anew.
STAYS = "FROM raw.bopael WHERE modtaget_maaned = $m"
# The newest snapshot that closed runs have read, else the one of the run's own earlier attempt.
USED_BEFORE = """
SELECT sti, sha256, borgere FROM raw.laest WHERE art = 'bopael'
ORDER BY coalesce(kendt_fra <= $closed, false) DESC, sti DESC LIMIT 1"""

# The people with a month whose basis is no longer delivered, or is delivered now and differs from the one used.
OTHER_BASIS = """
SELECT f.borger_id, min(f.maaned) FROM refusion.fleksbidrag f JOIN identitet.borger b USING (borger_id) JOIN (
    SELECT cpr, maaned, NULL AS beregningsgrundlag_oere, NULL AS loen_oere, true AS vaek FROM (
        FROM {before} EXCEPT FROM raw.fleksgrundlag WHERE modtaget_maaned = $month)
    UNION ALL SELECT cpr, maaned, beregningsgrundlag_oere, loen_oere, false FROM (
        FROM raw.fleksgrundlag WHERE modtaget_maaned = $month EXCEPT FROM {before})
) ny ON ny.cpr = b.cpr AND ny.maaned = f.maaned
WHERE ny.vaek OR ny.beregningsgrundlag_oere IS DISTINCT FROM f.beregningsgrundlag_oere
   OR ny.loen_oere IS DISTINCT FROM f.loen_oere
GROUP BY f.borger_id"""


@dataclass(frozen=True)
class RegisterFile:
    """One file of a register that a run uses: its kind, month of receipt, and path under raw/."""

    art: str
    maaned: date
    path: Path
    sti: str


def files_in_use(place: Place, month: date) -> list[RegisterFile]:
    """The newest residence snapshot with a file, and every basis for fleksbidrag, received through `month`."""
    found = []
    for art in REGISTERS:
        all_of_it = delivered.registers(place.raw, art, month)
        for received, path in all_of_it[-1:] if art == "bopael" else all_of_it:
            found.append(RegisterFile(art, received, path, str(path.relative_to(place.raw))))
    return found


def _stays_in_use(place: Place, month: date) -> RegisterFile | None:
    """The newest residence snapshot with a file, received through `month`; None if there is none."""
    return next((file for file in files_in_use(place, month) if file.art == "bopael"), None)


def register_faults(session: Session, place: Place, month: date) -> list[Fault]:
    """REG-001 and REG-002 of run `month`, found before anything is stored.

    An unreadable file gives FIL-001 or FIL-002 instead. Source: input.md section 4.
    """
    newest = _stays_in_use(place, month)
    if newest is None:
        national = {kilde.id for kilde in place.rules.kilder if kilde.art == "national"}
        senders = {d.kilde for d in delivered.find(place.raw, month, place.rules)} & national
        if not senders:
            return []
        lies = [path for path in unread(place.raw, place.rules) if "bopael" in path][:MOST_NAMED]
        named = f": {', '.join(lies)} læses ikke af nogen kørsel" if lies else ""
        text = f"{', '.join(sorted(senders))} har leveret, men der er intet bopælsregister til og med {month:%Y-%m}; "
        return [Fault("REG-002", "bopael", f"{text}skaf filen, eller ret dens mappe og navn{named}")]
    used = session.frame(USED_BEFORE, closed=last_closed(session, month)).rows(named=True)
    sha256 = delivered.fingerprint(newest.path)
    if not used or (used[0]["sti"], used[0]["sha256"]) == (newest.sti, sha256):
        return []
    try:
        _, lines = delivered.read_register(newest.path, delivered.REGISTER_HEADERS["bopael"])
    except FileRejected:
        return []
    now, before = _people(lines), used[0]["borgere"]
    fewer = place.rules.graense("bopael_faerre_procent")
    if now * 100 >= before * (100 - fewer):
        return []
    name = newest.path.name
    text = (
        f"{now} borgere er over {fewer} pct. færre end de {before} i {used[0]['sti'].rpartition('/')[2]}, der blev "
        "brugt før; bed om registret igen, eller kør med "
        f'--accepter REG-001:{name} --begrundelse "...", hvis det er rigtigt'
    )
    return [Fault("REG-001", name, text)]


def _people(lines: pl.DataFrame) -> int:
    return lines.filter(READABLE["bopael"])["CPR"].n_unique()


def ingest_registers(session: Session, place: Place, month: date) -> int:
    """Load the registers of run `month` into the warehouse; the number of new lines.

    Deletes the rows of missing files, but for residences older than those in use. Faulty if a file is bad, or if the
    register of residence is implausible.
    """
    lines, read = _read_in(session, place, month)
    for art in REGISTERS:
        _remember(session, place, art, month, read)
    return lines


def _remember(session: Session, place: Place, art: str, month: date, read: files_read.ReadIn) -> None:
    """Store the files of a register that run `month` has read, and forget those that are gone (`raw.laest`)."""
    mine = {sti: found for sti, found in read.items() if sti.startswith(f"{art}/")}
    present = [str(path.relative_to(place.raw)) for _, path in delivered.registers(place.raw, art, month)]
    files_read.remember(session, art, month, mine, present)


def take_in_unjudged(session: Session, place: Place, through: date, month: date) -> None:
    """Load the newest residence snapshot of a folder through `through`, as read by run `month`, and judge nothing.

    A municipality that joins opens under the residences known before its first run, whether or not a month was
    calculated then. They are not those that the run is about, so they stop nothing: a file that is bad is left.
    """
    read: files_read.ReadIn = {}
    if file := _stays_in_use(place, through):
        with suppress(FileRejected):
            _store_register(session, place, file, read)
    _remember(session, place, "bopael", month, read)


def _read_in(session: Session, place: Place, month: date) -> tuple[int, files_read.ReadIn]:
    """Load the register files in use; the number of new lines, and the files read by path."""
    passed = decided(session, month)
    standing = [f for f in register_faults(session, place, month) if (f.regel, f.genstand) not in passed]
    files = files_in_use(place, month)
    _leave_out(session, files)
    read: files_read.ReadIn = {}
    lines = 0
    for file in files:
        try:
            lines += _store_register(session, place, file, read)
        except FileRejected as rejected:
            standing.append(rejected.fault)
    if standing:
        raise Faulty(standing)
    return lines, read


def _leave_out(session: Session, files: list[RegisterFile]) -> None:
    """Delete registers without a file from the warehouse; `mark` the people of a deleted basis.

    Deletes residence snapshots newer than the one in use, too: an older month knows only the older one. Rows of the
    snapshot last calculated by stay until the next calculation, as `moved` compares the two.
    """
    newest = max((file.maaned for file in files if file.art == "bopael"), default=date.min)
    session.run("DELETE FROM raw.register WHERE art = 'bopael' AND modtaget_maaned > $newest", newest=newest)
    session.run("""DELETE FROM raw.bopael WHERE modtaget_maaned NOT IN (
        SELECT modtaget_maaned FROM raw.register WHERE art = 'bopael'
        UNION ALL SELECT bopael_maaned FROM refusion.beregnet WHERE bopael_maaned IS NOT NULL)""")
    session.run(
        f"DELETE FROM raw.register WHERE art = 'fleksgrundlag' AND NOT {among('sti', 'there')}",
        there=[file.sti for file in files],
    )
    _withdraw_bases(session)


def _store_register(session: Session, place: Place, file: RegisterFile, read: files_read.ReadIn) -> int:
    """Load one register file unless the warehouse has it; the number of new lines. FileRejected if the file is bad."""
    before = files_read.prints(place, file.sti)
    if _is_there(session, file):
        return 0
    sha256, lines = delivered.read_register(file.path, delivered.REGISTER_HEADERS[file.art])
    found, people = files_read.read_of(place, file.sti, sha256, before), file.art == "bopael"
    if found:
        read[file.sti] = found, _people(lines) if people else None
    month = file.maaned
    session.run("DELETE FROM raw.register WHERE art = $art AND modtaget_maaned = $month", art=file.art, month=month)
    again = people and month == calculated_by(session)
    stays = session.temp("stays_before", STAYS, m=month) if again else None
    bases = None if people else _keep_bases(session, month)
    table = "raw.bopael" if people else "raw.fleksgrundlag"
    session.run(f"DELETE FROM {table} WHERE modtaget_maaned = $month", month=month)
    rows = bopael_rows(lines, month) if people else fleks_rows(lines, month)
    odd = lines.filter(~READABLE[file.art])["linje"]
    entry = {"sti": file.sti, "art": file.art, "modtaget_maaned": month, "sha256": sha256}
    entry |= {"antal_raekker": lines.height, "antal_ulaeselige": odd.len(), "foerste_ulaeselige": odd.min()}
    session.insert("raw.register", pl.DataFrame([entry], schema_overrides={"foerste_ulaeselige": pl.Int64}))
    added = session.insert(table, rows)
    if stays:
        _tell_moves(session, stays)
    if bases:
        _tell_bases(session, month, bases)
    return added


def _is_there(session: Session, file: RegisterFile) -> bool:
    """True if the warehouse holds this register file, read with this manifest."""
    query = """SELECT r.sha256, l.sha256, l.manifest_sha256 FROM raw.register r LEFT JOIN raw.laest l USING (sti)
        WHERE r.sti = $sti"""
    sha256, beside = (delivered.fingerprint_if_there(path) for path in (file.path, delivered.manifest_of(file.path)))
    return bool(sha256 and beside) and session.frame(query, sti=file.sti).rows() == [(sha256, sha256, beside)]


def _keep_bases(session: Session, month: date) -> Relation:
    """A copy of a snapshot's rows in `raw.fleksgrundlag`, from before the file is read anew."""
    return session.temp("bases_before", "FROM raw.fleksgrundlag WHERE modtaget_maaned = $m", m=month)


def _tell_bases(session: Session, month: date, before: Relation) -> None:
    """Mark (`classified.aendret`) the people whose fleksbidrag rests on another basis than the snapshot now has.

    It may mark a month that a newer snapshot decides: that is calculated again, with the same result.
    """
    mark(session, OTHER_BASIS.format(before=before), month=month)


def _withdraw_bases(session: Session) -> None:
    """Delete snapshots without a file from `raw.fleksgrundlag`, and mark their people."""
    gone = session.frame("""SELECT DISTINCT modtaget_maaned FROM raw.fleksgrundlag ANTI JOIN (
        SELECT modtaget_maaned FROM raw.register WHERE art = 'fleksgrundlag') USING (modtaget_maaned)""")
    for month in gone["modtaget_maaned"]:
        before = _keep_bases(session, month)
        session.run("DELETE FROM raw.fleksgrundlag WHERE modtaget_maaned = $month", month=month)
        _tell_bases(session, month, before)


def _tell_moves(session: Session, before: Relation) -> None:
    """Mark (`classified.aendret`) the people with other stays in the snapshot in use than in `before`."""
    newest = Relation("""(FROM raw.bopael WHERE modtaget_maaned = (
        SELECT max(modtaget_maaned) FROM raw.register WHERE art = 'bopael'))""")
    whose = moved(before, newest)
    mark(session, f"SELECT borger_id, fra FROM {whose} JOIN identitet.borger USING (cpr)")


def _take_in(place: Place, context: dg.AssetExecutionContext) -> int | Faulty:
    """The number of new lines of the registers (of all lines on a reload), or the faults of a file."""
    try:
        with place.warehouse.open() as session:
            asked = span(session, place, context)
            return (reload if asked.fra else ingest_registers)(session, place, asked.month)
    except Faulty as stop:
        return stop


def reload(session: Session, place: Place, month: date) -> int:
    """Read the registers again, and mark people with another residence or basis; the number of lines read.

    Faulty, too, if a file that a run has read is gone or changed, unless the operator let that pass for the reports.
    """
    passed = decided(session, month)
    changed = files_read.altered(session, place, month, thoroughly=True)
    standing = [
        fault for fault in map(files_read.changed_fault, changed) if (fault.regel, fault.genstand) not in passed
    ]
    if standing:
        raise Faulty(standing)
    before = session.temp("stays_before", STAYS, m=calculated_by(session))
    count_as_calculated_by(session, None)
    for table in ("raw.register", "raw.bopael"):
        session.run(f"DELETE FROM {table}")
    lines, read = _read_in(session, place, month)
    _tell_moves(session, before)
    count_as_calculated_by(session, newest_snapshot(session, month))
    files_read.read_again(session, read, [sti for sti, _ in changed], next_month(month))
    return lines


def build(months: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The supporting registers, cut by month of receipt."""

    @table_asset(
        "raw.register", months, output_required=False, check_specs=check_specs(REGISTER_CHECKS, ["raw", "register"])
    )
    def register(
        context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """One row per supporting register taken in: residence, and the basis for fleksbidrag.

        Reads the newest residence snapshot and every basis received through the month. Stops on FIL-001, FIL-002,
        REG-001 and REG-002.
        """
        with stopping():
            taken = _take_in(place, context)
        if isinstance(taken, Faulty):
            yield from answers(taken.faults, REGISTER_CHECKS)
            return
        with place.warehouse.open() as session:
            passed = let_passed(session, run_month(context))
            held = session.pairs("SELECT art, sum(antal_raekker)::BIGINT FROM raw.register GROUP BY 1")
            files = session.count("raw.register")
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": files,
                **{f"{art}_linjer": held.get(art, 0) for art in REGISTERS},
                "nye_linjer": taken,
            }
        )
        yield from answers([], REGISTER_CHECKS, passed)

    return [register]
