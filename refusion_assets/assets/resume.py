"""Understands whose count goes on from the spells that stand, so that their older claims need not be read again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import polars as pl

from refusion_assets.domain.duration import Counted, count_on, count_weeks, window_starts
from refusion_assets.domain.forloeb import spells, standing
from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.weeks import Grid
from refusion_assets.warehouse import Session

# Nearly all have changed lately. The few who have not would take all the others years back.
FEW = 0.03
SPELL_END = "CAST(fra_uge + CAST(7 * antal_uger AS INTEGER) AS DATE)"

# Nothing before the week is changed for them, and the week before it lies in a spell that stands, or they have none.
# A spell of self-support only stands if support follows, so it must have begun, right after support, within what is
# read: not where the count has started over since.
GO_ON = f"""
CREATE OR REPLACE TEMP TABLE genoptages AS
SELECT b.borger_id FROM beroerte b LEFT JOIN (
    SELECT borger_id, max({SPELL_END}) AS slut, arg_max(art, fra_uge) AS art, max(fra_uge) AS fra,
           arg_max(n_foer, fra_uge) AS n_foer
    FROM duration.forloeb SEMI JOIN beroerte USING (borger_id) WHERE fra_uge < $uge GROUP BY borger_id
) f USING (borger_id)
WHERE b.fra_uge >= $uge AND (
    f.slut IS NULL OR (f.slut >= $uge AND (f.art <> 'C' OR (f.fra > $foerste AND f.n_foer > 0))))
ORDER BY b.borger_id"""

STANDING = f"""
CREATE OR REPLACE TEMP TABLE forloeb_staar AS
SELECT * FROM duration.forloeb SEMI JOIN genoptages USING (borger_id)
WHERE fra_uge < $uge AND {SPELL_END} > $foerste ORDER BY borger_id, fra_uge"""

# What is asked of a claim to count and price it, and the first week that is wanted of its person.
WANTED = "borger_id, ydelse_id, kommunekode_betaler, periode_start, periode_slut, beloeb_oere, fra_uge"
CLAIMS = f"""
CREATE OR REPLACE TEMP TABLE krav_regnes AS
SELECT {WANTED} FROM classified.krav JOIN beroerte USING (borger_id) SEMI JOIN genoptages USING (borger_id)
WHERE periode_slut >= $maaned ORDER BY borger_id"""

# The same people with the number of claims to read.
TO_READ = """
SELECT g.borger_id, count(k.ydelse_id) AS krav FROM genoptages g LEFT JOIN krav_regnes k USING (borger_id)
GROUP BY 1 ORDER BY 1"""
Count = Callable[[pl.DataFrame, Grid, Rulebook], tuple[Counted, pl.DataFrame]]


@dataclass(frozen=True)
class Resume:
    """Where counts go on: the week, how far back its windows reach, and the month of the first claims to read.

    `begin` and `first` are weeks of the grid. Whose counts they are stands in `genoptages`.
    """

    begin: int
    first: int
    uge: date
    maaned: date


def choose_resume(session: Session, rules: Rulebook, grid: Grid) -> Resume | None:
    """Where the counts of most of the people in `beroerte` can go on; None where all must be counted from the start.

    Who they are, their spells, and their claims from then on, come to stand in temporary tables; all others in
    `fra_start`. Counters beside the law's own and maxima ask for what lies before the week, so with them nobody's
    count goes on. Hjemmel: § 6, stk. 1 (the window).
    """
    session.run("CREATE OR REPLACE TEMP TABLE fra_start AS FROM beroerte")
    uge = session.value(f"SELECT quantile_disc(fra_uge, {FEW}) FROM beroerte")
    if not isinstance(uge, date) or rules.taellere or rules.lofter:
        return None
    # What concerns only days to come changes no week that is known.
    begin = min(grid.week_of(uge), grid.weeks - 1)
    uge = grid.monday_of(begin)
    maaned = uge.replace(day=1)
    earliest = session.value(
        """SELECT min(periode_start) FROM classified.krav SEMI JOIN beroerte USING (borger_id)
        WHERE periode_slut >= $maaned""",
        maaned=maaned,
    )
    reach = [*window_starts(rules, grid)[0][begin:], grid.week_of(maaned)]
    first = min(*reach, grid.week_of(earliest) if isinstance(earliest, date) else begin)
    # The weeks before the overgang take their step from the first week after it.
    if first <= max(grid.week_of(rules.overgang.gaelder_fra), 0):
        return None
    session.run(GO_ON, uge=uge, foerste=grid.monday_of(first))
    session.run(STANDING, uge=uge, foerste=grid.monday_of(first))
    session.run(CLAIMS, maaned=maaned)
    session.run("CREATE OR REPLACE TEMP TABLE fra_start AS FROM beroerte ANTI JOIN genoptages USING (borger_id)")
    return Resume(begin, first, uge, maaned)


def forget_resumed(session: Session, resume: Resume) -> None:
    """The spells that reach the week, and what claims that end from its month on left over, leave the warehouse."""
    mine = "t USING genoptages g WHERE t.borger_id = g.borger_id"
    session.run(f"DELETE FROM duration.forloeb {mine} AND {SPELL_END} >= $uge", uge=resume.uge)
    session.run(f"DELETE FROM refusion.placering {mine} AND t.slut_maaned >= $maaned", maaned=resume.maaned)


def read_resumed(session: Session, first: int, last: int) -> list[pl.DataFrame]:
    """Of the people in a range of borger_id whose counts go on: claims, stays, who they are, and spells that stand."""
    tables = ("krav_regnes", "bopael_nu", "genoptages", "forloeb_staar")
    among = "WHERE borger_id BETWEEN $first AND $last"
    return [session.frame(f"FROM {table} {among}", first=first, last=last) for table in tables]


def count_all(krav: pl.DataFrame, grid: Grid, rules: Rulebook) -> tuple[Counted, pl.DataFrame]:
    """The counts of some people from the start, and their spells (`Forloeb`)."""
    counted = count_weeks(krav, grid, rules)
    return counted, spells(counted, grid)


def go_on(
    people: pl.DataFrame, forloeb: pl.DataFrame, resume: Resume, krav: pl.DataFrame, grid: Grid, rules: Rulebook
) -> tuple[Counted, pl.DataFrame]:
    """The counts of some people from where they go on, and the spells (`Forloeb`) from there."""
    borger_id = people["borger_id"].sort().to_numpy()
    stands = standing(borger_id, forloeb, resume.first, resume.begin, grid)
    counted = count_on(krav, stands, grid, rules)
    return counted, spells(counted, grid, stands)
