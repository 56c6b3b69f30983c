"""What stays of a chat in the notebook: ordinary outputs, each with a stretch of what was said.

A page that can write into its notebook is told what is new and puts it there, also after it was
loaded again. Any other front end gets an output that changed once more, whole; and no further ones,
which would land under the cell that asks, not under the one that shows the chat.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..messages import Conversation, Turn
from ..messages.turn import light
from ..text.rendering import entry, opening, stretch
from .host import Lasting

PIECE = 100_000
"""Characters of an output after which the next begins: the page draws one that changed anew."""
LONGER_EVERY = 16
"""Outputs after which they may be longer: JupyterLab folds away what comes after the 50th."""

Entry = list[Any]
"""Number of the output, HTML, text and JSON of a turn."""


class Kept:
    """The outputs of a cell in which a conversation stays; making it shows them there."""

    def __init__(self, talk: Conversation, rendered: Mapping[str, str], css_class: str) -> None:
        self._row, self._rendered, self._css = secrets.token_hex(6), rendered, css_class
        self._last = -1
        self.begin(talk)
        self._catch_up(None, grows=True)
        self._outputs = [Lasting(bundle, **more) for bundle, more in self._bundles(self.pieces)]

    def begin(self, talk: Conversation) -> None:
        """Take another conversation."""
        self._stale = set(self.pieces)
        self._talk, self._turns, self._path, self._known = talk, list[Turn](), list[Turn](), 0
        self._places: dict[str, int] = {}
        self._part: Turn | None = None
        self._pieces: list[int] = []
        self._last = self._size = 0
        self._opening = ""

    def redraw(self, part: Turn | None = None) -> int:
        """Show the outputs anew that changed, the last with an answer as far as it has come."""
        stale = {piece for piece, *_ in self._catch_up(part, grows=False).values()}
        if self._opens_anew():
            stale.add(0)
        size = 0
        for bundle, more in self._bundles(sorted(stale | self._stale | {self._last})):
            self._outputs[more["metadata"]["ornb"]["piece"]].update(bundle, **more)
            size += _size(bundle["text/html"], bundle["text/plain"])
        self._stale.clear()
        return size

    def news(self, part: Turn | None = None) -> dict[str, Any]:
        """Give what changed, for a page that writes."""
        return self._told(self._catch_up(part, grows=True))

    @property
    def pieces(self) -> range:
        """Numbers of the outputs."""
        return range(self._last + 1)

    def whole(self, piece: int) -> dict[str, Any]:
        """Give all that is in an output, for a page that writes."""
        if piece == 0:
            self._opening = ""
        return self._told(dict(self._stretch(piece)))

    def _catch_up(self, part: Turn | None, *, grows: bool) -> dict[int, Entry]:
        """Look what changed since the last time; most often the path went on."""
        turns, path, known = self._talk.turns, self._talk.path, self._known
        common = _common(self._path, path)
        moved = {self._places.get(turn.id) for turn in (*self._path[common:], *path[common:])}
        self._places.update((turn.id, place) for place, turn in enumerate(turns[known:], known))
        self._path, self._known, self._part = path, len(turns), part
        self._turns = turns if part is None else [*turns, part]
        shown = {turn.id for turn in (*path[common:], part) if turn is not None}
        return {
            place: self._entry(place, self._turns[place].id in shown, grows=grows)
            for place in sorted({*range(known, len(self._turns)), *moved} - {None})
        }

    def _entry(self, place: int, shown: bool, *, grows: bool = False) -> Entry:
        turn = light(self._turns[place])
        html, text, data = entry(turn, self._rendered.get(turn.id), shown=shown)
        if place == len(self._pieces):
            if grows and self._size > PIECE * (1 + self._last // LONGER_EVERY):
                self._last, self._size = self._last + 1, 0
            self._pieces.append(self._last)
            self._size += _size(html, text)
        return [self._pieces[place], html, text, data]

    def _stretch(self, piece: int) -> Iterator[tuple[int, Entry]]:
        on_path = {turn.id for turn in (*self._path, self._part) if turn is not None}
        for place, turn in enumerate(self._turns):
            if self._pieces[place] == piece:
                yield place, self._entry(place, turn.id in on_path)

    def _bundles(self, pieces: Iterable[int]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for piece in pieces:
            first = opening(None if piece else self._talk, self._css)
            about = {**self._about(), "piece": piece}
            bundle = stretch(first, (each[1:] for _, each in self._stretch(piece)), about)
            yield bundle, {"metadata": {"ornb": {"row": self._row, "piece": piece}}}

    def _opens_anew(self) -> bool:
        before, self._opening = self._opening, opening(self._talk, self._css)
        return before != self._opening

    def _about(self) -> dict[str, Any]:
        return {**self._talk._about(), "row": self._row}

    def _told(self, entries: dict[int, Entry]) -> dict[str, Any]:
        told = {"row": self._row, "count": len(self._turns), "entries": entries}
        if self._opens_anew():
            told["openings"] = [self._opening, opening(None, self._css)]
        return {**told, "about": self._about()}


def _common(old: list[Turn], new: list[Turn]) -> int:
    """How far two paths go together."""
    if new[: len(old)] == old:
        return len(old)
    apart = (at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one is not other)
    return next(apart, min(len(old), len(new)))


def _size(html: str, text: str) -> int:
    return 2 * len(html) + len(text)  # the JSON is about as long as the HTML
