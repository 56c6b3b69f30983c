"""Keys: where one comes from, what the service says of it, where it may be kept.

A key is held as a `Secret` from the moment it is there, and is never part of a message, a repr or
a table. `Pkce` and `exchange` are the sign-in for a computer that no web page can call back (a
notebook on a hub, say): a link, a code to copy, a key for the code.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import urlencode, urlsplit

from ..errors import ApiError, AuthenticationError, ConfigError, NotFound, UnexpectedAnswer
from .client import OPENROUTER, Client, Secret, Timeouts
from .refusals import mapping
from .reply import NO_TEX, format_usd
from .service import Service, clear_frames, is_openrouter

AUTH_URL = "https://openrouter.ai/auth"
"""Where a person allows an app to have a key."""
KEYS_URL = "https://openrouter.ai/settings/keys"
"""Where a person makes, limits and deletes keys."""
PATIENCE = Timeouts(connect=10, first_byte=20, between_bytes=20)
"""Somebody looks at the form and waits."""
OWN_LIMIT = "key_limit"
"""Scope of the budget that is the key's own limit."""
KEYRING = "ornb"
"""Name under which the computer's keyring lists our keys."""

# ------------------------------------------------------------------ the pasted-code sign-in


class Pkce:
    """One try to sign in: a secret that stays here, and its hash, which goes into the link.

    Only who has the secret can turn the code of the page that the link opens into a key (RFC 7636,
    method S256).

    Parameters
    ----------
    verifier : str, optional
        The secret, 43 to 128 letters, digits, ``-``, ``.``, ``_`` or ``~``. By default 256 random
        bits.

    Raises
    ------
    ConfigError
        `verifier` is not of that form.

    Examples
    --------
    >>> Pkce("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").challenge
    'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
    >>> Pkce()
    Pkce(…)

    References
    ----------
    RFC 7636, sections 4.1, 4.2 and appendix B. OpenRouter docs, "OAuth PKCE"; 2026-08-22.
    """

    __slots__ = ("_verifier",)

    def __init__(self, verifier: str | None = None) -> None:
        if verifier is not None and not re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier):
            raise ConfigError(
                "The PKCE verifier is not 43 to 128 letters, digits or '-._~'. Leave it out, and "
                "a random one is made."
            )
        self._verifier = Secret(verifier or secrets.token_urlsafe(32))

    @property
    def verifier(self) -> Secret:
        """The secret, for `exchange`."""
        return self._verifier

    @property
    def challenge(self) -> str:
        """Base64url of the secret's SHA-256, without padding."""
        digest = hashlib.sha256(self._verifier.reveal().encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def url(self, *, key_label: str = "ornb", auth_url: str = AUTH_URL) -> str:
        """Return the link to open.

        Without a ``callback_url`` the page shows the code, for the person to copy. A limit and an
        expiry are set there by the person; the link cannot propose them.

        Parameters
        ----------
        key_label : str
            Name that the page proposes for the key, at most 100 characters.
        auth_url : str
            The page.

        Returns
        -------
        str

        Examples
        --------
        >>> Pkce().url().partition("=")[0]
        'https://openrouter.ai/auth?code_challenge'

        References
        ----------
        OpenRouter docs, "OAuth PKCE", headless apps; 2026-08-22.
        """
        query = {
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
            "key_label": key_label[:100],
        }
        return f"{auth_url}?{urlencode(query)}"

    def __repr__(self) -> str:
        return "Pkce(…)"

    def __reduce__(self) -> Any:
        raise TypeError("a sign-in that has begun is not pickled; begin another")


def exchange(code: str | Secret, pkce: Pkce, base_url: str | None = None) -> Secret:
    """Turn the code that the sign-in page showed into a key.

    Parameters
    ----------
    code : str or Secret
        As pasted; blanks around it do not matter. It works once, within 10 minutes.
    pkce : Pkce
        The one whose link was opened.
    base_url : str, optional
        Address up to and including the version, by default that of `service_url`.

    Returns
    -------
    Secret
        The key. ``ornb.connect(api_key=key.reveal())`` uses it.

    Raises
    ------
    ConfigError
        There is no code, or it is not one.
    Forbidden
        The code is wrong, used or expired, or belongs to another link.
    OrnbError
        The service cannot be reached, or refuses for another reason.

    Examples
    --------
    >>> exchange("made-up", Pkce(), ornb.connect(offline=True).base_url)
    Traceback (most recent call last):
        ...
    ornb.errors.Forbidden: 127.0.0.1... did not take the code. It works once, ...

    References
    ----------
    OpenRouter API, ``POST /auth/keys``; 2026-08-22.
    """
    code = code if isinstance(code, Secret) else Secret(code if isinstance(code, str) else "")
    code = Secret(code.reveal().strip())
    if not re.fullmatch(r"[\x21-\x7e]{4,2000}", code.reveal()):
        raise ConfigError(
            "That is not a code. Open the sign-in page, allow ornb, and copy the code it shows."
        )
    service = Service(service_url(base_url), timeouts=PATIENCE)
    try:
        body = service.body("POST", "/auth/keys", _form(code, pkce))
    except ApiError as error:
        raise _no_key(error, service.host) from error
    finally:
        service.close()
    return _key_in(body, f"{service.base_url}/auth/keys")


def _form(code: Secret, pkce: Pkce) -> bytes:
    return json.dumps(
        {
            "code": code.reveal(),
            "code_verifier": pkce.verifier.reveal(),
            "code_challenge_method": "S256",
        }
    ).encode()


def _no_key(error: ApiError, host: str) -> ApiError:
    """Add to a refused code what to do; the service says only that it is invalid."""
    words = {
        400: "the code's S256 challenge. Open the sign-in page again and copy the new code, whole",
        403: (
            "the code. It works once, within 10 minutes, and only for the page opened from here: "
            "copy it again, or open the page anew"
        ),
        405: "the code over this connection. base_url must begin with https://",
    }.get(error.status_code or 0)
    if words is None:
        return error
    return type(error)(f"{host} did not take {words}.", status_code=error.status_code)


def _key_in(body: bytes, url: str) -> Secret:
    try:
        key = json.loads(body)["key"]
    except (ValueError, TypeError, LookupError):
        key = None
    if not isinstance(key, str):
        # Nothing of the answer is repeated: there may be a key in it.
        raise UnexpectedAnswer(f"{url} answered without a key. Check base_url.")
    return Secret(tidy(key))


# ------------------------------------------------------------------ what a key is good for


_A_WHILE = {"daily": " a day", "weekly": " a week", "monthly": " a month"}


@dataclass(frozen=True, repr=False)
class KeyBudget:
    """One ceiling that the service holds a key to: its own limit, or a budget of the account.

    Examples
    --------
    >>> describe({"limit": 10, "limit_remaining": 2.5, "limit_reset": "daily"}).budget
    $2.50 of $10.00 a day left (key limit)
    """

    scope: str
    """Whose it is, as the API says: "key_limit", "member", "workspace", ..."""
    limit_usd: float
    """USD that may be spent."""
    spent_usd: float | None = None
    """USD of it that are spent."""
    remaining_usd: float | None = None
    """USD left; 0 or less: calls are refused (403), free ones too."""
    reset_interval: str | None = None
    """"daily", "weekly" or "monthly" (UTC); None is never."""
    resets_at: datetime | None = None
    """When it begins anew (UTC)."""

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left."""
        return self.remaining_usd is not None and self.remaining_usd <= 0

    def __repr__(self) -> str:
        of = format_usd(self.limit_usd) + _A_WHILE.get(self.reset_interval or "", "")
        known = self.remaining_usd is not None
        left = f"{format_usd(max(self.remaining_usd or 0, 0))} of {of} left" if known else of
        text = f"{left} ({self.scope.replace('_', ' ')})"
        if not self.is_spent:
            return text
        until = "" if self.resets_at is None else f" until {self.resets_at:%Y-%m-%d %H:%M} UTC"
        return f"{text}: calls are refused{until}"


@dataclass(frozen=True, repr=False)
class KeyInfo:
    """What the service says of a key; nothing of the key itself. Shows itself in a cell.

    Examples
    --------
    >>> describe({"label": "lesson", "limit": 20, "limit_remaining": 13.4, "usage": 6.6})
    Key      lesson
    Limit    $20.00
    Left     $13.40
    Spent    $6.60
    Expires  never
    """

    label: str = ""
    """Its name; by default the service makes one of the key's first and last characters."""
    limit_usd: float | None = None
    """Most that it may spend, USD; None is no limit of its own, see `budget`."""
    remaining_usd: float | None = None
    """What is left of the limit, USD; None without a limit."""
    limit_reset: str | None = None
    """"daily", "weekly" or "monthly" (UTC), when the limit starts anew; None is never."""
    used_usd: float | None = None
    """Spent so far, USD."""
    used_today_usd: float | None = None
    """Spent since 00:00 UTC, USD."""
    is_free_tier: bool | None = None
    """Whether the account has never bought credits; None where the service does not say."""
    is_management_key: bool = False
    """Whether it manages other keys; then it cannot chat."""
    expires_at: datetime | None = None
    """When it ends (UTC); None is never."""
    free_requests_limit: int | None = None
    """Requests to free models that the account has a day; None where the service does not say."""
    free_requests_remaining: int | None = None
    """How many of them are left today."""
    budget: KeyBudget | None = None
    """The ceiling that ends first, a budget of the account or its own limit; None without one."""
    budgets: tuple[KeyBudget, ...] = ()
    """All ceilings that the service tells, in the order it looks at them."""

    def facts(self) -> dict[str, str]:
        """Write the facts as a person reads them.

        Returns
        -------
        dict of str to str
            Heading to text, in reading order.

        Examples
        --------
        >>> describe({"label": "lesson", "is_free_tier": True}).facts()["Account"]
        'free tier'
        """
        facts = {"Key": self.label or "without a name"}
        if self.limit_usd is None:
            facts["Limit"] = "none of its own" if self.budget else "none"
        else:
            facts["Limit"] = format_usd(self.limit_usd) + _A_WHILE.get(self.limit_reset or "", "")
        if self.remaining_usd is not None:
            facts["Left"] = format_usd(self.remaining_usd)
        if self.budget is not None and (self.limit_usd is None or self.budget.scope != OWN_LIMIT):
            facts["Budget"] = repr(self.budget)
        if self.used_usd is not None:
            facts["Spent"] = format_usd(self.used_usd)
            if self.used_today_usd:
                facts["Spent"] += f", {format_usd(self.used_today_usd)} today"
        if self.free_requests_limit is not None and self.free_requests_remaining is not None:
            left, of = self.free_requests_remaining, self.free_requests_limit
            facts["Free requests"] = f"{left:,} of {of:,} left today"
        if self.is_free_tier is not None:
            facts["Account"] = "free tier" if self.is_free_tier else "has bought credits"
        if self.is_management_key:
            facts["Kind"] = "management key: it makes other keys, and cannot chat"
        ends = self.expires_at
        facts["Expires"] = "never" if ends is None else f"{ends:%Y-%m-%d %H:%M} UTC"
        return facts

    def advice(self) -> str:
        """Return what would make the key safer to use.

        Returns
        -------
        str
            A sentence; empty when there is nothing to say.

        Examples
        --------
        >>> describe({"limit": 5}).advice()
        'This key has no expiry date.'
        """
        wanted = {"no limit": self.budget, "no expiry date": self.expires_at}
        missing = [words for words, fact in wanted.items() if fact is None]
        return f"This key has {' and '.join(missing)}." if missing else ""

    def __repr__(self) -> str:
        facts = self.facts()
        width = max(map(len, facts)) + 2
        return "\n".join(f"{name:<{width}}{text}" for name, text in facts.items())

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row" style="{_CELL};font-weight:500;opacity:.75">{escape(name)}</th>'
            f'<td style="{_CELL}">{escape(text)}</td></tr>'
            for name, text in self.facts().items()
        )
        return f'<table class="{NO_TEX}" style="border-collapse:collapse;margin:0">{rows}</table>'


