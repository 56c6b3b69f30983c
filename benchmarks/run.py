"""All benchmarks, one after the other, and one table: ``make bench``.

Run: ``python benchmarks/run.py [--quick] [NAME ...]``. Every file here without a leading underscore
is a benchmark: a program that prints what it finds, and that calls `_table.row` for what belongs in
the table. Only soak.py (``make soak``) and million.py are run on their own: they take minutes, or
hours. The table, with day, machine, load and versions, replaces the one in README.md when all have
run at full size. A bar that was missed is then named, and makes the exit status 1. On a busy
machine ratios hold better than times, and neither well: the load stands in the table too.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import _table
from peers import PEERS, versions

HERE = Path(__file__).parent
README = HERE / "README.md"
BEGIN, END = "<!-- the table of make bench -->\n", "<!-- its end -->\n"
OURS = ["ornb", "requests", "urllib3", "pandas", "ipykernel", "ipywidgets", "anywidget"]
LONGEST_S = 900


def main() -> int:
    """Run them, print the table, and keep it if it is whole; 0 if all ended and held their bars."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these, without .py")
    parser.add_argument("--quick", action="store_true", help="small sizes: tries the benchmarks")
    parser.add_argument("--beside", metavar="COMMIT", help="its rows of a batch beside these")
    options = parser.parse_args()
    if options.beside:
        os.environ["BENCH_BESIDE"] = options.beside
    names = options.names or benchmarks()
    began, load = time.perf_counter(), os.getloadavg()[0]
    rows: list[list[str]] = []
    failed = []
    for name in names:
        print(f"\n== {name}", flush=True)
        found, status = run(name, quick=options.quick)
        rows += found
        failed += [name] if status else []
    took = time.perf_counter() - began
    table = page(rows, failed, load, took)
    print(f"\n{table}")
    if not (options.quick or options.names or failed):
        before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        README.write_text(before + BEGIN + table + END + after, encoding="utf-8")
    return _table.status(failed, rows, quick=options.quick)


def benchmarks() -> list[str]:
    """Give the names of all, the peers first: their environment serves others too."""
    found = {path.stem for path in HERE.glob("[!_]*.py")} - {"run", "soak", "million"}
    return sorted(found, key=lambda name: (name != "peers", name))


def run(name: str, *, quick: bool) -> tuple[list[list[str]], int]:
    """Run one in a process of its own; give its rows and its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        path.touch()
        environment = (
            os.environ | {"BENCH_ROWS": str(path)} | ({"BENCH_QUICK": "1"} if quick else {})
        )
        command = [sys.executable, HERE / f"{name}.py"]
        began = time.perf_counter()
        try:
            ended = subprocess.run(
                command, cwd=HERE.parent, env=environment, check=False, timeout=LONGEST_S
            )
            status = ended.returncode
        except subprocess.TimeoutExpired:
            print(f"{name} did not end within {LONGEST_S} s")
            status = 1
        print(f"({time.perf_counter() - began:.0f} s)", flush=True)
        return _table.read(path), status


def page(rows: list[list[str]], failed: list[str], load: float, took: float) -> str:
    """Give the table, and what it was made on, as Markdown."""
    day = datetime.now(UTC).date()
    mine = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in OURS)
    packages = sorted({package for packages, _ in PEERS.values() for package in packages})
    theirs = ", ".join(f"{name} {version}" for name, version in versions(*packages).items())
    lines = [
        f"{day}, Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, load {load:.1f} before and {os.getloadavg()[0]:.1f} after, "
        f"{took / 60:.0f} min. Median, and smallest to largest round.",
        "",
        "| what | ornb | rounds | bar | beside it |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {' | '.join(cells)} |" for cells in rows),
        "",
        f"With {mine}. Beside it: {theirs or 'none could be installed'}.",
    ]
    if failed:
        lines.append(f"Did not come to their end: {', '.join(failed)}.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
