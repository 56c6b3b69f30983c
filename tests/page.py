"""A widget as its page and its notebook see it, with neither: what they say and what they get."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from IPython.core.formatters import DisplayFormatter
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display
from IPython.utils.capture import capture_output
from ipywidgets import Widget
from traitlets.config import Config

PATIENCE_S = 180.0
"""For what another thread does at once: only a test that fails waits this long."""


def until(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Wait for something that another thread or process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not come in {seconds:.0f} s"
        time.sleep(0.005)


def page_has(widget: Any, text: str) -> bool:
    """Whether the page was told a text: as news, or in the whole that one unheard gets at times."""
    return any(text in json.dumps(one) for kind in ("delta", "state") for one in widget.said(kind))


def quickest(deed: Callable[[], float], enough_s: float, tries: int = 8) -> float:
    """The least of the seconds that a deed gives; on a busy machine the first tries may be late."""
    best = deed()
    for _ in range(tries - 1):
        if best < enough_s:
            break
        best = min(best, deed())
    return best


def as_soon_as(condition: Callable[[], object], deed: Callable[[], object]) -> None:
    """Do something from another thread once a condition holds."""

    def wait() -> None:
        until(condition)
        deed()

    threading.Thread(target=wait, daemon=True).start()


def main_waits_in(function: Callable[..., object]) -> bool:
    """Whether the main thread waits in a function, where an interruption finds it."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    waits = frame is not None and frame.f_code.co_filename == threading.__file__
    while frame is not None and frame.f_code is not function.__code__:
        frame = frame.f_back
    return waits and frame is not None


def from_page(widget: Widget, content: Any, *buffers: Any) -> None:
    """Bring a widget a message of its page's, as Jupyter does."""
    data = {"method": "custom", "content": content}
    widget.comm.handle_msg({"content": {"data": data}, "buffers": list(buffers)})


def displayed(value: Any) -> dict[str, Any]:
    """What there is of a value to be displayed, by kind."""
    formatter = DisplayFormatter()
    formatter.ipython_display_formatter.enabled = False  # it would put it out
    data: dict[str, Any] = formatter.format(value)[0]
    return data


@contextlib.contextmanager
def cell() -> Iterator[list[dict[str, Any]]]:
    """A cell of a notebook; once it is over, the list has the bundles of its outputs, in order."""
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.kernel = None  # what has one is a notebook, not a terminal
    bundles: list[dict[str, Any]] = []
    try:
        with capture_output() as caught:
            yield bundles
        bundles += [output.data for output in caught.outputs]
    finally:
        InteractiveShell.clear_instance()


def lasting(widget: Widget) -> dict[str, Any]:
    """The output of a shown widget that stays in the notebook, beside the live one."""
    with cell() as bundles:
        display(widget)
    return next(each for each in bundles if "application/vnd.jupyter.widget-view+json" not in each)


def printed(error: BaseException) -> list[str]:
    """What stands below a cell that this error ended, for an error that says so itself."""
    lines: list[str] = error._render_traceback_()  # type: ignore[attr-defined]
    return lines
