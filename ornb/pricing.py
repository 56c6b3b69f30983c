"""Prices: strings from the API, exact decimals in between, USD at the end.

The API lists prices as decimal strings in USD per **one** unit (a token, a request, a search).
People read USD per **million** tokens. The two are mixed up easily, so there is one conversion,
`usd_per_million`, and one way to price a call, `estimate`. Both go through `decimal.Decimal`: a
price such as ``"0.0000000833333333333333"`` has more digits than most sums of floats keep.

Sources of the facts here: the OpenRouter OpenAPI file of 2026-08-22, the models and endpoints
listings of 2025-04 to 2026-08, and for the conditions of ``overrides`` the official Python SDK of
2026-10.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation, localcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

EXACT = Context(prec=120)
"""No sum or product of prices and counts is rounded in it: a price has at most 30 decimals and 12
digits before the point (see `to_decimal`), a count at most 18 digits."""
_LARGEST_PRICE_EXPONENT = 12
_SMALLEST_PRICE_EXPONENT = -30

_PRICE_KEYS = {
    *("prompt", "completion", "input_cache_read", "input_cache_write", "input_cache_write_1h"),
    *("internal_reasoning", "image", "image_token", "image_output", "audio", "audio_output"),
    *("input_audio_cache", "request", "web_search"),
}
_CONDITIONS = frozenset({"min_prompt_tokens", "utc_start", "utc_end", "utc_days"})
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


# --- one price ------------------------------------------------------------------------------------


def to_decimal(value: Any) -> Decimal | None:
    """Read a price exactly as it was listed, in its own unit; None where there is none.

    That is every negative ("-1": "depends on the model that will be chosen"), no number, infinity,
    and a size no price can have (1e12 and up, or more than 30 decimals).
    """
    number = _number(value)
    return None if number is None or number < 0 else number


@lru_cache(maxsize=8192)
def _number_from_text(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite():
        return None
    if not number:
        return Decimal(0)
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - finite, so not "n", "N" or "F"
    if exponent < _SMALLEST_PRICE_EXPONENT or len(digits) + exponent > _LARGEST_PRICE_EXPONENT:
        return None
    return number


def _number(value: Any) -> Decimal | None:
    """Signed, unlike `to_decimal`: the sign tells a router from a price that is missing."""
    if isinstance(value, str):
        return _number_from_text(value) if len(value) <= 64 else None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        return _number_from_text(str(value))
    except ValueError:  # an int beyond Python's limit of 4300 digits for str()
        return None


def usd_per_million(value: Any) -> float | None:
    """Return USD per million tokens, as read, of USD per token, as listed.

    >>> usd_per_million("0.0000025"), usd_per_million("0.0000000574"), usd_per_million("-1")
    (2.5, 0.0574, None)
    """
    if isinstance(value, str):
        return _million_from_text(value)
    price = to_decimal(value)
    return None if price is None else float(price.scaleb(6, EXACT))


@lru_cache(maxsize=8192)
def _million_from_text(text: str) -> float | None:
    price = to_decimal(text)
    return None if price is None else float(price.scaleb(6, EXACT))


def depends_on_model(pricing: Any) -> bool:
    """Return whether a price, then negative, is set only once a router has chosen the model."""
    if not isinstance(pricing, dict):
        return False
    numbers = (_number(pricing.get("prompt")), _number(pricing.get("completion")))
    return any(number is not None and number < 0 for number in numbers)


# --- one call -------------------------------------------------------------------------------------


def estimate(
    pricing: Any,
    *,
    prompt_tokens: int | None,
    completion_tokens: int | None,
    reasoning_tokens: int | None = 0,
    cached_tokens: int | None = 0,
    cache_write_tokens: int | None = 0,
    images: int = 0,
    requests: int = 1,
    searches: int = 0,
    at: datetime | None = None,
) -> Decimal | None:
    """Price one call from a model's listed prices, in exact USD; None when it cannot be known.

    Reasoning tokens are part of the completion, cached and cache-written ones of the prompt; none
    counts twice, and a detail larger than its whole (recorded for reasoning) is cut to it.
    ``discount`` is ignored: listed prices already have it taken off. `images` are priced each, as
    in the listings of 2025; those of 2026 look like a price per image token, within
    ``prompt_tokens``.
    """
    if at is not None and at.utcoffset() is None:
        raise ConfigError(f"at={at!r} has no time zone; give datetime(..., tzinfo=timezone.utc)")
    details = (reasoning_tokens or 0, cached_tokens or 0, cache_write_tokens or 0)
    others = (images, requests, searches)
    if prompt_tokens is None or completion_tokens is None or not isinstance(pricing, dict):
        return None
    if depends_on_model(pricing) or min(prompt_tokens, completion_tokens, *details, *others) < 0:
        return None
    prices = _prices_at(pricing, prompt_tokens, at)
    if depends_on_model(prices):
        return None
    reasoning = min(details[0], completion_tokens)
    cached = min(details[1], prompt_tokens)
    written = min(details[2], prompt_tokens - cached)
    prompt, completion = to_decimal(prices.get("prompt")), to_decimal(prices.get("completion"))
    return _total(
        (
            (prompt_tokens - cached - written, prompt),
            (cached, _apart(prices, "input_cache_read") or prompt),
            (written, _cache_write(prices, prompt)),
            (completion_tokens - reasoning, completion),
            (reasoning, _apart(prices, "internal_reasoning") or completion),
            (images, to_decimal(prices.get("image", 0))),
            (requests, to_decimal(prices.get("request", 0))),
            (searches, to_decimal(prices.get("web_search", 0))),
        )
    )


def _apart(prices: dict[str, Any], key: str) -> Decimal | None:
    """Price of a part, or None where it has none of its own.

    Until early 2026 every record listed ``internal_reasoning`` "0" and the like; later the zeros
    were left out. So a zero never meant that reasoning is free, only that it is not priced apart.
    """
    return to_decimal(prices.get(key)) or None


def _cache_write(prices: dict[str, Any], prompt: Decimal | None) -> Decimal | None:
    """USD per prompt token that is written to a cache.

    Most listings have the whole price (1.25 x prompt). Some Gemini rows of 2026 have less than the
    prompt price, which matches the storage fee alone, so there it comes on top.
    """
    write = _apart(prices, "input_cache_write")
    if write is None or prompt is None:
        return prompt if write is None else write
    return write if write >= prompt else EXACT.add(prompt, write)


def _total(parts: Iterable[tuple[int, Decimal | None]]) -> Decimal | None:
    """Sum count x price exactly; None if something used has no price."""
    with localcontext(EXACT):
        total = Decimal(0)
        for count, price in parts:
            if count and price is None:
                return None
            if price is not None:
                total += count * price
        return total


def _prices_at(pricing: dict[str, Any], prompt_tokens: int, at: datetime | None) -> dict[str, Any]:
    """Lay the overrides that apply over the base prices; later entries win key by key."""
    overrides = pricing.get("overrides")
    if not isinstance(overrides, list):
        return pricing
    moment = (at or datetime.now(UTC)).astimezone(UTC)
    prices = dict(pricing)
    for entry in overrides:
        if isinstance(entry, dict) and _applies(entry, prompt_tokens, moment):
            # A price that cannot be read must not hide the base price.
            prices.update(
                (key, value)
                for key, value in entry.items()
                if key in _PRICE_KEYS and _number(value) is not None
            )
    return prices


def _applies(entry: dict[str, Any], prompt_tokens: int, moment: datetime) -> bool:
    if any(
        key not in _CONDITIONS and key not in _PRICE_KEYS and not isinstance(value, str)
        for key, value in entry.items()
    ):
        return False  # a condition newer than this code: prices are strings, conditions are not
    threshold = entry.get("min_prompt_tokens")
    if threshold is not None:
        least = _number(threshold)
        if least is None or prompt_tokens <= least:  # strictly above
            return False
    days = entry.get("utc_days")
    if days is not None and not (
        isinstance(days, list) and _WEEKDAYS[moment.weekday()] in [str(d).lower() for d in days]
    ):
        return False
    return _in_window(entry.get("utc_start"), entry.get("utc_end"), moment)


def _in_window(start: Any, end: Any, moment: datetime) -> bool:
    """Half-open window of HHMM clock numbers, such as 2200 to 400; it may wrap past midnight."""
    if start is None and end is None:
        return True
    first = _number(0 if start is None else start)
    last = _number(2400 if end is None else end)
    if first is None or last is None:
        return False
    clock = moment.hour * 100 + moment.minute
    if first < last:
        return bool(first <= clock < last)
    return bool(clock >= first or clock < last)


# --- price tiers ----------------------------------------------------------------------------------


class Tier(NamedTuple):
    """One row of a price-tier table: `label`, and a `description` that states the unit."""

    label: str
    description: str


_ASIDE = {"prompt", "completion", "web_search", "discount", "overrides"}
"""Keys of a price list that bill nothing beside the tokens unless it is asked for."""
INPUT_ONLY = {"embeddings", "rerank", "decisions"}
"""Kinds of models whose answers are not billed by the token."""


def zero_is_free(prices: Any, outputs: Iterable[str], model_id: str) -> bool:
    """Return whether token prices of 0 mean that nothing is billed.

    Not where a request, an image or a minute has a price; nor where more than text is made, which
    is billed in another unit (music in 2026), unless the id says that it is free.
    """
    listed = prices.items() if isinstance(prices, dict) else ()
    if any(key not in _ASIDE and to_decimal(price) for key, price in listed):
        return False
    return set(outputs) <= {"text"} or model_id.endswith(":free")


_ROUTER = Tier("router", "set by the model that is chosen")
_UNKNOWN = Tier("unknown", "no price per token listed, or billed in another unit")
_MIX = "USD per million tokens, blended 3 prompt : 1 completion"
_LARGER = "USD per token, larger of prompt and completion"

Scheme = Literal["per_token", "blended"]
TIERS: dict[Scheme, tuple[Tier, ...]] = {
    "per_token": (
        Tier("free", "both prices are 0"),
        Tier("<= 0.0001", f"up to 0.0001 {_LARGER}"),
        Tier("<= 0.001", f"above 0.0001, up to 0.001 {_LARGER}"),
        Tier("> 0.001", f"above 0.001 {_LARGER}"),
        _ROUTER,
        _UNKNOWN,
    ),
    "blended": (
        Tier("free", "both prices are 0, and tokens are what is billed"),
        Tier("under 0.1", f"under 0.1 {_MIX}"),
        Tier("0.1 to 1", f"0.1 to under 1 {_MIX}"),
        Tier("1 to 10", f"1 to under 10 {_MIX}"),
        Tier("10 to 100", f"10 to under 100 {_MIX}"),
        Tier("100 and up", f"100 and up {_MIX}"),
        _ROUTER,
        _UNKNOWN,
    ),
}
"""The two tier tables, cheapest first.

