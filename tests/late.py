"""Pages on a machine that is late: `pytest -p tests.late -m browser`.

A page gets a part of the processor's time, and its frames and the sizes of its elements come later.
What a test reads in a page before it is there is found this way, which on a quick machine is found
by chance.
"""

from __future__ import annotations

from typing import Any

from playwright.sync_api import BrowserContext, Page

SLOWER = 4
LATE_MS = 300
SCRIPT = """(late) => {
const [frame, later] = [requestAnimationFrame.bind(window), setTimeout.bind(window)];
requestAnimationFrame = (draw) => later(() => frame(draw), late);
cancelAnimationFrame = clearTimeout;
ResizeObserver = class extends ResizeObserver {
  constructor(told) { super((entries, self) => later(() => told(entries, self), late)); }
};
}"""


def pytest_configure() -> None:
    """Make all pages late, where this is given as a plugin: to import it changes nothing."""
    make = BrowserContext.new_page

    def new_page(context: BrowserContext, *args: Any, **options: Any) -> Page:
        if not context.pages:
            context.add_init_script(f"({SCRIPT})({LATE_MS})")
        page = make(context, *args, **options)
        devtools = context.new_cdp_session(page)
        devtools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        return page

    BrowserContext.new_page = new_page  # type: ignore[method-assign]
