"""Calls kept in a database: none lost, none twice, no secrets, whoever writes beside."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from forks import done_in_a_fork, forks
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ornb
from ornb.api.reply import Reply, Timing, Usage
from ornb.errors import ConfigError
from ornb.ledger.store import TABLE, Store, default_path
from ornb.ledger.table import HISTORY_COLUMNS, STORED, USAGE_COLUMNS
from ornb.ledger.tracker import UsageTracker

START = datetime(2026, 8, 22, 12, 0, 0, 123456, tzinfo=UTC)
KEY = "sk-or-v1-" + "5e" * 32


def reply(number=0, **fields):
    usage = Usage(number, 9, number + 9, cost_usd=number / 8)
    timing = Timing(START + timedelta(seconds=number), 0.01, duration_s=2.0)
    known = {"requested_model": "acme/orbit", "model": "acme/orbit-20260302", "provider": "North"}
    return Reply(
        **{"usage": usage, "timing": timing, "generation_id": f"gen-{number}", **known, **fields}
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "kept" / "usage.sqlite3"


@pytest.fixture
def tracker():
    return UsageTracker()


def count(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0]


# --- there and back -------------------------------------------------------------------------------


def test_what_is_kept_comes_back_as_it_was(tracker, path):
    tracker.record(reply(1, label="before"), estimate_usd=0.25)
    tracker.persist(path)
    tracker.record(reply(2, label="after"), estimate_usd=0.3)
    tracker.record(Reply(status="error", error="no route to host"))
    kept = tracker.history()
    assert list(kept) == list(HISTORY_COLUMNS)
    assert set(kept["kernel"]) == {tracker.kernel}
    there = kept[list(USAGE_COLUMNS)].sort_values("label", ignore_index=True)
    here = tracker.df.sort_values("label", ignore_index=True)
    pd.testing.assert_frame_equal(there, here)


def test_types_are_the_documented_ones_also_of_nothing(tracker, path):
    tracker.persist(path)
    assert tracker.history().dtypes[list(USAGE_COLUMNS)].equals(tracker.df.dtypes)


def test_calls_of_an_earlier_kernel_are_there(path):
    for _ in range(2):
        tracker = UsageTracker()
        tracker.persist(path)
        tracker.record(reply())
    assert len(tracker.history()) == 2
    assert tracker.history()["kernel"].nunique() == 2
    assert len(tracker.df) == 1


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ({}, [0, 1, 2, 3]),
        ({"since": START + timedelta(seconds=2)}, [2, 3]),
        ({"since": "2026-08-22T12:00:01.2"}, [2, 3]),
        ({"until": START + timedelta(seconds=2)}, [0, 1]),
        ({"since": START.date(), "until": "2026-08-23"}, [0, 1, 2, 3]),
        ({"since": pd.Timestamp(START).tz_convert("Asia/Tokyo")}, [0, 1, 2, 3]),
        ({"since": timedelta(days=1)}, []),
        ({"model": "acme/comet"}, [1, 3]),
        ({"model": "acme/orbit-20260302"}, [0, 1, 2, 3]),
        ({"provider": ["South", "West"]}, [2]),
        ({"label": "lesson"}, [3]),
        ({"label": "lesson", "model": "acme/orbit"}, []),
        ({"model": []}, []),
    ],
)
def test_history_is_asked_by_time_and_by_words(tracker, path, asked, numbers):
    tracker.persist(path)
    for number in range(4):
        fields = {"requested_model": "acme/comet"} if number % 2 else {}
        fields |= {"provider": "South"} if number == 2 else {}
        fields |= {"label": "lesson"} if number == 3 else {}
        tracker.record(reply(number, **fields))
    assert tracker.history(**asked)["prompt_tokens"].tolist() == numbers


@pytest.mark.parametrize("moment", ["soon", object(), []])
def test_what_is_no_moment_is_refused(tracker, path, moment):
    tracker.persist(path)
    with pytest.raises(ConfigError, match="no moment"):
        tracker.history(since=moment)


def test_history_needs_a_database(tracker):
    with pytest.raises(ConfigError, match=r"persist\(\)"):
        tracker.history()


def test_history_can_be_summed_up(tracker, path):
    tracker.persist(path)
    for number in range(5):
        tracker.record(reply(number))
    assert tracker.summary(calls=tracker.history()).loc["acme/orbit", "cost_usd"] == 10 / 8
    assert tracker.summary("kernel", calls=tracker.history())["calls"].tolist() == [5]


def test_bills_reach_the_database(tracker, path):
    class Books:
        source = "live"

        def generation(self, _):
            return {"total_cost": 0.75, "latency": 512, "provider_name": "South"}

    tracker.persist(path)
    tracker.record(reply(1, usage=Usage()))
    tracker.reconcile(Books())
    row = tracker.history().iloc[0]
    assert row[["cost_usd", "server_latency_s", "provider"]].tolist() == [0.75, 0.512, "North"]
    assert row["reconciled_at"] == tracker.df.at[0, "reconciled_at"]


def test_to_sql_writes_each_call_once(tracker, path):
    tracker.record(reply(1))
    tracker.record(reply(2))
    assert tracker.to_sql(path) == 2
    tracker.record(reply(3))
    assert tracker.to_sql(path) == 1
    assert tracker.to_sql(str(path)) == 0
    tracker.clear()
    tracker.record(reply(4))
    assert tracker.to_sql(f"sqlite:///{path}") == 1
    assert count(path) == 4


def test_persisting_twice_writes_nothing_twice(tracker, path):
    tracker.record(reply(1))
    tracker.persist(path)
    tracker.persist(path)
    tracker.record(reply(2))
    assert count(path) == 2


def test_another_database_takes_over_with_all_calls(tracker, tmp_path):
    tracker.persist(tmp_path / "one")
    tracker.record(reply(1))
    tracker.persist(tmp_path / "two")
    tracker.record(reply(2))
    assert (count(tmp_path / "one"), count(tmp_path / "two")) == (1, 2)


def test_a_database_that_takes_no_calls_does_not_take_over(tracker, tmp_path):
    tracker.persist(tmp_path / "one")
    tracker.record(reply(1))
    with closing(sqlite3.connect(tmp_path / "two")) as connection, connection:
        keys = "kernel, number, started_at, generation_id"
        connection.execute(f"CREATE TABLE {TABLE} ({keys}, label AS ('not to be written'))")
    with pytest.raises(ConfigError, match="cannot be used"):
        tracker.persist(tmp_path / "two")
    tracker.record(reply(2))
    assert tracker.history()["prompt_tokens"].tolist() == [1, 2]


# --- sums that the database makes -----------------------------------------------------------------

AMOUNTS = (None, 0.0, 0.1, 0.2, 0.1 + 0.2, 1e-7, 3.3333333333333335e-05, 1e-18, 3.999, 7.25, 1e300)


@pytest.fixture
def mixed(tracker):
    for n in range(150):
        own = {"is_byok": n % 4 == 0, "byok_usd": AMOUNTS[n % 7] if n % 8 == 0 else None}
        usage = Usage(n if n % 6 else None, 9, n, cost_usd=AMOUNTS[n % 11], **own)
        timing = Timing(
            START - timedelta(hours=5 * n), 0.1 * (n % 5) if n % 3 else None, duration_s=n / 7
        )
        told = {
            "usage": usage,
            "timing": timing,
            "requested_model": ("acme/orbit", None, "lab/big")[n % 3],
            "status": ("ok", "error", "stopped", "ok", "ok")[n % 5],
            "source": ("live", "local", "recorded", "live")[n % 4],
            "proxy_cost_usd": None if n % 9 else AMOUNTS[n % 11],
        }
        tracker.record(reply(n, **told), estimate_usd=AMOUNTS[(n + 3) % 10])
    tracker.record(Reply())
    return tracker


def summed_alike(tracker, store, by):
    kept = tracker.history()
    as_set = {"sources": lambda sums: sums["sources"].map(lambda told: sorted(told.split(", ")))}
    for times in (
        {},
        {"since": START - timedelta(days=9), "until": START},
        {"until": "1999-01-01"},
    ):
        there = tracker.summary(by, calls=store, **times).sort_index().assign(**as_set)
        here = tracker.summary(by, calls=kept, **times).sort_index().assign(**as_set)
        pd.testing.assert_frame_equal(there, here, check_exact=True, check_index_type=len(here) > 0)


@pytest.mark.parametrize(
    "by",
    [
        "model",
        "source",
        "week",
        "hour",
        "cost_source",
        "kernel",
        ["month", "model"],
        ["day", "status"],
    ],
    ids=str,
)
def test_a_database_sums_up_to_the_digit_what_its_rows_do(mixed, path, by):
    summed_alike(mixed, mixed.persist(path), by)


def test_sums_of_more_calls_and_groups_than_are_read_at_once_are_the_same(tracker, path):
    for n in range(2_500):
        usage = Usage(n if n % 7 else None, 9, n, cost_usd=AMOUNTS[n % 11])
        tracker.record(reply(n, usage=usage, label=f"group {n if n > 2_000 else n % 40}"))
    store = tracker.persist(path)
    there, here = (tracker.summary("label", calls=calls) for calls in (store, tracker.history()))
    pd.testing.assert_frame_equal(there.sort_index(), here.sort_index(), check_exact=True)


@pytest.mark.parametrize("read", [UsageTracker.history, UsageTracker.summary])
def test_a_damaged_database_is_said_when_it_is_read(tracker, path, read):
    for n in range(300):
        tracker.record(reply(n))
    tracker.persist(path).close()
    pages = path.read_bytes()
    path.write_bytes(pages[: len(pages) // 2] + bytes(len(pages) - len(pages) // 2))
    other = UsageTracker()
    store = other.persist(path)
    more = {"calls": store} if read is UsageTracker.summary else {}
    with pytest.raises(ConfigError, match="cannot be used: database disk image is malformed"):
        read(other, **more)


def test_a_database_is_asked_for_sums_by_what_it_has(mixed, path):
    store = mixed.persist(path)
    for by, words in (("modle", "did you mean 'model'"), ([], "by is empty")):
        with pytest.raises(ConfigError, match=words):
            mixed.summary(by, calls=store)


# --- places ---------------------------------------------------------------------------------------


def test_the_default_is_a_file_of_the_user_that_nobody_else_reads(tracker, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    if not str(default_path()).startswith(str(tmp_path)):
        pytest.skip("this system keeps data elsewhere than XDG_DATA_HOME")
    store = tracker.persist()
    tracker.record(reply())
    path = tmp_path / "ornb" / "usage.sqlite3"
    assert store.url == f"sqlite:///{path}"
    assert count(path) == 1
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "url", ["nothing://at/all", "postgresql+nodriver://x/y", "://", "sqlite:////proc/no/such/place"]
)
def test_a_database_that_cannot_be_opened_is_said(tracker, url):
    with pytest.raises(ConfigError, match="persist"):
        tracker.persist(url)
    tracker.record(reply())
    assert len(tracker) == 1, "and calls are recorded as before"


def test_a_password_is_shown_nowhere(tracker):
    with pytest.raises(ConfigError) as caught:
        tracker.persist("postgresql+psycopg://someone:hunter2@127.0.0.1:1/none")
    assert "hunter2" not in str(caught.value)
    store = Store({"model": "str"}, "sqlite://")
    store._url = store._url.set(username="someone", password="hunter2", host="h")
    assert "hunter2" not in repr(store) + store.url


def test_no_key_is_kept(tracker, path):
    tracker.persist(path)
    tracker.record(Reply(status="error", error=f"Bad key {KEY}: try again", label=f"with {KEY}"))
    tracker.persist(path).close()
    for file in path.parent.iterdir():
        assert KEY.encode() not in file.read_bytes()
    assert tracker.history()["error"].tolist() == ["Bad key [key]: try again"]


odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\x00\ud800")


@settings(max_examples=50)
@given(odd, odd, odd, odd)
@example(None, sys.float_info.max, None, None)
@example(None, 10**400, float("nan"), None)
def test_no_reply_is_too_odd_to_be_kept(tokens, cost, seconds, words):
    tracker = UsageTracker()
    tracker.persist("sqlite://")
    usage = Usage(tokens, tokens, tokens, cost_usd=cost)
    timing = Timing(START, time_to_first_token_s=seconds, duration_s=seconds)
    tracker.record(Reply(usage=usage, timing=timing, model=words, provider=words, error=words))
    kept = tracker.history()
    assert len(kept) == 1
    assert kept["cost_usd"].equals(tracker.df["cost_usd"]) or isinstance(cost, str | bool)


def test_a_database_of_an_older_version_gets_the_new_columns(tracker, path):
    older = {name: dtype for name, dtype in STORED.items() if name != "server_latency_s"}
    store = Store(older, path)
    store.add("old", 0, [(START,)])
    store.close()
    tracker.persist(path)
    tracker.record(reply(1))
    assert tracker.history()["kernel"].tolist() == ["old", tracker.kernel]
    assert tracker.history()["server_latency_s"].isna().all()


# --- a database that fails ------------------------------------------------------------------------


def test_an_answer_is_not_lost_over_a_database_and_the_row_is_written_later(tracker, path):
    tracker.persist(path)
    tracker.record(reply(1))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"ALTER TABLE {TABLE} RENAME TO away")
    with pytest.warns(RuntimeWarning, match="are written with the next"):
        tracker.record(reply(2))
    with pytest.raises(ConfigError, match="cannot be used"):
        tracker.history()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"ALTER TABLE away RENAME TO {TABLE}")
    tracker.record(reply(3))
    assert tracker.history()["prompt_tokens"].tolist() == [1, 2, 3]
    assert len(tracker) == 3


def test_an_answer_is_not_lost_over_a_rule_of_the_database(tracker, path):
    tracker.persist(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        refuse = "BEGIN SELECT RAISE(ABORT, 'not today'); END"
        connection.execute(f"CREATE TRIGGER rule BEFORE INSERT ON {TABLE} {refuse}")
    with pytest.warns(RuntimeWarning, match=r"cannot be used: not today\. The calls are in"):
        tracker.record(reply(1))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TRIGGER rule")
    assert tracker.history()["prompt_tokens"].tolist() == [1]


def test_the_bill_of_a_call_that_could_not_be_written_yet_is_written_with_it(tracker, path):
    class Books:
        source = "live"

        def generation(self, _):
            return {"total_cost": 0.75}

    tracker.persist(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"ALTER TABLE {TABLE} RENAME TO away")
    with pytest.warns(RuntimeWarning, match="are written with the next"):
        tracker.record(reply(1, usage=Usage()))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"ALTER TABLE away RENAME TO {TABLE}")
    tracker.reconcile(Books())
    assert tracker.history()["cost_usd"].tolist() == [0.75]


def test_a_call_that_ends_in_the_middle_of_a_write_is_written_after_it(tracker, path):
    """The garbage collector ends forgotten streams at any moment, in the writing thread too."""
    store = tracker.persist(path)
    with store._begin() as connection:
        connection.exec_driver_sql(f"UPDATE {TABLE} SET label = 'busy'")
        tracker.record(reply(1))
    tracker.record(reply(2))
    assert tracker.history()["prompt_tokens"].tolist() == [1, 2]


# --- threads and processes ------------------------------------------------------------------------


def test_64_threads_lose_no_row(tracker, path):
    tracker.persist(path)

    def work(worker):
        for n in range(25):
            tracker.record(reply(worker * 25 + n))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = tracker.history()
    assert sorted(kept["prompt_tokens"]) == list(range(1600))
    assert tracker.summary(calls=kept)["cost_usd"].tolist() == [sum(range(1600)) / 8]


WRITER = """
import sys
from datetime import UTC, datetime
from ornb.api.reply import Reply, Timing, Usage
from ornb.ledger.tracker import UsageTracker

