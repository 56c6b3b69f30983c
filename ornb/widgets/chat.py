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
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import traitlets as t
from IPython.display import DisplayHandle, display

from .. import export, session
from ..client import OPENROUTER
from ..conversation import MIME_TRANSCRIPT, Content, Conversation, Turn, well_formed
from ..errors import ConfigError, ContextTooLong, OrnbError
from ..request import attachments
from ..request.attachments import MAX_BYTES, Attachment
from ..request.parameters import Parameter, parameter_table
from ..request.tools import toolbox
from ..text.rendering import transcript
from ..wire.reply import Reply, Timing
from . import settings
from .base import Widget, describe
from .exchange import Exchange, explained
from .live import PACER
from .shown import body_html, file_for_page, turn_for_page

if TYPE_CHECKING:
    import pandas as pd

    from ..client import Client

HERE = Path(__file__)

PATIENCE_S = 0.4
"""How long Stop waits for the network to let go, before it goes on without it."""


WHOLE_EVERY_S = 1.0
"""How often a page that has not been heard yet gets the whole conversation."""


KEPT_EVERY_S = 5.0
"""How often the output that stays is brought up to date while an answer is being written, so that
a kernel that ends takes little with it."""
KEPT_BYTES_PER_S = 1_500
"""And what that may cost: a longer conversation is brought up to date less often."""

