"""Tools: the model asks, what was allowed runs, the result goes back, and nothing is lost."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime

import pytest
from cassettes import exchanges
from wire import DONE, END, FINISH, SOON_S, STREAM, USAGE, WireServer, chunked, delta, event, whole

import ornb
from ornb.api.client import Client, Reply, Timing, Usage
from ornb.errors import ConfigError, NotFound, OrnbError, StreamBroken
from ornb.ledger.tracker import UsageTracker
from ornb.messages.tool_loop import ToolLoop, together

COST = event(choices=[], usage=USAGE)


def piece(index, name=None, arguments="", call_id=None):
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return {"index": index, "id": call_id, "type": "function", "function": function}


def asks(*calls, text=None, **more):
    """A streamed answer that asks for tools, arguments cut in two."""
    script = [STREAM, delta(text, **more)] if text or more else [STREAM]
    for index, (name, arguments) in enumerate(calls):
        words = json.dumps(arguments)
        script += [
            delta(None, tool_calls=[piece(index, name, words[:3], f"call_{name}_{index}")]),
            delta(None, tool_calls=[piece(index, arguments=words[3:])]),
        ]
    return [*script, delta("", "tool_calls"), COST, DONE, END]


def says(text):
    return [STREAM, delta(text), FINISH]


def temperature(city: str) -> dict[str, float]:
    """Temperature in a city."""
    return {"Oslo": {"celsius": -3.5}, "Rome": {"celsius": 12.0}}[city]


@pytest.fixture
def tracker():
    return UsageTracker()


@pytest.fixture
def rounds(tracker):
    """Makes rounds with a wire server, an answer a script; the tracker keeps the calls."""
    made = []

    def make(*scripts, messages="Weather?", tools=(temperature,), **options):
        server = WireServer(*scripts)
        client = Client("k", server.url, on_call=tracker.record, retries=0)
        made.extend([server.__exit__, lambda *_: client.close()])
        one = ToolLoop(client, messages, "acme/orbit", tools, **{"auto": True} | options)
        return one, server

    yield make
    for close in made:
        close(None, None, None)


def sent(server):
    return [json.loads(body) for _, body in server.requests]


def test_a_tool_is_run_and_its_result_goes_back(rounds, tracker):
    one, server = rounds(asks(("temperature", {"city": "Oslo"})), says("It is cold."))
    events = list(one)
    assert one.reply.text == "It is cold."
    first, second = sent(server)
    assert first["messages"] == [{"role": "user", "content": "Weather?"}]
    assert [tool["function"]["name"] for tool in first["tools"]] == ["temperature"]
    assert second["tools"] == first["tools"]
    arguments = json.dumps({"city": "Oslo"})
    call = {"id": "call_temperature_0", "type": "function"}
    call["function"] = {"name": "temperature", "arguments": arguments}
    assert second["messages"] == [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": '{"celsius": -3.5}'},
    ]
    kinds = [event.type for event in events if event.type != "tool_call"]
    assert kinds == [
        "finish",
        "usage",
        "reply",
        "tool_run",
        "tool_result",
        "text",
        "finish",
        "usage",
        "reply",
    ]
    assert [event.data.status for event in events if event.type == "tool_result"] == ["ok"]
    assert list(tracker.df["status"]) == ["ok", "ok"]
    assert list(tracker.df["finish_reason"]) == ["tool_calls", "stop"]


def test_several_calls_are_answered_in_their_order(rounds):
    calls = [("temperature", {"city": "Rome"}), ("temperature", {"city": "Oslo"})]
    one, server = rounds(asks(*calls, text="Let me look."), says("Rome is warmer."))
    list(one)
    message = sent(server)[1]["messages"]
    assert message[1]["content"] == "Let me look."
    assert [m["tool_call_id"] for m in message[2:]] == [c["id"] for c in message[1]["tool_calls"]]
    assert [m["content"] for m in message[2:]] == ['{"celsius": 12}', '{"celsius": -3.5}']
    assert one.reply.text == "Let me look.\n\nRome is warmer."
    assert one.added == one.messages[1:] == message[1:]


def test_what_the_model_thought_goes_back_unchanged_and_in_order(rounds):
    pieces = [
        {"type": "reasoning.text", "text": "I need", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.text", "text": " data.", "index": 0},
        {"type": "reasoning.text", "signature": "c2ln", "index": 0},
        {"type": "reasoning.encrypted", "data": "ZW5j", "id": "rs_1", "index": 1},
    ]
    script = asks(("temperature", {"city": "Oslo"}), text="So.", reasoning_details=pieces[:2])
    script[2:2] = [delta("", reasoning_details=pieces[2:])]
    one, server = rounds(script, says("Cold."))
    list(one)
    assert sent(server)[1]["messages"][1]["reasoning_details"] == [
        {
            "type": "reasoning.text",
            "text": "I need data.",
            "format": "anthropic-claude-v1",
            "index": 0,
            "signature": "c2ln",
        },
        {"type": "reasoning.encrypted", "data": "ZW5j", "id": "rs_1", "index": 1},
    ]


def test_a_parsed_file_is_sent_back_and_citations_are_not(rounds):
    file = {"type": "file", "file": {"hash": "a1", "name": "a.pdf", "content": []}}
    cited = {"type": "url_citation", "url_citation": {"url": "https://a.org"}}
    script = asks(("temperature", {"city": "Oslo"}), text="So.", annotations=[file, cited])
    one, server = rounds(script, says("Cold."))
    list(one)
    assert sent(server)[1]["messages"][1]["annotations"] == [file]


def test_a_tool_that_raises_is_told_and_the_model_goes_on(rounds):
    one, server = rounds(asks(("temperature", {"city": "Atlantis"})), says("I do not know it."))
    list(one)
    assert one.reply.text == "I do not know it."
    assert sent(server)[1]["messages"][-1]["content"] == "temperature failed. KeyError: 'Atlantis'"
    assert isinstance(one.results[0].error, KeyError)


def test_unknown_tools_and_bad_arguments_are_told_too(rounds):
    script = asks(("humidity", {}), ("temperature", {"town": "Oslo"}))
    one, server = rounds(script, says("Sorry."))
    list(one)
    assert [result.status for result in one.results] == ["unknown", "invalid"]
    assert "only temperature" in sent(server)[1]["messages"][-2]["content"]


def test_a_refusal_is_told_and_the_model_goes_on(rounds):
    asked = []
    one, server = rounds(
        asks(("temperature", {"city": "Oslo"})),
        says("Then I guess."),
        confirm=lambda name, arguments: asked.append((name, arguments)),
    )
    list(one)
    assert asked == [("temperature", {"city": "Oslo"})]
    assert one.results[0].status == "refused"
    assert "did not allow" in sent(server)[1]["messages"][-1]["content"]


def test_by_default_nothing_runs(rounds):
    one, _ = rounds(asks(("temperature", {"city": "Oslo"})), says("Well."), auto=False)
    list(one)
    assert one.results[0].status == "refused"


def test_after_the_last_round_the_model_is_asked_to_answer_without(rounds, tracker):
    again = asks(("temperature", {"city": "Oslo"}))
    one, server = rounds(again, max_rounds=3)
    list(one)
    assert [body.get("tool_choice") for body in sent(server)] == [None, None, None, "none"]
    assert (len(one.results), len(tracker)) == (3, 4)
    assert one.reply.tool_calls  # it asked all the same; nothing more was run


def test_a_choice_that_forces_a_call_holds_for_the_first(rounds):
    forced = {"type": "function", "function": {"name": "temperature"}}
    one, server = rounds(
        asks(("temperature", {"city": "Oslo"})), says("Cold."), tool_choice=forced, temperature=0
    )
    list(one)
    assert [body["tool_choice"] for body in sent(server)] == [forced, "auto"]
    assert [body["temperature"] for body in sent(server)] == [0, 0]


def test_calls_without_an_id_get_one(rounds):
    script = [STREAM, delta(None, tool_calls=[piece(0, "temperature", '{"city": "Oslo"}')])]
    script += [delta("", "tool_calls"), DONE, END]
    one, server = rounds(script, says("Cold."))
    list(one)
    message = sent(server)[1]["messages"]
    assert message[1]["tool_calls"][0]["id"] == message[2]["tool_call_id"] == "call_0"


def test_each_of_two_calls_with_one_id_gets_its_result(rounds):
    calls = [piece(n, "temperature", json.dumps({"city": "Oslo"}), "same") for n in (0, 1)]
    script = [STREAM, delta(None, tool_calls=calls), delta("", "tool_calls"), COST, DONE, END]
    one, server = rounds(script, says("Cold."))
    list(one)
    _, request, *results = sent(server)[1]["messages"]
    ids = [each["id"] for each in request["tool_calls"]]
    assert ids == [each["tool_call_id"] for each in results] == ["same", "same_1"]


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), [{"in": -float("inf")}]])
def test_a_number_that_json_has_not_ends_no_conversation(rounds, odd, tmp_path):
    details = [{"type": "reasoning.text", "text": "Hm.", "score": odd}]
    call = piece(0, "temperature", json.dumps({"city": "Oslo"}), "a") | {"score": odd}
    note = {"type": "file", "score": odd}
    more = {"tool_calls": [call], "reasoning_details": details, "annotations": [note]}
    script = [STREAM, delta(None, **more), delta("", "tool_calls"), COST, DONE, END]
    server = WireServer(script, says("Cold."), says("Yes."))
    with server:
        client = Client(base_url=server.url, retries=0)
        chat = ornb.Chat("acme/orbit", client=client, tools=[temperature], confirm=False)
        chat.ask("Weather?")
        chat.save(tmp_path / "talk.json")
        json.loads((tmp_path / "talk.json").read_text(), parse_constant=pytest.fail)
        assert chat.ask("Sure?").text == "Yes."
    message = sent(server)[-1]["messages"][1]
    assert message["reasoning_details"][0]["text"] == "Hm."
    assert message["tool_calls"][0]["score"] in (None, [{"in": None}])


def test_without_tools_it_is_a_plain_answer(rounds):
    one, server = rounds(says("Hello."), tools=())
    list(one)
    assert one.reply.text == "Hello."
    assert "tools" not in sent(server)[0]
    assert one.added == []


def test_tools_of_the_service_go_along(rounds):
    server_tool = {"type": "openrouter:web_search"}
    one, server = rounds(says("Hello."), tools=[server_tool, temperature])
    list(one)
    assert sent(server)[0]["tools"][0] == server_tool


@pytest.mark.parametrize("name", ["get_date", "dice_roll"])
def test_recorded_exchanges_are_gone_through(shared_data, tracker, name):
    """Two libraries' calls: one streamed, one with three calls at once and not streamed."""
    fixed = {"get_date": lambda: "2024-01-01", "dice_roll": lambda: next(rolls)}
    rolls = iter(["{roll: 1}", "{roll: 2}", "{roll: 3}"])
    tape = [
        e
        for e in exchanges(shared_data)
        if [tool.get("function", {}).get("name") for tool in e.request.get("tools") or []] == [name]
    ][:2]
    scripts = [[whole(e.body, content_type=e.headers["content-type"])] for e in tape]
    first, second = (exchange.request["messages"] for exchange in tape)
    tool = ornb.messages.tools.Tool.from_function(
        fixed[name], name=name, description="As recorded."
    )
    with WireServer(*scripts) as server:
        client = Client("k", server.url, on_call=tracker.record)
        one = ToolLoop(client, first, tape[0].request["model"], [tool], auto=True)
        list(one)
        client.close()
    ours = sent(server)[1]["messages"]
    assert [m["role"] for m in ours] == [m["role"] for m in second]
    assert ours[len(first)]["tool_calls"] == second[len(first)]["tool_calls"]
    assert ours[len(first) + 1 :] == second[len(first) + 1 :]
    assert one.replies[0].finish_reason == "tool_calls"
    assert one.reply.text
    assert one.reply.cost_usd == pytest.approx(tracker.df["cost_usd"].sum())


