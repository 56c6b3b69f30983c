"""What is fuzzed: each target takes any bytes, and fails where a promise of ornb's is broken.

They are driven three ways: by the coverage-guided fuzzer (``make fuzz``), by hypothesis, and with
their seeds alone (both in tests/test_fuzz.py). A target knows nothing of who drives it.
"""

from __future__ import annotations

import io
import json
import math
import re
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from time import process_time
from types import SimpleNamespace
from typing import Any, NamedTuple

from ornb import catalog
from ornb.api.assembly import Assembly
from ornb.api.framing import Decoder, Unframed
from ornb.api.refusals import refusal
from ornb.api.reply import Reply
from ornb.errors import ApiError, CatalogError, ConfigError, OrnbError, UnexpectedAnswer
from ornb.ledger.tracker import UsageTracker
from ornb.messages import Conversation, well_formed
from ornb.recording import Replay
from ornb.recording.lines import Request
from ornb.text.markdown import StreamRenderer, render
from ornb.text.rendering import reply_html, reply_text
from ornb.text.writer import fenced, literal, rewritten
from tests.fuzz.exchange import exchange
from tests.fuzz.exchange import seeds as exchange_seeds
from tests.fuzz.harmless import assert_harmless, assert_settled, assert_tame_markdown
from tests.fuzz.pieces import Choices, cut, cuts_and_content
from tests.kept import transcript

LONGEST = 4_096
"""Bytes of an input that are looked at; time is bounded by a target of its own."""
SLOWEST_S = 60
"""CPU seconds for an input, instrumented; beyond them it hangs, however busy the machine is."""
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PATIENCE_S = 3.0
"""CPU seconds for 20,000 characters built to be slow, as the other tests of rendering allow."""


class Target(NamedTuple):
    """One thing that is fuzzed."""

    check: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    """Inputs to begin with."""
    packages: tuple[str, ...]
    """Whose code the fuzzer watches."""
    longest: int = LONGEST


# --- bytes off the wire ---------------------------------------------------------------------------


def sse(data: bytes) -> None:
    """Events do not depend on the cuts, and are those of the standard's own procedure."""
    sizes, stream = cuts_and_content(data)
    expected = _events_by_the_standard(stream)
    assert _decoded([stream]) == expected
    assert _decoded(cut(stream, sizes)) == expected
    assert _decoded(cut(stream, (0,))) == expected


def _decoded(blocks: list[bytes]) -> list[str]:
    decoder = Decoder()
    return [*(event for block in blocks for event in decoder.feed(block)), *decoder.close()]


def _events_by_the_standard(stream: bytes) -> list[str]:
    """WHATWG HTML, section 9.2.6, line by line; but the last event needs no blank line.

    And errors are read as llama.cpp had them, in a field, and as Ollama has them, without one.
    """
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    events: list[str] = []
    lines: list[str] = []
    for line in [*re.split(r"\r\n|\n|\r", text), ""]:
        name, _, value = line.partition(":")
        if line == "" and lines:
            events.append("\n".join(lines))
            lines = []
        elif name in ("data", "error"):
            lines.append(value.removeprefix(" "))
        elif line.startswith('{"error":'):
            lines.append(line)
    return events


SSE_SEEDS = [
    b': OPENROUTER PROCESSING\n\ndata: {"id":"gen-1"}\n\ndata: [DONE]\n\n',
    b"data: a\ndata: b\r\n\r\ndata:c\r\rdata\n\nevent: x\nid: 1\nretry: 9\ndata: \xf0\x9f\x98\n\n",
    b"data: \xf0\x9f\x98\x80\n\n",
    b"\xef\xbb\xbfdata: \xff\xfe\n\n\n\n: \ndata:  two\ndata\n\ndata: cut",
    b"data: \r\r\n\n\r\ndata:\r\n\rdata: x\n\r\n",
    b'error: {"code":500}\n\n{"error":"x"}\n{"error"\n\nerror\n',
]


def chunked(data: bytes) -> None:
    """The content does not depend on the cuts, and is what the standard library reads."""
    sizes, sent = cuts_and_content(data)
    whole = _unframed([sent])
    assert _unframed(cut(sent, sizes)) == whole
    assert _unframed(cut(sent, (0,))) == whole
    content, ended, _, _ = whole
    if ended:
        assert content == _by_the_standard_library(sent)


