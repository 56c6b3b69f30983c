from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest
from forks import done_in_a_fork, forks
from wire import FINISH, STALL_S, STREAM, WireServer, delta, whole

import ornb
from ornb import errors, session
from ornb.api.reply import Reply
from tests.page import printed

KEY = "sk-or-v1-" + "5e" * 32
RECORD = {
    "id": "acme/orbit",
    "name": "Acme: Orbit",
    "created": 1772323200,
    "context_length": 8192,
    "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
    "pricing": {"prompt": "0.000002", "completion": "0.00001"},
}


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, anew):
    """Each test chooses its own service and counts its own calls."""
    for name in ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "ORNB_MODEL"):
        monkeypatch.delenv(name, raising=False)
    anew(announced=True)
    ornb.usage.clear()


def test_without_a_key_the_offline_default_answers_and_says_so(anew, capsys) -> None:
    anew()
    assert ornb.client().source == "offline"
    said = capsys.readouterr().out
    assert "offline" in said
    assert "2026-08-22" in said
    ornb.models()
    assert capsys.readouterr().out == "", "once is enough"


def test_a_key_in_the_environment_goes_to_openrouter(monkeypatch, capsys) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    assert ornb.client().base_url == "https://openrouter.ai/api/v1"
    assert ornb.client().has_key
    assert capsys.readouterr().out == ""


def test_an_address_in_the_environment_needs_no_key(monkeypatch) -> None:
    monkeypatch.setenv("OPENROUTER_BASE_URL", "http://127.0.0.1:11434/v1")
    assert (ornb.client().base_url, ornb.client().has_key) == ("http://127.0.0.1:11434/v1", False)


