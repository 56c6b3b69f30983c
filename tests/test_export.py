"""Conversations as Markdown, JSON and a notebook."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ornb.api.reply import Reply
from ornb.errors import ConfigError
from ornb.messages import Conversation
from ornb.text import export
from ornb.text.markdown import render
from ornb.text.writer import fenced, literal, rewritten
from tests import hostile
from tests.lab import run_headless
from tests.test_lasting import talk
from tests.test_rendering import FRAGMENTS, REFERENCES, documents

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

CARELESS = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
SENTINEL = "sk-or-v1-5entine1"


def as_text(html: str) -> str:
    """What a reader reads, and what is code or emphasised, whatever the elements."""
    html = re.sub(r"</?span>| class=\"[^\"]*\"|<small.*?</small>", "", html)
    return re.sub(r"\s+", " ", re.sub(r"\s+(?=</code>)", "", html))


PLAIN = [piece for piece in FRAGMENTS if not re.search(r"[$<&!`]|\\[\[\]]", piece)]
PLAIN += ["`code` here", "~~~py\nx = 1\n~~~", "1. x\n   ~~~\n   a\n\n   b\n   ~~~\n2. y"]


@settings(max_examples=500, deadline=None)
@given(documents(PLAIN + REFERENCES[:1] + REFERENCES[2:]))
def test_what_is_written_anew_means_the_same(text: str) -> None:
    again = rewritten(text)
    assert as_text(render(again)) == as_text(render(text))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        pytest.param("# A\n\nB\n---", "#### A\n\n##### B", id="headings stand below ours"),
        pytest.param("a\n- b\n  1. c\n     d", "a\n\n- b\n  1. c\n     d", id="nested lists"),
        pytest.param("> a\n> > b", "> a\n>\n> > b", id="quotations"),
        pytest.param(
            "|a|b|\n|-|-:|\n|`x\\|y`|2|",
            "| a | b |\n| --- | --: |\n| <code>x&#124;y</code> | 2 |",
            id="tables",
        ),
        pytest.param("~~~python\n```\n~~~", "````python\n```\n````", id="fences"),
        pytest.param("```mermaid\ngraph\n```", "```text\ngraph\n```", id="diagrams are text"),
        pytest.param("$$\na<b\n$$", r"$$a\lt b$$", id="formulas"),
        pytest.param(
            "from $5 to $10", "from <span>&#36;</span>5 to <span>&#36;</span>10", id="money"
        ),
        pytest.param("`a` `<b>`", "`a` <code>&#60;b&#62;</code>", id="code"),
        pytest.param("a_b _c_", "a_b _c_", id="underscores"),
        pytest.param("1\\. a", "1\\. a", id="no list"),
        pytest.param("[a](https://b.c/<d>)", "[a](<https://b.c/%3Cd%3E>)", id="links"),
        pytest.param("[https://a.b](https://b.c)", "[https://a.b](<https://b.c>) (b.c)", id="host"),
        pytest.param("<https://b.c>", "<https://b.c>", id="autolinks"),
        pytest.param("![a](https://b.c/d)", "(image “a”: <https://b.c/d>)", id="images"),
        pytest.param("a  \nb", "a\\\nb", id="line breaks"),
    ],
)
def test_an_answer_is_written_as(text: str, written: str) -> None:
    assert rewritten(text, below=3) == written


class Elements(HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.links: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag} | {f"{tag} {name}" for name, _ in attrs}
        self.links |= {value or "" for name, value in attrs if name == "href"}


HARMLESS = {
    *("a", "a href", "blockquote", "br", "code", "code class", "details", "em", "h1", "h2", "h3"),
    *("h4", "h5", "h6", "hr", "li", "ol", "ol start", "p", "pre", "s", "span", "strong", "sub"),
    *("summary", "table", "tbody", "td", "td style", "th", "th style", "thead", "tr", "ul"),
}


@pytest.mark.parametrize("name", hostile.HOSTILE)
def test_a_hostile_answer_is_harmless_where_html_is_let_through(name: str) -> None:
    made = talk(hostile.HOSTILE[name], hostile.HOSTILE[name])
    page = Elements(CARELESS.render(export.to_markdown(made)))
    assert page.found <= HARMLESS, page.found - HARMLESS
    assert all(re.match("https?://|mailto:", link) for link in page.links), page.links


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([*hostile.HOSTILE.values(), *FRAGMENTS]), max_size=6),
    st.sampled_from(["\n", "\n\n", " ", ""]),
)
def test_hostile_answers_mixed_are_harmless_too(pieces: list[str], between: str) -> None:
    page = Elements(CARELESS.render(export.to_markdown(talk(answer=between.join(pieces)))))
    assert page.found <= HARMLESS, page.found - HARMLESS
    assert all(re.match("https?://|mailto:", link) for link in page.links), page.links


@pytest.mark.parametrize("text", ["`", "```", "````\n```", "\n", " x ", "\u202e", ""])
def test_a_fence_holds_whatever_is_in_it(text: str) -> None:
    tokens = CARELESS.parse(fenced(text))
    assert [token.type for token in tokens] == ["fence"]


@given(st.text())
def test_a_literal_is_one_line_of_text(text: str) -> None:
    tokens = CARELESS.parse(f"### {literal(text)}")
    assert [token.type for token in tokens] == ["heading_open", "inline", "heading_close"]
    kinds = {child.type for child in tokens[1].children or []}
    assert kinds <= {"text", "text_special", "html_inline"}


# ------------------------------------------------------------------ the whole conversation


def test_markdown_has_every_turn_and_its_facts() -> None:
    text = export.to_markdown(talk())
    assert text.startswith("> System: Be brief.\n\n### You\n\n> What is a token?\n\n")
    assert "### acme/orbit-2\n\nA *piece*.\n\n<sub>NorthCloud · live · 22 → 9 tokens" in text
    assert "1.50 s · asked for openai/gpt-4o-mini</sub>\n" in text


def test_a_prompt_of_several_lines_is_kept_to_the_letter() -> None:
    prompt = "def f():\n    return '''\n```\n'''"
    assert f"````text\n{prompt}\n````" in export.to_markdown(talk(prompt))


def test_the_same_conversation_gives_the_same_bytes(tmp_path: Path) -> None:
    for suffix in export.SUFFIXES:
        first = export.save(talk(), tmp_path / f"a{suffix}").read_bytes()
        again = Conversation.from_json(talk().to_json())
        assert export.save(again, tmp_path / f"b{suffix}").read_bytes() == first


def test_json_comes_back(tmp_path: Path) -> None:
    path = export.save(talk(), tmp_path / "a.json")
    text = export.to_json(talk())
    assert Conversation.load(path).turns == Conversation.from_json(text).turns == talk().turns


def test_a_notebook_is_valid_and_goes_on_when_it_is_run(tmp_path: Path) -> None:
    odd = "'''\\n\"\"\" {x} \ud83d\u2028 😀 %%bash\n!ls\n"
    made = talk(odd, odd)
    path = export.save(made, tmp_path / "talk.ipynb")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    notebook.cells.append(nbformat.v4.new_code_cell("print([t.text for t in chat.conversation])"))
    done = run_headless(notebook, tmp_path)
    assert done.cells[-1].outputs[-1].text.strip() == repr(
        [turn.text for turn in Conversation.from_json(made.to_json())]
    )


def test_no_key_is_in_any_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", SENTINEL)
    for suffix in export.SUFFIXES:
        assert SENTINEL not in export.save(talk(), tmp_path / f"a{suffix}").read_text("utf-8")


def test_a_suffix_that_says_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.md \(Markdown\), \.json"):
        export.save(talk(), tmp_path / "talk.pdf")


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        export.save(talk(), tmp_path / "no" / "talk.md")


def test_what_went_wrong_and_what_was_thought_is_in_the_markdown() -> None:
    made = Conversation()
    made.add_user(
        [{"type": "text", "text": "Look"}, {"type": "file", "file": {"filename": "a.pdf"}}]
    )
    call = {"function": {"name": "f", "arguments": "{}"}}
    made.add_reply(
        Reply(reasoning="Hm.", status="error", error="Cut *off*.", images=("data:x",)),
        steps=[{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "42"}],
    )
    text = export.to_markdown(made)
    for piece in (
        "> [file a.pdf",
        "Hm.",
        "f({})",
        "\n42\n",
        "**Cut \\*off\\*.**",
        "images made",
    ):
        assert piece in text, piece


def test_sources_are_numbered_links_with_their_host() -> None:
    made = Conversation()
    page = {"url": "https://a.example/b*c", "title": "A [x](javascript:y) <b>", "end_index": 6}
    cited = {"type": "url_citation", "url_citation": page}
    made.add_reply(Reply(text="Sunny.", annotations=(cited,)))
    text = export.to_markdown(made)
    assert "Sunny.[1]" in text.replace("&#93;", "]")
    assert "](<https://a.example/b%2Ac>) (a.example)" in text
    assert Elements(CARELESS.render(text)).links == {"https://a.example/b%2Ac"}


def test_an_empty_conversation_is_exported_too(tmp_path: Path) -> None:
    assert export.to_markdown(Conversation()) == "No messages yet.\n"
    assert len(export.to_notebook(Conversation())["cells"]) == 3
    assert json.loads(export.to_json(Conversation()))["turns"] == []


def test_a_chat_is_saved_and_gone_on_with(tmp_path: Path) -> None:
    from ornb.notebook.chat import Chat

    chat = Chat("openai/gpt-4o-mini", system="Be brief.")
    chat.ask("What is a token?")
    again = Chat.reopen(chat.save(tmp_path / "talk.json"))
    assert [turn.text for turn in again.conversation.path] == [
        turn.text for turn in chat.conversation.path
    ]
    assert again.ask("And a word?").status == "ok"
    for one in (chat, again):
        one.close()


@pytest.mark.skipif(resource is None, reason="no limits on this system")
@pytest.mark.parametrize("name", ["talk.json", "talk.md", "talk.ipynb"])
def test_a_full_disk_does_not_cost_what_was_written_before(name: str, tmp_path: Path) -> None:
    path, conversation = tmp_path / name, talk()
    export.save(conversation, path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(ConfigError, match="cannot be written"):
            export.save(conversation, path)
        with pytest.raises(ConfigError, match="cannot be written"):
            conversation.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [name]
