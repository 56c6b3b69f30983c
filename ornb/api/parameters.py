"""What can be set in a request, with the model's own defaults and ranges.

All of it comes from the model's own record and, where that is silent, from OpenRouter's
documentation. A row of `ornb.models` or the record itself will do for a model.

References
----------
OpenRouter docs, "Parameters" (ranges, defaults), "Reasoning Tokens" (the record's ``reasoning``
object) and "Provider Routing" (what becomes of an unsupported parameter); 2026-08-22.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

from ..errors import ConfigError
from .refusals import mapping

EFFORTS = ("max", "xhigh", "high", "medium", "low", "minimal", "none")
"""Amounts of reasoning that the API knows, the greatest first."""

MOST_STOPS = 4
"""Texts that ``stop`` may have at most."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a request, as one model takes it.

    Examples
    --------
    >>> parameter_table({"id": "lab/a", "supported_parameters": ["top_k"]})[0]
    Parameter('top_k', 0 and above, default 0 of OpenRouter)
    """

    name: str
    """Its name in the request; ``reasoning.effort`` is ``effort`` inside ``reasoning``."""
    kind: str
    """"float", "int", "bool", "choice" or "text"."""
    meaning: str
    """One line for people."""
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    """What a slider or a spin box moves by."""
    default: float | bool | str | None = None
    """What holds when it is not sent; None if nobody says."""
    source: str = ""
    """Who says so: "model" (its record), "OpenRouter" (its docs), or "" without a default."""
    choices: tuple[str, ...] = ()

    def __repr__(self) -> str:
        default = f", default {self.default} of {self.source}" if self.source else ""
        return f"Parameter({self.name!r}, {self.takes}{default})"

    @property
    def takes(self) -> str:
        """Its range in words."""
        if self.choices:
            return ", ".join(self.choices)
        if self.minimum is None:
            return {"int": "a whole number", "bool": "true or false"}.get(self.kind, "text")
        if self.maximum is None:
            return f"{self.minimum:,g} and above"
        return f"{_figure(self.minimum)} to {_figure(self.maximum)}"

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with a value.

        Parameters
        ----------
        value : Any
            As it would be sent.

        Returns
        -------
        str or None
            What it takes instead; None if the value is fine.

        Examples
        --------
        >>> DOCUMENTED["temperature"].problem(3)
        'takes 0 to 2'
        """
        if self.kind == "text":
            return None if _is_stop(value) else f"takes text, or a list of up to {MOST_STOPS} texts"
        if self.kind == "choice":
            return None if value in self.choices else f"takes {self.takes}"
        if self.kind == "bool":
            return None if isinstance(value, bool) else f"takes {self.takes}"
        if isinstance(value, bool) or not isinstance(
            value, Integral if self.kind == "int" else Real
        ):
            word = "a whole number" if self.kind == "int" else "a number"
            return f"takes {word}" + (f", {self.takes}" if self.minimum is not None else "")
        # Written so that NaN, which compares false with everything, is out of range.
        least = self.minimum is None or float(value) >= self.minimum
        most = self.maximum is None or float(value) <= self.maximum
        return None if least and most else f"takes {self.takes}"


def _is_stop(value: Any) -> bool:
    texts = [value] if isinstance(value, str) else value
    is_few = isinstance(texts, list | tuple) and len(texts) <= MOST_STOPS
    return is_few and all(isinstance(text, str) for text in texts)


def _figure(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:g}"


def _penalty(name: str, meaning: str) -> Parameter:
    return Parameter(name, "float", meaning, -2, 2, 0.1, 0.0, "OpenRouter")


