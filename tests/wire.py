"""A server on loopback that sends exactly the bytes it is told, when it is told."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

STALL_S = 600.0
"""A silence that nobody can mistake for that of a busy machine."""

SOON_S = 60.0
"""What happens at once does so within this on any machine, and what waits for a stall does not."""

Step = bytes | float | str
"""Bytes to send, seconds to wait, "close" or "reset"."""


def head(status: int = 200, content_type: str = "application/json", **headers: str) -> bytes:
    """The head of an answer, without its length."""
    lines = [f"HTTP/1.1 {status} Status", f"Content-Type: {content_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n").encode()


def whole(
    body: Any, status: int = 200, content_type: str = "application/json", **headers: str
) -> bytes:
    """A complete answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(status, content_type, Content_Length=str(len(data)), **headers) + b"\r\n" + data


def chunked(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


STREAM = (
    head(200, "text/event-stream", Transfer_Encoding="chunked", X_Generation_Id="gen-1") + b"\r\n"
)
END = b"0\r\n\r\n"


def event(**chunk: Any) -> bytes:
    """One server-sent event, as a piece of a chunked body."""
    return chunked(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def delta(content: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    """A chunk of an answer with one choice."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": content, **more}}
    choice |= {"finish_reason": finish, "native_finish_reason": finish}
    return event(id="gen-1", model="acme/orbit-20260302", provider="NorthCloud", choices=[choice])


USAGE = {"prompt_tokens": 22, "completion_tokens": 9, "total_tokens": 31, "cost": 0.000145}
DONE = chunked(b"data: [DONE]\n\n")
FINISH = delta("", "stop") + event(choices=[], usage=USAGE) + DONE + END


class WireServer:
    """Answers each request by the next script; the last one is repeated.

    `requests` holds what came: (head, body); `connections` counts the sockets accepted.
    """

    def __init__(
        self,
        *scripts: Iterable[Step] | Callable[[bytes, bytes], Iterable[Step]],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._scripts = list(scripts)
        self._tls = tls
        self._lock = threading.Lock()
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self.disconnected = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.getsockname()[1]}/api/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def play(self, *scripts: Iterable[Step]) -> None:
        """Answer the next requests by these scripts."""
        with self._lock:
            self._scripts = list(scripts)

    def __enter__(self) -> WireServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else 40 ms a step
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client left, or did not trust us
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as incoming:
                self._converse(connection, incoming)
        self.disconnected.set()

    def _converse(self, connection: socket.socket, incoming: Any) -> None:
        while (request := self._read(incoming)) is not None:
            script = self._next(request)
            for step in script(*request) if callable(script) else script:
                if not self._do(step, connection):
                    return

    def _next(self, request: tuple[bytes, bytes]) -> Any:
        with self._lock:
            self.requests.append(request)
            return self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]

    @staticmethod
    def _read(incoming: Any) -> tuple[bytes, bytes] | None:
        lines = []
        while (line := incoming.readline()) not in (b"\r\n", b""):
            lines.append(line)
        # A port is the machine's: whoever is still looking for its last owner, as ZeroMQ's sockets
        # do for a kernel or a controller that has gone, says something else than HTTP.
        if not lines or b" HTTP/1." not in lines[0]:
            return None
        named = [line for line in lines if line.lower().startswith(b"content-length")]
        length = int(named[0].split(b":")[1]) if named else 0
        return b"".join(lines), incoming.read(length)

    def _do(self, step: Step, connection: socket.socket) -> bool:
        if isinstance(step, bytes):
            connection.sendall(step)
        elif isinstance(step, int | float):
            time.sleep(step)
        elif step == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        elif step == "close":
            return False
        elif step == "stall":
            connection.settimeout(STALL_S)
            if not connection.recv(1):
                self.disconnected.set()
                return False
        return True


class ChatServer(WireServer):
    """Has no catalogue: whoever asks for it is told so, and no script is used up."""

    def _next(self, request: tuple[bytes, bytes]) -> Any:
        if request[0].startswith(b"GET"):
            return [whole({"error": {"message": "No models.", "code": 404}}, 404)]
        return super()._next(request)
