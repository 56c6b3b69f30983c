"""Decisions: plain questions out, probabilities in, one row, one bill, nothing sent in vain."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest
from wire import WireServer, whole

import ornb
from ornb import errors
from ornb.runs.decide import DECISION_COLUMNS

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def model(name: str, made: str, takes: str = "text", price: str = "0.0000001") -> dict[str, Any]:
    architecture = {"input_modalities": takes.split(), "output_modalities": [made]}
    pricing = {"prompt": price, "completion": "0"}
    top = {"max_completion_tokens": 32000}
    listed = {"id": name, "architecture": architecture, "pricing": pricing, "top_provider": top}
    return {**listed, "context_length": 32000}


CHAT = model("acme/orbit", "text")
LISTED = [
    CHAT,
    model("acme/decider", "decisions"),
    model("acme/seer", "decisions", "text image"),
    model("acme/vectors", "embeddings"),
]
ANSWERS: dict[str, Any] = {
    "angry": {"type": "noul", "noul": 0.83},
    "topic": {
        "type": "choice",
        "choice": "food",
        "probabilities": {"food": 0.7, "service": 0.3},
        "confidence": 0.64,
    },
    "stars": {
        "type": "score",
        "score": 0.6,
        "legend": {"0": "low", "1": "high"},
        "probabilities": {"0": 0.4, "1": 0.6},
    },
}
QUESTIONS = {
    "angry": "Is the writer angry?",
    "topic": ["food", "service"],
    "stars": {"type": "score", "instructions": "How good?", "criteria": ["low", "high"]},
}
USED = {"input_tokens": 287, "output_tokens": 4, "cost": 0.0000287}


class Service(WireServer):
    """Lists models as OpenRouter does, and decides what it is told."""

    answer: Any = None

    def __init__(self) -> None:
        super().__init__(self.respond)
        self.answer = whole(decided(ANSWERS))

    def respond(self, head: bytes, body: bytes) -> Any:
        if head.startswith(b"POST /api/alpha/decisions "):
            return [self.answer]
        if b"/endpoints " in head or head.startswith(b"POST"):
            return [whole({"error": {"message": "No such path.", "code": 404}}, 404)]
        return [whole({"data": LISTED if b"output_modalities=all" in head else [CHAT]})]

    @property
    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.requests if body]


def decided(answers: Any, **more: Any) -> dict[str, Any]:
    served = {"id": "gen-dec-1", "model": "acme/decider-20261001", "provider": "NorthCloud"}
    return {**served, "answers": answers, "usage": USED, **more}


@pytest.fixture
def service(anew):
    anew(announced=True)
    ornb.usage.clear()
    with Service() as running:
        ornb.connect(base_url=running.url)
        yield running


# --- asked and answered ---------------------------------------------------------------------------


def test_plain_questions_go_out_as_the_api_has_them(service):
    level: Any = range(1, 3)
    asked = QUESTIONS | {"side": Literal["left", "right"], "grade": level}
    ornb.decide({"review": "Cold soup"}, asked, "acme/decider", label="soup", user="a")
    assert service.sent == [
        {
            "model": "acme/decider",
            "state": {"review": "Cold soup"},
            "user": "a",
            "questions": {
                "angry": {"type": "noul", "instructions": "Is the writer angry?"},
                "topic": {
                    "type": "choice",
                    "instructions": "topic",
                    "criteria": {"food": None, "service": None},
                },
                "stars": QUESTIONS["stars"],
                "side": {
                    "type": "choice",
                    "instructions": "side",
                    "criteria": {"left": None, "right": None},
                },
                "grade": {"type": "score", "instructions": "grade", "criteria": ["1", "2"]},
            },
        }
    ]


def test_blank_instructions_are_the_name_as_missing_ones_are(service):
    asked = {"angry": {"type": "noul", "instructions": " \n"}}
    ornb.decide("Cold soup", asked, "acme/decider")
    assert service.sent[0]["questions"]["angry"]["instructions"] == "angry"


def test_answers_come_as_a_tidy_table_and_as_plain_values(service):
    decision = ornb.decide("Cold soup", QUESTIONS, "acme/decider")
    frame = decision.df
    assert list(frame) == list(DECISION_COLUMNS)
    assert (frame.dtypes[["probability", "confidence"]] == "float64").all()
    assert frame.fillna({"confidence": -1.0}).values.tolist() == [
        ["angry", "noul", "yes", "yes", 0.83, -1.0],
        ["angry", "noul", "yes", "no", 0.17, -1.0],
        ["topic", "choice", "food", "food", 0.7, 0.64],
        ["topic", "choice", "food", "service", 0.3, 0.64],
        ["stars", "score", "0.6", "low", 0.4, -1.0],
        ["stars", "score", "0.6", "high", 0.6, -1.0],
    ]
    assert decision.answers == {"angry": 0.83, "topic": "food", "stars": 0.6}
    assert "angry: yes 0.83; topic: food 0.70; stars: 0.6 (0 is low, 1 is high)" in repr(decision)
    assert "not calibrated" in repr(decision)


def test_the_ends_of_a_score_are_the_first_and_the_last_level_that_were_asked_for(service):
    stars = {"type": "score", "score": 0.8, "probabilities": {"4": 0.1, "0": 0.9}}
    service.answer = whole(decided({"stars": stars, "angry": {"type": "score", "score": 1}}))
    either = {"type": "noul", "criteria": {"true": "rage", "false": "none"}}
    levels: Any = range(1, 6)
    decision = ornb.decide("Cold soup", {"stars": levels, "angry": either}, "acme/decider")
    assert "stars: 0.8 (0 is 1, 4 is 5); angry: 1)" in repr(decision)
    assert "<strong>0.8 (0 is 1, 4 is 5)</strong>" in decision._repr_html_()
    assert decision.answers["stars"] == 0.8


def test_a_decision_is_one_row_with_its_bill_and_the_estimate(service):
    ornb.decide("Cold soup", QUESTIONS, "acme/decider", label="soup")
    row = ornb.usage.df.iloc[0]
    assert len(ornb.usage.df) == 1
    assert (row["model"], row["served_model"], row["label"]) == (
        "acme/decider",
        "acme/decider-20261001",
        "soup",
    )
    assert (row["prompt_tokens"], row["completion_tokens"]) == (287, 4)
    assert (row["cost_usd"], row["cost_source"]) == (0.0000287, "billed")
    assert row["estimate_usd"] == pytest.approx(287e-7)
    assert row["generation_id"] == "gen-dec-1"


def test_without_a_bill_the_cost_is_estimated(service):
    service.answer = whole(decided(ANSWERS, usage={"input_tokens": 100, "output_tokens": 4}))
    ornb.decide("Cold soup", QUESTIONS, "acme/decider")
    row = ornb.usage.df.iloc[0]
    assert row["cost_source"] == "estimated"
    assert row["estimate_usd"] == pytest.approx(100e-7)


def test_what_may_be_missing_may_be_missing(service):
    answers = {
        "angry": {"type": "noul"},
        "topic": {"type": "choice", "choice": "food"},
        "new": {"type": "aura", "aura": {"hue": 3}},
        "odd": "no object",
    }
    service.answer = whole({"answers": answers, "model": "a/b"})
    decision = ornb.decide("Cold soup", QUESTIONS, "acme/decider")
    assert decision.answers == {
        "angry": None,
        "topic": "food",
        "stars": None,
        "new": {"hue": 3},
    }
    frame = decision.df.set_index("question")
    assert frame["answer"].isna().tolist() == [True, False, True, False]
    assert frame["type"].tolist() == ["noul", "choice", "score", "aura"]
    assert "no answer" in decision._repr_html_()


def test_a_picture_goes_as_data_to_a_model_that_reads_it(service, tmp_path: Path):
    (tmp_path / "cat.png").write_bytes(PNG)
    box = {"type": "box", "box": {"top": 0.1, "left": 0.2, "bottom": 0.5, "right": 0.6}}
    service.answer = whole(decided({"cat": box}))
    asked = {"cat": {"type": "box", "instructions": "Where is the cat?"}}
    decision = ornb.decide(["A photo", tmp_path / "cat.png"], asked, "acme/seer")
    text, picture = service.sent[0]["state"]
    assert text == "A photo"
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert decision.df["answer"].tolist() == ["top 0.1, left 0.2, bottom 0.5, right 0.6"]


def test_the_default_is_a_model_that_decides(service):
    ornb.decide("Cold soup", QUESTIONS)
    assert service.sent[0]["model"] == "acme/decider"


# --- shown ----------------------------------------------------------------------------------------


def test_bars_have_their_figure_beside_them_and_say_what_they_are(service):
    shown = ornb.decide("Cold soup", QUESTIONS, "acme/decider")._repr_html_()
    assert ">food</th>" in shown
    assert '<meter aria-hidden="true" value="0.7"></meter> 0.70</td>' in shown
    assert shown.count("white-space:nowrap") == shown.count("<meter")
    assert "angry: Is the writer angry? <strong>yes</strong></th>" in shown
    assert "not calibrated" in shown
    assert "<style" not in shown


def test_what_a_model_answers_is_text(service):
    bad = "<script>alert(1)</script>"
    answer = {"type": "choice", "choice": bad, "probabilities": {bad: 1, "b": "1e999", "c": -1}}
    service.answer = whole(decided({"topic": answer, bad: {"type": bad, bad: bad}}, model=bad))
    decision = ornb.decide("Cold soup", {"topic": ["a", bad]}, "acme/decider")
    assert "<script" not in decision._repr_html_()
    assert decision.df["probability"].isna().tolist() == [False, True, True, True]


# --- money ----------------------------------------------------------------------------------------


def test_a_budget_bounds_what_is_sent_alone(service):
    ornb.models(kind="all")
    with ornb.budget("0.001") as ceiling:
        ornb.decide("Cold soup", QUESTIONS, "acme/decider")
    assert str(ceiling.spent_usd) == "0.0000287"
    with (
        ornb.budget("0.00001"),
        pytest.raises(errors.BudgetExceeded, match="Only a shorter text would fit") as caught,
    ):
        ornb.decide("Cold soup", QUESTIONS, "acme/decider")
    assert float(caught.value.asked_usd or 0) < 0.0002, "32,000 tokens of answer are not billed"
    assert len(service.sent) == 1


# --- refused --------------------------------------------------------------------------------------

REMOTE = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
LOCAL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
BOX = {"cat": {"type": "box", "instructions": "Where?"}}
endless: list[Any] = []
endless.append(endless)


@pytest.mark.parametrize(
    ("state", "questions", "name", "words"),
    [
        ("Hi", {}, None, "There are no questions"),
        ("Hi", None, None, "There are no questions"),
        ("Hi", {"a": {"type": "chioce"}}, None, "did you mean 'choice'"),
        ("Hi", {"a": {"type": "noul", "criterion": 1}}, None, "did you mean 'criteria'"),
        ("Hi", {"a": 3}, None, "'a' is a int"),
        ("Hi", {1: "Is it?"}, None, "1 is no name"),
        ("Hi", {"a": [str(n) for n in range(300)]}, None, "300 options.*2 to 255"),
        ("Hi", {"a": ["x", "x"]}, None, "twice"),
        ("Hi", {"a": ["x", None]}, None, "of 'a' hold None"),
        ("Hi", {"a": ["x", float("nan")]}, None, "of 'a' hold nan"),
        ("Hi", {"a": ["x", " "]}, None, "of 'a' hold ' '"),
        ("Hi", {"a": [["x"], ["y"]]}, None, r"of 'a' hold \['x'\]"),
        ("Hi", {"a": {"type": "choice", "criteria": {1: "x", "1": "y"}}}, None, "twice"),
        ("Hi", {"a": {"type": "score", "criteria": ["low", None]}}, None, "of 'a' hold N"),
        ("Hi", {"a": {"type": "score", "criteria": ["low", "low"]}}, None, "twice"),
        ("Hi", ["Is it?", "Is it?"], None, "questions hold one twice"),
        ("Hi", {"a": " "}, None, "The question 'a' has no words"),
        ("Hi", {"a": ""}, None, "The question 'a' has no words"),
        ("Hi", {"a": range(1)}, None, "1 level, .*2 to 10"),
        ("Hi", {"a": range(11)}, None, "11 levels"),
        ("Hi", {"a": {"type": "noul", "criteria": {"true": "x"}}}, None, '"false"'),
        ("Hi", {str(n): "Is it?" for n in range(201)}, None, "at most 200"),
        ("", QUESTIONS, None, "state is what the questions are about"),
        ({"a": float("nan")}, QUESTIONS, None, "no form in JSON"),
        ([endless], QUESTIONS, None, "no form in JSON"),
        ("word " * 60_000, QUESTIONS, None, "takes 32,000, so nothing was sent"),
        (["See", REMOTE], QUESTIONS, "acme/seer", "is an address"),
        (["See", LOCAL], QUESTIONS, None, "acme/decider reads no pictures"),
        ({"deep": [LOCAL]}, QUESTIONS, "acme/seer", "deeper in the state"),
        ("See", BOX, "acme/seer", "the state has none"),
        ("Hi", QUESTIONS, "acme/orbit", "does not decide.*it chats, by ornb.ask"),
        ("Hi", QUESTIONS, "acme/vectors", "does not decide.*POST /embeddings"),
    ],
)
def test_bad_input_is_refused_in_one_message_before_anything_is_sent(
    service, state, questions, name, words
):
    with pytest.raises(errors.ConfigError, match=words):
        ornb.decide(state, questions, name or "acme/decider")
    assert service.sent == []
    assert ornb.usage.df["status"].tolist() == ["error"]


def test_a_word_of_another_verb_is_refused(service):
    with pytest.raises(errors.ConfigError, match="progress is for a column: a list of texts"):
        ornb.decide(["Hi", {"ho": 1}], QUESTIONS, progress=False)
    with pytest.raises(errors.ConfigError, match=r"'temperature' is no argument of ornb\.decide"):
        ornb.decide("Hi", QUESTIONS, "acme/decider", temperature=0)


def test_the_total_of_tokens_is_what_both_counts_make(service):
    decision = ornb.decide("Hi", QUESTIONS, "acme/decider")
    assert decision.reply.usage.total_tokens == 291
    assert ornb.usage.df["total_tokens"].tolist() == [291]


def test_a_refusal_of_the_service_is_an_error_as_everywhere(service):
    service.answer = whole({"error": {"code": 404, "message": "acme/decidr is not known"}}, 404)
    with pytest.raises(errors.NotFound, match="Did you mean acme/decider"):
        ornb.decide("Hi", QUESTIONS, "acme/decidr")
    assert ornb.usage.df["http_status"].tolist() == [404]


def test_an_answer_that_is_none_is_named(service):
    service.answer = whole({"choices": []})
    with pytest.raises(errors.UnexpectedAnswer, match="without `answers`"):
        ornb.decide("Hi", QUESTIONS, "acme/decider")


# --- a column -------------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", [["Cold", "Lovely"], ("Cold", "Lovely"), ["Cold", None]])
def test_a_list_of_texts_is_a_column_as_for_every_verb(service, texts):
    table = ornb.decide(texts, QUESTIONS, "acme/decider", progress=False)
    assert sorted(body["state"] for body in service.sent) == [each for each in texts if each]
    assert table["status"].tolist() == ["ok" if each else "skipped" for each in texts]
    assert table["text"].dropna().tolist() == [each for each in texts if each]


def test_a_list_that_holds_data_is_one_state_and_so_is_a_list_in_a_cell(service):
    decision = ornb.decide([{"title": "Soup"}, "Cold"], QUESTIONS, "acme/decider")
    assert service.sent[0]["state"] == [{"title": "Soup"}, "Cold"]
    assert decision.answers["topic"] == "food"
    ornb.decide(pd.Series([["Cold", "soup"]]), QUESTIONS, "acme/decider", progress=False)
    assert service.sent[1]["state"] == ["Cold", "soup"]


def test_a_column_is_decided_about_row_by_row_and_goes_on_where_it_was(service, tmp_path: Path):
    reviews = pd.Series(["Cold soup", "Lovely", "Cold soup"], [7, 8, 9], name="review")
    given: dict[str, Any] = {"store": tmp_path / "kept.sqlite", "progress": False, "label": "soup"}
    table = ornb.decide(reviews, QUESTIONS, "acme/decider", **given)
    assert sorted(body["state"] for body in service.sent) == ["Cold soup", "Lovely"]
    assert all("messages" not in body for body in service.sent)
    told = table[["review", "angry", "topic", "topic_probability", "stars", "status"]]
    assert told.reset_index().values.tolist() == [
        [7, "Cold soup", 0.83, "food", 0.7, 0.6, "ok"],
        [8, "Lovely", 0.83, "food", 0.7, 0.6, "ok"],
        [9, "Cold soup", 0.83, "food", 0.7, 0.6, "cached"],
    ]
    assert [str(table[name].dtype) for name in ("angry", "topic", "stars")] == [
        "float64",
        "category",
        "float64",
    ]
    assert json.loads(table.at[7, "answer"]) == ANSWERS
    assert ornb.usage.df["label"].tolist() == ["soup", "soup"]
    assert table["estimate_usd"].sum() == pytest.approx(2 * 287e-7)
    again = ornb.decide(reviews, QUESTIONS, "acme/decider", **given)
    assert (again["status"] == "cached").all()
    assert again["topic"].tolist() == ["food"] * 3
    other = ornb.decide(reviews, {"angry": "Is it?"}, "acme/decider", **given)
    assert other["status"].tolist() == ["ok", "ok", "cached"], "another question is another call"


@pytest.mark.parametrize("text", ["Cold", "3"])
def test_what_a_store_has_that_is_no_decision_is_asked_again(service, tmp_path: Path, text):
    reviews = pd.Series(["Cold soup"], name="review")
    given: dict[str, Any] = {"store": tmp_path / "kept.sqlite", "progress": False}
    ornb.decide(reviews, QUESTIONS, "acme/decider", **given)
    with contextlib.closing(sqlite3.connect(given["store"])) as kept, kept:
        kept.execute("UPDATE ornb_batch SET text = ?", (text,))
    table = ornb.decide(reviews, QUESTIONS, "acme/decider", **given)
    assert table[["status", "topic"]].values.tolist() == [["ok", "food"]]


def test_a_column_stops_at_its_ceiling_and_says_before_what_it_can_cost(service):
    reviews = pd.DataFrame({"title": ["a", "b", "c"], "review": ["A", "B", "C"]})
    given: dict[str, Any] = {"template": "{{title}}: {{review}}", "progress": False}
    plan = ornb.decide(reviews, QUESTIONS, "acme/decider", dry_run=True, **given)
    assert plan.prompt == "a: A"
    assert service.sent == []
    cap = plan.worst_usd / 3
    table = ornb.decide(reviews, QUESTIONS, "acme/decider", cap_usd=cap, concurrency=1, **given)
    assert set(table["status"]) == {"ok", "skipped"}
    assert table["cost_usd"].sum() <= float(cap)


@pytest.mark.parametrize(
    ("questions", "given", "words"),
    [
        (BOX, {}, "the state has none"),
        ({"a": ["x", "y"], "a_probability": "Is it?"}, {}, "Rename one"),
        ({"answer": "Is it?"}, {}, "every batch has"),
        (QUESTIONS, {"system": "Be"}, "'system' is no argument of"),
        (QUESTIONS, {"template": "{{revue}}"}, "revue"),
    ],
)
def test_a_column_is_refused_before_anything_is_sent(service, questions, given, words):
    reviews = pd.DataFrame({"review": ["A"]})
    with pytest.raises(errors.ConfigError, match=words):
        ornb.decide(reviews, questions, "acme/decider", progress=False, **given)
    assert service.sent == []


def test_a_column_of_dicts_and_of_pictures_goes_as_it_would_alone(service, tmp_path: Path):
    (cat := tmp_path / "cat.png").write_bytes(PNG)
    states = [{"stars": 1, "review": "Süß"}, ["A photo", cat], cat, "Cold soup", None, {}]
    states += [tmp_path / "gone.png", {"deep": [cat]}, {"review": "Süß", "stars": 1}]
    states += [["See", REMOTE]]
    asked = {"angry": "Is the writer angry?"}
    given: dict[str, Any] = {"progress": False, "concurrency": 1}
    table = ornb.decide(pd.Series(states, name="state"), asked, "acme/seer", **given)
    sent = [body["state"] for body in service.sent]
    assert table["status"].tolist() == ["ok"] * 4 + ["skipped"] * 4 + ["cached", "skipped"]
    assert sent[0] == states[0]
    assert sent[3] == "Cold soup"
    service.requests.clear()
    for state in states[1:3]:
        ornb.decide(state, asked, "acme/seer")
    assert sent[1:3] == [body["state"] for body in service.sent]
    assert "gone.png" in table["error"][6]
    assert "deeper in the state" in table["error"][7]
    assert "not empty" in table["error"][5]
    assert "is an address" in table["error"][9]
    box = {"type": "box", "box": {"top": 0.1, "left": 0.2, "bottom": 0.5, "right": 0.6}}
    service.answer = whole(decided({"cat": box}))
    boxes = ornb.decide(pd.Series([cat]), BOX, "acme/seer", **given)
    assert boxes["cat"].tolist() == [box["box"]]


def test_a_column_of_pictures_is_bound_by_what_pictures_can_cost(service):
    ornb.models(kind="all")
    other = b"\x89PNG\r\n\x1a\n" + bytes(90)
    asked = {"angry": "Is the writer angry?"}
    plan = ornb.decide(pd.Series([PNG, other, "Hi"]), asked, "acme/seer", dry_run=True)
    words = ornb.decide(pd.Series(["Hi"]), asked, "acme/seer", dry_run=True)
    assert plan.calls == 3
    assert plan.worst_usd > 3 * words.worst_usd
    assert service.sent == []


def test_a_column_of_pictures_is_refused_by_a_model_that_reads_none(service, tmp_path: Path):
    with pytest.raises(errors.ConfigError, match="no template"):
        ornb.decide(pd.DataFrame(), QUESTIONS, "acme/decider", progress=False)
    for states, words in (([PNG], "acme/decider reads no pictures"), ([tmp_path], "Row 0: ")):
        with pytest.raises(errors.ConfigError, match=words):
            ornb.decide(pd.Series(states), QUESTIONS, "acme/decider", progress=False)
    assert service.sent == []


def test_data_of_a_column_may_have_any_words_in_it(service):
    states = [{"type": "review", "n": 3}, ["A typewriter", 3, {"type": "x"}], {"text": "type"}]
    given: dict[str, Any] = {"progress": False, "concurrency": 1}
    table = ornb.decide(pd.Series(states), QUESTIONS, "acme/decider", **given)
    assert table["status"].tolist() == ["ok"] * 3
    assert [body["state"] for body in service.sent] == states


def test_a_picture_of_a_column_is_no_long_text(service):
    large = PNG + bytes(90_000)
    table = ornb.decide(pd.Series([large]), QUESTIONS, "acme/seer", progress=False)
    assert table["status"].tolist() == ["ok"]


@pytest.mark.parametrize(
    ("states", "questions", "name", "words"),
    [
        ([{"a": 1}, ["See", LOCAL]], QUESTIONS, "acme/decider", "Row 1: acme/decider reads no"),
        ([["See", LOCAL], None, {"a": 1}], BOX, "acme/seer", "Row 2: .* the state has none"),
    ],
)
def test_pictures_and_places_in_them_go_together_in_every_row(
    service, states, questions, name, words
):
    with pytest.raises(errors.ConfigError, match=words):
        ornb.decide(pd.Series(states), questions, name, progress=False)
    assert service.sent == []


LONG = "word " * 60_000


@pytest.mark.parametrize(
    ("states", "given"),
    [
        pytest.param(["Cold soup", None, LONG], {}, id="text"),
        pytest.param(["Cold soup", None, LONG], {"template": "Of it: {{review}}"}, id="template"),
        pytest.param([{"n": 1}, None, {"of": LONG}], {}, id="data"),
        pytest.param([["A", LOCAL], None, [LOCAL, LONG]], {"model": "acme/seer"}, id="picture"),
    ],
)
def test_a_row_that_no_model_can_take_is_named_before_anything_is_sent(service, states, given):
    column = pd.Series(states, list("abc"), name="review")
    with pytest.raises(errors.ConfigError, match=r"Row 'c': .* takes 32,000, so nothing was sent"):
        ornb.decide(column, QUESTIONS, progress=False, **given)
    assert service.sent == []


def test_questions_may_have_any_name_and_be_many(service):
    service.answer = whole(decided({"self": {"type": "noul", "noul": 0.5}}))
    asked: dict[str, Any] = {"self": "Is it?", **{str(n): ["a", "b"] for n in range(120)}}
    reviews = pd.DataFrame({"review": ["A", "A"]}, pd.Index([3, 3], name="n"))
    reviews.columns.name, reviews.attrs["of"] = "facts", "May"
    table = ornb.decide(reviews, asked, "acme/decider", progress=False)
    assert table["self"].tolist() == [0.5, 0.5]
    assert list(table)[:5] == ["review", "answer", "self", "0", "0_probability"]
    assert table.index.equals(reviews.index)
    assert (table.index.name, table.columns.name, table.attrs) == ("n", "facts", {"of": "May"})


def test_a_row_of_odd_answers_is_a_row(service):
    answers = {"topic": {"type": "choice", "choice": {"a": [1]}}, "angry": {"type": "aura"}}
    service.answer = whole(decided(answers))
    table = ornb.decide(pd.Series(["A"]), QUESTIONS, "acme/decider", progress=False)
    assert table["status"].tolist() == ["ok"]
    assert table["angry"].isna().all()
    assert table["stars"].isna().all()
    assert table["topic"].isna().all()
    assert json.loads(table["answer"][0]) == answers


@pytest.mark.parametrize("value", [2, -1, True, "yes", [1], 1e999, float("nan"), None])
def test_what_is_no_probability_is_none_of_a_column_and_alone(service, value):
    service.answer = whole(decided({"angry": {"type": "noul", "noul": value}}))
    table = ornb.decide(pd.Series(["A"]), QUESTIONS, "acme/decider", progress=False)
    assert table["angry"].isna().all()
    assert ornb.decide("A", QUESTIONS, "acme/decider").answers["angry"] is None


def test_figures_as_text_are_figures(service):
    answers = {"angry": {"type": "noul", "noul": "0.7"}, "stars": {"type": "score", "score": "1"}}
    service.answer = whole(decided(answers))
    table = ornb.decide(pd.Series(["A"]), QUESTIONS, "acme/decider", progress=False)
    decision = ornb.decide("A", QUESTIONS, "acme/decider")
    told = {"angry": 0.7, "topic": None, "stars": 1.0}
    assert decision.answers == told
    assert decision.df.drop_duplicates("question")["answer"].tolist()[::2] == ["yes", "1"]
    assert table[["angry", "stars"]].to_dict("records") == [{"angry": 0.7, "stars": 1.0}]


# --- offline and recorded -------------------------------------------------------------------------


def test_offline_a_decision_says_that_nobody_made_it(anew):
    anew(announced=True)
    ornb.connect(offline=True)
    decision, again = (ornb.decide("Cold soup", QUESTIONS) for _ in range(2))
    assert decision.reply.source == "canned"
    assert "No model decided" in repr(decision)
    assert "No model decided" in decision._repr_html_()
    assert decision.df.equals(again.df)
    with pytest.raises(errors.ConfigError, match="does not decide"):
        ornb.decide("Cold soup", QUESTIONS, "openai/gpt-4o-mini")
    with pytest.raises(errors.NotFound, match="image input"):
        ornb.decide(PNG, BOX)
    assert "No model decided" in repr(ornb.decide("Soup", QUESTIONS, "typesafe/jev-1.14"))


def test_a_recorded_decision_is_replayed_and_costs_nothing(service, tmp_path: Path):
    with ornb.record(tmp_path / "lesson.jsonl"):
        first = ornb.decide("Cold soup", QUESTIONS, "acme/decider")
    with ornb.replay(tmp_path / "lesson.jsonl", pace="instant"), ornb.budget("0.00000001"):
        again = ornb.decide("Cold soup", QUESTIONS, "acme/decider")
        with pytest.raises(errors.NotRecorded):
            ornb.decide("Warm soup", QUESTIONS, "acme/decider")
    assert again.df.equals(first.df)
    assert again.reply.source == "recorded"
    replayed = ornb.replay(tmp_path / "lesson.jsonl", pace="instant", missing="ask")
    with replayed, ornb.budget("0.00000001"):
        ornb.decide("Cold soup", QUESTIONS, "acme/decider")
        with pytest.raises(errors.BudgetExceeded):
            ornb.decide("Warm soup", QUESTIONS, "acme/decider")
    assert len(service.sent) == 1


def test_a_recording_stands_in_for_a_decision_where_there_is_no_key(
    monkeypatch, anew, tmp_path: Path
):
    for name in ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "ORNB_RECORD"):
        monkeypatch.delenv(name, raising=False)
    anew(announced=True)
    ornb.connect(offline=True)
    with ornb.record(tmp_path / "lesson.jsonl"):
        ornb.decide("Cold soup", QUESTIONS)
    ornb.connect(recording=tmp_path / "lesson.jsonl")
    assert ornb.decide("Cold soup", QUESTIONS).reply.source == "recorded"
    assert ornb.decide("Warm soup", QUESTIONS).reply.source == "canned"
    ornb.connect(offline=True)  # which closes the recording


def test_every_column_is_in_the_documents():
    page = (Path(__file__).parents[1] / "docs" / "tables.md").read_text(encoding="utf-8")
    for name, column in DECISION_COLUMNS.items():
        assert f"| `{name}` | {column.dtype} | {column.meaning} |" in page
