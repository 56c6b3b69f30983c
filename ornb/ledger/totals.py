"""Sums of the calls that grow with each call, so that a live display never reads a row twice.

A new row is added to the sums of its model and its source, and a row that a bill changed is taken
out and put in again, so that the millionth call costs what the first did. The sums of money are
exact decimals, and those of live, recorded and offline calls are never one sum.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import reduce
from operator import itemgetter
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import columns as c
from ..pricing import EXACT
from .table import FIELDS

if TYPE_CHECKING:
    import pandas as pd

WINDOW = 1000
"""A median is that of the last so many calls: what is now, and bounded memory."""
LATEST = 40
"""As many calls are kept to be drawn one by one."""

_CHUNK = 20_000
_COUNTS = ("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens")
_READ = (
    *("model", "source", "status", "cost_source", "served_model", *_COUNTS),
    *("cost_usd", "byok_usd", "estimate_usd", "time_to_first_token_s"),
)
_take: Any = itemgetter(*map(FIELDS.index, _READ))


class Call(NamedTuple):
    """One call, as far as it is drawn."""

    model: str | None
    source: str | None
    status: str | None
    time_to_first_token_s: float | None


@dataclass
class Sums:
    """What some calls used; None where no call said."""

    calls: int = 0
    errors: int = 0
    stopped: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: Decimal | None = None
    """What was charged, in USD, exact."""
    proxy_usd: Decimal | None = None
    """The part of it that a proxy reckoned, and nobody billed, in USD, exact."""
    byok_usd: Decimal | None = None
    """What providers took from keys of the user's own, in USD, exact; not in `cost_usd`."""
    estimate_usd: Decimal | None = None
    """What the listed prices make of all that could be priced, billed or not, in USD, exact."""
    priced: int = 0
    """Calls that are in `estimate_usd`."""
    unbilled: int = 0
    """Calls that have an estimate and no bill."""
    unbilled_usd: Decimal | None = None
    """The estimates of those, in USD, exact."""
    unknown: int = 0
    """Calls that have neither."""
    byok_unknown: int = 0
    """Calls that an own key paid for, and nobody told how much."""
    median_time_to_first_token_s: float | None = None
    """Of the last `timed` calls that told, in seconds."""
    timed: int = 0

    def plus(self, other: Sums) -> Sums:
        """Add up; the median, which cannot be added, is left out."""
        theirs = vars(other)
        both = {name: _sum(value, theirs[name]) for name, value in vars(self).items()}
        return Sums(**{**both, "median_time_to_first_token_s": None, "timed": 0})


@dataclass(frozen=True)
class Totals:
    """The sums at one moment.

    Examples
    --------
    >>> totals = ornb.UsageTracker().totals()
    >>> totals.calls, totals.of("live").cost_usd
    (0, None)
    """

    groups: Mapping[tuple[str | None, str | None], Sums]
    """Of each model (as asked for) and source ("live", "recorded", "local", "canned"; None if not
    sent)."""
    medians: Mapping[str | None, tuple[float, int]]
    """Of each source: median time to first token in seconds, and of how many calls."""
    latest: tuple[Call, ...]
    """The last calls, oldest first, at most `LATEST`."""
    engines: tuple[str, ...] = ()
    """What of this machine answered under the names of other models, now or when recorded."""

    @property
    def calls(self) -> int:
        """Number of calls."""
        return sum(each.calls for each in self.groups.values())

    def of(self, *sources: str | None) -> Sums:
        """Sum over the models.

        Parameters
        ----------
        *sources : str or None
            Calls from these; from all when none is named.

        Returns
        -------
        Sums
            Without a median.

        Examples
        --------
        >>> ornb.UsageTracker().totals().of("local", "canned").calls
        0
        """
        wanted = [each for (_, of), each in self.groups.items() if not sources or of in sources]
        return reduce(Sums.plus, wanted, Sums())


