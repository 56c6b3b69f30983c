"""The kernel's default service, catalogue and usage: what the short names of `ornb` work with."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from . import catalog
from . import recording as tapes
from .client import OPENROUTER, Client, Reply, Timeouts
from .errors import BadRequest, ConfigError, Forbidden, NotFound, OrnbError
from .filters import closest
from .ledger.bills import activity_to_frame, estimate_reply
from .ledger.budget import settle_bill
from .ledger.gate import Gate
from .ledger.quota import FreeQuota, Quota
from .ledger.tracker import UsageTracker
from .ledger.worst_case import Quote
from .wire.reply import format_usd

if TYPE_CHECKING:
    import pandas as pd

    from .offline import OfflineServer
    from .wire.stream import Messages

LIVE_DEFAULT = "openrouter/free"
"""Answers at no cost, by a free model that OpenRouter chooses."""
LOCAL, CANNED = "ornb/smollm2-135m-instruct", "ornb/canned"
"""The models of the offline default."""
CATALOGUE_LIFETIME = timedelta(minutes=5)
"""As long as OpenRouter's own edge keeps its copy."""
OFFLINE_WORDS = """\
ornb is offline: no OPENROUTER_API_KEY is set. Nothing is billed.
  catalogue  snapshot of {snapshot}
  answers    {answers}
  go live    ornb.sign_in()"""
LOCAL_WORDS = "SmolLM2-135M on this machine, a real but tiny model: often wrong"
RECORDING_WORDS = """\
ornb is offline: no key is used. Nothing is billed.
  answers    recorded {day}, {made}: {name}
  others     {answers}
  catalogue  snapshot of {snapshot}
  go live    ornb.sign_in()"""
MADE_BY = {"live": "live", "local": "with a small local model", "canned": "with canned texts"}
RECORD_VARIABLE = "ORNB_RECORD"
"""With it set, ``connect(recording=...)`` makes the recording instead of playing it."""


@dataclass
class _Default:
    """What `connect` chose, and what was fetched from it."""

    client: Client | None = None
    catalogue: pd.DataFrame | None = None
    fetched_at: datetime | None = None
    fetched_under: tuple[Any, ...] = ()
    """The recordings that were open when the catalogue was fetched."""
    recording: tapes.Recorder | tapes.Replay | None = None
    """What `connect` was given."""
    announced: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)


_default = _Default()
usage = UsageTracker(client=lambda: client())  # noqa: PLW0108 - it is defined below
"""One row a call of this kernel's default client."""
usage.on_bill(settle_bill)
_free_quota = FreeQuota(elsewhere=usage.free_calls_elsewhere)


def connect(
    api_key: str | None = None,
    base_url: str | None = None,
    *,
    offline: bool = False,
    recording: str | os.PathLike[str] | None = None,
    timeouts: Timeouts | None = None,
    retries: int = 2,
    **attribution: str,
) -> Client:
    """Choose what this kernel's calls go to, from now on.

    Parameters
    ----------
    api_key : str, optional
        By default ``OPENROUTER_API_KEY``. With neither key nor address: the offline default.
    base_url : str, optional
        By default ``OPENROUTER_BASE_URL``, else OpenRouter. Any server that speaks OpenAI's chat
        completions will do: Ollama, LM Studio, vLLM, a LiteLLM proxy.
    offline : bool
        True chooses the offline default, whatever the environment says.
    recording : str or path-like, optional
        What `ornb.record` has written: without a key it answers what it has, and the offline
        default answers the rest. With a key it is left aside. Which of them it is, is printed.
    timeouts : Timeouts, optional
        Patience, in s.
    retries : int
        Times a refusal that generated nothing is asked again.
    **attribution : str
        ``title`` and ``referer``, see `ornb.Client`.

    Returns
    -------
    Client
        Which is also what `ornb.ask`, `ornb.models`, chats and pickers use.

    Raises
    ------
    ConfigError
        The key or the address cannot be one.
    OfflineError
        The offline default does not start.

    Examples
    --------
    >>> ornb.connect(offline=True).source
    'offline'
    """
    if offline and (api_key or base_url):
        raise ConfigError("offline=True takes neither api_key nor base_url: choose one of the two.")
    if not offline:
        # A key from the environment goes to the address from the environment or to OpenRouter;
        # an address given here gets only a key given here.
        if base_url is None:
            api_key = api_key or os.environ.get("OPENROUTER_API_KEY", "").strip() or None
            base_url = os.environ.get("OPENROUTER_BASE_URL", "").strip() or None
        offline = api_key is None and base_url is None
    source = answers = "live"
    if offline:
        server = _offline_server()
        api_key, base_url, source = server.token, server.base_url, "offline"
        answers = "canned" if server.why_canned else "local"
    client = Client(
        api_key,
        base_url,
        source=source,
        answers=answers,
        on_call=_record,
        timeouts=timeouts,
        retries=retries,
        before_call=None,  # below: it asks this client for prices
        **attribution,
    )
    client.before_call = Gate(client, _record_of, _free_quota)
    with _default.lock:
        _default.client = client
        _default.catalogue = _default.fetched_at = None
        if _default.recording is not None:
            _default.recording.close()
        _default.recording = None if recording is None else _with_recording(client, recording)
    return client


