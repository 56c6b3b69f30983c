"""%%ornb and %ornb: options and variables here, streaming and stopping in a real kernel."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import KernelManager
from nbclient.exceptions import CellExecutionError

import ornb
from ornb import session
from ornb.api.reply import Event, Reply, format_usd
from ornb.errors import ConfigError, OrnbError
from ornb.messages import MIME_TRANSCRIPT, Conversation
from ornb.notebook import magics
from ornb.notebook.compare import Comparison
from ornb.notebook.magics import commands, options
from ornb.notebook.magics.output import TerminalOutput
from tests.hostile import TERMINAL
from tests.lab import notebook_of, private_environment, run_headless
from tests.page import main_waits_in, until
from tests.wire import FINISH, SOON_S, STALL_S, STREAM, WireServer, delta, whole

KEY = "sk-or-v1-" + "5e" * 32

# ------------------------------------------------------------------ the options


def test_options_are_read() -> None:
    line = 'a/b --into x --system "Be brief." --temperature -0.5 --max-tokens 9 --chat talk --raw'
    given = options.read(line)
    assert (given.model, given.into, given.system) == ("a/b", "x", "Be brief.")
    assert (given.chat, given.raw, given.label, given.compare) == ("talk", True, None, [])
    assert given.params == {"temperature": -0.5, "max_tokens": 9}
    assert options.read("--model a/b").model == "a/b"
    assert options.read("--compare a/b,c/d --blind").compare == ["a/b", "c/d"]


def test_any_parameter_is_json_or_a_word() -> None:
    line = (
        """--param seed=7 --param stop='["a", "b"]' --param reasoning.effort=low --param x=true"""
    )
    given = options.read(line).params
    assert given == {"seed": 7, "stop": ["a", "b"], "reasoning.effort": "low", "x": True}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--temprature 1", "no option '--temprature'. Did you mean '--temperature'"),
        ("--zzz", "no option '--zzz'. %%ornb --help"),
        ("--seed=7", "goes as --param seed=7"),
        ("--top-p 0.9", "goes as --param top_p=..."),
        ("--temperature hot", "invalid float value: 'hot'"),
        ("--max-tokens", "expected one argument"),
        ("--into 1x", "'1x' is not a name"),
        ("--into class", "'class' is not a name"),
        ("--into x --chat x", "both 'x'"),
        ("a/b c d", "'c' came after 'a/b'"),
        ("a/b --model c/d", "are two models"),
        ('--system "open', "Close the quotation"),
        ("--system don't", "an apostrophe"),
        ("--param seed", "'seed' is not name=value"),
        ("--param reasoning={effort:low}", "reasoning is not JSON"),
        ("--param model=a/b", "Write the model first"),
        ("--param stream=false", "Answers always stream"),
        ("--param temperature=1 --temperature 0", "temperature is given twice"),
        ("--compare a/b", "two or more models"),
        ("a/b --compare c/d,e/f", "neither a model"),
        ("--blind", "goes with --compare"),
        ("--api-key abc", "takes no key"),
    ],
)
def test_a_bad_option_is_one_message(line: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options.read(line)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    ["{key}", "a/b {key}", "--key {key}", "--api-key={key}", "--into {key}", '--system "{key}'],
)
def test_a_key_that_was_typed_is_not_repeated(line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options.read(line.format(key=KEY) + " c/d e/f")
    assert KEY[9:] not in str(caught.value)


def test_help_names_every_option_and_command() -> None:
    page = options.overview()
    assert [name for name in options.OPTIONS if name not in page] == []
    assert [name for name in options.COMMANDS if f"%ornb {name}" not in page] == []
    assert "usage: %%ornb [model]" in page


# ------------------------------------------------------------------ %ornb


def test_models_takes_words_and_filters(capsys: pytest.CaptureFixture[str]) -> None:
    line = "models gpt-4o --tools --no-batch --min-context 128k --sort prompt_usd_per_million"
    found = commands.run(line, None)
    assert len(found) > 0
    assert all("gpt-4o" in name for name in found.index)
    assert found["prompt_usd_per_million"].is_monotonic_increasing
    said = capsys.readouterr().out
    code = (
        "ornb.models(search='gpt-4o', tools=True, batch=False, min_context=128000, "
        "sort='prompt_usd_per_million')"
    )
    assert said.startswith(f"{code}: {len(found)} of 421 models, snapshot of ")


def test_models_says_how_many_are_billed_in_another_unit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = commands.run("models lyria", None)
    said = capsys.readouterr().out
    assert f"; {len(found)} of them list 0 a token, and bill another unit\n" in said
    commands.run("models gpt-4o", None)
    assert "another unit" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("modles", "no command 'modles'. Did you mean 'models'"),
        ("zzz", "It knows models, usage, key, help."),
        ("models --fre", "no filter 'fre'. Did you mean 'free'"),
        ("models --min-context many", "give a number, such as 128k"),
        ("models --accepts", "--accepts needs a value"),
        ("models --accepts imagge", "did you mean 'image'"),
        ("models --sort prise", "'prise' is no column to sort by; did you mean 'price'"),
        ("usage by model", "takes nothing, or --by"),
        ("usage --by", "takes nothing, or --by"),
        ("key now", "%ornb key takes nothing"),
        (f"key {KEY}", "%ornb takes no key"),
        (KEY, "%ornb takes no key"),
    ],
)
def test_a_bad_line_is_one_message(line: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        commands.run(line, None)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert KEY[9:] not in str(caught.value)


def test_usage_is_shown_or_summed_up() -> None:
    ornb.ask("Hi", label="magics-test")
    assert commands.run("usage", None) is session.usage
    for line in ("usage --by label", "usage --by=label"):
        assert commands.run(line, None).at["magics-test", "calls"] >= 1


def test_key_shows_what_the_service_says_and_nothing_of_the_key(
    wire: Any, anew: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    anew()
    server = wire([whole({"data": {"label": f"{KEY[:12]}...{KEY[-3:]}", "limit": 5}})])
    ornb.connect(KEY, server.url)
    said = repr(commands.run("key", None))
    assert "$5.00" in said
    assert KEY not in said
    anew()
    ornb.connect(base_url=server.url)
    assert commands.run("key", None) is None
    assert "ornb.sign_in()" in capsys.readouterr().out


def test_key_of_a_server_without_accounts(
    wire: Any, anew: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    anew()
    ornb.connect("local", wire([whole({"detail": "Not Found"}, 404)]).url)
    assert commands.run("key", None) is None
    assert "keeps no account" in capsys.readouterr().out


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


SETUP = "import ornb.notebook.magics\nornb.notebook.magics.register(get_ipython())\nnumber = 7"


def run(tmp_path: Path, server: WireServer, *cells: str) -> nbformat.NotebookNode:
    return run_headless(notebook_of([SETUP, *cells]), tmp_path, OPENROUTER_BASE_URL=server.url)


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
    audit = outputs[0]["metadata"]["ornb"]
    assert (audit["model"], audit["served_model"]) == ("acme/orbit", "acme/orbit-20260302")
    assert (audit["provider"], audit["source"], audit["status"]) == ("NorthCloud", "live", "ok")
    assert (audit["prompt_tokens"], audit["completion_tokens"]) == (22, 9)
    assert (audit["cost_usd"], audit["generation_id"]) == (0.000145, "gen-1")
    assert 0 < audit["time_to_first_token_s"] < audit["duration_s"] < 5
    assert abs(datetime.now(UTC) - datetime.fromisoformat(audit["started_at"])) < timedelta(hours=1)
    assert audit["params"] == {"max_tokens": 9}
    talk = Conversation.from_json(data[MIME_TRANSCRIPT])
    assert [turn.text for turn in talk] == ["What is 7 {x}?", "A *cat* is <b>not</b> a dog."]
    assert done.cells[2].outputs[0]["text"] == "A *cat* is <b>not</b> a dog. %%ornb\n"
    state = done.cells[3].outputs[0]["text"]
    assert "Calls so far   1" in state
    assert state.index("Calls") < state.index("ornb.usage.persist() keeps them")
    assert state.index("ornb.usage.persist() keeps them") < state.index("Billed")
    assert "$0.00015" in state
    assert "acme/first" in state


MISTAKES = {
    "empty": ("%%ornb a/b\n \n", "The prompt is empty"),
    "option": ("%%ornb --modle a/b\nHi", "no option '--modle'"),
    "variable": ("%%ornb a/b\n{{numbre}}", "Did you mean 'number'"),
    "line": ("%ornb modles", "Did you mean 'models'"),
    "refused": ("%%ornb a/b\nHi", "AuthenticationError: "),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What stands below each of those cells, run in one kernel."""
    notebook = notebook_of([SETUP, *[cell for cell, _ in MISTAKES.values()]])
    for cell in notebook.cells[1:]:
        cell.metadata["tags"] = ["raises-exception"]
    with WireServer([whole({"error": {"message": "User not found.", "code": 401}}, 401)]) as server:
        run_headless(notebook, tmp_path_factory.mktemp("told"), OPENROUTER_BASE_URL=server.url)
    outputs = [cell.outputs[-1] for cell in notebook.cells[1:]]
    return {name: "\n".join(each.traceback) for name, each in zip(MISTAKES, outputs, strict=True)}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_in_the_cell(told: dict[str, str], name: str) -> None:
    assert MISTAKES[name][1] in told[name]
    assert "Traceback" not in told[name]


