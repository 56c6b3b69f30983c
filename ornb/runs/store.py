"""Answers kept by the content of their request, so that none is paid for twice.

A store has one row an answer that ended well: its text, tokens, cost and times, under the SHA-256
of the request. Prompts and keys are not in it. Each answer is committed before its row is counted
as done, in the thread that received it.
"""

from __future__ import annotations

import copy
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from ..errors import ConfigError
from ..ledger import database
from ..ledger.database import data_path, first_line, opened, url_of
from .answers import BATCH_COLUMNS, Answer

TABLE = "ornb_batch"
"""Name of the table."""
_AT_ONCE = 500  # digests in one query: databases bound their number
# In the order of an answer's own, which is made of a row at once.
_NAMES = tuple(each.name for each in fields(Answer) if each.name not in ("fields", "error"))
_DTYPES = {name: column.dtype for name, column in BATCH_COLUMNS.items()}
_WHOLE = frozenset(name for name in _NAMES if _DTYPES.get(name) == "Int64")
_TYPES = {"Int64": sa.BigInteger, "float64": sa.Double}
_table = sa.Table(
    TABLE,
    sa.MetaData(),
    sa.Column("request", sa.String(64), primary_key=True),
    sa.Column("answered_at", sa.DateTime(timezone=True)),
    *(sa.Column(name, _TYPES.get(_DTYPES.get(name, "str"), sa.Text)) for name in _NAMES),
)


class Memory:
    """Answers kept in this process, by the content hash of the request."""

    trouble: str | None = None

    def __init__(self) -> None:
        self._answers: dict[str, Answer] = {}

    def read(self, digests: Iterable[str], since: datetime | None = None) -> dict[str, Answer]:
        """Return copies of what is known of these requests."""
        known = self._answers if since is None else {}
        return {one: copy.copy(known[one]) for one in digests if one in known}

    def put(self, answers: Mapping[str, Answer]) -> None:
        """Keep answers."""
        self._answers.update(answers)

    def forget(self, digests: Iterable[str]) -> None:
        """Forget these."""
        for one in digests:
            self._answers.pop(one, None)

    def close(self) -> None:
        """Nothing to release."""


class AnswerStore:
    """Answers kept in a database. May be used from any thread.

    `url` is one of SQLAlchemy's, the path of a SQLite file, or True for `default_path`. What
    cannot be written is tried again at the end; if in vain, it is in `spare`, where the next store
    finds it, and `trouble` says why.
    """

    def __init__(self, url: str | os.PathLike[str] | bool, spare: Memory | None = None) -> None:
        address = url_of(default_path() if url is True else url, name="store")
        self.url = address.render_as_string(hide_password=True)
        self.trouble: str | None = None
        self._spare = Memory() if spare is None else spare
        self._late: deque[tuple[dict[str, Any], Answer]] = deque()
        self._lock = threading.Lock()
        self._closed = False
        self._not_before = 0.0
        self._engine = opened(address, _table, "store", "Give another path or URL")

    def __repr__(self) -> str:
        return f"AnswerStore({self.url!r})"

    def read(self, digests: Iterable[str], since: datetime | None = None) -> dict[str, Answer]:
        """Return what is known of these requests, by their content hashes; all, or since then."""
        wanted = dict.fromkeys(digests)
        found: dict[str, Answer] = {}
        query = sa.select(_table.c.request, *(_table.c[name] for name in _NAMES))
        if since is not None:  # some databases keep whole seconds
            query = query.where(_table.c.answered_at >= since.replace(microsecond=0))
        try:
            with self._engine.connect() as connection:
                for rows in _looked_up(connection, query, list(wanted)):
                    found.update((row[0], Answer(*row[1:])) for row in rows if row[0] in wanted)
        except exc.SQLAlchemyError as error:
            raise ConfigError(
                f"The store {self.url} cannot be read: {first_line(error)}."
            ) from error
        for digest, answer in self._spare.read(wanted, since).items():
            if digest not in found:
                found[digest] = answer
                self.put({digest: copy.copy(answer)})
        return found

    def put(self, answers: Mapping[str, Answer]) -> None:
        """Keep answers, and commit; they take the place of earlier ones."""
        self._late.extend([(_row(digest, answer), answer) for digest, answer in answers.items()])
        with self._lock:  # who waited for it may find that the one before has written both
            if self._closed or time.monotonic() >= self._not_before:
                self._write_late()

    def _write_late(self) -> None:
        rows = [self._late.popleft() for _ in range(len(self._late))]
        try:
            self._write([row for row, _ in rows])
            self.trouble = None
            self._spare.forget(row["request"] for row, _ in rows)
        except (exc.SQLAlchemyError, OSError) as error:
            self.trouble = f"The store {self.url} cannot be written to: {first_line(error)}."
            self._not_before = time.monotonic() + database.PATIENCE_S
            self._late.extendleft(reversed(rows))
        if self._closed:
            for row, answer in self._late:
                self._spare.put({row["request"]: answer})
            self._late.clear()
            self._engine.dispose()

    def _write(self, rows: list[dict[str, Any]]) -> None:
        """Commit rows together; one by one if somebody else has written one of them meanwhile."""
        if not rows:
            return
        older = _table.c.request.in_([row["request"] for row in rows])
        try:
            with self._engine.begin() as connection:
                connection.execute(_table.delete().where(older))
                connection.execute(_table.insert(), rows)
        except exc.IntegrityError:
            if len(rows) > 1:  # of one alone, the other process's answer is as good
                for row in rows:
                    self._write([row])

    def close(self) -> None:
        """Release the database. An answer that comes later is kept too, and releases it again."""
        with self._lock:
            self._closed = True
            self._write_late()


def _looked_up(
    connection: sa.Connection, query: sa.Select[Any], wanted: list[str]
) -> Iterator[Sequence[sa.Row[Any]]]:
    """Rows of these digests; a store that has few others is read through, which is quicker."""
    most = 2 * len(wanted)
    some = sa.select(_table.c.request).limit(most + 1).subquery()
    there = connection.scalar(sa.select(sa.func.count()).select_from(some))
    if len(wanted) > _AT_ONCE and there is not None and there <= most:
        yield from connection.execute(query).partitions(_AT_ONCE)
        return
    query = query.where(_table.c.request.in_(sa.bindparam("wanted", expanding=True)))
    for first in range(0, len(wanted), _AT_ONCE):
        yield connection.execute(query, {"wanted": wanted[first : first + _AT_ONCE]}).all()


def default_path() -> Path:
    """Return the place of the store that ``store=True`` means, whether it exists or not."""
    return data_path("batch.sqlite3")


def _row(digest: str, answer: Answer) -> dict[str, Any]:
    """Without what no database takes: NUL, half a surrogate pair, counts of more than 64 bits."""
    values: dict[str, Any] = {"request": digest, "answered_at": datetime.now(UTC)}
    for name in _NAMES:
        value = getattr(answer, name)
        if isinstance(value, str):
            value = value.replace("\x00", "").encode("utf-8", "replace").decode()
        elif name in _WHOLE and value is not None and abs(value) >= 2**63:
            value = None
        values[name] = value
    return values
