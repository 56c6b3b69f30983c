"""A real LiteLLM proxy, before a server on loopback that answers as OpenAI and OpenRouter do.

The proxy has an environment of its own: `make test-matrix` makes it, and runs these.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from wire import DONE, END, WireServer, event, head, whole

import ornb
from ornb import errors
from tests.test_elsewhere_browser import free_port, serving

ROOT = Path(__file__).parents[1]
PROGRAM = Path(os.environ.get("ORNB_LITELLM", ROOT / ".venv-litellm")) / "bin" / "litellm"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAM.exists(), reason=f"no {PROGRAM}: make test-matrix installs it"),
]

KEY = "sk-proxy-0123456789"
USED = {"prompt_tokens": 22, "completion_tokens": 9, "total_tokens": 31}
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "add", "arguments": '{"a": 2, "b": 3}'},
}
FLAGGED = {
    "message": "Your input was flagged",
    "code": 403,
    "metadata": {"reasons": ["violence"], "flagged_input": "how", "provider_name": "NorthCloud"},
}
TOO_LONG = "This model's maximum context length is 1024 tokens. However, you requested 3031 tokens."


def upstream(request: bytes, body: bytes) -> list[bytes]:
    """What stands behind the proxy; the model's name says how it answers."""
    if request.startswith(b"GET"):  # it looks who is there
        return [whole({"error": {"message": "Not found"}}, 404)]
    asked = json.loads(body)
    model = asked["model"].rpartition("/")[2]
    refusals = {
        "long": (400, {"message": TOO_LONG, "code": "context_length_exceeded"}, {}),
        "busy": (429, {"message": "Slow down"}, {"Retry_After": "7"}),
        "locked": (401, {"message": "Incorrect API key provided: sk-up****"}, {}),
        "down": (500, {"message": "A fuse"}, {}),
        "flagged": (403, FLAGGED, {}),
    }
    if model in refusals:
        status, error, headers = refusals[model]
        return [whole({"error": error}, status, **headers)]
    answer = {"id": "chatcmpl-1", "created": 1, "model": model}
    calls = asked.get("tools") and asked["messages"][-1]["role"] == "user"
    said = (
        {"tool_calls": [CALL]} if calls else {"content": "Seven words came from behind the proxy."}
    )
    end = "tool_calls" if calls else "stop"
    if not asked.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", **said}, "finish_reason": end}
        return [whole({**answer, "object": "chat.completion", "choices": [choice], "usage": USED})]
    answer["object"] = "chat.completion.chunk"

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return event(**answer, choices=[{"index": 0, "delta": delta, "finish_reason": finish}])

    pieces = [{"tool_calls": [{"index": 0, **CALL}]}] if calls else []
    pieces += [{"content": word + " "} for word in said.get("content", "").split()]
    begin = head(200, "text/event-stream", Transfer_Encoding="chunked") + b"\r\n"
    steps = [begin, chunk({"role": "assistant"}), *map(chunk, pieces), chunk({}, end)]
    return [*steps, event(**answer, choices=[], usage=USED), DONE, END]


def config(url: str) -> dict[str, Any]:
    def model(name: str, model: str, **more: Any) -> dict[str, Any]:
        params = {"model": model, "api_base": url, "api_key": "sk-up-0123456789", **more}
        return {"model_name": name, "litellm_params": params}

    names = ("long", "busy", "locked", "down", "house")
    return {
        "model_list": [
            model("gpt-4o-mini", "openai/gpt-4o-mini"),
            *(model(name, f"openai/{name}") for name in names),
            model("flagged", "openrouter/acme/flagged"),
        ],
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"num_retries": 0, "telemetry": False},
        "router_settings": {"disable_cooldowns": True},
    }


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("litellm"), free_port()
    with WireServer(upstream) as behind:
        (folder / "config.yaml").write_text(yaml.safe_dump(config(behind.url)))
        local = "LITELLM_LOCAL_MODEL_COST_MAP=True"
        command = ["env", local, str(PROGRAM), "--config", "config.yaml", "--port", str(port)]
        url = f"http://127.0.0.1:{port}"
        with serving([*command, "--host", "127.0.0.1"], folder, f"{url}/health/liveliness"):
            yield f"{url}/v1"


@pytest.fixture(autouse=True)
def _connected(proxy: str) -> Iterator[None]:
    ornb.connect(KEY, proxy, retries=0)
    ornb.usage.clear()
    yield
    ornb.connect(offline=True)