def client() -> Client:
    """Give this kernel's client, made on first use.

    Returns
    -------
    Client
        As `connect` chose it, or as the environment says.

    Raises
    ------
    OrnbError
        It cannot be made.

    Examples
    --------
    >>> client() is client()
    True
    """
    with _default.lock:
        current = _default.client
        if current is None:
            current = connect()
            if current.source == "offline":
                _announce()
        elif current.source == "offline" and current.base_url != _offline_server().base_url:
            current = connect(offline=True)  # its process was ended, and its port taken since
        return current


def models(*, refresh: bool = False, **filters: Any) -> pd.DataFrame:
    """List the models that can be asked, one row each.

    Parameters
    ----------
    refresh : bool
        Fetch the catalogue again; else a copy of up to five minutes serves.
    **filters : Any
        As in `ornb.catalog.filter_models`: ``search``, ``free``, ``min_context``, ``accepts``,
        ``tools``, ``max_completion_usd_per_million``, ...

    Returns
    -------
    pandas.DataFrame, shape (n_models, n_columns)
        Indexed by ``id``; the columns, their units and dtypes are in `ornb.catalog.MODEL_COLUMNS`.
        ``.attrs`` says where they come from (source, fetched_at, url, snapshot).

    Raises
    ------
    ConfigError
        No such filter.
    OrnbError
        The service cannot be reached, or refuses.

    Examples
    --------
    >>> free = ornb.models(free=True, tools=True)
    >>> bool(free["is_free"].all())
    True
    """
    service = client()
    with _default.lock:
        now = datetime.now(UTC)
        fresh = _default.fetched_at is not None and (
            service.source == "offline" or now - _default.fetched_at < CATALOGUE_LIFETIME
        )
        fresh = fresh and _default.fetched_under == tapes.opened()
        if _default.catalogue is None or refresh or not fresh:
            records = service.models()
            _default.catalogue = catalog.to_frame(records, **records.origin._asdict())
            _default.fetched_at, _default.fetched_under = now, tapes.opened()
        frame = _default.catalogue
    return catalog.filter_models(frame, **filters) if filters else frame.copy()


def endpoints(model: str) -> pd.DataFrame:
    """List the providers that serve a model, one row an endpoint.

    Parameters
    ----------
    model : str
        Id such as ``"author/slug"``.

    Returns
    -------
    pandas.DataFrame, shape (n_endpoints, n_columns)
        The columns are in `ornb.catalog.ENDPOINT_COLUMNS`.

    Raises
    ------
    NotFound
        No such model.
    OrnbError
        The service cannot be reached, or refuses.

    Examples
    --------
    >>> sorted(ornb.endpoints("openai/gpt-4o-mini")["provider_name"].unique())
    ['Azure', 'OpenAI']
    """
    facts = client().endpoints(model)
    return catalog.endpoints_to_frame(facts, **facts.origin._asdict())


