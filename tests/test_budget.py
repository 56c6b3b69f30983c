"""Ceilings: what a call can cost is bounded before it leaves, and no crowd gets past together."""

from __future__ import annotations

import gzip
import json
import os
import re
import threading
from decimal import Decimal
from importlib.metadata import version

import pytest
from cassettes import exchanges
from forks import done_in_a_fork, forks
from hypothesis import given
from hypothesis import strategies as st
from wire import DONE, END, STALL_S, STREAM, WireServer, delta, event, whole

import ornb
from ornb import errors, pricing, session
from ornb.api.reply import Reply, Timing, Usage
from ornb.ledger.bound import IMAGE_TOKENS, TEMPLATE_TOKENS, prompt_tokens_at_most, quote
from ornb.ledger.budget import billed
from ornb.ledger.price_book import PriceBook, allowed
from ornb.ledger.tracker import UsageTracker

BUDGETS = session.default.budgets
active, admit, settle_bill = BUDGETS.active, BUDGETS.admit, BUDGETS.settle_bill

RECORD = {
    "id": "acme/orbit",
    "name": "Acme: Orbit",
    "context_length": 8192,
    "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
    "pricing": {"prompt": "0.000002", "completion": "0.00001"},
    "top_provider": {"context_length": 8192, "max_completion_tokens": 4096},
    "supported_parameters": ["max_tokens"],
}
ENDPOINTS = [
    {
        "tag": "northcloud/fp8",
        "provider_name": "NorthCloud",
        "quantization": "fp8",
        "context_length": 8192,
        "max_completion_tokens": 2048,
        "supported_parameters": ["max_tokens"],
        "pricing": {"prompt": "0.000002", "completion": "0.00001"},
    },
    {
        "tag": "southcloud",
        "provider_name": "South Cloud",
        "quantization": "bf16",
        "context_length": 8192,
        "max_completion_tokens": 4096,
        "supported_parameters": ["max_tokens"],
        "pricing": {"prompt": "0.000004", "completion": "0.00003"},
    },
]
ASKED = {"model": "acme/orbit", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100}
SAID = {"messages": ASKED["messages"]}
PROMPT = 305  # bytes of that as JSON, and what a template may add
WORST = PROMPT * Decimal("0.000002") + 100 * Decimal("0.00001")
SENT = Timing(queued_s=0.01)


def book(record=RECORD, endpoints=None):
    listed = {record["id"]: record}
    return PriceBook(listed.get, None if endpoints is None else lambda _: endpoints)


def asking(**more):
    return {**ASKED, **more}


def worst(endpoints=None, record=RECORD, **more):
    return quote(asking(**more), book(record, endpoints))


def answered(cost=None, prompt=None, completion=None, **fields):
    usage = Usage(prompt, completion, cost_usd=cost)
    return Reply(**{"usage": usage, "timing": SENT, "http_status": 200, **fields})


@pytest.fixture(autouse=True)
def _no_ceiling(monkeypatch):
    monkeypatch.setattr(session.default.budgets, "_session", [])
    yield
    ornb.connect(offline=True)


# --- the bound of the prompt ----------------------------------------------------------------------


def test_a_prompt_is_bounded_by_its_bytes():
    assert prompt_tokens_at_most(ASKED) == PROMPT == len(json.dumps(SAID)) + TEMPLATE_TOKENS
    longer = asking(messages=[{"role": "user", "content": "日本語 🙂"}])
    assert prompt_tokens_at_most(longer) - PROMPT == len("日本語 🙂".encode()) - len("Hi")


def test_an_image_counts_the_same_however_it_is_sent():
    def with_image(url):
        part = {"type": "image_url", "image_url": {"url": url}}
        return asking(messages=[{"role": "user", "content": [{"type": "text", "text": "?"}, part]}])

    sent = prompt_tokens_at_most(with_image("data:image/png;base64," + "A" * 100_000))
    assert sent == prompt_tokens_at_most(with_image("https://pictures.example/a.png"))
    assert IMAGE_TOKENS < sent < IMAGE_TOKENS + 1000


def test_audio_may_fill_the_context():
    part = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    heard = asking(messages=[{"role": "user", "content": [part]}])
    assert prompt_tokens_at_most(heard) is None
    assert quote(heard, book()).prompt_tokens == RECORD["context_length"]


def test_a_prompt_never_counts_more_than_the_context():
    longer = asking(messages=[{"role": "user", "content": "x" * 100_000}])
    assert quote(longer, book()).prompt_tokens == 8192


def test_recorded_prompts_are_within_the_bound(shared_data):
    """Of every recorded call without server tools and files, whose prompts nothing bounds."""
    compared = 0
    for exchange in exchanges(shared_data):
        lines = (
            exchange.body.decode().splitlines() if exchange.streamed else [exchange.body.decode()]
        )
        found = [json.loads(line.removeprefix("data: ")) for line in lines if '"usage"' in line]
        used = [each["usage"] for each in found if each.get("usage")]
        if exchange.status != 200 or not used:
            continue
        at_most = prompt_tokens_at_most(exchange.request)
        searches = any(t.get("type") != "function" for t in exchange.request.get("tools", ()))
        if at_most is not None and not searches:
            assert used[-1]["prompt_tokens"] <= at_most, exchange.name
            compared += 1
    assert compared == 31


@given(st.text(), st.lists(st.text(), max_size=3))
def test_more_to_say_never_lowers_the_bound(text, more):
    def bound(*texts):
        messages = [{"role": "user", "content": each} for each in texts]
        return prompt_tokens_at_most(asking(messages=messages))

    assert bound(text, *more) >= bound(text) >= len(text.encode("utf-8", "surrogatepass"))


# --- the bound of the answer ----------------------------------------------------------------------


