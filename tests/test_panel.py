"""The usage panel without a browser: its sums, its words, its manners, and what stays of it."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ornb
from ornb import session
from ornb.api.reply import Reply, Timing, Usage
from ornb.errors import ConfigError
from ornb.ledger.quota import FreeQuota
from ornb.ledger.totals import LATEST, WINDOW, Running
from ornb.ledger.tracker import UsageTracker
from ornb.notebook import panel as panel_module
from ornb.notebook.live import Pacer
from ornb.notebook.overview import SHOWN_MODELS
from ornb.notebook.panel import UsagePanel
from tests.lab import notebook_of, run_headless
from tests.page import displayed, from_page, until

START = datetime(2026, 8, 22, 12, tzinfo=UTC)
HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(1)">'


def reply(
    cost=0.25, *, model="acme/orbit", source="live", status="ok", seconds=0.4, used=(22, 9), **more
):
    usage = Usage(*used, sum(filter(None, used)), 5, 2, cost_usd=cost)
    timing = Timing(START, time_to_first_token_s=seconds)
    return Reply(
        usage=usage, timing=timing, requested_model=model, source=source, status=status, **more
    )


@pytest.fixture
def tracker():
    return UsageTracker()


@pytest.fixture
def panel(tracker):
    made = UsagePanel(tracker)
    yield made
    made.close()


@pytest.fixture
def free_quota(monkeypatch):
    """What counts the calls of free models."""
    counter = FreeQuota()
    monkeypatch.setattr(session.default, "quota", counter)
    return counter


@pytest.fixture
def ours(monkeypatch, free_quota):
    """The panel of `ornb.usage`, which here is a tracker of the test's own."""
    monkeypatch.setattr(session, "usage", UsageTracker())
    monkeypatch.setattr(session.default.budgets, "_session", [])
    made = session.usage.panel()
    yield made
    made.close()


def tile(panel, name):
    return next(each for each in panel.tiles if each["name"] == name)


# --- sums -----------------------------------------------------------------------------------------

prices = st.none() | st.decimals(0, 50, places=9).map(float)
tokens = st.none() | st.integers(0, 10**9)
calls = st.builds(
    lambda cost, guess, n, seconds, **facts: (
        Reply(
            usage=Usage(*n, None, *n[::-1], cost_usd=cost),
            timing=Timing(START, time_to_first_token_s=seconds),
            **facts,
        ),
        guess,
    ),
    prices,
    prices,
    st.tuples(tokens, tokens),
    st.none() | st.floats(0, 1e6),
    requested_model=st.sampled_from(["a/b", "c/d", None]),
    source=st.sampled_from(["live", "recorded", "local", "canned"]),
    status=st.sampled_from(["ok", "stopped", "error"]),
)
SUMMED = ("calls", "errors", "stopped", "prompt_tokens", "completion_tokens", "reasoning_tokens")


def plain(value):
    return None if pd.isna(value) else value


def assert_sums_are_those_of_the_table(tracker):
    totals, frame = tracker.totals(), tracker.df
    assert totals.calls == len(frame)
    if frame.empty:
        assert totals.groups == {}
        return
    table = tracker.summary(by=["model", "source"])
    rows = {tuple(map(plain, key)): row for key, row in zip(table.index, table.iloc, strict=True)}
    assert set(rows) == set(totals.groups)
    for key, row in rows.items():
        sums = totals.groups[key]
        for name in (*SUMMED, "cached_tokens"):
            assert getattr(sums, name) == plain(row[name])
        for name in ("cost_usd", "estimate_usd"):
            exact = getattr(sums, name)
            assert (None if exact is None else float(exact)) == plain(row[name])
        assert sums.unbilled + sums.unknown == row["cost_unknown"]
        assert sums.median_time_to_first_token_s == plain(row["median_time_to_first_token_s"])
    open_ones = frame[frame["cost_source"] == "estimated"]
    assert totals.of().unbilled == len(open_ones)
    assert totals.of().unknown == (frame["cost_source"] == "unknown").sum()
    shares = [totals.of(source) for source in ("live", "recorded", "local", "canned")]
    assert sum(each.calls for each in shares) == totals.calls


