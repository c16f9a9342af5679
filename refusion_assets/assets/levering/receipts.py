"""Receipts: what came back for the files sent, whose receipts are all in, and what must be seen to."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl

from refusion_assets.assets.faelles.udrulning import not_yet
from refusion_assets.assets.gate import held_back
from refusion_assets.assets.levering.shipments import (
    LAST,
    LOCK,
    Delivered,
    Row,
    files_of,
    keys_for,
    now,
    patiently,
    refused_vouchers,
    shown,
)
from refusion_assets.domain.contract import kinds_of
from refusion_assets.domain.findings.outcome import Outcome
from refusion_assets.domain.levering import (
    AFVIST,
    FEJLET,
    FORRETNING,
    LEVERET,
    MAPPE,
    ON_ITS_WAY,
    OPFOELGNING,
    OUT_OF_HAND,
    SENDT,
    SUCCES,
    UNDER,
    Kvittering,
    Levering,
    after,
    done,
)
from refusion_assets.domain.operations.board import moment
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import plural, without_persons
from refusion_assets.files.outgoing import parted
from refusion_assets.place import Place, alone
from refusion_assets.rulebook.load import delivery
from refusion_assets.store.publish import is_behind, publish_if_idle
from refusion_assets.store.session import Session

UNTOLD = "COULD_NOT_NOTIFY_RECIPIENT"
MOST_NAMED, MONTHS_SHOWN = 5, 3
NOT_SENT = "ikke sendt"
"""The kind of a wrong in `wrongs`: the end of its key."""

# So long after its last receipt a delivery is not asked about any more.
DAYS_ASKED = 60
Receipts = Sequence[tuple[str, bytes | None]]


def read_receipts(place: Place, month: date | None, say: Callable[[str], None]) -> tuple[Delivered, list[date]]:
    """The receipts of all receivers read and kept; what stands, of `month` or of all, and the months that moved.

    Reading twice changes nothing. A receipt that cannot be read, or is of no file of ours, is told and left.
    """
    from refusion_assets.levering import shipping  # noqa: PLC0415  SSH takes a while to load

    told: list[str] = []
    moved: set[date] = set()
    with alone(place, say, LOCK):
        levering = delivery(place.rules_folder, place.rules)
        koder = sorted(kode for kode, one in levering.modtagere.items() if one.kanal != MAPPE)
        with patiently(place, say) as session:
            names = _asked(session, levering)
        known, wanted = names

        def book(mine: Collection[str], found: Receipts) -> list[str]:
            with patiently(place, say) as session:
                kept, lines, months = booked(session, mine, found)
            told.extend(lines)
            moved.update(months)
            return kept

        why: Mapping[str, str] = {}
        if koder and known:
            why, strange = shipping.fetch(levering, keys_for(levering, koder, place.root), koder, wanted, book)
            told += _strange(name for name in strange if name not in known)
        if is_behind(place.warehouse):
            publish_if_idle(place.warehouse)
        with patiently(place, say) as session:
            lines = standing(session, place, levering, month, now())
            faults = list(wrongs(session, levering, month, now()).values())
    faults += _by_reason(why)
    return Delivered((*told, *lines), tuple(faults)), sorted(moved)


def _asked(session: Session, levering: Levering) -> tuple[set[str], set[str]]:
    """The names of all files that were sent, and of those whose receipts may still change something."""
    every = session.frame(LAST).rows(named=True)
    since = now() - timedelta(days=DAYS_ASKED)
    wanted = {
        row["fil"]
        for row in every
        if not done(row["status"], levering.modtagere.get(row["kommunekode"]))
        or (row["status"] == LEVERET and (row["kvitteret"] or row["oprettet"]) > since)
    }
    return {row["fil"] for row in every}, wanted


def _by_reason(why: Mapping[str, str]) -> list[str]:
    """A line for each reason, with the municipalities whose server could not be asked."""
    koder: dict[str, list[str]] = defaultdict(list)
    for kode, text in sorted(why.items()):
        if text:
            koder[text].append(kode)
    more = {text: f" og {len(every) - MOST_NAMED} til" for text, every in koder.items() if len(every) > MOST_NAMED}
    return [f"{', '.join(every[:MOST_NAMED])}{more.get(text, '')}: {text}" for text, every in koder.items()]


def _strange(names: Iterable[str]) -> list[str]:
    """A line about receipts of files that we have not sent."""
    found = sorted({without_persons(name) for name in names})
    if not found:
        return []
    more = f" (og {len(found) - MOST_NAMED} til)" if len(found) > MOST_NAMED else ""
    return [f"Kvitteringer for filer, vi ikke har sendt, er ladt ligge: {', '.join(found[:MOST_NAMED])}{more}."]


def booked(session: Session, koder: Collection[str], found: Receipts) -> tuple[list[str], list[str], set[date]]:
    """The receipts of a folder kept, and the status of their deliveries with them.

    Returns the files whose receipts are kept, a line for each receipt that is left, and the months that moved.
    """
    from refusion_assets.levering.trigger import receipt  # noqa: PLC0415  XML takes a while to load

    rows: dict[str, list[Row]] = defaultdict(list)
    query = "SELECT * FROM levering.forsendelse ORDER BY oprettet, gang"
    for row in session.frame(query).iter_rows(named=True):
        if row["kommunekode"] in koder:
            rows[row["fil"]].append(row)
    before = set(session.frame("SELECT kvittering_id FROM levering.kvittering")["kvittering_id"])
    kept, lines, months, made = [], [], set(), []
    for fil, data in found:
        said = receipt(data) if data else None
        if said is None or data is None:
            lines.append(
                f"Kvitteringen for {fil} kan ikke læses{'' if data else ', tom, for stor eller spærret'}; ladt ligge."
            )
            continue
        about = _about(rows[fil], said.senders_file_id, said.transfer_id)
        if about is None:
            lines.append(f"Kvitteringen for {fil} er til en anden forsendelse end vores; ladt ligge.")
            continue
        kept.append(fil)
        kvittering_id = hashlib.sha256(fil.encode() + b"\n" + data).hexdigest()
        if kvittering_id in before:
            continue
        before.add(kvittering_id)
        months.add(about["maaned"])
        made.append(
            {
                "kvittering_id": kvittering_id, "senders_file_id": about["senders_file_id"], "fil": fil,
                "art": said.art, "udfald": said.udfald, "kode": said.kode, "tekst": said.tekst,
                "transfer_id": said.transfer_id or None, "laest": now(),
            }
        )  # fmt: skip
        _answered(session, about, made[-1])
    session.insert("levering.kvittering", pl.DataFrame(made, schema=kinds_of(Kvittering)))
    return kept, lines, months


def _about(rows: Sequence[Row], senders_file_id: str, transfer_id: str) -> Row | None:
    """The delivery that a receipt of a file is about: by our id, by the platform's, else the last; None if no one's."""
    if senders_file_id:
        return next((row for row in rows if row["senders_file_id"] == senders_file_id), None)
    if transfer_id and (same := [row for row in rows if row["transfer_id"] == transfer_id]):
        return same[-1]
    gone = [row for row in rows if row["status"] not in (UNDER, FEJLET)]
    return gone[-1] if gone else None


def _answered(session: Session, row: Row, said: Row) -> None:
    """Keep the answer to a delivery."""
    row["status"] = after(row["status"], said["udfald"])
    row["transfer_id"] = said["transfer_id"] or row["transfer_id"]
    if row["status"] == AFVIST and said["udfald"] != SUCCES:
        who = "modtageren" if said["art"] == FORRETNING else "platformen"
        what = "afviste filen"
        if said["udfald"] == UNTOLD:
            who, what = "platformen", "kunne ikke give modtageren besked"
        kode = f" (kode {said['kode']})" if said["kode"] else ""
        text = f": {said['tekst']}" if said["tekst"] else ""
        row["fejl"] = f"{who} {what}{kode}{text}"
    elif row["status"] != AFVIST:
        row["fejl"] = None
    session.run(
        """UPDATE levering.forsendelse SET status = $status, fejl = $fejl, transfer_id = $transfer, kvitteret = $at,
        sendt = coalesce(sendt, $at) WHERE senders_file_id = $id""",
        status=row["status"], fejl=row["fejl"], transfer=row["transfer_id"], at=said["laest"],
        id=row["senders_file_id"],
    )  # fmt: skip


def wrongs(session: Session, levering: Levering, month: date | None, at: datetime) -> dict[str, str]:
    """A sentence for each delivery, of run `month` or of all, that must be seen to; under month, municipality and kind.

    They are: what was refused, what did not arrive, and what has had no receipt for `kvittering_timer`.
    """
    found: dict[str, str] = {}
    for (maaned, kode), rows in _groups(session, month).items():
        cell = f"{maaned:%Y-%m}|{kode}"
        since = _waits_since(rows, levering)
        if since and at - since > timedelta(hours=levering.afsender.kvittering_timer):
            found[f"{cell} kvittering"] = _waiting(kode, rows, levering)
        for row in rows:
            if row["status"] == AFVIST:
                found[f"{cell} {row['fil']}"] = f"{kode}: {row['fil']}: {row['fejl']}"
        if lost := [row for row in rows if row["status"] in ON_ITS_WAY]:
            why = next((row["fejl"] for row in lost if row["fejl"]), "leveringen blev afbrudt")
            text = f"{plural(len(lost), 'fil', 'filer')} for {maaned:%Y-%m} er ikke sendt ({why})"
            found[f"{cell} {NOT_SENT}"] = f"{kode}: {text}; skriv refusion lever {maaned:%Y-%m}"
    return found


def standing(session: Session, place: Place, levering: Levering, month: date | None, at: datetime) -> list[str]:
    """How many files are receipted, of run `month` or of the last ones, and a line for each municipality that waits.

    Of the last month delivered, a file that a receiver should have counts, also where no delivery of it is begun; it
    has a line.
    """
    groups = _groups(session, None)
    months = sorted({maaned for maaned, _ in groups})
    late = wrongs(session, levering, month, at)
    lines = []
    for maaned in [one for one in months if month in (None, one)][-MONTHS_SHOWN:]:
        mine = {kode: rows for (one, kode), rows in groups.items() if one == maaned}
        every = [row for rows in mine.values() for row in rows]
        good = sum(done(row["status"], levering.modtagere.get(row["kommunekode"])) for row in every)
        kinds = _not_begun(session, place, levering, maaned, mine) if maaned == months[-1] else {}
        number = len(every) + sum(map(len, kinds.values()))
        lines.append(f"Levering {maaned:%Y-%m}: {good} af {plural(number, 'fil', 'filer')} er kvitteret.")
        lines += [
            _waiting(kode, rows, levering)
            for kode, rows in mine.items()
            if _waits_since(rows, levering) and f"{maaned:%Y-%m}|{kode} kvittering" not in late
        ]
        how = f"for {maaned:%Y-%m} er ikke sendt; refusion lever {maaned:%Y-%m} --proev siger hvorfor"
        lines += _by_reason({kode: f"{', '.join(lacks)} {how}" for kode, lacks in kinds.items()})
    return lines


def _not_begun(
    session: Session, place: Place, levering: Levering, month: date, begun: Mapping[str, Sequence[Row]]
) -> dict[str, list[str]]:
    """By municipality, the kinds of files of the last month delivered that it should have, and that were never sent.

    `begun`: its deliveries by municipality. None of those held back or not yet in operation. In earlier months a
    receiver or a kind may have come on later.
    """
    without = not_yet(session, place, month).union(held_back(session, place, month))
    found = {}
    for kode, one in sorted(levering.modtagere.items()):
        sent = {parted(row["fil"])[0] for row in begun.get(kode, ())}
        if kode not in without and (lacks := [kind for kind in one.filer if kind not in sent]):
            found[kode] = lacks
    return found


def _groups(session: Session, month: date | None) -> dict[tuple[date, str], list[Row]]:
    """The last delivery of each file, by run month and municipality."""
    groups: dict[tuple[date, str], list[Row]] = defaultdict(list)
    for row in session.frame(f"SELECT * FROM ({LAST}) ORDER BY maaned, kommunekode, fil").iter_rows(named=True):
        if month in (None, row["maaned"]):
            groups[row["maaned"], row["kommunekode"]].append(row)
    return groups


def _unanswered(rows: Sequence[Row], levering: Levering) -> list[Row]:
    one = levering.modtagere.get(rows[0]["kommunekode"])
    return [row for row in rows if row["status"] in (SENDT, LEVERET) and not done(row["status"], one)]


def _waits_since(rows: Sequence[Row], levering: Levering) -> datetime | None:
    """The moment since which a municipality's deliveries have waited for a receipt; None if none does."""
    return min((row["sendt"] or row["oprettet"] for row in _unanswered(rows, levering)), default=None)


