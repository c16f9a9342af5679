"""Understands a citizen's access to own data: everything the published copy holds about one person, in a folder."""

import csv
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from refusion_assets.domain.contract import described
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import kroner_text, plural
from refusion_assets.look_up.explanation import look_up
from refusion_assets.look_up.inquiry import Inquiry
from refusion_assets.look_up.trace import LOG, log
from refusion_assets.place import Place
from refusion_assets.store.session import Session
from refusion_assets.store.tables import TABLES

# A reversal names no person, but the report that it takes back.
RAW = """SELECT * FROM raw.indberetning WHERE CPR = $cpr OR (CPR IS NULL AND ReferenceID IN (
    SELECT IndberetningsID FROM raw.indberetning WHERE CPR = $cpr)) ORDER BY fil_id, linje"""
BY_YEAR = """SELECT year(maaned) AS aar, ydelse_id, count(DISTINCT uge) AS uger, sum(refusion_oere)::BIGINT AS refusion,
    sum(medfinansiering_oere)::BIGINT AS medfinansiering
    FROM opgoerelse.postering WHERE borger_id = $borger GROUP BY ALL ORDER BY ALL"""
LAST = "SELECT max(maaned) FROM opgoerelse.koersel"
OVERVIEW, ALL, LOOKED_UP = "LAES-MIG.txt", "indsigt.json", "opslag"
TOLD = """Indsigt efter artikel 15 i forordning 2016/679: alt, hvad ydelsesrefusionen ved om een borger, som det stod
efter kørsel {month}. Hver tabel ligger som en CSV-fil; {all} har det samme i een fil. Beløb er i øre.
En løbende sag hos kommunen, og breve derfra, står ikke her.

"""


def last_month(place: Place) -> date:
    """The month of the last run of the published copy; Stop if there is none."""
    with place.warehouse.reading() as session:
        found = session.day(LAST)
    if found is None:
        raise Stop("der er ingen kørsel endnu; kør en måned først")
    return found


def give_access(place: Place, inquiry: Inquiry, til: Path) -> Iterator[str]:
    """The person's data in a new folder, which only the owner can read; lines of what is in it, without the number.

    A CSV file for each table with rows about the person, all of it as JSON, and an overview by year. The look-up is
    logged first. Stop if the person is unknown, or the folder is not empty.
    """
    if til.exists() and any(til.iterdir()):
        raise Stop(f"{til} er ikke tom; vælg en anden mappe med --til")
    if til.resolve().is_relative_to(place.root.resolve()):
        raise Stop(f"{til} ligger i dataroden; vælg en mappe uden for den")
    found = look_up(place, inquiry.cpr, inquiry.maaned)
    log(
        place.root / LOG,
        "indsigt",
        borger_id=found.borger_id,
        formaal=inquiry.formaal,
        fundet=found.borger_id is not None,
        viden_til=f"{inquiry.maaned:%Y-%m}",
    )
    if found.borger_id is None:
        raise Stop("personnummeret er ikke i lageret; ingen har indberettet noget om det, eller det er skrevet forkert")
    with place.warehouse.reading() as session:
        tables = dict(_tables(session, inquiry.cpr, found.borger_id))
        years = session.frame(BY_YEAR, borger=found.borger_id).rows(named=True)
    looked = _looked_up(place, found.borger_id)
    ready = til.with_name(f".{til.name}.klar")
    shutil.rmtree(ready, ignore_errors=True)
    ready.mkdir(parents=True, mode=0o700)
    try:
        _write(ready, tables, looked, _overview(inquiry.maaned, place, years, tables, len(looked)))
        if til.exists():
            til.rmdir()
        os.rename(ready, til)
    finally:
        shutil.rmtree(ready, ignore_errors=True)
    rows = sum(table.height for table in tables.values())
    yield f"Indsigt for borger {found.borger_id} i {til}: {plural(rows, 'række', 'rækker')} i {len(tables)} tabeller"
    yield f"  og {plural(len(looked), 'opslag', 'opslag')}. Begynd med {OVERVIEW}; slet mappen, når den er givet."


def _tables(session: Session, cpr: str, borger: int) -> Iterator[tuple[str, pl.DataFrame]]:
    """The rows about the person of each table that names persons, if there are any."""
    session.fill_in()
    for table, model in TABLES.items():
        columns = model.to_schema().columns
        if table == "raw.indberetning":
            rows = session.frame(RAW, cpr=cpr)
        elif "borger_id" in columns:
            rows = session.frame(f"SELECT * FROM {table} WHERE borger_id = $borger ORDER BY ALL", borger=borger)
        elif "cpr" in columns:
            rows = session.frame(f"SELECT * FROM {table} WHERE cpr = $cpr ORDER BY ALL", cpr=cpr)
        else:
            continue
        if rows.height:
            yield table, rows


def _looked_up(place: Place, borger: int) -> list[dict[str, Any]]:
    """The look-ups made about the person; a line that cannot be read is left out."""
    found = []
    for line in (place.root / LOG).read_text("utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("borger_id") == borger:
            found.append(entry)
    return found


def _overview(
    month: date, place: Place, years: list[dict[str, Any]], tables: Mapping[str, pl.DataFrame], looked: int
) -> str:
    """The overview: the settled amounts by year and benefit, then each file with the meaning of its columns."""
    names = {ydelse.ydelse_id: ydelse.navn for ydelse in place.rules.ydelser}
    lines = [TOLD.format(month=f"{month:%Y-%m}", all=ALL), "Afregnet mellem staten og kommunerne, efter ydelsesår:"]
    for row in years:
        money = f"refusion {kroner_text(row['refusion'])}, medfinansiering {kroner_text(row['medfinansiering'])}"
        named = names.get(row["ydelse_id"], row["ydelse_id"])
        lines.append(f"  {row['aar']} {named}: {plural(row['uger'], 'uge', 'uger')}, {money}")
    lines += ["", f"Opslag om borgeren: {looked} ({LOOKED_UP}.csv siger hvornår, af hvem og hvorfor)", ""]
    for table, rows in tables.items():
        lines.append(f"{table}.csv: {plural(rows.height, 'række', 'rækker')}")
        lines += [f"    {name}: {meaning}" for name, meaning in described(TABLES[table]).items()]
    return "\n".join(lines) + "\n"


def _write(folder: Path, tables: Mapping[str, pl.DataFrame], looked: list[dict[str, Any]], overview: str) -> None:
    """The files of an access request, each for its owner alone."""
    for table, rows in tables.items():
        rows.write_csv(folder / f"{table}.csv", separator=";")
    with (folder / f"{LOOKED_UP}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, sorted({name for entry in looked for name in entry}), delimiter=";")
        writer.writeheader()
        writer.writerows(looked)
    told = {table: rows.to_dicts() for table, rows in tables.items()} | {LOOKED_UP: looked}
    (folder / ALL).write_text(json.dumps(told, ensure_ascii=False, indent=1, default=str), "utf-8")
    (folder / OVERVIEW).write_text(overview, "utf-8")
    for path in folder.iterdir():
        path.chmod(0o600)
