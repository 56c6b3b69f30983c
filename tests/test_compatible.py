"""Servers that speak OpenAI's chat completions, and nothing of OpenRouter's own.

One answers on loopback as OpenAI's documentation has it: models without prices, no provider, no
cost, and token counts only for who asks with ``stream_options``. The other is llama.cpp's server,
where the local model is installed. Ollama, LM Studio and vLLM were not run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import pytest
from wire import DONE, END, WireServer, event, head, whole

import ornb
from ornb import errors
from ornb.offline import model as local_model
from ornb.offline.engine import Engine

NAME = "acme-7b:latest"
STREAM = head(200, "text/event-stream", Transfer_Encoding="chunked") + b"\r\n"


def chunk(**fields: Any) -> bytes:
    return event(id="chatcmpl-7", object="chat.completion.chunk", created=1, model=NAME, **fields)


def said(finish: str | None = None, **delta: str) -> bytes:
    return chunk(choices=[{"index": 0, "delta": delta, "finish_reason": finish}])


def as_documented(request: bytes, body: bytes) -> list[bytes]:
    method, path = request.decode().split()[:2]
    if (method, path) == ("GET", "/v1/models"):
        record = {"id": NAME, "object": "model", "created": 1, "owned_by": "library"}
        return [whole({"object": "list", "data": [record]})]
    if (method, path) != ("POST", "/v1/chat/completions"):
        return [whole(b"404 page not found", 404, "text/plain")]
    asked = json.loads(body)
    if asked["model"] != NAME:
        message = f"model {asked['model']!r} not found"
        error = {"message": message, "type": "not_found_error", "param": None, "code": None}
        return [whole({"error": error}, 404)]
    used = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    wants = (asked.get("stream_options") or {}).get("include_usage")
    counts = [chunk(choices=[], usage=used)] if wants else []
    pieces = [
        said(role="assistant", content=""),
        said(content='{"mood": '),
        said(content='"good"}'),
    ]
    return [STREAM, *pieces, said("stop"), *counts, DONE, END]


@pytest.fixture(params=["as documented", "llama.cpp"])
def served(request: pytest.FixtureRequest) -> Iterator[str]:
    """Connect to such a server, and give the name of its one model."""
    if request.param == "as documented":
        with WireServer(as_documented) as running:
            ornb.connect(base_url=running.url.replace("/api/v1", "/v1"))
            ornb.usage.clear()
            yield NAME
    else:
        there, reason = local_model.available()
        if not there:
            pytest.skip(reason)
        engine = Engine()
        child = engine._spawn()
        ornb.connect(engine._key, child.ready["address"] + "/v1")
        ornb.usage.clear()
        yield "smollm2-135m-instruct"
        child.close()
    ornb.connect(offline=True)


def test_its_models_are_a_table_without_prices_and_the_first_is_asked(served: str) -> None:
    table = ornb.models()
    assert table.index.tolist() == [served]
    assert table["prompt_usd_per_million"].isna().all()
    assert table.attrs["source"] == "live"
    assert ornb.ask("Hello", max_tokens=5).model == served


def test_an_answer_has_its_text_and_times_and_no_cost_is_made_up(served: str) -> None:
    reply = ornb.ask("Is the weather good?", max_tokens=5)
    assert reply.text
    assert reply.provider is None
    assert reply.cost_usd is None
    assert 0 < reply.timing.time_to_first_token_s <= reply.timing.duration_s
    row = ornb.usage.df.iloc[-1]
    assert (row["model"], row["source"], row["status"]) == (served, "live", "ok")
    assert pd.isna(row["cost_usd"])
    assert pd.isna(row["estimate_usd"])


def test_tokens_of_a_stream_are_asked_for(served: str) -> None:
    counted = ornb.ask("Hello", max_tokens=5).usage
    assert counted.prompt_tokens > 0
    assert counted.completion_tokens > 0


def test_tokens_that_nobody_counted_are_unknown_and_not_0(served: str) -> None:
    ornb.ask("Hello", max_tokens=5, stream_options=None)
    assert ornb.usage.df["prompt_tokens"].fillna(1).gt(0).all()


@dataclass
class Opinion:
    mood: Literal["good", "bad"]


# llama.cpp closes the connection after each streamed answer, which it does not announce: a question
# that follows at once may meet the closing one. So further questions go to the other server.


@pytest.mark.parametrize("served", ["as documented"], indirect=True)
def test_chat_batch_and_measure_work_with_it(served: str) -> None:
    chat = ornb.Chat(max_tokens=5)
    assert chat.ask("Hello").text
    assert chat.ask("And now?").text
    assert len(chat.conversation) == 4
    settings: dict[str, Any] = {"schema": Opinion, "max_tokens": 40, "temperature": 0}
    answers = ornb.batch(["Lovely!", "Sunny."], model=served, progress=False, **settings)
    assert answers["status"].tolist() == ["ok", "ok"]
    assert set(answers["mood"]) <= {"good", "bad"}
    times = ornb.measure(served, "Hello", repeats=2, max_tokens=4, progress=False)
    assert times["time_to_first_token_s"].notna().all()


def test_what_it_has_not_is_an_error_of_ours(served: str) -> None:
    for missing in (lambda: ornb.endpoints(served), ornb.providers):
        with pytest.raises(errors.OrnbError):
            missing()


def test_a_budget_refuses_what_it_cannot_bound(served: str) -> None:
    with ornb.budget(1), pytest.raises(errors.PriceUnknown):
        ornb.ask("Hello", max_tokens=5)


def test_a_model_it_does_not_have_is_not_found() -> None:
    """llama.cpp's server answers with the one that it has, whatever is asked for."""
    with WireServer(as_documented) as running:
        ornb.connect(base_url=running.url.replace("/api/v1", "/v1"))
        with pytest.raises(errors.NotFound, match="'other' not found"):
            ornb.ask("Hello", "other")
    ornb.connect(offline=True)