def _waiting(kode: str, rows: Sequence[Row], levering: Levering) -> str:
    """A line about the receipts that a municipality's deliveries lack, and since when."""
    waits, since = _unanswered(rows, levering), _waits_since(rows, levering)
    when = f" siden {_danish(since)}" if since else ""
    return f"{kode}: {plural(len(waits), 'fil', 'filer')} for {rows[0]['maaned']:%Y-%m} mangler kvittering{when}"


def _danish(at: datetime) -> str:
    """A moment of the warehouse for people, in Danish time."""
    return moment(at.replace(tzinfo=UTC))


def receipts_in(session: Session, place: Place, month: date) -> dict[str, bool]:
    """For each receiver, if it has all its files of run `month`, and all receipts are in; nothing if none are shown."""
    levering = delivery(place.rules_folder, place.rules)
    try:
        files = shown(session, place, month)
    except Stop:
        return {}
    rows = session.frame(f"SELECT * FROM ({LAST}) WHERE koersel = $n", n=files.koersel).rows(named=True)
    last = {(row["kommunekode"], row["fil"]): row for row in rows}
    unbookable = refused_vouchers(session, place, files, levering.modtagere.values())
    found = {}
    later = not_yet(session, place, month)
    for kode, one in levering.modtagere.items():
        if kode in later:
            continue
        mine, faults = files_of(one, files, unbookable)
        there = [last.get((kode, fil.fil)) for fil in mine]
        found[kode] = (
            bool(mine)
            and not faults
            and all(
                row is not None and row["sha256"] == fil.sha256 and done(row["status"], one)
                for fil, row in zip(mine, there, strict=True)
            )
        )
    return found


def leveret_er_kladden(session: Session, place: Place, month: date) -> Outcome:
    """Passed if the last bytes sent of each file of run `month` are those of the run's SHA256SUMS."""
    files = shown(session, place, month)
    query = f"SELECT * FROM ({LAST}) WHERE koersel = $n ORDER BY kommunekode, fil"
    sent = [row for row in session.frame(query, n=files.koersel).rows(named=True) if row["status"] in OUT_OF_HAND]
    proved = [row for row in sent if f"-{OPFOELGNING}-" not in row["fil"]]
    wrong = [row for row in proved if files.sums.get(row["fil"]) != row["sha256"]]
    if not wrong:
        said = f"{plural(len(proved), 'fil', 'filer')} er sendt, og hver er den, kørslens SHA256SUMS nævner."
        return Outcome(True, said, tal={"filer": len(proved)})
    return Outcome(
        False,
        f"{wrong[0]['fil']} er sendt til {wrong[0]['kommunekode']} i en anden udgave end den, der gælder "
        f"({plural(len(wrong), 'fil', 'filer')}).",
        f"Skriv refusion lever {month:%Y-%m}, så sendes den rigtige.",
        len(wrong),
    )
