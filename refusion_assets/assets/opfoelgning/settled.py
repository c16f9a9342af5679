"""Settled: the state of the ledger after a run, by person and month, as every view of the follow-up reads it."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from refusion_assets.domain.calendar import last_day, make_grid, monday, next_month
from refusion_assets.domain.opgoerelse.ledger import run_number, ydelse_navne
from refusion_assets.domain.refusion.rates import make_rates
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.store.session import Relation, Session

MONTHS = 37
MONTHS_SHOWN = 13
WEEKS_AHEAD = 13

# The run's own share is medfinansiering, or the amount less refusion. The money of a row gives its side; a row without
# money has that of the benefit.
EGEN_SHARE = """CASE WHEN medfinansiering_oere <> 0 THEN medfinansiering_oere
    WHEN refusion_oere <> 0 OR y.side <> 'medfinansiering' THEN beloeb_oere - refusion_oere ELSE 0 END"""

# The ledger rows of a run and those before it that no T row of them takes back, from a month on.
KEY = "uge, maaned, borger_id, ydelse_id, kommunekode"
AFREGNET = f"""(
    SELECT p.* FROM opgoerelse.postering p ANTI JOIN (
        SELECT {KEY}, oprindelig_koersel AS koersel FROM opgoerelse.postering
        WHERE raekketype = 'T' AND koersel <= $n AND maaned BETWEEN $fra AND $month
    ) t USING ({KEY}, koersel)
    WHERE raekketype <> 'T' AND koersel <= $n AND maaned BETWEEN $fra AND $month)"""

# One row per month, person, municipality, benefit and step. The days are those of its weeks within the month.
BY_STEP = f"""
SELECT maaned, borger_id, kommunekode, a.ydelse_id, trin, count(*) AS uger, max(uge) AS uge,
       sum(least(uge + 6, last_day(maaned)) - greatest(uge, maaned) + 1)::BIGINT AS dage,
       arg_max(ydelsestaeller, uge) AS n, arg_max(procent, uge) AS procent,
       sum(beloeb_oere)::BIGINT AS brutto, sum(refusion_oere)::BIGINT AS refusion,
       sum(medfinansiering_oere)::BIGINT AS medfinansiering, sum({EGEN_SHARE})::BIGINT AS egen
FROM {AFREGNET} a LEFT JOIN {{benefits}} y ON y.ydelse_id = a.ydelse_id GROUP BY ALL"""

# One row per month and person: the place of the last week on the staircase. Of several, the highest step holds.
PLACE = """
SELECT maaned, borger_id, arg_max(kommunekode, orden) AS kommunekode, arg_max(ydelse_id, orden) AS ydelse_id,
       arg_max(trin, orden) AS trin, arg_max(n, orden) AS n, max(uge) AS uge
FROM (SELECT *, (uge, trin, ydelse_id, kommunekode) AS orden FROM {by_step} WHERE trin IS NOT NULL AND maaned >= $fra)
GROUP BY ALL"""

# The people on a benefit of the staircase in the last week of the month. The amount of a week is that of the month by
# its days.
ON_STEP = """
SELECT b.borger_id, b.kommunekode, b.ydelse_id, arg_max(b.trin, b.uge) AS trin, arg_max(b.n, b.uge) AS n,
       arg_max(b.procent, b.uge) AS procent, sum(b.brutto)::BIGINT AS brutto, sum(b.dage)::BIGINT AS dage
FROM {by_step} b WHERE b.maaned = $month AND b.trin IS NOT NULL GROUP BY ALL HAVING max(b.uge) = $sidste"""

# One row per month, person, municipality and benefit, with the number of the last week. A person has left who has no
# row of the benefit in the municipality the month after. One without a row the month before has come.
BY_NUMBER = """
WITH hver AS (
    SELECT maaned, borger_id, kommunekode, ydelse_id, arg_max(n, uge) AS n, sum(uger)::BIGINT AS uger,
           sum(brutto)::BIGINT AS brutto, sum(refusion)::BIGINT AS refusion,
           sum(medfinansiering)::BIGINT AS medfinansiering
    FROM {by_step} GROUP BY ALL
), andre AS (
    SELECT h.*, e.maaned IS NULL AS gik, f.maaned IS NULL AS kom FROM hver h
    LEFT JOIN (SELECT DISTINCT maaned, borger_id, kommunekode, ydelse_id FROM {by_step}) e
        ON e.maaned = h.maaned + INTERVAL 1 MONTH AND e.borger_id = h.borger_id AND e.kommunekode = h.kommunekode
        AND e.ydelse_id = h.ydelse_id
    LEFT JOIN (SELECT DISTINCT maaned, borger_id, kommunekode, ydelse_id FROM {by_step}) f
        ON f.maaned = h.maaned - INTERVAL 1 MONTH AND f.borger_id = h.borger_id AND f.kommunekode = h.kommunekode
        AND f.ydelse_id = h.ydelse_id
)
SELECT maaned, kommunekode, ydelse_id, n AS ydelsestaeller, count(*) AS borgere, sum(uger)::BIGINT AS borgeruger,
       sum(brutto)::BIGINT AS brutto_oere, sum(refusion)::BIGINT AS refusion_oere,
       sum(medfinansiering)::BIGINT AS medfinansiering_oere,
       count(*) FILTER (gik) AS afgang, count(*) FILTER (kom) AS tilgang
