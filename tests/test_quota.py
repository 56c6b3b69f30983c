"""Free calls: counted, spaced if asked to, and refused in words that help."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import FINISH, STREAM, WireServer, delta, whole

import ornb
from ornb import errors, session
from ornb.api.refusals import refusal
from ornb.api.reply import Reply, Timing
from ornb.ledger.quota import FreeQuota, explain, is_counted

NOON = datetime(2026, 8, 22, 12, tzinfo=UTC).timestamp()
FREE = {"model": "acme/orbit:free"}
SENT = Timing(queued_s=0.01)


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self, now=NOON):
        self.now = now
        self.waited = []

    def __call__(self):
        return self.now

    def pause(self, seconds):
        self.waited.append(seconds)
        self.now += seconds
        return False


@pytest.fixture
def clock():
    return Clock()


def ended(counter, error=None, attempts=1, timing=SENT, body=FREE):
    counter.take(body)(Reply(attempts=attempts, timing=timing), error)


def refused(status=429, now=NOON, **error):
    body = json.dumps({"error": {"code": status, **error}}).encode()
    return refusal(status, {}, body, now=datetime.fromtimestamp(now, UTC))


# --- counting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "counted"),
    [
        ({"model": "acme/orbit:free"}, True),
        ({"model": "openrouter/free"}, True),
        ({"model": "acme/orbit:free:online"}, True),
        ({"model": "acme/orbit", "models": ["acme/orbit", "acme/rocket:free"]}, True),
        ({"model": "acme/orbit"}, False),
        ({"model": "acme/free"}, False),
        ({}, False),
        ({"model": None, "models": None}, False),
    ],
)
def test_free_calls_are_told_by_their_model(body, counted):
    assert is_counted(body) is counted
    assert (FreeQuota().take(body) is not None) is counted


def test_calls_count_for_a_minute_and_for_a_day(clock):
    counter = FreeQuota(clock=clock)
    for _ in range(3):
        ended(counter)
    clock.now += 61
    ended(counter)
    facts = counter.facts()
    assert (facts.minute_used, facts.day_used) == (1, 4)
    assert (facts.minute_left, facts.day_left) == (19, 46)
    assert facts.resets_at == datetime(2026, 8, 23, tzinfo=UTC)
    clock.now = facts.resets_at.timestamp()
    assert counter.facts().day_used == 0, "the day is UTC's"


def test_a_call_that_never_left_does_not_count_and_each_attempt_does(clock):
    counter = FreeQuota(clock=clock)
    ended(counter, timing=Timing())
    assert counter.facts().day_used == 0
    ended(counter, attempts=3)
    assert counter.facts().day_used == 3


def test_64_threads_are_all_counted():
    counter = FreeQuota()
    threads = [
        threading.Thread(target=lambda: [ended(counter) for _ in range(20)]) for _ in range(64)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.facts().day_used == 64 * 20


def test_other_kernels_are_counted_through_the_store(clock):
    counter = FreeQuota(clock=clock, elsewhere=lambda since: [NOON - 30, NOON - 3600])
    ended(counter)
    facts = counter.facts()
    assert (facts.minute_used, facts.day_used) == (2, 3)


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "limit", "used"),
    [
        ({"free_model_daily_requests": {"limit": 1000, "used": 12, "remaining": 988}}, 1000, 12),
        ({"is_free_tier": True}, 50, 1),
        ({"is_free_tier": False}, 1000, 1),
        ({"rate_limit": {"requests": -1, "interval": "10s"}}, 50, 1),
        ({"free_model_daily_requests": None}, 50, 1),
        ({"free_model_daily_requests": {"limit": "many"}}, 50, 1),
    ],
)
def test_the_keys_own_figures_are_believed(clock, key, limit, used):
    counter = FreeQuota(clock=clock)
    ended(counter)
    counter.believe(key)
    facts = counter.facts()
    assert (facts.day_limit, facts.day_used) == (limit, used)
    ended(counter)
    assert counter.facts().day_used == used + 1, "and counted on from there"
    clock.now += 86_400
    assert counter.facts().day_used == 0


def test_a_spent_budget_of_the_key_refuses_free_calls_too(clock):
    spent = {"scope": "workspace", "limit_usd": 10, "remaining_usd": 0, "reset_interval": "daily"}
    counter = FreeQuota(clock=clock)
    counter.believe({"effective_budget": {**spent, "resets_at": "2026-12-02T00:00:00Z"}})
    assert counter.facts().refused_by == (
        "$0 of $10.00 a day left (workspace): calls are refused until 2026-12-02 00:00 UTC"
    )
    assert f"\nThe key's budget: {counter.facts().refused_by}" in repr(counter.facts())
    counter.believe({"effective_budget": {**spent, "remaining_usd": 3}})
    assert counter.facts().refused_by is None
    counter.believe({"effective_budget": ["?"], "budgets": {"limit_usd": 0}})
    assert counter.facts().refused_by is None


def test_a_refusal_teaches_the_limits(clock):
    counter = FreeQuota(clock=clock)
    headers = {"X-RateLimit-Limit": "16", "X-RateLimit-Reset": str(int((NOON + 25) * 1000))}
    error = refused(
        message="Rate limit exceeded: free-models-per-min. ", metadata={"headers": headers}
    )
    ended(counter, error)
    facts = counter.facts()
    assert (facts.minute_limit, facts.limits_from) == (16, "refusal")
    assert facts.wait_s == pytest.approx(25)
    assert "used up until 12:00:25 UTC" in repr(facts)


# --- spacing --------------------------------------------------------------------------------------


def test_calls_are_not_held_back_unless_asked(clock):
    counter = FreeQuota(clock=clock)
    for _ in range(100):
        counter.take(FREE, clock.pause)
    assert clock.waited == []


def test_the_limiter_waits_for_the_next_turn(clock):
    counter = FreeQuota(clock=clock, wait=True)
    for _ in range(50):
        counter.take(FREE, clock.pause)
        clock.now += 0.5
    assert clock.waited == pytest.approx([50.0, 50.0])
    assert counter.facts().day_used == 50


@given(st.lists(st.floats(0, 40), min_size=1, max_size=45))
def test_spaced_calls_never_pass_the_minutes_limit(gaps):
    clock = Clock()
    counter = FreeQuota(clock=clock, wait=True)
    left = []
    for gap in gaps:
        clock.now += gap
        counter.take(FREE, clock.pause)
        left.append(clock.now)
    for start in left:
        assert sum(start <= moment < start + 59.999 for moment in left) <= 20


def test_a_clock_that_is_put_back_uses_up_nothing(clock):
    looked = []
    counter = FreeQuota(clock=clock, wait=True, elsewhere=lambda since: looked.append(since) or [])
    for _ in range(50):
        counter.take(FREE, clock.pause)
    clock.now -= 86_400
    before = len(looked)
    counter.take(FREE, clock.pause)
    assert counter.facts().day_used == 1
    assert len(looked) == before + 1, "others are asked by the new clock"


def test_paid_calls_are_never_held_back(clock):
    counter = FreeQuota(clock=clock, wait=True)
    for _ in range(40):
        counter.take({"model": "acme/orbit"}, clock.pause)
    assert clock.waited == []


def test_the_end_of_the_day_is_not_waited_for_but_said(clock):
    counter = FreeQuota(clock=clock, wait=True)
    for _ in range(50):
        counter.take(FREE, clock.pause)
    with pytest.raises(errors.FreeQuotaReached) as caught:
        counter.take(FREE, clock.pause)
    assert isinstance(caught.value, errors.RateLimited)
    assert caught.value.retry_after == pytest.approx(12 * 3600, abs=300)
    assert "acme/orbit:free was not sent" in str(caught.value)
    assert "until 00:00:00 UTC" in str(caught.value)
    assert counter.facts().day_used == 50


def test_shortly_before_midnight_the_new_day_is_waited_for():
    clock = Clock(datetime(2026, 8, 22, 23, 59, tzinfo=UTC).timestamp())
    counter = FreeQuota(clock=clock, wait=True)
    counter.believe({"free_model_daily_requests": {"limit": 50, "used": 50}})
    counter.take(FREE, clock.pause)
    assert clock.waited == [60.0]
    assert counter.facts().day_used == 1


@pytest.mark.parametrize(
    "key",
    [{"free_model_daily_requests": {"limit": 1000, "used": 50}}, {"is_free_tier": False}],
    ids=["limit", "tier"],
)
def test_credits_bought_after_a_refusal_open_the_day_again(clock, key):
    counter = FreeQuota(clock=clock, wait=True)
    ended(counter, refused(message="Rate limit exceeded: free-models-per-day. "))
    counter.believe({"free_model_daily_requests": {"limit": 50, "used": 50}})
    assert counter.facts().wait_s > 3600
    counter.believe(key)
    counter.take(FREE, clock.pause)
    assert sum(clock.waited) <= 60


def test_a_call_given_up_while_it_waits_is_not_counted(clock):
    counter = FreeQuota(clock=clock, wait=True)
    for _ in range(20):
        counter.take(FREE, clock.pause)
    assert counter.take(FREE, lambda seconds: True) is None
    assert counter.facts().day_used == 20


def test_the_next_turn_after_a_refusal_is_waited_for(clock):
    counter = FreeQuota(clock=clock, wait=True)
    ended(counter, errors.RateLimited("free-models-per-min", retry_after=17.0))
    counter.take(FREE, clock.pause)
    assert clock.waited == [17.0]


def test_64_threads_are_spaced_together():
    clock, lock = Clock(), threading.Lock()
    left = []

    def pause(seconds):
        with lock:
            clock.now += max(seconds / 64, 0.1)  # many wait side by side
        return False

    counter = FreeQuota(clock=clock, wait=True)
    counter.believe({"free_model_daily_requests": {"limit": 1000, "used": 0}})

    def call():
        counter.take(FREE, pause)
        left.append(clock())

    threads = [threading.Thread(target=call) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.facts().day_used == 64
    for start in left:
        assert sum(start <= moment < start + 59 for moment in left) <= 20


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "why", "until"),
    [
        ({"message": "Rate limit exceeded: free-models-per-min. "}, "minute", "12:01:00"),
        (
            {"message": "Rate limit exceeded: free-models-per-day. Add 10 credits"},
            "day",
            "00:00:00",
        ),
        (
            {
                "message": "Provider returned error",
                "metadata": {"raw": "x:free is temporarily rate-limited upstream. Please retry"},
            },
            "provider",
            None,
        ),
        (
            {"message": "No", "metadata": {"limit_source": "openrouter_free_tier_daily"}},
            "day",
            "00:00:00",
        ),
        ({"message": "Slow down"}, "unknown", None),
        ({"message": None, "metadata": None}, "unknown", None),
    ],
)
def test_a_refusal_says_when_why_and_what_else(error, why, until):
    told = explain(refused(**error), now=datetime.fromtimestamp(NOON, UTC))
    assert told.why == why
    assert (told.until and f"{told.until:%H:%M:%S}") == until
    assert told.instead
    assert str(told).endswith(told.instead)


def test_refusals_on_record_are_explained(shared_data):
    lines = (shared_data / "quoted" / "errors-quoted.jsonl").read_text().splitlines()
    whys = []
    for quoted in map(json.loads, lines):
        if quoted["http_status"] == 429:
            error = refusal(429, {}, json.dumps(quoted["body"]).encode())
            whys.append(explain(error).why)
    assert set(whys) == {"minute", "day", "provider"}
    assert "unknown" not in whys


# --- the session ----------------------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch):
    counter = FreeQuota()
    monkeypatch.setattr(session.default, "quota", counter)
    yield counter
    ornb.connect(offline=True)


def test_offline_nothing_is_counted(fresh):
    ornb.connect(offline=True)
    listed = ornb.models(free=True).index
    free = next(name for name in listed if name.endswith(":free"))
    ornb.ask("Hi", free)
    assert ornb.quota().day_used == 0


def test_live_free_calls_are_counted_and_the_key_is_asked(fresh):
    key = {"data": {"free_model_daily_requests": {"limit": 1000, "used": 12}}}
    with WireServer([STREAM, delta("A"), FINISH], [whole(key)]) as server:
        ornb.connect("sk-test", base_url=server.url)
        ornb.ask("Hi", "acme/orbit:free")
        facts = ornb.quota(wait=True)
    assert (facts.day_used, facts.day_limit, facts.limits_from) == (12, 1000, "key")
    assert facts.minute_used == 1
    assert facts.waits
    assert "sk-test" not in repr(facts)


def test_until_the_key_is_asked_the_documented_limits_stand(fresh):
    ornb.connect("sk-or-v1-0123456789")
    facts = ornb.quota(ask=False)
    assert (facts.minute_limit, facts.day_limit, facts.limits_from) == (20, 50, "documented")


def unlimited(facts):
    limits = (facts.minute_limit, facts.day_limit, facts.minute_left, facts.day_left)
    assert limits == (None, None, None, None)
    assert facts.limits_from == "unknown"
    assert facts.wait_s == 0
    assert "not OpenRouter" in repr(facts)
    assert "50" not in repr(facts)
    panel = ornb.usage.panel()
    assert panel.free_calls == {}
    panel.close()


@pytest.mark.parametrize("key", ["sk-test-0123", None])
@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
def test_the_limits_of_openrouter_are_not_told_of_another_server(fresh, key, status):
    with WireServer([whole({"data": {"label": "a key of LiteLLM's"}}, status)]) as server:
        ornb.connect(key, base_url=server.url)
        for ask in (False, True, False):
            unlimited(ornb.quota(ask=ask))


def test_calls_to_another_server_are_not_held_back_by_limits_of_openrouter(fresh):
    with WireServer([STREAM, delta("A"), FINISH]) as server:
        ornb.connect("sk-test-0123", base_url=server.url)
        ornb.quota(wait=True, ask=False)
        for _ in range(21):
            ornb.ask("Hi", "acme/orbit:free")
        unlimited(ornb.quota(ask=False))


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (200, {"data": {"free_model_daily_requests": {"limit": 1000, "used": 12}}}),
        (429, {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-day. "}}),
    ],
)
def test_what_one_server_tells_of_its_limits_is_not_told_of_the_next(fresh, status, told):
    with WireServer([whole(told, status)]) as one, WireServer([whole({}, 404)]) as other:
        ornb.connect("sk-test-0123", base_url=one.url, retries=0)
        if status == 429:
            with pytest.raises(errors.RateLimited):
                ornb.ask("Hi", "acme/orbit:free")
            assert ornb.quota(ask=False).last_refusal is not None
        assert ornb.quota(ask=status == 200).limits_from == ("key" if status == 200 else "unknown")
        ornb.connect("sk-test-0123", base_url=other.url)
        unlimited(ornb.quota(ask=False))
        assert ornb.quota(ask=False).last_refusal is None
        ornb.connect("sk-or-v1-0123456789")
        assert ornb.quota(ask=False).limits_from == "documented"


def test_stop_ends_a_call_that_waits_for_its_turn(fresh):
    fresh.wait = True
    with WireServer([STREAM, delta("A"), FINISH]) as server:
        ornb.connect(base_url=server.url)
        fresh._closed_until = fresh._clock() + 60
        stream = ornb.client().stream("Hi", "acme/orbit:free")
        threading.Timer(0.2, stream.close).start()
        assert list(stream) == []
        assert stream.reply.status == "stopped"
        assert server.requests == []
    assert fresh.facts().day_used == 0
