"""Everything that can go wrong, as one family.

::

    OrnbError
    ├── ConfigError            (ValueError)       an argument or setting that cannot work
    ├── CatalogError           (ValueError)       a catalogue record or answer that cannot be used
    ├── OfflineError           (RuntimeError)     the embedded offline default cannot do it
    ├── NotRecorded            (LookupError)      a recording that is replayed has no answer to it
    ├── SchemaMismatch         (ValueError)       an answer that is not of the form asked for
    ├── BudgetExceeded                            a ceiling of ornb.budget forbids it: not sent
    │   └── PriceUnknown                          no ceiling can be held, as the price is not known
    ├── UnexpectedAnswer       (ValueError)       not this API's answer: a proxy's page, garbage
    ├── TransportError         (ConnectionError)  no answer, or not all of one
    │   ├── ConnectionFailed                      nobody there
    │   ├── RequestTimedOut    (TimeoutError)     no first byte, or none after it, in time
    │   └── StreamBroken                          the answer stopped in the middle
    └── ApiError                                  the service said no
        ├── BadRequest         (ValueError)       400, 409, 412, 422
        │   └── ContextTooLong                    the prompt does not fit the model
        ├── AuthenticationError (PermissionError) 401
        ├── OutOfCredits                          402
        ├── Forbidden          (PermissionError)  403
        │   └── Moderated                         the input was flagged, or the model refused
        ├── NotFound           (LookupError)      404
        ├── PayloadTooLarge    (ValueError)       413
        ├── RateLimited                           429
        │   └── FreeQuotaReached                  the free calls are used up: not sent
        └── ServerError                           5xx
            ├── ProviderUnavailable               502, 503, 529
            └── ServerTimeout  (TimeoutError)     408, 504, 524

Each message says what happened, with which value, and what to do next. Whatever had arrived before
the error is on ``error.reply``. An interrupt is no error: `ornb.ask` raises `Interrupted`, a
KeyboardInterrupt with ``reply``.
"""

from __future__ import annotations

import difflib
import numbers
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal


_KEY = re.compile(r"sk-or-v\d-\w{16,}")
_LONGEST = 900
"""Characters of a message; a file or a person may have given a name of a megabyte."""


def _told(message: str) -> str:
    """Messages repeat what was given: a key in a wrong place, a text without end."""
    message = _KEY.sub("[key]", message)
    return message if len(message) <= _LONGEST else f"{message[:600]} ... {message[-200:]}"


def near(name: str, known: Iterable[str]) -> str:
    """Propose the names that look like a wrong one, as the end of a message; else nothing."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


def did_you_mean(name: str, known: Iterable[str], what: str) -> str:
    """Write the message for a name that is no `what`, with the near ones or else all."""
    names = sorted(known)
    hint = near(name, names).strip().replace("Did", "did") or f"known: {', '.join(names)}"
    return f"{name!r} is no {what}; {hint}"


def out_of_ornb() -> int:
    """Return the `stacklevel` of a warning that is told at the line which called ornb."""
    level, frame = 1, sys._getframe(1)
    # They hand on what is read, or end what is open, for us.
    ours = ("ornb.", "requests.", "urllib3.", "contextlib")
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(ours):
        level, frame = level + 1, frame.f_back
    return level


def whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return a whole number of a range, or refuse what is none."""
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or value < least or (most is not None and value > most):
        limit = "" if most is None else f" and at most {most}"
        raise ConfigError(f"{name} is {value!r}; give a whole number, at least {least}{limit}.")
    return int(value)


class OrnbError(Exception):
    """Root of every error that ornb raises on purpose.

    Attributes
    ----------
    reply : Reply or None
        What had arrived when it happened: partial text, tokens and cost so far.

    Examples
    --------
    >>> try:
    ...     raise ConfigError("temperature is 3; the API takes 0 to 2")
    ... except OrnbError as error:
    ...     print(error)
    temperature is 3; the API takes 0 to 2
    """

    reply: Any = None  # a Reply, which stands above this module

    def __init__(self, *args: Any) -> None:
        super().__init__(*(_told(a) if isinstance(a, str) else a for a in args))

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: a person in a notebook sees the message, not our call stack."""
        return [f"{type(self).__name__}: {self}"]


class Interrupted(KeyboardInterrupt):
    """The interrupt button or Ctrl-C ended a call; no `OrnbError`, so that it ends a loop too.

    Parameters
    ----------
    reply : Reply
        What had arrived.

    Attributes
    ----------
    reply : Reply
        The same; in a notebook afterwards ``sys.last_value.reply``.
    """

    def __init__(self, reply: Any) -> None:
        super().__init__(
            f"the answer was stopped after {len(reply.text):,} characters. They are in the `reply` "
            "of this exception (sys.last_value.reply)."
            if reply.text
            else "the call was stopped before any text had arrived."
        )
        self.reply = reply

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: what a person sees instead of our call stack."""
        return [f"KeyboardInterrupt: {self}"]


