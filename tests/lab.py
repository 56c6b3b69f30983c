"""A real browser, and a real JupyterLab in it, as pytest fixtures.

`page` and `new_page` give empty pages for what needs no Jupyter; `lab` gives the one JupyterLab
of the test session, in which a further notebook opens and runs in about two seconds:

    def test_slider_moves(lab):
        notebook = lab.open(["import ipywidgets; slider = ipywidgets.IntSlider(3); slider"])
        notebook.run_all()
        notebook.output(0).get_by_role("slider").press("ArrowRight")
        expect(notebook.output(0)).to_contain_text("4")
        assert notebook.python("slider.value") == 4

Everything waits for a condition: a command's promise, an idle kernel, an element. Requests to any
host but this one are refused, recorded, and fail the test that made them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
import requests
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import expect, sync_playwright
from traitlets.config import Config

from tests import kernels
from tools.running import Executor
from tools.system import NO_BROWSER, find_browser

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from playwright.sync_api import Browser, BrowserContext, Locator, Page

FOREIGN = re.compile(r"^(https?|wss?)://(?!(127\.0\.0\.1|localhost|\[::1\])(:\d+)?/)", re.I)
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The lock on foreign hosts, below the page, for names and numbers alike. Routing would be one
    # more, but the browser then asks about each request and caches none: a reload costs double.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
SETTINGS: dict[str, dict[str, Any]] = {
    "apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "apputils-extension/sessionDialogs": {"skipKernelRestartDialog": True},
    "codemirror-extension/plugin": {"defaultConfig": {"cursorBlinkRate": 0}},
    "docmanager-extension/plugin": {"autosave": False},
    # All cells in the page, also those out of sight.
    "notebook-extension/tracker": {"windowingMode": "none"},
}
# What is drawn beside a notebook and follows it, and no test looks at: a third of what one costs.
SWITCHED_OFF = {
    "apputils": ("kernel-status", "running-sessions-status"),
    "celltags": (),
    "console": ("kernel-status",),
    "debugger": (),
    "extensionmanager": (),
    "filebrowser": (),
    "fileeditor": ("language-server",),
    "inspector": (),
    "launcher": (),
    "logconsole": (),
    "lsp": (),
    "notebook": ("kernel-status", "language-server", "open-with-no-kernel", "toc"),
    "running": (),
    "statusbar": (),
    "terminal": (),
    "toc": (),
    "workspaces": (),
}
"""Extensions of JupyterLab; of those that a notebook needs, some parts only."""
A_KERNEL_GONE = re.compile(
    "Canceled future for |Kernel is dead|(?:Kernel (?:connection|future)|Session) is disposed"
)
"""JupyterLab's own words when a kernel ends under it, on its console or uncaught, as it happens.

A kernel is shut down while the next test runs, so they may come at any time.
"""
A_NODE_GONE = "Failed to execute 'removeChild'"
"""Of JupyterLab 4.6.6 itself, now and then, around the closing of a notebook without any widget."""
LONGEST_S = 180
"""What nothing takes, on a busy machine either: only a test that fails waits for so long."""
expect.set_options(timeout=LONGEST_S * 1000)
MEDIA = ("media", "color_scheme", "reduced_motion", "forced_colors", "contrast")
OPENING = """
def _open(file=__import__("pathlib").Path(".opening.py")):
    if file.exists():
        exec(file.read_text(encoding="utf-8"), {})
