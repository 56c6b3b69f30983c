from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ornb.api.reply import Reply, Timing, Usage
from ornb.errors import ConfigError
from ornb.messages import COLUMNS, MIME_TRANSCRIPT, Conversation
from tests.kept import transcript

REPLY = Reply(
    text="A *cat*.",
    reasoning="Whiskers.",
    images=("data:image/png;base64,iVBORw0KGgo=",),
    annotations=({"type": "url_citation", "url_citation": {"url": "https://example.org"}},),
    tool_calls=(
        {"id": "call-1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ),
    reasoning_details=({"type": "reasoning.text", "text": "Whiskers."},),
    usage=Usage(prompt_tokens=22, completion_tokens=9, reasoning_tokens=5, cost_usd=0.000145),
    timing=Timing(
        started_at=datetime(2026, 8, 22, 10, 30, tzinfo=UTC),
        time_to_first_token_s=0.4,
        duration_s=2.1,
        connection_reused=True,
    ),
    requested_model="acme/orbit",
    model="acme/orbit-20260302",
    provider="NorthCloud",
    finish_reason="stop",
    generation_id="gen-1",
    http_status=200,
    attempts=1,
    label="chat",
)


def talk(*said: str, system: str | None = None) -> Conversation:
    """Questions, each answered by its own text in capitals."""
    conversation = Conversation(system)
    for text in said:
        conversation.add_user(text)
        conversation.add_reply(Reply(text=text.upper(), model="m"))
    return conversation


def test_a_turn_follows_the_one_before() -> None:
    path = talk("a", "b").path
    assert [turn.parent_id for turn in path] == [None, *[turn.id for turn in path[:-1]]]


def test_going_on_from_an_earlier_turn_keeps_both_branches() -> None:
    conversation = talk("a", "b")
    conversation.go_to(conversation.path[1].id)
    conversation.add_user("c")
    assert [turn.text for turn in conversation] == ["a", "A", "c"]
    assert [turn.text for turn in conversation.turns] == ["a", "A", "b", "B", "c"]


def test_an_answer_can_be_given_again_beside_the_first() -> None:
    conversation = talk("a")
    again = conversation.add_reply(Reply(text="AA"), parent_id=conversation.path[0].id)
    assert [turn.text for turn in conversation] == ["a", "AA"]
    assert again.parent_id == conversation.turns[1].parent_id


def test_branches_stand_side_by_side_and_end_at_their_newest_turn() -> None:
    conversation = talk("a", "b")
    first = conversation.path[0]
    other = conversation.add_user("c", parent_id=None)
    end = conversation.add_reply(Reply(text="C"))
    assert conversation.branches(first) == [first, other] == conversation.branches("5")
    assert conversation.branches(end) == [end]
    assert conversation.tip(first).text == "B"
    assert conversation.tip(other) == end
    with pytest.raises(ConfigError, match="no turn '9'"):
        conversation.branches("9")
    with pytest.raises(ConfigError, match="no turn '9'"):
        conversation.tip("9")


def test_a_listener_hears_of_each_change_until_it_leaves() -> None:
    conversation, heard = Conversation(), []
    leave = conversation.on_change(lambda: heard.append(len(conversation)))
    conversation.add_user("a")
    conversation.add_reply(Reply(text="A"))
    conversation.go_to("1")
    leave()
    conversation.go_to("2")
    assert heard == [1, 2, 1]


CALLED = (
    {"role": "assistant", "content": "Let me see.", "tool_calls": [{"id": "c", "type": "x"}]},
    {"role": "tool", "tool_call_id": "c", "content": "3"},
)


def test_tools_go_back_to_the_model_in_their_place_and_survive_json() -> None:
    conversation = talk("a")
    conversation.add_user("b")
    conversation.add_reply(Reply(text="Let me see.\n\nIt is 3."), steps=CALLED)
    roles = [message["role"] for message in conversation.messages()]
    assert roles == ["user", "assistant", "user", "assistant", "tool", "assistant"]
    assert conversation.messages()[-1]["content"] == "It is 3."
    back = Conversation.from_json(json.dumps(conversation.to_json()))
    assert back.turns == conversation.turns


def test_an_answer_that_ended_with_a_tool_leaves_no_empty_message() -> None:
    conversation = Conversation()
    conversation.add_user("a")
    conversation.add_reply(Reply(text="Let me see.", status="stopped"), steps=CALLED)
    assert [message["role"] for message in conversation.messages()] == ["user", "assistant", "tool"]


def test_a_file_that_was_read_goes_back_so_that_it_is_not_read_again() -> None:
    conversation = talk("a")
    read = {"type": "file", "file": {"hash": "h"}}
    conversation.add_reply(Reply(text="A", annotations=(read, *REPLY.annotations)))
    assert conversation.messages()[-1]["annotations"] == [read]


def test_the_light_copy_cuts_what_is_huge_and_nothing_else() -> None:
    huge = "data:image/png;base64," + "A" * 3_000_001
    small = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    pdf = {"type": "file", "file": {"filename": "paper.pdf", "file_data": huge}}
    conversation = Conversation("Be brief.")
    conversation.add_user([{"type": "text", "text": "w" * 300_000}, small, pdf])
    conversation.add_reply(Reply(text="w" * 300_000, images=(huge, "data:image/png;base64,AAAA")))
    question, answer = conversation.light().path
    text, kept, named = question.content
    assert len(text["text"]) < 3_000
    assert "… 297,500 characters …" in text["text"]
    assert kept == small
    assert named["text"] == "[paper.pdf, 2.3 MB: was sent, and is not kept here]"
    assert answer.text == "w" * 300_000
    assert answer.reply.images == ("data:image/png;base64,AAAA",)
    assert "1 image too large" in answer.reply.note
    assert len(conversation.path[0].text) == 300_000
    light = talk("a", "b")
    assert light.light().turns == light.turns


def test_messages_begin_with_the_system_message() -> None:
    assert talk("a", system="Be brief.").messages() == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "A"},
    ]


