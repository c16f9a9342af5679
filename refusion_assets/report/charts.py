"""Understands the drawings of a page: bars and lines as SVG within it, the same bytes for the same numbers.

They are written by hand, as a plot of matplotlib takes fifty times as long, and a page has three for each municipality.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from refusion_assets.report.catalogue import MINUS

WIDE, HIGH = 370, 230
LEFT, RIGHT, TOP, BELOW = 38, 4, 26, 28
# Steps of the staircase from light to dark: each at least 3:1 against white, and beside the next a white line.
SHADES = ("#5b8fc7", "#3a6ea5", "#1f4e79", "#0b2545")
OUTSIDE, BAND, LINE = "#8a6d3b", "#c9d9ec", "#1f4e79"
TICKS = 4


@dataclass(frozen=True)
class Scale:
    """The axis of an amount from `low` to `high` (whole numbers), with a unit that its ticks are written in."""

    low: int
    high: int
    step: int
    unit: str
    of: int

    def y(self, value: int) -> float:
        """The height of a value on the drawing."""
        inner = HIGH - TOP - BELOW
        return TOP + inner * (self.high - value) / (self.high - self.low)

    def ticks(self) -> list[tuple[int, str]]:
        """Every tick with its text."""
        places = range(self.low, self.high + 1, self.step)
        return [(place, _number(place, self.of)) for place in places]


def _number(value: int, of: int) -> str:
    """A value in its unit, with a decimal comma where it is not whole."""
    text = f"{abs(value) / of:.2f}".rstrip("0").rstrip(".").replace(".", ",")
    return f"{MINUS if value < 0 else ''}{text}"


def scale(values: Sequence[int], *, money: bool = True) -> Scale:
    """The axis for some values; zero is on it. Money is in øre."""
    low, high = min(0, *values), max(0, *values)
    span = max(high - low, 100 if money else 1)
    rough = max(span // TICKS, 1)
    ten = 10 ** (len(str(rough)) - 1)
    step = next((ten * n for n in (1, 2, 5) if ten * n >= rough), ten * 10)
    high, low = -(-high // step) * step or step, low // step * step
    units = [("mio. kr.", 100_000_000), ("1.000 kr.", 100_000), ("kr.", 100)] if money else [("borgere", 1)]
    unit, of = next((one for one in units if span >= one[1]), units[-1])
    return Scale(low, high, step, unit, of)


def _frame(axis: Scale, title: str, told: str, name: str, inside: str) -> Markup:
    """A drawing with its axis, and a title and a description for those who do not see it."""
    lines = "".join(
        f'<line x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{axis.y(v):.1f}" y2="{axis.y(v):.1f}" '
        f'class="{"grid" if v else "zero"}"/>'
        f'<text x="{LEFT - 5}" y="{axis.y(v) + 4:.1f}" text-anchor="end">{text}</text>'
        for v, text in axis.ticks()
    )
    return Markup(  # noqa: S704  every text in it is escaped
        f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(told)}</desc>'
        f'<text x="0" y="12" class="unit">{axis.unit}</text>{lines}{inside}</svg>'
    )


def bars(
    labels: Sequence[str],
    parts: Sequence[tuple[str, Sequence[int]]],
    title: str,
    told: str,
    name: str,
    marks: Sequence[str] = (),
) -> Markup:
    """Stacked bars, one per label: each part has a colour and a value per label. `marks` stand on top of the bars."""
    above = [sum(max(values[i], 0) for _, values in parts) for i in range(len(labels))]
    under = [sum(min(values[i], 0) for _, values in parts) for i in range(len(labels))]
    axis = scale([*above, *under])
    each = (WIDE - LEFT - RIGHT) / max(len(labels), 1)
    drawn = []
    for i, label in enumerate(labels):
        x, up, down = LEFT + each * (i + 0.12), 0, 0
        for colour, values in parts:
            value = values[i]
            top, bottom = (up + value, up) if value >= 0 else (down, down + value)
            if value:
                y, high = axis.y(top), axis.y(bottom) - axis.y(top)
                drawn.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{each * 0.76:.1f}" height="{high:.1f}" fill="{colour}"/>'
                )
            up, down = (top, down) if value >= 0 else (up, bottom)
        middle = LEFT + each * (i + 0.5)
        drawn.append(f'<text x="{middle:.1f}" y="{HIGH - 14}" text-anchor="middle">{escape(label)}</text>')
        if i < len(marks) and marks[i]:
            place = f'x="{middle:.1f}" y="{axis.y(up) - 4:.1f}" text-anchor="middle"'
            drawn.append(f'<text {place} class="mark">{escape(marks[i])}</text>')
    return _frame(axis, title, told, name, "".join(drawn))


def course(
    labels: Sequence[str], past: Sequence[int], ahead: Sequence[tuple[int, int, int]], texts: tuple[str, str, str]
) -> Markup:
    """A line of past months that goes on as a dashed one, with a band of (lowest, expected, highest) ahead.

    `texts`: title, description and name. A month without a label has none.
    """
    flat = [*past, *(value for three in ahead for value in three)]
    axis = scale(flat)
    each = (WIDE - LEFT - RIGHT) / (len(past) + len(ahead))

    def at(place: int, value: int) -> str:
        return f"{LEFT + each * (place + 0.5):.1f},{axis.y(value):.1f}"

    now = len(past)
    before = [at(i, value) for i, value in enumerate(past)]
    after = [at(now + i, three[1]) for i, three in enumerate(ahead)]
    band = [at(now + i, three[0]) for i, three in enumerate(ahead)]
    band += [at(now + i, three[2]) for i, three in reversed(list(enumerate(ahead)))]
    words = "".join(
        f'<text x="{LEFT + each * (i + 0.5):.1f}" y="{HIGH - 14}" text-anchor="middle">{escape(label)}</text>'
        for i, label in enumerate(labels)
        if label
    )
    inside = (
        f'<polygon points="{" ".join(band)}" fill="{BAND}"/>'
        f'<polyline points="{" ".join(before)}" class="past"/>'
        f'<polyline points="{" ".join([*before[-1:], *after])}" class="ahead"/>{words}'
    )
    return _frame(axis, *texts, inside)