@given(st.lists(calls, max_size=30), st.data())
def test_sums_are_those_of_the_table_however_it_was_read(rows, data):
    tracker = UsageTracker()
    for made, guess in rows:
        tracker.record(made, estimate_usd=guess)
        for act in data.draw(st.sampled_from([(), (), ("totals",), ("df",), ("df", "totals")])):
            getattr(tracker, act) if act == "df" else tracker.totals()
    assert_sums_are_those_of_the_table(tracker)


odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(odd, odd, odd, odd, odd)
def test_no_call_is_too_odd_for_the_panel(count, cost, seconds, words, status):
    tracker = UsageTracker()
    panel = UsagePanel(tracker)
    tracker.record(
        Reply(
            usage=Usage(count, count, count, cost_usd=cost),
            timing=Timing(None, time_to_first_token_s=seconds),
            requested_model=words,
            source=words,
            status=status,
        ),
        estimate_usd=cost,
    )
    from_tail = tracker.totals()
    running = Running()
    running.take_frame(tracker.df)
    assert running.totals() == from_tail
    panel.look()
    json.dumps(panel.get_state(["tiles", "models", "latest", "sources"])).encode()
    assert panel.error == ""
    panel.close()


def test_money_adds_up_to_the_last_digit(tracker):
    for cost in (0.1, 0.2, 1e-9):
        tracker.record(reply(cost))
    assert tracker.totals().of("live").cost_usd == Decimal("0.300000001")


def test_a_bill_takes_the_place_of_what_was_not_known(tracker):
    class Books:
        source = "live"

        def generation(self, generation_id):
            return {"total_cost": 0.25, "native_tokens_prompt": 7, "native_tokens_completion": 3}

    tracker.record(reply(None, status="stopped", used=(None, None), generation_id="gen-1"))
    tracker.record(reply(0.5))
    assert tracker.totals().of("live").unknown == 1
    tracker.record(reply(None, generation_id="gen-2"), estimate_usd=0.125)
    tracker.reconcile(Books())  # gen-2 was not read yet, gen-1 was
    live = tracker.totals().of("live")
    assert (live.cost_usd, live.unknown, live.unbilled) == (Decimal("1.0"), 0, 0)
    assert_sums_are_those_of_the_table(tracker)


def test_what_is_forgotten_is_in_no_sum(tracker, panel):
    tracker.record(reply())
    panel.look()
    tracker.clear()
    panel.look()
    assert (tile(panel, "Calls")["value"], panel.sources, panel.models["rows"]) == ("0", [], [])
    tracker.record(reply())
    assert tracker.totals().calls == 1


def test_a_median_is_that_of_the_last_thousand(tracker):
    for n in range(WINDOW + 500):
        tracker.record(reply(seconds=float(n)))
    seconds, count = tracker.totals().medians["live"]
    assert (seconds, count) == (tracker.df["time_to_first_token_s"].tail(WINDOW).median(), WINDOW)
    assert len(tracker.totals().latest) == LATEST


def test_the_last_digit_holds_while_threads_record_and_read(tracker):
    def record():
        for n in range(500):
            tracker.record(reply(0.1, model=f"acme/{n % 3}"))

    def read():
        while not done.is_set():
            tracker.totals()
            _ = tracker.df

    done = threading.Event()
    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=record) for _ in range(8)]
    for each in (reader, *writers):
        each.start()
    for each in writers:
        each.join()
    done.set()
    reader.join()
    assert tracker.totals().of("live").cost_usd == Decimal("400.0")
    assert_sums_are_those_of_the_table(tracker)


# --- words ----------------------------------------------------------------------------------------


