"""One batch, from its data to what is given back: rows that are due are asked, the others known."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import session
from ..api.body import text_of
from ..api.reply import counted
from ..errors import ConfigError, OrnbError, out_of_ornb
from ..ledger.budget import Budget, Gate, exact_usd
from ..ledger.quota import FreeQuota, is_counted
from ..messages.asked import fields_of, one_or_many
from ..offline import start
from .answers import BATCH_COLUMNS, Answer, Shape, check_names, with_answers
from .data import comes_in_parts, is_file, parts_of, table_of
from .plan import Plan, total
from .rows import Requests
from .run import Ask, BatchInterrupted, Run
from .store import AnswerStore, Memory
from .tally import Tally

if TYPE_CHECKING:
    from ..api.client import Client
    from ..ledger.bound import Quote

Store = str | os.PathLike[str] | bool | None


@dataclass(frozen=True, repr=False)
class Batched:
    """What came of a batch whose rows were taken as they came; the answers are in its store.

    Examples
    --------
    >>> import tempfile
    >>> store = tempfile.mkdtemp() + "/answers.sqlite3"
    >>> texts = (f"text {n}" for n in range(3))
    >>> done = ornb.batch(texts, model="ornb/canned", store=store, progress=False)
    >>> done
    Batched(3 rows: 3 ok; $0 billed)
    >>> [len(frame) for frame in done.frames(f"text {n}" for n in range(3))]
    [3]
    """

    counts: Mapping[str, int]
    """Rows by status, as in the column ``status``."""
    billed_usd: Decimal
    """What was billed for the answers of this run, in USD."""
    cost: str
    """What they cost, in words; a proxy's reckoning and what your own keys paid are no bill."""
    left_out: str
    """Why rows failed or were not asked, a line for each of the last reasons; else empty."""
    _batch: Batch = field(repr=False)

    @property
    def rows(self) -> int:
        """Rows that were seen."""
        return sum(self.counts.values())

    def frames(self, data: Any = None) -> Iterator[pd.DataFrame]:
        """Give the data again, some rows at a time, with the answers beside it; none is asked.

        Parameters
        ----------
        data : as for `ornb.batch`
            By default the file that was given. An iterator is used up, so it is given anew.

        Yields
        ------
        pandas.DataFrame
            As `ornb.batch` returns it; rows without an answer are ``skipped``.

        Raises
        ------
        ConfigError
            There is no data to go through, or the store cannot be read.
        """
        if data is None and not is_file(self._batch.data):
            raise ConfigError(
                "The data was an iterator, which is used up. Pass it anew, such as "
                "done.frames(pandas.read_csv(path, chunksize=10_000))."
            )
        return self._batch.known(self._batch.data if data is None else data)

    def __repr__(self) -> str:
        ended = ", ".join(f"{n:,} {status}" for status, n in sorted(self.counts.items()) if n)
        text = f"{counted(self.rows, 'row')}: {ended or 'none'}"
        why = self.left_out and f"\n{self.left_out}"
        return f"Batched({text}; {self.cost}){why}"


class Part:
    """Rows at hand: what each asks for, and what came of it."""

    def __init__(self, rows: Requests) -> None:
        self.rows = rows
        self.answers: list[Answer | None] = []
        self.first: dict[str, int] = {}
        """Content hash to the row that asks it first."""
        self.repeats: dict[int, int] = {}
        """Row to the earlier one that asks the same."""
        self.sizes: list[tuple[Any, ...]] = []
        self.cached = self.cached_rows = 0
        sizes: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for position, row in enumerate(rows):
            self.answers.append(None if row.digest is not None else _skipped(row.why_not))
            self.sizes.append(sizes.setdefault(row.size, row.size))
            if row.digest is not None and self.first.setdefault(row.digest, position) != position:
                self.repeats[position] = self.first[row.digest]
        self.longest = max((size[1] for size in sizes), default=0)
        self.skipped = [each.error for each in self.answers if each is not None]
        self.counts = dict.fromkeys(self.repeats.values(), 1)
        for earlier in self.repeats.values():
            self.counts[earlier] += 1

    def know(self, known: Mapping[str, Answer], shape: Shape | None) -> None:
        """Take answers from earlier runs."""
        for digest, answer in known.items():
            read = answer if shape is None else shape.read(answer)
            if read.status == "ok":
                read.status, read.attempts = "cached", 0
                self.answers[self.first[digest]] = read
                self.cached += 1
                self.cached_rows += self.counts.get(self.first[digest], 1)

    def share(self, under_way: Mapping[str, Ask]) -> None:
        """Let rows wait for the same request of an earlier part."""
        for digest in self.first.keys() & under_way.keys():
            at = self.first.pop(digest)
            under_way[digest].rows += self.counts.get(at, 1)

    @property
    def is_done(self) -> bool:
        """Whether all is answered that can be asked."""
        first = (self.answers[at] for at in self.first.values())
        return all(each is not None and each.status in ("ok", "cached") for each in first)

    @property
    def due(self) -> Iterator[tuple[str, int]]:
        """Content hashes that have no answer yet, and the rows that ask them first."""
        return ((one, at) for one, at in self.first.items() if self.answers[at] is None)

    def by_row(self, why_not: str | None) -> list[Answer]:
        """Give an answer for each row."""
        rows = []
        for position, own in enumerate(self.answers):
            first = self.repeats.get(position)
            answer = own if first is None else self.answers[first]
            if answer is None:
                rows.append(_skipped(why_not))
            else:
                rows.append(answer if first is None else answer.as_repeat())
        return rows


