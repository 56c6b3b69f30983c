"""What a fuzzer's bytes are turned into: cuts of a stream, JSON of the API's words."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 0.0, -0.5, 1e-12, 1e308),
    *(float("nan"), float("inf"), -float("inf")),
    *("", " ", "0", "-1", "1e-6", "0.0000025", "1e400", "nan", "-inf", "1_0", "٣", "9" * 5_000),
    *("2026-08-22", "2026-08", "0000-00-00", "9999-12-31T23:59:59-23:59", "2098-12-31"),
    *("\ud800", "\udc00x", "\0", "\u202e", "a\r\nb", "<script>alert(1)</script>", "javascript:x"),
    *("a/b", "~a/b:free", "/", ":", "text", "stop", "error", "user", "assistant", "e\u0301" * 50),
    *([], {}, [[]], [None], [{}], {"": None}, [1, "a", None], [["text"]]),
)
"""Values that a number, a text, a date or a list could be by mistake."""


class Choices:
    """Decisions out of bytes: the same bytes, the same decisions; the first one when they end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def below(self, end: int) -> int:
        self._at += 1
        return self._data[self._at - 1] % end if self._at <= len(self._data) else 0

    def text(self) -> str:
        length = self.below(24)
        piece = self._data[self._at : self._at + length]
        self._at += length
        return piece.decode("utf-8", "replace")

    @property
    def more(self) -> bool:
        return self._at < len(self._data)

    def rest(self) -> bytes:
        return self._data[self._at :]

    def json(self, words: tuple[str, ...], depth: int = 5) -> Any:
        """Any JSON value, with the names that the program looks for."""
        kind = self.below(8)
        if kind < 3 and depth:
            return self.object(words, depth)
        if kind < 4 and depth:
            return [self.json(words, depth - 1) for _ in range(self.below(4))]
        if kind < 5:
            return self.text()
        if kind < 6:
            return words[self.below(len(words))]
        return ODD[self.below(len(ODD))]

    def object(self, words: tuple[str, ...], depth: int = 5) -> dict[str, Any]:
        """Any JSON object."""
        named = [self._name(words) for _ in range(self.below(7))]
        return {name: self.json(words, depth - 1) for name in named}

    def _name(self, words: tuple[str, ...]) -> str:
        place = self.below(len(words) + 1)
        return words[place] if place < len(words) else self.text()


def cut(content: Any, sizes: tuple[int, ...]) -> list[Any]:
    """Bytes or text in pieces of these sizes, in turn."""
    if not sizes:
        return [content]
    places = [0]
    while places[-1] < len(content):
        places.append(places[-1] + 1 + sizes[len(places) % len(sizes)])
    return [content[start:end] for start, end in pairwise(places)] or [content]


def cuts_and_content(data: bytes) -> tuple[tuple[int, ...], bytes]:
    """The first three bytes say how the rest is cut."""
    return tuple(data[:3]), data[3:]
