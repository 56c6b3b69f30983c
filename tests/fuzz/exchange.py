"""The target "exchange": any bytes are sent as a whole HTTP answer, and then a second call is made.

Everything that reads is ornb's own and that of the libraries below it, from the socket to the
reply; only the socket is half of a pair, as a fuzzer makes more connections than there are ports.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import socket
import threading
import time
from http.client import HTTPException, HTTPResponse
from types import SimpleNamespace
from typing import Any

from wire import END, FINISH, STREAM, chunked, delta, event, head, whole

from ornb.api import transport
from ornb.api.client import Timeouts
from ornb.api.reply import Reply
from ornb.api.service import Service
from ornb.api.stream import Stream
from ornb.errors import OrnbError
from tests.fuzz.pieces import cut

LONGEST_S = 60.0
"""Of both calls, on a busy machine."""
SHORT = Timeouts(5, 0.05, 0.05, 0.1)
LONG = Timeouts(LONGEST_S, LONGEST_S, LONGEST_S, LONGEST_S)
"""Where the server closes: nothing is waited for then, and a slow machine is no fault."""


class Server:
    """Answers its first request with `data`, the others with `text`; any number of connections.

    What comes `late` is sent before the next answer of the same connection.
    """

    def __init__(self, data: list[bytes], late: bytes, text: str, *, closes: bool) -> None:
        self._data, self._late, self._text, self._closes = data, late, text, closes
        self.sent = threading.Event()
        """The first answer has left, as far as it comes before another request."""

    def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        threading.Thread(target=self._serve, args=(theirs,), daemon=True).start()
        return ours

    def _serve(self, connection: socket.socket) -> None:
        late = b""
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as incoming:
            while _read(incoming):
                if self.sent.is_set():
                    connection.sendall(b"".join([late, STREAM, delta(self._text), FINISH]))
                    continue
                late = self._late
                try:
                    for piece in self._data:
                        connection.sendall(piece)
                    if self._closes:
                        connection.shutdown(socket.SHUT_RDWR)
                finally:
                    self.sent.set()


def _read(incoming: Any) -> bool:
    length, line = 0, incoming.readline()
    while line.strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
        line = incoming.readline()
    return bool(incoming.read(length))


def exchange(data: bytes) -> None:
    """Both calls end soon, in a reply or an error of ours, and the second has its own answer."""
    led, content = data[:3].ljust(3, b"\0"), data[3:]
    flags, sizes = led[0], tuple(led[1:])
    streamed, ending = flags % 2 == 0, flags // 2 % 8
    soon = len(content)
    if ending == 0:
        soon = content.find(b"\r\n\r\n") + 4
    elif ending == 1:
        soon = soon * sizes[0] // 256
    if _is_whole(content[:soon]):
        soon = len(content)  # nobody could tell what comes late from the next answer
    closes, late = ending > 2, content[soon:]
    text = f"answer {time.monotonic_ns()}"
    server = Server(cut(content[:soon], sizes)[:50], late, text, closes=closes)
    service = Service("http://lab.example/v1", "sk-or-v1-0123456789")
    _plug(service, server)
    rows: list[Reply] = []
    began = time.monotonic()
    service.timeouts = LONG if closes else SHORT
    with contextlib.suppress(OrnbError):
        _ask(service, rows, streamed=streamed)
    assert server.sent.wait(LONGEST_S)
    service.timeouts = LONG
    reply = _ask(service, rows, streamed=True)
    assert time.monotonic() - began < LONGEST_S, "it took long"
    assert (reply.text, reply.status) == (text, "ok"), "the second call got another answer"
    assert len(rows) == 2, "a call without its row"
    assert (rows[0].error is None) == (rows[0].status == "ok")
    service.close()


class _Open(io.BytesIO):
    def close(self) -> None:
        """Stay open: another answer may follow."""


def _is_whole(sent: bytes) -> bool:
    """Whether the standard library finds an answer in it that ends before the bytes do."""
    rest = _Open(sent)
    try:
        while True:
            answer = HTTPResponse(SimpleNamespace(makefile=lambda _: rest))  # type: ignore[arg-type]
            answer.begin()
            if answer.status in range(102, 200):
                continue
            answer.read()
            return not answer.will_close and answer.status != 101
    except (HTTPException, ValueError):
        return False


def _plug(service: Service, server: Server) -> None:
    class Connection(transport._Stamped):
        def _new_conn(self) -> socket.socket:
            return server.connect()

    class Pool(transport._HTTPPool):
        ConnectionCls = Connection

    service._http.trust_env = False
    manager = service._http.get_adapter("http://").poolmanager  # type: ignore[attr-defined]
    manager.pool_classes_by_scheme = {"http": Pool}


def _ask(service: Service, rows: list[Reply], *, streamed: bool) -> Reply:
    call = Stream(service, "Hi", "a/b", {}, streamed=streamed, on_call=rows.append)
    list(call)
    return call.reply


ANSWER = {"choices": [{"message": {"content": "First."}, "finish_reason": "stop"}]}
TOLD = b"".join([STREAM, delta("First."), FINISH])
EVENTS = b'data: {"choices": [{"delta": {"content": "First."}, "finish_reason": "stop"}]}\n\n'
PIECES = [
    *(b"HTTP/1.1 %d \r\n" % status for status in (100, 101, 103, 200, 204, 302, 304, 429, 503)),
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/9.9 200\n",
    b"Content-Type: text/event-stream\r\n",
    b"Content-Type: application/json\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    *(b"Content-Length: %s\r\n" % length for length in (b"0", b"12", b"99999", b"-1", b"7, 7")),
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: x-own\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Retry-After: 0\r\n",
    b"X-Generation-Id: gen-1\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"A" * 300,
    b"0\r\n\r\n",
    b"ffffffff\r\n",
    chunked(b": comment\n\n"),
    chunked(EVENTS),
    chunked(b"data: [DONE]\n\n"),
    delta("part"),
    event(error={"code": 502, "message": "Down"}),
    json.dumps(ANSWER).encode(),
    json.dumps({"error": {"code": 429, "message": "Busy"}}).encode(),
    gzip.compress(json.dumps(ANSWER).encode(), mtime=0),
    TOLD,
    whole(ANSWER),
]
"""What answers are made of, well formed and not."""


def seeds() -> list[bytes]:
    """Whole answers of all kinds, each led by its flags and cuts."""
    zipped = gzip.compress(json.dumps(ANSWER).encode(), mtime=0)
    answers = [
        TOLD,
        TOLD + TOLD,
        TOLD[:-30],
        whole(ANSWER),
        whole(ANSWER) + whole(ANSWER),
        whole(ANSWER)[:-5],
        whole(zipped, Content_Encoding="gzip"),
        whole(zipped[:-9], Content_Encoding="gzip"),
        whole({"error": {"code": 429, "message": "Busy"}}, 429, Retry_After="0"),
        whole(b"<html>Bad gateway</html>", 502, "text/html"),
        whole(b"", 302, Location="http://other.example/"),
        head(204) + b"\r\n" + whole(ANSWER),
        head(304, Content_Length="5") + b"\r\nfirst",
        b"HTTP/1.1 103 Early\r\nLink: </x>\r\n\r\n" + TOLD,
        b"HTTP/1.1 101 Switching\r\n\r\n" + whole(ANSWER),
        head(200, "text/event-stream") + b"\r\n" + EVENTS + b"data: [DONE]\n\n",
        STREAM[:-2] + b"Content-Length: 5\r\n\r\n" + delta("x") + END,
        head(200, Content_Length="12") + b"\r\n" + json.dumps(ANSWER).encode(),
        STREAM + delta("x") + b"zz\r\n",
        STREAM + delta("x") + event(error={"code": 503, "message": "Gone"}) + END,
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"",
    ]
    led = [bytes([streamed + 2 * ending, 128, 3]) for streamed in (0, 1) for ending in (0, 1, 3)]
    return [each + answer for each in led for answer in answers]
