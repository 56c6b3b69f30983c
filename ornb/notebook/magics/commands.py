"""What stands behind ``%ornb``: the state, the models, the usage, the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ... import session
from ...catalog.filters import filter_models, number
from ...catalog.observations import aged
from ...errors import ConfigError, NotFound, OrnbError, UnexpectedAnswer, near
from ...ledger.display import money
from ..tables import in_other_unit
from .options import COMMANDS, holds_key, overview, shown, words

if TYPE_CHECKING:
    import pandas as pd

SHOWN_COLUMNS = [
    *("context_length", "prompt_usd_per_million", "completion_usd_per_million"),
    "intelligence_index",
]
"""Columns of the table of ``%ornb models``."""

HOW_TO_GIVE_A_KEY = (
    "Give one with ornb.sign_in(), or set OPENROUTER_API_KEY before Jupyter starts.\n"
    "Never type it into a cell: it would be saved with the notebook."
)


def run(line: str, chosen_model: str | None) -> Any:
    """Do what stands behind ``%ornb``, and return what the cell shows."""
    command, *rest = words(line, "%ornb") or [""]
    if command.lower() in ("help", "--help", "-h", "?"):
        return print(overview())
    if command == "models":
        return models(rest)
    if command == "usage":
        return _usage(rest)
    if rest or command not in ("", "key"):
        _refuse(command, rest)
    if command == "key":
        return key()
    return print("\n".join(status(chosen_model)))


def models(rest: list[str]) -> pd.DataFrame:
    """List models by words to search for and filters."""
    asked = _filters(rest)
    found = session.models(**asked)
    code = ", ".join(f"{name}={value!r}" for name, value in asked.items())
    day = found.attrs.get("snapshot")
    source = f"snapshot {aged(day)}" if day else str(found.attrs.get("source"))
    listed = session.models(kind="all") if {"kind", "returns"} & asked.keys() else session.models()
    count = f"{len(found)} of {len(listed)} models"
    others = int(in_other_unit(found).sum())
    others_said = f"; {others} of them list 0 a token, and bill another unit" if others else ""
    print(f"ornb.models({code}): {count}, {source}{others_said}")
    return found[SHOWN_COLUMNS]


def key() -> Any:
    """Return what the service says of the key in use, or print how to add one."""
    from ...api import keys

    client = session.client()
    host = urlsplit(client.base_url).netloc
    if client.source == "offline":
        return print(f"No key: ornb is offline, and nothing is billed.\n{HOW_TO_GIVE_A_KEY}")
    if not client.has_key:
        return print(f"No key goes to {host}.\n{HOW_TO_GIVE_A_KEY}")
    try:
        return keys.describe(client.key())
    except (NotFound, UnexpectedAnswer):
        return print(f"A key goes to {host}, which keeps no account of it.")


def status(chosen_model: str | None) -> list[str]:
    """Return service, model, calls and cost in lines."""
    client, used = session.client(), session.usage
    if client.source == "offline":
        where = "offline, on this machine (ornb.sign_in() goes live)"
    else:
        with_key = "with a key" if client.has_key else "without a key"
        where = f"{urlsplit(client.base_url).netloc}, {with_key}"
    calls = used.df
    failed = int((calls["status"] == "error").sum())
    cost = money(calls[calls["source"] == "live"])
    billed = [part.removesuffix(" billed") for part in cost if part.endswith(" billed")] or ["$0"]
    others = [part for part in cost if not part.endswith(" billed")]
    return [
        f"Service        {where}",
        f"Default model  {chosen_model or _default_model()}",
        f"Calls so far   {len(calls)}" + (f", {failed} failed" if failed else ""),
        f"               {used._kept_words('ornb.usage')}",
        f"Billed         {' · '.join(billed + others)}",
        "More           %ornb help",
    ]


def _default_model() -> str:
    try:
        return session.default_model() or "the service chooses"
    except OrnbError:  # a server of one's own may list nothing, and still chat
        return "not known; name one"


def _usage(rest: list[str]) -> Any:
    if not rest:
        return session.usage
    by = rest[-1].removeprefix("--by=")
    if len(rest) == 1 + (rest[0] == "--by") and rest[0].startswith("--by") and by != "--by":
        return session.usage.summary(by=by)
    raise ConfigError(
        f"%ornb usage takes nothing, or --by and a column such as model, provider or label; "
        f"{shown(' '.join(rest))!r} was given."
    )


def _refuse(command: str, rest: list[str]) -> None:
    if any(map(holds_key, (command, *rest))) or any(word.startswith("sk-") for word in rest):
        raise ConfigError(
            "%ornb takes no key: what is typed into a cell is saved with the notebook, so delete "
            "the line and, best, that key. Sign in with ornb.sign_in() instead."
        )
    if command in COMMANDS:
        raise ConfigError(f"%ornb {command} takes nothing; {' '.join(rest)!r} was given.")
    hint = near(command, COMMANDS) or f" It knows {', '.join(COMMANDS)}."
    raise ConfigError(
        f"%ornb has no command {shown(command)!r}.{hint} A prompt goes into a cell that begins "
        "with %%ornb."
    )


# ------------------------------------------------------------------ filters, as options

_KINDS: dict[str, str] = {
    name: str(kind)
    for name, kind in filter_models.__annotations__.items()
    if name in (filter_models.__kwdefaults__ or {}) and name != "search"
} | {"sort": "str | None"}
"""Filter to its annotation, which says how to read it."""


def _filters(rest: list[str]) -> dict[str, Any]:
    """Words and options as arguments of `ornb.models`."""
    asked: dict[str, Any] = {}
    search: list[str] = []
    queue = list(rest)
    while queue:
        word = queue.pop(0)
        option, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") and not (equals and option in _KINDS):
            search.append(word)
            continue
        name = option.replace("-", "_")
        is_off = name.startswith("no_") and _is_flag(name[3:])
        if is_off or _is_flag(name):
            asked[name[3:] if is_off else name] = not is_off
            continue
        if name not in _KINDS:
            _refuse_filter(option)
        if not equals:
            if not queue or queue[0].startswith("--"):
                raise ConfigError(f"%ornb models: --{option} needs a value.")
            value = queue.pop(0)
        asked[name] = _read(option, value, _KINDS[name])
    return {"search": " ".join(search), **asked} if search else asked


def _is_flag(name: str) -> bool:
    return _KINDS.get(name, "").startswith("bool")


def _refuse_filter(option: str) -> None:
    known = [name.replace("_", "-") for name in _KINDS]
    hint = near(option, known) or f" It knows {', '.join(known)}."
    raise ConfigError(f"%ornb models has no filter {option!r}.{hint}")


def _read(option: str, value: str, kind: str) -> Any:
    if kind.startswith("str"):
        parts = value.split(",")
        return parts if len(parts) > 1 else value
    found = number(value)
    if found is None:
        raise ConfigError(f"%ornb models: --{option} is {value!r}; give a number, such as 128k.")
    return int(found) if kind.startswith("int") else found