_CELL = "text-align:left;padding:2px 16px 2px 0;border:0;background:none"


def describe(data: Mapping[str, Any]) -> KeyInfo:
    """Read what ``GET /key`` answered.

    Parameters
    ----------
    data : mapping
        As `ornb.Client.key` gives it. Fields that are missing or of a wrong kind count as unknown.

    Returns
    -------
    KeyInfo
        Amounts in USD. A whole key that was used as a name is shortened.

    Examples
    --------
    >>> describe(ornb.connect(offline=True).key()).label
    'ornb offline'

    References
    ----------
    OpenRouter API, ``GET /key``; 2026-08-22. ``free_model_daily_requests``, ``budgets`` and
    ``effective_budget`` are in the official SDK of 2026-10.
    """
    free = mapping(data.get("free_model_daily_requests"))
    free_tier, listed = data.get("is_free_tier"), data.get("budgets")
    own = _budget(
        {
            "scope": OWN_LIMIT,
            "limit_usd": data.get("limit"),
            "remaining_usd": data.get("limit_remaining"),
            "reset_interval": data.get("limit_reset"),
        }
    )
    budgets = tuple(filter(None, map(_budget, listed if isinstance(listed, list) else ())))
    known = [each for each in (*budgets, own) if each and each.remaining_usd is not None]
    least = min(known, key=lambda each: each.remaining_usd or 0, default=own)
    return KeyInfo(
        budget=_budget(data.get("effective_budget")) or least,
        budgets=budgets,
        label=_masked(data.get("label")),
        limit_usd=_amount(data.get("limit")),
        remaining_usd=_amount(data.get("limit_remaining")),
        limit_reset=_word(data.get("limit_reset")),
        used_usd=_amount(data.get("usage")),
        used_today_usd=_amount(data.get("usage_daily")),
        is_free_tier=free_tier if isinstance(free_tier, bool) else None,
        is_management_key=any(
            data.get(name) is True for name in ("is_management_key", "is_provisioning_key")
        ),
        expires_at=_moment(data.get("expires_at")),
        free_requests_limit=_count(free.get("limit")),
        free_requests_remaining=_count(free.get("remaining")),
    )


