"""Figures: they hold the frame's numbers, say what is missing, and can be seen by everyone."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import ornb
from ornb import plots
from ornb.errors import ConfigError
from ornb.plots import style, words
from ornb.plots.answer import visible
from ornb.plots.catalogue import front
from tests.figures import ALL, CALLS, TOLD, history, models

ROOT = Path(__file__).parents[1]
WHITE, BLACK = "#FFFFFF", "#111111"


def caption(figure: go.Figure) -> str:
    return str(figure.layout.meta["caption"])


def marks(figure: go.Figure) -> pd.DataFrame:
    return plots.table(figure)


@pytest.fixture
def fresh_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model has been drawn yet."""
    monkeypatch.setattr(style, "_places", {})


def test_the_tab_key_shows_figures_and_no_modules() -> None:
    assert [name for name in dir(plots) if not callable(getattr(plots, name))] == []
    with pytest.raises(AttributeError, match="latency_ecdf"):
        plots.latency(ornb.usage)
    assert not hasattr(plots, "_repr_html_")


@pytest.mark.parametrize("figure", [plots.spend, plots.latency_ecdf, plots.first_token_and_rate])
def test_a_tracker_is_drawn_as_its_table(figure: Callable[..., go.Figure]) -> None:
    tracker = ornb.UsageTracker()
    for seconds in (0.2, 0.3, 0.4):
        timing = ornb.Timing(None, 0.01, seconds, seconds, 1.0, 2.0)
        tracker.record(ornb.Reply(requested_model="a/b", timing=timing, usage=ornb.Usage(1, 9)))
    assert figure(tracker).to_json() == figure(tracker.df).to_json()


# ---- every figure --------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
@pytest.mark.parametrize("name", ALL)
def test_every_figure_is_a_plain_one_that_json_can_hold(name: str, theme: str) -> None:
    figure = ALL[name](theme=theme)
    assert type(figure) is go.Figure
    told = json.loads(figure.to_json())
    assert told["data"]
    assert "NaN" not in figure.to_json()
    assert figure.layout.paper_bgcolor is None, "the template's"
    assert told["layout"]["template"]["layout"]["paper_bgcolor"] == style.THEMES[theme].paper


@pytest.mark.parametrize("name", ALL)
def test_every_figure_has_title_units_and_source(name: str) -> None:
    figure = ALL[name]()
    title = figure.layout.title.text
    assert title.startswith("<b>")
    assert "?" in title
    axes = [axis.title.text or "" for axis in figure.select_xaxes()]
    axes += [axis.title.text or "" for axis in figure.select_yaxes()]
    units = (
        r"\(USD|\(s\)|\(points\)|\(tokens\)|\(%\)|UTC|per second|^models$|^changes$|^rows$|before|"
        "order|no unit"
    )
    assert any(re.search(units, text) for text in axes), axes
    assert caption(figure).startswith("Source: ")
    drawn = " ".join(note.text or "" for note in figure.layout.annotations)
    assert caption(figure)[:40] in drawn, "the caption is in the figure"


@pytest.mark.parametrize("name", ALL)
def test_every_figure_can_be_read_as_a_table(name: str) -> None:
    rows = marks(ALL[name]())
    assert len(rows) > 0
    assert rows["name"].notna().all()
    assert rows.attrs["caption"]


@pytest.mark.parametrize("name", ALL)
def test_no_text_of_a_figure_has_two_dollar_signs(name: str) -> None:
    """Where a page has MathJax, plotly takes what is between them for TeX."""
    figure = ALL[name]()
    texts = [figure.layout.title.text, *(note.text for note in figure.layout.annotations)]
    texts += [axis.title.text for axis in (figure.layout.xaxis, figure.layout.yaxis)]
    for axis in [*figure.select_xaxes(), *figure.select_yaxes()]:
        texts += list(axis.ticktext or ())
    for trace in figure.data:
        texts += [*(trace.text or ()), trace.name, trace.hovertemplate]
        texts += [text for text in (*trace.x, *trace.y) if isinstance(text, str)]
    assert [text for text in texts if text and text.count("$") > 1] == []


@pytest.mark.parametrize("name", ALL)
def test_no_axis_writes_an_amount_with_a_prefix_of_the_sciences(name: str) -> None:
    """Plotly's own choice for 0.0005 USD is "500µ"."""
    figure = ALL[name]()
    usual = figure.layout.template.layout
    for axis in [*figure.select_xaxes(), *figure.select_yaxes()]:
        default = usual.xaxis if axis in figure.select_xaxes() else usual.yaxis
        chosen = axis.exponentformat or default.exponentformat
        assert chosen == "none" or axis.ticktext or axis.type in ("category", "date")


@pytest.mark.parametrize("name", ALL)
def test_names_of_rows_do_not_touch_their_axis(name: str) -> None:
    axes = [axis for axis in ALL[name]().select_yaxes() if axis.type == "category"]
    assert all((axis.ticklabelstandoff or 0) >= 4 for axis in axes)


def test_marks_at_the_edge_are_whole() -> None:
    for name in ("price_by_hour", "price_by_length", "calibration"):
        lines = [trace for trace in ALL[name]().data if trace.type == "scatter"]
        marks = [trace for trace in lines if "markers" in trace.mode]
        assert marks
        assert all(trace.cliponaxis is False for trace in marks)


@pytest.mark.parametrize("name", ALL)
def test_figures_stay_small(name: str) -> None:
    assert len(ALL[name]().to_json()) < 60_000


@pytest.mark.parametrize("name", ALL)
def test_no_figure_offers_to_upload_itself(name: str) -> None:
    """Plotly 7 has a button that sends a figure to its maker's servers."""
    modebar = ALL[name]().layout.template.layout.modebar
    assert "sendChartToCloud" in modebar.remove


def test_figures_are_not_changed_by_another_call() -> None:
    first = plots.price_map(models()).to_json()
    plots.price_map(models(), highlight="openai/gpt-5.4")
    assert plots.price_map(models()).to_json() == first


def test_frames_are_left_as_they_were() -> None:
    frame = models()
    before = list(frame.columns), len(frame), dict(frame.attrs)
    plots.price_quality(frame)
    plots.families(frame)
    assert (list(frame.columns), len(frame), dict(frame.attrs)) == before


