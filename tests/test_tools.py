"""Tools: what a function says of itself, and that nothing runs but what was allowed and fits."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Dict, List, Literal, NewType, Optional  # noqa: UP035

import numpy as np
import pandas as pd
import pytest
from cassettes import exchanges
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import ornb
from ornb.errors import ConfigError, SchemaMismatch
from ornb.messages.tools import LONGEST_RESULT, Tool, ToolResult, as_text, run, toolbox


class Unit(enum.Enum):
    CELSIUS = "C"
    KELVIN = "K"


@dataclass
class Point:
    x: float
    y: float = 0.0


UserId = NewType("UserId", int)


def call(name, arguments="{}", call_id="call_1"):
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments)
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def schema(function):
    return Tool.from_function(function).parameters


def properties(function):
    return schema(function)["properties"]


# ---- what a function says of itself


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (list, {"type": "array"}),
        (List, {"type": "array"}),  # noqa: UP006
        (dict, {"type": "object"}),
        (Dict, {"type": "object"}),  # noqa: UP006
        (Any, {}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (tuple[str, ...], {"type": "array", "items": {"type": "string"}}),
        (set[str], {"type": "array", "items": {"type": "string"}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (Literal["a", "b"], {"enum": ["a", "b"], "type": "string"}),
        (Literal[1, None], {"enum": [1, None]}),
        (Unit, {"enum": ["C", "K"], "type": "string"}),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (dt.date, {"type": "string", "format": "date"}),
        (Path, {"type": "string"}),
        (UserId, {"type": "integer"}),
        (Annotated[int, "how many"], {"type": "integer", "description": "how many"}),
    ],
    ids=str,
)
def test_a_hint_becomes_a_schema(hint, expected):
    def f(x):
        """Do it."""

    f.__annotations__["x"] = hint
    assert properties(f) == {"x": expected}
    Draft202012Validator.check_schema(schema(f))


def test_parameters_with_a_default_may_be_left_out():
    def f(a: int, b, c: str = "x", *, d: float, e: Unit = Unit.KELVIN, g: Point | None = None):
        """Do it."""

    found = schema(f)
    assert found["required"] == ["a", "b", "d"]
    assert found["additionalProperties"] is False
    assert found["properties"]["b"] == {}
    assert found["properties"]["c"]["default"] == "x"
    assert "default" not in found["properties"]["e"]  # an Enum is not JSON
    assert found["properties"]["g"]["anyOf"][0]["required"] == ["x"]


def numpy_style(city: str, days: int = 1, unit="C"):
    """Forecast the weather.

    Only for Europe.

    Parameters
    ----------
    city : str
        Name of the city,
        in English.
    days, unit : int
        How many, and of what.

    Returns
    -------
    str
        In words.
    """


def google_style(city: str, days: int = 1):
    """Forecast the weather.

    Args:
        city (str): Name of the city,
            in English.
        days: How many.

    Returns:
        str: In words.
    """


def plain_style(city: str):
    """Forecast the weather of a city: sun, rain."""


def test_docstrings_in_three_styles_tell_the_model():
    tool = Tool.from_function(numpy_style)
    assert tool.description == "Forecast the weather.\n\nOnly for Europe."
    told = {name: one.get("description") for name, one in tool.parameters["properties"].items()}
    assert told == {
        "city": "Name of the city, in English.",
        "days": "How many, and of what.",
        "unit": "How many, and of what.",
    }
    tool = Tool.from_function(google_style)
    assert tool.description == "Forecast the weather."
    told = {name: one.get("description") for name, one in tool.parameters["properties"].items()}
    assert told == {"city": "Name of the city, in English.", "days": "How many."}
    assert Tool.from_function(plain_style).description.endswith("of a city: sun, rain.")


def test_what_annotated_says_wins_over_the_docstring():
    def f(city: Annotated[str, "where"]):
        """Do it.

        Parameters
        ----------
        city : str
            Somewhere.
        """

    assert properties(f)["city"]["description"] == "where"


class Shop:
    def price(self, item: str) -> float:
        """Price of an item."""
        return {"tea": 2.5}[item]

    def __call__(self, item: str) -> float:
        """Call the shop."""
        return self.price(item)


def test_methods_partials_and_objects_are_tools_too():
    shop = Shop()
    for function, name in ((shop.price, "price"), (shop, "Shop")):
        tool = Tool.from_function(function)
        assert (tool.name, list(tool.parameters["properties"])) == (name, ["item"])
        assert run(call(name, {"item": "tea"}), [tool], auto=True).value == 2.5

    def power(base: int, exponent: int) -> int:
        return base**exponent

    square = Tool.from_function(functools.partial(power, exponent=2), name="square")
    assert run(call("square", {"base": 3}), [square], auto=True).value == 9


def test_a_partial_is_called_and_described_as_its_function():
    """Python's own words of a partial say nothing of what it does."""

    def power(base: int, exponent: int) -> int:
        """Raise to a power."""
        return base**exponent

    tool = Tool.from_function(functools.partial(power, exponent=2))
    assert (tool.name, tool.description) == ("power", "Raise to a power.")


