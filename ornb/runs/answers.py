"""From answers to columns beside the data: texts, fields of a schema, tokens, money, times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import columns as c
from ..api.reply import NO_ANSWER, Reply, beside
from ..columns import Column
from ..errors import ConfigError, SchemaMismatch
from ..ledger.table import USAGE_COLUMNS
from ..messages.hints import has_pydantic_methods
from ..messages.schema import parse, read, schema_of

if TYPE_CHECKING:
    from .rows import Requests

BATCH_COLUMNS: dict[str, Column] = {
    "answer": Column("str", "the text, whole or as far as it came; missing if there is none"),
    "status": Column(
        "str",
        "ok; cached (from an earlier run or an identical row, not asked again); stopped; error; "
        "skipped (not sent)",
    ),
    "error": Column(
        "str",
        "what went wrong, why it was not sent, or what came that a row does not hold; else missing",
    ),
    "finish_reason": Column("str", "stop, length, content_filter, ..."),
    **c.alike(USAGE_COLUMNS, "source", "served_model", "provider"),
    "prompt_tokens": Column("Int64", "tokens sent; missing for the repeats of an identical row"),
    "completion_tokens": Column("Int64", "tokens answered; missing for repeats"),
    "cost_usd": Column(
        "float64",
        "USD charged when it was asked; 0 for repeats and skipped rows, missing is unknown",
    ),
    **c.alike(USAGE_COLUMNS, "byok_usd", "cost_source", "estimate_usd"),
    **c.alike(USAGE_COLUMNS, "time_to_first_token_s", "duration_s"),
    "attempts": Column("Int64", "requests sent in this run; 0 if none had to be"),
    "generation_id": Column("str", "id to look the call up by, as in the usage table"),
}
"""Columns that `ornb.batch` adds; a schema's own stand after ``answer``."""

PARSED = "parsed"
"""The one column of a schema without properties at its top: a dict a row."""


@dataclass(slots=True)
class Answer:
    """What came of one request, as far as a row needs it."""

    text: str = ""
    status: str = "ok"
    finish_reason: str | None = None
    source: str | None = None
    served_model: str | None = None
    provider: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    cost_source: str | None = None
    byok_usd: float | None = None
    estimate_usd: float | None = None
    time_to_first_token_s: float | None = None
    duration_s: float | None = None
    attempts: int = 0
    generation_id: str | None = None
    refusal: str | None = None
    beside: str | None = None
    """What came that a row does not hold, or kept the text back."""
    error: str | None = None
    fields: Mapping[str, Any] | None = None
    """The answer read by the schema."""

    @classmethod
    def of(cls, reply: Reply, estimate_usd: float | None) -> Answer:
        """Take from a reply what a row needs, without its fields."""
        call = reply.row(estimate_usd)
        return cls(
            text=reply.text,
            refusal=reply.refusal or None,
            beside=beside(reply, "the reply of ornb.ask does"),
            **{name: call[name] for name in cls.__slots__ if name in call},
        )

    def as_repeat(self) -> Answer:
        """Return the same for a further row that asks the same: that row used nothing more."""
        return replace(
            self,
            status="cached" if self.status == "ok" else self.status,
            prompt_tokens=None,
            completion_tokens=None,
            cost_usd=0.0,
            cost_source=None,
            byok_usd=None,
            estimate_usd=0.0,
            time_to_first_token_s=None,
            duration_s=None,
            attempts=0,
        )


