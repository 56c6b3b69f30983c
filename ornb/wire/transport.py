"""The wire under requests: one TLS context, a stamp at the write, a way to cut a stalled read.

requests gives the time from before the request waits for its turn to after the headers are parsed.
A comparison of models needs the moment the request left, and Stop needs the socket itself, also
while nobody has answered yet. Both are taken here, in the connection class that urllib3 uses.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

if TYPE_CHECKING:
    import ssl

POOL_SIZE = 64
"""Connections kept open a host: as many calls at once as ``measure`` and ``batch`` make."""


class Wire:
    """What the socket did for one request.

    Attributes
    ----------
    sent_at : float or None
        ``perf_counter`` when the request was first written, in s.
    connect_s : float or None
        Seconds spent connecting; None when a kept connection served.
    """

    _current = threading.local()

    def __init__(self) -> None:
        self.sent_at: float | None = None
        self.connect_s: float | None = None
        self._socket: socket.socket | None = None
        self._cut = False

    @classmethod
    def current(cls) -> Wire | None:
        """Give the wire that this thread's next request reports to.

        Returns
        -------
        Wire or None
            None outside a call.
        """
        return getattr(cls._current, "wire", None)

    def watch(self) -> None:
        """Have this thread's next request report here."""
        Wire._current.wire = self

    def writing(self, sock: socket.socket) -> None:
        """Note the moment of the first write, and the socket it goes to.

        Parameters
        ----------
        sock : socket.socket
            The connected socket.

        Raises
        ------
        ConnectionAbortedError
            The call was cut while it was still connecting.
        """
        self._socket = sock
        if self._cut:
            raise ConnectionAbortedError("cut before it was sent")
        if self.sent_at is None:
            self.sent_at = perf_counter()

    def patience(self, seconds: float) -> None:
        """Set how long the next read may wait.

        Parameters
        ----------
        seconds : float
            Longest silence allowed, in s.
        """
        if self._socket is not None:
            with contextlib.suppress(OSError):  # closed already: the read will say so
                self._socket.settimeout(seconds)

    def cut(self) -> None:
        """Wake a blocked read at once, from any thread.

        ``close`` would leave the reader blocked (7 s were measured); ``shutdown`` wakes it.
        """
        self._cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # not connected any more: nothing to wake
                self._socket.shutdown(socket.SHUT_RDWR)


class _Stamped(HTTPConnection):
    """A connection that tells the current `Wire` when it connects and when it writes."""

    def connect(self) -> None:
        began = perf_counter()
        super().connect()
        wire = Wire.current()
        if wire is not None:
            wire.connect_s = perf_counter() - began

    def send(self, data: Any) -> None:
        wire = Wire.current()
        if wire is not None:
            if self.sock is None:
                self.connect()
            wire.writing(self.sock)
        super().send(data)


class _HTTPConnection(_Stamped):
    pass


class _HTTPSConnection(_Stamped, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


@cache
def tls_context() -> ssl.SSLContext:
    """Make the process's one TLS context; building it costs some 50 ms.

    Returns
    -------
    ssl.SSLContext
        Verifies with the certificates that requests uses.
    """
    context = create_urllib3_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


class Adapter(HTTPAdapter):
    """requests' adapter, on stamped connections.

    Examples
    --------
    >>> import requests
    >>> requests.Session().mount("https://", Adapter())
    """

    def __init__(self) -> None:
        super().__init__(pool_connections=4, pool_maxsize=POOL_SIZE)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Prepare the pools that requests will use.

        Parameters
        ----------
        *args, **kwargs : Any
            As requests calls it.
        """
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Prepare the pools for a proxy.

        Parameters
        ----------
        *args, **kwargs : Any
            As requests calls it.

        Returns
        -------
        urllib3.ProxyManager
            With stamped connections too.
        """
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
        return manager

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """Give the pool the shared TLS context when nothing special was asked for.

        Parameters
        ----------
        request, verify, cert : Any
            As requests calls it.

        Returns
        -------
        tuple of dict
            Host and pool arguments.
        """
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] == "https" and _is_default(verify, cert):
            pool["ssl_context"] = tls_context()
        return host, pool

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the certificates to the shared context, which has them loaded.

        requests would name the file here, and urllib3 read it again for each new connection.

        Parameters
        ----------
        conn, url, verify, cert : Any
            As requests calls it.
        """
        if not _is_default(verify, cert):
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]


def _is_default(verify: Any, cert: Any) -> bool:
    return verify is True and cert is None
