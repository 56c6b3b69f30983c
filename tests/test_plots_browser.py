"""Every figure in a real browser: drawn without a complaint, a request, or a mark out of place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.offline
import pytest
from playwright.sync_api import expect

from ornb import catalog_changes, plots
from tests.figures import ALL, TOLD, models
from tests.lab import Pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    import plotly.graph_objects as go
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.browser

WIDTHS = {"notebook": 780, "a window of 700 pixels": 612}
PAGE = '<body style="margin:0"><div id="room"><div id="figure"></div></div></body>'
DRAW = """
async ([text, width]) => {
  document.querySelector("#room").style.width = `${width}px`;
  const {data, layout} = JSON.parse(text);
  await Plotly.newPlot("figure", data, layout, {responsive: true});
}
"""
OVERLAPS = """
() => {
  // Texts of the figure that lie on each other, by more than the rounding of their boxes.
  const texts = [...document.querySelectorAll(
    ".gtitle, .xtitle, .ytitle, .x2title, .annotation-text, .xtick text, .ytick text," +
    ".x2tick text, .y2tick text, .legendtext")]
    .filter(text => text.textContent.trim())
    .map(text => [text.textContent, text.getBoundingClientRect()]);
  const found = [];
  for (const [n, [a, p]] of texts.entries()) for (const [b, q] of texts.slice(n + 1)) {
    const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    const tilted = Math.min(p.width, q.width) > 0 && (p.height > 25 && p.width > 25
      && p.height < 120 && a.length < 14 && b.length < 14);
    const side = a.length < 8 && b.length < 8 && Math.abs(p.top - q.top) < 1;  // ticks of one axis
    if (wide > (side ? -4 : 2) && high > 3 && !tilted) found.push(`${a} | ${b}`);
  }
  return found;
}
"""
OUTSIDE = """
() => {
  const page = document.querySelector("#figure").getBoundingClientRect();
  return [...document.querySelectorAll("#figure svg text")]
    .filter(text => text.textContent.trim())
    .map(text => [text.textContent, text.getBoundingClientRect()])
    .filter(([, box]) => box.width && (box.left < page.left - 1 || box.right > page.right + 1
      || box.top < page.top - 1 || box.bottom > page.bottom + 1))
    .map(([text]) => text);
}
"""

STRUCK = """
() => {
  // Names that a line strikes through: a curve, a rule of the grid that lies as the name does, or
  // for names of rows, any rule of the panel beside theirs.
  const all = (selector) => [...document.querySelectorAll(`#figure :is(${selector})`)];
  const curves = all(".js-line, .shapelayer path").flatMap((line) => {
    const place = line.getScreenCTM(), whole = line.getTotalLength();
    return Array.from({length: 600}, (_, n) =>
      line.getPointAtLength(whole * n / 600).matrixTransform(place)
    ).map(({x, y}) => ({left: x, right: x, top: y, bottom: y}));
  });
  const rules = (selector) => all(selector).map(line => line.getBoundingClientRect());
  const struck = (names, lines) => all(names)
    .map(text => [text.textContent, text.getBoundingClientRect()])
    .filter(([, box]) => lines.some(({left, right, top, bottom}) => right > box.left + 2
      && left < box.right - 2 && bottom > box.top + 3 && top < box.bottom - 3))
    .map(([text]) => text);
  return struck(".annotation-text", [...curves, ...rules(".ygrid")])
    .concat(struck(".ytick text, .y2tick text", [...curves, ...rules(".xgrid")]));
}
"""


class Sheet:
    """A page with plotly.js and nothing else."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._heard)
        page.route("**/*", self._refuse)
        page.set_content(PAGE)
        page.add_script_tag(content=plotly.offline.get_plotlyjs())

    def _heard(self, line: Any) -> None:
        if line.type in ("error", "warning"):
            self.complaints.append(line.text)

    def _refuse(self, route: Route) -> None:
        self.asked.append(route.request.url)
        route.abort()

    def draw(self, figure: go.Figure, width: int = 780) -> None:
        self.page.evaluate(DRAW, [figure.to_json(), width])

    def check(self) -> None:
        complaints, asked, self.complaints, self.asked = self.complaints, self.asked, [], []
        assert complaints == []
        assert asked == []


@pytest.fixture(scope="module")
def loaded(browser: Browser) -> Iterator[Sheet]:
    """plotly.js takes a page a second to read: once."""
    pages = Pages(browser)
    yield Sheet(pages.make(viewport={"width": 820, "height": 900}))
    pages.close()
    pages.check()


@pytest.fixture
def sheet(loaded: Sheet) -> Iterator[Sheet]:
    """A sheet on which nothing may go wrong."""
    yield loaded
    loaded.check()


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_all_figures_are_drawn_without_a_complaint(sheet: Sheet, width: int) -> None:
    wrong: dict[str, list[str]] = {}
    for name, make in ALL.items():
        sheet.draw(make(), width)
        marks = "#figure .point, #figure .points path, #figure .js-line"
        expect(sheet.page.locator(marks).first).to_be_attached()
        found = sheet.page.evaluate(OVERLAPS) + sheet.page.evaluate(OUTSIDE)
        if found:
            wrong[name] = found
    assert wrong == {}


@pytest.mark.parametrize("width", [*WIDTHS.values(), 1300])
def test_no_line_strikes_a_name_through(sheet: Sheet, width: int) -> None:
    struck: dict[str, list[str]] = {}
    long_names = {"long names": lambda: plots.catalog_changes(catalog_changes("2025-04-09"))}
    for name, make in (ALL | long_names).items():
        sheet.draw(make(), width)
        if found := sheet.page.evaluate(STRUCK):
            struck[name] = found
    assert struck == {}


def test_all_figures_of_the_dark_theme_are_drawn(sheet: Sheet) -> None:
    for make in ALL.values():
        sheet.draw(make(theme="dark"))
        paper = sheet.page.locator("#figure .main-svg").first
        expect(paper).to_have_css("background-color", "rgb(17, 17, 17)")


def test_hostile_text_is_read_and_does_nothing(sheet: Sheet) -> None:
    evil = '<b>bold</b><a href="https://host.example/">x</a> <img src=x onerror="top.hit=1">'
    told = [{"token": evil, "logprob": -0.1}, *TOLD]
    sheet.draw(plots.token_probabilities(told))
    frame = models().head(3).rename(index={models().index[0]: evil})
    sheet.draw(plots.price_map(frame, highlight=evil))
    expect(sheet.page.locator(".legendtext").first).to_have_text(evil)
    assert sheet.page.locator("#figure svg a, #figure img").count() == 0
    assert sheet.page.evaluate("top.hit") is None


def test_no_button_uploads_the_figure(sheet: Sheet) -> None:
    sheet.draw(plots.price_map(models()))
    titles = sheet.page.locator(".modebar-btn").evaluate_all(
        "buttons => buttons.map(button => button.dataset.title)"
    )
    assert titles
    assert [title for title in titles if "hare" in title or "loud" in title] == []


def test_hover_text_is_complete(sheet: Sheet) -> None:
    sheet.draw(plots.price_map(models(), highlight="openai/gpt-5.4"))
    sheet.page.evaluate("Plotly.Fx.hover('figure', [{curveNumber: 1, pointNumber: 0}])")
    text = sheet.page.locator(".hoverlayer")
    for part in ("openai/gpt-5.4", "prompt: 2.5 USD", "completion: 15 USD", "context: "):
        expect(text).to_contain_text(part)
