"""Understands a delivery from end to end: every file laid, then its trigger, with its status kept at each step."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from refusion_assets.domain.levering import (
    FEJLET,
    LAGT,
    LEVERET,
    MAPPE,
    SENDT,
    UNDER,
    Afsender,
    Item,
    Levering,
    Modtager,
)
from refusion_assets.domain.stop import Stop
from refusion_assets.levering.channel import Endpoint, Far, Keys, connected, copied, laid, reason
from refusion_assets.levering.trigger import RECEIPT, Refused, receipt, trigger

AT_ONCE, FILES_A_STEP = 8, 40
# Seconds before another attempt at a connection that was cut.
PAUSES = (1.0, 5.0, 20.0)
T = TypeVar("T")


@dataclass
class Job:
    """A delivery in hand, its receiver, and where the file lies here."""

    item: Item
    modtager: Modtager
    path: Path


@dataclass(frozen=True)
class How:
    """The sender, what keeps the status of deliveries, and what says that the run's files still are the shown ones."""

    afsender: Afsender
    keys: Keys | None
    keep: Callable[[Sequence[Item]], None]
    shown: Callable[[], bool]
    rooms: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def refuse_withdrawn(self) -> None:
        """Stop if the run's files have been taken back or changed: then nothing more of them may leave the house."""
        if not self.shown():
            raise Stop(
                "månedens filer blev trukket tilbage undervejs; resten er ikke sendt. Kør måneden, og lever igen"
            )


def ship(jobs: Sequence[Job], how: How) -> None:
    """Every delivery made as far as it can be, with its status kept; one that fails says why in its `fejl`.

    Each item's status says where it must go on. No trigger is written before `keep` has its file as laid.
    """
    folders = [job for job in jobs if job.modtager.kanal == MAPPE]
    with ThreadPoolExecutor(AT_ONCE) as writers:
        list(writers.map(_lay_in_folder, folders))
    how.keep([job.item for job in folders])
    groups: dict[Endpoint, list[Job]] = defaultdict(list)
    for job in jobs:
        if job.modtager.kanal != MAPPE:
            groups[Endpoint.of(job.modtager)].append(job)
    if groups:
        asyncio.run(_side_by_side(_to_server(to, mine, how) for to, mine in groups.items()))


async def _side_by_side(work: Iterator[Awaitable[None]]) -> None:
    await asyncio.gather(*work)


def _lay_in_folder(job: Job) -> None:
    """Copy a file to a folder on a drive; the file that lies there with its hash is the receipt."""
    item, folder = job.item, Path(job.modtager.ud)
    item.forsoeg += 1
    try:
        if not laid(folder, item.fil):
            with job.path.open("rb") as source:
                copied(folder, item.fil, source)
    except (Refused, OSError) as error:
        item.status, item.fejl = FEJLET, str(error) if isinstance(error, Refused) else _gone(job)
    else:
        item.status, item.fejl, item.sendt = LEVERET, None, _now()


async def _to_server(to: Endpoint, jobs: Sequence[Job], how: How) -> None:
    """Send the files of one server over one connection; a connection that is cut is tried again after a pause."""
    left, why = list(jobs), ""
    for number in range(how.afsender.forsoeg):
        if number:
            await asyncio.sleep(PAUSES[min(number, len(PAUSES)) - 1])
        for job in left:
            job.item.forsoeg += 1
        try:
            async with connected(to, how.keys) as far:  # type: ignore[arg-type]  # there are keys if there is a server
                await _send_all(far, left, how)
        except Exception as error:  # noqa: BLE001  `reason` raises again what it does not know
            why, again = reason(error, to)
            # Some of them may have gone before the connection did.
            await asyncio.to_thread(how.keep, [job.item for job in left])
        else:
            return
        left = [job for job in left if job.item.status in (UNDER, LAGT) and not job.item.fejl]
        if not again or not left:
            break
    await _give_up(left, why, how)


