"""One HTTP service: its address, its key, its patience. Everything ornb sends goes out here."""

from __future__ import annotations

import contextlib
import copy
import ipaddress
import json
import os
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException, RemoteDisconnected
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError, ReadTimeoutError

from ..errors import (
    ApiError,
    ConfigError,
    ConnectionFailed,
    OrnbError,
    RequestTimedOut,
    StreamBroken,
    UnexpectedAnswer,
)
from .refusals import refusal
from .transport import Adapter, Wire, reader

BLOCK = 65_536
"""Bytes asked of the socket at once; a read gives what is there."""


SHORTEST_KEY = 8
"""Characters of what is taken for a secret."""
KEY = "[key]"
"""What stands where a key was echoed."""
LONGEST_BODY = 256 * 2**20
"""Bytes accepted of an answer that is not streamed; images come inside."""
LONGEST_REFUSAL = 2**20
"""Bytes read of a refusal."""
REFUSAL_S = 5.0
"""Silence allowed in the body of a refusal, whose headers have said the most already."""
OURS = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "host", "transfer-encoding"}
)
"""Headers that follow from what is sent."""
PUBLIC = OURS | {
    *("accept", "http-referer", "user-agent", "x-openrouter-title", "x-openrouter-metadata"),
    *("x-openrouter-cache", "x-openrouter-cache-ttl", "x-openrouter-cache-clear"),
}
"""Headers that hold no secret."""


JSON = {"Content-Type": "application/json"}


