"""The catalogue: any answer becomes the same table, and no record is lost or fatal."""

from __future__ import annotations

import copy
import gzip
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ornb
from ornb.catalog import (
    ENDPOINT_COLUMNS,
    MODEL_COLUMNS,
    PROVIDER_COLUMNS,
    closest,
    endpoints_to_frame,
    filter_models,
    providers_to_frame,
    to_frame,
)
from ornb.errors import CatalogError, ConfigError
from ornb.ledger.table import SUMMARY_COLUMNS, USAGE_COLUMNS
from ornb.pricing import TIERS

RECORDED = [
    *["2025-04-09", "2025-06-11", "2025-09-24", "2025-12-31"],
    *["2026-03-15", "2026-05-01", "2026-07-10", "2026-08-22"],
]
TEXT_TYPE = str(pd.Series(["a"]).dtype)  # "str" in pandas 3, "object" before
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

OLDEST = {  # the nine keys of 2024-11, made up
    "id": "acme/rocket-1",
    "name": "Acme: Rocket 1",
    "created": 1_700_000_000,
    "description": "Flies.",
    "context_length": 8192,
    "architecture": {"modality": "text+image->text", "tokenizer": "GPT", "instruct_type": None},
    "pricing": {"prompt": "0.0000025", "completion": "0.00001", "image": "0", "request": "0"},
    "top_provider": {"context_length": 8192, "max_completion_tokens": 0, "is_moderated": True},
    "per_request_limits": {"prompt_tokens": "100", "completion_tokens": "100"},
}


def recorded(shared_data, day):
    return json.loads((shared_data / "catalogs" / f"catalog-{day}.json").read_text())


def dtypes(frame):
    """The dtypes of a frame as docs/tables.md writes them."""
    return {name: str(dtype) for name, dtype in frame.dtypes.items()}


def documented(columns):
    return {n: TEXT_TYPE if d == "str" else d for n, (d, _) in columns.items()}


def one(**fields):
    """The one row that a record gives."""
    return to_frame([{"id": "a/b", **fields}]).iloc[0]


# --- recorded answers -----------------------------------------------------------------------------


@pytest.mark.parametrize("day", RECORDED)
def test_every_recorded_catalogue_becomes_the_same_table(shared_data, day):
    answer = recorded(shared_data, day)
    records = answer["data"] if isinstance(answer, dict) else answer
    frame = to_frame(answer)
    assert dtypes(frame) == documented(MODEL_COLUMNS)
    assert frame.index.tolist() == [record["id"] for record in records]
    assert frame.index.name == "id"
    assert frame.attrs["notes"] == []


@pytest.mark.parametrize("day", RECORDED)
def test_nothing_of_a_record_is_lost_or_changed(shared_data, day):
    answer = recorded(shared_data, day)
    untouched = copy.deepcopy(answer)
    frame = to_frame(answer)
    assert answer == untouched
    assert frame["raw"].tolist() == (answer["data"] if isinstance(answer, dict) else answer)


@pytest.mark.parametrize(
    ("day", "free", "routers"),
    [("2025-04-09", 56, 1), ("2026-03-15", 28, 3), ("2026-08-22", 20, 6)],
)
def test_free_models_and_routers_are_counted(shared_data, day, free, routers):
    """Both prices 0: 56, 28 and 22 rows; two of the last make music, and are priced by the song."""
    frame = to_frame(recorded(shared_data, day))
    assert frame["is_free"].sum() == free
    assert frame["is_router"].sum() == routers
    unpriced = frame["prompt_usd_per_million"].isna()
    assert (unpriced == (frame["is_router"] & ~frame["is_free"])).all()


def test_the_newest_catalogue_has_its_particulars(shared_data):
    frame = to_frame(recorded(shared_data, "2026-08-22"))
    assert frame["is_batch"].sum() == 61
    assert frame["is_alias"].sum() == 12
    assert frame["alias_target"].dropna().isin(frame.index).all()
    assert frame["expiration_date"].max() == pd.Timestamp("2026-12-31", tz="UTC")
    assert frame["knowledge_cutoff"].notna().sum() == 193
    assert frame["intelligence_index"].between(0, 100).sum() == 150
    assert frame["author"].notna().all()
    assert frame["created"].between("2023-01-01", "2026-08-23").all()