def test_an_answer_is_bounded_by_max_tokens_else_by_the_model():
    assert worst().completion_tokens == 100
    assert worst(max_tokens=None).completion_tokens == 4096
    assert worst(max_tokens=None, max_completion_tokens=50).completion_tokens == 50
    assert worst(max_tokens=5).completion_tokens == 16, "some providers raise it to that"
    assert worst(max_tokens=10**9).completion_tokens == 8192
    assert worst(reasoning={"max_tokens": 3000}).completion_tokens == 3000


def test_a_model_without_a_limit_may_fill_its_context():
    record = {**RECORD, "top_provider": {"max_completion_tokens": None}}
    assert worst(record=record, max_tokens=None).completion_tokens == 8192
    bare = {key: value for key, value in record.items() if key != "context_length"}
    assert "give max_tokens" in worst(record=bare, max_tokens=None).unknown
    assert worst(record=bare).unknown is None


def test_max_tokens_binds_only_where_it_is_honoured():
    deaf = {**ENDPOINTS[1], "supported_parameters": ["temperature"]}
    asked = worst([ENDPOINTS[0], deaf])
    assert asked.completion_tokens == 4096
    assert asked.max_tokens_for(Decimal("0.01")) is None, "no max_tokens would help"


# --- the price ------------------------------------------------------------------------------------


def test_the_worst_case_is_exact():
    asked = worst()
    assert asked.worst_usd == WORST
    assert asked.basis == "catalogue"
    assert asked.likely_usd < asked.worst_usd


def test_the_dearest_endpoint_counts():
    asked = worst(ENDPOINTS)
    assert asked.worst_usd == PROMPT * Decimal("0.000004") + 100 * Decimal("0.00003")
    assert asked.basis == "endpoints"


@pytest.mark.parametrize(
    ("provider", "tags"),
    [
        ({"only": ["NorthCloud"]}, ["northcloud/fp8"]),
        ({"only": ["northcloud/fp8"]}, ["northcloud/fp8"]),
        ({"only": ["south cloud"]}, ["southcloud"]),
        ({"ignore": ["southcloud"]}, ["northcloud/fp8"]),
        ({"order": ["northcloud"]}, ["northcloud/fp8", "southcloud"]),
        ({"order": ["northcloud"], "allow_fallbacks": False}, ["northcloud/fp8"]),
        ({"quantizations": ["fp8"]}, ["northcloud/fp8"]),
        ({"max_price": {"completion": 10}}, ["northcloud/fp8"]),
        ({"max_price": {"prompt": "3.9"}}, ["northcloud/fp8"]),
        ({"max_price": {"prompt": 4, "completion": 30}}, ["northcloud/fp8", "southcloud"]),
        ({"only": ["nobody"]}, ["northcloud/fp8", "southcloud"]),
        ({"sort": "price"}, ["northcloud/fp8", "southcloud"]),
        ({"only": 3, "max_price": "low"}, ["northcloud/fp8", "southcloud"]),
        ("northcloud", ["northcloud/fp8", "southcloud"]),
        (None, ["northcloud/fp8", "southcloud"]),
    ],
)
def test_routing_wishes_rule_endpoints_out(provider, tags):
    assert [each["tag"] for each in allowed(ENDPOINTS, provider)] == tags


def priced(**prices):
    return {**RECORD, "pricing": {**RECORD["pricing"], **prices}}


def per_token(record, **more):
    (rate,) = worst(record=record, **more).rates
    return rate


def test_what_is_priced_apart_counts_at_its_dearest():
    assert per_token(priced(input_cache_write="0.0000025")).prompt_usd == Decimal("0.0000025")
    fee = per_token(priced(input_cache_write="0.000001"))
    assert fee.prompt_usd == Decimal("0.000003"), "less than the prompt's own comes on top"
    assert per_token(priced(internal_reasoning="0.00002")).completion_usd == Decimal("0.00002")
    assert per_token(priced(image_output="0.00003")).completion_usd == Decimal("0.00003")
    assert per_token(priced(request="0.01")).fixed_usd == Decimal("0.01")
    assert per_token(priced(discount=0.5)).prompt_usd == Decimal("0.000002")


def test_overrides_count_when_the_prompt_can_reach_them():
    record = priced(
        overrides=[
            {"min_prompt_tokens": 1000, "prompt": "0.000004"},
            {"utc_start": 0, "utc_end": 400, "completion": "0.00002"},
        ]
    )
    assert per_token(record).prompt_usd == Decimal("0.000002")
    assert per_token(record).completion_usd == Decimal("0.00002"), "at any hour"
    longer = [{"role": "user", "content": "x" * 1000}]
    assert per_token(record, messages=longer).prompt_usd == Decimal("0.000004")


def test_images_are_priced_by_the_piece_or_by_the_token():
    part = {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}}
    shown = [{"role": "user", "content": [part, part]}]
    assert per_token(priced(image="0.0007"), messages=shown).fixed_usd == Decimal("0.0014")
    assert per_token(priced(image="0.000003"), messages=shown).prompt_usd == Decimal("0.000003")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"model": "nobody/nothing"}, "no price is listed"),
        ({"model": None}, "no model is named"),
        ({"model": "@preset/mine"}, "preset"),
        ({"model": "acme/orbit@preset/mine"}, "preset"),
        ({"model": "acme/orbit:online"}, "searches the web"),
        ({"model": "perplexity/sonar"}, "searches the web"),
        ({"models": ["acme/orbit", "nobody/nothing"]}, "no price is listed for nobody/nothing"),
        ({"plugins": [{"id": "web"}]}, "plugin web"),
        ({"tools": [{"type": "openrouter:web_search"}]}, "server tool openrouter:web_search"),
        ({"web_search_options": {"search_context_size": "low"}}, "web searches"),
        ({"model": "acme/orbit:nitro"}, "faster service tier"),
        ({"service_tier": "priority"}, "faster service tier"),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
            "attached file",
        ),
    ],
)
def test_what_nothing_bounds_is_not_guessed(more, why):
    asked = worst(**more)
    assert why in asked.unknown
    assert asked.worst_usd is None


