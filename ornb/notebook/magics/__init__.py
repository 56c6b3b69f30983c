"""``%%ornb`` sends its cell to a model, and leaves ordinary output; ``%ornb`` tells the state.

Light to load: the rest is imported by the first cell that uses it, so that ``import ornb`` can make
the magics known in every notebook.
"""

from __future__ import annotations

import contextlib
import random
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import traitlets as t
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from ...api.body import EMPTY, check_fields, check_json
from ...api.parameters import to_request
from ...errors import ConfigError, OrnbError, near
from ...messages.placeholders import Filled, fill_in, only_value
from .. import tables
from .options import COMMANDS, OPTIONS, PARSER, Options, holds_key, read

if TYPE_CHECKING:
    from ...api.reply import Reply
    from ...messages import Conversation
    from ...messages.attachments import Attachment
    from ..chat import Chat
    from .output import CellOutput, TerminalOutput


class Stopped(KeyboardInterrupt):
    """The interrupt button was pressed; the part that had arrived is in the cell's output."""

    def _render_traceback_(self) -> list[str]:
        return ["Stopped: what had arrived is kept above."]


@magics_class
class OrnbMagics(Magics):
    """The magics ``%ornb`` and ``%%ornb``.

    Its traits are settings for all cells: ``%config OrnbMagics.model = "author/slug"``, or
    ``c.OrnbMagics.model`` in IPython's configuration file. What a cell says goes before them.
    """

    shell: InteractiveShell

    model = t.Unicode(
        None, allow_none=True, help="Model that answers where a cell names none."
    ).tag(config=True)
    """None, the default, leaves it to the service; see `ornb.session.default_model`."""

    system = t.Unicode(None, allow_none=True, help="System message where a cell has none.").tag(
        config=True
    )
    """None, the default, is none."""

    params = t.Dict(
        key_trait=t.Unicode(), help="Parameters of the API for all cells: {'temperature': 0}."
    ).tag(config=True)
    """Sent untouched. Empty by default."""

    label = t.Unicode("%%ornb", help="Word for the calls in ornb.usage.").tag(config=True)
    """By default ``%%ornb``."""

    hz = t.Float(
        12.0, min=0.2, max=12.0, help="Times a second that an answer's output is updated, at most."
    ).tag(config=True)
    """0.2 to 12, the default."""

    @no_var_expand
    @cell_magic("ornb")  # type: ignore[arg-type]
    def ask(self, line: str, cell: str) -> None:
        """Send the cell to a model; see ``%%ornb --help``.

        ``{{name}}`` is replaced by that variable; single braces stay.
        """
        options = read(line)
        if options.help:
            print(PARSER.format_help())
            return
        with contextlib.nullcontext() if options.quote else self._noted(options):
            prompt = self._filled(cell.strip(), options)
            if not (prompt.strip() or options.attach):
                raise ConfigError(EMPTY)
            if options.system is not None:
                options.system = self._filled(options.system, options)
        if options.quote:
            self._quote(prompt, options)
            return
        if options.compare:
            self._compare(prompt, options)
            return
        reply, trouble = self._answer(prompt, options)
        if options.into is not None:
            self.shell.user_ns[options.into] = reply
        if trouble is not None:
            raise trouble

    @no_var_expand
    @line_magic("ornb")  # type: ignore[arg-type]
    def tell(self, line: str) -> Any:
        """Show the state, or list models, usage, the key; see ``%ornb help``."""
        from . import commands

        return commands.run(fill_in(line, self.shell.user_ns, whole=True).text, self.model)

    # ------------------------------------------------------------------ one answer

    def _noted(self, options: Options) -> contextlib.AbstractContextManager[None]:
        """Have a cell that is refused before it is sent in the ledger."""
        from ... import session

        asked = [*options.compare] or options.model or self.model
        return session.refusals_noted(None, asked, options.label or self.label)

    def _filled(self, text: str, options: Options) -> str:
        """The text with its variables in place; says what did not go along."""
        filled = Filled(text) if options.raw else fill_in(text, self.shell.user_ns)
        for note in filled.notes:
            print(note)
        if holds_key(filled.text):
            raise ConfigError(
                "There is a key in the prompt, so nothing was sent. Take it out: a prompt is read "
                "by the provider, and saved with the notebook."
            )
        return filled.text

    def _quote(self, prompt: str, options: Options) -> None:
        """Print what the cell would cost; nothing is sent, and no conversation is changed."""
        from ... import session
        from ...messages import Conversation

        talk, params, model = self._new_talk(options), self._params(options), None
        named = self._named(options)
        if named is not None:
            talk = Conversation.from_json(getattr(named, "conversation", named).to_json())
            if options.system is not None:
                talk.system = options.system
        if hasattr(named, "conversation"):
            params, model = {**named.params, **self._own_params(options)}, named.model
        if options.model is not None or model is None:
            model = self._model(options, talk)
        for one in options.compare or (session.model_id(model),):
            messages = [*talk.messages(), {"role": "user", "content": prompt}]
            more = {"attach": self._attached(options), "schema": self._shape(options)}
            print(session.quote(messages, one, **more, **params))

    def _answer(self, prompt: str, options: Options) -> tuple[Reply, BaseException | None]:
        talk = self._talk(options)
        if hasattr(talk, "conversation"):
            return self._ask_widget(talk, prompt, options)
        return self._stream(talk, prompt, options)

    def _stream(
        self, talk: Conversation, prompt: str, options: Options, *, is_blind: bool = False
    ) -> tuple[Reply, BaseException | None]:
        """Ask, and show the answer while it comes; give it with what cut it short."""
        from ... import session
        from ...messages.asked import answered, fields_of, messages_of
        from ..live import pacer

        with self._noted(options):
            service, shape = session.client(), self._shape(options)
            params = fields_of("%%ornb", self._params(options), shape)
            model = session.model_id(self._model(options, talk))
            (question,) = messages_of(
                prompt,
                {model: params},
                attach=self._attached(options),
                listed=lambda: session.catalogue_of(service),
            )
        talk.add_user(question["content"])
        label = options.label or self.label
        stream = service.stream(talk.messages(), model, label=label, **params)
        output = self._output(is_blind=is_blind)
        cost = "" if is_blind else session.likely_cost(talk.messages(), model, **params)
        if cost:
            output.wait(f"Asking {model}: {cost} …")
        news, leave = pacer().join(output.show)
        trouble: BaseException | None = None
        whole: Reply | None = None
        try:
            for event in stream:
                if output.add(event):
                    news()
            whole = answered(stream.reply, shape)
        except KeyboardInterrupt:
            trouble = Stopped()
        except OrnbError as error:
            trouble = session.with_near_models(error, model)
        finally:
            leave()
        reply = whole or getattr(trouble, "reply", None) or stream.reply
        talk.add_reply(reply)
        output.end(reply, talk, params)
        return reply, trouble

    def _ask_widget(
        self, chat: Chat, prompt: str, options: Options
    ) -> tuple[Reply, BaseException | None]:
        """Ask in a chat, where the answer streams; the cell gets what stays.

        The chat's own model, parameters and label hold, not the settings for all cells.
        """
        params = self._own_params(options)
        more = {} if options.label is None else {"label": options.label}
        if options.model is not None:
            more["model"] = only_value(options.model, self.shell.user_ns)
        output = self._output()
        output.wait(f"Answering in the chat {options.chat} …")
        trouble: BaseException | None = None
        try:
            reply = chat.ask(
                prompt,
                attach=self._attached(options),
                schema=self._shape(options),
                **params,
                **more,
            )
        except KeyboardInterrupt:
            trouble, reply = Stopped(), _last_reply(chat.conversation)
        except OrnbError as error:
            if error.reply is None:
                output.wait("Nothing was sent.")
                raise
            trouble, reply = error, error.reply
        output.end(reply, chat.conversation, {**chat.params, **params})
        return reply, trouble

    def _compare(self, prompt: str, options: Options) -> None:
        if not hasattr(self.shell, "kernel"):
            self._one_by_one(prompt, options)
            return
        from ..compare import compare

        compared = compare(
            prompt,
            options.compare,
            system=self._new_talk(options).system,
            attach=self._attached(options),
            schema=self._shape(options),
            blind=options.blind,
            label=options.label or self.label,
            wait=False,
            **self._params(options),
        )
        if options.into is not None:
            self.shell.user_ns[options.into] = compared
        try:
            compared.wait()
        except KeyboardInterrupt:
            raise Stopped from None

    def _one_by_one(self, prompt: str, options: Options) -> None:
        """Ask models one after another, for a terminal; what goes wrong with one is printed.

        Blind, they answer without names, in an order drawn by chance; who was who comes at the end.
        """
        from ...text.rendering import facts

        models, blind = options.compare, options.blind
        order = random.sample(range(len(models)), len(models)) if blind else range(len(models))
        replies: dict[int, Reply] = {}
        told = []
        for number, place in enumerate(order, start=1):
            name = f"Answer {number}" if blind else models[place]
            print(f"--- {name}")
            one = replace(options, model=models[place])
            reply, trouble = self._stream(self._new_talk(one), prompt, one, is_blind=blind)
            replies[place] = reply
            told.append(f"{name}: {models[place]} [{facts(reply)}]")
            if isinstance(trouble, Stopped):
                break
            if trouble is not None:
                why = f"{type(trouble).__name__}: {trouble}"
                told.append(why)
                print("This answer failed; why is told at the end." if blind else why)
        if blind:
            print("\n".join(["--- Who is who", *told]))
        if options.into is not None:
            self.shell.user_ns[options.into] = [replies[place] for place in sorted(replies)]
        if isinstance(trouble, Stopped):
            raise trouble

    # ------------------------------------------------------------------ what goes into it

    def _params(self, options: Options) -> dict[str, Any]:
        return {**_sound(self.params), **self._own_params(options)}

    def _own_params(self, options: Options) -> dict[str, Any]:
        return _sound(to_request(options.params))

    def _attached(self, options: Options) -> list[Attachment]:
        from ...messages.attachments import Attachment

        return [Attachment.of(only_value(source, self.shell.user_ns)) for source in options.attach]

    def _shape(self, options: Options) -> Any:
        """What ``--schema`` names: a class or a JSON schema."""
        if options.schema is None:
            return None
        if options.schema not in self.shell.user_ns:
            known = [name for name in self.shell.user_ns if not name.startswith("_")]
            raise ConfigError(
                f"--schema {options.schema}: there is no such variable, so nothing was sent."
                f"{near(options.schema, known)} Define a class or a JSON schema in a cell before."
            )
        return self.shell.user_ns[options.schema]

    def _model(self, options: Options, talk: Conversation) -> Any:
        """The model asked for: by the cell, else by the conversation so far, else the setting."""
        if options.model is not None:
            return only_value(options.model, self.shell.user_ns)
        last = _last_reply(talk)
        return (last and last.requested_model) or self.model

    def _talk(self, options: Options) -> Any:
        """The conversation, or the chat, that the prompt goes into."""
        if options.chat is None:
            return self._new_talk(options)
        talk = self._named(options)
        if talk is None:
            talk = self.shell.user_ns[options.chat] = self._new_talk(options)
        if options.system is not None:
            getattr(talk, "conversation", talk).system = options.system
        return talk

    def _named(self, options: Options) -> Any:
        """The conversation, or the chat, that ``--chat`` names; None where there is none yet."""
        from ...messages import Conversation

        if options.chat not in self.shell.user_ns:
            return None
        talk = self.shell.user_ns[options.chat]
        chat_module = sys.modules.get("ornb.notebook.chat")  # who has a Chat has loaded it
        is_chat = chat_module is not None and isinstance(talk, chat_module.Chat)
        if not (is_chat or isinstance(talk, Conversation)):
            raise ConfigError(
                f"--chat {options.chat}: that is of type {type(talk).__name__}, so nothing was "
                "sent. Take the name of a Chat or a Conversation, or one that is free."
            )
        return talk

    def _new_talk(self, options: Options) -> Conversation:
        from ...messages import Conversation

        return Conversation(options.system if options.system is not None else self.system)

    def _output(self, *, is_blind: bool = False) -> CellOutput | TerminalOutput:
        from .output import CellOutput, TerminalOutput

        if hasattr(self.shell, "kernel"):
            return CellOutput(self.hz)
        return TerminalOutput(is_blind=is_blind)


