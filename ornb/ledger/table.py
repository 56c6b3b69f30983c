"""The columns of the usage table, and how rows become them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, localcontext
from numbers import Number
from types import NoneType
from typing import Any

import numpy as np
import pandas as pd

from .. import columns as c
from ..api.reply import CALL, ONE_PIECE
from ..columns import Column
from ..errors import ConfigError

COST_SOURCES = (
    "whose word the best figure is: billed; fee (billed, but nobody told what your own key paid "
    "beside it); proxy (reckoned by it); estimated; unknown"
)

USAGE_COLUMNS: dict[str, Column] = {
    "started_at": Column("datetime64[us, UTC]", "when it was asked for"),
    "label": Column("str", "the caller's own word for the call; missing if none was given"),
    "model": Column("str", "the model asked for"),
    "served_model": Column("str", "the model that answered; routers and fallbacks change it"),
    "provider": Column("str", "who ran it"),
    "source": Column(
        "str",
        "live, recorded, local (a small model on this machine) or canned; missing if not sent",
    ),
    "prompt_tokens": Column("Int64", "tokens sent, by the tokenizer of the model that answered"),
    "completion_tokens": Column("Int64", "tokens answered"),
    "reasoning_tokens": Column("Int64", "tokens of thought, a part of completion_tokens"),
    "cached_tokens": Column("Int64", "tokens read from a cache, a part of prompt_tokens"),
    "cache_write_tokens": Column("Int64", "tokens put in a cache, a part of prompt_tokens"),
    "total_tokens": Column("Int64", "prompt and completion together"),
    "cost_usd": Column(
        "float64", "USD charged, as the service said; 0 is free or refused, missing is unknown"
    ),
    "byok_usd": Column(
        "float64", "USD that a provider took from a key of your own; beside cost_usd, not in it"
    ),
    "server_tool_usd": Column("float64", "USD for tools that the service ran, a part of cost_usd"),
    "cost_source": Column("str", COST_SOURCES),
    "estimate_usd": Column("float64", "USD by the listed prices of the model asked for"),
    "cost_difference_usd": Column(
        "float64",
        "cost_usd and byok_usd, less estimate_usd; missing if nothing could be billed or "
        "estimated, or one of them is not known",
    ),
    "arrival": Column(
        "str",
        "how the text came: in pieces; in one piece, so that no first token can be timed; whole, "
        "as no stream was asked for; missing if none came",
    ),
    "time_to_first_token_s": Column("float64", "seconds to the first text, reasoning included"),
    "time_to_first_answer_s": Column("float64", "seconds to the first text that is not reasoning"),
    "duration_s": Column("float64", "seconds from sending to the last byte"),
    "tokens_per_second": Column(
        "float64",
        "completion_tokens / duration_s, the wait included; missing for a stream in one piece",
    ),
    "finish_reason": Column("str", "stop, length, tool_calls, content_filter, error"),
    "status": Column("str", "ok, stopped (by a person) or error"),
    "error": Column("str", "the error's message; missing if there was none"),
    "http_status": Column("Int64", "HTTP status; 200 also for errors inside a stream"),
    "generation_id": Column("str", "id to look the call up by"),
    "attempts": Column("Int64", "requests sent; above 1 if a refusal was asked again"),
    "native_prompt_tokens": Column("Int64", "tokens sent, by the service's books; see reconcile"),
    "native_completion_tokens": Column("Int64", "tokens answered, by the service's books"),
    "native_reasoning_tokens": Column("Int64", "tokens of thought, by the service's books"),
    "native_cached_tokens": Column("Int64", "tokens from a cache, by the service's books"),
    "server_latency_s": Column("float64", "seconds; what the service's books call latency"),
    "server_generation_s": Column("float64", "seconds; what they call generation time"),
    "reconciled_at": Column("datetime64[us, UTC]", "when the books were looked up; else missing"),
}
"""Columns of the usage frame in their order; its index counts the calls from 0."""

SUMMARY_COLUMNS: dict[str, Column] = {
    "calls": Column("int64", "number of calls"),
    "sources": Column(
        "str", "where their answers came from, the commonest first; empty if none came"
    ),
    "errors": Column("int64", "of them ended with an error"),
    "stopped": Column("int64", "of them were stopped by a person"),
    "prompt_tokens": Column("Int64", "sum, of the calls that said"),
    "completion_tokens": Column("Int64", "sum, of the calls that said"),
    "reasoning_tokens": Column("Int64", "sum, of the calls that said"),
    "cached_tokens": Column("Int64", "sum, of the calls that said"),
    "total_tokens": Column("Int64", "sum, of the calls that said"),
    "cost_usd": Column("float64", "USD, sum of what was charged; missing if no call said"),
    "byok_usd": Column("float64", "USD, sum of what providers took from keys of your own"),
    "proxy_usd": Column(
        "float64", "USD, the part of cost_usd that a proxy reckoned, and nobody billed"
    ),
    "cost_unknown": Column(
        "int64",
        "number of calls whose charge, or what your own key paid, is not known, so not in the sums",
    ),
    "estimate_usd": Column("float64", "USD, sum of the estimates; missing if there is none"),
    "cost_difference_usd": Column("float64", "USD, sum over the calls that have both figures"),
    "median_time_to_first_token_s": Column("float64", "seconds, median of the streamed calls"),
    "median_duration_s": Column("float64", "seconds, median"),
}
"""Columns of `UsageTracker.summary`; its index is what was grouped by."""

HISTORY_COLUMNS: dict[str, Column] = {
    **USAGE_COLUMNS,
    "kernel": Column("str", "id of the process that made the call; a new one at each start"),
}
"""Columns of `UsageTracker.history`."""

BOOKS = tuple(USAGE_COLUMNS)[-7:]
"""Columns that stay missing until the service's books were looked up."""
FIELDS = CALL
"""What a recorded row is: a plain tuple in this order."""
STORED = {name: USAGE_COLUMNS[name].dtype for name in (*FIELDS, *BOOKS)}
"""What a database keeps: the columns that are not made of others, and their dtypes."""
KEPT = {**STORED, "kernel": HISTORY_COLUMNS["kernel"].dtype}
"""The same, and whose call it was."""
SHALLOW = not pd.__version__.startswith("2.")
"""From pandas 3 on a write copies, so sharing is safe."""

