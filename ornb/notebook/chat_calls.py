"""From a question to its answer: put into the conversation, sent, read, stopped.

The network is read by a thread of the chat's own, so the kernel stays free and Stop works at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from .. import session
from ..api.body import messages_from
from ..api.reply import Reply
from ..errors import ConfigError, ContextTooLong, OrnbError
from ..messages import Content, Conversation, Turn, attachments, well_formed
from ..messages.asked import fields_of, files_of
from ..messages.attachments import Attachment
from .base import PATIENCE_S, describe, if_not_soon, in_thread
from .chat_page import KEPT_EVERY_S, ChatPage
from .exchange import ChatCall, explained
from .live import pacer
from .shown import body_html

if TYPE_CHECKING:
    import pandas as pd


class ChatCalls(ChatPage):
    """The half of `ornb.Chat` that asks; `ornb.Chat` sets what it asks with."""

    _label: str
    _params: dict[str, Any]
    _tools: tuple[Any, ...]
    _confirm: bool
    _picker: Any = None
    _catalogue_of_client: pd.DataFrame | None = None
    _value: Any = None

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

    def stop(self) -> None:
        """Stop the answer that is being written, at once, and keep what has arrived.

        Examples
        --------
        >>> ornb.Chat().stop()
        """
        with self._lock:
            call = self._call
            if call is None or call.stopping:
                return
            call.stop()
        if_not_soon(self._end, call)

    def close(self) -> None:
        """End the widget: stop the answer, and release the picker.

        Examples
        --------
        >>> ornb.Chat().close()
        """
        if self._call is not None:
            self.stop()
        if self._picker is not None:
            with contextlib.suppress(ValueError):
                self._picker.unobserve(self._follow, names=["value"])
        if self._leave_conversation is not None:
            self._leave_conversation()
        super().close()

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

    def _replace(self, conversation: Conversation) -> None:
        call = self._call
        if call is not None:
            self.stop()
            call.ended.wait(5)
        with self._lock:
            self._take_conversation(conversation)
            self._html.clear()
            if self._kept is not None:
                self._kept.begin(conversation)
            self._tell_state()
        self._update_kept()

    # ------------------------------------------------------------------ a question

    # `how` is what `_set_off` takes besides.

    def _begin(
        self, prompt: Any, params: Mapping[str, Any], *, attach: Any = (), **how: Any
    ) -> ChatCall:
        with self._noted(params):
            files = files_of(attach)
            content = self._content(prompt, [each.part for each in files])
            if files:
                self._check(files, params)
            return self._set_off(lambda: self._conversation.add_user(content), params, **how)

    def _again(self, answer: Any, params: Mapping[str, Any], **how: Any) -> ChatCall:
        with self._noted(params):
            return self._set_off(lambda: self._go_to_question(answer), params, is_new=False, **how)

    def _go_to_question(self, answer: Any) -> Turn:
        talk = self._conversation
        last = talk.head if answer is None else talk._find(answer)
        if last is not None and last.role == "assistant" and last.parent_id is not None:
            last = talk._find(last.parent_id)
        if last is None or last.role != "user":
            raise ConfigError("Nothing was asked yet, so there is nothing to answer again.")
        talk.go_to(last)
        return last

    def _reworded(self, turn: Any, text: Any, params: Mapping[str, Any], **how: Any) -> ChatCall:
        with self._noted(params):
            talk = self._conversation
            old = talk._find(turn)
            if old.role != "user":
                raise ConfigError(f"Turn {old.id!r} is an answer; only a question can be edited.")
            parts = [] if isinstance(old.content, str) else list(old.content)
            content = self._content(text, [part for part in parts if part.get("type") != "text"])
            return self._set_off(
                lambda: talk.add_user(content, parent_id=old.parent_id), params, **how
            )

    def _noted(self, params: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
        """Have a question that is refused before it is sent in the ledger."""
        given = {"model": self.model, "label": self._label, **self._params, **params}
        return session.refusals_noted(self._client, given["model"], given["label"])

    def _content(self, prompt: Any, parts: Sequence[Mapping[str, Any]]) -> Content:
        """The question as it will be sent, once all of it can be."""
        if not isinstance(prompt, str | None):
            raise ConfigError(
                f"The question is of the type {type(prompt).__name__}, so nothing was sent. A Chat "
                "takes a text, and has what was said before; ornb.ask takes messages."
            )
        (message,) = messages_from(well_formed(prompt or ""), parts=parts)
        content: Content = message["content"]
        return content

    def _check(self, files: list[Attachment], params: Mapping[str, Any]) -> None:
        """Refuse what the model cannot take; a service that lists nothing may take anything."""
        params = {**self._params, **params}
        model = session.model_id(params.get("model", self.model))
        plugins = params.get("plugins") or ()
        attachments.check(files, model, self._catalogue(), plugins=plugins)

    def _takes_images(self, model: Any) -> bool:
        """Whether images that a model of this chat has made go to the one that is asked now."""
        talk = self._conversation
        if not (talk._has_images and any(turn.reply and turn.reply.images for turn in talk.path)):
            return True
        models = self._catalogue()
        with contextlib.suppress(OrnbError):  # of several models, or none
            known = None if models is None else models["input_modalities"]
            listed = None if known is None else known.get(str(session.model_id(model)))
            return not listed or "image" in listed
        return True

    def _catalogue(self) -> pd.DataFrame | None:
        """The models of the service; None where it does not say."""
        if self._client is None:
            return session.catalogue_of(session.client())
        if self._catalogue_of_client is None:
            self._catalogue_of_client = session.catalogue_of(self._client)
        return self._catalogue_of_client

    def _set_off(
        self,
        put: Callable[[], Turn],
        params: Mapping[str, Any],
        *,
        is_new: bool = True,
        schema: Any = None,
        blocking: bool = False,
    ) -> ChatCall:
        """Put the question where it belongs, and have a thread read the answer."""
        several = self._picker is not None and self.model is None
        given = {"label": self._label, **self._params, **params}
        model = given.pop("model", self._picker if several else self.model)
        fields = {"model": model, **fields_of("Chat.ask", given, schema)}
        images = self._takes_images(model)
        with self._lock:
            if self._call is not None:
                raise ConfigError(
                    "An answer is still being written, so nothing was sent. Stop it or wait for it."
                )
            with self._own_change():
                question = put()
            call = ChatCall(
                question,
                fields,
                schema,
                blocking=blocking,
                tools=self._tools,
                confirm=self._confirm,
                on_call=lambda shown: self._tell("tool", call=shown),
            )
            messages = self._conversation._written(images=images)
            long = self._kept_wait > KEPT_EVERY_S
            self._kept_due = monotonic() + self._kept_wait * long  # a short one is kept at once
            self._call = call
            shown = [self._for_page(question)] if is_new else []
            after = question.parent_id if is_new else question.id
            self._tell_news("asked", after=after, turns=shown, live=self._live(call))
        in_thread("ornb-chat", self._work, call, messages)
        return call

    # ------------------------------------------------------------------ its answer

    def _work(self, call: ChatCall, messages: list[dict[str, Any]]) -> None:
        """Read the answer to its end. Runs in a thread of its own."""
        news, leave = pacer().join(lambda: self._flush(call))
        client = None
        try:
            client = self._meet()
            call.read(client, messages, news)
        except ContextTooLong as error:
            call.error = error
            asked = call.params["model"]
            with contextlib.suppress(OrnbError):
                model = session.model_id(asked)
                call.error = explained(error, messages, model, self._catalogue())
        except OrnbError as error:
            call.error = error
            if client is not None:
                call.error = session.with_near_models(error, call.params["model"], client)
        except Exception as error:  # noqa: BLE001 - a thread's errors are seen by nobody
            call.error = OrnbError(describe(error))
        finally:
            leave()
            self._end(call)

    def _flush(self, call: ChatCall) -> float:
        """Send what is new of an answer. Runs on the pacer's thread."""
        with self._lock:
            change = None if self._call is not call else call.answer.patch()
            if change is not None:
                self._tell_news("delta", **change)
                if self._kept is not None and monotonic() >= self._kept_due:
                    self._keep_part(call)
        return call.answer.wait_s

    def _end(self, call: ChatCall) -> None:
        """Put the answer into the conversation, once, whoever comes first."""
        if call.reply is None:
            pacer().turn()
        with self._lock:
            if call.reply is not None:
                return
            call.reply = call.outcome(Reply(requested_model=self.model, label=self._label))
            try:
                change = call.answer.finish()
                talk, here = self._conversation, self._conversation.head
                with self._own_change():
                    turn = talk.add_reply(call.reply, parent_id=call.question.id, steps=call.steps)
                self._value = getattr(call.reply, "value", None)
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

    def _outcome(self, call: ChatCall) -> Reply:
        if call.error is not None and not call.stopping:
            call.error.reply = call.error.reply or call.reply
            raise call.error
        assert call.reply is not None  # noqa: S101 - set before `ended` is
        return call.reply

    def _waited(self, call: ChatCall) -> Reply:
        try:
            while not call.ended.wait(0.2):  # a bare wait cannot be interrupted on Windows
                call.ask_person()
        except KeyboardInterrupt:
            self.stop()
            call.ended.wait(2 * PATIENCE_S)
            raise
        return self._outcome(call)
