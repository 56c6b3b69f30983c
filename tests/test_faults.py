"""What can go wrong on the way of an answer, one table: what is raised, kept, written, reused.

Errors by status, cut answers and Stop are in test_client.py, bodies of refusals in
test_refusals.py, bytes cut anywhere in test_sse.py and test_chunked.py. Here each case also makes
a second call, which must be answered, over the same connection only where that is safe.
"""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from wire import END, FINISH, STREAM, Step, WireServer, chunked, delta, event, head, whole

import ornb
from ornb import errors
from ornb.client import Client, Reply, Timeouts
from ornb.ledger.tracker import UsageTracker
from ornb.wire import service, stream

KEY = "sk-or-v1-" + "fa" * 32
GOOD = [STREAM, delta("Well."), FINISH]
ANSWER = {"choices": [{"message": {"content": "Whole."}, "finish_reason": "stop"}]}
SILENCE_S = 0.3
LONGEST_S = 4.0
"""Bound of every case, on a busy machine."""

PART = [STREAM, delta("A part")]
EVENTS = head(200, "text/event-stream")
PAGE = b"<html><head><title>Bad gateway</title></head><body>" + b"x" * 20_000 + b"</body></html>"


@dataclass
class Case:
    name: str
    script: Iterable[Step]
    kind: type[errors.OrnbError]
    words: str
    kept: str = ""
    http_status: int | None = None
    reused: bool = False
    """Whether the next call may take the same connection."""
    streamed: bool = True
    requests: int = 1


def plain(data: bytes, length: int, **more: str) -> list[Step]:
    return [head(200, Content_Length=str(length), **more) + b"\r\n" + data]


