"""The chat's Python side: what is asked, kept, stopped and sent to the page."""

from __future__ import annotations

import _thread
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st

from ornb.client import Client
from ornb.conversation import MIME_TRANSCRIPT, Conversation
from ornb.errors import AuthenticationError, ConfigError, OrnbError, ServerError
from ornb.rendering import render
from ornb.reply import Event, Reply
from ornb.widgets.chat import Chat
from ornb.widgets.live import LiveAnswer, Pacer, patch
from tests.lab import notebook_of, run_headless
from tests.wire import DONE, FINISH, STREAM, WireServer, delta, event, whole

SENTINEL = "sk-or-v1-5entine1"


class Heard(Chat):
    """A chat whose messages to the page are kept as JSON, as the wire would carry them."""

    _out: list[dict[str, Any]]

    def send(self, content: Any, buffers: Any = None) -> None:
        self.__dict__.setdefault("_out", []).append(json.loads(json.dumps(content)))

    def said(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.__dict__.get("_out", []) if message["type"] == kind]


class Page:
    """What a page makes of the messages: the same arithmetic as in chat.js, in UTF-16 units."""

    def __init__(self) -> None:
        self.html = self.tail = b""
        self.think = ""

    def take(self, change: dict[str, Any]) -> None:
        self.think += change.get("think", "")
        if "replace" in change:
            self.html, self.tail = change["replace"].encode("utf-16-le"), b""
            return
        size, middle = len(self.tail), change["add"].encode("utf-16-le")
        after = self.tail[: 2 * change["keep"]] + middle + self.tail[size - 2 * change["end"] :]
        self.html += after[: 2 * change["done"]]
        self.tail = after[2 * change["done"] :]

    @property
    def shown(self) -> str:
        return (self.html + self.tail).decode("utf-16-le")


def until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
    chat.wait(2)
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
    chat._heard(chat, {"type": "hello", "page": "p"}, [])
    json.dumps([chat._out, chat._bundle()], ensure_ascii=False).encode()


def test_waiting_gives_the_answer(chat_with: Any) -> None:
    chat = chat_with(answer("A"))
    assert chat.wait() is None
    chat.start("a")
    assert chat.wait(5).text == "A"
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
    until(lambda: chat.said("delta") if text else wire.requests)
    began = time.perf_counter()
    chat.stop()
    reply = chat.wait(5)
    assert time.perf_counter() - began < 1
    assert (reply.text, reply.status, reply.error) == (text, "stopped", None)
    assert chat.ask("b").text == "A"


def test_stop_does_not_wait_for_a_connection_that_is_only_being_made() -> None:
    released = threading.Event()

    class Connecting:
        """A client still at the name lookup, which nothing can cut."""

        source, base_url = "live", "http://127.0.0.1"

        def stream(self, *_: Any, **__: Any) -> Any:
            released.wait(10)
            return iter(())

    chat = Heard("m", client=Connecting())
    chat.start("a")
    began = time.perf_counter()
    chat.stop()
    assert chat.wait(5).status == "stopped"
    assert time.perf_counter() - began < 1
    released.set()


def test_an_interrupt_keeps_the_part_and_is_raised(chat_with: Any) -> None:
    chat = chat_with([STREAM, delta("Half"), "stall"])
    threading.Timer(0.3, _thread.interrupt_main).start()
    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        chat.ask("a")
    assert time.perf_counter() - began < 1.3
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


def test_of_several_chosen_models_one_must_be_chosen(chat_with: Any) -> None:
    picker = Pick(value=("a/b", "c/d"))
    chat = chat_with(answer("A"))
    linked = Heard(picker, client=chat._client)
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


def test_a_misspelt_attribute_is_refused() -> None:
    with pytest.raises(ConfigError, match="model"):
        Chat().modle = "a/b"


# ------------------------------------------------------------------ the page


def test_the_page_gets_numbered_changes_that_add_up_to_the_answer(chat_with: Any) -> None:
    text = "# Title\n\nsome *text* 😀 and\n\n```python\nx = 1\n```\n\nend [k]\n\n[k]: https://b.c"
    pieces = [text[i : i + 5] for i in range(0, len(text), 5)]
    chat = chat_with([STREAM, *[step for p in pieces for step in (delta(p), 0.02)], FINISH])
    chat._heard(chat, {"type": "hello", "page": "p"}, [])
    chat.ask("a")
    assert [message["seq"] for message in chat._out] == list(range(1, len(chat._out) + 1))
    page = Page()
    for message in chat.said("delta"):
        page.take(message)
    page.take(chat.said("done")[0]["change"])
    assert page.shown == render(text)
    assert len(chat.said("delta")) > 2