_SHARED_WORDS = (
    *("label", "model", "served_model", "provider", "source", "finish_reason", "status"),
    *("kernel",),
)
_WIDE = Context(prec=700)  # a float has its digits between 1e308 and 1e-324


def frame_of(
    listed: Sequence[Sequence[Any]], words: dict[Any, Any], stored: Mapping[str, str] = STORED
) -> pd.DataFrame:
    """Turn columns in the order of `stored` into a typed frame; `words` holds repeats once."""
    columns: dict[str, Any] = dict.fromkeys(USAGE_COLUMNS)  # all in their places
    for n, (name, dtype) in enumerate(stored.items()):
        values = listed[n] if n < len(listed) else [None] * len(listed[0] if listed else ())
        columns[name] = _column(name, dtype, values, words, is_kept=stored is KEPT)
    return pd.DataFrame(_derived(columns), copy=False)


def rows_of(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Turn a frame back into rows of plain Python values, None where missing."""
    return list(zip(*(c.plain(frame[name]) for name in STORED), strict=True))


def with_books(frame: pd.DataFrame, changes: Mapping[int, Mapping[str, Any]]) -> pd.DataFrame:
    """Fill into a copy of the frame, by position, what became known later."""
    columns = {name: frame[name].array for name in USAGE_COLUMNS}
    for name in {name for change in changes.values() for name in change}:
        values = c.plain(frame[name])
        for position, change in changes.items():
            values[position] = change.get(name, values[position])
        columns[name] = _column(name, USAGE_COLUMNS[name].dtype, values, {})
    return pd.DataFrame(_derived(columns), copy=False)


def exact_sum(amounts: Iterable[float]) -> float:
    """Add USD as the decimals that they are written as; NaN when there is no amount.

    >>> exact_sum([0.1, 0.2]), sum([0.1, 0.2])
    (0.3, 0.30000000000000004)
    """
    listed = [Decimal(repr(amount)) for amount in map(float, amounts) if not np.isnan(amount)]
    with localcontext(_WIDE):
        return float(sum(listed, Decimal(0))) if listed else float("nan")


def origins(calls: pd.DataFrame) -> pd.Series[Any]:
    """Say of each call where its answer came from; of a recorded one, from what it was recorded."""
    source = calls["source"].fillna("not stated").astype(object)
    if "served_model" not in calls:
        return source
    served = calls["served_model"]
    ours = served.astype(object).map(lambda name: str(name).startswith("ornb/"))
    told = ("recorded from " + served.astype(object)).where(ours, "recorded live")
    return source.where(~source.eq("recorded") | served.isna(), told)


def one_engine(calls: pd.DataFrame) -> str:
    """Say who answered under several of the names that were asked; empty if nobody did.

    A name counts where one engine, of one provider, gave all its answers: a fallback is none.
    """
    if not {"model", "served_model"} <= set(calls.columns):
        return ""
    parts, total = ["served_model", "provider"], calls["model"].nunique()
    told = calls[calls["served_model"].notna()].reindex(columns=["model", *parts])
    who = told.astype(object).fillna("").drop_duplicates()
    names = who[~who["model"].duplicated(keep=False)].groupby(parts, sort=False)["model"].size()
    shared = names[names > 1]
    every = "both names" if total == 2 else f"all {total} names"
    return "; ".join(
        f"{engine} answered under {every if count == total else f'{count} of {total} names'}"
        for engine, count in zip(shared.index.get_level_values(0), shared, strict=True)
    )


def moment(value: Any) -> datetime:
    """Read a moment or day (UTC unless it has a zone), "today", "yesterday", or how long ago."""
    now = pd.Timestamp.now(UTC)
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in {"today", "yesterday"}:
        value = now.normalize() - timedelta(days=word == "yesterday")
    elif word[-1:].isalpha():
        with suppress(ValueError):
            value = pd.Timedelta(word.removesuffix("ago"))
    with suppress(TypeError, ValueError, OverflowError):
        found = pd.to_datetime(now - value if isinstance(value, timedelta) else value, utc=True)
        if isinstance(found, pd.Timestamp) and not isinstance(value, Number):  # nor is NaT one
            when: datetime = found.as_unit("us").to_pydatetime()
            return when
    raise ConfigError(f"{value!r} is no moment such as '2026-11-01', 'today' or '7 days'.")


def _column(
    name: str, dtype: str, values: Sequence[Any], words: dict[Any, Any], *, is_kept: bool = False
) -> Any:
    if dtype == "str" and not is_kept and not set(map(type, values)) <= {str, NoneType}:
        values = [v if v is None else str(v) for v in values]
    if name in _SHARED_WORDS:
        values = [*map(words.setdefault, values, values)]
    return c.kept(values, dtype) if is_kept else c.typed(values, dtype)


def _derived(columns: dict[str, Any]) -> dict[str, Any]:
    """Make the columns that follow from others."""
    names = ("cost_usd", "byok_usd", "estimate_usd", "duration_s")
    cost, own, estimate, seconds = (np.asarray(columns[name]) for name in names)
    is_fee = _is(columns["cost_source"], "fee") & np.isnan(own)
    # Made anew, as figures come later; a proxy and an own key are not to be seen from them.
    words = np.array(["unknown", "estimated", "billed", "fee", "proxy"], dtype=object)
    known = np.select([is_fee, _is(columns["cost_source"], "proxy")], [3, 4], 2)
    kinds = words[np.where(np.isnan(cost), ~np.isnan(estimate), known)]
    columns["cost_source"] = c.strings(kinds)
    here = _is(columns["source"], "local") | _is(columns["source"], "canned")
    less = billed_less_estimated(cost, own, estimate, is_fee)
    columns["cost_difference_usd"] = np.where(here, np.nan, less)  # nothing could be billed
    rate = _rate(columns["completion_tokens"], seconds)
    columns["tokens_per_second"] = np.where(_is(columns["arrival"], ONE_PIECE), np.nan, rate)
    return columns


def _is(words: Any, word: str) -> c.Array:
    is_one: c.Array = np.asarray(words, dtype=object) == word
    return is_one


def billed_less_estimated(cost: c.Array, own: c.Array, estimate: c.Array, is_fee: c.Array) -> Any:
    """Return the difference of a call, missing where one of them is not known.

    It is without what subtracting floats leaves: 1e-15 USD is nobody's.
    """
    with np.errstate(over="ignore"):
        usd = np.where(is_fee, np.nan, cost) + np.nan_to_num(own) - estimate
        rounded = np.round(usd, 15)
    return np.where(np.isinf(rounded), usd, rounded)  # of so much there is no such digit


def _rate(tokens: Any, seconds: c.Array) -> c.Array:
    counts: c.Array = tokens.to_numpy(dtype="float64", na_value=np.nan)
    rate = np.full(len(seconds), np.nan)
    with np.errstate(over="ignore"):
        np.divide(counts, seconds, out=rate, where=seconds > 0)
    return np.where(np.isinf(rate), np.nan, rate)  # in no time at all: nobody's rate