``per_token`` is the table people know; on 2026-08-22 it puts 387 of the 394 paid models into one
row. ``blended`` has a row a decade instead, and is the column `price_tier` of the models frame.
"""


def blended_usd_per_million(prompt: Any, completion: Any) -> Any:
    """Blend two prices at a stated mix: three prompt tokens for each completion token."""
    return (3 * prompt + completion) / 4


def price_tier(
    prompt_usd_per_million: Any,
    completion_usd_per_million: Any,
    *,
    is_router: Any,
    is_free: Any = None,
    input_only: Any = None,
    scheme: Scheme = "blended",
) -> pd.Categorical[Any]:
    """Sort models into the price tiers of a scheme, an ordered Categorical, cheapest first.

    `is_router` is where a missing price means "set by the model that is chosen"; `is_free` which of
    the models priced 0 are really free, by default all; `input_only` which are billed for the
    prompt alone.
    """
    import numpy as np
    import pandas as pd

    labels = [tier.label for tier in TIERS[scheme]]
    prompt = np.asarray(prompt_usd_per_million, dtype="float64")
    completion = np.asarray(completion_usd_per_million, dtype="float64")
    if input_only is not None:
        completion = np.where(input_only, prompt, completion)
    if scheme == "per_token":  # bounds per million: 0.0001 USD a token is 100 a million
        codes = 1 + np.digitize(np.maximum(prompt, completion), [100.0, 1000.0], right=True)
    else:  # Twelve digits: (3 x 0.1 + 0.1) / 4 is 0.1 for a person, not for a float.
        mix = np.round(blended_usd_per_million(prompt, completion), 12)
        codes = 1 + np.digitize(mix, [0.1, 1.0, 10.0, 100.0])
    zero = (prompt == 0) & (completion == 0)
    missing = np.isnan(prompt) | np.isnan(completion)
    codes[zero] = 0
    if is_free is not None:
        codes[zero & ~np.asarray(is_free, dtype=bool)] = labels.index("unknown")
    codes[missing] = labels.index("unknown")
    codes[missing & np.asarray(is_router, dtype=bool)] = labels.index("router")
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(labels, ordered=True))


def tiers(models: pd.DataFrame, *, scheme: Scheme | None = None) -> pd.DataFrame:
    """Count models by price tier, in the table people know and in a useful one.

    Parameters
    ----------
    models : pandas.DataFrame
        A models frame (or rows of one), as `ornb.models` gives it.
    scheme : {"per_token", "blended"}, optional
        One of the two tables only. Both by default, one under the other.

    Returns
    -------
    pandas.DataFrame, one row a tier
        ``scheme`` and ``tier`` (str), ``models`` (int64), ``share`` of all models given (float64,
        0 to 1), ``description`` (str, with the unit). Cheapest first. A row "unknown" is there only
        when some model has no usable price.

    Raises
    ------
    ConfigError
        `models` is not a models frame, or there is no such scheme.

    Examples
    --------
    >>> from ornb.catalog import to_frame
    >>> prices = {"prompt": "0.000001", "completion": "0.000002"}
    >>> frame = to_frame([{"id": "a/b", "pricing": prices}])
    >>> table = ornb.tiers(frame, scheme="blended")
    >>> table.loc[table["models"] > 0, "tier"].tolist()
    ['1 to 10']
    """
    import pandas as pd

    needed = ["prompt_usd_per_million", "completion_usd_per_million", "is_router", "is_free"]
    missing = [name for name in needed if name not in getattr(models, "columns", ())]
    if missing:
        raise ConfigError(f"no column {missing[0]!r} to sort by; give a frame of ornb.models()")
    if scheme is not None and scheme not in [*TIERS]:
        raise ConfigError(f"scheme={scheme!r} is not a price-tier table; take {' or '.join(TIERS)}")
    names = [*TIERS] if scheme is None else [scheme]
    table = pd.concat([_tier_table(models, name) for name in names], ignore_index=True)
    table.attrs = dict(models.attrs)
    return table


def _tier_table(models: pd.DataFrame, scheme: Scheme) -> pd.DataFrame:
    import pandas as pd

    is_free, kind = models["is_free"], models.get("kind")
    if scheme == "per_token" and kind is not None:
        # The table people know counts the 0 that chat models which make music list.
        music = (kind == "chat") & models.get("returns_audio", False)
        is_free = is_free | (music & ~(models.get("request_usd", 0) > 0))
    tier = price_tier(
        models["prompt_usd_per_million"],
        models["completion_usd_per_million"],
        is_router=models["is_router"],
        is_free=is_free,
        input_only=None if kind is None else kind.isin(INPUT_ONLY),
        scheme=scheme,
    )
    counts = pd.Series(tier.codes).value_counts()
    rows = [
        (scheme, label, int(counts.get(code, 0)), description)
        for code, (label, description) in enumerate(TIERS[scheme])
        if label != _UNKNOWN.label or counts.get(code, 0)
    ]
    table = pd.DataFrame(rows, columns=["scheme", "tier", "models", "description"])
    table.insert(3, "share", table["models"] / max(len(models), 1))
    return table
