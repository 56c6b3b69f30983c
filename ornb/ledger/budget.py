"""Ceilings: no call leaves that could cost more than is left.

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

from ..api.reply import counted
from ..errors import BudgetExceeded, ConfigError, OrnbError, PriceUnknown
from .bills import charged
from .bound import quote
from .price_book import EXACT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..api.reply import Reply
    from .bound import Quote
    from .price_book import PriceBook

__all__ = ["Budget", "Reservation", "active", "admit", "billed", "budget"]

# A stream that nobody finished is ended by the garbage collector, at any moment and in any thread,
# so also in one that holds this lock: what has ended is queued, and booked by who has the lock.
_lock = threading.Lock()
_ended: deque[tuple[Reservation, Reply]] = deque()
_session: list[Budget] = []
_blocks: list[Budget] = []
_unsettled: dict[str, Reservation] = {}
_ZERO, _CENT = Decimal(0), Decimal("0.01")


class Budget:
    """One ceiling and what became of it. Made by `budget`.

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
        allow_unknown: bool = False,
        practice: bool = False,
    ) -> None:
        self.limit_usd = None if usd is None else _amount(usd)
        self.allow_unknown = allow_unknown
        self.practice = practice
        self.calls = self.refused = 0
        self._spent = self._held = self._reserved = _ZERO
        self._replaced: list[Budget] = []

    @property
    def spent_usd(self) -> Decimal:
        """What was billed, in USD, exact; a bill that an answer told is not corrected later."""
        with _books():
            return self._spent

    @property
    def held_usd(self) -> Decimal:
        """The most that calls may have cost that ended without a bill, in USD."""
        with _books():
            return self._held

    @property
    def reserved_usd(self) -> Decimal:
        """The most that the calls under way can cost, in USD."""
        with _books():
            return self._reserved

    @property
    def left_usd(self) -> Decimal | None:
        """What a further call may cost at most, in USD; None without a ceiling."""
        with _books():
            return self._left()

    def _left(self) -> Decimal | None:
        if self.limit_usd is None:
            return None
        with localcontext(EXACT):
            return self.limit_usd - self._spent - self._held - self._reserved

    def __enter__(self) -> Budget:
        with _lock:
            if any(each is self for each in _blocks):
                raise ConfigError("This budget is open already; make another one for this block.")
            if _session and _session[0] is self:
                _session[:] = self._replaced  # meant for the block, not for the session
            _blocks.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        with _lock:
            _blocks[:] = [each for each in _blocks if each is not self]

    def __repr__(self) -> str:
        with _books():
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
        budgets: list[Budget],
        quoted: Quote | None,
        *,
        offline: bool = False,
        book: PriceBook | None = None,
    ) -> None:
        self._book = book
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
        _ended.append((self, reply))
        if _lock.acquire(blocking=False):  # else who has it, or looks next, books it
            try:
                _book()
            finally:
                _lock.release()

    def _close(self, reply: Reply) -> None:
        """Book how the call ended; the lock is held."""
        if not self._open:
            return
        self._open = False
        self._reserve(-self._amount)
        if reply.usage.is_byok and self._book is not None:
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
        with _books():
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
            _unsettled[reply.generation_id] = self

    def _tokens_cost(self, reply: Reply) -> Decimal:
        """The most that an answer's tokens cost; all that was set aside where it told none."""
        sent, made = reply.usage.prompt_tokens, reply.usage.completion_tokens
        if self._quote is None or sent is None or made is None:
            return self._amount
        return self._quote.cost(max(sent, 0), max(made, 0)) or _ZERO

    def _spend(self, amount: Decimal) -> None:
        for each in self._paying:
            each._spent = EXACT.add(each._spent, amount)

    def _bill(self, amount: Decimal) -> None:
        """Put a bill that came late in the place of what was kept for it; the lock is held."""
        for each in self._paying:
            each._held = EXACT.subtract(each._held, self._amount)
        self._spend(amount)


