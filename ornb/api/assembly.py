"""From the pieces of an answer to one `Reply`, whatever fields they have and in whatever company.

Servers differ in what a piece holds: OpenRouter repeats ``role`` and ``content`` in each, OpenAI,
vLLM and llama.cpp send one field alone, some send a call or a count twice. So each field is asked
for by its name, and each piece tells, as well as it can, what it goes on with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .reply import Event, Reply, Usage, amount

SERVED = ("id", "model", "provider")
"""Fields of every chunk that say who answers; the last word counts."""
FAILED = ("error", "network_error")
"""Native finish reasons by which a provider fails without an ``error``."""
_SAYS = frozenset({"role", "content"})
_PLAIN = frozenset({"role", "content", "reasoning", "reasoning_content"})
_ABOUT = frozenset({"service_tier", "openrouter_metadata", "safeguard_results", "alignment"})
_LATE = _ABOUT | {"usage"}
_OF_A_CALL = frozenset({"index", "id", "type", "function"})
_GROWS = ("text", "summary", "data")


class Assembly:
    """Puts an answer together from its pieces."""

    def __init__(self, requested_model: str | None = None) -> None:
        self.requested_model = requested_model
        self.first_token_at: float | None = None
        self.first_answer_at: float | None = None
        self.first_reasoning_at: float | None = None
        self.finish_reason: str | None = None
        self.fault: Any = None
        """The error that the latest chunk carries, as the service put it."""
        self.gave_up: str | None = None
        """The word with which a provider ended the answer, where it failed without an error."""
        self.outcome: dict[str, Any] = {}
        """Fields of the reply that others than the chunks decide: status, timing, source, ..."""
        self.served: dict[str, str] = {}
        """Of the answer: id, model, provider."""
        self._native_finish_reason: str | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._half: dict[str, str] = {}  # of a last character; JavaScript's texts are cut so
        self._thinks_in_details = True
        self._in_pieces = False
        self._chunks: list[str] = []
        self._images: dict[str, None] = {}
        self._annotations: dict[str, dict[str, Any]] = {}
        self._logprobs: list[dict[str, Any]] = []
        self._tool_calls: list[dict[str, Any]] = []
        self._places: list[int | None] = []  # the index of each call, where one was told
        self._details: list[dict[str, Any]] = []
        self._told: tuple[Any, ...] = ()
        self._about: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}

    @property
    def begun(self) -> bool:
        """Whether anything has arrived."""
        return bool(self._chunks)

    @property
    def said(self) -> int:
        """Characters of text and reasoning so far."""
        return sum(map(len, (*self._text, *self._reasoning, *self._half.values())))

    @property
    def reply(self) -> Reply:
        """What has arrived so far."""
        about = self._about
        return Reply(
            text="".join(self._text) + self._half.get("text", ""),
            reasoning="".join(self._reasoning) + self._half.get("reasoning", ""),
            refusal=_paired("".join(self._refusal)),
            images=tuple(self._images),
            annotations=tuple(self._annotations.values()),
            tool_calls=tuple(self._calls()),
            reasoning_details=tuple(self._details),
            logprobs=tuple(self._logprobs),
            usage=Usage.from_json(self._usage) if self._usage else Usage(),
            requested_model=self.requested_model,
            model=self.served.get("model"),
            provider=self.served.get("provider"),
            finish_reason=self.finish_reason,
            native_finish_reason=self._native_finish_reason,
            service_tier=_word(about.get("service_tier")),
            metadata=_word(about.get("openrouter_metadata"), dict),
            blocked=_blocked(about),
            raw_chunks=tuple(self._chunks),
            **{"generation_id": self.served.get("id"), **self.outcome},
        )

    def take(self, chunk: Mapping[str, Any], text: str, now: float) -> list[Event]:
        """Add a chunk of a stream, or a whole answer, and return what is new in it.

        `text` is the chunk as it came, `now` the ``perf_counter`` of the read that held it.
        """
        self._chunks.append(text)
        choices = chunk.get("choices")
        self.fault = chunk.get("error") if choices else fault(chunk)
        told = tuple(map(chunk.get, SERVED))
        if told != self._told:
            self._told = told
            for key, value in zip(SERVED, told, strict=True):
                if value and isinstance(value, str):  # some servers begin with empty names
                    self.served[key] = value
        events: list[Event] = []
        listed = _of_the_first(choices) if isinstance(choices, list) and choices else ()
        for choice in listed:
            self._take_choice(choice, now, events)
        if not _LATE.isdisjoint(chunk) or (listed and "usage" in listed[0]):
            self._take_late(chunk, listed, events)
        return events

    def _take_late(
        self, chunk: Mapping[str, Any], listed: Sequence[Mapping[str, Any]], events: list[Event]
    ) -> None:
        for teller in (*listed, chunk):  # Moonshot's servers tell it in the choice first
            if isinstance(usage := teller.get("usage"), dict):
                self._usage = _grown(self._usage, usage)
                events.append(Event("usage", data=Usage.from_json(self._usage)))
        self._about |= {key: chunk[key] for key in _ABOUT if chunk.get(key)}

    def _take_choice(self, choice: dict[str, Any], now: float, events: list[Event]) -> None:
        delta, whole = choice.get("delta"), False
        if delta and isinstance(delta, dict):
            self._in_pieces = True
        elif not self._in_pieces:  # else it says again what had come
            delta, whole = choice.get("message") or {"content": choice.get("text")}, True
        if delta and isinstance(delta, dict):
            content = delta.get("content")
            if content and isinstance(content, str) and delta.keys() <= _SAYS:  # nearly always
                self._say(content, now, events)
            else:
                self._take_delta(delta, now, events, whole=whole)
        logprobs = choice.get("logprobs")
        if logprobs and isinstance(logprobs, dict):
            for key in ("content", "refusal"):
                self._logprobs += _dicts(logprobs.get(key))
        native, reason = choice.get("native_finish_reason"), choice.get("finish_reason")
        if native:
            self._native_finish_reason = str(native)
        self.fault = self.fault or choice.get("error")
        if native in FAILED or reason == "error":
            self.gave_up = self._native_finish_reason or str(reason)
        if reason and self.finish_reason is None:  # it is often sent twice
            self.finish_reason = str(reason)
            events.append(Event("finish", data=self.finish_reason))

    def _take_delta(
        self, delta: dict[str, Any], now: float, events: list[Event], *, whole: bool
    ) -> None:
        self._take_words(delta, now, events)
        if not delta.keys() <= _PLAIN:
            self._take_rarer(delta, events, whole=whole)

    def _take_words(self, delta: dict[str, Any], now: float, events: list[Event]) -> None:
        # `reasoning_content` is what vLLM, llama.cpp and DeepSeek's own servers call it.
        reasoning = _word(delta.get("reasoning")) or delta.get("reasoning_content")
        content, refusal = delta.get("content"), delta.get("refusal")
        if not isinstance(content, str) and isinstance(content, list | dict):
            parts = content if isinstance(content, list) else [content]
            reasoning = reasoning or _text_of(parts, "thinking", "reasoning")
            refusal = refusal or _text_of(parts, "refusal")
            self._take_images(parts, events)
            content = _text_of(parts, "text", "output_text")
        if reasoning and isinstance(reasoning, str):
            self._thinks_in_details = False
        elif self._thinks_in_details and "reasoning_details" in delta:
            reasoning = _thoughts(delta["reasoning_details"])
        if reasoning and isinstance(reasoning, str):
            self.first_token_at = self.first_token_at or now
            self.first_reasoning_at = self.first_reasoning_at or now
            if reasoning := self._whole("reasoning", reasoning):
                self._reasoning.append(reasoning)
                events.append(Event("reasoning", reasoning))
        if not content and "audio" in delta:  # what a voice says
            audio = delta["audio"]
            content = audio.get("transcript") if isinstance(audio, dict) else None
        if content and isinstance(content, str):
            self._say(content, now, events)
        if refusal and isinstance(refusal, str):
            if self._text and not self._refusal:
                self._say("\n\n", now, events)
            self._refusal.append(refusal)
            self._say(refusal, now, events)

    def _say(self, text: str, now: float, events: list[Event]) -> None:
        self.first_token_at = self.first_token_at or now
        self.first_answer_at = self.first_answer_at or now
        if text := self._whole("text", text):
            self._text.append(text)
            # There is one a chunk, and made by its class it takes twice as long.
            events.append(tuple.__new__(Event, ("text", text, None)))

    def _whole(self, kind: str, text: str) -> str:
        """The text but for a half of a character at its end, which waits for the other."""
        half = self._half.pop(kind, "") if self._half else ""
        if half or text[-1] >= "\ud800":
            text = _paired(half + text)
            if "\ud800" <= text[-1] <= "\udbff":
                self._half[kind], text = text[-1], text[:-1]
        return text

    def _take_rarer(self, delta: dict[str, Any], events: list[Event], *, whole: bool) -> None:
        calls = _dicts(delta.get("tool_calls"))
        if not calls and isinstance(delta.get("function_call"), dict):  # as until 2023, without id
            calls = [{"function": delta["function_call"]}]
        for n, call in enumerate(calls):
            self._merge_tool_call(call, whole=whole, lone=n == 0)
            events.append(Event("tool_call", data=call))
        self._take_images(delta.get("images"), events)
        # Some servers list all sources in each piece, or again in the last.
        listed = {_as_text(each): _sendable(each) for each in _dicts(delta.get("annotations"))}
        new = {key: each for key, each in listed.items() if key not in self._annotations}
        self._annotations.update(new)
        events += [Event("annotation", data=each) for each in new.values()]
        for detail in _dicts(delta.get("reasoning_details")):
            self._merge_detail(_sendable(detail), whole=whole)

    def _take_images(self, parts: Any, events: list[Event]) -> None:
        for part in _dicts(parts):
            url = part.get("image_url")
            url = url.get("url") if isinstance(url, dict) else url
            if isinstance(url, str) and url not in self._images:
                self._images[url] = None
                events.append(Event("image", data=url))

    def _calls(self) -> list[dict[str, Any]]:
        """In the order of their indexes, where all have one."""
        calls, places = self._tool_calls, self._places
        if None in places:
            return calls
        return [calls[n] for n in sorted(range(len(calls)), key=lambda n: places[n] or 0)]

    def _merge_tool_call(self, piece: dict[str, Any], *, whole: bool, lone: bool) -> None:
        index, told, function = _index(piece), _id(piece), piece.get("function")
        function = function if isinstance(function, dict) else {}
        name, arguments = (_as_text(function.get(key)) for key in ("name", "arguments"))
        # Of several in one list, those without a place are calls of their own.
        may_go_on = not whole and (lone or index is not None or told is not None)
        place = self._call_of(index, told, name, arguments) if may_go_on else None
        if place is None:
            self._tool_calls.append(
                {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
            )
            self._places.append(index)
            place = -1
        call = self._tool_calls[place]
        call["id"] = call["id"] or told
        call["type"] = _word(piece.get("type")) or call["type"]
        # What a server hangs on a call, such as a signature, it wants back.
        more = {k: v for k, v in piece.items() if k not in _OF_A_CALL and v is not None}
        call.update(_sendable(more))
        if call["function"]["name"] != name:  # else it is repeated whole
            call["function"]["name"] += name
        before = call["function"]["arguments"]
        again = _follows_whole(before, arguments)  # some tell a call twice, some begin with {}
        call["function"]["arguments"] = arguments if again else _joined(before, arguments)

    def _call_of(
        self, index: int | None, told: str | None, name: str, arguments: str
    ) -> int | None:
        """Return which of the calls so far a piece goes on with; None if it begins a new one."""
        for place in reversed(range(len(self._tool_calls))):
            call, at = self._tool_calls[place], self._places[place]
            if None not in (index, at) and index != at:
                continue
            if told is not None:  # a new id is a new call, unless this one waits for its id
                if told == call["id"] or (call["id"] is None and index is not None):
                    return place
                continue
            made = call["function"]
            begins = name and made["name"] and made["arguments"]
            other = made["name"] != name or _follows_whole(made["arguments"], arguments)
            return None if begins and other else place
        return None

    def _merge_detail(self, piece: dict[str, Any], *, whole: bool) -> None:
        detail = None if whole else self._detail_of(piece)
        if detail is None:
            self._details.append(dict(piece))
            return
        for key, value in piece.items():
            before = detail.get(key)
            if key in _GROWS and isinstance(value, str):
                detail[key] = _joined(before, value) if isinstance(before, str) else value
            elif value is not None or key not in detail:
                detail[key] = value

    def _detail_of(self, piece: dict[str, Any]) -> dict[str, Any] | None:
        index, told, kind = _index(piece), _id(piece), piece.get("type")
        detail: dict[str, Any]
        for n, detail in enumerate(reversed(self._details)):
            at, known = _index(detail), _id(detail)
            same = index == at
            if index is None:  # only text goes on without a place: no cipher is cut together
                same = same and n == 0 and "data" not in piece
            same = same and detail.get("type") == kind and (None in (told, known) or told == known)
            if same and not ("text" in piece and detail.get("signature")):
                return detail  # a signature ends a thought
        return None


def _blocked(about: Mapping[str, Any]) -> str | None:
    """Return which of the service's safeguards held something of an answer back, and why."""
    alignment = about.get("alignment")
    calls = _dicts(alignment.get("calls")) if isinstance(alignment, dict) else []
    for call in calls[-1:]:  # earlier ones were tried again
        if call.get("outcome") == "blocked":
            rules = _dicts(call.get("rules"))
            broken = [str(n) for n, rule in enumerate(rules, 1) if rule.get("broken") is True]
            which = f"rule {' and '.join(broken)} is broken" if broken else "a rule is broken"
            return f"blocked by the alignment plugin: {which}"
    for result in _dicts(about.get("safeguard_results")):
        status = result.get("status")
        uses = status.get("tool_uses") if isinstance(status, dict) else None
        for use in _dicts(list(uses.values()) if isinstance(uses, dict) else []):
            if use.get("outcome") == "flagged":
                why = use.get("explanation")
                why = f": {why}" if isinstance(why, str) and why else ""
                return f"a tool call was blocked by the armor plugin{why}"
    return None


