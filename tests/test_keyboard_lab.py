"""From the model to the saved answer with the keyboard alone, in a real JupyterLab."""

from __future__ import annotations

from collections.abc import Callable

import nbformat
import pytest
from playwright.sync_api import Page, expect

from tests.lab import Lab
from tests.wire import STREAM, ChatServer, delta

pytestmark = pytest.mark.browser

PICKER = "import ornb\npicker = ornb.ModelPicker(value='openai/gpt-4o-mini')\npicker"
CHAT = "ornb.connect(base_url={url!r})\nchat = ornb.Chat(picker)\nchat"
FOCUSED = """() => {
  const at = document.activeElement;
  return at.ariaLabel || at.labels?.[0]?.textContent || at.textContent.trim() || at.className;
}"""
CELL = """() => {
  const cell = document.activeElement.closest(".jp-Cell");
  return document.activeElement === cell
    ? [...document.querySelectorAll(".jp-NotebookPanel .jp-Cell")].indexOf(cell) : -1;
}"""


def press_until(page: Page, key: str, there: Callable[[], bool], most: int = 40) -> int:
    """Press a key until one is there; say how often that was."""
    for count in range(most):
        if there():
            return count
        page.keyboard.press(key)
    raise AssertionError(f"{most} times {key}, and the focus is on {page.evaluate(FOCUSED)!r}")


def tab_to(page: Page, label: str) -> int:
    """Tab until the element of this name has the focus."""
    return press_until(page, "Tab", lambda: label in page.evaluate(FOCUSED))


def cell_has_focus(page: Page, index: int) -> Callable[[], bool]:
    return lambda: page.evaluate(CELL) == index


def test_from_the_picker_to_a_stopped_answer_to_the_file_without_a_mouse(lab: Lab) -> None:
    with ChatServer([STREAM, delta("Half an answer"), "stall"]) as server:
        notebook = lab.open([PICKER, CHAT.format(url=server.url), "chat.save('talk.md').name"])
        page, keys = lab.page, lab.page.keyboard
        picker, chat = notebook.output(0), notebook.output(1)

        # Cells: JupyterLab's own keys.
        keys.press("Escape")
        press_until(page, "ArrowUp", cell_has_focus(page, 0))
        keys.press("Shift+Enter")
        expect(picker.get_by_role("searchbox")).to_be_visible()
        keys.press("Shift+Enter")
        expect(chat.get_by_role("textbox")).to_be_visible()
        notebook.wait_idle()

        # The picker: search, go down into the list, pick.
        press_until(page, "ArrowUp", cell_has_focus(page, 0))
        assert tab_to(page, "Search models") < 10
        keys.type("claude haiku 4.5")
        keys.press("ArrowDown")
        keys.press("Enter")
        expect(picker.locator(".chosen")).to_contain_text("Claude Haiku 4.5")
        expect(chat.locator(".model")).to_have_text("anthropic/claude-haiku-4.5")  # by the kernel

        # The chat: type, send, stop with its button, read.
        assert tab_to(page, "Message to the model") < 20
        keys.type("What is a token?")
        keys.press("Enter")
        answer = chat.get_by_label("Answer")
        expect(answer).to_contain_text("Half an answer")
        notebook.wait_said("said.type === 'pong'")  # what the page says now is heard
        tab_to(page, "Stop")
        keys.press("Enter")
        expect(answer).to_contain_text("stopped")
        expect(chat.get_by_role("textbox")).to_be_focused()  # the button went dead under the key
        tab_to(page, "Conversation")
        tab_to(page, "Copy text")

        # What is left: saved from inside the chat, and written to a file by the next cell.
        keys.press("Control+s")
        page.wait_for_function(
            "path => !ornbTest.panel(path).context.model.dirty", arg=notebook.path
        )
        saved = nbformat.read(notebook.file, as_version=4)
        assert "Half an answer" in str(saved.cells[1].outputs)
        press_until(page, "Shift+Tab", lambda: page.evaluate(CELL) >= 0, most=60)
        press_until(page, "ArrowDown", cell_has_focus(page, 2))
        keys.press("Shift+Enter")
        expect(notebook.output(2)).to_contain_text("talk.md")
        written = (notebook.file.parent / "talk.md").read_text(encoding="utf-8")
        assert "Half an answer" in written
