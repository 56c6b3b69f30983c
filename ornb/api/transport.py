"""The wire under requests: one TLS context, a stamp at the write, a way to cut a stalled read.

requests gives the time from before the request waits for its turn to after the headers are parsed.
A comparison of models needs the moment the request left, and Stop needs the socket itself, also
while nobody has answered yet. Both are taken here, in the connection class that urllib3 uses.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from functools import cache, partial
from http.client import HTTPException, HTTPResponse, IncompleteRead, parse_headers
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from weakref import WeakValueDictionary

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

from .framing import Unframed

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime

    Onward = Callable[[], requests.Response]
    Between = Callable[[requests.PreparedRequest, Onward], requests.Response]

POOL_SIZE = 64
"""Connections kept open a host: as many calls at once as ``measure`` and ``batch`` make."""
IDLE_S = 90.0
"""Seconds after which a kept connection is not trusted any more. One that died without a word, as
when a laptop slept or a network changed, would be waited for as long as a model may think."""
LARGE = 65_536
"""Bytes of a request from which its head goes first: to join them costs more than a write."""


class Recorded(NamedTuple):
    """Where a replayed answer comes from."""

    at: datetime
    """When it was recorded (UTC)."""
    source: str
    """Where it came from then: "live", "local", "canned", "snapshot"."""


class Wire:
    """What the socket did for one request. Moments are of ``perf_counter``, in s.

    `turn` is entered before the first write, which it may hold back. `recorded`, `clock`,
    `in_haste` and `stopping` are set by a recording that answers, or that was stopped.
    """

    _current = threading.local()

    def __init__(self) -> None:
        self.sent_at: float | None = None
        self.connect_s: float | None = None
        self.head_at: float | None = None
        self.turn: Callable[[], AbstractContextManager[object]] | None = None
        self.recorded: Recorded | None = None
        self.clock: Callable[[], float] = perf_counter
        self.in_haste = False
        self.stopping: threading.Event | None = None
        self.reads: _Reads | None = None
        self._socket: Any = None  # a socket, or what stands in for it in a replay
        self._cut = False

    @classmethod
    def current(cls) -> Wire | None:
        """Return the wire that this thread's next request reports to; None outside a call."""
        return getattr(cls._current, "wire", None)

    def watch(self) -> None:
        """Have this thread's next request report here."""
        Wire._current.wire = self

    @property
    def was_cut(self) -> bool:
        """Whether it was `cut` from our side."""
        return self._cut

    @contextlib.contextmanager
    def writing(self, sock: Any) -> Iterator[None]:
        """Write within this: it notes the socket, and the moment when the first write begins."""
        self._socket = sock
        first = self.sent_at is None
        with self.turn() if first and self.turn else contextlib.nullcontext():
            if self._cut:
                raise ConnectionAbortedError("cut before it was sent")
            if first:
                self.sent_at = perf_counter()
            yield

    def patience(self, seconds: float, *, in_all: float | None = None) -> None:
        """Set how long the next read may wait, and how long all that follow may take, in s."""
        if self.reads is not None:
            if self.reads.closed:
                return
            self.reads.until = None if in_all is None else perf_counter() + in_all
        # To set it is a call of the system, at which other threads take their turn.
        if self._socket is not None and self._socket.gettimeout() != seconds:
            with contextlib.suppress(OSError):  # closed already: the read will say so
                self._socket.settimeout(seconds)

    def extend(self, seconds: float) -> None:
        """Set how long the reads that follow may take in all, from now on, in s."""
        if self.reads is not None:
            self.reads.until = perf_counter() + seconds

    def cut(self) -> None:
        """Wake a blocked read at once, from any thread.

        ``close`` would leave the reader blocked (7 s were measured); ``shutdown`` wakes it.
        """
        self._cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # not connected any more: nothing to wake
                self._socket.shutdown(socket.SHUT_RDWR)


