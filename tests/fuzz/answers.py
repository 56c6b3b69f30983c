"""Answers that a server of chat completions may give: what is said is known, how it is told varies.

An answer begins as what it says (`Said`). That is cut into pieces, the pieces come in any company
and in any order that the API allows, and go out as server-sent events or as one JSON, in any
framing. Whoever reads it has to find what was said. `marks` name what readers are known to trip
over (tests/fuzz/differences.py says who, and why).
"""

from __future__ import annotations

import gzip
import json
from typing import Any, NamedTuple

from hypothesis import strategies as st
from wire import END, chunked, head, whole

from tests.fuzz.pieces import Choices, cut

Piece = dict[str, Any]
LENGTH = 500
"""Bytes of decisions; what they do not decide is the plainest."""
TEXTS = (
    *("Hi", " there", "\n\n", "é", "漢字", "🙂", '{"a": 1}', "data: x", "[DONE]", "\u2028"),
    *("<b>&", "\\", " ", "\0", "e\u0301", "\ufeff", "\r\n", ": x"),
)
COUNTS = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
NOTHING: tuple[Piece, ...] = (
    {},
    {**dict.fromkeys(COUNTS), "cost": None},
    {**dict.fromkeys(COUNTS, 0), "completion_tokens_details": None},
)
"""Usage that says nothing, which some servers send after the one that does."""
IN_PIECES = {
    *("id in each piece", "name in each piece", "no index", "one index for all", "index from 1"),
    *("name in parts", "name after the id", "empty id and type"),
}
"""Marks of streams alone."""
FILLED: dict[str, Any] = {
    "role": "assistant",
    **dict.fromkeys(("content", "reasoning", "refusal"), ""),
    **{key: [] for key in ("tool_calls", "annotations", "reasoning_details", "images")},
    "function_call": None,
    "audio": None,
}
"""What a field holds that a piece has, and that says nothing; null does as well."""


class Said(NamedTuple):
    """What an answer says; the same names are used for what a reader finds."""

    text: str
    """The words of the answer: content, a refusal, what a voice says."""
    reasoning: str
    tool_calls: list[list[str]]
    """Id, name and arguments of each, in the order of their ids."""
    images: list[str]
    annotations: list[Piece]
    finish_reason: str | None
    usage: dict[str, float]
    """The fields of `ornb.Usage` that are known."""


class Answer(NamedTuple):
    """One answer, as it is meant and as it is sent."""

    said: Said
    marks: frozenset[str]
    streamed: bool
    """Whether a stream is asked for; mostly one is what comes then."""
    sent: list[bytes]


