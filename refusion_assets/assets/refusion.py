"""Duration and refusion: weeks counted and money priced, shard by shard, in one pass over the people."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import dagster as dg
import polars as pl

from refusion_assets.assets.change import choose, ranges, remember
from refusion_assets.assets.wiring import POOL, run_month, stopping
from refusion_assets.context import Place
from refusion_assets.domain.bopael import residence
from refusion_assets.domain.duration import Forloeb, count_weeks, spells, windows
from refusion_assets.domain.refusion import BorgerUgeYdelse, Priced, price
from refusion_assets.domain.satser import make_rates
from refusion_assets.domain.weeks import last_day, make_grid
from refusion_assets.metadata import KINDS, OWNER, kroner, of_table
from refusion_assets.warehouse import Session

CLAIMS_PER_SHARD = 400_000
PERSONS_PER_SHARD = 20_000
BY_PERSON = ("duration.forloeb", "refusion.placering")
BY_WEEK = ("refusion.borger_uge_ydelse", "refusion.uden_kommune")


@dataclass(frozen=True)
class Calculated:
    """What the pass calculated (persons), and what the warehouse holds after it: spells, rows, øre."""

    beregnede: int
    forloeb: int
    raekker: int
    refusion_oere: int
    medfinansiering_oere: int
    uden_kommune_oere: int


def calculate(session: Session, place: Place, month: date, progress: Callable[[str], None]) -> Calculated:
    """All weeks and result rows as known at the end of `month` (`duration.forloeb`, `refusion.borger_uge_ydelse`).

    Only people whose claims, residence or due days have changed are calculated, from the first week that can
    differ; all of them if the rules have. The result is that of calculating everything.
    Hjemmel: § 5, § 6; rules.md sections 2-6.
    """
    rules = place.rules
    grid = make_grid(rules.optaelling.gaelder_fra, last_day(month))
    rates = make_rates(rules, grid)
    session.replace("regler.genoptjening", windows(rules))
    snapshot = choose(session, rules, month)
    _forget(session)
    done = 0
    shards = list(_shards(session))
    for number, (first, last) in enumerate(shards, 1):
        krav = session.frame(
            """SELECT k.*, b.fra_uge FROM classified.krav k JOIN beroerte b USING (borger_id)
            WHERE borger_id BETWEEN $first AND $last""",
            first=first,
            last=last,
        )
        counted = count_weeks(krav, grid, rules)
        home = residence(_bopael(session, snapshot, first, last), counted.borger_id, grid, rules)
        priced = price(krav.filter(pl.col("beloeb_oere") > 0), counted, home, grid, rates, rules)
        session.insert("duration.forloeb", spells(counted, grid))
        _write(session, priced)
        done += len(counted.borger_id)
        progress(f"skive {number} af {len(shards)}: {done} borgere beregnet")
    remember(session, place, month, snapshot)
    return _summary(session, done)


def _shards(session: Session) -> Iterator[tuple[int, int]]:
    """Ranges of borger_id (first, last) of the people to calculate, each small enough to work on at once."""
    counts = session.frame("""SELECT borger_id, count(*) AS krav FROM classified.krav
        SEMI JOIN beroerte USING (borger_id) GROUP BY 1 ORDER BY 1""")
    weight = counts["krav"] + CLAIMS_PER_SHARD // PERSONS_PER_SHARD
    yield from ranges(counts["borger_id"], weight, CLAIMS_PER_SHARD)


def _forget(session: Session) -> None:
    """The rows that are calculated anew leave the warehouse."""
    for table in BY_PERSON:
        session.run(f"DELETE FROM {table} t USING beroerte b WHERE t.borger_id = b.borger_id")
    for table in BY_WEEK:
        session.run(f"DELETE FROM {table} t USING beroerte b WHERE t.borger_id = b.borger_id AND t.uge >= b.fra_uge")
    session.run("""DELETE FROM refusion.anden_betaler t USING beroerte b
        WHERE t.borger_id = b.borger_id AND t.maaned >= date_trunc('month', b.fra_uge)""")


def _write(session: Session, priced: Priced) -> None:
    """A shard's rows, and what could not be placed, in the warehouse."""
    session.insert("refusion.borger_uge_ydelse", priced.rows)
    session.insert("refusion.uden_kommune", priced.uden_kommune)
    session.insert("refusion.anden_betaler", priced.anden_betaler)
    session.insert("refusion.placering", priced.placering)


def _bopael(session: Session, snapshot: date | None, first: int, last: int) -> pl.DataFrame:
    """The stays of a shard's people in a snapshot of residences."""
    return session.frame(
        """
        SELECT b.borger_id, r.kommunekode, r.bopael_start, r.bopael_slut
        FROM raw.bopael r JOIN identitet.borger b USING (cpr)
        WHERE b.borger_id BETWEEN $first AND $last AND r.modtaget_maaned = $snapshot""",
        first=first,
        last=last,
        snapshot=snapshot,
    )


def _summary(session: Session, calculated: int) -> Calculated:
    """What the warehouse holds after the pass."""
    row = session.frame("""
        SELECT count(*) AS raekker, coalesce(sum(refusion_oere), 0)::BIGINT AS refusion_oere,
               coalesce(sum(medfinansiering_oere), 0)::BIGINT AS medfinansiering_oere,
               (SELECT count(*) FROM duration.forloeb) AS forloeb,
               (SELECT coalesce(sum(beloeb_oere), 0)::BIGINT FROM refusion.uden_kommune) AS uden_kommune_oere
        FROM refusion.borger_uge_ydelse""")
    return Calculated(beregnede=calculated, **row.row(0, named=True))


FORLOEB, RAEKKE = dg.AssetKey(["duration", "forloeb"]), dg.AssetKey(["refusion", "borger_uge_ydelse"])
KRAV, REGISTER = dg.AssetKey(["classified", "krav"]), dg.AssetKey(["raw", "register"])


def _spec(key: dg.AssetKey, deps: list[dg.AssetKey], text: str, months: dg.PartitionsDefinition[str]) -> dg.AssetSpec:
    """One of the two tables that the pass makes."""
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


def build(months: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """Duration and refusion, cut by benefit month; one pass makes both."""
    weeks = f"{Forloeb.__doc__}\n\nHjemmel: § 5, § 6, § 30, stk. 1."
    money = f"{BorgerUgeYdelse.__doc__}\n\nHjemmel: § 5, stk. 2-3."

    @dg.multi_asset(
        specs=[_spec(FORLOEB, [KRAV], weeks, months), _spec(RAEKKE, [FORLOEB, KRAV, REGISTER], money, months)],
        name="duration_og_refusion",
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
    )
    def duration_og_refusion(
        context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Weeks counted and money priced for all people, as known at the end of the latest month of the run."""
        with stopping(), place.warehouse.open() as session:
            done = calculate(session, place, run_month(context), context.log.info)
        counts = {"dagster/row_count": done.forloeb, "beregnede_borgere": done.beregnede}
        yield dg.MaterializeResult(asset_key=FORLOEB, metadata=counts)
        sums = {
            "dagster/row_count": done.raekker,
            "refusion_kr": kroner(done.refusion_oere),
            "medfinansiering_kr": kroner(done.medfinansiering_oere),
            "uden_kommune_kr": kroner(done.uden_kommune_oere),
        }
        yield dg.MaterializeResult(asset_key=RAEKKE, metadata=sums)

    return [duration_og_refusion]
