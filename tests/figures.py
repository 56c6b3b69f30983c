"""One figure of each kind, for the tests that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

import ornb
from ornb import plots


def models() -> pd.DataFrame:
    """The snapshot's models; a copy of its own for each test."""
    return _models().copy()


@cache
def _models() -> pd.DataFrame:
    ornb.connect(offline=True)
    return ornb.models()


@cache
def _endpoints(model: str) -> pd.DataFrame:
    return ornb.endpoints(model)


def _calls() -> pd.DataFrame:
    random = np.random.default_rng(3)
    timed = {
        "openai/gpt-5.4-nano": (0.35, 80),
        "anthropic/claude-haiku-4.5": (0.6, 110),
        "mistralai/mistral-nemo": (0.25, 60),
    }
    rows = []
    for repeat in range(24):
        for place, (model, (wait, rate)) in enumerate(timed.items()):
            ok = (repeat + place) % 11 != 5
            minutes = pd.Timedelta(minutes=3 * repeat + place)
            rows.append(
                {
                    "started_at": pd.Timestamp("2026-08-22 10:00", tz="UTC") + minutes,
                    "model": model,
                    "source": "canned",
                    "concurrency": 1,
                    "burst": repeat * len(timed) + place,
                    "warmup": repeat == 0,
                    "time_to_first_token_s": wait * random.lognormal(0, 0.25) if ok else None,
                    "tokens_per_second": rate * random.lognormal(0, 0.12) if ok else None,
                    "cost_usd": 1e-4 * random.random() if ok and place else None,
                    "estimate_usd": 1e-4 * random.random() if ok else None,
                    "status": "ok" if ok else "error",
                    "error": None if ok else "too many requests",
                }
            )
    return pd.DataFrame(rows)


CALLS = _calls()
"""Timed and priced calls of three models, some of them failed."""


def _told(token: str, share: float, *others: tuple[str, float]) -> dict[str, Any]:
    pairs = [(token, share), *others]
    top = [{"token": t, "logprob": float(np.log(p))} for t, p in pairs]
    return {**top[0], "top_logprobs": top}


TOLD = [
    _told("The", 0.62, ("Paris", 0.3), ("It", 0.05)),
    _told(" capital", 0.95, (" city", 0.03)),
    _told(" is", 0.98),
    _told(" Paris", 0.31, (" the", 0.52), (" Lyon", 0.05)),
    _told(".\n", 0.8, (",", 0.1)),
]
"""Logprobs of an answer of five tokens; of the fourth, another was likelier."""


def decided(n: int = 200) -> pd.DataFrame:
    """Yes-or-no decisions of a model that is too sure of itself, and what is so."""
    random = np.random.default_rng(5)
    said = random.beta(1.2, 1.2, n).round(2)
    so = random.random(n) < 0.5 + 0.7 * (said - 0.5)
    return pd.DataFrame({"angry": said, "so": so, "source": "canned"})


def embedded(n: int = 120) -> pd.DataFrame:
    """Texts of three topics with their vectors, those of a topic around one place."""
    random = np.random.default_rng(5)
    topics = random.choice(["food", "service", "price"], n)
    centres = dict(zip(["food", "service", "price"], random.normal(size=(3, 16)), strict=True))
    vectors = [centres[topic] + 0.3 * random.normal(size=16) for topic in topics]
    texts = [f"Review {k} of the {topic}" for k, topic in enumerate(topics)]
    frame = pd.DataFrame({"text": texts, "topic": topics, "embedding": vectors})
    frame.attrs = {"source": "canned", "note": "No model made these vectors"}
    return frame


def history() -> pd.DataFrame:
    """Price history of three models: one that went away, one that stayed, one that was free."""
    columns = [
        "id",
        "date",
        "seen_until",
        "prompt_usd_per_million",
        "completion_usd_per_million",
    ]
    rows: list[tuple[Any, ...]] = [
        ("lab/old", "2025-04-09", "2025-06-11", 1.0, 1.0),
        ("lab/old", "2025-09-24", "2025-12-31", 2.0, 2.0),
        ("lab/old", "2026-03-15", "2026-08-22", None, None),
        ("lab/stays", "2025-04-09", "2026-08-22", 0.5, 1.5),
        ("lab/free", "2025-04-09", "2026-08-22", 0.0, 0.0),
    ]
    frame = pd.DataFrame(rows, columns=columns)
    for column in ("date", "seen_until"):
        frame[column] = pd.to_datetime(frame[column], utc=True)
    frame.attrs = {"source": "snapshot", "observed": ["2025-04-09", "2026-08-22"]}
    return frame


_MAKERS: dict[str, Callable[..., go.Figure]] = {
    "price_map": lambda **kw: plots.price_map(models(), **kw),
    "price_map, highlighted": lambda **kw: plots.price_map(
        models(), highlight=["openai/gpt-5.4", "anthropic/claude-sonnet-4.5"], **kw
    ),
    "price_quality": lambda **kw: plots.price_quality(models(), **kw),
    "context_price": lambda **kw: plots.context_price(models(), **kw),
    "price_tiers": lambda **kw: plots.price_tiers(models(), **kw),
    "families": lambda **kw: plots.families(models(), **kw),
    "provider_spread": lambda **kw: plots.provider_spread(_endpoints("openai/gpt-oss-120b"), **kw),
    "price_by_length": lambda **kw: plots.price_by_length(models(), **kw),
    "price_by_hour": lambda **kw: plots.price_by_hour(
        _endpoints("deepseek/deepseek-v4-pro-0813"), **kw
    ),
    "price_history": lambda **kw: plots.price_history(history(), **kw),
    "catalog_changes": lambda **kw: plots.catalog_changes(
        ornb.catalog_changes("2025-04-09", "2025-06-11"), **kw
    ),
    "latency_ecdf": lambda **kw: plots.latency_ecdf(CALLS, **kw),
    "latency_intervals": lambda **kw: plots.latency_intervals(ornb.latency_summary(CALLS), **kw),
    "first_token_and_rate": lambda **kw: plots.first_token_and_rate(CALLS, **kw),
    "spend": lambda **kw: plots.spend(CALLS, **kw),
    "calibration": lambda **kw: plots.calibration(decided(), "so", **kw),
    "text_map": lambda **kw: plots.text_map(embedded(), "topic", **kw),
    "token_probabilities": lambda **kw: plots.token_probabilities(TOLD, **kw),
}

ALL = {name: cache(make) for name, make in _MAKERS.items()}
"""Name to a function that gives the figure, made once for each ``theme``: to be looked at only."""
