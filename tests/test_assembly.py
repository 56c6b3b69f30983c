"""An answer is put together whole, whatever fields its pieces have and in whatever company."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import DONE, END, STREAM, WireServer, chunked, event, whole

import ornb
from ornb import errors
from ornb.api.assembly import Assembly
from ornb.api.client import Client
from ornb.api.reply import Reply, Usage
from ornb.messages import Conversation
from ornb.messages.schema import parse
from ornb.messages.tool_loop import ToolLoop, together
from ornb.text.figures import figures

COUNTS = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "cost": 0.001}
SOURCE = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
THOUGHT = {"type": "reasoning.text", "text": "Hm.", "signature": "s", "index": 0}
OWN = {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.00105}}


def call(index=None, told=None, name=None, arguments=None):
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    piece = {"function": function}
    piece |= {} if index is None else {"index": index}
    return piece | ({} if told is None else {"id": told, "type": "function"})


def asked(script, **params) -> Reply:
    """What ornb makes of an answer that a server sends."""
    with WireServer(script) as server:
        client = Client(base_url=server.url, retries=0)
        stream = client.stream("Hi", "lab/one", **params)
        try:
            list(stream)
        except errors.OrnbError as error:
            return error.reply
        finally:
            client.close()
        return stream.reply


def streamed(*deltas, usage=COUNTS, finish="stop", **chunk) -> Reply:
    pieces = [event(choices=[{"index": 0, "delta": delta}]) for delta in deltas]
    last = event(choices=[{"index": 0, "delta": {}, "finish_reason": finish}], usage=usage, **chunk)
    return asked([STREAM, *pieces, last, DONE, END])


def at_once(message, usage=COUNTS, finish="stop", **answer) -> Reply:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return asked([whole({"choices": [choice], "usage": usage, **answer})])


def calls_of(reply):
    return [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in reply.tool_calls]


@pytest.mark.parametrize(
    "company", [{}, {"role": "assistant"}, {"role": "assistant", "content": ""}]
)
@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("tool_calls", call(0, "c1", "add", '{"a":1}'), ("c1", "add", '{"a":1}')),
        ("images", PICTURE, PICTURE["image_url"]["url"]),
        ("annotations", SOURCE, SOURCE),
        ("reasoning_details", THOUGHT, THOUGHT),
    ],
)
@pytest.mark.parametrize("read", [streamed, at_once])
def test_a_field_is_kept_in_any_company(read, field, value, kept, company) -> None:
    reply = read(company | {field: [value]})
    found = calls_of(reply) if field == "tool_calls" else getattr(reply, field)
    assert list(found) == [kept]
    assert reply.status == "ok"


@pytest.mark.parametrize(
    ("pieces", "made"),
    [
        pytest.param(
            [[call(0, "a", "get", "{1}")], [call(0, "b", "get", "{2}")]],
            [("a", "get", "{1}"), ("b", "get", "{2}")],
            id="a new id at the same index",
        ),
        pytest.param(
            [[call(None, "a", "get", "")], [call(arguments="{")], [call(arguments="}")]],
            [("a", "get", "{}")],
            id="no index, and an id once",
        ),
        pytest.param(
            [[call(0, "a", "get", "{")], [call(0, "a", "get", "}")]],
            [("a", "get", "{}")],
            id="id and name in each piece",
        ),
        pytest.param(
            [[call(None, None, "get", "{")], [call(None, None, "get", "}")]],
            [(None, "get", "{}")],
            id="name alone in each piece",
        ),
        pytest.param(
            [[call(None, None, "get", "{}")], [call(None, None, "put", "{}")]],
            [(None, "get", "{}"), (None, "put", "{}")],
            id="another name after arguments",
        ),
        pytest.param(
            [[call(None, None, "get", "{1}"), call(None, None, "get", "{2}")]],
            [(None, "get", "{1}"), (None, "get", "{2}")],
            id="two in one list without a place",
        ),
        pytest.param(
            [[call(1, "b", "put", "{")], [call(0, "a", "get", "{}")], [call(1, arguments="}")]],
            [("a", "get", "{}"), ("b", "put", "{}")],
            id="the second begins first",
        ),
        pytest.param(
            [[call(0, None, "get", "{")], [call(0, "late", arguments="}")]],
            [("late", "get", "{}")],
            id="the id comes late",
        ),
        pytest.param(
            [[call(0, "", "ge", "")], [call(0, "", "t", {"q": 1})]],
            [(None, "get", '{"q": 1}')],
            id="an empty id, a name in parts, arguments as an object",
        ),
        pytest.param(
            [[call(0, 7, "get", "{}")]], [("7", "get", "{}")], id="an id that is a number"
        ),
        pytest.param(
            [[call(0, "a", None, "{}")], [call(0, None, "get")]],
            [("a", "get", "{}")],
            id="the name comes last",
        ),
        pytest.param(
            [[call(0, None, "get", '{"n":1}')], [call(0, None, "get", '{"n":2}')]],
            [(None, "get", '{"n":1}'), (None, "get", '{"n":2}')],
            id="whole calls of one index without ids",
        ),
        pytest.param(
            [[call(0, "a", "get", "{}")], [call(0, None, "get", "")]],
            [("a", "get", "{}")],
            id="the name alone once more",
        ),
        pytest.param(
            [[call(0, "a", "get", '{"n":1}')], [call(0, "a", "get", '{"n":1}')]],
            [("a", "get", '{"n":1}')],
            id="a call is told again",
        ),
        pytest.param(
            [[call(0, "a", "get", {})], [call(0, arguments='{"n"')], [call(0, arguments=":1}")]],
            [("a", "get", '{"n":1}')],
            id="empty arguments before the first piece",
        ),
    ],
)
def test_a_piece_of_a_call_goes_where_it_belongs(pieces, made) -> None:
    assert calls_of(streamed(*({"tool_calls": piece} for piece in pieces))) == made


@pytest.mark.parametrize("pieces", [('{"t":"}', '{"}'), ("{", '"a":{}', "}")])
def test_braces_do_not_end_the_arguments_where_they_go_on(pieces) -> None:
    told = [{"tool_calls": [call(0, None, None, piece)]} for piece in pieces]
    reply = streamed({"tool_calls": [call(0, "a", "get", "")]}, *told)
    assert calls_of(reply) == [("a", "get", "".join(pieces))]


def test_calls_of_a_whole_message_are_never_joined() -> None:
    reply = at_once({"tool_calls": [call(0, None, "get", "{}"), call(0, None, "get", "{}")]})
    assert calls_of(reply) == [(None, "get", "{}")] * 2


def test_thoughts_without_a_place_go_on_and_ciphers_are_not_cut_together() -> None:
    text = {"type": "reasoning.text"}
    cipher = {"type": "reasoning.encrypted", "data": "AA"}
    reply = streamed(
        {"reasoning_details": [text | {"text": "Let "}]},
        {"reasoning_details": [text | {"text": "me", "signature": "s"}]},
        {"reasoning_details": [text | {"text": "And"}]},
        {"reasoning_details": [cipher]},
        {"reasoning_details": [cipher]},
    )
    assert reply.reasoning_details == (
        text | {"text": "Let me", "signature": "s"},
        text | {"text": "And"},
        cipher,
        cipher,
    )
    assert reply.reasoning == "Let meAnd", "told nowhere else"


def test_thoughts_told_twice_are_read_once() -> None:
    reply = streamed({"reasoning": "Hm.", "reasoning_details": [THOUGHT]}, {"content": "A cat."})
    assert (reply.reasoning, reply.text) == ("Hm.", "A cat.")


def test_sources_and_pictures_listed_again_are_kept_once() -> None:
    listed = {"annotations": [SOURCE], "images": [PICTURE]}
    reply = streamed({"content": "A "} | listed, {"content": "cat."} | listed)
    assert (reply.annotations, reply.images) == ((SOURCE,), (PICTURE["image_url"]["url"],))


@pytest.mark.parametrize(
    "late",
    [
        {},
        dict.fromkeys(COUNTS),
        dict.fromkeys(COUNTS, 0),
        {"prompt_tokens_details": {}},
        {"prompt_tokens": "none", "cost": [], "prompt_tokens_details": 3},
        [1],
        None,
    ],
)
def test_a_usage_that_says_nothing_erases_none_that_did(late) -> None:
    first = COUNTS | {"prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2}}
    reply = streamed({"content": "Hi"}, usage=first)
    again = asked([STREAM, event(choices=[], usage=first), event(choices=[], usage=late), END])
    for used in (reply.usage, again.usage):
        assert (used.prompt_tokens, used.completion_tokens, used.cost_usd) == (5, 7, 0.001)
        assert (used.cached_tokens, used.cache_write_tokens) == (3, 2)


@pytest.mark.parametrize("told", [None, [], {}, "none", -1, 1e999, 10**400])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_figure_that_is_none_hides_none(told, is_first) -> None:
    full = COUNTS | OWN | {"cost": 0.5, "prompt_tokens_details": {"cached_tokens": 3}}
    odd = {key: told for key in full if key != "is_byok"}
    told_within = {"upstream_inference_cost": told}
    for other in (odd, full | {"cost_details": told_within}):
        both = [other, full] if is_first else [full, other]
        pieces = [event(choices=[], usage=usage) for usage in both]
        used = asked([STREAM, *pieces, DONE, END]).usage
        assert (used.prompt_tokens, used.completion_tokens, used.cached_tokens) == (5, 7, 3)
        assert (used.cost_usd, used.byok_usd) == (0.5, 0.00105)


def test_nobody_is_billed_less_than_nothing() -> None:
    used = Usage.from_json({"cost": -0.5, "prompt_tokens": -1, "completion_tokens": "-2"})
    assert (used.cost_usd, used.prompt_tokens, used.completion_tokens) == (None, None, None)


def test_a_usage_that_grows_ends_as_its_last_word() -> None:
    script = [STREAM]
    script += [
        event(choices=[], usage={"prompt_tokens": 5, "completion_tokens": n}) for n in (1, 4)
    ]
    script += [
        event(choices=[{"delta": {}, "finish_reason": "stop"}], usage={"cost": 0.5}),
        DONE,
        END,
    ]
    used = asked(script).usage
    assert (used.prompt_tokens, used.completion_tokens, used.cost_usd) == (5, 4, 0.5)


@pytest.mark.parametrize("again", [None, [], {}, COUNTS | {"completion_tokens": 8}])
def test_counts_in_the_choice_are_read_and_those_of_the_chunk_come_last(again) -> None:
    """Moonshot tells them there with the finish reason, and then in a chunk of their own."""
    last = {"index": 0, "delta": {}, "finish_reason": "stop", "usage": COUNTS}
    other = last | {"index": 1, "usage": {"prompt_tokens": 99}}
    used = asked([STREAM, event(choices=[other, last], usage=again), DONE, END]).usage
    assert (used.prompt_tokens, used.cost_usd) == (5, 0.001)
    assert used.completion_tokens == (8 if again else 7)


@given(
    st.lists(st.sampled_from([{}, {"cost": None}, {"cost": 0.0}, {"cost": 0.25}, {"cost": 0.5}]))
)
def test_the_cost_is_the_last_amount_told(told) -> None:
    assembly = Assembly()
    for usage in told:
        assembly.take({"usage": usage}, "{}", 0.0)
    amounts = [usage["cost"] for usage in told if usage.get("cost") is not None]
    positive = [amount for amount in amounts if amount]
    assert assembly.reply.cost_usd == (positive or amounts or [None])[-1]


# -- words in other fields


REFUSED = "I can't help with that."


@pytest.mark.parametrize("content", ["", None])
@pytest.mark.parametrize("read", [streamed, at_once])
def test_a_refusal_is_the_answer_and_marked_as_one(read, content) -> None:
    reply = read({"role": "assistant", "content": content, "refusal": REFUSED})
    assert (reply.text, reply.refusal, reply.status) == (REFUSED, REFUSED, "ok")
    assert "the model refused" in reply.facts
    assert REFUSED in reply._repr_html_()


def test_a_refusal_in_pieces_comes_after_what_was_said() -> None:
    reply = streamed({"content": "Well."}, {"refusal": "I "}, {"refusal": "can't."})
    assert (reply.text, reply.refusal) == ("Well.\n\nI can't.", "I can't.")


def test_a_refusal_is_still_one_in_a_transcript_that_is_read_again() -> None:
    talk = Conversation()
    talk.add_user("Hi")
    talk.add_reply(at_once({"content": None, "refusal": REFUSED}))
    again = Conversation.from_json(talk.to_json()).turns[-1].reply
    assert (again.text, again.refusal) == (REFUSED, REFUSED)


def test_an_answer_that_a_filter_ended_says_so() -> None:
    assert "ended by a content filter" in streamed({}, finish="content_filter").facts


NOTHING = {
    "no choices, whole": [whole({"choices": [], "usage": COUNTS})],
    "no choices": [STREAM, event(choices=[], usage=COUNTS), event(choices=[]), DONE, END],
    "no text, whole": [
        whole({"choices": [{"message": {"content": " "}, "finish_reason": "stop"}]})
    ],
    "no text": [STREAM, event(choices=[{"delta": {}, "finish_reason": "stop"}]), DONE, END],
}


@pytest.mark.parametrize("script", NOTHING.values(), ids=NOTHING)
def test_an_answer_with_nothing_in_it_says_so(script) -> None:
    reply = asked(script)
    assert (reply.text.strip(), reply.status, reply.error) == ("", "ok", None)
    assert reply.facts[-1] == "the answer is empty"
    assert figures(reply, None)[-1].value == "empty"
    with WireServer(script) as server:
        client = Client(base_url=server.url)
        row = ornb.batch(["a"], model="lab/one", client=client, progress=False).iloc[0]
        assert (row["status"], row["error"]) == ("ok", "the answer is empty")
        duel = ornb.compare("Hi", ["lab/one"], client=client)
        assert duel.df[["status", "error"]].values.tolist() == [["ok", "the answer is empty"]]
        duel.close()
    with pytest.raises(errors.SchemaMismatch, match=r"^The answer is empty\."):
        parse(reply, {"type": "object"})


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_why_an_answer_is_empty_is_said_where_it_is_known(finish) -> None:
    assert "the answer is empty" not in streamed({}, finish=finish).facts


@pytest.mark.parametrize("read", [streamed, at_once])
def test_an_answer_of_calls_alone_says_so(read) -> None:
    one, two = call(0, "a", "get", "{}"), call(1, "b", "get", "{}")
    for calls, words in (([one], "asks for 1 tool call"), ([one, two], "asks for 2 tool calls")):
        reply = read({"tool_calls": calls}, finish="tool_calls")
        assert reply.facts[-1] == words
        assert words in reply._repr_html_()


def test_an_answer_that_is_on_its_way_is_not_called_empty() -> None:
    assert "the answer is empty" not in [*Reply().facts, *Reply(status="stopped").facts]
    assert not streamed({"tool_calls": [call(0, "c1", "add", "{}")]}).is_empty


OLD = {"name": "add", "arguments": '{"a": 2, "b": 3}'}


@pytest.mark.parametrize(
    "reply",
    [
        lambda: at_once({"content": None, "function_call": OLD}, finish="function_call"),
        lambda: streamed({"function_call": OLD}),
        lambda: streamed(
            {"function_call": {"name": "add", "arguments": ""}},
            {"function_call": {"arguments": '{"a": 2,'}},
            {"content": "", "function_call": {"arguments": ' "b": 3}'}},
        ),
    ],
)
def test_a_call_in_the_old_field_is_a_call_without_an_id(reply) -> None:
    assert calls_of(reply()) == [(None, "add", OLD["arguments"])]


def test_a_call_told_in_the_old_field_too_is_one_call() -> None:
    new = call(0, "c1", "add", OLD["arguments"])
    assert calls_of(at_once({"tool_calls": [new], "function_call": OLD})) == [
        ("c1", "add", OLD["arguments"])
    ]
    odd = at_once({"content": "Hi", "function_call": None}), at_once({"function_call": ["add"]})
    assert [each.tool_calls for each in odd] == [(), ()]


def test_a_function_called_in_the_old_field_is_run() -> None:
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    choice = {"message": {"function_call": OLD}, "finish_reason": "function_call"}
    scripts = [whole({"choices": [choice]})], [STREAM, event(choices=[SAID]), DONE, END]
    with WireServer(*scripts) as server:
        client = Client(base_url=server.url)
        rounds = ToolLoop(client, "2 + 3?", "lab/one", [add], auto=True)
        assert [each.data.content for each in rounds if each.type == "tool_result"] == ["5"]
        assert rounds.reply.text == "Five."
        *_, told, result = json.loads(server.requests[-1][1])["messages"]
        assert (result["role"], result["content"]) == ("tool", "5")
        assert result["tool_call_id"] == told["tool_calls"][0]["id"]


SAID = {"delta": {"content": "Five."}, "finish_reason": "stop"}


@pytest.mark.parametrize("text", ["Once", "", None, 7])
def test_the_text_of_a_legacy_completion_is_read(text) -> None:
    wanted = text if isinstance(text, str) else ""
    one = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
    assert asked([whole({"object": "text_completion", "choices": [one]})]).text == wanted
    pieces = [event(choices=[{**one, "finish_reason": None}]), event(choices=[one])]
    reply = asked([STREAM, *pieces, DONE, END])
    assert (reply.text, reply.finish_reason) == (2 * wanted, "stop")


def test_a_refusal_is_no_empty_answer_to_a_schema() -> None:
    with pytest.raises(errors.SchemaMismatch, match="is a refusal: \"I can't help"):
        parse(at_once({"refusal": REFUSED}), {"type": "object"})


def test_what_a_voice_says_is_text() -> None:
    assert streamed(
        {"audio": {"id": "a", "transcript": "A "}}, {"audio": {"transcript": "cat."}}
    ).text == ("A cat.")
    assert (
        at_once({"content": None, "audio": {"data": "AA==", "transcript": "A cat."}}).text
        == "A cat."
    )


def test_parts_of_a_content_are_read_by_their_kind() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
        {"type": "text", "text": "A cat."},
        PICTURE,
        {"type": "refusal", "refusal": "No more."},
    ]
    reply = at_once({"content": parts})
    assert (reply.reasoning, reply.text) == ("Hm.", "A cat.\n\nNo more.")
    assert (reply.refusal, reply.images) == ("No more.", (PICTURE["image_url"]["url"],))


@pytest.mark.parametrize(
    "content",
    [
        ["A ", "cat."],
        [{"type": "output_text", "text": "A cat."}],
        {"type": "text", "text": "A cat."},
        [{"type": "text", "text": "A "}, "cat."],
    ],
)
@pytest.mark.parametrize("read", [streamed, at_once])
def test_a_content_of_bare_texts_or_one_part_is_read(read, content) -> None:
    assert read({"content": content}).text == "A cat."


@pytest.mark.parametrize("odd", [{"content": "x"}, 7, ["x"], True])
def test_an_odd_field_hides_no_good_one(odd) -> None:
    reply = streamed({"reasoning": odd, "reasoning_content": "Hm."}, {"content": "A cat."})
    assert (reply.reasoning, reply.text) == ("Hm.", "A cat.")


@pytest.mark.parametrize("read", [streamed, at_once])
def test_the_probabilities_of_a_refusal_are_kept(read) -> None:
    told = {"token": "No", "logprob": -0.1, "top_logprobs": []}
    logprobs = {"content": None, "refusal": [told]}
    finish = {"index": 0, "finish_reason": "stop", "logprobs": logprobs}
    if read is streamed:
        script = [STREAM, event(choices=[finish | {"delta": {"refusal": "No"}}]), DONE, END]
    else:
        script = [whole({"choices": [finish | {"message": {"refusal": "No"}}]})]
    assert asked(script).logprobs == (told,)


@pytest.mark.parametrize("count", [2**63, 10**30, "1e30"])
def test_a_count_that_no_table_holds_is_none(count) -> None:
    script = [whole({"choices": [SAID], "usage": {"prompt_tokens": count, "cost": 0.5}})]
    with WireServer(script) as server:
        duel = ornb.compare("Hi", ["lab/one"], client=Client(base_url=server.url))
        chat = ornb.Chat("lab/one", client=Client(base_url=server.url))
        chat.ask("Hi")
        for table in (duel.df, chat.conversation.df.tail(1)):
            assert table["prompt_tokens"].isna().tolist() == [True]
            assert table["cost_usd"].tolist() == [0.5]
        duel.close()


# -- how it ended


GONE = {"code": 503, "message": "Out of memory", "type": "server_error"}
TOLD = {
    "vLLM's, without an envelope": b"data: " + json.dumps({"object": "error", **GONE}).encode(),
    "llama.cpp's, as a field of its own": b"error: " + json.dumps(GONE).encode(),
    "with the name of the event": b"event: error\ndata: " + json.dumps(GONE).encode(),
    "Ollama's, without a field": json.dumps({"error": GONE}).encode(),
    "Google's, as a list": b"data: " + json.dumps([{"error": GONE}]).encode(),
    "FastAPI's": b'data: {"detail": "Out of memory"}',
    "with its usage": b"data: " + json.dumps({"object": "error", **GONE, "usage": COUNTS}).encode(),
}


@pytest.mark.parametrize("done", [DONE, b""])
@pytest.mark.parametrize("told", TOLD.values(), ids=TOLD)
def test_an_error_in_a_stream_is_one_however_it_is_told(told, done) -> None:
    begun = event(choices=[{"index": 0, "delta": {"content": "A"}}])
    reply = asked([STREAM, begun, chunked(told + b"\n\n"), done, END])
    assert (reply.text, reply.status) == ("A", "error")
    assert reply.error.startswith("Out of memory [50")


@pytest.mark.parametrize(
    "body", [{"object": "error", **GONE}, {"detail": "Out of memory"}, [{"error": GONE}]]
)
@pytest.mark.parametrize("status", [200, 503])
def test_an_error_instead_of_an_answer_is_told(body, status) -> None:
    assert asked([whole(body, status)]).error.startswith("Out of memory [50")


@pytest.mark.parametrize("nothing", [b"data:", b"data: ", b"data\ndata"])
def test_an_event_without_words_is_a_sign_of_life(nothing) -> None:
    done = chunked(b"data:  [DONE] \n\n")
    script = [STREAM, chunked(nothing + b"\n\n"), event(choices=[SAID]), done, END]
    reply = asked(script)
    assert (reply.text, reply.status) == ("Five.", "ok")
    assert len(reply.raw_chunks) == 1


@pytest.mark.parametrize(
    "odd", [{"type": "ping"}, {"message": "Good", "code": 0}, {"object": "x"}, {}]
)
def test_an_event_that_is_no_error_ends_nothing(odd) -> None:
    script = [STREAM, event(**odd), event(choices=[SAID]), DONE, END]
    assert (asked(script).text, asked(script).status) == ("Five.", "ok")


@pytest.mark.parametrize("usage_first", [True, False])
def test_a_provider_that_gives_up_is_quoted_and_no_status_made_up(usage_first) -> None:
    choice = {
        "index": 0,
        "finish_reason": "error",
        "native_finish_reason": "MALFORMED_FUNCTION_CALL",
    }
    end, paid = event(choices=[choice | {"delta": {}}]), event(choices=[], usage=COUNTS)
    reply = asked([STREAM, *((paid, end) if usage_first else (end, paid)), DONE, END])
    assert "MALFORMED_FUNCTION_CALL" in reply.error
    assert "502" not in reply.error
    assert (reply.status, reply.http_status, reply.cost_usd) == ("error", 200, 0.001)
    plain = asked([whole({"choices": [choice | {"message": {"content": None}}], "usage": COUNTS})])
    assert plain.error == reply.error


def test_what_was_spent_is_kept_where_it_is_told_after_the_error() -> None:
    fault = event(error={"code": 502, "message": "Upstream went away"}, choices=[])
    reply = asked(
        [STREAM, event(choices=[{"delta": {"content": "A"}}]), fault, event(usage=COUNTS), END]
    )
    assert (reply.text, reply.status, reply.cost_usd) == ("A", "error", 0.001)
    assert "Upstream went away" in reply.error


@pytest.mark.parametrize("field", ["content", "reasoning", "refusal"])
def test_a_character_that_is_cut_in_two_is_put_together(field) -> None:
    """JavaScript's texts are halves of characters, and a server may cut between them."""
    reply = streamed({field: "A \ud83d"}, {"role": "assistant"}, {field: "\ude42 cat."})
    said = reply.reasoning if field == "reasoning" else reply.text
    assert said == "A \U0001f642 cat."


