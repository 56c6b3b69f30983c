"""Prices that somebody else recorded, each with the day from which it held by that record.

They come from the package genai-prices (MIT), whose data are read once, by ``python -m ornb.catalog
--genai-prices``, and kept as facts, one JSON array a line, in a file of their own: what it noted is
not what the catalogue was seen to list, and it keeps ids that are gone. ::

    ["ornb noted prices",1,"genai-prices","0.2.3"]
    ["2026-11-03","mistralai/mistral-nemo",{"prompt":"0.00000015","completion":"0.00000015"}]

Prices are spelled as the catalogue spells them, in USD per token.
"""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import CatalogError
from ..pricing import EXACT
from .journal import plain, replace

if TYPE_CHECKING:
    from collections.abc import Iterator

BUNDLED = Path(__file__).with_name("genai-prices.jsonl")
BY = "recorded by genai-prices"
"""What a price of this file is called wherever it is shown."""

_TITLE, _FORMAT = "ornb noted prices", 1
_KEYS = {
    "input_mtok": ("prompt", -6),
    "output_mtok": ("completion", -6),
    "cache_read_mtok": ("input_cache_read", -6),
    "cache_write_mtok": ("input_cache_write", -6),
    "cache_write_1h_mtok": ("input_cache_write_1h", -6),
    "requests_kcount": ("request", -3),
    "web_searches_kcount": ("web_search", -3),
}
"""Its names of prices to the catalogue's, and how many powers of ten lie between the two units."""


class Noted(NamedTuple):
    """A price that somebody recorded."""

    day: str
    """From which it holds, by that record."""
    model: str
    pricing: dict[str, Any]
    """As the catalogue spells it."""


class _File(NamedTuple):
    version: str
    prices: dict[str, list[Noted]]


@lru_cache(maxsize=1)
def bundled() -> _File:
    """Return what ships with ornb: the version of genai-prices, and prices by model."""
    return read(BUNDLED)


def read(path: Path) -> _File:
    """Read a file of noted prices, by model and day."""
    prices: dict[str, list[Noted]] = {}
    try:
        head, *rest = map(json.loads, path.read_text(encoding="utf-8-sig").splitlines())
        title, number, _, version = head
        if (title, number) != (_TITLE, _FORMAT):
            raise ValueError(f"its first line is {json.dumps(head)[:80]}")  # noqa: TRY301
        for day, model, pricing in rest:
            date.fromisoformat(day)
            prices.setdefault(model, []).append(Noted(day, model, dict(pricing)))
    except (OSError, ValueError, TypeError) as err:
        raise CatalogError(f"The noted prices {path} cannot be read ({err}).") from err
    return _File(version, {model: sorted(found, key=_order) for model, found in prices.items()})


def take_in(path: Path) -> str:
    """Write what the installed genai-prices has dated, and say what that is."""
    try:
        from importlib.metadata import version

        from genai_prices.data import (  # type: ignore[import-not-found, unused-ignore]
            providers,
        )
    except ImportError as err:
        raise CatalogError(
            "genai-prices is not installed, or is not the one that is known here. "
            "pip install genai-prices"
        ) from err
    of = version("genai-prices")
    provider = next((each for each in providers if each.id == "openrouter"), None)
    found = sorted(_dated(provider), key=_order)
    if not found:
        raise CatalogError(f"genai-prices {of} has no dated prices of OpenRouter.")
    lines: list[list[Any]] = [[_TITLE, _FORMAT, "genai-prices", of], *map(list, found)]
    size = replace(path, lines)
    models = len({each.model for each in found})
    return (
        f"{path}: {len(found)} prices of {models} models from {found[0].day} to {found[-1].day}, "
        f"{BY} {of}, {size / 1000:.0f} kB"
    )


def _order(noted: Noted) -> tuple[str, str]:
    return noted.day, noted.model


def _dated(provider: Any) -> Iterator[Noted]:
    """The prices that hold from a day on; those without a day, or by the hour, are left out."""
    for model in getattr(provider, "models", ()):
        for each in model.prices if isinstance(model.prices, list) else ():
            day = getattr(each.constraint, "start_date", None)
            pricing = _spelled(each.prices)
            if day is not None and "prompt" in pricing:
                yield Noted(day.isoformat(), model.id, pricing)


def _spelled(prices: Any) -> dict[str, Any]:
    pricing: dict[str, Any] = {}
    longer: dict[int, dict[str, Any]] = {}
    for theirs, (ours, power) in _KEYS.items():
        price = getattr(prices, theirs, None)
        if price is None:
            continue
        pricing[ours] = _per_one(getattr(price, "base", price), power)
        for tier in getattr(price, "tiers", ()):
            longer.setdefault(tier.start, {})[ours] = _per_one(tier.price, power)
    if longer:
        pricing["overrides"] = [{"min_prompt_tokens": n, **longer[n]} for n in sorted(longer)]
    return pricing


def _per_one(price: Decimal, power: int) -> str:
    return plain(Decimal(price).scaleb(power, EXACT))
