from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ornb.api.framing import LONGEST_LINE, Unframed

CONTENT = st.lists(st.binary(min_size=1, max_size=40) | st.sampled_from([b"\r\n", b"0\r\n\r\n"]))
SIZES = st.sampled_from(["{:x}", "{:X}", "000{:x}", "{:x};name=value", "{:x} "])
TRAILERS = st.sampled_from([b"", b"X-Sum: 7\r\n", b"A: 1\r\nB: 2\r\n"])


def framed(pieces: list[bytes], size: str = "{:x}", trailers: bytes = b"") -> bytes:
    chunks = [size.format(len(piece)).encode() + b"\r\n" + piece + b"\r\n" for piece in pieces]
    return b"".join(chunks) + b"0\r\n" + trailers + b"\r\n"


@given(CONTENT, SIZES, TRAILERS, st.binary(max_size=9), st.lists(st.integers(0, 900)))
def test_any_cut_of_the_bytes_gives_the_same_content(pieces, size, trailers, more, cuts) -> None:
    sent = framed(pieces, size, trailers) + more
    places = sorted({min(cut, len(sent)) for cut in cuts} | {0, len(sent)})
    for blocks in (
        [sent],
        [sent[a:b] for a, b in pairwise(places)],
        [bytes([byte]) for byte in sent],
    ):
        body, beyond = Unframed(), b""
        found = []
        for block in blocks:
            if body.ended:
                beyond += block
            else:
                found.append(body.feed(block))
        assert b"".join(found) == b"".join(pieces)
        assert body.ended
        assert body.beyond + beyond == more


@given(CONTENT, st.integers(1, 200))
def test_a_body_cut_short_never_looks_whole(pieces, missing) -> None:
    sent = framed(pieces)
    body = Unframed()
    assert b"".join(pieces).startswith(body.feed(sent[: max(0, len(sent) - missing)]))
    assert not body.ended


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_no_bytes_make_it_fail(blocks) -> None:
    body = Unframed()
    for block in blocks:
        body.feed(block)


@pytest.mark.parametrize("line", [b"what\r\n", b"-5\r\n", b"\r\n", b";\r\n", b"<html>\n"])
def test_a_line_that_is_no_size_is_told(line) -> None:
    body = Unframed()
    body.feed(line)
    assert "not the size" in body.broken


def test_what_came_before_the_damage_is_given() -> None:
    body = Unframed()
    assert body.feed(b"3\r\nHey\r\n2\r\nHello\r\n0\r\n\r\n") == b"HeyHe"
    assert "not the size" in body.broken
    assert not body.ended


def test_a_size_line_without_end_is_told() -> None:
    body = Unframed()
    for _ in range(LONGEST_LINE // 4096 + 1):
        body.feed(b"1" * 4096)
    assert "does not end" in body.broken
