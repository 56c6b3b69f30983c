"""What is missing is said, and the rest is shown: every figure and table, over every bad input."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import ornb
from ornb import plots
from tests.figures import CALLS, models

HERE, GONE, NEW = "openai/gpt-5.4", "openai/gpt-4.5-preview", "lab/newcomer"
"""In the snapshot; in the history alone; in neither."""
SCORES = ["intelligence_index", "coding_index", "agentic_index"]
QUICK = {"simulate": {"tokens": 3, "chunk_s": 0, "first_token_s": 0}}


def caption(figure: go.Figure) -> str:
    return str(figure.layout.meta["caption"])


def said(figure: go.Figure) -> str:
    return " ".join([caption(figure), *(note.text for note in figure.layout.annotations)])


def measured(models: Any = "openai/gpt-4o-mini", **how: Any) -> pd.DataFrame:
    ornb.connect(offline=True)
    given = {"repeats": 1, "warmup": 0, "progress": False, "ornb": QUICK, **how}
    return ornb.measure(models, "Hi", **given)


FAILING = {"simulate": {"status": 503}}
OF_MODELS: dict[str, Callable[..., go.Figure]] = {
    "price_map": plots.price_map,
    "price_quality": plots.price_quality,
    "context_price": plots.context_price,
    "price_tiers": plots.price_tiers,
    "families": plots.families,
    "price_by_length": plots.price_by_length,
    "price_by_hour": plots.price_by_hour,
}
OF_CALLS: dict[str, Callable[[pd.DataFrame], go.Figure]] = {
    "latency_ecdf": plots.latency_ecdf,
    "latency_intervals": lambda df: plots.latency_intervals(ornb.latency_summary(df)),
    "first_token_and_rate": plots.first_token_and_rate,
    "spend": plots.spend,
}


# --- a model that vanished between the snapshot and now -------------------------------------------


def test_a_vanished_model_has_its_past_its_end_and_no_present() -> None:
    history = ornb.price_history([GONE, HERE])
    assert set(history["id"]) == {GONE, HERE}
    last = history[history["id"] == GONE].iloc[-1]
    assert last["event"] == "gone"
    assert pd.isna(last["prompt_usd_per_million"])
    figure = plots.price_history(history)
    assert "gpt-4.5-preview (gone)" in said(figure)
    assert "1 without a price (gone, a router, or not listed)" in caption(figure)


def test_of_several_models_one_that_never_was_is_named_and_the_others_are_shown() -> None:
    """Such as those of ornb.usage.df, of which some answered on this machine alone."""
    asked = [HERE, "ornb/canned", GONE]
    history = ornb.price_history(asked)
    assert history["id"].unique().tolist() == [HERE, GONE]
    assert "'ornb/canned' was never seen in the catalogue" in history.attrs["notes"][0]
    assert "'ornb/canned' was never seen" in caption(plots.price_history(history))
    then = ornb.price_at(asked, "2025-06-11")
    assert then.index.tolist() == asked
    assert then.loc["ornb/canned", "note"] == "never listed"
    assert then.loc[GONE, "prompt_usd_per_million"] == 75.0
    with pytest.raises(ornb.errors.ConfigError, match="was never seen"):
        ornb.price_history("ornb/canned")


def test_a_model_that_vanished_since_is_among_the_changes() -> None:
    now = models().drop(index=HERE)
    now.attrs = {"source": "live", "fetched_at": "2026-11-22T12:00:00+00:00"}
    changes = ornb.catalog_changes("2026-08-22", now)
    assert HERE in set(changes.loc[changes["change"] == "removed", "id"])
    assert "removed" in plots.catalog_changes(changes).data[0].y


@pytest.mark.parametrize("name", ["price_map", "price_quality", "context_price"])
def test_a_vanished_model_that_is_named_is_told_and_the_others_are_named(name: str) -> None:
    figure = OF_MODELS[name](models(), highlight=[GONE, HERE])
    assert f"Not among the models given: {GONE}." in caption(figure)
    assert [trace.name for trace in figure.data].count(HERE) == 1


@pytest.mark.parametrize("name", ["price_by_length", "price_by_hour"])
def test_a_vanished_model_asked_for_is_told_and_the_others_are_drawn(name: str) -> None:
    both = OF_MODELS[name](models(), [GONE, HERE])
    assert f"Not among the models given: {GONE}." in caption(both)
    assert len(plots.table(both)) == len(plots.table(OF_MODELS[name](models(), [HERE])))


def test_a_vanished_model_is_measured_as_a_failure_beside_the_others(capsys: Any) -> None:
    df = measured(["openai/gpt-4o-mini", GONE])
    assert dict(zip(df["model"], df["status"], strict=True)) == {
        "openai/gpt-4o-mini": "ok",
        GONE: "error",
    }
    assert f"Not in that: no price is listed for {GONE} (did you mean" in capsys.readouterr().out
    summary = ornb.latency_summary(df)
    assert summary.loc[GONE, "note"].startswith("1 of 1 failed")
    assert summary.loc["openai/gpt-4o-mini", "median"] > 0
    verdict = ornb.latency_differences(df)["verdict"].item()
    assert verdict == f"cannot tell: {GONE} gave no such time"
    beside = ornb.latency_beside_listed(df, ornb.endpoints("openai/gpt-4o-mini"))
    notes = beside["listed_note"].groupby(level="model").first()
    assert notes[GONE] == f"no listing of {GONE} was given"


def test_what_has_no_price_at_all_is_not_said_to_cost_nothing(capsys: Any) -> None:
    measured([GONE])
    out = capsys.readouterr().out
    unknown = f"What it can cost is not known: no price is listed for {GONE} ("
    assert f"Offline nothing is billed.\n{unknown}" in out
    assert "$0" not in out


# --- a catalogue with holes -----------------------------------------------------------------------


HOLES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "no scores": lambda df: df.assign(**dict.fromkeys(SCORES, np.nan)),
    "no prices": lambda df: df.assign(prompt_usd_per_million=np.nan, is_free=False),
    "no dates": lambda df: df.assign(created=pd.Series(pd.NaT, df.index, df["created"].dtype)),
    "no contexts": lambda df: df.assign(context_length=pd.array([None] * len(df), dtype="Int64")),
    "no makers": lambda df: df.assign(author=None),
    "two of each": lambda df: pd.concat([df, df]),
    "two that differ": lambda df: pd.concat([df, df.assign(prompt_usd_per_million=99.0)]),
    "one": lambda df: df.loc[[HERE]],
    "none": lambda df: df.head(0),
    "no raw records": lambda df: df.assign(raw=None),
}


@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("name", OF_MODELS)
def test_a_figure_counts_what_it_shows_and_what_not(name: str, hole: str) -> None:
    frame = HOLES[hole](models())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = OF_MODELS[name](frame)
    json.loads(figure.to_json())
    words = said(figure)
    assert caption(figure).startswith("Source: ")
    if not len(plots.table(figure)):
        assert "Nothing to draw." in words
    if hole.startswith("two"):
        assert f"{len(models())} listed twice by id" in words
    if hole == "none":
        assert "No models were given." in words
    if hole == "no scores" and name == "price_quality":
        assert "without a score in intelligence_index" in words


@pytest.mark.parametrize("hole", HOLES)
def test_tables_of_a_catalogue_with_holes_are_made(hole: str) -> None:
    frame = HOLES[hole](models())
    counted = ornb.tiers(frame)
    assert counted.groupby("scheme")["models"].sum().isin([len(frame), frame.index.nunique()]).all()
    changes = ornb.catalog_changes(models(), frame)
    assert not changes.duplicated(["change", "id"]).any()
    if hole.startswith("two"):
        assert any("listed twice; its first row counts" in note for note in changes.attrs["notes"])
        assert len(changes) == 0


def test_what_a_table_of_changes_notes_is_in_its_figure_too() -> None:
    changes = ornb.catalog_changes("2025-09-01", "2026-08-22")
    assert "2025-09-01 was asked for; the last observation before it" in caption(
        plots.catalog_changes(changes)
    )
    none = plots.catalog_changes(ornb.catalog_changes("2026-08-22", "2026-08-22"))
    assert "Both are the observation of 2026-08-22" in caption(none)
    assert "Nothing to draw. There are no changes." in said(none)


# --- too few calls, and none that went well -------------------------------------------------------


@pytest.mark.parametrize("name", OF_CALLS)
def test_a_single_call_is_drawn_and_said_to_be_one(name: str) -> None:
    figure = OF_CALLS[name](measured())
    assert len(plots.table(figure)) >= 1
    assert "1 of 1" in caption(figure)
    if name in ("latency_ecdf", "latency_intervals"):
        assert "ewer than 10 calls" in caption(figure) or "too few calls" in caption(figure)


@pytest.mark.parametrize("name", OF_CALLS)
def test_calls_that_all_failed_are_counted(name: str) -> None:
    figure = OF_CALLS[name](measured(repeats=3, ornb=FAILING))
    assert "3 failed" in said(figure) or "1 without a time" in said(figure)
    if name != "spend":
        assert "Nothing to draw." in said(figure)


def test_a_model_that_always_failed_does_not_hide_the_others() -> None:
    dead = CALLS.assign(model="lab/dead", status="error", time_to_first_token_s=np.nan)
    calls = pd.concat([CALLS, dead.head(5)], ignore_index=True)
    summary = ornb.latency_summary(calls)
    assert summary.index[-1] == "lab/dead"
    assert summary["median"].notna().tolist() == [True] * 3 + [False]
    verdicts = ornb.latency_differences(calls)["verdict"]
    assert verdicts.str.contains("lab/dead gave no such time").sum() == 3
    assert len(verdicts) == 6
    for name in ("latency_ecdf", "latency_intervals"):
        names = " ".join(map(str, plots.table(OF_CALLS[name](calls))["name"].unique()))
        assert all(model in names for model in CALLS["model"].unique())


def test_a_summary_of_no_calls_is_a_table_and_a_figure() -> None:
    none = CALLS.head(0)
    assert len(ornb.latency_summary(none)) == len(ornb.latency_differences(none)) == 0
    for draw in OF_CALLS.values():
        assert "Nothing to draw." in said(draw(none))


def test_a_frame_that_was_not_summed_up_is_told_how() -> None:
    with pytest.raises(ornb.errors.ConfigError, match=r"ornb\.latency_summary"):
        plots.latency_intervals(CALLS)


# --- a recording that cannot be used as a whole ---------------------------------------------------


@pytest.fixture
def lesson(tmp_path: Path) -> Path:
    path = tmp_path / "lesson.jsonl"
    ornb.connect(offline=True)
    with ornb.record(path):
        for prompt in ("One", "Two"):
            ornb.ask(prompt, "openai/gpt-4o-mini", max_tokens=3)
    return path


DAMAGE: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "a damaged line": (lambda lines: [*lines[:2], "{]", *lines[2:]], "Line 3 is damaged"),
    "a line that was cut": (lambda lines: [*lines, lines[-1][:40]], "Line 4 is cut off"),
    "a part of another version": (
        lambda lines: [*lines, '{"ornb_recording": 99}', lines[-1]],
        "format 99.*Update ornb",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_recording_with_damage_is_named_and_its_calls_are_tables_and_figures(
    lesson: Path, damage: str
) -> None:
    change, words = DAMAGE[damage]
    lines = change(lesson.read_text().splitlines())
    end = "" if damage == "a line that was cut" else "\n"
    lesson.write_text("\n".join(lines) + end)
    tracker = ornb.UsageTracker()
    with pytest.warns(UserWarning, match=words):
        replay = ornb.replay(lesson, pace="instant")
    with replay:
        for prompt in ("One", "Two"):
            tracker.record(ornb.ask(prompt, "openai/gpt-4o-mini", max_tokens=3))
    assert tracker.df["source"].tolist() == ["recorded"] * 2
    assert "Source: answers recorded from ornb/canned." in caption(plots.spend(tracker.df))
    assert "recorded" in caption(plots.latency_ecdf(tracker.df))


def test_a_recording_of_another_version_stops_no_notebook(lesson: Path, capsys: Any) -> None:
    lesson.write_text(lesson.read_text().replace('"ornb_recording": 1', '"ornb_recording": 99'))
    ornb.connect(recording=lesson)
    assert "format 99" in capsys.readouterr().out
    assert ornb.ask("One", "openai/gpt-4o-mini", max_tokens=3).source == "canned"
    ornb.connect(offline=True)
