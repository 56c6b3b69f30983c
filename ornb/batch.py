"""A column of prompts, a table of answers: `ornb.batch`."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, overload

from . import session
from .batching.answers import Answer, Shape, check_names, with_answers
from .batching.plan import Plan, Prices, total
from .batching.rows import Row, Rows, table_of
from .batching.run import BatchInterrupted, Run
from .batching.store import AnswerStore, Memory
from .errors import ConfigError, OrnbError, PriceUnknown
from .ledger.budget import Budget
from .ledger.price_book import EXACT
from .ledger.quota import is_counted
from .offline import start
from .request.asked import fields_of, one_or_many
from .wire.body import check_fields, text_of
from .wire.reply import Reply, format_usd

if TYPE_CHECKING:
    import pandas as pd

    from .client import Client

__all__ = ["BatchInterrupted", "Plan", "batch"]

_unfinished = Memory()
"""Answers of batches that did not get to their end, where no store was named."""
Store = str | os.PathLike[str] | bool | None


@overload
def batch(
    data: Any,
    template: str | None = None,
    model: Any = None,
    *,
    system: str | None = None,
    attach: Any = (),
    schema: Any = None,
    executor: Executor | None = None,
    concurrency: int = 8,
    cap_usd: float | str | Decimal | None = None,
    store: Store = None,
    resume: bool = True,
    prefix: str = "",
    progress: bool = True,
    dry_run: Literal[False] = False,
    label: str | None = None,
    client: Client | None = None,
    **params: Any,
) -> pd.DataFrame: ...
@overload
def batch(
    data: Any,
    template: str | None = None,
    model: Any = None,
    *,
    dry_run: Literal[True],
    **more: Any,
) -> Plan: ...
def batch(
    data: Any,
    template: str | None = None,
    model: Any = None,
    *,
    system: str | None = None,
    attach: Any = (),
    schema: Any = None,
    executor: Executor | None = None,
    concurrency: int = 8,
    cap_usd: float | str | Decimal | None = None,
    store: Store = None,
    resume: bool = True,
    prefix: str = "",
    progress: bool = True,
    dry_run: bool = False,
    label: str | None = None,
    client: Client | None = None,
    **params: Any,
) -> pd.DataFrame | Plan:
    """Ask a model about each row of a table.

    What it can cost is said first. Identical rows are asked once. What is interrupted, or stopped
    by a ceiling, goes on where it was when the same is run again.

    Parameters
    ----------
    data : pandas.DataFrame, pandas.Series or list of str
        Each row is asked about. A list, or a Series without a name, is the column ``text``.
    template : str, optional
        The prompt, with columns in double braces: ``"Is this positive? {{review}}"``. Names are
        checked before the first call. None where the only column holds whole prompts.
    model : str or ModelPicker, optional
        As for `ornb.ask`.
    system : str, optional
        A system message that goes first; it may name columns too.
    attach : path, address, bytes, Attachment or a list of them
        Goes with each prompt. A text may name columns: ``"{{folder}}/{{name}}.png"``; a column may
        also hold the content itself, or a list. A row whose file cannot be read is ``skipped``.
    schema : type or mapping, optional
        Asks for answers of this shape (a dataclass, a TypedDict, a pydantic model class, a JSON
        schema), a column for each of its properties.
    executor : concurrent.futures.Executor, optional
        Who makes the calls: by default threads. ``ProcessPoolExecutor``, Dask's
        ``Client.get_executor(pure=False)`` and others do as well. It is not shut down.
    concurrency : int
        Calls under way at most, on whatever executor.
    cap_usd : float, str or decimal.Decimal, optional
        A ceiling for this batch, in USD, as of `ornb.budget`: no call leaves that could pass it,
        and the rows that are left are ``skipped``.
    store : str, path-like or bool, optional
        Where answers are kept from run to run: the path of a SQLite file, a URL of SQLAlchemy's, or
        True for a file in your data folder. By default only the answers of a batch that was not
        finished are kept, in memory.
    resume : bool
        Whether answers that are kept are used again. False asks anew.
    prefix : str
        Put before the names of all columns that are added.
    progress : bool
        Whether the plan, a bar with the cost so far, and what was left out are shown.
    dry_run : bool
        True sends nothing, and returns the plan with its likely and worst cost.
    label : str, optional
        Your word for the calls, kept in `ornb.usage`.
    client : Client, optional
        Who is asked instead of the kernel's client.
    **params : Any
        Sent with each request: ``max_tokens``, ``temperature``, ``provider``, ...

    Returns
    -------
    pandas.DataFrame or Plan
        Index, columns and dtypes of `data`, and further columns (docs/tables.md has them), a row
        each: answer, status, error, tokens, cost and times. Failed rows are rows; running the same
        again asks them again.

    Raises
    ------
    ConfigError
        `data`, the template, a column name or an argument cannot be used. Nothing was sent.
    PriceUnknown
        `cap_usd` was given, and what the calls can cost is not known. Nothing was sent.
    KeyboardInterrupt
        Its ``frame`` has the answers so far.

    Examples
    --------
    >>> import pandas as pd
    >>> reviews = pd.DataFrame({"review": ["Great!", "Awful.", "Great!"]}, index=[7, 8, 9])
    >>> labelled = ornb.batch(
    ...     reviews, "Positive or negative? {{review}}", max_tokens=5, progress=False
    ... )
    >>> labelled[["review", "status", "source", "attempts"]]
       review  status  source  attempts
    7  Great!      ok  canned         1
    8  Awful.      ok  canned         1
    9  Great!  cached  canned         0

    Notes
    -----
    Free models are asked as often as their limits allow, see `ornb.quota`. A refusal that names a
    time (``Retry-After``) is waited for. A wrong key, no credits or an unknown model stop the
    batch, since no row could do better.

    Threads share the caller's connections. A ``ProcessPoolExecutor`` is given the key through a
    pipe of this machine; workers of any other executor read ``OPENROUTER_API_KEY`` of their own
    environment, and use it only if it is the caller's.
    """
    check_fields({"label": label}, "ornb.batch")
    made = _Batch(
        *(data, template, model, system, attach, schema),
        *(cap_usd, store, resume, prefix, client, params),
    )
    with contextlib.closing(made.kept):
        plan = made.plan
        if dry_run:
            return plan
        if not isinstance(concurrency, int) or concurrency < 1:
            raise ConfigError(f"concurrency is {concurrency!r}; give a number of calls from 1 on.")
        if executor is not None and not callable(getattr(executor, "submit", None)):
            raise ConfigError(
                f"executor is {executor!r}; give one of concurrent.futures, or for Dask its "
                "Client's get_executor(pure=False)."
            )
        billed = plan.source != "offline" and plan.calls > 0
        if cap_usd is not None and plan.worst_usd is None and billed:
            raise PriceUnknown(
                f"Nothing was sent: {plan.unknown}, so cap_usd could not hold. Leave it out, or "
                "name a model with prices.",
                model=plan.model,
            )
        return made.run(executor, concurrency, label, progress=progress)


class _Batch:
    """One batch: what to ask, what is known already, and the way to the rest."""

    def __init__(
        self,
        data: Any,
        template: str | None,
        model: Any,
        system: str | None,
        attach: Any,
        schema: Any,
        cap_usd: Any,
        store: Store,
        resume: bool,
        prefix: str,
        client: Client | None,
        params: dict[str, Any],
    ) -> None:
        self.frame, self.prefix = table_of(data), prefix
        self.shape = None if schema is None else Shape(schema)
        check_names(self.frame, self.shape, prefix)
        self.client = session.client() if client is None else client
        self.is_default = client is None
        self.cap = None if cap_usd is None else _cap(cap_usd)
        self.request = fields_of("ornb.batch", params, schema)
        if self.is_default or model is not None:
            self.request["model"] = session.model_id(model)
        files = one_or_many(attach)
        catalogue = session.catalogue_of(self.client) if files else None
        service = self._service()
        self.rows = Rows(self.frame, template, system, self.request, service, files, catalogue)
        self.prices = Prices(self.client, _remembered(self._record_of))
        self.listed: list[Row] = []
        self.first: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        for position, row in enumerate(self.rows):
            self.listed.append(row)
            if row.digest is not None:
                self.first.setdefault(row.digest, position)
                self.counts[row.digest] = self.counts.get(row.digest, 0) + 1
        self.is_stored = store not in (None, False)
        self.kept = AnswerStore(store or True) if self.is_stored else _unfinished
        try:
            self.known = self._known() if resume else {}
        except BaseException:
            self.kept.close()
            raise
        self.due = [digest for digest in self.first if digest not in self.known]

    def _service(self) -> str:
        """Whose answers these are, for the content hash."""
        if self.client.source != "offline":
            return self.client.base_url
        if self.is_default and start().why_canned:
            return "offline, canned"  # so that a model's answers take their place once there is one
        return "offline"

    def _record_of(self, model: str) -> Any:
        if self.is_default:
            listed = session.models()
            return listed.at[model, "raw"] if model in listed.index else None
        return next((each for each in self.client.models() if each.get("id") == model), None)

    def _known(self) -> dict[str, Answer]:
        found = self.kept.read(self.first)
        if self.shape is not None:
            found = {digest: self.shape.read(answer) for digest, answer in found.items()}
        return {digest: answer for digest, answer in found.items() if answer.status == "ok"}

    @functools.cached_property
    def plan(self) -> Plan:
        likely, worst, unknown = total(self._quote(digest) for digest in self.due)
        asked = self.rows.body(self.first[self.due[0]])["messages"] if self.due else None
        return Plan(
            rows=len(self.frame),
            calls=len(self.due),
            repeats=sum(self.counts.values()) - len(self.first),
            cached=len(self.known),
            skipped=len(self.frame) - sum(self.counts.values()),
            model=self.request.get("model"),
            source=self.client.source,
            likely_usd=likely,
            worst_usd=worst,
            unknown=unknown,
            cap_usd=None if self.cap is None else self.cap.limit_usd,
            prompt=None if asked is None else text_of(asked[-1]["content"]),
            longest=max((row.size[1] for row in self.listed), default=0),
        )

    def _body(self, digest: str) -> dict[str, Any]:
        return self.rows.body(self.first[digest])

    def _quote(self, digest: str) -> Any:
        return self.prices.quote(lambda: self._body(digest), self.listed[self.first[digest]].size)

    def _answer_of(self, reply: Reply) -> Answer:
        answer = Answer.of(reply, self.prices.estimate(reply))
        return answer if self.shape is None else self.shape.read(answer)

    def _explain(self, error: OrnbError) -> bool:
        """Propose near models where the one asked is refused, since no row could do better."""
        model = self.request.get("model")
        if self.is_default:
            session.with_near_models(error, model)
        return session.refuses_model(error, model)

    def _keep(self, digest: str, answer: Answer) -> None:
        if answer.status == "ok":
            self.kept.put(digest, answer)

    def run(
        self, executor: Executor | None, concurrency: int, label: str | None, *, progress: bool
    ) -> pd.DataFrame:
        if progress:
            print(self.plan)
        answers = dict(self.known)
        before = self.client.before_call
        with contextlib.ExitStack() as stack:
            if self.cap is not None:
                stack.enter_context(self.cap)
                before = self.prices.gate
            if self.is_default and self.client.source == "live" and is_counted(self.request):
                stack.enter_context(_spaced())
            bar = stack.enter_context(_bar(self, show=progress))

            def told(digest: str, answer: Answer) -> None:
                answers[digest] = answer
                bar(answer, self.counts[digest])

            asking = Run(
                self.client,
                executor,
                concurrency,
                before_call=before,
                worst_usd=lambda digest: self._quote(digest).worst_usd,
                body=self._body,
                answer_of=self._answer_of,
                keep=self._keep,
                told=told,
                explain=self._explain,
                label=label,
            )
            try:
                asking(self.due)
            except KeyboardInterrupt:
                rows = self._by_row(answers, "interrupted")
                raise BatchInterrupted(self._table(rows), _interrupted(rows)) from None
        if asking.complaint is not None:
            warnings.warn(asking.complaint, RuntimeWarning, stacklevel=3)
        rows = self._by_row(answers, asking.why_stopped)
        is_done = len(answers) == len(self.first) and {a.status for a in answers.values()} <= {"ok"}
        if isinstance(self.kept, Memory) and is_done:
            self.kept.forget(self.first)
        if progress and (words := _left_out(rows)):
            print(words)
        return self._table(rows)

    def _by_row(self, answers: dict[str, Answer], why_not: str | None) -> list[Answer]:
        rows = []
        for position, row in enumerate(self.listed):
            answer = None if row.digest is None else answers.get(row.digest)
            if answer is None or row.digest is None:
                answer = Answer(
                    status="skipped", error=row.why_not or why_not, cost_usd=0.0, estimate_usd=0.0
                )
            elif position != self.first[row.digest]:
                answer = answer.as_repeat()
            elif row.digest in self.known:
                answer = replace(answer, status="cached", attempts=0)
            rows.append(answer)
        return rows

    def _table(self, rows: list[Answer]) -> pd.DataFrame:
        table = with_answers(self.frame, rows, self.shape, self.prefix)
        if self.plan.whole:
            table.attrs["ornb"] = self.plan.whole
        return table


def _cap(usd: Any) -> Budget:
    try:
        return Budget(usd)
    except ConfigError as error:
        raise ConfigError(f"cap_usd is {usd!r}; give an amount in USD such as 0.50.") from error


def _remembered(look_up: Callable[[str], Any]) -> Callable[[str], Any]:
    """Ask once for each model, also where nothing is known of it."""
    found: dict[str, Any] = {}

    def record(model: str) -> Any:
        if model not in found:
            try:
                found[model] = look_up(model)
            except OrnbError:
                found[model] = None
        return found[model]

    return record


@contextlib.contextmanager
def _spaced() -> Iterator[None]:
    """Free calls wait for their turn."""
    before = session.quota(ask=False).waits
    session.quota(wait=True)
    try:
        yield
    finally:
        with contextlib.suppress(OrnbError):  # the answers count for more than a count
            session.quota(wait=before, ask=False)


@contextlib.contextmanager
def _bar(made: _Batch, *, show: bool) -> Iterator[Callable[[Answer, int], None]]:
    """A progress bar over the rows, with what was billed so far."""
    from tqdm.auto import tqdm

    billed, failed = Decimal(0), 0
    done = len(made.listed) - sum(made.counts[digest] for digest in made.due)
    with tqdm(total=len(made.listed), initial=done, unit="row", disable=not show) as bar:

        def told(answer: Answer, rows: int) -> None:
            nonlocal billed, failed
            if not show:
                return
            words = ""
            if (
                answer.cost_usd is not None
            ):  # a sum that grows: the last row costs what the first did
                billed = EXACT.add(billed, Decimal(repr(float(answer.cost_usd))))
            if answer.status == "error":
                failed += rows
            elif answer.source in ("local", "canned"):
                words = f"{answer.source}, nothing billed"
            if answer.source == "live":
                words = f"{format_usd(float(billed))} billed"
            trouble = [f"{failed:,} failed"] if failed else []
            bar.set_postfix_str(", ".join([words, *trouble] if words else trouble), refresh=False)
            # It counts answers, so that it ends short of full, and as no success, where some fail.
            bar.update(rows if answer.status == "ok" else 0)

        yield told


def _interrupted(rows: Sequence[Answer]) -> str:
    done = sum(each.status in ("ok", "cached") for each in rows)
    return (
        f"the batch was interrupted; {done:,} of {len(rows):,} rows are answered. They are in the "
        "`frame` of this exception (sys.last_value.frame), and the same call goes on from there."
    )


def _left_out(rows: Sequence[Answer]) -> str:
    """What a person should know of rows that are not answered."""
    counts: dict[str | None, list[str]] = {}
    for status, verb in (("error", "failed"), ("stopped", "stopped"), ("skipped", "skipped")):
        reasons = [each.error for each in rows if each.status == status]
        if reasons:  # what they share is said once
            noun = "row" if len(reasons) == 1 else "rows"
            counts.setdefault(reasons[-1], []).append(f"{len(reasons):,} {noun} {verb}")
    return "\n".join(f"{' and '.join(each)}; the last: {why}" for why, each in counts.items())
