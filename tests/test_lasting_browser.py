"""What a reader sees of a conversation later: with the kernel, without it, and without Jupyter."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import Browser, Locator, expect

from tests.lab import LONGEST_S, Lab, LabNotebook, notebook_of, run_headless
from tests.wire import FINISH, STREAM, ChatServer, delta

pytestmark = pytest.mark.browser

ANSWER = """It costs from $5 to $10, and $\\frac{a}{b}$ is a formula.

| model | price |
|---|--:|
| small | 1 |

```python
def price(n):  # USD
    return "a" * n
```
"""
CELLS = [
    "import ornb\nornb.connect(base_url={url!r})\n"
    "chat = ornb.Chat('acme/orbit', system='Be brief.')\nchat",
    "first, second = chat.ask('What is a token?'), chat.ask('From $1 to $2?')",
]
FACTS = "22 → 9 tokens · $0.00015 billed · "
GONE = "Error displaying widget: model not found"
GO_ON = "ornb.Chat.reopen("


@pytest.fixture(scope="module")
def service() -> Any:
    with ChatServer([STREAM, delta(ANSWER), FINISH]) as server:
        yield server.url


@pytest.fixture
def saved(lab_as_left: Lab, service: str) -> LabNotebook:
    """A notebook with two questions and answers, run and saved."""
    notebook = lab_as_left.ran(*(cell.format(url=service) for cell in CELLS))
    notebook.save()
    return notebook


@pytest.fixture(scope="module")
def ran(service: str, tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    notebook = notebook_of([cell.format(url=service) for cell in CELLS])
    return run_headless(notebook, tmp_path_factory.mktemp("executed"))


@pytest.fixture
def executed(ran: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same, run without a browser; that stores the state of the widgets in it."""
    return copy.deepcopy(ran)


def assert_whole(shown: Locator, *, math: bool = True) -> None:
    """The whole conversation is there to be read, and so is what it was and cost."""
    expect(shown).to_be_visible()
    text = shown.inner_text()
    for piece in ("Be brief.", "What is a token?", "From $1 to $2?"):
        assert piece in text, piece
    for piece in ("It costs from $5 to $10, and", "def price(n):  # USD", FACTS, "· live ·"):
        assert text.count(piece) == 2, piece
    assert text.count(" UTC") == 2
    assert text.count("acme/orbit") >= 2
    assert text.count("NorthCloud") == 2
    if math:
        expect(shown.locator("math")).to_have_count(2)
        expect(shown.get_by_text("\\frac")).to_have_count(2)
        expect(shown.get_by_text("\\frac").first).to_be_hidden()
    expect(shown.locator("mjx-container")).to_have_count(0)
    expect(shown.locator("table")).to_have_count(2)


def test_a_reload_with_the_kernel_brings_the_chat_back(saved: LabNotebook) -> None:
    notebook = saved.reload()
    out = notebook.output(0)
    expect(out.locator("article.answer")).to_have_count(2)
    expect(out.locator(".ornb-static")).to_be_hidden()
    expect(out.get_by_text(GO_ON)).to_be_hidden()


def test_a_notebook_without_its_kernel_shows_the_conversation_and_no_error(
    saved: LabNotebook,
) -> None:
    notebook = saved.close_and_reopen()
    out = notebook.output(0)
    expect(out.get_by_text(GONE)).to_be_attached()
    expect(out.get_by_text(GONE)).to_be_hidden()
    expect(out.get_by_text(GO_ON)).to_be_visible()
    assert_whole(out.locator(".ornb-static"))
    assert all("widget model not found" in line for line in saved.lab.console_errors)
    saved.lab.console_errors.clear()


