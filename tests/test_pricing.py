"""Prices: exact, never negative, and what the service really charged."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext

import pandas as pd
import pytest
from cassettes import exchanges
from hypothesis import given
from hypothesis import strategies as st

from ornb.catalog import to_frame
from ornb.errors import ConfigError
from ornb.pricing import (
    TIERS,
    depends_on_model,
    estimate,
    price_tier,
    tiers,
    to_decimal,
    usd_per_million,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
TOKENS = st.integers(0, 10**9)
PRICES = st.decimals("0", "0.01", places=22).map(lambda price: f"{price:f}")
PER_TOKEN = {"prompt": "0.000002", "completion": "0.00001"}


def cost(prices, prompt=0, completion=0, **details):
    return estimate(prices, prompt_tokens=prompt, completion_tokens=completion, **details)


# --- one price ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "price"),
    [
        ("0.0000008333333333333333", Decimal("0.0000008333333333333333")),
        ("1e-7", Decimal("1e-7")),
        ("0", Decimal(0)),
        ("-0.0", Decimal(0)),
        (" 0.5 ", Decimal("0.5")),
        (2, Decimal(2)),
        (1e-06, Decimal("0.000001")),
        (0.59, Decimal("0.59")),
    ],
)
def test_a_price_is_read_digit_by_digit(listed, price):
    assert to_decimal(listed) == price


@pytest.mark.parametrize(
    "listed",
    [
        *["-1", -1, -0.5, None, "", "free", "NaN", "Infinity", "1e400", "1e-31", "9" * 70],
        *[True, [], {}, float("nan"), float("inf")],
        pytest.param(10**5000, id="huge"),
    ],
)
def test_what_is_no_price_is_none(listed):
    assert to_decimal(listed) is None
    assert usd_per_million(listed) is None


def test_per_million_is_the_nearest_float():
    assert usd_per_million("0.0000000574") == 0.0574
    assert usd_per_million("0.0000000833333333333333") == 0.0833333333333333
    assert usd_per_million("0.0000001") == 0.1 != 0.0000001 * 1e6


@given(PRICES)
def test_per_million_keeps_every_digit_that_a_float_can_hold(listed):
    assert usd_per_million(listed) == float(Decimal(listed) * 1_000_000)


@given(JSON)
def test_no_value_is_too_odd_for_a_price(value):
    price = to_decimal(value)
    assert price is None or price >= 0
    per_million = usd_per_million(value)
    assert per_million is None or 0 <= per_million < float("inf")


# --- one call -------------------------------------------------------------------------------------


def test_prompt_and_completion_are_priced_apart():
    assert cost(PER_TOKEN, 1000, 100) == Decimal("0.003")


@given(PRICES, PRICES, TOKENS, TOKENS, TOKENS, TOKENS)
def test_money_adds_up_exactly(prompt, completion, a, b, c, d):
    prices = {"prompt": prompt, "completion": completion}
    with localcontext(prec=100):  # Python's own sum keeps 28 digits
        apart = cost(prices, a, c) + cost(prices, b, d)
    assert cost(prices, a + b, c + d) == apart


@given(
    PRICES,
    PRICES,
    PRICES,
    PRICES,
    PRICES,
    TOKENS,
    TOKENS,
    TOKENS,
    TOKENS,
    TOKENS,
    st.integers(0, 9),
)
def test_real_prices_never_give_negative_money(a, b, c, d, e, m, n, o, p, q, searches):
    prices = {"prompt": a, "completion": b, "input_cache_read": c, "input_cache_write": d}
    prices["internal_reasoning"] = e
    details = {"reasoning_tokens": o, "cached_tokens": p, "cache_write_tokens": q}
    assert cost(prices, m, n, searches=searches, **details) >= 0


@given(JSON, st.dictionaries(st.sampled_from(["prompt", "completion", "overrides", "image"]), JSON))
def test_no_pricing_object_is_too_odd_to_estimate_from(odd, pricing):
    for listed in (odd, pricing, {**PER_TOKEN, **pricing}, {**PER_TOKEN, "overrides": [odd]}):
        money = cost(listed, 1000, 100, images=1)
        assert money is None or money >= 0


def test_cached_tokens_are_not_paid_twice():
    prices = {**PER_TOKEN, "input_cache_read": "0.0000002"}
    assert cost(prices, 1000, 0, cached_tokens=800) == Decimal("0.00056")


def test_cached_tokens_cost_as_any_where_no_cache_price_is_listed():
    assert cost(PER_TOKEN, 1000, 0, cached_tokens=800) == Decimal("0.002")


def test_tokens_written_to_a_cache_cost_their_own_price():
    prices = {**PER_TOKEN, "input_cache_write": "0.0000025"}
    assert cost(prices, 1000, 0, cache_write_tokens=400) == Decimal("0.0022")


def test_a_cache_write_price_below_the_prompt_price_comes_on_top():
    """As Gemini's storage fee was listed in 2026; writing a cache is never cheaper than reading."""
    prices = {**PER_TOKEN, "input_cache_write": "0.0000001"}
    assert cost(prices, 1000, 0, cache_write_tokens=1000) == Decimal("0.0021")


