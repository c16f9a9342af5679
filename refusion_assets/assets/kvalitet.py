"""Kvalitet: how well the senders deliver over time, as a table and a plot in the UI."""

import base64
from collections.abc import Iterator, Sequence

import dagster as dg
import polars as pl

from refusion_assets.assets.wiring import POOL, run_month, stopping
from refusion_assets.context import Place
from refusion_assets.metadata import KINDS, OWNER
from refusion_assets.warehouse import Session

MEASURES = {
    "karantaene": "Linjer i karantæne, pct.",
    "forsinket": "Linjer om en måned før den forrige, pct.",
    "rettet": "Tilbageførsler og tillæg, pct.",
}
COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#edae49", "#8d5a97", "#5c5c5c")
WIDTH, HEIGHT, LEFT, TOP = 260, 120, 34, 24

QUALITY = """
SELECT kilde, modtaget_maaned AS maaned, count(*) AS linjer,
       count(*) FILTER (status = 'karantaene') AS karantaene,
       count(*) FILTER (periode_slut < modtaget_maaned - INTERVAL 1 MONTH) AS forsinket,
       count(*) FILTER (art = 'T' OR beloeb_oere < 0) AS rettet
FROM classified.dom JOIN classified.linje USING (fil_id, linje) JOIN raw.fil USING (fil_id)
WHERE modtaget_maaned > $month::DATE - INTERVAL 12 MONTH AND modtaget_maaned <= $month::DATE
GROUP BY 1, 2 ORDER BY 1, 2"""


def quality(session: Session, month: object) -> pl.DataFrame:
    """One row per sender and month of receipt of the last year: lines, and how many are bad, late, corrected."""
    return session.frame(QUALITY, month=month)


def table(rows: pl.DataFrame) -> str:
    """The quality as a Markdown table, newest month first."""
    head = "| Kilde | Måned | Linjer | Karantæne | Forsinket | Rettet |\n| --- | --- | ---: | ---: | ---: | ---: |\n"
    ordered = rows.sort("maaned", "kilde", descending=[True, False])
    columns = ("linjer", "karantaene", "forsinket", "rettet")
    lines = (
        f"| {row['kilde']} | {row['maaned']:%Y-%m} | " + " | ".join(str(row[c]) for c in columns) + " |"
        for row in ordered.iter_rows(named=True)
    )
    return head + "\n".join(lines)


def plot(rows: pl.DataFrame) -> str:
    """Three small charts (SVG), one line per sender, per cent of the sender's lines of the month."""
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
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
    )
    def kvalitet(context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]) -> dg.MaterializeResult[None]:
        """One row per sender and month of the last year: lines, quarantine, lateness and corrections.

        Shown as a table and a plot on the materialisation; nothing is stored.
        """
        with stopping(), place.warehouse.open() as session:
            rows = quality(session, run_month(context))
        image = base64.b64encode(plot(rows).encode()).decode()
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": rows.height,
                "kvalitet": dg.MetadataValue.md(table(rows)),
                "plot": dg.MetadataValue.md(f"![kvalitet](data:image/svg+xml;base64,{image})"),
            }
        )

    return [kvalitet]
