"""The journal: what OpenRouter's catalogue listed, as the changes from day to day.

One JSON array a line, so that a new day is a few appended lines that a person can read in a diff::

    ["ornb price history",1]
    ["day","2025-04-09",292]
    ["+","openai/gpt-4o",{"prompt":"0.0000025","completion":"0.00001","context":128000, ...}]
    ["day","2025-06-11",324]
    ["~","openai/gpt-4o",{"input":["file","image","text"]}]
    ["-","openai/o1-preview"]

A day says how many models there were; then come the models that were added (all their facts), that
changed (the facts that differ, null for one that is listed no more) and that had gone, in the order
of their ids. Prices are USD per token, as exact decimals; ``-1`` is a price that depends on the
model a router will choose. What stayed as it was is not written.
"""

from __future__ import annotations

import json
import os
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CatalogError
from ..pricing import depends_on_model, to_decimal
from .frames import to_frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FORMAT = 1
"""Version of the file; raised when a reader of the old one would misread it."""

BUNDLED = Path(__file__).with_name("openrouter.jsonl")
"""The file that ships with ornb."""

_TITLE = "ornb price history"

Facts = dict[str, Any]
"""What is known of a model on one day. Never changed once made: days share it."""
Catalog = dict[str, Facts]
"""Facts by model id."""
Line = list[Any]
"""``["+", id, facts]``, ``["~", id, what differs]`` or ``["-", id]``."""


# --- records and facts ----------------------------------------------------------------------------


def distil(answer: Any) -> Catalog:
    """Keep the dated facts of a ``GET /models`` answer, by id; one that is not listed is left out.

    ``prompt`` and ``completion`` are USD per token as decimal text, ``created`` Unix seconds;
    ``slug`` is the permanent name, ``alias`` the id that an alias stands for.
    """
    return {str(listed["id"]): _facts(listed) for listed in _rows(answer)}


def _rows(answer: Any) -> Iterable[dict[Any, Any]]:
    """Read the records by way of the models frame: it survives whatever they hold."""
    frame = to_frame(answer)
    frame["created"] = frame["created"].map(lambda at: int(at.timestamp()), na_action="ignore")
    return frame.astype(object).where(frame.notna(), None).reset_index().to_dict("records")


def _facts(listed: dict[Any, Any]) -> Facts:
    prices = listed["raw"].get("pricing")
    facts = {
        "name": listed["name"] if listed["name"] != listed["id"] else None,
        "prompt": _price(prices, "prompt"),
        "completion": _price(prices, "completion"),
        "context": listed["context_length"],
        "created": listed["created"],
        "input": sorted(listed["input_modalities"]),
        "output": sorted(listed["output_modalities"]),
        "family": listed["family"],
        "slug": listed["canonical_slug"],
        "alias": listed["alias_target"],
    }
    return {key: value for key, value in facts.items() if value is not None and value != []}


def _price(prices: Any, key: str) -> str | None:
    """Spell a price in one way, so that 0.10 and 1e-1 are no change."""
    if depends_on_model(prices):
        return "-1"
    price = to_decimal(prices.get(key)) if isinstance(prices, dict) else None
    return None if price is None else plain(price)


