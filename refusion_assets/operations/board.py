"""Board: reads from disk and warehouse who has delivered for a run month, and what stands of the last runs."""

import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar

import polars as pl

from refusion_assets.assets.faelles.udrulning import state_of
from refusion_assets.assets.findings.statement import held_back_lines, stops
from refusion_assets.assets.gate import LUKKET, OPGJORT, head
from refusion_assets.assets.levering.receipts import NOT_SENT, standing, wrongs
from refusion_assets.assets.levering.shipments import LOCK as DELIVERING
from refusion_assets.assets.levering.shipments import now as utc_now
from refusion_assets.assets.raw.let_pass import let_passed
from refusion_assets.assets.raw.reports import reports_read, senders_read
from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.faelles.udrulning import KommuneUdrulning, excused
from refusion_assets.domain.findings.statement import cut
from refusion_assets.domain.levering import FILE
from refusion_assets.domain.operations.bankdays import DANISH, window
from refusion_assets.domain.operations.board import (
    FEJL,
    LEVERET,
    MANGLER,
    SEN,
    UNDERVEJS,
    Afsender,
    Board,
    Indhold,
    Plads,
    as_json,
    board_lines,
)
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.stop import Fault, Stop
from refusion_assets.domain.wording import plural
from refusion_assets.files import arrivals, delivered
from refusion_assets.files.arrivals import Proof
from refusion_assets.files.unread import unread
from refusion_assets.partitions import last_month
from refusion_assets.place import Place, at_work_now, home_of, mending
from refusion_assets.rulebook.load import RuleError, delivery
from refusion_assets.store.processes import abandoned
from refusion_assets.store.session import Locked, Session

MONTHS_BEFORE, RUNS_SHOWN = 3, 3
MOST_OF_A_REASON = 240
LONG = 3600.0
# The bytes of the live warehouse for each byte of raw files, where no run has been made: measured on a whole country.
BYTES_A_RAW_BYTE = 3
# More than any warehouse has had, so that raw files that were put away make no month look too large for the disk.
MOST_BYTES = 10
# The live file, its log, and the files of the last two states grow by the month's rows.
FILES_THAT_GROW = 4
T = TypeVar("T")


def known(place: Place, ask: Callable[[Session], T], nothing: T) -> T:
    """The answer of the warehouse, or of the copy while a run has the warehouse open.

    `nothing` where there is no warehouse, and while the first run has it open. A table that an earlier program did not
    make is empty. Stop if a table has other columns.
    """
    if not place.warehouse.path.exists():
        return nothing
    try:
        with place.warehouse.watching() as session:
            session.fill_in()
            return ask(session)
    except Locked:
        if not place.warehouse.is_published():
            return nothing
        with place.warehouse.reading() as session:
            session.fill_in()
            return ask(session)


@dataclass(frozen=True)
class Run:
    """A run as the warehouse tells it: its month, status, settled municipalities, a line for each held back, files."""

    maaned: date
    status: str
    kommuner: int
    tilbageholdt: tuple[str, ...]
    mappe: Path

    @property
    def faerdig(self) -> bool:
        """True if the run has its files, or is closed."""
        return self.status == LUKKET or (self.status != OPGJORT and self.mappe.is_dir())


def _runs(session: Session, place: Place) -> list[Run]:
    rows = session.frame(
        """SELECT r.maaned, r.status, count(k.kommunekode) AS kommuner FROM opgoerelse.koersel r
        LEFT JOIN opgoerelse.kommune k USING (koersel) GROUP BY ALL ORDER BY 1"""
    ).rows()
    return [
        Run(month, state, settled, tuple(held_back_lines(session, place, month)), place.outgoing / f"{month:%Y-%m}")
        for month, state, settled in rows
    ]


def runs(place: Place) -> list[Run]:
    """The runs of a data root, in order of month."""
    return known(place, lambda session: _runs(session, place), [])


def coming_month(place: Place) -> date | None:
    """The month that the critical week is about: the one after the last run, or the last while it has no files.

    Before the first run the last month with a delivery; None where nothing lies under raw/.
    """
    every = runs(place)
    if every:
        return every[-1].maaned if not every[-1].faerdig else next_month(every[-1].maaned)
    last = last_month(place.root, place.rules, date.min)
    return last if last != date.min else None


Sender = tuple[str, str]
Facts = tuple[list[Sender], list[tuple[str, str, str]], list[Run], pl.DataFrame, set[str]]


