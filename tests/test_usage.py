"""The usage table: a row a call, no call lost, no estimate taken for a bill."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ornb.api.reply import Reply, Timing, Usage
from ornb.errors import ConfigError
from ornb.ledger.table import (
    BOOKS,
    STORED,
    SUMMARY_COLUMNS,
    USAGE_COLUMNS,
    exact_sum,
    frame_of,
    rows_of,
)
from ornb.ledger.tracker import UsageTracker
from tests.page import displayed

TEXT_TYPE = str(pd.Series(["a"]).dtype)  # "str" in pandas 3, "object" before
START = datetime(2026, 8, 22, 12, 0, 0, 123456, tzinfo=UTC)
DOCS = Path(__file__).parents[1] / "docs"
HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(1)">'

WHOLE = Reply(
    text="A cat.",
    usage=Usage(22, 9, 31, reasoning_tokens=5, cached_tokens=2, cost_usd=0.000145),
    timing=Timing(START, 0.01, 0.1, 0.4, 0.6, 2.0, connection_reused=True),
    requested_model="acme/orbit",
    model="acme/orbit-20260801",
    provider="NorthCloud",
    finish_reason="stop",
    generation_id="gen-1",
    http_status=200,
    attempts=1,
    label="lesson 1",
)


def replace(reply=WHOLE, **fields):
    """A reply with other fields; ``cost_usd`` is one of its usage."""
    if "cost_usd" in fields:
        fields["usage"] = Usage(22, 9, 31, cost_usd=fields.pop("cost_usd"))
    return Reply(**{**reply.__dict__, **fields})


@pytest.fixture
def tracker():
    return UsageTracker()


def documented(columns):
    return {n: TEXT_TYPE if d == "str" else d for n, (d, _) in columns.items()}


def dtypes(frame):
    return {name: str(dtype) for name, dtype in frame.dtypes.items()}


# --- rows -----------------------------------------------------------------------------------------


def test_a_call_is_a_row_with_all_its_facts(tracker):
    tracker.record(WHOLE, estimate_usd=0.00015)
    row = tracker.df.iloc[0]
    assert row[list(BOOKS)].isna().all(), "nobody has looked it up"
    not_told = ["cache_write_tokens", "byok_usd", "server_tool_usd", "arrival"]
    assert row[not_told].isna().all()
    assert row.drop([*BOOKS, *not_told]).to_dict() == {
        "started_at": pd.Timestamp(START),
        "label": "lesson 1",
        "model": "acme/orbit",
        "served_model": "acme/orbit-20260801",
        "provider": "NorthCloud",
        "source": "live",
        "prompt_tokens": 22,
        "completion_tokens": 9,
        "reasoning_tokens": 5,
        "cached_tokens": 2,
        "total_tokens": 31,
        "cost_usd": 0.000145,
        "cost_source": "billed",
        "estimate_usd": 0.00015,
        "cost_difference_usd": -0.000005,
        "time_to_first_token_s": 0.4,
        "time_to_first_answer_s": 0.6,
        "duration_s": 2.0,
        "tokens_per_second": 4.5,
        "finish_reason": "stop",
        "status": "ok",
        "error": tracker.df.at[0, "error"],
        "http_status": 200,
        "generation_id": "gen-1",
        "attempts": 1,
    }
    assert pd.isna(tracker.df.at[0, "error"])


def test_a_failed_call_is_a_row_too(tracker):
    tracker.record(Reply(requested_model="acme/orbit", status="error", error="no route to host"))
    row = tracker.df.iloc[0]
    assert (row["status"], row["error"], row["cost_source"]) == (
        "error",
        "no route to host",
        "unknown",
    )
    assert (
        row[["started_at", "prompt_tokens", "cost_usd", "duration_s", "http_status"]].isna().all()
    )


def test_a_call_that_was_not_sent_has_no_source_and_no_bill(tracker):
    """Refused by a budget, say: neither a live call nor an answer of this machine."""
    never_left = Timing(START, duration_s=0.001)
    tracker.record(Reply(status="error", source="local", timing=never_left))
    assert pd.isna(tracker.df.at[0, "source"])
    assert (tracker.df.at[0, "cost_usd"], tracker.df.at[0, "attempts"]) == (0.0, 0)
    assert repr(tracker).splitlines()[0].endswith("1 call · 1 error · 0 → 0 tokens")
    assert "not billed" in displayed(tracker)["text/html"]
    assert "local" not in displayed(tracker)["text/html"]
    tracker.record(replace(attempts=1, source="local"))
    assert tracker.df.at[1, "source"] == "local"


def test_rows_have_documented_types_whatever_was_in_them(tracker):
    assert dtypes(tracker.df) == documented(USAGE_COLUMNS)
    tracker.record(Reply())
    assert dtypes(tracker.df) == documented(USAGE_COLUMNS)
    tracker.record(WHOLE, estimate_usd=1.0)
    assert dtypes(tracker.df) == documented(USAGE_COLUMNS)
    assert tracker.df.index.tolist() == [0, 1]


def test_reading_between_rows_changes_nothing():
    replies = [replace(label=str(n), cost_usd=n / 7, http_status=n) for n in range(50)]
    often, once = UsageTracker(), UsageTracker()
    for n, reply in enumerate(replies):
        often.record(reply)
        once.record(reply)
        if n % 3 == 0:
            assert len(often.df) == len(often) == n + 1
    pd.testing.assert_frame_equal(often.df, once.df)
    assert often.df["label"].tolist() == [str(n) for n in range(50)]


def test_the_table_handed_out_is_the_readers_own(tracker):
    tracker.record(WHOLE)
    mine = tracker.df
    mine.loc[0, "model"] = "mine"
    mine["more"] = 1
    tracker.record(WHOLE)
    assert tracker.df["model"].tolist() == ["acme/orbit", "acme/orbit"]
    assert "more" not in tracker.df


def test_a_moment_keeps_its_microseconds_and_becomes_utc(tracker):
    from datetime import timezone

    elsewhere = START.astimezone(timezone(timedelta(hours=2)))
    for moment in (START, elsewhere, None):
        tracker.record(replace(timing=Timing(moment)))
    assert tracker.df["started_at"].tolist()[:2] == [pd.Timestamp(START)] * 2
    assert tracker.df["started_at"].isna().tolist() == [False, False, True]


def test_no_duration_gives_no_rate(tracker):
    for seconds in (None, 0.0):
        tracker.record(replace(timing=Timing(START, duration_s=seconds)))
    assert tracker.df["tokens_per_second"].isna().all()


def test_forgetting_forgets_all(tracker):
    tracker.record(WHOLE)
    assert len(tracker.df) == 1
    tracker.record(WHOLE)
    tracker.clear()
    assert len(tracker) == len(tracker.df) == 0
    tracker.record(WHOLE)
    assert tracker.df.index.tolist() == [0]


odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(odd, odd, odd, odd, odd)
@example(1, None, 5e-324, None, None)  # a rate beyond the floats
def test_no_reply_is_too_odd_for_a_row(tokens, cost, seconds, words, status):
    tracker = UsageTracker()
    usage = Usage(tokens, tokens, tokens, cost_usd=cost)
    timing = Timing(None, time_to_first_token_s=seconds, duration_s=seconds)
    tracker.record(
        Reply(
            usage=usage, timing=timing, model=words, provider=words, error=words, http_status=status
        ),
        estimate_usd=cost,
    )
    assert dtypes(tracker.df) == documented(USAGE_COLUMNS)
    assert repr(tracker)
    assert displayed(tracker)["text/html"]


def test_a_difference_beyond_the_floats_is_survived(tracker):
    tracker.record(Reply(usage=Usage(cost_usd=1.7e308)), estimate_usd=-1.7e308)
    assert len(tracker.df) == 1


def test_rows_and_frames_turn_into_each_other(tracker):
    tracker.record(WHOLE, estimate_usd=0.00015)
    tracker.record(Reply())
    rows = rows_of(tracker.df)
    assert next(iter(STORED)) == "started_at"
    assert rows[0][0] == START
    assert rows[1][0] is None
    pd.testing.assert_frame_equal(frame_of([*zip(*rows, strict=True)], {}), tracker.df)


# --- threads --------------------------------------------------------------------------------------


def test_16_threads_lose_no_row_and_mix_none(tracker):
    def work(worker):
        for n in range(2000):
            mark = worker * 2000 + n
            usage = Usage(mark, mark, mark, mark, mark, cost_usd=float(mark))
            tracker.record(
                replace(label=str(mark), usage=usage, http_status=mark), estimate_usd=mark
            )

    sizes = []
    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(16)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        sizes.append(len(tracker.df))
    frame = tracker.df
    assert sorted(frame["prompt_tokens"]) == list(range(32_000))
    for column in ("label", "total_tokens", "cost_usd", "estimate_usd", "http_status"):
        assert (frame[column].astype("int64") == frame["prompt_tokens"].astype("int64")).all()
    assert sizes == sorted(sizes)


def test_a_call_that_ends_while_the_table_is_being_made_is_not_lost(tracker, monkeypatch):
    """The garbage collector ends forgotten streams at any moment, also in the thread that reads."""

    class Ends(list):
        def __getitem__(self, place):
            found = super().__getitem__(place)
            if len(self) < 3:
                tracker.record(replace(label="forgotten"))
            return found

    tracker.record(WHOLE)
    monkeypatch.setattr(tracker, "_tail", Ends(tracker._tail))
    worker = threading.Thread(target=lambda: tracker.df, daemon=True)
    worker.start()
    worker.join(60)
    assert not worker.is_alive(), "waits for itself"
    assert tracker.df["label"].tolist()[:2] == ["lesson 1", "forgotten"]


# --- watching -------------------------------------------------------------------------------------


def test_a_watcher_is_called_after_each_row_until_it_stops(tracker):
    sizes = []
    stop = tracker.on_change(lambda: sizes.append(len(tracker.df)))
    tracker.record(WHOLE)
    tracker.record(WHOLE)
    tracker.clear()
    stop()
    stop()
    tracker.record(WHOLE)
    assert sizes == [1, 2, 0]


def test_a_watcher_that_fails_does_not_cost_the_answer(tracker):
    seen = []
    tracker.on_change(lambda: 1 / 0)
    tracker.on_change(lambda: seen.append(1))
    with pytest.warns(RuntimeWarning, match="division by zero"):
        tracker.record(WHOLE)
    assert len(tracker) == 1
    assert seen == [1]


# --- money ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "estimate", "source"),
    [
        (0.5, 0.4, "billed"),
        (0.0, None, "billed"),
        (None, 0.4, "estimated"),
        (None, 0.0, "estimated"),
        (None, None, "unknown"),
    ],
)
def test_a_cost_says_what_it_is(tracker, cost, estimate, source):
    tracker.record(replace(cost_usd=cost), estimate_usd=estimate)
    row = tracker.df.iloc[0]
    assert row["cost_source"] == source
    assert pd.isna(row["cost_usd"]) if cost is None else row["cost_usd"] == cost
    assert pd.isna(row["estimate_usd"]) if estimate is None else row["estimate_usd"] == estimate


def test_sums_keep_bills_and_estimates_apart(tracker):
    tracker.record(replace(cost_usd=0.25), estimate_usd=0.5)
    tracker.record(replace(cost_usd=None), estimate_usd=2.0)
    tracker.record(replace(cost_usd=None))
    row = tracker.summary().loc["acme/orbit"]
    assert row["cost_usd"] == 0.25
    assert row["estimate_usd"] == 2.5
    assert row["cost_unknown"] == 2


def test_a_sum_of_nothing_known_is_unknown_and_not_free(tracker):
    tracker.record(Reply(requested_model="a/b", status="error"))
    row = tracker.summary().loc["a/b"]
    assert row[["cost_usd", "estimate_usd", "prompt_tokens", "median_duration_s"]].isna().all()


@pytest.mark.parametrize("source", ["local", "canned"])
def test_nothing_differs_where_nothing_could_be_billed(tracker, source):
    tracker.record(replace(cost_usd=0.0, source=source), estimate_usd=0.5)
    assert pd.isna(tracker.df.at[0, "cost_difference_usd"])


def test_the_difference_is_that_of_the_decimals(tracker):
    for cost, estimate in ((0.3, 0.1), (0.0076509169, 0.0006509169), (0.00216775, 0.00016775)):
        tracker.record(replace(cost_usd=cost), estimate_usd=estimate)
    assert tracker.df["cost_difference_usd"].tolist() == [0.2, 0.007, 0.002]
    assert tracker.summary()["cost_difference_usd"].tolist() == [0.209]


prices = st.decimals(0, 100, allow_nan=False, places=18).map(float)


@given(st.lists(prices, max_size=30), st.lists(prices, max_size=30), st.randoms())
def test_sums_of_money_are_exact_and_take_any_order(some, more, chance):
    from decimal import Decimal, localcontext

    amounts = [*some, *more]
    with localcontext(prec=60):
        truth = sum((Decimal(repr(amount)) for amount in amounts), Decimal(0))
    if not amounts:
        assert pd.isna(exact_sum(amounts))
        return
    assert exact_sum(amounts) == float(truth) >= 0
    chance.shuffle(amounts)
    assert exact_sum(amounts) == float(truth)
    assert exact_sum([*amounts, float("nan")]) == float(truth), "unknown is not 0, and adds nothing"


def test_a_summary_is_the_exact_sum_whatever_thread_was_first(tracker):
    def work():
        for _ in range(500):
            tracker.record(replace(cost_usd=0.1))

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row = tracker.summary().loc["acme/orbit"]
    assert (row["calls"], row["cost_usd"]) == (32_000, 3200.0)
    added = 0.0
    for _ in range(32_000):  # sum() itself makes up for what is lost, from Python 3.12 on
        added += 0.1
    assert added != 3200.0, "which plain floats do not give"


# --- sums -----------------------------------------------------------------------------------------


def test_a_summary_counts_adds_and_takes_medians(tracker):
    for seconds in (1.0, 2.0, 9.0):
        timing = Timing(START, time_to_first_token_s=seconds / 10, duration_s=seconds)
        tracker.record(replace(timing=timing, cost_usd=0.1))
    tracker.record(replace(status="stopped", timing=Timing()))
    tracker.record(Reply(requested_model="acme/orbit", status="error"))
    row = tracker.summary().loc["acme/orbit"]
    assert row[["calls", "errors", "stopped", "cost_unknown"]].tolist() == [5, 1, 1, 1]
    assert row["total_tokens"] == 4 * 31
    assert row["median_duration_s"] == 2.0
    assert row["median_time_to_first_token_s"] == 0.2


def test_a_summary_has_documented_types_also_without_calls(tracker):
    assert dtypes(tracker.summary()) == documented(SUMMARY_COLUMNS)
    tracker.record(Reply())
    assert dtypes(tracker.summary()) == documented(SUMMARY_COLUMNS)


def test_a_summary_groups_by_several_columns_and_loses_no_call(tracker):
    for source, provider in (("live", "A"), ("live", None), ("recorded", "A"), ("live", "A")):
        tracker.record(replace(source=source, provider=provider))
    summary = tracker.summary(by=["source", "provider"])
    assert summary["calls"].sum() == 4
    assert summary.loc[("live", "A"), "calls"] == 2
    assert summary.index.names == ["source", "provider"]


@pytest.mark.parametrize("by", USAGE_COLUMNS)
def test_a_summary_groups_by_any_column(tracker, by):
    for cost in (0.1, 0.5, 0.1):
        tracker.record(replace(cost_usd=cost), estimate_usd=cost)
    assert tracker.summary(by=by)["calls"].sum() == 3
    assert tracker.summary(by=by)["cost_usd"].iloc[0] == tracker.summary(by=by)["cost_usd"].max()


def test_no_sum_of_tokens_is_below_0_however_many_a_server_tells(tracker):
    for _ in range(3):
        tracker.record(replace(usage=Usage(2**62, 5, 7)))
    summary = tracker.summary().iloc[0]
    assert pd.isna(summary["prompt_tokens"]), "no 64 bits hold it"
    assert summary["completion_tokens"] == 15
    assert f"{3 * 2**62:,} → 15 tokens" in repr(tracker)
    tracker.record(replace(requested_model="a/b", usage=Usage(2**62, 5, 7)))
    assert tracker.summary().loc["a/b", "prompt_tokens"] == 2**62


@pytest.fixture
def week(tracker):
    """A call yesterday, and two today, of which one is by another model."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    yesterday = today - timedelta(hours=1)
    for model, at, usd in (("a/b", yesterday, 0.1), ("a/b", today, 0.2), ("c/d", today, 0.4)):
        timing = Timing(at, duration_s=1.0)
        tracker.record(replace(requested_model=model, timing=timing, cost_usd=usd))
    return tracker


