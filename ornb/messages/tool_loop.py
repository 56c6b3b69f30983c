"""Ask, do what the model asks for, ask again: an answer that may take several calls.

Each call is one row in the usage table. A `ToolLoop` is used as a `Stream` is: iterate its events,
stop it from any thread, read the reply.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..api.body import messages_from
from ..api.reply import Event, Reply, Usage
from ..api.stream import EventSource
from ..errors import OrnbError, whole
from .tools import Confirm, ToolResult, run, toolbox
from .turn import parsed_files

if TYPE_CHECKING:
    from ..api.body import Messages
    from ..api.client import Client
    from ..api.stream import Stream


class ToolLoop(EventSource):
    """An answer with tools, as it is made; what came before an error stays in `replies`.

    Its events are a `Stream`'s, and between them three more: "reply" ends each call (``data`` is
    its `Reply`), "tool_run" comes before a tool is tried (``text`` its name, ``data`` the model's
    request), "tool_result" after (`ToolResult`).

    After `max_rounds` the model is asked to answer without tools. `confirm` holds up the answer, so
    it should return when `close` is called; `auto` allows every call where there is no `confirm`.
    """

    def __init__(
        self,
        client: Client,
        messages: Messages,
        model: str | None = None,
        tools: Iterable[Any] = (),
        *,
        max_rounds: int = 5,
        confirm: Confirm | None = None,
        auto: bool = False,
        **params: Any,
    ) -> None:
        self._client = client
        self._model = model
        self._named, self._definitions = toolbox(tools)
        self._max_rounds = whole("max_rounds", max_rounds, 1)
        self._confirm = confirm
        self._auto = auto
        self._params = params
        self._stop = threading.Event()
        self._stream: Stream | None = None
        self._is_open = True
        self.messages: list[dict[str, Any]] = messages_from(messages)
        """What was sent, and at the end all that a further question has to follow: the model's
        requests, and a result for each, also when it was stopped in between."""
        self._given = len(self.messages)
        self.replies: list[Reply] = []
        """One of each call, the last one last."""
        self.results: list[ToolResult] = []
        """One of each tool that was asked for."""

    @property
    def added(self) -> list[dict[str, Any]]:
        """Those of the messages that were not given: the requests and the results."""
        return self.messages[self._given :]

    @property
    def reply(self) -> Reply:
        """All calls as one answer; as far as it came.

        Text, images and sources of all calls, tokens, cost and seconds summed, the rest of the
        last one. Seconds are those of the calls, without the tools'.
        """
        stream = self._stream
        open_one = [] if stream is None else [stream.reply]
        merged = together([*self.replies, *open_one]) or Reply(requested_model=self._model)
        unfinished = self._stop.is_set() and merged.status == "ok" and self._is_open
        return dataclasses.replace(merged, status="stopped") if unfinished else merged

    def close(self) -> None:
        """Stop: the call under way is cut, and no further tool is begun. Safe from any thread."""
        self._stop.set()
        stream = self._stream
        if stream is not None:
            stream.close()

    def _run(self) -> Generator[Event, None, None]:
        for number in range(self._max_rounds + 1):
            if self._stop.is_set():
                return
            yield from self._ask(number)
            reply = self.replies[-1]
            if not reply.tool_calls or reply.status != "ok" or number == self._max_rounds:
                self._is_open = False
                return
            yield from self._answer_calls(reply)

    def _ask(self, number: int) -> Iterator[Event]:
        params = dict(self._params)
        if self._definitions:
            params["tools"] = self._definitions
            if number == self._max_rounds:
                params["tool_choice"] = "none"
            elif number and params.get("tool_choice") not in (None, "none"):
                params["tool_choice"] = "auto"  # a choice that forces a call holds for the first
        with self._client.stream(self.messages, self._model, **params) as stream:
            self._stream = stream
            if self._stop.is_set():
                stream.close()
            try:
                yield from stream
            except OrnbError as error:
                error.reply = self.reply  # of all calls, not of the last alone
                raise
            finally:
                self._stream = None
                self.replies.append(stream.reply)
        yield Event("reply", data=self.replies[-1])

    def _answer_calls(self, reply: Reply) -> Iterator[Event]:
        calls: list[dict[str, Any]] = []
        for place, call in enumerate(reply.tool_calls):
            told = call.get("id")
            if not told or any(told == each["id"] for each in calls):  # results go by it
                told = f"{told or 'call'}_{len(self.results) + place}"
            calls.append({**call, "id": told})
        self.messages.append(_request(reply, calls))
        waiting = list(calls)
        try:
            while waiting and not self._stop.is_set():
                yield Event("tool_run", str(waiting[0]["function"]["name"]), waiting[0])
                result = run(waiting[0], self._named, self._confirm, auto=self._auto)
                waiting.pop(0)
                self._add_result(result)
                yield Event("tool_result", data=result)
        finally:
            # Also when interrupted: services refuse a request that has no result.
            for call in waiting:
                name = str(call["function"]["name"])
                told = f"{name} was not called: the person stopped the answer."
                self._add_result(ToolResult(str(call["id"]), name, "stopped", told))

    def _add_result(self, result: ToolResult) -> None:
        self.results.append(result)
        self.messages.append(result.message)


def together(replies: Sequence[Reply]) -> Reply | None:
    """Merge the replies of several calls; what one of them lacks of counts and cost is unknown."""
    if len(replies) < 2:
        return replies[0] if replies else None
    first, last = replies[0], replies[-1]
    text, annotations = "", []
    for reply in replies:
        text += "\n\n" * bool(text and reply.text)
        annotations += [_moved(annotation, len(text)) for annotation in reply.annotations]
        text += reply.text
    durations = [reply.timing.duration_s for reply in replies]
    known = [duration for duration in durations if duration is not None]
    return dataclasses.replace(
        last,
        text=text,
        reasoning="\n\n".join(filter(None, (reply.reasoning for reply in replies))),
        images=tuple(image for reply in replies for image in reply.images),
        annotations=tuple(annotations),
        usage=_summed([reply.usage for reply in replies]),
        timing=dataclasses.replace(first.timing, duration_s=sum(known) if known else None),
        attempts=sum(reply.attempts for reply in replies),
        proxy_cost_usd=_total([reply.proxy_cost_usd for reply in replies]),
        raw_chunks=tuple(chunk for reply in replies for chunk in reply.raw_chunks),
    )


def _summed(usages: Sequence[Usage]) -> Usage:
    def total(name: str) -> Any:
        values = [getattr(usage, name) for usage in usages]
        if name == "byok_usd" and any(usage.lacks_byok for usage in usages):
            return None
        if name in ("byok_usd", "server_tool_usd"):  # not of every call
            values = [value for value in values if value is not None] or [None]
        return _total(values)

    counts = {
        f.name: total(f.name) for f in dataclasses.fields(Usage) if f.name not in ("is_byok", "raw")
    }
    own = any(usage.is_byok for usage in usages)
    return Usage(**counts, is_byok=own or usages[-1].is_byok)


def _total(values: Sequence[Any]) -> Any:
    """The sum; None where one of them is not known."""
    return None if None in values else sum(values)


def _moved(annotation: dict[str, Any], by: int) -> dict[str, Any]:
    """A citation whose places count from the beginning of all texts."""
    inside = annotation.get("url_citation")
    if not by or not isinstance(inside, Mapping) or not inside.get("end_index"):
        return annotation
    places = {
        key: inside[key] + by
        for key in ("start_index", "end_index")
        if isinstance(inside.get(key), int)
    }
    return {**annotation, "url_citation": {**inside, **places}}


def _request(reply: Reply, calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The model's own message, to go before the results: what it thought goes back unchanged."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": reply.text or None,
        "tool_calls": list(calls),
    }
    if reply.reasoning_details:
        message["reasoning_details"] = list(reply.reasoning_details)
    return message | parsed_files(reply)
