"""Figures of the models table: what is out there, what it costs, what it can."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..errors import ConfigError, whole
from ..pricing import blended_usd_per_million, tiers
from . import canvas, style, words
from .models import (
    BLENDED,
    COMPLETION,
    INDICES,
    MIX,
    PROMPT,
    blended_axis,
    dots,
    model_rows,
    without_price,
)
from .rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

# ---- prices --------------------------------------------------------------------------------------


def price_map(
    models: pd.DataFrame, *, highlight: Iterable[str] = (), theme: str | None = None
) -> go.Figure:
    """Every model by what its prompt and its completion tokens cost.

    Not for comparing what a call costs: that depends on how many tokens go each way.

    Parameters
    ----------
    models : pandas.DataFrame
        As `ornb.models` gives it, or some of its rows.
    highlight : iterable of str
        Ids that are named and drawn in their own colours, the others in grey. The caption tells
        which of them are not in the frame, or have no place in the figure, and why.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        USD per million tokens, both axes logarithmic. Free models and models without a price have
        no place there; the caption counts them.

    Raises
    ------
    ConfigError
        A column is missing.

    Examples
    --------
    >>> figure = price_map(ornb.models(), highlight=["openai/gpt-5.4"])
    >>> figure.layout.xaxis.title.text
    'prompt price (USD per million tokens)'
    """
    rows, wanted = model_rows(models, [PROMPT, COMPLETION], highlight=highlight)
    without_price(rows)
    zero = (rows.frame[PROMPT] == 0) & (rows.frame[COMPLETION] == 0)
    rows.leave_out(zero, "free (0 has no place on a logarithmic axis)")
    rows.leave_out((rows.frame[PROMPT] == 0) | (rows.frame[COMPLETION] == 0), "with one price of 0")
    figure = canvas.sheet(
        "What do prompt and completion tokens cost?",
        "One dot a model. On the dotted line both cost the same; above it, answers cost more.",
        rows,
        theme=theme,
        height=560,
        legend_rows=1 if wanted else 2,
    )
    x, y = rows.frame[PROMPT], rows.frame[COMPLETION]
    figure.update_xaxes(**canvas.log_axis(x, "prompt price (USD per million tokens)", prefix="$"))
    figure.update_yaxes(
        **canvas.log_axis(y, "completion price (USD per million tokens)", prefix="$")
    )
    if rows.frame.empty:
        return canvas.say_empty(figure, rows)
    line = _line_of_equals(figure, theme)
    dots(figure, rows.frame, PROMPT, COMPLETION, wanted, _extremes(rows.frame), line)
    return figure


def _line_of_equals(figure: go.Figure, theme: str | None) -> list[tuple[float, float]]:
    """Draw it, and tell points of it, close enough that no name fits in between."""
    ranges = figure.layout.xaxis.range, figure.layout.yaxis.range
    low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
    figure.add_shape(
        type="line",
        x0=10**low,
        x1=10**high,
        y0=10**low,
        y1=10**high,
        layer="below",
        line={"color": style.theme_of(theme).line, "width": 1, "dash": "dot"},
    )
    return [(10**at, 10**at) for at in (low + (high - low) * n / 64 for n in range(65))]


def _extremes(frame: pd.DataFrame) -> list[str]:
    """The cheapest and the most expensive: the few that a reader looks for first."""
    cost = blended_usd_per_million(frame[PROMPT], frame[COMPLETION])
    order = cost.sort_values(kind="stable").index
    return list(dict.fromkeys(frame["id"].loc[[*order[:2], *order[::-1][:3]]]))


def price_quality(
    models: pd.DataFrame,
    index: str = "intelligence_index",
    *,
    highlight: Iterable[str] = (),
    theme: str | None = None,
) -> go.Figure:
    """Price against a benchmark's score, with the models that nothing beats in both.

    A score is one benchmark's view, and the price is listed, not what a task costs: models that
    think aloud use more tokens for the same question.

    Parameters
    ----------
    models : pandas.DataFrame
        As `ornb.models` gives it, or some of its rows.
    index : {"intelligence_index", "coding_index", "agentic_index"}
        Which score: Artificial Analysis's indices, in points.
    highlight : iterable of str
        Ids that are named and drawn in their own colours, the others in grey. The caption tells
        which of them are not in the frame, or have no place in the figure, and why.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        Blended USD per million tokens, logarithmic, against points. Free models, whose calls are
        few a day, stand apart on the left. The line is the Pareto front of the paid ones: none of
        them is both cheaper and better. Models without a score are counted in the caption.

    Raises
    ------
    ConfigError
        A column is missing.

    Examples
    --------
    >>> figure = price_quality(ornb.models(), "coding_index")
    >>> figure.layout.yaxis.title.text
    'coding index (points)'
    """
    if index not in INDICES:
        raise ConfigError(f"index={index!r} is not known; give one of {', '.join(INDICES)}")
    rows, wanted = model_rows(models, [PROMPT, COMPLETION, index], highlight=highlight)
    rows.leave_out(rows.frame[index].isna(), f"without a score in {index}")
    without_price(rows)
    frame = rows.frame
    frame[BLENDED] = blended_usd_per_million(frame[PROMPT], frame[COMPLETION])
    name = index.replace("_", " ")
    figure = canvas.sheet(
        "Which models give the most for their price?",
        "Line: paid models that no paid one beats in price and score. Free: at the left.",
        rows,
        theme=theme,
        height=560,
        legend_rows=1 if wanted else 2,
    )
    blended_axis(figure, frame)
    figure.update_yaxes(title={"text": f"{name} (points)"})
    if frame.empty:
        return canvas.say_empty(figure, rows)
    low, high = canvas.padded(frame[index])
    step = 10 if high - low > 30 else 5 if high - low > 12 else 1
    ticks = list(range(math.ceil(low / step) * step, math.floor(high) + 1, step))
    figure.update_yaxes(range=[low, high], tickvals=ticks)
    best = front(frame[frame[BLENDED] > 0], BLENDED, index)
    _front_line(figure, frame.loc[best], index, theme)
    line = _along(frame.loc[best], index)
    dots(figure, frame, BLENDED, index, wanted, _notable(frame, best, index), line)
    return figure


def front(frame: pd.DataFrame, cost: str, score: str) -> list[Any]:
    """Pareto front: the rows that no other row beats by costing less or scoring more.

    Cheapest first. Of rows that are alike in both the first counts.
    """
    ordered = frame.sort_values([cost, score], ascending=[True, False], kind="stable")
    points = ordered[score].astype("float64")
    return list(ordered.index[points > points.cummax().shift(fill_value=float("-inf"))])


def _notable(frame: pd.DataFrame, best: list[Any], score: str) -> list[str]:
    """Those of the paid front, the best first, and the best of the free."""
    free = frame[frame[BLENDED] == 0].nlargest(1, score)
    return list(frame.loc[[*best[::-1], *free.index], "id"])


def _along(best: pd.DataFrame, index: str) -> list[tuple[float, float]]:
    """Points of the front's steps, close enough that no name fits in between."""
    ends = list(zip(best[BLENDED].astype(float), best[index].astype(float), strict=True))
    shares = [n / 24 for n in range(25)]
    return [
        point
        for (x, y), (to_x, to_y) in pairwise(ends)
        for share in shares
        for point in ((x * (to_x / x) ** share, y), (to_x, y + share * (to_y - y)))
    ]