def test_what_was_spent_today_is_one_line(week):
    assert week.summary(since="today")["cost_usd"].to_dict() == {"c/d": 0.4, "a/b": 0.2}
    assert week.summary(until="today")["cost_usd"].to_dict() == {"a/b": 0.1}
    assert week.summary(since="3 days")["calls"].sum() == 3
    assert week.summary(since="yesterday", until="today")["calls"].sum() == 1
    assert week.summary(since=timedelta(days=3))["calls"].sum() == 3


def test_a_summary_by_day_and_model(week):
    summary = week.summary(by=["day", "model"])
    today = pd.Timestamp.now("UTC").normalize()
    assert summary["cost_usd"].to_dict() == {
        (today, "c/d"): 0.4,
        (today, "a/b"): 0.2,
        (today - timedelta(days=1), "a/b"): 0.1,
    }
    assert str(summary.index.levels[0].dtype) == "datetime64[us, UTC]"


@pytest.mark.parametrize(
    ("by", "start"),
    [
        ("hour", "2026-08-22 12:00"),
        ("day", "2026-08-22"),
        ("week", "2026-08-17"),
        ("month", "2026-08-01"),
    ],
)
def test_a_period_is_named_by_its_beginning(tracker, by, start):
    tracker.record(replace(requested_model="a/b"))
    summary = tracker.summary(by=by)
    assert summary.index.tolist() == [pd.Timestamp(start, tz="UTC")]
    assert dtypes(tracker.summary(by, until="2020-01-01")) == documented(SUMMARY_COLUMNS)


