"""A conversation as Markdown, as JSON, and as a notebook that goes on with it.

The same conversation always gives the same bytes. What is written holds what was said and what it
cost, and no key: a conversation has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..api.refusals import mapping
from ..api.reply import counted
from ..errors import ConfigError
from ..messages import Content, Conversation, Turn, well_formed
from ..messages.transcript import write_whole
from .citations import footnotes
from .rendering import facts_line, step_lines
from .writer import fenced, link, literal, rewritten

SUFFIXES = {".md": "Markdown", ".json": "JSON", ".ipynb": "a notebook"}
"""What `save` writes, by the file's suffix."""

_ABOUT = """# {title}

The code cell below brings the conversation back, and the last one shows it, to go on with. Neither
asks a model anything."""
_AFTER = '# The next question, when you like:\n# chat.ask("...")\nchat'
_WIDTH = 88


def to_markdown(conversation: Conversation) -> str:
    """Write a conversation's path as Markdown for any renderer, also one that lets HTML through.

    An answer's HTML is shown as text, its images are links, its links lead to web and mail
    addresses only, and its headings stand below ours.
    """
    blocks = [block for turn in conversation.path for block in _turn(turn)]
    if conversation.system:
        blocks.insert(0, _said(conversation.system, before="System: "))
    return well_formed("\n\n".join(blocks or ["No messages yet."])) + "\n"


def to_json(conversation: Conversation) -> str:
    """Write a conversation, all branches, as the JSON that `Conversation.load` reads."""
    return well_formed(json.dumps(conversation.to_json(), ensure_ascii=False, indent=1) + "\n")


def to_notebook(conversation: Conversation) -> dict[str, Any]:
    """Make a notebook (format 4.5) that shows a conversation and, when it is run, goes on with it.

    All branches are in it, and it needs no other file. Running it asks nothing. What is huge is
    cut, see `Conversation.light`.
    """
    path = conversation.path
    shown = ["\n\n".join(_turn(turn)) for turn in path]
    if conversation.system:
        shown.insert(0, _said(conversation.system, before="System: "))
    title = f"A conversation, {counted(len(path), 'message')}"
    cells = [
        _cell("markdown", _ABOUT.format(title=title)),
        _cell("code", _rebuilt(conversation), jupyter={"source_hidden": True}),
        *(_cell("markdown", well_formed(text)) for text in shown),
        _cell("code", _AFTER),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": [{"id": f"ornb-{number}", **cell} for number, cell in enumerate(cells)],
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def as_text(conversation: Conversation, path: str | Path) -> str:
    """Write a conversation in the form that a file's suffix says."""
    path = Path(path)
    kind = path.suffix.lower()
    if kind == ".json":
        return to_json(conversation)
    if kind == ".md":
        return to_markdown(conversation)
    if kind == ".ipynb":
        return json.dumps(to_notebook(conversation), ensure_ascii=False, indent=1) + "\n"
    known = ", ".join(f"{suffix} ({what})" for suffix, what in SUFFIXES.items())
    raise ConfigError(f"{path.name!r} does not say what to write; let it end in {known}.")


def save(conversation: Conversation, path: str | Path) -> Path:
    """Write a conversation to a file, in the form that its suffix says."""
    path = Path(path)
    write_whole(path, as_text(conversation, path))
    return path


# ------------------------------------------------------------------ a turn as Markdown


def _turn(turn: Turn) -> Iterator[str]:
    reply = turn.reply
    if reply is None:
        yield "### You"
        yield from _content(turn.content)
        return
    yield f"### {literal(reply.model or reply.requested_model or 'Model')}"
    if reply.reasoning:
        yield f"<details><summary>Reasoning</summary>\n\n{fenced(reply.reasoning)}\n\n</details>"
    for step in turn.steps:
        yield from map(fenced, step_lines(step))
    text, notes = footnotes(reply.annotations, turn.text)
    if text.strip():
        yield rewritten(text, below=3)
    if notes:
        yield "\n".join(f"{note.number}. {link(note.url, note.title)}" for note in notes)
    if reply.images:
        yield f"[images made by the model, in the transcript: {len(reply.images)}]"
    if reply.error:
        yield f"**{literal(reply.error)}**"
    line = [*facts_line(reply, named=True), *filter(None, (reply.generation_id, reply.note))]
    yield f"<sub>{' · '.join(map(literal, line))}</sub>"


def _said(text: str, *, before: str = "") -> str:
    """What a person typed, to the letter: a line as a quotation, more as a block of text."""
    if "\n" in text.strip():
        return f"> {before}\n\n{fenced(text)}" if before else fenced(text)
    return f"> {before}{literal(text)}"


def _content(content: Content) -> Iterator[str]:
    for part in [{"text": content}] if isinstance(content, str) else content:
        if isinstance(part.get("text"), str):
            yield _said(str(part["text"]))
            continue
        kind = str(part.get("type"))
        held = mapping(part.get(kind))
        url = str(held.get("url") or "data:")
        name = held.get("filename") or ("" if url.startswith("data:") else url)
        yield f"> {literal(f'[{kind} {name}]'.replace(' ]', ']'))}"


# ------------------------------------------------------------------ a notebook's cells


def _cell(kind: str, source: str, **metadata: Any) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "metadata": metadata}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell | {"source": source.splitlines(keepends=True)}


def _rebuilt(conversation: Conversation) -> str:
    """Code that brings a conversation back: its transcript as a string, and not one name of it."""
    data = json.dumps(conversation.light().to_json())  # ASCII: no character can end a line early
    lines = [data[at : at + _WIDTH] for at in range(0, len(data), _WIDTH)]
    written = "\n".join(f"    {line!r}" for line in lines)
    return f"import ornb\n\nchat = ornb.Chat.reopen(\n{written}\n)"