def test_reasoning_is_a_part_of_the_completion():
    assert cost(PER_TOKEN, 0, 100, reasoning_tokens=60) == Decimal("0.001")


def test_reasoning_costs_its_own_price_where_one_is_listed():
    prices = {**PER_TOKEN, "internal_reasoning": "0.00002"}
    assert cost(prices, 0, 100, reasoning_tokens=60) == Decimal("0.0016")


def test_a_listed_zero_for_reasoning_does_not_make_it_free():
    """Records up to early 2026 list "0" for everything that has no price of its own."""
    prices = {**PER_TOKEN, "internal_reasoning": "0", "input_cache_read": "0"}
    assert cost(prices, 100, 100, reasoning_tokens=60, cached_tokens=50) == Decimal("0.0012")


def test_details_above_their_whole_are_cut_to_it():
    prices = {**PER_TOKEN, "internal_reasoning": "0.00002", "input_cache_read": "0.000001"}
    money = cost(prices, 10, 10, reasoning_tokens=13, cached_tokens=99, cache_write_tokens=99)
    assert money == 10 * Decimal("0.00002") + 10 * Decimal("0.000001")


def test_requests_searches_and_images_are_added():
    prices = {**PER_TOKEN, "request": "0.005", "web_search": "0.01", "image": "0.0007"}
    assert cost(prices, searches=2, images=3) == Decimal("0.0271")


@pytest.mark.parametrize(
    "prices",
    [{"prompt": "-1", "completion": "-1"}, {"prompt": "-1", "completion": "0.1"}, {}, None, "0"],
)
def test_what_a_router_costs_is_not_known(prices):
    assert cost(prices, 10, 10) is None


def test_a_null_price_is_unknown_only_if_it_is_used():
    prices = {"prompt": "0.000002", "completion": None}
    assert cost(prices, 1000, 1) is None
    assert cost(prices, 1000, 0) == Decimal("0.002")


@pytest.mark.parametrize("counts", [(None, 1), (1, None), (-1, 1), (1, -1)])
def test_unknown_or_impossible_counts_have_no_price(counts):
    assert cost(PER_TOKEN, *counts) is None


def test_a_discount_is_not_taken_off_again():
    assert cost({**PER_TOKEN, "discount": 0.5}, 1000, 100) == cost(PER_TOKEN, 1000, 100)


def test_free_is_zero_and_not_unknown():
    assert cost({"prompt": "0", "completion": "0"}, 1000, 100) == 0


# --- overrides ------------------------------------------------------------------------------------

LONG = {**PER_TOKEN, "overrides": [{"min_prompt_tokens": 200_000, "prompt": "0.000004"}]}


@pytest.mark.parametrize(("tokens", "price"), [(200_000, "0.000002"), (200_001, "0.000004")])
def test_a_threshold_is_passed_strictly_above_it(tokens, price):
    assert cost(LONG, tokens) == tokens * Decimal(price)