def providers() -> pd.DataFrame:
    """List the providers, one row each.

    Returns
    -------
    pandas.DataFrame, shape (n_providers, n_columns)
        The columns are in `ornb.catalog.PROVIDER_COLUMNS`.

    Raises
    ------
    OrnbError
        The service cannot be reached, or refuses.

    Examples
    --------
    >>> len(ornb.providers())
    103
    """
    records = client().providers()
    return catalog.providers_to_frame(records, **records.origin._asdict())


def ask(
    prompt: Messages,
    model: Any = None,
    *,
    system: str | None = None,
    label: str | None = None,
    **params: Any,
) -> Reply:
    """Ask once, and wait for the answer.

    The answer is streamed underneath, so that its time to first token is known, and an interrupt
    keeps what had arrived in `ornb.usage`.

    Parameters
    ----------
    prompt : str or sequence of dict
        A prompt, or messages with ``role`` and ``content``.
    model : str or ModelPicker, optional
        By default `default_model`.
    system : str, optional
        A system message that goes first.
    label : str, optional
        Your word for the call, kept in `ornb.usage`.
    **params : Any
        Passed on untouched: ``temperature``, ``max_tokens``, ``provider``, ...

    Returns
    -------
    Reply
        Shows itself in a notebook.

    Raises
    ------
    OrnbError
        Whatever went wrong; its ``reply`` has what arrived.

    Examples
    --------
    >>> reply = ornb.ask("What is a token?", "openai/gpt-4o-mini")
    >>> reply.source
    'canned'
    """
    messages = prompt
    if system is not None and prompt:
        asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        messages = [{"role": "system", "content": system}, *asked]
    chosen = model_id(model)
    stream = client().stream(messages, chosen, label=label, **params)
    try:
        for _ in stream:
            pass
    except OrnbError as error:
        with_near_models(error, chosen)
        raise
    return stream.reply


def with_near_models(error: OrnbError, model: str | None) -> OrnbError:
    """Where a model is refused that is not listed, propose some that are.

    Parameters
    ----------
    error : OrnbError
        How the call failed.
    model : str or None
        Who was asked.

    Returns
    -------
    OrnbError
        The same error; its message ends in the nearest ids where there are any.

    Examples
    --------
    >>> from ornb.errors import NotFound
    >>> print(with_near_models(NotFound("No such model."), "openai/gpt4o-mini"))
    No such model. Did you mean openai/gpt-4o-mini...
    """
    if not isinstance(error, BadRequest | NotFound) or model is None:
        return error
    with contextlib.suppress(OrnbError):
        listed = models()
        near = [] if model in listed.index else closest(model, listed)
        if near:
            error.args = (f"{error} Did you mean {' or '.join(near)}?",)
    return error


def quote(prompt: Messages, model: Any = None, **params: Any) -> Quote:
    """Tell what a call can cost, and is likely to, without making it.

    Parameters
    ----------
    prompt : str or sequence of dict
        As for `ask`.
    model : str or ModelPicker, optional
        By default `default_model`.
    **params : Any
        As for `ask`; ``max_tokens`` and ``provider`` matter most.

    Returns
    -------
    Quote
        ``worst_usd`` and ``likely_usd`` (decimal.Decimal, None where not known), and the tokens
        they rest on. Offline it tells what the real service would charge.

    Raises
    ------
    ConfigError
        `model` is none.
    OrnbError
        The catalogue cannot be had.

    Examples
    --------
    >>> asked = quote("What is a token?", "openai/gpt-4o-mini", max_tokens=1000)
    >>> asked.likely_usd < asked.worst_usd
    True
    """
    try:
        said = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    except TypeError:
        raise ConfigError(f"quote({prompt!r}) is no prompt: give a text or messages.") from None
    gate = client().before_call
    if not isinstance(gate, Gate):
        raise ConfigError("The client of this kernel has no prices to quote from.")
    return gate.quote({"messages": said, "model": model_id(model), **params})