@pytest.mark.usefixtures("forked_kernels")
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
        client.wait_for_ready(timeout=120)
        client.execute(
            "import ornb.notebook.magics\nornb.notebook.magics.register(get_ipython())", reply=True
        )
        shown: list[str] = []
        began = 0.0
        asked = client.execute("%%ornb acme/orbit --into reply\nHi")
        while True:
            message = client.get_iopub_msg(timeout=STALL_S)
            if message["parent_header"].get("msg_id") != asked:
                continue
            if message["msg_type"] in ("display_data", "update_display_data"):
                shown.append(message["content"]["data"]["text/html"])
                if not began:
                    time.sleep(0.3)  # nothing but time tells that the next piece is waited for
                    began = time.perf_counter()
                    manager.interrupt_kernel()
            elif message["msg_type"] == "error":
                assert time.perf_counter() - began < SOON_S, message["content"]
                assert message["content"]["traceback"] == [
                    "Stopped: what had arrived is kept above."
                ]
            elif message["content"].get("execution_state") == "idle":
                break
        assert "Half <em>an</em> answer" in shown[-1]
        assert "stopped" in shown[-1]
        told = client.execute_interactive(
            "", user_expressions={"reply": "reply.status, reply.text"}, timeout=STALL_S
        )
        value = told["content"]["user_expressions"]["reply"]["data"]["text/plain"]
        assert value == "('stopped', 'Half *an* answer')"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


