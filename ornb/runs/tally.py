"""How many rows of a batch ended how, and what they cost: for its bar, its words, its summary."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from ..api.reply import counted, format_usd
from ..pricing import EXACT
from .answers import Answer

_VERBS = {"error": "failed", "stopped": "stopped", "skipped": "skipped"}


class Tally:
    """Counts rows, and shows the count as a bar; `total` is None where nobody knows it."""

    def __init__(self, total: int | None, *, show: bool) -> None:
        from tqdm.auto import tqdm

        self.counts: Counter[str] = Counter()
        self.spent: dict[str, Decimal] = {"billed": Decimal(0)}
        """USD, exact, by whose word."""
        self._unknown = 0
        self.show = show
        self._last: dict[str, str] = {}
        self._bar: Any = tqdm(total=total, unit="row", disable=not show)

    def add(self, answer: Answer, rows: int = 1, asked: int = 1) -> None:
        """Count an answer, for all rows that ask the same; of `asked` that ask different things."""
        repeats = "cached" if answer.status == "ok" else answer.status
        self.counts[answer.status] += asked
        self.counts[repeats] += rows - asked
        if answer.status in _VERBS:
            self._last[answer.status] = answer.error or ""
        if answer.status != "cached":
            self._spend(answer)
        if self.show:
            self._say(answer, rows)

    def _spend(self, answer: Answer) -> None:
        by = "reckoned by a proxy" if answer.cost_source == "proxy" else "billed"
        for word, usd in ((by, answer.cost_usd), ("paid by own keys", answer.byok_usd)):
            if usd:  # sums that grow, and are exact: the last row costs what the first did
                known = self.spent.get(word, Decimal(0))
                self.spent[word] = EXACT.add(known, Decimal(repr(float(usd))))
        is_untold = answer.cost_usd is None or answer.cost_source == "fee"
        self._unknown += answer.source == "live" and is_untold

    @property
    def cost(self) -> str:
        """What it cost, by whose word."""
        parts = [f"{format_usd(float(usd))} {word}" for word, usd in self.spent.items() if usd]
        parts += [f"{self._unknown:,} of unknown cost"] if self._unknown else []
        return ", ".join(parts) or "$0 billed"

    def _say(self, answer: Answer, rows: int) -> None:
        pieces = []
        if answer.source == "live":
            pieces = [self.cost]
        elif answer.source in ("local", "canned") and answer.status != "error":
            pieces = [f"{answer.source}, nothing billed"]
        if failed := self.counts["error"]:
            pieces.append(f"{failed:,} failed")
        self._bar.set_postfix_str(", ".join(pieces), refresh=False)
        # It counts answers, so that it ends short of full, and as no success, where some fail.
        self._bar.update(rows if answer.status in ("ok", "cached") else 0)

    def begin(self, cached: int, skipped: list[str | None]) -> None:
        """Count rows that are known, and those that cannot be asked."""
        self.counts["cached"] += cached
        self.leave(len(skipped), skipped[-1] if skipped else None)
        self._bar.update(cached + len(skipped))

    def leave(self, rows: int, why: str | None) -> None:
        """Count rows that are not asked."""
        if rows:
            self.counts["skipped"] += rows
            self._last["skipped"] = why or ""

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    @property
    def done(self) -> int:
        """Rows that are answered."""
        return self.counts["ok"] + self.counts["cached"]

    @property
    def left_out(self) -> str:
        """What a person should know of rows that are not answered; what they share once."""
        reasons: dict[str, list[str]] = {}
        for status, verb in _VERBS.items():
            if count := self.counts[status]:
                reasons.setdefault(self._last[status], []).append(f"{counted(count, 'row')} {verb}")
        return "\n".join(f"{' and '.join(each)}; the last: {why}" for why, each in reasons.items())
