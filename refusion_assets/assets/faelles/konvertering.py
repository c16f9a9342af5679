"""Konvertering: the old system's files read as the opening state of a municipality, proved, and a sample compared."""

import csv
import io
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from refusion_assets.assets.checks.sample import bases_of, homes_of, lines_of
from refusion_assets.assets.faelles.udrulning import state_of, step
from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.contract import kinds_of
from refusion_assets.domain.efterregning.money import state as calculated_again
from refusion_assets.domain.faelles import konvertering as law
from refusion_assets.domain.faelles.udrulning import KONVERTERET, SETTLING
from refusion_assets.domain.opgoerelse.ledger import MONEY
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import kroner, kroner_text, plural
from refusion_assets.files.delivered import fingerprint
from refusion_assets.files.outgoing import BEREGNING, write_table
from refusion_assets.place import Place
from refusion_assets.store.batches import sql_list
from refusion_assets.store.session import Session
from refusion_assets.store.tables import TABLES

NAME = re.compile(r"yr-ydelsesrefusion-beregning-(\d{3})-(\d{4})-\d{4}-\d{2}-\d{2}\.csv")
TABLES_OF_ONE = (
    "raw.konverteret",
    "faelles.konverteringsfil",
    "faelles.konvertering",
    "faelles.ubehandlet",
    "raw.stikproeve",
)
SEED = 1
PEOPLE = 20
# A file asked again, by DuckDB line by line: rows and the sums of three columns (øre), without our own reading of it.
ASKED = """SELECT count(*) AS raekker, {sums} FROM (SELECT string_split(rtrim(line, chr(13)), ';') AS celler
    FROM (SELECT unnest(string_split(content, chr(10))[2:]) AS line FROM read_text('{path}'))
    WHERE trim(line, chr(13)) <> '')"""
CELL = """trim(celler[{place}], ' "')"""
OERE = """coalesce(sum(CASE WHEN regexp_full_match({cell}, '-?[0-9]{{1,12}}(,[0-9]{{1,2}})?')
    THEN replace({cell}, ',', '.')::DECIMAL(18, 2) * 100 END), 0)::BIGINT AS {name}"""
COLUMNS = BEREGNING[: len(law.TEXTS)]
PROVED = dict(zip(law.AMOUNTS, (BEREGNING[5], BEREGNING[7], BEREGNING[9]), strict=True))


@dataclass(frozen=True)
class OldFile:
    """A calculation file of the old system: its run number and the month of it."""

    path: Path
    nr: int
    month: date


def old_files(folder: Path, kode: str, place: Place) -> list[OldFile]:
    """The calculation files of a municipality in a folder or below it, in order; Stop without any, or with a gap."""
    if not folder.is_dir():
        raise Stop(f"{folder} er ingen mappe; skriv mappen med det gamle systems filer")
    found: dict[int, Path] = {}
    for path in sorted(folder.rglob(f"yr-ydelsesrefusion-beregning-{kode}-*.csv")):
        named = NAME.fullmatch(path.name)
        if named is None or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if (nr := int(named[2])) in found:
            raise Stop(f"{folder} har to filer med nummer {nr:04d} for {kode}; behold den ene")
        found[nr] = path
    if not found:
        raise Stop(f"{folder} har ingen filer yr-ydelsesrefusion-beregning-{kode}-NNNN-ÅÅÅÅ-MM-DD.csv")
    if gaps := sorted(set(range(min(found), max(found) + 1)) - found.keys()):
        numbers = ", ".join(f"{nr:04d}" for nr in gaps)
        raise Stop(f"{folder} mangler filerne {numbers} for {kode}; tilstanden er summen af alle filer i rækkefølge")
    first = place.rules.koersel.gaelder_fra
    return [OldFile(found[nr], nr, next_month(first, nr - 1)) for nr in sorted(found)]