def check(key: Secret, base_url: str | None = None) -> KeyInfo | None:
    """Ask the service about a key.

    Parameters
    ----------
    key : Secret
        The key.
    base_url : str, optional
        Address up to and including the version, by default that of `service_url`.

    Returns
    -------
    KeyInfo or None
        None where the service is not OpenRouter and keeps no account of its keys; it took this
        one all the same.

    Raises
    ------
    AuthenticationError
        The service does not know the key.
    OrnbError
        It cannot be reached, or refuses for another reason.

    Examples
    --------
    >>> server = ornb.connect(offline=True)
    >>> check(Secret("made-up"), server.base_url)
    Traceback (most recent call last):
        ...
    ornb.errors.AuthenticationError: 127.0.0.1... does not know this key. ...
    """
    url = service_url(base_url)
    client = Client(key.reveal(), url, timeouts=PATIENCE, retries=0)
    try:
        data = dict(client.key())
    except AuthenticationError as error:
        raise AuthenticationError(
            f"{urlsplit(url).netloc} does not know this key. Copy it once more, whole; one that "
            "was deleted or has expired is refused too.",
            status_code=error.status_code,
        ) from error
    except (NotFound, UnexpectedAnswer):
        if is_openrouter(url):
            raise
        client.models()
        return None
    finally:
        client.close()
    data["label"] = str(data.get("label") or "").replace(key.reveal(), "")
    return describe(data)


