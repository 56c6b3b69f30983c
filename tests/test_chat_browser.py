"""The chat in a real browser: in a bare page, then in JupyterLab with a kernel."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

import ornb
from ornb.api.reply import Event, Reply, Timing
from ornb.messages import MIME_TRANSCRIPT, Conversation
from ornb.notebook.chat import Chat
from ornb.notebook.live import LiveAnswer
from ornb.text.markdown import render
from ornb.text.rendering import reply_html
from tests.axe import violations
from tests.esm import LONGEST_S
from tests.hostile import Trap
from tests.stages import BOX, reply
from tests.test_rendering import HOSTILE
from tests.wire import DONE, FINISH, STREAM, WireServer, delta, event, whole

pytestmark = pytest.mark.browser

EVIL = '<img src="https://host.example/x.png" onerror="window.hit = 1">'


@pytest.fixture
def stage(chat_stage: Any) -> Any:
    return chat_stage


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
    expect(page.get_by_role("status")).to_contain_text("your message is kept")
    one.begun()
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
    one.tell("refused", text="An answer is still being written.", prompt="a")
    expect(page.get_by_role("alert")).to_contain_text("still being written")
    expect(one.box).to_have_value("a")
    expect(one.box).to_be_editable()


def test_a_question_that_failed_comes_back_into_the_box(stage: Any, page: Page) -> None:
    one = stage()
    one.begin("What is it?")
    one.end(Reply(), error="No key.")
    expect(one.log).to_contain_text("No key.")
    expect(one.box).to_have_value("What is it?")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()


def test_stop_is_a_click_or_escape_and_does_not_move(stage: Any, page: Page) -> None:
    one = stage()
    stop = page.get_by_role("button", name="Stop")
    expect(stop).to_be_disabled()
    before = stop.bounding_box()
    one.begin()
    one.say("A cat.\n\n" * 30)
    expect(stop).to_be_enabled()
    assert stop.bounding_box() == before
    stop.click()
    expect(page.get_by_role("status")).to_have_text("Stopping …")
    one.box.press("Escape")
    assert len(one.sent("stop")) == 1
    expect(page.get_by_role("status")).to_contain_text("interrupting it stops")


# ------------------------------------------------------------------ the answer


def test_an_answer_grows_and_ends_with_its_facts(stage: Any, page: Page) -> None:
    one = stage()
    one.begin()
    answer = page.get_by_label("Answer")
    expect(page.get_by_label("Waiting for the first word")).to_be_visible()
    one.say("Hm.", kind="reasoning")
    expect(answer.get_by_text("Thinking …")).to_be_visible()
    expect(answer.get_by_text("Hm.")).to_be_hidden()
    text = "A *cat* 😀.\n\n```python\nx = 1\n```\n\nIt **pur"
    one.say(text)
    expect(answer).to_contain_text("It **pur")
    assert answer.get_attribute("aria-busy") == "true"
    one.say("rs**.")
    expect(answer.locator("strong")).to_have_text("purrs")
    one.end(reply(text + "rs**.", provider="NorthCloud", timing=Timing(duration_s=2)))
    expect(answer).to_contain_text("NorthCloud")
    expect(answer.locator("footer")).to_have_text(
        re.compile("live.*NorthCloud.*22 → 9 tokens.*billed.*2.00 s")
    )
    assert answer.get_attribute("aria-busy") == "false"
    answer.get_by_text("Thought for").click()
    expect(answer.get_by_text("Hm.")).to_be_visible()


def test_a_lost_message_makes_the_page_ask_for_the_whole(stage: Any, page: Page) -> None:
    one = stage("first")
    one.begin()
    one.say("A cat ")
    one.said.say("text", "that ")
    one.lose()
    one.say_until_it_greets(lambda: one.say("purrs. "))
    one.carry()
    expect(one.log).to_contain_text("A cat that purrs. ")
    one.say("So.")
    expect(one.log).to_contain_text("purrs. So.")
    expect(page.locator(".turn")).to_have_count(4)


def test_a_link_defined_late_is_right_at_the_end(stage: Any, page: Page) -> None:
    one = stage()
    one.begin()
    text = "See [this][k].\n\nMore.\n\n[k]: https://example.org/k\n"
    one.say(*text.splitlines(keepends=True))
    one.end(reply(text))
    link = page.get_by_role("link", name="this")
    expect(link).to_have_attribute("href", "https://example.org/k")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(one.log.get_by_text("See")).to_have_count(1)


def test_code_can_be_copied(stage: Any, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    one = stage()
    one.begin()
    one.say("```python\nx = '<b>'\n```\n")
    one.end(reply("```python\nx = '<b>'\n```\n"))
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "x = '<b>'\n"


def test_the_end_is_followed_unless_one_reads_further_up(stage: Any, page: Page) -> None:
    one = stage(*["question " * 40] * 8)
    log = one.log
    gap = "log => log.scrollHeight - log.scrollTop - log.clientHeight"
    assert log.evaluate(gap) < 2
    one.begin()
    one.say("line\n\n" * 20)
    expect(page.get_by_label("Answer").last).to_contain_text("line")
    assert log.evaluate(gap) < 2
    log.evaluate("log => { log.scrollTop = 40 }")
    one.say("line\n\n" * 20 + "end\n\n")
    expect(page.get_by_label("Answer").last).to_contain_text("end")
    assert log.evaluate("log => log.scrollTop") == 40


def test_one_who_reads_further_up_can_jump_to_the_newest(stage: Any, page: Page) -> None:
    one = stage(*["question " * 40] * 8)
    jump = page.get_by_role("button", name="Jump to newest")
    expect(jump).to_be_hidden()
    one.log.evaluate("log => { log.scrollTop = 40 }")
    expect(jump).to_be_visible()
    jump.press("Enter")
    expect(jump).to_be_hidden()
    expect(one.log).to_be_focused()
    assert one.log.evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight") < 2


def test_the_box_is_below_the_conversation_for_the_eye_and_the_keyboard(
    stage: Any, page: Page
) -> None:
    one = stage("a")
    log, box = one.log.bounding_box(), one.box.bounding_box()
    assert log["y"] + log["height"] <= box["y"]
    one.log.focus()
    last = page.get_by_role("button", name="Try again")
    while not last.evaluate("button => button.matches(':focus')"):
        assert not one.box.evaluate("box => box.matches(':focus')"), "the box came first"
        page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Attach")).to_be_focused()
    page.keyboard.press("Tab")
    expect(one.box).to_be_focused()


SEEN = "all => all.map(one => getComputedStyle(one).opacity)"


def test_what_can_be_done_with_the_last_answer_is_seen_without_a_pointer(
    stage: Any, page: Page
) -> None:
    page.emulate_media(reduced_motion="reduce")
    stage("a", "b")
    page.mouse.move(0, 0)
    actions = page.locator(".turn .actions")
    assert actions.evaluate_all(SEEN) == ["0", "0", "1", "1"]
    touch = page.context.new_cdp_session(page)
    touch.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    size = {"width": 700, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    touch.send("Emulation.setDeviceMetricsOverride", size)
    assert page.evaluate("matchMedia('(hover: none)').matches")
    assert actions.evaluate_all(SEEN) == ["1"] * 4
    touch.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
    touch.send("Emulation.clearDeviceMetricsOverride")


def test_that_the_model_is_tiny_is_said_once(stage: Any, page: Page) -> None:
    one = stage()
    for question in ("a", "b"):
        one.begin(question)
        one.end(reply("An answer.", source="local", note="A tiny model."))
    expect(page.get_by_label("Answer").last.locator(".facts")).to_be_visible()
    expect(page.get_by_text("A tiny model.")).to_have_count(1)
    expect(page.get_by_text("A tiny model.")).to_be_visible()
    one.chat.clear()
    one.to_page()
    expect(page.get_by_text("A tiny model.")).to_be_hidden()


def test_an_answer_that_ends_and_is_taken_away_before_it_is_drawn_leaves_nothing(
    stage: Any, page: Page
) -> None:
    one = stage()
    one.begin("a")
    page.evaluate("new Promise(requestAnimationFrame)")  # what is to be drawn by now is drawn
    page.evaluate("() => { globalThis.draws = []; requestAnimationFrame = (f) => draws.push(f); }")
    one.end(reply("An answer."))
    one.chat.clear()
    one.to_page()
    assert page.evaluate("draws.splice(0).map((draw) => draw()).length") > 0
    expect(one.log.get_by_label("Answer")).to_have_count(0)
    expect(page.get_by_role("status")).to_have_text("")


@pytest.mark.parametrize("form", ["Markdown", "JSON", "Notebook"])
def test_a_copy_is_saved_by_a_button(stage: Any, page: Page, tmp_path: Any, form: str) -> None:
    one = stage(EVIL)
    opener = page.get_by_role("button", name="Save a copy")
    opener.press("Enter")
    expect(page.get_by_role("button", name="Markdown")).to_be_focused()
    page.get_by_role("button", name=form).press("Enter")
    expect(opener).to_be_focused()
    with page.expect_download() as download:
        one.carry()
        one.hear("exported")
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.read_bytes() == one.chat.save(tmp_path / f"x{saved.suffix}").read_bytes()
    if form == "JSON":
        assert Chat.reopen(saved).conversation.path[0].text == EVIL


def test_a_copy_that_another_page_asked_for_is_not_saved_in_this_one(
    stage: Any, page: Page
) -> None:
    one = stage("a")
    page.evaluate("() => { URL.createObjectURL = () => { window.hit = 1; return 'data:,' } }")
    one.tell("exported", page="another", name="chat.md", text="a")
    one.tell("refused", text="Heard.", prompt="")
    expect(page.get_by_role("alert")).to_have_text("Heard.")
    assert page.evaluate("window.hit") is None


def test_there_is_nothing_to_save_before_anything_is_said(stage: Any, page: Page) -> None:
    stage()
    expect(page.get_by_text("No messages yet.")).to_be_visible()
    expect(page.get_by_role("button", name="Save a copy")).to_be_disabled()


def test_fifty_turns_draw_one_more_quickly(stage: Any, page: Page) -> None:
    one = stage(*["question"] * 50)
    expect(page.locator(".turn")).to_have_count(100)
    page.evaluate(
        "window.added = 0; new MutationObserver(records => { window.added += records.reduce("
        "(n, r) => n + r.addedNodes.length, 0) }).observe(document.querySelector('.log'),"
        " { childList: true })"
    )
    one.begin()
    one.say("A cat.")
    expect(one.log).to_contain_text("A cat.")
    assert page.evaluate("window.added") == 2


# ------------------------------------------------------------------ the two outputs


def test_the_ordinary_output_is_hidden_while_the_kernel_answers(stage: Any, page: Page) -> None:
    one = stage("a")
    page.evaluate(
        """id => document.body.insertAdjacentHTML("beforeend",
        `<div class="jp-OutputArea-child"><p class="ornb-static-${id}">kept</p></div>`)""",
        one.shown.get("_lasting_id"),
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
    one.tell("state", **one.whole | {"page": "the page before"})
    expect(note).to_be_visible()
    note.click()
    expect(page.get_by_text("Run the cell that shows this chat once more")).to_be_visible()


def test_two_views_show_the_same(stage: Any, page: Page) -> None:
    one = stage("a")
    second = one.shown.mount_again()
    one.begin()
    one.say("A cat.")
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
    one = stage("a question", theme=theme)
    one.begin("Show code")
    text = "See [this](https://example.org):\n\n```python\nx = 1  # one\n```\n\n> quoted\n"
    one.say("Hm.", kind="reasoning")
    one.say(text)
    one.end(reply(text, source="local", note="A tiny model."), error="Cut.")
    one.chat.conversation.add_reply(
        reply("Again.", reasoning="Hm."),
        parent_id="3",
        steps=[{"role": "tool", "tool_call_id": "1", "content": "3"}],
    )
    one.to_page()
    page.get_by_role("button", name="Settings").click()
    one.carry()
    one.hear("settings")
    expect(page.get_by_label("temperature", exact=True)).to_be_visible()
    one.tell("refused", text="Not now.", prompt="")
    expect(page.get_by_role("alert").first).to_have_text("Not now.")
    assert violations(page, serious=True) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_what_leads_down_and_saves(stage: Any, page: Page, theme: str) -> None:
    page.emulate_media(reduced_motion="reduce")
    one = stage(*["question " * 40] * 8, theme=theme)
    one.begin()
    one.end(reply("An answer.", source="local", note="A tiny model."))
    expect(page.get_by_text("A tiny model.")).to_be_visible()
    one.log.evaluate("log => { log.scrollTop = 40 }")
    expect(page.get_by_role("button", name="Jump to newest")).to_be_visible()
    page.get_by_role("button", name="Save a copy").click()
    assert violations(page, serious=True) == []


# ------------------------------------------------------------------ again, otherwise, elsewhere


def test_an_answer_is_had_again_and_its_versions_switched(stage: Any, page: Page) -> None:
    one = stage("a", "b")
    last = page.get_by_label("Answer").last
    last.hover()
    last.get_by_role("button", name="Try again").click()
    assert one.sent("again") == [{"type": "again", "turn": "4"}]
    one.begun()
    one.say("**Again**")
    one.end(reply("**Again**"))
    expect(last).to_contain_text("2 / 2")
    expect(last.locator("strong")).to_have_text("Again")
    last.get_by_role("button", name="Version before").press("Enter")
    assert one.sent("go") == [{"type": "go", "turn": "4"}]
    one.carry()
    expect(last).to_contain_text("1 / 2")
    expect(last).not_to_contain_text("Thinking")
    expect(last).to_contain_text("B")
    expect(last.get_by_role("button", name="Next version")).to_be_focused()
    expect(page.locator(".turn")).to_have_count(4)


def test_an_answer_under_way_is_not_shown_under_another_branch(stage: Any, page: Page) -> None:
    one = stage("a", "b")
    one.begin("c")
    talk, answers = one.chat.conversation, page.get_by_label("Answer")
    expect(answers).to_have_count(3)
    talk.go_to("2")  # by code: the page's own arrows wait for the answer
    one.to_page()
    expect(answers).to_have_count(1)
    expect(one.log).not_to_contain_text("Thinking")
    one.say("Here.")
    expect(answers).to_have_count(1)
    talk.go_to("5")
    one.to_page()
    expect(answers).to_have_count(3)
    expect(answers.last).to_contain_text("Here.")
    one.end(reply("Here."))
    expect(answers.last).to_have_attribute("aria-busy", "false")


def test_another_model_is_named_before_it_is_asked(stage: Any, page: Page) -> None:
    one = stage("a")
    one.chat.model = "lab/small"
    one.to_page()
    again = page.get_by_role("button", name="Try again with lab/small")
    expect(again).to_have_count(1)


def test_a_question_is_edited_with_the_keyboard_alone(stage: Any, page: Page) -> None:
    one = stage("first", "second")
    edit = page.get_by_role("button", name="Edit, and go on from here").first
    edit.focus()
    expect(edit).to_be_visible()
    edit.press("Enter")
    box = page.get_by_label("New wording")
    expect(box).to_be_focused()
    expect(box).to_have_value("first")
    box.press("Escape")
    expect(edit).to_be_focused()
    edit.press("Enter")
    box.fill("other")
    box.press("Enter")
    assert one.sent("edit") == [{"type": "edit", "turn": "1", "text": "other"}]


def test_a_question_asked_again_takes_the_place_of_its_answer(stage: Any, page: Page) -> None:
    one = stage("a")
    page.get_by_role("button", name="Try again").click()
    one.begun()
    one.say("New.")
    expect(page.get_by_label("Answer")).to_have_count(1)
    expect(page.get_by_role("button", name="Edit")).to_be_disabled()
    one.end(reply("New."))
    expect(page.get_by_label("Answer")).to_contain_text("2 / 2")
    expect(page.get_by_role("button", name="Edit")).to_be_enabled()


# ------------------------------------------------------------------ settings, files, tools


def test_the_drawer_opens_sets_and_closes_with_the_keyboard(stage: Any, page: Page) -> None:
    one = stage(temperature=0.5, system="Be brief.")
    gear = page.get_by_role("button", name="Settings")
    gear.press("Enter")
    one.carry()
    one.hear("settings")
    field = page.get_by_label("temperature", exact=True)
    expect(field).to_have_value("0.5")
    expect(page.get_by_label("System", exact=True)).to_have_value("Be brief.")
    field.fill("5")
    field.press("Tab")
    assert one.sent("set") == [{"type": "set", "name": "temperature", "value": 5}]
    one.carry()
    one.hear("settings")
    expect(page.get_by_role("alert")).to_contain_text("takes 0 to 2")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_value("5")
    field.press("Escape")
    expect(field).to_be_hidden()
    expect(gear).to_be_focused()


@pytest.fixture
def choosing(stage: Any, speaker: Any, page: Page) -> Any:
    """A chat whose service lists the snapshot's models, and whose header was just clicked."""
    speaker.models = ornb.connect(offline=True).models
    one = stage("a question")
    page.get_by_role("button", name="acme/orbit", exact=True).click()
    one.carry()
    one.hear("settings")
    return one


