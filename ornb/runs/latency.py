"""What repeated timings say, and how sure they are: quantiles, intervals, differences.

The intervals are those of `ornb.runs.bootstrap`. The same frame and seed give the same numbers,
whatever the order of the rows. docs/latency.md has the formulae.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import columns as c
from ..columns import Column
from ..errors import ConfigError, did_you_mean, whole
from ..ledger.table import one_engine, origins
from .bootstrap import ends, generator_of, needed, resampled

if TYPE_CHECKING:
    from .bootstrap import Counts, Floats

FIRST_TOKEN = "time_to_first_token_s"  # noqa: S105 - a column
QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99}
FEWEST_BURSTS = 6
"""Moments that an interval rests on at least: of 5 or fewer, all may lie on one side of the median
with a chance above 5 %, so no choice of two of them can be a 95 % interval."""

LATENCY_COLUMNS: dict[str, Column] = {
    "metric": Column("str", "the column of the measurement that is summed up"),
    "n": Column("int64", "requests that ended well and have this time; all else rests on them"),
    "n_failed": Column("int64", "requests that ended with an error"),
    "n_missing": Column("int64", "requests that did not fail, and have no such time"),
    "n_bursts": Column("int64", "moments at which they started; what the intervals resample"),
    **{
        f"{name}{suffix}": Column("float64", meaning)
        for name, percent in (("median", "50"), ("p90", "90"), ("p99", "99"))
        for suffix, meaning in (
            ("", f"{percent} % had at most this, in the metric's unit; missing if n is too small"),
            ("_low", "lower end of its interval; missing if n is too small for one"),
            ("_high", "upper end of its interval"),
        )
    },
    "note": Column("str", "what n is too small for, and what failed; empty if nothing"),
}
"""Columns of `latency_summary`; its index is what was grouped by."""

DIFFERENCE_COLUMNS: dict[str, Column] = {
    "a": Column("str", "one of the two"),
    "b": Column("str", "the other"),
    "n_a": Column("int64", "requests of a"),
    "n_b": Column("int64", "requests of b"),
    "median_a": Column("float64", "median of a, in the metric's unit"),
    "median_b": Column("float64", "median of b"),
    "difference": Column("float64", "median of b less median of a"),
    "difference_low": Column("float64", "lower end of its interval; missing if n is too small"),
    "difference_high": Column("float64", "upper end of its interval"),
    "is_real": Column("boolean", "the interval leaves out 0; missing where there is none"),
    "verdict": Column("str", "the same in words"),
}
"""Columns of `latency_differences`, one row a pair."""

LISTED_COLUMNS: dict[str, Column] = {
    "listed_p50": Column("float64", "median of all users, last 30 minutes, by the listing"),
    "listed_p90": Column("float64", "90 % of all users' requests had at most this"),
    "listed_p99": Column("float64", "99 % of all users' requests had at most this"),
    "listed_note": Column("str", "why there is none; empty if there is"),
}
"""Columns that `latency_beside_listed` adds to those of `latency_summary`."""

_PERCENTILES = ("p50", "p90", "p99")
_LISTED = {
    FIRST_TOKEN: "time_to_first_token_{}_s",
    "tokens_per_second": "tokens_per_second_{}",
    "tokens_per_second_after_first": "tokens_per_second_{}",
}


# --- summaries ------------------------------------------------------------------------------------


def latency_summary(
    df: pd.DataFrame,
    by: str | Sequence[str] = ("model",),
    *,
    metric: str = FIRST_TOKEN,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Sum up timed requests: median, p90 and p99, with intervals and what they rest on.

    Parameters
    ----------
    df : pandas.DataFrame
        As `ornb.measure` gives it; `ornb.usage.df` will do too. Warm-up calls are left out.
    by : str or sequence of str
        Columns to group by, e.g. ``("model", "concurrency")``.
    metric : str
        Column with the times, or with a rate such as ``tokens_per_second``.
    confidence : float
        Share of such intervals that hold the true value, 0.5 to 0.999.
    resamples : int
        Of the bootstrap, at least 100.
    seed : int
        The same one gives the same intervals.

    Returns
    -------
    pandas.DataFrame, one row a group
        Columns as in docs/tables.md, smallest median first; groups without a time come last. A
        figure that n is too small for is missing, and ``note`` says what it would take. Where one
        engine answered under several models' names, ``note`` says so and there is no ranking.
        ``.attrs["source"]`` tells how many times are live, recorded (from what), local or canned.

    Raises
    ------
    ConfigError
        No such column, or a `confidence` or `resamples` that is not one.

    Examples
    --------
    >>> import pandas as pd
    >>> times = [0.30, 0.31, 0.35, 0.29, 0.33, 0.32, 0.90, 0.34]
    >>> df = pd.DataFrame({"model": "acme/orbit", "time_to_first_token_s": times})
    >>> summary = ornb.latency_summary(df)
    >>> summary[["n", "median", "median_low", "median_high"]].round(3).values.tolist()
    [[8.0, 0.325, 0.3, 0.35]]
    >>> summary["note"].item()
    'p90 needs 10 requests, its interval 36; p99 needs 100, its interval 368'

    References
    ----------
    B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile
    intervals) and section 8.5 (resampling blocks). The smallest n are those of the exact interval
    of a quantile from order statistics: H. A. David, H. N. Nagaraja, "Order Statistics", 2003, 7.1.
    """
    keys = _keys(df, by)
    timed = _timed(df, metric)
    _check(confidence, resamples)
    groups = list(timed.groupby(keys, dropna=False, observed=True))
    rows = [
        _summary_row(group, metric, confidence, resamples, generator_of(seed, name))
        for name, group in groups
    ]
    frame = _frame(LATENCY_COLUMNS, rows)
    frame.index = _index([name for name, _ in groups], keys)
    frame.attrs.update(metric=metric, confidence=confidence, resamples=resamples, seed=seed)
    frame.attrs["source"] = _sources(timed)
    if "model" in keys and (shared := one_engine(timed)):
        frame.attrs["one_engine"] = shared
        frame["note"] = [f"{shared}; {note}".removesuffix("; ") for note in frame["note"]]
        return frame
    return frame.sort_values("median", kind="stable", na_position="last")


