"""Ceilings, and the gate that holds them: no call leaves that could cost more than is left.

Before a call, the most that it can cost (`ornb.quote`) is set aside in every budget
that is open, under one lock, so that calls side by side cannot jump a ceiling together. When it
has ended, what was billed takes the place of what was set aside. What ended without a bill
(stopped, broken off) stays set aside until `ornb.usage.reconcile` has found its bill.

A budget counts the calls of the whole process, from every thread, since a `with` block that knew
only its own thread would not see what its executor spends. Answers that are not billed (offline,
recorded, refused) cost it nothing, unless it practises: then an offline call counts as if the most
expensive provider allowed had been paid for its tokens, and the budget says so where it is shown.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from decimal import ROUND_DOWN, ROUND_UP, Context, Decimal, InvalidOperation, localcontext
from typing import TYPE_CHECKING, Any

from ..api.reply import charged, counted
from ..errors import BudgetExceeded, ConfigError, OrnbError, PriceUnknown
from ..pricing import EXACT
from .bound import quote
from .price_book import PriceBook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..api.reply import Reply
    from ..api.stream import Settle
    from .bound import Quote
    from .quota import FreeQuota

_ZERO, _CENT = Decimal(0), Decimal("0.01")


class Budget:
    """One ceiling and what became of it. Made by `ornb.budget`.

    Attributes
    ----------
    limit_usd : decimal.Decimal or None
        The ceiling, in USD; None only counts.
    allow_unknown : bool
        Whether calls pass whose cost nothing bounds.
    practice : bool
        Whether offline calls count as if they were paid for.
    calls : int
        Calls let through.
    refused : int
        Calls refused.

    Examples
    --------
    >>> with ornb.budget("0.50") as lesson:
    ...     reply = ornb.ask("Hi", "openai/gpt-4o-mini")
    >>> lesson  # offline nothing is billed
    Budget: $0 of $0.50 spent, $0.50 left, 1 call
    """

    def __init__(
        self,
        usd: float | str | Decimal | None,
        *,
        budgets: Budgets,
        allow_unknown: bool = False,
        practice: bool = False,
    ) -> None:
        self.limit_usd = None if usd is None else exact_usd(usd, f"budget({usd!r})")
        self.allow_unknown = allow_unknown
        self.practice = practice
        self.calls = self.refused = 0
        self._among = budgets
        self._spent = self._held = self._reserved = _ZERO
        self._replaced: list[Budget] = []

    @property
    def spent_usd(self) -> Decimal:
        """What was billed, in USD, exact; a bill that an answer told is not corrected later."""
        with self._among.books():
            return self._spent

    @property
    def held_usd(self) -> Decimal:
        """The most that calls may have cost that ended without a bill, in USD."""
        with self._among.books():
            return self._held

    @property
    def reserved_usd(self) -> Decimal:
        """The most that the calls under way can cost, in USD."""
        with self._among.books():
            return self._reserved

    @property
    def left_usd(self) -> Decimal | None:
        """What a further call may cost at most, in USD; None without a ceiling."""
        with self._among.books():
            return self._left()

    def _left(self) -> Decimal | None:
        if self.limit_usd is None:
            return None
        with localcontext(EXACT):
            return self.limit_usd - self._spent - self._held - self._reserved

    def __enter__(self) -> Budget:
        self._among.begin_block(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._among.end_block(self)

    def __repr__(self) -> str:
        with self._among.books():
            spent, held, reserved, left = self._spent, self._held, self._reserved, self._left()
        of = "" if self.limit_usd is None else f" of {_usd(self.limit_usd)}"
        parts = [f"{_usd(spent)}{of} spent"]
        if held:
            parts.append(f"{_usd(held)} kept for calls without a bill yet")
        if reserved:
            parts.append(f"{_usd(reserved)} set aside for calls under way")
        if left is not None:
            parts.append(f"{_usd(max(left, _ZERO), ROUND_DOWN)} left")
        parts.append(counted(self.calls, "call"))
        if self.refused:
            parts.append(f"{self.refused} refused")
        name = "Practice budget (offline calls are not charged)" if self.practice else "Budget"
        return f"{name}: " + ", ".join(parts)


class Reservation:
    """What one call has set aside, until `Reservation.settle` says what it cost.

    Offline nothing is billed: only the budgets that practise count what it would cost. `book` is
    told when a key of the user's own has paid.
    """

    def __init__(
        self,
        among: Budgets,
        budgets: tuple[Budget, ...],
        quoted: Quote | None,
        book: PriceBook,
        *,
        offline: bool,
    ) -> None:
        self._among, self._book = among, book
        self._budgets = budgets
        self._paying = [each for each in budgets if each.practice or not offline]
        self._offline = offline
        self._quote = quoted
        self._amount = (quoted.worst_usd if quoted is not None else None) or _ZERO
        self._open = True
        for each in budgets:
            each.calls += 1
        self._reserve(self._amount)

    def _reserve(self, amount: Decimal) -> None:
        for each in self._paying:
            each._reserved = EXACT.add(each._reserved, amount)

    def settle(self, reply: Reply, error: OrnbError | None = None) -> None:
        """Put what was billed in the place of what was set aside; once, later calls do nothing."""
        del error  # the reply says it all: this is the shape of `ornb.api.stream.Settle`
        self._among.ended.append((self, reply))

    def close(self, reply: Reply) -> None:
        """Book how the call ended; the lock is held."""
        if not self._open:
            return
        self._open = False
        self._reserve(-self._amount)
        if reply.usage.is_byok:
            self._book.own_keys = True
        amount = billed(reply)
        if self._offline and reply.status != "error":
            self._spend(self._tokens_cost(reply))
        elif amount is None:
            self._hold(reply)
        else:
            self._spend(amount)

    def release(self) -> None:
        """Return what was set aside: the call was not made after all."""
        with self._among.books():
            if self._open:
                self._open = False
                for each in self._budgets:
                    each.calls -= 1
                self._reserve(-self._amount)

    def _hold(self, reply: Reply) -> None:
        """No bill: keep what the tokens, where they were told, cost at most."""
        self._amount = self._tokens_cost(reply)
        for each in self._paying:
            each._held = EXACT.add(each._held, self._amount)
        if reply.generation_id is not None:
            self._among.unsettled[reply.generation_id] = self

    def _tokens_cost(self, reply: Reply) -> Decimal:
        """The most that an answer's tokens cost; all that was set aside where it told none."""
        sent, made = reply.usage.prompt_tokens, reply.usage.completion_tokens
        if self._quote is None or sent is None or made is None:
            return self._amount
        return self._quote.cost(max(sent, 0), max(made, 0)) or _ZERO

    def _spend(self, amount: Decimal) -> None:
        for each in self._paying:
            each._spent = EXACT.add(each._spent, amount)

    def bill(self, amount: Decimal) -> None:
        """Put a bill that came late in the place of what was kept for it; the lock is held."""
        for each in self._paying:
            each._held = EXACT.subtract(each._held, self._amount)
        self._spend(amount)


