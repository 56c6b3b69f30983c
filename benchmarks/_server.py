"""The server that the benchmarks ask: prepared bytes, and the truth about when they left.

A process of its own, so that its work is not counted as a client's. The model's name says what to
stream: ``bench/n500-f200-g20-c7`` is 500 chunks, the first after 200 ms, one each 20 ms, for the
caller's call 7; with ``f0-g0`` all of them leave in one write. Of ``...-counted`` models requests
are counted alone, and how many of them differ (``GET /count``). Each event is an HTTP chunk of its
own, as OpenRouter sends it. The clock is `time.perf_counter`, which on one machine is the same in
every process, so that a client's stamps can be held against the server's.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import json
import re
import struct
import subprocess
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator

ASKED = re.compile(rb"bench/n(\d+)-f(\d+)-g(\d+)-c(\d+)")
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\nX-Generation-Id: gen-bench\r\n\r\n"
)


def event(content: str | None, finish: str | None = None, usage: bool = False) -> bytes:
    """Give one server-sent event as a chunk of HTTP, some 260 bytes as OpenRouter's are."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}}
    choice |= {"finish_reason": finish, "native_finish_reason": finish, "logprobs": None}
    value: dict[str, Any] = {"id": "gen-1790000000-abcdefghijklmnopqrst", "provider": "Bench"}
    value |= {"model": "bench/model", "object": "chat.completion.chunk", "created": 1790000000}
    value |= {"choices": [choice]}
    if usage:
        value["usage"] = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18, "cost": 0}
    return piece(b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n")


def piece(data: bytes) -> bytes:
    """Give one chunk of HTTP."""
    return b"%x\r\n%b\r\n" % (len(data), data)


COMMENT = piece(b": OPENROUTER PROCESSING\n\n")
CONTENT = [event(f"word{n:02} ") for n in range(97)]
END = event("", "stop", usage=True) + piece(b"data: [DONE]\n\n") + b"0\r\n\r\n"
VECTOR = [((n * 7919) % 2000 - 1000) / 1000 + 1e-9 * n for n in range(1024)]


@functools.cache
def vectors(count: int, encoding: str) -> bytes:
    """Give the answer to so many texts."""
    packed = base64.b64encode(struct.pack("<1024f", *VECTOR)).decode()
    one = packed if encoding == "base64" else VECTOR
    data = [{"object": "embedding", "index": n, "embedding": one} for n in range(count)]
    used = {"prompt_tokens": 5 * count, "total_tokens": 5 * count, "cost": 0.0000001}
    return json.dumps({"object": "list", "data": data, "model": "bench/v", "usage": used}).encode()


def embedded(asked: dict[str, Any]) -> bytes:
    """Answer a request for embeddings of 1,024 dimensions."""
    return vectors(len(asked["input"]), asked.get("encoding_format", "float"))


LISTED = {
    "id": "bench/n9-f0-g0-c0",
    "name": "Bench",
    "context_length": 8192,
    "pricing": {"prompt": "0.000001", "completion": "0.000002"},
}
"""The catalogue."""
EMBEDDER = {
    "id": "bench/vectors",
    "architecture": {"output_modalities": ["embeddings"]},
    "context_length": 8192,
    "pricing": {"prompt": "0.000001", "completion": "0"},
}
DECIDER = {**LISTED, "id": "bench/decider", "architecture": {"output_modalities": ["decisions"]}}
DECIDED = json.dumps(
    {
        "id": "gen-dec-1790000000-abcdefghij",
        "model": DECIDER["id"],
        "provider": "Bench",
        "answers": {"good": {"type": "noul", "noul": 0.83}},
        "usage": {"input_tokens": 9, "output_tokens": 0, "cost": 0},
    }
).encode()
"""What it decides about everything."""


class Conversation(asyncio.Protocol):
    """One connection: requests one after the other, each with its record in `log`."""

    log: ClassVar[list[dict[str, Any]]] = []
    counted = 0
    distinct: ClassVar[set[int]] = set()
    bursts: ClassVar[dict[int, bytes]] = {}
    connections = 0

    def connection_made(self, transport: Any) -> None:
        """Wait for requests."""
        self.transport, self.waiting, self.asked = transport, b"", False

    def data_received(self, data: bytes) -> None:
        """Answer once the request is whole."""
        self.waiting += data
        head, found, body = self.waiting.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not found or len(body) < (int(length[1]) if length else 0):
            return
        self.waiting = b""
        if head.startswith(b"POST /api/alpha/decisions"):
            self.tell(DECIDED)
        elif head.startswith(b"POST") and b"/embeddings" in head:
            self.tell(embedded(json.loads(body)))
        elif head.startswith(b"POST"):
            self.begin(ASKED.search(body), body if b"-counted" in body else None)
        else:
            known: dict[str, Any] = {"log": self.log, "connections": self.connections}
            if b"/count" in head:
                known = {"requests": self.counted, "distinct": len(self.distinct)}
            elif b"/models" in head:
                counted = {**LISTED, "id": f"{LISTED['id']}-counted"}
                others = [DECIDER, EMBEDDER] if b"=all" in head else []
                known = {"data": [LISTED, counted, *others]}
            else:
                Conversation.log = []
            self.tell(json.dumps(known).encode())

    def tell(self, answer: bytes) -> None:
        """Answer by JSON."""
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer)
        )

    def begin(self, asked: re.Match[bytes] | None, counted: bytes | None) -> None:
        """Send the head and OpenRouter's comment, and plan the content."""
        Conversation.connections += not self.asked
        self.asked = True
        numbers = asked.groups() if asked else (9, 0, 0, 0)
        count, first_ms, gap_ms, call = (int(number) for number in numbers)
        now = perf_counter()
        record = {"call": call, "came": now, "first": now, "last": now, "late": 0.0}
        if counted is None:
            Conversation.log.append(record)
        else:
            Conversation.counted += 1
            self.distinct.add(hash(counted))
        if gap_ms == 0 and first_ms == 0:
            if count not in self.bursts:
                self.bursts[count] = b"".join(CONTENT[n % 97] for n in range(count)) + END
            self.transport.write(HEAD + COMMENT + self.bursts[count])
            return
        self.transport.write(HEAD + COMMENT)
        self.plan(record, now + first_ms / 1000, gap_ms / 1000, count, 0)

    def plan(self, record: dict[str, Any], due: float, gap: float, count: int, n: int) -> None:
        """Have the next chunk sent when it is due."""
        loop = asyncio.get_running_loop()
        loop.call_later(due - perf_counter(), self.send, record, due, gap, count, n)

    def send(self, record: dict[str, Any], due: float, gap: float, count: int, n: int) -> None:
        """Send chunk n, and note when."""
        now = perf_counter()
        self.transport.write(CONTENT[n % 97] + (END if n + 1 == count else b""))
        record["last"] = now
        record["late"] = max(record["late"], now - due)
        if n == 0:
            record["first"] = now
        if n + 1 < count:
            self.plan(record, due + gap, gap, count, n + 1)


class Server:
    """The running server, seen from the process that started it."""

    def __init__(self, port: int, pid: int = 0) -> None:
        self.port, self.pid = port, pid
        self.url = f"http://127.0.0.1:{port}/api/v1"


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """Start it, and end it with the block."""
    command = [sys.executable, __file__]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    try:
        yield Server(int(process.stdout.readline() if process.stdout else 0), process.pid)
    finally:
        process.terminate()
        process.communicate()


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Conversation, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until whoever started it is gone


if __name__ == "__main__":
    asyncio.run(_serve())
