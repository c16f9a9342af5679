"""Deletes what the rules say is kept long enough, and leaves the proof of it: sums, ledger, chain and SHA256SUMS."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from refusion_assets.assets.gate import LUKKET
from refusion_assets.domain.operations.opbevaring import FOR_EVER, OVERSIGTER, UDGAAENDE, Opbevaring, is_due
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import plural
from refusion_assets.files.outgoing import SUMS, departures
from refusion_assets.place import Place, alone
from refusion_assets.rulebook.load import retention
from refusion_assets.runs.month import LOCK
from refusion_assets.store.publish import publish
from refusion_assets.store.session import Session


@dataclass(frozen=True)
class Due:
    """The files of one kind and run month that have been kept long enough; `known`: their deletion was begun before."""

    entry: Opbevaring
    maaned: date
    filer: tuple[Path, ...]
    known: bool

    def line(self) -> str:
        """What would go, in words."""
        return f"{self.entry.slag} {self.maaned:%Y-%m}: {plural(len(self.filer), 'fil', 'filer')}"


def due(session: Session, place: Place, today: date) -> list[Due]:
    """The files that may go, by kind and month: only of closed runs whose files are those they made.

    Stop if a file differs from what the run sent: it is a proof that nobody may lose.
    """
    closed = session.pairs("SELECT maaned, filsum FROM opgoerelse.koersel WHERE status = $s ORDER BY 1", s=LUKKET)
    begun = set(session.frame("SELECT slag, maaned FROM opgoerelse.slettet").rows())
    found = []
    for entry in retention(place.rules_folder):
        for month, filsum in closed.items():
            known = (entry.slag, month) in begun
            paths = _files(place, entry.slag, month) if is_due(month, entry.aar, today) else ()
            if paths and entry.slag == UDGAAENDE:
                folder = place.outgoing / f"{month:%Y-%m}"
                if wrong := departures(folder, filsum, deleted=known):
                    raise Stop(f"{folder.name} slettes ikke: {wrong[0]}; se refusion efterse {folder.name}")
            if paths:
                found.append(Due(entry, month, paths, known))
    return found


def _files(place: Place, slag: str, month: date) -> tuple[Path, ...]:
    """The files of a kind of data and a run month that are there; SHA256SUMS stays."""
    name = f"{month:%Y-%m}"
    if slag == OVERSIGTER:
        return tuple(sorted(place.statements.glob(f"{name}.*")))
    every = sorted((place.outgoing / name).rglob("*")) if slag == UDGAAENDE else []
    return tuple(path for path in every if path.is_file() and path.name != SUMS)


def deleted_files(session: Session) -> dict[date, date]:
    """The run months whose outgoing files were deleted by the rules, each with the day."""
    return session.pairs("SELECT maaned, dato FROM opgoerelse.slettet WHERE slag = $s", s=UDGAAENDE)


def told(place: Place, today: date) -> tuple[list[str], int]:
    """A line for each kind and month that may go, and for each kind that is kept; and the number of files."""
    with place.warehouse.open() as session:
        every = due(session, place, today)
    lines = [one.line() for one in every]
    for entry in retention(place.rules_folder):
        why = FOR_EVER.get(entry.slag, "reglerne siger ingen frist")
        lines += [] if entry.aar else [f"{entry.slag}: gemmes ({why})"]
    return lines, sum(len(one.filer) for one in every)


def delete(place: Place, today: date, say: Callable[[str], None]) -> Iterator[str]:
    """Delete what may go; a line for each kind and month. Each is recorded in `opgoerelse.slettet` before it goes."""
    with alone(place, say, LOCK):
        with place.warehouse.open() as session:
            every = due(session, place, today)
            number = session.count("opgoerelse.slettet")
            fresh = [one for one in every if not one.known]
            rows = [
                (number + n, one.entry.slag, one.maaned, today, len(one.filer), one.entry.aar)
                for n, one in enumerate(fresh, 1)
            ]
            names = ["nr", "slag", "maaned", "dato", "filer", "aar"]
            session.insert("opgoerelse.slettet", pl.DataFrame(rows, schema=names, orient="row"))
        for one in every:
            for path in one.filer:
                path.unlink(missing_ok=True)
            yield f"Slettet: {one.line()}"
        publish(place.warehouse)
