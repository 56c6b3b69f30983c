"""The short, repeatable part of the fuzzing; ``make fuzz SECONDS=600`` is the long one."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ornb.api.assembly import Assembly
from ornb.api.framing import Decoder
from ornb.api.refusals import refusal
from ornb.errors import ConfigError
from ornb.messages import Conversation
from ornb.recording.lines import read
from ornb.text.markdown import StreamRenderer, render
from tests.fuzz.__main__ import mutated
from tests.fuzz.exchange import PIECES
from tests.fuzz.harmless import assert_harmless, assert_settled, assert_tame_markdown
from tests.fuzz.pieces import Choices, cut
from tests.fuzz.targets import TARGETS, Target, check

RUNS = dict.fromkeys(TARGETS, 40) | {
    "sse": 300,
    "chunked": 300,
    "exchange": 100,
    "endpoints": 100,
    "refusals": 300,
    "repeated": 8,
}


@pytest.mark.parametrize("name", TARGETS)
def test_what_the_fuzzer_begins_with_holds(name: str) -> None:
    for seed in TARGETS[name].seeds():
        check(name, seed)


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_made_of_those_hold(name: str) -> None:
    seeds, chance = TARGETS[name].seeds(), random.Random(name)
    for _ in range(RUNS[name]):
        check(name, mutated(chance, seeds, TARGETS[name].longest))


def test_an_input_without_an_end_is_found_by_the_work_it_makes(monkeypatch) -> None:
    def hang(_: bytes) -> None:
        while True:
            pass

    monkeypatch.setitem(TARGETS, "hang", Target(hang, lambda: [b""], ()))
    monkeypatch.setattr("tests.fuzz.targets.SLOWEST_S", 0.05)
    with pytest.raises(AssertionError, match=r"no end after 0\.05 s"):
        check("hang", b"")


@pytest.mark.long
@pytest.mark.parametrize("name", TARGETS)
def test_the_fuzzer_that_is_guided_by_coverage_finds_nothing_in_seconds(name: str) -> None:
    """The same inputs every time: new ones are looked for by ``make fuzz``."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris, the fuzzer, has no wheel for this Python and machine")
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "4", "--runs", "500", name]
    root = Path(__file__).parents[1]
    # It ends by itself, an input that hangs too; on a busy machine its begin alone takes minutes.
    done = subprocess.run(
        command, cwd=root, check=False, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "stat::number_of_executed_units" in done.stderr, "it was not guided"


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_as_the_standard_reads_them(data: bytes) -> None:
    check("sse", data)
    check("chunked", data)


@settings(max_examples=150)
@given(st.binary(min_size=3, max_size=3), st.lists(st.sampled_from(PIECES), max_size=12))
def test_any_answer_is_read_in_time_and_the_next_call_has_its_own(
    led: bytes, pieces: list[bytes]
) -> None:
    check("exchange", led + b"".join(pieces))


MARKS = st.text(st.sampled_from("*_~`#>-+|:[]()<>!\\$&;/=\"' \n\ta1\u202e\xe4"), max_size=60)


@settings(max_examples=150)
@given(st.binary(min_size=3, max_size=3), MARKS)
def test_any_marks_of_markdown_end_as_the_whole_and_harmless(cuts: bytes, text: str) -> None:
    check("markdown", cuts + text.encode())
    check("writer", text.encode())


# --- the checks themselves bite -------------------------------------------------------------------


@pytest.mark.parametrize(
    "html",
    [
        "<p onclick=x>",
        "<img src=x>",
        "<a href='javascript:x'>x</a>",
        "<p class=jp-Dialog>",
        "<svg>",
        "<!-- x -->",
        "<code class=evil>x</code>",
    ],
)
def test_a_checker_that_lets_this_through_would_be_none(html: str) -> None:
    with pytest.raises(AssertionError):
        assert_harmless(html)
    with pytest.raises(AssertionError):
        assert_settled(html)


@pytest.mark.parametrize("text", ["<b>x</b>", "![x](https://a.example)", "[x](ftp://a.example)"])
def test_markdown_that_is_not_tame_is_told(text: str) -> None:
    with pytest.raises(AssertionError):
        assert_tame_markdown(text)


def test_the_same_bytes_make_the_same_decisions() -> None:
    one, other = (Choices(bytes(range(200))).json(("a", "b")) for _ in range(2))
    assert repr(one) == repr(other)
    assert Choices(b"").json(("a",)) == Choices(b"").json(("a",))


@given(st.text(max_size=50), st.lists(st.integers(0, 255), max_size=3).map(tuple))
def test_a_cut_loses_nothing(text: str, sizes: tuple[int, ...]) -> None:
    assert "".join(cut(text, sizes)) == text


# --- time that is bounded -------------------------------------------------------------------------


def test_events_in_tiny_reads_cost_no_square() -> None:
    """A megabyte that ends nowhere, a few bytes at a time; then as many events."""
    decoder, began = Decoder(), process_time()
    for _ in range(100_000):
        decoder.feed(b"data: x\nid")
    for _ in range(100_000):
        decoder.feed(b"data: x\n\n")
    assert process_time() - began < 20  # some 0.2 s


@pytest.mark.parametrize("piece", ["- item\n", "| a | b |\n", "> q\n", "word ", "`a` ", "\n\n"])
def test_a_long_answer_costs_by_its_length(piece: str) -> None:
    """Ten times the text is some ten times the work, drawn as often as `wait_s` allows."""

    def cost(count: int) -> float:
        began, stream, waited = process_time(), StreamRenderer(), 0.0
        for n in range(0, count, 20):
            now = n / 2_000  # s, at 2,000 pieces a second
            if now >= waited:
                stream.feed(piece * 20)
                waited = now + stream.wait_s
        stream.finish()
        return process_time() - began

    small, large = cost(1_000), cost(10_000)
    assert large < 40 * small + 0.5


def test_a_table_as_wide_as_it_is_long_is_bounded() -> None:
    began = process_time()
    assert_harmless(render("|a" * 1_000 + "|\n" + "|-" * 1_000 + "|\n" + "|" + "\n|" * 1_000))
    assert process_time() - began < 20  # some 2 s; all of its cells would take minutes


# --- what was found -------------------------------------------------------------------------------

EXCHANGE = {"at": "2026-11-22", "request": {"method": "GET", "path": "/models"}, "end": "tls"}


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param({"request": {"method": "GET", "path": 5}}, id="a path that is a number"),
        pytest.param({"times": {"head_s": 10**400}}, id="a time beyond the floats"),
    ],
)
def test_a_spoilt_line_of_a_recording_is_left_out(
    tmp_path: Path, spoilt: dict[str, object]
) -> None:
    path = tmp_path / "lesson.jsonl"
    lines = [{"ornb_recording": 1}, EXCHANGE, EXCHANGE | spoilt]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert len(read(path).exchanges) == 1


