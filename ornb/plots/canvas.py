"""What all figures share: the sheet they are drawn on, axes with units, and an honest caption.

A figure gets a title that asks its question, a caption that says where the rows come from, how many
are shown and why the others are not, and marks that carry their own names, so that `twin.table`
can give the figure back as rows.

Names of models, labels and tokens come from elsewhere, and plotly reads tags and TeX in texts: all
of them pass through `words.plain`. Money in texts is "USD"; "$" is for ticks alone, since two
dollar signs in one text are TeX where a page has MathJax.
"""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from . import style, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

    from .rows import Rows

WIDTH = 612
"""Pixels assumed where something has to be placed: what a cell's output has in JupyterLab where its
window has 700. In more room things move apart."""
_PER_LINE = {"title": 52, "subtitle": 86, "caption": 92}  # characters, at 17, 13 and 11 px
_LEFT, _RIGHT, _LINE = 68, 24, 15
_CROWDED = 0.06  # of an axis: a number that is nearer to "free" runs into it


# ---- the sheet -----------------------------------------------------------------------------------


_TITLE = {
    "font": {"size": 17},
    "x": 0,
    "xref": "container",
    "xanchor": "left",
    "y": 1,
    "yref": "container",
    "yanchor": "top",
    "pad": {"l": 12, "t": 20},
}
_LEGEND = {
    "orientation": "h",
    "x": 0,
    "xref": "paper",
    "xanchor": "left",
    "y": 1.01,
    "yanchor": "bottom",
    "tracegroupgap": 0,
}


def sheet(
    title: str,
    subtitle: str,
    rows: Rows,
    *,
    theme: str | None = None,
    height: int = 480,
    left: int = _LEFT,
    right: int = _RIGHT,
    below: int = 54,
    legend_rows: int = 1,
) -> go.Figure:
    """Empty figure with title, subtitle and caption in their places; sizes are in pixels.

    `legend_rows` is what the legend needs above the plot; 0 for no legend. Who answered under
    several names is a part of the title.
    """
    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

    of, caption, engine = style.theme_of(theme), rows.caption(), rows.engine
    lines = textwrap.wrap(caption, _PER_LINE["caption"])
    heads = [f"<b>{line}</b>" for line in textwrap.wrap(title, _PER_LINE["title"])]
    smalls = [_small(line, of) for line in textwrap.wrap(subtitle, _PER_LINE["subtitle"])]
    if engine:
        heads.append(f'<b style="font-size:14px">{words.plain(engine)}</b>')
    figure = go.Figure()
    figure.update_layout(
        template=style.template(theme),
        height=height,
        margin={
            "l": left,
            "r": right,
            "t": 70 + 22 * (legend_rows + len(heads) - 1) + 18 * (len(smalls) - 1),
            "b": below + 12 + _LINE * len(lines),
        },
        title={"text": "<br>".join(heads + smalls), **_TITLE},
        showlegend=legend_rows > 0,
        legend=_LEGEND,
        meta={"caption": caption},
    )
    figure.add_annotation(
        text="<br>".join(map(words.plain, lines)),
        **_corner(left),
        y=0,
        yanchor="top",
        yshift=-below,
        font={"size": 11, "color": of.quiet},
    )
    return figure


def _small(text: str, of: style.Theme) -> str:
    return f'<span style="font-size:13px;font-weight:normal;color:{of.quiet}">{text}</span>'


def _corner(left: int) -> dict[str, Any]:
    return {
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "xshift": 12 - left,
        "yref": "paper",
        "align": "left",
        "showarrow": False,
    }


def say_empty(figure: go.Figure, rows: Rows) -> go.Figure:
    """Write in the middle of a figure why it is empty."""
    left_out = f"Left out: {', '.join(rows.aside)}." if rows.aside else f"There are no {rows.noun}."
    text = words.plain(f"Nothing to draw. {left_out}")
    figure.update_xaxes(showticklabels=False, ticks="", showgrid=False, minor={"ticks": ""})
    figure.update_yaxes(showticklabels=False, ticks="", showgrid=False, minor={"ticks": ""})
    figure.add_annotation(
        text="<br>".join(textwrap.wrap(text, 70)),
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        showarrow=False,
        font={"size": 14},
    )
    return figure


