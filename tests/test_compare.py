"""A comparison's Python side: who is asked what; what is kept, hidden, voted, sent to the page."""

from __future__ import annotations

import _thread
import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.formatters import DisplayFormatter

import ornb
from ornb import catalog
from ornb.api.client import Client
from ornb.api.reply import Reply, Timing, Usage
from ornb.errors import ConfigError
from ornb.messages import Conversation
from ornb.notebook import compare as module
from ornb.notebook.chat import Chat
from ornb.notebook.compare import Comparison, compare
from ornb.text.comparison import COMPARISON_COLUMNS, MIME_COMPARISON, Answers
from ornb.text.figures import figures
from ornb.text.markdown import render
from tests.hostile import ANSWER
from tests.lab import notebook_of, run_headless
from tests.page import (
    PATIENCE_S,
    as_soon_as,
    displayed,
    from_page,
    lasting,
    main_waits_in,
    page_has,
    until,
)
from tests.test_chat import EMPTY
from tests.wire import DONE, END, FINISH, SOON_S, STREAM, WireServer, delta, event, whole

SENTINEL = "sk-or-v1-5entine1"
MODELS = ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4", "google/gemini-2.5-flash"]


class Heard(Comparison):
    """A comparison whose messages to the page are kept as JSON, as the wire would carry them."""

    @property
    def out(self) -> list[dict[str, Any]]:
        return self.__dict__.setdefault("_out", [])

    def send(self, content: Any, buffers: Any = None) -> None:
        self.out.append({**json.loads(json.dumps(content)), "at": time.monotonic()})

    def said(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.out if message["type"] == kind]


@pytest.fixture(autouse=True)
def _heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Comparison", Heard)


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
CALL = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
ARMOR = {"status": {"tool_uses": {"c": {"outcome": "flagged"}}}}


@pytest.fixture
def asked() -> Any:
    """Make servers that answer each model by its own script; gives their clients."""
    opened: list[WireServer] = []

    def make(scripts: dict[str, Any], **options: Any) -> Client:
        def script(_: bytes, body: bytes) -> Any:
            return scripts[json.loads(body)["model"]]

        opened.append(WireServer(script))
        client = Client(SENTINEL, opened[-1].url, retries=0, **options)
        client.__dict__["wire"] = opened[-1]
        return client

    yield make
    for server in opened:
        server.__exit__()


def answer(*pieces: str) -> list[Any]:
    """A stream that says `pieces`."""
    return [STREAM, *map(delta, pieces), FINISH]


def bodies(client: Any) -> dict[str, Any]:
    """What was sent, by model."""
    sent = [json.loads(body) for _, body in client.wire.requests]
    return {body["model"]: body for body in sent}


def started(prompt: str, models: Any, **options: Any) -> Any:
    """A comparison on its way, whose page has been heard."""
    going: Any = compare(prompt, models, wait=False, **options)
    from_page(going, {"type": "hello", "page": "p"})
    return going


def pages(javascript: Any, comparison: Any) -> list[dict[str, str]]:
    """What the page makes of what it was told of each answer."""
    changes: list[list[Any]] = [[] for _ in comparison.models]
    begun = [EMPTY for _ in comparison.models]
    for message in comparison.out:
        if message["type"] == "state":
            begun = [{**EMPTY, **whole} for whole in message["answers"]]
            changes = [[] for _ in comparison.models]
            continue
        for place, change in message["changes"].items():
            changes[int(place)].append(change)
    return [javascript("grow", a, *b) for a, b in zip(begun, changes, strict=True)]


def parts(javascript: Any, comparison: Any) -> list[str]:
    """What the page shows of each answer."""
    return [page["html"] + page["tail"] for page in pages(javascript, comparison)]


def written(comparison: Any) -> list[bool]:
    """Whether the page was told some text of each answer."""
    told = [False for _ in comparison.models]
    for message in comparison.out:
        if message["type"] == "state":
            told = [bool(each["html"] or each.get("tail")) for each in message["answers"]]
        for place, change in message.get("changes", {}).items():
            told[int(place)] |= bool(change.get("add") or change.get("replace"))
    return told


def simulated(tokens: int, chunk_s: float = 0.0, **more: Any) -> dict[str, Any]:
    wish = {"tokens": tokens, "chunk_s": chunk_s, "first_token_s": 0, **more}
    return {"ornb": {"simulate": wish}}


# ------------------------------------------------------------------ what comes of it


def test_each_answer_is_a_row_with_its_facts(asked: Any) -> None:
    done = compare("Hi", ["a/b", "c/d"], client=asked({"a/b": answer("One"), "c/d": answer("Two")}))
    frame = done.df
    assert list(frame.columns) == list(COMPARISON_COLUMNS)
    assert {n: str(t) for n, t in frame.dtypes.items()} == {
        name: column.dtype for name, column in COMPARISON_COLUMNS.items()
    }
    first = frame.iloc[0]
    assert (first["model"], first["served_model"]) == ("a/b", "acme/orbit-20260302")
    assert (first["provider"], first["source"], first["text"]) == ("NorthCloud", "live", "One")
    assert (first["prompt_tokens"], first["completion_tokens"]) == (22, 9)
    assert (first["cost_usd"], first["status"], first["finish_reason"]) == (0.000145, "ok", "stop")
    assert first["tokens_per_second"] == pytest.approx(9 / first["duration_s"])
    assert list(frame["position"]) == ["A", "B"]
    assert frame["vote"].isna().all()
    assert {model: reply.text for model, reply in done.replies.items()} == {
        "a/b": "One",
        "c/d": "Two",
    }


