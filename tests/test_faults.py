"""What can go wrong on the way of an answer, one table: what is raised, kept, written, reused.

The table is in faults.py; the scripted server of wire.py plays its rows. Each case also makes a
second call, which must be answered, over the same connection only where that is safe.

Errors by status, cut answers and Stop are in test_client.py, bodies of refusals in
test_refusals.py, bytes cut anywhere in test_sse.py and test_chunked.py, and test_fuzz.py sends any
bytes at all.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from typing import Any

import pandas as pd
import pytest
from faults import (
    ANSWER,
    BODY,
    EVENTS,
    JSON_BODY,
    LONG,
    PAGE,
    PART,
    ROWS,
    TEXT,
    brotli,
    drip,
    much,
    packed,
    pieces,
    zipped,
)
from wire import END, FINISH, STREAM, Step, WireServer, chunked, delta, head, whole

import ornb
from ornb import errors
from ornb.api import service, stream
from ornb.api.client import Client, Reply, Timeouts
from ornb.ledger.tracker import UsageTracker

KEY = "sk-or-v1-" + "fa" * 32
GOOD = [STREAM, delta("Well."), FINISH]
SILENCE_S = 3.0
"""What the cases that end by the clock wait for a byte: a busy machine may be silent for less."""
LITTLE = Timeouts(60, SILENCE_S, SILENCE_S, 3 * SILENCE_S)
PATIENCE = Timeouts(60, 60, 60, 60)
LONGEST_S = 30.0
"""Bound of every case on a busy machine; what is not ended goes on for a minute."""

streamed_or_plain = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "plain"])


@pytest.fixture
def tracker() -> UsageTracker:
    return UsageTracker()


class Making(contextlib.ExitStack):
    """Makes clients of a wire server, whose calls become rows of the tracker; closes them."""

    def __init__(self, tracker: UsageTracker) -> None:
        super().__init__()
        self._tracker = tracker

    def __call__(self, server: WireServer, **options: Any) -> Client:
        ours = {"api_key": KEY, "on_call": self._tracker.record, "timeouts": PATIENCE}
        made = Client(base_url=server.url, **ours | options)
        return self.enter_context(contextlib.closing(made))


@pytest.fixture
def client(tracker) -> Iterator[Making]:
    with Making(tracker) as make:
        yield make


def ask(asked: Client, *, streamed: bool = True, **params: Any) -> Reply:
    if not streamed:
        return asked.chat("Hi", "openai/gpt-4o-mini", **params)
    call = asked.stream("Hi", "openai/gpt-4o-mini", **params)
    list(call)
    return call.reply


class Scripted:
    """The scripted server, asked for one answer after the other."""

    def __init__(self, make: Callable[..., Client]) -> None:
        self._make, self._server = make, WireServer(GOOD)
        self._client = make(self._server)

    def client(self, **options: Any) -> None:
        """Take another client from here on."""
        self._client = self._make(self._server, **options)

    def ask(self, script: Iterable[Step], *, streamed: bool = True) -> Reply:
        self._server.play(script)
        return ask(self._client, streamed=streamed)

    def ask_good(self) -> Reply:
        """An answer as it should be, and of this call."""
        connections = self._server.connections
        reply = self.ask(GOOD)
        assert reply.text == "Well."
        assert reply.timing.connection_reused == (self._server.connections == connections)
        return reply

    def ask_busy_once(self, script: Iterable[Step]) -> Reply:
        self._server.play(script, GOOD)
        return ask(self._client)

    def close(self) -> None:
        self._server.__exit__()


@pytest.fixture
def server(client) -> Iterator[Scripted]:
    with contextlib.closing(Scripted(client)) as made:
        yield made


@pytest.fixture(autouse=True)
def _time_to_end(monkeypatch) -> None:
    """Whether a connection was kept is looked at: on a busy machine its end takes a moment."""
    monkeypatch.setattr(stream, "DRAIN_S", 1.0)


# -- the table

SILENT = [name for name, (case, _) in ROWS.items() if case.kind is errors.RequestTimedOut]


@dataclass
class Outcome:
    error: errors.OrnbError
    took_s: float
    rows: pd.DataFrame
    """Of the tracker, after the fault alone."""
    reused: bool
    """Whether the good call that came next had the same connection."""


@pytest.fixture(scope="module")
def outcome() -> Callable[[str], Outcome]:
    """Gives what becomes of a row. Those that end by the clock wait side by side."""

    def one(name: str) -> Outcome:
        case, streamed = ROWS[name]
        tracker = UsageTracker()
        with Making(tracker) as make, contextlib.closing(Scripted(make)) as server:
            if name in SILENT:
                server.client(timeouts=LITTLE)
            began = time.perf_counter()
            with pytest.raises(errors.OrnbError) as caught:
                server.ask(case.script, streamed=streamed)
            took, rows = time.perf_counter() - began, tracker.df
            reused = server.ask_good().timing.connection_reused
        return Outcome(caught.value, took, rows, reused)

    @cache
    def silent() -> dict[str, Outcome]:
        with ThreadPoolExecutor(len(SILENT)) as pool:
            return dict(zip(SILENT, pool.map(one, SILENT), strict=True))

    return lambda name: silent()[name] if name in SILENT else one(name)


@pytest.mark.parametrize("name", ROWS)
def test_each_fault_is_named_bounded_and_over_with(name: str, outcome) -> None:
    case, _ = ROWS[name]
    found = outcome(name)
    error, row = found.error, found.rows.iloc[0]
    assert found.reused == case.reused
    assert type(error) is case.kind
    assert case.words in str(error)
    assert len(str(error)) < 700
    assert error.reply.text == case.kept
    assert found.took_s < LONGEST_S
    assert len(found.rows) == 1
    assert (row["status"], row["error"]) == ("error", str(error))
    assert row["attempts"] == 1
    assert (None if found.rows.isna()["http_status"][0] else row["http_status"]) == case.http_status
    assert 0 <= row["duration_s"] <= found.took_s


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


@streamed_or_plain
@pytest.mark.parametrize("status", STATUSES)
def test_a_refusal_keeps_its_kind_whatever_its_body(status, streamed, server, tracker) -> None:
    kind = errors.BY_STATUS.get(status, errors.ServerError if status >= 500 else errors.BadRequest)
    server.client(retries=0)
    said, began, reused = [], time.perf_counter(), []
    for name, body in BODIES.items():
        unsure = name != "the usual" and status in (404, 418)  # then base_url may be wrong
        with pytest.raises(errors.UnexpectedAnswer if unsure else kind) as caught:
            server.ask([whole(body, status)], streamed=streamed)
        said.append(str(caught.value))
        reused.append(caught.value.reply.timing.connection_reused)
    assert time.perf_counter() - began < LONGEST_S
    # Read to its end, it keeps its line; but one that fell over may close it without a word.
    assert server.ask_good().timing.connection_reused == (status < 500)
    rows = tracker.df.iloc[:-1]
    assert all(len(text) < 700 for text in said)
    assert rows["error"].tolist() == said
    assert set(rows["status"]) == {"error"}
    assert set(rows["http_status"]) == {status}
    assert set(rows["attempts"]) == {1}
    if status not in (404, 418):  # what is no answer of this API gets no second chance
        assert reused == [False] + [status < 500] * (len(BODIES) - 1)


ENDS: dict[str, list[Step]] = {
    "silence": ["stall"],
    "reset": ["reset"],
    "close": ["close"],
    "drips": drip(b" "),
    "10 MB": [LONG, "stall"],
}


@streamed_or_plain
@pytest.mark.parametrize(
    ("status", "end"), [*((503, end) for end in ENDS), (401, "drips"), (429, "silence")]
)
def test_a_refusal_whose_body_does_not_end_is_still_a_refusal(
    status, end, streamed, server, tracker, monkeypatch
) -> None:
    monkeypatch.setattr(service, "REFUSAL_S", 0.3)
    cut = [head(status, Content_Length="50000000") + b'\r\n{"error": {', *ENDS[end]]
    server.client(retries=0)
    began = time.perf_counter()
    with pytest.raises(errors.BY_STATUS[status]) as caught:
        server.ask(cut, streamed=streamed)
    assert time.perf_counter() - began < LONGEST_S
    assert not server.ask_good().timing.connection_reused
    row = tracker.df.iloc[0]
    assert (row["http_status"], row["status"]) == (status, "error")
    assert row["error"] == str(caught.value)


@streamed_or_plain
def test_an_error_of_10_mb_is_told_in_a_few_words(streamed, server, tracker) -> None:
    body = whole({"error": {"code": 500, "message": "x" * 10_000_000}}, 500)
    with pytest.raises(errors.ServerError) as caught:
        server.ask([body], streamed=streamed)
    assert len(str(caught.value)) < 700
    assert not server.ask_good().timing.connection_reused, "the rest was not read"
    assert tracker.df["error"].iloc[0] == str(caught.value)


def test_a_refusal_without_end_is_left(client) -> None:
    def endless(*_: bytes) -> Iterable[Step]:
        yield head(500) + b"\r\n"
        while True:
            yield b"<p>sorry" * 8192

    with WireServer(endless) as server:
        with pytest.raises(errors.ServerError):
            ask(client(server))
        assert server.disconnected.wait(LONGEST_S)


def test_an_answer_without_end_is_left(client, monkeypatch) -> None:
    monkeypatch.setattr(service, "LONGEST_BODY", 2**20)

    def endless(*_: bytes) -> Iterable[Step]:
        yield head(200) + b"\r\n"
        while True:
            yield b" " * 65_536

    with WireServer(endless) as server:
        with pytest.raises(errors.UnexpectedAnswer, match="more than 1 MiB"):
            ask(client(server), streamed=False)
        assert server.disconnected.wait(LONGEST_S)


@pytest.mark.parametrize("status", [200, 500])
def test_a_body_that_unpacks_without_end_is_left(status, server, tracker, monkeypatch) -> None:
    monkeypatch.setattr(service, "LONGEST_BODY", 2**20)
    packed = whole(much(b" "), status, Content_Encoding="gzip")
    began = time.perf_counter()
    kind = errors.UnexpectedAnswer if status == 200 else errors.ServerError
    with pytest.raises(kind, match="more than 1 MiB" if status == 200 else "status 500") as caught:
        server.ask([packed], streamed=False)
    assert time.perf_counter() - began < LONGEST_S
    assert not server.ask_good().timing.connection_reused
    row = tracker.df.iloc[0]
    assert (row["http_status"], row["error"]) == (status, str(caught.value))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["chat", "stream", "models"])
def test_nothing_is_carried_to_where_a_redirect_points(method, status, client, tracker) -> None:
    with WireServer([whole(ANSWER)]) as other:
        away = head(status, Location=other.url, Content_Length="0") + b"\r\n"
        with WireServer([away]) as server:
            asked = client(server)
            with pytest.raises(errors.UnexpectedAnswer, match="base_url") as caught:
                asked.models() if method == "models" else ask(asked, streamed=method == "stream")
            assert len(server.requests) == 1
        assert other.connections == 0
    assert other.url in str(caught.value)


@streamed_or_plain
@pytest.mark.parametrize("status", [301, 302, 303, 304, 307, 308])
@pytest.mark.parametrize("body", [b"", PAGE], ids=["no body", "a page"])
def test_a_redirect_is_a_row_and_the_end(body, status, streamed, server, tracker) -> None:
    away = whole(body, status, Location="https://other.example/v1")
    began = time.perf_counter()
    with pytest.raises(errors.UnexpectedAnswer) as caught:
        server.ask([away], streamed=streamed)
    assert time.perf_counter() - began < LONGEST_S
    assert server.ask_good().timing.connection_reused == (status != 304), "a 304 has no body"
    row = tracker.df.iloc[0]
    assert (row["status"], row["error"]) == ("error", str(caught.value))
    assert (row["http_status"], row["attempts"]) == (status, 1)


# -- asking again


def busy(status: int, **headers: str) -> list[bytes]:
    return [whole({"error": {"code": status, "message": "Busy"}}, status, **headers)]


@streamed_or_plain
@pytest.mark.parametrize("status", [429, 503])
def test_asking_again_has_an_end_and_is_counted(status, streamed, server, tracker) -> None:
    server.client(retries=3)
    began = time.perf_counter()
    with pytest.raises(errors.BY_STATUS[status]) as caught:
        server.ask(busy(status, Retry_After="0"), streamed=streamed)
    assert time.perf_counter() - began < LONGEST_S
    assert server.ask_good().timing.connection_reused == (status < 500)
    row = tracker.df.iloc[0]
    assert (row["attempts"], row["http_status"]) == (4, status)
    assert (row["status"], row["error"]) == ("error", str(caught.value))


def test_asking_again_is_so_many_requests_over_one_connection(client) -> None:
    with WireServer(busy(429, Retry_After="0")) as server:
        with pytest.raises(errors.RateLimited):
            ask(client(server, retries=3))
        assert (len(server.requests), server.connections) == (4, 1)


def test_nobody_there_is_asked_again_and_counted(tracker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/api/v1"
    asked = Client(base_url=url, retries=1, on_call=tracker.record)
    with pytest.raises(errors.ConnectionFailed) as caught:
        ask(asked)
    row = tracker.df.iloc[0]
    assert (row["attempts"], row["status"]) == (2, "error")
    assert row["error"] == str(caught.value)
    assert tracker.df["http_status"].isna().all()


HOUR = timedelta(hours=1)


@pytest.mark.parametrize("skew", [-HOUR, timedelta(0), HOUR], ids=["behind", "right", "ahead"])
def test_a_date_to_come_back_is_read_by_the_services_own_clock(skew, server, tracker) -> None:
    theirs = datetime.now(UTC) + skew
    dates = {"Date": format_datetime(theirs), "Retry_After": format_datetime(theirs + HOUR)}
    began = time.perf_counter()
    with pytest.raises(errors.RateLimited) as caught:
        server.ask(busy(429, **dates))
    assert time.perf_counter() - began < LONGEST_S
    assert tracker.df["attempts"].tolist() == [1], "an hour is not waited for"
    assert caught.value.retry_after == 3600


@pytest.mark.parametrize("skew", [-HOUR, timedelta(0), HOUR], ids=["behind", "right", "ahead"])
def test_a_date_that_is_near_is_waited_for(skew, server, tracker) -> None:
    theirs = datetime.now(UTC) + skew
    soon = format_datetime(theirs + timedelta(seconds=1))
    began = time.perf_counter()
    reply = server.ask_busy_once(busy(503, Date=format_datetime(theirs), Retry_After=soon))
    assert (reply.status, reply.attempts) == ("ok", 2)
    assert 0.9 <= time.perf_counter() - began < LONGEST_S
    assert tracker.df["status"].tolist() == ["ok"]


@pytest.mark.parametrize("body", [PAGE, b""], ids=["a page", "no body"])
def test_the_time_to_come_back_counts_without_a_body_too(body, server, tracker) -> None:
    with pytest.raises(errors.RateLimited, match=r"2\.0 h") as caught:
        server.ask([whole(body, 429, Retry_After="7200")])
    assert tracker.df["attempts"].tolist() == [1]
    assert caught.value.retry_after == 7200


def test_seconds_may_have_a_fraction_and_are_waited_for(server) -> None:
    began = time.perf_counter()
    assert server.ask_busy_once(busy(503, Retry_After="0.3")).attempts == 2
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

EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"


@pytest.mark.parametrize(
    ("script", "reused"),
    [
        pytest.param([STREAM, *pieces(BODY, 1), END], True, id="a byte a chunk"),
        pytest.param([bytes([n]) for n in STREAM + chunked(BODY) + END], True, id="a byte a send"),
        pytest.param([STREAM, *pieces(BODY.replace(b"\n", b"\r\n"), 7), END], True, id="CRLF"),
        pytest.param([EVENTS + b"\r\n" + BODY, "close"], False, id="ended by closing"),
        pytest.param([EVENTS + f"Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY], True,
                     id="of a stated length"),
        pytest.param([STREAM[:-2] + b"Connection: close\r\n\r\n", chunked(BODY), END, "close"],
                     False, id="the last of its connection"),
        pytest.param([STREAM[:-2] + b"Content-Encoding: gzip\r\n\r\n",
                      *pieces(gzip.compress(BODY), 9), END], True, id="gzip"),
        pytest.param([STREAM[:-2] + b"Content-Encoding: deflate\r\n\r\n",
                      *pieces(packed(-15, BODY), 9), END], True, id="deflate"),
        pytest.param(zipped(gzip.compress(JSON_BODY), "application/json"), True,
                     id="JSON, though a stream was asked for"),
        pytest.param([whole(JSON_BODY, content_type="text/plain")], True, id="JSON as text"),
        pytest.param([STREAM, chunked(BODY), b"0\r\nX-Sum: 7\r\n\r\n"], True, id="trailers"),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n", STREAM, chunked(BODY), END], True,
                     id="a 100 before"),
        pytest.param([EARLY, STREAM, chunked(BODY), END], True, id="a 103 before"),
        pytest.param([EARLY, 0.2, EARLY + STREAM, chunked(BODY), END], True,
                     id="a 103 well before"),
        pytest.param([b"HTTP/1.1 102 Processing\r\n\r\n", 0.2, whole(JSON_BODY)], True,
                     id="a 102, and JSON late"),
        pytest.param([STREAM, chunked(BODY), END + whole(ANSWER)], False,
                     id="an answer more than was asked for"),
        pytest.param([whole(JSON_BODY) + whole(ANSWER)], False,
                     id="JSON, and an answer more than was asked for"),
        pytest.param([whole(JSON_BODY) + b" "], False, id="a blank more than was told"),
        pytest.param([STREAM, chunked(BODY), "stall"], False, id="no end after [DONE]"),
        pytest.param([STREAM, chunked(BODY), *drip(chunked(b": \n\n"))],
                     False, id="comments without end after [DONE]"),
        pytest.param([STREAM, chunked(BODY), chunked(LONG), END], False, id="10 MB after [DONE]"),
        pytest.param([STREAM, chunked(b": " + LONG + b"\n\n"), chunked(BODY), END], True,
                     id="a comment of 10 MB before"),
    ],
)  # fmt: skip
def test_odd_answers_come_whole_and_leave_the_next_alone(script, reused, server, tracker) -> None:
    began = time.perf_counter()
    assert server.ask(script).text == TEXT
    assert time.perf_counter() - began < LONGEST_S
    assert server.ask_good().timing.connection_reused == reused
    assert tracker.df["status"].tolist() == ["ok", "ok"]


@pytest.mark.parametrize("body", [JSON_BODY, b" \n" * 200 + JSON_BODY], ids=["JSON", "padding"])
def test_a_plain_answer_may_come_a_byte_at_a_time(body, server) -> None:
    bytes_of_it = [body[at : at + 16] for at in range(0, len(body), 16)]
    script = [head(200, Content_Length=str(len(body))) + b"\r\n", *bytes_of_it]
    assert server.ask(script, streamed=False).text == TEXT
    assert server.ask_good().timing.connection_reused


def test_a_stream_may_be_slow_as_long_as_it_says_something(client) -> None:
    slow = [step for n in range(10) for step in (delta(f"{n} "), 0.35)]
    with WireServer([STREAM, *slow, FINISH]) as server:
        reply = ask(client(server, timeouts=LITTLE))  # 3.5 s in all
    assert reply.text.split() == [str(n) for n in range(10)]


def test_comments_extend_the_wait_for_what_comes(client) -> None:
    alive = [step for _ in range(5) for step in (chunked(b": alive\n\n"), 0.35)]
    with WireServer([STREAM, *alive, delta("Well."), *alive, FINISH]) as server:
        assert ask(client(server, timeouts=LITTLE)).text == "Well."  # 3.5 s in all


def test_a_piece_of_ten_megabytes_arrives(server) -> None:
    began = time.perf_counter()
    assert server.ask([STREAM, delta(LONG.decode()), FINISH]).text == LONG.decode()
    assert time.perf_counter() - began < LONGEST_S
    assert server.ask_good().timing.connection_reused


def test_a_slow_drip_is_waited_for_and_stopped_at_once(client, tracker) -> None:
    dripped = [bytes([byte]) for byte in delta("slow")]
    with WireServer([*PART, *(step for byte in dripped for step in (byte, 0.05))]) as server:
        call = client(server, timeouts=LITTLE).stream("Hi")
        with call:
            assert next(iter(call)).text == "A part"
            began = time.perf_counter()
            threading.Timer(SILENCE_S + 0.1, call.close).start()  # longer than a silence may be
            assert list(call) == []
            assert SILENCE_S < time.perf_counter() - began < LONGEST_S
    assert tracker.df["status"].tolist() == ["stopped"]


# -- brotli, which some machines can read

ASKING = """
import sys

