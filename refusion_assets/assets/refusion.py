"""Duration and refusion: weeks counted and money priced, shard by shard, in one pass over the people."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from refusion_assets.assets.touched import (
    ahead,
    bases,
    choose,
    forget_fleksbidrag,
    in_order,
    include_bases,
    leave_out_unchanged,
    ranges,
    remember,
    take_sums,
)
from refusion_assets.assets.wiring import GENBEREGN, GENINDLAES, POOL, span, stopping
from refusion_assets.domain.calendar import Grid, last_day, make_grid, month_of
from refusion_assets.domain.duration.count import Counted, count_on, count_weeks, window_starts, windows
from refusion_assets.domain.duration.spells import Forloeb, own_spells, spells, standing_before
from refusion_assets.domain.findings.verdict import kroner_text
from refusion_assets.domain.refusion.fleksbidrag import BorgerMaanedFleksbidrag, contributions, days_on_step
from refusion_assets.domain.refusion.price import BorgerUgeYdelse, price, residence
from refusion_assets.domain.refusion.rates import Rates, make_rates
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.wording import plural
from refusion_assets.place import Place
from refusion_assets.shown import KINDS, OWNER, kroner, of_table
from refusion_assets.store.session import Session

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
    stands = standing_before(borger_id, forloeb, resume.first, resume.begin, grid)
    counted = count_on(krav, stands, grid, rules)
    return counted, spells(counted, grid, stands)


Work = Callable[[], dict[str, pl.DataFrame]]
CLAIMS_PER_SHARD = 500_000
PERSONS_PER_SHARD = 20_000
# Whose rows leave by person: with the counters beside the law's own nobody's count goes on.
BY_PERSON = {
    "duration.forloeb_taeller": "beroerte",
    "duration.forloeb": "fra_start",
    "refusion.placering": "fra_start",
}
BY_WEEK = ("refusion.borger_uge_ydelse", "refusion.over_loft", "refusion.uden_kommune")


@dataclass(frozen=True)
class Shard:
    """A run of people, first and last borger_id, how many of them are calculated, and where their counts go on."""

    first: int
    last: int
    borgere: int
    resume: Resume | None = None


@dataclass(frozen=True)
class Calculated:
    """Whom the pass calculated, what the warehouse holds after it, and what the last month comes to (øre)."""

    beregnede: int
    forloeb: int
    raekker: int
    refusion_oere: int
    medfinansiering_oere: int
    uden_kommune_oere: int
    fleksbidrag: int
    fleksbidrag_oere: int


def calculate(
    session: Session, place: Place, month: date, progress: Callable[[str], None], fra: date | None = None
) -> Calculated:
    """All weeks and result rows as known at the end of `month` (`duration.forloeb`, `refusion.borger_uge_ydelse`).

    Only people whose claims, residence or due days have changed are calculated, from the first week that can
    differ; and whoever has days from the first week that other rules touch, or from `fra` if that is asked for. The
    result is that of calculating everything.
    Hjemmel: § 5, § 6; rules.md sections 2-6.
    """
    rules = place.rules
    grid = make_grid(rules.optaelling.gaelder_fra, last_day(month))
    rates = make_rates(rules, grid)
    session.replace("regler.genoptjening", windows(rules))
    chosen = choose(session, place, month, fra)
    include_bases(session, rules, month)
    if chosen.since:
        take_sums(session, "sum_foer")
    resume = choose_resume(session, rules, grid)
    _forget(session, resume)
    choose_stays(session, chosen.snapshot)
    shards = shards_of(session, "fra_start")
    if resume:
        # The fewer weeks are counted, the more people fit in the same memory.
        persons = PERSONS_PER_SHARD * grid.weeks // (grid.weeks - resume.first)
        shards += _runs(session, TO_READ, persons, resume)
    people, done, rows = sum(shard.borgere for shard in shards), 0, 0
    work = _work(session, shards, grid, rates, rules)
    for number, (shard, tables) in enumerate(zip(shards, ahead(work), strict=True), 1):
        for table, frame in tables.items():
            session.insert(table, frame)
        done, rows = done + shard.borgere, rows + tables["refusion.borger_uge_ydelse"].height
        remains = f"{plural(rows, 'række', 'rækker')}, {plural(people - done, 'borger', 'borgere')} mangler"
        ready = f"{done} af {plural(people, 'borger', 'borgere')} beregnet"
        progress(f"skive {number} af {len(shards)}: {ready}, {remains}")
    if chosen.since:
        # Most of what is done again for other rules comes out as it was, and concerns no settling.
        take_sums(session, "sum_nu")
        leave_out_unchanged(session, "sum_foer", "sum_nu")
    remember(session, place, month, chosen)
    return _summary(session, month, done)


def _calculated(
    krav: pl.DataFrame,
    bopael: pl.DataFrame,
    count: Count,
    grundlag: pl.DataFrame,
    grid: Grid,
    rates: Rates,
    rules: Rulebook,
) -> dict[str, pl.DataFrame]:
    """The rows of a shard for each of the tables that the pass fills, from its claims, stays and bases."""
    counted, forloeb = count(krav, grid, rules)
    home = residence(bopael, counted.borger_id, grid, rules, counted.first)
    priced = price(krav.filter(pl.col("beloeb_oere") > 0), counted, home, grid, rates, rules)
    days = days_on_step(krav, counted, home, grid, rates, rules)
    return {
        "duration.forloeb": forloeb,
        "duration.forloeb_taeller": own_spells(counted, grid, rules),
        "refusion.borger_uge_ydelse": in_order(priced.rows, grid),
        "refusion.over_loft": priced.over_loft,
        "refusion.fleksbidrag": contributions(days, priced.rows, grundlag, rules),
        "refusion.uden_kommune": priced.uden_kommune,
        "refusion.anden_betaler": priced.anden_betaler,
        "refusion.placering": priced.placering,
    }


def shards_of(session: Session, people: str = "beroerte") -> list[Shard]:
    """The people of a table, in runs of borger_id that are each small enough to work on at once."""
    return _runs(
        session,
        f"""SELECT borger_id, count(*) AS krav FROM classified.krav
        SEMI JOIN {people} USING (borger_id) GROUP BY 1 ORDER BY 1""",
    )


def _runs(session: Session, query: str, persons: int = PERSONS_PER_SHARD, resume: Resume | None = None) -> list[Shard]:
    """The people of a query (borger_id, krav), sorted, in shards."""
    counts = session.frame(query)
    weight = counts["krav"] + CLAIMS_PER_SHARD // persons
    parts = list(ranges(counts["borger_id"], weight, CLAIMS_PER_SHARD))
    begins = counts["borger_id"].search_sorted(pl.Series([first for first, _ in parts], dtype=pl.Int64)).to_list()
    ends = [*begins, counts.height][1:]
    return [Shard(*part, end - begin, resume) for part, begin, end in zip(parts, begins, ends, strict=True)]


def _forget(session: Session, resume: Resume | None) -> None:
    """The rows that are calculated anew leave the warehouse; of those whose counts go on only what they reach."""
    if resume:
        forget_resumed(session, resume)
    for table, people in BY_PERSON.items():
        session.run(f"DELETE FROM {table} t USING {people} b WHERE t.borger_id = b.borger_id")
    for table in BY_WEEK:
        session.run(f"DELETE FROM {table} t USING beroerte b WHERE t.borger_id = b.borger_id AND t.uge >= b.fra_uge")
    forget_fleksbidrag(session)
    session.run("""DELETE FROM refusion.anden_betaler t USING beroerte b
        WHERE t.borger_id = b.borger_id AND t.maaned >= date_trunc('month', b.fra_uge)""")


def choose_stays(session: Session, snapshot: date | None) -> None:
    """The stays in a snapshot of residences of the people to calculate, in the order of the shards (`bopael_nu`)."""
    session.run(
        """CREATE OR REPLACE TEMP TABLE bopael_nu AS
        SELECT b.borger_id, r.kommunekode, r.bopael_start, r.bopael_slut
        FROM raw.bopael r JOIN identitet.borger b USING (cpr) SEMI JOIN beroerte USING (borger_id)
        WHERE r.modtaget_maaned = $snapshot ORDER BY borger_id""",
        snapshot=snapshot,
    )


def read_shard(session: Session, shard: Shard, people: str = "beroerte") -> tuple[pl.DataFrame, pl.DataFrame]:
    """The claims of a shard's people, with the first week that is wanted of them, and their stays."""
    among = {"first": shard.first, "last": shard.last}
    krav = session.frame(
        f"""
        SELECT {WANTED}
        FROM classified.krav JOIN {people} USING (borger_id) WHERE borger_id BETWEEN $first AND $last""",
        **among,
    )
    stays = session.frame("SELECT * FROM bopael_nu WHERE borger_id BETWEEN $first AND $last", **among)
    return krav, stays