def test_a_strangers_notebook_shows_the_conversation(saved: LabNotebook) -> None:
    """Untrusted HTML loses MathML and our rule; JupyterLab shows the widget's plain text."""
    data = json.loads(saved.file.read_text(encoding="utf-8"))
    data["cells"][0]["outputs"][-1]["data"]["text/plain"] += "."
    saved.file.write_text(json.dumps(data), encoding="utf-8")
    notebook = saved.close_and_reopen()
    out = notebook.output(0)
    expect(out.locator(".jp-mod-trusted .ornb-static")).to_have_count(0)
    assert_whole(out.locator(".ornb-static"), math=False)
    expect(out.locator(".ornb-static").get_by_text("\\frac{a}{b}")).to_have_count(2)
    expect(out.get_by_text(GO_ON)).to_be_visible()
    expect(out).not_to_contain_text(GONE)
    expect(out).to_contain_text("needs a running kernel")


def trusted(lab: Lab, notebook: nbformat.NotebookNode, name: str) -> LabNotebook:
    """Open a notebook that was run elsewhere, and trust it."""
    folder = lab.root / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    nbformat.write(notebook, folder / f"{name}.ipynb")
    lab.close_all()
    shown = lab.show(f"{name}/{name}.ipynb")
    # The command is for the notebook in front, and does nothing before it is there.
    shown.page.wait_for_function(
        "path => jupyterapp.shell.currentWidget?.context?.path === path"
        " && jupyterapp.shell.currentWidget.context.isReady"
        " && jupyterapp.commands.isEnabled('notebook:trust')",
        arg=f"{name}/{name}.ipynb",
    )
    trust = "() => { ornbTest.trusting = jupyterapp.commands.execute('notebook:trust'); }"
    shown.page.evaluate(trust)
    shown.page.locator(".jp-Dialog .jp-mod-accept").click()
    shown.page.evaluate("() => ornbTest.trusting")
    shown.save()  # as trusting does: closed in the middle of it, a notebook complains in a dialog
    return shown


def test_a_notebook_with_stored_widgets_shows_the_conversation(
    lab: Lab, executed: nbformat.NotebookNode
) -> None:
    assert "widgets" in executed.metadata
    notebook = trusted(lab, executed, "executed")
    shown = notebook.locator(".jp-mod-trusted .ornb-static")
    expect(shown).to_have_count(1)
    assert_whole(shown)
    frame = notebook.locator(".ornb-chat")  # drawn from the stored state, with nothing in it
    expect(frame).to_have_count(1)
    expect(frame).to_be_hidden()
    expect(notebook.output(0).get_by_text(GO_ON)).to_be_visible()
    lab.console_errors.clear()


def test_a_comparison_with_stored_widgets_shows_its_table_alone(
    lab: Lab, service: str, tmp_path: Path
) -> None:
    cell = f"import ornb\nornb.connect(base_url={service!r})\nornb.compare('Hi', ['acme/orbit'])"
    executed = run_headless(notebook_of([cell]), tmp_path)
    assert "widgets" in executed.metadata
    notebook = trusted(lab, executed, "compared")
    shown = notebook.locator(".jp-mod-trusted .ornb-static")
    expect(shown).to_contain_text("It costs from $5 to $10, and")
    expect(notebook.locator(".ornb-compare")).to_have_count(1)
    expect(notebook.locator(".ornb-compare")).to_be_hidden()
    lab.console_errors.clear()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
@pytest.mark.parametrize("state", [True, False], ids=["state", "no state"])
def test_an_exported_page_shows_the_conversation(
    executed: nbformat.NotebookNode,
    browser: Browser,
    tmp_path: Path,
    state: bool,
    script: bool,
) -> None:
    if not state:
        del executed.metadata["widgets"]
    context = browser.new_context(java_script_enabled=script, offline=True)
    context.set_default_timeout(LONGEST_S * 1000)
    page = context.new_page()
    html, _ = HTMLExporter().from_notebook_node(executed)
    file = tmp_path / "exported.html"
    file.write_text(html, encoding="utf-8")
    page.goto(file.as_uri())
    assert_whole(page.locator(".ornb-static"))
    expect(page.locator("body")).not_to_contain_text(GONE)
    context.close()
