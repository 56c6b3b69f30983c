"""What a call sends: messages made of a prompt, and fields that are refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import ConfigError

Messages = str | Sequence[Mapping[str, Any]]

EMPTY = "The prompt is empty, so nothing was sent. Write a prompt first."

_KEYS = frozenset({"api_key", "apikey", "authorization", "headers", "extra_headers"})
"""What a key comes in with other libraries; the body of a request is shown and written down."""
_ATTACH = "Files go as attach=: a path, an address, bytes, or a list of them."
_CONNECT = "ornb.connect takes it."
_BUDGET = "A ceiling is set with ornb.budget(0.50), and of ornb.batch with cap_usd=0.50."
ELSEWHERE: dict[str, str] = {
    "schema": (
        "ornb.ask, Chat.ask, compare, batch and measure take it; to a Client give "
        "response_format=ornb.messages.schema.response_format(schema)."
    ),
    "attach": (
        "ornb.ask, Chat.ask, compare, batch and measure take it; for a Client, "
        "ornb.messages.attachments.content(prompt, files) makes a message's content."
    ),
    **dict.fromkeys(("files", "file", "images", "image", "attachments", "attachment"), _ATTACH),
    "system": (
        "ornb.ask, Chat(...), compare, batch and measure take it; of messages it is the first, "
        'with "role": "system".'
    ),
    "prompt": "ornb.ask, Chat.ask, compare and measure take it; a Client takes messages.",
    "messages": "The prompt may be a list of messages, but in a Chat and in a batch.",
    "model": "Give models: one id, or several.",
    "stream": (
        "Answers are streamed underneath, and given whole; Client.stream gives the pieces, and "
        "Client.chat asks without."
    ),
    "confirm": "ornb.Chat(tools=[...], confirm=False) takes it.",
    "client": "ornb.Chat, compare and batch take it; a Client has chat() and stream() of its own.",
    **dict.fromkeys(("blind", "shuffle_seed", "wait"), "ornb.compare takes it."),
    **dict.fromkeys(("max_usd", "cap_usd", "budget"), _BUDGET),
    **dict.fromkeys(
        ("executor", "concurrency", "resume", "progress", "dry_run"), "ornb.batch takes it."
    ),
    **dict.fromkeys(("repeats", "warmup", "connection", "prompt_cache"), "ornb.measure takes it."),
    **dict.fromkeys(("base_url", "offline", "recording", "timeouts", "retries"), _CONNECT),
    "timeout": "ornb.connect(timeouts=ornb.Timeouts(first_byte=60)) sets it, in seconds.",
    "max_retries": "ornb.connect(retries=2) sets it.",
    **dict.fromkeys(("extra_body", "extra_query"), "Give its fields by name: all are passed on."),
}
"""Words that no service knows, though some verb or another library does: where each belongs."""


ASKED = ("router_metadata", "response_cache")
"""Words of a call that go out as headers, see `asked_headers`."""
LONGEST_KEPT_S = 86_400
"""Seconds that OpenRouter keeps an answer in its response cache at most."""


def asked_headers(router_metadata: Any = None, response_cache: Any = None) -> dict[str, str]:
    """Return the headers that ask OpenRouter for its routing's record, and for its response cache.

    `response_cache` is True, False, the seconds to keep the answer, or "refresh" for a new one.
    OpenRouter docs, "Router metadata" and "Response caching"; 2026-08-22.
    """
    headers = {}
    if router_metadata is not None:
        if not isinstance(router_metadata, bool):
            raise ConfigError(f"router_metadata is {router_metadata!r}; give True or False.")
        headers["X-OpenRouter-Metadata"] = "enabled" if router_metadata else "disabled"
    if response_cache is None:
        return headers
    if isinstance(response_cache, bool):
        return {**headers, "X-OpenRouter-Cache": "true" if response_cache else "false"}
    headers["X-OpenRouter-Cache"] = "true"
    if response_cache == "refresh":
        return {**headers, "X-OpenRouter-Cache-Clear": "true"}
    if not isinstance(response_cache, int) or not 1 <= response_cache <= LONGEST_KEPT_S:
        raise ConfigError(
            f"response_cache is {response_cache!r}; give True, False, 'refresh', or the seconds "
            f"that the answer is kept, 1 to {LONGEST_KEPT_S:,}."
        )
    return {**headers, "X-OpenRouter-Cache-TTL": str(response_cache)}


class Written(list[dict[str, Any]]):
    """Messages that nobody changes any more, with their JSON: a long conversation is written once.

    Examples
    --------
    >>> encoded({"messages": Written().with_more([{"role": "user"}]), "n": 1})
    b'{"messages": [{"role": "user"}], "n": 1}'
    """

    _json: tuple[bytes, ...] = ()

    def with_more(self, messages: Sequence[dict[str, Any]]) -> Written:
        """Return these and others after them."""
        longer = Written([*self, *messages])
        written = (json.dumps(each, allow_nan=False).encode() for each in messages)
        longer._json = (*self._json, *written)
        return longer


def messages_from(
    prompt: Any,
    system: str | None = None,
    parts: Iterable[Mapping[str, Any]] = (),
    *,
    may_be_empty: bool = False,
) -> list[dict[str, Any]]:
    """Make the messages of a request out of a prompt, or of messages; they are copies.

    `parts` are added to the last question. An empty prompt without them is refused by default.
    """
    check_system(system)
    prompt = "" if prompt is None else prompt
    given = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if not isinstance(given, Sequence) or not all(isinstance(each, Mapping) for each in given):
        raise ConfigError(
            f"The prompt is {prompt!r}, so nothing was sent. Give a text, or messages with role "
            "and content."
        )
    messages = [dict(each) for each in given]
    added = list(parts)
    if added and messages:
        messages[-1] = _with_parts(messages[-1], added)
    elif not may_be_empty and (not messages or (isinstance(prompt, str) and not prompt.strip())):
        raise ConfigError(EMPTY)
    return [{"role": "system", "content": system}, *messages] if system else messages


def check_system(text: Any) -> None:
    """Refuse a system message that is neither a text nor None."""
    if text is not None and not isinstance(text, str):
        raise ConfigError(f"system is {text!r}; give a text, such as 'Be brief.', or None.")


def _with_parts(message: dict[str, Any], parts: list[Mapping[str, Any]]) -> dict[str, Any]:
    if message.get("role") != "user":
        raise ConfigError(
            f"attach goes with a question, and the last message is of the role "
            f"{message.get('role')!r}, so nothing was sent. Let one of the role 'user' be last."
        )
    said = message.get("content") or ""
    if isinstance(said, str):
        said = [{"type": "text", "text": said}] if said.strip() else []
    return {**message, "content": [*said, *parts]}


def text_of(content: Any) -> str:
    """Return the text of a message's content, also of one that has other parts."""
    if not isinstance(content, list | tuple):
        return str(content or "")
    return "\n".join(str(part.get("text") or "") for part in content if "text" in part)


