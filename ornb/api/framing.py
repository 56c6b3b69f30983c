"""What the bytes of a body say, cut anywhere: chunks, and the events in them; no network here.

The standard library reads a body chunk by chunk, and services send each piece of an answer as
a chunk of its own: its three reads and urllib3's wrapping cost more than all that ornb does with
the piece.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import UnexpectedAnswer

BOM = "\ufeff"
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


class Decoder:
    """Turns bytes into the data of events, whatever way they are cut; an event has a `limit`.

    Comments (``:``), ``event``, ``id`` and ``retry`` are passed over: chat completions neither name
    events nor resume. WHATWG HTML, section 9.2.6 "Interpreting an event stream". Errors are read
    that llama.cpp sent in a field of their own, and Ollama sends without any.
    """

    def __init__(self, limit: int = 64 * 2**20) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []  # of the event that has not ended yet
        self._size = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, block: bytes) -> list[str]:
        """Take the next bytes, and return the data of the events they complete."""
        if self._after_cr and block:
            block = block.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in block:
            self._after_cr = block.endswith(b"\r")
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        last = self._pieces[-1] if self._pieces else b""
        if b"\n\n" not in last[-1:] + block:
            return self._keep(block)
        if self._pieces:
            block = b"".join(self._pieces) + block
            self._pieces, self._size = [], 0
        ended, _, rest = block.rpartition(b"\n\n")
        if rest:
            self._keep(rest)
        return self._data(ended)

    def close(self) -> list[str]:
        """Return the event the stream ended in without its blank line, if there is one.

        The standard drops it; a last usage chunk is worth more than that.
        """
        rest, self._pieces = b"".join(self._pieces), []
        return self._data(rest)

    def _keep(self, block: bytes) -> list[str]:
        if block:
            self._pieces.append(block)
            self._size += len(block)
        if self._size > self._limit:
            raise UnexpectedAnswer(
                f"The stream sent more than {self._limit // 2**20} MiB without ending an event; "
                "this is not a chat completion. Check base_url."
            )
        return []

    def _data(self, ended: bytes) -> list[str]:
        # A character is never cut here, since the bytes end where a line does.
        text = ended.decode("utf-8", "replace")
        if self._at_start:
            text = text.removeprefix(BOM)
            self._at_start = False
        found = []
        for event in text.split("\n\n"):
            if event.startswith("data: ") and "\n" not in event:  # nearly always
                found.append(event[6:])
            elif lines := list(_data_lines(event)):
                found.append("\n".join(lines))
        return found


def _data_lines(event: str) -> Iterable[str]:
    for line in event.split("\n"):
        name, _, value = line.partition(":")
        if line.startswith('{"error":'):
            yield line
        elif name in ("data", "error"):
            yield value.removeprefix(" ")
