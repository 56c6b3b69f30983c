"""The chat's Python side: what is asked, kept, stopped and sent to the page."""

from __future__ import annotations

import _thread
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st

import ornb
from ornb.api.client import Client
from ornb.api.reply import Event, Reply
from ornb.errors import (
    AuthenticationError,
    ConfigError,
    ContextTooLong,
    Moderated,
    OrnbError,
    OutOfCredits,
    ProviderUnavailable,
    RateLimited,
    SchemaMismatch,
    ServerError,
)
from ornb.messages import MIME_TRANSCRIPT, Conversation
from ornb.notebook.base import WHOLE_EVERY_S
from ornb.notebook.chat import MOST_FILES, Chat
from ornb.notebook.live import LiveAnswer, Pacer, patch
from ornb.notebook.shown import call_for_page
from ornb.text.markdown import render
from tests.hostile import CALLS
from tests.lab import notebook_of, run_headless
from tests.page import PATIENCE_S, as_soon_as, from_page, lasting, page_has, until
from tests.wire import DONE, FINISH, SOON_S, STREAM, WireServer, delta, event, whole

SENTINEL = "sk-or-v1-5entine1"
EMPTY = {"html": "", "tail": "", "think": ""}
"""What a page has of an answer that begins."""


class Heard(Chat):
    """A chat whose messages to the page are kept as JSON, as the wire would carry them."""

    @property
    def out(self) -> list[dict[str, Any]]:
        return self.__dict__.setdefault("_out", [])

    def send(self, content: Any, buffers: Any = None) -> None:
        self.out.append(json.loads(json.dumps(content)))

    def said(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.out if message["type"] == kind]


def answer(*pieces: str) -> list[Any]:
    """A stream that says `pieces`."""
    return [STREAM, *map(delta, pieces), FINISH]


@pytest.fixture
def server() -> Any:
    """Make servers that answer by script; they close at the end."""
    opened = []

    def make(*scripts: Any) -> WireServer:
        opened.append(WireServer(*scripts))
        return opened[-1]

    yield make
    for one in opened:
        one.__exit__()


@pytest.fixture
def chat_with(server: Any) -> Any:
    """Make a chat with a server that answers by script."""

    def make(*scripts: Any, **options: Any) -> Heard:
        client = Client(SENTINEL, server(*scripts).url, retries=0)
        return Heard("acme/orbit", client=client, **options)

    return make


# ------------------------------------------------------------------ asking


def test_an_answer_becomes_a_turn_with_its_facts(chat_with: Any) -> None:
    chat = chat_with(answer("A *cat", "*."))
    reply = chat.ask("What is it?")
    assert (reply.text, reply.provider, reply.label) == ("A *cat*.", "NorthCloud", "chat")
    assert [turn.text for turn in chat.conversation] == ["What is it?", "A *cat*."]
    assert list(chat.df["role"]) == ["user", "assistant"]


def test_the_whole_conversation_and_the_parameters_are_sent(server: Any) -> None:
    wire = server(answer("A"), answer("B"))
    chat = Heard("acme/orbit", client=Client(None, wire.url), system="Be brief.", temperature=0)
    chat.ask("a")
    chat.ask("b", max_tokens=5)
    body = json.loads(wire.requests[1][1])
    assert [message["content"] for message in body["messages"]] == ["Be brief.", "a", "A", "b"]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("acme/orbit", 0, 5)


def test_what_is_sent_is_the_path_whatever_was_done_to_it(server: Any) -> None:
    wire = server(answer("A"), answer("B"), [STREAM, FINISH], answer("C"), answer("D"), answer("E"))
    chat = Heard("acme/orbit", client=Client(None, wire.url), system="Be brief.")
    chat.ask("a")
    chat.ask("b")
    chat.ask("nothing comes of this")
    chat.ask("c")
    chat.system = "Be long."
    chat.edit(chat.conversation.path[2], "d \u00e9 \U0001f600")
    chat.conversation.go_to(chat.conversation.path[1])
    chat.ask("e")
    begin = ["Be brief.", "a", "A"]
    assert [told(wire, number) for number in range(6)] == [
        begin[:2],
        [*begin, "b"],
        [*begin, "b", "B", "nothing comes of this"],
        [*begin, "b", "B", "c"],
        ["Be long.", "a", "A", "d \u00e9 \U0001f600"],
        ["Be long.", "a", "A", "e"],
    ]
    assert [*told(wire, 5), "E"] == [each["content"] for each in chat.conversation.messages()]


def test_fallbacks_and_routing_are_sent_and_who_served_is_kept(server: Any) -> None:
    wire = server(answer("A"))
    routing = {"models": ["acme/comet"], "provider": {"order": ["NorthCloud"]}}
    chat = Heard("acme/first", client=Client(None, wire.url), **routing)
    chat.ask("a")
    body = sent(wire, 0)
    assert body["model"] == "acme/first"
    assert {name: body[name] for name in routing} == routing
    shown = chat.said("done")[0]["turn"]
    assert (shown["who"], shown["asked_model"]) == ("acme/orbit-20260302", "acme/first")
    assert shown["provider"] == "NorthCloud"
    (row,) = chat.df.to_dict("records")[1:]
    assert (row["model"], row["served_model"]) == ("acme/first", "acme/orbit-20260302")


@pytest.mark.parametrize("prompt", ["", " \n", None])
def test_an_empty_prompt_is_refused_and_nothing_sent(chat_with: Any, prompt: Any) -> None:
    chat = chat_with(answer("A"))
    with pytest.raises(ConfigError, match="empty"):
        chat.ask(prompt)
    assert len(chat.conversation) == 0


def test_a_second_question_waits_for_the_first(chat_with: Any) -> None:
    chat = chat_with([STREAM, delta("A"), "stall"])
    chat.start("a")
    with pytest.raises(ConfigError, match="still being written"):
        chat.start("b")
    chat.stop()
    chat.wait(PATIENCE_S)
    assert next(iter(chat.conversation)).text == "a"


def test_an_error_is_raised_shown_and_over(chat_with: Any) -> None:
    refusal = [whole({"error": {"message": "User not found.", "code": 401}}, 401)]
    chat = chat_with(refusal, answer("A"))
    with pytest.raises(AuthenticationError) as caught:
        chat.ask("a")
    assert chat.conversation.head.reply.error == str(caught.value)
    assert chat.said("done")[0]["turn"]["error"] == str(caught.value)
    assert chat.ask("b").text == "A"
    assert [m["content"] for m in chat.conversation.messages()] == ["b", "A"]