def test_a_question_without_an_answer_is_not_sent_again() -> None:
    conversation = talk("a")
    conversation.add_user("refused")
    conversation.add_reply(Reply(status="error", error="No."))
    conversation.add_user("b")
    assert [message["content"] for message in conversation.messages()] == ["a", "A", "b"]


def test_a_stopped_answer_is_sent_as_far_as_it_came() -> None:
    conversation = Conversation()
    conversation.add_user("a")
    conversation.add_reply(Reply(text="half", status="stopped"))
    assert conversation.messages()[-1] == {"role": "assistant", "content": "half"}


def test_parts_of_a_content_pass_through() -> None:
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "x"}}]
    conversation = Conversation()
    assert conversation.add_user(parts).text == "What?"
    assert conversation.messages()[0]["content"] == parts


def test_an_unknown_parent_is_refused() -> None:
    with pytest.raises(ConfigError, match="no turn '7'"):
        Conversation().add_user("a", parent_id="7")


# ------------------------------------------------------------------ JSON


def test_everything_said_about_an_answer_survives_json() -> None:
    conversation = Conversation("Be brief.")
    conversation.add_user("What is it?")
    conversation.add_reply(REPLY)
    back = Conversation.from_json(json.dumps(conversation.to_json()))
    assert back.turns == conversation.turns
    assert back.turns[1].reply == REPLY
    assert back.system == "Be brief."


def test_the_active_branch_survives_json() -> None:
    conversation = talk("a", "b")
    conversation.go_to(conversation.path[1].id)
    back = Conversation.from_json(conversation.to_json())
    assert [turn.text for turn in back] == ["a", "A"]
    assert back.add_user("c").id not in {turn.id for turn in conversation.turns}


def test_a_key_of_a_later_minor_change_is_kept() -> None:
    data = talk("a").to_json()
    data["title"] = "Lesson"
    data["turns"][0]["starred"] = True
    back = Conversation.from_json(data).to_json()
    assert back["title"] == "Lesson"
    assert back["turns"][0]["starred"] is True


