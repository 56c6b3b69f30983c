"""Which database an address means, and how it is opened."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from ..columns import turned
from ..errors import ConfigError

PATIENCE_S = 30.0
"""Longest wait for other processes that write to one SQLite file."""
_RACES, _RACE_S = 40, 0.05  # tries to make a table, while others make it too


def data_path(name: str) -> Path:
    """Return the place of a file in the user's data folder, whether it exists or not."""
    import platformdirs

    return platformdirs.user_data_path("ornb") / name


def url_of(address: Any, *, name: str) -> URL:
    """Read what a person gives as a database: SQLAlchemy's URL, or the path of a SQLite file."""
    if isinstance(address, os.PathLike) or (isinstance(address, str) and "://" not in address):
        path = Path(address).expanduser().absolute()
        if path.is_dir():
            raise ConfigError(f"{name} takes a file; {str(path)!r} is a folder. Name a file in it.")
        return URL.create("sqlite", database=str(path))
    try:
        return make_url(address)
    except (exc.ArgumentError, TypeError) as error:
        raise ConfigError(  # what it was is not said: it may hold a password
            f"{name} takes the path of a file, or a URL such as sqlite:///usage.sqlite3; this "
            f"{type(address).__name__} is neither."
        ) from error


def engine_of(url: URL) -> Engine:
    """Make what opens a database; a SQLite file is made where there is none, for the user alone."""
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True)
    if url.database in (None, "", ":memory:"):
        return sa.create_engine(
            url, poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
    path = Path(str(url.database))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):  # what somebody asked of whom is nobody else's business
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    engine = sa.create_engine(url, connect_args={"timeout": PATIENCE_S})

    @sa.event.listens_for(engine, "connect")
    def _settings(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def opened(url: URL, table: sa.Table, what: str, step: str) -> Engine:
    """Open a database that has a table, made here if need be, with all of its columns.

    `what` and `step` are for the error: what it is called, and what to do.
    """
    engine = None
    try:
        engine = engine_of(url)
        _prepare(engine, table)
    except (exc.SQLAlchemyError, ImportError, OSError) as error:
        if engine is not None:
            engine.dispose()
        raise ConfigError(
            f"The {what} {url.render_as_string(hide_password=True)} cannot be opened "
            f"({first_line(error)}). {step}, or install the driver that it names."
        ) from error
    return engine


def parts_of(connection: Connection, query: sa.Select[Any], size: int) -> Iterator[list[list[Any]]]:
    """Give what is found by column, `size` rows at a time, as the driver has it."""
    dialect = connection.dialect
    if dialect.name != "sqlite":
        streamed = connection.execute(query, execution_options={"stream_results": True})
        for part in streamed.partitions(size):
            yield turned(part)
        return
    cursor: Any = connection.execute(query).cursor  # its rows are plain tuples, at half the price
    try:
        while rows := cursor.fetchmany(size):
            yield turned(rows)
    except dialect.loaded_dbapi.Error as error:
        raise exc.DBAPIError(None, None, error) from error


def _prepare(engine: Engine, table: sa.Table) -> None:
    """Make the table, or what it lacks; other processes may be doing so at this moment."""
    for left in reversed(range(_RACES)):
        try:
            if engine.dialect.name == "sqlite":
                with engine.connect() as connection:  # kept in the file; refused on some networks
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            with engine.begin() as connection:
                connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(CreateIndex(index, if_not_exists=True))
            with engine.begin() as connection:
                _add_columns(connection, table)
        except (exc.IntegrityError, exc.ProgrammingError, exc.OperationalError) as error:
            lost = not isinstance(error, exc.OperationalError) or "locked" in str(error)
            if not left or not (lost or "duplicate column" in str(error)):
                raise
            time.sleep(_RACE_S)
        else:
            return


def _add_columns(connection: Connection, table: sa.Table) -> None:
    """An older ornb made the table: add the columns that are new."""
    there = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
    for column in table.columns:
        if column.name not in there:
            wanted = CreateColumn(column).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {wanted}")


def first_line(error: BaseException) -> str:
    """Return in a line what a database said, without the statement."""
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
