"""Pictures of plotly figures, drawn by a browser on this machine."""

from __future__ import annotations

import re
import zlib
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from ornb.errors import ConfigError
from tools.system import NO_BROWSER, find_browser

WIDTH = 780
"""Of a picture, in CSS pixels: about that of a notebook."""
HEIGHT = 450
"""Of a figure that has none of its own."""

DRAW = """
([data, layout, width, height, seed]) => {
  // Plotly numbers its clip paths by lot: the same figure gets the same numbers here.
  Math.random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  return Plotly.toImage({data, layout}, {format: "svg", width, height});
}
"""
_NUMBER = re.compile(r"(?<=[ ,(=\"'MLHVCQAZ-])\d+\.\d{3,}")


class Drawing:
    """A browser with plotly.js, started when the first figure comes. Used in a ``with``."""

    def __init__(self) -> None:
        self._page: Any = None
        self._playwright: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._playwright is not None:
            self._playwright.stop()

    def svg(self, figure: dict[str, Any]) -> str:
        """Draw a figure.

        Parameters
        ----------
        figure : dict
            Plotly's JSON: ``data`` and ``layout``.

        Returns
        -------
        str
            An SVG document, without a background where the figure has none.

        Raises
        ------
        ConfigError
            There is no browser.
        """
        page = self._page or self._open()
        layout = figure["layout"]
        seed = zlib.crc32(repr(figure).encode()) % 2147483646 + 1
        sizes = [layout.get("width") or WIDTH, layout.get("height") or HEIGHT]
        address = page.evaluate(DRAW, [figure["data"], layout, *sizes, seed])
        drawn = unquote(address.partition(",")[2])
        return _NUMBER.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), drawn)

    def _open(self) -> Any:
        import plotly.offline
        from playwright.sync_api import sync_playwright

        path = find_browser()
        if path is None:
            raise ConfigError(NO_BROWSER)
        self._playwright = sync_playwright().start()
        browser = self._playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        self._page = browser.new_page()
        self._page.route("**/*", lambda route: route.abort())  # nothing is fetched for a picture
        self._page.set_content("<body></body>")
        self._page.add_script_tag(content=plotly.offline.get_plotlyjs())
        return self._page
