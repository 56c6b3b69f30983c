from __future__ import annotations

import json
import pickle
import socket
import threading
import time
from dataclasses import asdict

import pytest
from cassettes import exchanges
from wire import (
    DONE,
    END,
    FINISH,
    SOON_S,
    STALL_S,
    STREAM,
    USAGE,
    WireServer,
    chunked,
    delta,
    event,
    head,
    whole,
)

from ornb import errors
from ornb.api.client import Client, Reply, Secret, Timeouts
from ornb.api.reply import Usage
from ornb.api.transport import Wire
from ornb.ledger.budget import billed
from ornb.messages import Conversation
from tests.page import as_soon_as

KEY = "sk-or-v1-" + "5e" * 32
MODEL = {"id": "acme/orbit", "name": "Acme: Orbit"}
ANSWER = {
    "id": "gen-1",
    "model": "acme/orbit-20260302",
    "provider": "NorthCloud",
    "choices": [
        {
            "finish_reason": "stop",
            "native_finish_reason": "end_turn",
            "message": {"role": "assistant", "content": "A cat.", "reasoning": "Looks like one."},
        }
    ],
    "usage": USAGE | {"completion_tokens_details": {"reasoning_tokens": 5}},
}


@pytest.fixture
def calls() -> list[Reply]:
    return []