class Budgets:
    """All budgets of a session, and the calls that have set something aside in them.

    A stream that nobody finished is ended by the garbage collector, at any moment and in any
    thread, so also in one that holds the lock: what has ended is queued, and booked by who looks.
    """

    def __init__(self) -> None:
        self._open_locks()
        self.ended: deque[tuple[Reservation, Reply]] = deque()
        """Calls that are booked by who looks next."""
        self._session: list[Budget] = []
        self._blocks: list[Budget] = []
        self.unsettled: dict[str, Reservation] = {}
        """By generation id, those whose bill has not come; the lock is held for them."""

    def _open_locks(self) -> None:
        """Make the lock: in a fork another one, as a thread of its parent may have had it."""
        self._lock = threading.Lock()

    def budget(
        self,
        usd: float | str | Decimal | None,
        *,
        allow_unknown: bool = False,
        practice: bool = False,
    ) -> Budget:
        """Set a ceiling on what may be spent, for the session, or in a ``with`` for a block.

        Each call of the kernel's default client is looked at before it leaves: if it could cost
        more than is left of any open budget, it is refused, and nothing is sent. Blocks nest, and
        every budget around a call counts it.

        Parameters
        ----------
        usd : float, str or decimal.Decimal or None
            The ceiling, in USD, counted from now on. For the session it takes the place of an
            earlier one. None lifts the session's ceiling and only counts.
        allow_unknown : bool
            True lets calls through whose cost nothing bounds (routers, web searches, servers that
            list no prices). They are counted once they are billed, so the ceiling may be passed by
            them.
        practice : bool
            True counts offline calls too, as if the most expensive provider allowed had been paid
            for their tokens: to learn, or to rehearse a lesson, before any money is spent. Live
            calls count as ever.

        Returns
        -------
        Budget
            Says what is spent and left whenever it is shown.

        Raises
        ------
        ConfigError
            `usd` is not an amount.

        Examples
        --------
        >>> lesson = ornb.budget("2.00")
        >>> with ornb.budget("0.10") as exercise:
        ...     reply = ornb.ask("Hi", "openai/gpt-4o-mini")
        >>> lesson.calls, exercise.calls, exercise.left_usd
        (1, 1, Decimal('0.10'))
        >>> _ = ornb.budget(None)  # no ceiling any more

        Without a key nothing is billed; a ceiling can be tried all the same.

        >>> with ornb.budget("0.0001", practice=True):
        ...     ornb.ask("Hi", "openai/gpt-4o-mini", max_tokens=2000)
        Traceback (most recent call last):
            ...
        ornb.errors.BudgetExceeded: openai/gpt-4o-mini was not sent: it can cost up to ...

        Notes
        -----
        A ceiling holds as far as its prices do: docs/costs.md says how a call is bounded. It binds
        one process. Work for others is let through before it is handed out, and settled when it
        comes back: ``settle = client.before_call(body, wait)``, later ``settle(reply, error)``.
        """
        made = Budget(usd, budgets=self, allow_unknown=allow_unknown, practice=practice)
        with self._lock:
            made._replaced = self._session
            for each in made._replaced:
                each._replaced = []  # one step back is all that a `with` needs
            self._session = [made]
        return made

    def begin_block(self, budget: Budget) -> None:
        """Open a budget for a block."""
        with self._lock:
            if any(each is budget for each in self._blocks):
                raise ConfigError("This budget is open already; make another one for this block.")
            if self._session and self._session[0] is budget:
                self._session = budget._replaced  # meant for the block, not for the session
            self._blocks.append(budget)

    def end_block(self, budget: Budget) -> None:
        """Close it again."""
        with self.books():
            self._blocks = [each for each in self._blocks if each is not budget]

    def active(self) -> tuple[Budget, ...]:
        """Return those that a call now has to fit: the session's first, the innermost last."""
        with self._lock:
            return (*self._session, *self._blocks)

    def admit(
        self, body: Mapping[str, Any], book: PriceBook, *, offline: bool = False
    ) -> Reservation | None:
        """Reserve the most that a call can cost, or refuse it; None when no budget is open.

        Offline only budgets that practise hold a call back.
        """
        quoted: Quote | None = None
        while self._session or self._blocks:  # mostly not, so the lock is not taken for it
            with self.books():
                open_now = (*self._session, *self._blocks)
                counting = [each for each in open_now if each.practice or not offline]
                limited = [each for each in counting if each.limit_usd is not None]
                refusal = None if quoted is None or not limited else _refusal(quoted, limited)
                if refusal is not None:
                    for each in open_now:
                        each.refused += 1
                    raise refusal
                if quoted is not None or not (limited or (offline and counting)):
                    return Reservation(self, open_now, quoted, book, offline=offline)
            # may ask for prices, so not under the lock
            quoted = quote(body, book, own_keys=book.own_keys)
        return None

    def settle_bill(self, generation_id: str, cost_usd: float) -> None:
        """Record a bill that came late, in USD, with what an own key paid."""
        with self.books():
            reservation = self.unsettled.pop(generation_id, None)
            if reservation is not None and cost_usd >= 0:
                reservation.bill(Decimal(repr(float(cost_usd))))

    @contextmanager
    def books(self) -> Iterator[None]:
        """Hold the lock, with all booked that has ended."""
        with self._lock:
            while self.ended:
                reservation, reply = self.ended.popleft()
                reservation.close(reply)
            yield


