"""The rows of a figure: where they come from, how many are shown, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from ..catalog.observations import aged
from ..errors import ConfigError
from ..ledger.table import one_engine, origins
from ..messages import well_formed

_MAKERS = {
    "calls": "ornb.measure(...) and ornb.usage.df",
    "changes": "ornb.catalog_changes(a, b)",
    "endpoints": "ornb.endpoints(id)",
    "groups": "ornb.latency_summary(calls)",
    "models": "ornb.models()",
    "observed prices": "ornb.price_history(ids)",
    "rows": "ornb.decide(column, questions)",
    "texts": "ornb.embed(texts)",
}
"""What makes a frame of such rows."""


class HasFrame(Protocol):
    """What has a frame of calls, as `ornb.usage` and a comparison do."""

    @property
    def df(self) -> pd.DataFrame:
        """Its calls, one row each."""


@dataclass
class Rows:
    """The rows of one figure, counted while some are set aside.

    `aside` says what was set aside, such as ``"5 without a price"``; of the `watched` ids it is
    noted by name. `engine` says who answered under several names.
    """

    frame: pd.DataFrame
    noun: str
    source: str
    total: int
    aside: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    watched: frozenset[str] = frozenset()
    engine: str = ""

    @classmethod
    def of(cls, frame: Any, noun: str, needs: Iterable[str], *, unique: str | None = None) -> Rows:
        """Check a frame and count its rows; an index with a name becomes a column.

        What has a frame, such as `ornb.usage`, stands for it. Repeats in the column `unique` are
        set aside.
        """
        if not isinstance(frame, pd.DataFrame):
            frame = getattr(frame, "df", frame)
        if not isinstance(frame, pd.DataFrame):
            raise ConfigError(f"a DataFrame of {noun} is needed, not {type(frame).__name__}")
        flat = frame.reset_index() if frame.index.name not in (None, *frame.columns) else frame
        needs = list(needs)
        known = [name for name in needs if pd.api.types.is_hashable(name) and name in flat.columns]
        missing = [name for name in needs if not any(name is each for each in known)]
        if twice := {*known} & {*flat.columns[flat.columns.duplicated()]}:
            raise ConfigError(f"the frame of {noun} has two columns {min(twice)!r}; give one.")
        if missing:
            raise ConfigError(
                f"the frame of {noun} has no column {', '.join(map(repr, missing))}, as those of "
                f"{_MAKERS[noun]} have; it has "
                f"{', '.join(map(repr, list(map(str, flat.columns))[:8]))} ..."
            )
        told = [str(note) for note in frame.attrs.get("notes") or ()]
        rows = cls(flat.reset_index(drop=True), noun, source_of(frame), len(frame), notes=told)
        rows.engine = str(frame.attrs.get("one_engine") or one_engine(flat))
        if unique is not None:
            rows.leave_out(rows.frame[unique].duplicated(), f"listed twice by {unique}")
        return rows

    def leave_out(self, mask: Any, why: str) -> pd.DataFrame:
        """Set rows aside, and remember how many and why: ``"without a price"``."""
        out = np.asarray(pd.array(mask, dtype="boolean").fillna(False), dtype=bool)
        gone = self.frame[out]
        if len(gone):
            self.aside.append(f"{len(gone)} {why}")
            if self.watched and (named := self.watched.intersection(gone["id"])):
                said = ", ".join(sorted(named))
                self.notes.append(f"Asked for, but left out: {said}, {why}.")
            self.frame = self.frame[~out].reset_index(drop=True)
        return gone

    def note_unknown(self, ids: Iterable[str], known: Iterable[str]) -> None:
        """Note which of the ids asked for are not there: models come and go."""
        there = set(known)
        unknown = [str(name) for name in ids if name not in there]
        if unknown:
            self.notes.append(f"Not among the {self.noun} given: {', '.join(unknown)}.")

    def caption(self) -> str:
        """Source, how many rows are shown, and what is missing."""
        shown = len(self.frame)
        if self.total == 0:
            said = f"No {self.noun} were given."
        elif shown == self.total:
            said = f"All {shown} {self.noun} shown." if shown > 1 else f"1 of 1 {self.noun} shown."
        else:
            said = f"{shown} of {self.total} {self.noun} shown; left out: {', '.join(self.aside)}."
        return well_formed(" ".join([f"Source: {self.source}.", said, *self.notes]))


def source_of(frame: pd.DataFrame) -> str:
    """Where rows come from: by the frame's ``attrs``, or by its column ``source``."""
    kind, day = frame.attrs.get("source"), frame.attrs.get("snapshot")
    fetched = str(frame.attrs.get("fetched_at") or "")[:16].replace("T", " ")
    if kind == "snapshot" or (kind and day):
        return f"{kind} {aged(day)}" if day else str(kind)
    if kind:
        return f"{kind}, {fetched} UTC" if fetched else str(kind)
    if "source" in frame.columns and len(frame):
        counts = origins(frame).value_counts()
        names = [str(name) for name in counts.index]
        if len(names) == 1 and names[0].startswith("recorded "):
            return f"answers {names[0]}"
        if len(names) == 1:
            return f"{names[0]} answers" if names[0] != "not stated" else "not stated"
        return ", ".join(f"{n} {name}" for name, n in zip(names, counts, strict=True))
    return "not stated"
