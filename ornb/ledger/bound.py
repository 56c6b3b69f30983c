"""The most that a call can cost, known before it is made.

A bound, not a guess. What it rests on, and where it is careful rather than exact:

prompt tokens
    At most one token a byte: tokenizers of chat models are byte-level, or fall back to bytes. So
    the UTF-8 bytes of the request's JSON are counted, whose quotes and braces outnumber the special
    tokens between messages, plus `TEMPLATE_TOKENS` for what a model's template adds by itself, and
    `TOOL_TOKENS` where functions are offered (providers describe them in a prompt of their own). A
    decision's template counts once more for each question; a reranker's, and the query, once for
    each document. An image counts `IMAGE_TOKENS`. Audio, video and anything unknown may fill the
    model's context. Of several texts in one request each may be as long as that.
completion tokens
    ``max_tokens`` where the endpoint honours it, else all that the model can answer.
price
    That of the most expensive endpoint that the request's ``provider`` does not rule out, at the
    highest of its prices: every override that the prompt's length allows whatever the hour, writing
    to a cache, reasoning and image output where they are priced apart.

No bound is known for what is billed by what happens: routers whose model is chosen later, presets,
searches, server tools, plugins, parsed files, images made; nor for a field that is not known here.
On 2026-08-22 the most expensive endpoint was above the model's own listed price for 140 of 403
models, up to 12 times, so the listed price is used only where no endpoint is listed.

References
----------
OpenRouter docs, "Provider routing", "Models", "Tool calling" and "BYOK"; 2026-08-22. In the
listings of that day ``image``, ``image_output`` and ``audio`` are prices per token. The fields of a
request are those of the official SDK 1.3.84 (2026-10-27), in which ``max_cost`` stops a loop of
server tools once it is exceeded, after the calls under way and one more turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal, localcontext
from typing import Any

from ..api.others import KINDS, kind_of
from ..api.parameters import FIELDS, listed_count
from ..api.refusals import mapping
from ..api.reply import format_usd
from ..pricing import EXACT, to_decimal
from .price_book import PriceBook, allowed, bills_tokens, dearest_price, lists_zero

TEMPLATE_TOKENS = 256
"""Tokens of a chat template's own: some 70 for gpt-oss, 40 for Llama 3, fewer elsewhere."""
TOOL_TOKENS = 1024
"""Tokens that offering functions adds beyond their JSON: up to 530 documented for Claude."""
IMAGE_TOKENS = 65_536
"""Tokens of one image: the largest documented count is gpt-4o-mini's, 48,169."""
OWN_KEY_FEE = Decimal("0.05")
"""OpenRouter's part of what a provider takes from an own key; none of the first million a month."""
SMALLEST_ANSWER = 16
"""Some providers raise a smaller ``max_tokens`` to this."""
GUESSED_ANSWER, GUESSED_IMAGE = 400, 1500
"""Tokens of a usual answer and a usual image, for `Quote.likely_usd` only."""
_PER_IMAGE = Decimal("0.0001")  # a price of this size is for a whole image, as in 2025
VIRTUAL = (":nitro", ":floor", ":exacto")
"""Wishes of routing that may follow any id, and have no row of their own."""
_SEARCHES_BY_ITSELF = ("perplexity/", "-search-preview", "deep-research")
_HARMLESS_PLUGINS = {"context-compression", "response-healing", "moderation"}
_KNOWN_LIFETIMES = ("5m", "30m", "1h")  # of a cache, with a price that is listed
_LIMITS = ("max_tokens", "max_completion_tokens")
_UNSAID = {
    *("model", "models", "provider", "stream", "stream_options", "usage", *_LIMITS),
    *("router_metadata", "response_cache"),
}
"""Fields that never reach the prompt: the ``max_tokens`` that fits must not change what fits."""
_BILLED_BY_USE = {
    "preset": "a preset can bring prompts, tools, providers (send its settings as fields instead)",
    "web_search_options": "web searches are billed by their number",
    "deferred_tools": "deferred tools take further turns, all of them billed (offer them at once)",
    "prediction": "what a prediction got wrong is billed beyond max_tokens (leave it out)",
    "image_config": "images made are billed by their size, whatever max_tokens",
}
"""Fields of a request, and why no price of tokens bounds what they bring."""
_UNIT_DOCUMENTS, _UNIT_TOKENS = 100, 500
"""A reranker's price of a request is for so many documents, of so many tokens (Cohere, 2026-11)."""
_BEYOND_TEXT = ("internal_reasoning", "image_output", "audio_output")


