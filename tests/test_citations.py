"""Footnotes: each source once, marks that harm no Markdown, nothing hostile in titles or links."""

from __future__ import annotations

import json
import re
import time

import pytest
from cassettes import exchanges
from hypothesis import given
from hypothesis import strategies as st

from ornb.text.citations import LONGEST_TITLE, MOST_SOURCES, Footnote, footnotes
from ornb.text.markdown import render

URL = "https://example.org/a"


def cite(url=URL, end=0, title="A page", start=0):
    inside = {"url": url, "title": title, "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": inside}


def marked(text, *ends):
    """The text with a source of its own at each place."""
    return footnotes([cite(f"{URL}{n}", end) for n, end in enumerate(ends)], text)[0]


def test_a_mark_goes_where_its_citation_ends():
    text, notes = footnotes([cite(end=9)], "Cats purr. Dogs do not.")
    assert text == "Cats purr[1]. Dogs do not."
    assert notes == [Footnote(1, "A page", URL, "example.org")]


def test_sources_are_numbered_as_they_come_and_each_address_once():
    cited = [cite("https://b.org/", 4), cite("https://a.org/", 9), cite("https://b.org/", 9)]
    text, notes = footnotes(cited, "Cats purr. They do.")
    assert text == "Cats[1] purr[1][2]. They do."
    assert [note.host for note in notes] == ["b.org", "a.org"]


@pytest.mark.parametrize("end", [0, -1, 10_000, None, "4", True, 4.0], ids=repr)
def test_without_a_valid_place_the_mark_goes_to_the_end(end):
    assert marked("Cats purr.\n", end) == "Cats purr.\n\n[1]"


def test_marks_that_the_model_wrote_itself_are_not_repeated():
    assert marked("Cats purr [1][2].", 0, 0, 0) == "Cats purr [1][2].\n\n[3]"


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        pytest.param("Cats purring.", 7, "Cats purring[1].", id="a word is not cut"),
        pytest.param("Cats.  Dogs.", 7, "Cats.[1]  Dogs.", id="no mark begins a sentence"),
        pytest.param(
            "See [a](https://a.org/b). X", 12, "See [a](https://a.org/b)[1]. X", id="a link"
        ),
        pytest.param("Use `a b c` here", 7, "Use `a b c`[1] here", id="code in a line"),
        pytest.param("So $a + b$ holds", 6, "So $a + b$[1] holds", id="math"),
        pytest.param("At https://a.org/bc now", 10, "At https://a.org/bc [1] now", id="an address"),
        pytest.param("Cats (big) purr", 4, "Cats[1] (big) purr", id="before a space"),
        pytest.param("f(x) is", 1, "f[1] (x) is", id="no link with what follows"),
        pytest.param("| a | b |\n|---|---|\n| c | d |", 29, None, id="a row of a table"),
        pytest.param("| a |\n|---|\n| b |", 11, "| a |\n|---|\n| b |\n\n[1]", id="a table's rule"),
        pytest.param("Up\n\n```\nx = 1\n```\n", 10, "Up\n\n```\nx = 1\n```\n\n[1]", id="code"),
        pytest.param("Up\n\n```\nx = 1\n```", 17, "Up\n\n```\nx = 1\n```\n\n[1]", id="a fence"),
        pytest.param("Up\n\n```\nx = 1", 10, "Up\n\n```\nx = 1", id="code cut short"),
    ],
)
def test_marks_leave_markdown_whole(text, end, expected):
    expected = "| a | b |\n|---|---|\n| c | d[1] |" if expected is None else expected
    assert marked(text, end) == expected