_open()
del _open
"""
"""What each kernel of JupyterLab begins with: what `Lab.open` was given."""
LEAN = "import sys; sys.modules['rfc3987_syntax'] = None; "
"""A process that begins so imports jsonschema two seconds quicker: see conftest.py."""
ROOT = Path(__file__).parents[1]
FAILURES = ROOT / "test-results"

PATIENCE = """
const { timeout } = AbortSignal;
AbortSignal.timeout = (ms) => timeout.call(AbortSignal, 90 * ms);
"""
"""anywidget gives up a widget, as not found, that is not there in 2 s: a busy machine is slower."""

# Runs in every page before JupyterLab does, so it is there again after a reload.
PAGE_SCRIPT = """
window.ornbTest = {
  panel(path) {
    return [...jupyterapp.shell.widgets("main")].find(widget => widget.context?.path === path);
  },
  // A promise that says what it waited for, instead of one that never settles.
  within(seconds, what, promise) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => {
        const dialog = document.querySelector(".jp-Dialog")?.innerText;
        reject(new Error(`${what}: not done in ${seconds} s; dialog: ${dialog ?? "none"}`));
      }, seconds * 1000);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
  },
  async open(path) {
    await jupyterapp.restored;
    const panel = await jupyterapp.commands.execute("docmanager:open", {path, factory: "Notebook"});
    await panel.context.ready;
    await panel.revealed;
    await panel.sessionContext.ready;
    this.said = [];
    panel.sessionContext.session.kernel.anyMessage.connect((_, {msg, direction}) => {
      const content = msg.content?.data?.content;
      if (direction === "recv" && content?.type) this.said.push(content);
    });
  },
  said: [],                 // by the kernel, to the widgets of the notebook that was opened last
  // The commands act on the notebook that has the focus: without it they silently do nothing.
  async command(path, id) {
    const panel = this.panel(path);
    const focused = () => panel.node.contains(document.activeElement)
      && jupyterapp.shell.currentWidget === panel;
    for (let tries = 0; !focused(); tries += 1) {
      if (tries === 250) throw new Error(`${id}: the notebook does not take the focus`);
      jupyterapp.shell.activateById(panel.id);
      panel.content.activate();
      await new Promise(resolve => setTimeout(resolve, 20));
    }
    return jupyterapp.commands.execute(id);
  },
  quiet: 0,
  state(path) {
    const panel = this.panel(path);
    const {session} = panel.sessionContext;
    // Their textContent: asking for what is seen would have the page laid out each time.
    const prompts = [...panel.node.querySelectorAll(".jp-InputPrompt")].map(one => one.textContent);
    return {kernel: session?.kernel?.status, connection: session?.kernel?.connectionStatus, prompts,
      dialog: document.querySelector(".jp-Dialog")?.innerText};
  },
  // Idle three times running: a kernel is idle for a moment between two cells as well.
  idle(path) {
    const {kernel, prompts} = this.state(path);
    const idle = kernel === "idle" && !prompts.some(prompt => prompt.includes("*"));
    this.quiet = idle ? this.quiet + 1 : 0;
    return this.quiet >= 3;
  },
  async python(path, code) {
    const kernel = this.panel(path).sessionContext.session.kernel;
    const future = kernel.requestExecute({code, store_history: false});
    const out = {text: "", error: null};
    future.onIOPub = ({header, content}) => {
      if (header.msg_type === "stream" && content.name === "stdout") out.text += content.text;
      if (header.msg_type === "error") out.error = `${content.ename}: ${content.evalue}`;
    };
    await future.done;
    return out;
  },
  async close(path, shutdown) {
    const panel = this.panel(path);
    const session = panel.sessionContext.session?.id;
    panel.context.model.dirty = false;
    panel.dispose();
    if (shutdown && session) await jupyterapp.serviceManager.sessions.shutdown(session);
  },
  async closeAll() {
    for (const widget of [...jupyterapp.shell.widgets("main")]) {
      if (widget.context) widget.context.model.dirty = false;
      widget.dispose();
    }
    const {sessions} = jupyterapp.serviceManager;
    await sessions.refreshRunning();
    // A kernel takes a second to go. What comes next has one of its own, and need not wait.
    for (const {id} of sessions.running()) sessions.shutdown(id).catch(() => {});
  },
};
"""


class Traffic:
    """What the pages of one context asked of other hosts, and wrote on their consoles as errors.

    Its pages are waited for as long as all that is waited for here.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.foreign: list[str] = []
        self.console_errors: list[str] = []
        context.set_default_timeout(LONGEST_S * 1000)
        context.add_init_script(PATIENCE)
        context.on("request", lambda request: self._note(request.url))
        context.on("page", self._watch)

    def _watch(self, page: Page) -> None:
        page.on("websocket", lambda socket: self._note(socket.url))
        page.on("pageerror", self._uncaught)
        page.on("console", self._console)

    def _uncaught(self, error: PlaywrightError) -> None:
        stack = error.stack or str(error)
        # What widgets bring runs from blob URLs: with none on its way, it is JupyterLab's own.
        own = A_NODE_GONE in stack and "blob:" not in stack
        if not (own or A_KERNEL_GONE.search(stack)):
            self.console_errors.append(stack)

    def _console(self, message: Any) -> None:
        # Asked twice to end a session, once before a reload, or of its kernel: it ended.
        url, is_gone = message.location["url"], " 404 " in message.text
        has_ended = is_gone and ("/api/sessions/" in url or "/api/kernels/" in url)
        if message.type == "error" and not (has_ended or A_KERNEL_GONE.search(message.text)):
            self.console_errors.append(message.text)

    def _note(self, url: str) -> None:
        if is_foreign(url):
            self.foreign.append(url)


