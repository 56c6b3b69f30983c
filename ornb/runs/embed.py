"""Texts as numbers: `ornb.embed` gives a vector for each, `ornb.rerank` an order by a query."""

from __future__ import annotations

import binascii
import contextlib
import copy
import json
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from .. import columns as c
from .. import session
from ..api.others import KINDS
from ..api.reply import counted
from ..columns import Column
from ..errors import ConfigError, UnexpectedAnswer
from ..ledger.table import USAGE_COLUMNS
from ..messages.context import estimate_tokens
from ..messages.questions import DOUBT
from .answers import Answer, Shape, with_answers
from .batch import run
from .data import is_file, table_of
from .kinds import FIELDS, Asked, check_arguments
from .kinds import asked as model_of
from .machine import Batch, Part, Store
from .rows import Requests
from .run import Ask

if TYPE_CHECKING:
    from ..api.reply import Reply
    from .tally import Tally

MOST_TEXTS, MOST_BYTES = 2048, 250_000
"""Of one request: OpenAI takes 2,048 texts and 300,000 tokens, each of a byte or more (2026-11)."""
_WHO = ("served_model", "provider", "source")
_SUMS = ("prompt_tokens", "cost_usd", "estimate_usd")
NOTES = {
    "canned": "No model made these vectors: words are hashed, so texts that share words are near",
    "local": "A tiny model that was made to write: the mean of its last hidden states",
}

EMBEDDING_COLUMNS: dict[str, Column] = {
    "embedding": Column("object", "the vector, a NumPy array of float32; missing where none came"),
    "status": Column(
        "str", "ok; cached (from an earlier run or the same text); stopped; error; skipped"
    ),
    "error": Column("str", "what went wrong, or why it was not sent; else missing"),
    **c.alike(USAGE_COLUMNS, "source", "served_model", "provider"),
}
"""Columns that `ornb.embed` adds."""
RERANK_COLUMNS: dict[str, Column] = {
    "rank": Column("Int64", "from 1 on, the most relevant first"),
    "relevance_score": Column("float64", "as the model says; comparable within one query alone"),
}
"""Columns that `ornb.rerank` adds."""


class _Vector(Shape):
    """Of a text: float32 numbers in base64."""

    dtypes: ClassVar[dict[str, str]] = {}  # its column is made apart

    def __init__(self, meant: Asked) -> None:
        super().__init__({"type": "object"})
        self._meant = meant

    def check(self, rows: Requests, sizes: Sequence[tuple[Any, ...]]) -> None:
        """Refuse texts that are empty, or too long for the model."""
        _refuse_empty(rows.frame, [n for n, size in enumerate(sizes) if not size[0]])
        most = self._meant.context
        long = [n for n, size in enumerate(sizes) if most and size[0] > most]
        _refuse_long(rows.frame, {n: rows.body(n)["input"][0] for n in long}, self._meant)

    def read(self, answer: Answer) -> Answer:
        _read([answer])
        return answer


def _read(answers: Sequence[Answer]) -> None:
    """Read vectors, which may be written to; an ``error`` where there is none, or no number."""
    parts = [_decoded(each.text) for each in answers]
    numbers = np.frombuffer(bytearray().join(parts), "<f4")
    are_good, end = np.isfinite(numbers), 0
    is_good = bool(are_good.all())
    for answer, part in zip(answers, parts, strict=True):
        begin, end = end, end + len(part) // 4
        if part and (is_good or are_good[begin:end].all()):
            answer.fields = {"embedding": numbers[begin:end]}
        else:
            answer.status = "error"
            answer.error = "the answer has no vector for this text, or several; ask again"


def _decoded(text: str) -> bytes:
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        return b""
    return b"" if len(data) % 4 else data


@dataclass(eq=False, slots=True)
class _Texts(Ask):
    """Some texts in one request; its answer is kept, and noted, text by text."""

    places: dict[str, int] = field(default_factory=dict)
    """Content hash of each text to its row."""
    counts: Mapping[int, int] = field(default_factory=dict)
    """Of a row that others repeat, how many ask the same."""
    made: list[Answer] = field(default_factory=list)

    def read(self, answer: Answer, reply: Reply) -> Answer:
        """Take the vectors apart."""
        if answer.status == "ok":
            who = (answer.source, answer.served_model, answer.provider)
            self.made = [Answer(vector, "ok", None, *who) for vector in reply.value]
            _read(self.made)
        return answer

    def to_keep(self, answer: Answer) -> dict[str, Answer]:
        """Return the answer of each text that has one."""
        del answer
        pairs = zip(self.places, self.made, strict=True)
        return {digest: one for digest, one in pairs if one.status == "ok"}

    def note(self, answer: Answer, tally: Tally) -> None:
        """Put the answers where they go."""
        self.answer, rows, asked = answer, self.rows, len(self.places)
        for row, one in zip(self.places.values(), self.made or repeat(answer), strict=False):
            self.answers[row] = one
            if one.status != answer.status:  # it has no vector; the request is counted below
                count = self.counts.get(row, 1)
                rows, asked = rows - count, asked - 1
                tally.add(one.as_repeat(), count)
        tally.add(answer, rows, asked)