def test_a_link_definition_in_the_text_cannot_take_over_a_mark():
    text = marked("Cats purr.\n\n[1]: https://evil.example/", 9)
    assert text.startswith(r"Cats purr\[1\].")


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "//example.org",
        "https://",
        "https://a b.org",
        'https://a.org/"onclick="x',
        "https://a.org/\u202egro.elgoog",
        "http://[::1",
        "https://a.org/" + "x" * 3000,
        None,
        {"url": 1},
        "https://0x7f.1/",
        "http://2130706433/",
        "https://%65vil.example/",
        "https://good.example%2eevil.example/",
        "https:evil.example",
    ],
    ids=lambda url: str(url)[:20],
)
def test_only_web_addresses_become_sources(url):
    assert footnotes([cite(url, 4)], "Cats purr.") == ("Cats purr.", [])


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://google.com@evil.example/", "evil.example"),
        ("https://\u0430pple.com/", "xn--pple-43d.com"),
        ("HTTPS://Example.ORG:8443/a", "example.org"),
    ],
)
def test_the_host_is_where_the_link_really_leads(url, host):
    assert footnotes([cite(url)], "")[1][0].host == host


def test_titles_are_plain_text_of_one_line():
    hostile = "<img src=x onerror=alert(1)>\n# Head\u202e\x00 ![a](b)" + "x" * 1000
    title = footnotes([cite(title=hostile)], "")[1][0].title
    assert title.startswith("<img src=x onerror=alert(1)> # Head ![a](b)xx")
    assert len(title) == LONGEST_TITLE


@pytest.mark.parametrize("title", ["", "  \n", None, 7, "\u202e"], ids=repr)
def test_without_a_title_the_host_stands_for_it(title):
    assert footnotes([cite(title=title)], "")[1][0].title == "example.org"


def test_other_annotations_and_broken_ones_are_passed_over():
    broken = [{"type": "file", "file": {}}, {}, {"url_citation": 3}, None, "x", [cite()]]
    assert footnotes(broken, "Cats.") == ("Cats.", [])


def test_there_is_an_end_to_sources():
    notes = footnotes([cite(f"https://a.org/{n}") for n in range(500)], "x")[1]
    assert len(notes) == MOST_SOURCES


@given(st.text(alphabet="ab [](:)\n", max_size=30), st.integers(1, 30))
def test_a_mark_never_becomes_a_link(text, end):
    shown, _ = footnotes([cite(end=end)], text)
    assert render(shown).count("<a ") == render(text).count("<a ")


@pytest.mark.parametrize("text", ["`" * 50_000, "[" * 50_000, "$" * 50_000, "<a:" * 20_000])
def test_no_text_makes_it_slow(text):
    began = time.perf_counter()
    marked(text, 10)
    assert time.perf_counter() - began < 20  # some 0.1 s; by the square of it minutes


def test_recorded_citations_without_places(shared_data):
    """Each of them came with both places 0, one without a title."""
    found = next(e for e in exchanges(shared_data) if "web_search_annotations" in e.name)
    chunks = [json.loads(line[6:]) for line in found.body.decode().splitlines() if "{" in line]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    text = "".join(delta.get("content") or "" for delta in deltas)
    given_ = [one for delta in deltas for one in delta.get("annotations") or []]
    shown, notes = footnotes(given_, text)
    assert [note.number for note in notes] == [1, 2, 3, 4, 5]
    assert shown == f"{text.rstrip()}\n\n[1][2][3][4][5]"
    assert notes[1].title == notes[1].host == "pydantic.dev"


places = st.integers(-5, 60) | st.none()
texts = st.text(alphabet="ab `[]()|$\n#:~-" + "é人", max_size=50)


@given(texts, st.lists(st.tuples(st.sampled_from("xyz"), places), max_size=6))
def test_marks_only_add_to_the_text(text, cited):
    annotations = [cite(f"https://{name}.org/", end) for name, end in cited]
    shown, notes = footnotes(annotations, text)
    assert footnotes(annotations, text) == (shown, notes)  # the same again
    assert [note.number for note in notes] == list(range(1, len(notes) + 1))
    without = re.sub(r" ?\\?\[\d\\?\] ?", "", shown)
    assert re.sub(r"\s", "", without) == re.sub(r"\s", "", text)