def is_foreign(url: str) -> bool:
    """Whether a URL leads off this machine."""
    return FOREIGN.match(url) is not None


class LabNotebook:
    """One notebook, open in JupyterLab; cells are counted from 0."""

    def __init__(self, lab: Lab, path: str) -> None:
        self.lab = lab
        self.page = lab.page
        self.path = path
        """Path as JupyterLab knows it, relative to its root folder."""

    @property
    def file(self) -> Path:
        """The notebook's file on disk."""
        return self.lab.root / self.path

    @property
    def panel(self) -> Locator:
        """The visible notebook panel."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def cell(self, index: int) -> Locator:
        """Cell `index` of the notebook, its input and its outputs."""
        return self.panel.locator(".jp-Cell").nth(index)

    def output(self, index: int) -> Locator:
        """The output area of cell `index`."""
        return self.cell(index).locator(".jp-Cell-outputArea")

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """The outputs of cell `index` as nbformat dicts: what a save would write."""
        script = "([path, i]) => ornbTest.panel(path).content.widgets[i].model.outputs.toJSON()"
        outputs: list[dict[str, Any]] = self.page.evaluate(script, [self.path, index])
        return outputs

    def locator(self, selector: str) -> Locator:
        """Elements of this notebook by CSS selector."""
        return self.panel.locator(selector)

    def run_all(self, *, errors: bool = False) -> LabNotebook:
        """Run all cells and wait for the last; with `errors`, failing cells are no failure."""
        return self._run("notebook:run-all-cells", errors)

    def start_all(self) -> LabNotebook:
        """Start running all cells and return at once, to look at them or interrupt them."""
        script = "path => { ornbTest.command(path, 'notebook:run-all-cells'); }"
        self.page.evaluate(script, self.path)
        return self

    def restart_run_all(self, *, errors: bool = False) -> LabNotebook:
        """Restart the kernel, then run all cells and wait for the last."""
        return self._run("notebook:restart-run-all", errors)

    def free(self) -> None:
        """Let a cell of `BUSY` end."""
        (self.file.parent / "free").touch()

    def interrupt(self) -> None:
        """Press the toolbar's stop button, as a person would."""
        self.panel.locator('[data-jp-item-name="interrupt"]').click()

    def wait_idle(self) -> None:
        """Wait until no cell waits or runs, seen three times in a row."""
        self.page.evaluate("ornbTest.quiet = 0")
        try:
            self._until("path => ornbTest.idle(path)", self.path)
        except PlaywrightError:
            state = self.page.evaluate("path => ornbTest.state(path)", self.path)
            raise AssertionError(
                f"{self.path} is not idle: {state}\n{self.lab.log[-3000:]}"
            ) from None

    def wait_said(self, what: str) -> None:
        """Wait until the kernel has said something to a widget: JavaScript over `said`."""
        self._until(f"() => ornbTest.said.some(said => {what})")

    def wait_output(self, index: int, text: str) -> None:
        """Wait until a text is in the outputs of cell `index`, as a save would write them."""
        script = """([path, i, text]) => JSON.stringify(
            ornbTest.panel(path).content.widgets[i].model.outputs.toJSON()).includes(text)"""
        self._until(script, [self.path, index, text])

    def _until(self, script: str, argument: Any = None) -> None:
        # Looking with every frame, as is usual, would have a frame drawn each time.
        options = {"polling": 50, "timeout": LONGEST_S * 1000}
        self.page.wait_for_function(script, arg=argument, **options)

    def errors(self) -> list[str]:
        """The error outputs of all cells, one line each."""
        script = """path => ornbTest.panel(path).content.widgets.flatMap((cell, i) =>
            (cell.model.outputs?.toJSON() ?? [])
              .filter(output => output.output_type === "error")
              .map(error => `cell ${i}: ${error.ename}: ${error.evalue}`))"""
        errors: list[str] = self.page.evaluate(script, self.path)
        return errors

    def python(self, expression: str) -> Any:
        """Value of a Python expression in the notebook's kernel, by way of JSON."""
        code = f"import json as _json; print(_json.dumps({expression}))"
        answer = self._within("python", "ornbTest.python(path, argument)", code)
        assert answer["error"] is None, f"{expression}: {answer['error']}"
        return json.loads(answer["text"])

    def save(self) -> nbformat.NotebookNode:
        """Save, and return what is in the file now."""
        self._within("save", "ornbTest.panel(path).context.save()")
        return nbformat.read(self.file, as_version=4)

    def close_and_reopen(self, *, kernel: bool = False) -> LabNotebook:
        """Close without saving and open the file again; the kernel is shut down unless kept."""
        self.close(shutdown=not kernel)
        return self.lab.show(self.path)

    def close(self, *, shutdown: bool = True) -> None:
        """Close without saving, by default with the kernel."""
        self.lab.forget()
        self._within("close", "ornbTest.close(path, argument)", shutdown)

    def reload(self) -> LabNotebook:
        """Reload the whole page, then show the notebook again; the kernel lives on."""
        self.lab.load()
        return self.lab.show(self.path)

    def theme(self, name: str) -> None:
        """Switch JupyterLab to its "light" or "dark" theme."""
        self.lab.theme(name)

    def screenshot(self, path: Path | str, *, cell: int | None = None) -> Path:
        """Write a PNG of the notebook, or of one cell, and return its path."""
        target = self.panel if cell is None else self.cell(cell)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        target.screenshot(path=path, animations="disabled")
        return Path(path)

    def _run(self, command: str, errors: bool) -> LabNotebook:
        self._within(command, "ornbTest.command(path, argument)", command)
        self.wait_idle()
        if not errors:
            assert not self.errors(), f"{self.path}: {self.errors()}"
        return self

    def _within(self, what: str, promise: str, argument: Any = None) -> Any:
        # page.evaluate knows no timeout of its own: a promise that never settles would hang us.
        script = f"([path, what, seconds, argument]) => ornbTest.within(seconds, what, {promise})"
        return self.page.evaluate(script, [self.path, what, LONGEST_S, argument])