def test_an_error_in_mid_answer_keeps_the_part(chat_with: Any) -> None:
    broken = event(error={"message": "Overloaded", "code": 502}, choices=[])
    chat = chat_with([STREAM, delta("Half a"), broken, DONE])
    with pytest.raises(ServerError) as caught:
        chat.ask("a")
    assert caught.value.reply.text == "Half a"
    assert (chat.conversation.head.text, chat.conversation.head.reply.status) == ("Half a", "error")


def test_a_bug_in_a_client_is_shown_too() -> None:
    class Broken:
        source, base_url = "live", "http://127.0.0.1"

        def stream(self, *_: Any, **__: Any) -> Any:
            raise ZeroDivisionError("oops")

    chat = Heard("m", client=Broken())
    with pytest.raises(OrnbError, match="ZeroDivisionError: oops"):
        chat.ask("a")
    assert not chat.busy


def test_one_question_can_go_to_another_model(server: Any) -> None:
    wire = server(answer("A"))
    chat = Heard("acme/orbit", client=Client(None, wire.url), temperature=0)
    assert chat.ask("a", model="lab/small", label="once", temperature=1).label == "once"
    body = json.loads(wire.requests[0][1])
    assert (body["model"], body["temperature"]) == ("lab/small", 1)
    assert chat.model == "acme/orbit"


def test_halves_of_characters_break_nothing(chat_with: Any) -> None:
    chat = chat_with([STREAM, delta("", reasoning="\ud83d"), delta("A \ud83d"), FINISH])
    chat.ask("\ud83d")
    from_page(chat, {"type": "hello", "page": "p"})
    json.dumps([chat.out, lasting(chat)], ensure_ascii=False).encode()


def test_waiting_gives_the_answer(chat_with: Any) -> None:
    chat = chat_with(answer("A"))
    assert chat.wait() is None
    chat.start("a")
    assert chat.wait(PATIENCE_S).text == "A"
    assert chat.wait().text == "A"


# ------------------------------------------------------------------ stopping


@pytest.mark.parametrize(
    ("script", "text"),
    [
        pytest.param([STREAM, delta("Half"), "stall"], "Half", id="in mid-answer"),
        pytest.param(["stall"], "", id="before the first byte"),
    ],
)
def test_stop_on_a_silent_connection_is_prompt_and_keeps_the_part(
    server: Any, script: list[Any], text: str
) -> None:
    wire = server(script, answer("A"))
    chat = Heard("acme/orbit", client=Client(None, wire.url))
    chat.start("a")
    until(lambda: page_has(chat, text) if text else wire.requests)
    began = time.perf_counter()
    chat.stop()
    reply = chat.wait(PATIENCE_S)
    assert time.perf_counter() - began < SOON_S
    assert (reply.text, reply.status, reply.error) == (text, "stopped", None)
    assert chat.ask("b").text == "A"


def test_stop_does_not_wait_for_a_connection_that_is_only_being_made() -> None:
    released = threading.Event()

    class Connecting:
        """A client still at the name lookup, which nothing can cut."""

        source, base_url = "live", "http://127.0.0.1"

        def stream(self, *_: Any, **__: Any) -> Any:
            released.wait(PATIENCE_S)
            return iter(())

    chat = Heard("m", client=Connecting())
    chat.start("a")
    chat.stop()
    assert chat.wait(PATIENCE_S).status == "stopped"
    assert not released.is_set()
    released.set()


def test_an_interrupt_keeps_the_part_and_is_raised(chat_with: Any) -> None:
    chat = chat_with([STREAM, delta("Half"), "stall"])
    as_soon_as(lambda: page_has(chat, "Half"), _thread.interrupt_main)
    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        chat.ask("a")
    assert time.perf_counter() - began < SOON_S
    assert (chat.conversation.head.text, chat.conversation.head.reply.status) == ("Half", "stopped")


# ------------------------------------------------------------------ the model


class Pick(traitlets.HasTraits):
    """As much of a picker as a chat looks at."""

    value = traitlets.Any(None, allow_none=True)


def test_a_picker_is_followed_until_the_chat_is_closed() -> None:
    picker = Pick()
    chat = Chat(picker)
    assert chat.model is None
    picker.value = "acme/orbit"
    assert chat.model == "acme/orbit"
    chat.close()
    picker.value = "acme/other"
    assert chat.model == "acme/orbit"


def test_of_several_chosen_models_one_must_be_chosen(server: Any) -> None:
    picker = Pick(value=("a/b", "c/d"))
    linked = Heard(picker, client=Client(None, server(answer("A")).url))
    assert "choose one" in linked.error
    with pytest.raises(ConfigError):
        linked.ask("a")
    picker.value = ("a/b",)
    assert (linked.model, linked.error) == ("a/b", "")
    assert linked.ask("a").text == "A"


@pytest.mark.parametrize("model", [3, "", " "])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises(ConfigError, match="model is"):
        Chat(model)


@pytest.mark.parametrize("system", [5, ["Be brief."], b"Be brief."])
def test_a_system_message_that_is_no_text_is_refused(system: Any) -> None:
    with pytest.raises(ConfigError, match="system is"):
        Chat(system=system)
    with pytest.raises(ConfigError, match="system is"):
        Chat.reopen(Conversation(), system=system)
    chat = Chat(system="Be brief.")
    with pytest.raises(ConfigError, match="system is"):
        chat.system = system
    assert chat.system == "Be brief."


def test_a_misspelt_model_is_told_what_is_near_and_is_no_answer() -> None:
    chat = Heard("openai/gpt4o-mini")
    with pytest.raises(OrnbError, match="Did you mean openai/gpt-4o-mini") as caught:
        chat.ask("Hi")
    shown = chat.said("done")[-1]["turn"]
    assert shown["error"] == str(caught.value)
    assert (shown["source_label"], shown["facts"][0]) == ("refused offline", "not billed")


def test_an_empty_prompt_is_in_the_ledger_as_a_call_that_was_not_sent() -> None:
    chat = Chat(label="nothing to ask")
    with pytest.raises(ConfigError):
        chat.ask(" ")
    row = ornb.usage.df.set_index("label").loc["nothing to ask"]
    assert (row["status"], row["cost_usd"], row["cost_source"]) == ("error", 0.0, "billed")
    assert pd.isna(row["source"])


def test_a_misspelt_attribute_is_refused() -> None:
    with pytest.raises(ConfigError, match="model"):
        Chat().modle = "a/b"


