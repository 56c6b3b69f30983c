"""The recordings that are open in this process, and what passes through them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from typing import ClassVar, Self
from urllib.parse import parse_qsl, urlsplit

import requests

from ..api.transport import Adapter
from .lines import Request

__all__ = ["Opened", "opened", "question_of"]

Onward = Callable[[], requests.Response]

_API = re.compile(r"/(?:chat/completions|generation|models(?:/.+/endpoints)?|providers)$")

_lock = threading.RLock()
_open: tuple[Opened, ...] = ()


class Opened:
    """A recording that is being made or replayed.

    It is open from the start, and the next of its kind takes its place. In a ``with`` it is open
    for the block, and what was open before is again afterwards.
    """

    listens: ClassVar[bool] = False
    """Whether it writes; else it answers."""

    def __init__(self) -> None:
        self._set_aside: tuple[Opened, ...] = ()
        self._of_block = False

    def takes(self, url: str, question: Request) -> bool:
        """Return whether a request is its business; others pass by."""
        raise NotImplementedError

    def between(
        self, request: requests.PreparedRequest, question: Request, onward: Onward
    ) -> requests.Response:
        """Pass a request on to the service, or answer it."""
        raise NotImplementedError

    def excludes(self, other: Opened) -> bool:
        """Return whether another one must not be open at the same time.

        Parameters
        ----------
        other : Opened
            Open already.

        Returns
        -------
        bool
            True: it is closed.
        """
        del other
        return False

    def _replaces(self, other: Opened) -> bool:
        is_next_of_its_kind = not other._of_block and other.listens == self.listens
        return is_next_of_its_kind or self.excludes(other)

    def open(self, *, beneath: bool = False) -> Self:
        """Begin.

        Parameters
        ----------
        beneath : bool
            Below all others, to stay there until it is closed.

        Returns
        -------
        Opened
            Itself.
        """
        with _lock:
            if beneath:
                self._of_block = True
                _set((self, *_open))
            else:
                self._set_aside = tuple(each for each in _open if self._replaces(each))
                _set((*(each for each in _open if each not in self._set_aside), self))
        return self

    def close(self) -> None:
        """End; safe to call twice. Answers that are under way are not disturbed."""
        with _lock:
            _set(tuple(each for each in _open if each is not self))

    def __enter__(self) -> Self:
        with _lock:
            if self in _open and not self._of_block:  # meant for the block, not for good
                self._of_block = True
                before = [each for each in _open if each is not self]
                again = [each for each in self._set_aside if not self.excludes(each)]
                _set((*again, *before, self))
                self._set_aside = ()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def opened() -> tuple[Opened, ...]:
    """Return the recordings that are open, the innermost last."""
    return _open


def _set(tapes: tuple[Opened, ...]) -> None:
    global _open  # noqa: PLW0603 - one process, one network
    _open = tapes
    Adapter.between = _pass if tapes else None


def _pass(request: requests.PreparedRequest, onward: Onward) -> requests.Response:
    """Pass a request through those that listen, then to the innermost that answers."""
    question = question_of(request)
    if question is None:
        return onward()
    tapes = [each for each in _open if each.takes(str(request.url), question)]
    answering = [each for each in tapes if not each.listens][-1:]
    for tape in (*answering, *(each for each in tapes if each.listens)):
        onward = _through(tape, request, question, onward)
    return onward()


def _through(
    tape: Opened, request: requests.PreparedRequest, question: Request, onward: Onward
) -> Onward:
    return lambda: tape.between(request, question, onward)


def question_of(request: requests.PreparedRequest) -> Request | None:
    """Read a request, if it is of the kinds that are recorded.

    They are chats, bills of single calls and the catalogue: what an account is and has is not for a
    recording.
    """
    url = urlsplit(str(request.url))
    path = _API.search(url.path)
    if path is None:
        return None
    sent = request.body or b""
    try:
        body = json.loads(sent) if sent else None
    except (TypeError, ValueError):
        body = sent.decode("utf-8", "replace") if isinstance(sent, bytes) else str(sent)
    return Request(str(request.method), path.group(), dict(parse_qsl(url.query)), body)
