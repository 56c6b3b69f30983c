"""What `ornb.batch` and `ornb.measure` add: 64 calls at once beside the slowest, and a row's work.

Run: ``python benchmarks/batch.py [--beside COMMIT]``; of a commit, the build of then takes turns
with this one. Bars: all of them take at most 1.15 x the slowest call, at 64
at once. The offline server answers each call after the same pause, so what is beyond one call is
ours: checking, hashing, pricing, handing out, booking. And where a server answers at once, CPU of a
row is at most 1.3 x that of a loop over a `requests` session in 64 threads, and 0.6 x that of
`openai`'s async client (`_rows.py`). A row that the store has answered costs 25 us, and one that is
asked, its usage row and its part of the table included, 1.5 kB without the data itself. CPU of one
of 100,000 rows is at most 1.1 x that of one of 1,000, and one that `ornb.decide` is asked about at
most 1.1 x one of a batch.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

os.environ["ORNB_OFFLINE_MODEL"] = "off"

from _server import running
from _table import QUICK, row
from peers import PYTHON, installed

import ornb
from ornb.runs.answers import Answer
from ornb.runs.data import table_of
from ornb.runs.rows import Requests
from ornb.runs.store import AnswerStore, _row

BURSTS = 3
AT_ONCE, ROUNDS, ROWS = 64, 2 if QUICK else 5, 20_000
FEW = 1_000 if QUICK else 2_000
MANY, BESIDE = (1_000, 1) if QUICK else (10_000, 3)
PAUSES_S = (1.0, 3.0)
KEPT = 5_000 if QUICK else 100_000
HELD = 500 if QUICK else 6_000
MODEL = "bench/n9-f0-g0-c0"


def main() -> None:
    """Print the figures, ratios made within one run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    before = os.environ.get("BENCH_BESIDE")
    parser.add_argument("--beside", metavar="COMMIT", default=before, help="ornb of then")
    options = parser.parse_args()
    ornb.connect(offline=True)
    _batch("warm up", 4, 0.0)  # pandas, tqdm, the catalogue
    for pause_s in PAUSES_S:
        for stored in (False, True):
            _at_once(pause_s, stored=stored)
        _measured(pause_s)
    _a_row()
    _resumed()
    _memory()
    _beside_others()
    _decided()
    _grown()
    if options.beside:
        _beside_before(options.beside)


def _at_once(pause_s: float, *, stored: bool) -> None:
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for n in range(ROUNDS):
            store = Path(folder) / "answers.sqlite3" if stored else None
            began = time.perf_counter()
            frame = _batch(f"{pause_s} {n}", AT_ONCE, pause_s, store=store)
            wall = time.perf_counter() - began
            ratios.append(wall / float(frame["duration_s"].max()))
    kept = "with" if stored else "without"
    what = f"batch of {AT_ONCE} calls of {pause_s:g} s at once, {kept} a store, over the slowest"
    row(what, ratios, bar=1.15)


def _measured(pause_s: float) -> None:
    """Bursts of `ornb.measure`, with plan, connections and frame, over the slowest of each."""
    ratios = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            frame = ornb.measure(
                "openai/gpt-4o-mini",
                concurrency=AT_ONCE,
                repeats=BURSTS,
                warmup=0,
                max_tokens=5,
                progress=False,
                ornb={"simulate": {"first_token_s": pause_s, "chunk_s": 0}},
            )
        slowest = frame.groupby("burst")["duration_s"].max().sum()
        ratios.append((time.perf_counter() - began) / float(slowest))
    what = (
        f"measure, {BURSTS} bursts of {AT_ONCE} calls of {pause_s:g} s at once, over their slowest"
    )
    row(what, ratios, bar=1.15)


def _a_row() -> None:
    """What one row costs before its call: filled in, hashed, priced."""
    data = [f"Row {n}: {'a few more words ' * (n % 9)}" for n in range(ROWS)]
    began = time.process_time()
    plan = ornb.batch(data, "Sum up: {{text}}", "openai/gpt-4o-mini", max_tokens=9, dry_run=True)
    spent = time.process_time() - began
    row(f"plan of a batch of {plan.calls:,} rows, a row", 1e6 * spent / ROWS, "us")


def _resumed() -> None:
    """What a row costs that the store has answered, from the texts to the table."""
    texts = [f"review {n} is good" for n in range(KEPT)]
    request = {"max_tokens": 9, "model": MODEL}
    with tempfile.TemporaryDirectory() as folder, running() as server:
        ornb.connect("sk-or-v1-0123456789", base_url=server.url)
        store = AnswerStore(path := Path(folder) / "answers.sqlite3")
        rows = Requests(table_of(texts), "{{text}}", None, request, server.url)
        said = Answer("word " * 9, source="live", cost_usd=0.0001, generation_id="gen-1790000000")
        store._write([_row(str(each.digest), said) for each in rows])
        store.close()
        rounds = []
        for _ in range(1 if QUICK else 3):
            gc.collect()
            began = time.process_time()
            frame = ornb.batch(texts, model=MODEL, max_tokens=9, store=path, progress=False)
            rounds.append(1e6 * (time.process_time() - began) / KEPT)
            if set(frame["status"]) != {"cached"}:
                raise SystemExit("the store was not resumed")
    row(f"resume of {KEPT:,} answered rows from the store, a row", rounds, "us", bar=25)
    ornb.connect(offline=True)


