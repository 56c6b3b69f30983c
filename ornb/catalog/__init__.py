"""The catalogue: records to tables, what filters them, and what it listed on past days.

`frames` makes the tables, `filters` has every filter once. `journal` is the file of past days and
its format, `observations` the catalogue on each day that it was looked at, `prices` what models
cost over time, `changes` the difference between two days. ``python -m ornb.catalog`` takes in new
observations; see `ornb.catalog.refresh`.
"""

from __future__ import annotations

from .filters import closest, filter_models
from .frames import (
    ENDPOINT_COLUMNS,
    MODEL_COLUMNS,
    PROVIDER_COLUMNS,
    endpoints_to_frame,
    providers_to_frame,
    to_frame,
)

__all__ = [
    "ENDPOINT_COLUMNS",
    "MODEL_COLUMNS",
    "PROVIDER_COLUMNS",
    "closest",
    "endpoints_to_frame",
    "filter_models",
    "providers_to_frame",
    "to_frame",
]
