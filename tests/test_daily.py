"""Five things that people ask for daily: each takes a line or two of docs/how.md, and no detour."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import ornb
from ornb import session
from tests.wire import DONE, END, STREAM, WireServer, delta, event, whole

HOW = (Path(__file__).parents[1] / "docs" / "how.md").read_text(encoding="utf-8")
MODELS = ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4.5", "google/gemini-2.5-flash"]
USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30, "cost": 0.001}


@pytest.fixture(autouse=True)
def _offline() -> Iterator[None]:
    ornb.connect(offline=True)
    ornb.usage.clear()
    yield
    ornb.connect(offline=True)
    ornb.usage.clear()


def test_cheap_models_that_see_and_their_price_against_quality() -> None:
    asked = 'accepts="vision", min_context="128k", free=False, batch=False, sort="price"'
    cheap = ornb.models(accepts="vision", min_context="128k", free=False, batch=False, sort="price")
    assert f"ornb.models({asked})" in HOW
    assert len(cheap) > 50
    assert cheap["accepts_image"].all()
    assert cheap["context_length"].min() >= 128_000
    assert not cheap["is_batch"].any()
    prices = cheap["prompt_usd_per_million"]
    assert (prices > 0).is_monotonic_decreasing  # what is billed by the song is not the cheapest
    assert prices[prices > 0].is_monotonic_increasing
    figure = ornb.plots.price_quality(cheap)
    assert "ornb.plots.price_quality(cheap)" in HOW
    assert sum(len(trace.x) for trace in figure.data) > 30


def test_three_models_on_one_question_with_what_each_costs() -> None:
    answers = ornb.compare("What is a token?", MODELS, max_tokens=60)
    assert 'ornb.compare("What is a token?", models, max_tokens=60)' in HOW
    costs = answers.df.set_index("model")["estimate_usd"]
    assert sorted(costs.index) == sorted(MODELS)
    assert (costs > 0).all()
    assert costs["anthropic/claude-sonnet-4.5"] > 10 * costs["openai/gpt-4o-mini"]


def test_thirty_reviews_with_a_schema_are_stopped_and_gone_on_with(tmp_path: Path) -> None:
    """Stopped in the midst, by the stop button: nothing that was answered is asked again."""
    asked: list[str] = []

    def answer(head: bytes, body: bytes) -> list[Any]:
        if head.split()[1].endswith(b"/models"):
            prices = {"prompt": "0.000001", "completion": "0.000002"}
            record = {"id": "acme/orbit", "context_length": 8000, "pricing": prices}
            return [whole({"data": [record]})]
        if not head.split()[1].endswith(b"/chat/completions"):
            return [whole({"error": {"code": 404, "message": "No"}}, 404)]
        asked.append(json.loads(body)["messages"][-1]["content"])
        if len(asked) == 12:
            os.kill(os.getpid(), signal.SIGINT)
            return [STREAM, "stall"]
        stars = delta(json.dumps({"stars": len(asked) % 5}), "stop")
        return [STREAM, stars + event(choices=[], usage=USAGE) + DONE + END]

    reviews = pd.DataFrame({"review": [f"Review number {n}." for n in range(30)]})
    schema = {"type": "object", "properties": {"stars": {"type": "integer"}}}
    store = tmp_path / "reviews.sqlite"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with WireServer(answer) as server:
        ornb.connect(base_url=server.url)

        def line() -> pd.DataFrame:
            given: dict[str, Any] = {"schema": schema, "store": store, "progress": False}
            template = "How many stars? {{review}}"
            return ornb.batch(reviews, template, "acme/orbit", concurrency=1, **given)

        try:
            with pytest.raises(KeyboardInterrupt, match="11 of 30 rows are answered"):
                line()
        finally:
            signal.signal(signal.SIGINT, before)
        table = line()
    assert 'schema=schema, store="reviews.sqlite"' in HOW
    assert table["status"].tolist() == ["cached"] * 11 + ["ok"] * 19
    assert table["stars"].dtype == "Int64"
    assert table["stars"].notna().all()
    assert len(asked) == 31
    assert len(set(asked)) == 30


def test_one_model_against_another_how_fast() -> None:
    times = ornb.measure([MODELS[0], MODELS[2]], "Hi", repeats=2, max_tokens=4, progress=False)
    summary = ornb.latency_summary(times)
    differences = ornb.latency_differences(times)
    assert "ornb.latency_summary(times)" in HOW
    assert "ornb.latency_differences(times)" in HOW
    assert summary["n"].tolist() == [2, 2]
    assert len(differences) == 1
    assert differences["verdict"].iloc[0]


def test_what_was_spent_today_by_model() -> None:
    for model in (MODELS[0], MODELS[0], MODELS[1]):
        ornb.ask("Hi", model, max_tokens=4)
    today = ornb.usage.summary(since="today", by=["day", "model"])
    assert 'ornb.usage.summary(since="today", by=["day", "model"])' in HOW
    calls = today["calls"].droplevel("day")
    assert (calls[MODELS[0]], calls[MODELS[1]]) == (2, 1)
    assert today["estimate_usd"].sum() == pytest.approx(session.usage.df["estimate_usd"].sum())
