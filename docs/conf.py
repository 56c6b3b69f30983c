"""How the pages of docs/ and the notebooks become a site; `make docs` builds it.

The source folder is the project's root, so that pages, notebooks and code are linked here as they
are in the repository. What the site needs is in the site: it fetches nothing from other hosts.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from base64 import b64encode
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from sphinx.domains.python import PyObject
from sphinx.util.inspect import signature, stringify_signature

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
# What reads notebooks would take two seconds to make grammars of IRIs with it, for no one here.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

import ornb  # noqa: E402 - found only now

project = "ornb"
author = "The ornb developers"
project_copyright = "the ornb developers, MIT licence"
release = version = ornb.__version__

# ---- pages -------------------------------------------------------------------------------------

root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/api/*.md",
    "notebooks/*.ipynb",
    "benchmarks/README.md",
    "CHANGELOG.md",
]
exclude_patterns = [  # folders that need not even be looked into
    ".*",
    "binder",
    "build",
    "dist",
    "ornb",
    "site",
    "test-results",
    "tests",
    "tools",
]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_dmath_allow_digits = False  # so that "$1 and $2" stays money
myst_dmath_allow_space = False
myst_heading_anchors = 4
nb_execution_mode = "off"  # notebooks are shown as they are stored
nb_ipywidgets_js: dict[str, Any] = {}  # a reader without a kernel has no use for live widgets
nb_merge_streams = True
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}

# ---- the reference, out of the docstrings ------------------------------------------------------

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings have them, with shapes and units
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_preprocess_types = True
python_maximum_signature_line_length = 80
add_module_names = False
default_role = "py:obj"  # `Reply` in a docstring is a link, as numpydoc has it
suppress_warnings = [
    "ref.python",  # a word such as `calls` may be a name of several classes
]
toc_object_entries_show_parents = "hide"

# ---- looks -------------------------------------------------------------------------------------

html_theme = "furo"
html_title = "ornb"
html_baseurl = ""
html_copy_source = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("figures.js", {"defer": "defer"})]
html_math_renderer = "mathml"
pygments_style = "friendly"
pygments_dark_style = "github-dark"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Ubuntu, Cantarell, sans-serif'
html_theme_options = {
    "light_css_variables": {
        "font-stack": FONT,
        "font-stack--headings": FONT,
        "color-brand-primary": "#3b4fc4",
        "color-brand-content": "#3b4fc4",
        "color-brand-visited": "#3b4fc4",
    },
    "dark_css_variables": {
        "color-brand-primary": "#a5b4ff",
        "color-brand-content": "#a5b4ff",
        "color-brand-visited": "#a5b4ff",
    },
}

# ---- mathematics without a script ---------------------------------------------------------------


def _inline(translator: Any, node: Any) -> None:
    translator.body.append(convert(node.astext()))
    raise SkipNode


def _block(translator: Any, node: Any) -> None:
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise SkipNode


# ---- signatures --------------------------------------------------------------------------------


def own_signature(
    _app: Sphinx, what: str, _name: str, thing: Any, _options: Any, *shown: str
) -> Any:
    """Show what a widget takes: of one with traits, only ``*args`` is seen from outside."""
    if what == "class" and shown[0] == "(*args, **kwargs)":
        return stringify_signature(signature(thing.__init__, bound_method=True), False), None
    return None


def mend_backlinks(app: Sphinx, page: str, _template: str, context: Any, _tree: Any) -> None:
    """Lead from a listing of code back to its docs: viewcode takes all names for `ornb.name`."""
    if not page.startswith("_modules/ornb"):
        return
    module = page.removeprefix("_modules/").replace("/", ".")
    known = app.env.domains.python_domain.objects

    def mended(found: re.Match[str]) -> str:
        name = found[0]
        return name if name in known else f"{module}.{name.removeprefix('ornb.')}"

    context["body"] = re.sub(r'(?<=#)ornb\.[\w.]+(?=">\[docs\])', mended, context["body"])


# ---- examples ----------------------------------------------------------------------------------

BLANK_BEFORE_FENCE = re.compile(r"\n\n(```\n)")


def close_examples(_app: Sphinx, _docname: str, source: list[str]) -> None:
    """Take away the blank line that ends an example for doctest: readers need none."""
    source[0] = BLANK_BEFORE_FENCE.sub(r"\n\1", source[0])


# ---- notebooks for readers without a kernel ------------------------------------------------------

FIGURE = "application/vnd.plotly.v1+json"
READABLE = {
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/svg+xml",
    "text/html",
    "text/latex",
    "text/plain",
}
"""What a page can show. Live widgets and transcripts are left out: their static twin is there."""

HEADER = re.compile(r"(?<=<th>)[a-z0-9_]+_[a-z0-9_]+(?=</th>)")


def _breakable(name: re.Match[str]) -> str:
    """Let the name of a column go on in a second line, so that more columns have room."""
    return name[0].replace("_", "_<wbr>")


def read_notebook(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Number a notebook, leave out what only a kernel can show, and give its figures a place."""
    if not docname.startswith("notebooks/"):
        return
    notebook = json.loads(source[0])
    notebook["metadata"].setdefault("language_info", {})["pygments_lexer"] = "ipython3"
    number = Path(docname).name.partition("-")[0]
    if number.isdecimal():  # the guides say "notebook 06", so the menu does too
        opening = notebook["cells"][0]
        opening["source"] = re.sub("^# ", f"# {number} · ", _text(opening["source"]))
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            shown = output.get("data", {})
            if FIGURE in shown:
                shown["text/html"] = _figure(shown)
            elif "text/html" in shown:
                shown["text/html"] = HEADER.sub(_breakable, _text(shown["text/html"]))
            for kind in set(shown) - READABLE:
                del shown[kind]
    source[0] = json.dumps(notebook)


def _figure(shown: dict[str, Any]) -> str:
    """A place for a figure: figures.js draws it there; else its picture is seen, or its table."""
    figure = shown[FIGURE]
    data = escape(json.dumps({"data": figure["data"], "layout": figure["layout"]}))
    twin, picture = (_text(shown.get(kind)) for kind in ("text/html", "image/svg+xml"))
    if picture:
        coded = b64encode(picture.encode()).decode()
        words = escape(_text(shown.get("text/plain")))
        twin = f'<img src="data:image/svg+xml;base64,{coded}" alt="{words}">'
    elif "<script" in twin:
        twin = ""
    return f'<div class="ornb-figure" data-figure="{data}">{twin}</div>'


def _text(lines: str | list[str] | None) -> str:
    return "".join(lines or ())


def finish(app: Sphinx, error: Exception | None) -> None:
    """Put beside the pages what they need, and a door at the top."""
    if error is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    pages = site.glob("notebooks/*.html")
    if any('class="ornb-figure"' in page.read_text(encoding="utf-8") for page in pages):
        import plotly

        script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
        shutil.copyfile(script, site / "_static" / "plotly.min.js")
    home = f"{root_doc}.html"
    door = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>ornb</title>'
        f'<meta http-equiv="refresh" content="0; url={home}"><a href="{home}">ornb</a></html>\n'
    )
    (site / "index.html").write_text(door, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    for kind in PyObject.doc_field_types:
        if kind.name == "variable":
            kind.label = "Attributes"  # as the docstrings have it
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("autodoc-process-signature", own_signature)
    app.connect("html-page-context", mend_backlinks)
    app.connect("source-read", close_examples)
    app.connect("source-read", read_notebook)
    app.connect("build-finished", finish)