FROM andre GROUP BY ALL"""


@dataclass(frozen=True)
class Basis:
    """A run as the views read it: its number and month, and temporary tables of the settled state.

    `by_step`: maaned, borger_id, kommunekode, ydelse_id, trin, and weeks, days, counters and øre. `place`: where a
    person was last in a month. `on_step`: who is on the staircase in the last week. `ahead`: benefit, number, weeks
    ahead, step and per cent. `benefits`: benefit, name, side and source.
    """

    session: Session
    rules: Rulebook
    month: date
    number: int
    by_step: Relation
    place: Relation
    on_step: Relation
    ahead: Relation
    benefits: Relation

    def frame(self, query: str, **parameters: object) -> pl.DataFrame:
        """The rows of a query that may name the relations in braces."""
        named = ("by_step", "place", "on_step", "ahead", "benefits")
        return self.session.frame(query.format(**{name: getattr(self, name) for name in named}), **parameters)


def last_week(month: date) -> date:
    """The Monday of the week that has the last day of a month."""
    return monday(last_day(month))


def basis(session: Session, rules: Rulebook, month: date) -> Basis:
    """The settled state after run `month` of the 37 months through it, and what the staircase says of the weeks ahead.

    Rows of later runs are left out, so that an earlier run has the figures that it had. Reads only.
    """
    number, fra = run_number(month, rules), next_month(month, 1 - MONTHS)
    with session.lending("known_benefits", benefits(rules)):
        known = session.temp("benefits", "FROM known_benefits")
    by_step = session.temp("by_step", BY_STEP.format(benefits=known), n=number, fra=fra, month=month)
    place = session.temp("place", PLACE.format(by_step=by_step), fra=next_month(month, 1 - MONTHS_SHOWN))
    on_step = session.temp("on_step", ON_STEP.format(by_step=by_step), month=month, sidste=last_week(month))
    with session.lending("weeks_ahead", steps_ahead(rules, month)):
        ahead = session.temp("ahead", "FROM weeks_ahead")
    return Basis(session, rules, month, number, by_step, place, on_step, ahead, known)


def benefits(rules: Rulebook) -> pl.DataFrame:
    """One row per benefit: ydelse_id, navn, side, and the source (`kilde`) that reports it."""
    sources = {konto.ydelse_id: konto.kilde_id for konto in reversed(rules.konti)}
    sources |= {entry.id: sources.get(entry.ydelse_id, "") for entry in rules.fleksbidrag}
    return ydelse_navne(rules).with_columns(
        kilde=pl.col("ydelse_id").replace_strict(sources, default="", return_dtype=pl.String)
    )


def steps_ahead(rules: Rulebook, month: date) -> pl.DataFrame:
    """One row per benefit on the staircase, number now and weeks ahead (0 to 13): trin and procent (whole per cent).

    Somebody who goes on with support has one more week of it each week. Numbers above the highest have its step.
    Hjemmel: § 5, stk. 2-3.
    """
    first = last_week(month)
    grid = make_grid(rules.optaelling.gaelder_fra, first + timedelta(weeks=WEEKS_AHEAD, days=6))
    rates, week = make_rates(rules, grid), grid.week_of(first)
    climbed = np.flatnonzero(rates.on_staircase[:, week])
    numbers, weeks = np.arange(rates.top + 1), np.arange(WEEKS_AHEAD + 1)
    y, n, frem = (axis.ravel() for axis in np.meshgrid(climbed, numbers, weeks, indexing="ij"))
    then = y, week + frem, np.minimum(n + frem, rates.top)
    return pl.DataFrame(
        {
            "ydelse_id": pl.Series(rates.ydelse_ids)[y],
            "n": n,
            "frem": frem,
            "trin": rates.trin[then].astype(np.int64),
            "procent": rates.procent[then].astype(np.int64),
        }
    )
