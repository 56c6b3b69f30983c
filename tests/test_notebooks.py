"""The notebooks run from top to bottom without a key, and are stored fit to be read."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from lab import notebook_of, private_environment

from ornb.offline import model
from ornb.recording.lines import read
from tests import kernels
from tools.notebooks import made, releases
from tools.outputs import FIGURE, PICTURE, WIDGET, tidy
from tools.record import SIMULATED, chats_of, record, recordings_of

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
ALL = sorted(NOTEBOOKS.glob("*.ipynb"))
RECORDINGS = sorted((NOTEBOOKS / "recordings").glob("*.jsonl"))
START_HERE = NOTEBOOKS / "01-start-here.ipynb"
KEY = re.compile(r"sk-or-v1-\w{16}")
PATH = re.compile(r"/(?:home|Users|root|private|var/folders|tmp)/\w")
FETCHED = re.compile(
    r"<script|@import|(?:\bsrc|srcset|data|poster)=[\"']?(?:https?:)?//|url\(.?http"
)

each_notebook = pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
each_recording = pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)


def read_notebook(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def bundles_of(notebook: nbformat.NotebookNode) -> list[dict[str, Any]]:
    return [output.data for output in outputs_of(notebook) if "data" in output]


def shown_by(notebook: nbformat.NotebookNode) -> str:
    return str(outputs_of(notebook))


def source_words(path: Path) -> str:
    """Where the answers of a notebook come from, run without the local model, in its own words."""
    asks = (path.parent / f"recordings/{path.stem}.jsonl").exists()
    if recordings_of(path):
        return "with a small local model"
    return "canned" if asks else "snapshot of 20"


def copied_folder(tmp_path: Path) -> Path:
    """Copy the notebooks with what lies beside them: a run must not change the checkout."""
    ignored = shutil.ignore_patterns(".*", "__pycache__")
    return Path(shutil.copytree(NOTEBOOKS, tmp_path / "notebooks", ignore=ignored))


def nbmake(*paths: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run notebooks as a reader's CI would; --overwrite keeps the outputs."""
    home = paths[0].parent.parent
    # In a process of its own, away from this suite's settings.
    options = ["-c", os.devnull, "-p", "no:cacheprovider", "--nbmake", "--overwrite"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--nbmake-timeout=120", *map(str, paths)],
        cwd=home,
        env=private_environment(home, JUPYTER_PATH=kernels.specs(), **environment),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


# ---- they run ----------------------------------------------------------------------------------


def test_the_tour_exists() -> None:
    assert START_HERE in ALL


@pytest.mark.long
def test_all_run_under_nbmake_without_a_key_and_say_where_answers_come_from(
    tmp_path: Path,
) -> None:
    """Where the local model is not there: texts are canned, and recordings are played as ever."""
    folder = copied_folder(tmp_path)
    ran = sorted(folder.glob("*.ipynb"))
    done = nbmake(*ran)
    assert done.returncode == 0, done.stdout
    silent = [path.stem for path in ran if source_words(path) not in shown_by(read_notebook(path))]
    assert silent == []


@pytest.mark.slow
def test_the_tour_runs_under_nbmake_on_the_local_model(tmp_path: Path) -> None:
    there, reason = model.available()
    if not there:
        pytest.skip(reason)
    tour = copied_folder(tmp_path) / START_HERE.name
    done = nbmake(tour, ORNB_OFFLINE_MODEL="auto", ORNB_CACHE_DIR=str(model.cache_dir()))
    assert done.returncode == 0, done.stdout
    shown = shown_by(read_notebook(tour))
    assert "SmolLM2" in shown
    assert "canned" not in shown


# ---- they are stored with their outputs --------------------------------------------------------


@pytest.mark.slow
@each_notebook
@pytest.mark.usefixtures("forked_kernels")
def test_stored_outputs_are_what_make_notebooks_makes(path: Path) -> None:
    there, reason = model.available()
    if not there:
        pytest.skip(reason)
    stored = read_notebook(path)
    if stored.metadata.ornb.outputs_made_with != releases():
        pytest.skip("the outputs were made with other releases, which lay out tables their own way")
    again = made(path, lambda _figure: "to be drawn")
    assert "to be drawn" not in nbformat.writes(again), "a figure has changed: make notebooks"
    for bundle in (*bundles_of(again), *bundles_of(stored)):
        bundle.pop("image/png", None)  # another zlib packs it another way
    assert nbformat.writes(again) == nbformat.writes(stored), "outputs are old: make notebooks"


@each_notebook
def test_is_a_valid_notebook_for_any_python_3(path: Path) -> None:
    notebook = read_notebook(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


@each_notebook
def test_cells_were_run_once_and_in_order(path: Path) -> None:
    counts = [cell.execution_count for cell in code_of(read_notebook(path))]
    assert counts == list(range(1, len(counts) + 1))


@each_notebook
def test_stored_outputs_hold_no_error(path: Path) -> None:
    outputs = outputs_of(read_notebook(path))
    assert [output.evalue for output in outputs if output.output_type == "error"] == []
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []


@each_notebook
def test_stores_no_widget(path: Path) -> None:
    """Without a kernel none is shown; and its state is the one place where a key could rest."""
    notebook = read_notebook(path)
    assert "widgets" not in notebook.metadata
    assert [bundle for bundle in bundles_of(notebook) if WIDGET in bundle] == []


@each_notebook
def test_every_figure_has_a_picture_and_words_beside_it(path: Path) -> None:
    figures = [bundle for bundle in bundles_of(read_notebook(path)) if FIGURE in bundle]
    for bundle in figures:
        assert bundle[PICTURE].startswith("<svg ")
        assert "Source: " in bundle["text/plain"]


@each_notebook
def test_figures_say_from_what_answers_were_recorded_and_no_row_is_called_today(path: Path) -> None:
    for bundle in bundles_of(read_notebook(path)):
        source = bundle.get("text/plain", "").partition("Source: ")[2].split(". ")[0]
        known = r"recorded (from ornb/|live|on \d|catalogues|\(local demo model\))"
        assert "recorded" not in source or re.search(known, source), source
        assert not re.search("^today ", bundle.get("text/plain", ""), re.MULTILINE)


def test_the_tour_has_a_figure_and_one_count_of_models() -> None:
    notebook = read_notebook(START_HERE)
    texts = [bundle.get("text/plain", "") for bundle in bundles_of(notebook)]
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts += [output.text for output in outputs if output.output_type == "stream"]
    counts = re.findall(r"(?:of |^)(\d+) (?:models|ids)", "\n".join(texts), re.MULTILINE)
    assert any(FIGURE in bundle for bundle in bundles_of(notebook))
    assert len(counts) == 3
    assert len(set(counts)) == 1


@each_notebook
def test_outputs_fetch_and_run_nothing(path: Path) -> None:
    for bundle in bundles_of(read_notebook(path)):
        for kind in ("text/html", PICTURE):
            assert FETCHED.findall(bundle.get(kind, "")) == []


@each_notebook
def test_names_no_place_and_no_object_of_one_machine(path: Path) -> None:
    shown = shown_by(read_notebook(path))
    assert PATH.findall(shown) == []
    assert re.findall(r"\b0x[0-9a-f]{8,}|127\.0\.0\.1|localhost", shown) == []


@pytest.mark.parametrize("path", [*ALL, *RECORDINGS], ids=lambda path: path.name)
def test_holds_no_key_and_no_path_of_one_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert KEY.findall(text) == []
    assert PATH.findall(text) == []


@each_notebook
def test_is_smaller_than_a_megabyte(path: Path) -> None:
    assert path.stat().st_size < 1_000_000


# ---- their recordings --------------------------------------------------------------------------


def test_recordings_are_small() -> None:
    assert sum(path.stat().st_size for path in RECORDINGS) < 1_500_000


@each_recording
def test_a_recording_is_of_a_notebook_and_made_with_the_local_model(path: Path) -> None:
    tape = read(path)
    assert tape.problems == []
    notebook = read_notebook(NOTEBOOKS / f"{path.stem}.ipynb")
    simulated = sum(len(SIMULATED.findall(cell.source)) for cell in code_of(notebook))
    sources = [each.source for each in chats_of(path) if each.status == 200]
    others = [source for source in sources if source != "local"]
    assert others == ["canned"] * simulated


@pytest.mark.slow
@pytest.mark.usefixtures("forked_kernels")
def test_a_notebook_that_asks_no_model_has_no_recording(tmp_path: Path) -> None:
    notebook = tmp_path / "notebooks/look.ipynb"
    notebook.parent.mkdir()
    nbformat.write(notebook_of(["import ornb\nlen(ornb.models())"]), notebook)
    assert record(notebook) == []
    assert [path.name for path in notebook.parent.iterdir()] == ["look.ipynb"]


@each_notebook
def test_a_recording_that_is_played_is_there(path: Path) -> None:
    assert [name for name in recordings_of(path) if not (NOTEBOOKS / name).exists()] == []


# ---- what becomes of an output -----------------------------------------------------------------


def shown(**data: Any) -> dict[str, Any]:
    named = {name.replace("_", "/", 1): value for name, value in data.items()}
    return {"output_type": "display_data", "metadata": {}, "data": named}


def view(model_id: str, **data: Any) -> dict[str, Any]:
    output = shown(**data)
    output["data"][WIDGET] = {"model_id": model_id}
    return output


def printed(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


def drawn(figure: dict[str, Any]) -> str:
    return "<svg />"


def test_lines_printed_in_a_row_are_one_output() -> None:
    kept = tidy([printed("a\n"), printed("b\n"), shown(text_plain="c"), printed("d\n")], {}, drawn)
    assert [each.get("text") for each in kept] == ["a\nb\n", None, "d\n"]


def test_a_widget_leaves_its_twin() -> None:
    [kept] = tidy([view("w", text_html="<p>8 models</p>", text_plain="8 models")], {}, drawn)
    assert kept["data"] == {"text/html": "<p>8 models</p>", "text/plain": "8 models"}


def test_a_control_leaves_what_it_showed_and_where_it_stood() -> None:
    states = {
        "box": {"children": ["IPY_MODEL_slider", "IPY_MODEL_out"]},
        "slider": {"description": "score <", "value": 5},
        "out": {"outputs": [shown(text_plain="a table")]},
    }
    told, table = tidy([view("box", text_plain="interactive(...)")], states, drawn)
    assert "score &lt; 5" in told["data"]["text/html"]
    assert table["data"] == {"text/plain": "a table"}


def test_a_progress_bar_leaves_nothing() -> None:
    states = {"box": {"children": ["IPY_MODEL_bar"]}, "bar": {"_model_name": "FloatProgressModel"}}
    assert tidy([view("box", text_plain="0%|  |")], states, drawn) == []


def test_a_live_view_below_its_twin_leaves_nothing() -> None:
    assert tidy([view("w", text_plain="Live chat; see the output above.")], {}, drawn) == []


def test_a_figure_gets_a_picture_and_loses_what_would_fetch_a_script() -> None:
    figure = {"data": [{"y": [1 / 3]}], "layout": {"title": {"text": "<b>Who?</b>"}}, "config": {}}
    output = shown(text_html="<script src='https://host.example'></script>")
    output["data"][FIGURE] = figure
    [kept] = tidy([output], {}, drawn)
    assert kept["data"] == {
        FIGURE: {"data": [{"y": [0.3333333333]}], "layout": figure["layout"]},
        PICTURE: "<svg />",
        "text/plain": "Figure: Who?",
    }


def test_numbers_drawn_by_lot_are_taken_out() -> None:
    html = (
        '<div class="ornb-static ornb-static-7a7a7bd72414">said'
        "<style>.jp-OutputArea-child:has(.ornb-static-7a7a7bd72414) { display: none }</style></div>"
    )
    [kept] = tidy([shown(text_html=html)], {}, drawn)
    assert kept["data"]["text/html"] == '<div class="ornb-static">said</div>'