def test_the_table_is_typed_also_while_nothing_has_come() -> None:
    empty = Answers(_question("Hi"), ["a/b"], ["a/b"]).df
    assert {n: str(t) for n, t in empty.dtypes.items()} == {
        name: column.dtype for name, column in COMPARISON_COLUMNS.items()
    }
    assert empty["status"].isna().all()


def test_each_call_is_a_row_in_the_usage_of_the_kernel() -> None:
    before = len(ornb.usage)
    compare("Hi", MODELS, max_tokens=3)
    rows = ornb.usage.df.iloc[before:]
    assert sorted(rows["model"]) == sorted(MODELS)
    assert set(rows["label"]) == {"compare"}


def test_what_it_would_have_cost_is_kept_apart_from_what_it_did() -> None:
    row = compare("Hi", MODELS[:1], max_tokens=3).df.iloc[0]
    assert row["cost_usd"] == 0
    assert row["estimate_usd"] > 0


def test_a_model_that_fails_leaves_the_others_alone(asked: Any) -> None:
    refusal = [whole({"error": {"message": "No endpoints found.", "code": 404}}, 404)]
    broken = [
        STREAM,
        delta("Half"),
        event(error={"message": "Down", "code": 502}, choices=[]),
        DONE,
    ]
    scripts = {"a/b": refusal, "c/d": answer("Fine."), "e/f": broken}
    done = compare("Hi", list(scripts), client=asked(scripts))
    assert list(done.df["status"]) == ["error", "ok", "error"]
    assert list(done.df["text"]) == ["", "Fine.", "Half"]
    assert "No endpoints found" in done.df["error"][0]
    assert "Down" in done.df["error"][2]
    from_page(done, {"type": "hello"})
    assert [bool(answer["error"]) for answer in done.said("state")[-1]["answers"]] == [1, 0, 1]


@pytest.mark.parametrize(
    ("said", "beside", "words"),
    [
        ({"images": [PICTURE]}, {}, "1 image came, which a row does not hold; .* `replies` does"),
        ({"content": "See.", "images": [PICTURE]}, {}, "1 image came"),
        ({"tool_calls": [CALL]}, {}, "1 tool call came"),
        ({"refusal": "I can't."}, {}, "the model refused"),
        ({"content": "Hm"}, {"safeguard_results": [ARMOR]}, "blocked by the armor plugin"),
        ({"content": ""}, {}, "the answer is empty"),
    ],
)
def test_what_a_row_does_not_hold_is_said_in_it(
    said: Any, beside: Any, words: str, asked: Any
) -> None:
    piece = {"choices": [{"index": 0, "delta": said, "finish_reason": "stop"}], **beside}
    scripts = {"a/b": [STREAM, event(**piece), DONE, END], "c/d": answer("Fine.")}
    done = compare("Hi", list(scripts), client=asked(scripts))
    assert list(done.df["status"]) == ["ok", "ok"]
    assert re.search(words, done.df["error"][0])
    assert done.df["error"].isna()[1]


def test_a_misspelt_model_is_told_what_is_near_and_is_no_answer() -> None:
    done = compare("Hi", ["openai/gpt4o-mini"])
    row = done.df.iloc[0]
    assert "Did you mean openai/gpt-4o-mini" in row["error"]
    assert row["cost_usd"] == 0
    html = lasting(done)["text/html"]
    assert "refused offline" in html
    assert "$0 (not billed)" in html
    assert "canned" not in html


def test_a_bug_in_a_client_is_seen_in_its_column() -> None:
    class Broken:
        source, base_url = "live", "http://127.0.0.1"

        def stream(self, *_: Any, **__: Any) -> Any:
            raise ZeroDivisionError("oops")

    done = compare("Hi", ["a/b"], client=Broken())  # type: ignore[arg-type]
    assert "ZeroDivisionError: oops" in done.df["error"][0]


def test_all_are_asked_at_once(asked: Any) -> None:
    together = threading.Barrier(16)  # nobody is answered before all have asked

    def late() -> Any:
        together.wait(PATIENCE_S)
        yield from answer("Late")

    scripts = {f"lab/m{n}": late() for n in range(16)}
    assert set(compare("Hi", list(scripts), client=asked(scripts)).df["text"]) == {"Late"}


# ------------------------------------------------------------------ who is asked what


class Pick(traitlets.HasTraits):
    """As much of a picker as a comparison looks at."""

    value = traitlets.Any(None, allow_none=True)


FRAME = catalog.to_frame([{"id": "a/b"}, {"id": "c/d"}])