def test_events_hold_no_half_of_a_character() -> None:
    assembly = Assembly()
    pieces = [{"choices": [{"delta": {"content": text}}]} for text in ("\ud83d", "\ude42!\ud83d")]
    events = [event.text for piece in pieces for event in assembly.take(piece, "{}", 0.0)]
    assert events == ["\U0001f642!"]
    assert assembly.reply.text == "\U0001f642!\ud83d", "what came is kept"


def test_a_character_that_is_cut_in_two_is_put_together_in_what_goes_back() -> None:
    pieces = [{"index": 0, "type": "reasoning.text", "text": half} for half in ("\ud83d", "\ude42")]
    reply = streamed(
        {"tool_calls": [call(0, "a", "get", "\ud83d")], "reasoning_details": pieces[:1]},
        {"tool_calls": [call(0, None, None, "\ude42")], "reasoning_details": pieces[1:]},
    )
    assert calls_of(reply) == [("a", "get", "\U0001f642")]
    assert reply.reasoning_details[0]["text"] == "\U0001f642"


def test_what_a_server_hangs_on_a_call_is_kept_to_be_sent_back() -> None:
    """Gemini's own endpoint wants its signature back, and refuses the next round without."""
    signed = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    first = call(0, "a", "get", "") | signed
    later = call(0, None, None, "{}") | {"extra_content": None}
    in_pieces = streamed({"tool_calls": [first]}, {"tool_calls": [later]})
    in_whole = at_once({"tool_calls": [call(0, "a", "get", "{}") | signed]})
    function = {"name": "get", "arguments": "{}"}
    for reply in (in_pieces, in_whole):
        assert reply.tool_calls == (
            {"id": "a", "type": "function", "function": function, **signed},
        )