def _lines(file: OldFile) -> pl.DataFrame:
    """The rows of a file as text (`TEXTS`) with fil, nr, linje and hel; Stop with file and line if unreadable."""
    name, again, rows, numbers = file.path.name, "hent filen igen", list[list[str]](), [1]
    try:
        text = file.path.read_bytes().decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=";", strict=True)
        header = next(reader, [])
        for row in filter(None, reader):
            rows.append(row)
            numbers.append(reader.line_num)
    except UnicodeDecodeError:
        raise Stop(f"{name} er ikke skrevet i UTF-8; {again}") from None
    except csv.Error:
        where = f"{name}, linje {numbers[-1] + 1}"
        raise Stop(f"{where}: et citationstegn står forkert eller lukkes ikke; {again}") from None
    if missing := [column for column in COLUMNS if column not in header]:
        raise Stop(f"{name} har ikke kolonnen {', '.join(missing)}; er det en beregningsfil med semikolon imellem?")
    if not text.endswith(("\n", "\r")):
        raise Stop(
            f"{name}, linje {numbers[-1]} ender uden linjeskift, så filen kan være kortet af; {again}, eller sæt et "
            "linjeskift, hvis den er hel"
        )
    places = dict(zip(law.TEXTS, map(header.index, COLUMNS), strict=True))
    cells: dict[str, list[Any]] = {
        word: [row[place] if place < len(row) else "" for row in rows] for word, place in places.items()
    }
    cells |= {"linje": numbers[1:], "hel": [len(row) == len(header) for row in rows]}
    schema = dict.fromkeys(law.TEXTS, pl.String()) | {"linje": pl.Int64(), "hel": pl.Boolean()}
    return pl.DataFrame(cells, schema=schema).with_columns(fil=pl.lit(name), nr=pl.lit(file.nr))


def convert(
    session: Session, place: Place, kode: str, folder: Path, people: int = PEOPLE, seed: int = SEED
) -> Iterator[str]:
    """Read all files of a municipality as its opening state, and draw its sample; lines of what was read.

    Replaces what was read of it before. Every row is used or listed, and counts, sums and keys are proved against the
    files. Stop if the municipality is in operation, or if the proof fails.
    """
    mine = state_of(session).filter(pl.col("kommunekode") == kode)
    if mine.height and mine["tilstand"].is_in(SETTLING).all():
        raise Stop(f"{kode} er i drift, og dens begyndelse ændres ikke")
    if session.integer("SELECT count(*) FROM opgoerelse.kommune WHERE kommunekode = $kode", kode=kode):
        raise Stop(f"{kode} er allerede opgjort her; det gamle systems filer kan kun læses før den første kørsel")
    files = old_files(folder, kode, place)
    navn, names = place.rules.kommunenavne[kode], law.names_of(place.rules)
    rows = pl.concat([law.read(_lines(file), navn, names) for file in files])
    state = law.state(rows, kode)
    for table in TABLES_OF_ONE:
        session.run(f"DELETE FROM {table} WHERE kommunekode = $kode", kode=kode)
    session.insert("raw.konverteret", state)
    unused = rows.filter(pl.col("aarsag").is_not_null()).select("fil", "linje", "aarsag")
    unused = unused.with_columns(kommunekode=pl.lit(kode))
    session.insert("faelles.ubehandlet", unused.select(list(TABLES["faelles.ubehandlet"].to_schema().columns)))
    read = _files_read(files, rows, kode)
    session.insert("faelles.konverteringsfil", read)
    _prove(session, files, rows, kode)
    if files[0].nr > 1:
        first = f"{files[0].nr:04d} ({files[0].month:%Y-%m})"
        yield f"Den første fil er {first}; har kommunen ældre filer, så læg dem i mappen, og giv kommandoen igen"
    yield from _told(read, rows)
    yield f"{kode}: {plural(state.height, 'nøgle', 'nøgler')} (uge, borger, ydelse); tal, summer og nøgler er filernes"
    yield from _sampled(session, place, kode, files, state, people, seed)
    folder_of(place, kode).mkdir(parents=True, exist_ok=True)
    write_table(folder_of(place, kode) / "ubehandlet.csv", unused.drop("kommunekode").sort("fil", "linje"))
    counts = dict(unused.group_by("aarsag").len().sort("aarsag").iter_rows())
    yield from (f"  Ikke brugt, {aarsag}: {plural(antal, 'række', 'rækker')}" for aarsag, antal in counts.items())
    for row in mine.filter(~pl.col("tilstand").is_in(SETTLING)).iter_rows(named=True):
        step(session, kode, row["kilde"], KONVERTERET, "")
    yield f"Lister: {folder_of(place, kode)}"


