"""The rows of a figure: where they come from, how many are shown, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..errors import ConfigError

__all__ = ["Rows", "source_of"]

_MAKERS = {
    "calls": "ornb.measure(...) and ornb.usage.df",
    "changes": "ornb.catalog_changes(a, b)",
    "endpoints": "ornb.endpoints(id)",
    "groups": "ornb.latency_summary(calls)",
    "models": "ornb.models()",
    "observed prices": "ornb.price_history(ids)",
}
"""What makes a frame of such rows."""


@dataclass
class Rows:
    """The rows of one figure, counted while some are set aside.

    Attributes
    ----------
    frame : pandas.DataFrame
        Rows still to be shown.
    noun : str
        What a row is, in the plural, such as ``"models"``.
    source : str
        Where they come from, in words.
    total : int
        Rows that were given.
    aside : list of str
        What was set aside, such as ``"5 without a price"``.
    notes : list of str
        Further sentences for the caption.
    """

    frame: pd.DataFrame
    noun: str
    source: str
    total: int
    aside: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, frame: Any, noun: str, needs: Iterable[str], *, unique: str | None = None) -> Rows:
        """Check a frame and count its rows.

        Parameters
        ----------
        frame : pandas.DataFrame
            The rows; an index with a name becomes a column.
        noun : str
            What a row is, in the plural.
        needs : iterable of str
            Columns the figure cannot do without.
        unique : str, optional
            Column whose repeats are set aside.

        Returns
        -------
        Rows

        Raises
        ------
        ConfigError
            It is no DataFrame, or lacks a column.
        """
        if not isinstance(frame, pd.DataFrame):
            raise ConfigError(f"a DataFrame of {noun} is needed, not {type(frame).__name__}")
        flat = frame.reset_index() if frame.index.name not in (None, *frame.columns) else frame
        missing = [name for name in needs if name not in flat.columns]
        if missing:
            raise ConfigError(
                f"the frame of {noun} has no column {', '.join(map(repr, missing))}, as those of "
                f"{_MAKERS[noun]} have; it has "
                f"{', '.join(map(repr, list(map(str, flat.columns))[:8]))} ..."
            )
        told = [str(note) for note in frame.attrs.get("notes") or ()]
        rows = cls(flat.reset_index(drop=True), noun, source_of(frame), len(frame), notes=told)
        if unique is not None:
            rows.leave_out(rows.frame[unique].duplicated(), f"listed twice by {unique}")
        return rows

    def leave_out(self, mask: Any, why: str) -> pd.DataFrame:
        """Set rows aside, and remember how many and why.

        Parameters
        ----------
        mask : array_like of bool
            True for rows that are not shown; missing counts as False.
        why : str
            The reason, after the number: ``"without a price"``.

        Returns
        -------
        pandas.DataFrame
            The rows that were set aside.
        """
        out = np.asarray(pd.array(mask, dtype="boolean").fillna(False), dtype=bool)
        gone = self.frame[out]
        if len(gone):
            self.aside.append(f"{len(gone)} {why}")
            self.frame = self.frame[~out].reset_index(drop=True)
        return gone

    def note_unknown(self, ids: Iterable[str], known: Iterable[str]) -> None:
        """Say which of the ids asked for are not there: models come and go.

        Parameters
        ----------
        ids : iterable of str
            Those asked for.
        known : iterable of str
            Those that are there.
        """
        there = set(known)
        unknown = [str(name) for name in ids if name not in there]
        if unknown:
            self.notes.append(f"Not among the {self.noun} given: {', '.join(unknown)}.")

    def caption(self) -> str:
        """Source, how many rows are shown, and what is missing.

        Returns
        -------
        str
        """
        shown = len(self.frame)
        if self.total == 0:
            said = f"No {self.noun} were given."
        elif shown == self.total:
            said = f"All {shown} {self.noun} shown." if shown > 1 else f"1 of 1 {self.noun} shown."
        else:
            said = f"{shown} of {self.total} {self.noun} shown; left out: {', '.join(self.aside)}."
        return " ".join([f"Source: {self.source}.", said, *self.notes])


def source_of(frame: pd.DataFrame) -> str:
    """Where rows come from: by the frame's ``attrs``, or by its column ``source``.

    Parameters
    ----------
    frame : pandas.DataFrame
        Any of ornb's tables.

    Returns
    -------
    str
        Such as ``"snapshot of 2026-08-22"`` or ``"12 live, 3 canned"``.
    """
    kind, day = frame.attrs.get("source"), frame.attrs.get("snapshot")
    fetched = str(frame.attrs.get("fetched_at") or "")[:16].replace("T", " ")
    if kind == "snapshot" or (kind and day):
        return f"{kind} of {day}" if day else str(kind)
    if kind:
        return f"{kind}, {fetched} UTC" if fetched else str(kind)
    if "source" in frame.columns and len(frame):
        counts = frame["source"].fillna("not stated").value_counts()
        names = [str(name) for name in counts.index]
        if len(names) == 1:
            return f"{names[0]} answers" if names[0] != "not stated" else "not stated"
        return ", ".join(f"{n} {name}" for name, n in zip(names, counts, strict=True))
    return "not stated"
