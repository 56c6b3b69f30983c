"""Sums of calls, of a frame or of a database: what they need of each row is read once, in parts.

Amounts that are whole parts of a USD, of 10**15, are added as integers, high and low digits apart,
so that the sum is that of the decimals and fits 64 bits. The others are added as decimals, and so
are counts that no model has.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from .. import columns as c
from ..pricing import EXACT
from .table import SUMMARY_COLUMNS, billed_less_estimated

_PARTS, _HALF = 10**15, 10**6
_LARGEST = 4  # USD of a call: up to there a float tells such parts apart
_LARGEST_COUNT = 2**40  # tokens of a call: 64 bits hold the sum of eight million such
_TIMES = ("time_to_first_token_s", "duration_s")
_MONEY = ("cost_usd", "byok_usd", "estimate_usd")
_TOKENS = [name for name in SUMMARY_COLUMNS if name.endswith("_tokens")]
_USD = [name for name in SUMMARY_COLUMNS if name.endswith("_usd")]
_CALLS = ("calls", "errors", "stopped", "cost_unknown")
_SUMS = (*_CALLS, *_TOKENS, *_USD)
ROWS = 2_000  # read at once: they stay near the processor
FLAGS = (
    *(("status", "error"), ("status", "stopped")),
    *(("cost_source", "fee"), ("cost_source", "proxy")),
)
"""Columns that are only compared with a word."""
FIGURES = (*_TOKENS, *_MONEY, *_TIMES)
"""Columns that are needed of each row, and then `FLAGS`."""
NEEDED = {"started_at", "source", *FIGURES, *dict(FLAGS)}
"""Columns without which rows are no calls."""


def summed(
    parts: Iterable[Sequence[Sequence[Any]]],
    names: Sequence[str],
    dtypes: Sequence[Any],
    group: Callable[[tuple[Any, ...]], tuple[Any, ...]] = tuple,
) -> pd.DataFrame:
    """Sum rows up by `names`, whose columns come first in each part, then `source` and `FIGURES`.

    `group` makes what a row is grouped by out of the values of its `names`.
    """
    sums, words = _Sums(), len(names) + 1
    for columns in parts:
        sums.add(columns[:words], columns[words:])
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    places = []
    for kind, n in sums.kinds.items():
        row = rows.setdefault(group(kind[:-1]), {"sources": Counter(), "place": len(rows)})
        places.append(row["place"])
        found = sums.of(n)
        row["sources"][kind[-1]] += found["calls"]
        if kind[-1] in {"local", "canned"}:  # nothing could be billed
            found.pop("cost_difference_usd", None)
        for name, more in found.items():
            before = row.get(name, 0)
            row[name] = EXACT.add(before, more) if name in _USD else before + more
    table = _table(rows, names, dtypes).assign(**sums.medians(places))
    figures = table.reset_index(drop=True)  # its index may be called as one of them
    order = figures.sort_values(["cost_usd", "calls"], ascending=False, kind="stable").index
    return table.iloc[order]


def of_frame(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Sum up the rows of a frame by some of its columns."""
    starts = range(0, len(frame), 10 * ROWS)
    parts = (_columns(frame.iloc[start : start + 10 * ROWS], names) for start in starts)
    return summed(parts, names, [frame[name].dtype for name in names])


def _columns(frame: pd.DataFrame, names: Sequence[str]) -> list[Any]:
    return [
        *(c.plain(frame[name]) for name in (*names, "source", *_TOKENS)),
        *(frame[name].to_numpy("float64", na_value=np.nan) for name in (*_MONEY, *_TIMES)),
        *((frame[name] == word).to_numpy(bool, na_value=False) for name, word in FLAGS),
    ]


