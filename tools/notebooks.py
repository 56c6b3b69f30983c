"""Make the kept outputs of the notebooks: run them on their recordings, and store what they show.

`make notebooks` runs `python -m tools.notebooks`, for all of them or for those that are named:
`make notebooks ARGS="05 08"`. Nothing is asked of a model: answers come from
notebooks/recordings, which `make record` makes. Two runs write the same bytes. A picture is drawn
again only where its figure has changed, so another browser's fonts change nothing.

`tools/replayed.py` says what the kernel is told first, `tools/outputs.py` what becomes of outputs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat

from ornb.errors import ConfigError
from ornb.offline import model
from tools.outputs import FIGURE, PICTURE, Draw, tidy
from tools.pictures import Drawing
from tools.running import copied, run

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
OPENING = "__import__('runpy').run_path({file!r}, {{'recording': {recording!r}}}, '__main__');"
SHOWN_BY = ("pandas", "plotly")
"""Packages whose release shows in the outputs."""


def made(notebook: Path, draw: Draw, *, seconds: int = 120) -> nbformat.NotebookNode:
    """Run a notebook on its recording, and give it with the outputs that are to be kept.

    Parameters
    ----------
    notebook : pathlib.Path
        An .ipynb file; it is not changed. Its recording is recordings/<its name>.jsonl beside it;
        without one, it must ask no model.
    draw : callable
        Makes the picture of a figure that the stored notebook does not have.
    seconds : int
        Patience with each cell.

    Returns
    -------
    nbformat.NotebookNode
        Valid, and free of widgets.

    Raises
    ------
    ConfigError
        The local model is not here, on which the notebook says that it runs.
    nbclient.exceptions.CellExecutionError
        A cell failed; with `NotRecorded`, when the recording does not have what it asks.
    """
    there, reason = model.available()
    if not there:
        raise ConfigError(f"The notebooks say that the small local model is here, but {reason}.")
    with copied(notebook) as copy:
        recording = copy.parent / f"recordings/{copy.stem}.jsonl"
        played = str(recording) if recording.exists() else None
        opening = OPENING.format(file=str(ROOT / "tools/replayed.py"), recording=played)
        client = run(copy, opening, seconds=seconds, ORNB_OFFLINE_MODEL="auto")
    stored = pictures_of(nbformat.read(notebook, as_version=4))
    drawn = _with_memory(draw, stored)
    for cell in client.nb.cells:
        if cell.cell_type == "code":
            kept = tidy(cell.outputs, client.widget_state, drawn)
            cell.outputs = [nbformat.from_dict(each) for each in kept]
    client.nb.metadata["ornb"] = {"outputs_made_with": releases()}
    nbformat.validate(client.nb)
    return client.nb


def releases() -> dict[str, str]:
    """Give the releases here of the packages that shape the outputs.

    Returns
    -------
    dict of str
        Name to the first two numbers of the release.
    """
    from importlib.metadata import version

    return {name: ".".join(version(name).split(".")[:2]) for name in SHOWN_BY}


def pictures_of(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """Find the pictures that a notebook has already.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        As stored.

    Returns
    -------
    dict of str
        A figure's JSON to its SVG.
    """
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    bundles = [output.data for output in outputs if "data" in output]
    return {_key(each[FIGURE]): each[PICTURE] for each in bundles if {FIGURE, PICTURE} <= set(each)}


def _key(figure: Any) -> str:
    return json.dumps(figure, sort_keys=True)


def _with_memory(draw: Draw, stored: dict[str, str]) -> Draw:
    def drawn(figure: dict[str, Any]) -> str:
        return stored.get(_key(figure)) or draw(figure)

    return drawn


def main(names: list[str]) -> int:
    """Make the outputs of the notebooks that are named, or of all.

    Parameters
    ----------
    names : list of str
        Beginnings of file names, such as "05".

    Returns
    -------
    int
        Exit status: 1 when one of them could not be run.
    """
    failed = 0
    with Drawing() as drawing:
        for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
            if names and not notebook.name.startswith(tuple(names)):
                continue
            print(f"{notebook.name} ...", end=" ", flush=True)
            try:
                nbformat.write(made(notebook, drawing.svg), notebook)
            except (ConfigError, nbclient.exceptions.CellExecutionError) as error:
                print(f"\n  as it was: {error}", file=sys.stderr)
                failed = 1
            else:
                print(f"{notebook.stat().st_size / 1000:,.0f} kB")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
