"""Favourite models and those picked last: a file of the data folder, made on request only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import ConfigError

_MOST_USED = 8


def _path() -> Path:
    import platformdirs  # not needed until a picker is shown

    return platformdirs.user_data_path("ornb") / "picker.json"


def look() -> dict[str, Any]:
    """Return what is kept; a file that can't be read is said in "note" and left alone."""
    try:
        return _read()
    except ConfigError as err:
        return {"favourites": [], "last_used": None, "note": str(err)}


def favourite(model_id: str, *, on: bool) -> dict[str, Any]:
    """Keep a favourite, or drop it."""
    kept = _read()
    others = [one for one in kept["favourites"] if one != model_id]
    return _write(kept | {"favourites": [*others, model_id] if on else others})


def keep_used(*, on: bool) -> dict[str, Any]:
    """Keep from now on what is picked; or stop that, and forget what was kept."""
    kept = _read()
    return _write(kept | {"last_used": (kept["last_used"] or []) if on else None})


def used(*model_ids: str) -> dict[str, Any]:
    """Put models first among those picked last, if these are kept."""
    kept = _read()
    if kept["last_used"] is None or not model_ids:
        return kept
    return _write(
        kept | {"last_used": list(dict.fromkeys([*model_ids, *kept["last_used"]]))[:_MOST_USED]}
    )


def _read() -> dict[str, Any]:
    path = _path()
    try:
        read = json.loads(path.read_bytes()) if path.exists() else {}
        favourites, last = read.get("favourites", []), read.get("last_used")
        "".join([*favourites, *(last or [])])  # ids, or a TypeError
    except (OSError, ValueError, TypeError, AttributeError) as err:
        raise ConfigError(
            f"Your favourites cannot be read from {path} ({type(err).__name__}). "
            "Put that file right, or delete it."
        ) from err
    return {"favourites": favourites, "last_used": last}


def _write(kept: dict[str, Any]) -> dict[str, Any]:
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        new.replace(path)
    except OSError as err:
        raise ConfigError(f"Your favourites cannot be written to {path}: {err}") from err
    return kept
