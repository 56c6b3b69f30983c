"""The framing of a chunked HTTP body, taken out of whole reads at once; no network here.

The standard library reads a body chunk by chunk, and services send each piece of an answer as
a chunk of its own: its three reads and urllib3's wrapping cost more than all that ornb does with
the piece.
"""

from __future__ import annotations

LONGEST_LINE = 65_536
"""Bytes that a size line or the trailers may have, as in the standard library."""


class Unframed:
    """Reads the content of a chunked body, whatever way the bytes are cut.

    `broken` says why no more can be read; what came before the damage has been returned. `beyond`
    came after the end. RFC 9112, section 7.1 "Chunked Transfer Coding".
    """

    def __init__(self) -> None:
        self.ended = False
        self.beyond = b""
        self.broken = ""
        self._rest = b""  # a line that is not whole yet
        self._left = 0  # bytes to come of the chunk at hand
        self._skip = 0  # bytes that end it: none before the first
        self._trailing = False  # the last chunk has come

    def feed(self, block: bytes) -> bytes:
        """Take the next bytes, and return the content in them."""
        block, at, pieces = self._rest + block, self._left, []
        if at:
            pieces.append(block[:at])
        while at < len(block) and not self.ended and not self.broken:
            end = block.find(b"\n", at + self._skip)
            if end < 0:
                break
            line, at = block[at + self._skip : end], end + 1
            if self._trailing:
                self.ended = not line.strip()
                continue
            size = _size(line)
            if size > 0:
                pieces.append(block[at : at + size])
                at, self._skip = at + size, 2
            elif size == 0:
                self._trailing, self._skip = True, 0
            else:
                self.broken = f"not the size of a chunk: {line[:20]!r}"
        self._left, self._rest = max(0, at - len(block)), block[at:]
        if self.ended:
            self.beyond, self._rest = self._rest, b""
        elif len(self._rest) > LONGEST_LINE:
            self.broken = "a chunk's size line does not end"
        return b"".join(pieces)


def _size(line: bytes) -> int:
    """The size that a line states, which may have notes behind it; -1 if it states none."""
    try:
        return max(-1, int(line.partition(b";")[0], 16))
    except ValueError:
        return -1