# ------------------------------------------------------------------ the page


def test_the_page_gets_numbered_changes_that_add_up_to_the_answer(
    javascript: Any, chat_with: Any
) -> None:
    text = "# Title\n\nsome *text* 😀 and\n\n```python\nx = 1\n```\n\nend [k]\n\n[k]: https://b.c"
    pieces = [text[i : i + 5] for i in range(0, len(text), 5)]

    def changed(times: int) -> None:
        until(lambda: len(chat.said("delta")) >= times)

    def script(*_: bytes) -> Iterator[bytes]:
        """Some pieces, and more once the page has had a change."""
        yield STREAM
        for number, piece in enumerate(pieces):
            yield delta(piece)
            changed(number // 4)
        yield FINISH

    chat = chat_with(script)
    from_page(chat, {"type": "hello", "page": "p"})
    chat.ask("a")
    assert [message["seq"] for message in chat.out] == list(range(1, len(chat.out) + 1))
    page = javascript("grow", EMPTY, *chat.said("delta"), chat.said("done")[0]["change"])
    assert page["html"] + page["tail"] == render(text)
    assert len(chat.said("delta")) > 2


def test_hello_is_answered_with_the_whole(chat_with: Any) -> None:
    chat = chat_with([STREAM, delta("done"), FINISH], [STREAM, delta("open"), "stall"])
    chat.ask("a")
    chat.start("b")
    until(lambda: page_has(chat, "open"))
    from_page(chat, {"type": "hello", "page": "p1"})
    state = chat.said("state")[-1]
    assert [turn.get("text") or turn.get("html") for turn in state["turns"]] == [
        "a",
        "<p>done</p>\n",
        "b",
    ]
    assert state["live"]["tail"] == "<p>open</p>\n"
    chat.stop()
    chat.wait(PATIENCE_S)


def test_a_page_that_was_not_heard_yet_gets_the_whole_now_and_then(chat_with: Any) -> None:
    """It loads behind the cell that asks, and cannot ask itself before that is over."""

    def script(*_: bytes) -> Iterator[bytes | float]:
        yield STREAM
        while len(chat.said("state")) < 2:
            yield delta("a ")
            yield 0.1
        yield FINISH

    chat = chat_with(script)
    began = time.perf_counter()
    chat.ask("a")
    took = time.perf_counter() - began
    wholes = [message["live"]["tail"] for message in chat.said("state")]
    assert wholes[0] == ""
    assert 2 <= len(wholes) <= 1 + took / WHOLE_EVERY_S
    assert wholes[1].startswith("<p>a a")


def test_the_page_asks_and_stops(chat_with: Any) -> None:
    chat = chat_with([STREAM, delta("Half"), "stall"])
    from_page(chat, {"type": "ask", "text": "a"})
    from_page(chat, {"type": "ask", "text": "too soon"})
    from_page(chat, {"type": "stop"})
    assert chat.wait(PATIENCE_S).status == "stopped"
    refused = chat.said("refused")[0]
    assert "still being written" in refused["text"]
    assert refused["prompt"] == "too soon"


@pytest.mark.parametrize("content", [None, [], {}, {"type": "x"}, {"type": "ask"}])
def test_a_strange_message_does_no_harm(content: Any) -> None:
    chat = Heard("m")
    from_page(chat, content)
    assert not chat.busy


def test_reasoning_goes_to_the_page_apart(chat_with: Any) -> None:
    chat = chat_with([STREAM, delta("", reasoning="Hm. "), 0.1, delta("A"), FINISH])
    from_page(chat, {"type": "hello", "page": "p"})
    chat.ask("a")
    changes = [*chat.said("delta"), chat.said("done")[0]["change"]]
    assert "".join(change.get("think", "") for change in changes) == "Hm. "


def test_the_key_is_in_nothing_that_is_kept_or_sent(chat_with: Any) -> None:
    chat = chat_with(answer("A"))
    chat.ask("a")
    from_page(chat, {"type": "hello", "page": "p"})
    kept = json.dumps([chat.out, chat.get_state(), lasting(chat)], default=str)
    assert SENTINEL not in kept + repr(chat) + repr(chat.__dict__)


# ------------------------------------------------------------------ again


def heard_by(chat: Heard) -> Heard:
    """The chat, shown, and greeted by a page that writes into its notebook."""
    lasting(chat)
    greeted(chat, "p")
    return chat


def greeted(chat: Heard, page: str) -> dict[str, Any]:
    """What a page that writes gets to be put into the notebook once it has said hello."""
    before = len(chat.said("kept"))
    from_page(chat, {"type": "hello", "page": page, "writes": True})
    until(lambda: len(chat.said("kept")) > before)
    return chat.said("kept")[-1]


def test_what_a_page_puts_into_the_notebook_after_a_turn_is_that_turn_alone(chat_with: Any) -> None:
    chat = heard_by(chat_with(*[answer("A cat.")] * 12))
    sizes = []
    for n in range(12):
        before = len(chat.out)
        chat.ask(f"Question {n:02}?")
        sizes.append(len(json.dumps(chat.out[before:])))
        last = chat.said("kept")[-1]
        assert last["count"] == 2 * n + 2
        assert {int(place) for place in last["entries"]} <= {2 * n, 2 * n + 1}
        assert last["about"]["head"] == str(2 * n + 2)
    assert max(sizes[6:]) < 2 * min(sizes)  # one may have a message in mid-answer


def test_a_page_that_comes_later_gets_all_that_is_kept_and_writes_from_then_on(
    chat_with: Any,
) -> None:
    chat = heard_by(chat_with(answer("A"), answer("B")))
    chat.ask("a")
    whole = greeted(chat, "q")
    assert (whole["page"], whole["count"], sorted(whole["entries"])) == ("q", 2, ["0", "1"])
    chat.ask("b")
    assert chat.said("kept")[-1]["page"] == "q"


def test_another_branch_changes_what_is_kept_of_the_turns_it_leaves_and_takes(
    chat_with: Any,
) -> None:
    chat = heard_by(chat_with(answer("A"), answer("B"), answer("C")))
    chat.ask("a")
    chat.ask("b")
    chat.edit("3", "c")
    shown = {
        place: bool(html) for place, (_, html, _, _) in chat.said("kept")[-2]["entries"].items()
    }
    shown |= {place: bool(e[1]) for place, e in chat.said("kept")[-1]["entries"].items()}
    assert shown == {"2": False, "3": False, "4": True, "5": True}
    chat.clear()
    assert chat.said("kept")[-1]["count"] == 0


def test_a_page_that_was_not_heard_yet_is_not_told_everything_at_each_question(
    chat_with: Any,
) -> None:
    chat = chat_with(*[answer("A")] * 8)
    for _ in range(8):
        chat.ask("a")
    assert len(chat.said("state")) < 8


def test_a_conversation_goes_on_from_whatever_held_it(chat_with: Any, tmp_path: Path) -> None:
    chat = chat_with(answer("A"))
    chat.ask("a")
    path = chat.conversation.save(tmp_path / "talk.json")
    bundle = lasting(chat)
    transcript = bundle[MIME_TRANSCRIPT]
    for source in (
        path,
        str(path),
        bundle,
        {"data": bundle},
        transcript,
        json.dumps(transcript),
        "\ufeff" + json.dumps(transcript),
        chat.conversation,
    ):
        again = Chat.reopen(source)
        assert again.conversation.to_json() == chat.conversation.to_json()
        assert again.model == "acme/orbit"


def test_going_on_sends_what_was_said_before(server: Any) -> None:
    wire = server(answer("B"))
    before = Conversation("Be brief.")
    before.add_user("a")
    before.add_reply(Reply(text="A"))
    chat = Heard.reopen(before, client=Client(None, wire.url))
    chat.ask("b")
    sent = json.loads(wire.requests[0][1])["messages"]
    assert [message["content"] for message in sent] == ["Be brief.", "a", "A", "b"]


@pytest.mark.parametrize("source", [3, {"a": 1}, "nowhere.json", "{}"])
def test_what_holds_no_conversation_is_refused(source: Any) -> None:
    with pytest.raises(ConfigError):
        Chat.reopen(source)


def test_clearing_stops_and_starts_anew(chat_with: Any) -> None:
    chat = chat_with([STREAM, delta("A"), "stall"], system="Be brief.")
    chat.start("a")
    chat.clear()
    assert (len(chat.conversation), chat.busy) == (0, False)
    assert chat.conversation.system == "Be brief."
    assert chat.said("state")[-1]["turns"] == []


# ------------------------------------------------------------------ again, otherwise, elsewhere


def sent(server: WireServer, number: int) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(server.requests[number][1])
    return body


def told(server: WireServer, number: int) -> list[Any]:
    return [message["content"] for message in sent(server, number)["messages"]]


def test_an_answer_can_be_had_again_from_another_model_and_both_are_kept(server: Any) -> None:
    wire = server(answer("A"), answer("AA"), answer("C"))
    chat = Heard("acme/orbit", client=Client(None, wire.url))
    chat.ask("a")
    assert chat.regenerate("lab/small", temperature=0).text == "AA"
    body = sent(wire, 1)
    assert (body["model"], body["temperature"], told(wire, 1)) == ("lab/small", 0, ["a"])
    assert [turn.text for turn in chat.conversation] == ["a", "AA"]
    first, second = chat.conversation.branches(chat.conversation.head)
    assert (first.text, second.text) == ("A", "AA")
    assert chat.said("done")[-1]["turn"]["branches"] == [first.id, second.id]
    chat.conversation.go_to(first)
    assert chat.said("state")[-1]["turns"][-1]["html"] == "<p>A</p>\n"
    chat.ask("c")
    assert told(wire, 2) == ["a", "A", "c"]


def test_without_a_question_nothing_can_be_answered_again() -> None:
    with pytest.raises(ConfigError, match="Nothing was asked yet"):
        Chat().regenerate()


def test_a_stopped_question_can_be_asked_again(server: Any) -> None:
    wire = server(["stall"], answer("A"))
    chat = Heard("acme/orbit", client=Client(None, wire.url))
    chat.start("a")
    until(lambda: wire.requests)
    chat.stop()
    chat.wait(PATIENCE_S)
    assert chat.regenerate().text == "A"
    assert [turn.text for turn in chat.conversation] == ["a", "A"]


def test_an_edited_question_goes_on_from_there_and_loses_nothing(server: Any) -> None:
    wire = server(answer("A"), answer("B"), answer("AA"))
    chat = Heard("acme/orbit", client=Client(None, wire.url), system="Be brief.")
    chat.ask("a")
    chat.ask("b")
    from_page(chat, {"type": "hello", "page": "p"})
    chat.edit(chat.conversation.path[0], "aa")
    assert told(wire, 2) == ["Be brief.", "aa"]
    assert [turn.text for turn in chat.conversation] == ["aa", "AA"]
    asked = chat.said("asked")[-1]
    assert (asked["after"], asked["turns"][0]["branches"]) == (None, ["1", "5"])
    chat.conversation.go_to(chat.conversation.tip("1"))
    assert [turn.text for turn in chat.conversation] == ["a", "A", "b", "B"]


def test_what_was_attached_stays_when_the_question_is_edited(server: Any) -> None:
    wire = server(LISTED, answer("A"), answer("B"))
    chat = Heard("acme/orbit", client=Client(None, wire.url))
    chat.ask("a", attach=PNG)
    chat.edit("1", "b")
    assert [part["type"] for part in told(wire, 2)[0]] == ["text", "image_url"]
    assert told(wire, 2)[0][0]["text"] == "b"


@pytest.mark.parametrize(("turn", "text"), [("9", "x"), ("2", "x"), ("1", " ")])
def test_what_cannot_be_edited_is_refused(chat_with: Any, turn: str, text: str) -> None:
    chat = chat_with(answer("A"))
    chat.ask("a")
    with pytest.raises(ConfigError):
        chat.edit(turn, text)
    assert len(chat.conversation.turns) == 2


def test_the_page_asks_again_edits_and_goes_to_branches(chat_with: Any) -> None:
    chat = chat_with(answer("A"), answer("AA"), answer("B"))
    chat.ask("a")
    from_page(chat, {"type": "hello", "page": "p"})
    from_page(chat, {"type": "again", "turn": "2"})
    assert chat.wait(PATIENCE_S).text == "AA"
    assert chat.said("asked")[-1]["turns"] == []
    from_page(chat, {"type": "go", "turn": "2"})
    assert chat.conversation.head.text == "A"
    from_page(chat, {"type": "edit", "turn": "1", "text": "b"})
    assert chat.wait(PATIENCE_S).text == "B"
    for wrong in ({"type": "go", "turn": "77"}, {"type": "edit", "turn": "2", "text": "x"}):
        from_page(chat, wrong)
    assert len(chat.said("refused")) == 2


def test_the_page_gets_a_copy_in_the_form_that_it_asks_for(chat_with: Any, tmp_path: Any) -> None:
    chat = chat_with(answer("A"))
    chat.ask("a")
    for form in ("md", "json", "ipynb"):
        from_page(chat, {"type": "export", "form": form, "page": "p"})
        until(lambda form=form: any(one["name"] == f"chat.{form}" for one in chat.said("exported")))
        told = chat.said("exported")[-1]
        assert told["page"] == "p"
        assert told["text"] == chat.save(tmp_path / f"x.{form}").read_text(encoding="utf-8")


def test_a_copy_in_no_known_form_is_an_error_that_is_shown(chat_with: Any) -> None:
    chat = chat_with()
    from_page(chat, {"type": "export", "form": "exe", "page": "p"})
    until(lambda: chat.error)
    assert "does not say what to write" in chat.error
    assert chat.said("exported")[0]["text"] is None


# ------------------------------------------------------------------ settings


def settings_after(chat: Any, **message: Any) -> dict[str, Any]:
    before = len(chat.said("settings"))
    from_page(chat, {"type": "settings", **message})
    until(lambda: len(chat.said("settings")) > before)
    return chat.said("settings")[-1]


def test_the_drawer_shows_the_models_own_ranges_and_sends_only_what_is_set() -> None:
    chat = Heard("openai/gpt-4o-mini", temperature=0.2, plugins=[{"id": "web"}])
    shown = settings_after(chat, models=True)
    fields = {field["name"]: field for field in shown["fields"]}
    assert fields["max_tokens"]["maximum"] == 16384
    assert (fields["temperature"]["value"], fields["top_p"]["value"]) == (0.2, None)
    assert "plugins" in shown["others"]
    assert "openai/gpt-4o-mini" in shown["table"]["id"]
    settings_after(chat, type="set", name="max_tokens", value=50.0)
    settings_after(chat, type="set", name="models", value="a/b, c/d")
    settings_after(chat, type="set", name="provider.order", value="Azure")
    settings_after(chat, type="set", name="temperature", value=None)
    settings_after(chat, type="set", name="system", value="Be brief.")
    plugins = [{"id": "web"}]
    assert chat.params == {
        "plugins": plugins,
        "max_tokens": 50,
        "models": ["a/b", "c/d"],
        "provider": {"order": ["Azure"]},
    }
    assert chat.system == "Be brief."
    settings_after(chat, type="reset")
    assert chat.params == {"plugins": plugins}


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("gpt4o", "openai/gpt-4o"),
        ("openai/gpt-4o-minni", "openai/gpt-4o-mini"),
        ("anthropic/claude-sonnet-4.55", "anthropic/claude-sonnet-4.5"),
        ("no such thing", ""),
    ],
)
def test_what_is_no_model_is_refused_before_a_question_and_near_ones_are_named(
    typed: str, near: str
) -> None:
    chat = Heard("openai/gpt-4o-mini")
    told = settings_after(chat, type="set", name="model", value=typed)
    assert "not among the models listed" in told["problem"]
    assert near in told["problem"]
    assert ("Did you mean" in told["problem"]) == bool(near)
    assert chat.model == "openai/gpt-4o-mini"
    assert len(chat.conversation) == 0