DOCUMENTED: dict[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Parameter(
            "temperature",
            "float",
            "How freely it words things: 0 is the most predictable, above 1 it gets wild.",
            *(0, 2, 0.1, 1.0, "OpenRouter"),
        ),
        Parameter(
            "top_p",
            "float",
            "Choose among the likeliest tokens that together have this probability.",
            *(0, 1, 0.05, 1.0, "OpenRouter"),
        ),
        Parameter("max_tokens", "int", "The answer is cut after so many tokens.", 1, step=1),
        Parameter(
            "reasoning.enabled", "bool", "Think before answering; thinking is billed as answer."
        ),
        Parameter(
            "reasoning.effort",
            "choice",
            "How much it thinks before it answers.",
            choices=EFFORTS,
        ),
        Parameter("reasoning.max_tokens", "int", "Think in at most so many tokens.", 1, step=1),
        Parameter(
            "verbosity",
            "choice",
            "How much it says.",
            default="medium",
            source="OpenRouter",
            choices=("low", "medium", "high", "xhigh", "max"),
        ),
        Parameter("stop", "text", "End the answer before this text."),
        Parameter("seed", "int", "The same number asks for the same answer again; no promise."),
        _penalty("frequency_penalty", "Avoid tokens the more, the more often they occurred."),
        _penalty("presence_penalty", "Avoid tokens that occurred, however often."),
        Parameter(
            "repetition_penalty",
            "float",
            "Avoid repeating; above 1 repeats less, too much garbles.",
            *(0, 2, 0.05, 1.0, "OpenRouter"),
        ),
        Parameter(
            "top_k",
            "int",
            "Choose among so many of the likeliest tokens; 0 is all of them.",
            *(0, None, 1, 0, "OpenRouter"),
        ),
        Parameter(
            "min_p",
            "float",
            "Leave out tokens below this share of the likeliest one's probability.",
            *(0, 1, 0.01, 0.0, "OpenRouter"),
        ),
        Parameter(
            "top_a",
            "float",
            "Leave out tokens that are unlikely next to the likeliest one, squared.",
            *(0, 1, 0.01, 0.0, "OpenRouter"),
        ),
        Parameter("logprobs", "bool", "Also give the probability of each token."),
        Parameter(
            "top_logprobs", "int", "And of so many alternatives; needs logprobs.", 0, 20, step=1
        ),
    )
}
"""Name to parameter, as OpenRouter documents it, in the order for people."""

_LISTED_AS = {"max_completion_tokens": "max_tokens", "reasoning_effort": "reasoning"}
"""Other names for the same thing; a model that lists either takes both."""
_DROPPED = {name.partition(".")[0] for name in DOCUMENTED} | {
    *("max_completion_tokens", "reasoning_effort", "logit_bias", "response_format"),
    *("prediction", "parallel_tool_calls", "web_search_options"),
}
"""Parameters of the model: one that it lacks is dropped on the way. Others are the service's."""
_OTHERS = {
    *("messages", "model", "models", "route", "provider", "plugins", "preset", "transforms"),
    *("tools", "tool_choice", "structured_outputs", "modalities", "image_config", "cache_control"),
    *("reasoning.exclude", "reasoning.summary", "include_reasoning", "service_tier", "debug"),
    *("stream", "stream_options", "usage", "user", "session_id", "safety_identifier"),
    *("router_metadata", "response_cache"),
    *("audio", "deferred_tools", "n", "prompt_cache_key", "prompt_cache_options"),
    *("metadata", "trace", "label", "ornb", "stop_server_tools_when"),
}
"""Further fields that the API knows; none of them is taken for a slip in `DOCUMENTED`."""
FIELDS = frozenset(_DROPPED | _OTHERS)
"""All of them: what is not among them may be new, or another server's."""
NEARNESS = 0.82
"""Likeness from which a name is taken for a slip: ``max_token`` is one, ``top_n`` is not."""


def record_of(model: Any) -> Mapping[str, Any]:
    """Return the API's record of a model, or the one behind a row of `ornb.models`."""
    raw = model if isinstance(model, Mapping) else getattr(model, "get", lambda _: None)("raw")
    if not isinstance(raw, Mapping):
        raise ConfigError(
            f"{type(model).__name__} is no model; give a row, such as ornb.models().loc[id]."
        )
    return raw


