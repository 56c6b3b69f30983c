"""A widget's own JavaScript in a bare page: no Jupyter, no kernel, no network.

The page gets the true ``.js`` and ``.css`` of a widget and a stand-in for Jupyter's model. The
stand-in hands ``initialize`` and ``render`` *different* objects over one state, as anywidget does,
and tells the page of its own changes too, as Backbone does. Typical use::

    def test_search_reaches_python(page):            # `page`: a fixture of tests/lab.py
        shown = show(page, ModelPicker(models))
        page.get_by_role("searchbox").fill("claude")
        shown.deliver()                              # page -> Python widget, and back
        assert shown.widget.search == "claude"
        shown.check()                                # nothing went wrong, nothing left this machine

`deliver` stands for a free kernel: until it is called, the kernel is busy. A test that needs no
Python side hands over any object with ``_esm``, ``_css``, ``get_state()`` and ``set_state()``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

ORIGIN = "http://localhost:9"
"""Never connected to: every request is answered or refused here. localhost is a secure context."""

MODEL = """
const state = globalThis.ornbState;
const listeners = [];
const dirty = new Set();
globalThis.saved = [];                       // what save_changes sent, oldest first
globalThis.sent = [];                        // what send sent
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
    globalThis.saved.push(Object.fromEntries([...dirty].map((name) => [name, state[name]])));
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
  send: (content) => globalThis.sent.push(content),
});
globalThis.model = proxy("test");
globalThis.fromKernel = (changes) => {
  for (const [name, value] of Object.entries(changes)) change(name, value);
};
globalThis.message = (content) => emit("msg:custom", content, []);
const widget = (await import(`${location.origin}/widget.js`)).default;
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
globalThis.ready = true;
"""

HTML = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>widget</title>
<style>
:root { font: 13px/1.4 system-ui, sans-serif; color-scheme: light dark }
body { margin: 12px }
body[data-jp-theme-light="true"] { color-scheme: light; background: #fff }
body[data-jp-theme-light="false"] { color-scheme: dark; background: #111 }
</style>
<link rel="stylesheet" href="/widget.css"></head>
<body><main><h1 style="position:absolute;clip-path:inset(50%)">A widget</h1>
<div id="widget"></div></main></body></html>"""


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
        self._files = {
            f"{ORIGIN}/": ("text/html", HTML),
            f"{ORIGIN}/widget.js": ("text/javascript", str(widget._esm)),
            f"{ORIGIN}/widget.css": ("text/css", str(widget._css)),
        }
        self._known = self._state()

    def _state(self) -> dict[str, Any]:
        hidden = {"_esm", "_css", "layout", "_anywidget_id"}
        return {k: v for k, v in self.widget.get_state().items() if k not in hidden}

    def _answer(self, route: Route) -> None:
        url = route.request.url
        if url in self._files:
            kind, body = self._files[url]
            route.fulfill(content_type=f"{kind}; charset=utf-8", body=body)
            return
        if not url.endswith("/favicon.ico"):
            self.refused.append(url)
        route.abort()

    def open(self, theme: str | None) -> None:
        """Load the page and wait until the widget is drawn."""
        page = self.page
        page.route("**/*", self._answer)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda line: self.complaints.append(line.text) if line.type == "error" else None,
        )
        page.goto(f"{ORIGIN}/")
        self.theme(theme)
        page.evaluate("(state) => { globalThis.ornbState = state }", self._known)
        page.add_script_tag(content=MODEL, type="module")
        page.wait_for_function("globalThis.ready === true")

    def theme(self, name: str | None) -> None:
        """Switch to ``"light"``, ``"dark"``, or None: a page that says nothing of its theme."""
        value = {"light": "true", "dark": "false", None: None}[name]
        self.page.evaluate(
            "(v) => v === null ? delete document.body.dataset.jpThemeLight"
            " : (document.body.dataset.jpThemeLight = v)",
            value,
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

    def message(self, content: Any) -> None:
        """Give the page a custom message, as ``widget.send`` would."""
        self.page.evaluate("(content) => message(content)", content)

    def deliver(self) -> None:
        """Hand the page's changes to the Python widget, and the widget's own back to the page."""
        saved = self.page.evaluate("saved.splice(0)")
        for change in saved:
            self._known.update(change)
            self.widget.set_state(change)
        now = self._state()
        news = {name: now[name] for name in now if now[name] != self._known.get(name)}
        self._known = now
        self.page.evaluate("(news) => fromKernel(news)", news)

    def names(self) -> set[str]:
        """Traits that the widget's JavaScript has read or written by now."""
        return set(self.page.evaluate("[...names]"))

    def check(self) -> None:
        """Fail if the page complained, asked for anything, or used a name that is no trait."""
        assert self.complaints == []
        assert self.refused == []
        assert self.names() <= set(self._known)

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
    """Draw `widget` in `page`.

    Parameters
    ----------
    page : Page
        A fresh page.
    widget : anywidget.AnyWidget
        The widget; its class's files are served to the page.
    theme : {"light", "dark", None}
        What ``body[data-jp-theme-light]`` says.

    Returns
    -------
    Shown
    """
    shown = Shown(page, widget)
    shown.open(theme)
    return shown