def test_billed_estimated_and_unknown_stay_apart(tracker, panel):
    tracker.record(reply(0.25), estimate_usd=0.5)
    tracker.record(reply(None), estimate_usd=2.0)
    tracker.record(reply(None, status="error"))
    tracker.record(reply(4.0, source="recorded"), estimate_usd=8.0)
    tracker.record(reply(0.0, source="canned"), estimate_usd=16.0)
    panel.look()
    assert tile(panel, "Billed") == {
        "name": "Billed",
        "value": "$0.25",
        "notes": [
            "1 call without a bill",
            "1 call of unknown cost",
            "$4.00 when recorded",
            "1 answer offline, free",
        ],
    }
    assert tile(panel, "Estimated") == {
        "name": "Estimated",
        "value": "$2.50",
        "notes": [
            "by the listed prices",
            "$2.00 of it without a bill",
            "1 call not priced",
            "$8.00 when recorded",
            "$16.00 if offline were live",
        ],
    }


def test_a_live_call_without_a_bill_is_not_shown_as_free(tracker, panel):
    tracker.record(reply(None))
    panel.look()
    assert tile(panel, "Billed")["value"] == "—"
    assert panel.models["rows"][0]["billed"] == "unknown"


def test_sources_are_told_apart_in_every_row(tracker, panel):
    for source in ("canned", "local", "recorded", "live"):
        tracker.record(reply(0.0 if source in ("local", "canned") else 0.5, source=source))
    panel.look()
    assert [each["source"] for each in panel.sources] == ["live", "recorded", "local", "canned"]
    told = {row["source"]: row["billed"] for row in panel.models["rows"]}
    assert told == {
        "live": "$0.50",
        "recorded": "was $0.50",
        "local": "not billed",
        "canned": "not billed",
    }
    assert [each["source"] for each in panel.latest] == ["canned", "local", "recorded", "live"]


def test_who_answered_under_names_of_others_is_said_below_the_models(tracker, panel):
    small = "ornb/smollm2-135m-instruct"
    for source, served in (("live", "acme/orbit-2026"), ("local", small), ("recorded", small)):
        tracker.record(replace(reply(0.0, source=source), model=served))
        panel.look()
        said = "" if source == "live" else f"Answered under other names: by {small}"
        assert panel.models["engines"] == said
    data = displayed(panel)
    assert said in data["text/html"]
    assert said in data["text/plain"]


def test_a_call_that_was_not_sent_counts_under_no_source(tracker, panel):
    never_left = Timing(START, duration_s=0.001)
    for _ in range(2):
        tracker.record(Reply(requested_model="acme/orbit", status="error", timing=never_left))
    panel.look()
    assert [(each["source"], each["calls"]) for each in panel.sources] == [("not sent", "2")]
    tracker.record(reply(0.0, source="local"))
    panel.look()
    assert [each["source"] for each in panel.sources] == ["local", "not sent"]
    row = next(row for row in panel.models["rows"] if row["source"] == "not sent")
    assert (row["calls"], row["ends"], row["billed"]) == ("2", "2 errors", "not billed")
    assert tile(panel, "Billed")["notes"] == ["1 answer offline, free"]
    assert {each["source"] for each in panel.latest} == {"not sent", "local"}
    assert "1 local, 2 not sent" in repr(panel)


def test_tokens_and_ends_are_counted(tracker, panel):
    tracker.record(reply())
    tracker.record(reply(status="error", seconds=None))
    tracker.record(reply(0.0, status="stopped", source="canned"))
    panel.look()
    assert tile(panel, "Tokens") == {
        "name": "Tokens",
        "value": "93",
        "notes": ["66 → 27", "15 of reasoning", "6 from a cache", "31 not live"],
    }
    assert tile(panel, "Calls")["value"] == "3"
    assert tile(panel, "Calls")["notes"] == ["1 error", "1 stopped"]


def test_the_time_to_first_token_is_that_of_live_calls(tracker, panel):
    tracker.record(reply(0.0, source="canned", seconds=0.001))
    panel.look()
    assert tile(panel, "First token")["notes"] == ["median of 1 canned call"]
    tracker.record(reply(seconds=2.0))
    tracker.record(reply(seconds=1.0))
    panel.look()
    assert tile(panel, "First token")["value"] == "1.50 s"
    assert tile(panel, "First token")["notes"] == ["median of 2 live calls"]


def test_many_models_are_counted_below_the_dearest(tracker, panel):
    for n in range(30):
        tracker.record(reply(float(n), model=f"acme/{n}"))
    panel.look()
    rows = panel.models["rows"]
    assert [row["model"] for row in rows] == [f"acme/{n}" for n in range(29, 29 - SHOWN_MODELS, -1)]
    assert panel.models["more"] == 30 - SHOWN_MODELS


