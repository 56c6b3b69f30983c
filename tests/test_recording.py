"""A recording gives what was answered, in its time, and nothing of who asked."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest
from cassettes import exchanges
from hypothesis import example, given
from hypothesis import strategies as st
from lab import notebook_of, run_headless
from wire import (
    DONE,
    END,
    FINISH,
    SOON_S,
    STREAM,
    USAGE,
    WireServer,
    chunked,
    delta,
    event,
    head,
    whole,
)

import ornb
from ornb import errors, session
from ornb.api.client import Client, Timeouts
from ornb.recording.bodies import pieces_of, written
from ornb.recording.lines import FORMAT, Request, read
from ornb.recording.matching import differences, nearest, normal, same_as
from ornb.recording.redaction import PERSONAL, without_ids, without_keys, without_split_keys
from ornb.text.rendering import facts, reply_html
from tests.page import quickest
from tools import record as record_tool

KEY = "sk-or-v1-" + "5e" * 32
USER = "user_" + "2Yq9ZkLm8RtVwXbN"
NOBODY = "http://127.0.0.1:9/api/v1"
ANSWER = {
    "id": "gen-1",
    "model": "acme/orbit",
    "choices": [{"finish_reason": "stop", "message": {"content": "A cat."}}],
    "usage": USAGE,
}


@pytest.fixture(autouse=True)
def _closed():
    """No test leaves a recording open for the next."""
    assert session.default.recordings.opened == ()
    yield
    for tape in session.default.recordings.opened:
        tape.close()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "lesson.jsonl"


@pytest.fixture
def nobody():
    """A client whose service is not there: what it gets comes out of a recording."""
    client = Client(base_url=NOBODY, retries=0)
    yield client
    client.close()


def asked_of(server: WireServer, **options) -> Client:
    return Client(base_url=server.url, **{"api_key": KEY, "retries": 0} | options)


def recorded(path: Path, *scripts, ask=lambda client: client.chat("Hi"), **options) -> str:
    """Record one ask of a server that follows scripts, and give the file's text."""
    quietly = contextlib.suppress(errors.OrnbError)
    with WireServer(*scripts) as server, ornb.record(path, **options), quietly:
        ask(asked_of(server))
    return path.read_text(encoding="utf-8")


def drained(stream):
    with contextlib.suppress(errors.OrnbError):
        for _ in stream:
            pass
    return stream.reply


def alike(one, other) -> None:
    """Two replies say the same, their times included."""
    apart = {"timing", "raw_chunks", "source", "recorded_at", "recorded_from", "error"}
    for field in fields(one):
        if field.name not in apart:
            assert getattr(one, field.name) == getattr(other, field.name), field.name
    before, after = asdict(one.timing), asdict(other.timing)
    for name in before.keys() - {"started_at", "queued_s", "connection_reused"}:
        # How long our own reading of a whole answer, or of an error, took is not in the recording.
        is_ours = name == "duration_s" and (
            one.status != "ok" or not before["time_to_first_token_s"]
        )
        near = 0.05 if is_ours else 2e-6  # a recording has microseconds
        assert after[name] == pytest.approx(before[name], abs=near), name


# --- there and back -------------------------------------------------------------------------------


def test_every_recorded_exchange_comes_back_as_it_was(shared_data, path, nobody) -> None:
    before = []
    tapes = exchanges(shared_data)
    with ornb.record(path) as recorder:
        for tape in tapes:
            kind = tape.headers.get("content-type", "application/json")
            with WireServer([whole(tape.body, tape.status, kind)]) as server:
                before.append(asked_like(tape, asked_of(server)))
    assert recorder.calls == len(tapes)
    with ornb.replay(path, pace="instant"):
        for tape, first in zip(tapes, before, strict=True):
            again = asked_like(tape, nobody)
            alike(first, again)
            assert (again.source, again.recorded_from) == ("recorded", "live"), tape.name
            assert bool(first.error) == bool(again.error), tape.name


def asked_like(tape, client):
    sent = dict(tape.request or {})
    streamed = sent.pop("stream", None) or tape.streamed
    messages = sent.pop("messages", None) or "Hi"
    # Different tapes hold equal requests; the seed tells them apart.
    sent["seed"] = tape.name
    if streamed:
        return drained(client.stream(messages, **sent))
    try:
        return client.chat(messages, **sent)
    except errors.OrnbError as error:
        return error.reply


def test_a_stream_comes_back_with_its_times(path, nobody) -> None:
    script = [STREAM, delta("", reasoning="So"), 0.05, delta("A"), 0.05, delta(" cat."), FINISH]
    with WireServer(script) as server, ornb.record(path):
        first = drained(asked_of(server).stream("Hi", "acme/orbit"))
    with ornb.replay(path, pace="instant"):
        again = drained(nobody.stream("Hi", "acme/orbit"))
    alike(first, again)
    assert (again.text, again.reasoning) == ("A cat.", "So")
    assert again.timing.time_to_first_answer_s > again.timing.time_to_first_token_s


def test_at_its_recorded_pace_an_answer_takes_the_time_it_took(path, nobody) -> None:
    script = [STREAM, 0.1, delta("A"), 0.2, delta(" cat."), FINISH]
    with WireServer(script) as server, ornb.record(path):
        first = drained(asked_of(server).stream("Hi"))
    waits = {}
    for pace in ("recorded", "instant"):
        if pace == "instant":
            path.write_text(slowed(path.read_text()))
        with ornb.replay(path, pace=pace):
            began = time.perf_counter()
            events = iter(nobody.stream("Hi"))
            next(events)
            to_first = time.perf_counter() - began
            list(events)
            waits[pace] = (to_first, time.perf_counter() - began)
    assert waits["recorded"][0] >= first.timing.time_to_first_token_s
    assert waits["recorded"][1] >= first.timing.duration_s
    assert waits["instant"][1] < SOON_S


