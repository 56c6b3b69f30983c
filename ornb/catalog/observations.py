"""The days on which the catalogue was looked at, and what it listed on each.

What is known is what was seen: a price that differs on two days in a row changed somewhere between
them. No table here says more than that.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from numbers import Number
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pandas as pd

from .. import columns as c
from ..api.client import OPENROUTER
from ..errors import ConfigError, OrnbError
from . import journal, own
from .filters import FLAGS, LISTS, closest, filter_models
from .frames import MODEL_COLUMNS, to_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

CATALOG_COLUMNS = c.alike(
    MODEL_COLUMNS,
    *("name", "author", "family", "variant", "kind", "created", "context_length"),
    *("input_modalities", "output_modalities"),
    *("accepts_image", "accepts_file", "accepts_audio", "accepts_video"),
    *("returns_image", "returns_audio"),
    *("prompt_usd_per_million", "completion_usd_per_million", "price_tier"),
    *("is_free", "is_router", "is_alias", "is_batch", "alias_target", "canonical_slug"),
)
"""Columns of a past day's models frame: those of today's that the history carries."""

_NOT_CARRIED = {name for name, of in (FLAGS | LISTS).items() if of not in CATALOG_COLUMNS}


LEAST_KNOWN = 0.1
"""Share of a catalogue's models that the history knows, if it is OpenRouter's. It turns over fast:
of the 292 models of April 2025, 74 were left 16 months later."""


Live: TypeAlias = "bool | pd.DataFrame | Callable[[], pd.DataFrame]"
"""Where today's models frame comes from: what gives it, itself, or False for nowhere."""


class Observation(NamedTuple):
    """One look at the catalogue: when it was (UTC), whose it is, and the models frame."""

    at: pd.Timestamp
    source: str
    """recorded, snapshot or live."""
    models: pd.DataFrame


def catalog_at(date: Any, **filters: Any) -> pd.DataFrame:
    """List the models of a past day, one row each, as `ornb.models` does those of today.

    Parameters
    ----------
    date : str, datetime.date or datetime.datetime
        A day such as ``"2025-09-01"``. The last observation of that day or before it is taken;
        ``.attrs["snapshot"]`` says which.
    **filters : Any
        As in `ornb.models`: ``search``, ``author``, ``family``, ``free``, ``min_context`` (tokens),
        ``accepts``, ``returns``, ``max_prompt_usd_per_million``, ``max_completion_usd_per_million``
        (USD per million tokens), ``routers``, ``aliases``, ``batch``. Not those on request
        parameters (``tools``, ``reasoning``, ``structured_outputs``, ``parameters``), which the
        history does not carry.

    Returns
    -------
    pandas.DataFrame, shape (n_models, n_columns)
        Indexed by ``id``; docs/tables.md has the columns. ``.attrs["source"]`` is "recorded".

    Raises
    ------
    ConfigError
        `date` is not one, or lies before the first observation; there is no such filter, or its
        value is not one.
    CatalogError
        The history's file is damaged.

    Examples
    --------
    >>> then = ornb.catalog_at("2025-08-22", free=True)
    >>> then.attrs["snapshot"], len(then)
    ('2025-06-11', 69)
    """
    if refused := sorted(_NOT_CARRIED & set(filters)):
        raise ConfigError(
            f"The price history does not carry what {refused[0]!r} asks for; it has ids, prices, "
            "context lengths and modalities."
        )
    day = _day_at(date)
    frame = _recorded(day)
    kept = filter_models(frame, **filters) if filters else frame.copy()
    kept.attrs["notes"] = [*frame.attrs["notes"], *_taken(date, day)]
    return kept


def observations(live: Live) -> tuple[list[Observation], list[str]]:
    """Return every look at the catalogue, oldest first, and words should today's be missing.

    `live` is today's models frame, what gives it (the session's `models`), or False for none.
    """
    recorded = {
        (at := pd.Timestamp(day, tz="UTC")): Observation(at, "recorded", _recorded(day))
        for day in _days()
    }
    if live is False:
        return list(recorded.values()), []
    newest, notes = _current(live)
    if newest is not None:
        recorded.pop(newest.at.normalize(), None)  # one look a day
        recorded[newest.at] = newest
    return [recorded[at] for at in sorted(recorded)], notes


def _current(live: Any) -> tuple[Observation | None, list[str]]:
    if isinstance(live, pd.DataFrame):
        frame = live
    elif callable(live):
        try:
            frame = live()
        except OrnbError as error:
            return None, [f"Today's catalogue is missing here: {error}"]
    else:
        raise ConfigError(f"live={live!r} is not True, False or a models frame")
    frame, notes = sound(frame, _NEEDED, ", with all columns")
    if not is_openrouters(frame):
        where = frame.attrs.get("url") or "the catalogue at hand"
        return None, [f"{where} is not OpenRouter's catalogue, so it does not join the history."]
    attrs = frame.attrs
    source = attrs.get("source") or "live"
    at = attrs.get("snapshot") if source == "snapshot" else attrs.get("fetched_at")
    try:
        return Observation(utc_of(at or datetime.now(UTC)), source, frame), notes
    except ConfigError as error:
        if isinstance(live, pd.DataFrame):
            raise
        return None, [f"Today's catalogue is missing here: {error}"]


