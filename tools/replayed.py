"""What a kernel runs before the first cell of a notebook whose outputs are kept.

Answers come from the notebook's recording, at once, and from nowhere else. The clock that ornb
reads stands at the end of the recording, or on the day of the catalogue where no model is asked,
and its stopwatch shows recorded times only. So every time that an output names is one of the
recording, and another run names the same.

`tools/notebooks.py` runs this file with the path of the recording as `recording`.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import ornb
from ornb.offline.snapshot import load


class _Kind(type):
    """Any datetime is one of the standing clock's too."""

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, datetime)


def clock_at(moment: datetime) -> type[datetime]:
    """Make a ``datetime`` whose ``now()`` stays where it is.

    Parameters
    ----------
    moment : datetime.datetime
        What it shows, with its time zone. Each reading is a microsecond later than the one before:
        what came later is later.

    Returns
    -------
    type
        Stands in for the class ``datetime.datetime``.
    """
    readings = count()

    class Standing(datetime, metaclass=_Kind):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return (moment + timedelta(microseconds=next(readings))).astimezone(tz)

    return Standing


def stop_the_clock(moment: datetime) -> None:
    """Let each part of ornb read one moment, and a stopwatch that was never started.

    Parameters
    ----------
    moment : datetime.datetime
        Which.
    """
    for found in pkgutil.walk_packages(ornb.__path__, "ornb."):
        if not found.name.startswith("ornb.offline") and not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    for name, module in list(sys.modules.items()):
        if not name.startswith("ornb.") or module is None:
            continue
        if getattr(module, "datetime", None) is datetime:
            module.datetime = clock_at(moment)  # type: ignore[attr-defined]
        if getattr(module, "perf_counter", None) is perf_counter:
            module.perf_counter = lambda: 1.0  # type: ignore[attr-defined]


def begin(recording: Path | None) -> None:
    """Play the recording, and stop the clock.

    Parameters
    ----------
    recording : pathlib.Path or None
        None for a notebook that asks no model.
    """
    if recording is None:
        day = datetime.fromisoformat(load().date)
        moment = day.replace(hour=12, tzinfo=UTC)
    else:
        moment = ornb.replay(recording, pace="instant").recorded_at.replace(microsecond=0)
    stop_the_clock(moment)


if __name__ == "__main__":
    given = globals().get("recording")
    begin(Path(given) if given else None)