class _Embeddings(Batch):
    """A batch whose requests have many texts each."""

    verb = "ornb.embed"
    columns = EMBEDDING_COLUMNS

    def __init__(self, meant: Asked, batch_size: int, params: dict[str, Any], *given: Any) -> None:
        self.meant, self.batch_size = meant, batch_size
        self.encoding = params.pop("encoding_format", "base64")
        self.asks: list[_Texts] = []
        data, template, cap_usd, store, resume, prefix = given
        super().__init__(
            *(data, template, meant.model, None, (), _Vector(meant), cap_usd),
            *(store, resume, prefix, None, {**params, "input": None}),
        )

    def _calls(self, part: Part) -> Iterator[tuple[str, tuple[int, ...]]]:
        group: dict[str, int] = {}
        size = 0
        for digest, row in part.due:
            size += part.sizes[row][1]
            if group and (len(group) == self.batch_size or size > MOST_BYTES):
                yield ",".join(group), tuple(group.values())
                group, size = {}, part.sizes[row][1]
            group[digest] = row
        if group:
            yield ",".join(group), tuple(group.values())

    def _body(self, part: Part, rows: tuple[int, ...]) -> dict[str, Any]:
        return {**part.rows.body(*rows), "encoding_format": self.encoding}

    def _ask(self, part: Part, digest: str, rows: tuple[int, ...]) -> Ask:
        ask = _Texts(
            digest,
            self._body(part, rows),
            self._quote(part, rows).worst_usd,
            part.answers,
            rows[0],
            sum(part.counts.get(row, 1) for row in rows),
            self.shape,
            places=dict(zip(digest.split(","), rows, strict=True)),
            counts=part.counts,
        )
        self.asks.append(ask)
        return ask

    def _table(self, frame: pd.DataFrame, part: Part, why_not: str | None) -> pd.DataFrame:
        answers = part.by_row(why_not)
        vectors = [None if each.fields is None else each.fields["embedding"] for each in answers]
        for row in part.repeats:  # who changes one vector means that row alone
            vectors[row] = copy.copy(vectors[row])
        others = {name: column for name, column in self.columns.items() if name != "embedding"}
        table = with_answers(frame, answers, None, self.prefix, others)
        column = pd.Series(c.objects(vectors), frame.index, dtype=object)
        table.insert(len(frame.columns), f"{self.prefix}embedding", column)
        calls = [ask.answer for ask in self.asks if ask.answer is not None]
        table.attrs |= self._about(answers, calls)
        return table

    def _about(self, rows: list[Answer], calls: list[Answer]) -> dict[str, Any]:
        """What the table says of itself: the model, its cost, where the vectors come from."""
        ended = [each for each in rows if each.fields]
        sizes = {len(each.fields["embedding"]) for each in ended if each.fields}
        told = {
            name: list(dict.fromkeys(filter(None, (getattr(each, name) for each in ended))))
            for name in _WHO
        }
        return {
            "model": self.meant.model,
            **{name: ", ".join(each) or None for name, each in told.items()},
            "dimensions": sizes.pop() if len(sizes) == 1 else None,
            "calls": len(calls),
            **{name: _sum(getattr(each, name) for each in calls) for name in _SUMS},
            "note": next((NOTES[each] for each in told["source"] if each in NOTES), None),
        }


def _sum(amounts: Iterable[float | None]) -> float | int | None:
    """Add up, exactly; None where one is not known."""
    listed = list(amounts)
    if None in listed:
        return None
    total = sum(Decimal(repr(each)) for each in listed)
    return int(total) if all(type(each) is int for each in listed) else float(total)


def _refuse_empty(frame: pd.DataFrame, empty: list[int]) -> None:
    if not len(frame):
        raise ConfigError("There are no texts, so nothing was sent. Give at least one.")
    if empty:
        are = "is" if len(empty) == 1 else "are"
        raise ConfigError(
            f"{len(empty):,} of {counted(len(frame), 'text')} {are} empty or missing (of row "
            f"{frame.index[[empty[0]]].tolist()[0]!r} the first), so nothing was sent. Leave them "
            "out, such as with .dropna()."
        )


