"""{{name}} in a prompt: what is looked up, what is left alone, and how values are written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ornb.api.reply import Reply
from ornb.errors import ConfigError
from ornb.messages.placeholders import (
    LONGEST_CELL,
    LONGEST_JSON,
    MOST_COLUMNS,
    MOST_ROWS,
    fill_in,
    only_value,
)


@dataclass
class Point:
    x: int = 3

    def norm(self) -> int:
        raise AssertionError("nothing is called")

    @property
    def broken(self) -> int:
        raise RuntimeError("no")


NAMES: dict[str, Any] = {
    "x": 1,
    "y": "{{x}}",
    "größe": 3,
    "row": {"title": "Cats", "a b": "blank", "items": [10, 20]},
    "point": Point(),
    "word": "cat",
    "_promt": "hidden",
    "prompt": "a",
}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        pytest.param("{{x}} and {{ x }}", "1 and 1", id="blanks"),
        pytest.param("\\frac{1}{2} {x} {'a': {}}", "\\frac{1}{2} {x} {'a': {}}", id="single"),
        pytest.param('{{1}} {{}} {{"a": 1}} {{ }}', '{{1}} {{}} {{"a": 1}} {{ }}', id="no name"),
        pytest.param("{{f(n)}} {{a|b}}", "{{f(n)}} {{a|b}}", id="not about a variable"),
        pytest.param("{{y}}", "{{x}}", id="a value is not searched again"),
        pytest.param("{{größe}}", "3", id="any identifier"),
        pytest.param("{{row.title}} {{row['title']}}", "Cats Cats", id="key"),
        pytest.param('{{row["a b"]}} {{ row["items"][-1] }}', "blank 20", id="steps"),
        pytest.param("{{row.items[0]}}", "10", id="a key goes before a method"),
        pytest.param("{{point.x}}", "3", id="attribute"),
        pytest.param("{{word[0]}}", "c", id="letter"),
    ],
)
def test_double_braces_take_a_variable(text: str, filled: str) -> None:
    assert fill_in(text, NAMES).text == filled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{promt}}", "no variable 'promt', so nothing was sent. Did you mean 'prompt'"),
        ("{{zzz.y}}", "no variable 'zzz', so nothing was sent. Double braces"),
        ("{{point.y}}", "cannot take .y of type Point (AttributeError)"),
        ("{{row.titel}}", "Did you mean 'title'"),
        ("{{row['titel']}}", "cannot take ['titel'] of type dict (KeyError)"),
        ("{{word[9]}}", "cannot take [9] of type str (IndexError)"),
        ("{{point.broken}}", "(RuntimeError)"),
        ("{{point.norm()}}", "only names, .attributes and [indices]"),
        ("{{x + 1}}", "only names, .attributes and [indices]"),
        ("{{point.norm}}", "is a function, and none is called"),
    ],
)
def test_what_cannot_be_looked_up_is_one_message(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fill_in(text, NAMES)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text())
def test_any_text_is_filled_or_refused_and_never_evaluated(text: str) -> None:
    assert fill_in(text.replace("{", ""), {}).text == text.replace("{", "")
    try:
        filled = fill_in(f"{{{{point{text}}}}}", {"point": Point()}).text
    except ConfigError:
        return
    assert "norm" not in filled


def test_a_placeholder_alone_gives_the_value_itself() -> None:
    assert only_value(" {{row}} ", NAMES) is NAMES["row"]
    assert only_value("a/{{word}}", NAMES) == "a/cat"
    assert only_value("a/b", NAMES) == "a/b"


# ------------------------------------------------------------------ values


def written(value: Any) -> str:
    return fill_in("{{v}}", {"v": value}).text


def test_a_reply_gives_its_text() -> None:
    assert written(Reply(text="A cat.", model="lab/a")) == "A cat."


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, "ä", None], '[1, "ä", null]'),
        ((1, 2), "[1, 2]"),
        ({"b", "a"}, '["a", "b"]'),
        ({"when": pd.Timestamp("2026-01-02")}, '{"when": "2026-01-02 00:00:00"}'),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (np.arange(3), "[0, 1, 2]"),
        ([np.float64(0.5), np.int64(2)], "[0.5, 2]"),
        (np.float64(0.5), "0.5"),
        ([pd.NA, pd.NaT, np.nan, np.datetime64("NaT")], "[null, null, null, null]"),
        ({np.int64(1): np.bool_(True), None: 0}, '{"1": true, "null": 0}'),
        ([np.array([1, 2]), pd.Index(["a"])], '[[1, 2], ["a"]]'),
        (np.ma.masked_array([1.5, 2.5], [False, True]), "[1.5, null]"),
        (pd.Categorical(["b", None]), '["b", null]'),
        ([Reply(text='A "cat".')], '["A \\"cat\\"."]'),
    ],
)
def test_collections_are_json(value: Any, text: str) -> None:
    assert written(value) == text


def test_a_collection_that_holds_itself_is_text() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert written(circle) == "[[...]]"


@pytest.mark.parametrize(
    "value",
    [
        np.arange(2000),
        pd.Index(range(0, 4000, 2)),
        pd.array(range(2000), dtype="Int64"),
        {(1, 2): np.arange(2000)},
        [pd.DataFrame({"n": range(200)})],
    ],
    ids=["array", "index", "pandas array", "inside", "table inside"],
)
def test_nothing_is_cut_in_its_middle(value: Any) -> None:
    """What ``str`` makes of these has dots there, and nobody is told."""
    assert "..." not in fill_in("{{v}}", {"v": value}, whole=True).text


def test_what_str_may_have_left_out_is_told() -> None:
    class Tensor:
        def __len__(self) -> int:
            return 2000

        def __str__(self) -> str:
            return "[0, 1, ..., 1999]"

    told = "{{v}}: of a Tensor goes what str makes of it, where dots may stand for more."
    assert fill_in("{{v}}", {"v": Tensor()}).notes == (told,)


FIGURES = [
    (720575940631.0, "720575940631"),
    (1234567890.25, "1234567890.25"),
    (98765432109.75, "98765432109.75"),
    (np.float32(0.1), "0.1"),
    (np.float16(0.1), "0.1"),
    (np.float32(123456792), "123456792"),
    (np.float64(1e15), "1000000000000000"),
    (9007199254740993, "9007199254740993"),
    (np.int64(-(2**63)), "-9223372036854775808"),
    (Decimal("1E+5"), "100000"),
    (Decimal("12345678901234567890.10"), "12345678901234567890.10"),
    (0.00000015, "0.00000015"),
    (1e16, "1e+16"),
    (-0.5, "-0.5"),
]


@pytest.mark.parametrize(("figure", "text"), FIGURES)
def test_a_figure_is_the_same_wherever_it_stands(figure: Any, text: str) -> None:
    assert written(figure) == text
    assert written([figure, {"a": figure}]) == f'[{text}, {{"a": {text}}}]'
    column = pd.Series([figure, None], dtype=object)
    assert written(column).splitlines()[2:] == [f"| {text} |", "|  |"]
    assert written(pd.DataFrame({"n": [[figure]]})).splitlines()[2] == f"| [{text}] |"
    index = pd.Index([figure], dtype=object)
    assert written(pd.Series([1], index)).splitlines()[2] == f"| {text} | 1 |"


@pytest.mark.parametrize("dtype", ["float16", "float32", "Float32"])
def test_a_short_float_stays_short(dtype: str) -> None:
    series = pd.Series([0.1, None], dtype=dtype)
    assert written(series).splitlines()[2:] == ["| 0.1 |", "|  |"]
    for value in (series.array, series.to_numpy(), [series.to_numpy()]):
        assert written(value).strip("[]") == "0.1, null"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_reads_back_and_has_no_exponent_that_it_can_do_without(figure: float) -> None:
    for text in (written(figure), written([figure]).strip("[]"), str(json.loads(written(figure)))):
        assert float(text) == figure
    assert ("e" in written(figure)) == (figure != 0 and not 1e-16 <= abs(figure) < 1e16)
    assert len(written(figure)) <= len(repr(figure)) or "e" in repr(figure)
    assert written(pd.DataFrame({"n": [figure]})).splitlines()[2] == f"| {written(figure)} |"


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_reads_back(figure: float) -> None:
    assert np.float32(written(np.float32(figure))) == np.float32(figure)
    assert float(written(figure)) == figure


@pytest.mark.parametrize("value", [Fraction(1, 3), 1 + 2j, float("inf"), Decimal("NaN"), True])
def test_what_is_no_figure_is_as_python_writes_it(value: Any) -> None:
    assert written(value) == str(value)


def test_a_value_that_has_no_text_is_one_message() -> None:
    for value in (10**5000, [10**5000]):
        with pytest.raises(
            ConfigError, match=r"\{\{v\}\}: .* cannot be written .*nothing was sent"
        ):
            written(value)


def test_a_table_is_markdown() -> None:
    frame = pd.DataFrame(
        {"text": ["a|b\nc", None, "x" * 500], "n": [0.1 + 0.2, float("nan"), 128000.0]}
    )
    assert written(frame).splitlines() == [
        "| text | n |",
        "| --- | --- |",
        "| a\\|b c | 0.30000000000000004 |",
        "|  |  |",
        f"| {'x' * 119}… | 128000 |",
    ]


def test_an_index_that_says_something_goes_along() -> None:
    frame = pd.DataFrame({"n": [1]}, index=pd.Index(["a/b"], name="id"))
    assert written(frame).splitlines() == ["| id | n |", "| --- | --- |", "| a/b | 1 |"]
    assert written(frame["n"]) == written(frame)
    grouped = pd.DataFrame({"k": [1], "m": [2], "n": [3]}).set_index(["k", "m"])
    assert written(grouped).splitlines()[0::2] == ["| k / m | n |", "| 1 / 2 | 3 |"]


def test_a_large_table_is_cut_and_both_sides_are_told() -> None:
    frame = pd.DataFrame(np.zeros((1000, 40)))
    filled = fill_in("{{frame}}", {"frame": frame})
    lines = filled.text.splitlines()
    assert len(lines) == MOST_ROWS + 3
    assert lines[0].count("|") == MOST_COLUMNS + 1
    assert lines[-1] == "(20 of 1,000 rows and 12 of 40 columns)"
    assert filled.notes == ("{{frame}}: 20 of 1,000 rows and 12 of 40 columns are sent.",)


def test_cells_that_are_cut_are_told() -> None:
    frame = pd.DataFrame({"text": ["x" * 500, "y" * LONGEST_CELL], "n": [10**150, 1]})
    filled = fill_in("{{frame}}", {"frame": frame.tail(1)})
    assert filled.notes == ()
    filled = fill_in("{{frame}}", {"frame": frame})
    assert filled.notes == ("{{frame}}: 1 cell is cut at 120 characters.",)
    many = pd.concat([frame] * 11)
    told = "{{frame}}: 20 of 22 rows are sent; 10 cells are cut at 120 characters."
    assert fill_in("{{frame}}", {"frame": many}).notes == (told,)


def test_whole_values_are_not_cut() -> None:
    frame = pd.DataFrame(np.zeros((100, 40))).assign(text="x" * 500)
    long = ["x" * LONGEST_JSON] * 3
    filled = fill_in("{{frame}} {{long}}", {"frame": frame, "long": long}, whole=True)
    assert filled.notes == ()
    assert filled.text.count("x" * 500) > 100
    assert len(filled.text.splitlines()) == 102
    assert json.loads(filled.text.partition("\n")[2].rpartition("| ")[2]) == long


@pytest.mark.parametrize("kind", [list, dict])
def test_a_long_collection_is_cut_between_items(kind: type) -> None:
    value: Any = ["word"] * 9000 if kind is list else dict.fromkeys(range(9000), "word")
    filled = fill_in("{{v}}", {"v": value})
    body, left_out = filled.text.rsplit("\n", 1)
    assert isinstance(eval(body), kind)
    assert LONGEST_JSON - 20 < len(body) <= LONGEST_JSON
    assert "of 9,000 items" in left_out
    assert left_out.strip("()") in filled.notes[0]


def test_an_item_that_is_too_long_by_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="its first item alone is more than 20,000"):
        written(["x" * LONGEST_JSON])


def test_text_is_never_cut() -> None:
    assert len(written("x" * 1_000_000)) == 1_000_000
