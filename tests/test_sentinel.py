"""One key through every door, and then everything searched that is left of it.

The form in a real browser, with the page and the notebook saved, is in test_key_browser.py.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import dataclasses
import http.client
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nbformat
import pytest
import tblib.pickling_support
from hypothesis import given
from hypothesis import strategies as st
from ipywidgets import Widget
from lab import notebook_of
from wire import END, STREAM, WireServer, chunked, delta, event, head, whole

import ornb
from ornb import errors, session
from ornb.api import keys
from ornb.api.client import Client, Timeouts
from ornb.notebook.key import KeyForm
from ornb.offline import OfflineServer
from ornb.recording.redaction import without_keys
from ornb.text import export
from tests.page import PATIENCE_S, as_soon_as, displayed, from_page, printed, until

PART = "5entine1"
SENTINEL = f"sk-or-v1-{PART}{'0a' * 24}"
MODEL = "openai/gpt-4o-mini"
NOBODY = "http://127.0.0.1:9/api/v1"
FORMS = (
    PART,
    base64.b64encode(SENTINEL.encode()).decode().rstrip("=")[:-1],
    base64.b64encode(SENTINEL.encode()[9:]).decode()[:10],
    SENTINEL.encode().hex(),
    SENTINEL[::-1],
)
"""Of the key, as somebody might find it."""


@pytest.fixture(scope="module")
def service() -> Iterator[OfflineServer]:
    """A service whose only key is the sentinel."""
    with OfflineServer(model="off", token=SENTINEL) as running:
        yield running


class Left:
    """Whatever a person, a file or a log could have kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts: dict[str, str] = {}
        self.looked = False
        self.look: Callable[[], None]
        """Search it all, now; else it is done at the end."""

    def add(self, name: str, *things: Any) -> None:
        """Keep all that a thing shows of itself."""
        for number, thing in enumerate(things):
            self.texts[f"{name} {number}"] = "\n".join(shown(thing))

    def files(self) -> dict[str, str]:
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path): path.read_bytes().decode("latin-1") for path in found}

    def assert_clean(self) -> None:
        for name, text in {**self.texts, **self.files()}.items():
            for form in FORMS:
                at = text.find(form)
                assert at < 0, f"{name}: ...{text[max(0, at - 80) : at + 40]}..."


def shown(thing: Any) -> Iterator[str]:
    """Its words, its forms for a notebook, what it holds, and that of what it holds."""
    yield str(thing)
    yield repr(thing)
    for name in ("_repr_html_", "_repr_mimebundle_", "_render_traceback_"):
        show = getattr(type(thing), name, None)
        if show is not None:
            yield repr(show(thing))
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        yield repr({f.name: getattr(thing, f.name) for f in dataclasses.fields(thing)})
    held = getattr(thing, "__dict__", {})
    yield repr(held)
    for inner in held.values():
        yield repr(getattr(inner, "__dict__", ""))
    if isinstance(thing, Widget):
        yield repr(thing.trait_values())
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        try:
            yield repr(way(thing))
        except Exception as error:  # noqa: BLE001 - that it cannot be done is fine too
            yield repr(error)