def options(page: Page) -> list[str]:
    return page.get_by_role("option").locator(".id").all_text_contents()


def test_the_header_chooses_a_model_by_search_and_keyboard(choosing: Any, page: Page) -> None:
    """As forgiving as the picker: the best match first, and Enter takes it."""
    search = page.get_by_role("combobox", name="Model to ask next")
    expect(search).to_be_focused()
    search.fill("gpt4o")
    assert options(page)[0] == "openai/gpt-4o"
    search.press("ArrowDown")
    search.press("ArrowUp")
    active = page.locator(f"[id='{search.get_attribute('aria-activedescendant')}']")
    expect(active).to_contain_text("openai/gpt-4o")
    expect(active).to_contain_text("$2.50 → $10.00 per M · 128k tokens")
    search.press("Enter")
    choosing.carry()
    choosing.hear("settings")
    choosing.carry()
    expect(search).to_be_hidden()
    expect(choosing.box).to_be_focused()
    expect(page.get_by_role("button", name="openai/gpt-4o", exact=True)).to_be_visible()
    assert choosing.chat.model == "openai/gpt-4o"
    choosing.begin()
    assert choosing.chat.conversation.path[-1].text == "What is it?"


def test_a_model_that_another_unit_is_billed_by_has_no_price_a_token(
    choosing: Any, page: Page
) -> None:
    page.get_by_role("combobox", name="Model to ask next").fill("lyria")
    expect(page.get_by_role("option").first).to_contain_text("other unit")


