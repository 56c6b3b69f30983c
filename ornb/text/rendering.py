"""What stays of an answer in a notebook: safe HTML that reads well also without a style sheet.

A widget is gone when its notebook is opened again, so everything of worth is in ordinary outputs.
`ornb.text.markdown` makes an answer's text safe; what else an answer brings (names, errors,
reasoning, sources, pictures) is escaped or checked here.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple
from unicodedata import bidirectional

from ..api.refusals import mapping
from ..api.reply import NO_TEX, source_of
from ..messages import MIME_TRANSCRIPT, thought_s, well_formed
from ..messages.transcript import turn_to_json
from .citations import footnotes
from .markdown import plain, render, web_link

if TYPE_CHECKING:
    from ..api.reply import Reply
    from ..messages import Content, Conversation, Turn

SOURCES = {
    "live": "live",
    "local": "local demo model",
    "canned": "canned answer",
    "recorded": "recorded",
}
"""`Reply.source` in a reader's words."""

LARGEST_PICTURE = 1_000_000
"""Characters of a sent picture's data URL that is drawn in the output that stays. A larger one is
named there; it is in the transcript."""

_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}\Z")

# Jupyter tells a link from the words around it by its colour alone.
_LINKS = (
    "<style>.ornb-static.ornb-static a:any-link { text-decoration: underline; "
    "text-underline-offset: 2px }</style>"
)

# JupyterLab writes "Error displaying widget: model not found" where the live chat was, and falls
# back to no other form of that output. While it holds nothing but text it is hidden, and a line
# above the conversation says how to go on. (That output has the class of a widget itself only when
# there is none; one made of a stored state that no kernel fills hides itself.) Style elements work
# in trusted notebooks only; in others JupyterLab shows the widget's plain text, and of this the
# line alone.
_REOPEN = """<p class="ornb-reopen" hidden><small>This conversation is saved in the notebook. \
To go on with it: <code>chat = ornb.Chat.reopen("the notebook's name.ipynb")</code></small></p>
<style>
.jp-OutputArea-child:has(.{name}) + .jp-OutputArea-child > .jp-OutputArea-output:not(:has(*)),
.jp-OutputArea-child:has(+ .jp-OutputArea-child .{name}) > .jp-OutputArea-output:not(:has(*)) {{
  display: none }}
.jp-OutputArea:has(> .jp-OutputArea-child > .jupyter-widgets) .{name} .ornb-reopen,
.jp-OutputArea:has(> * .unheard.jupyter-widgets-disconnected) .{name} .ornb-reopen {{
  display: block }}
</style>
"""


# The same for a widget below the output that stays.
_NO_ERROR_LINE = """<style>
.jp-OutputArea-child:has(.{name}) + .jp-OutputArea-child > .jp-OutputArea-output:not(:has(*)) {{
  display: none }}
</style>
"""


def static_html(body: str, *, css_class: str = "") -> str:
    """Put safe HTML into the element that every output of ornb's that stays is in.

    Jupyter looks for no TeX in it; formulas are MathML already, and dollars are money. With a
    `css_class` it hides what JupyterLab says below it where a widget is gone.
    """
    style = _NO_ERROR_LINE.format(name=html.escape(css_class)) if css_class else ""
    return f"{_opening(css_class)}{_LINKS if '<a ' in body else ''}{body}{style}</div>"


def _opening(css_class: str) -> str:
    names = f"ornb-static {NO_TEX} {html.escape(css_class)}".strip()
    return f'<div class="{names}">'


def reply_html(reply: Reply, body: str | None = None) -> str:
    """Safe HTML of an answer with its reasoning, pictures and facts, readable without styles.

    `body` is safe HTML that stands where the text does.
    """
    return static_html(_answer(reply, _text_html(reply) if body is None else body))


def reply_text(reply: Reply, *, name: str = "") -> str:
    """Plain text of an answer, after the model's name, with the line of facts under it."""
    line = " · ".join(facts_line(reply, named=bool(name)))
    said = "\n".join(piece for piece in (reply.text, reply.error, f"[{line}]") if piece)
    return plain(f"{name}: {said}" if name else said)


def pictures_html(reply: Reply) -> str:
    """HTML of the pictures that the API returned in their own field, data URLs only."""
    return "".join(
        f'<p><img src="{url}" alt="Image made by the model"></p>'
        for url in reply.images
        if _PICTURE.match(url)
    )