def test_a_call_of_another_type_keeps_it() -> None:
    custom = {"id": "c", "type": "custom", "custom": {"name": "code", "input": "print(1)"}}
    (made,) = at_once({"tool_calls": [custom]}).tool_calls
    assert {key: made[key] for key in custom} == custom


@pytest.mark.parametrize("kind", [str, float])
def test_an_index_may_be_of_another_type(kind) -> None:
    zero, one = kind(0), kind(1)
    pieces = [call(one, "b", "get", ""), call(zero, "a", "add", "")]
    pieces += [call(one, None, None, "[1]"), call(zero, None, None, "[0]")]
    reply = streamed(*({"tool_calls": [piece]} for piece in pieces))
    assert calls_of(reply) == [("a", "add", "[0]"), ("b", "get", "[1]")]
    choices = [{"index": at, "delta": {"content": text}} for at, text in ((one, "B"), (zero, "A"))]
    script = [event(choices=[choice]) for choice in choices]
    assert asked([STREAM, *script, DONE, END]).text == "A"


def test_two_choices_are_never_mixed() -> None:
    def of(index, finish=None, **delta):
        return event(choices=[{"index": index, "delta": delta, "finish_reason": finish}])

    script = [of(1, content="Two "), of(0, content="Red "), of(1, "length", content="cats.")]
    reply = asked([STREAM, *script, of(0, "stop", content="apple."), DONE, END])
    assert (reply.text, reply.finish_reason) == ("Red apple.", "stop")
    choices = [
        {"index": n, "finish_reason": "stop", "message": {"content": text}}
        for n, text in ((1, "Two cats."), (0, "Red apple."))
    ]
    assert asked([whole({"choices": choices})]).text == "Red apple."
    assert asked([whole({"choices": choices[:1]})]).text == "Two cats."


