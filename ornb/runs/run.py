"""The calls of a batch: a bounded number at once, on any executor, until all are answered.

The calling thread hands out work and waits; what comes back is booked in the executor's own threads
(kept in the store, settled with the budgets, written into the usage table), where no Ctrl-C can
come between, and also when it comes after the batch was given up. In the calling thread Ctrl-C only
wakes the wait for the next answer: it never falls between two steps of handing a call out, where
the call, or what a budget had set aside for it, would be lost.

A piece of work is one request. Where the way to a worker is long (another process, a cluster) and
answers keep coming quickly, it is several, as many as a worker gets done in a moment: what is paid
for waits for its way back no longer than that, and for the one request that turns out to be slow.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from .. import session
from ..api.others import kind_of
from ..api.reply import Reply, Timing, not_sent
from ..errors import (
    AuthenticationError,
    BudgetExceeded,
    ConfigError,
    FreeQuotaReached,
    NotFound,
    OrnbError,
    OutOfCredits,
    PriceUnknown,
    ProviderUnavailable,
    RateLimited,
)
from .answers import Answer, Shape
from .store import AnswerStore, Memory
from .tally import Tally
from .work import TURN_S, Outcomes, Task, Work, own_executor

if TYPE_CHECKING:
    import pandas as pd

    from ..api.client import Client
    from ..api.stream import BeforeCall, Settle

LONGEST_PAUSE_S = 120.0
"""A service that asks for a longer pause than this gets none: the row is an error."""
ROUNDS = 4
"""Times a row is handed out at most, when each refusal names a pause."""
WAKE_S = 0.2
"""Seconds of a wait: a Ctrl-C that comes just before one does not end it, on Windows none does."""
STOP_S = 3.0
"""Seconds that calls under way get to end after an interrupt."""
MOST_AT_ONCE = 64
"""Requests in one piece of work, at most."""
QUICK = 8
"""Quick pieces of work, one after the other, before one of twice the length."""
HOPELESS = (AuthenticationError, OutOfCredits, NotFound)
"""What is refused for a reason that every other row shares."""


class BatchInterrupted(KeyboardInterrupt):
    """A batch was interrupted; what it has so far is in ``frame``.

    Parameters
    ----------
    frame : pandas.DataFrame or Batched
        As the batch would have returned it; rows without an answer are ``stopped`` or ``skipped``.
    message : str
        For the person.
    """

    def __init__(self, frame: pd.DataFrame | Any, message: str) -> None:
        super().__init__(message)
        self.frame = frame

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: what a person sees instead of our call stack."""
        return [f"KeyboardInterrupt: {self}"]


@dataclass(eq=False, slots=True)
class Ask:
    """A request of a batch, from when it is due until its answer is final."""

    digest: str
    body: dict[str, Any]
    worst_usd: Decimal | None
    answers: list[Answer | None]
    """Where the answer goes, at `position`."""
    position: int
    rows: int = 1
    """Rows that ask this."""
    shape: Shape | None = None
    rounds: int = 0
    attempts: int = 0
    admitted: bool = False
    settle: Settle | None = None
    answer: Answer | None = None
    error: OrnbError | None = None

    def read(self, answer: Answer, reply: Reply) -> Answer:
        """Read what came, by the shape that was asked for."""
        del reply
        return answer if self.shape is None else self.shape.read(answer)

    def to_keep(self, answer: Answer) -> dict[str, Answer]:
        """Return what is kept of an ``ok`` answer, by content hash."""
        return {self.digest: answer}

    def note(self, answer: Answer, tally: Tally) -> None:
        """Put the final answer where it goes, and count it."""
        self.answers[self.position] = self.answer = answer
        tally.add(answer, self.rows)


Load = tuple[Ask, ...]
"""What is handed out as one piece of work."""