def sources_html(reply: Reply) -> str:
    """HTML of the web pages that an answer cites, numbered as `ornb.text.citations.footnotes` does.

    OpenRouter docs, "Web Search", the ``annotations`` field; 2026-08-22.
    """
    _, notes = footnotes(reply.annotations, reply.text)
    links = (web_link(note.url, note.title) for note in notes)
    items = "".join(f"<li><small>{link}</small></li>" for link in links)
    return f"<p><small>Sources</small></p><ol>{items}</ol>" if items else ""


def _text_html(reply: Reply) -> str:
    """The answer's text, with marks where it cites a source."""
    return render(footnotes(reply.annotations, reply.text)[0])


def content_html(content: Content) -> str:
    """Safe HTML of what a person said, with what was attached. Nothing is fetched."""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return "".join(_part_html(part) for part in parts)


def _part_html(part: Mapping[str, Any]) -> str:
    kind = str(part.get("type"))
    if isinstance(part.get("text"), str):
        return f"<p>{lines_html(part['text'])}</p>"
    held = mapping(part.get(kind))
    url = held.get("url")
    if not isinstance(url, str):
        return f"<p>[{_escaped(str(held.get('filename') or kind.removeprefix('input_')))}]</p>"
    if _PICTURE.match(url) and len(url) <= LARGEST_PICTURE:
        return f'<p><img src="{url}" alt="Attached image"></p>'
    kind = kind.removesuffix("_url")
    if url.startswith("data:"):
        return f"<p>[{_escaped(kind)}, {len(url) * 0.75e-6:.1f} MB]</p>"
    return f"<p>[{_escaped(kind)}: {web_link(url, url)}]</p>"


def steps_html(turn: Turn) -> str:
    """Safe HTML of the tools that were called on the way to an answer, folded."""
    code = "".join(
        f"<pre><code>{'→ ' * (step.get('role') == 'tool')}{_escaped(line)}</code></pre>"
        for step in turn.steps
        for line in step_lines(step)
    )
    return code and f"<details><summary>Tools</summary>{code}</details>"


def step_lines(step: Mapping[str, Any]) -> Iterator[str]:
    """Yield the calls that a step asks for, or the result of one."""
    if step.get("role") == "tool":
        content = step.get("content")
        yield content if isinstance(content, str) else json.dumps(content)
    for call in step.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            yield f"{function.get('name')}({function.get('arguments')})"


class FactLine(NamedTuple):
    """The line under an answer. Plain text; it may hold a provider's words, so it is escaped."""

    served: list[str]
    """Model and provider that answered, where known."""
    source: str
    """In a reader's words: live, local demo model, canned answer, recorded."""
    numbers: list[str]
    """Tokens, cost, times."""

    def __str__(self) -> str:
        return " · ".join([*self.served, self.source, *self.numbers])


def facts(reply: Reply) -> FactLine:
    """Return the line under an answer: what `Reply.facts` has, and the source."""
    who = [reply.model or reply.requested_model or "", reply.provider or ""]
    numbers = reply.facts[sum(map(bool, who)) :]
    served = [plain(one) for one in (who[0], provider_words(reply)) if one]
    return FactLine(served, source_words(reply), [plain(piece) for piece in numbers])


def provider_words(reply: Reply) -> str:
    """Name who ran the model, where the source does not tell that already."""
    here = (reply.recorded_from or reply.source) in ("local", "canned")
    return "" if here else reply.provider or ""


def source_words(reply: Reply) -> str:
    """Return where an answer comes from, and of a recorded one the day; or that there is none."""
    words = SOURCES.get(reply.source, plain(reply.source))
    before = reply.recorded_from or "live"
    none = _no_answer(reply)
    if reply.source != "recorded" or reply.recorded_at is None:
        return none or words
    made = none or ("" if before == "live" else SOURCES.get(before, plain(before)))
    made = f" ({made})" if made else ""
    return f"{words}{made}, {reply.recorded_at.astimezone(UTC):%Y-%m-%d}"


def _no_answer(reply: Reply) -> str:
    """What a call came to that nothing came of; empty where something did."""
    came = reply.text or reply.reasoning or reply.images or reply.tool_calls
    if reply.status != "error" or came or reply.http_status == 200:
        return ""
    if source_of(reply) is None:
        return "not sent"
    if not 400 <= (reply.http_status or 0) < 500:
        return "no answer"
    here = (reply.recorded_from or reply.source) in ("local", "canned")
    return "refused offline" if here else "refused"


