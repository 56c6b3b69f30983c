"""The free calls that are left: counted here, since successful answers do not tell.

OpenRouter allows calls of free models (ids that end in ``:free``, and ``openrouter/free``) 20 times
a minute, and 50 or 1,000 times a UTC day; failed ones count too. Every free call that leaves this
process is counted, other kernels' through the store where there is one, and what ``GET /key`` or a
refusal says of the limits is believed over the documented figures.

References
----------
OpenRouter docs, "Limits", 2026-08-22: 20 a minute; 50 a day, 1,000 once 10 USD of credits were ever
bought. ``free_model_daily_requests`` of ``GET /key`` is in the official SDK of 2026-10. Refusals on
record reset at full minutes and at 00:00 UTC, and one names a limit of 16 a minute.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..api import keys
from ..api.refusals import mapping, retry_after
from ..api.reply import amount
from ..api.service import is_openrouter
from ..errors import ConfigError, FreeQuotaReached, OrnbError, RateLimited

if TYPE_CHECKING:
    from ..api.reply import Reply

FREE = (":free", ":free:online")
"""Ends of the ids of free models."""
ROUTER = "openrouter/free"
"""Picks a free model for each call."""
PER_MINUTE = 20
"""Calls of free models a minute."""
PER_DAY = 50
"""Calls of free models a UTC day, before 10 USD of credits were ever bought."""
PER_DAY_WITH_CREDITS = 1000
"""The same after."""
LONGEST_WAIT_S = 120.0
"""A call that would have to wait longer than this is refused instead."""
_MINUTE_S, _DAY_S = 60.0, 86_400.0
_ELSEWHERE_LIFETIME_S = 5.0


@dataclass(frozen=True)
class Refusal:
    """A 429 in terms of when, why and what else."""

    why: str
    """"minute", "day" (limits of the account), "provider" (its pool is used up) or "unknown"."""
    until: datetime | None
    """When it makes sense to ask again (UTC); None when nobody said."""
    instead: str
    """What would work now."""
    limit: int | None = None
    """Calls allowed, where the refusal says."""

    def __str__(self) -> str:
        when = "" if self.until is None else f" until {self.until:%H:%M:%S} UTC"
        return f"{_WHY[self.why]}{when}. {self.instead}"


_WHY = {
    "minute": "the free calls of this minute are used up",
    "day": "the free calls of this day are used up",
    "provider": "the provider's shared pool for this free model is used up",
    "unknown": "too many calls",
}
_INSTEAD = {
    "minute": "ornb.quota(wait=True) spaces free calls; paid models are not limited so.",
    "day": (
        "Paid models go on (many cost under $0.001 an answer), and ornb.connect(offline=True) is "
        "free; 10 USD of credits, bought once, raise 50 free calls a day to 1,000."
    ),
    "provider": (
        "Other free models do, ornb.models(free=True) lists them; openrouter/free picks one by "
        "itself."
    ),
    "unknown": "Wait, or ask another model.",
}


@dataclass(frozen=True)
class Quota:
    """The free calls that are left, as far as is known.

    Examples
    --------
    >>> FreeQuota().facts()  # as ornb.quota() gives it
    Free calls: 0 of 20 this minute, 0 of 50 today (documented limits); resets at 00:00 UTC
    """

    minute_used: int
    """Free calls of the last 60 s."""
    minute_limit: int | None
    """None at a server that is not OpenRouter, whose limits nobody tells."""
    day_used: int
    """Free calls since 00:00 UTC, other kernels' included where they are known."""
    day_limit: int | None
    """The same."""
    resets_at: datetime
    """When the day's count begins anew (UTC)."""
    wait_s: float
    """Seconds until a further free call would be allowed; 0 is now."""
    limits_from: str
    """"documented", "key" (``GET /key`` said so), "refusal" (a 429 did) or "unknown"."""
    waits: bool
    """Whether free calls are spaced by us."""
    last_refusal: Refusal | None = None
    refused_by: str | None = None
    """The budget of the key, where it is spent: every call is refused then, free ones too."""

    @property
    def minute_left(self) -> int | None:
        """Free calls left for this minute; None where nobody tells."""
        return None if self.minute_limit is None else max(0, self.minute_limit - self.minute_used)

    @property
    def day_left(self) -> int | None:
        """Free calls left for this UTC day; None where nobody tells."""
        return None if self.day_limit is None else max(0, self.day_limit - self.day_used)

    def __repr__(self) -> str:
        if self.minute_limit is None or self.day_limit is None:
            return "Free calls: this server is not OpenRouter and tells no limits"
        source = {"documented": "documented limits", "key": "the key's limits"}
        text = (
            f"Free calls: {self.minute_used} of {self.minute_limit} this minute, "
            f"{self.day_used:,} of {self.day_limit:,} today "
            f"({source.get(self.limits_from, 'limits of a refusal')}); resets at 00:00 UTC"
        )
        if self.wait_s > 0:
            text += f"; next one in {self.wait_s:.0f} s"
        if self.waits:
            text += "; free calls are spaced"
        if self.refused_by is not None:
            text += f"\nThe key's budget: {self.refused_by}"
        if self.last_refusal is not None:
            text += f"\nLast refusal: {self.last_refusal}"
        return text


