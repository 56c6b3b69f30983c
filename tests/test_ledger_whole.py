"""The ledger as a whole: threads and processes together, a service, a database and a ceiling.

Each process is a kernel of its own. In each, 64 threads ask at once, and all processes write to one
database. Counts, sums and ceilings are compared to the last digit.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from decimal import Decimal

import pytest
from wire import DONE, END, STREAM, WireServer, delta, event, whole

import ornb
from ornb import errors, session
from ornb.api.reply import Reply, Timing, Usage
from ornb.ledger.quota import FreeQuota
from ornb.ledger.store import TABLE, Store
from ornb.ledger.table import STORED
from ornb.ledger.tracker import UsageTracker

THREADS, PROCESSES, FIT = 64, 4, 23
BILL = Decimal("0.0005")
"""USD that each answer says it cost; the worst case of a call is many times that."""
RECORD = {
    "id": "acme/orbit",
    "context_length": 8192,
    "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
    "pricing": {"prompt": "0.000002", "completion": "0.00001"},
    "top_provider": {"context_length": 8192, "max_completion_tokens": 4096},
    "supported_parameters": ["max_tokens"],
}

KERNEL = """
import json, sys, threading
import ornb
from ornb import errors

url, path, threads, fit = *sys.argv[1:3], *map(int, sys.argv[3:])
ornb.connect(base_url=url)
ornb.usage.persist(path)
once = ornb.session.quote("Hi", "acme/orbit", max_tokens=100).worst_usd
ceiling, ends, lock = fit * once + once / 2, [], threading.Lock()

def call():
    try:
        ornb.ask("Hi", "acme/orbit", max_tokens=100)
        end = "ok"
    except errors.BudgetExceeded as error:
        end = "refused" if error.left_usd < once else "refused too early"
    with lock:
        ends.append(end)
        if len(ends) == threads - fit:
            print("full", flush=True)

