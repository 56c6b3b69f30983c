"""Answers of several models to one prompt: their facts, their table, their vote, what is kept.

In a blind comparison nobody sees who is who before the vote: neither `Answers.df` nor the output
that stays in the notebook says it. (The JSON does, so that nothing that was paid for can be lost.)
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..api.reply import Reply, beside
from ..columns import Column, alike
from ..errors import ConfigError
from ..ledger.table import USAGE_COLUMNS, one_engine
from ..messages import Conversation, all_well_formed, well_formed
from ..messages.transcript import checked_head, json_of
from .figures import NONE, Figure, figures
from .markdown import render
from .rendering import (
    content_html,
    pictures_html,
    reasoning_html,
    reply_text,
    source_words,
    sources_html,
    static_html,
    system_html,
)

MIME_COMPARISON = "application/vnd.ornb.text.comparison+json"
"""Media type under which a comparison rests in a notebook, for a program to read."""
FORMAT = "ornb.text.comparison"
VERSION = 1
"""Of the JSON; a file of a later version is refused rather than half understood."""

LETTERS = "ABCDEFGHIJKLMNOP"
"""Names of the places, left to right; so many models at most."""
TIE = "tie"


def _as_in_usage(*names: str) -> dict[str, Column]:
    return {
        name: column._replace(dtype=column.dtype.replace("str", "string"))
        for name, column in alike(USAGE_COLUMNS, *names).items()
    }


COMPARISON_COLUMNS: dict[str, Column] = {
    **_as_in_usage("model", "served_model", "provider", "source"),
    "text": Column("string", "the answer, whole or as far as it came"),
    **_as_in_usage("prompt_tokens", "completion_tokens", "cost_usd", "byok_usd", "cost_source"),
    **_as_in_usage("estimate_usd", "time_to_first_token_s", "duration_s"),
    "tokens_per_second": Column("float64", "completion_tokens / duration_s, the wait included"),
    "finish_reason": Column("string", "stop, length, content_filter, error, ..."),
    "status": Column("string", "ok, stopped (by a person) or error; missing while it is written"),
    "error": Column(
        "string", "the error's message, or what came that a row does not hold; else missing"
    ),
    "position": Column("string", "place on the screen: A is the first"),
    "vote": Column("string", "won, lost or tie; missing without a vote"),
}
"""Columns of `Answers.df`, one row an answer, in the order of their places."""

_TOLD_BEFORE_THE_VOTE = frozenset({"text", "source", "status", "position", "vote"})


@dataclass
class Place:
    """One model's part of a comparison."""

    model: str
    letter: str
    """Its place."""
    reply: Reply | None = None
    """None while it is being written."""
    estimate_usd: float | None = None
    """USD by the listed prices."""
    rendered: str | None = None
    """Safe HTML of the text, where it is there already."""

    @property
    def html(self) -> str:
        """Safe HTML of the text."""
        if self.rendered is None:
            self.rendered = render(self.reply.text if self.reply else "")
        return self.rendered

    @property
    def appendix(self) -> str:
        """Safe HTML of the pictures made and the sources cited."""
        return pictures_html(self.reply) + sources_html(self.reply) if self.reply else ""

    @property
    def can_win(self) -> bool:
        """Whether there is anything to vote for."""
        return self.reply is not None and bool(self.reply.text or self.reply.images)

    @property
    def served(self) -> str:
        """Provider and model that answered, and settings of its place; empty where nobody said."""
        told = self.reply or Reply()
        return " · ".join(filter(None, (told.provider, told.model, self.note[1])))

    @property
    def note(self) -> tuple[str, str]:
        """The service's remark: what holds for all places, and the settings of this one."""
        common, _, own = ((self.reply and self.reply.note) or "").partition(". Here: ")
        return common, own

    @property
    def figures(self) -> list[Figure]:
        """The facts under the answer, in the order they are shown."""
        return figures(self.reply or Reply(), self.estimate_usd)