class FreeQuota:
    """Counts free calls, and spaces them if asked to. May be used from any thread.

    `elsewhere` returns, since a Unix time, the times of free calls that other processes made.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        elsewhere: Callable[[float], Iterable[float]] | None = None,
        wait: bool = False,
    ) -> None:
        self.wait = wait
        self._clock = clock
        self._elsewhere = elsewhere
        self._made: deque[float] = deque()
        self._others: list[float] = []
        self._others_at = -_DAY_S
        self._address: str | None = None
        self._forget()
        # A stream that nobody finished is ended by the garbage collector, also in a thread that
        # has the lock: what has ended is queued, and booked by who has the lock next.
        self._ended: deque[tuple[float, Reply, OrnbError | None]] = deque()
        self._open_locks()

    def _open_locks(self) -> None:
        """Make the lock: in a fork another one, as a thread of its parent may have had it."""
        self._lock = threading.Lock()

    def serve(self, address: str) -> None:
        """Count calls to this address from now on; what another told is forgotten."""
        with self._lock:
            self._book()
            if address != self._address:
                self._address = address
                self._forget()

    def _forget(self) -> None:
        """Know no more of an account than the documentation says."""
        self._minute_limit: int | None = None
        self._day_limit: int | None = None
        self._limits_from = "unknown"
        if self._address is None or is_openrouter(self._address):
            self._minute_limit, self._day_limit = PER_MINUTE, PER_DAY
            self._limits_from = "documented"
        self._unseen, self._unseen_day = 0, -1
        self._closed_until = 0.0
        self._last_refusal: Refusal | None = None
        self._refused_by: str | None = None

    def take(
        self, body: Mapping[str, Any], pause: Callable[[float], bool] | None = None
    ) -> Callable[[Reply, OrnbError | None], None] | None:
        """Count a call that is about to leave; wait for its turn first, if asked to.

        `pause` waits so many seconds, and is True if the call is given up. Returned is what is to
        be told how the call ended. A turn later than `LONGEST_WAIT_S` is refused.
        """
        if not is_counted(body):
            return None
        mark = self._turn(str(body.get("model")), pause or _sleep) if self.wait else self._count()
        if mark is None:
            return None  # given up while it waited

        def settle(reply: Reply, error: OrnbError | None) -> None:
            self._ended.append((mark, reply, error))

        return settle

    def facts(self) -> Quota:
        """Return what is used and left now."""
        self._look_elsewhere()
        with self._lock:
            self._book()
            now = self._clock()
            return Quota(
                minute_used=self._between(now - _MINUTE_S, now),
                minute_limit=self._minute_limit,
                day_used=self._today(now),
                day_limit=self._day_limit,
                resets_at=datetime.fromtimestamp(_midnight(now), UTC),
                wait_s=self._wait_s(now),
                limits_from=self._limits_from,
                waits=self.wait,
                last_refusal=self._last_refusal,
                refused_by=self._refused_by,
            )

    def believe(self, key: Mapping[str, Any]) -> None:
        """Accept what the service says of the key (`Client.key`)."""
        told, budget = key.get("free_model_daily_requests"), keys.describe(key).budget
        self._look_elsewhere()
        with self._lock:
            self._book()
            now = self._clock()
            self._refused_by = repr(budget) if budget is not None and budget.is_spent else None
            before, limit = self._day_limit, _count(told, "limit")
            if limit is not None:
                self._limits_are("key", day=limit)
                used = _count(told, "used")
                if used is not None:
                    known = self._between(_midnight(now) - _DAY_S, now)
                    self._unseen, self._unseen_day = max(0, used - known), _day(now)
            elif isinstance(key.get("is_free_tier"), bool) and self._limits_from != "refusal":
                self._limits_are(
                    "key", day=PER_DAY if key["is_free_tier"] else PER_DAY_WITH_CREDITS
                )
            if (self._day_limit or 0) > (before or 0):  # such as by credits that were bought
                self._closed_until = min(self._closed_until, _next_minute(now))

    def _limits_are(
        self, source: str, *, minute: int | None = None, day: int | None = None
    ) -> None:
        """Take over what was told; who tells one limit of OpenRouter's has the other as well."""
        self._limits_from = source
        self._minute_limit = minute or self._minute_limit or PER_MINUTE
        self._day_limit = day if day is not None else self._day_limit or PER_DAY

    def _count(self) -> float:
        with self._lock:
            self._book()
            now = self._clock()
            self._add(now)
            return now

    def _add(self, now: float) -> None:
        self._made.append(now)
        while self._made and self._made[0] < now - _DAY_S:
            self._made.popleft()

    def _turn(self, model: str, pause: Callable[[float], bool]) -> float | None:
        """Wait until there is room, and count the call in the same moment."""
        while True:
            with suppress(ConfigError):  # no call is lost over a database
                self._look_elsewhere()
            with self._lock:
                self._book()
                now = self._clock()
                wait = self._wait_s(now)
                if wait <= 0:
                    self._add(now)
                    return now
            if wait > LONGEST_WAIT_S:
                raise self._too_late(model, now, wait)
            if pause(wait):
                return None

    def _too_late(self, model: str, now: float, wait: float) -> FreeQuotaReached:
        until = datetime.fromtimestamp(now + wait, UTC)
        why = Refusal("day", until, _INSTEAD["day"], self._day_limit)
        return FreeQuotaReached(f"{model} was not sent: {why}", model=model, retry_after=wait)

    def _book(self) -> None:
        """Take in how calls ended; the lock is held."""
        while self._ended:
            mark, reply, error = self._ended.popleft()
            now = self._clock()
            if reply.timing.queued_s is None and mark in self._made:
                self._made.remove(mark)  # it never left
            for _ in range(reply.attempts - 1):
                self._add(now)  # each attempt counts, refused ones too
            if isinstance(error, RateLimited) and not isinstance(error, FreeQuotaReached):
                self._learn(explain(error, now=datetime.fromtimestamp(now, UTC)))

    def _learn(self, refusal: Refusal) -> None:
        self._last_refusal = refusal
        if refusal.why in ("minute", "day") and refusal.until is not None:
            self._closed_until = max(self._closed_until, refusal.until.timestamp())
            if refusal.limit:
                self._limits_are("refusal", **{refusal.why: refusal.limit})

    def _wait_s(self, now: float) -> float:
        """Seconds until one more is allowed; the lock is held."""
        waits = [0.0, self._closed_until - now]
        if self._day_limit is not None and self._today(now) >= self._day_limit:
            waits.append(_midnight(now) - now)
        recent = sorted(t for t in (*self._made, *self._others) if now - _MINUTE_S < t <= now)
        if self._minute_limit is not None and len(recent) >= self._minute_limit:
            # Any 60 s hold at most the limit, wherever the service's own minute begins.
            waits.append(recent[-self._minute_limit] + _MINUTE_S - now)
        return max(waits)

    def _today(self, now: float) -> int:
        unseen = self._unseen if self._unseen_day == _day(now) else 0
        return self._between(_midnight(now) - _DAY_S, now) + unseen

    def _between(self, moment: float, now: float) -> int:
        """Calls since a moment; those of a clock that has been put back since are left out."""
        return sum(moment <= t <= now for t in (*self._made, *self._others))

    def _look_elsewhere(self) -> None:
        """Ask for other processes' calls, once in a while, and not under the lock."""
        now = self._clock()
        if self._elsewhere is None or abs(now - self._others_at) < _ELSEWHERE_LIFETIME_S:
            return
        self._others_at = now
        others = list(self._elsewhere(now - _DAY_S))
        with self._lock:
            self._others = others