def board(
    place: Place,
    month: date,
    now: datetime,
    *,
    seconds: float = LONG,
    settling: float = 0.0,
    keep: bool = False,
) -> Board:
    """The board of run month `month` at the moment `now`; each file is proved once (`files.arrivals`).

    A file of an earlier month that no run has read stands with its sender until it is proved good. The run reads it.
    After `seconds` the rest of the files are left unproved (`undervejs`), as are those that were changed in the last
    `settling` seconds. With `keep`, the proofs are written to the data root, so that no later board reads them again.
    """
    rules, before = place.rules, arrivals.kept(place.root)
    in_time = {sti: proof for sti, proof in before.items() if not proof.sen}
    earlier = [next_month(month, -number) for number in range(1, MONTHS_BEFORE + 1)]

    def ask(session: Session) -> Facts:
        return (
            senders_read(session, earlier[0]),
            list(let_passed(session, month)),
            _runs(session, place),
            state_of(session),
            reports_read(session),
        )

    nothing: Facts = ([], [], [], KommuneUdrulning.empty(), set())
    senders, accepted, every, plan, read = known(place, ask, nothing)
    closed = any(run.maaned == month and run.status == LUKKET for run in every)
    found = arrivals.prove(
        place.raw, month, rules, before, seconds=seconds, settling=settling, read=() if closed else read
    )
    if keep:
        folders = [f"/{m:%Y-%m}/" for m in earlier]
        lately = {sti: proof for sti, proof in in_time.items() if any(folder in sti for folder in folders)}
        arrivals.keep(place.root, (lately | {proof.sti: proof for proof in found}).values())
    remembered = {_sender(p) for p in in_time.values() if p.enhed and f"/{earlier[0]:%Y-%m}/" in p.sti}
    entry = rules.kritisk_uge_on(next_month(month))
    hours = window(entry, month) if entry else None
    return Board(
        maaned=month,
        nu=now,
        afsendere=_afsendere(
            place, found, earlier, {*senders, *remembered}, plan, late=hours is not None and now >= hours.late
        ),
        uge=hours,
        opgjort=any(run.maaned == month and run.faerdig for run in every),
        plads=_room(place, month, entry.plads_til_koersler if entry else 1),
        registre=tuple(_register(place, art, month, found) for art in delivered.REGISTER_HEADERS),
        ulaeste=tuple(path for path in unread(place.raw, rules) if f"/{month:%Y-%m}/" in path),
        accepteret=tuple(accepted),
        afviger_procent=rules.graense("aendring_procent"),
    )


def _afsendere(
    place: Place, found: list[Proof], earlier: list[date], read: set[Sender], plan: pl.DataFrame, *, late: bool
) -> tuple[Afsender, ...]:
    """Every sender of a month: those with a file, and those that delivered the month before (on disk, or `read`).

    Of the last, not those whose municipality is not yet in operation by the `plan` (`KommuneUdrulning`).
    """
    then = [_content(place.raw, month, place.rules) for month in earlier]
    mine: dict[Sender, list[Proof]] = defaultdict(list)
    for proof in found:
        if proof.enhed and not (proof.sen and proof.indhold):
            mine[_sender(proof)].append(proof)
    before = {*then[0], *read}
    expected = sorted({*mine, *(before - excused(plan, next_month(earlier[0]), before))})
    return tuple(_afsender(s, mine[s], [content.get(s) for content in then], late=late) for s in expected)


def _sender(proof: Proof) -> Sender:
    return proof.kilde, proof.enhed


def _content(raw: Path, month: date, rules: Rulebook) -> dict[Sender, Indhold]:
    """The content of each sender's files of a month, as their manifests say."""
    found: dict[Sender, Indhold] = {}
    for path, name, _ in delivered.files_of_month(raw, month, rules):
        said = arrivals.content_claimed(path) or Indhold(0, 0)
        sender = (name["kilde"], name["enhed"])
        before = found.get(sender, Indhold(0, 0))
        found[sender] = Indhold(before.linjer + said.linjer, before.oere + said.oere)
    return found


def _afsender(sender: Sender, files: list[Proof], before: list[Indhold | None], *, late: bool) -> Afsender:
    """A sender of the month, given the proofs of its files and the content of the months before."""
    faults = tuple(fault for proof in files for fault in proof.fejl)
    if faults:
        state = FEJL
    elif not files:
        state = SEN if late else MANGLER
    else:
        state = LEVERET if all(proof.indhold for proof in files) else UNDERVEJS
    whole = [proof.indhold for proof in files if proof.indhold]
    now = Indhold(sum(i.linjer for i in whole), sum(i.oere for i in whole)) if state == LEVERET else None
    return Afsender(*sender, state, len(files), now, faults, tuple(before))


def _register(place: Place, art: str, month: date, found: list[Proof]) -> tuple[str, date | None, tuple[Fault, ...]]:
    """A supporting register: its newest month at or before a month, and the faults of the file of the month."""
    every = delivered.registers(place.raw, art, month)
    faults = tuple(fault for proof in found if (proof.kilde, proof.enhed) == (art, "") for fault in proof.fejl)
    return art, every[-1][0] if every else None, faults


