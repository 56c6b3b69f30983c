"""The picker's Python side: what it refuses, what it says was chosen, and the code for it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ornb
import ornb.notebook.picker as picker_module
from ornb import catalog
from ornb.errors import ConfigError
from ornb.notebook.picker import COLUMNS, FILTERS, ModelPicker
from tests.page import displayed

HOSTILE = "<img src=x onerror=alert(1)>'\"&"


def record(model_id, *, name=None, price=("0.000001", "0.000002"), **more):
    """A record of `GET /models` as of 2026-08, with invented values."""
    made = {
        "id": model_id,
        "name": name or model_id,
        "created": 1_780_000_000,
        "context_length": 128_000,
        "architecture": {
            "input_modalities": ["text"],
            "output_modalities": ["text"],
            "tokenizer": "Other",
        },
        "supported_parameters": ["max_tokens", "seed"],
        "pricing": {"prompt": price[0], "completion": price[1]},
        "top_provider": {"is_moderated": False, "max_completion_tokens": 8192},
    }
    return made | more


def modalities(reads, writes=("text",), tokenizer="Other"):
    return {
        "input_modalities": list(reads),
        "output_modalities": list(writes),
        "tokenizer": tokenizer,
    }


RECORDS = [
    record("acme/orbit-pro", name="Acme: Orbit Pro", created=1_785_000_000,
           context_length=1_048_576, price=("0.000003", "0.000015"),
           architecture=modalities(["text", "image", "file"]),
           supported_parameters=["max_tokens", "tools", "structured_outputs", "reasoning"],
           benchmarks={"artificial_analysis": {"intelligence_index": 61.5, "coding_index": 70}}),
    record("acme/orbit-mini", name="Acme: Orbit mini", created=1_785_000_000,
           context_length=131_072, price=("0.0000000375", "0.00000025"),
           architecture=modalities(["text", "image"]),
           supported_parameters=["max_tokens", "tools", "seed"],
           benchmarks={"artificial_analysis": {"intelligence_index": 30}}),
    record("acme/orbit-mini:batch", name="Acme: Orbit mini (batch)", created=1_785_000_000),
    record("lab/rocket-2:free", name="Lab: Rocket 2 (free)", price=("0", "0"),
           context_length=32_768, created=1_770_000_000,
           architecture=modalities(["text"], tokenizer="Rocket")),
    record("lab/rocket-2", name="lab: rocket 2", context_length=32_768, created=1_770_000_000,
           architecture=modalities(["text"], tokenizer="Rocket"), knowledge_cutoff="2025-06-30",
           expiration_date="2026-12-31"),
    record("~lab/rocket-latest", name="Lab: Rocket Latest", created=1_784_000_000,
           alias_target={"slug": "lab/rocket-2", "name": "Lab: Rocket 2"}),
    record("openrouter/auto", name="Auto Router", price=("-1", "-1"), context_length=2_000_000,
           architecture=modalities(["text", "image", "audio"], ["text", "image"], "Router")),
    record("strange/hostile", name=HOSTILE, created=1_700_000_000, price=("0.00000001", "0.5")),
    record("strange/straße", name="Große Ärzte ΣΊΣΥΦΟΣ", created=1_700_000_001),
    {"id": "strange/bare"},
]  # fmt: skip


def frame(records=RECORDS, **about):
    return catalog.to_frame(records, **({"source": "snapshot", "snapshot": "2026-08-22"} | about))


MODELS = frame()


@pytest.fixture
def models():
    return MODELS


@pytest.fixture
def picker(models):
    return ModelPicker(models)


def ids(rows):
    return rows.index.tolist()


def from_code(picker):
    """What a person gets who runs the copied code."""
    names = {"models": picker.models}
    exec(compile(picker.code, "copied", "exec"), names)
    return names["matches"]


# --- value ----------------------------------------------------------------------------------------


def test_nothing_is_picked_at_the_start(picker):
    assert picker.value is None
    assert ids(picker.selected) == []
    assert list(picker.selected.columns) == list(catalog.MODEL_COLUMNS)


def test_the_rows_picked_are_a_frame(models):
    picker = ModelPicker(models, value="lab/rocket-2")
    assert ids(picker.selected) == ["lab/rocket-2"]
    assert picker.selected.attrs["snapshot"] == "2026-08-22"


def test_several_are_kept_in_the_order_picked(models):
    picker = ModelPicker(models, multiple=True, value=["openrouter/auto", "acme/orbit-pro"])
    assert picker.value == ("openrouter/auto", "acme/orbit-pro")
    assert ids(picker.selected) == ["openrouter/auto", "acme/orbit-pro"]


def test_several_start_as_an_empty_tuple(models):
    picker = ModelPicker(models, multiple=True)
    assert picker.value == ()
    picker.value = None
    assert picker.value == ()


def test_one_id_will_do_for_several(models):
    assert ModelPicker(models, multiple=True, value="lab/rocket-2").value == ("lab/rocket-2",)


def test_an_id_counts_once(models):
    picker = ModelPicker(models, multiple=True, value=["lab/rocket-2", "lab/rocket-2"])
    assert picker.value == ("lab/rocket-2",)


def test_the_pages_list_becomes_a_tuple(models):
    picker = ModelPicker(models, multiple=True)
    picker.set_state({"value": ["lab/rocket-2"]})
    assert picker.value == ("lab/rocket-2",)


def test_an_unknown_id_is_refused_with_the_nearest(picker):
    with pytest.raises(ConfigError, match=r"not among the 10 models.*orbit-pro"):
        picker.value = "acme/orbit-por"
    assert picker.value is None


def test_a_picked_model_may_be_hidden_by_the_filters(models):
    picker = ModelPicker(models, value="openrouter/auto", filters={"search": "rocket"})
    assert picker.value == "openrouter/auto"


def test_value_can_be_observed(picker):
    seen = []
    picker.observe(lambda change: seen.append((change["old"], change["new"])), names=["value"])
    picker.set_state({"value": "lab/rocket-2"})
    assert seen == [(None, "lab/rocket-2")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"value": ["lab/rocket-2"]}, "give one id", id="list for one"),
        pytest.param({"max_choices": 2}, "needs multiple=True", id="max without multiple"),
        pytest.param(
            {"multiple": True, "max_choices": 1, "value": ["lab/rocket-2", "openrouter/auto"]},
            "takes 1 at most",
            id="too many",
        ),
        pytest.param({"filters": {"toolz": True}}, "no filter. Did you mean 'tools'", id="filter"),
        pytest.param({"filters": ["tools"]}, "give a dict", id="list of filters"),
        pytest.param({"multiple": True, "value": 5}, "give ids", id="number for ids"),
        pytest.param({"multiple": True, "value": MODELS}, "give ids", id="frame for ids"),
        pytest.param({"filters": {"tools": "yes"}}, "expected a boolean", id="filter's type"),
        pytest.param({"filters": {"accepts": "pictures"}}, "no input modality", id="modality"),
        pytest.param({"filters": {"parameters": "sed"}}, "did you mean 'seed'", id="parameter"),
        pytest.param({"filters": {"accepts": 3}}, "a str, several of them", id="modality's type"),
        pytest.param({"filters": {"family": [3]}}, "a str, several of them", id="list of numbers"),
        pytest.param(
            {"filters": {"max_prompt_usd_per_million": float("nan")}}, "is nan", id="price nan"
        ),
        pytest.param(
            {"filters": {"max_completion_usd_per_million": -1}}, "max_completion", id="price < 0"
        ),
        pytest.param({"sort": ("price", True)}, "cannot sort by 'price'", id="sort"),
        pytest.param({"columns": ["contxt"]}, "no column 'contxt'", id="column"),
        pytest.param({"hieght": 300}, "Did you mean 'height'", id="argument"),
        pytest.param({"height": 3}, "height", id="height"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_message(models, arguments, message):
    with pytest.raises(ConfigError, match=message):
        ModelPicker(models, **arguments)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        pytest.param([{"id": "a"}], "models is a list", id="records"),
        pytest.param(pd.DataFrame({"name": ["a"]}), "the frame lacks", id="another frame"),
        pytest.param(pd.concat([MODELS, MODELS.head(1)]), "occurs twice", id="twice"),
    ],
)
def test_what_is_no_models_frame_is_refused(models, message):
    with pytest.raises(ConfigError, match=message):
        ModelPicker(models)


def test_multiple_cannot_change_later(picker):
    with pytest.raises(ConfigError, match="read-only"):
        picker.multiple = True


def test_the_ids_of_a_frame_can_be_picked(models):
    assert ModelPicker(models, multiple=True, value=models.index[:2]).value == tuple(
        ids(models)[:2]
    )


# --- filters and matches --------------------------------------------------------------------------


def test_batch_rows_are_hidden_at_the_start_and_said_to_be(picker):
    assert "acme/orbit-mini:batch" not in ids(picker.matches)
    assert picker.filters == {"batch": False}


def test_newest_first_with_ties_as_listed_and_undated_last(picker):
    assert ids(picker.matches)[:3] == ["acme/orbit-pro", "acme/orbit-mini", "~lab/rocket-latest"]
    assert ids(picker.matches)[-1] == "strange/bare"


def test_filters_are_the_catalogues_keywords(picker, models):
    picker.filters = {"tools": True, "accepts": "image", "min_context": 200_000}
    assert picker.filters == {
        "tools": True,
        "accepts": ("image",),
        "min_context": 200_000,
        "batch": False,
    }
    assert ids(picker.matches) == ids(catalog.filter_models(models, **picker.filters))


def test_assigning_filters_resets_those_not_named(picker):
    picker.filters = {"tools": True}
    picker.filters = {"search": "rocket"}
    assert picker.tools is None


@pytest.mark.parametrize("filters", [{}, {"batch": True}, {"free": False, "search": "a b"}])
def test_filters_survive_their_own_assignment(picker, filters):
    picker.filters = filters
    before = picker.filters
    picker.filters = before
    assert picker.filters == before


def test_one_wrong_filter_leaves_all_as_they_were(picker):
    picker.filters = {"tools": True}
    with pytest.raises(ConfigError):
        picker.filters = {"search": "x", "returns": "pictures"}
    assert picker.filters == {"tools": True, "batch": False}


def test_none_means_not_asked(picker):
    picker.filters = dict.fromkeys(FILTERS)
    assert picker.filters == {"batch": False}


def test_every_filter_of_the_catalogue_is_a_documented_trait():
    source = Path(picker_module.__file__).read_text(encoding="utf-8")
    for name in FILTERS:
        assert getattr(ModelPicker, name).metadata["sync"] is True
        assert re.search(rf'\n    {name} = t?\.?\w+\(.*\n    """Filter: ', source), name