def test_plots_is_reached_without_an_import_and_loads_plotly_only_for_a_figure() -> None:
    code = (
        "import sys, ornb; assert 'ornb.plots' not in sys.modules; ornb.plots.price_map;"
        "assert 'plotly' not in sys.modules; ornb.plots.template(); assert 'plotly' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ---- who answered --------------------------------------------------------------------------------

SMALL = "ornb/smollm2-135m-instruct"
STOOD_IN = CALLS.assign(source="recorded", served_model=SMALL, provider="ornb offline")
"""What the small model answered under three names, recorded."""
OF_CALLS: dict[str, Callable[[pd.DataFrame], go.Figure]] = {
    "latency_ecdf": plots.latency_ecdf,
    "latency_intervals": lambda calls: plots.latency_intervals(ornb.latency_summary(calls)),
    "first_token_and_rate": plots.first_token_and_rate,
    "spend": plots.spend,
}


@pytest.mark.parametrize("draw", OF_CALLS.values(), ids=list(OF_CALLS))
def test_one_engine_under_several_names_is_said_in_the_title(
    draw: Callable[[pd.DataFrame], go.Figure],
) -> None:
    said = f"{SMALL} answered under all 3 names"
    assert said in draw(STOOD_IN).layout.title.text
    assert said in plots.with_table(draw(STOOD_IN)).to_html()
    own = STOOD_IN.assign(served_model=STOOD_IN["model"], source="live")
    assert "answered under" not in draw(own).layout.title.text
    elsewhere = STOOD_IN.assign(provider=STOOD_IN["model"])
    assert "answered under" not in draw(elsewhere).layout.title.text


@pytest.mark.parametrize("draw", OF_CALLS.values(), ids=list(OF_CALLS))
def test_one_engine_is_not_ranked_under_its_names(
    draw: Callable[[pd.DataFrame], go.Figure],
) -> None:
    names = list(dict.fromkeys(STOOD_IN["model"]))
    slow_first = STOOD_IN.assign(
        time_to_first_token_s=STOOD_IN["model"].map({n: 9.0 - i for i, n in enumerate(names)})
    )
    figure = draw(slow_first)
    assert not re.search("Better|Who |fastest|cheapest", figure.layout.title.text)
    order = [n for t in figure.data for n in names if str(t.name).startswith(n)]
    assert order in (sorted(names), names, []), "as they were asked, or by name"


def test_two_of_three_names_are_counted_and_a_fallback_is_no_engine_of_two() -> None:
    names = list(dict.fromkeys(STOOD_IN["model"]))
    served = STOOD_IN["model"].where(STOOD_IN["model"] == names[0], SMALL)
    figure = plots.latency_ecdf(STOOD_IN.assign(served_model=served))
    assert f"{SMALL} answered under 2 of 3 names" in figure.layout.title.text
    once = STOOD_IN["model"].where(STOOD_IN.index > 2, SMALL)
    assert (
        "answered" not in plots.latency_ecdf(STOOD_IN.assign(served_model=once)).layout.title.text
    )


@pytest.mark.parametrize("draw", OF_CALLS.values(), ids=list(OF_CALLS))
def test_recorded_answers_say_what_they_were_recorded_from(
    draw: Callable[[pd.DataFrame], go.Figure],
) -> None:
    assert f"recorded from {SMALL}" in caption(draw(STOOD_IN))
    live = STOOD_IN.assign(served_model=STOOD_IN["model"])
    assert "recorded live" in caption(draw(live))


# ---- colours and themes --------------------------------------------------------------------------


def contrast(first: str, second: str) -> float:
    """Contrast of two colours, from 1 to 21. WCAG 2.2, contrast ratio and relative luminance."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("color", [*style.PALETTE, style.OTHER])
def test_marks_stand_out_on_white_and_on_black(color: str) -> None:
    """WCAG 2.2, 1.4.11: 3:1 for graphics."""
    assert contrast(color, WHITE) >= 3
    assert contrast(color, BLACK) >= 3


@pytest.mark.parametrize(("theme", "least"), [("light", 7), ("dark", 7)])
def test_text_of_a_theme_has_high_contrast(theme: str, least: float) -> None:
    of = style.THEMES[theme]
    assert contrast(of.text, of.paper) >= least
    assert contrast(of.quiet, of.paper) >= least


def test_text_of_the_default_theme_is_the_best_one_grey_for_both() -> None:
    """No colour has more than 4.35 against white and JupyterLab's #111111 at once."""
    grey = style.THEMES["auto"].text
    least = min(contrast(grey, WHITE), contrast(grey, BLACK))
    greys = [f"#{n:02x}{n:02x}{n:02x}" for n in range(256)]
    best = max(min(contrast(g, WHITE), contrast(g, BLACK)) for g in greys)
    assert least == best > 4.3


DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881]]  # fmt: skip
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
              [-0.003882, -0.048116, 1.051998]]  # fmt: skip
"""Machado, Oliveira and Fernandes 2009, severity 1, for linear RGB."""


def oklab(color: str, seen: Any) -> Any:
    parts = np.array([int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    lms = np.cbrt(
        np.array(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ]
        )
        @ np.clip(np.array(seen) @ linear, 0, 1)
    )
    return np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                     [1.9779984951, -2.4285922050, 0.4505937099],
                     [0.0259040371, 0.7827717662, -0.8086757660]]) @ lms  # fmt: skip


@pytest.mark.parametrize("seen", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["all", "deut", "prot"])
def test_colors_are_told_apart_by_the_colour_blind(seen: Any) -> None:
    far = [
        float(np.linalg.norm(oklab(a, seen) - oklab(b, seen)))
        for a, b in combinations(style.PALETTE, 2)
    ]
    assert min(far) > 0.06


def test_a_model_has_one_color_in_every_figure(fresh_colors: None) -> None:
    model = "openai/gpt-5.4-nano"
    mapped = plots.price_map(models(), highlight=[model]).data[-1].marker.color
    line = next(t for t in plots.latency_ecdf(CALLS).data if t.name.startswith(model)).line.color
    dot = next(t for t in plots.first_token_and_rate(CALLS).data if t.legendgroup == model)
    assert mapped == line == dot.marker.color == plots.color_of(model)


def test_first_of_a_makers_models_has_the_makers_color(fresh_colors: None) -> None:
    assert plots.color_of("openai/gpt-5.4") == style.maker_color("openai")
    assert plots.color_of("openai/gpt-5.4-nano") != style.maker_color("openai")


def test_eight_models_have_eight_colors_then_other_symbols(fresh_colors: None) -> None:
    names = [f"openai/m{n}" for n in range(80)]
    looks = [(plots.color_of(n), style.symbol_of(n)) for n in names]
    assert len({color for color, _ in looks[:8]}) == 8
    assert len(set(looks[:64])) == 64
    assert len(looks) == 80, "and more do no harm"


def test_use_theme_holds_until_the_next_choice() -> None:
    try:
        plots.use_theme("dark")
        assert plots.price_map(models()).layout.template.layout.paper_bgcolor == "#111111"
        light = plots.price_map(models(), theme="light")
        assert light.layout.template.layout.paper_bgcolor == "#FFFFFF"
    finally:
        plots.use_theme("auto")