def budget(
    usd: float | str | Decimal | None, *, allow_unknown: bool = False, practice: bool = False
) -> Budget:
    """Set a ceiling on what may be spent, for the session, or in a ``with`` for a block.

    Each call of the kernel's default client is looked at before it leaves: if it could cost more
    than is left of any open budget, it is refused, and nothing is sent. Blocks nest, and every
    budget around a call counts it.

    Parameters
    ----------
    usd : float, str or decimal.Decimal or None
        The ceiling, in USD, counted from now on. For the session it takes the place of an earlier
        one. None lifts the session's ceiling and only counts.
    allow_unknown : bool
        True lets calls through whose cost nothing bounds (routers, web searches, servers that list
        no prices). They are counted once they are billed, so the ceiling may be passed by them.
    practice : bool
        True counts offline calls too, as if the most expensive provider allowed had been paid for
        their tokens: to learn, or to rehearse a lesson, before any money is spent. Live calls count
        as ever.

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
    A ceiling holds as far as its prices do: docs/costs.md says how a call is bounded. It
    binds one process. Work for others is let through before it is handed out, and settled when it
    comes back: ``settle = client.before_call(body, wait)``, later ``settle(reply, error)``.
    """
    made = Budget(usd, allow_unknown=allow_unknown, practice=practice)
    with _lock:
        made._replaced = _session[:]
        for each in made._replaced:
            each._replaced = []  # one step back is all that a `with` needs
        _session[:] = [made]
    return made


def active() -> tuple[Budget, ...]:
    """Return the budgets that a call now has to fit: the session's first, the innermost last."""
    with _lock:
        return (*_session, *_blocks)


def admit(
    body: Mapping[str, Any], book: PriceBook | None, *, offline: bool = False
) -> Reservation | None:
    """Reserve the most that a call can cost, or refuse it; None when no budget is open.

    Offline only budgets that practise hold a call back.
    """
    quoted: Quote | None = None
    while True:
        with _books():
            open_now = [*_session, *_blocks]
            if not open_now:
                return None
            counting = [each for each in open_now if each.practice or not offline]
            if book is None or not counting:
                return Reservation(open_now, None, offline=offline)
            unlimited = all(each.limit_usd is None for each in counting)
            if quoted is not None or (unlimited and not offline):
                return _reserve(open_now, counting, quoted, offline=offline, book=book)
        quoted = quote(
            body, book, own_keys=book.own_keys
        )  # may ask for prices, so not under the lock


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


def settle_bill(generation_id: str, cost_usd: float) -> None:
    """Record a bill that came late, in USD, with what an own key paid."""
    with _books():
        reservation = _unsettled.pop(generation_id, None)
        if reservation is not None and cost_usd >= 0:
            reservation._bill(Decimal(repr(float(cost_usd))))


@contextmanager
def _books() -> Iterator[None]:
    """The lock, with all booked that has ended."""
    with _lock:
        _book()
        yield


def _book() -> None:
    while _ended:
        reservation, reply = _ended.popleft()
        reservation._close(reply)


def _reserve(
    open_now: list[Budget],
    counting: list[Budget],
    quoted: Quote | None,
    *,
    offline: bool,
    book: PriceBook,
) -> Reservation:
    """Check and set aside; the lock is held."""
    limited = [each for each in counting if each.limit_usd is not None]
    if limited and quoted is not None:
        tightest = min(limited, key=lambda each: each._left() or _ZERO)
        try:
            _check(quoted, tightest, limited)
        except BudgetExceeded:
            for each in open_now:
                each.refused += 1
            raise
    return Reservation(open_now, quoted, offline=offline, book=book)


def _check(quoted: Quote, tightest: Budget, limited: list[Budget]) -> None:
    asked, left = quoted.worst_usd, tightest._left() or _ZERO
    name = quoted.model or "The call"
    if asked is None and not all(each.allow_unknown for each in limited):
        raise PriceUnknown(
            f"{name} was not sent: {quoted.unknown}, so the budget of "
            f"{_usd(tightest.limit_usd or _ZERO)} could not hold. "
            "ornb.budget(..., allow_unknown=True) lets such calls through.",
            model=quoted.model,
            left_usd=left,
            limit_usd=tightest.limit_usd,
        )
    if asked == 0 or (left > 0 if asked is None else asked <= left):
        return
    fits = quoted.max_tokens_for(left)
    raise BudgetExceeded(
        f"{name} was not sent: {_asked(quoted)}, and {_left(tightest, left)}. "
        + (f"max_tokens={fits} would fit" if fits else "Not even a short answer would fit")
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


def _amount(usd: Any) -> Decimal:
    try:
        amount = None if isinstance(usd, bool) else Decimal(str(usd))
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or amount < 0 or amount > 10**12:
        raise ConfigError(f"budget({usd!r}) is not an amount in USD such as 0.50.")
    return amount