def test_a_connection_that_was_made_is_told_from_one_that_was_kept(path, nobody) -> None:
    with WireServer([whole(ANSWER)]) as server, ornb.record(path):
        client = asked_of(server)
        first = [client.chat("Hi").timing for _ in range(2)]
    with ornb.replay(path, pace="instant"):
        again = [nobody.chat("Hi").timing for _ in range(2)]
    assert [t.connection_reused for t in first] == [t.connection_reused for t in again]
    assert again[0].connect_s == pytest.approx(first[0].connect_s, abs=1e-5)
    assert again[0].queued_s >= first[0].connect_s - 1e-5


# Hypothesis may try the words of our own modules, so also names of what is taken out.
NAMES = st.text(max_size=5).filter(lambda name: name.lower() not in PERSONAL)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=6,
)
PLAIN, EVENTS = {"Content-Type": "application/json"}, {"Content-Type": "text/event-stream"}


def through(headers: dict[str, str], *pieces: tuple[float, bytes]):
    """A body as a file gives it back."""
    return pieces_of(json.loads(json.dumps(written(headers, pieces))), pieces[-1][0])


@given(JSON)
def test_any_json_body_comes_back(value) -> None:
    ((at, data),) = through(PLAIN, (0.5, b"\n  " + json.dumps(value).encode()))
    assert (at, json.loads(data)) == (0.5, value)


@given(st.binary(min_size=1))
@example(b"<html>Bad gateway</html>")
@example(b"\xff\xfe\x00")
def test_a_body_that_is_no_json_comes_back_byte_for_byte(data) -> None:
    ((_, again),) = through(PLAIN, (0.5, data))
    try:
        assert json.loads(again) == json.loads(data)
    except ValueError:
        assert again == data


CHUNK = {"id": "gen-1", "choices": [{"index": 0, "delta": {"content": "A"}, "logprobs": None}]}


def sse(value) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["id", "choices", "usage", "error"]), JSON).map(sse)
        | st.text(max_size=5).map(
            lambda t: sse(json.loads(json.dumps(CHUNK).replace('"A"', json.dumps(t))))
        )
        | st.sampled_from([b": OPENROUTER PROCESSING\n\n", b"data: [DONE]\n\n", b"data: {]\n\n"])
        | st.binary(max_size=6),
        min_size=1,
    ),
    st.integers(1, 40),
)
def test_a_stream_comes_back_however_it_was_cut(events, size) -> None:
    data = b"".join(events)
    blocks = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    again = through(EVENTS, *((place / 100, block) for place, block in enumerate(blocks)))
    assert meaning(b"".join(block for _, block in again)) == meaning(data)
    assert [at for at, _ in again] == sorted({at for at, _ in again})


def meaning(data: bytes) -> list:
    """What a reader of the events makes of bytes; the blanks of JSON make no difference."""
    found = []
    for line in data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        with contextlib.suppress(ValueError):
            found.append(json.loads(line.removeprefix(b"data:")))
            continue
        found.append(line)
    return found


# --- what is asked, and what was ------------------------------------------------------------------

BODY = {"model": "acme/orbit", "temperature": 1, "messages": [{"role": "user", "content": "Hi"}]}


def chat(**body) -> Request:
    return Request("POST", "/chat/completions", {}, BODY | body)


@given(st.dictionaries(st.text(min_size=1, max_size=5), JSON, max_size=4), st.randoms())
def test_the_order_of_fields_and_the_blanks_of_json_make_no_difference(body, random) -> None:
    names = list(body)
    random.shuffle(names)
    shuffled = json.loads(
        json.dumps({name: body[name] for name in names}, indent=random.choice([None, 3]))
    )
    assert same_as(chat(**body)) == same_as(chat(**shuffled))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"temperature": 1.0}, id="a whole number as a float"),
        pytest.param({"messages": [{"content": "Hi\r\n ", "role": "user"}]}, id="blanks around"),
        pytest.param({"ornb": {"simulate": {}}, "user": "me", "session_id": "7"}, id="who asks"),
        pytest.param({"top_p": None}, id="a field that is null"),
    ],
)
def test_these_are_the_same(other) -> None:
    assert same_as(chat(**other)) == same_as(chat())


@pytest.mark.parametrize(
    "other",
    [
        {"temperature": 0.9},
        {"temperature": True},
        {"messages": [{"role": "user", "content": "Hi there"}]},
        {"messages": [{"role": "user", "content": "H i"}]},
        {"stream": True},
        {"stop": ["\n"]},
    ],
)
def test_these_are_not_the_same(other) -> None:
    assert same_as(chat(**other)) != same_as(chat())
    assert same_as(chat(stop=["\n"])) != same_as(chat(stop=["\n\n"]))


def test_a_picture_is_kept_as_its_digest_and_still_told_from_another() -> None:
    def shows(letter: str) -> Request:
        url = "data:image/png;base64," + letter * 5000
        part = {"type": "image_url", "image_url": {"url": url}}
        return chat(messages=[{"role": "user", "content": [part]}])

    assert len(json.dumps(normal(shows("A")).body)) < 400
    assert same_as(shows("A")) == same_as(normal(shows("A"))) != same_as(shows("B"))


@given(JSON, JSON)
def test_values_differ_where_they_are_not_equal(one, other) -> None:
    assert list(differences(one, one)) == []
    assert bool(list(differences(one, other))) == (json.dumps(one) != json.dumps(other)) or (
        one == other
    )