class Secret:
    """A key that does not show itself: not in a repr, a traceback, a pickle or a copy."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the key itself, for the request that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> Any:
        raise TypeError("a key is not pickled; let each process read OPENROUTER_API_KEY")


@dataclass(frozen=True)
class Timeouts:
    """How long to wait, in seconds.

    Attributes
    ----------
    connect : float
        For the connection.
    first_byte : float
        From the request to the answer's headers; a reasoning model can be silent for
        minutes.
    between_bytes : float
        For the next byte of an answer that has begun; OpenRouter sends comments while it
        waits.
    between_pieces : float
        For the next piece of an answer, while nothing but such comments comes.

    Raises
    ------
    ConfigError
        One of them is not a number above 0.

    Examples
    --------
    >>> Timeouts(first_byte=600).first_byte
    600
    """

    connect: float = 10.0
    first_byte: float = 180.0
    between_bytes: float = 90.0
    between_pieces: float = 1800.0

    def __post_init__(self) -> None:
        """Refuse what is no patience."""
        for name, value in vars(self).items():
            # Written so that NaN, which compares false with everything, is refused.
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (is_number and value > 0):
                raise ConfigError(f"Timeouts({name}={value!r}): give seconds above 0.")


class Service:
    """Sends requests to one address, and speaks of the network's troubles in our words."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeouts: Timeouts | None = None,
        headers: Mapping[str, str] | None = None,
        secret_headers: Mapping[str, str] | None = None,
    ) -> None:
        self.base_url = _checked_url(base_url)
        self.host = urlsplit(self.base_url).netloc
        self.timeouts = _checked_timeouts(timeouts)
        self.key = Secret(_checked_key(api_key)) if api_key else None
        self.secret_headers = _checked_headers(secret_headers or {})
        # Words such as "none", for servers that need no key, are no secret: answers hold them too.
        words = (
            {self.key.reveal()} if self.key and len(self.key.reveal()) >= SHORTEST_KEY else set()
        )
        for name, value in self.secret_headers.items():
            words |= secret_words(name, value.reveal())
        self._secrets = tuple(map(Secret, sorted(words, key=len, reverse=True)))
        self.streams_schemas = True
        """False once it refused to, and gave the whole."""
        self._headers = dict(headers or {})
        # A proxy leads to other machines, not to this one; and a prompt that stays here, with what
        # lets one in, is not told to it.
        is_here = _is_here(self.host)
        self._proxies: dict[str, Any] = dict.fromkeys(("http", "https", "all")) if is_here else {}
        self._connect_anew()

    def _connect_anew(self) -> None:
        """Begin without connections. Those in use end as they are."""
        self._process = os.getpid()
        self._http = requests.Session()
        self._http.trust_env = False  # it would read the environment twice with each call
        self._http.mount("https://", Adapter())
        self._http.mount("http://", Adapter())
        self._http.headers.update(self._headers)
        self._ways: dict[str, Any] | None = None
        self._requests: dict[Any, requests.PreparedRequest] = {}

    def _by_environment(self) -> dict[str, Any]:
        """Proxies and certificates as the environment has them, looked up once."""
        if self._ways is None:
            ways = requests.Session().merge_environment_settings(
                self.base_url, dict(self._proxies), None, None, None
            )
            self._ways = {name: ways[name] for name in ("proxies", "verify", "cert")}
        return self._ways

    def twin(self) -> Service:
        """Return the same service with connections of its own, none of them open yet."""
        twin = copy.copy(self)
        twin._connect_anew()
        return twin

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        url: str,
        wire: Wire,
        *,
        model: str | None = None,
        seen: Callable[[requests.Response], object] | None = None,
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> Iterator[requests.Response]:
        """Send a request, and hand over its answer with the body unread.

        `seen` is called once the headers are there, also of a refusal. Headers of the request go
        before those of the service. The connection is kept only if the body was read to its end.
        """
        wire.watch()
        if self._process != os.getpid():  # a fork has its parent's sockets: both would read them
            self._connect_anew()
        try:
            response = self._http.send(
                self._prepared(method, url, headers, **request),
                stream=True,
                allow_redirects=False,  # the key and the prompt go where they were sent, only
                timeout=(self.timeouts.connect, self.timeouts.first_byte),
                **self._by_environment(),
            )
        except requests.RequestException as error:
            clear_frames(error)
            raise self._no_answer(error, wire) from error
        except OrnbError:  # a recording's
            raise
        except (HTTPError, OSError, ValueError) as error:  # of what requests does not wrap
            clear_frames(error)
            raise self._not_made(error) from error
        except BaseException as error:  # Stop, as an interrupt: it goes on up as it came
            clear_frames(error)
            self._connect_anew()  # it may have come within a lock of the pool, which stays shut
            raise
        with contextlib.closing(response):
            if seen is not None:
                seen(response)
            try:
                if response.status_code >= 300:
                    wire.patience(min(REFUSAL_S, self.timeouts.between_bytes), in_all=REFUSAL_S)
                    raise self.refusal(response, self._start_of(response), model)
                self._check_encoding(response)
                wire.patience(self.timeouts.between_bytes)
                yield response
            except KeyboardInterrupt:
                self._connect_anew()
                raise

    def _prepared(
        self,
        method: str,
        url: str,
        own: Mapping[str, str] | None,
        params: Any = None,
        data: bytes | None = None,
    ) -> requests.PreparedRequest:
        """Make a request; all but its body and what lets it in is made once an address."""
        own = {**(JSON if method == "POST" else {}), **(own or {})}
        is_kept = data is not None and not len(self._http.cookies)
        kind = (method, url, *own.items())
        made = self._requests.get(kind) if is_kept else None
        if made is None:
            # Without an `auth` requests would take what a .netrc has for the host.
            asked = requests.Request(method, url, own, params=params, auth=lambda one: one)
            made = self._http.prepare_request(asked)
            for name in self.secret_headers:
                made.headers.pop(name, None)  # however it is written
            headers: Any = dict(made.headers)  # a plain one is copied in a twentieth of the time
            made.headers = headers
            if is_kept:
                self._requests[kind] = made
        request = copy.copy(made)
        request.headers = made.headers.copy()
        if data is not None:
            request.body = data
            request.headers["Content-Length"] = str(len(data))
        for name, value in self.secret_headers.items():
            request.headers[name] = value.reveal()
        if self.key is not None:
            request.headers["Authorization"] = f"Bearer {self.key.reveal()}"
        return request

    def refusal(self, response: requests.Response, body: bytes, model: str | None) -> Exception:
        """Put an answer that is an error, or not this API's, into our words, without the key."""
        headers = {name: self.without_key(value) for name, value in response.headers.items()}
        if self._secrets:
            try:
                body = json.dumps(self.clean(json.loads(body))).encode()
            except (ValueError, RecursionError):
                for secret in self._secrets:
                    body = body.replace(secret.reveal().encode(), KEY.encode())
        return refusal(
            response.status_code,
            CaseInsensitiveDict(headers),
            body,
            url=response.url or "",
            model=model,
            server=None if is_openrouter(self.base_url) else self.base_url,
        )

    def without_key(self, text: str) -> str:
        """Replace the key, should a text of the service echo it, by ``[key]``."""
        for secret in self._secrets:
            word = secret.reveal()
            text = text.replace(word, KEY).replace(quote(word, safe=""), KEY)
        return text

    def clean(self, value: Any, text: str = "\\u00") -> Any:
        """Replace the key in a JSON value, should it be echoed there.

        The text that it was parsed from is searched first, if given, which is much quicker.
        """
        if not self._secrets:
            return value
        # One sign is found in a long text in a fortieth of the time of two.
        is_escaped = "\\" in text and ("\\u00" in text or "\\/" in text)
        if not (is_escaped or self._is_in(text)):
            return value
        if isinstance(value, str):
            return self.without_key(value)
        if isinstance(value, list):
            return [self.clean(each) for each in value]
        if isinstance(value, dict):
            return {self.without_key(name): self.clean(each) for name, each in value.items()}
        return value

    def _is_in(self, text: str) -> bool:
        for secret in self._secrets:  # noqa: SIM110 - of every chunk, in a third of the time
            if secret.reveal() in text:
                return True
        return False

    def blocks(self, response: requests.Response) -> Iterator[bytes]:
        """Yield the body as it arrives: what one read had, decompressed."""
        read = reader(response)
        while True:
            try:
                block = read(BLOCK)
            except (ReadTimeoutError, TimeoutError) as error:
                raise RequestTimedOut(
                    f"{self.host} fell silent in the middle of the answer. What had arrived is "
                    "kept; ask again, or allow more time with ornb.connect(timeouts=...)."
                ) from error
            except (HTTPError, HTTPException, OSError, ValueError) as error:
                raise StreamBroken(
                    f"The connection to {self.host} ended in the middle of the answer. "
                    "What had arrived is kept; ask again for the rest."
                ) from error
            if not block:
                return
            yield block

    def json(
        self,
        response: requests.Response,
        wire: Wire,
        model: str | None = None,
        blocks: Iterator[bytes] | None = None,
    ) -> Any:
        """Read a JSON body to its end. Leading blanks (keep-alive padding) are allowed."""
        # An answer that is not streamed may be silent until it is whole.
        wire.patience(self.timeouts.first_byte, in_all=self.timeouts.between_pieces)
        pieces, size = [], 0
        for block in self.blocks(response) if blocks is None else blocks:
            pieces.append(block)
            size += len(block)
            if size > LONGEST_BODY:
                raise UnexpectedAnswer(
                    f"{self.host} sent more than {LONGEST_BODY // 2**20} MiB, which is not an "
                    "answer of this API. Check base_url."
                )
        body = b"".join(pieces)
        try:
            text = body.decode(json.detect_encoding(body), "surrogatepass")
            return self.clean(json.loads(text), text)
        except (ValueError, RecursionError) as error:
            unsay(error)
            raise self.refusal(response, body, model) from error

    def body(self, method: str, path: str, data: bytes | None = None) -> bytes:
        """Return an answer whole, as it came; there may be a key in it, or in what was sent."""
        try:
            with self.open(method, self.base_url + path, Wire(), headers=JSON, data=data) as answer:
                return b"".join(self.blocks(answer))
        except ApiError as error:
            error.raw = None
            raise
        except BaseException as error:  # an interrupt, too
            clear_frames(error)
            raise

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    def _start_of(self, response: requests.Response) -> bytes:
        """As much of a refusal's body as comes soon; its status says enough without."""
        body = b""
        with contextlib.suppress(RequestTimedOut, StreamBroken):
            for block in self.blocks(response):
                body += block
                if len(body) > LONGEST_REFUSAL:
                    break
        return body

    def _check_encoding(self, response: requests.Response) -> None:
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        known = {"identity", *response.raw.CONTENT_DECODERS}
        if encoding.strip() and not {word.strip() for word in encoding.split(",")} <= known:
            raise UnexpectedAnswer(
                f"{self.host} answered in the encoding {encoding!r}, which was not asked for. "
                "A proxy may stand in between; `pip install urllib3[brotli]` reads 'br'."
            )

    def _no_answer(self, error: requests.RequestException, wire: Wire) -> OrnbError:
        if isinstance(error, requests.ConnectTimeout):
            return ConnectionFailed(
                f"{self.host} did not take the connection within {self.timeouts.connect:g} s. "
                "Check the network and base_url."
            )
        if isinstance(error, requests.Timeout):
            return RequestTimedOut(
                f"{self.host} did not begin to answer within {self.timeouts.first_byte:g} s. "
                "Ask again, or allow more time with ornb.connect(timeouts=...)."
            )
        if isinstance(error, requests.exceptions.SSLError):
            return ConnectionFailed(
                f"{self.host} could not prove who it is (TLS: {innermost(error)}). Behind a "
                "company proxy, point REQUESTS_CA_BUNDLE at its certificate file."
            )
        if isinstance(error, requests.exceptions.ProxyError):
            return ConnectionFailed(
                f"The proxy in HTTP(S)_PROXY does not lead to {self.host}. Check that setting."
            )
        return self._broken_off(error, wire)

    def _not_made(self, error: Exception) -> OrnbError:
        """Return what kept a request from being made: settings, of a person or of the machine."""
        if isinstance(error, UnicodeError):
            what = "a header or the address has characters that cannot be sent; see title and key"
        elif isinstance(error, OSError):
            what = f"{error}. See REQUESTS_CA_BUNDLE, if that is set"
        else:
            what = f"{error}. Check base_url, and HTTP(S)_PROXY if that is set"
        return ConfigError(f"Nothing was sent to {self.host}: {what}.")

    def _broken_off(self, error: requests.RequestException, wire: Wire) -> OrnbError:
        told: BaseException = error
        while told.args and isinstance(told.args[-1], BaseException):
            told = told.args[-1]  # what urllib3 and requests have wrapped
        if isinstance(told, HTTPException) and not isinstance(told, RemoteDisconnected):
            return UnexpectedAnswer(
                f"{self.host} answered, but not in HTTP ({str(told)[:60]!r}). Check base_url: "
                "http or https, and the port."
            )
        if wire.sent_at is None:
            return ConnectionFailed(
                f"Nobody answers at {self.host} ({innermost(error)}). Check the network and "
                "base_url; ornb.connect(offline=True) works without either."
            )
        return StreamBroken(
            f"{self.host} closed the connection before it answered. Ask again; nothing of an "
            "answer had arrived."
        )