sys.stdin.readline()
with ornb.budget(ceiling) as budget:
    workers = [threading.Thread(target=call) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
totals = ornb.usage.totals()
sums, unsent = totals.of("live"), totals.of(None)
print(json.dumps({
    "ok": ends.count("ok"), "refused": ends.count("refused"),
    "calls": budget.calls, "refusals": budget.refused,
    "spent": str(budget.spent_usd), "left": str(budget.left_usd - (ceiling - budget.spent_usd)),
    "rows": len(ornb.usage), "errors": unsent.errors, "sum": str(sums.cost_usd),
    "frame": ornb.usage.summary()["cost_usd"].tolist(), "kernel": ornb.usage.kernel,
}))
"""


def service(held, asked):
    """Catalogue, endpoints, and streamed answers that end when `held` is set."""

    def script(head, body):
        path = head.split()[1]
        if path.endswith(b"/endpoints"):
            return [whole({"data": {"id": "acme/orbit", "endpoints": []}})]
        if path.endswith(b"/models"):
            return [whole({"data": [RECORD]})]
        asked.append(body)
        return answer()

    def answer():
        yield STREAM
        held.wait(60)
        usage = {"prompt_tokens": 22, "completion_tokens": 9, "total_tokens": 31}
        yield delta("A", "stop") + event(choices=[], usage={**usage, "cost": float(BILL)})
        yield DONE + END

    return script


@contextmanager
def kernels(code, *arguments, count=PROCESSES):
    """Processes that run some code, and are ended with the block."""
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    started = [subprocess.Popen(command, text=True, **pipes) for _ in range(count)]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def say(process, words):
    process.stdin.write(words + "\n")
    process.stdin.flush()


def test_64_threads_in_each_of_4_processes_keep_counts_sums_and_ceilings_exact(tmp_path):
    held, asked, path = threading.Event(), [], tmp_path / "usage.sqlite3"
    with (
        WireServer(service(held, asked)) as server,
        kernels(KERNEL, server.url, path, THREADS, FIT) as started,
    ):
        for process in started:
            say(process, "go")
        for process in started:
            assert process.stdout.readline() == "full\n", process.stderr.read()
        assert len(asked) <= PROCESSES * FIT, "nobody has jumped a ceiling while all were waiting"
        held.set()
        told = [json.loads(process.communicate(timeout=60)[0]) for process in started]
    sum_each = FIT * BILL
    for each in told:
        kernel = each.pop("kernel")
        assert each == {
            "ok": FIT,
            "refused": THREADS - FIT,
            "calls": FIT,
            "refusals": THREADS - FIT,
            "spent": str(sum_each),
            "left": each["left"],
            "rows": THREADS,
            "errors": THREADS - FIT,
            "sum": str(sum_each),
            "frame": [float(sum_each)],
        }, kernel
        assert Decimal(each["left"]) == 0, "what is neither spent nor left is set aside for nobody"
    assert len(asked) == PROCESSES * FIT
    tracker = UsageTracker()
    tracker.persist(path)
    kept = tracker.history()
    assert len(kept) == PROCESSES * THREADS
    assert kept["kernel"].value_counts().tolist() == [THREADS] * PROCESSES
    assert kept["status"].value_counts().to_dict() == {
        "error": PROCESSES * (THREADS - FIT),
        "ok": PROCESSES * FIT,
    }
    summed = tracker.summary(calls=kept).loc["acme/orbit"]
    assert summed["cost_usd"] == float(PROCESSES * sum_each)
    assert summed["cost_unknown"] == 0, "what was refused cost nothing, and that is known"
    assert summed["total_tokens"] == PROCESSES * FIT * 31


CALLER = """
import sys, threading
import ornb

url, path, threads = *sys.argv[1:3], int(sys.argv[3])
ornb.connect(base_url=url)
ornb.usage.persist(path)
lock = threading.Lock()

def call(worker):
    for n in range(10**6):
        ornb.ask("Hi", "acme/orbit", max_tokens=100, label=f"{worker}.{n}")
        with lock:
            print(f"{worker}.{n}", flush=True)

sys.stdin.readline()
for worker in range(threads):
    threading.Thread(target=call, args=(worker,)).start()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_kill_9_of_kernels_with_many_threads_loses_no_call_that_had_ended(tmp_path):
    held, path = threading.Event(), tmp_path / "usage.sqlite3"
    held.set()
    with (
        WireServer(service(held, [])) as server,
        kernels(CALLER, server.url, path, 16, count=2) as started,
    ):
        for process in started:
            say(process, "go")
        heard = [[process.stdout.readline() for _ in range(50)] for process in started]
        for process, lines in zip(started, heard, strict=True):
            process.send_signal(signal.SIGKILL)
            lines.extend(process.stdout.readlines())
    told = [{line.strip() for line in lines if line.endswith("\n")} for lines in heard]
    tracker = UsageTracker()
    tracker.persist(path)
    kept = tracker.history()
    labels = [set(part["label"]) for _, part in kept.groupby("kernel")]
    assert len(labels) == 2
    assert any(told[0] <= one and told[1] <= other for one, other in (labels, labels[::-1]))
    assert not kept.duplicated(["kernel", "label"]).any()
    assert len(kept) <= sum(map(len, told)) + 2 * 16, "some may have ended unheard"
    assert (kept["status"] == "ok").all()
    assert tracker.summary(calls=kept)["cost_usd"].item() == float(len(kept) * BILL)
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone() == (len(kept),)


# --- what a call without an answer has cost -------------------------------------------------------


def ended(**fields):
    known = {"requested_model": "acme/orbit", "status": "error", "error": "no", "attempts": 1}
    return Reply(**{**known, "timing": Timing(queued_s=0.01, duration_s=1.0), **fields})


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422, 429, 500, 502, 503, 529])
def test_a_refused_call_has_cost_nothing_and_that_is_known(status):
    tracker = UsageTracker()
    tracker.record(ended(http_status=status))
    assert tracker.df[["cost_usd", "cost_source"]].values.tolist() == [[0.0, "billed"]]
    assert "unknown" not in repr(tracker)