def tidy(text: str, base_url: str | None = None) -> str:
    """Take off what a copy brings along, and refuse what cannot be a key, without repeating it.

    OpenRouter's own keys are known by their beginning.
    """
    key = text.strip().strip("\"'`").strip() if isinstance(text, str) else ""
    if not key:
        raise ConfigError("There is no key yet. Paste one first.")
    if any(character.isspace() for character in key):
        raise ConfigError("That is not a key: there are blanks in it. Copy it once more, whole.")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            "That is not a key: there are characters in it that no key has. Copy it once more."
        )
    if base_url is not None and is_openrouter(base_url) and not key.startswith("sk-or-"):
        raise ConfigError(
            "That is not a key of OpenRouter: they begin with sk-or-. Copy it once more, whole, "
            f"or make one at {KEYS_URL}."
        )
    return key


def service_url(base_url: str | None = None) -> str:
    """Return the address that a key is for.

    Parameters
    ----------
    base_url : str, optional
        By default ``OPENROUTER_BASE_URL``, else OpenRouter.

    Returns
    -------
    str

    Examples
    --------
    >>> service_url("http://127.0.0.1:4000/v1")
    'http://127.0.0.1:4000/v1'
    """
    return base_url or os.environ.get("OPENROUTER_BASE_URL", "").strip() or OPENROUTER


