"""What was asked and what it used: one row a call, failures and stopped answers too.

A call is recorded as one tuple at the end of a list, which costs the same at row 10 and at row
1,000,000, and which no two threads can mix. Reading turns what is new into typed columns (a quarter
of the memory of dicts) and joins them to the frame made before, so that a table of 100,000 calls
and one more is not built anew.

Money is kept honest: `cost_usd` is only what the service said it charged, `estimate_usd` is what
the listed prices make of the tokens, and they are never added up together. 0 is free, missing is
unknown.
"""

from __future__ import annotations

import threading
import warnings
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import columns as c
from .columns import Column
from .errors import ConfigError
from .filters import did_you_mean
from .reply import format_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .reply import Reply

__all__ = ["SUMMARY_COLUMNS", "USAGE_COLUMNS", "UsageTracker"]

USAGE_COLUMNS: dict[str, Column] = {
    "started_at": Column("datetime64[us, UTC]", "when it was asked for"),
    "label": Column("str", "the caller's own word for the call; missing if none was given"),
    "model": Column("str", "the model asked for"),
    "served_model": Column("str", "the model that answered; routers and fallbacks change it"),
    "provider": Column("str", "who ran it"),
    "source": Column("str", "live, recorded, local (a small model on this machine) or canned"),
    "prompt_tokens": Column("Int64", "tokens sent, by the model's own tokenizer"),
    "completion_tokens": Column("Int64", "tokens answered"),
    "reasoning_tokens": Column("Int64", "tokens of thought, a part of completion_tokens"),
    "cached_tokens": Column("Int64", "tokens read from a cache, a part of prompt_tokens"),
    "total_tokens": Column("Int64", "prompt and completion together"),
    "cost_usd": Column(
        "float64", "USD charged, as the service said; 0 is free, missing is unknown"
    ),
    "cost_source": Column("str", "the best figure there is: billed, estimated or unknown"),
    "estimate_usd": Column("float64", "USD by the listed prices of the model asked for"),
    "time_to_first_token_s": Column("float64", "seconds to the first text, reasoning included"),
    "time_to_first_answer_s": Column("float64", "seconds to the first text that is not reasoning"),
    "duration_s": Column("float64", "seconds from sending to the last byte"),
    "tokens_per_second": Column("float64", "completion_tokens / duration_s, the wait included"),
    "finish_reason": Column("str", "stop, length, tool_calls, content_filter, error"),
    "status": Column("str", "ok, stopped (by a person) or error"),
    "error": Column("str", "the error's message; missing if there was none"),
    "http_status": Column("Int64", "HTTP status; 200 also for errors inside a stream"),
    "generation_id": Column("str", "id to look the call up by"),
    "attempts": Column("Int64", "requests sent; above 1 if a refusal was asked again"),
}
"""Columns of the usage frame in their order; its index counts the calls from 0."""

SUMMARY_COLUMNS: dict[str, Column] = {
    "calls": Column("int64", "number of calls"),
    "errors": Column("int64", "of them ended with an error"),
    "stopped": Column("int64", "of them were stopped by a person"),
    "prompt_tokens": Column("Int64", "sum, of the calls that said"),
    "completion_tokens": Column("Int64", "sum, of the calls that said"),
    "reasoning_tokens": Column("Int64", "sum, of the calls that said"),
    "cached_tokens": Column("Int64", "sum, of the calls that said"),
    "total_tokens": Column("Int64", "sum, of the calls that said"),
    "cost_usd": Column("float64", "USD, sum of what was charged; missing if no call said"),
    "cost_unknown": Column(
        "int64", "number of calls whose charge is not known, so not in cost_usd"
    ),
    "estimate_usd": Column("float64", "USD, sum of the estimates; missing if there is none"),
    "median_time_to_first_token_s": Column("float64", "seconds, median of the streamed calls"),
    "median_duration_s": Column("float64", "seconds, median"),
}
"""Columns of `UsageTracker.summary`; its index is what was grouped by."""

# What a recorded row is: a plain tuple in this order. Derived columns are made when it is frozen.
_FIELDS = tuple(n for n in USAGE_COLUMNS if n not in ("cost_source", "tokens_per_second"))
_SHARED_WORDS = ("label", "model", "served_model", "provider", "source", "finish_reason", "status")
_SHALLOW = not pd.__version__.startswith(
    "2."
)  # from pandas 3 on a write copies, so sharing is safe