def _work(session: Session, shards: list[Shard], grid: Grid, rates: Rates, rules: Rulebook) -> Iterator[Work]:
    """The shards to be calculated, each read when it is asked for: from the start, or from where the counts go on."""
    for shard in shards:
        if shard.resume:
            krav, stays, people, spells = read_resumed(session, shard.first, shard.last)
            count: Count = partial(go_on, people, spells, shard.resume)
        else:
            krav, stays = read_shard(session, shard, "fra_start")
            count = count_all
        yield partial(_calculated, krav, stays, count, bases(session, shard.first, shard.last), grid, rates, rules)


def _summary(session: Session, month: date, calculated: int) -> Calculated:
    """What the warehouse holds after the pass, and what it gives for `month`."""
    row = session.frame(
        """SELECT (SELECT count(*) FROM refusion.borger_uge_ydelse) AS raekker,
               sum(refusion_oere)::BIGINT AS refusion_oere, sum(medfinansiering_oere)::BIGINT AS medfinansiering_oere,
               (SELECT count(*) FROM duration.forloeb) AS forloeb,
               (SELECT count(*) FROM refusion.fleksbidrag) AS fleksbidrag,
               (SELECT sum(refusion_oere)::BIGINT FROM refusion.fleksbidrag WHERE maaned = $month) AS fleksbidrag_oere,
               (SELECT sum(beloeb_oere)::BIGINT FROM refusion.uden_kommune) AS uden_kommune_oere
        FROM refusion.borger_uge_ydelse WHERE maaned = $month""",
        month=month,
    )
    return Calculated(beregnede=calculated, **row.fill_null(0).row(0, named=True))