MOST_FILES = 20
"""Attachments that may wait in the page to be sent; of more, the oldest are let go."""


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
    tools : iterable
        Python functions that the model may ask for, or `ornb.request.tools.Tool`.
    confirm : bool
        Whether each call of a tool is shown and has to be allowed: by a button in the widget, or
        in the cell when `ask` waits there.
    **params : Any
        Sent with each question, untouched: ``temperature``, ``max_tokens``, ``models`` (fallbacks),
        ``provider`` (routing), ... The drawer "Settings" shows and changes them.

    Raises
    ------
    ConfigError
        `model` is neither an id nor something that has one, or a tool cannot be one.

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
    _call: Exchange | None = None
    _picker: Any = None
    _leave_conversation: Callable[[], None] | None = None

    def __init__(
        self,
        model: Any = None,
        *,
        system: str | None = None,
        client: Client | None = None,
        label: str = "chat",
        tools: Iterable[Any] = (),
        confirm: bool = True,
        **params: Any,
    ) -> None:
        tools = tuple(tools)
        toolbox(tools)
        self._picker = model if hasattr(model, "observe") else None
        chosen = None if self._picker is not None or model is None else session.model_id(model)
        super().__init__(model=chosen, _chat_id=secrets.token_hex(6))
        self._client = client
        self._label = label
        self._params = dict(params)
        self._tools, self._confirm = tools, confirm
        self._lock = threading.RLock()
        self._html: dict[str, str] = {}
        self._files: dict[str, Attachment] = {}
        self._uploads: dict[str, bytearray] = {}
        self._catalogue_of_client: pd.DataFrame | None = None
        self._value: Any = None
        self._mine = False
        self._take_conversation(Conversation(system))
        self._sequence = 0
        self._whole_due = self._kept_due = self._kept_wait = 0.0
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
    def value(self) -> Any:
        """The last answer as the ``schema`` of its question has it; None without one."""
        return self._value

    @property
    def system(self) -> str | None:
        """The message to the model that goes before all others."""
        return self._conversation.system

    @system.setter
    def system(self, text: str | None) -> None:
        self._conversation.system = text

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

    def ask(self, prompt: str, *, attach: Any = (), schema: Any = None, **params: Any) -> Reply:
        """Ask, and wait for the answer, which also streams into the widget.

        A notebook that runs from top to bottom waits here. The interrupt button stops it; what
        had arrived stays in the conversation.

        Parameters
        ----------
        prompt : str
            What to say. May be empty when something is attached.
        attach : path, address, bytes, Attachment or a list of them
            Images, PDFs, sound. Checked against what the model takes before anything is sent.
        schema : type or mapping, optional
            The shape of the answer: a pydantic model, a dataclass, a TypedDict, a JSON schema.
            `value` has the answer in it.
        **params : Any
            For this question alone, over those of the chat; `model` and `label` too.

        Returns
        -------
        Reply
            The answer.

        Raises
        ------
        ConfigError
            The prompt is empty, an answer is still being written, an attachment cannot be sent, or
            a tool would have to be allowed and nobody can be asked.
        SchemaMismatch
            The answer is not of the shape that was asked for.
        OrnbError
            Whatever went wrong; its ``reply`` has what arrived.
        KeyboardInterrupt
            It was interrupted.

        Examples
        --------
        >>> Chat(system="Be brief.").ask("What is a token?").source
        'canned'
        """
        return self._waited(
            self._begin(prompt, params, attach=attach, schema=schema, blocking=True)
        )

    def regenerate(self, model: Any = None, **params: Any) -> Reply:
        """Ask the last question again, and wait; the answer before stays on a branch of its own.

        Parameters
        ----------
        model : str or ModelPicker, optional
            Another model, for this time.
        **params : Any
            For this time, over those of the chat.

        Returns
        -------
        Reply
            The new answer.

        Raises
        ------
        ConfigError
            Nothing was asked yet, or an answer is still being written.
        OrnbError
            As for `ask`.

        Examples
        --------
        >>> chat = Chat()
        >>> _ = chat.ask("What is a token?"), chat.regenerate()
        >>> len(chat.conversation), len(chat.conversation.turns)
        (2, 3)
        """
        if model is not None:
            params["model"] = session.model_id(model)
        return self._waited(self._again(None, params, blocking=True))

    def edit(self, turn: Turn | str, text: str, **params: Any) -> Reply:
        """Word an earlier question anew, go on from there, and wait for the answer.

        What was said before stays on a branch of its own: ``chat.conversation.branches(turn)``.

        Parameters
        ----------
        turn : Turn or str
            A question of ``chat.conversation``, or its id. What is attached to it stays.
        text : str
            What to say instead.
        **params : Any
            For this time, over those of the chat.

        Returns
        -------
        Reply
            The answer.

        Raises
        ------
        ConfigError
            There is no such question, the text is empty, or an answer is still being written.
        OrnbError
            As for `ask`.

        Examples
        --------
        >>> chat = Chat()
        >>> _ = chat.ask("What is a tokn?")
        >>> _ = chat.edit(chat.conversation.path[0], "What is a token?")
        >>> [len(chat.conversation), len(chat.conversation.branches("1"))]
        [2, 2]
        """
        return self._waited(self._reworded(turn, text, params, blocking=True))

    def start(self, prompt: str, *, attach: Any = (), schema: Any = None, **params: Any) -> None:
        """Ask without waiting, as the Send button does. `wait` waits for it.

        Parameters
        ----------
        prompt, attach, schema
            As for `ask`.
        **params : Any
            For this question alone, over those of the chat; `model` and `label` too.

        Raises
        ------
        ConfigError
            As for `ask`.

        Examples
        --------
        >>> chat = Chat()
        >>> chat.start("What is a token?")
        >>> chat.wait().status
        'ok'
        """
        self._begin(prompt, params, attach=attach, schema=schema)

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
            call.stop()
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

    def save(self, path: str | Path) -> Path:
        """Write the conversation to a file, in the form that its suffix says.

        Parameters
        ----------
        path : str or Path
            Ends in ``.md`` (to read), ``.json`` (all of it, for `reopen`) or ``.ipynb`` (a fresh
            notebook that goes on with it). A file that is there is replaced.

        Returns
        -------
        Path
            Where it is.

        Raises
        ------
        ConfigError
            The suffix is another one, or the file cannot be written.

        Examples
        --------
        >>> from tempfile import mkdtemp
        >>> Chat(system="Be brief.").save(Path(mkdtemp()) / "talk.md").name
        'talk.md'
        """
        return export.save(self._conversation, path)

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

    def _waited(self, call: Exchange) -> Reply:
        try:
            while not call.ended.wait(0.2):  # a bare wait cannot be interrupted on Windows
                call.ask_person()
        except KeyboardInterrupt:
            self.stop()
            call.ended.wait(2 * PATIENCE_S)
            raise
        return self._outcome(call)

    def _begin(
        self,
        prompt: Any,
        params: Mapping[str, Any],
        *,
        attach: Any = (),
        schema: Any = None,
        blocking: bool = False,
    ) -> Exchange:
        files = [Attachment.of(one) for one in _listed(attach)]
        content = self._content(prompt, files, params)
        talk = self._conversation

        def put() -> tuple[Turn, str | None, list[Turn]]:
            before = talk.head
            question = talk.add_user(content)
            return question, before.id if before else None, [question]

        return self._set_off(put, params, schema=schema, blocking=blocking)

    def _again(self, answer: Any, params: Mapping[str, Any], *, blocking: bool = False) -> Exchange:
        talk = self._conversation

        def put() -> tuple[Turn, str | None, list[Turn]]:
            last = talk.head if answer is None else _turn_of(talk, answer)
            if last is not None and last.role == "assistant" and last.parent_id is not None:
                last = _turn_of(talk, last.parent_id)
            if last is None or last.role != "user":
                raise ConfigError("Nothing was asked yet, so there is nothing to answer again.")
            talk.go_to(last)
            return last, last.id, []

        return self._set_off(put, params, blocking=blocking)

    def _reworded(
        self, turn: Any, text: Any, params: Mapping[str, Any], *, blocking: bool = False
    ) -> Exchange:
        talk = self._conversation
        old = _turn_of(talk, turn)
        if old.role != "user":
            raise ConfigError(f"Turn {old.id!r} is an answer; only a question can be edited.")
        parts = [] if isinstance(old.content, str) else list(old.content)
        kept = [dict(part) for part in parts if part.get("type") != "text"]
        content: Content = self._content(text, [], params, free=bool(kept))
        if kept:
            content = [*([{"type": "text", "text": content}] if content else []), *kept]

        def put() -> tuple[Turn, str | None, list[Turn]]:
            question = talk.add_user(content, parent_id=old.parent_id)
            return question, old.parent_id, [question]

        return self._set_off(put, params, blocking=blocking)

    def _content(
        self, prompt: Any, files: list[Attachment], params: Mapping[str, Any], *, free: bool = False
    ) -> Content:
        """The question as it will be sent, once all of it can be."""
        empty = not isinstance(prompt, str) or not prompt.strip()
        if empty and not files and not free:
            refused = ConfigError("The prompt is empty, so nothing was sent. Write a prompt first.")
            self._note_refused(refused)
            raise refused
        text = "" if empty else well_formed(prompt)
        if not files:
            return text
        self._check(files, params)
        return attachments.content(text, files)

    def _note_refused(self, error: OrnbError) -> None:
        """Have the call that was not made in the ledger, as `ornb.ask` has it."""
        client = self._client or session.client()
        if client.on_call is not None:
            began = Timing(started_at=datetime.now(UTC))
            client.on_call(
                Reply(
                    requested_model=self.model,
                    status="error",
                    error=str(error),
                    label=self._label,
                    timing=began,
                )
            )

    def _check(self, files: list[Attachment], params: Mapping[str, Any]) -> None:
        """Refuse what the model cannot take; a service that lists nothing may take anything."""
        params = {**self._params, **params}
        model = session.model_id(params.get("model", self.model))
        plugins = params.get("plugins") or ()
        attachments.check(files, model, self._catalogue(), plugins=plugins)

    def _catalogue(self) -> pd.DataFrame | None:
        """The models of the service; None where it does not say."""
        from ..catalog import to_frame

        with contextlib.suppress(OrnbError):
            if self._client is None:
                return session.models()
            if self._catalogue_of_client is None:
                records = self._client.models()
                self._catalogue_of_client = to_frame(records, **records.origin._asdict())
        return self._catalogue_of_client

    def _set_off(
        self,
        put: Callable[[], tuple[Turn, str | None, list[Turn]]],
        params: Mapping[str, Any],
        *,
        schema: Any = None,
        blocking: bool = False,
    ) -> Exchange:
        """Put the question where it belongs, and have a thread read the answer."""
        several = self._picker is not None and self.model is None
        own = {"model": self._picker if several else self.model, "label": self._label}
        with self._lock:
            if self._call is not None:
                raise ConfigError(
                    "An answer is still being written, so nothing was sent. Stop it or wait for it."
                )
            call = Exchange(
                Turn("", None, "user", ""),
                {**own, **self._params, **params},
                blocking=blocking,
                tools=self._tools,
                confirm=self._confirm,
                schema=schema,
                on_call=lambda shown: self._tell("tool", call=shown),
            )
            with self._own_change():
                call.question, after, turns = put()
            messages = self._conversation.messages()
            long = self._kept_wait > KEPT_EVERY_S
            self._kept_due = monotonic() + self._kept_wait * long  # a short one is kept at once
            self._call = call
            if self._page is None:
                self._tell_state()
            else:
                shown = [self._for_page(turn) for turn in turns]
                self._tell("asked", after=after, turns=shown, live=self._live(call))
        run = contextvars.copy_context().run
        threading.Thread(
            target=run, args=(self._work, call, messages), name="ornb-chat", daemon=True
        ).start()
        return call

    def _work(self, call: Exchange, messages: list[dict[str, Any]]) -> None:
        """Read the answer to its end. Runs in a thread of its own."""
        news, leave = PACER.join(lambda: self._flush(call))
        try:
            call.read(self._meet(), messages, news)
        except ContextTooLong as error:
            call.error = error
            asked = call.params["model"]
            with contextlib.suppress(OrnbError):
                model = session.model_id(asked)
                call.error = explained(error, messages, model, self._catalogue())
        except OrnbError as error:
            call.error = error
        except Exception as error:  # noqa: BLE001 - a thread's errors are seen by nobody
            call.error = OrnbError(describe(error))
        finally:
            leave()
            self._end(call)

    def _flush(self, call: Exchange) -> float:
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
            if change is not None and self._handle is not None and monotonic() >= self._kept_due:
                self._keep_part(call)
        return call.answer.wait_s

    def _keep_part(self, call: Exchange) -> None:
        """Bring the output that stays up to date in mid-answer."""
        talk = self._conversation.light()
        if call.stream is not None and call.answer.has_text:
            part = dataclasses.replace(call.stream.reply, status="stopped")
            talk.add_reply(part, parent_id=call.question.id, steps=call.steps)
        bundle = self._bundle(talk)
        size = 2 * len(bundle["text/html"]) + len(bundle["text/plain"])  # the JSON is about one
        self._kept_wait = max(KEPT_EVERY_S, size / KEPT_BYTES_PER_S)
        self._kept_due = monotonic() + self._kept_wait
        if self._handle is not None:
            self._handle.update(bundle, raw=True)  # type: ignore[no-untyped-call]

    def _end(self, call: Exchange) -> None:
        """Put the answer into the conversation, once, whoever comes first."""
        if call.reply is None:
            PACER.turn()
        with self._lock:
            if call.reply is not None:
                return
            call.reply = self._reply_of(call)
            try:
                change = call.answer.finish()
                talk, here = self._conversation, self._conversation.head
                with self._own_change():
                    turn = talk.add_reply(call.reply, parent_id=call.question.id, steps=call.steps)
                self._value = call.value
                html = body_html(call.reply, call.answer.html)
                self._html[turn.id] = html
                if html != call.answer.html:
                    change = {**change, "replace": html}
                if here is not None and here.id != call.question.id:
                    self._call = None  # somebody went to another branch meanwhile
                    self._tell_state()
                else:
                    self._tell("done", turn=self._for_page(turn), change=change)
                self._update_kept()
            finally:  # whatever happens, nobody waits for ever
                self._call = None
                call.ended.set()

    def _reply_of(self, call: Exchange) -> Reply:
        status = "stopped" if call.stopping else "error" if call.error else "ok"
        reply = call.error.reply if call.error else None
        if reply is None and call.stream is not None:
            reply = call.stream.reply
        if reply is None:
            reply = Reply(requested_model=self.model, label=self._label)
        error = str(call.error) if status == "error" else None
        return dataclasses.replace(reply, status=status, error=error)

    def _outcome(self, call: Exchange) -> Reply:
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
            self._take_conversation(conversation)
            self._html.clear()
            self._tell_state()
        self._update_kept()

    def _take_conversation(self, conversation: Conversation) -> None:
        if self._leave_conversation is not None:
            self._leave_conversation()
        self._conversation = conversation
        self._leave_conversation = conversation.on_change(self._on_change)

    @contextlib.contextmanager
    def _own_change(self) -> Iterator[None]:
        """Change the conversation without being told of it."""
        self._mine = True
        try:
            yield
        finally:
            self._mine = False

    def _on_change(self) -> None:
        """Show what code did with the conversation."""
        with self._lock:
            if self._mine:
                return
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

    def _heard(self, _: Any, content: Any, buffers: Any) -> None:
        """Take a message of the page's."""
        self._context = contextvars.copy_context()
        if not isinstance(content, dict):
            return
        kind, said_id = content.get("type"), str(content.get("id"))
        if kind == "hello":
            self._page = self._page or content.get("page")
            self._tell_state()
        elif kind in ("ask", "again", "edit", "go"):
            self._obey(kind, content)
        elif kind in ("settings", "set", "reset"):
            self._aside(lambda: self._tell_settings(kind, content))
        elif kind == "attach":
            self._receive(said_id, content, buffers)
        elif kind == "allow" and self._call is not None:
            self._call.decide(said_id, allowed=content.get("yes") is True)
        else:
            self._obey_plainly(kind, said_id)

    def _obey_plainly(self, kind: Any, said_id: str) -> None:
        if kind == "ping":
            self._tell("pong")
        elif kind == "stop":
            self.stop()
        elif kind == "detach":
            self._files.pop(said_id, None)

    def _obey(self, kind: str, content: Mapping[str, Any]) -> None:
        """Do what a button asks for; a refusal goes back to the page with what was typed."""
        prompt, turn = content.get("text"), content.get("turn")

        def ask() -> None:
            wanted = content.get("files")
            ids = [str(one) for one in wanted] if isinstance(wanted, list) else []
            files = [self._files[one] for one in ids if one in self._files]
            self._begin(prompt, {}, attach=files)
            for one in ids:
                self._files.pop(one, None)

        def go() -> None:
            if self._call is not None:
                raise ConfigError("An answer is still being written. Stop it or wait for it.")
            self._switch(str(turn))

        deeds: dict[str, Callable[[], object]] = {
            "ask": ask,
            "again": lambda: self._again(turn, {}),
            "edit": lambda: self._reworded(turn, prompt, {}),
            "go": go,
        }

        def do() -> None:
            try:
                deeds[kind]()
            except ConfigError as error:
                self._tell("refused", text=str(error), prompt=prompt)

        if content.get("files"):
            self._aside(do)  # it may have to ask for the catalogue
        else:
            with self.guard():
                do()

    def _switch(self, turn_id: str) -> None:
        """Go to another branch; the page keeps what both have in common."""
        talk = self._conversation
        with self._lock:
            before = [turn.id for turn in talk.path]
            with self._own_change():
                talk.go_to(talk.tip(turn_id))
            path = talk.path
            common = [turn for turn, old in zip(path, before, strict=False) if turn.id == old]
            rest = [self._for_page(turn, whole=True) for turn in path[len(common) :]]
            self._tell("path", after=common[-1].id if common else None, turns=rest)
        self._update_kept()

    def _aside(self, deed: Callable[[], object]) -> None:
        """Do something that may take a while, so that the kernel stays free."""

        def do() -> None:
            with self.guard():
                deed()

        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(do,), name="ornb-chat-aside", daemon=True).start()

    def _receive(self, file_id: str, content: Mapping[str, Any], buffers: Any) -> None:
        """Take a piece of a file; Jupyter lets no message through that is larger than 10 MB."""
        held = self._uploads.setdefault(file_id, bytearray())
        for piece in buffers or ():
            if len(held) <= MAX_BYTES:
                held += bytes(piece)
        if content.get("last"):
            data, name = bytes(self._uploads.pop(file_id)), str(content.get("name") or "")
            self._aside(lambda: self._tell_attached(file_id, data, name))

    def _tell_attached(self, file_id: str, data: bytes, name: str) -> None:
        """Check a file that was dropped or chosen, and tell the page what came of it."""
        try:
            one = Attachment.from_bytes(data, name)
            self._check([one], {})
        except ConfigError as error:
            self._tell("attached", id=file_id, refused=str(error))
            return
        while len(self._files) >= MOST_FILES:
            self._files.pop(next(iter(self._files)))
        self._files[file_id] = one
        shown = {key: value for key, value in file_for_page(one).items() if key != "url"}
        self._tell("attached", id=file_id, file=shown)

    def _tell_settings(self, kind: str, content: Mapping[str, Any]) -> None:
        """Change a setting if that was asked for, and give the page all of them."""
        problem, name = "", content.get("name")
        try:
            if kind == "reset":
                settings.reset(self._params, self._table())
            elif kind == "set":
                self._set(str(name), content.get("value"))
        except ConfigError as error:
            problem = str(error)
        frame = self._catalogue() if content.get("models") else None
        told = settings.described(self._params, self._table())
        told |= {"system": self.system or "", "problem": problem, "name": name}
        if frame is not None:
            told["ids"] = list(map(str, frame.index))
        self._tell("settings", **told)

    def _set(self, name: str, value: Any) -> None:
        if name == "system":
            self.system = str(value or "").strip() or None
        elif name == "model":
            self.model = str(value or "").strip() or None
        else:
            settings.change(self._params, self._table(), name, value)

    def _table(self) -> list[Parameter]:
        """What can be set of the model; all there is, where nothing is known of it."""
        frame = self._catalogue()
        record: Any = {}
        with contextlib.suppress(OrnbError):
            model = session.model_id(self.model)
            if frame is not None and model in frame.index:
                record = frame.at[model, "raw"]
        return parameter_table(record)

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

    def _live(self, call: Exchange) -> dict[str, Any]:
        """What the page says of an answer before anything has come."""
        asked = call.params["model"]
        return {
            "who": asked if isinstance(asked, str) else "",
            "blocking": call.blocking,
            "steps": list(call.calls),
        }

    def _for_page(self, turn: Turn, *, whole: bool = False) -> dict[str, Any]:
        """A turn as the page draws it; all of it text, but for what `rendering` made safe."""
        html = None
        if whole and turn.reply is not None:
            if turn.id not in self._html:
                self._html[turn.id] = body_html(turn.reply)
            html = self._html[turn.id]
        return turn_for_page(turn, html=html, branches=self._conversation.branches(turn))

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

    def _bundle(self, talk: Conversation | None = None) -> dict[str, Any]:
        name = f"ornb-static-{self._chat_id}"
        talk = talk or self._conversation.light()
        return transcript(talk, css_class=name, rendered=self._html)

    def _update_kept(self) -> None:
        """Bring the output that stays up to date."""
        if self._handle is not None:
            self._handle.update(self._bundle(), raw=True)  # type: ignore[no-untyped-call]

    def _static_text(self) -> str:
        # Saved as it was when the chat was shown, so it must hold for later as well.
        return "Live chat (needs a running kernel); what was said is in the output above."

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
        if self._leave_conversation is not None:
            self._leave_conversation()
        super().close()


def _listed(attach: Any) -> list[Any]:
    """One attachment, or several, as a list."""
    if isinstance(attach, str | bytes | bytearray | memoryview | Path | Attachment):
        return [attach]
    return list(attach or ())


def _turn_of(talk: Conversation, turn: Any) -> Turn:
    wanted = turn.id if isinstance(turn, Turn) else turn
    found = next((one for one in talk.turns if one.id == wanted), None)
    if found is None:
        raise ConfigError(f"There is no turn {wanted!r} in this conversation.")
    return found


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
