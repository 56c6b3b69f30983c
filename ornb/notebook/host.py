"""Who keeps the outputs of the notebook: its page, or a server, which takes less than a page does.

jupyter-server-documents 0.2 files an update under the cell whose message caused it, and its page
draws an output twice that changes quickly; 0.3 hears a cell no longer once it has run, makes one
more output of each update, and has no widget drawn.
"""

from __future__ import annotations

import contextvars
import functools
import importlib.metadata
import os
import threading
from collections.abc import Mapping
from typing import Any

from IPython.display import display

PAGE_SAYS_SO = threading.Event()
"""Set once a page has said that such a server keeps its outputs."""


def release() -> str:
    """Return the release of that server; empty where it is not in the kernel's environment."""
    return _installed() if "JPY_SESSION_NAME" in os.environ else ""  # else no server started us


def server_keeps() -> bool:
    """Whether such a server keeps the outputs."""
    return PAGE_SAYS_SO.is_set() or bool(release())


def heard(hello: Mapping[str, Any]) -> bool:
    """Hear what a page says of its server; whether that keeps the outputs."""
    if hello.get("served") is True:
        PAGE_SAYS_SO.set()
    return server_keeps()


def with_help(text: str) -> str:
    """Add to a widget's text what to do where the server has none drawn."""
    if not release().startswith("0.3."):
        return text
    return (
        f"{text}\njupyter-server-documents {release()} draws no widget and loses what changes "
        "after its cell has run. Here %%ornb and chat.ask(...) answer and are kept; "
        'chat.save("talk.md") keeps a conversation.'
    )


@functools.cache
def _installed() -> str:
    try:
        return importlib.metadata.version("jupyter-server-documents")
    except importlib.metadata.PackageNotFoundError:
        return ""


class Lasting:
    """An output that is shown here and updated later."""

    def __init__(self, bundle: dict[str, Any], **more: Any) -> None:
        self._handle = display(bundle, raw=True, display_id=True, **more)  # type: ignore[no-untyped-call]
        self._cell = contextvars.copy_context()

    def __bool__(self) -> bool:
        return self._handle is not None  # else this host has printed it, and knows no update

    def update(self, bundle: dict[str, Any], **more: Any) -> None:
        """Show it anew; to a server that keeps it, in the name of the cell that showed it."""
        if self._handle is not None:
            run = self._cell.copy().run if server_keeps() else contextvars.copy_context().run
            run(self._handle.update, bundle, raw=True, **more)
