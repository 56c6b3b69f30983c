"""Plain Python functions that a model may ask to be called.

What a model asks for is hostile input: its arguments are parsed as JSON, held against the
function's own hints, and never evaluated. A call is made only if a person, or the program, allowed
it. Whatever comes of it (a value, an error, a refusal) goes back to the model as text.

References
----------
OpenRouter docs, "Tool & Function Calling" (the three steps; ``tools`` goes with each request) and
"Reasoning Tokens" (``reasoning_details`` go back unchanged and in order); 2026-08-22.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from ..api.refusals import mapping
from ..errors import ConfigError, SchemaMismatch
from . import placeholders
from .hints import evaluated, object_of, of_hint
from .validation import DECODER, build, shown, validate

LONGEST_RESULT = 20_000
"""Characters of a result that are sent to the model; the rest is cut, and it is told so."""
LONGEST_ERROR = 2_000
MOST_ROWS = 30
"""Rows of a DataFrame that are sent."""

Confirm = Callable[[str, dict[str, Any]], bool]
"""Asked before each call with the tool's name and its arguments; True allows it."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMPY_SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.MULTILINE)
_GOOGLE_SECTION = re.compile(
    r"^(Args|Arguments|Parameters|Returns|Yields|Raises|Examples?|Notes?):\n", re.M
)


@dataclass(frozen=True)
class Tool:
    """A function that a model may ask for.

    Examples
    --------
    >>> def add(a: int, b: int = 1) -> int:
    ...     "Add two whole numbers."
    ...     return a + b
    >>> Tool.from_function(add)
    Tool('add', a, b)
    """

    name: str
    """For the model."""
    description: str
    """For the model: when to call it, and what it gives."""
    parameters: dict[str, Any]
    """JSON schema of the arguments."""
    function: Callable[..., Any]

    def __repr__(self) -> str:
        return f"Tool({', '.join([repr(self.name), *self.parameters['properties']])})"

    @property
    def definition(self) -> dict[str, Any]:
        """The entry of a request's ``tools``."""
        facts = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": facts}

    @classmethod
    def from_function(
        cls,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
    ) -> Tool:
        """Describe a function by its hints and its docstring.

        Parameters
        ----------
        function : callable
            With named parameters. Those without a hint take any JSON; those with a default may be
            left out. Its docstring, in numpy's or Google's style or plain, tells the model what it
            does and what the parameters mean, as does ``Annotated[int, "..."]``.
        name, description : str, optional
            Instead of the function's own.

        Returns
        -------
        Tool
            For `ornb.Chat(tools=...)`, or a list of them.

        Raises
        ------
        ConfigError
            It has no usable name, takes ``*args`` or ``**kwargs``, is async, or has a hint for
            which JSON has no form.

        Examples
        --------
        >>> from typing import Literal
        >>> def weather(city: str, unit: Literal["C", "F"] = "C"):
        ...     "Current weather of a city."
        >>> Tool.from_function(weather).parameters["properties"]["unit"]
        {'enum': ['C', 'F'], 'type': 'string', 'default': 'C'}
        """
        if isinstance(function, Tool):
            return function
        if not callable(function):
            raise ConfigError(f"{function!r} cannot be called, so it is no tool. Give a function.")
        inner: Any = _inner(function)
        name = str(name or getattr(inner, "__name__", type(inner).__name__))
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} is no name for a tool: it takes 1 to 64 letters, digits, _ and -. Use "
                "Tool.from_function(f, name='...')."
            )
        for called in (inner, type(inner).__call__):
            if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
                raise ConfigError(f"{name} is async; give an ordinary function that calls it.")
        summary, meanings = _docstring(inspect.getdoc(inner) or "")
        parameters = _parameters(function, name, meanings)
        return cls(name, description or summary or name, parameters, function)

    def bind(self, arguments: Any) -> inspect.BoundArguments:
        """Turn a model's arguments into Python's.

        Parameters
        ----------
        arguments : Any
            JSON, from the model.

        Returns
        -------
        inspect.BoundArguments
            Of the types that the hints say.

        Raises
        ------
        SchemaMismatch
            They are not what the function takes.

        Examples
        --------
        >>> def wait(seconds: float): ...
        >>> Tool.from_function(wait).bind({"seconds": 2}).args
        (2.0,)
        """
        validate(arguments, self.parameters, "The call")
        signature = inspect.signature(self.function)
        hints = _hints(self.function)
        bound = inspect.BoundArguments(signature, dict[str, Any]())
        for name, parameter in signature.parameters.items():
            if name in arguments:
                hint = hints.get(name, Any)
                bound.arguments[name] = build(hint, arguments[name], (name,), "The call")
            else:
                bound.arguments[name] = parameter.default
        return bound