def test_no_records_make_an_empty_table_with_the_same_types():
    assert dtypes(to_frame([])) == documented(MODEL_COLUMNS)
    assert dtypes(to_frame({"data": []})) == documented(MODEL_COLUMNS)
    assert dtypes(endpoints_to_frame({"data": {"endpoints": []}})) == documented(ENDPOINT_COLUMNS)
    assert dtypes(providers_to_frame([])) == documented(PROVIDER_COLUMNS)
    assert to_frame([]).index.dtype == to_frame([OLDEST]).index.dtype


# --- old, odd and broken records ------------------------------------------------------------------


def test_a_record_of_2024_is_read():
    row = one(**OLDEST)
    assert row["input_modalities"] == ("text", "image")
    assert row["output_modalities"] == ("text",)
    assert row["accepts_image"]
    assert row["supported_parameters"] == ()
    assert not row["tools"]
    assert row["prompt_usd_per_million"] == 2.5
    assert row["request_usd"] == 0
    assert pd.isna(row["max_completion_tokens"])
    assert row["is_moderated"]
    assert row["created"] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_an_id_is_all_that_a_record_needs():
    row = one()
    assert row["name"] == "a/b"
    assert row["author"] == "a"
    assert row["price_tier"] == "unknown"
    assert not row["is_free"]
    assert row[["context_length", "created", "prompt_usd_per_million", "family"]].isna().all()


@pytest.mark.parametrize(
    "field",
    [
        *["architecture", "pricing", "top_provider", "benchmarks", "supported_parameters"],
        *["reasoning", "alias_target", "name", "created", "context_length", "description"],
    ],
)
@pytest.mark.parametrize("value", [None, 7, "odd", [], [None], {}, {"x": None}, True])
def test_no_field_can_spoil_the_table(field, value):
    frame = to_frame([{**OLDEST, field: value}, {**OLDEST, "id": "acme/rocket-2"}])
    assert dtypes(frame) == documented(MODEL_COLUMNS)
    assert frame.loc["acme/rocket-2", "prompt_usd_per_million"] == 2.5


@given(st.lists(st.dictionaries(st.sampled_from([*OLDEST, "benchmarks", "x"]), JSON)))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_record_is_too_odd_for_the_table(records):
    frame = to_frame([OLDEST, *records])
    assert dtypes(frame) == documented(MODEL_COLUMNS)
    assert len(frame) + len(frame.attrs["skipped"]) == len(records) + 1


@given(st.lists(st.dictionaries(st.sampled_from(list(OLDEST["pricing"])), JSON)))
@settings(deadline=None)
def test_a_price_in_the_table_is_never_negative(pricings):
    frame = to_frame([{"id": f"a/{n}", "pricing": p} for n, p in enumerate(pricings)])
    prices = frame[[name for name in frame if "usd" in name]]
    assert (prices.isna() | (prices >= 0)).all(axis=None)


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        *[(8192, 8192), ("8192", 8192), (8192.0, 8192), (0, None), (-1, None), (None, None)],
        *[("many", None), (2**70, None), (1.5, None), (True, None), (float("nan"), None)],
    ],
)
def test_a_context_length_is_a_count_or_unknown(value, tokens):
    length = one(context_length=value)["context_length"]
    assert (None if pd.isna(length) else length) == tokens


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("2026-08-24", "2026-08-24"),
        ("2026-08-24T12:00:00Z", "2026-08-24 12:00"),
        ("2026-08", "2026-08-01"),
        ("2098-12-31", None),
        ("soon", None),
        (20260824, None),
        (None, None),
    ],
)
def test_an_expiration_date_is_a_day_or_missing(value, date):
    expires = one(expiration_date=value)["expiration_date"]
    assert pd.isna(expires) if date is None else expires == pd.Timestamp(date, tz="UTC")


@pytest.mark.parametrize(
    ("model_id", "author", "variant"),
    [
        ("acme/rocket:free", "acme", "free"),
        ("acme/rocket:batch", "acme", "batch"),
        ("~acme/rocket-latest", "acme", ""),
        ("acme/rocket:free@preset/mine", "acme", ""),
        ("acme/rocket", "acme", ""),
        ("llama3.2:1b", None, "1b"),
    ],
)
def test_an_id_is_taken_apart(model_id, author, variant):
    row = one(id=model_id)
    assert (row["variant"], None if pd.isna(row["author"]) else row["author"]) == (variant, author)


