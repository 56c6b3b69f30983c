"""What `ornb.embed` adds to the same requests by hand: CPU of a text, beside `requests`.

Run: ``python benchmarks/embed.py``. 10,000 texts, 100 a request, 8 requests at once, vectors of
1,024 numbers. By hand they are one session in 8 threads that reads base64 into NumPy arrays; ornb
also checks, hashes, prices, books and makes the table, for at most 1.2 x the CPU. The same by hand
without base64 (``"encoding_format"`` left out, as most write it) stands beside it.
"""

from __future__ import annotations

import sys

from _server import running
from _table import QUICK, row
from batch import _told

TEXTS, ROUNDS = (1_000, 1) if QUICK else (10_000, 5)


def main() -> None:
    """Print the ratios of rounds in which each took its turn."""
    names = ("ornb-vectors", "requests-vectors", "requests-numbers")
    with running() as server:
        rounds = [
            [_told(sys.executable, name, server.url, TEXTS)["cpu"] for name in names]
            for _ in range(ROUNDS)
        ]
    costs = zip(names, (1e6 * min(each) for each in zip(*rounds, strict=True)), strict=True)
    beside = ", ".join(f"{name} {cost:.0f} us" for name, cost in costs)
    what = f"CPU of one of {TEXTS:,} texts embedded, 100 a request, over requests"
    row(what, [ours / theirs for ours, theirs, _ in rounds], bar=1.2, beside=beside)
    what = "the same over requests without base64"
    row(what, [ours / theirs for ours, _, theirs in rounds])


if __name__ == "__main__":
    main()
