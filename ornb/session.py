"""The kernel's default service, catalogue and usage: what the short names of `ornb` work with."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import warnings
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from . import catalog
from .api.body import messages_from
from .api.client import OPENROUTER, Client, Reply, Timeouts
from .api.parameters import misspelt
from .api.refusals import mapping
from .api.reply import format_usd, not_sent
from .catalog import changes, own, prices
from .catalog.filters import CALLS, check_makers, closest, sort_models
from .catalog.observations import aged, is_openrouters
from .errors import (
    BadRequest,
    BudgetExceeded,
    CatalogError,
    ConfigError,
    Forbidden,
    Interrupted,
    NotFound,
    OrnbError,
    did_you_mean,
    out_of_ornb,
)
from .ledger.bills import activity_to_frame, estimate_reply
from .ledger.bound import Quote
from .ledger.budget import Budgets, Gate
from .ledger.quota import FreeQuota, Quota
from .ledger.tracker import UsageTracker
from .messages.asked import answered, fields_of, messages_of
from .recording import Pace, Recorder, Recordings, Replay
from .recording.lines import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import date

    import pandas as pd

    from .api.body import Messages
    from .api.stream import Settle
    from .offline import OfflineServer

LIVE_DEFAULT = "openrouter/free"
"""Answers at no cost, by a free model that OpenRouter chooses."""
LOCAL, CANNED = "ornb/smollm2-135m-instruct", "ornb/canned"
"""The models of the offline default."""
CATALOG_LIFETIME = timedelta(minutes=5)
"""As long as OpenRouter's own edge keeps its copy."""
ESTIMATE_PATIENCE_S = {"live": 2.0, "offline": 30.0}
"""Seconds that an answer which has come waits for the catalogue, by the source of the client. The
offline one is on this machine, and there at once."""
OFFLINE_WORDS = """\
ornb is offline: no OPENROUTER_API_KEY is set. Nothing is billed.
  catalogue  snapshot {snapshot}
  answers    {answers}
  go live    ornb.sign_in()"""
LOCAL_WORDS = "SmolLM2-135M on this machine, a real but tiny model: often wrong"
RECORDING_WORDS = """\
ornb is offline: no key is used. Nothing is billed.
  answers    recorded {day}, {made}: {name}
  others     {answers}
  catalogue  snapshot {snapshot}
  go live    ornb.sign_in()"""
MADE_BY = {"live": "live", "local": "with a small local model", "canned": "with canned texts"}
ALSO_TAKEN = ("router_metadata", "response_cache", "title", "referer")
"""Arguments of `connect` that are those of `ornb.Client`."""
RECORD_VARIABLE = "ORNB_RECORD"
"""With it set, ``connect(recording=...)`` makes the recording instead of playing it."""


@dataclass
class Connection:
    """What `connect` chose, and what was fetched from it."""

    client: Client
    recording: Recorder | Replay | None = None
    """What `connect` was given."""
    catalog: pd.DataFrame | None = None
    fetched_at: datetime | None = None
    fetched_under: tuple[Any, ...] = ()
    """The recordings that were open when the catalogue was fetched."""
    looked: threading.Event | None = None
    """Of the first look at the catalogue; set once it has ended, in whatever way."""
    look_until: float = 0.0
    """`time.monotonic` up to which answers wait for that look, in s."""
    looking: threading.RLock = field(default_factory=threading.RLock)
    """Guards the beginning of that look."""
    fetching: threading.RLock = field(default_factory=threading.RLock)
    """Held while the catalogue is fetched."""
    whole: tuple[pd.DataFrame, pd.DataFrame] | None = None
    """A catalogue, and the same with what the service lists only on request."""
    kinds: dict[str, str] = field(default_factory=dict)
    """Of each model that was listed so far."""