def quota(*, wait: bool | None = None, ask: bool = True) -> Quota:
    """Tell how many calls of free models are left, for the minute and the day.

    Parameters
    ----------
    wait : bool, optional
        True makes free calls wait for their turn from now on, instead of being refused by the
        service; False lets them go at once again.
    ask : bool
        True asks the service for the key's own figures, where there is a key. False tells what is
        known already, and sends nothing.

    Returns
    -------
    Quota
        Shows itself.

    Raises
    ------
    ConfigError
        `wait` is neither True nor False.
    OrnbError
        The client cannot be made, or the database of `ornb.usage.persist` cannot be read.

    Examples
    --------
    >>> ornb.quota().minute_limit
    20
    """
    if wait is not None:
        if not isinstance(wait, bool):
            raise ConfigError(f"wait is {wait!r}; give True or False.")
        _free_quota.wait = wait
    if ask:
        service = client()
        if service.source == "live" and service.has_key:
            with contextlib.suppress(OrnbError):  # the documented limits stand
                _free_quota.believe(service.key())
    return _free_quota.facts()


def activity(**query: str) -> pd.DataFrame:
    """List what the account was charged, by the service's own books.

    Parameters
    ----------
    **query : str
        Parameters of ``GET /activity``, e.g. ``date="2026-08-20"``.

    Returns
    -------
    pandas.DataFrame, one row a UTC day, model and provider
        The last 30 finished days; columns as in `ornb.ledger.bills.ACTIVITY_COLUMNS`. Offline,
        empty.

    Raises
    ------
    Forbidden
        The key is not a management key; `ornb.usage.history` has what was recorded here.
    OrnbError
        The service cannot be reached, or refuses.

    Examples
    --------
    >>> len(ornb.activity())
    0

    References
    ----------
    OpenRouter API, ``GET /activity``; 2026-08-22.
    """
    service = client()
    if service.source == "offline":
        return activity_to_frame([])
    try:
        return activity_to_frame(service.activity(**query))
    except Forbidden as error:
        raise Forbidden(
            "The account's activity is for management keys only. ornb.usage.df and, with "
            "ornb.usage.persist(), ornb.usage.history() have the calls made here.",
            status_code=error.status_code,
            code=error.code,
            error_type=error.error_type,
            raw=error.raw,
        ) from error


def model_id(choice: Any = None) -> str | None:
    """Turn what a person hands over as a model into its id.

    Parameters
    ----------
    choice : str, ModelPicker or None
        An id, something with a ``value`` that is one, or None for the default.

    Returns
    -------
    str or None
        None only when the service has no default.

    Raises
    ------
    ConfigError
        Neither; or a picker in which several models are chosen.

    Examples
    --------
    >>> model_id("openai/gpt-4o-mini")
    'openai/gpt-4o-mini'
    """
    value = getattr(choice, "value", choice)
    if value is None or value == ():
        return default_model()
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"model is {value!r}; give one id such as 'openai/gpt-4o-mini'.")
    return value.strip()


def default_model() -> str | None:
    """Name the model that answers when none is chosen.

    Returns
    -------
    str or None
        Of a recording that is replayed, the one that was the default when it was made. Else
        ``ORNB_MODEL`` if set; else a free one at OpenRouter, this machine's offline, and the first
        listed of any other server.

    Examples
    --------
    >>> default_model()
    'ornb/canned'
    """
    recorded = tapes.default_model(client().base_url) if tapes.opened() else None
    if recorded:
        return recorded
    chosen = os.environ.get("ORNB_MODEL", "").strip() or _own_default()
    if chosen:
        tapes.note_default_model(chosen)
    return chosen


def _own_default() -> str | None:
    service = client()
    if service.source == "offline":
        return CANNED if _offline_server().why_canned else LOCAL
    if service.base_url == OPENROUTER:
        return LIVE_DEFAULT
    listed = models().index
    return str(listed[0]) if len(listed) else None


