"""Stikproeve: a random sample of people calculated a second time, slowly and plainly, and compared row by row."""

import random
from collections.abc import Iterator
from datetime import date
from itertools import groupby
from operator import attrgetter, itemgetter

import polars as pl

from refusion_assets.assets.gate import Asked
from refusion_assets.assets.touched import STATES, latest_people, settled_before
from refusion_assets.domain.efterregning.money import state
from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.domain.findings.outcome import Outcome, judged
from refusion_assets.domain.raw import AMOUNT, COLUMNS, DAY, MOMENT, NAMES, TEXT
from refusion_assets.domain.wording import kroner, plural
from refusion_assets.store.batches import sql_list
from refusion_assets.store.session import Session

UNREADABLE = "?"
NEIGHBOURS = 20
Key = tuple[date, str, int, str, str]
STATE = (
    "indberettet_oere", "beloeb_oere", "procent", "refusion_oere", "medfinansiering_oere",
    "ydelsestaeller", "genoptjeningstaeller", "trin",
)  # fmt: skip


# The same of a result of the second calculation.
VALUES = attrgetter(
    "indberettet", "beloeb", "procent", "refusion", "medfinansiering", "n", "genoptjening", "trin"
)  # fmt: skip


def efterregning_enig(asked: Asked) -> Outcome:
    """The second calculation agrees on every row of a random sample of the month's people.

    The people are drawn anew every month, the same ones for the same month. Amounts, percentages, counters
    and steps are compared. Shares no code with the kernel but the rules.
    """
    session, place, month = asked.session, asked.place, asked.month
    sample = _draw(session, month, place.rules.graense("stikproeve_borgere"))
    if not sample:
        return Outcome(True, "Der er ingen borgere at efterregne.")
    chosen = pl.DataFrame({"borger_id": list(sample.values()), "cpr": list(sample)})
    with session.lending("stikproeve", chosen):
        numbers = sql_list(chosen["borger_id"])
        files, homes, kernel = list(lines_of(session, month, numbers)), homes_of(session), _rows(session, numbers)
        bases = bases_of(session, month)
    people = set(sample)
    again = state(files, homes, f"{month:%Y-%m}", place.rules, people, fleksbidrag=True, fleksgrundlag=bases)
    plain = {
        (uge, maaned, sample[cpr], ydelse_id, kommunekode): VALUES(result)
        for (uge, maaned, cpr, ydelse_id, kommunekode), result in again.items()
    }
    differing = sorted(key for key in kernel.keys() | plain.keys() if kernel.get(key) != plain.get(key))
    odd = pl.Series([key[2] for key in differing], dtype=pl.Int64)
    return judged(
        len(differing),
        f"Efterregningen af {plural(len(sample), 'borger', 'borgere')} er enig i alle rækker ({len(kernel)}).",
        f"Efterregningen er uenig i {plural(len(differing), 'række', 'rækker')} hos "
        f"{plural(odd.n_unique(), 'borger', 'borgere')}.",
        "Luk ikke måneden; sammenlign de nævnte borgere uge for uge, og meld fejlen til systemets ejere.",
        tal={"borgere": len(sample), "raekker": len(kernel)},
        people=odd,
    )


