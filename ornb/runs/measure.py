"""Timed calls: models x prompts x connections x concurrency, one row a request.

What makes the times comparable:

- the calls of one model do not follow each other: in every repeat each kind of call has its turn,
  in an order drawn anew, so that a slow quarter of an hour hits all alike;
- requests of one burst start together, on connections that were opened before, or on new ones;
- each prompt begins with a few characters of its own, so that no cache has it, unless that is
  what is to be measured;
- nothing is asked twice: a call that was refused is a row, and no pause hides in a time.

Which second is which, and how far the stamps are off, is in docs/latency.md.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import platform
import random
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import columns as c
from .. import session
from ..api.body import text_of
from ..api.refusals import mapping
from ..api.reply import ONE_PIECE
from ..api.transport import Wire
from ..columns import Column
from ..errors import OrnbError, whole
from ..ledger.budget import exact_usd
from ..ledger.table import USAGE_COLUMNS
from ..ledger.tracker import UsageTracker
from . import measure_plan as plans
from .measure_plan import MARK, MeasurePlan

if TYPE_CHECKING:
    from ..api.body import Messages
    from ..api.client import Client
    from ..api.reply import Reply
    from ..api.stream import Stream
    from .measure_plan import Burst

_OWN: dict[str, Column] = {
    "order": Column("int64", "place in the run, from 0; requests of a burst started together"),
    "burst": Column("int64", "number of the burst, from 0: requests that started together"),
    "prompt": Column("str", "label of the prompt"),
    "repeat": Column("Int64", "number of the repeat, from 0; missing for warm-up calls"),
    "concurrency": Column("int64", "requests in the burst"),
    "connection": Column("str", "asked for: warm (kept open) or cold (made anew)"),
    "warmup": Column("bool", "a call to warm up with; summaries leave it out"),
    "warm": Column("bool", "the model had been called before, and a kept connection served"),
    "connection_reused": Column("boolean", "whether a kept connection served; missing if not sent"),
    "queued_s": Column("float64", "seconds from the start of the burst to this one's first write"),
    "connect_s": Column("float64", "seconds before that for name, TCP, TLS; missing if reused"),
    "time_to_first_byte_s": Column("float64", "seconds from the first write to the answer's head"),
    "time_to_first_reasoning_s": Column("float64", "seconds to the first reasoning, if any"),
    "gap_p50_s": Column("float64", "seconds between two pieces of text, median of this answer"),
    "gap_p95_s": Column("float64", "seconds between two pieces of text, p95 of this answer"),
    "gaps_s": Column("object", "tuple of float: all of them; 0 if one read held both pieces"),
    "tokens_per_second_after_first": Column(
        "float64", "(completion_tokens - 1) / seconds from the first to the last piece of text"
    ),
    "server_time_to_first_token_s": Column(
        "float64", "seconds by the server's own clock; only the offline server tells"
    ),
}


_ORDER = (
    "order burst started_at model served_model provider source prompt repeat concurrency "
    "connection warmup warm connection_reused queued_s connect_s time_to_first_byte_s "
    "arrival time_to_first_reasoning_s time_to_first_token_s time_to_first_answer_s gap_p50_s "
    "gap_p95_s gaps_s duration_s tokens_per_second tokens_per_second_after_first "
    "server_time_to_first_token_s prompt_tokens completion_tokens reasoning_tokens "
    "cached_tokens cost_usd byok_usd cost_source estimate_usd finish_reason status error "
    "http_status generation_id"
)
MEASURE_COLUMNS = {name: _OWN.get(name) or USAGE_COLUMNS[name] for name in _ORDER.split()}
"""Columns of the frame that `measure` gives, in their order."""

PATIENCE = 0.001
"""Seconds a thread keeps the interpreter while others wait (`sys.setswitchinterval`): Python's own
5 ms would be added to a time whenever another thread computes."""


def measure(
    models: Any = None,
    prompt: Messages | Mapping[str, Messages] = "Name three uses of a paper clip.",
    *,
    system: str | None = None,
    attach: Any = (),
    schema: Any = None,
    repeats: int = 10,
    concurrency: int | Sequence[int] = 1,
    warmup: int = 1,
    connection: str | Sequence[str] = "warm",
    prompt_cache: bool = False,
    provider: str | Sequence[str] | Mapping[str, Any] | None = None,
    max_tokens: int | None = 100,
    max_usd: float | str | None = 1.0,
    seed: int | None = None,
    label: str | None = "measure",
    progress: bool = True,
    **params: Any,
) -> pd.DataFrame:
    """Time calls: repeated, in mixed order, warmed up, each one a row.

    What the run is likely to cost, and can cost at most, is printed before the first call.

    Parameters
    ----------
    models : str, sequence of str, pandas.DataFrame or ModelPicker, optional
        Ids; of a frame its index. By default the model that `ornb.ask` asks.
    prompt : str, sequence, or mapping of str to prompt
        One prompt, several, or several under labels of yours. A sequence of dicts is one prompt,
        made of messages.
    system : str, optional
        A system message that goes before each prompt.
    attach : path, address, bytes, Attachment or a list of them
        Goes with each prompt.
    schema : type or mapping, optional
        The shape that is asked for, see `ornb.ask`. The answers are timed, and not read.
    repeats : int
        Bursts of each kind (model, prompt, connection, concurrency).
    concurrency : int or sequence of int
        Requests of a burst, which start together; 1 to 64. Several levels are measured in turns.
    warmup : int
        Calls of each model and prompt that go ahead. They are rows too, with ``warmup`` true.
    connection : {"warm", "cold"} or sequence of them
        Kept connections, opened before the times begin, or a new one for each request.
    prompt_cache : bool
        False puts a few characters before each prompt, so that no cache of the provider has it.
        True sends it unchanged, and ``cached_tokens`` tells what came of that.
    provider : str, sequence of str or mapping, optional
        Providers (slugs or tags) that may serve, and no other; or the API's own ``provider``
        object. Else whoever served is in the column ``provider``.
    max_tokens : int, optional
        Longest answer: bounds the cost. Thoughts of a reasoning model count. None sets no limit.
    max_usd : float or str, optional
        The run is refused if it could cost more. None allows anything. Offline nothing is billed,
        and nothing is refused.
    seed : int, optional
        Of the order, and of what is put before the prompts: the same seed sends the same requests,
        which a cache may then know. By default another one each time; it is in ``.attrs``.
    label : str, optional
        Kept with each call in `ornb.usage`.
    progress : bool
        Whether to show a bar.
    **params : Any
        Passed on untouched: ``temperature``, ``reasoning``, ...

    Returns
    -------
    pandas.DataFrame, one row a request
        In the order of their start; docs/tables.md has the columns. Failures are rows with
        ``status`` "error"; an interrupt ends the run and gives what there is. ``.attrs`` has the
        seed, the time, the versions and the prompts.

    Raises
    ------
    ConfigError
        An argument makes no sense: no models, no prompt, no such connection ...
    BudgetExceeded
        The run could cost more than `max_usd`, and would be billed. Nothing was sent.
    OrnbError
        The client of this kernel cannot be made.

    Examples
    --------
    >>> times = ornb.measure("openai/gpt-4o-mini", "Hi", repeats=2, max_tokens=3, progress=False)
    3 calls: 1 model x 1 prompt x 2 repeats, 1 to warm up.
    Offline nothing is billed; live it would cost about $0.000035, $0.00019 at most.
    These are prices of 2026-08-22.
    >>> times[["warmup", "status", "completion_tokens"]].values.tolist()
    [[True, 'ok', 3], [False, 'ok', 3], [False, 'ok', 3]]
    >>> ornb.latency_summary(times)["n"].item()
    2

    References
    ----------
    OpenRouter docs, "Provider routing" (``only``) and "Prompt caching" (caches know prompts by
    their beginning); 2026-08-22.
    """
    service = session.client()
    with session.refusals_noted(service, models, label):
        ids, drawn = plans.ids_of(models), random.SystemRandom().getrandbits(32)
        fields = plans.request_of(service, provider, max_tokens, {"label": label, **params}, schema)
        plan = MeasurePlan(
            models=ids,
            prompts=plans.prompts_of(prompt, dict.fromkeys(ids, fields), service, system, attach),
            repeats=whole("repeats", repeats, 1),
            levels=plans.levels_of(concurrency),
            warmup=whole("warmup", warmup, 0),
            connections=plans.connections_of(connection),
            prompt_cache=prompt_cache,
            params=fields,
            seed=drawn if seed is None else whole("seed", seed, 0),
        )
        cap = None if max_usd is None else exact_usd(max_usd, f"max_usd is {max_usd!r}; that")
        price = plans.price_of(plan)
        print(plan.describe(), price.describe(service, cap), sep="\n")
        offline = service.source == "offline"
        if cap is not None and not offline:
            price.check(cap)
    run = _Run(plan, service)
    holds = offline or cap is None or not price.unknown
    with contextlib.nullcontext() if holds else session.budget(cap, allow_unknown=True):
        run.make(progress=progress)
    return run.frame()


# --- the run --------------------------------------------------------------------------------------


class _Start:
    """Holds requests back until all of them are ready to be written, then lets them go in turn.

    Making a request takes a millisecond of one core. Else the first answers would be read while the
    last requests are made; and threads that wake at once would be stamped before they can write.
    """

    def __init__(self, runners: int) -> None:
        self._missing = runners
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._turn.acquire()
        self.at: float | None = None
        """``perf_counter`` when they were let go, in s."""

    def arrive(self) -> None:
        """Take one of those that are waited for off the list."""
        with self._lock:
            self._missing -= 1
            last = self._missing == 0
        if last:
            self.go()

    def go(self) -> None:
        """Release all that are waiting, and all that come later."""
        with self._lock:
            if self.at is None:
                self.at = perf_counter()
                self._turn.release()

    @contextlib.contextmanager
    def turn(self) -> Iterator[float]:
        """Arrive, wait for the others, and keep them back meanwhile; gives the s since all may."""
        self.arrive()
        with self._turn:
            yield perf_counter() - (self.at or 0.0)


@dataclass
class _Shot:
    """One request: its call, and the moments of its pieces."""

    stream: Stream
    burst: Burst
    start: _Start
    queued_s: float | None = None
    read_at: list[float] = field(default_factory=list)
    failure: OrnbError | None = None

    def fire(self) -> None:
        """Ask, once all are ready; what goes wrong is in the reply."""
        stream, note = self.stream, self.read_at.append
        stream.turn = self._in_line
        try:
            for event in stream:
                if event.type in ("text", "reasoning"):
                    note(stream.read_at)
        except OrnbError as error:
            self.failure = error  # its row says so
        finally:
            if stream.turn is not None:  # it ended before it was ready
                self.start.arrive()

    @contextlib.contextmanager
    def _in_line(self) -> Iterator[None]:
        self.stream.turn = None
        with self.start.turn() as self.queued_s:
            yield


class _Run:
    """The calls of a plan, and what came of them."""

    def __init__(self, plan: MeasurePlan, service: Client) -> None:
        self._plan = plan
        self._started_at = datetime.now(UTC)
        self._service = service
        self._warm = _own_connections(service)
        self._marks = random.Random(f"marks {plan.seed}")  # noqa: S311 - unlike, not secret
        self._opened = 0
        self._tracker = UsageTracker()
        self._rows: list[dict[str, Any]] = []
        self._called: set[str | None] = set()
        self.interrupted = False

    def make(self, *, progress: bool) -> None:
        """Make all calls, or as many as an interrupt allows."""
        from tqdm.auto import tqdm

        bar = tqdm(total=self._plan.calls, disable=not progress, unit="call", leave=False)
        with bar, ThreadPoolExecutor(max(self._plan.levels)) as threads:
            try:
                for burst in self._plan.bursts():
                    with _undisturbed():
                        shots = self._fire(burst, threads)
                    self._keep(shots)
                    bar.update(burst.concurrency)
                    if self.interrupted:
                        break
            except KeyboardInterrupt:  # between two bursts
                self.interrupted = True
            finally:
                self._warm.close()
        if self.interrupted:
            print(f"Interrupted: {len(self._rows)} of {self._plan.calls} calls were made.")

    def frame(self) -> pd.DataFrame:
        """The rows as a typed frame."""
        usage = self._tracker.df
        own = {name: [row[name] for row in self._rows] for name in _OWN}
        columns = {
            name: c.typed(own[name], MEASURE_COLUMNS[name].dtype) if name in own else usage[name]
            for name in MEASURE_COLUMNS
        }
        frame = pd.DataFrame(columns)
        version = sys.modules["ornb"].__version__
        frame.attrs = {
            "seed": self._plan.seed,
            "started_at": self._started_at.isoformat(timespec="seconds"),
            "base_url": self._service.base_url,
            "prompts": {
                label: text_of(m[-1].get("content")) for label, m in self._plan.prompts.items()
            },
            "prompt_cache": self._plan.prompt_cache,
            "versions": f"ornb {version}, Python {platform.python_version()}",
            "interrupted": self.interrupted,
        }
        return frame

    def _fire(self, burst: Burst, threads: ThreadPoolExecutor) -> list[_Shot]:
        """Start the requests of a burst together, and wait for all of them."""
        clients = self._clients(burst)
        start = _Start(burst.concurrency)
        shots = [_Shot(self._call(burst, client), burst, start) for client in clients]
        futures: list[Future[None]] = []
        try:
            futures.extend(threads.submit(shot.fire) for shot in shots)
            # An interrupt that comes just before a wait begins is heard only once it ends.
            while wait(futures, timeout=0.5).not_done:
                pass
        except KeyboardInterrupt:
            self.interrupted = True
            for shot in shots:
                shot.stream.close()
            start.go()
            wait(futures)
        finally:
            if burst.connection == "cold":
                for client in clients:
                    client.close()
        for each in futures:
            each.result()  # raises a mistake of ours; the service's are rows
        return shots

    def _clients(self, burst: Burst) -> list[Client]:
        if burst.connection == "cold":
            return [_own_connections(self._service) for _ in range(burst.concurrency)]
        if burst.concurrency > self._opened:
            _open_connections(self._warm, burst.concurrency)
            self._opened = burst.concurrency
        return [self._warm] * burst.concurrency

    def _call(self, burst: Burst, client: Client) -> Stream:
        mark = f"{self._marks.getrandbits(4 * MARK):0{MARK}x}"
        messages = self._plan.messages(burst.label, mark)
        return client.stream(messages, burst.model, **self._plan.params)

    def _keep(self, shots: list[_Shot]) -> None:
        for shot in shots:
            reply = shot.stream.reply
            if reply.timing.started_at is None:
                continue  # interrupted before it began
            reused = reply.timing.connection_reused
            if shot.burst.connection == "warm" and reply.status == "ok" and not reused:
                self._opened = 0  # the server closed some: open them again
            self._rows.append(_row(shot, reply, len(self._rows), shot.burst.model in self._called))
            lean = replace(reply, text="", reasoning="", raw_chunks=())
            if shot.failure is not None:
                words = str(session.with_near_models(shot.failure, shot.burst.model))
                lean = replace(lean, error=words)
            self._tracker.record(lean, estimate_usd=session.estimate(lean))
        self._called |= {shot.burst.model for shot in shots}


def _row(shot: _Shot, reply: Reply, order: int, called: bool) -> dict[str, Any]:
    """What the usage table does not have."""
    burst, timing = shot.burst, reply.timing
    moments = [] if timing.arrival == ONE_PIECE else shot.read_at
    gaps = np.diff(moments) if len(moments) > 1 else np.array([])
    p50, p95 = np.quantile(gaps, [0.5, 0.95]).tolist() if len(gaps) else (None, None)
    return {
        "order": order,
        "burst": burst.number,
        "prompt": burst.label,
        "repeat": burst.repeat,
        "concurrency": burst.concurrency,
        "connection": burst.connection,
        "warmup": burst.repeat is None,
        "warm": called and bool(timing.connection_reused),
        "connection_reused": timing.connection_reused,
        "queued_s": shot.queued_s,
        "connect_s": timing.connect_s,
        "time_to_first_byte_s": timing.time_to_first_byte_s,
        "time_to_first_reasoning_s": timing.time_to_first_reasoning_s,
        "gap_p50_s": p50,
        "gap_p95_s": p95,
        "gaps_s": tuple(gaps.tolist()),
        "tokens_per_second_after_first": _rate(reply, float(gaps.sum())),
        "server_time_to_first_token_s": _by_the_server(reply),
    }


def _rate(reply: Reply, seconds: float) -> float | None:
    tokens = reply.usage.completion_tokens
    return None if tokens is None or tokens < 2 or seconds <= 0 else (tokens - 1) / seconds


def _by_the_server(reply: Reply) -> float | None:
    """The time to the first token that the offline server stamped itself."""
    if '"ornb"' not in "".join(reply.raw_chunks[-1:]):
        return None
    last = reply.raw[-1] if len(reply.raw_chunks) > 1 else reply.raw
    clock: Any = mapping(mapping(last).get("ornb")).get("clock")
    try:
        return float(clock["first_token_s"]) - float(clock["received_s"]) if clock else None
    except (KeyError, TypeError, ValueError):
        return None


# --- connections ----------------------------------------------------------------------------------


def _own_connections(client: Client) -> Client:
    """The same client with none of its connections; what is refused is not asked again."""
    twin = copy.copy(client)
    twin._service = client._service.twin()
    twin.retries = 0
    return twin


def _open_connections(client: Client, count: int) -> None:
    """Open so many connections, by as many small questions that are under way at once."""
    together = threading.Barrier(count)

    def one() -> None:
        with contextlib.suppress(OrnbError, threading.BrokenBarrierError):
            service, wire = client._service, Wire()
            with service.open("GET", f"{service.base_url}/models/count", wire) as response:
                together.wait(timeout=10)
                b"".join(service.blocks(response))

    threads = [threading.Thread(target=one, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep two pauses of the interpreter's own out of the times: see `PATIENCE`, and collections.

    A collection of all of a notebook's objects takes 50 to 100 ms, in which nobody reads a token.
    """
    before, collecting = sys.getswitchinterval(), gc.isenabled()
    sys.setswitchinterval(min(before, PATIENCE))
    gc.disable()
    try:
        yield
    finally:
        sys.setswitchinterval(before)
        if collecting:
            gc.enable()