@dataclass(frozen=True)
class ToolResult:
    """What came of one call that a model asked for."""

    id: str
    """Of the call, as the model named it."""
    name: str
    status: str
    """"ok", "refused", "failed" (it raised), "invalid" (its arguments), "unknown" or "stopped"."""
    content: str
    """What the model is told."""
    arguments: Any = None
    """As JSON gave them; the text itself if it is none."""
    value: Any = None
    """What the function returned."""
    error: BaseException | None = None
    """What it raised."""
    duration_s: float = 0.0

    def __repr__(self) -> str:
        text = self.content if len(self.content) <= 80 else self.content[:79] + "…"
        return f"ToolResult({self.name!r}, {self.status}: {text})"

    @property
    def message(self) -> dict[str, Any]:
        """The message that tells the model."""
        return {"role": "tool", "tool_call_id": self.id, "content": self.content}


def tools_in(tools: Any) -> tuple[Any, ...]:
    """Return the tools of a list, or the one that was given without."""
    if tools is None:
        return ()
    is_one = not isinstance(tools, Iterable) or isinstance(tools, str | Mapping)
    return (tools,) if is_one else tuple(tools)


def toolbox(tools: Any) -> tuple[dict[str, Tool], list[dict[str, Any]]]:
    """Sort what a person hands over as tools: those by name, and the request's ``tools``.

    Dicts such as ``{"type": "openrouter:web_search"}`` are tools that the service runs.
    """
    named: dict[str, Tool] = {}
    definitions: list[dict[str, Any]] = []
    for each in tools_in(tools):
        if isinstance(each, Mapping):
            definitions.append(dict(each))
            continue
        tool = Tool.from_function(each)
        if tool.name in named:
            raise ConfigError(
                f"Two tools are called {tool.name!r}. Call one of them something else with "
                "Tool.from_function(f, name=...)."
            )
        named[tool.name] = tool
        definitions.append(tool.definition)
    return named, definitions


def run(
    call: Mapping[str, Any],
    tools: Iterable[Any] | Mapping[str, Tool],
    confirm: Confirm | None = None,
    *,
    auto: bool = False,
) -> ToolResult:
    """Do what a model asks for, if it is allowed and makes sense.

    Parameters
    ----------
    call : mapping
        One of `Reply.tool_calls`.
    tools : iterable or mapping
        Functions or `Tool`; or what `toolbox` made of them, by name.
    confirm : callable, optional
        Asked with the name and the arguments, once they are known to be good.
    auto : bool
        True allows every call where there is no `confirm`. By default none is.

    Returns
    -------
    ToolResult
        Also of a call that was not made; only a `confirm` that raises is an error here.

    Raises
    ------
    ConfigError
        A tool is not one.

    Examples
    --------
    >>> def double(x: int) -> int:
    ...     return 2 * x
    >>> call = {"id": "1", "function": {"name": "double", "arguments": '{"x": 21}'}}
    >>> run(call, [double], auto=True).content, run(call, [double]).status
    ('42', 'refused')
    """
    named = tools if isinstance(tools, Mapping) else toolbox(tools)[0]
    call_id, name, text = read_call(call)
    tool = named.get(name)
    if tool is None:
        others = f"only {', '.join(named)}" if named else "and no other either"
        told = f"There is no tool {shown(name)}, {others}."
        return ToolResult(call_id, name, "unknown", told, text)
    arguments: Any = text
    try:
        arguments = _parsed(text)
        bound = tool.bind(arguments)
    except SchemaMismatch as error:
        told = f"{error} Call {name} again with arguments that match."
        return ToolResult(call_id, name, "invalid", told, arguments, error=error)
    if not (confirm(name, arguments) if confirm is not None else auto):
        reason = "The person did not allow it." if confirm else "Nobody is there to allow it."
        told = f"{name} was not called. {reason} Go on without it."
        return ToolResult(call_id, name, "refused", told, arguments)
    return _called(tool, bound, ToolResult(call_id, name, "ok", "", arguments))


