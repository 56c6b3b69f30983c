"""What a call passes before it leaves: the budgets, then the count of free calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .bound import Quote, quote
from .budget import admit
from .price_book import PriceBook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..api.reply import Reply
    from ..api.stream import Settle
    from ..errors import OrnbError
    from .quota import FreeQuota

__all__ = ["Gate"]


class Gate:
    """The ``before_call`` of a client (`ornb.api.stream.BeforeCall`).

    `record` and `endpoints` look a model up, the second while a budget is open; `is_answered_here`
    says of a request that it will not leave this machine.
    """

    def __init__(
        self,
        record: Callable[[str], Any],
        endpoints: Callable[[str], Mapping[str, Any]],
        quota: FreeQuota,
        is_answered_here: Callable[[Mapping[str, Any]], bool],
    ) -> None:
        self._book = PriceBook(record, lambda model: endpoints(model).get("endpoints") or [])
        self._cached_book = PriceBook(record)
        self._quota = quota
        self._is_answered_here = is_answered_here

    def __call__(self, body: Mapping[str, Any], pause: Callable[[float], bool]) -> Settle | None:
        """Pass a call, or raise; `pause` waits so many seconds, True if the call is given up."""
        if self._is_answered_here(body):
            reservation = admit(body, self._book, offline=True)
            return None if reservation is None else reservation.settle
        reservation = admit(body, self._book)
        try:
            counted = self._quota.take(body, pause)
        except BaseException:
            if reservation is not None:
                reservation.release()
            raise
        if counted is None or reservation is None:
            return counted or (None if reservation is None else reservation.settle)
        return _both(counted, reservation.settle)

    def quote(self, body: Mapping[str, Any], *, cached: bool = False) -> Quote:
        """Return what a request can cost, and is likely to; offline, at the real service.

        `cached` asks for no endpoints: at once, from the model's own listing.
        """
        return quote(body, self._cached_book if cached else self._book)


def _both(first: Settle, second: Settle) -> Settle:
    def settle(reply: Reply, error: OrnbError | None) -> None:
        first(reply, error)
        second(reply, error)

    return settle
