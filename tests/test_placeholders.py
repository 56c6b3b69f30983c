"""{{name}} in a prompt: what is looked up, what is left alone, and how values are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ornb.errors import ConfigError
from ornb.placeholders import LONGEST_JSON, MOST_COLUMNS, MOST_ROWS, fill_in, only_value
from ornb.wire.reply import Reply


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
    ],
)
def test_collections_are_json(value: Any, text: str) -> None:
    assert written(value) == text


def test_a_collection_that_holds_itself_is_text() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert written(circle) == "[[...]]"


def test_an_array_is_never_cut_in_its_middle() -> None:
    """What ``str`` makes of one has dots there, and nobody is told."""
    assert "..." not in written(np.arange(2000))


def test_a_table_is_markdown() -> None:
    frame = pd.DataFrame(
        {"text": ["a|b\nc", None, "x" * 500], "n": [0.1 + 0.2, float("nan"), 128000.0]}
    )
    assert written(frame).splitlines() == [
        "| text | n |",
        "| --- | --- |",
        "| a\\|b c | 0.3 |",
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
