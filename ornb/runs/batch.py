"""A column of prompts, a table of answers: `ornb.batch`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Executor
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, overload

from .. import session
from ..api.body import check_fields
from ..errors import ConfigError, PriceUnknown, whole
from .data import comes_in_parts, is_file, table_of
from .machine import Batch, Batched, Store
from .plan import Plan
from .run import BatchInterrupted
from .work import check_executor

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import pandas as pd

    from ..api.client import Client

__all__ = ["BatchInterrupted", "Batched", "Plan", "batch"]


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
) -> pd.DataFrame | Batched | Plan:
    """Ask a model about each row of a table.

    What it can cost is said first. Identical rows are asked once. What is interrupted, or stopped
    by a ceiling, goes on where it was when the same is run again.

    Parameters
    ----------
    data : pandas.DataFrame, pandas.Series, list, iterator or path
        Each row is asked about. Texts in a list, or a Series without a name, are the column
        ``text``; dicts are rows. With a `store`, an iterator of texts, dicts or frames, and a
        ``.csv``, ``.tsv`` or ``.parquet`` file, are taken as they come, and never held whole.
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
    pandas.DataFrame, Batched or Plan
        Index, columns and dtypes of `data`, and further columns (docs/tables.md has them), a row
        each: answer, status, error, tokens, cost and times. Failed rows are rows; running the same
        again asks them again. Of rows that are taken as they come, their counts, and the answers
        on demand.

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

    def made() -> Batch:
        rows = data
        if dry_run and is_file(data):
            rows = table_of(data)
        elif dry_run and comes_in_parts(data):
            raise ConfigError(
                "dry_run=True would use data up, which can be gone through only once. Give a "
                "list, a DataFrame or the path of a file."
            )
        return Batch(
            *(rows, template, model, system, attach, schema, cap_usd),
            *(store, resume, prefix, client, params),
        )

    noted = session.refusals_noted(client, model, label)
    return run(made, noted, executor, concurrency, label, progress=progress, dry_run=dry_run)


def run(
    make: Callable[[], Batch],
    noted: AbstractContextManager[None],
    executor: Executor | None,
    concurrency: int,
    label: str | None,
    *,
    progress: bool,
    dry_run: bool,
) -> pd.DataFrame | Batched | Plan:
    """Check what a batch is given, make it, and ask; what is refused before that is `noted`."""
    with contextlib.ExitStack() as stack:
        with contextlib.nullcontext() if dry_run else noted:
            check_fields({"label": label}, "ornb.batch")
            made = make()
            stack.callback(made.kept.close)
            plan = made.plan
            if dry_run:
                return plan
            whole("concurrency", concurrency, 1)
            if executor is not None:
                check_executor(executor)
            billed = plan.source != "offline" and plan.calls > 0
            if made.cap is not None and plan.worst_usd is None and billed:
                raise PriceUnknown(
                    f"Nothing was sent: {plan.unknown}, so cap_usd could not hold. Leave it out, "
                    "or name a model with prices.",
                    model=plan.model,
                )
        return made.run(executor, concurrency, label, progress=progress)
