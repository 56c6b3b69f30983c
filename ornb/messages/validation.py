"""A JSON value held against a schema or a type hint, and turned into what the hint says.

What does not match is one error, `SchemaMismatch`, that names the place.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import types
import typing
from collections import abc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, SchemaMismatch
from .hints import MANY, has_members, has_pydantic_methods, members, of_hint, unwrapped

SHOWN = 120
"""Characters of a value that a message repeats at most."""

_MADE_BY = {set: set, frozenset: frozenset, tuple: tuple, abc.Set: set}
_SCALARS = {
    dt.date: "a date such as 2026-08-22",
    dt.datetime: "a date and time such as 2026-08-22T12:00:00Z",
    float: "a smaller number",
    int: "a smaller number",
    Path: "a path",
}
"""Types that JSON writes otherwise, and what to call them where a value cannot become one."""

DEEPEST = 100
"""Levels of lists and objects in each other. The checker calls itself several times for each, and
one that overruns the interpreter's stack need not end in an error that can be caught."""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
"""Of what a model wrote: Python's own takes NaN and Infinity, which JSON has not."""


def validate(value: Any, schema: Mapping[str, Any], what: str = "The answer") -> None:
    """Check a JSON value against a JSON schema. Nothing is ever fetched.

    References inside the schema are followed, others refused; the error has the most telling place.
    """
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped, unused-ignore]
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    _refuse_endless(value, (), what)
    # An empty registry: without one, jsonschema would load what a reference names.
    checker = _validator(schema)(schema, registry=Registry())
    try:
        error = best_match(checker.iter_errors(value))
    except Unresolvable as problem:
        raise ConfigError(f"The schema refers to {problem.ref}, which is not in it.") from problem
    except (RecursionError, OverflowError) as problem:
        raise mismatch(what, (), "less depth, or smaller numbers", value) from problem
    if error is not None:
        raise mismatch(what, error.absolute_path, _expected(error), error.instance)


def _refuse_endless(value: Any, path: tuple[Any, ...], what: str) -> None:
    """Refuse what is too deep, and infinity.

    JSON may write 1e400, which no float holds: Python reads it as infinity, and says nothing.
    """
    left = [(path, value)]
    for place, node in left:
        if len(place) >= DEEPEST:
            raise mismatch(what, (), f"at most {DEEPEST} levels", value)
        if isinstance(node, float) and math.isinf(node):
            raise mismatch(what, place, "a number up to 1.8e308", node)
        if isinstance(node, dict | list):
            inside = node.items() if isinstance(node, dict) else enumerate(node)
            left += [((*place, key), child) for key, child in inside]


def check_schema(schema: Mapping[str, Any]) -> None:
    """Refuse what is no JSON schema."""
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped, unused-ignore]

    try:
        _validator(schema).check_schema(schema)
    except SchemaError as error:
        where = where_in(error.absolute_path) or "its top"
        raise ConfigError(f"This is no JSON schema: at {where}, {error.message[:200]}.") from error


def build(hint: Any, value: Any, path: tuple[Any, ...] = (), what: str = "The answer") -> Any:
    """Turn a JSON value that matches a hint's schema into what the hint says.

    It may not fit after all: a text that is not a date, a class that refuses it.
    """
    hint, _ = unwrapped(hint)
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _one_of(inside, value, path, what)
    if origin in MANY:
        items = [build(inside[0], item, (*path, i), what) for i, item in enumerate(value)]
        try:
            return _MADE_BY.get(origin, list)(items)
        except TypeError as error:
            raise mismatch(what, path, f"items that a set can hold ({error})", value) from error
    if origin in (dict, abc.Mapping):
        return {k: build(inside[1], item, (*path, k), what) for k, item in value.items()}
    if has_pydantic_methods(hint):
        return _validated(hint, value, path, what)
    return _instance(hint, value, path, what) if isinstance(hint, type) else value


