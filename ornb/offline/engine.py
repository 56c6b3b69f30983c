"""The local model at work: llama.cpp in a process of its own, asked over loopback HTTP.

A process of its own because loading holds Python's lock for a second or more, which would stop
every other answer, and because a crash in native code must not take the API server with it.

References
----------
Package ``xllamacpp`` 2026.10 (llama.cpp's server inside an extension module). Measured on
2026-11-22: with GNU OpenMP's default waiting policy generation falls to 2 tokens a second, or
hangs, where cores are shared or limited by quota; the default prompt cache grows to 8 GiB.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import secrets
import sys
import threading
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlsplit

from tornado.http1connection import HTTP1Connection
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import StreamClosedError
from tornado.tcpclient import TCPClient

from . import Child, model
from .child import announce, follow_parent, read_config

CONTEXT_TOKENS = 4096
"""Prompt and answer together; 253 MB of memory (8192 would take 343)."""

EMBEDDED_TOKENS = 512
"""Of one text; 1,024 would take 200 MB more."""
EMBED_TIMEOUT_S = 600.0

START_TIMEOUT_S = 60.0


class EngineError(Exception):
    """The engine refused a request, or broke off; `error` is llama.cpp's error object."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", error)))
        self.error = error


class Engine:
    """Starts the model's process when first asked, and again should it have died.

    One that chats does not embed: llama.cpp keeps other memory for each.
    """

    def __init__(self, *, embeds: bool = False) -> None:
        self._embeds = embeds
        self._lock = asyncio.Lock()
        self._child: Child | None = None
        self._key = secrets.token_urlsafe(24)

    async def start(self) -> None:
        """Make sure that the model is loaded and listening."""
        async with self._lock:
            if self._child is None or not self._child.alive:
                self._child = await asyncio.to_thread(self._spawn)

    async def embed(self, texts: list[str]) -> dict[str, Any]:
        """Return llama.cpp's answer: for each text the mean of its tokens' last hidden states."""
        await self.start()
        if self._child is None:  # pragma: no cover - start() sets it or raises
            raise AssertionError
        try:
            answer = await AsyncHTTPClient().fetch(
                self._child.ready["address"] + "/v1/embeddings",
                method="POST",
                headers={"Authorization": f"Bearer {self._key}"},
                body=json.dumps({"input": texts}),
                request_timeout=EMBED_TIMEOUT_S,
                raise_error=False,
            )
        except (HTTPClientError, OSError) as err:
            raise EngineError({"message": f"the local model does not answer: {err}"}) from err
        told: dict[str, Any] = json.loads(answer.body)
        if "error" in told:
            raise EngineError(told["error"])
        return told

    async def chat(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Stream one completion; closing the generator frees the model at once."""
        await self.start()
        if self._child is None:  # pragma: no cover - start() sets it or raises
            raise AssertionError
        address = urlsplit(self._child.ready["address"])
        body = json.dumps({**request, "stream": True, "stream_options": {"include_usage": True}})
        try:
            stream = await TCPClient().connect(address.hostname or "127.0.0.1", address.port or 0)
        except OSError as err:
            raise EngineError({"message": f"the local model does not answer: {err}"}) from err
        events = _Events()
        connection = HTTP1Connection(stream, is_client=True)
        reading: asyncio.Future[bool] | None = None
        try:
            headers = {
                "Host": address.netloc,
                "Authorization": f"Bearer {self._key}",
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
            }
            start = RequestStartLine("POST", "/v1/chat/completions", "HTTP/1.1")
            await connection.write_headers(start, HTTPHeaders(headers), body.encode())
            connection.finish()
            reading = asyncio.ensure_future(connection.read_response(events))
            reading.add_done_callback(lambda _: events.ended())
            async for chunk in events:
                yield chunk
        except StreamClosedError as err:
            raise EngineError({"message": "the local model broke off"}) from err
        finally:
            stream.close()
            if reading is not None:
                await asyncio.gather(reading, return_exceptions=True)

    def close(self) -> None:
        """End the model's process."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _spawn(self) -> Child:
        if self._child is not None:
            self._child.close()
        return Child(
            __name__,
            {
                "key": self._key,
                "path": str(model.path()),
                "threads": model.thread_count(),
                "embeds": self._embeds,
            },
            what="The local model",
            timeout_s=START_TIMEOUT_S,
            env={"OMP_WAIT_POLICY": "PASSIVE"},
        )


class _Events(HTTPMessageDelegate):
    """Collects the engine's answer and hands it out chunk by chunk."""

    def __init__(self) -> None:
        self._chunks: asyncio.Queue[dict[str, Any] | EngineError | None] = asyncio.Queue()
        self._status = 0
        self._rest = b""

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        del headers
        if isinstance(start_line, ResponseStartLine):
            self._status = start_line.code

    def data_received(self, chunk: bytes) -> None:
        self._rest += chunk
        if self._status != 200:
            return
        *events, self._rest = self._rest.split(b"\n\n")
        for event in events:
            if event.startswith(b"data: {"):
                self._put(json.loads(event[6:]))
            elif event.startswith(b"error: {"):
                self._put({"error": json.loads(event[7:])})

    def finish(self) -> None:
        if self._status != 200:
            try:
                self._put(json.loads(self._rest))
            except ValueError:
                self._put({"error": {"code": self._status, "message": "no reason given"}})
        self._chunks.put_nowait(None)

    def ended(self) -> None:
        """Wake whoever still waits: nothing more will come, finished or not."""
        self._chunks.put_nowait(EngineError({"message": "the local model broke off"}))

    async def __aiter__(self) -> AsyncGenerator[dict[str, Any], None]:
        while (chunk := await self._chunks.get()) is not None:
            if isinstance(chunk, EngineError):
                raise chunk
            yield chunk

    def _put(self, chunk: dict[str, Any]) -> None:
        error = chunk.get("error")
        self._chunks.put_nowait(EngineError(error) if isinstance(error, dict) else chunk)


def main() -> int:
    """Load the model and serve it until the parent is gone: the child process."""
    config = read_config()
    follow_parent()
    # Read once, when libgomp is loaded: has to be there before the import.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    try:
        server = _load(config)
    except ImportError as err:
        libgomp = "install libgomp (Debian, Ubuntu: apt-get install libgomp1)"
        cure = libgomp if "libgomp" in str(err) else "reinstall it: pip install 'ornb[local]'"
        announce({"error": f"xllamacpp cannot be loaded ({err}): {cure}"})
        return 1
    except Exception as err:  # noqa: BLE001 - whatever native code raises; the parent reports it
        why = str(err).rstrip(".")
        announce({"error": f"the model file cannot be loaded ({why}): {model.FETCH}"})
        return 1
    announce({"address": server.listening_address})
    threading.Event().wait()
    return 0


def _load(config: dict[str, Any]) -> Any:
    llama = importlib.import_module("xllamacpp")
    params = llama.CommonParams()
    params.model.path = config["path"]
    params.cpuparams.n_threads = config["threads"]
    params.cpuparams_batch.n_threads = config["threads"]
    settings = {
        "n_ctx": CONTEXT_TOKENS,
        "n_parallel": 1,
        "cache_ram_mib": 0,
        "hostnames": ["127.0.0.1"],
        "hostname": "127.0.0.1",  # its name in older releases
        "port": 0,
        "api_keys": [config["key"]],
        "cors_origins": "",
        "ui": False,
        "webui": False,
        "endpoint_slots": False,
        "model_alias": {"smollm2-135m-instruct"},
        "verbosity": -1,
    }
    if config["embeds"]:
        settings["embedding"] = True
        settings["pooling_type"] = llama.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        settings |= dict.fromkeys(("n_ctx", "n_batch", "n_ubatch"), EMBEDDED_TOKENS)
    for name, value in settings.items():
        if hasattr(params, name):  # the names move with llama.cpp
            setattr(params, name, value)
    return llama.Server(params)


if __name__ == "__main__":
    sys.exit(main())