def test_the_header_refuses_what_is_no_model_and_shows_what_is_near(
    choosing: Any, page: Page
) -> None:
    """Before a question is sent; a slip is put right, and Enter does not take a guess."""
    search = page.get_by_role("combobox", name="Model to ask next")
    search.fill("anthropc")
    expect(page.locator(".models .note")).to_have_text(
        "Nothing fits “anthropc”; near it is “anthropic”:"
    )
    assert options(page)[0].startswith("anthropic/")
    search.press("Enter")
    choosing.carry()
    choosing.hear("settings")
    expect(page.locator(".models .trouble")).to_contain_text(
        "'anthropc' is not among the models listed"
    )
    assert choosing.chat.model == "acme/orbit"
    search.fill("xyzzy")
    expect(page.locator(".models .note")).to_have_text("No model fits “xyzzy”.")
    expect(page.locator(".models .trouble")).to_be_hidden()
    assert options(page) == []
    search.press("Escape")
    expect(search).to_be_hidden()
    expect(page.get_by_role("button", name="acme/orbit", exact=True)).to_be_focused()


def test_a_click_chooses_and_a_wish_behind_an_id_is_let_through(choosing: Any, page: Page) -> None:
    search = page.get_by_role("combobox", name="Model to ask next")
    search.fill("openai/gpt-4o-mini:nitro")
    search.press("Enter")
    choosing.carry()
    choosing.hear("settings")
    choosing.carry()
    page.get_by_role("button", name="openai/gpt-4o-mini:nitro", exact=True).click()
    search.fill("claude sonnet 4.5")
    page.get_by_role("option").first.click()
    choosing.carry()
    choosing.hear("settings")
    assert choosing.chat.model == "anthropic/claude-sonnet-4.5"