def parameter_table(model: Any) -> list[Parameter]:
    """List the parameters that a model takes, for people to set.

    Parameters
    ----------
    model : Series or mapping
        A row of `ornb.models`, or its record.

    Returns
    -------
    list of Parameter
        With the model's own defaults and limits where its record has them. All documented ones for
        a record that lists none (routers, catalogues before 2025-05, other servers).

    Raises
    ------
    ConfigError
        `model` is no model.

    Examples
    --------
    >>> table = parameter_table(ornb.models().loc["openai/gpt-4o-mini"])
    >>> [parameter.name for parameter in table][:3]
    ['temperature', 'top_p', 'max_tokens']
    >>> table[2].maximum
    16384
    """
    record = record_of(model)
    listed = _listed(record)
    return [
        parameter
        for parameter in _of_model(record)
        if not listed or _knows(record, listed, parameter.name.partition(".")[0])
    ]


def to_request(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn values by `Parameter.name` into the fields of a request; None is left out."""
    request: dict[str, Any] = {}
    for name, value in values.items():
        outer, _, inner = name.partition(".")
        if value is None:
            continue
        if inner:
            request.setdefault(outer, {})[inner] = value
        else:
            request[outer] = value
    return request


def misspelt(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields whose names look like slips, with what was probably meant.

    A name that is like no documented one passes, since the API gains fields.
    """
    known = DOCUMENTED.keys() | _DROPPED | _OTHERS
    found = {}
    for name, _ in _flat(params):
        if name not in known:
            near = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=NEARNESS)
            found.update(dict.fromkeys([name], *near) if near else {})
    return found


def check(params: Mapping[str, Any], model: Any) -> list[str]:
    """Look at the fields of a request before it is sent.

    Parameters
    ----------
    params : mapping
        Fields of the request. What is not documented here passes.
    model : Series or mapping
        A row of `ornb.models`, or its record.

    Returns
    -------
    list of str
        What the model will not do as asked, a sentence each.

    Raises
    ------
    ConfigError
        A value out of its range, or something that this model refuses; the message has the range.

    Examples
    --------
    >>> check({"top_k": 40}, {"id": "lab/a", "supported_parameters": ["temperature"]})
    ['lab/a ignores top_k: the service drops it without a word.']
    """
    record = record_of(model)
    name, listed = str(record.get("id", "The model")), _listed(record)
    table = {parameter.name: parameter for parameter in _of_model(record, everything=True)}
    for key, value in _flat(params):
        parameter = table.get(key)
        wrong = None if parameter is None or value is None else parameter.problem(value)
        if wrong:
            raise ConfigError(f"{key} is {value!r}; {name} {wrong}.")
    _refuse_impossible(params, name, listed, record)
    ignored = [
        f"{name} ignores {key}: the service drops it without a word."
        for key, value in params.items()
        if value is not None and key in _DROPPED and listed and not _knows(record, listed, key)
    ]
    return [*ignored, *_notes(params, name, listed, record)]


def _listed(record: Mapping[str, Any]) -> set[str]:
    listed = record.get("supported_parameters")
    return {item for item in listed if isinstance(item, str)} if isinstance(listed, list) else set()


def _lists(listed: set[str], key: str) -> bool:
    names = {key, _LISTED_AS.get(key, key)}
    names |= {other for other, name in _LISTED_AS.items() if name in names}
    return bool(listed & names)


def _knows(record: Mapping[str, Any], listed: set[str], key: str) -> bool:
    describes = key.startswith("reasoning") and record.get("reasoning") is not None
    return describes or _lists(listed, key)


def _of_model(record: Mapping[str, Any], *, everything: bool = False) -> Iterator[Parameter]:
    """The documented parameters, with this model's defaults and limits."""
    own = mapping(record.get("default_parameters"))
    longest = _most_tokens(record)
    for parameter in DOCUMENTED.values():
        if parameter.name == "max_tokens":
            yield replace(parameter, maximum=longest)
            if everything:
                yield replace(parameter, name="max_completion_tokens", maximum=longest)
        elif parameter.name.startswith("reasoning."):
            yield from [parameter] if everything else _reasoning(record, parameter)
        elif parameter.problem(own.get(parameter.name)) is None and parameter.kind != "text":
            yield replace(parameter, default=own[parameter.name], source="model")
        else:
            yield parameter
    if everything:
        yield replace(DOCUMENTED["reasoning.effort"], name="reasoning_effort")


