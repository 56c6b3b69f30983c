"""What models cost, and when that changed."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from .. import columns as c
from ..columns import Column
from ..errors import CatalogError, ConfigError
from ..pricing import to_decimal, usd_per_million
from . import own
from .noted import BY, Noted, bundled
from .observations import age_of, aged, catalog_at, ids_of, observations, utc_of
from .states import GONE, State, price_ratio, states

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .observations import Observation

_UTC = "datetime64[us, UTC]"
_PROMPT = Column("float64", "USD per million prompt tokens; missing where not listed or a router")
_COMPLETION = Column("float64", "USD per million completion tokens; likewise")

PRICE_HISTORY_COLUMNS: dict[str, Column] = {
    "id": Column("str", "the model"),
    "date": Column(
        _UTC, "first observation that showed it so; of a noted price the day from which it holds"
    ),
    "not_before": Column(
        _UTC,
        "last observation before the change; missing on the first day, and where nothing changed",
    ),
    "seen_until": Column(
        _UTC, "last observation in a row that showed it so; missing for a noted price"
    ),
    "event": Column(
        "str",
        "first seen, changed, gone, back, or still listed (the newest point); noted by somebody "
        "else, see source",
    ),
    "prompt_usd_per_million": _PROMPT,
    "completion_usd_per_million": _COMPLETION,
    "context_length": Column("Int64", "tokens, prompt and answer together"),
    "is_free": Column("boolean", "both prices 0, and nothing else is billed; missing where gone"),
    "source": Column(
        "str",
        'recorded, or for today\'s catalogue snapshot or live; "recorded by genai-prices" is no '
        "listing",
    ),
    "created": Column(_UTC, "when OpenRouter added it, as listed"),
}
"""Columns of `price_history`."""

PRICE_AT_COLUMNS: dict[str, Column] = {
    "observed": Column(_UTC, "the observation taken"),
    "listed": Column("bool", "it was in the catalogue then"),
    "prompt_usd_per_million": _PROMPT,
    "completion_usd_per_million": _COMPLETION,
    "context_length": Column("Int64", "tokens, prompt and answer together"),
    "is_free": Column("boolean", "free then; missing where not listed"),
    "listed_now": Column("bool", "it is in today's catalogue"),
    "prompt_usd_per_million_now": Column("float64", "the same today"),
    "completion_usd_per_million_now": Column("float64", "the same today"),
    "price_ratio": Column(
        "float64", "today's price / that one, blended 3 prompt : 1 completion; missing from 0"
    ),
    "note": Column("str", "why a price is missing; empty if none is"),
}
"""Columns of `price_at`; its index is ``id``."""


def price_history(
    ids: Any = None,
    *,
    since: Any = None,
    until: Any = None,
    live: bool | pd.DataFrame = True,
) -> pd.DataFrame:
    """List what models cost over time, one row a model and change.

    Parameters
    ----------
    ids : str, iterable of str or ModelPicker, optional
        By default every model that was ever seen, some 830. Of several, those that never were are
        named in the notes.
    since, until : str, datetime.date or datetime.datetime, optional
        Keep what was so at some time between these two, both included (UTC). The row that holds
        the price on `since` is older than it.
    live : bool or pandas.DataFrame
        True lets the catalogue of `ornb.models` join as the newest point; a models frame is taken
        for it. False leaves it out, and the prices that others recorded: the catalogues of the
        past alone.

    Returns
    -------
    pandas.DataFrame, one row a model and change
        Columns as in docs/tables.md, by model and date. A model that is still listed ends with a
        row at the newest observation. Between two observations nothing is known: what `date` shows
        happened after `not_before`, and not after `date`. Prices that were not seen in the
        catalogue but dated by the package genai-prices are rows of their own, whose `source` says
        so. ``.attrs["observed"]`` lists the observations (ISO dates), ``.attrs["notes"]`` what a
        person should know.

    Raises
    ------
    ConfigError
        The only model asked for was never listed; no date; or `until` before the first observation.
    CatalogError
        The history's file is damaged.

    Examples
    --------
    >>> history = ornb.price_history("deepseek/deepseek-r1")
    >>> history["event"].tolist()[0], history["prompt_usd_per_million"].iloc[0].item()
    ('first seen', 0.54)

    References
    ----------
    OpenRouter API, ``GET /models``, as answered on the days in ``.attrs["observed"]``.
    """
    looks, notes = observations(live)
    by_others = {} if live is False else bundled().prices
    wanted, unknown = ids_of(ids, looks, by_others)
    notes += unknown.values()
    first, last = _bounds(since, until, looks)
    listed = [states(look.models) for look in looks]
    created = _created(looks)
    rows = [
        (model_id, *row, created.get(model_id))
        for model_id in wanted
        for row in sorted(
            [
                *_timeline([each.get(model_id, GONE) for each in listed], looks),
                *_noted_rows(by_others.get(model_id, []), first),
            ],
            key=itemgetter(0),
        )
        if _overlaps(row, first, last)
    ]
    if first > looks[-1].at:
        notes.append(f"The newest observation is of {looks[-1].at.date()}, before {since}.")
    notes += age_of(looks)
    frame = c.frame(rows, PRICE_HISTORY_COLUMNS)
    if (theirs := frame["source"] == BY).any():
        day = frame["date"][theirs].max().date()
        version = bundled().version
        notes.append(f"Rows up to {day} are {BY} {version}, not seen in the catalogue: see source.")
    frame.attrs = {
        "source": looks[-1].source,
        "observed": [look.at.isoformat() for look in looks],
        "notes": notes,
    }
    return frame


def _bounds(since: Any, until: Any, looks: Sequence[Observation]) -> tuple[Any, Any]:
    first = looks[0].at if since is None else utc_of(since)
    last = utc_of("2200-01-01" if until is None else until, end_of_day=True)
    if last < looks[0].at:
        raise ConfigError(
            f"Nothing was recorded by {last.date()}: the price history begins on "
            f"{looks[0].at.date()}."
        )
    if since is not None and until is not None and first > last:
        raise ConfigError(f"since={since!r} is later than until={until!r}; exchange the two.")
    return first, last


def _created(looks: Sequence[Observation]) -> dict[str, Any]:
    """When each model was added: as listed at the last look, which corrects those before."""
    return {
        model_id: at
        for look in looks
        for model_id, at in zip(look.models.index, look.models["created"], strict=True)
    }


def _timeline(was: Sequence[State], looks: Sequence[Observation]) -> Iterator[tuple[Any, ...]]:
    """One model's rows: each run of observations that showed the same, and the newest."""
    runs = [[*run] for _, run in groupby(range(len(was)), was.__getitem__)]
    known = runs[1:] if was[0] == GONE else runs
    for start, end in ((run[0], run[-1]) for run in known):
        before = looks[start - 1].at if start else None
        event = "first seen" if start == known[0][0] else _event(was[start - 1], was[start])
        yield (looks[start].at, before, looks[end].at, event, *was[start], looks[start].source)
    newest = looks[-1]
    if was[-1] != GONE and len(runs[-1]) > 1:
        yield (newest.at, None, newest.at, "still listed", *was[-1], newest.source)


