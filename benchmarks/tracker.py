"""What a row of usage costs: to append, to read back as a table, and in memory.

Run: ``python benchmarks/tracker.py``. Bars: append at most 10 x a list append under a lock, and the
same at row 10 and at row 1,000,000; ``.df`` after one more of 100,000 rows at most 0.08 x a
rebuild, and 0.001 x when nothing changed; memory at most 0.6 x a list of dicts.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
from _table import row

from ornb.api.reply import Reply, Timing, Usage
from ornb.ledger.tracker import USAGE_COLUMNS, UsageTracker

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 100_000
START = datetime(2026, 8, 22, tzinfo=UTC)


def main() -> None:
    """Print the figures, ratios made within one round."""
    replies = [_reply(n) for n in range(1000)]
    _append(replies)
    _read(replies)
    _memory()


def _append(replies: list[Reply]) -> None:
    floors, ours = [], []
    entry = dict.fromkeys(USAGE_COLUMNS, 1)
    for _ in range(10):
        floors.append(_per_row(lambda: _floor(entry)))
        ours.append(_per_row(lambda: _record(UsageTracker(), replies)))
    ratios = [o / f for o, f in zip(ours, floors, strict=True)]
    times = f"{1e6 * statistics.median(ours):.2f} us"
    row("append a usage row, over a list append under a lock", ratios, bar=10, beside=times)
    grown = UsageTracker()
    costs: dict[int, float] = {}
    for size in (10_000, 100_000, 1_000_000):
        while len(grown) < size - 9_000:
            _record(grown, replies, 1_000)
        last = [_seconds(lambda: _record(grown, replies, 1_000)) / 1_000 for _ in range(9)]
        costs[size] = 1e6 * statistics.median(last)  # of the nine thousand before it
    beside = {f"at {size:,}, us": cost for size, cost in costs.items()}
    slower = costs[1_000_000] / costs[10_000]
    row("append a usage row at 1,000,000, over at 10,000", slower, bar=1.5, beside=beside)


def _read(replies: list[Reply]) -> None:
    tracker = UsageTracker()
    _record(tracker, replies)
    rows = tracker.df.to_dict("records")
    rebuilds, ours, again = [], [], []
    for n in range(9):
        rebuilds.append(_seconds(lambda: pd.DataFrame(rows)))
        tracker.record(replies[n])
        ours.append(_seconds(lambda: tracker.df))
        again.append(_seconds(lambda: tracker.df))
    rebuild = statistics.median(rebuilds)
    what = f"`.df` of {ROWS:,} usage rows"
    row(f"{what} after one more, over a rebuild", [t / rebuild for t in ours], bar=0.08)
    row(f"{what} unchanged, over a rebuild", [t / rebuild for t in again], bar=0.001)
    print(
        f"df at {ROWS:,} rows: rebuild {1e3 * rebuild:.0f} ms, after one more row "
        f"{1e3 * statistics.median(ours):.1f} ms, ratio {statistics.median(ours) / rebuild:.3f} "
        f"(bar 0.08); unchanged {1e6 * statistics.median(again):.0f} us, "
        f"ratio {statistics.median(again) / rebuild:.5f} (bar 0.001)"
    )


def _memory() -> None:
    def dicts() -> object:
        rows = []
        for n in range(ROWS):
            tracker = UsageTracker()
            tracker.record(_reply(n))
            rows.append(dict(zip(USAGE_COLUMNS, (*tracker._tail[0], "billed", 1.5), strict=False)))
        return rows

    def track() -> object:
        tracker = UsageTracker()
        for n in range(ROWS):
            tracker.record(_reply(n))
        return tracker

    def read() -> object:
        tracker = UsageTracker()
        for n in range(ROWS):
            tracker.record(_reply(n))
        return tracker, len(tracker.df)

    plain, ours, after = (_bytes(make) / ROWS for make in (dicts, track, read))
    row("memory of a usage row, over a dict in a list", ours / plain, bar=0.6)
    print(
        f"memory: dicts {plain:.0f} B a row, tracker {ours:.0f} B, after .df {after:.0f} B, "
        f"ratio {ours / plain:.2f} (bar 0.6)"
    )


def _floor(row: dict[str, Any]) -> None:
    rows: list[dict[str, Any]] = []
    lock = threading.Lock()
    for _ in range(ROWS):
        with lock:
            rows.append(row)


def _record(tracker: UsageTracker, replies: list[Reply], rows: int = ROWS) -> None:
    for _ in range(rows // len(replies)):
        for reply in replies:
            tracker.record(reply)


def _reply(n: int) -> Reply:
    return Reply(
        usage=Usage(1000 + n % 700, 300 + n % 90, 1300 + n, n % 50, 0, 0, 1e-6 * (n % 997)),
        timing=Timing(START + timedelta(seconds=n), 0.01, 0.1, 0.5 + n / 1e6, 0.7, 2.0 + n / 1e6),
        requested_model=f"lab/model-{n % 20}",
        model=f"lab/model-{n % 20}-20260822",
        provider=f"Provider {n % 7}",
        finish_reason="stop",
        generation_id=f"gen-1790000000-{n:08d}",
        http_status=200,
        attempts=1,
    )


def _per_row(work: Callable[[], object]) -> float:
    return _seconds(work) / ROWS


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def _bytes(make: Callable[[], object]) -> int:
    gc.collect()
    tracemalloc.start()
    kept = make()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del kept
    return size


if __name__ == "__main__":
    main()
