"""Running a notebook in a kernel that knows nothing of this machine and of who works on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import nbclient
import nbformat

from ornb.offline import model

OURS = ("OPENROUTER_", "ORNB_", "JUPYTER_", "JPY_", "XDG_", "PLOTLY_", "COLUMNS")
"""Beginnings of the variables that would change what a notebook shows, or where its calls go."""
KEPT = ("ORNB_OFFLINE_MODEL",)
"""One that may forbid the local model."""


@contextmanager
def copied(notebook: Path) -> Iterator[Path]:
    """Lend a copy of a notebook in a copy of its folder: running it changes nothing here.

    Parameters
    ----------
    notebook : pathlib.Path
        An .ipynb file.

    Yields
    ------
    pathlib.Path
        The copy; what the run leaves beside it goes with it.
    """
    with TemporaryDirectory() as place:
        folder = Path(place) / notebook.parent.name
        shutil.copytree(notebook.parent, folder, ignore=shutil.ignore_patterns(".*"))
        yield folder / notebook.name


def run(
    notebook: Path, opening: str = "", *, seconds: int = 600, **variables: str
) -> nbclient.NotebookClient:
    """Run a copied notebook: without a key, in a home of its own, with the local model at hand.

    Parameters
    ----------
    notebook : pathlib.Path
        What `copied` has lent; the file is not changed.
    opening : str
        Python code that runs before the first cell and leaves no trace.
    seconds : int
        Patience with each cell.
    **variables : str
        More for the kernel's environment.

    Returns
    -------
    nbclient.NotebookClient
        Its ``nb`` is the notebook with outputs, ``widget_state`` what the widgets had at the end.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell failed.
    """
    content = nbformat.read(notebook, as_version=4)
    metadata = content.metadata.copy()
    first = nbformat.v4.new_code_cell(opening)
    content.cells.insert(0, first)
    client = nbclient.NotebookClient(
        content,
        timeout=seconds,
        record_timing=False,
        resources={"metadata": {"path": str(notebook.parent)}},
    )
    client.execute(env=_environment(notebook.parent.parent / "home") | variables)
    content.cells.remove(first)
    content.metadata = metadata
    for cell in content.cells:
        for each in (cell, *cell.get("outputs", [])):
            if each.get("execution_count"):
                each.execution_count -= 1
    return client


def _environment(home: Path) -> dict[str, str]:
    home.mkdir()
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or not name.startswith(OURS)
    }
    return kept | {
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "ORNB_CACHE_DIR": str(model.cache_dir()),
        "PLOTLY_RENDERER": "plotly_mimetype",  # the figure itself, without a script that draws it
        "PYTHONHASHSEED": "0",
    }