@pytest.mark.parametrize(
    "models",
    [
        pytest.param(["a/b", " c/d "], id="list"),
        pytest.param(("a/b", "c/d"), id="tuple"),
        pytest.param((m for m in ["a/b", "c/d"]), id="generator"),
        pytest.param(FRAME, id="frame"),
        pytest.param(FRAME.index, id="index"),
        pytest.param(Pick(value=("a/b", "c/d")), id="picker"),
        pytest.param({"a/b": {}, "c/d": None}, id="mapping"),
    ],
)
def test_models_come_in_many_shapes(asked: Any, models: Any) -> None:
    client = asked({"a/b": answer("1"), "c/d": answer("2")})
    assert list(compare("Hi", models, client=client).replies) == ["a/b", "c/d"]


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([], "no models"),
        (Pick(value=()), "no models"),
        (Pick(), "None"),
        (3, "3"),
        (["a/b", 3], "3"),
        (["a/b", " "], "' '"),
        (["a/b", "c/d", "a/b"], "twice"),
        ({"a/b": 0.5}, "models has 0.5 as the parameters of .a/b."),
        ([f"a/{n}" for n in range(17)], "17"),
    ],
)
def test_what_cannot_be_compared_is_refused(models: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compare("Hi", models)


@pytest.mark.parametrize(
    "prompt",
    ["", " \n", None, 3, [], [{"role": "user", "content": " "}], [{"role": "assistant"}]],
)
def test_an_empty_prompt_is_refused_and_nothing_sent(prompt: Any) -> None:
    before = len(ornb.usage)
    with pytest.raises(ConfigError):
        compare(prompt, MODELS)
    assert ornb.usage.df["attempts"].iloc[before:].tolist() == [0]


def test_parameters_are_for_all_or_for_one(asked: Any) -> None:
    client = asked({"a/b": answer("1"), "c/d": answer("2")})
    compare("Hi", {"a/b": {"temperature": 1}, "c/d": {}}, client=client, temperature=0, seed=7)
    sent = bodies(client)
    assert (sent["a/b"]["temperature"], sent["c/d"]["temperature"]) == (1, 0)
    assert sent["a/b"]["seed"] == sent["c/d"]["seed"] == 7
    assert "label" not in sent["a/b"]


def test_messages_are_sent_as_they_were_given(asked: Any) -> None:
    client = asked({"a/b": answer("1")})
    given = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": [{"type": "text", "text": "And?"}], "name": "me"},
    ]
    done = compare(given, ["a/b"], system="Be brief.", client=client)
    assert bodies(client)["a/b"]["messages"] == [
        {"role": "system", "content": "Be brief."},
        *given,
    ]
    assert done.prompt == "And?"
    assert [turn.text for turn in done.conversation] == ["Hi", "Hello.", "And?", "1"]


def test_halves_of_characters_break_nothing(asked: Any) -> None:
    odd = [STREAM, delta("", reasoning="\ud83d"), delta("A \ud83d"), FINISH]
    done: Any = compare("\ud83d", ["a/b"], client=asked({"a/b": odd}))
    from_page(done, {"type": "hello", "page": "p"})
    json.dumps([done.out, lasting(done)], ensure_ascii=False).encode()


# ------------------------------------------------------------------ blind


def test_nothing_tells_who_is_who_before_the_vote(asked: Any) -> None:
    scripts = {"acme/orbit": answer("One"), "acme/comet": answer("Two")}
    done: Any = compare("Hi", list(scripts), blind=True, client=asked(scripts))
    from_page(done, {"type": "hello", "page": "p"})
    state = {
        name: value for name, value in done.get_state().items() if name not in ("_esm", "_css")
    }
    bundle = lasting(done)
    told = [done.out, state, bundle["text/html"], bundle["text/plain"], repr(done)]
    told += [done.df.to_csv(), list(done.replies)]
    for secret in ("acme", "NorthCloud", "0.00014", "First token", "duration"):
        header = "duration" if secret == "duration" else None
        shown = json.dumps(told, default=str)
        if header:  # the column is there, and empty
            shown = shown.replace("duration_s", "")
        assert secret not in shown
    hidden = set(done.df.columns) - {"text", "source", "status", "position"}
    assert done.df[sorted(hidden)].isna().all(axis=None)
    assert list(done.replies) == ["A", "B"]


def test_a_vote_reveals_and_decides() -> None:
    done = compare("Hi", MODELS, blind=True, max_tokens=3)
    assert (done.vote, done.winner) == (None, None)
    done.vote = "b"
    assert done.vote == "B"
    frame = done.df.set_index("position")
    assert frame["vote"].to_dict() == {"A": "lost", "B": "won", "C": "lost"}
    assert done.winner == frame["model"]["B"]
    assert list(done.replies) == MODELS
    named = done.said("delta")[-1]["done"]  # type: ignore[attr-defined]
    assert all(facts["figures"] for facts in named.values())
    assert "(chosen)" in lasting(done)["text/html"]


def test_a_tie_has_no_winner() -> None:
    done = compare("Hi", MODELS, blind=True, max_tokens=3)
    done.vote = "tie"
    assert done.winner is None
    assert list(done.df["vote"]) == ["tie"] * 3
    assert lasting(done)["text/plain"].endswith("Vote: tie")


