"""Rows as they come, stores that take nothing, executors that are not like others."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal

import pandas as pd
import pytest
from test_batch import (
    COST,
    KEY,
    MODEL,
    _interruptible,
    answered,
    batch,
    interrupted_then_resumed,
    refused,
    serve,
    texts,
)
from wire import STALL_S

import ornb
from ornb import session
from ornb.errors import ConfigError
from ornb.runs.rows import Requests
from ornb.runs.store import TABLE, Memory
from ornb.runs.work import InTurn

__all__ = ["_interruptible", "serve"]


def kept(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0]


# --- rows as they come ----------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [{}, {"a": 1, "model": "m"}, {"z": {"messages": []}}], ids=str)
@pytest.mark.parametrize("system", [None, "Ünder {{text}}"])
def test_a_store_of_an_earlier_version_is_found_again(request_, system):
    # As objects: half a character is no text to Arrow, which pandas 3 uses where it is installed.
    data = pd.DataFrame({"text": ["é\x7f", "\ud800"]}, dtype=object)
    rows = Requests(data, "{{text}}", system, request_, "here")
    for n, row in enumerate(rows):
        text = json.dumps(rows.body(n), sort_keys=True)
        assert row.digest == hashlib.sha256(f"here\n{text}".encode()).hexdigest()


def test_half_a_character_in_a_list_of_dicts_is_asked_as_an_unknown_one(serve):
    serve()
    answers = batch([{"a": "\ud83d", "b": 1}], "{{a}}{{b}}")
    assert answers["answer"].tolist() == ["said \ufffd1"]


def test_a_list_of_dicts_is_a_table(serve):
    serve()
    answers = batch([{"a": 1, "b": "x"}, {"a": 2}], "{{a}} {{b}}")
    assert answers["status"].tolist() == ["ok", "skipped"]
    assert answers["answer"].iloc[0] == "said 1 x"


def test_parts_are_taken_as_they_come_and_never_before(serve, tmp_path):
    service, drawn = serve(), []

    def parts():
        for n in range(3):
            drawn.append(len(service.asked))
            yield pd.DataFrame({"text": [f"{n} {i}" for i in range(4)]})

    done = batch(parts(), store=tmp_path / "a.sqlite3", concurrency=1)
    assert drawn == [0, 4, 8]
    assert (done.rows, done.counts, done.left_out) == (12, {"ok": 12}, "")
    assert done.billed_usd == 12 * Decimal("0.0005")
    assert repr(done) == "Batched(12 rows: 12 ok; $0.0060 billed)"
    again = batch(parts(), store=tmp_path / "a.sqlite3")
    assert again.counts == {"cached": 12}
    assert again.billed_usd == 0
    assert len(service.asked) == 12


@pytest.mark.parametrize("rows", [texts(5), [{"text": text, "n": 1} for text in texts(5)]])
def test_an_iterator_of_rows_needs_a_store_to_be_streamed(serve, tmp_path, rows):
    service = serve()
    whole = batch(iter(rows))
    assert whole["answer"].tolist() == [f"said {text}" for text in texts(5)]
    done = batch(iter(rows), store=tmp_path / "a.sqlite3")
    (frame,) = done.frames(iter(rows))
    pd.testing.assert_frame_equal(frame[["text", "answer"]], whole[["text", "answer"]])
    assert set(frame["status"]) == {"cached"}
    with pytest.raises(ConfigError, match=r"used up.*Pass it anew"):
        done.frames()
    assert len(service.asked) == 10
    empty = batch(iter(rows[:0]), store=tmp_path / "a.sqlite3", template=None)
    assert repr(empty) == "Batched(0 rows: none; $0 billed)"


@pytest.mark.parametrize(
    ("name", "separator"), [("a.csv", ","), ("b.TSV", "\t"), ("c.csv.gz", ",")]
)
@pytest.mark.parametrize("kind", [str, os.fspath, "path"])
def test_a_file_is_read_a_part_at_a_time(serve, tmp_path, monkeypatch, name, separator, kind):
    monkeypatch.setattr("ornb.runs.data.ROWS", 4)
    service = serve()
    path = tmp_path / name
    pd.DataFrame({"text": [*texts(9), None], "n": range(10)}).to_csv(
        path, sep=separator, index=False
    )
    data = path if kind == "path" else kind(path)
    plan = batch(data, "{{text}} {{n}}", dry_run=True)
    assert (plan.rows, plan.calls, plan.skipped) == (10, 9, 1)
    assert len(batch(data, "{{text}} {{n}}", resume=False)) == 10
    done = batch(data, "{{text}} {{n}}", store=tmp_path / "a.sqlite3")
    assert done.counts == {"ok": 9, "skipped": 1}
    assert done.left_out == "1 row skipped; the last: text is missing"
    frames = list(done.frames())
    assert [len(frame) for frame in frames] == [4, 4, 2]
    table = pd.concat(frames)
    assert table.index.tolist() == list(range(10))
    assert table["answer"].tolist()[:9] == [f"said text {n} {n}" for n in range(9)]
    assert len(service.asked) == 18


def test_a_parquet_file_without_pyarrow_says_what_to_install(serve, tmp_path, monkeypatch):
    service = serve()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for store in (None, tmp_path / "a.sqlite3"):
        with pytest.raises(ConfigError, match=r"read by pyarrow.*%pip install pyarrow"):
            batch("rows.parquet", store=store)
    assert service.asked == []


def test_a_parquet_file_is_read_a_part_at_a_time(serve, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("ornb.runs.data.ROWS", 4)
    serve()
    pd.DataFrame({"text": texts(10)}).to_parquet(tmp_path / "a.parquet")
    done = batch(tmp_path / "a.parquet", store=tmp_path / "a.sqlite3")
    frames = list(done.frames())
    assert [len(frame) for frame in frames] == [4, 4, 2]
    assert pd.concat(frames).index.tolist() == list(range(10))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.csv", None, "gone.csv cannot be read: .*No such file"),
        ("a.csv", b"", "a.csv cannot be read: No columns"),
        ("a.csv", b"\xff\xfe\x00\x00", "a.csv cannot be read"),
        ("a.txt", b"text\n", "give a .csv, .tsv or .parquet file"),
    ],
)
def test_a_file_that_is_none_is_said_in_a_line(serve, tmp_path, name, content, words):
    service = serve()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for store in (None, tmp_path / "a.sqlite3"):
        with pytest.raises(ConfigError, match=words):
            batch(tmp_path / name, store=store)
    assert service.asked == []


def test_a_file_of_no_rows_gives_none(serve, tmp_path):
    serve()
    (tmp_path / "a.csv").write_text("review\n")
    assert len(batch(tmp_path / "a.csv", "{{review}}")) == 0
    done = batch(tmp_path / "a.csv", "{{review}}", store=tmp_path / "a.sqlite3")
    assert (done.rows, [len(frame) for frame in done.frames()]) == (0, [0])


def test_what_can_be_read_once_has_no_dry_run(serve, tmp_path):
    serve()
    rows = iter(texts(3))
    with pytest.raises(ConfigError, match="use data up"):
        batch(rows, store=tmp_path / "a.sqlite3", dry_run=True)
    assert list(rows) == texts(3)


@pytest.mark.parametrize("resume", [True, False])
def test_rows_that_ask_the_same_are_asked_once_in_whatever_part(serve, tmp_path, resume):
    """The first text stalls until the last part is drawn: it is under way and not in the store."""
    drawn = threading.Event()
    service = serve(lambda prompt, _: drawn.wait(STALL_S) and None if prompt == "a" else None)

    def parts():
        for some in (["a", "b"], ["b", "c"], ["a", "a", "c", "d"]):
            yield pd.DataFrame({"text": some})
        drawn.set()

    done = batch(parts(), store=tmp_path / "a.sqlite3", concurrency=2, resume=resume)
    assert Counter(service.asked) == Counter("abcd")
    assert done.counts == {"ok": 4, "cached": 4}
    assert done.billed_usd == 4 * Decimal("0.0005")


class Unwritable:
    def __str__(self):
        raise RuntimeError("no words")


def test_a_row_that_cannot_be_written_is_skipped_unless_it_comes_first(serve, tmp_path):
    service = serve()

    def parts(*cells):
        return (pd.DataFrame({"text": ["a" + str(n), cell]}) for n, cell in enumerate(cells))

    store = tmp_path / "a.sqlite3"
    with pytest.raises(ConfigError, match=r"Row 1: .*cannot be written.*no words"):
        batch(parts(Unwritable(), "b"), store=store)
    assert service.asked == []
    done = batch(parts("b", Unwritable(), "c"), store=store)
    assert done.counts == {"ok": 5, "skipped": 1}
    assert "cannot be written (RuntimeError: no words)" in done.left_out
    other = iter([pd.DataFrame({"text": ["d"]}), pd.DataFrame({"other": [1]})])
    assert batch(other, store=store).left_out == "1 row skipped; the last: text is missing"
    assert kept(store) == 6


def test_data_that_breaks_off_loses_nothing(serve, tmp_path):
    service = serve()

    def parts():
        yield pd.DataFrame({"text": texts(4)})
        raise ZeroDivisionError

    with ornb.budget(1) as budget, pytest.raises(ZeroDivisionError):
        batch(parts(), store=tmp_path / "a.sqlite3", concurrency=2)
    assert kept(tmp_path / "a.sqlite3") == len(service.asked) == len(session.usage) == 4
    assert (budget.reserved_usd, budget.held_usd) == (0, 0)


def test_a_cap_holds_where_rows_come_as_they_come(serve, tmp_path):
    service = serve()
    cap = session.quote("text 0", MODEL, max_tokens=100).worst_usd + Decimal("0.00051")
    done = batch(iter(texts(9)), store=tmp_path / "a.sqlite3", cap_usd=cap, concurrency=4)
    assert done.counts == {"ok": 2}
    assert done.billed_usd == 2 * Decimal("0.0005") <= cap
    assert "It stopped: acme/orbit was not sent" in done.left_out
    assert batch(iter(texts(9)), store=tmp_path / "a.sqlite3").counts == {"cached": 2, "ok": 7}
    assert Counter(service.asked) == Counter(texts(9))


def test_an_interrupt_leaves_all_that_came_in_the_store(serve, tmp_path):
    from wire import STREAM, delta

    def script(prompt, nth):
        if nth == 1 and prompt == "text 10":
            os.kill(os.getpid(), signal.SIGINT)
            return [STREAM, delta("beg"), "stall"]
        return None

    service = serve(script)
    with pytest.raises(
        KeyboardInterrupt, match=r"10 rows are answered. They are in the store"
    ) as stop:
        batch(iter(texts(20)), store=tmp_path / "a.sqlite3", concurrency=1)
    assert stop.value.frame.counts == {"ok": 10, "stopped": 1}
    again = batch(iter(texts(20)), store=tmp_path / "a.sqlite3")
    assert again.counts == {"cached": 10, "ok": 10}
    assert Counter(service.asked) == Counter([*texts(20), "text 10"])


def test_data_that_does_not_come_can_be_interrupted(serve, tmp_path):
    serve()

    def rows():
        yield pd.DataFrame({"text": ["a"]})
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(STALL_S)
        yield pd.DataFrame({"text": ["b"]})

    with pytest.raises(KeyboardInterrupt):
        batch(rows(), store=tmp_path / "a.sqlite3", concurrency=1)
    assert kept(tmp_path / "a.sqlite3") == 1


# --- a store that takes nothing -------------------------------------------------------------------


def test_behind_a_lock_no_answer_is_lost(serve, tmp_path, monkeypatch):
    monkeypatch.setattr("ornb.ledger.database.PATIENCE_S", 0.05)
    service, path = serve(), tmp_path / "a.sqlite3"
    batch(["first"], store=path)
    for data, shown in ((texts(6), "in the frame"), (iter(texts(9)), "in this kernel")):
        with closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.warns(RuntimeWarning, match=f"database is locked.*{shown}") as told:
                answers = batch(data, store=path, concurrency=2)
            assert len(told) == 1
            other.rollback()
    assert "It stopped: The store" in answers.left_out
    assert answers.counts["cached"] == 6
    again = batch(texts(9), store=path)
    assert set(again["status"]) <= {"cached", "ok"}
    assert kept(path) == 10
    assert Counter(service.asked) == Counter(["first", *texts(9)])
    assert session.default.part(Memory)._answers == {}


FULL = """
import resource, sys, warnings
import ornb
ornb.connect(base_url=sys.argv[1])
ornb.batch(["a"], None, "acme/orbit", store=sys.argv[2], progress=False)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
long = ["text " + "x" * 4000 + str(n) for n in range(40)]
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    answers = ornb.batch(long, None, "acme/orbit", store=sys.argv[2], progress=False)
assert set(answers["status"]) == {"ok"}, answers["status"]
print(*(each.message for each in told if each.category is RuntimeWarning), sep="\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of POSIX")
def test_on_a_full_disk_what_came_is_in_the_frame(serve, tmp_path):
    service = serve()
    command = [sys.executable, "-c", FULL, service.url, str(tmp_path / "a.sqlite3")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=STALL_S, check=True)
    assert done.stdout.count("\n") == 1
    assert "cannot be written to: d" in done.stdout  # the disk is full, or its I/O fails
    assert "The answers are in the frame" in done.stdout
    assert len(service.asked) == 41


