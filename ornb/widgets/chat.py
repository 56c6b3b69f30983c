"""Chat in a notebook: streams into the page, stops at once, and is still there next year.

A widget is gone when its notebook is opened again. So a chat shows two outputs: an ordinary one
that holds the whole conversation as safe HTML, text and JSON, updated when an answer ends; and the
live widget, which hides the ordinary one for as long as it lives.

The network is read by a thread of the chat's own, so the kernel stays free and Stop works at once.
All messages to the page carry one sequence number; a page that misses one asks for the whole.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import traitlets as t
from IPython.display import DisplayHandle, display

from .. import session
from ..client import OPENROUTER
from ..conversation import MIME_TRANSCRIPT, Conversation, Turn, well_formed
from ..errors import ConfigError, OrnbError
from ..rendering import facts, pictures_html, render, transcript
from ..reply import Reply
from .base import Widget, describe
from .live import PACER, LiveAnswer

if TYPE_CHECKING:
    import pandas as pd

    from ..client import Client
    from ..stream import Stream

HERE = Path(__file__)

PATIENCE_S = 0.4
"""How long Stop waits for the network to let go, before it goes on without it."""


WHOLE_EVERY_S = 1.0
"""How often a page that has not been heard yet gets the whole conversation."""


class _Call:
    """One question on its way to an answer."""

    def __init__(
        self, question: Turn, params: Mapping[str, Any], *, blocking: bool = False
    ) -> None:
        self.question = question
        self.params = params
        self.blocking = blocking
        self.answer = LiveAnswer()
        self.stream: Stream | None = None
        self.stopping = False
        self.reply: Reply | None = None
        self.error: OrnbError | None = None
        self.ended = threading.Event()


class Chat(Widget):
    """A conversation with a model, in a cell.

    Type and press Enter, or ask from code with `ask`. Show it by itself (as the last line of a
    cell): then the conversation stays in the notebook also without a kernel.

    Parameters
    ----------
    model : str, ModelPicker or None
        A model's id; a picker, which is followed; None for the service's default.
    system : str, optional
        A message to the model that goes before all others.
    client : Client, optional
        Who is asked; by default the client of `ornb.connect`.
    label : str
        Your word for these calls in `ornb.usage`.
    **params : Any
        Sent with each question, untouched: ``temperature``, ``max_tokens``, ``provider``, ...

    Raises
    ------
    ConfigError
        `model` is neither an id nor something that has one.

    Examples
    --------
    >>> chat = Chat("openai/gpt-4o-mini", system="Be brief.", temperature=0)
    >>> chat.model, chat.conversation.system, chat.params
    ('openai/gpt-4o-mini', 'Be brief.', {'temperature': 0})
    """

    _esm = HERE.with_suffix(".js")
    _css = HERE.with_suffix(".css")

    model = t.Unicode(None, allow_none=True).tag(sync=True)
    """Id of the model that is asked next; None for the service's default."""

    service = t.Unicode("").tag(sync=True)
    """Who is asked: "offline", or the host of a live service; empty before it is known."""

    _default_model = t.Unicode("").tag(sync=True)
    _chat_id = t.Unicode().tag(sync=True)

    # Also there when __init__ refused its arguments: Python closes what it throws away.
    _call: _Call | None = None
    _picker: Any = None

    def __init__(
        self,
        model: Any = None,
        *,
        system: str | None = None,
        client: Client | None = None,
        label: str = "chat",
        **params: Any,
    ) -> None:
        self._picker = model if hasattr(model, "observe") else None
        chosen = None if self._picker is not None or model is None else session.model_id(model)
        super().__init__(model=chosen, _chat_id=secrets.token_hex(6))
        self._client = client
        self._label = label
        self._params = dict(params)
        self._conversation = Conversation(system)
        self._html: dict[str, str] = {}
        self._lock = threading.RLock()
        self._sequence = 0
        self._whole_due = 0.0
        self._handle: DisplayHandle | None = None
        self._page: str | None = None
        # What is sent in the context of the page's newest message keeps open the channel on which
        # a click is heard while a cell runs (ipykernel 7).
        self._context = contextvars.copy_context()
        self.on_msg(self._heard)
        if self._picker is not None:
            self._picker.observe(self._follow, names=["value"])
            self._follow()

    # ------------------------------------------------------------------ what was said

    @property
    def conversation(self) -> Conversation:
        """The turns so far, with the facts of each answer."""
        return self._conversation

    @property
    def df(self) -> pd.DataFrame:
        """The turns as a table, one row each; `ornb.conversation.COLUMNS` documents it."""
        return self._conversation.df

    @property
    def params(self) -> dict[str, Any]:
        """What is sent with each question; change it for the questions to come."""
        return self._params

    @property
    def label(self) -> str:
        """Your word for these calls in `ornb.usage`."""
        return self._label

    @property
    def busy(self) -> bool:
        """Whether an answer is being written."""
        return self._call is not None

    # ------------------------------------------------------------------ asking

    def ask(self, prompt: str, **params: Any) -> Reply:
        """Ask, and wait for the answer, which also streams into the widget.

        A notebook that runs from top to bottom waits here. The interrupt button stops it; what
        had arrived stays in the conversation.

        Parameters
        ----------
        prompt : str
            What to say.
        **params : Any
            For this question alone, over those of the chat; `model` and `label` too.

        Returns
        -------
        Reply
            The answer.

        Raises
        ------
        ConfigError
            The prompt is empty, or an answer is still being written.
        OrnbError
            Whatever went wrong; its ``reply`` has what arrived.
        KeyboardInterrupt
            It was interrupted.

        Examples
        --------
        >>> Chat(system="Be brief.").ask("What is a token?").source
        'canned'
        """
        call = self._begin(prompt, params, blocking=True)
        try:
            while not call.ended.wait(0.2):  # a bare wait cannot be interrupted on Windows
                pass
        except KeyboardInterrupt:
            self.stop()
            call.ended.wait(2 * PATIENCE_S)
            raise
        return self._outcome(call)

    def start(self, prompt: str, **params: Any) -> None:
        """Ask without waiting, as the Send button does. `wait` waits for it.

        Parameters
        ----------
        prompt : str
            What to say.
        **params : Any
            For this question alone, over those of the chat; `model` and `label` too.

        Raises
        ------
        ConfigError
            The prompt is empty, or an answer is still being written.

        Examples
        --------
        >>> chat = Chat()
        >>> chat.start("What is a token?")
        >>> chat.wait().status
        'ok'
        """
        self._begin(prompt, params)

    def wait(self, timeout_s: float | None = None) -> Reply | None:
        """Wait until no answer is being written.

        Parameters
        ----------
        timeout_s : float, optional
            Seconds to wait at most.

        Returns
        -------
        Reply or None
            The answer that was waited for, or the last one; None if there is none, or time is up.

        Raises
        ------
        OrnbError
            What was waited for went wrong.

        Examples
        --------
        >>> Chat().wait() is None
        True
        """
        call = self._call
        if call is None:
            head = self._conversation.head
            return head.reply if head else None
        return self._outcome(call) if call.ended.wait(timeout_s) else None

    def stop(self) -> None:
        """Stop the answer that is being written, at once, and keep what has arrived.

        Examples
        --------
        >>> Chat().stop()
        """
        with self._lock:
            call = self._call
            if call is None or call.stopping:
                return
            call.stopping = True
            stream = call.stream
        if stream is not None:
            stream.close()
        # A connection that is only being made cannot be cut; the chat goes on without it.
        late = threading.Timer(PATIENCE_S, self._end, (call,))
        late.daemon = True
        late.start()

    def clear(self) -> None:
        """Start a new conversation, with the same model, system message and parameters.

        Examples
        --------
        >>> chat = Chat()
        >>> chat.clear()
        >>> len(chat.conversation)
        0
        """
        self._replace(Conversation(self._conversation.system))

    @classmethod
    def reopen(cls, source: Any, model: Any = None, **kwargs: Any) -> Chat:
        """Go on with a conversation that was saved.

        Parameters
        ----------
        source : str, Path, Conversation or mapping
            A notebook or a JSON file; a conversation, a transcript, or an output that holds one.
        model : str or ModelPicker, optional
            By default the model that was asked last.
        **kwargs : Any
            As for `Chat`.

        Returns
        -------
        Chat
            With all turns.

        Raises
        ------
        ConfigError
            There is no conversation in it.

        Examples
        --------
        >>> chat = Chat.reopen(Chat(system="Be brief.").conversation.to_json())
        >>> chat.conversation.system
        'Be brief.'
        """
        conversation = _conversation_in(source)
        asked = [turn.reply.requested_model for turn in conversation.path if turn.reply]
        chat = cls(model if model is not None else next(reversed(asked), None), **kwargs)
        if "system" in kwargs:
            conversation.system = kwargs["system"]
        chat._replace(conversation)
        return chat

    def _begin(self, prompt: Any, params: Mapping[str, Any], *, blocking: bool = False) -> _Call:
        if not isinstance(prompt, str) or not prompt.strip():
            raise ConfigError("The prompt is empty, so nothing was sent. Write a prompt first.")
        several = self._picker is not None and self.model is None
        own = {"model": self._picker if several else self.model, "label": self._label}
        with self._lock:
            if self._call is not None:
                raise ConfigError(
                    "An answer is still being written, so nothing was sent. Stop it or wait for it."
                )
            question = self._conversation.add_user(well_formed(prompt))
            call = _Call(question, {**own, **self._params, **params}, blocking=blocking)
            messages = self._conversation.messages()
            self._call = call
            if self._page is None:
                self._tell_state()
            else:
                self._tell("asked", turn=self._for_page(question), live=self._live(call))
        run = contextvars.copy_context().run
        threading.Thread(
            target=run, args=(self._work, call, messages), name="ornb-chat", daemon=True
        ).start()
        return call

    def _work(self, call: _Call, messages: list[dict[str, Any]]) -> None:
        """Read the answer to its end. Runs in a thread of its own."""
        news, leave = PACER.join(lambda: self._flush(call))
        try:
            client = self._meet()
            params = dict(call.params)
            call.stream = client.stream(messages, session.model_id(params.pop("model")), **params)
            if call.stopping:
                call.stream.close()
            for event in call.stream:
                if call.answer.add(event):
                    news()
        except OrnbError as error:
            call.error = error
        except Exception as error:  # noqa: BLE001 - a thread's errors are seen by nobody
            call.error = OrnbError(describe(error))
        finally:
            leave()
            self._end(call)

    def _flush(self, call: _Call) -> float:
        """Send what is new of an answer. Runs on the pacer's thread.

        When "Run all" asks right below the cell that shows the chat, the page's greeting waits
        behind that question, and its script may load in the middle of the answer. So a page that
        has not been heard gets the whole now and then, and need not ask for it.
        """
        with self._lock:
            change = None if self._call is not call else call.answer.patch()
            if change is not None and self._page is None and monotonic() >= self._whole_due:
                self._tell_state()
            elif change is not None:
                self._tell("delta", **change)
        return call.answer.wait_s

    def _end(self, call: _Call) -> None:
        """Put the answer into the conversation, once, whoever comes first."""
        if call.reply is None:
            PACER.turn()
        with self._lock:
            if call.reply is not None:
                return
            call.reply = self._reply_of(call)
            try:
                change = call.answer.finish()
                turn = self._conversation.add_reply(call.reply, parent_id=call.question.id)
                self._html[turn.id] = call.answer.html
                self._tell("done", turn=self._for_page(turn), change=change)
                self._update_kept()
            finally:  # whatever happens, nobody waits for ever
                self._call = None
                call.ended.set()

    def _reply_of(self, call: _Call) -> Reply:
        status = "stopped" if call.stopping else "error" if call.error else "ok"
        reply = call.error.reply if call.error else None
        if reply is None and call.stream is not None:
            reply = call.stream.reply
        if reply is None:
            reply = Reply(requested_model=self.model, label=self._label)
        error = str(call.error) if status == "error" else None
        return dataclasses.replace(reply, status=status, error=error)

    def _outcome(self, call: _Call) -> Reply:
        if call.error is not None and not call.stopping:
            call.error.reply = call.error.reply or call.reply
            raise call.error
        assert call.reply is not None  # noqa: S101 - set before `ended` is
        return call.reply

    def _replace(self, conversation: Conversation) -> None:
        if self._call is not None:
            self.stop()
            self._call.ended.wait(5)
        with self._lock:
            self._conversation = conversation
            self._html.clear()
            self._tell_state()
        self._update_kept()

    def _follow(self, _: Any = None) -> None:
        """Take over what is chosen in the picker."""
        with self.guard():
            chosen = getattr(self._picker, "value", None)
            if isinstance(chosen, tuple):
                if len(chosen) > 1:
                    self.model = None
                    raise ConfigError("Several models are chosen; choose one to chat with.")
                chosen = chosen[0] if chosen else None
            self.model = chosen

    def _meet(self) -> Client:
        """Give the client, and tell the page who that is."""
        client = self._client or session.client()
        offline = client.source == "offline"
        self.service = "offline" if offline else urlsplit(client.base_url).netloc
        if (
            self.model is None
            and self._client is None
            and (offline or client.base_url == OPENROUTER)
        ):
            self._default_model = session.default_model() or ""
        return client

    # ------------------------------------------------------------------ the page

    def _heard(self, _: Any, content: Any, __: Any) -> None:
        """Take a message of the page's."""
        self._context = contextvars.copy_context()
        kind = content.get("type") if isinstance(content, dict) else None
        if kind == "hello":
            self._page = self._page or content.get("page")
            self._tell_state()
        elif kind == "ping":
            self._tell("pong")
        elif kind == "stop":
            self.stop()
        elif kind == "ask":
            prompt = content.get("text")
            with self.guard():
                try:
                    self._begin(prompt, {})
                except ConfigError as error:
                    self._tell("refused", text=str(error), prompt=prompt)

    def _tell(self, kind: str, **content: Any) -> None:
        """Send the page a message, numbered, so that it notices when one was lost."""
        with self._lock:
            self._sequence += 1
            message = {"type": kind, "seq": self._sequence, **content}
            self._context.copy().run(self.send, message)

    def _tell_state(self) -> None:
        """Send the page everything."""
        with self._lock:
            live = self._call and {**self._live(self._call), **self._call.answer.snapshot()}
            turns = [self._for_page(turn, whole=True) for turn in self._conversation.path]
            self._tell("state", turns=turns, live=live, page=self._page if self._handle else None)
            self._whole_due = monotonic() + WHOLE_EVERY_S

    def _live(self, call: _Call) -> dict[str, Any]:
        """What the page says of an answer before anything has come."""
        asked = call.params["model"]
        return {"who": asked if isinstance(asked, str) else "", "blocking": call.blocking}

    def _for_page(self, turn: Turn, *, whole: bool = False) -> dict[str, Any]:
        """A turn as the page draws it; all of it text, but for what `rendering` made safe."""
        reply = turn.reply
        data: dict[str, Any] = {"id": turn.id, "role": turn.role}
        if reply is None:
            return data | {"text": turn.text}
        said = facts(reply)
        data |= {
            "who": reply.model or reply.requested_model or "",
            "provider": reply.provider or "",
            "source": reply.source,
            "source_label": said.source,
            "facts": said.numbers,
            "note": reply.note or "",
            "error": reply.error or "",
            "status": reply.status,
            "pictures": pictures_html(reply),
        }
        if whole:
            if turn.id not in self._html:
                self._html[turn.id] = render(turn.text)
            data |= {"html": self._html[turn.id], "think": reply.reasoning}
        return {name: well_formed(v) if isinstance(v, str) else v for name, v in data.items()}

    # ------------------------------------------------------------------ the output that stays

    def _ipython_display_(self) -> None:
        with self.guard():
            self._meet()
        self.keep()
        bundle = self._repr_mimebundle_()
        if bundle is not None:
            display(bundle[0], metadata=bundle[1], raw=True)  # type: ignore[no-untyped-call]

    def keep(self) -> None:
        """Show, here, the output that stays; it is brought up to date when an answer ends.

        Showing a chat by itself does this. Call it for a chat inside a box with other widgets.

        Examples
        --------
        >>> chat = Chat()
        >>> chat.keep()  # doctest: +SKIP
        """
        self._page = None  # the next page to say hello is the one that shows this output
        self._handle = display(  # type: ignore[no-untyped-call]
            self._bundle(), raw=True, display_id=True
        )

    def _bundle(self) -> dict[str, Any]:
        name = f"ornb-static-{self._chat_id}"
        return transcript(self._conversation, css_class=name, rendered=self._html)

    def _update_kept(self) -> None:
        """Bring the output that stays up to date."""
        if self._handle is not None:
            self._handle.update(self._bundle(), raw=True)  # type: ignore[no-untyped-call]

    def _static_text(self) -> str:
        count = len(self._conversation) if hasattr(self, "_conversation") else 0
        return f"Chat, {count} message{'' if count == 1 else 's'} (needs a running kernel)"

    def close(self) -> None:
        """End the widget: stop the answer, let go of the picker.

        Examples
        --------
        >>> Chat().close()
        """
        if self._call is not None:
            self.stop()
        if self._picker is not None:
            with contextlib.suppress(ValueError):
                self._picker.unobserve(self._follow, names=["value"])
        super().close()


def _conversation_in(source: Any) -> Conversation:
    """Find the conversation in whatever a person has at hand."""
    if isinstance(source, Conversation):
        return Conversation.from_json(source.to_json())
    if isinstance(source, Mapping):
        data = source.get("data", source)
        return Conversation.from_json(data.get(MIME_TRANSCRIPT, data))
    if isinstance(source, str) and source.lstrip().startswith("{"):
        return Conversation.from_json(source)
    if isinstance(source, str | Path):
        return Conversation.load(source)
    raise ConfigError(
        f"A {type(source).__name__} holds no conversation; give a notebook, a JSON file, or a "
        "transcript."
    )
