"""Requests as a piece of work: plain data in, replies out, in a thread or in another process.

Work that is pickled on its way is done there, by a client of that process, else here, by the
caller's. How a worker gets the key: threads share the caller's connections, and nothing travels. A
`concurrent.futures.ProcessPoolExecutor` gets it inside the work, through a pipe between processes
of this machine. Any other executor may send its work over a network: there each worker reads
``OPENROUTER_API_KEY`` of its own environment, and uses it only if it is the caller's, which a hash
tells; so no key of somebody else's pays, and none goes to a server that it is not meant for. The
token of the offline server is good for nothing else and always travels. Headers of the caller's own
(``connect(headers=...)``) go the same ways; their variable is ``ORNB_HEADERS``, a JSON object.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..api.client import Client, Timeouts
from ..api.reply import Reply, not_sent
from ..api.service import Secret
from ..errors import ConfigError, OrnbError

if TYPE_CHECKING:
    from ..api.stream import Stream

TURN_S = 0.5
"""Seconds after which a worker begins no further request of a piece of work."""


class Outcomes(list[tuple[Reply, OrnbError | None]]):
    """What came of a piece of work, request by request; those at its end may not be begun."""


class PortableSecret(Secret):
    """A key on its way to a process of one's own: unlike others, it can be pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "PortableSecret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PortableSecret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> Any:
        return PortableSecret, (self._value,)


@dataclass(frozen=True)
class Address:
    """Where a worker of another process sends its requests, and what it may show there."""

    base_url: str
    source: str
    engine: str
    """Whose workers they are, for people."""
    retries: int
    timeouts: Timeouts
    headers: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, Any], ...] = ()
    """What `Client.asks` has."""
    key: PortableSecret | None = None
    """The key itself, where it may travel."""
    key_hash: str | None = field(default=None, repr=False)
    """Else what the key of the worker's environment must hash to; None: no key is sent."""
    secret_headers: PortableSecret | None = None
    """Headers of the caller's own as JSON, where they may travel."""
    headers_hash: str | None = field(default=None, repr=False)
    """Else what those of the worker's environment must hash to; None: none are sent."""


@dataclass(frozen=True)
class Task:
    """One request."""

    body: dict[str, Any] = field(repr=False)
    number: str
    """A different one each time: some executors take equal work for done already."""
    label: str | None = None


def address_of(client: Client, executor: Executor) -> Address:
    """Return where workers of other processes ask; the executor decides whether the key travels."""
    service = client._service
    key = None if service.key is None else service.key.reveal()
    own = {name: value.reveal() for name, value in service.secret_headers.items()}
    headers = json.dumps(own, sort_keys=True) if own else None
    kind = type(executor)
    is_near = issubclass(kind, ProcessPoolExecutor) or kind.__module__.startswith("concurrent.")
    travels = client.source == "offline" or is_near
    return Address(
        client.base_url,
        client.source,
        f"{kind.__module__.partition('.')[0]}'s {kind.__name__}",
        client.retries,
        service.timeouts,
        tuple(sorted(service._headers.items())),
        tuple(client.asks.items()),
        PortableSecret(key) if key is not None and travels else None,
        _hash(key) if key is not None and not travels else None,
        PortableSecret(headers) if headers is not None and travels else None,
        _hash(headers) if headers is not None and not travels else None,
    )