def _front_line(figure: go.Figure, best: pd.DataFrame, index: str, theme: str | None) -> None:
    figure.add_scatter(
        x=words.numbers(best[BLENDED]),
        y=words.numbers(best[index]),
        mode="lines",
        name="Pareto front",
        legendrank=3000,
        line={"color": style.theme_of(theme).line, "width": 1.5, "shape": "hv"},
        hoverinfo="skip",
    )


def context_price(
    models: pd.DataFrame, *, highlight: Iterable[str] = (), theme: str | None = None
) -> go.Figure:
    """How much a model can read at once, against what it costs.

    The listed context is the longest of any provider, and long prompts may cost more a token: see
    `price_by_length`.

    Parameters
    ----------
    models : pandas.DataFrame
        As `ornb.models` gives it, or some of its rows.
    highlight : iterable of str
        Ids that are named and drawn in their own colours, the others in grey. The caption tells
        which of them are not in the frame, or have no place in the figure, and why.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        Blended USD per million tokens against tokens, both logarithmic; free models stand apart.

    Raises
    ------
    ConfigError
        A column is missing.

    Examples
    --------
    >>> context_price(ornb.models()).layout.yaxis.title.text
    'context (tokens)'
    """
    rows, wanted = model_rows(models, [PROMPT, COMPLETION, "context_length"], highlight=highlight)
    rows.leave_out(rows.frame["context_length"].isna(), "without a listed context")
    without_price(rows)
    frame = rows.frame
    frame[BLENDED] = blended_usd_per_million(frame[PROMPT], frame[COMPLETION])
    figure = canvas.sheet(
        "What does a long context cost?",
        "One dot a model: tokens that fit, prompt and answer together, against the price.",
        rows,
        theme=theme,
        height=520,
        legend_rows=1 if wanted else 2,
    )
    blended_axis(figure, frame)
    figure.update_yaxes(**_context_axis(frame["context_length"]))
    if frame.empty:
        return canvas.say_empty(figure, rows)
    best = front(frame[frame[BLENDED] > 0], BLENDED, "context_length")
    notable = _notable(frame, best, "context_length")
    dots(figure, frame, BLENDED, "context_length", wanted, notable)
    return figure