def test_matches_follow_the_page(picker):
    picker.set_state({"search": "ROCKET", "sort": ["name", True]})
    assert ids(picker.matches) == ["lab/rocket-2", "lab/rocket-2:free", "~lab/rocket-latest"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("rocket 2", ["lab/rocket-2", "lab/rocket-2:free"]),
        ("rocket2", ["lab/rocket-2", "lab/rocket-2:free"]),
        ("coding", ["acme/orbit-pro"]),
        ("acme agentic", []),
    ],
)
def test_the_best_match_is_first_until_a_column_is_asked_for(picker, search, found):
    picker.search = search
    assert ids(picker.matches) == found
    picker.sort = ("prompt_usd_per_million", True)
    assert ids(picker.matches) == found[::-1]


# --- code -----------------------------------------------------------------------------------------


def test_the_code_reads_as_a_person_would_write_it(picker):
    picker.filters = {"search": "orbit", "tools": True, "accepts": "image", "min_context": 128_000,
                      "max_completion_usd_per_million": 1.0}  # fmt: skip
    assert picker.code == (
        'text = (models.index + "\\n" + models["name"]).str.casefold()\n'
        "matches = models[\n"
        "    text.str.contains('orbit', regex=False)\n"
        '    & models["tools"]\n'
        '    & models["accepts_image"]\n'
        '    & (models["context_length"] >= 128_000)\n'
        '    & (models["completion_usd_per_million"] <= 1.0)\n'
        '    & ~models["is_batch"]\n'
        '].sort_values("created", ascending=False, kind="stable")\n'
        'bare = matches.index.str.casefold().str.replace(r".*/|[-._: ]", "", regex=True)\n'
        "rank = 2 - (bare == 'orbit') - bare.str.startswith('orbit')\n"
        'matches = matches.iloc[rank.argsort(kind="stable")]'
    )


