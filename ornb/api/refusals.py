"""From an answer that is an error to an exception that a person can act on."""

from __future__ import annotations

import contextlib
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

_TOO_LONG = re.compile(
    r"context length|context size|context ?window|too many tokens|prompt is too long"
    r"|input token count",
    re.IGNORECASE,
)
"""Says that a prompt does not fit: OpenAI, llama.cpp, LiteLLM, Anthropic, Google."""

_SDKS = re.compile(r"^(?:\w+: )?Error code: ([45]\d\d) - ")
"""Begins what OpenAI's client says of an error, which proxies made with it repeat with a 500."""

_QUOTED = re.compile(r'\{\s*"error"\s*:')
"""Begins a service's own error inside the words of a proxy."""

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

_STATUS_OF: dict[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""By the word for an error, where it alone tells: inside a stream (Anthropic, OpenAI)."""

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

ELSEWHERE: dict[str, str] = {
    "AuthenticationError": "Give the key that it takes: {connect}.",
    "Forbidden": "The key lacks this permission, or a rule of that server forbids it.",
    "NotFound": "Look the id up with ornb.models(), and check base_url.",
    "ProviderUnavailable": "Try again shortly, or pick another model.",
    "OutOfCredits": "Whoever runs that server sets what a key may spend; ask for fewer max_tokens.",
    "RateLimited": "Wait, or pick another model.",
}
"""The same where OpenRouter's accounts and keys are of no use: at any other server."""

_ITS_OWN_KEY = "That server's own key for its provider was refused; whoever runs it has to mend it."

OPENROUTERS = {
    "/providers": "list of providers",
    "/endpoints": "list of a model's endpoints",
    "/key": "account of its keys",
    "v1/keys": "keys to make for others",
    "/credits": "account of credits",
    "/generation": "books of single calls",
    "/activity": "books of what was charged",
}
"""What only OpenRouter has, by the end of its path."""


def refusal(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    url: str = "",
    model: str | None = None,
    server: str | None = None,
    now: datetime | None = None,
) -> ApiError | UnexpectedAnswer:
    """Make the error that an answer stands for. Of the address only the host is repeated.

    OpenRouter docs, "Errors and debugging", 2026-08-22; 27 values of ``error_type``: official SDK
    1.3.84. Elsewhere a code may be a string, metadata null, ``raw`` text, JSON text or an object.
    """
    error = _error_object(body)
    host = urlsplit(url).netloc or "The server"
    if "X-Ornb-Source" in headers:  # the offline default speaks for OpenRouter
        server = None
    has_not = _has_not(status, error, url, model) if server else None
    if has_not is not None:
        return NotFound(f"{host} {has_not} [{status}].", status_code=status)
    if error is None:
        return _not_ours(status, headers, body, host, model, server, retry_after(headers, now=now))
    quoted = _quoted(error)
    error = error | quoted
    metadata = mapping(error.get("metadata"))
    error_type = metadata.get("error_type") or error.get("error_type")
    effective = _code_in(quoted) or (status if status >= 400 else _code_in(error))
    effective = effective or _STATUS_OF.get(str(error.get("type"))) or 502
    kind = _kind(effective, error_type, error, metadata)
    facts: dict[str, Any] = {
        "status_code": status,
        "code": error.get("code"),
        "error_type": error_type if isinstance(error_type, str) else None,
        "provider": _text(metadata.get("provider_name")),
        "model": model,
        "retry_after": retry_after(headers, metadata, mapping(error.get("availability")), now=now),
        "generation_id": headers.get("X-Generation-Id"),
        "raw": error,
    }
    steps = _steps(server, headers, str(error.get("message")))
    if quoted and steps is not NEXT_STEP:
        steps = {**steps, "AuthenticationError": _ITS_OWN_KEY}
    return kind(_words(kind, effective, ApiError("", **facts), metadata, steps), **facts)


def retry_after(
    headers: Mapping[str, str],
    metadata: Mapping[str, Any] | None = None,
    availability: Mapping[str, Any] | None = None,
    *,
    now: datetime | None = None,
) -> float | None:
    """Return the seconds until a request makes sense again, never negative; None if nobody said.

    ``X-RateLimit-Reset`` is in epoch milliseconds, and may be in ``error.metadata`` only; other
    servers tell it in seconds, of the epoch or from now on. ``Date`` is the service's own clock.
    LiteLLM puts ``llm_provider-`` before a provider's headers.
    """
    # Dates are the service's: its own clock beside them makes a wrong one here harmless.
    now = now or _date(headers.get("Date")) or datetime.now(UTC)
    copied = mapping(mapping(metadata).get("headers"))
    reset = _number(headers.get("X-RateLimit-Reset") or copied.get("X-RateLimit-Reset"))
    told = headers.get("Retry-After") or headers.get("llm_provider-Retry-After")
    until = _date(told)
    for pause in (
        _number(told),
        None if until is None else (until - now).total_seconds(),
        None if reset is None else _seconds_to(reset, now),
        _number(mapping(availability).get("retry_after")),
    ):
        if pause is not None:
            return max(0.0, pause)
    return None


def _seconds_to(reset: float, now: datetime) -> float:
    if reset < 1e8:
        return reset
    return (reset / 1000 if reset > 1e11 else reset) - now.timestamp()


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
    """The error, out of the shapes that servers give it."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and len(value) == 1:  # Google's own servers
        value = value[0]
    if not isinstance(value, dict):
        return None
    error = _unwrapped(value)
    if isinstance(error, dict) and "detail" in error and "message" not in error:  # FastAPI
        error = _detail(error["detail"])
    if isinstance(error, str):  # other OpenAI-compatible servers send a bare sentence
        beside = {key: value[key] for key in ("code", "type") if key in value}
        return {"message": error, **beside}
    if isinstance(error, dict) and isinstance(error.get("error"), dict):  # seen nested twice
        error = error["error"] | {key: error[key] for key in error if key != "error"}
    if isinstance(error, dict) and isinstance(error.get("message"), dict | list):
        said = _detail(error["message"])
        error = error | (said if isinstance(said, dict) else {"message": said})
    if isinstance(error, dict) and isinstance(value.get("openrouter_metadata"), dict):
        error = {**error, "openrouter_metadata": value["openrouter_metadata"]}
    return error if isinstance(error, dict) else None


def _unwrapped(value: dict[str, Any]) -> Any:
    error, listed = value.get("error"), value.get("errors")
    if not isinstance(error, dict | str) and {"detail", "message"} & value.keys():
        return value  # Portkey, Mistral and older releases of vLLM have no envelope
    if not error and isinstance(listed, list):  # Cloudflare's
        listed = [str(each.get("message")) for each in listed if isinstance(each, dict)]
        return "; ".join(listed) or None
    return error


def _detail(detail: Any) -> Any:
    """FastAPI's word: a sentence, an error, or a list of the fields that are not right."""
    if isinstance(detail, dict) and "message" not in detail:
        detail = detail.get("error") or detail.get("detail") or json.dumps(detail)
    if isinstance(detail, list):
        return "; ".join(
            each if isinstance(each, str) else f"{_place(each.get('loc'))}{each.get('msg')}"
            for each in detail
            if isinstance(each, str | dict)
        )
    return detail if isinstance(detail, dict) else str(detail or "")


def _place(path: Any) -> str:
    return f"{'.'.join(map(str, path[1:] or path))}: " if isinstance(path, list) and path else ""


def _quoted(error: Mapping[str, Any]) -> dict[str, Any]:
    """A service's own error that a proxy repeats inside its words; empty where there is none."""
    message = str(error.get("message"))
    begin = _QUOTED.search(message)
    if begin is None:
        code = _SDKS.search(message)
        return {"code": int(code[1])} if code else {}
    with contextlib.suppress(ValueError, RecursionError):
        inner = json.JSONDecoder().raw_decode(message, begin.start())[0]["error"]
        return inner if isinstance(inner, dict) else {}
    return {}


def _has_not(
    status: int, error: Mapping[str, Any] | None, url: str, model: str | None
) -> str | None:
    """What another server than OpenRouter lacks, where it was asked for that."""
    path = urlsplit(url).path
    what = next((OPENROUTERS[end] for end in OPENROUTERS if path.endswith(end)), None)
    if status in (404, 405, 501) and path.endswith("/models"):
        return "has no list of models there: check base_url, or ask a model by the name that it has"
    if what is None or status not in (404, 405, 501):
        return None
    said = str((error or {}).get("message")).casefold()
    if model and model.casefold() in said and "/endpoints" not in said:
        return None  # it has such lists, and not this model
    return f"has no {what}, as servers other than OpenRouter have none"


def _not_ours(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    host: str,
    model: str | None,
    server: str | None,
    pause: float | None,
) -> ApiError | UnexpectedAnswer:
    if 300 <= status < 400 and headers.get("Location"):
        return UnexpectedAnswer(
            f"{host} points to {headers['Location'][:SHOWN]!r} instead (status {status}), which is "
            "not followed: the key goes nowhere else. If that is right, set base_url to it."
        )
    what = _shown(body.decode("utf-8", "replace").strip())
    expected = "OpenRouter's JSON" if server is None else "JSON"
    message = f"{host} answered {what} with status {status}, where {expected} was expected. "
    kind = BY_STATUS.get(status) or (ServerError if status >= 500 else None)
    if kind is None or status == 404:
        return UnexpectedAnswer(
            message + "A proxy or a sign-in page may stand in between, or base_url is not right."
        )
    return kind(
        message + _with_pause(kind, _steps(server, headers, "")[kind.__name__], pause),
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


def _code_in(error: Mapping[str, Any]) -> int | None:
    """The status that an error names: inside an answer that had begun, the transport's is 200."""
    for value in (error.get("code"), error.get("http_status")):
        try:
            if value is not None and 400 <= int(value) <= 599:
                return int(value)
        except (TypeError, ValueError, OverflowError):  # the last of an infinity
            continue
    return None


def _kind(
    status: int, error_type: Any, error: Mapping[str, Any], metadata: Mapping[str, Any]
) -> type[ApiError]:
    # OpenAI has the word in `code`, llama.cpp and LiteLLM in `type`.
    words = (error_type, error.get("code"), error.get("type"))
    kind = next(
        (BY_TYPE[each] for each in words if isinstance(each, str) and each in BY_TYPE), None
    )
    if kind is None:
        kind = BY_STATUS.get(status) or (ServerError if status >= 500 else BadRequest)
    if kind is Forbidden and ("reasons" in metadata or "flagged_input" in metadata):
        return Moderated
    # Older answers, and many servers, have no error_type for a prompt that does not fit.
    if kind is BadRequest and _TOO_LONG.search(str(error.get("message"))):
        return ContextTooLong
    return kind


def _words(
    kind: type[ApiError],
    status: int,
    facts: ApiError,
    metadata: Mapping[str, Any],
    steps: Mapping[str, str],
) -> str:
    said = _text(facts.raw.get("message")) or _too_many(facts.raw) or "no reason given"
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
    step = _with_pause(kind, own or _next_step(kind, said, steps), facts.retry_after)
    said = f"{said[:SHOWN].rstrip('. ')}{_ruled_out_by(facts.availability)}"
    return _UNSEEN.sub("\ufffd", " ".join((f"{said} [{where}]. {step}", *_further(facts))))


def _ruled_out_by(availability: Mapping[str, Any]) -> str:
    constraint = mapping(availability.get("constraint"))
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


def _too_many(error: Mapping[str, Any]) -> str | None:
    sent, room = error.get("n_prompt_tokens"), error.get("n_ctx")  # llama.cpp's
    if not (isinstance(sent, int) and isinstance(room, int)):
        return None
    return f"A prompt of {sent:,} tokens does not fit the {room:,} that the server has room for"


def _with_pause(kind: type[ApiError], step: str, pause: float | None) -> str:
    if pause is None or kind not in (RateLimited, ProviderUnavailable):
        return step
    return f"Try again in {_duration(pause)}. {step}"


def _steps(server: str | None, headers: Mapping[str, str], said: str) -> Mapping[str, str]:
    """What to do next, by class, at the server that was asked."""
    if server is None:
        return NEXT_STEP
    connect = f'ornb.connect(base_url="{server}", api_key=...)'
    steps = NEXT_STEP | {kind: step.format(connect=connect) for kind, step in ELSEWHERE.items()}
    if any(name.lower().startswith("llm_provider-") for name in headers):
        steps["AuthenticationError"] = _ITS_OWN_KEY
    if re.search(r"\bheader\b", said):
        steps["BadRequest"] = "ornb.connect(..., headers={...}) sends headers of your own."
    return steps


def _next_step(kind: type[ApiError], said: str, steps: Mapping[str, str]) -> str:
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
    return steps[kind.__name__]


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


def mapping(value: Any) -> Mapping[str, Any]:
    """Return an object of JSON; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}
