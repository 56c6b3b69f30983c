"""The price history: what was listed on each day, exactly, and what changed in between."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import WireServer, whole

import ornb
from ornb import catalog_at, catalog_changes, price_at, price_history, pricing
from ornb.api.client import OPENROUTER
from ornb.catalog import MODEL_COLUMNS, journal, noted, refresh, to_frame
from ornb.catalog.changes import CHANGE_COLUMNS, CHANGES
from ornb.catalog.observations import CATALOG_COLUMNS
from ornb.catalog.prices import PRICE_AT_COLUMNS, PRICE_HISTORY_COLUMNS, newest_price
from ornb.errors import CatalogError, ConfigError
from ornb.offline import OfflineServer
from ornb.offline.snapshot import build, load

DAYS = [
    *["2025-04-09", "2025-06-11", "2025-09-24", "2025-12-31"],
    *["2026-03-15", "2026-05-01", "2026-07-10", "2026-08-22"],
]
TEXT_TYPE = str(pd.Series(["a"]).dtype)
FREE = {"prompt": "0", "completion": "0"}


def recorded(shared_data, day):
    answer = json.loads((shared_data / "catalogs" / f"catalog-{day}.json").read_text())
    return answer["data"] if isinstance(answer, dict) else answer


def models(*records, day="2026-11-01"):
    """A models frame of made-up records."""
    return to_frame(list(records), source="snapshot", snapshot=day)


def priced(model_id, prompt, completion, **fields):
    prices = {"prompt": str(prompt), "completion": str(completion)}
    return {"id": model_id, "pricing": prices, **fields}


def kinds(changes):
    return list(zip(changes["change"], changes["id"], strict=True))


def today(**changed):
    """Today's models frame, as the snapshot has it, with some records exchanged for others."""
    records = [{**each, **changed.get(each["id"], {})} for each in load().models]
    return models(*[each for each in records if each["id"] is not None])


# --- the bundled journal --------------------------------------------------------------------------


def test_it_knows_the_days_on_which_the_catalogue_was_recorded():
    assert list(journal.read()) == DAYS


@pytest.mark.parametrize("day", DAYS)
def test_every_recorded_catalogue_comes_back_exactly(shared_data, day):
    raw = {model["id"]: model for model in recorded(shared_data, day)}
    known = journal.read()[day]
    assert set(known) == set(raw)
    for model_id, model in raw.items():
        for key in ("prompt", "completion"):
            assert Decimal(known[model_id][key]) == Decimal(model["pricing"][key]), model_id
        assert known[model_id].get("context", 0) == (model["context_length"] or 0)
        assert known[model_id]["created"] == model["created"]


@pytest.mark.parametrize("day", DAYS)
def test_a_past_day_is_the_models_table_of_that_day(shared_data, day):
    """Also which models are free, and what they take: all that the history carries of the table."""
    expected = to_frame(recorded(shared_data, day)).sort_index()
    past = catalog_at(day).sort_index()
    for side in ("input_modalities", "output_modalities"):  # their order is no fact
        expected[side] = expected[side].map(lambda names: tuple(sorted(names)))
    pd.testing.assert_frame_equal(past, expected[list(CATALOG_COLUMNS)], check_exact=True)
    assert past.attrs["snapshot"] == day


def test_the_last_day_is_that_of_the_offline_snapshot():
    """Made from the same answers; else the newest point would change nothing but the figures."""
    day = load()
    assert journal.distil(day.models) == journal.read()[day.date]


def test_building_it_again_gives_the_same_bytes(shared_data, tmp_path):
    output = tmp_path / "again.jsonl"
    arguments = ["--new", "--folder", shared_data / "catalogs", "--journal", output]
    assert refresh.main(list(map(str, arguments))) == 0
    assert output.read_bytes() == journal.BUNDLED.read_bytes()


def test_it_is_small():
    data = journal.BUNDLED.read_bytes()
    assert len(data) < 300_000
    assert len(gzip.compress(data)) < 50_000  # what it adds to the wheel


def test_it_carries_facts_and_no_prose():
    facts = {key for day in journal.read().values() for known in day.values() for key in known}
    names = {"name", "prompt", "completion", "context", "created", "family", "slug", "alias"}
    assert facts == names | {"input", "output"}


def test_it_is_packed_with_the_package():
    """The build takes every file of the package that git does not ignore."""
    command = ["git", "check-ignore", "--quiet", str(journal.BUNDLED)]
    if shutil.which("git") is None:
        pytest.skip("no git here")
    done = subprocess.run(command, cwd=journal.BUNDLED.parent, check=False, capture_output=True)
    assert done.returncode != 0


# --- any journal ----------------------------------------------------------------------------------

VALUES = st.one_of(
    st.text(max_size=8), st.integers(0, 10**9), st.lists(st.text(max_size=5), min_size=1)
)
FACTS = st.dictionaries(st.sampled_from(["prompt", "context", "input", "name"]), VALUES)
CATALOGUES = st.dictionaries(st.text(max_size=6), FACTS, max_size=6)


@given(CATALOGUES, CATALOGUES)
def test_what_differs_turns_one_catalogue_into_the_other(before, after):
    lines = journal.differences(before, after)
    assert journal.apply(before, json.loads(json.dumps(lines))) == after
    assert (lines == []) == (before == after)


@given(st.lists(CATALOGUES, max_size=4))
def test_what_is_written_is_read(tmp_path_factory, catalogues):
    path = tmp_path_factory.mktemp("journal") / "some.jsonl"
    days = {f"2026-01-{n + 1:02}": catalogue for n, catalogue in enumerate(catalogues)}
    assert journal.write(days, path) == path.stat().st_size
    assert journal.read(path) == days


@given(st.decimals("0", "0.01", places=22).map(lambda price: f"{price:f}"))
def test_a_price_is_carried_to_its_last_digit(text):
    known = journal.distil([priced("a/b", text, text)])["a/b"]
    assert Decimal(known["prompt"]) == Decimal(text)
    back = to_frame([journal.record("a/b", known)])
    listed = to_frame([priced("a/b", text, text)])
    assert back["prompt_usd_per_million"].equals(listed["prompt_usd_per_million"])


def test_another_spelling_of_a_price_is_no_change():
    spelled = [journal.distil([priced("a/b", text, "0")]) for text in ("0.0000010", "1e-6")]
    assert spelled[0] == spelled[1]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
