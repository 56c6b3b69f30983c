"""The user's own journal: what OpenRouter listed on the days on which this user looked, with a key.

A file as the bundled one is, in the user's data folder. Each day is kept for a month, of older ones
the first of each month, so that it stays small.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from . import journal

VARIABLE = "ORNB_JOURNAL"
"""Names another file, or is "off": nothing is written then, nor read."""
EACH_DAY_FOR = timedelta(days=31)


def path() -> Path | None:
    """Return where it is, whether it exists or not; None where it is off."""
    import platformdirs

    chosen = os.environ.get(VARIABLE, "").strip()
    if chosen.lower() == "off":
        return None
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_data_path("ornb") / "journal.jsonl"


Stamp = tuple[Path, int, int]


def stamp() -> Stamp | None:
    """Return what differs when the file does; None where there is none."""
    at = path()
    if at is None or not at.is_file():
        return None
    found = at.stat()
    return at, found.st_mtime_ns, found.st_size


def days() -> dict[str, journal.Catalog]:
    """Return its days (UTC), oldest first, to catalogues."""
    of = stamp()
    return {} if of is None else _days(of)


@lru_cache(maxsize=1)
def _days(of: Stamp) -> dict[str, journal.Catalog]:
    return journal.read(of[0])


def keep(records: Any) -> None:
    """Add what the catalogue lists today, once a day, in one step."""
    at, today = path(), datetime.now(UTC).date()
    known = days()
    if at is None or today.isoformat() in known:
        return
    known = {**known, today.isoformat(): journal.distil(records)}
    recent = (today - EACH_DAY_FOR).isoformat()
    firsts = {next(of_month) for _, of_month in groupby(sorted(known), key=lambda day: day[:7])}
    at.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    journal.write({day: known[day] for day in known if day >= recent or day in firsts}, at)