def _draw(session: Session, month: date, size: int) -> dict[str, int]:
    """CPR number -> surrogate of the people drawn for a month: random places in the numbering, and those next to each.

    In a month calculated again after settlement, people are drawn among those calculated since: this check has been
    run on the others. Neighbours by number were first seen together and have nothing else in common. So their lines
    are stored together, and found without reading all the others.
    """
    among = f"SEMI JOIN {latest_people(month)} USING (borger_id)" if settled_before(session, month) else ""
    people = session.frame(f"SELECT cpr, borger_id FROM identitet.borger {among} ORDER BY borger_id")
    places = range(0, people.height, NEIGHBOURS)
    drawn = random.Random(f"{month:%Y-%m}").sample(places, min(-(-size // NEIGHBOURS), len(places)))  # noqa: S311
    return {cpr: number for place in sorted(drawn) for cpr, number in people[place : place + NEIGHBOURS].iter_rows()}


def lines_of(session: Session, month: date, people: str) -> Iterator[Fil]:
    """Every line that can touch some people (SQL list), as text again, by file: theirs, and all with the same ids."""
    line = "SELECT fil_id, linje, indberetning_id, reference_id FROM classified.linje"
    own = session.temp("sample_lines", f"{line} WHERE borger_id IN ({people})")
    ids = session.temp("sample_ids", f"SELECT indberetning_id AS id FROM {own} UNION SELECT reference_id FROM {own}")
    with_id = f"SELECT fil_id, linje FROM classified.linje SEMI JOIN {ids} ON id ="
    every = session.temp(
        "sample_and_sharing",
        f"""SELECT fil_id, linje FROM {own}
        UNION {with_id} indberetning_id UNION {with_id} reference_id""",
    )
    files, numbers = (sql_list(session.frame(f"SELECT DISTINCT {n} FROM {every}")[n]) for n in ("fil_id", "linje"))
    columns = ", ".join(f"i.{name}" for name in NAMES)
    rows = session.frame(
        f"""SELECT f.filnavn, f.kilde, f.enhed, strftime(f.modtaget_maaned, '%Y-%m') AS maaned, f.sha256,
            strftime(f.foerste_modtaget, '%Y-%m-%dT%H:%M:%S') AS foerste, i.linje,
            i.ulaeselig, {columns}
        FROM (SELECT * FROM raw.indberetning SEMI JOIN {every} USING (fil_id, linje)
            WHERE fil_id IN ({files}) AND linje IN ({numbers})) i
        JOIN raw.fil f USING (fil_id)
        WHERE NOT f.dublet AND f.modtaget_maaned <= $month
        ORDER BY f.modtaget_maaned, f.foerste_modtaget NULLS FIRST, f.filnavn, i.linje""",
        month=month,
    )
    identity = itemgetter("filnavn", "kilde", "enhed", "maaned", "sha256", "foerste")
    for about, lines in groupby(_as_text(rows).iter_rows(named=True), key=identity):
        filnavn, kilde, enhed, maaned, sha256, foerste = about
        text = [{name: line[name] or "" for name in NAMES} for line in lines]
        yield Fil(filnavn, kilde, enhed, maaned, sha256, text, foerste)


def _as_text(rows: pl.DataFrame) -> pl.DataFrame:
    """Typed lines written as they came: decimal comma, ISO dates, empty for null, `?` for the unreadable."""
    written = []
    for place, (name, kind, _) in enumerate(COLUMNS):
        column = pl.col(name)
        if kind == AMOUNT:
            text = kroner(column)
        elif kind == MOMENT:
            text = column.dt.strftime("%Y-%m-%dT%H:%M:%S")
        elif kind == DAY:
            text = column.dt.strftime("%Y-%m-%d")
        else:
            text = column.cast(pl.String)
        broken = (pl.col("ulaeselig") // (1 << place)) % 2 == 1
        # A text that cannot be read is stored as it came.
        written.append(
            text.alias(name) if kind == TEXT else pl.when(broken).then(pl.lit(UNREADABLE)).otherwise(text).alias(name)
        )
    return rows.with_columns(written)


def homes_of(session: Session) -> list[dict[str, str]]:
    """The sample's stays in the snapshot that the calculation used, as rows of the register."""
    rows = session.frame("""SELECT r.cpr AS "CPR", r.kommunekode AS "Kommunekode",
        strftime(r.bopael_start, '%Y-%m-%d') AS "Bopael_start",
        coalesce(strftime(r.bopael_slut, '%Y-%m-%d'), '') AS "Bopael_slut"
        FROM raw.bopael r SEMI JOIN stikproeve USING (cpr)
        WHERE r.modtaget_maaned = (SELECT bopael_maaned FROM refusion.beregnet)""")
    return rows.to_dicts()


def bases_of(session: Session, month: date) -> list[dict[str, str]]:
    """The sample's bases for fleksbidrag of all snapshots the run knows, oldest first, as rows of the register."""
    rows = session.frame(
        """SELECT cpr AS "CPR", strftime(maaned, '%Y-%m') AS "Maaned", beregningsgrundlag_oere AS "Beregningsgrundlag",
        loen_oere AS "Loen" FROM raw.fleksgrundlag SEMI JOIN stikproeve USING (cpr)
        WHERE modtaget_maaned <= $month ORDER BY modtaget_maaned, raekke""",
        month=month,
    )
    return rows.with_columns(kroner(pl.col(name)).alias(name) for name in ("Beregningsgrundlag", "Loen")).to_dicts()


def _rows(session: Session, people: str) -> dict[Key, tuple[object, ...]]:
    parts = [
        session.frame(f"""
        SELECT uge, strftime(maaned, '%Y-%m') AS maaned, borger_id, ydelse_id, kommunekode, {", ".join(STATE)}
        FROM {table} WHERE borger_id IN ({people})""")
        for table in STATES
    ]
    return {(row[0], row[1], row[2], row[3], row[4]): row[5:] for row in pl.concat(parts).iter_rows()}