def check_fields(params: Mapping[str, Any], verb: str = "a call") -> None:
    """Refuse by name what a verb does not take.

    A name that nobody here knows passes, since the API gains fields. What has no form in JSON is
    refused by `encoded`, or before there is a call by `check_json`.
    """
    for name in params:
        if name.lower().replace("-", "_") in _KEYS:
            raise ConfigError(
                f"{name} is no parameter of a call, so nothing was sent. A key goes to "
                "ornb.connect(api_key=...), or is read from OPENROUTER_API_KEY; headers go to "
                "ornb.connect(headers=...)."
            )
        if name in ELSEWHERE:
            raise ConfigError(f"{verb} takes no {name}, so nothing was sent. {ELSEWHERE[name]}")
    n = params.get("n")
    if n is not None and not (type(n) is int and n == 1):
        raise ConfigError(
            f"n is {n!r}, and a call gives one answer here, so nothing was sent. Ask "
            "several times, as in [ornb.ask(prompt) for _ in range(2)], or several models with "
            "ornb.compare."
        )
    asked_headers(params.get("router_metadata"), params.get("response_cache"))
    label = params.get("label")
    if label is not None and not isinstance(label, str):
        raise ConfigError(f"label is {label!r}; give a text, or None.")
    tools = params.get("tools")
    if any(callable(tool) for tool in (tools if isinstance(tools, list | tuple) else [tools])):
        raise ConfigError(
            f"{verb} runs no functions, so nothing was sent. ornb.Chat(model, tools=[...]) does, "
            "and asks before each call unless confirm=False."
        )


def check_json(value: Any) -> None:
    """Refuse what has no form in JSON, and name the place, not the value."""
    try:
        found = _without_form(value, "")
    except RecursionError:
        found = "The request lies in itself, or too deep, and has no form in JSON"
    if found:
        raise ConfigError(f"{found}, so nothing was sent. Give text, numbers, lists or dicts.")


def _without_form(value: Any, where: str) -> str | None:
    """Return which part of a value JSON cannot hold."""
    inside: Iterable[tuple[str, Any]] = ()
    if isinstance(value, list | tuple):
        inside = ((f"{where}[{place}]", each) for place, each in enumerate(value))
    elif isinstance(value, dict):
        odd = [key for key in value if not isinstance(key, str | int | float | None)]
        if odd:
            kind = type(odd[0]).__name__
            return f"{where or 'The request'} has a key of the type {kind}; JSON takes text there"
        inside = ((f"{where}.{key}".removeprefix("."), each) for key, each in value.items())
    elif isinstance(value, type):
        way = f"; schema={value.__name__} asks for it" if where == "response_format" else ""
        return f"{where} is the class {value.__name__}, which JSON has no form for{way}"
    elif isinstance(value, float) and not math.isfinite(value):
        return f"{where} is {value!r}, which JSON has no form for"
    elif not isinstance(value, str | int | float | None):
        return f"{where} is of the type {type(value).__name__}, which JSON has no form for"
    return next(filter(None, (_without_form(each, place) for place, each in inside)), None)


def encoded(body: Mapping[str, Any]) -> bytes:
    """Write a request as JSON, in ASCII."""
    messages = body.get("messages")
    try:
        if isinstance(messages, Written) and messages:
            start, rest = b'{"messages": [', {**body, "messages": []}
            parts = [*messages._json]
            parts[0] = start + parts[0]
            parts[-1] += json.dumps(rest, allow_nan=False).encode()[len(start) :]
            return b", ".join(parts)
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        check_json(body)
        raise ConfigError(f"The request cannot be written as JSON: {error}.") from error
