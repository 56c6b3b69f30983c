"""One chat call, from the first attempt to the row in the ledger."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

from ..errors import (
    ApiError,
    ConnectionFailed,
    NotRecorded,
    OrnbError,
    ProviderUnavailable,
    RequestTimedOut,
    StreamBroken,
    UnexpectedAnswer,
)
from .assembly import Assembly
from .body import ASKED, Messages, Written, asked_headers, check_fields, encoded, messages_from
from .framing import BOM, Decoder
from .reply import ONE_PIECE, Event, Reply, ResponseCache, Timing, Usage
from .service import BLOCK, Service, is_openrouter, unsay
from .transport import Wire

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import requests

Settle = Callable[[Reply, OrnbError | None], object]
"""Told once how a call ended: what came of it, and the error if there was one."""
BeforeCall = Callable[[Mapping[str, Any], Callable[[float], bool]], Settle | None]
"""Asked before a call leaves: its JSON body, and how to wait (seconds; True: stop was pressed).
Raises an `OrnbError` to forbid the call."""

LONGEST_WAIT_S = 20.0
"""A refusal that asks for more patience than this is raised at once, with the time to come back."""
ASKED_AGAIN = frozenset({429, 503})
"""Refusals that come before anything was generated, so that asking again cannot be paid twice."""
NO_SCHEMA_STREAMED = frozenset({400, 415, 422, 500, 501})
"""How servers refuse to stream an answer of a given form, before they do anything: any-llm 1.13.0
says 500, others 400."""
LONG = 24
"""Characters: a text that is longer, and came in one read with the end, was held back till then."""
DRAIN_S = 0.05
"""Time allowed for the end of the body after ``[DONE]``."""
LATE_S = 0.25
"""Time allowed for what follows an error: the usage may, which is money spent."""
TEXT = frozenset({"text", "reasoning"})
PROXYS = "x-litellm-"
"""Begins the headers of a LiteLLM proxy."""
SOURCES = ("recorded", "local", "canned")
TOLD_BY_HEADERS = (
    *("http_status", "note", "response_cache", "generation_id"),
    *("recorded_at", "recorded_from"),
)
Blocks = Iterator[tuple[float, bytes]]
"""What the reads of a body gave, each with its moment."""
_FIELDS = (b":", b"data:", b"event:", b"id:", b"retry:")


class EventSource:
    """Events that `_run` makes as they are asked for, once; leaving the context early stops it."""

    _run: Callable[[], Generator[Event, None, None]]
    close: Callable[[], None]
    _events: Generator[Event, None, None] | None = None

    def __iter__(self) -> Iterator[Event]:
        if self._events is None:
            self._events = self._run()
        return self._events

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self._events is not None:
            self._events.close()


class Stream(EventSource):
    """One chat call: iterate its events, stop it from any thread, read the reply.

    Made by `ornb.Client.stream`. Nothing is sent before the first event is asked for. As a context
    manager, leaving it early stops the call.

    Examples
    --------
    >>> with ornb.connect(offline=True).stream("Hi", "ornb/canned") as stream:
    ...     first = next(iter(stream))
    >>> stream.reply.status
    'stopped'
    """

    def __init__(
        self,
        service: Service,
        messages: Messages,
        model: str | None,
        params: dict[str, Any],
        *,
        streamed: bool,
        retries: int = 0,
        source: str = "live",
        before_call: BeforeCall | None = None,
        on_call: Callable[[Reply], object] | None = None,
    ) -> None:
        self._service = service
        self._messages = messages
        self._model = model
        self._label = params.pop("label", None)
        self._asks = {name: params.pop(name, None) for name in ASKED}
        self._params = params
        self._streamed = streamed
        self._retries = retries
        self._source = source
        self._before_call = before_call
        self._settle: Settle | None = None
        self._on_call = on_call
        self._assembly = Assembly(model)
        self._stop = threading.Event()
        self._wire = Wire()
        self._attempts = 0
        self._reads_of_text = 0
        self._is_proxied = False
        self._refused: Exception | None = None  # by an error inside an answer that had begun
        self._last_byte_at: float | None = None
        self.read_at = 0.0
        """``perf_counter`` of the read that held the latest event, in s."""
        self.turn: Callable[[], AbstractContextManager[object]] | None = None
        """Gives what is entered before the first write, which it may hold back."""
        self._final: Reply | None = None

    @property
    def _url(self) -> str:
        return self._service.base_url + "/chat/completions"

    @property
    def _wanted(self) -> str:
        return "a chat completion"

    @property
    def reply(self) -> Reply:
        """What has arrived; all of it once the iteration has ended."""
        return self._final or self._assembly.reply

    def close(self) -> None:
        """Stop: the connection is cut at once, also in a silence, and what arrived is kept.

        Safe from any thread, and after the end. OpenRouter ends generation and billing with it
        where the provider supports that (docs, "Streaming", 2026-08-22).
        """
        self._stop.set()
        if self._final is None:
            self._wire.cut()

    def _run(self) -> Generator[Event, None, None]:
        began, started_at = perf_counter(), datetime.now(UTC)
        outcome = self._assembly.outcome
        outcome.update(label=self._label, source=self._source)
        failure: OrnbError | None = None
        try:
            yield from self._exchange()
        except OrnbError as error:
            failure = error
            if self._stop.is_set():
                outcome["status"] = "stopped"
                return
            self._note_failure(error)
            error.reply = self._finished(began, started_at)
            raise
        except (KeyboardInterrupt, GeneratorExit):
            self.close()
            outcome["status"] = "stopped"
            raise
        except BaseException as error:
            outcome.update(status="error", error=f"{type(error).__name__}: {error}")
            raise
        else:
            outcome["status"] = "stopped" if self._stop.is_set() else "ok"
        finally:
            reply = self._finished(began, started_at)
            try:
                if self._settle is not None:
                    self._settle(reply, failure)
            finally:  # an interrupt that comes just now takes no row
                if self._on_call is not None:
                    self._on_call(reply)

    def _note_failure(self, error: OrnbError) -> None:
        outcome = self._assembly.outcome
        outcome.update(status="error", error=str(error))
        if isinstance(error, NotRecorded):
            outcome["source"] = "recorded"
        if isinstance(error, ApiError):
            outcome["http_status"] = error.status_code
            if error.provider is not None:
                self._assembly.served["provider"] = error.provider

    def _finished(self, began: float, started_at: datetime) -> Reply:
        """Take the times, once, and give the reply as it will stay."""
        if self._final is None:
            self._note_recording()
            timing = self._timing(began, started_at)
            self._assembly.outcome.update(attempts=self._attempts, timing=timing)
            if self._is_proxied:  # what its usage says of costs is its own reckoning too
                cost = self._assembly.reply.usage.cost_usd
                self._assembly.outcome.setdefault("proxy_cost_usd", cost)
            self._final = self._assembly.reply
        return self._final

    def _timing(self, began: float, started_at: datetime) -> Timing:
        wire, sent = self._wire, self._wire.sent_at
        if sent is None:  # it never left
            return Timing(started_at=started_at, duration_s=perf_counter() - began)
        assembly, last = self._assembly, self._last_byte_at or wire.clock()
        arrival = self._arrival(sent, last)

        def after_sent(moment: float | None) -> float | None:
            return moment - sent if arrival == "in pieces" and moment is not None else None

        return Timing(
            started_at=started_at,
            queued_s=sent - began,
            connect_s=wire.connect_s,
            time_to_first_byte_s=None if wire.head_at is None else wire.head_at - sent,
            time_to_first_reasoning_s=after_sent(assembly.first_reasoning_at),
            time_to_first_token_s=after_sent(assembly.first_token_at),
            time_to_first_answer_s=after_sent(assembly.first_answer_at),
            duration_s=last - sent,
            connection_reused=wire.connect_s is None,
            arrival=arrival,
        )

    def _arrival(self, sent: float, last: float) -> str | None:
        """Return how the text came: by the reads that held it, and what came after it."""
        first = self._assembly.first_token_at
        if first is None:
            return None
        if not self._streamed:
            return "whole"
        if self._reads_of_text == 0:  # JSON
            return ONE_PIECE
        if self._reads_of_text > 1 or self._source != "live":  # ours sends each as it is made
            return "in pieces"
        is_long = self._assembly.said > LONG
        return ONE_PIECE if is_long and last - first < (first - sent) / 10 else "in pieces"

    def _exchange(self) -> Iterator[Event]:
        request, went_whole = self._request(), False
        body = encoded(request)
        if self._before_call is not None:
            self._settle = self._before_call(request, self._stop.wait)
        while True:
            self._wire = Wire()
            self._wire.stopping = self._stop
            self._wire.turn = self.turn
            if self._stop.is_set():  # a later stop cuts this wire
                return
            if self._attempts:
                self._forget_attempt()
            self._attempts += 1
            try:
                yield from self._attempt(body)
            except (ApiError, ConnectionFailed) as error:
                if self._refused_to_stream(error, request):
                    went_whole, body = True, encoded(self._whole(request))
                    continue
                pause = self._pause(error)
                if pause is None or self._stop.wait(0 if self._wire.in_haste else pause):
                    raise
            else:
                if went_whole:  # and it helped: further schemas go so at once
                    self._service.streams_schemas = False
                return

    def _refused_to_stream(self, error: OrnbError, request: Mapping[str, Any]) -> bool:
        """Whether to ask for the whole: some servers stream no answer of a given form."""
        return (
            self._streamed
            and not self._assembly.begun
            and request.get("response_format") is not None
            and not is_openrouter(self._service.base_url)
            and isinstance(error, ApiError)
            and error.status_code in NO_SCHEMA_STREAMED
        )

    def _whole(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._streamed = False
        return {k: v for k, v in request.items() if k not in ("stream", "stream_options")}

    def _attempt(self, body: bytes) -> Iterator[Event]:
        service, wire = self._service, self._wire
        asks = asked_headers(**self._asks)
        with service.open(
            "POST", self._url, wire, model=self._model, seen=self._seen, headers=asks, data=body
        ) as response:
            labelled = "event-stream" in (response.headers.get("Content-Type") or "").lower()
            waits = service.timeouts
            silence = waits.between_bytes if labelled else waits.first_byte
            wire.patience(silence, in_all=waits.between_pieces)
            rest = ((wire.clock(), block) for block in service.blocks(response))
            start = _start(rest)
            blocks = chain(start, rest)
            try:
                if _is_stream(b"".join(block for _, block in start), labelled=labelled):
                    yield from self._read(response, blocks)
                else:
                    read = (block for _, block in blocks)
                    answer = service.json(response, wire, self._model, read)
                    self._last_byte_at = wire.clock()
                    self._note_proxys_cost(response)
                    yield from self._take(answer, None, self._last_byte_at, response)
                    self._refuse_empty(answer, response)
            except (RequestTimedOut, StreamBroken, UnexpectedAnswer):
                if not self._has_failed:
                    raise
            if self._refused is not None:
                raise self._refused
            if self._assembly.gave_up is not None:
                raise self._given_up(response, self._assembly.gave_up)

    def _seen(self, response: requests.Response) -> None:
        headers, outcome = response.headers, self._assembly.outcome
        outcome["http_status"] = response.status_code
        outcome["note"] = self._service.without_key(headers.get("X-Ornb-Note") or "") or None
        told = headers.get("X-Ornb-Source")
        outcome["source"] = told if told in SOURCES else self._source
        self._note_recording()
        outcome["response_cache"] = ResponseCache.from_headers(headers)
        self._is_proxied = any(name.lower().startswith(PROXYS) for name in headers)
        if headers.get("X-Generation-Id"):
            outcome["generation_id"] = self._service.without_key(headers["X-Generation-Id"])

    def _forget_attempt(self) -> None:
        """Forget what a refusal told: what comes of the next attempt, it alone may tell."""
        outcome = self._assembly.outcome
        for name in TOLD_BY_HEADERS:
            outcome.pop(name, None)
        outcome["source"] = self._source
        self._is_proxied = False

    def _note_proxys_cost(self, response: requests.Response) -> None:
        """Take the header that a LiteLLM proxy has on plain answers; others of it may say 0.0."""
        told = Usage.from_json({"cost": response.headers.get(f"{PROXYS}response-cost")})
        if told.cost_usd is not None:
            self._assembly.outcome["proxy_cost_usd"] = told.cost_usd

    def _note_recording(self) -> None:
        recorded = self._wire.recorded
        if recorded is not None:
            at, source = recorded
            self._assembly.outcome.update(source="recorded", recorded_at=at, recorded_from=source)

    @property
    def _has_failed(self) -> bool:
        """Whether the answer ends in an error, by an error's words or by a word for the end."""
        return self._refused is not None or self._assembly.gave_up is not None

    def _given_up(self, response: requests.Response, word: str) -> OrnbError:
        """Make the error of a provider that failed, with the one word that it gave for it."""
        why = "without saying why" if word == "error" else f"with {word}"
        return ProviderUnavailable(
            f"The provider ended the answer {why} [{self._model}]. What had arrived is kept; ask "
            "again, or pick another model.",
            status_code=response.status_code,
            code=word,
            provider=self._assembly.served.get("provider"),
            model=self._model,
        )

    def _read(self, response: requests.Response, blocks: Blocks) -> Iterator[Event]:
        decoder, stopped = Decoder(), self._stop.is_set
        latest, patience = self._wire.clock(), self._service.timeouts.between_pieces
        self._wire.patience(self._service.timeouts.between_bytes, in_all=patience)
        for now, block in blocks:
            self.read_at, is_news = now, False
            for data in decoder.feed(block):
                if data[:1] != "{" and data.strip() == "[DONE]":
                    self._last_byte_at = now
                    self._drain(blocks)
                    return
                events = self._parse(data, now, response)
                yield from events
                is_news = is_news or bool(events)
            if is_news and not self._has_failed:
                latest = now
                self._wire.extend(patience)
            if stopped():
                return
            if now - latest > patience:
                raise RequestTimedOut(
                    f"For {patience:g} s {self._service.host} has sent signs of life, and nothing "
                    "of an answer. What had arrived is kept; ask again, or allow more time with "
                    "ornb.connect(timeouts=...)."
                )
        self.read_at = self._last_byte_at = now = self._wire.clock()
        for data in decoder.close():
            if data.strip() != "[DONE]":
                yield from self._parse(data, now, response)
        if self._assembly.finish_reason is None and not stopped():
            raise StreamBroken(
                f"{self._service.host} ended the stream before the answer was finished. "
                "What had arrived is kept; ask again for the rest."
            )

    def _parse(self, data: str, now: float, response: requests.Response) -> list[Event]:
        try:
            chunk = _json(data)
        except (ValueError, RecursionError) as error:
            if not data.strip():  # a sign of life
                return []
            unsay(error)
            data = self._service.without_key(data)
            raise StreamBroken(
                f"{self._service.host} sent a damaged piece ({data[:60]!r}) in the middle of the "
                "answer. What had arrived is kept; ask again for the rest."
            ) from error
        events = self._take(chunk, data, now, response)
        if self._reads_of_text < 2 and any(each.type in TEXT for each in events):
            self._reads_of_text = 1 + (now != self._assembly.first_token_at)
        return events

    def _take(
        self, chunk: Any, text: str | None, now: float, response: requests.Response
    ) -> list[Event]:
        """Take a chunk in, or a whole answer; `text` is how it came, by default it is written."""
        text = json.dumps(chunk) if text is None else text
        if isinstance(chunk, list) and len(chunk) == 1:  # Google's errors
            chunk = chunk[0]
        if not isinstance(chunk, dict):
            text = self._service.without_key(text)
            raise UnexpectedAnswer(
                f"{self._service.host} answered {text[:60]!r}, which is not {self._wanted}. "
                "Check base_url."
            )
        known = self._service.clean(chunk, text)
        if known is not chunk:
            chunk, text = known, json.dumps(known)
        events = self._assembly.take(chunk, text, now)
        if self._assembly.fault and self._refused is None:
            fault = self._assembly.fault
            is_listed = fault is chunk and "errors" in chunk
            told = chunk if is_listed or fault is chunk.get("error") else {"error": fault}
            self._refused = self._service.refusal(response, json.dumps(told).encode(), self._model)
        # `_has_failed`, without a call for each chunk.
        if self._refused is not None or self._assembly.gave_up is not None:
            self._wire.patience(LATE_S, in_all=LATE_S)
        return [] if self._refused is not None else events

    def _refuse_empty(self, answer: Any, response: requests.Response) -> None:
        if isinstance(answer, dict) and not isinstance(answer.get("choices"), list):
            raise UnexpectedAnswer(
                f"{self._service.host} answered JSON without `choices` (status "
                f"{response.status_code}), which is not a chat completion. Check base_url."
            )

    def _drain(self, blocks: Blocks) -> None:
        """Read the end of the body, so that the connection can serve the next call.

        Bounded in time and size: a server that goes on must not hold the answer back.
        """
        self._wire.patience(DRAIN_S, in_all=DRAIN_S)
        left = BLOCK
        with contextlib.suppress(RequestTimedOut, StreamBroken):
            for _, block in blocks:
                left -= len(block)
                if left < 0:
                    return

    def _pause(self, error: ApiError | ConnectionFailed) -> float | None:
        """Seconds to wait before asking again; None when that is no use, or could be paid twice."""
        if self._attempts > self._retries or self._assembly.begun:
            return None
        pause = 0.25 * 2**self._attempts
        if isinstance(error, ApiError):
            stays_so = error.availability.get("retryable") is False
            if error.status_code not in ASKED_AGAIN or stays_so:
                return None
            if error.retry_after is not None:
                pause = error.retry_after
        return pause if pause <= LONGEST_WAIT_S else None

    def _request(self) -> dict[str, Any]:
        messages = self._messages
        if not isinstance(messages, Written):
            messages = messages_from(messages)
        verb = "Client.stream" if self._streamed else "Client.chat"
        check_fields({"label": self._label, **self._asks, **self._params}, verb)
        body = {"messages": messages, **self._params}
        if self._model is not None:
            body["model"] = self._model
        if not self._streamed:
            return body
        body["stream"] = True
        if body.get("response_format") is not None and not self._service.streams_schemas:
            return self._whole(body)
        return body


def _start(blocks: Blocks) -> list[tuple[float, bytes]]:
    """Read as far as the first byte that is no blank: keep-alive padding may come before it."""
    start, size = [], 0
    for at, block in blocks:
        start.append((at, block))
        size += len(block)
        if not block.isspace() or size > BLOCK:
            break
    return start


def _is_stream(start: bytes, *, labelled: bool) -> bool:
    """Whether a body is a stream of events: by what it is, and by its label where that is open."""
    start = start.removeprefix(BOM.encode()).lstrip()
    if labelled:
        return start[:1] not in (b"{", b"[")
    return any(start and (start.startswith(name) or name.startswith(start)) for name in _FIELDS)


_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # without a call between


def _json(text: str) -> Any:
    """Parse, without the two searches for blanks that take `json.loads` as long as the parse."""
    try:
        value, end = _scan(text, 0)
    except (ValueError, StopIteration):
        end = -1
    return value if end == len(text) else json.loads(text)