def is_counted(body: Mapping[str, Any]) -> bool:
    """Return whether a call, by any of its ``models``, counts towards the limits of free ones."""
    fallbacks = body.get("models")
    named = [body.get("model"), *(fallbacks if isinstance(fallbacks, list | tuple) else ())]
    return any(isinstance(name, str) and (name.endswith(FREE) or name == ROUTER) for name in named)


def explain(error: RateLimited, *, now: datetime | None = None) -> Refusal:
    """Turn a 429 into when, why and what else.

    Bodies on record, 2025-10 to 2026-09: ``free-models-per-min``, ``free-models-per-day``, the same
    with ``-high-balance``, "temporarily rate-limited upstream", ``upstream_provider_shared_pool``.
    """
    now = now or datetime.now(UTC)
    raw = mapping(error.raw)
    metadata = mapping(raw.get("metadata"))
    words = f"{error} {raw.get('message')} {metadata}".lower()
    why = "unknown"
    if "free-models-per-min" in words:
        why = "minute"
    elif "free-models-per-day" in words or error.limit_source == "openrouter_free_tier_daily":
        why = "day"
    elif "upstream" in words:
        why = "provider"
    pause = error.retry_after
    if pause is None:
        pause = retry_after({}, metadata, now=now)
    until = now + timedelta(seconds=pause) if pause is not None else None
    if until is None and why in ("day", "minute"):
        ends = _midnight if why == "day" else _next_minute
        until = datetime.fromtimestamp(ends(now.timestamp()), UTC)
    return Refusal(why, until, _INSTEAD[why], _limit(why, words, metadata))


def _limit(why: str, words: str, metadata: Mapping[str, Any]) -> int | None:
    headers = metadata.get("headers")
    told = _count(headers, "X-RateLimit-Limit")
    if told is None and why == "day":
        return PER_DAY_WITH_CREDITS if "high-balance" in words else None
    return told if why in ("minute", "day") else None


def _count(record: Any, key: str) -> int | None:
    number = amount(mapping(record).get(key))
    return None if number is None else int(number)


def _day(now: float) -> int:
    return int(now // _DAY_S)


def _midnight(now: float) -> float:
    """The next 00:00 UTC."""
    return (_day(now) + 1) * _DAY_S


def _next_minute(now: float) -> float:
    return (now // _MINUTE_S + 1) * _MINUTE_S


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