def test_a_miss_says_what_differs_from_the_nearest_request(path, nobody) -> None:
    def ask(client: Client) -> None:
        client.chat("What is a token?", "acme/orbit", temperature=0)
        client.chat("Write a poem about the sea.", "acme/orbit", temperature=0, max_tokens=50)

    recorded(path, [whole(ANSWER)], ask=ask)
    with ornb.replay(path), pytest.raises(errors.NotRecorded) as caught:
        nobody.chat("What is a token?", "acme/orbit", temperature=0.7)
    assert "differs in temperature: recorded 0, asked 0.7." in str(caught.value)
    assert "not recorded in lesson.jsonl, which has 2 chats" in str(caught.value)
    assert "line 2" in str(caught.value)
    assert caught.value.differences == [{"path": "temperature", "recorded": 0, "asked": 0.7}]
    assert (caught.value.reply.source, caught.value.reply.status) == ("recorded", "error")
    with (
        ornb.replay(path),
        pytest.raises(errors.NotRecorded, match=r"content: recorded .*the sea.*asked .*the lake"),
    ):
        nobody.chat("Write a poem about the lake.", "acme/orbit", temperature=0, max_tokens=50)


def test_nothing_near_is_said_where_nothing_was_recorded() -> None:
    assert nearest(chat(), []) is None


def test_what_is_missing_is_asked_of_the_service_on_request(path) -> None:
    recorded(path, [whole(ANSWER)])
    with WireServer([whole(ANSWER)]) as server, ornb.replay(path, missing="ask"):
        client = asked_of(server)
        assert client.chat("Hi").source == "recorded"
        assert client.chat("Hello").source == "live"
    assert len(server.requests) == 1


def test_equal_requests_get_the_answers_in_order_and_then_from_the_first_on(path, nobody) -> None:
    def ask(client: Client) -> None:
        for _ in range(2):
            with contextlib.suppress(errors.OrnbError):
                client.chat("Hi")

    busy = {"error": {"code": 429, "message": "Slow down"}}
    recorded(path, [whole(busy, 429)], [whole(ANSWER)], ask=ask)
    ends = []
    with ornb.replay(path, pace="instant"):
        for _ in range(4):
            try:
                ends.append(nobody.chat("Hi").text)
            except errors.RateLimited:
                ends.append("429")
    assert ends == ["429", "A cat.", "429", "A cat."]


def test_a_refusal_that_was_asked_again_is_so_once_more_and_at_once(path) -> None:
    busy = {"error": {"code": 429, "message": "Slow down"}}
    scripts = ([whole(busy, 429, Retry_After="1")], [whole(ANSWER)])
    with WireServer(*scripts) as server, ornb.record(path):
        assert asked_of(server, retries=2).chat("Hi").attempts == 2

    def seconds() -> float:
        with ornb.replay(path, pace="instant"):
            began = time.perf_counter()
            assert Client(base_url=NOBODY).chat("Hi").attempts == 2
            return time.perf_counter() - began

    assert quickest(seconds, enough_s=0.5) < 0.5


def test_a_moment_in_the_headers_is_moved_to_the_present(path, nobody) -> None:
    soon = int((time.time() + 3600) * 1000)
    recorded(
        path, [whole({"error": {"code": 429, "message": "x"}}, 429, X_RateLimit_Reset=str(soon))]
    )
    aged(path, "1970-01-01")
    path.write_text(path.read_text().replace(str(soon), str(12 * 3_600_000)))
    with ornb.replay(path), pytest.raises(errors.RateLimited) as caught:
        nobody.chat("Hi")
    assert 0 <= caught.value.retry_after <= 12 * 3600


# --- how it ended ---------------------------------------------------------------------------------

CASES = {
    "refused": (
        [whole({"error": {"code": 402, "message": "No credits"}}, 402)],
        errors.OutOfCredits,
    ),
    "a page": ([whole(b"<html><title>Sign in</title>", 200, "text/html")], errors.UnexpectedAnswer),
    "bytes": ([whole(b"\xff\xfe\x00", 200)], errors.UnexpectedAnswer),
    "cut": ([STREAM, delta("A part"), "reset"], errors.StreamBroken),
    "ended early": ([STREAM, delta("A part"), END], errors.StreamBroken),
    "closed": (["close"], errors.StreamBroken),
    "damaged": ([STREAM, delta("A part"), chunked(b"data: {]\n\n")], errors.StreamBroken),
    "error inside": (
        [STREAM, delta("A part"), event(error={"code": 502, "message": "Gone"}), DONE, END],
        errors.ProviderUnavailable,
    ),
    "silent": ([STREAM, delta("A part"), "stall"], errors.RequestTimedOut),
    "no word": (["stall"], errors.RequestTimedOut),
}


@pytest.mark.parametrize(("script", "kind"), CASES.values(), ids=CASES)
def test_errors_come_back_as_they_were(path, nobody, script, kind) -> None:
    soon = Timeouts(first_byte=2, between_bytes=2)
    with WireServer(script) as server, ornb.record(path):
        stream = asked_of(server, timeouts=soon).stream("Hi", "acme/orbit")
        with pytest.raises(kind):
            list(stream)
    with ornb.replay(path, pace="instant"):
        again = nobody.stream("Hi", "acme/orbit")
        with pytest.raises(kind):
            list(again)
    alike(stream.reply, again.reply)
    assert again.reply.source == "recorded"


def test_a_service_that_was_not_there_is_not_there_again(path, nobody) -> None:
    with ornb.record(path), pytest.raises(errors.ConnectionFailed) as first:
        nobody.chat("Hi")
    with WireServer([whole(ANSWER)]) as server, ornb.replay(path):
        with pytest.raises(errors.ConnectionFailed) as again:
            asked_of(server).chat("Hi")
        assert server.requests == []
    assert "Connection refused" in str(first.value)
    assert "Connection refused" in str(again.value)
    assert again.value.reply.source == "recorded"