def _sources(timed: pd.DataFrame) -> str:
    """Where the times come from, for who reads or draws them: "24 local", or several."""
    if "source" not in timed:
        return "not stated"
    counts = origins(timed.dropna(subset="source")).value_counts()
    return ", ".join(f"{count} {source}" for source, count in counts.items())


def _summary_row(
    group: pd.DataFrame,
    metric: str,
    confidence: float,
    resamples: int,
    generator: np.random.Generator,
) -> dict[str, Any]:
    values, bursts = _values(group, metric)
    failed = int(_failed(group).sum())
    n, moments = len(values), _moments(bursts)
    row: dict[str, Any] = {
        "metric": metric,
        "n": n,
        "n_failed": failed,
        "n_missing": len(group) - failed - n,
        "n_bursts": moments,
    }
    known = {q: n > 0 and n * (1 - q) >= 1 - 1e-9 for q in QUANTILES.values()}
    sure = [q for q in QUANTILES.values() if _enough(bursts, q, confidence)]
    drawn = resampled(values, bursts, sure, resamples, generator) if sure else ()
    found = {q: ends(each, confidence) for q, each in zip(sure, drawn, strict=True)}
    for name, q in QUANTILES.items():
        row[name] = float(np.quantile(values, q)) if known[q] or (n and q == 0.5) else None
        row[f"{name}_low"], row[f"{name}_high"] = found.get(q, (None, None))
    row["note"] = _note(n, moments, failed, confidence, group)
    return row


def _moments(bursts: Counts) -> int:
    return int(bursts.max(initial=-1)) + 1


def _enough(bursts: Counts, quantile: float, confidence: float) -> bool:
    """Whether a quantile can have an interval, by the bursts of its values."""
    return len(bursts) >= needed(quantile, confidence) and _moments(bursts) >= FEWEST_BURSTS