def _of_the_first(choices: Sequence[Any]) -> Sequence[dict[str, Any]]:
    """The pieces of the one answer that is read: of several choices, the first by its index."""
    if len(choices) == 1 and isinstance(choices[0], dict) and not choices[0].get("index"):
        return [choices[0]]
    listed = _dicts(choices)
    first = [choice for choice in listed if not _index(choice)]
    whole = [choice for choice in listed if isinstance(choice.get("message"), dict)]
    return first or sorted(whole, key=lambda choice: _index(choice) or 0)[:1]


def _grown(before: Mapping[str, Any], late: Mapping[str, Any]) -> dict[str, Any]:
    """Counts that were told again: what says nothing (null, {}, 0, no number) erases nothing."""
    grown = dict(before)
    for key, value in late.items():
        known = grown.get(key)
        kind = _kind(value)
        if isinstance(known, dict) and isinstance(value, dict):
            grown[key] = _grown(known, value)
        elif known is None or (kind and _kind(known) in (None, bool, kind)):
            grown[key] = value
    return grown


def _kind(value: Any) -> type | None:
    """What a value of a usage is, and none for what says nothing there."""
    if isinstance(value, bool | dict):
        return type(value) if value else None
    return float if amount(value) else None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text_of(parts: Sequence[Any], *kinds: str) -> str:
    """The texts of some kinds of parts; a thought is a list of parts itself (Mistral)."""
    texts: list[str] = []
    for part in ({"text": part} if isinstance(part, str) else part for part in parts):
        if not isinstance(part, dict):
            continue
        kind = part.get("type", "text")
        if kind in kinds:
            value = part.get("text") or part.get(kind)
            if isinstance(value, list):
                value = _text_of(value, "text")
            texts += [value] if isinstance(value, str) else []
    return _paired("".join(texts))