def test_where_no_list_comes_an_id_is_typed(stage: Any, page: Page) -> None:
    one = stage()
    page.get_by_role("button", name="acme/orbit", exact=True).click()
    one.carry()
    one.hear("settings")
    expect(page.locator(".models .note")).to_have_text(
        "No list of models came: type an id and press Enter."
    )
    search = page.get_by_role("combobox", name="Model to ask next")
    search.fill("llama3")
    search.press("Enter")
    one.carry()
    one.hear("settings")
    assert one.chat.model == "llama3"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [900, 420])
def test_the_list_of_models_fits_and_axe_finds_nothing(
    choosing: Any, page: Page, theme: str, width: int
) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 700})
    page.get_by_role("combobox", name="Model to ask next").fill("claude")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page, serious=True) == []


def png(page: Page) -> list[int]:
    """The bytes of a small picture that a browser can draw."""
    script = """async () => { const c = document.createElement("canvas"); c.width = c.height = 4;
      const blob = await new Promise((done) => c.toBlob(done));
      return [...new Uint8Array(await blob.arrayBuffer())]; }"""
    data: list[int] = page.evaluate(script)
    return data


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_is_shown_before_it_is_sent_and_can_be_taken_away(
    stage: Any, page: Page, way: str
) -> None:
    one = stage()
    data = png(page)
    page.evaluate(
        """([data, way]) => {
          const file = new File([new Uint8Array(data)], "cat.png", { type: "image/png" });
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(file);
          const options = { bubbles: true, cancelable: true };
          const event = way === "drop" ? new DragEvent("drop", { ...options, dataTransfer })
            : new ClipboardEvent("paste", { ...options, clipboardData: dataTransfer });
          document.querySelector(".composer textarea").dispatchEvent(event);
        }""",
        [data, way],
    )
    expect(page.get_by_role("img", name="cat.png")).to_be_visible()
    page.wait_for_function("sent.some((message) => message.type === 'attach')")
    sent = one.sent("attach")[0]
    one.carry()
    one.hear("attached")
    one.box.press("Enter")
    assert one.sent("ask") == [{"type": "ask", "text": "", "files": [sent["id"]]}]
    one.tell("refused", text="Not now.", prompt="")
    page.get_by_role("button", name="Remove cat.png").click()
    expect(page.get_by_role("img", name="cat.png")).to_have_count(0)
    assert one.sent("detach")[0]["id"] == sent["id"]