def on_binder() -> bool:
    """Return whether this runs on Binder, whose FAQ advises against using keys there.

    Returns
    -------
    bool

    Examples
    --------
    >>> on_binder()
    False

    References
    ----------
    mybinder.org, FAQ; BinderHub sets both variables in what it launches; 2026-08-22.
    """
    return any(os.environ.get(name) for name in ("BINDER_LAUNCH_HOST", "BINDER_REPO_URL"))


# ------------------------------------------------------------------ the computer's keyring


def remember(key: Secret, base_url: str | None = None) -> None:
    """Keep a key in the computer's keyring.

    Parameters
    ----------
    key : Secret
        The key.
    base_url : str, optional
        Where it is for; each host has its own.

    Raises
    ------
    ConfigError
        The package keyring is not installed, or finds no keyring.

    Examples
    --------
    >>> remember(Secret("abc-123"))  # doctest: +SKIP
    """
    _keyring("set_password", base_url, key)


def recall(base_url: str | None = None) -> Secret | None:
    """Return the key that `remember` kept.

    Parameters
    ----------
    base_url : str, optional
        Where it is for.

    Returns
    -------
    Secret or None
        None when none is kept.

    Raises
    ------
    ConfigError
        The package keyring is not installed, or finds no keyring.

    Examples
    --------
    >>> recall()  # doctest: +SKIP
    Secret(…)
    """
    key = _keyring("get_password", base_url)
    return Secret(key) if key else None


def forget(base_url: str | None = None) -> bool:
    """Take the key out of the computer's keyring.

    Parameters
    ----------
    base_url : str, optional
        Where it is for.

    Returns
    -------
    bool
        Whether there was one.

    Raises
    ------
    ConfigError
        The package keyring is not installed, or finds no keyring.

    Examples
    --------
    >>> forget()  # doctest: +SKIP
    True
    """
    if recall(base_url) is None:
        return False
    _keyring("delete_password", base_url)
    return True


def _keyring(action: str, base_url: str | None, *keys: Secret) -> Any:
    """Call the package keyring, which is only loaded here."""
    try:
        ring = importlib.import_module("keyring")
    except ImportError as error:
        raise ConfigError(
            "To keep a key, ornb uses the computer's keyring by way of the package keyring, which "
            "is not installed. Run `pip install keyring`, or set OPENROUTER_API_KEY instead."
        ) from error
    try:
        place = urlsplit(service_url(base_url)).netloc
        return getattr(ring, action)(KEYRING, place, *(key.reveal() for key in keys))
    except KeyboardInterrupt as error:  # while it asks for a password of its own
        clear_frames(error)
        raise
    except Exception as error:  # its back ends raise errors of their own
        clear_frames(error)
        raise ConfigError(
            f"This computer's keyring cannot be used ({type(error).__name__}). Sign in without "
            "remember=True, or set OPENROUTER_API_KEY instead."
        ) from error


# ------------------------------------------------------------------ values as they come


def _masked(label: Any) -> str:
    text = " ".join(label.split()) if isinstance(label, str) else ""
    shown = re.sub(r"sk-[\w-]{16,}", lambda key: f"{key[0][:12]}…{key[0][-3:]}", text)
    return shown[:80]


def _budget(record: Any) -> KeyBudget | None:
    record = mapping(record)
    limit = _amount(record.get("limit_usd"))
    if limit is None:
        return None
    return KeyBudget(
        scope=_masked(record.get("scope")) or "budget",
        limit_usd=limit,
        spent_usd=_amount(record.get("spend_usd")),
        remaining_usd=_amount(record.get("remaining_usd")),
        reset_interval=_word(record.get("reset_interval")),
        resets_at=_moment(record.get("resets_at")),
    )


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _amount(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Beyond any bill, and what JSON's 1e999 becomes: as good as unknown.
    return float(value) if -1e12 < value < 1e12 else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
