"""What HTML and Markdown made of a hostile answer may hold, read by parsers that are not ours."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import nh3
from markdown_it import MarkdownIt

from ornb.text.markdown import ATTRIBUTES, CLASSES, TAGS

_LINK = re.compile(r"https?://|mailto:", re.IGNORECASE)
_ALLOWED = {(tag, name) for tag, names in ATTRIBUTES.items() for name in names}
_ALLOWED |= {("a", "rel"), ("a", "target")}
_OURS = re.compile(r"<span>&#36;</span>|</?code>|</?span>")
_WITH_HTML = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


class Inventory(HTMLParser):
    """Every element, attribute, class and address of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.classes: set[tuple[str, str]] = set()
        self.links: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attrs:
            if name == "class":
                self.classes |= {(tag, word) for word in (value or "").split()}
            elif name == "href":
                self.links.add(value or "")
            else:
                self.attributes.add((tag, name))

    def handle_comment(self, data: str) -> None:
        self.elements.add(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.elements.add(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        self.elements.add(f"<?{data}>")


def assert_harmless(html: str) -> None:
    """Nothing beyond the list of elements, attributes, classes and schemes."""
    found = Inventory(html)
    assert found.elements <= TAGS, found.elements - TAGS
    assert found.attributes <= _ALLOWED, found.attributes - _ALLOWED
    strange = {(tag, name) for tag, name in found.classes if name not in CLASSES.get(tag, ())}
    assert not strange, strange
    assert all(map(_LINK.match, found.links)), found.links


def assert_settled(html: str) -> None:
    """A browser's parser reads the same elements out of it that a second cleaning finds.

    HTML that means something else when it is parsed again is how markup is smuggled past a cleaner.
    """
    again = nh3.clean(
        html,
        tags=TAGS,
        attributes={tag: names - {"rel"} for tag, names in _every_attribute().items()},
        allowed_classes=CLASSES,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    assert again == html, "it changes when it is parsed again"


def _every_attribute() -> dict[str, set[str]]:
    return {**ATTRIBUTES, "a": ATTRIBUTES["a"] | {"target"}}


def assert_tame_markdown(text: str) -> None:
    """A renderer that lets HTML through finds none but ours in it, no picture, no other scheme."""
    for token in _WITH_HTML.parse(text):
        for part in (token, *(token.children or ())):
            if part.type in ("html_block", "html_inline"):
                assert _OURS.fullmatch(part.content.strip()), part.content
            assert part.type != "image", part
            if part.type == "link_open":
                assert _LINK.match(str(part.attrGet("href"))), part
