"""Going on with a conversation that was saved, from whatever file a person has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import nh3
import pytest

from ornb.api.reply import Reply, Timing, Usage
from ornb.errors import ConfigError
from ornb.messages import MIME_TRANSCRIPT, Conversation
from ornb.notebook.chat import Chat
from tests.kept import transcript
from tests.lab import notebook_of


def talk(question: str = "What is a token?", answer: str = "A *piece*.") -> Conversation:
    """A conversation of one question."""
    made = Conversation(system="Be brief.")
    made.add_user(question)
    usage = Usage(22, 9, cost_usd=0.000145)
    made.add_reply(
        Reply(
            text=answer,
            requested_model="openai/gpt-4o-mini",
            model="acme/orbit-2",
            provider="NorthCloud",
            usage=usage,
            timing=Timing(duration_s=1.5),
        )
    )
    return made


def notebook_with(path: Path, *talks: Conversation) -> Path:
    """A notebook in which each conversation is an output."""
    notebook = notebook_of(["chat"] * len(talks))
    for cell, each in zip(notebook.cells, talks, strict=True):
        cell.outputs = [nbformat.v4.new_output("display_data", transcript(each))]
    nbformat.write(notebook, path)
    return path


def words(chat: Chat) -> list[str]:
    return [turn.text for turn in chat.conversation.path]


def test_a_chat_goes_on_from_a_notebook(tmp_path: Path) -> None:
    chat = Chat.reopen(notebook_with(tmp_path / "a.ipynb", talk()))
    assert words(chat) == ["What is a token?", "A *piece*."]
    assert chat.model == "openai/gpt-4o-mini"
    assert chat.conversation.system == "Be brief."
    chat.ask("And then?")
    assert [turn.role for turn in chat.conversation.path] == ["user", "assistant"] * 2
    assert chat.conversation.turns[1].reply == talk().turns[1].reply


def test_a_chat_goes_on_from_a_json_file(tmp_path: Path) -> None:
    path = talk().save(tmp_path / "talk.json")
    assert words(Chat.reopen(path)) == words(Chat.reopen(str(path))) == words(Chat.reopen(talk()))


def test_a_chat_goes_on_from_what_an_output_holds() -> None:
    bundle = transcript(talk())
    output = {"output_type": "display_data", "data": bundle, "metadata": {}}
    for source in (bundle, output, bundle[MIME_TRANSCRIPT], json.dumps(bundle[MIME_TRANSCRIPT])):
        assert words(Chat.reopen(source))[0] == "What is a token?"


def test_of_several_conversations_the_last_is_taken(tmp_path: Path) -> None:
    path = notebook_with(tmp_path / "a.ipynb", talk("first?"), talk("second?"))
    assert words(Chat.reopen(path))[0] == "second?"


@pytest.mark.parametrize(("which", "first"), [(0, "first?"), (1, "second?"), (-2, "first?")])
def test_of_several_conversations_any_can_be_taken(tmp_path: Path, which: int, first: str) -> None:
    path = notebook_with(tmp_path / "a.ipynb", talk("first?"), talk("second?"))
    assert words(Chat.reopen(path, which=which))[0] == first
    assert Conversation.load(path, which).path[0].text == first


@pytest.mark.parametrize("which", [2, -3, 0.0, True, "first"])
def test_a_conversation_that_is_not_there_is_refused_with_how_many_there_are(
    tmp_path: Path, which: Any
) -> None:
    path = notebook_with(tmp_path / "a.ipynb", talk("first?"), talk("second?"))
    with pytest.raises(ConfigError, match=r"a\.ipynb holds 2 conversations; which"):
        Chat.reopen(path, which=which)


def test_a_json_file_holds_one_conversation(tmp_path: Path) -> None:
    path = talk("first?").save(tmp_path / "talk.json")
    assert words(Chat.reopen(path, which=0))[0] == "first?"
    with pytest.raises(ConfigError, match="holds 1 conversation; which=1 is none of 0"):
        Chat.reopen(path, which=1)


def test_what_is_reopened_is_a_copy() -> None:
    source = talk()
    Chat.reopen(source).ask("And then?")
    assert len(source) == 2


def test_another_model_and_system_message_may_take_over(tmp_path: Path) -> None:
    chat = Chat.reopen(talk(), "other/model", system="Be long.", temperature=0)
    assert (chat.model, chat.conversation.system) == ("other/model", "Be long.")
    assert chat.params == {"temperature": 0}


def pieces_of(whole: Conversation, *, row: str = "a") -> list[dict[str, Any]]:
    """Outputs that hold a conversation together, a turn each; only the last knows its end."""
    data = whole.to_json()
    return [
        {MIME_TRANSCRIPT: {**data, "row": row, "piece": n, "turns": [turn], "head": turn["id"]}}
        for n, turn in enumerate(data["turns"])
    ]


def notebook_of_outputs(path: Path, *cells: list[dict[str, Any]]) -> Path:
    notebook = notebook_of(["chat"] * len(cells))
    for cell, bundles in zip(notebook.cells, cells, strict=True):
        cell.outputs = [nbformat.v4.new_output("display_data", each) for each in bundles]
    nbformat.write(notebook, path)
    return path


def test_a_conversation_in_several_outputs_is_read_as_one(tmp_path: Path) -> None:
    first, second = talk("first?"), talk("second?")
    second.add_user("And then?")
    one, other = pieces_of(first), pieces_of(second, row="b")
    mixed = [other[0], one[0], other[2], one[1], other[1]]
    path = notebook_of_outputs(tmp_path / "a.ipynb", mixed, [transcript(talk("third?"))])
    for place, whole in enumerate((second, first, talk("third?"))):
        assert Conversation.load(path, place).to_json() == whole.to_json()


def test_of_a_cell_that_was_copied_with_its_outputs_nothing_is_said_twice(tmp_path: Path) -> None:
    path = notebook_of_outputs(tmp_path / "a.ipynb", pieces_of(talk()), pieces_of(talk()))
    assert Conversation.load(path).to_json() == talk().to_json()
    with pytest.raises(ConfigError, match="holds 1 conversation;"):
        Conversation.load(path, 1)


def test_an_output_that_was_emptied_says_nothing_of_the_end(tmp_path: Path) -> None:
    emptied = {**talk().to_json(), "row": "a", "piece": 2, "turns": [], "head": "17"}
    bundles = [*pieces_of(talk()), {MIME_TRANSCRIPT: emptied}]
    path = notebook_of_outputs(tmp_path / "a.ipynb", bundles)
    assert Conversation.load(path).to_json() == talk().to_json()


@pytest.mark.parametrize("damaged", [None, [], {"row": "a"}, {"row": "a", "piece": 1, "turns": 3}])
def test_a_damaged_piece_of_a_conversation_is_refused(tmp_path: Path, damaged: Any) -> None:
    bundles = [*pieces_of(talk())[:1], {MIME_TRANSCRIPT: damaged}]
    path = notebook_of_outputs(tmp_path / "a.ipynb", bundles)
    with pytest.raises(ConfigError) as refused:
        Conversation.load(path)
    assert "\n" not in str(refused.value)


def test_one_of_several_outputs_alone_is_refused_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"one of several outputs .* give the notebook"):
        Chat.reopen(pieces_of(talk())[1])


DAMAGED: dict[str, Any] = {
    "nothing": "",
    "no JSON": "{",
    "foreign JSON": '{"messages": []}',
    "a list": "[1, 2]",
    "a number": "42",
    "a later version": json.dumps({**talk().to_json(), "version": 99}),
    "turns that are no list": json.dumps({**talk().to_json(), "turns": {}}),
    "a turn that is no object": json.dumps({**talk().to_json(), "turns": [1]}),
    "a head that is not there": json.dumps({**talk().to_json(), "head": "99"}),
    "a parent that comes later": json.dumps(
        {**talk().to_json(), "turns": talk().to_json()["turns"][::-1]}
    ),
    "cut off": json.dumps(talk().to_json())[:-40],
    "nested without end": "[" * 100_000,
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("suffix", [".json", ".ipynb"])
def test_a_file_that_is_no_conversation_is_refused_in_one_line(
    tmp_path: Path, text: str, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        Chat.reopen(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_damaged_conversation_in_a_notebook_is_refused(tmp_path: Path) -> None:
    path = notebook_with(tmp_path / "a.ipynb", talk())
    data = json.loads(path.read_text(encoding="utf-8"))
    data["cells"][0]["outputs"][0]["data"][MIME_TRANSCRIPT]["turns"][0]["role"] = "system"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ConfigError, match="damaged"):
        Chat.reopen(path)


def test_a_notebook_without_a_conversation_says_so(tmp_path: Path) -> None:
    path = notebook_with(tmp_path / "a.ipynb")
    with pytest.raises(ConfigError, match="holds no conversation"):
        Chat.reopen(path)


def test_a_path_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Chat.reopen(tmp_path / "gone.ipynb")


# ------------------------------------------------------------------ where nothing helps the reader

PLAIN_TAGS = {
    *("a", "b", "blockquote", "br", "code", "details", "div", "em", "h3", "h4", "hr", "i", "li"),
    *("ol", "p", "pre", "s", "small", "strong", "summary", "table", "tbody", "td", "th", "thead"),
    *("tr", "ul"),
}
"""What viewers of notebooks on the web let through; no class, no style, no MathML."""


def test_where_classes_styles_and_mathml_are_stripped_all_can_be_read() -> None:
    text = "So $\\frac{a}{b}$:\n\n```python\nx = 1 # one\n```\n\n| a | b |\n|--|-:|\n| 1 | 2 |"
    html = transcript(talk(answer=text), css_class="ornb-static-1")["text/html"]
    bare = nh3.clean(html, tags=PLAIN_TAGS, attributes={"a": {"href"}, "td": {"align"}})
    assert "class=" not in bare
    assert "style" not in bare
    assert ".jp-OutputArea" not in bare
    for piece in (
        "<strong>You</strong>",
        "<blockquote><p>What is a token?</p></blockquote>",
        "<code>\\frac{a}{b}</code>",
        "<pre><code>x = ",
        "<i># one",
        '<td align="right">2</td>',
        "NorthCloud · live · 22 → 9 tokens · $0.00015 billed · 1.50 s",
        "asked for openai/gpt-4o-mini",
        "Chat.reopen",
    ):
        assert piece in bare, piece


def test_the_plain_text_has_all_of_it_too() -> None:
    text = transcript(talk())["text/plain"]
    assert text.startswith("You: What is a token?\n\nacme/orbit-2: A *piece*.\n[NorthCloud · live")


def test_what_was_attached_is_named_or_shown() -> None:
    made = Conversation()
    picture = "data:image/png;base64,iVBORw0KGgo="
    made.add_user(
        [
            {"type": "text", "text": "Look"},
            {"type": "image_url", "image_url": {"url": picture}},
            {"type": "image_url", "image_url": {"url": "https://a.example/cat.png"}},
            {"type": "file", "file": {"filename": "paper.pdf", "file_data": "data:..."}},
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        ]
    )
    html = transcript(made)["text/html"]
    assert f'<img src="{picture}"' in html
    assert html.count("<img") == 1
    for piece in ("Look", "(a.example)", "[paper.pdf]", "[audio]"):
        assert piece in html


def test_tools_and_sources_are_in_what_stays() -> None:
    made = Conversation()
    made.add_user("Weather?")
    call = {"id": "1", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
    page = {"url": "https://a.example/", "title": "A"}
    cited = {"type": "url_citation", "url_citation": page}
    made.add_reply(
        Reply(text="Sunny.", annotations=(cited, cited)),
        steps=[
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "sunny, 20 C"},
        ],
    )
    html = transcript(made)["text/html"]
    assert "weather({&quot;city&quot;: &quot;Bern&quot;})" in html
    assert "→ sunny, 20 C" in html
    assert html.count("(a.example)") == 1
