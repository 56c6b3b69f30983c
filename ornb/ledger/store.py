"""The calls kept in a database: by default one SQLite file of the user, else any SQLAlchemy URL.

A call is committed before its answer is handed on, in the thread that made it: what had ended when
a kernel was killed is there. SQLite's write-ahead log lets several processes write, each waiting
for its turn; a commit outlives the process, and all but the last moments outlive a power cut
(``synchronous=NORMAL``).

Kept are the columns of the usage table: no prompt, no answer, and no key. Texts are searched for
what looks like one all the same, since an error's words come from outside.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine

from ..columns import strings
from ..errors import ConfigError, did_you_mean
from .database import data_path, first_line, opened, parts_of, url_of
from .quota import FREE, ROUTER
from .sums import FIGURES, FLAGS, ROWS, summed
from .table import moment

TABLE = "ornb_usage"
"""Name of the table."""
_KEY = re.compile(r"\bsk-[\w-]{8,}")
_LARGEST = 2**63
_MOMENT = "datetime64[us, UTC]"
_LETTERS = {"hour": 13, "day": 10, "week": 10, "month": 7}  # of a moment as text


class _Moment(sa.types.TypeDecorator[datetime]):
    """A UTC timestamp, also in databases whose times have no zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_PART = 5_000
"""Rows that are read at once, at most."""
_TYPES: dict[str, Any] = {
    "Int64": sa.BigInteger,
    "float64": sa.Double,
    "str": sa.Text,
    _MOMENT: _Moment,
}


def default_path() -> Path:
    """Return the place of the default database, whether it exists or not."""
    return data_path("usage.sqlite3")