@pytest.mark.parametrize("vote", ["D", "", "AB", "a/b"])
def test_a_vote_for_nothing_is_refused(vote: str) -> None:
    done = compare("Hi", MODELS, blind=True, max_tokens=3)
    with pytest.raises(ConfigError, match="A, B, C, tie"):
        done.vote = vote
    assert done.vote is None
    assert done.df["model"].isna().all()


def test_there_is_one_vote(asked: Any) -> None:
    done = compare("Hi", MODELS, blind=True, max_tokens=3)
    done.vote = "A"
    for second in ("B", None, "tie"):
        with pytest.raises(ConfigError, match="was 'A'"):
            done.vote = second
    assert done.vote == "A"
    seen = compare("Hi", MODELS, blind=True, max_tokens=3)
    seen.reveal()
    with pytest.raises(ConfigError, match="have been shown"):
        seen.vote = "A"
    with pytest.raises(ConfigError, match="blind=True"):
        compare("Hi", MODELS, max_tokens=3).vote = "A"


def test_there_is_no_vote_before_the_end(asked: Any) -> None:
    scripts = {"a/b": answer("One"), "c/d": [STREAM, delta("Two"), "stall"]}
    going = compare("Hi", list(scripts), blind=True, wait=False, client=asked(scripts))
    until(lambda: going.replies)
    with pytest.raises(ConfigError, match="still being written"):
        going.vote = "A"
    going.stop()
    assert going.wait(PATIENCE_S)
    going.vote = "tie"  # whether the stopped one has said a word by now is left to chance


def test_a_vote_from_the_page_counts_and_a_wrong_one_is_told() -> None:
    done = compare("Hi", MODELS, blind=True, max_tokens=3)
    done.set_state({"vote": "Z"})
    assert "give one of" in done.error
    assert done.vote is None
    done.set_state({"vote": "C"})
    assert (done.vote, done.error) == ("C", "")


def test_there_is_no_vote_for_an_answer_that_is_not_there(asked: Any) -> None:
    refusal = [whole({"error": {"message": "No.", "code": 404}}, 404)]
    scripts = {"a/b": refusal, "c/d": answer("Fine.")}
    done = compare("Hi", list(scripts), blind=True, client=asked(scripts))
    empty, said = sorted(done.df["position"], key=lambda p: done.replies[p].text)
    with pytest.raises(ConfigError):
        done.vote = empty
    done.vote = said


def test_where_all_failed_there_is_nothing_to_hide(asked: Any) -> None:
    refusal = [whole({"error": {"message": "No.", "code": 404}}, 404)]
    scripts = {"a/b": refusal, "c/d": refusal}
    done = compare("Hi", list(scripts), blind=True, client=asked(scripts))
    assert set(done.df["model"]) == set(scripts)


def test_a_seed_repeats_the_order() -> None:
    orders = []
    for seed in (3, 3, None):
        done = compare("Hi", MODELS, blind=True, shuffle_seed=seed, max_tokens=2)
        done.reveal()
        orders.append((done.shuffle_seed, list(done.df["model"])))
    assert orders[0] == orders[1]
    again = compare("Hi", MODELS, blind=True, shuffle_seed=orders[2][0], max_tokens=2)
    again.reveal()
    assert (again.shuffle_seed, list(again.df["model"])) == orders[2]


def test_places_are_shuffled_fairly() -> None:
    orders = [
        module._answers([{"role": "user", "content": "Hi"}], MODELS, blind=True, shuffle_seed=seed)
        for seed in range(300)
    ]
    firsts = [order.places[0].model for order in orders]
    assert all(70 < firsts.count(model) < 130 for model in MODELS)


def test_a_blind_comparison_needs_two() -> None:
    with pytest.raises(ConfigError, match="two models"):
        compare("Hi", MODELS[:1], blind=True)


def test_a_seed_that_could_not_be_read_back_is_refused_before_anything_is_paid_for() -> None:
    with pytest.raises(ConfigError, match=r"shuffle_seed is 1\.5"):
        compare("Hi", MODELS, blind=True, shuffle_seed=1.5)  # type: ignore[arg-type]


# ------------------------------------------------------------------ stopping


def test_one_that_is_stopped_keeps_its_part_and_the_others_go_on(asked: Any) -> None:
    go = threading.Event()

    def later() -> Any:
        yield from (STREAM, delta("One "))
        go.wait(PATIENCE_S)
        yield from (delta("more."), FINISH)

    scripts = {"a/b": [STREAM, delta("Half"), "stall"], "c/d": later()}
    going = started("Hi", list(scripts), client=asked(scripts))
    until(lambda: all(written(going)))
    began = time.perf_counter()
    from_page(going, {"type": "stop", "place": 0})
    until(lambda: "a/b" in going.replies)
    assert time.perf_counter() - began < SOON_S
    assert (going.replies["a/b"].text, going.replies["a/b"].status) == ("Half", "stopped")
    assert going.busy
    go.set()
    assert going.wait(PATIENCE_S)
    assert going.replies["c/d"].text == "One more."


def test_stop_ends_all_silent_answers_at_once(asked: Any) -> None:
    scripts = {f"a/{n}": [STREAM, delta("Half"), "stall"] for n in range(4)}
    scripts["a/4"] = ["stall"]
    going = started("Hi", list(scripts), client=asked(scripts))
    until(lambda: all(written(going)[:4]))
    began = time.perf_counter()
    from_page(going, {"type": "stop"})
    assert going.wait(PATIENCE_S)
    assert time.perf_counter() - began < SOON_S
    assert set(going.df["status"]) == {"stopped"}
    assert not going.busy


