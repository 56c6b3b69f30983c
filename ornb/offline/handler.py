"""What every path of the offline server shares: who may call, and errors in the envelope."""

from __future__ import annotations

import hmac
from http.client import responses
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import tornado.web

from .wire import Fault, dumps

if TYPE_CHECKING:
    from .server import OfflineApi

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


class ApiHandler(tornado.web.RequestHandler):
    """Base of all paths."""

    application: OfflineApi
    public = False
    """Whether the path is for callers without a token, too."""
    managing: bool | None = None
    """Whether it is for management keys alone (True), or for ordinary ones alone (False)."""
    token = b""

    def set_default_headers(self) -> None:
        """Write on every answer, errors too, that it does not come from the live API."""
        self.set_header("Server", "ornb-offline")
        self.set_header("Content-Type", "application/json")
        self.set_header("X-Ornb-Source", "canned")

    def prepare(self) -> None:
        """Refuse callers that may not call."""
        if refusal := self.refusal():
            raise refusal

    def refusal(self) -> Fault | None:
        """Return the reason to refuse this caller, None when there is none."""
        try:
            name = urlsplit("//" + self.request.host).hostname
        except ValueError:
            name = None
        if name not in LOOPBACK_NAMES:
            # Another name that leads here is a web page's trick (DNS rebinding).
            return Fault(403, "This server answers under a loopback name only, e.g. 127.0.0.1.")
        if self.public:
            return None
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        given = token.strip().encode()
        if scheme.lower() != "bearer" or not given:
            return Fault(401, "Missing Authentication header")
        self.token, api = given, self.application
        known = any(hmac.compare_digest(given, each.encode()) for each in api.tokens)
        if not known and not api.ring.takes(given):
            return Fault(401, "User not found.")
        if self.managing is not None and api.ring.manages(given) != self.managing:
            which = "Only" if self.managing else "No"
            return Fault(403, f"{which} management keys can perform this operation")
        return None

    def compute_etag(self) -> None:
        """Return no ETag: the API has none, and hashing a catalogue for each call costs."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Put whatever was raised into the envelope; a `Fault` is an answer like any other."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, Fault):
            fault = error
        elif status_code < 500:
            fault = Fault(status_code, self._reason)
        else:
            name = type(error).__name__
            fault = Fault(500, f"The offline server failed ({name}: {error}). Please report it.")
        self.set_status(fault.status, None if fault.status in responses else "Error")
        for header, value in fault.reply_headers.items():
            self.set_header(header, value)
        self.finish(dumps({"error": fault.error(), "user_id": None}))

    def log_exception(self, *args: Any) -> None:
        """Log failures of the server, not of its callers."""
        if not isinstance(args[1], Fault):
            super().log_exception(*args)

    def send_catalog(self, body: bytes) -> None:
        """Answer with part of the snapshot."""
        self.set_header("X-Ornb-Source", "snapshot")
        self.set_header("X-Ornb-Snapshot", self.application.store.date)
        self.finish(body)


class Unknown(ApiHandler):
    """Every path that is not served."""

    def prepare(self) -> None:
        """Refuse, in these words only to callers who may know."""
        raise self.refusal() or Fault(404, f"{self.request.path} is not served offline.")
