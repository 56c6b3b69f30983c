"""What a recording never holds: keys, and the ids by which a service knows a person."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

KEY, ID = "[key]", "[removed]"

PERSONAL = {
    *("api_key", "api_key_hash", "api_key_id", "app_id", "creator_id", "creator_user_id"),
    *("email", "external_user", "http_referer", "key_hash", "key_label", "org_id"),
    *("organization_id", "origin", "session_id", "user_agent", "user_id", "workspace_id"),
}
"""Fields of answers that say whose account, key, app or address it was."""

_NAMES = "|".join(sorted(PERSONAL))
# In a text: JSON that was cut, or that stands inside a string with its quotes escaped.
_FIELD = re.compile(rf'(\\*"(?:{_NAMES})\\*"\s*:\s*\\*")[^"\\]*')
# A word begins after what is no letter, or after an escape such as the n of a JSON text's \\n.
_BEGIN = r"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt]))"
_SECRETS = re.compile(
    r"(?:sk-or-v\d-|sk-ant-|sk-proj-)(?:[\w-]{8,}|[\w-]{0,12}(?:\.\.\.|…|\*+)[\w-]*)"
    rf"|{_BEGIN}sk-[\w-]{{20,}}"
    rf"|{_BEGIN}(?i:bearer )[\w.~+/-]{{16,}}=*"
)
_PERSONS = re.compile(rf"{_BEGIN}(?:user|org)_[A-Za-z0-9]{{16,}}")

SHORTEST_KEY = 8
"""Characters; a server of one's own that wants "ollama" for a key has no secret."""


def without_ids(value: Any) -> Any:
    """Take the account's ids out of an answer: what the fields in `PERSONAL` hold."""
    if isinstance(value, dict):
        return {name: _field(name, inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_ids(inner) for inner in value]
    return _FIELD.sub(rf"\1{ID}", value) if isinstance(value, str) else value


_NAMED = re.compile(rf"(?i:{_NAMES})|\\u".encode())


def may_have_ids(text: bytes) -> bool:
    """Return whether an answer has a name of `PERSONAL` in it, also as an escape."""
    return _NAMED.search(text) is not None


def _field(name: str, value: Any) -> Any:
    told = isinstance(value, str | int | float) and not isinstance(value, bool)
    return ID if told and name.lower() in PERSONAL else without_ids(value)


def without_keys(text: str, keys: Collection[str] = ()) -> str:
    """Take keys out of a text, as well as the ids that a service gives to persons.

    Whatever else looks like a key is taken out too; JSON stays JSON.
    """
    for key in _secret(keys):
        text = text.replace(key, KEY)
    return _PERSONS.sub(ID, _SECRETS.sub(KEY, text))


def _secret(keys: Collection[str]) -> list[str]:
    """Keys as they stand in a text, and as JSON writes them; before each part of one the whole."""
    long = [key for key in keys if len(key) >= SHORTEST_KEY]
    return sorted([*long, *(json.dumps(key)[1:-1] for key in long)], key=len, reverse=True)


def without_split_keys(chunks: list[Any], keys: Collection[str] = ()) -> None:
    """Take out, in place, the keys that a stream spells over several of its pieces."""
    places: dict[tuple[Any, ...], list[tuple[Any, Any]]] = {}
    for chunk in chunks:
        _find_texts(chunk, (), places)
    for pieces in places.values():
        whole = "".join(held[name] for held, name in pieces)
        if len(pieces) > 1 and without_keys(whole, keys) != whole:
            _cut_out(pieces, _spans(whole, keys))


def _find_texts(
    value: Any, path: tuple[Any, ...], places: dict[tuple[Any, ...], list[tuple[Any, Any]]]
) -> None:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in pairs:
        if isinstance(inner, str):
            places.setdefault((*path, name), []).append((value, name))
        elif isinstance(inner, dict | list):
            _find_texts(inner, (*path, name), places)


def _spans(text: str, keys: Collection[str]) -> list[tuple[int, int]]:
    known = [re.compile(re.escape(key)) for key in _secret(keys)]
    patterns = (*known, _SECRETS, _PERSONS)
    return [found.span() for pattern in patterns for found in pattern.finditer(text)]


def _cut_out(pieces: list[tuple[Any, Any]], spans: list[tuple[int, int]]) -> None:
    hidden = {place for start, end in spans for place in range(start, end)}
    starts = {start for start in hidden if start - 1 not in hidden}
    at = 0
    for held, name in pieces:
        text, kept = held[name], []
        for place, letter in enumerate(text, at):
            if place in starts:
                kept.append(KEY)
            elif place not in hidden:
                kept.append(letter)
        held[name], at = "".join(kept), at + len(text)