def sums(session: Session, first: date, last: date) -> pl.DataFrame:
    """What the state gives each municipality, net, for some benefit months: kommunekode, oere."""
    return session.frame(
        """SELECT kommunekode, sum(refusion_oere - medfinansiering_oere)::BIGINT AS oere
        FROM refusion.tilstand WHERE maaned BETWEEN $first AND $last GROUP BY 1""",
        first=first,
        last=last,
    )


def difference(before: pl.DataFrame, after: pl.DataFrame, navne: dict[str, str]) -> Iterator[str]:
    """The lines that tell what has changed: a municipality each, and all of them. Net to the municipality."""
    both = before.join(after, on="kommunekode", how="full", coalesce=True, suffix="_nu").fill_null(0)
    moved = both.with_columns(forskel=pl.col("oere_nu") - pl.col("oere")).sort("kommunekode")
    for kode, _, _, oere in moved.filter(pl.col("forskel") != 0).iter_rows():
        yield f"  {kode} {navne.get(kode, kode):<24}{kroner_text(oere):>24}"
    total = int(moved["forskel"].sum())
    anything = moved["forskel"].abs().sum()
    yield f"Forskel, netto til kommunerne: {kroner_text(total)}" if anything else "Ingen forskel."


def told(lines: Sequence[str]) -> dict[str, dg.MetadataValue]:
    """The lines of `difference` as the UI shows them on a table."""
    return {"forskel": dg.MetadataValue.md("\n".join(f"    {line}" for line in lines))} if lines else {}