class _Teller:
    """Decides how an answer is told."""

    def __init__(self, data: bytes) -> None:
        self.choose = Choices(data)
        self.below = self.choose.below
        self.marks: set[str] = set()

    def one(self, *ways: Any) -> Any:
        return ways[self.below(len(ways))]

    def way(self, *names: str) -> str:
        """One of some ways to tell a thing; its name is a mark. The first way is the plain one."""
        place = self.below(3 * len(names))  # two thirds of all are told the plain way
        name = names[place] if place < len(names) else names[0]
        if name != names[0]:
            self.marks.add(name)
        return name

    def texts(self) -> list[str]:
        return [self.one(*TEXTS) for _ in range(1 + self.below(4))]

    # --- what is said, as lists of pieces that keep their order -----------------------------------

    def words(self) -> tuple[str, list[Piece]]:
        way = self.way("content", "content", "no content", "refusal", "voice", "half characters")
        said = [] if way == "no content" else self.texts()
        if way == "voice":
            told = [{"audio": {"transcript": text}} for text in said]
            return "".join(said), [{"audio": {"id": "audio-1", "data": "AAAA"}}, *told]
        if way == "half characters":
            return "".join([*said, "🙂"]), [
                {"content": text} for text in (*said, "\ud83d", "\ude42")
            ]
        pieces = [{"content": text} for text in said]
        if way == "refusal":
            if self.below(2):
                said, pieces = [], []
            refused = self.texts()
            pieces += [{"refusal": text} for text in refused]
            said += ["\n\n", *refused] if said else refused
        return "".join(said), pieces

    def thoughts(self) -> tuple[str, list[Piece]]:
        if self.below(2):
            return "", []
        way = self.way(
            "reasoning", "reasoning_content", "both names", "with details", "details alone"
        )
        self.marks.add("thoughts")
        said, pieces = self.texts(), []
        kind, key = self.one(("reasoning.text", "text"), ("reasoning.summary", "summary"))
        for text in said:
            detail = {"type": kind, key: text, "index": 0, "format": None}
            pieces.append(
                {
                    "reasoning": {"reasoning": text},
                    "reasoning_content": {"reasoning_content": text},
                    "both names": {"reasoning": text, "reasoning_content": text},
                    "with details": {"reasoning": text, "reasoning_details": [detail]},
                    "details alone": {"reasoning_details": [detail]},
                }[way]
            )
        if self.below(2):
            cipher = {"type": "reasoning.encrypted", "data": "AAAA", "index": 1}
            pieces.append({"reasoning_details": [cipher]})
        return "".join(said), pieces

    def calls(self) -> tuple[list[list[str]], list[list[Piece]]]:
        """The calls, and their pieces: in one list, or in one each, which may come in turn."""
        if self.below(2):
            return [], []
        way = self.way(
            "by index",
            "id in each piece",
            "name in each piece",
            "no index",
            "one index for all",
            "index from 1",
            "name in parts",
            "name after the id",
            "no ids",
        )
        calls, lanes = [], []
        for place in range(1 + self.below(3)):
            told = self.one([], ["{}"], ['{"a": 1}'], ['{"a"', ': "é\\n', '"}'], ["{", "", "}"])
            if not told:
                self.marks.add("no arguments")
            call = [
                "" if way == "no ids" else f"call_{place}",
                self.one("add", "look_up"),
                "".join(told),
            ]
            calls.append(call)
            lanes.append([{"tool_calls": [it]} for it in self.call(way, place, call, told)])
        if way in ("no index", "one index for all") or self.below(2):
            lanes = [[piece for lane in lanes for piece in lane]]
        if calls:
            self.marks.add("calls")
        return calls, lanes

    def call(self, way: str, place: int, call: list[str], told: list[str]) -> list[Piece]:
        first: Piece = {"id": call[0] or None, "type": "function", "function": {"name": call[1]}}
        pieces = [first, *({"function": {"arguments": text}} for text in told)]
        beginning = self.one("", None, "absent", "the first")
        if way == "name in parts":  # its arguments begin when all of it is told
            first["function"]["name"] = call[1][:2]
            pieces.insert(1, {"function": {"name": call[1][2:]}})
        elif beginning == "the first" and told:
            first["function"] |= pieces.pop(1)["function"]
        elif beginning in ("", None):
            first["function"]["arguments"] = beginning
        if way == "name after the id":
            pieces.insert(1, {"function": first.pop("function")})
        for piece in pieces[1:]:
            self.follow(way, piece, call)
        index = {"no index": None, "one index for all": 0, "index from 1": place + 1}
        at = index.get(way, place)
        return [piece if at is None else {"index": at, **piece} for piece in pieces]

    def follow(self, way: str, piece: Piece, call: list[str]) -> None:
        """Give a later piece of a call what such a piece may have beside its own."""
        empty = self.one({}, {}, {"id": None, "type": "function"}, {"id": "", "type": None})
        if empty and way != "no index":
            piece |= empty
            piece["function"].setdefault("name", empty["id"])
            if empty["type"] is None:
                self.marks.add("empty id and type")
        if way == "id in each piece":
            piece["id"] = call[0]
        elif way == "name in each piece":
            piece["function"]["name"] = call[1]

    def images(self) -> tuple[list[str], list[Piece]]:
        if self.below(4) < 3:
            return [], []
        self.marks.add("images")
        urls = [f"data:image/png;base64,AAA{n}" for n in range(1 + self.below(2))]
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        return urls, self.again("images", parts)

    def sources(self) -> tuple[list[Piece], list[Piece]]:
        if self.below(4) < 3:
            return [], []
        self.marks.add("annotations")
        found: list[Piece] = []
        for n in range(1 + self.below(3)):
            citation = {"url": f"https://a.example/{n}", "title": self.one("A", "")}
            if self.below(2):
                citation |= {"start_index": 0, "end_index": 2, "content": "é"}
            found.append({"type": "url_citation", "url_citation": citation})
        if self.below(3) == 2:
            parsed = {"hash": "h", "name": "a.pdf", "content": [{"type": "text", "text": "A"}]}
            found.append({"type": "file", "file": parsed})
        return found, self.again("annotations", found)

    def again(self, key: str, items: list[Piece]) -> list[Piece]:
        """Each in a piece, and perhaps all of them in a last one."""
        pieces = [{key: [item]} for item in items]
        return [*pieces, {key: items}] if self.way("once", f"{key} again") != "once" else pieces

    def finish(self) -> str | None:
        words = ("stop", "length", "tool_calls", "content_filter", None, "eos", "error")
        word: str | None = self.one(*words)
        if word in (None, "eos"):
            self.marks.add("odd finish" if word else "no finish")
        return word

    # --- in what company --------------------------------------------------------------------------

    def company(self, lanes: list[list[Piece]]) -> list[Piece]:
        """The pieces of all lanes, each lane in its order, some of them together."""
        deltas: list[Piece] = []
        lanes = [list(lane) for lane in lanes if lane]
        if self.below(3):
            deltas.append({"role": "assistant"})
        while lanes:
            delta: Piece = {}
            chosen = self.below(2 ** len(lanes))
            for n, lane in enumerate(lanes):
                if chosen >> n & 1 or (chosen == 0 and n == 0):
                    _merge(delta, lane.pop(0))
            lanes = [lane for lane in lanes if lane]
            deltas.append(delta)
        pieces = [piece for delta in deltas for piece in delta.get("tool_calls", [])]
        indexes = list(dict.fromkeys(piece.get("index", 0) for piece in pieces))
        if indexes != sorted(indexes):
            self.marks.add("index 1 before 0")
        return deltas

    def filled(self, delta: Piece, style: int) -> Piece:
        """A piece with fields that say nothing, put in beside those that do."""
        if style == 0:
            return delta
        if style == 1:  # as OpenRouter does
            return {"role": "assistant", "content": "", **delta}
        more = {}
        for key, empty in FILLED.items():
            which = self.below(6)
            if key not in delta and which < 2:
                more[key] = empty if which else None if key != "role" else "assistant"
        return {**more, **delta} if self.below(2) else {**delta, **more}

    # --- chunks -----------------------------------------------------------------------------------

    def usage(self) -> tuple[dict[str, float], Piece]:
        told: Piece = dict(COUNTS)
        known: dict[str, float] = dict(COUNTS)
        if self.below(2):
            told["cost"] = known["cost_usd"] = 0.001
        if self.below(2):
            told["prompt_tokens_details"] = {"cached_tokens": 2, "audio_tokens": 0}
            known["cached_tokens"] = 2
        if self.below(2):
            told["completion_tokens_details"] = {"reasoning_tokens": 3}
            known["reasoning_tokens"] = 3
        if self.below(2):
            told["is_byok"] = False
        return known, told

    def chunks(self, deltas: list[Piece], finish: str | None, usage: Piece) -> list[Piece]:
        self.way("no error", "error null")
        style, choice_style = self.below(3), self.way("choices", "bare choices")
        chunks = [self.chunk(self.filled(delta, style), choice_style) for delta in deltas]
        ending = self.below(3)  # with the last piece, after it, or twice
        if ending or not chunks:
            chunks.append(self.chunk(self.filled({}, style), choice_style))
        if ending == 2:
            chunks.append(self.chunk(self.filled({}, style), choice_style))
        native = self.one(None, "MALFORMED_FUNCTION_CALL") if finish == "error" else None
        told = chunks[-2:] if ending == 2 else chunks[-1:]
        if self.way("finish at the end", "finish early") == "finish early":
            told = [chunks[self.below(len(chunks))]]
        for chunk in told:
            chunk["choices"][0] |= {"finish_reason": finish, "native_finish_reason": native}
        if self.way("a choice", "two choices") == "two choices":
            self.second(chunks)
        if self.way("starts with a choice", "starts without one") == "starts without one":
            filter_results: list[Piece] = [{"prompt_index": 0, "content_filter_results": {}}]
            first = {"id": "", "object": "", "model": "", "created": 0, "choices": []}
            chunks.insert(0, {**first, "prompt_filter_results": filter_results})
        self.count(chunks, usage)
        return chunks

    def chunk(self, delta: Piece, choice_style: str) -> Piece:
        choice: Piece = {"index": 0, "delta": delta, "finish_reason": None}
        if choice_style == "bare choices":
            choice = {"delta": delta} if delta else {}
        if self.below(2):
            choice |= {"native_finish_reason": None, "logprobs": None}
        return {**self.common("chat.completion.chunk"), "choices": [choice]}

    def common(self, kind: str) -> Piece:
        common: Piece = {"id": "gen-1", "object": kind, "created": 1790000000, "model": "lab/one"}
        more = {"provider": "NorthCloud", "system_fingerprint": None, "service_tier": "default"}
        chosen = self.below(32)
        common |= {key: value for n, (key, value) in enumerate(more.items()) if chosen >> n & 1}
        if "error null" in self.marks:
            common["error"] = None
        return {"x_new": {"a": [1]}, **common} if chosen >> 3 == 3 else common

    def second(self, chunks: list[Piece]) -> None:
        """The pieces of another choice, beside those of the first or between them."""
        for chunk in list(chunks):
            other = {**chunk["choices"][0], "index": 1, "delta": {"content": "other"}}
            place = self.below(4)
            if place < 2:
                chunk["choices"].insert(1 - place, other)
            elif place == 2:
                at = [each is chunk for each in chunks].index(True)
                chunks.insert(at, {**chunk, "choices": [other]})

    def count(self, chunks: list[Piece], usage: Piece) -> None:
        """Tell the usage: at the end, early, growing, and then perhaps with nothing in it."""
        last = {**self.common("chat.completion.chunk"), "choices": []}
        if "usage" not in chunks[-1] and self.below(2):
            for chunk in chunks:  # as OpenAI does where usage is asked for
                chunk["usage"] = None
        way = self.way("usage last", "usage with the finish", "usage early", "usage grows")
        if way == "usage last":
            beside = self.way("no choice", "a choice beside the usage", "no choices")
            if beside == "a choice beside the usage":
                last["choices"] = [{"index": 0, "delta": {}, "finish_reason": None}]
            elif beside == "no choices":
                del last["choices"]
            chunks.append({**last, "usage": usage})
        elif way == "usage with the finish":
            chunks[-1]["usage"] = usage
        elif way == "usage early":
            chunks[self.below(len(chunks))]["usage"] = usage
        else:
            for n, chunk in enumerate(chunks):
                so_far = {**COUNTS, "completion_tokens": min(n, 7), "total_tokens": 5 + min(n, 7)}
                chunk["usage"] = usage if chunk is chunks[-1] else so_far
        if self.way("usage once", "usage again empty") == "usage again empty":
            nothing = self.one(
                *NOTHING, {**dict.fromkeys(COUNTS, 0), "cost": usage.get("cost") and 0}
            )
            chunks.append({**last, "choices": [], "usage": nothing})

    def whole(self, lanes: list[list[Piece]], said: Said, usage: Piece) -> bytes:
        """The same as one JSON."""
        message: Piece = self.one({"role": "assistant"}, {"role": "assistant", "content": None})
        for piece in [piece for lane in lanes for piece in lane]:
            _merge(message, piece)
        message = self.filled(message, self.one(0, 2))
        if message.get("content") and self.way("text", "in parts") == "in parts":
            message["content"] = [{"type": "text", "text": text} for text in message["content"]]
        if said.tool_calls:
            message["tool_calls"] = [
                {"id": told, "type": "function", "function": {"name": name, "arguments": arguments}}
                for told, name, arguments in said.tool_calls
            ]
        choice: Piece = {"index": 0, "message": message, "finish_reason": said.finish_reason}
        choices = [choice]
        if self.way("a choice", "two choices") == "two choices":
            other = {"role": "assistant", "content": "other"}
            choices.insert(self.below(2), {**choice, "index": 1, "message": other})
        elif self.way("choices", "bare choices") == "bare choices":
            del choice["index"]
        told = {**self.common("chat.completion"), "choices": choices, "usage": usage}
        if "system_fingerprint" not in told:
            self.marks.add("no system_fingerprint")
        return self.one(b"", b"\n   \n", b"") + json.dumps(told).encode()

    # --- bytes ------------------------------------------------------------------------------------

    def events(self, chunks: list[Piece]) -> bytes:
        line = self.one("\n", "\r\n", "\n", "\r")
        if line == "\r":
            self.marks.add("lines end in CR")
        lead = self.one("data: ", "data: ", "data:")
        ascii_only = bool(self.below(2)) or "half characters" in self.marks
        lined = self.way("one line", "data in lines")
        lines: list[str] = []
        for chunk in chunks:
            before = self.below(12)
            if before == 11:
                lines += [": OPENROUTER PROCESSING", ""]
                self.marks.add("comments")
            elif before == 10:
                lines += ["event: message", "id: 1", "retry: 3000"]
                self.marks.add("ids")
            indent = 1 if lined == "data in lines" else None
            told = json.dumps(chunk, ensure_ascii=ascii_only, indent=indent)
            lines += [lead + part for part in told.split("\n")] + [""]
        # One that ends with neither that nor a finish reason is broken.
        if "no finish" in self.marks or self.way("[DONE]", "no [DONE]") == "[DONE]":
            lines += [lead + "[DONE]", ""]
        mark = "\ufeff" if self.way("no BOM", "BOM") == "BOM" else ""
        return (mark + line.join([*lines, ""])).encode("utf-8", "surrogatepass")

    def framed(self, content: bytes, kind: str) -> list[bytes]:
        kinds = [kind, f"{kind}; charset=utf-8", f"{kind};charset=UTF-8"]
        label = self.way("right label", "right label", "label in capitals", "wrong label")
        if label == "label in capitals":
            kinds = [kind.title(), kind.upper() + "; charset=UTF-8"]
        elif label == "wrong label":
            kinds = ["text/plain", "application/octet-stream"]
        headers = {"X_Generation_Id": "gen-1"} if self.below(2) else {}
        if self.below(4) == 3:
            content = gzip.compress(content, 1, mtime=0)
            headers["Content_Encoding"] = "gzip"
        sizes = (self.below(256), self.below(8))
        pieces = cut(content, sizes if len(content) < 4_000 else (255,))
        if self.below(4) == 3:
            sent = whole(content, content_type=self.one(*kinds), **headers)
            return [sent[:-9], sent[-9:]]
        top = head(200, self.one(*kinds), Transfer_Encoding="chunked", **headers) + b"\r\n"
        return [top, *(b"".join(map(chunked, part)) for part in _thirds(pieces)), END]