def fault(chunk: Mapping[str, Any]) -> Any:
    """Return the error that an answer or a chunk holds, or is: some servers send it bare."""
    if chunk.get("error") or chunk.get("choices"):
        return chunk.get("error")
    told = chunk.get("detail") or (chunk.get("message") and chunk.get("code"))  # 0 is a good one
    told = told or (chunk.get("errors") and chunk.get("success") is False)  # Cloudflare
    return chunk if told or chunk.get("object") == "error" else None


def _thoughts(details: Any) -> str:
    said = (detail.get("text") or detail.get("summary") for detail in _dicts(details))
    return "".join(text for text in said if isinstance(text, str))


def _word(value: Any, kind: type = str) -> Any:
    return value if isinstance(value, kind) else None


def _index(piece: Mapping[str, Any]) -> int | None:
    index = amount(piece.get("index"))
    return int(index) if index is not None and index.is_integer() else None


def _id(piece: Mapping[str, Any]) -> str | None:
    told = piece.get("id")
    return str(told) if isinstance(told, str | int) and told != "" else None


def _joined(before: str, piece: str) -> str:
    text = before + piece
    return _paired(text) if "\udc00" <= piece[:1] <= "\udfff" else text


def _sendable(piece: dict[str, Any]) -> dict[str, Any]:
    """The same without NaN and infinities (1e400 is one): JSON has no form for them."""
    text = json.dumps(piece)
    if "NaN" not in text and "Infinity" not in text:
        return piece
    made: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
    return made


def _follows_whole(before: str, piece: str) -> bool:
    """Whether arguments begin after others that are whole, so that they do not go on with them."""
    if not (before.rstrip().endswith("}") and piece.lstrip().startswith("{")):
        return False
    try:
        json.loads(before)
    except (ValueError, RecursionError):
        return False
    return True


def _paired(text: str) -> str:
    """The same with the halves of each character that was cut put together."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _as_text(value: Any) -> str:
    """A piece of text; some servers send arguments as an object."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value)
