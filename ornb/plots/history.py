"""Figures of the catalogue's past: what models cost over time, and what changed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..catalog.noted import BY
from ..errors import ConfigError, whole
from ..pricing import blended_usd_per_million
from . import canvas, labels, style, words
from .models import BLENDED, COMPLETION, MIX, PROMPT
from .rows import Rows
from .words import usd

if TYPE_CHECKING:
    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

_PRICES = {
    "blended": (BLENDED, f"Prices are {MIX}."),
    "prompt": (PROMPT, "Prices are those of prompt tokens."),
    "completion": (COMPLETION, "Prices are those of completion tokens."),
}
_KINDS = (
    "added",
    "removed",
    "renamed",
    "now free",
    "no longer free",
    "cheaper",
    "dearer",
    "repriced",
    "context changed",
)
_CHEAPER, _DEARER = style.PALETTE[0], style.PALETTE[1]
_RIGHT = 190
_PER_MILLION = "price (USD per million tokens)"


# ---- prices over time ----------------------------------------------------------------------------


def price_history(
    history: pd.DataFrame, *, price: str = "blended", most: int = 6, theme: str | None = None
) -> go.Figure:
    """What models cost from observation to observation.

    The catalogue was looked at now and then: a full line joins observations that agree, a dotted
    one joins two between which the price changed, on a day that nobody noted. What the package
    genai-prices recorded is a dashed line of its own, with hollow marks.

    Parameters
    ----------
    history : pandas.DataFrame
        As `ornb.price_history` gives it: at least ``id``, ``date`` and the two prices in USD per
        million tokens. Without ``seen_until`` a price counts as seen on its ``date`` alone.
    price : {"blended", "prompt", "completion"}
        Which price.
    most : int
        How many models are drawn: those with the most changes.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        UTC days against USD per million tokens, logarithmic; a price of 0 stands apart, and a cross
        marks a model's last day in the catalogue.

    Raises
    ------
    ConfigError
        A column is missing, or `price` or `most` cannot be used.

    Examples
    --------
    >>> price_history(ornb.price_history("deepseek/deepseek-r1")).layout.xaxis.title.text
    'day of the observation (UTC)'
    """
    most = whole("most", most, 1)
    if price not in list(_PRICES):
        raise ConfigError(f"price={price!r}; give one of {', '.join(_PRICES)}")
    rows = Rows.of(history, "observed prices", ["id", "date", PROMPT, COMPLETION])
    rows.frame["date"] = words.times(rows.frame["date"])
    rows.leave_out(rows.frame["date"].isna(), "without a date")
    frame = rows.frame
    frame[BLENDED] = blended_usd_per_million(frame[PROMPT], frame[COMPLETION])
    column, which = _PRICES[price]
    rows.notes.append(which)
    counts = frame["id"].value_counts()
    kept = list(frame["id"].unique()) if len(counts) <= most else list(counts.index[:most])
    rows.leave_out(~rows.frame["id"].isin(kept), f"in {len(counts) - len(kept)} other models")
    gone = rows.frame[column].isna()
    lasts = rows.frame[gone]
    rows.leave_out(gone, "without a price (gone, a router, or not listed)")
    if (days := history.attrs.get("observed")) is not None and len(days):
        newest = history.attrs.get("source") or "not stated"
        rows.source = f"{len(days)} recorded catalogues from {days[0][:10]} on, newest {newest}"
        rows.source += f" of {days[-1][:10]}"
    is_noted: Any = rows.frame.get("source", rows.frame["id"]) == BY
    if is_noted.any():
        rows.source += f"; hollow marks are {BY}"
    figure = canvas.sheet(
        "What did these models cost over time?",
        "Full: observations agree. Dotted: it changed somewhere between two of them.",
        rows,
        theme=theme,
        height=470,
        right=_RIGHT,
        legend_rows=int(is_noted.any()),
    )
    shown = rows.frame
    figure.update_xaxes(title={"text": "day of the observation (UTC)"}, type="date")
    has_free = bool((shown[column] == 0).any())
    axis = canvas.log_axis(shown[column], _PER_MILLION, prefix="$", free=has_free)
    figure.update_yaxes(**axis)
    if shown.empty:
        return canvas.say_empty(figure, rows)
    free = axis["tickvals"][0]
    ends: dict[str, labels.Label] = {}
    for whose, draw in ((~is_noted, _timeline), (is_noted, _noted)):
        for model in kept:
            if len(states := shown[whose & (shown["id"] == model)]):
                end = draw(figure, model, states, column, free, lasts)
                ends[model] = ends.get(model, end)._replace(y=end.y)
    labels.at_right(figure, [ends[model] for model in kept if model in ends])
    if is_noted.any():
        figure.update_traces(showlegend=False)  # of the models: their names are at the right
        for name, dash in (("listed by OpenRouter", "solid"), (BY, "dash")):
            line = {"color": style.theme_of(theme).quiet, "dash": dash, "width": 2}
            figure.add_scatter(x=[None], y=[None], mode="lines", line=line, name=name)
    return figure


def _noted(
    figure: go.Figure,
    model: str,
    states: pd.DataFrame,
    column: str,
    free: float,
    _: pd.DataFrame,
) -> labels.Label:
    """Draw what somebody else recorded of one model, from day to day, as he has it."""
    color, states = style.color_of(model), states.sort_values("date", kind="stable")
    days, prices = [*map(_day, states["date"])], words.numbers(states[column])
    hover = {
        "prompt": [usd(v) for v in states[PROMPT]],
        "completion": [usd(v) for v in states[COMPLETION]],
        "source": [BY] * len(days),
    }
    figure.add_scatter(
        **canvas.named([model] * len(days), "date", column, hover),
        x=days,
        y=[price or free for price in prices],
        mode="lines+markers",
        name=f"{words.plain(model)}, {BY}",
        line={"color": color, "dash": "dash", "width": 2, "shape": "hv"},
        marker={"color": color, "symbol": "circle-open", "size": 8},
    )
    said = words.cut(model.partition("/")[2] or model, 24)
    return labels.Label(0.0, prices[-1] or free, said, color)


def _timeline(
    figure: go.Figure,
    model: str,
    states: pd.DataFrame,
    column: str,
    free: float,
    lasts: pd.DataFrame,
) -> labels.Label:
    """Draw one model; give the label of its end."""
    color = style.color_of(model)
    states = states.sort_values("date", kind="stable")
    first = states["date"]
    until = words.times(states["seen_until"]) if "seen_until" in states else first
    days = [[_day(a), _day(b)] for a, b in zip(first, until.fillna(first), strict=True)]
    prices = [value or free for value in words.numbers(states[column])]
    solid, dotted = _pieces(days, prices)
    for points, line in ((dotted, "dot"), (solid, "solid")):
        figure.add_scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            mode="lines",
            line={"color": color, "dash": line, "width": 2 if points is solid else 1.2},
            hoverinfo="skip",
            showlegend=False,
        )
    hover = {
        "prompt": [usd(v) for v in states[PROMPT]],
        "completion": [usd(v) for v in states[COMPLETION]],
        "seen": [a if a == b else f"{a} to {b}" for a, b in days],
    }
    figure.add_scatter(
        **canvas.named([model] * len(days), "date", column, hover),
        x=[day for day, _ in days],
        y=prices,
        mode="markers",
        name=words.plain(model),
        marker={"color": color, "symbol": style.symbol_of(model), "size": 7},
    )
    ended = model in set(lasts["id"]) and lasts["date"][lasts["id"] == model].max() > first.max()
    if ended:
        figure.add_scatter(
            x=[days[-1][1]],
            y=[prices[-1]],
            mode="markers",
            marker={"color": color, "symbol": "x", "size": 9},
            hoverinfo="skip",
            showlegend=False,
        )
    said = words.cut(model.partition("/")[2] or model, 24) + (" (gone)" if ended else "")
    return labels.Label(0.0, prices[-1], said, color)


def _pieces(days: list[list[str]], prices: list[float]) -> tuple[list[Any], list[Any]]:
    """Stretches that observations agree on, and those in between."""
    solid: list[Any] = []
    dotted: list[Any] = []
    for n, ((start, end), price) in enumerate(zip(days, prices, strict=True)):
        solid += [(start, price), (end, price), (None, None)]
        if n + 1 < len(days):
            pieces = solid if prices[n + 1] == price else dotted  # same: another fact changed
            pieces += [(end, price), (days[n + 1][0], prices[n + 1]), (None, None)]
    return solid, dotted


def _day(value: Any) -> str:
    return str(value)[:10]


# ---- changes between two catalogues --------------------------------------------------------------


def catalog_changes(
    changes: pd.DataFrame, *, most: int = 12, theme: str | None = None
) -> go.Figure:
    """How many models came, went and changed their price, and whose price moved most.

    Parameters
    ----------
    changes : pandas.DataFrame
        As `ornb.catalog_changes` gives it: at least ``id``, ``change`` and ``price_ratio`` (after /
        before).
    most : int
        How many models the right panel has.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        Left: changes of each kind. Right: the largest changes of price, as a factor on a
        logarithmic axis: 0.5 is half the price.

    Raises
    ------
    ConfigError
        A column is missing, or `most` is below 1.

    Examples
    --------
    >>> figure = catalog_changes(ornb.catalog_changes("2025-04-09", "2025-06-11"))
    >>> dict(zip(figure.data[0].y, figure.data[0].x))["added"]
    77
    """
    most = whole("most", most, 1)
    rows = Rows.of(changes, "changes", ["id", "change", "price_ratio"])
    counted = rows.frame["change"].value_counts()
    kinds = [k for k in _KINDS if k in counted] + [k for k in counted.index if k not in _KINDS]
    is_factor = rows.frame["price_ratio"].fillna(0).between(0, math.inf, inclusive="neither")
    moved = rows.frame[is_factor].drop_duplicates("id")
    moved = moved[moved["price_ratio"] != 1]
    largest = _largest(moved, most)
    if len(moved) > len(largest):
        rows.notes.append(f"Right: the {len(largest)} largest of {len(moved)} changes of price.")
    _say_observed(rows)
    figure = canvas.sheet(
        f"What changed in the catalogue{_between(rows.frame)}?",
        "Left: changes by kind. Right: the largest changes of the blended price.",
        rows,
        theme=theme,
        height=220 + 24 * max(len(kinds), len(largest), 4),
        left=124,
        legend_rows=0,
    )
    if rows.frame.empty:
        return canvas.say_empty(figure, rows)
    _kinds(figure, kinds, counted, wide=largest.empty)
    if len(largest):
        _factors(figure, largest, theme)
    return figure


def _largest(moved: pd.DataFrame, most: int) -> pd.DataFrame:
    size = moved["price_ratio"].map(lambda r: max(r, 1 / r))
    kept = moved.loc[size.sort_values(ascending=False, kind="stable").index[:most]]
    return kept.sort_values("price_ratio", kind="stable")


def _between(frame: pd.DataFrame) -> str:
    if not {"not_before", "date"} <= set(frame.columns) or frame.empty:
        return ""
    a, b = frame["not_before"].iloc[0], frame["date"].iloc[0]
    return "" if pd.isna(a) or pd.isna(b) else f" from {_day(a)} to {_day(b)}"


def _say_observed(rows: Rows) -> None:
    """A frame of changes knows its two observations, if not who made them."""
    if rows.source == "not stated" and _between(rows.frame):
        rows.source = "observations of the catalogue on these two days"


def _kinds(figure: go.Figure, kinds: list[str], counted: Any, *, wide: bool) -> None:
    numbers = [int(counted[kind]) for kind in kinds]
    figure.add_bar(
        **canvas.named(kinds, "changes", "change", {"changes": numbers}),
        x=numbers,
        y=[words.plain(kind) for kind in kinds],
        orientation="h",
        name="changes",
        marker={"color": style.PALETTE[7]},
        texttemplate="%{x}",
        textposition="outside",
        cliponaxis=False,
        width=0.62,
    )
    figure.update_layout(
        xaxis={
            "domain": [0, 1 if wide else 0.26],
            "title": {"text": "changes"},
            "range": [0, 1.25 * max(numbers)],
            "nticks": 4,
        },
        yaxis={"type": "category", "autorange": "reversed", **canvas.ROWS, "showgrid": False},
    )


def _factors(figure: go.Figure, largest: pd.DataFrame, theme: str | None) -> None:
    names = [words.plain(words.cut(str(i).partition("/")[2] or str(i), 26)) for i in largest["id"]]
    ratios = words.numbers(largest["price_ratio"])
    axis = canvas.log_axis([*ratios, 0.8, 1.25], "price after / before", prefix="x")
    hover: dict[str, Any] = {
        "change": largest["change"],
        **{
            f"{side} {when}": [usd(v) for v in largest[f"{side}_usd_per_million_{when}"]]
            for side in ("prompt", "completion")
            for when in ("before", "after")
            if f"{side}_usd_per_million_{when}" in largest
        },
    }
    figure.add_bar(
        **canvas.named(largest["id"], "price_ratio", "model", hover),
        x=[r - 1 for r in ratios if r is not None],
        base=[1.0] * len(ratios),
        y=names,
        orientation="h",
        name="price",
        marker={"color": [_CHEAPER if r and r < 1 else _DEARER for r in ratios]},
        width=0.62,
        textposition="none",
        xaxis="x2",
        yaxis="y2",
    )
    of = style.theme_of(theme)
    figure.update_layout(
        xaxis2={**axis, "domain": [0.66, 1], "anchor": "y2"},
        yaxis2={
            "type": "category",
            "autorange": "reversed",
            "anchor": "x2",
            **canvas.ROWS,
            "showgrid": False,
            "linecolor": of.line,
        },
    )
    figure.add_shape(
        type="line", x0=1, x1=1, y0=0, y1=1, xref="x2", yref="y2 domain", line={"color": of.line}
    )
