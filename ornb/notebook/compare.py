"""One prompt, several models, side by side: what each says, how fast, and for how much.

All answers stream at once, each read by a thread of its own, and what is new of all of them goes
to the page in one message. Like a chat, a comparison shows two outputs: an ordinary one that stays
in the notebook, updated when the last answer has ended, and the live widget, which hides it.
"""

from __future__ import annotations

import dataclasses
import random
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import IPython
import pandas as pd
import traitlets as t

from .. import session
from ..api.body import EMPTY
from ..api.refusals import mapping
from ..api.reply import Reply, counted
from ..errors import ConfigError, OrnbError
from ..messages import Conversation, all_well_formed, well_formed
from ..messages.asked import fields_of, messages_of
from ..messages.transcript import saved_in
from ..text.comparison import LETTERS, MIME_COMPARISON, Answers, Place
from ..text.rendering import source_words
from .base import (
    PATIENCE_S,
    WHOLE_EVERY_S,
    BadValue,
    Choice,
    LastingWidget,
    cell_number,
    describe,
    if_not_soon,
    in_thread,
    module,
    service_of,
    sheet,
    waited,
)
from .exchange import Call
from .host import heard
from .live import pacer

if TYPE_CHECKING:
    from ..api.body import Messages
    from ..api.client import Client
    from ..messages import Turn

HERE = Path(__file__)


class _Call(Call):
    """One answer on its way to its place."""

    def __init__(self, place: Place, params: Mapping[str, Any], schema: Any) -> None:
        super().__init__(params, schema)
        self.place = place
        self.told = place.reply is not None
        """Whether the page has the whole."""


