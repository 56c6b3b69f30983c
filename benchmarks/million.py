"""A file of many texts through `ornb.batch`, killed half-way, and run again until all is answered.

Run: ``python benchmarks/million.py [ROWS]``, by default 1,000,000. A server of its own answers at
once and counts: no row may be asked twice, but the 64 that were under way when the process was
killed (SIGKILL). Says time, CPU, memory and the size of the store; ends in an error if a row was
lost, or paid twice.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["ORNB_OFFLINE_MODEL"] = "off"

import pandas
import psutil
import requests
from _server import running

AT_ONCE = 64
MODEL = "bench/n9-f0-g0-c0-counted"


def main() -> int:
    """Run it twice, the first time up to its middle; then once more, for what is all answered."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder, running() as server:
        data, store = _texts(Path(folder), rows), Path(folder) / "answers.sqlite3"
        print(f"{rows:,} texts, {data.suffix}, {data.stat().st_size / 1e6:,.1f} MB", flush=True)
        _killed(data, store, server.url, rows // 2)
        before = _count(server.url)
        print(f"killed when {before['requests']:,} were asked, {_size(store)}", flush=True)
        for what in ("resumed", "all answered already"):
            told = _asked(data, store, server.url)
            print(f"{what}: {json.dumps(told)}, {_size(store)}", flush=True)
        asked = _count(server.url)
        twice = asked["requests"] - asked["distinct"]
        print(f"{asked['requests']:,} requests for {rows:,} rows: {twice} asked twice", flush=True)
        whole = told["counts"] == {"cached": rows} and asked["distinct"] == rows
        return 0 if whole and twice <= AT_ONCE else 1


def _texts(folder: Path, rows: int) -> Path:
    """A parquet file; without pyarrow, which reads and writes it, a CSV."""
    frame = pandas.DataFrame({"text": [f"review {n} is good" for n in range(rows)]})
    if importlib.util.find_spec("pyarrow") is None:
        frame.to_csv(path := folder / "texts.csv", index=False)
    else:
        frame.to_parquet(path := folder / "texts.parquet")
    return path


def _killed(data: Path, store: Path, url: str, half: int) -> None:
    began = time.perf_counter()
    command = [sys.executable, __file__, "--ask", data, store, url]
    with subprocess.Popen(command) as process:
        while process.poll() is None and _count(url)["requests"] < half:
            time.sleep(0.2)
        if process.poll() is None:
            used = psutil.Process(process.pid)
            memory, cpu = used.memory_info().rss / 1e6, used.cpu_times().user
            process.kill()
            print(
                f"first half: {time.perf_counter() - began:,.1f} s, {cpu:,.1f} s of CPU, "
                f"{memory:,.0f} MB when killed"
            )


def _asked(data: Path, store: Path, url: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--ask", data, store, url]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return found


def _ask(data: str, store: str, url: str) -> None:
    """In a process of its own: say what it took."""
    import ornb

    ornb.connect("sk-or-v1-0123456789", base_url=url)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = time.perf_counter(), time.process_time()
    done: Any = ornb.batch(
        data, None, MODEL, store=store, max_tokens=9, concurrency=AT_ONCE, progress=False
    )
    told = {
        "counts": dict(done.counts),
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_us_a_row": round(1e6 * (time.process_time() - cpu) / max(1, done.rows), 1),
        "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
        "MB_before": before // 1000,
        "left_out": done.left_out,
    }
    print(json.dumps(told), flush=True)


def _count(url: str) -> dict[str, int]:
    counted: dict[str, int] = requests.get(f"{url}/count", timeout=60).json()
    return counted


def _size(store: Path) -> str:
    files = store.parent.glob(f"{store.name}*")
    return f"store {sum(file.stat().st_size for file in files) / 1e6:,.1f} MB"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        _ask(*sys.argv[2:])
    else:
        sys.exit(main())