def some(names):
    return st.none() | st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)


asked = st.none() | st.booleans()
prices = st.none() | st.sampled_from([0, 0.0375, 0.25, 1, 15.0])
FILTER_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "search": st.text(max_size=6)
        | st.sampled_from(["ORBIT mini", "strasse", "\\'\n", "συφ", "rocket2", "acme coding"]),
        "free": asked,
        "min_context": st.none() | st.sampled_from([0, 32_768, 128_000, 131_073]),
        "accepts": some(["text", "image", "file", "audio"]),
        "returns": some(["text", "image"]),
        "parameters": some(["tools", "seed", "reasoning", "max_tokens"]),
        "tools": asked,
        "reasoning": asked,
        "structured_outputs": asked,
        "max_prompt_usd_per_million": prices,
        "max_completion_usd_per_million": prices,
        "family": some(["Other", "rocket", "ROUTER"]),
        "author": some(["acme", "Lab", "openrouter"]),
        "routers": st.booleans(),
        "aliases": st.booleans(),
        "batch": st.booleans(),
    },
)
SORTS = st.tuples(st.sampled_from(["match", *sorted(COLUMNS)]), st.booleans())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(filters=FILTER_VALUES, sort=SORTS)
def test_the_code_gives_the_matches_whatever_the_filters(filters, sort):
    picker = ModelPicker(MODELS, filters=filters, sort=sort)
    pd.testing.assert_frame_equal(from_code(picker), picker.matches)


