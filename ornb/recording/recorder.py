"""Writing exchanges down while they happen."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import requests
from urllib3.exceptions import ReadTimeoutError

from ..api.reply import counted
from ..api.service import PUBLIC, innermost, secret_words
from ..api.transport import Wire
from ..errors import ConfigError, out_of_ornb
from . import lines
from .lines import Exchange, Request, Times
from .matching import normal
from .opened import Onward, Opened
from .player import KINDS

CATALOGUE = ("/models", "/providers")
"""Where the paths of the catalogue begin: large, and dated by themselves."""


class Recorder(Opened):
    """Writes what is asked, and what is answered, to a file; made by `ornb.record`.

    May be used in a ``with``. Each exchange is in the file once it has ended.

    Attributes
    ----------
    calls : int
        Exchanges written so far.

    Parameters
    ----------
    path, catalogue
        As for `ornb.record`; also attributes.

    Raises
    ------
    ConfigError
        The file cannot be written, or is something else than a recording of this format.
    """

    listens = True

    def __init__(self, path: str | os.PathLike[str], *, catalogue: bool = False) -> None:
        self.path = lines.path_of(path)
        self.catalogue = catalogue
        self.calls = 0
        self._default_model: str | None = None
        self._headed = False
        self._open_locks()
        _refuse_other_files(self.path)
        lines.append(self.path)

    def takes(self, url: str, question: Request) -> bool:
        """Return whether an exchange is to be written."""
        del url
        return self.catalogue or not question.path.startswith(CATALOGUE)

    def excludes(self, other: Opened) -> bool:
        """Return whether another one must not be open at the same time."""
        return isinstance(other, Recorder) and other.path.resolve() == self.path.resolve()

    def between(
        self, request: requests.PreparedRequest, question: Request, onward: Onward
    ) -> requests.Response:
        """Send a request on, and write it down once its answer was read; not what is replayed."""
        taking = _Taking(request, question, self)
        try:
            response = onward()
        except requests.RequestException as error:
            taking.failed(error)
            raise
        except KeyboardInterrupt:
            taking.stopped()
            raise
        if not taking.is_replayed:
            response.raw = _Heard(response.raw, taking.begin(response))
        return response

    def note_default_model(self, model: str) -> None:
        """Keep the name of the model that answers where none is named."""
        with self._lock:
            if model != self._default_model:
                self._default_model, self._headed = model, False

    def write(self, exchange: Exchange, keys: set[str]) -> None:
        """Put an exchange into the file."""
        line = lines.exchange_line(exchange, keys)
        with self._lock:
            head = () if self._headed else (lines.head_line(exchange.source, self._default_model),)
            lines.append(self.path, *head, line)
            self._headed = True
            self.calls += 1

    def __repr__(self) -> str:
        count = counted(self.calls, "call")
        return (
            f"<recording to {self.path}: {count} so far; ornb.replay({str(self.path)!r}) plays it>"
        )


def _refuse_other_files(path: Path) -> None:
    """Add to nothing but a recording of our format."""
    try:
        with path.open("rb") as file:
            rest = iter(lambda: file.readline(100_000), b"")
            begin = next(filter(bytes.strip, rest), b"")  # as they are read: blank ones not
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"The recording {path} cannot be read ({error.strerror}).") from error
    try:
        head = json.loads(begin) if begin else {"ornb_recording": lines.FORMAT}
        known = head["ornb_recording"] == lines.FORMAT
    except (KeyError, TypeError, ValueError, RecursionError):
        known = False
    if not known:
        raise ConfigError(
            f"{path} is there already and is no recording of format {lines.FORMAT}, so nothing is "
            "added to it. Choose another name."
        )


class _Taking:
    """One exchange while it is under way."""

    def __init__(
        self, request: requests.PreparedRequest, question: Request, recorder: Recorder
    ) -> None:
        self._question = question
        self._recorder = recorder
        self._keys = {
            word
            for name, value in request.headers.items()
            if name.lower() not in PUBLIC and isinstance(value, str)
            for word in secret_words(name, value)
        }
        self._wire = Wire.current() or Wire()
        self._began = perf_counter()
        self._pieces: list[tuple[float, bytes]] = []
        self._response: requests.Response | None = None
        self._head_s = 0.0
        self._end: str | None = None
        self._ended_s = 0.0
        self._heard_at: float | None = None
        self._written = False

    def _now(self) -> float:
        return perf_counter() - (self._wire.sent_at or self._began)

    def _clock(self) -> float:
        """Tell the call, of what was just heard, the moment that is written down."""
        at, self._heard_at = self._heard_at, None
        return perf_counter() if at is None else at

    @property
    def is_replayed(self) -> bool:
        return self._wire.recorded is not None

    def begin(self, response: requests.Response) -> _Taking:
        self._response, self._wire.clock = response, self._clock
        head_at, sent_at = self._wire.head_at, self._wire.sent_at
        self._head_s = head_at - sent_at if head_at and sent_at else self._now()
        return self

    def heard(self, block: bytes) -> None:
        self._heard_at = perf_counter()
        self._ended_s = self._heard_at - (self._wire.sent_at or self._began)
        if block:
            self._pieces.append((self._ended_s, block))
        elif self._end is None:
            self._end = "stopped" if self._wire.was_cut and not self._is_complete() else "whole"

    def broken(self, error: BaseException) -> None:
        self._ended_s = self._now()
        kind = "timeout" if isinstance(error, ReadTimeoutError | TimeoutError) else "closed"
        by_us = self._wire.was_cut or not isinstance(error, Exception)
        self._end = "stopped" if by_us else kind

    def closed(self) -> None:
        """The body was read, or nobody wants the rest."""
        if self._response is not None and self._end is None:
            self._ended_s = self._ended_s if self._is_complete() else self._now()
            self._end = "whole" if self._is_complete() else "stopped"
        self._write(self._end or "whole")

    def failed(self, error: requests.RequestException) -> None:
        self._ended_s = self._now()
        kind = "stopped" if self._wire.was_cut else _kind(error, sent=bool(self._wire.sent_at))
        self._write(kind, innermost(error) if kind == "unreachable" else "")

    def stopped(self) -> None:
        self._ended_s = self._now()
        self._write("stopped")

    def _is_complete(self) -> bool:
        """Whether the last event of a stream has come: the end, or an error."""
        last = b"".join(block for _, block in self._pieces[-2:])[-100_000:]
        return b"data: [DONE]" in last or b'"error"' in last

    def _write(self, end: str, why: str = "") -> None:
        if self._written or self.is_replayed:
            return
        self._written = True
        response, wire = self._response, self._wire
        headers = {} if response is None else dict(response.headers)
        source = headers.get("X-Ornb-Source", "live")
        exchange = Exchange(
            normal(self._question),
            datetime.now(UTC),
            source if source in lines.SOURCES else "live",
            None if response is None else response.status_code,
            headers,
            tuple(self._pieces),
            end,
            why,
            Times(
                max(0.0, (wire.sent_at or self._began) - self._began),
                wire.connect_s,
                self._head_s,
                self._ended_s,
            ),
        )
        try:
            self._recorder.write(exchange, self._keys)
        except ConfigError as error:  # the answer is worth more than its recording
            warnings.warn(f"A call was not recorded. {error}", stacklevel=out_of_ornb())


class _Heard:
    """A body that is written down as it is read."""

    _original_response = None  # it would be read past us

    def __init__(self, raw: Any, taking: _Taking) -> None:
        self._raw = raw
        self._taking = taking

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def read1(self, *args: Any, **kwargs: Any) -> bytes:
        try:
            block: bytes = self._raw.read1(*args, **kwargs)
        except BaseException as error:
            self._taking.broken(error)
            raise
        self._taking.heard(block)
        return block

    def stream(self, amt: int = 65_536, decode_content: bool | None = None) -> Iterator[bytes]:
        """As requests itself reads an answer that sends it elsewhere."""
        while block := self.read1(amt, decode_content=decode_content):
            yield block

    def close(self) -> None:
        self._raw.close()
        self._taking.closed()

    def release_conn(self) -> None:
        self._raw.release_conn()
        self._taking.closed()


def _kind(error: requests.RequestException, *, sent: bool) -> str:
    known = next((name for name, kind in KINDS.items() if isinstance(error, kind)), None)
    return known or ("closed" if sent else "unreachable")