def unsay(error: Exception) -> None:
    """Take the text out of a parser's error: a key echoed in it would be shown and pickled."""
    if isinstance(error, json.JSONDecodeError):
        error.doc = ""
    elif isinstance(error, UnicodeDecodeError):
        error.object = b""


def clear_frames(error: BaseException) -> None:
    """Take the request out of what led to an error: tools that show variables would tell the key.

    Each frame keeps its place in the traceback, and loses its variables; those still at work keep
    them.
    """
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        traceback.clear_frames(one.__traceback__)
        if isinstance(one, requests.RequestException):
            one.request = None
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]


def innermost(error: BaseException) -> str:
    """Return the operating system's word for a failure, from below the layers of wrapping."""
    found = re.findall(r"\[Errno -?\d+\] ([^'\")]+)|(certificate verify failed[^(\"]*)", str(error))
    return next((word.strip() for pair in found for word in pair if word), "connection failed")


def is_openrouter(url: str) -> bool:
    """Return whether an address is OpenRouter's own."""
    host = urlsplit(url).hostname or ""
    return host == "openrouter.ai" or host.endswith(".openrouter.ai")


_NAMED_SECRET = re.compile("(?<!port)key|token|auth|secret|pass|cookie|cred", re.IGNORECASE)
_WORDS = re.compile(r"""[^\s"'{}\[\],;:=&?]+""")


