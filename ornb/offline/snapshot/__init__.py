"""The dated facts of OpenRouter's catalogue that ornb carries for use without a network.

One compressed JSON file beside this module holds what three public calls answered on one day:
``GET /models``, ``GET /providers`` and ``GET /models/{author}/{slug}/endpoints`` for each model.
Records keep the API's own shape, so whoever reads the live catalogue reads this one. Descriptions
are other people's prose, not facts, and are left empty.

``python -m ornb.catalog --snapshot`` makes a new file, by way of `build`.

References
----------
OpenRouter API, ``GET /models``, ``/providers`` and ``/models/{author}/{slug}/endpoints``, as
answered on 2026-08-22 (models) and 2026-08-22 23:01 UTC (endpoints, providers).
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ornb.errors import OfflineError

FORMAT = 1
"""Version of the file's outer shape; raised when a reader of the old one would misread it."""

BUNDLED = Path(__file__).with_name("openrouter.json.gz")
"""The file that ships with ornb."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """One day's catalogue: the `data` of the API's answers, endpoints by model id.

    `date` is the day of the models list, ``YYYY-MM-DD`` (UTC).
    """

    date: str
    models: list[Record]
    endpoints: dict[str, Record]
    providers: list[Record]


def load(path: Path | None = None) -> Snapshot:
    """Read a snapshot file, by default the bundled one."""
    path = BUNDLED if path is None else path
    try:
        stored = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, zlib.error, ValueError) as err:
        raise OfflineError(
            f"The catalogue snapshot {path} cannot be read ({err}). Reinstall ornb."
        ) from err
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise OfflineError(
            f"The catalogue snapshot {path} is not of format {FORMAT}. Reinstall ornb."
        )
    return Snapshot(stored["date"], stored["models"], stored["endpoints"], stored["providers"])
