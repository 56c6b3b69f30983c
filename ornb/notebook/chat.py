"""Chat in a notebook: streams into the page, stops at once, and is still there next year.

A widget is gone when its notebook is opened again. So a chat shows two outputs: an ordinary one
that holds the whole conversation as safe HTML, text and JSON, updated when an answer ends; and the
live widget, which hides the ordinary one for as long as it lives. `chat_page` has what is shown,
`chat_calls` what is asked.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import session
from ..api.body import check_fields, check_json, check_system
from ..api.parameters import Parameter, parameter_table
from ..api.reply import Reply
from ..catalog.filters import closest, filter_models
from ..errors import ConfigError, OrnbError
from ..ledger.bound import VIRTUAL
from ..messages import MIME_TRANSCRIPT, Conversation, Turn
from ..messages.attachments import MAX_BYTES, Attachment
from ..messages.tools import toolbox, tools_in
from ..messages.transcript import saved_in
from ..text import export
from . import settings
from .base import describe, in_thread, module, sheet, waited
from .chat_calls import ChatCalls
from .host import heard
from .picker import table_for_page
from .shown import file_for_page

if TYPE_CHECKING:
    import pandas as pd

    from ..api.client import Client

HERE = Path(__file__)

MOST_FILES = 20
"""Attachments that may wait in the page to be sent; of more, the oldest are let go, those of a page
that is there no longer first."""
WISHES = (*VIRTUAL, ":online")
"""What may follow the id of a model that is listed without it."""


class Chat(ChatCalls):
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
        Python functions that the model may ask for, or `ornb.messages.tools.Tool`.
    confirm : bool
        Whether each call of a tool is shown and has to be allowed: by a button in the widget, or
        in the cell when `ask` waits there.
    **params : Any
        Sent with each question, untouched: ``temperature``, ``max_tokens``, ``models`` (fallbacks),
        ``provider`` (routing), ... The drawer "Settings" shows and changes them.

    Raises
    ------
    ConfigError
        `model` is neither an id nor something that has one, `system` is not a text, or a tool
        is neither a function nor described as one.

    Examples
    --------
    >>> chat = Chat("openai/gpt-4o-mini", system="Be brief.", temperature=0)
    >>> chat.model, chat.conversation.system, chat.params
    ('openai/gpt-4o-mini', 'Be brief.', {'temperature': 0})
    """

    _esm = module(HERE)
    _css = sheet(HERE)

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
        check_fields({"label": label, **params}, "Chat")
        check_json(params)
        self._tools = tools_in(tools)
        toolbox(self._tools)
        self._picker = model if hasattr(model, "observe") else None
        chosen = None if self._picker is not None or model is None else session.model_id(model)
        super().__init__(Conversation(system), client, chosen)
        self._label, self._params, self._confirm = label, params, confirm
        if self._picker is not None:
            self._picker.observe(self._follow, names=["value"])
            self._follow()
        self._files: dict[str, Attachment] = {}
        self._uploads: dict[str, bytearray] = {}
        self.on_msg(self._on_message)

    # ------------------------------------------------------------------ what was said

    @property
    def df(self) -> pd.DataFrame:
        """The turns as a table, one row each; docs/tables.md describes it."""
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
        check_system(text)
        self._conversation.system = text

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
            The shape of the answer: a pydantic model, a dataclass, a TypedDict, a JSON schema. The
            reply's ``value`` has the answer in it, and `value` of the chat the last one.
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

    def regenerate(self, model: Any = None, *, schema: Any = None, **params: Any) -> Reply:
        """Ask the last question again, and wait; the answer before stays on a branch of its own.

        Parameters
        ----------
        model : str or ModelPicker, optional
            Another model, for this time.
        schema : type or mapping, optional
            As for `ask`; that of the answer before is not asked for again by itself.
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
        return self._waited(self._again(None, params, schema=schema, blocking=True))

    def edit(self, turn: Turn | str, text: str, *, schema: Any = None, **params: Any) -> Reply:
        """Word an earlier question anew, go on from there, and wait for the answer.

        What was said before stays on a branch of its own: ``chat.conversation.branches(turn)``.

        Parameters
        ----------
        turn : Turn or str
            A question of ``chat.conversation``, or its id. What is attached to it stays.
        text : str
            What to say instead.
        schema : type or mapping, optional
            As for `ask`.
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
        return self._waited(self._reworded(turn, text, params, schema=schema, blocking=True))

    def start(self, prompt: str, *, attach: Any = (), schema: Any = None, **params: Any) -> None:
        """Ask without waiting, as the Send button does. `wait` waits for it.

        Parameters
        ----------
        prompt, attach, schema, **params
            As for `ask`.

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

        Whether a tool may run is asked in the cell meanwhile, since a cell that waits keeps the
        kernel from hearing the page.

        Parameters
        ----------
        timeout_s : float, optional
            Seconds to wait at most; nothing is asked then.

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
        if timeout_s is not None or threading.current_thread() is not threading.main_thread():
            return self._outcome(call) if waited(call.ended, timeout_s) else None
        if self._tools:
            call.blocking = True
            self._tell_state()
        while not call.ended.wait(0.2):
            call.ask_person()
        return self._outcome(call)

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
    def reopen(cls, source: Any, model: Any = None, *, which: int = -1, **kwargs: Any) -> Chat:
        """Go on with a conversation that was saved.

        Parameters
        ----------
        source : str, Path, Conversation or mapping
            A notebook or a JSON file; a conversation, a transcript, or an output that holds one.
        model : str or ModelPicker, optional
            By default the model that was asked last.
        which : int
            Of a notebook with several conversations the place of the one to take, from 0; by
            default the last.
        **kwargs : Any
            As for `Chat`.

        Returns
        -------
        Chat
            With all turns.

        Raises
        ------
        ConfigError
            There is no conversation in it, or none at that place.

        Examples
        --------
        >>> chat = Chat.reopen(Chat(system="Be brief.").conversation.to_json())
        >>> chat.conversation.system
        'Be brief.'
        """
        if isinstance(source, Conversation):
            source = source.to_json()
        saved = saved_in(source, MIME_TRANSCRIPT, which)
        conversation = Conversation.from_json(saved)
        asked = [turn.reply.requested_model for turn in conversation.path if turn.reply]
        chat = cls(model if model is not None else next(reversed(asked), None), **kwargs)
        if "system" in kwargs:
            conversation.system = kwargs["system"]
        chat._replace(conversation)
        return chat

    # ------------------------------------------------------------------ what the page says

    def _on_message(self, _: Any, content: Any, buffers: Any) -> None:
        """Take a message of the page's."""
        if not isinstance(content, dict):
            return
        kind, said_id = content.get("type"), str(content.get("id"))
        if kind == "hello":
            served = heard(content)
            self._greet(content.get("page"), writes=content.get("writes") is True, served=served)
        elif kind in ("ask", "again", "edit", "go"):
            self._act(kind, content)
        elif kind in ("settings", "set", "reset"):
            self._aside(lambda: self._tell_settings(kind, content))
        elif kind == "attach":
            self._receive(said_id, content, buffers)
        elif kind == "export":
            self._aside(lambda: self._export(content))
        elif kind == "allow" and (call := self._call) is not None:
            call.decide(said_id, allowed=content.get("yes") is True)
        else:
            self._act_on_plain(kind, said_id)

    def _act_on_plain(self, kind: Any, said_id: str) -> None:
        if kind == "ping":
            self._tell("pong")
        elif kind == "stop":
            self.stop()
        elif kind == "detach":
            self._files.pop(said_id, None)

    def _act(self, kind: str, content: Mapping[str, Any]) -> None:
        """Do what a button asks for; a refusal goes back to the page with what was typed."""
        prompt, turn, files = content.get("text"), content.get("turn"), content.get("files")

        def do() -> None:
            try:
                if kind == "ask":
                    self._ask_with(files if isinstance(files, list) else [], prompt)
                elif kind == "again":
                    self._again(turn, {})
                elif kind == "edit":
                    self._reworded(turn, prompt, {})
                else:
                    self._switch(str(turn))
            except Exception as error:  # noqa: BLE001 - the page waits for word of any end
                self._tell("refused", text=describe(error), prompt=prompt)

        if files:
            self._aside(do)  # it may have to ask for the catalogue
        else:
            with self.guard():
                do()

    def _ask_with(self, files: list[Any], prompt: Any) -> None:
        """Ask with files that were handed over before."""
        ids = [str(one) for one in files]
        if gone := sum(one not in self._files for one in ids):
            raise ConfigError(
                f"{MOST_FILES} files at most can wait to be sent, and {gone} had to make room, so "
                "nothing was sent. Remove those that came first; send them with the next question."
            )
        self._begin(prompt, {}, attach=[self._files[one] for one in ids])
        for one in ids:
            self._files.pop(one, None)

    def _switch(self, turn_id: str) -> None:
        """Go to another branch; the page keeps what both have in common."""
        if self._call is not None:
            raise ConfigError("An answer is still being written. Stop it or wait for it.")
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

        in_thread("ornb-chat-aside", do)

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
        except Exception as error:  # noqa: BLE001 - the page waits for word of any end
            self._tell("attached", id=file_id, refused=describe(error))
            return
        while len(self._files) >= MOST_FILES:
            self._files.pop(next(iter(self._files)))
        self._files[file_id] = one
        shown = {key: value for key, value in file_for_page(one).items() if key != "url"}
        self._tell("attached", id=file_id, file=shown)

    def _export(self, content: Mapping[str, Any]) -> None:
        """Write the conversation for the page, which saves it where its reader keeps files."""
        name, text = f"chat.{content.get('form')}", None
        try:
            with self._lock:
                text = export.as_text(self._conversation, name)
        finally:
            self._tell("exported", page=content.get("page"), name=name, text=text)

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
            told["table"] = table_for_page(frame)
        self._tell("settings", **told)

    def _set(self, name: str, value: Any) -> None:
        if name == "system":
            self.system = str(value or "").strip() or None
        elif name == "model":
            self.model = self._listed(str(value or "").strip())
        else:
            settings.change(self._params, self._table(), name, value)

    def _listed(self, name: str) -> str | None:
        """The id of a model, or the refusal of one that the service does not list."""
        frame = self._catalogue()
        if not name or frame is None or frame.empty:
            return name or None
        known = {*frame.index, *frame["canonical_slug"].dropna(), session.LOCAL, session.CANNED, ""}
        plain = str(session.model_id(name)).partition("@preset/")[0]
        if {plain, *map(plain.removesuffix, WISHES)} & known:
            return name
        near = closest(name, frame) or list(filter_models(frame, search=name).index[:3])
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ConfigError(f"{name!r} is not among the models listed, so it was not chosen.{hint}")

    def _table(self) -> list[Parameter]:
        """What can be set of the model; all there is, where nothing is known of it."""
        frame = self._catalogue()
        record: Any = {}
        with contextlib.suppress(OrnbError):
            model = session.model_id(self.model)
            if frame is not None and model in frame.index:
                record = frame.at[model, "raw"]
        return parameter_table(record)