@pytest.fixture
def left(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Left]:
    """Work in a folder of its own, log everything, and search it all at the end."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    caplog.set_level(logging.DEBUG)
    for name in ("ornb", "urllib3", "requests", "sqlalchemy.engine", "traitlets"):
        caplog.set_level(logging.DEBUG, logger=name)
    ornb.usage.clear()
    found = Left(tmp_path)

    def look() -> None:
        found.looked = True
        found.add("ornb.usage", ornb.usage, ornb.usage.df.to_csv())
        found.add("the state of all widgets", json.dumps(Widget.get_manager_state(), default=repr))
        found.add("logs", caplog.text, [record.__dict__ for record in caplog.records])
        found.add("what was printed", *capfd.readouterr())
        found.assert_clean()

    found.look = look
    yield found
    try:
        if not found.looked:
            look()
    finally:
        for tape in session.default.recordings.opened:
            tape.close()
        ornb.connect(offline=True)
        ornb.usage.clear()


# --- the doors ------------------------------------------------------------------------------------


def by_environment(service: OfflineServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("OPENROUTER_API_KEY", SENTINEL)
    monkeypatch.setenv("OPENROUTER_BASE_URL", service.base_url)
    return ornb.client()


def by_connect(service: OfflineServer, _: pytest.MonkeyPatch) -> Any:
    return ornb.connect(api_key=SENTINEL, base_url=service.base_url)


def by_form(service: OfflineServer, _: pytest.MonkeyPatch) -> Any:
    form = KeyForm(service.base_url)
    message = {"type": "key", "key": SENTINEL}
    from_page(form, message)
    assert form.wait(PATIENCE_S)
    assert "key" not in message, "the kernel keeps its last message"
    return form


def by_client(service: OfflineServer, _: pytest.MonkeyPatch) -> Any:
    client = Client(SENTINEL, service.base_url, on_call=ornb.usage.record)
    client.chat("Hi", MODEL, max_tokens=3)
    ornb.connect(SENTINEL, service.base_url)
    return client


@pytest.mark.parametrize("door", [by_environment, by_connect, by_form, by_client])
def test_a_key_that_came_in_is_left_nowhere(
    door: Callable[..., Any],
    service: OfflineServer,
    left: Left,
    anew: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    anew(announced=True)
    came = door(service, monkeypatch)
    reply = ornb.ask("Hi", MODEL, max_tokens=3)
    assert ornb.usage.df["status"].iloc[-1] == "ok"
    with ornb.client().stream("Hi", MODEL) as stream:
        next(iter(stream))
    decision = ornb.decide("Hi", "Is it?", "ornb/canned-decisions")
    left.add("decision", decision, decision.df, decision._repr_html_(), decision.reply.raw)
    table = ornb.embed(["Hi"], "ornb/canned-embeddings", store=left.folder / "v.sqlite")
    order = ornb.rerank("Hi", ["Hi"], "ornb/canned-rerank")
    left.add("vectors", table, table.attrs, order, order.attrs)
    left.add("door", came, reply, stream.reply, stream, ornb.client(), ornb.client()._service)
    left.add("session", session.default, ornb.quota(), ornb.models().attrs)
    left.add("about the key", keys.describe(ornb.client().key()))
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)


def test_all_that_keeps_answers_keeps_no_key(service: OfflineServer, left: Left) -> None:
    ornb.connect(SENTINEL, service.base_url)
    store = ornb.usage.persist(left.folder / "usage.sqlite")
    with ornb.record(left.folder / "lesson.jsonl", catalogue=True) as recorder:
        ornb.models(refresh=True)
        ornb.endpoints(MODEL)
        chat = ornb.Chat(MODEL, max_tokens=5)
        chat.ask("Hi")
        table = ornb.batch(
            ["a", "b"], "{{text}}", MODEL, max_tokens=3, store=left.folder / "b.sqlite",
            progress=False,
        )  # fmt: skip
        times = ornb.measure(MODEL, "Hi", repeats=1, max_tokens=3, progress=False)
        duel = ornb.compare("Hi", [MODEL, "openai/gpt-4o"], max_tokens=3)
        assert duel.wait(PATIENCE_S)
        ornb.client().key()
    assert recorder.calls >= 6
    with ornb.replay(left.folder / "lesson.jsonl", pace="instant") as replay:
        again = ornb.Chat(MODEL, max_tokens=5).ask("Hi")
    left.add("kept", chat, table, table.to_csv(), times, times.attrs, duel, duel.df.to_csv())
    left.add("recorded", recorder, replay, again, store, ornb.usage.history().to_csv())
    for name in ("talk.md", "talk.json", "talk.ipynb"):
        export.save(chat.conversation, left.folder / name)
    panel, picker = ornb.usage.panel(), ornb.ModelPicker()
    left.add("widgets", panel, picker)
    saved_notebook(left.folder / "lesson.ipynb", [chat, duel, panel, picker])
    with ornb.budget(1) as budget:
        left.add("budget", budget)
    store.close()
    ornb.usage._store = None
    for widget in (chat, duel, panel, picker):
        widget.close()
    names = {path.name for path in left.folder.iterdir()}
    assert {"usage.sqlite", "lesson.jsonl", "b.sqlite", "talk.md", "lesson.ipynb"} <= names


def saved_notebook(path: Path, widgets: list[Any]) -> None:
    """A notebook as JupyterLab saves it with the state of its widgets."""
    notebook = notebook_of(["pass"] * len(widgets))
    for cell, widget in zip(notebook.cells, widgets, strict=True):
        cell.outputs = [nbformat.v4.new_output("display_data", displayed(widget))]
    state = Widget.get_manager_state()
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
    path.write_text(json.dumps(notebook, default=repr), encoding="utf-8")


def test_processes_keep_no_key(service: OfflineServer, left: Left) -> None:
    ornb.connect(SENTINEL, service.base_url)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        table = ornb.batch(["a"], "{{text}}", MODEL, max_tokens=3, executor=pool, progress=False)
        assert table["status"].tolist() == ["ok"]
        command = Path("/proc") / str(next(iter(pool._processes))) / "cmdline"
        if command.exists():
            left.add("command line", command.read_bytes())
    left.add("table", table.to_csv(), table.attrs)


# --- a service that says the key ------------------------------------------------------------------

SAID = {
    "error": {"code": 400, "message": f"No such key: {SENTINEL}", "metadata": {"raw": SENTINEL}}
}
ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in SENTINEL)
STATUSES = (400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 524, 529)
ECHOES: dict[str, list[Any]] = {
    **{str(status): [whole(SAID, status, X_Echo=SENTINEL)] for status in STATUSES},
    "context": [whole({"error": {"message": f"maximum context length {SENTINEL}"}}, 400)],
    "a redirect": [whole(b"", 302, Location=f"http://127.0.0.1:9/?key={SENTINEL}")],
    "a page": [whole(f"<title>{SENTINEL}</title>{SENTINEL}".encode(), 502, "text/html")],
    "a page with 200": [whole(f"<title>{SENTINEL}</title>".encode(), 200, "text/html")],
    "JSON of another kind": [whole({SENTINEL: SENTINEL})],
    "in the stream": [STREAM, delta("A"), event(error=SAID["error"]), END],
    "a damaged piece": [STREAM, delta("A"), b"7\r\ndata: {\r\n", "close"],
    "a damaged piece with it": [STREAM, chunked(f"data: {SENTINEL}\n\n".encode()), END],
    "a piece of another kind": [STREAM, chunked(f'data: "{SENTINEL}"\n\n'.encode()), END],
    "escaped": [whole(json.dumps(SAID).replace(SENTINEL, ESCAPED).encode(), 400)],
    "no HTTP": [b"SSH-2.0-x\r\n\r\n"],
    "reset": ["reset"],
    "cut": [STREAM, delta("A"), "close"],
    "silence": ["stall"],
    "silence in the middle": [head(), "stall"],
}  # fmt: skip


@pytest.fixture
def _causes_are_pickled() -> None:
    """As a Dask cluster does it, once it is imported: an error takes along what led to it."""
    tblib.pickling_support.install()


def as_key(url: str, **more: Any) -> Client:
    return ornb.connect(SENTINEL, url, **more)


def as_header(url: str, **more: Any) -> Client:
    """As a gateway wants it, beside the key."""
    return ornb.connect("none", url, headers={"X-Gateway": f"Bearer {SENTINEL}"}, **more)


both_ways = pytest.mark.parametrize("connect", [as_key, as_header])


@pytest.mark.usefixtures("_causes_are_pickled")
@pytest.mark.parametrize("name", ECHOES)
@both_ways
def test_no_error_tells_the_key(connect: Callable[..., Client], name: str, left: Left) -> None:
    little_s = 0.5 if name.startswith("silence") else 60.0
    with WireServer(ECHOES[name]) as server:
        connect(server.url, retries=0, timeouts=Timeouts(60, little_s, little_s))
        with pytest.raises(errors.OrnbError) as caught:
            ornb.ask("Hi", MODEL)
        until(lambda: server.requests)
        assert f"Bearer {SENTINEL}".encode() in server.requests[0][0]
        assert ornb.usage.df["status"].tolist() == ["error"]
        error: Any = caught.value
        left.add("error", error, error.args, error.reply, getattr(error, "raw", None))
        left.add("printed", "".join(printed(error)))
        for refused in (lambda: ornb.models(refresh=True), lambda: ornb.client().key()):
            with contextlib.suppress(errors.OrnbError):
                refused()
    left.look()


@pytest.mark.parametrize("key", [SENTINEL, ESCAPED])
@pytest.mark.parametrize("streamed", [True, False])
@both_ways
def test_no_answer_that_says_the_key_is_kept_so(
    connect: Callable[..., Client], key: str, streamed: bool, left: Left
) -> None:
    said = {"id": key, "model": key, "provider": key}
    message = {"content": f"It is {key}.", "reasoning": key, "tool_calls": [{"id": key}]}
    choice = {"index": 0, "finish_reason": "stop", "delta" if streamed else "message": message}
    text = json.dumps({**said, "choices": [choice]}).replace("\\\\", "\\").encode()
    note = {"X_Ornb_Note": SENTINEL, "X_Generation_Id": SENTINEL}
    begin = head(200, "text/event-stream", Transfer_Encoding="chunked", **note) + b"\r\n"
    listed = whole(b'{"data": [{"id": "a/b", "name": "%s"}]}' % key.encode())
    answer = (
        [begin, chunked(b"data: " + text + b"\n\n"), END] if streamed else [whole(text, **note)]
    )
    with WireServer(answer, [listed]) as server, ornb.record(left.folder / "lesson.jsonl"):
        client = connect(server.url)
        left.add("client", client, client._service, client._service.__dict__)
        reply = client.stream("Hi", MODEL) if streamed else client.chat("Hi", MODEL)
        if streamed:
            list(reply)
            reply = reply.reply
        assert reply.text == "It is [key]."
        left.add("reply", reply, reply.raw_chunks, reply.raw)
        left.add("catalogue", client.models())
    left.look()


def test_a_class_leaves_its_management_key_nowhere(left: Left) -> None:
    with OfflineServer(model="off", management_key=SENTINEL) as running:
        room = ornb.classroom(["Ada"], 1, management_key=SENTINEL, base_url=running.base_url)
        with ornb.record(left.folder / "lesson.jsonl", catalogue=True):
            room.make().pause()
        left.add("class", room, room.df, room.usage(), room.usage().attrs)
        room.hand_out()
        room.close()
        with pytest.raises(errors.OrnbError) as caught:
            room.pause(SENTINEL)
        left.add("error", caught.value, "".join(printed(caught.value)))
    left.look()


def test_the_keys_of_a_class_are_given_and_left_nowhere_else(left: Left) -> None:
    """That of Ada comes whole; those of Ben come cut, in a refusal, and as Stop is pressed."""
    none, made = whole({"data": []}), {"key": SENTINEL, "data": {"hash": "a", "name": "T: Ada"}}
    ada, page = whole(made, 201), whole({"data": [made["data"]]})
    refusal = whole({"error": {"message": f"No {SENTINEL}", "code": 400}}, 400)
    cut = whole(b'{"key": "%s", "da' % SENTINEL.encode())
    half = head(201, Content_Length="9999") + b'\r\n{"key": "%s"' % SENTINEL.encode()
    pages: list[list[Any]] = [[none], [none], [ada], [refusal]]
    for answer in ([cut], [half, "close"], [half, "stall"]):
        pages += [[page], [none], answer]
    stopped: list[BaseException] = []
    with WireServer(*pages) as server, ornb.record(left.folder / "lesson.jsonl", catalogue=True):
        room = ornb.classroom(
            ["Ada", "Ben"], 1, title="T", management_key="a-management-key", base_url=server.url
        )
        for _ in range(3):
            with pytest.raises(errors.OrnbError) as caught:
                room.make()
            left.add(f"error {_}", caught.value, "".join(printed(caught.value)))
            stopped.append(caught.value)
        stop = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
        as_soon_as(lambda: len(server.requests) == 13, stop.start)
        with pytest.raises(KeyboardInterrupt) as pressed:
            room.make()
        stopped.append(pressed.value)
    told = [each for error in stopped for each in frames_of(error, set()) if PART in each]
    assert told == []
    left.add("class", room, room.df, room._client, room._client._service)
    left.look()
    assert room.hand_out() == {"Ada": SENTINEL}


@pytest.mark.parametrize(
    "given",
    [
        lambda: ornb.connect(base_url=SENTINEL),
        lambda: ornb.classroom([SENTINEL, SENTINEL], 1),
        lambda: ornb.classroom(["Ada"], SENTINEL),
        lambda: ornb.classroom(["Ada"], 1, limit_reset=SENTINEL),
        lambda: ornb.classroom(["Ada"], 1, expires_at=SENTINEL),
        lambda: ornb.classroom(SENTINEL, 1),
        lambda: ornb.classroom(["Ada"], 1, management_key=f"{SENTINEL} x"),
        lambda: ornb.classroom(["Ada"], 1, management_key=SENTINEL, base_url=NOBODY),
        lambda: ornb.connect(NOBODY, SENTINEL),
        lambda: Client(NOBODY, SENTINEL),
        lambda: ornb.connect(base_url=f"me:{SENTINEL}@localhost/v1"),
        lambda: ornb.connect(base_url=f"https://me:{SENTINEL}@/v1"),
        lambda: ornb.connect(base_url=f"{NOBODY}?key={SENTINEL}"),
        lambda: ornb.connect(base_url=f"{NOBODY}#{SENTINEL}"),
        lambda: ornb.connect(base_url=f"http://localhost:{SENTINEL}/v1"),
        lambda: ornb.connect(base_url=f"http://[{SENTINEL}"),
        lambda: ornb.connect(api_key=[SENTINEL]),
        lambda: ornb.connect(api_key=SENTINEL.encode()),
        lambda: ornb.connect(apikey=SENTINEL),
        lambda: ornb.connect(base_url=NOBODY, headers=SENTINEL),
        lambda: ornb.connect(base_url=NOBODY, headers={"Authorization": SENTINEL}),
        lambda: ornb.connect(base_url=NOBODY, headers={"Host": SENTINEL}),
        lambda: ornb.connect(base_url=NOBODY, headers={"X-Key": f"{SENTINEL}\nX-More: b"}),
        lambda: ornb.connect(base_url=NOBODY, headers={"X-Key": [SENTINEL]}),
        lambda: ornb.connect(base_url=NOBODY, headers={f"{SENTINEL}: x": "y"}),
        lambda: ornb.connect(headers={"X-Key": SENTINEL}),
        lambda: ornb.connect(offline=True, headers={"X-Key": SENTINEL}),
        lambda: ornb.sign_in(SENTINEL),
        lambda: ornb.budget(SENTINEL),
        lambda: ornb.models(sort=SENTINEL),
        lambda: ornb.ModelPicker(value=SENTINEL),
        lambda: ornb.ask("Hi", SENTINEL),
        lambda: ornb.ask("Hi", MODEL, api_key=SENTINEL),
        lambda: ornb.ask("Hi", MODEL, headers={"Authorization": SENTINEL}),
        lambda: ornb.decide("Hi", "Is it?", SENTINEL),
        lambda: ornb.decide("Hi", {"a": {"type": "noul", SENTINEL: 1}}),
        lambda: ornb.decide("Hi", "Is it?", api_key=SENTINEL),
        lambda: ornb.embed("Hi", SENTINEL),
        lambda: ornb.embed("Hi", "ornb/canned-embeddings", api_key=SENTINEL),
        lambda: ornb.rerank("Hi", ["Hi"], SENTINEL),
        lambda: ornb.rerank("Hi", ["Hi"], "ornb/canned-rerank", api_key=SENTINEL),
        lambda: ornb.Chat(MODEL, api_key=SENTINEL),
        lambda: ornb.Chat(MODEL, extra_headers={"Authorization": SENTINEL}),
        lambda: ornb.measure(MODEL, repeats=1, Authorization=SENTINEL),
        lambda: ornb.batch(["Hi"], model=MODEL, api_key=SENTINEL),
        lambda: ornb.compare("Hi", [MODEL, "openai/gpt-4o"], api_key=SENTINEL),
    ],
)
def test_a_key_in_the_wrong_place_is_refused_and_not_repeated(given: Any, left: Left) -> None:
    with pytest.raises(errors.OrnbError) as caught:
        given()
    error: Any = caught.value
    left.add("error", error, error.args, error.reply, "".join(printed(error)))


def test_a_key_in_the_place_of_a_recording_is_not_printed(left: Left) -> None:
    ornb.connect(recording=SENTINEL)
    with pytest.raises(errors.ConfigError) as caught:
        ornb.replay(SENTINEL)
    assert PART not in "".join(printed(caught.value))
    left.look()


def test_https_own_talk_of_what_it_sends_is_not_turned_on(
    left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    with WireServer([whole(SAID, 401)]) as server:
        with contextlib.suppress(errors.OrnbError):
            ornb.connect(SENTINEL, server.url, retries=0).chat("Hi", MODEL)
        assert len(server.requests) == 1
    left.look()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc to look at")
def test_the_offline_server_does_not_inherit_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", SENTINEL)
    with OfflineServer(model="off") as running:
        told = Path(f"/proc/{running.pid}/environ").read_bytes()
    assert b"PATH=" in told
    assert PART.encode() not in told


def test_nobody_there_tells_no_key(left: Left) -> None:
    ornb.connect(SENTINEL, NOBODY, retries=0)
    with pytest.raises(errors.ConnectionFailed) as caught:
        ornb.ask("Hi", MODEL)
    left.add("error", caught.value, caught.value.__cause__, caught.value.reply)
    left.look()


@pytest.mark.parametrize(
    "wrong", [f"{SENTINEL} x", f"{SENTINEL}\n", f"{SENTINEL}ö", f"={SENTINEL}"]
)
def test_a_key_that_cannot_be_one_is_not_repeated(wrong: str, left: Left) -> None:
    with pytest.raises(errors.OrnbError) as caught:
        ornb.connect(api_key=wrong, base_url=NOBODY, retries=0).chat("Hi")
    left.add("error", caught.value)


@given(st.text(max_size=30), st.integers(0, len(SENTINEL)), st.text(max_size=30))
def test_no_text_around_a_key_hides_it_from_the_recorder(before: str, cut: int, after: str) -> None:
    written = without_keys(json.dumps([f"{before}{SENTINEL}{after}", SENTINEL[:cut]]), [SENTINEL])
    assert SENTINEL not in written
    assert len(json.loads(written)) == 2


# --- tracebacks that show what variables held -----------------------------------------------------


def frames_of(error: BaseException | None, seen: set[int]) -> Iterator[str]:
    """What a tool that shows variables would show: all but this file's, to the last cause."""
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    trace = error.__traceback__
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        if frame.f_code.co_filename != __file__:
            for name, value in frame.f_locals.items():
                yield f"{frame.f_code.co_qualname}.{name} = {value!r}"
    yield from frames_of(error.__cause__, seen)
    yield from frames_of(error.__context__, seen)


