"""Classified: what each line is about, which lines stand, and the claims they make."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg

from refusion_assets.assets.dom import choose, judge_reports, quarantined
from refusion_assets.assets.krav import make_claims
from refusion_assets.assets.linje import judge_lines
from refusion_assets.assets.wiring import POOL, span, stopping
from refusion_assets.context import Place
from refusion_assets.metadata import KINDS, OWNER, kroner, of_table
from refusion_assets.warehouse import Session


@dataclass(frozen=True)
class Sorted:
    """What classification found: claims, quarantined lines and their amount (øre)."""

    krav: int
    karantaene: int
    karantaene_oere: int
    regler: dict[str, int]


def classify_through(
    session: Session, place: Place, month: date, progress: Callable[[str], None] = lambda _: None
) -> Sorted:
    """Every line received through `month` judged, and the claims that stand (`classified.krav`).

    Only what new, changed or withdrawn files can touch is judged again: the reports that share an id with
    them, and the claims of those reports. The result is that of judging everything. Source: input.md 2-4.
    """
    again = judge_lines(session, place, progress)
    scope = choose(session, month, again=again)
    judge_reports(session, scope)
    make_claims(session, scope, progress)
    session.run("DELETE FROM classified.udgaaet")
    session.run("DELETE FROM classified.grundlag")
    session.run("INSERT INTO classified.grundlag SELECT fil_id FROM maalet")
    return _summary(session)


def _summary(session: Session) -> Sorted:
    """What the classification holds now."""
    bad = quarantined(session)
    krav = int(session.value("SELECT count(*) FROM classified.krav"))  # type: ignore[call-overload]
    return Sorted(krav, int(bad["antal"].sum()), int(bad["oere"].sum()), dict(bad.select("regel", "antal").iter_rows()))


def build(months: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The classified asset, cut by month of receipt."""

    @dg.asset(
        key=["classified", "krav"],
        deps=[["raw", "indberetning"]],
        partitions_def=months,
        group_name="classified",
        kinds=KINDS,
        owners=[OWNER],
        metadata=of_table("classified.krav"),
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
    )
    def krav(context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]) -> dg.MaterializeResult[None]:
        """One row per claim: person, account, period and payer, with the sum of the rows that stand.

        Reads every line received through the month; reversals, duplicates and bad rows are judged here.
        """
        with stopping(), place.warehouse.open() as session:
            asked = span(session, place, context)
            found = classify_through(session, place, asked.month, place.telling(context.log.info))
        metadata: dict[str, Any] = {
            "dagster/row_count": found.krav,
            "karantaene_raekker": found.karantaene,
            "karantaene_kr": kroner(found.karantaene_oere),
            "karantaene_regler": dg.MetadataValue.json(found.regler),
        }
        return dg.MaterializeResult(metadata=metadata)

    return [krav]