# --- executors that are not like others -----------------------------------------------------------


class FarAway(Executor):
    """Work goes and comes pickled, as to another machine."""

    def __init__(self):
        self.sizes: list[int] = []

    def submit(self, fn, *args, **kwargs):
        self.sizes.append(len(args[0]))
        fn, args, kwargs = pickle.loads(pickle.dumps((fn, args, kwargs)))
        future = InTurn().submit(fn, *args, **kwargs)
        done: Future = Future()
        done.set_result(pickle.loads(pickle.dumps(future.result())))
        return done


def test_where_the_way_is_long_quick_requests_go_together(serve):
    service, pool = serve(), FarAway()
    with ornb.budget(1) as budget:
        answers = batch([*texts(120), *texts(3)], executor=pool)
    assert answers["answer"].tolist()[:120] == [f"said {text}" for text in texts(120)]
    assert Counter(service.asked) == Counter(texts(120))
    assert set(pool.sizes[:8]) == {1}, "not at once: one of them may turn out to be slow"
    assert max(pool.sizes) >= 4
    assert (budget.calls, budget.spent_usd) == (120, 120 * Decimal("0.0005"))
    assert len(session.usage) == 120


def test_behind_a_slow_answer_the_others_are_handed_out_anew(serve, monkeypatch):
    """With no patience, each load is cut after its first request, and none is asked twice."""
    monkeypatch.setattr("ornb.runs.work.TURN_S", -1.0)
    monkeypatch.setattr("ornb.runs.run.Run._fit_loads", lambda self, *_: setattr(self, "_most", 4))
    service, pool = serve(), FarAway()
    with ornb.budget(1) as budget:
        answers = batch(texts(9), executor=pool, concurrency=2)
    assert answers["status"].tolist() == ["ok"] * 9
    assert 4 in pool.sizes
    assert Counter(service.asked) == Counter(texts(9))
    assert (budget.calls, budget.spent_usd, budget.reserved_usd) == (9, 9 * Decimal("0.0005"), 0)


