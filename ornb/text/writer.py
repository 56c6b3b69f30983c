r"""Model Markdown written anew, so that no renderer finds anything else in it than we did.

Renderers disagree: where one sees code another sees HTML, where one sees text another a formula.
So an answer is parsed once and written from the parse, each construct in its plainest form, and
text so that none of its characters means anything: ``<`` as an entity, dollars out of reach of
TeX. Loading what this wrote into a renderer that lets HTML through runs and fetches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from .markdown import language, parse, plain, web_host

if TYPE_CHECKING:
    from markdown_it.token import Token

_ESCAPES = {
    **{ord(c): f"\\{c}" for c in "`*~|#"},
    ord("<"): "&lt;",
    ord("&"): "&amp;",
    ord("\\"): "&#92;",  # with a backslash, Jupyter would take "\\(" for a formula
    ord("$"): "<span>&#36;</span>",  # the way that GitHub's manual gives; "\$" holds nowhere
}
_ALONE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
"""Underscores that are not inside a word."""
_BRACKET = re.compile(r"\](?=[(\[:{]|\Z)")
"""Where a link could follow. Not written with a backslash, which for some begins a formula."""
_STARTS = re.compile(r"(?m)^(?:([-+=>:%@!])|(\d{1,9})([.)])(?=\s|\Z))")
_TAME_CODE = re.compile(r"[\w ,.;:=+\-*/()'\"%#@^?{}]*\Z")
_ADDRESS = re.compile(r"\w+://|www\.|@", re.IGNORECASE)
_CODE = {ord(c): f"&#{ord(c)};" for c in "\\`*_{}[]()#+-.!|~$<>&:/@'\"^="}


def rewritten(text: str, *, below: int = 0) -> str:
    """Write an answer's Markdown anew, its headings below a level.

    HTML in it becomes text, images become links, and a link whose text is another address tells
    its host.
    """
    try:
        return _Writer(below).blocks(parse(text), "\n\n")
    except Exception:  # noqa: BLE001 - nesting beyond Python's; the text is not lost
        return fenced(text)


def literal(text: str) -> str:
    """Text in one line, as it is, written as Markdown; line breaks are spaces."""
    line = " ".join(plain(text).split())
    return _guarded(_escaped(line))


def link(url: str, text: str) -> str:
    """Write a link that tells its host; any but a web or mail address is text alone."""
    host = web_host(url)
    return f"[{_in_brackets(literal(text))}](<{_quoted(url)}>) ({host})" if host else literal(text)


def _in_brackets(text: str) -> str:
    return text.replace("[", "&#91;").replace("]", "&#93;")


def fenced(text: str, info: str = "") -> str:
    """Text as a block of code, whatever fences are in it.

    A language not in `ornb.text.markdown.LANGUAGES` is "text": some are drawn (mermaid).
    """
    longest = max((len(run) for run in re.findall("`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    lines = [f"{fence}{language(info) or 'text'}", *_lines(plain(text)), fence]
    return "\n".join(lines)


def _lines(text: str) -> list[str]:
    """The lines of a block of code; the last line break ends a line and begins none."""
    return text.removesuffix("\n").split("\n") if text else []


def _escaped(text: str) -> str:
    return _BRACKET.sub("&#93;", _ALONE.sub(r"\\_", text.translate(_ESCAPES)))


def _guarded(text: str) -> str:
    """Keep what begins a line from beginning a list, a quotation, a heading."""
    return _STARTS.sub(lambda found: f"{found[2] or ''}\\{found[1] or found[3]}", text)


def _code(text: str) -> str:
    """Code in a line. What may look different to another parser is written as HTML's."""
    if text.strip() and text == text.strip() and _TAME_CODE.match(text):
        return f"`{text}`"
    return f"<code>{plain(text).translate(_CODE)}</code>"


def _formula(latex: str, dollars: str) -> str:
    latex = " ".join(latex.split()).replace("<", r"\lt ").replace(">", r"\gt ")
    # What reads as a link to a parser without formulas is not left as one.
    if not latex or any(sign in latex for sign in ("$", "`", "](")):
        return f"<code>{plain(latex).translate(_CODE)}</code>"
    return f"{dollars}{latex}{dollars}"


_OTHER_MARK = {"-": "*", "*": "-", "+": "*", ".": ")", ")": "."}
"""Of a list that follows another of its kind."""


