"""The pages of docs: their menu, their links, their code, and the site that is made of them."""

from __future__ import annotations

import doctest
import importlib
import json
import re
import shutil
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import plotly
import pytest
from lab import notebook_of, run_headless
from markdown_it import MarkdownIt

import ornb
from ornb.plots.style import PALETTE
from tests.test_plots import DEUTERANOPIA, PROTANOPIA, contrast, oklab
from tools import docs

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), *sorted((DOCS / "api").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINKING = [*PAGES, ROOT / "README.md", ROOT / "benchmarks/README.md", ROOT / "CHANGELOG.md"]

each_linking = pytest.mark.parametrize(
    "path", [*LINKING, *NOTEBOOKS], ids=lambda path: str(path.relative_to(ROOT))
)


def text_of(path: Path) -> str:
    """A page's Markdown; of a notebook that of its cells."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def entries(page: Path) -> list[Path]:
    """What a page's menu names, patterns too, as places in the repository."""
    blocks = re.findall(r"^```\{toctree\}\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [page.parent / line for line in lines if line and not line.startswith(":")]


# ---- the menu ------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [DOCS / "index.md", DOCS / "api/index.md"], ids=["start", "api"])
def test_every_page_of_the_menu_exists(page: Path) -> None:
    named = [entry for entry in entries(page) if "*" not in entry.name]
    assert named
    suffixes = (".md", ".ipynb")
    missing = [e for e in named if not any((e.parent / f"{e.name}{s}").is_file() for s in suffixes)]
    assert missing == []


def test_new_guides_and_notebooks_come_into_the_menu_by_themselves() -> None:
    patterns = {entry.resolve() for entry in entries(DOCS / "index.md") if entry.name == "*"}
    assert patterns == {DOCS / "*", ROOT / "notebooks/*"}


def test_every_page_of_the_reference_is_in_its_menu() -> None:
    there = {path.stem for path in (DOCS / "api").glob("*.md")} - {"index"}
    assert {entry.name for entry in entries(DOCS / "api/index.md")} == there


# ---- the reference -------------------------------------------------------------------------------

DIRECTIVE = re.compile(
    r"^\.\. (?:auto(?P<auto>class|function|module)|py:data):: (?P<name>[\w.]+)$", re.MULTILINE
)


def documented() -> Iterator[tuple[str, str]]:
    """The names that the reference describes, as `ornb.ask`, and the kind of each."""
    for page in sorted((DOCS / "api").glob("*.md")):
        for found in DIRECTIVE.finditer(text_of(page)):
            name = found["name"]
            yield (name if name.startswith("ornb.") else f"ornb.{name}"), found["auto"] or "data"


DOCUMENTED = dict(documented())


@pytest.mark.parametrize("name", ornb.__all__)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    if name == "OrnbError":
        assert DOCUMENTED["ornb.errors"] == "module", "the whole family is described at once"
    else:
        assert f"ornb.{name}" in DOCUMENTED


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_reference_names_what_exists(name: str) -> None:
    parent, _, last = name.rpartition(".")
    owner = importlib.import_module(parent)
    assert hasattr(owner, last) or importlib.util.find_spec(name)


def test_the_overview_of_the_reference_names_every_public_name() -> None:
    words = set(re.findall(r"^   (\w+)$", text_of(DOCS / "api/index.md"), re.MULTILINE))
    assert set(ornb.__all__) - words == {"__version__", "usage"}  # the one is said in a sentence


# ---- links ---------------------------------------------------------------------------------------


def links_of(text: str) -> list[str]:
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inner = [child for token in tokens for child in token.children or ()]
    found = [token.attrGet("href") or token.attrGet("src") for token in [*tokens, *inner]]
    return [str(address) for address in found if address]


def places_of(text: str) -> set[str]:
    """Anchors of the headings, as GitHub and the site make them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    titles = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each_linking
def test_links_within_the_repository_lead_somewhere(path: Path) -> None:
    broken = []
    for address in links_of(text_of(path)):
        place, _, anchor = address.partition("#")
        if ":" in place:
            continue  # another host
        target = (path.parent / place).resolve() if place else path
        if not target.exists() or (anchor and anchor not in places_of(text_of(target))):
            broken.append(address)
    assert broken == []


@each_linking
def test_links_to_other_hosts_are_encrypted(path: Path) -> None:
    plain = [address for address in links_of(text_of(path)) if address.startswith("http:")]
    assert plain == []


# ---- code ----------------------------------------------------------------------------------------


@pytest.fixture
def a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of its own, and afterwards the connection and the ceilings of before."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    ornb.connect(offline=True)
    ornb.budget(None)
    ornb.quota(wait=False)


HAS_EXAMPLES = [path for path in PAGES if ">>> " in text_of(path) and path.stem != "batch"]
"""Pages whose examples show their results; test_batch.py runs those of batch.md."""


@pytest.mark.parametrize("path", HAS_EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.usefixtures("a_place")
def test_examples_of_the_page_give_what_it_says(path: Path) -> None:
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    names = {"ornb": ornb}
    failed, tried = doctest.testfile(
        str(path), module_relative=False, globs=names, optionflags=options, encoding="utf-8"
    )
    assert tried
    assert not failed


@pytest.mark.parametrize(
    "name", ["index", "chat", "teaching", pytest.param("latency", marks=pytest.mark.slow)]
)
def test_code_of_the_page_runs(
    name: str, a_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "teaching":  # the lesson is recorded further down the page
        with ornb.record(a_place / "lesson.jsonl"):
            ornb.ask("What is a token?", "openai/gpt-4o-mini", max_tokens=60)
    page = text_of(DOCS / f"{name}.md")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    plain = [block for block in blocks if ">>> " not in block]
    assert plain
    names: dict[str, Any] = {"ornb": ornb}
    for block in plain:
        quicker = block.replace("repeats=20", "repeats=1")
        exec(compile(quicker, f"docs/{name}.md", "exec"), names)
    if name == "teaching":
        assert "recorded 20" in capsys.readouterr().out


@pytest.mark.slow
def test_the_page_on_magics_runs_as_a_notebook(tmp_path: Path, a_place: Path) -> None:
    """Its cells and settings in a kernel, its commands too, and its audit of what was saved."""
    page = text_of(DOCS / "magics.md")
    examples = re.findall(r"^```\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    commands = re.findall(r"^\| `(%ornb[^`]*)`", page, re.MULTILINE)
    assert (len(examples), len(commands)) == (2, 5)
    said = [each.replace("[words] [filters]", "mini --tools --sort created") for each in commands]
    table = (
        "import ornb\nimport pandas as pd\ntable = pd.DataFrame({'city': ['Oslo'], 'rain': [9]})"
    )
    cells = [table, *(each.rstrip() for each in examples), "%%ornb --into plain\nHello", *said]
    done = run_headless(notebook_of([*cells, "print(reply.text, plain.model)"]), tmp_path)
    outputs = [cell.outputs for cell in done.cells]
    assert [number for number, shown in enumerate(outputs) if not shown] == [0, 2]
    assert "This is a canned answer" in outputs[-1][0].text
    nbformat.write(done, a_place / "lesson.ipynb")
    (audit,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(audit.replace("pd.DataFrame(", "calls = pd.DataFrame("), names)
    calls = names["calls"]
    assert calls["model"].tolist() == ["openai/gpt-4o-mini"] * 2, "the second by the setting"
    assert calls["params"].tolist() == [{"temperature": 0}] * 2
    told = re.findall(r"`(\w+)`", page.partition("under `ornb`")[2].partition("[the usage")[0])
    assert set(told) <= set(calls)


# ---- the site ------------------------------------------------------------------------------------

LACKING = "what builds the site is not installed: pip install -e '.[docs]'"


@pytest.fixture(scope="module")
def site(once: Any) -> tuple[Path, list[str]]:
    """The site as `make docs` makes it, and what Sphinx had to say."""
    if not docs.installed():
        pytest.skip(LACKING)

    def make(folder: Path) -> None:
        said = docs.build(folder / "site", folder / "work", jobs=1)  # the other workers are busy
        (folder / "said.json").write_text(json.dumps(said))

    folder = once("docs", make)
    return folder / "site", json.loads((folder / "said.json").read_text())


@pytest.mark.slow
def test_the_site_is_made_without_a_warning(site: tuple[Path, list[str]]) -> None:
    assert site[1] == []


@pytest.mark.slow
def test_every_link_of_the_site_leads_somewhere_and_no_page_loads_from_elsewhere(
    site: tuple[Path, list[str]],
) -> None:
    assert docs.check(site[0]) == []


@pytest.mark.slow
def test_every_page_and_notebook_is_in_the_site(site: tuple[Path, list[str]]) -> None:
    expected = [path.relative_to(ROOT).with_suffix(".html") for path in [*PAGES, *NOTEBOOKS]]
    assert [str(path) for path in expected if not (site[0] / path).is_file()] == []


@pytest.mark.slow
def test_the_reference_of_the_site_has_every_public_name(site: tuple[Path, list[str]]) -> None:
    reference = "".join(
        path.read_text(encoding="utf-8") for path in (site[0] / "docs/api").glob("*.html")
    )
    names = {f"ornb.{name}" for name in ornb.__all__ if name not in {"OrnbError", "plots"}}
    names |= {f"ornb.plots.{name}" for name in ornb.plots.__all__}
    names |= {f"ornb.errors.{name}" for name in vars(ornb.errors) if name[0].isupper()} - {
        "ornb.errors.Any",
        "ornb.errors.TYPE_CHECKING",
    }
    assert sorted(name for name in names if f'id="{name}"' not in reference) == []


SEEN = ["index", "docs/costs", "docs/api/ask", "notebooks/01-start-here", "docs/tables"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_open_from_their_files(
    site: tuple[Path, list[str]], new_page: Any, scheme: Any
) -> None:
    page = new_page(color_scheme=scheme)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    for name in SEEN:
        page.goto((site[0] / f"{name}.html").as_uri())
        page.locator("article h1").first.wait_for()
        lightness = page.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
        )
        assert (lightness > 128) == (scheme == "light"), name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    assert wrong == []


def test_the_menu_numbers_the_notebooks_as_their_files(site: tuple[Path, list[str]]) -> None:
    page = (site[0] / "docs/index.html").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        number = path.name.partition("-")[0]
        assert re.search(rf'href="[./]*notebooks/{path.stem}.html">{number} · ', page), path.stem


CUT = """[...document.querySelectorAll("article pre, article .output")]
  .filter((each) => each.scrollWidth > each.clientWidth + 1)
  .map((each) => each.textContent.trim().slice(0, 80))"""


@pytest.mark.parametrize("width", [1280, 1440])
def test_no_code_and_no_printed_answer_is_cut(
    site: tuple[Path, list[str]], new_page: Any, width: int
) -> None:
    page = new_page(viewport={"width": width, "height": 900})
    for name in ("docs/index", "docs/latency", "docs/magics", "notebooks/06-usage-and-budgets"):
        page.goto((site[0] / f"{name}.html").as_uri())
        assert page.evaluate(CUT) == [], name


def test_the_site_is_searched_without_a_server(site: tuple[Path, list[str]], page: Any) -> None:
    page.goto((site[0] / "docs/index.html").as_uri())
    page.get_by_role("textbox", name="Search").fill("budget")
    page.keyboard.press("Enter")
    page.locator("#search-results li a").first.wait_for()


FIGURE = """<!doctype html><meta charset=utf-8><script defer src="figures.js"></script>
<div class="ornb-figure" data-figure='{"data": [{"y": [1, 3, 2]}], "layout": {}}'>
<table><tr><td>the twin</td></tr></table></div>"""


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_a_figure_is_drawn_or_its_table_shown(tmp_path: Path, new_page: Any, scripts: Any) -> None:
    library = Path(plotly.__file__).parent / "package_data/plotly.min.js"
    for file in (DOCS / "_static/figures.js", library):
        shutil.copy(file, tmp_path)
    (tmp_path / "page.html").write_text(FIGURE, encoding="utf-8")
    page = new_page(java_script_enabled=scripts)
    page.goto((tmp_path / "page.html").as_uri())
    page.locator("svg.main-svg" if scripts else "td").first.wait_for()
    assert page.get_by_text("the twin").count() == (0 if scripts else 1)


def brighter() -> dict[str, str]:
    """The palette of figures on a dark page, as figures.js has it."""
    script = (DOCS / "_static/figures.js").read_text(encoding="utf-8")
    return dict(re.findall(r'"(#\w{6})": "(#\w{6})"', script))


def test_every_color_of_the_figures_has_a_brighter_one_for_dark_pages() -> None:
    assert list(brighter()) == list(PALETTE)
    assert min(contrast(color, "#131416") for color in brighter().values()) >= 4.5


@pytest.mark.parametrize("seen", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["all", "deut", "prot"])
def test_brighter_colors_are_told_apart_by_the_colour_blind(seen: Any) -> None:
    pairs = combinations(brighter().values(), 2)
    assert min(float(np.linalg.norm(oklab(a, seen) - oklab(b, seen))) for a, b in pairs) > 0.06


DRAWN = """() => ({
  text: getComputedStyle(document.querySelector(".ornb-figure .xtick text")).fill,
  line: getComputedStyle(document.querySelector(".ornb-figure .js-line")).stroke,
  page: getComputedStyle(document.body).backgroundColor,
})"""


def test_figures_take_the_colors_of_the_page_and_follow_its_theme(
    site: tuple[Path, list[str]], new_page: Any
) -> None:
    page = new_page(color_scheme="light")
    page.goto((site[0] / "notebooks/04-pricing-tiers.html").as_uri())
    figure = page.locator(".ornb-figure", has=page.get_by_role("img", name="through the day"))
    figure.scroll_into_view_if_needed()
    seen = {}
    for scheme in ("light", "dark", "light"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function("document.querySelector('.ornb-figure .js-line')")
        expected = {"light": "rgb(0, 0, 0)", "dark": "rgb(207, 208, 208)"}[scheme]
        page.wait_for_function(f"({DRAWN})().text === '{expected}'")
        seen[scheme] = page.evaluate(DRAWN)
        line, behind = (
            "#{:02x}{:02x}{:02x}".format(*map(int, re.findall(r"\d+", seen[scheme][part])))
            for part in ("line", "page")
        )
        assert contrast(line, behind) >= (4.5 if scheme == "dark" else 3)
    assert seen["light"]["line"] != seen["dark"]["line"]


# ---- the tool ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('<a href="gone.html">', "gone.html leads nowhere"),
        ('<a href="other.html#nowhere">', "no such place"),
        ('<a href="#nowhere">', "no such place"),
        ('<img src="lost.png">', "lost.png leads nowhere"),
        ('<script src="https://cdn.example/x.js"></script>', "loads https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', "loads //cdn.example/x.css"),
        ("<style>@import 'https://cdn.example/x.css';</style>", "loads https://cdn.example"),
        ('<p style="background: url(https://cdn.example/x)">', "loads https://cdn.example/x"),
    ],
)
def test_what_is_wrong_with_a_page_is_found(tmp_path: Path, body: str, words: str) -> None:
    (tmp_path / "page.html").write_text(body, encoding="utf-8")
    (tmp_path / "other.html").write_text('<h1 id="here">', encoding="utf-8")
    (problem,) = docs.check(tmp_path)
    assert words in problem


def test_good_pages_pass(tmp_path: Path) -> None:
    body = '<a href="other.html#here"> <a href="https://example.org/"> <img src="data:,">'
    (tmp_path / "page.html").write_text(body, encoding="utf-8")
    (tmp_path / "other.html").write_text('<h1 id="here"> <a href="page.html">', encoding="utf-8")
    assert docs.check(tmp_path) == []


def test_without_its_tools_it_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(docs, "installed", lambda: False)
    assert docs.main([]) == 1
    assert "make docs" in capsys.readouterr().err