class Lab:
    """The JupyterLab of the test session, in one page that all its notebooks share."""

    def __init__(self, browser: Browser, url: str, root: Path) -> None:
        self.url = url
        self.root = root
        """The folder that JupyterLab shows."""
        # A notebook has the room that it has beside the files in a window of 1280 by 900.
        context = browser.new_context(viewport={"width": 995, "height": 876})
        context.add_init_script(PAGE_SCRIPT)
        self.traffic = Traffic(context)
        self.page = context.new_page()
        self._ran: tuple[tuple[str, ...], LabNotebook] | None = None
        self._count = 0
        self._theme = "light"

    @property
    def log(self) -> str:
        """What the server has written."""
        return (self.root.parent / "server.log").read_text(encoding="utf-8")

    @property
    def console_errors(self) -> list[str]:
        """Errors on the browser's console since the test began."""
        return self.traffic.console_errors

    def load(self) -> None:
        """Load JupyterLab anew, with an empty workspace."""
        self.page.goto(self.url, wait_until="domcontentloaded")
        started = "window.jupyterapp?.started"
        self.page.wait_for_function(started, polling=50, timeout=LONGEST_S * 1000)
        script = "seconds => ornbTest.within(seconds, 'JupyterLab starts', jupyterapp.restored)"
        self.page.evaluate(script, LONGEST_S)

    def open(self, source: Path | str | Sequence[str], opening: str = "") -> LabNotebook:
        """Open a notebook, alone: the ones opened before are closed with their kernels.

        Parameters
        ----------
        source : path, or list of str
            A notebook file (copied with the files beside it, and left as it is), or the source
            texts of code cells.
        opening : str
            What its kernel runs before all else.
        """
        self.close_all()
        self._count += 1
        folder = self.root / f"{self._count:03}"
        if isinstance(source, str | Path):
            shutil.copytree(Path(source).parent, folder, ignore=shutil.ignore_patterns(".*"))
            name = Path(source).name
        else:
            folder.mkdir()
            name = "notebook.ipynb"
            nbformat.write(notebook_of(source), folder / name)
        (folder / ".opening.py").write_text(opening, encoding="utf-8")
        return self.show(f"{folder.name}/{name}")

    def ran(self, *cells: str) -> LabNotebook:
        """A notebook of these cells, run; that of the test before, if it was the same and is open.

        For tests that leave each other alone: to start a kernel and import ornb takes seconds.
        """
        if self._ran is None or self._ran[0] != cells:
            notebook = self.open(cells).run_all()
            self._ran = cells, notebook
        return self._ran[1]

    def show(self, path: str) -> LabNotebook:
        """Open a file below JupyterLab's root and wait for its kernel."""
        notebook = LabNotebook(self, path)
        notebook._within("open", "ornbTest.open(path)")
        notebook.wait_idle()
        return notebook

    def theme(self, name: str) -> None:
        """Switch to the "light" or "dark" theme and wait until it is drawn."""
        title = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}[name]
        script = "theme => jupyterapp.commands.execute('apputils:change-theme', {theme})"
        self.page.evaluate(script, title)
        is_light = "true" if name == "light" else "false"
        body = self.page.locator(f'body[data-jp-theme-light="{is_light}"]')
        body.wait_for(state="attached")  # its children are what has a size
        self._theme = name

    def reset(self, *, close: bool = True) -> None:
        """Make the page as good as new for the next test, but for what it may go on with."""
        try:
            if close:
                self.close_all()
            if self._theme != "light":
                self.theme("light")
        except PlaywrightError:
            # A test that broke the page must not break the ones after it.
            self._ran = None
            self.load()
        self.traffic.foreign.clear()
        self.traffic.console_errors.clear()

    def forget(self) -> None:
        """Let no later test go on with what is open."""
        self._ran = None

    def close_all(self) -> None:
        """Close all notebooks without saving, with their kernels."""
        self._ran = None
        self.page.evaluate("ornbTest.closeAll()")


