"""What stays flat over hours of use: memory, time a turn, messages a second.

Run: ``python benchmarks/soak.py [calls] [turns] [widgets] [stream]`` (some six minutes for all;
each has a size: ``--calls 20000 --turns 500 --widgets 100 --tokens 72000``). A bar that was missed
is named at the end, and makes the exit status 1. Every part is a process of its own that asks the
offline server, so that what it keeps is seen in its resident memory.

- calls: answers one after the other, the ledger in a file, the usage panel open, three listeners.
- turns: one chat that gets longer; each question sends all that was said before.
- widgets: pickers, chats and panels open at once, all chats streaming.
- stream: an answer as long as an hour of a model at 20 tokens a second. The hour is not waited for:
  tokens come faster, and the patience of the client is cut by the same factor.

Messages to the page are counted and weighed where a kernel would hand them to Jupyter.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from contextlib import contextmanager, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comm
from _table import QUICK, read, row, status
from comm.base_comm import BaseComm

import ornb
from ornb.api.client import Client, Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODEL = "openai/gpt-4o-mini"
SMALLER = 20 if QUICK else 1
HOUR_S, RATE = 3600.0, 20.0
"""The stream that is meant: so many seconds, at so many tokens a second."""
PATIENCE_S = 90.0
"""For the next byte, as `Timeouts.between_bytes` has it."""
QUICKLY = {"tokens": 4, "chunk_s": 0}
STREAM_S = 90.0
"""What the hour is pressed into, at best."""


def main() -> int:
    """Run the parts, each in a process of its own; 0 if all ended and held their bars."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--calls", type=int, default=20_000 // SMALLER)
    parser.add_argument("--turns", type=int, default=500 // SMALLER)
    parser.add_argument("--widgets", type=int, default=100 // SMALLER)
    parser.add_argument("--tokens", type=int, default=int(HOUR_S * RATE) // SMALLER)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        ornb.connect(offline=True)
        PARTS[options.parts[0]](options)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(os.environ.get("BENCH_ROWS") or Path(folder) / "rows")
        rows.touch()
        failed = [part for part in options.parts or PARTS if _apart(part, rows)]
        return status(failed, read(rows))


def _apart(part: str, rows: Path) -> int:
    command = [sys.executable, *sys.argv, "--here"]
    others = {*PARTS} - {part}
    command = [each for each in command if each not in others]
    if part not in command:
        command.append(part)
    environment = os.environ | {"ORNB_OFFLINE_MODEL": "off", "BENCH_ROWS": str(rows)}
    return subprocess.run(command, env=environment, check=False).returncode


# --- what is looked at ----------------------------------------------------------------------------


class Heard(BaseComm):
    """Stands where a kernel hands messages to Jupyter: keeps when, and how many bytes."""

    sent: list[tuple[float, int]] = []  # noqa: RUF012 - one for all, on purpose

    def publish_msg(self, msg_type: str, data: Any = None, **_: Any) -> None:
        """Weigh a message."""
        self.sent.append((time.monotonic(), len(json.dumps(data, default=str))))


comm.create_comm = Heard  # type: ignore[assignment]


def rss_mb() -> float:
    """Give the resident memory of this process, garbage collected, in MB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def busiest_second(sent: list[tuple[float, int]]) -> int:
    """Give the most messages within any one second."""
    times, first, most = [at for at, _ in sent], 0, 0
    for last, at in enumerate(times):
        while times[first] < at - 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def growth(values: list[float]) -> float:
    """Give what the last fifth of some costs is over the first, medians."""
    fifth = max(1, len(values) // 5)
    return statistics.median(values[-fifth:]) / statistics.median(values[:fifth])


@contextmanager
def timed(times: list[float]) -> Iterator[None]:
    """Add how long a block took, in s of this process's own work."""
    began = time.process_time()
    yield
    times.append(time.process_time() - began)


# --- the parts ------------------------------------------------------------------------------------


def calls(options: argparse.Namespace) -> None:
    """One call after the other, with all that listens."""
    heard = {"a": 0, "b": 0, "c": 0}

    def listener(name: str) -> Callable[[], None]:
        def hear() -> None:
            heard[name] += 1

        return hear

    with tempfile.TemporaryDirectory() as folder:
        store = ornb.usage.persist(Path(folder) / "usage.sqlite")
        stops = [ornb.usage.on_change(listener(name)) for name in heard]
        panel = ornb.usage.panel()
        step, times, memory = max(1, options.calls // 20), [], []
        for n in range(options.calls):
            with timed(times):
                ornb.ask("Hi", MODEL, max_tokens=4, ornb={"simulate": QUICKLY})
            if (n + 1) % step == 0:
                memory.append(rss_mb())
        in_store = len(ornb.usage.history())
        size = (Path(folder) / "usage.sqlite").stat().st_size / options.calls
        panel.close()
        for stop in stops:
            stop()
        store.close()
    if not in_store == len(ornb.usage) == options.calls == min(heard.values()):
        raise RuntimeError(f"{in_store} in the store, {len(ornb.usage)} rows, heard {heard}")
    half = len(memory) // 2
    kept = 1e6 * (memory[-1] - memory[half]) / (step * (len(memory) - 1 - half))
    row(f"{options.calls:,} calls: memory kept by one, over the second half", kept, "B", bar=1500)
    row("the same: CPU of a call, the last fifth over the first", growth(times), bar=1.25)
    print(
        f"memory by twentieths, MB: {' '.join(f'{mb:.0f}' for mb in memory)}; "
        f"{1e3 * statistics.median(times):.2f} ms CPU a call, {size:.0f} B a row in the store, "
        f"{len(Heard.sent):,} messages to the page, {busiest_second(Heard.sent)} in the busiest "
        f"second; of the memory, {_row_bytes():.0f} B are the row itself"
    )


def _row_bytes() -> float:
    """Give what a row of the ledger takes, without the words that all rows share."""
    rows = ornb.usage._tail[-200:]
    counted: dict[int, int] = {}
    for values in rows:
        for each in (values, *values):
            counted[id(each)] = sys.getsizeof(each)
    return sum(counted.values()) / max(1, len(rows))


def turns(options: argparse.Namespace) -> None:
    """One chat that gets longer and longer."""
    chat = ornb.Chat(MODEL)
    with redirect_stdout(io.StringIO()):
        chat.keep()  # the output that stays, which the page writes
    chat._on_message(chat, {"type": "hello", "page": "soak", "writes": True}, [])
    times, memory, weights = [], [], []
    for n in range(options.turns):
        before = len(Heard.sent)
        with timed(times):
            chat.ask(f"Question {n}", ornb={"simulate": QUICKLY | {"tokens": 30}})
        weights.append(float(sum(size for _, size in Heard.sent[before:])))
        if (n + 1) % max(1, options.turns // 10) == 0:
            memory.append(rss_mb())
    if len(chat.conversation) != 2 * options.turns:
        raise RuntimeError(f"{len(chat.conversation)} turns are there")
    each = 1e3 * (memory[-1] - memory[0]) / (options.turns - options.turns // 10)
    row(f"{options.turns} turns in one chat: bytes to the live chat, last fifth over the first",
        growth(weights), bar=1.25)  # fmt: skip
    row("the same: memory kept by a turn of 30 tokens", each, "kB", bar=100)
    outputs = list(chat._kept._bundles(chat._kept.pieces)) if chat._kept else []
    kept = len(json.dumps(outputs)) / options.turns
    row("the same: bytes of the outputs that stay, for each turn", kept, "B", bar=4000)
    row("the same: CPU of the last fifth over the first", growth(times), bar=1.25)
    print(
        f"CPU of a turn by fifths, ms: {' '.join(f'{1e3 * each:.1f}' for each in _fifths(times))}; "
        f"memory by tenths, MB: {' '.join(f'{mb:.0f}' for mb in memory)}; sent to the "
        f"page {sum(weights) / 1e6:.1f} MB in all, kept in {len(outputs)} outputs"
    )
    chat.close()


def widgets(options: argparse.Namespace) -> None:
    """Many widgets open at once, all of their chats streaming; then opened and closed again."""
    began, before = time.perf_counter(), rss_mb()
    opened = Opened(options.widgets)
    took, after = time.perf_counter() - began, rss_mb()
    print(f"{opened.counts} opened in {took:.1f} s")
    row(
        f"memory of one of {options.widgets} widgets",
        1e3 * (after - before) / options.widgets,
        "kB",
    )
    sent, took, cpu = opened.stream()
    at_once = len(opened.chats)
    later = [each for each in sent if each[0] > sent[0][0] + 1]
    row(
        f"{options.widgets} widgets, {at_once} answers at once: messages in the busiest second",
        busiest_second(later),
        "messages",
        bar=30 + at_once,
        beside=f"in the first, with {at_once} questions, {busiest_second(sent)}",
    )
    print(
        f"{len(sent):,} messages, {sum(size for _, size in sent) / 1e6:.1f} MB in {took:.1f} s, "
        f"{cpu / took:.0%} of a core"
    )
    left, memory = opened.close(), []
    del opened
    for _ in range(6):
        again = Opened(options.widgets)
        left += again.close()
        del again
        memory.append(rss_mb())
    each = 1e3 * (memory[-1] - memory[1]) / (4 * options.widgets)
    row("memory that a widget leaves when it is closed", each, "kB", bar=20)
    row(
        "widgets that were closed and stay",
        sum(ref() is not None for ref in left),
        "widgets",
        bar=0,
    )


class Opened:
    """Widgets: a third pickers, a third chats, the rest panels."""

    def __init__(self, count: int) -> None:
        wish = {"simulate": {"tokens": 400, "chunk_s": 0.03}}
        self.pickers = [ornb.ModelPicker() for _ in range(count // 3)]
        self.chats = [ornb.Chat(picker, ornb=wish) for picker in self.pickers]
        self.panels = [_panel() for _ in range(count - 2 * (count // 3))]
        for chat in self.chats:
            chat._on_message(chat, {"type": "hello", "page": "soak"}, [])
        for picker in self.pickers:
            picker.value = MODEL

    @property
    def counts(self) -> str:
        """Say how many of each there are."""
        return f"{len(self.pickers)} pickers, {len(self.chats)} chats, {len(self.panels)} panels"

    def stream(self) -> tuple[list[tuple[float, int]], float, float]:
        """Ask in all chats; give the messages, and the seconds by the clock and by the CPU."""
        Heard.sent.clear()
        began, cpu = time.perf_counter(), time.process_time()
        for chat in self.chats:
            chat._on_message(chat, {"type": "ask", "text": "Go on", "id": "1"}, [])
        while any(chat.busy for chat in self.chats):
            time.sleep(0.05)
        return list(Heard.sent), time.perf_counter() - began, time.process_time() - cpu

    def close(self) -> list[weakref.ref[Any]]:
        """Close them, and give what tells whether they are gone."""
        everything = [*self.pickers, *self.chats, *self.panels]
        for widget in everything:
            widget.close()
        return [weakref.ref(widget) for widget in everything]


def _panel() -> Any:
    from ornb.ledger.tracker import UsageTracker
    from ornb.notebook.panel import UsagePanel

    return UsagePanel(UsageTracker())


def stream(options: argparse.Namespace) -> None:
    """An hour's answer, through a chat that shows it."""
    pace = STREAM_S / (HOUR_S * RATE)
    scale = 1 / (RATE * pace)
    server = ornb.client()
    patience = Timeouts(first_byte=PATIENCE_S / scale, between_bytes=PATIENCE_S / scale)
    client = Client(server._service.key.reveal(), server.base_url, timeouts=patience)
    chat = ornb.Chat(
        MODEL, client=client, ornb={"simulate": {"tokens": options.tokens, "chunk_s": pace}}
    )
    chat._on_message(chat, {"type": "hello", "page": "soak"}, [])
    ended, marks = threading.Event(), [(0, time.process_time(), rss_mb())]
    watch = threading.Thread(target=_watch, args=(chat, options.tokens, ended, marks))
    watch.start()
    began = time.perf_counter()
    reply = chat.ask("Go on")
    took = time.perf_counter() - began
    ended.set()
    watch.join()
    if reply.status != "ok" or reply.usage.completion_tokens != options.tokens:
        raise RuntimeError(f"{reply!r}")
    rates = [1e6 * (b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(marks)]
    kept = 1e6 * (marks[-1][2] - marks[0][2]) / marks[-1][0]
    meant = options.tokens / RATE / 60
    row(
        f"an answer of {options.tokens:,} tokens ({meant:.0f} min at {RATE:.0f} a second): "
        "CPU of a token, last fifth over first",
        growth(rates),
        bar=1.5,
    )
    row("the same: memory kept by a token", kept, "B", bar=1000)
    print(
        f"in {took:.0f} s, {60 * meant / took:.0f} x as fast, and no silence above "
        f"{patience.between_bytes:.1f} s allowed; {len(Heard.sent):,} messages, "
        f"{sum(size for _, size in Heard.sent) / 1e6:.1f} MB; CPU of a token by fifths, us: "
        f"{' '.join(f'{rate:.0f}' for rate in _fifths(rates))}; {len(reply.text) / 1e3:.0f} kB of "
        f"text, {sum(map(len, reply.raw_chunks)) / 1e6:.1f} MB of chunks"
    )
    chat.close()


def _watch(
    chat: Any, tokens: int, ended: threading.Event, marks: list[tuple[int, float, float]]
) -> None:
    """Note every twentieth of the answer: tokens read, CPU seconds, MB."""
    while not ended.wait(0.05):
        call = chat._call
        read = len(call.stream._assembly._chunks) if call is not None and call.stream else 0
        if read - marks[-1][0] >= tokens / 20:
            marks.append((read, time.process_time(), rss_mb()))


def _fifths(values: list[float]) -> list[float]:
    size = max(1, len(values) // 5)
    return [
        statistics.median(values[n : n + size]) for n in range(0, size * 5, size) if n < len(values)
    ]


PARTS = {"calls": calls, "turns": turns, "widgets": widgets, "stream": stream}


if __name__ == "__main__":
    sys.exit(main())