def _called(tool: Tool, bound: inspect.BoundArguments, result: ToolResult) -> ToolResult:
    began = perf_counter()
    facts: dict[str, Any]
    try:
        value = tool.function(*bound.args, **bound.kwargs)
        facts = {"content": as_text(value), "value": value}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a person's code; both are told
        told = f"{tool.name} failed. {type(error).__name__}: {_words_of(error)}"
        facts = {"status": "failed", "content": told[:LONGEST_ERROR], "error": error}
    return dataclasses.replace(result, **facts, duration_s=perf_counter() - began)


def _words_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - even this may be a person's code
        return "no words"


def as_text(value: Any) -> str:
    """Write what a tool returned for a model, cut at `LONGEST_RESULT` characters.

    A DataFrame becomes CSV of its first rows under its shape; dicts, lists, arrays and dataclasses
    become JSON; anything else but text its ``str``.
    """
    text = value if isinstance(value, str) else _written(value)
    if len(text) <= LONGEST_RESULT:
        return text
    return f"{text[:LONGEST_RESULT]}\n[cut: {len(text) - LONGEST_RESULT:,} more characters]"


def _written(value: Any) -> str:
    if hasattr(value, "to_csv") and hasattr(value, "head"):  # a DataFrame or a Series
        rows = f"{len(value):,} rows" + (f", the first {MOST_ROWS}" * (len(value) > MOST_ROWS))
        return f"{rows}:\n{value.head(MOST_ROWS).to_csv(float_format=placeholders.as_text)}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return placeholders.as_text(value)


def read_call(call: Any) -> tuple[str, str, Any]:
    """Return id, name and arguments of a call, whatever a model or a server made of it."""
    call = mapping(call)
    function = mapping(call.get("function"))
    return str(call.get("id") or ""), str(function.get("name") or ""), function.get("arguments")


def _parsed(arguments: Any) -> Any:
    if isinstance(arguments, Mapping):
        return dict(arguments)  # some local servers send the object itself
    text = str(arguments or "").strip()
    try:
        return DECODER.decode(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise SchemaMismatch(
            f"The arguments are not JSON: {error}.", expected="a JSON object", got=text[:200]
        ) from error


# ------------------------------------------------------------------ what a function says of itself


def _inner(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function in a partial, of which Python says what a partial is."""
    return function.func if isinstance(function, functools.partial) else function


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    plain = inspect.unwrap(_inner(function))
    if not inspect.isroutine(plain):
        plain = type(plain).__call__
    return evaluated(plain)


def _parameters(
    function: Callable[..., Any], name: str, meanings: Mapping[str, str]
) -> dict[str, Any]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} does not say what it takes; wrap it in a function.") from error
    hints = _hints(function)
    members = []
    for key, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigError(
                f"{name} takes *{key}, which a model cannot fill in. Give each parameter a name."
            )
        schema = of_hint(hints.get(key, Any), f"{name}({key})")
        if meanings.get(key):
            schema = {"description": meanings[key]} | schema
        is_required = parameter.default is parameter.empty
        members.append((key, schema, dataclasses.MISSING if is_required else parameter.default))
    return object_of(members)


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """What a docstring says before its sections, and of each parameter."""
    for section, item in (
        (_NUMPY_SECTION, r"^(\w[\w, *]*?)(?: *:.*)?\n((?: +.*\n?|\n)+)"),
        (_GOOGLE_SECTION, r"^ +(\w+)(?: *\([^)]*\))?: *(.*(?:\n {5,}.*)*)"),
    ):
        pieces = section.split(text)
        if len(pieces) == 1:
            continue
        sections = dict(zip(pieces[1::2], pieces[2::2], strict=True))
        body = next((sections[k] for k in ("Parameters", "Args", "Arguments") if k in sections), "")
        found = re.findall(item, body, re.MULTILINE)
        meanings = {
            name.strip(" *"): " ".join(meaning.split())
            for names, meaning in found
            for name in names.split(",")
        }
        return pieces[0].strip(), meanings
    return text.strip(), {}
