"""The chat in a real browser: in a bare page, then in JupyterLab with a kernel."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from ornb.conversation import MIME_TRANSCRIPT, Conversation
from ornb.errors import OrnbError
from ornb.rendering import render, reply_html
from ornb.reply import Event, Reply, Timing, Usage
from ornb.widgets.chat import Chat, _Call
from tests.esm import Shown, show
from tests.test_chat import Heard
from tests.test_rendering import HOSTILE

pytestmark = pytest.mark.browser

BOX = "Message to the model"
EVIL = '<img src="https://host.example/x.png" onerror="window.hit = 1">'


class Stage:
    """A chat and the page that shows it; `carry` plays the network between them."""

    def __init__(self, page: Page, chat: Heard) -> None:
        self.chat, self.page = chat, page
        self.shown: Shown = show(page, chat)
        self._to_page = self._to_kernel = 0
        self.box = page.get_by_label(BOX)
        self.log = page.get_by_role("log")

    def carry(self) -> None:
        """Bring all messages across, both ways."""
        for message in self.shown.sent[self._to_kernel :]:
            self._to_kernel += 1
            self.chat._heard(self.chat, message, [])
        self.to_page()

    def to_page(self) -> None:
        out = self.chat.__dict__.get("_out", [])
        for message in out[self._to_page :]:
            self._to_page += 1
            self.shown.message(message)

    def begin(self, question: str = "What is it?") -> _Call:
        """Put a question without a network."""
        turn = self.chat.conversation.add_user(question)
        call = _Call(turn, {"model": "acme/orbit"})
        self.chat._call = call
        self.chat._tell("asked", turn=self.chat._for_page(turn), live=self.chat._live(call))
        self.to_page()
        return call

    def say(self, call: _Call, text: str, kind: str = "text") -> None:
        """Let a piece of the answer arrive."""
        call.answer.add(Event(kind, text))
        self.chat._flush(call)
        self.to_page()

    def end(self, call: _Call, reply: Reply) -> None:
        """End the answer."""
        call.stream = type("Ended", (), {"reply": reply})()
        self.chat._end(call)
        self.to_page()

    def sent(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.shown.sent if message["type"] == kind]


def reply(text: str, **facts: Any) -> Reply:
    return Reply(text=text, model="acme/orbit", usage=Usage(22, 9, cost_usd=0.000145), **facts)


@pytest.fixture
def stage(page: Page) -> Iterator[Callable[..., Stage]]:
    made = []

    def make(*said: str, **options: Any) -> Stage:
        chat = Heard("acme/orbit", **options)
        for text in said:
            chat.conversation.add_user(text)
            chat.conversation.add_reply(reply(text.upper()))
        made.append(Stage(page, chat))
        made[-1].carry()
        return made[-1]

    yield make
    for one in made:
        one.shown.check()


# ------------------------------------------------------------------ asking


def test_enter_sends_and_shift_enter_makes_a_line(stage: Any, page: Page) -> None:
    one = stage()
    page.evaluate("document.addEventListener('keydown', () => { window.leaked = true })")
    one.box.press_sequentially("ab")
    one.box.press("Shift+Enter")
    one.box.press_sequentially("dd")
    one.box.press("Enter")
    assert [message["text"] for message in one.sent("ask")] == ["ab\ndd"]
    assert page.evaluate("window.leaked") is None


def test_what_was_typed_stays_until_the_kernel_has_it(stage: Any, page: Page) -> None:
    one = stage()
    one.box.fill("What is it?")
    one.box.press("Enter")
    expect(one.box).to_have_value("What is it?")
    expect(page.get_by_role("status")).to_contain_text("your message is kept", timeout=3000)
    one.begin("What is it?")
    expect(one.box).to_have_value("")
    expect(page.get_by_role("status")).to_have_text("Answering …")


def test_an_empty_prompt_sends_nothing_and_says_so(stage: Any, page: Page) -> None:
    one = stage()
    one.box.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("empty")
    assert one.sent("ask") == []
    one.box.press("a")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_refused_prompt_is_not_lost(stage: Any, page: Page) -> None:
    one = stage()
    one.box.fill("a")
    one.box.press("Enter")
    one.chat._tell("refused", text="An answer is still being written.", prompt="a")
    one.to_page()
    expect(page.get_by_role("alert")).to_contain_text("still being written")
    expect(one.box).to_have_value("a")
    expect(one.box).to_be_editable()


def test_a_question_that_failed_comes_back_into_the_box(stage: Any, page: Page) -> None:
    one = stage()
    call = one.begin("What is it?")
    call.error = OrnbError("No key.")
    one.end(call, Reply())
    expect(one.log).to_contain_text("No key.")
    expect(one.box).to_have_value("What is it?")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()


def test_stop_is_a_click_or_escape_and_does_not_move(stage: Any, page: Page) -> None:
    one = stage()
    stop = page.get_by_role("button", name="Stop")
    expect(stop).to_be_disabled()
    before = stop.bounding_box()
    call = one.begin()
    one.say(call, "A cat.\n\n" * 30)
    expect(stop).to_be_enabled()
    assert stop.bounding_box() == before
    stop.click()
    expect(page.get_by_role("status")).to_have_text("Stopping …")
    one.box.press("Escape")
    assert len(one.sent("stop")) == 1


# ------------------------------------------------------------------ the answer


def test_an_answer_grows_and_ends_with_its_facts(stage: Any, page: Page) -> None:
    one = stage()
    call = one.begin()
    answer = page.get_by_label("Answer")
    expect(page.get_by_label("Waiting for the first word")).to_be_visible()
    one.say(call, "Hm.", "reasoning")
    expect(answer.get_by_text("Thinking …")).to_be_visible()
    expect(answer.get_by_text("Hm.")).to_be_hidden()
    text = "A *cat* 😀.\n\n```python\nx = 1\n```\n\nIt **pur"
    one.say(call, text)
    expect(answer).to_contain_text("It **pur")
    assert answer.get_attribute("aria-busy") == "true"
    one.say(call, "rs**.")
    expect(answer.locator("strong")).to_have_text("purrs")
    one.end(call, reply(text + "rs**.", provider="NorthCloud", timing=Timing(duration_s=2)))
    expect(answer).to_contain_text("NorthCloud")
    expect(answer.locator("footer")).to_have_text(
        re.compile("live.*NorthCloud.*22 → 9 tokens.*billed.*2.00 s")
    )
    assert answer.get_attribute("aria-busy") == "false"
    answer.get_by_text("Reasoning").click()
    expect(answer.get_by_text("Hm.")).to_be_visible()


def test_a_lost_message_makes_the_page_ask_for_the_whole(stage: Any, page: Page) -> None:
    one = stage("first")
    page.wait_for_timeout(600)  # a page that has just asked waits for its answer
    hellos = len(one.sent("hello"))
    call = one.begin()
    one.say(call, "A cat ")
    call.answer.add(Event("text", "that "))
    one.chat._flush(call)
    one._to_page += 1  # lost
    one.say(call, "purrs.")
    assert len(one.sent("hello")) == hellos + 1
    one.carry()
    expect(one.log).to_contain_text("A cat that purrs.")
    one.say(call, " So.")
    expect(one.log).to_contain_text("A cat that purrs. So.")
    expect(page.locator(".turn")).to_have_count(4)


def test_a_link_defined_late_is_right_at_the_end(stage: Any, page: Page) -> None:
    one = stage()
    call = one.begin()
    text = "See [this][k].\n\nMore.\n\n[k]: https://example.org/k\n"
    for piece in text.splitlines(keepends=True):
        one.say(call, piece)
    one.end(call, reply(text))
    link = page.get_by_role("link", name="this")
    expect(link).to_have_attribute("href", "https://example.org/k")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(page.get_by_text("See")).to_have_count(1)


def test_code_can_be_copied(stage: Any, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    one = stage()
    call = one.begin()
    one.say(call, "```python\nx = '<b>'\n```\n")
    one.end(call, reply("```python\nx = '<b>'\n```\n"))
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "x = '<b>'\n"


def test_the_end_is_followed_unless_one_reads_further_up(stage: Any, page: Page) -> None:
    one = stage(*["question " * 40] * 8)
    log = one.log
    gap = "log => log.scrollHeight - log.scrollTop - log.clientHeight"
    assert log.evaluate(gap) < 2
    call = one.begin()
    one.say(call, "line\n\n" * 20)
    expect(page.get_by_label("Answer").last).to_contain_text("line")
    page.wait_for_timeout(100)
    assert log.evaluate(gap) < 2
    log.evaluate("log => { log.scrollTop = 40 }")
    one.say(call, "line\n\n" * 20)
    page.wait_for_timeout(100)
    assert log.evaluate("log => log.scrollTop") == 40


def test_fifty_turns_draw_one_more_quickly(stage: Any, page: Page) -> None:
    one = stage(*["question"] * 50)
    expect(page.locator(".turn")).to_have_count(100)
    page.evaluate(
        "window.added = 0; new MutationObserver(records => { window.added += records.reduce("
        "(n, r) => n + r.addedNodes.length, 0) }).observe(document.querySelector('.log'),"
        " { childList: true })"
    )
    call = one.begin()
    one.say(call, "A cat.")
    expect(one.log).to_contain_text("A cat.")
    assert page.evaluate("window.added") == 2


# ------------------------------------------------------------------ the two outputs


def test_the_ordinary_output_is_hidden_while_the_kernel_answers(stage: Any, page: Page) -> None:
    one = stage("a")
    chat_id = one.chat._chat_id
    page.evaluate(
        """id => document.body.insertAdjacentHTML("beforeend",
        `<div class="jp-OutputArea-child"><p class="ornb-static-${id}">kept</p></div>`)""",
        chat_id,
    )
    kept = page.get_by_text("kept")
    expect(kept).to_be_hidden()
    one.shown.unmount()
    expect(kept).to_be_visible()
    page.evaluate("globalThis.mount(document.getElementById('widget'))")
    expect(kept).to_be_visible()  # no kernel has answered this view yet
    one.carry()
    expect(kept).to_be_hidden()


def test_a_page_that_was_loaded_again_knows_that_it_no_longer_saves(stage: Any, page: Page) -> None:
    one = stage("a")
    note = page.get_by_text("new answers are not saved")
    expect(note).to_be_hidden()
    one.chat._handle, one.chat._page = object(), "the page before"
    one.chat._tell_state()
    one.to_page()
    expect(note).to_be_visible()
    note.click()
    expect(page.get_by_text("Run the cell that shows this chat once more")).to_be_visible()


def test_two_views_show_the_same(stage: Any, page: Page) -> None:
    one = stage("a")
    second = one.shown.mount_again()
    call = one.begin()
    one.say(call, "A cat.")
    expect(second).to_contain_text("A cat.")
    expect(page.get_by_role("log").first).to_contain_text("A cat.")


def test_motion_is_left_out_for_those_who_ask(stage: Any, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    one = stage()
    one.begin()
    dot = page.locator(".wait i").first
    assert dot.evaluate("e => getComputedStyle(e).animationName") == "none"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_about(stage: Any, page: Page, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    one = stage("a question")
    one.shown.theme(theme)
    call = one.begin("Show code")
    text = "See [this](https://example.org):\n\n```python\nx = 1  # one\n```\n\n> quoted\n"
    one.say(call, "Hm.", "reasoning")
    one.say(call, text)
    one.end(call, reply(text, source="local", note="A tiny model.", status="error", error="Cut."))
    one.chat._tell("refused", text="Not now.", prompt="")
    one.to_page()
    expect(page.get_by_role("alert")).to_be_visible()
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert serious == []


# ------------------------------------------------------------------ hostile text


def test_no_field_of_an_answer_is_taken_for_html(stage: Any, page: Page) -> None:
    one = stage()
    call = one.begin(EVIL)
    one.say(call, EVIL, "reasoning")
    call.error = OrnbError(EVIL)
    said = Reply(
        reasoning=EVIL, model=EVIL, provider=EVIL, note=EVIL, finish_reason=EVIL, images=(EVIL,)
    )
    one.end(call, said)
    one.chat._tell("refused", text=EVIL, prompt=EVIL)
    one.to_page()
    expect(page.locator(".bubble")).to_have_text(EVIL)
    assert page.locator("#widget img").count() == 0
    assert page.evaluate("window.hit") is None


@pytest.mark.parametrize("way", ["streamed", "whole", "static"])
def test_a_hostile_answer_runs_nothing_and_fetches_nothing(
    stage: Any, page: Page, way: str
) -> None:
    one = stage()
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    text = "\n\n".join(HOSTILE)
    if way == "streamed":
        call = one.begin()
        for i in range(0, len(text), 150):
            one.say(call, text[i : i + 150])
        one.end(call, reply(text))
    else:
        html = render(text) if way == "whole" else reply_html(reply(text, reasoning=text))
        page.evaluate("html => { document.getElementById('widget').innerHTML = html }", html)
    page.evaluate(
        """() => { for (const element of document.querySelectorAll("#widget *"))
          for (const kind of ["mouseover", "mouseenter", "focus", "toggle", "load", "error"])
            element.dispatchEvent(new Event(kind)); }"""
    )
    page.wait_for_timeout(200)
    assert dialogs == []
    hrefs = page.eval_on_selector_all("#widget a", "links => links.map(link => link.protocol)")
    assert set(hrefs) <= {"http:", "https:", "mailto:"}
    outside = page.eval_on_selector_all(
        "#widget .ornb-text *",
        "elements => elements.filter(e => getComputedStyle(e).position === 'fixed').length",
    )
    assert outside == 0


# ------------------------------------------------------------------ in JupyterLab

CHAT = "import ornb\nchat = ornb.Chat('openai/gpt-4o-mini')\nchat"


def test_a_conversation_in_jupyterlab_lasts(lab: Any) -> None:
    notebook = lab.open([CHAT, "chat.ask('Before you came?').status"])
    notebook.run_all()
    out = notebook.output(0)
    box = out.get_by_label(BOX)
    expect(out.get_by_label("Answer")).to_have_count(1)
    box.click()
    lab.page.keyboard.type("abdd00")  # JupyterLab's shortcuts, were they not caught
    lab.page.keyboard.press("Shift+Enter")
    lab.page.keyboard.type("What is a token?")
    lab.page.keyboard.press("Enter")
    expect(out.get_by_label("Answer")).to_have_count(2)
    last = out.get_by_label("Answer").last
    expect(last).to_have_attribute("aria-busy", "false", timeout=15_000)
    expect(last).to_contain_text("canned answer")
    assert notebook.locator(".jp-Cell").count() == 2
    assert notebook.python("len(chat.conversation)") == 4
    assert notebook.python("list(ornb.usage.df['label'])") == ["chat", "chat"]

    notebook.save()
    kept = next(o["data"] for o in notebook.outputs(0) if MIME_TRANSCRIPT in o.get("data", {}))
    assert len(Conversation.from_json(kept[MIME_TRANSCRIPT])) == 4

    notebook = notebook.reload()  # the kernel lives: the chat is there, and knows its limit
    expect(notebook.output(0).get_by_label("Answer")).to_have_count(2)
    expect(notebook.output(0)).to_contain_text("new answers are not saved")
    notebook.python("get_ipython().run_cell('pass').success")

    notebook = notebook.close_and_reopen()  # the kernel is gone: the ordinary output is there
    expect(notebook.output(0).locator("blockquote").first).to_have_text("Before you came?")
    expect(notebook.output(0)).to_contain_text("canned answer")
    expect(notebook.output(0)).to_contain_text("Error displaying widget")  # JupyterLab's own line
    assert all("widget model not found" in line for line in lab.console_errors)
    lab.console_errors.clear()


@pytest.fixture
def stalling() -> Iterator[str]:
    """Address of a server that begins to answer and falls silent."""
    from tests.wire import STREAM, WireServer, delta

    with WireServer([STREAM, delta("Half an answer"), "stall"]) as server:
        yield server.url


def test_stop_in_jupyterlab_ends_a_silent_answer_at_once(lab: Any, stalling: str) -> None:
    setup = (
        f"import ornb\nornb.connect(base_url={stalling!r})\nchat = ornb.Chat('acme/orbit')\nchat"
    )
    notebook = lab.open([setup])
    notebook.run_all()
    out = notebook.output(0)
    out.get_by_label(BOX).fill("Hi")
    out.get_by_role("button", name="Send").click()
    expect(out.get_by_label("Answer")).to_contain_text("Half an answer")
    began = time.perf_counter()
    out.get_by_role("button", name="Stop").click()
    expect(out.get_by_label("Answer")).to_contain_text("stopped")
    assert time.perf_counter() - began < 1
    assert notebook.python("chat.conversation.head.text") == "Half an answer"
    notebook.save()
    assert "stopped" in json.dumps(notebook.outputs(0))


def test_the_interrupt_button_ends_a_blocking_ask(lab: Any, stalling: str) -> None:
    setup = (
        f"import ornb\nornb.connect(base_url={stalling!r})\nchat = ornb.Chat('acme/orbit')\nchat"
    )
    notebook = lab.open([setup, "chat.ask('Hi')"])
    notebook.start_all()
    expect(notebook.output(0).get_by_label("Answer")).to_contain_text("Half an answer")
    notebook.interrupt()
    notebook.wait_idle(seconds=5)
    assert notebook.errors() == ["cell 1: KeyboardInterrupt: "]
    expect(notebook.output(0).get_by_label("Answer")).to_contain_text("stopped")


def test_an_answer_in_a_cell_streams_in_jupyterlab(lab: Any) -> None:
    notebook = lab.open(["import ornb", "%%ornb openai/gpt-4o-mini --into reply\nWhat is it?"])
    notebook.run_all()
    expect(notebook.output(1)).to_contain_text("canned answer")
    assert notebook.python("reply.status") == "ok"


def test_the_widget_of_a_chat_has_a_name_for_readers_without_it() -> None:
    assert repr(Chat()) == "Chat, 0 messages (needs a running kernel)"