# ---- stop, errors, interrupts


def test_stop_while_the_answer_comes_keeps_the_part(rounds):
    one, server = rounds([STREAM, delta("It is"), "stall"])
    for event_ in one:
        if event_.type == "text":
            threading.Timer(0.05, one.close).start()
    assert (one.reply.text, one.reply.status) == ("It is", "stopped")
    assert server.disconnected.wait(SOON_S)


def test_stop_while_a_tool_runs_begins_no_further_one(rounds, tracker):
    ran = []

    def slow(n: int):
        ran.append(n)
        one.close()
        return "done"

    one, server = rounds(asks(("slow", {"n": 1}), ("slow", {"n": 2})), says("x"), tools=[slow])
    list(one)
    assert ran == [1]
    assert [result.status for result in one.results] == ["ok", "stopped"]
    assert len(server.requests) == 1
    assert one.reply.status == "stopped"
    assert len(tracker) == 1


def test_what_is_left_of_a_stop_can_be_gone_on_from(rounds):
    """Services refuse a request for a tool that has no result."""
    one, _ = rounds(asks(("temperature", {"city": "Oslo"}), ("temperature", {"city": "Rome"})))
    for event_ in one:
        if event_.type == "tool_result":
            one.close()
    asked = [call["id"] for call in one.messages[1]["tool_calls"]]
    assert [m["tool_call_id"] for m in one.messages[2:]] == asked