@pytest.mark.parametrize(
    ("model_id", "outputs", "free"),
    [
        ("a/b", ["text"], True),
        ("a/b:free", ["text"], True),
        ("google/lyria-3-clip", ["text", "audio"], False),
        ("a/pictures:free", ["image", "text"], True),
        ("a/embedder", ["embeddings"], False),
        ("a/b", None, True),
    ],
)
def test_free_is_price_zero_and_a_text_model(model_id, outputs, free):
    prices = {"prompt": "0", "completion": "0"}
    row = one(id=model_id, pricing=prices, architecture={"output_modalities": outputs})
    assert row["is_free"] == free
    assert row["price_tier"] == ("free" if free else "unknown")


def test_a_routers_price_is_missing_and_not_minus_one():
    row = one(pricing={"prompt": "-1", "completion": "-1"})
    assert row["is_router"]
    assert pd.isna(row["prompt_usd_per_million"])
    assert row["price_tier"] == "router"


def test_an_alias_has_the_price_of_what_it_stands_for():
    row = one(
        id="~acme/rocket-latest",
        architecture={"tokenizer": "Router"},
        pricing={"prompt": "0.000001", "completion": "0.000002"},
        alias_target={"slug": "acme/rocket-9", "name": "Acme: Rocket 9"},
    )
    assert row["is_alias"]
    assert not row["is_router"]
    assert row["alias_target"] == "acme/rocket-9"


def test_half_a_surrogate_pair_is_survived():
    assert (
        len(to_frame(json.loads('[{"id": "a/b", "name": "\\ud83d", "description": "\\ud83d"}]')))
        == 1
    )


def test_models_of_another_server_are_listed_too():
    answer = {
        "object": "list",
        "data": [{"id": "llama3.2:1b", "object": "model", "owned_by": "me"}],
    }
    frame = to_frame(answer)
    assert frame.loc["llama3.2:1b", "author"] == "me"
    assert frame.attrs["notes"] == []


# --- what people are told -------------------------------------------------------------------------


def test_a_record_without_an_id_is_left_out_and_told():
    frame = to_frame([OLDEST, {"name": "Nameless"}, None, {"id": 7}, {"id": ""}])
    assert frame.index.tolist() == ["acme/rocket-1"]
    assert frame.attrs["skipped"] == [1, 2, 3, 4]
    assert frame.attrs["notes"] == [
        "model record 1 has no id and is left out (and 3 more); "
        "if a model is missing, look there in the answer."
    ]


def test_the_first_of_two_records_with_one_id_counts():
    frame = to_frame([OLDEST, {**OLDEST, "name": "Impostor"}])
    assert frame["name"].tolist() == ["Acme: Rocket 1"]
    assert frame.attrs["skipped"] == [1]
    assert "'acme/rocket-1' is listed twice" in frame.attrs["notes"][0]


@pytest.mark.parametrize("prices", [None, {}, {"prompt": None, "completion": "0"}, "free"])
def test_a_null_price_is_told_and_the_table_is_usable(prices):
    frame = to_frame([{**OLDEST, "pricing": prices}])
    assert frame["is_free"].tolist() == [False]
    assert "'acme/rocket-1' has no price that can be read" in frame.attrs["notes"][0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("<html>", "it is str '<html>'"),
        (None, "it is NoneType"),
        ({"models": []}, "it is dict"),
        ({"data": {"id": "a/b"}}, "it is dict"),
        ({"error": {"message": "No auth"}}, "it is an error: No auth"),
        ([{"name": "x"}], "none of the 1 model records has an 'id'"),
    ],
)
def test_what_is_no_catalogue_is_refused_with_one_short_message(answer, words):
    with pytest.raises(CatalogError, match=re.escape(words)) as caught:
        to_frame(answer)
    assert len(str(caught.value)) < 250


def test_a_frame_says_where_it_comes_from():
    at = datetime(2026, 8, 22, tzinfo=UTC)
    frame = to_frame(
        [OLDEST], source="snapshot", fetched_at=at, url="/models", snapshot="2026-08-22"
    )
    assert json.loads(json.dumps(frame.attrs)) == {
        "source": "snapshot",
        "fetched_at": "2026-08-22T00:00:00+00:00",
        "url": "/models",
        "snapshot": "2026-08-22",
        "notes": [],
        "skipped": [],
    }