class Answers:
    """What the models of one comparison said, and what became of it.

    `models` are as given, `order` is that of their places. Blind, names, costs and times are hidden
    until the vote.
    """

    def __init__(
        self,
        question: Conversation,
        models: Sequence[str],
        order: Sequence[str],
        *,
        blind: bool = False,
        shuffle_seed: int | None = None,
    ) -> None:
        self.question = question
        self.models = tuple(models)
        self.blind = blind
        self.sealed = blind
        """Whether names, costs and times are hidden now."""
        self.shuffle_seed = shuffle_seed
        self.prices_of = ""
        """Of which days the prices are that the estimates stand on; empty where today's are."""
        places = zip(order, LETTERS, strict=False)
        self.places = [Place(model, letter) for model, letter in places]
        self._vote: str | None = None

    @property
    def prompt(self) -> str:
        """What was asked; of several messages the last."""
        return self.question.path[-1].text

    @property
    def names(self) -> list[str]:
        """What stands above each answer."""
        return [f"Answer {a.letter}" if self.sealed else well_formed(a.model) for a in self.places]

    @property
    def engine(self) -> str:
        """Who answered under several of the names; empty if nobody did, or before the vote."""
        return one_engine(self.df)

    @property
    def estimated_by(self) -> str:
        """The sentence on old prices below the estimates; empty without any, or before the vote."""
        has_any = any(answer.estimate_usd is not None for answer in self.places)
        told = self.prices_of and has_any and not self.sealed
        return f"Estimates are by {self.prices_of}." if told else ""

    @property
    def replies(self) -> dict[str, Reply]:
        """The answers that have ended, by model as given; by letter while they are sealed."""
        ended = {a.letter if self.sealed else a.model: a.reply for a in self.places if a.reply}
        return ended if self.sealed else {m: ended[m] for m in self.models if m in ended}

    @property
    def vote(self) -> str | None:
        """The place voted for, or "tie"; setting it, once, breaks the seal."""
        return self._vote

    @vote.setter
    def vote(self, choice: str) -> None:
        self._vote = self.checked_vote(choice)
        self.sealed = False

    def checked_vote(self, choice: Any) -> str:
        """Return a vote in its form: the letter of a place, or "tie"."""
        if not self.blind:
            raise ConfigError("Only a blind comparison takes a vote: compare(..., blind=True).")
        if not self.sealed:
            past = f"The vote was {self._vote!r}" if self._vote else "The names have been shown"
            raise ConfigError(f"{past}, and who is who is known now: nothing can be changed.")
        if any(answer.reply is None for answer in self.places):
            raise ConfigError("Answers are still being written. Vote when all are there.")
        choices = [*(a.letter for a in self.places if a.can_win), TIE]
        found = [each for each in choices if each.casefold() == str(choice).strip().casefold()]
        if not found:
            raise ConfigError(f"vote is {choice!r}; give one of {', '.join(choices)}.")
        return found[0]

    @property
    def winner(self) -> str | None:
        """The model that was voted for; None before the vote, and after a tie."""
        return next((a.model for a in self.places if a.letter == self._vote), None)

    def verdict(self, answer: Place) -> str | None:
        """Return how an answer fared: "won", "lost" or "tie"; None without a vote."""
        if self._vote is None or self._vote == TIE:
            return self._vote
        return "won" if self._vote == answer.letter else "lost"

    @property
    def df(self) -> pd.DataFrame:
        """The answers as a table, one row each; docs/tables.md describes it."""
        rows = [all_well_formed(self._row(answer)) for answer in self.places]
        frame = pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))
        return frame.astype({name: column.dtype for name, column in COMPARISON_COLUMNS.items()})

    def _row(self, answer: Place) -> dict[str, Any]:
        reply = answer.reply
        call = {} if reply is None else reply.row(answer.estimate_usd)
        row = {name: call.get(name) for name in COMPARISON_COLUMNS} | {
            "model": answer.model,
            "text": reply and reply.text,
            "error": reply and (reply.error or beside(reply, "its reply in `replies` does")),
            "tokens_per_second": reply
            and reply.timing.tokens_per_second(reply.usage.completion_tokens),
            "position": answer.letter,
            "vote": self.verdict(answer),
        }
        told = _TOLD_BEFORE_THE_VOTE if self.sealed else row.keys()
        return {name: value if name in told else None for name, value in row.items()}

    # ------------------------------------------------------------------ to and from JSON

    def conversation(self) -> Conversation:
        """Return the question with each answer as a branch of its own; it ends at the winner's."""
        talk = Conversation.from_json(self.question.to_json())
        question = talk.path[-1].id
        turns = {
            answer.model: talk.add_reply(answer.reply, parent_id=question).id
            for answer in self.places
            if answer.reply is not None
        }
        talk.go_to(turns.get(self.winner or "", next(iter(turns.values()), question)))
        return talk

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON value; also who is who, before the vote too."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "conversation": self.conversation().to_json(),
            "models": list(self.models),
            "order": [answer.model for answer in self.places],
            "estimates_usd": [answer.estimate_usd for answer in self.places],
            "prices_of": self.prices_of,
            "blind": self.blind,
            "sealed": self.sealed,
            "shuffle_seed": self.shuffle_seed,
            "vote": self._vote,
        }

    @classmethod
    def from_json(cls, data: Any) -> Answers:
        """Read what `to_json` made; an answer that was still being written counts as stopped."""
        data = _checked(data)
        talk = Conversation.from_json(data["conversation"])
        head = talk.head
        asked = head and (head.parent_id if head.reply else head.id)
        replies = [turn.reply for turn in talk.turns if turn.reply and turn.parent_id == asked]
        said = {reply.requested_model: reply for reply in replies}
        talk.go_to(asked)
        question = Conversation(talk.system)
        for turn in talk.path:
            if turn.reply is None:
                question.add_user(turn.content)
            else:
                question.add_reply(turn.reply)
        if question.head is None or question.head.role != "user":
            raise ConfigError("The comparison is damaged: its conversation has no prompt.")
        found = cls(
            question,
            data["models"],
            data["order"],
            blind=data["blind"],
            shuffle_seed=data["shuffle_seed"],
        )
        for answer, estimate_usd in zip(found.places, data["estimates_usd"], strict=True):
            unfinished = Reply(requested_model=answer.model, status="stopped")
            answer.reply = said.get(answer.model, unfinished)
            answer.estimate_usd = estimate_usd
        found.prices_of = data.get("prices_of") or ""
        if data["vote"] is not None:
            found.vote = data["vote"]
        found.sealed = found.sealed and data["sealed"]
        return found

    # ------------------------------------------------------------------ the output that stays

    def bundle(self, css_class: str = "") -> dict[str, Any]:
        """Make the output that keeps a comparison in the notebook.

        It has no ``text/markdown``: viewers that prefer it run the HTML in it.
        """
        return {
            "text/html": well_formed(self._html(css_class)),
            "text/plain": well_formed("\n\n".join(self._texts())),
            MIME_COMPARISON: self.to_json(),
        }

    def _html(self, css_class: str) -> str:
        """A table with a column a model, readable without any style sheet."""
        crowns = {"won": " (chosen)", TIE: " (tie)"}
        heads = [
            html.escape(name) + crowns.get(self.verdict(answer) or "", "")
            for name, answer in zip(self.names, self.places, strict=True)
        ]
        rows = [_table_row("", heads, "th"), self._table_row("Answer", _answer_html)]
        rows.append(self._table_row("Source", lambda a: html.escape(_source(a.reply))))
        if not self.sealed:
            rows.append(self._table_row("Served by", lambda a: html.escape(a.served or NONE)))
            for place, kind in enumerate(figures(Reply(), None)):
                cells = [_words(answer, place) for answer in self.places]
                rows.append(_table_row(kind.name, cells))
            if any(answer.reply and answer.reply.error for answer in self.places):
                rows.append(self._table_row("Error", _error))
        parts = [system_html(self.question.system)]
        parts.append(f"<blockquote>{content_html(self.question.path[-1].content)}</blockquote>\n")
        if engine := self.engine:
            parts.append(f"<p><strong>{html.escape(engine)}.</strong></p>\n")
        parts.append(f"<table>\n{''.join(rows)}</table>\n")
        if self.estimated_by:
            parts.append(f"<p><small>{html.escape(self.estimated_by)}</small></p>\n")
        if self.sealed:
            parts.append("<p><small>Names, costs and times are shown after the vote.</small></p>")
        return static_html("".join(parts), css_class=css_class)

    def _table_row(self, head: str, cell: Callable[[Place], str]) -> str:
        return _table_row(head, map(cell, self.places))

    def _texts(self) -> Iterable[str]:
        yield f"Prompt: {self.prompt}"
        if engine := self.engine:
            yield f"{engine}."
        for answer, name in zip(self.places, self.names, strict=True):
            if answer.reply is None:
                yield f"{name}: being written …"
            elif self.sealed:
                yield f"{name}: {answer.reply.text}"
            else:
                cost, own = answer.figures[0].value, answer.note[1]
                aside = f"\n[{own} · {cost}]" if own else ""
                yield f"{reply_text(answer.reply, name=name)}{aside}"
        if self.estimated_by:
            yield self.estimated_by
        if self._vote is not None:
            yield f"Vote: {self.winner or TIE}"