SEARCH = {"type": "openrouter:web_search"}
PDF = {"type": "file", "file": {"file_id": "file-1"}}
KEPT = [{"type": "text", "text": "Hi", "prompt_cache_breakpoint": {"ttl": "12h"}}]
NO_SHAPE = [3, "web", True, 1.5, [[]], [None], {"id": "web"}]
"""What is sent in the place of lists of objects, by slip or on purpose."""


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"preset": "mine"}, "preset can bring .*send its settings"),
        ({"models": ["acme/orbit", "acme/orbit@preset/mine"]}, "preset"),
        ({"models": "acme/comet"}, "no price is listed for acme/comet"),
        ({"models": [3]}, "no price is listed for 3"),
        ({"models": {"acme/orbit": 1}}, "models is no list"),
        ({"models": 3}, "models is no list"),
        ({"model": ["acme/orbit"]}, "no price is listed"),
        *(
            ({"plugins": [{"id": name}]}, f"plugin {name}")
            for name in (
                *("jev-router", "switchyard-router", "auto-router", "pareto-router", "fusion"),
                *("armor", "alignment", "web-fetch", "file-parser", "made-up"),
            )
        ),
        ({"plugins": [{"id": "moderation"}, {"id": "alignment", "rules": []}]}, "alignment"),
        ({"plugins": [{"id": "web", "enabled": None}]}, "plugin web"),
        ({"plugins": [{"id": ["moderation"]}]}, "plugin"),
        *(({"plugins": value}, "plugin") for value in NO_SHAPE),
        *(({"tools": value}, "server tool") for value in NO_SHAPE),
        ({"tools": SEARCH}, "server tool openrouter:web_search"),
        (
            {
                "tools": [SEARCH],
                "stop_server_tools_when": [{"type": "max_cost", "max_cost_in_dollars": 0.001}],
            },
            "max_cost stops it only after",
        ),
        ({"tools": [SEARCH], "stop_server_tools_when": [3]}, "server tool"),
        ({"tools": [SEARCH], "stop_server_tools_when": 3}, "server tool"),
        ({"tools": [SEARCH], "stop_server_tools_when": {"type": "max_cost"}}, "max_cost"),
        ({"web_search_options": {}}, "web searches"),
        ({"deferred_tools": {"protocol": "v1"}}, "further turns"),
        ({"prediction": {"type": "content", "content": "Hi"}}, "beyond max_tokens"),
        ({"modalities": ["text", "image"]}, "images"),
        ({"modalities": "image"}, "images"),
        ({"image_config": {"size": "4K"}}, "images"),
        ({"n": 2}, "several answers"),
        ({"provider": {"options": {"xai": {"search_parameters": {}}}}}, "provider.options"),
        ({"prompt_cache_options": {"mode": "explicit", "ttl": "12h"}}, "12h"),
        ({"cache_control": {"type": "ephemeral", "ttl": "24h"}}, "24h"),
        ({"cache_control": {"ttl": ["1h"]}}, "cache"),
        (
            {"tools": [{"type": "function", "function": {}, "cache_control": {"ttl": "1d"}}]},
            "1d",
        ),
        ({"search_parameters": {"mode": "on"}}, "search_parameters is no field"),
        ({"fallbacks": [{"model": "acme/comet"}]}, "fallbacks is no field"),
        ({"messages": [{"role": "user", "content": PDF}]}, "attached file"),
        ({"messages": {"role": "user", "content": [PDF]}}, "attached file"),
        ({"messages": [{"role": "user", "content": KEPT}]}, "12h"),
    ],
)
def test_whatever_can_cost_more_than_tokens_is_not_bounded(more, why):
    """A field that is new, or of a shape that the API does not have, is no reason to guess."""
    asked = worst(**more)
    assert asked.worst_usd is None
    assert re.search(why, asked.unknown)
    with ornb.budget(5), pytest.raises(errors.PriceUnknown, match="was not sent"):
        admit(asking(**more), book())
    with ornb.budget(5, allow_unknown=True):
        admit(asking(**more), book()).release()


@pytest.mark.parametrize(
    "more",
    [
        {"preset": None, "plugins": None, "tools": None, "models": None, "n": None},
        {"prediction": None, "web_search_options": None, "made_up": None, "service_tier": None},
        {"n": 1, "modalities": ["text"], "tools": [], "plugins": [], "models": []},
        {"plugins": [{"id": "context-compression"}, {"id": "response-healing"}]},
        {"plugins": [{"id": "web", "enabled": False}, {"id": "auto-router", "enabled": False}]},
        {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"prompt_cache_options": {"mode": "explicit", "ttl": "30m"}, "prompt_cache_key": "a"},
        {"prompt_cache_options": {"mode": "explicit", "ttl": None}, "cache_control": []},
        {"provider": {"options": {}, "sort": "price"}, "session_id": "a", "trace": {}, "user": "b"},
        {"stop_server_tools_when": [{"type": "max_cost", "max_cost_in_dollars": 1}]},
        {"reasoning_effort": "low", "verbosity": "low", "top_logprobs": 2, "logprobs": True},
        {"safety_identifier": "a", "metadata": {}, "seed": 1, "usage": {"include": True}},
    ],
)
def test_what_costs_no_more_than_tokens_keeps_its_bound(more):
    assert worst(**more).unknown is None


@pytest.mark.skipif(version("openrouter") != "1.3.84", reason="another SDK has other ones")
def test_every_field_of_the_official_sdk_is_bounded_or_refused_by_name():
    """A field that the API gains is refused until somebody has looked at what it costs."""
    from openrouter.components.chatrequest import ChatRequest

    names = {field.alias or name for name, field in ChatRequest.model_fields.items()}
    asked = {name: worst(**{name: "x"}).unknown or "" for name in names - {"messages", "model"}}
    assert not [name for name, why in asked.items() if "is no field" in why]
    assert names >= {"plugins", "tools", "models", "prediction", "deferred_tools", "image_config"}