class Session:
    """What belongs together from one `connect` to the next, and all that is counted over them.

    A kernel has one, `default`, whose parts are the short names of `ornb`. Nothing else of what
    was asked, spent or left undone is kept anywhere for the process as a whole.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.connection: Connection | None = None
        self.usage = UsageTracker(client=lambda: client())  # noqa: PLW0108 - defined below
        """One row a call of this kernel's default client."""
        self.budgets = Budgets()
        self.usage.on_bill(self.budgets.settle_bill)
        self.quota = FreeQuota(elsewhere=self.usage.free_calls_elsewhere)
        self.recordings = Recordings()
        self.warned: set[str] = set()
        """Names of fields that were taken for slips, and told of."""
        self.journaled: date | None = None
        """The last day (UTC) on which the catalogue was handed to the user's own journal."""
        self.announced = False
        """Whether it was said that nothing here is the real service."""
        self.parts: dict[type, Any] = {}

    def part(self, kind: type[_Part]) -> _Part:
        """Return the session's one object of a class, such as what batches have left undone."""
        with self.lock:
            if kind not in self.parts:
                self.parts[kind] = kind()
            return self.parts[kind]  # type: ignore[no-any-return]

    @property
    def catalog(self) -> pd.DataFrame | None:
        """The catalogue, if it was fetched."""
        return None if self.connection is None else self.connection.catalog

    def open_locks(self) -> None:
        """Open, in a copy of the process, what another thread of the original may have locked."""
        self.lock = threading.RLock()
        for part in (self.usage, self.budgets, self.quota, self.recordings):
            part._open_locks()
        if (connected := self.connection) is not None:
            connected.looking, connected.fetching = threading.RLock(), threading.RLock()


class _DefaultGate(Gate):
    """The gate of the kernel's own client, which also knows what people mistype."""

    def __call__(self, body: Mapping[str, Any], pause: Callable[[float], bool]) -> Settle | None:
        _warn_of_slips(body)
        _refuse_other_kinds(body)
        return super().__call__(body, pause)

    def quote(self, body: Mapping[str, Any], *, cached: bool = False) -> Quote:
        if not cached:
            _warn_of_slips(body)
            _refuse_other_kinds(body)
        quoted = super().quote(body, cached=cached)
        if (dated := _dated(default.catalog, body.get("model"))) is not None:
            quoted = replace(quoted, prices_of=str(dated))
        if cached:
            return quoted
        return quoted if quoted.unknown is None else replace(quoted, unknown=_why(quoted, body))


def _why(quoted: Quote, body: Mapping[str, Any]) -> str | None:
    """Why there is no bound, and what to do about it."""
    model = body.get("model")
    if near := _near(model):
        return f"{quoted.unknown} (did you mean {near}?)"
    if _is_offline() and quoted.unknown == f"no price is listed for {model}":
        if "messages" not in body:
            return "the snapshot has prices of chat models alone"
        if str(model).startswith("ornb/"):
            return "this machine's answers have no price: name a model to see what it would cost"
    return quoted.unknown


def _warn_of_slips(body: Mapping[str, Any]) -> None:
    """Warn once of a field that it looks misspelt; it is sent, since the API gains fields."""
    for name, meant in misspelt(body if "messages" in body else {}).items():
        if name not in default.warned:
            default.warned.add(name)
            warnings.warn(
                f"{name!r} is no parameter that ornb knows; it is sent as it is. "
                f"Did you mean {meant!r}?",
                stacklevel=out_of_ornb(),
            )


def _refuse_other_kinds(body: Mapping[str, Any]) -> None:
    """Refuse to chat with a model that is known to be of another kind; nothing is asked for it."""
    model, connected = body.get("model"), default.connection
    kind = "chat" if connected is None else connected.kinds.get(str(model), "chat")
    if "messages" in body and kind in CALLS and kind not in (body.get("modalities") or ()):
        raise ConfigError(
            f"{model} does not chat, so nothing was sent: it makes {kind}, by {CALLS[kind]}. "
            "ornb.models() lists the models that chat."
        )


default = Session()
usage, budget = default.usage, default.budgets.budget
record, replay = default.recordings.record, default.recordings.replay

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=default.open_locks)


