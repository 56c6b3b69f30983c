"""Room for a prompt: by how much it is too long, and which models have room."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from cassettes import exchanges
from hypothesis import given
from hypothesis import strategies as st

import ornb
from ornb.catalog import to_frame
from ornb.errors import ConfigError, ContextTooLong
from ornb.messages.context import DOUBT, estimate_tokens, fits, in_words, suggest

SMALL = {"id": "lab/small", "context_length": 8_192}


def model(model_id, *, index=None, price=1.0, context=100_000, inputs=("text",), **more):
    benchmarks = {"artificial_analysis": {"intelligence_index": index}}
    return {
        "id": model_id,
        "context_length": context,
        "architecture": {"input_modalities": list(inputs), "output_modalities": ["text"]},
        "pricing": {"prompt": f"{price / 1e6:.10f}", "completion": f"{price / 1e6:.10f}"},
        "benchmarks": benchmarks if index is not None else None,
        "supported_parameters": ["tools"],
    } | more


# ---- does it fit


def test_a_prompt_with_room_fits():
    report = fits("Hello there.", SMALL, 1000)
    assert (report.verdict, report.over_by) == ("fits", 0)
    assert "free in lab/small, which takes 8,192 in all." in str(report)


def test_a_prompt_that_is_too_long_says_by_how_much_and_what_has_room():
    models = to_frame([SMALL, model("lab/big", index=40), model("lab/mid", context=10_000)])
    report = fits("word " * 20_000, models.loc["lab/small"], 500, models=models)
    assert report.verdict == "too long"
    assert (report.prompt_tokens, report.max_tokens) == (20_004, 500)
    assert report.over_by == 20_504 - 8_192
    assert report.alternatives == ("lab/big",)
    assert str(report) == (
        "About 20,004 tokens of prompt and 500 of answer are 12,312 too many for lab/small, which "
        "takes 8,192 in all. Shorten it, or ask a model with room: lab/big."
    )


def test_the_answer_alone_can_be_too_long():
    assert fits("Hi", SMALL, 9_000).verdict == "too long"


def test_near_the_limit_a_rule_of_thumb_does_not_decide():
    inside, outside = fits("word " * 7_000, SMALL), fits("word " * 9_000, SMALL)
    assert (inside.verdict, inside.over_by) == ("may not fit", 0)
    assert (outside.verdict, outside.over_by) == ("may not fit", 812)


@pytest.mark.parametrize("context", [None, 0, "many", True])
def test_an_unknown_context_decides_nothing(context):
    report = fits("word " * 100_000, {"id": "lab/x", "context_length": context})
    assert (report.verdict, report.over_by) == ("unknown", 0)
    assert str(report) == "About 100,004 tokens of prompt; how many lab/x takes is not listed."


def test_what_cannot_be_counted_is_named():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    message = {"role": "user", "content": [{"type": "text", "text": "What?"}, picture, picture]}
    report = fits([message], SMALL)
    assert report.uncounted == ("image", "image")
    assert report.prompt_tokens < 20
    assert report.verdict == "may not fit"
    assert "(without its 2 images)" in str(report)
    assert fits([message], {"id": "lab/x", "context_length": 1_000_000}).verdict == "fits"


@pytest.mark.parametrize(("part", "kind"), [("image_url", "image"), ("video_url", "video")])
def test_models_with_room_take_the_attachments_too(part, kind):
    models = to_frame(
        [
            SMALL,
            model("lab/text", index=60),
            model("lab/see", index=50, inputs=("text", kind)),
        ]
    )
    content = [
        {"type": "text", "text": "word " * 20_000},
        {"type": part, part: {"url": "https://example.org/a"}},
    ]
    report = fits([{"role": "user", "content": content}], SMALL, models=models)
    assert (report.uncounted, report.alternatives) == ((kind,), ("lab/see",))


def test_tool_calls_and_reasoning_are_counted():
    call = {"id": "1", "function": {"name": "f", "arguments": "word " * 1000}}
    plain = [{"role": "assistant", "content": None}]
    assert fits([plain[0] | {"tool_calls": [call]}], SMALL).prompt_tokens > 1000
    assert fits(plain, SMALL).prompt_tokens == 4


@pytest.mark.parametrize(
    ("words", "prompt", "answer", "over"),
    [
        (
            "This endpoint's maximum context length is 8192 tokens. However, you requested about "
            "9000 tokens (8500 of text input, 500 in the output).",
            *(8500, 500, 808),
        ),
        (
            "This endpoint's maximum context length is 2,048 tokens. However, your prompt has "
            "about 2,500 tokens. Shorten it.",
            *(2500, 0, 452),
        ),
    ],
)
def test_after_a_refusal_the_services_own_count_is_taken(words, prompt, answer, over):
    report = fits("Hi", SMALL, 500, refusal=ContextTooLong(words))
    assert report.is_exact
    assert (report.prompt_tokens, report.max_tokens, report.over_by) == (prompt, answer, over)
    assert report.verdict == "too long"
    assert str(report).startswith(f"{prompt:,} tokens of prompt")


def test_a_refusal_without_counts_leaves_the_estimate():
    report = fits("Hi", SMALL, refusal=ContextTooLong("too many tokens"))
    assert (report.is_exact, report.verdict) == (False, "fits")


def test_a_real_refusal_has_its_counts():
    said = "This endpoint's maximum context length is 8192 tokens. You requested about 9000 tokens"
    wish = {"status": 400, "error_type": "context_length_exceeded", "message": said}
    with pytest.raises(ContextTooLong) as caught:
        ornb.ask("Hi", "ornb/canned", ornb={"simulate": wish})
    report = fits(
        "Hi", ornb.models().loc["openai/gpt-4o-mini"], models=ornb.models(), refusal=caught.value
    )
    assert (report.context_length, report.over_by, len(report.alternatives)) == (8192, 808, 3)


# ---- the estimate


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("cat", 1), ("cats and dogs", 3), ("2026", 2), ("a,b", 3), ("incomprehensible", 3)],
)
def test_the_rule_is_as_documented(text, tokens):
    assert estimate_tokens(text) == tokens


def test_english_is_within_the_doubt_of_a_real_tokenizer():
    """The licence's first paragraphs, counted by SmolLM2's tokenizer: 5.0 letters a token."""
    text = (Path(__file__).parents[1] / "LICENSE").read_text()
    assert len(text) / 5.6 < estimate_tokens(text) < len(text) / 3.6


def test_recorded_prompts_are_within_reach_of_the_estimate(shared_data):
    """Plain prompts only: tools, pictures and searches add what is not in the messages."""
    ratios = {}
    for exchange in exchanges(shared_data):
        request = exchange.request
        if exchange.status != 200 or set(request) & {
            "tools",
            "plugins",
            "response_format",
            "reasoning",
        }:
            continue
        found = [json.loads(line) for line in usages(exchange.body)]
        report = fits(request["messages"], SMALL)
        if found and not report.uncounted and found[-1] > 20:
            ratios[exchange.name] = report.prompt_tokens / found[-1]
    assert len(ratios) > 4
    assert all(0.5 < ratio < 1.5 for ratio in ratios.values()), ratios


def usages(body):
    text = body.decode()
    return [part.split(",")[0] for part in text.replace(" ", "").split('"prompt_tokens":')[1:]]


@given(st.text(max_size=200), st.text(max_size=200))
def test_more_text_is_never_fewer_tokens(one, other):
    both = estimate_tokens(one + "\n" + other)
    assert both + 2 >= max(estimate_tokens(one), estimate_tokens(other))


@given(st.text(max_size=300) | st.sampled_from(["\ud800", "é" * 9]), st.integers(1, 500))
def test_the_verdict_agrees_with_the_numbers(text, context):
    report = fits(text, {"id": "m", "context_length": context})
    assert report.over_by == max(0, report.prompt_tokens - context)
    if report.verdict == "fits":
        assert report.over_by == 0
    if report.verdict == "too long":
        assert report.over_by > DOUBT * report.prompt_tokens
    assert str(report)


# ---- which models instead


def test_of_the_able_the_better_half_comes_first_and_cheapest_first():
    models = to_frame(
        [
            model("a/weak", index=10, price=0.01),
            model("b/good", index=50, price=2.0),
            model("c/good-cheap", index=45, price=0.5),
            model("d/unknown", price=0.001),
            model("e/weak-too", index=20, price=0.02),
        ]
    )
    assert suggest(models, n=5) == [
        *("c/good-cheap", "b/good"),
        *("d/unknown", "a/weak", "e/weak-too"),
    ]


def test_no_author_is_named_twice_while_there_are_others():
    models = to_frame(
        [
            model("a/one", index=50, price=1),
            model("a/two", index=50, price=2),
            model("b/three", index=50, price=3),
        ]
    )
    assert suggest(models) == ["a/one", "b/three", "a/two"]


def test_what_is_no_plain_chat_model_is_not_proposed():
    models = to_frame(
        [
            model("~a/latest", index=99),
            model("a/model:batch", index=99),
            model("openrouter/auto", price=-1_000_000),
            model("a/pictures") | {"architecture": {"output_modalities": ["image"]}},
            model("a/chat"),
        ]
    )
    assert suggest(models) == ["a/chat"]


def test_the_snapshot_has_a_proposal_for_each_need():
    models = ornb.models()
    for needs in ({"accepts": ["image"]}, {"accepts": ["file"]}, {"parameters": ["tools"]}):
        named = suggest(models, **needs, min_context=100_000)
        assert len(named) == 3
        assert (models.loc[named, "context_length"] >= 100_000).all()
    assert suggest(models, min_context=10**9) == []


def test_an_older_catalogue_without_an_index_will_do():
    models = to_frame([model("a/dear", price=9), model("b/cheap", price=1)])
    assert models["intelligence_index"].isna().all()
    assert suggest(models) == ["b/cheap", "a/dear"]
    assert suggest(models.iloc[:0]) == []


def test_the_frame_is_left_as_it_is():
    models = ornb.models()
    before = models.copy()
    suggest(models, accepts=["image"])
    pd.testing.assert_frame_equal(models, before)


def test_names_are_put_into_words():
    assert [in_words(list("abc"[:n])) for n in range(4)] == ["", "a", "a or b", "a, b or c"]


def test_what_is_no_model_is_refused():
    with pytest.raises(ConfigError):
        fits("Hi", "openai/gpt-4o-mini")


def test_a_prompt_of_odd_parts_is_counted_as_far_as_it_is_text():
    for content in (5, ["Hi"], [{"type": "text", "text": 5}], {"a": 1}):
        report = fits([{"role": "user", "content": content}], SMALL)
        assert (report.verdict, report.uncounted) == ("fits", ())


def test_one_modality_may_stand_alone_and_a_past_day_will_do():
    assert suggest(ornb.models(), accepts="image") == suggest(ornb.models(), accepts=["image"])
    past = ornb.catalog_at("2026-01-01")
    cheapest = past.loc[suggest(past), "prompt_usd_per_million"]
    assert cheapest.is_monotonic_increasing
    assert len(cheapest) == 3
