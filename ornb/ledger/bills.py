"""What the service itself says was charged: ``GET /generation`` and ``GET /activity``.

OpenRouter API, 2026-08-22. Recorded: right after an answer ``/generation`` is 404 for some seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import columns as c
from ..api.refusals import mapping
from ..api.reply import amount
from ..columns import Column
from ..errors import ConnectionFailed, NotFound, OrnbError, ProviderUnavailable, RateLimited
from ..pricing import EXACT, estimate, to_decimal
from .table import BOOKS

if TYPE_CHECKING:
    from ..api.reply import Reply

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 8.0
"""Pauses between two rounds of asking, doubled each time."""
AT_ONCE = 8
"""Bills asked for side by side."""

ACTIVITY_COLUMNS: dict[str, Column] = {
    "date": Column("datetime64[us, UTC]", "the UTC day"),
    "model": Column("str", "the model asked for"),
    "served_model": Column("str", "its permanent, often dated, name"),
    "provider": Column("str", "who ran it"),
    "requests": Column("Int64", "number of requests"),
    "prompt_tokens": Column("Int64", "tokens sent"),
    "completion_tokens": Column("Int64", "tokens answered"),
    "reasoning_tokens": Column("Int64", "tokens of thought, a part of completion_tokens"),
    "cached_tokens": Column("Int64", "tokens read from a cache; missing before 2026-10"),
    "cost_usd": Column("float64", "USD charged"),
    "byok_usd": Column("float64", "USD that providers charged to keys of the user's own"),
}
"""Columns of the activity frame: one row a day, model and provider."""
_ACTIVITY_KEYS = {
    "served_model": "model_permaslug",
    "provider": "provider_name",
    "cost_usd": "usage",
    "byok_usd": "byok_usage_inference",
}


@dataclass(frozen=True)
class Bill:
    """One call in the service's books; None where it does not say."""

    generation_id: str
    cost_usd: float | None = None
    """What was charged, in USD."""
    is_byok: bool = False
    """Whether a key of the user's own with the provider paid."""
    byok_usd: float | None = None
    """What a provider took from a key of the user's own, in USD; None where none paid."""
    provider: str | None = None
    model: str | None = None
    """The model that served."""
    native_prompt_tokens: int | None = None
    """By the model's own tokenizer, as are the next three."""
    native_completion_tokens: int | None = None
    native_reasoning_tokens: int | None = None
    native_cached_tokens: int | None = None
    server_latency_s: float | None = None
    """What the service calls ``latency``, in seconds."""
    server_generation_s: float | None = None
    """What it calls ``generation_time``, in seconds."""
    cancelled: bool | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Bill:
        """Read the ``data`` of an answer; every key but ``id`` may be missing or null."""
        cancelled = data.get("cancelled")
        cost, own = amount(data.get("total_cost")), data.get("is_byok") is True
        return cls(
            generation_id=str(data.get("id")),
            cost_usd=amount(data.get("usage")) if cost is None else cost,
            is_byok=own,
            byok_usd=amount(data.get("upstream_inference_cost")) if own else None,
            provider=c.text(data.get("provider_name")),
            model=c.text(data.get("model")),
            native_prompt_tokens=_count(data.get("native_tokens_prompt")),
            native_completion_tokens=_count(data.get("native_tokens_completion")),
            native_reasoning_tokens=_count(data.get("native_tokens_reasoning")),
            native_cached_tokens=_count(data.get("native_tokens_cached")),
            server_latency_s=_seconds(data.get("latency")),
            server_generation_s=_seconds(data.get("generation_time")),
            cancelled=cancelled if isinstance(cancelled, bool) else None,
        )

    def news_for(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return what this bill changes in a row of the usage table.

        The cost and the books' own columns, as far as the bill says; and what the answer itself had
        not said: tokens, the provider, the model that served.
        """
        sent, made = self.native_prompt_tokens, self.native_completion_tokens
        books = {name: value for name, value in vars(self).items() if name in BOOKS}
        if self.cost_usd is not None:
            books["cost_source"] = "fee" if self.is_byok and self.byok_usd is None else "billed"
        if_missing = {
            "prompt_tokens": sent,
            "completion_tokens": made,
            "reasoning_tokens": self.native_reasoning_tokens,
            "cached_tokens": self.native_cached_tokens,
            "total_tokens": None if sent is None or made is None else sent + made,
            "provider": self.provider,
            "served_model": self.model,
        }
        filled = {k: v for k, v in if_missing.items() if pd.isna(row.get(k))}
        news = {"cost_usd": self.cost_usd, "byok_usd": self.byok_usd, **books, **filled}
        return {name: value for name, value in news.items() if value is not None}


def bills(
    ask: Callable[[str], Mapping[str, Any]],
    generation_ids: Iterable[str],
    *,
    patience_s: float = 30.0,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Bill]:
    """Look calls up, waiting in all `patience_s` for those that the service does not know yet.

    Ids that stay unknown are left out. What was yielded before an error stays good.
    """
    missing = list(dict.fromkeys(generation_ids))
    pause, waited = FIRST_PAUSE_S, 0.0
    while missing:
        late: dict[str, OrnbError] = {}
        with ThreadPoolExecutor(min(AT_ONCE, len(missing))) as pool:
            try:
                found = pool.map(lambda one: _look_up(ask, one), missing)
                for one, each in zip(missing, found, strict=True):
                    if isinstance(each, Bill):
                        yield each
                    else:
                        late[one] = each
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # after an error nobody is asked
        missing = list(late)
        told = [getattr(each, "retry_after", None) or 0.0 for each in late.values()]
        wait_s = max([pause, *told])
        if not missing or waited + wait_s > patience_s:
            return
        sleep(wait_s)
        waited += wait_s
        pause = min(2 * pause, LONGEST_PAUSE_S)


def _look_up(ask: Callable[[str], Mapping[str, Any]], one: str) -> Bill | OrnbError:
    try:
        data = ask(one)
    except (NotFound, RateLimited, ProviderUnavailable, ConnectionFailed) as error:
        return error  # the same question may be answered later
    return Bill.from_json({**data, "id": one})


def estimate_reply(pricing: Any, reply: Reply) -> Decimal | None:
    """Price an answer from listed prices, in exact USD: docs/costs.md has the rule.

    None also for what no listing prices: searches without a search price, and parsed files.
    """
    if not isinstance(pricing, dict):
        return None
    used, raw = reply.usage, reply.usage.raw
    searches = max(
        _count(mapping(raw.get(key)).get("web_search_requests")) or 0
        for key in ("server_tool_use_details", "server_tool_use")
    )
    files = any(note.get("type") == "file" for note in reply.annotations)
    if files or (searches and not to_decimal(pricing.get("web_search"))):
        return None  # until early 2026 listings had 0 for everything that was not priced
    usd = estimate(
        pricing,
        prompt_tokens=used.prompt_tokens,
        completion_tokens=used.completion_tokens,
        reasoning_tokens=used.reasoning_tokens or 0,
        cached_tokens=used.cached_tokens or 0,
        cache_write_tokens=used.cache_write_tokens or 0,
        requests=_count(raw.get("search_units")) or 1,  # a reranker's price of a request is for one
        searches=searches,
        at=reply.timing.started_at,
    )
    return None if usd is None else EXACT.add(usd, _beyond_text(pricing, raw))


def _beyond_text(pricing: Mapping[str, Any], raw: Mapping[str, Any]) -> Decimal:
    """What audio in, and images and audio out, cost above the same number of text tokens."""
    extra = Decimal(0)
    sent, made = (mapping(raw.get(f"{of}_tokens_details")) for of in ("prompt", "completion"))
    for part, key, apart, text in (
        (sent, "audio_tokens", "audio", "prompt"),
        (made, "image_tokens", "image_output", "completion"),
        (made, "audio_tokens", "audio_output", "completion"),
    ):
        count, price = _count(part.get(key)), to_decimal(pricing.get(apart))
        plain = to_decimal(pricing.get(text))
        if count and price and plain is not None:
            more = EXACT.subtract(price, plain)
            extra = EXACT.add(extra, EXACT.multiply(more, Decimal(count)))
    return extra


def activity_to_frame(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Lay out the ``data`` of ``GET /activity``, the last 30 finished UTC days, newest first.

    One row a day, model and provider; docs/tables.md has the columns.
    """
    listed = [dict(record) for record in records if isinstance(record, Mapping)]
    data: dict[str, Any] = {}
    for name, (dtype, _) in ACTIVITY_COLUMNS.items():
        key = _ACTIVITY_KEYS.get(name, name)
        values = c.field(listed, key) if dtype == "str" else c.values(listed, key)
        data[name] = c.dates(values) if name == "date" else c.typed(values, dtype)
    frame = pd.DataFrame(data, copy=False)
    return frame.sort_values("date", ascending=False, kind="stable", ignore_index=True)


def _count(value: Any) -> int | None:
    number = amount(value)
    return None if number is None else int(number)


def _seconds(milliseconds: Any) -> float | None:
    number = amount(milliseconds)
    return None if number is None else number / 1000
