"""A model at one moment: what of it counts as a change, and tables made of such."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from .. import columns
from ..pricing import blended_usd_per_million


class State(NamedTuple):
    """What of a model counts as a change when it differs. None is unknown, as NaN != NaN."""

    prompt: float | None = None
    """USD per million tokens."""
    completion: float | None = None
    """USD per million tokens."""
    context_length: int | None = None
    """Tokens."""
    is_free: bool | None = None
    """None only where it is not listed."""


GONE = State()
"""Not listed."""


def states(models: pd.DataFrame) -> dict[str, State]:
    """Return the state of each model of a frame; without `is_free`, two prices of 0 are free."""
    prompt = _values(models, "prompt_usd_per_million")
    completion = _values(models, "completion_usd_per_million")
    free = [p == 0 and c == 0 for p, c in zip(prompt, completion, strict=True)]
    if "is_free" in models.columns:
        free = _values(models, "is_free")
    fields = (prompt, completion, _values(models, "context_length"), free)
    return dict(zip(map(str, models.index), map(State, *fields), strict=True))


def _values(models: pd.DataFrame, name: str) -> list[Any]:
    return columns.plain(models[name]) if name in models.columns else [None] * len(models)


def price_ratio(before: State, after: State) -> float | None:
    """Divide the later by the earlier price, each blended 3 prompt tokens to 1 completion token."""
    prices = (before.prompt, before.completion, after.prompt, after.completion)
    if None in prices or not (before.prompt or before.completion):
        return None
    then, now = (blended_usd_per_million(at.prompt, at.completion) for at in (before, after))
    return float(now / then)
