r"""Variables in a prompt: ``{{name}}``, ``{{name.attribute}}``, ``{{name[0]['key']}}``.

Names are looked up, and nothing is called or computed, so that a prompt can be read as what it is:
text. A table becomes Markdown and stays small; lists and dicts become JSON. What was left out is
said in the prompt, to the model, and in the notes, to the person.
"""

from __future__ import annotations

import difflib
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from .errors import ConfigError
from .wire.reply import Reply

__all__ = ["Filled", "fill_in", "near", "only_value"]

MOST_ROWS = 20
MOST_COLUMNS = 12
LONGEST_CELL = 120
"""Of a table, and of the text of one of its cells in characters: what a prompt gets to see."""
LONGEST_JSON = 20_000
"""Characters; of a longer list or dict only the first items are sent. Text is never cut."""

_PLACE = re.compile(r"\{\{\s*([^\W\d]\w*)([^{}]*?)\s*\}\}")
_STEP = re.compile(
    r"""\s*(?:\.\s*(?P<name>[^\W\d]\w*)
          | \[\s*(?P<number>-?\d+)\s*\]
          | \[\s*(?:'(?P<single>[^'\]]*)'|"(?P<double>[^"\]]*)")\s*\])""",
    re.VERBOSE,
)
_AS_IT_IS = "Double braces that are no variable's go as they are with --raw."


class Filled(NamedTuple):
    """A prompt with its variables in place."""

    text: str
    notes: tuple[str, ...] = ()
    """What was left out of a value, a sentence each."""


def fill_in(text: str, variables: Mapping[str, Any]) -> Filled:
    r"""Put values in the place of their names in double braces.

    Parameters
    ----------
    text : str
        Single braces, as in LaTeX and JSON, are left alone; so are double ones around anything
        that does not begin with a name.
    variables : mapping
        Name to value.

    Returns
    -------
    Filled
        Values are not searched for names again. A `Reply` gives its text, a pandas table its first
        `MOST_ROWS` rows and `MOST_COLUMNS` columns as Markdown, lists, dicts and arrays JSON of at
        most `LONGEST_JSON` characters, anything else what ``str`` gives.

    Raises
    ------
    ConfigError
        A name is not there (the message names near ones), or is of a function, or what follows it
        is more than ``.name`` and ``[index]``.

    Examples
    --------
    >>> fill_in("Say {{ word }}, not {word} or \\frac{1}{2}.", {"word": "cat"}).text
    'Say cat, not {word} or \\frac{1}{2}.'
    >>> fill_in("{{pets[0].name}}", {"pets": [{"name": "Tom"}]}).text
    'Tom'
    """
    notes: list[str] = []

    def place(found: re.Match[str]) -> str:
        if not _is_meant(found, variables):
            return found[0]
        written, left_out = _written(_value(found, variables), f"{{{{{found[1]}{found[2]}}}}}")
        if left_out:
            notes.append(f"{{{{{found[1]}{found[2]}}}}}: {left_out}.")
        return written

    return Filled(_PLACE.sub(place, text), tuple(notes))


def only_value(text: str, variables: Mapping[str, Any]) -> Any:
    """Give the value itself where a text is one placeholder and nothing else.

    Parameters
    ----------
    text : str
        Such as ``{{picker}}``.
    variables : mapping
        Name to value.

    Returns
    -------
    Any
        The value; the text with its variables in place where it is more than that.

    Raises
    ------
    ConfigError
        As for `fill_in`.

    Examples
    --------
    >>> only_value("{{n}}", {"n": 7}), only_value("{{n}}b", {"n": 7})
    (7, '7b')
    """
    found = _PLACE.fullmatch(text.strip())
    if found is None or not _is_meant(found, variables):
        return fill_in(text, variables).text
    return _value(found, variables)


def near(name: str, known: Iterable[str]) -> str:
    """Propose the names that look like one that is wrong.

    Parameters
    ----------
    name : str
        The wrong one.
    known : iterable of str
        The right ones.

    Returns
    -------
    str
        A sentence that begins with a blank; empty when nothing is near.

    Examples
    --------
    >>> near("promt", ["prompt", "reply"])
    " Did you mean 'prompt'?"
    """
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


# ------------------------------------------------------------------ from a name to its value


def _steps(rest: str) -> list[re.Match[str]] | None:
    """What follows a name, step by step; None if it is more than attributes and indices."""
    steps, at = [], 0
    while at < len(rest.rstrip()):
        step = _STEP.match(rest, at)
        if step is None:
            return None
        steps.append(step)
        at = step.end()
    return steps


def _is_meant(found: re.Match[str], variables: Mapping[str, Any]) -> bool:
    """Whether it is a placeholder: a path, or something about a variable that there is."""
    return _steps(found[2]) is not None or found[1] in variables