def press_stop(server: WireServer) -> None:
    """While it is waited for: some moments after the request came."""
    stop = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
    as_soon_as(lambda: server.requests, stop.start)


@pytest.mark.parametrize(
    ("script", "before", "kind"),
    [
        pytest.param(["reset"], None, errors.OrnbError, id="reset"),
        pytest.param([b"garbage\r\n\r\n"], None, errors.OrnbError, id="garbage"),
        pytest.param([whole(SAID, 401)], None, errors.OrnbError, id="refused"),
        pytest.param(["stall"], press_stop, KeyboardInterrupt, id="an interrupt before the answer"),
        pytest.param([STREAM, delta("A"), "stall"], press_stop, KeyboardInterrupt, id="and in it"),
    ],
)
def test_no_variable_of_a_traceback_holds_the_key(
    script: list[Any], before: Callable[[WireServer], None] | None, kind: type[BaseException]
) -> None:
    with WireServer(script) as server:
        client = Client(SENTINEL, server.url, retries=0)
        try:
            if before:
                before(server)
            for _ in client.stream("Hi", MODEL):
                pass
        except kind as error:
            told = [each for each in frames_of(error, set()) if PART in each]
        else:
            told = ["nothing was raised"]
    assert told == []


def test_nobody_there_leaves_no_key_in_variables() -> None:
    with pytest.raises(errors.ConnectionFailed) as caught:
        Client(SENTINEL, NOBODY, retries=0).chat("Hi")
    assert [each for each in frames_of(caught.value, set()) if PART in each] == []


