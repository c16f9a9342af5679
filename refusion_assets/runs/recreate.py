"""Recreates a run from the raw files and the rules it knew, and compares its files with those sent."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from refusion_assets.assets.classified import classify_through
from refusion_assets.assets.faelles.konvertering import repeat_conversion
from refusion_assets.assets.faelles.udrulning import repeat_plan
from refusion_assets.assets.gate import AABEN, LUKKET, gate, settled
from refusion_assets.assets.opgoerelse import known_files, settle_month
from refusion_assets.assets.outgoing import show, write_files
from refusion_assets.assets.raw.files_read import note
from refusion_assets.assets.raw.let_pass import repeat_decisions
from refusion_assets.assets.raw.registers import ingest_registers, take_in_unjudged
from refusion_assets.assets.raw.reports import ingest
from refusion_assets.assets.refusion import calculate
from refusion_assets.domain.findings.outcome import MOST_NAMED
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import plural
from refusion_assets.files import delivered
from refusion_assets.files import outgoing as files
from refusion_assets.files.delivered import MANIFEST
from refusion_assets.place import Place, kept
from refusion_assets.progress import patient
from refusion_assets.store.tables import TABLES

READ_BEFORE = """SELECT max(r.modtaget_maaned) FROM raw.register r JOIN raw.laest l USING (sti)
    WHERE l.art = 'bopael' AND l.kendt_fra < $maaned"""
OF_THE_PLAN = ("faelles.udrulning", "raw.konverteret", "faelles.konvertering")


@dataclass(frozen=True)
class Then:
    """A past run: its rules, its raw files by hash, the stops let pass, the things noticed, and its filsum.

    `foer`: the folder of the newest residence snapshot that was read for a month before the first run.
    `plan`: the roll-out and the opening states as they are now, which say the same of a past run.
    """

    maaned: date
    regelversion: str
    filer: Mapping[str, str]
    accepteret: pl.DataFrame
    bemaerket: pl.DataFrame
    filsum: str
    koder: list[str]
    foer: date | None
    plan: Mapping[str, pl.DataFrame]


def recreate(place: Place, month: date, til: Path | None, say: Callable[[str], None]) -> Iterator[str]:
    """The files of run `month` made again in a folder of their own, and the lines of the comparison.

    Every run from the first one is made again in turn, each from its own raw files and rules. Their data root is thrown
    away afterwards. The warehouse and the outgoing files are only read. Stop if a raw file or the rules are gone or
    changed, or if a new file differs from the one sent.
    """
    runs = _runs(place, month)
    folder = til or place.root / "genskabt" / f"{month:%Y-%m}"
    if til and til.exists() and any(til.iterdir()):
        raise Stop(f"{til} er ikke tom; vælg en anden mappe med --til")
    _unchanged(place, runs)
    with tempfile.TemporaryDirectory(prefix=".genskab-", dir=place.root) as scratch:
        for run in runs:
            say(f"{run.maaned:%Y-%m}: genskabes under reglerne {run.regelversion[:12]} ...")
            made = _run(Place(Path(scratch), kept(place, run.regelversion), kept=True), place.raw, run, patient(say))
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made, folder)
    yield from _compared(place.outgoing / f"{month:%Y-%m}", folder, runs[-1])


def _runs(place: Place, month: date) -> list[Then]:
    """The runs from the first one to `month`; Stop if the warehouse lacks them."""
    if not place.warehouse.path.exists():
        raise Stop(f"der er ingen kørsel {month:%Y-%m} at genskabe")
    with place.warehouse.watching() as session:
        rows = session.frame("SELECT * FROM opgoerelse.koersel WHERE maaned <= $m ORDER BY maaned", m=month)
        if rows.is_empty() or rows["maaned"][-1] != month or rows["status"][-1] not in (AABEN, LUKKET):
            raise Stop(f"der er ingen færdig kørsel {month:%Y-%m} at genskabe")
        if not session.has("kontrol.bemaerket") or not known_files(session, rows["maaned"][0]):
            raise Stop(f"kørsel {rows['maaned'][0]:%Y-%m} er fra, før det blev gemt, hvad en kørsel kendte")
        accepted, noticed = (session.frame(f"SELECT * FROM kontrol.{table}") for table in ("accept", "bemaerket"))
        plan = {
            table: session.frame(f"FROM {table}") if session.has(table) else TABLES[table].empty()
            for table in OF_THE_PLAN
        }
        return [
            Then(
                maaned,
                version,
                known_files(session, maaned),
                accepted.filter(pl.col("maaned") == maaned),
                noticed.filter(pl.col("maaned") == maaned),
                filsum,
                settled(session, koersel),
                session.day(READ_BEFORE, maaned=maaned) if maaned == rows["maaned"][0] else None,
                plan,
            )
            for koersel, maaned, version, filsum in rows.select(
                "koersel", "maaned", "regelversion", "filsum"
            ).iter_rows()
        ]


def _unchanged(place: Place, runs: Sequence[Then]) -> None:
    """Stop if a raw file of one of the runs is gone or changed; the rules are proved when read."""
    wrong, seen = [], {}
    for run in runs:
        kept(place, run.regelversion)
        for sti, sha256 in run.filer.items():
            path = place.raw / sti
            if sti not in seen:
                seen[sti] = delivered.fingerprint(path) if path.exists() else None
            if seen[sti] != sha256:
                what = "er ændret" if seen[sti] else "mangler"
                wrong.append(f"{sti} {what}, siden kørsel {run.maaned:%Y-%m} læste den")
    if wrong:
        more = f" (og {len(wrong) - 1} mere)" if len(wrong) > 1 else ""
        raise Stop(f"kørslen kan ikke genskabes: raw/{wrong[0]}{more}; læg de oprindelige filer tilbage")


def _run(place: Place, raw: Path, run: Then, say: Callable[[str], None]) -> Path:
    """Make one run again in a data root with exactly its files and the stops it let pass; its outgoing folder."""
    shutil.rmtree(place.raw, ignore_errors=True)
    for sti in run.filer:
        _link(raw / sti, place.raw / sti)
        manifest = f"{Path(sti).with_suffix('')}{MANIFEST}"
        if (raw / manifest).exists():
            _link(raw / manifest, place.raw / manifest)
    month = run.maaned
    with place.warehouse.open() as session:
        repeat_decisions(session, run.accepteret)
        repeat_plan(session, run.plan["faelles.udrulning"])
        repeat_conversion(session, run.plan)
        gate(session, place, month)
        if run.foer:
            take_in_unjudged(session, place, run.foer, run.foer)
        ingest(session, place, month, say)
        ingest_registers(session, place, month)
        # Other files that were under raw/ are not made again.
        note(session, month, run.bemaerket)
        classify_through(session, place, month, say)
        calculate(session, place, month, say)
        settle_month(session, place, month, run.koder)
        outgoing = write_files(session, place, month)
    show(place, month, outgoing)
    return outgoing.folder


def _link(source: Path, target: Path) -> None:
    """Link a raw file into another data root."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(source, target)


def _compared(sent: Path, made: Path, run: Then) -> Iterator[str]:
    """The lines that report every file as the same as sent; Stop with the first that differs."""
    now = files.sums_of(made)
    odd = files.apart(now, files.sums_of(sent))
    named = ", ".join(odd[:MOST_NAMED])
    filsum = delivered.fingerprint(made / files.SUMS)
    if filsum != run.filsum:
        named = named or f"{files.SUMS} i kørslens register"
        raise Stop(
            f"kørsel {run.maaned:%Y-%m} er ikke genskabt: {plural(len(odd), 'fil er', 'filer er')} anderledes "
            f"({named}); se {made}"
        )
    count = plural(len(now), "fil", "filer")
    yield f"Kørsel {run.maaned:%Y-%m} er genskabt byte for byte: {count}, SHA256SUMS {filsum[:12]}."
    yield f"  Filer: {made}"
    if odd:
        raise Stop(
            f"{sent.parent.name}/{sent.name} er ikke længere, hvad kørslen sendte: "
            f"{plural(len(odd), 'fil', 'filer')} mangler eller er ændret ({named}); de rigtige ligger i {made}"
        )
