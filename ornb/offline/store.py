"""The catalogue as the offline server serves it: look-ups and the query of ``GET /models``.

References
----------
OpenRouter API, ``GET /models`` query parameters and id suffixes, state of 2026-08-22. Honoured
here: ``supported_parameters``, ``input_modalities``, ``output_modalities``, ``q``, ``context``,
the four prices, ``model_authors``, ``arch``, ``sort`` (newest, price, context, the three indexes),
``offset``, ``limit``. Others are accepted and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode

from .snapshot import Snapshot
from .wire import Fault, Json

VIRTUAL_SUFFIXES = (":nitro", ":floor", ":exacto", ":online")
"""Routing wishes that may follow any id, without a catalogue row of their own."""

LOCAL_ID = "ornb/smollm2-135m-instruct"
LOCAL_PROVIDER = "ornb offline (SmolLM2-135M-Instruct, on this machine)"
CANNED_ID = "ornb/canned"
DECIDER_ID = "ornb/canned-decisions"
EMBEDDER_ID = "ornb/canned-embeddings"
RERANKER_ID = "ornb/canned-rerank"
CANNED_PROVIDER = "ornb offline (canned)"
DEFAULT_PAGE = 500
MAX_PAGE = 1000
MOST_DIGITS = 1000
_MILLION = Decimal(1_000_000)


class OfflineCatalog:
    """The snapshot, and ornb's own two models, which are served but not listed."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.date = snapshot.date
        self.models = snapshot.models
        self.providers = snapshot.providers
        self._endpoints = dict(snapshot.endpoints)
        self._by_id = {model["id"]: model for model in snapshot.models}
        self._by_slug: dict[str, Json] = {}
        for model in snapshot.models:
            slug = model.get("canonical_slug")
            # :free and :batch rows share the slug of their plain row, which is the one meant.
            if slug and (slug not in self._by_slug or ":" not in model["id"]):
                self._by_slug[slug] = model
        canned = _own(CANNED_ID, "ornb: canned answers (no model)", 1_000_000)
        for model, provider in ((_local(), LOCAL_PROVIDER), (canned, CANNED_PROVIDER)):
            self._by_id[model["id"]] = model
            self._endpoints[model["id"]] = _own_listing(model, provider)

    def find(self, model_id: str) -> Json | None:
        """Return the record an id stands for, virtual suffixes and preset tails put aside."""
        name = model_id.partition("@preset/")[0] or model_id
        while True:
            if found := self._by_id.get(name) or self._by_slug.get(name):
                return found
            base = name
            for suffix in VIRTUAL_SUFFIXES:
                base = base.removesuffix(suffix)
            if base == name:
                return None
            name = base

    def describe(self, model_id: str) -> Json | None:
        """Return the record behind ``GET /model/{id}``: aliases are followed."""
        found = self.find(model_id)
        target = (found or {}).get("alias_target") or {}
        return self._by_id.get(target.get("slug", ""), found)

    def endpoints(self, model_id: str) -> Json | None:
        """Return the endpoints listing of a model, None when there is none."""
        found = self.find(model_id)
        return None if found is None else self._endpoints.get(found["id"])

    def query(self, given: dict[str, str], path: str) -> Json:
        """Answer ``GET /models``; the path is for ``links.next``."""
        rows = _sorted(_filtered(self.models, given), given.get("sort", ""))
        total = len(rows)
        following = None
        if "limit" in given or "offset" in given:
            start = whole_number(given, "offset", 0)
            limit = min(whole_number(given, "limit", DEFAULT_PAGE), MAX_PAGE)
            if limit < 1:
                raise Fault(400, f"limit is {limit}; it takes 1 to {MAX_PAGE}.")
            rows = rows[start : start + limit]
            if start + limit < total:
                more = {**given, "offset": str(start + limit), "limit": str(limit)}
                following = f"{path}?{urlencode(more)}"
        return {"data": rows, "total_count": total, "links": {"next": following}}


def _filtered(models: Iterable[Json], given: dict[str, str]) -> list[Json]:
    tests: list[Callable[[Json], bool]] = []
    words = given.get("q", "").casefold().split()
    if words:
        tests.append(lambda m: all(word in f"{m['id']} {m['name']}".casefold() for word in words))
    if "context" in given:
        least = whole_number(given, "context", 0)
        tests.append(lambda m: (m["context_length"] or 0) >= least)
    if wanted := _csv(given, "supported_parameters"):
        # An unknown name filtered nothing when the API was last watched (2025-04).
        known = {name for model in models for name in model["supported_parameters"]}
        asked = wanted & known
        tests.append(lambda m: asked <= set(m["supported_parameters"]))
    accepted = _csv(given, "input_modalities") - {"all"}
    tests.append(lambda m: accepted <= set(m["architecture"]["input_modalities"]))
    returned = _csv(given, "output_modalities") - {"all"}
    tests.append(lambda m: returned <= set(m["architecture"]["output_modalities"]))
    if authors := _csv(given, "model_authors"):
        tests.append(lambda m: m["id"].split("/")[0].lstrip("~") in authors)
    if families := _csv(given, "arch"):
        tests.append(lambda m: m["architecture"]["tokenizer"] in families)
    tests += _price_tests(given)
    return [model for model in models if all(test(model) for test in tests)]