def test_an_answer_that_was_stopped_stops_there_again(path, nobody) -> None:
    with WireServer([STREAM, delta("A part"), 5.0]) as server, ornb.record(path):
        stream = asked_of(server).stream("Hi")
        for _ in stream:
            stream.close()
    assert stream.reply.status == "stopped"
    with ornb.replay(path):
        again = nobody.stream("Hi")
        assert [said.text for said in again] == ["A part"]
    alike(stream.reply, again.reply)


def test_a_with_that_is_left_early_is_a_stop_too(path, nobody) -> None:
    def ask(client: Client) -> None:
        with client.stream("Hi") as stream:
            next(iter(stream))

    recorded(path, [STREAM, delta("A part"), 5.0], ask=ask)
    with ornb.replay(path):
        assert drained(nobody.stream("Hi")).status == "stopped"


@pytest.mark.parametrize("script", [[5.0, "close"], [STREAM, delta("A"), 5.0, delta("B"), FINISH]])
def test_stop_wakes_a_replay_that_waits(path, nobody, script) -> None:
    slow = [0.1 if step == 5.0 else step for step in script]
    recorded(path, slow, ask=lambda client: drained(client.stream("Hi")))
    path.write_text(slowed(path.read_text()))
    with ornb.replay(path):
        stream = nobody.stream("Hi")
        threading.Timer(0.1, stream.close).start()
        began = time.perf_counter()
        drained(stream)
        assert time.perf_counter() - began < SOON_S
    assert stream.reply.status == "stopped"


def slowed(text: str) -> str:
    """The same recording, five minutes later from the head or the second piece on."""
    first, *lines = text.splitlines()
    exchange = json.loads(lines[-1])
    if "answer" in exchange:
        for item in exchange["answer"]["stream"][1:]:
            item[0] += 300
    exchange["times"]["ended_s"] += 30
    return "\n".join([first, json.dumps(exchange)]) + "\n"


# --- nothing of who asked -------------------------------------------------------------------------

SAYING = {
    "error": {
        "code": 401,
        "message": f"No auth with {KEY}, you are {USER}",
        "metadata": {"raw": json.dumps({"user_id": "me-42", "organization_id": "us-42"})},
    },
    "user_id": "me-42",
    "creator_user_id": USER,
    KEY: "as a name",
}
IN_PIECES = [delta(piece) for piece in ("It is sk", "-or-v1-5e5e", "5e" * 30, ", I think.")]


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([whole(SAYING, 401)], id="an error"),
        pytest.param([whole(KEY.encode() + b"\xff\n" + USER.encode(), 500)], id="bytes"),
        pytest.param([whole(json.dumps(SAYING).encode()[:-20], 502)], id="half of an error"),
        pytest.param([STREAM, *IN_PIECES, FINISH], id="in pieces"),
        pytest.param([STREAM, delta("A"), event(**SAYING), END], id="inside a stream"),
        pytest.param(
            [STREAM, chunked(b"data: " + json.dumps(SAYING).encode() + b"\r\n\r\n")], id="crlf"
        ),
        pytest.param(
            [STREAM, chunked(b'data: {"user\\u005fid": "me-42"}' + b" " * 200 + b"\n\n"), FINISH],
            id="a name with escapes",
        ),
        pytest.param([whole(ANSWER, Set_Cookie=KEY, X_Generation_Id=KEY)], id="headers"),
        pytest.param(
            [head(302, Location=f"https://x.example/{KEY}") + b"\r\n", "close"], id="away"
        ),
    ],
)
def test_no_key_and_no_account_is_written(path, script) -> None:
    def ask(client: Client) -> None:
        drained(client.stream(f"My key is\n{KEY}, is it good?", user="me-42"))

    text = recorded(path, script, ask=ask)
    assert path.stat().st_size > 200
    for secret in (KEY, KEY[9:40], "5e" * 10, USER, USER[5:], "me-42", "us-42", "Bearer"):
        assert secret not in text, secret


def test_a_key_of_another_form_is_not_written_either(path) -> None:
    key = 'my-"company"-token'
    refusal = [whole({"error": {"message": f"{key} is wrong", "code": 401}}, 401)]
    refused = pytest.raises(errors.AuthenticationError)
    with WireServer(refusal) as server, ornb.record(path), refused:
        Client(key, server.url).chat("Hi")
    assert "[key] is wrong" in path.read_text()


@pytest.mark.parametrize("paths", [["/key", "/auth/key"], ["/credits"], ["/activity"]])
def test_what_an_account_is_and_has_is_not_recorded(path, paths) -> None:
    facts = {"data": {"label": "sk-or-v1-1a2...9f0", "usage": 12.5, "limit": 20}}
    with WireServer([whole(facts)]) as server, ornb.record(path, catalogue=True) as recorder:
        client = asked_of(server)
        for one in paths:
            client._get(server.url + one)
    assert recorder.calls == 0
    assert path.read_text() == ""


def test_the_name_of_a_masked_key_is_taken_out() -> None:
    assert without_keys("label sk-or-v1-1a2...9f0, Bearer abcdefgh01234567") == "label [key], [key]"
    assert (
        without_keys("a task-force-of-twenty-five-people") == "a task-force-of-twenty-five-people"
    )
    assert without_keys(r"it said\nuser_2Yq9ZkLm8RtVwXbN") == r"it said\n[removed]"
    assert without_ids('{"user_id": "me-42"') == '{"user_id": "[removed]"'


def test_a_key_that_is_no_secret_leaves_texts_alone() -> None:
    assert without_keys("ollama runs here", ["ollama"]) == "ollama runs here"