def _table_row(head: str, cells: Iterable[str], tag: str = "td") -> str:
    # JupyterLab's own style sheet puts the text of tables to the right.
    left = 'align="left" valign="top" style="text-align:left;vertical-align:top"'
    inner = "".join(f"<{tag} {left}>{cell}</{tag}>" for cell in cells)
    return f"<tr><th {left}>{head}</th>{inner}</tr>\n"


def _answer_html(answer: Place) -> str:
    if answer.reply is None:
        return "<em>being written …</em>"
    return reasoning_html(answer.reply) + answer.html + answer.appendix


def _source(reply: Reply | None) -> str:
    if reply is None:
        return NONE
    began = reply.timing.started_at
    label = source_words(reply)
    return f"{label}, {began:%Y-%m-%d %H:%M} UTC" if began else label


def _words(answer: Place, place: int) -> str:
    if answer.reply is None:
        return NONE
    figure = answer.figures[place]
    return html.escape(f"{figure.value} ({figure.remark})" if figure.remark else figure.value)


def _error(answer: Place) -> str:
    return html.escape((answer.reply and answer.reply.error) or "")


# ------------------------------------------------------------------ what was saved


_KINDS: dict[str, Any] = {
    "conversation": dict,
    "models": list,
    "order": list,
    "estimates_usd": list,
    "prices_of": str | None,
    "blind": bool,
    "sealed": bool,
    "shuffle_seed": int | None,
    "vote": str | None,
}


def _checked(data: Any) -> dict[str, Any]:
    """Refuse what is no comparison, is of a later version, or is damaged."""
    data = checked_head(json_of(data, "comparison"), "comparison", FORMAT, VERSION)
    wrong = [name for name, kind in _KINDS.items() if not isinstance(data.get(name), kind)]
    if not wrong:
        wrong = [name for name, good in _sound(data).items() if not good]
    if wrong:
        raise ConfigError(f"The comparison is damaged: {wrong[0]} is {data.get(wrong[0])!r:.60}.")
    return dict(data)


def _sound(data: Mapping[str, Any]) -> dict[str, bool]:
    models, order, estimates = data["models"], data["order"], data["estimates_usd"]
    named = bool(models) and all(isinstance(each, str) and each for each in models)
    named = named and len(set(models)) == len(models) <= len(LETTERS)
    amounts = all(each is None or isinstance(each, int | float) for each in estimates)
    return {
        "models": named,
        "order": named and sorted(map(str, order)) == sorted(models),
        "estimates_usd": amounts and len(estimates) == len(models),
    }