def test_a_key_of_the_environment_is_not_sent_to_an_address_given_here(monkeypatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    assert ornb.connect(base_url="http://127.0.0.1:9/v1").has_key is False


def test_offline_and_a_key_exclude_each_other() -> None:
    with pytest.raises(errors.ConfigError, match="choose one"):
        ornb.connect("sk-x", offline=True)


def test_the_catalogue_is_fetched_once() -> None:
    with WireServer([whole({"data": [RECORD]})]) as server:
        ornb.connect(base_url=server.url)
        first, second = ornb.models(), ornb.models()
        assert len(server.requests) == 1
        assert first.equals(second)
        first["name"] = "changed"
        assert ornb.models()["name"].tolist() == ["Acme: Orbit"], "a caller's change stays his own"
        ornb.models(refresh=True)
        assert len(server.requests) == 2
    assert ornb.models().attrs["source"] == "live"


def test_offline_the_catalogue_says_that_it_is_a_snapshot() -> None:
    models = ornb.models()
    assert len(models) == 421
    assert (models.attrs["source"], models.attrs["snapshot"]) == ("snapshot", "2026-08-22")
    assert 0 < len(ornb.models(free=True)) < 30


def test_a_call_is_estimated_beside_what_was_billed() -> None:
    with WireServer([whole({"data": [RECORD]})], [STREAM, delta("A"), FINISH]) as server:
        ornb.connect(base_url=server.url)
        ornb.models()
        ornb.ask("Hi", "acme/orbit", label="lesson")
    row = ornb.usage.df.iloc[-1]
    assert (row["label"], row["cost_usd"], row["cost_source"]) == ("lesson", 0.000145, "billed")
    assert row["estimate_usd"] == pytest.approx(22 * 0.000002 + 9 * 0.00001)


def service(catalogue):
    """Answers a chat at once, and the catalogue by the steps given."""

    def script(head: bytes, _: bytes):
        return catalogue if head.startswith(b"GET") else [STREAM, delta("A"), FINISH]

    return script


def looks(server) -> int:
    return sum(head.startswith(b"GET") for head, _ in server.requests)


ESTIMATE = pytest.approx(22 * 0.000002 + 9 * 0.00001)


def test_the_first_call_is_estimated_without_asking_for_the_catalogue_oneself() -> None:
    with WireServer(service([whole({"data": [RECORD]})])) as server:
        ornb.connect(base_url=server.url)
        ornb.ask("Hi", "acme/orbit")
        ornb.ask("Hi", "acme/orbit")
        assert looks(server) == 1, "once a connection"
        ornb.connect(base_url=server.url)
        ornb.ask("Hi", "acme/orbit")
    assert ornb.usage.df["estimate_usd"].tolist() == [ESTIMATE] * 3
    assert looks(server) == 2


def test_calls_that_end_together_share_one_look_at_the_catalogue() -> None:
    with WireServer(service([0.2, whole({"data": [RECORD]})])) as server:
        ornb.connect(base_url=server.url)
        threads = [threading.Thread(target=ornb.ask, args=("Hi", "acme/orbit")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert looks(server) == 1
    assert ornb.usage.df["estimate_usd"].tolist() == [ESTIMATE] * 8


def test_a_catalogue_that_cannot_be_had_costs_no_row_and_is_not_asked_for_again() -> None:
    with WireServer(service([whole({"error": {"message": "No", "code": 500}}, 500)])) as server:
        ornb.connect(base_url=server.url)
        for _ in range(3):
            ornb.ask("Hi", "acme/orbit")
        assert looks(server) == 1
        with pytest.raises(errors.ServerError):
            ornb.models()
        ornb.connect(base_url=server.url)
        with pytest.raises(errors.ServerError):
            ornb.models()
        ornb.ask("Hi", "acme/orbit")
        assert looks(server) == 3, "what a person asked in vain is not asked again either"
    assert ornb.usage.df["status"].tolist() == ["ok"] * 4
    assert ornb.usage.df["estimate_usd"].isna().all()


def test_a_slow_catalogue_holds_an_answer_back_for_a_moment_only(monkeypatch) -> None:
    monkeypatch.setitem(session.ESTIMATE_PATIENCE_S, "live", 4)
    sent = threading.Event()

    def catalogue():
        sent.wait(STALL_S)
        yield whole({"data": [RECORD]})

    def script(head: bytes, _: bytes):
        return catalogue() if head.startswith(b"GET") else [STREAM, delta("A"), FINISH]

    with WireServer(script) as server:
        ornb.connect(base_url=server.url)
        began = time.perf_counter()
        for _ in range(5):
            ornb.ask("Hi", "acme/orbit")
        assert time.perf_counter() - began < 5 * 4, "one wait, not one a call"
        sent.set()
        assert len(ornb.models()) == 1, "waits for the look that is under way"
        ornb.ask("Hi", "acme/orbit")
        assert looks(server) == 1
    assert ornb.usage.df["estimate_usd"].isna().tolist() == [True] * 5 + [False]


def test_an_interrupt_during_the_look_keeps_the_row_and_the_answer(monkeypatch) -> None:
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "_cached_catalog", interrupted)
    with pytest.raises(errors.Interrupted) as caught:
        ornb.ask("Hi", "openai/gpt-4o-mini")
    assert caught.value.reply.status == "ok"
    assert len(ornb.usage) == 1


def test_offline_and_recorded_answers_are_estimated_alike(tmp_path) -> None:
    ornb.connect(offline=True)
    with ornb.record(tmp_path / "lesson.jsonl"):
        ornb.ask("Hi", "openai/gpt-4o-mini")
    ornb.connect(recording=tmp_path / "lesson.jsonl")
    ornb.ask("Hi", "openai/gpt-4o-mini")
    ornb.connect(offline=True)
    frame = ornb.usage.df
    assert frame["source"].tolist() == ["canned", "recorded"]
    first, again = frame["estimate_usd"]
    assert first == again > 0


def test_a_recording_answers_at_once_where_that_is_asked_for(tmp_path, capsys) -> None:
    ornb.connect(offline=True)
    lesson = tmp_path / "lesson.jsonl"
    with ornb.record(lesson):
        ornb.ask("Hi", "openai/gpt-4o-mini")
    text = lesson.read_text(encoding="utf-8")
    lesson.write_text(
        re.sub(r'"(head_s|ended_s)": ?[\d.e-]+', r'"\1": 86400', text), encoding="utf-8"
    )
    ornb.connect(recording=lesson, pace="instant")
    reply = ornb.ask("Hi", "openai/gpt-4o-mini")
    assert reply.source == "recorded"
    assert reply.timing.duration_s == pytest.approx(86400), "the recorded time"
    ornb.connect(recording=lesson, pace="slow")  # type: ignore[arg-type]
    assert "pace" in capsys.readouterr().out
    ornb.connect(offline=True)


def test_an_interrupted_question_gives_its_part_in_one_line() -> None:
    def interrupted():
        yield from (STREAM, delta("Once upon a time"))
        yield 1.0  # nothing but time tells that it was read
        os.kill(os.getpid(), signal.SIGINT)
        yield "stall"

    def script(head: bytes, _: bytes):
        return [whole({"data": [RECORD]})] if head.startswith(b"GET") else interrupted()

    with WireServer(script) as server:
        ornb.connect(base_url=server.url)
        with pytest.raises(KeyboardInterrupt) as caught:
            ornb.ask("Hi", "acme/orbit")
    assert caught.value.reply.text == "Once upon a time"
    assert printed(caught.value) == [
        "KeyboardInterrupt: the answer was stopped after 16 characters. They are in the `reply` of "
        "this exception (sys.last_value.reply)."
    ]
    assert ornb.usage.df["status"].tolist() == ["stopped"]


def test_a_system_message_goes_first() -> None:
    with WireServer([STREAM, delta("A"), FINISH]) as server:
        ornb.connect(base_url=server.url)
        ornb.ask("Hi", "acme/orbit", system="Be brief.")
        ornb.ask([{"role": "user", "content": "Hi"}], "acme/orbit", system="Be brief.")
    bodies = [body for _, body in server.requests if body]
    assert b'[{"role": "system", "content": "Be brief."}, {"role": "user"' in bodies[0]
    assert bodies[0] == bodies[1]


def test_an_error_is_a_row_too() -> None:
    ornb.connect(offline=True)
    with pytest.raises(errors.BadRequest, match="not a valid model"):
        ornb.ask("Hi", "nobody/nothing")
    with pytest.raises(errors.ConfigError):
        ornb.ask("")
    assert ornb.usage.df["status"].tolist() == ["error", "error"]
    assert ornb.ask("Hi", "openai/gpt-4o-mini").text, "usable again at once"


def test_the_default_model_follows_the_service(monkeypatch) -> None:
    assert session.default_model() == "ornb/canned", "the tests switch the local model off"
    ornb.connect(KEY)
    assert session.default_model() == "openrouter/free"
    with WireServer([whole([RECORD])]) as server:
        ornb.connect(base_url=server.url)
        assert session.default_model() == "acme/orbit"
    monkeypatch.setenv("ORNB_MODEL", "acme/other")
    assert session.default_model() == "acme/other"


@pytest.mark.parametrize("choice", [3, "", ("a/b", "c/d"), ["a/b"]])
def test_what_is_no_model_is_refused(choice) -> None:
    with pytest.raises(errors.ConfigError, match="give one id"):
        session.model_id(choice)


def test_the_offline_default_is_started_again_when_its_process_ended() -> None:
    from ornb import offline

    ornb.client()
    offline.start().close()
    assert ornb.ask("Hi").source in ("canned", "local")


OF_OLD = """
import importlib, ornb
for old, today in ornb._MOVED.items():
    assert importlib.import_module(f"ornb.{old}") is importlib.import_module(f"ornb.{today}")
from ornb.request.tools import Tool
from ornb import placeholders
assert Tool.__module__ == "ornb.messages.tools" and placeholders.fill_in
assert all(map(callable, (ornb.batch, ornb.client, ornb.measure)))
"""


def test_modules_are_found_by_the_names_they_had_and_hide_no_public_name() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", OF_OLD], check=True)


def test_every_public_name_is_there() -> None:
    for name in ornb.__all__:
        assert getattr(ornb, name) is not None
        assert name in dir(ornb)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = ornb.nothing_like_it


def test_a_wrong_model_is_met_with_near_ones_and_the_part_is_kept() -> None:
    with pytest.raises(ornb.OrnbError, match="Did you mean openai/gpt-4o-mini") as caught:
        ornb.ask("Hi", "openai/gpt4o-mini")
    assert caught.value.reply is not None


def test_what_is_no_prompt_is_not_priced() -> None:
    with pytest.raises(errors.ConfigError, match="The prompt is 5, so nothing was sent"):
        ornb.quote(5, "openai/gpt-4o-mini")


@pytest.mark.parametrize(
    "wrong", [{"temperature": 9}, {"max_tokens": -5}], ids=["temperature", "max_tokens"]
)
@pytest.mark.parametrize("model", [session.LOCAL, "~nobody/listed"])
def test_a_refusal_of_something_else_proposes_no_model(monkeypatch, wrong, model) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        ornb.ask("Hi", session.CANNED, **wrong)
    assert "Did you mean" not in str(session.with_near_models(caught.value, model))


def test_offline_a_plan_without_a_price_says_how_to_see_one() -> None:
    ornb.connect(offline=True)
    plan = ornb.batch(["Hi"], "{{text}}", dry_run=True)
    assert str(plan.unknown).endswith("no price: name a model to see what it would cost")
    for model in (None, "typesafe/jev-1.14"):
        plan = ornb.decide(["Hi"], {"a": "Is it?"}, model, dry_run=True)
        assert plan.unknown == "the snapshot has prices of chat models alone"


def test_no_model_is_proposed_instead_of_one_of_ours() -> None:
    refused = errors.NotFound("No.", raw={"message": f"No endpoints found for {session.LOCAL}."})
    assert str(session.with_near_models(refused, session.LOCAL)) == "No."


def test_near_models_are_proposed_once() -> None:
    said = {"message": "openai/gpt4o-mini is not a valid model ID"}
    error = errors.BadRequest("No.", raw=said)
    once = str(session.with_near_models(error, "openai/gpt4o-mini"))
    assert str(session.with_near_models(error, "openai/gpt4o-mini")) == once
    assert once.count("Did you mean") == 1


def test_offline_a_model_of_another_kind_is_refused_with_the_verb_that_would_ask_it() -> None:
    ornb.connect(offline=True)
    with pytest.raises(errors.BadRequest, match=r"chat models alone.*ornb\.embed") as caught:
        ornb.ask("Hi", "openai/text-embedding-3-small")
    session.with_near_models(caught.value, "openai/text-embedding-3-small")
    assert str(caught.value).count("chat models alone") == 1
    with pytest.raises(errors.BadRequest, match="Did you mean") as caught:
        ornb.ask("Hi", "openai/gpt4o-mini")
    assert "chat models alone" not in str(caught.value)


@pytest.mark.parametrize("model", ["gpt-4o", "openai/gpt4o"])
def test_endpoints_and_a_quote_of_no_model_name_near_ones(model) -> None:
    with pytest.raises(errors.NotFound, match="Did you mean openai/gpt-4o") as caught:
        ornb.endpoints(model)
    assert "offline" not in str(caught.value)
    assert "did you mean openai/gpt-4o" in str(ornb.quote("Hi", model).unknown)
    with pytest.raises(errors.ConfigError, match="give one id"):
        ornb.endpoints(5)


def test_a_misspelt_parameter_is_sent_and_told_of_once(monkeypatch) -> None:
    with WireServer(service([whole({"data": [RECORD]})])) as server:
        ornb.connect(base_url=server.url)
        with pytest.warns(UserWarning, match="'max_token' is no .* mean 'max_tokens'") as told:
            ornb.ask("Hi", "acme/orbit", max_token=1)
        assert [each.filename for each in told] == [__file__], "where the person wrote it"
        ornb.ask("Hi", "acme/orbit", max_token=1)
        with pytest.warns(UserWarning, match="temprature"):
            ornb.Chat("acme/orbit", temprature=1).ask("Hi")
        with pytest.warns(UserWarning, match="sed"):
            ornb.batch(["Hi"], model="acme/orbit", sed=3, progress=False, dry_run=True)
    assert b'"max_token": 1' in next(body for _, body in server.requests if body)


def test_a_parameter_that_ornb_does_not_know_passes_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ornb.ask("Hi", "openai/gpt-4o-mini", top_n=3, a_new_field=True, user="me", n=1)


@pytest.mark.parametrize("wrong", [{"author": "openia"}, {"family": ["GTP"]}])
def test_an_author_or_family_that_nobody_is_is_refused(wrong) -> None:
    with pytest.raises(errors.ConfigError, match="did you mean"):
        ornb.models(**wrong)
    assert len(ornb.models(author="OpenAI", family=["gpt", "Claude"])) > 0


def test_a_limit_that_is_no_number_is_met_with_one_of_the_right_size() -> None:
    assert len(ornb.models(min_context="128k")) == len(ornb.models(min_context=128_000))
    with pytest.raises(errors.ConfigError, match="such as min_context=128_000"):
        ornb.models(min_context="long")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ofline": True}, "'ofline' is no argument of connect; did you mean 'offline'"),
        ({"api_key": 5}, "api_key is of type int"),
        ({"retries": -1}, "retries is -1"),
        ({"retries": 1.5}, r"retries is 1\.5"),
        ({"timeouts": 5}, "timeouts is 5"),
        ({"title": 5}, "title is not a line"),
        ({"referer": "a\nb"}, "referer is"),
    ],
)
def test_what_cannot_connect_is_one_message(wrong, words) -> None:
    with pytest.raises(errors.ConfigError, match=words):
        ornb.connect(**wrong)


