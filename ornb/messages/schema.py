"""Answers as values: a schema goes out with the request, and the text comes back as Python.

A shape is given as a dataclass, a TypedDict, a pydantic model class or a JSON schema. pydantic is
never imported here: whoever hands over such a class has it.

References
----------
OpenRouter docs, "Structured Outputs" (``response_format`` of type ``json_schema``, strict);
2026-08-22. OpenAI docs, "Structured Outputs" (strict: every object closed, every property
required), as the official Python SDK 3.54 writes it.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar, cast, overload

from ..api.reply import Reply
from ..errors import ConfigError, SchemaMismatch
from .hints import has_pydantic_methods, inlined, of_hint
from .validation import DECODER, build, check_schema, validate

T = TypeVar("T")

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n]*\n(.*?)(?:^[ \t]*\1|\Z)", re.DOTALL | re.MULTILINE)
_NESTED = ("properties", "$defs", "definitions", "patternProperties")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_TRIES = 20
"""Places in a text where JSON is looked for at most, so that no answer can keep us busy."""


def schema_of(shape: Any) -> dict[str, Any]:
    """Return the JSON schema of a shape.

    Parameters
    ----------
    shape : type or mapping
        A dataclass, a TypedDict, a pydantic model class, or a JSON schema, which is checked.

    Returns
    -------
    dict
        A copy. Descriptions come from docstrings, from ``Annotated[T, "..."]`` and from a
        dataclass field's ``metadata={"description": ...}``.

    Raises
    ------
    ConfigError
        It is not one of these, not an object at its top, or has a type that JSON does not.

    Examples
    --------
    >>> import dataclasses
    >>> @dataclasses.dataclass
    ... class City:
    ...     name: str
    ...     people: int | None = None
    >>> schema_of(City)["properties"]["name"], schema_of(City)["required"]
    ({'type': 'string'}, ['name'])
    """
    return copy.deepcopy(_schema(shape))


def _schema(shape: Any) -> dict[str, Any]:
    """The schema itself, which is not to be changed."""
    if isinstance(shape, type):
        return _schema_of_class(shape)
    if not isinstance(shape, Mapping):
        raise ConfigError(
            f"{shape!r} is no shape of an answer. Give a dataclass, a TypedDict, a pydantic model "
            "class or a JSON schema; wrap a list in one of them."
        )
    schema = dict(shape)
    check_schema(schema)
    _check_top(schema)
    return schema


@functools.lru_cache(maxsize=64)  # a batch reads thousands of answers of one shape
def _schema_of_class(shape: type) -> dict[str, Any]:
    if has_pydantic_methods(shape):
        schema: dict[str, Any] = cast(Any, shape).model_json_schema()
        schema = inlined(schema) or schema  # a shape within itself has to keep its references
    else:
        schema = of_hint(shape, shape.__name__)
    _check_top(schema)
    return schema


def response_format(
    shape: Any, *, name: str | None = None, strict: bool | None = None
) -> dict[str, Any]:
    """Return the ``response_format`` that asks for a shape.

    Strict means that the model can write nothing else: every object is closed and each of its
    properties required, which is what providers ask of a strict schema. An answer to it matches
    the shape as it was given, too.

    Parameters
    ----------
    shape : type or mapping
        See `schema_of`.
    name : str, optional
        For the model; by default the shape's own.
    strict : bool, optional
        By default wherever it can be: not with objects of free keys, such as ``dict[str, float]``.

    Returns
    -------
    dict
        To be sent as ``response_format=``. Where a provider could drop it, add
        ``provider={"require_parameters": True}``.

    Raises
    ------
    ConfigError
        See `schema_of`; or `strict` is asked for where it cannot be.

    Examples
    --------
    >>> response_format({"type": "object", "properties": {"year": {"type": "integer"}}})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'type': 'json_schema', 'json_schema': {'name': 'answer', 'strict': True, 'schema':
     {'type': 'object', 'properties': {'year': {'type': 'integer'}},
      'additionalProperties': False, 'required': ['year']}}}
    """
    schema = schema_of(shape)
    closed = copy.deepcopy(schema)
    free = next(_close(closed, "the top"), None)
    if strict and free:
        raise ConfigError(
            f"A strict schema has no objects of free keys, and {free} is one. List its properties, "
            "or pass strict=False."
        )
    strict = free is None if strict is None else strict
    title = name or getattr(shape, "__name__", None) or schema.get("title") or "answer"
    return {
        "type": "json_schema",
        "json_schema": {
            "name": re.sub(r"[^\w-]+", "_", str(title), flags=re.ASCII)[:64] or "answer",
            "strict": strict,
            "schema": closed if strict else schema,
        },
    }


@overload
def parse(reply: Reply | str, shape: Mapping[str, Any]) -> Any: ...
@overload
def parse(reply: Reply | str, shape: type[T]) -> T: ...
def parse(reply: Reply | str, shape: Any) -> Any:
    r"""Read an answer as a shape.

    Code fences, and words around the JSON, are put up with.

    Parameters
    ----------
    reply : Reply or str
        The answer, or its text.
    shape : type or mapping
        As it was asked for, see `schema_of`.

    Returns
    -------
    Any
        An instance of the class; a dict for a TypedDict or a JSON schema.

    Raises
    ------
    SchemaMismatch
        There is no JSON in it, or it does not match: ``path`` says where, ``expected`` and ``got``
        what, and ``reply`` has the answer.
    ConfigError
        The shape is not one.

    Examples
    --------
    >>> shape = {"type": "object", "properties": {"year": {"type": "integer"}}}
    >>> parse('```json\n{"year": 1815}\n```', shape)
    {'year': 1815}
    >>> parse('{"year": "long ago"}', shape)
    Traceback (most recent call last):
        ...
    ornb.errors.SchemaMismatch: The answer does not match at year: expected an integer, got ...
    """
    return read(reply, shape, _schema(shape))


def read(reply: Reply | str, shape: Any, schema: Mapping[str, Any]) -> Any:
    """Do what `parse` does, by a schema that was checked before: for the answers of a batch."""
    answer = reply if isinstance(reply, Reply) else Reply(text=reply)
    problem: SchemaMismatch | None = None
    for value in _json_in(answer.text):
        try:
            return _as(shape, schema, value)
        except SchemaMismatch as error:
            problem = problem or error  # of several values, the first tells best what went wrong
    problem = problem or _no_json(answer)
    problem.reply = reply if isinstance(reply, Reply) else None
    raise problem


def _as(shape: Any, schema: Mapping[str, Any], value: Any) -> Any:
    if not has_pydantic_methods(shape):  # those check for themselves, by rules of their own
        validate(value, schema)
    return value if isinstance(shape, Mapping) else build(shape, value)


def _check_top(schema: Mapping[str, Any]) -> None:
    if schema.get("type") != "object" and "properties" not in schema and "$ref" not in schema:
        raise ConfigError(
            "An answer has to be an object at its top: most providers take no other schema. Give "
            'a list a name: {"type": "object", "properties": {"items": {"type": "array", ...}}}.'
        )


def _close(node: Any, where: str) -> Iterator[str]:
    """Close every object of a schema, in place; give where that cannot be."""
    if not isinstance(node, dict):
        return
    node.pop("default", None)  # everything is required, so there is nothing to default
    kinds = node.get("type")
    if "properties" in node or "object" in (kinds if isinstance(kinds, list) else [kinds]):
        extra = node.setdefault("additionalProperties", "properties" not in node)
        if extra is not False:
            yield where
        node["required"] = list(node.get("properties") or {})
    for key in _NESTED:
        for name, child in (node.get(key) or {}).items():
            yield from _close(child, name)
    for key in _LISTED:
        for child in node.get(key) or []:
            yield from _close(child, where)
    for key in ("items", "not"):
        yield from _close(node.get(key), where)


def _json_in(text: str) -> Iterator[Any]:
    """JSON values in a text: all of it, else what is fenced, else what begins like an object."""
    with contextlib.suppress(ValueError):
        yield _loads(text)
        return
    found = False
    for fence in islice(_FENCE.finditer(text), _TRIES):
        try:
            yield _loads(fence[2])
            found = True
        except ValueError:
            continue
    start = -1 if found else text.find("{")
    for _ in range(_TRIES):
        if start < 0:
            return
        try:
            value, end = DECODER.raw_decode(text, start)
            yield value
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)


def _loads(text: str) -> Any:
    try:
        return DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _no_json(reply: Reply) -> SchemaMismatch:
    why, step = "has no JSON in it", "Ask again, or another model: structured_outputs=True."
    if reply.refusal:
        why = f"is a refusal: {reply.refusal.strip()[:120]!r}"
        step = "Ask otherwise, or another model."
    elif reply.blocked:
        why, step = f"is not all there ({reply.blocked})", "Change the request, or the safeguard."
    elif reply.finish_reason == "length":
        why, step = "was cut at max_tokens before its JSON was whole", "Ask with more max_tokens."
    elif reply.status == "stopped":
        why, step = "was stopped before its JSON was whole", "Ask again."
    elif not reply.text.strip():
        why = "is empty"
    return SchemaMismatch(
        f"The answer {why}. {step}", expected="JSON", got=reply.text.strip()[:120]
    )
