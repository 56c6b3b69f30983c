"""One message of a conversation: what it holds, how it is shortened, and its row in a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..api.body import text_of
from ..api.reply import Reply, counted

_SURROGATE = re.compile("[\ud800-\udfff]")

Content = str | Sequence[Mapping[str, Any]]
"""What a turn holds: text, or the API's list of parts (text, images, files)."""

COLUMNS = {
    "turn_id": "string",
    "parent_id": "string",
    "role": "string",
    "content": "string",
    "reasoning": "string",
    "started_at": "datetime64[ns, UTC]",
    "model": "string",
    "served_model": "string",
    "provider": "string",
    "source": "string",
    "prompt_tokens": "Int64",
    "completion_tokens": "Int64",
    "reasoning_tokens": "Int64",
    "cost_usd": "float64",
    "byok_usd": "float64",
    "cost_source": "string",
    "time_to_first_token_s": "float64",
    "duration_s": "float64",
    "finish_reason": "string",
    "status": "string",
    "error": "string",
}
"""Columns of `Conversation.df` and their dtypes; those from ``started_at`` on are empty in a
user's turn. Times in seconds, cost in USD."""

LONGEST_KEPT = 200_000
"""Characters of a prompt above which `Conversation.light` shortens it."""
LARGEST_KEPT = 3_000_000
"""Characters of a data URL above which `Conversation.light` only names the file; the file has
three quarters of that in bytes."""


@dataclass(frozen=True)
class Turn:
    """One message.

    Examples
    --------
    >>> Turn("1", None, "user", "What is a token?").text
    'What is a token?'
    """

    id: str
    """Unique within its conversation."""
    parent_id: str | None
    """The turn it answers or follows; None at a beginning."""
    role: str
    """"user" or "assistant"."""
    content: Content
    reply: Reply | None = None
    """Facts of an answer: model, tokens, cost, times, source. None for the user's turn."""
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Keys of a file that this version does not know; they are written back."""
    steps: tuple[Mapping[str, Any], ...] = ()
    """Messages between a question and its answer, as the API takes them: each request for tools
    (role "assistant") with the results of all of them (role "tool")."""

    @property
    def text(self) -> str:
        """The text alone, of a content that has other parts too."""
        return text_of(self.content)


def well_formed(text: str) -> str:
    """Make text that can be written as UTF-8: halves of surrogate pairs joined, or replaced."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def all_well_formed(data: Mapping[Any, Any]) -> dict[Any, Any]:
    """Make the texts among some values such; Arrow, by pandas 3, takes no others."""
    return {name: well_formed(v) if isinstance(v, str) else v for name, v in data.items()}


def thought_s(reply: Reply) -> float | None:
    """Return the seconds that a model thought aloud, to the first token of the answer itself.

    To the end where none came; None where it did not think aloud, or the times are not known.
    """
    timing = reply.timing
    began = timing.time_to_first_token_s
    ended = timing.time_to_first_answer_s
    if ended is None and not reply.text:
        ended = timing.duration_s
    if not reply.reasoning or began is None or ended is None:
        return None
    return max(0.0, ended - began)


def parsed_files(reply: Reply | None) -> dict[str, Any]:
    """Return what the service read out of a file: sent back, it is not read, and billed, again."""
    found = reply.annotations if reply else ()
    files = [annotation for annotation in found if annotation.get("type") == "file"]
    return {"annotations": files} if files else {}


def shortened(text: str, longest: int = LONGEST_KEPT) -> str:
    """Cut the middle out of a text that is too long to show or to keep."""
    if len(text) <= longest:
        return text
    return f"{text[:2_000]}\n\n… {len(text) - 2_500:,} characters …\n\n{text[-500:]}"


def light(turn: Turn) -> Turn:
    """Return a turn for where size counts: what is huge is cut or named."""
    if isinstance(turn.content, str):
        content: Content = turn.content
        if turn.role == "user":
            content = shortened(turn.content)
    else:
        content = [_light_part(part) for part in turn.content]
    reply = turn.reply
    if reply is not None and any(len(url) > LARGEST_KEPT for url in reply.images):
        kept = tuple(url for url in reply.images if len(url) <= LARGEST_KEPT)
        lost = counted(len(reply.images) - len(kept), "image")
        note = f"{lost} too large to be kept here. {reply.note or ''}".strip()
        reply = replace(reply, images=kept, note=note)
    if content is turn.content and reply is turn.reply:
        return turn
    return replace(turn, content=content, reply=reply)


def _light_part(part: Mapping[str, Any]) -> Mapping[str, Any]:
    text, inside = part.get("text"), part.get(str(part.get("type")))
    if isinstance(text, str):
        return {**part, "text": shortened(text)}
    values = inside.values() if isinstance(inside, Mapping) else ()
    size = max((len(value) for value in values if isinstance(value, str)), default=0)
    if size <= LARGEST_KEPT or not isinstance(inside, Mapping):
        return part
    name = inside.get("filename") or str(part.get("type")).partition("_")[0]
    megabytes = f"{size * 0.75e-6:.1f} MB"
    return {"type": "text", "text": f"[{name}, {megabytes}: was sent, and is not kept here]"}


def row(turn: Turn) -> dict[str, Any]:
    """Return a turn as a row of `Conversation.df`."""
    found: dict[str, Any] = {
        "turn_id": turn.id,
        "parent_id": turn.parent_id,
        "role": turn.role,
        "content": turn.text,
    }
    reply = turn.reply
    if reply is not None:
        call = reply.row()
        found |= {name: call[name] for name in COLUMNS if name in call}
        found["reasoning"] = reply.reasoning or None
    return found
