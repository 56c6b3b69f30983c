"""The offline server: OpenRouter's API on 127.0.0.1, from a snapshot and a local model.

===================================== ============================================================
path under ``/api/v1``                answers
===================================== ============================================================
GET /models, /models/count            the snapshot, filtered, sorted and paged
GET /model/{id}                       one record, aliases followed
GET /models/{id}/endpoints            the snapshot's listing
GET /providers                        the snapshot's
GET /key, /auth/key, /credits         an account that never spends anything
GET /generation?id=                   404 for a moment after the answer, then its record
POST /chat/completions                a recording, the local model or a canned answer
POST /auth/keys, /auth/keys/code      the PKCE exchange, S256
POST /embeddings                      the local model, or hashed words
POST /rerank                          hashed words: no model
POST /api/alpha/decisions             beside ``/api/v1``: the local model or a canned decision
/keys, /keys/{hash}                   keys for others, made with the management key
GET /activity                         what was asked with keys, to the management key
===================================== ============================================================

Each answer says in ``X-Ornb-Source`` where it comes from (local, canned, recorded, snapshot), a
chat answer in ``X-Ornb-Note`` what to think of it, a catalogue answer in ``X-Ornb-Snapshot`` how
old it is. Only callers with the token are served, and only under a loopback name, so that no web
page in the user's browser can reach the server by way of DNS. `ornb.offline.simulate` has the
table of misbehaviours that a request can ask for.

References
----------
OpenRouter API, paths above and "Streaming", "Errors and debugging"; state of 2026-08-22.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tornado.httpserver
import tornado.netutil
import tornado.web

from .answers import Canned, LocalModel, Responder
from .chat import MAX_BODY, ChatHandler
from .decisions import Decisions
from .handler import ApiHandler, Unknown
from .keyring import SPENT, Activity, KeyRing, Keys
from .question import json_object
from .snapshot import Snapshot, load
from .store import OfflineCatalog
from .vectors import Embeddings, Rerank
from .wire import Fault, Json, dumps

BASE = "/api/v1"
REMEMBERED_GENERATIONS = 1000
CODE_LIFETIME_S = 600.0
_KEY: Json = {
    "label": "ornb offline",
    "limit": None,
    "limit_remaining": None,
    "limit_reset": None,
    "include_byok_in_limit": False,
    **dict.fromkeys(SPENT, 0),
    "is_free_tier": True,
    "is_management_key": False,
    "is_provisioning_key": False,
    "creator_user_id": None,
    "expires_at": None,
    "rate_limit": {"requests": -1, "interval": "10s", "note": "no longer used"},
    # From here on: newer than the snapshot (2026-10); the official SDK wants them.
    "free_model_daily_requests": {"limit": 50, "used": 0, "remaining": 50},
    "budgets": [],
    "effective_budget": None,
    "allowed_data_regions": [],
    "organization_id": None,
    "workspace_id": None,
}
"""Of ``GET /key``: no limits."""


@dataclass(frozen=True)
class Settings:
    """How a server behaves.

    After `patience_s` of silence a chat answer gets keep-alive bytes; until then an error still
    gets its own HTTP status. `generation_delay_s` is some seconds at the real service.
    """

    token: str
    local_model: bool = True
    tokens_per_s: float = 60.0
    first_token_s: float = 0.2
    generation_delay_s: float = 0.3
    patience_s: float = 1.0
    management_key: str = field(default_factory=secrets.token_urlsafe)


class OfflineApi(tornado.web.Application):
    """The application: catalogue, responders, and what happened so far."""

    def __init__(self, settings: Settings, snapshot: Snapshot | None = None) -> None:
        self.how = settings
        self.store = OfflineCatalog(snapshot or load())
        self.local = LocalModel(enabled=settings.local_model)
        self.responders: list[Responder] = [
            self.local,
            Canned(
                tokens_per_s=settings.tokens_per_s,
                first_token_s=settings.first_token_s,
                why=lambda: self.local.why_not,
            ),
        ]
        self.tokens = {settings.token}
        self.ring = KeyRing(settings.management_key)
        self.codes: dict[str, tuple[str, float]] = {}
        self.generations: OrderedDict[str, tuple[float, Json]] = OrderedDict()
        self.misbehaved: dict[str, int] = {}
        self.whole_catalog = dumps(self.store.query({}, ""))
        super().__init__(_routes(), default_handler_class=Unknown, log_function=lambda _: None)

    def remember(self, record: Json, token: bytes) -> None:
        """Keep a generation for ``GET /generation``, the oldest giving way, and count it."""
        self.ring.count(token, record)
        ready = time.monotonic() + self.how.generation_delay_s
        self.generations[record["id"]] = (ready, record)
        while len(self.generations) > REMEMBERED_GENERATIONS:
            self.generations.popitem(last=False)

    def close(self) -> None:
        """End the responders."""
        for responder in self.responders:
            responder.close()


class Models(ApiHandler):
    """``GET /models``."""

    def get(self) -> None:
        """Send the catalogue, or the part that the query asks for."""
        if not self.request.query:
            self.send_catalog(self.application.whole_catalog)
            return
        given = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        self.send_catalog(dumps(self.application.store.query(given, self.request.path)))


class Count(ApiHandler):
    """``GET /models/count``."""

    def get(self) -> None:
        """Count the models, by output modality where asked."""
        kinds = self.get_query_argument("output_modalities", "")
        answer = self.application.store.query({"output_modalities": kinds}, "")
        self.send_catalog(dumps({"data": {"count": answer["total_count"]}}))


class OfModel(ApiHandler):
    """What there is of one model: its record, or its endpoints."""

    def initialize(self, found: Callable[[OfflineCatalog, str], Json | None], lacks: str) -> None:
        """Take what looks it up, and what is said where there is none."""
        self._found, self._lacks = found, lacks

    def get(self, model_id: str) -> None:
        """Send it."""
        record = self._found(self.application.store, model_id)
        if record is None:
            raise Fault(404, self._lacks.format(model_id), error_type="not_found")
        self.send_catalog(dumps({"data": record}))


class Providers(ApiHandler):
    """``GET /providers``."""

    def get(self) -> None:
        """Send the providers."""
        self.send_catalog(dumps({"data": self.application.store.providers}))


class Account(ApiHandler):
    """``GET /key`` and ``GET /credits``: an account that has never spent anything."""

    def initialize(self, data: Json) -> None:
        """Take what is always sent."""
        self._data = data

    def get(self) -> None:
        """Send it, with the limits of a key that was made here."""
        own = self.application.ring.of(self.token)
        self.finish(dumps({"data": {name: own.get(name, v) for name, v in self._data.items()}}))


class Generation(ApiHandler):
    """``GET /generation?id=``."""

    def get(self) -> None:
        """Send the record of an answer, once it is old enough."""
        wanted = self.get_query_argument("id", "")
        ready, record = self.application.generations.get(wanted, (0.0, {}))
        if not record or time.monotonic() < ready:
            raise Fault(404, f"Generation {wanted} not found", error_type="not_found")
        self.finish(dumps({"data": record}))


class NewCode(ApiHandler):
    """``POST /auth/keys/code``: the step that a person takes on the web page, for tests."""

    def post(self) -> None:
        """Make a code for a challenge."""
        body = json_object(self.request.body)
        challenge = body.get("code_challenge")
        if body.get("code_challenge_method") != "S256" or not isinstance(challenge, str):
            raise Fault(400, "code_challenge_method must be S256, with a code_challenge.")
        code = secrets.token_urlsafe(24)
        self.application.codes[code] = (challenge, time.monotonic() + CODE_LIFETIME_S)
        self.finish(dumps({"data": {"id": code, "app_id": 0, "created_at": _now()}}))


class NewKey(ApiHandler):
    """``POST /auth/keys``: a code and its verifier for a key."""

    public = True

    def post(self) -> None:
        """Exchange a code, once."""
        body = json_object(self.request.body)
        if body.get("code_challenge_method", "S256") != "S256":
            raise Fault(400, "Invalid code_challenge_method")
        challenge, until = self.application.codes.pop(str(body.get("code")), ("", 0.0))
        digest = hashlib.sha256(str(body.get("code_verifier")).encode(errors="replace")).digest()
        proof = base64.urlsafe_b64encode(digest).rstrip(b"=")
        asked = challenge.encode(errors="replace")
        if time.monotonic() > until or not hmac.compare_digest(proof, asked):
            raise Fault(403, "Invalid code or code_verifier")
        key = "sk-or-v1-" + secrets.token_hex(32)
        self.application.tokens.add(key)
        self.finish(dumps({"key": key, "user_id": None}))


def listen(api: OfflineApi, port: int = 0) -> int:
    """Bind to 127.0.0.1 and serve; needs a running event loop. Port 0 picks a free one."""
    sockets = tornado.netutil.bind_sockets(port, "127.0.0.1", family=socket.AF_INET)
    server = tornado.httpserver.HTTPServer(api, max_body_size=MAX_BODY)
    server.add_sockets(sockets)
    bound: int = sockets[0].getsockname()[1]
    return bound


def _routes() -> list[tuple[Any, ...]]:
    record = {"found": OfflineCatalog.describe, "lacks": "Model {} not found"}
    endpoints = {"found": OfflineCatalog.endpoints, "lacks": "No endpoints found for {}."}
    return [
        (f"{BASE}/models", Models),
        (f"{BASE}/models/count", Count),
        (f"{BASE}/models/(.+)/endpoints", OfModel, endpoints),
        (f"{BASE}/model/([^/]+/[^/]+)", OfModel, record),
        (f"{BASE}/providers", Providers),
        (f"{BASE}/(?:auth/)?key", Account, {"data": _KEY}),
        (f"{BASE}/credits", Account, {"data": {"total_credits": 0, "total_usage": 0}}),
        (f"{BASE}/generation", Generation),
        (f"{BASE}/chat/completions", ChatHandler),
        ("/api/alpha/decisions", Decisions),
        (f"{BASE}/embeddings", Embeddings),
        (f"{BASE}/rerank", Rerank),
        (f"{BASE}/auth/keys", NewKey),
        (f"{BASE}/auth/keys/code", NewCode),
        (f"{BASE}/keys(?:/([^/]+))?", Keys),
        (f"{BASE}/activity", Activity),
    ]


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
