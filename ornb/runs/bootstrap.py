"""Quantiles of a few timings, and how far off they may be: the percentile bootstrap.

Requests that started together saw the same moment of the service, so whole bursts are resampled
rather than requests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Counts = np.ndarray[Any, np.dtype[np.int64]]

_AT_ONCE = 2_000_000
"""Numbers held at once while resampling: 16 MB."""


def needed(quantile: float, confidence: float = 0.95) -> int:
    """Return how many requests the interval of a quantile takes.

    The smallest n for which q^n and (1-q)^n are both at most (1-confidence)/2: with fewer, not even
    the span from the smallest to the largest value is sure to hold it.
    """
    rarer = max(quantile, 1 - quantile)
    return math.ceil(round(math.log((1 - confidence) / 2) / math.log(rarer), 9))


def quantiles_of_resamples(values: Any, weights: Any, quantiles: Sequence[float]) -> Floats:
    """Return quantiles (n_quantiles, n_resamples) of ascending values, each drawn some times.

    By linear interpolation, as `numpy.quantile` does by default; NaN where none was drawn.
    """
    ordered = np.asarray(values, dtype="float64")
    upto = np.cumsum(np.asarray(weights), axis=1)
    drawn = upto[:, -1]
    found = np.full((len(quantiles), len(upto)), np.nan)
    some = drawn > 0
    for place, quantile in enumerate(quantiles):
        rank = (drawn[some] - 1) * quantile
        below = np.floor(rank).astype("int64")
        above = np.minimum(below + 1, drawn[some] - 1)
        low, high = (
            ordered[(upto[some] <= position[:, None]).sum(axis=1)] for position in (below, above)
        )
        found[place, some] = low + (high - low) * (rank - below)
    return found


def resampled(
    values: Floats,
    bursts: Counts,
    quantiles: Sequence[float],
    resamples: int,
    generator: np.random.Generator,
) -> Floats:
    """Draw whole bursts, again and again, and return the quantiles of what was drawn.

    `values` ascend, `bursts` has the number from 0 of the burst that each is a part of.
    """
    moments = int(bursts.max()) + 1
    even = np.full(moments, 1 / moments)
    parts, left = [], resamples
    while left:
        some = max(1, min(left, _AT_ONCE // len(values)))
        drawn = generator.multinomial(moments, even, size=some)
        parts.append(quantiles_of_resamples(values, drawn[:, bursts], quantiles))
        left -= some
    return np.concatenate(parts, axis=1)


def ends(drawn: Floats, confidence: float) -> tuple[float, float]:
    """Return the interval that holds the middle of what was drawn, by its share (`confidence`)."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def generator_of(seed: int, name: Iterable[Any]) -> np.random.Generator:
    """Make a generator for one group, so that a further group does not change its numbers."""
    text = "\x1f".join(map(str, name)).encode("utf-8", "replace")
    return np.random.default_rng([seed, *text])
