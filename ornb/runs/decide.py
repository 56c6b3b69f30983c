"""Decisions: a text and questions in, probabilities out, by models made for that."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, overload

from .. import columns as c
from .. import session
from ..api.reply import amount
from ..columns import Column
from ..errors import ConfigError
from ..messages.questions import TYPES, check_room, questions_of, state_of
from ..text.markdown import plain
from ..text.rendering import reply_html
from .answers import Shape
from .batch import batch
from .kinds import FIELDS, Asked, check_arguments
from .kinds import asked as model_of

if TYPE_CHECKING:
    import pandas as pd

    from ..api.reply import Reply
    from .answers import Answer
    from .plan import Plan
    from .rows import Requests

OF_A_COLUMN = (
    *("template", "store", "resume", "cap_usd", "dry_run", "executor", "concurrency"),
    *("prefix", "progress"),
)
WARNING = "Probabilities are the model's own, not calibrated."

DECISION_COLUMNS: dict[str, Column] = {
    "question": Column("str", "your name of it"),
    "type": Column("str", "noul (yes or no), choice, score or box, in the word of the API"),
    "answer": Column(
        "str",
        "yes (from 0.5 on), no, the option, the score (its levels count from 0), the box; missing "
        "if not answered",
    ),
    "option": Column("str", "what could be answered, a row each; missing where none is told"),
    "probability": Column("float64", "of the option, as the model says: not calibrated"),
    "confidence": Column("float64", "of the answer, as the model says; missing for yes and no"),
}
"""Columns of `Decision.df`."""


@dataclass(frozen=True, repr=False)
class Decision:
    """What a model decided. Shows itself in a notebook; made by `ornb.decide`.

    Probabilities are the model's own: not calibrated, and other ones for another build of it.

    Attributes
    ----------
    questions : mapping of str to dict
        As they were sent.
    reply : Reply
        The call: tokens, cost in USD, times, source; ``reply.raw`` is what came.

    Examples
    --------
    >>> decision = ornb.decide("Cold soup again!", {"angry": "Is the writer angry?"})
    >>> decision.df["option"].tolist()
    ['yes', 'no']
    """

    questions: Mapping[str, Mapping[str, Any]]
    reply: Reply

    @property
    def _told(self) -> dict[str, Mapping[str, Any]]:
        return _told(self.reply.text)

    @property
    def answers(self) -> dict[str, Any]:
        """By question: the probability of yes, the option, the score, the box.

        A score counts the levels from 0, as the API does: of ``range(1, 6)``, 0 stands for 1.
        None where there is no answer; one of a type that is not known here is as it came.
        """
        told = self._told
        return {
            name: _value(told[name]) if name in told else None
            for name in dict.fromkeys([*self.questions, *told])
        }

    @property
    def df(self) -> pd.DataFrame:
        """One row a question and option (docs/tables.md has the columns)."""
        return c.frame(list(self._rows()), DECISION_COLUMNS)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        told = self._told
        for name in self.answers:
            answer = told.get(name, {})
            kind = _type(answer) or self.questions.get(name, {}).get("type")
            said, confidence = _said(answer), _share(answer.get("confidence"))
            options: Any = _options(answer) or [(None, None)]
            for option in options:
                yield name, kind, said, *option, confidence

    def __repr__(self) -> str:
        said = []
        for name, answer in self._told.items():
            sure = dict(_options(answer)).get(_said(answer) or "")
            chance = "" if sure is None or _type(answer) == "score" else f" {sure:.2f}"
            words = _in_words(answer, self.questions.get(name, {}))
            said.append(f"{plain(name)}: {plain(words)}{chance}")
        note = "" if self.reply.note is None else f" {plain(self.reply.note)}."
        facts = ", ".join(map(plain, self.reply.facts))
        return f"Decision({'; '.join(said)}) by {facts}. {WARNING}{note}"

    def _repr_html_(self) -> str:
        groups = (_group(name, self._told.get(name, {}), self.questions) for name in self.answers)
        table = f"<table>{''.join(groups)}</table><p><small>{WARNING}</small></p>"
        return reply_html(self.reply, table)


class _Answers(Shape):
    """The columns of a column's answers: read from the text of a row, which has all figures."""

    def __init__(self, questions: Mapping[str, Mapping[str, Any]], meant: Asked) -> None:
        self._questions, self._meant, found = questions, meant, dict[str, Any]()
        for name, asked in questions.items():
            kind = asked["type"]
            found[name] = {"type": "object" if kind == "box" else "number"}
            if kind == "choice":
                found[name] = {"enum": list(asked["criteria"])}
                found[f"{name}_probability"] = {"type": "number"}
                if f"{name}_probability" in questions:
                    raise ConfigError(
                        f"The question {name!r} gets a column '{name}_probability', which another "
                        "question is named for, so nothing was sent. Rename one."
                    )
        super().__init__({"type": "object", "properties": found})

    def check(self, rows: Requests, sizes: Sequence[tuple[Any, ...]]) -> None:
        """Refuse what the model cannot take: a picture, a place in none, a row that is too long."""
        most = self._meant.context or math.inf
        seen: set[bool] = set()
        for row, (length, _, *parts) in enumerate(sizes):
            pictures = [each for kind, each in parts if kind == "image_url"]
            # A token is a character at least, by the estimate.
            is_fine = bool(pictures) in seen and length - sum(pictures) <= most
            if is_fine or not length:
                continue
            seen.add(bool(pictures))
            try:
                state = rows.body(row)["state"]
                check_room(state, self._questions, self._meant.model, self._meant.record)
            except ConfigError as error:
                raise rows.of_row(row, error) from None

    def read(self, answer: Answer) -> Answer:
        if answer.status != "ok":
            return answer
        fields: dict[str, Any] = {}
        try:
            told = _told(answer.text)
        except (ValueError, AttributeError):  # of a store that something else has written to
            return replace(answer, status="error", error="what is kept is no decision")
        for name, asked in self._questions.items():
            one = told.get(name, {})
            if _type(one) != asked["type"]:
                continue
            if _type(one) != "choice":
                fields[name] = _value(one)
            elif (option := _said(one)) in asked["criteria"]:
                fields[name] = option
                fields[f"{name}_probability"] = dict(_options(one)).get(option or "")
        return replace(answer, fields=fields)