def test_builtins_without_hints_take_any_json():
    assert run(call("len", {"obj": [1, 2]}), [len], auto=True).content == "2"


def test_positional_only_parameters_are_passed_by_place():
    def f(a: int, b: int = 7, /, c: int = 0):
        return a, b, c

    assert run(call("f", {"a": 1, "c": 2}), [f], auto=True).value == (1, 7, 2)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x, "'<lambda>' is no name for a tool"),
        (print, "a model cannot fill in"),
        ("print", "cannot be called"),
        (3, "cannot be called"),
    ],
)
def test_what_is_no_tool_is_refused(function, words):
    with pytest.raises(ConfigError) as caught:
        Tool.from_function(function)
    assert words in str(caught.value)


def test_hints_without_a_form_in_json_are_refused_with_their_place():
    def f(data: bytes): ...
    def many(which: Literal[["a"]]): ...
    def g(frame: Unheard): ...  # noqa: F821
    async def h(x: int): ...

    class Later:
        async def __call__(self, x: int): ...

    with pytest.raises(ConfigError, match=r"f\(data\): bytes has no form in JSON"):
        Tool.from_function(f)
    with pytest.raises(ConfigError, match="JSON takes text and numbers only"):
        Tool.from_function(many)
    with pytest.raises(ConfigError, match="A type hint of g cannot be evaluated"):
        Tool.from_function(g)
    with pytest.raises(ConfigError, match="Later is async"):
        Tool.from_function(Later())
    with pytest.raises(ConfigError, match="h is async"):
        Tool.from_function(h)


def test_the_definition_is_what_recorded_calls_sent(shared_data):
    """Three libraries' definitions of functions, that were accepted."""

    def get_date():
        """Gets the current date"""

    def divide(
        numerator: float, denominator: float, on_inf: Literal["error", "infinity"] = "infinity"
    ):
        """Divide two numbers."""

    def dice_roll():
        """Rolls a single six-sided die and returns the result"""

    ours = {
        tool.__name__: Tool.from_function(tool).definition for tool in (get_date, divide, dice_roll)
    }
    seen = set()
    for exchange in exchanges(shared_data):
        for theirs in exchange.request.get("tools") or []:
            function = theirs.get("function") or {}
            if function.get("name") in ours:
                mine = ours[function["name"]]
                assert mine["function"]["description"] == function["description"]
                wanted = {
                    k: v
                    for k, v in function["parameters"].items()
                    if k not in ("description", "strict")
                }
                assert mine["function"]["parameters"] == wanted
                seen.add(function["name"])
    assert seen == set(ours)


def test_a_toolbox_has_each_name_once_and_lets_server_tools_pass():
    server = {"type": "openrouter:web_search", "parameters": {"max_results": 2}}
    named, definitions = toolbox([numpy_style, server])
    assert list(named) == ["numpy_style"]
    assert definitions[1] == server
    with pytest.raises(ConfigError, match="Two tools are called 'len'"):
        toolbox([len, Tool.from_function(plain_style, name="len")])


@pytest.mark.parametrize("one", [numpy_style, {"type": "openrouter:web_search"}])
def test_one_tool_needs_no_list(one):
    assert toolbox(one) == toolbox([one])
    ornb.Chat("acme/orbit", tools=one).close()
    assert toolbox(None) == toolbox([])


@pytest.mark.parametrize("odd", [5, "numpy_style", [5]])
def test_what_is_no_tool_is_refused_by_name(odd):
    with pytest.raises(ConfigError, match=r"'numpy_style'|5"):
        ornb.Chat("acme/orbit", tools=odd)


# ---- running


def double(x: int) -> int:
    """Twice x."""
    return 2 * x


def test_a_call_that_is_allowed_runs_with_the_types_of_the_hints():
    seen = []

    def f(x: float, unit: Unit, at: Point, day: dt.date, tags: set[str], path: Path | None = None):
        seen.append((x, unit, at, day, tags, path))
        return "done"

    arguments = {"x": 2, "unit": "K", "at": {"x": 1}, "day": "2026-08-22", "tags": ["a", "a"]}
    result = run(call("f", arguments), [f], auto=True)
    assert (result.status, result.content, result.arguments) == ("ok", "done", arguments)
    assert seen == [(2.0, Unit.KELVIN, Point(1.0), dt.date(2026, 8, 22), {"a"}, None)]
    assert isinstance(seen[0][0], float)
    assert result.message == {"role": "tool", "tool_call_id": "call_1", "content": "done"}