class Store:
    """One table of calls in a database. May be used from any thread, and after a fork.

    `columns` has a pandas dtype each: Int64, float64, str or ``datetime64[us, UTC]``.
    """

    def __init__(
        self, columns: Mapping[str, str], url: str | os.PathLike[str] | None = None
    ) -> None:
        self.columns = dict(columns)
        self._url = url_of(default_path() if url is None else url, name="ornb.usage.persist(url)")
        self._table = _table(self.columns)
        self._writing = False
        self._late: deque[tuple[str, int, Sequence[Any]]] = deque()
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._engine = opened(
            self._url,
            self._table,
            "usage database",
            "Give another URL or path to ornb.usage.persist(...)",
        )
        weakref.finalize(self, _let_go, self._engine, self._process)

    @property
    def url(self) -> str:
        """Where it is, the password left out."""
        return self._url.render_as_string(hide_password=True)

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def add(self, kernel: str, first: int, rows: Sequence[Sequence[Any]]) -> int:
        """Write calls of a process (`kernel`), and commit; returns how many were new.

        `first` is the number of the first of them in that process; one that is there already is not
        written again. Values that a row lacks at its end are missing.
        """
        listed = [self._values(kernel, first + n, row) for n, row in enumerate(rows)]
        if not listed:
            return 0
        insert, table = self._table.insert(), self._table
        try:
            with self._begin() as connection:
                connection.execute(insert, listed)
        except ConfigError as error:
            if not isinstance(error.__cause__, exc.IntegrityError):
                raise
            # An earlier try got through, in part or whole.
            span = table.c.number.between(first, first + len(rows) - 1)
            known = sa.select(table.c.number).where(table.c.kernel == kernel, span)
            with self._begin() as connection:
                there = set(connection.scalars(known))
                listed = [values for values in listed if values["number"] not in there]
                if listed:
                    connection.execute(insert, listed)
        return len(listed)

    def keep(self, kernel: str, number: int, row: Sequence[Any]) -> None:
        """Write a call that has just ended, or warn: no answer is lost over a database.

        What cannot be written now is written with the next one.
        """
        self._late.append((kernel, number, row))
        told = self._flush()
        if told is not None:
            warnings.warn(told, RuntimeWarning, stacklevel=4)

    def _flush(self) -> str | None:
        """Write what waits; gives the reason where that is not possible."""
        with self._held():
            # A call that the garbage collector ends may come while this thread writes another one.
            while self._late and not self._writing:
                kernel, number, row = self._late[0]
                try:
                    self.add(kernel, number, [row])
                except ConfigError as error:
                    return f"{error} The calls are in ornb.usage, and are written with the next."
                self._late.popleft()
        return None

    def update(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Write what became known of calls later, by generation id."""
        self._flush()  # what is not there yet would not be found
        with self._begin() as connection:
            for generation_id, changes in rows.items():
                values = {name: _clean(v, self.columns[name]) for name, v in changes.items()}
                whose = self._table.c.generation_id == generation_id
                connection.execute(self._table.update().where(whose).values(**values))

    def read(
        self,
        *,
        since: Any = None,
        until: Any = None,
        **only: str | Sequence[str] | None,
    ) -> Iterator[list[list[Any]]]:
        """Read calls, oldest first, some at a time: the columns in order, then the process's id.

        `since` and `until` are days, moments (UTC unless they have a zone), or how long ago;
        `since` is within, `until` not. `model` is compared with the model that served too.
        """
        self._flush()
        columns = self._table.c
        listed = (columns[name] for name in (*self.columns, "kernel"))
        query = sa.select(*listed).where(*self._within(since, until))
        for name, value in only.items():
            if value is not None:
                query = query.where(self._is_one_of(name, value))
        begun = columns.get("started_at")  # databases differ in where they sort what is missing
        order = [] if begun is None else [begun.is_(None).desc(), begun]
        if self._engine.dialect.name == "sqlite":
            order = order[1:]  # there it is first, and the index has them in order
        return self._parts(query.order_by(*order, columns.kernel, columns.number))

    def _parts(self, query: sa.Select[Any]) -> Iterator[list[list[Any]]]:
        with self._begin() as connection:
            yield from parts_of(connection, query, _PART)

    def summary(self, names: Sequence[str], since: Any, until: Any) -> pd.DataFrame:
        """Sum the calls up by columns or periods, as `UsageTracker.summary` does."""
        self._flush()
        of = self._table.c
        with self._begin() as connection:
            listed = [
                *(_key(connection, of, name) for name in (*names, "source")),
                *(of[name] for name in FIGURES),
                *(of[name] == word for name, word in FLAGS),
            ]
            # by labels of their own, as a column that is asked for twice is else read once
            labelled = (each.label(f"c{n}") for n, each in enumerate(listed))
            query = sa.select(*labelled).where(*self._within(since, until))
            dtypes = [_MOMENT if name in _LETTERS else strings([]).dtype for name in names]
            return summed(
                parts_of(connection, query, ROWS), names, dtypes, lambda key: _group(key, names)
            )

    def _within(self, since: Any, until: Any) -> list[Any]:
        begun = self._table.c.started_at
        first = [] if since is None else [begun >= moment(since)]
        return [*first, *([] if until is None else [begun < moment(until)])]

    def free_calls(self, since: datetime, *, but: str) -> list[datetime]:
        """Return when free models were called by other processes (UTC), once for each attempt."""
        of = self._table.c
        is_free = sa.or_(*(of.model.endswith(end) for end in FREE), of.model == ROUTER)
        query = sa.select(of.started_at, of.attempts).where(
            of.started_at >= since, of.kernel != but, of.source == "live", is_free
        )
        with self._begin() as connection:
            return [at for at, times in connection.execute(query) for _ in range(times or 1)]

    def close(self) -> None:
        """Release the database."""
        with self._held():
            self._engine.dispose()

    def _is_one_of(self, name: str, value: str | Sequence[str]) -> Any:
        wanted = [value] if isinstance(value, str) else value
        if not isinstance(wanted, Collection) or not all(isinstance(one, str) for one in wanted):
            raise ConfigError(f"{name} is {value!r}; give a text, or several.")
        is_one = self._table.c[name].in_(wanted)
        return is_one | self._table.c.served_model.in_(wanted) if name == "model" else is_one

    def _values(self, kernel: str, number: int, row: Sequence[Any]) -> dict[str, Any]:
        named = dict.fromkeys(self.columns) | dict(zip(self.columns, row, strict=False))
        values = {name: _clean(value, self.columns[name]) for name, value in named.items()}
        return {"kernel": kernel, "number": number, **values}

    def _held(self) -> threading.RLock:
        """The lock: in a fork another one, since a thread of its parent may have had that."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._lock, self._writing = threading.RLock(), False
            # It shares sockets with its parent, which must not be closed from here either.
            self._engine.dispose(close=False)
        return self._lock

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        """A transaction. The lock spares threads of one process the database's own waiting."""
        with self._held():
            outer, self._writing = self._writing, True
            try:
                with self._engine.begin() as connection:
                    yield connection
            except (exc.SQLAlchemyError, OSError) as error:
                raise ConfigError(
                    f"The usage database {self.url} cannot be used: {first_line(error)}."
                ) from error
            finally:
                self._writing = outer


def _table(columns: Mapping[str, str]) -> sa.Table:
    listed = [sa.Column(name, _TYPES[dtype]) for name, dtype in columns.items()]
    table = sa.Table(
        TABLE,
        sa.MetaData(),
        sa.Column("kernel", sa.String(64), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        *listed,
    )
    for name in ("started_at", "generation_id"):
        if name in columns:
            sa.Index(f"{TABLE}_{name}", table.c[name])
    return table


def _is_fee(of: Any) -> Any:
    return (of.cost_source == "fee") & of.byok_usd.is_(None) & of.cost_usd.is_not(None)


def _key(connection: sa.Connection, of: Any, name: str) -> Any:
    if name == "cost_source":
        guess = sa.case((of.estimate_usd.is_(None), "unknown"), else_="estimated")
        told = sa.case((of.cost_source == "proxy", "proxy"), else_="billed")
        return sa.case((of.cost_usd.is_(None), guess), (_is_fee(of), "fee"), else_=told)
    known = [*of.keys(), *_LETTERS]
    if name not in known:
        raise ConfigError(did_you_mean(str(name), known, "column of the usage table"))
    if name not in _LETTERS:
        return of[name]
    moment: Any = sa.type_coerce(of.started_at, sa.Text)
    if connection.dialect.name != "sqlite":
        is_zoned = connection.dialect.name == "postgresql"
        moment = sa.cast(sa.func.timezone("UTC", moment) if is_zoned else moment, sa.Text)
    return sa.func.substr(moment, 1, _LETTERS[name])


def _group(key: Sequence[Any], names: Sequence[str]) -> tuple[Any, ...]:
    """What a row is grouped by; a week is known by its Monday."""
    values = list(key)
    for n, name in enumerate(names):
        if name == "week" and values[n] is not None:
            day = date.fromisoformat(values[n])
            values[n] = str(day - timedelta(days=day.weekday()))
    return tuple(values)


def _let_go(engine: Engine, process: int) -> None:
    if os.getpid() == process:  # a fork must not end the connections of its parent
        engine.dispose()


def _clean(value: Any, dtype: str) -> Any:
    """A value that every database takes: what does not fit is missing, as in the frame."""
    if value is None:
        return None
    if dtype == "str":
        text = str(value).replace("\x00", "").encode("utf-8", "replace").decode()
        return _KEY.sub("[key]", text)
    if dtype == _MOMENT:
        return value if isinstance(value, datetime) and value.tzinfo is not None else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if dtype == "Int64":
        whole = isinstance(value, int) or value.is_integer()
        return int(value) if whole and abs(value) < _LARGEST else None
    return float(value) if abs(value) <= sys.float_info.max else None  # nor is NaN so small
