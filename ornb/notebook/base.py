"""What every widget of ornb shares: wrong names are refused, errors are seen, something is left.

`Widget` adds what the plain anywidget lacks: a misspelt name is an error and not a silence; an
exception that a click caused appears in the widget, where otherwise nobody would see it; and its
bundle carries a plain HTML and a text twin for places where no kernel runs. `LastingWidget` has an
ordinary output beside it, which is there also when its notebook is opened again.
"""

from __future__ import annotations

import contextlib
import contextvars
import re
import secrets
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anywidget
import IPython
import traitlets as t
from IPython.display import display

from ..errors import ConfigError, OrnbError, near
from .host import Lasting, with_help

if TYPE_CHECKING:
    from ..api.client import Client

PATIENCE_S = 0.4
"""How long Stop waits for the network to let go, before it goes on without it."""
WHOLE_EVERY_S = 1.0
"""How often a page that has not been heard yet gets everything."""

_CSS_PART = re.compile(r'^@import "\./([\w-]+\.css)";\n', re.MULTILINE)
_JS_PART = re.compile(r'^import \{[^}]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let)\b)", re.MULTILINE)


def sheet(place: Path) -> str:
    """Join the style sheet of a widget's module with the parts it imports.

    anywidget takes text, and a page can't import from the kernel's disk. ``.ornb`` in the parts
    becomes the widget's own class, so that two of them in one page don't depend on their order.
    """
    joined = "\n".join(_parts(place.with_suffix(".css"), _CSS_PART, {}).values())
    return re.sub(r"\.ornb(?![\w-])", f".ornb-{place.stem}", joined)


def module(place: Path) -> str:
    """Join the script of a widget's module with the parts it imports, each once, in one scope."""
    parts = _parts(place.with_suffix(".js"), _JS_PART, {})
    return "\n".join(_EXPORT.sub("", text) for text in parts.values())


def _parts(path: Path, pattern: re.Pattern[str], found: dict[str, str]) -> dict[str, str]:
    """Collect a file and what it imports, what is imported first."""
    if path.name not in found:
        text = path.read_text(encoding="utf-8")
        for name in pattern.findall(text):
            _parts(path.with_name(name), pattern, found)
        found[path.name] = pattern.sub("", text)
    return found


def cell_number() -> int | None:
    """Return which cell of a notebook runs; None where no host counts them."""
    shell = IPython.get_ipython()
    return getattr(shell, "execution_count", None) if hasattr(shell, "kernel") else None


def in_thread(name: str, job: Callable[..., object], *args: Any) -> None:
    """Have a thread do something, in the context of whoever asks for it."""
    run = contextvars.copy_context().run
    threading.Thread(target=run, args=(job, *args), name=name, daemon=True).start()


def if_not_soon(job: Callable[..., object], *args: Any) -> None:
    """Do something after `PATIENCE_S`: a connection that is only being made cannot be cut."""
    late = threading.Timer(PATIENCE_S, job, args)
    late.daemon = True
    late.start()


def waited(ended: threading.Event, timeout_s: float | None) -> bool:
    """Wait for an event, and return whether it came."""
    left = float("inf") if timeout_s is None else timeout_s
    until = monotonic() + left
    while not ended.wait(max(0.0, min(0.2, left))):  # Windows can't interrupt a bare wait
        left = until - monotonic()
        if left <= 0:
            return False
    return True


def service_of(client: Client) -> str:
    """Say who is asked: "offline", or the host of a live service."""
    return "offline" if client.source == "offline" else urlsplit(client.base_url).netloc


class BadValue(ConfigError, t.TraitError):
    """A value that a widget refuses.

    It is traitlets' error too, since only that makes traitlets undo a change it has half made.
    """


def describe(error: BaseException) -> str:
    """Put an exception into the one line that a person sees in the widget.

    Of one that is not ornb's the type and the place are said too: most likely it is in their code.
    """
    if isinstance(error, OrnbError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" ({Path(last.filename).name}, line {last.lineno})" for last in place)
    return f"{type(error).__name__}: {error}{where}"


class Choice(t.TraitType[Any, Any]):
    """What a person chose; traitlets' own types would let None by the validator."""

    default_value = None


class Widget(anywidget.AnyWidget):
    """Base of ornb's widgets: takes any trait by name, and refuses names that it does not have."""

    error = t.Unicode("").tag(sync=True)
    """What went wrong last, for the person to read; empty when nothing did."""

    def __init__(self, **traits: Any) -> None:
        for name in traits:
            if not self.has_trait(name):
                raise ConfigError(self._unknown(name))
        super().__init__(**traits)

    def __setattr__(self, name: str, value: Any) -> None:
        # A typo must not become a new attribute that nothing reads.
        if not (name.startswith("_") or hasattr(type(self), name)):
            raise ConfigError(self._unknown(name))
        try:
            super().__setattr__(name, value)
        except t.TraitError as err:
            if isinstance(err, ConfigError):
                raise
            raise BadValue(str(err)) from err

    def _unknown(self, name: str) -> str:
        own = [n for n in dir(type(self)) if not n.startswith("_")]
        return f"{type(self).__name__} has no {name!r}.{near(name, own)}"

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Show what goes wrong inside the block in the widget, instead of raising it.

        For code that a front end's message starts: Jupyter drops its exceptions unseen.
        """
        self.error = ""
        try:
            yield
        except Exception as err:  # noqa: BLE001 - the boundary: nobody above would show it
            self.error = describe(err)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the front end sends; an observer's exception is shown, not lost.

        After an error the page is told what the values are now: it may show one that was refused.
        """
        with self.guard():
            super().set_state(sync_data)
            return
        self.send_state([name for name in sync_data if name in self.keys])

    def _stay_reachable(self) -> None:
        """Keep clicks from being brought to the thread of the cell, which may be waiting.

        ipykernel 7.4 brings them to where the widget spoke last; without a note of that they come
        in where the page sends them. To be called after whatever was sent.
        """
        with contextlib.suppress(AttributeError):
            del self.comm._reply_subshell_id

    def _static_html(self) -> str:
        """Return the HTML for where no kernel runs: safe, complete, read once."""
        return ""

    def _static_text(self) -> str:
        """Return the plain text for where not even HTML is drawn."""
        return f"{type(self).__name__} (needs a running kernel)"

    def __repr__(self) -> str:
        return self._static_text()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        data["text/plain"] = with_help(self._static_text())
        html = self._static_html()
        if html:
            data["text/html"] = html
        return data, metadata


class LastingWidget(Widget):
    """A widget beside which stands an ordinary output, which stays when the widget is gone."""

    _lasting_id = t.Unicode().tag(sync=True)
    """The page finds the output by it, and hides that for as long as it lives itself."""

    def __init__(self, **traits: Any) -> None:
        self._lock = threading.RLock()
        self._sequence = 0
        self._whole_due = 0.0
        self._page: str | None = None
        self._lasting: Lasting | None = None
        super().__init__(**traits, _lasting_id=secrets.token_hex(6))

    @property
    def _lasting_class(self) -> str:
        return f"ornb-static-{self._lasting_id}"

    def _tell(self, kind: str, **content: Any) -> None:
        """Send the page a message, numbered, so that it notices when one was lost."""
        with self._lock:
            self._sequence += 1
            self.send({"type": kind, "seq": self._sequence, **content})
            self._stay_reachable()

    def _tell_state(self) -> None:
        """Send the page everything, and note in `_whole_due` when that is due again."""
        raise NotImplementedError

    def _tell_news(self, kind: str, **content: Any) -> None:
        """Send a message, or now and then everything to a page that has not been heard.

        The cell that waits for answers may hold back the page's greeting; so it need not ask.
        """
        if self._page is None and monotonic() >= self._whole_due:
            self._tell_state()
        else:
            self._tell(kind, **content)

    def _bundle(self) -> dict[str, Any]:
        """Make the output that stays."""
        raise NotImplementedError

    def _show(self) -> None:
        """Show the output that stays, and the widget below it."""
        self._lasting = Lasting(self._bundle())
        self._show_live()

    def _show_live(self) -> None:
        bundle = super()._repr_mimebundle_()
        if bundle is not None:
            # No HTML: an exported page without the widget's state would show it twice.
            live = {name: part for name, part in bundle[0].items() if name != "text/html"}
            live["text/plain"] = with_help(self._live_text())
            display(live, metadata=bundle[1], raw=True)  # type: ignore[no-untyped-call]

    def _live_text(self) -> str:
        """Return the text of the live output, saved as the widget was when it was shown."""
        return self._static_text()

    def _keep(self) -> None:
        """Bring the output that stays up to date."""
        if self._lasting is not None:
            self._lasting.update(self._bundle())
