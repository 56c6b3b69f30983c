"""From an answer that is an error to an exception that a person can act on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from ..errors import (
    BY_STATUS,
    BY_TYPE,
    ApiError,
    BadRequest,
    ContextTooLong,
    Forbidden,
    Moderated,
    NotFound,
    OutOfCredits,
    ProviderUnavailable,
    RateLimited,
    ServerError,
    UnexpectedAnswer,
)

SHOWN = 300
"""Characters of a service's own words that a message repeats at most."""
MENTIONED = 3
"""Models, providers or causes that a message names at most."""

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys, what turns a line around, and what cannot be written."""

_ABLE = re.compile("No endpoints found that support (?:(image|audio|file|video) input|tool use)")
"""Begins the refusal of what the model cannot do; its id is right."""

NEXT_STEP: dict[str, str] = {
    "AuthenticationError": (
        "Call ornb.sign_in(), or set OPENROUTER_API_KEY to a valid key; "
        "ornb.connect(offline=True) works without one."
    ),
    "BadRequest": "Change the request accordingly; it was not billed.",
    "ContextTooLong": (
        "Shorten the prompt or max_tokens, or pick a model with more room: "
        "ornb.models(min_context=...)."
    ),
    "Forbidden": (
        "The key lacks this permission, or a guardrail or a budget of the account forbids it."
    ),
    "Moderated": "Rephrase the prompt, or pick a model that is not moderated.",
    "NotFound": "Look the id up with ornb.models(search=...), and relax provider= if you set it.",
    "OutOfCredits": "Add credits, ask for fewer max_tokens, or pick from ornb.models(free=True).",
    "PayloadTooLarge": "Send less: a shorter prompt or smaller attachments.",
    "ProviderUnavailable": (
        "Try again shortly, or pick another model; models=[...] falls back by itself."
    ),
    "RateLimited": "Wait, or pick another model: a free model's limits are shared by many.",
    "ServerError": "Try again shortly.",
    "ServerTimeout": "Try again, or pick a faster model.",
}
"""What to do next, by class of error."""

_PICTURE = "Send the image as PNG, JPEG, WebP or GIF."
_FETCH = "Check the image's address, or attach the file itself."
_ANOTHER = "Pick another model."
_STEP: dict[str, str] = {
    "max_tokens_exceeded": "Ask for fewer max_tokens.",
    "refusal": "Rephrase the prompt, or pick another model.",
    "invalid_image": _PICTURE,
    "unsupported_image_format": _PICTURE,
    "image_too_large": "Attach a smaller image.",
    "image_too_small": "Attach a larger image.",
    "image_not_found": _FETCH,
    "image_download_failed": _FETCH,
    "model_not_found": NEXT_STEP["NotFound"],
    "wrong_endpoint": "It is not asked by chat completions: pick another model.",
    "no_endpoints": _ANOTHER,
    "model_deprecated": _ANOTHER,
    "model_unavailable_upstream": _ANOTHER,
    "region_restricted": _ANOTHER,
    "privacy_restricted": (
        "Allow such providers in the account's privacy settings, or pick another model."
    ),
    "constraint_filtered": "Relax provider= or the parameters, or pick another model.",
    "free_variant_ended": "Ask for it without :free, or pick from ornb.models(free=True).",
}
"""What to do next, by ``availability.code`` and ``error_type``, where the class says too little."""


def refusal(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    url: str = "",
    model: str | None = None,
    now: datetime | None = None,
) -> ApiError | UnexpectedAnswer:
    """Make the error that an answer stands for.

    Parameters
    ----------
    status : int
        HTTP status; 200 when the error came inside an answer that had begun.
    headers : mapping of str to str
        Of the answer, case-insensitive.
    body : bytes
        JSON with ``error``, or whatever came in its place.
    url : str
        Address asked; only its host is repeated.
    model : str, optional
        Model asked for.
    now : datetime, optional
        The present, for dates in the headers (UTC).

    Returns
    -------
    ApiError or UnexpectedAnswer
        Of the class that status and ``error_type`` name.

    Examples
    --------
    >>> body = b'{"error": {"code": 429, "message": "Slow down"}}'
    >>> error = refusal(429, {"Retry-After": "7"}, body)
    >>> type(error).__name__, error.retry_after
    ('RateLimited', 7.0)

    References
    ----------
    OpenRouter docs, "Errors and debugging"; 2026-08-22, and the 27 values of ``error_type`` in the
    official SDK 1.3.84. Bodies seen elsewhere differ from it: a
    code as a string, metadata that is null, ``raw`` as text, as JSON in a string, or as an object.
    """
    error = _error_object(body)
    if error is None:
        host = urlsplit(url).netloc or "The server"
        return _not_ours(status, headers, body, host, model, retry_after(headers, now=now))
    metadata = _mapping(error.get("metadata"))
    effective = _status_of(error, status)
    error_type = metadata.get("error_type") or error.get("error_type")
    kind = _kind(effective, error_type, error, metadata)
    facts: dict[str, Any] = {
        "status_code": status,
        "code": error.get("code"),
        "error_type": error_type if isinstance(error_type, str) else None,
        "provider": _text(metadata.get("provider_name")),
        "model": model,
        "retry_after": retry_after(headers, metadata, _mapping(error.get("availability")), now=now),
        "generation_id": headers.get("X-Generation-Id"),
        "raw": error,
    }
    return kind(_words(kind, effective, ApiError("", **facts), metadata), **facts)


def retry_after(
    headers: Mapping[str, str],
    metadata: Mapping[str, Any] | None = None,
    availability: Mapping[str, Any] | None = None,
    *,
    now: datetime | None = None,
) -> float | None:
    """Seconds until a request makes sense again.

    Parameters
    ----------
    headers : mapping of str to str
        ``Retry-After`` (seconds or a date), or ``X-RateLimit-Reset`` (epoch milliseconds); and
        ``Date``, the service's own clock.
    metadata : mapping, optional
        ``error.metadata``, whose ``headers`` may hold a copy of the limits.
    availability : mapping, optional
        ``error.availability``, whose ``retry_after`` is in s.
    now : datetime, optional
        The present (UTC), by default the service's.

    Returns
    -------
    float or None
        Seconds, never negative; None when nobody said.

    Examples
    --------
    >>> retry_after({"Retry-After": "2"})
    2.0
    >>> retry_after({}, {"headers": {"X-RateLimit-Reset": "1761609600000"}},
    ...             now=datetime(2025, 10, 27, 23, 59, 50, tzinfo=UTC))
    10.0
    """
    # Dates are the service's: its own clock beside them makes a wrong one here harmless.
    now = now or _date(headers.get("Date")) or datetime.now(UTC)
    copied = _mapping(_mapping(metadata).get("headers"))
    reset = _number(headers.get("X-RateLimit-Reset") or copied.get("X-RateLimit-Reset"))
    until = _date(headers.get("Retry-After"))
    for pause in (
        _number(headers.get("Retry-After")),
        None if until is None else (until - now).total_seconds(),
        None if reset is None else reset / 1000 - now.timestamp(),
        _number(_mapping(availability).get("retry_after")),
    ):
        if pause is not None:
            return max(0.0, pause)
    return None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _date(value: Any) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _error_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, str):  # other OpenAI-compatible servers send a bare sentence
        return {"message": error}
    if isinstance(error, dict) and isinstance(error.get("error"), dict):  # seen nested twice
        error = error["error"] | {key: error[key] for key in error if key != "error"}
    return error if isinstance(error, dict) else None


def _not_ours(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    host: str,
    model: str | None,
    pause: float | None,
) -> ApiError | UnexpectedAnswer:
    if 300 <= status < 400 and headers.get("Location"):
        return UnexpectedAnswer(
            f"{host} points to {headers['Location'][:SHOWN]!r} instead (status {status}), which is "
            "not followed: the key goes nowhere else. If that is right, set base_url to it."
        )
    what = _shown(body.decode("utf-8", "replace").strip())
    message = f"{host} answered {what} with status {status}, where OpenRouter's JSON was expected. "
    kind = BY_STATUS.get(status) or (ServerError if status >= 500 else None)
    if kind is None or status == 404:
        return UnexpectedAnswer(
            message + "A proxy or a sign-in page may stand in between, or base_url is not right."
        )
    return kind(
        message + _with_pause(kind, NEXT_STEP[kind.__name__], pause),
        status_code=status,
        model=model,
        retry_after=pause,
        generation_id=headers.get("X-Generation-Id"),
    )


def _shown(text: str) -> str:
    title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
    shown = title.group(1) if title else re.sub(r"<[^>]*>", " ", text)
    shown = " ".join(shown.split())[:SHOWN]
    quoted = repr(shown) if len(repr(shown)) <= 2 * SHOWN else f"{shown!r:.{SHOWN}}…'"
    if text[:1] == "<":
        return f"a web page ({quoted})"
    return quoted if shown else "nothing"


def _status_of(error: Mapping[str, Any], status: int) -> int:
    """The status meant: inside an answer that had begun, the transport's own is 200."""
    if status >= 400:
        return status
    for value in (error.get("code"), error.get("http_status")):
        try:
            if value is not None and 400 <= int(value) <= 599:
                return int(value)
        except (TypeError, ValueError, OverflowError):  # the last of an infinity
            continue
    return 502