def test_the_code_works_on_an_empty_catalogue():
    picker = ModelPicker(frame([]), filters={"search": "x", "parameters": "seed", "free": True})
    assert len(from_code(picker)) == len(picker.matches) == 0


def test_the_code_works_on_every_recorded_catalogue(shared_data):
    for path in sorted((shared_data / "catalogs").glob("*.json")):
        models = catalog.to_frame(json.loads(path.read_bytes()))
        picker = ModelPicker(models, filters={"search": "a", "accepts": "image", "free": False})
        for column in COLUMNS:
            picker.sort = (column, False)
            assert ids(from_code(picker)) == ids(picker.matches)


def test_the_page_has_the_code_with_what_it_was_written_for(picker):
    picker.tools = True
    code = picker.get_state()["_code"]
    assert code["text"] == picker.code
    assert code["filters"]["tools"] is True
    assert code["sort"] == ("match", False)


# --- what is sent ---------------------------------------------------------------------------------


def test_the_columns_are_plain_json_of_one_length(picker):
    table = json.loads(json.dumps(picker.get_state()["_table"], allow_nan=False))
    assert {len(values) for values in table["numbers"].values()} == {10}
    assert table["numbers"]["prompt_usd_per_million"][6] is None
    assert table["numbers"]["created"][0] == 1_785_000_000


def test_the_columns_are_small(shared_data):
    path = shared_data / "catalogs" / "catalog-2026-08-22.json"
    models = catalog.to_frame(json.loads(path.read_bytes()))
    assert len(json.dumps(ModelPicker(models).get_state()["_table"])) < 300 * len(models)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({}, ("offline snapshot", "catalogue of 2026-08-22")),
        (
            {"source": "live", "snapshot": None,
             "fetched_at": pd.Timestamp("2026-11-22 10:15:31", tz="UTC").to_pydatetime()},
            ("live", "catalogue of 2026-11-22 10:15"),
        ),
        ({"source": "?", "snapshot": None}, ("source unknown", "catalogue, undated")),
    ],
)  # fmt: skip
def test_the_source_is_said(about, said):
    source = ModelPicker(frame(**about)).get_state()["_source"]
    assert (source["label"], source["date"]) == said


# --- without a front end --------------------------------------------------------------------------


def test_second_ids_of_models_are_counted_and_explained():
    picker = ModelPicker()
    said = "421 ids are 348 models: 12 aliases and 61 ids of the Batch API name some of them again."
    assert picker.get_state()["_source"]["second_ids"] == said
    assert said in displayed(picker)["text/html"]
    alone = ModelPicker(ornb.models(aliases=False, batch=False))
    assert alone.get_state()["_source"]["second_ids"] == ""


def test_without_a_front_end_there_is_a_table(models):
    picker = ModelPicker(models, value="lab/rocket-2", filters={"search": "rocket"})
    data = displayed(picker)
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"] == (
        "ModelPicker: 3 of 10 models, catalogue of 2026-08-22 (offline snapshot); "
        "picked lab/rocket-2"
    )
    assert "<td>lab/rocket-2:free</td>" in data["text/html"]
    assert "Picked: <b>lab/rocket-2</b>" in data["text/html"]


def test_a_price_of_0_is_none_without_a_front_end_where_another_unit_is_billed():
    song = {"input_modalities": ["text"], "output_modalities": ["text", "audio"]}
    rows = [
        record("a/song", price=("0", "0"), architecture=song),
        record("a/free", price=("0", "0")),
    ]
    for row, count in zip(rows, (0, 2), strict=True):
        assert displayed(ModelPicker(frame([row])))["text/html"].count("<td>$0</td>") == count


def test_hostile_names_are_escaped_without_a_front_end(models):
    picker = ModelPicker(models, value="strange/hostile", filters={"search": "hostile"})
    markup = displayed(picker)["text/html"]
    assert "<img" not in markup
    assert "&lt;img src=x onerror=alert(1)&gt;" in markup


def test_the_table_without_a_front_end_is_short(shared_data):
    path = shared_data / "catalogs" / "catalog-2026-08-22.json"
    picker = ModelPicker(catalog.to_frame(json.loads(path.read_bytes())))
    markup = displayed(picker)["text/html"]
    assert markup.count("<tr>") == 15
    assert "and 345 more" in markup
    assert len(markup) < 10_000