def test_prices_that_an_override_leaves_out_stay():
    assert cost(LONG, 300_000, 10) == 300_000 * Decimal("0.000004") + 10 * Decimal("0.00001")


def test_later_overrides_win_key_by_key():
    entries = [
        {"min_prompt_tokens": 32, "prompt": "0.00001", "completion": "0.00002"},
        {"min_prompt_tokens": 256, "prompt": "0.00003"},
    ]
    money = cost({**PER_TOKEN, "overrides": entries}, 300, 1)
    assert money == 300 * Decimal("0.00003") + Decimal("0.00002")


@pytest.mark.parametrize(
    ("start", "end", "clock", "applies"),
    [
        (1000, 1400, "10:00", True),
        (1000, 1400, "13:59", True),
        (1000, 1400, "14:00", False),
        (1030, 1400, "10:29", False),
        (1400, 0, "23:59", True),
        (1400, 0, "00:00", False),
        (2200, 400, "03:59", True),
        (2200, 400, "22:00", True),
        (2200, 400, "04:00", False),
        (None, 400, "03:00", True),
        (2200, None, "23:30", True),
        (0, 2400, "12:00", True),
    ],
)
def test_a_window_is_half_open_and_may_pass_midnight(start, end, clock, applies):
    entry = {"prompt": "0.000001", "utc_start": start, "utc_end": end}
    at = datetime.fromisoformat(f"2026-08-22T{clock}:00+00:00")
    money = cost({**PER_TOKEN, "overrides": [entry]}, 1, at=at)
    assert money == Decimal("0.000001" if applies else "0.000002")


def test_a_window_is_read_in_utc():
    entry = {"prompt": "0.000001", "utc_start": 1000, "utc_end": 1100}
    at = datetime(2026, 8, 22, 12, 30, tzinfo=timezone(timedelta(hours=2)))
    assert cost({**PER_TOKEN, "overrides": [entry]}, 1, at=at) == Decimal("0.000001")


@pytest.mark.parametrize(
    ("days", "applies"), [(["saturday"], True), (["Sunday"], False), ([], False)]
)
def test_days_are_those_of_the_request(days, applies):
    entry = {"prompt": "0.000001", "utc_days": days}
    at = datetime(2026, 8, 22, tzinfo=UTC)  # a Saturday
    money = cost({**PER_TOKEN, "overrides": [entry]}, 1, at=at)
    assert money == Decimal("0.000001" if applies else "0.000002")


def test_an_override_with_a_condition_nobody_knows_does_not_apply():
    entry = {"prompt": "0.000001", "min_images": 3}
    assert cost({**PER_TOKEN, "overrides": [entry]}, 1) == Decimal("0.000002")


def test_an_override_that_cannot_be_read_leaves_the_price():
    entry = {"min_prompt_tokens": 0, "prompt": None, "completion": "soon"}
    assert cost({**PER_TOKEN, "overrides": [entry]}, 1, 1) == Decimal("0.000012")


def test_a_moment_without_a_time_zone_is_refused():
    with pytest.raises(ConfigError, match="no time zone"):
        cost(PER_TOKEN, 1, at=datetime(2026, 8, 22))


# --- against the bills ----------------------------------------------------------------------------


def test_estimates_are_what_was_billed(shared_data):
    """All recorded answers whose model is in a recorded catalogue, but those that used a search."""
    exact, lower, compared = 0, 0, 0
    pricings = _pricings(shared_data)
    for model, used in _bills(shared_data):
        if model not in pricings:
            continue
        sent = used.get("prompt_tokens_details") or {}
        made = used.get("completion_tokens_details") or {}
        estimates = [
            cost(
                prices,
                used["prompt_tokens"],
                used["completion_tokens"],
                reasoning_tokens=made.get("reasoning_tokens"),
                cached_tokens=sent.get("cached_tokens"),
                cache_write_tokens=sent.get("cache_write_tokens"),
            )
            for prices in pricings[model]
        ]
        bill = Decimal(str(used["cost"]))
        compared += 1
        exact += any(abs(e - bill) <= bill / 10**9 for e in estimates)
        lower += all(e < bill / 2 for e in estimates)
    assert compared >= 25
    assert exact == compared - lower
    assert lower == 2, "two answers with web searches, billed apart"


