"""Catalogue body to typed frame, beside the least code that makes any frame of it.

Run: ``python benchmarks/catalog.py [answer.json]``. The floor is ``json.loads``, one flat list a
field, and ``pandas.DataFrame``, with no types and no flags. Both run in turns in one process, and
the ratio is taken within each round. Without a recorded answer the bundled snapshot is not used
either: records of the same shape and size are made up.

Bar: at most 1.5 x the floor at 400 and at 4,000 models. Asked again within its lifetime, the table
is there without a request: at most 0.02 x the first time.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import pandas as pd
from _table import row

import ornb
from ornb.catalog import to_frame

RECORDED = Path(__file__).parents[2] / "shared" / "data" / "catalogs" / "catalog-2026-08-22.json"
FIELDS = (
    "id",
    "name",
    "created",
    "context_length",
    "description",
    "canonical_slug",
    "hugging_face_id",
    "knowledge_cutoff",
    "expiration_date",
    "supported_parameters",
)
NESTED = (
    ("architecture", "tokenizer"),
    ("architecture", "input_modalities"),
    ("architecture", "output_modalities"),
    ("pricing", "prompt"),
    ("pricing", "completion"),
    ("pricing", "input_cache_read"),
    ("pricing", "input_cache_write"),
    ("pricing", "request"),
    ("pricing", "web_search"),
    ("top_provider", "max_completion_tokens"),
    ("top_provider", "is_moderated"),
)


def main() -> None:
    """Print CPU time and ratio at 400 and 4,000 models."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("answer", nargs="?", type=Path, default=RECORDED)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    seed = _recorded(options.answer) if options.answer.exists() else _made_up()
    for count in (400, 4000):
        body = _body(seed, count)
        floors, ours, parses = [], [], []
        for _ in range(options.rounds):
            parses.append(_seconds(json.loads, body))
            floors.append(_seconds(_floor, body))
            ours.append(_seconds(_ours, body))
        ratios = [o / f for o, f in zip(ours, floors, strict=True)]
        row(f"{count:,} models to a typed table, CPU over lists and DataFrame", ratios, bar=1.5)
        ratio = statistics.median(ratios)
        print(
            f"{count:5d} models, {len(body) / 1e6:.2f} MB: json.loads "
            f"{1e3 * statistics.median(parses):.1f} ms, floor {1e3 * statistics.median(floors):.1f}"
            f" ms, ornb {1e3 * statistics.median(ours):.1f} ms CPU, ratio {ratio:.2f} (bar 1.5)"
        )
    _again(options.rounds)


def _again(rounds: int) -> None:
    """Ask for the table once more, beside asking for the first time."""
    ratios = []
    for _ in range(rounds):
        ornb.connect(offline=True)
        ornb.providers()  # the server is up
        began = time.perf_counter()
        ornb.models()
        between = time.perf_counter()
        ornb.models()
        ratios.append((time.perf_counter() - between) / (between - began))
    row("the catalogue asked again, over the first time", ratios, bar=0.02)


def _floor(body: bytes) -> pd.DataFrame:
    records = json.loads(body)["data"]
    columns = {name: [r.get(name) for r in records] for name in FIELDS}
    for outer, inner in NESTED:
        columns[f"{outer}.{inner}"] = [r[outer].get(inner) for r in records]
    return pd.DataFrame(columns)


def _ours(body: bytes) -> pd.DataFrame:
    return to_frame(json.loads(body))


def _seconds(work: Any, body: bytes) -> float:
    gc.collect()
    start = time.process_time()
    work(body)
    return time.process_time() - start


def _recorded(path: Path) -> list[dict[str, Any]]:
    answer = json.loads(path.read_bytes())
    return answer["data"] if isinstance(answer, dict) else answer


def _made_up() -> list[dict[str, Any]]:
    chance = random.Random(7)  # noqa: S311 - made-up prices, no secrets
    return [
        {
            "id": f"author{n % 40}/model-{n}",
            "canonical_slug": f"author{n % 40}/model-{n}-20260801",
            "hugging_face_id": None,
            "name": f"Author {n % 40}: Model {n}",
            "created": 1_700_000_000 + 60_000 * n,
            "description": "words " * 55,
            "context_length": chance.choice([8192, 131072, 1_000_000]),
            "architecture": {
                "modality": "text+image->text",
                "input_modalities": ["text", "image"],
                "output_modalities": ["text"],
                "tokenizer": "Other",
                "instruct_type": None,
            },
            "pricing": {
                "prompt": f"0.00000{chance.randrange(1, 400)}",
                "completion": f"0.0000{chance.randrange(1, 400)}",
            },
            "top_provider": {"max_completion_tokens": 65536, "is_moderated": False},
            "supported_parameters": ["tools", "max_tokens", "temperature", "top_p", "seed"],
            "default_parameters": {"temperature": None, "top_p": None},
        }
        for n in range(400)
    ]


def _body(seed: list[dict[str, Any]], count: int) -> bytes:
    records = [
        {**seed[n % len(seed)], "id": f"{seed[n % len(seed)]['id']}-{n}"} for n in range(count)
    ]
    return json.dumps({"data": records}).encode()


if __name__ == "__main__":
    main()
