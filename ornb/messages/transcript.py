"""Turns and answers as JSON, and back; reading one only ever reads."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

from ..api.reply import Reply, ResponseCache, Timing, Usage, counted
from ..errors import ConfigError
from .turn import Turn, all_well_formed, well_formed

FORMAT = "ornb.transcript"
VERSION = 1
"""Of the JSON; a file of a later version is refused rather than half understood."""

MIME_TRANSCRIPT = "application/vnd.ornb.transcript+json"
"""Media type under which a conversation rests in a notebook, for a program to go on with."""


def saved_in(source: Any, media_type: str, which: int, noun: str = "conversation") -> Any:
    """Find what was saved in whatever a person has at hand, as JSON: a value or its text.

    That may be a notebook or another file, an output, or the JSON itself.
    """
    if isinstance(source, Mapping):
        data = source.get("data", source)
        return data.get(media_type, data) if isinstance(data, Mapping) else data
    if isinstance(source, str) and source.lstrip("\ufeff \t\r\n").startswith("{"):
        return source
    if isinstance(source, str | Path):
        return kept_in(Path(source), media_type, which, noun)
    raise ConfigError(
        f"A {type(source).__name__} holds no {noun}; give a notebook, a JSON file, or what to_json "
        "gave."
    )


def json_of(source: Any, noun: str) -> Any:
    """Return a JSON value, read where it is a text."""
    if not isinstance(source, str | bytes):
        return source
    if isinstance(source, str):  # in bytes, JSON knows the mark itself
        source = source.removeprefix("\ufeff")
    try:
        return json.loads(source)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"This is not JSON, so not a {noun}: {error}.") from error


def kept_in(path: Path, media_type: str, which: int, noun: str = "conversation") -> Any:
    """Read what a person's file keeps; byte order marks, UTF-16 and capitals are put up with.

    It is a notebook, whose output `which` (of several, counted from 0) is read, or the JSON alone.
    """
    try:
        data = json.loads(path.read_bytes())  # bytes tell their encoding, text does not
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a {noun}: {error}.") from error
    if path.suffix.lower() != ".ipynb":
        return _chosen([data], which, path, noun)
    try:
        found = [
            output["data"][media_type]
            for cell in data["cells"]
            for output in cell.get("outputs", [])
            if media_type in output.get("data", {})
        ]
    except (TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"The file is not a notebook: {error!r}.") from error
    return _chosen(_joined(found), which, path, noun)


def _joined(found: Sequence[Any]) -> list[Any]:
    """Put together what one conversation has in a row of outputs; of copies the last counts."""
    rows: dict[Any, dict[Any, Any]] = {}
    for place, value in enumerate(found):
        told = value if isinstance(value, Mapping) else {}
        row, piece = (told.get(name) for name in ("row", "piece"))
        pieces = rows.setdefault(row if isinstance(row, str) else place, {})
        pieces[piece if isinstance(piece, int) else 0] = value
    return [_whole([pieces[place] for place in sorted(pieces)]) for pieces in rows.values()]


def _whole(pieces: list[Any]) -> Any:
    if len(pieces) == 1:
        return pieces[0]
    for each in pieces:
        if not isinstance(each.get("turns"), list):
            return each  # whoever reads it says what is wrong
    said = [each for each in pieces if each["turns"]] or pieces[:1]
    return {**said[-1], "turns": [turn for each in said for turn in each["turns"]]}


def write_whole(path: Path, text: str) -> None:
    """Write a file, or leave the one that is there: a full disk must not cost the older text.

    Lone halves of letters, which a model may send, become question marks.
    """
    try:
        part = path.with_name(path.name + ".part")
        try:
            part.write_text(well_formed(text), encoding="utf-8", newline="\n")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path} cannot be written: {why}.") from error


def _chosen(found: Sequence[Any], which: int, path: Path, noun: str) -> Any:
    """Take one of those that a file holds; the error says how many there are."""
    if not found:
        raise ConfigError(f"{path} holds no {noun} of ornb's.")
    count = counted(len(found), noun)
    if isinstance(which, bool) or not isinstance(which, int):
        raise ConfigError(f"{path} holds {count}; which is {which!r}, give a number from 0.")
    if not -len(found) <= which < len(found):
        places = "0" if len(found) == 1 else f"0 to {len(found) - 1}"
        raise ConfigError(f"{path} holds {count}; which={which} is none of {places}.")
    return found[which]


def turn_to_json(turn: Turn) -> dict[str, Any]:
    """Return what is known of a turn as a JSON value; what arrived on the wire is not in it."""
    data = {
        **turn.unknown,
        "id": turn.id,
        "parent_id": turn.parent_id,
        "role": turn.role,
        "content": well_formed(turn.content) if isinstance(turn.content, str) else turn.content,
    }
    if turn.steps:
        data["steps"] = [dict(step) for step in turn.steps]
    if turn.reply is not None:
        data["reply"] = _reply_to_json(turn.reply)
    return data


def _reply_to_json(reply: Reply) -> dict[str, Any]:
    """The reply's facts; its text is the turn's content, and its chunks are not kept."""
    made_otherwise = ("text", "usage", "timing", "raw_chunks", "logprobs", "recorded_at", "value")
    data = _said(reply, without=(*made_otherwise, "metadata", "response_cache"))
    data["usage"] = _said(reply.usage, without=("raw",))
    data["timing"] = _said(reply.timing, without=("started_at",))
    if reply.timing.started_at is not None:
        data["timing"]["started_at"] = reply.timing.started_at.isoformat()
    if reply.recorded_at is not None:
        data["recorded_at"] = reply.recorded_at.isoformat()
    if reply.response_cache is not None:
        data["response_cache"] = reply.response_cache._asdict()
    return data


def _said(value: Any, *, without: tuple[str, ...]) -> dict[str, Any]:
    """Fields of a dataclass that say something, tuples as lists."""
    data = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in without}
    data = {name: list(v) if isinstance(v, tuple) else v for name, v in data.items()}
    return {name: v for name, v in all_well_formed(data).items() if v not in (None, "", [])}


def checked_head(
    data: Any, noun: str = "transcript", form: str = FORMAT, latest: int = VERSION
) -> Mapping[str, Any]:
    """Refuse what is no transcript, or one of a later version."""
    if not isinstance(data, Mapping) or data.get("format") != form:
        named = isinstance(data, Mapping) and "format" in data
        found = f"is {data['format']!r:.40}" if named else "is missing"
        raise ConfigError(f'This JSON is not a {noun} of ornb: its "format" {found}.')
    version = data.get("version")
    if not isinstance(version, int) or version < 1:
        raise ConfigError(f"The {noun} is damaged: its version is {version!r:.40}.")
    if version > latest:
        raise ConfigError(
            f"The {noun} is of version {version}; this ornb reads up to {latest}. Update ornb."
        )
    return data


class Reader:
    """Takes values out of a JSON object, each of the type it must have."""

    def __init__(self, data: Any, where: str) -> None:
        self.where = where
        if not isinstance(data, Mapping):
            raise self.damaged("it", data)
        self.data = data

    def damaged(self, name: str, value: Any) -> ConfigError:
        """Return the error that a value is not what it must be."""
        shown = repr(value)[:40]
        return ConfigError(f"The transcript is damaged: in {self.where}, {name} is {shown}.")

    def take(self, name: str, *kinds: type) -> Any:
        """Take a value of some kinds; None if it is not there."""
        value = self.data.get(name)
        good = value is None or isinstance(value, kinds)
        if not good or (isinstance(value, bool) and bool not in kinds):
            raise self.damaged(name, value)
        if isinstance(value, float) and not math.isfinite(value):
            raise self.damaged(name, value)
        return value

    def text(self, name: str) -> str | None:
        """Take a text; None if it is not there."""
        found: str | None = self.take(name, str)
        return found

    def objects(self, name: str, kind: type = dict) -> tuple[Any, ...]:
        """Take a list; empty if it is not there."""
        found = self.take(name, list) or []
        if not all(isinstance(item, kind) for item in found):
            raise self.damaged(name, found)
        return tuple(found)

    def moment(self, name: str) -> datetime | None:
        """Take a time with its zone; None if it is not there."""
        text = self.text(name)
        try:
            moment = None if text is None else datetime.fromisoformat(text)
        except ValueError as error:
            raise self.damaged(name, text) from error
        if moment is not None and moment.tzinfo is None:
            raise self.damaged(name, text)
        return moment

    def plain(self, owner: type) -> dict[str, Any]:
        """Take those numbers, flags and words that are fields of a class, and are there."""
        kinds = {name: _PLAIN.get(hint) for name, hint in _hints_of(owner).items()}
        found = {name: self.take(name, *kind) for name, kind in kinds.items() if kind is not None}
        return {name: value for name, value in found.items() if value is not None}


_PLAIN = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}
"""Types that JSON has too, and what they may be there."""


@functools.cache
def _hints_of(owner: type) -> dict[str, str]:
    """Return the fields of a class and their types as they are written, but for "or None"."""
    return {each.name: str(each.type).removesuffix(" | None") for each in fields(owner)}


def turn_from_json(item: Any, where: str) -> Turn:
    """Read what `turn_to_json` made. Nothing in it is executed or fetched."""
    reader = Reader(item, where)
    turn_id, role, content = (reader.take(n, str, list) for n in ("id", "role", "content"))
    if not isinstance(turn_id, str) or not turn_id:
        raise reader.damaged("id", turn_id)
    if role not in ("user", "assistant"):
        raise reader.damaged("role", role)
    if content is None or (isinstance(content, list) and not reader.objects("content")):
        raise reader.damaged("content", content)
    reply = None
    if role == "assistant":
        if not isinstance(content, str):
            raise reader.damaged("content", content)
        reply = _reply_from_json(reader.take("reply", dict) or {}, content, where)
    known = ("id", "parent_id", "role", "content", "reply", "steps")
    unknown = {key: value for key, value in reader.data.items() if key not in known}
    steps = reader.objects("steps")
    if any(step.get("role") not in ("assistant", "tool") for step in steps):
        raise reader.damaged("steps", steps)
    return Turn(turn_id, reader.text("parent_id"), role, content, reply, unknown, steps)


def _reply_from_json(data: Any, text: str, where: str) -> Reply:
    reader = Reader(data, f"the reply of {where}")
    usage = Reader(data.get("usage") or {}, f"the usage of {where}")
    timing = Reader(data.get("timing") or {}, f"the timing of {where}")
    facts = reader.plain(Reply) | {
        name: reader.objects(name) for name in ("annotations", "tool_calls", "reasoning_details")
    }
    return Reply(
        **facts | {"text": text},
        images=reader.objects("images", str),
        usage=Usage(**usage.plain(Usage)),
        timing=Timing(**timing.plain(Timing), started_at=timing.moment("started_at")),
        recorded_at=reader.moment("recorded_at"),
        response_cache=_response_cache(reader),
    )


def _response_cache(reader: Reader) -> ResponseCache | None:
    told = Reader(reader.take("response_cache", dict) or {}, f"the cache of {reader.where}")
    hit, *times = told.take("hit", bool), *(told.take(n, int, float) for n in ("age_s", "ttl_s"))
    return None if hit is None else ResponseCache(hit, *times)
