"""How wide tables show themselves in a cell: eight columns, and all others folded below."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from typing import Any

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

import ornb
from ornb.api.reply import Reply, Usage
from ornb.catalog import to_frame
from ornb.notebook import tables
from tests.test_dollars import Shown, formulas


@pytest.fixture
def shell() -> InteractiveShell:
    shell = InteractiveShell()
    ornb.load_ipython_extension(shell)
    return shell


@pytest.fixture(scope="module")
def models() -> pd.DataFrame:
    records = [{"id": f"maker/model-{n}", "name": "<b>It costs $1 or $2"} for n in range(70)]
    return to_frame({"data": records}, source="snapshot", snapshot="2026-08-22")


def shown(shell: InteractiveShell, value: Any, mime: str = "text/html") -> str:
    """What a cell that ends with a value would show."""
    data, _ = shell.display_formatter.format(value)
    return str(data[mime])


def headings(html: str) -> list[str]:
    """The names of columns, of the index too where it has one, in an HTML table."""
    return [name for name in re.findall(r"<th>([^<]*)</th>", html.partition("<tbody>")[0]) if name]


@pytest.mark.parametrize("place", tables.MATTER)
def test_eight_columns_of_each_wide_table_matter(place: str) -> None:
    module, _, name = place.rpartition(".")
    documented = getattr(importlib.import_module(f"ornb.{module}"), name)
    matter = tables.MATTER[place].split()
    assert len(matter) == 8
    assert set(matter) <= set(documented)


def test_a_bare_table_shows_what_matters_and_folds_the_rest(
    shell: InteractiveShell, models: pd.DataFrame
) -> None:
    """No column is in both, and none is lost: `details` open with Enter, also without a kernel."""
    first, _, folded = shown(shell, models).partition("<details>")
    matter = tables.MATTER["catalog.frames.MODEL_COLUMNS"].split()
    assert sorted(headings(first)) == sorted([*matter, "id"])
    assert sorted([*headings(first), *headings(folded)]) == sorted([*models.columns, "id", "id"])
    count = len(models.columns)
    assert f"70 rows, 8 of {count} columns; open for the other {count - 8}" in folded
    assert folded.count("<tr>") < 15
    assert f"the 8 that matter of {count} columns" in shown(shell, models, "text/plain")


def test_one_row_is_no_rows(shell: InteractiveShell, models: pd.DataFrame) -> None:
    assert "1 row, 8 of" in shown(shell, models.head(1))
    assert "[1 row, the 8" in shown(shell, models.head(1), "text/plain")


def test_more_ids_than_models_are_explained_below_the_table(shell: InteractiveShell) -> None:
    """Where the picker, notebooks and figures count models, the table has a row an id."""
    kinds = ("acme/{}", "acme/{}:batch", "~acme/{}-latest")
    records = [{"id": kind.format(name)} for name in ("orbit", "comet") for kind in kinds]
    table = to_frame({"data": records})
    said = "6 ids are 2 models: 2 aliases and 2 ids of the Batch API name some of them again."
    assert said in shown(shell, table).partition("<details>")[0]
    assert said in shown(shell, table, "text/plain")
    assert "name some of them again" not in shown(shell, table[:1])


def test_a_price_of_0_is_not_shown_where_another_unit_is_billed(shell: InteractiveShell) -> None:
    """It would read as free; the frame keeps what is listed."""
    song = {"input_modalities": ["text"], "output_modalities": ["text", "audio"]}
    records = [{"id": "a/free"}, {"id": "a/song", "architecture": song}]
    free = {"prompt": "0", "completion": "0"}
    table = to_frame({"data": [{**record, "pricing": free} for record in records]})
    free_row, song_row = (
        shown(shell, table[row : row + 1]).partition("<details>")[0] for row in (0, 1)
    )
    assert free_row.count("0.0") == 2
    assert "0.0" not in song_row
    assert table["prompt_usd_per_million"].tolist() == [0.0, 0.0]


def test_a_price_of_0_is_shown_where_nobody_tells_whether_it_is_free(
    shell: InteractiveShell,
) -> None:
    noted = ornb.price_history("mistralai/mistral-nemo")[:1].assign(
        prompt_usd_per_million=0.0,
        completion_usd_per_million=0.0,
        is_free=pd.array([pd.NA], dtype="boolean"),
    )
    assert shown(shell, noted).partition("<details>")[0].count("0.0") == 2


def test_what_a_maker_wrote_is_neither_markup_nor_formula(
    shell: InteractiveShell, models: pd.DataFrame
) -> None:
    html = shown(shell, models)
    assert "&lt;b&gt;It costs $1 or $2" in html
    assert html.count("<table") == 2
    assert formulas(Shown(html).text) == []


def test_it_stays_a_plain_frame(shell: InteractiveShell, models: pd.DataFrame) -> None:
    before = models.copy()
    shown(shell, models)
    assert type(models) is pd.DataFrame
    pd.testing.assert_frame_equal(models, before)
    assert models.attrs == before.attrs
    assert models.attrs["snapshot"] == "2026-08-22"
    assert pd.get_option("display.show_dimensions") == "truncate"


@pytest.mark.parametrize(
    "view",
    [
        lambda models: models[models["tools"]],
        lambda models: models.sort_values("created").head(3),
        lambda models: pd.concat([models, models]),
        lambda models: models.assign(mine=1).reset_index(),
    ],
    ids=["filtered", "sorted", "joined", "with columns of one's own"],
)
def test_a_view_with_all_columns_shows_the_same(
    shell: InteractiveShell, models: pd.DataFrame, view: Any
) -> None:
    """And with them each column that a person put there."""
    table = view(models)
    first = shown(shell, table).partition("<details>")[0]
    own = set(table.columns) - set(models.columns)
    matter = set(tables.MATTER["catalog.frames.MODEL_COLUMNS"].split())
    assert set(headings(first)) - {"id"} == (matter | own) - {"id"}


@pytest.mark.parametrize(
    "view",
    [
        lambda models: models[["name", "context_length"]],
        lambda models: models.drop(columns="raw"),
        lambda models: models.head(3).T,
        lambda _: pd.DataFrame({"model": [1], "status": [2]}),
    ],
    ids=["chosen", "dropped", "turned", "of somebody else"],
)
def test_a_table_of_ones_own_columns_is_shown_by_pandas(
    shell: InteractiveShell, models: pd.DataFrame, view: Any
) -> None:
    table = view(models)
    assert shown(shell, table) == table._repr_html_()
    assert shown(shell, table, "text/plain") == repr(table)


def test_whoever_asks_pandas_for_all_columns_gets_all(
    shell: InteractiveShell, models: pd.DataFrame
) -> None:
    with pd.option_context("display.max_columns", None):
        assert shown(shell, models) == models._repr_html_()
        assert len(headings(shown(shell, models))) == len(models.columns) + 1


def test_whoever_wants_no_html_gets_none(shell: InteractiveShell, models: pd.DataFrame) -> None:
    with pd.option_context("display.notebook_repr_html", False):
        assert list(shell.display_formatter.format(models)[0]) == ["text/plain"]


def test_money_and_failures_are_not_folded_away(shell: InteractiveShell) -> None:
    tracker = ornb.UsageTracker()
    tracker.record(Reply(model="maker/model", usage=Usage(2, 3, cost_usd=0.25)))
    assert "byok_usd" not in shown(shell, tracker.df).partition("<details>")[0]
    tracker.record(Reply(usage=Usage(2, 3, cost_usd=0.0, byok_usd=0.5), error="cut off"))
    first = headings(shown(shell, tracker.df).partition("<details>")[0])
    assert {"cost_usd", "byok_usd", "error"} < set(first)
    assert len(first) == 10


def test_a_price_history_shows_its_prices_and_whose_they_are(shell: InteractiveShell) -> None:
    history = ornb.price_history("mistralai/mistral-nemo")
    first, _, folded = shown(shell, history).partition("<details>")
    assert {"prompt_usd_per_million", "completion_usd_per_million", "source"} < set(headings(first))
    assert headings(folded) == ["not_before", "seen_until", "created"]
    then = shown(shell, ornb.price_at("mistralai/mistral-nemo", "2026-01-01"))
    assert "note" in headings(then.partition("<details>")[0])


def test_a_display_of_all_frames_that_was_there_first_stays(models: pd.DataFrame) -> None:
    shell = InteractiveShell()
    shell.display_formatter.formatters["text/html"].for_type(pd.DataFrame, lambda _: "theirs")
    ornb.load_ipython_extension(shell)
    assert shown(shell, models) == "theirs"


def test_a_display_that_took_the_place_of_pandas_own_is_asked(
    shell: InteractiveShell, models: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pd.DataFrame, "_repr_html_", lambda _: "theirs")
    assert shown(shell, models) == "theirs"


def test_registering_loads_no_pandas() -> None:
    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell as Shell;"
        "import ornb; ornb.load_ipython_extension(Shell()); assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
