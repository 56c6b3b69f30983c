"""Typed columns out of untyped JSON records, a column at a time.

A record from the network may hold anything under any key. Each function here takes one field of all
records and gives one column of one dtype, with a missing value wherever the field cannot be read;
none of them raises on odd content. The quick path is for the types that the API documents (checked
for a whole column at once), the slow one for everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

Record = dict[str, Any]
Array = np.ndarray[Any, Any]

_TEXT = {str, NoneType}
_COUNT = {int, NoneType}
_NUMBER = {int, float, NoneType}  # bool is a type of its own here, so true is not read as 1
_MISSING = -(2**63)  # below every count, and what NumPy reads as "not a time"
_YEAR_9999 = 253_402_300_800  # Unix seconds; a calendar ends there


class Column(NamedTuple):
    """What a column of a table holds: its pandas `dtype`, and its `meaning` with the unit."""

    dtype: str
    meaning: str


# --- fields of records ----------------------------------------------------------------------------


def values(records: list[Record], key: str) -> list[Any]:
    """Return one field of each record, None where it has none."""
    return [record.get(key) for record in records]


def nested(records: list[Record], key: str) -> list[Record]:
    """Return the object under a key of each record, an empty one where there is none."""
    nothing: Record = {}
    return [v if type(v := record.get(key)) is dict else nothing for record in records]


def field(records: list[Record], key: str) -> list[str | None]:
    """Return one text of each record; None for anything but text, and for empty text."""
    return [v if type(v := record.get(key)) is str and v else None for record in records]


def text(value: Any) -> str | None:
    """Return a text that is not empty, or None."""
    return value if isinstance(value, str) and value else None


class TextLists:
    """Lists of text, one tuple a record: most models share theirs, so each is looked at once.

    A single text or anything else in their place is survived.
    """

    def __init__(self, listed: list[Any]) -> None:
        rows = [
            tuple(v) if type(v) is list else (v,) if type(v) is str and v else () for v in listed
        ]
        try:
            codes: dict[tuple[Any, ...], int] = dict.fromkeys(rows, 0)
        except TypeError:  # something unhashable in one of them
            rows = [_only_text(row) for row in rows]
            codes = dict.fromkeys(rows, 0)
        for code, row in enumerate(codes):
            codes[row] = code
        self._distinct: list[tuple[str, ...]] = [_only_text(row) for row in codes]
        self._codes = np.array([codes[row] for row in rows], dtype="intp")

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The tuples, record by record; equal ones are one object."""
        return [self._distinct[code] for code in self._codes.tolist()]

    def strings(self, read: Callable[[tuple[str, ...]], str]) -> Any:
        """Return a column of what is read from each tuple."""
        return strings([read(row) for row in self._distinct]).take(self._codes)

    def has(self, name: str) -> Array:
        """Return which records list a name (bool)."""
        listed: Array = np.array([name in row for row in self._distinct], dtype=bool)
        rows: Array = listed[self._codes]
        return rows


def _only_text(row: tuple[Any, ...]) -> tuple[str, ...]:
    return row if set(map(type, row)) <= {str} else tuple(v for v in row if isinstance(v, str))


def mapped(listed: list[Any], read: Callable[[Any], Any]) -> list[Any]:
    """Apply a function to each value, once for each distinct text."""
    if set(map(type, listed)) <= _TEXT:
        known = {v: read(v) for v in set(listed)}
        return [known[v] for v in listed]
    return [read(v) for v in listed]


# --- columns --------------------------------------------------------------------------------------

# pandas 3 has a string type of its own by default; before, text is kept in object columns.
_STR: Any = None if pd.__version__.startswith("2.") else pd.Series(["a"]).dtype


def strings(listed: Any) -> Any:
    """Text, in the default string type of the pandas in use (3.0: ``str``, before: object).

    NaN where it is missing, by any pandas.
    """
    if _STR is None:
        return objects([np.nan if v is None else v for v in listed])
    try:
        return _string_array(listed)
    except UnicodeEncodeError:  # half a surrogate pair: legal in JSON, refused by Arrow
        whole = [
            v and v.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for v in listed
        ]
        return _string_array(whole)


def _string_array(listed: Any) -> Any:
    return pd.array(listed, dtype=_STR)


def objects(listed: Sequence[Any]) -> Array:
    """Python objects as they are (NumPy alone would make a matrix of those of one length)."""
    return np.fromiter(listed, dtype=object, count=len(listed))


def flags(listed: Iterable[bool]) -> Array:
    """Turn plain truth values into bool."""
    return np.fromiter(listed, dtype=bool)


def booleans(listed: list[Any]) -> Any:
    """Nullable boolean: what is neither true nor false is missing."""
    missing = np.array([v is not True and v is not False for v in listed], dtype=bool)
    return pd.arrays.BooleanArray(np.array([v is True for v in listed], dtype=bool), missing)


def floats(listed: list[Any]) -> Array:
    """float64; NaN for null, text that is no number, and infinities."""
    try:
        if set(map(type, listed)) <= _NUMBER:
            column = np.array(listed, dtype="float64")  # None becomes NaN
        else:
            column = np.array([_float(v) for v in listed], dtype="float64")
    except OverflowError:  # an int beyond the floats
        column = np.array([_float(v) for v in listed], dtype="float64")
    column[np.isinf(column)] = np.nan
    return column


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return float("nan")
    try:
        return float(value)
    except (ValueError, OverflowError):
        return float("nan")