KEYS = ["name", "created", "context_length", "architecture", "pricing", "canonical_slug"]


@given(st.dictionaries(st.sampled_from(KEYS), JSON))
def test_odd_records_are_distilled_to_what_can_be_written(tmp_path_factory, record):
    days = {"2026-01-01": journal.distil([{"id": "a/b", **record}])}
    path = tmp_path_factory.mktemp("journal") / "odd.jsonl"
    journal.write(days, path)
    assert journal.read(path) == days


def test_a_new_day_is_only_appended(tmp_path):
    """So that a diff shows what was observed, and nothing else."""
    days = journal.read()
    paths = tmp_path / "before.jsonl", tmp_path / "after.jsonl"
    journal.write(days, paths[0])
    moved = journal.distil([priced("lab/new", "0.000001", "0")]) | days[DAYS[-1]]
    journal.write(days | {"2026-11-01": moved}, paths[1])
    assert paths[1].read_bytes().startswith(paths[0].read_bytes())
    assert paths[1].read_text().splitlines()[-2:] == [
        f'["day","2026-11-01",{len(moved)}]',
        '["+","lab/new",{"prompt":"0.000001","completion":"0"}]',
    ]


TITLE = '["ornb price history",1]\n'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        '["another file",1]\n',
        '["ornb price history",2]\n',
        TITLE + '["+","a/b",{}]\n',
        TITLE + '["day","2026-01-01",2]\n["+","a/b",{}]\n',
        TITLE + '["day","2026-01-01",0]\n["-","a/b"]\n',
        TITLE + '["day","2026-01-01",1]\n["?","a/b"]\n',
        TITLE + '["day","yesterday",0]\n',
        TITLE + "[]\n",
        TITLE + "7\n",
    ],
    ids=[
        *["empty", "no-json", "another", "newer", "no-day", "count", "never-there", "kind"],
        *["no-date", "empty-line", "number"],
    ],
)
def test_a_damaged_journal_is_a_catalogue_error(tmp_path, text):
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(CatalogError, match="cannot be read"):
        journal.read(path)


def test_a_journal_that_is_not_there_is_a_catalogue_error(tmp_path):
    with pytest.raises(CatalogError, match="cannot be read"):
        journal.read(tmp_path / "none.jsonl")


# --- prices over time -----------------------------------------------------------------------------


def test_a_price_has_the_interval_in_which_it_changed():
    history = price_history("deepseek/deepseek-r1")
    assert history["prompt_usd_per_million"].tolist()[:3] == [0.54, 0.45, 0.4]
    changed = history[history["event"] == "changed"].iloc[0]
    days = [str(changed[name].date()) for name in ("not_before", "date", "seen_until")]
    assert days == ["2025-04-09", "2025-06-11", "2025-06-11"]


def test_a_row_holds_until_the_next_one():
    history = price_history(live=False)
    assert not history.duplicated(["id", "date"]).any()
    observed = pd.to_datetime(history.attrs["observed"])
    for _, rows in history[history["event"] != "still listed"].groupby("id"):
        follows = rows["not_before"].iloc[1:].tolist()
        assert follows == rows["seen_until"].iloc[:-1].tolist()
        assert rows["seen_until"].iloc[-1] == observed[-1]


def test_the_history_gives_every_observed_price_back(shared_data):
    history = price_history(live=False)
    history = history[history["event"] != "still listed"]
    for day in DAYS:
        at = pd.Timestamp(day, tz="UTC")
        valid = history[(history["date"] <= at) & (history["seen_until"] >= at)]
        valid = valid[valid["event"] != "gone"].set_index("id")
        expected = to_frame(recorded(shared_data, day))
        assert set(valid.index) == set(expected.index)
        for name in ("prompt_usd_per_million", "completion_usd_per_million", "context_length"):
            pd.testing.assert_series_equal(valid[name].sort_index(), expected[name].sort_index())


def test_a_model_that_went_and_came_back_says_so():
    history = price_history("mistralai/ministral-8b")
    events = history["event"].tolist()
    assert events[0] == "first seen"
    assert events[-2:] == ["gone", "back"]
    gone = history.iloc[-2]
    assert pd.isna(gone["prompt_usd_per_million"])
    assert pd.isna(gone["is_free"])


def test_a_model_that_stays_as_it_was_ends_with_the_newest_observation():
    last = price_history("openai/gpt-4o-mini").iloc[-1]
    assert (last["event"], last["source"], str(last["date"].date())) == (
        "still listed",
        "snapshot",
        "2026-08-22",
    )


def test_todays_catalogue_is_told_apart_from_what_was_recorded():
    assert set(price_history()["source"]) == {"recorded", "snapshot", noted.BY}
    assert set(price_history(live=False)["source"]) == {"recorded"}


def test_todays_catalogue_joins_as_the_newest_point():
    half = {"pricing": {"prompt": "0.000000075", "completion": "0.0000003"}}
    history = price_history("openai/gpt-4o-mini", live=today(**{"openai/gpt-4o-mini": half}))
    last = history.iloc[-1]
    assert (last["event"], last["prompt_usd_per_million"]) == ("changed", 0.075)
    assert str(last["not_before"].date()) == "2026-08-22"
    assert str(last["date"].date()) == "2026-11-01"


def test_a_model_that_vanished_since_the_snapshot_is_gone():
    now = today(**{"openai/gpt-4o-mini": {"id": None}})
    history = price_history("openai/gpt-4o-mini", live=now)
    assert history.iloc[-1]["event"] == "gone"
    then = price_at("openai/gpt-4o-mini", "2026-01-01", live=now)
    assert then["note"].item() == "no longer listed; last seen on 2026-08-22"


@pytest.mark.parametrize("url", [None, OPENROUTER])
def test_a_catalogue_whose_ids_are_a_column_joins_as_well(url):
    """By its position as an id, each model would be gone today."""
    now = today()
    now.attrs["url"] = url
    history = price_history("openai/gpt-4o-mini", live=now)
    assert history["event"].iloc[-1] == "still listed"
    as_column = price_history("openai/gpt-4o-mini", live=now.reset_index())
    pd.testing.assert_frame_equal(as_column, history)


def test_a_model_of_today_that_was_never_recorded_is_known():
    new = to_frame([*load().models, priced("lab/new", "0.000001", "0.000002")], snapshot="x")
    new.attrs["snapshot"], new.attrs["source"] = "2026-11-01", "snapshot"
    assert price_history("lab/new", live=new)["event"].tolist() == ["first seen"]