def test_what_cannot_be_read_is_no_file_that_a_question_waits_for(stage: Any, page: Page) -> None:
    """A folder that is dropped, or what was moved away meanwhile."""
    one = stage()
    page.evaluate(
        """() => {
          Blob.prototype.arrayBuffer = () => Promise.reject(new DOMException("", "NotFoundError"));
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([], "holiday"));
          document.querySelector(".composer textarea").dispatchEvent(
            new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer }));
        }"""
    )
    expect(page.get_by_text("holiday cannot be read")).to_be_visible()
    expect(page.locator(".waiting .file")).to_have_count(0)
    assert one.sent("attach") == []


def see_tool(one: Any, state: str) -> None:
    """Bring what is said of tools to the page, until the last of them is in a state."""
    while one.hear("tool")["call"].get("state") != state:
        pass


def test_a_tool_asks_with_its_name_and_arguments(stage: Any, page: Page) -> None:
    def echo(text: str) -> str:
        """Say it again."""
        return text

    one = stage(tools=[echo])
    one.begin()
    asked = [
        {"id": name, "function": {"name": name, "arguments": json.dumps({"text": EVIL})}}
        for name in (EVIL, "echo")
    ]
    one.said.end(Reply(tool_calls=tuple(asked), finish_reason="tool_calls"))
    see_tool(one, "asking")
    expect(page.get_by_role("status")).to_have_text("Waiting for you")
    page.get_by_role("button", name="Run").press("Enter")
    assert one.sent("allow") == [{"type": "allow", "id": "echo", "yes": True}]
    one.begun()
    see_tool(one, "ok")
    expect(page.get_by_role("button", name="Run")).to_have_count(0)
    unknown, run = page.locator(".step").all()
    expect(unknown.locator("summary")).to_contain_text(EVIL)
    run.locator("summary").click()
    expect(run.locator("pre").last).to_have_text(EVIL)
    assert page.locator("#widget img").count() == 0
    one.end(reply("Done."))