# --- endpoints and providers ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_one_day(shared_data):
    path = shared_data / "endpoints" / "endpoints-2026-08-22T230119Z.json.gz"
    return json.loads(gzip.decompress(path.read_bytes()))


def test_every_recorded_endpoint_is_read(of_one_day):
    frames = [endpoints_to_frame(answer) for answer in of_one_day["endpoints"].values()]
    assert sum(len(frame) for frame in frames) == 1204
    assert all(dtypes(frame) == documented(ENDPOINT_COLUMNS) for frame in frames)
    whole = pd.concat(frames)
    assert whole["model_id"].notna().all()
    assert whole["discount"].lt(0).sum() == 1, "a surcharge, seen once"
    assert whole["discount"].le(1).all()
    assert whole["uptime_last_1d_percent"].dropna().between(0, 100).all()


def test_times_of_endpoints_are_in_seconds():
    endpoint = {
        "latency_last_30m": {"p50": 410, "p99": 4020.5},
        "throughput_last_30m": {"p50": 71},
        "pricing": {"prompt": "0.0000022", "discount": 0.1},
    }
    row = endpoints_to_frame({"data": {"id": "acme/orbit", "endpoints": [endpoint]}}).iloc[0]
    assert row["time_to_first_token_p50_s"] == 0.41
    assert row["time_to_first_token_p99_s"] == 4.0205
    assert row["tokens_per_second_p50"] == 71
    assert pd.isna(row["tokens_per_second_p90"])
    assert row["model_id"] == "acme/orbit"
    assert row["prompt_usd_per_million"] == 2.2, "the discount is off already"


def test_an_old_endpoint_with_a_bare_number_is_read():
    frame = endpoints_to_frame([{"latency_last_30m": 500, "throughput_last_30m": 30}])
    assert frame["time_to_first_token_p50_s"].tolist() == [0.5]
    assert frame["time_to_first_token_p90_s"].isna().all()


def test_rows_of_one_provider_are_told_apart_by_their_tier():
    can = {"auto": True, "none": True, "required": False, "function": "yes"}
    frame = endpoints_to_frame(
        [
            {"provider_name": "NorthCloud", "service_tier": None, "supports_tool_choice": can},
            {"provider_name": "NorthCloud", "service_tier": "flex", "supports_tool_choice": {}},
            {"provider_name": "NorthCloud"},
            {"provider_name": "NorthCloud", "service_tier": 3, "supports_tool_choice": ["auto"]},
        ]
    )
    assert frame["service_tier"].fillna("-").tolist() == ["-", "flex", "-", "-"]
    assert frame["supports_tool_choice"].tolist() == [("auto", "none"), (), None, None]


ENDPOINT_FIELDS = ["pricing", "tag", "status", "service_tier", "supports_tool_choice"]


@given(st.lists(JSON | st.dictionaries(st.sampled_from(ENDPOINT_FIELDS), JSON)))
@settings(deadline=None)
def test_no_endpoint_is_too_odd(endpoints):
    frame = endpoints_to_frame({"data": {"endpoints": endpoints}})
    assert dtypes(frame) == documented(ENDPOINT_COLUMNS)
    assert len(frame) + len(frame.attrs["skipped"]) == len(endpoints)


def test_what_has_no_endpoints_is_refused():
    with pytest.raises(CatalogError, match="no list of endpoints"):
        endpoints_to_frame({"data": {"id": "a/b"}})


def test_every_recorded_provider_is_read(shared_data, of_one_day):
    older = json.loads((shared_data / "endpoints" / "providers-2026-05-06.json").read_text())
    for answer in (older, of_one_day["providers"]):
        frame = providers_to_frame(answer)
        assert len(frame) == len(answer["data"])
        assert dtypes(frame) == documented(PROVIDER_COLUMNS)
        assert frame["headquarters"].dropna().str.len().eq(2).all()


# --- filters --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(shared_data):
    return to_frame(recorded(shared_data, "2026-08-22"), source="snapshot")