def _refuse_long(
    frame: pd.DataFrame, texts: Mapping[int, str], meant: Asked, query: str = ""
) -> None:
    context = meant.context
    for row, text in texts.items():
        if not context or len(text) + len(query) <= context:
            continue  # a token is a character at least, by this estimate
        tokens = estimate_tokens(query) + estimate_tokens(text)
        if tokens > context * DOUBT:
            raise ConfigError(
                f"The text of row {frame.index[[row]].tolist()[0]!r} has about {tokens:,} tokens, "
                f"and {meant.model} takes {context:,}, so nothing was sent. Shorten it, or cut it "
                "into several."
            )


def embed(
    texts: Any,
    model: Any = None,
    *,
    template: str | None = None,
    batch_size: int = 100,
    store: Store = None,
    resume: bool = True,
    cap_usd: float | str | Decimal | None = None,
    dry_run: bool = False,
    executor: Executor | None = None,
    concurrency: int = 8,
    prefix: str = "",
    progress: bool = True,
    label: str | None = None,
    **params: Any,
) -> Any:
    """Turn texts into vectors: those of like meaning are near each other.

    Parameters
    ----------
    texts : str, list of str, pandas.Series, pandas.DataFrame or path
        One text, or what `ornb.batch` takes. None of them may be empty. Texts that are the same are
        sent once.
    model : str or ModelPicker, optional
        One of ``ornb.models(kind="embeddings")``; by default openai/text-embedding-3-small, else
        the first that is listed. Offline the local model's hidden states are taken (576 numbers),
        else words are hashed, and either is said.
    template : str, optional
        Of data with several columns, such as ``"{{title}}: {{review}}"``.
    batch_size : int
        Texts in one request, at most; long ones are fewer (250 kB).
    store, resume, cap_usd, dry_run, executor, concurrency, prefix, progress
        As for `ornb.batch`. A store has each text's vector, so that only new texts are sent.
    label : str, optional
        Your word for the calls, kept in `ornb.usage`.
    **params : Any
        Sent with each request: ``dimensions`` (of models that can give fewer), ``input_type``
        (``"search_query"``, ``"search_document"``), ``provider``, ``session_id``, ``trace``,
        ``user``; ``encoding_format="float"`` for a server that knows no base64.

    Returns
    -------
    pandas.DataFrame or Plan
        Index and columns of the data (one text or a list is the column ``text``), and further ones
        (docs/tables.md has them). ``embedding`` has NumPy arrays of float32:
        ``np.stack(df["embedding"])`` is the matrix, shape (n_texts, n_dimensions). ``.attrs`` has
        model, source, ``cost_usd`` as billed, ``estimate_usd``. With ``dry_run=True`` the plan.

    Raises
    ------
    ConfigError
        Nothing was sent: a text is empty or too long, the model is of another kind, an argument is
        none.
    PriceUnknown
        `cap_usd` was given, and what the calls can cost is not known. Nothing was sent.
    OrnbError
        No text got a vector. Where some did, the others are rows with the status ``error``.
    KeyboardInterrupt
        Its ``frame`` has the vectors so far.

    Examples
    --------
    >>> import numpy as np
    >>> df = ornb.embed(["cold soup", "the soup was cold", "a lovely evening"], progress=False)
    >>> matrix = np.stack(df["embedding"])
    >>> matrix.shape, df.attrs["source"]
    ((3, 256), 'canned')
    >>> bool(matrix[0] @ matrix[1] > matrix[0] @ matrix[2])
    True

    References
    ----------
    OpenRouter, ``POST /embeddings``, by the official SDK 1.3.84; 2026-10-27.
    """
    meant = model_of("embeddings", model)

    def made() -> Batch:
        check_arguments("ornb.embed", params, (*KINDS["embeddings"].takes, *FIELDS))
        if type(batch_size) is not int or not 1 <= batch_size <= MOST_TEXTS:
            raise ConfigError(f"batch_size is {batch_size!r}; give 1 to {MOST_TEXTS:,} texts.")
        meant.check()
        if isinstance(texts, str) and not (
            is_file(texts) and os.path.exists(texts)  # noqa: PTH110 - a Path raises where it is long
        ):
            data = table_of([texts])
        else:
            data = table_of(texts)
        _refuse_empty(data, [])
        batches.append(
            _Embeddings(
                *(meant, batch_size, dict(params)),
                *(data, template, cap_usd, store, resume, prefix),
            )
        )
        return batches[0]

    batches: list[_Embeddings] = []
    noted = session.refusals_noted(None, meant.model, label)
    table: Any = run(made, noted, executor, concurrency, label, progress=progress, dry_run=dry_run)
    if dry_run:
        return table
    failed = [ask.error for ask in batches[0].asks if ask.error is not None]
    sizes = {len(vector) for vector in table[f"{prefix}embedding"] if vector is not None}
    lost = table.loc[table[f"{prefix}status"] == "error", f"{prefix}error"]
    if failed and not sizes:
        raise failed[0]
    if len(lost) and not sizes:
        raise UnexpectedAnswer(f"No text got a vector: {lost.iloc[0]}, or another model.")
    if len(sizes) > 1:
        warnings.warn(
            f"The vectors have {' and '.join(map(str, sorted(sizes)))} numbers, so they cannot be "
            f"compared. Who answered: {table.attrs['served_model']}. Name one provider, or ask "
            "anew with resume=False.",
            RuntimeWarning,
            stacklevel=2,
        )
    return table


