"""Touched: the people whose result a run can change, and the first week that can differ for each of them."""

from dataclasses import dataclass, replace
from datetime import date
from typing import TypeVar

import polars as pl

from refusion_assets.assets.stale import PEOPLE, Stale, remember_basis, stale
from refusion_assets.domain.calendar import last_day, monday, next_month
from refusion_assets.domain.opgoerelse.ledger import BASIS
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.stop import Stop
from refusion_assets.place import Place
from refusion_assets.store.batches import sql_list
from refusion_assets.store.session import Relation, Session, among
from refusion_assets.store.tables import OWNERS, types_of

T = TypeVar("T")
FEW = 0.1
MOST_LISTED = 20_000
RESTED_ON = tuple(table for table in OWNERS["assets.refusion"] if "maaned" in types_of(table))
# The people whose claims have changed or have days that have come due since the last calculation; the first such day.
NEW = """
SELECT borger_id, fra_dag AS dag FROM classified.aendret
UNION ALL SELECT borger_id, $due FROM classified.krav
WHERE $due < $through AND periode_slut >= $due AND periode_start <= $through"""


def moved(before: Relation, now: Relation) -> Relation:
    """The people whose stays differ between two snapshots (`raw.bopael`), and the first day that differs: cpr, fra.

    Where two stays differ only in their end, that day is the earlier end. Two stays that begin on one day are compared
    from that day.
    """
    return Relation(f"""(
        WITH foer AS (SELECT DISTINCT * EXCLUDE modtaget_maaned FROM {before}),
        nu AS (SELECT DISTINCT * EXCLUDE modtaget_maaned FROM {now}),
        forskel AS ((FROM foer EXCEPT FROM nu) UNION ALL (FROM nu EXCEPT FROM foer)),
        foerste AS (
            SELECT cpr, CASE
                WHEN count(*) = 2 AND count(*) FILTER (er_nu) = 1 AND min(kommunekode) = max(kommunekode)
                THEN min(coalesce(bopael_slut, DATE '9999-12-31')) ELSE bopael_start END AS fra
            FROM (SELECT *, false AS er_nu FROM foer UNION ALL SELECT *, true FROM nu)
            SEMI JOIN forskel USING (cpr, bopael_start) GROUP BY cpr, bopael_start
        )
        SELECT cpr, min(fra) AS fra FROM foerste GROUP BY cpr)""")


def changed_people(month: date, which: str = "true") -> Relation:
    """The people that run `month` calculated, each with the first week that could change: borger_id, fra_uge."""
    whose = f"FROM refusion.aendret WHERE maaned = DATE '{month}' AND {which}"
    return Relation(f"(SELECT borger_id, min(fra_uge) AS fra_uge {whose} GROUP BY borger_id)")


def latest_people(month: date) -> Relation:
    """As `changed_people`: those that run `month` has calculated and not settled; if none, those it settled last."""
    settled = "CASE WHEN count(*) = count(opgjort) THEN max(opgjort) END"
    last = f"(SELECT {settled} FROM refusion.aendret WHERE maaned = DATE '{month}')"
    return changed_people(month, f"opgjort IS NOT DISTINCT FROM {last}")


def settled_before(session: Session, month: date) -> bool:
    """True if the month was settled for everybody before it was calculated again for some (`latest_people`)."""
    query = "SELECT count(DISTINCT coalesce(opgjort, 0)) > 1 FROM refusion.aendret WHERE maaned = $month"
    return bool(session.value(query, month=month))


def week_of_most(session: Session, people: Relation) -> date:
    """The first week from which nine of ten of some people (borger_id, fra_uge) have changed."""
    return session.day(f"SELECT quantile_disc(fra_uge, {FEW}) FROM {people}") or date.max


