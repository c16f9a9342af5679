"""Shipments: the files that a run has for each receiver, and what has been sent of them."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from refusion_assets.assets.faelles.udrulning import not_yet
from refusion_assets.assets.gate import AABEN, LUKKET
from refusion_assets.assets.opgoerelse import ledger_of
from refusion_assets.domain.contract import kinds_of
from refusion_assets.domain.levering import (
    AFVIST,
    LEVERET,
    MAPPE,
    OPFOELGNING,
    SUCCES,
    UNDER,
    Fil,
    Forsendelse,
    Item,
    Kvittering,
    Levering,
    Modtager,
    planned,
)
from refusion_assets.domain.opgoerelse.ledger import run_day, run_number
from refusion_assets.domain.opgoerelse.voucher import refused
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import plural
from refusion_assets.files.delivered import fingerprint
from refusion_assets.files.outgoing import SUMS, said_of
from refusion_assets.place import Place, alone, kept
from refusion_assets.rulebook.load import delivery, load
from refusion_assets.store.publish import is_behind, publish_if_idle
from refusion_assets.store.session import Locked, Session

LOCK = "levering.laas"
TIMES_TO_WAIT = 20
# The kinds of files that are no vouchers.
UNBOOKED = frozenset({"beregning", "advisering", "opgoerelse", OPFOELGNING})
Row = dict[str, Any]
Rows = dict[tuple[str, str], list[Row]]
# The last delivery of each file of each run.
LAST = """SELECT * FROM levering.forsendelse
QUALIFY row_number() OVER (PARTITION BY koersel, kommunekode, fil ORDER BY oprettet DESC, gang DESC) = 1"""


def now() -> datetime:
    """The present moment in UTC, without a zone, as the warehouse keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


@contextmanager
def patiently(place: Place, say: Callable[[str], None]) -> Iterator[Session]:
    """A session on the warehouse for a short writing; it waits for a run that holds it, ten minutes at most."""
    with ExitStack() as held:
        for number in range(TIMES_TO_WAIT):
            try:
                session = held.enter_context(place.warehouse.open())
                break
            except Locked:
                if number == TIMES_TO_WAIT - 1:
                    raise
                say("venter på en kørsel, som bruger lageret ...")
        yield session


@dataclass(frozen=True)
class Shown:
    """The shown files of a run: its number, its folder, and the sha256 of each file by name."""

    koersel: int
    month: date
    folder: Path
    sums: Mapping[str, str]
    filsum: str

    def stands(self) -> bool:
        """True if the folder still is the run's."""
        path = self.folder / SUMS
        try:
            return fingerprint(path) == self.filsum
        except OSError:
            return False


def shown(session: Session, place: Place, month: date) -> Shown:
    """The files of a run that are in sight and whole; Stop if there are none, or SHA256SUMS is not the run's own."""
    row = session.frame("SELECT status, filsum FROM opgoerelse.koersel WHERE maaned = $m", m=month).rows(named=True)
    folder = place.outgoing / f"{month:%Y-%m}"
    if not row or row[0]["status"] not in (AABEN, LUKKET) or not (folder / SUMS).exists():
        raise Stop(f"{month:%Y-%m} har ingen viste filer, så intet kan leveres; kør måneden først")
    files = Shown(run_number(month, place.rules), month, folder, said_of(folder / SUMS), row[0]["filsum"])
    if not files.stands():
        raise Stop(f"filerne for {month:%Y-%m} er ikke dem, kørslen viste (SHA256SUMS er en anden); kør måneden igen")
    return files