@pytest.mark.parametrize("keys", [["abcd1234", "abcd1234:efgh"], ["abcd1234:efgh", "abcd1234"]])
def test_no_end_of_a_key_is_left_where_its_beginning_is_one_too(keys) -> None:
    assert without_keys("It is abcd1234:efgh, yes.", keys) == "It is [key], yes."


@given(st.integers(0, 70), st.integers(0, 70))
def test_a_key_in_pieces_is_found_wherever_it_is_cut(first, second) -> None:
    whole_text = f"It is {KEY}, yes."
    one, other = sorted((first, second))
    cut = [whole_text[:one], whole_text[one:other], whole_text[other:]]
    chunks = [{"choices": [{"delta": {"content": piece}}]} for piece in cut]
    without_split_keys(chunks, [KEY])
    said = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert without_keys(said) == "It is [key], yes."


def test_the_offline_defaults_token_is_not_written(path) -> None:
    client = ornb.connect(offline=True)
    with ornb.record(path):
        client.chat("Hi")
    assert client._service.key.reveal() not in path.read_text()


# --- the file -------------------------------------------------------------------------------------


def test_the_file_is_a_head_and_a_line_for_each_exchange(path) -> None:
    head_line, line = recorded(path, [whole(ANSWER)]).splitlines()
    about, exchange = json.loads(head_line), json.loads(line)
    assert about.keys() == {"ornb_recording", "recorded_at", "ornb", "source"}
    assert (about["ornb_recording"], about["ornb"], about["source"]) == (
        FORMAT,
        ornb.__version__,
        "live",
    )
    assert exchange["request"] == {
        "method": "POST",
        "path": "/chat/completions",
        "body": {"messages": [{"role": "user", "content": "Hi"}]},
    }
    assert exchange["answer"] == {
        "status": 200,
        "headers": {"Content-Type": "application/json"},
        "json": ANSWER,
    }
    assert datetime.fromisoformat(exchange["at"]).date() == datetime.now(UTC).date()


def test_a_piece_of_a_stream_is_a_time_and_its_text(path) -> None:
    script = [STREAM, delta("A"), 0.02, delta(" cat."), FINISH]
    text = recorded(path, script, ask=lambda client: drained(client.stream("Hi")))
    answer = json.loads(text.splitlines()[1])["answer"]
    assert [said for _, said in answer["stream"][:2]] == [["A"], [" cat."]]
    assert answer["stream"][-1][1] == "data: [DONE]\n\n"
    assert answer["chunk"]["provider"] == "NorthCloud"


def test_a_call_is_in_the_file_as_soon_as_it_has_ended(path) -> None:
    with WireServer([whole(ANSWER)]) as server, ornb.record(path):
        client = asked_of(server)
        for count in (1, 2):
            client.chat("Hi")
            assert len(read(path).exchanges) == count


def test_a_recording_is_added_to_also_after_a_crash(path, nobody) -> None:
    recorded(path, [whole(ANSWER)])
    with path.open("a") as file:
        file.write('{"at": "2026-11-22T10:')
    recorded(path, [whole(ANSWER)], ask=lambda client: client.chat("Hello"))
    with pytest.warns(UserWarning, match="Line 3 is damaged"), ornb.replay(path):
        assert nobody.chat("Hi").text == nobody.chat("Hello").text == "A cat."


def test_threads_record_whole_lines(path, nobody) -> None:
    def script(head_: bytes, body: bytes):
        said = json.loads(body)["messages"][0]["content"]
        return [STREAM, delta(said), 0.01, delta(said), FINISH]

    names = [f"Number {n} {'x' * 2000}" for n in range(48)]
    with WireServer(script) as server, ornb.record(path) as recorder:
        client = asked_of(server)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda name: drained(client.stream(name)), names))
    assert recorder.calls == len(read(path).exchanges) == 48
    with ornb.replay(path, pace="instant") as replay, ThreadPoolExecutor(16) as pool:
        again = list(pool.map(lambda name: drained(nobody.stream(name)).text, names))
    assert replay.problems == []
    assert again == [name * 2 for name in names]


DAMAGED = {
    "no JSON": ("{]\n", "Line 3 is damaged, it is no JSON"),
    "no object": ("[1]\n", "Line 3 is damaged"),
    "no request": ('{"at": "2026-11-22"}\n', "Line 3 is damaged (no 'request')"),
    "cut off": ('{"at": "20', "Line 3 is cut off"),
    "another version": ('{"ornb_recording": 2}\n', "Line 3 begins a recording of format 2"),
    "nesting": ("[" * 100_000 + "\n", "Line 3 is damaged"),
}


@pytest.mark.parametrize(("line", "words"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_line_is_named_and_the_rest_is_used(path, nobody, line, words) -> None:
    text = recorded(path, [whole(ANSWER)])
    path.write_text(text + line)
    with pytest.warns(UserWarning, match="lesson.jsonl") as told, ornb.replay(path) as replay:
        assert nobody.chat("Hi").text == "A cat."
    assert words in str(told[0].message)
    assert told[0].filename == __file__
    assert len(replay.problems) == 1


def test_a_recording_may_begin_with_a_byte_order_mark(path, nobody) -> None:
    path.write_text(recorded(path, [whole(ANSWER)]), encoding="utf-8-sig", newline="\r\n")
    recorded(path, [whole(ANSWER)], ask=lambda client: client.chat("Hello"))
    with ornb.replay(path):
        assert nobody.chat("Hi").text == nobody.chat("Hello").text == "A cat."


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: e["answer"].update(status=99), "status is 99"),
        (lambda e: e["answer"].update(status="200"), "status is '200'"),
        (lambda e: e["times"].update(ended_s=-1), "-1 is no time"),
        (lambda e: e["times"].update(ended_s=1e300), "is no time"),
        (lambda e: e.update(source="nowhere"), "source is 'nowhere'"),
        (lambda e: e.update(at="yesterday"), "yesterday"),
        (lambda e: e["request"].update(method=7), "damaged"),
        (lambda e: e["answer"].update(stream=[[0.1, [7]]]), "no chunk"),
        (lambda e: e["answer"].update(stream=[[float("nan"), "x"]]), "no time"),
    ],
)
def test_a_line_that_makes_no_sense_is_left_out(path, change, words) -> None:
    text = recorded(path, [whole(ANSWER)])
    exchange = json.loads(text.splitlines()[1])
    change(exchange)
    path.write_text(text + json.dumps(exchange) + "\n")
    with pytest.warns(UserWarning, match=words):
        assert len(ornb.replay(path)) == 1


