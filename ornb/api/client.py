"""The API of OpenRouter, or of a server that speaks like it: catalogue, account, chat."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from ..errors import ConfigError, NotFound, OrnbError, UnexpectedAnswer, whole
from .assembly import fault
from .body import Messages, asked_headers
from .dialects import with_info
from .others import OtherCall
from .reply import Event, Reply, Timing, Usage, counted
from .service import Secret, Service, Timeouts, is_openrouter
from .stream import BeforeCall, Stream
from .transport import Wire

__all__ = [
    "OPENROUTER",
    "Client",
    "Event",
    "Facts",
    "Origin",
    "Records",
    "Reply",
    "Secret",
    "Stream",
    "Timeouts",
    "Timing",
    "Usage",
]

OPENROUTER = "https://openrouter.ai/api/v1"


class Origin(NamedTuple):
    """Where facts come from, and when.

    Attributes
    ----------
    source : str
        "live", "snapshot" (the offline default) or "recorded".
    fetched_at : datetime
        When they arrived (UTC).
    url : str
        Address asked.
    snapshot : str or None
        Day of the snapshot, ``YYYY-MM-DD``.
    """

    source: str
    fetched_at: datetime
    url: str
    snapshot: str | None = None


class Records(list[dict[str, Any]]):
    """Records as the API gave them, with their `Origin` in ``origin``."""

    origin: Origin


class Facts(dict[str, Any]):
    """One object as the API gave it, with its `Origin` in ``origin``."""

    origin: Origin


class Client:
    """One service, one key, its connections.

    Parameters
    ----------
    api_key : str, optional
        Sent as a bearer token. Servers of your own may need none.
    base_url : str, optional
        Address up to and including the version, by default OpenRouter's.
    source : {"live", "offline"}
        What stands behind the address; "offline" is the embedded default.
    answers : {"live", "local", "canned"}, optional
        `Reply.source` of a call that its server told nothing of, since it was never sent or failed.
    before_call : callable, optional
        Asked before each chat call leaves, and may forbid it; see `ornb.api.stream.BeforeCall`.
    on_call : callable, optional
        Called with the `Reply` of each chat call once it has ended, however it ended.
    timeouts : Timeouts, optional
        Patience, in s.
    retries : int
        Times a refusal that generated nothing (429, 503, nobody there) is asked again.
    headers : mapping of str to str, optional
        Sent with every request, and kept as secret as the key.
    router_metadata, response_cache
        What OpenRouter is asked for with each call that does not say it itself: the record of its
        routing (True), and its response cache (True, seconds, "refresh"); see docs/words.md.
    title, referer : str
        How the app presents itself to OpenRouter's rankings; see the references.

    Raises
    ------
    ConfigError
        `base_url` is not an http(s) address, `api_key` is not a key, or another argument cannot
        be used.

    Examples
    --------
    >>> Client(base_url="http://127.0.0.1:11434/v1").base_url
    'http://127.0.0.1:11434/v1'

    References
    ----------
    OpenRouter docs, "API reference" and "App attribution"; 2026-08-22.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        source: str = "live",
        answers: str | None = None,
        before_call: BeforeCall | None = None,
        on_call: Callable[[Reply], object] | None = None,
        timeouts: Timeouts | None = None,
        retries: int = 2,
        headers: Mapping[str, str] | None = None,
        router_metadata: bool | None = None,
        response_cache: bool | int | str | None = None,
        title: str = "ornb",
        referer: str = "http://localhost/ornb",
    ) -> None:
        for name, value in (("title", title), ("referer", referer)):
            if not isinstance(value, str) or not value.isprintable():
                raise ConfigError(f"{name} is not a line of text; give one, such as 'my lesson'.")
        asks = asked_headers(router_metadata, response_cache)
        self.source = source
        self._service = Service(
            base_url or OPENROUTER,
            api_key,
            timeouts=timeouts,
            headers={"HTTP-Referer": referer, "X-OpenRouter-Title": title, **asks},
            secret_headers=headers,
        )
        self._answers = answers or ("live" if source == "live" else "canned")
        self.before_call = before_call
        self.on_call = on_call
        self.retries = whole("retries", retries, 0)
        self.asks = {"router_metadata": router_metadata, "response_cache": response_cache}
        """What OpenRouter is asked for with each call beside the answer; not to be changed."""

    def __repr__(self) -> str:
        if not hasattr(self, "_service"):  # a debugger shows what could not be made
            return f"<ornb.Client {self.source}, not made>"
        if self.source == "offline":
            return "<ornb.Client offline, on this machine>"
        key = "with a key" if self.has_key else "no key"
        count = len(self._service.secret_headers)
        more = f", {counted(count, 'header')}" if count else ""
        return f"<ornb.Client {self.source} {self.base_url}, {key}{more}>"

    @property
    def base_url(self) -> str:
        """Address up to and including the version."""
        return self._service.base_url

    @property
    def has_key(self) -> bool:
        """Whether a key is sent."""
        return self._service.key is not None

    def models(self, **query: Any) -> Records:
        """List the models, all pages.

        Parameters
        ----------
        **query : Any
            Parameters of ``GET /models``, e.g. ``output_modalities="all"``.

        Returns
        -------
        Records
            One dict a model, untouched. `ornb.catalog.to_frame` makes a table of them. A LiteLLM
            proxy tells prices and lengths apart (``GET /model/info``): its records have those too.

        Raises
        ------
        OrnbError
            The service cannot be reached, or refuses.

        Examples
        --------
        >>> records = ornb.connect(offline=True).models()
        >>> len(records), records.origin.source
        (421, 'snapshot')
        """
        records = self._pages("/models", query)
        if any(isinstance(each, dict) and "owned_by" in each for each in records):
            with contextlib.suppress(OrnbError):  # no LiteLLM
                records[:] = with_info(records, self._get(f"{self.base_url}/model/info")[0])
        return records

    def endpoints(self, model: str) -> Facts:
        """Return the providers that serve a model.

        Parameters
        ----------
        model : str
            Id such as ``"author/slug"``.

        Returns
        -------
        Facts
            A dict: the model's facts and the list ``endpoints``, untouched.

        Raises
        ------
        NotFound
            No such model.
        OrnbError
            The service cannot be reached, or refuses.

        Examples
        --------
        >>> facts = ornb.connect(offline=True).endpoints("openai/gpt-4o-mini")
        >>> sorted({endpoint["provider_name"] for endpoint in facts["endpoints"]})
        ['Azure', 'OpenAI']
        """
        path = f"/models/{quote(model, safe='/:~@')}/endpoints"
        return self._data(path, model=model)

    def providers(self) -> Records:
        """List the providers.

        Returns
        -------
        Records
            One dict a provider, untouched.

        Raises
        ------
        OrnbError
            The service cannot be reached, or refuses.

        Examples
        --------
        >>> len(ornb.connect(offline=True).providers())
        103
        """
        return self._pages("/providers", {})

    def key(self) -> dict[str, Any]:
        """Return what the service knows of the key: label, limit, usage.

        Returns
        -------
        dict
            Amounts in USD; ``limit`` is the key's own, and ``effective_budget`` of the account may
            hold it too: `ornb.api.keys.describe` puts both in words. Asked at ``/key``, and where
            that is unknown at the older ``/auth/key``.

        Raises
        ------
        AuthenticationError
            The key is wrong.
        OrnbError
            The service cannot be reached, or refuses.

        Examples
        --------
        >>> ornb.connect(offline=True).key()["is_free_tier"]
        True
        """
        try:
            return self._data("/key")
        except NotFound:
            return self._data("/auth/key")

    def credits(self) -> dict[str, Any]:
        """Return the account's credits.

        Returns
        -------
        dict
            ``total_credits`` and ``total_usage``, in USD; what is left is the difference.

        Raises
        ------
        Forbidden
            The key is not a management key; `key` has this key's own limit.
        OrnbError
            The service cannot be reached, or refuses.

        Examples
        --------
        >>> ornb.connect(offline=True).credits()
        {'total_credits': 0, 'total_usage': 0}
        """
        return self._data("/credits")

    def generation(self, generation_id: str) -> dict[str, Any]:
        """Return the bill of one call.

        Parameters
        ----------
        generation_id : str
            `Reply.generation_id`.

        Returns
        -------
        dict
            Native token counts, ``total_cost`` in USD, times in ms, untouched.

        Raises
        ------
        NotFound
            Unknown, or asked too soon: it takes the service some seconds.
        OrnbError
            The service cannot be reached, or refuses.

        Examples
        --------
        >>> reply = ornb.connect(offline=True).chat("Hi")
        >>> ornb.connect(offline=True).generation("gen-unknown")
        Traceback (most recent call last):
            ...
        ornb.errors.NotFound: ...
        """
        return self._data("/generation", {"id": generation_id})

    def activity(self, **query: str) -> Records:
        """List what the account was charged, a record a UTC day, model and endpoint.

        Parameters
        ----------
        **query : str
            Parameters of ``GET /activity``, e.g. ``date="2026-08-20"``.

        Returns
        -------
        Records
            The last 30 finished days, untouched.

        Raises
        ------
        Forbidden
            The key is not a management key.
        OrnbError
            The service cannot be reached, or refuses.

        Examples
        --------
        >>> Client("sk-or-...").activity()  # doctest: +SKIP
        []
        """
        return self._pages("/activity", query)

    def chat(self, messages: Messages, model: str | None = None, **params: Any) -> Reply:
        """Ask, and wait for the whole answer.

        Parameters
        ----------
        messages : str or sequence of dict
            A prompt, or messages with ``role`` and ``content``.
        model : str, optional
            Id; without it the account's default answers.
        **params : Any
            Further fields of the request, passed on untouched: ``temperature``, ``max_tokens``,
            ``models``, ``provider``, ``reasoning``, ...

        Returns
        -------
        Reply
            Text, tokens, cost and time.

        Raises
        ------
        OrnbError
            Whatever went wrong, a bad argument too; its ``reply`` has what arrived.

        Examples
        --------
        >>> ornb.connect(offline=True).chat("Hi").source
        'canned'
        """
        call = self._call(messages, model, params, streamed=False)
        for _ in call:
            pass
        return call.reply

    def stream(self, messages: Messages, model: str | None = None, **params: Any) -> Stream:
        """Ask, and get the answer as it is made.

        Nothing is sent before the first event is asked for.

        Parameters
        ----------
        messages, model, **params
            As for `chat`.

        Returns
        -------
        Stream
            Iterate it; `Stream.reply` has the whole.

        Raises
        ------
        OrnbError
            While iterating; its ``reply`` has what arrived.

        Examples
        --------
        >>> stream = ornb.connect(offline=True).stream("Hi")
        >>> text = "".join(event.text for event in stream if event.type == "text")
        >>> text == stream.reply.text
        True
        """
        if self.source == "live" and not is_openrouter(self.base_url):
            # OpenRouter always counts tokens; other servers count those of a stream if asked.
            params.setdefault("stream_options", {"include_usage": True})
        return self._call(messages, model, params, streamed=True)

    def decide(self, state: Any, questions: Mapping[str, Any], model: str, **params: Any) -> Reply:
        """Ask a decisions model; `ornb.decide` takes plainer questions, and reads the answers.

        Parameters
        ----------
        state : str, dict or list
            What the questions are about.
        questions : mapping of str to dict
            Your name of a question to the question, as the API has it.
        model : str
            Id of a model of the kind "decisions".
        **params : Any
            Further fields of the request: ``provider``, ``session_id``, ``trace``, ``user``.

        Returns
        -------
        Reply
            Its ``text`` is the JSON of the answers.

        Raises
        ------
        OrnbError
            Whatever went wrong; its ``reply`` has what arrived.

        Examples
        --------
        >>> asked = {"angry": {"type": "noul", "instructions": "Is the writer angry?"}}
        >>> ornb.connect(offline=True).decide("Hi", asked, "ornb/canned-decisions").source
        'canned'

        References
        ----------
        OpenRouter, ``POST /api/alpha/decisions``, by the official SDK 1.3.84; 2026-10-27.
        """
        return self._other(model, {**params, "state": state, "questions": questions})

    def close(self) -> None:
        """Close the kept connections."""
        self._service.close()

    def _other(self, model: str | None, params: dict[str, Any]) -> Reply:
        """Make a call that is no chat, and wait for its answer."""
        call = self._other_call(model, params)
        for _ in call:
            pass
        return call.reply

    def _other_call(self, model: str | None, params: dict[str, Any]) -> Stream:
        return self._call((), model, params, streamed=False, of=OtherCall)

    def _call(
        self,
        messages: Messages,
        model: str | None,
        params: dict[str, Any],
        *,
        streamed: bool,
        of: type[Stream] = Stream,
    ) -> Stream:
        return of(
            self._service,
            messages,
            model,
            params,
            streamed=streamed,
            retries=self.retries,
            source=self._answers,
            before_call=self.before_call,
            on_call=self.on_call,
        )

    def _get(
        self, url: str, query: dict[str, Any] | None = None, model: str | None = None
    ) -> tuple[Any, Origin]:
        wire = Wire()
        with self._service.open("GET", url, wire, model=model, params=query) as response:
            body = self._service.json(response, wire, model)
            if isinstance(body, dict) and "data" not in body and fault(body):
                raise self._service.refusal(response, json.dumps(body).encode(), model)
            source = response.headers.get("X-Ornb-Source", "live")
            snapshot = response.headers.get("X-Ornb-Snapshot")
            if wire.recorded is not None:
                return body, Origin("recorded", wire.recorded.at, url, snapshot)
            return body, Origin(source, datetime.now(UTC), url, snapshot)

    def _data(
        self, path: str, query: dict[str, Any] | None = None, model: str | None = None
    ) -> Facts:
        url = self.base_url + path
        body, origin = self._get(url, query, model)
        data = body.get("data") if isinstance(body, dict) else None
        if not isinstance(data, dict):
            raise UnexpectedAnswer(
                f"{url} answered without `data`, so it is not OpenRouter's API. Check base_url."
            )
        facts = Facts(data)
        facts.origin = origin
        return facts

    def _pages(self, path: str, query: dict[str, Any]) -> Records:
        records, seen = Records(), set[str]()
        url: str | None = self.base_url + path
        while url is not None and url not in seen:
            body, origin = self._get(url, None if seen else query)
            seen.add(url)
            page = body.get("data") if isinstance(body, dict) else body
            if not isinstance(page, list):
                raise UnexpectedAnswer(
                    f"{url} answered without a list of records, so it is not OpenRouter's API. "
                    "Check base_url."
                )
            records.extend(page)
            records.origin = origin._replace(url=self.base_url + path)
            url = self._next_page(url, body)
        return records

    def _next_page(self, url: str, body: Any) -> str | None:
        links = body.get("links") if isinstance(body, dict) else None
        following = links.get("next") if isinstance(links, dict) else None
        if not isinstance(following, str):
            return None
        following = urljoin(url, following)
        # The key goes along, so never to another host.
        return following if urlsplit(following)[:2] == urlsplit(url)[:2] else None
