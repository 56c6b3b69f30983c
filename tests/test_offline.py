"""The offline server over real HTTP, and the process it lives in."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest
import requests

import ornb.offline
from ornb.errors import ConfigError, OfflineError
from ornb.offline import Child, OfflineServer
from ornb.offline.__main__ import main
from ornb.offline.answers import canned_words, local_request
from ornb.offline.question import ChatRequest
from tests.page import quickest, until

HELLO = [{"role": "user", "content": "Hello there, server"}]
SIMULATED = {"chunk_s": 0, "tokens": 6}


@pytest.fixture(scope="module")
def server():
    with OfflineServer(
        model="off",
        tokens_per_s=2000,
        first_token_s=0,
        generation_delay_s=1.5,
        patience_s=0.2,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def web(server):
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {server.token}"
        yield session


@pytest.fixture
def managing(server):
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {server.management_key}"
        yield session


@pytest.fixture
def get(server, web):
    return lambda path: web.get(server.base_url + path, timeout=60)


@pytest.fixture
def chat(server, web):
    def ask(*, simulate=None, timeout=60, headers=None, **body):
        ours = {"ornb": {"simulate": simulate}} if simulate is not None else {}
        body = {"model": "openai/gpt-4", "messages": HELLO, **ours, **body}
        return web.post(
            f"{server.base_url}/chat/completions",
            json=body,
            stream=body.get("stream", False),
            timeout=timeout,
            headers=headers,
        )

    return ask


def events(answer):
    """Data lines of a streamed answer, parsed by the simplest code there is."""
    assert answer.headers["Content-Type"] == "text/event-stream"
    data = [line[6:] for line in answer.iter_lines() if line.startswith(b"data: ")]
    assert data.pop() == b"[DONE]"
    return [json.loads(line) for line in data]


# --- catalogue ---------------------------------------------------------------------------------


def test_models_come_whole_with_their_date(get):
    answer = get("/models")
    body = answer.json()
    assert len(body["data"]) == body["total_count"] == 421
    assert body["links"] == {"next": None}
    assert answer.headers["X-Ornb-Source"] == "snapshot"
    assert answer.headers["X-Ornb-Snapshot"] == "2026-08-22"


def test_pages_join_to_the_whole(server, web, get):
    whole = [model["id"] for model in get("/models").json()["data"]]
    seen, path = [], "/api/v1/models?limit=150"
    root = server.base_url.removesuffix("/api/v1")
    while path:
        page = web.get(root + path, timeout=60).json()
        assert page["total_count"] == len(whole)
        seen += [model["id"] for model in page["data"]]
        path = page["links"]["next"]
    assert seen == whole


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        pytest.param(
            "supported_parameters=tools,reasoning",
            lambda m: {"tools", "reasoning"} <= set(m["supported_parameters"]),
            id="parameters",
        ),
        pytest.param(
            "input_modalities=image",
            lambda m: "image" in m["architecture"]["input_modalities"],
            id="reads-images",
        ),
        pytest.param(
            "output_modalities=image",
            lambda m: "image" in m["architecture"]["output_modalities"],
            id="draws-images",
        ),
        pytest.param("context=1000000", lambda m: m["context_length"] >= 1_000_000, id="context"),
        pytest.param(
            "q=CLAUDE%20opus",
            lambda m: all(w in f"{m['id']} {m['name']}".lower() for w in ("claude", "opus")),
            id="words",
        ),
        pytest.param(
            "max_price=1&min_output_price=2",
            lambda m: (
                0 <= float(m["pricing"]["prompt"]) * 1e6 <= 1.0000001
                and float(m["pricing"]["completion"]) * 1e6 >= 1.9999999
            ),
            id="usd-per-million",
        ),
        pytest.param(
            "model_authors=mistralai,qwen",
            lambda m: m["id"].split("/")[0] in {"mistralai", "qwen"},
            id="authors",
        ),
    ],
)
def test_a_filter_keeps_just_what_it_names(get, query, holds):
    everything = get("/models").json()["data"]
    kept = get(f"/models?{query}").json()["data"]
    assert kept == [model for model in everything if holds(model)]
    assert 0 < len(kept) < len(everything)


@pytest.mark.parametrize(
    ("order", "key", "falling"),
    [
        ("newest", lambda m: m["created"], True),
        ("context-high-to-low", lambda m: m["context_length"], True),
        (
            "pricing-low-to-high",
            lambda m: Decimal(m["pricing"]["prompt"]) + Decimal(m["pricing"]["completion"]),
            False,
        ),
    ],
)
def test_sorting(get, order, key, falling):
    values = [key(model) for model in get(f"/models?sort={order}").json()["data"]]
    assert values == sorted(values, reverse=falling)


def test_an_unknown_parameter_name_filters_nothing(get):
    """As the API itself did when it was recorded (2025-04)."""
    assert get("/models?supported_parameters=flying").json()["total_count"] == 421


def test_count(get):
    assert get("/models/count").json() == {"data": {"count": 421}}


@pytest.mark.parametrize(
    ("path", "served"),
    [
        ("openai/gpt-4", "openai/gpt-4"),
        ("openai/gpt-4:nitro", "openai/gpt-4"),
        ("~anthropic/claude-opus-latest", "anthropic/claude-opus-5"),
        ("anthropic/claude-opus-5-20260723", "anthropic/claude-opus-5"),
        ("ornb/canned", "ornb/canned"),
        ("ornb/smollm2-135m-instruct", "ornb/smollm2-135m-instruct"),
    ],
)
def test_one_model_by_any_of_its_names(get, path, served):
    assert get(f"/model/{path}").json()["data"]["id"] == served


def test_every_model_points_at_its_own_endpoints(server, web, get):
    root = server.base_url.removesuffix("/api/v1")
    for model in get("/models?limit=8&q=claude").json()["data"]:
        listing = web.get(root + model["links"]["details"], timeout=60).json()["data"]
        assert listing["id"] == model["id"].split(":")[0]


def test_endpoints_and_providers_are_the_recorded_ones(get):
    listing = get("/models/openai/gpt-4/endpoints").json()["data"]
    assert {endpoint["model_id"] for endpoint in listing["endpoints"]} == {"openai/gpt-4"}
    names = {provider["name"] for provider in get("/providers").json()["data"]}
    assert {endpoint["provider_name"] for endpoint in listing["endpoints"]} <= names


def test_the_two_models_of_ornb_are_served_but_not_listed(get):
    listed = {model["id"] for model in get("/models").json()["data"]}
    for own in ("ornb/canned", "ornb/smollm2-135m-instruct"):
        assert own not in listed
        assert get(f"/models/{own}/endpoints").json()["data"]["endpoints"][0]["status"] == 0


# --- the account -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/key", "/auth/key"])
def test_the_key_never_spends_anything(get, path):
    key = get(path).json()["data"]
    assert key["usage"] == 0
    assert key["limit"] is None
    assert key["rate_limit"]["requests"] == -1


def test_credits_are_none(get):
    assert get("/credits").json() == {"data": {"total_credits": 0, "total_usage": 0}}


def test_a_generation_is_404_first_and_there_later(get, chat):
    answer = chat(simulate=SIMULATED)
    path = f"/generation?id={answer.headers['X-Generation-Id']}"
    assert get(path).status_code == 404
    until(lambda: get(path).ok)
    record = get(path).json()["data"]
    usage = answer.json()["usage"]
    assert record["id"] == answer.json()["id"]
    assert record["native_tokens_completion"] == usage["completion_tokens"]
    assert record["total_cost"] == 0
    assert record["cancelled"] is False


def activity(server, managing):
    rows = managing.get(f"{server.base_url}/activity", timeout=60).json()["data"]
    return {row["model"]: row for row in rows}


def test_reasoning_is_in_the_activity(server, managing, chat):
    chat(simulate=SIMULATED)
    before = activity(server, managing)["ornb/canned"]
    chat(simulate={**SIMULATED, "reasoning": 4})
    after = activity(server, managing)["ornb/canned"]
    grown = {name: after[name] - before[name] for name in after if name.endswith("_tokens")}
    assert grown == {
        "prompt_tokens": 5,
        "completion_tokens": 10,
        "reasoning_tokens": 4,
        "cached_tokens": 0,
    }


OTHERS = {
    "embeddings": ("/v1/embeddings", "ornb/canned-embeddings", {"input": "Cold soup"}),
    "rerank": ("/v1/rerank", "ornb/canned-rerank", {"query": "soup", "documents": ["Cold soup"]}),
    "decisions": (
        "/alpha/decisions",
        "ornb/canned-decisions",
        {"state": "Cold soup", "questions": {"cold": {"type": "noul", "instructions": "Is it?"}}},
    ),
}


@pytest.mark.parametrize(("path", "model", "body"), OTHERS.values(), ids=OTHERS)
def test_what_is_no_chat_is_for_ordinary_keys_and_recorded_too(
    server, web, managing, get, request, path, model, body
):
    url, body = server.base_url.removesuffix("/v1") + path, {"model": model, **body}
    refused = managing.post(url, json=body, timeout=60)
    assert refused.status_code == 403
    assert "No management keys" in refused.json()["error"]["message"]
    requests_before = activity(server, managing).get(model, {"requests": 0})["requests"]
    answer = web.post(url, json=body, timeout=60)
    assert activity(server, managing)[model]["requests"] == requests_before + 1
    path = f"/generation?id={answer.headers['X-Generation-Id']}"
    until(lambda: get(path).ok)
    record, usage = get(path).json()["data"], answer.json()["usage"]
    assert record["id"] == answer.json()["id"]
    assert (record["model"], record["api_type"]) == (model, request.node.callspec.id)
    spent = usage.get("input_tokens") or usage["total_tokens"]
    assert (record["native_tokens_prompt"], record["native_tokens_completion"]) == (spent, 0)
    assert (record["finish_reason"], record["cancelled"]) == (None, False)


def test_no_dimensions_are_the_usual_ones(server, web):
    path, model, body = OTHERS["embeddings"]
    url = server.base_url.removesuffix("/v1") + path
    answer = web.post(url, json={"model": model, **body, "dimensions": None}, timeout=60)
    assert len(answer.json()["data"][0]["embedding"]) == 256


@pytest.mark.parametrize("question", [{"type": "noul"}, {"type": "noul", "instructions": None}])
def test_a_question_without_instructions_is_none(server, web, question):
    path, model, body = OTHERS["decisions"]
    url = server.base_url.removesuffix("/v1") + path
    body = {"model": model, **body, "questions": {"cold": question}}
    answer = web.post(url, json=body, timeout=60)
    assert answer.status_code == 400
    assert "questions.cold: give instructions" in answer.json()["error"]["message"]


def test_a_code_buys_a_key_that_works_once(server, web):
    verifier = "a-long-and-random-verifier"
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
    wish = {"code_challenge": challenge.rstrip(b"=").decode(), "code_challenge_method": "S256"}
    code = web.post(f"{server.base_url}/auth/keys/code", json=wish, timeout=60).json()["data"]["id"]
    exchange = {"code": code, "code_verifier": verifier, "code_challenge_method": "S256"}
    bought = requests.post(f"{server.base_url}/auth/keys", json=exchange, timeout=60)
    headers = {"Authorization": f"Bearer {bought.json()['key']}"}
    assert requests.get(f"{server.base_url}/key", headers=headers, timeout=60).ok
    again = requests.post(f"{server.base_url}/auth/keys", json=exchange, timeout=60)
    assert again.status_code == 403


def test_half_a_character_is_no_code_challenge(server, web):
    wish = {"code_challenge": "\ud800", "code_challenge_method": "S256"}
    code = web.post(f"{server.base_url}/auth/keys/code", json=wish, timeout=60).json()["data"]["id"]
    exchange = {"code": code, "code_verifier": "y"}
    answer = requests.post(f"{server.base_url}/auth/keys", json=exchange, timeout=60)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("exchange", "status"),
    [
        ({"code": "x", "code_verifier": "y"}, 403),
        ({"code": "x", "code_verifier": "\ud800"}, 403),
        ({"code_challenge_method": "plain"}, 400),
    ],
)
def test_a_bad_exchange_is_refused(server, exchange, status):
    answer = requests.post(f"{server.base_url}/auth/keys", json=exchange, timeout=60)
    assert answer.status_code == status


# --- answers -----------------------------------------------------------------------------------


def test_a_canned_answer_says_that_it_is_one(chat):
    answer = chat()
    body = answer.json()
    text = body["choices"][0]["message"]["content"]
    assert text.startswith("This is a canned answer")
    assert "- the catalogue" in text
    assert "```python" in text
    assert body["model"] == "ornb/canned"
    assert body["provider"] == "ornb offline (canned)"
    assert answer.headers["X-Ornb-Source"] == "canned"
    assert "No model wrote it" in answer.headers["X-Ornb-Note"]


def test_a_canned_answer_offers_no_model_that_is_there_already():
    asked = ChatRequest({}, [{"role": "user", "content": "17 * 23?"}], "openai/gpt-4o-mini")
    there = "".join(canned_words(asked, has_local=True))
    assert "pip install" not in there
    assert "the small local model answers, which is installed" in there
    assert "pip install" in "".join(canned_words(asked))


def test_the_small_model_is_told_who_it_is_and_drawn_greedily_unless_the_caller_says_so():
    hi = {"role": "user", "content": "Hi"}
    plain = local_request(ChatRequest({}, [hi], "lab/a"))
    assert plain["temperature"] == 0
    assert [message["role"] for message in plain["messages"]] == ["system", "user"]
    own = [{"role": "system", "content": "Be brief."}, hi]
    asked = local_request(ChatRequest({"temperature": 0.7}, own, "lab/a"))
    assert (asked["temperature"], asked["messages"]) == (0.7, own)


def test_a_canned_answer_repeats_nothing_of_the_prompt_but_its_length(chat):
    text = chat(messages=[{"role": "user", "content": "xyzzy <script>"}]).text
    assert "xyzzy" not in text
    assert "script" not in text
    assert "14 characters" in text


def test_canned_counts_are_words_and_four_characters(chat):
    body = chat().json()
    usage = body["usage"]
    assert usage["completion_tokens"] == len(body["choices"][0]["message"]["content"].split())
    assert usage["prompt_tokens"] == 5  # 19 characters
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["cost"] == 0


def test_json_is_canned_too(chat):
    body = chat(response_format={"type": "json_object"}).json()
    assert json.loads(body["choices"][0]["message"]["content"])["canned"] is True


def test_max_tokens_cuts_a_canned_answer(chat):
    choice = chat(max_tokens=4).json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] == "This is a canned"


def test_the_same_words_streamed_and_plain(chat):
    said = "".join(event["choices"][0]["delta"]["content"] for event in events(chat(stream=True)))
    assert said == chat().json()["choices"][0]["message"]["content"]


def test_a_stream_has_the_shape_of_the_recorded_ones(chat):
    answer = chat(stream=True, simulate={**SIMULATED, "reasoning": 2})
    lines = [line for line in answer.iter_lines() if line]
    assert lines[0] == b": OPENROUTER PROCESSING"
    assert lines[-1] == b"data: [DONE]"
    chunks = [json.loads(line[6:]) for line in lines[1:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["id"] for chunk in chunks} == {answer.headers["X-Generation-Id"]}
    assert all(chunk["choices"][0]["delta"]["role"] == "assistant" for chunk in chunks)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-3:]] == [None] + ["stop"] * 2
    assert ["usage" in chunk for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len(chunks) == 2 + 6 + 2
    reasoning = [chunk["choices"][0]["delta"].get("reasoning") for chunk in chunks]
    assert reasoning == ["These", " are"] + [None] * 8
    usage = chunks[-1]["usage"]
    assert usage["completion_tokens"] == 8
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 2


def test_a_plain_answer_has_its_reasoning_apart(chat):
    message = chat(simulate={**SIMULATED, "reasoning": 3}).json()["choices"][0]["message"]
    assert message["reasoning"] == "These are canned"
    assert message["reasoning_details"][0]["text"] == message["reasoning"]


def test_the_connection_is_kept_after_a_stream(server):
    web = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    body = json.dumps({"messages": HELLO, "stream": True, "ornb": {"simulate": SIMULATED}})
    used = set()
    for _ in range(3):
        web.request("POST", "/api/v1/chat/completions", body, headers)
        answer = web.getresponse()
        assert answer.read().endswith(b"data: [DONE]\n\n")
        used.add(web.sock.getsockname())
    web.close()
    assert len(used) == 1


def test_the_pace_is_the_one_asked_for(chat):
    def seconds() -> float:
        started = time.perf_counter()
        events(chat(stream=True, simulate={"first_token_s": 0.2, "chunk_s": 0.02, "tokens": 21}))
        return time.perf_counter() - started

    assert 0.6 <= quickest(seconds, enough_s=1.2) < 1.2


def test_comments_keep_a_waiting_stream_alive(chat):
    answer = chat(stream=True, simulate={"first_token_s": 0.7, "tokens": 1})
    lines = list(answer.iter_lines())
    first = next(i for i, line in enumerate(lines) if line.startswith(b"data"))
    assert lines[:first].count(b": OPENROUTER PROCESSING") >= 3


def test_blanks_keep_a_plain_answer_alive(chat):
    answer = chat(simulate={"first_token_s": 0.5, "tokens": 1})
    assert re.match(r"\s+\n\{", answer.text)
    assert answer.json()["object"] == "chat.completion"


@pytest.mark.parametrize(
    "model",
    [
        "openai/gpt-4",
        "openai/gpt-4:nitro",
        "openai/gpt-4:online",
        "openai/gpt-4@preset/mine",
        "openrouter/auto",
        "~anthropic/claude-opus-latest",
        "google/gemini-3.7-flash:batch",
        "ornb/canned",
    ],
)
def test_ids_that_the_service_takes_are_taken(chat, model):
    assert chat(model=model, max_tokens=1).ok


def test_the_first_known_model_of_a_fallback_list_serves(chat):
    assert chat(model="nobody/none", models=["nobody/else", "openai/gpt-4"], max_tokens=1).ok


def test_without_a_model_the_default_router_serves(chat):
    assert chat(model=None, max_tokens=1).ok


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        pytest.param({"model": "nobody/none"}, 400, "nobody/none is not a valid model ID", id="id"),
        pytest.param({"messages": []}, 400, "Input required", id="no-messages"),
        pytest.param(
            {"messages": [{"role": "user", "content": "  "}]}, 400, "empty", id="empty-prompt"
        ),
        pytest.param({"messages": ["hi"]}, 400, "messages[0]", id="not-a-message"),
        *(
            pytest.param(
                {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]},
                400,
                "a part of type text",
                id=f"text-is-{text}",
            )
            for text in (None, 5, ["Hi"])
        ),
        pytest.param({"temperature": 3}, 400, "temperature is 3", id="temperature"),
        pytest.param({"temperature": "hot"}, 400, "'hot'", id="not-a-number"),
        pytest.param({"response_format": "json"}, 400, "'json'", id="response-format"),
        pytest.param({"model": "\ud800/x"}, 400, "?/x is not", id="half-a-surrogate-pair"),
        pytest.param({"max_tokens": 0}, 400, "max_tokens is 0", id="max-tokens"),
        pytest.param({"tools": [{"type": "function"}]}, 404, "tool use", id="tools"),
        pytest.param(
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "What is this?"},
                            {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}},
                        ],
                    }
                ]
            },
            404,
            "image input",
            id="image",
        ),
        pytest.param(
            {"model": "ornb/smollm2-135m-instruct"}, 404, "switched off", id="model-is-off"
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_the_envelope(chat, body, status, words):
    answer = chat(**body)
    error = answer.json()["error"]
    assert answer.status_code == error["code"] == status
    assert words in error["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"[" * 50_000])
def test_a_body_that_is_no_json_object_is_400(server, web, body):
    answer = web.post(f"{server.base_url}/chat/completions", data=body, timeout=60)
    assert answer.status_code == answer.json()["error"]["code"] == 400


def test_a_body_beyond_20_mb_is_413(server, web):
    answer = web.post(f"{server.base_url}/chat/completions", data=b"x" * 21_000_000, timeout=60)
    assert answer.status_code == 413
    assert answer.json()["error"]["metadata"]["error_type"] == "payload_too_large"


@pytest.mark.parametrize("path", ["/models", "/providers", "/key", "/nowhere"])
@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "Missing Authentication header"),
        ("Bearer ", "Missing Authentication header"),
        ("Basic abc", "Missing Authentication header"),
        ("Bearer wrong", "User not found."),
    ],
)
def test_strangers_get_401(server, path, header, message):
    headers = {"Authorization": header} if header else {}
    answer = requests.get(server.base_url + path, headers=headers, timeout=60)
    assert answer.status_code == 401
    assert answer.json()["error"] == {"code": 401, "message": message}


def test_a_stranger_with_a_large_body_hears_401_too(server):
    answer = requests.post(
        f"{server.base_url}/chat/completions",
        data=b"x" * 8_000_000,
        headers={"Authorization": "Bearer wrong"},
        timeout=60,
    )
    assert answer.status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:80", "["])
def test_another_host_name_is_refused_even_with_the_token(web, server, host):
    """A web page may point its own name at 127.0.0.1 (DNS rebinding)."""
    headers = {"Host": host}
    assert web.get(f"{server.base_url}/models", headers=headers, timeout=60).status_code == 403
    answer = web.post(
        f"{server.base_url}/chat/completions",
        json={"messages": HELLO},
        headers=headers,
        timeout=60,
    )
    assert answer.status_code == 403


def test_localhost_is_a_loopback_name(web, server):
    headers = {"Host": f"localhost:{server.port}"}
    assert web.get(f"{server.base_url}/key", headers=headers, timeout=60).ok


def raw(server, path, host=None):
    """A request as no library would write it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        lines = [f"GET {path} HTTP/1.1", f"Authorization: Bearer {server.token}"]
        lines += [f"Host: {host}"] if host is not None else []
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
        return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.mark.parametrize(
    "host", [None, "", "evil.example:80", "localhost.evil.example", "0", "[::2]"]
)
def test_a_host_that_is_no_loopback_name_gets_nothing_of_the_snapshot(server, host):
    answer = raw(server, "/api/v1/models", host)
    assert answer.split(b" ")[1] in (b"400", b"403")
    assert b'"pricing"' not in answer


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/api/v1/../../../../etc/passwd",
        "/api/v1/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/models/..%2f..%2f..%2fetc/passwd/endpoints",
        "/api/v1/models/../../etc/endpoints",
        "/api/v1/model/..%5c..%5cetc/passwd",
        "/api/v1/model/%2fetc/passwd",
        "/api/v1/generation?id=../../../../etc/passwd",
        "/api/v1/models/a/b%00/endpoints",
        "//etc/passwd",
        "/static/../server.py",
        "http://127.0.0.1/etc/passwd",
        "file:///etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_snapshot(server, path):
    answer = raw(server, path, f"127.0.0.1:{server.port}")
    assert answer.split(b" ")[1] in (b"400", b"404"), answer
    assert b"root:" not in answer
    assert b"import " not in answer


