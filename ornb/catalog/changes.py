"""What changed between two catalogues."""

from __future__ import annotations

from collections import Counter
from itertools import repeat
from math import log
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from .. import columns as c
from ..columns import Column
from ..errors import ConfigError
from .observations import age_of, catalog_at, observations, sound, utc_of
from .states import GONE, State, price_ratio, states

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHANGES = {
    "added": "listed after, not before",
    "removed": "listed before, not after",
    "renamed": "the same model under another id",
    "no longer free": "free before, not after",
    "now free": "free after, not before",
    "dearer": "one price went up, and none down",
    "cheaper": "one price went down, and none up",
    "repriced": "one price went up and one down, or one appeared or vanished",
    "context changed": "another context length",
}
"""The kinds of change, in the order of the table."""

_UTC = "datetime64[us, UTC]"

CHANGE_COLUMNS: dict[str, Column] = {
    "change": Column("str", "what happened: see Kinds of change"),
    "id": Column("str", "the model, as it was listed before; of an added one, after"),
    "now_as": Column(
        "str", "another id under which the same model is listed after; missing if there is none"
    ),
    "prompt_usd_per_million_before": Column("float64", "USD per million prompt tokens"),
    "prompt_usd_per_million_after": Column("float64", "USD per million prompt tokens"),
    "completion_usd_per_million_before": Column("float64", "USD per million completion tokens"),
    "completion_usd_per_million_after": Column("float64", "USD per million completion tokens"),
    "price_ratio": Column(
        "float64", "after / before, blended 3 prompt : 1 completion; missing from 0 or unknown"
    ),
    "context_length_before": Column("Int64", "tokens, prompt and answer together"),
    "context_length_after": Column("Int64", "tokens, prompt and answer together"),
    "is_free_before": Column("boolean", "missing where not listed"),
    "is_free_after": Column("boolean", "missing where not listed"),
    "not_before": Column(_UTC, "the observation taken for `a`; missing for a frame without a date"),
    "date": Column(_UTC, "the observation taken for `b`; likewise"),
}
"""Columns of `catalog_changes`."""


class _Catalog(NamedTuple):
    at: pd.Timestamp | None
    models: dict[str, State]
    names: dict[str, set[str]]
    """Of each id: its permanent name, and itself without the variant."""
    source: str
    notes: list[str]

    def __str__(self) -> str:
        if self.at is None:
            return self.source
        return f"{self.source} {'on' if self.source == 'recorded' else 'of'} {self.at.date()}"


def catalog_changes(a: Any, b: Any = None, *, live: bool | pd.DataFrame = True) -> pd.DataFrame:
    """List what changed in the catalogue, one row a change.

    Parameters
    ----------
    a, b : str, datetime.date, datetime.datetime or pandas.DataFrame
        Before and after. Of a date, the last observation of that day or before it is taken. A
        models frame is taken as it is; two prices are all that it needs. `b` is today's catalogue
        by default: that of `ornb.models`.
    live : bool or pandas.DataFrame
        Where "today" comes from, as in `price_history`; with False it is the last observation.

    Returns
    -------
    pandas.DataFrame, one row a change
        Columns as in docs/tables.md, by kind of change (`CHANGES`), the largest first. A model
        can have several rows: one that is more expensive, say, and has a longer context. The
        columns `not_before` and `date` say which observations were taken, ``.attrs["source"]``
        whose they are (recorded, snapshot, live), ``.attrs["notes"]`` what a person should know.

    Raises
    ------
    ConfigError
        No date, one before the first observation, `a` after `b`, or a frame without prices.
    CatalogError
        The history's file is damaged.

    Examples
    --------
    >>> changes = ornb.catalog_changes("2025-04-09", "2025-06-11")
    >>> counts = changes["change"].value_counts()
    >>> counts["added"].item(), counts["removed"].item()
    (77, 45)
    """
    before, after = _catalog(a, live), _catalog(b, live)
    if before.at is not None and after.at is not None and before.at > after.at:
        raise ConfigError(
            f"The first catalogue is of {before.at.date()}, the second of {after.at.date()}: "
            "give the older one first."
        )
    notes = [*before.notes, *after.notes]
    dated = not isinstance(a, pd.DataFrame) and not isinstance(b, pd.DataFrame)
    if dated and before.at is not None and before.at == after.at:
        notes.append(f"Both are the observation of {after.at.date()}: nothing was seen in between.")
    rows = [(*row, before.at, after.at) for row in _rows(before, after)]
    frame = c.frame(sorted(rows, key=_rank), CHANGE_COLUMNS)
    frame.attrs = {"source": f"{before}, {after}", "notes": notes}
    return frame


# --- the two catalogues ---------------------------------------------------------------------------


