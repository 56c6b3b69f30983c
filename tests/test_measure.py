"""Timed calls: what is sent, in which order, what it costs, and what a row says."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pandas as pd
import pytest
from wire import FINISH, SOON_S, STALL_S, STREAM, WireServer, delta, whole

import ornb
from ornb.api.client import Client
from ornb.errors import BudgetExceeded, ConfigError, ConnectionFailed
from ornb.runs.measure import MEASURE_COLUMNS

MODEL, OTHER = "openai/gpt-4o-mini", "openai/gpt-4o"
QUICK = {"simulate": {"first_token_s": 0.01, "chunk_s": 0.002, "tokens": 4}}


@pytest.fixture(autouse=True)
def _offline_again():
    yield
    ornb.connect(offline=True)


def timed(models=MODEL, prompt="Hi", **how) -> pd.DataFrame:
    return ornb.measure(models, prompt, **{"progress": False, "ornb": QUICK, **how})


def answering(*, price: str | None = None, before=lambda: None, chat=None):
    """A service: its catalogue has one model, with this price per token, or none."""
    record = {"id": "acme/orbit", "context_length": 8192, "name": "Orbit"}
    record |= {"architecture": {"output_modalities": ["text"], "input_modalities": ["text"]}}
    if price is not None:
        record["pricing"] = {"prompt": price, "completion": price}

    def script(head: bytes, _: bytes):
        if head.startswith(b"POST"):
            before()
            return chat or [STREAM, delta("A"), FINISH]
        if b"/endpoints" in head:
            return [whole({"data": {"id": "acme/orbit", "endpoints": []}})]
        return [whole({"data": [record]})]

    return WireServer(script)


def asked(server: WireServer) -> list[dict]:
    return [json.loads(body) for head, body in server.requests if head.startswith(b"POST")]


# --- rows -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run() -> pd.DataFrame:
    ornb.connect(offline=True)
    return timed(
        [MODEL, OTHER], {"a": "Hi", "b": "Ho"}, repeats=3, concurrency=[1, 3], warmup=1, seed=4
    )


def test_each_request_is_a_row(run):
    assert len(run) == 2 * 2 * (1 + 3 * (1 + 3))
    assert run["order"].tolist() == list(range(len(run)))
    assert run["status"].eq("ok").all()
    assert Counter(run["source"]) == {"canned": len(run)}


def test_dtypes_are_the_described_ones(run):
    text = str(pd.Series(["a"]).dtype)
    expected = {n: text if c.dtype == "str" else c.dtype for n, c in MEASURE_COLUMNS.items()}
    assert {name: str(dtype) for name, dtype in run.dtypes.items()} == expected


def test_every_kind_has_its_turn_in_each_repeat(run):
    kinds = ["model", "prompt", "concurrency"]
    bursts = run[~run["warmup"]].drop_duplicates("burst")
    for _, repeat in bursts.groupby("repeat"):
        assert len(repeat[kinds].drop_duplicates()) == len(repeat) == 8
    models = bursts.sort_values("burst")["model"].tolist()
    assert models != sorted(models), "one model after the other would be as if not mixed"


def test_warm_up_calls_go_ahead_and_are_marked(run):
    first = run.head(4)
    assert first["warmup"].all()
    assert first["repeat"].isna().all()
    assert not run["warmup"].iloc[4:].any()
    assert ornb.latency_summary(run)["n"].tolist() == [24, 24]


def test_times_are_in_their_order(run):
    assert (run["time_to_first_byte_s"] <= run["time_to_first_token_s"]).all()
    assert (run["time_to_first_token_s"] <= run["duration_s"]).all()
    assert run["queued_s"].between(0, 5).all()
    assert run["time_to_first_reasoning_s"].isna().all()


def test_a_measured_time_holds_the_servers_own(run):
    """The request comes after it was sent, the token is read after it was written."""
    late = run["time_to_first_token_s"] - run["server_time_to_first_token_s"]
    assert late.between(0, 1).all()


def test_gaps_are_those_between_the_pieces(run):
    assert set(run["gaps_s"].map(len)) == {3}
    for row in run.itertuples():
        assert min(row.gaps_s) >= 0
        assert row.gap_p50_s == sorted(row.gaps_s)[1]
        if sum(row.gaps_s):  # on a crowded machine one read may hold all of an answer
            assert row.tokens_per_second_after_first == pytest.approx(3 / sum(row.gaps_s))


def test_the_frame_says_how_it_was_made(run):
    assert run.attrs["seed"] == 4
    assert run.attrs["prompts"] == {"a": "Hi", "b": "Ho"}
    assert run.attrs["versions"].startswith("ornb ")


def test_the_same_seed_gives_the_same_order_and_requests():
    def sent(seed: int) -> list[dict]:
        with answering() as server:
            ornb.connect(base_url=server.url)
            timed("acme/orbit", ["Hi", "Ho", "Hu"], repeats=2, warmup=0, seed=seed)
            return asked(server)

    assert sent(1) == sent(1)
    assert sent(1) != sent(2)


def test_thoughts_have_a_time_of_their_own():
    # Pauses so long that even a busy machine reads the thoughts before the answer has come.
    simulate = {**QUICK["simulate"], "reasoning": 3, "chunk_s": 0.15}
    row = timed(repeats=1, warmup=0, ornb={"simulate": simulate}).iloc[0]
    assert row["time_to_first_reasoning_s"] == row["time_to_first_token_s"]
    assert row["time_to_first_answer_s"] > row["time_to_first_reasoning_s"]


def test_every_call_is_in_the_usage_too():
    before = len(ornb.usage)
    timed(repeats=2, label="lesson")
    assert ornb.usage.df["label"].tolist()[before:] == ["lesson"] * 3


# --- connections ----------------------------------------------------------------------------------


def test_warm_requests_connect_before_their_time_begins():
    df = timed(repeats=2, concurrency=[1, 6], warmup=0)
    assert df["connection_reused"].all()
    assert df["connect_s"].isna().all()
    assert df["warm"].tolist() == [False] * int(df["burst"].eq(0).sum()) + [True] * int(
        df["burst"].ne(0).sum()
    ), "before the first answer the model is cold"


def test_cold_requests_connect_anew():
    df = timed(repeats=2, concurrency=3, connection=["cold", "warm"], warmup=0)
    cold = df[df["connection"] == "cold"]
    assert not cold["connection_reused"].any()
    assert (cold["connect_s"] > 0).all()
    assert not cold["warm"].any()
    assert df.loc[df["connection"] == "warm", "connection_reused"].all()


def test_requests_of_a_burst_are_under_way_together():
    together = threading.Barrier(5)  # nobody is answered before all have asked
    with answering(before=lambda: together.wait(STALL_S)) as server:
        ornb.connect(base_url=server.url)
        df = timed("acme/orbit", repeats=2, concurrency=5, warmup=0)
    assert df["status"].eq("ok").all()


def test_requests_of_a_burst_are_written_one_after_the_other(monkeypatch):
    """A thread that waits for the processor between its stamp and its write has a wrong time."""
    under_way, most = [], []
    write = HTTPConnection.send

    def slowly(connection, data):
        under_way.append(data)
        most.append(len(under_way))
        threading.Event().wait(0.02)
        write(connection, data)
        under_way.pop()

    with answering() as server:
        ornb.connect(base_url=server.url)
        monkeypatch.setattr(HTTPConnection, "send", slowly)
        df = timed("acme/orbit", repeats=1, concurrency=5, connection="cold", warmup=0)
    assert len(most) >= 5
    assert set(most) == {1}
    assert df["queued_s"].sort_values().diff().dropna().ge(0.02).all(), "stamped when it leaves"


def test_a_request_leaves_in_one_piece():
    """Head and body in two writes would be two waits, of which the second counts as the model's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        got = []

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                got.append(connection.recv(65536))
                connection.sendall(STREAM + delta("A") + FINISH)
                connection.recv(1)

        serving = threading.Thread(target=serve)
        serving.start()
        client = Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        list(client.stream("Hi"))
        client.close()
        serving.join(STALL_S)
        assert not serving.is_alive(), "a client that was closed leaves no connection open"
    head, _, body = got[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST ")
    assert json.loads(body)["stream"] is True


def test_a_proxy_is_asked_for_its_tunnel_first(monkeypatch):
    """What goes to the proxy is not the request, and is not stamped as such."""
    with WireServer([whole({}, 502)]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.removesuffix("/api/v1"))
        stream = Client(base_url="https://example.invalid/v1", retries=0).stream("Hi")
        with pytest.raises(ConnectionFailed, match="proxy"):
            list(stream)
    assert proxy.requests[0][0].startswith(b"CONNECT example.invalid:443")
    assert stream.reply.timing.queued_s is None


# --- what is sent ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [True, False])
def test_a_prompt_begins_like_no_other_unless_the_cache_is_wanted(cached):
    with answering() as server:
        ornb.connect(base_url=server.url)
        timed("acme/orbit", "Hi", repeats=4, prompt_cache=cached)
    said = [body["messages"][0]["content"] for body in asked(server)]
    assert len(set(said)) == (1 if cached else 5)
    assert {text.rpartition("\n")[2] for text in said} == {"Hi"}
    assert len({len(text) for text in said}) == 1, "each of the same length"


def test_times_are_never_those_of_the_services_cache():
    with answering() as server:
        ornb.connect(base_url=server.url, response_cache=60)
        timed("acme/orbit", "Hi", repeats=2, prompt_cache=True)
        posts = [head for head, _ in server.requests if head.startswith(b"POST")]
    assert len(posts) == 3
    assert all(b"X-OpenRouter-Cache: false\r\n" in head for head in posts)


def test_marks_go_before_the_first_message_whatever_its_form():
    parts = [{"type": "text", "text": "Look"}]
    with answering() as server:
        ornb.connect(base_url=server.url)
        timed("acme/orbit", [{"role": "user", "content": parts}], repeats=1, warmup=0)
    content = asked(server)[0]["messages"][0]["content"]
    assert content[0]["text"].startswith("[request ")
    assert content[1:] == parts


@pytest.mark.parametrize(
    ("provider", "sent"),
    [
        ("north", {"only": ["north"]}),
        (["north", "south/fp8"], {"only": ["north", "south/fp8"]}),
        ({"order": ["north"]}, {"order": ["north"]}),
    ],
)
def test_a_provider_is_pinned(provider, sent):
    with answering() as server:
        ornb.connect(base_url=server.url)
        df = timed("acme/orbit", repeats=1, warmup=0, provider=provider, temperature=0)
    body = asked(server)[0]
    assert (body["provider"], body["temperature"], body["max_tokens"]) == (sent, 0, 100)
    assert df["provider"].tolist() == ["NorthCloud"], "who served is told in any case"


@pytest.mark.parametrize("odd", [5, {"max_price": float("nan")}])
def test_an_odd_provider_is_refused_before_anything_is_sent(odd):
    with answering() as server:
        ornb.connect(base_url=server.url)
        with pytest.raises(ConfigError, match="provider"):
            timed("acme/orbit", repeats=1, warmup=0, provider=odd)
        assert asked(server) == []


def test_a_refusal_is_not_asked_again():
    slow = whole({"error": {"code": 429, "message": "Slow down"}}, 429, Retry_After="1")
    with answering(chat=[slow]) as server:
        ornb.connect(base_url=server.url)
        df = timed("acme/orbit", repeats=2)
    assert df["http_status"].tolist() == [429] * 3 == [429] * len(asked(server))


# --- failures -------------------------------------------------------------------------------------


def test_an_unknown_model_is_a_row_and_a_hint(capsys):
    df = timed([MODEL, "openai/gpt4o-mini"], repeats=2, concurrency=2)
    assert Counter(zip(df["model"], df["status"], strict=True)) == {
        (MODEL, "ok"): 5,
        ("openai/gpt4o-mini", "error"): 5,
    }
    said = capsys.readouterr().out
    assert "no price is listed for openai/gpt4o-mini (did you mean openai/gpt-4o-mini" in said
    assert df["error"].dropna().str.contains("Did you mean openai/gpt-4o-mini").all()


def test_all_failing_gives_rows_and_a_summary_that_says_so():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ornb.connect(base_url=f"http://127.0.0.1:{port}/v1", retries=0)
    df = timed("acme/orbit", repeats=1, concurrency=3)
    assert df["status"].tolist() == ["error"] * 4
    assert df["time_to_first_token_s"].isna().all()
    assert "Nobody answers" in df["error"].iloc[0]
    assert ornb.latency_summary(df)["note"].item().startswith("3 of 3 failed (Nobody answers")


def test_a_single_repeat_is_shown_without_an_interval():
    row = ornb.latency_summary(timed(repeats=1)).iloc[0]
    assert row["median"] > 0
    assert pd.isna(row["median_low"])
    assert "the interval of median needs 6 requests" in row["note"]


def test_an_interrupt_keeps_what_there_is(capsys):
    calls = iter(range(20))

    def before() -> None:
        if next(calls) == 2:
            threading.Event().wait(0.5)  # nothing but time tells that it is waited for
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(SOON_S)  # the answer comes too late

    with answering(before=before) as server:
        ornb.connect(base_url=server.url)
        df = timed("acme/orbit", repeats=20, warmup=0)
    assert df["status"].tolist() == ["ok", "ok", "stopped"]
    assert df.attrs["interrupted"]
    assert "Interrupted: 3 of 20 calls" in capsys.readouterr().out


def test_an_interrupt_between_the_starts_of_a_burst_ends_the_run(monkeypatch):
    """Those that are started wait for the others, which never come."""

    begun = iter("ab")

    class Interrupted(ThreadPoolExecutor):
        def submit(self, *args, **kwargs):
            if next(begun, None) is None:
                raise KeyboardInterrupt
            return super().submit(*args, **kwargs)

    monkeypatch.setattr("ornb.runs.measure.ThreadPoolExecutor", Interrupted)
    df = timed(repeats=2, warmup=0, concurrency=3)
    assert df.attrs["interrupted"]
    assert set(df["status"]) <= {"stopped"}


def test_the_interpreters_patience_is_given_back():
    before = sys.getswitchinterval()
    timed(repeats=1, warmup=0)
    assert sys.getswitchinterval() == before
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"models": []}, "models is empty"),
        ({"models": ["", MODEL]}, "model is ''"),
        ({"models": 7}, "models is 7"),
        ({"models": pd.DataFrame()}, "models is empty"),
        ({"prompt": []}, "prompt is empty"),
        ({"prompt": "  "}, "prompt is empty, so nothing was sent"),
        ({"prompt": 7}, "prompt is 7"),
        ({"repeats": 0}, "repeats is 0"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"concurrency": 65}, "at most 64"),
        ({"concurrency": []}, r"concurrency is \[\]"),
        ({"warmup": -1}, "warmup is -1"),
        ({"connection": "hot"}, "'warm', 'cold' or both"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"max_usd": "a lot"}, "max_usd is 'a lot'"),
        ({"seed": "x"}, "seed is 'x'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(arguments, said):
    before = len(ornb.usage)
    with pytest.raises(ConfigError, match=said):
        timed(**arguments)
    (row,) = ornb.usage.df.iloc[before:].itertuples()
    assert (row.status, row.attempts, pd.isna(row.source)) == ("error", 0, True)


def test_models_come_as_a_frame_or_a_picker_too():
    class Picker:
        value = (MODEL, OTHER)

    frame = ornb.models().loc[[MODEL, OTHER]]
    for models in (Picker(), frame, (MODEL, OTHER, MODEL)):
        df = timed(models, repeats=1, warmup=0)
        assert set(df["model"]) == {MODEL, OTHER}
        assert len(df) == 2


# --- money ----------------------------------------------------------------------------------------


def test_the_cost_is_shown_before_the_first_call(capsys):
    with answering(price="0.000001") as server:
        ornb.connect(base_url=server.url)
        timed("acme/orbit", repeats=2, max_tokens=16, ornb=None)
    said = capsys.readouterr().out
    assert said.startswith("3 calls: 1 model x 1 prompt x 2 repeats, 1 to warm up.\nIt is likely ")
    assert "at most; the limit is $1.00." in said


def test_a_run_that_could_cost_too_much_is_not_started():
    with answering(price="0.001") as server:
        ornb.connect(base_url=server.url)
        with pytest.raises(BudgetExceeded, match=r"Nothing was sent: 21 calls could cost \$") as no:
            timed("acme/orbit", repeats=20, max_usd="0.50")
        assert asked(server) == []
    assert no.value.limit_usd < no.value.asked_usd


def test_where_no_price_is_known_the_bills_end_the_run(capsys):
    """Each answer here costs 0.000145 USD."""
    with answering() as server:
        ornb.connect(base_url=server.url)
        df = timed("acme/orbit", repeats=4, warmup=0, max_usd="0.0002")
    assert df["status"].tolist() == ["ok", "ok", "error", "error"]
    assert len(asked(server)) == 2
    assert "No further call is sent once $0.00020 was billed." in capsys.readouterr().out


# --- the page -------------------------------------------------------------------------------------


def test_the_page_describes_the_columns_that_there_are():
    page = (Path(__file__).parents[1] / "docs" / "tables.md").read_text(encoding="utf-8")
    table = page.split("\n## Measure\n")[1].split("\n| --- | --- | --- |\n")[1].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    described = [[f"`{n}`", dtype, meaning] for n, (dtype, meaning) in MEASURE_COLUMNS.items()]
    assert rows == described
