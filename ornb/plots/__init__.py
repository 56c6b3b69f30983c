"""Figures of ornb's tables: plotly figures that are returned, never shown.

Each function takes a frame and gives a `plotly.graph_objects.Figure` with a question for a title,
units on its axes, and a caption that says where the rows come from, how many are shown and what is
missing. `table` gives a figure's marks as rows again.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ..errors import did_you_mean
from .answer import token_probabilities
from .calibration import calibration
from .catalogue import context_price, families, price_map, price_quality, price_tiers
from .history import catalog_changes, price_history
from .latency import first_token_and_rate, latency_ecdf, latency_intervals
from .pricing import price_by_hour, price_by_length, provider_spread
from .spend import spend
from .style import color_of, template, use_theme
from .texts import text_map
from .twin import WithTable, table, with_table

__all__ = [
    "WithTable",
    "calibration",
    "catalog_changes",
    "color_of",
    "context_price",
    "families",
    "first_token_and_rate",
    "latency_ecdf",
    "latency_intervals",
    "price_by_hour",
    "price_by_length",
    "price_history",
    "price_map",
    "price_quality",
    "price_tiers",
    "provider_spread",
    "spend",
    "table",
    "template",
    "text_map",
    "token_probabilities",
    "use_theme",
    "with_table",
]

# A module that was imported from is an attribute as well: whoever presses Tab looks for figures.
for _name in [name for name, it in globals().items() if isinstance(it, ModuleType)]:
    del globals()[_name]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    raise AttributeError(did_you_mean(name, __all__, "figure of ornb.plots"))