def test_stop_does_not_wait_for_a_connection_that_is_only_being_made() -> None:
    released = threading.Event()

    class Connecting:
        """A client still at the name lookup, which nothing can cut."""

        source, base_url = "live", "http://127.0.0.1"

        def stream(self, *_: Any, **__: Any) -> Any:
            released.wait(PATIENCE_S)
            return iter(())

    going = compare("Hi", MODELS, wait=False, client=Connecting())  # type: ignore[arg-type]
    going.stop()
    assert going.wait(PATIENCE_S)
    assert set(going.df["status"]) == {"stopped"}
    assert not released.is_set()
    released.set()


def test_an_interrupt_keeps_the_parts_and_is_raised(asked: Any) -> None:
    client = asked({"a/b": [STREAM, delta("Half"), "stall"], "c/d": answer("Whole.")})
    going = started("Hi", ["a/b", "c/d"], client=client)
    until(lambda: "c/d" in going.replies and all(written(going)))
    as_soon_as(lambda: main_waits_in(going.wait), _thread.interrupt_main)
    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        going.wait()
    assert time.perf_counter() - began < SOON_S
    assert {m: (r.text, r.status) for m, r in going.replies.items()} == {
        "a/b": ("Half", "stopped"),
        "c/d": ("Whole.", "ok"),
    }


def test_one_need_not_wait(asked: Any) -> None:
    go = threading.Event()

    def later() -> Any:
        yield from (STREAM, delta("Half"))
        go.wait(PATIENCE_S)
        yield FINISH

    going = compare("Hi", ["a/b"], wait=False, client=asked({"a/b": later()}))
    assert going.busy
    assert not going.wait(0.05)
    go.set()
    assert going.wait(PATIENCE_S)
    assert not going.busy


def test_what_is_not_compared_cannot_be_stopped() -> None:
    with pytest.raises(ConfigError, match=r"x/y.*gpt-4o-mini"):
        compare("Hi", MODELS, max_tokens=2).stop("x/y")


# ------------------------------------------------------------------ the page


def test_the_page_gets_numbered_changes_that_add_up_to_the_answers(javascript: Any) -> None:
    wanted = {model: simulated(60 * n, 0.005) for n, model in enumerate(MODELS, 1)}
    going = started("Hi", wanted)
    assert going.wait(PATIENCE_S)
    assert [message["seq"] for message in going.out] == list(range(1, len(going.out) + 1))
    assert parts(javascript, going) == [render(text) for text in going.df["text"]]
    assert len(going.said("delta")) > 3


def test_a_long_answer_cut_anywhere_adds_up_too(javascript: Any, asked: Any) -> None:
    pieces = [ANSWER[i : i + 400] for i in range(0, len(ANSWER), 400)]
    script = [STREAM, *[step for piece in pieces for step in (delta(piece), 0.01)], FINISH]
    going = started("Hi", ["a/b"], client=asked({"a/b": script}))
    assert going.wait(PATIENCE_S)
    assert parts(javascript, going)[0] == render(ANSWER)


def test_sixteen_answers_at_once_keep_to_the_limit(javascript: Any, asked: Any) -> None:
    """At most 30 messages a second from the kernel, however many answers stream."""
    enough, heard = 30, threading.Event()

    def long() -> Any:
        yield STREAM
        heard.wait(PATIENCE_S)
        pause = 0.02
        while len(going.out) <= enough:
            yield delta("A *piece* of text.\n\n")
            yield (pause := 1.05 * pause)  # or a busy machine never gets through all that was said
        yield FINISH

    wanted = {f"a/b{n}": long() for n in range(16)}
    going = started("Hi", list(wanted), client=asked(wanted))
    heard.set()
    assert going.wait(PATIENCE_S)
    at = [message["at"] for message in going.out]
    assert len(at) > enough
    for start in at:
        assert sum(start <= moment < start + 1 for moment in at) <= 30
    assert len(at) <= 30 * (at[-1] - at[0]) + 3
    assert parts(javascript, going) == [render(text) for text in going.df["text"]]


def test_hello_is_answered_with_everything(asked: Any) -> None:
    scripts = {"a/b": answer("done"), "c/d": [STREAM, delta("open"), "stall"]}
    going = started("Hi", list(scripts), client=asked(scripts))
    until(lambda: page_has(going, '"live": false'))  # the facts of the first, which has ended
    until(lambda: all(written(going)))
    from_page(going, {"type": "hello", "page": "p1"})
    state = going.said("state")[-1]
    assert state["heard"] == "p"
    assert state["answers"][0]["html"] == "<p>done</p>\n"
    assert not state["answers"][0]["live"]
    assert state["answers"][1] == {
        "live": True,
        "html": "",
        "tail": "<p>open</p>\n",
        "think": "",
    }
    going.stop()
    going.wait(PATIENCE_S)