def test_leaving_it_early_stops_it(rounds, tracker):
    one, server = rounds([STREAM, delta("It is"), "stall"])
    with one:
        next(iter(one))
    assert server.disconnected.wait(SOON_S)
    assert list(tracker.df["status"]) == ["stopped"]


def test_stopped_before_it_began_it_asks_nothing(rounds):
    one, server = rounds(says("Hello."))
    one.close()
    assert list(one) == []
    assert server.requests == []
    assert one.reply.status == "stopped"


def test_an_interrupt_in_a_tool_leaves_whole_messages(rounds):
    def f():
        raise KeyboardInterrupt

    one, _ = rounds(asks(("f", {}), ("f", {})), tools=[f])
    with pytest.raises(KeyboardInterrupt):
        list(one)
    assert [message["role"] for message in one.messages] == ["user", "assistant", "tool", "tool"]
    assert [result.status for result in one.results] == ["stopped", "stopped"]


def test_an_error_in_a_later_round_keeps_what_came_before(rounds, tracker):
    cut = [STREAM, delta("It is"), "close"]
    one, _ = rounds(asks(("temperature", {"city": "Oslo"}), text="Let me look."), cut)
    with pytest.raises(StreamBroken) as caught:
        list(one)
    assert caught.value.reply.text == "Let me look.\n\nIt is"
    assert caught.value.reply.status == "error"
    assert one.results[0].status == "ok"
    assert [message["role"] for message in one.added] == ["assistant", "tool"]
    assert list(tracker.df["status"]) == ["ok", "error"]


