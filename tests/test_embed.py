"""Embeddings and reranking: many texts a request, one bill, and nothing that was paid is lost."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from wire import WireServer, whole

import ornb
from ornb import errors, offline
from ornb.runs.embed import EMBEDDING_COLUMNS, RERANK_COLUMNS


def model(name: str, made: str, **prices: str) -> dict[str, Any]:
    architecture = {"input_modalities": ["text"], "output_modalities": [made]}
    pricing = {"prompt": "0.0000001", "completion": "0", **prices}
    listed = {"id": name, "architecture": architecture, "pricing": pricing}
    return {**listed, "context_length": 512}


CHAT = model("acme/orbit", "text")
LISTED = [
    CHAT,
    model("acme/vectors", "embeddings"),
    model("acme/vectors-free:free", "embeddings", prompt="0"),
    model("acme/ranker", "rerank", prompt="0", request="0.002"),
    model("acme/decider", "decisions"),
    model("acme/hologram", "hologram"),
]


def vector(text: str) -> list[float]:
    return [float(len(text)), 0.5, -1.0]


def in_base64(numbers: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def embedded(texts: list[str], encoding: str = "base64") -> dict[str, Any]:
    code = in_base64 if encoding == "base64" else list
    data = [{"object": "embedding", "index": n, "embedding": code(vector(text))}
            for n, text in enumerate(texts)]  # fmt: skip
    used = {"prompt_tokens": 3 * len(texts), "total_tokens": 3 * len(texts)}
    served = {"id": "gen-emb-1", "model": "acme/vectors-0301", "provider": "NorthCloud"}
    return {**served, "object": "list", "data": data, "usage": {**used, "cost": 0.0000003}}


def ranked(documents: list[str], top_n: int | None = None) -> dict[str, Any]:
    order = sorted(range(len(documents)), key=lambda n: -len(documents[n]))[:top_n]
    results = [{"index": n, "relevance_score": len(documents[n]) / 100} for n in order]
    served = {"id": "gen-rerank-1", "model": "acme/ranker", "provider": "NorthCloud"}
    return {**served, "results": results, "usage": {"search_units": 1, "cost": 0.002}}


class Service(WireServer):
    """Lists models as OpenRouter does, and answers as the tests say."""

    change: Any = None
    """What is done to an answer of embeddings or reranking before it goes out."""

    def __init__(self) -> None:
        super().__init__(self.respond)

    def respond(self, head: bytes, body: bytes) -> Any:
        path = head.split(b" ")[1]
        if path in (b"/api/v1/embeddings", b"/api/v1/rerank"):
            asked = json.loads(body)
            if path.endswith(b"embeddings"):
                answer = embedded(asked["input"], asked.get("encoding_format", "float"))
            else:
                answer = ranked(asked["documents"], asked.get("top_n"))
            answer = answer if self.change is None else self.change(answer, asked)
            return [whole(answer, answer["error"]["code"] if "error" in answer else 200)]
        if path == b"/api/alpha/decisions":
            return [whole({"answers": {"Is it?": {"type": "noul", "noul": 0.5}}})]
        if b"/endpoints " in head or head.startswith(b"POST"):
            return [whole({"error": {"message": "No such path.", "code": 404}}, 404)]
        return [whole({"data": LISTED if b"output_modalities=all" in head else [CHAT]})]

    @property
    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.requests if body]


@pytest.fixture
def service(anew):
    anew(announced=True)
    ornb.usage.clear()
    with Service() as running:
        ornb.connect(base_url=running.url)
        yield running


def embed(texts: Any, model: Any = "acme/vectors", **more: Any) -> Any:
    return ornb.embed(texts, model, progress=False, **more)


REVIEWS = pd.Series(["Cold soup", "Lovely", "Cold soup", "Slow"], [7, 8, 9, 11], name="review")


# --- texts to vectors -----------------------------------------------------------------------------


def test_texts_go_out_some_at_a_time_and_their_vectors_come_back_to_their_rows(service):
    table = embed(REVIEWS, batch_size=2, label="soup", input_type="search_document")
    asked = {"model": "acme/vectors", "input_type": "search_document", "encoding_format": "base64"}
    assert sorted((body.pop("input"), body) for body in service.sent) == [
        (["Cold soup", "Lovely"], asked),
        (["Slow"], asked),
    ]
    assert list(table) == ["review", *EMBEDDING_COLUMNS]
    assert table.index.tolist() == [7, 8, 9, 11]
    assert table["status"].tolist() == ["ok", "ok", "cached", "ok"]
    matrix = np.stack(table["embedding"])
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [vector(text) for text in REVIEWS]
    assert set(table["served_model"]) == {"acme/vectors-0301"}
    assert ornb.usage.df["label"].tolist() == ["soup", "soup"]


def test_a_vector_may_be_changed_in_its_place(service):
    table = embed("Cold soup")
    table.at[0, "embedding"] /= 2
    assert table["embedding"][0].tolist() == [4.5, 0.25, -0.5]


def test_the_table_says_which_model_what_it_cost_and_where_it_is_from(service):
    table = embed(REVIEWS, batch_size=2)
    about = table.attrs
    assert (about["model"], about["served_model"]) == ("acme/vectors", "acme/vectors-0301")
    assert (about["source"], about["dimensions"], about["calls"]) == ("live", 3, 2)
    assert (about["prompt_tokens"], about["cost_usd"]) == (9, 0.0000006)
    assert about["estimate_usd"] == pytest.approx(9e-7)
    assert about["note"] is None
    usage = ornb.usage.df
    assert usage["cost_usd"].tolist() == [0.0000003] * 2
    assert usage["estimate_usd"].sum() == pytest.approx(9e-7)
    assert usage["completion_tokens"].tolist() == [0, 0]
    service.change = lambda answer, _: {**answer, "usage": None}
    assert embed(["New"]).attrs["cost_usd"] is None, "unknown is no sum"


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_numbers_and_base64_are_one_whatever_was_asked(service, encoding):
    service.change = lambda _, asked: embedded(asked["input"], encoding)
    assert embed(["Cold soup"], dimensions=3)["embedding"][0].tolist() == [9.0, 0.5, -1.0]
    assert embed(["Slow"], encoding_format="float")["embedding"][0].tolist() == [4.0, 0.5, -1.0]
    assert [body["encoding_format"] for body in service.sent] == ["base64", "float"]
    assert service.sent[0]["dimensions"] == 3


def test_the_order_of_an_answer_is_that_of_its_indexes_and_without_them_its_own(service):
    service.change = lambda answer, _: {**answer, "data": answer["data"][::-1]}
    texts = ["a", "bb", "ccc"]
    assert [v[0] for v in embed(texts)["embedding"]] == [1, 2, 3]
    bare = [{"embedding": in_base64(vector(text))} for text in texts]
    service.change = lambda answer, _: {**answer, "data": bare}
    assert [v[0] for v in embed(texts)["embedding"]] == [1, 2, 3]


def test_a_table_is_embedded_by_a_template_and_long_texts_are_fewer_a_request(service, anew):
    data = pd.DataFrame({"title": ["A", "B"], "review": ["x" * 300, "y" * 300]})
    embed(data, template="{{title}}: {{review}}")
    assert service.sent[0]["input"] == ["A: " + "x" * 300, "B: " + "y" * 300]
    service.requests.clear()
    embed([f"{n} " + "word " * 30_000 for n in range(3)], "acme/unlisted")
    assert [len(body["input"]) for body in service.sent] == [1, 1, 1]


def test_a_file_goes_by_its_path_as_in_a_batch_and_what_is_no_file_is_a_text(service, tmp_path):
    (tmp_path / "reviews.csv").write_text("review\nCold soup\nLovely\n", encoding="utf-8")
    for path in (tmp_path / "reviews.csv", str(tmp_path / "reviews.csv")):
        assert embed(path, batch_size=2)["review"].tolist() == ["Cold soup", "Lovely"]
    for text in ("How do I read a.csv", "how " * 90 + "a.csv"):
        assert embed(text)["text"].tolist() == [text]


def test_the_default_is_a_model_that_makes_embeddings(service):
    ornb.embed("Hi", progress=False)
    assert service.sent[0]["model"] == "acme/vectors"


# --- kept -----------------------------------------------------------------------------------------


def test_with_a_store_only_new_texts_are_sent(service, tmp_path: Path):
    given: dict[str, Any] = {"store": tmp_path / "kept.sqlite", "batch_size": 2}
    first = embed(REVIEWS, **given)
    more = pd.concat([REVIEWS, pd.Series(["New"], [12], name="review")])
    again = embed(more, **given)
    assert service.sent[-1]["input"] == ["New"]
    assert len(service.sent) == 3
    assert again["status"].tolist() == ["cached"] * 4 + ["ok"]
    assert np.array_equal(np.stack(again["embedding"][:4]), np.stack(first["embedding"]))
    embed(["Slow"], dimensions=2, **given)
    assert len(service.sent) == 4, "of other dimensions it is another vector"
    embed(["Slow"], encoding_format="float", **given)
    assert len(service.sent) == 4, "in another encoding it is the same"


def test_what_came_before_an_error_is_kept_and_the_same_call_asks_for_the_rest(service):
    refusal = {"error": {"code": 402, "message": "Insufficient credits"}}
    service.change = lambda answer, asked: refusal if "Slow" in asked["input"] else answer
    table = embed(REVIEWS, batch_size=2, concurrency=1)
    assert table["status"].tolist() == ["ok", "ok", "cached", "error"]
    assert table["embedding"].notna().tolist() == [True, True, True, False]
    assert "credits" in table.at[11, "error"]
    assert ornb.usage.df["status"].tolist() == ["ok", "error"]
    service.change = None
    whole_table = embed(REVIEWS, batch_size=2)
    assert service.sent[-1]["input"] == ["Slow"]
    assert whole_table["status"].tolist() == ["cached", "cached", "cached", "ok"]


def test_vectors_of_an_unfinished_run_get_into_a_store_and_belong_to_their_row(
    service, tmp_path: Path
):
    refusal = {"error": {"code": 402, "message": "Insufficient credits"}}
    service.change = lambda answer, asked: refusal if "Slow" in asked["input"] else answer
    table = embed(REVIEWS, batch_size=2, concurrency=1)
    table.at[7, "embedding"][:] = 0
    assert table.at[9, "embedding"].tolist() == vector("Cold soup"), "the same text, another row"
    assert table.attrs["cost_usd"] == 0.0000003, "a refusal costs nothing"
    service.change = None
    given: dict[str, Any] = {"store": tmp_path / "kept.sqlite"}
    for _ in range(2):
        again = embed(REVIEWS, **given)
        assert again.at[7, "embedding"].tolist() == vector("Cold soup")
    assert len(service.sent) == 3, "none was asked twice"


def test_where_no_text_got_a_vector_the_reason_is_raised(service):
    service.change = lambda *_: {"error": {"code": 402, "message": "Insufficient credits"}}
    with pytest.raises(errors.OutOfCredits):
        embed(REVIEWS)
    assert ornb.usage.df["status"].tolist() == ["error"]


# --- money ----------------------------------------------------------------------------------------


def test_what_it_can_cost_is_said_before_and_a_ceiling_holds(service):
    texts = [f"text {n}" for n in range(6)]
    plan = embed(texts, batch_size=2, dry_run=True)
    assert (plan.rows, plan.calls, plan.prompt) == (6, 3, "text 0")
    assert service.sent == []
    assert 0 < plan.likely_usd < plan.worst_usd
    table = embed(texts, batch_size=2, cap_usd=plan.worst_usd / 3, concurrency=1)
    assert set(table["status"]) == {"ok", "skipped"}
    assert len(service.sent) == 1
    with ornb.budget("0.000001"):
        refused = embed(["Never sent"])
    assert refused["status"].tolist() == ["skipped"]
    assert "Only a shorter text would fit" in refused["error"][0]


def test_a_bound_counts_each_text_as_long_as_the_context_at_most(service):
    plan = embed(["\u00e9 " * 400, "\u00e9 " * 401], dry_run=True)
    assert 1000e-7 < float(plan.worst_usd) <= 1024e-7, "2 of 512 tokens"


def test_a_reranker_that_bills_requests_is_bounded_by_them(service):
    ornb.models(kind="all")
    with ornb.budget("0.01") as ceiling:
        ornb.rerank("soup", ["Cold soup", "Lovely"], "acme/ranker")
    assert str(ceiling.spent_usd) == "0.002"
    long = ["x" * 600] * 100
    with ornb.budget("0.003"), pytest.raises(errors.BudgetExceeded):
        ornb.rerank("soup", long, "acme/ranker")
    assert len(service.sent) == 1, "documents of over 500 tokens are two"


def test_what_a_reranker_counts_as_several_is_estimated_as_several(service):
    used = {"search_units": 3, "total_tokens": 90}
    service.change = lambda answer, _: {**answer, "usage": used}
    table = ornb.rerank("soup", ["Cold soup", "Lovely"], "acme/ranker")
    assert table.attrs["estimate_usd"] == pytest.approx(0.006)
    assert table.attrs["cost_usd"] is None
    assert ornb.usage.df["cost_source"].tolist() == ["estimated"]


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "given", "words"),
    [
        ([], {}, "There are no texts"),
        ("  ", {}, "1 of 1 text is empty or missing"),
        (["a", "", None], {}, r"2 of 3 texts are empty or missing \(of row 1 the first\)"),
        ([1, 2], {}, "data is of type list"),
        (3, {}, "data is of type int"),
        ("word " * 2000, {}, "row 0 has about 2,000 tokens, and acme/vectors takes 512"),
        ("Hi", {"temperature": 0}, r"'temperature' is no argument of ornb\.embed"),
        ("Hi", {"dimension": 9}, "did you mean 'dimensions'"),
        ("Hi", {"batch_size": 0}, "batch_size is 0"),
        ("Hi", {"concurrency": 0}, "concurrency is 0"),
        ("Hi", {"model": "acme/orbit"}, "does not make embeddings.*it chats, by ornb.ask"),
        ("Hi", {"model": "acme/ranker"}, r"it makes rerank, by ornb\.rerank"),
        ("Hi", {"model": "acme/decider"}, r"by ornb\.decide"),
        ("Hi", {"model": "acme/hologram"}, "it makes hologram, which ornb has no verb for"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), {}, "There is no template"),
        (pd.DataFrame({"a": ["x"]}), {"template": "{{b}}"}, "no column 'b'"),
        (pd.DataFrame({"a": ["x"], "embedding": [1]}), {"template": "{{a}}"}, "embedding"),
    ],
)
def test_bad_input_is_refused_in_one_message_before_anything_is_sent(service, texts, given, words):
    with pytest.raises(errors.ConfigError, match=words):
        embed(texts, **given)
    assert service.sent == []
    assert ornb.usage.df["status"].tolist() == ["error"]


@pytest.mark.parametrize(
    ("query", "documents", "given", "words"),
    [
        ("", ["a"], {}, "The query is empty"),
        ("Hi", [], {}, "There are no texts"),
        ("Hi", ["a", " "], {}, "1 of 2 texts is empty"),
        ("Hi", "a", {}, "data is of type str"),
        ("Hi", ["a"], {"top_n": 0}, "top_n is 0"),
        ("Hi", ["a"], {"model": "acme/vectors"}, r"does not rerank.*by ornb\.embed"),
        ("Hi", ["a"], {"n": 3}, r"argument of ornb\.rerank"),
        ("word " * 1000, ["word"], {}, "takes 512"),
        ("Hi", pd.DataFrame({"rank": ["a"]}), {}, "column 'rank'"),
    ],
)
def test_what_cannot_be_reranked_is_refused_before_anything_is_sent(
    service, query, documents, given, words
):
    with pytest.raises(errors.ConfigError, match=words):
        ornb.rerank(query, documents, **{"model": "acme/ranker", **given})
    assert service.sent == []
    assert ornb.usage.df["status"].tolist() == ["error"]


def test_an_unknown_model_is_named_with_one_that_is_meant(service):
    for name, ask in {
        "acme/vectrs": lambda name: embed(["a", "b"], name),
        "acme/rankr": lambda name: ornb.rerank("Hi", ["a"], name),
    }.items():
        refusal = {"error": {"code": 404, "message": f"{name} is not a valid model ID"}}
        service.change = lambda *_, refusal=refusal: refusal
        meant = {"acme/vectrs": "acme/vectors", "acme/rankr": "acme/ranker"}[name]
        with pytest.raises(errors.NotFound, match=f"Did you mean {meant}"):
            ask(name)


def test_where_ids_alone_are_listed_any_model_is_asked(service):
    bare = [{"id": "nomic-embed-text", "object": "model", "owned_by": "library"}]

    def respond(head: bytes, body: bytes) -> Any:
        return [whole({"data": bare})] if head.startswith(b"GET") else service.respond(head, body)

    service.play(respond)
    assert embed(["a"], "nomic-embed-text")["status"].tolist() == ["ok"]
    assert len(ornb.rerank("soup", ["a"], "nomic-embed-text")) == 1
    assert ornb.decide("soup", "Is it?", "nomic-embed-text").answers == {"Is it?": 0.5}
    with pytest.raises(errors.ConfigError, match="lists no model that can make embeddings"):
        ornb.embed(["a"], progress=False)


def test_a_service_that_is_not_there_is_named_as_such(service):
    service.play(["reset"])
    for ask in (
        lambda: ornb.embed(["a"], progress=False),
        lambda: ornb.rerank("soup", ["a"]),
        lambda: ornb.decide("soup", "Is it?"),
    ):
        with pytest.raises(errors.TransportError):
            ask()


# --- answers that are not whole -------------------------------------------------------------------


def data_of(change: Any) -> Any:
    return lambda answer, _: {**answer, "data": change(answer["data"])}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data[:2], id="one is missing"),
        pytest.param(lambda data: [*data[:2], {**data[2], "index": 3}], id="of no text"),
        pytest.param(lambda data: [*data, data[2]], id="one is doubled"),
        pytest.param(lambda data: [*data[:2], {**data[2], "embedding": "no base64"}], id="no b64"),
        pytest.param(lambda data: [*data[:2], {**data[2], "embedding": "AAAA"}], id="3 bytes"),
        pytest.param(lambda data: [*data[:2], {**data[2], "embedding": []}], id="no numbers"),
        pytest.param(lambda data: [*data[:2], {**data[2], "embedding": ["a"]}], id="text"),
        pytest.param(lambda data: [*data[:2], {**data[2], "embedding": [1e999]}], id="infinite"),
        pytest.param(lambda data: [*data[:2], {**data[2], "embedding": [1e300]}], id="too large"),
        pytest.param(lambda data: [*data[:2], "text"], id="no object"),
    ],
)
def test_vectors_that_are_sure_are_kept_and_the_others_are_errors(service, change):
    service.change = data_of(change)
    table = embed(["a", "bb", "ccc"])
    assert table["status"].tolist() == ["ok", "ok", "error"]
    assert [v[0] for v in table["embedding"][:2]] == [1, 2]
    assert "no vector for this text" in table["error"][2]
    assert table.attrs["cost_usd"] == 0.0000003
    service.change = None
    embed(["a", "bb", "ccc"])
    assert service.sent[-1]["input"] == ["ccc"]


def test_where_the_first_has_no_vector_the_others_are_kept(service):
    service.change = data_of(lambda data: [{**data[0], "embedding": [float("nan")]}, *data[1:]])
    table = embed(["a", "bb", "ccc"])
    assert table["status"].tolist() == ["error", "ok", "ok"]
    assert table.attrs["dimensions"] == 3
    assert table.attrs["served_model"] == "acme/vectors-0301"
    service.change = data_of(lambda data: [{**each, "embedding": [[1.0]]} for each in data])
    with pytest.raises(errors.UnexpectedAnswer):
        embed(["none", "of them"])
    service.change = data_of(lambda data: [{**each, "embedding": "AAAA"} for each in data])
    with pytest.raises(errors.UnexpectedAnswer, match=r"No text got a vector: .* ask again"):
        embed(["none", "of them"])


def test_texts_without_a_vector_are_counted_with_their_repeats_and_cost_nothing_more(
    service, capsys
):
    service.change = data_of(lambda data: [{**data[0], "embedding": []}, *data[1:]])
    table = ornb.embed(["a", "a", "bb"], "acme/vectors")
    assert table["status"].tolist() == ["error", "error", "ok"]
    shown = capsys.readouterr()
    assert "2 rows failed; the last: the answer has no vector" in shown.out
    assert "billed" in shown.err
    assert "of unknown cost" not in shown.err


def test_vectors_of_two_lengths_are_told_apart(service):
    service.change = data_of(lambda data: [*data[:1], {**data[1], "embedding": [1, 2]}])
    with pytest.warns(RuntimeWarning, match=r"2 and 3 numbers, so .*: acme/vectors-0301\."):
        table = embed(["a", "bb"])
    assert table["status"].tolist() == ["ok", "ok"]
    assert table.attrs["dimensions"] is None


def test_a_table_of_two_models_names_both(service, tmp_path: Path):
    given: dict[str, Any] = {"store": tmp_path / "kept.sqlite"}
    embed(["a"], **given)
    service.change = lambda answer, _: {**answer, "model": "acme/vectors-0901", "provider": None}
    about = embed(["a", "bb"], **given).attrs
    assert about["served_model"] == "acme/vectors-0301, acme/vectors-0901"
    assert about["provider"] == "NorthCloud"


@pytest.mark.parametrize(
    "used", [{"prompt_tokens": None, "total_tokens": 7}, {"total_tokens": 7}, {"prompt_tokens": 7}]
)
def test_tokens_are_counted_by_either_name(service, used):
    service.change = lambda answer, _: {**answer, "usage": used}
    assert embed(["a"]).attrs["prompt_tokens"] == 7
    ornb.rerank("soup", ["a"], "acme/ranker")
    assert ornb.usage.df["prompt_tokens"].tolist() == [7, 7]


def test_base64_may_be_broken_into_lines(service):
    def broken(data: list[Any]) -> list[Any]:
        code = in_base64(vector("a"))
        return [{**data[0], "embedding": f"{code[:8]}\r\n{code[8:]}\n"}]

    service.change = data_of(broken)
    assert embed(["a"])["embedding"][0].tolist() == vector("a")


def test_what_is_no_answer_is_none_of_the_kind_that_was_asked(service):
    service.change = lambda *_: {"choices": []}
    with pytest.raises(errors.UnexpectedAnswer, match="not an answer of the kind rerank"):
        ornb.rerank("soup", ["a"], "acme/ranker")
    service.play([whole(None)])
    with pytest.raises(errors.UnexpectedAnswer, match=r"'null', .* not an answer of the kind embe"):
        embed(["a"])


def without_index(data: list[Any]) -> list[Any]:
    return [{"embedding": each["embedding"]} for each in data[:2]]


@pytest.mark.parametrize(
    "change", [without_index, lambda _: [], lambda _: [None] * 3, lambda _: {}, lambda _: None]
)
def test_vectors_of_nobody_are_an_error_whose_bill_is_kept(service, change):
    service.change = data_of(change)
    with pytest.raises(errors.UnexpectedAnswer):
        embed(["a", "bb", "ccc"])
    row = ornb.usage.df.iloc[0]
    assert (row["status"], row["cost_usd"]) == ("error", 0.0000003)


# --- reranking ------------------------------------------------------------------------------------


def test_documents_are_ordered_and_keep_their_index(service):
    reviews = REVIEWS[:2].copy()
    reviews.attrs["of"] = "May"
    table = ornb.rerank("soup", reviews, "acme/ranker", label="find", user="a")
    assert table.attrs["of"] == "May"
    assert service.sent == [
        {
            "model": "acme/ranker",
            "query": "soup",
            "documents": ["Cold soup", "Lovely"],
            "user": "a",
        }
    ]
    assert list(table) == ["review", *RERANK_COLUMNS]
    assert table.reset_index().values.tolist() == [
        [7, "Cold soup", 1, 0.09],
        [8, "Lovely", 2, 0.06],
    ]
    assert (table.attrs["model"], table.attrs["cost_usd"]) == ("acme/ranker", 0.002)
    row = ornb.usage.df.iloc[0]
    assert (row["label"], row["cost_usd"], row["cost_source"]) == ("find", 0.002, "billed")
    best = ornb.rerank("soup", ["a", "bb", "ccc"], top_n=1)
    assert best["text"].tolist() == ["ccc"]
    assert service.sent[-1]["top_n"] == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda results: results[:1],
        lambda results: [results[0], results[0]],
        lambda results: [results[0], {**results[1], "index": 2}],
        lambda results: [results[0], {"index": 1}],
        lambda results: [results[0], {**results[1], "relevance_score": 1e999}],
        lambda results: [results[0], {**results[1], "relevance_score": 10**400}],
        lambda _: [3, "x"],
    ],
)
def test_scores_that_are_not_one_for_each_are_an_error_with_the_answer(service, change):
    service.change = lambda answer, _: {**answer, "results": change(answer["results"])}
    with pytest.raises(errors.UnexpectedAnswer, match="not one for each") as caught:
        ornb.rerank("soup", ["a", "bb"], "acme/ranker")
    assert caught.value.reply.usage.cost_usd == 0.002
    assert ornb.usage.df["cost_usd"].tolist() == [0.002]


# --- offline and recorded -------------------------------------------------------------------------


def test_offline_words_are_hashed_and_that_is_said(anew):
    anew(announced=True)
    ornb.connect(offline=True)
    texts = ["Cold soup again", "the soup was cold", "a lovely evening"]
    table = embed(texts, None)
    near, far = (table["embedding"][0] @ table["embedding"][n] for n in (1, 2))
    assert near > 0.3 > far
    assert set(table["source"]) == {"canned"}
    assert "No model made these" in table.attrs["note"]
    assert embed(texts, None, dimensions=32).attrs["dimensions"] == 32
    found = ornb.rerank("cold soup", texts, top_n=2)
    assert found.index.tolist() == [1, 0] or found.index.tolist() == [0, 1]
    assert "No model made this order" in found.attrs["note"]
    assert found.attrs["source"] == "canned"
    with pytest.raises(errors.ConfigError, match="does not make embeddings"):
        embed("Hi", "openai/gpt-4o-mini")


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("embeddings", {"input": []}, "input: give a text"),
        ("embeddings", {"input": ["a", " "]}, "none of them empty"),
        ("embeddings", {"input": [[1, 2]]}, "input: give a text"),
        ("embeddings", {"input": "a", "dimensions": 0}, "dimensions: give 1 to 4096"),
        ("embeddings", {"input": "a", "model": "openai/gpt-4o-mini"}, "does not support embed"),
        ("embeddings", {"input": "a", "model": "vectors"}, "not a valid model ID"),
        ("rerank", {"query": "", "documents": ["a"]}, "query: give a text"),
        ("rerank", {"query": "a", "documents": [{"image": "x"}]}, "documents: give a list"),
        ("rerank", {"query": "a", "documents": ["a"], "top_n": 0}, "top_n: give a number"),
    ],
)
def test_the_offline_server_refuses_what_the_service_would(path, body, words):
    server = offline.start()
    answer = requests.post(
        f"{server.base_url}/{path}",
        json={"model": "ornb/canned-embeddings", **body},
        headers={"Authorization": f"Bearer {server.token}"},
        timeout=30,
    )
    assert answer.status_code in (400, 404)
    assert words in answer.json()["error"]["message"]


def test_recorded_vectors_and_orders_are_replayed_and_cost_nothing(service, tmp_path: Path):
    def both() -> Any:
        return embed(REVIEWS), ornb.rerank("soup", ["a", "bb"], "acme/ranker")

    with ornb.record(tmp_path / "lesson.jsonl"):
        first, order = both()
    replayed = ornb.replay(tmp_path / "lesson.jsonl", pace="instant")
    with replayed, ornb.budget("0.00000001"):
        again, order_again = both()
        with pytest.raises(errors.NotRecorded):
            embed(["New"])
    assert np.array_equal(np.stack(again["embedding"]), np.stack(first["embedding"]))
    assert order_again.equals(order)
    assert set(again["source"]) == {"recorded"}
    assert again.attrs["source"] == order_again.attrs["source"] == "recorded"
    assert len(service.sent) == 2


def test_where_no_model_is_named_that_of_the_recording_is_asked(service, anew, tmp_path: Path):
    def all_three(*models: str) -> list[Any]:
        asked = [*models] or [None] * 3
        told = ornb.decide("Cold soup", "Is it?", asked[2]).reply
        return [
            embed(["a", "bb"], asked[0]).attrs["source"],
            ornb.rerank("soup", ["a", "bb"], asked[1]).attrs["source"],
            told.source,
        ]

    with ornb.record(tmp_path / "lesson.jsonl"):
        assert all_three("acme/vectors", "acme/ranker", "acme/decider") == ["live"] * 3
    anew(announced=True)
    with ornb.replay(tmp_path / "lesson.jsonl", pace="instant"):
        assert all_three() == ["recorded"] * 3
    ornb.connect(recording=tmp_path / "lesson.jsonl", pace="instant")
    assert all_three() == ["recorded"] * 3
    ornb.connect(offline=True)  # which closes the recording
    assert all_three() == ["canned"] * 3


@pytest.mark.parametrize("columns", [EMBEDDING_COLUMNS, RERANK_COLUMNS])
def test_every_column_is_in_the_documents(columns):
    page = (Path(__file__).parents[1] / "docs" / "tables.md").read_text(encoding="utf-8")
    for name, column in columns.items():
        assert f"| `{name}` | {column.dtype} | {column.meaning} |" in page