def test_a_page_that_was_not_heard_yet_gets_everything_now_and_then() -> None:
    """It loads behind the cell that waits, and on older kernels is heard only after it."""
    began = time.perf_counter()
    going: Any = compare("Hi", {MODELS[0]: simulated(60, 0.04)})
    took = time.perf_counter() - began
    wholes = going.said("state")
    assert 2 <= len(wholes) <= 2 + took / module.WHOLE_EVERY_S
    assert "canned" in wholes[1]["answers"][0]["tail"] + wholes[1]["answers"][0]["html"]


@pytest.mark.parametrize(
    "content",
    [None, [], {}, {"type": "x"}, {"type": "stop", "place": 99}, {"type": "stop", "place": "A"}],
)
def test_a_strange_message_does_no_harm(content: Any) -> None:
    done: Any = compare("Hi", MODELS[:1], max_tokens=2)
    from_page(done, content)
    assert done.df["status"][0] == "ok"


def test_reasoning_goes_to_the_page_apart(javascript: Any) -> None:
    going = started("Hi", {MODELS[0]: simulated(20, 0.01, reasoning=9)})
    assert going.wait(PATIENCE_S)
    assert pages(javascript, going)[0]["think"] == going.replies[MODELS[0]].reasoning != ""


def test_the_key_is_in_nothing_that_is_kept_or_sent(asked: Any) -> None:
    done: Any = compare("Hi", ["a/b"], client=asked({"a/b": answer("A")}))
    from_page(done, {"type": "hello", "page": "p"})
    kept = json.dumps([done.out, done.get_state(), lasting(done), done.to_json()], default=str)
    assert SENTINEL not in kept + repr(done) + repr(done.__dict__)


# ------------------------------------------------------------------ what stays


@pytest.mark.parametrize(
    ("reply", "estimate", "said"),
    [
        (Reply(usage=Usage(cost_usd=0.000145)), 0.1, ("$0.00015", "billed")),
        (Reply(usage=Usage(cost_usd=0.0)), None, ("$0", "billed")),
        (Reply(), 0.000145, ("≈ $0.00015", "estimated")),
        (Reply(), None, ("\u2013", "not reported")),
        (Reply(source="canned", usage=Usage(cost_usd=0.0)), None, ("$0", "not billed")),
        (
            Reply(source="canned", usage=Usage(cost_usd=0.0)),
            0.000145,
            ("$0, ≈ $0.00015 live", "not billed"),
        ),
        (
            Reply(source="recorded", recorded_from="local", usage=Usage(cost_usd=0.0)),
            0.000145,
            ("$0, ≈ $0.00015 live", "not billed"),
        ),
        (Reply(source="recorded", usage=Usage(cost_usd=2)), None, ("$2.00", "when recorded")),
        (Reply(source="canned", status="stopped", http_status=200), None, ("$0", "not billed")),
        (Reply(status="error", http_status=404), None, ("$0", "not billed")),
    ],
)
def test_a_cost_says_what_it_is(reply: Reply, estimate: float | None, said: Any) -> None:
    cost = figures(reply, estimate)[0]
    assert (cost.value, cost.remark) == said


def test_tokens_say_whose_they_are_where_another_counted_them() -> None:
    counts = Usage(22, 9)
    for source, model, said in (
        ("live", "a/b-2026", "in → out"),
        ("local", "ornb/smollm2-135m-instruct", "in → out, the small model's"),
    ):
        told = figures(Reply(usage=counts, source=source, model=model), None)
        assert next(one for one in told if one.key == "tokens").remark == said


def test_one_engine_under_several_names_is_said_and_nothing_is_called_the_fastest() -> None:
    done: Any = compare("Hi", MODELS, max_tokens=3)
    said = "ornb/canned answered under all 3 names"
    assert done.engine == said
    assert said in lasting(done)["text/html"]
    assert said in lasting(done)["text/plain"]
    assert said == Comparison.reopen(done.to_json()).engine


def test_the_text_that_stays_has_the_settings_of_a_place_and_the_estimate() -> None:
    kept = compare("Hi", MODELS, max_tokens=3).to_json()
    for turn in kept["conversation"]["turns"]:
        if turn.get("reply"):
            turn["reply"]["note"] = "A tiny model. Here: temperature 0.8, seed 1"
    bundle = lasting(Comparison.reopen(kept))
    assert re.search(r"\[temperature 0.8, seed 1 · .0, ≈ .0.[0-9]+ live\]", bundle["text/plain"])
    assert "temperature 0.8, seed 1" in bundle["text/html"]


def test_it_says_of_which_days_the_prices_of_its_offline_estimates_are() -> None:
    """In the page and in what stays, reopened as well; of a blind one after the vote."""
    told = re.compile(r"Estimates are by prices of \d{4}-\d\d-\d\d[ \w-]*\.")
    done: Any = compare("Hi", MODELS, max_tokens=3)
    (said,) = set(told.findall(json.dumps(lasting(done)["text/html"])))
    again: Any = Heard.reopen(done.to_json())
    for one in (done, again):
        assert said in lasting(one)["text/html"]
        assert said in lasting(one)["text/plain"]
        from_page(one, {"type": "hello", "page": "p"})
        assert [each["note"].splitlines()[-1] for each in one.said("state")[-1]["answers"]] == [
            said for _ in MODELS
        ]
    blind: Any = compare("Hi", MODELS, blind=True, max_tokens=3)
    assert said not in json.dumps([lasting(blind)["text/html"], blind.out])
    blind.reveal()
    assert said in lasting(blind)["text/html"]


