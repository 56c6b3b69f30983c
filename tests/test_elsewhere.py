"""What ornb is where no JupyterLab is: a script, a terminal, a machine without IPython, a file."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter, MarkdownExporter
from nbconvert.exporters import PythonExporter

from tests.lab import notebook_of, private_environment, run_headless
from tests.test_elsewhere_browser import program

CELLS = [
    "import ornb\npicker = ornb.ModelPicker(value='openai/gpt-4o-mini')\npicker",
    "chat = ornb.Chat(picker)\nchat",
    "reply = chat.ask('What is a token?')",
    "%%ornb --label magic\nIs it a word?",
    "ornb.usage.panel()",
]
NO_NOTEBOOK = """
import sys

class Refused:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {"IPython", "anywidget", "comm", "ipykernel", "ipywidgets"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refused)
"""


def run(folder: Path, source: str, *options: str) -> str:
    """Run a script in a Python of its own, with warnings as errors; give what it wrote."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(source), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, *options, str(script)],
        cwd=folder,
        env=private_environment(folder, PYTHONIOENCODING="utf-8"),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_ipython_everything_but_the_widgets_works(tmp_path: Path) -> None:
    source = """
        import json
        import ornb

        missing = []
        for name in ornb.__all__:
            try:
                getattr(ornb, name)
            except ModuleNotFoundError as error:
                missing.append(name)
        ornb.connect(offline=True)
        reply = ornb.ask("What is a token?", max_tokens=5)
        table = ornb.batch(["a", "b"], "Hi {{text}}", max_tokens=5, progress=False)
        print(json.dumps({
            "missing": missing,
            "source": reply.source,
            "models": len(ornb.models()),
            "batch": list(table["status"]),
            "usage": str(ornb.usage).splitlines()[0],
            "loaded": "IPython" in sys.modules,
        }))
    """
    told = json.loads(run(tmp_path, NO_NOTEBOOK + textwrap.dedent(source)).splitlines()[-1])
    assert told["missing"] == ["Chat", "Comparison", "ModelPicker", "compare", "sign_in"]
    assert told["source"] == "canned"
    assert told["models"] > 300
    assert told["batch"] == ["ok", "ok"]
    assert told["usage"].startswith("UsageTracker: 3 calls")
    assert not told["loaded"]


def test_in_a_script_the_widgets_are_objects_that_answer(tmp_path: Path) -> None:
    source = """
        import sys
        import ornb

        ornb.connect(offline=True)
        reply = ornb.ask("What is a token?", max_tokens=5)
        print(reply.text, reply.cost_usd, sep="|")
        assert "IPython" not in sys.modules
        chat = ornb.Chat(ornb.ModelPicker(value="openai/gpt-4o-mini"))
        chat.ask("And a word?", max_tokens=5)
        print(len(chat.conversation), chat.save("talk.md").name, chat)
        print(ornb.compare("Hi", ["openai/gpt-4o-mini"], max_tokens=5).df["status"].tolist())
        print(ornb.usage)
    """
    told = run(tmp_path, source, "-W", "error")
    assert "canned answer" in told
    assert "2 talk.md Live chat (needs a running kernel)" in told
    assert "['ok']" in told
    assert "UsageTracker: 3 calls" in told
    assert "What is a token?" not in (tmp_path / "talk.md").read_text(encoding="utf-8")


# ------------------------------------------------------------------ a terminal


class Terminal:
    """IPython as a person has it: in a terminal, with its own editor of lines."""

    def __init__(self, folder: Path) -> None:
        pexpect = pytest.importorskip("pexpect")  # comes with IPython where there are terminals
        self.end = pexpect.EOF
        self.number = 0
        self.process = pexpect.spawn(
            sys.executable,
            ["-m", "IPython", "--no-banner", "--no-confirm-exit", "--colors=NoColor"],
            env=private_environment(folder, TERM="xterm-256color"),
            cwd=str(folder),
            encoding="utf-8",
            timeout=60,
            dimensions=(60, 160),
        )

    def cell(self, text: str, *expected: str) -> None:
        """Type a cell, run it, and wait for what it should write."""
        self.number += 1
        self.process.expect(rf"In \[{self.number}\]:")
        self.process.send(text.replace("\n", "\r"))
        self.process.send("\x1b\r")  # Alt+Enter runs it as it is
        for words in expected:
            self.process.expect_exact(words)