@pytest.mark.parametrize(
    "typed",
    [
        "anthropic/claude-sonnet-4.5",
        "openai/gpt-4o:nitro",
        "openai/gpt-4o:online",
        "openai/gpt-4o@preset/mine",
        "@preset/mine",
        "ornb/canned",
    ],
)
def test_a_listed_model_is_chosen_with_its_wishes(typed: str) -> None:
    chat = Heard("openai/gpt-4o-mini")
    assert settings_after(chat, type="set", name="model", value=typed)["problem"] == ""
    assert chat.model == typed


def test_a_key_in_the_place_of_a_model_is_refused_and_not_repeated() -> None:
    chat = Heard("openai/gpt-4o-mini")
    told = settings_after(chat, type="set", name="model", value="sk-or-v1-abcdef")
    assert "is a key" in told["problem"]
    assert "abcdef" not in told["problem"]
    assert chat.model == "openai/gpt-4o-mini"


def test_a_value_out_of_range_is_refused_with_the_range() -> None:
    chat = Heard("openai/gpt-4o-mini")
    shown = settings_after(chat, type="set", name="temperature", value=3)
    assert "takes 0 to 2" in shown["problem"]
    assert chat.params == {}


# ------------------------------------------------------------------ images and PDFs


MADE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def listed(model: str, *inputs: str) -> dict[str, Any]:
    return {"id": model, "architecture": {"input_modalities": inputs}}


