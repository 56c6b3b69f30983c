"""Build the site of docs, and check it: pages, links, and that it asks no other host for anything.

`make docs` runs `python tools/docs.py`, which writes `site/`. The site is read from its files or
from any web server, without a network. Notebooks are shown as they are stored; nothing is run.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "docs"
MISSING = 'The site needs the extra "docs": pip install -e ".[docs]" (make docs does it).'
LOADED = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "video": ("src", "poster"),
}
"""What a browser fetches unasked, by element."""
NOT_LOADED = {"next", "prev", "search", "index", "author", "canonical", "license"}
"""Kinds of `<link>` that only tell of another page."""
IN_STYLES = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""")


def installed() -> bool:
    """Tell whether what builds the site is there.

    Returns
    -------
    bool
    """
    names = ("furo", "myst_nb", "sphinx", "sphinx_copybutton", "sphinx_design")
    return all(importlib.util.find_spec(name) for name in names)


def build(folder: Path, work: Path = WORK, jobs: int = 2) -> list[str]:
    """Make the pages, all of them anew: a second build in one folder loses listings of code.

    Parameters
    ----------
    folder : pathlib.Path
        Where they go; it is emptied first.
    work : pathlib.Path
        For what is made on the way; it is emptied first.
    jobs : int
        Processes at once; each further one reads our modules anew.

    Returns
    -------
    list of str
        What is wrong: Sphinx's warnings, one each. Empty is good.

    Raises
    ------
    RuntimeError
        Sphinx itself failed.
    """
    made = work / "html"
    warnings = work / "warnings.txt"
    shutil.rmtree(work, ignore_errors=True)
    made.mkdir(parents=True)
    options = ["-q", "--builder", "html", "--jobs", str(jobs), "--warning-file", str(warnings)]
    places = ["--conf-dir", str(ROOT / "docs"), "--doctree-dir", str(work / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, *places, str(ROOT), str(made)]
    # Its widgets and examples are looked at, not used: no key is needed, and none is seen.
    hidden = {"OPENROUTER_API_KEY", "OPENROUTER_BASE_URL"}
    quiet = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr or done.stdout)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made, folder)
    text = re.sub(r"\x1b\[[0-9;]*m", "", warnings.read_text(encoding="utf-8"))
    return text.replace(f"{ROOT}{os.sep}", "").splitlines()


# ---- checking what was built ---------------------------------------------------------------------


@dataclass
class Page(HTMLParser):
    """The links, the anchors and the loaded files of one page."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element refers to."""
        named = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        self.anchors.update(value for name in ("id", "name") if (value := named.get(name)))
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        if tag == "link" and set(named.get("rel", "").split()) & NOT_LOADED:
            self.links.append(named["href"])
        else:
            self.loads += [named[name] for name in LOADED.get(tag, ()) if named.get(name)]
        self.loads += IN_STYLES.findall(named.get("style", ""))

    def handle_data(self, data: str) -> None:
        """Look into style sheets that stand in the page."""
        if self._in_style:
            self.loads += IN_STYLES.findall(data)


def check(site: Path) -> list[str]:
    """Look for links that lead nowhere, and for files that other hosts would be asked for.

    Parameters
    ----------
    site : pathlib.Path
        A built site.

    Returns
    -------
    list of str
        What is wrong, one sentence each. Links to other hosts are not followed.
    """
    pages: dict[Path, Page] = {}
    for path in sorted(site.rglob("*.html")):
        pages[path] = Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    problems = [
        f"{path.relative_to(site)} loads {address}"
        for path, address in _loads(site, pages)
        if "//" in address.partition("?")[0] and not address.startswith("data:")
    ]
    problems += [
        f"{path.relative_to(site)}: {problem}"
        for path, page in pages.items()
        for address in [*page.links, *page.loads]
        if (problem := _dead(path, address, pages))
    ]
    return list(dict.fromkeys(problems))


def _loads(site: Path, pages: dict[Path, Page]) -> Iterator[tuple[Path, str]]:
    for path, page in pages.items():
        for address in page.loads:
            yield path, address
    for path in sorted(site.rglob("*.css")):
        for address in IN_STYLES.findall(path.read_text(encoding="utf-8")):
            yield path, address


def _dead(path: Path, address: str, pages: dict[Path, Page]) -> str | None:
    """Say what is wrong with an address within the site, if anything is."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return None
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return f"{address} leads nowhere"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return f"{address}: that page has no such place"
    return None


def main(arguments: list[str] | None = None) -> int:
    """Build and check the site.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the command line.

    Returns
    -------
    int
        Exit status: 1 when something is wrong.
    """
    parser = argparse.ArgumentParser(description="Build the site of docs, and check it.")
    parser.add_argument("--to", type=Path, default=ROOT / "site", help="folder of the site")
    chosen = parser.parse_args(arguments)
    if not installed():
        print(MISSING, file=sys.stderr)
        return 1
    print("Building the site ...", flush=True)
    if problems := build(chosen.to) + check(chosen.to):
        print(*problems, sep="\n", file=sys.stderr)
        return 1
    pages = len(list(chosen.to.rglob("*.html")))
    print(f"{pages} pages, all links within them good: {chosen.to / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