async def _give_up(jobs: Sequence[Job], why: str, how: How) -> None:
    """Keep why some deliveries went no further. One that is laid stays so: its trigger may stand."""
    for job in jobs:
        job.item.status = FEJLET if job.item.status == UNDER else job.item.status
        job.item.fejl = why
    await asyncio.to_thread(how.keep, [job.item for job in jobs])


async def _send_all(far: Far, jobs: Sequence[Job], how: How) -> None:
    """Lay the files and write the triggers, some at a time; between the two their status is kept."""
    there, known = await _at_server(far, jobs, how)
    ready = [job for job in jobs if job.item.senders_file_id not in known and not job.item.fejl]
    rest = [job for job in jobs if job not in ready]
    for job in rest:
        if job.item.senders_file_id in known:
            _sent(job)
    await asyncio.to_thread(how.keep, [job.item for job in rest])
    for first in range(0, len(ready), FILES_A_STEP):
        some = ready[first : first + FILES_A_STEP]
        await _each(some, lambda job: _lay(far, job, how, there[job.modtager.ud]), how)
        await asyncio.to_thread(how.keep, [job.item for job in some])
        how.refuse_withdrawn()
        await _each([job for job in some if job.item.status == LAGT], lambda job: _trigger(far, job, how), how)
        await asyncio.to_thread(how.keep, [job.item for job in some])


async def _at_server(far: Far, jobs: Sequence[Job], how: How) -> tuple[dict[str, set[str]], set[str]]:
    """The names in each folder that is sent to, and the ids that the platform has answered already."""
    there: dict[str, set[str]] = {}
    known: set[str] = set()
    for ud, ind in {(job.modtager.ud, job.modtager.ind) for job in jobs}:
        mine = {job.item.fil.fil for job in jobs if (job.modtager.ud, job.modtager.ind) == (ud, ind)}
        try:
            there[ud] = await far.names(ud)
            answers, _ = await _receipts(far, ind, mine)
        except Refused as why:
            await _give_up([job for job in jobs if job.item.fil.fil in mine], str(why), how)
            continue
        known |= {answer.senders_file_id for _, data in answers if data and (answer := receipt(data))}
    return there, known


async def _each(jobs: Sequence[Job], work: Callable[[Job], Awaitable[None]], how: How) -> None:
    """Do work for some deliveries side by side; a refused one keeps why, and any other error ends the connection."""

    async def one(job: Job) -> None:
        async with how.rooms:
            await work(job)

    done = await asyncio.gather(*map(one, jobs), return_exceptions=True)
    for job, error in zip(jobs, done, strict=True):
        if isinstance(error, Refused):
            job.item.fejl = str(error)
            job.item.status = FEJLET if job.item.status == UNDER else job.item.status
    if worse := next((error for error in done if error and not isinstance(error, Refused)), None):
        raise worse


async def _lay(far: Far, job: Job, how: How, there: Collection[str]) -> None:
    """Lay a file and make its trigger ready where the platform takes both, or see that they have been taken."""
    item, ud, name = job.item, job.modtager.ud, job.item.fil.fil
    pending = await far.pending(ud, name)
    if pending == item.senders_file_id:
        _sent(job)
        return
    if pending is not None:
        raise Refused(f"den forrige udgave af {name} er ikke hentet af platformen endnu; lever igen, når den er")
    if item.status == LAGT and (name not in there or not await far.is_ready(ud, name)):
        # Its trigger was ready before it was kept as laid, and has got its name since: the platform has taken it.
        _sent(job)
        return
    xml = trigger(item, job.modtager, how.afsender, datetime.now(UTC))  # refused before the file leaves the house
    if name not in there or not await far.lies_there(ud, item.fil):
        try:
            source = await asyncio.to_thread(job.path.open, "rb")
        except OSError:
            raise Refused(_gone(job)) from None
        with source:
            await far.put(ud, item.fil, source)
    await far.ready(ud, name, xml)
    item.status = LAGT


async def _trigger(far: Far, job: Job, how: How) -> None:
    """Give the trigger of a file that is laid its name."""
    xml = trigger(job.item, job.modtager, how.afsender, datetime.now(UTC))
    await far.send(job.modtager.ud, job.item.fil.fil, xml)
    _sent(job)


