"""The catalogue as tables: model, endpoint and provider records to tidy frames.

Every answer the API gave from 2024 to today fits: nine keys a model or twenty, enveloped or a bare
list. Nothing but an ``id`` is required, whatever cannot be read becomes a missing value, and the
record itself stays in the column ``raw``. Unknown keys are ignored. Columns, units and dtypes are
stated once, in `MODEL_COLUMNS`, `ENDPOINT_COLUMNS` and `PROVIDER_COLUMNS`, and docs/tables.md shows
them.

The frames are built column by column: one list comprehension a field, and no row-wise pandas.

Source of the record shapes: the OpenRouter OpenAPI file of 2026-08-22 (``Model``,
``PublicEndpoint``, ``/providers``) and recorded listings of 2024-11 to 2026-08.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from .. import columns as c
from .. import pricing
from ..api import dialects
from ..columns import Column
from ..errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..columns import Record

_UTC = "datetime64[us, UTC]"
_NO_END = datetime(2098, 1, 1, tzinfo=UTC)  # 2098-12-31 was listed for "no end" in mid-2026

MODEL_COLUMNS: dict[str, Column] = {
    "name": Column("str", "display name, as listed; the id where none is"),
    "author": Column("str", "who made it: the id up to its first slash, without `~`"),
    "family": Column("str", "tokenizer family, such as Claude; missing if not listed"),
    "variant": Column(
        "str", "what follows the id's last colon: free, batch, thinking ...; or empty"
    ),
    "kind": Column(
        "str", "chat, or what else it makes: embeddings, rerank, decisions, image, speech ..."
    ),
    "created": Column(_UTC, "when OpenRouter added it"),
    "context_length": Column("Int64", "tokens, prompt and answer together; 0 is listed as unknown"),
    "max_completion_tokens": Column("Int64", "most tokens in one answer, of the top provider"),
    "input_modalities": Column("object", "tuple of str: text, image, file, audio, video"),
    "output_modalities": Column("object", "tuple of str: text, image, audio, ..."),
    "supported_parameters": Column("object", "tuple of str; empty if not listed (before 2025-05)"),
    "accepts_image": Column("bool", "image is an input modality"),
    "accepts_file": Column("bool", "file is an input modality"),
    "accepts_audio": Column("bool", "audio is an input modality"),
    "accepts_video": Column("bool", "video is an input modality"),
    "returns_image": Column("bool", "image is an output modality"),
    "returns_audio": Column("bool", "audio is an output modality"),
    "tools": Column("bool", "supports the parameter `tools`"),
    "structured_outputs": Column("bool", "supports the parameter `structured_outputs`"),
    "reasoning": Column("bool", "supports the parameter `reasoning`, or describes its reasoning"),
    "prompt_usd_per_million": Column("float64", "USD per million prompt tokens"),
    "completion_usd_per_million": Column("float64", "USD per million completion tokens"),
    "cache_read_usd_per_million": Column(
        "float64", "USD per million prompt tokens read from cache"
    ),
    "cache_write_usd_per_million": Column("float64", "USD per million prompt tokens put in cache"),
    "request_usd": Column("float64", "USD per request"),
    "web_search_usd": Column("float64", "USD per web search"),
    "price_tier": Column("category", "decade of the blended price; ordered, see Price tiers"),
    "is_free": Column("bool", "both prices 0, and nothing else is billed; not a matter of suffix"),
    "is_router": Column(
        "bool", "chooses a model for each call, at that model's price (openrouter/auto ...)"
    ),
    "is_alias": Column("bool", "stands for the newest model of a family (`~author/family-latest`)"),
    "is_batch": Column("bool", "row of the asynchronous Batch API (`:batch`), not for chat"),
    "is_moderated": Column("boolean", "the top provider's input is moderated"),
    "alias_target": Column("str", "id that an alias stands for; missing if not listed"),
    "intelligence_index": Column("float64", "Artificial Analysis intelligence index, points"),
    "coding_index": Column("float64", "Artificial Analysis coding index, points"),
    "agentic_index": Column("float64", "Artificial Analysis agentic index, points"),
    "knowledge_cutoff": Column(
        _UTC, "training data end there; first day where only a month is listed"
    ),
    "expiration_date": Column(_UTC, "to be removed then; missing for the placeholder 2098-12-31"),
    "canonical_slug": Column("str", "permanent, often dated, name of the same model"),
    "hugging_face_id": Column("str", "repository of the weights; missing where there is none"),
    "description": Column("str", "as listed; cut to some 330 characters by the API since 2026-05"),
    "raw": Column("object", "the record itself, untouched"),
}
"""Columns of the models frame in their order; its index is ``id`` (str)."""

_PERCENTILES = ("p50", "p75", "p90", "p99")

ENDPOINT_COLUMNS: dict[str, Column] = {
    "model_id": Column("str", "id of the model it serves"),
    "provider_name": Column("str", "the provider's display name"),
    "tag": Column("str", "what `provider.order`, `only` and `ignore` take; not always unique"),
    "quantization": Column("str", "fp8, bf16, int4 ...; missing if not listed or `unknown`"),
    "service_tier": Column(
        "str", "flex, priority, ultrafast; missing for the standard one, and before 2026-10"
    ),
    "context_length": Column("Int64", "tokens, prompt and answer together"),
    "max_completion_tokens": Column("Int64", "most tokens in one answer"),
    "max_prompt_tokens": Column("Int64", "most tokens in one prompt"),
    "supported_parameters": Column("object", "tuple of str"),
    **c.alike(MODEL_COLUMNS, "tools", "structured_outputs"),
    "reasoning": Column("bool", "supports the parameter `reasoning`"),
    "supports_tool_choice": Column(
        "object",
        "tuple of the values of `tool_choice` that work (auto, function, none, required); "
        "None if not listed",
    ),
    "prompt_usd_per_million": Column(
        "float64", "USD per million prompt tokens, discount taken off"
    ),
    "completion_usd_per_million": Column("float64", "USD per million completion tokens, likewise"),
    **c.alike(MODEL_COLUMNS, "cache_read_usd_per_million", "cache_write_usd_per_million"),
    **c.alike(MODEL_COLUMNS, "request_usd", "web_search_usd"),
    "discount": Column("float64", "share already taken off the prices; negative is a surcharge"),
    "status": Column("Int64", "0 is fine, negative is worse (meanings not documented)"),
    "uptime_last_5m_percent": Column("float64", "percent"),
    "uptime_last_30m_percent": Column("float64", "percent"),
    "uptime_last_1d_percent": Column("float64", "percent"),
    **{
        f"time_to_first_token_{p}_s": Column("float64", f"seconds, {p} of the last 30 minutes")
        for p in _PERCENTILES
    },
    **{
        f"tokens_per_second_{p}": Column(
            "float64", f"tokens per second, {p} of the last 30 minutes"
        )
        for p in _PERCENTILES
    },
    "implicit_caching": Column("boolean", "caches prompts without being asked"),
    "raw": Column("object", "the record itself, untouched"),
}
"""Columns of the endpoints frame in their order; its index just counts the rows."""

PROVIDER_COLUMNS: dict[str, Column] = {
    "name": Column("str", "display name"),
    "headquarters": Column("str", "two-letter country code; missing if not listed"),
    "datacenters": Column("object", "tuple of two-letter country codes; empty if not listed"),
    "privacy_policy_url": Column("str", "URL"),
    "terms_of_service_url": Column("str", "URL"),
    "status_page_url": Column("str", "URL"),
    "raw": Column("object", "the record itself, untouched"),
}
"""Columns of the providers frame in their order; its index is ``slug`` (str)."""


# --- models ---------------------------------------------------------------------------------------


def to_frame(
    records: Any,
    *,
    source: str = "live",
    fetched_at: datetime | None = None,
    url: str | None = None,
    snapshot: str | None = None,
) -> pd.DataFrame:
    """Lay out model records as one row a model.

    Parameters
    ----------
    records : list of dict, or dict
        The answer of ``GET /models``: ``{"data": [...]}``, or the list in it. Not changed.
    source : str
        ``"live"`` or ``"snapshot"``, kept in ``frame.attrs``.
    fetched_at : datetime, optional
        When they were fetched; kept in ``frame.attrs`` as ISO text.
    url : str, optional
        Where they came from; kept in ``frame.attrs``.
    snapshot : str, optional
        Day the snapshot was taken (``"2026-08-22"``); kept in ``frame.attrs``.

    Returns
    -------
    pandas.DataFrame, one row a model
        Indexed by ``id``, in the order given, columns as in docs/tables.md with the same dtypes
        whatever was given, also for no records at all. A record without an id is left out, and of
        two records with one id the first is kept; ``frame.attrs["notes"]`` (list of str) says so
        for people, ``frame.attrs["skipped"]`` (list of int) gives their positions.

    Raises
    ------
    CatalogError
        It is not a list of records, or none of the records has an id.

    Examples
    --------
    >>> prices = {"prompt": "0.0000025", "completion": "0.00001"}
    >>> frame = to_frame([{"id": "lab/small", "context_length": 8192, "pricing": prices}])
    >>> frame.loc["lab/small", "prompt_usd_per_million"].item()
    2.5

    References
    ----------
    OpenRouter OpenAPI file, ``GET /models``, as of 2026-08-22.
    """
    kept, skipped, notes = _usable(_records(records, "models"), "id", "model")
    columns = _model_columns(kept)
    notes += _price_notes(kept, columns)
    frame = pd.DataFrame(columns, index=_index(kept, "id"), copy=False)
    frame.attrs = _attrs(source, fetched_at, url, snapshot, notes, skipped)
    return frame


def _model_columns(records: list[Record]) -> dict[str, Any]:
    ids: list[str] = [r["id"] for r in records]
    variants = [_variant(i) if ":" in i else "" for i in ids]
    architecture = c.nested(records, "architecture")
    outputs = _modalities(architecture, "output")
    top = c.nested(records, "top_provider")
    scores = c.nested(c.nested(records, "benchmarks"), "artificial_analysis")
    columns = {
        "name": c.strings([n or i for n, i in zip(c.field(records, "name"), ids, strict=True)]),
        "author": c.strings([_author(i, r) for i, r in zip(ids, records, strict=True)]),
        "family": c.strings(families := c.field(architecture, "tokenizer")),
        "variant": c.strings(variants),
        "kind": outputs.strings(_kind),
        "created": c.times(c.values(records, "created")),
        "context_length": c.counts([dialects.context_length(r) for r in records]),
        "max_completion_tokens": c.counts([dialects.max_completion_tokens(r) for r in records]),
        **_ability_columns(records, _modalities(architecture, "input"), outputs),
        **_price_columns(pricings := c.nested(records, "pricing")),
        **dict.fromkeys(("price_tier", "is_free", "is_router")),  # their place; see below
        "is_alias": c.flags(i.startswith("~") for i in ids),
        "is_batch": c.flags(v == "batch" for v in variants),
        "is_moderated": c.booleans(c.values(top, "is_moderated")),
        "alias_target": c.strings(c.field(c.nested(records, "alias_target"), "slug")),
        "intelligence_index": c.floats(c.values(scores, "intelligence_index")),
        "coding_index": c.floats(c.values(scores, "coding_index")),
        "agentic_index": c.floats(c.values(scores, "agentic_index")),
        "knowledge_cutoff": c.dates(c.values(records, "knowledge_cutoff")),
        "expiration_date": c.dates(c.values(records, "expiration_date"), before=_NO_END),
        "canonical_slug": c.strings(c.field(records, "canonical_slug")),
        "hugging_face_id": c.strings(c.field(records, "hugging_face_id")),
        "description": c.strings(c.field(records, "description")),
        "raw": c.objects(records),
    }
    # Aliases have the tokenizer "Router" too, but a price: they are the model they point at.
    routers = [f == "Router" and i[0] != "~" for i, f in zip(ids, families, strict=True)]
    columns.update(_price_flags(columns, pricings, ids, routers))
    return columns


def _ability_columns(
    records: list[Record], inputs: c.TextLists, outputs: c.TextLists
) -> dict[str, Any]:
    parameters = c.TextLists(c.values(records, "supported_parameters"))
    describes = c.flags(type(r.get("reasoning")) is dict for r in records)
    return {
        "input_modalities": c.objects(inputs.rows),
        "output_modalities": c.objects(outputs.rows),
        "supported_parameters": c.objects(parameters.rows),
        **{f"accepts_{m}": inputs.has(m) for m in ("image", "file", "audio", "video")},
        **{f"returns_{m}": outputs.has(m) for m in ("image", "audio")},
        "tools": parameters.has("tools"),
        "structured_outputs": parameters.has("structured_outputs"),
        "reasoning": parameters.has("reasoning") | describes,
    }


def _modalities(architecture: list[Record], side: Literal["input", "output"]) -> c.TextLists:
    """Modalities; before 2025 there was only text such as ``"text+image->text"``."""
    listed = c.values(architecture, f"{side}_modalities")
    if not all(listed):
        part = 0 if side == "input" else 2
        spelled = [(text or "").partition("->")[part] for text in c.field(architecture, "modality")]
        listed = [
            names or [word for word in text.split("+") if word]
            for names, text in zip(listed, spelled, strict=True)
        ]
    return c.TextLists(listed)


def _kind(outputs: tuple[str, ...]) -> str:
    """What a model is asked for; where nothing is listed, as by other servers, it chats."""
    return "chat" if not outputs or "text" in outputs else outputs[0]


def _price_columns(pricings: list[Record]) -> dict[str, Any]:
    def column(key: str, read: Callable[[Any], float | None]) -> Any:
        return np.array(c.mapped(c.values(pricings, key), read), dtype="float64")

    return {
        "prompt_usd_per_million": column("prompt", pricing.usd_per_million),
        "completion_usd_per_million": column("completion", pricing.usd_per_million),
        "cache_read_usd_per_million": column("input_cache_read", pricing.usd_per_million),
        "cache_write_usd_per_million": column("input_cache_write", pricing.usd_per_million),
        "request_usd": column("request", _usd),
        "web_search_usd": column("web_search", _usd),
    }


def _usd(value: Any) -> float | None:
    price = pricing.to_decimal(value)
    return None if price is None else float(price)


def _price_flags(
    columns: dict[str, Any], pricings: list[Record], ids: list[str], routers: list[bool]
) -> dict[str, Any]:
    prompt = columns["prompt_usd_per_million"]
    completion = columns["completion_usd_per_million"]
    is_router = c.flags(routers)
    for row in np.flatnonzero(np.isnan(prompt) | np.isnan(completion)):
        is_router[row] |= pricing.depends_on_model(pricings[row])
    outputs = columns["output_modalities"]
    input_only = c.flags(_kind(row) in pricing.INPUT_ONLY for row in outputs)
    is_free = (prompt == 0) & ((completion == 0) | input_only)
    for row in np.flatnonzero(is_free):
        is_free[row] = pricing.zero_is_free(pricings[row], outputs[row], ids[row])
    tier = pricing.price_tier(
        prompt, completion, is_router=is_router, is_free=is_free, input_only=input_only
    )
    return {"price_tier": tier, "is_free": is_free, "is_router": is_router}


def _author(model_id: str, record: Record) -> str | None:
    author, slash, _ = model_id.partition("/")
    if slash:
        return author.removeprefix("~")
    return c.text(record.get("owned_by"))  # other OpenAI-compatible servers have bare names


def _variant(model_id: str) -> str:
    slug, _, _ = model_id.rpartition("/")[2].partition("@")
    return slug.rpartition(":")[2] if ":" in slug else ""


def _price_notes(records: list[Record], columns: dict[str, Any]) -> list[str]:
    """Name what cannot be priced; a server that lists no prices at all is no news."""
    unpriced = np.isnan(columns["prompt_usd_per_million"])
    unpriced |= np.isnan(columns["completion_usd_per_million"])
    candidates = np.flatnonzero(unpriced & ~columns["is_router"]).tolist()
    rows = [n for n in candidates if "pricing" in records[n]]
    if not rows:
        return []
    return [
        f"{records[rows[0]]['id']!r} has no price that can be read{_more(rows)}; "
        "what it costs is known only once it is billed."
    ]


# --- endpoints and providers ----------------------------------------------------------------------


def endpoints_to_frame(
    answer: Any,
    *,
    source: str = "live",
    fetched_at: datetime | None = None,
    url: str | None = None,
    snapshot: str | None = None,
) -> pd.DataFrame:
    """Lay out the providers that serve a model as one row an endpoint.

    Parameters
    ----------
    answer : dict or list of dict
        The answer of ``GET /models/{author}/{slug}/endpoints``, its ``data``, or the list of
        endpoints in it.
    source, fetched_at, url, snapshot
        Kept in ``frame.attrs``, as in `to_frame`.

    Returns
    -------
    pandas.DataFrame, one row an endpoint
        Columns as in docs/tables.md. Times are in seconds (the API has milliseconds); they and
        the speeds are missing in answers to a request without a key. Routers have no endpoints.

    Raises
    ------
    CatalogError
        It is not an answer with endpoints.

    Examples
    --------
    >>> frame = endpoints_to_frame([{"tag": "north/fp8", "latency_last_30m": {"p50": 410}}])
    >>> frame["time_to_first_token_p50_s"].tolist()
    [0.41]

    References
    ----------
    OpenRouter OpenAPI file, ``PublicEndpoint``, as of 2026-08-22: latency is the time to the first
    token. ``service_tier`` and ``supports_tool_choice`` are in the official SDK of 2026-10.
    """
    data = answer.get("data", answer) if isinstance(answer, dict) else answer
    model_id = c.text(data.get("id")) if isinstance(data, dict) else None
    listed = _records(data.get("endpoints") if isinstance(data, dict) else data, "endpoints")
    records = [r for r in listed if isinstance(r, dict)]
    skipped = [n for n, r in enumerate(listed) if not isinstance(r, dict)]
    notes = [f"{len(skipped)} endpoints were not JSON objects and are left out."] if skipped else []
    frame = pd.DataFrame(
        _endpoint_columns(records, model_id), index=pd.RangeIndex(len(records)), copy=False
    )
    frame.attrs = _attrs(source, fetched_at, url, snapshot, notes, skipped)
    return frame


def _endpoint_columns(records: list[Record], model_id: str | None) -> dict[str, Any]:
    parameters = c.TextLists(c.values(records, "supported_parameters"))
    prices = c.nested(records, "pricing")
    return {
        "model_id": c.strings([name or model_id for name in c.field(records, "model_id")]),
        "provider_name": c.strings(c.field(records, "provider_name")),
        "tag": c.strings(c.field(records, "tag")),
        "quantization": c.strings(
            [None if q == "unknown" else q for q in c.field(records, "quantization")]
        ),
        "service_tier": c.strings(c.field(records, "service_tier")),
        "context_length": c.counts(c.values(records, "context_length")),
        "max_completion_tokens": c.counts(c.values(records, "max_completion_tokens")),
        "max_prompt_tokens": c.counts(c.values(records, "max_prompt_tokens")),
        "supported_parameters": c.objects(parameters.rows),
        **{p: parameters.has(p) for p in ("tools", "structured_outputs", "reasoning")},
        "supports_tool_choice": c.objects(
            [
                tuple(name for name, works in choices.items() if works is True)
                if isinstance(choices, dict)
                else None
                for choices in c.values(records, "supports_tool_choice")
            ]
        ),
        **_price_columns(prices),
        "discount": c.floats(c.values(prices, "discount")),
        "status": c.integers(c.values(records, "status")),
        **{
            f"uptime_last_{w}_percent": c.floats(c.values(records, f"uptime_last_{w}"))
            for w in ("5m", "30m", "1d")
        },
        **{
            f"time_to_first_token_{p}_s": _percentile(records, "latency_last_30m", p) / 1000
            for p in _PERCENTILES
        },
        **{
            f"tokens_per_second_{p}": _percentile(records, "throughput_last_30m", p)
            for p in _PERCENTILES
        },
        "implicit_caching": c.booleans(c.values(records, "supports_implicit_caching")),
        "raw": c.objects(records),
    }


def _percentile(records: list[Record], key: str, name: str) -> Any:
    """One percentile of each record; older answers had a bare number, taken as the median."""
    return c.floats(
        [
            v.get(name) if isinstance(v, dict) else v if name == "p50" else None
            for v in c.values(records, key)
        ]
    )


def providers_to_frame(
    records: Any,
    *,
    source: str = "live",
    fetched_at: datetime | None = None,
    url: str | None = None,
    snapshot: str | None = None,
) -> pd.DataFrame:
    """Lay out the providers as one row each.

    Parameters
    ----------
    records : list of dict, or dict
        The answer of ``GET /providers``, or the list in it.
    source, fetched_at, url, snapshot
        Kept in ``frame.attrs``, as in `to_frame`.

    Returns
    -------
    pandas.DataFrame, one row a provider
        Indexed by ``slug``, columns as in docs/tables.md.

    Raises
    ------
    CatalogError
        It is not a list of records, or none of the records has a slug.

    Examples
    --------
    >>> frame = providers_to_frame([{"slug": "north", "name": "North", "headquarters": "NO"}])
    >>> frame.loc["north", "headquarters"]
    'NO'
    """
    kept, skipped, notes = _usable(_records(records, "providers"), "slug", "provider")
    names = zip(c.field(kept, "name"), kept, strict=True)
    urls = ("privacy_policy_url", "terms_of_service_url", "status_page_url")
    columns = {
        "name": c.strings([name or record["slug"] for name, record in names]),
        "headquarters": c.strings(c.field(kept, "headquarters")),
        "datacenters": c.objects(c.TextLists(c.values(kept, "datacenters")).rows),
        **{key: c.strings(c.field(kept, key)) for key in urls},
        "raw": c.objects(kept),
    }
    frame = pd.DataFrame(columns, index=_index(kept, "slug"), copy=False)
    frame.attrs = _attrs(source, fetched_at, url, snapshot, notes, skipped)
    return frame


def _index(records: list[Record], key: str) -> pd.Index[Any]:
    index: pd.Index[Any] = pd.Index(c.strings([r[key] for r in records]), name=key)
    return index


# --- answers to records ---------------------------------------------------------------------------


def _records(answer: Any, what: str) -> list[Any]:
    """Unwrap the list of records, or say what came instead."""
    data = answer.get("data") if isinstance(answer, dict) else answer
    if isinstance(data, list | tuple):
        return list(data)
    if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
        why = f"it is an error: {str(answer['error'].get('message'))[:200]}"
    else:
        why = f"it is {type(answer).__name__} {repr(answer)[:60]}"
    raise CatalogError(
        f"no list of {what} in the answer ({why}); give what GET /{what} answers, "
        'a list of records or {"data": [...]}'
    )


def _usable(listed: list[Any], key: str, what: str) -> tuple[list[Record], list[int], list[str]]:
    """Return the records with a key of their own, positions of the others, and words for people."""
    kept: dict[str, Record] = {}
    nameless: list[int] = []
    doubled: list[int] = []
    for position, record in enumerate(listed):
        name = record.get(key) if type(record) is dict else None
        if type(name) is not str or not name:
            nameless.append(position)
        elif name in kept:
            doubled.append(position)
        else:
            kept[name] = record
    if listed and not kept:
        raise CatalogError(
            f"none of the {len(listed)} {what} records has an {key!r}; check that the address is "
            "that of an OpenRouter-compatible API (it ends in /v1)"
        )
    notes = []
    if nameless:
        notes.append(
            f"{what} record {nameless[0]} has no {key} and is left out{_more(nameless)}; "
            f"if a {what} is missing, look there in the answer."
        )
    if doubled:
        name = listed[doubled[0]][key]
        notes.append(f"{name!r} is listed twice; its first record counts{_more(doubled)}.")
    return list(kept.values()), sorted(nameless + doubled), notes


def _more(positions: list[int]) -> str:
    return f" (and {len(positions) - 1} more)" if len(positions) > 1 else ""


def _attrs(
    source: str,
    fetched_at: datetime | None,
    url: str | None,
    snapshot: str | None,
    notes: list[str],
    skipped: list[int],
) -> dict[Any, Any]:
    """Small and plain: pandas copies attrs at every step, and to_parquet writes them as JSON."""
    return {
        "source": source,
        "fetched_at": fetched_at.isoformat() if fetched_at is not None else None,
        "url": url,
        "snapshot": snapshot,
        "notes": notes,
        "skipped": skipped,
    }
