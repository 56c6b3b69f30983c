"""A widget's own JavaScript in a bare page: no Jupyter, no kernel, no network.

The page gets the true ``.js`` and ``.css`` of a widget and a stand-in for Jupyter's model. The
stand-in hands ``initialize`` and ``render`` *different* objects over one state, as anywidget does,
and tells the page of its own changes too, as Backbone does. Typical use::

    def test_search_reaches_python(draw, page):
        shown = draw(ModelPicker(models))
        page.get_by_role("searchbox").fill("claude")
        shown.deliver()                              # page -> Python widget, and back
        assert shown.widget.search == "claude"

At the end of the test nothing may have gone wrong in the page, or left this machine. `deliver`
stands for a free kernel: until it is called, the kernel is busy.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from comm.base_comm import BaseComm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import ConsoleMessage, Error, Locator, Page, Route

ORIGIN = "http://localhost:9"
"""Never connected to: every request is answered or refused here. localhost is a secure context."""

LONGEST_S = 180
"""How long a thread of the kernel may take on a busy machine."""

MODEL = """async ([script, css, state, theme]) => {
document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
if (theme) document.body.dataset.jpThemeLight = theme;
globalThis.ornbState = state;
const listeners = [];
const dirty = new Set();
globalThis.saved = [];                       // what save_changes sent, oldest first
globalThis.sent = [];                        // what send sent
globalThis.outbox = [];                      // both, as the kernel gets them
const emit = (event, ...args) => {
  for (const one of [...listeners]) if (one.event === event) one.callback(...args);
};
const change = (name, value) => {
  if (JSON.stringify(state[name]) === JSON.stringify(value)) return false;
  state[name] = value;
  emit(`change:${name}`, globalThis.model, value);
  return true;
};
globalThis.names = new Set();                // every trait the widget read or wrote
const proxy = (context) => ({
  get: (name) => { if (context !== "test") names.add(name); return state[name]; },
  set: (name, value) => {
    if (context !== "test") names.add(name);
    if (change(name, value)) dirty.add(name);
  },
  save_changes: () => {
    if (!dirty.size) return;
    const changes = Object.fromEntries([...dirty].map((name) => [name, state[name]]));
    globalThis.saved.push(changes);
    globalThis.outbox.push([{ method: "update", state: changes, buffer_paths: [] }, []]);
    dirty.clear();
  },
  on: (event, callback) => listeners.push({ event, callback, context }),
  off: (event, callback) => {
    for (let i = listeners.length - 1; i >= 0; i -= 1) {
      const one = listeners[i];
      if (one.context === context && (!event || one.event === event)
          && (!callback || one.callback === callback)) listeners.splice(i, 1);
    }
  },
  send: (content, callbacks, buffers = []) => {
    globalThis.sent.push(content);
    const bytes = buffers.map((one) => [...new Uint8Array(one)]);
    globalThis.outbox.push([{ method: "custom", content }, bytes]);
  },
});
globalThis.model = proxy("test");
globalThis.fromKernel = ({ method, state: changes = {}, content }) => {
  if (method === "custom") emit("msg:custom", content, []);
  else for (const [name, value] of Object.entries(changes)) change(name, value);
};
const module = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
const widget = (await import(module)).default;
const stopInitialize = await widget.initialize?.({ model: proxy("initialize") });
globalThis.mount = async (el) => {
  const stop = await widget.render({ model: proxy(el), el });
  return async () => {
    await stop?.();
    for (const one of listeners.filter(({ context }) => context === el)) {
      listeners.splice(listeners.indexOf(one), 1);        // anywidget does this for the view
    }
  };
};
globalThis.unmount = await globalThis.mount(document.getElementById("widget"));
globalThis.forget = () => stopInitialize?.();
}"""

THEMES = {"light": "true", "dark": "false", None: None}
"""What ``body[data-jp-theme-light]`` says."""

HTML = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>widget</title>
<style>
:root { font: 13px/1.4 system-ui, sans-serif; color-scheme: light dark }
body { margin: 12px }
body[data-jp-theme-light="true"] { color-scheme: light; background: #fff }
body[data-jp-theme-light="false"] { color-scheme: dark; background: #111 }
</style>
<link rel="icon" href="data:,"></head>
<body><main><h1 style="position:absolute;clip-path:inset(50%)">A widget</h1>
<div id="widget"></div></main></body></html>"""


class Line(BaseComm):
    """The kernel's end of a widget's comm: what it sends is kept, as JSON, until it is taken."""

    def __init__(self) -> None:
        self._sent: list[dict[str, Any]] = []
        self._news = threading.Condition()
        super().__init__(target_name="jupyter.widget")

    def publish_msg(self, msg_type: str, data: Any = None, *_: Any, **__: Any) -> None:
        if msg_type == "comm_msg" and data["method"] in ("update", "custom"):
            with self._news:
                self._sent.append(json.loads(json.dumps(data)))
                self._news.notify_all()

    def take(self) -> list[dict[str, Any]]:
        """What was sent since the last time, oldest first."""
        with self._news:
            sent, self._sent = self._sent, []
        return sent

    def wait(self) -> None:
        """Wait until there is something to take."""
        with self._news:
            assert self._news.wait_for(lambda: self._sent, LONGEST_S), "the kernel is silent"


