"""Reading a chat request: what is asked, of which model, and whether it can be answered here.

References
----------
OpenRouter API, ``POST /chat/completions``, parameters and their ranges; state of 2026-08-22.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from .simulate import Simulation, simulation_of
from .store import OfflineCatalog
from .wire import Fault, Json

UNSUPPORTED_PARTS = {
    "image_url": "image",
    "file": "file",
    "input_audio": "audio",
    "video_url": "video",
}
"""Type of a content part to the word for it."""

RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "repetition_penalty": (0, 2),
}
"""Sampling parameter to least and greatest value."""


@dataclass(frozen=True)
class ChatRequest:
    """One chat request, checked; `model` is the id without suffixes."""

    body: Json
    messages: list[dict[str, str]]
    model: str
    simulate: Simulation | None = None

    @property
    def streamed(self) -> bool:
        """Whether the answer is to come piece by piece."""
        return bool(self.body.get("stream"))

    @property
    def clock(self) -> bool:
        """Whether the last chunk is to say when the request came and the first token left.

        ``"ornb": {"clock": true}`` asks for it: seconds of ``time.perf_counter``, which on one
        Linux or macOS machine is the same clock in every process.
        """
        ours = self.body.get("ornb")
        return isinstance(ours, dict) and ours.get("clock") is True

    @property
    def place(self) -> int | None:
        """Which place of a comparison this is, from 0, so that one engine need not say one thing.

        ``"ornb": {"place": 1}`` says so; a caller's own temperature or seed comes before it.
        """
        ours = self.body.get("ornb")
        place = ours.get("place") if isinstance(ours, dict) else None
        chosen = {"temperature", "seed"} & {k for k, v in self.body.items() if v is not None}
        return place if isinstance(place, int) and not chosen else None

    @property
    def characters(self) -> int:
        """Length of all messages together."""
        return sum(len(message["content"]) for message in self.messages)

    @property
    def max_tokens(self) -> int | None:
        """Most tokens the answer may have, None where the caller does not say."""
        given = self.body.get("max_completion_tokens") or self.body.get("max_tokens")
        return int(given) if given else None


def chat_request(body: Json, store: OfflineCatalog) -> ChatRequest:
    """Check a request."""
    simulate = simulation_of(body)
    model = _chosen(store, body)
    messages = _messages(body)
    _check_values(body)
    if simulate is None:
        _refuse_unsupported(body)
    return ChatRequest(body, messages, model, simulate)


def json_object(body: bytes) -> Json:
    """Decode a request body."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise Fault(400, f"The request body is not JSON: {err}.") from err
    if not isinstance(value, dict):
        raise Fault(400, "The request body is not a JSON object.")
    return value


def _chosen(store: OfflineCatalog, body: Json) -> str:
    """Pick the first model of the request that exists; without any, the default router."""
    fallbacks = body.get("models") or []
    named = [body.get("model"), *(fallbacks if isinstance(fallbacks, list) else [fallbacks])]
    asked = [name for name in named if name is not None] or ["openrouter/auto"]
    for name in asked:
        if isinstance(name, str) and (found := store.find(name)):
            return str(found["id"])
    raise Fault(400, f"{asked[0]} is not a valid model ID")


def _messages(body: Json) -> list[dict[str, str]]:
    """Reduce messages to role and text."""
    given = body.get("messages")
    if given is None and isinstance(body.get("prompt"), str):
        given = [{"role": "user", "content": body["prompt"]}]
    if not isinstance(given, list) or not given:
        raise Fault(400, 'Input required: specify "messages", a list with at least one message.')
    messages = []
    for number, message in enumerate(given):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Fault(400, f"messages[{number}] is not an object with role and content.")
        messages.append({"role": message["role"], "content": _text(message, number)})
    if not any(message["content"].strip() for message in messages) and not _parts(body):
        raise Fault(400, "The prompt is empty: no message has any text.")
    return messages


def _text(message: Json, number: int) -> str:
    content = message.get("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise Fault(400, f"messages[{number}].content is neither text nor a list of parts.")
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
    if not all(isinstance(part.get("text"), str) for part in parts):
        raise Fault(400, f"messages[{number}].content has a part of type text without a text.")
    return "\n".join(part["text"] for part in parts)


def _parts(body: Json) -> set[str]:
    """Types of the content parts, text apart."""
    return {
        str(part.get("type"))
        for message in body.get("messages") or []
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if isinstance(part, dict) and part.get("type") != "text"
    }


def _refuse_unsupported(body: Json) -> None:
    """No model here uses tools or looks at pictures: say so as the API does."""
    if body.get("tools") and body.get("tool_choice") != "none":
        message = "No endpoints found that support tool use. Offline, no model has tools."
        raise Fault(404, message, error_type="not_found")
    for kind in sorted(_parts(body)):
        name = UNSUPPORTED_PARTS.get(kind, kind)
        message = f"No endpoints found that support {name} input. Offline, models read text only."
        raise Fault(404, message, error_type="not_found")


def _check_values(body: Json) -> None:
    wanted = body.get("response_format")
    if wanted is not None and not isinstance(wanted, dict):
        raise Fault(400, f"response_format is {wanted!r}; it takes an object.")
    for name in ("max_tokens", "max_completion_tokens"):
        value = body.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise Fault(400, f"{name} is {value!r}; it takes a whole number.")
        if value is not None and value < 1:
            raise Fault(400, f"{name} is {value}; it must be at least 1.")
    for name, (low, high) in RANGES.items():
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Fault(400, f"{name} is {value!r}; it takes a number.")
        if not low <= value <= high:
            raise Fault(400, f"{name} is {value}; it takes {low} to {high}.")