class Comparison(LastingWidget):
    """Several models' answers to one prompt, as `ornb.compare` shows them.

    Parameters
    ----------
    answers : Answers
        The prompt and the models; what they have said, where they have.
    params : mapping of str to mapping
        What is sent to each model.
    messages : sequence of mapping
        What is sent to all.
    client : Client, optional
        Who is asked; by default the client of `ornb.connect`.
    schema : type or mapping, optional
        The shape of the answers.

    Examples
    --------
    >>> ornb.compare("What is a token?", ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4"])
    Comparison of 2 models (needs a running kernel)
    """

    _esm = module(HERE)
    _css = sheet(HERE)

    vote = Choice().tag(sync=True)
    """Of a blind comparison: the place voted for ("A", "B", ...), or "tie"; None before the vote.
    Can be set once, when all answers are there."""

    busy = t.Bool(False).tag(sync=True)
    """Whether answers are being written."""

    service = t.Unicode("").tag(sync=True)
    """Who is asked: "offline", or the host of a live service."""

    _prompt = t.Unicode().tag(sync=True)
    _names: Any = t.List(t.Unicode()).tag(sync=True)
    _sealed = t.Bool(False).tag(sync=True)
    _engine = t.Unicode().tag(sync=True)

    # Also there when __init__ refused its arguments: Python closes what it throws away.
    _calls: Sequence[_Call] = ()

    def __init__(
        self,
        answers: Answers,
        params: Mapping[str, Mapping[str, Any]] | None = None,
        messages: Sequence[Mapping[str, Any]] = (),
        client: Client | None = None,
        schema: Any = None,
    ) -> None:
        self._answers = answers
        self._messages = messages
        self._client = client
        sent = params or {}
        self._calls = [_Call(each, sent.get(each.model, {}), schema) for each in answers.places]
        self._over = threading.Event()
        self._over.set()
        self._shown_in: int | None = None
        self._news: Callable[[], None] = lambda: None
        self._leave: Callable[[], None] = lambda: None
        super().__init__(
            vote=answers.vote,
            _prompt=_shown(answers.question.path[-1]),
            _names=answers.names,
            _sealed=answers.sealed,
            _engine=well_formed(answers.engine),
        )
        self.on_msg(self._on_message)

    # ------------------------------------------------------------------ what was said

    @property
    def prompt(self) -> str:
        """What was asked; of several messages the last."""
        return self._answers.prompt

    @property
    def models(self) -> tuple[str, ...]:
        """The models asked, in the order they were given."""
        return self._answers.models

    @property
    def blind(self) -> bool:
        """Whether names, costs and times are hidden until the vote."""
        return self._answers.blind

    @property
    def shuffle_seed(self) -> int | None:
        """What the order of a blind comparison was drawn with; None for one that is not blind."""
        return self._answers.shuffle_seed

    @property
    def replies(self) -> dict[str, Reply]:
        """The answers that have ended, by model; by letter before the vote of a blind comparison.

        A `Reply` knows who made it: who looks into one is not blind any more.
        """
        with self._lock:
            return self._answers.replies

    @property
    def engine(self) -> str:
        """Who answered under several of the names, as offline; empty where each has its own."""
        with self._lock:
            return self._answers.engine

    @property
    def winner(self) -> str | None:
        """The model that was voted for; None before the vote, and after a tie."""
        return self._answers.winner

    @property
    def df(self) -> pd.DataFrame:
        """The answers as a table, one row each; docs/tables.md describes it.

        Before the vote of a blind comparison only `text`, `source`, `status` and `position` are
        told. ``pd.concat([one.df, other.df])`` collects several comparisons.
        """
        with self._lock:
            return self._answers.df

    @property
    def conversation(self) -> Conversation:
        """The prompt with each answer as a branch of its own, ending at the winner's or the first.

        ``ornb.Chat.reopen(comparison.conversation)`` goes on from there.
        """
        with self._lock:
            return self._answers.conversation()

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON value, for `reopen`; also who is who, before the vote too.

        Returns
        -------
        dict
            As `ornb.text.comparison.Answers.to_json` describes it.

        Examples
        --------
        >>> ornb.compare("Hi", ["openai/gpt-4o-mini"]).to_json()["order"]
        ['openai/gpt-4o-mini']
        """
        with self._lock:
            return self._answers.to_json()

    @classmethod
    def reopen(cls, source: Any, which: int = -1) -> Comparison:
        """Take up a comparison that was saved. Nothing is asked again.

        Parameters
        ----------
        source : str, Path or mapping
            A notebook or a JSON file; what `to_json` gave, or an output that holds it.
        which : int
            Of a notebook with several comparisons the place of the one to take, from 0; by default
            the last.

        Returns
        -------
        Comparison
            With its answers and its vote; a blind one that has none can still be voted on.

        Raises
        ------
        ConfigError
            There is no comparison in it, or it is damaged.

        Examples
        --------
        >>> saved = ornb.compare("What is a token?", ["openai/gpt-4o-mini"]).to_json()
        >>> Comparison.reopen(saved).replies["openai/gpt-4o-mini"].source
        'canned'
        """
        saved = saved_in(source, MIME_COMPARISON, which, "comparison")
        return cls(Answers.from_json(saved))

    # ------------------------------------------------------------------ asking

    def _start(self) -> None:
        """Ask all models."""
        client = self._client or session.client()
        self.service = service_of(client)
        self._over.clear()
        self.busy = True
        self._news, self._leave = pacer().join(self._flush)
        self._stay_reachable()
        for call in self._calls:
            in_thread(f"ornb-compare-{call.place.letter}", self._work, call, client)

    def _work(self, call: _Call, client: Client) -> None:
        """Read one answer to its end. Runs in a thread of its own."""
        try:
            stream = client.stream(self._messages, call.place.model, **call.params)
            call.read_stream(stream, self._news)
        except OrnbError as error:
            call.error = session.with_near_models(error, call.place.model, client)
        except Exception as error:  # noqa: BLE001 - a thread's errors are seen by nobody
            call.error = OrnbError(describe(error))
        finally:
            self._end(call)

    def _end(self, call: _Call) -> None:
        """Take the reply, once, whoever comes first; after the last one all is over."""
        if call.place.reply is not None:
            return
        reply = dataclasses.replace(call.outcome(Reply()), requested_model=call.place.model)
        estimate_usd = session.estimate(reply)
        prices_of = session.price_days(self.models)
        with self._lock:
            if call.place.reply is not None:
                return
            call.place.reply, call.place.estimate_usd = reply, estimate_usd
            self._answers.prices_of = prices_of
            if any(answer.reply is None for answer in self._answers.places):
                self._news()
                return
        self._leave()
        pacer().turn()
        try:
            self._flush()
            if not any(answer.can_win for answer in self._answers.places):
                self.reveal()  # there is nothing to vote for
            self._engine = well_formed(self.engine)
            self.busy = False
            self._keep()
        finally:  # whatever happens, nobody waits for ever
            self._over.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until all answers have ended.

        Parameters
        ----------
        timeout_s : float, optional
            Seconds to wait at most.

        Returns
        -------
        bool
            Whether they have.

        Raises
        ------
        KeyboardInterrupt
            It was interrupted: the answers are stopped, and what had arrived is kept.

        Examples
        --------
        >>> hello = ornb.compare("Hi", ["openai/gpt-4o-mini"], wait=False)
        >>> hello.wait(30)
        True
        """
        try:
            return waited(self._over, timeout_s)
        except KeyboardInterrupt:
            self.stop()
            self._over.wait(2 * PATIENCE_S)
            raise

    def stop(self, which: str | None = None) -> None:
        """Stop what is being written, at once, and keep what has arrived.

        Parameters
        ----------
        which : str, optional
            One model, by its id or its letter; by default all.

        Raises
        ------
        ConfigError
            No such model.

        Examples
        --------
        >>> ornb.compare("Hi", ["openai/gpt-4o-mini"]).stop()
        """
        chosen = [
            call for call in self._calls if which in (None, call.place.model, call.place.letter)
        ]
        if not chosen:
            raise ConfigError(f"{which!r} is not compared here; {', '.join(self.models)} are.")
        for call in chosen:
            with self._lock:
                if call.place.reply is not None or call.stopping:
                    continue
                call.stop()
            if_not_soon(self._end, call)

    def close(self) -> None:
        """End the widget, and stop what is being written.

        Examples
        --------
        >>> ornb.compare("Hi", ["openai/gpt-4o-mini"]).close()
        """
        if self._calls:
            self.stop()
        super().close()

    # ------------------------------------------------------------------ the vote

    def reveal(self) -> None:
        """Show who is who in a blind comparison without a vote; there can be none any more.

        Examples
        --------
        >>> models = ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4"]
        >>> both = ornb.compare("Hi", models, blind=True)
        >>> both.reveal()
        >>> list(both.replies) == models
        True
        """
        with self._lock:
            if not self._sealed:
                return
            self._answers.sealed = self._sealed = False
            self._names = self._answers.names
            self._engine = well_formed(self.engine)
            known = {str(i): self._facts(call) for i, call in enumerate(self._calls) if call.told}
            self._tell("delta", changes={}, done=known)
        self._keep()

    @t.validate("vote")
    def _check_vote(self, proposal: Any) -> Any:
        choice = proposal["value"]
        if choice == self._answers.vote:
            return choice
        try:
            return self._answers.checked_vote(choice)
        except ConfigError as error:
            raise BadValue(str(error)) from error

    @t.observe("vote")
    def _on_vote(self, change: Any) -> None:
        if change["new"] != self._answers.vote:
            self._answers.vote = change["new"]
            self.reveal()

    # ------------------------------------------------------------------ the page

    def _flush(self) -> float:
        """Send what is new of all answers, in one message. Runs on the pacer's thread."""
        with self._lock:
            changes, done, wait_s = {}, {}, 0.0
            for place, call in enumerate(self._calls):
                if call.told:
                    continue
                if call.place.reply is not None:
                    changes[str(place)] = call.answer.finish()
                    call.place.rendered = call.answer.html
                    call.told = True
                    done[str(place)] = self._facts(call)
                elif (change := call.answer.patch()) is not None:
                    changes[str(place)] = change
                    wait_s += call.answer.wait_s
            if changes:
                self._tell_news("delta", changes=changes, done=done)
        return wait_s

    def _on_message(self, _: Any, content: Any, __: Any) -> None:
        """Take a message of the page's."""
        kind = content.get("type") if isinstance(content, dict) else None
        if kind == "hello":
            if heard(content) or self._page is None:
                self._page = content.get("page")
            self._tell_state()
        elif kind == "stop":
            place = content.get("place")
            if place is None:
                self.stop()
            elif isinstance(place, int) and 0 <= place < len(self._calls):
                self.stop(self._calls[place].place.model)

    def _tell_state(self) -> None:
        """Send the page everything."""
        with self._lock:
            answers = []
            for call in self._calls:
                if call.told and call.place.reply is not None:
                    whole = {"html": call.place.html, "think": call.place.reply.reasoning}
                    answers.append({**self._facts(call), **all_well_formed(whole)})
                else:
                    answers.append({"live": True, **call.answer.snapshot()})
            page = self._page if self._lasting else None
            self._tell("state", answers=answers, page=page, heard=self._page)
            self._whole_due = monotonic() + WHOLE_EVERY_S

    def _facts(self, call: _Call) -> dict[str, Any]:
        """What the page says of an ended answer; text, but for the appendix."""
        answer = call.place
        reply = answer.reply or Reply()
        data = {
            "live": False,
            "status": reply.status,
            "source": reply.source,
            "source_label": source_words(reply),
            "note": answer.note[0],
            "appendix": answer.appendix,
            "can_win": answer.can_win,
        }
        if self._answers.sealed:
            failed = "This answer failed; why is told after the vote." if reply.error else ""
            return all_well_formed({**data, "error": failed})
        figures = [all_well_formed(figure._asdict()) for figure in answer.figures]
        note = "\n".join(filter(None, [answer.note[0], self._answers.estimated_by]))
        data |= {"error": reply.error or "", "served": answer.served, "note": note}
        return {**all_well_formed(data), "figures": figures}

    # ------------------------------------------------------------------ the output that stays

    def _ipython_display_(self) -> None:
        shell = IPython.get_ipython()
        if not hasattr(shell, "kernel"):
            print(self._bundle()["text/plain"])
        elif self._shown_in is None or self._shown_in != cell_number():
            self._show()

    def _show(self) -> None:
        self._page = None  # the next page to say hello is the one that shows this output
        super()._show()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        return None if bundle is None else ({**bundle[0], **self._bundle()}, bundle[1])

    def _bundle(self) -> dict[str, Any]:
        with self._lock:
            return self._answers.bundle(self._lasting_class)

    def _static_text(self) -> str:
        count = len(self._calls)
        kind = "Blind comparison" if count and self.blind else "Comparison"
        return f"{kind} of {counted(count, 'model')} (needs a running kernel)"