def _room(place: Place, month: date, least: int) -> Plads:
    """The free bytes, and those that run `month` needs at most, by the size of its raw files and of the warehouse."""
    folders = [folder for source in place.raw.glob("*") for folder in source.glob("????-??") if folder.is_dir()]
    fresh = sum(_size(folder) for folder in folders if folder.name == f"{month:%Y-%m}")
    before = sum(_size(folder) for folder in folders if folder.name < f"{month:%Y-%m}")
    live = place.warehouse.path.stat().st_size if place.warehouse.path.exists() else 0
    # Before the first file has come, the month is taken to be as large as the one before.
    fresh = fresh or sum(_size(folder) for folder in folders if folder.name == f"{next_month(month, -1):%Y-%m}")
    grown = min(fresh * live // before, fresh * MOST_BYTES) if live and before else (fresh + before) * BYTES_A_RAW_BYTE
    # A first state holds everything; its files take less room than the live file.
    first = live if live and not place.warehouse.is_published() else 0
    needed = grown * FILES_THAT_GROW + first + fresh
    return Plads(needed, shutil.disk_usage(place.root).free, least)


def _size(folder: Path) -> int:
    """The bytes of the files of a folder."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def now_in_danish_time() -> datetime:
    """The present moment, in Danish time."""
    return datetime.now(DANISH)


def run_lines(place: Place) -> Iterator[str]:
    """The last runs, one line each, with a line for each municipality held back; and the months that have stopped."""
    every = runs(place)
    if not every:
        yield "Ingen kørsel endnu."
    for run in every[-RUNS_SHOWN:]:
        files = len(list(run.mappe.glob("*.csv")))
        shown = f"{plural(files, 'fil', 'filer')} i {run.mappe}" if files else "ingen filer"
        stage = "ikke færdig" if run.status == OPGJORT else run.status
        yield f"Kørsel {run.maaned:%Y-%m}: {stage}, {plural(run.kommuner, 'kommune', 'kommuner')} opgjort, {shown}"
        yield from (f"  Holdt tilbage: {line}" for line in run.tilbageholdt)
    if told := known(place, head, ""):
        yield f"Lukkede kørsler: {told}"
    done = max((f"{run.maaned:%Y-%m}" for run in every if run.faerdig), default="")
    for said in stops(place):
        if said.maaned > done:
            where = f"{place.statements.name}/{said.maaned}.txt"
            yield cut(f"Kørsel {said.maaned} er STOPPET (det hele står i {where}): {said.grund}", MOST_OF_A_REASON)
    for name in abandoned(home_of(place), place.root):
        yield f"{name} blev afbrudt, og dens proces er væk; den næste kommando fører den som fejlet."


def undelivered(place: Place) -> dict[str, str]:
    """A sentence for each delivery that must be seen to (`receipts.wrongs`), by its key.

    A file that is not sent is no wrong while a command or a run delivers.
    """
    try:
        levering = delivery(place.rules_folder, place.rules)
    except RuleError as fault:
        return {FILE: f"levering: {fault}"}
    going_on = delivering(place)
    found: dict[str, str] = {}
    found = known(place, lambda session: wrongs(session, levering, None, utc_now()), found)
    return {key: line for key, line in found.items() if not (going_on and key.endswith(NOT_SENT))}


def delivering(place: Place) -> bool:
    """True while a command or a run delivers files of the data root."""
    return at_work_now(place, DELIVERING)


def _delivery_lines(place: Place) -> Iterator[str]:
    """The state of the deliveries, if there are receivers: the last months, then what must be seen to."""
    wrong = undelivered(place)
    if FILE in wrong:
        yield f"  {wrong[FILE]}"
        return
    levering = delivery(place.rules_folder, place.rules)
    nothing: list[str] = []
    lines = known(place, lambda session: standing(session, place, levering, None, utc_now()), nothing)
    yield from lines
    yield from (f"  {line}" for line in wrong.values())
    if delivering(place):
        yield "Levering: der sendes filer eller læses kvitteringer lige nu."
    elif levering.modtagere and not lines:
        yield f"Levering: {plural(len(levering.modtagere), 'modtager', 'modtagere')}, og intet er sendt endnu."


def status_lines(place: Place, months: list[date], *, som_json: bool) -> Iterator[str]:
    """The lines of `refusion status`: the board of each month, and the last runs; one JSON object per month instead.

    Without months: of the coming one. Stop if a month lies outside those that can be run, and the one after them.
    """
    today = date.today()  # noqa: DTZ011  the grids follow the local calendar
    first, last = (
        place.rules.optaelling.gaelder_fra.replace(day=1),
        next_month(last_month(place.root, place.rules, today)),
    )
    if months and not first <= months[0] <= months[-1] <= last:
        raise Stop(f"tavlen kan vises for {first:%Y-%m}..{last:%Y-%m}; er måneden rigtig?")
    asked = months or [month for month in [coming_month(place)] if month]
    if not asked and not som_json:
        yield f"Der er ingen leverancer under {place.raw}."
    for month in asked:
        found = board(place, month, now_in_danish_time())
        if som_json:
            yield json.dumps(as_json(found), ensure_ascii=False)
        else:
            yield from board_lines(found)
    if not som_json:
        yield from run_lines(place)
        if line := mending(place.root, whole=True):
            yield line
        yield from _delivery_lines(place)