@pytest.mark.parametrize("key", [SENTINEL, f"{SENTINEL} x"], ids=["nobody there", "no key"])
@pytest.mark.parametrize("names", [["Ada"], [""]], ids=["a class", "not a class"])
def test_no_variable_of_a_class_that_fails_holds_its_management_key(key: Any, names: Any) -> None:
    with pytest.raises(errors.OrnbError) as caught:
        ornb.classroom(names, 1, management_key=key, base_url=NOBODY)
    assert [each for each in frames_of(caught.value, set()) if PART in each] == []


def test_a_client_that_was_not_finished_can_be_shown() -> None:
    """A debugger shows `self` of the frame that failed."""
    with pytest.raises(errors.ConfigError) as caught:
        Client(base_url="nonsense")
    assert any("ornb.Client live" in each for each in frames_of(caught.value, set()))


def test_ipythons_most_talkative_traceback_does_not_tell_it(tmp_path: Path) -> None:
    """Stop pressed while nobody answers: not an error of ours, so IPython shows all of it."""
    with WireServer(["stall"]) as server:
        (tmp_path / "cell.py").write_text(
            textwrap.dedent(f"""
            import os
            import ornb
            ornb.connect(base_url={server.url!r}, api_key=os.environ["A_KEY"])
            ornb.client().chat("Hi", "a/b")
            """)
        )
        shell = "from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance();"
        run = "s.run_line_magic('xmode', 'Verbose'); s.run_cell(open('cell.py').read())"
        process = subprocess.Popen(
            [sys.executable, "-c", f"{shell} {run}"],
            cwd=tmp_path,
            env={
                "A_KEY": SENTINEL,
                "HOME": str(tmp_path),
                "IPYTHONDIR": str(tmp_path),
                "PYTHONPATH": str(Path(ornb.__file__).parents[1]),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        stop = threading.Timer(0.4, process.send_signal, (signal.SIGINT,))
        as_soon_as(lambda: server.requests, stop.start)
        said, _ = process.communicate(timeout=120)
    assert "KeyboardInterrupt" in said
    assert "timeout = " in said, "variables are shown"
    assert PART not in said