def files_of(one: Modtager, files: Shown, unbookable: Mapping[str, str]) -> tuple[list[Fil], list[str]]:
    """The files that a receiver gets of a run, and a sentence for each kind that it cannot get.

    `unbookable`: by municipality, why its voucher may not be delivered.
    """
    found, faults = [], []
    for kind in one.filer:
        start = f"yr-ydelsesrefusion-{kind}-{one.kommunekode}-{files.koersel:04d}-"
        if kind == OPFOELGNING:
            mine = {path.name: fingerprint(path) for path in sorted(files.folder.glob(f"{start}*"))}
        else:
            mine = {name: summed for name, summed in sorted(files.sums.items()) if name.startswith(start)}
        if kind not in UNBOOKED and one.kommunekode in unbookable:
            faults.append(unbookable[one.kommunekode])
            continue
        if not mine:
            lacking = "opfølgningen er ikke lavet" if kind == OPFOELGNING else f"kørslen har ingen fil {kind}"
            faults.append(f"{lacking}; {'lav den' if kind == OPFOELGNING else 'er kommunen holdt tilbage?'}")
        for name, summed in mine.items():
            path = files.folder / name
            if path.exists():
                found.append(Fil(one.kommunekode, name, summed, path.stat().st_size))
            else:
                faults.append(f"{name} mangler i {files.folder}")
    return found, faults


def refused_vouchers(session: Session, place: Place, files: Shown, receivers: Iterable[Modtager]) -> dict[str, str]:
    """By municipality, why its voucher may not be delivered: a line of it has no account of its own.

    The accounts are those of the run's rules, as its files have them; the leave to take placeholders is today's.
    """
    koder = [one.kommunekode for one in receivers if not UNBOOKED.issuperset(one.filer)]
    if not koder:
        return {}
    rows, rules = ledger_of(session, files.koersel, koder), place.rules
    version = session.value("SELECT regelversion FROM opgoerelse.koersel WHERE koersel = $n", n=files.koersel)
    if version == rules.version:
        return refused(rows, files.month, rules)
    day = run_day(files.month, rules)
    then = refused(rows, files.month, load(kept(place, str(version)), kept=True))
    now_too = refused(rows, files.month, rules)
    allowed = {kode for kode in then if (wish := rules.own_postings.bilag(kode, day)) and wish.tillad_pladsholder}
    return {
        kode: why if kode in now_too else f"{why}. Reglerne har den nu; kør måneden igen, så kommer den på bilaget"
        for kode, why in then.items()
        if kode not in allowed
    }


def rows_of(session: Session, koersel: int) -> Rows:
    """The deliveries of a run, oldest first, by municipality and file."""
    found: Rows = defaultdict(list)
    query = "SELECT * FROM levering.forsendelse WHERE koersel = $n ORDER BY oprettet, gang"
    for row in session.frame(query, n=koersel).iter_rows(named=True):
        found[row["kommunekode"], row["fil"]].append(row)
    return found


@dataclass
class Plan:
    """The deliveries to make, by item and receiver; the number that stand; what is said of some, and what is wrong."""

    files: Shown
    items: list[tuple[Item, Modtager]] = field(default_factory=list)
    stands: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    remarks: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def plan(session: Session, place: Place, month: date, levering: Levering, koder: Iterable[str], *, igen: bool) -> Plan:
    """The deliveries of a run that are to be made to some receivers; nothing is changed.

    A municipality that is not yet in operation gets none, and that is no fault.
    """
    files = shown(session, place, month)
    made, before = Plan(files), rows_of(session, files.koersel)
    later = not_yet(session, place, month)
    chosen = [levering.modtagere[kode] for kode in koder if kode not in later]
    unbookable = refused_vouchers(session, place, files, chosen)
    for one in chosen:
        mine, faults = files_of(one, files, unbookable)
        made.faults += [f"{one.kommunekode}: {fault}" for fault in faults]
        for fil in mine:
            item, status = planned(fil, files.koersel, before[one.kommunekode, fil.fil], igen=igen)
            if item is None:
                made.stands[status] += 1
                if status == AFVIST:
                    made.faults.append(f"{one.kommunekode}: {fil.fil} er afvist; ret årsagen, og send igen med --igen")
                continue
            made.items.append((item, one))
            if item.again:
                made.remarks.append(f"{one.kommunekode}: {fil.fil}: {item.again}")
    return made