def _unframed(blocks: list[bytes]) -> tuple[bytes, bool, bytes, str]:
    body, content, beyond = Unframed(), b"", b""
    for block in blocks:
        if body.ended:
            beyond += block
        elif not body.broken:
            content += body.feed(block)
    return content, body.ended, body.beyond + beyond, body.broken


def _by_the_standard_library(sent: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = HTTPResponse(SimpleNamespace(makefile=lambda _: io.BytesIO(head + sent)))  # type: ignore[arg-type]
    answer.begin()
    return answer.read()


CHUNKED_SEEDS = [
    b"5\r\ndata:\r\n3;note=x\r\n o\n\r\n0\r\nX: y\r\n\r\nbeyond",
    b"00A\r\n0123456789\r\n0\r\n\r\n",
    b"1\nx\n0\n\n",
    b"ffffffffffffffff\r\nx",
    b"-1\r\n0x5\r\n1_0\r\n+3\r\n",
]


# --- JSON of the service --------------------------------------------------------------------------

MODEL_WORDS = tuple(
    str.split(
        "id name created context_length architecture modality input_modalities output_modalities "
        "tokenizer pricing prompt completion request image web_search input_cache_read discount "
        "input_cache_write internal_reasoning overrides top_provider max_completion_tokens "
        "is_moderated supported_parameters reasoning benchmarks artificial_analysis coding_index "
        "intelligence_index agentic_index knowledge_cutoff expiration_date alias_target slug "
        "canonical_slug hugging_face_id description owned_by data error message text->text "
        "text+image->text tools structured_outputs min_prompt_tokens"
    )
)
ENDPOINT_WORDS = tuple(
    str.split(
        "id data endpoints provider_name tag quantization context_length max_completion_tokens "
        "max_prompt_tokens supported_parameters pricing prompt completion discount status "
        "uptime_last_5m uptime_last_30m uptime_last_1d latency_last_30m throughput_last_30m "
        "p50 p75 p90 p99 supports_implicit_caching model_id unknown slug name datacenters "
        "headquarters privacy_policy_url service_tier supports_tool_choice auto"
    )
)
CONDITIONS: tuple[dict[str, Any], ...] = (
    {"search": "a b"},
    {"free": True},
    {"min_context": 1},
    {"accepts": "image"},
    {"tools": True},
    {"max_completion_usd_per_million": 1},
)


def models(data: bytes) -> None:
    """Any list of records is a table of the documented types, or one error of ours."""
    choices = Choices(data)
    listed = [choices.json(MODEL_WORDS) for _ in range(1 + choices.below(4))]
    for place, record in enumerate(listed):
        if isinstance(record, dict) and choices.below(4):
            record["id"] = f"lab/model-{place}{choices.text()}"
    answer: Any = {"data": listed} if choices.below(2) else listed
    before = _written(answer)
    frame = _framed(catalog.to_frame, answer)
    assert _written(answer) == before, "the answer was changed"
    if frame is None:
        return
    _assert_types(frame, catalog.to_frame([]))
    assert [_written(raw) for raw in frame["raw"]] == [
        _written(record) for n, record in enumerate(listed) if n not in frame.attrs["skipped"]
    ]
    for column in [name for name in frame if str(name).endswith(("_usd", "_usd_per_million"))]:
        assert not (frame[column] < 0).any(), column
    for condition in CONDITIONS:
        assert set(catalog.filter_models(frame, **condition).index) <= set(frame.index)


def endpoints(data: bytes) -> None:
    """The same of endpoints and providers."""
    choices = Choices(data)
    answer = choices.json(ENDPOINT_WORDS)
    for read in (catalog.endpoints_to_frame, catalog.providers_to_frame):
        frame = _framed(read, answer)
        if frame is not None:
            _assert_types(frame, read([]))


def _framed(read: Callable[..., Any], answer: Any) -> Any:
    try:
        return read(answer)
    except CatalogError as error:
        _assert_message(error)
        return None


def _assert_types(frame: Any, empty: Any) -> None:
    assert dict(frame.dtypes) == dict(empty.dtypes)
    assert frame.index.dtype == empty.index.dtype
    assert frame.index.is_unique


def _assert_message(error: Exception) -> None:
    text = str(error)
    assert text.strip(), "an error without words"
    assert len(text) < 1_000, "a message that nobody reads"
    text.encode()
    assert not _UNSEEN.search(text), "a terminal would obey it"


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


CHUNK_WORDS = ("id", "model", "provider", "choices", "usage", "error", "code", "message")
CHOICE_WORDS = ("finish_reason", "native_finish_reason", "logprobs", "content", "index", "error")
DELTA_WORDS = tuple(
    str.split(
        "role content reasoning reasoning_content refusal tool_calls images annotations "
        "reasoning_details audio"
    )
)
PART_WORDS = tuple(
    str.split(
        "text type index id function name arguments image_url url url_citation title content "
        "summary data signature file start_index end_index"
    )
)
USAGE_WORDS = tuple(
    str.split(
        "prompt_tokens completion_tokens total_tokens cost cost_details is_byok cached_tokens "
        "prompt_tokens_details completion_tokens_details reasoning_tokens"
    )
)


def chunks(data: bytes) -> None:
    """Whatever a stream's pieces hold, there is a reply, it shows itself, and it has its row."""
    choices = Choices(data)
    assembly = Assembly("a/b")
    for _ in range(1 + choices.below(5)):
        chunk = choices.object(CHUNK_WORDS)
        if choices.below(4):
            choice = choices.object(CHOICE_WORDS)
            choice["delta"] = {
                DELTA_WORDS[choices.below(len(DELTA_WORDS))]: choices.json(PART_WORDS)
                for _ in range(choices.below(4))
            }
            chunk |= {"choices": [choice], "usage": choices.json(USAGE_WORDS)}
        assembly.take(chunk, json.dumps(chunk), 1.0)
    reply = assembly.reply
    assert isinstance(reply.text, str)
    assert repr(reply)
    reply_text(reply)
    assert reply_html(reply).encode("utf-8", "strict")
    if choices.below(8) == 7:  # the others would wait for a database
        _assert_kept(reply)
    talk = Conversation()
    talk.add_user("Hi")
    talk.add_reply(reply)
    transcript(talk)
    again = Conversation.from_json(json.loads(json.dumps(talk.to_json())))
    assert again.path[-1].text == well_formed(talk.path[-1].text)


def _assert_kept(reply: Reply) -> None:
    tracker = UsageTracker()
    tracker.record(reply)
    row = tracker.df.iloc[0]
    assert row["model"] == "a/b"
    assert not math.isinf(row["cost_usd"])
    store = tracker.persist("sqlite://")
    assert len(tracker.history()) == 1
    store.close()


ERROR_WORDS = tuple(
    str.split(
        "error message code metadata error_type provider_name raw reasons flagged_input model_slug "
        "availability retry_after retry_after_ms headers X-RateLimit-Reset Retry-After detail type "
        "param context_length_exceeded rate_limited user_id 429 402 insufficient_quota"
    )
)


def refusals(data: bytes) -> None:
    """Any body of any refusal is an error of ours with a short message."""
    choices = Choices(data)
    status = (200, 302, 400, 401, 402, 403, 404, 408, 413, 429, 500, 502, 503, 529)[
        choices.below(14)
    ]
    headers = {
        name: str(choices.json(ERROR_WORDS, 0))
        for name in ("Retry-After", "X-RateLimit-Reset", "Date", "Content-Type")
        if choices.below(2)
    }
    body = choices.rest() if choices.below(4) == 0 else b""
    if not body:
        value = choices.json(ERROR_WORDS)
        body = json.dumps({"error": value} if choices.below(2) else value).encode()
    error = refusal(status, headers, body, url="http://lab.example/v1", model="a/b")
    assert isinstance(error, ApiError | UnexpectedAnswer)
    _assert_message(error)
    if isinstance(error, ApiError) and error.retry_after is not None:
        assert 0 <= error.retry_after < math.inf


# --- files that a person opens --------------------------------------------------------------------

TAPE_WORDS = tuple(
    str.split(
        "ornb_recording recorded_at source default_model at request method path query body answer "
        "status headers json text base64 stream chunk end why times queued_s connect_s head_s "
        "ended_s live local canned snapshot whole stopped closed timeout unreachable tls GET POST "
        "/chat/completions /models Content-Type text/event-stream choices delta content messages "
        "model X-RateLimit-Reset Retry-After"
    )
)
_GOOD_LINE = b'{"at": "2026-11-22", "request": {"method": "GET", "path": "/models"}, "end": "tls"}'


def recording(data: bytes) -> None:
    """A damaged recording is read as far as it goes, or refused in one message; none runs."""
    choices = Choices(data)
    lines = [b'{"ornb_recording": 1, "recorded_at": "2026-11-22T10:00:00Z"}', _GOOD_LINE]
    for _ in range(1 + choices.below(4)):
        kind = choices.below(4)
        if kind == 0:
            lines.append(choices.text().encode("utf-8", "replace"))
        elif kind == 1:
            lines.append(json.dumps(choices.json(TAPE_WORDS)).encode())
        else:
            lines.append(json.dumps(_nearly_an_exchange(choices)).encode())
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        path = Path(folder) / "lesson.jsonl"
        path.write_bytes(b"\n".join(lines))
        tape = Replay(path, pace="instant")
        assert len(tape) >= 1, "a good line was lost"
        assert len(repr(tape)) < 2_000
        tape.has(Request("POST", "/chat/completions", {}, choices.json(TAPE_WORDS)))


def _nearly_an_exchange(choices: Choices) -> Any:
    """What `record` writes, with one or the other field spoilt."""
    exchange: dict[str, Any] = {
        "at": "2026-11-22T10:00:00.000Z",
        "source": "live",
        "request": {"method": "POST", "path": "/chat/completions", "body": {"messages": []}},
        "answer": {"status": 200, "headers": {"Content-Type": "text/event-stream"}},
        "end": "whole",
        "times": {"head_s": 0.5, "ended_s": 1.0},
    }
    kind = ("stream", "json", "text", "base64")[choices.below(4)]
    exchange["answer"][kind] = choices.json(TAPE_WORDS)
    exchange["answer"]["chunk"] = choices.json(TAPE_WORDS)
    place: Any = exchange
    for _ in range(choices.below(3)):
        inner = [value for value in place.values() if isinstance(value, dict)]
        place = inner[choices.below(len(inner))] if inner else place
    if place and choices.below(3):
        place[list(place)[choices.below(len(place))]] = choices.json(TAPE_WORDS)
    return exchange


TALK_WORDS = tuple(
    str.split(
        "format version system head turns id role parent_id text content model created_at reply "
        "steps usage timing error status source tool_calls annotations images reasoning user "
        "assistant type image_url url file filename label finish_reason prompt_tokens cost_usd"
    )
)


def conversation(data: bytes) -> None:
    """A conversation out of a file is whole, or refused in one message."""
    choices = Choices(data)
    good = Conversation("Be brief.")
    good.add_user("Hi")
    good.add_user("Hi again")
    value: Any = good.to_json()
    place: Any = value
    for _ in range(choices.below(4)):
        held = list(place.values()) if isinstance(place, dict) else place
        inner = [each for each in held if isinstance(each, dict | list) and each]
        place = inner[choices.below(len(inner))] if inner else place
    if isinstance(place, dict):
        names = (*place, *TALK_WORDS)
        place[names[choices.below(len(names))]] = choices.json(TALK_WORDS)
    else:
        place[choices.below(len(place))] = choices.json(TALK_WORDS)
    try:
        talk = Conversation.from_json(value)
    except ConfigError as error:
        _assert_message(error)
        return
    talk.messages()
    json.dumps(talk.to_json())
    assert len(talk.df) == len(talk)
    bundle = transcript(talk)
    bundle["text/html"].encode()


# --- an answer's text -----------------------------------------------------------------------------


def markdown(data: bytes) -> None:
    """However an answer is cut, it ends as the whole, and holds nothing beyond the list."""
    sizes, content = cuts_and_content(data)
    text = content.decode("utf-8", "surrogatepass" if content.isascii() else "replace")
    whole = render(text)
    assert_harmless(whole)
    assert_settled(whole)
    stream, finished = StreamRenderer(), ""
    for piece in cut(text, sizes)[:200]:
        new, tail = stream.feed(piece)
        assert_harmless(new + tail)
        finished += new
    for piece in cut(text, sizes)[200:]:
        stream.feed(piece)
    assert stream.finish() == whole
    assert whole.startswith(finished)


def writer(data: bytes) -> None:
    """Markdown written anew is tame for renderers that let HTML through."""
    text = data.decode("utf-8", "replace")
    for again in (rewritten(text, below=3), rewritten(text)):
        assert_tame_markdown(again)
        assert_harmless(render(again))
    assert_tame_markdown(fenced(text, text[:9]))
    assert_tame_markdown(literal(text))


def repeated(data: bytes) -> None:
    """A few characters again and again, with a beginning and an end, are shown within seconds."""
    choices = Choices(data)
    start, unit, end = choices.text(), choices.text(), choices.text()
    if not unit:
        return
    text = start + unit * (20_000 // len(unit)) + end
    began = process_time()
    html = render(text)
    took = process_time() - began
    watched = 15 if "atheris" in sys.modules else 1  # instrumented code is that much slower
    assert took < PATIENCE_S * watched, f"{took:.1f} s for {start!r} + {unit!r} * n + {end!r}"
    assert_harmless(html)


def hostile_seeds() -> list[bytes]:
    from tests import hostile
    from tests.test_rendering import FRAGMENTS, REFERENCES

    texts = [*hostile.HOSTILE.values(), *FRAGMENTS, *REFERENCES, "\n\n".join(FRAGMENTS)]
    return [text.encode("utf-8", "replace")[:LONGEST] for text in texts]


def _led(content: list[bytes]) -> list[bytes]:
    """The same, with three bytes before each that say how it is cut."""
    return [bytes([3, 17, 200]) + each for each in content]


UNITS = str.split(
    r">  -  1. [ ![a]( *a** `` $a \( \[ | |- # ``` ~~~ \ <a< &amp; [a]:b \sqrt{ } {{ _a_ ~~ :-"
)


def _units() -> list[bytes]:
    return [bytes([0, len(unit)]) + unit.encode() + b"\0" for unit in UNITS] + [
        bytes([1]) + b"$" + bytes([len(unit)]) + unit.encode() + bytes([1]) + b"$" for unit in UNITS
    ]


def _programs() -> list[bytes]:
    """Bytes for the targets that build JSON: some that stop soon, and some that go deep."""
    return [bytes((n * step + start) % 256 for n in range(200)) for step in (1, 7, 37, 91) for start in (0, 5)]  # fmt: skip  # noqa: E501


TARGETS = {
    "sse": Target(sse, lambda: _led(SSE_SEEDS), ("ornb.api",)),
    "chunked": Target(chunked, lambda: _led(CHUNKED_SEEDS), ("ornb.api",)),
    "exchange": Target(exchange, exchange_seeds, ("ornb.api",), 2_000),
    "models": Target(models, _programs, ("ornb.catalog", "ornb.columns", "ornb.pricing"), 600),
    "endpoints": Target(endpoints, _programs, ("ornb.catalog", "ornb.columns"), 600),
    "chunks": Target(chunks, _programs, ("ornb.api", "ornb.ledger", "ornb.text"), 600),
    "refusals": Target(refusals, _programs, ("ornb.api",), 600),
    "recording": Target(recording, _programs, ("ornb.recording",), 600),
    "conversation": Target(conversation, _programs, ("ornb.messages",), 600),
    "markdown": Target(
        markdown,
        lambda: _led(hostile_seeds()),
        ("ornb.text", "markdown_it", "mdit_py_plugins", "latex2mathml"),
    ),
    "writer": Target(writer, hostile_seeds, ("ornb.text", "markdown_it", "mdit_py_plugins")),
    "repeated": Target(repeated, _units, ("ornb.text", "markdown_it", "mdit_py_plugins"), 80),
}
"""By name."""


def check(name: str, data: bytes) -> None:
    """Run one target; an error of ours that gets out of it is a failure too, and so is a hang."""
    signal.signal(signal.SIGVTALRM, _hangs)
    signal.setitimer(signal.ITIMER_VIRTUAL, SLOWEST_S)
    try:
        TARGETS[name].check(data)
    except OrnbError as error:
        raise AssertionError(f"{type(error).__name__} got out: {error}") from error
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _hangs(*_: object) -> None:
    raise AssertionError(f"no end after {SLOWEST_S} s of this process's own work")
