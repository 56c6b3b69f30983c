"""Make a snapshot file from a live API, or from answers that were saved before.

::

    python -m ornb.offline.snapshot        # from the public API, no key needed
    python -m ornb.offline.snapshot --base-url http://127.0.0.1:8000/api/v1
    python -m ornb.offline.snapshot --catalog models.json --endpoints endpoints.json.gz

``--catalog`` takes a whole ``GET /models`` answer (or its bare list), ``--endpoints`` one object
``{"endpoints": {model id: whole endpoints answer}, "providers": whole GET /providers answer}``;
both plain or ``.gz``. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ornb.errors import OfflineError, OrnbError

from . import BUNDLED, FORMAT, Record, Snapshot

PUBLIC_API = "https://openrouter.ai/api/v1"
PAUSE_S = 0.05
"""Rest between two endpoint listings: some 400 calls should not look like an attack."""


def distil(models: Any, endpoints: dict[str, Any], providers: Any, *, date: str) -> Snapshot:
    """Keep the facts of the three kinds of answers, with every description emptied."""
    kept = [_without_prose(model) for model in _data(models)]
    ids = [model["id"] for model in kept]
    listings = {
        model_id: _without_prose(_data(endpoints[model_id]))
        for model_id in ids
        if model_id in endpoints
    }
    return Snapshot(date, kept, listings, _data(providers))


def write(snapshot: Snapshot, path: Path) -> int:
    """Write a snapshot file in one step, so that a reader never sees half; returns its bytes."""
    stored = {
        "format": FORMAT,
        "date": snapshot.date,
        "models": snapshot.models,
        "endpoints": snapshot.endpoints,
        "providers": snapshot.providers,
    }
    text = json.dumps(stored, ensure_ascii=False, separators=(",", ":"))
    # mtime=0: the time of writing is the only thing that would differ between two equal builds.
    packed = gzip.compress(text.encode(), compresslevel=9, mtime=0)
    half = path.with_name(path.name + ".part")
    half.write_bytes(packed)
    half.replace(path)
    return len(packed)


def fetch(base_url: str = PUBLIC_API, *, token: str | None = None) -> Snapshot:
    """Ask a live API for everything a snapshot holds: one call a model, and two more."""
    import requests  # only this maintainer's tool needs it here

    web = requests.Session()
    if token:
        web.headers["Authorization"] = f"Bearer {token}"

    def get(path: str) -> Any:
        try:
            answer = web.get(base_url.rstrip("/") + path, timeout=60)
            answer.raise_for_status()
            return answer.json()
        except (requests.RequestException, ValueError) as err:
            raise OfflineError(
                f"GET {path} at {base_url} failed: {err}. Nothing was written; try again later."
            ) from err

    with web:
        date = datetime.datetime.now(datetime.UTC).date().isoformat()
        models = _data(get("/models"))
        providers = get("/providers")
        endpoints = {}
        for model in models:
            endpoints[model["id"]] = get(f"/models/{quote(model['id'], safe='/~:')}/endpoints")
            time.sleep(PAUSE_S)
    return distil(models, endpoints, providers, date=date)


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m ornb.offline.snapshot``."""
    parser = argparse.ArgumentParser(
        prog="python -m ornb.offline.snapshot",
        description="Make the catalogue snapshot that ornb carries.",
    )
    parser.add_argument("--base-url", default=PUBLIC_API, help="a live API (default: %(default)s)")
    parser.add_argument("--catalog", type=Path, help="a saved GET /models answer")
    parser.add_argument("--endpoints", type=Path, help="saved endpoints and providers answers")
    parser.add_argument("--date", help="day of the catalogue, YYYY-MM-DD (default: from the files)")
    parser.add_argument("--output", type=Path, default=BUNDLED, help="default: %(default)s")
    options = parser.parse_args(argv)
    try:
        if options.catalog is None:
            snapshot = fetch(options.base_url, token=os.environ.get("OPENROUTER_API_KEY"))
        else:
            snapshot = _from_files(options.catalog, options.endpoints, options.date)
    except OrnbError as error:
        print(error, file=sys.stderr)
        return 1
    size = write(snapshot, options.output)
    print(
        f"{options.output}: {len(snapshot.models)} models of {snapshot.date}, "
        f"{len(snapshot.endpoints)} endpoint listings, {len(snapshot.providers)} providers, "
        f"{size / 1000:.0f} kB"
    )
    return 0


def _from_files(catalog: Path, endpoints: Path | None, date: str | None) -> Snapshot:
    models = _read(catalog)
    extra = _read(endpoints) if endpoints else {"endpoints": {}, "providers": []}
    date = date or str(extra.get("generated", ""))[:10]
    try:
        datetime.date.fromisoformat(date)
    except ValueError as err:
        raise OfflineError(
            f"The day of {catalog} is not known (got {date!r}). Pass --date YYYY-MM-DD."
        ) from err
    return distil(models, extra["endpoints"], extra["providers"], date=date)


def _read(path: Path) -> Any:
    try:
        data = path.read_bytes()
        return json.loads(gzip.decompress(data) if path.suffix.lower() == ".gz" else data)
    except (OSError, EOFError, ValueError) as err:
        raise OfflineError(
            f"{path} cannot be read as JSON ({err}). Give a saved answer, plain or .gz."
        ) from err


def _data(answer: Any) -> Any:
    return answer["data"] if isinstance(answer, dict) and "data" in answer else answer


def _without_prose(record: Record) -> Record:
    return {key: "" if key == "description" else value for key, value in record.items()}