def test_names_that_answer_for_themselves_are_no_one_engine(asked: Any) -> None:
    said = [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]
    scripts = {name: [STREAM, event(model=name, choices=said), DONE, END] for name in MODELS}
    done: Any = compare("Hi", MODELS, client=asked(scripts))
    assert [reply.model for reply in done.replies.values()] == list(MODELS)
    assert done.engine == ""


def test_who_answered_for_all_is_told_after_the_vote() -> None:
    blind: Any = compare("Hi", MODELS, blind=True, max_tokens=3)
    assert blind.engine == ""
    blind.vote = "A"
    assert blind.engine == "ornb/canned answered under all 3 names"


def test_offline_each_place_says_something_of_its_own() -> None:
    done = compare("Hi", MODELS)
    assert len({reply.text for reply in done.replies.values()}) == len(MODELS)


def test_a_rate_says_over_what() -> None:
    reply = Reply(usage=Usage(completion_tokens=50), timing=Timing(duration_s=2.0))
    rate = next(figure for figure in figures(reply, None) if figure.key == "rate")
    assert (rate.name, rate.value, rate.remark) == ("Tokens/s", "25", "over 2.00 s")


def test_the_output_that_stays_is_a_table_text_and_json() -> None:
    done = compare("What is a <b>token</b>?", MODELS, system="Be < brief.", max_tokens=5)
    bundle = lasting(done)
    assert set(bundle) == {"text/html", "text/plain", MIME_COMPARISON}
    html = bundle["text/html"]
    assert "&lt;b&gt;token" in html
    assert "Be &lt; brief." in html
    for said in (*MODELS, "canned answer", "not billed", "Tokens/s", "cut at max_tokens"):
        assert said in html
    assert all(model in bundle["text/plain"] for model in MODELS)


def test_a_hostile_name_or_error_stays_text() -> None:
    evil = "<img src=x onerror=top.hit=1>"
    said = Reply(model=evil, provider=evil, error=evil, status="error", reasoning=evil, note=evil)
    answers = Answers(_question(evil), [evil], [evil])
    answers.places[0].reply = said
    assert "<img" not in answers.bundle()["text/html"]


def test_a_comparison_is_read_back_from_whatever_held_it(tmp_path: Path) -> None:
    done = compare("Hi", MODELS, blind=True, max_tokens=4, system="Be brief.")
    done.vote = "B"
    saved, bundle = done.to_json(), lasting(done)
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(saved), encoding="utf-8")
    notebook = notebook_of(["1"])
    notebook.cells[0].outputs = [nbformat.v4.new_output("display_data", data=bundle)]
    nbformat.write(notebook, tmp_path / "saved.ipynb")
    windows = tmp_path / "WINDOWS.IPYNB"
    windows.write_text(nbformat.writes(notebook), encoding="utf-8-sig")
    (tmp_path / "bom.json").write_text(path.read_text("utf-8"), encoding="utf-8-sig")
    files = (path, str(path), tmp_path / "saved.ipynb", windows, tmp_path / "bom.json")
    for source in (saved, bundle, {"data": bundle}, *files):
        again = Comparison.reopen(source)
        assert again.to_json() == saved
        pd.testing.assert_frame_equal(again.df, done.df)
        assert (again.vote, again.winner, again.models) == (done.vote, done.winner, done.models)
        assert (again.prompt, again.shuffle_seed) == (done.prompt, done.shuffle_seed)
    from_page(again, {"type": "hello"})


def test_of_several_comparisons_any_can_be_taken(tmp_path: Path) -> None:
    both = [compare(prompt, MODELS, max_tokens=2) for prompt in ("First", "Second")]
    notebook = notebook_of(["1"])
    notebook.cells[0].outputs = [
        nbformat.v4.new_output("display_data", data=lasting(each)) for each in both
    ]
    path = tmp_path / "saved.ipynb"
    nbformat.write(notebook, path)
    assert Comparison.reopen(path).prompt == "Second"
    assert Comparison.reopen(path, which=0).prompt == "First"
    with pytest.raises(ConfigError, match="holds 2 comparisons; which=2 is none of 0 to 1"):
        Comparison.reopen(path, which=2)


def test_a_blind_one_can_be_voted_on_after_reopening() -> None:
    again = Comparison.reopen(compare("Hi", MODELS, blind=True, max_tokens=4).to_json())
    assert again.df["model"].isna().all()
    again.vote = "A"
    assert again.winner in MODELS


def test_what_was_still_being_written_counts_as_stopped() -> None:
    half = Answers(_question("Hi"), ["a/b", "c/d"], ["a/b", "c/d"])
    half.places[0].reply = Reply(text="One", requested_model="a/b")
    again = Comparison.reopen(half.to_json())
    assert list(again.df["status"]) == ["ok", "stopped"]


@pytest.mark.parametrize("source", [3, {}, {"data": 3}, "nowhere.json", [], {"format": "other"}])
def test_what_holds_no_comparison_is_refused(source: Any) -> None:
    with pytest.raises(ConfigError):
        Comparison.reopen(source)