class Gate:
    """The ``before_call`` of a client (`ornb.api.stream.BeforeCall`).

    `record` and `endpoints` look a model up, the second while a budget is open; `is_answered_here`
    says of a request that it will not leave this machine.
    """

    def __init__(
        self,
        record: Callable[[str], Any],
        endpoints: Callable[[str], Mapping[str, Any]],
        budgets: Budgets,
        quota: FreeQuota,
        is_answered_here: Callable[[Mapping[str, Any]], bool],
    ) -> None:
        self._book = PriceBook(record, lambda model: endpoints(model).get("endpoints") or [])
        self._cached_book = PriceBook(record)
        self._budgets, self._quota = budgets, quota
        self._is_answered_here = is_answered_here

    def __call__(self, body: Mapping[str, Any], pause: Callable[[float], bool]) -> Settle | None:
        """Pass a call, or raise; `pause` waits so many seconds, True if the call is given up."""
        offline = self._is_answered_here(body)
        reservation = self._budgets.admit(body, self._book, offline=offline)
        try:
            counted = None if offline else self._quota.take(body, pause)
        except BaseException:
            if reservation is not None:
                reservation.release()
            raise
        told: list[Settle | None] = [counted, None if reservation is None else reservation.settle]
        settles = [each for each in told if each is not None]

        def settle(reply: Reply, error: OrnbError | None) -> None:
            for each in settles:
                each(reply, error)

        return settle if settles else None

    def quote(self, body: Mapping[str, Any], *, cached: bool = False) -> Quote:
        """Return what a request can cost, and is likely to; offline, at the real service.

        `cached` asks for no endpoints: at once, from the model's own listing.
        """
        return quote(body, self._cached_book if cached else self._book)


