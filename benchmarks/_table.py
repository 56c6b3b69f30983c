"""The rows of the one table: what was measured, its spread, its bar, and what stood beside it."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

QUICK = "BENCH_QUICK" in os.environ
"""Whether small sizes will do, because only the benchmarks themselves are tried."""
MISSED = " (missed)"


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
    over = bar is not None and statistics.median(rounds) > bar
    limit = "" if bar is None else f"{_short(bar)} {unit}".strip() + MISSED * over
    print(f"{what}: {median} [{spread}] bar {limit or 'none'}; {beside}", flush=True)
    if path := os.environ.get("BENCH_ROWS"):
        with Path(path).open("a", encoding="utf-8") as rows:
            rows.write(json.dumps([what, median, spread, limit, beside]) + "\n")


def read(path: Path) -> list[list[str]]:
    """Give the rows that were left in a file: what, median, spread, limit, beside."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def missed(rows: Sequence[Sequence[str]]) -> list[str]:
    """Say which of the rows missed their bar, by how much."""
    return [
        f"{what}: {median}, bar {limit.removesuffix(MISSED)}"
        for what, median, _, limit, _ in rows
        if limit.endswith(MISSED)
    ]


def status(failed: Sequence[str], rows: Sequence[Sequence[str]], *, quick: bool = QUICK) -> int:
    """Name what failed and the bars that were missed; give the exit status of a program.

    At small sizes, which only try the benchmarks, a missed bar is named and is no failure.
    """
    late = missed(rows)
    for each in failed:
        print(f"did not come to its end: {each}")
    for each in late:
        print(f"bar missed{' (at small size)' if quick else ''}: {each}")
    return 1 if failed or (late and not quick) else 0


def _short(value: float) -> str:
    """Two or three digits that count."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
