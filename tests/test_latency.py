"""Summaries of timings: what they rest on, and what they do not claim."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ornb
from ornb.errors import ConfigError
from ornb.runs.bootstrap import needed, quantiles_of_resamples, resampled
from ornb.runs.latency import DIFFERENCE_COLUMNS, LATENCY_COLUMNS, LISTED_COLUMNS

FIRST = "time_to_first_token_s"
PAGE = Path(__file__).parents[1] / "docs" / "tables.md"


def frame(**models: list[float | None]) -> pd.DataFrame:
    """A measurement in which each request is a burst of its own; None is a failure."""
    rows = [(model, time) for model, times in models.items() for time in times]
    return pd.DataFrame(
        {
            "model": [model for model, _ in rows],
            "burst": range(len(rows)),
            "warmup": False,
            FIRST: np.array([time for _, time in rows], dtype="float64"),
            "status": ["error" if time is None else "ok" for _, time in rows],
            "error": ["it broke" if time is None else None for _, time in rows],
        }
    )


def skewed(n: int, median: float = 0.4, seed: int = 0) -> list[float]:
    """Times like those of a service: a long tail to the right."""
    drawn = np.random.default_rng(seed).lognormal(math.log(median), 0.3, n)
    return [float(time) for time in drawn]


times = st.lists(st.floats(1e-3, 1e3, allow_nan=False) | st.none(), min_size=1, max_size=60)


# --- values ---------------------------------------------------------------------------------------


@given(times, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(listed, chance):
    one = frame(a=listed, b=listed[:1])
    other = one.sample(frac=1, random_state=chance.randrange(2**32))
    pd.testing.assert_frame_equal(
        ornb.latency_summary(one, resamples=100), ornb.latency_summary(other, resamples=100)
    )


@given(times)
def test_figures_lie_within_the_times_and_in_their_order(listed):
    row = ornb.latency_summary(frame(a=listed), resamples=100).iloc[0]
    known = [time for time in listed if time is not None]
    assert (row["n"], row["n_failed"]) == (len(known), len(listed) - len(known))
    figures = [row[name] for name in ("median", "p90", "p99") if not math.isnan(row[name])]
    assert figures == sorted(figures)
    for name in ("median", "p90", "p99"):
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        assert math.isnan(low) == math.isnan(high)
        if not math.isnan(low):
            assert min(known) <= low <= high <= max(known)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=40), st.sampled_from([0.5, 0.9, 0.99]))
def test_quantiles_of_a_whole_sample_are_numpys(listed, quantile):
    ordered = sorted(listed)
    ours = quantiles_of_resamples(ordered, np.ones((1, len(ordered)), dtype=int), [quantile])
    assert ours[0, 0] == pytest.approx(np.quantile(ordered, quantile))


@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=20),
    st.lists(st.integers(0, 3), min_size=20, max_size=20).filter(any),
)
def test_a_weight_is_a_repetition(listed, weights):
    ordered, drawn = sorted(listed), np.array(weights[: len(listed)])
    ours = quantiles_of_resamples(ordered, drawn[None, :], [0.9])[0, 0]
    if drawn.any():
        assert ours == pytest.approx(np.quantile(np.repeat(ordered, drawn), 0.9))
    else:
        assert math.isnan(ours)


def test_the_same_seed_gives_the_same_intervals():
    df = frame(a=skewed(60))
    one, same, other = (ornb.latency_summary(df, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert not one.equals(other)


def test_a_further_model_does_not_change_the_others():
    alone = ornb.latency_summary(frame(a=skewed(30)))
    beside = ornb.latency_summary(frame(a=skewed(30), b=skewed(20, 0.1)))
    assert beside.loc["a", "median_high"] == alone.loc["a", "median_high"]
    assert list(beside.index) == ["b", "a"], "the quickest comes first"


@pytest.mark.parametrize(("n", "least"), [(6, 0.9), (20, 0.9), (60, 0.91)])
def test_intervals_of_the_median_hold_it_as_often_as_they_say(n, least):
    chance = np.random.default_rng(7)
    held = 0
    for trial in range(200):
        drawn = chance.lognormal(0, 0.5, n)
        row = ornb.latency_summary(frame(a=list(drawn)), resamples=400, seed=trial).iloc[0]
        held += row["median_low"] <= 1.0 <= row["median_high"]
    assert held / 200 >= least


def test_requests_that_started_together_are_not_many_moments():
    """64 requests of one slow minute say little about other minutes."""
    chance = np.random.default_rng(0)
    moment = np.repeat(chance.lognormal(0, 0.5, 8), 16)
    df = frame(a=list(moment * chance.lognormal(0, 0.01, len(moment))))
    apart = ornb.latency_summary(df).iloc[0]
    together = ornb.latency_summary(df.assign(burst=np.repeat(range(8), 16))).iloc[0]
    assert (apart["n_bursts"], together["n_bursts"]) == (128, 8)
    width = [row["median_high"] - row["median_low"] for row in (apart, together)]
    assert width[1] > 2 * width[0]


def test_a_burst_is_drawn_whole():
    bursts = np.array([0, 0, 0, 1, 1, 1])
    drawn = resampled(np.arange(6.0), bursts, [0.5], 200, np.random.default_rng(0))
    assert set(drawn[0].tolist()) == {1.0, 2.5, 4.0}


# --- too few --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "there", "missing"),
    [
        pytest.param(1, ["median"], ["median_low", "p90", "p99"], id="a single repeat"),
        pytest.param(6, ["median", "median_low"], ["p90", "p99"], id="six"),
        pytest.param(10, ["median_low", "p90"], ["p90_low", "p99"], id="ten"),
        pytest.param(36, ["p90_low"], ["p99"], id="thirty-six"),
        pytest.param(100, ["p90_low", "p99"], ["p99_low"], id="a hundred"),
        pytest.param(368, ["p99", "p99_low", "p99_high"], [], id="enough"),
    ],
)
def test_what_n_is_too_small_for_is_missing_and_noted(n, there, missing):
    row = ornb.latency_summary(frame(a=skewed(n)), resamples=200).iloc[0]
    assert row[there].notna().all()
    assert row[missing].isna().all()
    assert ("needs" in row["note"]) == bool(missing)


def test_intervals_need_several_moments():
    df = frame(a=skewed(40)).assign(burst=0)
    row = ornb.latency_summary(df).iloc[0]
    assert math.isnan(row["median_low"])
    assert "intervals need 6 moments, these began at 1" in row["note"]


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
def test_the_least_n_is_the_least(q):
    n = needed(q)
    assert q**n <= 0.025 < max(q, 1 - q) ** (n - 1)


def test_all_failing_says_so_and_shows_the_rest():
    summary = ornb.latency_summary(frame(good=skewed(8), bad=[None, None]))
    assert list(summary.index) == ["good", "bad"]
    assert summary.loc["bad", "note"] == "2 of 2 failed (it broke)"
    assert math.isnan(summary.loc["bad", "median"])


def test_warm_up_calls_and_answers_without_text_are_not_summed_up():
    df = frame(a=[0.1, 0.2, 0.3])
    df.loc[0, "warmup"] = True
    df.loc[1, FIRST] = math.nan
    row = ornb.latency_summary(df).iloc[0]
    assert (row["n"], row["n_missing"], row["median"]) == (1, 1, 0.3)


def test_a_summary_says_where_its_times_come_from():
    counted = frame(a=[0.1, 0.2], b=[0.3])
    counted["source"] = ["local", "local", "recorded"]
    assert ornb.latency_summary(counted).attrs["source"] == "2 local, 1 recorded"
    counted["warmup"] = [False, True, False]
    assert ornb.latency_summary(counted).attrs["source"] == "1 local, 1 recorded"
    assert ornb.latency_summary(frame(a=[0.1])).attrs["source"] == "not stated"


def test_one_engine_under_several_names_is_noted_and_not_ranked():
    counted = frame(b=[0.1] * 6, a=[0.3] * 6)
    counted["source"], counted["served_model"] = "recorded", "ornb/smollm2-135m-instruct"
    said = "ornb/smollm2-135m-instruct answered under both names"
    summary = ornb.latency_summary(counted)
    assert summary.attrs["source"] == "12 recorded from ornb/smollm2-135m-instruct"
    assert list(summary.index) == ["a", "b"], "by name, not by time"
    assert summary["note"].str.startswith(said).all()
    assert ornb.latency_differences(counted)["verdict"].item().endswith(f"; {said}")
    assert not ornb.latency_summary(counted, "burst")["note"].str.contains("answered").any()
    counted["served_model"] = counted["model"]
    assert list(ornb.latency_summary(counted).index) == ["b", "a"]
    assert ornb.latency_summary(counted).attrs["source"] == "12 recorded live"


def test_an_empty_measurement_gives_empty_tables():
    empty = frame(a=[]).astype({"status": object, "error": object})
    assert list(ornb.latency_summary(empty, ("model", "status")).columns) == list(LATENCY_COLUMNS)
    assert len(ornb.latency_differences(empty)) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"by": "modle"}, "did you mean 'model'"),
        ({"by": ()}, "by is empty"),
        ({"metric": "time_to_first_tokens"}, "did you mean 'time_to_first_token_s'"),
        ({"metric": "status"}, "holds no numbers"),
        ({"confidence": 95}, "confidence is 95"),
        ({"resamples": 0}, "resamples is 0"),
    ],
)
def test_what_cannot_be_summed_up_is_refused_in_words(arguments, said):
    with pytest.raises(ConfigError, match=said):
        ornb.latency_summary(frame(a=[0.1]), **arguments)


def test_what_is_no_frame_is_refused_in_words():
    with pytest.raises(ConfigError, match=r"give the frame of ornb\.measure"):
        ornb.latency_summary([0.1])


# --- differences ----------------------------------------------------------------------------------


def test_a_real_difference_is_told_from_chance():
    df = frame(quick=skewed(40, 0.3, 1), twin=skewed(40, 0.3, 2), slow=skewed(40, 0.6, 3))
    found = ornb.latency_differences(df).set_index(["a", "b"])
    assert len(found) == 3
    real = {tuple(sorted(pair)) for pair, row in found.iterrows() if row["is_real"]}
    assert real == {("quick", "slow"), ("slow", "twin")}
    assert (found["median_a"] <= found["median_b"]).all()
    assert found["verdict"].str.contains("no difference shown").sum() == 1


def test_equal_models_are_seldom_called_different():
    chance = np.random.default_rng(5)
    wrong = 0
    for trial in range(100):
        df = frame(**{name: list(chance.lognormal(0, 0.4, 20)) for name in "abc"})
        wrong += bool(ornb.latency_differences(df, resamples=400, seed=trial)["is_real"].any())
    assert wrong <= 10, "all three intervals hold together, 95 times of 100"


def test_too_few_cannot_tell():
    row = ornb.latency_differences(frame(a=[0.1, 0.2], b=[0.9])).iloc[0]
    assert pd.isna(row["is_real"])
    assert row["difference"] == pytest.approx(0.75)
    assert row["verdict"] == "cannot tell: each needs 6 requests, at 6 moments or more"


def test_a_model_without_a_time_is_named_and_disturbs_no_other_pair():
    quick, slow = skewed(20, 0.3), skewed(20, 0.6, seed=1)
    alone = ornb.latency_differences(frame(a=quick, b=slow))
    table = ornb.latency_differences(frame(a=quick, b=slow, c=[None] * 3))
    pd.testing.assert_frame_equal(table.head(1), alone)
    assert table["verdict"].tolist()[1:] == ["cannot tell: c gave no such time"] * 2
    assert table.loc[1:, ["median_b", "difference", "is_real"]].isna().all(axis=None)


def test_differences_are_along_one_column():
    with pytest.raises(ConfigError, match="along one column"):
        ornb.latency_differences(frame(a=[0.1]), by=["model", "status"])


# --- beside the listing ---------------------------------------------------------------------------


def listing(*providers: str, p50: float = 0.4) -> pd.DataFrame:
    count = len(providers)
    return pd.DataFrame(
        {
            "model_id": ["a"] * count,
            "provider_name": list(providers),
            **{f"time_to_first_token_{p}_s": [p50] * count for p in ("p50", "p90", "p99")},
            **{f"tokens_per_second_{p}": [60.0] * count for p in ("p50", "p90", "p99")},
        }
    )


def beside(listed, **how):
    df = frame(a=[0.3, 0.4]).assign(provider="North", tokens_per_second=50.0)
    return ornb.latency_beside_listed(df, listed, **how).iloc[0]


def test_the_services_own_percentiles_stand_beside_ours():
    row = beside(listing("North", "South"))
    assert (row["median"], row["listed_p50"], row["listed_note"]) == (0.35, 0.4, "")
    assert beside(listing("North"), metric="tokens_per_second")["listed_p50"] == 60


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (listing("South"), "a is listed with South, not with North"),
        (listing("North", "North"), "North has 2 endpoints, p50 from 0.4 to 0.4"),
        (listing("North", p50=math.nan), "told to requests with a key only"),
        ({}, "no listing of a was given"),
    ],
)
def test_a_figure_that_is_not_listed_says_why(listed, said):
    row = beside(listed)
    assert math.isnan(row["listed_p50"])
    assert said in row["listed_note"]


def test_of_an_answer_without_a_provider_it_is_said_that_nobody_told():
    df = frame(a=[0.3, 0.4]).assign(provider=[None, None])
    row = ornb.latency_beside_listed(df, listing("North")).iloc[0]
    assert row["listed_note"] == "nobody told which provider served"


def test_only_what_is_listed_can_stand_beside():
    with pytest.raises(ConfigError, match="OpenRouter lists"):
        beside(listing("North"), metric="duration_s")


# --- the page -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        ("### Latency summary", LATENCY_COLUMNS),
        ("### Latency differences", DIFFERENCE_COLUMNS),
        ("### Beside the listing", LISTED_COLUMNS),
    ],
)
def test_the_page_describes_the_columns_that_there_are(heading, columns):
    page = PAGE.read_text(encoding="utf-8")
    table = page.split(f"\n{heading}\n")[1].split("\n| --- | --- | --- |\n")[1].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    assert rows == [[f"`{name}`", dtype, meaning] for name, (dtype, meaning) in columns.items()]


@pytest.mark.parametrize(
    ("made", "columns"),
    [
        (ornb.latency_summary, LATENCY_COLUMNS),
        (ornb.latency_differences, DIFFERENCE_COLUMNS),
    ],
)
def test_dtypes_are_the_described_ones(made, columns):
    found = made(frame(a=[0.1, None], b=[0.2]))
    text = str(pd.Series(["a"]).dtype)
    expected = {name: text if c.dtype == "str" else c.dtype for name, c in columns.items()}
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == expected