def test_a_picture_that_the_model_made_is_shown(stage: Any, page: Page) -> None:
    one = stage()
    one.begin()
    made = "data:image/png;base64," + base64.b64encode(bytes(png(page))).decode()
    remote = "https://localhost:8/track.png"
    one.end(reply("", images=(made, remote)))
    picture = page.get_by_label("Answer").locator("img")  # an icon has that role too
    expect(picture).to_have_count(1)
    size = "image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])"
    assert picture.evaluate(size) == [4, 4]


def test_names_of_any_script_leave_the_numbers_in_their_place(stage: Any, page: Page) -> None:
    one = stage()
    one.begin()
    one.end(reply("A", provider="\u05e2\u05e0\u05df \u202e"))
    pieces = page.locator(".facts > span:not(.badge, .actions)")
    assert pieces.first.evaluate("piece => getComputedStyle(piece).unicodeBidi") == "isolate"
    places = [box["x"] for box in map(Locator.bounding_box, pieces.all()) if box]
    assert places == sorted(places)


def test_a_remote_picture_waits_for_a_click(stage: Any, page: Page) -> None:
    one = stage()
    one.begin()
    text = "![a cat](https://localhost:8/cat.png)"
    one.say(text)
    one.end(reply(text))
    load = page.get_by_role("button", name="Load image")
    expect(load).to_be_visible()
    assert one.shown.refused == []
    with page.expect_console_message(lambda line: "ERR_FAILED" in line.text):
        load.click()
    assert one.shown.refused == ["https://localhost:8/cat.png"]
    one.shown.refused.clear()
    one.shown.complaints.clear()


# ------------------------------------------------------------------ hostile text


def test_no_field_of_an_answer_is_taken_for_html(stage: Any, page: Page) -> None:
    one = stage()
    one.begin(EVIL)
    one.say(EVIL, kind="reasoning")
    said = Reply(
        reasoning=EVIL, model=EVIL, provider=EVIL, note=EVIL, finish_reason=EVIL, images=(EVIL,)
    )
    one.end(said, error=EVIL)
    one.tell("refused", text=EVIL, prompt=EVIL)
    expect(page.locator(".bubble")).to_have_text(EVIL)
    assert page.locator("#widget img").count() == 0
    assert page.evaluate("window.hit") is None