ALIGNED = {
    "calls": [{"call": 1, "outcome": "blocked", "rules": [{"broken": False}, {"broken": True}]}]
}
ARMOR = {
    "type": "dangerous_tool_use",
    "status": {
        "type": "available",
        "tool_uses": {"c1": {"type": "evaluated", "outcome": "flagged", "explanation": "[Money]"}},
    },
}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"alignment": ALIGNED}, "blocked by the alignment plugin: rule 2 is broken"),
        ({"safeguard_results": [ARMOR]}, "a tool call was blocked by the armor plugin: [Money]"),
    ],
)
def test_a_safeguard_that_emptied_an_answer_is_named(told, words) -> None:
    for reply in (streamed({"role": "assistant"}, **told), at_once({"content": None}, **told)):
        assert reply.blocked == words
        assert words in reply.facts


@pytest.mark.parametrize(
    "key", ["alignment", "safeguard_results", "openrouter_metadata", "service_tier"]
)
@pytest.mark.parametrize("value", [None, [], {}, 1, "x", [1], {"calls": 1}, [{"status": 2}]])
def test_odd_values_beside_an_answer_cost_nothing_of_it(key, value) -> None:
    reply = at_once({"content": "A cat."}, **{key: value})
    assert (reply.text, reply.blocked) == ("A cat.", None)
    assert repr(reply.metadata), repr(reply.service_tier)