def test_requests_that_no_worker_began_set_nothing_aside(serve, monkeypatch):
    monkeypatch.setattr("ornb.runs.work.TURN_S", -1.0)
    monkeypatch.setattr("ornb.runs.run.Run._fit_loads", lambda self, *_: setattr(self, "_most", 4))
    serve(lambda prompt, _: refused(401) if prompt == "text 1" else None, retries=0)
    with ornb.budget(1) as budget:
        answers = batch(texts(9), executor=FarAway(), concurrency=1)
    assert answers["status"].tolist() == ["ok", "error"] + ["skipped"] * 7
    assert (budget.reserved_usd, budget.held_usd) == (0, 0)


class Everywhere(Executor):
    """Each piece of work is done on two engines, as by ipyparallel's `client[:].executor`."""

    def submit(self, fn, *args):
        work = pickle.dumps((fn, args))
        done: Future = Future()
        done.set_result([fn(*args) for fn, args in (pickle.loads(work) for _ in range(2))])
        return done


def test_an_executor_that_does_all_twice_ends_the_batch_at_the_first(serve):
    service = serve()
    answers = batch(texts(9), executor=Everywhere(), concurrency=1)
    assert answers["status"].tolist() == ["ok"] + ["skipped"] * 8
    assert "each piece of work was done 2 times" in answers["error"].iloc[1]
    assert "take client.executor()" in answers["error"].iloc[1]
    assert service.asked == ["text 0"] * 2
    assert session.usage.df["cost_usd"].tolist() == [COST] * 2, "all that was paid"