def test_the_live_catalogue_joins_with_its_time():
    with WireServer([whole({"data": load().models})]) as server:
        ornb.connect("k", server.url)
        try:
            last = price_history("openai/gpt-4o-mini").iloc[-1]
        finally:
            ornb.connect(offline=True)
    assert (last["event"], last["source"]) == ("still listed", "live")
    assert last["date"] > pd.Timestamp("2026-08-22", tz="UTC")


def test_another_service_does_not_join():
    with WireServer([whole({"data": [{"id": "llama3:latest"}]})]) as server:
        ornb.connect(base_url=server.url)
        try:
            history = price_history("openai/gpt-4o-mini")
            changes = catalog_changes("2026-08-01")
        finally:
            ornb.connect(offline=True)
    assert history["source"].iloc[-1] == "recorded"
    assert "is not OpenRouter's" in history.attrs["notes"][0]
    assert "is not OpenRouter's" in changes.attrs["notes"][-1]
    assert str(changes["date"].iloc[0].date()) == "2026-08-22"


def test_a_service_that_is_not_there_is_noted_and_the_rest_is_shown():
    ornb.connect(base_url="http://127.0.0.1:9/v1", retries=0)
    try:
        history = price_history("openai/gpt-4o-mini")
    finally:
        ornb.connect(offline=True)
    assert len(history) > 1
    assert "Today's catalogue is missing" in history.attrs["notes"][0]


def test_since_keeps_the_price_that_held_then():
    history = price_history("deepseek/deepseek-r1", since="2025-10-15", until="2026-01-31")
    assert [str(day.date()) for day in history["date"]] == ["2025-12-31"]
    history = price_history("openai/gpt-4o-mini", since="2025-10-15", until="2026-01-31")
    assert history["prompt_usd_per_million"].tolist() == [0.15]


def test_until_is_included():
    dates = price_history("deepseek/deepseek-r1", until="2025-06-11")["date"]
    assert [str(day.date()) for day in dates] == ["2025-04-09", "2025-06-11"]


def test_until_the_end_of_the_calendar_is_until_now():
    later = price_history("deepseek/deepseek-r1", until="9999-12-31")
    pd.testing.assert_frame_equal(later, price_history("deepseek/deepseek-r1"))


def test_a_range_without_an_observation_says_where_the_history_ends():
    history = price_history("openai/o3", since="2030-01-01")
    assert len(history) == 0
    assert "2026-08-22" in history.attrs["notes"][0]


def test_ids_may_come_from_a_table_or_a_picker():
    ids = ["openai/gpt-4o", "openai/o3", "openai/gpt-4o"]
    expected = ["openai/gpt-4o", "openai/o3"]
    some_chosen_by_the_service = pd.Series([*ids, None], dtype=ornb.usage.df["model"].dtype)
    in_tables = (pd.Series(ids), pd.Index(ids), some_chosen_by_the_service)
    for given_as in (ids, *in_tables, tuple(ids), (each for each in ids)):
        assert price_history(given_as)["id"].unique().tolist() == expected
    picker = type("Picker", (), {"value": "openai/o3"})()
    assert set(price_history(picker)["id"]) == {"openai/o3"}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: price_history("openai/gpt4o"), "did you mean 'openai/gpt-4o'"),
        (lambda: price_history(7), "ids=7 is no id"),
        (lambda: price_history([None]), "ids=None is no id"),
        (lambda: price_history(until="2024-01-01"), "begins on 2025-04-09"),
        (lambda: price_history(since="2026-01-01", until="2025-06-01"), "exchange the two"),
        (lambda: price_history(since="soon"), "'soon' is no date"),
        (lambda: price_history(since=2025), "2025 is no date"),
        (lambda: price_history(since=pd.Series([2025])[0]), "is no date"),
        (lambda: price_history(live="yes"), "live='yes'"),
        (lambda: price_history(live=pd.DataFrame({"a": [1]})), "prompt_usd_per_million"),
        (lambda: price_at("openai/o3", "2025-01-01"), "begins on 2025-04-09"),
        (lambda: price_at("nobody/nothing", "2026-01-01"), "was never seen"),
        (lambda: catalog_at("2025-01-01"), "begins on 2025-04-09"),
        (lambda: catalog_at(None), "is no date"),
        (lambda: catalog_at("2026-01-01", tools=True), "does not carry what 'tools'"),
        (lambda: catalog_at("2026-01-01", fre=True), "did you mean 'free'"),
        (lambda: catalog_changes("2024-12-31", "2026-01-01"), "begins on 2025-04-09"),
        (lambda: catalog_changes("2026-08-22", "2025-08-22"), "the older one first"),
        (lambda: catalog_changes(pd.DataFrame({"id": ["a"]})), "prompt_usd_per_million"),
    ],
)
def test_what_cannot_be_asked_is_said_in_words(call, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        call()


# --- one day against today ------------------------------------------------------------------------


def test_what_models_cost_a_year_ago():
    then = price_at(["deepseek/deepseek-r1", "openai/gpt-5.1", "openrouter/auto"], "2025-05-01")
    row = then.loc["deepseek/deepseek-r1"]
    assert (row["prompt_usd_per_million"], row["completion_usd_per_million"]) == (0.54, 2.18)
    assert (row["prompt_usd_per_million_now"], row["completion_usd_per_million_now"]) == (0.7, 2.5)
    assert row["price_ratio"] == pytest.approx((3 * 0.7 + 2.5) / (3 * 0.54 + 2.18), rel=1e-15)
    assert then["listed"].tolist() == [True, False, True]
    assert then["note"].tolist() == [
        "",
        "not listed then; first seen on 2025-12-31",
        "a router then: the model it chose set the price",
    ]
    assert then.attrs["notes"] == [
        "2025-05-01 was asked for; the last observation before it, of 2025-04-09, is taken.",
        f"The newest prices are {days_old('2026-08-22')}.",
    ]


def test_a_model_between_two_appearances_says_until_when_it_was_seen():
    then = price_at("mistralai/ministral-8b", "2026-04-01")
    assert then["note"].item() == "not listed then; seen until 2025-12-31"


def test_every_model_of_a_day_can_be_asked_at_once():
    assert len(price_at(None, "2025-04-09")) == 292


# --- two catalogues -------------------------------------------------------------------------------

CHEAP = priced("lab/a", "0.000001", "0.000002", context_length=8192)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ([CHEAP], []),
        ([], [("removed", "lab/a")]),
        ([CHEAP, priced("lab/b", 0, 0)], [("added", "lab/b")]),
        ([CHEAP | priced("lab/a", "0.000001", "0.000003")], [("dearer", "lab/a")]),
        ([CHEAP | priced("lab/a", "0.0000005", "0.000002")], [("cheaper", "lab/a")]),
        ([CHEAP | priced("lab/a", "0.000002", "0.000001")], [("repriced", "lab/a")]),
        ([CHEAP | priced("lab/a", "-1", "-1")], [("repriced", "lab/a")]),
        ([CHEAP | priced("lab/a", 0, 0)], [("now free", "lab/a")]),
        ([CHEAP | {"context_length": 4096}], [("context changed", "lab/a")]),
        ([CHEAP | {"context_length": None}], []),
        (
            [CHEAP | priced("lab/a", "0.000002", "0.000002", context_length=16384)],
            [("dearer", "lab/a"), ("context changed", "lab/a")],
        ),
    ],
)
def test_a_change_has_its_kind(after, expected):
    assert kinds(catalog_changes(models(CHEAP), models(*after))) == expected