@pytest.mark.parametrize("code", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_a_code_that_is_no_number_is_survived(code: str) -> None:
    body = f'{{"error": {{"code": {code}, "message": "No"}}}}'.encode()
    assert "No" in str(refusal(200, {}, body))


@pytest.mark.parametrize("said", ["\ud800", "\x1b[2J", "a\u202eb", "\x07"])
def test_an_error_holds_nothing_that_a_terminal_obeys_or_cannot_write(said: str) -> None:
    body = json.dumps({"error": {"code": 400, "message": f"No {said}", "metadata": None}}).encode()
    message = str(refusal(400, {}, body))
    assert message.startswith(("No \ufffd", "No a\ufffdb"))
    message.encode()


def content(value: object) -> Callable[[Assembly], object]:
    return lambda assembly: assembly.take(
        {"choices": [{"delta": value, "native_finish_reason": ["x"]}]}, "{}", 0.0
    )


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param([{"content": [{"text": 5}, {"text": "a"}]}], id="text that is a number"),
        pytest.param(
            [
                {"role": "", "content": "", "reasoning_details": [{"index": 0, "text": 5}]},
                {"role": "", "content": "a", "reasoning_details": [{"index": 0, "text": "b"}]},
            ],
            id="thought that is a number first",
        ),
    ],
)
def test_an_odd_piece_of_an_answer_ends_nothing(deltas: list[object]) -> None:
    assembly = Assembly()
    for delta in deltas:
        content(delta)(assembly)
    assert assembly.reply.text == "a"


def test_a_cost_beyond_the_floats_is_unknown() -> None:
    assembly = Assembly()
    assembly.take({"usage": {"cost": 10**400, "prompt_tokens": 10**400}}, "{}", 0.0)
    assert assembly.reply.usage.cost_usd is None


@pytest.mark.parametrize(("said", "kept"), [("A", "A"), ("A\ud800", "A\ufffd")])
def test_a_chat_with_an_odd_answer_can_be_opened_again(said: str, kept: str) -> None:
    """Half a surrogate pair is kept as what can be written."""
    assembly, talk = Assembly("a/b"), Conversation()
    content({"content": said})(assembly)
    talk.add_user("Hi")
    talk.add_reply(assembly.reply)
    assert Conversation.from_json(talk.to_json()).path[-1].text == kept


@pytest.mark.parametrize(
    ("spoilt", "longest"),
    [
        ({"version": "9" * 5_000}, 400),
        ({"version": [1] * 5_000}, 400),
        ({"head": "9" * 5_000}, 1_000),
    ],
    ids=["digits", "list", "head"],
)
def test_a_damaged_transcript_is_refused_in_few_words(
    spoilt: dict[str, object], longest: int
) -> None:
    with pytest.raises(ConfigError) as refused:
        Conversation.from_json(Conversation().to_json() | spoilt)
    assert len(str(refused.value)) < longest
