"""Kvalitet: how well the senders deliver over time, kept in a table and shown as tables and a plot in the UI."""

import base64
from collections.abc import Iterator, Sequence
from datetime import date

import dagster as dg
import polars as pl

from refusion_assets.assets.wiring import POOL, run_month, stopping
from refusion_assets.place import Place
from refusion_assets.shown import KINDS, OWNER, of_table
from refusion_assets.store.session import Session

MEASURES = {
    "karantaene": "Linjer i karantæne, pct.",
    "sene": "Linjer modtaget sent, pct.",
    "rettelser": "Tilbageførsler og tillæg, pct.",
}
MOST_SENDERS = 10
COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#edae49", "#8d5a97", "#5c5c5c")
WIDTH, HEIGHT, LEFT, TOP = 260, 120, 34, 24

# A line l with its raw row i that was received so many $days after its period ended.
LATE_LINE = "date_diff('day', l.periode_slut, i.Modtaget_tidspunkt::DATE) > $days"

# A month of receipt is looked at when it is run (and if it never was): later verdicts on its lines are not its own.
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
    return _markdown(["Afsender"], ordered.select(sender, "linjer", *MEASURES))


def table(rows: pl.DataFrame) -> str:
    """The quality as a Markdown table, newest month first."""
    ordered = rows.sort("maaned", "kilde", descending=[True, False])
    return _markdown(
        ["Kilde", "Måned"], ordered.select("kilde", pl.col("maaned").dt.strftime("%Y-%m"), "linjer", *MEASURES)
    )


def _markdown(words: list[str], rows: pl.DataFrame) -> str:
    """A Markdown table: columns of words under these titles, and then the counts."""
    titles = [*words, "Linjer", "Karantæne", "Sene", "Rettelser"]
    below = ["---"] * len(words) + ["---:"] * (len(titles) - len(words))
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (titles, below, *rows.iter_rows()))


def plot(rows: pl.DataFrame) -> str:
    """Three small charts (SVG), one line per sender, per cent of the sender's lines of the month; none of no lines."""
    if rows.is_empty():
        return '<svg xmlns="http://www.w3.org/2000/svg"/>'
    months = rows["maaned"].unique().sort().to_list()
    kilder = rows["kilde"].unique().sort().to_list()
    charts = [
        _chart(rows, measure, title, months, kilder, offset=number * (WIDTH + LEFT + 20))
        for number, (measure, title) in enumerate(MEASURES.items())
    ]
    legend = "".join(
        f'<text x="{LEFT + 70 * i}" y="{TOP + HEIGHT + 34}" fill="{COLOURS[i % len(COLOURS)]}">{kilde}</text>'
        for i, kilde in enumerate(kilder)
    )
    width, height = 3 * (WIDTH + LEFT + 20), TOP + HEIGHT + 44
    style = 'font-family="sans-serif" font-size="11"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" {style}>'
    return f"{opening}{''.join(charts)}{legend}</svg>"


def _chart(
    rows: pl.DataFrame, measure: str, title: str, months: Sequence[object], kilder: Sequence[str], *, offset: int
) -> str:
    """One chart: the share of a measure by month, a line per sender."""
    share = rows.with_columns(promille=pl.col(measure) * 1000 // pl.col("linjer"))
    top = max(int(share["promille"].max() or 0), 10)  # type: ignore[arg-type]
    left = offset + LEFT
    parts = [f'<text x="{left}" y="14">{title}</text>']
    for value in (0, top):
        y = TOP + HEIGHT - HEIGHT * value // top
        parts.append(f'<text x="{offset}" y="{y + 4}">{value // 10},{value % 10}</text>')
        parts.append(f'<line x1="{left}" x2="{left + WIDTH}" y1="{y}" y2="{y}" stroke="#ccc"/>')
    parts += _lines(share, months, kilder, left, top)
    edges = f'<text x="{left}" y="{TOP + HEIGHT + 16}">{months[0]:%Y-%m}</text>'
    return "".join(parts) + edges + f'<text x="{left + WIDTH - 42}" y="{TOP + HEIGHT + 16}">{months[-1]:%Y-%m}</text>'


def _lines(share: pl.DataFrame, months: Sequence[object], kilder: Sequence[str], left: int, top: int) -> Iterator[str]:
    """The line of every sender."""
    step = WIDTH // max(len(months) - 1, 1)
    for number, kilde in enumerate(kilder):
        values = dict(share.filter(pl.col("kilde") == kilde).select("maaned", "promille").iter_rows())
        points = [
            (left + step * i, TOP + HEIGHT - HEIGHT * values[m] // top) for i, m in enumerate(months) if m in values
        ]
        path = " ".join(f"{x},{y}" for x, y in points)
        yield f'<polyline points="{path}" fill="none" stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="2"/>'


def build(months: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The quality of the deliveries, cut by month of receipt."""

    @dg.asset(
        key=["kontrol", "kvalitet"],
        deps=[["classified", "krav"]],
        partitions_def=months,
        group_name="kontrol",
        kinds=KINDS,
        owners=[OWNER],
        metadata=of_table("kontrol.kvalitet"),
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
    )
    def kvalitet(context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]) -> dg.MaterializeResult[None]:
        """One row per sender and month of receipt: lines, quarantine, lateness and corrections.

        Kept as the month's run saw it; shown by source and month, and for the worst senders of the month.
        """
        with stopping(), place.warehouse.open() as session:
            senders = quality(session, place, run_month(context))
        rows = by_source(senders)
        image = base64.b64encode(plot(rows).encode()).decode()
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": rows.height,
                "kilder": dg.MetadataValue.md(table(rows)),
                "afsendere": dg.MetadataValue.md(worst(senders)),
                "plot": dg.MetadataValue.md(f"![kvalitet](data:image/svg+xml;base64,{image})"),
            }
        )

    return [kvalitet]