def test_unknown_theme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'auto', 'light', 'dark'"):
        plots.price_map(models(), theme="solarized")
    with pytest.raises(ConfigError, match="solarized"):
        plots.use_theme("solarized")  # type: ignore[arg-type]


# ---- figures hold the frame's numbers ------------------------------------------------------------


def test_price_map_has_the_prices_of_the_frame() -> None:
    frame = models()
    rows = marks(plots.price_map(frame)).set_index("name")
    priced = frame.loc[rows.index]
    for column in ("prompt_usd_per_million", "completion_usd_per_million"):
        assert np.allclose(rows[column].astype(float), priced[column])
    paid = frame[(frame["prompt_usd_per_million"] > 0) & (frame["completion_usd_per_million"] > 0)]
    usual = paid[~paid["is_alias"] & ~paid["is_batch"]]
    assert set(rows.index) == set(usual.index)


def test_price_map_counts_all_that_it_leaves_out() -> None:
    frame = models()
    said = caption(plots.price_map(frame))
    shown, total = map(int, re.search(r"(\d+) of (\d+) models shown", said).groups())
    aside = [
        int(n) for n in re.findall(r"(\d+) (?=aliases|batch|routers|not billed|free|with)", said)
    ]
    assert total == len(frame)
    assert shown + sum(aside) == total
    assert "snapshot of 2026-08-22" in said


def test_highlighted_models_are_drawn_even_if_batch_or_alias() -> None:
    frame = models()
    batch = frame.index[frame["is_batch"]][0]
    figure = plots.price_map(frame, highlight=batch)
    assert figure.data[-1].text == (batch,)
    assert [t.name for t in figure.data] == ["other models", batch]


def test_front_has_no_model_that_another_beats() -> None:
    frame = models()
    scored = frame[frame["intelligence_index"].notna()].copy()
    scored["usd"] = scored["prompt_usd_per_million"]
    scored = scored[scored["usd"].notna()]
    best = scored.loc[front(scored, "usd", "intelligence_index")]
    for row in best.itertuples():
        better = scored[
            (scored["usd"] <= row.usd) & (scored["intelligence_index"] > row.intelligence_index)
        ]
        assert better.empty
    others = scored.drop(best.index)
    for row in others.itertuples():
        assert (
            (best["usd"] <= row.usd) & (best["intelligence_index"] >= row.intelligence_index)
        ).any()


@pytest.mark.parametrize("draw", [plots.price_quality, plots.context_price])
def test_the_front_of_paid_models_does_not_begin_at_a_free_one(
    draw: Callable[[pd.DataFrame], go.Figure],
) -> None:
    figure = draw(models())
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert all(figure.layout.xaxis.tickvals[0] < min(line.x) for line in lines)
    if draw is plots.price_quality:
        assert [line.name for line in lines] == ["Pareto front"]
        assert "Line: paid models that no paid one beats" in figure.layout.title.text


@pytest.mark.parametrize("draw", [plots.price_quality, plots.context_price, plots.price_map])
def test_a_highlighted_model_that_has_no_place_is_named_with_the_reason(
    draw: Callable[..., go.Figure],
) -> None:
    frame = models()
    no_place = {
        plots.price_quality: frame.index[frame["intelligence_index"].isna() & ~frame["is_router"]],
        plots.context_price: frame.index[frame["is_router"]],
        plots.price_map: frame.index[frame["is_free"]],
    }[draw][0]
    figure = draw(frame, highlight=[no_place, "openai/gpt-5.4"])
    assert re.search(f"Asked for, but left out: {re.escape(no_place)}, .+[.]", caption(figure))
    assert "left out: openai" not in caption(figure)


@pytest.mark.parametrize("draw", [plots.price_by_length, plots.price_by_hour])
def test_a_model_asked_for_that_has_no_price_is_named(draw: Callable[..., go.Figure]) -> None:
    router = models().index[models()["is_router"]][0]
    said = caption(draw(models(), [router, "openai/gpt-5.4"]))
    assert f"left out: {router}, without a price by the token" in said
    assert "1 of " in said


def test_free_models_stand_apart_and_keep_their_price() -> None:
    figure = plots.price_quality(models())
    axis = figure.layout.xaxis
    assert axis.ticktext[0] == "free"
    at_free = [
        name
        for trace in figure.data
        if trace.meta
        for name, x in zip(trace.text, trace.x, strict=True)
        if x == axis.tickvals[0]
    ]
    assert at_free
    assert models().loc[at_free, "is_free"].all()


def test_models_without_a_score_are_counted() -> None:
    frame = models()
    usual = frame[~frame["is_alias"] & ~frame["is_batch"]]
    missing = int(usual["coding_index"].isna().sum())
    assert f"{missing} without a score in coding_index" in caption(
        plots.price_quality(frame, "coding_index")
    )


def test_tiers_are_those_of_the_table() -> None:
    frame = models()
    table = ornb.tiers(frame)
    for trace, scheme in zip(plots.price_tiers(frame).data, ("per_token", "blended"), strict=True):
        part = table[table["scheme"] == scheme]
        assert list(trace.x) == part["models"].tolist()
        assert list(trace.text) == [words.plain(tier) for tier in part["tier"]]


def test_families_count_what_they_show() -> None:
    figure = plots.families(models(), most=5)
    numbers = [int(note.text) for note in figure.layout.annotations if note.text.isdigit()]
    assert len(numbers) == 5
    assert sum(numbers) == len(figure.data[0].x)


def test_provider_spread_has_every_endpoint_in_order_of_price() -> None:
    frame = ornb.endpoints("openai/gpt-oss-120b")
    figure = plots.provider_spread(frame)
    prompt, completion = (t for t in figure.data if t.name in ("prompt", "completion"))
    assert sorted(prompt.x) == sorted(frame["prompt_usd_per_million"])
    blended = [3 * p + c for p, c in zip(prompt.x, completion.x, strict=True)]
    assert blended == sorted(blended)
    assert len(set(prompt.y)) == len(frame), "one row each"


def test_price_by_length_steps_where_the_listing_says() -> None:
    line = plots.price_by_length(models(), "openai/gpt-5.4").data[0]
    entry = models().loc["openai/gpt-5.4", "raw"]["pricing"]["overrides"][0]
    threshold = entry["min_prompt_tokens"]
    before = [y for x, y in zip(line.x, line.y, strict=True) if x <= threshold]
    after = [y for x, y in zip(line.x, line.y, strict=True) if x > threshold]
    assert np.allclose(before, (3 * 2.5 + 15) / 4)
    dear = (3 * float(entry["prompt"]) + float(entry["completion"])) / 4 * 1e6
    assert np.allclose(after, dear)


