"""What axe finds wrong with a page for those who hear it, see little, or use the keyboard."""

from __future__ import annotations

from functools import cache

import pytest
from playwright.sync_api import Page


@cache
def _script() -> str:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    script: str = axe.Axe().axe_script
    return script


RUN = """async ([root, kinds]) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  await frame().then(frame);
  const { violations } = await axe.run(root, { resultTypes: ["violations"] });
  return violations.filter(({ impact }) => !kinds || kinds.includes(impact)).flatMap(
    ({ id, nodes }) => nodes.map(({ html, failureSummary }) =>
      `${id}: ${html.slice(0, 200)} (${failureSummary})`));
}"""


def violations(page: Page, root: str = "html", *, serious: bool = False) -> list[str]:
    """What axe finds in a page as it is drawn next; with `serious` nothing less than that."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(_script())
    kinds = ["serious", "critical"] if serious else None
    found: list[str] = page.evaluate(RUN, [root, kinds])
    return found
