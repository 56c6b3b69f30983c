from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ornb.api.assembly import Assembly
from ornb.api.reply import Reply, Timing, Usage, format_usd
from ornb.ledger.tracker import UsageTracker
from ornb.text.figures import figures
from tests.page import displayed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
PIECES = ["content", "reasoning", "tool_calls", "images", "annotations", "reasoning_details"]
INSIDE = ["index", "id", "type", "text", "function", "image_url", "url", "name", "arguments"]
PARTS = st.lists(st.dictionaries(st.sampled_from(INSIDE), JSON, max_size=3), max_size=2)
DELTAS = st.dictionaries(st.sampled_from(PIECES), JSON | PARTS, max_size=4)
CHOICES = st.lists(st.fixed_dictionaries({}, optional={"delta": DELTAS, "logprobs": JSON}))
CHUNKS = st.fixed_dictionaries({}, optional={"choices": CHOICES | JSON, "usage": JSON, "id": JSON})


@given(st.lists(CHUNKS, max_size=3))
def test_no_chunk_makes_it_fail(chunks) -> None:
    assembly = Assembly()
    for chunk in chunks:
        for event in assembly.take(chunk, json.dumps(chunk), 0.0):
            assert event.type not in ("text", "reasoning") or event.text
    reply = assembly.reply
    assert repr(reply)
    assert all(isinstance(call["function"]["arguments"], str) for call in reply.tool_calls)


def test_reasoning_details_come_together_by_index_and_type() -> None:
    assembly = Assembly()
    for text, signature in (("Let ", None), ("me", None), ("", "sig")):
        detail = {"index": 0, "type": "reasoning.text", "text": text, "signature": signature}
        delta = {"role": "assistant", "content": "", "reasoning_details": [detail]}
        assembly.take({"choices": [{"delta": delta}]}, "{}", 0.0)
    assert assembly.reply.reasoning_details == (
        {"index": 0, "type": "reasoning.text", "text": "Let me", "signature": "sig"},
    )


@given(st.dictionaries(st.sampled_from(["prompt_tokens", "cost", "prompt_tokens_details"]), JSON))
def test_no_usage_makes_it_fail(usage) -> None:
    read = Usage.from_json(usage)
    assert read.cost_usd is None or isinstance(read.cost_usd, float)


@pytest.mark.parametrize(
    ("source", "cost", "words"),
    [
        ("live", 0.000145, "$0.00015 billed"),
        ("live", 0.0, "$0 billed"),
        ("live", None, "cost not reported"),
        ("recorded", 0.5, "$0.50 when recorded"),
        ("local", 0.0, "not billed"),
        ("canned", 0.0, "not billed"),
    ],
)
def test_what_a_cost_is_stands_beside_it(source, cost, words) -> None:
    assert words in Reply(source=source, usage=Usage(cost_usd=cost)).facts


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"source": "canned", "status": "stopped", "http_status": 200}, "not billed"),
        ({"source": "recorded", "recorded_from": "local", "status": "stopped"}, "not billed"),
        ({"status": "error", "http_status": 404, "attempts": 1}, "not billed"),
        ({"status": "error", "timing": Timing(duration_s=0.1)}, "not billed"),
        ({"status": "error", "http_status": 504, "attempts": 1}, "cost not reported"),
        ({"status": "stopped", "http_status": 200, "attempts": 1}, "cost not reported"),
    ],
    ids=["stopped offline", "stopped in a tape", "refused", "never sent", "timed out", "stopped"],
)
def test_what_brings_no_bill_says_so_everywhere(fields, words) -> None:
    """In the line under an answer, in its figures, and in the usage table."""
    reply, tracker = Reply(**fields), UsageTracker()
    tracker.record(reply)
    assert words in reply.facts
    free = words == "not billed"
    assert figures(reply, None)[0].remark == (words if free else "not reported")
    if reply.source != "recorded":  # the table keeps no more than that
        assert (words if free else "unknown") in displayed(tracker)["text/html"]


@given(st.floats(1e-12, 1e6))
def test_an_amount_is_never_shown_as_nothing(amount) -> None:
    shown = float(format_usd(amount)[1:].replace(",", ""))
    assert shown == pytest.approx(amount, rel=0.06, abs=0.005 if amount >= 1 else 0)


def test_a_rate_needs_both_its_parts() -> None:
    assert Timing(duration_s=2.0).tokens_per_second(None) is None
    assert Timing().tokens_per_second(5) is None


def test_a_repr_spells_out_what_a_terminal_would_obey():
    reply = Reply(text="\x1b[2J", provider="\x1b]52;c;aGk=\x07", finish_reason="stop\u202e")
    assert repr(reply).isprintable()