@dataclass(frozen=True)
class Rate:
    """The highest prices that one endpoint may charge, in USD, and the most it can answer."""

    prompt_usd: Decimal
    """For one prompt token."""
    completion_usd: Decimal
    """For one completion token, reasoning and images included."""
    fixed_usd: Decimal
    """For the request itself, and for images priced by the piece."""
    completion_tokens: int | None
    """At most; None where neither the request nor the listing says."""
    obeys_max_tokens: bool = True

    def cost(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """Return the exact USD of so many tokens."""
        with localcontext(EXACT):
            prompt = prompt_tokens * self.prompt_usd
            return prompt + completion_tokens * self.completion_usd + self.fixed_usd


@dataclass(frozen=True, repr=False)
class Quote:
    """What one call can cost.

    Examples
    --------
    >>> price = {"id": "acme/orbit", "context_length": 8192,
    ...          "pricing": {"prompt": "0.000002", "completion": "0.00001"}}
    >>> book = PriceBook({"acme/orbit": price}.get)
    >>> asked = quote({"model": "acme/orbit", "messages": [], "max_tokens": 100}, book)
    >>> asked
    Quote: about $0.0010, at most $0.0015 (272 prompt and 100 completion tokens) for acme/orbit
    """

    model: str | None
    prompt_tokens: int | None
    """At most; None when nothing bounds them."""
    completion_tokens: int | None
    """At most."""
    rates: tuple[Rate, ...]
    """One for each endpoint that may serve; empty when a price is not known."""
    basis: str
    """Where the prices are from: "endpoints", or "catalogue" where none are listed."""
    unknown: str | None = None
    """Why there is no bound; None when there is one."""
    likely_usd: Decimal | None = None
    """A guess for people: four bytes a token, an answer of 400 tokens at most, the listed price."""
    prices_of: str | None = None
    """Of which day the prices are, for people; None where the service listed them just now."""

    def __repr__(self) -> str:
        worst, name = self.worst_usd, self.model or "the account's default"
        if worst is None:
            return f"Quote: no bound for {name}, since {self.unknown}"
        about = "" if self.likely_usd is None else f"about {format_usd(float(self.likely_usd))}, "
        tokens = f"{self.prompt_tokens:,} prompt and {self.completion_tokens:,} completion tokens"
        of = f"; {self.prices_of}" if self.prices_of else ""
        return f"Quote: {about}at most {format_usd(float(worst))} ({tokens}{of}) for {name}"

    @property
    def worst_usd(self) -> Decimal | None:
        """The most that the call can cost, in USD; None when that is not known."""
        if self.unknown is not None or self.prompt_tokens is None:
            return None
        return max(
            rate.cost(self.prompt_tokens, rate.completion_tokens or 0) for rate in self.rates
        )

    @property
    def is_free(self) -> bool:
        """Whether it is sure to cost nothing."""
        return self.worst_usd == 0

    def cost(self, prompt_tokens: int, completion_tokens: int) -> Decimal | None:
        """Price a number of tokens at the highest of the rates.

        Parameters
        ----------
        prompt_tokens, completion_tokens : int
            Tokens in and out.

        Returns
        -------
        decimal.Decimal or None
            USD; None when no price is known.

        Examples
        --------
        >>> Quote("a/b", 1, 1, (), "catalogue", "no price").cost(1, 1) is None
        True
        """
        if not self.rates:
            return None
        return max(rate.cost(prompt_tokens, completion_tokens) for rate in self.rates)

    def max_tokens_for(self, usd: Decimal) -> int | None:
        """Return the largest ``max_tokens`` with which the call cannot cost more than this.

        Parameters
        ----------
        usd : decimal.Decimal
            What may be spent.

        Returns
        -------
        int or None
            None when no ``max_tokens`` would do: the prompt alone costs too much, or an endpoint
            that may serve does not honour it.

        Examples
        --------
        >>> rate = Rate(Decimal("0.000002"), Decimal("0.00001"), Decimal(0), 9000)
        >>> Quote("a/b", 1000, 9000, (rate,), "catalogue").max_tokens_for(Decimal("0.01"))
        800
        """
        if self.worst_usd is None or self.prompt_tokens is None:
            return None
        fits = [self._fits(rate, usd) for rate in self.rates]
        least = min(fits, default=0)
        return least if least >= SMALLEST_ANSWER else None

    def _fits(self, rate: Rate, usd: Decimal) -> int:
        with localcontext(EXACT):
            left = usd - rate.cost(self.prompt_tokens or 0, 0)
            most = rate.completion_tokens or 0
            if left < 0:
                return 0
            if rate.completion_usd == 0 or left >= most * rate.completion_usd:
                return most
            if not rate.obeys_max_tokens:
                return 0
            return int((left / rate.completion_usd).to_integral_value(ROUND_FLOOR))


# --- tokens ---------------------------------------------------------------------------------------


def prompt_tokens_at_most(body: Mapping[str, Any]) -> int | None:
    """Bound the prompt tokens; None for parts that only the model's context bounds.

    Those are audio, video and files.
    """
    images, media = _media(body)
    if media:
        return None
    said = {key: value for key, value in _without_images(body).items() if key not in _UNSAID}
    text = json.dumps(said, ensure_ascii=False, default=str)
    count = len(text.encode("utf-8", "surrogatepass")) + images * IMAGE_TOKENS
    templates, kind = 1, kind_of(body)
    if kind == "decisions":
        templates += len(body["questions"])
    elif kind == "rerank":
        templates = _prompts(body)
        count += templates * _bytes(body["query"])
    count += templates * TEMPLATE_TOKENS
    return count + TOOL_TOKENS if body.get("tools") else count


def _is_other(body: Mapping[str, Any]) -> bool:
    """Whether a request is no chat, and so billed for its input alone."""
    return kind_of(body) != "chat"


def _prompts(body: Mapping[str, Any]) -> int:
    kind = KINDS.get(kind_of(body))
    return kind.prompts(body) if kind else 1


def _bytes(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass"))


def _units(body: Mapping[str, Any]) -> int:
    """How many times a request is billed at most, where it has a price of its own."""
    if kind_of(body) != "rerank":
        return 1
    query = _bytes(body["query"])
    pieces = (-(-(query + _bytes(each)) // _UNIT_TOKENS) for each in _items(body["documents"]))
    return max(1, -(-sum(pieces) // _UNIT_DOCUMENTS))


def _items(value: Any) -> list[Any]:
    """What stands where a list is meant, in whatever shape it was given."""
    if isinstance(value, list | tuple):
        return list(value)
    return [] if value is None else [value]


def _parts(body: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    for message in _items(body.get("messages")):
        if isinstance(message, Mapping):
            parts = [*_items(message.get("content")), *_items(message.get("images"))]
            yield from (part for part in parts if isinstance(part, Mapping))
            if message.get("audio"):  # sent back by its id: the sound is heard, and billed, again
                yield {"type": "audio"}
    yield from filter(_is_image, _items(body.get("state")))


def _media(body: Mapping[str, Any]) -> tuple[int, set[str]]:
    """How many images, and which other parts that are not text."""
    kinds = [str(part.get("type")) for part in _parts(body)]
    return kinds.count("image_url"), set(kinds) - {"image_url", "text"}


def _without_images(body: Mapping[str, Any]) -> dict[str, Any]:
    """The request without the bytes of its images, which are counted apart."""
    if not any(_is_image(part) for part in _parts(body)):
        return dict(body)

    def lean(message: Any) -> Any:
        if not isinstance(message, Mapping):
            return message
        kept = {
            key: [part for part in _items(message.get(key)) if not _is_image(part)]
            for key in ("content", "images")
            if isinstance(message.get(key), list | tuple | Mapping)
        }
        return {**message, **kept}

    if _is_other(body):
        return {**body, "state": [part for part in _items(body["state"]) if not _is_image(part)]}
    return {**body, "messages": [lean(message) for message in _items(body["messages"])]}


def _is_image(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "image_url"


def _asked_tokens(body: Mapping[str, Any]) -> int | None:
    """The answer's length that the request allows; None where it does not say."""
    thinking = mapping(body.get("reasoning")).get("max_tokens")
    given = [body.get(name) for name in _LIMITS]
    asked = [n for n in given if isinstance(n, int) and not isinstance(n, bool) and n > 0]
    if not asked:
        return None
    if isinstance(thinking, int):
        asked.append(thinking)
    return max(SMALLEST_ANSWER, *asked)


# --- prices ---------------------------------------------------------------------------------------


def quote(body: Mapping[str, Any], book: PriceBook, *, own_keys: bool = False) -> Quote:
    """Bound what a request can cost; `unknown` has the reason where there is no bound.

    Keys of the user's own pay the provider's price, which has no discount of OpenRouter's, and
    OpenRouter's fee.
    """
    model, fallbacks = body.get("model"), body.get("models")
    named = [] if model is None else [str(model)]
    named = list(dict.fromkeys([*named, *map(str, _items(fallbacks))]))
    shown = named[0] if named else None
    if not named:
        return _unbounded(shown, "no model is named, so the account's default is asked")
    if not isinstance(fallbacks, list | tuple | str | None):
        return _unbounded(shown, "models is no list of ids")
    for reason in _billed_by_use(body, named):
        return _unbounded(shown, reason)
    quotes = [_quote_one(body, name, book, own_keys=own_keys) for name in named]
    for each in quotes:
        if each.unknown is not None:
            return each
    return _dearest(shown, quotes)


def _unbounded(model: str | None, reason: str, basis: str = "catalogue") -> Quote:
    return Quote(model, None, None, (), basis, reason)


def _dearest(model: str | None, quotes: list[Quote]) -> Quote:
    """One quote for a model and its fallbacks: only one of them answers."""
    first = quotes[0]
    return Quote(
        model,
        max(each.prompt_tokens or 0 for each in quotes),
        max(each.completion_tokens or 0 for each in quotes),
        tuple(rate for each in quotes for rate in each.rates),
        "catalogue" if any(each.basis == "catalogue" for each in quotes) else "endpoints",
        likely_usd=first.likely_usd,
    )


def _billed_by_use(body: Mapping[str, Any], named: list[str]) -> Iterator[str]:
    """Why a request has parts that are billed by what happens, as far as it has."""
    said = {name: value for name, value in body.items() if value is not None}
    kind = KINDS.get(kind_of(body))
    own = () if kind is None else (*kind.needs, *kind.takes)
    for name in said:
        if name in _BILLED_BY_USE:
            yield _BILLED_BY_USE[name]
        elif name not in FIELDS and name not in own:
            yield f"{name} is no field whose cost is known (leave it out)"
    if said.get("n", 1) != 1:
        yield "n asks for several answers, each of them billed (ask as often instead)"
    if {str(kind) for kind in _items(said.get("modalities"))} - {"text", "audio"}:
        yield _BILLED_BY_USE["image_config"]
    provider = said.get("provider")
    if isinstance(provider, Mapping) and provider.get("options"):
        yield "provider.options can ask a provider for what it bills apart"
    if "file" in _media(body)[1]:
        yield "parsing an attached file is billed apart (send its text instead)"
    yield from _tools_and_plugins(said)
    yield from _caches(said)
    yield from filter(None, map(_odd_model, named))


def _tools_and_plugins(said: Mapping[str, Any]) -> Iterator[str]:
    stops = [stop for stop in _items(said.get("stop_server_tools_when")) if isinstance(stop, dict)]
    for tool in _items(said.get("tools")):
        kind = tool.get("type") if isinstance(tool, Mapping) else tool
        if kind != "function":
            stop = ", and max_cost stops it only after a step that has passed it"
            capped = any(stop.get("type") == "max_cost" for stop in stops)
            yield f"the server tool {kind} is billed by its use{stop if capped else ''}"
    for plugin in _items(said.get("plugins")):
        name = plugin.get("id") if isinstance(plugin, Mapping) else plugin
        off = isinstance(plugin, Mapping) and plugin.get("enabled") is False
        if not off and str(name) not in _HARMLESS_PLUGINS:
            yield f"the plugin {name} is billed by its use"


def _caches(said: Mapping[str, Any]) -> Iterator[str]:
    for each in (said, *_items(said.get("tools")), *_parts(said)):
        for name in ("cache_control", "prompt_cache_options", "prompt_cache_breakpoint"):
            lifetime = mapping(mapping(each).get(name)).get("ttl")
            if lifetime not in (None, *_KNOWN_LIFETIMES):
                yield f"the price of a cache of {lifetime} is not listed"


def _odd_model(name: str) -> str | None:
    if "@preset" in name:
        return f"{name} names a preset: {_BILLED_BY_USE['preset']}"
    if name.endswith(":online") or any(word in name for word in _SEARCHES_BY_ITSELF):
        return f"{name} searches the web, which is billed by the number of searches"
    return None


def _quote_one(body: Mapping[str, Any], name: str, book: PriceBook, *, own_keys: bool) -> Quote:
    plain = name
    for suffix in VIRTUAL:
        plain = plain.removesuffix(suffix)
    record, listed = book.listing(name)
    if record is None and plain != name:
        record, listed = book.listing(plain)
    if record is None:
        return _unbounded(name, f"no price is listed for {name}")
    endpoints = allowed(listed, body.get("provider"))
    basis = "endpoints" if endpoints else "catalogue"
    if not endpoints and (name.endswith(":nitro") or _wants_priority(body)):
        return _unbounded(name, f"no price is listed for {name} at a faster service tier")
    offers = endpoints or [record]
    context = _largest(listed_count(offer.get("context_length")) for offer in [record, *offers])
    counted = prompt_tokens_at_most(body)
    room = context and context * _prompts(body)
    prompt = room if counted is None else min(counted, room or counted)
    if prompt is None:
        return _unbounded(name, "nothing bounds the length of its prompt")
    rates = []
    for offer in offers:
        rate = _rate(body, record, offer, prompt, context)
        if rate is None:
            why = "has no price per token of its own"
            if lists_zero(record):
                why = "lists 0, and is billed in another unit than tokens"
            return _unbounded(name, f"{name} {why}", basis)
        if rate.completion_tokens is None:
            reason = f"nothing bounds the answer of {name}; give max_tokens"
            return _unbounded(name, reason, basis)
        rates.append(_by_own_key(rate, offer) if own_keys else rate)
    most = _largest(rate.completion_tokens for rate in rates)
    likely = _likely(body, record, most)
    return Quote(name, prompt, most, tuple(dict.fromkeys(rates)), basis, likely_usd=likely)


def _wants_priority(body: Mapping[str, Any]) -> bool:
    sort = mapping(body.get("provider")).get("sort")
    by = sort.get("by") if isinstance(sort, Mapping) else sort
    return by == "throughput" or body.get("service_tier") not in (None, "default", "flex")


def _rate(
    body: Mapping[str, Any],
    record: Mapping[str, Any],
    offer: Mapping[str, Any],
    prompt_tokens: int,
    context: int | None,
) -> Rate | None:
    prices = offer.get("pricing")
    if not isinstance(prices, dict):
        return None
    by_request = kind_of(body) == "rerank" and to_decimal(prices.get("request"))
    if lists_zero(offer) and not bills_tokens(record) and not by_request:
        return None
    prompt = dearest_price(prices, "prompt", prompt_tokens)
    completion = dearest_price(prices, "completion", prompt_tokens)
    if _is_other(body):  # answers are not billed; some listings leave the 0 out
        completion = completion or Decimal(0)
    if prompt is None or completion is None:
        return None

    def priced(key: str) -> Decimal:
        return dearest_price(prices, key, prompt_tokens) or Decimal(0)

    images, media = _media(body)
    written = [priced(key) for key in prices if key.startswith("input_cache_write")]
    # A price below the prompt's own is the storage fee alone, and comes on top (Gemini, 2026).
    sent = [prompt, *(w if w >= prompt else EXACT.add(prompt, w) for w in written if w)]
    sent.append(priced("input_cache_read"))
    fixed = EXACT.multiply(priced("request"), _units(body))
    image = priced("image")
    if images and image >= _PER_IMAGE:
        fixed = EXACT.add(fixed, EXACT.multiply(image, images))
    elif images:
        sent.append(image)
    if media:
        sent += [priced("audio"), priced("input_audio_cache")]
    made = [completion, *map(priced, _BEYOND_TEXT)]
    most, obeys = _answer_at_most(body, record, offer, context)
    if _is_other(body) and not completion:  # what is listed as the most says nothing there
        most = 0
    return Rate(max(sent), max(made), fixed, most, obeys)


def _by_own_key(rate: Rate, offer: Mapping[str, Any]) -> Rate:
    discount = to_decimal(offer["pricing"].get("discount"))
    off = discount if discount is not None and 0 < discount < 1 else Decimal(0)
    with localcontext(EXACT):
        more = (1 + OWN_KEY_FEE) / (1 - off)
        prices = ("prompt_usd", "completion_usd", "fixed_usd")
        return replace(rate, **{name: getattr(rate, name) * more for name in prices})


def _answer_at_most(
    body: Mapping[str, Any],
    record: Mapping[str, Any],
    offer: Mapping[str, Any],
    context: int | None,
) -> tuple[int | None, bool]:
    known = offer.get("supported_parameters") or ()
    obeys = not known or any(name in known for name in _LIMITS)
    asked = _asked_tokens(body)
    if asked is not None and obeys:
        return min(asked, context or asked), True
    top = record.get("top_provider") if offer is record else None
    own = listed_count(offer.get("max_completion_tokens"))
    if isinstance(top, Mapping):
        own = own or listed_count(top.get("max_completion_tokens"))
    room = listed_count(offer.get("context_length")) or context
    return (min(own, context or own) if own else room), obeys


def _likely(body: Mapping[str, Any], record: Mapping[str, Any], most: int | None) -> Decimal | None:
    rate = _rate(body, record, record, 0, None)
    if rate is None:
        return None
    said = _without_images(body)
    kind = KINDS.get(kind_of(body))
    asked = [said[name] for name in kind.needs] if kind else said.get("messages")
    text = len(json.dumps(asked, default=str)) // 4
    sent = text + _media(body)[0] * GUESSED_IMAGE
    return rate.cost(sent, min(GUESSED_ANSWER, most or GUESSED_ANSWER))


def _largest(numbers: Iterable[int | None]) -> int | None:
    return max((n for n in numbers if n is not None), default=None)
