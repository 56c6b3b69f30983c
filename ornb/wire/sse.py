"""Server-sent events from bytes, cut anywhere; no network here."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import UnexpectedAnswer

BOM = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """One event of a stream."""

    data: str
    """The `data` lines, joined by newlines."""
    event: str = "message"
    """The `event` field; chat completions leave it out."""


class Decoder:
    r"""Turns bytes into events, whatever way the bytes are cut.

    Comments (lines that start with ``:``, such as OpenRouter's keep-alive), ``id`` and ``retry``
    are passed over: a chat completion cannot be resumed.

    Parameters
    ----------
    limit : int
        Longest event accepted, in bytes: a server that never ends a line must not fill the memory.
        Images come inside an event, so it is generous.

    Examples
    --------
    >>> decoder = Decoder()
    >>> decoder.feed(b': OPENROUTER PROCESSING\n\nda')
    []
    >>> decoder.feed(b'ta: {"id":1}\n\n')
    [ServerEvent(data='{"id":1}', event='message')]

    References
    ----------
    WHATWG HTML, section 9.2.6 "Interpreting an event stream".
    """

    def __init__(self, limit: int = 64 * 2**20) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []  # of the line that has not ended yet
        self._size = 0
        self._data: list[str] = []
        self._event = "message"
        self._after_cr = False
        self._at_start = True

    def feed(self, block: bytes) -> list[ServerEvent]:
        r"""Take the next bytes, and give the events they complete.

        Parameters
        ----------
        block : bytes
            Any number of bytes; the cut may fall inside a character or between CR and LF.

        Returns
        -------
        list of ServerEvent
            The events that are complete now, in order.

        Raises
        ------
        UnexpectedAnswer
            A line is longer than `limit`.

        Examples
        --------
        >>> Decoder().feed(b"data: one\r\ndata: two\r\n\r\n")
        [ServerEvent(data='one\ntwo', event='message')]
        """
        if self._after_cr and block:
            block = block.removeprefix(b"\n")
            self._after_cr = False
        if not block:
            return []
        self._size += len(block)
        if self._size > self._limit:
            raise UnexpectedAnswer(
                f"The stream sent more than {self._limit // 2**20} MiB without ending an event; "
                "this is not a chat completion. Check base_url."
            )
        if b"\n" not in block and b"\r" not in block:
            self._pieces.append(block)
            return []
        if self._pieces:
            block = b"".join(self._pieces) + block
        if b"\r" in block:
            self._after_cr = block.endswith(b"\r")
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._at_start:
            block = block.removeprefix(BOM)
            self._at_start = False
        *lines, rest = block.split(b"\n")
        self._pieces = [rest] if rest else []
        self._size = len(rest)
        return self._interpret(lines)

    def close(self) -> list[ServerEvent]:
        r"""Give the event the stream ended in without its blank line, if there is one.

        The standard drops it; a last usage chunk is worth more than that.

        Returns
        -------
        list of ServerEvent
            None or one.

        Examples
        --------
        >>> decoder = Decoder()
        >>> decoder.feed(b"data: last")
        []
        >>> decoder.close()
        [ServerEvent(data='last', event='message')]
        """
        line = b"".join(self._pieces)
        self._pieces = []
        return self._interpret([line, b""])

    def _interpret(self, lines: list[bytes]) -> list[ServerEvent]:
        events = []
        for line in lines:
            if line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._data.append(value.decode("utf-8", "replace"))
            elif not line:
                if self._data:
                    data = self._data[0] if len(self._data) == 1 else "\n".join(self._data)
                    events.append(ServerEvent(data, self._event))
                    self._data = []
                self._event = "message"
            elif line.startswith(b"event:"):
                self._event = line[6:].decode("utf-8", "replace").removeprefix(" ") or "message"
            elif line == b"data":
                self._data.append("")
        return events
