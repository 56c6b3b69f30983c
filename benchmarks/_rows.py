"""Rows of a batch by one client, in a process of its own: ``_rows.py NAME URL ROWS``.

Prints CPU and seconds by the clock for one row, as JSON: 64 at once, each client as it is written
by hand: `requests` one session in threads, `openai` its async client under a semaphore.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE, TEXTS = 64, 100
KEY = "sk-or-v1-" + "0123456789abcdef" * 4
"""As long as real ones: a short one is searched for in an answer four times as long."""
MODEL = "bench/n9-f0-g0-c0"


def main() -> None:
    """Ask for some rows to be warm, then for all of them."""
    name, url, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
    ask = CLIENTS[name](url)
    ask([f"warm {n}" for n in range(2 * AT_ONCE)])
    texts = [f"review {n} is good" for n in range(rows)]
    cpu, wall = time.process_time(), time.perf_counter()
    ask(texts)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"cpu": cpu / rows, "wall": wall / rows}), flush=True)


def _said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def _ornb(url: str) -> Callable[[list[str]], object]:
    import ornb

    ornb.connect("sk-or-v1-0123456789", base_url=url)
    options: dict[str, Any] = {"concurrency": AT_ONCE, "progress": False, "resume": False}
    return lambda texts: ornb.batch(texts, model=MODEL, max_tokens=9, **options)


def _decide(url: str) -> Callable[[list[str]], object]:
    import pandas as pd

    import ornb

    ornb.connect("sk-or-v1-0123456789", base_url=url)
    asked, options = {"good": "Is it good?"}, {"concurrency": AT_ONCE, "progress": False}
    return lambda texts: ornb.decide(
        pd.Series(texts), asked, "bench/decider", resume=False, **options
    )


def _requests(url: str) -> Callable[[list[str]], object]:
    import requests

    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=AT_ONCE))
    session.headers["Authorization"] = "Bearer sk-or-v1-0123456789"

    def one(text: str) -> str:
        body = {"model": MODEL, "messages": _said(text), "max_tokens": 9, "stream": True}
        return session.post(f"{url}/chat/completions", json=body).text

    def ask(texts: list[str]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(one, texts))

    return ask


def _openai(url: str) -> Callable[[list[str]], object]:
    import asyncio

    import openai

    async def all_of(texts: list[str]) -> None:
        turn = asyncio.Semaphore(AT_ONCE)
        async with openai.AsyncOpenAI(base_url=url, api_key="sk-or-v1-0123456789") as client:

            async def one(text: str) -> str:
                async with turn:
                    stream = await client.chat.completions.create(
                        model=MODEL, messages=_said(text), max_tokens=9, stream=True
                    )
                    return "".join([c.choices[0].delta.content or "" async for c in stream])

            await asyncio.gather(*map(one, texts))

    return lambda texts: asyncio.run(all_of(texts))


def _ornb_vectors(url: str) -> Callable[[list[str]], object]:
    import ornb

    ornb.connect(KEY, base_url=url)
    options: dict[str, Any] = {"concurrency": 8, "progress": False, "resume": False}
    return lambda texts: ornb.embed(texts, "bench/vectors", batch_size=TEXTS, **options)


def _requests_vectors(url: str, encoding: str = "base64") -> Callable[[list[str]], object]:
    import base64

    import numpy as np
    import requests

    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=8))
    session.headers["Authorization"] = f"Bearer {KEY}"

    def read(vector: Any) -> Any:
        if encoding == "float":
            return np.array(vector, dtype="float32")
        return np.frombuffer(base64.b64decode(vector), "<f4")

    def some(texts: list[str]) -> list[Any]:
        body = {"model": "bench/vectors", "input": texts, "encoding_format": encoding}
        answer = session.post(f"{url}/embeddings", json=body).json()
        return [read(each["embedding"]) for each in answer["data"]]

    def ask(texts: list[str]) -> None:
        with ThreadPoolExecutor(8) as threads:
            parts = [texts[n : n + TEXTS] for n in range(0, len(texts), TEXTS)]
            list(threads.map(some, parts))

    return ask


CLIENTS = {
    "ornb": _ornb,
    "decide": _decide,
    "requests": _requests,
    "openai": _openai,
    "ornb-vectors": _ornb_vectors,
    "requests-vectors": _requests_vectors,
    "requests-numbers": lambda url: _requests_vectors(url, "float"),
}


if __name__ == "__main__":
    main()