def test_open_budgets_are_shown(ours):
    assert ours.budgets == []
    with ornb.budget(4) as block:
        block._spent, block._held = Decimal(1), Decimal(2)
        ours.look()
        (shown,) = ours.budgets
        assert (shown["spent"], shown["kept"], shown["low"]) == (0.25, 0.5, False)
        assert shown["text"].startswith("$1.00 of $4.00 spent")
        with ornb.budget(None), ornb.budget(0):
            ours.look()
            assert [each["limited"] for each in ours.budgets] == [True, False, True]
    ours.look()
    assert ours.budgets == []


def test_a_practice_budget_says_so(ours):
    with ornb.budget(1, practice=True):
        ours.look()
        (shown,) = ours.budgets
        assert shown["name"] == "Practice budget"
        assert shown["text"].endswith("; offline calls are not charged")


def test_free_calls_are_counted(ours, free_quota):
    for _ in range(3):
        free_quota.take({"model": "acme/orbit:free"})
    ours.look()
    assert (ours.free_calls["minute"], ours.free_calls["day"]) == ([3, 20], [3, 50])
    assert "documented limits" in ours.free_calls["note"]


def test_another_tracker_has_no_budget_and_no_quota(panel):
    with ornb.budget(1):
        panel.look()
    assert (panel.budgets, panel.free_calls) == ([], {})


# --- manners --------------------------------------------------------------------------------------


def test_a_call_of_any_thread_is_shown_by_itself(tracker, panel):
    thread = threading.Thread(target=tracker.record, args=(reply(),))
    thread.start()
    until(lambda: tile(panel, "Calls")["value"] == "1")
    thread.join()


def test_a_budget_that_settles_after_its_row_is_shown(ours):
    with ornb.budget(1) as block:
        session.usage.record(reply())
        until(lambda: ours.budgets)
        block._spent = Decimal("0.25")
        until(lambda: ours.budgets[0]["spent"] == 0.25)


def test_a_thousand_calls_are_few_updates(tracker, monkeypatch):
    monkeypatch.setitem(session.default.parts, Pacer, Pacer())
    panel = UsagePanel(tracker)
    seen = []
    panel.observe(lambda change: seen.append(change.new), names=["updated_at"])
    began = time.monotonic()
    for _ in range(1000):
        tracker.record(reply())
    until(lambda: tile(panel, "Calls")["value"] == "1,000")
    took = time.monotonic() - began
    assert len(seen) <= 2 + took / panel_module.GAP_S
    panel.close()


def test_nothing_new_sends_nothing(tracker, panel, monkeypatch):
    tracker.record(reply())
    panel.look()
    at = panel.updated_at
    sent = []
    monkeypatch.setattr(panel.comm, "publish_msg", lambda *said, **_: sent.append(said))
    panel.look()
    assert (sent, panel.updated_at) == ([], at)


class Watched(UsageTracker):
    """A tracker that knows how many listen to it."""

    listeners = 0

    def _counted(self, stop):
        self.listeners += 1

        def leave():
            self.listeners -= 1
            stop()

        return leave

    def on_change(self, callback):
        return self._counted(super().on_change(callback))

    def on_bill(self, callback):
        return self._counted(super().on_bill(callback))


def test_closed_it_listens_no_longer():
    tracker = Watched()
    panel = tracker.panel()
    assert tracker.panel() is panel
    assert tracker.listeners == 2
    panel.close()
    assert tracker.listeners == 0
    panel.close()
    assert tracker.panel() is not panel
    tracker.panel().close()


def test_the_page_may_ask_for_a_look(ours, free_quota):
    free_quota.take({"model": "acme/orbit:free"})
    for content in (None, "look", {"type": "other"}, {"type": "look"}):
        from_page(ours, content)
    until(lambda: ours.free_calls["minute"] == [1, 20])


def refreshed(panel):
    """Have it ask, and wait for the thread that does."""
    before = set(threading.enumerate())
    panel.refresh()
    for thread in set(threading.enumerate()) - before:
        thread.join()


