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

    Parameters
    ----------
    client : Client
        Whose calls pass; also asked for the endpoints of a model while a budget is open.
    record : callable
        Gives the catalogue record of a model's id, or None.
    quota : FreeQuota
        Counts the free calls.

    Examples
    --------
    >>> from ornb.ledger.quota import FreeQuota
    >>> gate = Gate(ornb.connect(offline=True), {}.get, counter := FreeQuota())
    >>> settle = gate({"model": "acme/orbit:free"}, lambda seconds: False)
    >>> counter.facts().minute_used  # offline nothing is limited
    0
    """

    def __init__(self, client: Client, record: Callable[[str], Any], quota: FreeQuota) -> None:
        self._client = client
        self._book = PriceBook(record, lambda model: client.endpoints(model).get("endpoints") or [])
        self._at_hand = PriceBook(record)
        self._quota = quota

    def __call__(self, body: Mapping[str, Any], pause: Callable[[float], bool]) -> Settle | None:
        """Let a call through, or raise.

        Parameters
        ----------
        body : mapping
            The request.
        pause : callable
            Waits so many seconds; True: the call is given up.

        Returns
        -------
        callable or None
            To be told how the call ended.

        Raises
        ------
        BudgetExceeded
            It could cost more than is left of a budget.
        FreeQuotaReached
            It would have to wait for its turn too long.
        """
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
        """Tell what a request can cost, and is likely to.

        Parameters
        ----------
        body : mapping
            The request.
        at_hand : bool
            True asks for no endpoints: at once, from the model's own listing.

        Returns
        -------
        Quote
            In USD. Offline nothing is billed, and the quote is that of the real service.

        Examples
        --------
        >>> gate = ornb.connect(offline=True).before_call
        >>> gate.quote({"model": "openai/gpt-4o-mini", "messages": [], "max_tokens": 9}).basis
        'endpoints'
        """
        return quote(body, self._at_hand if at_hand else self._book)


def _both(first: Settle, second: Settle) -> Settle:
    def settle(reply: Reply, error: OrnbError | None) -> None:
        first(reply, error)
        second(reply, error)

    return settle