class _Sums:
    """What calls add up to, by kind: what they are grouped by, and their source."""

    def __init__(self) -> None:
        self.kinds: defaultdict[tuple[Any, ...], int] = defaultdict()
        self.kinds.default_factory = self.kinds.__len__
        self._sums = np.zeros((len(_SUMS) + len(_USD), 0), "int64")  # low digits of USD at the end
        self._told = np.zeros((len(_SUMS), 0), bool)
        self._odd: dict[tuple[int, int], Decimal] = {}
        self._kinds: list[Any] = []
        self._times: list[list[Any]] = [[] for _ in _TIMES]

    def add(self, words: Sequence[Sequence[Any]], figures: Sequence[Sequence[Any]]) -> None:
        """Add rows, by column."""
        size = len(figures[0])
        kinds = np.fromiter(map(self.kinds.__getitem__, zip(*words, strict=True)), "int64", size)
        if (lacks := len(self.kinds) - self._told.shape[1]) > 0:
            more = ((0, 0), (0, lacks + len(self.kinds)))  # so that it is seldom done
            self._sums, self._told = np.pad(self._sums, more), np.pad(self._told, more)
        tokens, rest = figures[: len(_TOKENS)], figures[len(_TOKENS) :]
        # None becomes NaN.
        cost, own, estimate, *times = (np.array(values, "float64") for values in rest[:5])
        errors, stopped, of_fee, of_proxy = (np.array(values) == 1 for values in rest[5:])
        is_fee = of_fee & np.isnan(own) & ~np.isnan(cost)
        usd = {
            "cost_usd": cost,
            "byok_usd": own,
            "proxy_usd": np.where(of_proxy, cost, np.nan),
            "estimate_usd": estimate,
            "cost_difference_usd": billed_less_estimated(cost, own, estimate, is_fee),
        }
        counts = (np.ones(size, bool), errors, stopped, is_fee | np.isnan(cost))
        for n, each in enumerate(counts):
            np.add.at(self._sums[n], kinds, each)
            self._told[n, kinds] = True
        for n, values in enumerate(tokens, len(_CALLS)):
            self._add_tokens(n, kinds, values)
        for n, name in enumerate(_USD, len(_CALLS) + len(_TOKENS)):
            self._add_usd(n, kinds, usd[name])
        self._kinds.append(kinds)
        for column, seconds in zip(self._times, times, strict=True):
            column.append(seconds)

    def _add_tokens(self, n: int, kinds: Any, values: Sequence[Any]) -> None:
        try:
            counts = np.fromiter(values, "int64", len(values))
        except TypeError:  # some are missing
            known = [place for place, value in enumerate(values) if value is not None]
            kinds, counts = kinds[known], np.array([values[place] for place in known], "int64")
        self._told[n, kinds] = True
        is_odd = counts > _LARGEST_COUNT
        if is_odd.any():
            self._add_odd(n, kinds[is_odd], counts[is_odd])
            kinds, counts = kinds[~is_odd], counts[~is_odd]
        np.add.at(self._sums[n], kinds, counts)

    def _add_usd(self, n: int, kinds: Any, usd: Any) -> None:
        is_known = ~np.isnan(usd)
        if not is_known.all():
            kinds, usd = kinds[is_known], usd[is_known]
        self._told[n, kinds] = True
        parts = np.rint(np.where(np.abs(usd) < _LARGEST, usd, np.nan) * _PARTS)
        is_whole = parts / _PARTS == usd
        high, low = np.divmod(np.where(is_whole, parts, 0).astype("int64"), _HALF)
        np.add.at(self._sums[n], kinds, high)
        np.add.at(self._sums[n + len(_USD)], kinds, low)
        self._add_odd(n, kinds[~is_whole], usd[~is_whole])

    def _add_odd(self, n: int, kinds: Any, values: Any) -> None:
        """Add as decimals what 64 bits might not hold."""
        found = Counter(zip(kinds.tolist(), values.tolist(), strict=True))
        for (kind, value), calls in found.items():
            more = EXACT.multiply(Decimal(repr(value)), calls)
            self._odd[n, kind] = EXACT.add(self._odd.get((n, kind), Decimal(0)), more)

    def of(self, kind: int) -> dict[str, Any]:
        """What calls of a kind told, USD as exact decimals."""
        found: dict[str, Any] = {}
        for n, name in enumerate(_SUMS):
            if self._told[n, kind]:
                whole, odd = int(self._sums[n, kind]), self._odd.get((n, kind), Decimal(0))
                if name in _USD:
                    parts = Decimal(whole * _HALF + int(self._sums[n + len(_USD), kind]))
                    found[name] = EXACT.add(parts.scaleb(-15, EXACT), odd)
                else:
                    found[name] = whole + int(odd)
        return found

    def medians(self, places: Sequence[int]) -> dict[str, Any]:
        """Medians by group, of which each kind has its place."""
        if not self._kinds:
            return {}
        by = np.array(places)[np.concatenate(self._kinds)]
        return {
            f"median_{name}": pd.Series(np.concatenate(column)).groupby(by).median().to_numpy()
            for name, column in zip(_TIMES, self._times, strict=True)
        }


def _table(
    rows: dict[tuple[Any, ...], dict[str, Any]], names: Sequence[str], dtypes: Sequence[Any]
) -> pd.DataFrame:
    for row in rows.values():
        told = (source for source, _ in row["sources"].most_common() if source is not None)
        row["sources"] = ", ".join(told)
    made = {
        name: c.typed([_plain(row.get(name)) for row in rows.values()], column.dtype)
        for name, column in SUMMARY_COLUMNS.items()
    }
    listed = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    levels = [
        pd.Index([np.nan if v is None else v for v in values], dtype=dtype, name=name)
        for name, dtype, values in zip(names, dtypes, listed, strict=True)
    ]
    index: Any = levels[0] if len(names) == 1 else pd.MultiIndex.from_arrays(levels)
    return pd.DataFrame(made).set_index(index)


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value