@pytest.mark.parametrize("seconds", [-1, 0, "5", float("nan"), True, None])
def test_patience_is_above_zero(seconds) -> None:
    with pytest.raises(errors.ConfigError, match=r"Timeouts\(connect="):
        ornb.Timeouts(connect=seconds)


def test_dir_lists_what_is_meant_for_people() -> None:
    assert set(dir(ornb)) == {*ornb.__all__, "errors", "load_ipython_extension"}
    assert "ornb.ask(" in ornb.__doc__, "help(ornb) begins with the first calls"


@pytest.mark.parametrize("kind", [ornb.Reply, ornb.Usage, ornb.Timing, ornb.Timeouts, ornb.Event])
def test_help_explains_each_field(kind) -> None:
    documented = inspect.getdoc(kind).partition("Attributes\n----------\n")[2]
    for field in inspect.signature(kind).parameters:
        assert f"\n{field} : " in f"\n{documented}"


@pytest.mark.parametrize(
    "ask",
    [
        lambda: ornb.ask("Hi", system=5),
        lambda: ornb.Conversation(5),
        lambda: ornb.batch(["Hi"], system=5, progress=False),
        lambda: ornb.batch(["Hi"], 5, progress=False),
    ],
)
def test_a_system_message_is_text(ask) -> None:
    with pytest.raises(errors.ConfigError, match="text"):
        ask()