def test_it_listens_at_one_address_of_this_machine(server):
    """At 0.0.0.0 it would answer at every other of loopback's, too."""
    with pytest.raises(OSError, match=r"refused|assign|unreachable|timed out"):
        socket.create_connection(("127.0.0.2", server.port), timeout=2).close()


def test_other_origins_are_invited_to_nothing(server, web):
    origin = {"Origin": "https://evil.example"}
    for method, status in (("GET", 200), ("OPTIONS", 405)):
        answer = web.request(method, f"{server.base_url}/key", headers=origin, timeout=60)
        assert answer.status_code == status
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nowhere", 404),
        ("/model/nobody/none", 404),
        ("/models/nobody/none/endpoints", 404),
        ("/generation?id=none", 404),
        ("/generation", 404),
        ("/models?limit=x", 400),
        ("/models?limit=0", 400),
        ("/models?max_price=cheap", 400),
        ("/models?min_price=nan", 400),
        ("/models?max_output_price=sNaN", 400),
        *((f"/models?{name}={'9' * 5000}", 400) for name in ("limit", "offset", "context")),
        ("/chat/completions", 405),
    ],
)
def test_wrong_paths_and_queries_get_the_envelope(get, path, status):
    answer = get(path)
    assert answer.status_code == answer.json()["error"]["code"] == status