class Running:
    """The sums, kept up to date. Not for several threads at once: its tracker sees to that."""

    def __init__(self) -> None:
        self.read = 0
        """Rows taken in so far."""
        self._groups: dict[tuple[str | None, str | None], Sums] = {}
        self._times: dict[Any, deque[float]] = {}  # of a source, and of a model and source
        self._latest: deque[Call] = deque(maxlen=LATEST)
        self._engines: dict[str, None] = {}

    def take(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows that follow those already read."""
        for row in rows:
            self._add(_cleaned(_take(row)))

    def take_frame(self, frame: pd.DataFrame) -> None:
        """Add rows that follow those already read, from a frame."""
        for start in range(0, len(frame), _CHUNK):
            for row in _rows(frame.iloc[start : start + _CHUNK]):
                self._add(row)

    def correct(self, before: pd.DataFrame, after: pd.DataFrame) -> None:
        """Replace rows that bills have changed; their index is their number."""
        known = before.index < self.read
        for row in _rows(before[known]):
            self._count(row, -1)
        for row in _rows(after[known]):
            self._count(row, 1)

    def totals(self) -> Totals:
        """Return a copy of the sums as they are now."""
        middles = {key: (median(times), len(times)) for key, times in self._times.items()}
        groups = {}
        for key, sums in self._groups.items():
            middle, count = middles.get(key, (None, 0))
            groups[key] = replace(sums, median_time_to_first_token_s=middle, timed=count)
        of_sources = {key: each for key, each in middles.items() if not isinstance(key, tuple)}
        return Totals(groups, of_sources, tuple(self._latest), tuple(self._engines))

    def _add(self, row: tuple[Any, ...]) -> None:
        self._count(row, 1)
        model, source, status, seconds = (*row[:3], row[-1])
        self._latest.append(Call(model, source, status, seconds))
        if (served := row[4]) and served != model and served.startswith("ornb/"):
            self._engines[served] = None
        if seconds is not None:
            for key in (source, (model, source)):
                if key not in self._times:
                    self._times[key] = deque(maxlen=WINDOW)
                self._times[key].append(seconds)
        self.read += 1

    def _count(self, row: tuple[Any, ...], sign: int) -> None:
        """Add what a row used, or take it out again."""
        model, source, status, told_by, _, sent, made, thought, cached, cost, own, estimate, _ = row
        sums = self._groups.get((model, source))
        if sums is None:
            sums = self._groups[model, source] = Sums()
        sums.calls += sign
        sums.errors += sign * (status == "error")
        sums.stopped += sign * (status == "stopped")
        for name, count in zip(_COUNTS, (sent, made, thought, cached), strict=True):
            if count is not None:
                setattr(sums, name, (getattr(sums, name) or 0) + sign * count)
        if estimate is not None:
            estimate = Decimal(repr(estimate))
            sums.priced += sign
            sums.estimate_usd = _more(sums.estimate_usd, estimate, sign)
        if own is not None:
            sums.byok_usd = _more(sums.byok_usd, Decimal(repr(own)), sign)
        if cost is not None:
            sums.cost_usd = _more(sums.cost_usd, Decimal(repr(cost)), sign)
            sums.byok_unknown += sign * (told_by == "fee")
            if told_by == "proxy":
                sums.proxy_usd = _more(sums.proxy_usd, Decimal(repr(cost)), sign)
        elif estimate is not None:
            sums.unbilled += sign
            sums.unbilled_usd = _more(sums.unbilled_usd, estimate, sign)
        else:
            sums.unknown += sign


def _more(amount: Decimal | None, by: Decimal, sign: int) -> Decimal:
    before = amount or Decimal(0)
    return EXACT.add(before, by) if sign > 0 else EXACT.subtract(before, by)


def _sum(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return EXACT.add(one, other) if isinstance(one, Decimal) else one + other


def _rows(frame: pd.DataFrame) -> Iterable[tuple[Any, ...]]:
    """Rows of a frame as plain values, None where missing; only what is summed."""
    return zip(*(c.plain(frame[name]) for name in _READ), strict=True)


def _cleaned(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a row's values become in the table; nearly all are that already."""
    words = tuple(v if v is None or type(v) is str else str(v) for v in values[:5])
    counts = tuple(map(_count, values[5:9]))
    return (*words, *counts, *map(_number, values[9:]))


def _count(value: Any) -> int | None:
    if value is None or (type(value) is int and -(2**63) < value < 2**63):
        return value
    found = c.integers([value])
    return None if found.isna()[0] else int(found[0])


def _number(value: Any) -> float | None:
    if type(value) is not float:
        if value is None:
            return None
        value = float(c.floats([value])[0])
    return value if abs(value) < float("inf") else None  # nor NaN
