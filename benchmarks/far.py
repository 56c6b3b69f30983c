"""What a row of `ornb.batch` costs on processes of a cluster, over ornb's own threads.

Run: ``python benchmarks/far.py``. Bar: on Dask and on ipyparallel, two local workers each, a row
takes at most 2 x the CPU that it takes on threads, at 10,000 rows and a server that answers at
once. All processes count, but the server's: what is beyond is the way of the work there and back.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import time
from typing import TYPE_CHECKING, Any

os.environ["ORNB_OFFLINE_MODEL"] = "off"
os.environ["OPENROUTER_API_KEY"] = "sk-or-v1-0123456789"  # workers have the caller's

import psutil
from _server import running
from _table import QUICK, row

import ornb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

ROWS, ROUNDS, AT_ONCE = (3_000, 1, 64) if QUICK else (10_000, 3, 64)


def main() -> None:
    """Print a row for each cluster."""
    with running() as server, contextlib.ExitStack() as stack:
        ornb.connect(base_url=server.url)
        engines: dict[str, Executor | None] = {"threads": None}
        for name, start in (("Dask", _dask), ("ipyparallel", _engines)):
            if importlib.util.find_spec({"Dask": "distributed"}.get(name, name)) is None:
                print(f"{name} is not installed")
                continue
            engines[name] = stack.enter_context(start())
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
        for executor in engines.values():
            _row(executor, 4 * AT_ONCE, server.pid)  # warm: imports and connections of the workers
        for _ in range(ROUNDS):
            for name, executor in engines.items():
                found[name].append(_row(executor, ROWS, server.pid))
    ours = found.pop("threads")
    for name, rounds in found.items():
        ratios = [far[1] / near[1] for far, near in zip(rounds, ours, strict=True)]
        wall, near = (1e3 * min(each[0] for each in times) for times in (rounds, ours))
        beside = f"{wall:.2f} ms a row by the clock at best, threads {near:.2f} ms"
        row(f"CPU of one of {ROWS:,} rows on {name}, over threads", ratios, bar=2, beside=beside)


def _row(executor: Executor | None, rows: int, server: int) -> tuple[float, float]:
    """Seconds by the clock, and of CPU, for one."""
    texts = [f"review {n} is good" for n in range(rows)]
    wall, cpu = time.perf_counter(), _cpu(server)
    options: dict[str, Any] = {"progress": False, "resume": False, "max_tokens": 9}
    frame = ornb.batch(
        texts, None, "bench/n9-f0-g0-c0", executor=executor, concurrency=AT_ONCE, **options
    )
    wall, cpu = time.perf_counter() - wall, _cpu(server) - cpu
    if set(frame["status"]) != {"ok"}:
        raise SystemExit(frame["error"].value_counts().to_string())
    return wall / rows, cpu / rows


def _cpu(server: int) -> float:
    """Seconds of this process and of all that it has started, but the server."""
    here = psutil.Process()
    spent = [
        each.cpu_times() for each in (here, *here.children(recursive=True)) if each.pid != server
    ]
    return sum(times.user + times.system for times in spent)


@contextlib.contextmanager
def _dask() -> Iterator[Executor]:
    from distributed import Client, LocalCluster

    quiet = {"dashboard_address": ":0", "silence_logs": logging.ERROR}
    with (
        LocalCluster(n_workers=2, threads_per_worker=8, **quiet) as cluster,
        Client(cluster) as one,
    ):
        yield one.get_executor(pure=False)


@contextlib.contextmanager
def _engines() -> Iterator[Executor]:
    import ipyparallel

    cluster = ipyparallel.Cluster(n=2, log_level=logging.ERROR)
    try:
        yield cluster.start_and_connect_sync(activate=False).executor()
    finally:
        cluster.stop_cluster_sync()


if __name__ == "__main__":
    main()