def compare(
    prompt: Messages,
    models: Any,
    *,
    system: str | None = None,
    attach: Any = (),
    schema: Any = None,
    blind: bool = False,
    shuffle_seed: int | None = None,
    wait: bool = True,
    client: Client | None = None,
    label: str = "compare",
    **params: Any,
) -> Comparison:
    """Put one prompt to several models at once, and see their answers side by side.

    In a notebook the answers stream into the page, each with its cost, its times and a Stop
    button. The cell waits for the last one, so that a notebook that runs from top to bottom has
    them all; the interrupt button stops those that are being written and keeps what has arrived.
    A model that fails leaves the others alone. Offline one small model answers for all: each place
    then has a temperature and seed of its own, unless you give one, and `Comparison.engine` says
    who answered.

    Parameters
    ----------
    prompt : str or sequence of dict
        A prompt; or messages with ``role`` and ``content``, the last one the user's.
    models : iterable of str, mapping, pandas.DataFrame or ModelPicker
        Up to 16 ids; ids with parameters of their own (``{"lab/small": {"temperature": 0}}``); a
        models frame, such as ``ornb.models(search="haiku")``; a picker with ``multiple=True``.
    system : str, optional
        A message to the models that goes before all others.
    attach : path, address, bytes, Attachment or a list of them
        Images, PDFs, sound. Checked against what each model takes before anything is sent.
    schema : type or mapping, optional
        The shape of the answers: a pydantic model, a dataclass, a TypedDict, a JSON schema. The
        ``value`` of each of `Comparison.replies` has the answer in it; one that is not of that
        shape is an error.
    blind : bool
        True hides names, providers, costs and times, and shuffles the places, until
        `Comparison.vote` is set, by a click or from code.
    shuffle_seed : int, optional
        For a blind comparison: what the order is drawn with; by default chance. Kept as
        `Comparison.shuffle_seed`.
    wait : bool
        False returns at once; `Comparison.wait` waits.
    client : Client, optional
        Who is asked; by default the client of `ornb.connect`, which counts the calls in
        `ornb.usage`.
    label : str
        Your word for these calls in `ornb.usage`.
    **params : Any
        Sent with each call, untouched: ``temperature``, ``max_tokens``, ...

    Returns
    -------
    Comparison
        `Comparison.df` has one row an answer, `Comparison.replies` the answers.

    Raises
    ------
    ConfigError
        The prompt is empty, or something cannot be sent; no models, more than 16, or one twice.
    OfflineError
        There is no key, and the offline default does not start.
    KeyboardInterrupt
        It was interrupted.

    Examples
    --------
    >>> models = ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4"]
    >>> both = ornb.compare("What is a token?", models, max_tokens=20)
    >>> both.df[["model", "status", "completion_tokens"]].values.tolist()
    [['openai/gpt-4o-mini', 'ok', 20], ['anthropic/claude-sonnet-4', 'ok', 20]]

    Blind, with a vote from code (or by a click), and several of them in one table:

    >>> rounds = [ornb.compare(p, models, blind=True, max_tokens=9) for p in ("Hi", "Bye")]
    >>> for each in rounds:
    ...     each.vote = "A"
    >>> votes = pd.concat([each.df for each in rounds])
    >>> votes.groupby("vote").size().to_dict()
    {'lost': 2, 'won': 2}
    """
    service = client or session.client()
    with session.refusals_noted(service, models, label):
        wanted = {
            model: fields_of("ornb.compare", {"label": label, **params, **own}, schema)
            for model, own in _wanted(models).items()
        }
        if service.source == "offline" and len(wanted) > 1:  # one engine would say one thing
            for place, fields in enumerate(wanted.values()):
                fields["ornb"] = {"place": place, **mapping(fields.get("ornb"))}
        messages = messages_of(
            prompt,
            wanted,
            system=system,
            attach=attach,
            listed=lambda: session.catalogue_of(service),
        )
        answers = _answers(messages, list(wanted), blind=blind, shuffle_seed=shuffle_seed)
    made = Comparison(answers, wanted, messages, service, schema)
    made._shown_in = cell_number()
    if made._shown_in is not None:
        # It is most often the value of its cell too, and is not shown twice there.
        made._show()
    made._start()
    if wait:
        made.wait()
    return made


