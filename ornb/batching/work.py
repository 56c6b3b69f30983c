"""One request as a piece of work: plain data in, a reply out, in a thread or in another process.

How a worker gets the key: threads share the caller's connections, and nothing travels. A
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
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..client import Client, Timeouts
from ..errors import ConfigError, OrnbError
from ..wire.reply import Reply
from ..wire.service import Secret

if TYPE_CHECKING:
    from ..wire.stream import Stream

__all__ = ["Address", "Calls", "InTurn", "Task", "Travelling", "address_of", "ask", "own_executor"]

Outcome = tuple[Reply, OrnbError | None]


class Travelling(Secret):
    """A key on its way to a process of one's own: unlike others, it can be pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Travelling(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Travelling) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> Any:
        return Travelling, (self._value,)


@dataclass(frozen=True)
class Address:
    """Where a worker of another process sends its requests, and what it may show there."""

    base_url: str
    source: str
    retries: int
    timeouts: Timeouts
    headers: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, Any], ...] = ()
    """What `Client.asks` has."""
    key: Travelling | None = None
    """The key itself, where it may travel."""
    key_hash: str | None = field(default=None, repr=False)
    """Else what the key of the worker's environment must hash to; None: no key is sent."""
    secret_headers: Travelling | None = None
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
    travels = client.source == "offline" or isinstance(executor, ProcessPoolExecutor)
    return Address(
        client.base_url,
        client.source,
        client.retries,
        service.timeouts,
        tuple(sorted(service._headers.items())),
        tuple(client.asks.items()),
        Travelling(key) if key is not None and travels else None,
        _hash(key) if key is not None and not travels else None,
        Travelling(headers) if headers is not None and travels else None,
        _hash(headers) if headers is not None and not travels else None,
    )


def ask(address: Address, task: Task) -> Outcome:
    """Do one piece of work, in whatever process; the error is returned, not raised."""
    try:
        client = _client(address, os.getpid())
    except OrnbError as error:
        return _unsent(task, error), error
    return Calls(client)(task)


class Calls:
    """Asks by one client, from many threads, and can stop all of them.

    The client's connections are shared; its hooks are not called here.
    """

    def __init__(self, client: Client) -> None:
        self._client = copy.copy(client)  # the caller asks its hooks, before and after
        self._client.before_call = self._client.on_call = None
        self._open: set[Stream] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def __call__(self, task: Task) -> Outcome:
        """Do one piece of work."""
        body = dict(task.body)
        messages, model = body.pop("messages"), body.pop("model", None)
        stream = self._client.stream(messages, model, label=task.label, **body)
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
        return replace(reply, raw_chunks=(), logprobs=(), images=images), error

    def stop(self) -> None:
        """Cut all calls under way, and let no other begin."""
        with self._lock:
            self._stopped, streams = True, list(self._open)
        for stream in streams:
            stream.close()


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
        key = _of_environment("OPENROUTER_API_KEY", address.key_hash, str)
    own = None if address.secret_headers is None else address.secret_headers.reveal()
    if address.headers_hash is not None:
        own = _of_environment("ORNB_HEADERS", address.headers_hash, _canonical)
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


def _of_environment(name: str, wanted: str, read: Callable[[str], str]) -> str:
    """Return what a variable of this worker's holds, if it is the caller's."""
    value = read(os.environ.get(name, "").strip())
    if _hash(value) != wanted:
        state = f"another {name} than yours" if value else f"no {name}"
        raise ConfigError(
            f"A worker of the executor has {state} in its environment, and keys are not sent "
            "to it. Set it where the workers are started; with Dask's LocalCluster, before "
            "the cluster is."
        )
    return value


def _canonical(headers: str) -> str:
    try:
        return json.dumps(json.loads(headers), sort_keys=True)
    except ValueError:
        return headers


def _unsent(task: Task, error: OrnbError) -> Reply:
    model = task.body.get("model")
    return Reply(requested_model=model, status="error", error=str(error), label=task.label)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
