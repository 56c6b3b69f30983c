"""Make the recordings of the notebooks again: run them, and keep what the local model answers.

`make record` runs `python -m tools.record`, for all notebooks or for those that are named:
`make record ARGS="05 08"`. A notebook's recording is recordings/<its name>.jsonl, or what it plays
itself with a line such as `ornb.connect(recording="recordings/08-inside-an-answer.jsonl")`: with
ORNB_RECORD in the environment that line writes the recording. One that asks no model has none.

A recording takes the place of the one before only if its notebook ran to the end, and only with
answers of the local model: none may pass for one that cost something.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

import nbclient
import nbformat

from ornb.errors import ConfigError
from ornb.recording.lines import Exchange, read
from tools.running import copied, run

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NAMED = re.compile(r"""recording\s*=\s*["']([\w./-]+\.jsonl)["']""")
HASHED = ("/embeddings", "/rerank")
"""Offline no model answers these: what came of them is canned, and says so."""
SIMULATED = re.compile(r"""["']simulate["']\s*:""")
OPENING = "__import__('ornb').record({path!r});"


def recordings_of(notebook: Path) -> list[str]:
    """Find the recordings that a notebook plays itself.

    Parameters
    ----------
    notebook : pathlib.Path
        An .ipynb file.

    Returns
    -------
    list of str
        Paths below its folder; empty for a notebook without.
    """
    names = dict.fromkeys(NAMED.findall(_code(notebook)))
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
        Sources that a good answer may have. What the notebook simulates on purpose is canned.

    Returns
    -------
    list of pathlib.Path
        The recordings; none where nothing was asked.

    Raises
    ------
    ConfigError
        An answer comes from elsewhere, or a recording that the notebook plays was not made.
    nbclient.exceptions.CellExecutionError
        A cell failed.
    """
    named = recordings_of(notebook)
    own = f"recordings/{notebook.stem}.jsonl"
    simulated = len(SIMULATED.findall(_code(notebook)))
    with copied(notebook) as copy:
        for name in {*named, own}:
            (copy.parent / name).parent.mkdir(parents=True, exist_ok=True)
            (copy.parent / name).unlink(missing_ok=True)
        opening = "" if named else OPENING.format(path=own)
        run(copy, opening, seconds=seconds, ORNB_RECORD="1")
        asked = not named and (copy.parent / own).stat().st_size > 0
        names = named or ([own] if asked else [])
        for name in names:
            _check(copy.parent / name, allowed, simulated)
        made = [notebook.parent / name for name in names]
        for name, path in zip(names, made, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(copy.parent / name, path)
    return made


def _code(notebook: Path) -> str:
    cells = nbformat.read(notebook, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def chats_of(path: Path) -> list[Exchange]:
    """Give what a recording has of models that are there offline.

    Parameters
    ----------
    path : pathlib.Path
        A recording.

    Returns
    -------
    list of Exchange
        Chats and decisions, in their order.
    """
    asked = [each for each in read(path).exchanges if each.question.method == "POST"]
    return [each for each in asked if not each.question.path.endswith(HASHED)]


def _check(path: Path, allowed: Collection[str], simulated: int) -> None:
    chats = chats_of(path)
    others = [each.source for each in chats if each.status == 200 and each.source not in allowed]
    if others.count("canned") <= simulated:
        others = [source for source in others if source != "canned"]
    if others:
        raise ConfigError(
            f"{path.name} has answers that are {' and '.join(sorted(set(others)))}. Recordings are "
            "made with the local model: python -m ornb.offline.model fetches it."
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
        if names and not notebook.name.startswith(tuple(names)):
            continue
        print(f"{notebook.name} ...", flush=True)
        try:
            made = record(notebook)
        except (ConfigError, nbclient.exceptions.CellExecutionError) as error:
            print(f"  not recorded: {error}", file=sys.stderr)
            failed = 1
            continue
        for path in made:
            calls = len(read(path).exchanges)
            print(f"  {path.name}: {calls} calls, {path.stat().st_size / 1000:,.0f} kB")
        if not made:
            print("  asks no model")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