def test_the_routing_record_and_the_tier_are_in_the_reply() -> None:
    reply = streamed(
        {"content": "A"}, openrouter_metadata={"strategy": "direct"}, service_tier="flex"
    )
    assert (reply.metadata, reply.service_tier) == ({"strategy": "direct"}, "flex")


# -- by what it is, whatever its label


SSE = b"".join(
    b"data: " + json.dumps(chunk).encode() + b"\n\n"
    for chunk in (
        {"choices": [{"delta": {"content": "A cat."}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": COUNTS},
    )
)
PLAIN = json.dumps(
    {"choices": [{"message": {"content": "A cat."}, "finish_reason": "stop"}], "usage": COUNTS}
).encode()


@pytest.mark.parametrize(
    "label",
    ["text/event-stream", "Text/Event-Stream; charset=UTF-8", "application/json", "text/plain"],
)
@pytest.mark.parametrize(
    "body",
    [
        SSE,
        b": OPENROUTER PROCESSING\n\n" + SSE,
        b"\n\nevent: chunk\nid: 1\n" + SSE,
        b"\xef\xbb\xbf" + SSE,
        PLAIN,
        b"\n   \n" + PLAIN,
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_body_is_read_by_what_it_is(label, body, stream) -> None:
    with WireServer([whole(body, content_type=label)]) as server:
        client = Client(base_url=server.url)
        if stream:
            list(answer := client.stream("Hi"))
            reply = answer.reply
        else:
            reply = client.chat("Hi")
        client.close()
    assert (reply.text, reply.usage.prompt_tokens, reply.status) == ("A cat.", 5, "ok")


# -- a key of the user's own


def test_what_an_own_key_paid_is_a_figure_of_its_own_everywhere() -> None:
    reply = streamed({"content": "Hi"}, usage=COUNTS | OWN)
    assert (reply.cost_usd, reply.usage.byok_usd) == (0, 0.00105)
    assert "$0.0010 paid by your own key" in reply.facts
    tracker = ornb.UsageTracker()
    tracker.record(reply, estimate_usd=0.00105)
    row = tracker.df.iloc[0]
    assert (row["cost_usd"], row["byok_usd"], row["cost_difference_usd"]) == (0, 0.00105, 0)
    assert tracker.summary()["byok_usd"].tolist() == [0.00105]
    assert "$0.0010 paid by own keys" in repr(tracker)
    assert str(tracker.totals().of("live").byok_usd) == "0.00105"


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        (OWN | {"cost": None}, "$0.0010 paid by your own key + cost not reported"),
        ({"cost": 0, "is_byok": True}, "an amount not reported paid by your own key"),
        (
            {"cost": 1, "is_byok": True},
            "an amount not reported paid by your own key + $1.00 billed",
        ),
    ],
)
def test_that_an_own_key_paid_is_said_when_not_all_is_known(usage, said) -> None:
    counts = {"prompt_tokens": 5, "completion_tokens": 7}
    assert said in streamed({"content": "Hi"}, usage=counts | usage).facts


UNTOLD = {"prompt_tokens": 5, "completion_tokens": 7, "cost": 0, "is_byok": True}


def test_what_an_own_key_paid_and_nobody_told_is_unknown_and_not_0() -> None:
    reply = streamed({"content": "Hi"}, usage=UNTOLD)
    tracker = ornb.UsageTracker()
    tracker.record(reply, estimate_usd=0.5)
    for _ in ("new", "frozen"):
        row = tracker.df.iloc[0]
        assert (row["cost_usd"], row["cost_source"]) == (0, "fee")
        assert pd.isna(row["byok_usd"])
        assert pd.isna(row["cost_difference_usd"])
    (total,) = tracker.summary().to_dict("records")
    assert (total["cost_usd"], total["cost_unknown"]) == (0, 1)
    assert pd.isna(total["cost_difference_usd"])
    assert "1 call paid by own keys, an amount not reported" in repr(tracker)
    panel = tracker.panel()
    assert "1 call paid by own keys, an amount not reported" in panel.tiles[0]["notes"]
    assert panel.models["rows"][0]["billed"] == "$0 + 1 unknown"
    panel.close()
    cost = figures(reply, 0.5)[0]
    assert (cost.remark, cost.number) == ("billed, your own key's part unknown", None)


@pytest.mark.parametrize(
    ("told", "paid", "difference", "source"),
    [
        ({"upstream_inference_cost": 0.25}, 0.25, -0.25, "billed"),
        ({}, None, None, "fee"),
        ({"is_byok": False}, None, -0.5, "billed"),
    ],
)
def test_the_books_may_tell_later_what_an_own_key_paid(
    tmp_path, told, paid, difference, source
) -> None:
    class Books:
        source = "live"

        def generation(self, generation_id):
            return {"total_cost": 0, "is_byok": True, **told}

    known = Usage(5, 7, cost_usd=0.0, is_byok=True)
    for untold in (Reply(usage=known), Reply(status="stopped", http_status=200)):
        tracker = ornb.UsageTracker()
        store = tracker.persist(tmp_path / f"{untold.status}.sqlite")
        tracker.record(dataclasses.replace(untold, generation_id="gen-1"), estimate_usd=0.5)
        tracker.reconcile(Books())
        for table in (tracker.df, tracker.history()):
            row = table.iloc[0].astype(object).where(table.iloc[0].notna(), None)
            found = row[["byok_usd", "cost_difference_usd", "cost_source"]].tolist()
            assert found == [paid, difference, source]
        store.close()


def test_of_several_calls_one_whose_own_keys_part_is_unknown_makes_the_sum_unknown() -> None:
    calls = [Usage(cost_usd=0.0, is_byok=True, byok_usd=0.25), Usage(cost_usd=0.0, is_byok=True)]
    for usages in (calls, calls[::-1], [*calls, Usage(cost_usd=0.5, is_byok=False)]):
        used = together([Reply(usage=usage) for usage in usages]).usage
        assert (used.is_byok, used.byok_usd) == (True, None)
    both = together([Reply(usage=calls[0]), Reply(usage=Usage(cost_usd=0.5, is_byok=False))])
    assert (both.usage.is_byok, both.usage.byok_usd, both.cost_usd) == (True, 0.25, 0.5)


def test_of_the_services_own_key_the_providers_share_is_not_told_twice() -> None:
    usage = COUNTS | {"is_byok": False, "cost_details": {"upstream_inference_cost": 0.001}}
    assert streamed({"content": "Hi"}, usage=usage).usage.byok_usd is None


def test_a_budget_counts_what_an_own_key_pays() -> None:
    usage = COUNTS | OWN | {"cost": 0.0001}
    answer = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": usage}
    with WireServer([whole(answer)] * 2) as server, ornb.budget(1, allow_unknown=True) as budget:
        ornb.connect("sk-or-v1-0123456789", server.url)
        try:
            ornb.ask("Hi", "lab/one")
        finally:
            ornb.connect(offline=True)
    assert str(budget.spent_usd) == "0.00115"


def test_tools_of_the_service_have_their_part_of_the_cost_in_a_column() -> None:
    usage = COUNTS | {"cost_details": {"server_tool_cost": 0.0004}}
    tracker = ornb.UsageTracker()
    tracker.record(streamed({"content": "Hi"}, usage=usage))
    assert tracker.df["server_tool_usd"].tolist() == [0.0004]


def test_the_books_tell_what_an_own_key_paid() -> None:
    tracker = ornb.UsageTracker()
    tracker.record(Reply(generation_id="gen-1", status="stopped", http_status=200, attempts=1))

    class Books:
        source = "live"

        def generation(self, generation_id):
            return {"total_cost": 0, "is_byok": True, "upstream_inference_cost": 0.25}

    filled = tracker.reconcile(Books())
    assert filled[["cost_usd", "byok_usd"]].values.tolist() == [[0, 0.25]]
