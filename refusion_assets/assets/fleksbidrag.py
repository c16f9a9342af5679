"""Fleksbidrag: the bases it is made of, whom a changed basis touches, and its rows as a part of the state."""

from datetime import date

import polars as pl

from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.weeks import monday
from refusion_assets.warehouse import Session

# The result rows and the fleksbidrag, both with the columns of the state (`refusion.tilstand` is the two together;
# apart they are read faster, as a filter on persons and weeks reaches the stored rows).
STATES = ("refusion.borger_uge_ydelse", "refusion.fleksbidrag_raekke")

# Who has the benefit that fleksbidrag follows, or had it when last calculated.
THEIRS = """
CREATE OR REPLACE TEMP TABLE fleks_borger AS
SELECT borger_id FROM classified.krav WHERE ydelse_id IN (SELECT unnest($ydelser::VARCHAR[]))
UNION SELECT borger_id FROM refusion.fleksbidrag"""

# A month's fleksbidrag rests on all its weeks, so whoever may have one is calculated from the week of the first of
# the month; the Sunday of that week lies in the month.
WIDENED = """
CREATE OR REPLACE TEMP TABLE beroerte AS
SELECT b.borger_id, CASE WHEN f.borger_id IS NULL THEN fra_uge
       ELSE greatest(date_trunc('week', date_trunc('month', fra_uge)), $begin)::DATE END AS fra_uge
FROM beroerte b LEFT JOIN fleks_borger f USING (borger_id) ORDER BY b.borger_id"""

# The first month of a person to calculate whose fleksbidrag is made anew.
SINCE = "date_trunc('month', b.fra_uge + 6)::DATE"

# The newest basis the run knows of each month to calculate: of the newest snapshot that has one, the last row.
NEWEST = f"""
CREATE OR REPLACE TEMP TABLE fleks_grundlag AS
WITH egne AS (
    SELECT i.cpr, b.borger_id, {SINCE} AS fra FROM beroerte b SEMI JOIN fleks_borger USING (borger_id)
    JOIN identitet.borger i USING (borger_id)
), kendte AS (
    SELECT e.borger_id, g.maaned, g.beregningsgrundlag_oere, g.loen_oere,
           date_diff('month', DATE '2000-01-01', g.modtaget_maaned) * 4294967296 + g.raekke AS orden
    FROM raw.fleksgrundlag g JOIN egne e ON g.cpr = e.cpr AND g.maaned >= e.fra WHERE g.modtaget_maaned <= $month
)
SELECT borger_id, maaned, arg_max(beregningsgrundlag_oere, orden) AS beregningsgrundlag_oere,
       arg_max(loen_oere, orden) AS loen_oere
FROM kendte GROUP BY borger_id, maaned ORDER BY borger_id"""

# Whose months rest on a basis that is no longer delivered, or do not rest on one that now is.
OTHER_BASIS = """
INSERT INTO classified.aendret
SELECT f.borger_id, min(f.maaned) FROM refusion.fleksbidrag f JOIN identitet.borger b USING (borger_id) JOIN (
    SELECT cpr, maaned, NULL AS beregningsgrundlag_oere, NULL AS loen_oere, true AS vaek FROM (
        FROM fleks_foer EXCEPT FROM raw.fleksgrundlag WHERE modtaget_maaned = $month)
    UNION ALL SELECT cpr, maaned, beregningsgrundlag_oere, loen_oere, false FROM (
        FROM raw.fleksgrundlag WHERE modtaget_maaned = $month EXCEPT FROM fleks_foer)
) ny ON ny.cpr = b.cpr AND ny.maaned = f.maaned
WHERE ny.vaek OR ny.beregningsgrundlag_oere IS DISTINCT FROM f.beregningsgrundlag_oere
   OR ny.loen_oere IS DISTINCT FROM f.loen_oere
GROUP BY f.borger_id"""


def keep_bases(session: Session, month: date) -> None:
    """The bases that a snapshot holds, kept as they are before it is read anew (`fleks_foer`)."""
    session.run("CREATE OR REPLACE TEMP TABLE fleks_foer AS FROM raw.fleksgrundlag WHERE modtaget_maaned = $m", m=month)


def tell_bases(session: Session, month: date) -> None:
    """Whom a snapshot, read anew, gives another basis than their fleksbidrag rests on (`classified.aendret`).

    A month that a newer snapshot decides may be told too: it is calculated again, with the same result.
    """
    session.run(OTHER_BASIS, month=month)


def withdraw_bases(session: Session) -> None:
    """The bases of snapshots that are no longer there leave the warehouse, and whom they concern is told."""
    gone = session.frame("""SELECT DISTINCT modtaget_maaned FROM raw.fleksgrundlag ANTI JOIN (
        SELECT modtaget_maaned FROM raw.register WHERE art = 'fleksgrundlag') USING (modtaget_maaned)""")
    for month in gone["modtaget_maaned"]:
        keep_bases(session, month)
        session.run("DELETE FROM raw.fleksgrundlag WHERE modtaget_maaned = $month", month=month)
        tell_bases(session, month)


def include_bases(session: Session, rules: Rulebook, month: date) -> None:
    """The newest basis of each month to calculate (`fleks_grundlag`).

    In `beroerte` those who may have fleksbidrag come to stand from the week that holds the first of the first month
    touched.
    """
    session.run(THEIRS, ydelser=sorted({entry.ydelse_id for entry in rules.fleksbidrag}))
    session.run(WIDENED, begin=monday(rules.optaelling.gaelder_fra))
    session.run(NEWEST, month=month)


def forget_fleksbidrag(session: Session) -> None:
    """The fleksbidrag that is calculated anew leaves the warehouse."""
    session.run(f"""DELETE FROM refusion.fleksbidrag t USING beroerte b
        WHERE t.borger_id = b.borger_id AND t.maaned >= {SINCE}""")


def bases(session: Session, first: int, last: int) -> pl.DataFrame:
    """The bases of the people to calculate in a range of borger_id, one row per person and month. Øre."""
    query = "SELECT * FROM fleks_grundlag WHERE borger_id BETWEEN $first AND $last"
    return session.frame(query, first=first, last=last)