def _context_axis(values: Any) -> dict[str, Any]:
    axis = canvas.log_axis(values, "context (tokens)")
    powers = [4_000, 16_000, 64_000, 256_000, 1_000_000, 4_000_000]
    low, high = (10**end for end in axis["range"])
    shown = [tick for tick in powers if low <= tick <= high]
    said = [f"{t // 1_000_000}M" if t >= 1_000_000 else f"{t // 1000}k" for t in shown]
    return {**axis, "tickvals": shown, "ticktext": said, "minor": {}} if shown else axis


# ---- tiers and families --------------------------------------------------------------------------


def price_tiers(models: pd.DataFrame, *, theme: str | None = None) -> go.Figure:
    """The price table that people know, beside one that tells models apart.

    Parameters
    ----------
    models : pandas.DataFrame
        As `ornb.models` gives it, or some of its rows.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        Two panels of bars, models in each tier; the rows are those of `ornb.tiers`.

    Raises
    ------
    ConfigError
        A column is missing.

    Examples
    --------
    >>> figure = price_tiers(ornb.models())
    >>> [trace.name for trace in figure.data]
    ['per token', 'blended']
    """
    needs = ["id", PROMPT, COMPLETION, "is_router", "is_free"]
    rows = Rows.of(models, "models", needs, unique="id")
    counted = tiers(rows.frame) if len(rows.frame) else pd.DataFrame()
    figure = canvas.sheet(
        "How many models are in each price tier?",
        f"Left: USD per token, larger of the two prices. Right: USD per million, {MIX}.",
        rows,
        theme=theme,
        height=430,
        left=96,
        legend_rows=0,
    )
    if counted.empty:
        return canvas.say_empty(figure, rows)
    panels = (("per_token", "x", "y", [0, 0.4]), ("blended", "x2", "y2", [0.6, 1]))
    for scheme, x, y, domain in panels:
        part = counted[counted["scheme"] == scheme]
        figure.add_bar(**_tier_bars(part, scheme), xaxis=x, yaxis=y)
        figure.update_layout(
            {
                x.replace("x", "xaxis"): {
                    "domain": domain,
                    "anchor": y,
                    "title": {"text": "models"},
                    "range": [0, 1.45 * part["models"].max()],
                    "gridcolor": style.theme_of(theme).grid,
                },
                y.replace("y", "yaxis"): {
                    "anchor": x,
                    "autorange": "reversed",
                    "type": "category",
                    **canvas.ROWS,
                    "showgrid": False,
                },
            }
        )
    return figure


