"""Answers on their way to the page: what changed, in few messages, in a fair order.

A message to the browser costs some 600 bytes before it says anything, and beyond 1,000 a second
Jupyter Server drops them. So an answer is sent as what changed in its HTML since the last message
(`LiveAnswer.patch`), and all answers of a kernel share one `Pacer`, which lets at most 30 messages
a second through however many stream at once.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .. import session
from ..api.reply import Event
from ..messages import well_formed
from ..text.markdown import StreamRenderer

PER_SECOND = 30.0
"""Messages a second from this kernel to the page, all widgets' answers together."""
EACH_PER_SECOND = 12.0
"""Messages a second for one answer: smooth to read, and half the bytes of 30."""


class LiveAnswer:
    """The text of one answer while it arrives, and what the page has of it.

    Pieces come in on the thread that reads the network; `patch` and `snapshot` are called on the
    one that sends. Both are safe at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._text: list[str] = []
        self._thought: list[str] = []
        self.has_text = False
        """Whether any text of the answer itself has come."""
        self._renderer = StreamRenderer()
        self._finished: list[str] = []
        self._tail = ""
        self._thought_sent: list[str] = []

    @property
    def wait_s(self) -> float:
        """Seconds to leave before the next patch, by what the last one cost."""
        return self._renderer.wait_s

    def add(self, event: Event) -> bool:
        """Take a piece; True if there is something new to show."""
        pieces = {"text": self._text, "reasoning": self._thought}.get(event.type)
        if pieces is None:
            return False
        with self._lock:
            pieces.append(event.text)
            self.has_text = self.has_text or event.type == "text"
        return True

    def patch(self) -> dict[str, Any] | None:
        """Return what changed since the last patch, which the page has from now on, or None.

        ``keep``, ``add`` and ``end`` are those of `patch` below, for the tail that the page has;
        the first ``done`` of the result are final. ``think`` is appended to the reasoning.
        """
        text, thought = self._taken()
        if not (text or thought):
            return None
        finished, tail = self._renderer.feed(text)
        return self._changed(finished, tail, thought)

    def finish(self) -> dict[str, Any]:
        """Return the last patch, after which the page has the whole and no tail.

        Or ``replace``, the whole HTML, where a link defined after its use changed the final part.
        """
        text, thought = self._taken()
        finished, _ = self._renderer.feed(text)
        had = "".join(self._finished) + finished
        whole = self._renderer.finish()
        if not whole.startswith(had):
            self._finished, self._tail = [whole], ""
            return {"replace": whole, **({"think": thought} if thought else {})}
        return self._changed(finished + whole[len(had) :], "", thought)

    def snapshot(self) -> dict[str, str]:
        """Return all that the page should have after the last patch."""
        return {
            "html": "".join(self._finished),
            "tail": self._tail,
            "think": "".join(self._thought_sent),
        }

    @property
    def html(self) -> str:
        """HTML of what is final; of the whole after `finish`."""
        return "".join(self._finished)

    def _taken(self) -> tuple[str, str]:
        with self._lock:
            text, thought = "".join(self._text), "".join(self._thought)
            self._text.clear()
            self._thought.clear()
        return text, well_formed(thought)

    def _changed(self, finished: str, tail: str, thought: str) -> dict[str, Any]:
        change: dict[str, Any] = patch(self._tail, finished + tail)
        change["done"] = _units(finished)
        self._finished.append(finished)
        self._tail = tail
        if thought:
            change["think"] = thought
            self._thought_sent.append(thought)
        return change


def patch(old: str, new: str) -> dict[str, Any]:
    """Return how to make one text of another, where one stretch of it changed.

    ``keep`` and ``end`` of `old` stay at its start and end, in UTF-16 units, as the page counts;
    ``add`` goes between them.
    """
    keep = _common(old, new)
    end = min(_common(old[::-1], new[::-1]), len(old) - keep, len(new) - keep)
    return {
        "keep": _units(old[:keep]),
        "add": new[keep : len(new) - end],
        "end": _units(old[len(old) - end :]),
    }


def _common(one: str, other: str) -> int:
    """Length of the common beginning, halving the doubt at each step."""
    surely, possibly = 0, min(len(one), len(other))
    while surely < possibly:
        middle = (surely + possibly + 1) // 2
        if one[surely:middle] == other[surely:middle]:
            surely = middle
        else:
            possibly = middle - 1
    return surely


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


# ------------------------------------------------------------------ whose turn it is


@dataclass
class _Speaker:
    send: Callable[[], float]
    context: contextvars.Context
    has_news: bool = False
    due: float = field(default=0.0)


class Pacer:
    """Lets senders speak in turn, so many times a second and no more: all of them, and each."""

    def __init__(
        self, per_second: float = PER_SECOND, each_per_second: float = EACH_PER_SECOND
    ) -> None:
        self._gap = 1 / per_second
        self._own_gap = 1 / each_per_second
        self._free_at = 0.0
        self._speakers: list[_Speaker] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def join(self, send: Callable[[], float]) -> tuple[Callable[[], None], Callable[[], None]]:
        """Take part; returns what says that there is news (from any thread), and what leaves.

        `send` returns the seconds to leave at least before its next turn. It runs on the pacer's
        thread, in the caller's context; when it raises, it takes part no longer.
        """
        speaker = _Speaker(send, contextvars.copy_context())
        with self._changed:
            self._speakers.append(speaker)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ornb-pacer", daemon=True)
                self._thread.start()
        return lambda: self._news(speaker), lambda: self._leave(speaker)

    def turn(self) -> None:
        """Wait for a turn of one's own: for the one message at an answer's end."""
        with self._changed:
            now = time.monotonic()
            at = max(now, self._free_at)
            self._free_at = at + self._gap
        if at > now:
            time.sleep(at - now)

    def _news(self, speaker: _Speaker) -> None:
        if not speaker.has_news:  # read without the lock: a wrong True only waits for the next
            with self._changed:
                speaker.has_news = True
                self._changed.notify()

    def _leave(self, speaker: _Speaker) -> None:
        with self._changed:
            if speaker in self._speakers:
                self._speakers.remove(speaker)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            speaker = self._next()
            if speaker is None:
                return
            try:
                wait = speaker.context.run(speaker.send)
            except Exception:  # noqa: BLE001 - its widget is gone; the others must go on
                self._leave(speaker)
            else:
                speaker.due = time.monotonic() + max(self._own_gap, wait)

    def _next(self) -> _Speaker | None:
        """Wait until somebody may speak; None when nobody is left."""
        with self._changed:
            while self._speakers:
                ready = [speaker for speaker in self._speakers if speaker.has_news]
                if not ready:
                    self._changed.wait()
                    continue
                speaker = min(ready, key=lambda one: one.due)
                now = time.monotonic()
                at = max(speaker.due, self._free_at)
                if at > now:
                    self._changed.wait(at - now)
                    continue
                self._free_at = now + self._gap
                speaker.has_news = False
                return speaker
            self._thread = None
            return None


def pacer() -> Pacer:
    """Return the one of this kernel."""
    return session.default.part(Pacer)
