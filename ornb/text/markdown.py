"""Model Markdown to safe HTML, whole or block by block while it streams.

A model's answer is hostile text: it may hold scripts, links that run code, pictures whose address
carries what the chat knows, or nesting that breaks a parser. Three walls stand between it and the
page. Markdown is parsed with HTML off; the renderers here write only elements that they choose;
and nh3 cleans **last**, every block and the open tail too, against a short list of elements,
attributes and classes. Nothing remote is loaded, and no attribute of JupyterLab's gets through.

While an answer streams, `StreamRenderer` renders each block once, when it can no longer change,
and only the open tail again. Rendering the whole for each piece would cost minutes of CPU for one
long answer.
"""

from __future__ import annotations

import html
import ipaddress
import re
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, tostring

import nh3
import pygments.token as kinds
from latex2mathml.converter import Converter
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from ..messages import well_formed

if TYPE_CHECKING:
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline
    from pygments.lexer import Lexer

CODE_KINDS = {
    kinds.Comment: "ornb-c",
    kinds.Keyword: "ornb-k",
    kinds.Operator.Word: "ornb-k",
    kinds.Name.Builtin: "ornb-b",
    kinds.Name.Class: "ornb-f",
    kinds.Name.Decorator: "ornb-d",
    kinds.Name.Function: "ornb-f",
    kinds.Name.Tag: "ornb-k",
    kinds.Name.Attribute: "ornb-d",
    kinds.Literal.String: "ornb-s",
    kinds.Literal.Number: "ornb-n",
    kinds.Generic.Deleted: "ornb-x",
    kinds.Generic.Inserted: "ornb-s",
    kinds.Generic.Prompt: "ornb-c",
}
"""Pygments token kind to class; one not listed takes its parent's. Few, so that HTML is short."""

LANGUAGES = frozenset(
    str.split(
        "bash batch c clojure cmake console cpp csharp css dart diff docker elixir erlang "
        "fortran go graphql groovy haskell html http ini java javascript json julia kotlin "
        "lua make matlab nginx nim objective-c ocaml octave perl php postgresql powershell "
        "pycon python r ruby rust scala sql swift tex toml ts typescript xml yaml zig"
    )
)
"""Languages that are highlighted. A model names any it likes; these lexers are well tried."""

CODE_TAGS = {"ornb-k": "b", "ornb-c": "i"}
"""Classes whose element says something also where no style sheet is loaded."""

CLASSES = {
    "b": {"ornb-k"},
    "i": {"ornb-c"},
    "span": {*CODE_KINDS.values(), "ornb-image", "ornb-math"} - {*CODE_TAGS},
    "div": {"ornb-math"},
    "small": {"ornb-host"},
    "pre": {"ornb-code"},
    "li": {"ornb-task"},
    "code": {f"language-{language}" for language in LANGUAGES},
}
"""Every class that rendered HTML can have: an answer cannot dress as a part of JupyterLab."""

MATH_ATTRIBUTES = {
    "math": {"display"},
    "menclose": {"notation"},
    "mfrac": {"linethickness"},
    "mi": {"mathvariant"},
    "mo": {"accent", "fence", "form", "maxsize", "minsize", "movablelimits", "stretchy"},
    "mover": {"accent"},
    "mspace": {"width", "linebreak"},
    "mstyle": {"displaystyle", "scriptlevel", "mathvariant"},
    "mtable": {"columnlines", "columnspacing", "displaystyle", "rowlines", "rowspacing"},
    "mtd": {"columnalign"},
    "munder": {"accentunder"},
}
MATH_TAGS = set(
    str.split(
        "math menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom mroot mrow mspace msqrt "
        "mstyle msub msubsup msup mtable mtd mtext mtr munder munderover"
    )
)
TAGS = MATH_TAGS | set(
    str.split(
        "a b bdi blockquote br code div em h3 h4 h5 h6 hr i li ol p pre s small span strong "
        "table tbody td th thead tr ul"
    )
)

