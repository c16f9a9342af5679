"""Duration and refusion: weeks counted and money priced, shard by shard, in one pass over the people."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from refusion_assets import figures
from refusion_assets.assets.gate import GENBEREGN, GENINDLAES, POOL, asked_months, span, stopping
from refusion_assets.assets.stale import as_metadata, difference, moved_money, sums
from refusion_assets.assets.touched import (
    FLEKS_SINCE,
    People,
    choose_people,
    leave_out_unchanged,
    may_have_fleksbidrag,
    newest_bases,
    remember,
    take_sums,
    widen_for_fleksbidrag,
)
from refusion_assets.cluster.workers import worked
from refusion_assets.domain.calendar import Grid, month_of, month_range, next_month
from refusion_assets.domain.duration.count import window_starts, windows
from refusion_assets.domain.duration.spells import Forloeb
from refusion_assets.domain.refusion.fleksbidrag import BorgerMaanedFleksbidrag
from refusion_assets.domain.refusion.price import BorgerUgeYdelse
from refusion_assets.domain.refusion.shard import Book, rows_of_shard
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.wording import plural
from refusion_assets.partitions import KINDS, OWNER, Shown, by_month, kroner, names_of_benefits, of_table, show
from refusion_assets.place import Place
from refusion_assets.store.batches import ranges
from refusion_assets.store.session import Relation, Session
from refusion_assets.store.tables import OWNERS, types_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OERE_PER_MILLION, BAR = 100_000_000, 0.25
# The part of the people that may have changed before the week where the counts of the others go on. To go back to
# their weeks would read years of claims of everybody.
FEW = 0.03
SPELL_END = "CAST(fra_uge + CAST(7 * antal_uger AS INTEGER) AS DATE)"

# The columns of a claim that counting and pricing read, and the first week to calculate of its person.
WANTED = "borger_id, ydelse_id, kommunekode_betaler, periode_start, periode_slut, beloeb_oere, fra_uge"


def going_on(people: Relation) -> str:
    """SQL for the people whose counts can go on from the week `$uge`: borger_id.

    They have changed from `$uge` on only. The week before it lies in a stored spell, or they have no spell. A spell of
    self-support (C) is stored only if support follows. It must begin after `$foerste`, the first week read, and after
    support, without a restart in between.
    """
    return f"""SELECT b.borger_id FROM {people} b LEFT JOIN (
            SELECT borger_id, max({SPELL_END}) AS slut,
                   arg_max(art, fra_uge) AS art, max(fra_uge) AS fra, arg_max(n_foer, fra_uge) AS n_foer
            FROM duration.forloeb SEMI JOIN {people} USING (borger_id) WHERE fra_uge < $uge GROUP BY borger_id
        ) f USING (borger_id)
        WHERE b.fra_uge >= $uge AND (
            f.slut IS NULL OR (f.slut >= $uge AND (f.art <> 'C' OR (f.fra > $foerste AND f.n_foer > 0))))
        ORDER BY b.borger_id"""


@dataclass(frozen=True)
class Resume:
    """The week where counts go on, how far back its windows reach, and the month of the first claims to read.

    `begin` and `first` are weeks of the grid. `people` (borger_id) go on, with the `spells` that stand (`Forloeb`) and
    the `claims` to read (`WANTED`); the `others` (borger_id, fra_uge) are counted from the start.
    """

    begin: int
    first: int
    uge: date
    maaned: date
    people: Relation
    spells: Relation
    claims: Relation
    others: Relation


def choose_resume(session: Session, people: People, rules: Rulebook, grid: Grid) -> Resume | None:
    """The week where the counts of most of the people can go on; None where all must be counted from the start.

    Counters beside the law's own and maxima read the weeks before that week, so with them nobody's count goes on.
    Hjemmel: § 6, stk. 1 (the window).
    """
    uge = session.value(f"SELECT quantile_disc(fra_uge, {FEW}) FROM {people}")
    if not isinstance(uge, date) or rules.taellere or rules.lofter:
        return None
    # A change of days to come changes no week of the grid.
    begin = min(grid.week_of(uge), grid.weeks - 1)
    uge = grid.monday_of(begin)
    maaned = uge.replace(day=1)
    earliest = session.value(
        f"""SELECT min(periode_start) FROM classified.krav SEMI JOIN {people} USING (borger_id)
        WHERE periode_slut >= $maaned""",
        maaned=maaned,
    )
    reach = [*window_starts(rules, grid)[0][begin:], grid.week_of(maaned)]
    first = min(*reach, grid.week_of(earliest) if isinstance(earliest, date) else begin)
    # The weeks before the overgang take their step from the first week after it.
    if first <= max(grid.week_of(rules.overgang.gaelder_fra), 0):
        return None
    weeks = {"uge": uge, "foerste": grid.monday_of(first)}
    these = session.temp("going_on", going_on(people.relation), **weeks)
    spells_query = f"""SELECT * FROM duration.forloeb SEMI JOIN {these} USING (borger_id)
        WHERE fra_uge < $uge AND {SPELL_END} > $foerste ORDER BY borger_id, fra_uge"""
    claims_query = f"""SELECT {WANTED} FROM classified.krav JOIN {people} USING (borger_id)
        SEMI JOIN {these} USING (borger_id) WHERE periode_slut >= $maaned ORDER BY borger_id"""
    return Resume(
        begin,
        first,
        uge,
        maaned,
        people=these,
        spells=session.temp("spells_standing", spells_query, **weeks),
        claims=session.temp("claims_to_read", claims_query, maaned=maaned),
        others=session.temp("from_the_start", f"FROM {people} ANTI JOIN {these} USING (borger_id)"),
    )


Work = partial[dict[str, pl.DataFrame]]
CLAIMS_PER_SHARD = 500_000
PERSONS_PER_SHARD = 20_000
OWN_COUNTERS = "duration.forloeb_taeller"
BY_PERSON = (OWN_COUNTERS, "duration.forloeb", "refusion.placering")
CONTRIBUTIONS = "refusion.fleksbidrag"
# The rows of a week, and those of a month alone; a contribution follows its month, but rests on the weeks before it.
MINE = {table: types_of(table) for table in OWNERS["assets.refusion"]}
BY_WEEK = tuple(table for table, columns in MINE.items() if "uge" in columns and table != CONTRIBUTIONS)
BY_MONTH = tuple(table for table, columns in MINE.items() if "maaned" in columns and "uge" not in columns)
MADE = (*BY_PERSON, *BY_WEEK, CONTRIBUTIONS, *BY_MONTH)


@dataclass(frozen=True)
class Shard:
    """A run of people: first and last borger_id, the number of people, and the week where their counts go on."""

    first: int
    last: int
    borgere: int
    resume: Resume | None = None


@dataclass(frozen=True)
class Calculated:
    """The number of people calculated, of rows in the warehouse after it, and the sums of the last month (øre)."""

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

    Only the people of `choose_people` are calculated, each from the first week that can differ. The result is that of
    calculating everything.
    Hjemmel: § 5, § 6; rules.md sections 2-6.
    """
    rules = place.rules
    book = Book(rules, month)
    grid = book.grid
    session.replace("regler.genoptjening", windows(rules))
    chosen, fleks = choose_people(session, place, month, fra), may_have_fleksbidrag(session, rules)
    people = widen_for_fleksbidrag(session, chosen, fleks, rules)
    bases = newest_bases(session, people, fleks, month)
    before = take_sums(session, people) if people.since else None
    resume = choose_resume(session, people, rules, grid)
    counted_anew = resume.others if resume else people.relation
    _forget(session, people, counted_anew, resume)
    stays = choose_stays(session, people)
    shards = shards_of(session, counted_anew)
    if resume:
        shards += _shards_going_on(session, resume, grid)
    everybody, done, rows = sum(shard.borgere for shard in shards), 0, 0
    work = _work(session, shards, book, claims_of(counted_anew), stays, bases)
    for number, (shard, tables) in enumerate(zip(shards, worked(work), strict=True), 1):
        for table in MADE:
            session.insert(table, tables[table])
        done, rows = done + shard.borgere, rows + tables["refusion.borger_uge_ydelse"].height
        remains = f"{plural(rows, 'række', 'rækker')}, {plural(everybody - done, 'borger', 'borgere')} mangler"
        ready = f"{done} af {plural(everybody, 'borger', 'borgere')} beregnet"
        progress(f"skive {number} af {len(shards)}: {ready}, {remains}")
    if before:
        # Most rows that are made again for other rules come out as they were; their people need no settling.
        people = leave_out_unchanged(session, people, before, take_sums(session, people))
    remember(session, place, month, people)
    return _summary(session, month, done)


