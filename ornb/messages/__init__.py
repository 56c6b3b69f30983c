"""What is asked, and what was said: turns and their order, files, placeholders, tools, schemas.

A conversation is a tree. Each turn knows its parent, and `Conversation.head` is the turn at the
end of the *active path*, the one that a reader sees and the model is sent. Going on from an
earlier turn makes a branch and loses nothing. A conversation goes to JSON and back; reading one
only ever reads.
"""

from __future__ import annotations

from .transcript import MIME_TRANSCRIPT
from .tree import Conversation
from .turn import COLUMNS, Content, Turn, all_well_formed, shortened, thought_s, well_formed

__all__ = [
    "COLUMNS",
    "MIME_TRANSCRIPT",
    "Content",
    "Conversation",
    "Turn",
    "all_well_formed",
    "shortened",
    "thought_s",
    "well_formed",
]
