"""The notebooks run from top to bottom without a key, and are stored clean."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from lab import private_environment, run_headless

from ornb.offline import model

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
ALL = sorted(NOTEBOOKS.glob("*.ipynb"))
START_HERE = NOTEBOOKS / "01-start-here.ipynb"

each_notebook = pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)


def outputs_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def copied_folder(tmp_path: Path) -> Path:
    """Copy the notebooks with what lies beside them: a run must not change the checkout."""
    ignored = shutil.ignore_patterns(".*", "__pycache__")
    return Path(shutil.copytree(NOTEBOOKS, tmp_path / "notebooks", ignore=ignored))


def test_the_tour_exists() -> None:
    assert START_HERE in ALL


@pytest.mark.slow
@each_notebook
def test_runs_without_a_key_on_canned_answers(path: Path, tmp_path: Path) -> None:
    folder = copied_folder(tmp_path)
    notebook = run_headless(nbformat.read(path, as_version=4), folder)
    assert "canned" in str(outputs_of(notebook)), "no output says where its answer came from"


@pytest.mark.slow
def test_the_tour_runs_under_nbmake_on_the_local_model(tmp_path: Path) -> None:
    there, reason = model.available()
    if not there:
        pytest.skip(reason)
    tour = copied_folder(tmp_path) / START_HERE.name
    environment = private_environment(
        tmp_path, ORNB_OFFLINE_MODEL="auto", ORNB_CACHE_DIR=str(model.cache_dir())
    )
    # In a process of its own, away from this suite's settings; --overwrite keeps the outputs.
    options = ["-c", os.devnull, "-p", "no:cacheprovider", "--nbmake", "--overwrite"]
    command = [sys.executable, "-m", "pytest", *options, "--nbmake-timeout=120", str(tour)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    shown = str(outputs_of(nbformat.read(tour, as_version=4)))
    assert "SmolLM2" in shown
    assert "canned" not in shown


@each_notebook
def test_is_a_valid_notebook_for_any_python_3(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


@each_notebook
def test_stored_outputs_hold_no_error(path: Path) -> None:
    outputs = outputs_of(nbformat.read(path, as_version=4))
    assert [output.evalue for output in outputs if output.output_type == "error"] == []


@each_notebook
def test_stores_no_widget_state(path: Path) -> None:
    """It makes files large, and is the one place where a typed key could come to rest."""
    assert "widgets" not in nbformat.read(path, as_version=4).metadata


@each_notebook
def test_holds_no_key_and_no_path_of_one_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"sk-or-v1-\w{16}", text)
    assert not re.search(r"/(?:home|Users|root|private|var/folders)/\w", text)