class Batch:
    """One batch: what to ask, what is known already, and the way to the rest."""

    verb = "ornb.batch"
    columns = BATCH_COLUMNS

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
        self.data, self.prefix, self.store = data, prefix, store
        self.is_streamed = store not in (None, False) and comes_in_parts(data)
        self.parts = parts_of(data if self.is_streamed else table_of(data))
        self.frame = next(self.parts, table_of([]))
        self.shape = schema if schema is None or isinstance(schema, Shape) else Shape(schema)
        check_names(self.frame, self.shape, prefix, self.columns)
        self.client = session.client() if client is None else client
        self.is_default = client is None
        self.cap: Budget | None = None
        if cap_usd is not None:
            usd = exact_usd(cap_usd, f"cap_usd is {cap_usd!r}; that")
            self.cap = Budget(usd, budgets=session.default.budgets)
        self.request = fields_of(self.verb, params, None if schema is self.shape else schema)
        if self.is_default or model is not None:
            self.request["model"] = session.model_id(model)
        files = one_or_many(attach)
        catalogue = session.catalogue_of(self.client) if files else None
        service = self._service()
        rows = Requests(self.frame, template, system, self.request, service, files, catalogue)
        gate, is_offline = self.client.before_call, self.client.source == "offline"
        if not isinstance(gate, Gate):
            gate = Gate(
                self._record,
                self.client.endpoints,
                session.default.budgets,
                FreeQuota(),
                lambda _: is_offline,
            )
        self.gate = gate
        self.since = None if resume else datetime.now(UTC)
        self.quotes: dict[Any, Quote] = {}
        self.under_way: dict[str, Ask] = {}
        self.part = Part(rows)
        if self.shape is not None:
            self.shape.check(rows, self.part.sizes)
        self.unfinished = session.default.part(Memory)
        """Answers of batches that did not get to their end, where no store has them."""
        self.kept = self._open()
        try:
            if resume:
                self.part.know(self.kept.read(self.part.first), self.shape)
        except BaseException:
            self.kept.close()
            raise

    def _open(self) -> AnswerStore | Memory:
        if self.store in (None, False):
            return self.unfinished
        return AnswerStore(self.store or True, self.unfinished)

    def _service(self) -> str:
        """Whose answers these are, for the content hash."""
        if self.client.source != "offline":
            return self.client.base_url
        if self.is_default and start().why_canned:
            return "offline, canned"  # so that a model's answers take their place once there is one
        return "offline"

    @functools.cached_property
    def listed(self) -> pd.DataFrame | None:
        """The catalogue of a client that is not the kernel's own."""
        if self.is_default:
            return None
        found = session.catalogue_of(self.client)
        return pd.DataFrame() if found is None else found

    def _record(self, model: str) -> Any:
        listed = self.listed
        return None if listed is None or model not in listed.index else listed.at[model, "raw"]

    @functools.cached_property
    def plan(self) -> Plan:
        """What is to be sent of the rows at hand."""
        part = self.part
        likely, worst, unknown = total(self._quote(part, rows) for _, rows in self._calls(part))
        first = next((self._body(part, rows) for _, rows in self._calls(part)), {})
        asked, texts = first.get("messages"), first.get("input") or [first.get("state")]
        return Plan(
            rows=len(part.rows),
            calls=sum(1 for _ in self._calls(part)),
            repeats=len(part.repeats),
            cached=part.cached,
            skipped=len(part.skipped),
            model=self.request.get("model"),
            source=self.client.source,
            likely_usd=likely,
            worst_usd=worst,
            unknown=unknown,
            cap_usd=None if self.cap is None else self.cap.limit_usd,
            prompt=texts[0] if asked is None else text_of(asked[-1]["content"]),
            longest=part.longest,
            prices_of=session.price_days([self.request.get("model")]),
        )

    def _calls(self, part: Part) -> Iterator[tuple[str, tuple[int, ...]]]:
        """What is due, request by request: a name for it, and its rows."""
        return ((digest, (position,)) for digest, position in part.due)

    def _quote(self, part: Part, rows: tuple[int, ...]) -> Quote:
        """What a request can cost: those of the same length cost the same."""
        size = tuple(part.sizes[position] for position in rows)
        if size not in self.quotes:
            self.quotes[size] = self.gate.quote(self._body(part, rows))
        return self.quotes[size]

    def _body(self, part: Part, rows: tuple[int, ...]) -> dict[str, Any]:
        return part.rows.body(*rows)

    def _ask(self, part: Part, digest: str, rows: tuple[int, ...]) -> Ask:
        body, worst_usd = self._body(part, rows), self._quote(part, rows).worst_usd
        count = part.counts.get(rows[0], 1)
        return Ask(digest, body, worst_usd, part.answers, rows[0], count, self.shape)

    def run(
        self, executor: Executor | None, concurrency: int, label: str | None, *, progress: bool
    ) -> pd.DataFrame | Batched:
        """Ask what is due, and give back what is known then."""
        if progress:
            begins = "Rows are taken as they come. The first: " if self.is_streamed else ""
            print(f"{begins}{self.plan}")
        before = self.client.before_call
        tally = Tally(None if self.is_streamed else len(self.frame), show=progress)
        with contextlib.ExitStack() as stack:
            stack.callback(tally.close)
            stack.callback(self.kept.close)
            stack.callback(self.parts.close)
            if self.cap is not None:
                stack.enter_context(self.cap)
                before = self.gate
            if self.is_default and self.client.source == "live" and is_counted(self.request):
                stack.enter_context(_spaced())
            asking = Run(
                self.client,
                executor,
                concurrency,
                before_call=before,
                kept=self.kept,
                tally=tally,
                listed=self.listed if self.is_streamed or self.plan.calls else None,
                label=label,
                needs_store=self.is_streamed,
            )
            try:
                asking(self._asks(tally))
            except KeyboardInterrupt:
                raise BatchInterrupted(*self._interrupted(tally)) from None
        if self.kept.trouble is not None:
            where = "in this kernel" if self.is_streamed else "in the frame"
            warnings.warn(
                f"{self.kept.trouble} The answers are {where}. The same call finds them, as long "
                "as this kernel runs, and writes them.",
                RuntimeWarning,
                stacklevel=out_of_ornb(),
            )
        made = self._made(tally, asking.why_stopped)
        if isinstance(self.kept, Memory) and self.part.is_done:
            self.kept.forget(self.part.first)
        if progress and tally.left_out:
            print(tally.left_out)
        return made

    def _asks(self, tally: Tally) -> Iterator[Ask]:
        """What is due, part by part; what is known or skipped is counted."""
        for part in self._all_parts():
            tally.begin(part.cached_rows, part.skipped)
            for digest, rows in self._calls(part):
                ask = self._ask(part, digest, rows)
                if self.is_streamed:
                    self.under_way[digest] = ask
                yield ask

    def _all_parts(self) -> Iterator[Part]:
        yield self.part
        for frame in self.parts:
            part = Part(self.part.rows.on(frame))
            self.under_way = {
                digest: ask
                for digest, ask in self.under_way.items()
                if ask.answers[ask.position] is None
            }
            part.share(self.under_way)
            part.know(self.kept.read(part.first, self.since), self.shape)
            yield part

    def _made(self, tally: Tally, why_stopped: str | None) -> pd.DataFrame | Batched:
        if self.is_streamed:
            why = tally.left_out
            if why_stopped is not None:
                why = f"{why}\nIt stopped: {why_stopped}".strip()
            return Batched(dict(+tally.counts), tally.spent["billed"], tally.cost, why, self)
        tally.leave(len(self.frame) - sum(tally.counts.values()), why_stopped)
        table = self._table(self.frame, self.part, why_stopped)
        if self.plan.whole:
            table.attrs["ornb"] = self.plan.whole
        return table

    def _table(self, frame: pd.DataFrame, part: Part, why_not: str | None) -> pd.DataFrame:
        return with_answers(frame, part.by_row(why_not), self.shape, self.prefix, self.columns)

    def _interrupted(self, tally: Tally) -> tuple[pd.DataFrame | Batched, str]:
        of = "" if self.is_streamed else f" of {len(self.frame):,}"
        return self._made(tally, "interrupted"), (
            f"the batch was interrupted; {tally.done:,}{of} rows are answered. They are in the "
            f"{'store' if self.is_streamed else '`frame` of this exception (sys.last_value.frame)'}"
            ", and the same call goes on from there."
        )

    def known(self, data: Any) -> Iterator[pd.DataFrame]:
        """Put what the store has beside data, part by part."""
        kept = self._open()
        with contextlib.closing(kept):
            for frame in parts_of(data):
                part = Part(self.part.rows.on(frame))
                part.know(kept.read(part.first), self.shape)
                yield self._table(frame, part, "it has no answer yet")


def _skipped(why_not: str | None) -> Answer:
    return Answer(status="skipped", error=why_not, cost_usd=0.0, estimate_usd=0.0)


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