class Shape:
    """The columns of a schema: of a dataclass, TypedDict, pydantic model class or JSON schema."""

    def __init__(self, shape: Any) -> None:
        self._schema = schema_of(shape)
        self._model = shape if has_pydantic_methods(shape) else None
        properties = self._schema.get("properties")
        self._properties: Mapping[str, Any] = properties if isinstance(properties, dict) else {}

    @property
    def dtypes(self) -> dict[str, str]:
        """The columns and their dtypes; a list of texts to choose from becomes a category."""
        if not self._properties:
            return {PARSED: "object"}
        return {name: _dtype(node) for name, node in self._properties.items()}

    def check(self, rows: Requests, sizes: Sequence[tuple[Any, ...]]) -> None:
        """Refuse rows that cannot be asked; by default they are skipped."""

    def read(self, answer: Answer) -> Answer:
        """Read the fields of an ``ok`` answer; an ``error`` where its text is not of this shape."""
        if answer.status != "ok":
            return answer
        refusal = answer.refusal or ""
        said = Reply(
            text=answer.text,
            finish_reason=answer.finish_reason,
            refusal=refusal,
            blocked=None if answer.beside == NO_ANSWER else answer.beside,
        )
        try:
            if self._model is not None:
                found = parse(said, self._model).model_dump(mode="json")
            else:
                found = read(said, self._schema, self._schema)
        except SchemaMismatch as error:
            return replace(answer, status="error", error=str(error))
        return replace(answer, fields=found if self._properties else {PARSED: found})

    def columns(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """Make the columns; objects where the dtype cannot hold a value."""
        made = {}
        for name, dtype in self.dtypes.items():
            values = [None if a.fields is None else a.fields.get(name) for a in answers]
            node = self._properties.get(name, {})
            column = (
                pd.Categorical(values, categories=_choices(node))
                if dtype == "category"
                else c.typed(values, dtype)
            )
            made[name] = column if dtype == "str" or _holds(column, values) else c.objects(values)
        return made


def _holds(column: Any, values: list[Any]) -> bool:
    """Whether a column has all values as they were: no integer of 65 bits is missing or rounded."""
    pairs = zip(column.tolist(), values, strict=True)  # NumPy would round what it compares
    return all(value is None or (kept is not pd.NA and kept == value) for kept, value in pairs)


_BY_TYPE = {"string": "str", "integer": "Int64", "number": "float64", "boolean": "boolean"}


def _dtype(node: Any) -> str:
    node = _without_null(node)
    choices = _choices(node)
    if choices:
        return "category"
    kind = node.get("type")
    return _BY_TYPE.get(kind, "object") if isinstance(kind, str) else "object"


def _choices(node: Any) -> list[str]:
    """The texts that a property may be, if it is one of a list."""
    listed = _without_null(node).get("enum") or []
    texts = [value for value in listed if value is not None]
    return texts if all(isinstance(value, str) for value in texts) else []


def _without_null(node: Any) -> Mapping[str, Any]:
    """A property that may be null, as if it might not: missing is what null becomes."""
    if not isinstance(node, Mapping):
        return {}
    for key in ("anyOf", "oneOf"):
        kept = [each for each in node.get(key) or [] if each != {"type": "null"}]
        if len(kept) == 1 and isinstance(kept[0], Mapping):
            return kept[0]
    kind = node.get("type")
    if isinstance(kind, list):
        rest = [each for each in kind if each != "null"]
        return {**node, "type": rest[0] if len(rest) == 1 else rest}
    return node


# --- the table ------------------------------------------------------------------------------------


def check_names(
    frame: pd.DataFrame, shape: Shape | None, prefix: str, columns: Mapping[str, Column]
) -> None:
    """Refuse column names that would be there twice."""
    if not isinstance(prefix, str):
        raise ConfigError(f"prefix is {prefix!r}; give a text such as 'llm_'.")
    own = [] if shape is None else list(shape.dtypes)
    both = [name for name in own if name in columns]
    if both:
        raise ConfigError(
            f"The schema's property {both[0]!r} would be a column that every batch has. Give the "
            f"property another name, such as {both[0] + '_given'!r}."
        )
    there = [name for name in (*columns, *own) if prefix + name in frame.columns]
    if there:
        named = ", ".join(repr(prefix + name) for name in there)
        raise ConfigError(
            f"data has a column {named} already, which the answers would get too. Pass "
            'prefix="llm_", or rename it.'
        )


def with_answers(
    frame: pd.DataFrame,
    answers: Sequence[Answer],
    shape: Shape | None,
    prefix: str,
    columns: Mapping[str, Column] = BATCH_COLUMNS,
) -> pd.DataFrame:
    """Put the answers beside a copy of the data: its columns, then those of docs/tables.md."""
    read: dict[str, Callable[[Answer], str | None]] = {
        "answer": lambda each: each.text or None,
        "error": lambda each: each.error or each.beside,
        "cost_source": _cost_source,
    }
    made: dict[str, Any] = {}
    for name, (dtype, _) in columns.items():
        made[name] = c.typed(map(read.get(name) or attrgetter(name), answers), dtype)
        if name == "answer" and shape is not None:
            made |= shape.columns(answers)
    own = pd.DataFrame(
        {  # of a dtype that is given: pandas would look for dates among objects
            prefix + name: pd.Series(column, frame.index, column.dtype)
            for name, column in made.items()
        },
        frame.index,
        copy=False,
    )
    table = pd.concat([frame, own], axis=1)  # at once, whatever their names and number
    table.columns.name, table.attrs = frame.columns.name, dict(frame.attrs)
    return table


def _cost_source(answer: Answer) -> str | None:
    if answer.status == "skipped":
        return None
    if answer.cost_usd is not None:
        return answer.cost_source if answer.cost_source in ("proxy", "fee") else "billed"
    return "unknown" if answer.estimate_usd is None else "estimated"