class Work:
    """Asks by one client, from many threads, and can stop all of them.

    The client's connections are shared; its hooks are not called here. Pickled, it becomes the
    same by a client of another process.
    """

    def __init__(self, client: Client, executor: Executor) -> None:
        self._client, self._executor = client, executor
        self._caller = copy.copy(client)  # the caller asks its hooks, before and after
        self._caller.before_call = self._caller.on_call = None
        self._open: set[Stream] = set()
        self._stopped = False
        self._lock = threading.Lock()
        self.is_here = False
        """Whether some of it was done in this process, and can be stopped."""

    def __reduce__(self) -> Any:
        return _Elsewhere, (self._address,)

    @functools.cached_property
    def _address(self) -> Address:
        return address_of(self._client, self._executor)

    def __call__(self, tasks: Sequence[Task]) -> Outcomes:
        """Ask one after the other, as many as fit a moment."""
        self.is_here, began, outcomes = True, time.monotonic(), Outcomes()
        for task in tasks:
            outcomes.append(self._ask(task))
            if time.monotonic() - began > TURN_S:
                break
        return outcomes

    def _ask(self, task: Task) -> tuple[Reply, OrnbError | None]:
        body = dict(task.body)
        messages, model = body.pop("messages", None), body.pop("model", None)
        if messages is None:
            stream = self._caller._other_call(model, {"label": task.label, **body})
        else:
            stream = self._caller.stream(messages, model, label=task.label, **body)
        with self._lock:
            if self._stopped:
                return Reply(requested_model=model, status="stopped", label=task.label), None
            self._open.add(stream)
        error: OrnbError | None = None
        try:
            for _ in stream:
                pass
        except OrnbError as failure:
            error = failure
            error.reply = None  # it goes beside, once
        finally:
            with self._lock:
                self._open.discard(stream)
        # What arrived byte by byte is of no use in a table, and heavy on the way back.
        reply = stream.reply
        images = ("",) * len(reply.images)  # a row says that there were some
        names = {name: getattr(reply, name) for name in ("model", "provider", "finish_reason")}
        shared: dict[str, Any] = {
            name: sys.intern(value) if type(value) is str else value
            for name, value in names.items()
        }
        return replace(reply, raw_chunks=(), logprobs=(), images=images, **shared), error

    def stop(self) -> None:
        """Cut all calls under way, and let no other begin."""
        with self._lock:
            self._stopped, streams = True, list(self._open)
        for stream in streams:
            stream.close()


@dataclass(frozen=True)
class _Elsewhere:
    """The same work, by a client of the process that does it."""

    address: Address

    def __call__(self, tasks: Sequence[Task]) -> Outcomes:
        try:
            client = _client(self.address, os.getpid())
        except OrnbError as error:
            return Outcomes((_unsent(task, error), error) for task in tasks)
        return Work(client, InTurn())(tasks)


class InTurn(Executor):
    """Does work at once, in the calling thread, where no other can be started."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do a piece of work now, and return a future that is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as every executor does
            future.set_exception(error)
        return future


def check_executor(executor: Executor) -> None:
    """Refuse what takes no work, and a view of ipyparallel that does all work on each engine."""
    if not callable(getattr(executor, "submit", None)):
        raise ConfigError(
            f"executor is {executor!r}; give one of concurrent.futures, or for Dask its Client's "
            "get_executor(pure=False)."
        )
    view: Any = getattr(executor, "view", None)
    kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(view).__mro__}
    if ("ipyparallel", "DirectView") in kinds and len(view) > 1:
        raise ConfigError(
            f"This executor does all work on each of {len(view)} engines, so each row would be "
            f"paid {len(view)} times. Nothing was sent. Take client.executor(), which shares the "
            "rows out among them."
        )


def own_executor(at_once: int) -> ThreadPoolExecutor | InTurn:
    """Make an executor for calls that wait; `InTurn` where a browser has no threads."""
    try:
        probe = threading.Thread(target=int)
        probe.start()
    except RuntimeError:
        return InTurn()
    probe.join()
    return ThreadPoolExecutor(at_once, "ornb-batch")


@functools.lru_cache(maxsize=4)
def _client(address: Address, process: int) -> Client:
    """One client a process: a fork must not share the connections of its parent."""
    del process
    key = None if address.key is None else address.key.reveal()
    if address.key_hash is not None:
        key = _of_environment("OPENROUTER_API_KEY", address.key_hash, str, address.engine)
    own = None if address.secret_headers is None else address.secret_headers.reveal()
    if address.headers_hash is not None:
        own = _of_environment("ORNB_HEADERS", address.headers_hash, _canonical, address.engine)
    headers = dict(address.headers)
    return Client(
        key,
        address.base_url,
        source=address.source,
        retries=address.retries,
        timeouts=address.timeouts,
        headers=None if own is None else json.loads(own),
        title=headers.get("X-OpenRouter-Title", "ornb"),
        referer=headers.get("HTTP-Referer", "http://localhost/ornb"),
        **dict(address.asks),
    )


def _of_environment(name: str, wanted: str, read: Callable[[str], str], engine: str) -> str:
    """Return what a variable of this worker's holds, if it is the caller's."""
    value = read(os.environ.get(name, "").strip())
    if _hash(value) != wanted:
        state = f"another {name} than yours" if value else f"no {name}"
        raise ConfigError(
            f"A worker of {engine} has {state} in its environment, and keys are not sent to it. "
            "Set it where the workers are started, and before they are."
        )
    return value


def _canonical(headers: str) -> str:
    try:
        return json.dumps(json.loads(headers), sort_keys=True)
    except ValueError:
        return headers


def _unsent(task: Task, error: OrnbError) -> Reply:
    return not_sent(error, "live", task.body.get("model"), task.label)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
