"""One client, measured in a process and an environment of its own: ``_peer.py NAME PORT``.

Prints a line of JSON for each finding. Each client is used as its documentation shows it, one
object for all calls, in threads where there are many. A client that gives its own time to the first
token is believed; for the others the clock runs from the call to the first piece of text.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

from _floor import floor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Ask = Callable[[str], "Iterator[str] | float"]

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else its import asks the network
QUICK = "BENCH_QUICK" in os.environ
CHUNKS, ROUNDS, ENOUGH_S = (1_000, 2, 0) if QUICK else (2_000, 4, 2)
LEVELS = {1: 3, 16: 1, 64: 1} if QUICK else {1: 8, 16: 3, 64: 2}
SAID: list[Any] = [{"role": "user", "content": "Go on"}]


def main() -> None:
    """Measure, and print it as JSON."""
    name, port = sys.argv[1], int(sys.argv[2])
    url = f"http://127.0.0.1:{port}/api/v1"
    ask = CLIENTS[name](url)
    read(ask, "bench/n9-f0-g0-c0")  # warm: imports, connections, caches
    say(chunk=chunk(ask, port))
    say(connections=connections(ask, port))
    for level, repeats in LEVELS.items():
        found, late = errors(ask, port, level, repeats)
        say(**{f"errors_ms_{level}": found, f"server_late_ms_{level}": late})


def say(**found: Any) -> None:
    """Print a finding as soon as it is there, for a client may hang later."""
    print(json.dumps(found), flush=True)


def read(ask: Ask, model: str) -> float | None:
    """Ask for a stream and read it; the time to its first text in s, None if there was none."""
    began, first = time.perf_counter(), None
    answer = ask(model)
    if isinstance(answer, float):
        return answer
    for piece in answer:
        if piece and first is None:
            first = time.perf_counter() - began
    return first


def chunk(ask: Ask, port: int) -> list[float]:
    """CPU of a stream over that of a raw socket with json.loads, one ratio a round.

    A quick client's round is a hundredth of a second, so it has more of them.
    """
    ratios: list[float] = []
    model = f"bench/n{CHUNKS}-f0-g0-c0"
    began = time.process_time()
    while len(ratios) <= ROUNDS or time.process_time() - began < ENOUGH_S:
        gc.collect()
        start = time.process_time()
        floor(port, model)
        middle = time.process_time()
        read(ask, model)
        ratios.append((time.process_time() - middle) / (middle - start))
    return ratios[1:]  # the first warms up


def connections(ask: Ask, port: int) -> int:
    """New connections that 20 streams take after one."""
    read(ask, "bench/n9-f0-g0-c0")
    before = facts(port)["connections"]
    for _ in range(20):
        read(ask, "bench/n9-f0-g0-c0")
    return int(facts(port)["connections"]) - before


def errors(ask: Ask, port: int, level: int, repeats: int) -> tuple[list[float], list[float]]:
    """How far times to the first token are off, and how late the server ever was, in ms."""
    together(ask, level, "n9-f200-g1")  # warm: as many connections as it will keep
    found, late = [], []
    for _ in range(repeats):
        facts(port)
        said = together(ask, level, "n25-f200-g20")
        for record in facts(port)["log"]:
            true = record["first"] - record["came"]
            found.append(1000 * abs(said[record["call"]] - true))
            late.append(1000 * record["late"])
    return found, late


def together(ask: Ask, level: int, what: str) -> dict[int, float]:
    """Read so many streams at once; the time to the first text of each, by the client, in s."""
    gc.collect()  # litellm's streams hold their connections until then, and it has 100
    said: dict[int, float] = {}

    def one(call: int) -> None:
        said[call] = read(ask, f"bench/{what}-c{call}") or float("inf")

    threads = [threading.Thread(target=one, args=(call,)) for call in range(level)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def facts(port: int) -> dict[str, Any]:
    """What the server knows; each look clears its log."""
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/log")
    known: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return known


# --- the clients ----------------------------------------------------------------------------------


def _ornb(url: str) -> Ask:
    from ornb.api.client import Client

    client = Client(base_url=url)

    def ask(model: str) -> float:
        stream = client.stream("Go on", model)
        for _ in stream:
            pass
        return stream.reply.timing.time_to_first_token_s or float("inf")

    return ask


def _requests(url: str) -> Ask:
    import requests

    http = requests.Session()

    def ask(model: str) -> Iterator[str]:
        asked = {"model": model, "stream": True, "messages": SAID}
        with http.post(url + "/chat/completions", json=asked, stream=True) as response:
            for line in response.iter_lines():
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])["choices"][0]["delta"]["content"]

    return ask


def _openai(url: str) -> Ask:
    from openai import OpenAI

    client = OpenAI(base_url=url, api_key="none")

    def ask(model: str) -> Iterator[str]:
        for piece in client.chat.completions.create(model=model, messages=SAID, stream=True):
            yield piece.choices[0].delta.content or ""

    return ask


def _openrouter(url: str) -> Ask:
    from openrouter import OpenRouter

    client = OpenRouter(api_key="none", server_url=url)

    def ask(model: str) -> Iterator[str]:
        with client.chat.send(model=model, messages=SAID, stream=True) as stream:
            for piece in stream:
                yield piece.choices[0].delta.content or ""

    return ask


def _litellm(url: str) -> Ask:
    from litellm import completion

    def ask(model: str) -> Iterator[str]:
        asked = {"api_base": url, "api_key": "none", "messages": SAID, "stream": True}
        for piece in completion(model=f"openrouter/{model}", **asked):
            yield piece.choices[0].delta.content or ""

    return ask


def _chatlas(url: str) -> Ask:
    from chatlas import ChatOpenRouter

    idle: list[Any] = []  # a chat is one conversation, and its client is made with it

    def ask(model: str) -> Iterator[str]:
        chat = idle.pop() if idle else ChatOpenRouter(model=model, base_url=url, api_key="none")
        chat.set_turns([])
        chat.provider._model = model
        yield from chat.stream("Go on", echo="none")
        idle.append(chat)

    return ask


def _llm(url: str) -> Ask:
    from llm_openrouter import OpenRouterChat

    def ask(model: str) -> Iterator[str]:
        chat = OpenRouterChat(model_id=model, model_name=model, api_base=url)
        chat.key = "none"
        yield from chat.prompt("Go on", stream=True, key="none")

    return ask


CLIENTS: dict[str, Callable[[str], Ask]] = {
    "ornb": _ornb,
    "requests": _requests,
    "openai": _openai,
    "openrouter": _openrouter,
    "litellm": _litellm,
    "chatlas": _chatlas,
    "llm-openrouter": _llm,
}

if __name__ == "__main__":
    main()
