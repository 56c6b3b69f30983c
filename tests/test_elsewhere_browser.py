"""Notebook 7, Voilà and marimo show the widgets too: for real, from an environment of their own.

`make test-matrix` makes these environments; `ORNB_PLACES` names another folder that
has them. A test whose environment is not there is skipped, saying so.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.firefox import firefox
from tests.lab import (
    PAGE_SCRIPT,
    Lab,
    LabNotebook,
    Traffic,
    lab_server,
    notebook_of,
    private_environment,
)
from tests.wire import FINISH, STREAM, ChatServer, delta

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).parents[1]
PLACES = Path(os.environ.get("ORNB_PLACES", ROOT))
PROGRAMS = PLACES / ".venv-elsewhere/bin"
BOX = "Message to the model"
VOILAS_OWN = re.compile("fontawesome-free|polyfill|require")
"""What Voilà's own page asks the web for (icons of its own); nothing of ours needs it."""


def program(name: str) -> Path:
    """Find a program of the other environment, or skip."""
    path = PROGRAMS / name
    if not path.exists():
        pytest.skip(f"no {name} in {PROGRAMS}: make test-matrix installs it")
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(command: list[str], folder: Path, url: str) -> Iterator[str]:
    """Run a server in `folder` until the block ends; inside, `url` answers."""
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=private_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 90
        while True:
            with contextlib.suppress(requests.RequestException):
                if requests.get(url, timeout=60).ok:
                    break
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def service() -> Iterator[str]:
    with ChatServer([STREAM, delta("A *piece*"), 0.2, delta(" of text."), FINISH]) as server:
        yield server.url


@pytest.fixture
def visit(browser: Browser) -> Iterator[Any]:
    """A maker of pages that notes what they asked of other hosts and complained of."""
    contexts: list[BrowserContext] = []

    def make() -> tuple[Page, Traffic]:
        context = browser.new_context(viewport={"width": 1200, "height": 900})
        contexts.append(context)
        traffic = Traffic(context)
        return context.new_page(), traffic

    yield make
    for context in contexts:
        context.close()


CELLS = [
    "import ornb\npicker = ornb.ModelPicker(value='openai/gpt-4o-mini')\npicker",
    "ornb.connect(base_url={url!r})\nchat = ornb.Chat('acme/orbit')\nchat",
]
KERNEL_IDLE = "jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
MAGIC = "%%ornb acme/orbit\nWhat is a token?"


def notebook(folder: Path, url: str, *more: str) -> Path:
    """A notebook in a folder of its own: a picker with the bundled catalogue, and a chat."""
    (folder / "root").mkdir()
    path = folder / "root" / "lesson.ipynb"
    nbformat.write(notebook_of([*(cell.format(url=url) for cell in CELLS), *more]), path)
    return path


def pick_and_chat(page: Page) -> None:
    """Search a model, pick it, ask, and read the answer, with the mouse and the keys."""
    picker, chat = page.locator(".ornb-picker"), page.locator(".ornb-chat")
    picker.get_by_role("searchbox").fill("claude haiku")
    picker.get_by_role("row", name=re.compile("Claude Haiku 4.5")).click()
    expect(picker.locator(".chosen")).to_contain_text(re.compile("haiku", re.I))
    chat.get_by_label(BOX).fill("What is a token?")
    chat.get_by_label(BOX).press("Enter")
    expect(chat.get_by_label("Answer")).to_contain_text("A piece of text.")
    expect(chat.get_by_label("Answer").locator("em")).to_have_text("piece")
    expect(chat.get_by_label("Answer")).to_contain_text("$0.00015 billed")


