"""Fleksbidrag: the bases it is made of, whom a changed basis touches, and its rows as a part of the state."""

from datetime import date

import polars as pl

from refusion_assets.domain.opgoerelse import STATE
from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.weeks import monday
from refusion_assets.warehouse import Session

# The result rows and the fleksbidrag, both with the columns of the state (`refusion.tilstand` is the two together;
# apart they are read faster, as a filter on persons and weeks reaches the stored rows).
STATES = ("refusion.borger_uge_ydelse", "refusion.fleksbidrag_raekke")

# The newest basis a run knows of each person and month: of the newest snapshot that has one, the last row.
NEWEST = """
CREATE OR REPLACE TEMP TABLE fleks_grundlag AS
WITH alle AS (
    SELECT b.borger_id, g.maaned, g.beregningsgrundlag_oere, g.loen_oere,
           date_diff('month', DATE '2000-01-01', g.modtaget_maaned) * 4294967296 + g.raekke AS orden
    FROM raw.fleksgrundlag g JOIN identitet.borger b USING (cpr) WHERE g.modtaget_maaned <= $month
)
SELECT borger_id, maaned, arg_max(beregningsgrundlag_oere, orden) AS beregningsgrundlag_oere,
       arg_max(loen_oere, orden) AS loen_oere
FROM alle GROUP BY borger_id, maaned ORDER BY borger_id"""

# Whose month rests on another basis than the one that holds now; no basis differs from any.
OTHER_BASIS = """
SELECT f.borger_id, date_trunc('week', min(f.maaned))::DATE AS fra_uge
FROM refusion.fleksbidrag f LEFT JOIN fleks_grundlag g USING (borger_id, maaned)
WHERE f.beregningsgrundlag_oere IS DISTINCT FROM g.beregningsgrundlag_oere
   OR f.loen_oere IS DISTINCT FROM g.loen_oere
GROUP BY f.borger_id"""

# A month's fleksbidrag rests on all its weeks, so whoever may have one is calculated from the week of the first of
# the month; the Sunday of that week lies in the month.
WIDENED = """
CREATE OR REPLACE TEMP TABLE beroerte AS
WITH alle AS (
    SELECT borger_id, min(fra_uge) AS fra_uge FROM (FROM beroerte UNION ALL {other}) GROUP BY borger_id
), egne AS (
    SELECT borger_id FROM classified.krav WHERE ydelse_id IN (SELECT unnest($ydelser::VARCHAR[]))
    UNION SELECT borger_id FROM refusion.fleksbidrag
)
SELECT borger_id, CASE WHEN egne.borger_id IS NULL THEN fra_uge
       ELSE greatest(date_trunc('week', date_trunc('month', fra_uge)), $begin)::DATE END AS fra_uge
FROM alle LEFT JOIN egne USING (borger_id) ORDER BY borger_id"""

# The first month of a person to calculate whose fleksbidrag is made anew.
SINCE = "date_trunc('month', {fra_uge} + 6)::DATE"


def include_bases(session: Session, rules: Rulebook, month: date) -> None:
    """The newest basis of each person and month (`fleks_grundlag`), and in `beroerte` whom it makes different.

    Those who may have fleksbidrag are there from the week that holds the first of the first month touched.
    """
    session.run(NEWEST, month=month)
    session.run(
        WIDENED.format(other=OTHER_BASIS),
        ydelser=sorted({entry.ydelse_id for entry in rules.fleksbidrag}),
        begin=monday(rules.optaelling.gaelder_fra),
    )


def forget_fleksbidrag(session: Session) -> None:
    """The fleksbidrag that is calculated anew leaves the warehouse."""
    session.run(f"""DELETE FROM refusion.fleksbidrag t USING beroerte b
        WHERE t.borger_id = b.borger_id AND t.maaned >= {SINCE.format(fra_uge="b.fra_uge")}""")


def bases(session: Session, first: int, last: int) -> pl.DataFrame:
    """The bases of the people to calculate in a range of borger_id, one row per person and month. Øre."""
    return session.frame(
        f"""SELECT g.* FROM fleks_grundlag g JOIN beroerte b USING (borger_id)
        WHERE borger_id BETWEEN $first AND $last AND g.maaned >= {SINCE.format(fra_uge="b.fra_uge")}""",
        first=first,
        last=last,
    )


def state_of(session: Session, part: str, **values: object) -> pl.DataFrame:
    """The state of the rows t that `part` (SQL after the table) keeps: result rows and fleksbidrag (`STATE`). Øre."""
    columns = ", ".join(f"t.{name}" for name in STATE)
    return pl.concat([session.frame(f"SELECT {columns} FROM {table} t {part}", **values) for table in STATES])