@pytest.mark.parametrize("text", ["", "Here."])
def test_an_image_goes_back_to_the_model_that_is_to_change_it(
    server: Any, text: str, tmp_path: Path
) -> None:
    drawn = [STREAM, delta(text, images=[MADE]), FINISH]
    models = {"data": [listed("acme/orbit", "text", "image"), listed("acme/blind", "text")]}
    wire = server(drawn, [whole(models)], answer("Blue."), answer("Nice."), answer("Again."))
    chat = Heard("acme/orbit", client=Client(None, wire.url))
    chat.ask("A cat")
    chat.ask("In blue")
    sent = json.loads(wire.requests[-1][1])["messages"]
    assert sent[1] == {"role": "assistant", "content": text, "images": [MADE]}
    chat.ask("Is it nice?", model="acme/blind")
    sent = json.loads(wire.requests[-1][1])["messages"]
    assert all("images" not in message for message in sent), "it takes none"
    assert [each["role"] for each in sent][-3:] == ["user", "assistant", "user"]
    chat.save(tmp_path / "talk.json")
    again = Chat.reopen(tmp_path / "talk.json", client=Client(None, wire.url))
    assert again.conversation.messages() == chat.conversation.messages()


PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
LISTED = [whole({"data": [{"id": "acme/orbit"}]})]


def test_a_file_that_the_model_cannot_take_is_refused_before_anything_is_sent() -> None:
    chat = Heard("openai/gpt-3.5-turbo")
    with pytest.raises(ConfigError, match=r"takes text, so not image.png. Ask "):
        chat.ask("What is it?", attach=[PNG])
    assert (len(chat.conversation), chat.busy) == (0, False)


