"""What a streamed chunk costs: ornb beside a raw socket and beside requests, in one run.

Run: ``python benchmarks/stream.py`` (a minute). The same bytes come from a server in a process
of its own (`_server.py`), each event an HTTP chunk of its own. The floor is the least Python that
gets the text out: ``socket.recv``, split at line ends, ``json.loads``; it does not even look at the
framing. Times are CPU of this process; they take turns, ratios are made within a round. Bar: 1.5 x
the floor when all chunks come at once, which is where the cost of a chunk is seen. One by one, the
wake-up is the most of it, and a cold processor runs every line slower: that is shown too.
"""

from __future__ import annotations

import gc
import json
import time
from typing import TYPE_CHECKING

import requests
from _floor import floor
from _server import running
from _table import QUICK, row

from ornb.api.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[str], int]

CHUNKS, ROUNDS = (2_000, 3) if QUICK else (10_000, 25)
PACED = 500


def main() -> None:
    """Print ratios, for chunks at once and one by one."""
    with running() as server:
        ways = {
            "floor": lambda model: floor(server.port, model),
            "nothing": lambda model: floor(server.port, model, parse=False),
            "requests": plain(server.url),
            "ornb": ours(server.url),
        }
        at_once = _rounds(f"bench/n{CHUNKS}-f0-g0-c0", CHUNKS, ways)
        paced = _rounds(f"bench/n{PACED}-f1-g1-c0", PACED, ways)
    requests_ratio = sorted(_over(at_once, "requests", "floor"))
    row(
        f"CPU of a streamed chunk, {CHUNKS:,} at once, over a raw socket and json.loads",
        _over(at_once, "ornb", "floor"),
        bar=1.5,
        beside={
            "requests": requests_ratio[len(requests_ratio) // 2],
            "floor": f"{1e6 * min(at_once['floor']) / CHUNKS:.1f} us",
            "server to a bare recv": f"{1e6 * min(at_once['nothing']) / CHUNKS:.2f} us",
        },
    )
    row(
        f"CPU of a streamed chunk, {PACED:,} one a millisecond, over requests",
        _over(paced, "ornb", "requests"),
        beside={
            name: f"{1e6 * min(seconds) / PACED:.0f} us at best" for name, seconds in paced.items()
        },
    )


def plain(url: str) -> Read:
    """Give how to do the same with requests: its lines, and json.loads."""
    http = requests.Session()

    def read(model: str) -> int:
        pieces = []
        asked = {"model": model, "stream": True, "messages": []}
        with http.post(url + "/chat/completions", json=asked, stream=True) as response:
            for line in response.iter_lines():
                if line.startswith(b"data: {"):
                    content = json.loads(line[6:])["choices"][0]["delta"]["content"]
                    if content:
                        pieces.append(content)
        return len(pieces)

    return read


def ours(url: str) -> Read:
    """Give how to do it with ornb."""
    client = Client(base_url=url)
    return lambda model: sum(event.type == "text" for event in client.stream("Go on", model))


def _rounds(model: str, count: int, ways: dict[str, Read]) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, read in ways.items():
            gc.collect()
            start = time.process_time()
            found = read(model)
            if turn:  # the first warms up
                taken[name].append(time.process_time() - start)
            if found != count and name != "nothing":
                raise RuntimeError(f"{name} found {found} pieces of {count}")
    return taken


def _over(taken: dict[str, list[float]], name: str, beside: str) -> list[float]:
    return [a / b for a, b in zip(taken[name], taken[beside], strict=True)]


if __name__ == "__main__":
    main()