# --- misbehaviour ------------------------------------------------------------------------------


def test_a_429_tells_when_to_come_back(chat):
    answer = chat(simulate={"status": 429, "retry_after": 2.5})
    metadata = answer.json()["error"]["metadata"]
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "2.5"
    assert metadata["error_type"] == "rate_limit_exceeded"
    assert int(metadata["headers"]["X-RateLimit-Reset"]) > time.time() * 1000


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 413, 422, 500, 502, 503, 524])
def test_any_status_can_be_had(chat, status):
    answer = chat(simulate={"status": status, "message": "as you wish", "error_type": "odd"})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["message"], error["metadata"]["error_type"]) == ("as you wish", "odd")


def test_misbehaviour_ends_after_so_many_times(chat):
    wish = {"status": 503, "times": 2, "key": "ends"}
    assert [chat(simulate=wish).status_code for _ in range(3)] == [503, 503, 200]


def test_nothing_is_sent_before_the_first_byte_is_due(chat):
    started = time.perf_counter()
    answer = chat(stream=True, simulate={**SIMULATED, "first_byte_s": 0.5})
    assert time.perf_counter() - started >= 0.5
    answer.close()


def test_a_stalled_stream_stays_open_and_silent(chat):
    answer = chat(stream=True, simulate={**SIMULATED, "stall_after_chunks": 2}, timeout=2)
    lines = answer.iter_lines()
    assert [bool(next(lines)) for _ in range(6)] == [True, False] * 3
    with pytest.raises(requests.ConnectionError, match="Read timed out"):
        next(lines)