class UsageTracker:
    """Every call of a session: tokens, seconds, USD.

    May be used from any thread. Shows itself in a notebook: the last calls, and the total.

    Examples
    --------
    >>> from ornb.reply import Reply, Usage
    >>> tracker = UsageTracker()
    >>> used = Usage(prompt_tokens=22, completion_tokens=9, total_tokens=31, cost_usd=0.000145)
    >>> tracker.record(Reply(requested_model="lab/small", usage=used))
    >>> tracker.df[["model", "total_tokens", "cost_usd", "cost_source"]].values.tolist()
    [['lab/small', 31, 0.000145, 'billed']]
    """

    def __init__(self) -> None:
        self._tail: list[tuple[Any, ...]] = []
        self._kept: pd.DataFrame | None = None
        self._words: dict[Any, Any] = {}
        self._observers: list[Callable[[], object]] = []
        # `_lock` guards the tail and is held for a moment only; `_freezing` guards what is frozen,
        # and calls go on being recorded while it is held.
        self._lock = threading.Lock()
        self._freezing = threading.Lock()

    def record(self, reply: Reply, *, estimate_usd: float | None = None) -> None:
        """Add a row for a call that ended, in whatever way.

        Parameters
        ----------
        reply : Reply
            What came of it.
        estimate_usd : float, optional
            What the listed prices make of it, in USD; see `ornb.pricing.estimate`.

        Examples
        --------
        >>> from ornb.reply import Reply
        >>> tracker = UsageTracker()
        >>> tracker.record(Reply(status="error", error="no route to host"))
        >>> len(tracker)
        1
        """
        used, timing = reply.usage, reply.timing
        row = (
            timing.started_at,
            reply.label,
            reply.requested_model,
            reply.model,
            reply.provider,
            reply.source,
            used.prompt_tokens,
            used.completion_tokens,
            used.reasoning_tokens,
            used.cached_tokens,
            used.total_tokens,
            used.cost_usd,
            estimate_usd,
            timing.time_to_first_token_s,
            timing.time_to_first_answer_s,
            timing.duration_s,
            reply.finish_reason,
            reply.status,
            reply.error,
            reply.http_status,
            reply.generation_id,
            reply.attempts,
        )
        with self._lock:
            self._tail.append(row)
        if self._observers:
            self._notify()

    @property
    def df(self) -> pd.DataFrame:
        """The calls as a table, oldest first.

        Returns
        -------
        pandas.DataFrame, one row a call
            Columns as in `USAGE_COLUMNS`. Yours to change.
        """
        with self._freezing:
            with self._lock:
                rows = self._tail[:]
            kept = self._kept
            if rows or kept is None:
                new = _frame(rows, self._words)
                kept = new if kept is None else pd.concat([kept, new], ignore_index=True)
                with self._lock:  # only now, so that no error can lose a row
                    self._kept, self._tail = kept, self._tail[len(rows) :]
            return kept.copy(deep=not _SHALLOW)

    def summary(self, by: str | Sequence[str] = "model") -> pd.DataFrame:
        """Sum the calls up by model, or by anything else.

        Parameters
        ----------
        by : str or sequence of str
            Columns of `df` to group by: ``"model"``, ``["source", "provider"]``.

        Returns
        -------
        pandas.DataFrame, one row a group
            Columns as in `SUMMARY_COLUMNS`, dearest first. What was charged and what was estimated
            stay apart. Recorded calls carry what they had cost when they were recorded: group by
            ``"source"`` to tell them from live ones.

        Raises
        ------
        ConfigError
            There is no such column.

        Examples
        --------
        >>> from ornb.reply import Reply
        >>> tracker = UsageTracker()
        >>> tracker.record(Reply(requested_model="lab/small"))
        >>> tracker.record(Reply(requested_model="lab/small", status="error"))
        >>> tracker.summary().loc["lab/small", ["calls", "errors"]].tolist()
        [2, 1]
        """
        names = [by] if isinstance(by, str) else list(by)
        _check_columns(names)
        frame = self.df
        frame["errors"] = frame["status"] == "error"
        frame["stopped"] = frame["status"] == "stopped"
        frame["cost_unknown"] = frame["cost_usd"].isna()
        groups = frame.groupby(names[0] if len(names) == 1 else names, dropna=False, sort=False)
        counts = groups[["errors", "stopped", "cost_unknown"]].sum().astype("int64")
        tokens = [name for name in SUMMARY_COLUMNS if name.endswith("_tokens")]
        sums = groups[[*tokens, "cost_usd", "estimate_usd"]].sum(min_count=1)
        medians = groups[["time_to_first_token_s", "duration_s"]].median().add_prefix("median_")
        calls = groups.size().rename("calls")
        table = pd.concat([calls, counts, sums, medians], axis=1)
        table = table.sort_values(["cost_usd", "calls"], ascending=False, kind="stable")
        return table[list(SUMMARY_COLUMNS)]

    def clear(self) -> None:
        """Forget all calls.

        Examples
        --------
        >>> tracker = UsageTracker()
        >>> tracker.clear()
        >>> len(tracker)
        0
        """
        with self._freezing, self._lock:
            self._tail, self._kept, self._words = [], None, {}
        self._notify()

    def on_change(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Have a function called after each new row, and after `clear`.

        Parameters
        ----------
        callback : callable
            Called without arguments, in the thread that made the call; keep it short. If it raises,
            a warning says so: the answer that was paid for is not lost over it.

        Returns
        -------
        callable
            Call it to stop.

        Examples
        --------
        >>> tracker, seen = UsageTracker(), []
        >>> stop = tracker.on_change(lambda: seen.append(len(tracker)))
        >>> tracker.clear()
        >>> stop()
        >>> seen
        [0]
        """
        with self._lock:
            self._observers = [*self._observers, callback]

        def stop() -> None:
            with self._lock:
                self._observers = [known for known in self._observers if known is not callback]

        return stop

    def __len__(self) -> int:
        with self._lock:
            return len(self._tail) + (0 if self._kept is None else len(self._kept))

    def __repr__(self) -> str:
        frame = self.df
        head = f"UsageTracker: {_total_line(frame)}"
        if frame.empty:
            return head
        rows = [_cells(row) for row in frame.tail(10).itertuples(index=False)]
        return f"{head}\n{pd.DataFrame(rows).to_string(index=False)}"

    def _repr_html_(self) -> str:
        return _html(self.df)

    def _notify(self) -> None:
        for callback in self._observers:
            try:
                callback()
            except Exception as err:  # noqa: BLE001 - see on_change
                warnings.warn(
                    f"a function given to UsageTracker.on_change failed ({err!r}); "
                    "the call itself was recorded",
                    RuntimeWarning,
                    stacklevel=3,
                )


# --- rows to columns ------------------------------------------------------------------------------


def _frame(rows: list[tuple[Any, ...]], words: dict[Any, Any]) -> pd.DataFrame:
    """Turn rows into a typed frame; words that repeat are kept in memory once."""
    listed = map(list, zip(*rows, strict=True)) if rows else [[] for _ in _FIELDS]
    columns: dict[str, Any] = dict.fromkeys(USAGE_COLUMNS)  # all in their places
    for name, values in zip(_FIELDS, listed, strict=True):
        dtype = USAGE_COLUMNS[name].dtype
        if dtype == "Int64":
            columns[name] = c.integers(values)
        elif dtype == "float64":
            columns[name] = c.floats(values)
        elif dtype == "str":
            texts = [v if v is None else str(v) for v in values]
            shared = name in _SHARED_WORDS
            columns[name] = c.strings([*map(words.setdefault, texts, texts)] if shared else texts)
        else:
            moments = pd.to_datetime(pd.Series(values, dtype=object), utc=True)
            columns[name] = moments.dt.as_unit("us")
    columns["cost_source"] = c.strings(_cost_sources(columns["cost_usd"], columns["estimate_usd"]))
    columns["tokens_per_second"] = _rate(columns["completion_tokens"], columns["duration_s"])
    return pd.DataFrame(columns, copy=False)


def _cost_sources(cost: np.ndarray[Any, Any], estimate: np.ndarray[Any, Any]) -> list[str]:
    best = np.where(np.isnan(estimate), "unknown", "estimated")
    kinds: list[str] = np.where(np.isnan(cost), best, "billed").tolist()
    return kinds


def _rate(tokens: Any, seconds: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    counts: np.ndarray[Any, Any] = tokens.to_numpy(dtype="float64", na_value=np.nan)
    rate = np.full(len(seconds), np.nan)
    np.divide(counts, seconds, out=rate, where=seconds > 0)
    return rate


def _check_columns(names: list[str]) -> None:
    if not names:
        raise ConfigError("by is empty; name a column, such as by='model'")
    for name in names:
        if name not in USAGE_COLUMNS:
            raise ConfigError(did_you_mean(str(name), USAGE_COLUMNS, "column of the usage table"))


# --- for people -----------------------------------------------------------------------------------


def _total_line(frame: pd.DataFrame) -> str:
    """Say in a line what all of it used; money that was charged apart from money that was not."""
    if frame.empty:
        return "no calls yet"
    parts = [_number(len(frame), "call")]
    for status, word in (("error", "error"), ("stopped", "stopped")):
        count = int((frame["status"] == status).sum())
        if count:
            parts.append(f"{count:,} {word}" if word == "stopped" else _number(count, word))
    sent, made = int(frame["prompt_tokens"].sum()), int(frame["completion_tokens"].sum())
    parts.append(f"{sent:,} → {made:,} tokens")
    return " · ".join(parts + _money(frame))


def _money(frame: pd.DataFrame) -> list[str]:
    recorded = frame["source"] == "recorded"
    here = frame["source"].isin(["local", "canned"])
    billed = frame["cost_source"] == "billed"
    live = frame[billed & ~recorded & ~here]
    parts = []
    if len(live):
        parts.append(f"{format_usd(float(live['cost_usd'].sum()))} billed")
    if (billed & recorded).any():
        amount = float(frame.loc[billed & recorded, "cost_usd"].sum())
        parts.append(f"{format_usd(amount)} when recorded, not billed now")
    estimated = frame[frame["cost_source"] == "estimated"]
    if len(estimated):
        amount = float(estimated["estimate_usd"].sum())
        parts.append(f"about {format_usd(amount)} estimated for {_number(len(estimated), 'call')}")
    unknown = int((frame["cost_source"] == "unknown").sum())
    if unknown:
        parts.append(f"{_number(unknown, 'call')} of unknown cost")
    if here.any():
        parts.append(f"{_number(int(here.sum()), 'answer')} from this machine, not billed")
    return parts


def _number(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _cells(row: Any) -> dict[str, str]:
    """One row as a person reads it."""
    return {
        "time (UTC)": "" if pd.isna(row.started_at) else f"{row.started_at:%H:%M:%S}",
        "label": _shown(row.label),
        "model": _shown(row.model),
        "source": _shown(row.source),
        "tokens": f"{_count(row.prompt_tokens)} → {_count(row.completion_tokens)}",
        "cost": _cost(row),
        "first token": _seconds(row.time_to_first_token_s),
        "duration": _seconds(row.duration_s),
        "end": _end(row),
    }


def _end(row: Any) -> str:
    if row.status == "error":
        return f"error: {_shown(row.error)}"[:80]
    return str(row.status) if row.status != "ok" else _shown(row.finish_reason)


def _cost(row: Any) -> str:
    if row.source in ("local", "canned"):
        return "not billed"
    if row.cost_source == "billed":
        return format_usd(row.cost_usd) + (" when recorded" if row.source == "recorded" else "")
    return f"about {format_usd(row.estimate_usd)}" if row.cost_source == "estimated" else "unknown"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> str:
    return "?" if pd.isna(value) else f"{value:,}"


def _seconds(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2f} s"


_RIGHT = ("tokens", "cost", "first token", "duration")
# Colours are JupyterLab's where it is there; elsewhere they follow the text around.
_STYLE = """<style>
.ornb-usage { font-size: var(--jp-ui-font-size1, 13px); color: var(--jp-ui-font-color1, inherit) }
.ornb-usage { overflow-x: auto }
.ornb-usage table { border-collapse: collapse; margin: 0 0 6px; font-size: inherit;
  color: inherit }
.ornb-usage th, .ornb-usage td { padding: 3px 12px 3px 0; text-align: left; border: 0;
  border-bottom: 1px solid var(--jp-border-color2, rgba(128, 128, 128, .3)); background: none;
  white-space: nowrap; max-width: 22em; overflow: hidden; text-overflow: ellipsis }
.ornb-usage th { font-weight: 500; color: var(--jp-ui-font-color2, inherit) }
.ornb-usage .ornb-right { text-align: right; font-variant-numeric: tabular-nums }
.ornb-usage .ornb-badge { padding: 0 6px; border-radius: 8px; border: 1px solid currentColor;
  font-size: .85em; opacity: .8 }
.ornb-usage .ornb-live { color: var(--jp-success-color1, #388e3c) }
.ornb-usage .ornb-error { color: var(--jp-error-color1, #d32f2f) }
.ornb-usage p { margin: 0; color: var(--jp-ui-font-color2, inherit) }
</style>"""


def _html(frame: pd.DataFrame) -> str:
    """Make the table for a notebook. All text in it comes from outside, so all of it is escaped."""
    total = escape(_total_line(frame))
    if frame.empty:
        return f'{_STYLE}<div class="ornb-usage"><p>Usage: {total}.</p></div>'
    last = [_cells(row) for row in frame.tail(10).itertuples(index=False)]
    names = [name for name in last[0] if any(cells[name] for cells in last)]
    head = "".join(f'<th scope="col"{_class(name)}>{escape(name)}</th>' for name in names)
    body = "".join(
        f"<tr>{''.join(_html_cell(name, cells[name]) for name in names)}</tr>" for cells in last
    )
    shown = f"Last {len(last)} of " if len(frame) > len(last) else ""
    return (
        f'{_STYLE}<div class="ornb-usage"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table><p>{shown}{total}</p></div>"
    )


def _class(name: str) -> str:
    return ' class="ornb-right"' if name in _RIGHT else ""


def _html_cell(name: str, value: str) -> str:
    text = escape(value)
    if name == "source" and value:
        live = " ornb-live" if value == "live" else ""
        return f'<td><span class="ornb-badge{live}">{text}</span></td>'
    if name == "end" and value.startswith("error"):
        return f'<td class="ornb-error" title="{text}">{text}</td>'
    return f'<td{_class(name)} title="{text}">{text}</td>'