# ------------------------------------------------------------------ in a terminal


@pytest.fixture
def shell(anew: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An IPython as in a terminal: without a kernel, so without pages."""
    anew()
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # it puts its own there
    shell = InteractiveShell()
    magics.register(shell)
    yield shell
    shell.reset(new_session=False)
    shell.history_manager.end_session()


def connected(wire: Any, *scripts: Any) -> WireServer:
    server: WireServer = wire(*scripts)
    ornb.connect(base_url=server.url)
    return server


def body(server: WireServer, number: int = -1) -> Any:
    questions = [asked for _, asked in server.requests if asked]  # the catalogue has no body
    return json.loads(questions[number])


def test_in_a_terminal_the_answer_is_plain_text(
    wire: Any, shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    connected(wire, answer("A *cat*."))
    shell.run_cell_magic("ornb", "acme/orbit", "Hi")
    assert capsys.readouterr().out.startswith("A *cat*.\n[acme/orbit-20260302 · NorthCloud")


def test_a_terminal_obeys_nothing_that_an_answer_says(capsys: pytest.CaptureFixture[str]) -> None:
    one = TerminalOutput()
    one.wait(TERMINAL)
    one.add(Event("text", TERMINAL))
    one.end(Reply(text=TERMINAL, provider=TERMINAL, note=TERMINAL), Conversation(), {})
    TerminalOutput().end(Reply(text=TERMINAL), Conversation(), {})
    said = capsys.readouterr().out
    assert said.count("⟨U+001B⟩]52;c;") == 5
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", said)


def test_a_terminal_compares_one_by_one(
    wire: Any, shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server = connected(wire, answer("One."), [whole({"error": {"message": "No."}}, 401)])
    shell.run_cell_magic("ornb", "--compare a/b,c/d --into both", "Hi")
    said = capsys.readouterr().out
    assert said.index("--- a/b\nOne.") < said.index("--- c/d\n")
    assert "AuthenticationError: " in said
    assert [body(server, n)["model"] for n in (0, 1)] == ["a/b", "c/d"]
    assert [reply.status for reply in shell.user_ns["both"]] == ["ok", "error"]


def test_a_terminal_names_nobody_of_a_blind_comparison_before_the_end(
    wire: Any, shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(_: bytes, asked: bytes) -> Any:
        refusal = [whole({"error": {"message": "No."}}, 401)]
        model = json.loads(asked)["model"] if asked else None
        return refusal if model == "c/d" else answer("One." if model == "a/b" else "Two.")

    connected(wire, script)
    for _ in range(5):  # the order is chance's
        shell.run_cell_magic("ornb", "--compare a/b,c/d,e/f --blind --into all", "Hi")
        answers, names = capsys.readouterr().out.split("--- Who is who\n")
        assert answers.count("--- Answer ") == 3
        assert not re.search("a/b|c/d|e/f|acme|NorthCloud|Authentication|billed", answers)
        assert "This answer failed; why is told at the end." in answers
        place = re.search(r"--- Answer (\d)\nTwo.", answers)
        assert place is not None
        assert f"Answer {place[1]}: e/f [acme/orbit-20260302 · NorthCloud · live" in names
        assert "AuthenticationError: No" in names
        assert [reply.text for reply in shell.user_ns["all"]] == ["One.", "", "Two."]


@pytest.mark.parametrize("where", ["a notebook", "a terminal"])
def test_an_interrupted_comparison_is_one_line_and_what_came_has_its_name(
    wire: Any, shell: Any, where: str
) -> None:
    def halting() -> Any:
        yield from (STREAM, delta("Half"))
        until(lambda: where == "a terminal" or main_waits_in(Comparison.wait))
        os.kill(os.getpid(), signal.SIGINT)
        yield "stall"

    def script(_: bytes, asked: bytes) -> Any:
        return halting() if asked and json.loads(asked)["model"] == "c/d" else answer("One.")

    connected(wire, script)
    if where == "a notebook":
        shell.kernel = object()
    with pytest.raises(KeyboardInterrupt) as stopped:
        shell.run_cell_magic("ornb", "--compare a/b,c/d --into both", "Hi")
    assert stopped.type is magics.Stopped
    both = shell.user_ns["both"]
    replies = list(both.replies.values()) if where == "a notebook" else both
    assert replies[-1].status == "stopped"


def test_the_likely_cost_is_said_before_the_answer(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell_magic("ornb", "openai/gpt-4o-mini --max-tokens 100", "Hi")
    said = capsys.readouterr().out
    first = next(line for line in said.splitlines() if line.startswith("Asking"))
    quoted = ornb.quote("Hi", "openai/gpt-4o-mini", max_tokens=100)
    likely = format_usd(float(quoted.likely_usd))
    assert first == f"Asking openai/gpt-4o-mini: about {likely} if it were live …"
    assert said.index("Asking") < said.index("canned answer")


def quotes(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("Quote")]


def test_quote_tells_the_cost_and_sends_nothing(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(ornb.usage)
    shell.run_cell_magic("ornb", "openai/gpt-4o-mini --max-tokens 100 --quote", "Hi")
    shell.run_cell_magic("ornb", "--compare openai/gpt-4o,openai/gpt-4o-mini --quote", "Hi")
    lines = quotes(capsys)
    assert lines[0] == repr(ornb.quote("Hi", "openai/gpt-4o-mini", max_tokens=100))
    assert [line.rpartition(" ")[2] for line in lines[1:]] == [
        "openai/gpt-4o",
        "openai/gpt-4o-mini",
    ]
    assert len(ornb.usage) == before


def test_quote_of_a_conversation_counts_it_and_leaves_it_as_it_is(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = shell.user_ns["talk"] = ornb.Conversation("Be brief.")
    talk.add_user("What is a token? " * 50)
    before = talk.to_json()
    shell.run_cell_magic("ornb", "--chat talk --system Rhyme. --quote", "Hi")
    shell.run_cell_magic("ornb", "--chat free --quote", "Hi")
    said, alone = quotes(capsys)
    asked = [{"role": "system", "content": "Rhyme."}, *talk.messages()[1:]]
    assert said == repr(ornb.quote([*asked, {"role": "user", "content": "Hi"}]))
    assert alone == repr(ornb.quote("Hi"))
    assert talk.to_json() == before
    assert "free" not in shell.user_ns


def test_quote_of_a_chat_is_for_its_own_model_and_settings(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.user_ns["chat"] = ornb.Chat("openai/gpt-4o", max_tokens=7)
    shell.run_cell_magic("ornb", "--chat chat --quote", "Hi")
    shell.run_cell_magic("ornb", "openai/gpt-4o-mini --chat chat --quote", "Hi")
    its_own, another = quotes(capsys)
    assert its_own == repr(ornb.quote("Hi", "openai/gpt-4o", max_tokens=7))
    assert another == repr(ornb.quote("Hi", "openai/gpt-4o-mini", max_tokens=7))


def test_a_cell_that_fails_leaves_no_quote_behind(tmp_path: Path) -> None:
    setup = "import ornb\nornb.models()\nget_ipython().run_line_magic('load_ext', 'ornb')"
    simulated = """--param 'ornb={"simulate": {"status": 401}}'"""
    cells = [setup, f"%%ornb openai/gpt-4o-mini {simulated}\nHi"]
    notebook = notebook_of(cells)
    with pytest.raises(CellExecutionError, match="AuthenticationError"):
        run_headless(notebook, tmp_path)
    shown = [output for output in notebook.cells[1].outputs if output.output_type != "error"]
    assert "Asking" not in str(shown)


def test_thinking_is_said_once(wire: Any, shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    thought = [delta(reasoning="Hm."), delta(reasoning="Well."), delta("Yes.")]
    connected(wire, [STREAM, *thought, FINISH])
    shell.run_cell_magic("ornb", "a/b", "Hi")
    assert capsys.readouterr().out.startswith("(thinking ...)\nYes.\n[")


# ------------------------------------------------------------------ what is sent


def test_settings_hold_where_the_cell_says_nothing(wire: Any, shell: Any) -> None:
    server = connected(wire, answer("Yes."))
    shell.run_line_magic("config", "OrnbMagics.model = 'lab/set'")
    shell.run_line_magic("config", "OrnbMagics.params = {'temperature': 0, 'seed': 1}")
    shell.run_line_magic("config", "OrnbMagics.system = 'Be brief.'")
    shell.run_cell_magic("ornb", "--into reply", "Hi")
    sent = body(server)
    assert (sent["model"], sent["temperature"], sent["seed"]) == ("lab/set", 0, 1)
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    shell.run_cell_magic("ornb", "lab/b --system Sing. --temperature 1 --param seed=null", "Hi")
    sent = body(server)
    assert (sent["model"], sent["temperature"], sent["seed"]) == ("lab/b", 1, 1)
    assert sent["messages"][0]["content"] == "Sing."
    assert shell.user_ns["reply"].label == "%%ornb"


def test_registering_again_keeps_the_settings(shell: Any) -> None:
    shell.run_line_magic("config", "OrnbMagics.model = 'lab/set'")
    magics.register(shell)
    assert shell.magics_manager.registry["OrnbMagics"].model == "lab/set"
    assert [type(c).__name__ for c in shell.configurables].count("OrnbMagics") == 1


def test_parameters_pass_through_as_given(wire: Any, shell: Any) -> None:
    server = connected(wire, answer("Yes."))
    line = """a/b --param 'provider={"order": ["x"]}' --param reasoning.effort=low --label mine"""
    shell.run_cell_magic("ornb", line, "Hi")
    sent = body(server)
    assert sent["provider"] == {"order": ["x"]}
    assert sent["reasoning"] == {"effort": "low"}
    assert "label" not in sent
    assert session.usage.df.iloc[-1]["label"] == "mine"


def test_the_model_may_be_a_picker(wire: Any, shell: Any) -> None:
    class Picker:
        value = "lab/picked"

    server = connected(wire, answer("Yes."))
    shell.user_ns["picker"] = Picker()
    shell.run_cell_magic("ornb", "{{picker}}", "Hi")
    assert body(server)["model"] == "lab/picked"


def test_variables_reach_the_prompt_and_what_is_cut_is_said(
    wire: Any, shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server = connected(wire, answer("Yes."))
    shell.user_ns["many"] = pd.DataFrame({"n": range(100)})
    shell.run_cell_magic("ornb", "a/b", "Sum {{many}}")
    assert body(server)["messages"][0]["content"].startswith("Sum | n |\n| --- |\n| 0 |")
    assert "{{many}}: 20 of 100 rows are sent." in capsys.readouterr().out
    shell.run_cell_magic("ornb", "a/b --raw", "Sum {{many}}")
    assert body(server)["messages"][0]["content"] == "Sum {{many}}"


def test_a_prompt_with_a_key_is_not_sent(wire: Any, shell: Any) -> None:
    server = connected(wire, answer("Yes."))
    shell.user_ns["settings"] = {"api_key": KEY}
    with pytest.raises(ConfigError, match="There is a key in the prompt"):
        shell.run_cell_magic("ornb", "a/b", "Look at {{settings}}")
    assert server.requests == []


def test_a_wrong_model_is_met_with_near_ones(shell: Any) -> None:
    ornb.connect(offline=True)
    with pytest.raises(OrnbError, match="Did you mean openai/gpt-4o-mini"):
        shell.run_cell_magic("ornb", "openai/gpt-4o-mni", "Hi")


def test_an_attachment_goes_along_where_the_model_takes_it(wire: Any, shell: Any) -> None:
    records = [
        {"id": f"lab/{name}", "architecture": {"input_modalities": takes}}
        for name, takes in (("blind", ["text"]), ("sees", ["text", "image"]))
    ]
    listed = [whole({"data": records})]
    said = answer("A dot.")
    server = connected(wire, lambda head, _: said if head.startswith(b"POST") else listed)
    shell.user_ns["dot"] = b"\x89PNG\r\n\x1a\n and so on"
    shell.run_cell_magic("ornb", "lab/sees --attach {{dot}}", "What is this?")
    parts = body(server)["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url"]
    calls = len(server.requests)
    with pytest.raises(ConfigError, match="lab/blind takes text, so not "):
        shell.run_cell_magic("ornb", "lab/blind --attach {{dot}} --chat talk", "What is this?")
    assert len(server.requests) == calls, "checked before anything is sent"
    assert len(shell.user_ns["talk"]) == 0


def proposed(shell: Any, line: str) -> list[str]:
    """What the Tab key gives at the end of a line."""
    with provisionalcompleter():
        return [each.text for each in shell.Completer.completions(line, len(line))]


def test_the_tab_key_knows_commands_options_and_listed_models(shell: Any) -> None:
    assert proposed(shell, "%ornb mo") == ["models"]
    assert proposed(shell, "%%ornb --te") == ["--temperature"]
    assert "openai/gpt-4o-mini" not in proposed(shell, "%%ornb openai/gpt-4o-m"), "not listed yet"
    ornb.connect(offline=True)
    ornb.models()
    assert "openai/gpt-4o-mini" in proposed(shell, "%%ornb openai/gpt-4o-m")


# ------------------------------------------------------------------ a conversation


def test_chat_makes_a_conversation_and_goes_on_with_it(wire: Any, shell: Any) -> None:
    server = connected(wire, answer("Hello Ada."), answer("Ada."))
    shell.run_cell_magic("ornb", "lab/a --chat talk --system 'Be brief.'", "I am Ada.")
    shell.run_cell_magic("ornb", "--chat talk --into reply", "Who am I?")
    sent = body(server)
    assert sent["model"] == "lab/a", "the model asked last goes on"
    said = [message["content"] for message in sent["messages"]]
    assert said == ["Be brief.", "I am Ada.", "Hello Ada.", "Who am I?"]
    assert len(shell.user_ns["talk"]) == 4
    assert shell.user_ns["reply"].text == "Ada."


def test_a_conversation_survives_a_failed_question(wire: Any, shell: Any) -> None:
    refused = [whole({"error": {"message": "No."}}, 401)]
    server = connected(wire, refused, answer("Yes."))
    with pytest.raises(OrnbError):
        shell.run_cell_magic("ornb", "lab/a --chat talk --into reply", "One?")
    assert shell.user_ns["reply"].status == "error"
    shell.run_cell_magic("ornb", "--chat talk", "Two?")
    assert [message["content"] for message in body(server)["messages"]] == ["Two?"]


def test_chat_goes_on_in_a_widget(
    wire: Any, shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server = connected(wire, answer("Hello."))
    chat = shell.user_ns["chat"] = ornb.Chat("lab/a", system="Be brief.", seed=3)
    shell.run_cell_magic("ornb", "--chat chat --temperature 0 --into reply", "Hi")
    sent = body(server)
    assert (sent["model"], sent["seed"], sent["temperature"]) == ("lab/a", 3, 0)
    assert [turn.text for turn in chat.conversation] == ["Hi", "Hello."]
    assert shell.user_ns["reply"].text == "Hello."
    assert "Hello.\n[" in capsys.readouterr().out


def test_chat_refuses_what_is_no_conversation(shell: Any) -> None:
    shell.user_ns["number"] = 7
    with pytest.raises(ConfigError, match="--chat number: that is of type int, so"):
        shell.run_cell_magic("ornb", "--chat number", "Hi")


# ------------------------------------------------------------------ what a reader can audit


def test_every_fact_has_the_name_that_the_usage_table_gives_it() -> None:
    from ornb.ledger.tracker import USAGE_COLUMNS
    from ornb.notebook.magics.output import audit

    facts = audit(ornb.ask("Hi", seed=7), {"seed": 7})
    assert set(facts) - set(USAGE_COLUMNS) == {"params", "ornb_version"}
    json.dumps(facts)


# ------------------------------------------------------------------ the page about it

PAGE = (Path(__file__).parents[1] / "docs/magics.md").read_text(encoding="utf-8")


def test_the_page_names_every_option_command_and_setting() -> None:
    settings = magics.OrnbMagics.class_own_traits(config=True)
    missing = [
        *(name for name in options.OPTIONS if f"`{name}" not in PAGE),
        *(name for name in options.COMMANDS if f"`%ornb {name}" not in PAGE),
        *(name for name in settings if f"`{name}`" not in PAGE),
    ]
    assert missing == []


def test_the_page_tells_the_limits_of_the_code() -> None:
    from ornb.messages import placeholders as p

    assert f"first {p.MOST_ROWS} rows and {p.MOST_COLUMNS} columns" in PAGE
    assert f"cut at {p.LONGEST_CELL} characters" in PAGE
    assert f"up to {p.LONGEST_JSON:,} characters" in PAGE
