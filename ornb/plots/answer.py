"""Figure of one answer: how likely each of its tokens was."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..api.reply import Reply
from ..errors import ConfigError, whole
from ..messages import well_formed
from ..text.rendering import source_words
from . import canvas, style, words
from .rows import Rows

if TYPE_CHECKING:
    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

_SURE, _SURPRISE = style.PALETTE[:2]
_DOT, _DOT_RIM = "#E8E8E8", "#4A4A4A"  # seen on bars, on white and on dark alike


def token_probabilities(answer: Any, *, most: int = 40, theme: str | None = None) -> go.Figure:
    """How likely the model held each token of an answer, and what else it considered.

    A high bar is no sign of truth: it says how sure the model was of the *next word*. Services may
    give these numbers before or after temperature and other settings had their part.

    Parameters
    ----------
    answer : Reply or iterable of dict
        An answer asked for with ``logprobs=True`` (and ``top_logprobs=5`` for the alternatives), or
        its `Reply.logprobs`: ``token``, ``logprob``, ``top_logprobs``.
    most : int
        How many tokens are drawn, from the first.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        One bar a token, in per cent; small dots are the alternatives that the service told.

    Raises
    ------
    ConfigError
        It is no answer, or `most` is below 1.

    Examples
    --------
    >>> told = [{"token": "Paris", "logprob": -0.1, "top_logprobs": []}]
    >>> round(token_probabilities(told).data[0].y[0], 1)
    90.5

    References
    ----------
    OpenAI API, chat completions, ``logprobs.content``; natural logarithms, -9999 for "very small".
    """
    most = whole("most", most, 1)
    rows = _tokens(answer)
    rows.leave_out(rows.frame["percent"].isna(), "without a probability")
    rows.leave_out(rows.frame.index >= most, "further on")
    figure = canvas.sheet(
        "How sure was the model of each token?",
        "Bar: the token it took. Dots: what else it considered. · is a space, ↵ a new line.",
        rows,
        theme=theme,
        height=500,
        below=112 if len(rows.frame) > 10 else 54,
    )
    figure.update_yaxes(title={"text": "probability (%)"}, range=[0, 104])
    figure.update_xaxes(title={"text": "tokens of the answer, in their order"}, showgrid=False)
    if rows.frame.empty:
        if not rows.total:
            rows.aside.append("everything: the answer has no logprobs; ask with logprobs=True")
        return canvas.say_empty(figure, rows)
    frame = rows.frame
    shown = [words.plain(visible(token)) for token in frame["token"]]
    figure.update_xaxes(
        tickvals=list(range(len(frame))),
        ticktext=[word if len(word) < 12 else f"{word[:10]}…" for word in shown],
        tickangle=-60 if len(frame) > 10 else 0,
        range=[-0.7, len(frame) - 0.3],
        tickfont={"size": 11, "family": "ui-monospace, Menlo, Consolas, monospace"},
    )
    figure.update_layout(barmode="overlay")
    first = frame["rank"] == 0
    for name, mask, color in (
        ("taken, the likeliest", first, _SURE),
        ("taken, another was likelier", ~first, _SURPRISE),
    ):
        if mask.any():
            _bars(figure, frame[mask], name, color)
    _alternatives(figure, frame)
    return figure


def _tokens(answer: Any) -> Rows:
    """One row a token: text, probability, alternatives, and how many were likelier."""
    listed = getattr(answer, "logprobs", answer)
    if isinstance(listed, dict):
        listed = listed.get("content")
    if not isinstance(listed, Iterable) or isinstance(listed, str | bytes | pd.DataFrame):
        raise ConfigError(
            f"an answer with logprobs is needed, not {type(answer).__name__}; ask with "
            "logprobs=True, top_logprobs=5"
        )
    entries = [entry if isinstance(entry, dict) else {} for entry in listed]
    frame = pd.DataFrame(
        {
            "token": [well_formed(str(entry.get("token", ""))) for entry in entries],
            "percent": [_percent(entry.get("logprob")) for entry in entries],
            "others": [_others(entry) for entry in entries],
        }
    ).astype({"percent": "float64"})
    frame["rank"] = [
        sum(p > taken + 1e-9 for _, p in others)
        for taken, others in zip(frame["percent"], frame["others"], strict=True)
    ]
    model, source = getattr(answer, "model", None), getattr(answer, "source", None)
    source = source_words(answer) if isinstance(answer, Reply) and source == "recorded" else source
    said = f"{source or 'not stated'}{f', {model}' if model else ''}"
    return Rows(frame, "tokens", said, len(frame))


def _percent(logprob: Any) -> float | None:
    if isinstance(logprob, bool) or not isinstance(logprob, int | float) or math.isnan(logprob):
        return None
    return 100 * math.exp(min(logprob, 0.0))


def _others(entry: dict[str, Any]) -> list[tuple[str, float]]:
    """Alternatives that were told, the token itself left out."""
    listed = entry.get("top_logprobs")
    told = [t for t in listed if isinstance(t, dict)] if isinstance(listed, list) else []
    pairs = [(str(t.get("token", "")), _percent(t.get("logprob"))) for t in told]
    return [(token, p) for token, p in pairs if p is not None and token != entry.get("token")]


def visible(token: str) -> str:
    """A token with its white space to be seen: ``·cat↵``."""
    return token.replace(" ", "·").replace("\n", "↵").replace("\t", "→") or "(empty)"


def _bars(figure: go.Figure, frame: pd.DataFrame, name: str, color: str) -> None:
    told = [
        ", ".join(f"{visible(token)} {percent:.1f} %" for token, percent in others[:5]) or "none"
        for others in frame["others"]
    ]
    hover = {"probability": [f"{p:.1f} %" for p in frame["percent"]], "others": told}
    figure.add_bar(
        **canvas.named(map(visible, frame["token"]), "position", "percent", hover),
        x=list(frame.index),
        y=words.numbers(frame["percent"]),
        name=name,
        marker={"color": color, "opacity": 0.85},
        width=0.72,
        textposition="none",
    )


def _alternatives(figure: go.Figure, frame: pd.DataFrame) -> None:
    pairs = [(n, token, p) for n, others in frame["others"].items() for token, p in others]
    if not pairs:
        return
    hover = {"probability": [f"{p:.1f} %" for _, _, p in pairs]}
    figure.add_scatter(
        **canvas.named([visible(t) for _, t, _ in pairs], "position", "percent", hover),
        x=[n for n, _, _ in pairs],
        y=[p for _, _, p in pairs],
        mode="markers",
        name="alternatives",
        marker={"color": _DOT, "size": 6, "line": {"width": 1, "color": _DOT_RIM}},
    )
