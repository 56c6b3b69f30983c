"""The harness opens, runs, saves and reloads notebooks in a real JupyterLab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab import is_foreign
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab import Lab
    from playwright.sync_api import Page

COUNTER = """
import anywidget, traitlets

class Counter(anywidget.AnyWidget):
    _esm = '''
    export default {
      render({model, el}) {
        const button = document.createElement("button");
        const show = () => { button.textContent = `count ${model.get("value")}`; };
        button.onclick = () => {
          model.set("value", model.get("value") + 1);
          model.save_changes();
        };
        model.on("change:value", show);
        show();
        el.append(button);
      }
    }'''
    value = traitlets.Int(0).tag(sync=True)

counter = Counter()
counter
"""


def test_printed_text_figure_and_slider_are_shown(lab: Lab) -> None:
    notebook = lab.open(
        [
            "print('hello from the kernel')",
            "import plotly.graph_objects as go; go.Figure(go.Bar(y=[1, 3, 2]))",
            "import ipywidgets; slider = ipywidgets.IntSlider(3, description='n'); slider",
        ]
    )
    notebook.run_all()
    assert notebook.outputs(0)[0]["text"] == "hello from the kernel\n"
    expect(notebook.output(1).locator(".main-svg").first).to_be_visible()
    notebook.output(2).get_by_role("slider").press("ArrowRight")
    expect(notebook.output(2).locator(".widget-readout")).to_have_text("4")
    assert notebook.python("slider.value") == 4


def test_anywidget_draws_and_a_click_reaches_the_kernel(lab: Lab) -> None:
    notebook = lab.open([COUNTER]).run_all()
    button = notebook.output(0).get_by_role("button", name="count 0")
    button.click()
    expect(notebook.output(0).get_by_role("button", name="count 1")).to_be_visible()
    assert notebook.python("counter.value") == 1


def test_saved_notebook_is_there_again_after_reopening_and_reloading(lab: Lab) -> None:
    notebook = lab.open(["import os; print('process', os.getpid())"]).run_all()
    first = notebook.save().cells[0].outputs[0].text
    process = notebook.python("os.getpid()")

    notebook = notebook.reload()
    assert notebook.outputs(0)[0]["text"] == first
    assert notebook.python("os.getpid()") == process

    notebook = notebook.close_and_reopen(kernel=True)
    assert notebook.python("os.getpid()") == process

    notebook = notebook.close_and_reopen()
    assert notebook.outputs(0)[0]["text"] == first
    assert notebook.restart_run_all().outputs(0)[0]["text"] != first


def test_failing_cell_fails_the_run_by_name(lab: Lab) -> None:
    notebook = lab.open(["1 / 0"])
    with pytest.raises(AssertionError, match="cell 0: ZeroDivisionError"):
        notebook.run_all()
    assert notebook.run_all(errors=True).errors() == ["cell 0: ZeroDivisionError: division by zero"]


def test_interrupt_ends_a_running_cell(lab: Lab) -> None:
    notebook = lab.open(["print('started', flush=True)\nimport time; time.sleep(600)"]).start_all()
    expect(notebook.output(0)).to_contain_text("started")
    notebook.interrupt()
    notebook.wait_idle()
    assert notebook.errors() == ["cell 0: KeyboardInterrupt: "]


def test_kernel_has_a_private_home_and_no_key(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = lab.open(["import os"]).run_all()
    assert notebook.python("os.environ['HOME']") == str(lab.root.parent)
    names = notebook.python("sorted(os.environ)")
    assert [name for name in names if name.startswith("OPENROUTER")] == []


def test_dark_theme_and_screenshot(lab: Lab, tmp_path: Path) -> None:
    notebook = lab.open(["print('dark')"]).run_all()
    notebook.theme("dark")
    picture = notebook.screenshot(tmp_path / "dark.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_notebook_file_is_copied_and_left_as_it_is(lab: Lab, tmp_path: Path) -> None:
    source = lab.open(["1 + 1"]).file
    copied = tmp_path / source.name
    copied.write_bytes(source.read_bytes())
    (tmp_path / "beside.txt").write_text("data of the lesson")
    before = copied.read_bytes()
    notebook = lab.open(copied).run_all()
    notebook.save()
    assert notebook.python("open('beside.txt').read()") == "data of the lesson"
    assert copied.read_bytes() == before


@pytest.mark.parametrize(
    ("url", "foreign"),
    [
        ("http://127.0.0.1:8888/lab", False),
        ("http://localhost:8888/x", False),
        ("ws://[::1]:80/api", False),
        ("data:text/plain,x", False),
        ("blob:http://127.0.0.1/1", False),
        ("https://example.com/", True),
        ("http://127.0.0.1.example.com/", True),
        ("http://localhost:80@example.com/", True),
        ("wss://example.com/", True),
        ("http://10.0.0.1/", True),
    ],
)
def test_only_this_machine_is_not_foreign(url: str, foreign: bool) -> None:
    assert is_foreign(url) is foreign


def test_foreign_request_is_refused_and_recorded(lab: Lab) -> None:
    for url in ("https://example.com/picture.png", "http://10.1.2.3/x"):
        with pytest.raises(PlaywrightError, match="Failed to fetch"):
            lab.page.evaluate("url => fetch(url, {mode: 'no-cors'})", url)
        assert lab.traffic.foreign == [url]
        lab.traffic.foreign.clear()
    assert lab.console_errors
    lab.console_errors.clear()


def test_what_jupyterlab_says_of_a_kernel_that_ends_is_no_error(lab: Lab) -> None:
    notebook = lab.open(["1"])
    with lab.page.expect_event("pageerror") as uncaught:
        lab.page.evaluate(
            """path => {
              const { kernel } = ornbTest.panel(path).sessionContext.session;
              kernel.requestExecute({ code: '1' }).done.then(() => {});
              kernel.dispose();
            }""",
            notebook.path,
        )
    assert "Canceled future for" in str(uncaught.value)
    assert lab.console_errors == []
    with lab.page.expect_event("pageerror"):
        lab.page.evaluate("void Promise.reject(new Error('a fault'))")
    assert "a fault" in lab.console_errors.pop()


def test_bare_page_runs_modules(new_page: Callable[..., Page]) -> None:
    page = new_page(color_scheme="dark")
    page.set_content("<main></main>")
    page.add_script_tag(
        content="document.querySelector('main').textContent = "
        "matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'",
        type="module",
    )
    expect(page.locator("main")).to_have_text("dark")
