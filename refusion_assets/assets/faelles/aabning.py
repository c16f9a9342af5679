"""Aabning: what a municipality that joins begins with: the state known before its first month, and the old system's."""

from collections.abc import Iterator, Sequence
from datetime import date

import polars as pl

from refusion_assets.assets.classified import LINE, files_through, numbered_persons
from refusion_assets.assets.faelles.udrulning import state_of
from refusion_assets.assets.refusion import WANTED, choose_stays
from refusion_assets.assets.touched import People, changed_people, newest_bases, newest_snapshot
from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.classified import classify
from refusion_assets.domain.faelles import konvertering as law
from refusion_assets.domain.opgoerelse.ledger import STATE, run_number
from refusion_assets.domain.refusion.shard import Book, rows_of_shard
from refusion_assets.domain.stop import Stop
from refusion_assets.place import Place
from refusion_assets.store.batches import ranges
from refusion_assets.store.session import Relation, Session, among

OF_ONE = "kommunekode = $kode"
LINES_PER_BLOCK = 500_000
ROWS_PER_BLOCK = 1_000_000
# Those whose rows may lie in some municipalities: what these have reported on, and those who have lived in them.
NEAR = f"""SELECT borger_id FROM classified.linje WHERE {among("kommunekode_betaler", "koder")}
    UNION SELECT borger_id FROM raw.bopael JOIN identitet.borger USING (cpr) WHERE {among("kommunekode", "koder")}"""


def joined(session: Session, koder: Sequence[str]) -> list[str]:
    """Those of some municipalities that join: all under a plan, else those with converted files.

    The others begin with the data root, whose first run takes earlier months as settled. Source: output.md section 2.
    """
    if state_of(session).height:
        return list(koder)
    return [kode for (kode,) in session.frame("SELECT kommunekode FROM faelles.konvertering").rows() if kode in koder]


def touched_since(session: Session, month: date, koder: Sequence[str]) -> Relation:
    """The people whose rows of earlier months in some municipalities run `month` may have changed: borger_id, fra_uge.

    The month may have brought late reports, reversals, other homes, and days of weeks that it shares.
    """
    query = f"FROM {changed_people(month)} WHERE fra_uge < $month AND borger_id IN ({NEAR}) ORDER BY borger_id"
    return session.temp("touched_since", query, month=month, koder=list(koder))


def known_before(
    session: Session, place: Place, month: date, koder: Sequence[str], people: Relation
) -> Iterator[pl.DataFrame]:
    """The rows (`STATE`) of some people from their weeks on as known before run `month`, some people at a time. Øre.

    Works out claims, weeks and money anew from what had been received then, under the rules of now. Where no residences
    had been received, those of the run are used: a benefit that goes to the home has no rows without one. A move that
    they tell of, in weeks before the converted files, is then in the opening, and brings no correction.
    """
    last = next_month(month, -1)
    book = Book(place.rules, last)
    chosen = People(people, newest_snapshot(session, last) or newest_snapshot(session, month))
    stays, bases = choose_stays(session, chosen), newest_bases(session, chosen, people, last)
    lines = _lines(session, last, people)
    each = session.frame(f"SELECT borger_id, count(*) AS antal FROM {lines} SEMI JOIN {people} USING (borger_id) "
                         "GROUP BY 1 ORDER BY 1")  # fmt: skip
    for low, high in list(ranges(each["borger_id"], each["antal"], LINES_PER_BLOCK)):
        mine = f"WHERE borger_id BETWEEN {low} AND {high}"
        krav = classify(session.frame(_sharing(lines, mine))).krav
        wanted = krav.join(session.frame(f"FROM {people} {mine}"), on="borger_id").select(WANTED.split(", "))
        made = rows_of_shard(
            book, None, wanted.sort("borger_id"), *(session.frame(f"FROM {rows} {mine}") for rows in (stays, bases))
        )
        fleks = made["refusion.fleksbidrag"].filter(pl.col("refusion_oere") != 0)
        rows = pl.concat([made["refusion.borger_uge_ydelse"], fleks], how="diagonal").select(STATE)
        zero = ("indberettet_oere", "beloeb_oere", "medfinansiering_oere", "procent")
        yield rows.with_columns(pl.col(zero).fill_null(0)).filter(pl.col("kommunekode").is_in(koder))