def _most_tokens(record: Mapping[str, Any]) -> int | None:
    """Most tokens of an answer: the provider's limit, but no more than the context has."""
    answer = mapping(record.get("top_provider")).get("max_completion_tokens")
    limits = map(listed_count, (answer, record.get("context_length")))
    return min((limit for limit in limits if limit is not None), default=None)


def listed_count(value: Any) -> int | None:
    """Read a number of tokens of a record, where 0 and null both say "unknown"."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if is_count else None


def _reasoning(record: Mapping[str, Any], parameter: Parameter) -> Iterator[Parameter]:
    """What the record's ``reasoning`` object leaves of a parameter."""
    said = mapping(record.get("reasoning"))
    inner = parameter.name.partition(".")[2]
    if inner == "enabled" and not said.get("mandatory"):
        default = said.get("default_enabled")
        yield _with_default(parameter, default if isinstance(default, bool) else None)
    # Absent from a `reasoning` object means that the effort cannot be chosen; null, that all can.
    if inner == "effort" and (not said or "supported_efforts" in said):
        efforts = said.get("supported_efforts")
        choices = tuple(e for e in efforts if isinstance(e, str)) if efforts else EFFORTS
        if said.get("mandatory"):
            choices = tuple(effort for effort in choices if effort != "none")
        default = said.get("default_effort")
        known = default in choices and default != "none"  # "none" there: off unless asked for
        yield _with_default(replace(parameter, choices=choices), default if known else None)
    if inner == "max_tokens" and said.get("supports_max_tokens") is True:
        yield replace(parameter, maximum=_most_tokens(record))


def _with_default(parameter: Parameter, default: bool | str | None) -> Parameter:
    return replace(parameter, default=default, source="" if default is None else "model")


def _flat(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields, those inside ``reasoning`` under their dotted names."""
    for key, value in params.items():
        if key == "reasoning" and isinstance(value, Mapping):
            yield from ((f"reasoning.{inner}", inside) for inner, inside in value.items())
        else:
            yield key, value


def _refuse_impossible(
    params: Mapping[str, Any], name: str, listed: set[str], record: Mapping[str, Any]
) -> None:
    has_tools = params.get("tools") and params.get("tool_choice") != "none"
    if has_tools and listed and "tools" not in listed:
        raise ConfigError(
            f"{name} cannot call tools. Leave tools out, or pick a model from "
            "ornb.models(tools=True)."
        )
    said, asked = mapping(record.get("reasoning")), mapping(params.get("reasoning"))
    off = "none" in (asked.get("effort"), params.get("reasoning_effort"))
    if said.get("mandatory") and (off or asked.get("enabled") is False):
        raise ConfigError(
            f"{name} always reasons, and refuses to be told not to. Ask for the least effort it "
            "lists, or leave the reasoning out of the answer: reasoning={'exclude': True}."
        )


def _notes(
    params: Mapping[str, Any], name: str, listed: set[str], record: Mapping[str, Any]
) -> Iterator[str]:
    asked, efforts = (
        params.get("reasoning"),
        mapping(record.get("reasoning")).get("supported_efforts"),
    )
    effort = asked.get("effort") if isinstance(asked, Mapping) else params.get("reasoning_effort")
    if effort is not None and isinstance(efforts, list) and effort not in efforts:
        yield (
            f"{name} has no reasoning effort {effort!r}, only {', '.join(map(str, efforts))}: "
            "the service takes the nearest."
        )
    wants_schema = mapping(params.get("response_format")).get("type") == "json_schema"
    if wants_schema and listed and "structured_outputs" not in listed:
        yield f"{name} does not promise to keep to a schema: the answer may not match it."
