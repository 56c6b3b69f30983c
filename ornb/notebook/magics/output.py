"""The answer in the cell: streams into one output, which then stays with the facts of the call."""

from __future__ import annotations

import html
import sys
import threading
from typing import Any

from ...api.reply import Event, Reply
from ...messages import MIME_TRANSCRIPT, Conversation
from ...text.markdown import plain
from ...text.rendering import facts, reply_html, reply_text, static_html
from ..host import Lasting, server_keeps
from ..live import LiveAnswer

BYTES_PER_SECOND = 12_000
"""Of HTML into a cell's output while it streams; plain deltas at 30 Hz cost about as much."""


def audit(reply: Reply, params: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a call, to be kept beside its answer.

    They are named like the columns of `ornb.usage`; a key is not among the facts of a reply.
    """
    began = reply.timing.started_at
    known = reply.row() | {
        "started_at": began and began.isoformat(timespec="microseconds"),
        "attempts": reply.attempts or None,
        "params": params or None,
        "ornb_version": sys.modules["ornb"].__version__,
    }
    return {name: value for name, value in known.items() if value is not None}


class CellOutput:
    """One output of a cell, updated in place. For notebooks.

    Each update carries the whole so far, so updates become rarer as it grows: what they cost stays
    in proportion to the time they take. A server that keeps the outputs gets it whole, once.
    """

    def __init__(self, hz: float = 12.0) -> None:
        self._gap_s = 1 / hz
        self._once = server_keeps()
        self._lock = threading.Lock()
        self._answer = LiveAnswer()
        self._output: Lasting | None = None
        self._begun = self._over = False

    def wait(self, words: str) -> None:
        """Show, while nothing has come, what is going on."""
        if self._once:
            print(words)
            return
        with self._lock:
            self._put({"text/html": f"<p><em>{html.escape(words)}</em></p>", "text/plain": words})

    def add(self, event: Event) -> bool:
        """Take a piece; whether there is something to show."""
        news = self._answer.add(event) and (event.type == "text" or not self._begun)
        return news and not self._once

    def show(self) -> float:
        """Update the output, and return the seconds to wait before the next time."""
        with self._lock:
            if self._over:
                return 0.0
            self._begun = True
            self._answer.patch()
            shown = self._answer.snapshot()
            body = shown["html"] + shown["tail"] or "<p><em>Thinking …</em></p>"
            self._put({"text/html": static_html(body), "text/plain": "…"})
        return max(self._gap_s, self._answer.wait_s, len(body) / BYTES_PER_SECOND)

    def end(self, reply: Reply, talk: Conversation, params: dict[str, Any]) -> None:
        """Leave the output that stays; nothing, if nothing came and an error tells why.

        The conversation is kept whole, so that a chat can go on from this output.
        """
        with self._lock:
            self._over = True
            if not self._begun and reply.status != "ok" and not reply.text:
                if self._output is not None:
                    self._put({"text/html": "", "text/plain": ""})
                return
            data = {
                "text/html": reply_html(reply),
                "text/plain": reply_text(reply),
                MIME_TRANSCRIPT: talk.to_json(),
            }
            self._put(data, {"ornb": audit(reply, params)})

    def _put(self, data: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        if self._output is None:
            self._output = Lasting(data, metadata=metadata or {})
        else:
            self._output.update(data, metadata=metadata or {})


class TerminalOutput:
    """Plain text, for where IPython runs in a terminal. The same methods as `CellOutput`.

    `is_blind` leaves the line of facts, which names the model, to the caller.
    """

    def __init__(self, *, is_blind: bool = False) -> None:
        self._begun = False
        self._is_blind = is_blind

    def wait(self, words: str) -> None:
        """Show, while nothing has come, what is going on."""
        print(plain(words))

    def add(self, event: Event) -> bool:
        """Write a piece at once; nothing is left to show."""
        if event.type == "text":
            sys.stdout.write(plain(event.text))
            sys.stdout.flush()
        elif event.type == "reasoning" and not self._begun:
            print("(thinking ...)")
        self._begun = self._begun or event.type in ("text", "reasoning")
        return False

    def show(self) -> float:
        """Nothing is left to show."""
        return 0.0

    def end(self, reply: Reply, _talk: Conversation, _params: dict[str, Any]) -> None:
        """Write the line of facts; the whole answer where it did not come in pieces."""
        if not self._begun and reply.status != "ok" and not reply.text:
            return  # the error tells
        if not self._begun and reply.text:
            print(plain(reply.text), end="")
        if self._is_blind:
            print()
            return
        note = f"\n{plain(reply.note)}" if reply.note else ""
        print(f"\n[{facts(reply)}]{note}")