@pytest.mark.parametrize(
    "when",
    ["soon", "7 of them", [], "", 10**30, "NaT", "1e400 days", 7, 1.5, np.int64(7), "-2026"],
)
def test_a_time_that_is_none_is_refused(week, when):
    with pytest.raises(ConfigError, match="is no moment"):
        week.summary(since=when)


def test_a_time_may_be_finer_than_the_table(week):
    assert week.summary(since="2026-08-22T12:00:00.123456789")["calls"].sum() == 3


def test_a_summary_tells_where_the_answers_of_each_group_came_from(tracker):
    for model, source in (
        ("a/b", "live"),
        ("a/b", "recorded"),
        ("a/b", "recorded"),
        ("c/d", "canned"),
    ):
        tracker.record(replace(requested_model=model, source=source))
    tracker.record(replace(requested_model="c/d", source=None, status="error"))
    tracker.record(replace(requested_model="e/f", source=None, status="error"))
    sources = tracker.summary()["sources"].to_dict()
    assert sources == {"a/b": "recorded, live", "c/d": "canned", "e/f": ""}


def test_a_summary_by_source_says_the_same_in_its_index(tracker):
    for source in ("live", "recorded"):
        tracker.record(replace(source=source))
    by_source = tracker.summary(by="source")["sources"]
    assert by_source.index.tolist() == by_source.tolist()


