"""What the figures of the models table share: which rows count, their dots and their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import canvas, labels, style, words
from .rows import Rows
from .words import count, usd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

PROMPT, COMPLETION = "prompt_usd_per_million", "completion_usd_per_million"
BLENDED = "blended_usd_per_million"
MIX = "blended 3 prompt : 1 completion"
INDICES = ("intelligence_index", "coding_index", "agentic_index")
OTHERS = "others"


def model_rows(
    models: pd.DataFrame, needs: Iterable[str], *, highlight: Iterable[str] = ()
) -> tuple[Rows, list[str]]:
    """Rows of models that a person can chat with, each once, and the ids of `highlight` in them.

    Aliases stand for models that are there anyway, and ``:batch`` rows are for another API at half
    the price: both are set aside, unless they are asked for by name.
    """
    rows = Rows.of(models, "models", ["id", *needs], unique="id")
    wanted = [highlight] if isinstance(highlight, str) else list(dict.fromkeys(highlight))
    rows.note_unknown(wanted, rows.frame["id"])
    wanted = [name for name in wanted if name in set(rows.frame["id"])]
    rows.watched = frozenset(wanted)
    for flag, why in (("is_alias", "aliases"), ("is_batch", "batch variants")):
        if flag in rows.frame:
            asked = rows.frame["id"].isin(wanted)
            rows.leave_out(rows.frame[flag].astype("boolean").fillna(False) & ~asked, why)
    return rows, wanted


def without_price(rows: Rows) -> None:
    """Set aside what has no price per token, by the reason."""
    if "kind" in rows.frame:
        rows.leave_out(rows.frame["kind"] != "chat", "not for chat (no price blends with theirs)")
    if "is_router" in rows.frame:
        missing = rows.frame[[PROMPT, COMPLETION]].isna().any(axis=1)
        rows.leave_out(
            missing & rows.frame["is_router"].astype(bool),
            "routers (the model they choose sets the price)",
        )
    rows.leave_out(rows.frame[[PROMPT, COMPLETION]].isna().any(axis=1), "without a price")
    if "is_free" in rows.frame:
        zero = (rows.frame[[PROMPT, COMPLETION]] == 0).all(axis=1)
        rows.leave_out(zero & ~rows.frame["is_free"].astype(bool), "not billed by the token")


def blended_axis(figure: go.Figure, frame: pd.DataFrame) -> None:
    """Add a price axis, with a place for what is free."""
    has_free = bool((frame[BLENDED] == 0).any())
    title = f"price (USD per million tokens, {MIX})"
    figure.update_xaxes(**canvas.log_axis(frame[BLENDED], title, prefix="$", free=has_free))


def free_aside(figure: go.Figure, values: Any) -> list[float | None]:
    """Positions of prices: those of 0 at the place that the axis keeps for them."""
    free = figure.layout.xaxis.tickvals[0] if figure.layout.xaxis.tickvals else 0.0
    return [free if value == 0 else value for value in words.numbers(values)]


def dots(
    figure: go.Figure,
    frame: pd.DataFrame,
    x: str,
    y: str,
    wanted: list[str],
    notable: list[str],
    line: Sequence[tuple[float, float]] = (),
) -> None:
    """Draw a trace a maker; or the models asked for, over all others in grey; and name some.

    Those asked for are named from afar where it is crowded, else the notable ones beside the dots,
    as far as there is room; no name is written over the points of `line`.
    """
    _marks(figure, frame, x, y, wanted)
    present = frame.set_index("id")
    rows = present.loc[[name for name in wanted or notable if name in present.index]]
    named = zip(rows.index, _positions(figure, rows, x, y), strict=True)
    labels.place(
        figure,
        [labels.Label(*at, name.partition("/")[2] or name) for name, at in named],
        marks=[*_positions(figure, frame, x, y), *line],
        far=bool(wanted),
    )


def _marks(figure: go.Figure, frame: pd.DataFrame, x: str, y: str, wanted: list[str]) -> None:
    if wanted:
        _trace(figure, frame[~frame["id"].isin(wanted)], x, y, "other models")
        for model in wanted:
            one = frame[frame["id"] == model]
            if len(one):
                look = {"color": style.color_of(model), "symbol": style.symbol_of(model)}
                _trace(figure, one, x, y, model, **look)
        return
    authors = frame["author"] if "author" in frame else frame["id"].str.partition("/")[0]
    group = authors.where(authors.isin(list(style.MAKER_NAMES)), OTHERS)
    for name in [OTHERS, *style.MAKER_NAMES]:
        part = frame[group == name]
        if len(part):
            color = None if name == OTHERS else style.maker_color(name)
            _trace(figure, part, x, y, style.MAKER_NAMES.get(name, name), color)


def _trace(
    figure: go.Figure,
    frame: pd.DataFrame,
    x: str,
    y: str,
    name: str,
    color: str | None = None,
    symbol: str = "circle",
) -> None:
    listed = frame.reindex(columns=[PROMPT, COMPLETION, "context_length"])
    hover: dict[str, Any] = {
        "prompt": [usd(v) for v in listed[PROMPT]],
        "completion": [usd(v) for v in listed[COMPLETION]],
        "context": [count(v) for v in listed["context_length"]],
    }
    if y in INDICES:
        hover[y.replace("_", " ")] = [words.short(v) for v in frame[y]]
    figure.add_scatter(
        **canvas.named(frame["id"], x, y, hover),
        x=free_aside(figure, frame[x]),
        y=words.numbers(frame[y]),
        mode="markers",
        name=words.plain(name),
        legendrank=1000 if color else 2000,
        marker={
            "color": color or style.OTHER,
            "symbol": symbol,
            "size": 9 if color else 6,
            "opacity": 1 if color else 0.75,
            "line": style.RIM,
        },
    )


def _positions(figure: go.Figure, frame: pd.DataFrame, x: str, y: str) -> list[tuple[float, float]]:
    pairs = zip(free_aside(figure, frame[x]), words.numbers(frame[y]), strict=True)
    return [(a, b) for a, b in pairs if a is not None and b is not None]
