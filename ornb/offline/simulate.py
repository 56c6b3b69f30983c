"""Misbehaviour on request: what tests, and lessons about latency, ask the offline server for.

The request body field ``ornb`` holds it, and the answer is then always canned::

    {"model": "...", "messages": [...], "ornb": {"simulate": {"status": 429, "retry_after": 2}}}

==================== ======= ======================================================================
name                 type    effect
==================== ======= ======================================================================
status               int     an error answer with this HTTP status, 400 to 599, and nothing else
message              str     its message, also of error_after_chunks (default: a usual one)
error_type           str     its ``metadata.error_type`` (default: the usual one)
retry_after          number  its ``Retry-After`` header, seconds; a 429 also gets X-RateLimit-*
times                int     misbehave only the first so many times for this `key`, then behave
key                  str     what `times` counts by (default: the whole body)
first_byte_s         number  nothing is sent for so many seconds, no header either
first_token_s        number  headers and a comment at once, the first token after so many seconds
chunk_s              number  seconds between two tokens; 0 is as fast as it goes
tokens               int     the answer has exactly so many tokens (words)
reasoning            int     so many reasoning tokens before the text; true means 12
stall_after_chunks   int     after so many chunks nothing more comes, and the connection stays open
cut_after_chunks     int     the connection is closed in the middle of the body
reset_after_chunks   int     the connection is reset (TCP RST)
error_after_chunks   int     an error event inside the 200 stream (status: its code, default 502)
html                 bool    a proxy's HTML page instead of an answer, with `status` or 200
garbage              bool    broken JSON: as the whole body, or as one event of the stream
==================== ======= ======================================================================

A request that does not stream has no chunks: there ``stall_after_chunks`` sends nothing at all,
``cut_`` and ``reset_`` come in the middle of the body, and ``error_`` is an error inside the
choice of a 200 answer. With 0 chunks a stream misbehaves right after its first comment.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from typing import Any

from .wire import Fault

USUAL: dict[int, tuple[str, str | None]] = {
    400: ("Provider returned error", "invalid_request"),
    401: ("User not found.", "authentication"),
    402: (
        "This request requires more credits, or fewer max_tokens. You requested up to 4096 "
        "tokens, but can only afford 12.",
        "payment_required",
    ),
    403: ("Input was flagged", "permission_denied"),
    404: ("No endpoints found for this model.", "not_found"),
    408: ("Request timed out", "timeout"),
    413: ("Request body too large", "payload_too_large"),
    429: ("Rate limit exceeded: free-models-per-min. ", "rate_limit_exceeded"),
    500: ("Internal Server Error", "server"),
    502: ("Upstream went away", "provider_unavailable"),
    503: ("Provider returned error", "provider_overloaded"),
    504: ("Provider timed out", "timeout"),
    529: ("Provider is overloaded", "provider_overloaded"),
}
"""Status to usual message and error type."""

MAX_TOKENS = 1_000_000


@dataclass(frozen=True)
class Simulation:
    """The fields of the table above, checked. None: not asked for."""

    status: int | None = None
    message: str | None = None
    error_type: str | None = None
    retry_after: float | None = None
    times: int | None = None
    key: str | None = None
    first_byte_s: float = 0.0
    first_token_s: float | None = None
    chunk_s: float | None = None
    tokens: int | None = None
    reasoning: int = 0
    stall_after_chunks: int | None = None
    cut_after_chunks: int | None = None
    reset_after_chunks: int | None = None
    error_after_chunks: int | None = None
    html: bool = False
    garbage: bool = False

    def fault(self, default: int = 502) -> Fault:
        """Return the error that was asked for."""
        status = self.status or default
        message, error_type = USUAL.get(status, ("Provider returned error", None))
        headers: dict[str, str] = {}
        metadata: dict[str, Any] = {}
        if self.retry_after is not None:
            headers["Retry-After"] = f"{self.retry_after:g}"
        if status == 429:
            reset_ms = int((time.time() + (self.retry_after or 60)) * 1000)
            limits = {"Limit": "20", "Remaining": "0", "Reset": str(reset_ms)}
            copied = {f"X-RateLimit-{name}": value for name, value in limits.items()}
            headers |= copied
            metadata["headers"] = copied
        return Fault(
            status,
            self.message or message,
            error_type=self.error_type or error_type,
            reply_headers=headers,
            provider_name="ornb offline (canned)",
            **metadata,
        )


def simulation_of(body: dict[str, Any]) -> Simulation | None:
    """Read ``ornb.simulate`` of a request body."""
    ours = body.get("ornb") or {}
    asked = ours.get("simulate") if isinstance(ours, dict) else ours
    if asked is None:
        return None
    if not isinstance(asked, dict):
        raise Fault(400, f"ornb.simulate is {asked!r}; it takes an object.")
    kinds = {field.name: str(field.type).partition(" ")[0] for field in fields(Simulation)}
    if unknown := sorted(set(asked) - set(kinds)):
        names = ", ".join(sorted(kinds))
        raise Fault(400, f"ornb.simulate does not know {unknown[0]!r}; it knows {names}.")
    return Simulation(**{name: _checked(name, kinds[name], asked[name]) for name in asked})


def _checked(name: str, kind: str, value: Any) -> Any:
    if name == "reasoning" and isinstance(value, bool):
        return 12 if value else 0
    least, most = (400, 599) if name == "status" else (0, MAX_TOKENS)
    good = type(value).__name__ == kind
    if kind == "int":
        good = good and least <= value <= most
    elif kind == "float":  # seconds
        good = type(value) in (int, float) and 0 <= value <= 3600
    if not good:
        raise Fault(400, f"ornb.simulate.{name} is {value!r}, which it cannot be.")
    return value
