"""Running a notebook in a kernel that knows nothing of this machine and of who works on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from tempfile import TemporaryDirectory
from typing import Any

import nbclient
import nbformat
import traitlets
from jupyter_client.client import KernelClient

from ornb.offline import model

OURS = ("OPENROUTER_", "ORNB_", "JUPYTER_", "JPY_", "XDG_", "PLOTLY_", "COLUMNS")
"""Beginnings of the variables that would change what a notebook shows, or where its calls go."""
KEPT = ("ORNB_OFFLINE_MODEL",)
"""One that may forbid the local model."""


class Executor(nbclient.NotebookClient):
    """Runs a notebook, and looks each second whether the kernel has answered.

    Where an ``Output`` widget changes, nbclient 0.11 sends its state on the very socket on which it
    waits for the end of the cell. That may take the notice of what has arrived with it, and then
    the cell would last until its timeout: findings/jupyter-client-send-eats-notice.sh.
    """

    # After a silence of 4 s, as a busy machine has, nbclient leaves out what a cell put out.
    iopub_timeout = traitlets.Integer(600)
    startup_timeout = traitlets.Integer(600)

    async def async_start_new_kernel_client(self) -> KernelClient:
        """Start as nbclient does, and wait in steps.

        Returns
        -------
        jupyter_client.client.KernelClient
            For the kernel of the notebook.
        """
        client = await super().async_start_new_kernel_client()
        wait = client.shell_channel.get_msg

        async def wait_in_steps(timeout: float) -> dict[str, Any]:
            for _ in range(int(timeout)):
                with suppress(Empty):
                    return await wait(timeout=1)
            raise Empty

        client.shell_channel.get_msg = wait_in_steps
        return client


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
    client = Executor(
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