@given(JSON)
def test_no_line_makes_reading_fail(value) -> None:
    import tempfile

    good = json.dumps(
        {"at": "2026-11-22", "request": {"method": "GET", "path": "/models"}, "end": "tls"}
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.jsonl"
        path.write_text(f'{{"ornb_recording": 1}}\n{good}\n{json.dumps(value)}\n')
        assert len(read(path).exchanges) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "It is empty: nothing was recorded"),
        ('{"ornb_recording": 1}\n', "It is empty"),
        (
            '{"ornb_recording": 7}\n{"request": 1}\n',
            "Line 1 begins a recording of format 7.*Update",
        ),
        ("PK\x03\x04", "Line 1 is cut off"),
    ],
)
def test_a_file_without_anything_to_replay_is_refused(path, text, words) -> None:
    path.write_text(text)
    with pytest.raises(errors.ConfigError, match=words):
        ornb.replay(path)


def test_a_file_that_is_not_there_says_how_one_is_made(path) -> None:
    with pytest.raises(errors.ConfigError, match=r"no recording .*ornb.record\('lesson.jsonl'\)"):
        ornb.replay(path)


@pytest.mark.parametrize(
    "text",
    [
        *("my notes\n", "\nmy notes\n", " \n\nmy notes", "[1]\n"),
        *('{"ornb_recording": 7}\n', '\n{"ornb_recording": 7}\n'),
        pytest.param("[" * 100_000 + "\n", id="nesting"),
    ],
)
def test_nothing_is_added_to_another_file(path, text) -> None:
    path.write_text(text)
    with pytest.raises(errors.ConfigError, match="is no recording of format 1"):
        ornb.record(path)
    assert path.read_text() == text


def test_a_folder_that_is_not_there_is_told_at_once(tmp_path) -> None:
    with pytest.raises(errors.ConfigError, match="cannot be written"):
        ornb.record(tmp_path / "no" / "such.jsonl")
    assert session.default.recordings.opened == ()


def test_a_file_of_blank_lines_is_added_to(path, nobody) -> None:
    path.write_text("\n \n")
    recorded(path, [whole(ANSWER)])
    with ornb.replay(path):
        assert nobody.chat("Hi").text == "A cat."


def test_a_recording_may_be_in_the_home_folder(tmp_path, monkeypatch) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    recorder = ornb.record("~/lesson.jsonl")
    assert recorder.path == tmp_path / "lesson.jsonl"
    recorder.close()
    recorded(recorder.path, [whole(ANSWER)])
    assert ornb.replay("~/lesson.jsonl").path == recorder.path


def test_a_call_that_could_not_be_written_is_told_at_the_line_that_asked(tmp_path) -> None:
    folder = tmp_path / "lessons"
    folder.mkdir()
    script = [STREAM, delta("A cat."), FINISH, END]
    with WireServer([whole(ANSWER)], script) as server, ornb.record(folder / "a.jsonl") as recorder:
        (folder / "a.jsonl").unlink()
        folder.rmdir()
        client = asked_of(server)
        with pytest.warns(UserWarning, match="A call was not recorded") as told:
            assert client.chat("Hi").text == "A cat."
        with pytest.warns(UserWarning, match="A call was not recorded") as told_later:
            assert drained(client.stream("Hi")).text == "A cat."
    assert [warned.filename for warned in (*told, *told_later)] == [__file__] * 2
    assert recorder.calls == 0


@pytest.mark.parametrize("path", [5, None, ["lesson.jsonl"], "a\0.jsonl", "\ud800.jsonl"])
def test_what_is_no_path_is_refused_in_words(path, monkeypatch) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    with pytest.raises(errors.ConfigError, match="is no path of a recording"):
        ornb.record(path)
    with pytest.raises(errors.ConfigError, match="is no path of a recording"):
        ornb.replay(path)


@pytest.mark.parametrize("has_key", [True, False])
def test_connecting_to_what_is_no_path_is_refused_in_words(session_of, has_key, capsys) -> None:
    where = (KEY, NOBODY) if has_key else ()
    with pytest.raises(errors.ConfigError, match="is no path of a recording"):
        session_of(*where, recording=5)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("how", [{"pace": "slow"}, {"missing": "guess"}])
def test_no_such_pace_and_no_such_way(path, how) -> None:
    with pytest.raises(errors.ConfigError, match="give one of"):
        ornb.replay(path, **how)


def test_a_recording_cannot_claim_to_be_live(path, nobody) -> None:
    text = recorded(path, [whole(ANSWER)])
    hostile = text.replace(
        '"Content-Type"', '"X-Ornb-Source": "live", "Location": "x", "Content-Type"'
    )
    path.write_text(hostile)
    with ornb.replay(path):
        assert nobody.chat("Hi").source == "recorded"


# --- for the session and for a block --------------------------------------------------------------


