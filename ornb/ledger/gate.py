"""What a call passes before it leaves: the budgets, then the count of free calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import recording
from .budget import admit
from .price_book import PriceBook
from .worst_case import Quote, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..client import Client
    from ..errors import OrnbError
    from ..wire.reply import Reply
    from ..wire.stream import Settle
    from .quota import FreeQuota

__all__ = ["Gate"]


class Gate:
    """The ``before_call`` of a client (`ornb.wire.stream.BeforeCall`).

    The client is also asked for the endpoints of a model while a budget is open.
    """

    def __init__(self, client: Client, record: Callable[[str], Any], quota: FreeQuota) -> None:
        self._client = client
        self._book = PriceBook(record, lambda model: client.endpoints(model).get("endpoints") or [])
        self._at_hand = PriceBook(record)
        self._quota = quota

    def __call__(self, body: Mapping[str, Any], pause: Callable[[float], bool]) -> Settle | None:
        """Pass a call, or raise; `pause` waits so many seconds, True if the call is given up."""
        if self._client.source == "offline" or recording.answers(body, self._client.base_url):
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

    def quote(self, body: Mapping[str, Any], *, at_hand: bool = False) -> Quote:
        """Return what a request can cost, and is likely to; offline, at the real service.

        `at_hand` asks for no endpoints: at once, from the model's own listing.
        """
        return quote(body, self._at_hand if at_hand else self._book)


def _both(first: Settle, second: Settle) -> Settle:
    def settle(reply: Reply, error: OrnbError | None) -> None:
        first(reply, error)
        second(reply, error)

    return settle
