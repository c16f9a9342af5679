"""Settled: the state of the ledger after a run, by person and month, as every view of the follow-up reads it."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from refusion_assets.assets.gate import settled
from refusion_assets.domain.calendar import last_day, make_grid, monday, next_month
from refusion_assets.domain.opfoelgning.views import VIEWS
from refusion_assets.domain.opgoerelse.ledger import run_number, ydelse_navne
from refusion_assets.domain.refusion.rates import make_rates
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.store.session import Relation, Session

MONTHS = 37
# The forecast prices a day by three months, now and a year ago, and proves itself on the twelve since.
MONTHS_OF_MONEY = 15
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
# Fleksbidrag is of a month, and stands on one week of it.
BY_STEP = f"""
SELECT maaned, borger_id, kommunekode, a.ydelse_id, trin, count(*) AS uger, max(uge) AS uge,
       sum(CASE WHEN y.side = 'fleksbidrag' THEN day(last_day(maaned))
           ELSE least(uge + 6, last_day(maaned)) - greatest(uge, maaned) + 1 END)::BIGINT AS dage,
       arg_max(ydelsestaeller, uge) AS n, arg_max(procent, uge) AS procent,
       sum(beloeb_oere)::BIGINT AS brutto, sum(refusion_oere)::BIGINT AS refusion,
       sum(medfinansiering_oere)::BIGINT AS medfinansiering, sum({EGEN_SHARE})::BIGINT AS egen
FROM {AFREGNET} a LEFT JOIN {{benefits}} y ON y.ydelse_id = a.ydelse_id GROUP BY ALL"""

# One row per month and person: the place of the last week on the staircase. Of several, the highest step holds.
PLACE = """
SELECT maaned, borger_id, arg_max(kommunekode, orden) AS kommunekode, arg_max(ydelse_id, orden) AS ydelse_id,
       arg_max(trin, orden) AS trin, arg_max(n, orden) AS n, max(uge) AS uge
FROM (SELECT *, (uge, trin, ydelse_id, kommunekode) AS orden FROM {by_step} WHERE trin IS NOT NULL)
GROUP BY ALL"""

# The people on a benefit of the staircase in the last week of the month. The amount of a week is that of the month by
# its days.
ON_STEP = """
SELECT b.borger_id, b.kommunekode, b.ydelse_id, arg_max(b.trin, b.uge) AS trin, arg_max(b.n, b.uge) AS n,
       arg_max(b.procent, b.uge) AS procent, sum(b.brutto)::BIGINT AS brutto, sum(b.dage)::BIGINT AS dage
FROM {by_step} b WHERE b.maaned = $month AND b.trin IS NOT NULL GROUP BY ALL HAVING max(b.uge) = $sidste"""

# The people of each month with a row in its last week, by benefit, municipality and number. `maaneder` has a bit for
# each month that a person has one of a benefit in a municipality. So leaving and coming need no join of months. The
# money has rows of its own without people: all ledger rows sum to those that stand, as a T row takes one back.
COHORTS = f"""
WITH rk AS (
    SELECT maaned, borger_id, kommunekode, ydelse_id, ydelsestaeller AS n, date_diff('month', $fra, maaned) AS nr
    FROM {AFREGNET} WHERE uge = date_trunc('week', last_day(maaned))
), hver AS (
    SELECT borger_id, kommunekode, ydelse_id, bit_or(1::BIGINT << nr) AS maaneder FROM rk GROUP BY ALL
)
SELECT maaned, kommunekode, ydelse_id, n AS ydelsestaeller, count(*) AS borgere, 0::BIGINT AS brutto_oere,
       0::BIGINT AS refusion_oere, 0::BIGINT AS medfinansiering_oere,
       count(*) FILTER ((maaneder >> (nr + 1)) & 1 = 0) AS afgang,
       count(*) FILTER (nr = 0 OR (maaneder >> (nr - 1)) & 1 = 0) AS tilgang
FROM rk JOIN hver USING (borger_id, kommunekode, ydelse_id) GROUP BY ALL
UNION ALL
SELECT maaned, kommunekode, ydelse_id, NULL, 0, sum(beloeb_oere)::BIGINT, sum(refusion_oere)::BIGINT,
       sum(medfinansiering_oere)::BIGINT, 0, 0
FROM opgoerelse.postering WHERE koersel <= $n AND maaned BETWEEN $penge_fra AND $month GROUP BY ALL"""


@dataclass(frozen=True)
class Basis:
    """A run as the views read it: its number, month and settled municipalities, and tables of the settled state.

    `by_step`: maaned, borger_id, kommunekode, ydelse_id, trin, and weeks, days, counters and øre. `place`: where a
    person was last in a month. `on_step`: who is on the staircase in the last week. `ahead`: benefit, number, weeks
    ahead, step and per cent. `benefits`: benefit, name, side and source.
    """

    session: Session
    rules: Rulebook
    month: date
    number: int
    koder: list[str]
    by_step: Relation
    place: Relation
    on_step: Relation
    ahead: Relation
    benefits: Relation

    def frame(self, query: str, **parameters: object) -> pl.DataFrame:
        """The rows of a query that may name the relations in braces."""
        named = ("by_step", "place", "on_step", "ahead", "benefits")
        return self.session.frame(query.format(**{name: getattr(self, name) for name in named}), **parameters)


def forget(session: Session, number: int) -> None:
    """Delete the figures of run `number`: its ledger is made anew, and they would be of the one before."""
    for name in VIEWS:
        session.run(f"DELETE FROM opfoelgning.{name} WHERE koersel = $n", n=number)


def last_week(month: date) -> date:
    """The Monday of the week that has the last day of a month."""
    return monday(last_day(month))


def basis(session: Session, rules: Rulebook, month: date) -> Basis:
    """The settled state after run `month` of the 13 months through it, and what the staircase says of the weeks ahead.

    Rows of later runs are left out, so that an earlier run has the figures that it had. Reads only.
    """
    number, fra = run_number(month, rules), next_month(month, 1 - MONTHS_SHOWN)
    with session.lending("known_benefits", benefits(rules)):
        known = session.temp("benefits", "FROM known_benefits")
    by_step = session.temp("by_step", BY_STEP.format(benefits=known), n=number, fra=fra, month=month)
    place = session.temp("place", PLACE.format(by_step=by_step))
    on_step = session.temp("on_step", ON_STEP.format(by_step=by_step), month=month, sidste=last_week(month))
    with session.lending("weeks_ahead", steps_ahead(rules, month)):
        ahead = session.temp("ahead", "FROM weeks_ahead")
    koder = settled(session, number)
    return Basis(session, rules, month, number, koder, by_step, place, on_step, ahead, known)


def cohorts(run: Basis) -> pl.DataFrame:
    """The history that the forecast learns from: people by benefit and number at the end of each of 37 months. Øre.

    Columns as `domain.opfoelgning.prognose.forecast` wants them; money stands on rows without people, of 15 months.
    """
    fra, penge_fra = (next_month(run.month, 1 - months) for months in (MONTHS, MONTHS_OF_MONEY))
    return run.frame(COHORTS, n=run.number, fra=fra, penge_fra=penge_fra, month=run.month)


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