def test_a_free_model_that_got_a_price_is_followed_to_its_new_id():
    before = models(priced("lab/a:free", 0, 0, canonical_slug="lab/a-2026"))
    after = models(priced("lab/a", "0.000001", "0.000001", canonical_slug="lab/a-2026"))
    changes = catalog_changes(before, after)
    assert kinds(changes) == [("renamed", "lab/a:free"), ("no longer free", "lab/a:free")]
    assert set(changes["now_as"]) == {"lab/a"}
    assert changes["price_ratio"].isna().all()


def test_a_removed_model_names_the_id_that_is_left_of_it():
    paid = priced("lab/a", "0.000001", "0.000001")
    changes = catalog_changes(models(paid, priced("lab/a:free", 0, 0)), models(paid))
    assert kinds(changes) == [("removed", "lab/a:free")]
    assert changes["now_as"].item() == "lab/a"


def test_a_row_of_the_batch_api_is_no_new_name():
    before = models(priced("lab/a", "0.000002", "0.000002"))
    after = models(priced("lab/a:batch", "0.000001", "0.000001"))
    assert {kind for kind, _ in kinds(catalog_changes(before, after))} == {"removed", "added"}


def test_the_largest_change_of_a_kind_comes_first():
    before = models(priced("lab/a", "0.001", "0"), priced("lab/b", "0.001", "0"))
    after = models(priced("lab/a", "0.002", "0"), priced("lab/b", "0.009", "0"))
    changes = catalog_changes(before, after)
    assert changes["id"].tolist() == ["lab/b", "lab/a"]
    assert changes["price_ratio"].tolist() == [9, 2]


@given(st.data())
def test_changes_applied_to_the_first_table_give_the_second(data):
    prices = st.integers(0, 3).map(lambda units: f"{units}e-6")
    listed = st.dictionaries(
        st.sampled_from(["lab/a", "lab/b", "other/c", "other/d"]),
        st.tuples(prices, prices, st.sampled_from([4096, 8192])),
    )
    first, second = (
        models(*[priced(i, p, c, context_length=n) for i, (p, c, n) in data.draw(listed).items()])
        for _ in range(2)
    )
    changes = catalog_changes(first, second)
    names = ["prompt_usd_per_million", "completion_usd_per_million", "context_length"]
    made = {i: tuple(row) for i, row in zip(first.index, first[names].to_numpy(), strict=True)}
    for _, row in changes.iterrows():
        after = tuple(row[f"{name}_after"] for name in names)
        made.pop(row["id"], None)
        if row["change"] != "removed":
            made[row["id"]] = after
    assert made == {
        i: tuple(row) for i, row in zip(second.index, second[names].to_numpy(), strict=True)
    }


def test_each_change_says_which_observations_were_compared():
    changes = catalog_changes("2025-08-22", "2026-08-30")
    assert {str(day.date()) for day in changes["not_before"]} == {"2025-06-11"}
    assert {str(day.date()) for day in changes["date"]} == {"2026-08-22"}
    assert len(changes.attrs["notes"]) == 2
    assert changes.attrs["source"] == "recorded on 2025-06-11, recorded on 2026-08-22"
    changes = catalog_changes("2025-06-11")
    assert changes.attrs["source"] == "recorded on 2025-06-11, snapshot of 2026-08-22"


def test_two_dates_of_one_observation_have_no_change_and_say_why():
    changes = catalog_changes("2025-06-12", "2025-09-01")
    assert len(changes) == 0
    assert "nothing was seen in between" in changes.attrs["notes"][-1]


def test_two_rows_of_one_model_are_said_and_the_first_counts():
    frame = pd.concat([models(CHEAP), models(priced("lab/a", "0.5", "0.5"))])
    changes = catalog_changes(frame, models(CHEAP))
    assert len(changes) == 0
    assert changes.attrs["notes"] == ["'lab/a' is listed twice; its first row counts."]


def test_a_table_with_nothing_but_ids_and_prices_will_do():
    columns = ["prompt_usd_per_million", "completion_usd_per_million"]
    frame = models(CHEAP)[columns].reset_index()
    dearer = frame.assign(prompt_usd_per_million=[3.0])
    assert kinds(catalog_changes(frame, dearer)) == [("dearer", "lab/a")]


def test_known_facts_of_the_summer_of_2025():
    changes = catalog_changes("2025-04-09", "2025-06-11")
    assert changes["change"].value_counts()[["added", "removed", "renamed"]].tolist() == [77, 45, 1]
    moved = changes[changes["change"] == "renamed"].iloc[0]
    assert moved["id"] == "google/gemini-2.5-pro-exp-03-25:free"
    assert moved["now_as"] == "google/gemini-2.5-pro-exp-03-25"


def test_grok_4_fast_was_free_in_september_2025():
    changes = catalog_changes("2025-09-24", "2025-12-31")
    row = changes[changes["change"] == "no longer free"].iloc[0]
    assert (row["id"], row["now_as"]) == ("x-ai/grok-4-fast:free", "x-ai/grok-4-fast")
    assert row["prompt_usd_per_million_after"] == 0.2


@pytest.mark.parametrize(("day", "free"), [("2025-04-09", 56), ("2025-06-11", 69)])
def test_free_models_of_a_day(day, free):
    assert len(catalog_at(day, free=True)) == free