def since_change(session: Session, table: str, day: str, people: Relation) -> str:
    """SQL for the rows t of `table` of some people (borger_id, fra_uge), from the first week that could change.

    Up to `MOST_LISTED` people are listed in the SQL: DuckDB leaves unread what a list rules out. Of more people nine
    of ten have changed from one week on (`week_of_most`), and the weeks before it are read for the tenth only.
    """
    if session.count(people) <= MOST_LISTED:
        return f"{_theirs(session, table, day, people)} t"
    begin = week_of_most(session, people)
    earlier = Relation(f"(FROM {people} WHERE fra_uge < DATE '{begin}')")
    return f"""(SELECT t.* FROM {table} t SEMI JOIN {people} a
            ON t.borger_id = a.borger_id AND t.{day} >= a.fra_uge WHERE t.{day} >= DATE '{begin}'
        UNION ALL FROM {_theirs(session, table, day, earlier)} t WHERE t.{day} < DATE '{begin}') t"""


def _theirs(session: Session, table: str, day: str, people: Relation) -> str:
    """As `since_change`; the people are listed if there are no more than `MOST_LISTED`."""
    listed = session.frame(f"SELECT borger_id FROM {people} LIMIT {MOST_LISTED + 1}")["borger_id"]
    mine = f"t.borger_id IN ({sql_list(listed)})" if listed.len() <= MOST_LISTED else "true"
    first = session.day(f"SELECT min(fra_uge) FROM {people}") or date.max
    return f"""(SELECT t.* FROM {table} t SEMI JOIN {people} a ON t.borger_id = a.borger_id AND t.{day} >= a.fra_uge
        WHERE {mine} AND t.{day} >= DATE '{first}')"""


def newest_snapshot(session: Session, month: date) -> date | None:
    """The month of the newest residence snapshot at or before `month`; None if there is none."""
    query = "SELECT max(modtaget_maaned) FROM raw.register WHERE art = 'bopael' AND modtaget_maaned <= $month"
    return session.day(query, month=month)


@dataclass(frozen=True)
class People:
    """The people to calculate, each with the first week that can differ (`relation`: borger_id, fra_uge).

    `snapshot` is the month of the residences to use. `since` is the week from which the rows of everybody are done
    again; None if only those of some people are. `from_the_start`: a later month was calculated last, so no earlier
    result is used.
    """

    relation: Relation
    snapshot: date | None
    since: date | None = None
    from_the_start: bool = False

    def __str__(self) -> str:
        """The relation, as SQL says it."""
        return str(self.relation)


def choose_people(session: Session, place: Place, month: date, fra: date | None = None) -> People:
    """The people to calculate, and the week to calculate each of them from.

    Everybody if a later month was calculated last. Otherwise people with changed claims, newly due days or a changed
    residence. Also people with days from `fra`, or from the first week that changed rules can touch. Stop if the claims
    are another month's.
    """
    _refuse_other_lines(session, month)
    rules = place.rules
    snapshot = newest_snapshot(session, month)
    last = session.frame("SELECT * FROM refusion.beregnet")
    trusted = last.height == 1 and last["maaned"][0] <= month
    changed = stale(session, place) if trusted else Stale([], None, [])
    since = min((day for day in (changed.fra_uge, fra) if day), default=None)
    if trusted:
        queries, before = [NEW], last["bopael_maaned"][0]
        values: dict[str, object] = {"through": last_day(month), "due": last_day(last["maaned"][0])}
        if before != snapshot:
            then, now = (Relation(f"(FROM raw.bopael WHERE modtaget_maaned = ${n})") for n in ("before", "snapshot"))
            queries.append(f"SELECT b.borger_id, s.fra FROM identitet.borger b JOIN {moved(then, now)} s USING (cpr)")
            values |= {"before": before, "snapshot": snapshot}
        if since:
            queries.append(PEOPLE)
            values |= {"since": since, "ydelser": changed.ydelser}
    else:
        since = rules.optaelling.gaelder_fra
        queries, values = ["SELECT borger_id, $start AS dag FROM identitet.borger"], {"start": since}
    # Where the count begins later than it did, the weeks before must lose their rows.
    begin = min(monday(rules.optaelling.gaelder_fra), since or date.max)
    people = session.temp(
        "people",
        f"""SELECT borger_id, greatest(date_trunc('week', min(dag)), $begin)::DATE AS fra_uge
        FROM ({" UNION ALL ".join(queries)}) GROUP BY 1 ORDER BY 1""",
        begin=begin,
        **values,
    )
    return People(people, snapshot, since, from_the_start=not trusted)


