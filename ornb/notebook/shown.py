"""A turn as a chat's page draws it: plain text, but for what `ornb.text` has made safe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..api.reply import Reply
from ..messages import Turn, all_well_formed, shortened, thought_s, well_formed
from ..messages.attachments import Attachment
from ..messages.tools import read_call
from ..text.citations import footnotes
from ..text.markdown import plain, render
from ..text.rendering import facts, pictures_html, provider_words

LONGEST_SHOWN = 10_000
"""Characters of a prompt, or of a tool's result, above which the page gets its two ends only."""
LARGEST_SHOWN = 6_000_000
"""Characters of a picture's data URL above which the page gets its name only."""
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""Types that a browser draws without running anything."""


def turn_for_page(
    turn: Turn, *, html: str | None = None, branches: Sequence[Turn]
) -> dict[str, Any]:
    """Describe a turn to the page, as JSON: every string is text, but for ``html``, ``pictures``.

    `branches` are the turn and its siblings, in order.
    """
    ids = [other.id for other in branches]
    data: dict[str, Any] = {"id": turn.id, "role": turn.role}
    if len(ids) > 1:
        data["branches"] = ids
    if turn.reply is None:
        text = shortened(turn.text, LONGEST_SHOWN)
        data |= {"text": text, "cut": text != turn.text, "files": files_of(turn)}
    else:
        data |= _answer(turn, turn.reply)
        if html is not None:
            data |= {"html": html, "think": turn.reply.reasoning}
    return all_well_formed(data)


def files_of(turn: Turn) -> list[dict[str, Any]]:
    """Describe what goes with a question; a ``url`` is there for a picture that is safe to draw."""
    if isinstance(turn.content, str):
        return []
    found = (Attachment.from_part(part) for part in turn.content)
    return [file_for_page(one) for one in found if one is not None]


def file_for_page(one: Attachment) -> dict[str, Any]:
    """Describe one attachment. An address is never a ``url``: the page fetches nothing."""
    data = {"name": one.name, "kind": one.kind, "extent": one.extent}
    if not one.is_remote and one.media_type in PICTURES and len(one.url) <= LARGEST_SHOWN:
        data["url"] = one.url
    return data


def body_html(reply: Reply, html: str | None = None) -> str:
    """Return safe HTML of an answer's text, with marks where it cites a source."""
    marked, notes = footnotes(reply.annotations, reply.text)
    if notes:
        return render(marked)
    return render(reply.text) if html is None else html


def sources_of(reply: Reply) -> list[dict[str, Any]]:
    """Describe the sources that an answer cites; their ``url`` is http or https."""
    return [
        {"number": one.number, "title": one.title, "url": one.url, "host": one.host}
        for one in footnotes(reply.annotations, reply.text)[1]
    ]


def steps_for_page(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Describe the calls of tools that led to an answer, all as text."""
    results = {
        str(step.get("tool_call_id")): step.get("content")
        for step in steps
        if step.get("role") == "tool"
    }
    calls = [
        call
        for step in steps
        if isinstance(step.get("tool_calls"), list)
        for call in step["tool_calls"]
        if isinstance(call, Mapping)
    ]
    shown = [call_for_page(call, results.get(str(call.get("id")))) for call in calls]
    return [{name: shortened(text, LONGEST_SHOWN) for name, text in one.items()} for one in shown]


def call_for_page(call: Mapping[str, Any], result: Any = None) -> dict[str, str]:
    """Describe one call of a tool.

    Name and arguments are whole, whatever their length: they are what a person allows. What would
    show them in another order than they run is spelt out.
    """
    call_id, name, arguments = read_call(call)
    try:
        arguments = json.dumps(json.loads(str(arguments)), ensure_ascii=False)
    except (ValueError, RecursionError):
        arguments = str(arguments or "")
    return {
        "id": well_formed(call_id),
        "name": plain(name),
        "arguments": plain(arguments),
        "result": plain(shortened("" if result is None else str(result), LONGEST_SHOWN)),
    }


def _answer(turn: Turn, reply: Reply) -> dict[str, Any]:
    said = facts(reply)
    thought = thought_s(reply)
    return {
        "who": reply.model or reply.requested_model or "",
        "asked_model": reply.requested_model or "",
        "provider": provider_words(reply),
        "source": reply.source,
        "source_label": said.source,
        "facts": said.numbers,
        "note": reply.note or "",
        "error": reply.error or "",
        "status": reply.status,
        "source_text": shortened(turn.text, 20 * LONGEST_SHOWN),
        "thought": None if thought is None else f"{thought:.1f} s",
        "steps": steps_for_page(turn.steps),
        "sources": sources_of(reply),
        "pictures": pictures_html(reply),
    }