def test_a_block_ends_and_what_was_replayed_before_goes_on(tmp_path, nobody) -> None:
    def said(name: str) -> Path:
        answer = ANSWER | {"choices": [{"finish_reason": "stop", "message": {"content": name}}]}
        recorded(tmp_path / name, [whole(answer)])
        return tmp_path / name

    first, second, third = map(said, "ABC")
    ornb.replay(first)
    outer = ornb.replay(second)
    assert nobody.chat("Hi").text == "B", "the later one takes the place of the earlier"
    with ornb.replay(third):
        assert nobody.chat("Hi").text == "C"
    assert nobody.chat("Hi").text == "B"
    outer.close()
    outer.close()
    with pytest.raises(errors.ConnectionFailed):
        nobody.chat("Hi")


def test_a_file_is_written_once_by_whatever_is_open(path) -> None:
    with WireServer([whole(ANSWER)]) as server:
        ornb.record(path)
        ornb.record(path)
        with ornb.record(path):
            asked_of(server).chat("Hi")
    assert len(read(path).exchanges) == 1


def test_two_files_are_both_written(tmp_path) -> None:
    with ornb.record(tmp_path / "a") as outer:
        recorded(tmp_path / "b", [whole(ANSWER)])
    assert (outer.calls, len(read(tmp_path / "b").exchanges)) == (1, 1)


def test_what_is_replayed_is_not_recorded_again(path) -> None:
    def ask(client: Client) -> None:
        client.chat("Hi")
        client.chat("Hello")

    recorded(path, [whole(ANSWER)])
    with ornb.replay(path, missing="ask"):
        recorded(path, [whole(ANSWER)], ask=ask)
    assert len(read(path).exchanges) == 2


def test_both_say_what_they_are(path, nobody) -> None:
    with WireServer([whole(ANSWER)]) as server, ornb.record(path) as recorder:
        asked_of(server).chat("Hi")
    assert "1 call so far" in repr(recorder)
    with ornb.replay(path) as replay:
        assert f"1 call, live, recorded {datetime.now(UTC):%Y-%m-%d}" in repr(replay)


# --- where it is shown, and what it costs ---------------------------------------------------------


@pytest.fixture
def session_of(monkeypatch, anew):
    """The kernel's own client, as a notebook has it."""
    for name in ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "ORNB_MODEL", "ORNB_RECORD"):
        monkeypatch.delenv(name, raising=False)
    anew(announced=True)
    ornb.usage.clear()
    yield ornb.connect
    ornb.usage.clear()


def test_the_badge_has_the_day_and_the_former_source(path, nobody) -> None:
    client = ornb.connect(offline=True)
    with ornb.record(path):
        client.chat("Hi")
    aged(path, "2026-11-22")
    with ornb.replay(path, pace="instant"):
        reply = nobody.chat("Hi")
    badge = "recorded (canned answer), 2026-11-22"
    assert facts(reply).source == badge
    assert badge in reply_html(reply)
    assert "not billed" in reply_html(reply)
    assert (reply.recorded_at.date().isoformat(), reply.recorded_from) == ("2026-11-22", "canned")


def aged(path: Path, day: str) -> None:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    path.write_text(path.read_text().replace(f'"at": "{today}', f'"at": "{day}'))


def test_a_live_answer_says_what_it_had_cost(path, nobody) -> None:
    recorded(path, [whole(ANSWER)])
    with ornb.replay(path):
        reply = nobody.chat("Hi")
    assert facts(reply).source == f"recorded, {datetime.now(UTC):%Y-%m-%d}"
    assert "$0.00015 when recorded" in reply.facts


def test_a_saved_conversation_keeps_the_day(path, session_of) -> None:
    session_of(offline=True)
    with ornb.record(path):
        ornb.ask("Hi")
    with ornb.replay(path, pace="instant"):
        chat = ornb.Chat()
        chat.ask("Hi")
    again = ornb.Conversation.from_json(json.loads(json.dumps(chat.conversation.to_json())))
    reply = again.path[-1].reply
    assert reply.recorded_at == chat.conversation.path[-1].reply.recorded_at
    assert (reply.source, reply.recorded_from) == ("recorded", "canned")


def test_a_replay_costs_no_budget_and_counts_for_no_limit(path, session_of) -> None:
    scripts = [whole(ANSWER)]
    with WireServer(scripts) as server:
        session_of(KEY, server.url)
        with ornb.record(path):
            ornb.client().chat("Hi", "acme/orbit:free")
    session_of(KEY, NOBODY)
    before = ornb.session.quota().minute_used
    with ornb.budget("0.00001") as budget, ornb.replay(path, pace="instant"):
        ornb.client().chat("Hi", "acme/orbit:free")
    assert (budget.calls, budget.spent_usd, budget.held_usd) == (1, 0, 0)
    assert ornb.session.quota().minute_used == before
    rows = ornb.usage.df
    assert rows["source"].tolist() == ["live", "recorded"]
    assert rows["cost_usd"].tolist() == [0.000145, 0.000145]
    assert "when recorded, not billed now" in repr(ornb.usage)


def test_the_catalogue_is_recorded_on_request(path, session_of) -> None:
    session_of(offline=True)
    ornb.models()
    with ornb.record(path, catalogue=True) as recorder:
        first = ornb.models()
        ornb.endpoints("openai/gpt-4o-mini")
    assert recorder.calls == 2
    session_of(KEY, NOBODY)
    with ornb.replay(path):
        again = ornb.models()
        assert again.attrs["source"] == "recorded"
        assert again.attrs["fetched_at"][:10] == f"{datetime.now(UTC):%Y-%m-%d}"
        assert again.index.tolist() == first.index.tolist()
        assert len(ornb.endpoints("openai/gpt-4o-mini"))


