"""What a person hears, where the keyboard is, what moves, and what axe says of every state.

That each live widget passes axe as it stands is in the tests of that widget; here are the states
that come and go, and the pages that are exported.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import Browser, Page, expect

from ornb.ledger.tracker import UsageTracker
from ornb.messages import Conversation
from ornb.notebook.key import KeyForm
from ornb.notebook.panel import UsagePanel
from ornb.notebook.picker import ModelPicker
from ornb.runs.decide import Decision
from ornb.text.export import to_notebook
from ornb.text.rendering import reply_html
from tests.axe import violations
from tests.kept import transcript
from tests.lab import LONGEST_S, notebook_of, run_headless
from tests.stages import MODELS, ChatStage, reply, timed
from tests.test_key_browser import state
from tests.test_picker import MODELS as LISTED

pytestmark = pytest.mark.browser

CITED = {"url_citation": {"url": "https://example.org/cat", "title": "Cats"}}
CALL = {"id": "1", "function": {"name": "f", "arguments": '{"a": "' + "x" * 400 + '"}'}}
STEPS = [
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "1", "content": "r" * 300},
]
PIECES = [f"word{n} " for n in range(12)]

# What a screen reader would say: what is added inside live regions that are neither off nor busy,
# and the whole of a status or an alert.
LISTEN = """() => {
  globalThis.heard = [];
  const loud = (node) => {
    const from = node.nodeType === 1 ? node : node.parentElement;
    const region = from?.closest("[aria-live], [role=status], [role=alert], [role=log]");
    if (!region || from.closest("[hidden]")) return null;
    const live = region.getAttribute("aria-live") ?? "polite";
    return live === "off" || region.getAttribute("aria-busy") === "true" ? null : region;
  };
  new MutationObserver((changes) => {
    const news = new Set();
    for (const { target, addedNodes } of changes) {
      const region = loud(target);
      if (region?.matches("[role=status], [role=alert]")) news.add(region);
      else if (region) for (const node of addedNodes) news.add(node);
    }
    for (const { textContent } of news) if (textContent.trim()) heard.push(textContent.trim());
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""

MOVES = """() => {
  const moving = document.getAnimations().map((one) => one.animationName ?? one.transitionProperty);
  for (const one of document.querySelectorAll("#widget *")) {
    for (const part of [null, "::before", "::after"]) {
      const style = getComputedStyle(one, part);
      if (part && style.content === "none") continue;
      const what = `${one.localName}.${one.className} ${part ?? ""}`;
      if (style.animationName !== "none") moving.push(`${what}: ${style.animationName}`);
      if (style.transitionDuration.split(", ").some((time) => parseFloat(time))) {
        moving.push(`${what}: transition of ${style.transitionProperty}`);
      }
      if (style.scrollBehavior === "smooth") moving.push(`${what}: smooth scrolling`);
    }
  }
  return moving;
}"""


# ------------------------------------------------------------------ what is heard


@pytest.fixture
def streamed(chat_stage: Any, page: Page) -> Any:
    """What is said aloud while an answer of many pieces arrives in a chat."""

    def stream(text: str, *, stopped: bool = False, error: str = "") -> list[str]:
        one = chat_stage()
        page.evaluate(LISTEN)
        one.begin()
        expect(page.get_by_role("status")).to_have_text("Answering …")
        for piece in PIECES:
            one.say(piece)
            page.evaluate("new Promise(requestAnimationFrame)")  # drawn, each of them
        expect(page.get_by_role("log")).to_contain_text(PIECES[-1])
        if stopped:
            one.chat.stop()
            one.hear("done")
        else:
            one.end(reply(text), error=error)
        expect(page.get_by_role("status")).to_have_text("")
        heard: list[str] = page.evaluate("new Promise(requestAnimationFrame).then(() => heard)")
        return heard

    return stream


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("Three.", "The answer is complete: 1 word."),
        ("So " * 400, "The answer is complete: 400 words."),
    ],
    ids=["short", "long"],
)
def test_a_stream_is_not_told_piece_by_piece(streamed: Any, text: str, end: str) -> None:
    assert streamed(text) == ["Answering …", "".join(PIECES).strip(), end]


def test_that_an_answer_was_stopped_is_said(streamed: Any) -> None:
    heard = streamed("Half", stopped=True)
    assert heard[::2] == ["Answering …", "Stopped. What had arrived is kept."]


def test_that_an_answer_failed_is_said_with_the_reason(streamed: Any) -> None:
    heard = streamed("Half", error="The provider went away.")
    assert heard[::2] == ["Answering …", "The answer failed. The provider went away."]


@pytest.fixture
def heard_of(chat_stage: Any, page: Page) -> Any:
    """What is said aloud of an answer that comes block by block."""

    def stream(*blocks: str) -> list[str]:
        one = chat_stage()
        page.evaluate(LISTEN)
        one.begin()
        for block in blocks:
            one.say(f"{block}\n\n")
            page.evaluate("new Promise(requestAnimationFrame)")
        one.end(reply("\n\n".join(blocks)))
        expect(page.get_by_role("status")).to_have_text("")
        heard: list[str] = page.evaluate("new Promise(requestAnimationFrame).then(() => heard)")
        return heard[1:]

    return stream


def test_an_answer_is_told_as_its_paragraphs_are_finished(heard_of: Any) -> None:
    code = "```python\nx = 1\ny = 2\n```"
    table = "| a | b |\n|---|---|\n| 1 | 2 |"
    link = "It is [here](https://example.org/), and $x^2$."
    assert heard_of("A *token* is a piece.", code, table, link, "$$x$$", "End.") == [
        "A token is a piece.",
        "Code, 2 lines.",
        "Table, 1 row.",
        "It is here , and x2.",
        "Formula.",
        "End.",
        "The answer is complete: 31 words.",
    ]


def test_of_a_long_answer_the_beginning_is_told_and_then_its_length(heard_of: Any) -> None:
    *told, rest, end = heard_of(*["word " * 80] * 20)
    assert told == [" ".join(["word"] * 50) + " …"] * 3
    assert rest == "The rest is in the conversation."
    assert end == "The answer is complete: 1600 words."


def test_that_a_tool_waits_is_said_with_its_name(chat_stage: Any, page: Page) -> None:
    one = chat_stage()
    page.evaluate(LISTEN)
    asks(one, "delete_file")
    expect(page.get_by_role("status")).to_have_text("Waiting for you")
    told = "The model asks to run delete_file. Run or refuse it in its answer."
    assert page.evaluate("heard").count(told) == 1


def test_of_a_comparison_each_end_is_said_and_no_answer_is_read_over_another(
    compare_stage: Any, page: Page
) -> None:
    one = compare_stage(MODELS[:2])
    page.evaluate(LISTEN)
    for piece in PIECES:
        one.say(piece, piece)
        page.evaluate("new Promise(requestAnimationFrame)")
    assert page.evaluate("heard") == []
    one.end(0, timed("Done"))
    one.end(1, timed(""), error="The provider went away.")
    expect(page.get_by_role("status")).to_have_text("2 answers")
    told = [line for line in page.evaluate("heard") if "answer " in line]
    assert told == [
        f"acme/orbit: the answer is complete: {len(PIECES)} words.",
        "acme/comet: the answer failed. The provider went away.",
    ]


# ------------------------------------------------------------------ where the keyboard is


def asks(one: ChatStage, name: str = "f", arguments: str = '{"a": 1}') -> None:
    """Let a tool ask whether it may run."""
    one.begin()
    call = {"id": "c", "name": name, "arguments": arguments, "result": "", "state": "asking"}
    one.tell("tool", call=call)


@pytest.fixture
def talk(chat_stage: Any) -> Any:
    """Show a chat with one answer."""

    def make(answer: str = "A") -> ChatStage:
        one: ChatStage = chat_stage()
        one.chat.conversation.add_user("What is it?")
        one.chat.conversation.add_reply(reply(answer))
        one.to_page()
        return one

    return make


def press(page: Page, name: str) -> None:
    button = page.get_by_role("button", name=re.compile(f"^{name}")).first
    button.focus()
    button.press("Enter")


def test_a_tool_that_was_allowed_leaves_the_focus_in_the_box(chat_stage: Any, page: Page) -> None:
    one = chat_stage()
    asks(one)
    press(page, "Run")
    expect(one.box).to_be_focused()
    assert one.sent("allow") == [{"type": "allow", "id": "c", "yes": True}]


def test_an_edited_question_and_one_asked_again_leave_it_in_the_box(talk: Any, page: Page) -> None:
    one = talk()
    press(page, "Edit, and go on from here")
    page.get_by_label("New wording").press("Enter")
    expect(one.box).to_be_focused()
    press(page, "Try again")
    expect(one.box).to_be_focused()
    assert len(one.sent("edit")) == len(one.sent("again")) == 1


def test_a_picture_takes_the_focus_from_the_button_that_loads_it(talk: Any, page: Page) -> None:
    picture = "https://localhost:9/cat.png"
    one = talk(f"![a cat]({picture})")
    with page.expect_console_message(lambda line: "ERR_FAILED" in line.text):
        press(page, "Load image")
    expect(page.get_by_role("img", name="Image from localhost:9")).to_be_focused()
    assert one.shown.refused == [picture]
    one.shown.refused.clear()
    one.shown.complaints.clear()


def test_what_is_redrawn_under_the_focus_leaves_it_in_the_conversation(
    talk: Any, page: Page
) -> None:
    one = talk("```python\nx\n```")
    page.get_by_role("button", name="Copy", exact=True).focus()
    one.chat.clear()
    one.carry()
    expect(one.box).to_be_focused()
    asks(one)
    page.locator(".step summary").focus()
    one.tell("tool", call={"id": "c", "name": "f", "arguments": "{}", "result": "3"})
    expect(page.locator(".step")).to_contain_text("done")
    expect(page.locator(".step summary")).to_be_focused()


def test_a_comparison_keeps_the_focus_through_stop_and_vote(compare_stage: Any, page: Page) -> None:
    one = compare_stage(MODELS[:2], blind=True)
    one.say("a", "b")
    logs = page.get_by_role("log")
    press(page, "Stop Answer B")
    expect(logs.nth(1)).to_be_focused()
    press(page, "Stop all")
    expect(logs.nth(0)).to_be_focused()
    one.end(0, timed("a"))
    one.end(1, timed("b"))
    press(page, "Choose B")
    one.carry()
    expect(page.get_by_role("status")).to_contain_text("You chose")
    expect(logs.nth(1)).to_be_focused()


# ------------------------------------------------------------------ what moves


@pytest.fixture
def scenes(chat_stage: Any, compare_stage: Any, draw: Any, page: Page) -> dict[str, Any]:
    """Widgets at moments at which something could move."""

    def waiting_chat() -> None:
        one = chat_stage()
        one.begin()
        page.locator(".wait i").first.wait_for()

    def thinking_chat() -> None:
        one = chat_stage()
        one.begin()
        one.say("Hm.", kind="reasoning")
        page.get_by_role("button", name="Settings").click()

    def writing_chat() -> None:
        one = chat_stage()
        one.begin()
        one.say("A word")
        expect(page.get_by_role("log")).to_contain_text("A word")
        page.locator(".turn").first.hover()

    def comparison() -> None:
        one = compare_stage()
        one.say("Hm.", "Hm.", kind="reasoning")
        one.say("A word")
        one.end(0, timed("A word"))

    def picker() -> None:
        draw(ModelPicker(LISTED))
        page.get_by_role("button", name="Free").click()
        page.get_by_role("searchbox").press("ArrowDown")

    def form() -> None:
        draw(state("busy"))

    def panel() -> None:
        it = UsagePanel(UsageTracker())
        it.close()  # it looks no longer
        draw(it)
        page.get_by_role("button").first.hover()

    listed = (waiting_chat, thinking_chat, writing_chat, comparison, picker, form, panel)
    return {scene.__name__: scene for scene in listed}


def test_nothing_moves_for_those_who_ask_for_less_motion(
    page: Page, scenes: dict[str, Callable[[], None]]
) -> None:
    page.emulate_media(reduced_motion="reduce")
    moving = {}
    for name, scene in scenes.items():
        scene()
        moving[name] = page.evaluate(MOVES)
    assert moving == {name: [] for name in scenes}


def test_otherwise_something_does_move_so_that_the_test_above_means_something(
    page: Page, scenes: dict[str, Callable[[], None]]
) -> None:
    page.emulate_media(reduced_motion="no-preference")
    scenes["waiting_chat"]()
    assert "ornb-breathe" in str(page.evaluate(MOVES))


# ------------------------------------------------------------------ what axe finds

WIDE = "\n\n".join(
    [
        "Text with `code`, a [link](https://example.org/) and ![a picture](https://example.org/a.png).",
        "```python\n# c\nx = " + "'a' + " * 60 + "'b'\n```",
        "| " + "a column | " * 30 + "\n|" + "---|" * 30 + "\n| " + "a cell | " * 30,
        "$$" + "a + " * 150 + "b$$",
        "> a quote\n\n- [x] done\n- [ ] not",
    ]
)
"""An ordinary answer, wider than its place in every way."""
TOOL_STATES = ("asking", "running", "ok", "failed", "refused", "invalid", "unknown", "stopped")
LONG_CALL = '{"a": "' + "x" * 6000 + '"}'


def serious(page: Page, root: str = "html") -> list[str]:
    """What axe finds that is serious or worse, in a page as it is now."""
    return violations(page, root, serious=True)


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def still(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")


@pytest.mark.usefixtures("still")
def test_axe_finds_nothing_at_any_stage_of_an_answer(
    chat_stage: Any, page: Page, theme: str
) -> None:
    one = chat_stage(theme=theme)
    found = {"empty": serious(page)}
    one.begin("What is it? " * 40)
    found["waiting"] = serious(page)
    one.say("Hm, let me see. " * 300, kind="reasoning")
    found["thinking"] = serious(page)
    page.locator(".reasoning summary").click()
    found["reasoning read"] = serious(page)
    one.say(WIDE)
    found["writing"] = serious(page)
    one.say("\n\nThe end.\n\n")
    page.get_by_role("button", name="Stop").click()
    found["stopping"] = serious(page)
    one.end(reply(WIDE, reasoning="Hm. " * 900, note="A note", provider="North"))
    expect(page.locator(".facts")).to_be_visible()
    found["over"] = serious(page)
    assert {stage: it for stage, it in found.items() if it} == {}
    for label in ("Code, python", "Table", "Formula"):
        assert page.get_by_label(label, exact=True).first.get_attribute("tabindex") == "0", label


def test_what_is_not_wide_is_no_stop_for_the_keyboard(talk: Any, page: Page) -> None:
    talk("```python\nx = 1\n```\n\n| a |\n|---|\n| 1 |\n\n$$x$$")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.locator(".ornb-text [tabindex='0']:not(.thought)").count() == 0


@pytest.mark.usefixtures("still")
def test_axe_finds_nothing_at_any_stage_of_a_tool(chat_stage: Any, page: Page, theme: str) -> None:
    one = chat_stage(theme=theme)
    asks(one, arguments=LONG_CALL)
    for end in TOOL_STATES[1:]:
        call = {"id": end, "name": "f", "arguments": LONG_CALL, "result": "r\n" * 300}
        one.tell("tool", call=call | {"state": end})
    expect(page.locator(".step")).to_have_count(len(TOOL_STATES))
    page.evaluate("document.querySelectorAll('.step').forEach(step => { step.open = true })")
    assert serious(page) == []


@pytest.mark.usefixtures("still")
def test_axe_finds_nothing_while_a_question_is_edited_and_files_are_read(
    chat_stage: Any, page: Page, theme: str
) -> None:
    chat_stage("a", theme=theme)
    page.get_by_role("button", name="Edit, and go on from here").press("Enter")
    file = {"name": "paper.pdf", "mimeType": "application/pdf", "buffer": b"%PDF"}
    page.set_input_files("input[type=file]", files=[file])
    expect(page.locator(".file.loading")).to_be_visible()
    assert serious(page) == []


@pytest.mark.usefixtures("still")
def test_axe_finds_nothing_at_any_stage_of_a_comparison(
    compare_stage: Any, page: Page, theme: str
) -> None:
    one = compare_stage(MODELS[:2], prompt="What is it? " * 60, theme=theme)
    found = {"waiting": serious(page)}
    one.say("Hm. " * 400, kind="reasoning")
    page.locator(".reasoning summary").first.click()
    one.say("", WIDE)
    found["writing"] = serious(page)
    page.get_by_role("button", name="Stop all").click()
    found["stopping"] = serious(page)
    one.say(WIDE)
    one.end(0, timed(WIDE))
    one.end(1, timed(WIDE), error="The provider went away.")
    expect(page.get_by_role("status")).to_have_text("2 answers")
    found["over"] = serious(page)
    assert {stage: it for stage, it in found.items() if it} == {}


def test_a_picker_without_a_match_has_no_group_without_rows(draw: Any, page: Page) -> None:
    draw(ModelPicker(LISTED))
    assert page.get_by_role("row").last.get_attribute("aria-rowindex") == page.get_by_role(
        "grid"
    ).get_attribute("aria-rowcount")
    page.get_by_role("searchbox").fill("no such model")
    expect(page.get_by_text("No model matches")).to_be_visible()
    expect(page.get_by_role("rowgroup")).to_have_count(1)
    page.get_by_role("searchbox").fill("")
    expect(page.get_by_role("rowgroup")).to_have_count(2)


# ------------------------------------------------------------------ a reader's own colours


@pytest.fixture
def forced(page: Page) -> Page:
    page.emulate_media(forced_colors="active", color_scheme="light")
    return page


def test_with_forced_colours_only_what_is_picked_has_a_tick(draw: Any, forced: Page) -> None:
    draw(ModelPicker(LISTED), theme=None)
    forced.locator(".rows .row").first.click()
    ticks = forced.locator(".rows .mark svg").evaluate_all(
        "ticks => ticks.map(tick => getComputedStyle(tick).visibility)"
    )
    assert ticks == ["visible"] + ["hidden"] * (len(ticks) - 1)


def test_with_forced_colours_a_pressed_filter_is_seen(draw: Any, forced: Page) -> None:
    draw(ModelPicker(LISTED), theme=None)
    forced.get_by_role("button", name="Tools").click()
    forced.evaluate("document.activeElement.blur()")
    pressed, other = (
        forced.get_by_role("button", name=name).evaluate(
            "button => getComputedStyle(button).backgroundColor"
        )
        for name in ("Tools", "Free")
    )
    assert pressed != other


OUTLINE = """box => {
  const style = getComputedStyle(box);
  return style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth);
}"""


def test_the_focus_is_seen_whatever_the_colours(draw: Any, page: Page) -> None:
    page.emulate_media(forced_colors="active")
    draw(ModelPicker(LISTED), theme=None)
    page.get_by_role("searchbox").focus()
    assert page.locator(".searchbox").evaluate(OUTLINE) >= 2
    draw(KeyForm(), theme=None)
    page.get_by_label("API key").focus()
    assert page.get_by_label("API key").evaluate(OUTLINE) >= 2
    for colors in ("active", "none"):
        page.emulate_media(forced_colors=colors)
        draw(state("in"), theme=None)
        page.keyboard.press("Tab")
        page.locator(".account").focus()
        assert page.locator(".account").evaluate(OUTLINE) >= 2


def test_with_forced_colours_the_dots_that_wait_are_seen(
    scenes: dict[str, Callable[[], None]], forced: Page
) -> None:
    scenes["waiting_chat"]()
    dots = "i => getComputedStyle(i).backgroundColor"
    assert forced.locator(".wait i").last.evaluate(dots) == "rgb(0, 0, 0)"


# ------------------------------------------------------------------ what is exported

CELLS = [
    "import ornb\nornb.connect(offline=True)\nornb.ModelPicker(value='openai/gpt-4o-mini')",
    "chat = ornb.Chat(system='Be brief.')\nchat",
    "reply = chat.ask('What is a token? Show code.')",
    "%%ornb --label magic\nIs it a word?",
    "ornb.compare('Hi', ['openai/gpt-4o-mini', 'openai/gpt-4o'])",
    "reply",
    "ornb.usage",
    "ornb.usage.panel()",
    "ornb.sign_in()",
    "ornb.client()",
]


@pytest.fixture(scope="module")
def lesson(once: Callable[..., Path]) -> nbformat.NotebookNode:
    """A notebook with every widget and every value that shows itself, run without a browser."""

    def run(folder: Path) -> None:
        nbformat.write(run_headless(notebook_of(CELLS), folder), folder / "lesson.ipynb")

    return nbformat.read(once("lesson", run) / "lesson.ipynb", as_version=4)


def exported(notebook: Any, browser: Browser, folder: Path, theme: str) -> Page:
    """The notebook as nbconvert's page, without what it would fetch."""
    html, _ = HTMLExporter(theme=theme).from_notebook_node(notebook)
    file = folder / "exported.html"
    file.write_text(html, encoding="utf-8")
    size: Any = {"width": 1280, "height": 900}
    context = browser.new_context(offline=True, reduced_motion="reduce", viewport=size)
    context.set_default_timeout(LONGEST_S * 1000)
    page = context.new_page()
    page.goto(file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    return page


def test_axe_finds_nothing_serious_in_what_is_ours_of_an_exported_page(
    lesson: nbformat.NotebookNode, browser: Browser, tmp_path: Path, theme: str
) -> None:
    """Without the widgets' state: what draws one in such a page comes from the network."""
    notebook: Any = copy.deepcopy(lesson)
    del notebook.metadata["widgets"]
    talk = Conversation(system="Be brief.")
    talk.add_user("What is it?")
    said = reply(WIDE, reasoning="Hm. " * 99, note="A note", annotations=(CITED,))
    talk.add_reply(said, steps=STEPS)
    decided = reply('{"a": {"type": "choice", "choice": "b", "probabilities": {"b": 0.7}}}')
    decision = Decision({"a": {"type": "choice", "instructions": "Which?"}}, decided)
    for html in (transcript(talk)["text/html"], reply_html(said), decision._repr_html_()):
        shown = nbformat.v4.new_output("display_data", {"text/html": html})
        notebook.cells.append(nbformat.v4.new_code_cell("", outputs=[shown]))
    page = exported(notebook, browser, tmp_path, theme)
    expect(page.locator(".ornb-static").first).to_be_visible()
    wide = serious(page, ".jp-OutputArea-output")
    page.set_viewport_size({"width": 420, "height": 900})
    narrow = serious(page, ".jp-OutputArea-output")
    page.context.close()
    assert (wide, narrow) == ([], [])


def test_axe_finds_nothing_serious_in_what_is_ours_of_an_exported_conversation(
    browser: Browser, tmp_path: Path, theme: str
) -> None:
    """But for what nbconvert's page does to every notebook's Markdown.

    It tells links from the words around them by their colour alone, and its dark theme colours
    code too faintly. A Markdown cell brings no style of its own: JupyterLab takes it out, and
    GitHub shows it as text.
    """
    talk = Conversation(system="Be brief.")
    talk.add_user("What is it?")
    said = reply(WIDE, reasoning="Hm. " * 99, note="A note", annotations=(CITED,))
    talk.add_reply(said, steps=STEPS)
    notebook = nbformat.reads(json.dumps(to_notebook(talk)), as_version=4)
    page = exported(notebook, browser, tmp_path, theme)
    expect(page.locator(".jp-RenderedMarkdown").first).to_be_visible()
    found = serious(page, ".jp-RenderedMarkdown")
    page.context.close()
    theirs = ("link-in-text-block", 'color-contrast: <span class="c1">')
    assert [one for one in found if not one.startswith(theirs)] == []