def damaged(**changes: Any) -> dict[str, Any]:
    data = json.loads(json.dumps(talk("a").to_json()))
    data.update({name: value for name, value in changes.items() if name in data})
    for name, value in changes.items():
        if name not in data:
            data["turns"][1][name] = value
    return data


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param("not json", "not JSON", id="text"),
        pytest.param("[" * 100_000, "not JSON", id="nesting"),
        pytest.param("[1]", '"format" is missing', id="list"),
        pytest.param({"cells": []}, '"format" is missing', id="notebook"),
        pytest.param(damaged(format="other"), "\"format\" is 'other'", id="other format"),
        pytest.param(damaged(version=2), "Update ornb", id="later version"),
        pytest.param(damaged(version="1"), "version is '1'", id="version as text"),
        pytest.param(damaged(turns={}), "not a list", id="turns"),
        pytest.param(damaged(head="9"), "no turn '9'", id="head"),
        pytest.param(damaged(system=1), "system is 1", id="system"),
        pytest.param(damaged(id="1"), "ids are unique", id="id twice"),
        pytest.param(damaged(parent_id="9"), "parents come first", id="parent"),
        pytest.param(damaged(role="system"), "role is 'system'", id="role"),
        pytest.param(damaged(content=3), "content is 3", id="content"),
        pytest.param(damaged(content=["x"]), "content is", id="content parts"),
        pytest.param(damaged(reply=3), "reply is 3", id="reply"),
        pytest.param(damaged(reply={"model": 3}), "model is 3", id="model"),
        pytest.param(
            damaged(reply={"usage": {"prompt_tokens": "9"}}), "prompt_tokens is '9'", id="tokens"
        ),
        pytest.param(
            damaged(reply={"usage": {"cost_usd": float("nan")}}), "cost_usd is nan", id="cost"
        ),
        pytest.param(
            damaged(reply={"timing": {"started_at": "yesterday"}}), "'yesterday'", id="time"
        ),
        pytest.param(
            damaged(reply={"timing": {"started_at": "2026-08-22"}}), "2026-08-22", id="naive time"
        ),
        pytest.param(damaged(reply={"images": [1]}), "images is", id="images"),
        pytest.param(damaged(steps=[1]), "steps is", id="steps"),
        pytest.param(damaged(steps=[{"role": "system"}]), "steps is", id="role of a step"),
    ],
)
def test_a_foreign_or_damaged_transcript_is_refused(source: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Conversation.from_json(source)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
words = ["id", "parent_id", "role", "content", "reply", "usage", "timing", "model", "images"]
replies = st.dictionaries(st.sampled_from(words), json_values, max_size=6)
turn_likes = st.dictionaries(st.sampled_from(words), json_values | replies, max_size=6)


@settings(deadline=None)
@given(st.lists(turn_likes, max_size=4), json_values, json_values)
def test_any_json_is_read_or_refused_but_never_half_read(
    turns: list[Any], head: Any, system: Any
) -> None:
    source = {"format": "ornb.transcript", "version": 1, "turns": turns}
    source |= {"head": head, "system": system}
    try:
        conversation = Conversation.from_json(source)
    except ConfigError:
        return
    transcript(conversation)
    conversation.messages()
    assert len(conversation.df) == len(conversation)


@pytest.mark.parametrize("content", [None, 5, b"Hi", ["Hi"], {"type": "text"}], ids=str)
def test_what_is_neither_text_nor_parts_becomes_no_turn(content: Any) -> None:
    conversation = Conversation()
    with pytest.raises(ConfigError, match="neither a text nor a list of parts"):
        conversation.add_user(content)
    assert conversation.turns == []


def test_what_is_no_path_is_told() -> None:
    for source in (None, 5, b"{}"):
        with pytest.raises(ConfigError, match="holds no conversation"):
            Conversation.load(source)  # type: ignore[arg-type]


def test_a_file_and_a_notebook_give_the_conversation_back(tmp_path: Path) -> None:
    conversation = talk("a", "é\u2028")
    conversation.save(tmp_path / "talk.json")
    with pytest.raises(ConfigError, match="cannot be written"):
        conversation.save(tmp_path / "no" / "talk.json")
    for path in ("", "a\0b"):
        with pytest.raises(ConfigError, match="cannot be written"):
            conversation.save(path)
    notebook = {
        "cells": [
            {"cell_type": "markdown", "source": ""},
            {
                "cell_type": "code",
                "outputs": [
                    {"output_type": "stream", "text": "x"},
                    {"output_type": "display_data", "data": transcript(talk("older"))},
                    {"output_type": "display_data", "data": transcript(conversation)},
                ],
            },
        ]
    }
    (tmp_path / "saved.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    for name in ("talk.json", "saved.ipynb"):
        assert Conversation.load(tmp_path / name).turns == conversation.turns


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["TALK.JSON", "LESSON.IPYNB", "lesson.ipynb"])
def test_files_of_other_machines_are_read(tmp_path: Path, name: str, encoding: str) -> None:
    """Windows' editors begin a file with a byte order mark, and its disks know no case."""
    data = talk("größer").to_json()
    if name.lower().endswith("ipynb"):
        data = {"cells": [{"outputs": [{"data": {MIME_TRANSCRIPT: data}}]}]}
    (tmp_path / name).write_text(json.dumps(data, ensure_ascii=False), encoding=encoding)
    assert Conversation.load(tmp_path / name).turns == talk("größer").turns


def test_text_may_begin_with_a_byte_order_mark() -> None:
    text = "\ufeff" + json.dumps(talk("a").to_json())
    for source in (text, text.encode()):
        assert Conversation.from_json(source).turns == talk("a").turns


@pytest.mark.parametrize(
    ("name", "content"),
    [("none.json", None), ("x.ipynb", "{}"), ("y.ipynb", '{"cells": []}'), ("z.ipynb", "[")],
)
def test_a_file_without_a_conversation_is_refused(
    tmp_path: Path, name: str, content: str | None
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=r"cannot be read|no conversation|not a notebook"):
        Conversation.load(tmp_path / name)


# ------------------------------------------------------------------ tables and outputs


def test_the_table_has_the_documented_columns_and_types() -> None:
    conversation = Conversation()
    conversation.add_user("What is it?")
    conversation.add_reply(REPLY)
    for frame in (conversation.df, Conversation().df):
        assert dict(frame.dtypes.astype(str)) == COLUMNS
    answer = conversation.df.iloc[1]
    assert (answer["completion_tokens"], answer["cost_usd"]) == (9, 0.000145)
    assert str(answer["started_at"]) == "2026-08-22 10:30:00+00:00"


def test_half_a_character_is_an_unknown_one_in_the_table() -> None:
    conversation = Conversation()
    conversation.add_user("A \ud83d")
    conversation.add_reply(Reply(text="\ude00 B"))
    assert conversation.df["content"].tolist() == ["A \ufffd", "\ufffd B"]


def test_the_output_that_stays_can_be_read_by_people_and_by_programs() -> None:
    conversation = Conversation("Be brief.")
    conversation.add_user("<b>What</b>?\nHm.")
    conversation.add_reply(REPLY)
    output = transcript(conversation, css_class="ornb-static-1")
    assert "text/markdown" not in output
    assert "&lt;b&gt;What&lt;/b&gt;?<br>" in output["text/html"]
    assert "<em>cat</em>" in output["text/html"]
    assert "NorthCloud · live · 22 → 9 tokens" in output["text/html"]
    assert "2026-08-22 10:30 UTC" in output["text/plain"]
    assert Conversation.from_json(output[MIME_TRANSCRIPT]).turns == conversation.turns


def test_what_a_person_types_is_shown_as_typed() -> None:
    conversation = Conversation("<script>alert(1)</script>")
    conversation.add_user("<script>alert(1)</script> \ud83d")
    conversation.add_reply(Reply(text="", model="<script>", error="<script>", provider="<script>"))
    assert "<script" not in transcript(conversation)["text/html"]