@dataclass(eq=False, repr=False)
class Run:
    """Asks for answers, and keeps them."""

    client: Client
    executor: Executor | None
    at_once: int
    before_call: BeforeCall | None
    kept: AnswerStore | Memory
    tally: Tally
    listed: pd.DataFrame | None = None
    label: str | None = None
    needs_store: bool = False
    why_stopped: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Begin with nothing under way."""
        self._is_default = self.client.on_call is session.book
        self._executor = own_executor(self.at_once) if self.executor is None else self.executor
        self._work = Work(self.client, self._executor)
        self._name = uuid4().hex[:12]
        self._sent = 0
        self._asks: Iterator[Ask] = iter(())
        self._waiting: deque[Ask] = deque()
        self._load: list[Ask] = []
        self._most = 1  # asks of a load
        self._quick = 0  # loads of that many that came back soon
        self._under_way: dict[Load, Future[Any]] = {}
        self._ended: queue.SimpleQueue[Load | None] = queue.SimpleQueue()
        self._pressed = self._pulls = self._over = False
        self._broke: Exception | None = None
        self._not_before = 0.0

    def __call__(self, asks: Iterable[Ask]) -> None:
        """Ask for all of these; returns when each is answered, or it is no use to go on.

        After Ctrl-C the calls under way are stopped first.
        """
        self._asks = iter(asks)
        with self._listening():
            try:
                self._ask_all()
            except BaseException:
                self._abandon()
                raise
            finally:
                self._over = True
                self._release((*self._waiting, *self._load))
                if self.executor is None:
                    self._executor.shutdown(wait=False, cancel_futures=True)
        if self._broke is not None:
            raise self._broke

    # --- in the calling thread --------------------------------------------------------------------

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Have Ctrl-C wake the wait for the next answer; pressed again, it interrupts as ever."""
        is_main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGINT) if is_main else None
        if not callable(before):  # no thread of signals, or they are ignored
            yield
            return
        signal.signal(signal.SIGINT, self._press)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _press(self, *_: object) -> None:
        if self._pressed or self._pulls:  # data that does not come cannot be woken
            raise KeyboardInterrupt
        self._pressed = True
        self._ended.put(None)

    def _ask_all(self) -> None:
        while self._under_way or (self.why_stopped is None and self._is_more()):
            self._hand_out()
            if self._pressed:
                break
            pause = self._not_before - time.monotonic()
            if self._waiting and pause > 0:
                self._take(pause)
            elif self._under_way:
                self._take(None)
        if self._pressed:
            raise KeyboardInterrupt

    def _is_more(self) -> bool:
        """Whether there is somebody to ask, who then waits in front."""
        if not self._waiting:
            self._pulls = True
            try:
                self._waiting.extend(itertools.islice(self._asks, 1))
            except Exception as error:  # noqa: BLE001 - raised when the calls under way have ended
                self._broke, self.why_stopped = error, str(error)
            finally:
                self._pulls = False
        return bool(self._waiting)

    def _hand_out(self) -> None:
        while self.why_stopped is None and len(self._under_way) < self.at_once:
            while len(self._load) < self._most and self._admit():
                pass
            if not self._send():
                return

    def _admit(self) -> bool:
        """Put the next one into the load; False when it has to wait, or there is none."""
        if self._pressed or time.monotonic() < self._not_before or not self._is_more():
            return False
        ask, is_alone = self._waiting[0], not self._under_way and not self._load
        if not ask.admitted and not is_alone and not self._fits(ask.worst_usd):
            return False
        self._waiting.popleft()
        try:
            if self.before_call is not None and not ask.admitted:
                ask.settle = self.before_call(ask.body, self._wait)
        except (BudgetExceeded, FreeQuotaReached) as error:
            self._waiting.appendleft(ask)
            if is_alone or isinstance(error, PriceUnknown | FreeQuotaReached):
                self.why_stopped = str(error)
                if self.client.on_call is not None:
                    named = ask.body.get("model")
                    refused = not_sent(error, self.client._answers, named, self.label)
                    self.client.on_call(refused)
            return False  # else what the others have set aside may come back
        ask.admitted = True
        self._load.append(ask)
        return True

    def _send(self) -> bool:
        """Hand the load out; False if it is empty, or nobody takes it."""
        load, self._load = tuple(self._load), []
        if not load:
            return False
        tasks = []
        for ask in load:
            self._sent += 1
            tasks.append(Task(ask.body, f"{self._name}-{self._sent}", self.label))
        try:
            future = self._executor.submit(self._work, tasks)
        except Exception as error:  # noqa: BLE001 - broken, shut down: each says it in its own way
            self.why_stopped = f"the executor takes no work: {error}"
            self._waiting.extendleft(reversed(load))
            return False
        self._under_way[load] = future
        future.add_done_callback(functools.partial(self._come_back, load))
        return True

    def _fits(self, worst_usd: Decimal | None) -> bool:
        """Whether no budget would refuse it; asked first, so that waiting counts as no refusal."""
        if worst_usd is None or self.before_call is None:
            return True
        offline = self.client.source == "offline"
        left = [
            each.left_usd
            for each in session.default.budgets.active()
            if each.practice or not offline
        ]
        return all(amount is None or worst_usd <= amount for amount in left)

    def _wait(self, seconds: float) -> bool:
        """Wait for the turn of a free call, and take what comes back meanwhile."""
        self._send()
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 or len(self._under_way) >= self.at_once:
            self._take(left if left > 0 else None)
            if self._pressed:
                raise KeyboardInterrupt  # what was set aside for this call is given back
        return False

    def _take(self, patience_s: float | None) -> None:
        """Wait some time for a piece of work to end, and decide what is next for its rows."""
        try:
            load = self._ended.get(timeout=min(WAKE_S, patience_s or WAKE_S))
        except queue.Empty:
            return
        if load is None:
            return  # woken by Ctrl-C
        del self._under_way[load]
        begun = [ask for ask in load if ask.answer is not None]
        self._waiting.extendleft(reversed(load[len(begun) :]))
        self._fit_loads(load, begun)
        for ask in begun:
            self._end(ask)
        if self.needs_store and self.kept.trouble is not None:
            self.why_stopped = self.why_stopped or self.kept.trouble

    def _fit_loads(self, load: Load, begun: list[Ask]) -> None:
        """Hand out more at once where the way is long and many answers were quick, else less."""
        seconds = sum(ask.answer.duration_s or 0.0 for ask in begun if ask.answer is not None)
        if self._work.is_here or len(load) != self._most:
            return  # or it was handed out before the length was changed
        if len(begun) < len(load) or seconds > TURN_S:
            self._most, self._quick = max(1, self._most // 2), 0
        elif seconds < TURN_S / 2:
            self._quick += 1
            if self._quick >= QUICK:
                self._most, self._quick = min(2 * self._most, MOST_AT_ONCE), 0

    def _end(self, ask: Ask) -> None:
        """Note what came of it, or have it asked again."""
        answer, error = ask.answer or Answer(), ask.error
        ask.attempts += answer.attempts
        if self._comes_again(ask):
            ask.answer = ask.error = ask.settle = None
            ask.admitted = False
            self._waiting.appendleft(ask)
            return
        hopeless = isinstance(error, HOPELESS) or type(error) is ConfigError
        if error is not None:
            model = ask.body.get("model")
            if self._is_default:
                session.with_near_models(error, model, kind=kind_of(ask.body))
            if session.refuses_model(error, model):
                hopeless, answer = True, replace(answer, error=str(error))
        if hopeless:
            self.why_stopped = self.why_stopped or str(error)
        if ask.attempts != answer.attempts:
            answer = replace(answer, attempts=ask.attempts)
        self._note(ask, answer)

    def _note(self, ask: Ask, answer: Answer) -> None:
        ask.note(answer, self.tally)
        ask.body = {"model": ask.body.get("model")}  # what is attached is heavy

    def _comes_again(self, ask: Ask) -> bool:
        """Whether a refusal named a time at which the same may be asked again."""
        error = ask.error
        if not isinstance(error, RateLimited | ProviderUnavailable) or error.retry_after is None:
            return False
        ask.rounds += 1
        if ask.rounds >= ROUNDS or error.retry_after > LONGEST_PAUSE_S or self.why_stopped:
            return False
        self._not_before = max(self._not_before, time.monotonic() + error.retry_after)
        return True

    def _abandon(self) -> None:
        """End what is under way; what cannot be ended is booked when it comes back."""
        for future in list(self._under_way.values()):
            with contextlib.suppress(Exception):  # some executors cannot, and raise
                future.cancel()
        self._work.stop()
        until = time.monotonic() + (STOP_S if self._work.is_here else STOP_S / 10)
        self.why_stopped = self.why_stopped or "interrupted"
        self._pressed = True  # pressed again: at once, then
        with contextlib.suppress(KeyboardInterrupt):
            while self._under_way and (left := until - time.monotonic()) > 0:
                self._take(left)
        for load in self._under_way:
            for ask in load:
                self._note(ask, Answer(status="stopped", error="interrupted on its way"))

    # --- where a call comes back ------------------------------------------------------------------

    def _come_back(self, load: Load, future: Future[Any]) -> None:
        try:
            outcomes = self._outcomes(load, future)
            for ask, (reply, error) in zip(load, outcomes, strict=False):
                self._book(ask, reply, error)
        except Exception as failure:  # noqa: BLE001 - else the batch would wait for it for ever
            for ask in load:
                words = f"it could not be booked: {failure!r}"
                ask.answer = ask.answer or Answer(status="error", error=words)
        finally:
            self._ended.put(load)
            if self._over:
                self._release(load)

    def _outcomes(self, load: Load, future: Future[Any]) -> Outcomes:
        if future.cancelled():
            lost = Reply(status="stopped", label=self.label)
            return Outcomes((lost, None) for _ in load)
        failure = future.exception()
        if failure is None:
            found = list(_found(future.result()))
            self._note_copies(found[1:])
            if found:
                return found[0]
            words = f"the executor gave back a {type(future.result()).__name__} and no answer"
            self.why_stopped = f"{words}: give one that does each piece of work once"
        else:
            words = f"the worker ended without an answer ({type(failure).__name__}: {failure})"
        lost = self._never_left(words)
        if isinstance(failure, KeyboardInterrupt):
            lost = replace(lost, status="stopped")
        else:  # Whether it was sent nobody knows, so a budget keeps its worst case.
            lost = replace(lost, timing=Timing(queued_s=0.0))
        return Outcomes((lost, None) for _ in load)

    def _note_copies(self, copies: list[Outcomes]) -> None:
        """Each of several workers has done the same, and was paid: no further work goes there."""
        if not copies:
            return
        self.why_stopped = (
            f"each piece of work was done {1 + len(copies)} times, so all of it was paid as often: "
            "the executor sends it to every engine. Of ipyparallel take client.executor(), not "
            "that of a view"
        )
        for outcomes in copies:
            for reply, _ in outcomes:
                self._record(reply)

    def _release(self, asks: Iterable[Ask]) -> None:
        """Give back what budgets have set aside for requests that were not begun."""
        for ask in asks:
            if ask.settle is not None and ask.answer is None:
                ask.settle(self._never_left("the batch ended"), None)
                ask.settle = None

    def _never_left(self, words: str) -> Reply:
        return Reply(status="error", error=words, label=self.label)

    def _book(self, ask: Ask, reply: Reply, error: OrnbError | None) -> None:
        if reply.requested_model is None:
            reply = replace(reply, requested_model=ask.body.get("model"))
        estimate_usd = session.estimate(reply, self.listed)
        answer = ask.read(Answer.of(reply, estimate_usd), reply)
        ask.error, ask.answer = error, answer
        if answer.status == "ok":
            self.kept.put(ask.to_keep(answer))
        if ask.settle is not None:
            ask.settle(reply, error)
            ask.settle = None
        if reply.status != "stopped" or reply.timing.duration_s is not None:
            self._record(reply, estimate_usd)

    def _record(self, reply: Reply, *estimate_usd: float | None) -> None:
        if self._is_default:
            session.book(reply, *estimate_usd)
        elif self.client.on_call is not None:
            self.client.on_call(reply)


def _found(result: Any) -> Iterator[Outcomes]:
    """What an executor gave back, or the several things: one sends all work to each worker."""
    if isinstance(result, Outcomes):
        yield result
    elif isinstance(result, list | tuple):
        for each in result:
            yield from _found(each)
