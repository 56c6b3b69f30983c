"""The rows of the one table: what was measured, its spread, its bar, and what stood beside it."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

QUICK = "BENCH_QUICK" in os.environ
"""Whether small sizes will do, because only the benchmarks themselves are tried."""


def row(
    what: str,
    values: float | Sequence[float],
    unit: str = "x",
    *,
    bar: float | None = None,
    beside: str | Mapping[str, float | str] = "",
) -> None:
    """Print a figure, and leave it for the table if `run.py` asked.

    Parameters
    ----------
    what : str
        What was measured, against what.
    values : float or sequence of float
        ornb's, one a round.
    unit : str
        "x" for a ratio made within a round, else "ms", "us", ...
    bar : float, optional
        What it may be at most, in the same unit.
    beside : str or mapping of str to float or str, optional
        The same for others, or a word on it.
    """
    rounds = [values] if isinstance(values, int | float) else sorted(values)
    median, spread = f"{_short(statistics.median(rounds))} {unit}".strip(), ""
    if len(rounds) > 1:
        spread = f"{_short(rounds[0])} to {_short(rounds[-1])}"
    if not isinstance(beside, str):
        beside = ", ".join(
            f"{name} {value if isinstance(value, str) else _short(value)}"
            for name, value in beside.items()
        )
    missed = bar is not None and statistics.median(rounds) > bar
    limit = "" if bar is None else f"{_short(bar)} {unit}".strip() + " (missed)" * missed
    print(f"{what}: {median} [{spread}] bar {limit or 'none'}; {beside}", flush=True)
    if path := os.environ.get("BENCH_ROWS"):
        with Path(path).open("a", encoding="utf-8") as rows:
            rows.write(json.dumps([what, median, spread, limit, beside]) + "\n")


def _short(value: float) -> str:
    """Two or three digits that count."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