BUSY = "import os, time\nwhile not os.path.exists('free'): time.sleep(0.02)"
"""A cell that keeps its kernel busy until `LabNotebook.free` is called."""


def notebook_of(cells: Sequence[str]) -> nbformat.NotebookNode:
    """Make a notebook of code cells for the kernel that the tests run in."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    return notebook


def private_environment(home: Path, **extra: str) -> dict[str, str]:
    """Environment for a Jupyter process that reads and leaves nothing outside `home`.

    No key and no service address is passed on, and ornb answers with canned texts, unless `extra`
    says otherwise.
    """
    private = {"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"}
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in private and not name.startswith(("OPENROUTER_", "JUPYTER_", "JPY_"))
    }
    environment |= {
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "ORNB_OFFLINE_MODEL": "off",
    }
    return environment | extra


@contextlib.contextmanager
def _short_folder() -> Iterator[Path]:
    """A folder whose name leaves room for that of a socket, which has some hundred characters."""
    place = "/tmp" if os.name == "posix" else None
    with tempfile.TemporaryDirectory(prefix="ornb-", dir=place) as folder:
        yield Path(folder)


# A kernel's ports are chosen long before it takes them, and any connection of another test may be
# given one meanwhile: then the kernel starts again, JupyterLab listens in vain, and never sees it
# idle. No such thing happens to socket files, which Windows does not have.
TRANSPORT = "ipc" if os.name == "posix" else "tcp"


def run_headless(
    notebook: nbformat.NotebookNode, folder: Path, *, seconds: int = 300, **environment: str
) -> nbformat.NotebookNode:
    """Run a notebook in place without a browser, in `folder`, offline and without a key.

    Raises nbclient's CellExecutionError, with the traceback, when a cell fails.
    """
    home = folder / "home"
    home.mkdir()
    with _short_folder() as short, pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", kernels.specs())
        kernel = {"transport": TRANSPORT, "connection_file": str(short / "kernel.json")}
        client = Executor(
            notebook,
            timeout=seconds,
            resources={"metadata": {"path": str(folder)}},
            config=Config(KernelManager=kernel),
        )
        client.execute(env=private_environment(home, **environment))
    return notebook


PORT_TAKEN = "no available port could be found"
"""What JupyterLab ends with when another took the port between its look and its use."""


@contextlib.contextmanager
def lab_server(
    folder: Path, python: Path | str = sys.executable, specs: str | None = None
) -> Iterator[Callable[[], str]]:
    """Start JupyterLab on `folder/root`; the given function waits for it and returns its URL.

    `python` and the folder `specs` of its kernels may be those of another environment.
    """
    for name, settings in SETTINGS.items():
        file = folder / f"config/lab/user-settings/@jupyterlab/{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings), encoding="utf-8")
    off = {
        f"@jupyterlab/{name}-extension{part}": True
        for name, parts in SWITCHED_OFF.items()
        for part in ([f":{part}" for part in parts] or [""])
    }
    (folder / "config/labconfig").mkdir()
    page = folder / "config/labconfig/page_config.json"
    # Whether it could be built anew would be asked of Node, at each load.
    config = {"disabledExtensions": off, "buildCheck": False, "buildAvailable": False}
    page.write_text(json.dumps(config), encoding="utf-8")
    startup = folder / "ipython/profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "opening.py").write_text(OPENING, encoding="utf-8")
    (folder / "root").mkdir()
    log = folder / "server.log"
    command = [
        *(str(python), "-c", LEAN + "from jupyterlab.labapp import main; main()"),
        *("--no-browser", "--allow-root"),
        f"--ServerApp.root_dir={folder / 'root'}",
        "--ServerApp.port=0",  # any that is free: servers that start side by side take the same
        "--ServerApp.ip=127.0.0.1",
        "--LabApp.expose_app_in_browser=True",
        "--ServerApp.jpserver_extensions=jupyter_lsp=False",  # it starts Node to look for servers
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        f"--KernelManager.transport={TRANSPORT}",
    ]
    (folder / "runtime").mkdir()
    with _short_folder() as short, log.open("wb") as output:
        runtime = folder / "runtime"
        if os.name == "posix":
            (runtime := short / "r").symlink_to(folder / "runtime")
        environment = private_environment(
            folder, JUPYTER_RUNTIME_DIR=str(runtime), JUPYTER_PATH=specs or kernels.specs()
        )

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command,
                cwd=folder / "root",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        process = start()

        def wait_for_url() -> str:
            nonlocal process
            while (url := _wait_for_server(process, folder, log)) is None:
                process = start()
            return url

        try:
            yield wait_for_url
        finally:
            # The server's own goodbye takes its kernels along; the group is the net below it.
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait_for_server(process: subprocess.Popen[bytes], folder: Path, log: Path) -> str | None:
    """The URL of a server that is up, or None if it must be started again.

    It looks for a free port long before it listens there; meanwhile another may have taken it.
    """
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        # Written once the port is bound; the port is the server's choice.
        for file in (folder / "runtime").glob("jpserver-*.json"):
            with contextlib.suppress(ValueError, requests.RequestException):
                server = json.loads(file.read_text(encoding="utf-8"))
                status = f"{server['url']}api/status?token={server['token']}"
                if requests.get(status, timeout=5).ok:
                    return f"{server['url']}lab?reset&token={server['token']}"
        if process.poll() is not None:
            said = log.read_text(encoding="utf-8")
            assert PORT_TAKEN in said.splitlines()[-1], f"JupyterLab ended: {said}"
            return None
        time.sleep(0.05)
    raise AssertionError(
        f"JupyterLab is not up in {LONGEST_S} s: {log.read_text(encoding='utf-8')}"
    )


# ---- fixtures and hooks ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, started once; `ORNB_REQUIRE_BROWSER=1` makes its absence a failure."""
    path = find_browser()
    if path is None and os.environ.get("ORNB_REQUIRE_BROWSER"):
        pytest.fail(NO_BROWSER)
    if path is None:
        pytest.skip("no Chromium or Chrome found (make test installs one)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        yield chromium
        chromium.close()


class Pages:
    """Makes empty pages, and knows what they asked of other hosts."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._traffic: list[Traffic] = []

    def make(self, **options: Any) -> Page:
        """A page with cookies of its own; takes Playwright's context options."""
        context = self._browser.new_context(**options)
        self._contexts.append(context)
        self._traffic.append(Traffic(context))
        return context.new_page()

    def check(self) -> None:
        """Fail if a page asked another host for anything since the last time."""
        foreign = [url for seen in self._traffic for url in seen.foreign]
        for seen in self._traffic:
            seen.foreign.clear()
        assert not foreign, "requests to other hosts"

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """A maker of empty pages, for what a shared one cannot give back; see `Pages.make`."""
    pages = Pages(browser)
    yield pages.make
    pages.close()
    pages.check()


@pytest.fixture(scope="session")
def _only_page(browser: Browser) -> Iterator[tuple[Pages, Page]]:
    pages = Pages(browser)
    yield pages, pages.make()
    pages.close()


@pytest.fixture
def page(_only_page: tuple[Pages, Page]) -> Iterator[Page]:
    """The page that all tests share, since a new one takes a second: for whoever draws in it.

    Size, media and permissions are as in a new one; what is drawn there is still the last test's.
    """
    pages, page = _only_page
    page.set_viewport_size({"width": 1280, "height": 720})
    page.emulate_media(**dict.fromkeys(MEDIA, "null"))
    page.context.clear_permissions()
    yield page
    pages.check()


@pytest.fixture
def forked_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have whoever starts a kernel without `run_headless` get a forked one: tests/kernels.py."""
    monkeypatch.setenv("JUPYTER_PATH", kernels.specs())


@pytest.fixture(scope="session")
def lab_session(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """The JupyterLab of the whole test session; tests take `lab`."""
    folder = tmp_path_factory.mktemp("jupyter")
    with lab_server(folder) as wait_for_url:
        browser = request.getfixturevalue("browser")  # the two start side by side
        lab = Lab(browser, wait_for_url(), folder / "root")
        lab.load()
        yield lab
        lab.close_all()
        lab.page.context.close()


@contextlib.contextmanager
def _watched(lab: Lab, node: pytest.Item) -> Iterator[Lab]:
    """Lend JupyterLab to a test; it fails if it asked another host anything or left an error."""
    yield lab
    if node.stash.get(FAILED, False):
        lab.forget()
        FAILURES.mkdir(exist_ok=True)
        name = re.sub(r"\W+", "-", node.name)
        with contextlib.suppress(PlaywrightError):
            lab.page.screenshot(path=FAILURES / f"{name}.png", timeout=5000)
    assert not lab.traffic.foreign, "requests to other hosts"
    assert not lab.traffic.console_errors, "errors on the browser's console"


@pytest.fixture
def lab(lab_session: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """JupyterLab with nothing open, in the light theme.

    A test fails that asked another host anything or left an error on the browser's console; one
    that means to do so clears `lab.traffic.foreign` or `lab.console_errors` itself.
    """
    lab_session.reset()
    with _watched(lab_session, request.node):
        yield lab_session


@pytest.fixture
def lab_as_left(lab_session: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The same, but with what the test before left open, for `Lab.ran`."""
    lab_session.reset(close=False)
    with _watched(lab_session, request.node):
        yield lab_session


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let fixtures know, while they clean up, that their test failed."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers by which `make check` leaves tests out."""
    config.addinivalue_line("markers", "browser: needs a browser (set by itself)")
    config.addinivalue_line("markers", "slow: takes seconds without a browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a browser, and run them last.

    While Playwright runs, the main thread has a running asyncio loop: tests that start one of
    their own have to come before. The quick tests also fail first this way.
    """
    for item in items:
        # Doctests have none; JupyterLab asks for its browser by itself, beside its own start.
        if {"browser", "lab_session"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("browser")
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
