"""Take new observations of the catalogue into the price history.

::

    python -m ornb.catalog                      # today's, from the public API; no key needed
    python -m ornb.catalog --snapshot           # the same answers also renew the offline snapshot
    python -m ornb.catalog --folder recorded/   # answers that were saved before
    python -m ornb.catalog --genai-prices       # what genai-prices has dated; no network either

A folder holds whole ``GET /models`` answers (or their bare lists), plain or ``.gz``, with the day
in their names: ``catalog-2025-04-09.json``. ``OPENROUTER_BASE_URL`` and ``OPENROUTER_API_KEY`` say
where else to ask. The same observations give the same bytes, in whatever order they come.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import sys
import time
import zlib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..api.client import OPENROUTER, Client
from ..errors import CatalogError, NotFound, OrnbError
from ..offline import snapshot as offline_snapshot
from ..offline.snapshot import build
from . import journal, noted
from .observations import LEAST_KNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAY = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m ornb.catalog``; where it fails nothing is written."""
    options = _parser().parse_args(argv)
    try:
        if options.genai_prices is not None:
            print(noted.take_in(options.genai_prices))
            return 0
        known = {} if options.new else journal.read(options.journal)
        if options.folder is not None:
            added = from_folder(options.folder)
        else:
            key = os.environ.get("OPENROUTER_API_KEY", "").strip() or None
            base_url = os.environ.get("OPENROUTER_BASE_URL", "").strip() or OPENROUTER
            added = _from_api(Client(key, base_url), known, options.snapshot)
        days = add(known, added)
        size = journal.write(days, options.journal)
    except (OrnbError, OSError) as error:
        print(f"{error}\nNothing was written to the history.", file=sys.stderr)
        return 1
    for line in _summary(days, set(added)):
        print(line)
    print(f"{options.journal}: {len(days)} days, {size / 1000:.0f} kB")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ornb.catalog",
        description="Take new observations of the catalogue into the price history.",
    )
    parser.add_argument("--folder", type=Path, help="saved answers instead of a live API")
    parser.add_argument(
        "--snapshot",
        nargs="?",
        type=Path,
        const=offline_snapshot.BUNDLED,
        help="renew the offline snapshot from the same answers (one more call a model)",
    )
    parser.add_argument(
        "--journal", type=Path, default=journal.BUNDLED, help="default: %(default)s"
    )
    parser.add_argument(
        "--genai-prices",
        nargs="?",
        type=Path,
        const=noted.BUNDLED,
        help="instead, take the dated prices of the installed package genai-prices into a file "
        "of their own",
    )
    parser.add_argument("--new", action="store_true", help="begin an empty history")
    return parser


def add(known: dict[str, journal.Catalog], answers: dict[str, Any]) -> dict[str, journal.Catalog]:
    """Add the ``GET /models`` answers of some days (UTC) to a history; a known day is replaced."""
    days = dict(known)
    for day, answer in answers.items():
        days[day] = journal.distil(answer)
        if not days[day]:
            raise CatalogError(f"The catalogue of {day} lists no models; leave it out.")
    return {day: days[day] for day in sorted(days)}


def from_folder(folder: Path) -> dict[str, Any]:
    """Read the saved answers of a folder by day, such as ``catalog-2025-04-09.json.gz``."""
    found: dict[str, Any] = {}
    for day, path in _dated(folder):
        if day in found:
            raise CatalogError(f"Two files of {folder} are of {day}; keep one of them.")
        try:
            date.fromisoformat(day)  # a journal with another one could not be read again
            data = path.read_bytes()
            found[day] = json.loads(gzip.decompress(data) if path.suffix.lower() == ".gz" else data)
        except (OSError, EOFError, zlib.error, ValueError, RecursionError) as err:
            raise CatalogError(f"{path} cannot be read as JSON of a day ({err}).") from err
    if not found:
        raise CatalogError(
            f"No saved answers in {folder}; their names end in .json or .json.gz and hold the day, "
            "as in catalog-2025-04-09.json."
        )
    return dict(sorted(found.items()))


def _dated(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.glob("*")):
        day = _DAY.search(path.name)
        if day and path.name.lower().endswith((".json", ".json.gz")):
            yield day.group(), path


def _from_api(
    client: Client, known: dict[str, journal.Catalog], snapshot: Path | None
) -> dict[str, Any]:
    models = client.models()
    day = datetime.now(UTC).date().isoformat()
    listed = {model.get("id") for model in models}
    before = set().union(*known.values())
    if before and len(listed & before) <= len(listed) * LEAST_KNOWN:
        raise CatalogError(
            f"Most models of {client.base_url} were never in the history, so it does not seem to "
            "be OpenRouter. Check OPENROUTER_BASE_URL."
        )
    if snapshot is not None:
        renew_snapshot(client, models, day, snapshot)
    return {day: models}


def renew_snapshot(client: Client, models: list[dict[str, Any]], day: str, path: Path) -> int:
    """Make the offline snapshot from a live API, and replace it once everything was answered."""
    providers = client.providers()
    endpoints: dict[str, Any] = {}
    for model in models:
        try:
            endpoints[model["id"]] = client.endpoints(model["id"])
        except NotFound:
            print(f"{model['id']}: no endpoints; it vanished meanwhile", file=sys.stderr)
        time.sleep(build.PAUSE_S)
    return build.write(build.distil(models, endpoints, providers, date=day), path)


def _summary(days: dict[str, journal.Catalog], added: set[str]) -> Iterator[str]:
    before: journal.Catalog = {}
    for day, catalog in days.items():
        if day in added:
            kinds = [line[0] for line in journal.differences(before, catalog)]
            yield (
                f"{day}: {len(catalog)} models, {kinds.count('+')} added, "
                f"{kinds.count('-')} removed, {kinds.count('~')} changed"
            )
        before = catalog