# ------------------------------------------------------------------ what is asked, of whom


def _wanted(models: Any) -> dict[str, dict[str, Any]]:
    """Take the models out of what a person has at hand: id to the parameters of its own."""
    chosen = models.value if hasattr(models, "observe") else models
    if isinstance(chosen, pd.DataFrame):
        chosen = chosen.index
    if isinstance(chosen, str):
        chosen = [chosen]
    if not isinstance(chosen, Iterable):
        raise ConfigError(
            f"models is {chosen!r}; give a list of ids such as ['openai/gpt-4o-mini', ...]."
        )
    ids = list(chosen)
    odd = [each for each in ids if not isinstance(each, str) or not each.strip()]
    if odd:
        raise ConfigError(f"models has {odd[0]!r}; give ids such as 'openai/gpt-4o-mini'.")
    if not ids:
        raise ConfigError("There are no models to compare, so nothing was sent. Choose some.")
    if len(ids) > len(LETTERS):
        raise ConfigError(
            f"models has {len(ids)} of them; {len(LETTERS)} at most can be read side by side. Of a "
            "models frame, .head(4) takes the first four."
        )
    own = chosen if isinstance(chosen, Mapping) else {}
    for each, fields in own.items():
        if not isinstance(fields, Mapping | None):
            raise ConfigError(
                f"models has {fields!r} as the parameters of {each!r}; give a dict such as "
                "{'temperature': 0}."
            )
    wanted = {each.strip(): dict(own.get(each) or {}) for each in ids}
    if len(wanted) < len(ids):
        raise ConfigError(f"models has one of them twice ({', '.join(ids)}); name each once.")
    return wanted