def _kind(
    status: int, error_type: Any, error: Mapping[str, Any], metadata: Mapping[str, Any]
) -> type[ApiError]:
    kind = BY_TYPE.get(error_type) if isinstance(error_type, str) else None
    if kind is None:
        kind = BY_STATUS.get(status) or (ServerError if status >= 500 else BadRequest)
    if kind is Forbidden and ("reasons" in metadata or "flagged_input" in metadata):
        return Moderated
    # Older answers have no error_type for a prompt that does not fit.
    if kind is BadRequest and re.search(
        r"context length|context window|too many tokens", str(error.get("message")), re.IGNORECASE
    ):
        return ContextTooLong
    return kind


def _words(kind: type[ApiError], status: int, facts: ApiError, metadata: Mapping[str, Any]) -> str:
    said = _text(facts.raw.get("message")) or "no reason given"
    raw = _raw_message(metadata.get("raw"))
    if raw and raw not in said:
        said = f"{said.rstrip('. ')}: {raw}"
    reasons = metadata.get("reasons")
    if isinstance(reasons, list) and reasons:
        said = f"{said.rstrip('. ')} ({', '.join(map(str, reasons))})"
    about = (str(status), facts.model, facts.provider, _text(facts.limit_source))
    where = ", ".join(part for part in about if part)
    words = (_text(facts.availability.get("code")), facts.error_type)
    own = next((_STEP[word] for word in words if word in _STEP), None)
    step = _with_pause(kind, own or _next_step(kind, said), facts.retry_after)
    said = f"{said[:SHOWN].rstrip('. ')}{_ruled_out_by(facts.availability)}"
    return _UNSEEN.sub("\ufffd", " ".join((f"{said} [{where}]. {step}", *_further(facts))))