def rerank(
    query: str,
    documents: Any,
    model: Any = None,
    *,
    top_n: int | None = None,
    template: str | None = None,
    label: str | None = None,
    **params: Any,
) -> pd.DataFrame:
    """Order documents by how well they answer a query.

    Parameters
    ----------
    query : str
        What is looked for.
    documents : list of str, pandas.Series or pandas.DataFrame
        Texts; none may be empty. They go in one request.
    model : str or ModelPicker, optional
        One of ``ornb.models(kind="rerank")``; by default cohere/rerank-v3.5, else the first that is
        listed. Offline shared words are counted, and that is said.
    top_n : int, optional
        The best so many alone.
    template : str, optional
        Of data with several columns, such as ``"{{title}}: {{review}}"``.
    label : str, optional
        Your word for the call, kept in `ornb.usage`.
    **params : Any
        Passed on untouched: ``provider``, ``session_id``, ``trace``, ``user``.

    Returns
    -------
    pandas.DataFrame
        The documents, the most relevant first, with their index and columns, and ``rank`` and
        ``relevance_score`` (docs/tables.md). ``.attrs`` has model, source, ``cost_usd`` as billed,
        ``estimate_usd``.

    Raises
    ------
    ConfigError
        Nothing was sent: a text is empty or too long, the model is of another kind, an argument is
        none.
    BudgetExceeded
        It could cost more than is left.
    UnexpectedAnswer
        The scores are not one for each document; its ``reply`` has what came.
    OrnbError
        Whatever else went wrong.

    Examples
    --------
    >>> found = ornb.rerank("cold soup", ["a lovely evening", "the soup was cold"])
    >>> found["text"].tolist()
    ['the soup was cold', 'a lovely evening']

    References
    ----------
    OpenRouter, ``POST /rerank``, by the official SDK 1.3.84; 2026-10-27.
    """
    service, meant = session.client(), model_of("rerank", model)
    with session.refusals_noted(service, meant.model, label):
        check_arguments("ornb.rerank", params, FIELDS)
        if not isinstance(query, str) or not query.strip():
            raise ConfigError("The query is empty, so nothing was sent. Write what is looked for.")
        frame = table_of(documents)
        _refuse_empty(frame, [])
        if top_n is not None and (type(top_n) is not int or top_n < 1):
            raise ConfigError(f"top_n is {top_n!r}; give a number of documents from 1 on.")
        meant.check()
        both = [name for name in RERANK_COLUMNS if name in frame.columns]
        if both:
            raise ConfigError(f"documents have a column {both[0]!r} already; rename it.")
        rows = Requests(frame, template, None, {"input": None}, "")
        _refuse_empty(frame, [n for n, row in enumerate(rows) if row.digest is None])
        texts = rows.body(*range(len(frame)))["input"]
        _refuse_long(frame, dict(enumerate(texts)), meant, query)
    asked = {"query": query, "documents": texts, "top_n": top_n}
    asked = {name: value for name, value in asked.items() if value is not None}
    with meant.near():
        reply = service._other(meant.model, {**params, **asked, "label": label})
    order = _order(reply, len(frame), top_n)
    table = frame.iloc[list(order)].copy()
    table["rank"] = c.typed(range(1, len(order) + 1), "Int64")
    table["relevance_score"] = c.typed(order.values(), "float64")
    call = reply.row(session.estimate(reply))
    told = {name: call[name] for name in (*_WHO, *_SUMS)}
    table.attrs |= {"model": meant.model, **told, "note": reply.note}
    return table


def _order(reply: Reply, count: int, top_n: int | None) -> dict[int, float]:
    """Places of documents to their scores, the best first."""
    found: dict[int, float] = {}
    told = [each for each in json.loads(reply.text or "[]") if isinstance(each, dict)]
    for each in told:
        place, score = each.get("index"), each.get("relevance_score")
        if type(place) is int and 0 <= place < count and type(score) in (int, float):
            with contextlib.suppress(OverflowError):
                found[place] = float(score)  # type: ignore[arg-type]
    is_whole = len(told) == len(found) == min(count, top_n or count)
    if not is_whole or not all(map(math.isfinite, found.values())):
        error = UnexpectedAnswer(
            f"{reply.requested_model} gave {counted(len(told), 'score')} for "
            f"{counted(count, 'document')}, and they are not one for each. What came is in this "
            "error's reply; ask again, or another model."
        )
        error.reply = reply
        raise error
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))
