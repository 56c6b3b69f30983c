from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ornb.api.framing import Decoder
from ornb.errors import UnexpectedAnswer


def decode(*blocks: bytes) -> list[str]:
    decoder = Decoder()
    events = [event for block in blocks for event in decoder.feed(block)]
    return events + decoder.close()


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        # The cases of the WHATWG standard, section 9.2.6.
        pytest.param(b"data: YHOO\ndata: +2\ndata: 10\n\n", ["YHOO\n+2\n10"], id="three lines"),
        pytest.param(b"data\n\ndata\ndata\n\n", ["", "\n"], id="no colon"),
        pytest.param(b"data:test\n\ndata: test\n\n", ["test", "test"], id="one space is dropped"),
        pytest.param(b"data:  two\n\n", [" two"], id="the second space stays"),
        pytest.param(b": test stream\n\ndata: first\nid: 1\n\n", ["first"], id="comments and ids"),
        pytest.param(b"\xef\xbb\xbfdata: bom\n\n", ["bom"], id="byte order mark"),
        pytest.param(b"data: a\r\rdata: b\r\n\r\ndata: c\n\n", ["a", "b", "c"], id="line ends"),
        pytest.param(b"retry: 10\nfoo: bar\n\n", [], id="unknown fields"),
        pytest.param(b": OPENROUTER PROCESSING\n\n", [], id="keep-alive"),
        pytest.param(b'error: {"a": 1}\n\n', ['{"a": 1}'], id="an error, as llama.cpp had it"),
        pytest.param(b'{"error":1}\n\ndata: b', ['{"error":1}', "b"], id="one without a field"),
        pytest.param(b'{"error"\n\ndata: b', ["b"], id="half of one is none"),
        pytest.param(b"data: cut", ["cut"], id="the end without a blank line"),
        pytest.param(b"data: \xff\n\n", ["\ufffd"], id="not UTF-8"),
    ],
)
def test_the_standards_cases(stream: bytes, data: list[str]) -> None:
    assert decode(stream) == data


def test_the_name_of_an_event_changes_nothing() -> None:
    assert decode(b"event: error\ndata: x\n\ndata: y\n\n") == ["x", "y"]


LINES = st.sampled_from(
    [b'data: {"a": "\xc3\xa9"}', b"data: two", b"", b": note", b"event: error", b"data", b"id: 4"]
)


@given(
    st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]))),
    st.lists(st.integers(0, 400)),
)
def test_any_cut_of_the_bytes_gives_the_same_events(lines, cuts) -> None:
    stream = b"".join(line + end for line, end in lines)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[a:b] for a, b in pairwise(places)]
    assert decode(*pieces) == decode(stream) == decode(*[bytes([byte]) for byte in stream])


@given(st.binary())
def test_no_bytes_make_it_fail(stream: bytes) -> None:
    decode(stream)


def test_a_line_without_end_is_refused() -> None:
    decoder = Decoder(limit=1000)
    assert decoder.feed(b"x" * 1000) == []
    with pytest.raises(UnexpectedAnswer, match="without ending"):
        decoder.feed(b"x")


def test_a_line_of_ten_megabytes_is_taken() -> None:
    decoder, block = Decoder(), b"x" * 65536
    decoder.feed(b"data: ")
    for _ in range(160):
        assert decoder.feed(block) == []
    assert len(decoder.feed(b"\n\n")[0]) == 160 * 65536