def _memory() -> None:
    """What a row takes at most while it is under way or done."""
    texts = [f"review {n} is good" for n in range(HELD)]
    options: dict[str, object] = {"model": MODEL, "max_tokens": 9, "concurrency": AT_ONCE}
    with running() as server:
        ornb.connect("sk-or-v1-0123456789", base_url=server.url)
        ornb.batch(texts[: 2 * AT_ONCE], progress=False, **options)
        gc.collect()
        tracemalloc.start()
        frame = ornb.batch(texts, progress=False, **options)
        held, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    what = f"memory of one of {len(frame):,} rows, at most"
    row(what, most / HELD / 1000, "kB", bar=1.5, beside=f"{held / HELD / 1000:.2f} kB at the end")
    ornb.connect(offline=True)


def _grown() -> None:
    """A row of many over one of few, in processes of their own: what is done again shows.

    Few come before and after the many, which take minutes: a machine does not stay as quick.
    """
    few, many = (500, 5_000) if QUICK else (1_000, 100_000)
    with running() as server:
        before, (far,), after = (
            [_told(sys.executable, "ornb", server.url, rows)["cpu"] for _ in range(times)]
            for rows, times in ((few, 3), (many, 1), (few, 3))
        )
    near = [*before, *after]
    row(
        f"CPU of one of {many:,} rows over one of {few:,}",
        [far / each for each in near],
        bar=1.1,
        beside=f"{1e3 * statistics.median(near):.2f} ms a row, then {1e3 * far:.2f} ms",
    )


def _beside_before(commit: str) -> None:
    """A row of a batch over that of another build, in turns; of few rows, should it grow."""
    here, rounds = Path(__file__).parents[1], []
    git = ["git", "-C", str(here), "worktree"]
    with tempfile.TemporaryDirectory() as folder, running() as server:
        tree = f"{folder}/before"
        subprocess.run([*git, "add", "--quiet", "--detach", tree, commit], check=True)
        try:
            for _ in range(BESIDE):
                ours, theirs = (
                    _told(sys.executable, "ornb", server.url, FEW, path=str(path))
                    for path in (here, tree)
                )
                rounds.append((ours["cpu"], theirs["cpu"]))
        finally:
            subprocess.run([*git, "remove", "--force", tree], check=True)
    ours_ms, theirs_ms = (1e3 * min(each) for each in zip(*rounds, strict=True))
    beside = f"{ours_ms:.2f} ms a row at best, then {theirs_ms:.2f} ms"
    what = f"CPU of one of {FEW:,} rows, 64 at once, over ornb of {commit}"
    row(what, [ours / theirs for ours, theirs in rounds], beside=beside)


def _told(python: str, name: str, url: str, rows: int, path: str = "") -> dict[str, float]:
    command = [python, Path(__file__).with_name("_rows.py"), name, url, str(rows)]
    own = {"PYTHONPATH": path} if path else {}
    told = subprocess.run(
        command, env={**os.environ, **own}, capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return found


def _decided() -> None:
    """A row that is decided about beside one that is answered, in turns."""
    with running() as server:
        rounds = [
            [_told(sys.executable, name, server.url, MANY)["cpu"] for name in ("decide", "ornb")]
            for _ in range(BESIDE)
        ]
    row(
        f"CPU of one of {MANY:,} rows of decide, 64 at once, over batch",
        [decide / batch for decide, batch in rounds],
        bar=1.1,
        beside=f"{1e3 * min(decide for decide, _ in rounds):.2f} ms a row at best",
    )


def _beside_others() -> None:
    """A row of a batch, whole, beside others in the same run, each in a process of its own."""
    pythons = {"ornb": sys.executable}
    pythons |= {name: str(PYTHON) for name in ("requests", "openai") if installed(name)}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in pythons}
    with running() as server:
        for _ in range(BESIDE):
            for name, python in pythons.items():
                rows = MANY // 10 if name == "openai" else MANY  # it is slow, and flat
                found[name].append(_told(python, name, server.url, rows))
    ours, bars = found.pop("ornb"), {"requests": 1.3, "openai": 0.6}
    for name, rounds in found.items():
        for kind, bar in (("cpu", bars[name]), ("wall", None)):
            ratios = [a[kind] / b[kind] for a, b in zip(ours, rounds, strict=True)]
            what = {"cpu": "CPU", "wall": "seconds"}[kind]
            cost = f"{1e3 * min(each[kind] for each in rounds):.2f} ms a row at best"
            of = f"{what} of one of {MANY:,} rows, 64 at once, over {name}"
            row(of, ratios, bar=bar, beside=cost)


def _batch(words: str, rows: int, pause_s: float, **options: object):  # noqa: ANN202
    return ornb.batch(
        [f"{words}: {n}" for n in range(rows)],
        model="openai/gpt-4o-mini",
        concurrency=AT_ONCE,
        max_tokens=5,
        progress=False,
        ornb={"simulate": {"first_token_s": pause_s, "chunk_s": 0}},
        **options,
    )


if __name__ == "__main__":
    main()