class DirectView:
    """What ipyparallel's is, as far as it can be told from outside."""

    __module__ = "ipyparallel.client.view"

    def __init__(self, engines):
        self.engines = engines

    def __len__(self):
        return self.engines


class BroadcastView(DirectView):
    """Another that sends all to each."""


class LoadBalancedView:
    """One that shares work out."""

    __module__ = "ipyparallel.client.view"

    def __len__(self):
        return 2


class OfView(FarAway):
    """The executor of a view."""

    def __init__(self, view):
        super().__init__()
        self.view = view


@pytest.mark.parametrize("view", [DirectView(2), BroadcastView(3)], ids=["direct", "broadcast"])
def test_an_executor_of_a_view_of_several_engines_is_refused_before_anything_is_sent(serve, view):
    service, pool = serve(), OfView(view)
    with ornb.budget(1) as budget, pytest.raises(ConfigError) as refusal:
        batch(texts(9), executor=pool)
    assert f"each of {len(view)} engines" in str(refusal.value)
    assert "Nothing was sent. Take client.executor()" in str(refusal.value)
    assert (service.asked, pool.sizes, budget.reserved_usd) == ([], [], 0)
    assert batch(texts(9), executor=pool, dry_run=True).calls == 9


@pytest.mark.parametrize(
    "view", [DirectView(1), LoadBalancedView(), None], ids=["one", "shared", "none"]
)
def test_an_executor_of_a_view_that_does_work_once_is_taken(serve, view):
    serve()
    assert batch(texts(3), executor=OfView(view))["status"].tolist() == ["ok"] * 3


