"""Server-sent events from bytes, cut anywhere; no network here."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import UnexpectedAnswer

BOM = "\ufeff"


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
        if name == '{"error"':
            yield line
        elif name in ("data", "error"):
            yield value.removeprefix(" ")
