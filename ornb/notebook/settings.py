"""What a chat's settings drawer shows and changes: parameters, fallbacks, the order of providers.

The values live in one plain dict, `ornb.Chat.params`, as they will be sent: what is not set is not
in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import asdict
from typing import Any

from ..api.parameters import Parameter
from ..api.refusals import mapping
from ..errors import ConfigError

LISTS = ("models", "provider.order")
"""Lists of names that the drawer has a field for: fallbacks, and providers to be tried in turn."""


def described(params: Mapping[str, Any], table: Sequence[Parameter]) -> dict[str, Any]:
    """Return the drawer's fields with their values, for the page.

    ``models`` and ``providers`` are texts; ``others`` is what else is sent, as JSON text.
    """
    fields = [_field(parameter, value_of(params, parameter.name)) for parameter in table]
    shown = {parameter.name for parameter in table}
    others = {name: value for name, value in _flat(params).items() if name not in (*shown, *LISTS)}
    return {
        "fields": fields,
        "models": _joined(params.get("models")),
        "providers": _joined(value_of(params, "provider.order")),
        "others": ", ".join(
            f"{json.dumps(name)}: {json.dumps(value, default=repr)[:80]}"
            for name, value in others.items()
        ),
    }


def change(
    params: MutableMapping[str, Any], table: Sequence[Parameter], name: str, value: Any
) -> None:
    """Set one value, or remove it: None and "" do.

    `name` is that of a parameter, such as ``reasoning.effort``, or one of `LISTS`.
    """
    if name in LISTS:
        names = [one.strip() for one in str(value or "").split(",")]
        _set(params, name, [one for one in names if one] or None)
        return
    parameter = next((one for one in table if one.name == name), None)
    if parameter is None:
        raise ConfigError(f"{name!r} is not a setting of this model.")
    if value is None or value == "":
        _set(params, name, None)
        return
    if parameter.kind == "int" and isinstance(value, float) and value.is_integer():
        value = int(value)
    problem = parameter.problem(value)
    if problem:
        raise ConfigError(f"{name} {problem}; {value!r} was not taken over.")
    _set(params, name, value)


def reset(params: MutableMapping[str, Any], table: Sequence[Parameter]) -> None:
    """Remove all that the drawer can set; what only code can set stays."""
    for name in (*LISTS, *(parameter.name for parameter in table)):
        _set(params, name, None)


def value_of(params: Mapping[str, Any], name: str) -> Any:
    """Return a value by its dotted name, such as ``reasoning.effort``; None if it is not set."""
    outer, _, inner = name.partition(".")
    value = params.get(outer)
    return mapping(value).get(inner) if inner else value


def _set(params: MutableMapping[str, Any], name: str, value: Any) -> None:
    outer, _, inner = name.partition(".")
    if inner:
        within = dict(mapping(params.get(outer)))
        within.pop(inner, None)
        value = within | ({} if value is None else {inner: value}) or None
    if value is None:
        params.pop(outer, None)
    else:
        params[outer] = value


def _field(parameter: Parameter, value: Any) -> dict[str, Any]:
    return {
        **asdict(parameter),
        "takes": parameter.takes,
        "value": ", ".join(map(str, value)) if isinstance(value, list | tuple) else value,
    }


def _flat(params: Mapping[str, Any]) -> dict[str, Any]:
    """Each value under its dotted name, one level deep where the drawer looks so deep."""
    flat: dict[str, Any] = {}
    for name, value in params.items():
        if name in ("reasoning", "provider") and isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": inside for inner, inside in value.items()}
        else:
            flat[name] = value
    return flat


def _joined(value: Any) -> str:
    if isinstance(value, str):
        return value
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else ""
