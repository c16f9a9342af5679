"""Kvalitet: how well the senders deliver over time, kept in a table and shown as tables and a plot in the UI."""

from datetime import date
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from refusion_assets import figures
from refusion_assets.assets.gate import run_month, stopping, table_asset
from refusion_assets.partitions import kroner
from refusion_assets.place import Place
from refusion_assets.store.session import Session

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = {
    "karantaene": "Linjer i karantæne, pct.",
    "sene": "Linjer modtaget sent, pct.",
    "rettelser": "Tilbageførsler og tillæg, pct.",
}
COUNTED = ("Linjer", "Karantæne", "Sene", "Rettelser")
MOST_SENDERS = 10
MARGINS, TICKS = {"left": 0.04, "right": 0.98, "bottom": 0.22, "top": 0.88, "wspace": 0.2}, 4

# A line l with its raw row i that was received so many $days after its period ended.
LATE_LINE = "date_diff('day', l.periode_slut, i.Modtaget_tidspunkt::DATE) > $days"

# A month of receipt is measured in its own run, or later if it has no rows: later verdicts are not the month's own.
FRESH = f"""
WITH maaneder AS (
    SELECT fil_id FROM raw.fil WHERE NOT dublet AND modtaget_maaned <= $month
    AND (modtaget_maaned = $month OR modtaget_maaned NOT IN (SELECT maaned FROM kontrol.kvalitet))
)
SELECT f.kilde, f.enhed, f.modtaget_maaned AS maaned, count(*) AS linjer,
       count(*) FILTER (d.status = 'karantaene') AS karantaene,
       count(*) FILTER (l.art = 'I' AND {LATE_LINE}) AS sene,
       count(*) FILTER (l.art = 'T' OR l.beloeb_oere < 0) AS rettelser,
       coalesce(sum(l.beloeb_oere) FILTER (d.status = 'karantaene'), 0)::BIGINT AS karantaene_oere
FROM maaneder SEMI JOIN classified.grundlag USING (fil_id)
JOIN raw.fil f USING (fil_id) JOIN classified.linje l USING (fil_id)
JOIN raw.indberetning i USING (fil_id, linje) LEFT JOIN classified.dom d USING (fil_id, linje)
GROUP BY ALL"""

YEAR = """
SELECT * FROM kontrol.kvalitet WHERE maaned > $month::DATE - INTERVAL 12 MONTH AND maaned <= $month::DATE
ORDER BY maaned, kilde, enhed"""


def quality(session: Session, place: Place, month: date) -> pl.DataFrame:
    """One row per sender and month of receipt of the last year (`kontrol.kvalitet`), the month's own made anew."""
    fresh = session.frame(FRESH, month=month, days=place.rules.graense("forsinket_dage"))
    session.run("DELETE FROM kontrol.kvalitet WHERE maaned = $month", month=month)
    session.insert("kontrol.kvalitet", fresh)
    return session.frame(YEAR, month=month)


def by_source(rows: pl.DataFrame) -> pl.DataFrame:
    """The quality of every source by month: its senders added together."""
    return rows.group_by("kilde", "maaned").agg(pl.col("linjer", *MEASURES).sum()).sort("maaned", "kilde")


def worst(rows: pl.DataFrame) -> str:
    """The senders with the most quarantined and late lines of the newest month, as a Markdown table."""
    newest = rows.filter(pl.col("maaned") == pl.col("maaned").max()).with_columns(
        slemme=pl.col("karantaene") + pl.col("sene")
    )
    ordered = newest.sort("slemme", "kilde", "enhed", descending=[True, False, False]).head(MOST_SENDERS)
    sender = pl.concat_str("kilde", "enhed", separator="-")
    return figures.table(["Afsender", *COUNTED], ordered.select(sender, "linjer", *MEASURES).iter_rows(), 1)


def table(rows: pl.DataFrame) -> str:
    """The quality as a Markdown table, newest month first."""
    ordered = rows.sort("maaned", "kilde", descending=[True, False])
    cells = ordered.select("kilde", pl.col("maaned").dt.strftime("%Y-%m"), "linjer", *MEASURES).iter_rows()
    return figures.table(["Kilde", "Måned", *COUNTED], cells, 2)


def plot(rows: pl.DataFrame) -> str:
    """Three small charts (SVG), one line per source, per cent of the source's lines of the month."""
    return figures.plot(partial(_charts, rows), 10, 2.8)


def _charts(rows: pl.DataFrame, figure: "Figure") -> None:
    """A chart for each measure; an empty figure where there are no lines."""
    months = rows["maaned"].unique().sort().to_list()
    charts = figure.subplots(1, len(MEASURES), gridspec_kw=MARGINS) if months else []
    for axes, (measure, title) in zip(charts, MEASURES.items(), strict=False):
        for (kilde,), mine in rows.sort("kilde", "maaned").group_by("kilde", maintain_order=True):
            share = (mine[measure] * 100 / mine["linjer"]).to_list()  # a float: only the chart uses it
            axes.plot([months.index(month) for month in mine["maaned"]], share, marker=".", label=kilde)
        edges = sorted({0, len(months) - 1})
        axes.set(title=title, xticks=edges, xticklabels=[f"{months[place]:%Y-%m}" for place in edges])
        axes.set_ylim(0, max(axes.get_ylim()[1], 1))
        axes.locator_params(axis="y", nbins=TICKS)
        axes.yaxis.set_major_formatter(lambda percent, _: f"{percent:g}".replace(".", ","))
    if months:
        figure.legend(*charts[0].get_legend_handles_labels(), loc="lower left", ncols=9, frameon=False)


def build(months: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The quality of the deliveries, cut by month of receipt."""

    @table_asset("kontrol.kvalitet", months, deps=[["classified", "krav"]])
    def kvalitet(context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]) -> dg.MaterializeResult[None]:
        """One row per sender and month of receipt: lines, quarantine, lateness and corrections.

        Kept as the month's run saw it; shown by source and month, and for the worst senders of the month.
        """
        with stopping(), place.warehouse.open() as session:
            senders = quality(session, place, run_month(context))
        rows = by_source(senders)
        mine = senders.filter(pl.col("maaned") == run_month(context))
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": rows.height,
                **{name: int(mine[name].sum()) for name in ("linjer", *MEASURES)},
                "karantaene_kr": kroner(int(mine["karantaene_oere"].sum())),
                "kilder": dg.MetadataValue.md(table(rows)),
                "afsendere": dg.MetadataValue.md(worst(senders)),
                "plot": dg.MetadataValue.md(figures.image("kvalitet", plot(rows))),
            }
        )

    return [kvalitet]
