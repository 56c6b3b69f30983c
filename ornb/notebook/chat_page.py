"""What a chat shows: its messages to the page, and the output that stays in the notebook.

All messages to the page carry one sequence number; a page that misses one asks for the whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

import traitlets as t

from .. import session
from ..api.client import OPENROUTER
from ..messages import Conversation, Turn
from .base import WHOLE_EVERY_S, LastingWidget, in_thread, service_of
from .chat_kept import Kept
from .exchange import ChatCall
from .shown import body_html, turn_for_page

if TYPE_CHECKING:
    from ..api.client import Client

WHOLE_PAUSE_S = 0.2
"""Between the outputs of a long one: Jupyter Server drops what is beyond 3 MB in 3 s."""

KEPT_EVERY_S = 5.0
"""How often the output that stays is brought up to date while an answer is being written, so that
a kernel that ends takes little with it."""
KEPT_BYTES_PER_S = 1_500
"""And what that may cost: a longer conversation is brought up to date less often."""


class ChatPage(LastingWidget):
    """The half of `ornb.Chat` that shows; what is asked is up to those who build on it."""

    model = t.Unicode(None, allow_none=True).tag(sync=True)
    """Id of the model that is asked next; None for the service's default."""

    service = t.Unicode("").tag(sync=True)
    """Who is asked: "offline", or the host of a live service; empty before it is known."""

    _default_model = t.Unicode("").tag(sync=True)

    # Also there when __init__ refused its arguments: Python closes what it throws away.
    _call: ChatCall | None = None
    _leave_conversation: Callable[[], None] | None = None

    def __init__(self, talk: Conversation, client: Client | None, model: str | None) -> None:
        super().__init__(model=model)
        self._client = client
        self._html: dict[str, str] = {}
        self._mine = False
        self._take_conversation(talk)
        self._kept_due = self._kept_wait = 0.0
        self._kept: Kept | None = None
        self._page_writes = False

    @property
    def conversation(self) -> Conversation:
        """The turns so far, with the facts of each answer."""
        return self._conversation

    def _take_conversation(self, conversation: Conversation) -> None:
        if self._leave_conversation is not None:
            self._leave_conversation()
        self._conversation = conversation
        self._leave_conversation = conversation.on_change(self._on_change)

    @contextlib.contextmanager
    def _own_change(self) -> Iterator[None]:
        """Change the conversation without being told of it."""
        self._mine = True
        try:
            yield
        finally:
            self._mine = False

    def _on_change(self) -> None:
        """Show what code did with the conversation."""
        with self._lock:
            if self._mine:
                return
            self._tell_state()
        self._update_kept()

    def _meet(self) -> Client:
        """Return the client, and tell the page who that is."""
        client = self._client or session.client()
        self.service = service_of(client)
        is_known = client.source == "offline" or client.base_url == OPENROUTER
        if self.model is None and self._client is None and is_known:
            self._default_model = session.default_model() or ""
        return client

    # ------------------------------------------------------------------ the page

    def _tell_state(self) -> None:
        """Send the page everything."""
        with self._lock:
            began, call, here = monotonic(), self._call, self._conversation.head
            live = None
            if call is not None and here is not None and here.id == call.question.id:
                live = {**self._live(call), **call.answer.snapshot()}  # elsewhere it is nobody's
            turns = [self._for_page(turn, whole=True) for turn in self._conversation.path]
            self._tell("state", turns=turns, live=live, page=self._page if self._kept else None)
            took = monotonic() - began
            self._whole_due = monotonic() + max(WHOLE_EVERY_S, 20 * took)

    def _live(self, call: ChatCall) -> dict[str, Any]:
        """What the page says of an answer before anything has come."""
        asked = call.params["model"]
        return {
            "who": asked if isinstance(asked, str) else "",
            "blocking": call.blocking,
            "steps": list(call.calls),
        }

    def _for_page(self, turn: Turn, *, whole: bool = False) -> dict[str, Any]:
        """A turn as the page draws it; all of it text, but for what `rendering` made safe."""
        html = None
        if whole and turn.reply is not None:
            html = self._html.get(turn.id) or body_html(turn.reply)
            self._html[turn.id] = html
        return turn_for_page(turn, html=html, branches=self._conversation.branches(turn))

    # ------------------------------------------------------------------ the output that stays

    def _ipython_display_(self) -> None:
        with self.guard():
            self._meet()
        self._show_live()
        self.keep()

    def keep(self) -> None:
        """Show, here, the output that stays; it is brought up to date when an answer ends.

        Showing a chat by itself does this. Call it for a chat inside a box with other widgets.

        Examples
        --------
        >>> chat = ornb.Chat()
        >>> chat.keep()  # doctest: +SKIP
        """
        with self._lock:
            self._page, self._page_writes = None, False  # the next to say hello shows this output
            self._kept = Kept(self._conversation, self._html, self._lasting_class)

    def _greet(self, page: Any, *, writes: bool, served: bool) -> None:
        """Hear of a page that shows the chat; the newest that writes into its notebook does so."""
        with self._lock:
            if writes:
                self._page, self._page_writes = page, True
            if self._page is None or served:  # a server goes on saving, whichever page is there
                self._page = page
            self._tell_state()
            kept = self._kept if writes else None
        if kept is not None:
            in_thread("ornb-chat-kept", self._tell_kept, kept)

    def _tell_kept(self, kept: Kept) -> None:
        """Have the page put all there is into the notebook, no faster than Jupyter lets through."""
        for piece in kept.pieces:
            with self._lock:
                if kept is not self._kept:
                    return  # it was shown anew meanwhile
                self._tell("kept", page=self._page, **kept.whole(piece))
            time.sleep(WHOLE_PAUSE_S)

    def _update_kept(self, part: Turn | None = None) -> int:
        """Bring the output that stays up to date; characters that took."""
        with self._lock:
            if self._kept is None:
                return 0
            if not self._page_writes:
                return self._kept.redraw(part)
            news = self._kept.news(part)
            self._tell("kept", page=self._page, **news)
            return sum(2 * len(html) + len(text) for _, html, text, _ in news["entries"].values())

    def _keep_part(self, call: ChatCall) -> None:
        """Bring the output that stays up to date in mid-answer."""
        part, here = None, self._conversation.head
        if call.stream is not None and call.answer.has_text and here == call.question:
            reply, steps = call.stream.reply, tuple(call.steps)
            reply = dataclasses.replace(reply, status="stopped")
            part_id = self._conversation._new_id()
            part = Turn(part_id, call.question.id, "assistant", reply.text, reply, steps=steps)
        size = self._update_kept(part)
        self._kept_wait = max(KEPT_EVERY_S, size / KEPT_BYTES_PER_S)
        self._kept_due = monotonic() + self._kept_wait

    def _static_text(self) -> str:
        # Saved as it was when the chat was shown, so it must hold for later as well.
        return "Live chat (needs a running kernel); what was said is in the output below."
