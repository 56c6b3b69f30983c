"""The chat in JupyterLab: with a mouse and a clipboard, in a cell that waits, and reopened."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.lab import Lab, LabNotebook
from tests.wire import DONE, END, FINISH, STREAM, ChatServer, WireServer, delta, event, whole

pytestmark = pytest.mark.browser

BOX = "Message to the model"
SETUP = "import ornb\nornb.connect(base_url={url!r})\n"
CHAT = SETUP + "chat = ornb.Chat('acme/orbit')\n"
TOOLS = SETUP + (
    "ran = []\n"
    "def add(a: int, b: int) -> int:\n"
    "    'Add two numbers.'\n"
    "    ran.append((a, b))\n"
    "    return a + b\n"
)
LISTED = [
    whole(
        {
            "data": [
                {
                    "id": "acme/orbit",
                    "architecture": {"input_modalities": ["text", "image", "file"]},
                }
            ]
        }
    )
]
CALL = {"index": 0, "id": "c", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
ASKS = [
    STREAM,
    delta("", tool_calls=[CALL]),
    event(choices=[{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]),
    DONE,
    END,
]
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAAEElEQVR4nGP4z8AARwzEcQCukw/x0F8jngAAAABJRU5E"
    "rkJggg=="
)
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


def asked(server: WireServer, number: int = -1) -> dict[str, Any]:
    """The body of a request for an answer."""
    bodies = [json.loads(body) for head, body in server.requests if b"/chat/completions" in head]
    body: dict[str, Any] = bodies[number]
    return body


# ------------------------------------------------------------------ a cell that waits


@pytest.fixture
def stalling() -> Iterator[str]:
    """Address of a server that begins to answer and falls silent."""
    with ChatServer([STREAM, delta("Half an answer"), "stall"]) as server:
        yield server.url


@pytest.mark.parametrize("together", [False, True], ids=["cell below", "same cell"])
def test_stop_is_heard_while_a_cell_waits(lab: Lab, stalling: str, together: bool) -> None:
    show, ask = CHAT.format(url=stalling) + "display(chat)", "reply = chat.ask('Hi')"
    notebook = lab.open([f"{show}\n{ask}"] if together else [show, ask])
    notebook.start_all()
    answer = notebook.output(0).get_by_label("Answer")
    expect(answer).to_contain_text("Half an answer")
    notebook.wait_said("said.type === 'pong'")  # what the page says now is heard
    notebook.output(0).get_by_role("button", name="Stop").click()
    expect(answer).to_contain_text("stopped")
    notebook.wait_idle()
    assert notebook.errors() == []
    assert notebook.python("[reply.status, reply.text]") == ["stopped", "Half an answer"]


@pytest.mark.parametrize(("typed", "ran"), [("y", [[1, 2]]), ("", [])], ids=["allowed", "refused"])
def test_a_tool_is_asked_for_in_the_cell_that_waits(
    lab: Lab, typed: str, ran: list[list[int]]
) -> None:
    with ChatServer(ASKS, [STREAM, delta("It is done."), FINISH]) as server:
        show = TOOLS.format(url=server.url) + "chat = ornb.Chat('acme/orbit', tools=[add])\nchat"
        notebook = lab.open([show, "chat.ask('1 + 2?').text"])
        notebook.start_all()
        box = notebook.output(1).locator(".jp-Stdin-input")
        words = 'Run add({"a": 1, "b": 2})? [y/N]'
        expect(notebook.output(1)).to_contain_text(words)
        expect(notebook.output(0)).to_contain_text("Answer in the cell that asks.")
        assert notebook.output(0).get_by_role("button", name="Run").count() == 0
        box.fill(typed)
        box.press("Enter")
        notebook.wait_idle()
        assert notebook.errors() == []
        expect(notebook.output(1)).to_contain_text("It is done.")
        assert notebook.python("ran") == ran
        told = asked(server)["messages"][-1]
        assert told["role"] == "tool"
        assert ("did not allow" in told["content"]) == (not ran)


# ------------------------------------------------------------------ mouse and clipboard


@pytest.fixture(scope="module")
def seer() -> Iterator[WireServer]:
    """A service with a model that takes pictures and PDFs."""

    def answer(head: bytes, _: bytes) -> Any:
        return LISTED if head.startswith(b"GET") else [STREAM, delta("A cat."), FINISH]

    with WireServer(answer) as server:
        yield server


@pytest.fixture
def seeing(lab_as_left: Lab, seer: WireServer) -> tuple[LabNotebook, WireServer]:
    """A new chat with such a model, of which nothing was asked yet."""
    seer.requests.clear()
    return lab_as_left.ran(CHAT.format(url=seer.url) + "chat").run_all(), seer


def drag(target: Locator, *files: Path) -> None:
    """Drag files over an element and let go, as the mouse does: the browser makes the events."""
    page = target.page
    box = target.bounding_box()
    assert box is not None
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
    devtools = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})
    devtools.detach()


def test_files_are_dragged_in_with_the_mouse(
    seeing: tuple[LabNotebook, WireServer], tmp_path: Path
) -> None:
    notebook, server = seeing
    out = notebook.output(0)
    (tmp_path / "cat.png").write_bytes(PICTURE)
    (tmp_path / "paper.pdf").write_bytes(PDF)
    drag(out.locator(".composer"), tmp_path / "cat.png", tmp_path / "paper.pdf")
    expect(out.locator(".waiting .file:not(.loading)")).to_have_count(2)
    expect(out.get_by_role("img", name="cat.png")).to_be_visible()
    expect(out.locator(".waiting")).to_contain_text("paper.pdf")
    expect(out.locator(".dropping")).to_have_count(0)
    out.get_by_label(BOX).fill("What is it?")
    out.get_by_label(BOX).press("Enter")
    expect(out.get_by_label("Answer")).to_contain_text("A cat.")
    parts = asked(server)["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "file"]
    sent = parts[1]["image_url"]["url"].partition("base64,")[2]
    assert base64.b64decode(sent) == PICTURE
    assert notebook.locator(".jp-Cell").count() == 1  # JupyterLab took nothing for itself


def test_a_dragged_file_that_is_no_picture_is_refused_and_the_text_stays(
    seeing: tuple[LabNotebook, WireServer], tmp_path: Path
) -> None:
    notebook, server = seeing
    out = notebook.output(0)
    out.get_by_label(BOX).fill("What is it?")
    (tmp_path / "page.html").write_text("<h1>Hi</h1>", encoding="utf-8")
    drag(out.locator(".composer"), tmp_path / "page.html")
    expect(out.get_by_role("alert").first).to_contain_text("page.html")
    expect(out.get_by_label(BOX)).to_have_value("What is it?")
    assert all(b"/chat/completions" not in head for head, _ in server.requests)


def test_a_picture_is_pasted_from_the_clipboard(seeing: tuple[LabNotebook, WireServer]) -> None:
    notebook, server = seeing
    out, lab = notebook.output(0), notebook.lab
    lab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    try:
        out.get_by_label(BOX).click()
        lab.page.evaluate(
            """async (data) => {
              const blob = new Blob([new Uint8Array(data)], { type: "image/png" });
              await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
            }""",
            list(PICTURE),
        )
        lab.page.keyboard.press("ControlOrMeta+v")
        expect(out.locator(".waiting .file:not(.loading)")).to_have_count(1)
    finally:
        lab.page.context.clear_permissions()
    out.get_by_label(BOX).press("Enter")
    expect(out.get_by_label("Answer")).to_contain_text("A cat.")
    (part,) = asked(server)["messages"][0]["content"]
    assert part["image_url"]["url"].startswith("data:image/png;base64,")
    assert notebook.locator(".jp-Cell").count() == 1


# ------------------------------------------------------------------ a shape

CITY = """import pydantic
class City(pydantic.BaseModel):
    name: str
    people: int = pydantic.Field(ge=0)