def secret_words(name: str, value: str) -> set[str]:
    """Return what of a header is taken out of answers, should it be echoed there.

    The value and its words that look like keys: 8 characters or more, and long, or of letters and
    digits, or in a header named for a key. ``openrouter`` is a name.
    """
    named = _NAMED_SECRET.search(name) is not None
    return {
        word
        for word in (value, *value.split(), *_WORDS.findall(value))
        if len(word) >= 2 * SHORTEST_KEY
        or (len(word) >= SHORTEST_KEY and (named or re.search(r"\d.*[^\W\d]|[^\W\d].*\d", word)))
    }


def _checked_headers(headers: Mapping[str, str]) -> dict[str, Secret]:
    """Refuse what is no header, without repeating a value: it may be a key."""
    if not isinstance(headers, Mapping):
        raise ConfigError("headers is no dict; give names and values, such as {'X-Team': 'a'}.")
    checked = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII):
            raise ConfigError("headers has a name that no header has; give letters and hyphens.")
        if name.lower() in ("authorization", "proxy-authorization"):
            raise ConfigError(f"{name} is no header to give: the key goes to api_key=...")
        if name.lower() in OURS:
            raise ConfigError(f"{name} is no header to give: it follows from what is sent.")
        text = value.strip() if isinstance(value, str) else ""
        if not text or not text.isascii() or not text.isprintable():
            raise ConfigError("headers has a value that is no line of plain text; give one.")
        checked[name] = Secret(text)
    return checked


