"""The table of what can go wrong on the way of an answer, as bytes, pauses and ends."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from dataclasses import dataclass

from wire import END, STREAM, Step, chunked, delta, event, head, whole

from ornb import errors

TEXT = "Grüße, 世界 👩‍🚀!"
ANSWER = {"choices": [{"message": {"content": "Whole."}, "finish_reason": "stop"}]}
PART = [STREAM, delta("A part")]
EVENTS = head(200, "text/event-stream")
PAGE = b"<html><head><title>Bad gateway</title></head><body>" + b"x" * 20_000 + b"</body></html>"
COMMENT = chunked(b": OPENROUTER PROCESSING\n\n")
LONG = b"x" * 10_000_000


@dataclass
class Case:
    name: str
    script: list[Step]
    kind: type[errors.OrnbError]
    words: str
    kept: str = ""
    http_status: int | None = None
    reused: bool = False
    """Whether the next call may take the same connection."""
    streamed: tuple[bool, ...] = (True, False)
    """The calls that it is for: streamed, plain."""


def drip(data: bytes, *, every_s: float = 0.2, times: int = 300) -> list[Step]:
    """The same bytes again and again, for a minute."""
    return [data, every_s] * times


def plain(data: bytes, length: int, **more: str) -> list[Step]:
    return [head(200, Content_Length=str(length), **more) + b"\r\n" + data]


def packed(mode: int, data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=mode)
    return packer.compress(data) + packer.flush()


def much(byte: bytes, megabytes: int = 100) -> bytes:
    """The gzip of one byte again and again, packed once for each megabyte that is the same."""
    packer = zlib.compressobj(1, wbits=-15)
    block = byte * 1_000_000
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    total = 0
    for _ in range(megabytes):
        total = zlib.crc32(block, total)
    end = packer.flush() + struct.pack("<II", total, megabytes * len(block))
    return b"\x1f\x8b\x08" + bytes(7) + packed * megabytes + end


def brotli(data: bytes) -> bytes:
    """One stored block (RFC 7932, section 9.2), up to 64 KiB."""
    return ((len(data) - 1) << 4 | 1 << 20).to_bytes(3, "little") + data + b"\x03"


def pieces(data: bytes, size: int) -> list[Step]:
    return [chunked(data[at : at + size]) for at in range(0, len(data), size)]


BODY = (
    b": note\n\n"
    + b"".join(
        b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"
        for choice in ({"delta": {"content": TEXT}}, {"delta": {}, "finish_reason": "stop"})
    )
    + b"data: [DONE]\n\n"
)
JSON_BODY = json.dumps(ANSWER | {"choices": [{"message": {"content": TEXT}}]}).encode()


def zipped(data: bytes, content_type: str = "text/event-stream") -> list[Step]:
    return [whole(data, 200, content_type, Content_Encoding="gzip")]


BEFORE = [
    Case("reset before the headers", ["reset"], errors.StreamBroken, "before it answered"),
    Case("closed before the headers", ["close"], errors.StreamBroken, "before it answered"),
    Case("silence", ["stall"], errors.RequestTimedOut, "did not begin"),
    Case("reset in the headers", [STREAM[:40], "reset"], errors.StreamBroken, "before it answered"),
    Case("closed in the status", [b"HTTP/1.1 2", "close"], errors.UnexpectedAnswer, "not in HTTP"),
    Case("silence in the headers", [STREAM[:40], "stall"], errors.RequestTimedOut, "begin"),
    Case(
        "headers in drips",
        [STREAM[:-2], *drip(b"A: b\r\n")],
        errors.RequestTimedOut,
        "begin",
    ),
    Case("a header in drips", [STREAM[:-2] + b"A: ", *drip(b"b")], errors.RequestTimedOut, "begin"),
    Case("a status in drips", [b"HTTP/1.1 ", *drip(b" ")], errors.RequestTimedOut, "begin"),
    Case(
        "hints without end",
        drip(b"HTTP/1.1 102 Processing\r\n\r\n"),
        errors.RequestTimedOut,
        "begin",
    ),
    Case(
        "not HTTP",
        [b"\x15\x03\x01\x00\x02\x02\x46", "close"],
        errors.UnexpectedAnswer,
        "not in HTTP",
    ),
    Case("a status that is none", [b"HTTP/1.1 OK\r\n\r\n"], errors.UnexpectedAnswer, "not in HTTP"),
    Case("200 headers", [STREAM[:-2] + b"A: b\r\n" * 200], errors.UnexpectedAnswer, "not in HTTP"),
    Case(
        "a header of 100 kB",
        [STREAM[:-2] + b"A: " + b"b" * 100_000 + b"\r\n\r\n"],
        errors.UnexpectedAnswer,
        "not in HTTP",
    ),
]

AFTER = [
    Case("reset after the headers", [STREAM, "reset"], errors.StreamBroken, "middle"),
    Case("closed after the headers", [STREAM, "close"], errors.StreamBroken, "middle"),
    Case("silence after the headers", [STREAM, "stall"], errors.RequestTimedOut, "silent"),
    Case("silence after a part", [*PART, "stall"], errors.RequestTimedOut, "silent"),
    Case("comments, then silence", [STREAM, COMMENT, "stall"], errors.RequestTimedOut, "silent"),
    Case("comments without end", [STREAM, *drip(COMMENT)], errors.RequestTimedOut, ""),
    Case("comments without end after a part", [*PART, *drip(COMMENT)], errors.RequestTimedOut, ""),
    Case("empty deltas without end", [*PART, *drip(delta(""))], errors.RequestTimedOut, ""),
    Case(
        "deltas of a role without end",
        [STREAM, *drip(delta(None))],
        errors.RequestTimedOut,
        "",
    ),
    Case(
        "pieces of nothing without end",
        [*PART, *drip(event(id="gen-1"))],
        errors.RequestTimedOut,
        "",
    ),
    Case("an event in drips", [*PART, *drip(chunked(b"data: "))], errors.RequestTimedOut, ""),
    Case("blank lines without end", [*PART, *drip(chunked(b"\n"))], errors.RequestTimedOut, ""),
    Case(
        "a chunk in drips",
        [*PART, b"ffff\r\n", *drip(b"x")],
        errors.RequestTimedOut,
        "",
    ),
    Case("a size in drips", [*PART, b"1;", *drip(b"x")], errors.RequestTimedOut, ""),
    Case("cut in a chunk", [*PART, delta("lost")[:-20], "close"], errors.StreamBroken, "middle"),
    Case("cut in its size", [*PART, b"1f", "close"], errors.StreamBroken, "middle"),
    Case("a size too large", [*PART, b"ff\r\nshort", "close"], errors.StreamBroken, "middle"),
    Case("a size too small", [*PART, b"2\r\nlonger\r\n"], errors.StreamBroken, "middle"),
    Case("a size that is none", [*PART, b"what\r\n"], errors.StreamBroken, "middle"),
    Case(
        "no end", [*PART, END], errors.StreamBroken, "before the answer was finished", reused=True
    ),
    Case(
        "noise",
        [STREAM, chunked(bytes(range(256))), END],
        errors.StreamBroken,
        "before",
        reused=True,
    ),
    Case(
        "a page as a stream",
        [STREAM, chunked(PAGE), END],
        errors.StreamBroken,
        "before",
        reused=True,
    ),
    Case(
        "a line of 10 MB",
        [*PART, chunked(LONG), END],
        errors.StreamBroken,
        "before",
        reused=True,
    ),
    Case(
        "a comment of 10 MB, and no more",
        [*PART, chunked(b": " + LONG + b"\n\n"), END],
        errors.StreamBroken,
        "before",
        reused=True,
    ),
    Case("a damaged piece", [*PART, chunked(b'data: {"id": \n\n')], errors.StreamBroken, "damaged"),
    Case(
        "a damaged piece of 10 MB",
        [*PART, chunked(b'data: {"id": "' + LONG + b"\n\n")],
        errors.StreamBroken,
        "damaged",
    ),
    Case(
        "a piece too deep",
        [*PART, chunked(b"data: " + b"[" * 100_000 + b"\n\n")],
        errors.StreamBroken,
        "damaged",
    ),
    Case(
        "a piece that is a list",
        [*PART, chunked(b"data: [1]\n\n")],
        errors.UnexpectedAnswer,
        "not a chat completion",
    ),
    Case(
        "a piece that is null",
        [*PART, chunked(b"data: null\n\n")],
        errors.UnexpectedAnswer,
        "not a chat completion",
    ),
    Case(
        "an error in words",
        [*PART, event(error="overloaded")],
        errors.ProviderUnavailable,
        "overloaded",
    ),
    Case(
        "an error of 10 MB",
        [*PART, event(error={"code": 503, "message": LONG.decode()})],
        errors.ProviderUnavailable,
        "xxx",
    ),
    Case(
        "an error with a refusal's code",
        [*PART, event(error={"code": 429, "message": "Slow"})],
        errors.RateLimited,
        "Slow",
    ),
    Case("an error of an odd shape", [*PART, event(error=[1])], errors.UnexpectedAnswer, "error"),
    Case(
        "a finish that is an error",
        [*PART, delta("", "error")],
        errors.ProviderUnavailable,
        "without saying why",
    ),
    Case("gzip that is none", zipped(b"x" * 30), errors.StreamBroken, "middle", reused=True),
    Case("gzip cut short", zipped(gzip.compress(BODY)[:60]), errors.StreamBroken, "", reused=True),
    Case(
        "gzip of a wrong sum",
        zipped(gzip.compress(BODY)[:-8] + bytes(8)),
        errors.StreamBroken,
        "middle",
        reused=True,
    ),
    Case(
        "gzip that becomes 100 MB",
        zipped(much(b"x")),
        errors.UnexpectedAnswer,
        "64 MiB",
    ),
    Case(
        "an encoding nobody knows",
        [whole(b"x", content_type="text/event-stream", Content_Encoding="x-own")],
        errors.UnexpectedAnswer,
        "'x-own'",
    ),
]
for case in AFTER:
    case.kept = "A part" if case.script[:2] == PART else ""
    case.http_status = 200
    if "the headers" not in case.name and "nobody" not in case.name:
        case.streamed = (True,)  # WHOLE has what a plain call meets

WHOLE = [
    Case("reset in the body", [*plain(b'{"choices"', 500), "reset"], errors.StreamBroken, "middle"),
    Case(
        "less than its length", [*plain(b'{"choices"', 500), "close"], errors.StreamBroken, "middle"
    ),
    Case(
        "silence in the body",
        [*plain(b'{"choices"', 500), "stall"],
        errors.RequestTimedOut,
        "silent",
    ),
    Case("a body in drips", [*plain(b"{", 500_000), *drip(b" ")], errors.RequestTimedOut, ""),
    Case(
        "more than its length",
        plain(json.dumps(ANSWER).encode(), 12),
        errors.UnexpectedAnswer,
        "choices",
    ),
    Case("nothing", plain(b"", 0), errors.UnexpectedAnswer, "nothing", reused=True),
    Case("blanks", plain(b" \n \n", 4), errors.UnexpectedAnswer, "nothing", reused=True),
    Case(
        "a length that is none",
        [head(Content_Length="many") + b"\r\n{", "close"],
        errors.UnexpectedAnswer,
        "expected",
    ),
    Case(
        "a page",
        [whole(PAGE, content_type="text/html")],
        errors.UnexpectedAnswer,
        "Bad gate",
        reused=True,
    ),
    Case(
        "a picture",
        [whole(b"\x89PNG\r\n\x1a\n\0\0", content_type="image/png")],
        errors.UnexpectedAnswer,
        "PNG",
        reused=True,
    ),
    Case("too deep", [whole(b"[" * 100_000)], errors.UnexpectedAnswer, "JSON", reused=True),
    Case(
        "a line of 10 MB that is no JSON",
        [whole(LONG)],
        errors.UnexpectedAnswer,
        "JSON",
        reused=True,
    ),
    Case(
        "half a character",
        [whole(b'{"choices": [{"message": {"content": "\xc3"}}]}')],
        errors.UnexpectedAnswer,
        "JSON",
        reused=True,
    ),
    Case(
        "a stream that calls itself JSON",
        [whole(b'data: {"choices": []}\n\n')],
        errors.StreamBroken,
        "before the answer was finished",
        reused=True,
    ),
    Case("a number", [whole(7)], errors.UnexpectedAnswer, "not a chat completion", reused=True),
    Case(
        "no choices",
        [whole({"choices": None})],
        errors.UnexpectedAnswer,
        "without `choices`",
        reused=True,
    ),
    Case("no content", [head(204) + b"\r\n"], errors.UnexpectedAnswer, "nothing"),
    Case(
        "no content, and yet a body",
        [head(204) + b"\r\n" + whole(ANSWER)],
        errors.UnexpectedAnswer,
        "nothing",
    ),
    Case(
        "another protocol",
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", 0.02, whole(ANSWER)],
        errors.UnexpectedAnswer,
        "",
    ),
    Case(
        "gzip that is none, plain",
        zipped(b"x" * 30, "application/json"),
        errors.StreamBroken,
        "middle",
        reused=True,
    ),
    Case(
        "gzip cut short, plain",
        zipped(gzip.compress(JSON_BODY)[:40], "application/json"),
        errors.UnexpectedAnswer,
        "",
        reused=True,
    ),
    Case(
        "gzip of a wrong sum, plain",
        zipped(gzip.compress(JSON_BODY)[:-8] + bytes(8), "application/json"),
        errors.StreamBroken,
        "middle",
        reused=True,
    ),
    Case(
        "an error inside",
        [whole({"error": {"code": 502, "message": "Down"}})],
        errors.ProviderUnavailable,
        "Down",
        reused=True,
    ),
    Case(
        "an error inside the choice",
        [whole({"choices": [{"error": {"code": 429, "message": "Slow"}}]})],
        errors.RateLimited,
        "Slow",
        reused=True,
    ),
]
for case in WHOLE:
    case.http_status = int(case.script[0][9:12])

ROWS = {
    f"{case.name}-{'streamed' if streamed else 'plain'}": (case, streamed)
    for case in (*BEFORE, *AFTER, *WHOLE)
    for streamed in case.streamed
}
"""Readable name of each call to its case, and whether it is streamed."""