def test_tiers_of_what_is_no_table_says_so() -> None:
    with pytest.raises(errors.ConfigError, match="give a frame of"):
        ornb.tiers("x")


@forks
def test_a_forked_process_does_not_wait_for_what_a_thread_of_its_parent_has_locked():
    usage, budgets, quota = ornb.usage, session.default.budgets, session.default.quota
    is_locked, is_forked = threading.Event(), threading.Event()

    def hold():
        with budgets.books(), quota._lock, usage._freezing, usage._summing, usage._lock:
            is_locked.set()
            is_forked.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    is_locked.wait()

    def look():
        usage.record(Reply())
        usage.totals()
        repr((usage, quota.facts(), budgets.budget(1)))

    is_done = done_in_a_fork(look)
    is_forked.set()
    holder.join()
    assert is_done


@forks
def test_a_forked_process_does_not_wait_for_a_recording_that_a_thread_of_its_parent_is_at(tmp_path):
    tape, opened = tmp_path / "tape.jsonl", session.default.recordings
    with ornb.record(tape):
        ornb.ask("Hi", "ornb/canned")
    is_locked, is_forked = threading.Event(), threading.Event()

    def hold():
        with opened._lock, recorder._lock, replay._lock:
            is_locked.set()
            is_forked.wait()

    def look():
        ornb.ask("Hi", "ornb/canned")
        with ornb.record(tmp_path / "third.jsonl"):
            pass

    with ornb.record(tmp_path / "second.jsonl") as recorder, ornb.replay(tape) as replay:
        holder = threading.Thread(target=hold)
        holder.start()
        is_locked.wait()
        is_done = done_in_a_fork(look)
        is_forked.set()
        holder.join()
    assert is_done
