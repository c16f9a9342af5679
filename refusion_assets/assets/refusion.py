"""Duration and refusion: weeks counted and money priced, shard by shard, in one pass over the people."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import dagster as dg
import numpy as np
import polars as pl

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
WRITTEN = (
    "duration.forloeb",
    "refusion.borger_uge_ydelse",
    "refusion.uden_kommune",
    "refusion.anden_betaler",
    "refusion.placering",
)


@dataclass
class Calculated:
    """What the pass made: persons, spells, rows, and sums in øre."""

    borgere: int = 0
    forloeb: int = 0
    raekker: int = 0
    refusion_oere: int = 0
    medfinansiering_oere: int = 0
    uden_kommune_oere: int = 0


def shards(session: Session) -> Iterator[tuple[int, int]]:
    """Ranges of borger_id (first, last) that each hold few enough claims and people to work on at once."""
    counts = session.frame(
        "SELECT borger_id, count(*) AS krav FROM classified.krav GROUP BY borger_id ORDER BY borger_id"
    )
    if counts.is_empty():
        return
    ids = counts["borger_id"].to_numpy()
    load = np.maximum(counts["krav"].cum_sum().to_numpy() // CLAIMS_PER_SHARD, np.arange(len(ids)) // PERSONS_PER_SHARD)
    edges = np.flatnonzero(np.diff(load, prepend=-1))
    for first, last in zip(edges, [*edges[1:] - 1, len(ids) - 1], strict=True):
        yield int(ids[first]), int(ids[last])


def calculate(session: Session, place: Place, month: date, progress: Callable[[str], None]) -> Calculated:
    """All weeks and result rows as known at the end of `month` (`duration.forloeb`, `refusion.borger_uge_ydelse`).

    Hjemmel: § 5, § 6; rules.md sections 2-6.
    """
    rules = place.rules
    grid = make_grid(rules.optaelling.gaelder_fra, last_day(month))
    rates = make_rates(rules, grid)
    session.replace("regler.genoptjening", windows(rules))
    for table in WRITTEN:
        session.run(f"DELETE FROM {table}")
    done = Calculated()
    ranges = list(shards(session))
    for number, (first, last) in enumerate(ranges, 1):
        krav = session.frame(
            "SELECT * FROM classified.krav WHERE borger_id BETWEEN $first AND $last", first=first, last=last
        )
        counted = count_weeks(krav, grid, rules)
        home = residence(_bopael(session, month, first, last), counted.borger_id, grid, rules)
        paid = krav.filter(pl.col("beloeb_oere") > 0)
        priced = price(paid, counted, home, grid, rates, rules)
        _write(session, number, paid, priced)
        done.borgere += len(counted.borger_id)
        done.forloeb += session.insert("duration.forloeb", spells(counted, grid))
        done.raekker += priced.rows.height
        done.refusion_oere += int(priced.rows["refusion_oere"].sum())
        done.medfinansiering_oere += int(priced.rows["medfinansiering_oere"].sum())
        done.uden_kommune_oere += int(priced.uden_kommune["beloeb_oere"].sum())
        progress(f"skive {number} af {len(ranges)}: {done.borgere} borgere, {done.raekker} rækker")
    return done


def _write(session: Session, skive: int, paid: pl.DataFrame, priced: Priced) -> None:
    """A shard's rows, and what could not be placed, in the warehouse."""
    session.insert("refusion.borger_uge_ydelse", priced.rows)
    session.insert("refusion.uden_kommune", priced.uden_kommune)
    session.insert("refusion.anden_betaler", priced.anden_betaler)
    sums = {
        "skive": skive,
        "krav_oere": int(paid["beloeb_oere"].sum()),
        "foer_finansiering_oere": priced.parts.foer_finansiering,
        "ikke_forfalden_oere": priced.parts.ikke_forfalden,
        "uden_afregning_oere": priced.parts.uden_afregning,
    }
    session.insert("refusion.placering", pl.DataFrame([sums]))


def _bopael(session: Session, month: date, first: int, last: int) -> pl.DataFrame:
    """The stays of a shard's people in the newest snapshot at or before the run month."""
    return session.frame(
        """
        SELECT b.borger_id, r.kommunekode, r.bopael_start, r.bopael_slut
        FROM raw.bopael r JOIN identitet.borger b USING (cpr)
        WHERE b.borger_id BETWEEN $first AND $last AND r.modtaget_maaned = (
            SELECT max(modtaget_maaned) FROM raw.register WHERE art = 'bopael' AND modtaget_maaned <= $month)""",
        first=first,
        last=last,
        month=month,
    )


def build(months: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """Duration and refusion, cut by benefit month; one pass makes both."""

    def spec(table: str, group: str, deps: list[list[str]], text: str) -> dg.AssetSpec:
        return dg.AssetSpec(
            table.split("."),
            deps=[dg.AssetKey(key) for key in deps],
            description=text,
            group_name=group,
            kinds=KINDS,
            owners=[OWNER],
            metadata=of_table(table),
            partitions_def=months,
        )

    forloeb, raekke = "duration.forloeb", "refusion.borger_uge_ydelse"

    @dg.multi_asset(
        specs=[
            spec(
                forloeb, "duration", [["classified", "krav"]], f"{Forloeb.__doc__}\n\nHjemmel: § 5, § 6, § 30, stk. 1."
            ),
            spec(
                raekke,
                "refusion",
                [forloeb.split("."), ["classified", "krav"], ["raw", "register"]],
                f"{BorgerUgeYdelse.__doc__}\n\nHjemmel: § 5, stk. 2-3.",
            ),
        ],
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
        yield dg.MaterializeResult(
            asset_key=forloeb.split("."), metadata={"dagster/row_count": done.forloeb, "borgere": done.borgere}
        )
        yield dg.MaterializeResult(
            asset_key=raekke.split("."),
            metadata={
                "dagster/row_count": done.raekker,
                "refusion_kr": kroner(done.refusion_oere),
                "medfinansiering_kr": kroner(done.medfinansiering_oere),
                "uden_kommune_kr": kroner(done.uden_kommune_oere),
            },
        )

    return [duration_og_refusion]