def test_a_dropped_file_comes_in_pieces_and_goes_with_the_question(server: Any) -> None:
    wire = server(LISTED, answer("A"))
    chat = Heard("acme/orbit", client=Client(None, wire.url))
    piece = {"type": "attach", "id": "f", "name": "cat.png", "last": False}
    from_page(chat, piece, memoryview(PNG[:20]))
    from_page(chat, {**piece, "last": True}, memoryview(PNG[20:]))
    until(lambda: chat.said("attached"))
    assert chat.said("attached")[0]["file"] == {
        "name": "cat.png",
        "kind": "image",
        "extent": "48 bytes",
    }
    from_page(chat, {"type": "ask", "text": "What?", "files": ["f"]})
    until(lambda: chat.conversation.head is not None and chat.wait(PATIENCE_S))
    assert [part["type"] for part in told(wire, 1)[0]] == ["text", "image_url"]
    shown = chat.said("state")[-1]["turns"][0]
    assert shown["files"][0]["url"].startswith("data:image/png;base64,")


def test_a_dropped_file_that_is_none_is_refused() -> None:
    chat = Heard("openai/gpt-4o-mini")
    from_page(chat, {"type": "attach", "id": "f", "name": "x.svg", "last": True}, b"<svg/>")
    until(lambda: chat.said("attached"))
    assert "SVG" in chat.said("attached")[0]["refused"]


def attached(chat: Heard, file_id: str) -> dict[str, Any]:
    """Bring the chat a picture from its page, and return what that hears of it."""
    from_page(chat, {"type": "attach", "id": file_id, "name": "cat.png", "last": True}, PNG)

    def heard() -> list[dict[str, Any]]:
        return [message for message in chat.said("attached") if message["id"] == file_id]

    until(lambda: heard() or chat.error)
    return heard()[0]


def test_of_more_files_than_can_wait_none_is_left_out_in_silence(server: Any) -> None:
    wire = server(LISTED, answer("A"))
    chat = Heard("acme/orbit", client=Client(None, wire.url))
    ids = [f"f{number}" for number in range(MOST_FILES + 1)]
    assert all("file" in attached(chat, one) for one in ids)
    from_page(chat, {"type": "ask", "text": "What?", "files": ids})
    until(lambda: chat.said("refused") or chat.conversation.head)
    assert "and 1 had to make room, so nothing was sent" in chat.said("refused")[0]["text"]
    from_page(chat, {"type": "ask", "text": "What?", "files": ids[1:]})
    until(lambda: chat.conversation.head is not None and chat.wait(PATIENCE_S))
    assert [part["type"] for part in told(wire, 1)[0]] == ["text", *["image_url"] * MOST_FILES]


def test_the_page_hears_of_whatever_keeps_a_file_or_a_question_back() -> None:
    """It shows both as on their way until it does, and takes no other question."""

    class Odd:
        source, base_url = "live", "http://127.0.0.1"

        def __init__(self) -> None:
            self.ends = [ZeroDivisionError("one"), OrnbError("no list"), ZeroDivisionError("two")]

        def models(self) -> Any:
            raise self.ends.pop(0)

    chat = Heard("m", client=Odd())
    assert "ZeroDivisionError: one" in attached(chat, "f")["refused"]
    assert "file" in attached(chat, "g")
    from_page(chat, {"type": "ask", "text": "What?", "files": ["g"]})
    until(lambda: chat.said("refused") or chat.error)
    assert "ZeroDivisionError: two" in chat.said("refused")[0]["text"]


def test_an_address_in_a_question_is_never_given_to_the_page_to_fetch(chat_with: Any) -> None:
    chat = chat_with(LISTED, answer("A"))
    chat.ask("a", attach="https://host.example/cat.png")
    assert "url" not in chat.said("state")[-1]["turns"][0]["files"][0]


# ------------------------------------------------------------------ tools