def test_the_key_is_asked_only_after_a_live_call(ours, monkeypatch):
    asked = []
    monkeypatch.setattr(session, "quota", lambda ask=True: asked.append(1) if ask else None)
    session.usage.record(reply(0.0, source="canned"))
    refreshed(ours)
    assert asked == []
    session.usage.record(reply())
    until(lambda: asked == [1])
    refreshed(ours)
    assert asked == [1, 1]


def test_a_database_that_is_gone_is_said_and_not_raised(ours, monkeypatch):
    def gone(_):
        raise ConfigError("the database is gone")

    monkeypatch.setattr(session.default, "quota", FreeQuota(elsewhere=gone))
    session.usage.record(reply())
    until(lambda: ours.error == "the database is gone")


def test_unknown_names_are_refused(tracker):
    with pytest.raises(ConfigError):
        UsagePanel(tracker, colour="red")


# --- what stays -----------------------------------------------------------------------------------


def test_the_twin_says_what_the_panel_says(tracker, panel):
    tracker.record(reply(0.25), estimate_usd=0.5)
    tracker.record(reply(0.0, source="canned"))
    panel.look()
    html, text = displayed(panel)["text/html"], repr(panel)
    for words in ("$0.25", "by the listed prices", "62", "1 live, 1 canned", " UTC"):
        assert words in html
        assert words in text
    assert "acme/orbit" in html
    assert html.count("<table>") == 2


def test_keeping_the_calls_is_offered_from_the_start_and_then_no_more(ours):
    """Before it is too late: with the first call, and in the panel before that."""
    offer, kept = "ornb.usage.persist() keeps them", "Kept beyond this kernel: ornb.usage.history()"
    assert offer in ours.kept
    session.usage.record(reply(0.25))
    ours.look()
    for shown in (repr(ours), displayed(ours)["text/html"]):
        assert shown.count(offer) == 1
    for shown in (repr(session.usage), displayed(session.usage)["text/html"]):
        assert shown.count(".persist() keeps them") == 1
    session.usage.persist("sqlite://")
    until(lambda: ours.kept == kept)
    assert kept in repr(ours)
    assert "persist" not in repr(session.usage) + displayed(session.usage)["text/html"]


def test_the_twin_of_nothing_is_one_line(panel):
    assert repr(panel) == "Usage: no calls yet"
    assert "no calls yet" in displayed(panel)["text/html"]


def test_words_from_outside_are_escaped_and_dollars_are_no_formulas(tracker, panel):
    tracker.record(reply(model=HOSTILE))
    panel.look()
    html = displayed(panel)["text/html"]
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html
    assert "mathjax_ignore" in html
    assert "mathjax_ignore" in displayed(tracker)["text/html"]


def test_the_usage_table_has_the_estimate_beside_the_bill(tracker):
    tracker.record(reply(0.25), estimate_usd=0.5)
    tracker.record(reply(None), estimate_usd=2.0)
    shown = displayed(tracker)["text/html"]
    assert shown.index(">billed<") < shown.index(">estimated<")
    assert 'title="$0.25">$0.25</td><td class="ornb-right" title="$0.50">$0.50<' in shown
    assert 'title="unknown">unknown</td><td class="ornb-right" title="$2.00">$2.00<' in shown


def test_a_notebook_run_without_a_browser_keeps_the_last_figures(tmp_path):
    made = run_headless(
        notebook_of(
            [
                "import ornb\nornb.connect(offline=True)\nornb.usage.panel()",
                "import time\n"
                "replies = [ornb.ask('Hi', 'openai/gpt-4o-mini') for _ in range(3)]\n"
                "time.sleep(2)  # all is quiet before the cell ends",
            ]
        ),
        tmp_path,
    )
    static = made.cells[0].outputs[0]["data"]
    assert "3 canned" in static["text/plain"]
    assert "openai/gpt-4o-mini" in static["text/html"]
    widget = made.cells[0].outputs[1]["data"]
    assert "application/vnd.jupyter.widget-view+json" in widget
    assert "needs a running kernel" in widget["text/plain"]
