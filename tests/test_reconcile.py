"""What calls cost: by the answer, by the listed prices, by the service's own books."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd
import pytest
from cassettes import exchanges
from hypothesis import given, settings
from hypothesis import strategies as st
from wire import FINISH, STREAM, WireServer, delta, whole

import ornb
from ornb import errors
from ornb.api.assembly import Assembly
from ornb.api.client import Client
from ornb.api.reply import Reply, Usage
from ornb.ledger.bills import ACTIVITY_COLUMNS, Bill, activity_to_frame, bills, estimate_reply
from ornb.ledger.tracker import USAGE_COLUMNS, UsageTracker

BOOKS = {
    "id": "gen-1",
    "model": "acme/orbit-20260302",
    "provider_name": "NorthCloud",
    "total_cost": 0.00042,
    "usage": 0.00042,
    "cancelled": True,
    "latency": 512,
    "generation_time": 2310,
    "native_tokens_prompt": 22,
    "native_tokens_completion": 35,
    "native_tokens_reasoning": 7,
    "native_tokens_cached": 0,
}


class Books:
    """Stands for a client: bills that are 404 for the first so many questions."""

    source = "live"

    def __init__(self, late=0, error=None, **records):
        self.late, self.error, self.records = late, error, records
        self.asked, self.slept = [], []

    def generation(self, generation_id):
        self.asked.append(generation_id)
        if self.error is not None:
            raise self.error
        if self.asked.count(generation_id) <= self.late or generation_id not in self.records:
            raise errors.NotFound("Generation not found")
        return self.records[generation_id]

    def reconcile(self, tracker, **options):
        return tracker.reconcile(self, sleep=self.slept.append, **options)


@pytest.fixture
def tracker():
    """Two calls: one that said all, one that was stopped before it could."""
    made = UsageTracker()
    done = Usage(20, 9, 29, cost_usd=0.0001)
    made.record(Reply(requested_model="acme/orbit", usage=done, generation_id="gen-0"))
    made.record(Reply(requested_model="acme/orbit", status="stopped", generation_id="gen-1"))
    return made


# --- filling in -----------------------------------------------------------------------------------


def test_a_stopped_call_gets_its_bill(tracker):
    filled = Books(**{"gen-1": BOOKS}).reconcile(tracker, patience_s=0)
    row = tracker.df.loc[1]
    assert row[["cost_usd", "cost_source", "provider"]].tolist() == [
        0.00042,
        "billed",
        "NorthCloud",
    ]
    assert row[["prompt_tokens", "completion_tokens", "total_tokens"]].tolist() == [22, 35, 57]
    assert row[["native_prompt_tokens", "native_completion_tokens"]].tolist() == [22, 35]
    assert row[["native_reasoning_tokens", "native_cached_tokens"]].tolist() == [7, 0]
    assert row[["server_latency_s", "server_generation_s"]].tolist() == [0.512, 2.31]
    assert row["served_model"] == "acme/orbit-20260302"
    assert datetime.now(UTC) - row["reconciled_at"] < pd.Timedelta(minutes=1)
    assert filled.index.tolist() == [1]
    assert filled["cost_before_usd"].isna().all()
    assert filled.attrs["missing"] == ["gen-0"]
    assert tracker.df.loc[0, "cost_usd"] == 0.0001, "the other one is as it was"


def test_the_books_win_over_the_answer_and_say_so(tracker):
    books = {**BOOKS, "total_cost": 0.5, "provider_name": "SouthCloud"}
    filled = Books(**{"gen-0": books}).reconcile(tracker, patience_s=0)
    assert filled[["cost_usd", "cost_before_usd"]].values.tolist() == [[0.5, 0.0001]]
    row = tracker.df.loc[0]
    assert row["prompt_tokens"] == 20, "what the answer said of its tokens stays"
    assert row["native_prompt_tokens"] == 22


def test_types_stay_as_documented(tracker):
    before = tracker.df.dtypes
    Books(**{"gen-1": BOOKS}).reconcile(tracker, patience_s=0)
    pd.testing.assert_series_equal(tracker.df.dtypes, before)
    assert list(tracker.df) == list(USAGE_COLUMNS)
    tracker.record(Reply())
    pd.testing.assert_series_equal(tracker.df.dtypes, before)
    assert len(tracker.df) == 3


def test_twice_is_like_once(tracker):
    books = Books(**{"gen-0": {**BOOKS, "id": "gen-0"}, "gen-1": BOOKS})
    assert len(books.reconcile(tracker)) == 2
    once = tracker.df
    assert len(books.reconcile(tracker)) == 0
    assert sorted(books.asked) == ["gen-0", "gen-1"], "nobody is asked again"
    pd.testing.assert_frame_equal(tracker.df, once)


def test_a_frame_taken_before_stays_as_it_was(tracker):
    before = tracker.df
    Books(**{"gen-1": BOOKS}).reconcile(tracker, patience_s=0)
    assert before["cost_usd"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    "nothing", [{}, dict.fromkeys(BOOKS), {"total_cost": "soon", "latency": []}]
)
def test_books_that_say_nothing_change_nothing(tracker, nothing):
    Books(**{"gen-0": nothing, "gen-1": nothing}).reconcile(tracker, patience_s=0)
    frame = tracker.df
    assert frame["cost_usd"].tolist()[0] == 0.0001
    assert frame["reconciled_at"].notna().all()
    assert frame["native_prompt_tokens"].isna().all()


def test_recordings_and_calls_of_another_service_are_not_asked_for(tracker):
    for source in ("recorded", "local", "canned"):
        tracker.record(Reply(source=source, generation_id=f"gen-{source}"))
    tracker.record(Reply())  # failed before it had an id
    live = Books()
    live.reconcile(tracker, patience_s=0)
    assert sorted(live.asked) == ["gen-0", "gen-1"]
    offline = Books()
    offline.source = "offline"
    offline.reconcile(tracker, patience_s=0)
    assert sorted(offline.asked) == ["gen-canned", "gen-local"]


def test_watchers_hear_of_bills(tracker):
    changed, seen = [], []
    tracker.on_change(lambda: changed.append(1))
    stop = tracker.on_bill(lambda *bill: seen.append(bill))
    Books(**{"gen-1": BOOKS}).reconcile(tracker, patience_s=0)
    stop()
    Books(**{"gen-0": BOOKS}).reconcile(tracker, patience_s=0)
    assert seen == [("gen-1", 0.00042)]
    assert len(changed) == 2


def test_nobody_to_ask_is_said():
    with pytest.raises(errors.ConfigError, match="nobody to ask"):
        UsageTracker().reconcile()


# --- waiting --------------------------------------------------------------------------------------


def test_bills_that_are_not_there_yet_are_waited_for(tracker):
    books = Books(late=3, **{"gen-1": BOOKS, "gen-0": BOOKS})
    assert len(books.reconcile(tracker)) == 2
    assert books.slept == [1.0, 2.0, 4.0]


def test_waiting_has_an_end(tracker):
    books = Books()
    filled = books.reconcile(tracker, patience_s=30.0)
    assert filled.attrs["missing"] == ["gen-0", "gen-1"]
    assert books.slept == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert sum(books.slept) <= 30.0


def test_a_busy_service_says_how_long_to_wait(tracker):
    books = Books(error=errors.RateLimited("slow down", retry_after=5.0))
    books.reconcile(tracker, patience_s=9.0)
    assert books.slept == [5.0]


def test_a_refusal_keeps_what_was_found(tracker):
    def ask(generation_id):
        if generation_id == "gen-0":
            return BOOKS
        raise errors.AuthenticationError("bad key")

    books = Books()
    books.generation = ask
    with pytest.raises(errors.AuthenticationError):
        books.reconcile(tracker)
    assert tracker.df["reconciled_at"].notna().tolist() == [True, False]


def test_an_interrupt_keeps_what_was_found(tracker):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tracker.reconcile(Books(**{"gen-0": BOOKS}), sleep=interrupt)
    assert tracker.df["reconciled_at"].notna().tolist() == [True, False]


def test_the_same_call_is_asked_for_once():
    asked = []
    list(bills(lambda one: asked.append(one) or {"id": one}, ["gen-1", "gen-1"]))
    assert asked == ["gen-1"]


def test_offline_a_stopped_call_is_reconciled():
    ornb.connect(offline=True)
    ornb.usage.clear()
    simulate = {"simulate": {"tokens": 30, "chunk_s": 0.01}}
    with ornb.client().stream("Hi", "openai/gpt-4o-mini", ornb=simulate) as stream:
        for number, _ in enumerate(stream):
            if number == 3:
                break
    ornb.ask("Hi", "openai/gpt-4o-mini")
    before = ornb.usage.df
    assert before["cost_usd"].isna().tolist() == [True, False]
    filled = ornb.usage.reconcile(sleep=lambda _: __import__("time").sleep(0.2))
    assert filled.attrs["missing"] == []
    after = ornb.usage.df
    assert after["cost_usd"].tolist() == [0.0, 0.0]
    assert (after["server_generation_s"] > 0).all()
    assert after["native_completion_tokens"].tolist()[0] < 30


def test_over_the_wire_the_first_404s_are_waited_through():
    missing = whole({"error": {"code": 404, "message": "Generation not found"}}, 404)
    with WireServer(
        [STREAM, delta("A"), FINISH], [missing], [missing], [whole({"data": BOOKS})]
    ) as server:
        tracker, slept = UsageTracker(), []
        client = Client(base_url=server.url, on_call=tracker.record)
        for _ in client.stream("Hi", "acme/orbit"):
            pass
        tracker.reconcile(client, sleep=slept.append)
        paths = [head.split()[1] for head, _ in server.requests]
    assert slept == [1.0, 2.0]
    assert paths[1:] == [b"/api/v1/generation?id=gen-1"] * 3
    assert tracker.df.loc[0, "cost_usd"] == 0.00042


json_value = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([])


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from([*BOOKS]), json_value))
def test_no_books_are_too_odd_to_read(data):
    bill = Bill.from_json(data)
    assert isinstance(bill.news_for({}), dict)
    tracker = UsageTracker()
    tracker.record(Reply(generation_id="gen-1"))
    tracker.reconcile(Books(**{"gen-1": data}), patience_s=0)
    assert len(tracker.df) == 1


# --- recorded calls -------------------------------------------------------------------------------

DATES = (
    "2025-04-09",
    "2025-06-11",
    "2025-09-24",
    "2025-12-31",
    "2026-03-15",
    "2026-05-01",
    "2026-07-10",
    "2026-08-22",
)
NOT_PRICED = {
    # A tool of the service: the answer's usage says one search, and no listing says its price.
    "web_search_annotations_stream": Decimal("0.007"),
    # A PDF was parsed: the answer's annotations say so, and no listing says its price.
    "file_annotation": Decimal("0.002"),
}
"""Recorded calls that were billed more than their tokens, and the rest, in USD."""


def recorded(shared_data):
    """Each recorded call that was answered, as our own reader reads it."""
    for exchange in exchanges(shared_data):
        if exchange.status != 200:
            continue
        assembly = Assembly(exchange.request["model"])
        lines = exchange.body.decode().splitlines() if exchange.streamed else []
        chunks = [line[6:] for line in lines if line.startswith("data: {")]
        for text in chunks or [exchange.body.decode().strip()]:
            assembly.take(json.loads(text), text, 0.0)
        yield exchange.name, assembly.reply


def catalogues(shared_data):
    found = []
    for date in DATES:
        listed = json.loads((shared_data / "catalogs" / f"catalog-{date}.json").read_text())
        records = listed["data"] if isinstance(listed, dict) else listed
        found.append({record["id"]: record["pricing"] for record in records})
    return found


def test_recorded_bills_agree_with_the_listed_prices_to_the_last_digit(shared_data):
    """Prices change, and the day of a call is not always known: some listing must agree."""
    listings = catalogues(shared_data)
    agreed, silent, beyond = [], [], {}
    for name, reply in recorded(shared_data):
        if reply.cost_usd is None:
            silent.append(name)
            continue
        known = [
            listing[reply.requested_model]
            for listing in listings
            if reply.requested_model in listing
        ]
        estimates = {estimate_reply(pricing, reply) for pricing in known}
        if estimates == {None}:
            beyond[next(key for key in NOT_PRICED if key in name)] = (reply, known)
            continue
        assert reply.cost_usd in {float(amount) for amount in estimates}, name
        assert Decimal(repr(reply.cost_usd)) in estimates, f"{name}: exactly, not only as floats"
        agreed.append(name)
    assert (len(agreed), len(silent)) == (28, 3), "the silent ones are older than the cost field"
    assert set(beyond) == set(NOT_PRICED)
    for key, (reply, known) in beyond.items():
        tokens = {
            estimate_reply(
                pricing,
                Reply(
                    usage=reply.usage.from_json(
                        {
                            "prompt_tokens": reply.usage.prompt_tokens,
                            "completion_tokens": reply.usage.completion_tokens,
                        }
                    )
                ),
            )
            for pricing in known
        }
        rest = {Decimal(f"{reply.cost_usd:.12f}") - amount for amount in tokens}
        assert NOT_PRICED[key] in rest, f"{key}: what is left is a round price of its own"


def test_the_endpoint_that_served_explains_the_bill_where_it_is_listed(shared_data):
    """Prices of endpoints on 2026-08-22; a provider may have several, of which one served."""
    path = shared_data / "endpoints" / "endpoints-2026-08-22T230119Z.json.gz"
    listings = json.loads(gzip.decompress(path.read_bytes()))["endpoints"]
    compared = 0
    for name, reply in recorded(shared_data):
        listed = (listings.get(reply.requested_model) or {}).get("data", {}).get("endpoints", [])
        prices = [each["pricing"] for each in listed if each["provider_name"] == reply.provider]
        estimates = [estimate_reply(pricing, reply) for pricing in prices]
        if reply.cost_usd is None or not any(estimates):
            continue
        assert Decimal(repr(reply.cost_usd)) in estimates, name
        compared += 1
    assert compared == 24


# --- estimates ------------------------------------------------------------------------------------

PRICES = {"prompt": "0.000002", "completion": "0.00001", "web_search": "0.01", "audio": "0.000032"}


def used(prompt=22, completion=9, **details):
    raw = {"prompt_tokens": prompt, "completion_tokens": completion, **details}
    return Reply(usage=Usage.from_json(raw))


def test_searches_are_in_the_estimate_where_their_price_is_listed():
    searched = used(server_tool_use_details={"web_search_requests": 2})
    plain = estimate_reply(PRICES, used())
    assert estimate_reply(PRICES, searched) - plain == Decimal("0.02")
    unlisted = {key: price for key, price in PRICES.items() if key != "web_search"}
    assert estimate_reply(unlisted, searched) is None
    assert (
        estimate_reply(unlisted, used(server_tool_use_details={"web_search_requests": 0})) == plain
    )


def test_audio_and_images_cost_what_they_are_listed_at():
    heard = used(prompt_tokens_details={"audio_tokens": 20})
    assert estimate_reply(PRICES, heard) == Decimal("0.000002") * 2 + Decimal("0.000032") * 20 + (
        Decimal("0.00001") * 9
    )
    drawn = {**PRICES, "image_output": "0.00003"}
    made = used(completion_tokens_details={"image_tokens": 8})
    assert estimate_reply(drawn, made) == Decimal("0.000002") * 22 + Decimal("0.00001") + (
        Decimal("0.00003") * 8
    )


def test_without_prices_there_is_no_estimate():
    assert estimate_reply(None, used()) is None
    assert estimate_reply({"prompt": "-1", "completion": "-1"}, used()) is None
    assert estimate_reply(PRICES, Reply()) is None, "nor without tokens"


# --- activity -------------------------------------------------------------------------------------

DAY = {
    "date": "2026-08-20",
    "model": "acme/orbit",
    "model_permaslug": "acme/orbit-20260302",
    "endpoint_id": "00000000-0000-4000-8000-000000000000",
    "provider_name": "NorthCloud",
    "usage": 0.52,
    "byok_usage_inference": 0,
    "requests": 17,
    "prompt_tokens": 9120,
    "completion_tokens": 4410,
    "reasoning_tokens": 0,
}


def test_activity_is_a_table_newest_day_first():
    frame = activity_to_frame([DAY, {**DAY, "date": "2026-08-21", "cached_tokens": 5}, {}, "odd"])
    documented = {name: dtype for name, (dtype, _) in ACTIVITY_COLUMNS.items()}
    text = str(pd.Series(["a"]).dtype)
    assert {n: str(d) for n, d in frame.dtypes.items()} == {
        name: text if dtype == "str" else dtype for name, dtype in documented.items()
    }
    assert frame["date"].dt.day.tolist()[:2] == [21, 20]
    assert frame.loc[1, ["cost_usd", "requests", "provider"]].tolist() == [0.52, 17, "NorthCloud"]
    assert activity_to_frame([]).dtypes.equals(frame.dtypes)


def test_activity_is_for_management_keys_and_says_what_else_there_is():
    refusal = {"error": {"code": 403, "message": "Only management keys can perform this operation"}}
    with WireServer([whole({"data": [DAY]})], [whole(refusal, 403)]) as server:
        ornb.connect(base_url=server.url)
        try:
            assert ornb.activity(date="2026-08-20")["requests"].tolist() == [17]
            assert b"/activity?date=2026-08-20" in server.requests[0][0]
            with pytest.raises(errors.Forbidden, match=r"ornb\.usage\.history"):
                ornb.activity()
        finally:
            ornb.connect(offline=True)
    assert ornb.activity().empty


def test_an_interrupt_keeps_the_bills_that_were_found():
    class Interrupted(Books):
        def generation(self, generation_id):
            if generation_id == "gen-3":
                raise KeyboardInterrupt
            return super().generation(generation_id)

    tracker = UsageTracker()
    for n in (1, 2, 3):
        tracker.record(Reply(generation_id=f"gen-{n}", status="stopped"))
    with pytest.raises(KeyboardInterrupt):
        Interrupted(**{f"gen-{n}": BOOKS for n in (1, 2)}).reconcile(tracker)
    assert tracker.df["cost_usd"].fillna(-1).tolist() == [0.00042, 0.00042, -1]