# --- taking in new observations -------------------------------------------------------------------


@pytest.fixture
def some(tmp_path):
    """A folder with two recorded answers, one of them packed."""
    folder = tmp_path / "recorded"
    folder.mkdir()
    first = json.dumps([priced("lab/a", "0.000001", "0")])
    second = json.dumps({"data": [priced("lab/a", "0.000002", "0"), priced("lab/b", 0, 0)]})
    (folder / "catalog-2026-01-01.json").write_text(first)
    (folder / "catalog-2026-02-01.json.gz").write_bytes(gzip.compress(second.encode()))
    (folder / "notes.txt").write_text("2026-03-01")
    return folder


def run(*arguments):
    return refresh.main([str(argument) for argument in arguments])


def test_a_folder_of_answers_becomes_a_history(some, tmp_path, capsys):
    output = tmp_path / "made.jsonl"
    assert run("--new", "--folder", some, "--journal", output) == 0
    assert list(journal.read(output)) == ["2026-01-01", "2026-02-01"]
    said = capsys.readouterr().out
    assert "2026-02-01: 2 models, 1 added, 0 removed, 1 changed" in said


def test_days_may_come_in_any_order(some, tmp_path):
    outputs = tmp_path / "at-once.jsonl", tmp_path / "one-by-one.jsonl"
    run("--new", "--folder", some, "--journal", outputs[0])
    later = tmp_path / "later"
    later.mkdir()
    (some / "catalog-2026-01-01.json").rename(later / "models_2026-01-01.json")
    run("--new", "--folder", some, "--journal", outputs[1])
    run("--folder", later, "--journal", outputs[1])
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_files_of_other_machines_are_read(tmp_path):
    folder, output = tmp_path / "saved", tmp_path / "made.jsonl"
    folder.mkdir()
    text = json.dumps([{"id": "lab/a", "pricing": {}}])
    (folder / "CATALOG-2026-01-01.JSON").write_text(text, encoding="utf-8-sig")
    (folder / "CATALOG-2026-01-02.JSON.GZ").write_bytes(gzip.compress(text.encode()))
    assert run("--new", "--folder", folder, "--journal", output) == 0
    output.write_text(output.read_text(), encoding="utf-8-sig")
    assert list(journal.read(output)) == ["2026-01-01", "2026-01-02"]


def test_the_live_api_gives_a_day_and_the_snapshot(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "PAUSE_S", 0)
    output, snapshot = tmp_path / "journal.jsonl", tmp_path / "snapshot.json.gz"
    journal.write({"2025-04-09": journal.read()["2025-04-09"]}, output)
    with OfflineServer(model="off") as server:
        monkeypatch.setenv("OPENROUTER_API_KEY", server.token)
        monkeypatch.setenv("OPENROUTER_BASE_URL", server.base_url)
        assert run("--journal", output, "--snapshot", snapshot) == 0
    made, bundled = load(snapshot), load()
    assert (made.models, made.endpoints, made.providers) == (
        bundled.models,
        bundled.endpoints,
        bundled.providers,
    )
    days = journal.read(output)
    assert list(days) == ["2025-04-09", made.date]
    assert days[made.date] == journal.read()["2026-08-22"]


def test_another_service_is_not_taken_for_the_catalogue(tmp_path, monkeypatch, capsys):
    before = journal.BUNDLED.read_bytes()
    with WireServer([whole({"data": [{"id": "llama3:latest"}]})]) as server:
        monkeypatch.setenv("OPENROUTER_BASE_URL", server.url)
        assert run() == 1
    assert "does not seem to be OpenRouter" in capsys.readouterr().err
    assert journal.BUNDLED.read_bytes() == before


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "No saved answers"),
        ({"models.json": "[]"}, "No saved answers"),
        ({"a-2026-01-01.json": "{"}, "cannot be read as JSON"),
        ({"a-2026-02-30.json": "[]"}, "cannot be read as JSON of a day"),
        ({"a-2026-01-01.json": "[]", "b-2026-01-01.json": "[]"}, "Two files"),
        ({"a-2026-01-01.json": "[]"}, "lists no models"),
        ({"a-2026-01-01.json": '{"error": {"message": "no"}}'}, "it is an error: no"),
    ],
    ids=["empty", "no-day", "no-json", "no-such-day", "twice", "no-models", "an-error"],
)
def test_answers_that_are_none_write_nothing(tmp_path, capsys, files, words):
    folder, output = tmp_path / "recorded", tmp_path / "made.jsonl"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    assert run("--new", "--folder", folder, "--journal", output) == 1
    error = capsys.readouterr().err
    assert words in error
    assert "Nothing was written" in error
    assert not output.exists()


def test_a_damaged_archive_writes_nothing(tmp_path, capsys):
    packed = bytearray(gzip.compress(b'[{"id": "lab/a"}]' * 50))
    packed[10] = 0xFF  # no kind of block
    (tmp_path / "a-2026-01-01.json.gz").write_bytes(packed)
    assert run("--new", "--folder", tmp_path, "--journal", tmp_path / "made.jsonl") == 1
    assert "a-2026-01-01.json.gz cannot be read as JSON" in capsys.readouterr().err
    assert not (tmp_path / "made.jsonl").exists()


@pytest.mark.parametrize("what", [["--new", "--journal"], ["--genai-prices"]])
def test_a_place_that_cannot_be_written_is_told(tmp_path, capsys, what):
    folder = tmp_path / "recorded"
    folder.mkdir()
    (folder / "a-2026-01-01.json").write_text('[{"id": "lab/a"}]')
    assert run("--folder", folder, *what, tmp_path / "no" / "made.jsonl") == 1
    assert "Nothing was written" in capsys.readouterr().err


# --- prices that others recorded ------------------------------------------------------------------

NEMO, NEW = "mistralai/mistral-nemo", "google/gemini-3.8-flash"


def test_prices_that_genai_prices_dated_are_rows_with_its_name():
    history = price_history(NEMO)
    theirs = history[history["source"] == "recorded by genai-prices"]
    assert [str(day.date()) for day in theirs["date"]] == ["2026-10-19", "2026-11-03"]
    assert theirs["prompt_usd_per_million"].tolist() == [0.029, 0.15]
    assert set(theirs["event"]) == {"noted"}
    unknown = ["not_before", "seen_until", "context_length", "is_free"]  # they say nothing of these
    assert theirs[unknown].isna().all(axis=None)
    assert "recorded by genai-prices" in history.attrs["notes"][-1]