def _lines(session: Session, last: date, people: Relation) -> Relation:
    """The lines received through a month that are about some people, or share an id with one of these: `LINE`."""
    files = files_through(session, last)
    own = f"FROM classified.linje SEMI JOIN {people} USING (borger_id)"
    ids = session.temp("ids_then", f"SELECT indberetning_id AS id {own} UNION SELECT reference_id {own}")
    return session.temp(
        "lines_then",
        f"""SELECT {", ".join(LINE)}, fil_orden FROM classified.linje JOIN {files} USING (fil_id)
        WHERE borger_id IN (SELECT borger_id FROM {people})
        OR indberetning_id IN (FROM {ids} WHERE id IS NOT NULL) OR reference_id IN (FROM {ids} WHERE id IS NOT NULL)""",
    )


def _sharing(lines: Relation, mine: str) -> str:
    """SQL for the lines of a condition, and all that share an id with one of them."""
    ids = f"""(SELECT unnest([indberetning_id, reference_id]) AS id FROM {lines} {mine}) WHERE id IS NOT NULL"""
    return f"""WITH ids AS (SELECT DISTINCT id FROM {ids}), egne AS (SELECT fil_id, linje FROM {lines} {mine}
            UNION SELECT fil_id, linje FROM {lines} WHERE indberetning_id IN (FROM ids)
            UNION SELECT fil_id, linje FROM {lines} WHERE reference_id IN (FROM ids))
        FROM {lines} SEMI JOIN egne USING (fil_id, linje)"""


def opening_of(session: Session, place: Place, kode: str, month: date) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """The rows of the months before run `month` that the old system has settled otherwise than we (`law.opening`).

    None without converted files. Stop if they do not end with the month before.
    """
    about = session.frame("SELECT fra, til FROM faelles.konvertering WHERE kommunekode = $kode", kode=kode).rows()
    if not about:
        return None
    [(fra, til)] = about
    if next_month(til) != month:
        raise Stop(
            f"{kode} begynder i {month:%Y-%m}, men det gamle systems filer er læst til og med {til:%Y-%m} (kørsel "
            f"{run_number(til, place.rules)}); læs dem til og med måneden før med refusion konverter {kode}"
        )
    people = session.frame("SELECT DISTINCT cpr FROM raw.konverteret WHERE kommunekode = $kode", kode=kode)
    numbered_persons(session, place, people["cpr"])
    old = session.temp("converted", f"FROM raw.konverteret JOIN identitet.borger USING (cpr) WHERE {OF_ONE}", kode=kode)
    own = session.temp(
        "opened", f"SELECT {', '.join(STATE)} FROM opgoerelse.postering WHERE koersel = 0 AND {OF_ONE}", kode=kode
    )
    each = session.frame(
        f"""SELECT borger_id, count(*) AS antal FROM (SELECT borger_id FROM {old} UNION ALL SELECT borger_id FROM {own})
        GROUP BY 1 ORDER BY 1"""
    )
    blocks = list(ranges(each["borger_id"], each["antal"], ROWS_PER_BLOCK)) or [(0, 0)]
    found = [
        law.opening(
            session.frame(f"FROM {own} WHERE borger_id BETWEEN {low} AND {high}"),
            session.frame(f"FROM {old} WHERE borger_id BETWEEN {low} AND {high}"),
            fra,
        )
        for low, high in blocks
    ]
    ours, theirs = zip(*found, strict=True)
    return pl.concat(ours), pl.concat(theirs)
