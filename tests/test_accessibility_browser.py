"""What a person hears, what moves for one who can't bear it, and the pages that are exported.

That each live widget passes axe, in light and dark, is in the tests of that widget.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import Browser, Page, expect

from ornb.errors import OrnbError
from ornb.ledger.tracker import UsageTracker
from ornb.widgets.key import KeyForm
from ornb.widgets.panel import UsagePanel
from ornb.widgets.picker import ModelPicker
from tests import test_chat_browser as chat_stage
from tests import test_compare_browser as compare_stage
from tests.esm import show
from tests.lab import notebook_of, run_headless
from tests.test_chat import Heard
from tests.test_picker import MODELS

pytestmark = pytest.mark.browser

PIECES = [f"word{n} " for n in range(40)]

# What a screen reader would say: changes inside live regions that are neither off nor busy.
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
    for (const region of new Set(changes.map(({ target }) => loud(target)).filter(Boolean))) {
      if (region.textContent.trim()) heard.push(region.textContent.trim());
    }
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


def streamed(page: Page, text: str, *, stopped: bool = False, error: str = "") -> list[str]:
    """What is said aloud while an answer of forty pieces arrives in a chat."""
    one = chat_stage.Stage(page, Heard("acme/orbit"))
    one.carry()
    page.evaluate(LISTEN)
    call = one.begin()
    expect(page.get_by_role("status")).to_have_text("Answering …")
    for piece in PIECES:
        one.say(call, piece)
        page.evaluate("new Promise(requestAnimationFrame)")  # drawn, each of them
    expect(page.get_by_role("log")).to_contain_text("word39")
    call.stopping, call.error = stopped, OrnbError(error) if error else None
    one.end(call, chat_stage.reply(text))
    expect(page.get_by_role("status")).to_have_text("")
    heard: list[str] = page.evaluate("new Promise(requestAnimationFrame).then(() => heard)")
    one.shown.check()
    return heard


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("Three.", "The answer is complete: 1 word."),
        ("So " * 400, "The answer is complete: 400 words."),
    ],
    ids=["short", "long"],
)
def test_a_stream_is_announced_at_its_start_and_its_end_alone(
    page: Page, text: str, end: str
) -> None:
    assert streamed(page, text) == ["Answering …", end]


def test_that_an_answer_was_stopped_is_said(page: Page) -> None:
    heard = streamed(page, "Half", stopped=True)
    assert heard == ["Answering …", "Stopped. What had arrived is kept."]


def test_that_an_answer_failed_is_said_with_the_reason(page: Page) -> None:
    heard = streamed(page, "Half", error="The provider went away.")
    assert heard == ["Answering …", "The answer failed. The provider went away."]


def test_of_a_comparison_it_is_said_how_many_are_done(page: Page) -> None:
    one = compare_stage.Stage(page, compare_stage.MODELS[:2], False, "What is it?")
    one.carry()
    page.evaluate(LISTEN)
    for piece in PIECES:
        one.say(piece, piece)
        page.evaluate("new Promise(requestAnimationFrame)")
    assert page.evaluate("heard") == []
    one.end(0, compare_stage.reply("a"))
    expect(page.get_by_role("status")).to_have_text("1 of 2 done")
    assert len([text for text in page.evaluate("heard") if "word" in text]) <= 1
    one.shown.check()


# ------------------------------------------------------------------ what moves


def waiting_chat(page: Page) -> None:
    one = chat_stage.Stage(page, Heard("acme/orbit"))
    one.carry()
    call = one.begin()
    page.locator(".wait i").first.wait_for()
    one.say(call, "Hm.", "reasoning")
    one.begin()
    page.get_by_role("button", name="Settings").click()


def writing_chat(page: Page) -> None:
    one = chat_stage.Stage(page, Heard("acme/orbit"))
    one.carry()
    one.say(one.begin(), "A word")
    expect(page.get_by_role("log")).to_contain_text("A word")
    page.locator(".turn").first.hover()


def comparison(page: Page) -> None:
    one = compare_stage.Stage(page, compare_stage.MODELS, False, "What is it?")
    one.carry()
    one.say("Hm.", "Hm.", kind="reasoning")
    one.say("A word")
    one.end(0, compare_stage.reply("A word"))


def picker(page: Page) -> None:
    show(page, ModelPicker(MODELS))
    page.get_by_role("button", name="Free").click()
    page.get_by_role("searchbox").press("ArrowDown")


def form(page: Page) -> None:
    it = KeyForm()
    it._tell(busy=True, status="Checking the key …")
    show(page, it)


def panel(page: Page) -> None:
    it = UsagePanel(UsageTracker())
    for stop in it._stops:
        stop()
    show(page, it)
    page.get_by_role("button").first.hover()


SCENES: list[Callable[[Page], None]] = [waiting_chat, writing_chat, comparison, picker, form, panel]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_nothing_moves_for_those_who_ask_for_less_motion(
    page: Page, scene: Callable[[Page], None]
) -> None:
    page.emulate_media(reduced_motion="reduce")
    scene(page)
    assert page.evaluate(MOVES) == []


def test_otherwise_something_does_move_so_that_the_test_above_means_something(page: Page) -> None:
    page.emulate_media(reduced_motion="no-preference")
    waiting_chat(page)
    assert "ornb-breathe" in str(page.evaluate(MOVES))


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
def lesson(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """A notebook with every widget and every value that shows itself, run without a browser."""
    return run_headless(notebook_of(CELLS), tmp_path_factory.mktemp("lesson"))


@pytest.mark.parametrize("state", [True, False], ids=["state", "no state"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_what_is_ours_of_an_exported_page(
    lesson: nbformat.NotebookNode, browser: Browser, tmp_path: Path, theme: str, state: bool
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    notebook: Any = copy.deepcopy(lesson)
    if not state:
        del notebook.metadata["widgets"]
    html, _ = HTMLExporter(theme=theme).from_notebook_node(notebook)
    file = tmp_path / "exported.html"
    file.write_text(html, encoding="utf-8")
    context = browser.new_context(offline=True, reduced_motion="reduce")
    page = context.new_page()
    page.goto(file.as_uri())
    expect(page.locator(".ornb-static").first).to_be_visible()
    ours = {"include": [[".jp-OutputArea-output"]]}
    found = axe.Axe().run(page, context=ours, options={"resultTypes": ["violations"]}).response
    page.screenshot(path=tmp_path / "exported.png", full_page=True)
    context.close()
    serious = [
        f"{one['id']}: {node['html'][:200]} ({node['failureSummary']})"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    assert serious == []