# ---- marks ---------------------------------------------------------------------------------------


def named(
    texts: Iterable[Any], x: str, y: str, hover: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    """What every trace is given so that its marks say who they are.

    `x` and `y` are the columns of the positions, for `table`.
    """
    columns = {name: [words.plain(value) for value in values] for name, values in hover.items()}
    lines = [f"{words.plain(name)}: %{{customdata[{n}]}}" for n, name in enumerate(columns)]
    return {
        "text": [words.plain(text) for text in texts],
        "customdata": [list(row) for row in zip(*columns.values(), strict=True)],
        "hovertemplate": "<br>".join(["<b>%{text}</b>", *lines]) + "<extra></extra>",
        "meta": {"x": x, "y": y, "columns": list(columns)},
    }


# ---- axes ----------------------------------------------------------------------------------------


def log_axis(values: Any, title: str, *, prefix: str = "", free: bool = False) -> dict[str, Any]:
    """Logarithmic axis with a plain number at each decade; missing values and 0 are ignored.

    `free` leaves room for a place below the numbers, see `free_place`.
    """
    low, high = _bounds(values)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    within = (1, 2, 5) if len(decades) <= 3 else (1,)  # a decade alone is no scale
    ticks = [m * 10.0**n for n in decades for m in within]
    said = {tick: prefix + words.short(tick) for tick in ticks}
    lower, upper = math.log10(low), math.log10(high)
    room = max(0.04 * (upper - lower), 0.12)
    if free:
        lower = math.log10(free_place(values))
        crowded = 10 ** (lower + _CROWDED * (upper - lower))
        said = {tick: word for tick, word in said.items() if tick > crowded}
        said[free_place(values)] = "free"
    kept = [tick for tick in sorted(said) if lower - room <= math.log10(tick) <= upper + room]
    return {
        "type": "log",
        "title": {"text": title},
        "tickvals": kept,
        "ticktext": [said[tick] for tick in kept],
        "range": [lower - room, upper + room],
        "tickangle": 0,
        "minor": {"ticks": "outside", "dtick": "D1"} if not free else {},
    }


def free_place(values: Any) -> float:
    """Where on a logarithmic axis that which costs nothing stands: apart, below the cheapest."""
    low, _ = _bounds(values)
    return float(low * 10**-0.45)


def _bounds(values: Any) -> tuple[float, float]:
    known = [v for v in words.numbers(values) if v is not None and v > 0]
    return (min(known), max(known)) if known else (0.1, 10.0)


def padded(values: Any) -> list[float]:
    """Range of a linear axis, with room for names at both ends."""
    known = [v for v in words.numbers(values) if v is not None] or [0.0]
    room = 0.08 * (max(known) - min(known)) or 1.0
    return [min(known) - room, max(known) + room]


def seconds_axis(values: Any, title: str) -> dict[str, Any]:
    """Axis of times or rates: logarithmic where they span more than a factor of 30."""
    known = [v for v in words.numbers(values) if v is not None]
    if known and min(known) > 0 and max(known) / min(known) > 30:
        return log_axis(known, title)
    top = max(known, default=1.0) or 1.0
    return {"type": "linear", "title": {"text": title}, "range": [0, 1.08 * top]}


ROWS = {"ticks": "", "ticklabelstandoff": 5}
"""Of an axis of names: no ticks, and as much room as they would take."""


def category_axis(names: Sequence[str], room: float = 0.6) -> dict[str, Any]:
    """Axis with a row for each name, the first on top; `room` is that above and below, in rows."""
    return {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": names[::-1],
        "range": [-room, len(names) - 1 + room],
        **ROWS,
    }


def write_beside(figure: go.Figure, names: Iterable[str], texts: Iterable[Any]) -> None:
    """Write a text at the right end of each row."""
    for name, text in zip(names, texts, strict=True):
        figure.add_annotation(
            x=1, xref="paper", xanchor="left", xshift=6, y=name, text=str(text), showarrow=False
        )


def room_for(names: Iterable[str]) -> int:
    """Left margin, in pixels, in which the names of rows have room."""
    return max(96, round(7.3 * max(map(len, names), default=0)) + 22)