def _tier_bars(part: pd.DataFrame, scheme: str) -> dict[str, Any]:
    shares = [f"{s:.0%}" if s >= 0.005 or not s else "< 1%" for s in part["share"]]
    given = canvas.named(
        part["tier"],
        "models",
        "tier",
        {"share of all": shares, "holds": list(part["description"])},
    )
    ends = [f"{n} ({share})" if n else "0" for n, share in zip(part["models"], shares, strict=True)]
    return {
        **given,
        "name": scheme.replace("_", " "),
        "x": part["models"].tolist(),
        "y": [_tier_word(tier, scheme) for tier in part["tier"]],
        "orientation": "h",
        "marker": {"color": style.PALETTE[0 if scheme == "blended" else 7]},
        "texttemplate": "%{customdata[2]}",
        "customdata": [[*row, text] for row, text in zip(given["customdata"], ends, strict=True)],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": given["hovertemplate"].replace("<extra>", "<br>models: %{x}<extra>"),
    }


def _tier_word(tier: str, scheme: str) -> str:
    """Tier as an axis shows it: in dollars, with the signs that people read."""
    if not any(sign.isdigit() for sign in tier):
        return tier
    said = tier.replace("<= ", "≤ $").replace("> ", "> $").replace("under ", "under $")
    if scheme == "blended":
        said = said.replace(" and up", "+")
        said = said if "$" in said else f"${said}"
    return said


def families(
    models: pd.DataFrame, *, by: str = "author", most: int = 14, theme: str | None = None
) -> go.Figure:
    """When each maker's or family's models came.

    Models that are gone are not in a catalogue of today: old rows look thinner than they were.

    Parameters
    ----------
    models : pandas.DataFrame
        As `ornb.models` gives it, or some of its rows.
    by : {"author", "family"}
        What a row of the figure is.
    most : int
        How many rows; those with the most models are kept.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        One dot a model at the UTC day it was added, one row a maker or family.

    Raises
    ------
    ConfigError
        A column is missing, or `by` or `most` cannot be used.

    Examples
    --------
    >>> families(ornb.models(), by="family", most=5).layout.xaxis.title.text
    'added to the catalogue (UTC)'
    """
    most = whole("most", most, 1)
    if by not in ("author", "family"):
        raise ConfigError(f'by={by!r}; give "author" or "family"')
    rows, _ = model_rows(models, ["created", "author", by])
    word = {"author": "maker", "family": "family"}[by]
    rows.leave_out(rows.frame["created"].isna(), "without a date")
    rows.leave_out(rows.frame[by].isna(), f"without a {word}")
    kept = rows.frame[by].value_counts().head(most)
    others = rows.frame[by].nunique() - len(kept)
    plural = {"maker": "makers", "family": "families"}[word]
    rows.leave_out(~rows.frame[by].isin(kept.index), f"in {others} smaller {plural}")
    figure = canvas.sheet(
        f"When did each {word}'s models come?",
        "One dot a model, at the day it was added; the number is how many there are.",
        rows,
        theme=theme,
        height=190 + 26 * max(len(kept), 3),
        left=124,
        right=44,
        legend_rows=0,
    )
    figure.update_xaxes(title={"text": "added to the catalogue (UTC)"}, type="date")
    if rows.frame.empty:
        return canvas.say_empty(figure, rows)
    names = [words.plain(name) for name in kept.index]
    figure.update_yaxes(**canvas.category_axis(names))
    frame = rows.frame.sort_values(["created", "id"], kind="stable")
    figure.add_scatter(**_family_dots(frame, by), mode="markers", name=word)
    canvas.write_beside(figure, names, kept)
    return figure


def _family_dots(frame: pd.DataFrame, by: str) -> dict[str, Any]:
    return {
        **canvas.named(
            frame["id"], "created", by, {"added": frame["created"].dt.strftime("%Y-%m-%d")}
        ),
        "x": frame["created"].dt.strftime("%Y-%m-%d").tolist(),
        "y": [words.plain(name) for name in frame[by]],
        "marker": {
            "color": [style.maker_color(author) for author in frame["author"]],
            "size": 9,
            "line": style.RIM,
        },
    }