def _thirds(pieces: list[bytes]) -> list[list[bytes]]:
    step = len(pieces) // 3 + 1
    return [pieces[at : at + step] for at in range(0, len(pieces), step)]


def _merge(whole: Piece, piece: Piece) -> None:
    for key, value in piece.items():
        known = whole.get(key)
        if isinstance(known, dict):
            _merge(known, value)
        else:
            whole[key] = known + value if known else value


def answer(data: bytes) -> Answer:
    """An answer out of decisions; the same bytes, the same answer."""
    tell = _Teller(data)
    streamed = tell.below(4) > 0
    text, words = tell.words()
    reasoning, thoughts = tell.thoughts()
    calls, call_lanes = tell.calls()
    urls, images = tell.images()
    found, sources = tell.sources()
    usage, counts = tell.usage()
    finish = tell.finish()
    said = Said(text, reasoning, sorted(calls), urls, found, finish, usage)
    lanes = [words, thoughts, images, sources]
    if streamed:
        chunks = tell.chunks(tell.company([*lanes, *call_lanes]), finish, counts)
        sent = tell.framed(tell.events(chunks), "text/event-stream")
    else:
        tell.marks -= IN_PIECES
        sent = tell.framed(tell.whole(lanes, said, counts), "application/json")
    tell.marks.add("stream" if streamed else "whole")
    if tell.way("as asked", "not as asked") == "not as asked":
        streamed = not streamed
    return Answer(said, frozenset(tell.marks), streamed, sent)


ANSWERS = st.integers(0, LENGTH).flatmap(lambda n: st.binary(min_size=n, max_size=n)).map(answer)
"""Any of them, as hypothesis draws it."""