def test_a_stall_holds_up_nobody_else(chat, get):
    with chat(stream=True, simulate={**SIMULATED, "stall_after_chunks": 0}):
        assert get("/key").ok


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize(
    ("how", "words"),
    [("cut_after_chunks", "ended prematurely"), ("reset_after_chunks", "reset by peer")],
)
def test_a_connection_can_break_in_the_middle(chat, stream, how, words):
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match=words):
        chat(stream=stream, simulate={**SIMULATED, how: 3}).content  # noqa: B018


def test_an_error_in_mid_stream_comes_with_status_200(chat):
    answer = chat(stream=True, simulate={**SIMULATED, "error_after_chunks": 3, "status": 503})
    chunks = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith(b"data")]
    assert answer.status_code == 200
    assert len(chunks) == 4
    assert chunks[-1]["error"]["code"] == 503
    assert chunks[-1]["choices"][0]["finish_reason"] == "error"


def test_an_error_after_generation_began_is_inside_a_plain_200(chat):
    answer = chat(simulate={**SIMULATED, "error_after_chunks": 3})
    choice = answer.json()["choices"][0]
    assert answer.status_code == 200
    assert choice["finish_reason"] == "error"
    assert choice["error"]["code"] == 502


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_the_record_of_an_answer_that_ended_in_an_error_says_so(chat, get, stream):
    answer = chat(stream=stream, simulate={**SIMULATED, "error_after_chunks": 3})
    path = f"/generation?id={answer.headers['X-Generation-Id']}"
    until(lambda: get(path).ok)
    record = get(path).json()["data"]
    told = [record[name] for name in ("finish_reason", "native_finish_reason", "cancelled")]
    assert told == ["error", "error", False]