def test_without_a_condition_everything_stays(models):
    kept = filter_models(models)
    assert kept.equals(models)
    assert kept.attrs == models.attrs
    assert kept is not models


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"free": True}, lambda f: f["is_free"]),
        ({"free": False}, lambda f: ~f["is_free"]),
        ({"tools": True}, lambda f: f["tools"]),
        ({"reasoning": False}, lambda f: ~f["reasoning"]),
        ({"structured_outputs": True}, lambda f: f["structured_outputs"]),
        ({"min_context": 128_000}, lambda f: f["context_length"] >= 128_000),
        ({"accepts": "image"}, lambda f: f["accepts_image"]),
        ({"accepts": ["image", "audio"]}, lambda f: f["accepts_image"] & f["accepts_audio"]),
        ({"returns": "image"}, lambda f: f["returns_image"]),
        ({"parameters": ["tools"]}, lambda f: f["tools"]),
        ({"max_prompt_usd_per_million": 0.1}, lambda f: f["prompt_usd_per_million"] <= 0.1),
        ({"max_completion_usd_per_million": 1}, lambda f: f["completion_usd_per_million"] <= 1),
        ({"family": "CLAUDE"}, lambda f: f["family"] == "Claude"),
        ({"author": ["OpenAI", "google"]}, lambda f: f["author"].isin(["openai", "google"])),
        ({"routers": False}, lambda f: ~f["is_router"]),
        ({"aliases": False}, lambda f: ~f["is_alias"]),
        ({"batch": False}, lambda f: ~f["is_batch"]),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_a_filter_keeps_what_meets_it_and_nothing_else(models, condition, holds):
    kept = filter_models(models, **condition)
    expected = models[holds(models).fillna(False).astype(bool)]
    assert kept.index.tolist() == expected.index.tolist()
    assert 0 < len(kept) < len(models)
    assert kept.attrs["source"] == "snapshot"


def test_conditions_are_all_met(models):
    kept = filter_models(models, accepts="image", min_context=128_000, tools=True, batch=False)
    assert kept["accepts_image"].all()
    assert kept["tools"].all()
    assert not kept["is_batch"].any()


def test_every_word_of_a_search_is_in_the_id_or_the_name():
    frame = to_frame([OLDEST, {"id": "acme/orbit", "name": "Straße One"}])
    assert filter_models(frame, search="ROCKET acme:").index.tolist() == ["acme/rocket-1"]
    assert filter_models(frame, search="strasse").index.tolist() == ["acme/orbit"]
    assert len(filter_models(frame, search="  ")) == 2
    assert filter_models(frame, search="rocket orbit").empty


def test_a_search_forgives_and_puts_the_best_match_first(shared_data):
    path = shared_data / "catalogs" / "catalog-2026-08-22.json"
    frame = to_frame(json.loads(path.read_bytes()))
    assert filter_models(frame, search="gpt-4o").index[0] == "openai/gpt-4o"
    assert filter_models(frame, search="openai/gpt4o mini").index[0] == "openai/gpt-4o-mini"
    found = filter_models(frame, search="gpt4")
    assert found.index[0] == "openai/gpt-4"
    assert {"openai/gpt-4o", "openai/gpt-4.1"} <= set(found.index)
    best = filter_models(frame, search="Coding")["coding_index"]
    assert len(best) > 50
    assert best.is_monotonic_decreasing
    meant = filter_models(frame, search="anthropc sonnet").attrs["notes"]
    assert meant == ["Nothing fits 'anthropc sonnet'. Did you mean 'anthropic sonnet'?"]


