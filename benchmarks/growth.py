"""What a unit costs at n and at 10 n, for each public verb that takes many: work done again shows.

Run: ``python benchmarks/growth.py [NAME ...]``. Bar: CPU of a unit (a row, a call, a model, a turn)
at 10 n at most 1.15 x that at n. A server in a process of its own answers each call at once, so
that all the rest is ours. n is large enough that what is done once, such as an import or a plan,
does not hide what grows. A round is one ratio: n before 10 n and after it, for no machine stays as
quick as it was.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["ORNB_OFFLINE_MODEL"] = "off"

import _server
from _table import QUICK, row
from catalog import _made_up
from tracker import _reply

import ornb
from ornb.api.client import OPENROUTER
from ornb.catalog import to_frame
from ornb.ledger.tracker import UsageTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Work = Callable[[], object]

BAR = 1.15
ROUNDS = 1 if QUICK else 5
MODEL = "bench/n9-f0-g0-c0"
ASKED = {"max_tokens": 9}
REPLIES = [_reply(n) for n in range(1000)]


def main() -> None:
    """Print a row a verb."""
    chosen = sys.argv[1:] or list(VERBS)
    with _server.running() as server, tempfile.TemporaryDirectory() as folder:
        ornb.connect("sk-or-v1-0123456789", base_url=server.url)
        ornb.models()
        for name in chosen:
            ratios, units = _grown(name, Path(folder))
            few, many = (f"{cost:.3g} us" for cost in units)
            n = VERBS[name][0]
            row(
                f"{name}: CPU of one at {10 * n:,} over at {n:,}",
                ratios,
                bar=BAR,
                beside=f"{few} each, then {many}",
            )


def _grown(name: str, folder: Path) -> tuple[list[float], tuple[float, float]]:
    """Give the ratio of each round, and what one costs at either size, in us."""
    n, repeats, prepare = VERBS[name]
    _unit(prepare, n, folder)  # warm: imports, connections, caches
    few, many = [], []
    for _ in range(ROUNDS):
        before = [_unit(prepare, n, folder) for _ in range(repeats)]
        many.append(_unit(prepare, 10 * n, folder))
        after = [_unit(prepare, n, folder) for _ in range(repeats)]
        few.append(statistics.median([*before, *after]))
    ratios = [late / early for early, late in zip(few, many, strict=True)]
    return ratios, (1e6 * statistics.median(few), 1e6 * statistics.median(many))


def _unit(prepare: Any, n: int, folder: Path) -> float:
    """Do it once at one size; seconds of this process for one of n."""
    with contextlib.ExitStack() as stack, contextlib.redirect_stdout(io.StringIO()):
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        work: Work = stack.enter_context(contextlib.contextmanager(prepare)(n, path))
        gc.collect()
        began = time.process_time()
        work()
        spent = time.process_time() - began
        ornb.usage.clear()
        return spent / n


# --- what is done: prepared, then timed -----------------------------------------------------------


def _batch(n: int, folder: Path, *, stored: bool = False) -> Iterator[Work]:
    store = folder / "answers.sqlite3" if stored else None
    texts = [f"review {i} is good" for i in range(n)]
    options: dict[str, Any] = {"concurrency": 64, "progress": False, "resume": stored}
    yield lambda: ornb.batch(texts, model=MODEL, store=store, **options, **ASKED)


def _measure(n: int, folder: Path) -> Iterator[Work]:
    del folder
    options: dict[str, Any] = {"concurrency": 8, "repeats": n // 8, "warmup": 0}
    yield partial(ornb.measure, MODEL, "Hi", progress=False, **options)


def _models(n: int, folder: Path) -> Iterator[Work]:
    del folder
    records = _catalogue(n)
    yield lambda: to_frame(records)


def _tiers(n: int, folder: Path) -> Iterator[Work]:
    del folder
    seed = to_frame(_made_up())
    needed = ["prompt_usd_per_million", "completion_usd_per_million", "is_router", "is_free"]
    frame = seed[needed].iloc[[i % len(seed) for i in range(n)]]
    yield lambda: ornb.tiers(frame)


def _price_history(n: int, folder: Path) -> Iterator[Work]:
    """Of as many models as there were never: they join as the newest point."""
    del folder
    frame = to_frame(_catalogue(n))
    frame.attrs["url"] = OPENROUTER
    yield lambda: ornb.price_history(frame.index.tolist(), live=frame)


def _catalogue(n: int) -> list[dict[str, Any]]:
    seed = _made_up()
    return [{**seed[i % len(seed)], "id": f"{seed[i % len(seed)]['id']}-{i}"} for i in range(n)]


def _recorded(n: int) -> UsageTracker:
    tracker = UsageTracker()
    _fill(tracker, n)
    return tracker


def _fill(tracker: UsageTracker, n: int) -> None:
    for reply in islice(cycle(REPLIES), n):
        tracker.record(reply, estimate_usd=0.001)


def _record_usage(n: int, folder: Path) -> Iterator[Work]:
    del folder
    yield partial(_fill, UsageTracker(), n)


def _df(n: int, folder: Path) -> Iterator[Work]:
    del folder
    tracker = _recorded(n)
    yield lambda: tracker.df


def _summary(n: int, folder: Path) -> Iterator[Work]:
    del folder
    tracker = _recorded(n)
    yield tracker.summary


def _panel(n: int, folder: Path) -> Iterator[Work]:
    del folder
    tracker = _recorded(n)
    yield lambda: tracker.panel().close()


def _history(n: int, folder: Path) -> Iterator[Work]:
    tracker = _recorded(n)
    store = tracker.persist(folder / "usage.sqlite3")
    yield tracker.history
    store.close()


def _chat(n: int, folder: Path) -> Iterator[Work]:
    del folder
    chat = ornb.Chat(MODEL)
    chat.keep()  # the output that stays in the notebook, which the page writes
    chat._on_message(chat, {"type": "hello", "page": "growth", "writes": True}, [])

    def work() -> None:
        for i in range(n):
            chat.ask(f"Question {i}", **ASKED)

    yield work
    chat.close()


def _record(n: int, folder: Path) -> Iterator[Work]:
    def work() -> None:
        with ornb.record(folder / "lesson.jsonl"):
            _ask(n)

    yield work


def _replay(n: int, folder: Path) -> Iterator[Work]:
    for work in _record(n, folder):
        work()

    def again() -> None:
        with ornb.replay(folder / "lesson.jsonl", pace="instant"):
            _ask(n)

    yield again


def _ask(n: int) -> None:
    for i in range(n):
        ornb.ask(f"Question {i}", MODEL, **ASKED)


def _compare(n: int, folder: Path) -> Iterator[Work]:
    """One comparison after the other, all of them open; of models there are 16 at most."""
    del folder
    models, made = [f"bench/n9-f0-g0-c{i}" for i in range(4)], []

    def work() -> None:
        made.extend(ornb.compare("Hi", models, **ASKED) for _ in range(n))

    yield work
    for each in made:
        each.close()


VERBS: dict[str, tuple[int, int, Any]] = {
    "a row of batch": (400, 3, _batch),
    "a row of batch with a store": (200, 3, partial(_batch, stored=True)),
    "a call of measure": (80, 3, _measure),
    "a model of models": (400, 5, _models),
    "a model of tiers": (100_000, 5, _tiers),
    "a model of price_history": (4_000, 3, _price_history),
    "usage.record of a call": (20_000, 3, _record_usage),
    "a call of usage.df": (10_000, 3, _df),
    "a call of usage.summary": (10_000, 3, _summary),
    "a call of usage.panel": (10_000, 3, _panel),
    "a call of usage.history": (5_000, 3, _history),
    "a turn of Chat": (20, 3, _chat),
    "a call of record": (150, 3, _record),
    "a call of replay": (150, 3, _replay),
    "a comparison of compare": (8, 3, _compare),
}
"""What one is, to n, times that is done at n in a round, and how."""


if __name__ == "__main__":
    main()
