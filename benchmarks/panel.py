"""What the usage panel costs: an update after one more call, at 1,000 and at 1,000,000 calls.

Run: ``python benchmarks/panel.py``. Bars: an update at 1,000,000 calls at most 2 x one at 1,000; a
call recorded while the panel listens at most 2 x one that nobody listens to; at most 3 messages a
second with a call a millisecond, of at most 8 kB. Opening reads all calls once.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

from _table import row
from tracker import ROWS, _record, _reply, _seconds

from ornb.ledger.totals import Running
from ornb.ledger.tracker import UsageTracker
from ornb.notebook.panel import UsagePanel

if TYPE_CHECKING:
    from ornb.api.reply import Reply

MANY = 1_000_000
LOOKS = 50


def main() -> None:
    """Print the figures, ratios made within one run."""
    replies = [_reply(n) for n in range(1000)]
    _looks(replies)
    _listening(replies)
    _messages(replies)
    _memory(replies)


def _looks(replies: list[Reply]) -> None:
    few, many = UsageTracker(), UsageTracker()
    for reply in replies:
        few.record(reply)
    for _ in range(MANY // ROWS):
        _record(many, replies)
    opened = _seconds(many.totals)
    panels = UsagePanel(few), UsagePanel(many)
    for panel in panels:
        _quiet(panel)
    times: tuple[list[float], list[float]] = ([], [])
    for n in range(LOOKS):
        for panel, spent in zip(panels, times, strict=True):
            panel._tracker.record(replies[n])
            spent.append(_seconds(panel.look))
    of_few, of_many = map(statistics.median, times)
    opening = f"{1e3 * of_many:.2f} ms; opening reads all, {1e6 * opened / MANY:.1f} us a call"
    row(
        f"panel: update after one more call, at {MANY:,} over at 1,000",
        of_many / of_few,
        bar=2,
        beside=opening,
    )
    for panel in panels:
        panel.close()


def _listening(replies: list[Reply]) -> None:
    alone, heard = [], []
    for _ in range(5):
        alone.append(_thread_s(UsageTracker(), replies))
        tracker = UsageTracker()
        panel = UsagePanel(tracker)
        heard.append(_thread_s(tracker, replies))
        panel.close()
    ratios = [h / a for h, a in zip(heard, alone, strict=True)]
    row("panel: recording a call while it listens, over alone", ratios, bar=2)


def _thread_s(tracker: UsageTracker, replies: list[Reply]) -> float:
    """Seconds of this thread's own work, a call."""
    start = time.thread_time()
    _record(tracker, replies)
    return (time.thread_time() - start) / ROWS


def _messages(replies: list[Reply], seconds: float = 5.0) -> None:
    tracker = UsageTracker()
    panel = UsagePanel(tracker)
    sizes: list[int] = []
    panel._send = lambda message, buffers=None: sizes.append(len(str(message)))
    end, calls, used = time.monotonic() + seconds, 0, time.process_time()
    while time.monotonic() < end:
        tracker.record(replies[calls % len(replies)])
        calls += 1
        time.sleep(0.001)
    used = time.process_time() - used
    said = f"{calls:,} calls in {seconds:.0f} s, {used / seconds:.1%} of a core"
    row("panel: messages a second", len(sizes) / seconds, "/s", bar=3, beside=said)
    row("panel: largest message", max(sizes) / 1000, "kB", bar=8)
    panel.close()


def _memory(replies: list[Reply]) -> None:
    tracker = UsageTracker()
    _record(tracker, replies)
    tracemalloc.start()
    running = Running()
    running.take(tracker._tail)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    models = len(running.totals().groups)
    row(f"panel: memory of the sums of {ROWS:,} calls of {models} models", size / 1000, "kB")


def _quiet(panel: Any) -> None:
    """Let it look only when it is told to."""
    for stop in panel._stops:
        stop()


if __name__ == "__main__":
    main()