def integers(listed: list[Any]) -> Any:
    """Int64, also from text and whole floats; missing where there is no 64-bit integer."""
    numbers = _int64(listed)
    missing = numbers == _MISSING
    for place in np.flatnonzero(missing):  # it may be the number itself
        missing[place] = type(listed[place]) is not int or listed[place] != _MISSING
    return pd.arrays.IntegerArray(numbers, missing)


def counts(listed: list[Any]) -> Any:
    """Int64, missing for 0 and less: how some listings write "unknown"."""
    numbers = _int64(listed)
    return pd.arrays.IntegerArray(numbers, numbers <= 0)


def _int64(listed: list[Any]) -> Array:
    """64-bit integers, `_MISSING` where there is none."""
    try:
        if (types := set(map(type, listed))) <= _COUNT:
            whole = [_MISSING if v is None else v for v in listed] if NoneType in types else listed
            return np.array(whole, dtype="int64")
    except OverflowError:  # beyond 64 bits: read them one by one
        pass
    return np.array([_integer(v) for v in listed], dtype="int64")


def _integer(value: Any) -> int:
    if isinstance(value, str):
        value = _float(value)
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None
    if type(value) is not int or not -(2**63) < value < 2**63:
        return _MISSING
    return value


def times(listed: list[Any]) -> Any:
    """UTC timestamps in microseconds (the unit of Python's datetime) from Unix seconds."""
    seconds = _int64(listed)
    return _timestamps(np.where((seconds > 0) & (seconds < _YEAR_9999), seconds, _MISSING))


def dates(listed: list[Any], *, before: datetime | None = None) -> Any:
    """UTC timestamps from ISO dates; of a month the first day, and missing from `before` on."""
    seconds = np.array(mapped(listed, _date), dtype="int64")
    if before is not None:
        seconds[seconds >= int(before.timestamp())] = _MISSING
    return _timestamps(seconds)


def _date(value: Any) -> int:
    if not isinstance(value, str):
        return _MISSING
    try:
        day = datetime.fromisoformat(f"{value}-01" if len(value) == 7 else value)
        day = day if day.tzinfo is not None else day.replace(tzinfo=UTC)
        return int(day.timestamp())
    except (ValueError, OverflowError):
        return _MISSING


def _moments(listed: list[Any]) -> Any:
    if set(map(type, listed)) <= _TEXT:  # as SQLite has them: in UTC, without a word on it
        with suppress(ValueError):
            return pd.DatetimeIndex(np.array(listed, "datetime64[us]")).tz_localize("UTC").array
    moments = pd.to_datetime(pd.Series(listed, dtype=object), utc=True)
    return moments.dt.as_unit("us").array


def _timestamps(seconds: Array) -> Any:
    column = seconds.view("datetime64[s]").astype("datetime64[us]")  # `_MISSING` reads as NaT
    return pd.DatetimeIndex(column).tz_localize("UTC").array


_ARRAYS: dict[str, Callable[[list[Any]], Any]] = {
    "str": strings,
    "float64": floats,
    "Int64": integers,
    "int64": partial(np.array, dtype="int64"),
    "boolean": booleans,
    "bool": flags,
    "object": objects,
    "datetime64[us, UTC]": _moments,
}


def typed(values: Iterable[Any], dtype: str) -> Any:
    """Make a column of a dtype, None where missing."""
    listed: Any = values if isinstance(values, list | tuple) else list(values)
    if listed and listed[0] is None and listed.count(None) == len(listed):  # else it is slow
        return _ARRAYS[dtype]([None]).repeat(len(listed))
    return _ARRAYS[dtype](listed)


def kept(values: Sequence[Any], dtype: str) -> Any:
    """Make the same of what a database keeps in a column of that kind: its types are not asked."""
    if not values or values[0] is None:  # often all are
        return typed(values, dtype)
    with suppress(TypeError, ValueError, OverflowError):  # an integer is missing, or odd
        if dtype == "float64":
            column = np.array(values, dtype=dtype)
            column[np.isinf(column)] = np.nan
            return column
        if dtype == "Int64":
            numbers = np.fromiter(values, "int64", len(values))
            return pd.arrays.IntegerArray(numbers, np.zeros(len(values), bool))
    return typed(values, dtype)


def alike(table: Mapping[str, Column], *names: str) -> dict[str, Column]:
    """Return columns that mean the same in another table."""
    return {name: table[name] for name in names}


def turned(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return rows by column; a thousand at a time, since all at once take twice as long."""
    columns: list[list[Any]] = [[] for _ in rows[0]] if rows else []
    for first in range(0, len(rows), 1000):
        parts = zip(*rows[first : first + 1000], strict=True)
        for column, part in zip(columns, parts, strict=True):
            column.extend(part)
    return columns


def frame(rows: Sequence[Any], columns: Mapping[str, Column]) -> pd.DataFrame:
    """Make a frame of rows in the order of `columns`; of the same dtypes also without a row."""
    listed = turned(rows) or [[]] * len(columns)
    made = {
        name: typed(values, column.dtype)
        for (name, column), values in zip(columns.items(), listed, strict=True)
    }
    return pd.DataFrame(made, copy=False)


def plain(column: pd.Series[Any]) -> list[Any]:
    """Return a column as Python's own values, None where missing."""
    is_count = column.dtype == "Int64"  # whose own way is slow
    listed: list[Any] = (column.fillna(0).astype("int64") if is_count else column).tolist()
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        listed = [moment.to_pydatetime() for moment in listed]
    return [None if gone else v for v, gone in zip(listed, column.isna().tolist(), strict=True)]
