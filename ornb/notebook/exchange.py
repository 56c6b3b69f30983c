"""Answers on their way: what is read, what became of it, which tools run, and who allows them."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import session
from ..api.reply import Event, Reply
from ..errors import ConfigError, ContextTooLong, OrnbError
from ..messages import Turn
from ..messages.asked import answered
from ..messages.context import fits
from ..messages.tool_loop import ToolLoop
from ..messages.tools import ToolResult
from .live import LiveAnswer
from .shown import call_for_page

if TYPE_CHECKING:
    import pandas as pd

    from ..api.client import Client
    from ..api.stream import Stream

NOBODY = (
    "The model asks to run {name}, and nobody can be asked here whether it may, so the answer was "
    "ended. Chat(..., confirm=False) lets the tools of a chat run without being asked for."
)


class Call:
    """One answer on its way: read by a thread, until it ends or somebody stops it."""

    def __init__(self, params: Mapping[str, Any], schema: Any) -> None:
        self.params = dict(params)
        self.schema = schema
        self.answer = LiveAnswer()
        self.stream: Stream | ToolLoop | None = None
        self.whole: Reply | None = None
        """The answer once it has come to its end, with its value where there is a schema."""
        self.stopping = False
        self.error: OrnbError | None = None

    def read_stream(self, stream: Stream | ToolLoop, news: Callable[[], object]) -> None:
        """Read the answer to its end; `news` is called when there is something new to show."""
        self.stream = stream
        if self.stopping:
            stream.close()
        for event in stream:
            if self._take(event):
                news()
        if not self.stopping:
            self.whole = answered(stream.reply, self.schema)

    def _take(self, event: Event) -> bool:
        """Take a piece; True if there is something new to show."""
        return self.answer.add(event)

    def stop(self) -> None:
        """End it at once: cut the connection."""
        self.stopping = True
        stream = self.stream
        if stream is not None:
            stream.close()

    def outcome(self, nothing: Reply) -> Reply:
        """Return the answer as far as it came; `nothing` where nothing did."""
        status = "stopped" if self.stopping else "error" if self.error else "ok"
        reply = self.error.reply if self.error else self.whole
        if reply is None and self.stream is not None:
            reply = self.stream.reply
        error = str(self.error) if status == "error" else None
        reply = dataclasses.replace(reply or nothing, status=status, error=error)
        return answered(reply, self.schema)


class ChatCall(Call):
    """A question, the thread that reads its answer, and the person who may stop or allow.

    `on_call` is told what the page should show of a tool's call, each time that changes.
    """

    def __init__(
        self,
        question: Turn,
        params: Mapping[str, Any],
        schema: Any,
        *,
        blocking: bool,
        tools: Sequence[Any],
        confirm: bool,
        on_call: Callable[[dict[str, Any]], object],
    ) -> None:
        super().__init__(params, schema)
        self.question = question
        self.blocking = blocking
        self.calls: list[dict[str, Any]] = []
        """What the page shows of the tools' calls so far."""
        self.reply: Reply | None = None
        self.ended = threading.Event()
        self._tools, self._confirm, self._on_call = tuple(tools), confirm, on_call
        self._decided = threading.Event()
        self._asking: dict[str, Any] | None = None
        self._allowed = self._nobody = self._gap = False

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Requests for tools and their results so far; whole rounds only."""
        added = list(self.stream.added) if isinstance(self.stream, ToolLoop) else []
        answered = {step.get("tool_call_id") for step in added}
        for place, step in enumerate(added):
            if any(call.get("id") not in answered for call in step.get("tool_calls") or ()):
                return added[:place]
        return added

    def read(
        self, client: Client, messages: list[dict[str, Any]], news: Callable[[], object]
    ) -> None:
        """Ask, and read the answer to its end; `news` as in `read_stream`."""
        params = dict(self.params)
        model = session.model_id(params.pop("model"))
        if self._tools:
            params |= {"confirm": self._may if self._confirm else None, "auto": not self._confirm}
            self.read_stream(ToolLoop(client, messages, model, self._tools, **params), news)
        else:
            self.read_stream(client.stream(messages, model, **params), news)

    def stop(self) -> None:
        """End it at once: cut the connection, begin no further tool."""
        super().stop()
        self._decided.set()

    # ------------------------------------------------------------------ tools

    def decide(self, call_id: str, *, allowed: bool) -> None:
        """Take a person's decision about the call that waits for one."""
        asking = self._asking
        if asking is not None and asking["id"] == call_id:
            self._allowed = allowed
            self._decided.set()

    def ask_person(self) -> None:
        """Ask in the cell, which waits for the answer and so keeps the page from being heard."""
        asking = self._asking
        if asking is None or self._decided.is_set():
            return
        try:
            words = input(f"Run {asking['name']}({asking['arguments']})? [y/N] ")
        except (EOFError, OSError, NotImplementedError):  # nobody is there
            self._nobody = True
            self._decided.set()
        else:
            self.decide(asking["id"], allowed=words.strip().lower() in ("y", "yes"))

    def _may(self, name: str, _: dict[str, Any]) -> bool:
        """Wait for a person's decision. Runs on the thread that reads."""
        self._decided.clear()
        self._allowed = False
        if self.stopping:
            return False
        self._asking = self.calls[-1]
        self._show({**self.calls[-1], "state": "asking"})
        while not self._decided.wait(0.2):
            if self.stopping:
                break
        self._asking = None
        if self._nobody:
            raise ConfigError(NOBODY.format(name=name))
        if self._allowed and not self.stopping:
            self._show({**self.calls[-1], "state": "running"})
        return self._allowed and not self.stopping

    def _take(self, event: Event) -> bool:
        if event.type == "tool_run":
            self.calls.append({})
            self._show({**call_for_page(event.data), "state": "running"})
        elif event.type == "tool_result" and isinstance(event.data, ToolResult):
            told = call_for_page({}, event.data.content)["result"]
            self._show({**self.calls[-1], "result": told, "state": event.data.status})
        elif event.type == "reply":
            self._gap = True
        elif self._gap and event.type == "text":
            # As `ornb.messages.tool_loop.together` joins them.
            self._gap = False
            if self.answer.has_text:
                self.answer.add(Event("text", "\n\n"))
        return self.answer.add(event)

    def _show(self, call: dict[str, Any]) -> None:
        self.calls[-1] = call
        self._on_call(call)


def explained(
    error: ContextTooLong,
    messages: list[dict[str, Any]],
    model: str | None,
    models: pd.DataFrame | None,
) -> ContextTooLong:
    """Add by how much a prompt is too long, and which models have room for it, if that is known."""
    if models is None or model not in models.index:
        return error
    report = fits(messages, models.loc[model], models=models, refusal=error)
    if report.over_by:
        error.args = (str(report),)
    return error