@pytest.fixture
def client(calls):
    """Makes a client of a wire server; its calls are collected."""
    made = []

    def make(server: WireServer, **options) -> Client:
        options = {"api_key": KEY, "on_call": calls.append} | options
        made.append(Client(base_url=server.url, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


# -- chat


def test_a_plain_answer_becomes_a_reply(client, calls) -> None:
    with WireServer([whole(ANSWER, X_Generation_Id="gen-1")]) as server:
        reply = client(server).chat("What is this?", "acme/orbit", temperature=0, models=["a", "b"])
    assert (reply.text, reply.reasoning) == ("A cat.", "Looks like one.")
    assert (reply.model, reply.provider) == ("acme/orbit-20260302", "NorthCloud")
    assert (reply.finish_reason, reply.native_finish_reason) == ("stop", "end_turn")
    assert reply.usage == Usage(22, 9, 31, 5, None, None, 0.000145, None, ANSWER["usage"])
    assert (reply.cost_usd, reply.generation_id, reply.source) == (0.000145, "gen-1", "live")
    assert reply.raw == ANSWER
    assert calls == [reply]
    sent = json.loads(server.requests[0][1])
    assert sent == {
        "model": "acme/orbit",
        "messages": [{"role": "user", "content": "What is this?"}],
        "temperature": 0,
        "models": ["a", "b"],
    }


def test_padding_before_a_plain_answer_is_passed_over(client) -> None:
    padded = b"\n         \n\n" + json.dumps(ANSWER).encode()
    with WireServer([whole(padded)]) as server:
        assert client(server).chat("Hi").text == "A cat."


def test_a_stream_gives_its_events_in_order(client, calls) -> None:
    script = [
        STREAM,
        chunked(b": OPENROUTER PROCESSING\n\n"),
        delta("", reasoning="Hm"),
        delta("A "),
        delta("cat."),
        FINISH,
    ]
    with WireServer(script) as server:
        stream = client(server).stream("What?", "acme/orbit")
        events = list(stream)
    assert [(e.type, e.text) for e in events] == [
        ("reasoning", "Hm"),
        ("text", "A "),
        ("text", "cat."),
        ("finish", ""),
        ("usage", ""),
    ]
    reply = stream.reply
    assert (reply.text, reply.reasoning, reply.status) == ("A cat.", "Hm", "ok")
    assert reply.cost_usd == 0.000145
    assert calls == [reply]
    assert json.loads(server.requests[0][1])["stream"] is True


def test_nothing_is_sent_before_the_first_event_is_asked_for(client) -> None:
    with WireServer([STREAM, FINISH]) as server:
        client(server).stream("Hi")
        time.sleep(0.05)
        assert server.requests == []


def test_tool_calls_come_together_from_their_pieces(client) -> None:
    def piece(**function):
        return delta(None, tool_calls=[{"index": 0, "function": function}])

    named = {"name": "add", "arguments": ""}
    first = {"index": 0, "id": "call_1", "type": "function", "function": named}
    script = [STREAM, delta(None, tool_calls=[first])]
    script += [piece(arguments='{"a":'), piece(arguments=" 1}")]
    with WireServer([*script, delta("", "tool_calls"), DONE, END]) as server:
        reply = client(server).stream("Add")
        list(reply)
    assert reply.reply.tool_calls == (
        {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
    )


def test_images_annotations_and_logprobs_are_kept(client) -> None:
    url, note = "data:image/png;base64,iVBORw0KGgo=", {"type": "url_citation", "url_citation": {}}
    message = {"content": None, "images": [{"image_url": {"url": url}}], "annotations": [note]}
    choice = {"message": message, "finish_reason": "stop"}
    choice["logprobs"] = {"content": [{"token": "A"}]}
    with WireServer([whole({"choices": [choice]})]) as server:
        reply = client(server).chat("Draw")
    assert (reply.images, reply.annotations, reply.logprobs) == ((url,), (note,), ({"token": "A"},))
    assert reply.text == ""


def test_times_are_counted_from_the_first_write(client) -> None:
    script = [0.1, STREAM, delta("", reasoning="Hm"), 0.1, delta("A"), 0.1, FINISH]
    with WireServer(script) as server:
        stream = client(server).stream("Hi")
        list(stream)
    timing = stream.reply.timing
    assert timing.time_to_first_token_s >= 0.1
    assert timing.time_to_first_answer_s >= 0.2
    assert timing.time_to_first_token_s < timing.time_to_first_answer_s
    assert timing.duration_s >= 0.3
    assert timing.connection_reused is False
    assert 0 <= timing.connect_s <= timing.queued_s
    assert timing.started_at.utcoffset().total_seconds() == 0
    assert timing.tokens_per_second(9) == 9 / timing.duration_s


def test_an_empty_role_delta_is_not_the_first_token(client) -> None:
    with WireServer([STREAM, delta(""), 0.1, delta("A"), FINISH]) as server:
        stream = client(server).stream("Hi")
        list(stream)
    assert stream.reply.timing.time_to_first_token_s >= 0.1


def test_the_connection_serves_the_next_call(client) -> None:
    with WireServer([STREAM, delta("A"), FINISH]) as server:
        asked = client(server)
        for _ in range(5):
            stream = asked.stream("Hi")
            list(stream)
    assert server.connections == 1
    assert stream.reply.timing.connection_reused is True
    assert stream.reply.timing.connect_s is None


def test_llama_cpp_is_not_asked_on_the_connection_that_it_closes_after_a_stream(client) -> None:
    kept = STREAM[:-2] + b"Server: llama.cpp\r\nKeep-Alive: timeout=5, max=100\r\n\r\n"

    def answer(*_: bytes):
        answered.append(server.connections)
        return [kept, delta("A"), FINISH] if len(set(answered)) == len(answered) else ["close"]

    answered: list[int] = []
    with WireServer(answer) as server:
        asked = client(server)
        for _ in range(3):
            stream = asked.stream("Hi")
            list(stream)
            assert stream.reply.text == "A"
    assert server.connections == 3


def test_a_server_that_goes_on_after_done_does_not_hold_the_answer(client) -> None:
    with WireServer([STREAM, delta("A", "stop"), DONE, STALL_S]) as server:
        began = time.perf_counter()
        list(client(server).stream("Hi"))
    assert time.perf_counter() - began < SOON_S


# -- stopping


def test_close_ends_a_stalled_stream_at_once_and_keeps_the_part(client, calls) -> None:
    with WireServer([STREAM, delta("A part"), "stall"]) as server:
        stream = client(server).stream("Hi")
        events = iter(stream)
        assert next(events).text == "A part"
        threading.Timer(0.1, stream.close).start()
        began = time.perf_counter()
        assert list(events) == []
        assert time.perf_counter() - began < SOON_S
        assert server.disconnected.wait(SOON_S)
    assert (stream.reply.text, stream.reply.status) == ("A part", "stopped")
    assert calls == [stream.reply]


def test_close_ends_the_wait_for_the_first_byte(client, calls) -> None:
    with WireServer(["stall"]) as server:
        stream = client(server).stream("Hi")
        as_soon_as(lambda: server.requests, stream.close)
        began = time.perf_counter()
        assert list(stream) == []
        assert time.perf_counter() - began < SOON_S
    assert [reply.status for reply in calls] == ["stopped"]


def test_close_ends_the_wait_between_attempts(client, calls) -> None:
    busy = whole({"error": {"code": 503, "message": "Busy"}}, 503, Retry_After="19")
    with WireServer([busy]) as server:
        stream = client(server).stream("Hi")
        as_soon_as(lambda: server.requests, lambda: threading.Timer(0.2, stream.close).start())
        began = time.perf_counter()
        assert list(stream) == []
        assert time.perf_counter() - began < SOON_S
    assert calls[0].status == "stopped"


def test_a_refusal_that_says_it_stays_so_is_not_asked_again(client, calls) -> None:
    """`availability.retryable` is the service's own word; its status alone would be asked again."""
    gone = {"code": 503, "message": "Gone", "availability": {"retryable": False}}
    with WireServer([whole({"error": gone}, 503)]) as server:
        with pytest.raises(errors.ProviderUnavailable):
            client(server).chat("Hi")
        assert len(server.requests) == 1


def test_leaving_the_loop_stops_the_call(client, calls) -> None:
    with WireServer([STREAM, delta("A"), "stall"]) as server:
        with client(server).stream("Hi") as stream:
            for _ in stream:
                break
        assert server.disconnected.wait(SOON_S)
    assert [(reply.text, reply.status) for reply in calls] == [("A", "stopped")]


def test_an_interrupt_keeps_the_part_and_goes_on_up(client, calls) -> None:
    with WireServer([STREAM, delta("A"), "stall"]) as server:
        stream = client(server).stream("Hi")
        events = iter(stream)
        next(events)
        with pytest.raises(KeyboardInterrupt):
            events.throw(KeyboardInterrupt())
    assert [(reply.text, reply.status) for reply in calls] == [("A", "stopped")]


# -- errors


@pytest.mark.parametrize(
    "body",
    [{"error": {"code": 404, "message": "Gone"}}, {"object": "error", "message": "Gone"}],
)
@pytest.mark.parametrize("ask", ["models", "providers", "key", "endpoints"])
def test_an_error_with_the_status_200_is_told_for_lists_too(body, ask) -> None:
    with WireServer([whole(body)]) as server:
        client = Client(base_url=server.url)
        asked = (lambda: client.endpoints("a/b")) if ask == "endpoints" else getattr(client, ask)
        with pytest.raises(errors.ApiError, match=r"^Gone"):
            asked()


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        pytest.param([STREAM, delta("A part"), "close"], errors.StreamBroken, "kept", id="cut"),
        pytest.param([STREAM, delta("A part"), "reset"], errors.StreamBroken, "kept", id="reset"),
        pytest.param(
            [STREAM, delta("A part"), chunked(b'data: {"id":\n\n')],
            errors.StreamBroken,
            "damaged",
            id="garbage",
        ),
        pytest.param(
            [STREAM, delta("A part"), DONE[:0], END], errors.StreamBroken, "before", id="no end"
        ),
        pytest.param(
            [STREAM, delta("A part"), "stall"], errors.RequestTimedOut, "silent", id="silence"
        ),
        pytest.param(
            [
                STREAM,
                delta("A part"),
                event(
                    error={"code": 502, "message": "Upstream went away"},
                    choices=[{"delta": {"content": ""}, "finish_reason": None}],
                ),
            ],
            errors.ProviderUnavailable,
            "Upstream went away",
            id="an error chunk",
        ),
        pytest.param(
            [STREAM, delta("A part"), delta("", "error")],
            errors.ProviderUnavailable,
            "without saying why",
            id="a finish reason only",
        ),
    ],
)
def test_what_arrived_before_an_error_is_kept(client, calls, script, kind, words) -> None:
    with WireServer(script) as server:
        stream = client(server, timeouts=Timeouts(60, 60, 2)).stream("Hi", "acme/orbit")
        with pytest.raises(kind, match=words) as caught:
            list(stream)
    reply = caught.value.reply
    assert (reply.text, reply.status) == ("A part", "error")
    assert reply.error == str(caught.value)
    assert calls == [reply]
    assert len(server.requests) == 1, "an answer that had begun is not asked for twice"


def test_a_stream_without_done_but_with_a_finish_reason_is_whole(client) -> None:
    with WireServer([STREAM, delta("A", "stop"), END]) as server:
        stream = client(server).stream("Hi")
        list(stream)
    assert stream.reply.status == "ok"


@pytest.mark.parametrize("prompt", ["", "  \n", []], ids=["empty", "blank", "no messages"])
def test_an_empty_prompt_is_not_sent_but_recorded(client, calls, prompt) -> None:
    with WireServer([whole(ANSWER)]) as server:
        with pytest.raises(errors.ConfigError, match="nothing was sent"):
            client(server).chat(prompt)
        assert server.requests == []
    assert [(reply.status, reply.http_status) for reply in calls] == [("error", None)]


def test_a_parameter_that_is_no_json_is_named(client) -> None:
    with WireServer([whole(ANSWER)]) as server, pytest.raises(errors.ConfigError, match="JSON"):
        client(server).chat("Hi", temperature=float("nan"))


def test_a_server_that_is_not_there(calls) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    asked = Client(base_url=f"http://127.0.0.1:{port}/api/v1", retries=0, on_call=calls.append)
    with pytest.raises(errors.ConnectionFailed, match=r"Nobody answers at 127\.0\.0\.1") as caught:
        asked.chat("Hi")
    assert "Connection refused" in str(caught.value)
    assert calls[0].status == "error"


def test_a_proxys_page_is_told_from_an_answer(client, calls) -> None:
    page = whole(b"<html><title>Sign in</title></html>", content_type="text/html")
    with WireServer([page]) as server:
        with pytest.raises(errors.UnexpectedAnswer, match="Sign in"):
            client(server).chat("Hi")
        with pytest.raises(errors.UnexpectedAnswer, match="Sign in"):
            list(client(server).stream("Hi"))
        with pytest.raises(errors.UnexpectedAnswer, match="Sign in"):
            client(server).models()
    assert len(calls) == 2


def test_json_that_is_no_chat_completion(client) -> None:
    with (
        WireServer([whole({"hello": "world"})]) as server,
        pytest.raises(errors.UnexpectedAnswer, match="choices"),
    ):
        client(server).chat("Hi")


@pytest.mark.parametrize(
    ("told", "kind", "words"),
    [
        ({"error": True, "message": "Out of luck"}, errors.ProviderUnavailable, "Out of luck"),
        ({"error": "Slow down", "code": 429}, errors.RateLimited, r"Slow down \[429"),
        (
            {"choices": [{"error": {"message": "Slow down", "code": 429}}], "errors": []},
            errors.RateLimited,
            "Slow down",
        ),
        (
            {"success": False, "errors": [{"code": 7003, "message": "No route"}], "result": None},
            errors.ProviderUnavailable,
            "No route",
        ),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_within_an_answer_keeps_its_words(client, told, kind, words, streamed) -> None:
    script = [STREAM, event(**told), DONE, END] if streamed else [whole(told)]
    with WireServer(script) as server:
        asked = client(server, retries=0)
        ask = asked.chat if not streamed else lambda text: list(asked.stream(text))
        with pytest.raises(kind, match=words):
            ask("Hi")


def test_an_encoding_may_be_left_empty(client) -> None:
    with WireServer([whole(ANSWER, Content_Encoding="")]) as server:
        assert client(server).chat("Hi").text == "A cat."


def test_a_redirect_is_not_followed(client) -> None:
    with WireServer([whole(ANSWER)]) as other:
        away = head(307, Location=other.url, Content_Length="0") + b"\r\n"
        with WireServer([away]) as server, pytest.raises(errors.UnexpectedAnswer):
            client(server).chat("Hi")
        assert other.requests == []


def test_a_refusal_before_generation_is_asked_again_and_counted(client, calls) -> None:
    busy = whole({"error": {"code": 429, "message": "Slow down"}}, 429, Retry_After="0")
    with WireServer([busy], [whole(ANSWER)]) as server:
        reply = client(server).chat("Hi")
    assert (reply.text, reply.attempts, len(calls)) == ("A cat.", 2, 1)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("status", [429, 503])
def test_what_a_refusal_told_is_not_said_of_the_request_after_it(
    client, calls, status, streamed
) -> None:
    told = {"X_Generation_Id": "gen-0", "X_Ornb_Note": "Busy", "x_litellm_version": "1"}
    busy = whole({"error": {"code": status, "message": "Busy"}}, status, Retry_After="0", **told)
    with WireServer([busy], ["close"], [busy], [whole(ANSWER)]) as server:
        asked = client(server, retries=1)
        ask = asked.chat if not streamed else lambda text: list(asked.stream(text))
        with pytest.raises(errors.StreamBroken):
            ask("Hi")
        ask("Hi")
    lost, given = calls
    assert (lost.attempts, lost.status, lost.http_status) == (2, "error", None)
    assert billed(lost) is None, "it may have been answered"
    assert (given.attempts, given.http_status, given.generation_id) == (2, 200, "gen-1")
    assert {(one.note, one.proxy_cost_usd) for one in calls} == {(None, None)}


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_stop_just_before_a_request_leaves_it_unsent(client, calls, monkeypatch, attempt) -> None:
    """Between the look at whether it was stopped and what could be cut."""
    made = []

    def wire() -> Wire:
        made.append(None)
        if len(made) == attempt + 1:  # the first is made with the stream
            stream.close()
        return Wire()

    monkeypatch.setattr("ornb.api.stream.Wire", wire)
    busy = whole({"error": {"code": 429, "message": "Busy"}}, 429, Retry_After="0")
    with WireServer([busy], ["stall"]) as server:
        stream = client(server).stream("Hi")
        assert list(stream) == []
        assert len(server.requests) == attempt - 1
    assert (calls[0].status, calls[0].attempts) == ("stopped", attempt - 1)


def test_a_refusal_to_stream_is_not_said_of_the_request_after_it(client, calls) -> None:
    no = whole({"error": {"code": 501, "message": "Not streamed"}}, 501, X_Generation_Id="gen-0")
    with WireServer([no], ["close"]) as server, pytest.raises(errors.StreamBroken):
        list(client(server).stream("Hi", response_format={"type": "json_object"}))
    assert (calls[0].http_status, calls[0].generation_id, billed(calls[0])) == (None, None, None)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422, 500, 502, 504])
def test_what_could_be_paid_twice_or_fails_again_is_asked_once(client, calls, status) -> None:
    with WireServer([whole({"error": {"code": status, "message": "No"}}, status)]) as server:
        with pytest.raises(errors.ApiError) as caught:
            client(server).chat("Hi", "acme/orbit")
        assert len(server.requests) == 1
    assert caught.value.status_code == calls[0].http_status == status


def test_a_long_wait_is_refused_at_once_with_the_time(client) -> None:
    body = {"error": {"code": 429, "message": "free-models-per-day"}}
    spent = whole(body, 429, Retry_After="7200")
    with WireServer([spent]) as server:
        with pytest.raises(errors.RateLimited, match=r"2\.0 h"):
            client(server).chat("Hi")
        assert len(server.requests) == 1


# -- keys


def test_the_key_is_sent_and_shown_nowhere(client, calls) -> None:
    echo = whole({"error": {"code": 401, "message": f"Bad key {KEY}"}}, 401, X_Echo=KEY)
    with WireServer([echo]) as server:
        asked = client(server)
        with pytest.raises(errors.AuthenticationError) as caught:
            asked.chat("Hi")
        assert f"Authorization: Bearer {KEY}".encode() in server.requests[0][0]
    shown = [repr(asked), str(caught.value), repr(caught.value), repr(caught.value.raw)]
    shown += [repr(asdict(reply)) for reply in calls]
    shown += [repr(vars(asked)), repr(vars(asked._service))]
    assert not [text for text in shown if KEY in text]


def test_a_netrc_entry_does_not_replace_the_key(client, tmp_path, monkeypatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with WireServer([whole(ANSWER)]) as server:
        client(server).chat("Hi")
    assert f"Authorization: Bearer {KEY}".encode() in server.requests[0][0]


def test_each_request_has_its_own_body_and_the_cookies_that_came_before(client) -> None:
    marked = whole(ANSWER, Set_Cookie="lane=7; Path=/")
    with WireServer([whole(ANSWER)], [marked], [whole(ANSWER)]) as server:
        asked = client(server)
        for said in ("One", "Number two", "Three"):
            asked.chat(said)
    sent = [json.loads(body)["messages"][0]["content"] for _, body in server.requests]
    assert sent == ["One", "Number two", "Three"]
    assert [b"Cookie: lane=7" in head for head, _ in server.requests] == [False, False, True]
    assert all(f"Bearer {KEY}".encode() in head for head, _ in server.requests)


def test_a_key_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(KEY))


@pytest.mark.parametrize("key", ["sk or", "sk-ör", "a\nb"])
def test_what_cannot_be_a_key_is_refused_without_repeating_it(key) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        Client(key)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["openrouter.ai", "ftp://x/v1", "http://", "https://me:pw@host/v1", "http://[::1/v1"]
)
def test_what_cannot_be_an_address_is_refused(url) -> None:
    with pytest.raises(errors.ConfigError, match="base_url"):
        Client(base_url=url)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"title": "Урок"}, "characters that cannot be sent"),
        ({"base_url": "http://a..b/v1"}, r"a\.\.b"),
    ],
)
def test_a_setting_that_cannot_be_sent_is_named(calls, given, words) -> None:
    with WireServer([whole(ANSWER)]) as server:
        asked = Client(**{"base_url": server.url, "on_call": calls.append, **given})
        with pytest.raises(errors.ConfigError, match=words):
            asked.chat("Hi")
    assert server.requests == []
    assert [(call.status, call.http_status) for call in calls] == [("error", None)]