def _is_here(host: str) -> bool:
    """Whether an address is of this machine's own loopback."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _checked_url(url: str) -> str:
    told = repr(url) if _may_be_told(url) else "(not repeated, as it may hold a key)"
    wanted = f"base_url {told} is not an address such as https://openrouter.ai/api/v1."
    parts, port = None, None
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        split = urlsplit(url)
        parts, port = split, split.port  # which refuses what is no number
    if parts is not None and (parts.username or parts.password):
        raise ConfigError("base_url must not hold a user name or password; pass api_key instead.")
    is_http = parts is not None and parts.scheme in ("http", "https") and parts.hostname
    if parts is None or not isinstance(url, str) or not is_http or port == 0:
        raise ConfigError(wanted)
    if parts.query or parts.fragment:
        raise ConfigError(
            "base_url must end before any ? or #: what stands there is shown and written down. "
            "Pass a key as api_key."
        )
    return url.rstrip("/")


def _may_be_told(url: Any) -> bool:
    """Whether a text that is no address may be repeated: a key in the wrong place may not."""
    if not isinstance(url, str):
        return True
    looks = "://" in url or "." in url
    return looks and not {"@", "?", "#"} & set(url) and "sk-" not in url


def _checked_timeouts(timeouts: Timeouts | None) -> Timeouts:
    if timeouts is None:
        return Timeouts()
    if not isinstance(timeouts, Timeouts):
        raise ConfigError(f"timeouts is {timeouts!r}; give ornb.Timeouts(first_byte=...).")
    return timeouts


def _checked_key(key: str) -> str:
    if not isinstance(key, str):
        raise ConfigError(f"api_key is of type {type(key).__name__}; give the key as text.")
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            "The API key has blanks or characters that no key has. Copy it once more, whole."
        )
    return key
