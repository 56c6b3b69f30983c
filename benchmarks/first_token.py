"""How far a measured time to the first token is off, by the server's own clock.

Run: ``python benchmarks/first_token.py``. The server stamps when a request came and when its first
token left; what `ornb.measure` says, less that, is the error. Bar: p95 at most 5 ms at 64 streams.
Every answer takes 200 ms to its first token and then 50 tokens, 20 ms apart.

Two servers: a plain one (one asyncio loop, no HTTP library), whose own slowness does not count as
ours, and the offline default, which a notebook has. Beside them the floor: one asyncio loop on
kept connections that stamps at the write and at the read, in the same rounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
from time import perf_counter
from typing import Any

import numpy as np
from _table import QUICK, row

import ornb
from ornb.offline import OfflineServer

LEVELS = (1, 16, 64)
ROUNDS = {1: 2, 16: 2, 64: 2} if QUICK else {1: 8, 16: 8, 64: 12}
FIRST_TOKEN_S, GAP_S, TOKENS = 0.2, 0.02, 50
BODY = {
    "model": "lab/plain",
    "messages": [{"role": "user", "content": "Hi"}],
    "stream": True,
    "ornb": {
        "clock": True,
        "simulate": {"first_token_s": FIRST_TOKEN_S, "chunk_s": GAP_S, "tokens": TOKENS},
    },
}


def main() -> None:
    """Print the errors, in ms: p50, p95 and largest of all rounds, p95 of the calmest one."""
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; ms")
    figures = f"{'p50':>7}{'p95':>8}{'largest':>9}{'calmest p95':>13}"
    print(f"{'server':8}{'streams':>8}   {'ornb.measure':37}   {'floor':37}")
    print(f"{'':16}   {figures}   {figures}")
    with contextlib.closing(Plain()) as plain:
        _compare("plain", plain.url, "none", "lab/plain")
    with OfflineServer(model="off") as offline:
        _compare("offline", offline.base_url, offline.token, "openai/gpt-4o-mini")
    print(f"load after: {os.getloadavg()[0]:.1f}")


def _compare(name: str, url: str, key: str, model: str) -> None:
    ornb.connect(api_key=key, base_url=url)
    for level in LEVELS:
        ours, floor = [], []
        for _ in range(ROUNDS[level]):
            ours.append(_ours(model, level))
            floor.append(asyncio.run(_floor(url, key, model, level)))
        print(f"{name:8}{level:8}   {_said(ours)}   {_said(floor)}", flush=True)
        row(
            f"first token, {name} server, {level} streams: p95 of the error of ornb.measure",
            [float(np.quantile(each, 0.95)) for each in ours],
            "ms",
            bar=5 if (name, level) == ("plain", 64) else None,
            beside={"bare loop": float(np.median([np.quantile(each, 0.95) for each in floor]))},
        )


def _ours(model: str, level: int) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        frame = ornb.measure(
            model,
            "Hi",
            repeats=1,
            warmup=0,
            concurrency=level,
            max_usd=None,
            progress=False,
            ornb=BODY["ornb"],
        )
    error = frame["time_to_first_token_s"] - frame["server_time_to_first_token_s"]
    if not frame["status"].eq("ok").all() or error.isna().any():
        raise SystemExit(f"a call failed: {frame['error'].dropna().head(1).tolist()}")
    errors: list[float] = (1e3 * error.abs()).tolist()
    return errors


def _said(rounds: list[list[float]]) -> str:
    p50, p95, most = np.quantile(np.concatenate(rounds), [0.5, 0.95, 1])
    calmest = min(np.quantile(each, 0.95) for each in rounds)
    return f"{p50:7.2f}{p95:8.2f}{most:9.2f}{calmest:13.2f}"


# --- the floor ------------------------------------------------------------------------------------


class Ideal(asyncio.Protocol):
    """Sends one request at a time, and stamps the write and the read that held the first text."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.done: asyncio.Future[None] | None = None

    def connection_made(self, transport: Any) -> None:
        """Keep the connection."""
        self.transport = transport

    def ask(self, request: bytes) -> None:
        """Send."""
        self.first, self.seen = 0.0, b""
        self.sent = perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Stamp the first text, and look for the end."""
        now = perf_counter()
        if not self.first and b'"content":"' in data.replace(b'"content":""', b""):
            self.first = now
        self.seen = self.seen[-2000:] + data
        if self.seen.endswith(b"0\r\n\r\n") and self.done is not None and not self.done.done():
            self.done.set_result(None)


async def _floor(url: str, key: str, model: str, level: int) -> list[float]:
    host, _, path = url.removeprefix("http://").partition("/")
    body = json.dumps({**BODY, "model": model}).encode()
    head = f"POST /{path}/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}"
    request = f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    loop = asyncio.get_running_loop()
    name, port = host.split(":")
    made = [await loop.create_connection(Ideal, name, int(port)) for _ in range(level)]
    streams = [protocol for _, protocol in made]
    for stream in streams:
        stream.done = loop.create_future()
        stream.ask(request)
    await asyncio.gather(*[stream.done for stream in streams if stream.done is not None])
    errors = []
    for stream in streams:
        told = stream.seen[stream.seen.index(b'"clock":') + len(b'"clock":') :]
        clock = json.loads(told[: told.index(b"}") + 1])
        true = clock["first_token_s"] - clock["received_s"]
        errors.append(1e3 * abs(stream.first - stream.sent - true))
        stream.transport.close()
    return errors


# --- the plain server -----------------------------------------------------------------------------


class Plain:
    """The plain server, in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, __file__, "serve"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        port = int(next(iter(self._process.stdout or ())))
        self.url = f"http://127.0.0.1:{port}/api/v1"

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


class Answering(asyncio.Protocol):
    """Answers a chat request by the clock, and anything else with nothing."""

    def __init__(self) -> None:
        self.buffer = b""
        self.received = 0.0

    def connection_made(self, transport: Any) -> None:
        """Keep the connection."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Stamp a request, and begin its answer."""
        now = perf_counter()
        if not self.buffer:
            self.received = now
        self.buffer += data
        head, split, body = self.buffer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        if not split or len(body) < int(length or 0):
            return
        self.buffer = b""
        if not head.startswith(b"POST"):
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b'Content-Length: 11\r\n\r\n{"data":[]}'
            )
            return
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + _piece(b": PROCESSING\n\n")
        )
        self.start = self.received + FIRST_TOKEN_S
        self.sent = 0
        self.loop = asyncio.get_running_loop()
        self.clock: dict[str, float] = {"received_s": self.received}
        # The loop's clock is the same monotonic one, on Linux and macOS.
        self.loop.call_at(self.start, self.token)

    def token(self) -> None:
        """Send a token, or the end."""
        if self.sent < TOKENS:
            data = _event({"content": " word"})
            self.clock.setdefault("first_token_s", perf_counter())
            self.transport.write(data)
            self.sent += 1
            self.loop.call_at(self.start + self.sent * GAP_S, self.token)
        else:
            usage = {"prompt_tokens": 1, "completion_tokens": TOKENS, "total_tokens": TOKENS + 1}
            end = _event({"content": ""}, "stop", usage=usage, ornb={"clock": self.clock})
            self.transport.write(end + _piece(b"data: [DONE]\n\n") + b"0\r\n\r\n")


def _event(delta: dict[str, str], reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    chunk = {"id": "gen-1", "model": "lab/plain", "choices": [choice], **more}
    return _piece(b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n")


def _piece(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=128)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(_serve())
    else:
        main()