class _Reads(io.RawIOBase):
    """Reads a socket until a moment that no drip of bytes can put off."""

    def __init__(self, raw: io.RawIOBase, within: float | None) -> None:
        self._raw = raw
        self.until = None if within is None else perf_counter() + within
        """``perf_counter`` after which no more is read, in s."""
        self.ended = False
        """Nothing is read any more: there is only what had been read before."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.ended:
            return 0
        count = self._raw.readinto(buffer)
        if self.until is not None and perf_counter() > self.until:
            raise TimeoutError("timed out")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """Reads a chunked body in whole blocks, as `Unframed` says why."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._socket = sock
        self._body = Unframed()
        # The head has to be whole in the time that its first byte has.
        self._reads = _Reads(self.fp.detach(), sock.gettimeout())
        self.fp = io.BufferedReader(self._reads)
        wire = Wire.current()
        if wire is not None:
            wire.reads = self._reads

    def _read_status(self) -> tuple[str, int, str]:
        """Pass over hints that come before the answer (RFC 9110, 15.2).

        The standard library takes a 103 for the answer; the real one would be the next call's.
        """
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 101 < status < 200:
                return version, status, reason
            parse_headers(self.fp)

    def begin(self) -> None:
        super().begin()
        self._reads.until = None
        # Servers that fell over (Starlette's) often close after they said so, without a word: the
        # next request would run into that. Nor is an end kept that came of a failing gateway.
        self.will_close = self.will_close or self.status >= 500
        # llama.cpp says that it keeps the connection, and closes it right after a stream.
        self.will_close = self.will_close or (
            bool(self.chunked) and self.headers.get("Server") == "llama.cpp"
        )
        if self.status in (101, 204, 304):  # nobody asked for no answer: one may follow
            self._shut()

    def _close_conn(self) -> None:
        """Release no connection for another call on which more has come than the answer."""
        fp: Any = self.fp
        if fp is not None and not fp.closed:
            self._reads.ended = True  # what is in the buffer is looked at, and no more waited for
            if fp.peek(1):
                self._shut()
        super()._close_conn()  # type: ignore[misc]

    def read1(self, n: int = -1) -> bytes:
        if not self.chunked or self.length is not None or self.fp is None or n <= 0:
            return super().read1(n)
        while not self._body.ended:
            if self._body.broken:
                raise HTTPException(self._body.broken)
            block = self.fp.read1(n)
            if not block:
                raise IncompleteRead(b"")
            content = self._body.feed(block)
            if self._body.ended:
                self._end()
            if content:
                return content
        return b""

    def _end(self) -> None:
        if self._body.beyond:  # an answer to nothing
            self._shut()
        self.close()

    def _shut(self) -> None:
        """Keep the connection from other calls: what else comes would be taken for their answer.

        A pool takes none back that can be read before anything was asked, as an end can be.
        """
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def reader(response: requests.Response) -> Callable[[int], bytes]:
    """Return the shortest way to the next bytes of an answer's body.

    urllib3 puts a dozen calls around each read, which weigh as much as all that ornb does with
    a piece of an answer. They are for compressed bodies, and for those that are not chunked.
    """
    raw = response.raw
    inner = getattr(raw, "_original_response", None)
    if not isinstance(inner, _Response) or not inner.chunked or raw.headers.get("Content-Encoding"):
        return partial(raw.read1, decode_content=True)

    def read(n: int) -> bytes:
        block = inner.read1(n)
        if not block:
            raw.release_conn()
        return block

    return read