def test_the_dearest_comes_first(tracker):
    for model, cost in (("cheap", 0.1), ("unknown", None), ("dear", 5.0)):
        tracker.record(replace(requested_model=model, cost_usd=cost))
    assert tracker.summary().index.tolist() == ["dear", "cheap", "unknown"]


def test_a_summary_of_some_calls_only(tracker):
    for model, cost in (("a/b", 0.1), ("c/d", 0.2), ("a/b", 0.4)):
        tracker.record(replace(requested_model=model, cost_usd=cost))
    some = tracker.df.query("cost_usd > 0.15")
    assert tracker.summary(calls=some)["cost_usd"].to_dict() == {"a/b": 0.4, "c/d": 0.2}
    assert "errors" not in some


@pytest.mark.parametrize(
    "by", ["modle", [], ["model", "nothing like it"], [["day", "model"]], {"model"}, 5, None]
)
def test_no_sums_by_a_column_that_there_is_not(tracker, by):
    for calls in (None, tracker.persist("sqlite://")):
        with pytest.raises(ConfigError, match="column"):
            tracker.summary(by=by, calls=calls)


@pytest.mark.parametrize(
    "calls", ["usage.sqlite3", [], UsageTracker(), pd.DataFrame({"model": ["a/b"]})]
)
def test_what_holds_no_calls_is_not_summed_up(tracker, calls):
    with pytest.raises(ConfigError, match=r"give rows of ornb\.usage\.df"):
        tracker.summary(calls=calls)


