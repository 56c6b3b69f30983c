"""Models of other kinds than chat: listed on request, priced right, and never chatted with."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from wire import FINISH, STREAM, WireServer, delta, whole

import ornb
from ornb import errors
from ornb.catalog import filter_models, to_frame
from ornb.ledger.bound import quote
from ornb.ledger.price_book import PriceBook


def model(name: str, outputs: list[str] | None, **prices: str) -> dict[str, Any]:
    prices = {"prompt": "0", "completion": "0"} | prices
    architecture = {"input_modalities": ["text"], "output_modalities": outputs}
    return {"id": name, "context_length": 8192, "architecture": architecture, "pricing": prices}


CHAT = model("acme/orbit", ["text"], prompt="0.000002", completion="0.00001")
SOUND = model("acme/song", ["text", "audio"])
OTHERS = [
    model("acme/vectors", ["embeddings"], prompt="0.00000002"),
    model("acme/order", ["rerank"], request="0.002"),
    model("acme/decider", ["decisions"], prompt="0.00000004"),
    model("acme/span:free", ["decisions"]),
    model("acme/painter", ["image"], image="0.04"),
    model("acme/voice", ["speech"]),
    model("acme/scribe", ["transcription"]),
    model("acme/film", ["video"]),
    model("acme/hologram", ["hologram"], prompt="0.000001", completion="0.000001"),
]


def openrouter(head: bytes, body: bytes) -> Any:
    """List other kinds only where they are asked for, as the service does."""
    if b"output_modalities=all" in head.split(b"\r\n")[0]:
        return [whole({"data": [CHAT, *OTHERS, SOUND]})]
    if head.startswith(b"GET"):
        return [whole({"data": [CHAT, SOUND]})]
    return [STREAM, delta("A"), FINISH]


@pytest.fixture
def server(monkeypatch, anew):
    for name in ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "ORNB_MODEL"):
        monkeypatch.delenv(name, raising=False)
    anew(announced=True)
    ornb.usage.clear()
    with WireServer(openrouter) as server:
        ornb.connect(base_url=server.url)
        yield server


def posts(server: WireServer) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in server.requests if body]


# --- listed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "kind"),
    [
        (["text"], "chat"),
        (["image", "text"], "chat"),
        (None, "chat"),
        ([], "chat"),
        (["embeddings"], "embeddings"),
        (["hologram"], "hologram"),
    ],
)
def test_what_makes_text_chats_and_the_rest_is_what_it_makes(outputs, kind):
    assert to_frame([model("a/b", outputs)])["kind"].tolist() == [kind]


def test_the_kind_is_read_from_the_arrow_of_old_listings():
    frame = to_frame([{"id": "a/b", "architecture": {"modality": "text+image->embeddings"}}])
    assert frame["kind"].tolist() == ["embeddings"]


def test_other_kinds_are_asked_for_once_and_only_on_request(server):
    assert ornb.models().index.tolist() == ["acme/orbit", "acme/song"]
    assert len(server.requests) == 1
    assert ornb.models(kind="embeddings").index.tolist() == ["acme/vectors"]
    assert ornb.models(returns="decisions").index.tolist() == ["acme/decider", "acme/span:free"]
    assert ornb.models(kind=["speech", "video"]).index.tolist() == ["acme/voice", "acme/film"]
    assert len(ornb.models(kind="all")) == 11
    assert ornb.models(kind="chat").index.tolist() == ["acme/orbit", "acme/song"]
    assert ornb.models().index.tolist() == ["acme/orbit", "acme/song"], "as before"
    assert len(server.requests) == 2
    ornb.models(kind="rerank", refresh=True)
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [200, 400, 404])
def test_a_server_without_other_kinds_is_told_of(server, status):
    def plain(head: bytes, _: bytes) -> Any:
        refused = b"?" in head.split(b"\r\n")[0] and status != 200
        return [
            whole(
                {"error": {"message": "No."}} if refused else {"data": [CHAT]},
                status if refused else 200,
            )
        ]

    server.play(plain)
    with pytest.warns(UserWarning, match=r"None of these 1 models makes embeddings\.$"):
        assert ornb.models(kind="embeddings").empty
    assert ornb.models(kind="all").index.tolist() == ["acme/orbit"]


@pytest.mark.parametrize("asked", [{"kind": "embeddings"}, {"returns": "embeddings"}])
def test_the_offline_snapshot_says_that_it_has_chat_models_alone(asked):
    ornb.connect(offline=True)
    with pytest.warns(UserWarning, match="snapshot of 2026-08-22 has chat models alone"):
        assert ornb.models(**asked).empty


def test_a_misspelt_kind_is_put_right():
    with pytest.raises(errors.ConfigError, match="did you mean 'embeddings'"):
        ornb.models(kind="embedding")


@pytest.mark.parametrize("name", ["kind", "family", "author", "accepts", "returns", "parameters"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(errors.ConfigError, match="5 is no name to filter by"):
        ornb.models(**{name: 5})
    assert len(filter_models(to_frame([CHAT]), **{name: None})) == 1


def test_an_empty_kind_is_refused_and_several_may_come_in_an_index():
    with pytest.raises(errors.ConfigError, match="'' is no kind of model"):
        ornb.models(kind="")
    assert len(ornb.models(kind=pd.Index(["chat"]))) == len(ornb.models())


def test_the_magic_lists_a_kind_with_its_count(server, capsys):
    from ornb.notebook.magics import commands

    for line in ("models --kind=embeddings", "models kind=embeddings"):
        assert commands.run(line, None).index.tolist() == ["acme/vectors"]
        said = "ornb.models(kind='embeddings'): 1 of 11 models, live\n"
        assert capsys.readouterr().out == said


def test_the_picker_offers_other_kinds_and_its_code_gives_the_same(server):
    picker = ornb.ModelPicker(filters={"kind": "decisions"})
    assert set(picker.matches.index) == {"acme/decider", "acme/span:free"}
    names: dict[str, Any] = {"ornb": ornb}
    exec(picker.code, names)
    assert names["matches"].equals(picker.matches)
    with pytest.raises(errors.OrnbError, match="decisions"):
        picker.kind = "decision"


def test_the_default_model_of_a_server_chats(server):
    from ornb import session

    server.play(lambda *_: [whole({"data": [OTHERS[0], CHAT]})])
    assert session.default_model() == "acme/orbit"


def test_a_proxys_modes_are_kinds():
    from ornb.api.dialects import with_info

    listed = [{"id": "vectors", "owned_by": "openai"}]
    told = {"data": [{"model_name": "vectors", "model_info": {"mode": "embedding"}}]}
    assert to_frame(with_info(listed, told))["kind"].tolist() == ["embeddings"]


# --- free -----------------------------------------------------------------------------------------


def test_both_tables_of_tiers_count_the_same_models_as_free(server):
    models = ornb.models(kind="all")
    counted = ornb.tiers(
        filter_models(models, kind=[k for k in set(models["kind"]) if k != "chat"])
    )
    free = counted[counted["tier"] == "free"].set_index("scheme")["models"].to_dict()
    assert free == {"per_token": 1, "blended": 1}
    assert models.index[models["is_free"]].tolist() == ["acme/span:free"]
    assert ornb.models(kind="all", free=True).index.tolist() == ["acme/span:free"]


@pytest.mark.parametrize(
    "billed", [{"request": "0.002"}, {"image": "0.04"}, {"audio_output": 0.1}, {"minute": "0.006"}]
)
@pytest.mark.parametrize("name", ["a/b", "a/b:free"])
def test_no_tokens_to_pay_are_not_free_where_something_else_is_billed(billed, name):
    frame = to_frame([model(name, ["text"], **billed)])
    assert frame["is_free"].tolist() == [False]
    assert frame["price_tier"].tolist() == ["unknown"]
    assert ornb.tiers(frame).set_index("tier")["models"]["free"].tolist() == [0, 0]


def test_a_search_that_nobody_has_to_make_leaves_a_model_free():
    assert to_frame([model("a/b", ["text"], web_search="0.01")])["is_free"].tolist() == [True]


def test_what_is_billed_for_its_input_alone_has_the_tier_of_that_price():
    records = [
        model("a/full", ["decisions"], prompt="0.0000001"),
        {**model("a/half", ["embeddings"]), "pricing": {"prompt": "0.0000001"}},
        model("a/chat", ["text"], prompt="0.0000001"),
    ]
    frame = to_frame(records)
    assert frame["price_tier"].tolist() == ["0.1 to 1", "0.1 to 1", "under 0.1"]
    blended = ornb.tiers(frame, scheme="blended").set_index("tier")["models"]
    assert blended[["under 0.1", "0.1 to 1"]].tolist() == [1, 2]


def test_a_bound_counts_the_price_of_a_request_where_tokens_cost_nothing():
    record = model("a/b", ["text"], request="0.002")
    asked = {"model": "a/b", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}
    bound = quote(asked, PriceBook({"a/b": record}.get))
    assert not bound.is_free
    assert float(bound.worst_usd) == 0.002


def test_a_figure_of_blended_prices_sets_other_kinds_aside(server):
    figure = ornb.plots.context_price(ornb.models(kind="all"))
    said = " ".join(each.text for each in figure.layout.annotations).replace("<br>", " ")
    assert "1 of 11 models shown; left out: 9 not for chat" in said


# --- refused before they are sent -----------------------------------------------------------------

VERBS = {
    "ask": lambda name: ornb.ask("Hi", name),
    "chat": lambda name: ornb.Chat(name).ask("Hi").result(),
    "batch": lambda name: ornb.batch(["Hi"], "{{text}}", name, progress=False),
    "quote": lambda name: ornb.quote("Hi", name),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("acme/vectors", r"ornb\.embed \(POST /embeddings\)"),
        ("acme/decider", r"ornb\.decide \(POST /api/alpha/decisions\)"),
    ],
)
def test_a_model_of_another_kind_is_not_chatted_with(server, verb, name, call):
    ornb.models(kind="all")
    before = len(server.requests)
    with pytest.raises(
        errors.ConfigError, match=f"{name} does not chat, so nothing was sent.*{call}"
    ):
        VERBS[verb](name)
    assert len(server.requests) == before
    if verb != "quote":
        assert ornb.usage.df["status"].tolist() == ["error"]


def test_compare_and_measure_ask_the_others_and_say_why_one_was_not(server):
    ornb.models(kind="all")
    pair = ["acme/orbit", "acme/vectors"]
    beside = ornb.compare("Hi", pair, wait=True).df
    assert beside["status"].tolist() == ["ok", "error"]
    timed = ornb.measure(pair, "Hi", repeats=1, warmup=0, progress=False)
    assert set(timed.loc[timed["model"] == "acme/vectors", "status"]) == {"error"}
    assert {body["model"] for body in posts(server)} == {"acme/orbit"}
    assert "POST /embeddings" in beside["error"].tolist()[1]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("acme/vectors", {}),
        ("acme/unheard-of", {}),
    ],
)
def test_what_the_catalogue_at_hand_does_not_know_is_sent(server, name, more):
    ornb.models()
    assert ornb.ask("Hi", name).text == "A"
    assert posts(server)[0]["model"] == name
    assert not any(b"output_modalities" in head for head, _ in server.requests)


@pytest.mark.parametrize(
    ("name", "more"),
    [("acme/painter", {"modalities": ["image", "text"]}), ("acme/hologram", {})],
    ids=["asked for an image", "a kind of the future"],
)
def test_what_may_well_be_asked_this_way_is_sent(server, name, more):
    ornb.models(kind="all")
    assert ornb.ask("Hi", name, **more).text == "A"


def test_another_connection_knows_nothing_of_these_kinds(server):
    ornb.models(kind="all")
    ornb.connect(base_url=server.url)
    assert ornb.ask("Hi", "acme/vectors").text == "A"
