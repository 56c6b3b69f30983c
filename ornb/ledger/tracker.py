"""What was asked and what it used: one row a call, failures and stopped answers too.

A call is recorded as one tuple at the end of a list, which costs the same at row 10 and at row
1,000,000, and which no two threads can mix. Reading turns what is new into typed columns (a quarter
of the memory of dicts) and joins them to the frame made before, so that a table of 100,000 calls
and one more is not built anew.

What was billed and what was estimated are never added up together (docs/costs.md). Sums of money
are those of the decimals, in whatever order the calls ended.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import columns as c
from ..api.reply import values_of
from ..errors import ConfigError, did_you_mean
from .bills import bills
from .display import html_table, kept_words, text_table
from .sums import NEEDED, of_frame
from .table import (
    KEPT,
    SHALLOW,
    STORED,
    USAGE_COLUMNS,
    exact_sum,
    frame_of,
    moment,
    rows_of,
    with_books,
)
from .totals import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..api.client import Client
    from ..api.reply import Reply
    from ..notebook.panel import UsagePanel
    from .bills import Bill
    from .store import Store
    from .totals import Totals

PERIODS = {"hour": "h", "day": "D", "week": "W-SUN", "month": "M"}
"""Parts of the time that a summary groups by, and pandas' names of them."""