def test_how_the_app_presents_itself(client) -> None:
    with WireServer([whole(ANSWER)]) as server:
        client(server, title="My lab", referer="https://lab.example").chat("Hi")
    sent = server.requests[0][0].decode()
    assert "HTTP-Referer: https://lab.example\r\n" in sent
    assert "X-OpenRouter-Title: My lab\r\n" in sent


# -- what the service's router and its cache say

ROUTED = {"requested": "acme/orbit", "strategy": "direct", "attempt": 1, "summary": "selected=N"}
HIT = {
    "X_OpenRouter_Cache_Status": "HIT",
    "X_OpenRouter_Cache_Age": "3",
    "X_OpenRouter_Cache_TTL": "297",
}


def read(stream) -> Reply:
    for _ in stream:
        pass
    return stream.reply


def asked_by(head: bytes) -> dict[str, str]:
    """The headers of a request that ask for something, without what all of them begin with."""
    lines = [line.partition(": ") for line in head.decode().splitlines()]
    begin = "x-openrouter-"
    found = {name.lower(): value for name, _, value in lines if name.lower().startswith(begin)}
    return {name.removeprefix(begin): found[name] for name in found if not name.endswith("title")}


@pytest.mark.parametrize(
    ("words", "headers"),
    [
        ({}, {}),
        ({"router_metadata": None, "response_cache": None}, {}),
        ({"router_metadata": True}, {"metadata": "enabled"}),
        ({"router_metadata": False}, {"metadata": "disabled"}),
        ({"response_cache": True}, {"cache": "true"}),
        ({"response_cache": False}, {"cache": "false"}),
        ({"response_cache": 600}, {"cache": "true", "cache-ttl": "600"}),
        ({"response_cache": "refresh"}, {"cache": "true", "cache-clear": "true"}),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_the_router_and_the_cache_are_asked_by_a_connection_or_a_call(
    client, words, headers, streamed
) -> None:
    def ask(asked, **words):
        return list(asked.stream("Hi", **words)) if streamed else asked.chat("Hi", **words)

    with WireServer([STREAM, delta("A"), FINISH] if streamed else [whole(ANSWER)]) as server:
        ask(client(server, **words))
        ask(client(server), **words)
        ask(client(server, router_metadata=True, response_cache=60), **words)
    by_connection, by_call, both = server.requests
    assert asked_by(by_connection[0]) == asked_by(by_call[0]) == headers
    always = {"metadata": "enabled", "cache": "true", "cache-ttl": "60"}
    assert asked_by(both[0]) == always | headers, "the word of a call goes before"
    assert all(name not in body.decode() for _, body in server.requests for name in words)


@pytest.mark.parametrize(
    "words",
    [
        *({"router_metadata": value} for value in ("enabled", 1, {"a": "b"}, [])),
        *({"response_cache": value} for value in (0, -1, 86_401, 1.5, "yes", "", [60], {})),
    ],
)
def test_what_cannot_be_asked_of_router_and_cache_is_refused(client, calls, words) -> None:
    (name,) = words
    with WireServer([whole(ANSWER)]) as server:
        with pytest.raises(errors.ConfigError, match=name):
            client(server, **words)
        with pytest.raises(errors.ConfigError, match=name):
            client(server).chat("Hi", **words)
        assert server.requests == []


@pytest.mark.parametrize("streamed", [True, False])
def test_what_the_router_did_is_with_the_reply(client, streamed) -> None:
    last = event(choices=[], usage=USAGE, openrouter_metadata=ROUTED)
    pieces = [STREAM, delta("A", "stop"), last, DONE, END]
    answer = pieces if streamed else [whole(ANSWER | {"openrouter_metadata": ROUTED})]
    with WireServer(answer) as server:
        asked = client(server, router_metadata=True)
        reply = read(asked.stream("Hi")) if streamed else asked.chat("Hi")
    assert reply.metadata == ROUTED


def test_an_answer_from_the_services_cache_says_so(client) -> None:
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cost": 0}
    answer = ANSWER | {"usage": nothing}
    with WireServer([whole(answer, **HIT)], [whole(ANSWER, X_OpenRouter_Cache_Status="MISS")]) as w:
        asked = client(w, response_cache=300)
        hit, miss = asked.chat("Hi"), asked.chat("Hi")
    assert hit.response_cache == (True, 3.0, 297.0)
    assert "from OpenRouter's response cache" in hit.facts
    assert hit.cost_usd == 0
    assert miss.response_cache == (False, None, None)
    assert not any("cache" in piece for piece in miss.facts)
    talk = Conversation()
    talk.add_user("Hi")
    talk.add_reply(hit)
    again = Conversation.from_json(talk.to_json()).turns[-1].reply
    assert (again.response_cache, again.facts) == (hit.response_cache, hit.facts)


@pytest.mark.parametrize("odd", ["", "soon", "-1", "1e999", "nan", "\N{LATIN SMALL LETTER E}" * 99])
def test_odd_words_of_the_cache_are_left_out(client, odd) -> None:
    told = dict.fromkeys(HIT, odd)
    with WireServer([whole(ANSWER, **told | {"X_OpenRouter_Cache_Status": "hit"})]) as server:
        assert client(server).chat("Hi").response_cache == (True, None, None)
    with WireServer([whole(ANSWER, **told)]) as server:
        reply = client(server).chat("Hi")
    assert reply.response_cache is None or reply.response_cache == (False, None, None)
    assert reply.text


# -- catalogue and account


@pytest.mark.parametrize("body", [{"data": [MODEL]}, [MODEL]], ids=["enveloped", "bare list"])
def test_models_are_listed_from_either_shape(client, body) -> None:
    with WireServer([whole(body)]) as server:
        assert client(server).models() == [MODEL]


def test_pages_are_followed_on_the_same_host_only(client) -> None:
    with WireServer([whole({"data": [MODEL]})]) as other:
        pages = [
            [whole({"data": [MODEL], "links": {"next": "/api/v1/models?offset=1"}})],
            [whole({"data": [MODEL], "links": {"next": other.url + "/models?offset=2"}})],
        ]
        with WireServer(*pages) as server:
            assert len(client(server).models(sort="newest")) == 2
        assert other.requests == []
    asked = [sent.split(b" ")[1] for sent, _ in server.requests]
    assert asked == [b"/api/v1/models?sort=newest", b"/api/v1/models?offset=1"]


def test_key_information_falls_back_to_the_older_path(client) -> None:
    gone = whole({"error": {"code": 404, "message": "Not found"}}, 404)
    with WireServer([gone], [whole({"data": {"label": "sk-or-v1-1a2...9f0"}})]) as server:
        assert client(server).key() == {"label": "sk-or-v1-1a2...9f0"}
    asked = [sent.split(b" ")[1] for sent, _ in server.requests]
    assert asked == [b"/api/v1/key", b"/api/v1/auth/key"]


def test_endpoints_providers_credits_and_generation(client) -> None:
    answers = [{"data": {"endpoints": []}}, {"data": [{"name": "NorthCloud"}]}]
    answers += [{"data": {"total_credits": 50.0}}, {"data": {"id": "gen-1", "total_cost": 0.1}}]
    with WireServer(*[[whole(answer)] for answer in answers]) as server:
        asked = client(server)
        assert asked.endpoints("~acme/orbit-latest:free") == {"endpoints": []}
        assert asked.providers() == [{"name": "NorthCloud"}]
        assert asked.credits() == {"total_credits": 50.0}
        assert asked.generation("gen-1")["total_cost"] == 0.1
    paths = [sent.split(b" ")[1].removeprefix(b"/api/v1") for sent, _ in server.requests]
    assert paths == [
        b"/models/~acme/orbit-latest:free/endpoints",
        b"/providers",
        b"/credits",
        b"/generation?id=gen-1",
    ]


# -- recorded exchanges


def test_every_recorded_exchange_is_understood(shared_data, client, calls) -> None:
    tapes = exchanges(shared_data)
    assert len(tapes) > 20
    for tape in tapes:
        kind = tape.headers.get("content-type", "application/json")
        with WireServer([whole(tape.body, tape.status, kind)]) as server:
            asked = client(server, retries=0)
            sent = dict(tape.request or {})
            sent.pop("stream", None)
            messages = sent.pop("messages", None) or "Hi"
            ask = asked.stream if tape.streamed else asked.chat
            if tape.status >= 400:
                with pytest.raises(errors.ApiError) as caught:
                    ask(messages, **sent)
                assert caught.value.reply is calls[-1], tape.name
                continue
            reply = ask(messages, **sent)
            if tape.streamed:
                list(reply)
                reply = reply.reply
        assert reply.text or reply.tool_calls or reply.reasoning, tape.name
        assert reply.usage.prompt_tokens, tape.name
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
        assert reply.finish_reason, tape.name
        assert b'"cost"' not in tape.body or reply.cost_usd is not None, tape.name
        assert reply.generation_id.startswith("gen-"), tape.name
    assert len(calls) == len(tapes)


@pytest.mark.parametrize(
    ("given", "source"),
    [({}, "live"), ({"source": "offline"}, "canned"), ({"answers": "local"}, "local")],
)
def test_a_call_that_was_never_sent_is_counted_where_it_would_have_gone(given, source):
    def forbid(body, pause):
        raise errors.BudgetExceeded("No.")

    ended = []
    client = Client(
        base_url="http://127.0.0.1:9/v1", before_call=forbid, on_call=ended.append, **given
    )
    with pytest.raises(errors.BudgetExceeded):
        client.chat("Hi", "acme/orbit")
    assert [reply.source for reply in ended] == [source]


def test_a_word_in_the_place_of_a_key_is_no_secret():
    """Servers that need no key are given "none" or the like; answers hold such words."""
    with WireServer([STREAM, delta("none"), FINISH, USAGE, DONE, END]) as server:
        stream = Client("none", server.url).stream("Hi", "acme/orbit")
        list(stream)
    assert stream.reply.text == "none"
    assert "none" in str(stream.reply.raw)


def test_a_word_of_a_header_is_a_secret_only_where_it_looks_like_one():
    headers = {"X-Portkey-Provider": "openrouter", "X-Auth": "Bearer swordfish"}
    with WireServer([STREAM, delta("openrouter swordfish"), FINISH, USAGE, DONE, END]) as server:
        stream = Client(base_url=server.url, headers=headers).stream("Hi", "acme/orbit")
        list(stream)
    assert stream.reply.text == "openrouter [key]"