def _listed(context_length: int, **prices: Any) -> dict[str, Any]:
    pricing = {"prompt": "0.000001", "completion": "0.000002", **prices}
    return {"context_length": context_length, "pricing": pricing}


def test_endpoints_of_a_price_need_their_model_and_those_asked_for_are_named_if_left_out() -> None:
    names = {"provider_name": ["A&B", "Cee"], "raw": [_listed(8000), None]}
    with pytest.raises(ConfigError, match="has no column 'model_id', as those"):
        plots.price_by_length(pd.DataFrame(names), most=1)
    figure = plots.price_by_length(pd.DataFrame({**names, "model_id": "lab/a"}), "lab/a")
    assert "Asked for, but left out: lab/a · Cee, without a price by the token." in caption(figure)
    assert set(marks(figure)["name"]) == {"lab/a · A&B"}


@pytest.mark.parametrize("length", [512, 800, 1000])
def test_a_short_context_is_drawn_as_far_as_it_goes(length: int) -> None:
    step = {"min_prompt_tokens": 200, "prompt": "0.000005"}
    raw = [_listed(length), _listed(length, overrides=[step])]
    figure = plots.price_by_length(pd.DataFrame({"id": ["lab/a", "lab/b"], "raw": raw}), ["lab/b"])
    line = figure.data[0]
    assert (min(line.x), max(line.x)) == (1, length)
    assert {197, 203} <= set(line.x)
    low, high = figure.layout.xaxis.range
    assert sum(low <= math.log10(tick) <= high for tick in figure.layout.xaxis.tickvals) >= 2


def test_price_by_hour_has_the_hours_of_the_listing() -> None:
    frame = ornb.endpoints("deepseek/deepseek-v4-pro-0813")
    line = plots.price_by_hour(frame).data[0]
    day = dict(zip(line.x, line.y, strict=True))
    assert {0.0, 14.0, 24.0} <= set(day)
    assert day[0.0] > day[24.0]
    said = caption(plots.price_by_hour(frame))
    assert "12 whose listed price does not depend on the hour" in said


def test_price_history_draws_what_was_seen_and_where_it_ended() -> None:
    figure = plots.price_history(history())
    seen = next(t for t in figure.data if t.name == "lab/old")
    assert list(zip(seen.x, seen.y, strict=True)) == [("2025-04-09", 1.0), ("2025-09-24", 2.0)]
    crosses = [t for t in figure.data if t.marker.symbol == "x"]
    assert [(t.x[0], t.y[0]) for t in crosses] == [("2025-12-31", 2.0)]
    assert "1 without a price" in caption(figure)


def test_price_history_is_dotted_only_where_the_price_changed() -> None:
    def dots(frame: pd.DataFrame) -> list[Any]:
        drawn = plots.price_history(frame[frame["id"] == "lab/old"]).data
        return [x for trace in drawn if trace.line.dash == "dot" for x in trace.x if x]

    seen = history()
    assert dots(seen)
    for price in ("prompt_usd_per_million", "completion_usd_per_million"):
        seen.loc[seen["id"] == "lab/old", price] = 1.0  # only the context changed, say
    assert dots(seen) == []


def test_price_history_does_without_the_dates_in_between() -> None:
    lean = history()[["id", "date", "prompt_usd_per_million", "completion_usd_per_million"]]
    assert len(marks(plots.price_history(lean))) == 4


def test_price_history_reads_dates_that_are_texts() -> None:
    frame = history()
    texts = frame.assign(**{name: frame[name].astype(str) for name in ("date", "seen_until")})
    short = frame.assign(date=frame["date"].dt.strftime("%Y-%m-%d"))
    for same in (texts, short):
        assert plots.price_history(same).to_json() == plots.price_history(frame).to_json()
    figure = plots.price_history(texts.assign(date=["one day", *texts["date"][1:]]))
    assert "1 without a date" in caption(figure)


def test_a_price_from_zero_has_no_factor_and_moves_no_bar() -> None:
    changes = pd.DataFrame(
        {
            "id": ["lab/a", "lab/b", "lab/c"],
            "change": ["no longer free", "dearer", "cheaper"],
            "price_ratio": [math.inf, 2.0, 0.5],
        }
    )
    kinds, bars = plots.catalog_changes(changes).data
    assert sorted(kinds.x) == [1, 1, 1]
    drawn = dict(zip(bars.y, zip(bars.base, bars.x, bars.marker.color, strict=True), strict=True))
    assert {name: bar[:2] for name, bar in drawn.items()} == {"b": (1.0, 1.0), "c": (1.0, -0.5)}
    assert len(plots.catalog_changes(changes[:1]).data) == 1


def test_catalog_changes_counts_each_kind() -> None:
    changes = ornb.catalog_changes("2025-04-09", "2025-06-11")
    figure = plots.catalog_changes(changes)
    drawn = dict(zip(figure.data[0].y, figure.data[0].x, strict=True))
    assert drawn == changes["change"].value_counts().to_dict()
    factors = dict(zip(figure.data[1].text, figure.data[1].x, strict=True))
    ratios = changes.drop_duplicates("id").set_index("id")["price_ratio"]
    assert all(math.isclose(ratios[name] - 1, x) for name, x in factors.items() if name in ratios)


def test_ecdf_ends_at_all_calls_and_leaves_out_what_failed() -> None:
    figure = plots.latency_ecdf(CALLS)
    steps = [trace for trace in figure.data if trace.meta]
    assert all(trace.y[-1] == 100 for trace in steps)
    counted = CALLS[~CALLS["warmup"] & (CALLS["status"] == "ok")]
    assert sum(len(trace.x) for trace in steps) == len(counted)
    said = caption(figure)
    assert f"{int((CALLS['status'] == 'error').sum())} failed" in said
    assert "to warm up" in said
    assert "canned" in said


def test_intervals_are_those_of_the_summary() -> None:
    summary = ornb.latency_summary(CALLS)
    figure = plots.latency_intervals(summary)
    for trace in (t for t in figure.data if t.meta):
        row = summary.loc[trace.text[0]]
        assert trace.x[0] == row["median"]
        assert math.isclose(trace.x[0] + trace.error_x.array[0], row["median_high"])
        assert math.isclose(trace.x[0] - trace.error_x.arrayminus[0], row["median_low"])


def test_intervals_say_where_there_are_too_few_calls() -> None:
    summary = ornb.latency_summary(CALLS.groupby("model").head(4), by=["model", "concurrency"])
    figure = plots.latency_intervals(summary)
    dots = [t for t in figure.data if t.meta]
    assert {t.marker.symbol for t in dots} == {"circle-open"}
    assert f"Open dot: too few calls for an interval ({len(summary)})." in caption(figure)
    assert any("· 1" in t.name for t in dots), "both levels of the index are in the names"