def begin(session: Session, made: Plan) -> None:
    """Keep the deliveries of a plan as begun, before the first byte of them leaves the house."""
    ids = [item.senders_file_id for item, _ in made.items]
    # The last delivery of a file is the one made last, also where the clock has been set back since the one before.
    latest = session.frame("SELECT max(oprettet) AS at FROM levering.forsendelse")["at"].item()
    at = max(now(), latest + timedelta(microseconds=1)) if latest else now()
    known = set(session.frame("SELECT senders_file_id FROM levering.forsendelse")["senders_file_id"])
    _keep(session, [item for item, _ in made.items if item.senders_file_id in known])
    rows = [
        {
            "koersel": item.koersel, "maaned": made.files.month, "kommunekode": item.fil.kommunekode,
            "fil": item.fil.fil, "sha256": item.fil.sha256, "stoerrelse": item.fil.stoerrelse, "gang": item.gang,
            "senders_file_id": item.senders_file_id, "kanal": one.kanal, "status": UNDER, "forsoeg": 0,
            "oprettet": at, "sendt": None, "kvitteret": None, "transfer_id": None, "fejl": None,
        }
        for item, one in made.items
        if item.senders_file_id not in known
    ]  # fmt: skip
    assert len(ids) == len(set(ids))  # noqa: S101  a file has one receiver
    session.insert("levering.forsendelse", pl.DataFrame(rows, schema=kinds_of(Forsendelse)))


def _keep(session: Session, items: Sequence[Item]) -> None:
    """Keep how far some deliveries have come."""
    if not items:
        return
    rows = [(item.senders_file_id, item.status, item.forsoeg, item.sendt, item.fejl) for item in items]
    schema: Any = {
        "id": pl.String,
        "status": pl.String,
        "forsoeg": pl.Int64,
        "sendt": pl.Datetime("us"),
        "fejl": pl.String,
    }
    with session.lending("kept", pl.DataFrame(rows, schema=schema, orient="row")):
        session.run(
            """UPDATE levering.forsendelse SET status = kept.status, forsoeg = kept.forsoeg, fejl = kept.fejl,
            sendt = coalesce(kept.sendt, forsendelse.sendt),
            kvitteret = CASE WHEN kept.status = $done THEN kept.sendt ELSE kvitteret END
            FROM kept WHERE senders_file_id = kept.id""",
            done=LEVERET,
        )
    # Only a folder is its own receipt; all others come back later.
    lies = [
        {
            "kvittering_id": hashlib.sha256(item.senders_file_id.encode()).hexdigest(), "fil": item.fil.fil,
            "senders_file_id": item.senders_file_id, "art": MAPPE, "udfald": SUCCES, "kode": None, "tekst": None,
            "transfer_id": None, "laest": item.sendt,
        }
        for item in items
        if item.status == LEVERET
    ]  # fmt: skip
    session.insert("levering.kvittering", pl.DataFrame(lies, schema=kinds_of(Kvittering)))


@dataclass(frozen=True)
class Delivered:
    """The outcome of a delivery: a line for each thing to know, and a line for each thing that went wrong."""

    lines: tuple[str, ...]
    faults: tuple[str, ...]


def chosen(levering: Levering, koder: Sequence[str]) -> list[str]:
    """The municipalities among `koder` that levering.toml names, all of them where `koder` is empty; Stop if none."""
    found = [kode for kode in levering.modtagere if not koder or kode in koder]
    if not found:
        whom = f"ingen af {', '.join(koder)}" if koder else "ingen modtager"
        raise Stop(
            f"levering.toml nævner {whom}, så intet sendes; docs/levering.md siger, hvordan en kommune kommer på"
        )
    return sorted(found)


def asked(levering: Levering, koder: Sequence[str]) -> list[str]:
    """The municipalities that somebody names (`chosen`); Stop if one of them is no receiver."""
    mine = chosen(levering, koder)
    if lacking := [kode for kode in koder if kode not in mine]:
        raise Stop(f"levering.toml nævner ikke {', '.join(lacking)}, så intet sendes; ret --kommune, eller tilføj dem")
    return mine