def _price_tests(given: dict[str, str]) -> list[Callable[[Json], bool]]:
    """Limits in USD per million tokens; the records' prices are per token."""
    tests = []
    for infix, key in (("", "prompt"), ("output_", "completion")):
        low = _decimal(given, f"min_{infix}price")
        high = _decimal(given, f"max_{infix}price")
        if low is not None or high is not None:
            tests.append(_priced(key, low or Decimal(0), high))
    return tests


def _priced(key: str, low: Decimal, high: Decimal | None) -> Callable[[Json], bool]:
    """Test a price; a router's, which is -1, is never within limits."""

    def within(model: Json) -> bool:
        price = _price(model, key)
        return low <= price and (high is None or price <= high)

    return within


def _sorted(models: list[Json], order: str) -> list[Json]:
    keys: dict[str, tuple[Callable[[Json], Any], bool]] = {
        "newest": (lambda m: m["created"], True),
        "context-high-to-low": (lambda m: m["context_length"] or 0, True),
        "pricing-low-to-high": (_blended, False),
        "pricing-high-to-low": (_blended, True),
    }
    for name in ("intelligence", "coding", "agentic"):
        keys[f"{name}-high-to-low"] = (_score(f"{name}_index"), True)
    if order not in keys:
        return models  # popularity and speed are not in a snapshot
    key, reverse = keys[order]
    return sorted(models, key=key, reverse=reverse)


def _score(name: str) -> Callable[[Json], float]:
    def score(model: Json) -> float:
        scores = (model.get("benchmarks") or {}).get("artificial_analysis") or {}
        value = scores.get(name)
        return -1.0 if value is None else float(value)

    return score


def _price(model: Json, key: str) -> Decimal:
    return Decimal(model["pricing"].get(key) or 0) * _MILLION


def _blended(model: Json) -> Decimal:
    return _price(model, "prompt") + _price(model, "completion")


def _csv(given: dict[str, str], name: str) -> set[str]:
    return {part.strip() for part in given.get(name, "").split(",") if part.strip()}


def whole_number(given: dict[str, str], name: str, default: int) -> int:
    """Read one of a query; of a thousand digits is none that anybody means."""
    text = given.get(name) or str(default)
    if not text.isdecimal() or len(text) > MOST_DIGITS:
        raise Fault(400, f"{name} is {text[:100]!r}; it takes a whole number.")
    return int(text)


def _decimal(given: dict[str, str], name: str) -> Decimal | None:
    if not given.get(name):
        return None
    try:
        number = Decimal(given[name])
    except InvalidOperation:
        number = Decimal("nan")
    if number.is_nan():
        raise Fault(400, f"{name} is {given[name]!r}; it takes a number.")
    return number


def _local() -> Json:
    return {
        **_own(LOCAL_ID, "ornb: SmolLM2 135M Instruct (on this machine)", 4096),
        "hugging_face_id": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "supported_parameters": [
            *("frequency_penalty", "logprobs", "max_tokens", "min_p", "presence_penalty"),
            *("repetition_penalty", "response_format", "seed", "stop", "structured_outputs"),
            *("temperature", "top_k", "top_logprobs", "top_p"),
        ],
        "default_parameters": {"temperature": 0, "repetition_penalty": 1.1},
    }


def _own(model_id: str, name: str, context: int) -> Json:
    return {
        "id": model_id,
        "canonical_slug": model_id,
        "name": name,
        "created": 1730419200,  # 2024-11-01, when SmolLM2 came out
        "description": "",
        "context_length": context,
        "architecture": {
            "modality": "text->text",
            "input_modalities": ["text"],
            "output_modalities": ["text"],
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": {"prompt": "0", "completion": "0"},
        "top_provider": {
            "context_length": context,
            "max_completion_tokens": None,
            "is_moderated": False,
        },
        "supported_parameters": ["max_tokens"],
        "default_parameters": {},
        **dict.fromkeys(("hugging_face_id", "per_request_limits", "supported_voices")),
        **dict.fromkeys(("knowledge_cutoff", "expiration_date")),
        "links": {"details": f"/api/v1/models/{model_id}/endpoints"},
    }


def _own_listing(model: Json, provider: str) -> Json:
    context = model["context_length"]
    endpoint = {
        "name": f"{provider} | {model['id']}",
        "model_id": model["id"],
        "model_name": model["name"],
        "context_length": context,
        "pricing": {**model["pricing"], "discount": 0},
        "provider_name": provider,
        "tag": "ornb",
        "quantization": "int4" if model["id"] == LOCAL_ID else "unknown",
        "supported_parameters": model["supported_parameters"],
        "status": 0,
        "supports_implicit_caching": False,
        "supports_voice_cloning": False,
        **dict.fromkeys(("max_completion_tokens", "max_prompt_tokens", "latency_last_30m")),
        **dict.fromkeys(("uptime_last_5m", "uptime_last_30m", "uptime_last_1d")),
        "throughput_last_30m": None,
    }
    listed = ("id", "name", "created", "description", "architecture")
    return {**{key: model[key] for key in listed}, "endpoints": [endpoint]}
