"""Parameters: the model's own defaults and limits, and what is wrong said before it is sent."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ornb
from ornb.api.parameters import (
    DOCUMENTED,
    Parameter,
    check,
    parameter_table,
    record_of,
    to_request,
)
from ornb.errors import ConfigError


def row(*supported, **more):
    return {"id": "lab/a", "supported_parameters": list(supported)} | more


def table(record):
    return {parameter.name: parameter for parameter in parameter_table(record)}


# ---- the table


def test_only_what_the_model_lists_is_offered():
    assert list(table(row("top_p", "seed", "tools", "logit_bias"))) == ["top_p", "seed"]


def test_a_model_that_lists_nothing_is_offered_all():
    """Routers, catalogues before 2025-05, other servers."""
    for record in ({"id": "llama3"}, row(), {"supported_parameters": None}):
        assert {"temperature", "max_tokens", "reasoning.effort"} <= set(table(record))


def test_the_models_own_default_wins_over_the_documented_one():
    own = {"temperature": 0.6, "top_p": None, "top_k": 20}
    found = table(row("temperature", "top_p", "top_k", default_parameters=own))
    assert (found["temperature"].default, found["temperature"].source) == (0.6, "model")
    assert (found["top_p"].default, found["top_p"].source) == (1.0, "OpenRouter")
    assert (found["top_k"].default, found["top_k"].source) == (20, "model")


@pytest.mark.parametrize("odd", [{"temperature": "hot"}, {"temperature": 9}, [], "x", None])
def test_an_odd_default_is_passed_over(odd):
    found = table(row("temperature", default_parameters=odd))["temperature"]
    assert (found.default, found.source) == (1.0, "OpenRouter")


@pytest.mark.parametrize(
    ("context", "limit", "most"),
    [(8192, 4096, 4096), (8192, 16384, 8192), (8192, None, 8192), (0, 4096, 4096), (None, 0, None)],
)
def test_the_longest_answer_is_the_providers_limit_within_the_context(context, limit, most):
    record = row(
        "max_tokens", context_length=context, top_provider={"max_completion_tokens": limit}
    )
    assert table(record)["max_tokens"].maximum == most


def test_efforts_are_those_of_the_model():
    reasoning = {
        "mandatory": False,
        "supported_efforts": ["high", "none"],
        "default_effort": "high",
    }
    found = table(row("reasoning", reasoning=reasoning | {"default_enabled": True}))
    assert found["reasoning.effort"].choices == ("high", "none")
    assert found["reasoning.effort"].default == "high"
    assert found["reasoning.enabled"].default is True
    assert "reasoning.max_tokens" not in found


@pytest.mark.parametrize(
    ("reasoning", "names"),
    [
        ({"mandatory": False}, ["enabled"]),
        ({"mandatory": True}, []),
        ({"mandatory": True, "supported_efforts": None}, ["effort"]),
        ({"mandatory": False, "supports_max_tokens": True}, ["enabled", "max_tokens"]),
        (None, ["enabled", "effort"]),
    ],
    ids=str,
)
def test_of_reasoning_only_what_can_be_chosen_is_offered(reasoning, names):
    """The docs: efforts null are all of them, efforts absent cannot be chosen."""
    record = row("reasoning") | ({"reasoning": reasoning} if reasoning else {})
    assert [name.partition(".")[2] for name in table(record)] == names


def test_reasoning_that_is_off_by_default_has_no_default_effort():
    reasoning = {"mandatory": False, "supported_efforts": None, "default_effort": "none"}
    assert table(row("reasoning", reasoning=reasoning))["reasoning.effort"].default is None


def test_mandatory_reasoning_cannot_be_set_to_none():
    record = row("reasoning", reasoning={"mandatory": True, "supported_efforts": ["low", "none"]})
    assert table(record)["reasoning.effort"].choices == ("low",)


def test_every_recorded_model_has_a_table(shared_data):
    """Eight catalogues of sixteen months; whatever is a default is also allowed."""
    for path in sorted((shared_data / "catalogs").glob("*.json")):
        records = json.loads(path.read_text())
        for record in records["data"] if isinstance(records, dict) else records:
            for parameter in parameter_table(record):
                assert parameter.meaning
                assert parameter.maximum is None or parameter.minimum <= parameter.maximum
                if parameter.default is not None:
                    assert parameter.problem(parameter.default) is None
                    assert check(to_request({parameter.name: parameter.default}), record) == []


def test_a_row_of_the_models_frame_will_do():
    models = ornb.models()
    assert table(models.loc["openai/gpt-4o-mini"])["max_tokens"].maximum == 16_384
    with pytest.raises(ConfigError, match="str is no model"):
        record_of("openai/gpt-4o-mini")


def test_a_parameter_says_what_it_is():
    assert repr(DOCUMENTED["top_p"]) == "Parameter('top_p', 0 to 1, default 1.0 of OpenRouter)"
    assert Parameter("n", "int", "", 1, 128_000).takes == "1 to 128,000"
    assert DOCUMENTED["seed"].takes == "a whole number"


# ---- the check


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"temperature": 3}, "temperature is 3; lab/a takes 0 to 2."),
        ({"temperature": -0.1}, "temperature is -0.1; lab/a takes 0 to 2."),
        ({"temperature": "0.5"}, "temperature is '0.5'; lab/a takes a number, 0 to 2."),
        ({"temperature": True}, "temperature is True; lab/a takes a number, 0 to 2."),
        ({"temperature": math.nan}, "temperature is nan; lab/a takes 0 to 2."),
        ({"top_p": 1.01}, "top_p is 1.01; lab/a takes 0 to 1."),
        ({"top_k": 2.5}, "top_k is 2.5; lab/a takes a whole number, 0 and above."),
        ({"max_tokens": 0}, "max_tokens is 0; lab/a takes 1 to 4,096."),
        ({"max_tokens": 5000}, "max_tokens is 5000; lab/a takes 1 to 4,096."),
        ({"max_completion_tokens": 5000}, "max_completion_tokens is 5000; lab/a takes 1 to 4,096."),
        ({"seed": "x"}, "seed is 'x'; lab/a takes a whole number."),
        ({"logprobs": 1}, "logprobs is 1; lab/a takes true or false."),
        ({"top_logprobs": 21}, "top_logprobs is 21; lab/a takes 0 to 20."),
        ({"stop": list("abcde")}, "lab/a takes text, or a list of up to 4 texts."),
        (
            {"verbosity": "chatty"},
            "verbosity is 'chatty'; lab/a takes low, medium, high, xhigh, max.",
        ),
        ({"reasoning": {"effort": "hard"}}, "reasoning.effort is 'hard'; lab/a takes max, xhigh,"),
        ({"reasoning_effort": "hard"}, "reasoning_effort is 'hard'; lab/a takes max, xhigh,"),
        ({"reasoning": {"effort": []}}, "reasoning.effort is []; lab/a takes max"),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_refused_with_the_range(params, said):
    record = row(context_length=8192, top_provider={"max_completion_tokens": 4096})
    with pytest.raises(ConfigError) as caught:
        check(params, record)
    assert said in str(caught.value)


def test_what_is_fine_or_unknown_passes():
    params = {
        "temperature": 0,
        "top_p": 1.0,
        "max_tokens": None,
        "stop": ["a", "b"],
        "safe_prompt": True,
        "provider": {"sort": "price"},
        "models": ["a/b"],
        "plugins": [],
        "reasoning": {"effort": "low", "exclude": True},
    }
    assert check(params, row("temperature", "top_p", "max_tokens", "stop", "reasoning")) == []


def test_what_the_model_lacks_is_said_to_be_dropped():
    notes = check({"top_k": 40, "seed": 1, "logit_bias": {}}, row("seed"))
    assert notes == [
        "lab/a ignores top_k: the service drops it without a word.",
        "lab/a ignores logit_bias: the service drops it without a word.",
    ]
    assert check({"top_k": 40, "min_p": 0.1}, {"id": "llama3"}) == []  # nothing is known of it


@pytest.mark.parametrize(
    ("params", "listed"),
    [
        ({"max_completion_tokens": 9}, "max_tokens"),
        ({"max_tokens": 9}, "max_completion_tokens"),
        ({"reasoning_effort": "low"}, "reasoning"),
        ({"reasoning": {"effort": "low"}}, "reasoning_effort"),
    ],
)
def test_two_names_of_one_thing_are_one(params, listed):
    assert check(params, row(listed)) == []


def test_tools_for_a_model_without_are_refused():
    with pytest.raises(ConfigError, match=r"lab/a cannot call tools.*ornb\.models\(tools=True\)"):
        check({"tools": [{}]}, row("temperature"))
    assert check({"tools": [{}]}, row("tools")) == []
    assert check({"tools": []}, row("temperature")) == []


@pytest.mark.parametrize(
    "off",
    [
        {"reasoning": {"effort": "none"}},
        {"reasoning": {"enabled": False}},
        {"reasoning_effort": "none"},
    ],
)
def test_reasoning_that_is_mandatory_cannot_be_switched_off(off):
    with pytest.raises(ConfigError, match="lab/a always reasons"):
        check(off, row("reasoning", reasoning={"mandatory": True}))
    assert check(off, row("reasoning", reasoning={"mandatory": False})) == []


def test_an_effort_between_those_of_the_model_is_noted():
    record = row("reasoning", reasoning={"mandatory": False, "supported_efforts": ["high", "low"]})
    assert check({"reasoning": {"effort": "medium"}}, record) == [
        "lab/a has no reasoning effort 'medium', only high, low: the service takes the nearest."
    ]


def test_a_schema_for_a_model_that_promises_none_is_noted():
    params = {"response_format": {"type": "json_schema", "json_schema": {}}}
    assert check(params, row("response_format", "structured_outputs")) == []
    assert "does not promise" in check(params, row("response_format"))[0]


def test_values_by_name_become_fields_of_a_request():
    values = {
        "temperature": 0.5,
        "seed": None,
        "reasoning.effort": "low",
        "reasoning.enabled": True,
    }
    assert to_request(values) == {
        "temperature": 0.5,
        "reasoning": {"effort": "low", "enabled": True},
    }


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)
names = st.sampled_from([*DOCUMENTED, "reasoning", "tools", "response_format", "reasoning_effort"])


@given(
    st.dictionaries(names, anything),
    st.dictionaries(
        st.sampled_from(
            [
                "id",
                "supported_parameters",
                "default_parameters",
                "reasoning",
                "top_provider",
                "context_length",
            ]
        ),
        anything,
    ),
)
def test_odd_records_and_values_are_survived(params, record):
    parameter_table(record)
    with contextlib.suppress(ConfigError):
        assert all(isinstance(note, str) for note in check(params, record))


@pytest.mark.parametrize("kind", ["temperature", "top_k", "max_tokens"])
def test_what_the_check_refuses_the_offline_service_refuses_too(kind):
    """Its ranges were written apart from ours."""
    value = {"temperature": 2.5, "top_k": "x", "max_tokens": 0}[kind]
    with pytest.raises(ConfigError):
        check({kind: value}, {"id": "ornb/canned"})
    if kind != "top_k":
        with pytest.raises(ornb.errors.BadRequest):
            ornb.ask("Hi", "ornb/canned", **{kind: value})