def _catalog(given: Any, live: bool | pd.DataFrame) -> _Catalog:
    if isinstance(given, pd.DataFrame):
        return _from_frame(given)
    if given is None:
        looks, notes = observations(live)
        return _from_frame(looks[-1].models, looks[-1].at, [*age_of(looks), *notes])
    frame = catalog_at(given)
    return _from_frame(frame, notes=frame.attrs["notes"])


def _from_frame(
    frame: pd.DataFrame, at: pd.Timestamp | None = None, notes: Sequence[str] = ()
) -> _Catalog:
    needed = ("prompt_usd_per_million", "completion_usd_per_million")
    frame, repeated = sound(frame, needed, " or ornb.catalog_at(), with their prices")
    listed = states(frame)
    slugs = c.plain(frame["canonical_slug"]) if "canonical_slug" in frame.columns else repeat(None)
    names = {each: _names(each, slug) for each, slug in zip(listed, slugs, strict=False)}
    source = str(frame.attrs.get("source") or "not stated")
    return _Catalog(at or _date(frame), listed, names, source, [*notes, *repeated])


def _date(frame: pd.DataFrame) -> pd.Timestamp | None:
    at = frame.attrs.get("snapshot") or frame.attrs.get("fetched_at")
    return None if at is None else utc_of(at)


# --- one model under two ids ----------------------------------------------------------------------


def _names(model_id: str, slug: str | None) -> set[str]:
    base = model_id.partition(":")[0]
    return {base, slug} if slug else {base}


def _renamed(before: _Catalog, after: _Catalog) -> dict[str, str]:
    """Old id to new one, where exactly one fits in each direction."""
    removed = [each for each in before.models if each not in after.models]
    added = [each for each in after.models if each not in before.models]
    pairs = [
        (old, new)
        for old in removed
        for new in added
        if _same_offer(old, new) and before.names[old] & after.names[new]
    ]
    olds, news = Counter(old for old, _ in pairs), Counter(new for _, new in pairs)
    return {old: new for old, new in pairs if olds[old] == news[new] == 1}


def _same_offer(old: str, new: str) -> bool:
    """A free model that now has a price is the same one; a row of the Batch API is another."""
    variants = {each.partition(":")[2] for each in (old, new)}
    return len(variants) == 1 or variants == {"", "free"}


def _still_as(old: str, before: _Catalog, after: _Catalog) -> str | None:
    """Another id of a model whose own id is gone; rows of the Batch API last."""
    found = [each for each, names in after.names.items() if names & before.names[old]]
    return min(found, key=lambda each: (each.endswith(":batch"), each), default=None)


# --- the rows -------------------------------------------------------------------------------------


def _rows(before: _Catalog, after: _Catalog) -> Iterator[tuple[Any, ...]]:
    renamed = _renamed(before, after)
    for new, model in after.models.items():
        if new not in before.models and new not in renamed.values():
            yield _row("added", new, None, GONE, model)
    for old, model in before.models.items():
        now_as = renamed.get(old)
        if old not in after.models and now_as is None:
            yield _row("removed", old, _still_as(old, before, after), model, GONE)
            continue
        changed = after.models[now_as or old]
        kinds = ["renamed"] if now_as else []
        for kind in (*kinds, *_kinds(model, changed)):
            yield _row(kind, old, now_as, model, changed)


def _kinds(before: State, after: State) -> Iterator[str]:
    if before.is_free != after.is_free:
        yield "now free" if after.is_free else "no longer free"
    elif (kind := _price_change(before, after)) is not None:
        yield kind
    contexts = (before.context_length, after.context_length)
    if None not in contexts and contexts[0] != contexts[1]:
        yield "context changed"


def _price_change(before: State, after: State) -> str | None:
    pairs = [(before.prompt, after.prompt), (before.completion, after.completion)]
    went = {_direction(*pair) for pair in pairs} - {"same"}
    if not went:
        return None
    return went.pop() if len(went) == 1 else "repriced"


def _direction(before: float | None, after: float | None) -> str:
    if before == after:
        return "same"
    if before is None or after is None:
        return "repriced"
    return "dearer" if after > before else "cheaper"


def _row(
    kind: str, model_id: str, now_as: str | None, before: State, after: State
) -> tuple[Any, ...]:
    return (
        *(kind, model_id, now_as),
        *(before.prompt, after.prompt, before.completion, after.completion),
        price_ratio(before, after),
        *(before.context_length, after.context_length, before.is_free, after.is_free),
    )


def _rank(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """By kind, the largest change first."""
    of = dict(zip(CHANGE_COLUMNS, row, strict=True))
    ratio = of["price_ratio"]
    if of["change"] == "context changed":
        ratio = of["context_length_after"] / of["context_length_before"]
    return list(CHANGES).index(of["change"]), -abs(log(ratio)) if ratio else 0.0, of["id"]