def plain(price: Decimal) -> str:
    """Write a decimal without an exponent, and without zeros at its end."""
    text = format(price, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def record(model_id: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Lay facts out as the API does, for everything that reads model records."""
    plain = {"name": "name", "context": "context_length", "created": "created"}
    architecture = {"input": "input_modalities", "output": "output_modalities"}
    nested = {
        "architecture": architecture | {"family": "tokenizer"},
        "pricing": {"prompt": "prompt", "completion": "completion"},
        "alias_target": {"alias": "slug"},
    }
    made: dict[str, Any] = {"id": model_id, **_renamed(facts, plain | {"slug": "canonical_slug"})}
    for key, names in nested.items():
        if part := _renamed(facts, names):
            made[key] = part
    return made


def _renamed(facts: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {theirs: facts[ours] for ours, theirs in names.items() if ours in facts}


# --- two catalogues -------------------------------------------------------------------------------


def differences(before: Catalog, after: Catalog) -> list[Line]:
    """Return what turns one catalogue into another, one line a model, in the order of the ids."""
    lines: list[Line] = []
    for model_id in sorted(before.keys() | after.keys()):
        if model_id not in after:
            lines.append(["-", model_id])
        elif model_id not in before:
            lines.append(["+", model_id, after[model_id]])
        elif before[model_id] != after[model_id]:
            lines.append(["~", model_id, _changed(before[model_id], after[model_id])])
    return lines


def _changed(before: Facts, after: Facts) -> Facts:
    gone = {key: None for key in before if key not in after}
    return gone | {key: value for key, value in after.items() if before.get(key) != value}


def apply(before: Catalog, lines: Iterable[Line]) -> Catalog:
    """Turn one catalogue into the next; a line that does not fit it is an error."""
    after = dict(before)
    for line in lines:
        kind, model_id, changed = (*line, None)[:3]
        if (model_id in after) is not (kind in {"~", "-"}) or kind not in {"+", "~", "-"}:
            raise CatalogError(f"{json.dumps(line)[:120]} does not fit what stands before it")
        if kind == "-":
            del after[model_id]
        else:
            known = after.get(model_id, {}) | changed
            after[model_id] = {key: value for key, value in known.items() if value is not None}
    return after


# --- the file -------------------------------------------------------------------------------------


def read(path: Path | None = None) -> dict[str, Catalog]:
    """Read a journal, by default the bundled one: days (UTC), oldest first, to catalogues."""
    return _bundled() if path is None else _read(path)


@lru_cache(maxsize=1)
def _bundled() -> dict[str, Catalog]:
    return _read(BUNDLED)


def _read(path: Path) -> dict[str, Catalog]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        title, *rest = json.loads(f"[{','.join(lines)}]")  # one call: half the time of many
    except (OSError, ValueError) as err:
        raise CatalogError(_damaged(path, str(err))) from err
    if title != [_TITLE, FORMAT]:
        raise CatalogError(_damaged(path, f"its first line is {json.dumps(title)[:80]}"))
    try:
        return dict(_replayed(rest))
    except (CatalogError, LookupError, TypeError, ValueError, AttributeError) as err:
        raise CatalogError(_damaged(path, str(err))) from err


def _replayed(lines: list[Line]) -> Iterator[tuple[str, Catalog]]:
    current: Catalog = {}
    heads = [n for n, line in enumerate(lines) if line[0] == "day"]
    if lines and heads[:1] != [0]:
        raise CatalogError(f"{json.dumps(lines[0])[:80]} belongs to no day")
    for start, end in pairwise([*heads, len(lines)]):
        _, day, count = lines[start]
        date.fromisoformat(day)
        current = apply(current, lines[start + 1 : end])
        if len(current) != count:
            raise CatalogError(f"{day} should have {count} models, and has {len(current)}")
        yield day, current


def _damaged(path: Path, why: str) -> str:
    step = "Reinstall ornb" if path == BUNDLED else "Move it away"
    return f"The price history {path} cannot be read ({why}). {step}, or build it again."


def write(days: Mapping[str, Catalog], path: Path) -> int:
    """Write a journal in one step, and return its bytes; the same days give the same bytes."""
    lines: list[Line] = [[_TITLE, FORMAT]]
    before: Catalog = {}
    for day in sorted(days):
        lines += [["day", day, len(days[day])], *differences(before, days[day])]
        before = days[day]
    return replace(path, lines)


def replace(path: Path, lines: Iterable[Line]) -> int:
    """Write a file of JSON arrays in one step, one a line, and return its bytes."""
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    half = path.with_name(f"{path.name}.{os.getpid()}.part")  # other processes write theirs
    try:
        half.write_text(text, encoding="ascii", newline="\n")
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
    return len(text)