def _sent(job: Job) -> None:
    job.item.status, job.item.fejl, job.item.sendt = SENDT, None, job.item.sendt or _now()


def _gone(job: Job) -> str:
    return f"{job.path.name} ligger ikke i {job.path.parent.name} mere; er måneden ved at blive kørt igen?"


def _now() -> datetime:
    """The present moment in UTC, without a zone, as the warehouse keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


Receipts = Sequence[tuple[str, bytes | None]]
"""The receipts of a folder by the name of their file; None for one that is too large, or cannot be read."""


async def _receipts(far: Far, folder: str, wanted: Collection[str]) -> tuple[Receipts, list[str]]:
    """The receipts of some files in a folder, and the names of all other receipts there."""
    named = sorted(name.removesuffix(RECEIPT) for name in await far.names(folder) if name.endswith(RECEIPT))
    mine = [name for name in named if name in wanted]
    found = await asyncio.gather(*(far.answer(f"{folder}/{name}{RECEIPT}") for name in mine))
    return list(zip(mine, found, strict=True)), [name for name in named if name not in wanted]


Book = Callable[[Collection[str], Receipts], Collection[str]]


def fetch(
    levering: Levering, keys: Keys, koder: Collection[str], wanted: Collection[str], book: Book
) -> tuple[dict[str, str], list[str]]:
    """Why each of some municipalities' servers could not be asked, empty if it could; and receipts of unknown files.

    The receipts of the files `wanted` are given to `book` with the municipalities of their folder; it returns those
    that it has kept. Nothing is removed on a server unless `ryd_op` says so, and then only what is kept.
    """
    folders: dict[tuple[Endpoint, str], list[str]] = defaultdict(list)
    for kode in koder:
        one = levering.modtagere[kode]
        folders[Endpoint.of(one), one.ind].append(kode)
    told: dict[str, str] = {}
    strange: list[str] = []

    async def ask(to: Endpoint, ind: str, mine: list[str]) -> None:
        why = ""
        try:
            async with connected(to, keys) as far:
                found, others = await _receipts(far, ind, wanted)
                strange.extend(others)
                kept = await asyncio.to_thread(book, mine, found)
                for name in kept if levering.afsender.ryd_op else ():
                    await far.remove(f"{ind}/{name}{RECEIPT}")
        except Refused as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001  `reason` raises again what it does not know
            why, _ = reason(error, to)
        told.update(dict.fromkeys(mine, why))

    async def every() -> None:
        for (to, ind), mine in folders.items():
            await ask(to, ind, mine)

    asyncio.run(every())
    return told, strange


def tried(levering: Levering, keys: Keys | None, koder: Collection[str]) -> dict[str, str]:
    """Why each of some municipalities cannot be reached, empty if it can: keys, server and folders; nothing is sent."""
    told: dict[str, str] = {}
    groups: dict[Endpoint, list[Modtager]] = defaultdict(list)
    for one in map(levering.modtagere.__getitem__, koder):
        if one.kanal == MAPPE:
            ready = Path(one.ud).is_dir() and os.access(one.ud, os.W_OK)
            told[one.kommunekode] = "" if ready else f"mappen {one.ud} findes ikke, eller vi må ikke skrive i den"
        else:
            groups[Endpoint.of(one)].append(one)

    async def ask(to: Endpoint, mine: Sequence[Modtager]) -> None:
        seen: Mapping[str, str] = {}
        why = ""
        try:
            async with connected(to, keys) as far:  # type: ignore[arg-type]  # as above
                seen = {folder: await _there(far, folder) for one in mine for folder in (one.ud, one.ind)}
        except Exception as error:  # noqa: BLE001  `reason` raises again what it does not know
            why, _ = reason(error, to)
        for one in mine:
            told[one.kommunekode] = why or seen[one.ud] or seen[one.ind]

    async def every() -> None:
        await asyncio.gather(*(ask(to, mine) for to, mine in groups.items()))

    asyncio.run(every())
    return told


async def _there(far: Far, folder: str) -> str:
    try:
        await far.names(folder)
    except Refused as why:
        return str(why)
    return ""
