"""No text that a page shows has two dollar signs in one paragraph: between them it would be TeX."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

import ornb
from ornb.api.keys import describe
from ornb.catalog import to_frame
from ornb.plots import price_map, with_table

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *ROOT.glob("*.md"), ROOT / "benchmarks/README.md"]
CODE = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2|(`+)[^`].*?\3", re.DOTALL | re.MULTILINE)
DOCTEST = re.compile(r"^ *>>> .*?(?=^ *$|\Z)", re.DOTALL | re.MULTILINE)


def formulas(text: str) -> list[str]:
    """The paragraphs of a Markdown text in which two dollar signs make a formula."""
    blocks = re.split(r"\n\s*\n", CODE.sub("", text))
    return [block for block in blocks if len(re.findall(r"(?<!\\)\$", block)) > 1]


class Shown(HTMLParser):
    """Text of an HTML page, one paragraph a line, without what is never typeset."""

    IGNORED = frozenset(["mathjax_ignore", "tex2jax_ignore"])
    """JupyterLab's MathJax heeds the first alone, that of an HTML export the second alone."""
    INLINE = frozenset(
        ["a", "b", "bdi", "code", "em", "i", "small", "span", "strong", "sub", "sup", "u"]
    )
    EMPTY = frozenset(["br", "hr", "img", "input", "link", "meta", "wbr"])

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.open = "", list[bool]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.text += "" if tag in self.INLINE else "\n\n"
        if tag not in self.EMPTY:
            quiet = tag in ("code", "pre", "script", "style", "svg")
            named = set((dict(attrs).get("class") or "").split())
            self.open.append(quiet or named >= self.IGNORED)

    def handle_endtag(self, tag: str) -> None:
        self.text += "" if tag in self.INLINE else "\n\n"
        if self.open:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not any(self.open):
            self.text += data


def texts_of(notebook: Path) -> Iterator[str]:
    """What a notebook shows as Markdown, or as HTML."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "markdown":
            yield "".join(cell["source"])
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            yield "".join(data.get("text/markdown", ""))
            yield Shown("".join(data.get("text/html", ""))).text


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("*$ in* and *$ out*", True),
        ("`$ in` and `$ out`", False),
        ("costs \\$1 or \\$2", False),
        ("$1\n\n$2", False),
        ("```\n$1 $2\n```", False),
        (Shown("<p>$1 or <b>$2</b></p>").text, True),
        (Shown("<tr><td>$1</td><td>$2</td></tr>").text, False),
        (Shown('<div class="tex2jax_ignore"><p>$1 or $2</p></div>').text, True),
        (Shown('<p class="tex2jax_ignore mathjax_ignore">$1 or $2</p>').text, False),
    ],
)
def test_a_formula_is_found(text: str, is_one: bool) -> None:
    assert bool(formulas(text)) == is_one


PRICES = {"prompt": "0.000001", "completion": "0.000002"}
MODELS = [{"id": f"a/$b${n}", "name": "It costs $1 or $2", "pricing": PRICES} for n in range(3)]


@pytest.mark.parametrize(
    "made",
    [
        lambda models: models,
        ornb.ModelPicker,
        lambda models: with_table(price_map(models)),
        lambda _: describe({"usage": 3, "usage_daily": 1}),
    ],
    ids=["models", "picker", "figure", "key"],
)
def test_nothing_that_shows_itself_shows_money_as_a_formula(made: Callable[..., Any]) -> None:
    shell = InteractiveShell()
    ornb.load_ipython_extension(shell)
    html = shell.display_formatter.format(made(to_frame({"data": MODELS})))[0]["text/html"]
    assert len(re.findall(r"\$", html)) > 1
    assert formulas(Shown(html).text) == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_no_money_as_a_formula(notebook: Path) -> None:
    assert [found for text in texts_of(notebook) for found in formulas(text)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_shows_no_money_as_a_formula(page: Path) -> None:
    assert formulas(page.read_text(encoding="utf-8")) == []


def test_no_docstring_shows_money_as_a_formula() -> None:
    found = {}
    for path in sorted((ROOT / "ornb").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            text = (isinstance(node, documented) and ast.get_docstring(node)) or ""
            if formula := formulas(DOCTEST.sub("", text)):
                found[f"{path.name}: {getattr(node, 'name', 'module')}"] = formula
    assert found == {}
