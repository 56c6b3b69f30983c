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

__all__ = ["ends", "generator_of", "needed", "quantiles_of_resamples", "resampled"]

_AT_ONCE = 2_000_000
"""Numbers held at once while resampling: 16 MB."""


def needed(quantile: float, confidence: float = 0.95) -> int:
    """Tell how many requests the interval of a quantile takes.

    With fewer, not even the span from the smallest to the largest value is sure to hold it.

    Parameters
    ----------
    quantile : float
        Between 0 and 1.
    confidence : float
        Of the interval.

    Returns
    -------
    int
        The smallest n for which q^n and (1-q)^n are both at most (1-confidence)/2.

    Examples
    --------
    >>> needed(0.5), needed(0.9), needed(0.99)
    (6, 36, 368)
    """
    rarer = max(quantile, 1 - quantile)
    return math.ceil(round(math.log((1 - confidence) / 2) / math.log(rarer), 9))


def quantiles_of_resamples(values: Any, weights: Any, quantiles: Sequence[float]) -> Floats:
    """Give quantiles of samples in which each value occurs a number of times.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        In ascending order.
    weights : array_like of int, shape (n_resamples, n)
        How often each of them was drawn; a row without any gives NaN.
    quantiles : sequence of float
        Between 0 and 1.

    Returns
    -------
    numpy.ndarray of float64, shape (n_quantiles, n_resamples)
        By linear interpolation, as `numpy.quantile` does by default.

    Examples
    --------
    >>> quantiles_of_resamples([1.0, 2.0, 4.0], [[1, 1, 1], [0, 3, 1]], [0.5]).tolist()
    [[2.0, 2.0]]
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
    """Draw whole bursts, again and again, and give the quantiles of what was drawn.

    Parameters
    ----------
    values : numpy.ndarray of float64, shape (n,)
        In ascending order.
    bursts : numpy.ndarray of int64, shape (n,)
        The burst that each value is a part of, numbered from 0.
    quantiles : sequence of float
        Between 0 and 1.
    resamples : int
        How often.
    generator : numpy.random.Generator
        Chance.

    Returns
    -------
    numpy.ndarray of float64, shape (n_quantiles, resamples)
        In the unit of the values.

    Examples
    --------
    >>> bursts = np.array([0, 0, 1])
    >>> drawn = resampled(np.array([1.0, 2.0, 9.0]), bursts, [0.5], 50, np.random.default_rng(0))
    >>> sorted(set(drawn[0].tolist()))  # burst 0 twice, each once, burst 1 twice
    [1.5, 2.0, 9.0]
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
    """Give the interval that holds the middle of what was drawn.

    Parameters
    ----------
    drawn : numpy.ndarray of float64, shape (resamples,)
        A figure of each resample.
    confidence : float
        Share of them between the two ends.

    Returns
    -------
    tuple of float
        Lower and upper end.

    Examples
    --------
    >>> [round(end, 3) for end in ends(np.arange(101.0), 0.9)]
    [5.0, 95.0]
    """
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def generator_of(seed: int, name: Iterable[Any]) -> np.random.Generator:
    """Make a generator for one group, so that a further group does not change its numbers.

    Parameters
    ----------
    seed : int
        For all groups.
    name : iterable
        Of the group.

    Returns
    -------
    numpy.random.Generator
        The same one for the same seed and name.

    Examples
    --------
    >>> drawn = [int(generator_of(0, [name]).integers(1000)) for name in "aab"]
    >>> drawn[0] == drawn[1] != drawn[2]
    True
    """
    text = "\x1f".join(map(str, name)).encode("utf-8", "replace")
    return np.random.default_rng([seed, *text])