def billed(reply: Reply) -> Decimal | None:
    """Return what a call was charged, in USD; None where only its bill can tell.

    With what a provider took from a key of the user's own; 0 for what never left, was refused, or
    came from this machine or a recording.
    """
    if reply.source != "live" or reply.timing.queued_s is None:
        return _ZERO
    cost, used = charged(reply), reply.usage
    if cost is None or cost < 0 or used.lacks_byok:
        return None
    paid = (cost, max(used.byok_usd or 0.0, 0.0))
    return EXACT.add(*(Decimal(repr(float(amount))) for amount in paid))


def _refusal(quoted: Quote, limited: list[Budget]) -> BudgetExceeded | None:
    """What is said where a call may not pass; the lock is held."""
    asked, name = quoted.worst_usd, quoted.model or "The call"
    strict = [each for each in limited if not each.allow_unknown] if asked is None else []
    tightest = min(strict or limited, key=lambda each: each._left() or _ZERO)
    left = tightest._left() or _ZERO
    if strict:
        return PriceUnknown(
            f"{name} was not sent: {quoted.unknown}, so the budget of "
            f"{_usd(tightest.limit_usd or _ZERO)} could not hold. "
            "ornb.budget(..., allow_unknown=True) lets such calls through.",
            model=quoted.model,
            left_usd=left,
            limit_usd=tightest.limit_usd,
        )
    if asked == 0 or (left > 0 if asked is None else asked <= left):
        return None
    fits = quoted.max_tokens_for(left)
    shorter = "Not even a short answer would fit"
    if quoted.completion_tokens == 0:  # of a decision: what is sent is all that is billed
        shorter = "Only a shorter text would fit"
    return BudgetExceeded(
        f"{name} was not sent: {_asked(quoted)}, and {_left(tightest, left)}. "
        + (f"max_tokens={fits} would fit" if fits else shorter)
        + "; ornb.budget(...) sets another ceiling.",
        model=quoted.model,
        asked_usd=asked,
        left_usd=left,
        limit_usd=tightest.limit_usd,
        fits_max_tokens=fits,
    )


def _asked(quoted: Quote) -> str:
    if quoted.worst_usd is None:
        return "what it can cost is not known"
    endpoints = quoted.basis == "endpoints"
    where = "the most expensive provider allowed" if endpoints else "the listed price"
    return (
        f"it can cost up to {_usd(quoted.worst_usd, ROUND_UP)} (at most {quoted.prompt_tokens:,} "
        f"prompt and {quoted.completion_tokens:,} completion tokens, at {where})"
    )


def _left(tightest: Budget, left: Decimal) -> str:
    kept = EXACT.add(tightest._reserved, tightest._held)
    others = f" ({_usd(kept)} is set aside for other calls)" if kept else ""
    shown = _usd(max(left, _ZERO), ROUND_DOWN)
    return f"{shown} of the budget of {_usd(tightest.limit_usd or _ZERO)} is left{others}"


def _usd(amount: Decimal, rounding: str | None = None) -> str:
    """Cents above a dollar, four digits below; asked is rounded up and left down by the caller."""
    if amount == 0:
        return "$0"
    if abs(amount) >= 1:
        return f"${amount.quantize(_CENT, rounding, EXACT):,}"
    whole, _, cents = f"{Context(4, rounding).plus(amount).normalize():f}".partition(".")
    return f"${whole}.{cents:0<2}"


def exact_usd(usd: Any, said: str) -> Decimal:
    """Read an amount of money; `said` is what a person wrote, for the message if it is none."""
    try:
        amount = None if isinstance(usd, bool) else Decimal(str(usd))
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or amount < 0 or amount > 10**12:
        raise ConfigError(f"{said} is not an amount in USD such as 0.50.")
    return amount