@overload
def decide(
    state: pd.Series[Any] | pd.DataFrame | list[str],
    questions: Any,
    model: Any = None,
    *,
    label: str | None = None,
    **params: Any,
) -> Any: ...
@overload
def decide(
    state: Any, questions: Any, model: Any = None, *, label: str | None = None, **params: Any
) -> Decision: ...
def decide(
    state: Any, questions: Any, model: Any = None, *, label: str | None = None, **params: Any
) -> Decision | pd.DataFrame | Plan:
    """Ask a decisions model about a text, or about data: probabilities come back, no words.

    Parameters
    ----------
    state : str, dict, list, path, bytes, pandas.Series or pandas.DataFrame
        What is decided about. A picture (PNG or JPEG) goes as its path or bytes, alone or in the
        list, to models that read pictures. A Series of any of these, a DataFrame, or a list of
        texts alone is decided about row by row, as by `ornb.batch`; a template makes texts of its
        columns.
    questions : dict
        Your name of each question to the question: a text is answered with yes or no, a list or a
        ``Literal`` has the options, a ``range`` the levels of a score; a dict is the API's own
        ``type`` ("noul", "choice", "score", "box"), ``instructions`` and ``criteria``. A score
        counts its levels from 0, as the API does: of ``range(1, 6)``, 0 stands for 1 and 4 for 5.
    model : str or ModelPicker, optional
        One of ``ornb.models(kind="decisions")``; by default typesafe/jev-1.14, else the first that
        is listed. Offline the small local model, or a canned one; both say so.
    label : str, optional
        Your word for the call, kept in `ornb.usage`.
    **params : Any
        Passed on untouched: ``provider``, ``session_id``, ``trace``, ``user``. With a column also
        words of `ornb.batch`: ``template`` (``"{{title}}: {{review}}"``), ``store``, ``resume``,
        ``cap_usd``, ``dry_run``, ``executor``, ``concurrency``, ``prefix``, ``progress``.

    Returns
    -------
    Decision, pandas.DataFrame or Plan
        Shows itself in a notebook; ``.df`` and ``.answers`` have the figures. Of a column, the
        table with a column for each question and those of a batch (docs/tables.md), which
        `ornb.plots.calibration` holds against known answers; with ``dry_run=True`` the plan.

    Raises
    ------
    ConfigError
        Nothing was sent: a question, the state or the model is not one, or do not fit together.
    BudgetExceeded
        It could cost more than is left; answers are not billed, what is sent is.
    OrnbError
        Whatever else went wrong; its ``reply`` has what arrived.

    Examples
    --------
    >>> decision = ornb.decide(
    ...     "Cold soup again!",
    ...     {"angry": "Is the writer angry?", "topic": ["food", "service"], "stars": range(1, 6)},
    ... )
    >>> decision.df["question"].value_counts().to_dict()
    {'stars': 5, 'angry': 2, 'topic': 2}

    >>> import pandas as pd
    >>> reviews = pd.Series(["Cold soup!", "Lovely."], name="review")
    >>> ornb.decide(reviews, {"topic": ["food", "service"]}, progress=False).columns[:4].tolist()
    ['review', 'answer', 'topic', 'topic_probability']
    """
    service, meant = session.client(), model_of("decisions", model)
    chosen = meant.model
    with session.refusals_noted(service, chosen, label):
        is_column = hasattr(state, "iloc") or _are_texts(state)  # pandas may not be loaded yet
        for name in OF_A_COLUMN:
            if name in params and not is_column:
                columns = "a list of texts, a Series or a DataFrame"
                raise ConfigError(f"{name} is for a column: {columns}.")
        check_arguments("ornb.decide", params, (*FIELDS, *(OF_A_COLUMN if is_column else ())))
        asked, state = questions_of(questions), state if is_column else state_of(state)
        meant.check()
        if not is_column:
            check_room(state, asked, chosen, meant.record)
        shape = _Answers(asked, meant)
    if is_column:
        template, params = params.pop("template", None), {**params, "questions": asked}
        table: pd.DataFrame = batch(state, template, chosen, schema=shape, label=label, **params)
        return table
    with meant.near():
        reply = service.decide(state, asked, chosen, label=label, **params)
    return Decision(asked, reply)


