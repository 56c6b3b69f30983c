"""Figure of the usage table: what was spent, by whose word, and what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from . import canvas, style, words
from .rows import HasFrame, Rows
from .words import usd

if TYPE_CHECKING:
    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

_BILLED, _ESTIMATED, _BY_PROXY, _BY_OWN_KEYS = style.PALETTE[:4]
_ENDS = {
    "ok": ("circle-open", style.OTHER),
    "stopped": ("square-open", style.PALETTE[4]),
    "error": ("x", style.PALETTE[5]),
    "not known": ("diamond-open", style.OTHER),
}


def spend(usage: pd.DataFrame | HasFrame, *, theme: str | None = None) -> go.Figure:
    """What calls cost, added up over time: what was billed apart from what was estimated.

    These lines are not parts of one sum: the estimate is that of the listed prices for every call
    that has one, and stands beside the bill to be compared. What a proxy reckoned, and what keys of
    your own paid, are lines of their own where there are any.

    Parameters
    ----------
    usage : pandas.DataFrame, or UsageTracker
        `ornb.usage`, or rows of its table: ``started_at``, ``model``, ``cost_usd``,
        ``estimate_usd``, ``status``; ``cost_source`` and ``byok_usd`` where there are any.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        UTC time against USD. Below, one mark a call, in a row for how it ended.

    Raises
    ------
    ConfigError
        A column is missing.

    Examples
    --------
    >>> _ = ornb.ask("Hello!")
    >>> [trace.name.partition(":")[0] for trace in spend(ornb.usage.df).data[:2]]
    ['billed', 'estimated']
    """
    needs = ["started_at", "model", "cost_usd", "estimate_usd", "status"]
    rows = Rows.of(usage, "calls", needs)
    rows.frame["started_at"] = words.times(rows.frame["started_at"])
    rows.leave_out(rows.frame["started_at"].isna(), "without a time")
    frame = rows.frame = rows.frame.sort_values("started_at", kind="stable", ignore_index=True)
    frame["status"] = (
        frame["status"].astype(object).where(frame["status"].isin(list(_ENDS)), "not known")
    )
    _say_unknown(rows)
    figure = canvas.sheet(
        "What did the calls cost?",
        "Added up over time. Billed: what the service charged. Estimated: by the listed prices.",
        rows,
        theme=theme,
        height=500,
        left=84,
        below=72,
    )
    figure.update_xaxes(title={"text": "time (UTC)"}, type="date")
    figure.update_yaxes(title={"text": "added up (USD)"}, rangemode="tozero", domain=[0.3, 1])
    if frame.empty:
        return canvas.say_empty(figure, rows)
    for name, (costs, color, dash) in _lines(frame).items():
        _running_sum(figure, frame.assign(cost=costs), name, color, dash)
    _how_they_ended(figure, frame)
    return figure


def _say_unknown(rows: Rows) -> None:
    frame = rows.frame
    unknown = {
        "failed": frame["status"] == "error",
        "stopped": frame["status"] == "stopped",
        "of a status that is not known": frame["status"] == "not known",
        "without a bill, so not in that line": frame["cost_usd"].isna(),
        "paid by own keys, an amount not reported": _told(frame, "cost_source") == "fee",
        "without an estimate": frame["estimate_usd"].isna(),
    }
    rows.notes += [f"{int(calls.sum())} {what}." for what, calls in unknown.items() if calls.any()]


def _told(frame: pd.DataFrame, column: str) -> Any:
    return frame[column] if column in frame else pd.Series(float("nan"), frame.index)


def _lines(frame: pd.DataFrame) -> dict[str, tuple[Any, str, str]]:
    """Of each line its costs, its colour and its dash: one for each word that is believed."""
    by_proxy, own = _told(frame, "cost_source") == "proxy", _told(frame, "byok_usd")
    lines = {
        "billed": (frame["cost_usd"].mask(by_proxy), _BILLED, "solid"),
        "estimated": (frame["estimate_usd"], _ESTIMATED, "dash"),
    }
    if by_proxy.any():
        lines["reckoned by a proxy"] = (frame["cost_usd"].where(by_proxy), _BY_PROXY, "dot")
    if (own > 0).any():
        lines["paid by own keys"] = (own, _BY_OWN_KEYS, "dashdot")
    return lines


def _running_sum(figure: go.Figure, frame: pd.DataFrame, name: str, color: str, dash: str) -> None:
    known = frame[frame["cost"].notna()]
    costs = words.numbers(known["cost"])
    total = sum(cost or 0 for cost in costs)
    hover: dict[str, Any] = {
        "model": known["model"].fillna("not known"),
        "this call": [usd(c) if c else "0 USD" for c in costs],
        "source": known["source"] if "source" in known else ["not stated"] * len(known),
    }
    said = f"{name}: {usd(total) if total else '0 USD'} ({len(known)} calls)"
    if known.empty:
        said = f"{name}: none of {len(frame)} calls"
    figure.add_scatter(
        **canvas.named(
            [name] * len(known), "started_at", f"{name.replace(' ', '_')}_usd_so_far", hover
        ),
        x=_times(known),
        y=pd.Series(costs, dtype="float64").cumsum().tolist(),
        mode="lines+markers" if len(known) <= 40 else "lines",
        name=said,
        line={"color": color, "dash": dash, "shape": "hv", "width": 2},
        marker={"size": 5},
    )


def _how_they_ended(figure: go.Figure, frame: pd.DataFrame) -> None:
    """Rows of marks under the sums, one for each way to end."""
    ends = [end for end in _ENDS if (frame["status"] == end).any()]
    for end in ends:
        part = frame[frame["status"] == end]
        symbol, color = _ENDS[end]
        errors = part["error"] if "error" in part else pd.Series([None] * len(part))
        hover = {"why": [words.cut(str(e), 90) if pd.notna(e) else "-" for e in errors]}
        figure.add_scatter(
            **canvas.named(part["model"].fillna("not known"), "started_at", "status", hover),
            x=_times(part),
            y=[end] * len(part),
            mode="markers",
            name=end,
            showlegend=False,
            marker=style.ring(color, symbol, 8, width=1.5),
            yaxis="y2",
        )
    axis = canvas.category_axis(ends, room=0.7)
    figure.update_layout(yaxis2={**axis, "domain": [0, 0.2]}, xaxis={"anchor": "y2"})


def _times(frame: pd.DataFrame) -> list[Any]:
    return list(frame["started_at"].dt.strftime("%Y-%m-%d %H:%M:%S.%f"))