def test_a_call_that_never_left_has_cost_nothing():
    tracker = UsageTracker()
    tracker.record(ended(attempts=0, timing=Timing(duration_s=0.01)))
    assert tracker.summary()[["cost_usd", "cost_unknown"]].values.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    "fields",
    [
        {"http_status": 504},
        {"http_status": 524},
        {"http_status": 408},
        {"http_status": 200},
        {"http_status": None},
        {"status": "stopped", "http_status": 200},
    ],
)
def test_a_call_that_may_have_been_worked_on_stays_unknown(fields):
    tracker = UsageTracker()
    tracker.record(ended(**fields))
    assert tracker.df["cost_source"].tolist() == ["unknown"]
    assert "1 call of unknown cost" in repr(tracker)


@pytest.mark.parametrize("status", [400, 504])
def test_an_error_of_this_machine_is_no_answer_and_no_unknown_cost(status):
    tracker = UsageTracker()
    tracker.record(ended(http_status=status, source="canned"))
    tracker.record(Reply(source="canned", usage=Usage(1, 2, cost_usd=0.0)))
    line = repr(tracker).splitlines()[0]
    assert line.endswith("1 → 2 tokens · 1 answer from this machine, not billed")


def test_a_ceiling_that_refuses_leaves_no_cost_open():
    with ornb.budget("0.000001", practice=True), pytest.raises(errors.BudgetExceeded):
        ornb.ask("Hi", "openai/gpt-4o-mini", label="refused here")
    row = session.usage.df.set_index("label").loc["refused here"]
    assert (row["cost_usd"], row["attempts"]) == (0.0, 0)


# --- odd arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [5, None, ["model", 5]])
def test_sums_by_what_is_no_column_are_refused_in_words(by):
    with pytest.raises(errors.ConfigError, match="no column of the usage table"):
        UsageTracker().summary(by=by)


@pytest.mark.parametrize("url", ["", "."])
def test_a_folder_is_no_database(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.ConfigError, match=r"persist\(url\) takes a file; .* is a folder"):
        UsageTracker().persist(url)
    with pytest.raises(errors.ConfigError, match=r"store takes a file; .* is a folder"):
        ornb.batch(["a"], store=tmp_path)


@pytest.mark.parametrize("url", [5, b"sqlite://", ["a"]])
def test_what_is_no_address_is_refused_in_words(url):
    with pytest.raises(errors.ConfigError, match="takes the path of a file, or a URL"):
        UsageTracker().persist(url)


def test_an_address_that_cannot_be_read_is_not_repeated():
    with pytest.raises(errors.ConfigError) as caught:
        UsageTracker().persist("://someone:hunter2@host")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("wanted", [5, ["a", 5], object()])
def test_history_of_what_is_no_name_is_refused(wanted):
    store = Store(STORED, "sqlite://")
    with pytest.raises(errors.ConfigError, match=r"provider is .*; give a text, or several"):
        store.read(provider=wanted)
    store.close()


@pytest.mark.parametrize("wait", ["no", 0, 1, 2.5])
def test_waiting_is_chosen_by_true_or_false(wait):
    with pytest.raises(errors.ConfigError, match="give True or False"):
        ornb.quota(wait=wait)
    assert ornb.quota(ask=False).waits is False


def test_a_quota_that_asks_nobody_sends_nothing():
    with WireServer([whole({"data": {}})]) as server:
        ornb.connect("sk-or-v1-none", server.url)
        assert ornb.quota(ask=False).minute_limit is None, "it is not OpenRouter"
        assert server.requests == []
        ornb.quota()
        assert len(server.requests) == 1
    ornb.connect(offline=True)


def test_a_call_that_waits_for_its_turn_is_not_lost_over_a_database():
    def gone(_):
        raise errors.ConfigError("the database is gone")

    counter = FreeQuota(elsewhere=gone, wait=True)
    assert counter.take({"model": "acme/orbit:free"}) is not None
    assert counter.facts().minute_used == 1, "asked again only some seconds later"


def test_a_batch_says_which_argument_is_wrong():
    with pytest.raises(errors.ConfigError, match="cap_usd is 'lots'"):
        ornb.batch(["a"], cap_usd="lots")
    with pytest.raises(errors.ConfigError, match=r"executor is 'dask'.*get_executor"):
        ornb.batch(["a"], executor="dask", progress=False)