def test_notebook_7_runs_picker_chat_and_magic(service: str, tmp_path: Path, visit: Any) -> None:
    notebook(tmp_path, service, MAGIC, "picker.value")
    port = free_port()
    command = [
        *(str(program("jupyter-notebook")), "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        f"--ServerApp.root_dir={tmp_path / 'root'}",
        "--IdentityProvider.token=secret",
        "--JupyterNotebookApp.expose_app_in_browser=True",
    ]
    url = f"http://127.0.0.1:{port}/notebooks/lesson.ipynb?token=secret"
    with serving(command, tmp_path, url):
        page, traffic = visit()
        page.goto(url)
        page.wait_for_function("window.jupyterapp?.started")
        page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
        page.wait_for_function(KERNEL_IDLE)
        traffic.console_errors.clear()  # Notebook's own words while it starts
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name=re.compile("^Run All Cells")).click()
        expect(page.locator(".ornb-chat")).to_be_visible()
        pick_and_chat(page)
        expect(page.locator(".jp-CodeCell").nth(2)).to_contain_text("A piece of text.")
        expect(page.locator(".ornb-static").last).to_contain_text("billed")
        page.screenshot(path=tmp_path / "notebook7.png")
        assert traffic.foreign == []
        assert traffic.console_errors == []


def test_voila_serves_picker_and_chat_without_code(
    service: str, tmp_path: Path, visit: Any
) -> None:
    path = notebook(tmp_path, service)
    port = free_port()
    command = [
        *(str(program("voila")), str(path), "--no-browser", "--Voila.ip=127.0.0.1"),
        *(f"--Voila.port={port}", "--Voila.port_retries=0"),
    ]
    with serving(command, tmp_path, f"http://127.0.0.1:{port}/") as url:
        page, traffic = visit()
        page.goto(url)
        expect(page.locator(".ornb-chat")).to_be_visible()
        expect(page.locator("body")).not_to_contain_text("import ornb")
        pick_and_chat(page)
        page.screenshot(path=tmp_path / "voila.png")
        assert [url for url in traffic.foreign if not VOILAS_OWN.search(url)] == []
        own = [line for line in traffic.console_errors if re.search(r"net::ERR_|voila\.js", line)]
        assert traffic.console_errors == own


MARIMO = """
import marimo

app = marimo.App()


@app.cell
def _():
    import ornb

    picker = ornb.ModelPicker(value="openai/gpt-4o-mini")
    picker
    return ornb, picker


@app.cell
def _(ornb):
    ornb.connect(base_url={url!r})
    chat = ornb.Chat("acme/orbit")
    chat
    return


if __name__ == "__main__":
    app.run()
"""