def test_hello_is_answered_with_the_whole(chat_with: Any) -> None:
    chat = chat_with([STREAM, delta("done"), FINISH], [STREAM, delta("open"), "stall"])
    chat.ask("a")
    chat.start("b")
    until(lambda: any("open" in message["add"] for message in chat.said("delta")))
    chat._heard(chat, {"type": "hello", "page": "p1"}, [])
    state = chat.said("state")[-1]
    assert [turn.get("text") or turn.get("html") for turn in state["turns"]] == [
        "a",
        "<p>done</p>\n",
        "b",
    ]
    assert state["live"]["tail"] == "<p>open</p>\n"
    chat.stop()
    chat.wait(2)


def test_a_page_that_was_not_heard_yet_gets_the_whole_now_and_then(chat_with: Any) -> None:
    """It loads behind the cell that asks, and cannot ask itself before that is over."""
    steps = [step for word in "abcdefgh" for step in (delta(f"{word} "), 0.2)]
    chat = chat_with([STREAM, *steps, FINISH])
    chat.ask("a")
    wholes = [message["live"]["tail"] for message in chat.said("state")]
    assert wholes[0] == ""
    assert len(wholes) in (2, 3)
    assert wholes[1].startswith("<p>a b c")


def test_the_page_asks_and_stops(chat_with: Any) -> None:
    chat = chat_with([STREAM, delta("Half"), "stall"])
    chat._heard(chat, {"type": "ask", "text": "a"}, [])
    chat._heard(chat, {"type": "ask", "text": "too soon"}, [])
    chat._heard(chat, {"type": "stop"}, [])
    assert chat.wait(2).status == "stopped"
    refused = chat.said("refused")[0]
    assert "still being written" in refused["text"]
    assert refused["prompt"] == "too soon"


@pytest.mark.parametrize("content", [None, [], {}, {"type": "x"}, {"type": "ask"}])
def test_a_strange_message_does_no_harm(content: Any) -> None:
    chat = Heard("m")
    chat._heard(chat, content, [])
    assert not chat.busy


def test_reasoning_goes_to_the_page_apart(chat_with: Any) -> None:
    chat = chat_with([STREAM, delta("", reasoning="Hm. "), 0.1, delta("A"), FINISH])
    chat.ask("a")
    changes = [*chat.said("delta"), chat.said("done")[0]["change"]]
    assert "".join(change.get("think", "") for change in changes) == "Hm. "


def test_the_key_is_in_nothing_that_is_kept_or_sent(chat_with: Any) -> None:
    chat = chat_with(answer("A"))
    chat.ask("a")
    chat._heard(chat, {"type": "hello", "page": "p"}, [])
    kept = json.dumps([chat._out, chat.get_state(), chat._bundle()], default=str)
    assert SENTINEL not in kept + repr(chat) + repr(chat.__dict__)


# ------------------------------------------------------------------ again


def test_a_conversation_goes_on_from_whatever_held_it(chat_with: Any, tmp_path: Path) -> None:
    chat = chat_with(answer("A"))
    chat.ask("a")
    path = chat.conversation.save(tmp_path / "talk.json")
    bundle = chat._bundle()
    transcript = bundle[MIME_TRANSCRIPT]
    for source in (
        path,
        str(path),
        bundle,
        {"data": bundle},
        transcript,
        json.dumps(transcript),
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


# ------------------------------------------------------------------ few messages, in a fair order


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=10))
def test_a_patch_makes_the_new_text(old: str, new: str, shared: str) -> None:
    page = Page()
    page.tail = (shared + old + shared).encode("utf-16-le", "surrogatepass")
    page.take({**patch(shared + old + shared, shared + new + shared), "done": 0})
    assert page.shown == shared + new + shared


def test_four_thousand_tokens_cost_few_bytes() -> None:
    """At 20 tokens a message: 200 messages of some 600 bytes of envelope are 120 kB."""
    words = ["tokens ", "are *pieces* ", "of `text`, ", "and so on. "] * 4 + ["\n\n"]
    live, sent = LiveAnswer(), 0
    for i in range(4000):
        live.add(Event("text", words[i % len(words)]))
        if i % 20 == 19:
            sent += len(json.dumps(live.patch()))
    sent += len(json.dumps(live.finish()))
    assert sent < 2.5 * len(live.html)


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
    while time.monotonic() - began < 0.6:
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
    assert heard.wait(5)
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