@pytest.mark.parametrize("status", [200, 502])
def test_a_proxys_page(chat, status):
    wish = {"html": True} | ({} if status == 200 else {"status": status})
    answer = chat(simulate=wish)
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_garbage(chat):
    with pytest.raises(requests.exceptions.JSONDecodeError):
        chat(simulate={"garbage": True}).json()
    with pytest.raises(json.JSONDecodeError):
        events(chat(stream=True, simulate={**SIMULATED, "garbage": True}))


@pytest.mark.parametrize(
    "wish",
    [
        *({"flood": 1}, {"tokens": -1}, {"tokens": 1.5}, {"chunk_s": "slow"}, 7, []),
        *({"status": status} for status in (99, 200, 204, 301, 304, 600)),
    ],
    ids=lambda wish: str(wish)[:50],
)
def test_an_impossible_wish_is_400(chat, wish):
    answer = chat(simulate=wish)
    assert answer.status_code == 400
    assert len(answer.json()["error"]["message"]) < 400


def test_hanging_up_is_remembered_as_cancelled(chat, get):
    answer = chat(stream=True, simulate={"tokens": 1000, "chunk_s": 0.01})
    name = answer.headers["X-Generation-Id"]
    next(answer.iter_content(500))
    answer.close()
    until(lambda: get(f"/generation?id={name}").ok)
    record = get(f"/generation?id={name}").json()["data"]
    assert record["cancelled"] is True
    assert 0 < record["native_tokens_completion"] < 100