def _are_texts(state: Any) -> bool:
    """Whether a list is a column, as `ornb.batch` takes one: texts, and what is missing."""
    is_list = isinstance(state, list | tuple) and any(isinstance(each, str) for each in state)
    return is_list and all(each is None or isinstance(each, str) for each in state)


def _told(text: str | None) -> dict[str, Mapping[str, Any]]:
    told: dict[str, Any] = json.loads(text or "{}")
    return {name: each for name, each in told.items() if isinstance(each, Mapping)}


def _type(answer: Mapping[str, Any]) -> str | None:
    return c.text(answer.get("type"))


def _value(answer: Mapping[str, Any]) -> Any:
    """What was answered; None where nothing was, all of it where the type is not known."""
    kind = _type(answer) or ""
    value = answer.get(kind) if kind in (*answer, *TYPES) else answer
    return _FIGURES[kind](value) if kind in _FIGURES else value


def _share(value: Any) -> float | None:
    share = amount(value)
    return share if share is not None and share <= 1 else None


_FIGURES = {"noul": _share, "score": amount}


def _said(answer: Mapping[str, Any]) -> str | None:
    """The answer in words; of an unknown type, as it came."""
    value = _value(answer) if answer else None
    if value is None:
        return None
    if _type(answer) == "noul":
        return "yes" if value >= 0.5 else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {inner}" for key, inner in value.items() if key != "type")
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _in_words(answer: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    levels = asked.get("criteria") if _type(answer) == asked.get("type") == "score" else None
    ends = f" (0 is {levels[0]}, {len(levels) - 1} is {levels[-1]})" if levels else ""
    return f"{_said(answer) or 'no answer'}{ends}"


def _options(answer: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    chance = _share(answer.get("noul")) if _type(answer) == "noul" else None
    if chance is not None:
        return [("yes", chance), ("no", round(1 - chance, 10))]
    told, legend = answer.get("probabilities"), answer.get("legend")
    names = legend if isinstance(legend, Mapping) else {}
    options = told.items() if isinstance(told, Mapping) else ()
    return [(str(names.get(option, option)), _share(share)) for option, share in options]


_LEFT = 'style="text-align:left;font-weight:normal"'
_TOGETHER = 'style="text-align:left;white-space:nowrap"'


def _group(name: str, answer: Mapping[str, Any], questions: Mapping[str, Any]) -> str:
    """One question: its words, its answer, a bar and a figure for each option."""
    asked = questions.get(name, {})
    words = asked.get("instructions", name)
    shown = name if words == name or not isinstance(words, str) else f"{name}: {words}"
    confidence = _share(answer.get("confidence"))
    sure = "" if confidence is None else f" <small>(confidence {confidence:.2f})</small>"
    head = f"{_escaped(shown)} <strong>{_escaped(_in_words(answer, asked))}</strong>{sure}"
    rows = "".join(map(_bar, _options(answer)))
    first = f'<tr><th colspan="2" scope="rowgroup" {_LEFT}>{head}</th></tr>'
    return f"<tbody>{first}{rows}</tbody>"


def _bar(told: tuple[str, float | None]) -> str:
    option, share = told
    figure = "?" if share is None else f"{share:.2f}"
    # The browser draws it in the colours of its theme, without a style sheet.
    bar = "" if share is None else f'<meter aria-hidden="true" value="{share}"></meter> '
    row = f'<th scope="row" {_LEFT}>{_escaped(option)}</th><td {_TOGETHER}>{bar}{figure}</td>'
    return f"<tr>{row}</tr>"


def _escaped(text: str) -> str:
    return escape(plain(text))