url, decoder = sys.argv[1:]
if decoder == "without":
    sys.modules["brotli"] = sys.modules["brotlicffi"] = None  # as if they were not installed

from ornb.api.client import Client
from ornb.errors import UnexpectedAnswer

for streamed in (True, False):
    client = Client(base_url=url)
    try:
        if streamed:
            said = "".join(event.text for event in client.stream("Hi"))
        else:
            said = client.chat("Hi").text
        print(ascii(said))
    except UnexpectedAnswer as error:
        reply = error.reply
        print("refused" if "'br'" in str(error) else error, reply.status, reply.http_status)
"""


@pytest.mark.parametrize("decoder", ["with", "without"])
def test_brotli_is_read_where_its_decoder_is_and_refused_where_not(decoder) -> None:
    if decoder == "with" and not any(map(importlib.util.find_spec, ("brotli", "brotlicffi"))):
        pytest.skip("brotli is not installed")
    answers = [
        whole(brotli(BODY), 200, "text/event-stream", Content_Encoding="br"),
        whole(brotli(JSON_BODY), Content_Encoding="br"),
    ]
    with WireServer(*([answer] for answer in answers)) as server:
        done = subprocess.run(
            [sys.executable, "-c", ASKING, server.url, decoder],
            env={name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    wanted = ascii(TEXT) if decoder == "with" else "refused error 200"
    assert done.stdout.splitlines() == [wanted] * 2


# -- the wishes that need no bytes, through the door that people use


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