def test_what_was_listed_is_the_same_with_prices_of_others_and_without():
    every, without = price_history(), price_history(live=False)
    assert set(without["source"]) == {"recorded"}
    listed = every[every["source"] != noted.BY].reset_index(drop=True)
    pd.testing.assert_frame_equal(listed.drop(columns="source"), without.drop(columns="source"))
    assert catalog_at("2026-11-30").attrs["snapshot"] == DAYS[-1]  # no price of theirs is a day


def test_a_model_that_others_alone_know_has_a_price_and_was_never_listed():
    assert set(price_history(NEW)["event"]) == {"noted"}
    with pytest.raises(ConfigError, match="was never seen in the catalogue"):
        price_history(NEW, live=False)
    assert price_at([NEW], "2026-08-22")["note"].item() == "never listed"


def test_a_noted_price_holds_until_the_next_one():
    def dates(**asked):
        history = price_history(NEMO, **asked)
        return [str(day.date()) for day in history["date"][history["source"] == noted.BY]]

    assert dates(since="2026-10-30") == ["2026-10-19", "2026-11-03"]
    assert dates(since="2026-11-05") == ["2026-11-03"]
    assert dates(until="2026-10-30") == ["2026-10-19"]
    assert dates(until="2026-10-18") == []


def test_a_price_of_a_day_that_has_not_come_is_left_out(monkeypatch):
    class October(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 10, 20, tzinfo=UTC)

    monkeypatch.setattr("ornb.catalog.prices.datetime", October)
    dates = price_history(NEMO)["date"]
    assert str(dates.iloc[-1].date()) == "2026-10-19"
    record = load().models[[each["id"] for each in load().models].index(NEMO)]
    assert newest_price(record, "2026-08-22").day == "2026-10-19"


def test_it_is_drawn_as_a_line_of_its_own_with_a_legend():
    figure = ornb.plots.price_history(price_history([NEMO, NEW]))
    (theirs,) = (each for each in figure.data if each.name == f"{NEMO}, {noted.BY}")
    (listed,) = (each for each in figure.data if each.name == NEMO)
    assert list(theirs.x) == ["2026-10-19", "2026-11-03"]
    assert max(listed.x) == "2026-08-22"
    assert theirs.line.dash == "dash"
    legend = [each.name for each in figure.data if each.showlegend is None]
    assert legend == ["listed by OpenRouter", noted.BY]
    assert figure.layout.showlegend
    without = ornb.plots.price_history(price_history(NEMO, live=False))
    assert not without.layout.showlegend
    assert not any(noted.BY in str(each.name) for each in without.data)


def test_the_installed_package_gives_the_bundled_prices(tmp_path, capsys):
    """As long as it is the release that they are from."""
    genai_prices = pytest.importorskip("genai_prices", reason="genai-prices is not installed")
    from importlib.metadata import version

    output = tmp_path / "noted.jsonl"
    assert run("--genai-prices", output) == 0
    assert f"recorded by genai-prices {version('genai-prices')}" in capsys.readouterr().out
    made = noted.read(output)
    (provider,) = (each for each in genai_prices.data.providers if each.id == "openrouter")
    for model in provider.models:
        for price in made.prices.get(model.id, ()):
            day = datetime.fromisoformat(price.day).replace(tzinfo=UTC)
            used = genai_prices.Usage(input_tokens=1_000_000, output_tokens=0)
            theirs = model.calc_price(used, provider, genai_request_timestamp=day)
            ours = pricing.estimate(price.pricing, prompt_tokens=1_000_000, completion_tokens=0)
            assert ours == theirs.total_price, price
    if made.version == noted.bundled().version:
        assert output.read_bytes() == noted.BUNDLED.read_bytes()


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "genai_prices.data", None)
    assert run("--genai-prices", tmp_path / "none.jsonl") == 1
    assert "pip install genai-prices" in capsys.readouterr().err
    assert not (tmp_path / "none.jsonl").exists()


def test_the_noted_prices_are_facts_and_few():
    data = noted.BUNDLED.read_bytes()
    assert len(data) < 50_000
    assert len(gzip.compress(data)) < 8_000
    for prices in noted.bundled().prices.values():
        for each in prices:
            assert "prompt" in each.pricing
            assert set(each.pricing) <= {
                *("prompt", "completion", "overrides", "web_search"),
                *("input_cache_read", "input_cache_write", "input_cache_write_1h"),
            }


@pytest.mark.parametrize("text", ["", "[]", '["ornb noted prices",2,"genai-prices","0.2.3"]', "7"])
def test_damaged_noted_prices_are_a_catalogue_error(tmp_path, text):
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(CatalogError, match="cannot be read"):
        noted.read(path)


# --- the tables -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "columns"),
    [
        (lambda: price_history("openai/o3"), PRICE_HISTORY_COLUMNS),
        (lambda: price_history(since="2030-01-01"), PRICE_HISTORY_COLUMNS),
        (lambda: price_at("openai/o3", "2026-01-01"), PRICE_AT_COLUMNS),
        (lambda: price_at([], "2026-01-01"), PRICE_AT_COLUMNS),
        (lambda: catalog_changes("2025-04-09"), CHANGE_COLUMNS),
        (lambda: catalog_changes("2025-04-09", "2025-04-10"), CHANGE_COLUMNS),
        (lambda: catalog_at("2025-04-09"), CATALOG_COLUMNS),
    ],
)
def test_a_table_has_its_columns_and_dtypes_whatever_it_holds(make, columns):
    dtypes = {name: str(dtype) for name, dtype in make().dtypes.items()}
    assert dtypes == {n: TEXT_TYPE if d == "str" else d for n, (d, _) in columns.items()}


PAGE = (Path(__file__).parents[1] / "docs" / "tables.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        ("## Price history", PRICE_HISTORY_COLUMNS),
        ("### Prices then and now", PRICE_AT_COLUMNS),
        ("## Catalogue changes", CHANGE_COLUMNS),
    ],
)
def test_the_page_describes_the_columns_that_there_are(heading, columns):
    table = PAGE.split(f"\n{heading}\n")[1].split("\n| --- | --- | --- |\n")[1].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    assert rows == [[f"`{name}`", dtype, meaning] for name, (dtype, meaning) in columns.items()]