ATTRIBUTES = {
    "a": {"href"},
    "code": {"hidden"},
    "ol": {"start"},
    "th": {"align"},
    "td": {"align"},
    **MATH_ATTRIBUTES,
}

_CLEANER = nh3.Cleaner(
    tags=TAGS,
    attributes=ATTRIBUTES,
    allowed_classes=CLASSES,
    url_schemes={"http", "https", "mailto"},
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
)

LONGEST_FORMULA = 5_000
LONGEST_HIGHLIGHT = 100_000
"""Characters; beyond them a formula or a code block is shown as its plain source."""

_MACROS = re.compile(r"\\(?:re)?newcommand|\\providecommand|\\[egx]?def\b|\\let\b")
_LENGTH = re.compile(r"[+-]?\d{0,2}(?:\.\d+)?(?:em|ex|mu|pt)\Z")
_THIN = re.compile(r"(?:0?(?:\.\d+)?(?:em|ex)|\d(?:\.\d+)?(?:mu|pt)|0)\Z")
_BACKWARDS = re.compile(r"-0?\.\d+em\Z")
_TWO_DIMENSIONS = re.compile(r"[\\^_]")
_LOOKS_LIKE_MATH = re.compile(r"[\\^_=+<>*/]|^\s*\S{1,3}\s*$")
_MATH_OPENS = re.compile(r"^[ \t>]*(?:[-*+]|\d+[.)])?[ \t]*(?:\$\$|\\\[)", re.MULTILINE)
_BLANK_LINE = re.compile(r"\n[ \t]*(?=\n)")
_ADDRESS = re.compile(
    r"https?://(?:[^@/?#\\\s]*@)?([\w-]+(?:\.[\w-]+)*\.?|\[[\da-f:.]+\])(?::\d+)?(?:[/?#]|\Z)",
    re.IGNORECASE | re.ASCII,
)
_MAIL = re.compile(r"mailto:[^\s@]+@([\w.-]+)(?:\?|\Z)", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"(?:\d+|0x[\da-f]*)\.?\Z", re.IGNORECASE)
_TASK = re.compile(r"\[([ xX])\][ \t]")
_OVERRIDE = re.compile("[\u202d\u202e]")
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")
_UNSEEN = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def render(text: str) -> str:
    r"""Safe HTML of a whole answer: it runs nothing and fetches nothing.

    CommonMark with tables, strikethrough and task lists; formulas between ``$``, ``$$``, ``\(`` or
    ``\[`` become MathML. Images are links, links show their host; what cannot be parsed stays text.
    """
    return "".join(_render_all(_well_formed(text), {}))


def parse(text: str) -> list[Token]:
    """Parse an answer into markdown-it's tokens, for a writer other than HTML's.

    HTML is text in them, and only addresses that may be links are links.
    """
    return _MARKDOWN.parse(_well_formed(text), {})


def plain(text: str) -> str:
    """Text that stands among ours, as a name does, or in a terminal: it commands neither.

    What changes the direction of text, or a terminal obeys, is spelt out. It is not HTML yet.
    """
    text = well_formed(text).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    return _spelt_out(_UNSEEN, text)


def web_page(url: str) -> tuple[str, str]:
    """Return a web page's address as a browser takes it, and its host; no host for odd ones.

    Host names of other alphabets are in their ``xn--`` form in both.
    """
    url = _MARKDOWN.normalizeLink(url)
    return url, web_host(url) if _ADDRESS.match(url) else ""


def web_link(url: str, text: str) -> str:
    """Safe HTML of a link that shows its host; any but a web or mail address is text alone."""
    shown, host = html.escape(plain(text)), html.escape(web_host(url))
    if not host:
        return shown
    link = f'<a href="{html.escape(url)}">{shown}</a>'
    return _CLEANER.clean(f'{link} <small class="ornb-host"><bdi>({host})</bdi></small>')