def _ruled_out_by(availability: Mapping[str, Any]) -> str:
    constraint = _mapping(availability.get("constraint"))
    field, detail = _text(constraint.get("field")), _text(constraint.get("detail"))
    excluded = _listed(availability.get("excluded_by"))
    parts = [f"{field}: {detail}"] if field and detail else []
    parts += [f"ruled out by {excluded}"] if excluded else []
    return f" ({'; '.join(parts)})"[:SHOWN] if parts else ""


def _further(facts: ApiError) -> Iterator[str]:
    """What the service says beside the error itself, in brief; all of it is in ``raw``."""
    failed = []
    for each in facts.previous_errors:
        name, status = _text(each.get("provider")), each.get("status") or each.get("code")
        if name:
            failed.append(f"{name[:40]} ({status})" if isinstance(status, int) else name[:40])
    if failed:
        yield f"Before it failed {', '.join(failed[:MENTIONED])}."
    if instead := _listed(facts.availability.get("fallback_models")):
        yield f"Instead: {instead}."
    if hint := _text(facts.remedy_hint):
        yield f"The service advises: {hint}"
    if page := _text(facts.availability.get("docs_url")):
        yield f"See {page[:120]}"


def _listed(names: Any) -> str:
    """The first of a list of names; nothing of anything else."""
    found = [_text(name) for name in names] if isinstance(names, list) else []
    return ", ".join([name[:80] for name in found if name][:MENTIONED])


def _with_pause(kind: type[ApiError], step: str, pause: float | None) -> str:
    if pause is None or kind not in (RateLimited, ProviderUnavailable):
        return step
    return f"Try again in {_duration(pause)}. {step}"


def _next_step(kind: type[ApiError], said: str) -> str:
    """What to do now; some refusals are told apart by their words only."""
    if kind is RateLimited and "free-models-per-day" in said:
        return (
            "The free calls come back at 00:00 UTC. Paid models go on, ornb.connect(offline=True) "
            "is free, and 10 USD of credits, bought once, allow 1,000 a day."
        )
    if kind is RateLimited and "free-models-per-min" in said:
        return "ornb.quota(wait=True) spaces free calls; ornb.quota() counts them."
    if kind is NotFound and (able := _ABLE.search(said)):
        query = f'accepts="{able[1]}"' if able[1] else "tools=True"
        step = f"ornb.models({query}) lists models that do."
        return f"ornb.sign_in() goes live, where {step}" if "Offline" in said else step
    if kind is NotFound and "data policy" in said:
        return _STEP["privacy_restricted"]
    if kind is OutOfCredits and "afford" not in said and "free" in said:
        return "Add credits: a negative balance stops free models too."
    return NEXT_STEP[kind.__name__]


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _raw_message(raw: Any) -> str | None:
    """What the provider itself said, out of text, of JSON in a string, or of an object."""
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError):
            return _text(raw)
    for key in ("error", "message", "detail"):
        if isinstance(raw, dict) and key in raw:
            return _raw_message(raw[key]) if not isinstance(raw[key], str) else _text(raw[key])
    return _text(raw)


def _text(value: Any) -> str | None:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return text[:SHOWN] or None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