def test_what_no_set_can_hold_is_told_to_the_model():
    def f(points: set[Point]): ...

    result = run(call("f", {"points": [{"x": 1}]}), [f], auto=True)
    assert result.status == "invalid"
    assert "does not match at points: expected items that a set can hold" in result.content


def test_nothing_runs_unless_it_is_allowed():
    ran = []

    def f(x: int):
        ran.append(x)

    result = run(call("f", {"x": 1}), [f])
    assert (result.status, ran) == ("refused", [])
    assert "Nobody is there to allow it" in result.content
    asked = []
    refuse = lambda name, arguments: asked.append((name, arguments)) or False  # noqa: E731
    result = run(call("f", {"x": 1}), [f], refuse, auto=True)
    assert (result.status, ran, asked) == ("refused", [], [("f", {"x": 1})])
    assert "The person did not allow it" in result.content
    assert run(call("f", {"x": 1}), [f], lambda *_: True).status == "ok"
    assert ran == [1]


def test_a_person_is_not_asked_about_calls_that_cannot_be():
    asked = []

    def confirm(name, arguments):
        asked.append(name)
        return True

    for bad in (call("double", {"x": "1"}), call("double", "{"), call("triple", {"x": 1})):
        run(bad, [double], confirm)
    assert asked == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"x": "2"}, "The call does not match at x: expected an integer, got '2'."),
        ({"x": 1.5}, "expected an integer, got 1.5"),
        ({"x": True}, "expected an integer, got True"),
        ({}, "expected the field 'x', got {}"),
        ({"x": 1, "y": 2}, "expected no field 'y', only x"),
        ([1], "expected an object, got [1]"),
        ("[" * 100_000, "The arguments are not JSON"),
        ('{"x": 1', "The arguments are not JSON"),
        ('{"x": NaN}', "NaN is not JSON"),
        ("__import__('os').system('true')", "The arguments are not JSON"),
        ("null", "expected an object, got None"),
        ('{"x": 1' + "0" * 5000 + "}", "The arguments are not JSON"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_arguments_that_do_not_fit_are_told_to_the_model(arguments, words):
    result = run(call("double", arguments), [double], auto=True)
    assert result.status == "invalid"
    assert words in result.content
    assert result.content.endswith("Call double again with arguments that match.")
    assert isinstance(result.error, SchemaMismatch)
    assert len(result.content) < 600


def test_values_that_only_look_right_are_refused_too():
    def f(x: float = 0.0, day: dt.date | None = None, at: Point | None = None): ...

    for arguments in ({"day": "soon"}, '{"x": 1' + "0" * 400 + "}", {"at": {"x": 1, "z": 2}}):
        assert run(call("f", arguments), [f], auto=True).status == "invalid"


@pytest.mark.parametrize("arguments", ["", None, {}, "{}", " "])
def test_no_arguments_come_in_many_forms(arguments):
    def now() -> str:
        return "noon"

    one = {"id": "1", "function": {"name": "now", "arguments": arguments}}
    assert run(one, [now], auto=True).content == "noon"


@pytest.mark.parametrize(
    "odd", [None, {}, {"function": None}, {"function": {"name": 3}}, [], "x"], ids=str
)
def test_a_call_of_odd_form_is_an_unknown_tool(odd):
    result = run(odd, [double], auto=True)
    assert (result.status, result.arguments) == ("unknown", None)
    assert "only double" in result.content


def test_an_unknown_tool_is_told_with_those_there_are():
    result = run(call("halve"), [double, len], auto=True)
    assert result.content == "There is no tool 'halve', only double, len."
    assert len(run(call("x" * 10_000), [double]).content) < 200


class LoudError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no such city"), "f failed. ValueError: no such city"),
        (KeyError("x"), "f failed. KeyError: 'x'"),
        (SystemExit(3), "f failed. SystemExit: 3"),
        (LoudError(), "f failed. LoudError: no words"),
        (RuntimeError("x" * 9000), "f failed. RuntimeError: xxx"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_tool_that_raises_is_told_to_both_and_kept(error, told):
    def f():
        raise error

    result = run(call("f"), [f], auto=True)
    assert (result.status, result.error) == ("failed", error)
    assert result.content.startswith(told)
    assert len(result.content) <= 2000
    assert "Traceback" not in result.content


def test_an_interrupt_is_not_swallowed():
    def f():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(call("f"), [f], auto=True)


def test_a_confirm_that_fails_is_the_programs_error():
    def confirm(name, arguments):
        raise RuntimeError("the dialog is gone")

    with pytest.raises(RuntimeError, match="dialog"):
        run(call("double", {"x": 1}), [double], confirm)


# ---- results


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ({"größe": [1, None]}, '{"größe": [1, null]}'),
        ([dt.date(2026, 8, 22)], '["2026-08-22"]'),
        ((1, 2), "[1, 2]"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (Point(1, 2), '{"x": 1, "y": 2}'),
        (dt.date(2026, 8, 22), "2026-08-22"),
        (Point, str(Point)),
        ([np.float32(0.1), np.nan, np.int64(2)], "[0.1, null, 2]"),
        ({"ids": {720575940631.0}}, '{"ids": [720575940631]}'),
    ],
    ids=str,
)
def test_a_result_becomes_text(value, text):
    assert as_text(value) == text


def test_an_array_is_not_cut_in_its_middle():
    assert json.loads(as_text(np.arange(2000))) == list(range(2000))


def test_a_list_within_itself_becomes_text():
    loop: list[Any] = [1]
    loop.append(loop)
    assert as_text(loop) == "[1, [...]]"


def test_a_table_is_compact():
    frame = pd.DataFrame({"city": ["Oslo", "Rome"], "people": [700_000, 2_800_000]})
    assert as_text(frame) == "2 rows:\n,city,people\n0,Oslo,700000\n1,Rome,2800000\n"
    ids = pd.DataFrame({"id": [720575940631, None], "x": np.array([0.1, 2], dtype="float32")})
    assert as_text(ids) == "2 rows:\n,id,x\n0,720575940631,0.1\n1,,2\n"
    long = as_text(pd.DataFrame({"n": range(100_000)}))
    assert long.startswith("100,000 rows, the first 30:\n,n\n0,0\n")
    assert len(long) < 300


def test_a_long_result_is_cut_and_the_model_is_told():
    text = as_text("x" * 50_000)
    assert text[LONGEST_RESULT:] == "\n[cut: 30,000 more characters]"


def test_a_result_that_cannot_be_written_is_a_failure():
    class Mute:
        def __str__(self):
            raise ValueError("mute")

    assert run(call("f"), [Tool.from_function(Mute, name="f")], auto=True).status == "failed"


def test_results_are_readable_and_hide_no_status():
    result = run(call("double", {"x": 21}), [double], auto=True)
    assert repr(result) == "ToolResult('double', ok: 42)"
    assert result.duration_s >= 0
    assert dataclasses.replace(result, status="failed") != result
    assert isinstance(result, ToolResult)


# ---- hostile arguments

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


def everything(
    a: int,
    b: float = 0.0,
    c: list[str] | None = None,
    d: Literal["x", 1] = "x",
    e: Unit = Unit.KELVIN,
    f: Point | None = None,
    g: dict[str, int] | None = None,
    h: int | str = 0,
):
    """Take all kinds."""
    assert isinstance(a, int)
    assert isinstance(b, float)
    assert c is None or all(isinstance(one, str) for one in c)
    assert d in ("x", 1)
    assert isinstance(e, Unit)
    assert f is None or isinstance(f, Point)
    assert g is None or all(isinstance(one, int) for one in g.values())
    assert isinstance(h, int | str)
    return "ok"


EVERYTHING = {"everything": Tool.from_function(everything)}


@given(st.text(max_size=60) | values.map(json.dumps) | values)
def test_whatever_the_arguments_are_a_result_comes_back(arguments):
    one = {"id": "1", "function": {"name": "everything", "arguments": arguments}}
    result = run(one, EVERYTHING, auto=True)
    assert result.status in ("ok", "invalid")
    assert isinstance(result.content, str)


@given(st.fixed_dictionaries({"a": values}, optional=dict.fromkeys("bcdefgh", values)))
def test_the_function_only_ever_sees_what_its_hints_say(arguments):
    """Its own assertions would make it fail."""
    assert run(call("everything", arguments), EVERYTHING, auto=True).status in ("ok", "invalid")


@given(
    st.fixed_dictionaries(
        {"a": st.integers(-(10**30), 10**30)},
        optional={
            "b": st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False),
            "c": st.none() | st.lists(st.text()),
            "d": st.sampled_from(["x", 1]),
            "e": st.sampled_from(["C", "K"]),
            "f": st.none() | st.fixed_dictionaries({"x": st.integers(-9, 9)}),
            "g": st.dictionaries(st.text(), st.integers()),
            "h": st.integers() | st.text(),
        },
    )
)
def test_arguments_that_match_reach_the_function(arguments):
    assert run(call("everything", arguments), EVERYTHING, auto=True).status == "ok"