def _answers(
    messages: list[dict[str, Any]], models: list[str], *, blind: bool, shuffle_seed: int | None
) -> Answers:
    """Assign each model its place."""
    if not isinstance(shuffle_seed, int | None):
        raise ConfigError(f"shuffle_seed is {shuffle_seed!r}; give a whole number.")
    if blind and len(models) < 2:
        raise ConfigError("A blind comparison needs two models or more; one was given.")
    question = _question(messages)
    if not blind:
        return Answers(question, models, models)
    seed = secrets.randbelow(2**31) if shuffle_seed is None else shuffle_seed
    order = models[:]
    random.Random(seed).shuffle(order)  # noqa: S311 - to be repeated, not to be secret
    return Answers(question, models, order, blind=True, shuffle_seed=seed)


def _question(messages: Iterable[Mapping[str, Any]]) -> Conversation:
    """What is asked as a conversation, to be kept."""
    talk = Conversation()
    for message in messages:
        role, content = message.get("role"), message.get("content") or ""
        content = well_formed(content) if isinstance(content, str) else content
        if role == "user":
            talk.add_user(content)
        elif role == "assistant" and isinstance(content, str):
            talk.add_reply(Reply(text=content))
        elif role == "system" and isinstance(content, str) and talk.system is None:
            talk.system = content
        else:
            raise ConfigError(
                f"A message of the role {role!r} cannot be compared here; give texts of the roles "
                "user and assistant, after one of the role system at most."
            )
    head = talk.head
    if head is None or head.role != "user" or not (head.text.strip() or _attached(head)):
        raise ConfigError(EMPTY)
    return talk


def _shown(turn: Turn) -> str:
    """The prompt as the page shows it."""
    attached = _attached(turn)
    more = f"[{counted(attached, 'attachment')}]" if attached else ""
    return well_formed("\n".join(filter(None, [turn.text, more])))


def _attached(turn: Turn) -> int:
    parts = () if isinstance(turn.content, str) else turn.content
    return sum("text" not in part for part in parts)