def test_an_image_counts_wherever_it_stands_in_a_message():
    image = {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}}
    made = [{"role": "assistant", "content": "Here", "images": [image]}]
    assert prompt_tokens_at_most(asking(messages=made)) > IMAGE_TOKENS
    alone = [{"role": "user", "content": image}]
    assert prompt_tokens_at_most(asking(messages=alone)) > IMAGE_TOKENS


def test_sound_that_is_sent_back_by_its_id_may_fill_the_context():
    said = [{"role": "assistant", "audio": {"id": "audio_1"}}, *ASKED["messages"]]
    assert prompt_tokens_at_most(asking(messages=said)) is None
    assert prompt_tokens_at_most(asking(messages=[{"role": "assistant", "audio": None}])) > 0


def test_a_cache_that_is_priced_by_its_lifetime_counts_at_the_dearest():
    record = priced(input_cache_write="0.0000025", input_cache_write_12h="0.000009")
    assert per_token(record).prompt_usd == Decimal("0.000009")


def test_a_quantization_that_is_not_listed_is_one_that_is_unknown():
    silent = [ENDPOINTS[0], {**ENDPOINTS[1], "quantization": None}]
    assert allowed(silent, {"quantizations": ["unknown"]}) == silent[1:]


def test_the_fastest_provider_may_be_of_a_tier_that_is_not_listed():
    for sort in ("throughput", {"by": "throughput", "partition": "none"}):
        assert "faster service tier" in worst(provider={"sort": sort}).unknown
        assert worst(ENDPOINTS, provider={"sort": sort}).unknown is None


@pytest.mark.parametrize(
    "prices",
    [
        {"prompt": "-1", "completion": "-1"},
        {},
        {"prompt": "0.1"},
        {"prompt": None, "completion": "1"},
    ],
)
def test_a_router_has_no_price_of_its_own(prices):
    assert "no price per token" in worst(record={**RECORD, "pricing": prices}).unknown


def test_suffixes_that_only_route_keep_the_price():
    assert worst(model="acme/orbit:floor").worst_usd == WORST
    assert worst(ENDPOINTS, model="acme/orbit:nitro").basis == "endpoints"


def test_of_several_models_the_dearest_counts():
    other = {**RECORD, "id": "acme/comet", "pricing": {"prompt": "0.001", "completion": "0.002"}}
    records = {"acme/orbit": RECORD, "acme/comet": other}
    asked = quote(asking(models=["acme/comet"]), PriceBook(records.get))
    assert asked.worst_usd > 300 * Decimal("0.001")
    assert asked.model == "acme/orbit"


def test_free_is_free_only_where_text_is_what_is_billed():
    zero = {"prompt": "0", "completion": "0"}
    free = {**RECORD, "pricing": zero}
    assert worst(record=free).is_free
    music = {**free, "architecture": {"output_modalities": ["text", "audio"]}}
    assert "another unit" in worst(record=music).unknown