class ConfigError(OrnbError, ValueError):
    """An argument or a setting that cannot work."""


class CatalogError(OrnbError, ValueError):
    """A catalogue record or answer that cannot be used."""


class OfflineError(OrnbError, RuntimeError):
    """The embedded offline default cannot start, or lacks what was asked of it."""


class NotRecorded(OrnbError, LookupError):
    """A recording is replayed, and this was not asked when it was made; nothing was sent.

    Parameters
    ----------
    message : str
        For the person: how it differs from the nearest that was asked, and what to do.
    differences : list of dict
        One a value: ``path`` such as ``"messages[1].content"``, ``recorded`` and ``asked``.
    """

    def __init__(self, message: str, *, differences: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.differences = differences or []


class SchemaMismatch(OrnbError, ValueError):
    """The answer came, and is not of the form that was asked for; it is on ``error.reply``.

    Parameters
    ----------
    message : str
        For the person: where it does not match, what was expected, what came.
    path : str
        The place in the value, such as ``"$.items[2].price"``.
    expected : Any, optional
        What the form asks for there.
    got : Any, optional
        What stands there.
    """

    def __init__(
        self, message: str, *, path: str = "$", expected: Any = None, got: Any = None
    ) -> None:
        super().__init__(message)
        self.path = path
        self.expected = expected
        self.got = got


class BudgetExceeded(OrnbError):
    """A call could cost more than a budget has left, so it was not sent.

    Parameters
    ----------
    message : str
        For the person: what was asked, what is left, what would fit.
    model : str, optional
        The model asked for.
    asked_usd : Decimal, optional
        The most that the call could have cost, in USD; None when nobody knows.
    left_usd : Decimal, optional
        What the tightest budget had left, in USD.
    limit_usd : Decimal, optional
        The ceiling of that budget, in USD.
    fits_max_tokens : int, optional
        The largest ``max_tokens`` with which the same call would have been sent; None when not even
        the prompt fits.
    """

    def __init__(
        self,
        message: str,
        *,
        model: str | None = None,
        asked_usd: Decimal | None = None,
        left_usd: Decimal | None = None,
        limit_usd: Decimal | None = None,
        fits_max_tokens: int | None = None,
    ) -> None:
        super().__init__(message)
        self.model = model
        self.asked_usd = asked_usd
        self.left_usd = left_usd
        self.limit_usd = limit_usd
        self.fits_max_tokens = fits_max_tokens


class PriceUnknown(BudgetExceeded):
    """What a call can cost is not known, so that no budget can hold; it was not sent."""


class UnexpectedAnswer(OrnbError, ValueError):
    """An answer that does not come from this API: a proxy's HTML page, garbage, the wrong type."""


class TransportError(OrnbError, ConnectionError):
    """No answer came, or not the whole of one."""


class ConnectionFailed(TransportError):
    """Nobody answers at that address."""


class RequestTimedOut(TransportError, TimeoutError):
    """Nothing arrived within the time allowed."""


class StreamBroken(TransportError):
    """The connection ended in the middle of an answer."""


class ApiError(OrnbError):
    """The service answered, and the answer is an error.

    Parameters
    ----------
    message : str
        For the person: what happened, with which value, what to do next.
    status_code : int, optional
        HTTP status; 200 when the error came inside a stream that had begun.
    code : int or str, optional
        ``error.code`` as sent: usually the status, at times a string.
    error_type : str, optional
        ``error.metadata.error_type``, e.g. ``"context_length_exceeded"``.
    provider : str, optional
        The provider that failed, where one is named.
    model : str, optional
        The model that was asked for.
    retry_after : float, optional
        Seconds until it makes sense to try again.
    generation_id : str, optional
        The id to look the call up by.
    raw : Any, optional
        The error object as it came, with the ``openrouter_metadata`` that stood beside it.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: int | str | None = None,
        error_type: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        retry_after: float | None = None,
        generation_id: str | None = None,
        raw: Any = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.code = code
        self.error_type = error_type
        self.provider = provider
        self.model = model
        self.retry_after = retry_after
        self.generation_id = generation_id
        self.raw = raw

    @property
    def limit_source(self) -> str | None:
        """Whose limit was reached, such as ``"upstream_provider_shared_pool"``."""
        return _text_of(self._metadata, "limit_source")

    @property
    def remedy_hint(self) -> str | None:
        """What the service advises, in its own words."""
        return _text_of(self._metadata, "remedy_hint")

    @property
    def previous_errors(self) -> list[dict[str, Any]]:
        """What failed before, at other providers, as it came."""
        found = self._metadata.get("previous_errors")
        return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []

    @property
    def availability(self) -> dict[str, Any]:
        """Why the model is not to be had, as it came: ``code``, ``fallback_models``, ..."""
        return _object_of(self.raw, "availability")

    @property
    def router_metadata(self) -> dict[str, Any]:
        """What the router tried before it gave up, if ``router_metadata=True`` asked for that."""
        return _object_of(self.raw, "openrouter_metadata")

    @property
    def _metadata(self) -> dict[str, Any]:
        return _object_of(self.raw, "metadata")


def _object_of(record: Any, key: str) -> dict[str, Any]:
    value = record.get(key) if isinstance(record, dict) else None
    return value if isinstance(value, dict) else {}


def _text_of(record: dict[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) else None


class BadRequest(ApiError, ValueError):
    """The request cannot be served as it is (400, 409, 412, 422)."""


class ContextTooLong(BadRequest):
    """The prompt, or the prompt and the answer asked for, do not fit the model's context."""


class AuthenticationError(ApiError, PermissionError):
    """The key is missing, wrong or revoked (401)."""


class OutOfCredits(ApiError):
    """The account's credits or the key's limit are spent (402)."""


class Forbidden(ApiError, PermissionError):
    """Not allowed: a guardrail, a region, a budget, a missing permission (403)."""


class Moderated(Forbidden):
    """The input was flagged by moderation, or the model refused it (403, 400)."""


class NotFound(ApiError, LookupError):
    """No such model, generation, or no provider left by the routing filters (404)."""


class PayloadTooLarge(ApiError, ValueError):
    """The request body is too large (413)."""


class RateLimited(ApiError):
    """Too many requests for now (429); ``retry_after`` says when to come back."""


class FreeQuotaReached(RateLimited):
    """The free calls of the minute or the day are used up by our own count; nothing was sent."""


class ServerError(ApiError):
    """The service or a provider failed (5xx)."""


class ProviderUnavailable(ServerError):
    """The provider is down, overloaded, or none is left (502, 503, 529)."""


class ServerTimeout(ServerError, TimeoutError):
    """The service gave up waiting (408, 504, 524)."""


_STATUSES: dict[type[ApiError], tuple[int, ...]] = {
    BadRequest: (400, 409, 412, 422),
    AuthenticationError: (401,),
    OutOfCredits: (402,),
    Forbidden: (403,),
    NotFound: (404,),
    PayloadTooLarge: (413,),
    RateLimited: (429,),
    ProviderUnavailable: (502, 503, 529),
    ServerTimeout: (408, 504, 524),
}
BY_STATUS = {status: kind for kind, statuses in _STATUSES.items() for status in statuses}
"""HTTP status to class; any other 4xx is `BadRequest`, any other 5xx `ServerError`."""

_TYPES: dict[type[ApiError], str] = {
    ContextTooLong: "context_length_exceeded token_limit_exceeded exceed_context_size_error "
    "string_too_long",
    BadRequest: "max_tokens_exceeded invalid_request invalid_prompt precondition_failed "
    "unprocessable invalid_image unsupported_image_format image_too_small image_not_found "
    "image_download_failed",
    PayloadTooLarge: "image_too_large payload_too_large",
    AuthenticationError: "authentication",
    OutOfCredits: "payment_required insufficient_quota budget_exceeded",
    Forbidden: "permission_denied",
    Moderated: "content_policy_violation refusal content_filter",
    NotFound: "not_found",
    RateLimited: "rate_limit_exceeded",
    ProviderUnavailable: "provider_unavailable provider_overloaded",
    ServerTimeout: "timeout",
    ServerError: "server",
}
BY_TYPE = {name: kind for kind, names in _TYPES.items() for name in names.split()}
"""``metadata.error_type`` to class; it wins over the status, which is 200 in a stream. The one that
is left out, ``unmapped``, says nothing."""