def _calculated_again(
    session: Session, place: Place, context: dg.AssetExecutionContext
) -> tuple["Calculated", list[str]]:
    """What a run calculates, and the difference it makes if settled months are done again; nothing to tell if not."""
    asked = span(session, place, context)
    fra = None if context.job_name == GENINDLAES else asked.fra  # a reload tells whose claims are others
    months = sorted(month_of(key) for key in context.partition_keys)
    again = asked.fra or context.job_name in (GENBEREGN, GENINDLAES)
    before = sums(session, months[0], months[-1]) if again else None
    done = calculate(session, place, asked.month, place.telling(context.log.info), fra)
    if before is None:
        return done, []
    navne = {k.kommunekode: k.navn for k in place.rules.kommuner}
    return done, list(difference(before, sums(session, months[0], months[-1]), navne))


FORLOEB, RAEKKE = dg.AssetKey(["duration", "forloeb"]), dg.AssetKey(["refusion", "borger_uge_ydelse"])
FLEKSBIDRAG = dg.AssetKey(["refusion", "fleksbidrag"])
KRAV, REGISTER = dg.AssetKey(["classified", "krav"]), dg.AssetKey(["raw", "register"])


def _spec(key: dg.AssetKey, deps: list[dg.AssetKey], text: str, months: dg.PartitionsDefinition[str]) -> dg.AssetSpec:
    """One of the tables that the pass makes."""
    return dg.AssetSpec(
        key,
        deps=deps,
        description=text,
        group_name=key.path[0],
        kinds=KINDS,
        owners=[OWNER],
        metadata=of_table(".".join(key.path)),
        partitions_def=months,
    )


def build(months: dg.PartitionsDefinition[str], regler: Sequence[dg.AssetKey] = ()) -> list[dg.AssetsDefinition]:
    """Duration, refusion and fleksbidrag, cut by benefit month; one pass makes all. `regler`: the law's topics."""
    weeks = f"{Forloeb.__doc__}\n\nHjemmel: § 5, § 6, § 30, stk. 1."
    money = f"{BorgerUgeYdelse.__doc__}\n\nHjemmel: § 5, stk. 2-3."
    extra = f"{BorgerMaanedFleksbidrag.__doc__}\n\nHjemmel: § 7."

    @dg.multi_asset(
        specs=[
            _spec(FORLOEB, [KRAV], weeks, months),
            _spec(RAEKKE, [FORLOEB, KRAV, REGISTER, *regler], money, months),
            _spec(FLEKSBIDRAG, [RAEKKE, KRAV, REGISTER], extra, months),
        ],
        name="duration_og_refusion",
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
    )
    def duration_og_refusion(
        context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Weeks counted and money priced for whom the month has changed; all of it, if several months are asked for."""
        with stopping(), place.warehouse.open() as session:
            done, lines = _calculated_again(session, place, context)
        if lines:
            context.log.info("\n".join(lines))
        spells = {"dagster/row_count": done.forloeb, "beregnede_borgere": done.beregnede}
        yield dg.MaterializeResult(asset_key=FORLOEB, metadata=spells)
        money_of: dict[str, Any] = {
            "dagster/row_count": done.raekker,
            "refusion_kr": kroner(done.refusion_oere),
            "medfinansiering_kr": kroner(done.medfinansiering_oere),
            "uden_kommune_kr": kroner(done.uden_kommune_oere),
            **told(lines),
        }
        yield dg.MaterializeResult(asset_key=RAEKKE, metadata=money_of)
        money_of = {"dagster/row_count": done.fleksbidrag, "fleksbidrag_kr": kroner(done.fleksbidrag_oere)}
        yield dg.MaterializeResult(asset_key=FLEKSBIDRAG, metadata=money_of)

    return [duration_og_refusion]