"""


MISMATCH = """from ornb.errors import SchemaMismatch
try:
    chat.ask('Again?', schema=City)
except SchemaMismatch as error:
    print('refused:', error)
chat.ask('Where are you?').text
"""


def test_a_class_of_pydantic_comes_back_as_one(lab: Lab) -> None:
    texts = ('{"name": "Oslo", "people": 717710}', '{"name": "Oslo", "people": -1}', "I am here.")
    with ChatServer(*([STREAM, delta(text), FINISH] for text in texts)) as server:
        show = CHAT.format(url=server.url) + CITY + "chat"
        notebook = lab.open([show, "chat.ask('Oslo?', schema=City)\nchat.value", MISMATCH])
        notebook.run_all()
        expect(notebook.output(1)).to_contain_text("City(name='Oslo', people=717710)")
        shape = asked(server, 0)["response_format"]["json_schema"]["schema"]
        assert sorted(shape["properties"]) == ["name", "people"]
        expect(notebook.output(2)).to_contain_text(re.compile("refused: .*people"))
        expect(notebook.output(2)).to_contain_text("I am here.")
        shown = notebook.output(0).get_by_label("Answer")
        expect(shown).to_have_count(3)
        expect(shown.nth(1)).to_contain_text('"people": -1')
        expect(shown.nth(1).locator(".trouble")).to_contain_text("people")
        assert "response_format" not in asked(server)


# ------------------------------------------------------------------ what is there next year

CITED = {
    "type": "url_citation",
    "url_citation": {"url": "https://sums.example/three", "title": "Three", "end_index": 8},
}


def test_tools_and_sources_are_there_in_a_reopened_notebook(lab: Lab) -> None:
    answer = [STREAM, delta("It is 3.", annotations=[CITED]), FINISH]
    with ChatServer(ASKS, answer) as server:
        show = TOOLS.format(url=server.url) + (
            "chat = ornb.Chat('acme/orbit', tools=[add], confirm=False)\n"
            "display(chat)\nchat.ask('1 + 2?').status"
        )
        notebook = lab.open([show]).run_all()
        notebook.save()

        notebook = notebook.close_and_reopen()
        shown = notebook.output(0).locator(".ornb-static")
        expect(shown).to_be_visible()
        tools = shown.locator("details", has_text="Tools")
        tools.locator("summary").click()
        expect(tools).to_contain_text('add({"a": 1, "b": 2})')
        expect(tools).to_contain_text("→ 3")
        source = shown.get_by_role("link", name="Three")
        expect(source).to_have_attribute("href", "https://sums.example/three")
        expect(shown).to_contain_text("(sums.example)")
        expect(notebook.output(0).get_by_text("Error displaying widget")).to_be_attached()

        again = "import ornb\nchat = ornb.Chat.reopen('notebook.ipynb')\nchat"
        live = lab_live(notebook, again)
        step = live.locator(".step")
        expect(step).to_have_count(1)
        step.locator("summary").click()
        expect(step.locator("pre").last).to_have_text("3")
        expect(live.get_by_label("Sources").get_by_role("link")).to_have_text("Three")
        assert all("widget model not found" in line for line in lab.console_errors)
        lab.console_errors.clear()


def lab_live(notebook: LabNotebook, source: str) -> Locator:
    """Put code into the last cell of a notebook that is open, run it, and give its output."""
    notebook.page.evaluate(
        """async ([path, source]) => {
          await ornbTest.command(path, "notebook:insert-cell-below");
          const { content } = ornbTest.panel(path);
          content.activeCell.model.sharedModel.setSource(source);
          await ornbTest.command(path, "notebook:run-cell");
        }""",
        [notebook.path, source],
    )
    notebook.wait_idle()
    assert notebook.errors() == []
    return notebook.output(notebook.locator(".jp-Cell").count() - 1)