def test_spend_keeps_bills_and_estimates_apart_and_marks_failures() -> None:
    figure = plots.spend(CALLS)
    billed, estimated = figure.data[0], figure.data[1]
    assert math.isclose(billed.y[-1], CALLS["cost_usd"].sum())
    assert math.isclose(estimated.y[-1], CALLS["estimate_usd"].sum())
    assert billed.line.dash != estimated.line.dash
    failed = next(t for t in figure.data if t.name == "error")
    assert len(failed.x) == (CALLS["status"] == "error").sum()
    assert "without a bill, so not in that line" in caption(figure)


def test_spend_says_that_no_call_was_billed_and_draws_those_of_another_status() -> None:
    calls = CALLS.head(3).assign(cost_usd=float("nan"), status=["ok", "lost", None])
    figure = plots.spend(calls)
    assert figure.data[0].name == "billed: none of 3 calls"
    assert "2 of a status that is not known." in caption(figure)
    assert [len(t.x) for t in figure.data if t.name in ("ok", "not known")] == [1, 2]


def test_a_list_is_no_column_and_a_number_no_day() -> None:
    frame = pd.DataFrame({"embedding": [[1.0, 0], [0, 1.0]]})
    for options in ({"color": [["x"]]}, {"text": ["embedding"]}, {"embedding": ["embedding"]}):
        with pytest.raises(ConfigError, match="the frame of texts has no column"):
            plots.text_map(frame, **options)
    for day in (1, None, ["monday"]):
        with pytest.raises(ConfigError, match="a weekday"):
            plots.price_by_hour(models(), day=day)  # type: ignore[arg-type]


def test_token_probabilities_are_exponentials_and_show_what_was_likelier() -> None:
    figure = plots.token_probabilities(TOLD)
    taken, surprise, others = figure.data
    assert math.isclose(taken.y[0], 62)
    assert surprise.name == "taken, another was likelier"
    assert math.isclose(surprise.y[0], 31)
    assert all(0 <= y <= 100 for trace in (taken, surprise, others) for y in trace.y)


def test_token_probabilities_take_a_reply() -> None:
    reply = ornb.Reply(text="Hi", logprobs=tuple(TOLD), source="local", model="lab/small")
    assert caption(plots.token_probabilities(reply)).startswith("Source: local, lab/small.")


# ---- bad input -----------------------------------------------------------------------------------

EMPTY: dict[str, Callable[[], go.Figure]] = {
    "price_map": lambda: plots.price_map(models().head(0)),
    "price_quality": lambda: plots.price_quality(models().head(0)),
    "context_price": lambda: plots.context_price(models().head(0)),
    "price_tiers": lambda: plots.price_tiers(models().head(0)),
    "families": lambda: plots.families(models().head(0)),
    "provider_spread": lambda: plots.provider_spread(ornb.endpoints("openai/gpt-4o").head(0)),
    "price_by_length": lambda: plots.price_by_length(models().head(0)),
    "price_by_hour": lambda: plots.price_by_hour(models()),
    "price_history": lambda: plots.price_history(history().head(0)),
    "catalog_changes": lambda: plots.catalog_changes(
        ornb.catalog_changes("2025-04-09", "2025-06-11").head(0)
    ),
    "latency_ecdf": lambda: plots.latency_ecdf(CALLS[CALLS["status"] == "error"]),
    "latency_intervals": lambda: plots.latency_intervals(
        ornb.latency_summary(CALLS[CALLS["status"] == "error"])
    ),
    "first_token_and_rate": lambda: plots.first_token_and_rate(CALLS.head(0)),
    "spend": lambda: plots.spend(CALLS.head(0)),
    "token_probabilities": lambda: plots.token_probabilities([]),
}


@pytest.mark.parametrize("name", EMPTY)
def test_a_figure_of_nothing_says_why(name: str) -> None:
    figure = EMPTY[name]()
    drawn = " ".join(note.text for note in figure.layout.annotations)
    assert "Nothing to draw." in drawn
    assert len(marks(figure)) == 0
    json.loads(figure.to_json())


ONE: dict[str, Callable[[], go.Figure]] = {
    "price_map": lambda: plots.price_map(models().loc[["openai/gpt-4o"]]),
    "price_quality": lambda: plots.price_quality(models().loc[["openai/gpt-5.4"]]),
    "context_price": lambda: plots.context_price(models().loc[["openai/gpt-4o"]]),
    "families": lambda: plots.families(models().loc[["openai/gpt-4o"]]),
    "provider_spread": lambda: plots.provider_spread(ornb.endpoints("openai/gpt-4o").head(1)),
    "price_history": lambda: plots.price_history(history().head(1)),
    "latency_ecdf": lambda: plots.latency_ecdf(CALLS[~CALLS["warmup"]].head(1)),
    "spend": lambda: plots.spend(CALLS.head(1)),
    "token_probabilities": lambda: plots.token_probabilities(TOLD[:1]),
}


@pytest.mark.parametrize("name", ONE)
def test_one_row_is_enough(name: str) -> None:
    assert len(marks(ONE[name]())) >= 1


def test_missing_columns_are_named() -> None:
    with pytest.raises(ConfigError, match="'completion_usd_per_million'"):
        plots.price_map(models().drop(columns="completion_usd_per_million"))
    with pytest.raises(ConfigError, match="'tokens_per_second'"):
        plots.first_token_and_rate(CALLS.drop(columns="tokens_per_second"))
    with pytest.raises(ConfigError, match="'nothing_s'"):
        plots.latency_ecdf(CALLS, "nothing_s")


@pytest.mark.parametrize("wrong", [None, [1, 2], {"a": 1}, "models"])
def test_what_is_no_frame_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=f"not {type(wrong).__name__}"):
        plots.price_map(wrong)
    with pytest.raises(ConfigError, match=f"not {type(wrong).__name__}"):
        plots.latency_intervals(wrong)


@pytest.mark.parametrize("wrong", [None, 3, "text", pd.DataFrame()])
def test_what_is_no_answer_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="logprobs=True"):
        plots.token_probabilities(wrong)


def test_unknown_ids_and_choices_are_refused() -> None:
    with pytest.raises(ConfigError, match="intelligence_index, coding_index"):
        plots.price_quality(models(), "elo")
    with pytest.raises(ConfigError, match="blended, prompt"):
        plots.price_history(history(), price="cheap")
    with pytest.raises(ConfigError, match="weekday"):
        plots.price_by_hour(models(), day="someday")
    with pytest.raises(ConfigError, match="at least 0 and at most 23"):
        plots.price_by_length(models(), hour=24)
    with pytest.raises(ConfigError, match='"author" or "family"'):
        plots.families(models(), by="color")
    with pytest.raises(ConfigError, match="at least 1"):
        plots.token_probabilities(TOLD, most=0)