def test_an_unpriced_model_is_under_no_limit():
    frame = to_frame([{"id": "a/router", "pricing": {"prompt": "-1", "completion": "-1"}}])
    assert filter_models(frame, max_prompt_usd_per_million=10**9).empty


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"min_contxt": 5}, "'min_contxt' is no filter; did you mean 'min_context'?"),
        ({"accepts": "imgae"}, "'imgae' is no input modality; did you mean 'image'?"),
        ({"returns": ["text", "smell"]}, "'smell' is no output modality"),
        ({"parameters": "tool"}, "did you mean 'tools'"),
        ({"min_context": "much"}, "min_context='much' is not a number"),
        ({"max_prompt_usd_per_million": True}, "is not a number"),
        ({"free": "yes"}, "free='yes' is not True, False or None"),
        ({"routers": "no"}, "routers='no' is not True, False or None"),
        ({"search": 5}, "search=5 is not text"),
    ],
)
def test_a_slip_is_told_and_not_a_filter(models, condition, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        filter_models(models, **condition)


def test_a_past_day_has_no_column_that_some_filters_ask():
    with pytest.raises(ConfigError, match="tools: these models have no column 'tools'"):
        filter_models(ornb.catalog_at("2025-09-01"), tools=True)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"min_context": "128k"}, {"min_context": 128_000}),
        ({"min_context": "1 M"}, {"min_context": 1_000_000}),
        ({"accepts": "vision"}, {"accepts": "image"}),
        ({"accepts": ["pdf", "images"]}, {"accepts": ["file", "image"]}),
        ({"max_prompt_usd_per_million": "0.5"}, {"max_prompt_usd_per_million": 0.5}),
        ({"max_prompt_usd_per_million": Decimal("0.5")}, {"max_prompt_usd_per_million": 0.5}),
    ],
)
def test_filters_take_what_people_write(models, said, meant):
    found = filter_models(models, **said)
    assert len(found) < len(models)
    pd.testing.assert_frame_equal(found, filter_models(models, **meant))


@pytest.mark.parametrize(
    ("by", "column", "upwards"),
    [
        ("price", "prompt_usd_per_million", True),
        ("-price", "prompt_usd_per_million", False),
        ("completion_usd_per_million", "completion_usd_per_million", True),
        ("context", "context_length", False),
        ("newest", "created", False),
        ("intelligence", "intelligence_index", False),
    ],
)
def test_models_are_sorted_by_what_is_best(by, column, upwards):
    models = ornb.models(sort=by)
    is_unpriced = (models["price_tier"] == "unknown") & ("_usd" in column)  # listed at 0
    values = models[column].mask(is_unpriced)
    told = values.dropna()
    assert told.is_monotonic_increasing if upwards else told.is_monotonic_decreasing
    assert values.iloc[len(told) :].isna().all()
    assert len(values) == len(ornb.models())
    assert ornb.models(sort=by).attrs == ornb.models().attrs


def test_names_are_sorted_whatever_their_case():
    names = ornb.models(sort="name")["name"].str.casefold()
    assert names.is_monotonic_increasing


@pytest.mark.parametrize("by", ["prise", "raw", "input_modalities", 5, "", ["price"]])
def test_what_cannot_be_sorted_by_is_told(by):
    with pytest.raises(ConfigError, match="is no column to sort by"):
        ornb.models(sort=by)


def test_a_filter_of_few_models_knows_what_others_can():
    few = to_frame([OLDEST])
    assert filter_models(few, accepts="video", parameters="seed", author="openai").empty


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("openai/gpt4o-mini", "openai/gpt-4o-mini"),
        ("gpt-4o-mini", "openai/gpt-4o-mini"),
        ("OpenAI/GPT-4o", "openai/gpt-4o"),
        ("claude-sonnet", "anthropic/claude-sonnet-5"),
    ],
)
def test_the_nearest_id_is_found(asked, found):
    ids = ["openai/gpt-4o", "openai/gpt-4o-mini", "anthropic/claude-sonnet-5", "meta/llama-3"]
    assert closest(asked, ids)[0] == found


def test_nothing_near_is_nothing_proposed(models):
    assert closest("zzzzqqqq", models) == []


# --- the page -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        ("## Models", MODEL_COLUMNS),
        ("## Endpoints", ENDPOINT_COLUMNS),
        ("## Providers", PROVIDER_COLUMNS),
        ("## Usage", USAGE_COLUMNS),
        ("### Summary", SUMMARY_COLUMNS),
    ],
)
def test_the_page_describes_the_columns_that_there_are(heading, columns):
    page = (Path(__file__).parents[1] / "docs" / "tables.md").read_text()
    table = page.split(f"\n{heading}\n")[1].split("\n| --- | --- | --- |\n")[1].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    assert rows == [[f"`{name}`", dtype, meaning] for name, (dtype, meaning) in columns.items()]


@pytest.mark.parametrize("scheme", TIERS)
def test_the_page_describes_the_tiers_that_there_are(scheme):
    page = (Path(__file__).parents[1] / "docs" / "tables.md").read_text()
    rows = page.split(f"\n`{scheme}`: ")[1].split("\n| --- | --- |\n")[1].split("\n\n")[0]
    assert rows.splitlines() == [f"| {label} | {text} |" for label, text in TIERS[scheme]]
