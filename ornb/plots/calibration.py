"""Figure of decisions whose right answer is known: whether 80 % sure is right 80 % of the time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from ..errors import ConfigError
from . import canvas, style, words
from .rows import Rows, source_of

if TYPE_CHECKING:
    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

_Z = 1.959964  # of 95 %, on both sides
_FEWEST = 10  # rows that a threshold has to keep
_YES = {True: True, False: False, "yes": True, "no": False, "true": True, "false": False}
_DOTS, _THRESHOLD = style.PALETTE[:2]


def calibration(
    df: pd.DataFrame,
    truth: Any,
    question: str | None = None,
    *,
    precision: float | None = 0.9,
    bins: int = 10,
    theme: str | None = None,
) -> go.Figure:
    """How often what a model decided was so, against how probable it said that it is.

    A model is calibrated where the dots lie on the diagonal. One that is not is still of use: rows
    above a threshold may be right often enough, and people read the others.

    Parameters
    ----------
    df : pandas.DataFrame
        What `ornb.decide` gives of a column: for yes or no the column of the question, for a choice
        that and its ``..._probability``.
    truth : pandas.Series, sequence or str
        What is so, a row each: True or False (or yes and no, 1 and 0), of a choice the option. A
        Series goes by its index; a text names a column of `df`. Where it is missing, a row is left
        out.
    question : str, optional
        Which column, where `df` has several questions.
    precision : float, optional
        Share of the kept rows that has to be right, from 0 to 1. The lowest threshold that reaches
        it is drawn and told. None for none.
    bins : int
        How many parts of equal width the probabilities are sorted into.
    theme : {"auto", "light", "dark"}, optional
        See `use_theme`.

    Returns
    -------
    plotly.graph_objects.Figure
        A dot a bin: mean probability against the share that was so (of a choice: was right), both
        from 0 to 1, with its 95 % interval; below, the rows of each bin. `table` gives the bins,
        and its ``attrs`` also ``n``, ``brier``, ``expected_calibration_error``, ``threshold`` (None
        where none reaches the precision) and ``kept``, the share of rows from there on.

    Raises
    ------
    ConfigError
        A column is missing or holds no probabilities, `truth` does not fit `df`, or all of it is
        the same.

    Examples
    --------
    >>> import pandas as pd
    >>> said = pd.DataFrame({"angry": [0.9, 0.8, 0.8, 0.3, 0.1, 0.2]})
    >>> figure = calibration(said, [True, True, False, True, False, False])
    >>> round(ornb.plots.table(figure).attrs["brier"], 3)
    0.205

    Notes
    -----
    With p the probability and y what was so, 1 or 0: the Brier score is the mean of ``(p - y)**2``;
    the expected calibration error sums ``rows / n * abs(mean y - mean p)`` over the bins. It is
    above 0 also of a calibrated model, by about ``sqrt(2 / pi * sum(p * (1 - p))) / n`` in each
    bin, which the caption adds up as "by chance". The interval of k of n is Wilson's,
    ``(k + z*z/2 ± z * sqrt(k * (n - k) / n + z*z/4)) / (n + z*z)`` with z = 1.96.

    References
    ----------
    Brier, "Verification of forecasts expressed in terms of probability", 1950. Naeini, Cooper and
    Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", 2015. Wilson,
    "Probable inference, the law of succession, and statistical inference", 1927.
    """
    _check(precision, bins)
    rows, what = _decided(df, truth, question)
    frame = rows.frame
    frame["bin"] = np.minimum(np.floor(frame["said"] * bins + 1e-9), bins - 1)
    parts = frame.groupby("bin", as_index=False).agg(
        said=("said", "mean"), so=("so", "mean"), hits=("so", "sum"), n=("so", "size")
    )
    measures, about = _measures(frame, parts), ""
    found = None
    if len(frame):
        about = f"n = {len(frame)}: Brier score {measures['brier']:.2f}, expected calibration "
        about += f"error {measures['expected_calibration_error']:.2f}. "
        rows.notes.append(_beside(frame, parts))
        if precision is not None:
            found, told = _threshold(frame, precision, what)
            rows.notes.append(told)
    figure = canvas.sheet(
        "When it says 0.8, is that so in 8 of 10 rows?",
        f"{about}Dots: how often it was so, with 95 % intervals. Diagonal: as often as was said.",
        rows,
        theme=theme,
        height=560,
        legend_rows=0,
    )
    ticks = {"tickvals": [0, 0.2, 0.4, 0.6, 0.8, 1], "range": [-0.02, 1.02]}
    figure.update_xaxes(title={"text": f"probability of {what.said}, as the model says"}, **ticks)
    figure.update_yaxes(title={"text": f"share that was {what.so}"}, **ticks, domain=[0.3, 1])
    figure.layout.meta = {
        **figure.layout.meta,
        **measures,
        "threshold": None if found is None else found.at,
        "kept": None if found is None else found.n / len(frame),
    }
    if frame.empty:
        return canvas.say_empty(figure, rows)
    _draw(figure, parts, bins, what, style.theme_of(theme).line)
    if found is not None:
        _draw_threshold(figure, found.at)
    return figure


def _check(precision: Any, bins: Any) -> None:
    if isinstance(bins, bool) or not isinstance(bins, int) or not 2 <= bins <= 50:
        raise ConfigError(f"bins={bins!r}; give 2 to 50")
    if precision is not None and not (isinstance(precision, int | float) and 0 < precision <= 1):
        raise ConfigError(f"precision={precision!r}; give a share above 0 and up to 1, such as 0.9")


class _Words(NamedTuple):
    """How a figure names its two axes, and the rows from a threshold on."""

    said: str
    so: str
    kept: str


# ---- which rows ----------------------------------------------------------------------------------


def _decided(df: Any, truth: Any, question: str | None) -> tuple[Rows, _Words]:
    """Rows with a probability, ``said``, and whether it was ``so``; the others are counted."""
    rows = Rows.of(df, "rows", [] if question is None else [question])
    df = df if isinstance(df, pd.DataFrame) else df.df
    if not rows.frame.columns.is_unique:
        twice = rows.frame.columns[rows.frame.columns.duplicated()][0]
        raise ConfigError(f"the frame has two columns {twice!r}; rename one")
    prefix = next((n[:-12] for n in map(str, df) if n.endswith("served_model")), "")
    told = {f"{prefix}source": "source", f"{prefix}served_model": "served_model"}
    if set(told) <= set(df):
        rows.source = source_of(pd.DataFrame({told[name]: df[name] for name in told}))
    name = question or _only_question(rows.frame, prefix)
    known, is_choice = _known(df, truth), f"{name}_probability" in rows.frame
    column = f"{name}_probability" if is_choice else name
    said = pd.to_numeric(rows.frame[column], errors="coerce").astype("float64").to_numpy()
    is_none = np.isnan(said) & rows.frame[column].notna().to_numpy()
    if is_none.any() or (said < 0).any() or (said > 1).any():
        raise ConfigError(
            f"{column!r} holds no probabilities, which are from 0 to 1. Yes-or-no questions and "
            "choices have them; a score has none."
        )
    if is_choice:
        so = _right(rows.frame[name], known, name)
        what = _Words("the chosen option", "right", "right")
    else:
        known = so = _yes(known)  # True, "yes" and 1 are one kind
        what = _Words("yes", "yes", "yes")
    rows.frame = pd.DataFrame({"said": said, "so": so, "known": known})
    rows.leave_out(rows.frame["said"].isna(), "without a probability")
    rows.leave_out(rows.frame["so"].isna(), "without a known answer")
    rows.frame["so"] = rows.frame["so"].astype("float64")
    left = rows.frame["known"].astype(str).unique()
    if len(left) == 1:
        raise ConfigError(
            f"truth is {left[0]} in all {len(rows.frame)} rows that have a probability. Whether "
            "one can tell the answers apart shows only where both kinds are there."
        )
    return rows, what


def _only_question(frame: pd.DataFrame, prefix: str) -> str:
    """The question where there is one; columns of the data and of every batch are none."""
    names = list(map(str, frame.columns))
    if {first := f"{prefix}answer", last := f"{prefix}status"} <= set(names):
        names = names[names.index(first) + 1 : names.index(last)]
    choices = [name for name in names if f"{name}_probability" in names]
    shares = [
        name
        for name in names
        if name.removesuffix("_probability") not in choices
        and pd.api.types.is_float_dtype(frame[name])
        and frame[name].dropna().between(0, 1).all()
    ]
    found = [name for name in names if name in (*choices, *shares)]
    if len(found) != 1:
        which = f"several: {', '.join(map(repr, found[:8]))}" if found else "none"
        raise ConfigError(
            "question= names the column of the probabilities, as ornb.decide(column, questions) "
            f"gives it. Of those that could be it, the frame has {which}."
        )
    return found[0]


def _known(df: pd.DataFrame, truth: Any) -> Any:
    """What is so, in the order of the rows."""
    if isinstance(truth, str):
        if truth not in df:
            raise ConfigError(f"truth={truth!r} is no column of the frame; give one, or a Series.")
        return df[truth].astype(object).to_numpy()
    if isinstance(truth, pd.Series):
        if not truth.index.equals(df.index):
            fits = truth.index.is_unique and df.index.is_unique and len(truth) == len(df)
            if not fits or not df.index.isin(truth.index).all():
                raise ConfigError(
                    f"truth ({len(truth)} values) has another index than the frame ({len(df)} "
                    "rows). Give truth.reindex(df.index), or a list in the order of the rows."
                )
            truth = truth.reindex(df.index)
        return truth.astype(object).to_numpy()
    if not isinstance(truth, Iterable) or isinstance(truth, Mapping | Set):  # of keys, in no order
        raise ConfigError(f"truth is of type {type(truth).__name__}; give a Series.")
    values = list(truth)
    if len(values) != len(df):
        raise ConfigError(f"truth has {len(values)} values, and the frame {len(df)} rows.")
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def _yes(known: Any) -> list[bool | None]:
    """Answers to yes or no, from how people write them."""
    made: list[bool | None] = []
    for value in known:
        key = value.strip().lower() if isinstance(value, str) else value
        is_missing = pd.api.types.is_scalar(key) and pd.isna(key)
        if not is_missing and not (
            isinstance(key, str | bool | int | float | np.generic) and key in _YES
        ):
            raise ConfigError(
                f"truth has {value!r}, and the question is answered by yes or no. Give True and "
                "False."
            )
        made.append(None if is_missing else _YES[key])
    return made


def _right(chosen: Any, known: Any, name: str) -> list[bool | None]:
    """Whether the chosen option is the known one."""
    is_missing = pd.isna(known)
    options = {str(option) for option in getattr(chosen.dtype, "categories", chosen.dropna())}
    if not is_missing.all() and not options & {str(value) for value in known[~is_missing]}:
        raise ConfigError(
            f"No value of truth is an option of {name!r}: it has {known[~is_missing][0]!r}, and "
            f"the options are {', '.join(map(repr, sorted(options)[:8]))}."
        )
    pairs = zip(chosen, known, is_missing, strict=True)
    return [None if gone else str(option) == str(value) for option, value, gone in pairs]


# ---- figures -------------------------------------------------------------------------------------


def _measures(frame: pd.DataFrame, parts: pd.DataFrame) -> dict[str, Any]:
    if frame.empty:
        return {"n": 0, "brier": None, "expected_calibration_error": None}
    off = ((parts["so"] - parts["said"]).abs() * parts["n"]).sum() / len(frame)
    brier = ((frame["said"] - frame["so"]) ** 2).mean()
    return {"n": len(frame), "brier": float(brier), "expected_calibration_error": float(off)}


def _beside(frame: pd.DataFrame, parts: pd.DataFrame) -> str:
    """What the two measures are held against."""
    share = float(frame["so"].mean())
    spread = (frame["said"] * (1 - frame["said"])).groupby(frame["bin"]).sum()
    chance = float((2 / math.pi * spread).pow(0.5).sum() / len(frame))
    return (
        f"Who always says {share:.2f}, as often as it was so, has a Brier score of "
        f"{share * (1 - share):.2f}; in {len(parts)} bins a calibrated model would be "
        f"{chance:.2f} off by chance."
    )


def wilson(hits: float, n: float) -> tuple[float, float]:
    """95 % interval of a share.

    >>> low, high = wilson(9, 10)
    >>> round(low, 2), round(high, 2)
    (0.6, 0.98)
    """
    middle, half = hits + _Z**2 / 2, _Z * math.sqrt(hits * (n - hits) / n + _Z**2 / 4)
    return max(0.0, (middle - half) / (n + _Z**2)), min(1.0, (middle + half) / (n + _Z**2))


class _Kept(NamedTuple):
    """The rows from a threshold on."""

    at: float
    n: int
    hits: int


def _threshold(frame: pd.DataFrame, wanted: float, what: _Words) -> tuple[_Kept | None, str]:
    """The lowest threshold that reaches a precision, and a sentence on it."""
    aim = f"a precision of {100 * wanted:g} %"
    if len(frame) < _FEWEST:
        return None, f"Too few rows for a threshold with {aim}: {len(frame)}, not {_FEWEST}."
    by = frame.groupby("said")["so"].agg(["sum", "size"]).sort_index(ascending=False).cumsum()
    all_kept = [_Kept(float(at), int(n), int(hits)) for at, hits, n in by.itertuples()]
    many = [kept for kept in all_kept if kept.n >= _FEWEST]
    enough = [kept for kept in many if kept.hits / kept.n >= wanted]
    if not enough:
        best = max(many, key=lambda kept: kept.hits / kept.n)
        return None, (
            f"No threshold that keeps {_FEWEST} rows or more reaches {aim}: at best, from "
            f"{words.short(best.at)} on, {_share(best.hits, best.n)} are {what.kept}."
        )
    kept = enough[-1]
    sure = wilson(kept.hits, kept.n)[0] >= wanted
    doubt = (
        "" if sure else f" The interval goes below {100 * wanted:g} %: elsewhere it may be less."
    )
    return kept, (
        f"For {aim}, keep rows from {words.short(kept.at)} on: {_share(kept.n, len(frame))}. Of "
        f"these, {_share(kept.hits, kept.n)} are {what.kept}. Chosen on these rows: try it on "
        f"others.{doubt}"
    )


def _share(hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    percent = f"{100 * hits / n:.0f} %, 95 % interval {100 * low:.0f} to {100 * high:.0f} %"
    return f"{hits} of {n} rows ({percent})"


# ---- marks ---------------------------------------------------------------------------------------


def _draw(figure: go.Figure, parts: pd.DataFrame, bins: int, what: _Words, line: str) -> None:
    ends = [wilson(hits, n) for hits, n in zip(parts["hits"], parts["n"], strict=True)]
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", hoverinfo="skip", line={"color": line, "dash": "dot"}
    )
    hover: dict[str, Any] = {
        "said, on average": [f"{said:.2f}" for said in parts["said"]],
        f"was {what.so}": [
            f"{int(hits)} of {n} rows" for hits, n in zip(parts["hits"], parts["n"], strict=True)
        ],
        "95 % interval": [f"{low:.2f} to {high:.2f}" for low, high in ends],
    }
    names = [f"{words.short(at / bins)} to {words.short((at + 1) / bins)}" for at in parts["bin"]]
    figure.add_scatter(
        **canvas.named(names, "probability", "share", hover),
        x=words.numbers(parts["said"]),
        y=words.numbers(parts["so"]),
        mode="markers",
        name="bins",
        marker={"color": _DOTS, "size": 10},
        cliponaxis=False,
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [high - so for so, (_, high) in zip(parts["so"], ends, strict=True)],
            "arrayminus": [so - low for so, (low, _) in zip(parts["so"], ends, strict=True)],
            "color": _DOTS,
            "thickness": 2,
            "width": 3,
        },
    )
    figure.add_bar(
        x=[(at + 0.5) / bins for at in parts["bin"]],
        y=parts["n"].tolist(),
        width=0.9 / bins,
        text=[str(n) for n in parts["n"]],
        textposition="outside" if bins <= 20 else "none",
        cliponaxis=False,
        hoverinfo="skip",
        marker={"color": style.OTHER, "opacity": 0.7},
        yaxis="y2",
    )
    axis = {"title": {"text": "rows"}, "domain": [0, 0.18], "range": [0, 1.4 * parts["n"].max()]}
    figure.update_layout(yaxis2={**axis, "nticks": 3, "showgrid": False}, xaxis={"anchor": "y2"})


def _draw_threshold(figure: go.Figure, at: float) -> None:
    line = {"color": _THRESHOLD, "width": 1.5, "dash": "dash"}
    figure.add_shape(type="line", x0=at, x1=at, y0=0, y1=1, yref="paper", layer="below", line=line)
    figure.add_annotation(
        x=at,
        y=1,
        yref="paper",
        yanchor="bottom",
        xanchor="right" if at > 0.8 else "left" if at < 0.2 else "center",
        text=f"threshold {words.short(at)}",
        showarrow=False,
        font={"size": 11},
    )