def shards_of(session: Session, people: Relation) -> list[Shard]:
    """The people of a relation (borger_id), in runs of borger_id that are each small enough to work on at once."""
    return _runs(
        session,
        f"""SELECT borger_id, count(*) AS krav FROM classified.krav
        SEMI JOIN {people} USING (borger_id) GROUP BY 1 ORDER BY 1""",
    )


def _shards_going_on(session: Session, resume: Resume, grid: Grid) -> list[Shard]:
    """The people whose counts go on, in shards: the fewer weeks are counted, the more of them."""
    query = f"""SELECT g.borger_id, count(k.ydelse_id) AS krav FROM {resume.people} g
        LEFT JOIN {resume.claims} k USING (borger_id) GROUP BY 1 ORDER BY 1"""
    return _runs(session, query, PERSONS_PER_SHARD * grid.weeks // (grid.weeks - resume.first), resume)


def _runs(session: Session, query: str, persons: int = PERSONS_PER_SHARD, resume: Resume | None = None) -> list[Shard]:
    """The people of a query (borger_id, krav), sorted, in shards."""
    counts = session.frame(query)
    weight = counts["krav"] + CLAIMS_PER_SHARD // persons
    parts = list(ranges(counts["borger_id"], weight, CLAIMS_PER_SHARD))
    begins = counts["borger_id"].search_sorted(pl.Series([first for first, _ in parts], dtype=pl.Int64)).to_list()
    ends = [*begins, counts.height][1:]
    return [Shard(*part, end - begin, resume) for part, begin, end in zip(parts, begins, ends, strict=True)]


def _forget(session: Session, people: People, counted_anew: Relation, resume: Resume | None) -> None:
    """The rows to calculate anew leave the warehouse; of the people whose counts go on, those from that week on.

    Where counts go on, the rules have no counters beside the law's own, so the spells of those leave for everybody.
    """
    if resume:
        mine = f"t USING {resume.people} g WHERE t.borger_id = g.borger_id"
        session.run(f"DELETE FROM duration.forloeb {mine} AND {SPELL_END} >= $uge", uge=resume.uge)
        session.run(f"DELETE FROM refusion.placering {mine} AND t.slut_maaned >= $maaned", maaned=resume.maaned)
    gone = [
        *((table, people.relation if table == OWN_COUNTERS else counted_anew, "true") for table in BY_PERSON),
        *((table, people.relation, "t.uge >= b.fra_uge") for table in BY_WEEK),
        (CONTRIBUTIONS, people.relation, f"t.maaned >= {FLEKS_SINCE}"),
        *((table, people.relation, "t.maaned >= date_trunc('month', b.fra_uge)") for table in BY_MONTH),
    ]
    for table, whose, when in gone:
        session.run(f"DELETE FROM {table} t USING {whose} b WHERE t.borger_id = b.borger_id AND {when}")


def choose_stays(session: Session, people: People) -> Relation:
    """The stays in the snapshot of the people to calculate, in the order of the shards.

    Columns: borger_id, kommunekode, bopael_start, bopael_slut.
    """
    return session.temp(
        "stays",
        f"""SELECT b.borger_id, r.kommunekode, r.bopael_start, r.bopael_slut
        FROM raw.bopael r JOIN identitet.borger b USING (cpr) SEMI JOIN {people} USING (borger_id)
        WHERE r.modtaget_maaned = $snapshot ORDER BY borger_id""",
        snapshot=people.snapshot,
    )


def claims_of(people: Relation) -> Relation:
    """The claims of some people (borger_id, fra_uge), each with the first week that is wanted of its person."""
    return Relation(f"(SELECT {WANTED} FROM classified.krav JOIN {people} USING (borger_id))")


def read_shard(session: Session, shard: Shard, *relations: Relation) -> list[pl.DataFrame]:
    """The rows that each relation has of a shard's people."""
    query = "FROM {} WHERE borger_id BETWEEN $first AND $last"
    return [session.frame(query.format(rows), first=shard.first, last=shard.last) for rows in relations]


def _work(
    session: Session, shards: list[Shard], book: Book, claims: Relation, stays: Relation, bases: Relation
) -> Iterator[Work]:
    """The shards to be calculated, each read when it is asked for: from the start, or from where the counts go on."""
    for shard in shards:
        resume = shard.resume
        if resume:
            wanted = (resume.claims, stays, bases, resume.people, resume.spells)
            weeks = (resume.first, resume.begin)
            yield partial(rows_of_shard, book, weeks, *read_shard(session, shard, *wanted))
        else:
            yield partial(rows_of_shard, book, None, *read_shard(session, shard, claims, stays, bases))


def _summary(session: Session, month: date, calculated: int) -> Calculated:
    """The rows in the warehouse after the pass, and the sums of `month`."""
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


def _calculated_again(
    session: Session, place: Place, context: dg.AssetExecutionContext
) -> tuple["Calculated", dict[str, dg.MetadataValue]]:
    """The result of a run, and the difference as the UI shows it if settled months are done again; none if not."""
    asked = span(session, place, context)
    # After a reload classified.aendret names the people whose claims have changed.
    fra = None if context.job_name == GENINDLAES else asked.fra
    months = sorted(month_of(key) for key in context.partition_keys)
    again = asked.fra or context.job_name in (GENBEREGN, GENINDLAES)
    before = sums(session, months[0], months[-1]) if again else None
    done = calculate(session, place, asked.month, place.telling(context.log.info), fra)
    if before is None:
        return done, {}
    change = moved_money(before, sums(session, months[0], months[-1]))
    context.log.info("\n".join(difference(change, place.rules)))
    return done, as_metadata(change, place.rules)


FORLOEB, RAEKKE = dg.AssetKey(["duration", "forloeb"]), dg.AssetKey(["refusion", "borger_uge_ydelse"])
FLEKSBIDRAG = dg.AssetKey(["refusion", "fleksbidrag"])
KRAV, REGISTER = dg.AssetKey(["classified", "krav"]), dg.AssetKey(["raw", "register"])


# DuckDB has no memory for counting the people of all months of the country at once.
MONTHS_TOGETHER = 24
# The months' rows by benefit and by step.
OF_MONTHS = """
SELECT maaned, ydelse_id AS gruppe, trin, grouping(trin) = 0 AS er_trin, count(DISTINCT borger_id) AS borgere,
       count(*) AS raekker, sum(refusion_oere)::BIGINT AS refusion_oere,
       sum(medfinansiering_oere)::BIGINT AS medfinansiering_oere
FROM refusion.borger_uge_ydelse WHERE maaned IN (SELECT unnest($months::DATE[]))
GROUP BY GROUPING SETS ((maaned), (maaned, ydelse_id), (maaned, trin))"""
# Spells of support; those of self-support are stored only if support follows.
SPELLS_OF_MONTHS = f"""
WITH maaneder AS (SELECT unnest(generate_series($first::DATE, $last::DATE, INTERVAL 1 MONTH))::DATE AS maaned)
SELECT maaned, art AS gruppe, count(DISTINCT borger_id) AS borgere, count(*) AS forloeb
FROM duration.forloeb JOIN maaneder ON fra_uge <= last_day(maaned) AND {SPELL_END} > maaned WHERE art <> 'C'
GROUP BY GROUPING SETS ((maaned), (maaned, art))"""
ARTER = {"A": "Uger, der tæller (A)", "B": "Andre uger med ydelse (B)"}


def shown(session: Session, place: Place, first: date, last: date) -> dict[dg.AssetKey, Shown]:
    """Each month's people and money as its cells show them; on the last month the money by step, too."""
    months = month_range(first, last)
    pieces = [months[at : at + MONTHS_TOGETHER] for at in range(0, len(months), MONTHS_TOGETHER)]
    # The plot compares the last month with the month before it and with that of a year ago.
    beside = sorted({next_month(last, -1), next_month(last, -12)} - set(months))
    rows = pl.concat([session.frame(OF_MONTHS, months=piece) for piece in [*pieces, beside]])
    of_benefits = rows.filter(~pl.col("er_trin")).drop("trin", "er_trin")
    money = by_month(of_benefits, "Ydelse", names_of_benefits(place.rules))
    drawn = plot_steps(rows.filter("er_trin").drop_nulls("trin"))
    key = f"{last:%Y-%m}"
    money[key] = money.get(key, {}) | {"plot": dg.MetadataValue.md(figures.image("trin", drawn))}
    spells_now = pl.concat([session.frame(SPELLS_OF_MONTHS, first=some[0], last=some[-1]) for some in pieces])
    return {RAEKKE: money, FORLOEB: by_month(spells_now, "Uger", ARTER)}


def plot_steps(rows: pl.DataFrame) -> str:
    """The money of each step (SVG), a bar for each month, newest first; no bar for fewer than `FEW` people.

    `rows`: maaned, trin, borgere, refusion_oere, medfinansiering_oere.
    """
    drawn = rows.filter(pl.col("borgere") >= figures.FEW).sort("maaned", "trin", descending=[True, False])
    return figures.plot(partial(_steps, drawn), 7, 2.6)


def _steps(rows: pl.DataFrame, figure: "Figure") -> None:
    """The money of each step, a bar for each month; of both sides, as each benefit has one."""
    axes = figure.subplots(gridspec_kw={"left": 0.09, "right": 0.98, "bottom": 0.12, "top": 0.8})
    trin = rows["trin"].unique().sort().to_list()
    for place, ((month,), mine) in enumerate(rows.group_by("maaned", maintain_order=True)):
        millions = (mine["refusion_oere"] + mine["medfinansiering_oere"]) / OERE_PER_MILLION  # a float: only drawn
        axes.bar([trin.index(t) + place * BAR for t in mine["trin"]], millions.to_list(), BAR, label=f"{month:%Y-%m}")
    axes.set_axisbelow(True)
    axes.set(title="Refusion og medfinansiering efter trin, mio. kr.")
    axes.set_xticks([at + BAR for at in range(len(trin))], [f"Trin {t}" for t in trin])
    axes.yaxis.set_major_formatter(lambda number, _: f"{number:g}".replace(".", ","))
    if trin:
        axes.legend(frameon=False, ncols=3)


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
        """Weeks counted and money priced for the people the month has changed; if several months are asked for, all."""
        with stopping(), place.warehouse.open() as session:
            done, change = _calculated_again(session, place, context)
        # The rows of a transaction hold memory until it ends, and those of the country leave none for counting.
        with stopping(), place.warehouse.open() as session:
            of_months = shown(session, place, *asked_months(context))
        for key, said in of_months.items():
            show(context, said, key)
        spells = {"dagster/row_count": done.forloeb, "beregnede_borgere": done.beregnede}
        yield dg.MaterializeResult(asset_key=FORLOEB, metadata=spells)
        money_of: dict[str, Any] = {
            "dagster/row_count": done.raekker,
            "uden_kommune_kr": kroner(done.uden_kommune_oere),
            **change,
        }
        yield dg.MaterializeResult(asset_key=RAEKKE, metadata=money_of)
        money_of = {"dagster/row_count": done.fleksbidrag, "fleksbidrag_kr": kroner(done.fleksbidrag_oere)}
        yield dg.MaterializeResult(asset_key=FLEKSBIDRAG, metadata=money_of)

    return [duration_og_refusion]