def is_openrouters(frame: pd.DataFrame) -> bool:
    """Whether it continues the history: a proxy's does, that of a server of one's own does not."""
    if str(frame.attrs.get("url")).startswith(OPENROUTER):
        return bool(len(frame))
    known = set().union(*_days().values())
    return sum(model_id in known for model_id in frame.index) > len(frame) * LEAST_KNOWN


_NEEDED = (
    *("prompt_usd_per_million", "completion_usd_per_million", "context_length"),
    *("is_free", "created"),
)


def sound(frame: pd.DataFrame, needed: Iterable[str], which: str) -> tuple[pd.DataFrame, list[str]]:
    """Refuse a models frame without columns that are needed; index it by id, the first row each."""
    if frame.index.name != "id" and "id" in frame.columns:
        frame = frame.set_index("id")
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise ConfigError(
            f"The models frame has no column {missing[0]!r}; give rows of ornb.models(){which}."
        )
    twice = frame.index.duplicated()
    if not twice.any():
        return frame, []
    kept = frame[~twice]
    kept.attrs = frame.attrs
    return kept, [f"{frame.index[twice][0]!r} is listed twice; its first row counts."]


def _days() -> dict[str, journal.Catalog]:
    """The recorded days, oldest first: those that ship with ornb, and those of the user's own."""
    days = own.days() | journal.read()
    return {day: days[day] for day in sorted(days)}


def _recorded(day: str) -> pd.DataFrame:
    """The models frame of a recorded day; whoever hands it out hands out a copy."""
    return _frame_of(day, None if day in journal.read() else own.stamp())


@lru_cache(maxsize=128)
def _frame_of(day: str, of: own.Stamp | None) -> pd.DataFrame:
    days = journal.read() if of is None else own.days()
    records = [journal.record(*each) for each in days[day].items()]
    frame = to_frame(records, source="recorded", snapshot=day)
    made = frame[list(CATALOG_COLUMNS)]
    made.attrs = frame.attrs
    return made


def _day_at(date: Any) -> str:
    days = list(_days())
    asked = utc_of(date, end_of_day=True)
    before = [day for day in days if pd.Timestamp(day, tz="UTC") <= asked]
    if not before:
        raise ConfigError(
            f"Nothing was recorded by {asked.date()}: the price history begins on {days[0]}."
        )
    return before[-1]


def _taken(date: Any, day: str) -> list[str]:
    asked = str(utc_of(date).date())
    if asked == day:
        return []
    return [f"{asked} was asked for; the last observation before it, of {day}, is taken."]


def aged(day: Any) -> str:
    """Return a day with its age, for people: "of 2026-08-22, 100 days old"."""
    try:
        at = utc_of(day)
    except ConfigError:  # a server may say anything
        return f"of {str(day)[:40]}"
    days = (datetime.now(UTC) - at).days
    return f"of {at.date()}, {days} days old" if days > 1 else f"of {at.date()}"


def age_of(looks: Sequence[Observation]) -> list[str]:
    """Say how old the newest look is, if it is not of today."""
    newest = aged(looks[-1].at)
    return [f"The newest prices are {newest}."] if " old" in newest else []


def utc_of(value: Any, *, end_of_day: bool = False) -> pd.Timestamp:
    """Read a date or time as UTC; `end_of_day` takes a plain day for its last microsecond."""
    try:
        if isinstance(value, Number):
            raise TypeError("a number is no date")  # noqa: TRY301 - pandas would take it for ns
        read: Any = pd.Timestamp(value)
        if read is pd.NaT:
            raise TypeError("nothing is no date")  # noqa: TRY301
        read = read.tz_localize("UTC") if read.tzinfo is None else read.tz_convert("UTC")
        at: pd.Timestamp = read.as_unit("us")
    except (TypeError, ValueError, AttributeError, OverflowError) as err:
        raise ConfigError(f"{value!r} is no date; give one such as '2025-09-01'.") from err
    if end_of_day and at == at.normalize():
        at += timedelta(days=1, microseconds=-1)  # pandas' own may be in ns, which end in 2262
    return at


def ids_of(
    ids: Any, looks: Sequence[Observation], noted: Iterable[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """Turn what a person asks about into ids, and find those neither ever listed nor `noted`.

    Those have a sentence that proposes the nearest. Only where none was listed is it an error.
    """
    known = set(noted).union(*(look.models.index for look in looks))
    if ids is None:
        return sorted(known), {}
    asked = getattr(ids, "value", ids)
    wanted = list(dict.fromkeys([asked] if isinstance(asked, str) else _listed(asked)))
    unknown = {each: _unknown(each, known) for each in wanted if each not in known}
    if isinstance(asked, str) and unknown:
        raise ConfigError(unknown[asked])
    return wanted, unknown


def _listed(ids: Any) -> list[str]:
    if isinstance(ids, pd.Series | pd.Index):
        ids = ids.dropna()
    try:
        wanted = [] if ids is None else list(ids)
    except TypeError:
        wanted = [ids]
    # Calls whose model the service chose have none in the usage table.
    wanted = [each for each in wanted if each is not pd.NA and not _is_nan(each)]
    for each in wanted:
        if not isinstance(each, str):
            raise ConfigError(f"ids={each!r} is no id; give one or more such as 'openai/gpt-4o'.")
    return wanted


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _unknown(model_id: str, known: set[str]) -> str:
    near = closest(model_id, sorted(known))
    hint = (
        f"; did you mean {' or '.join(map(repr, near))}?" if near else "; ornb.models() lists them."
    )
    return f"{model_id!r} was never seen in the catalogue{hint}"