def opening(conversation: Conversation | None, css_class: str) -> str:
    """What stands before the turns of an output that stays; of a conversation, where it begins."""
    first = _opening(css_class)
    if conversation is None:
        return first
    if css_class and conversation.head is not None:
        first += _REOPEN.format(name=html.escape(css_class))
    return f"{first}{_LINKS}{system_html(conversation.system)}"


def system_html(text: str | None) -> str:
    """Safe HTML of a system message; empty without one."""
    return f"<p><small>System: {lines_html(text)}</small></p>\n" if text else ""


def entry(
    turn: Turn, body: str | None = None, *, shown: bool = True
) -> tuple[str, str, dict[str, Any]]:
    """HTML, text and JSON of a turn in the output that stays; off the path the JSON alone."""
    data = turn_to_json(turn)
    return (_turn_html(turn, body), _turn_text(turn), data) if shown else ("", "", data)


def stretch(
    first: str, entries: Iterable[Sequence[Any]], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Make an output of some entries, as the page does in ``chat-kept.js``.

    It has no ``text/markdown``: viewers that prefer it run the HTML in it.
    """
    said = list(entries)
    nothing = "" if about.get("piece") else "No messages yet."
    body = "".join(html for html, _, _ in said) or (nothing and f"<p>{nothing}</p>")
    return {
        "text/html": f"{first}{body}</div>",
        "text/plain": "\n\n".join(text for _, text, _ in said if text) or nothing,
        MIME_TRANSCRIPT: {**about, "turns": [data for _, _, data in said]},
    }


def _turn_html(turn: Turn, body: str | None) -> str:
    if turn.reply is None:
        said = content_html(turn.content)
        return f"<p><strong>You</strong></p>\n<blockquote>{said}</blockquote>\n"
    name = _escaped(turn.reply.model or turn.reply.requested_model or "Model")
    body = _text_html(turn.reply) if body is None else body
    answer = _answer(turn.reply, steps_html(turn) + body, named=True)
    return f"<p><strong>{name}</strong></p>\n{answer}\n"


def _answer(reply: Reply, body: str, *, named: bool = False) -> str:
    took = thought_s(reply)
    title = "Reasoning" if took is None else f"Thought for {took:.1f} s"
    parts = [reasoning_html(reply, title), body, pictures_html(reply), sources_html(reply)]
    if reply.error:
        parts.append(f"<p><strong>{_escaped(reply.error)}</strong></p>")
    line = " · ".join(map(_isolated, facts_line(reply, named=named)))
    note = f"<br>\n{_escaped(reply.note)}" if reply.note else ""
    return well_formed("".join([*parts, f"<p><small>{line}{note}</small></p>"]))


def reasoning_html(reply: Reply, title: str = "Reasoning") -> str:
    """Safe HTML of what a model thought aloud, folded; empty where it did not."""
    if not reply.reasoning:
        return ""
    thought = lines_html(reply.reasoning)
    return f"<details><summary>{title}</summary><p>{thought}</p></details>"


def facts_line(reply: Reply, *, named: bool = False) -> list[str]:
    """Source, tokens, cost, time and day; the model too, unless it stands above already."""
    said = facts(reply)
    served = said.served
    if named and (reply.model or reply.requested_model):
        served = served[1:]
    pieces = [*served, said.source, *said.numbers]
    if reply.model and reply.requested_model not in (None, reply.model):
        pieces.append(plain(f"asked for {reply.requested_model}"))
    if reply.timing.started_at:
        pieces.append(f"{reply.timing.started_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    return [well_formed(piece) for piece in pieces]


def _isolated(piece: str) -> str:
    """A piece of the line, whose letters may run to the left: the numbers beside it stay put."""
    shown = html.escape(piece)
    foreign = any(bidirectional(letter) in ("R", "AL", "AN") for letter in piece)
    return f"<bdi>{shown}</bdi>" if foreign else shown


def _escaped(text: str) -> str:
    return html.escape(plain(text))


def lines_html(text: str) -> str:
    """Safe HTML of plain text, its lines as they are."""
    return _escaped(text.replace("\r\n", "\n").replace("\r", "\n")).replace("\n", "<br>\n")


def _turn_text(turn: Turn) -> str:
    if turn.reply is None:
        return plain(f"You: {turn.text}")
    name = turn.reply.model or turn.reply.requested_model or "Model"
    return reply_text(turn.reply, name=name)