@pytest.mark.parametrize("way", ["streamed", "whole", "static"])
def test_a_hostile_answer_runs_nothing_and_fetches_nothing(
    stage: Any, page: Page, way: str
) -> None:
    one, trap = stage(), Trap(page)
    text = "\n\n".join(HOSTILE)
    if way == "streamed":
        one.begin()
        answer = LiveAnswer()
        for i in range(0, len(text), 150):
            answer.add(Event("text", text[i : i + 150]))
            one.tell("delta", **(answer.patch() or {}))
        one.tell("done", turn={"id": "2", "role": "assistant"}, change=answer.finish())
    else:
        html = render(text) if way == "whole" else reply_html(reply(text, reasoning=text))
        page.evaluate("html => { document.getElementById('widget').innerHTML = html }", html)
    page.evaluate(
        """() => { for (const element of document.querySelectorAll("#widget *"))
          for (const kind of ["mouseover", "mouseenter", "focus", "toggle", "load", "error"])
            element.dispatchEvent(new Event(kind)); }"""
    )
    trap.assert_nothing_happened()
    links = "links => links.map(link => link.protocol)"
    hrefs = page.eval_on_selector_all("#widget a[href]", links)
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
    expect(last).to_have_attribute("aria-busy", "false")
    expect(last).to_contain_text("canned answer")
    assert notebook.locator(".jp-Cell").count() == 2
    assert notebook.python("len(chat.conversation)") == 4
    assert notebook.python("list(ornb.usage.df['label'])") == ["chat", "chat"]

    notebook.save()
    assert len(Conversation.load(notebook.file)) == 4

    notebook = notebook.reload()  # the kernel lives: the chat is there, and goes on saving
    out = notebook.output(0)
    expect(out.get_by_label("Answer")).to_have_count(2)
    expect(out.get_by_text("new answers are not saved")).to_be_hidden()
    out.get_by_label(BOX).fill("And after?")
    out.get_by_label(BOX).press("Enter")
    expect(out.get_by_label("Answer")).to_have_count(3)
    expect(out.get_by_label("Answer").last).to_have_attribute("aria-busy", "false")
    notebook.wait_output(0, "And after?")
    notebook.save()
    saved = Conversation.load(notebook.file)
    assert saved.to_json() == notebook.python("chat.conversation.to_json()")
    assert saved.path[4].text == "And after?"

    notebook = notebook.close_and_reopen()  # the kernel is gone: the ordinary output is there
    expect(notebook.output(0).locator("blockquote").first).to_have_text("Before you came?")
    expect(notebook.output(0)).to_contain_text("canned answer")
    expect(notebook.output(0)).to_contain_text("Error displaying widget")  # JupyterLab's own line
    assert all("widget model not found" in line for line in lab.console_errors)
    lab.console_errors.clear()


LONG = """from ornb.api.reply import Reply
talk = chat.conversation
for n in range(30):
    talk.add_user(f"Question {n}?")
    talk.add_reply(Reply(text=f"Answer {n}. " + "It is so. " * 500, model="acme/orbit"))
"""


def test_a_long_conversation_takes_several_outputs_of_its_cell(lab: Any) -> None:
    notebook = lab.open([CHAT]).run_all()
    out = notebook.output(0)
    expect(out.get_by_label(BOX)).to_be_visible()
    notebook.wait_said("said.type === 'kept'")
    notebook.python(f"exec({LONG!r})")
    expect(out.get_by_label("Answer")).to_have_count(30)
    notebook.wait_output(0, "Answer 29.")
    notebook.save()

    def pieces() -> list[str]:
        found = [each.get("data", {}) for each in notebook.outputs(0)]
        return [data["text/plain"] for data in found if MIME_TRANSCRIPT in data]

    before = pieces()
    assert 3 < len(before) < 8
    assert Conversation.load(notebook.file).to_json() == notebook.python("talk.to_json()")
    expect(out.locator(".ornb-static").last).to_be_hidden()
    notebook.python("talk.add_user('Another question 25?', parent_id=talk.path[49].id).id")
    notebook.wait_output(0, "Another question 25?")
    notebook.save()
    after = pieces()
    assert Conversation.load(notebook.file).to_json() == notebook.python("talk.to_json()")
    assert after[:3] == before[:3]
    assert "Answer 29." not in "".join(after)
    notebook.python("talk.go_to(talk.tip('60'))")
    notebook.wait_output(0, "Answer 29.")
    notebook.save()
    assert pieces() == before

    notebook = notebook.close_and_reopen()
    shown = notebook.output(0)
    expect(shown.get_by_text("Error displaying widget")).to_be_attached()
    expect(shown.get_by_text("Error displaying widget")).to_be_hidden()
    expect(shown.get_by_text("ornb.Chat.reopen(")).to_have_count(1)
    text = shown.inner_text()
    places = [text.index(f"Answer {n}.") for n in range(30)]
    assert places == sorted(places)
    assert all("widget model not found" in line for line in lab.console_errors)
    lab.console_errors.clear()


def test_a_chat_whose_kept_output_was_removed_says_that_it_saves_no_more(lab: Any) -> None:
    notebook = lab.open([CHAT, "pass"]).run_all()
    out = notebook.output(0)
    notebook.wait_said("said.type === 'kept'")
    notebook.page.evaluate(
        """path => { const { outputs } = ornbTest.panel(path).content.widgets[0].model;
        outputs.fromJSON(outputs.toJSON().filter(output => !output.metadata?.ornb)) }""",
        notebook.path,
    )
    expect(out.get_by_label(BOX)).to_be_visible()
    out.get_by_label(BOX).fill("Hi")
    out.get_by_label(BOX).press("Enter")
    expect(out).to_contain_text("new answers are not saved")


