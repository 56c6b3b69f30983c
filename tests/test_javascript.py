"""What the widgets' JavaScript computes, and that its types hold; browsers say what it draws."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ornb import catalog
from ornb.api.reply import Event
from ornb.notebook.live import LiveAnswer
from ornb.notebook.picker import COLUMNS, FILTERS, ModelPicker
from tests.javascript import CALLS, SCRIPTS, deno
from tests.test_picker import MODELS, from_code, ids
from tools.house import javascript_functions


def test_its_types_hold() -> None:
    with deno("check", *SCRIPTS, CALLS, stderr=subprocess.STDOUT) as process:
        told, _ = process.communicate()
    assert process.returncode == 0, told


def test_a_wrong_type_is_found(tmp_path: Any) -> None:
    wrong = tmp_path / "wrong.js"
    wrong.write_text("/** @type {Nowhere} */\nexport const one = 1;\n", encoding="utf-8")
    with deno("check", wrong, stderr=subprocess.STDOUT) as process:
        told, _ = process.communicate()
    assert process.returncode == 1
    assert "Cannot find name 'Nowhere'" in told


def test_no_function_is_longer_than_80_lines() -> None:
    functions = javascript_functions()
    assert len(functions) > 200
    assert [each for each in functions if each[0] > 80] == []


# ------------------------------------------------------------------ the picker's filters and order

CASES: list[dict[str, Any]] = [
    {},
    {"batch": True},
    {"search": "  ORBIT\tmini "},
    {"search": "STRASSE"},
    {"search": "grosse"},
    {"search": "σίσυφοσ ärzte"},
    {"search": "rocket2"},
    {"search": "lab/rocket-2"},
    {"search": "orbit.mini"},
    {"search": "coding"},
    {"search": "acme coding"},
    {"search": "-"},
    {"search": "onerror=alert(1)>'\""},
    {"free": True},
    {"free": False, "routers": False},
    {"tools": True, "reasoning": True},
    {"tools": False, "aliases": False},
    {"structured_outputs": False},
    {"min_context": 131_072},
    {"min_context": 0},
    {"accepts": ["image"]},
    {"accepts": ["image", "audio"]},
    {"returns": ["image", "text"]},
    {"parameters": ["seed", "max_tokens"]},
    {"max_prompt_usd_per_million": 0.0375},
    {"max_completion_usd_per_million": 0},
    {"max_completion_usd_per_million": 1e9},
    {"family": ["rocket", "ROUTER"]},
    {"author": ["LAB", "strange"], "batch": True},
]


def shown(javascript: Any, picker: ModelPicker, table: Any = None) -> list[str]:
    """The ids that the page shows of a picker; it keeps the table that it got last."""
    state = picker.get_state()
    filters = {name: state[name] for name in FILTERS}
    listed: list[str] = javascript("matches", filters, state["sort"], table)
    return listed


def test_the_page_finds_just_what_python_finds_whatever_the_filters(javascript: Any) -> None:
    picker = ModelPicker(MODELS)
    table = picker.get_state()["_table"]
    for filters in CASES:
        picker.filters = filters
        assert shown(javascript, picker, table) == ids(picker.matches) == ids(from_code(picker))


def test_the_page_sorts_as_pandas_does_by_every_column(javascript: Any) -> None:
    picker = ModelPicker(MODELS)
    table = picker.get_state()["_table"]
    for column in ("match", *COLUMNS):
        for ascending in (True, False):
            picker.sort = (column, ascending)
            found = shown(javascript, picker, table)
            assert found == ids(picker.matches), (column, ascending)


def test_every_recorded_catalogue_is_sorted_and_searched_alike(
    javascript: Any, shared_data: Any
) -> None:
    path = shared_data / "catalogs" / "catalog-2026-08-22.json"
    picker = ModelPicker(catalog.to_frame(json.loads(path.read_bytes())))
    shown(javascript, picker, picker.get_state()["_table"])
    for words in ("claude", "4 mini", "ai:", "é", "free", "gpt4", "gpt-4o", "claude35", "coding"):
        for column in ("match", *COLUMNS):
            picker.search, picker.sort = words, (column, False)
            assert shown(javascript, picker) == ids(picker.matches), (words, column)


def test_the_page_proposes_what_python_proposes(javascript: Any, shared_data: Any) -> None:
    path = shared_data / "catalogs" / "catalog-2026-08-22.json"
    models = catalog.to_frame(json.loads(path.read_bytes()))
    javascript("matches", dict.fromkeys(FILTERS) | {"search": ""}, ["match", False],
               ModelPicker(models).get_state()["_table"])  # fmt: skip
    meant = {"anthropc": "anthropic", "Gemni flash": "gemini flash", "mistarl": "mistral",
             "claude": "", "zzzzzz": "", "xq": "", "gpt 😀emini": "gpt gemini"}  # fmt: skip
    for search, proposed in meant.items():
        notes = catalog.filter_models(models, search=search).attrs["notes"]
        said = [f"Nothing fits {search!r}. Did you mean {proposed!r}?"] if proposed else []
        assert [note for note in notes if "Nothing fits" in note] == said
        assert javascript("meant", search) == proposed


# ------------------------------------------------------------------ answers on their way


@given(st.lists(st.text(st.sampled_from("a *_`#|-<>&\n😀é$[]()"), min_size=1, max_size=12)))
def test_an_answer_grows_in_the_page_as_it_did_in_the_kernel(
    javascript: Any, pieces: list[str]
) -> None:
    kernel, changes = LiveAnswer(), []
    page = {"html": "", "tail": "", "think": ""}
    for place, piece in enumerate(pieces):
        kernel.add(Event("reasoning" if place % 3 == 2 else "text", piece))
        changes.append(kernel.patch())
        page = javascript("grow", page, changes[-1])
        assert page == kernel.snapshot()
    page = javascript("grow", page, kernel.finish())
    assert page == kernel.snapshot()
    assert page["tail"] == ""


def told(*news: dict[str, Any], turns: Any = ()) -> list[dict[str, Any]]:
    """Everything, and then what is new, numbered."""
    whole = {"type": "state", "page": "p", "turns": list(turns), "live": None}
    return [{**message, "seq": number} for number, message in enumerate([whole, *news], 7)]


ASKED = {"type": "asked", "after": None, "turns": [{"id": "1", "role": "user", "text": "Hi"}]}
A = {"type": "delta", "keep": 0, "add": "A", "end": 0, "done": 0}


def test_a_message_before_everything_was_told_is_a_gap(javascript: Any) -> None:
    assert javascript("take", told(A)[1])["taken"] == ["gap"]


def test_a_message_that_is_missed_is_a_gap_and_one_that_came_already_is_nothing(
    javascript: Any,
) -> None:
    whole, asked, delta = told(ASKED | {"live": {}}, A)
    assert javascript("take", whole, delta)["taken"] == ["state", "gap"]
    came = javascript("take", whole, asked, asked, delta, delta)
    assert came["taken"] == ["state", "asked", "", "delta", ""]
    assert came["state"]["live"]["tail"] == "A"


def test_an_answer_that_ends_is_a_turn_under_the_key_it_was_written_with(javascript: Any) -> None:
    done = {"type": "done", "turn": {"id": "2", "role": "assistant"}, "change": A}
    state = javascript("take", *told(ASKED | {"live": {}}, A))["state"]
    after = javascript("take", *told(ASKED | {"live": {}}, A, done))["state"]
    assert after["live"] is None
    assert [turn["key"] for turn in after["turns"]] == [
        state["turns"][0]["key"],
        state["live"]["key"],
    ]


def test_another_branch_keeps_what_both_have_in_common(javascript: Any) -> None:
    said = [{"id": str(n), "role": "user" if n % 2 else "assistant"} for n in (1, 2, 3)]
    path = {"type": "path", "after": "1", "turns": [{"id": "4", "role": "assistant"}]}
    state = javascript("take", *told(path, turns=said))["state"]
    assert [turn["id"] for turn in state["turns"]] == ["1", "4"]
    assert state["moved"] == "4"


def test_what_was_typed_is_let_go_when_it_is_asked_and_kept_when_it_is_refused(
    javascript: Any,
) -> None:
    refused = {"type": "refused", "text": "Not now."}
    assert javascript("take", *told(refused))["state"]["refused"] == "Not now."
    asked = javascript("take", *told(refused, ASKED | {"live": {}}))["state"]
    assert (asked["refused"], asked["sending"], asked["stopping"]) == ("", "", False)


@pytest.mark.parametrize("kind", ["pong", "of tomorrow"])
def test_a_message_of_no_known_kind_changes_nothing(javascript: Any, kind: str) -> None:
    assert javascript("take", *told({"type": kind}))["taken"] == ["state", ""]
