"""The notebooks in JupyterLab: as they are stored, run, and run once more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import expect

from tests.axe import violations
from tests.test_notebooks import shown_by, source_words
from tools.outputs import FIGURE

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))

QUICK = """
import ornb.offline, ornb.recording
ornb.offline.OfflineServer.__init__.__kwdefaults__.update(tokens_per_s=2000.0, first_token_s=0.02)
ornb.recording.Replay.__init__.__kwdefaults__.update(pace="instant")
"""
"""Answers at once, canned and recorded: a reader's patience is not what is tried here."""

THEIRS = (
    'aria-input-field-name: <div spellcheck="false"',  # the editor of a cell has no name
    'scrollable-region-focusable: <div tabindex="-1" class="cm-scroller',  # nor a way to scroll it
    'scrollable-region-focusable: <div class="lm-Widget jp-RenderedHTMLCommon',  # wide table
)
"""What axe finds in JupyterLab 4.6.6 itself, whatever runs in it: docs/where.md tells it."""

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_read_and_then_runs_in_jupyterlab(lab: Any, path: Path) -> None:
    """Without a console error, and without a request to another host: the fixture sees to that."""
    cells = nbformat.read(path, as_version=4).cells
    figures = sum(
        FIGURE in output.get("data", ()) for c in cells for output in c.get("outputs", ())
    )
    notebook = lab.open(path, QUICK)
    drawn = notebook.locator(".js-plotly-plot .plot-container")
    for runs in range(3):
        if runs:
            notebook.run_all()
        expect(drawn).to_have_count(figures)
        expect(notebook.panel).not_to_contain_text("Error displaying widget")
        expect(notebook.panel).not_to_contain_text("Loading widget")
    assert notebook.errors() == []
    assert source_words(path) in shown_by(notebook.save()), "it says where its answers come from"


@pytest.mark.long
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_axe_finds_nothing_serious_in_a_notebook_that_was_run(lab: Any, path: Path) -> None:
    notebook = lab.open(path, QUICK).run_all()
    found: dict[str, list[str]] = {}
    usual = lab.page.viewport_size
    for width in (1440, 700):
        lab.page.set_viewport_size({"width": width, "height": 900})
        for theme in ("light", "dark"):
            notebook.theme(theme)
            told = violations(lab.page, ".jp-Cell", serious=True)
            found[f"{width} {theme}"] = [one for one in told if not one.startswith(THEIRS)]
    lab.page.set_viewport_size(usual)
    assert not any(found.values()), found
