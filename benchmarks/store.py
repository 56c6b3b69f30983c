"""What reading back costs of many calls that a store keeps, over the SQL that it needs.

Run: ``python benchmarks/store.py [CALLS]``, by default 1,000,000; 10,000,000 take 3 GB in a folder
for the time, and some minutes. Bar: `ornb.usage.history` of one of 100 days takes at most 1.5 x the
CPU of the same query through Python's `sqlite3` alone, whose rows become no table; and so does a
summary of all by model, and by day, over SQL for the same figures: a ``group by`` with ``sum()``,
whose money is that of floats (ours is exact), and the two medians by window functions, as SQLite
has no other. Beside it stands that ``group by`` with the seconds read and thrown away, which
gives no median. A thousand calls are kept as ever, and copied by the database itself.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["ORNB_OFFLINE_MODEL"] = "off"

from _table import QUICK, row
from tracker import _reply

from ornb.ledger.table import SUMMARY_COLUMNS, USAGE_COLUMNS
from ornb.ledger.tracker import UsageTracker

if TYPE_CHECKING:
    from collections.abc import Callable

    from ornb.ledger.store import Store

DAYS, ROUNDS = 100, 2 if QUICK else 5
SEED = 1000


def main() -> None:
    """Fill it, and print a row for each way to read it."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000 if QUICK else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "usage.sqlite3"
        began = time.perf_counter()
        tracker = UsageTracker()
        for n in range(SEED):
            tracker.record(_reply(n), estimate_usd=0.001)
        store = tracker.persist(path)
        bare = sqlite3.connect(path)
        _copy(bare, calls)
        size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")) / 1e9
        print(f"{calls:,} calls, {size:.2f} GB, in {time.perf_counter() - began:.0f} s", flush=True)
        _history(tracker, bare, calls)
        _summary(tracker, store, bare, calls)
        bare.close()
        store.close()


def _copy(bare: sqlite3.Connection, calls: int) -> None:
    """As many as that, over a hundred days: each time of the seed's, some days later."""
    names = [column[1] for column in bare.execute("pragma table_info(ornb_usage)")]
    made: dict[str, str] = dict.fromkeys(("kernel", "number", "started_at", "generation_id"), "")
    made["kernel"], made["number"] = "kernel", f"number + {SEED} * :n"
    made["started_at"] = "strftime('%Y-%m-%d %H:%M:%f000', started_at, :later)"
    made["generation_id"] = "printf('gen-%012d', :n * 1000000 + number)"
    bare.execute("pragma synchronous = off")
    bare.execute("pragma cache_size = -500000")  # kB, so that indexes are written once
    listed = ", ".join(made.get(name, name) for name in names)
    bare.execute("create temp table seed as select * from ornb_usage where number < ?", [SEED])
    seed = f"select {listed} from seed"  # noqa: S608
    for n in range(1, calls // SEED):
        later = f"+{n * DAYS * SEED / calls * 86_400:.3f} seconds"
        bare.execute(f"insert into ornb_usage {seed}", {"n": n, "later": later})
        if n % 200 == 0:
            bare.commit()
            bare.execute("pragma wal_checkpoint(truncate)")
    bare.commit()
    bare.execute("pragma wal_checkpoint(truncate)")
    bare.execute("pragma cache_size = -2000")  # as it is by default, and for ornb


def _history(tracker: UsageTracker, bare: sqlite3.Connection, calls: int) -> None:
    first = tracker.df["started_at"].min()
    since, until = (first + timedelta(days=days) for days in (50, 51))
    span = tuple(f"{each:%Y-%m-%d %H:%M:%S.%f}" for each in (since, until))
    query = (
        "select * from ornb_usage where started_at >= ? and started_at < ? "
        "order by started_at, kernel, number"
    )
    ratios, ours, theirs = [], [], []
    for _ in range(3 * ROUNDS):
        theirs.append(_cpu(lambda: bare.execute(query, span).fetchall()))
        ours.append(_cpu(lambda: tracker.history(since=since, until=until)))
        ratios.append(ours[-1] / theirs[-1])
    found = len(tracker.history(since=since, until=until))
    what = f"history of one of {DAYS} days, {found:,} of {calls:,} calls, over the SQL"
    each = f"{1e6 * min(ours) / found:.1f} us a call, the SQL {1e6 * min(theirs) / found:.1f} us"
    row(what, ratios, bar=1.5, beside=each)


def _summary(tracker: UsageTracker, store: Store, bare: sqlite3.Connection, calls: int) -> None:
    """The same figures by plain SQL: its sums of money are of floats, ours are exact."""
    sums = ", ".join(
        f"sum({name})"
        for name in SUMMARY_COLUMNS
        if name in USAGE_COLUMNS and name != "cost_difference_usd"
    )
    sums += ", sum(cost_usd + coalesce(byok_usd, 0) - estimate_usd)"
    ended = "sum(status = 'error'), sum(status = 'stopped'), sum(cost_usd is null)"
    proxy = "sum(case when cost_source = 'proxy' then cost_usd end)"
    for by, key in (("model", "model"), ("day", "substr(started_at, 1, 10)")):
        figures = f"{key}, source, count(*), {ended}, {proxy}, {sums}"
        grouped = f"select {figures} from ornb_usage group by 1, 2"  # noqa: S608
        medians = [_median(key, name) for name in ("time_to_first_token_s", "duration_s")]
        seconds = f"select {key}, time_to_first_token_s, duration_s from ornb_usage"  # noqa: S608
        ratios, ours, theirs, less = [], [], [], []
        for _ in range(min(3, ROUNDS)):
            added = _cpu(lambda q=grouped: bare.execute(q).fetchall())
            middles = _cpu(lambda qs=medians: [bare.execute(q).fetchall() for q in qs])
            less.append(added + _cpu(lambda q=seconds: sum(1 for _ in bare.execute(q))))
            theirs.append(added + middles)
            ours.append(_cpu(lambda by=by: tracker.summary(by, calls=store)))
            ratios.append(ours[-1] / theirs[-1])
        each = ", ".join(
            f"{what} {1e6 * min(times) / calls:.1f} us"
            for what, times in (
                ("a call", ours),
                ("the SQL", theirs),
                ("sums and only reading the seconds", less),
            )
        )
        row(f"summary by {by} of {calls:,} calls, over the SQL", ratios, bar=1.5, beside=each)


def _median(key: str, name: str) -> str:
    rows = (
        f"select {key} as what, {name} as value, "  # noqa: S608
        f"row_number() over (partition by {key} order by {name}) as place, "
        f"count(*) over (partition by {key}) as size "
        f"from ornb_usage where {name} is not null"
    )
    middle = "place in ((size + 1) / 2, (size + 2) / 2)"
    return f"select what, avg(value) from ({rows}) where {middle} group by what"  # noqa: S608


def _cpu(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