def _told(read: pl.DataFrame, rows: pl.DataFrame) -> Iterator[str]:
    """A line for each file: its rows, and the money of those used; one more for those not used, or where none is."""
    unused = pl.col("aarsag").is_not_null()
    for file in read.iter_rows(named=True):
        mine = rows.filter(pl.col("fil") == file["fil"])
        yield f"{file['maaned']:%Y-%m}: {plural(file['raekker'], 'række', 'rækker')}; {_money(mine.filter(~unused))}"
        left = mine.filter(unused)
        blank = left.filter(pl.any_horizontal(pl.col(name).is_null() for name in law.AMOUNTS)).height
        if left.height:
            yield (
                f"  Heraf ikke brugt: {plural(left.height, 'række', 'rækker')}; {_money(left)}"
                f"{f'; {blank} uden et beløb, der kan læses' if blank else ''}"
            )
        if not mine.height:
            yield f"  {file['fil']} har ingen rækker; hent den igen, hvis kommunen havde refusion den måned"


def _money(rows: pl.DataFrame) -> str:
    refusion, paid = (kroner_text(int(rows[name].sum())) for name in ("refusion_oere", "medfinansiering_oere"))
    return f"{refusion} i refusion, {paid} i medfinansiering"


def folder_of(place: Place, kode: str) -> Path:
    """The folder of the lists that the case workers of a municipality read."""
    return place.root / "udrulning" / kode


def _files_read(files: Sequence[OldFile], rows: pl.DataFrame, kode: str) -> pl.DataFrame:
    """One row per file (`Konverteringsfil`). Øre; unreadable amounts are none."""
    sums = rows.group_by("fil").agg(
        raekker=pl.len().cast(pl.Int64),
        ubehandlede=pl.col("aarsag").is_not_null().sum().cast(pl.Int64),
        **{name: pl.col(name).sum() for name in law.AMOUNTS},
    )
    about = [(kode, file.path.name, fingerprint(file.path), file.month) for file in files]
    named = pl.DataFrame(about, schema=["kommunekode", "fil", "sha256", "maaned"], orient="row")
    return named.join(sums, on="fil", how="left", maintain_order="left").with_columns(
        pl.col("raekker", "ubehandlede", *law.AMOUNTS).fill_null(0)
    )


def _prove(session: Session, files: Sequence[OldFile], rows: pl.DataFrame, kode: str) -> None:
    """Stop if rows, sums or keys of the files, asked anew by DuckDB, are not those stored and listed."""
    asked = [0] * (1 + len(law.AMOUNTS))
    for file in files:
        with file.path.open(encoding="utf-8-sig", newline="") as text:
            header = next(csv.reader(text, delimiter=";"))
        cells = {name: CELL.format(place=1 + header.index(column)) for name, column in PROVED.items()}
        sums = ", ".join(OERE.format(cell=cell, name=name) for name, cell in cells.items())
        path = str(file.path).replace("'", "''")
        [found] = session.frame(ASKED.format(sums=sums, path=path)).rows()
        asked = [a + b for a, b in zip(asked, found, strict=True)]
    names = ", ".join(f"coalesce(sum({name}), 0)::BIGINT" for name in law.AMOUNTS)
    [stored] = session.frame(f"SELECT {names} FROM raw.konverteret WHERE kommunekode = $kode", kode=kode).rows()
    listed = session.integer("SELECT count(*) FROM faelles.ubehandlet WHERE kommunekode = $kode", kode=kode)
    left = rows.filter(pl.col("aarsag").is_not_null())
    used = rows.filter(pl.col("aarsag").is_null())
    whole = tuple(a + int(left[name].sum()) for name, a in zip(law.AMOUNTS, stored, strict=True))
    keys = session.integer("SELECT count(*) FROM raw.konverteret WHERE kommunekode = $kode", kode=kode)
    sums_to_nothing = used.group_by(law.WEEK).agg(pl.col(name).sum() for name in law.AMOUNTS).filter(
        pl.all_horizontal(pl.col(name) == 0 for name in law.AMOUNTS)
    )  # fmt: skip
    proof = {
        "rækker": (asked[0], used.height + listed),
        "summer": (tuple(asked[1:]), whole),
        "nøgler": (used.select(law.WEEK).n_unique(), keys + sums_to_nothing.height),
    }
    if wrong := [name for name, (theirs, ours) in proof.items() if theirs != ours]:
        raise Stop(f"det, der er læst for {kode}, er ikke filernes {' og '.join(wrong)}; intet er ændret, meld fejlen")


