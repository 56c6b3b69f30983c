"""A conversation as a notebook keeps it, in one output."""

from __future__ import annotations

from typing import Any

from ornb.messages import Conversation
from ornb.text.rendering import entry, opening, stretch


def transcript(conversation: Conversation, *, css_class: str = "") -> dict[str, Any]:
    """What `ornb.Chat` shows of it, while it is short: see `ornb.notebook.chat_kept`."""
    path = {turn.id for turn in conversation.path}
    entries = (entry(turn, shown=turn.id in path) for turn in conversation.turns)
    about = {**conversation.to_json()}
    del about["turns"]
    return stretch(opening(conversation, css_class), entries, about)