@pytest.mark.parametrize("wrong", ["6", None, 2.5, [1], True])
def test_what_is_no_whole_number_is_refused(wrong: Any) -> None:
    for draw in (
        lambda: plots.price_by_length(models(), most=wrong),
        lambda: plots.price_by_length(models(), hour=wrong),
        lambda: plots.price_by_hour(models(), prompt_tokens=wrong),
        lambda: plots.price_history(history(), most=wrong),
        lambda: plots.catalog_changes(history(), most=wrong),
        lambda: plots.families(models(), most=wrong),
        lambda: plots.token_probabilities(TOLD, most=wrong),
        lambda: plots.with_table(plots.token_probabilities(TOLD), rows=wrong),
    ):
        with pytest.raises(ConfigError, match="give a whole number, at least"):
            draw()
    assert plots.token_probabilities(TOLD, most=np.int64(1)).data  # type: ignore[arg-type]


def test_an_id_that_is_not_there_is_named_and_the_rest_is_shown() -> None:
    """A model that the notebook names may have vanished since."""
    here = "openai/gpt-5.4"
    for draw in (plots.price_map, plots.price_quality, plots.context_price):
        figure = draw(models(), highlight=["lab/gone", here])
        assert "Not among the models given: lab/gone." in caption(figure)
        assert len(figure.data) == len(draw(models(), highlight=[here]).data)
        assert len(draw(models(), highlight=["lab/gone"]).data) > 1
    long = plots.price_by_length(models(), ["lab/gone"])
    assert "lab/gone" in caption(long)
    assert "Nothing to draw" in " ".join(note.text for note in long.layout.annotations)


def test_doubled_ids_are_shown_once_and_counted() -> None:
    frame = models().loc[["openai/gpt-4o", "openai/gpt-4o", "openai/gpt-5.4"]]
    figure = plots.price_map(frame)
    assert len(marks(figure)) == 2
    assert "1 listed twice by id" in caption(figure)


def test_all_scores_missing_is_said() -> None:
    frame = models().assign(intelligence_index=float("nan"))
    figure = plots.price_quality(frame)
    assert "Nothing to draw" in " ".join(note.text for note in figure.layout.annotations)
    assert "without a score" in caption(figure)


def test_missing_and_infinite_times_are_left_out() -> None:
    calls = pd.DataFrame(
        {"model": list("aabb"), "time_to_first_token_s": [0.5, None, float("nan"), 1.0]}
    )
    figure = plots.latency_ecdf(calls)
    assert len(marks(figure)) == 2
    assert "2 without time_to_first_token_s" in caption(figure)
    assert "Source: not stated." in caption(figure)


def test_a_token_that_is_half_a_character_is_drawn() -> None:
    shown = plots.with_table(plots.token_probabilities([{"token": "\ud83d", "logprob": -0.1}]))
    assert "\ufffd" in shown.to_html()


def test_half_a_character_is_in_no_text_of_a_figure() -> None:
    half = "\ud83d"
    told = [{"token": "a", "logprob": -0.1, "top_logprobs": [{"token": half, "logprob": -3.0}]}]
    for figure in (plots.token_probabilities(told), plots.price_map(models(), highlight=[half])):
        text = json.dumps(figure.to_dict(), ensure_ascii=False, default=str)
        assert "\ufffd" in text.encode().decode(), "UTF-8 can hold it"


def test_damaged_logprobs_are_counted() -> None:
    told = [TOLD[0], None, {"token": "x"}, {"token": "y", "logprob": "high"}, {"logprob": -9999.0}]
    figure = plots.token_probabilities(told)
    assert len(figure.data[0].x) == 2
    assert "3 without a probability" in caption(figure)


HOSTILE = '<img src=x onerror=alert(1)><a href="javascript:1">$x$</a> %{meta.caption} &lt;'


def test_text_from_elsewhere_is_shown_as_text() -> None:
    told = [{"token": HOSTILE, "logprob": -0.1, "top_logprobs": []}]
    frame = models().head(2).rename(index={models().index[0]: HOSTILE})
    calls = CALLS.head(3).assign(model=HOSTILE, warmup=False, error=HOSTILE, status="error")
    figures = [
        plots.token_probabilities(told),
        plots.price_map(frame, highlight=HOSTILE),
        plots.spend(calls),
        plots.latency_ecdf(calls.assign(status="ok", source=HOSTILE)),
    ]
    for figure in figures:
        figure.update_layout(meta=None)  # the caption as it is, which is not drawn
        text = figure.to_json().replace("\\u003c", "<").replace("\\u0026", "&")
        assert "<img" not in text
        assert "<a" not in text
        assert "$x$" not in text
        assert "%{meta" not in text


def test_table_gives_hostile_text_back_as_it_was() -> None:
    frame = models().head(2).rename(index={models().index[0]: HOSTILE})
    assert HOSTILE in marks(plots.price_map(frame, highlight=HOSTILE))["name"].tolist()


def test_four_thousand_models_are_drawn() -> None:
    frame = pd.concat([models()] * 10)
    frame.index = pd.Index([f"lab/m{n}" for n in range(len(frame))], name="id")
    figure = plots.price_map(frame)
    assert len(marks(figure)) > 3000
    assert len(figure.to_json()) < 500_000


# ---- calibration ---------------------------------------------------------------------------------


def test_calibration_has_the_shares_the_scores_and_the_intervals_of_the_rows() -> None:
    """By hand: two bins, of 4 rows and of 5."""
    said = [0.2, 0.2, 0.2, 0.2, 0.8, 0.8, 0.8, 0.8, 0.8]
    so = [True, False, False, False, True, True, True, False, True]
    figure = plots.calibration(pd.DataFrame({"angry": said}), so)
    rows = marks(figure)
    assert rows["name"].tolist() == ["0.2 to 0.3", "0.8 to 0.9"]
    assert rows["probability"].tolist() == pytest.approx([0.2, 0.8])
    assert rows["share"].tolist() == pytest.approx([0.25, 0.8])
    assert rows["was yes"].tolist() == ["1 of 4 rows", "4 of 5 rows"]
    assert rows["95 % interval"].tolist() == ["0.05 to 0.70", "0.38 to 0.96"], "Wilson's"
    assert rows.attrs["brier"] == pytest.approx((0.64 + 3 * 0.04 + 4 * 0.04 + 0.64) / 9)
    assert rows.attrs["expected_calibration_error"] == pytest.approx(4 / 9 * 0.05)
    assert "n = 9: Brier score 0.17" in figure.layout.title.text
    assert list(figure.data[2].y) == [4, 5], "the count of each bin"
    assert list(figure.data[0].x) == list(figure.data[0].y) == [0, 1], "the diagonal"
    assert "Too few rows for a threshold" in caption(figure)