def test_marimo_shows_picker_and_chat(service: str, tmp_path: Path, visit: Any) -> None:
    (tmp_path / "lesson.py").write_text(MARIMO.format(url=service), encoding="utf-8")
    port = free_port()
    command = [
        *(str(program("marimo")), "run", str(tmp_path / "lesson.py"), "--headless", "--no-token"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]
    with serving(command, tmp_path, f"http://127.0.0.1:{port}/") as url:
        page, traffic = visit()
        page.goto(url)
        expect(page.locator(".ornb-chat")).to_be_visible()
        pick_and_chat(page)
        page.screenshot(path=tmp_path / "marimo.png")
        assert traffic.foreign == []


SHINY = """
import ornb
from shiny import App, reactive, ui
from shinywidgets import output_widget, render_widget


def server(input, output, session):
    @reactive.effect
    def show_what_arrives():
        reactive.invalidate_later(0.2)

    @render_widget
    def picker():
        return ornb.ModelPicker(value="openai/gpt-4o-mini")

    @render_widget
    def chat():
        ornb.connect(base_url={url!r})
        return ornb.Chat("acme/orbit")


app = App(ui.page_fluid(output_widget("picker"), output_widget("chat")), server)
"""
"""As docs/where.md says: without the effect an answer stands still."""


def test_shiny_shows_picker_and_chat(service: str, tmp_path: Path, visit: Any) -> None:
    app = tmp_path / "app.py"
    app.write_text(SHINY.format(url=service), encoding="utf-8")
    port = free_port()
    command = [str(program("shiny")), "run", "--port", str(port), str(app)]
    with serving(command, tmp_path, f"http://127.0.0.1:{port}/") as url:
        page, traffic = visit()
        page.goto(url)
        expect(page.locator(".ornb-chat")).to_be_visible()
        pick_and_chat(page)
        page.screenshot(path=tmp_path / "shiny.png")
        assert traffic.foreign == []


# ---- servers that keep a notebook themselves ---------------------------------------------------

ASKED_IN_A_CELL = "reply = chat.ask('Asked in a cell?')"


@contextlib.contextmanager
def other_lab(place: str, browser: Browser, folder: Path) -> Iterator[Lab]:
    """The JupyterLab of another environment, with the kernel of that."""
    home = PLACES / place
    if not home.exists():
        pytest.skip(f"no {home}: make test-matrix makes it")
    with lab_server(folder, home / "bin/python", str(home / "share/jupyter")) as wait_for_url:
        lab = Lab(browser, wait_for_url(), folder / "root")
        lab.load()
        yield lab
        lab.page.context.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what the server does by itself, such as saving."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def in_file(lab: LabNotebook) -> list[nbformat.NotebookNode]:
    """The cells as saved; while a server saves, its file is empty, or half there."""
    found: list[nbformat.NotebookNode] = []

    def whole() -> bool:
        with contextlib.suppress(nbformat.reader.NotJSONError):
            found.extend(nbformat.read(lab.file, as_version=4).cells)
        return bool(found)

    until(whole)
    return found


def saved(lab: LabNotebook) -> list[list[str]]:
    """The texts of the outputs in the file, cell by cell."""
    texts = [
        [one.get("data", {}).get("text/plain", one.get("text", "")) for one in cell.outputs]
        for cell in in_file(lab)
    ]
    return [[text for text in cell if "Live chat" not in text] for cell in texts]


def texts(outputs: list[dict[str, Any]]) -> str:
    return "".join(one["data"]["text/plain"] for one in outputs)


def ask_in(chat: Locator, question: str, answers: int) -> None:
    ended = chat.locator("article.answer").get_by_text("$0.00015 billed")
    expect(ended).to_have_count(answers - 1)  # while one is under way, Enter sends nothing
    chat.get_by_label(BOX).fill(question)
    chat.get_by_label(BOX).press("Enter")
    expect(ended).to_have_count(answers)


def test_a_server_that_keeps_outputs_keeps_the_chat_and_one_answer_of_a_cell(
    service: str, browser: Browser, tmp_path: Path
) -> None:
    cells = ["import ornb\n" + CELLS[1].format(url=service), MAGIC, ASKED_IN_A_CELL]
    with other_lab(".venv-documents", browser, tmp_path) as lab:
        notebook = lab.open(cells).start_all()  # such a server may leave a [*] at what is done
        chat = notebook.locator(".ornb-chat")
        ask_in(chat, "Why?", 2)
        until(lambda: str(saved(notebook)[0]).count("A *piece* of text.") == 2)
        kept = saved(notebook)
        assert [len(cell) for cell in kept] == [1, 1, 0]
        assert "You: Why?" in kept[0][0]
        assert "Asked in a cell?" in kept[0][0]
        expect(notebook.output(1).get_by_text("$0.00015 billed")).to_have_count(1)

        lab.load()
        notebook._within("open", "ornbTest.open(path)")
        ask_in(chat, "After the reload?", 3)
        expect(chat.get_by_text("not saved in the notebook")).to_be_hidden()
        until(lambda: "After the reload?" in str(saved(notebook)[0]))
        assert [len(cell) for cell in saved(notebook)] == [1, 1, 0]
        lab.page.screenshot(path=tmp_path / "documents.png")


def test_a_server_that_draws_no_widget_is_named_in_the_cell_and_answers_are_kept(
    service: str, browser: Browser, tmp_path: Path
) -> None:
    cells = ["import ornb\n" + CELLS[1].format(url=service), MAGIC, "chat.ask('Asked in a cell?')"]
    with other_lab(".venv-documents-3", browser, tmp_path) as lab:
        notebook = lab.open(cells).start_all()  # such a server may leave a [*] at what is done
        expect(notebook.output(0)).to_contain_text("draws no widget")
        expect(notebook.output(0)).to_contain_text("chat.save(")
        for cell in (1, 2):
            expect(notebook.output(cell).get_by_text("$0.00015 billed")).to_have_count(1)
        until(lambda: "billed" in str(saved(notebook)[2]))
        assert [len(cell) for cell in saved(notebook)][1:] == [1, 1]
        lab.page.screenshot(path=tmp_path / "documents3.png")


def test_a_second_persons_page_shows_a_conversation_once(
    service: str, browser: Browser, tmp_path: Path
) -> None:
    cells = ["import ornb\n" + CELLS[1].format(url=service), MAGIC, ASKED_IN_A_CELL]
    with other_lab(".venv-together", browser, tmp_path) as lab:
        notebook = lab.open(cells)
        second = Lab(browser, lab.url, lab.root)
        second.load()
        seen = LabNotebook(second, notebook.path)
        seen._within("open", "ornbTest.open(path)")
        notebook.start_all()
        chat = notebook.locator(".ornb-chat")
        ask_in(chat, "Why?", 2)
        for page in (notebook, seen):
            until(lambda page=page: texts(page.outputs(0)).count("$0.00015 billed") == 2)
            assert [len(page.outputs(cell)) for cell in range(3)] == [2, 1, 0]
        expect(seen.output(0).get_by_text("Why?")).to_have_count(1)
        expect(seen.output(1).get_by_text("$0.00015 billed")).to_have_count(1)
        notebook._within("save", "ornbTest.panel(path).context.save()")
        assert [len(cell.outputs) for cell in in_file(notebook)] == [2, 1, 0]  # it saves by itself
        second.page.context.close()


# ---- another browser ---------------------------------------------------------------------------

COMPARED = "compared = ornb.compare('What is a token?', ['acme/orbit', 'acme/comet'])"


def test_firefox_runs_picker_chat_and_compare(service: str, tmp_path: Path) -> None:
    cells = [*(cell.format(url=service) for cell in CELLS), COMPARED]
    with lab_server(tmp_path) as wait_for_url, firefox(tmp_path) as page:
        nbformat.write(notebook_of(cells), tmp_path / "root/lesson.ipynb")
        page.open(wait_for_url())
        page.until("window.jupyterapp?.started.then(() => true)")
        page.run(f"(() => {{ {PAGE_SCRIPT} }})()")
        page.run("ornbTest.open('lesson.ipynb')")
        page.click("document.querySelector('.jp-CodeCell .cm-content')")
        page.run("jupyterapp.commands.execute('notebook:run-all-cells').then(() => true)")

        page.click("document.querySelector('.ornb-picker input[type=search]')")
        page.type("claude haiku")
        row = "[...document.querySelectorAll('.ornb-picker [role=row]')].find(row => "
        page.click(row + "row.textContent.includes('Claude Haiku 4.5'))")
        page.until(
            "/haiku/i.test(document.querySelector('.ornb-picker .chosen')?.textContent ?? '')"
        )
        page.click(f"document.querySelector('.ornb-chat [aria-label=\"{BOX}\"]')")
        page.type("What is a token?\n")
        answer = "document.querySelector('.ornb-chat article.answer')"
        page.until(f"{answer}?.innerText.includes('$0.00015 billed')")
        assert page.run(f"{answer}.querySelector('em').textContent") == "piece"
        compared = "document.querySelector('.ornb-compare')"
        page.until(f"{compared}?.innerText.split('A piece of text.').length > 2")
        image = base64.b64decode(page.screenshot())
        (tmp_path / "firefox.png").write_bytes(image)