class _Writer:
    def __init__(self, below: int) -> None:
        self.below = below

    def blocks(self, tokens: Sequence[Token], between: str) -> str:
        return between.join(self._each(tokens))

    def _each(self, tokens: Sequence[Token]) -> Iterator[str]:
        before = ("", "")
        for token, inside in _nested(tokens):
            kind = token.type.removesuffix("_open")
            if before == (kind, token.markup) and kind in ("bullet_list", "ordered_list"):
                token.markup = _OTHER_MARK[token.markup]  # or the two would be read as one
            before = (kind, token.markup)
            write: Callable[[Token, Sequence[Token]], str] | None
            write = getattr(self, f"_{kind}", None)
            if write is None:
                raise NotImplementedError(kind)
            yield write(token, inside)

    def _paragraph(self, _: Token, inside: Sequence[Token]) -> str:
        return _guarded(self._inline(inside))

    def _heading(self, token: Token, inside: Sequence[Token]) -> str:
        level = min(int(token.tag[1]) + self.below, 6)
        return f"{'#' * level} {self._inline(inside)}".replace("\\\n", " ").replace("\n", " ")

    def _blockquote(self, _: Token, inside: Sequence[Token]) -> str:
        return _indented(self.blocks(inside, "\n\n"), "> ", "> ")

    def _bullet_list(self, token: Token, inside: Sequence[Token]) -> str:
        return self._items(token, inside, lambda _: f"{token.markup} ")

    def _ordered_list(self, token: Token, inside: Sequence[Token]) -> str:
        start = token.attrGet("start")
        first = 1 if start is None else int(start)
        return self._items(token, inside, lambda i: f"{first + i}{token.markup} ")

    def _items(self, whole: Token, tokens: Sequence[Token], marker: Callable[[int], str]) -> str:
        tight = any(token.hidden and token.level == whole.level + 2 for token in tokens)
        between = "\n" if tight else "\n\n"
        items = []
        for i, (_, inside) in enumerate(_nested(tokens)):
            mark = marker(i)
            items.append(_indented(self.blocks(inside, between), mark, " " * len(mark)))
        return between.join(items)

    def _fence(self, token: Token, _: Sequence[Token]) -> str:
        return fenced(token.content, token.info)

    def _code_block(self, token: Token, _: Sequence[Token]) -> str:
        return fenced(token.content)

    def _hr(self, _: Token, __: Sequence[Token]) -> str:
        return "***"

    def _math_block(self, token: Token, _: Sequence[Token]) -> str:
        return _formula(token.content, "$$")

    def _table(self, _: Token, inside: Sequence[Token]) -> str:
        rows = [row for _, part in _nested(inside) for row in _nested(part)]
        lines = []
        for i, (_, cells) in enumerate(rows):
            found = list(_nested(cells))
            texts = [self._inline(cell).replace("\n", " ") or " " for _, cell in found]
            lines.append(f"| {' | '.join(texts)} |")
            if i == 0:
                styles = [str(cell.attrGet("style") or "") for cell, _ in found]
                lines.append(f"| {' | '.join(map(_alignment, styles))} |")
        return "\n".join(lines)

    # -------------------------------------------------------------- within a line

    def _inline(self, tokens: Sequence[Token]) -> str:
        children = [child for token in tokens for child in token.children or ()]
        return "".join(self._pieces(children))

    def _pieces(self, tokens: Sequence[Token]) -> Iterator[str]:
        for token, inside in _nested(tokens):
            if token.type == "text":
                yield _escaped(plain(token.content))
            elif token.type == "softbreak":
                yield "\n"
            elif token.type == "hardbreak":
                yield "\\\n"
            elif token.type == "code_inline":
                yield _code(token.content)
            elif token.type in ("math_inline", "math_inline_double"):
                yield _formula(token.content, "$" if token.type == "math_inline" else "$$")
            elif token.type == "image":
                yield self._image(token)
            elif token.type == "link_open":
                yield self._link(token, inside)
            else:  # emphasis of three kinds, with the marks it had
                yield f"{token.markup}{''.join(self._pieces(inside))}{token.markup}"

    def _link(self, token: Token, inside: Sequence[Token]) -> str:
        url = _address(token, "href")
        if token.info == "auto":
            return f"<{url}>"
        text, host = "".join(self._pieces(inside)), web_host(url)
        tells = not _ADDRESS.search(text) or host in text.lower()
        return f"[{_in_brackets(text)}](<{url}>)" + ("" if tells else f" ({host})")

    def _image(self, token: Token) -> str:
        words = literal("".join(child.content for child in token.children or ()))
        url = _address(token, "src")
        return f"(image “{words}”: <{url}>)" if url else f"(image “{words}”)"


def _address(token: Token, name: str) -> str:
    return _quoted(str(token.attrGet(name) or ""))


def _quoted(url: str) -> str:
    """An address with nothing in it that could end it early or mean something to Markdown."""
    return "".join(f"%{ord(c):02X}" if c in "<>\\`\"' $*[]" or c < " " else c for c in url)


def _alignment(style: str) -> str:
    if style.endswith("center"):
        return ":-:"
    return "--:" if style.endswith("right") else ":--" if style.endswith("left") else "---"


def _indented(text: str, first: str, others: str) -> str:
    begun, *rest = text.split("\n")
    marked = [(first, begun), *((others, line) for line in rest)]
    return "\n".join(f"{mark}{line}" if line else mark.rstrip() for mark, line in marked)


def _nested(tokens: Sequence[Token]) -> Iterator[tuple[Token, Sequence[Token]]]:
    """Each token of the outermost level, with what is between it and its end."""
    start, depth = 0, 0
    for i, token in enumerate(tokens):
        if depth == 0:
            start = i
        depth += token.nesting
        if depth == 0:
            yield tokens[start], tokens[start + 1 : i]