url, first, calls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
tracker = UsageTracker()
sys.stdin.readline()
tracker.persist(url)
for n in range(first, first + calls):
    usage, timing = Usage(n, 9, n + 9, cost_usd=n / 8), Timing(datetime.now(UTC))
    tracker.record(Reply(requested_model="acme/orbit", usage=usage, timing=timing))
    print(n, flush=True)
"""


def writers(url, calls, processes=4, **environment):
    """Processes that all begin to write at one word."""
    started = [
        subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error",
                "-c",
                WRITER,
                str(url),
                str(number * calls),
                str(calls),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        for number in range(processes)
    ]
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    return started


def finish(processes):
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said


def test_4_processes_lose_no_row_and_make_one_table(tracker, path):
    finish(writers(path, calls=150))
    tracker.persist(path)
    kept = tracker.history()
    assert sorted(kept["prompt_tokens"]) == list(range(600))
    assert kept["kernel"].nunique() == 4
    assert tracker.summary(calls=kept)["cost_usd"].tolist() == [sum(range(600)) / 8]


CALLER = """
import sys
import ornb

client = ornb.connect(sys.argv[2], sys.argv[3])
ornb.usage.persist(sys.argv[1])
while True:
    ornb.ask("Hi", "openai/gpt-4o-mini", ornb={"simulate": {"tokens": 2, "chunk_s": 0}})
    print("ended", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_kill_9_loses_no_call_that_had_ended(tracker, path):
    """A kernel is killed in the middle of its calls: each that it had heard the end of is there."""
    from ornb import offline

    server = offline.start()
    command = [sys.executable, "-c", CALLER, str(path), server.token, server.base_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        ended = [process.stdout.readline() for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        ended += process.stdout.read().splitlines()
    assert process.returncode == -signal.SIGKILL
    tracker.persist(path)
    kept = tracker.history()
    assert len(kept) in (len(ended), len(ended) + 1), "the last may have ended unheard"
    assert (kept["status"] == "ok").all()
    assert (kept["source"] == "canned").all()
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_writes_rows_of_its_own(tracker, path):
    tracker.persist(path)
    tracker.record(reply(1))
    child = os.fork()
    if child == 0:
        try:
            tracker.record(reply(2))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    tracker.record(reply(3))
    assert tracker.history()["prompt_tokens"].tolist() == [1, 2, 3]
    assert tracker.history()["kernel"].nunique() == 2


@forks
def test_a_forked_process_does_not_wait_for_a_thread_of_its_parent(tracker, path):
    store = tracker.persist(path)
    tracker.record(reply(1))
    is_reading, is_forked = threading.Event(), threading.Event()

    def read():
        for _ in store.read():
            is_reading.set()
            is_forked.wait()

    reader = threading.Thread(target=read)
    reader.start()
    is_reading.wait()
    is_done = done_in_a_fork(lambda: tracker.record(reply(2)))
    is_forked.set()
    reader.join()
    assert is_done
    assert tracker.history()["prompt_tokens"].tolist() == [1, 2]


def test_other_kernels_free_calls_are_known(path):
    here, there = UsageTracker(), UsageTracker()
    now = datetime.now(UTC)
    for tracker in (here, there):
        tracker.persist(path)
        for model, source in (("a/b:free", "live"), ("a/b", "live"), ("a/b:free", "canned")):
            timing = Timing(now, 0.01)
            tracker.record(Reply(requested_model=model, source=source, timing=timing))
    there.record(Reply(requested_model="openrouter/free", timing=Timing(now - timedelta(days=2))))
    since = now.timestamp() - 3600
    assert here.free_calls_elsewhere(since) == [pytest.approx(now.timestamp())]
    assert UsageTracker().free_calls_elsewhere(since) == []


def test_other_kernels_free_calls_are_known_by_each_attempt_and_with_searches(path):
    here, there = UsageTracker(), UsageTracker()
    here.persist(path)
    there.persist(path)
    now = datetime.now(UTC)
    there.record(Reply(requested_model="a/b:free:online", timing=Timing(now), attempts=1))
    there.record(Reply(requested_model="a/b:free", timing=Timing(now), attempts=3))
    assert len(here.free_calls_elsewhere(now.timestamp() - 60)) == 4


def test_a_kept_call_costs_milliseconds_at_most(tracker, path):
    tracker.persist(path)
    times = []
    for number in range(200):
        begun = time.perf_counter()
        tracker.record(reply(number))
        times.append(time.perf_counter() - begun)
    # The quickest tenth: on a busy machine the others wait for more than the file.
    assert sorted(times)[20] < 0.02, "nothing beside a call to a model"


def test_ornb_usage_keeps_what_is_asked(path, monkeypatch):
    ornb.connect(offline=True)
    monkeypatch.setattr(ornb.usage, "_store", None)
    ornb.usage.persist(path)
    ornb.ask("Hi", "openai/gpt-4o-mini", label="kept")
    kept = ornb.usage.history(label="kept")
    assert kept["source"].tolist() == ["canned"]
    assert count(path) == len(ornb.usage)


# --- PostgreSQL -----------------------------------------------------------------------------------


def postgres_programs():
    """The folder of the system's PostgreSQL, newest first; None without one."""
    folders = [
        Path(found).resolve().parent
        for name in ("postgres", "initdb")
        if (found := shutil.which(name))
    ]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL of the system's package, on loopback, that ends with the tests."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL on this machine (Debian: apt-get install postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("no driver for PostgreSQL (pip install 'psycopg[binary]')")
    # It does not run as root, and its files are its own, outside the folder of the tests.
    user = (
        {"user": "postgres", "group": "postgres"}
        if hasattr(os, "geteuid") and os.geteuid() == 0
        else {}
    )
    folder = Path(tempfile.mkdtemp(prefix="ornb-pg-"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    if user:
        shutil.chown(folder, **user)
    server = None
    try:
        data = folder / "data"
        subprocess.run(
            [
                programs / "initdb",
                "-D",
                data,
                "-U",
                "ornb",
                "--auth=trust",
                "--no-sync",
                "-E",
                "UTF8",
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **user,
        )
        server = subprocess.Popen(
            [
                programs / "postgres",
                "-D",
                data,
                "-p",
                str(port),
                "-h",
                "127.0.0.1",
                "-k",
                folder,
                "-F",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            **user,
        )
        url = f"postgresql+psycopg://ornb@127.0.0.1:{port}/postgres"
        deadline = time.monotonic() + 120
        while True:
            try:
                Store({"model": "str"}, url).close()
            except ConfigError:
                assert time.monotonic() < deadline, "PostgreSQL does not start"
                assert server.poll() is None, "PostgreSQL ended at once"
                time.sleep(0.1)
            else:
                break
        yield url
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # a fast shutdown
            server.wait(120)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty(postgres):
    """The same without a table."""
    import sqlalchemy as sa

    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {TABLE}")
    engine.dispose()
    return postgres


def test_postgresql_keeps_calls_like_sqlite(tracker, empty, path):
    tracker.record(reply(1, label="before \x00 \ud800 日本語"), estimate_usd=0.25)
    store = tracker.persist(empty)
    tracker.record(reply(2), estimate_usd=0.3)
    tracker.record(Reply(status="error", error="no route to host", usage=Usage(2**70)))
    there = tracker.history()
    tracker.to_sql(path)
    other = UsageTracker()
    other.persist(path)
    pd.testing.assert_frame_equal(there, other.history())
    assert there["started_at"].tolist()[1:] == tracker.df["started_at"].tolist()[:2]
    assert tracker.history(since=START + timedelta(seconds=2))["prompt_tokens"].tolist() == [2]
    assert store.url.startswith("postgresql+psycopg://ornb@127.0.0.1")
    assert tracker.to_sql(empty) == 0
    store.close()


def test_postgresql_gets_bills_and_new_columns(tracker, empty):
    class Books:
        source = "live"

        def generation(self, _):
            return {"total_cost": 0.75, "latency": 512}

    older = {name: dtype for name, dtype in STORED.items() if name != "server_latency_s"}
    Store(older, empty).close()
    store = tracker.persist(empty)
    tracker.record(reply(1, usage=Usage()))
    tracker.reconcile(Books())
    assert tracker.history()[["cost_usd", "server_latency_s"]].values.tolist() == [[0.75, 0.512]]
    store.close()


def test_4_processes_write_to_one_postgresql(tracker, empty):
    finish(writers(empty, calls=100, PYTHONPATH=os.pathsep.join(sys.path)))
    store = tracker.persist(empty)
    kept = tracker.history()
    assert sorted(kept["prompt_tokens"]) == list(range(400))
    assert tracker.summary(calls=kept)["cost_usd"].tolist() == [sum(range(400)) / 8]
    store.close()


def test_a_connection_that_was_cut_is_made_again(tracker, empty):
    import sqlalchemy as sa

    store = tracker.persist(empty)
    tracker.record(reply(1))
    engine = sa.create_engine(empty)
    with engine.begin() as connection:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        connection.exec_driver_sql(cut + " AND backend_type = 'client backend'")
    engine.dispose()
    tracker.record(reply(2))
    assert tracker.history()["prompt_tokens"].tolist() == [1, 2]
    store.close()


def test_postgresql_sums_up_to_the_digit_what_its_rows_do(mixed, empty):
    summed_alike(mixed, mixed.persist(empty), ["week", "model", "cost_source"])
    summed_alike(mixed, mixed.persist(empty), "hour")
