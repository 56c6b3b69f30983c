"""Figures of prices: from provider to provider, by the length of a prompt, the hour, over time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..errors import ConfigError, whole
from ..pricing import blended_usd_per_million, estimate
from . import canvas, labels, style, words
from .models import BLENDED, COMPLETION, MIX, PROMPT
from .rows import Rows
from .words import usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_RIGHT = 190


# ---- providers of one model ----------------------------------------------------------------------


def provider_spread(endpoints: pd.DataFrame, *, theme: str | None = None) -> go.Figure:
    """What the providers of one model charge, cheapest first.

    A cheap provider may keep fewer bits (the quantization is in its name here), allow shorter
    answers or be slower: the price alone is no reason.

    Parameters
    ----------
    endpoints : pandas.DataFrame
        As `ornb.endpoints` gives it.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        One row a provider, USD per million tokens, logarithmic: an open mark for the prompt, a
        filled one for the completion.

    Raises
    ------
    ConfigError
        A column is missing.

    Examples
    --------
    >>> figure = provider_spread(ornb.endpoints("openai/gpt-oss-120b"))
    >>> [trace.name for trace in figure.data if trace.name]
    ['prompt', 'completion']
    """
    rows = Rows.of(endpoints, "endpoints", ["provider_name", PROMPT, COMPLETION])
    rows.leave_out(rows.frame[[PROMPT, COMPLETION]].isna().any(axis=1), "without a price")
    frame = rows.frame
    frame[BLENDED] = blended_usd_per_million(frame[PROMPT], frame[COMPLETION])
    frame = rows.frame = frame.sort_values(BLENDED, kind="stable", ignore_index=True)
    model = _only(frame, "model_id")
    names = [words.plain(name) for name in _endpoint_names(frame)]
    figure = canvas.sheet(
        f"What do the providers of {words.plain(model)} charge?",
        f"Cheapest first, {MIX}. Open mark: prompt; filled: completion.",
        rows,
        theme=theme,
        height=210 + 24 * max(len(frame), 3),
        left=canvas.room_for(names),
    )
    both = pd.concat([frame[PROMPT], frame[COMPLETION]])
    axis = canvas.log_axis(
        both, "price (USD per million tokens)", prefix="$", free=bool((both == 0).any())
    )
    figure.update_xaxes(**axis)
    if frame.empty:
        return canvas.say_empty(figure, rows)
    figure.update_yaxes(**canvas.category_axis(names))
    _dumbbells(figure, frame, names, style.color_of(model))
    return figure


def _dumbbells(figure: go.Figure, frame: pd.DataFrame, names: list[str], color: str) -> None:
    free = figure.layout.xaxis.tickvals[0]
    at = {c: [v or free for v in words.numbers(frame[c])] for c in (PROMPT, COMPLETION)}
    joined = [v for a, b in zip(at[PROMPT], at[COMPLETION], strict=True) for v in (a, b, None)]
    figure.add_scatter(
        x=joined,
        y=[v for name in names for v in (name, name, None)],
        mode="lines",
        line={"color": color, "width": 2},
        opacity=0.4,
        hoverinfo="skip",
        showlegend=False,
    )
    hover = {
        "prompt": [usd(v) for v in frame[PROMPT]],
        "completion": [usd(v) for v in frame[COMPLETION]],
        **_facts(frame),
    }
    for column, name, symbol in (
        (PROMPT, "prompt", "circle-open"),
        (COMPLETION, "completion", "circle"),
    ):
        figure.add_scatter(
            **canvas.named(frame["provider_name"], "usd_per_million", "provider", hover),
            x=at[column],
            y=names,
            mode="markers",
            name=name,
            marker=style.ring(color, symbol, 10),
        )


def _facts(frame: pd.DataFrame) -> dict[str, list[str]]:
    facts: dict[str, list[str]] = {}
    for column, name in (
        ("context_length", "context"),
        ("max_completion_tokens", "longest answer"),
    ):
        if column in frame:
            facts[name] = [words.count(v) for v in frame[column]]
    if "uptime_last_1d_percent" in frame:
        listed = frame["uptime_last_1d_percent"]
        facts["uptime, last day"] = ["not listed" if pd.isna(v) else f"{v:.2f} %" for v in listed]
    return facts


def _endpoint_names(frame: pd.DataFrame) -> list[str]:
    """One name a row: provider and quantization; the tag too where that is not enough."""
    parts = frame.reindex(columns=["provider_name", "quantization", "tag"])
    bits = [q if isinstance(q, str) else "" for q in parts["quantization"]]
    names = [f"{p} {q}".strip() for p, q in zip(parts["provider_name"], bits, strict=True)]
    seen: dict[str, int] = {}
    unique = []
    for name, tag in zip(names, parts["tag"], strict=True):
        word = str(tag).rpartition("/")[2] if isinstance(tag, str) else ""
        says_more = word and word not in name.lower().replace(" ", "-").split("-fp")[0]
        full = f"{name} {word}" if names.count(name) > 1 and says_more else name
        seen[full] = seen.get(full, 0) + 1
        again = f" {seen[full]}" if seen[full] > 1 else ""
        unique.append(words.cut(full, 24) + again)
    return unique


def _only(frame: pd.DataFrame, column: str) -> str:
    names = list(frame[column].dropna().unique()) if column in frame else []
    return str(names[0]) if len(names) == 1 else "this model" if not names else "these models"


# ---- prices with conditions ----------------------------------------------------------------------


def price_by_length(
    prices: pd.DataFrame,
    ids: Iterable[str] | None = None,
    *,
    hour: int = 12,
    most: int = 6,
    theme: str | None = None,
) -> go.Figure:
    """What a token costs as the prompt grows: some models charge more for long prompts.

    Above a length that the listing gives, the *whole* call has the higher price. The figure has
    listed prices; what is kept in a cache costs less.

    Parameters
    ----------
    prices : pandas.DataFrame
        As `ornb.models` or `ornb.endpoints` gives it.
    ids : iterable of str, optional
        Models to show; by default the newest whose price depends on the length.
    hour : int
        Hour of a Monday (UTC), 0 to 23, for prices that depend on it too.
    most : int
        How many are shown by default.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        Prompt tokens against USD per million tokens of the call, both logarithmic, for an answer
        a third as long as the prompt.

    Raises
    ------
    ConfigError
        A column or an id is missing, or `hour` or `most` cannot be used.

    Examples
    --------
    >>> figure = price_by_length(ornb.models(), ["openai/gpt-5.4"])
    >>> [round(usd, 2) for usd in figure.data[0].y][:2], round(figure.data[0].y[-1], 2)
    ([5.62, 5.62], 9.38)
    """
    at = _moment("monday", whole("hour", hour, 0, 23))
    rows = _conditional(prices, ids, most, ("min_prompt_tokens",), "its length")
    lines = _priced(rows, lambda raw: _by_length(raw, at))
    figure = canvas.sheet(
        "What does a token cost when prompts are long?",
        f"Price of the whole call, {MIX}. A step is where the listing charges more.",
        rows,
        theme=theme,
        height=460,
        right=_RIGHT,
        legend_rows=0,
    )
    lengths = [x for line in lines.values() for x, _ in line]
    axis = canvas.log_axis(lengths, "prompt (tokens)")
    ticks = [1, 10, 100, 1000, 4000, 16_000, 64_000, 256_000, 1_000_000]
    said = ["1", "10", "100", "1k", "4k", "16k", "64k", "256k", "1M"]
    figure.update_xaxes(**{**axis, "tickvals": ticks, "ticktext": said, "minor": {}})
    return _price_lines(figure, lines, rows, "prompt_tokens", lambda x: f"{x:,.0f} prompt tokens")


def price_by_hour(
    prices: pd.DataFrame,
    ids: Iterable[str] | None = None,
    *,
    day: str = "monday",
    prompt_tokens: int = 1000,
    most: int = 6,
    theme: str | None = None,
) -> go.Figure:
    """What a token costs through the day: some providers charge less at night.

    Parameters
    ----------
    prices : pandas.DataFrame
        As `ornb.models` or `ornb.endpoints` gives it; in 2026 the providers' rows have such prices.
    ids : iterable of str, optional
        Models to show; by default those whose price depends on the hour.
    day : str
        Day of the week, such as ``"monday"`` (UTC).
    prompt_tokens : int
        Length of the prompt, for prices that depend on it too.
    most : int
        How many are shown by default.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        Hours (UTC) against USD per million tokens of the call, logarithmic.

    Raises
    ------
    ConfigError
        A column or an id is missing, or `day`, `prompt_tokens` or `most` cannot be used.

    Examples
    --------
    >>> price_by_hour(ornb.endpoints("deepseek/deepseek-v4-pro-0813")).layout.xaxis.title.text
    'hour of the day (UTC)'
    """
    prompt_tokens = whole("prompt_tokens", prompt_tokens, 1)
    if str(day).lower() not in _DAYS:
        raise ConfigError(f"day={day!r}; give a weekday, such as 'monday'")
    rows = _conditional(prices, ids, most, ("utc_start", "utc_end", "utc_days"), "the hour")
    lines = _priced(rows, lambda raw: _by_hour(raw, day.lower(), prompt_tokens))
    figure = canvas.sheet(
        "What does a token cost through the day?",
        f"Price of a call of {prompt_tokens:,} prompt tokens on a {day.capitalize()}, {MIX}.",
        rows,
        theme=theme,
        height=400,
        right=_RIGHT,
        legend_rows=0,
    )
    figure.update_xaxes(
        title={"text": "hour of the day (UTC)"}, range=[0, 24], tickvals=list(range(0, 25, 4))
    )
    return _price_lines(
        figure, lines, rows, "hour_utc", lambda x: f"{int(x):02}:{x % 1 * 60:02.0f}"
    )


PriceLine = list[tuple[float, float]]


def _conditional(
    prices: pd.DataFrame, ids: Iterable[str] | None, most: int, keys: tuple[str, ...], what: str
) -> Rows:
    """The rows asked for, or those whose price depends on something."""
    noun = "endpoints" if "provider_name" in getattr(prices, "columns", ()) else "models"
    rows = Rows.of(prices, noun, ["model_id" if noun == "endpoints" else "id", "raw"])
    most = whole("most", most, 1)
    if noun == "endpoints":
        rows.frame["id"] = [
            f"{model} · {name}"
            for model, name in zip(rows.frame["model_id"], _endpoint_names(rows.frame), strict=True)
        ]
    rows.leave_out(rows.frame["id"].duplicated(), "listed twice by id")
    if ids is not None:
        wanted = [ids] if isinstance(ids, str) else list(dict.fromkeys(ids))
        known = rows.frame["model_id" if noun == "endpoints" else "id"]
        rows.note_unknown(wanted, known)
        rows.watched = frozenset(rows.frame["id"][known.isin(wanted)])
        rows.leave_out(~known.isin(wanted), "not asked for")
        return rows
    for flag, why in (("is_alias", "aliases"), ("is_batch", "batch variants")):
        if flag in rows.frame:
            rows.leave_out(rows.frame[flag], why)
    entries = [_overrides(raw) for raw in rows.frame["raw"]]
    depends = [any(key in entry for entry in each for key in keys) for each in entries]
    rows.leave_out([not d for d in depends], f"whose listed price does not depend on {what}")
    dated = "created" in rows.frame
    if dated:
        rows.frame = rows.frame.sort_values("created", ascending=False, ignore_index=True)
    rows.leave_out(rows.frame.index >= most, "older ones" if dated else "more")
    return rows


def _overrides(raw: Any) -> list[dict[str, Any]]:
    pricing = raw.get("pricing") if isinstance(raw, dict) else None
    listed = pricing.get("overrides") if isinstance(pricing, dict) else None
    return [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []


def _priced(rows: Rows, line: Callable[[dict[str, Any]], PriceLine]) -> dict[str, PriceLine]:
    """The line of each row that has one; the others are set aside."""
    pairs = zip(rows.frame["id"], rows.frame["raw"], strict=True)
    lines = {str(name): line(raw) if isinstance(raw, dict) else [] for name, raw in pairs}
    rows.leave_out(
        [not lines[str(name)] for name in rows.frame["id"]], "without a price by the token"
    )
    return {name: points for name, points in lines.items() if points}


def _price_at(raw: dict[str, Any], prompt_tokens: int, at: datetime) -> float | None:
    """USD per million tokens of a call with three prompt tokens to each completion token."""
    answer = max(1, round(prompt_tokens / 3))
    cost = estimate(
        raw.get("pricing"), prompt_tokens=3 * answer, completion_tokens=answer, requests=0, at=at
    )
    return None if cost is None else float(cost) / (4 * answer) * 1e6


def _by_length(raw: dict[str, Any], at: datetime) -> PriceLine:
    longest = raw.get("context_length")
    last = longest if isinstance(longest, int) and longest > 1 else 1_000_000
    first = 1000 if last > 1000 else 1
    steps = [entry.get("min_prompt_tokens") for entry in _overrides(raw)]
    lengths = {first, last}
    for step in steps:
        if isinstance(step, int) and first < step < last - 6:
            # The price is that of a whole number of thirds.
            lengths |= {max(first, step - 3), step + 3}
    points = [(float(n), _price_at(raw, n, at)) for n in sorted(lengths)]
    return [(x, y) for x, y in points if y is not None]


def _by_hour(raw: dict[str, Any], day: str, prompt_tokens: int) -> PriceLine:
    points = []
    for quarter in range(96):
        price = _price_at(raw, prompt_tokens, _moment(day, quarter // 4, quarter % 4 * 15))
        if price is not None:
            points += [(quarter / 4, price), (quarter / 4 + 0.25, price)]
    return [p for n, p in enumerate(points) if n in (0, len(points) - 1) or _turns(points, n)]


def _turns(points: PriceLine, n: int) -> bool:
    return not points[n - 1][1] == points[n][1] == points[n + 1][1]


def _moment(day: str, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 1, 5 + _DAYS.index(day), hour, minute, tzinfo=UTC)  # the 5th: a Monday


def _price_lines(
    figure: go.Figure, lines: dict[str, PriceLine], rows: Rows, x: str, said: Any
) -> go.Figure:
    prices = [price for line in lines.values() for _, price in line]
    title = "price (USD per million tokens)"
    figure.update_yaxes(**canvas.log_axis(prices, title, prefix="$"))
    if not lines:
        return canvas.say_empty(figure, rows)
    ends = []
    for name, line in lines.items():
        look = name.partition(" · ")[0] if len(lines) == 1 else name
        color = style.color_of(look)
        hover = {"at": [said(at) for at, _ in line], "price": [usd(price) for _, price in line]}
        figure.add_scatter(
            **canvas.named([name] * len(line), x, "usd_per_million", hover),
            x=[at for at, _ in line],
            y=[price for _, price in line],
            mode="lines+markers",
            name=words.plain(name),
            line={"color": color, "width": 2},
            marker={"size": 6, "symbol": style.symbol_of(look)},
            cliponaxis=False,
        )
        ends.append(labels.Label(*line[-1], words.cut(_short_name(name), 28), color))
    labels.at_right(figure, ends)
    return figure


def _short_name(name: str) -> str:
    model, _, provider = name.partition(" · ")
    return provider or model.partition("/")[2] or model
