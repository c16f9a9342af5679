"""Classified: what each line is about, which lines stand, and the claims they make."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from refusion_assets.assets.wiring import POOL, run_month, stopping
from refusion_assets.context import Place
from refusion_assets.domain.classified import Linje, judge
from refusion_assets.domain.krav import KARANTAENE, classify
from refusion_assets.metadata import KINDS, OWNER, kroner, of_table
from refusion_assets.warehouse import Session


@dataclass(frozen=True)
class Sorted:
    """What classification found: claims, quarantined lines and their amount (øre)."""

    krav: int
    karantaene: int
    karantaene_oere: int
    regler: dict[str, int]


def classify_through(session: Session, place: Place, month: date) -> Sorted:
    """Every line received through `month` judged, and the claims that stand (`classified.krav`).

    Source: input.md sections 2-4.
    """
    _judge_lines(session, place)
    linjer = session.frame(
        """
        SELECT l.*, f.fil_orden FROM classified.linje l JOIN (
            SELECT fil_id, row_number() OVER (ORDER BY modtaget_maaned, foerste_modtaget, filnavn) AS fil_orden
            FROM raw.fil WHERE NOT dublet AND modtaget_maaned <= $month) f USING (fil_id)
        ORDER BY fil_id, linje""",
        month=month,
    )
    result = classify(linjer)
    session.replace("classified.dom", result.linjer)
    session.replace("classified.krav", result.krav)
    bad = result.linjer.filter(pl.col("status") == KARANTAENE)
    amounts = bad.join(linjer, on=["fil_id", "linje"])["beloeb_oere"].sum()
    counts = dict(bad.group_by("regel").len().sort("regel").iter_rows())
    return Sorted(result.krav.height, bad.height, int(amounts), counts)


def _judge_lines(session: Session, place: Place) -> None:
    """Lines not judged under these rules are judged (`classified.linje`), one month of receipt at a time."""
    version = place.rules.version
    stale = session.frame(
        """SELECT modtaget_maaned, list(fil_id ORDER BY fil_id) AS filer FROM raw.fil
        WHERE bedoemt_med IS DISTINCT FROM $version GROUP BY ALL ORDER BY ALL""",
        version=version,
    )
    for filer in stale["filer"]:
        _judge_files(session, place, filer.to_list())
    session.run(
        "UPDATE raw.fil SET bedoemt_med = $version WHERE bedoemt_med IS DISTINCT FROM $version", version=version
    )


def _judge_files(session: Session, place: Place, filer: list[int]) -> None:
    """The lines of some files judged anew, and their persons given a number."""
    rows = session.frame(
        """SELECT i.*, f.kilde, f.enhed FROM raw.indberetning i JOIN raw.fil f USING (fil_id)
        WHERE fil_id IN (SELECT unnest($filer::BIGINT[])) ORDER BY fil_id, linje""",
        filer=filer,
    )
    judged = judge(rows, place.rules)
    _number_persons(session, judged["subjekt"])
    borger = session.frame("SELECT cpr AS subjekt, borger_id FROM identitet.borger")
    renamed = {
        "art": "Indberetningsart",
        "indberetning_id": "IndberetningsID",
        "reference_id": "ReferenceID",
        "pligt_se": "Pligt_SE",
        "kommunekode_betaler": "Kommunekode",
        "kilde_id": "kilde",
    }
    linjer = judged.join(borger, on="subjekt", how="left", maintain_order="left").with_columns(
        **{name: pl.col(column) for name, column in renamed.items()}
    )
    session.run("DELETE FROM classified.linje WHERE fil_id IN (SELECT unnest($filer::BIGINT[]))", filer=filer)
    session.insert("classified.linje", linjer.select(list(Linje.to_schema().columns)))


def _number_persons(session: Session, subjects: pl.Series) -> None:
    """A surrogate for every person not seen before, in an order that says nothing of the CPR number."""
    seen = pl.DataFrame({"cpr": subjects.drop_nulls().unique()})
    session.connection.register("seen_persons", seen)
    fresh = session.frame("""
        SELECT coalesce((SELECT max(borger_id) + 1 FROM identitet.borger), 0)
               + row_number() OVER (ORDER BY md5(cpr)) - 1 AS borger_id, cpr
        FROM (SELECT cpr FROM seen_persons ANTI JOIN identitet.borger USING (cpr)) ORDER BY borger_id""")
    session.connection.unregister("seen_persons")
    session.insert("identitet.borger", fresh.with_columns(pl.col("borger_id").cast(pl.Int64)))


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
            found = classify_through(session, place, run_month(context))
        metadata: dict[str, Any] = {
            "dagster/row_count": found.krav,
            "karantaene_raekker": found.karantaene,
            "karantaene_kr": kroner(found.karantaene_oere),
            "karantaene_regler": dg.MetadataValue.json(found.regler),
        }
        return dg.MaterializeResult(metadata=metadata)

    return [krav]