def _note(n: int, moments: int, failed: int, confidence: float, group: pd.DataFrame) -> str:
    parts = []
    if failed:
        parts.append(f"{failed} of {len(group)} failed{_most_often(group)}")
    if not n:
        return "; ".join([*parts, "nothing to sum up"] if not failed else parts)
    first = True
    for name, q in QUANTILES.items():
        least, for_interval = round(1 / (1 - q)), needed(q, confidence)
        word = " requests" if first else ""
        if n < least and name != "median":
            parts.append(f"{name} needs {least}{word}, its interval {for_interval}")
            first = False
        elif n < for_interval:
            parts.append(f"the interval of {name} needs {for_interval}{word}")
            first = False
    if moments < FEWEST_BURSTS <= n:
        parts.append(f"intervals need {FEWEST_BURSTS} moments, these began at {moments}")
    return "; ".join(parts)


def _most_often(group: pd.DataFrame) -> str:
    if "error" not in group:
        return ""
    errors = group.loc[_failed(group), "error"].dropna().astype(str)
    if errors.empty:
        return ""
    text = str(errors.mode().iloc[0])  # of as many the first in the alphabet: no order of rows
    return f" ({text[:120]}{'…' if len(text) > 120 else ''})"


# --- differences ----------------------------------------------------------------------------------