# --- the process -------------------------------------------------------------------------------


def test_importing_it_loads_no_web_server():
    code = "import ornb.offline, sys; print({'tornado', 'requests', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_server_shares_no_code_with_the_client():
    code = "import ornb.offline.server, sys; print(*(m for m in sys.modules if 'ornb.' in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    outside = {name for name in done.stdout.split() if not name.startswith("ornb.offline")}
    assert outside == {"ornb.errors"}


def test_the_token_is_in_no_command_line_and_no_repr(server):
    assert server.token not in repr(server)
    command = Path(f"/proc/{server.pid}/cmdline")
    if not command.exists():
        pytest.skip("this system shows no /proc")
    assert server.token.encode() not in command.read_bytes()


def test_another_model_setting_is_refused():
    with pytest.raises(ConfigError, match="'loud'"):
        OfflineServer(model="loud")


def test_the_environment_can_switch_the_model_off(monkeypatch):
    monkeypatch.setenv("ORNB_OFFLINE_MODEL", "off")
    with OfflineServer() as quiet:
        assert quiet.model == "off"
        assert "switched off" in quiet.why_canned


def test_files_beside_the_notebook_cannot_stand_in_for_libraries(tmp_path, monkeypatch):
    for name in ("tornado", "random", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('hijacked')\n")
    monkeypatch.chdir(tmp_path)
    with OfflineServer(model="off") as running:
        assert running.alive


def test_a_port_in_use_is_one_short_message(server):
    with pytest.raises(OfflineError, match=f"Port {server.port} cannot be used") as caught:
        OfflineServer(model="off", port=server.port)
    assert len(str(caught.value)) < 200


def test_a_child_that_fails_tells_its_last_words():
    with pytest.raises(OfflineError, match="The thing ended at once") as caught:
        Child("ornb.nowhere", {}, what="The thing", timeout_s=60)
    assert "No module named" in str(caught.value)


def test_a_child_that_is_slow_is_given_up():
    with pytest.raises(OfflineError, match="not ready within"):
        Child("ornb.offline", {}, what="The thing", timeout_s=0.001)


def test_closing_ends_the_process_at_once():
    def seconds() -> float:
        running = OfflineServer(model="off")
        started = time.perf_counter()
        running.close()
        running.close()
        assert not running.alive
        return time.perf_counter() - started

    assert quickest(seconds, enough_s=1) < 1


def test_start_gives_one_server_and_mends_it_in_place(monkeypatch):
    monkeypatch.setenv("ORNB_OFFLINE_MODEL", "off")
    first = ornb.offline.start()
    assert ornb.offline.start() is first
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not first.alive)
    second = ornb.offline.start()
    assert second is not first
    assert (second.base_url, second.token) == (first.base_url, first.token)
    first.close()  # the second stays: it is the whole suite's


