"""Make a snapshot file of a live API's answers, as ``python -m ornb.catalog --snapshot`` does."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from . import FORMAT, Record, Snapshot

PAUSE_S = 0.05
"""Rest between two endpoint listings: some 400 calls should not look like an attack."""


def distil(
    models: list[Record], endpoints: dict[str, Record], providers: list[Record], *, date: str
) -> Snapshot:
    """Keep the facts of the three kinds of answers, with every description emptied."""
    ids = [model["id"] for model in models]
    listings = {each: _without_prose(endpoints[each]) for each in ids if each in endpoints}
    return Snapshot(date, list(map(_without_prose, models)), listings, providers)


def write(snapshot: Snapshot, path: Path) -> int:
    """Write a snapshot file in one step, so that a reader never sees half; returns its bytes."""
    stored = {"format": FORMAT, **vars(snapshot)}
    text = json.dumps(stored, ensure_ascii=False, separators=(",", ":"))
    # mtime=0: the time of writing is the only thing that would differ between two equal builds.
    packed = gzip.compress(text.encode(), compresslevel=9, mtime=0)
    half = path.with_name(path.name + ".part")
    half.write_bytes(packed)
    half.replace(path)
    return len(packed)


def _without_prose(record: Record) -> Record:
    return {key: "" if key == "description" else value for key, value in record.items()}