SETUP = "import ornb\nornb.connect(base_url={url!r})\nchat = ornb.Chat('acme/orbit')\nchat"


@pytest.fixture
def stalling() -> Iterator[WireServer]:
    """A server that begins to answer and falls silent."""
    with WireServer([STREAM, delta("Half an answer"), "stall"]) as server:
        yield server


def test_a_picture_and_a_tool_go_through_jupyterlab(lab: Any, tmp_path: Any) -> None:
    cat = tmp_path / "cat.png"
    cat.write_bytes(bytes(png(lab.page)))
    call = {"index": 0, "id": "c", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
    asks = [
        STREAM,
        delta("", tool_calls=[call]),
        event(choices=[{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]),
        DONE,
    ]
    listed = [whole({"data": [{"id": "acme/orbit"}]})]
    with WireServer(listed, asks, [STREAM, delta("It is 3."), FINISH]) as server:
        setup = (
            f"import ornb\nornb.connect(base_url={server.url!r})\n"
            "def add(a: int, b: int) -> int:\n    return a + b\n"
            "chat = ornb.Chat('acme/orbit', tools=[add])\nchat"
        )
        notebook = lab.open([setup]).run_all()
        out = notebook.output(0)
        out.locator("input[type=file]").set_input_files(cat)
        expect(out.locator(".waiting .file:not(.loading)")).to_have_count(1)
        out.get_by_label(BOX).fill("1 + 2?")
        out.get_by_label(BOX).press("Enter")
        out.get_by_role("button", name="Run").click()
        expect(out.get_by_label("Answer")).to_contain_text("It is 3.")
        expect(out.get_by_role("img", name="image.png")).to_be_visible()
        sent = json.loads(server.requests[-1][1])["messages"]
        assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
        assert sent[0]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")


def test_stop_in_jupyterlab_ends_a_silent_answer_at_once(lab: Any, stalling: WireServer) -> None:
    setup = SETUP.format(url=stalling.url)
    notebook = lab.open([setup])
    notebook.run_all()
    out = notebook.output(0)
    out.get_by_label(BOX).fill("Hi")
    out.get_by_role("button", name="Send").click()
    expect(out.get_by_label("Answer")).to_contain_text("Half an answer")
    out.get_by_role("button", name="Stop").click()
    expect(out.get_by_label("Answer")).to_contain_text("stopped")
    assert stalling.disconnected.wait(LONGEST_S), "the connection was not cut"
    assert notebook.python("chat.conversation.head.text") == "Half an answer"
    notebook.save()
    assert "stopped" in json.dumps(notebook.outputs(0))


def test_a_kernel_that_is_restarted_in_mid_answer_loses_nothing(
    lab: Any, stalling: WireServer
) -> None:
    setup = SETUP.format(url=stalling.url)
    notebook = lab.open([setup]).run_all()
    out = notebook.output(0)
    out.get_by_label(BOX).fill("Hi")
    out.get_by_role("button", name="Send").click()
    expect(out.get_by_label("Answer")).to_contain_text("Half an answer")
    notebook.wait_output(0, "Half an answer")  # it is kept a moment after it is shown
    lab.page.evaluate("jupyterapp.commands.execute('notebook:restart-kernel')")
    expect(out.get_by_label("Answer")).to_contain_text("kernel ended before")
    expect(out.get_by_label("Answer")).to_contain_text("Half an answer")
    notebook.wait_idle()
    notebook.save()
    assert "Half an answer" in json.dumps(notebook.outputs(0))


def test_the_interrupt_button_ends_a_blocking_ask(lab: Any, stalling: WireServer) -> None:
    setup = SETUP.format(url=stalling.url)
    notebook = lab.open([setup, "chat.ask('Hi')"])
    notebook.start_all()
    expect(notebook.output(0).get_by_label("Answer")).to_contain_text("Half an answer")
    notebook.interrupt()
    notebook.wait_idle()
    assert notebook.errors() == ["cell 1: KeyboardInterrupt: "]
    expect(notebook.output(0).get_by_label("Answer")).to_contain_text("stopped")


def test_an_answer_in_a_cell_streams_in_jupyterlab(lab: Any) -> None:
    notebook = lab.open(["import ornb", "%%ornb openai/gpt-4o-mini --into reply\nWhat is it?"])
    notebook.run_all()
    expect(notebook.output(1)).to_contain_text("canned answer")
    assert notebook.python("reply.status") == "ok"


def test_the_widget_of_a_chat_has_a_name_for_readers_without_it() -> None:
    assert "needs a running kernel" in repr(Chat())
