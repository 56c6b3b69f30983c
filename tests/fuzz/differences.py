"""Where others read another answer than ornb, each with the fact that decides who is right.

docs/answers.md shows the list. Whatever a reader finds otherwise, and no line here explains, fails.
``python -m tests.fuzz --answers 20000`` looks for it, with ``--peers`` in their environment too.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, note, settings
from wire import WireServer

from tests.fuzz.answers import ANSWERS, Answer
from tests.fuzz.readers import READERS, Read, attempt

HERE = ("ornb", "openai", "openrouter")
PEERS = ("litellm", "pydantic-ai")
VERSIONS = {
    "openai": "3.57.0",
    "openrouter": "1.3.84",
    "litellm": "1.110.2",
    "pydantic-ai": "2.68.0",
}
"""Of which the list is true (2026-11-30)."""
PYTHON = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"
MANY = 10_000
"""Answers in which each line of the list is seen."""


class Difference(NamedTuple):
    """One way of telling an answer that is not read alike."""

    told: str
    """How it is told."""
    marks: str
    """What `Answer.marks` has then, by commas, or one of several such sets, by ``|``; "whole" and
    "stream" are known too, and "" is always."""
    readers: str
    """Who finds another thing, and in which fields (``*``: it raises, nothing is found)."""
    they: str
    ornb: str
    fact: str
    """What decides it."""

    def explains(self, name: str, field: str, marks: frozenset[str]) -> bool:
        """Whether a reader may find another `field` in an answer with these marks."""
        sets = (set(filter(None, each.split(", "))) for each in self.marks.split(" | "))
        if not any(each <= marks for each in sets):
            return False
        return any(who == name and field in fields for who, fields in self.who.items())

    @property
    def who(self) -> dict[str, list[str]]:
        """The fields in which each reader differs."""
        listed = (reader.partition(":") for reader in self.readers.split())
        return {name: fields.split(",") for name, _, fields in listed}


class Panel(contextlib.ExitStack):
    """Some readers, and a server that gives the same answer to each of them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.seen: Counter[tuple[str, str]] = Counter()
        """How often a reader differed in the way that is told."""
        self._server = self.enter_context(WireServer([b""]))
        self._readers = {name: self._reader(name) for name in names}

    def _reader(self, name: str) -> Read:
        if name in HERE:
            read = self.enter_context(READERS[name](self._server.url))
            return lambda streamed: attempt(read, streamed)
        command = [
            PYTHON,
            "-W",
            "ignore",
            Path(__file__).with_name("readers.py"),
            name,
            self._server.url,
        ]
        piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = self.enter_context(subprocess.Popen(command, **piped))

        def ask(streamed: bool) -> Any:
            print("stream" if streamed else "whole", file=process.stdin, flush=True)
            return json.loads(next(line for line in process.stdout if line[:1] in '{"'))

        self.callback(process.stdin.close)
        return ask

    def check(self, answer: Answer) -> None:
        """Let everyone read an answer; what differs must be in the list."""
        note(repr(answer))
        self._server.play(answer.sent)
        self._server.requests.clear()
        found = [
            (name, field, both)
            for name, read in self._readers.items()
            for field, both in differing(answer, read(answer.streamed)).items()
        ]
        for name, field, both in found:
            known = [each for each in DIFFERENCES if each.explains(name, field, answer.marks)]
            assert known, f"{name}, {field}: {both} ({', '.join(sorted(answer.marks))})"
            self.seen.update((each.told, name) for each in known)


def differing(answer: Answer, found: dict[str, Any] | str) -> dict[str, str]:
    """The fields that a reader finds otherwise, with both values."""
    if isinstance(found, str):
        return {"*": found}
    said, other = ({**each, **each["usage"]} for each in (answer.said._asdict(), found))
    del said["usage"], other["usage"]
    return {
        name: f"{said.get(name)!r} was said, {other.get(name)!r} was found"
        for name in {**said, **other}
        if said.get(name) != other.get(name)
    }


