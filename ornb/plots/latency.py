"""Figures of timed calls: how long one waits, how sure that is, and how fast the rest comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from ..errors import ConfigError
from . import canvas, style, words
from .rows import HasFrame, Rows
from .words import short

if TYPE_CHECKING:
    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

FIRST_TOKEN, RATE = "time_to_first_token_s", "tokens_per_second"
_MEANING = {
    FIRST_TOKEN: ("How long until the first token?", "time to first token (s)"),
    "time_to_first_answer_s": (
        "How long until the answer begins?",
        "time to first answer token, after any reasoning (s)",
    ),
    "time_to_first_byte_s": ("How long until the first byte?", "time to first byte (s)"),
    "duration_s": ("How long does a whole answer take?", "duration of the call (s)"),
    RATE: ("How fast do answers come?", "tokens per second of the whole call"),
    "tokens_per_second_after_first": (
        "How fast do answers come, once they come?",
        "tokens per second after the first token",
    ),
}


def _said(metric: str) -> tuple[str, str]:
    if metric in _MEANING:
        return _MEANING[metric]
    name = metric.removesuffix("_s").replace("_", " ")
    unit = " (s)" if metric.endswith("_s") else ""
    return f"How do models compare in {name}?", name + unit


def _timed(calls: pd.DataFrame | HasFrame, needs: list[str]) -> Rows:
    """Calls that have all the times needed; warm-up, failed and stopped ones are counted."""
    rows = Rows.of(calls, "calls", ["model", *needs])
    if "warmup" in rows.frame:
        rows.leave_out(rows.frame["warmup"], "to warm up")
    if "status" in rows.frame:
        rows.leave_out(rows.frame["status"] == "error", "failed")
        rows.leave_out(rows.frame["status"] == "stopped", "stopped")
    for column in needs:
        values = pd.to_numeric(rows.frame[column], errors="coerce")
        rows.leave_out(values.isna(), f"without {column}")
    return rows


# ---- distribution --------------------------------------------------------------------------------


def latency_ecdf(
    calls: pd.DataFrame | HasFrame, metric: str = FIRST_TOKEN, *, theme: str | None = None
) -> go.Figure:
    """Share of the calls that took no longer than a time, for each model.

    Every call is a step, so nothing is smoothed away; with few calls the far end says little.

    Parameters
    ----------
    calls : pandas.DataFrame, or UsageTracker
        As `ornb.measure` gives it, or `ornb.usage`: ``model`` and the metric's column.
        Calls to warm up, failed and stopped ones are counted, not drawn.
    metric : str
        Column with seconds, or with a rate.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        The metric against per cent of the calls; the dotted line is the median.

    Raises
    ------
    ConfigError
        A column is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> calls = pd.DataFrame({"model": "acme/orbit", "time_to_first_token_s": [0.3, 0.2, 0.4]})
    >>> figure = latency_ecdf(calls)
    >>> figure.data[0].x, [round(share) for share in figure.data[0].y]
    ((0.2, 0.3, 0.4), [33, 67, 100])
    """
    rows = _timed(calls, [metric])
    title, axis_title = _said(metric)
    counts = rows.frame["model"].value_counts()
    few = [name for name, n in counts.items() if n < 10]
    if few:
        rows.notes.append(f"Fewer than 10 calls: {', '.join(map(str, few))}.")
    models = _in_order(rows, metric)
    figure = canvas.sheet(
        title,
        "Share of the calls that took no longer. The dotted line is the median.",
        rows,
        theme=theme,
        legend_rows=1 + (len(models) - 1) // 3,
    )
    figure.update_xaxes(**canvas.seconds_axis(rows.frame[metric], axis_title))
    figure.update_yaxes(title={"text": "calls (%)"}, range=[0, 103], tickvals=[0, 25, 50, 75, 100])
    if rows.frame.empty:
        return canvas.say_empty(figure, rows)
    line = style.theme_of(theme).line
    figure.add_hline(y=50, line={"color": line, "width": 1, "dash": "dot"}, layer="below")
    for model in models:
        part = rows.frame[rows.frame["model"] == model]
        _steps(figure, str(model), words.numbers(part[metric].sort_values()), metric)
    return figure


def _steps(figure: go.Figure, model: str, times: list[Any], metric: str) -> None:
    n = len(times)
    shares = [100 * (i + 1) / n for i in range(n)]
    hover = {"value": [short(t) for t in times], "calls": [f"{i + 1} of {n}" for i in range(n)]}
    figure.add_scatter(
        **canvas.named([model] * n, metric, "calls_percent", hover),
        x=times,
        y=shares,
        mode="lines+markers",
        name=f"{words.plain(model)} (n = {n})",
        line={
            "color": style.color_of(model),
            "dash": style.dash_of(model),
            "shape": "hv",
            "width": 2,
        },
        marker={"size": 4 if n > 30 else 6, "symbol": style.symbol_of(model)},
    )


def _in_order(rows: Rows, metric: str) -> list[Any]:
    """The models by their medians; as they came where one engine answered for several."""
    medians = rows.frame.groupby("model", sort=False)[metric].median()
    return list((medians if rows.engine else medians.sort_values()).index)


# ---- intervals -----------------------------------------------------------------------------------


def latency_intervals(summary: pd.DataFrame, *, theme: str | None = None) -> go.Figure:
    """Median of each model with its interval: where two overlap, the order may be chance.

    Overlap is a hint, not a test: `ornb.latency_differences` answers whether two differ.

    Parameters
    ----------
    summary : pandas.DataFrame
        As `ornb.latency_summary` gives it: ``n``, ``median``, ``median_low``, ``median_high``.
        The index, of one or more levels, names the rows.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        One row a group: a dot at the median, a bar over its interval, a stroke at p90. A group with
        too few calls for an interval has an open dot.

    Raises
    ------
    ConfigError
        A column is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> times = [0.30, 0.31, 0.35, 0.29, 0.33, 0.32, 0.90, 0.34]
    >>> calls = pd.DataFrame({"model": "acme/orbit", "time_to_first_token_s": times})
    >>> figure = latency_intervals(ornb.latency_summary(calls))
    >>> round(figure.data[0].x[0], 3)
    0.325
    """
    rows = Rows.of(_named_groups(summary), "groups", ["n", "median", "median_low", "median_high"])
    metric = _metric(summary)
    _, axis_title = _said(metric)
    rows.leave_out(rows.frame["median"].isna(), "without a time")
    if not rows.engine:
        rows.frame = rows.frame.sort_values("median", kind="stable", ignore_index=True)
    frame = rows.frame
    sure = frame["median_low"].notna() & frame["median_high"].notna()
    if (~sure).any():
        rows.notes.append(f"Open dot: too few calls for an interval ({int((~sure).sum())}).")
    if "n_failed" in frame and frame["n_failed"].sum():
        rows.notes.append(f"{int(frame['n_failed'].sum())} calls failed and have no time.")
    percent = f"{100 * float(summary.attrs.get('confidence', 0.95)):g} %"
    figure = canvas.sheet(
        _said(metric)[0],
        f"Dot: median. Bar: its {percent} interval. Stroke: p90, where there are enough calls.",
        rows,
        theme=theme,
        height=210 + 34 * max(len(frame), 3),
        left=canvas.room_for(frame["group"].map(lambda name: words.cut(name, 32))),
        right=64,
        legend_rows=0,
    )
    ends = [v for c in ("median", "median_high", "p90") if c in frame for v in frame[c]]
    figure.update_xaxes(**canvas.seconds_axis([*ends, *frame["median_low"]], axis_title))
    if frame.empty:
        return canvas.say_empty(figure, rows)
    names = [words.plain(words.cut(name, 32)) for name in frame["group"]]
    figure.update_yaxes(**canvas.category_axis(names))
    _medians(figure, frame, names, sure, metric)
    canvas.write_beside(figure, names, [f"n = {n}" for n in frame["n"]])
    return figure


def _named_groups(summary: Any) -> pd.DataFrame:
    """The summary with its index as one column of names, and another of models."""
    if not isinstance(summary, pd.DataFrame):
        raise ConfigError(f"a DataFrame of groups is needed, not {type(summary).__name__}")
    keys = [k if isinstance(k, tuple) else (k,) for k in summary.index]
    names = list(summary.index.names)
    place = names.index("model") if "model" in names else 0
    named = summary.reset_index(drop=True).assign(
        group=[" · ".join(map(str, key)) for key in keys], model=[str(key[place]) for key in keys]
    )
    named.attrs = dict(summary.attrs)
    return named


def _metric(summary: pd.DataFrame) -> str:
    listed = list(summary["metric"].dropna()) if "metric" in summary else []
    return str(listed[0]) if listed else str(summary.attrs.get("metric", FIRST_TOKEN))


def _medians(
    figure: go.Figure, frame: pd.DataFrame, names: list[str], sure: Any, metric: str
) -> None:
    colors = [style.color_of(model) for model in frame["model"]]
    spans = [
        "too few calls" if not ok else f"{short(low)} to {short(high)}"
        for ok, low, high in zip(sure, frame["median_low"], frame["median_high"], strict=True)
    ]
    hover = {"median": map(short, frame["median"]), "interval": spans, "n": frame["n"]}
    if "note" in frame:
        hover["note"] = frame["note"]
    low = (frame["median"] - frame["median_low"]).fillna(0)
    high = (frame["median_high"] - frame["median"]).fillna(0)
    marks = canvas.named(frame["group"], metric, "group", {k: list(v) for k, v in hover.items()})
    for n, name in enumerate(names):  # error bars have one colour a trace
        figure.add_scatter(
            **{**marks, "text": [marks["text"][n]], "customdata": [marks["customdata"][n]]},
            x=[float(frame["median"][n])],
            y=[name],
            mode="markers",
            name=marks["text"][n],
            marker=style.ring(colors[n], "circle" if sure[n] else "circle-open", 12),
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [float(high[n])],
                "arrayminus": [float(low[n])],
                "color": colors[n],
                "thickness": 4,
                "width": 0,
            },
        )
    if "p90" in frame:
        figure.add_scatter(
            x=words.numbers(frame["p90"]),
            y=names,
            mode="markers",
            hoverinfo="skip",
            marker=style.ring(colors, "line-ns-open", 14),
        )


# ---- wait and rate -------------------------------------------------------------------------------


def first_token_and_rate(calls: pd.DataFrame | HasFrame, *, theme: str | None = None) -> go.Figure:
    """Wait for the first token against the rate of the whole answer: who is quick at what.

    The rate is completion tokens over the whole duration, the wait included: of short answers it
    says little, and reasoning that is not shown lowers neither number alone.

    Parameters
    ----------
    calls : pandas.DataFrame, or UsageTracker
        As `ornb.measure` gives it, or `ornb.usage`.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        Seconds against tokens per second: a small dot a call, a large one at each model's medians.

    Raises
    ------
    ConfigError
        A column is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> calls = {"model": ["acme/orbit"], "time_to_first_token_s": [0.3], "tokens_per_second": [50]}
    >>> first_token_and_rate(pd.DataFrame(calls)).layout.yaxis.title.text
    'tokens per second of the whole call'
    """
    rows = _timed(calls, [FIRST_TOKEN, RATE])
    models = _in_order(rows, FIRST_TOKEN)
    better = "Better is further up and to the left."
    figure = canvas.sheet(
        "How soon does it answer, and how fast?"
        if rows.engine
        else "Who answers at once, and who writes fast?",
        f"Small: one call. Large: the medians of a name. {'' if rows.engine else better}",
        rows,
        theme=theme,
        height=500,
        legend_rows=1 + (len(models) - 1) // 3,
    )
    figure.update_xaxes(**canvas.seconds_axis(rows.frame[FIRST_TOKEN], _MEANING[FIRST_TOKEN][1]))
    figure.update_yaxes(**canvas.seconds_axis(rows.frame[RATE], _MEANING[RATE][1]))
    if rows.frame.empty:
        return canvas.say_empty(figure, rows)
    for model in models:
        _calls_and_medians(figure, str(model), rows.frame[rows.frame["model"] == model])
    return figure


def _calls_and_medians(figure: go.Figure, model: str, part: pd.DataFrame) -> None:
    color, symbol = style.color_of(model), style.symbol_of(model)
    hover: dict[str, Any] = {
        "first token": [f"{short(v)} s" for v in part[FIRST_TOKEN]],
        "rate": [f"{short(v)} tokens per second" for v in part[RATE]],
    }
    for column in ("concurrency", "provider", "source"):
        if column in part:
            hover[column] = ["not known" if pd.isna(v) else v for v in part[column]]
    figure.add_scatter(
        **canvas.named([model] * len(part), FIRST_TOKEN, RATE, hover),
        x=words.numbers(part[FIRST_TOKEN]),
        y=words.numbers(part[RATE]),
        mode="markers",
        name=f"{words.plain(model)} (n = {len(part)})",
        legendgroup=model,
        marker={"color": color, "symbol": symbol, "size": 6, "opacity": 0.7},
    )
    figure.add_scatter(
        x=[float(part[FIRST_TOKEN].median())],
        y=[float(part[RATE].median())],
        mode="markers",
        legendgroup=model,
        showlegend=False,
        text=[words.plain(model)],
        hovertemplate="<b>%{text}</b><br>medians: %{x:.3~g} s, %{y:.3~g} tokens per second"
        "<extra></extra>",
        marker={
            "color": color,
            "symbol": symbol,
            "size": 17,
            "line": {"width": 2, "color": style.OTHER},
        },
    )
