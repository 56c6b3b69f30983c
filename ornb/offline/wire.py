"""The shapes that the offline server writes: completions, chunks, usage, errors.

Written from the API's description alone. The client has its own reading of the same description,
so that neither can hide the other's mistakes.

References
----------
OpenRouter API, ``POST /chat/completions``, "Errors and debugging", ``GET /generation``; state of
2026-08-22. Recorded answers of 2026 repeat the finish reason in a usage chunk whose ``choices``
is not empty, and name the role in every delta; so do these.
"""

from __future__ import annotations

import datetime
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


_UNKNOWN = (
    *("upstream_id", "cache_discount", "moderation_latency", "native_tokens_completion_images"),
    *("num_media_prompt", "num_media_completion", "num_input_audio_prompt", "num_search_results"),
    *("num_fetches", "web_search_engine", "http_referer", "user_agent", "app_id"),
    *("external_user", "router", "preset_id", "service_tier", "workspace_id", "request_id"),
    *("session_id", "response_cache_source_id"),
)
"""Fields of a generation's record that are null here."""


class Fault(Exception):
    """A request that is answered with the API's error envelope."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error_type: str | None = None,
        reply_headers: dict[str, str] | None = None,
        **metadata: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reply_headers = reply_headers or {}
        self.metadata = {**({"error_type": error_type} if error_type else {}), **metadata}

    def error(self) -> Json:
        """Return the envelope's `error` object."""
        body: Json = {"code": self.status, "message": self.message}
        return {**body, "metadata": self.metadata} if self.metadata else body


@dataclass(frozen=True)
class AnsweredBy:
    """Who really answers.

    `source` ("local", "canned" or "recorded") is the header ``X-Ornb-Source``, and `note`, one
    ASCII line for the person, ``X-Ornb-Note``.
    """

    source: str
    model: str
    provider: str
    note: str


@dataclass(frozen=True)
class Delta:
    """A piece of an answer."""

    content: str = ""
    reasoning: str = ""
    logprobs: Json | None = None