def _value(found: re.Match[str], variables: Mapping[str, Any]) -> Any:
    name, rest = found[1], found[2]
    shown = f"{{{{{name}{rest}}}}}"
    steps = _steps(rest)
    if steps is None:
        raise ConfigError(
            f"{shown}: only names, .attributes and [indices] go between double braces, so nothing "
            f"was sent. Give the result a name in a cell before. {_AS_IT_IS}"
        )
    if name not in variables:
        known = [known for known in variables if not known.startswith("_")]
        raise ConfigError(
            f"{shown}: there is no variable {name!r}, so nothing was sent.{near(name, known)} "
            f"{_AS_IT_IS}"
        )
    value = variables[name]
    for step in steps:
        value = _follow(value, step, shown)
    if inspect.isroutine(value) or inspect.isclass(value):
        raise ConfigError(
            f"{shown} is a function, and none is called here, so nothing was sent. Give its result "
            "a name in a cell before."
        )
    return value


def _follow(value: Any, step: re.Match[str], shown: str) -> Any:
    attribute = step["name"]
    try:
        if attribute is None:
            number = step["number"]
            key = step["single"] if step["double"] is None else step["double"]
            return value[key if number is None else int(number)]
        if isinstance(value, Mapping) and attribute in value:
            return value[attribute]
        return getattr(value, attribute)
    except Exception as error:
        names = value if isinstance(value, Mapping) else dir(value)
        wanted = attribute or step["single"] or step["double"]
        hint = near(wanted, [n for n in names if isinstance(n, str)]) if wanted else ""
        raise ConfigError(
            f"{shown}: cannot take {step[0].strip()} of type {type(value).__name__} "
            f"({type(error).__name__}), so nothing was sent.{hint}"
        ) from error


# ------------------------------------------------------------------ from a value to text


def _written(value: Any, shown: str) -> tuple[str, str]:
    """The value as text, and what was left out of it."""
    if isinstance(value, str):
        return value, ""
    if isinstance(value, Reply):
        return value.text, ""
    pandas = sys.modules.get("pandas")  # who has a table has loaded it
    if pandas is not None and isinstance(value, pandas.Series):
        value = value.to_frame("value" if value.name is None else value.name)
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return _table(value, pandas)
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _json(value, shown)
    return str(value), ""


def _table(frame: Any, pandas: Any) -> tuple[str, str]:
    head = frame.iloc[:MOST_ROWS, :MOST_COLUMNS]
    names = [_cell(name, pandas) for name in head.columns]
    rows: Iterator[list[Any]] = (list(row) for row in head.itertuples(index=False, name=None))
    if not isinstance(frame.index, pandas.RangeIndex):
        names.insert(0, _cell(tuple(name or "" for name in frame.index.names), pandas))
        rows = ([key, *row] for key, row in zip(head.index, rows, strict=True))
    lines = [names, ["---"] * len(names), *([_cell(v, pandas) for v in row] for row in rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    kept = [
        f"{most:,} of {there:,} {noun}"
        for there, most, noun in zip(
            frame.shape, (MOST_ROWS, MOST_COLUMNS), ("rows", "columns"), strict=True
        )
        if there > most
    ]
    left_out = " and ".join(kept)
    return (f"{table}\n({left_out})", f"{left_out} are sent") if kept else (table, "")


def _cell(value: Any, pandas: Any) -> str:
    if isinstance(value, tuple):
        return " / ".join(_cell(one, pandas) for one in value)
    if value is None or value is pandas.NA or value is pandas.NaT:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.10g}"
    text = " ".join(str(value).split()).replace("|", "\\|")
    return text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"


def _json(value: Any, shown: str) -> tuple[str, str]:
    try:
        text = _dumps(value)
    except (TypeError, ValueError, RecursionError):  # keys that JSON has not, or a circle
        return str(value), ""
    if len(text) <= LONGEST_JSON:
        return text, ""
    is_mapping = isinstance(value, Mapping)
    items: Iterable[Any] = value.items() if is_mapping else value
    sizes = (len(_dumps(list(item) if is_mapping else item)) + 2 for item in items)
    count, room = 0, LONGEST_JSON - 2
    for size in sizes:
        room -= size
        if room < 0:
            break
        count += 1
    if not count:
        raise ConfigError(
            f"{shown}: its first item alone is more than {LONGEST_JSON:,} characters of JSON, so "
            "nothing was sent. Take a part of it, or make a text of it: texts go as they are."
        )
    kind: Callable[[Any], Any] = dict if is_mapping else list
    left_out = f"{count:,} of {len(value):,} items"
    return f"{_dumps(kind(islice(items, count)))}\n({left_out})", f"{left_out} are sent"


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """What JSON has for a value that it does not know."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