class StreamRenderer:
    """Safe HTML of an answer that is still arriving.

    The pieces of `feed` joined, and the last tail, are what a reader sees; `finish` returns exactly
    what `render` returns for the whole text.
    """

    def __init__(self) -> None:
        self.wait_s = 0.0
        """Seconds to leave before the next `feed`: five times what the last one took, so that a
        block that never closes (one endless list) cannot fill the kernel."""
        self._arrived: list[str] = []
        self._finished: list[str] = []
        self._open = ""
        self._held = ""
        self._env: dict[str, Any] = {}
        self._broken = False

    def feed(self, text: str) -> tuple[str, str]:
        """Take the next piece; return HTML of what has become final, and of the open tail.

        Code in the tail, which takes the place of the last one, is not highlighted yet.
        """
        began = perf_counter()
        text = self._held + text
        # The other half of a line break or of a surrogate pair may be in the next piece.
        keep = 1 if text and (text[-1] == "\r" or "\ud800" <= text[-1] <= "\udbff") else 0
        self._held = text[len(text) - keep :]
        self._take(_well_formed(text[: len(text) - keep]))
        try:
            finished, tail = self._advance()
        except Exception:  # noqa: BLE001 - a parser's bug must not lose an answer
            self._broken = True
            finished, tail = "", _source(self._open)
        self.wait_s = 5 * (perf_counter() - began)
        return finished, tail

    def finish(self) -> str:
        """Return the HTML of the whole answer, as `render` does.

        It begins with the finished pieces of `feed`, unless a link was defined after its use.
        """
        self._take(_well_formed(self._held))
        self._held = ""
        if self._broken or self._env.get("references"):
            return "".join(_render_all("".join(self._arrived), {}))
        return "".join([*self._finished, *_render_all(self._open, self._env)])

    def _take(self, text: str) -> None:
        self._arrived.append(text)
        self._open += text

    def _advance(self) -> tuple[str, str]:
        source, env = self._open, self._env
        blocks = _blocks(_MARKDOWN.parse(source, env))
        lines = source.split("\n")
        first_open = self._first_open(blocks, lines)
        finished = [_render_block(block, lines, env) for block in blocks[:first_open]]
        self._finished += finished
        if first_open:
            self._open = "\n".join(lines[_first_line(blocks[first_open]) :])
        tail = [_render_block(block, lines, {**env, "open": True}) for block in blocks[first_open:]]
        return "".join(finished), "".join(tail)

    def _first_open(self, blocks: list[list[Token]], lines: list[str]) -> int:
        """Index of the first block that later text could still change.

        A block is final when a later one surely starts, that is when the end of its deciding line
        has arrived: until then "2" may become "2." and go on with the list above. And a formula
        that is not closed reads as a paragraph, until its end arrives and takes everything in
        between: such a block waits for the empty line, which no formula can hold.
        """
        last = max(
            (i for i, b in enumerate(blocks) if _deciding_line(b) < len(lines) - 1), default=0
        )
        for i, block in enumerate(blocks[:last]):
            if block[0].type in ("math_block", "fence", "code_block"):
                continue
            source = "\n".join(lines[_first_line(block) : _first_line(blocks[i + 1])]) + "\n"
            if _MATH_OPENS.search(_BLANK_LINE.split(source)[-1]):
                return i
        return last


def _well_formed(text: str) -> str:
    """Line ends as the parser will make them, no half of a surrogate pair, no text run backwards.

    The two characters that turn Latin letters around serve no language, only to make one address
    look like another.
    """
    text = _spelt_out(_OVERRIDE, well_formed(text))
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def _spelt_out(characters: re.Pattern[str], text: str) -> str:
    return characters.sub(lambda found: f"\u27e8U+{ord(found[0]):04X}\u27e9", text)


def _code(text: str) -> str:
    """Escape code; what would show it in another order than it runs is spelt out."""
    return html.escape(_spelt_out(_DIRECTION, text), quote=False)