BEFORE = [
    Case("reset before the headers", ["reset"], errors.StreamBroken, "before it answered"),
    Case("closed before the headers", ["close"], errors.StreamBroken, "before it answered"),
    Case("silence", ["stall"], errors.RequestTimedOut, "did not begin"),
    Case("reset in the headers", [STREAM[:40], "reset"], errors.StreamBroken, "before it answered"),
    Case("closed in the status", [b"HTTP/1.1 2", "close"], errors.UnexpectedAnswer, "not in HTTP"),
    Case("silence in the headers", [STREAM[:40], "stall"], errors.RequestTimedOut, "begin"),
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
    Case(
        "comments, then silence",
        [STREAM, chunked(b": OPENROUTER PROCESSING\n\n"), "stall"],
        errors.RequestTimedOut,
        "silent",
    ),
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
    Case("a damaged piece", [*PART, chunked(b'data: {"id": \n\n')], errors.StreamBroken, "damaged"),
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
    Case(
        "gzip that is none",
        [
            head(200, "text/event-stream", Content_Encoding="gzip", Content_Length="30")
            + b"\r\n"
            + b"x" * 30
        ],
        errors.StreamBroken,
        "middle",
        reused=True,
    ),
    Case(
        "brotli nobody asked for",
        [
            head(200, "text/event-stream", Content_Encoding="br", Content_Length="4")
            + b"\r\n"
            + b"\x0b\x02\x80A"
        ],
        errors.UnexpectedAnswer,
        "'br'",
    ),
]
for case in AFTER:
    case.kept = "A part" if list(case.script)[:2] == PART else ""
    case.http_status = 200

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
    Case(
        "more than its length",
        plain(json.dumps(ANSWER).encode(), 12),
        errors.UnexpectedAnswer,
        "choices",
        reused=True,
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
        "a stream that calls itself JSON",
        [whole(b'data: {"choices": []}\n\n')],
        errors.UnexpectedAnswer,
        "expected",
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
    Case("no 204 either", [head(204) + b"\r\n"], errors.UnexpectedAnswer, "nothing", reused=True),
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
    case.streamed, case.http_status = False, 204 if "204" in case.name else 200


@pytest.fixture
def tracker() -> UsageTracker:
    return UsageTracker()


@pytest.fixture
def client(tracker) -> Iterable[Callable[..., Client]]:
    """Makes a client of a wire server; its calls become rows of the tracker."""
    made = []

    def make(server: WireServer, **options) -> Client:
        patience = Timeouts(2, SILENCE_S, SILENCE_S)
        options = {"api_key": KEY, "on_call": tracker.record, "timeouts": patience} | options
        made.append(Client(base_url=server.url, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def ask(asked: Client, *, streamed: bool = True) -> Reply:
    if not streamed:
        return asked.chat("Hi", "acme/orbit")
    call = asked.stream("Hi", "acme/orbit")
    list(call)
    return call.reply


@pytest.mark.parametrize("case", [*BEFORE, *AFTER, *WHOLE], ids=lambda case: case.name)
def test_each_fault_is_named_bounded_and_over_with(case, client, tracker) -> None:
    with WireServer(case.script, GOOD) as server:
        asked, began = client(server), time.perf_counter()
        with pytest.raises(errors.OrnbError) as caught:
            ask(asked, streamed=case.streamed)
        assert time.perf_counter() - began < LONGEST_S
        assert len(server.requests) == case.requests
        assert ask(asked).text == "Well."
        assert server.connections == (1 if case.reused else 2)
    error = caught.value
    assert type(error) is case.kind
    assert case.words in str(error)
    assert len(str(error)) < 700
    assert error.reply.text == case.kept
    row = tracker.df.iloc[0]
    assert len(tracker) == 2
    assert (row["status"], row["error"]) == ("error", str(error))
    assert row["attempts"] == case.requests
    assert (None if row.isna()["http_status"] else row["http_status"]) == case.http_status
    assert row["duration_s"] >= 0


# -- refusals

STATUSES = [*sorted(errors.BY_STATUS), 418, 500, 520, 599]
BODIES = {
    "no body": b"",
    "a page": PAGE,
    "a list": b"[]",
    "an error that is null": b'{"error": null}',
    "too deep": b'{"error": ' + b"[" * 50_000,
    "the usual": b'{"error": {"code": 0, "message": "No", "metadata": null}}',
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_refusal_keeps_its_kind_whatever_its_body(status, client, tracker) -> None:
    kind = errors.BY_STATUS.get(status, errors.ServerError if status >= 500 else errors.BadRequest)
    with WireServer(*[[whole(body, status)] for body in BODIES.values()], GOOD) as server:
        asked = client(server, retries=0)
        for name in BODIES:
            unsure = name != "the usual" and status in (404, 418)  # then base_url may be wrong
            with pytest.raises(errors.UnexpectedAnswer if unsure else kind) as caught:
                ask(asked)
            assert len(str(caught.value)) < 700
        ask(asked)
        assert server.connections == 1, "a refusal that was read to its end keeps its line"
    assert tracker.df["http_status"].tolist() == [status] * len(BODIES) + [200]


@pytest.mark.parametrize("end", ["stall", "reset", "close"])
def test_a_refusal_whose_body_does_not_come_is_still_a_refusal(end, client, tracker) -> None:
    cut = [head(503, Content_Length="500") + b'\r\n{"error": {', end]
    with WireServer(cut, GOOD) as server:
        asked = client(server, retries=0)
        with pytest.raises(errors.ProviderUnavailable):
            ask(asked)
        assert ask(asked).text == "Well."
        assert server.connections == 2
    assert tracker.df["http_status"].tolist() == [503, 200]


def test_a_refusal_without_end_is_left(client) -> None:
    def endless(*_: bytes) -> Iterable[Step]:
        yield head(500) + b"\r\n"
        while True:
            yield b"<p>sorry" * 8192

    with WireServer(endless) as server:
        with pytest.raises(errors.ServerError):
            ask(client(server))
        assert server.disconnected.wait(5)


def test_an_answer_without_end_is_left(client, monkeypatch) -> None:
    monkeypatch.setattr(service, "LONGEST_BODY", 2**20)

    def endless(*_: bytes) -> Iterable[Step]:
        yield head(200) + b"\r\n"
        while True:
            yield b" " * 65_536

    with WireServer(endless) as server:
        with pytest.raises(errors.UnexpectedAnswer, match="more than 1 MiB"):
            ask(client(server), streamed=False)
        assert server.disconnected.wait(5)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["chat", "stream", "models"])
def test_nothing_is_carried_to_where_a_redirect_points(method, status, client) -> None:
    with WireServer([whole(ANSWER)]) as other:
        away = head(status, Location=other.url, Content_Length="0") + b"\r\n"
        with WireServer([away]) as server:
            asked = client(server)
            with pytest.raises(errors.UnexpectedAnswer, match="base_url") as caught:
                asked.models() if method == "models" else ask(asked, streamed=method == "stream")
            assert len(server.requests) == 1
        assert other.connections == 0
    assert other.url in str(caught.value)


# -- asking again


def busy(status: int, **headers: str) -> list[bytes]:
    return [whole({"error": {"code": status, "message": "Busy"}}, status, **headers)]


@pytest.mark.parametrize("status", [429, 503])
def test_asking_again_has_an_end_and_is_counted(status, client, tracker) -> None:
    with WireServer(busy(status, Retry_After="0")) as server:
        with pytest.raises(errors.ApiError):
            ask(client(server, retries=3))
        assert len(server.requests) == 4
        assert server.connections == 1
    assert tracker.df["attempts"].tolist() == [4]


def test_nobody_there_is_asked_again_and_counted(tracker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/api/v1"
    asked = Client(base_url=url, retries=1, on_call=tracker.record)
    with pytest.raises(errors.ConnectionFailed):
        ask(asked)
    assert tracker.df["attempts"].tolist() == [2]
    assert tracker.df["http_status"].isna().all()


HOUR = timedelta(hours=1)


@pytest.mark.parametrize("skew", [-HOUR, timedelta(0), HOUR], ids=["behind", "right", "ahead"])
def test_a_date_to_come_back_is_read_by_the_services_own_clock(skew, client) -> None:
    theirs = datetime.now(UTC) + skew
    dates = {"Date": format_datetime(theirs), "Retry_After": format_datetime(theirs + HOUR)}
    with WireServer(busy(429, **dates)) as server:
        with pytest.raises(errors.RateLimited) as caught:
            ask(client(server))
        assert len(server.requests) == 1, "an hour is not waited for"
    assert caught.value.retry_after == 3600


@pytest.mark.parametrize("body", [PAGE, b""], ids=["a page", "no body"])
def test_the_time_to_come_back_counts_without_a_body_too(body, client) -> None:
    with WireServer([whole(body, 429, Retry_After="7200")]) as server:
        with pytest.raises(errors.RateLimited, match=r"2\.0 h") as caught:
            ask(client(server))
        assert len(server.requests) == 1
    assert caught.value.retry_after == 7200


def test_seconds_may_have_a_fraction_and_are_waited_for(client) -> None:
    with WireServer(busy(503, Retry_After="0.3"), GOOD) as server:
        began = time.perf_counter()
        assert ask(client(server)).attempts == 2
        assert 0.3 <= time.perf_counter() - began < LONGEST_S


def test_a_clock_that_jumps_changes_no_duration(client, tracker, monkeypatch) -> None:
    class Jumping(datetime):
        """Goes back a day each time it is asked."""

        days = 0

        @classmethod
        def now(cls, tz=None):
            cls.days += 1
            return datetime(2026, 8, 22, tzinfo=tz) - timedelta(days=cls.days)

    monkeypatch.setattr(stream, "datetime", Jumping)
    with WireServer(GOOD) as server:
        asked = client(server)
        for _ in range(3):
            ask(asked)
    rows = tracker.df
    assert rows["started_at"].is_monotonic_decreasing
    for column in ("duration_s", "time_to_first_token_s"):
        assert rows[column].between(0, LONGEST_S).all()


# -- odd, but whole


def packed(mode: int, data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=mode)
    return packer.compress(data) + packer.flush()


def pieces(data: bytes, size: int) -> list[bytes]:
    return [chunked(data[at : at + size]) for at in range(0, len(data), size)]


TEXT = "Grüße, 世界 👩‍🚀!"
BODY = (
    b": note\n\n"
    + b"".join(
        b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"
        for choice in ({"delta": {"content": TEXT}}, {"delta": {}, "finish_reason": "stop"})
    )
    + b"data: [DONE]\n\n"
)
JSON_BODY = json.dumps(ANSWER | {"choices": [{"message": {"content": TEXT}}]}).encode()


@pytest.mark.parametrize(
    ("script", "connections"),
    [
        pytest.param([STREAM, *pieces(BODY, 1), END], 1, id="a byte a chunk"),
        pytest.param([bytes([n]) for n in STREAM + chunked(BODY) + END], 1, id="a byte a send"),
        pytest.param([STREAM, *pieces(BODY.replace(b"\n", b"\r\n"), 7), END], 1, id="CRLF"),
        pytest.param([EVENTS + b"\r\n" + BODY, "close"], 2, id="ended by closing"),
        pytest.param([EVENTS + f"Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY], 1,
                     id="of a stated length"),
        pytest.param([STREAM[:-2] + b"Connection: close\r\n\r\n", chunked(BODY), END, "close"], 2,
                     id="the last of its connection"),
        pytest.param([STREAM[:-2] + b"Content-Encoding: gzip\r\n\r\n",
                      *pieces(gzip.compress(BODY), 9), END], 1, id="gzip"),
        pytest.param([STREAM[:-2] + b"Content-Encoding: deflate\r\n\r\n",
                      *pieces(packed(-15, BODY), 9), END], 1, id="deflate"),
        pytest.param([whole(gzip.compress(JSON_BODY), Content_Encoding="gzip")], 1,
                     id="JSON, though a stream was asked for"),
        pytest.param([whole(JSON_BODY, content_type="text/plain")], 1, id="JSON as text"),
        pytest.param([STREAM, chunked(BODY), b"0\r\nX-Sum: 7\r\n\r\n"], 1, id="trailers"),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n", STREAM, chunked(BODY), END], 1,
                     id="a 100 before"),
        pytest.param([STREAM, chunked(BODY), END + whole(JSON_BODY)], 2,
                     id="an answer more than was asked for"),
        pytest.param([STREAM, chunked(BODY), "stall"], 2, id="no end after [DONE]"),
    ],
)  # fmt: skip
def test_odd_answers_come_whole_and_leave_the_next_alone(script, connections, client) -> None:
    with WireServer(script, GOOD) as server:
        asked, began = client(server), time.perf_counter()
        assert ask(asked).text == TEXT
        assert time.perf_counter() - began < LONGEST_S
        assert ask(asked).text == "Well."
        assert server.connections == connections


def test_a_piece_of_ten_megabytes_arrives(client) -> None:
    text = "x" * 10_000_000
    with WireServer([STREAM, delta(text), FINISH]) as server:
        began = time.perf_counter()
        assert ask(client(server)).text == text
        assert time.perf_counter() - began < LONGEST_S


def test_a_slow_drip_is_waited_for_and_stopped_at_once(client, tracker) -> None:
    drip = [bytes([byte]) for byte in delta("slow")]
    with WireServer([*PART, *(step for byte in drip for step in (byte, 0.05))]) as server:
        call = client(server).stream("Hi")
        with call:
            assert next(iter(call)).text == "A part"
            began = time.perf_counter()
            threading.Timer(0.4, call.close).start()  # longer than a silence may be
            assert list(call) == []
            assert 0.3 < time.perf_counter() - began < 2
    assert tracker.df["status"].tolist() == ["stopped"]


# -- the same from the offline server, through the door that people use


@pytest.mark.parametrize(
    ("wish", "kind", "part"),
    [
        ({"status": 529}, errors.ProviderUnavailable, False),
        ({"html": True, "status": 502}, errors.ProviderUnavailable, False),
        ({"html": True}, errors.UnexpectedAnswer, False),
        ({"garbage": True, "tokens": 5}, errors.StreamBroken, None),
        ({"cut_after_chunks": 3, "tokens": 9}, errors.StreamBroken, True),
        ({"reset_after_chunks": 3, "tokens": 9}, errors.StreamBroken, True),
        ({"error_after_chunks": 3, "tokens": 9, "status": 429}, errors.RateLimited, True),
        ({"status": 429, "retry_after": 3600}, errors.RateLimited, False),
    ],
    ids=str,
)
def test_what_a_lesson_asks_for_goes_wrong_as_asked(wish, kind, part) -> None:
    rows = len(ornb.usage)
    with pytest.raises(kind) as caught:
        list(ornb.client().stream("Hi", "openai/gpt-4o-mini", ornb={"simulate": wish}))
    assert part is None or bool(caught.value.reply.text) == part
    assert len(ornb.usage) == rows + 1
    row = ornb.usage.df.iloc[-1]
    assert (row["status"], row["error"]) == ("error", str(caught.value))
    assert row["source"] in ("canned", "live")