def _instance(hint: Any, value: Any, path: tuple[Any, ...], what: str) -> Any:
    arguments: dict[str, Any] = {}
    if has_members(hint):
        hints = {name: inner for name, inner, *_ in members(hint)}
        for name, item in value.items():
            arguments[name] = build(hints[name], item, (*path, name), what)
    elif not (hint in _SCALARS or hint in (set, tuple) or issubclass(hint, enum.Enum)):
        return value
    try:
        if has_members(hint):
            return hint(**arguments)
        return hint.fromisoformat(value) if hint in (dt.date, dt.datetime) else hint(value)
    except (ValueError, TypeError, ArithmeticError) as error:  # also from a __post_init__
        expected = _SCALARS.get(hint, f"a {hint.__name__} ({error})")
        raise mismatch(what, path, expected, value) from error


def _one_of(hints: tuple[Any, ...], value: Any, path: tuple[Any, ...], what: str) -> Any:
    """Build the first form of a union that takes the value."""
    if value is None and type(None) in hints:
        return None
    given = [hint for hint in hints if hint is not type(None)]
    if len(given) == 1:
        return build(given[0], value, path, what)
    refused: SchemaMismatch | None = None
    for hint in given:
        try:
            validate(value, of_hint(hint, "a union"), what)
            return build(hint, value, path, what)
        except SchemaMismatch as error:
            refused = error
    names = " or ".join(getattr(hint, "__name__", str(hint)) for hint in hints)
    raise mismatch(what, path, names, value) from refused


def _validated(cls: Any, value: Any, path: tuple[Any, ...], what: str) -> Any:
    _refuse_endless(value, path, what)
    try:
        return cls.model_validate(value)
    except ValueError as error:
        problems = error.errors() if hasattr(error, "errors") else []
        first = problems[0] if problems else {"loc": (), "msg": str(error), "input": value}
        place, expected = tuple(first["loc"]), first["msg"].removeprefix("Input should be ")
        if first.get("type") == "missing":
            place, expected = place[:-1], f"the field {place[-1]!r}"
        raise mismatch(what, (*path, *place), expected, first.get("input")) from error


def _validator(schema: Mapping[str, Any]) -> Any:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped, unused-ignore]
    from jsonschema.validators import validator_for  # type: ignore[import-untyped, unused-ignore]

    return validator_for(schema, default=Draft202012Validator)


def mismatch(what: str, path: Any, expected: str, got: Any) -> SchemaMismatch:
    """Make the error for a value, at a path in the whole, that does not match."""
    steps = list(path)
    at = f" at {where_in(steps)}" if steps else ""
    message = f"{what} does not match{at}: expected {expected}, got {shown(got)}."
    return SchemaMismatch(message, path=f"${_steps(steps)}", expected=expected, got=got)


def _expected(error: Any) -> str:
    """What a schema wanted, in words."""
    wanted, rule = error.validator_value, error.validator
    if rule == "type":
        names = [wanted] if isinstance(wanted, str) else wanted
        return " or ".join(f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in names)
    if rule in ("enum", "const"):
        return "one of " + ", ".join(map(repr, wanted)) if rule == "enum" else repr(wanted)
    if rule == "required":
        missing = [name for name in wanted if name not in error.instance]
        return f"the field {missing[0]!r}"
    if rule == "additionalProperties":
        known = error.schema.get("properties") or {}
        more = [name for name in error.instance if name not in known]
        return f"no field {shown(more[0])}, only {', '.join(known)}" if more else "other fields"
    bounds = {"minimum": "at least", "maximum": "at most", "pattern": "text like"}
    return f"{bounds.get(rule, rule)} {wanted}"[:SHOWN]


def where_in(path: Any) -> str:
    """Write the place of a value inside another, as in Python; empty for the whole."""
    return _steps(path).removeprefix(".")


def _steps(path: Any) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def shown(value: Any) -> str:
    """Write a value from outside into a message, shortened to 120 characters."""
    try:
        text = repr(value[: SHOWN + 2] if isinstance(value, str | list) else value)
    except RecursionError:
        text = f"a {type(value).__name__}, deeply nested"
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