def register(shell: InteractiveShell) -> None:
    """Make ``%ornb``, ``%%ornb`` and the tables known to an IPython; twice changes nothing."""
    tables.register(shell)
    there = shell.magics_manager.registry.get(OrnbMagics.__name__)
    # A new one would not have the settings made so far.
    shell.register_magics(OrnbMagics if there is None else there)
    for magic in ("%ornb", "%%ornb") if hasattr(shell, "set_hook") else ():
        shell.set_hook(  # type: ignore[no-untyped-call]
            "complete_command", _completions, str_key=magic
        )


def _completions(_: Any, event: Any) -> list[str]:
    """What the Tab key proposes behind a magic: commands, options, ids of models."""
    if event.command == "%ornb":
        return [name for name in COMMANDS if name.startswith(event.symbol)]
    if event.symbol.startswith("-"):
        return [name for name in OPTIONS if name.startswith(event.symbol)]
    session = sys.modules.get("ornb.session")
    # Only what is here already: the Tab key neither waits for a network nor chooses a service.
    catalog = None if session is None else session.default.catalog
    if catalog is None or not event.symbol:
        return []
    return [name for name in catalog.index if name.startswith(event.symbol)]


def _sound(params: dict[str, Any]) -> dict[str, Any]:
    check_fields(params, "%%ornb")
    check_json(params)
    return params


def _last_reply(talk: Conversation) -> Any:
    return next((turn.reply for turn in reversed(talk.path) if turn.reply is not None), None)
