r"""Variables in a prompt: ``{{name}}``, ``{{name.attribute}}``, ``{{name[0]['key']}}``.

Names are looked up, and nothing is called or computed, so that a prompt can be read as what it is:
text. A table becomes Markdown and stays small; lists and dicts become JSON; a figure is the
shortest text that reads back. What was left out is said in the prompt, to the model, and in the
notes, to the person; in a batch nothing is.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from numbers import Integral, Rational, Real
from typing import Any, NamedTuple

from ..api.reply import Reply
from ..errors import ConfigError, near

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


def fill_in(
    text: str,
    variables: Mapping[str, Any],
    *,
    whole: bool = False,
    missing: dict[str, ConfigError | None] | None = None,
) -> Filled:
    """Replace names in double braces by values, which are not searched for names again.

    Single braces, as in LaTeX and JSON, are left alone; so are double ones around what does not
    begin with a name. `missing` takes paths to missing values, with why where they lead to none.
    """
    notes: list[str] = []
    pieces = [
        part if isinstance(part, str) else _put(part, variables, notes, whole, missing)
        for part in _parsed(text)
    ]
    return Filled("".join(pieces), tuple(notes))


class _Place(NamedTuple):
    """What stands between double braces."""

    whole: str
    name: str
    rest: str
    steps: list[re.Match[str]] | None
    """What follows the name, step by step; None if it is more than attributes and indices."""


@functools.lru_cache(maxsize=8)  # a template is read once, not for each row of a table
def _parsed(text: str) -> tuple[str | _Place, ...]:
    parts: list[str | _Place] = []
    at = 0
    for found in _PLACE.finditer(text):
        parts += (text[at : found.start()], _Place(found[0], found[1], found[2], _steps(found[2])))
        at = found.end()
    return (*parts, text[at:])


def _put(
    place: _Place,
    variables: Mapping[str, Any],
    notes: list[str],
    whole: bool,
    missing: dict[str, ConfigError | None] | None,
) -> str:
    """Write the value of a placeholder, or what stands there where it is none."""
    if place.steps == [] and type(text := variables.get(place.name)) is str:
        return text  # of a table's rows, nearly all
    if not _is_meant(place, variables):
        return place.whole
    path = f"{place.name}{place.rest}"
    try:
        value = _value(place, variables, may_miss=missing is not None)
    except _NoValue as error:
        if missing is None:
            raise
        missing[path] = error
        return ""
    if isinstance(value, str):
        return value
    if missing is not None and _is_missing(value):
        missing[path] = None
        return ""
    writer = _Writer(whole=whole)
    try:
        written = writer.text(value)
    except Exception as error:
        what = f"a {type(value).__name__} cannot be written ({type(error).__name__}: {error})"
        raise ConfigError(
            f"{{{{{path}}}}}: {what}, so nothing was sent. Take a part of it, or "
            "make a text of it in a cell before: texts go as they are."
        ) from error
    if writer.left_out:
        notes.append(f"{{{{{path}}}}}: {'; '.join(writer.left_out)}.")
    return written


def only_value(text: str, variables: Mapping[str, Any]) -> Any:
    """Return the value itself where a text is one placeholder and nothing else."""
    before, *place = _parsed(text.strip())
    only = place[0] if place and not before and place[1:] == [""] else None
    if not isinstance(only, _Place) or not _is_meant(only, variables):
        return fill_in(text, variables, whole=True).text
    return _value(only, variables)


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


def _is_meant(place: _Place, variables: Mapping[str, Any]) -> bool:
    """Whether it is a placeholder: a path, or something about a variable that there is."""
    return place.steps is not None or place.name in variables


class _NoValue(ConfigError):
    """What a path begins with has no such part."""


def _value(place: _Place, variables: Mapping[str, Any], *, may_miss: bool = False) -> Any:
    _, name, rest, steps = place
    shown = f"{{{{{name}{rest}}}}}"
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
        if may_miss and _is_missing(value):
            return value
        value = _follow(value, step, shown)
    if not isinstance(value, str) and (inspect.isroutine(value) or inspect.isclass(value)):
        raise _NoValue(
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
        has_none = isinstance(error, LookupError | AttributeError | TypeError)
        raise (_NoValue if has_none else ConfigError)(
            f"{shown}: cannot take {step[0].strip()} of type {type(value).__name__} "
            f"({type(error).__name__}), so nothing was sent.{hint}"
        ) from error


# ------------------------------------------------------------------ from a value to text


def as_text(value: Any) -> str:
    """Write a value for a model, in all its length."""
    return _Writer(whole=True).text(value)


class _Writer:
    """Makes text of values, and says in ``left_out`` what it left out; if `whole`, nothing."""

    def __init__(self, *, whole: bool = False) -> None:
        self.left_out: list[str] = []
        self._whole = whole
        self._cut = 0

    def text(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, Reply):
            return value.text
        pandas = sys.modules.get("pandas")  # who has a table has loaded it
        if pandas is not None and isinstance(value, pandas.Series):
            value = value.to_frame("value" if value.name is None else value.name)
        if pandas is not None and isinstance(value, pandas.DataFrame):
            return self._table(value, pandas)
        value = _unboxed(value)
        with suppress(RecursionError):  # of a list that holds itself
            if isinstance(value, _COLLECTIONS):
                return self._json(value)
        text = _digits(value) or str(value)
        if ("..." in text or "…" in text) and hasattr(value, "__len__"):
            what = f"of a {type(value).__name__} goes what str makes of it"
            self.left_out.append(f"{what}, where dots may stand for more")
        return text

    def _table(self, frame: Any, pandas: Any) -> str:
        self._cut = 0
        head = frame if self._whole else frame.iloc[:MOST_ROWS, :MOST_COLUMNS]
        columns = [[name, *cells(column)] for name, column in head.items()]
        if not isinstance(frame.index, pandas.RangeIndex):
            names = tuple("" if name is None else name for name in frame.index.names)
            columns.insert(0, [names, *cells(head.index)])
        lines = [[self._cell(value) for value in line] for line in zip(*columns, strict=True)]
        lines.insert(1, ["---"] * len(columns))
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        kept = " and ".join(
            f"{most:,} of {there:,} {noun}"
            for there, most, noun in zip(frame.shape, head.shape, ("rows", "columns"), strict=True)
            if there > most
        )
        if kept:
            self.left_out.append(f"{kept} are sent")
        if self._cut:
            noun = "1 cell is" if self._cut == 1 else f"{self._cut:,} cells are"
            self.left_out.append(f"{noun} cut at {LONGEST_CELL} characters")
        return f"{table}\n({kept})" if kept else table

    def _cell(self, value: Any) -> str:
        if isinstance(value, tuple):
            return " / ".join(map(self._cell, value))
        if _is_missing(value):
            return ""
        if digits := _digits(value):
            return digits
        text = " ".join(as_text(value).split()).replace("|", "\\|")
        if self._whole or len(text) <= LONGEST_CELL:
            return text
        self._cut += 1
        return text[: LONGEST_CELL - 1] + "…"

    def _json(self, value: Any) -> str:
        kept: list[str] = []
        room = LONGEST_JSON
        for part in self._parts(value):
            room -= len(part) + 2
            if room < 0 and not self._whole:
                break
            kept.append(part)
        text = _bracketed(value, kept)
        if len(kept) == len(value):
            return text
        if not kept:
            raise ValueError(f"its first item alone is more than {LONGEST_JSON:,} characters")
        count = f"{len(kept):,} of {len(value):,} items"
        self.left_out.append(f"{count} are sent")
        return f"{text}\n({count})"

    def _parts(self, value: Any) -> Iterator[str]:
        if isinstance(value, Mapping):
            return (f"{self._key(key)}: {self._item(item)}" for key, item in value.items())
        if isinstance(value, set | frozenset):
            value = sorted(value, key=str)
        return map(self._item, value)

    def _key(self, key: Any) -> str:
        if isinstance(key, tuple):  # which JSON has not
            return f"({', '.join(map(self._item, key))})"
        item = self._item(key)
        return item if item.startswith('"') else _quoted(item)

    def _item(self, value: Any) -> str:
        if isinstance(value, str):
            return _quoted(value)
        value = _unboxed(value)
        if isinstance(value, bool):
            return str(value).lower()
        if _is_missing(value):
            return "null"
        if isinstance(value, _COLLECTIONS):
            return _bracketed(value, self._parts(value))
        return _digits(value) or _quoted(self.text(value))


_COLLECTIONS = (Mapping, list, tuple, set, frozenset)


def _bracketed(value: Any, parts: Iterable[str]) -> str:
    inside = ", ".join(parts)
    return f"{{{inside}}}" if isinstance(value, Mapping) else f"[{inside}]"


_quoted = json.JSONEncoder(ensure_ascii=False).encode


def cells(column: Any) -> list[Any]:
    """Return the values of a pandas column; of ``tolist``, a float32 0.1 is 0.10000000149011612."""
    dtype = str(getattr(column.dtype, "numpy_dtype", column.dtype))
    if dtype in ("float16", "float32"):
        return list(column.to_numpy(dtype, na_value=math.nan))
    listed: list[Any] = column.tolist()
    return listed


def _is_missing(value: Any) -> bool:
    """Whether it is None, NaN, NA or NaT; a list of them is not."""
    if value is None or isinstance(value, str | int | dict | list):  # most are one of these
        return value is None
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return isinstance(value, float) and math.isnan(value)
    return bool(pandas.api.types.is_scalar(value) and pandas.isna(value))


def _unboxed(value: Any) -> Any:
    """An array as a list: ``str`` leaves out its middle, and NumPy's ``tolist`` is as pandas'."""
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    arrays = () if pandas is None else (pandas.Index, pandas.api.extensions.ExtensionArray)
    if isinstance(value, arrays):
        return cells(value)
    if numpy is None or not isinstance(value, numpy.ndarray | numpy.generic):
        return value
    if value.dtype.kind not in "fmM" or hasattr(value, "mask"):  # dates would be nanoseconds
        return value.tolist()
    return list(value) if value.ndim else value[()]


def _digits(value: Any) -> str:
    """A figure as the shortest text that reads back, from 1e-16 to 1e16 without an exponent."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, Real | Decimal) or isinstance(value, Rational):
        return ""
    number: Any = value
    if not math.isfinite(number):
        return ""
    if isinstance(number, Decimal):
        short = number
    elif (whole := int(number)) == number and abs(whole) < 10**16:
        return str(whole)
    else:
        short = Decimal(str(number))
    return f"{short:f}" if -17 < short.adjusted() < 16 else str(number)