def _render_all(text: str, env: dict[str, Any]) -> Iterator[str]:
    try:
        blocks = _blocks(_MARKDOWN.parse(text, env))
    except Exception:  # noqa: BLE001 - a parser's bug must not lose an answer
        yield _source(text)
        return
    lines = text.split("\n")
    for block in blocks:
        yield _render_block(block, lines, env)


def _blocks(tokens: list[Token]) -> list[list[Token]]:
    """Cut the parser's tokens into top-level blocks."""
    blocks: list[list[Token]] = []
    depth = 0
    for token in tokens:
        if depth == 0:
            blocks.append([])
        blocks[-1].append(token)
        depth += token.nesting
    return blocks


def _first_line(block: list[Token]) -> int:
    where = block[0].map
    return where[0] if where else 0


def _deciding_line(block: list[Token]) -> int:
    """The line with whose end the block is one: a table's second, a formula's last."""
    first, after = block[0].map or (0, 0)
    return {"math_block": after - 1, "table_open": first + 1}.get(block[0].type, first)


def _render_block(block: list[Token], lines: list[str], env: dict[str, Any]) -> str:
    try:
        return _CLEANER.clean(_MARKDOWN.renderer.render(block, _MARKDOWN.options, env))
    except Exception:  # noqa: BLE001 - deep nesting, a lexer's or a converter's bug
        first, last = block[0].map or (0, len(lines))
        return _source("\n".join(lines[first:last]))


def _source(text: str) -> str:
    return f'<pre class="ornb-code"><code>{_code(text)}</code></pre>\n' if text else ""


# ------------------------------------------------------------------ Markdown, with our own writers


def _parser() -> MarkdownIt:
    md = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    md.use(
        dollarmath_plugin,
        # "from $5 to $10" is money
        allow_space=False,
        allow_digits=False,
        allow_labels=False,
        double_inline=True,
    )
    # The plugin's block rule reads on beyond the list item it is in, and through empty lines.
    md.block.ruler.at(
        "math_block", _math_block, {"alt": ["paragraph", "reference", "blockquote", "list"]}
    )
    md.inline.ruler.before("escape", "math_brackets", _math_brackets)
    md.core.ruler.after("inline", "tasks", _tasks)
    shown = md.normalizeLinkText
    md.normalizeLinkText = lambda link: _well_formed(shown(link))  # type: ignore[method-assign]
    md.validateLink = lambda url: bool(web_host(url))  # type: ignore[method-assign]
    for name, rule in {
        "fence": _fence,
        "code_block": _fence,
        "code_inline": _code_inline,
        "image": _image,
        "link_open": _link_open,
        "link_close": _link_close,
        "math_inline": _formula,
        "math_inline_double": _formula,
        "math_block": _formula,
        "heading_open": _heading,
        "heading_close": _heading,
        "th_open": _cell,
        "td_open": _cell,
    }.items():
        md.add_render_rule(name, rule)
    return md