def test_the_threshold_of_a_precision_keeps_as_many_rows_as_it_can() -> None:
    frame = pd.DataFrame({"angry": [0.9] * 50 + [0.7] * 50 + [0.2] * 100, "status": "ok"})
    so = [True] * 49 + [False] + [True] * 42 + [False] * 8 + [False] * 100
    figure = plots.calibration(frame, so, precision=0.9)
    told = marks(figure).attrs
    assert (told["threshold"], told["kept"]) == (0.7, 0.5)
    said = caption(figure)
    assert "keep rows from 0.7 on: 100 of 200 rows (50 %, 95 % interval 43 to 57 %)" in said
    assert "91 of 100 rows (91 %, 95 % interval 84 to 95 %) are yes" in said
    assert "The interval goes below 90 %: elsewhere it may be less" in said
    assert marks(plots.calibration(frame, so, precision=0.95)).attrs["threshold"] == 0.9
    none = plots.calibration(frame, so, precision=0.99)
    assert marks(none).attrs["threshold"] is None
    assert "reaches a precision of 99 %: at best, from 0.9 on, 49 of 50 rows" in caption(none)
    assert "recision" not in caption(plots.calibration(frame, so, precision=None))
    assert len(none.layout.shapes) == 0
    assert [shape.x0 for shape in figure.layout.shapes] == [0.7]


def test_a_choice_is_calibrated_by_its_chosen_option() -> None:
    frame = pd.DataFrame(
        {
            "review": list("abcd"),
            "answer": "{}",
            "topic": pd.Categorical(["food", "food", "service", None]),
            "topic_probability": [0.9, 0.6, 0.7, None],
            "status": ["ok", "ok", "ok", "error"],
            "source": "recorded",
            "served_model": "ornb/smollm2-135m-instruct",
        },
        index=[7, 8, 9, 10],
    )
    truth = pd.Series(["food", "service", "service", "food"], index=[10, 9, 8, 7])
    figure = plots.calibration(frame, truth)
    assert figure.layout.xaxis.title.text == "probability of the chosen option, as the model says"
    assert marks(figure)["was right"].tolist() == ["0 of 1 rows", "1 of 1 rows", "1 of 1 rows"]
    assert "3 of 4 rows shown; left out: 1 without a probability." in caption(figure)
    assert "Source: answers recorded from ornb/smollm2-135m-instruct." in caption(figure)
    frame.attrs["source"] = "recorded"  # as ornb.embed says it of the whole
    assert caption(plots.calibration(frame, truth)) == caption(figure)
    named = frame.add_prefix("llm_")
    assert caption(plots.calibration(named, truth)) == caption(figure)


def test_truth_is_read_as_people_write_it() -> None:
    frame = pd.DataFrame({"angry": [0.9, 0.8, 0.1, 0.4], "so": ["yes", "No", None, "no"]})
    first = plots.calibration(frame, "so")
    assert "left out: 1 without a known answer" in caption(first)
    for truth in (
        [1, 0, None, 0],
        pd.array([True, False, pd.NA, False]),
        np.array([1.0, 0, np.nan, 0]),
    ):
        assert plots.calibration(frame, truth).data[1].y == first.data[1].y


GUESSED = pd.DataFrame({"angry": [0.9, 0.1], "stars": [2.5, 0.5]})
TWICE = pd.DataFrame({"angry": [0.9, 0.1], "rude": [0.3, 0.4]})


