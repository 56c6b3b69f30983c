"""%%ornb and %ornb: options and variables here, streaming and stopping in a real kernel."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import KernelManager
from nbclient.exceptions import CellExecutionError

from ornb import magics
from ornb.conversation import MIME_TRANSCRIPT, Conversation
from ornb.errors import ConfigError
from tests.lab import notebook_of, private_environment, run_headless
from tests.wire import FINISH, STREAM, WireServer, delta, whole

# ------------------------------------------------------------------ the prompt


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        pytest.param("{{x}} and {{ x }}", "1 and 1", id="blanks"),
        pytest.param("\\frac{1}{2} {x} {'a': {}}", "\\frac{1}{2} {x} {'a': {}}", id="single"),
        pytest.param("{{x.y}} {{1}} {{}}", "{{x.y}} {{1}} {{}}", id="no name"),
        pytest.param("{{y}}", "{{x}}", id="a value is not searched again"),
        pytest.param("{{größe}}", "3", id="any identifier"),
    ],
)
def test_double_braces_take_a_variable(text: str, filled: str) -> None:
    assert magics.fill_in(text, {"x": 1, "y": "{{x}}", "größe": 3}) == filled


def test_an_unknown_variable_names_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"'promt'.*Did you mean 'prompt'"):
        magics.fill_in("{{promt}}", {"prompt": "a", "_promt": "b"})


# ------------------------------------------------------------------ the options


def test_options_are_read() -> None:
    read = magics._parsed('a/b --into x --system "Be brief." --temperature -0.5 --max-tokens 9')
    assert (read.model, read.into, read.system) == ("a/b", "x", "Be brief.")
    assert (read.temperature, read.max_tokens, read.label) == (-0.5, 9, "%%ornb")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--temprature 1", "no option '--temprature'. Did you mean '--temperature'"),
        ("--zzz", "no option '--zzz'. %%ornb --help"),
        ("--temperature hot", "invalid float value: 'hot'"),
        ("--max-tokens", "expected one argument"),
        ("--into 1x", "'1x' is not a name"),
        ("--into class", "'class' is not a name"),
        ("a/b c d", "'c' came after 'a/b'"),
        ('--system "open', "Close the quotation"),
    ],
)
def test_a_bad_option_is_one_message(line: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        magics._parsed(line)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ in a kernel


def answer(*pieces: str) -> list[Any]:
    return [STREAM, *[step for piece in pieces for step in (delta(piece), 0.05)], FINISH]


@pytest.fixture
def wire() -> Any:
    opened = []

    def make(*scripts: Any) -> WireServer:
        opened.append(WireServer(*scripts))
        return opened[-1]

    yield make
    for one in opened:
        one.__exit__()


def run(tmp_path: Path, server: WireServer, *cells: str) -> nbformat.NotebookNode:
    setup = "import ornb.magics\nornb.magics.register(get_ipython())\nnumber = 7"
    return run_headless(notebook_of([setup, *cells]), tmp_path, OPENROUTER_BASE_URL=server.url)


def test_a_cell_streams_and_leaves_ordinary_output(tmp_path: Path, wire: Any) -> None:
    said = answer("A *cat", "* is <b>not</b> ", "a dog.")
    listed = [whole({"data": [{"id": "acme/first"}]})]
    server = wire(lambda head, _: said if head.startswith(b"POST") else listed)
    done = run(
        tmp_path,
        server,
        '%%ornb acme/orbit --into reply --system "Be {{number}}." --max-tokens 9\n'
        "What is {{number}} {x}?",
        "print(reply.text, reply.label)",
        "%ornb",
    )
    body = json.loads(next(body for head, body in server.requests if head.startswith(b"POST")))
    assert [m["content"] for m in body["messages"]] == ["Be 7.", "What is 7 {x}?"]
    assert (body["model"], body["max_tokens"]) == ("acme/orbit", 9)
    outputs = done.cells[1].outputs
    assert len(outputs) == 1
    data = outputs[0]["data"]
    assert "<em>cat</em> is &lt;b&gt;" in data["text/html"]
    assert "NorthCloud · live · 22 → 9 tokens" in data["text/plain"]
    assert "text/markdown" not in data
    talk = Conversation.from_json(data[MIME_TRANSCRIPT])
    assert [turn.text for turn in talk] == ["What is 7 {x}?", "A *cat* is <b>not</b> a dog."]
    assert done.cells[2].outputs[0]["text"] == "A *cat* is <b>not</b> a dog. %%ornb\n"
    state = done.cells[3].outputs[0]["text"]
    assert "Calls so far   1" in state
    assert "$0.00015" in state
    assert "acme/first" in state


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        pytest.param("%%ornb a/b\n \n", "The cell is empty", id="empty"),
        pytest.param("%%ornb --modle a/b\nHi", "no option '--modle'", id="option"),
        pytest.param("%%ornb a/b\n{{numbre}}", "Did you mean 'number'", id="variable"),
        pytest.param("%ornb models", "takes nothing", id="line"),
        pytest.param("%%ornb a/b\nHi", "AuthenticationError: ", id="refused"),
    ],
)
def test_a_mistake_is_one_line_in_the_cell(
    tmp_path: Path, wire: Any, cell: str, message: str
) -> None:
    server = wire([whole({"error": {"message": "User not found.", "code": 401}}, 401)])
    with pytest.raises(CellExecutionError) as caught:
        run(tmp_path, server, cell)
    assert message in caught.value.traceback
    assert "Traceback" not in caught.value.traceback


def test_the_interrupt_button_stops_a_silent_answer_and_keeps_the_part(
    tmp_path: Path, wire: Any
) -> None:
    server = wire([STREAM, delta("Half *an* answer"), "stall"])
    (tmp_path / "home").mkdir()
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=private_environment(tmp_path / "home", OPENROUTER_BASE_URL=server.url))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        client.execute("import ornb.magics\nornb.magics.register(get_ipython())", reply=True)
        shown: list[str] = []
        began = 0.0
        asked = client.execute("%%ornb acme/orbit --into reply\nHi")
        while True:
            message = client.get_iopub_msg(timeout=20)
            if message["parent_header"].get("msg_id") != asked:
                continue
            if message["msg_type"] in ("display_data", "update_display_data"):
                shown.append(message["content"]["data"]["text/html"])
                if not began:
                    began = time.perf_counter()
                    manager.interrupt_kernel()
            elif message["msg_type"] == "error":
                assert time.perf_counter() - began < 1, message["content"]
                assert message["content"]["traceback"] == [
                    "Stopped: what had arrived is kept above."
                ]
            elif message["content"].get("execution_state") == "idle":
                break
        assert "Half <em>an</em> answer" in shown[-1]
        assert "stopped" in shown[-1]
        told = client.execute_interactive(
            "", user_expressions={"reply": "reply.status, reply.text"}, timeout=20
        )
        value = told["content"]["user_expressions"]["reply"]["data"]["text/plain"]
        assert value == "('stopped', 'Half *an* answer')"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_in_a_terminal_the_answer_is_plain_text(
    wire: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = wire(answer("A *cat*."))
    monkeypatch.setenv("OPENROUTER_BASE_URL", server.url)
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    from ornb import session

    monkeypatch.setattr(session, "_default", session._Default())
    options = magics._parsed("acme/orbit")
    talk = Conversation()
    talk.add_user("Hi")
    magics._streamed(talk, options, html_shown=False)
    assert capsys.readouterr().out.startswith("A *cat*.\n[acme/orbit-20260302 · NorthCloud")


def test_registering_twice_is_no_harm() -> None:
    shell = InteractiveShell()
    magics.register(shell)
    magics.register(shell)
    assert "ornb" in shell.magics_manager.magics["cell"]