_COUNTS = "prompt_tokens,completion_tokens,total_tokens,cost_usd,cached_tokens,reasoning_tokens"
_WORDS = "text,reasoning,tool_calls,images,annotations"
_ANY = f"{_WORDS},{_COUNTS},finish_reason,*"
DIFFERENCES = (
    # --- events ---
    Difference(
        "`id:` lines, and later a comment between events",
        "ids, comments",
        "openai:* pydantic-ai:*",
        "an event without data, read as JSON: raises",
        "passes over it",
        "WHATWG HTML, 9.2.6: an event without data is not dispatched",
    ),
    Difference(
        "comments, or `event:` and `id:` lines, after the finish reason",
        "ids | comments",
        f"litellm:{_WORDS},{_COUNTS}",
        "what follows is not read; the usage is then its own estimate",
        "reads up to the end",
        "the official types: `usage` may be in any chunk",
    ),
    Difference(
        "a byte order mark before the first event",
        "BOM",
        f"openai:{_ANY} openrouter:{_ANY} litellm:{_ANY} pydantic-ai:{_ANY}",
        "the first event is lost (openrouter: if the mark is cut)",
        "passes over it",
        "WHATWG HTML, 9.2.6: one leading BOM is ignored",
    ),
    Difference(
        "JSON on several `data:` lines",
        "data in lines",
        f"litellm:{_ANY}",
        "lost, or raises",
        "one JSON",
        "WHATWG HTML, 9.2.6: the data lines of an event are one text",
    ),
    Difference(
        "JSON where a stream was asked for, or events where none was",
        "not as asked",
        f"openai:{_ANY} openrouter:* litellm:{_ANY} pydantic-ai:{_ANY}",
        "raises, or finds nothing",
        "read by what it is",
        "gateways that buffer, servers that only stream",
    ),
    Difference(
        "`text/plain` or `application/octet-stream` as media type",
        "wrong label",
        "openai:* openrouter:* pydantic-ai:*",
        "raises (openai, pydantic-ai: a whole answer)",
        "read by what it is",
        "the bytes are the API's",
    ),
    Difference(
        "no `[DONE]`, and a finish reason of the provider's own",
        "no [DONE], odd finish",
        "litellm:*",
        "raises",
        "it has ended",
        "a finish reason has come; the official types allow any word",
    ),
    # --- chunks and choices ---
    Difference(
        "`error`: null in a chunk",
        "error null",
        f"litellm:{_ANY}",
        "raises",
        "no error",
        "null says nothing",
    ),
    Difference(
        "a chunk of usage without `choices`",
        "no choices",
        f"openai:* openrouter:* litellm:{_ANY} pydantic-ai:*",
        "raises",
        "read",
        "the official types require it; there is nothing to choose from",
    ),
    Difference(
        "choices without `index`, `finish_reason`, or an empty `delta`",
        "bare choices",
        f"openai:* openrouter:* litellm:{_ANY} pydantic-ai:finish_reason,*",
        "raises (pydantic-ai in a stream: the finish reason is lost)",
        "the first choice, which says nothing yet",
        "the official types require them; one choice needs no number",
    ),
    Difference(
        "a first chunk without choices, its `object` empty (Azure)",
        "starts without one",
        "openrouter:*",
        "raises",
        "passes over it",
        "the official types know one word for `object`",
    ),
    Difference(
        "two choices",
        "two choices",
        f"openai:* litellm:{_WORDS},finish_reason pydantic-ai:{_WORDS},finish_reason,*",
        "the first of each list, which mixes them; raises if the second comes first (openai)",
        "the choice of index 0",
        "the official types: each choice has its index, in no order",
    ),
    Difference(
        "a whole answer without `system_fingerprint`",
        "no system_fingerprint",
        "openrouter:*",
        "raises",
        "read",
        "recorded: four of thirteen whole answers have none, though the official types require it",
    ),
    Difference(
        "pieces after the one with the finish reason",
        "finish early",
        f"litellm:{_ANY}",
        "lost",
        "kept",
        "a stream ends with `[DONE]`; the official types set no order",
    ),
    Difference(
        "no finish reason, one of the provider's own, `error`, or calls with another one",
        "",
        "litellm:finish_reason",
        "`stop`, or `tool_calls` wherever there are calls",
        "the word, or none",
        "recorded: `end_turn`; the official types: null, or any word",
    ),
    # --- words ---
    Difference(
        "reasoning in `reasoning_details` alone",
        "details alone",
        "openai:reasoning openrouter:reasoning litellm:reasoning pydantic-ai:reasoning",
        "no reasoning but the details",
        "their text and summaries are the reasoning",
        "the official types: both fields are optional",
    ),
    Difference(
        "reasoning as `reasoning_content`",
        "reasoning_content",
        "openrouter:reasoning litellm:reasoning",
        "lost (litellm: in a stream)",
        "the reasoning",
        "vLLM, llama.cpp and DeepSeek send it, OpenRouter does not",
    ),
    Difference(
        "content as a list of parts",
        "in parts",
        "litellm:* pydantic-ai:*",
        "raises",
        "their text",
        "the official types: text, or a list of parts",
    ),
    Difference(
        "a refusal",
        "refusal",
        f"litellm:text,* pydantic-ai:{_WORDS},finish_reason,*",
        "the words are lost, and all others with them (pydantic-ai)",
        "shown, and in `Reply.refusal`",
        "the official types: they stand in `refusal`",
    ),
    Difference(
        "words in `audio.transcript`",
        "voice",
        "litellm:text,reasoning,* pydantic-ai:text,*",
        "lost; a whole answer without `expires_at` raises",
        "the text, where there is no content",
        "the official types: each field of `audio` is optional",
    ),
    Difference(
        "a character cut in two, as JavaScript's texts can be",
        "half characters",
        f"openai:text openrouter:* litellm:{_ANY} pydantic-ai:text,*",
        "two halves that cannot be written; raises (openrouter)",
        "the character",
        "RFC 8259, 8.2: such escapes are JSON",
    ),
    # --- calls ---
    Difference(
        "calls without an index",
        "no index",
        "openai:* openrouter:* litellm:tool_calls pydantic-ai:tool_calls,*",
        "raises, loses arguments (pydantic-ai), makes two calls one (litellm)",
        "an id begins a call, what has none goes on with the last",
        "the official types require it in a stream; a whole answer's calls have none",
    ),
    Difference(
        "indexes from 1, or 1 before 0",
        "index from 1 | index 1 before 0",
        "openai:*",
        "raises",
        "in the order of the indexes",
        "the official types: an index is a number, in no order",
    ),
    Difference(
        "a call's id in each of its pieces",
        "id in each piece",
        "openai:tool_calls",
        "`call_0call_0`",
        "told once",
        "the official types: any piece may have an id",
    ),
    Difference(
        "a call's name in each of its pieces",
        "name in each piece",
        "openai:tool_calls pydantic-ai:tool_calls",
        "`addadd`",
        "told once",
        "the official types: any piece may have a name",
    ),
    Difference(
        "a call's name in two pieces",
        "name in parts",
        "litellm:tool_calls",
        "the last one alone",
        "joined",
        "OpenAI's helper joins them",
    ),
    Difference(
        "a call's name after its id",
        "name after the id",
        f"openai:* litellm:{_ANY} pydantic-ai:*",
        "raises",
        "read",
        "the official types: `function` is optional",
    ),
    Difference(
        "later pieces of a call with `type` null",
        "empty id and type",
        "openai:*",
        "raises",
        "says nothing",
        "the official types: `type` is optional",
    ),
    Difference(
        "calls without ids",
        "no ids",
        "litellm:tool_calls pydantic-ai:tool_calls",
        "makes one up; loses them where `type` is null later (litellm)",
        "none",
        "the official types: in a stream an id is optional",
    ),
    Difference(
        "two calls of one index and two ids",
        "one index for all",
        "openai:tool_calls,* litellm:tool_calls,* pydantic-ai:tool_calls",
        "one call",
        "a new id is a new call",
        "a result is sent back with the id of its call",
    ),
    Difference(
        "a call without arguments",
        "no arguments",
        "litellm:tool_calls",
        "`{}`",
        "an empty text, which calls the function without arguments",
        "what was sent",
    ),
    # --- images and sources ---
    Difference(
        "citations in more than one piece",
        "annotations",
        "openai:* litellm:annotations",
        "raises (openai); the first ones alone (litellm)",
        "all",
        "recorded: five pieces of one answer with citations; none has the `index` looked for",
    ),
    Difference(
        "citations, parsed files",
        "annotations",
        "openrouter:annotations litellm:annotations pydantic-ai:annotations,*",
        "lost (litellm: files); one without start and end raises (pydantic-ai)",
        "all, as they came",
        "recorded; the official types have no place for them",
    ),
    Difference(
        "images in more than one piece, or beside other fields",
        "images",
        f"openai:* litellm:{_WORDS}",
        "raises (openai); one alone, or the other fields are lost (litellm)",
        "all",
        "the official types: an image is an `image_url`, without an index",
    ),
    Difference(
        "images",
        "images",
        "openrouter:images pydantic-ai:images",
        "lost (openrouter: in a stream)",
        "all",
        "OpenRouter's guide to image generation",
    ),
    Difference(
        "all citations, or images, again in the last piece",
        "annotations again | images again",
        "openai:annotations,images openrouter:images litellm:annotations,images",
        "twice",
        "once",
        "a source that is told again is the same source",
    ),
    # --- usage ---
    Difference(
        "usage before the last chunk",
        "usage early",
        f"openai:{_COUNTS}",
        "lost",
        "kept",
        "the official types: `usage` may be in any chunk",
    ),
    Difference(
        "usage that grows from chunk to chunk",
        "usage grows",
        f"pydantic-ai:{_COUNTS}",
        "the sum of all",
        "the last",
        "vLLM's `continuous_usage_stats`: each counts from the beginning",
    ),
    Difference(
        "usage again, with zeros, null or nothing in it",
        "usage again empty",
        f"openai:{_COUNTS} openrouter:{_COUNTS},* litellm:cost_usd",
        "0 or unknown; null counts raise (openrouter)",
        "what says nothing erases nothing",
        "what was counted is not uncounted",
    ),
    Difference(
        "cost",
        "",
        "pydantic-ai:cost_usd",
        "has no place for it",
        "`cost_usd`",
        "recorded",
    ),
    Difference(
        "counts that nobody told",
        "",
        "litellm:reasoning_tokens pydantic-ai:cached_tokens",
        "0, or its own estimate",
        "unknown",
        "the official types: the details are optional",
    ),
)


def table() -> str:
    """The list as docs/answers.md has it."""
    rows = [["told so", "who", "what they find", "ornb", "what decides"], ["---"] * 5]
    rows += [
        [each.told, ", ".join(each.who), each.they, each.ornb, each.fact] for each in DIFFERENCES
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def installed(name: str) -> str:
    """The version of a reader's package in this environment; "0" if it has none."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return "0"


def read_many(count: int, *, peers: bool) -> int:
    """Read so many answers; the status tells whether a line of the list was never true."""
    names = HERE + (PEERS if peers else ())
    print(f"{count:,} answers, read by", ", ".join(names), flush=True)
    with Panel(names) as panel:

        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(ANSWERS)
        def run(answer: Answer) -> None:
            panel.check(answer)

        run()
    print("none was read otherwise without a reason")
    listed = {(each.told, name) for each in DIFFERENCES for name in each.who if name in names}
    unseen = sorted(listed - panel.seen.keys())
    for told, name in unseen:
        print(f"{name} was never seen to differ: {told}")
    return bool(unseen) and count >= MANY