def _sampled(
    session: Session, place: Place, kode: str, files: Sequence[OldFile], state: pl.DataFrame, people: int, seed: int
) -> Iterator[str]:
    """Draw people of the state, calculate them by the second calculation and store each difference; lines of it."""
    fra, til = files[0].month, files[-1].month
    old = state.filter(pl.col("uge") >= law.first_week(fra)).drop("kommunekode")
    known = session.day("SELECT max(maaned) FROM refusion.beregnet")
    ready = known is not None and known >= til
    drawn: list[str] = []
    if ready:
        every = old["cpr"].unique().sort().to_list()
        drawn = random.Random(f"{seed}-{kode}").sample(every, min(people, len(every)))  # noqa: S311
    old = old.filter(pl.col("cpr").is_in(drawn))
    new = _calculated(session, place, kode, drawn, (fra, til)) if drawn else old.clear()
    found = law.differences(old, new, kode)
    session.insert("raw.stikproeve", found)
    compared = pl.concat([old.select(law.WEEK), new.select(law.WEEK)]).n_unique()
    row = (kode, fra, til, state.height, seed, ready, len(drawn), compared, found.height)
    schema = kinds_of(TABLES["faelles.konvertering"])
    session.insert("faelles.konvertering", pl.DataFrame([row], schema=schema, orient="row"))
    if not ready:
        yield f"Ingen stikprøve: {til:%Y-%m} er ikke beregnet her endnu; kør den, og giv kommandoen igen"
        return
    folder_of(place, kode).mkdir(parents=True, exist_ok=True)
    money = [name for name in found.columns if name.endswith("_oere")]
    shown = found.drop("kommunekode").with_columns(kroner(pl.col(name)).alias(name) for name in money)
    write_table(folder_of(place, kode) / "stikproeve.csv", shown.rename(lambda name: name.removesuffix("_oere")))
    about = plural(len(drawn), "borger", "borgere"), plural(compared, "nøgle", "nøgler")
    yield f"Stikprøve (frø {seed}): {' og '.join(about)}, {plural(found.height, 'forskel', 'forskelle')}"
    for aarsag, antal in found.group_by("aarsag").len().sort("aarsag").iter_rows():
        yield f"  {aarsag}: {plural(antal, 'nøgle', 'nøgler')}"


def _calculated(
    session: Session, place: Place, kode: str, drawn: Sequence[str], months: tuple[date, date]
) -> pl.DataFrame:
    """The state of some people by the second calculation, as files of these months hold it whole (`law.weekly`)."""
    fra, til = months
    with session.lending("stikproeve", pl.DataFrame({"cpr": drawn})):
        numbers = session.frame("SELECT borger_id FROM identitet.borger SEMI JOIN stikproeve USING (cpr)")["borger_id"]
        bases = bases_of(session, til)
        files = list(lines_of(session, til, sql_list(numbers))) if numbers.len() else []
        homes = homes_of(session)
    again = calculated_again(
        files, homes, f"{til:%Y-%m}", place.rules, set(drawn), fleksbidrag=True, fleksgrundlag=bases
    )
    rows = [
        (uge, f"{maaned}-01", cpr, ydelse_id, r.indberettet, r.beloeb, r.refusion, r.medfinansiering, r.procent)
        for (uge, maaned, cpr, ydelse_id, kommune), r in again.items()
        if kommune == kode and uge >= law.first_week(fra)
    ]
    texts = dict.fromkeys(("maaned", "cpr", "ydelse_id"), pl.String)
    schema = {"uge": pl.Date, **texts, **dict.fromkeys((*MONEY, "procent"), pl.Int64)}
    return law.weekly(pl.DataFrame(rows, schema=schema, orient="row"))


def repeat_conversion(session: Session, tables: Mapping[str, pl.DataFrame]) -> None:
    """Put the opening states of another data root in this one, so that its runs can be made again."""
    for table in ("raw.konverteret", "faelles.konvertering"):
        session.replace(table, tables[table])
