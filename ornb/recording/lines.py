"""The file of a recording: JSON lines, a head and then one line an exchange.

docs/recordings.md describes them. Reading a file runs nothing that is in it, and whatever of it
cannot be used is named and left out.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigError
from .bodies import KEPT_HEADERS, Pieces, of_kind, pieces_of, seconds, written
from .redaction import without_keys

FORMAT = 1
"""Of the file; a head of another one is not read."""

SOURCES = ("live", "local", "canned", "snapshot")
"""Where a recorded answer came from, as `Reply.source` and `Origin.source` have it."""

ENDS = ("whole", "stopped", "closed", "timeout")
"""How an answer ended: by itself, by whoever asked, or by the network."""

FAILURES = ("unreachable", "connect_timeout", "timeout", "closed", "tls", "proxy", "stopped")
"""Why there was no answer at all."""


class Request(NamedTuple):
    """A request, as far as its answer depends on it."""

    method: str
    path: str
    """Below the service's address, such as ``/chat/completions``."""
    query: Mapping[str, str] = {}
    body: Any = None
    """JSON; None when there was none."""


class Times(NamedTuple):
    """How long the parts of an exchange took, in s; all but the first from the first write on."""

    queued_s: float = 0.0
    """Before the write: connecting, and waiting for a connection."""
    connect_s: float | None = None
    """Of that, connecting; None when a kept connection served."""
    head_s: float = 0.0
    """To the head of the answer."""
    ended_s: float = 0.0
    """To its last byte, or to what took its place."""


@dataclass(frozen=True)
class Exchange:
    """A request and what came of it."""

    question: Request
    at: datetime
    """When the answer had ended (UTC)."""
    source: str = "live"
    """One of `SOURCES`."""
    status: int | None = None
    """HTTP status; None when nobody answered."""
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Pieces = ()
    """The body as it came: seconds after the first write, bytes."""
    end: str = "whole"
    """One of `ENDS`, or of `FAILURES` when nobody answered."""
    why: str = ""
    """What the operating system said of a failure."""
    times: Times = field(default_factory=Times)
    line: int = 0
    """Where it stands in the file, counted from 1."""


class Tape(NamedTuple):
    """What a file holds."""

    exchanges: list[Exchange]
    default_model: str | None
    """The model that answered where none was named."""
    problems: list[str]
    """What could not be used, each with its line."""


# --- writing --------------------------------------------------------------------------------------


def head_line(source: str, default_model: str | None) -> bytes:
    """Write the head of a recording, or of a further part of one."""
    head = {
        "ornb_recording": FORMAT,
        "recorded_at": _written(datetime.now(UTC)),
        "ornb": sys.modules["ornb"].__version__,
        "source": source,
    }
    if default_model is not None:
        head["default_model"] = default_model
    return _line(head)


def exchange_line(exchange: Exchange, keys: Collection[str] = ()) -> bytes:
    """Write an exchange, without the keys that were sent and without ids of the account."""
    data: dict[str, Any] = {
        "at": _written(exchange.at),
        "source": exchange.source,
        "request": _without_empty(exchange.question._asdict()),
    }
    if exchange.status is not None:
        data["answer"] = {
            "status": exchange.status,
            **written(exchange.headers, exchange.pieces, keys),
        }
    if exchange.end != "whole":
        data["end"] = exchange.end
    if exchange.why:
        data["why"] = exchange.why
    data["times"] = {
        name: round(seconds, 6)
        for name, seconds in exchange.times._asdict().items()
        if seconds is not None
    }
    return _line(data, keys)


def append(path: Path, *lines: bytes) -> None:
    """Write lines at the end of a file in one write, so that nothing comes between."""
    try:
        number = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        with os.fdopen(number, "r+b", buffering=0) as file:
            # A line that was cut by a crash must not take the next one with it.
            cut = False
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                cut = file.read(1) != b"\n"
            rest = memoryview((b"\n" if cut and lines else b"") + b"".join(lines))
            while rest:
                rest = rest[os.write(number, rest) :]
    except OSError as error:
        raise ConfigError(
            f"The recording {path} cannot be written ({error.strerror}). Choose a file in a folder "
            "that is there."
        ) from error


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, {})}


def _line(data: Mapping[str, Any], keys: Collection[str] = ()) -> bytes:
    try:
        line = without_keys(json.dumps(data, ensure_ascii=False), keys).encode()
    except UnicodeEncodeError:  # bytes that are no text: as escapes
        line = without_keys(json.dumps(data), keys).encode()
    return line + b"\n"


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- reading --------------------------------------------------------------------------------------