@pytest.mark.parametrize(
    ("frame", "truth", "options", "words"),
    [
        (None, [True], {}, "a DataFrame of rows is needed, not NoneType"),
        (ornb.UsageTracker(), [], {}, "the frame has several: 'cost_usd'"),
        (pd.concat([GUESSED, GUESSED], axis=1), [True, False], {}, "two columns 'angry'"),
        (GUESSED, [True], {}, "truth has 1 values, and the frame 2 rows"),
        (GUESSED, pd.Series([True, False], [5, 6]), {}, "another index than the frame"),
        (GUESSED, None, {}, "truth is of type NoneType"),
        (GUESSED, {0: True, 1: False}, {}, "truth is of type dict"),
        (GUESSED, "so", {}, "truth='so' is no column"),
        (GUESSED, [True, True], {}, "truth is True in all 2 rows"),
        (GUESSED, [True, "yes"], {}, "truth is True in all 2 rows"),
        (GUESSED, ["No", 0.0], {}, "truth is False in all 2 rows"),
        (GUESSED, ["food", "service"], {}, "truth has 'food', .*Give True and False"),
        (GUESSED, [[1], 0], {}, r"truth has \[1\]"),
        (GUESSED, [True, False], {"question": "angri"}, "has no column 'angri'"),
        (GUESSED, [True, False], {"question": "stars"}, "a score has none"),
        (GUESSED[["stars"]], [True, False], {}, "the frame has none"),
        (TWICE, [True, False], {}, "the frame has several: 'angry', 'rude'"),
        (GUESSED, [True, False], {"precision": 90}, "up to 1, such as 0.9"),
        (GUESSED, [True, False], {"bins": 1}, "give 2 to 50"),
        (
            pd.DataFrame({"t": ["a", "b"], "t_probability": [0.5, 0.6]}),
            ["x", "y"],
            {},
            "No value of truth is an option of 't': it has 'x', and the options are 'a', 'b'",
        ),
    ],
)
def test_what_cannot_be_calibrated_is_refused(
    frame: Any, truth: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        plots.calibration(frame, truth, **options)


def test_no_row_that_was_decided_is_no_figure_and_no_error() -> None:
    frame = pd.DataFrame({"angry": [None, None]}, dtype="float64")
    figure = plots.calibration(frame, [True, False])
    assert "Nothing to draw. Left out: 2 without a probability" in str(figure.layout.annotations)


# ---- texts ---------------------------------------------------------------------------------------


def test_a_map_has_the_two_directions_of_the_most_variance() -> None:
    """By hand: a cross of four texts, longer one way than the other."""
    vectors = [[3, 0, 1], [-3, 0, 1], [0, 1, 1], [0, -1, 1]]
    frame = pd.DataFrame({"text": list("abcd"), "embedding": [np.array(v, "f4") for v in vectors]})
    figure = plots.text_map(frame)
    rows = marks(figure)
    assert rows["name"].tolist() == list("abcd")
    assert rows["first_component"].abs().tolist() == pytest.approx([3, 3, 0, 0])
    assert rows["second_component"].abs().tolist() == pytest.approx([0, 0, 1, 1])
    assert figure.layout.xaxis.title.text == "first component (no unit): 90 % of the variance"
    assert figure.layout.yaxis.title.text == "second component (no unit): 10 % of the variance"
    assert "100 % of the variance of 3 numbers" in figure.layout.title.text
    assert re.search(r"Principal components by (NumPy|scikit-learn \d)", caption(figure))
    more = pd.DataFrame({"embedding": [*frame["embedding"], *frame["embedding"][:2]]})
    assert len(marks(plots.text_map(more))) == 6, "more texts than numbers, and fewer"


@pytest.mark.parametrize(
    ("values", "series"),
    [
        (list("abcab"), ["a", "b", "c"]),
        ([1, 2, 1, 2, None], ["1.0", "2.0", "missing"]),
        ([True, False, True, True, True], ["False", "True"]),
        (["$x$", "<b>", "a", "a", "a"], ["$x$", "<b>", "a"]),
    ],
)
def test_a_map_is_coloured_by_the_values_of_a_column(values: list[Any], series: list[str]) -> None:
    vectors = [np.array([n, n % 2]) for n in range(5)]
    frame = pd.DataFrame({"embedding": vectors, "kind": values}, index=range(10, 15))
    rows = marks(plots.text_map(frame, "kind"))
    assert list(dict.fromkeys(rows["series"])) == series
    assert sorted(rows["name"]) == ["0", "1", "2", "3", "4"] or len(rows) == 5


@pytest.mark.parametrize("name", ["x", "y", "name", "first_component"])
def test_a_map_is_coloured_by_the_column_that_is_named_whatever_its_name(name: str) -> None:
    frame = pd.DataFrame({"embedding": [[1.0, 0], [0, 1.0]], name: ["one", "two"]})
    assert [trace.name for trace in plots.text_map(frame, name).data] == ["one", "two"]


def test_a_number_that_is_not_finite_is_none_of_a_scale() -> None:
    numbers = [math.inf, -math.inf, *range(10)]
    frame = pd.DataFrame({"embedding": [[n, n % 2] for n in range(12)], "n": numbers})
    assert [len(trace.x) for trace in plots.text_map(frame, "n").data] == [10, 2]
    whole = frame.assign(n=pd.array([None, *range(11)], dtype="Int64"))
    assert [len(trace.x) for trace in plots.text_map(whole, "n").data] == [11, 1]


def test_a_map_of_two_columns_of_one_name_is_refused() -> None:
    frame = pd.DataFrame([[[1, 2], [1, 2]]], columns=["embedding", "embedding"])
    with pytest.raises(ConfigError, match="two columns 'embedding'"):
        plots.text_map(frame)


def test_a_map_of_many_values_has_a_scale_of_numbers_and_seven_colours_of_words() -> None:
    vectors = [np.array([n, n % 3]) for n in range(30)]
    frame = pd.DataFrame(
        {"embedding": vectors, "n": [None, *range(29)], "word": [f"w{n % 10}" for n in range(30)]}
    )
    scaled = plots.text_map(frame, "n")
    assert scaled.data[0].marker.colorbar.title.text == "n"
    assert [trace.name for trace in scaled.data] == ["n", "missing"]
    named = [trace.name for trace in plots.text_map(frame, "word").data]
    assert len(named) == 8
    assert named[-1] == "other values"


def test_a_map_says_what_it_left_out_and_what_its_vectors_are() -> None:
    frame = pd.DataFrame(
        {"text": list("abc"), "embedding": [np.array([1, 2]), None, np.array([2, 1])]}
    )
    frame.attrs = {"source": "canned", "note": "No model made these vectors"}
    said = caption(plots.text_map(frame))
    assert said.startswith("Source: canned. 2 of 3 texts shown; left out: 1 without an embedding.")
    assert "No model made these vectors." in said
    for alike in (frame[:1], frame[1:2], frame[:0], pd.concat([frame[:1]] * 3)):
        assert "Nothing to draw" in str(plots.text_map(alike).layout.annotations)


@pytest.mark.parametrize(
    ("vectors", "options", "words"),
    [
        ([[1, 2], [1, 2, 3]], {}, "'embedding' has vectors of 2 and 3 numbers"),
        (["a", "b"], {}, "'embedding' has no vectors"),
        ([1, 2], {}, "'embedding' has no vectors"),
        ([[[1]], [[2]]], {}, "'embedding' has no vectors"),
        ([[1, math.nan], [2, 3]], {}, "'embedding' has no vectors"),
        ([[1, math.inf], [2, 3]], {}, "'embedding' has no vectors"),
        ([[1, 10**400], [2, 3]], {}, "'embedding' has no vectors"),
        ([[1], [2]], {"color": "stars"}, "has no column 'stars'.*ornb.embed"),
        ([[1], [2]], {"embedding": "vector"}, "has no column 'vector'"),
    ],
)
def test_what_has_no_vectors_is_no_map(vectors: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        plots.text_map(pd.DataFrame({"embedding": vectors}), **options)


# ---- twins ---------------------------------------------------------------------------------------


def test_with_table_brings_figure_table_and_text() -> None:
    shown = plots.with_table(plots.price_map(models()), rows=5)
    bundle = shown._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.plotly.v1+json", "text/html", "text/plain"}
    json.dumps(bundle["application/vnd.plotly.v1+json"])
    assert bundle["text/html"].count("<tr") == 6
    assert "further rows are in the figure" in bundle["text/html"]
    assert "snapshot of 2026-08-22" in bundle["text/plain"]


def test_tables_of_hostile_text_are_harmless_html() -> None:
    frame = models().head(2).rename(index={models().index[0]: HOSTILE})
    text = plots.with_table(plots.price_map(frame, highlight=HOSTILE)).to_html()
    assert "<img" not in text
    assert "<a" not in text


def test_figures_of_others_have_no_table() -> None:
    with pytest.raises(ConfigError, match=r"no figure of ornb\.plots"):
        plots.table(go.Figure())
    with pytest.raises(ConfigError, match="at least 1"):
        plots.with_table(plots.price_map(models()), rows=0)


def test_code_of_the_gallery_runs() -> None:
    page = (ROOT / "docs" / "plots.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "docs/plots.md", "exec"), names)
    for name in plots.__all__:
        assert f"`{name}" in page or f"plots.{name}" in page, f"docs/plots.md does not name {name}"


def test_white_space_of_a_token_is_to_be_seen() -> None:
    assert visible(" cat\n") == "·cat↵"


def test_a_long_name_keeps_both_its_ends() -> None:
    assert words.cut("deepseek-v4-pro-preview", 15) == "deepsee…preview"