def test_the_catalogue_is_left_to_the_service_otherwise(path, session_of) -> None:
    session_of(offline=True)
    with ornb.record(path):
        ornb.ask("Hi")
        ornb.models(refresh=True)
    with ornb.replay(path, pace="instant"):
        assert ornb.models(refresh=True).attrs["source"] == "snapshot"


def test_the_default_model_is_the_one_of_the_recording(path, session_of, monkeypatch) -> None:
    monkeypatch.setenv("ORNB_MODEL", "acme/orbit")
    with WireServer([STREAM, delta("A"), FINISH]) as server:
        session_of(KEY, server.url)
        with ornb.record(path):
            ornb.ask("Hi")
    monkeypatch.delenv("ORNB_MODEL")
    session_of(offline=True)
    with ornb.replay(path, pace="instant"):
        assert ornb.ask("Hi").text == "A"
    assert session.default_model() == "ornb/canned"


# --- beside a client ------------------------------------------------------------------------------


@pytest.fixture
def canned(path, session_of):
    """A recording of the offline default's, as a notebook ships it."""
    session_of(offline=True)
    with ornb.record(path):
        ornb.ask("Hi")
    return path


def test_without_a_key_a_recording_answers_and_the_offline_default_the_rest(
    canned, session_of, capsys
) -> None:
    session_of(recording=canned)
    said = capsys.readouterr().out
    assert f"recorded {datetime.now(UTC):%Y-%m-%d}, with canned texts: lesson.jsonl" in said
    assert ornb.ask("Hi").source == "recorded"
    assert ornb.ask("Hello").source == "canned"
    assert capsys.readouterr().out == "", "once is enough"
    session_of(offline=True)
    assert ornb.ask("Hi").source == "canned", "the next connect() leaves it"


def test_with_a_key_it_is_left_aside(canned, session_of, capsys) -> None:
    with WireServer([STREAM, delta("A"), FINISH]) as server:
        session_of(KEY, server.url, recording=canned)
        assert "answers are live" in capsys.readouterr().out
        assert ornb.ask("Hi", "acme/orbit").source == "live"


def test_other_clients_are_not_answered_by_it(canned, session_of) -> None:
    session_of(recording=canned)
    with WireServer([STREAM, delta("A"), FINISH]) as server:
        reply = drained(asked_of(server).stream("Hi", "ornb/canned"))
    assert reply.source == "live"


def test_what_is_damaged_is_told_at_the_line_that_connects(canned, session_of) -> None:
    canned.write_text(canned.read_text() + "{]\n")
    with pytest.warns(UserWarning, match="is damaged") as told:
        session_of(recording=canned)
    assert told[0].filename == __file__


def test_a_notebook_without_its_recording_goes_on(path, session_of, capsys) -> None:
    session_of(recording=path)
    assert "There is no recording" in capsys.readouterr().out
    assert ornb.ask("Hi").source == "canned"


def test_the_same_line_makes_the_recording(path, session_of, monkeypatch, capsys) -> None:
    monkeypatch.setenv("ORNB_RECORD", "1")
    session_of(recording=path)
    ornb.ask("Hi")
    assert "records" in capsys.readouterr().out
    monkeypatch.delenv("ORNB_RECORD")
    session_of(recording=path)
    assert ornb.ask("Hi").source == "recorded"
    assert json.loads(path.read_text().splitlines()[0])["default_model"] == "ornb/canned"


# --- the page, and the tool -----------------------------------------------------------------------

PAGE = (Path(__file__).parents[1] / "docs/recordings.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_runs(session_of, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    session_of(offline=True)
    names: dict = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(block, names)
    assert "recorded canned 2" in capsys.readouterr().out
    assert names["reply"].source == "recorded"


def test_the_example_of_the_page_is_a_stream() -> None:
    example = re.search(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    pieces = pieces_of(json.loads(example.group(1)), 0.61)
    assert [at for at, _ in pieces] == [0.41, 0.52, 0.55, 0.61]
    assert json.loads(pieces[2][1][6:])["choices"][0]["delta"] == {"content": " cat."}
    assert pieces[3][1].endswith(b"data: [DONE]\n\n")


def test_the_page_names_every_field(path) -> None:
    head_line, line = recorded(path, [whole(ANSWER)]).splitlines()
    exchange = json.loads(line)
    words = set(re.findall(r"`(\w+)`", PAGE))
    for fields_ in (json.loads(head_line), exchange, exchange["times"], exchange["answer"]):
        assert set(fields_) <= words


@pytest.mark.slow
@pytest.mark.usefixtures("forked_kernels")
def test_a_notebook_makes_its_recording_and_plays_it(tmp_path) -> None:
    notebook = notebook_of(
        ['import ornb\nornb.connect(recording="recordings/x.jsonl")', 'ornb.ask("Hi").source']
    )
    (tmp_path / "notebooks").mkdir()
    file = tmp_path / "notebooks/x.ipynb"
    nbformat.write(notebook, file)
    with pytest.raises(errors.ConfigError, match="answers that are canned"):
        record_tool.record(file)
    assert not (tmp_path / "notebooks/recordings").exists()
    made = record_tool.record(file, allowed=("canned",))
    assert [path.relative_to(tmp_path).as_posix() for path in made] == [
        "notebooks/recordings/x.jsonl"
    ]
    played = run_headless(notebook, tmp_path / "notebooks")
    assert "recorded" in str(played.cells[-1].outputs)


def test_a_notebook_without_a_recording_is_passed_over() -> None:
    tour = Path(__file__).parents[1] / "notebooks/01-start-here.ipynb"
    assert record_tool.recordings_of(tour) == []