class Shown:
    """A widget drawn in a page.

    Attributes
    ----------
    page : Page
        The page; ask it for roles and labels as a person would.
    widget : anywidget.AnyWidget
        The Python side.
    root : Locator
        The element the widget was drawn into.
    complaints : list of str
        Errors of the page and its console. A test ends with this empty.
    refused : list of str
        URLs the page asked for beyond its own files. A test ends with this empty.
    """

    def __init__(self, page: Page, widget: Any) -> None:
        self.page, self.widget = page, widget
        self.root: Locator = page.locator("#widget")
        self.complaints: list[str] = []
        self.refused: list[str] = []
        self.line = widget.comm = Line()
        hidden = {"_esm", "_css", "layout", "_anywidget_id"}
        self._state = {k: v for k, v in widget.get_state().items() if k not in hidden}

    def _answer(self, route: Route) -> None:
        if route.request.url == f"{ORIGIN}/":
            route.fulfill(content_type="text/html; charset=utf-8", body=HTML)
            return
        self.refused.append(route.request.url)
        route.abort()

    def _failed(self, error: Error) -> None:
        self.complaints.append(str(error))

    def _wrote(self, line: ConsoleMessage) -> None:
        if line.type == "error":
            self.complaints.append(line.text)

    def open(self, theme: str | None) -> None:
        """Load the page and draw the widget in it."""
        page = self.page
        page.goto("about:blank")  # what the page before still had to say is not this one's
        page.route("**/*", self._answer)
        page.on("pageerror", self._failed)
        page.on("console", self._wrote)
        page.goto(f"{ORIGIN}/", wait_until="domcontentloaded")
        files = [str(self.widget._esm), str(self.widget._css)]
        page.evaluate(MODEL, [*files, self._state, THEMES[theme]])

    def leave(self) -> None:
        """Listen to the page no longer: others are drawn in it."""
        self.page.unroute("**/*", self._answer)
        self.page.remove_listener("pageerror", self._failed)
        self.page.remove_listener("console", self._wrote)

    def theme(self, name: str | None) -> None:
        """Switch to ``"light"``, ``"dark"``, or None: a page that says nothing of its theme."""
        self.page.evaluate(
            "(v) => v === null ? delete document.body.dataset.jpThemeLight"
            " : (document.body.dataset.jpThemeLight = v)",
            THEMES[name],
        )

    def get(self, name: str) -> Any:
        """Read a trait as the page sees it."""
        return self.page.evaluate("(name) => model.get(name)", name)

    @property
    def saved(self) -> list[dict[str, Any]]:
        """What the page has sent and `deliver` has not delivered yet, oldest first."""
        saved: list[dict[str, Any]] = self.page.evaluate("saved")
        return saved

    @property
    def sent(self) -> list[Any]:
        """Custom messages the page sent, oldest first."""
        sent: list[Any] = self.page.evaluate("sent")
        return sent

    def deliver(self, *methods: str) -> None:
        """Hand the kernel what the page sent, and the page what the kernel said."""
        self.hand_over(*methods)
        self.hear(*self.line.take())

    def hand_over(self, *methods: str) -> None:
        """Hand the kernel what the page sent: all of it, or "update" or "custom" alone."""
        for data, buffers in self.page.evaluate("(saved.splice(0), outbox.splice(0))"):
            if not methods or data["method"] in methods:
                message = {"content": {"data": data}, "buffers": list(map(bytes, buffers))}
                self.line.handle_msg(message)

    def hear(self, *messages: dict[str, Any]) -> None:
        """Hand the page messages of the kernel."""
        self.page.evaluate("(messages) => messages.forEach(fromKernel)", list(messages))

    def names(self) -> set[str]:
        """Traits that the widget's JavaScript has read or written by now."""
        return set(self.page.evaluate("[...names]"))

    def check(self) -> None:
        """Fail if the page complained, asked for anything, or used a name that is no trait."""
        assert self.complaints == []
        assert self.refused == []
        assert self.names() <= set(self._state)

    def mount_again(self) -> Locator:
        """Draw a second view of the same model below the first."""
        self.page.evaluate(
            "async () => { const el = document.createElement('section'); el.id = 'second';"
            " document.body.append(el); globalThis.unmountSecond = await mount(el); }"
        )
        return self.page.locator("#second")

    def unmount(self) -> None:
        """Take the first view away, as deleting its cell's output does."""
        self.page.evaluate("unmount()")


def show(page: Page, widget: Any, *, theme: str | None = "light") -> Shown:
    """Draw a widget in a page; a theme of None is a page that says nothing of its theme."""
    shown = Shown(page, widget)
    shown.open(theme)
    return shown


@pytest.fixture
def draw(page: Page, new_page: Callable[..., Page]) -> Iterator[Callable[..., Shown]]:
    """Draw a widget in the bare page, as `show` does; at the end nothing may be wrong in it.

    What `new_page` made outlives it, so that a widget can be drawn there as well.
    """
    drawn: dict[Page, Shown] = {}

    def end(shown: Shown) -> None:
        shown.leave()
        shown.check()

    def make(widget: Any, *, theme: str | None = "light", page: Page = page) -> Shown:
        if page in drawn:
            end(drawn.pop(page))
        drawn[page] = show(page, widget, theme=theme)
        return drawn[page]

    yield make
    for shown in drawn.values():
        end(shown)
