"""The calls of a batch: a bounded number at once, on any executor, until all are answered.

The calling thread hands out work and waits; what comes back is booked in the executor's own threads
(kept in the store, settled with the budgets, written into the usage table), where no Ctrl-C can
come between, and also when it comes after the batch was given up. In the calling thread Ctrl-C only
wakes the wait for the next answer: it never falls between two steps of handing a call out, where
the call, or what a budget had set aside for it, would be lost.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

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
from ..ledger.budget import active
from ..wire.reply import Reply, Timing
from .answers import Answer
from .work import Calls, InTurn, Task, address_of, ask, own_executor

if TYPE_CHECKING:
    from decimal import Decimal

    import pandas as pd

    from ..client import Client
    from ..wire.stream import BeforeCall, Settle
    from .work import Outcome

__all__ = ["BatchInterrupted", "Run"]

LONGEST_PAUSE_S = 120.0
"""A service that asks for a longer pause than this gets none: the row is an error."""
ROUNDS = 4
"""Times a row is handed out at most, when each refusal names a pause."""
STOP_S = 3.0
"""Seconds that calls under way get to end after an interrupt."""
HOPELESS = (AuthenticationError, OutOfCredits, NotFound)
"""What is refused for a reason that every other row shares."""


class BatchInterrupted(KeyboardInterrupt):
    """A batch was interrupted; what it has so far is in ``frame``.

    Parameters
    ----------
    frame : pandas.DataFrame
        As the batch would have returned it; rows without an answer are ``stopped`` or ``skipped``.
    message : str
        For the person.
    """

    def __init__(self, frame: pd.DataFrame, message: str) -> None:
        super().__init__(message)
        self.frame = frame

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: what a person sees instead of our call stack."""
        return [f"KeyboardInterrupt: {self}"]


@dataclass(eq=False)
class _Call:
    """A request under way."""

    digest: str
    settle: Settle | None
    answer: Answer | None = None
    error: OrnbError | None = None


