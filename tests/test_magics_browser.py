"""%%ornb in a real JupyterLab: it streams, stops, is saved with its facts, and helps to type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from playwright.sync_api import expect

KEY = "sk-or-v1-" + "5e" * 32
SLOW = """--param 'ornb={"simulate": {"tokens": 4000, "chunk_s": 0.05}}'"""
QUICK = """--param 'ornb={"simulate": {"tokens": 12, "chunk_s": 0}}'"""
SETUP = "import ornb\nornb.connect(offline=True)\nnumber = 7"


def audits(file: Path) -> pd.DataFrame:
    """The facts of all calls whose answers are in a notebook's file, as docs/magics.md has it."""
    notebook = nbformat.read(file, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return pd.DataFrame([o.metadata["ornb"] for o in outputs if "ornb" in o.get("metadata", {})])


def test_an_answer_streams_and_the_stop_button_keeps_the_part(lab: Any) -> None:
    notebook = lab.open([SETUP, f"%%ornb openai/gpt-4o-mini --into reply {SLOW}\nHi", "ornb.usage"])
    notebook.start_all()
    output = notebook.output(1).locator(".jp-RenderedHTMLCommon").first
    expect(output).to_contain_text("This is a canned")
    length = len(output.inner_text())
    notebook.page.wait_for_function(
        "([element, length]) => element.innerText.length > length + 20",
        arg=[output.element_handle(), length],
    )
    notebook.interrupt()
    notebook.wait_idle()
    expect(notebook.output(1)).to_contain_text("Stopped: what had arrived is kept above.")
    expect(output).to_contain_text("stopped")
    assert notebook.python("[reply.status, len(reply.text) > 20]") == ["stopped", True]
    assert notebook.python("ornb.usage.df['status'].tolist()") == ["stopped"]


def test_what_was_answered_can_be_audited_in_the_saved_file(lab: Any) -> None:
    asked = "openai/gpt-4o-mini"
    notebook = lab.open(
        [
            f"import os\nos.environ['OPENROUTER_API_KEY'] = 'sk-or-v1-' + '5e' * 32\n{SETUP}",
            f"%%ornb {asked} --temperature 0 --label lesson {QUICK}\nWhat is {{{{number}}}}?",
            f"%%ornb {asked} --chat talk {QUICK}\nHi",
            f"%%ornb --chat talk {QUICK}\nAnd?",
        ]
    )
    notebook.run_all()
    notebook.save()
    assert KEY not in notebook.file.read_text(encoding="utf-8")
    found = audits(notebook.file)
    assert found["model"].tolist() == [asked] * 3
    assert set(found["served_model"]) == {"ornb/canned"}
    assert set(found["source"]) == {"canned"}
    assert found["label"].tolist() == ["lesson", "%%ornb", "%%ornb"]
    assert found["params"][0]["temperature"] == 0
    assert found["completion_tokens"].tolist() == [12, 12, 12]
    assert found["generation_id"].is_unique
    assert pd.to_datetime(found["started_at"]).is_monotonic_increasing
    reopened = notebook.close_and_reopen()
    expect(reopened.output(3)).to_contain_text("canned answer")
    assert "metadata" in reopened.outputs(3)[0]
    reopened.locator(".jp-Cell").first.wait_for()
    again = reopened.python(f"len(__import__('ornb').Conversation.load({notebook.file.name!r}))")
    assert again == 4, "the last output holds the whole conversation"


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("%%ornb openai/gpt-4o-mi", "openai/gpt-4o-mini"),
        ("%%ornb --temp", "--temperature"),
        ("%ornb mod", "models"),
    ],
)
def test_the_tab_key_completes(lab_as_left: Any, typed: str, wanted: str) -> None:
    notebook = lab_as_left.ran(SETUP + "\nornb.models()\n%ornb", "")
    # The first time, IPython loads what completes Python: seconds, in which a person waits.
    notebook.python("get_ipython().kernel.do_complete('print', 5)['status']")
    editor = notebook.cell(1).locator(".cm-content")
    editor.click()
    notebook.page.keyboard.press("ControlOrMeta+a")
    notebook.page.keyboard.type(typed)
    line = notebook.cell(1).locator(".cm-line").first
    # One proposal is taken at once, several are listed.
    shown = notebook.page.locator(".jp-Completer:visible").or_(line.filter(has_text=wanted)).first
    notebook.page.keyboard.press("Tab")
    expect(shown).to_contain_text(wanted)
    notebook.page.keyboard.press("Escape")


def test_a_chat_on_the_page_is_gone_on_with(lab: Any) -> None:
    notebook = lab.open(
        [
            SETUP,
            "chat = ornb.Chat('openai/gpt-4o-mini')\nchat",
            f"%%ornb --chat chat {QUICK}\nWhat is {{{{number}}}}?",
        ]
    )
    notebook.run_all()
    expect(notebook.output(1)).to_contain_text("What is 7?")
    expect(notebook.output(2)).to_contain_text("canned answer")
    expect(notebook.output(2)).not_to_contain_text("Answering in the chat")
    assert notebook.outputs(2)[0]["metadata"]["ornb"]["status"] == "ok"


def test_several_models_are_compared_side_by_side(lab: Any) -> None:
    models = "openai/gpt-4o-mini,meta-llama/llama-3.1-8b-instruct"
    notebook = lab.open(
        [SETUP, f"%%ornb --compare {models} --into both {QUICK}\nHi {{{{number}}}}"]
    )
    notebook.run_all()
    for model in models.split(","):
        expect(notebook.output(1)).to_contain_text(model)
    assert notebook.python("both.df['status'].tolist()") == ["ok", "ok"]


def test_models_and_usage_are_tables(lab: Any) -> None:
    cells = [
        SETUP,
        "%ornb models gpt-4o --no-batch",
        f"%%ornb openai/gpt-4o {QUICK}\nHi",
        "%ornb usage",
    ]
    notebook = lab.open(cells)
    notebook.run_all()
    expect(notebook.output(1).locator("table")).to_contain_text("openai/gpt-4o-mini")
    expect(notebook.output(1)).to_contain_text("ornb.models(search='gpt-4o', batch=False)")
    expect(notebook.output(3)).to_contain_text("openai/gpt-4o")