HOSTS = {
    "nothing": "class Host: pass",
    "a kernel and nothing else, as Solara's": "class Host: kernel = object()",
    "half of the magics": """
class Host:
    kernel = object()
    execution_count = 3

    class magics_manager:
        registry = {}

    @staticmethod
    def register_magics(*magics):
        taken.extend(magics)
""",
    "events that take no other": """
class Host:
    class events:
        @staticmethod
        def register(name, function):
            raise KeyError(name)

        @staticmethod
        def unregister(name, function):
            raise ValueError(name)
""",
}
WIDGETS = """
import IPython
import IPython.core.getipython

taken, host = [], Host()
IPython.get_ipython = IPython.core.getipython.get_ipython = lambda: host

import ornb

ornb.connect(offline=True)
picker = ornb.ModelPicker(value="openai/gpt-4o-mini")
chat = ornb.Chat(picker)
said = chat.ask("Hi", max_tokens=3)
panel = ornb.usage.panel()
made = ornb.compare("Hi", ["openai/gpt-4o-mini"], wait=True, max_tokens=3)
for widget in (picker, chat, panel, made):
    if hasattr(widget, "_ipython_display_"):
        widget._ipython_display_()
assert chat.ask("And now?", max_tokens=3).status == "ok"
assert not chat.error, chat.error
panel.close()
print("DONE", said.status, len(ornb.usage), [each.__name__ for each in taken])
"""


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_whose_ipython_has_little_is_a_host(tmp_path: Path, host: str) -> None:
    raised = (
        "import threading\nthreading.excepthook = lambda told: print('RAISED', told.exc_value)\n"
    )
    said = run(tmp_path, raised + HOSTS[host] + WIDGETS, "-W", "error")
    assert "RAISED" not in said
    magics = "['OrnbMagics']" if "magics" in host else "[]"
    assert said.splitlines()[-1] == f"DONE ok 3 {magics}"


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_in_ipythons_terminal_magic_table_and_widgets_write_text(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.cell("import ornb")
    terminal.cell("ornb.usage", "UsageTracker: no calls yet")
    terminal.cell(
        "%%ornb --label terminal\nWhat is a token?",
        "ornb is offline",
        "This is a canned answer",
        "not billed",
    )
    terminal.cell("ornb.usage", "UsageTracker: 1 call", "terminal", "ornb/canned")
    terminal.cell("ornb.Chat()", "Live chat (needs a running kernel)")
    terminal.cell("ornb.ModelPicker()", "models")
    terminal.cell("ornb.sign_in()", "ornb.sign_in(prompt=True)")
    terminal.cell("exit")
    terminal.process.expect(terminal.end)
    terminal.process.close()
    assert terminal.process.exitstatus == 0


# ------------------------------------------------------------------ files of notebooks


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """A notebook with picker, chat, a prompt as a cell and the table, run without a browser."""
    return run_headless(notebook_of(CELLS), tmp_path_factory.mktemp("executed"))


@pytest.mark.parametrize("state", [True, False], ids=["state", "no state"])
def test_an_html_export_holds_all_that_was_said_and_asks_the_web_for_nothing_of_ours(
    executed: nbformat.NotebookNode, state: bool
) -> None:
    notebook = copy.deepcopy(executed)
    if not state:
        del notebook.metadata["widgets"]
    html, _ = HTMLExporter().from_notebook_node(notebook)
    assert html.count("What is a token?") >= 2  # the cell that asks, and the transcript
    assert html.count("canned answer") >= 2
    assert "gpt-4o-mini" in html
    assert html.count("<strong>Usage</strong>") == 1
    body = html[html.index("<body") :]
    assert not re.findall(r"<(?:img|link|iframe)[^>]+(?:src|href)=\"https?:", body)


def test_a_markdown_export_holds_what_was_said(executed: nbformat.NotebookNode) -> None:
    text, _ = MarkdownExporter().from_notebook_node(executed)
    assert "What is a token?" in text
    assert "canned answer" in text


def test_a_script_export_runs_the_magic_again(executed: nbformat.NotebookNode) -> None:
    text, _ = PythonExporter().from_notebook_node(executed)
    assert "run_cell_magic('ornb', '--label magic', 'Is it a word?" in text
    compile(text, "exported.py", "exec")


# ------------------------------------------------------------------ papermill


@pytest.mark.slow
def test_papermill_sets_parameters_and_runs_the_tour(tmp_path: Path) -> None:
    tour = Path(__file__).parents[1] / "notebooks" / "01-start-here.ipynb"
    notebook = nbformat.read(tour, as_version=4)
    cell = next(cell for cell in notebook.cells if cell.source.startswith("country = "))
    cell.metadata["tags"] = ["parameters"]
    papermill = program("papermill")  # what is above holds where it is not installed too
    (tmp_path / "run").mkdir()
    nbformat.write(notebook, tmp_path / "run" / "tour.ipynb")
    done = subprocess.run(
        [papermill, "tour.ipynb", "out.ipynb", "-p", "country", "Chile", "--no-progress-bar"],
        cwd=tmp_path / "run",
        env=private_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    out = nbformat.read(tmp_path / "run" / "out.ipynb", as_version=4)
    assert any('country = "Chile"' in cell.source for cell in out.cells)
    outputs = [output for cell in out.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    assert "canned" in str(outputs)
    assert "UsageTracker" in str(outputs)


def test_where_a_server_draws_no_widget_the_saved_text_says_what_to_do(tmp_path: Path) -> None:
    installed = tmp_path / "jupyter_server_documents-0.3.3.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: jupyter-server-documents\nVersion: 0.3.3\n", encoding="utf-8"
    )
    cells = [f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport ornb\nornb.Chat()"]
    run = notebook_of(cells)
    run_headless(run, tmp_path, JPY_SESSION_NAME="lesson.ipynb")
    texts = [output["data"]["text/plain"] for output in run.cells[0].outputs if "data" in output]
    assert "jupyter-server-documents 0.3.3 draws no widget" in texts[0]
    assert "chat.save(" in texts[0]
