"""Server-sent events from bytes, cut anywhere; no network here."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import UnexpectedAnswer

BOM = "\ufeff"


class Decoder:
    r"""Turns bytes into the data of events, whatever way the bytes are cut.

    Comments (lines that start with ``:``, such as OpenRouter's keep-alive), ``event``, ``id`` and
    ``retry`` are passed over: chat completions do not name their events, and cannot be resumed.

    Parameters
    ----------
    limit : int
        Longest event accepted, in bytes: a server that never ends one must not fill the memory.
        Images come inside an event, so it is generous.

    Examples
    --------
    >>> decoder = Decoder()
    >>> decoder.feed(b': OPENROUTER PROCESSING\n\nda')
    []
    >>> decoder.feed(b'ta: {"id":1}\n\n')
    ['{"id":1}']

    References
    ----------
    WHATWG HTML, section 9.2.6 "Interpreting an event stream".
    """

    def __init__(self, limit: int = 64 * 2**20) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []  # of the event that has not ended yet
        self._size = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, block: bytes) -> list[str]:
        r"""Take the next bytes, and give the data of the events they complete.

        Parameters
        ----------
        block : bytes
            Any number of bytes; the cut may fall inside a character or between CR and LF.

        Returns
        -------
        list of str
            One text an event that is complete now, in order: its ``data`` lines.

        Raises
        ------
        UnexpectedAnswer
            An event is longer than `limit`.

        Examples
        --------
        >>> Decoder().feed(b"data: one\r\ndata: two\r\n\r\n")
        ['one\ntwo']
        """
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
        r"""Give the event the stream ended in without its blank line, if there is one.

        The standard drops it; a last usage chunk is worth more than that.

        Returns
        -------
        list of str
            None or one.

        Examples
        --------
        >>> decoder = Decoder()
        >>> decoder.feed(b"data: last")
        []
        >>> decoder.close()
        ['last']
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
        if name == "data":
            yield value.removeprefix(" ")