_PARENT = """
import os, sys, time
import ornb.offline
server = ornb.offline.start(model="off")
if "fork" in sys.argv and os.fork() == 0:
    time.sleep(90)  # a worker that outlives its parent, holding copies of the pipes
    os._exit(0)
print(server.port, flush=True)
time.sleep(90)
"""


@pytest.mark.parametrize("how", ["alone", "fork"])
def test_the_server_is_gone_within_2_s_of_a_killed_parent(how):
    if how == "fork" and not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    command = [sys.executable, "-W", "ignore", "-c", _PARENT, how]

    def seconds() -> float:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as parent:
            port = int(parent.stdout.readline())
            assert _listens(port)
            parent.kill()
            killed = time.monotonic()
            until(lambda: not _listens(port))
            took = time.monotonic() - killed
            if how == "fork":
                os.killpg(parent.pid, signal.SIGKILL)  # the worker that is still asleep
        return took

    assert quickest(seconds, enough_s=2) < 2


def _listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except OSError:
        return False
    return True


_FORKING = """
import os
import ornb.offline
mine = ornb.offline.start(model="off")
worker = os.fork()
if worker == 0:
    other = ornb.offline.start(model="off")
    good = other.pid != mine.pid and other.alive and not mine.alive
    other.close()
    mine.close()  # not ours: must not touch it
    os._exit(0 if good else 3)
assert os.waitpid(worker, 0)[1] == 0
assert mine.alive and ornb.offline.start(model="off") is mine
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_gets_a_server_of_its_own():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FORKING],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# --- the command -------------------------------------------------------------------------------


# A test run in the background has Ctrl-C switched off, and would hand that down.
_COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from ornb.offline.__main__ import main
sys.exit(main())
"""


def test_the_command_says_where_it_listens_and_ends_quietly():
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, "--no-model"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        base_url = process.stdout.readline().split()[-1]
        token = process.stdout.readline().split()[-1]
        headers = {"Authorization": f"Bearer {token}"}
        assert requests.get(f"{base_url}/key", headers=headers, timeout=60).ok
        while "curl" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, "", "")


def test_the_command_refuses_a_port_in_use_in_one_line(server):
    done = subprocess.run(
        [sys.executable, "-m", "ornb.offline", "--port", str(server.port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"Port {server.port}" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["--port", "99999"], ["--port", "x"], ["--tokens-per-s", "0"]], ids=" ".join
)
def test_the_command_refuses_numbers_that_cannot_be(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert arguments[1] in capsys.readouterr().err