def _pricings(shared_data):
    pricings: dict[str, list] = {}
    for path in (shared_data / "catalogs").glob("*.json"):
        frame = to_frame(json.loads(path.read_text()))
        for model_id, row in frame[~frame["is_batch"] & ~frame["is_alias"]].iterrows():
            for name in {model_id, row["canonical_slug"]}:
                pricings.setdefault(name, []).append(row["raw"]["pricing"])
    return pricings


def _bills(shared_data):
    for exchange in exchanges(shared_data):
        text = exchange.body.decode()
        lines = [text] if not exchange.streamed else text.splitlines()
        for line in lines:
            body = line.removeprefix("data:").strip()
            if not body.startswith("{"):
                continue
            answer = json.loads(body)
            if answer.get("usage") and answer["usage"].get("cost"):
                yield answer["model"], answer["usage"]


# --- tiers ----------------------------------------------------------------------------------------

KNOWN = {"2025-04-09": [56, 231, 4, 0, 1], "2026-08-22": [22, 387, 7, 0, 5]}


@pytest.mark.parametrize("day", KNOWN)
def test_the_table_people_know_counts_as_it_should(shared_data, day):
    frame = to_frame(json.loads((shared_data / "catalogs" / f"catalog-{day}.json").read_text()))
    assert tiers(frame, scheme="per_token")["models"].tolist() == KNOWN[day]


def test_the_useful_table_spreads_the_models(shared_data):
    path = shared_data / "catalogs" / "catalog-2026-08-22.json"
    frame = to_frame(json.loads(path.read_text()))
    table = tiers(frame, scheme="blended")
    paid = table[~table["tier"].isin(["free", "router", "unknown"])]
    assert table["models"].sum() == len(frame)
    assert paid["models"].max() / paid["models"].sum() < 0.5
    assert table["tier"].tolist() == [
        name for name in frame["price_tier"].cat.categories if name in set(frame["price_tier"])
    ]


def test_both_tables_come_as_one(shared_data):
    frame = to_frame([{"id": "a/b", "pricing": PER_TOKEN}])
    table = tiers(frame)
    assert table.columns.tolist() == ["scheme", "tier", "models", "share", "description"]
    assert table.groupby("scheme")["models"].sum().to_dict() == {"per_token": 1, "blended": 1}
    assert table.groupby("scheme")["share"].sum().eq(1).all()
    assert table["description"].str.contains("USD").any()


@pytest.mark.parametrize(
    ("prompt", "completion", "tier"),
    [
        (0.0, 0.0, "free"),
        (0.1, 0.1, "0.1 to 1"),
        (0.0999, 0.1, "under 0.1"),
        (1.0, 1.0, "1 to 10"),
        (0.0, 40.0, "10 to 100"),
        (100.0, 100.0, "100 and up"),
        (float("nan"), 1.0, "unknown"),
    ],
)
def test_a_bound_belongs_to_the_tier_above(prompt, completion, tier):
    assert list(price_tier([prompt], [completion], is_router=[False])) == [tier]


def test_a_router_is_a_tier_of_its_own_only_where_it_has_no_price():
    nan = float("nan")
    assert list(price_tier([nan, 0.0], [nan, 0.0], is_router=[True, True])) == ["router", "free"]


def test_tiers_of_no_models_are_all_empty():
    table = tiers(to_frame([]))
    assert table["models"].sum() == 0
    assert table["share"].sum() == 0
    assert set(table["scheme"]) == set(TIERS)


def test_a_table_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="per_token or blended"):
        tiers(to_frame([]), scheme="per_month")
    with pytest.raises(ConfigError, match="give a frame of"):
        tiers(pd.DataFrame())


def test_only_a_negative_price_depends_on_the_model():
    assert depends_on_model({"prompt": "-1"})
    assert not depends_on_model({"prompt": None, "completion": "0"})