class UsageTracker:
    """Every call of a session: tokens, seconds, USD.

    May be used from any thread. Shows itself in a notebook: the last calls, and the total.

    Parameters
    ----------
    client : callable, optional
        Gives the client that `reconcile` asks by default.

    Examples
    --------
    >>> from ornb.api.reply import Reply, Usage
    >>> tracker = UsageTracker()
    >>> used = Usage(prompt_tokens=22, completion_tokens=9, total_tokens=31, cost_usd=0.000145)
    >>> tracker.record(Reply(requested_model="lab/small", usage=used))
    >>> tracker.df[["model", "total_tokens", "cost_usd", "cost_source"]].values.tolist()
    [['lab/small', 31, 0.000145, 'billed']]
    """

    def __init__(self, client: Callable[[], Client] | None = None) -> None:
        self._client = client
        self._tail: list[tuple[Any, ...]] = []
        self._kept: pd.DataFrame | None = None
        self._words: dict[Any, Any] = {}
        self._observers: list[Callable[[], object]] = []
        self._bill_observers: list[Callable[[str, float], object]] = []
        self._store: Store | None = None
        self._panel: UsagePanel | None = None  # while one is open
        self._next = 0  # number of the next row in a store; it grows on after `clear`
        self._name = secrets.token_hex(6)
        self._running = Running()
        self._open_locks()

    def _open_locks(self) -> None:
        """Make the locks: in a fork other ones, as a thread of its parent may have had them.

        `_lock` guards the tail and is held for a moment only; `_freezing` guards what is frozen,
        and calls go on being recorded while it is held. A stream that nobody finished is ended by
        the garbage collector, also in a thread that has `_lock`: so it may be taken twice, and the
        tail is changed in place only, by steps that nothing can come between. `_summing` guards
        the sums, and is taken between the other two.
        """
        self._lock, self._freezing = threading.RLock(), threading.Lock()
        self._summing = threading.Lock()

    def record(self, reply: Reply, *, estimate_usd: float | None = None) -> None:
        """Add a row for a call that ended, in whatever way.

        Parameters
        ----------
        reply : Reply
            What came of it.
        estimate_usd : float, optional
            What the listed prices make of it, in USD.

        Examples
        --------
        >>> from ornb.api.reply import Reply
        >>> tracker = UsageTracker()
        >>> tracker.record(Reply(status="error", error="no route to host"))
        >>> len(tracker)
        1
        """
        row = values_of(reply, estimate_usd)
        with self._lock:
            self._tail.append(row)
            number, store = self._next, self._store
            self._next = number + 1
        if store is not None:
            store.keep(self.kernel, number, row)
        if self._observers:
            self._notify()

    @property
    def df(self) -> pd.DataFrame:
        """The calls as a table, oldest first.

        Returns
        -------
        pandas.DataFrame, one row a call
            Columns as in docs/tables.md. Yours to change.
        """
        with self._freezing:
            return self._frozen().copy(deep=not SHALLOW)

    def _frozen(self) -> pd.DataFrame:
        """All rows as one frame; `_freezing` is held."""
        with self._lock:
            rows = self._tail[:]
        kept = self._kept
        if rows or kept is None:
            new = frame_of(c.turned(rows), self._words)
            kept = new if kept is None else pd.concat([kept, new], ignore_index=True)
            with self._lock:  # only now, so that no error can lose a row
                self._kept = kept
                del self._tail[: len(rows)]
        return kept

    def summary(
        self,
        by: str | Sequence[str] = "model",
        *,
        since: Any = None,
        until: Any = None,
        calls: pd.DataFrame | Store | None = None,
    ) -> pd.DataFrame:
        """Sum the calls up by model, or by anything else.

        Parameters
        ----------
        by : str or sequence of str
            Columns of `df` to group by, or parts of the time (UTC) when a call was made: ``"day"``,
            ``"hour"``, ``"week"`` (begins on Monday), ``"month"``. So ``["day", "model"]``.
        since, until : str, datetime, date or timedelta, optional
            From then on, and before then, as for `history`: ``"today"``, ``"2026-11-01"``,
            ``"7 days"`` (ago).
        calls : pandas.DataFrame or Store, optional
            Rows of `df` or of `history`, or what `persist` returns: all that is kept there, read in
            parts, be it millions. By default all of `df`.

        Returns
        -------
        pandas.DataFrame, one row a group
            Columns as in docs/tables.md, most expensive first. What was charged and what was
            estimated stay apart. Recorded calls carry what they had cost when they were recorded:
            where ``sources`` has several, group by ``"source"`` too.

        Raises
        ------
        ConfigError
            There is no such column, a time is not one, or `calls` holds no calls.

        Examples
        --------
        >>> from ornb.api.reply import Reply
        >>> tracker = UsageTracker()
        >>> tracker.record(Reply(requested_model="lab/small"))
        >>> tracker.record(Reply(requested_model="lab/small", status="error"))
        >>> tracker.summary().loc["lab/small", ["calls", "errors"]].astype(int).tolist()
        [2, 1]
        """
        names: list[Any] = list(by) if isinstance(by, list | tuple) else [by]
        if not names:
            raise ConfigError("by is empty; name a column, such as by='model'")
        frame: Any = self.df if calls is None else calls
        if not isinstance(frame, pd.DataFrame):
            from .store import Store

            if isinstance(frame, Store):
                return frame.summary(names, since, until)
        if not NEEDED.issubset(getattr(frame, "columns", ())):
            raise ConfigError(
                f"calls is {type(frame).__name__} without the columns of calls; give rows of "
                "ornb.usage.df or ornb.usage.history(), or what ornb.usage.persist() returns."
            )
        for name in names:
            if name not in [*PERIODS, *frame.columns]:
                known = [*USAGE_COLUMNS, *PERIODS]
                raise ConfigError(did_you_mean(str(name), known, "column of the usage table"))
            if name in PERIODS:
                days = frame["started_at"].dt.tz_localize(None).dt.to_period(PERIODS[name])
                begun = days.dt.start_time.dt.tz_localize("UTC").dt.as_unit("us")
                frame = frame.assign(**{name: begun})
        if since is not None:
            frame = frame[frame["started_at"] >= moment(since)]
        if until is not None:
            frame = frame[frame["started_at"] < moment(until)]
        return of_frame(frame, names)

    def totals(self) -> Totals:
        """Return the sums of all calls, at the price of reading those that are new.

        Returns
        -------
        Totals
            By model and source, with exact decimals.

        Examples
        --------
        >>> from ornb.api.reply import Reply, Usage
        >>> tracker = UsageTracker()
        >>> tracker.record(Reply(usage=Usage(22, 9, cost_usd=0.000145)))
        >>> tracker.totals().of("live").cost_usd
        Decimal('0.000145')
        """
        with self._summing:
            running = self._running
            with self._lock:
                kept = self._kept
                frozen = 0 if kept is None else len(kept)
                late = self._tail[max(0, running.read - frozen) :]
            if kept is not None and running.read < frozen:
                running.take_frame(kept.iloc[running.read :])
            running.take(late)
            return running.totals()

    def panel(self) -> UsagePanel:
        """Show the sums in a small live dashboard.

        Returns
        -------
        UsagePanel
            A widget: spend and budgets, tokens, calls, times, free calls, models. Asked for again,
            the same one; its ``close()`` ends it.

        Examples
        --------
        >>> UsageTracker().panel()
        Usage: no calls yet
        """
        from ..notebook.panel import UsagePanel

        return UsagePanel.of(self)

    def clear(self) -> None:
        """Forget all calls.

        Examples
        --------
        >>> tracker = UsageTracker()
        >>> tracker.clear()
        >>> len(tracker)
        0
        """
        with self._freezing, self._summing, self._lock:
            self._tail, self._kept, self._words = [], None, {}
            self._running = Running()
        self._notify()

    def reconcile(
        self,
        client: Client | None = None,
        *,
        patience_s: float = 30.0,
        sleep: Callable[[float], object] = time.sleep,
    ) -> pd.DataFrame:
        """Look calls up in the service's books, and fill in what they say.

        Bills come late: right after an answer the books know nothing of it for some seconds, which
        are waited for. Asked are the calls that have an id and were not looked up before, so doing
        it twice costs nothing. Recordings have no books.

        Parameters
        ----------
        client : Client, optional
            Who is asked; by default the kernel's client.
        patience_s : float
            Seconds to wait in all for bills that are not there yet.
        sleep : callable
            Waits so many seconds.

        Returns
        -------
        pandas.DataFrame, one row a call that was filled in
            Columns as in docs/tables.md, and ``cost_before_usd`` (float64). ``.attrs["missing"]``
            lists the ids that the books did not know in time.

        Raises
        ------
        ConfigError
            There is no client to ask.
        OrnbError
            The service refuses, e.g. the key. What was found until then is filled in.

        Examples
        --------
        >>> from ornb.api.reply import Reply
        >>> tracker = UsageTracker()
        >>> tracker.record(Reply(generation_id="gen-1", status="stopped"))
        >>> class Books:
        ...     source = "live"
        ...     def generation(self, generation_id):
        ...         return {"total_cost": 0.25, "native_tokens_completion": 9}
        >>> tracker.reconcile(Books())[["cost_usd", "completion_tokens"]].values.tolist()
        [[0.25, 9]]

        Notes
        -----
        ``cost_usd`` becomes what the books say. Tokens, the provider and the model that served are
        filled in where the answer had not said; ``native_…`` and ``server_…`` are the books' alone.
        """
        asked = client if client is not None else self._client() if self._client else None
        if asked is None:
            raise ConfigError("reconcile() has nobody to ask; give it a Client.")
        here = ("local", "canned") if asked.source == "offline" else ("live",)
        frame = self.df
        due = frame["generation_id"].notna() & frame["reconciled_at"].isna()
        wanted = frame.loc[due & frame["source"].isin(here), "generation_id"].tolist()
        found: dict[str, Bill] = {}
        try:
            for bill in bills(asked.generation, wanted, patience_s=patience_s, sleep=sleep):
                found[bill.generation_id] = bill
        finally:
            filled = self._fill(found)
        filled.attrs["missing"] = [one for one in dict.fromkeys(wanted) if one not in found]
        return filled

    def _fill(self, found: Mapping[str, Bill]) -> pd.DataFrame:
        """Write bills into the rows, the store and the budgets."""
        now = datetime.now(UTC)
        with self._freezing:
            before = self._frozen()
            rows = before.loc[before["generation_id"].isin(list(found))]
            changes = {}
            for position, values in zip(rows.index.tolist(), rows.to_numpy(), strict=True):
                row = dict(zip(USAGE_COLUMNS, values, strict=True))
                news = found[row["generation_id"]].news_for(row)
                changes[position] = {"reconciled_at": now, **news}
            after = with_books(before, changes) if changes else before
            with self._summing, self._lock:
                self._kept, store = after, self._store
                self._running.correct(rows, after.loc[rows.index])
            filled = after.loc[rows.index].assign(cost_before_usd=rows["cost_usd"])
        for bill in found.values():
            own = bill.byok_usd if bill.is_byok else 0.0
            if bill.cost_usd is not None and own is not None:
                paid = exact_sum([bill.cost_usd, own])
                for callback in tuple(self._bill_observers):
                    callback(bill.generation_id, paid)
        if changes:
            self._notify()
        if changes and store is not None:
            ids = rows["generation_id"].tolist()
            store.update(dict(zip(ids, changes.values(), strict=True)))
        return filled

    def persist(self, url: str | os.PathLike[str] | None = None) -> Store:
        """Keep the calls in a database from now on, those made so far included.

        Each call is committed before its answer is handed on: a kernel that is killed loses none
        that had ended. Several kernels may write to one database.

        Parameters
        ----------
        url : str or path-like, optional
            By default a SQLite file in your data folder. A path, or any URL of SQLAlchemy's, such
            as ``postgresql+psycopg://user@host/database``.

        Returns
        -------
        Store
            ``.url`` says where; prompts, answers and keys are not in it.

        Raises
        ------
        ConfigError
            The URL is not one, its driver is not installed, or the database cannot be opened.

        Examples
        --------
        >>> tracker = UsageTracker()
        >>> tracker.persist("sqlite://")  # in memory; without a URL: a file of yours
        Store('sqlite://')
        """
        from .store import Store

        store = Store(STORED, url)
        with self._freezing:
            frame = self._frozen()
            with self._lock:
                first = self._next - len(frame) - len(self._tail)
            store.add(self.kernel, first, rows_of(frame))
            with self._lock:  # the rows after these are written by `record`
                late = self._tail[:]
                self._store, before = store, self._store
            if before is not None:
                before.close()
            store.add(self.kernel, first + len(frame), late)
        self._notify()
        return store

    def history(
        self,
        *,
        since: Any = None,
        until: Any = None,
        model: str | Sequence[str] | None = None,
        provider: str | Sequence[str] | None = None,
        label: str | Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Read the calls of all kernels back from the database that `persist` chose.

        Parameters
        ----------
        since, until : str, datetime, date or timedelta, optional
            From then on, and before then: ``"2026-11-01"``, a moment (UTC unless it has a zone),
            ``"today"`` or ``"yesterday"`` (days of UTC, as the service counts them), or how long
            ago: ``"7 days"``.
        model, provider, label : str or sequence of str, optional
            Only these; a model is looked for among those asked for and those that served.

        Returns
        -------
        pandas.DataFrame, one row a call, oldest first
            Columns as in docs/tables.md.

        Raises
        ------
        ConfigError
            `persist` was not called, the database cannot be read, or a time is not one.

        Examples
        --------
        >>> from ornb.api.reply import Reply
        >>> tracker = UsageTracker()
        >>> store = tracker.persist("sqlite://")
        >>> tracker.record(Reply(requested_model="lab/small"))
        >>> tracker.history(model="lab/small")["status"].tolist()
        ['ok']
        """
        if self._store is None:
            raise ConfigError("Nothing is kept yet: call ornb.usage.persist() first.")
        found = self._store.read(
            since=since, until=until, model=model, provider=provider, label=label
        )
        words: dict[Any, Any] = {}
        parts = [frame_of(columns, words, KEPT) for columns in found]
        if len(parts) == 1:
            return parts[0]
        return pd.concat(parts or [frame_of([], {}, KEPT)], ignore_index=True)

    def to_sql(self, url: str | os.PathLike[str]) -> int:
        """Write the calls so far to a database, once each.

        Parameters
        ----------
        url : str or path-like
            As for `persist`, which also keeps the calls to come. The table is ``ornb_usage``.

        Returns
        -------
        int
            Number of calls that were not there yet.

        Raises
        ------
        ConfigError
            The database cannot be opened or written to.

        Examples
        --------
        >>> from ornb.api.reply import Reply
        >>> tracker = UsageTracker()
        >>> tracker.record(Reply())
        >>> tracker.to_sql("sqlite://")
        1
        """
        from .store import Store

        store = Store(STORED, url)
        with self._freezing:
            frame = self._frozen()
            with self._lock:
                first = self._next - len(self._tail) - len(frame)
        written = store.add(self.kernel, first, rows_of(frame))
        store.close()
        return written

    @property
    def kernel(self) -> str:
        """Id of this process in a database."""
        return f"{self._name}-{os.getpid()}"

    def free_calls_elsewhere(self, since: float) -> list[float]:
        """Return when other kernels called free models, as far as the database knows.

        Parameters
        ----------
        since : float
            Unix seconds.

        Returns
        -------
        list of float
            Unix seconds; nothing without `persist`.

        Examples
        --------
        >>> UsageTracker().free_calls_elsewhere(0.0)
        []
        """
        if self._store is None:
            return []
        moment = datetime.fromtimestamp(since, UTC)
        found = self._store.free_calls(moment, but=self.kernel)
        return [each.timestamp() for each in found]

    def on_bill(self, callback: Callable[[str, float], object]) -> Callable[[], None]:
        """Have a function called with each bill that `reconcile` finds.

        Parameters
        ----------
        callback : callable
            Given the generation id and what was paid, by an own key too, in USD.

        Returns
        -------
        callable
            Call it to stop.

        Examples
        --------
        >>> stop = UsageTracker().on_bill(print)
        >>> stop()
        """
        return self._told(self._bill_observers, callback)

    def on_change(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Have a function called after each new row, and after `reconcile` and `clear`.

        Parameters
        ----------
        callback : callable
            Called without arguments, in the thread that made the call; keep it short. If it raises,
            a warning says so: the answer that was paid for is not lost over it.

        Returns
        -------
        callable
            Call it to stop.

        Examples
        --------
        >>> tracker, seen = UsageTracker(), []
        >>> stop = tracker.on_change(lambda: seen.append(len(tracker)))
        >>> tracker.clear()
        >>> stop()
        >>> seen
        [0]
        """
        return self._told(self._observers, callback)

    def _told(self, observers: list[Any], callback: Any) -> Callable[[], None]:
        with self._lock:
            observers.append(callback)

        def stop() -> None:
            with self._lock:
                observers[:] = [known for known in observers if known is not callback]

        return stop

    def __len__(self) -> int:
        with self._lock:
            return len(self._tail) + (0 if self._kept is None else len(self._kept))

    def __repr__(self) -> str:
        return f"UsageTracker: {text_table(self.df, self._kept_words())}"

    def _repr_html_(self) -> str:
        return html_table(self.df, self._kept_words())

    def _kept_words(self, name: str = "") -> str:
        return kept_words(self._store is not None, name)

    def _notify(self) -> None:
        for callback in tuple(self._observers):
            try:
                callback()
            except Exception as err:  # noqa: BLE001 - see on_change
                warnings.warn(
                    f"a function given to UsageTracker.on_change failed ({err!r}); "
                    "the call itself was recorded",
                    RuntimeWarning,
                    stacklevel=3,
                )