class Strange(Executor):
    """Gives back something else, or takes nothing, or cannot cancel."""

    def __init__(self, how):
        self.how = how

    def submit(self, fn, *args):
        if self.how == "closed":
            raise LookupError("no kernel of flows is loaded")
        done: Future = Future()
        done.set_result({"status": "queued"})
        return done


def test_what_is_no_answer_ends_the_batch_at_the_first(serve):
    service = serve()
    with ornb.budget(1) as budget:
        answers = batch(texts(9), executor=Strange("other"), concurrency=1)
    assert answers["status"].tolist() == ["error"] + ["skipped"] * 8
    assert "the executor gave back a dict and no answer" in answers["error"].iloc[0]
    assert "does each piece of work once" in answers["error"].iloc[1]
    assert (service.asked, budget.reserved_usd) == ([], 0)
    assert budget.held_usd > 0, "whether it was sent nobody knows"


def test_an_executor_says_in_its_own_way_that_it_takes_nothing(serve):
    service = serve()
    with ornb.budget(1) as budget:
        answers = batch(texts(3), executor=Strange("closed"))
    assert set(answers["status"]) == {"skipped"}
    assert "takes no work: no kernel of flows is loaded" in answers["error"].iloc[0]
    assert (service.asked, budget.reserved_usd) == ([], 0)