def _record(reply: Reply) -> None:
    usage.record(reply, estimate_usd=estimate(reply))


def estimate(reply: Reply) -> float | None:
    """Tell what the listed prices make of a call's tokens.

    Parameters
    ----------
    reply : Reply
        An answer. Offline it is as if the chosen model had given it, by the small model's count
        of tokens.

    Returns
    -------
    float or None
        USD; None where the tokens or the prices are not known.

    Examples
    --------
    >>> estimate(Reply(requested_model="openai/gpt-4o-mini")) is None
    True
    """
    used = reply.usage
    if used.prompt_tokens is None or used.completion_tokens is None:
        return None
    frame = _default.catalogue
    if frame is None and reply.source in ("local", "canned"):
        with contextlib.suppress(OrnbError):  # the row counts for more than its estimate
            frame = models()
    if frame is None:
        return None
    if reply.requested_model not in frame.index:
        return None
    record = frame.at[reply.requested_model, "raw"]
    amount = estimate_reply(record.get("pricing") if isinstance(record, dict) else None, reply)
    return None if amount is None else float(amount)


def likely_cost(messages: Messages, model: Any = None, **params: Any) -> str:
    """Tell what a call is likely to cost, from what is at hand: no request is made for it.

    Parameters
    ----------
    messages, model, **params
        As for `quote`.

    Returns
    -------
    str
        Such as "about $0.00006", at the model's listed price; empty where none is at hand.

    Examples
    --------
    >>> likely_cost("Hi", "openai/gpt-4o-mini", max_tokens=100)
    'about $0.0000... if it were live'
    """
    gate, offline = client().before_call, client().source == "offline"
    if offline:
        models()  # no further than this machine
    if _default.catalogue is None or not isinstance(gate, Gate):
        return ""
    body = {"messages": messages, "model": model_id(model), **params}
    likely = gate.quote(body, at_hand=True).likely_usd
    if likely is None:
        return ""
    return f"about {format_usd(float(likely))}{' if it were live' if offline else ''}"


def _record_of(model: str) -> Any:
    """The catalogue record of an id, fetched if need be; None when it is not listed."""
    listed = models()
    return listed.at[model, "raw"] if model in listed.index else None


def _offline_server() -> OfflineServer:
    from . import offline as offline_default

    return offline_default.start()


def _announce() -> None:
    """Say once, where it can be seen, that nothing here is the real service."""
    if not _default.announced:
        _default.announced = True
        print(_offline_words())


def _offline_words() -> str:
    server = _offline_server()
    return OFFLINE_WORDS.format(snapshot=server.snapshot_date, answers=_answers(server))


def _answers(server: OfflineServer) -> str:
    return f"canned texts; {server.why_canned}" if server.why_canned else LOCAL_WORDS


def _with_recording(client: Client, path: str | os.PathLike[str]) -> Any:
    """Play a recording beside a client, or make it; and say what answers from now on."""
    if os.environ.get(RECORD_VARIABLE, "").strip():
        print(f"ornb records the calls of this notebook to {path}.")
        return tapes.record(path)
    if client.source != "offline":
        print(
            f"ornb asks {urlsplit(client.base_url).netloc}: answers are live. The recording "
            f"{Path(path).name} answers where there is no key."
        )
        return None
    _default.announced = True
    try:
        played = tapes.stand_in(path, client.base_url)
    except ConfigError as error:  # the notebook goes on without it
        print(f"{error}\n{_offline_words()}")
        return None
    made = " and ".join(MADE_BY.get(source, source) for source in played.made_by)
    day = f"{played.recorded_at:%Y-%m-%d}"
    server = _offline_server()
    print(
        RECORDING_WORDS.format(
            day=day,
            made=made,
            name=played.path.name,
            answers=_answers(server),
            snapshot=server.snapshot_date,
        )
    )
    return played