def latency_differences(
    df: pd.DataFrame,
    by: str = "model",
    *,
    metric: str = FIRST_TOKEN,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare every pair of several, once: which is faster, and whether the difference is real.

    The intervals hold together: with three models, and so three pairs, each has a confidence of
    1 - (1 - `confidence`) / 3 (Bonferroni), so that "the fastest" is not found by looking often.

    Parameters
    ----------
    df, metric, resamples, seed
        As for `latency_summary`.
    by : str
        Column that tells them apart: ``model``, ``provider``, ``connection``, ``concurrency`` ...
    confidence : float
        Share of such tables in which every interval holds the true difference, 0.5 to 0.999.

    Returns
    -------
    pandas.DataFrame, one row a pair
        Columns as in docs/tables.md; `a` has the smaller median. Largest difference first;
        pairs of which one gave no time come last, and say so.

    Raises
    ------
    ConfigError
        No such column, or a `confidence` or `resamples` that is not one.

    Examples
    --------
    >>> import pandas as pd
    >>> quick, slow = [0.30, 0.31, 0.29, 0.32, 0.33, 0.30], [0.5, 0.52, 0.49, 0.55, 0.51, 0.5]
    >>> df = pd.DataFrame({"model": ["a/quick"] * 6 + ["b/slow"] * 6,
    ...                    "time_to_first_token_s": quick + slow})
    >>> ornb.latency_differences(df)["verdict"].tolist()
    ['a/quick has the smaller median, by 0.18 to 0.23 s: real']
    """
    keys = _keys(df, by)
    timed = _timed(df, metric)
    _check(confidence, resamples)
    if len(keys) != 1:
        raise ConfigError(f"by is {by!r}; differences are taken along one column, e.g. 'model'.")
    samples = {
        str(name[0]): _values(group, metric)
        for name, group in timed.groupby(keys, dropna=False, observed=True)
    }
    silent = sorted(name for name, (values, _) in samples.items() if not len(values))
    medians = {name: float(np.median(v)) for name, (v, _) in samples.items() if len(v)}
    ranked = sorted(medians, key=lambda name: (medians[name], name))
    each = 1 - (1 - confidence) / max(1, math.comb(len(ranked), 2))
    pairs = combinations([*ranked, *silent], 2)
    drawn = {
        name: resampled(values, bursts, [0.5], resamples, generator_of(seed, (name,)))[0]
        for name, (values, bursts) in samples.items()
        if _enough(bursts, 0.5, each)
    }
    unit = " s" if metric.endswith("_s") else ""
    rows = [_difference_row(a, b, samples, medians, drawn, each, unit) for a, b in pairs]
    frame = _frame(DIFFERENCE_COLUMNS, rows)
    frame.attrs.update(metric=metric, confidence=confidence, each=each, seed=seed)
    if keys == ["model"] and (shared := one_engine(timed)):
        frame["verdict"] += f"; {shared}"
    return frame.sort_values("difference", ascending=False, kind="stable", ignore_index=True)


def _difference_row(
    a: str,
    b: str,
    samples: Mapping[str, tuple[Floats, Counts]],
    medians: Mapping[str, float],
    drawn: Mapping[str, Floats],
    confidence: float,
    unit: str,
) -> dict[str, Any]:
    row: dict[str, Any] = {"a": a, "b": b, "n_a": len(samples[a][0]), "n_b": len(samples[b][0])}
    row |= {"median_a": medians.get(a), "median_b": medians.get(b)}
    silent = [name for name in (a, b) if name not in medians]
    if silent:
        return {**row, "verdict": f"cannot tell: {' and '.join(silent)} gave no such time"}
    row["difference"] = medians[b] - medians[a]
    low = high = real = None
    if a in drawn and b in drawn:
        low, high = ends(drawn[b] - drawn[a], confidence)
        real = bool(low > 0 or high < 0)
    row |= {"difference_low": low, "difference_high": high, "is_real": real}
    row["verdict"] = _verdict(a, b, low, high, confidence, unit)
    return row


def _verdict(
    a: str, b: str, low: float | None, high: float | None, confidence: float, unit: str
) -> str:
    if low is None or high is None:
        least = max(FEWEST_BURSTS, needed(0.5, confidence))
        return f"cannot tell: each needs {least} requests, at {FEWEST_BURSTS} moments or more"
    if low > 0:
        return f"{a} has the smaller median, by {low:.3g} to {high:.3g}{unit}: real"
    return f"no difference shown: {b} may be {-low:.3g}{unit} below {a}, or {high:.3g}{unit} above"


# --- beside the service's own figures -------------------------------------------------------------


def latency_beside_listed(
    df: pd.DataFrame,
    listings: Mapping[str, pd.DataFrame] | pd.DataFrame,
    *,
    metric: str = FIRST_TOKEN,
    **how: Any,
) -> pd.DataFrame:
    """Put your own times beside the percentiles that OpenRouter lists for all its users.

    Parameters
    ----------
    df : pandas.DataFrame
        As `ornb.measure` gives it.
    listings : pandas.DataFrame, or mapping of model id to pandas.DataFrame
        As `ornb.endpoints` gives them. They hold for the last 30 minutes, so ask when you measure.
    metric : str
        ``time_to_first_token_s``, or one of the two ``tokens_per_second``.
    **how : Any
        As for `latency_summary`: ``confidence``, ``resamples``, ``seed``.

    Returns
    -------
    pandas.DataFrame, one row a model and provider
        Columns as in docs/tables.md, units those of the metric. Your time
        begins at your machine, theirs at their edge: the network between is the difference.

    Raises
    ------
    ConfigError
        No such column, or a metric that is not listed.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"model": "openai/gpt-4o-mini", "provider": "Azure",
    ...                    "time_to_first_token_s": [0.52, 0.49, 0.55]})
    >>> beside = ornb.latency_beside_listed(df, ornb.endpoints("openai/gpt-4o-mini"))
    >>> beside["listed_note"].item()
    'Azure is listed without figures: they are told to requests with a key only'

    References
    ----------
    OpenRouter API, ``GET /models/{id}/endpoints``: ``latency_last_30m`` (ms to the first token) and
    ``throughput_last_30m`` (tokens a second); 2026-08-22.
    """
    if metric not in _LISTED:
        raise ConfigError(f"metric is {metric!r}; OpenRouter lists {', '.join(_LISTED)}.")
    summary = latency_summary(df, ("model", "provider"), metric=metric, **how)
    if isinstance(listings, pd.DataFrame):
        listings = {str(name): part for name, part in listings.groupby("model_id")}
    pattern = _LISTED[metric]
    rows = [
        _listed(listings.get(str(m)), str(m), provider, pattern) for m, provider in summary.index
    ]
    listed = _frame(LISTED_COLUMNS, rows)
    listed.index = summary.index
    joined = pd.concat([summary, listed], axis=1)
    joined.attrs.update(summary.attrs)
    return joined


def _listed(
    listing: pd.DataFrame | None, model: str, provider: Any, pattern: str
) -> dict[str, Any]:
    if listing is None:
        return {"listed_note": f"no listing of {model} was given"}
    if pd.isna(provider):
        return {"listed_note": "nobody told which provider served"}
    mine = listing[listing["provider_name"] == provider]
    named = sorted(set(listing["provider_name"].dropna()))
    if mine.empty:
        missing = f", not with {provider}" if named else ""
        told = f"{model} is listed with {', '.join(named) or 'no provider'}{missing}"
        return {"listed_note": told}
    figures = mine[[pattern.format(p) for p in _PERCENTILES]]
    medians = figures.iloc[:, 0].dropna()
    if medians.empty:
        told = "listed without figures: they are told to requests with a key only"
        return {"listed_note": f"{provider} is {told}"}
    if len(mine) > 1:
        # Regions, quantizations: an answer does not tell which of a provider's endpoints served.
        span = f"p50 from {medians.min():.3g} to {medians.max():.3g}"
        return {"listed_note": f"{provider} has {len(mine)} endpoints, {span}"}
    return {
        **{f"listed_{p}": figures.iat[0, n] for n, p in enumerate(_PERCENTILES)},
        "listed_note": "",
    }


# --- rows and columns -----------------------------------------------------------------------------


def _values(group: pd.DataFrame, metric: str) -> tuple[Floats, Counts]:
    """The times in ascending order, and the number of the burst that each was a part of."""
    good = group[~_failed(group) & group[metric].notna()]
    values = good[metric].to_numpy(dtype="float64")
    if "burst" in good:
        bursts = np.unique(good["burst"].to_numpy(), return_inverse=True)[1].astype("int64")
    else:
        bursts = np.arange(len(values))
    order = np.lexsort((bursts, values))
    return values[order], bursts[order] if "burst" in good else bursts


def _failed(group: pd.DataFrame) -> pd.Series[bool]:
    if "status" not in group:
        return pd.Series(False, index=group.index)
    return group["status"].eq("error").fillna(False).astype(bool)


def _timed(df: pd.DataFrame, metric: str) -> pd.DataFrame:
    _known(df, metric, "metric")
    if not pd.api.types.is_numeric_dtype(df[metric]) or df[metric].dtype == bool:
        raise ConfigError(f"metric {metric!r} holds no numbers; {FIRST_TOKEN} is usual.")
    return df[~df["warmup"].fillna(False).astype(bool)] if "warmup" in df else df


def _keys(df: pd.DataFrame, by: str | Sequence[str]) -> list[str]:
    if not isinstance(df, pd.DataFrame):
        raise ConfigError(f"df is a {type(df).__name__}; give the frame of ornb.measure(...).")
    keys = [by] if isinstance(by, str) else list(by)
    if not keys:
        raise ConfigError("by is empty; name a column to group by, e.g. 'model'.")
    for key in keys:
        _known(df, key, "by")
    return keys


def _known(df: pd.DataFrame, name: str, what: str) -> None:
    if name not in df:
        raise ConfigError(f"{what}: {did_you_mean(str(name), map(str, df), 'column')}.")


def _check(confidence: float, resamples: int) -> None:
    if not 0.5 <= confidence <= 0.999:
        raise ConfigError(f"confidence is {confidence!r}; give a share, 0.5 to 0.999.")
    whole("resamples", resamples, 100)


def _index(names: list[tuple[Any, ...]], keys: list[str]) -> pd.Index[Any]:
    several: pd.Index[Any] = pd.MultiIndex.from_tuples(names, names=keys)
    return several if len(keys) > 1 else several.get_level_values(0)


def _frame(described: Mapping[str, Column], rows: list[dict[str, Any]]) -> pd.DataFrame:
    return c.frame([[row.get(name) for name in described] for row in rows], described)