def test_endpoints_are_looked_up_once_in_a_while():
    asked, now = [], [0.0]
    prices = PriceBook(
        {"acme/orbit": RECORD}.get,
        lambda model: asked.append(model) or ENDPOINTS,
        clock=lambda: now[0],
    )
    threads = [threading.Thread(target=quote, args=(ASKED, prices)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == ["acme/orbit"]
    now[0] = 301.0
    quote(ASKED, prices)
    assert len(asked) == 2


def test_what_could_not_be_looked_up_is_looked_up_again_soon():
    now, records = [0.0], {}
    prices = PriceBook(records.get, clock=lambda: now[0])
    assert "no price" in quote(ASKED, prices).unknown
    records["acme/orbit"] = RECORD
    assert "no price" in quote(ASKED, prices).unknown, "a batch waits for one look-up"
    now[0] = 11.0
    assert quote(ASKED, prices).worst_usd == WORST


@forks
def test_a_forked_process_does_not_wait_for_a_look_up_of_its_parent():
    parent, is_asking, is_forked = os.getpid(), threading.Event(), threading.Event()

    def record(_):
        if os.getpid() == parent:
            is_asking.set()
            is_forked.wait()
        return RECORD

    prices = PriceBook(record)
    asker = threading.Thread(target=quote, args=(ASKED, prices))
    asker.start()
    is_asking.wait()
    is_done = done_in_a_fork(lambda: quote(ASKED, prices))
    is_forked.set()
    asker.join()
    assert is_done


def test_a_failing_look_up_falls_back_on_the_catalogue():
    def fails(_):
        raise errors.ServerTimeout("no")

    assert quote(ASKED, PriceBook({"acme/orbit": RECORD}.get, fails)).basis == "catalogue"
    assert "no price" in quote(ASKED, PriceBook(fails)).unknown


count = st.integers(0, 200_000)
price = st.decimals(0, "0.01", places=12, allow_nan=False).map(lambda d: f"{d:f}")
offer = st.fixed_dictionaries(
    {"prompt": price, "completion": price},
    optional={
        "internal_reasoning": price,
        "input_cache_read": price,
        "input_cache_write": price,
        "request": price,
        "overrides": st.lists(
            st.fixed_dictionaries(
                {"min_prompt_tokens": count}, optional={"prompt": price, "completion": price}
            ),
            max_size=2,
        ),
    },
)


@given(st.lists(offer, min_size=1, max_size=3), st.data())
def test_no_answer_within_the_bounds_costs_more(prices, data):
    """Whichever endpoint serves, whatever is cached, written or thought."""
    endpoints = [{**ENDPOINTS[0], "pricing": each} for each in prices]
    asked = worst(endpoints, max_tokens=1000)
    used = data.draw(st.integers(0, asked.prompt_tokens))
    made = data.draw(st.integers(0, asked.completion_tokens))
    parts = {
        "reasoning_tokens": data.draw(st.integers(0, made)),
        "cached_tokens": (cached := data.draw(st.integers(0, used))),
        "cache_write_tokens": data.draw(st.integers(0, used - cached)),
    }
    served = data.draw(st.sampled_from(prices))
    cost = pricing.estimate(served, prompt_tokens=used, completion_tokens=made, **parts)
    assert 0 <= cost <= asked.worst_usd


@given(offer, st.decimals(0, 20, places=6, allow_nan=False))
def test_the_max_tokens_that_fits_fits_and_one_more_does_not(prices, left):
    endpoints = [{**ENDPOINTS[0], "pricing": prices, "max_completion_tokens": 4000}]
    asked = worst(endpoints, max_tokens=4000)
    fits = asked.max_tokens_for(left)
    if fits is None:
        assert worst(endpoints, max_tokens=1).worst_usd > left
        return
    assert worst(endpoints, max_tokens=fits).worst_usd <= left
    assert fits == 4000 or worst(endpoints, max_tokens=fits + 1).worst_usd > left


def test_listed_prices_of_a_whole_day_are_bounded(shared_data):
    """Every model and endpoint of 2026-08-22: a bound, or a reason why there is none."""
    path = shared_data / "endpoints" / "endpoints-2026-08-22T230119Z.json.gz"
    listed = json.loads(gzip.decompress(path.read_bytes()))
    records = {record["id"]: record for record in listed["models"]["data"]}

    def endpoints(model):
        return listed["endpoints"].get(model, {}).get("data", {}).get("endpoints", [])

    prices = PriceBook(records.get, endpoints)
    dearer, unknown, free = 0, [], 0
    for model in records:
        asked = quote(asking(model=model), prices)
        if asked.unknown is not None:
            unknown.append(model)
            continue
        free += asked.is_free
        plain = quote(asking(model=model), PriceBook(records.get)).worst_usd
        assert asked.worst_usd >= 0
        dearer += asked.worst_usd > plain
    assert free == 22 - 2, "all of the free ones but the two that make music"
    assert dearer > 100, "the listed price alone would be no bound"
    assert all("perplexity" in name or "openrouter" in name or "lyria" in name for name in unknown)
    assert len(unknown) == 12


# --- one budget -----------------------------------------------------------------------------------


def test_money_is_set_aside_and_then_spent():
    with ornb.budget("0.01") as budget:
        reservation = admit(ASKED, book())
        assert (budget.reserved_usd, budget.left_usd) == (WORST, Decimal("0.01") - WORST)
        reservation.settle(answered(0.0007))
        reservation.settle(answered(0.0007))
    assert (budget.spent_usd, budget.reserved_usd) == (Decimal("0.0007"), 0)
    assert (budget.left_usd, budget.calls) == (Decimal("0.0093"), 1)


def test_a_refusal_says_what_was_asked_what_is_left_and_what_would_fit():
    with ornb.budget("0.001") as budget, pytest.raises(errors.BudgetExceeded) as caught:
        admit(ASKED, book(endpoints=ENDPOINTS))
    error = caught.value
    assert str(error) == (
        "acme/orbit was not sent: it can cost up to $0.00422 (at most 305 prompt and 100 "
        "completion tokens, at the most expensive provider allowed), and $0.001 of the budget of "
        "$0.001 is left. "
        "Not even a short answer would fit; ornb.budget(...) sets another ceiling."
    )
    assert (error.asked_usd, error.left_usd) == (Decimal("0.00422"), Decimal("0.001"))
    assert (error.limit_usd, error.fits_max_tokens) == (Decimal("0.001"), None)
    assert (budget.refused, budget.calls, budget.reserved_usd) == (1, 0, 0)


def test_what_would_fit_is_let_through():
    with ornb.budget("0.003") as budget:
        with pytest.raises(errors.BudgetExceeded, match="max_tokens=59 would fit") as caught:
            admit(ASKED, book(endpoints=ENDPOINTS))
        admit(asking(max_tokens=caught.value.fits_max_tokens), book(endpoints=ENDPOINTS))
        assert budget.left_usd < Decimal("0.0001")


def test_a_call_that_just_fits_is_sent():
    with ornb.budget(WORST) as budget:
        admit(ASKED, book())
        assert budget.left_usd == 0
        with pytest.raises(errors.BudgetExceeded, match="is set aside for other calls"):
            admit(ASKED, book())


def test_an_unknown_price_is_refused_unless_allowed():
    with ornb.budget(5), pytest.raises(errors.PriceUnknown, match="allow_unknown=True") as caught:
        admit(asking(model="openrouter/auto"), book())
    assert isinstance(caught.value, errors.BudgetExceeded)
    with ornb.budget("0.5", allow_unknown=True) as budget:
        admit(asking(model="openrouter/auto"), book()).settle(answered(0.7))
        assert budget.left_usd == Decimal("-0.2"), "what nothing bounds may pass the ceiling"
        with pytest.raises(errors.BudgetExceeded, match="not known"):
            admit(asking(model="openrouter/auto"), book())


def test_of_several_budgets_the_one_that_allows_no_unknown_price_is_named():
    session.default.budgets.budget(5)
    with ornb.budget("0.5", allow_unknown=True), pytest.raises(errors.PriceUnknown) as caught:
        admit(asking(model="openrouter/auto"), book())
    assert "the budget of $5.00 could not hold" in str(caught.value)
    assert (caught.value.limit_usd, caught.value.left_usd) == (5, 5)


def test_free_calls_pass_also_when_all_is_spent():
    free = {**RECORD, "pricing": {"prompt": "0", "completion": "0"}}
    with ornb.budget(0) as budget:
        admit(ASKED, book(free)).settle(answered(0.0))
        assert budget.calls == 1


def test_without_a_ceiling_no_price_is_looked_up():
    def forbidden(_):
        raise AssertionError("asked")

    assert admit(ASKED, PriceBook(forbidden)) is None
    with ornb.budget(None) as budget:
        admit(ASKED, PriceBook(forbidden)).settle(answered(0.25))
    assert repr(budget) == "Budget: $0.25 spent, 1 call"
    assert budget.left_usd is None


@pytest.mark.parametrize("usd", [-1, "much", float("nan"), float("inf"), True, [], "1e99"])
def test_what_is_no_amount_is_refused(usd):
    with pytest.raises(errors.ConfigError, match="not an amount"):
        ornb.budget(usd)


# --- what became of the call ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "cost"),
    [
        pytest.param(answered(0.0007), "0.0007", id="the bill"),
        pytest.param(answered(0.0), "0", id="a bill of nothing"),
        pytest.param(answered(0.0003, status="error", http_status=200), "0.0003", id="in a stream"),
        pytest.param(Reply(status="error"), "0", id="never left"),
        pytest.param(answered(status="error", http_status=429), "0", id="refused"),
        pytest.param(answered(status="error", http_status=500), "0", id="failed"),
        pytest.param(answered(status="error", http_status=504), None, id="a gateway gave up"),
        pytest.param(answered(status="error", http_status=None), None, id="broken off"),
        pytest.param(answered(status="error", http_status=200), None, id="broken in a stream"),
        pytest.param(answered(status="stopped"), None, id="stopped"),
        pytest.param(answered(0.5, source="recorded"), "0", id="a recording"),
        pytest.param(answered(-5.0), None, id="a bill that cannot be"),
        pytest.param(answered(), None, id="a server that does not say"),
    ],
)
def test_what_was_charged(reply, cost):
    assert billed(reply) == (cost if cost is None else Decimal(cost))
    with ornb.budget(1) as budget:
        admit(ASKED, book()).settle(reply)
    assert budget.reserved_usd == 0
    assert (budget.spent_usd, budget.held_usd) == (
        (Decimal(cost), 0) if cost is not None else (0, WORST)
    )


def test_without_a_bill_the_tokens_are_priced_at_their_dearest():
    with ornb.budget(1) as budget:
        admit(ASKED, book(endpoints=ENDPOINTS)).settle(answered(None, 10, 5))
    assert budget.held_usd == 10 * Decimal("0.000004") + 5 * Decimal("0.00003")


def test_a_late_bill_takes_the_place_of_what_was_kept():
    tracker = UsageTracker()
    stop = tracker.on_bill(settle_bill)
    with ornb.budget("0.01") as outer, ornb.budget("0.005") as inner:
        stopped = answered(status="stopped", generation_id="gen-late")
        admit(ASKED, book()).settle(stopped)
    tracker.record(stopped)
    assert inner.held_usd == outer.held_usd == WORST
    assert "kept for calls without a bill yet" in repr(inner)

    class Books:
        source = "live"

        def generation(self, _):
            return {"total_cost": 0.0004}

    tracker.reconcile(Books())
    stop()
    for budget in (inner, outer):
        assert (budget.spent_usd, budget.held_usd) == (Decimal("0.0004"), 0)


def test_what_an_answer_said_it_cost_is_spent_whatever_the_books_say_later():
    """A ceiling holds by what is known when calls leave; the table has the books' word."""
    tracker = UsageTracker()
    stop = tracker.on_bill(settle_bill)
    with ornb.budget("0.01") as budget:
        settled = answered(0.0004, generation_id="gen-settled")
        admit(ASKED, book()).settle(settled)
    tracker.record(settled)

    class Books:
        source = "live"

        def generation(self, _):
            return {"total_cost": 0.0009}

    tracker.reconcile(Books())
    stop()
    assert (budget.spent_usd, budget.held_usd) == (Decimal("0.0004"), 0)
    assert tracker.df["cost_usd"].tolist() == [0.0009]


# --- keys of one's own with a provider ------------------------------------------------------------


def by_own_key(cost=0.0, paid=0.00105, prompt=22, completion=9, **fields):
    usage = Usage(prompt, completion, cost_usd=cost, is_byok=True, byok_usd=paid)
    return Reply(**{"usage": usage, "timing": SENT, "http_status": 200, **fields})


def test_what_an_own_key_paid_is_spent_with_what_was_charged():
    with ornb.budget(1) as budget:
        admit(ASKED, book()).settle(by_own_key())
        admit(ASKED, book()).settle(by_own_key(cost=0.00005))
    assert (budget.spent_usd, budget.held_usd) == (Decimal("0.00215"), 0)


@pytest.mark.parametrize(("paid", "spent"), [(0.0002, "0.0002"), (None, None), ("?", None)])
def test_an_own_key_that_paid_nobody_knows_what_is_kept_until_its_bill_says(paid, spent):
    """A bill of 0 is OpenRouter's part alone."""
    with ornb.budget(1) as budget:
        admit(ASKED, book()).settle(by_own_key(paid=None, generation_id="gen-own"))
    kept = 22 * Decimal("0.000002") + 9 * Decimal("0.00001")
    assert (budget.spent_usd, budget.held_usd) == (0, kept)
    tracker = UsageTracker()
    stop = tracker.on_bill(settle_bill)
    tracker.record(Reply(status="stopped", generation_id="gen-own", timing=SENT))

    class Books:
        source = "live"

        def generation(self, _):
            return {"total_cost": 0, "is_byok": True, "upstream_inference_cost": paid}

    tracker.reconcile(Books())
    stop()
    known = (Decimal(spent), 0) if spent else (0, kept)
    assert (budget.spent_usd, budget.held_usd) == known


def test_once_an_own_key_has_paid_bounds_are_at_the_providers_price_with_the_fee():
    """Listed prices have OpenRouter's discount off, which a provider does not give."""
    cheaper = [{**ENDPOINTS[0], "pricing": {**ENDPOINTS[0]["pricing"], "discount": 0.5}}]
    prices = book(endpoints=cheaper)
    with ornb.budget(1) as budget:
        first = admit(ASKED, prices)
        assert budget.reserved_usd == WORST
        first.settle(by_own_key())
        admit(ASKED, prices)
        assert budget.reserved_usd == WORST * 2 * Decimal("1.05")


@pytest.mark.parametrize("discount", [None, "0.5", "much", -0.2, 1, 1.5, True, [0.5], 0])
def test_an_odd_discount_leaves_the_listed_price(discount):
    asked = quote(ASKED, book(priced(discount=discount)), own_keys=True)
    expected = WORST * Decimal("1.05") * (2 if discount == "0.5" else 1)
    assert asked.worst_usd == expected


amounts = st.decimals(0, 1, places=9, allow_nan=False)


@given(st.lists(st.tuples(amounts, st.booleans()), max_size=20), amounts)
def test_what_is_spent_held_and_left_always_adds_up(calls, limit):
    with ornb.budget(limit) as budget:
        open_ones, spent = [], Decimal(0)
        for cost, settle_now in calls:
            try:
                reservation = admit(ASKED, book())
            except errors.BudgetExceeded:
                assert budget.left_usd < WORST
                continue
            paid = min(cost, WORST)
            spent += paid
            reply = answered(float(paid))
            if settle_now:
                reservation.settle(reply)
            else:
                open_ones.append((reservation, reply))
            total = budget.spent_usd + budget.held_usd + budget.reserved_usd + budget.left_usd
            assert total == limit
            assert budget.left_usd >= 0, "no bound was passed, so the ceiling was not"
        for reservation, reply in open_ones:
            reservation.settle(reply)
    assert budget.reserved_usd == 0
    assert budget.spent_usd == spent <= limit


def test_a_call_that_ends_while_the_books_are_being_written_is_booked_after():
    """The garbage collector ends forgotten streams at any moment, in any thread."""
    with ornb.budget(1) as budget:
        reservation = admit(ASKED, book())
        with BUDGETS._lock:
            reservation.settle(answered(0.0007))
        assert (budget.spent_usd, budget.reserved_usd) == (Decimal("0.0007"), 0)


# --- several budgets ------------------------------------------------------------------------------


def test_blocks_nest_and_each_counts_the_call():
    lesson = ornb.budget(1)
    with ornb.budget("0.01") as outer, ornb.budget("0.1") as inner:
        assert active() == (lesson, outer, inner)
        admit(ASKED, book()).settle(answered(0.001))
        with pytest.raises(errors.BudgetExceeded) as caught:
            admit(asking(max_tokens=4000), book())
        assert caught.value.limit_usd == Decimal("0.01"), "the tightest one speaks"
    assert active() == (lesson,)
    assert lesson.spent_usd == outer.spent_usd == inner.spent_usd == Decimal("0.001")


def test_a_new_ceiling_takes_the_place_of_the_sessions():
    first = ornb.budget("0.0001")
    second = ornb.budget(1)
    assert active() == (second,)
    admit(ASKED, book()).settle(answered(0.001))
    assert (first.calls, second.calls) == (0, 1)
    ornb.budget(None)
    assert active()[0].limit_usd is None


def test_a_block_gives_the_session_its_ceiling_back():
    lesson = ornb.budget(1)
    with pytest.raises(KeyboardInterrupt), ornb.budget("0.5"):
        raise KeyboardInterrupt
    assert active() == (lesson,)


def test_a_call_under_way_is_settled_where_it_was_let_through():
    with ornb.budget(1) as budget:
        reservation = admit(ASKED, book())
    with ornb.budget(1) as later:
        reservation.settle(answered(0.001))
    assert (budget.spent_usd, later.spent_usd) == (Decimal("0.001"), 0)


def test_a_budget_cannot_be_open_twice():
    with ornb.budget(1) as budget, pytest.raises(errors.ConfigError, match="open already"), budget:
        pass
    with budget:
        assert budget in active()


# --- the whole way --------------------------------------------------------------------------------


def answers(*, endpoints=None, held=None, asked=None, cost=0.0005, streamed=True):
    """A service on this machine: catalogue, endpoints, and answers that wait for `held`."""

    def script(head, body):
        path = head.split()[1].decode()
        if path.endswith("/endpoints"):
            return [whole({"data": {"id": "acme/orbit", "endpoints": endpoints or []}})]
        if path.endswith("/models"):
            return [whole({"data": [RECORD]})]
        if asked is not None:
            asked.append(body)
        return answer()

    usage = {"prompt_tokens": 22, "completion_tokens": 9, "total_tokens": 31, "cost": cost}

    def answer():
        if not streamed:
            choice = {"message": {"content": "A"}, "finish_reason": "stop"}
            yield whole({"id": "gen-1", "choices": [choice], "usage": usage})
            return
        yield STREAM
        if held is not None:
            held.wait(STALL_S)
        yield delta("A", "stop") + event(choices=[], usage=usage) + DONE + END

    return script


def test_64_calls_at_once_cannot_pass_a_ceiling_together():
    """Exactly as many leave as fit at their worst, however they race; the others are refused."""
    held, asked, refusals, lock = threading.Event(), [], [], threading.Lock()
    with WireServer(answers(endpoints=ENDPOINTS, held=held, asked=asked)) as server:
        ornb.connect(base_url=server.url)
        session.usage.clear()
        once = session.quote("Hi", "acme/orbit", max_tokens=100).worst_usd
        ceiling = 25 * once + once / 2
        with ornb.budget(ceiling) as budget:
            start = threading.Barrier(64)

            def call():
                start.wait()
                try:
                    ornb.ask("Hi", "acme/orbit", max_tokens=100)
                except errors.BudgetExceeded as error:
                    with lock:
                        refusals.append(error)
                        if len(refusals) == 64 - 25:
                            held.set()

            threads = [threading.Thread(target=call) for _ in range(64)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert held.is_set()
            assert len(asked) == 25
            assert (budget.calls, budget.refused) == (25, 39)
            assert budget.spent_usd == 25 * Decimal("0.0005")
            assert budget.reserved_usd == budget.held_usd == 0
            assert budget.spent_usd <= ceiling
            assert all(error.left_usd < once for error in refusals)
            ornb.ask("Hi", "acme/orbit", max_tokens=100)
            assert budget.calls == 26, "what was not spent is there again"
    frame = session.usage.df
    assert (frame["status"] == "ok").sum() == 26
    assert (frame["status"] == "error").sum() == 39
    assert session.usage.summary()["cost_usd"].tolist() == [0.013]


def test_work_for_4_processes_is_let_through_by_the_one_that_has_the_budget():
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from elsewhere import call

    asked = []
    with (
        WireServer(answers(endpoints=ENDPOINTS, asked=asked, streamed=False)) as server,
        ProcessPoolExecutor(4, get_context("spawn")) as pool,
    ):
        gate = ornb.connect(base_url=server.url).before_call
        worst_usd = gate.quote(ASKED).worst_usd
        with ornb.budget(10 * worst_usd) as budget:
            under_way = []
            for _ in range(64):
                try:
                    settle = gate(ASKED, None)
                except errors.BudgetExceeded:
                    continue
                under_way.append((settle, pool.submit(call, server.url, ASKED)))
            assert len(under_way) == 10
            assert budget.left_usd == 0
            for settle, result in under_way:
                settle(result.result(60), None)
        assert len(asked) == 10
    assert (budget.spent_usd, budget.reserved_usd) == (Decimal("0.005"), 0)


def test_a_refused_call_is_a_row_and_nothing_was_sent():
    asked = []
    with WireServer(answers(asked=asked)) as server:
        ornb.connect(base_url=server.url)
        session.usage.clear()
        with ornb.budget("0.0001"), pytest.raises(errors.BudgetExceeded) as caught:
            ornb.ask("Hi", "acme/orbit", label="lesson")
        assert asked == []
        assert caught.value.reply.status == "error"
    row = session.usage.df.iloc[-1]
    assert (row["status"], row["label"], row["attempts"]) == ("error", "lesson", 0)
    assert "was not sent" in row["error"]


def test_chats_and_plain_calls_pass_the_same_gate():
    with WireServer(answers()) as server:
        client = ornb.connect(base_url=server.url)
        with ornb.budget("0.0001") as budget:
            with pytest.raises(errors.BudgetExceeded):
                client.chat("Hi", "acme/orbit")
            with pytest.raises(errors.BudgetExceeded):
                list(client.stream("Hi", "acme/orbit"))
            assert budget.refused == 2


def test_a_server_without_prices_is_refused_under_a_budget():
    with WireServer([whole({"data": [{"id": "llama3"}]})]) as server:
        ornb.connect(base_url=server.url)
        with ornb.budget(1), pytest.raises(errors.PriceUnknown, match="llama3"):
            ornb.ask("Hi", "llama3")


def test_offline_calls_cost_a_budget_nothing():
    ornb.connect(offline=True)
    with ornb.budget(0) as budget:
        ornb.ask("Hi", "openai/gpt-4o-mini")
    assert (budget.calls, budget.spent_usd, budget.held_usd) == (1, 0, 0)


def test_practice_counts_offline_calls_at_the_prices_of_the_model_asked_for():
    ornb.connect(offline=True)
    with ornb.budget(1) as real, ornb.budget(1, practice=True) as practice:
        reply = ornb.ask("Hi", "openai/gpt-4o-mini", max_tokens=50)
    rates = ornb.session.quote("Hi", "openai/gpt-4o-mini", max_tokens=50)
    tokens = reply.usage.prompt_tokens, reply.usage.completion_tokens
    assert practice.spent_usd == rates.cost(*tokens) > 0
    assert (real.spent_usd, real.calls, practice.reserved_usd) == (0, 1, 0)
    assert "not charged" in repr(practice)
    assert reply.cost_usd == 0  # the ledger has what was billed, and nothing was


def test_practice_refuses_as_a_real_ceiling_does():
    ornb.connect(offline=True)
    before = len(session.usage)
    with ornb.budget("0.0001", practice=True) as practice:
        with pytest.raises(errors.BudgetExceeded) as caught:
            ornb.ask("Hi", "openai/gpt-4o-mini", max_tokens=2000)
        ornb.ask("Hi", "openai/gpt-4o-mini", max_tokens=caught.value.fits_max_tokens)
    assert (practice.calls, practice.refused, len(session.usage) - before) == (1, 1, 2)
    assert 0 < practice.spent_usd <= Decimal("0.0001")


def test_practice_sets_nothing_aside_for_good():
    """A stopped offline call has no bill to wait for."""
    ornb.connect(offline=True)
    with ornb.budget(1, practice=True) as practice:
        with ornb.client().stream("Hi", "openai/gpt-4o-mini", max_tokens=50) as stream:
            next(iter(stream))
        assert stream.reply.status == "stopped"
    assert (practice.reserved_usd, practice.held_usd) == (0, 0)
    assert practice.spent_usd > 0


def test_practice_counts_a_bill_as_any_budget_does():
    with WireServer(answers()) as server:
        ornb.connect(base_url=server.url)
        with ornb.budget(1) as real, ornb.budget(1, practice=True) as practice:
            ornb.ask("Hi", "acme/orbit")
    assert practice.spent_usd == real.spent_usd > 0


def test_a_stopped_stream_keeps_its_worst_case_until_its_bill_is_known():
    with WireServer(
        [whole({"data": [RECORD]})], [whole({}, 404)], [STREAM, delta("A"), 30.0]
    ) as server:
        ornb.connect(base_url=server.url)
        with ornb.budget(1) as budget:
            with ornb.client().stream("Hi", "acme/orbit", max_tokens=100) as stream:
                next(iter(stream))
            assert stream.reply.status == "stopped"
        assert budget.reserved_usd == 0
        assert budget.held_usd == WORST


def test_an_abandoned_reservation_is_given_back():
    with ornb.budget(1) as budget:
        admit(ASKED, book()).release()
        assert (budget.reserved_usd, budget.calls) == (0, 0)