def test_a_notebook_without_one_says_so(tmp_path: Path) -> None:
    nbformat.write(notebook_of(["1"]), tmp_path / "empty.ipynb")
    with pytest.raises(ConfigError, match="holds no comparison"):
        Comparison.reopen(tmp_path / "empty.ipynb")


def test_a_later_version_is_refused() -> None:
    saved = compare("Hi", MODELS[:1], max_tokens=2).to_json()
    with pytest.raises(ConfigError, match="Update ornb"):
        Comparison.reopen({**saved, "version": 2})


_SAVED = Answers(Conversation(), ["a/b", "c/d"], ["c/d", "a/b"], blind=True, shuffle_seed=1)
_SAVED.question.add_user("Hi")
for _place in _SAVED.places:
    _place.reply = Reply(text="Hello.", requested_model=_place.model)

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(_SAVED.to_json())), _VALUES)
def test_damage_is_refused_or_survived(name: str, value: Any) -> None:
    try:
        again = Answers.from_json({**_SAVED.to_json(), name: value})
    except ConfigError:
        return
    again.bundle()
    assert len(again.df) == 2


def test_a_chat_goes_on_from_the_winner(asked: Any) -> None:
    scripts = {"a/b": answer("One"), "c/d": answer("Two")}
    client = asked(scripts)
    done = compare("Hi", list(scripts), blind=True, client=client)
    done.vote = next(p for p, reply in done.replies.items() if reply.text == "Two")
    chat = Chat.reopen(done.conversation, client=client)
    assert chat.model == "c/d"
    chat.ask("And?")
    said = [message["content"] for message in bodies(client)["c/d"]["messages"]]
    assert said == ["Hi", "Two", "And?"]
    assert len(done.conversation.turns) == 3


def test_outside_jupyter_nothing_is_shown_and_the_value_says_what_it_is(capsys: Any) -> None:
    done = compare("Hi", MODELS, max_tokens=2)
    assert capsys.readouterr().out == ""
    assert repr(done) == "Comparison of 3 models (needs a running kernel)"
    DisplayFormatter().format(done)  # as IPython does in a terminal
    assert "Prompt: Hi" in capsys.readouterr().out


def test_the_bundle_of_the_widget_has_its_static_twin() -> None:
    done = compare("Hi", MODELS, max_tokens=2)
    parts = {"application/vnd.jupyter.widget-view+json", "text/html", MIME_COMPARISON}
    assert parts <= set(displayed(done))


def test_a_misspelt_attribute_is_refused() -> None:
    with pytest.raises(ConfigError, match="vote"):
        compare("Hi", MODELS, max_tokens=2).vot = "A"


def _question(prompt: str) -> Conversation:
    talk = Conversation()
    talk.add_user(prompt)
    return talk


# ------------------------------------------------------------------ in a kernel, without a browser

COMPARE = """import ornb
from ornb.notebook.compare import compare
models = ['openai/gpt-4o-mini', 'anthropic/claude-sonnet-4']
"""


@pytest.mark.slow
def test_a_notebook_run_without_a_browser_keeps_the_whole_comparison(tmp_path: Path) -> None:
    cells = [
        COMPARE,
        "compare('What is a token?', models)",
        "_ = compare('Bye', models, wait=False)",
    ]
    done = run_headless(notebook_of(cells), tmp_path)
    outputs = [o.data for o in done.cells[1].outputs if "data" in o]
    # shown once, though it is the value of the cell too
    assert sum("application/vnd.jupyter.widget-view+json" in data for data in outputs) == 1
    assert sum(MIME_COMPARISON in data for data in outputs) == 1
    static = next(data for data in outputs if MIME_COMPARISON in data)
    again = Comparison.reopen(static)
    assert list(again.df["status"]) == ["ok", "ok"]
    assert "canned answer" in static["text/html"]
    assert "being written" not in static["text/html"]
    assert "text/markdown" not in static
    twin = next(d for d in outputs if "application/vnd.jupyter.widget-view+json" in d)
    assert "text/html" not in twin  # else viewers without widgets show everything twice


@pytest.mark.slow
def test_no_key_is_in_a_notebook_that_was_run(tmp_path: Path) -> None:
    with WireServer(answer("A")) as wire:
        done = run_headless(
            notebook_of([COMPARE, "compare('Hi', models)"]),
            tmp_path,
            OPENROUTER_API_KEY=SENTINEL,
            OPENROUTER_BASE_URL=wire.url,
        )
        assert SENTINEL.encode() in wire.requests[-1][0]
    assert SENTINEL not in nbformat.writes(done)


def test_the_page_on_tables_describes_the_comparison() -> None:
    page = (Path(__file__).parents[1] / "docs" / "tables.md").read_text(encoding="utf-8")
    table = page.split("\n## Comparison\n")[1].split("\n| --- | --- | --- |\n")[1]
    rows = [line.strip("| ").split(" | ") for line in table.split("\n\n")[0].splitlines()]
    assert rows == [[f"`{n}`", dtype, said] for n, (dtype, said) in COMPARISON_COLUMNS.items()]
