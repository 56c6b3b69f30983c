"""Web citations as footnotes: numbers in the text, and a list of sources below it.

Text, titles and addresses all come from the web and are hostile: titles are made plain text, and
only http(s) addresses are kept. Put the marked text through `ornb.text.rendering` as any answer.

References
----------
OpenRouter docs, "Web Search" (``url_citation`` annotations, with places in the text), 2026-08-22;
recorded answers, where both places are often 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .markdown import web_page

MOST_SOURCES = 100
"""Sources above this number are left out."""
LONGEST_TITLE = 200
"""Characters."""

_UNTOUCHED = re.compile(
    r"^[ ]{0,3}(?P<fence>`{3,}|~{3,}).*?(?:(?P<close>^[ ]{0,3}(?P=fence)[`~]*[ \t]*$)|\Z)"
    r"|(?P<ticks>`++)[^`\n]{1,500}(?P=ticks)"
    r"|!?\[[^\]\n]{0,500}\]\([^)\n]{0,2000}\)"
    r"|\$\$[^$]{1,2000}\$\$|\$[^$\n]{1,500}\$"
    r"|(?P<address><[a-z]+:[^>\s]{1,2000}>|https?://[^\s<>)\]]{1,2000})",
    re.MULTILINE | re.DOTALL,
)
"""Fenced code, code in a line, links and images, math, addresses: no mark goes inside. (The lengths
are bounded so that no text can make the search slow.)"""
_RULE = re.compile(r"[ \t|:=*_-]+")
"""A line that draws a table's head, a heading or a rule, and is none with a mark in it."""
_DEFINITION = re.compile(r"^[ ]{0,3}\[\d+\]:", re.MULTILINE)
_JOINERS = "\u200c\u200d"
"""Invisible, but Persian, Hindi and many emoji need them."""
_TO_WORD_END = 30
"""Characters that a mark moves forward at most, out of a word."""


@dataclass(frozen=True)
class Footnote:
    """One source."""

    number: int
    title: str
    """Plain text of one line, never empty."""
    url: str
    """http(s)."""
    host: str
    """Where it leads, to be shown beside the title; other alphabets in their ``xn--`` form."""

    def __repr__(self) -> str:
        return f"Footnote([{self.number}] {self.title}, {self.host})"


def footnotes(annotations: Iterable[Mapping[str, Any]], text: str) -> tuple[str, list[Footnote]]:
    """Number the sources of an answer, each address once, and mark where it cites them.

    A mark goes where the annotation ends, moved out of words, links, code and math; without a valid
    place to the end, unless the text has that mark already, as Perplexity's answers do.
    """
    notes: dict[str, Footnote] = {}
    places: dict[int, set[int]] = {}
    spans = list(_UNTOUCHED.finditer(text))
    for cited in _citations(annotations):
        url, host = _page(cited["url"])
        if not host or (url not in notes and len(notes) == MOST_SOURCES):
            continue
        note = Footnote(len(notes) + 1, _title(cited.get("title")) or host, url, host)
        note = notes.setdefault(url, note)
        place = _place(cited, text, spans)
        if place is not None:
            places.setdefault(place, set()).add(note.number)
    placed = set().union(*places.values())
    loose = {note.number for note in notes.values() if f"[{note.number}]" not in text} - placed
    # A line such as "[1]: https://..." in the text would make a link of our mark.
    mark = "[{}]" if _DEFINITION.search(text) is None else r"\[{}\]"
    marked = _marked(text, places, mark, {span.end() for span in spans if span["address"]})
    if loose and not (spans and spans[-1]["fence"] and not spans[-1]["close"]):  # cut in code
        marked = f"{marked.rstrip()}\n\n{_marks(loose, mark)}".lstrip()
    return marked, list(notes.values())


def _citations(annotations: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    for annotation in annotations:
        cited = annotation.get("url_citation") if isinstance(annotation, Mapping) else None
        if isinstance(cited, Mapping) and isinstance(cited.get("url"), str):
            yield cited


def _page(url: str) -> tuple[str, str]:
    """An address and the host it leads to, which is empty if it is not plainly a web page's."""
    if len(url) > 2000 or not url.isprintable() or any(sign in url for sign in ' "<>\\^`{|}'):
        return url, ""
    return web_page(url)


def _title(value: Any) -> str:
    """Plain text of one line: without controls, those for the direction of writing among them."""
    if not isinstance(value, str):
        return ""
    kept = (s if s.isprintable() or s in _JOINERS else " " for s in value[: 4 * LONGEST_TITLE])
    line = "".join(kept)
    line = " ".join(line.split())
    return line if len(line) <= LONGEST_TITLE else line[: LONGEST_TITLE - 1] + "…"


def _place(cited: Mapping[str, Any], text: str, spans: Iterable[re.Match[str]]) -> int | None:
    """Where the mark of a citation can stand; None if nowhere near its end."""
    place = cited.get("end_index")
    if isinstance(place, bool) or not isinstance(place, int) or not 0 < place <= len(text):
        return None
    for span in spans:
        if span.start() < place < span.end():
            place = span.end()
    limit = min(len(text), place + _TO_WORD_END)
    while place < limit and text[place].isalnum() and text[place - 1].isalnum():
        place += 1
    while place and text[place - 1] in " \t\r\n|":  # also from behind the bar that ends a row
        place -= 1
    # A mark behind the fence that ends a code block would make it go on.
    in_code = any(span["fence"] and span.start() < place <= span.end() for span in spans)
    line = text[text.rfind("\n", 0, place) + 1 : place]
    return None if in_code or not place or _RULE.fullmatch(line) else place


def _marked(text: str, places: Mapping[int, set[int]], mark: str, addresses: set[int]) -> str:
    pieces, begun = [], 0
    for place, numbers in sorted(places.items()):
        # Next to a bracket or a colon, Markdown would take a mark for part of a link; next to an
        # address, for part of it.
        before = " " * (place in addresses)
        after = " " * (text[place : place + 1] in ("(", "[", ":"))
        pieces += [text[begun:place], before, _marks(numbers, mark), after]
        begun = place
    return "".join([*pieces, text[begun:]])


def _marks(numbers: Iterable[int], mark: str) -> str:
    return "".join(mark.format(number) for number in sorted(numbers))
