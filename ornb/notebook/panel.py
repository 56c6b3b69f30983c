"""A small live dashboard: what this kernel's calls used, cost and may still cost.

It listens to the usage tracker, looks at most twice a second, reads new rows only, and sends the
page what changed. Beside it stands an ordinary output that stays in the notebook when the kernel
is gone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import IPython
import traitlets as t
from IPython.core.events import EventManager

from .. import session
from ..errors import OrnbError
from .base import LastingWidget, in_thread, module, sheet
from .live import pacer
from .overview import page_html, page_text, shown

if TYPE_CHECKING:
    from ..ledger.tracker import UsageTracker

HERE = Path(__file__)
GAP_S = 0.5
"""Seconds between two looks at the usage, at least."""
KEPT_EVERY_S = 10.0
"""The output that stays is brought up to date when all is quiet, and this often while it is not."""


class UsagePanel(LastingWidget):
    """What the calls used, live. Made by `ornb.usage.panel`.

    Money that was billed, money that is estimated and calls of unknown cost stay apart, and so do
    live, recorded and offline calls. Budgets and free calls, which belong to the kernel's own
    client, are shown for `ornb.usage` alone.

    Parameters
    ----------
    tracker : UsageTracker
        Whose calls.
    **traits : Any
        Traits of every Jupyter widget, such as ``layout``.

    Raises
    ------
    ConfigError
        An unknown argument.

    Examples
    --------
    >>> from ornb.api.reply import Reply, Usage
    >>> tracker = ornb.UsageTracker()
    >>> panel = UsagePanel(tracker)
    >>> tracker.record(Reply(usage=Usage(22, 9, cost_usd=0.25)))
    >>> panel.look()
    >>> panel.tiles[0]["value"]
    '$0.25'
    >>> panel.close()
    """

    _esm = module(HERE)
    _css = sheet(HERE)

    tiles: Any = t.List(read_only=True).tag(sync=True)
    """The figures at the top, each with ``name``, ``value`` and ``notes``."""

    sources: Any = t.List(read_only=True).tag(sync=True)
    """Number of calls of each source: live, recorded, local, canned."""

    latest: Any = t.List(read_only=True).tag(sync=True)
    """The last calls, oldest first: ``model``, ``source``, ``status``, and ``seconds`` to the first
    token, None where it has none."""

    budgets: Any = t.List(read_only=True).tag(sync=True)
    """Open budgets: ``text``, and ``spent`` and ``kept`` as shares of the ceiling, 0 to 1."""

    free_calls = t.Dict(read_only=True).tag(sync=True)
    """Calls of free models, used and allowed, for the ``minute`` and the ``day``; empty where they
    are not counted."""

    models = t.Dict(read_only=True).tag(sync=True)
    """``rows`` of models and sources, most expensive first, and how many ``more`` there are."""

    kept = t.Unicode("", read_only=True).tag(sync=True)
    """What becomes of the calls when the kernel ends, and what keeps them."""

    updated_at = t.Unicode("", read_only=True).tag(sync=True)
    """When something changed last, as an ISO time in UTC."""

    # Also there when __init__ refused its arguments: Python closes what it throws away.
    _stops: tuple[Any, ...] = ()

    def __init__(self, tracker: UsageTracker, **traits: Any) -> None:
        self._tracker = tracker
        self._kept_is_old = False
        self._kept_at = 0.0
        self._asked_key = False
        self._at: datetime | None = None
        self._cell_at: datetime | None = None
        super().__init__(**traits)
        self._news, leave = pacer().join(self._turn)
        self.look()
        self._stops = (
            tracker.on_change(self._news),
            tracker.on_bill(lambda *_: self._news()),
            leave,
        )
        self.on_msg(self._on_message)
        events = getattr(IPython.get_ipython(), "events", None)
        if isinstance(events, EventManager):  # a host's own may have none, or others
            events.register("post_run_cell", self._cell_ended)
            self._stops += (partial(events.unregister, "post_run_cell", self._cell_ended),)

    @classmethod
    def of(cls, tracker: UsageTracker) -> UsagePanel:
        """Return the panel of a tracker: one, however often it is shown.

        Parameters
        ----------
        tracker : UsageTracker
            Whose calls.

        Returns
        -------
        UsagePanel
            The open one, else a new one.

        Examples
        --------
        >>> UsagePanel.of(ornb.usage) is UsagePanel.of(ornb.usage)
        True
        """
        if tracker._panel is None:
            tracker._panel = cls(tracker)
        return tracker._panel

    def look(self) -> None:
        """Bring the panel up to date now; it does so by itself within a second of any call.

        Examples
        --------
        >>> UsagePanel.of(ornb.usage).look()
        """
        self._kept_is_old |= self._look()

    def refresh(self) -> None:
        """Ask the service for the key's own limits of free calls, and look.

        Returns at once; a thread asks. Nothing is asked before a live call was made.

        Examples
        --------
        >>> UsagePanel.of(ornb.usage).refresh()
        """
        in_thread("ornb-panel", self._ask_key)

    def close(self) -> None:
        """End the panel: it listens no longer.

        Examples
        --------
        >>> ornb.usage.panel().close()
        """
        stops, self._stops = self._stops, ()
        for stop in stops:
            stop()
        if stops and self._tracker._panel is self:
            self._tracker._panel = None
        super().close()

    # ------------------------------------------------------------------ looking

    @property
    def _is_ours(self) -> bool:
        """Whether budgets and free calls count the same calls."""
        return self._tracker is session.usage

    def _look(self) -> bool:
        """Read what is new; tell whether anything changed."""
        with self._lock, self.hold_sync():
            totals = self._tracker.totals()
            budgets = session.default.budgets.active() if self._is_ours else ()
            # To ask the key for it takes time, which a thread of its own has.
            quota = session.quota(ask=False) if self._is_ours else None
            said = shown(totals, budgets, quota)
            said["kept"] = self._tracker._kept_words("ornb.usage" if self._is_ours else "")
            self._said = said
            changed = [name for name, value in said.items() if getattr(self, name) != value]
            for name in changed:
                self.set_trait(name, said[name])
            if changed:
                self._at = datetime.now(UTC)
                self.set_trait("updated_at", self._at.isoformat(timespec="milliseconds"))
        if not self._asked_key and totals.of("live").calls:
            self._asked_key = True
            self.refresh()
        return bool(changed)

    def _ask_key(self) -> None:
        try:
            if self._stops and self._is_ours and self._tracker.totals().of("live").calls:
                session.quota()
        except OrnbError:
            pass  # the limits known so far stand
        self._news()

    def _turn(self) -> float:
        """Look, on the pacer's thread; once more after a change: budgets settle after rows."""
        with self.guard():
            changed = self._look()
            if changed:
                self._kept_is_old = True
                self._news()
            if self._kept_is_old and (not changed or monotonic() - self._kept_at > KEPT_EVERY_S):
                self._keep()
        return GAP_S

    def _cell_ended(self, *_: object) -> None:
        """Be up to date at a cell's end: where no page is, what a thread sends is not kept."""
        with self.guard():
            self._look()
            if self._at != self._cell_at:
                self._cell_at = self._at
                self._keep()

    def _on_message(self, _: Any, content: Any, __: Any) -> None:
        kind = content.get("type") if isinstance(content, dict) else None
        if kind == "refresh":
            self.refresh()
        elif kind == "look":
            self._news()

    # ------------------------------------------------------------------ the output that stays

    def _ipython_display_(self) -> None:
        self.look()
        if not hasattr(IPython.get_ipython(), "kernel"):
            print(self._static_text())
            return
        self._kept_is_old, self._kept_at, self._cell_at = False, monotonic(), self._at
        self._show()

    def _live_text(self) -> str:
        # It must hold for later as well.
        return "Usage panel (needs a running kernel); see the output above."

    def _keep(self) -> None:
        self._kept_is_old, self._kept_at = False, monotonic()
        super()._keep()

    def _bundle(self) -> dict[str, Any]:
        html = page_html(self._said, self._at, css_class=self._lasting_class)
        return {"text/html": html, "text/plain": self._static_text()}

    def _static_text(self) -> str:
        return page_text(self._said, self._at)

    def _static_html(self) -> str:
        return page_html(self._said, self._at)