@dataclass(frozen=True)
class Finish:
    """The end of an answer, with what it took (tokens)."""

    reason: str | None
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0
    cached_tokens: int = 0

    def usage(self) -> Json:
        """Return the `usage` object: real counts, and a cost of 0, for nothing is billed."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "cost": 0,
            "is_byok": False,
            "prompt_tokens_details": {
                "cached_tokens": self.cached_tokens,
                "cache_write_tokens": 0,
                "audio_tokens": 0,
                "video_tokens": 0,
            },
            "cost_details": {
                "upstream_inference_cost": 0,
                "upstream_inference_prompt_cost": 0,
                "upstream_inference_completions_cost": 0,
            },
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning_tokens,
                "image_tokens": 0,
                "audio_tokens": 0,
            },
        }


@dataclass
class Completion:
    """One answer on its way: what every chunk repeats, and what was said so far."""

    origin: AnsweredBy
    id: str = field(default_factory=lambda: f"gen-{int(time.time())}-{secrets.token_urlsafe(15)}")
    created: int = field(default_factory=lambda: int(time.time()))
    started: float = field(default_factory=time.perf_counter)
    first_s: float | None = None
    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    logprobs: list[Any] = field(default_factory=list)
    failed: bool = False
    clock: dict[str, float] | None = None
    """When things happened, by this server's clock; None where the caller did not ask."""

    @property
    def pieces(self) -> int:
        """How many pieces there were so far."""
        return len(self.content)

    def add(self, delta: Delta) -> None:
        """Remember a piece."""
        if self.first_s is None:
            self.first_s = time.perf_counter() - self.started
        self.content.append(delta.content)
        self.reasoning.append(delta.reasoning)
        self.logprobs += (delta.logprobs or {}).get("content") or []

    def chunk(self, delta: Delta, *, reason: str | None = None, usage: Json | None = None) -> Json:
        """Return one event of a streamed answer."""
        said: Json = {"role": "assistant", "content": delta.content}
        if delta.reasoning:
            said["reasoning"] = delta.reasoning
            said["reasoning_details"] = [_reasoning_detail(delta.reasoning)]
        choice = _choice(reason, delta=said, logprobs=delta.logprobs)
        body = self._head("chat.completion.chunk", choice)
        if usage and self.clock is not None:
            body["ornb"] = {"clock": self.clock}
        return {**body, "usage": usage} if usage else body

    def stamp(self) -> None:
        """Note that a piece is about to be written."""
        if self.clock is not None:
            self.clock["last_token_s"] = now = time.perf_counter()
            self.clock.setdefault("first_token_s", now)

    def error_chunk(self, fault: Fault) -> Json:
        """Return the event that ends a stream which had begun and then failed."""
        said = {"role": "assistant", "content": ""}
        choice = _choice("error", delta=said, logprobs=None)
        return {**self._head("chat.completion.chunk", choice), "error": fault.error()}

    def plain(self, finish: Finish) -> Json:
        """Return the whole answer of a request that does not stream."""
        choice = self._plain_choice(finish.reason)
        return {**self._head("chat.completion", choice), "usage": finish.usage()}

    def plain_error(self, fault: Fault) -> Json:
        """Return the answer of a request that failed after generation had begun (HTTP 200)."""
        choice = {**self._plain_choice("error"), "error": fault.error()}
        return self._head("chat.completion", choice)

    def generation(
        self, finish: Finish | None, *, streamed: bool, api_type: str = "completions"
    ) -> Json:
        """Return the record that ``GET /generation`` serves; `finish` is None when cut short."""
        created = datetime.datetime.fromtimestamp(self.created, datetime.UTC)
        prompt = finish.prompt_tokens if finish else None
        completion = finish.completion_tokens if finish else self.pieces
        reason = "error" if self.failed else finish.reason if finish else None
        total_ms = round((time.perf_counter() - self.started) * 1000)
        return {
            **dict.fromkeys(_UNKNOWN),
            "id": self.id,
            "model": self.origin.model,
            "created_at": created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "provider_name": self.origin.provider,
            "total_cost": 0,
            "usage": 0,
            "upstream_inference_cost": 0,
            "is_byok": False,
            "streamed": streamed,
            "cancelled": finish is None and not self.failed,
            "finish_reason": reason,
            "native_finish_reason": reason,
            "latency": total_ms if self.first_s is None else round(self.first_s * 1000),
            "generation_time": total_ms,
            "tokens_prompt": prompt,
            "tokens_completion": completion,
            "native_tokens_prompt": prompt,
            "native_tokens_completion": completion,
            "native_tokens_reasoning": finish.reasoning_tokens if finish else None,
            "native_tokens_cached": finish.cached_tokens if finish else None,
            "origin": "",
            "api_type": api_type,
            "data_region": "global",
            "provider_responses": [
                {
                    "provider_name": self.origin.provider,
                    "model_permaslug": self.origin.model,
                    "status": 200,
                    "latency": total_ms,
                    "is_byok": False,
                }
            ],
        }

    def _head(self, kind: str, choice: Json) -> Json:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.origin.model,
            "provider": self.origin.provider,
            "system_fingerprint": None,
            "choices": [choice],
        }

    def _plain_choice(self, reason: str | None) -> Json:
        message: Json = {"role": "assistant", "content": "".join(self.content), "refusal": None}
        reasoning = "".join(self.reasoning)
        message["reasoning"] = reasoning or None
        if reasoning:
            message["reasoning_details"] = [_reasoning_detail(reasoning)]
        logprobs = {"content": self.logprobs} if self.logprobs else None
        return _choice(reason, message=message, logprobs=logprobs)


def dumps(value: Any) -> bytes:
    """Encode a JSON value, without blanks; half of a surrogate pair becomes a question mark."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def sse(event: Json) -> bytes:
    """Encode one server-sent event."""
    return b"data: " + dumps(event) + b"\n\n"


COMMENT = b": OPENROUTER PROCESSING\n\n"
DONE = b"data: [DONE]\n\n"
PADDING = b"\n         \n"
"""What the API sends while a plain answer is in the making, to keep the connection open."""


def _choice(reason: str | None, **said: Any) -> Json:
    return {"index": 0, **said, "finish_reason": reason, "native_finish_reason": reason}


def _reasoning_detail(text: str) -> Json:
    return {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}
