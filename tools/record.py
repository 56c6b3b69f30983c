"""Make the recordings of the notebooks again: run them, and keep what the local model answers.

`make record` runs `python tools/record.py`, for all notebooks with a line such as
`ornb.connect(recording="recordings/05-latency.jsonl")`, or for those that are named. With
ORNB_RECORD in the environment that line writes the recording that it otherwise plays. A recording
takes the place of the one before only if its notebook ran to the end, and only with answers of the
local model: none may pass for one that cost something.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

import nbclient
import nbformat

from ornb.errors import ConfigError
from ornb.recording.lines import read

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NAMED = re.compile(r"""recording\s*=\s*["']([\w./-]+\.jsonl)["']""")
WITHOUT = ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "ORNB_MODEL")
"""Variables that would send the calls elsewhere than to this machine."""


def recordings_of(notebook: Path) -> list[str]:
    """Find the recordings that a notebook plays.

    Parameters
    ----------
    notebook : pathlib.Path
        An .ipynb file.

    Returns
    -------
    list of str
        Paths below its folder; empty for a notebook without.
    """
    cells = nbformat.read(notebook, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    names = dict.fromkeys(NAMED.findall(code))
    return [name for name in names if not Path(name).is_absolute() and ".." not in name]


def record(
    notebook: Path, *, seconds: int = 600, allowed: Collection[str] = ("local",)
) -> list[Path]:
    """Run a notebook with a recorder, and put the recordings beside it.

    Parameters
    ----------
    notebook : pathlib.Path
        An .ipynb file; it is not changed.
    seconds : int
        Patience with each cell.
    allowed : collection of str
        Sources that a good answer may have.

    Returns
    -------
    list of pathlib.Path
        The recordings.

    Raises
    ------
    ConfigError
        Nothing was recorded, or an answer comes from elsewhere.
    nbclient.exceptions.CellExecutionError
        A cell failed.
    """
    names = recordings_of(notebook)
    with tempfile.TemporaryDirectory() as copied:
        folder = Path(copied) / notebook.parent.name
        shutil.copytree(notebook.parent, folder, ignore=shutil.ignore_patterns(".*", "*.jsonl"))
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if k not in WITHOUT}
        resources = {"metadata": {"path": str(folder)}}
        client = nbclient.NotebookClient(
            nbformat.read(notebook, as_version=4), timeout=seconds, resources=resources
        )
        client.execute(env={**environment, "ORNB_RECORD": "1"})
        for name in names:
            _check(folder / name, allowed)
        made = [notebook.parent / name for name in names]
        for name, path in zip(names, made, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(folder / name, path)
    return made


def _check(path: Path, allowed: Collection[str]) -> None:
    answered = [each for each in read(path).exchanges if each.status == 200]
    others = {each.source for each in answered if each.question.method == "POST"} - set(allowed)
    if others:
        raise ConfigError(
            f"{path.name} has answers that are {' and '.join(sorted(others))}. Recordings are made "
            "with the local model: python -m ornb.offline.model fetches it."
        )


def main(names: list[str]) -> int:
    """Record the notebooks that are named, or all.

    Parameters
    ----------
    names : list of str
        Beginnings of file names, such as "05".

    Returns
    -------
    int
        Exit status: 1 when one of them could not be recorded.
    """
    failed = 0
    for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
        chosen = not names or notebook.name.startswith(tuple(names))
        if not chosen or not recordings_of(notebook):
            continue
        print(f"{notebook.name} ...", flush=True)
        try:
            for path in record(notebook):
                calls = len(read(path).exchanges)
                print(f"  {path.name}: {calls} calls, {path.stat().st_size / 1000:,.0f} kB")
        except (ConfigError, nbclient.exceptions.CellExecutionError) as error:
            print(f"  not recorded: {error}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