def connect(
    api_key: str | None = None,
    base_url: str | None = None,
    *,
    offline: bool = False,
    recording: str | os.PathLike[str] | None = None,
    pace: Pace = "recorded",
    timeouts: Timeouts | None = None,
    retries: int = 2,
    headers: Mapping[str, str] | None = None,
    **more: Any,
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
    pace : {"recorded", "instant"}
        How fast the recording answers, as in `ornb.replay`.
    timeouts : Timeouts, optional
        Patience, in s.
    retries : int
        Times a refusal that generated nothing is asked again.
    headers : mapping of str to str, optional
        Sent with every request, as a gateway such as Portkey wants them; docs/privacy.md says how
        secret they are kept.
    **more : Any
        ``router_metadata``, ``response_cache``, ``title`` and ``referer``, see `ornb.Client`.

    Returns
    -------
    Client
        Which is also what `ornb.ask`, `ornb.models`, chats and pickers use.

    Raises
    ------
    ConfigError
        `api_key` is not a key, `base_url` not an http(s) address, another argument cannot be
        used, or there is no such argument.
    OfflineError
        The offline default does not start.

    Examples
    --------
    >>> ornb.connect(offline=True).source
    'offline'
    """
    for name in more:
        if name not in ALSO_TAKEN:
            taken = [*connect.__annotations__, *ALSO_TAKEN]
            known = [each for each in taken if each not in ("return", "more")]
            raise ConfigError(did_you_mean(name, known, "argument of connect"))
    if offline and (api_key or base_url or headers):
        raise ConfigError(
            "offline=True takes neither api_key, nor base_url, nor headers: choose one of the two."
        )
    if not offline:
        # A key from the environment goes to the address from the environment or to OpenRouter;
        # an address given here gets only a key given here.
        if base_url is None:
            api_key = api_key or os.environ.get("OPENROUTER_API_KEY", "").strip() or None
            base_url = os.environ.get("OPENROUTER_BASE_URL", "").strip() or None
        offline = api_key is None and base_url is None
        if offline and headers:
            raise ConfigError("headers go with a base_url or a key; there is neither.")
    source = answers = "live"
    if offline:
        server = _server()
        api_key, base_url, source = server.token, server.base_url, "offline"
        answers = "canned" if server.why_canned else "local"
    made = Client(
        api_key,
        base_url,
        source=source,
        answers=answers,
        on_call=book,
        timeouts=timeouts,
        retries=retries,
        headers=headers,
        before_call=_DefaultGate(
            _record_of,
            lambda model: _offers(made, model),
            default.budgets,
            default.quota,
            lambda body: offline or default.recordings.answers(body, made.base_url),
        ),
        **more,
    )
    default.quota.serve(OPENROUTER if offline else made.base_url)
    with default.lock:
        if default.connection is not None and default.connection.recording is not None:
            default.connection.recording.close()
        default.connection = Connection(made)
        if recording is not None:
            default.connection.recording = _with_recording(made, recording, pace)
    return made


def client() -> Client:
    """Return this kernel's client, made on first use.

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
    >>> ornb.client() is ornb.client()
    True
    """
    return _connected().client


def _connected() -> Connection:
    with default.lock:
        found: Any = default.connection
        if found is None:
            if connect().source == "offline" and not default.announced:
                default.announced = True
                print(_offline_words())
        elif found.client.source == "offline" and found.client.base_url != _server().base_url:
            connect(offline=True)  # its process was ended, and its port taken since
        return default.connection  # type: ignore[return-value]  # there is one by now


def models(*, refresh: bool = False, sort: str | None = None, **filters: Any) -> pd.DataFrame:
    """List the models that can be asked, one row each.

    Those that chat; the others are asked for by `kind` or `returns`.

    Parameters
    ----------
    refresh : bool
        Fetch the catalogue again; else a copy of up to five minutes serves.
    sort : str, optional
        A column: cheapest, newest, longest or best first, text from A, what is missing last; ``-``
        before it turns that round. ``"price"`` (of the prompt), ``"context"``, ``"newest"``,
        ``"intelligence"`` and ``"coding"`` will do. By default the order of the service.
    **filters : Any
        As in `ornb.catalog.filter_models`, all to be met: ``search`` (words of the id or name);
        ``kind`` (``"chat"``, ``"embeddings"``, ``"decisions"``, ..., or ``"all"``);
        ``author``, ``family`` (one or several); ``free``, ``tools``, ``reasoning``,
        ``structured_outputs`` (True or False); ``min_context`` (tokens, ``"128k"``); ``accepts``,
        ``returns`` (modalities such as ``"image"``); ``parameters`` (of a request);
        ``max_prompt_usd_per_million``, ``max_completion_usd_per_million`` (USD per million tokens);
        ``routers``, ``aliases``, ``batch`` (False leaves them out).

    Returns
    -------
    pandas.DataFrame, shape (n_models, n_columns)
        Indexed by ``id``; docs/tables.md has the columns, their units and dtypes. ``.attrs`` says
        where they come from (source, fetched_at, url, snapshot).

    Raises
    ------
    ConfigError
        There is no such filter, or a value of it is not one: an unknown kind, author, family,
        modality or parameter, a limit that is not a number.
    OrnbError
        The service cannot be reached, or refuses.

    Examples
    --------
    >>> free = ornb.models(free=True, tools=True)
    >>> bool(free["is_free"].all())
    True
    """
    connected, kind = _connected(), filters.get("kind")
    frame = _catalog(connected, refresh=refresh)
    if not {str(kind), str(filters.get("returns"))} <= {"None", "chat", "text"}:
        frame = _with_other_kinds(connected, frame)
    if str(kind) == "all":
        del filters["kind"]
    check_makers(frame, filters)
    kept = catalog.filter_models(frame, **filters) if filters else frame.copy()
    for note in kept.attrs["notes"][len(frame.attrs["notes"]) :]:
        warnings.warn(note, stacklevel=out_of_ornb())
    return kept if sort is None else sort_models(kept, sort)


_Part = TypeVar("_Part")
_History = TypeVar("_History", bound="Callable[..., pd.DataFrame]")


def _of_today(function: _History) -> _History:
    """Let a function of the price history, which stands below, take today's from `models`."""

    @functools.wraps(function)
    def asked(*args: Any, live: Any = True, **rest: Any) -> pd.DataFrame:
        return function(*args, live=models if live is True else live, **rest)

    return asked  # type: ignore[return-value]


catalog_changes = _of_today(changes.catalog_changes)
price_at = _of_today(prices.price_at)
price_history = _of_today(prices.price_history)


def _catalog(of: Connection, *, refresh: bool = False) -> pd.DataFrame:
    """The catalogue of a connection, fetched if what is at hand does not serve."""
    with of.fetching:
        now, recordings_open = datetime.now(UTC), default.recordings.opened
        frame, at = of.catalog, of.fetched_at
        # A clock that was put back makes no catalogue young.
        is_young = at is not None and timedelta() <= now - at < CATALOG_LIFETIME
        serves = of.client.source == "offline" or is_young
        if frame is None or refresh or not serves or of.fetched_under != recordings_open:
            try:
                frame = _listed(of.client)
            except OrnbError:
                _begin_look(of, 0.0)  # not asked again for the sake of estimates
                raise
            frame = frame.copy()  # which pandas consolidates, so that further copies are quick
            of.catalog, of.fetched_at, of.fetched_under = frame, now, recordings_open
            if of.client.has_key and frame.attrs["source"] == "live":
                _journal(frame)
            of.kinds |= dict(zip(frame.index, frame["kind"], strict=True))
        return frame


def _journal(frame: pd.DataFrame) -> None:
    """Keep what OpenRouter lists today in the user's own journal, by the first look of a day."""
    today = datetime.now(UTC).date()
    if default.journaled == today:
        return
    default.journaled = today
    try:
        if is_openrouters(frame):
            own.keep([*frame["raw"]])
    except (OSError, CatalogError) as error:
        warnings.warn(
            f"Today's prices were not kept in your own journal: {error} "
            f"({own.VARIABLE}=off keeps none.)",
            stacklevel=out_of_ornb(),
        )


def _listed(service: Client) -> pd.DataFrame:
    records = service.models()
    return catalog.to_frame(records, **records.origin._asdict())


def _with_other_kinds(of: Connection, usual: pd.DataFrame) -> pd.DataFrame:
    """A catalogue, and after it the models that the service lists only on request."""
    with of.fetching:
        if of.whole is None or of.whole[0] is not usual:
            asked: list[Any] = []
            with contextlib.suppress(BadRequest, NotFound):  # another server lists what it has
                asked = of.client.models(output_modalities="all")
            known = set(usual.index)
            more = [r for r in asked if isinstance(r, dict) and str(r.get("id")) not in known]
            frame = catalog.to_frame([*usual["raw"], *more]).copy() if more else usual
            frame.attrs = usual.attrs
            of.whole = usual, frame
            of.kinds |= dict(zip(frame.index, frame["kind"], strict=True))
        return of.whole[1]


def endpoints(model: Any) -> pd.DataFrame:
    """List the providers that serve a model, one row an endpoint.

    Parameters
    ----------
    model : str or ModelPicker
        Id such as ``"author/slug"``.

    Returns
    -------
    pandas.DataFrame, shape (n_endpoints, n_columns)
        docs/tables.md has the columns, their units and dtypes.

    Raises
    ------
    ConfigError
        `model` is not one.
    NotFound
        No such model; the message has the nearest ids.
    OrnbError
        The service cannot be reached, or refuses.

    Examples
    --------
    >>> sorted(ornb.endpoints("openai/gpt-4o-mini")["provider_name"].unique())
    ['Azure', 'OpenAI']
    """
    asked = model_id(model) or ""
    try:
        facts = client().endpoints(asked)
    except OrnbError as error:
        with_near_models(error, asked)
        raise
    return catalog.endpoints_to_frame(facts, **facts.origin._asdict())


def providers() -> pd.DataFrame:
    """List the providers, one row each.

    Returns
    -------
    pandas.DataFrame, shape (n_providers, n_columns)
        docs/tables.md has the columns.

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
    attach: Any = (),
    schema: Any = None,
    label: str | None = None,
    **params: Any,
) -> Reply:
    """Ask once, and wait for the answer.

    The answer is streamed underneath, so that its time to first token is known, and an interrupt
    keeps what had arrived.

    Parameters
    ----------
    prompt : str or sequence of dict
        A prompt, or messages with ``role`` and ``content``.
    model : str or ModelPicker, optional
        An id. By default the environment's ``ORNB_MODEL``, else a free model that OpenRouter
        chooses, offline this machine's, and at any other server the first that it lists.
    system : str, optional
        A system message that goes first.
    attach : path, address, bytes, Attachment or a list of them
        Images, PDFs, sound. Checked against what the model takes before anything is sent.
    schema : type or mapping, optional
        The shape of the answer: a pydantic model, a dataclass, a TypedDict, a JSON schema. The
        reply's ``value`` has the answer in it.
    label : str, optional
        Your word for the call, kept in `ornb.usage`.
    **params : Any
        Passed on untouched: ``temperature``, ``max_tokens``, ``provider``, ... A name that looks
        misspelt is told of in a warning; a word of another verb is refused by name.

    Returns
    -------
    Reply
        Shows itself in a notebook.

    Raises
    ------
    ConfigError
        The prompt is empty, or something of it cannot be sent.
    SchemaMismatch
        The answer is not of the shape that was asked for; its ``reply`` has it.
    OrnbError
        Whatever went wrong; its ``reply`` has what arrived.
    KeyboardInterrupt
        As `ornb.errors.Interrupted`; its ``reply`` has what arrived, too.

    Examples
    --------
    >>> reply = ornb.ask("What is a token?", "openai/gpt-4o-mini")
    >>> reply.source
    'canned'
    """
    service = client()
    with refusals_noted(service, model, label):
        chosen = model_id(model)
        fields = fields_of("ornb.ask", {"label": label, **params}, schema)
        messages = _messages(service, prompt, chosen, fields, system, attach)
    stream = service.stream(messages, chosen, **fields)
    try:
        for _ in stream:
            pass
    except OrnbError as error:
        with_near_models(error, chosen)
        raise
    except KeyboardInterrupt:
        raise Interrupted(stream.reply) from None
    return answered(stream.reply, schema)


def _messages(
    service: Client,
    prompt: Any,
    model: str | None,
    fields: Mapping[str, Any],
    system: str | None,
    attach: Any,
) -> list[dict[str, Any]]:
    listed = functools.partial(catalogue_of, service)
    return messages_of(prompt, {model: fields}, system=system, attach=attach, listed=listed)


@contextlib.contextmanager
def refusals_noted(service: Client | None, model: Any, label: Any) -> Iterator[None]:
    """Record in the ledger a call that is refused before it is made: sent, it would be there."""
    try:
        yield
    except (ConfigError, BudgetExceeded) as error:
        service, named = service or client(), None
        with contextlib.suppress(OrnbError):
            named = model_id(tuple(model) or "" if isinstance(model, list) else model)
        if service.on_call is not None:
            label = label if isinstance(label, str) else None
            service.on_call(not_sent(error, service._answers, named, label))
        raise


def catalogue_of(service: Client) -> pd.DataFrame | None:
    """Return the models of a client; None where it does not list them."""
    with contextlib.suppress(OrnbError):
        return models() if _is_ours(service) else _listed(service)
    return None


_ALONE = (
    "Offline, the snapshot's chat models alone can be asked: ornb.models() lists them. "
    "ornb.decide, ornb.embed and ornb.rerank ask models of their kind."
)


def _is_offline() -> bool:
    return default.connection is not None and default.connection.client.source == "offline"


def _is_unlisted_offline(error: OrnbError, model: str | None) -> bool:
    """Whether the snapshot lacks a model of an author that it knows."""
    is_new = _is_offline() and refuses_model(error, model) and _ALONE not in str(error)
    author, listed = str(model).partition("/")[0], models().index if is_new else ()
    return model not in listed and any(each.startswith(f"{author}/") for each in listed)


def _is_ours(service: Client) -> bool:
    return default.connection is not None and service is default.connection.client


def with_near_models(
    error: OrnbError, choice: Any, service: Client | None = None, kind: str = "chat"
) -> OrnbError:
    """Add near ids to the refusal of a model's id; the kernel's own client lists them."""
    if service is None or _is_ours(service):
        with contextlib.suppress(OrnbError):
            model = model_id(choice)
            near = _near(model, kind) if refuses_model(error, model) else ""
            if near and near not in str(error):
                error.args = (f"{error} Did you mean {near}?",)
            elif not near and kind == "chat" and _is_unlisted_offline(error, model):
                error.args = (f"{error} {_ALONE}",)
    return error


def refuses_model(error: OrnbError | None, model: str | None) -> bool:
    """Return whether a call failed because there is no such model: the service names its id then.

    For instance "... is not a valid model ID", "No endpoints found for ...".
    """
    if not isinstance(error, BadRequest | NotFound) or not model or model.startswith("ornb/"):
        return False
    said = error.raw.get("message") if isinstance(error.raw, dict) else error
    return model.casefold() in str(said).casefold()


def _near(model: Any, kind: str = "chat") -> str:
    """Listed ids that are near to one that is not, for people; empty where there are none."""
    if not isinstance(model, str) or model.startswith("ornb/"):
        return ""
    with contextlib.suppress(OrnbError):
        listed = models() if kind == "chat" else models(kind="all")
        near = listed if kind == "chat" else listed[listed["kind"] == kind]
        return "" if model in listed.index else " or ".join(closest(model, near))
    return ""


def quote(
    prompt: Messages,
    model: Any = None,
    *,
    system: str | None = None,
    attach: Any = (),
    schema: Any = None,
    label: str | None = None,
    **params: Any,
) -> Quote:
    """Return what a call can cost, and is likely to, without making it.

    Parameters
    ----------
    prompt : str or sequence of dict
        As for `ask`.
    model : str or ModelPicker, optional
        By default as for `ask`.
    system, attach, schema, label
        As for `ask`.
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
        `prompt` or `model` is not one, or something of it could not be sent.
    OrnbError
        The catalogue cannot be had.

    Examples
    --------
    >>> asked = ornb.quote("What is a token?", "openai/gpt-4o-mini", max_tokens=1000)
    >>> asked.likely_usd < asked.worst_usd
    True
    """
    service, chosen = client(), model_id(model)
    fields = fields_of("ornb.quote", {"label": label, **params}, schema)
    messages = _messages(service, prompt, chosen, fields, system, attach)
    gate = service.before_call
    if not isinstance(gate, Gate):
        raise ConfigError("The client of this kernel has no prices to quote from.")
    del fields["label"]
    return gate.quote({"messages": messages, "model": chosen, **fields})


def quota(*, wait: bool | None = None, ask: bool = True) -> Quota:
    """Return how many calls of free models are left, for the minute and the day.

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
        Shows itself. OpenRouter's limits are not those of another server, which tells none.

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
        default.quota.wait = wait
    if ask:
        service = client()
        if service.source == "live" and service.has_key:
            with contextlib.suppress(OrnbError):  # what is known so far stands
                default.quota.believe(service.key())
    return default.quota.facts()


def activity(**query: str) -> pd.DataFrame:
    """List what the account was charged, by the service's own books.

    Parameters
    ----------
    **query : str
        Parameters of ``GET /activity``, e.g. ``date="2026-08-20"``.

    Returns
    -------
    pandas.DataFrame, one row a UTC day, model and provider
        The last 30 finished days; docs/tables.md has the columns. Offline, empty.

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
        error.args = (
            "The account's activity is for management keys only. ornb.usage.df and, with "
            "ornb.usage.persist(), ornb.usage.history() have the calls made here.",
        )
        raise


def model_id(choice: Any = None) -> str | None:
    """Return the id of what a person hands over as a model, or of the default.

    None only when the service has no default.
    """
    value = getattr(choice, "value", choice)
    if value is None or (isinstance(value, tuple) and not value):
        return default_model()
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"model is {value!r}; give one id such as 'openai/gpt-4o-mini'.")
    if value.strip().startswith("sk-"):
        raise ConfigError(
            "model is a key, so nothing was sent. Give one id such as 'openai/gpt-4o-mini'; a key "
            "goes to ornb.connect(api_key=...)."
        )
    return value.strip()


def default_model() -> str | None:
    """Return the model that answers when none is chosen.

    Of a recording that is replayed, the one that was the default then. Else ``ORNB_MODEL`` if set;
    else a free one at OpenRouter, this machine's offline, the first listed of any other server.
    """
    tapes = default.recordings
    recorded = tapes.default_model(client().base_url) if tapes.opened else None
    if recorded:
        return recorded
    chosen = os.environ.get("ORNB_MODEL", "").strip() or _own_default()
    if chosen and tapes.opened:
        tapes.note_default_model(chosen)
    return chosen


def _own_default() -> str | None:
    service = client()
    if service.source == "offline":
        return CANNED if _server().why_canned else LOCAL
    if service.base_url == OPENROUTER:
        return LIVE_DEFAULT
    listed = models(kind="chat").index
    return str(listed[0]) if len(listed) else None


def book(reply: Reply, *estimate_usd: float | None) -> None:
    """Keep a call of the default client in `usage`, with the estimate if it was made already."""
    amount = None
    try:
        amount = estimate_usd[0] if estimate_usd else estimate(reply)
    finally:  # whatever becomes of its estimate, an interrupt in it too, the row is kept
        usage.record(reply, estimate_usd=amount)


def estimate(reply: Reply, listed: pd.DataFrame | None = None) -> float | None:
    """Return what the listed prices make of a call's tokens, in USD; None where that is not known.

    The first call of a connection that finds no catalogue fetches one, and waits for it up to
    `ESTIMATE_PATIENCE_S`; later ones never wait, and only `models` asks again if it failed.
    `listed` is the catalogue of another client.
    """
    used = reply.usage
    if used.prompt_tokens is None or used.completion_tokens is None:
        return None
    frame = _cached_catalog() if listed is None else listed
    whole = None if default.connection is None or listed is not None else default.connection.whole
    if whole is not None and reply.requested_model not in whole[0].index:
        frame = whole[1]
    if frame is None or reply.requested_model not in frame.index:
        return None
    dated = _dated(frame, reply.requested_model)
    record = mapping(frame.at[reply.requested_model, "raw"] if dated is None else dated.record)
    amount = estimate_reply(record.get("pricing"), reply)
    return None if amount is None else float(amount)


def _cached_catalog() -> pd.DataFrame | None:
    """The catalogue, if it is here or soon is; fetched for this once a connection."""
    of = default.connection
    if of is None or of.catalog is not None:
        return default.catalog
    ended, is_first = _begin_look(of, ESTIMATE_PATIENCE_S.get(of.client.source, 0.0))
    if is_first:
        look = threading.Thread(target=_look, args=(of, ended), daemon=True)
        try:
            look.start()
        except RuntimeError:  # no threads, as in a browser's Python
            _look(of, ended)
    ended.wait(max(0.0, of.look_until - time.monotonic()))
    return of.catalog


def _begin_look(of: Connection, patience_s: float) -> tuple[threading.Event, bool]:
    """Return the event that ends the first look at the catalogue, and whether it is to begin."""
    with of.looking:
        is_first = of.looked is None
        if of.looked is None:
            of.looked, of.look_until = threading.Event(), time.monotonic() + patience_s
        return of.looked, is_first


def _look(of: Connection, ended: threading.Event) -> None:
    with contextlib.suppress(Exception):  # the row counts for more than its estimate
        _catalog(of)
    ended.set()


def likely_cost(messages: Messages, model: Any = None, **params: Any) -> str:
    """Return what a call is likely to cost, from what is at hand: no request is made for it."""
    gate, offline = client().before_call, client().source == "offline"
    if offline:
        models()  # no further than this machine
    if default.catalog is None or not isinstance(gate, Gate):
        return ""
    asked = messages_from(messages, may_be_empty=True)
    body = {"messages": asked, "model": model_id(model), **params}
    likely = gate.quote(body, cached=True).likely_usd
    if likely is None:
        return ""
    return f"about {format_usd(float(likely))}{' if it were live' if offline else ''}"


def _record_of(model: str) -> Any:
    """The catalogue record of an id, fetched if need be; None when it is not listed."""
    listed, connected = models(), default.connection
    if connected is not None and connected.kinds.get(model, "chat") != "chat":
        listed = models(kind="all")
    if (dated := _dated(listed, model)) is not None:
        return dated.record
    return listed.at[model, "raw"] if model in listed.index else None


def _dated(listed: pd.DataFrame | None, model: Any) -> prices.Dated | None:
    """The newest price that is known of a model, and its day; None where today's are listed."""
    day = None if listed is None else listed.attrs.get("snapshot")
    if listed is None or not day or listed.attrs.get("source") != "snapshot":
        return None
    if not isinstance(model, str) or model not in listed.index:
        return None
    return prices.newest_price(listed.at[model, "raw"], str(day))


def _offers(service: Client, model: str) -> Mapping[str, Any]:
    """A model's endpoints; where its price is newer than theirs, at that price as well."""
    found, listed = service.endpoints(model), default.catalog
    dated = _dated(listed, model)
    if listed is None or dated is None or dated.record is listed.at[model, "raw"]:
        return found
    each = [one for one in found.get("endpoints") or () if isinstance(one, dict)]
    newer = [one | {"pricing": dated.record["pricing"]} for one in each]
    return {**found, "endpoints": [*each, *newer]}


def price_days(of: Iterable[str | None]) -> str:
    """Return, for people, of which days the prices of some models are; empty where today's are."""
    found = (_dated(default.catalog, model) for model in of)
    days = sorted({dated.day for dated in found if dated is not None})
    return f"prices of {' to '.join(dict.fromkeys((days[0], days[-1])))}" if days else ""


def _server() -> OfflineServer:
    from .offline import start

    return start()


def _offline_words() -> str:
    server = _server()
    return OFFLINE_WORDS.format(snapshot=aged(server.snapshot_date), answers=_answers(server))


def _answers(server: OfflineServer) -> str:
    return f"canned texts; {server.why_canned}" if server.why_canned else LOCAL_WORDS


def _with_recording(client: Client, path: str | os.PathLike[str], pace: Pace) -> Any:
    """Play a recording beside a client, or make it; and say what answers from now on."""
    path = path_of(path)
    if os.environ.get(RECORD_VARIABLE, "").strip():
        print(f"ornb records the calls of this notebook to {path}.")
        return default.recordings.record(path)
    if client.source != "offline":
        print(
            f"ornb asks {urlsplit(client.base_url).netloc}: answers are live. The recording "
            f"{path.name} answers where there is no key."
        )
        return None
    default.announced = True
    try:
        played = default.recordings.stand_in(path, client.base_url, pace)
    except ConfigError as error:  # the notebook goes on without it
        print(f"{error}\n{_offline_words()}")
        return None
    made = " and ".join(MADE_BY.get(source, source) for source in played.made_by)
    server = _server()
    print(
        RECORDING_WORDS.format(
            day=f"{played.recorded_at:%Y-%m-%d}",
            made=made,
            name=played.path.name,
            answers=_answers(server),
            snapshot=aged(server.snapshot_date),
        )
    )
    return played
