"""Sums of the calls that a database keeps, made by the database: only seconds are read row by row.

Amounts that are whole parts of a USD, of 10**15, are added as integers, high and low digits apart,
so that the sum is that of the decimals and fits 64 bits. The others are read, and added here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from .. import columns as c
from ..errors import ConfigError, did_you_mean
from .price_book import EXACT
from .table import SUMMARY_COLUMNS, without_noise

__all__ = ["summed"]

_PARTS, _HALF = 10**15, 10**6
_LARGEST = 4  # USD of a call: up to there a float tells such parts apart
_LETTERS = {"hour": 13, "day": 10, "week": 10, "month": 7}  # of a moment as text
_TIMES = ("time_to_first_token_s", "duration_s")
_ROWS = 20_000
_TOKENS = [name for name in SUMMARY_COLUMNS if name.endswith("_tokens")]
_USD = [name for name in SUMMARY_COLUMNS if name.endswith("_usd")]
_MOMENT = "datetime64[us, UTC]"


def summed(
    connection: sa.Connection, table: sa.Table, names: Sequence[str], where: Sequence[Any]
) -> pd.DataFrame:
    """Return what `UsageTracker.summary` does, of the rows of a table."""
    of = table.c
    keys = [_key(connection, of, name).label(f"key_{n}") for n, name in enumerate(names)]
    money = _money(of)
    counted: dict[str, Any] = {
        "calls": sa.func.count(),
        "errors": _count(of.status == "error"),
        "stopped": _count(of.status == "stopped"),
        "cost_unknown": _count(of.cost_usd.is_(None) | _is_fee(of)),
        **{name: sa.func.sum(of[name]) for name in _TOKENS},
    }
    listed = [(of.source, "source"), *((figure, name) for name, figure in counted.items())]
    for name, (usd, parts) in money.items():
        high = parts // _HALF
        listed += [(sa.func.sum(high), f"{name}_high"), (sa.func.sum(parts - high * _HALF), name)]
        listed += [(sa.func.count(usd) - sa.func.count(parts), f"{name}_odd")]
    query = sa.select(*keys, *(one.label(name) for one, name in listed)).where(*where)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    odd = set()
    for found in connection.execute(query.group_by(*keys, of.source)).mappings():
        row = rows.setdefault(_group(found, names), {"sources": Counter()})
        row["sources"][found["source"]] += found["calls"]
        for name in counted:
            if found[name] is not None:  # some databases give a Decimal
                row[name] = row.get(name, 0) + int(found[name])
        for name in money:
            if found[name] is not None:
                parts = int(found[f"{name}_high"]) * _HALF + int(found[name])
                _add(row, name, Decimal(parts).scaleb(-15, EXACT))
            odd |= {name} if found[f"{name}_odd"] else set()
    for name in odd:
        usd, parts = money[name]
        listed = [(usd, "usd"), (sa.func.count(), "calls")]
        query = sa.select(*keys, *(one.label(name) for one, name in listed))
        query = query.where(*where, usd.is_not(None), parts.is_(None)).group_by(*keys, usd)
        for found in connection.execute(query).mappings():
            amount = np.float64(found["usd"])
            if name == "cost_difference_usd":
                amount = without_noise(amount)
            each = Decimal(repr(float(amount)))
            _add(rows[_group(found, names)], name, EXACT.multiply(each, found["calls"]))
    query = sa.select(*keys, *(of[name] for name in _TIMES)).where(*where)
    medians = _medians(connection.execute(query), list(rows), names)
    return _table(rows, names).assign(**medians)


def _is_fee(of: Any) -> Any:
    return (of.cost_source == "fee") & of.byok_usd.is_(None) & of.cost_usd.is_not(None)


def _count(what: Any) -> Any:
    return sa.func.sum(sa.case((what, 1), else_=0))


def _money(of: Any) -> dict[str, tuple[Any, Any]]:
    """An amount in USD, and in whole parts, which is missing where it is not of such."""
    paid = sa.case((~(_is_fee(of) | sa.func.coalesce(of.source, "").in_(["local", "canned"])), 1))
    proxy = sa.case(((of.cost_source == "proxy"), of.cost_usd))
    single = {
        "cost_usd": of.cost_usd,
        "byok_usd": of.byok_usd,
        "proxy_usd": proxy,
        "estimate_usd": of.estimate_usd,
    }
    found = {name: (usd, _parts(usd)) for name, usd in single.items()}
    own = sa.func.coalesce(of.byok_usd, 0.0)
    found["cost_difference_usd"] = (
        (of.cost_usd + own - of.estimate_usd) * paid,
        (_parts(of.cost_usd) + _parts(own) - _parts(of.estimate_usd)) * paid,
    )
    return {name: found[name] for name in _USD}


def _parts(usd: Any) -> Any:
    parts = sa.cast(sa.func.round(usd * float(_PARTS)), sa.BigInteger)
    is_whole = sa.cast(parts, sa.Double) / sa.literal(float(_PARTS), sa.Double) == usd
    return sa.case((sa.func.abs(usd) < _LARGEST, sa.case((is_whole, parts))))


def _key(connection: sa.Connection, of: Any, name: str) -> Any:
    if name == "cost_source":
        guess = sa.case((of.estimate_usd.is_(None), "unknown"), else_="estimated")
        told = sa.case((of.cost_source == "proxy", "proxy"), else_="billed")
        return sa.case((of.cost_usd.is_(None), guess), (_is_fee(of), "fee"), else_=told)
    if name not in _LETTERS:
        if name not in of:
            raise ConfigError(
                did_you_mean(str(name), [*of.keys(), *_LETTERS], "column of the usage table")
            )
        return of[name]
    moment: Any = sa.type_coerce(of.started_at, sa.Text)
    if connection.dialect.name != "sqlite":
        is_zoned = connection.dialect.name == "postgresql"
        moment = sa.cast(sa.func.timezone("UTC", moment) if is_zoned else moment, sa.Text)
    return sa.func.substr(moment, 1, _LETTERS[name])


def _group(found: Any, names: Sequence[str]) -> tuple[Any, ...]:
    """What a row is grouped by; a week is known by its Monday."""
    values = [found[f"key_{n}"] for n in range(len(names))]
    for n, name in enumerate(names):
        if name == "week" and values[n] is not None:
            day = date.fromisoformat(values[n])
            values[n] = str(day - timedelta(days=day.weekday()))
    return tuple(values)


def _add(row: dict[str, Any], name: str, usd: Decimal) -> None:
    row[name] = EXACT.add(row.get(name, Decimal(0)), usd)


def _medians(
    found: sa.CursorResult[Any], groups: list[tuple[Any, ...]], names: Sequence[str]
) -> dict[str, Any]:
    codes = {group: n for n, group in enumerate(groups)}
    known: dict[tuple[Any, ...], int] = {}  # as the database has it
    places: list[Any] = []
    times: list[list[Any]] = [[] for _ in _TIMES]
    for rows in found.partitions(_ROWS):
        *keys, first, whole = zip(*rows, strict=True)
        listed = list(zip(*keys, strict=True))
        for key in set(listed) - known.keys():
            known[key] = codes[_group({f"key_{n}": v for n, v in enumerate(key)}, names)]
        places.append(np.fromiter(map(known.__getitem__, listed), "int64", len(listed)))
        for column, values in zip(times, (first, whole), strict=True):
            column.append(c.floats(list(values)))
    if not places:
        return {}
    by = np.concatenate(places)
    return {
        f"median_{name}": pd.Series(np.concatenate(column)).groupby(by).median().to_numpy()
        for name, column in zip(_TIMES, times, strict=True)
    }


def _table(rows: dict[tuple[Any, ...], dict[str, Any]], names: Sequence[str]) -> pd.DataFrame:
    for row in rows.values():
        told = (source for source, _ in row["sources"].most_common() if source is not None)
        row["sources"] = ", ".join(told)
    made = {
        name: c.typed([_plain(row.get(name)) for row in rows.values()], column.dtype)
        for name, column in SUMMARY_COLUMNS.items()
    }
    listed = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    levels = [
        c.typed(values, _MOMENT if name in _LETTERS else "str")
        for name, values in zip(names, listed, strict=True)
    ]
    index: Any = (
        pd.Index(levels[0], name=names[0])
        if len(names) == 1
        else pd.MultiIndex.from_arrays(levels, names=list(names))
    )
    return pd.DataFrame(made).set_index(index)


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value
