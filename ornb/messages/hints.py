"""Type hints to JSON schemas.

For the parameters of tools, and for answers with a shape. Known are plain types, lists, tuples of
one type, sets, dicts by text, unions, ``Literal``, `enum.Enum`, ``Annotated[T, "description"]``,
dates, paths, dataclasses, TypedDicts and pydantic model classes. pydantic is never imported.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import inspect
import json
import types
import typing
from collections import abc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import ConfigError

Schema = dict[str, Any]

_PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    None: {"type": "null"},
    dt.date: {"type": "string", "format": "date"},
    dt.datetime: {"type": "string", "format": "date-time"},
    Path: {"type": "string"},
    Any: {},
    object: {},
    list: {"type": "array"},
    tuple: {"type": "array"},
    set: {"type": "array"},
    dict: {"type": "object"},
}
MANY = (list, set, frozenset, tuple, abc.Sequence, abc.Iterable, abc.Collection, abc.Set)
"""Containers that a JSON array stands for."""
_WRAPPERS = {"Required", "NotRequired", "ReadOnly", "Final", "ClassVar"}
"""Forms around a type that say nothing of its values."""


def of_hint(hint: Any, where: str, outside: tuple[Any, ...] = ()) -> Schema:
    """Return the JSON schema, without references, of an evaluated type hint.

    `where` has it, for the message; `outside` are the hints that it lies in.
    """
    hint, description = unwrapped(hint)
    said = {"description": description} if description else {}
    for plain, schema in _PLAIN.items():
        if hint is plain:
            return schema | said
    if hint in outside:
        named = next((each for each in (hint, *outside[::-1]) if isinstance(each, type)), hint)
        name = getattr(named, "__name__", named)
        raise ConfigError(f"{where}: {name} lies in itself; give a JSON schema instead.")
    return _of_form(hint, where, (*outside, hint)) | said


def _of_form(hint: Any, where: str, outside: tuple[Any, ...]) -> Schema:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [of_hint(one, where, outside) for one in inside]}
    if origin is typing.Literal:
        return _of_values(list(inside), where)
    if origin in MANY and (origin is not tuple or inside[1:] == (...,)):
        return {"type": "array", "items": of_hint(inside[0], where, outside)}
    if origin in (dict, abc.Mapping) and inside[0] is str:
        return {"type": "object", "additionalProperties": of_hint(inside[1], where, outside)}
    return _of_class(hint, where, outside)


def _of_class(hint: Any, where: str, outside: tuple[Any, ...]) -> Schema:
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _of_values([member.value for member in hint], where)
    if has_pydantic_methods(hint):
        return _of_pydantic(hint, where)
    if has_members(hint):
        return _of_members(hint, outside)
    name = getattr(hint, "__name__", None) or hint
    raise ConfigError(
        f"{where}: {name} has no form in JSON. Use str, int, float, bool, list, dict, Literal, "
        "Enum, date, a dataclass, a TypedDict or a pydantic model class."
    )


def _of_values(values: list[Any], where: str) -> Schema:
    if not all(value is None or isinstance(value, str | int | float) for value in values):
        raise ConfigError(f"{where}: the choices are {values!r}; JSON takes text and numbers only.")
    return {"enum": values} | (
        {"type": "string"} if all(isinstance(v, str) for v in values) else {}
    )


def _of_pydantic(hint: Any, where: str) -> Schema:
    whole = inlined(hint.model_json_schema())
    if whole is None:
        raise ConfigError(f"{where}: {hint.__name__} lies in itself; give a JSON schema instead.")
    return whole


def _of_members(cls: type, outside: tuple[Any, ...]) -> Schema:
    whole = object_of(
        (
            name,
            of_hint(hint, f"{cls.__name__}.{name}", outside)
            | ({"description": description} if description else {}),
            default,
        )
        for name, hint, default, description in members(cls)
    )
    doc = inspect.cleandoc(cls.__doc__ or "")
    # What `dataclass` writes where there is no docstring tells the model nothing.
    automatic = doc.startswith(f"{cls.__name__}(")
    said = {"description": doc.partition("\n\n")[0]} if doc and not automatic else {}
    return {"type": "object", "title": cls.__name__, **said, **whole}


def object_of(members: Iterable[tuple[str, Schema, Any]]) -> Schema:
    """Return the schema of an object of these names, their schemas and defaults.

    The default is `dataclasses.MISSING` of what is required.
    """
    properties: Schema = {}
    required = []
    for name, schema, default in members:
        is_required = default is dataclasses.MISSING
        required += [name] * is_required
        more = {"default": default} if not is_required and _is_json(default) else {}
        properties[name] = schema | more
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def members(owner: type) -> Iterator[tuple[str, Any, Any, str]]:
    """Yield name, hint, default and description of a dataclass's fields or a TypedDict's keys.

    The default is `dataclasses.MISSING` if it is required, None of a key that may be missing.
    """
    hints = evaluated(owner)
    if _is_typed_dict(owner):
        listed = getattr(owner, "__required_keys__", frozenset(hints))
        for name, hint in hints.items():
            # Where hints are written as text, the class itself has not seen what is around them.
            form = getattr(typing.get_origin(hint), "_name", None)
            required = form == "Required" or (name in listed and form != "NotRequired")
            yield name, hint, dataclasses.MISSING if required else None, ""
        return
    for field in dataclasses.fields(owner):
        if field.init:
            default = field.default
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            yield field.name, hints[field.name], default, field.metadata.get("description", "")


def evaluated(owner: Any) -> dict[str, Any]:
    """Return the hints of a function or class by name, those written as text too."""
    try:
        return typing.get_type_hints(owner, include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        name = getattr(owner, "__name__", owner)
        raise ConfigError(f"A type hint of {name} cannot be evaluated: {error}.") from error


def unwrapped(hint: Any) -> tuple[Any, str]:
    """Return a hint without what lies around it, and the description that ``Annotated`` adds.

    Around it may be ``Required``, ``NotRequired``, a `typing.NewType` or an alias too.
    """
    description = ""
    while True:
        if typing.get_origin(hint) is typing.Annotated:
            texts = [extra for extra in hint.__metadata__ if isinstance(extra, str)]
            description = description or next(iter(texts), "")
            hint = hint.__origin__
        elif getattr(typing.get_origin(hint), "_name", None) in _WRAPPERS:
            hint = typing.get_args(hint)[0]
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__  # NewType
        elif hasattr(hint, "__value__") and not isinstance(hint, type):
            hint = hint.__value__  # type X = ...
        elif typing.get_origin(hint) not in (None, hint) and not typing.get_args(hint):
            hint = typing.get_origin(hint)  # typing.List, of anything
        else:
            return hint, description


def has_members(hint: Any) -> bool:
    """Return whether this is a dataclass or a TypedDict, not an instance of one."""
    return isinstance(hint, type) and (dataclasses.is_dataclass(hint) or _is_typed_dict(hint))


def has_pydantic_methods(hint: Any) -> bool:
    """Return whether this acts as a pydantic model class; pydantic is not imported."""
    methods = ("model_json_schema", "model_validate")
    return isinstance(hint, type) and all(hasattr(hint, name) for name in methods)


def inlined(schema: Schema) -> Schema | None:
    """Put definitions where they are referred to; None if one lies in itself."""
    definitions = schema.get("$defs") or {}

    def resolved(node: Any, inside: tuple[str, ...]) -> Any:
        if isinstance(node, list):
            return [resolved(item, inside) for item in node]
        if not isinstance(node, dict):
            return node
        rest = {k: resolved(v, inside) for k, v in node.items() if k not in ("$ref", "$defs")}
        name = str(node.get("$ref", "")).removeprefix("#/$defs/")
        if not name:
            return rest
        if name in inside:
            raise RecursionError(name)
        return resolved(definitions.get(name, {}), (*inside, name)) | rest

    try:
        whole: Schema = resolved(schema, ())
    except RecursionError:
        return None
    return whole


def _is_json(value: Any) -> bool:
    """Return whether a value can stand in a schema, as a default."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError, RecursionError):
        return False


def _is_typed_dict(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, dict) and hasattr(hint, "__total__")
