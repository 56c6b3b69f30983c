"""The body of an answer in a recording: a stream with its times, JSON, text or bytes."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any

from .redaction import may_have_ids, without_ids, without_keys, without_split_keys

Pieces = tuple[tuple[float, bytes], ...]

KEPT_HEADERS = frozenset(
    {"content-type", "retry-after", "x-generation-id", "x-ornb-note", "x-ornb-snapshot"}
    | {f"x-ratelimit-{name}" for name in ("limit", "remaining", "reset")}
    | {f"x-openrouter-cache-{name}" for name in ("status", "age", "ttl")}
    | {"llm_provider-retry-after", "x-litellm-response-cost", "x-litellm-version"}
)
"""Of an answer; the others say nothing that ornb reads."""

LONGEST_S = 24 * 3600.0
"""A time in a recording that is longer is no time."""


# --- writing --------------------------------------------------------------------------------------


def written(
    headers: Mapping[str, str], pieces: Pieces, keys: Collection[str] = ()
) -> dict[str, Any]:
    """Write down the headers and the body of an answer, without the keys that were sent.

    `pieces` are the body as it came: seconds after the first write, bytes.
    """
    written: dict[str, Any] = {}
    headers = {k: v for k, v in headers.items() if k.lower() in KEPT_HEADERS}
    if headers:
        written["headers"] = without_ids(headers)
    if _is_stream(headers):
        return written | _stream(pieces, keys)
    data = b"".join(block for _, block in pieces)
    return written | _plain_body(data, keys) if data else written


def _plain_body(data: bytes, keys: Collection[str]) -> dict[str, Any]:
    try:
        return {"json": without_ids(json.loads(data))}
    except (ValueError, RecursionError):
        pass
    try:
        return {"text": without_ids(data.decode())}
    except UnicodeDecodeError:
        clean = without_keys(data.decode("latin-1"), keys).encode("latin-1")
        return {"base64": base64.b64encode(clean).decode()}


_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def _stream(pieces: Pieces, keys: Collection[str]) -> dict[str, Any]:
    """The events with their times: JSON where it is, and all else as the text that came."""
    items: list[tuple[float, Any]] = []
    waiting, at = [b""], 0.0
    for at, block in pieces:
        waiting.append(block)
        if b"\n" in block or b"\r" in block:
            *events, rest = _cut_events(b"".join(waiting))
            items += [(round(at, 6), _item(event)) for event in events]
            waiting = [rest]
    if rest := b"".join(waiting):
        items.append((round(at, 6), _item(rest)))
    chunks = [value for _, value in items if isinstance(value, dict)]
    without_split_keys(chunks, keys)
    model = next((chunk for chunk in chunks if _content(chunk) is not None), None)
    if model is None:
        return {"stream": items}
    return {"chunk": model, "stream": [(at, _beside(model, value)) for at, value in items]}


def _content(chunk: Mapping[str, Any]) -> str | None:
    """The text of a chunk, where that is all it says."""
    try:
        content = chunk["choices"][0]["delta"]["content"]
    except (KeyError, IndexError, TypeError):
        return None
    return content if isinstance(content, str) else None


def _with_content(chunk: Mapping[str, Any], content: str) -> dict[str, Any]:
    """The same chunk with another text."""
    first, *others = chunk["choices"]
    first = {**first, "delta": {**first["delta"], "content": content}}
    return {**chunk, "choices": [first, *others]}


def _beside(model: Mapping[str, Any], value: Any) -> Any:
    """What of an event is not as in the model: its text, some fields, or all of it."""
    if isinstance(value, str):
        return value
    text = _content(value)
    if text is not None and _is_same(_with_content(model, text), value):
        return [text]
    if not model.keys() <= value.keys():
        return f"data: {json.dumps(value)}\n\n"
    return {k: v for k, v in value.items() if k not in model or not _is_same(v, model[k])}


def _is_same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)  # 1, 1.0 and true are not


def _cut_events(data: bytes) -> list[bytes]:
    """Whole events, and what is left."""
    cuts = [0, *(found.end() for found in _EVENT_END.finditer(data)), len(data)]
    return [data[start:end] for start, end in pairwise(cuts)]


def _item(event: bytes) -> Any:
    lines = event.splitlines()
    if _EVENT_END.search(event) and len(lines) == 2 and lines[0].startswith(b"data:"):
        try:
            value = json.loads(lines[0][5:])
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            # The walk costs more than the parse, and a piece of an answer has no ids.
            return without_ids(value) if may_have_ids(lines[0]) else value
    return without_ids(event.decode("utf-8", "surrogateescape"))


# --- reading --------------------------------------------------------------------------------------


def pieces_of(answer: Mapping[str, Any], ended_s: float) -> Pieces:
    """Return the body that `written` wrote; what is no stream came whole at `ended_s`."""
    if "stream" in answer:
        return _stream_pieces(answer)
    if "json" in answer:
        data = json.dumps(answer["json"]).encode()
    elif "text" in answer:
        data = of_kind(answer["text"], str, "text").encode("utf-8", "surrogateescape")
    else:
        data = base64.b64decode(answer.get("base64", ""), validate=True)
    return ((ended_s, data),) if data else ()


def _stream_pieces(answer: Mapping[str, Any]) -> Pieces:
    """The bytes again; events of one time came in one read."""
    model = of_kind(answer.get("chunk", {}), dict, "chunk")
    pieces: list[tuple[float, bytes]] = []
    for at_s, value in of_kind(answer["stream"], list, "stream"):
        data = _event(model, value)
        at = max(seconds(at_s), pieces[-1][0] if pieces else 0.0)
        if pieces and pieces[-1][0] == at:
            data = pieces.pop()[1] + data
        pieces.append((at, data))
    return tuple(pieces)


def _event(model: Mapping[str, Any], value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, list):
        (text,) = value
        if _content(model) is None:
            raise ValueError("its texts have no chunk to stand in")
        value = _with_content(model, of_kind(text, str, "a text of the stream"))
    else:
        value = {**model, **of_kind(value, dict, "an event of the stream")}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def seconds(value: Any) -> float:
    """Check a time, in s."""
    if type(value) not in (int, float) or not 0 <= value <= LONGEST_S:  # NaN is not either
        raise ValueError(f"{value!r:.40} is no time")
    return float(value)


def of_kind(value: Any, kind: type[Any], name: str) -> Any:
    """Check the type of a value."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r:.40}")
    return value


def _is_stream(headers: Mapping[str, str]) -> bool:
    return any(
        name.lower() == "content-type" and "event-stream" in value
        for name, value in headers.items()
    )
