"""Names beside a few marks, placed so that none covers another."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from .canvas import WIDTH
from .words import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

_CHARACTER, _LINE, _TEXT = 6.2, 15.0, 13.0  # pixels at 11 px


class Label(NamedTuple):
    """A name for the mark at `x`, `y`; the first given have the first choice of place."""

    x: float
    y: float
    text: str
    color: str | None = None


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


# Where a label may stand: anchors of its box, and its distance from the mark in pixels.
_PLACES = (
    ("center", "bottom", 0, -7),
    ("right", "bottom", -4, -5),
    ("left", "bottom", -4, -7),
    ("left", "middle", 8, 0),
    ("right", "middle", -8, 0),
    ("center", "top", 0, 7),
    ("left", "bottom", 6, -5),
    ("left", "top", 6, 5),
    ("right", "top", -6, 5),
)
_NUDGES = sorted(range(-6, 7), key=abs)
"""Pixels up or down, in the order in which they are tried, off a rule of the grid."""


def place(
    figure: go.Figure,
    labels: Iterable[Label],
    *,
    marks: Iterable[tuple[float, float]] = (),
    far: bool = False,
) -> int:
    """Write labels, the important first, next to their marks, if there is a free place.

    The figure has both axes' ``range`` set. `far` draws a line from further away. How many were
    written is returned.
    """
    asked = list(labels)
    on_page = _Page(figure)
    taken = [_around(*on_page.pixel(x, y), 3) for x, y in marks]
    taken += [_around(*on_page.pixel(label.x, label.y), 5) for label in asked]
    written = 0
    for label in asked:
        x, y = on_page.pixel(label.x, label.y)
        text = plain(label.text)
        wide = len(label.text) * _CHARACTER
        found = _free(x, y, wide, taken, on_page) or (
            _far(x, y, wide, taken, on_page) if far else None
        )
        if found is None:
            continue
        box, where = found
        taken.append(box)
        written += 1
        figure.add_annotation(
            x=on_page.position("x", label.x),
            y=on_page.position("y", label.y),
            text=text,
            font={"size": 11, **({"color": label.color} if label.color else {})},
            **where,
        )
    return written


def at_right(figure: go.Figure, ends: Iterable[Label]) -> None:
    """Write the name of each line at its end, in the right margin, one below the other."""
    page = _Page(figure)
    ordered = sorted(ends, key=lambda label: -page.position("y", label.y))
    wanted = [page.down(label.y) for label in ordered]
    for label, y, at in zip(ordered, wanted, _apart(wanted, page.high), strict=True):
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="left",
            xshift=8,
            y=page.position("y", label.y),
            yshift=y - at,
            text=f'<span style="color:{label.color}">●</span> {plain(label.text)}',
            showarrow=False,
            font={"size": 11},
        )


def _apart(wanted: list[float], high: float) -> list[float]:
    """Heights in pixels from the top, a line apart and near what is wanted (which is sorted)."""
    placed: list[float] = []
    for y in wanted:
        placed.append(max(y, placed[-1] + _LINE) if placed else max(y, 0.0))
    lowest = high
    for n in reversed(range(len(placed))):
        placed[n] = min(placed[n], lowest)
        lowest = placed[n] - _LINE
    return placed


def _free(
    x: float, y: float, wide: float, taken: list[_Box], page: _Page
) -> tuple[_Box, dict[str, Any]] | None:
    """The first place that is free, and that no rule of the grid strikes if there is such a one."""
    struck = None
    for nudge, (across, along, dx, down) in product(_NUDGES, _PLACES):
        if nudge and struck is None:
            break
        dy = down + nudge
        left = x + dx - wide * {"left": 0, "center": 0.5, "right": 1}[across]
        above = {"top": 0, "middle": 0.5, "bottom": 1}[along]
        top = y + dy - _LINE * above
        box = _Box(left, top, left + wide, top + _LINE)
        if page.holds(box) and not any(box.meets(other) for other in taken):
            where = {"xanchor": across, "yanchor": along, "xshift": dx, "yshift": -dy}
            found = box, {**where, "showarrow": False}
            if not page.strikes(top + (_LINE - _TEXT) * (1 - above)):
                return found
            struck = struck or found
    return struck


def _far(
    x: float, y: float, wide: float, taken: list[_Box], page: _Page
) -> tuple[_Box, dict[str, Any]] | None:
    """A place at some distance, with a thin line from there to the mark."""
    for distance in (40, 70, 110, 160):
        for step in range(12):
            angle = math.pi * (step + 0.5) / 6
            dx, dy = distance * math.cos(angle) * 1.4, -distance * math.sin(angle)
            at = x + dx, y + dy
            box = _Box(at[0] - wide / 2, at[1] - _LINE / 2, at[0] + wide / 2, at[1] + _LINE / 2)
            if page.holds(box) and not any(box.meets(other) for other in taken):
                arrow = {"ax": dx, "ay": dy, "arrowhead": 0, "arrowwidth": 1, "standoff": 5}
                return box, {**arrow, "showarrow": True, "arrowcolor": page.line}
    return None


def _around(x: float, y: float, radius: float) -> _Box:
    return _Box(x - radius, y - radius, x + radius, y + radius)


class _Page:
    """Pixels of a figure that is as wide as a notebook's cell."""

    def __init__(self, figure: go.Figure) -> None:
        layout = figure.layout
        margin = layout.margin
        self.wide = WIDTH - margin.l - margin.r
        self.high = layout.height - margin.t - margin.b
        self.line = layout.template.layout.xaxis.linecolor
        self.axes: dict[str, Any] = {"x": layout.xaxis, "y": layout.yaxis}

    def position(self, axis: str, value: float) -> float:
        """Value as annotations take it: its exponent on a logarithmic axis."""
        return math.log10(value) if self.axes[axis].type == "log" else value

    def _share(self, axis: str, value: float) -> float:
        low, high = map(float, self.axes[axis].range)
        return (self.position(axis, value) - low) / (high - low)

    def down(self, y: float) -> float:
        """Pixels from the top of the plot."""
        return float((1 - self._share("y", y)) * self.high)

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """From the top left corner of the plot."""
        return self._share("x", x) * self.wide, self.down(y)

    def strikes(self, top: float) -> bool:
        """Whether a rule of the grid goes through letters that begin at `top`."""
        rules = map(self.down, self.axes["y"].tickvals or ())
        return any(top + 3 < rule < top + _TEXT - 3 for rule in rules)

    def holds(self, box: _Box) -> bool:
        inside = box.left >= 0 and box.right <= self.wide
        return inside and box.top >= 0 and box.bottom <= self.high
