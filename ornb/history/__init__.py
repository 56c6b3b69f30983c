"""What models cost in the past, and what changed: dated facts that ornb carries.

`journal` is the file and its format, `seen` the catalogue on each day that it was looked at,
`prices` what models cost over time, `changes` the difference between two days. ``python -m
ornb.history`` takes in new observations; see `ornb.history.refresh`.
"""

from __future__ import annotations

from .changes import CHANGE_COLUMNS, CHANGES, catalog_changes
from .prices import PRICE_AT_COLUMNS, PRICE_HISTORY_COLUMNS, price_at, price_history
from .seen import CATALOG_COLUMNS, catalog_at

__all__ = [
    "CATALOG_COLUMNS",
    "CHANGES",
    "CHANGE_COLUMNS",
    "PRICE_AT_COLUMNS",
    "PRICE_HISTORY_COLUMNS",
    "catalog_at",
    "catalog_changes",
    "price_at",
    "price_history",
]