def _math_block(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    r"""Block rule: ``$$ ... $$`` or ``\[ ... \]`` that starts its line and ends one."""
    start = state.bMarks[first] + state.tShift[first]
    if state.is_code_block(first):
        return False
    opening = state.src[start : start + 2]
    if opening not in ("$$", "\\["):
        return False
    closing = "$$" if opening == "$$" else "\\]"
    parts: list[str] = []
    for line in range(first, end):
        if line > first and (state.isEmpty(line) or state.sCount[line] < state.blkIndent):
            return False
        begin = start + 2 if line == first else state.bMarks[line] + state.tShift[line]
        part = state.src[begin : state.eMarks[line]].rstrip()
        closed = part.endswith(closing)
        if closing in (part[: -len(closing)] if closed else part):
            return False  # it closes within a line: the inline rules see to it
        parts.append(part[: -len(closing)] if closed else part)
        if closed:
            latex = "\n".join(parts)
            good = _LOOKS_LIKE_MATH.search(latex) if closing == "\\]" else latex.strip()
            return bool(good) and (silent or _push_math(state, latex, first, line + 1))
    return False


def _push_math(state: StateBlock, latex: str, first: int, after: int) -> bool:
    state.line = after
    token = state.push("math_block", "math", 0)
    token.block = True
    token.content = latex
    token.map = [first, after]
    return True


def _math_brackets(state: StateInline, silent: bool) -> bool:
    r"""Inline rule: ``\( ... \)``, and ``\[ ... \]`` when it looks like a formula."""
    opening = state.src[state.pos : state.pos + 2]
    if opening not in ("\\(", "\\["):
        return False
    display = opening == "\\["
    window = state.pos + 2 + LONGEST_FORMULA  # a bound, so that many openings cost no square
    end = state.src.find("\\]" if display else "\\)", state.pos + 2, min(window, state.posMax))
    latex = state.src[state.pos + 2 : end]
    if end < 0 or not latex.strip() or (display and not _LOOKS_LIKE_MATH.search(latex)):
        return False
    if not silent:
        token = state.push("math_inline_double" if display else "math_inline", "math", 0)
        token.content = latex
    state.pos = end + 2
    return True


def _tasks(state: StateCore) -> None:
    """Core rule: ``- [x]`` shows a ticked box, as text and not as a form field."""
    tokens = state.tokens
    for i in range(2, len(tokens)):
        item, inline = tokens[i - 2], tokens[i]
        if inline.type != "inline" or item.type != "list_item_open" or not inline.children:
            continue
        first = inline.children[0]
        found = _TASK.match(first.content) if first.type == "text" else None
        if found:
            item.attrSet("class", "ornb-task")
            first.content = ("☐ " if found[1] == " " else "☑ ") + first.content[found.end() :]


def _fence(_: Any, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
    code = tokens[i].content
    if len(code) <= LONGEST_HIGHLIGHT and not env.get("open"):
        lexer = _lexer(tokens[i].info)
        if lexer is not None:
            shown = "".join(_spans(lexer.get_tokens(code)))
            return (
                f'<pre class="ornb-code"><code class="language-{lexer.aliases[0]}">'
                f"{shown}</code></pre>\n"
            )
    return _source(code) or '<pre class="ornb-code"><code></code></pre>\n'


def _lexer(info: str) -> Lexer | None:
    """Return the highlighter for what a fence names, if that is a language of ours."""
    name = info.split(maxsplit=1)[0].lower() if info.strip() else ""
    try:
        lexer = get_lexer_by_name(name, stripnl=False) if name else None
    except ClassNotFound:
        return None
    return lexer if lexer is not None and lexer.aliases[0] in LANGUAGES else None


def language(info: str) -> str:
    """Return the language that a fence names, of `LANGUAGES`, by its usual name, or ""."""
    lexer = _lexer(info)
    return str(lexer.aliases[0]) if lexer is not None else ""


def _spans(tokens: Any) -> Iterator[str]:
    """Highlighted code, neighbours of one class in one span."""
    piece, last = "", ""
    for kind, text in tokens:
        while kind not in CODE_KINDS and kind.parent is not None:
            kind = kind.parent  # noqa: PLW2901 - walking up is the point
        name = CODE_KINDS.get(kind, "")
        if name != last and not text.isspace():
            yield _span(last, piece)
            piece, last = "", name
        piece += text
    yield _span(last, piece)


def _span(name: str, code: str) -> str:
    code = _code(code)
    tag = CODE_TAGS.get(name, "span")
    return f'<{tag} class="{name}">{code}</{tag}>' if name and code else code


def _code_inline(_: Any, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
    return f"<code>{_code(tokens[i].content)}</code>"


def _image(renderer: Any, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
    token = tokens[i]
    url = str(token.attrGet("src") or "")
    alt = html.escape(renderer.renderInlineAsText(token.children or [], options, env))
    host = "" if env.get("hosts") else html.escape(web_host(url))  # a link holds no other link
    link = f': <a href="{html.escape(url)}"><bdi>{host}</bdi></a>' if host else ""
    return f'<span class="ornb-image">[image “{alt}” not loaded{link}]</span>'


def _link_open(renderer: Any, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
    url = str(tokens[i].attrGet("href") or "")
    host = web_host(url)
    # An address that is its own text shows its host already, unless it is made to mislead.
    plain = tokens[i].info == "auto" and "@" not in url and "xn--" not in host
    env.setdefault("hosts", []).append("" if plain else host)
    return f'<a href="{html.escape(url)}">'


def _link_close(renderer: Any, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
    hosts = env.get("hosts") or [""]
    host = hosts.pop()
    if not host:
        return "</a>"
    return f'</a> <small class="ornb-host"><bdi>({html.escape(host)})</bdi></small>'


def web_host(url: str) -> str:
    """Return the host that a browser would go to; empty for an address that is not made a link.

    Browsers repair much that is odd in an address, Python does not, and a reader must not be shown
    another host than the one that a click leads to: odd ones stay text.
    """
    found = _ADDRESS.match(url) or _MAIL.match(url)
    if found is None:
        return ""
    host = found[1].lower()
    if host.startswith("[") or _NUMBER.match(host.rpartition(".")[2] or host):
        try:  # browsers read 2130706433 and 0x7f.1 as 127.0.0.1
            return host if str(ipaddress.ip_address(host.strip("[]"))) == host.strip("[]") else ""
        except ValueError:
            return ""
    return host


def _heading(_: Any, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
    """A heading, two levels down: an answer is a part of a notebook that has its own."""
    level = min(int(tokens[i].tag[1]) + 2, 6)
    return f"<h{level}>" if tokens[i].nesting == 1 else f"</h{level}>\n"


def _cell(renderer: Any, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
    """A table cell's alignment as an attribute: ``style`` is not let through."""
    style = str(tokens[i].attrGet("style") or "")
    side = next((side for side in ("right", "center") if style.endswith(side)), "")
    return f'<{tokens[i].tag} align="{side}">' if side else f"<{tokens[i].tag}>"


def _formula(_: Any, tokens: Sequence[Token], i: int, options: Any, env: Any) -> str:
    token = tokens[i]
    display = token.type != "math_inline"
    math = _mathml(token.content.strip(), display=display)
    if token.type == "math_block":
        return f'<div class="ornb-math">{math}</div>\n'
    return f'<span class="ornb-math">{math}</span>' if display else math


def _mathml(latex: str, *, display: bool) -> str:
    """MathML; the source where it is too long, is wrong, or defines macros, which can explode."""
    if len(latex) <= LONGEST_FORMULA and not _MACROS.search(latex):
        try:
            converter = Converter(display="block" if display else "inline")
            math = _tame(converter.convert_to_element(latex))
            # Where MathML is not let through (a stranger's notebook), a fraction's parts would
            # stand side by side and mislead; `hidden` is not let through there either.
            source = f"<code hidden>{_code(latex)}</code>" if _TWO_DIMENSIONS.search(latex) else ""
            return math + source
        except Exception:  # noqa: BLE001, S110 - its errors have no common root; RecursionError too
            pass
    return f"<code>{_code(latex)}</code>"


def _tame(math: Element) -> str:
    """Write the formula with its text escaped (the converter's own writer does not).

    Lengths are bounded, so that no formula reaches out of its place over the page.
    """
    for element in math.iter():
        element.text = html.unescape(element.text or "")
        for name in ("width", "minsize", "maxsize", "rowspacing"):
            value = element.get(name)
            if value is not None and not (
                _LENGTH.match(value) and (value[0] != "-" or _BACKWARDS.match(value))
            ):
                del element.attrib[name]
        if not _THIN.match(element.get("linethickness", "0")):
            del element.attrib["linethickness"]
    return tostring(math, encoding="unicode")


_MARKDOWN = _parser()