def test_a_misspelt_column_is_answered_with_the_right_one(tracker):
    with pytest.raises(ConfigError, match="did you mean 'model'"):
        tracker.summary(by="modle")


# --- the pages ------------------------------------------------------------------------------------


def test_the_page_on_tables_describes_history_and_activity():
    from ornb.ledger.bills import ACTIVITY_COLUMNS
    from ornb.ledger.table import HISTORY_COLUMNS

    page = (DOCS / "tables.md").read_text(encoding="utf-8")
    more = {n: column for n, column in HISTORY_COLUMNS.items() if n not in USAGE_COLUMNS}
    for heading, columns in (("### History", more), ("### Activity", ACTIVITY_COLUMNS)):
        table = page.split(f"\n{heading}\n")[1].split("\n| --- | --- | --- |\n")[1]
        rows = [line.strip("| ").split(" | ") for line in table.split("\n\n")[0].splitlines()]
        assert rows == [[f"`{n}`", dtype, meaning] for n, (dtype, meaning) in columns.items()]


def test_the_page_on_costs_names_what_there_is():
    from ornb.ledger.bound import Quote
    from ornb.ledger.budget import Budget

    page = (DOCS / "costs.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`(?:\w+\.)*(?:quote\(\.\.\.\)\.)?(\w+_usd)`", page))
    columns = {name for name in USAGE_COLUMNS if name.endswith("_usd")}
    assert columns <= names
    assert {"spent_usd", "held_usd", "likely_usd", "worst_usd"} <= names - columns
    for name in names - columns:
        known = [*dir(Budget), *dir(Quote("", 1, 1, (), "")), *dir(Reply)]
        assert name in known