def test_its_models_have_prices_lengths_and_no_authors() -> None:
    table = ornb.models()
    assert {"gpt-4o-mini", "house"} <= set(table.index)
    assert table.loc["gpt-4o-mini", "prompt_usd_per_million"] == 0.15
    assert table.loc["gpt-4o-mini", "context_length"] == 128000
    assert pd.isna(table.loc["house", "prompt_usd_per_million"])
    assert table["author"].isna().all()
    assert ornb.models(min_context=8000).index.tolist() == ["gpt-4o-mini"]


@pytest.mark.parametrize("streamed", [True, False])
def test_the_cost_is_what_the_proxy_reckons_and_no_bill(streamed: bool) -> None:
    client, cost = ornb.client(), 22 * 1.5e-7 + 9 * 6e-7
    reply = ornb.ask("Hi", "gpt-4o-mini") if streamed else client.chat("Hi", "gpt-4o-mini")
    assert reply.text.strip() == "Seven words came from behind the proxy."
    assert reply.cost_usd == pytest.approx(cost)
    row = ornb.usage.df.iloc[-1]
    assert row["cost_source"] == "proxy"
    assert row["cost_usd"] == pytest.approx(row["estimate_usd"]) == pytest.approx(cost)


@pytest.mark.parametrize("streamed", [True, False])
def test_without_a_price_nothing_is_known_which_is_not_0(streamed: bool) -> None:
    """On streams a LiteLLM without prices says 0.0 in the siblings of the header."""
    reply = ornb.ask("Hi", "house") if streamed else ornb.client().chat("Hi", "house")
    assert reply.cost_usd is None
    assert ornb.usage.df["cost_source"].tolist() == ["unknown"]


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("model", "kind", "words"),
    [
        ("long", errors.ContextTooLong, "1024 tokens"),
        ("busy", errors.RateLimited, "Try again in 7 s"),
        ("locked", errors.AuthenticationError, "own key for its provider was refused"),
        ("down", errors.ServerError, "A fuse"),
        ("flagged", errors.Moderated, "Your input was flagged (violence)"),
        ("nobody", errors.BadRequest, "nobody"),
    ],
)
def test_its_errors_are_those_of_what_stands_behind(
    model: str, kind: type[errors.ApiError], words: str, streamed: bool
) -> None:
    with pytest.raises(kind) as caught:
        ornb.ask("Hi", model) if streamed else ornb.client().chat("Hi", model)
    assert words in str(caught.value)
    assert caught.value.provider == ("NorthCloud" if model == "flagged" else None)


def test_after_an_error_the_next_question_is_answered() -> None:
    for _ in range(5):
        with pytest.raises(errors.ServerError):
            ornb.ask("Hi", "down")
        assert ornb.ask("Hi", "gpt-4o-mini").status == "ok"


def test_what_it_has_not_it_is_said_not_to_have() -> None:
    with pytest.raises(errors.NotFound, match="no list of providers"):
        ornb.providers()
    with pytest.raises(errors.NotFound, match="no list of a model's endpoints"):
        ornb.endpoints("gpt-4o-mini")
    assert ornb.quota().day_limit is None


def test_a_budget_bounds_by_its_prices() -> None:
    with ornb.budget(0.01) as budget:
        ornb.ask("Hi", "gpt-4o-mini", max_tokens=20)
        with pytest.raises(errors.PriceUnknown):
            ornb.ask("Hi", "house", max_tokens=20)
    assert float(budget.spent_usd) == pytest.approx(22 * 1.5e-7 + 9 * 6e-7)


def test_every_verb_works_with_it() -> None:
    table = ornb.batch(["a", "b"], model="gpt-4o-mini", progress=False, max_tokens=20)
    assert table[["status", "cost_source"]].values.tolist() == [["ok", "proxy"]] * 2
    times = ornb.measure("gpt-4o-mini", repeats=2, warmup=0, progress=False, max_tokens=20)
    assert times["status"].tolist() == ["ok"] * 2
    duel = ornb.compare("Hi", ["gpt-4o-mini", "house"], max_tokens=20)
    assert duel.wait(60)
    assert duel.df["status"].tolist() == ["ok"] * 2
    duel.close()


def test_a_chat_with_tools_runs_the_function() -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    chat = ornb.Chat("gpt-4o-mini", tools=[add], confirm=False)
    reply = chat.ask("What is 2 plus 3?")
    assert reply.text.strip() == "Seven words came from behind the proxy."
    told = [each for each in chat.conversation.messages() if each["role"] == "tool"]
    assert [each["content"] for each in told] == ["5"]
    chat.close()