def test_an_error_inside_the_first_stream_is_one_row(rounds, tracker):
    fault = event(error={"code": 502, "message": "gone"}, choices=[])
    one, _ = rounds([STREAM, delta("It"), fault, chunked(b"data: [DONE]\n\n"), END])
    with pytest.raises(OrnbError):
        list(one)
    assert (one.reply.text, len(tracker)) == ("It", 1)


def test_the_offline_service_has_no_tools_and_says_so():
    one = ToolLoop(ornb.client(), "Weather?", "ornb/canned", [temperature], auto=True)
    with pytest.raises(NotFound, match="support tool use") as caught:
        list(one)
    assert caught.value.reply.status == "error"


def test_without_tools_it_is_one_call_with_its_fields():
    fields = {"label": "lesson", "ornb": {"simulate": {"tokens": 5, "chunk_s": 0}}}
    one = ToolLoop(ornb.client(), "Weather?", "ornb/canned", **fields)
    *_, last = one
    assert (one.reply.source, one.reply.status) == ("canned", "ok")
    assert last.type == "reply"
    assert ornb.usage.df["label"].iloc[-1] == "lesson"


@pytest.mark.parametrize(
    "wrong", [{"max_rounds": 0}, {"max_rounds": True}, {"tools": [3]}, {"messages": " "}]
)
def test_wrong_arguments_are_refused_before_anything_is_sent(rounds, wrong):
    with pytest.raises(ConfigError):
        rounds(says("x"), **wrong)


# ---- several replies as one


def test_several_replies_are_summed():
    started = datetime(2026, 8, 22, tzinfo=UTC)
    first = Reply(
        text="One.",
        reasoning="Hm.",
        usage=Usage(10, 2, 12, cost_usd=0.001),
        timing=Timing(started, time_to_first_token_s=0.2, duration_s=1.0),
        images=("data:a",),
        attempts=1,
        finish_reason="tool_calls",
        raw_chunks=("{}",),
    )
    cited = {
        "type": "url_citation",
        "url_citation": {"url": "https://a.org", "start_index": 0, "end_index": 4},
    }
    last = Reply(
        text="Two.",
        usage=Usage(20, 3, 23, cost_usd=0.002),
        timing=Timing(duration_s=2.0),
        annotations=(cited,),
        attempts=2,
        finish_reason="stop",
        raw_chunks=("{}",),
    )
    whole_ = together([first, last])
    assert (whole_.text, whole_.reasoning) == ("One.\n\nTwo.", "Hm.")
    assert (whole_.usage.total_tokens, whole_.cost_usd) == (35, pytest.approx(0.003))
    assert whole_.timing == Timing(started, time_to_first_token_s=0.2, duration_s=3.0)
    assert whole_.annotations[0]["url_citation"]["end_index"] == 10
    assert cited["url_citation"]["end_index"] == 4
    assert (whole_.attempts, whole_.finish_reason, len(whole_.raw_chunks)) == (3, "stop", 2)


def test_a_cost_that_one_of_them_lacks_is_unknown():
    assert together([Reply(usage=Usage(cost_usd=1.0)), Reply()]).cost_usd is None
    assert together([]) is None
    only = Reply(text="x")
    assert together([only]) is only


def test_what_a_proxy_reckons_is_summed_too():
    """The cost of an answer with tools was that of its last call alone."""
    first, last = Reply(proxy_cost_usd=0.001), Reply(proxy_cost_usd=0.002)
    assert together([first, last]).cost_usd == pytest.approx(0.003)
    assert together([first, Reply()]).cost_usd is None