def path_of(path: Any) -> Path:
    """Read where a recording is; ``~`` is a person's home."""
    with suppress(TypeError, ValueError, RuntimeError):  # the last: nobody's home
        found = Path(path).expanduser()
        if b"\0" not in os.fsencode(found):
            return found
    raise ConfigError(f"{path!r} is no path of a recording; give one, such as 'lesson.jsonl'.")


def read(path: Path) -> Tape:
    """Read a recording's exchanges in order, and what is wrong with those that are damaged."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigError(
            f"There is no recording {path} ({error.strerror}). with ornb.record({path.name!r}): "
            "makes one."
        ) from error
    reader = _Reader()
    for number, line in enumerate(lines, 1):
        if line.strip():
            reader.take(number, line, last=number == len(lines))
    if not reader.exchanges:
        why = " ".join(reader.problems) or "It is empty: nothing was recorded."
        raise ConfigError(f"{path.name} has nothing to replay. {why}")
    return Tape(reader.exchanges, reader.default_model, reader.problems)


class _Reader:
    """Takes the lines of a file one by one."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.default_model: str | None = None
        self.problems: list[str] = []
        self._format: Any = FORMAT
        self._begun = False

    def take(self, number: int, line: bytes, *, last: bool) -> None:
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            # Only the last line has no end: it was being written when its writer was ended.
            what = "is cut off" if last else "is damaged, it is no JSON"
            self.problems.append(f"Line {number} {what}; it is left out.")
            return
        if isinstance(data, dict) and "ornb_recording" in data:
            self._take_head(number, data)
            return
        if not self._begun:
            self.problems.append(f"Line {number} stands where the head of a recording should.")
            self._begun = True
        if self._format != FORMAT:
            return
        try:
            self.exchanges.append(_exchange(data, number))
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            self.problems.append(f"Line {number} is damaged ({_reason(error)}); it is left out.")

    def _take_head(self, number: int, head: Mapping[str, Any]) -> None:
        self._begun, self._format = True, head["ornb_recording"]
        if self._format != FORMAT:
            self.problems.append(
                f"Line {number} begins a recording of format {self._format!r:.40}, and this ornb "
                f"reads format {FORMAT}; what follows it is left out. Update ornb to read it."
            )
        elif isinstance(head.get("default_model"), str):
            self.default_model = head["default_model"]


def _reason(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)[:100]


def _exchange(data: Any, line: int) -> Exchange:
    asked, answer = of_kind(data["request"], dict, "request"), data.get("answer")
    path = of_kind(asked["path"], str, "path")
    if not re.fullmatch(r"[A-Z]{3,7}", asked["method"]) or not path.startswith("/"):
        raise ValueError("request is none")
    sent = of_kind(asked.get("query", {}), dict, "query")
    query = {str(name): str(value) for name, value in sent.items()}
    at = datetime.fromisoformat(data["at"])
    exchange = Exchange(
        Request(asked["method"], asked["path"], query, asked.get("body")),
        at if at.tzinfo else at.replace(tzinfo=UTC),
        _one_of(SOURCES, data.get("source", "live"), "source"),
        end=_one_of(FAILURES if answer is None else ENDS, data.get("end", "whole"), "end"),
        why=str(data.get("why", ""))[:200],
        times=_times(of_kind(data.get("times", {}), dict, "times")),
        line=line,
    )
    return exchange if answer is None else _with_answer(exchange, of_kind(answer, dict, "answer"))


def _with_answer(exchange: Exchange, answer: Mapping[str, Any]) -> Exchange:
    status = of_kind(answer["status"], int, "status")
    if not 100 <= status <= 599:
        raise ValueError(f"status is {status}")
    headers = {
        name: value
        for name, value in of_kind(answer.get("headers", {}), dict, "headers").items()
        if name.lower() in KEPT_HEADERS and isinstance(value, str) and value.isprintable()
    }
    pieces = pieces_of(answer, exchange.times.ended_s)
    return replace(exchange, status=status, headers=headers, pieces=pieces)


def _times(times: Mapping[str, Any]) -> Times:
    return Times(**{name: seconds(times[name]) for name in Times._fields if name in times})


def _one_of(known: tuple[str, ...], value: Any, name: str) -> str:
    if value not in known:
        raise ValueError(f"{name} is {value!r:.40}")
    return str(value)
