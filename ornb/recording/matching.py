"""Which recorded request is the one that is asked, and how it differs where none is."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .lines import Exchange, Request
from .redaction import without_keys

IGNORED = frozenset({"metadata", "ornb", "session_id", "stream_options", "trace", "user"})
"""Fields of a request that say who asks, what is counted or what a test wishes: they change no
answer."""

_ENCODED = re.compile(r"[A-Za-z0-9+/=_:;,.\-]{1000,}")
"""A picture or a file in a request: in the recording its digest stands for it."""

_SHOWN = 40
"""Characters of a value that a message repeats."""


class Difference(NamedTuple):
    """A place where a request is not the recorded one."""

    path: str
    """Such as ``messages[1].content``."""
    recorded: Any
    """JSON, or `ABSENT`."""
    asked: Any
    """JSON, or `ABSENT`."""

    def __str__(self) -> str:
        recorded, asked = _apart(self.recorded, self.asked)
        return f"{self.path}: recorded {recorded}, asked {asked}"


ABSENT = "(not there)"
"""Stands in a `Difference` for a field that one of the two lacks."""


def normal(question: Request) -> Request:
    """Return a request as it is written down, without `IGNORED` fields, nulls and keys.

    Long encoded data, such as a picture's, is replaced by its digest.
    """
    body = question.body
    if isinstance(body, dict):
        body = {k: v for k, v in body.items() if v is not None and k not in IGNORED}
    return question._replace(body=_written(body), query=dict(question.query))


def _written(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _written(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_written(inner) for inner in value]
    if not isinstance(value, str):
        return value
    if _ENCODED.fullmatch(value):
        kind = value.partition(",")[0] if value.startswith("data:") else ""
        digest = hashlib.sha256(value.encode()).hexdigest()[:32]
        return f"{kind and kind + ','}[{len(value)} characters, sha256 {digest}]"
    return without_keys(value)


def same_as(question: Request) -> str:
    """Return what two requests have in common when one answer will do for both.

    The order of fields, the blanks of JSON, ``1`` or ``1.0``, line ends and blanks around lines of
    a message make no difference to it.
    """
    return json.dumps(_compared(question), sort_keys=True)


def _compared(question: Request) -> dict[str, Any]:
    method, path, query, body = normal(question)
    if isinstance(body, dict):
        body = {k: _plain(v, is_prompt=k in ("messages", "prompt")) for k, v in body.items()}
    return {"method": method, "path": path, "query": dict(query), "body": body}


def _plain(value: Any, *, is_prompt: bool) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner, is_prompt=is_prompt) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, is_prompt=is_prompt) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if is_prompt and isinstance(value, str):
        return "\n".join(line.rstrip() for line in value.splitlines()).strip()
    return value


def nearest(
    question: Request, recorded: Sequence[Exchange]
) -> tuple[Exchange, list[Difference]] | None:
    """Find the recorded request that differs least; None where none of its kind was recorded."""
    asked = _compared(question)
    alike = [each for each in recorded if each.question[:2] == question[:2]]
    if not alike:
        return None
    found = [(each, list(differences(_compared(each.question), asked))) for each in alike]
    return min(found, key=lambda pair: sum(map(_weight, pair[1])))


def differences(recorded: Any, asked: Any, path: str = "") -> Iterator[Difference]:
    """Yield the places where two requests differ."""
    if isinstance(recorded, Mapping) and isinstance(asked, Mapping):
        for name in dict.fromkeys((*recorded, *asked)):
            inner = f"{path}.{name}" if path else str(name)
            one, other = recorded.get(name, ABSENT), asked.get(name, ABSENT)
            yield from differences(one, other, inner.removeprefix("body."))
    elif isinstance(recorded, list) and isinstance(asked, list):
        for place in range(max(len(recorded), len(asked))):
            one, other = _at(recorded, place), _at(asked, place)
            yield from differences(one, other, f"{path}[{place}]")
    elif type(recorded) is not type(asked) or recorded != asked:
        yield Difference(path, recorded, asked)


def _at(values: list[Any], place: int) -> Any:
    return values[place] if place < len(values) else ABSENT


def _weight(difference: Difference) -> float:
    """A text that is nearly the same weighs less than another value."""
    one, other = difference.recorded, difference.asked
    if not (isinstance(one, str) and isinstance(other, str)):
        return 1.0
    return 1.1 - difflib.SequenceMatcher(None, one[:2000], other[:2000]).quick_ratio()


def _apart(one: Any, other: Any) -> tuple[str, str]:
    """Both values, cut to the place from which on they differ."""
    if not (isinstance(one, str) and isinstance(other, str)) or ABSENT in (one, other):
        return _short(one), _short(other)
    common = next(
        (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    start = max(0, common - 12) if max(len(one), len(other)) > _SHOWN else 0
    lead = "…" if start else ""
    return _short(lead + one[start:]), _short(lead + other[start:])


def _short(value: Any) -> str:
    if isinstance(value, str) and value == ABSENT:
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return repr(text) if isinstance(value, str) else text