def test_the_page_describes_the_kinds_of_change_that_there_are():
    table = PAGE.split("\n### Kinds of change\n")[1].split("\n| --- | --- |\n")[1].split("\n\n")[0]
    assert table.splitlines() == [f"| {kind} | {text} |" for kind, text in CHANGES.items()]


def test_the_page_names_the_columns_of_a_past_day():
    listed = PAGE.split("\n### A past day\n")[1].split("the columns\n")[1].split("\n\n")[0]
    assert re.findall(r"`(\w+)`", listed) == list(CATALOG_COLUMNS)
    assert all(CATALOG_COLUMNS[name] == MODEL_COLUMNS[name] for name in CATALOG_COLUMNS)


# --- the page about it ----------------------------------------------------------------------------

HISTORY = (Path(__file__).parents[1] / "docs" / "history.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_runs():
    code = re.findall(r"```python\n(.*?)```", HISTORY, re.DOTALL)
    assert code
    for block in code:
        exec(compile(block, "docs/history.md", "exec"), {})


def test_the_lines_that_the_page_shows_are_in_the_file():
    block = HISTORY.split('```\n["day"')[1].split("```")[0]
    shown = ['["day"' + block.splitlines()[0], *block.splitlines()[1:]]
    lines = journal.BUNDLED.read_text(encoding="ascii").splitlines()
    for start in (line.partition(" ...")[0] for line in shown):
        assert any(line.startswith(start.rstrip(", ")) for line in lines), start


def test_the_page_counts_right():
    every = set().union(*journal.read().values())
    gone = every - set(journal.read()[DAYS[-1]])
    assert f"of {len(every)} models, half of which are gone" in HISTORY
    assert len(gone) / len(every) == pytest.approx(0.5, abs=0.02)


# --- their age ------------------------------------------------------------------------------------


def days_old(day):
    return f"of {day}, {(datetime.now(UTC).date() - date.fromisoformat(day)).days} days old"


@pytest.mark.parametrize("live", [True, False])
def test_prices_that_are_not_todays_say_their_age(live):
    notes = price_history("openai/gpt-5", live=live).attrs["notes"]
    assert notes == [f"The newest prices are {days_old('2026-08-22')}."]


def test_todays_prices_have_no_age():
    now = to_frame([*load().models], source="live", fetched_at=datetime.now(UTC))
    assert price_history("openai/gpt-5", live=now).attrs["notes"] == []
    assert price_at("openai/gpt-5", "2026-08-22", live=now).attrs["notes"] == []
    assert catalog_changes("2026-07-10", live=now).attrs["notes"] == []


def test_a_figure_of_the_snapshot_says_its_age():
    caption = ornb.plots.price_map(ornb.models()).layout.meta["caption"]
    assert caption.startswith(f"Source: snapshot {days_old('2026-08-22')}.")


@pytest.mark.parametrize("day", ["soon", "", None])
def test_a_server_whose_snapshot_has_no_day_is_shown_all_the_same(day):
    headers = {"X_Ornb_Source": "snapshot"} | ({} if day is None else {"X_Ornb_Snapshot": day})
    with WireServer([whole({"data": load().models}, **headers)]) as server:
        ornb.connect("k", server.url)
        try:
            assert ornb.ModelPicker().get_state()["_source"]["label"] == "offline snapshot"
            assert ornb.quote("Hi", MINI, max_tokens=9).worst_usd > 0
            assert "Source: snapshot" in ornb.plots.price_map(ornb.models()).layout.meta["caption"]
            price_history(MINI)
        finally:
            ornb.connect(offline=True)


def test_what_is_compared_with_an_old_today_says_its_age():
    age = f"The newest prices are {days_old('2026-08-22')}."
    assert price_at("openai/gpt-5", "2026-07-10").attrs["notes"] == [age]
    assert catalog_changes("2026-07-10").attrs["notes"] == [age]
    assert catalog_changes("2026-05-01", "2026-07-10").attrs["notes"] == []


# --- estimates without the service ----------------------------------------------------------------


def test_an_offline_estimate_is_at_the_newest_dated_price_and_says_its_day():
    quoted = ornb.quote("Hi", NEMO, max_tokens=100)
    assert quoted.prices_of == f"prices {days_old('2026-11-03')}, recorded by genai-prices"
    assert repr(quoted).endswith(f"100 completion tokens; {quoted.prices_of}) for {NEMO}")
    assert quoted.cost(1_000_000, 0) == Decimal("0.15")
    assert quoted.worst_usd >= quoted.likely_usd
    alone = ornb.quote("Hi", NEMO, max_tokens=100, provider={"only": ["deepinfra"]})
    assert alone.worst_usd >= Decimal(alone.prompt_tokens + 100) * Decimal("0.00000015")
    row = ornb.ask("Hi", NEMO).usage
    made = (row.prompt_tokens + row.completion_tokens) * Decimal("0.00000015")
    assert ornb.usage.df["estimate_usd"].iloc[-1] == float(made)


def test_a_price_that_nobody_dated_since_is_that_of_the_snapshot():
    assert "openai/gpt-4o-mini" not in noted.bundled().prices
    quoted = ornb.quote("Hi", "openai/gpt-4o-mini", max_tokens=100)
    assert quoted.prices_of == f"prices {days_old('2026-08-22')}"


def test_the_panel_says_of_which_days_its_offline_estimates_are():
    from ornb.notebook import overview

    for model in (NEMO, "openai/gpt-4o-mini"):
        ornb.ask("Hi", model)
    _, estimated, *_ = overview.shown(ornb.usage.totals(), [], None)["tiles"]
    assert estimated["notes"][-1] == "prices of 2026-08-22 to 2026-11-03"


def test_a_plan_says_of_which_day_its_offline_prices_are(capsys):
    def planned(model):
        return repr(ornb.batch(["Hi"], "{{text}}", model, max_tokens=9, dry_run=True))

    assert planned(NEMO).endswith("offline nothing is billed (prices of 2026-11-03)")
    assert planned(MINI).endswith("offline nothing is billed (prices of 2026-08-22)")
    assert planned("ornb/canned").endswith("offline nothing is billed")
    ornb.measure([NEMO, MINI], "Hi", repeats=1, warmup=0, max_tokens=9, progress=False)
    assert "These are prices of 2026-08-22 to 2026-11-03." in capsys.readouterr().out


def test_a_price_for_long_prompts_is_taken_where_it_applies():
    record = load().models[[each["id"] for each in load().models].index("x-ai/grok-4.3")]
    dated = newest_price(record, "2026-08-22")
    cost = [
        pricing.estimate(dated.record["pricing"], prompt_tokens=tokens, completion_tokens=0)
        for tokens in (200_000, 200_001)
    ]
    assert cost == [Decimal("0.25"), Decimal("0.5000025")]


def test_the_catalogue_itself_stays_as_it_was_listed():
    listed = ornb.models().at[NEMO, "prompt_usd_per_million"]
    assert listed == to_frame(load().models).at[NEMO, "prompt_usd_per_million"] == 0.019


def test_a_live_quote_is_at_the_price_that_the_service_lists():
    with WireServer([whole({"data": load().models})]) as server:
        ornb.connect("k", server.url)
        try:
            quoted = ornb.quote("Hi", NEMO, max_tokens=100)
        finally:
            ornb.connect(offline=True)
    assert quoted.prices_of is None
    assert quoted.cost(1_000_000, 0) == Decimal("0.019")


# --- the user's own journal -----------------------------------------------------------------------

MINI = "openai/gpt-4o-mini"


@pytest.fixture
def mine(tmp_path, monkeypatch, anew):
    """Where the own journal is, of a kernel that has just begun."""
    path = tmp_path / "data" / "journal.jsonl"
    monkeypatch.setenv("ORNB_JOURNAL", str(path))
    monkeypatch.setattr(ornb.session.default, "journaled", None)
    anew(announced=True)
    return path


def looked(key="k", records=None, times=1):
    """Look at a live catalogue on loopback."""
    with WireServer([whole({"data": load().models if records is None else records})]) as server:
        ornb.connect(key, server.url)
        try:
            for _ in range(times):
                ornb.models(refresh=True)
        finally:
            ornb.connect(offline=True)
    return datetime.now(UTC).date().isoformat()


def cheaper():
    half = {"pricing": {"prompt": "0.000000075", "completion": "0.0000003"}}
    return [{**each, **(half if each["id"] == MINI else {})} for each in load().models]


def test_the_first_live_look_of_a_day_is_kept_in_ones_own_journal(mine):
    day = looked(records=cheaper(), times=2)
    assert journal.read(mine) == {day: journal.distil(cheaper())}
    assert [path.name for path in mine.parent.iterdir()] == ["journal.jsonl"]  # no half of it
    before = mine.stat().st_mtime_ns
    ornb.session.default.journaled = None  # as in another kernel
    looked()
    assert mine.stat().st_mtime_ns == before


def test_offline_ones_own_journal_is_the_newest_that_is_known(mine):
    day = looked(records=cheaper())
    history = price_history(MINI)
    last = history.iloc[-1]
    assert (last["event"], last["source"], str(last["date"].date())) == ("changed", "recorded", day)
    assert last["prompt_usd_per_million"] == 0.075
    assert catalog_at(day).attrs["snapshot"] == day
    assert kinds(catalog_changes("2026-08-22")) == [("cheaper", MINI)]
    assert ornb.quote("Hi", MINI).prices_of == f"prices of {day}, from your own journal"
    assert ornb.quote("Hi", MINI).likely_usd < ornb.quote("Hi", MINI).worst_usd
    assert ornb.quote("Hi", NEMO).prices_of == f"prices of {day}, from your own journal"


def test_todays_live_look_stands_for_todays_recorded_one(mine):
    looked(records=cheaper())
    now = to_frame(cheaper(), source="live", fetched_at=datetime.now(UTC))
    history = price_history(MINI, live=now)
    assert history["source"].tolist()[-1] == "live"
    assert len(history.attrs["observed"]) == len(DAYS) + 1


@pytest.mark.parametrize(
    ("key", "records"), [(None, None), ("k", [{"id": "llama3:latest"}]), ("k", [])]
)
def test_without_a_key_or_at_another_service_nothing_is_kept(mine, key, records):
    looked(key, records)
    assert not mine.parent.exists()


def test_it_is_off_on_request(mine, monkeypatch):
    day = looked(records=cheaper())
    monkeypatch.setenv("ORNB_JOURNAL", "off")
    assert price_history(MINI).attrs["observed"][-1][:10] == DAYS[-1] != day
    mine.unlink()
    ornb.session.default.journaled = None
    looked()
    assert not mine.exists()


def test_a_key_is_not_in_it(mine):
    looked("sk-or-v1-" + "a1" * 32)
    assert "sk-or" not in mine.read_text()


def test_one_that_is_damaged_is_told_of_and_left_as_it_is(mine):
    mine.parent.mkdir()
    mine.write_text("no json")
    with pytest.warns(UserWarning, match="ORNB_JOURNAL=off keeps none"):
        looked()
    assert mine.read_text() == "no json"
    with pytest.raises(CatalogError, match="Move it away"):
        price_history(MINI)
    assert ornb.quote("Hi", MINI).prices_of == f"prices {days_old('2026-08-22')}"


def test_a_folder_that_cannot_be_written_stops_nobody(mine):
    mine.parent.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="were not kept in your own journal"):
        looked()


def test_of_older_days_the_first_of_each_month_is_left(mine):
    mine.parent.mkdir()
    listed = journal.distil(load().models)
    today = datetime.now(UTC).date()
    ages = [0, 1, 30, *range(90, 130)]
    past = [(today - timedelta(days=age)).isoformat() for age in ages if age]
    journal.write(dict.fromkeys(past, listed), mine)
    looked()
    kept = list(journal.read(mine))
    assert kept[-3:] == [(today - timedelta(days=age)).isoformat() for age in (30, 1, 0)]
    months = {day[:7] for day in past[2:]}
    assert kept[:-3] == sorted(min(d for d in past if d.startswith(month)) for month in months)


def test_the_snapshot_says_its_age_where_it_is_shown(anew, capsys):
    from ornb.notebook.magics import commands

    anew()
    ornb.client()
    assert f"snapshot {days_old('2026-08-22')}\n" in capsys.readouterr().out
    commands.run("models claude", None)
    assert capsys.readouterr().out.endswith(f"snapshot {days_old('2026-08-22')}\n")
    shown = ornb.ModelPicker(models({"id": "lab/a"}, day="2026-11-01")).get_state()["_source"]
    assert shown["notes"][0] == f"Its prices are {days_old('2026-11-01')}."