def _refuse_other_lines(session: Session, month: date) -> None:
    """Stop if the claims are not made of the files received through `month`: another run has been here meanwhile."""
    odd = session.value(
        """SELECT count(*) FROM (SELECT fil_id AS f FROM raw.fil WHERE NOT dublet AND modtaget_maaned <= $month)
        FULL JOIN (SELECT fil_id AS g FROM classified.grundlag) ON f = g WHERE f IS NULL OR g IS NULL""",
        month=month,
    )
    if odd:
        raise Stop(f"kravene er ikke gjort op af filerne til og med {month:%Y-%m}; kør måneden forfra")


def refuse_other_month(session: Session, month: date) -> None:
    """Stop if the result rows are not as known in `month`: another run has been here meanwhile."""
    if session.value("SELECT max(maaned) FROM refusion.beregnet") != month:
        raise Stop(f"det, der er beregnet, er ikke som kendt i {month:%Y-%m}; kør måneden forfra")


def take_sums(session: Session, people: People) -> Relation:
    """One row per person with rows that a settling or its advice rests on: borger_id, h (a sum of all they say).

    Their basis (rules, run) is left out of the sum.
    """
    said = {table: ", ".join(sorted(set(types_of(table)) - set(BASIS))) for table in RESTED_ON}
    parts = (
        f"SELECT borger_id, hash('{table}', {columns}) AS h FROM {table} SEMI JOIN {people} USING (borger_id)"
        for table, columns in said.items()
    )
    query = f"SELECT borger_id, bit_xor(h) AS h FROM ({' UNION ALL '.join(parts)}) GROUP BY borger_id"
    return session.temp("sums", query)


def leave_out_unchanged(session: Session, people: People, before: Relation, now: Relation) -> People:
    """The people whose sums (`take_sums`) differ between before and now, or whose claims have changed.

    No row says who pays a claim, but the advice does.
    """
    query = f"""FROM {people} WHERE borger_id IN (
        SELECT borger_id FROM classified.aendret UNION ALL
        SELECT borger_id FROM {before} f FULL JOIN {now} n USING (borger_id) WHERE f.h IS DISTINCT FROM n.h)"""
    return replace(people, relation=session.temp("people_changed", query))


def mark(session: Session, query: str, **values: object) -> None:
    """People put on the list of those to calculate again (`classified.aendret`); the query gives borger_id, fra_dag."""
    session.run(f"INSERT INTO classified.aendret {query}", **values)


def calculated_by(session: Session) -> date | None:
    """The month of the residence snapshot that the rows were calculated by; None if they were by none."""
    return session.day("SELECT max(bopael_maaned) FROM refusion.beregnet")


def count_as_calculated_by(session: Session, snapshot: date | None) -> None:
    """The rows count as calculated by a residence snapshot (`refusion.beregnet`), read anew or gone."""
    session.run("UPDATE refusion.beregnet SET bopael_maaned = $snapshot::DATE", snapshot=snapshot)


def count_as_settled(session: Session, month: date, time: int | None, which: str = "true") -> None:
    """The people of run `month` (`refusion.aendret`) count as settled the time of that number; None: as not settled."""
    query = f"UPDATE refusion.aendret SET opgjort = $time::BIGINT WHERE maaned = $month AND {which}"
    session.run(query, month=month, time=time)


