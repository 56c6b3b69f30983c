"""What a recording is, be it made or replayed, and which requests are its business."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import parse_qsl, urlsplit

import requests

from ..api.others import KINDS
from .lines import Request

if TYPE_CHECKING:
    from . import Recordings

Onward = Callable[[], requests.Response]

_OTHERS = "".join(f"|{kind.path[1:]}" for kind in KINDS.values())
_API = re.compile(rf"/(?:chat/completions|generation|models(?:/.+/endpoints)?|providers{_OTHERS})$")


class Opened:
    """A recording that is being made or replayed.

    It is open from the start, and the next of its kind takes its place. In a ``with`` it is open
    for the block, and what was open before is again afterwards.
    """

    listens: ClassVar[bool] = False
    """Whether it writes; else it answers."""
    among: Recordings
    of_block = False
    set_aside: tuple[Opened, ...] = ()
    """Those that it replaced, as long as it is not known to be for a block."""

    def _open_locks(self) -> None:
        """Make the lock: in a fork another one."""
        self._lock = threading.Lock()

    def takes(self, url: str, question: Request) -> bool:
        """Return whether a request is its business; others pass by."""
        raise NotImplementedError

    def between(
        self, request: requests.PreparedRequest, question: Request, onward: Onward
    ) -> requests.Response:
        """Pass a request on to the service, or answer it."""
        raise NotImplementedError

    def excludes(self, other: Opened) -> bool:
        """Return whether another one must not be open at the same time."""
        del other
        return False

    def replaces(self, other: Opened) -> bool:
        """Return whether another one that is open gives way."""
        is_next_of_its_kind = not other.of_block and other.listens == self.listens
        return is_next_of_its_kind or self.excludes(other)

    def close(self) -> None:
        """End; safe to call twice. Answers that are under way are not disturbed."""
        self.among.close(self)

    def __enter__(self) -> Self:
        self.among.begin_block(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
