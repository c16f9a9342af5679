"""Understands figures for people: tables in Markdown, and plots that stand in it without a file beside them."""

import base64
import io
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import polars as pl

from refusion_assets.domain.wording import kroner_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A group of fewer people shows no numbers: they could be about somebody that the reader knows.
FEW = 5
HIDDEN = f"under\N{NO-BREAK SPACE}{FEW}"
HEADS = {
    "forloeb": "Forløb",
    "raekker": "Rækker",
    "beloeb_oere": "Beløb",
    "refusion_oere": "Refusion",
    "medfinansiering_oere": "Medfinansiering",
}
# Letters stay letters, so that a plot can be searched; the salt makes the names within the SVG the same each time.
STYLE = {
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "font.size": 9,
    "grid.color": "#dddddd",
    "svg.fonttype": "none",
    "svg.hashsalt": "refusion",
}


def table(head: Sequence[str], rows: Iterable[Sequence[object]], words: int | None = None) -> str:
    """A table in Markdown of cells that are ready: the first `words` columns are words, the rest numbers to the right.

    All are words where `words` is left out.
    """
    left = len(head) if words is None else words
    below = ["---" if place < left else "---:" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (head, below, *rows))


def groups(head: str, rows: pl.DataFrame) -> str:
    """Groups of people as a table in Markdown, the largest first: the first column names them, the others are numbers.

    One of the numbers is `borgere`; those named `_oere` are shown as kroner. A group of fewer than `FEW` people shows
    no numbers. Where it is the only one, neither does the next smallest: a total beside the table would tell them.
    """
    name, *numbers = rows.columns
    ordered = rows.sort("borgere", name, descending=[True, False])
    few = ordered.filter(pl.col("borgere") < FEW).height
    shown = ordered.head(ordered.height - (2 if few == 1 else few))
    hidden = ordered.tail(ordered.height - shown.height)[name].sort()
    cells = [
        *([of, *map(_cell, numbers, counts)] for of, *counts in shown.iter_rows()),
        *([of, HIDDEN, *[""] * (len(numbers) - 1)] for of in hidden),
    ]
    return table([head, *(HEADS.get(number, number.capitalize()) for number in numbers)], cells, 1)


def _cell(number: str, value: int) -> int | str:
    """A number of a group, with its unit if it is an amount."""
    return kroner_text(value) if number.endswith("_oere") else value


def plot(draw: Callable[["Figure"], object], width: float, height: float) -> str:
    """The plot that `draw` makes on an empty figure, as SVG; the same bytes for the same drawing. Inches.

    `draw` says the margins: to fit them to the words costs as much as the rest. Only here matplotlib is loaded, and
    nobody's own settings for it count. Its list of fonts lies in Dagster's home: a service may have no home of its own.
    """
    if "DAGSTER_HOME" in os.environ:
        os.environ.setdefault("MPLCONFIGDIR", os.path.join(os.environ["DAGSTER_HOME"], "matplotlib"))
    import matplotlib as mpl  # noqa: PLC0415  half a second, and few commands draw
    from matplotlib.figure import Figure  # noqa: PLC0415  the same

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)  # type: ignore[arg-type]
        figure = Figure(figsize=(width, height))
        draw(figure)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Creator": None, "Date": None})
    return drawn.getvalue()


def image(name: str, svg: str) -> str:
    """A plot in Markdown, without a file beside it."""
    return f"![{name}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
