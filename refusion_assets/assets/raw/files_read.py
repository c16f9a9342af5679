"""Læst: the raw files that runs have read, their changes since, and the files that no run reads."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import polars as pl

from refusion_assets.assets.gate import last_closed
from refusion_assets.domain.contract import kinds_of
from refusion_assets.domain.raw import Laest
from refusion_assets.domain.stop import Fault
from refusion_assets.files.delivered import fingerprint, manifest_of
from refusion_assets.files.prints import Print, Read
from refusion_assets.files.unread import REGISTERS, unread
from refusion_assets.place import Place
from refusion_assets.store.session import Session, among

# By path under raw/: a file as a run read it, and the number of people in a residence snapshot.
ReadIn = dict[str, tuple[Read, int | None]]

INDBERETNING = "indberetning"
BEMAERKET = {"maaned": pl.Date, "regel": pl.String, "hvad": pl.String, "kilde": pl.String, "vaerdi": pl.String}


def look_around(session: Session, place: Place, month: date) -> None:
    """Store the odd files under raw/ in `kontrol.bemaerket` for run `month`, in place of an earlier attempt's.

    FIL-007: a file that no run reads. FIL-008: a file that changed after a closed run read it.
    Source: input.md section 4.
    """
    odd = unread(place.raw, place.rules)
    rows: list[tuple[date, str, str, str | None, str]] = [(month, "FIL-007", path, None, path) for path in odd]
    closed = last_closed(session, month)
    if closed:
        changed = altered(session, place, closed)
        rows += [(month, "FIL-008", f"{place.raw.name}/{sti}", sti.split("/")[0], said) for sti, said in changed]
    note(session, month, pl.DataFrame(rows, schema=BEMAERKET, orient="row"))


def note(session: Session, month: date, rows: pl.DataFrame) -> None:
    """Put the rows of run `month` in `kontrol.bemaerket`, in place of its earlier rows."""
    session.run("DELETE FROM kontrol.bemaerket WHERE maaned = $m", m=month)
    session.insert("kontrol.bemaerket", rows)


def count_as_judged(session: Session, version: str) -> None:
    """Mark every file as judged by this version of the rules for lines (`raw.fil.bedoemt_med`)."""
    session.run("UPDATE raw.fil SET bedoemt_med = $version", version=version)


def altered(session: Session, place: Place, through: date, *, thoroughly: bool = False) -> list[tuple[str, str]]:
    """Each file that changed after a run through month `through` read it: path under raw/, and the change in words.

    Unless `thoroughly`, a file with its old size and time counts as unchanged.
    """
    rows = session.frame("SELECT * FROM raw.laest WHERE kendt_fra <= $through ORDER BY sti", through=through)
    found, moved = [], []
    for row in rows.iter_rows(named=True):
        before, now = _as_read(row), prints(place, row["sti"])
        if not thoroughly and (before.fil, before.manifest) == now:
            continue
        said = before.differs(place.raw / row["sti"], thoroughly=thoroughly)
        if said:
            found.append((row["sti"], said))
        elif (before.fil, before.manifest) != now:
            moved.append(row["sti"])
    _remember_prints(session, place, moved)
    return found


def _remember_prints(session: Session, place: Place, paths: list[str]) -> None:
    """Store the new prints (`raw.laest`) of moved or copied but unchanged files, so that no later run reads them."""
    rows = [(sti, *(vars(known).values() if known else ())) for sti in paths for known in prints(place, sti)]
    both = [(*fil, *manifest[1:]) for fil, manifest in zip(rows[::2], rows[1::2], strict=True)]
    names = ("stoerrelse", "aendret_ns", "manifest_stoerrelse", "manifest_aendret_ns")
    schema = {"sti": pl.String, **dict.fromkeys(names, pl.Int64)}
    if both:
        with session.lending("trykte", pl.DataFrame(both, schema=schema, orient="row")):
            as_now = ", ".join(f"{name} = t.{name}" for name in names)
            session.run(f"UPDATE raw.laest SET {as_now} FROM trykte t WHERE raw.laest.sti = t.sti")


def _as_read(row: dict[str, Any]) -> Read:
    fil, manifest = (Print(row[f"{of}stoerrelse"], row[f"{of}aendret_ns"]) for of in ("", "manifest_"))
    return Read(fil, manifest, row["sha256"], row["manifest_sha256"])


def changes(session: Session, place: Place, month: date) -> list[Fault]:
    """FIL-008 per file that changed after a run through `month` read it."""
    return [changed_fault(found) for found in altered(session, place, month, thoroughly=True)]


def changed_fault(found: tuple[str, str]) -> Fault:
    """FIL-008 of a changed file, given its path under raw/ and the change in words."""
    sti, said = found
    name = sti.rpartition("/")[2]
    text = (
        f"filen {said}, siden en kørsel læste den; læg den oprindelige tilbage, eller kør "
        f'refusion genindlaes --accepter FIL-008:{name} --begrundelse "..."'
    )
    return Fault("FIL-008", name, text)


def read_of(place: Place, sti: str, sha256: str, before: tuple[Print | None, Print | None]) -> Read | None:
    """A file just read, with the prints from before the reading; None if it is gone."""
    fil, manifest = before
    if fil is None or manifest is None:
        return None
    return Read(fil, manifest, sha256, fingerprint(manifest_of(place.raw / sti)))


def prints(place: Place, sti: str) -> tuple[Print | None, Print | None]:
    """The prints of a file under raw/ and of its manifest; take them before reading it."""
    path = place.raw / sti
    return Print.of(path), Print.of(manifest_of(path))


def remember(session: Session, art: str, month: date, read: ReadIn, present: Iterable[str]) -> None:
    """Store the files of one kind that run `month` has read in `raw.laest` (`ReadIn`).

    Rows of files that a closed run read do not change. Of the other rows, those of files not `present` are deleted.
    """
    session.run(
        f"""DELETE FROM raw.laest WHERE art = $art AND ($closed IS NULL OR kendt_fra > $closed)
        AND (NOT {among("sti", "present")} OR {among("sti", "again")})""",
        art=art,
        closed=last_closed(session, month),
        present=list(present),
        again=list(read),
    )
    known = set(session.frame("SELECT sti FROM raw.laest WHERE art = $art", art=art)["sti"])
    fresh = {sti: found for sti, found in read.items() if sti not in known}
    _enter(session, fresh, dict.fromkeys(fresh, month))
    session.run("UPDATE raw.laest SET kendt_fra = $m WHERE art = $art AND kendt_fra > $m", m=month, art=art)


def read_again(session: Session, read: ReadIn, before: Iterable[str], coming: date) -> None:
    """Replace the rows of `raw.laest` of files read again, and delete those of the paths `before`.

    A file keeps the run that first read it; a new one gets the run month `coming`.
    """
    known = session.pairs("SELECT sti, kendt_fra FROM raw.laest")
    session.run(f"DELETE FROM raw.laest WHERE {among('sti', 'all')}", all=[*read, *before])
    _enter(session, read, {sti: known.get(sti, coming) for sti in read})


def _enter(session: Session, read: ReadIn, known_from: Mapping[str, date]) -> None:
    """Insert files in `raw.laest`; `known_from`: by path the run month that first read it."""
    rows = [
        {
            "sti": sti,
            "art": _art(sti),
            "kendt_fra": known_from[sti],
            "sha256": file.sha256,
            "manifest_sha256": file.manifest_sha256,
            "stoerrelse": file.fil.stoerrelse,
            "aendret_ns": file.fil.aendret_ns,
            "manifest_stoerrelse": file.manifest.stoerrelse,
            "manifest_aendret_ns": file.manifest.aendret_ns,
            "borgere": borgere,
        }
        for sti, (file, borgere) in read.items()
    ]
    schema = kinds_of(Laest)
    session.insert("raw.laest", pl.DataFrame(rows, schema=schema))


def _art(sti: str) -> str:
    source = sti.partition("/")[0]
    return source if source in REGISTERS else INDBERETNING