class Uncancellable(ThreadPoolExecutor):
    """As parsl's futures: `cancel` raises."""

    def submit(self, *args, **kwargs):
        future = super().submit(*args, **kwargs)

        def cancel():
            raise NotImplementedError("Cancel not implemented")

        future.cancel = cancel
        return future


def test_an_executor_that_cannot_cancel_costs_no_answer(serve):
    def script(prompt, _):
        if prompt == "text 3":
            os.kill(os.getpid(), signal.SIGINT)
        return answered(f"said {prompt}")

    serve(script)
    with Uncancellable(1) as pool, pytest.raises(KeyboardInterrupt) as stop:
        batch(texts(9), executor=pool, concurrency=1)
    assert stop.value.frame["answer"].tolist()[:3] == [f"said {text}" for text in texts(3)]


def test_a_missing_key_names_whose_worker_it_is(serve, monkeypatch):
    serve(api_key=KEY)
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    answers = batch(["a"], executor=FarAway())
    assert "FarAway has no OPENROUTER_API_KEY in its environment" in answers["error"].iloc[0]


def test_interpreters_of_this_process_do_not_share_its_connections(serve):
    futures = pytest.importorskip("concurrent.futures")
    if not hasattr(futures, "InterpreterPoolExecutor"):
        pytest.skip("new in Python 3.14")
    service = serve(api_key=KEY)
    with futures.InterpreterPoolExecutor(1) as pool:
        answers = batch(["a", "b"], executor=pool)
    assert set(answers["status"]) <= {"ok", "error"}
    assert set(service.keys) <= {KEY.encode()}


# --- engines of ipyparallel -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def engines():
    """Two engines of this machine."""
    ipyparallel = pytest.importorskip("ipyparallel")
    cluster = ipyparallel.Cluster(n=2, log_level=40)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENROUTER_API_KEY", KEY)
            started = cluster.start_and_connect_sync(activate=False)
        yield started
    finally:
        cluster.stop_cluster_sync()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_engines_of_ipyparallel_do_as_well(serve, engines, tmp_path):
    service = serve(api_key=KEY)
    with ornb.budget(1) as budget:
        answers = batch(texts(60), executor=engines.executor(), store=tmp_path / "a.sqlite3")
    assert answers["answer"].tolist() == [f"said {text}" for text in texts(60)]
    assert Counter(service.asked) == Counter(texts(60))
    assert set(service.keys) == {KEY.encode()}
    assert (budget.calls, budget.spent_usd) == (60, 60 * Decimal("0.0005"))
    assert len(session.usage) == 60


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_engines_of_ipyparallel_go_on_where_they_were_stopped(serve, engines, tmp_path):
    interrupted_then_resumed(serve, engines.executor(), tmp_path / "a.sqlite3")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_view_of_several_engines_of_ipyparallel_is_refused_before_anything_is_sent(
    serve, engines
):
    service = serve(api_key=KEY)
    for view in (engines[:], engines.direct_view("all"), engines.broadcast_view()):
        with pytest.raises(ConfigError, match=r"2 engines.*Nothing was sent.*client\.executor\(\)"):
            batch(texts(9), executor=view.executor)
    assert service.asked == []
    for view in (engines[0], engines.load_balanced_view([0, 1])):
        assert batch(texts(3), executor=view.executor)["status"].tolist() == ["ok"] * 3