def remember(session: Session, place: Place, month: date, people: People) -> None:
    """The basis of the rows (`refusion.beregnet`), and the people that the settling looks at (`refusion.aendret`).

    If the run is settled already, the next run gets the people too. The people of the run before this one stay in the
    table. So if a later month was calculated last, this run is settled as if for the first time.
    """
    session.run("DELETE FROM classified.aendret")
    row = {"maaned": [month], "regelversion": [place.rules.version], "bopael_maaned": [people.snapshot]}
    schema = {"maaned": pl.Date, "regelversion": pl.String, "bopael_maaned": pl.Date}
    remember_basis(session, place, people.since, month)
    session.replace("refusion.beregnet", pl.DataFrame(row, schema=schema))
    session.run("DELETE FROM refusion.aendret WHERE maaned < $before", before=next_month(month, -1))
    if people.from_the_start:
        session.run("UPDATE refusion.aendret SET maaned = $month, opgjort = NULL WHERE maaned >= $month", month=month)
    settled = session.value("SELECT count(*) > 0 FROM opgoerelse.koersel WHERE maaned = $month", month=month)
    for run in [month, next_month(month)] if settled else [month]:
        session.run(f"INSERT INTO refusion.aendret SELECT $run, borger_id, fra_uge, NULL FROM {people}", run=run)


# The two parts of `refusion.tilstand`. DuckDB reads them faster apart, as a filter on persons and weeks then
# reaches the stored rows.
STATES = ("refusion.borger_uge_ydelse", "refusion.fleksbidrag_raekke")

# The first month of a person b to calculate whose fleksbidrag is made anew.
FLEKS_SINCE = "date_trunc('month', b.fra_uge + 6)::DATE"


def may_have_fleksbidrag(session: Session, rules: Rulebook) -> Relation:
    """The people with the benefit that fleksbidrag follows, or with fleksbidrag when last calculated: borger_id."""
    query = f"""SELECT borger_id FROM classified.krav WHERE {among("ydelse_id", "ydelser")}
        UNION SELECT borger_id FROM refusion.fleksbidrag"""
    return session.temp("fleks_people", query, ydelser=sorted({entry.ydelse_id for entry in rules.fleksbidrag}))


def widen_for_fleksbidrag(session: Session, people: People, fleks: Relation, rules: Rulebook) -> People:
    """The same people, those who may have fleksbidrag (`fleks`) from the week of the first day of the month.

    A month's fleksbidrag rests on all its weeks. The Sunday of that week lies in the month.
    """
    query = f"""SELECT b.borger_id, CASE WHEN f.borger_id IS NULL THEN fra_uge
            ELSE greatest(date_trunc('week', date_trunc('month', fra_uge)), $begin)::DATE END AS fra_uge
        FROM {people} b LEFT JOIN {fleks} f USING (borger_id) ORDER BY b.borger_id"""
    widened = session.temp("people_widened", query, begin=monday(rules.optaelling.gaelder_fra))
    return replace(people, relation=widened)


def newest_bases(session: Session, people: People, fleks: Relation, month: date) -> Relation:
    """The basis of each month to calculate of those of the people who may have fleksbidrag (`fleks`). Øre.

    Of the newest snapshot known in `month` that has the person's month, the last row: borger_id, maaned,
    beregningsgrundlag_oere, loen_oere.
    """
    query = f"""WITH egne AS (
            SELECT i.cpr, b.borger_id, {FLEKS_SINCE} AS fra FROM {people} b SEMI JOIN {fleks} USING (borger_id)
            JOIN identitet.borger i USING (borger_id)
        ), kendte AS (
            SELECT e.borger_id, g.maaned, g.beregningsgrundlag_oere, g.loen_oere,
                   date_diff('month', DATE '2000-01-01', g.modtaget_maaned) * 4294967296 + g.raekke AS orden
            FROM raw.fleksgrundlag g JOIN egne e ON g.cpr = e.cpr AND g.maaned >= e.fra
            WHERE g.modtaget_maaned <= $month
        )
        SELECT borger_id, maaned, arg_max(beregningsgrundlag_oere, orden) AS beregningsgrundlag_oere,
               arg_max(loen_oere, orden) AS loen_oere
        FROM kendte GROUP BY borger_id, maaned ORDER BY borger_id"""
    return session.temp("bases", query, month=month)
