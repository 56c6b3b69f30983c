"""The long runs at small sizes, and what becomes of a bar that is missed.

Of the figures only those are held here that a busy machine cannot blur: what is counted, and memory
within generous bounds. ``make soak`` holds all of them, at full size.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one of the programs to its end."""
    names = {name: value for name, value in os.environ.items() if not name.startswith("BENCH_")}
    return subprocess.run(
        [sys.executable, BENCHMARKS / program, *arguments],
        env=names | {"PYTHONPATH": str(BENCHMARKS), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )


def figures(rows: Path) -> dict[str, float]:
    """What was measured, each row by its words without the sizes."""
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    return {what: float(median.split()[0].replace(",", "")) for what, median, *_ in found}


def soaked(part: str, folder: Path, **sizes: int) -> dict[str, float]:
    arguments = [word for name, size in sizes.items() for word in (f"--{name}", str(size))]
    rows = folder / "rows"
    done = run("soak.py", part, *arguments, BENCH_ROWS=str(rows), BENCH_QUICK="1")
    assert done.returncode == 0, done.stdout + done.stderr
    return figures(rows)


@pytest.mark.long
def test_calls_keep_little_and_are_all_there(tmp_path: Path) -> None:
    found = soaked("calls", tmp_path, calls=400)  # it fails if a row or a listener is left out
    assert found["400 calls: memory kept by one, over the second half"] < 10_000  # B


@pytest.mark.long
def test_the_bytes_of_a_chat_grow_no_faster_than_it(tmp_path: Path) -> None:
    found = soaked("turns", tmp_path, turns=25)
    live = "25 turns in one chat: bytes to the live chat, last fifth over the first"
    assert found[live] < 1.25
    assert found["the same: bytes of the outputs that stay, for each turn"] < 4000
    assert found["the same: memory kept by a turn of 30 tokens"] < 400  # kB


@pytest.mark.long
def test_closed_widgets_are_gone_and_open_ones_say_little(tmp_path: Path) -> None:
    found = soaked("widgets", tmp_path, widgets=6)
    assert found["widgets that were closed and stay"] == 0
    assert found["6 widgets, 2 answers at once: messages in the busiest second"] <= 32
    assert found["memory that a widget leaves when it is closed"] < 200  # kB


@pytest.mark.long
def test_a_long_answer_keeps_little_more_than_its_chunks(tmp_path: Path) -> None:
    found = soaked("stream", tmp_path, tokens=2400)  # it fails if a token is left out
    assert found["the same: memory kept by a token"] < 5000  # B


# --- a bar that is missed -------------------------------------------------------------------------

TWO_ROWS = """
from _table import row
row("held", 1, bar=2)
row("dear", [3, 5, 4], "ms", bar=2)
"""


def benched(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`run.py` over one benchmark, written here."""
    (folder / "mine.py").write_text(code)
    return run("run.py", str(folder / "mine"), *arguments)


def test_a_missed_bar_is_named_after_the_table_and_fails_the_program(tmp_path: Path) -> None:
    done = benched(tmp_path, TWO_ROWS)
    assert done.returncode == 1, done.stderr
    table, _, after = done.stdout.rpartition("Beside it:")
    assert "| dear | 4 ms | 3 to 5 | 2 ms (missed) |  |" in table
    assert after.splitlines()[-1] == "bar missed: dear: 4 ms, bar 2 ms"
    assert "held" not in after


def test_at_small_size_a_missed_bar_is_named_only(tmp_path: Path) -> None:
    done = benched(tmp_path, TWO_ROWS, "--quick")
    assert done.returncode == 0, done.stderr
    assert "bar missed (at small size): dear: 4 ms, bar 2 ms" in done.stdout


def test_bars_that_are_held_are_success_and_a_failure_is_named(tmp_path: Path) -> None:
    held = TWO_ROWS.replace("[3, 5, 4]", "2")
    assert benched(tmp_path, held).returncode == 0
    done = benched(tmp_path, held + "raise SystemExit(3)")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"did not come to its end: {tmp_path / 'mine'}"


@pytest.mark.long
def test_the_long_runs_fail_by_a_missed_bar_too(tmp_path: Path) -> None:
    soak = (BENCHMARKS / "soak.py").read_text()
    assert soak.count("bar=0,") == 1
    (tmp_path / "soak.py").write_text(soak.replace("bar=0,", "bar=-1,"))
    done = run(str(tmp_path / "soak.py"), "widgets", "--widgets", "3")
    assert done.returncode == 1, done.stderr
    assert "bar missed: widgets that were closed and stay: 0 widgets, bar -1 w" in done.stdout


def test_a_part_that_fails_is_named() -> None:
    done = run("soak.py", "widgets", "--widgets", "0")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "did not come to its end: widgets"