def _noted_rows(prices: list[Noted], first: pd.Timestamp) -> Iterator[tuple[Any, ...]]:
    """What somebody else recorded of one model since; it says nothing of what was listed."""
    prices = [each for each in prices if each.day <= _today()]
    for n, each in enumerate(prices, 1):
        if not any(utc_of(later.day) <= first for later in prices[n:]):
            both = (usd_per_million(each.pricing.get(name)) for name in ("prompt", "completion"))
            yield (utc_of(each.day), None, None, "noted", *both, None, None, BY)


def _event(before: State, now: State) -> str:
    if now == GONE:
        return "gone"
    return "back" if before == GONE else "changed"


def _overlaps(row: tuple[Any, ...], first: pd.Timestamp, last: pd.Timestamp) -> bool:
    date, _, seen_until, event, *_ = row
    return bool(
        date <= last and (event == "noted" or (date if event == "gone" else seen_until) >= first)
    )


# --- the newest that is known without the service -------------------------------------------------


class Dated(NamedTuple):
    """A model's record with the newest dated price that is known of it."""

    record: Any
    day: str
    whose: str = ""
    """Who has it of that day, where it is not the catalogue that the record is from."""

    def __str__(self) -> str:
        return f"prices {aged(self.day)}" + (f", {self.whose}" if self.whose else "")


def _today() -> str:
    """A price of a later day is an announcement, which may come to nothing."""
    return str(datetime.now(UTC).date())