def keys_for(levering: Levering, koder: Iterable[str], root: Path) -> Any:
    """The keys of the environment, if one of the receivers needs them; Stop if they cannot be used."""
    from refusion_assets.levering.channel import Keys  # noqa: PLC0415  SSH takes a while to load

    return Keys.from_environment(root) if any(levering.modtagere[kode].kanal != MAPPE for kode in koder) else None


def deliver(
    place: Place, month: date, koder: Sequence[str], say: Callable[[str], None], *, igen: bool = False
) -> Delivered:
    """The shown files of run `month` sent to their receivers, each once; the warehouse is held for short writings only.

    `koder`: only these; all if empty. `igen`: what was refused is sent again. Stop if there is nothing to send, or the
    keys cannot be used. A file that does not arrive is told, and the others go on.
    """
    from refusion_assets.levering import shipping  # noqa: PLC0415  SSH takes a while to load

    with alone(place, say, LOCK):
        levering = delivery(place.rules_folder, place.rules)
        mine = chosen(levering, koder)
        keys = keys_for(levering, mine, place.root)
        with patiently(place, say) as session:
            made = plan(session, place, month, levering, mine, igen=igen)
            begin(session, made)
        for remark in made.remarks:
            say(remark)

        def keep(items: Sequence[Item]) -> None:
            if items:
                with patiently(place, say) as session:
                    _keep(session, items)

        jobs = [shipping.Job(item, one, made.files.folder / item.fil.fil) for item, one in made.items]
        try:
            if jobs:
                say(f"{month:%Y-%m}: sender {plural(len(jobs), 'fil', 'filer')} ...")
                shipping.ship(jobs, shipping.How(levering.afsender, keys, keep, made.files.stands))
        finally:
            if is_behind(place.warehouse):
                publish_if_idle(place.warehouse)
    failed = [f"{job.modtager.kommunekode}: {job.item.fil.fil}: {job.item.fejl}" for job in jobs if job.item.fejl]
    sent = sum(not job.item.fejl for job in jobs)
    told = [f"{month:%Y-%m}: {plural(sent, 'fil', 'filer')} sendt"]
    told += [f"{plural(n, 'fil', 'filer')} var {status} i forvejen" for status, n in sorted(made.stands.items())]
    return Delivered((f"{', '.join(told)}.",), (*made.faults, *in_short(failed)))


def in_short(failed: Sequence[str]) -> list[str]:
    """A line for each municipality and reason, of lines `730: fil: hvorfor`, with the number of its files."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for line in failed:
        kode, fil, why = line.split(": ", 2)
        found[kode, why].append(fil)
    return [
        f"{kode}: {files[0] if len(files) == 1 else plural(len(files), 'fil', 'filer')} kom ikke frem: {why}"
        for (kode, why), files in found.items()
    ]


def tried(place: Place, month: date, koder: Sequence[str]) -> Delivered:
    """The files that would go to each receiver, and if it can be reached: keys, server, folders; nothing is sent."""
    from refusion_assets.levering import shipping  # noqa: PLC0415  SSH takes a while to load

    levering = delivery(place.rules_folder, place.rules)
    mine = asked(levering, koder)
    with patiently(place, lambda _: None) as session:
        made = plan(session, place, month, levering, mine, igen=False)
    answers = shipping.tried(levering, keys_for(levering, mine, place.root), mine)
    lines, faults = [], list(made.faults)
    for kode in mine:
        one, files = levering.modtagere[kode], [item.fil.fil for item, to in made.items if to.kommunekode == kode]
        where = one.ud if one.kanal == MAPPE else f"{one.bruger}@{one.vaert}:{one.port}/{one.ud}"
        lines.append(f"{kode} ({one.kanal}, {where}): {plural(len(files), 'fil', 'filer')} ville blive sendt")
        lines += [f"  {name}" for name in files]
        if answers[kode]:
            faults.append(f"{kode}: {answers[kode]}")
    return Delivered((*lines, "Prøve: intet er sendt."), tuple(faults))