# --- what people see ------------------------------------------------------------------------------


def test_an_empty_tracker_says_so(tracker):
    assert repr(tracker) == "UsageTracker: no calls yet"
    assert "no calls yet" in displayed(tracker)["text/html"]


def test_the_total_tells_bills_from_estimates_and_from_answers_of_this_machine(tracker):
    tracker.record(replace(cost_usd=0.25), estimate_usd=0.3)
    tracker.record(replace(cost_usd=None), estimate_usd=0.125)
    tracker.record(replace(cost_usd=None))
    tracker.record(replace(cost_usd=0.0, source="local"), estimate_usd=7.0)
    tracker.record(replace(cost_usd=0.0, source="canned"), estimate_usd=7.0)
    tracker.record(replace(cost_usd=0.5, source="recorded"))
    tracker.record(replace(cost_usd=None, status="error", error="refused"))
    line = repr(tracker).splitlines()[0]
    assert line == (
        "UsageTracker: 7 calls · 1 error · 154 → 63 tokens · $0.25 billed · "
        "$0.50 when recorded, not billed now · about $0.12 estimated for 1 call · "
        "2 calls of unknown cost · 2 answers from this machine, not billed"
    )


def test_the_last_ten_calls_are_shown(tracker):
    for n in range(12):
        tracker.record(replace(label=f"call {n:02d}"))
    for shown in (repr(tracker), displayed(tracker)["text/html"]):
        assert "call 01" not in shown
        assert "call 02" in shown
        assert "call 11" in shown
    assert "Last 10 of 12 calls" in displayed(tracker)["text/html"]


@pytest.mark.parametrize("source", ["live", "local", "canned", "recorded"])
def test_the_source_of_an_answer_is_shown(tracker, source):
    tracker.record(replace(source=source, cost_usd=0.0))
    assert f">{source}</span>" in displayed(tracker)["text/html"]


def test_who_answered_under_names_of_others_is_said_also_of_recorded_calls(tracker):
    small = "ornb/smollm2-135m-instruct"
    for asked in ("a/one", "b/two"):
        reply = Reply(model=small, requested_model=asked, source="recorded", usage=Usage(1, 2))
        tracker.record(reply)
        said = f"{small} answered" + (" under both names" if asked == "b/two" else "")
        assert repr(tracker).splitlines()[0].endswith(said)
        assert said in displayed(tracker)["text/html"]


def test_text_from_outside_stays_text(tracker):
    tracker.record(
        replace(
            label=HOSTILE,
            requested_model=HOSTILE,
            provider=HOSTILE,
            finish_reason=HOSTILE,
            source=HOSTILE,
        )
    )
    tracker.record(replace(status="error", error=HOSTILE))
    html = displayed(tracker)["text/html"]
    assert "<script" not in html
    assert "<img" not in html
    assert "onerror=&quot;" in html