def newest_price(record: Any, listed_on: str) -> Dated:
    """Find what is newer of a model than its record in the snapshot of `listed_on`."""
    found, newer = Dated(record, listed_on), None
    if not isinstance(record, dict) or not isinstance(listed := record.get("pricing"), dict):
        return found
    model = str(record.get("id"))
    with suppress(CatalogError):  # a damaged file is told of by those who show the history
        mine = own.days()
        if (day := max(mine, default="")) > found.day and model in mine[day]:
            seen = {key: mine[day][model].get(key) for key in ("prompt", "completion")}
            same = all(to_decimal(listed.get(key)) == to_decimal(seen[key]) for key in seen)
            newer, found = None if same else seen, Dated(record, day, "from your own journal")
        for each in bundled().prices.get(model, ()):
            if found.day < each.day <= _today():
                newer, found = each.pricing, Dated(record, each.day, BY)
    if newer is None:
        return found
    beside = {key: listed[key] for key in _BESIDE_TOKENS if key in listed}
    return found._replace(record=record | {"pricing": beside | newer})


_BESIDE_TOKENS = ("request", "image", "web_search")


# --- one day against today ------------------------------------------------------------------------


def price_at(ids: Any, date: Any, *, live: bool | pd.DataFrame = True) -> pd.DataFrame:
    """Return what models cost on a day, beside what they cost today.

    Parameters
    ----------
    ids : str, iterable of str, ModelPicker or None
        None is every model that was listed then.
    date : str, datetime.date or datetime.datetime
        A day such as ``"2025-09-01"``. The last observation of that day or before it is taken.
    live : bool or pandas.DataFrame
        Where "today" comes from, as in `price_history`; with False it is the last observation.

    Returns
    -------
    pandas.DataFrame, one row a model
        Indexed by ``id``, in the order asked; columns as in docs/tables.md. A model that was
        not listed then, or is not now, has a row that says so.

    Raises
    ------
    ConfigError
        The only model asked for was never listed; no date; or one before the first observation.
    CatalogError
        The history's file is damaged.

    Examples
    --------
    >>> then = ornb.price_at(["deepseek/deepseek-r1", "openai/gpt-5"], "2025-08-01")
    >>> then["note"].tolist()
    ['', 'not listed then; first seen on 2025-09-24']
    """
    past = catalog_at(date)
    looks, notes = observations(live)
    wanted, unknown = (list(past.index), {}) if ids is None else ids_of(ids, looks)
    observed = utc_of(past.attrs["snapshot"])
    then, now = states(past), states(looks[-1].models)
    rows = [
        _compared(observed, then.get(each, GONE), now.get(each, GONE), _seen_on(each, looks))
        for each in wanted
    ]
    frame = c.frame(rows, PRICE_AT_COLUMNS)
    frame.index = pd.Index(c.strings(wanted), name="id")
    frame.attrs = {
        "source": looks[-1].source,
        "observed": observed.isoformat(),
        "notes": [*past.attrs["notes"], *notes, *unknown.values(), *age_of(looks)],
    }
    return frame


def _compared(
    observed: pd.Timestamp, then: State, now: State, seen: Sequence[pd.Timestamp]
) -> tuple[Any, ...]:
    listed, listed_now = then != GONE, now != GONE
    return (
        *(observed, listed, *then),
        *(listed_now, now.prompt, now.completion),
        price_ratio(then, now),
        _note(observed, then, now, seen),
    )


def _seen_on(model_id: str, looks: Sequence[Observation]) -> list[pd.Timestamp]:
    return [look.at for look in looks if model_id in look.models.index]


def _note(observed: pd.Timestamp, then: State, now: State, seen: Sequence[pd.Timestamp]) -> str:
    words = []
    if not seen:
        return "never listed"
    if then == GONE:
        later = [at for at in seen if at > observed]
        words.append(
            f"not listed then; first seen on {later[0].date()}"
            if later and later[0] == seen[0]
            else f"not listed then; seen until {max(at for at in seen if at < observed).date()}"
        )
    elif then.prompt is None or then.completion is None:
        words.append("a router then: the model it chose set the price")
    if now == GONE:
        words.append(f"no longer listed; last seen on {seen[-1].date()}")
    return "; ".join(words)
