"""What a batch is about to do, and what it can cost: known before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from ..api.reply import counted, format_usd
from ..messages.placeholders import LONGEST_JSON
from ..pricing import EXACT

if TYPE_CHECKING:
    from ..ledger.bound import Quote


@dataclass(frozen=True, repr=False)
class Plan:
    """What a batch will do.

    Examples
    --------
    >>> data = ["cat", "dog", "cat", None]
    >>> ornb.batch(data, "Translate {{text}}", "openai/gpt-4o-mini", max_tokens=9, dry_run=True)
    ... # doctest: +ELLIPSIS
    Batch: 4 rows, 2 calls of openai/gpt-4o-mini (1 repeats another row, 1 is skipped), about $...
    """

    rows: int
    calls: int
    """Requests to be sent: one for all rows that ask the same."""
    repeats: int
    """Rows that ask what an earlier row asks."""
    cached: int
    """Rows whose answer is known from an earlier run."""
    skipped: int
    """Rows that cannot be asked, since a value is missing."""
    model: str | None
    source: str
    """"live" or "offline": there, the amounts are those of the real service."""
    likely_usd: Decimal | None
    """A guess, as of `ornb.quote`; None where it is not known."""
    worst_usd: Decimal | None
    """The most that all calls together can cost, in USD; None when nothing bounds it."""
    unknown: str | None = None
    """Why there is no bound."""
    cap_usd: Decimal | None = None
    """The ceiling given for this batch."""
    prompt: str | None = None
    """What the first call will ask."""
    longest: int = 0
    """Of the longest request, in bytes; like all others it goes whole."""
    prices_of: str = ""
    """Of which day the prices are, for people; empty where the service listed them just now."""

    def __repr__(self) -> str:
        asides = [
            _aside(self.repeats, "repeats another row", "repeat other rows"),
            _aside(self.cached, "is answered already", "are answered already"),
            _aside(self.skipped, "is skipped", "are skipped"),
        ]
        aside = ", ".join(filter(None, asides))
        return (
            f"Batch: {counted(self.rows, 'row')}, {counted(self.calls, 'call')} of "
            f"{self.model or 'the default model'}{f' ({aside})' if aside else ''}{self._money()}"
            f"{self.whole and '; '}{self.whole}"
        )

    @property
    def whole(self) -> str:
        """That a long request is not cut, as one of ``%%ornb`` might be; else empty."""
        if self.longest <= LONGEST_JSON:
            return ""
        return f"nothing is left out of the longest request ({self.longest:,} bytes)"

    def _money(self) -> str:
        if not self.calls:
            return ""
        if self.worst_usd is None:
            text = f", no bound for the cost, since {self.unknown}"
        elif self.worst_usd == 0:
            text = ", free"
        else:
            likely = self.likely_usd
            about = "" if likely is None else f"about {format_usd(float(likely))}, "
            text = f", {about}at most {format_usd(float(self.worst_usd))}"
        if self.cap_usd is not None:
            text += f"; stops before {format_usd(float(self.cap_usd))}"
        of = f" ({self.prices_of})" if self.prices_of else ""
        return text + (f"; offline nothing is billed{of}" if self.source == "offline" else "")


def total(quotes: Iterable[Quote]) -> tuple[Decimal | None, Decimal | None, str | None]:
    """Add up what calls can cost: likely and at most, in USD, and why there is no bound."""
    likely: Decimal | None = Decimal(0)
    worst: Decimal | None = Decimal(0)
    unknown: str | None = None
    for each in quotes:
        one = each.worst_usd
        unknown = unknown or each.unknown
        worst = None if worst is None or one is None else EXACT.add(worst, one)
        guess = each.likely_usd
        likely = None if likely is None or guess is None else EXACT.add(likely, guess)
    return likely, worst, unknown


def _aside(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}" if count else ""