class _Stamped(HTTPConnection):
    """A connection that tells the current `Wire` when it connects and when it writes."""

    response_class = _Response
    debuglevel = 0  # http.client's own, set for all, would print the key
    idle_since: float | None = None
    """``time.time`` when it was put back, in s: a clock that goes on while a laptop sleeps."""
    _connecting = False
    _head: bytes | None = None
    """Of a request whose body follows: both leave in one write, which nothing can come between."""

    @property
    def is_connected(self) -> bool:
        idle_s = 0.0 if self.idle_since is None else time.time() - self.idle_since
        return super().is_connected and idle_s < IDLE_S

    def connect(self) -> None:
        began = perf_counter()
        self._connecting = True
        try:
            super().connect()
        finally:
            self._connecting = False
        wire = Wire.current()
        if wire is not None:
            wire.connect_s = perf_counter() - began

    def request(self, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> None:
        self._head = b"" if isinstance(body, bytes) and body else None
        super().request(method, url, body, *args, **kwargs)

    def send(self, data: Any) -> None:
        if self._connecting:  # a proxy is asked for a tunnel
            super().send(data)
            return
        if self._head == b"":
            self._head = data
            return
        parts = [data]
        if self._head:
            parts = [self._head + data] if len(data) < LARGE else [self._head, data]
            self._head = None
        wire = Wire.current()
        if wire is not None and self.sock is None:
            self.connect()
        with contextlib.nullcontext() if wire is None else wire.writing(self.sock):
            for part in parts:
                super().send(part)

    def getresponse(self) -> Any:
        response = super().getresponse()
        wire = Wire.current()
        if wire is not None:
            wire.head_at = perf_counter()
        return response


class _HTTPSConnection(_Stamped, HTTPSConnection):
    pass


class _Dated:
    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.idle_since = time.time()
        super()._put_conn(conn)  # type: ignore[misc]


class _HTTPPool(_Dated, HTTPConnectionPool):
    ConnectionCls = _Stamped


class _HTTPSPool(_Dated, HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


@cache
def tls_context(certificates: str | None = None) -> ssl.SSLContext:
    """Make the process's one TLS context; building it costs some 50 ms."""
    context, certificates = create_urllib3_context(), certificates or DEFAULT_CA_BUNDLE_PATH
    folder = Path(certificates).is_dir()
    try:
        context.load_verify_locations(**{"capath" if folder else "cafile": certificates})
    except OSError as error:  # which names no file
        raise OSError(f"{certificates} holds no certificates that can be read") from error
    return context


class Adapter(HTTPAdapter):
    """requests' adapter, on stamped connections."""

    between: ClassVar[Between | None] = None
    """Who stands between all requests and the network: `ornb.recording`, while one is open."""

    def __init__(self) -> None:
        super().__init__(pool_connections=4, pool_maxsize=POOL_SIZE)

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """Send a request, or hand it to a recording that answers."""
        send = super().send
        if Adapter.between is None:
            return send(request, *args, **kwargs)
        return Adapter.between(request, lambda: send(request, *args, **kwargs))

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Prepare the pools that requests will use."""
        super().init_poolmanager(*args, **kwargs)
        # Weakly: urllib3 closes a pool's connections once nobody holds it any more.
        self._pools: WeakValueDictionary[tuple[Any, ...], Any] = WeakValueDictionary()
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """Return the pool of a server as it was found before.

        Its key has some thirty parts, which urllib3 would put together for each request.
        """
        if any((proxies or {}).values()) or not _is_shared(verify, cert):
            return super().get_connection_with_tls_context(request, verify, proxies, cert)
        key = (*request.url.split("/", 3)[:3], verify)
        pool = self._pools.get(key)
        if pool is None:
            pool = super().get_connection_with_tls_context(request, verify)
            self._pools[key] = pool
        return pool

    def request_url(self, request: Any, proxies: Any) -> str:
        """Return the path that is asked for, cut out where requests would parse the URL twice."""
        if any((proxies or {}).values()):
            return super().request_url(request, proxies)
        path: str = request.url.split("/", 3)[3]
        return "/" + path.lstrip("/")

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Prepare the pools for a proxy, with stamped connections too."""
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """Return the pool with the shared TLS context when nothing special was asked for."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] == "https" and _is_shared(verify, cert):
            pool["ssl_context"] = tls_context() if verify is True else tls_context(verify)
        return host, pool

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the certificates to the shared context, which has them loaded.

        requests would name the file here, and urllib3 read it again for each new connection.
        """
        if not _is_shared(verify, cert):
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]


def _is_shared(verify: Any, cert: Any) -> bool:
    return (verify is True or isinstance(verify, str)) and cert is None
