"""Prices looked up for a call that is about to be made: who may serve it, and for how much."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from math import inf
from typing import Any

from ..api.refusals import mapping
from ..errors import OrnbError
from ..pricing import EXACT, to_decimal, zero_is_free

LIFETIME_S, UNKNOWN_LIFETIME_S = 300.0, 10.0
"""As long as a looked-up price is used again, and a model that was not found is not asked for."""


class PriceBook:
    """Prices by model, looked up once in a while. No endpoints are known where that fails."""

    def __init__(
        self,
        record: Callable[[str], Any],
        endpoints: Callable[[str], Iterable[Any]] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._record = record
        self._endpoints = endpoints
        self._clock = clock
        self.own_keys = False
        """Whether a key of the user's own with a provider has paid for a call of this account."""
        self._known: dict[str, tuple[float, tuple[Any, list[Any]]]] = {}
        self._asking: dict[tuple[int, str], threading.Lock] = {}

    def listing(self, model: str) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """Return a model's catalogue record, and its endpoints as far as they are known."""
        # The calls of a batch wait for one look-up instead of each making it; a fork has its own.
        with self._asking.setdefault((os.getpid(), model), threading.Lock()):
            at, found = self._known.get(model, (-inf, (None, [])))
            if self._clock() - at > (LIFETIME_S if found[0] else UNKNOWN_LIFETIME_S):
                found = self._look_up(model)
                self._known[model] = (self._clock(), found)
            return found

    def _look_up(self, model: str) -> tuple[Any, list[Any]]:
        record: Any = None
        endpoints: list[Any] = []
        with suppress(OrnbError):
            found = self._record(model)
            record = found if isinstance(found, dict) else None
            if record is not None and self._endpoints is not None and not lists_zero(record):
                endpoints = [each for each in self._endpoints(model) if isinstance(each, dict)]
        return record, endpoints


def allowed(endpoints: list[dict[str, Any]], provider: Any) -> list[dict[str, Any]]:
    """Keep the endpoints that a request's ``provider`` does not rule out, or all if it does each.

    ``only``, ``order`` with ``allow_fallbacks``, ``ignore``, ``quantizations`` and ``max_price``
    are read, the others rule nothing out.
    """
    if not isinstance(provider, Mapping):
        return endpoints
    kept = endpoints
    only, order = _names(provider.get("only")), _names(provider.get("order"))
    if only:
        kept = [each for each in kept if _is_one_of(each, only)]
    if order and provider.get("allow_fallbacks") is False:
        kept = [each for each in kept if _is_one_of(each, order)]
    if ignored := _names(provider.get("ignore")):
        kept = [each for each in kept if not _is_one_of(each, ignored)]
    if allowed := _names(provider.get("quantizations")):
        kept = [each for each in kept if _quantization(each) in allowed]
    ceiling = provider.get("max_price")
    if isinstance(ceiling, Mapping):
        kept = [each for each in kept if _within(each, ceiling)]
    return kept or endpoints


def _names(value: Any) -> set[str]:
    return {str(name).lower() for name in value} if isinstance(value, list | tuple) else set()


def _quantization(endpoint: Mapping[str, Any]) -> str:
    return str(endpoint.get("quantization") or "unknown").lower()


def _is_one_of(endpoint: Mapping[str, Any], names: set[str]) -> bool:
    """Whether an endpoint goes by one of these: a tag, its first part, or the provider's name."""
    tag = str(endpoint.get("tag") or "").lower()
    return bool(names & {tag, tag.partition("/")[0], str(endpoint.get("provider_name")).lower()})


def _within(endpoint: Mapping[str, Any], ceiling: Mapping[str, Any]) -> bool:
    prices = mapping(endpoint.get("pricing"))
    for key in ("prompt", "completion"):
        most = to_decimal(ceiling.get(key))  # USD per million tokens, unlike the listing
        price = to_decimal(prices.get(key))
        if most is not None and price is not None and EXACT.multiply(price, 1_000_000) > most:
            return False
    return True


def dearest_price(prices: Mapping[str, Any], key: str, prompt_tokens: int) -> Decimal | None:
    """Return the highest price per unit that a call may meet, in USD; None where none is listed.

    Overrides count up to the longest that the prompt can be, those by the time of day always. None
    for prompt and completion also where only overrides are listed.
    """
    base = to_decimal(prices.get(key))
    found = [] if base is None else [base]
    overrides = prices.get("overrides")
    for entry in overrides if isinstance(overrides, list) else ():
        if isinstance(entry, Mapping):
            least = to_decimal(entry.get("min_prompt_tokens"))
            price = to_decimal(entry.get(key))
            if price is not None and (least is None or prompt_tokens > least):
                found.append(price)
    if key in ("prompt", "completion") and base is None:
        return None
    return max(found, default=None)


def lists_zero(offer: Mapping[str, Any]) -> bool:
    """Return whether prompt and completion are listed at 0; not where no price is listed."""
    prices = offer.get("pricing")
    if not isinstance(prices, dict):
        return False
    return to_decimal(prices.get("prompt")) == 0 == to_decimal(prices.get("completion"))


def bills_tokens(record: Mapping[str, Any]) -> bool:
    """Return whether a listed 0 means that tokens are free; a request may have its price."""
    outputs = mapping(record.get("architecture")).get("output_modalities")
    return zero_is_free(None, outputs or (), str(record.get("id")))