CALL = {"index": 0, "id": "c1", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
ASKS = [
    STREAM,
    delta("", tool_calls=[CALL]),
    event(choices=[{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]),
    DONE,
]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_a_tool_runs_once_it_is_allowed(server: Any) -> None:
    wire = server(ASKS, answer("It is 3."), answer("Yes."))
    chat = Heard("acme/orbit", client=Client(None, wire.url), tools=[add])
    chat.start("1 + 2?")
    until(lambda: any(m["call"]["state"] == "asking" for m in chat.said("tool")))
    assert len(wire.requests) == 1
    from_page(chat, {"type": "allow", "id": "c1", "yes": True})
    assert chat.wait(PATIENCE_S).text == "It is 3."
    assert [m["call"]["state"] for m in chat.said("tool")][-1] == "ok"
    shown = chat.said("done")[0]["turn"]["steps"]
    assert shown == [{"id": "c1", "name": "add", "arguments": '{"a": 1, "b": 2}', "result": "3"}]
    chat.ask("Sure?")
    roles = [message["role"] for message in sent(wire, 2)["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]
    again = Conversation.from_json(json.dumps(chat.conversation.to_json()))
    assert again.to_json() == chat.conversation.to_json()


def test_a_cell_that_waits_without_end_asks_whether_a_tool_may_run(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps the page from being heard, where the question stands else."""
    asked = []
    monkeypatch.setattr("builtins.input", lambda words: asked.append(words) or "y")
    wire = server(ASKS, answer("It is 3."))
    chat = Heard("acme/orbit", client=Client(None, wire.url), tools=[add])
    chat.start("1 + 2?")
    until(lambda: any(m["call"]["state"] == "asking" for m in chat.said("tool")))
    assert chat.wait(0.3) is None
    assert asked == []
    assert chat.wait().text == "It is 3."
    assert asked == ['Run add({"a": 1, "b": 2})? [y/N] ']
    assert [m["live"]["blocking"] for m in chat.said("state") if m["live"]][-1]


def test_a_refused_tool_does_not_run_and_the_answer_goes_on(server: Any) -> None:
    ran = []

    def erase(path: str) -> str:
        """Erase a file."""
        ran.append(path)
        return "done"

    call = {**CALL, "function": {"name": "erase", "arguments": '{"path": "x"}'}}
    asks = [STREAM, delta("", tool_calls=[call]), *ASKS[2:]]
    wire = server(asks, answer("Very well."))
    chat = Heard("acme/orbit", client=Client(None, wire.url), tools=[erase])
    chat.start("Erase x")
    until(lambda: any(m["call"]["state"] == "asking" for m in chat.said("tool")))
    from_page(chat, {"type": "allow", "id": "c1", "yes": False})
    assert chat.wait(PATIENCE_S).text == "Very well."
    assert ran == []
    assert "did not allow" in chat.said("done")[0]["turn"]["steps"][0]["result"]


def test_stop_is_heard_while_a_tool_waits_to_be_allowed(server: Any) -> None:
    wire = server(ASKS)
    chat = Heard("acme/orbit", client=Client(None, wire.url), tools=[add])
    chat.start("1 + 2?")
    until(lambda: any(m["call"]["state"] == "asking" for m in chat.said("tool")))
    chat.stop()
    assert chat.wait(PATIENCE_S).status == "stopped"
    assert not chat.busy


def test_a_tool_needs_no_leave_where_the_chat_says_so(server: Any) -> None:
    chat = Heard(
        "acme/orbit",
        client=Client(None, server(ASKS, answer("3")).url),
        tools=[add],
        confirm=False,
    )
    assert chat.ask("1 + 2?").text == "3"


def test_a_tool_that_raises_is_told_to_the_model_and_shown(server: Any) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        raise OSError("the abacus is broken")

    wire = server(ASKS, answer("I could not."), answer("Yes."))
    chat = Heard("acme/orbit", client=Client(None, wire.url), tools=[add], confirm=False)
    assert chat.ask("1 + 2?").text == "I could not."
    told = sent(wire, 1)["messages"][-1]
    assert told["role"] == "tool"
    assert "the abacus is broken" in told["content"]
    assert "the abacus is broken" in chat.said("done")[0]["turn"]["steps"][0]["result"]
    assert chat.ask("Sure?").text == "Yes."


@pytest.mark.parametrize(
    ("simulate", "kind"),
    [
        pytest.param(
            {"status": 403, "error_type": "content_policy_violation"}, Moderated, id="moderated"
        ),
        pytest.param({"status": 402}, OutOfCredits, id="out of credits"),
        pytest.param({"status": 429, "retry_after": 3600}, RateLimited, id="quota"),
        pytest.param({"error_after_chunks": 5}, ProviderUnavailable, id="in mid-stream"),
    ],
)
def test_a_refusal_is_one_message_and_the_chat_goes_on(simulate: Any, kind: type) -> None:
    chat = Heard("openai/gpt-4o-mini")
    with pytest.raises(kind) as caught:
        chat.ask("Hi", ornb={"simulate": simulate})
    turn = chat.conversation.path[-1]
    assert turn.reply.error == str(caught.value)
    assert bool(turn.reply.text) == ("error_after_chunks" in simulate), "what had come is kept"
    assert chat.ask("And now?").status == "ok"
    assert not chat.busy


def test_where_nobody_can_be_asked_a_tool_does_not_run(server: Any) -> None:
    chat = Heard("acme/orbit", client=Client(None, server(ASKS).url), tools=[add])
    with pytest.raises(ConfigError, match="nobody can be asked"):
        chat.ask("1 + 2?")
    assert not chat.busy


def test_a_waiting_cell_asks_in_the_cell(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("builtins.input", lambda words: asked.append(words) or "y")
    chat = Heard("acme/orbit", client=Client(None, server(ASKS, answer("3")).url), tools=[add])
    assert chat.ask("1 + 2?").text == "3"
    assert asked == ['Run add({"a": 1, "b": 2})? [y/N] ']


# ------------------------------------------------------------------ answers as values


def test_a_person_is_asked_for_every_letter_of_a_call(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda words: asked.append(words) or "n")

    def rm(path: str, force: bool = False, pad: str = "", more: str = "") -> None:
        """Remove a file."""

    for arguments in CALLS.values():
        call = {**CALL, "function": {"name": "rm", "arguments": arguments}}
        asks = [STREAM, delta("", tool_calls=[call]), *ASKS[2:]]
        wire = server(asks, answer("Very well."))
        Heard("acme/orbit", client=Client(None, wire.url), tools=[rm]).ask("Clean up.")
        shown = asked[-1].removeprefix("Run rm(").removesuffix(")? [y/N] ")
        spelt = re.sub("⟨U\\+(....)⟩", lambda found: chr(int(found[1], 16)), shown)
        assert json.loads(spelt) == json.loads(arguments)
        assert not re.search("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]", asked[-1])
    assert len(asked) == len(CALLS)
    odd = call_for_page({"id": "c", "function": {"name": "rm\u202e", "arguments": "{}"}})
    assert odd["name"] == "rm⟨U+202E⟩"


def test_an_answer_of_a_shape_comes_as_a_value(server: Any) -> None:
    shape = {"type": "object", "properties": {"year": {"type": "integer"}}}
    wire = server(answer('{"year": 1815}'), answer("long ago"), answer("A"))
    chat = Heard("acme/orbit", client=Client(None, wire.url))
    assert chat.ask("When?", schema=shape).text == '{"year": 1815}'
    assert chat.value == {"year": 1815}
    assert sent(wire, 0)["response_format"]["type"] == "json_schema"
    with pytest.raises(SchemaMismatch) as caught:
        chat.ask("When?", schema=shape)
    assert caught.value.reply.text == "long ago"
    assert chat.value is None
    assert chat.said("done")[-1]["turn"]["error"] == str(caught.value)
    assert chat.ask("a").text == "A"


def test_sources_become_footnotes(server: Any) -> None:
    cited = {"url": "https://example.org/cat", "title": "Cats", "end_index": 4}
    noted = delta("", annotations=[{"type": "url_citation", "url_citation": cited}])
    chat = Heard(
        "acme/orbit", client=Client(None, server([STREAM, delta("Cats purr."), noted, FINISH]).url)
    )
    chat.ask("a")
    done = chat.said("done")[0]
    assert done["change"]["replace"] == "<p>Cats[1] purr.</p>\n"
    assert done["turn"]["sources"][0]["host"] == "example.org"
    assert chat.conversation.messages()[-1]["content"] == "Cats purr."


def test_a_prompt_that_is_too_long_says_by_how_much(server: Any) -> None:
    said = "This endpoint's maximum context length is 8192 tokens. However, you requested about "
    said += "9000 tokens (9000 of text input). Please reduce the length."
    refusal = whole({"error": {"message": said, "code": 400}}, 400)
    wire = server([refusal], [whole({"data": [{"id": "acme/orbit", "context_length": 8192}]})])
    chat = Heard("acme/orbit", client=Client(None, wire.url, retries=0))
    with pytest.raises(ContextTooLong, match=r"9,000 tokens of prompt are 808 too many"):
        chat.ask("word " * 9000)
    assert "808 too many" in chat.said("done")[0]["turn"]["error"]


# ------------------------------------------------------------------ what is huge


def test_a_huge_prompt_is_sent_whole_and_shown_by_its_ends(server: Any) -> None:
    prompt = "word " * 800_000
    wire = server(answer("A"))
    chat = Heard("acme/orbit", client=Client(None, wire.url))
    from_page(chat, {"type": "hello", "page": "p"})
    chat.ask(prompt)
    assert told(wire, 0) == [prompt]
    assert chat.conversation.path[0].text == prompt
    shown = chat.said("asked")[0]["turns"][0]
    assert (len(shown["text"]) < 3000, shown["cut"]) == (True, True)
    assert "characters …" in shown["text"]
    assert len(json.dumps(lasting(chat))) < 20_000


def test_fifty_turns_cost_no_more_messages_than_the_first(chat_with: Any) -> None:
    text = "Some *words* of an answer. " * 40
    chat = chat_with(*[answer(text)] * 51)
    from_page(chat, {"type": "hello", "page": "p"})
    chat.ask("a")
    first = sum(len(json.dumps(message)) for message in chat.out[1:])
    for _ in range(49):
        chat.ask("a")
    before = len(chat.out)
    chat.ask("a")
    last = sum(len(json.dumps(message)) for message in chat.out[before:])
    assert last < 1.2 * first


# ------------------------------------------------------------------ few messages, in a fair order


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=10))
def test_a_patch_makes_the_new_text(javascript: Any, old: str, new: str, shared: str) -> None:
    page = {**EMPTY, "tail": shared + old + shared}
    change = {**patch(shared + old + shared, shared + new + shared), "done": 0}
    assert javascript("grow", page, change)["tail"] == shared + new + shared


ENVELOPE = 600
"""Bytes of a message to the page before it says anything, as measured on the wire."""


def test_four_thousand_tokens_cost_few_bytes_and_little_time() -> None:
    """At 100 tokens a second and 12 messages: beside plain-text deltas at the same rate."""
    words = ["tokens ", "are *pieces* ", "of `text`, ", "and so on. "] * 4 + ["\n\n"]
    live, sent, plain, piece = LiveAnswer(), 0, 0, ""
    began = time.process_time()
    for i in range(4000):
        piece += words[i % len(words)]
        live.add(Event("text", words[i % len(words)]))
        if i % 8 == 7:
            sent += ENVELOPE + len(json.dumps(live.patch()))
            plain += ENVELOPE + len(json.dumps({"add": piece}))
            piece = ""
    sent += ENVELOPE + len(json.dumps(live.finish()))
    assert time.process_time() - began < 8  # some 0.4 s, where nothing else runs
    assert sent < 1.5 * plain
    assert sent - 501 * ENVELOPE < 2.5 * len(live.html)


def test_all_streams_together_keep_to_the_limit_and_none_is_forgotten() -> None:
    counts: dict[int, int] = dict.fromkeys(range(20), 0)
    pacer = Pacer(per_second=100, each_per_second=50)

    def sender(number: int) -> Any:
        def send() -> float:
            counts[number] += 1
            return 0.0

        return send

    parts = [pacer.join(sender(number)) for number in counts]
    began = time.monotonic()
    while sum(counts.values()) < 60:
        for news, _ in parts:
            news()
        time.sleep(0.002)
    for _, leave in parts:
        leave()
    took = time.monotonic() - began
    assert sum(counts.values()) <= 100 * took + 2
    assert min(counts.values()) >= 1
    assert max(counts.values()) - min(counts.values()) <= 2


def test_one_whose_widget_is_gone_does_not_silence_the_others() -> None:
    heard = threading.Event()
    pacer = Pacer()

    def gone() -> float:
        raise OSError

    news, _ = pacer.join(gone)
    other_news, leave = pacer.join(lambda: heard.set() or 0.0)
    news()
    other_news()
    assert heard.wait(PATIENCE_S)
    leave()


# ------------------------------------------------------------------ in a kernel, without a browser


def run(tmp_path: Path, *cells: str, **environment: str) -> nbformat.NotebookNode:
    return run_headless(notebook_of(cells), tmp_path, **environment)


def test_a_notebook_run_without_a_browser_keeps_the_whole_conversation(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "import ornb\nchat = ornb.Chat('openai/gpt-4o-mini', system='Be brief.')\nchat",
        "chat.ask('What is a <b>token</b>?').text[:0]",
        "chat.ask('And why?').status",
        OPENROUTER_API_KEY="",
    )
    static = next(o for o in done.cells[0].outputs if MIME_TRANSCRIPT in o.get("data", {}))
    talk = Conversation.from_json(static["data"][MIME_TRANSCRIPT])
    assert [turn.role for turn in talk] == ["user", "assistant"] * 2
    assert "&lt;b&gt;token" in static["data"]["text/html"]
    assert "canned answer" in static["data"]["text/plain"]
    assert "text/markdown" not in static["data"]
    assert done.cells[2].outputs[0]["data"]["text/plain"] == "'ok'"


def test_a_chat_inside_a_box_can_be_kept_too(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "import ipywidgets, ornb\nchat = ornb.Chat('openai/gpt-4o-mini')\n"
        "chat.keep()\nipywidgets.VBox([chat])",
        "chat.ask('a').status",
    )
    kept = [o for o in done.cells[0].outputs if MIME_TRANSCRIPT in o.get("data", {})]
    assert len(Conversation.from_json(kept[0]["data"][MIME_TRANSCRIPT])) == 2


def test_a_notebook_run_without_a_person_does_not_run_tools(tmp_path: Path, server: Any) -> None:
    done = run(
        tmp_path,
        "import ornb\ndef add(a: int, b: int) -> int:\n    raise SystemExit\n"
        "chat = ornb.Chat('acme/orbit', tools=[add])\nchat",
        "try:\n    chat.ask('1 + 2?')\nexcept ValueError as error:\n    print(error)",
        OPENROUTER_API_KEY="",
        OPENROUTER_BASE_URL=server(ASKS).url,
    )
    assert "asks to run add, and nobody can be asked" in done.cells[1].outputs[0]["text"]


def test_no_key_is_in_a_notebook_that_was_run(tmp_path: Path, server: Any) -> None:
    wire = server(answer("A"))
    done = run(
        tmp_path,
        "import ornb\nchat = ornb.Chat('acme/orbit')\nchat",
        "chat.ask('a')",
        OPENROUTER_API_KEY=SENTINEL,
        OPENROUTER_BASE_URL=wire.url,
    )
    assert SENTINEL.encode() in wire.requests[-1][0]
    assert SENTINEL not in nbformat.writes(done)
