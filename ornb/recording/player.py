"""Answering out of a recording, in its time or at once."""

from __future__ import annotations

import os
import threading
import warnings
from datetime import datetime
from time import perf_counter
from typing import IO, Literal, cast, get_args

import requests
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPResponse

from ..api.reply import counted
from ..api.transport import Recorded, Wire
from ..errors import ConfigError, NotRecorded, out_of_ornb
from . import lines
from .lines import Exchange, Request
from .matching import nearest, same_as
from .opened import Onward, Opened

Pace = Literal["recorded", "instant"]
Missing = Literal["error", "ask"]

KINDS: dict[str, type[requests.RequestException]] = {
    "connect_timeout": requests.ConnectTimeout,
    "timeout": requests.ReadTimeout,
    "tls": requests.exceptions.SSLError,
    "proxy": requests.exceptions.ProxyError,
}
"""How the failures that are told apart are raised."""
RESET = "X-RateLimit-Reset"
"""The one header that names a moment, in epoch milliseconds; it is moved to the present."""


class Replay(Opened):
    """Answers what was recorded; made by `ornb.replay`. May be used in a ``with``.

    Attributes
    ----------
    problems : list of str
        What of the file cannot be used, each with its line.

    Parameters
    ----------
    path, pace, missing
        As for `ornb.replay`; also attributes.
    only : str
        Answers requests alone whose address begins with this.

    Raises
    ------
    ConfigError
        There is no such file, nothing in it can be used, or there is no such pace.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        pace: Pace = "recorded",
        missing: Missing = "error",
        only: str = "",
    ) -> None:
        _check("pace", pace, get_args(Pace))
        _check("missing", missing, get_args(Missing))
        self.path = lines.path_of(path)
        self.pace, self.missing, self.only = pace, missing, only
        tape = lines.read(self.path)
        self.problems = tape.problems
        self.default_model = tape.default_model
        self._exchanges = tape.exchanges
        self._by_question: dict[str, list[Exchange]] = {}
        for exchange in tape.exchanges:
            self._by_question.setdefault(same_as(exchange.question), []).append(exchange)
        self._played: dict[str, int] = {}
        self._open_locks()
        if self.problems:
            told = " ".join(self.problems[:3])
            more = len(self.problems) - 3
            others = f" And {more} more, see .problems." if more > 0 else ""
            warnings.warn(f"{self.path.name}: {told}{others}", stacklevel=out_of_ornb())

    @property
    def recorded_at(self) -> datetime:
        """When the latest of it was recorded (UTC)."""
        return max(exchange.at for exchange in self._exchanges)

    @property
    def made_by(self) -> list[str]:
        """Where the recorded chats came from: live, local, canned."""
        chats = [each for each in self._exchanges if each.question.method == "POST"]
        return list(dict.fromkeys(each.source for each in chats or self._exchanges))

    def __len__(self) -> int:
        return len(self._exchanges)

    def models(self, path: str) -> list[str]:
        """Return the models that were asked there, in the recorded order."""
        bodies = (each.question.body for each in self._exchanges if each.question.path == path)
        named = (body.get("model") for body in bodies if isinstance(body, dict))
        return list(dict.fromkeys(model for model in named if isinstance(model, str)))

    def has(self, question: Request) -> bool:
        """Return whether a request was recorded."""
        return same_as(question) in self._by_question

    def takes(self, url: str, question: Request) -> bool:
        """Return whether a request may be answered here."""
        del question
        return url.startswith(self.only)

    def between(
        self, request: requests.PreparedRequest, question: Request, onward: Onward
    ) -> requests.Response:
        """Answer a request."""
        exchange = self._next(question)
        if exchange is not None:
            return _replayed(request, exchange, paced=self.pace == "recorded")
        if self.missing == "error" and question.method == "POST":
            raise self._not_recorded(question)
        return onward()

    def _next(self, question: Request) -> Exchange | None:
        """The answers of one question in their order, and then from the first on again.

        A cell that is run again gets what it got. A list or a bill tells how things stand, so there
        the last answer stays.
        """
        key = same_as(question)
        found = self._by_question.get(key)
        if not found:
            return None
        with self._lock:
            played = self._played.get(key, 0)
            self._played[key] = played + 1
        is_chat = question.method == "POST"
        return found[played % len(found) if is_chat else min(played, len(found) - 1)]

    def _not_recorded(self, question: Request) -> NotRecorded:
        chats = [each for each in self._exchanges if each.question.method == "POST"]
        closest = nearest(question, chats)
        count = counted(len(chats), "chat")
        what = f"This request is not recorded in {self.path.name}, which has {count}."
        step = (
            "Ask as it was recorded, record it too, or let it go to the service with "
            f'ornb.replay({self.path.name!r}, missing="ask").'
        )
        if closest is None:
            return NotRecorded(f"{what} {step}")
        exchange, found = closest
        shown = "; ".join(map(str, found[:3])) + (f"; {len(found) - 3} more" if found[3:] else "")
        return NotRecorded(
            f"{what} The nearest, of line {exchange.line} and {exchange.at:%Y-%m-%d}, differs in "
            f"{shown}. {step}",
            differences=[each._asdict() for each in found],
        )

    def __repr__(self) -> str:
        count = counted(len(self), "call")
        made = " and ".join(self.made_by)
        return (
            f"<replaying {self.path}: {count}, {made}, recorded {self.recorded_at:%Y-%m-%d}; "
            "nothing of it is billed>"
        )


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name} is {value!r}; give one of {', '.join(map(repr, known))}.")


def _replayed(
    request: requests.PreparedRequest, exchange: Exchange, *, paced: bool
) -> requests.Response:
    wire = Wire.current() or Wire()
    play = _Play(exchange, wire, paced=paced)
    try:
        play.begin()
    except OSError as error:
        raise requests.ConnectionError(str(error)) from error
    if exchange.status is None:
        raise _failure(exchange)
    response = requests.Response()
    response.status_code = exchange.status
    response.headers = CaseInsensitiveDict(_present(exchange))
    response.url, response.request = str(request.url), request
    response.raw = HTTPResponse(
        body=cast("IO[bytes]", _Body(exchange, play)),
        headers=dict(response.headers),
        status=exchange.status,
        preload_content=False,
        decode_content=False,
    )
    return response


def _present(exchange: Exchange) -> dict[str, str]:
    headers = dict(exchange.headers)
    for name, value in exchange.headers.items():
        if name.lower() == RESET.lower() and value.isdecimal():
            passed = datetime.now(exchange.at.tzinfo) - exchange.at
            headers[name] = str(int(value) + int(passed.total_seconds() * 1000))
    return headers


def _failure(exchange: Exchange) -> requests.RequestException:
    kind = KINDS.get(exchange.end, requests.ConnectionError)
    return kind(f"[Errno -1] {exchange.why}" if exchange.why else "as recorded")


class _Play:
    """The course of one replayed answer: its clock, its waits, and how they are cut short.

    The clock shows what it showed when the answer was recorded, also when nothing is waited for,
    so that every time that is taken by it comes out as recorded. To its `Wire` it is the socket.
    """

    def __init__(self, exchange: Exchange, wire: Wire, *, paced: bool) -> None:
        self._exchange = exchange
        self._wire = wire
        self._paced = paced
        self._cut = threading.Event()
        self._sent_at = perf_counter() + exchange.times.queued_s
        self._at = 0.0

    def begin(self) -> None:
        """Go as far as the head of the answer, or as what came in its place."""
        times, wire = self._exchange.times, self._wire
        nobody = self._exchange.end in ("unreachable", "connect_timeout", "tls", "proxy")
        wire.recorded = Recorded(self._exchange.at, self._exchange.source)
        with wire.writing(self):
            pass  # nothing leaves
        wire.sent_at = None if nobody else self._sent_at
        wire.connect_s, wire.clock, wire.in_haste = times.connect_s, self.now, not self._paced
        if self._exchange.status is None:
            self.reach(times.ended_s)
            if self._exchange.end == "stopped":
                self.stop()
            return
        self.reach(times.head_s)
        wire.head_at = self.now()

    def reach(self, at: float) -> None:
        """Go on to a time, in s after the write."""
        self._at = max(self._at, at)
        rest = self.now() - perf_counter() if self._paced else 0.0
        if self._cut.wait(rest) if rest > 0 else self._cut.is_set():
            raise ConnectionAbortedError("cut while it was replayed")

    def now(self) -> float:
        """As ``perf_counter``, in s."""
        return self._sent_at + self._at

    def stop(self) -> None:
        """End as whoever recorded it did, by stopping."""
        if self._wire.stopping is not None:
            self._wire.stopping.set()
        raise ConnectionAbortedError("stopped here when it was recorded")

    def gettimeout(self) -> None:
        """Return no bound: there is nothing to wait for."""

    def settimeout(self, seconds: float) -> None:
        """Nothing comes late here."""

    def shutdown(self, how: int) -> None:
        """Wake whoever waits."""
        del how
        self._cut.set()


class _Body:
    """What urllib3 reads a replayed body from."""

    def __init__(self, exchange: Exchange, play: _Play) -> None:
        self.closed = False
        self._exchange = exchange
        self._play = play
        self._pieces = iter(exchange.pieces)
        self._rest = b""

    def read1(self, amount: int = -1) -> bytes:
        if not self._rest:
            at, self._rest = next(self._pieces, (self._exchange.times.ended_s, b""))
            self._play.reach(at)
            if not self._rest:
                self._end()
        amount = len(self._rest) if amount < 0 else amount
        block, self._rest = self._rest[:amount], self._rest[amount:]
        return block

    read = read1

    def _end(self) -> None:
        if self._exchange.end == "timeout":
            raise TimeoutError("silent, as recorded")
        if self._exchange.end == "closed":
            raise ConnectionResetError("closed, as recorded")
        if self._exchange.end == "stopped":
            self._play.stop()

    def close(self) -> None:
        self.closed = True