class Run:
    """Asks for answers.

    An error of `keep` is told at the end. `told` gets final answers, in the calling thread.
    `explain` may add to an error's message; it returns True if every other row would fail so too.
    """

    def __init__(
        self,
        client: Client,
        executor: Executor | None,
        at_once: int,
        *,
        before_call: BeforeCall | None,
        worst_usd: Callable[[str], Decimal | None],
        body: Callable[[str], dict[str, Any]],
        answer_of: Callable[[Reply], Answer],
        keep: Callable[[str, Answer], object],
        told: Callable[[str, Answer], object],
        explain: Callable[[OrnbError], bool] = lambda _: False,
        label: str | None = None,
    ) -> None:
        self.why_stopped: str | None = None
        self.complaint: str | None = None
        self._client = client
        self._at_once = at_once
        self._before_call = before_call
        self._worst_usd = worst_usd
        self._body = body
        self._answer_of = answer_of
        self._keep = keep
        self._told = told
        self._explain = explain
        self._label = label
        self._is_own = executor is None
        self._executor = own_executor(at_once) if executor is None else executor
        is_here = isinstance(self._executor, ThreadPoolExecutor | InTurn)
        self._calls = Calls(client) if is_here else None
        self._work: Callable[[Task], Outcome] = self._calls or functools.partial(
            ask, address_of(client, self._executor)
        )
        self._name = uuid4().hex[:12]
        self._sent = 0
        self._waiting: deque[str] = deque()
        self._under_way: dict[_Call, Future[Outcome]] = {}
        self._ended: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._pressed = False
        self._rounds: dict[str, int] = {}
        self._attempts: dict[str, int] = {}
        self._not_before = 0.0

    def __call__(self, digests: Iterable[str]) -> None:
        """Ask for all of these; returns when each is answered, or it is no use to go on."""
        self._waiting.extend(digests)
        with self._listening():
            try:
                self._ask_all()
            except BaseException:
                self._abandon()
                raise
            finally:
                if self._is_own:
                    self._executor.shutdown(wait=False, cancel_futures=True)

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

    def _ask_all(self) -> None:
        while self._under_way or (self._waiting and self.why_stopped is None):
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

    def _press(self, *_: object) -> None:
        if self._pressed:
            raise KeyboardInterrupt
        self._pressed = True
        self._ended.put(None)

    def _hand_out(self) -> None:
        while self._waiting and self.why_stopped is None and len(self._under_way) < self._at_once:
            if self._pressed:
                return
            if time.monotonic() < self._not_before or not self._start(self._waiting[0]):
                return

    def _start(self, digest: str) -> bool:
        """Hand out one call; False when it has to wait for one that is under way."""
        if self._under_way and not self._fits(digest):
            return False
        body, settle = self._body(digest), None
        try:
            if self._before_call is not None:
                settle = self._before_call(body, self._wait)
        except (BudgetExceeded, FreeQuotaReached) as error:
            if self._under_way and not isinstance(error, PriceUnknown | FreeQuotaReached):
                return False  # what the others have set aside may come back
            self.why_stopped = str(error)
            return False
        self._waiting.popleft()
        self._sent += 1
        call, task = _Call(digest, settle), Task(body, f"{self._name}-{self._sent}", self._label)
        try:
            future = self._executor.submit(self._work, task)
        except RuntimeError as error:  # broken, or shut down
            if settle is not None:
                settle(self._never_left(error), None)
            self.why_stopped = f"the executor takes no work: {error}"
            self._waiting.appendleft(digest)
            return False
        self._under_way[call] = future
        future.add_done_callback(functools.partial(self._come_back, call))
        return True

    def _fits(self, digest: str) -> bool:
        """Whether no budget would refuse it; asked first, so that waiting counts as no refusal."""
        worst, offline = self._worst_usd(digest), self._client.source == "offline"
        if worst is None or self._before_call is None:
            return True
        left = [each.left_usd for each in active() if each.practice or not offline]
        return all(amount is None or worst <= amount for amount in left)

    def _wait(self, seconds: float) -> bool:
        """Wait for the turn of a free call, and take what comes back meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._take(left)
            if self._pressed:
                raise KeyboardInterrupt  # what was set aside for this call is given back
        return False

    def _take(self, patience_s: float | None) -> None:
        """Wait for a call to end, and decide what is next for its row."""
        try:
            call = self._ended.get(timeout=patience_s)
        except queue.Empty:
            return
        if call is None:
            return  # woken by Ctrl-C
        del self._under_way[call]
        answer = call.answer or Answer(status="error", error="it was lost")
        tried = self._attempts.get(call.digest, 0) + answer.attempts
        self._attempts[call.digest] = tried
        if self._comes_again(call):
            self._waiting.appendleft(call.digest)
            return
        hopeless = isinstance(call.error, HOPELESS) or type(call.error) is ConfigError
        if call.error is not None and self._explain(call.error):
            hopeless, answer = True, replace(answer, error=str(call.error))
        if hopeless:
            self.why_stopped = self.why_stopped or str(call.error)
        if tried != answer.attempts:
            answer = replace(answer, attempts=tried)
        self._told(call.digest, answer)

    def _comes_again(self, call: _Call) -> bool:
        """Whether a refusal named a time at which the same may be asked again."""
        error = call.error
        if not isinstance(error, RateLimited | ProviderUnavailable) or error.retry_after is None:
            return False
        rounds = self._rounds[call.digest] = self._rounds.get(call.digest, 0) + 1
        if rounds >= ROUNDS or error.retry_after > LONGEST_PAUSE_S or self.why_stopped:
            return False
        self._not_before = max(self._not_before, time.monotonic() + error.retry_after)
        return True

    def _abandon(self) -> None:
        """End what is under way; what cannot be ended is booked when it comes back."""
        for future in list(self._under_way.values()):
            future.cancel()
        if self._calls is not None:
            self._calls.stop()
        until = time.monotonic() + (STOP_S if self._calls is not None else STOP_S / 10)
        self._waiting.clear()
        self.why_stopped = self.why_stopped or "interrupted"
        self._pressed = True  # pressed again: at once, then
        with contextlib.suppress(KeyboardInterrupt):
            while self._under_way and (left := until - time.monotonic()) > 0:
                self._take(left)
        for call in self._under_way:
            self._told(call.digest, Answer(status="stopped", error="interrupted on its way"))

    # --- where a call comes back ------------------------------------------------------------------

    def _come_back(self, call: _Call, future: Future[Outcome]) -> None:
        try:
            reply, error = self._outcome(future)
            self._book(call, reply, error)
        except Exception as failure:  # noqa: BLE001 - else the batch would wait for it for ever
            call.answer = Answer(status="error", error=f"it could not be booked: {failure!r}")
        finally:
            self._ended.put(call)

    def _outcome(self, future: Future[Outcome]) -> Outcome:
        if future.cancelled():
            return Reply(status="stopped", label=self._label), None
        failure = future.exception()
        if failure is None:
            return future.result()
        if isinstance(failure, KeyboardInterrupt):
            return replace(self._never_left(failure), status="stopped"), None
        # Whether it was sent nobody knows, so a budget keeps its worst case.
        lost = self._never_left(failure)
        return replace(lost, timing=Timing(queued_s=0.0)), None

    def _never_left(self, failure: BaseException) -> Reply:
        words = f"the worker ended without an answer ({type(failure).__name__}: {failure})"
        return Reply(status="error", error=words, label=self._label)

    def _book(self, call: _Call, reply: Reply, error: OrnbError | None) -> None:
        if reply.requested_model is None:
            reply = replace(reply, requested_model=self._body(call.digest).get("model"))
        call.error, call.answer = error, self._answer_of(reply)
        try:
            self._keep(call.digest, call.answer)
        except ConfigError as problem:  # no answer is lost over a database
            self.complaint = f"{problem} The answers are in the frame."
        if call.settle is not None:
            call.settle(reply, error)
        unsent = reply.status == "stopped" and reply.timing.duration_s is None
        if self._client.on_call is not None and not unsent:
            self._client.on_call(reply)
