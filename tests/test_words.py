"""One word means one thing in every verb, or is refused by name before anything is sent."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from wire import FINISH, STREAM, ChatServer, delta, whole

import ornb
from ornb.api.body import ELSEWHERE, EMPTY
from ornb.errors import ConfigError, SchemaMismatch
from ornb.notebook import magics

PAGE = Path(__file__).parents[1] / "docs" / "words.md"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
IMAGE = "data:image/png;base64,iVBORw0KGgo"
SERVER_TOOL = [{"type": "openrouter:datetime"}]
MESSAGES = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "And?"},
]
BERN = '{"name": "Bern"}'
ANSWER = [STREAM, delta(BERN), FINISH]
WHOLE = whole({"choices": [{"message": {"content": BERN}, "finish_reason": "stop"}]})


@dataclasses.dataclass
class City:
    name: str


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def by_stream(_: bytes, body: bytes) -> Any:
    return ANSWER if json.loads(body).get("stream") else [WHOLE]


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with ChatServer(by_stream) as running:
        yield running


@pytest.fixture(autouse=True)
def sent(server: ChatServer) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Give what was asked since the test began, as JSON."""
    ornb.connect(base_url=server.url)
    before = len(server.requests)

    def bodies() -> list[dict[str, Any]]:
        posts = [body for head, body in server.requests[before:] if head.startswith(b"POST")]
        return [json.loads(body) for body in posts]

    yield bodies
    ornb.connect(offline=True)


@pytest.fixture(scope="module")
def shell() -> InteractiveShell:
    made = InteractiveShell()
    magics.register(made)
    made.user_ns.update(City=City, cat=PNG)
    return made


# ------------------------------------------------------------------ the verbs


def stream(**words: Any) -> Any:
    one = ornb.client().stream(**{"messages": "Hi", "model": "a/b", **words})
    for _ in one:
        pass
    return one.reply


def chat_ask(**words: Any) -> Any:
    chat = ornb.Chat("a/b")
    try:
        return chat.ask(**{"prompt": "Hi", **words})
    finally:
        chat.close()


def chat(**words: Any) -> Any:
    one = ornb.Chat(**{"model": "a/b", **words})
    try:
        return one.ask("Hi")
    finally:
        one.close()


def compare(**words: Any) -> Any:
    return ornb.compare(**{"prompt": "Hi", "models": ["a/b"], **words})


def batch(**words: Any) -> Any:
    given = {"data": ["Hi"], "model": "a/b", "progress": False, **words}
    return ornb.batch(**given)


def measure(**words: Any) -> Any:
    given = {"models": "a/b", "prompt": "Hi", "repeats": 1, "warmup": 0, "progress": False}
    return ornb.measure(**{**given, **words})


VERBS: dict[str, list[Callable[..., Any]]] = {
    "`ask`, `quote`": [
        lambda **words: ornb.ask(**{"prompt": "Hi", "model": "a/b", **words}),
        lambda **words: ornb.quote(**{"prompt": "Hi", "model": "a/b", **words}),
    ],
    "`Client`": [
        lambda **words: ornb.client().chat(**{"messages": "Hi", "model": "a/b", **words}),
        stream,
    ],
    "`Chat`": [chat],
    "`Chat.ask`": [chat_ask],
    "`%%ornb`": [],  # below: its words are options
    "`compare`": [compare],
    "`batch`": [batch],
    "`measure`": [measure],
}
"""Column of the table to what it is of."""


@dataclasses.dataclass
class Word:
    """A row of the table."""

    words: dict[str, Any]
    reached: Callable[[dict[str, Any]], bool]
    """Whether a request has it."""
    option: str
    """How it is given to a cell."""
    renamed: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    """What stands for it in one column."""


def last(body: dict[str, Any]) -> Any:
    return body["messages"][-1]["content"]


WORDS = {
    "`prompt`: a text": Word(
        {"prompt": "Ho"},
        lambda body: last(body).endswith("Ho"),
        "",
        {"`Client`": {"messages": "Ho"}, "`batch`": {"template": "{{text}}, Ho"}},
    ),
    "`prompt`: a list of messages": Word(
        {"prompt": MESSAGES},
        lambda body: [each["role"] for each in body["messages"]] == ["user", "assistant", "user"],
        f"--param 'messages={json.dumps(MESSAGES)}'",
        {"`Client`": {"messages": MESSAGES}},
    ),
    "`model`": Word(
        {"model": "c/d"},
        lambda body: body["model"] == "c/d",
        "c/d",
        {"`compare`": {"models": ["c/d"]}, "`measure`": {"models": ["c/d"]}},
    ),
    "`system`": Word(
        {"system": "Be brief."},
        lambda body: body["messages"][0]["content"].endswith("Be brief."),
        "--system 'Be brief.'",
    ),
    "`attach`: files": Word(
        {"attach": PNG},
        lambda body: last(body)[-1]["image_url"]["url"].startswith(IMAGE),
        "--attach {{cat}}",
    ),
    "`schema`: the answer's shape": Word(
        {"schema": City},
        lambda body: body["response_format"]["json_schema"]["name"] == "City",
        "--schema City",
    ),
    "`label`": Word({"label": "mine"}, lambda body: "label" not in body, "--label mine"),
    "`tools`: functions": Word(
        {"tools": [add]}, lambda body: body["tools"][0]["function"]["name"] == "add", ""
    ),
    "`tools`: dicts of the API": Word(
        {"tools": SERVER_TOOL},
        lambda body: body["tools"] == SERVER_TOOL,
        f"--param 'tools={json.dumps(SERVER_TOOL)}'",
    ),
    "`confirm`": Word(
        {"confirm": False}, lambda body: "confirm" not in body, "--param confirm=false"
    ),
    "`client`": Word({"client": "default"}, lambda body: "client" not in body, "--param client=1"),
    "`temperature`, ...": Word(
        {"temperature": 0.5}, lambda body: body["temperature"] == 0.5, "--param temperature=0.5"
    ),
    "`router_metadata`, `response_cache`": Word(
        {"router_metadata": True, "response_cache": 60},
        lambda body: not {"router_metadata", "response_cache"} & body.keys(),
        "--param router_metadata=true --param response_cache=60",
    ),
    "`n` above 1": Word({"n": 2}, lambda body: False, "--param n=2"),
    "`stream`": Word({"stream": True}, lambda body: False, "--param stream=true"),
    "`files`, `images`": Word({"files": ["cat.png"]}, lambda body: False, "--param files=cat.png"),
    "a class, a date, NaN in any field": Word(
        {"metadata": {"day": dt.date(2026, 1, 1)}}, lambda body: False, "--param metadata=NaN"
    ),
}


def table() -> dict[str, dict[str, str]]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    whole_rows = [row for row in rows if len(row) == len(head)]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in whole_rows}


TABLE = table()
CELLS = [
    pytest.param(word, verb, id=f"{verb.strip('`')}-{word}".replace("`", ""))
    for word in WORDS
    for verb in VERBS
]


def test_the_table_in_the_docs_is_the_one_that_is_tried() -> None:
    assert list(TABLE) == list(WORDS)
    assert all(list(row) == list(VERBS) for row in TABLE.values())


@pytest.mark.parametrize(("word", "verb"), CELLS)
def test_a_cell_of_the_table_is_so(word: str, verb: str, sent: Any, shell: Any) -> None:
    cell, row = TABLE[word][verb], WORDS[word]
    words = row.renamed.get(verb, row.words) if cell != "no" else dict(row.words)
    if words.get("client") == "default":
        words = {"client": ornb.client()}
    calls: list[Callable[[], Any]] = [lambda v=v: v(**words) for v in VERBS[verb]]
    if verb == "`%%ornb`":
        ask = shell.find_cell_magic("ornb")
        calls = [lambda: ask(f"{'' if word == '`model`' else 'a/b'} {row.option}", "Ho")]
        if word == "`tools`: functions":  # no option could hold one, but a setting can
            shell.magics_manager.registry["OrnbMagics"].params = {"tools": [add]}
    try:
        if cell == "no":
            for call in calls:
                with pytest.raises(ConfigError) as caught:
                    call()
                assert re.search(rf"\b({named(words)})\b", str(caught.value)), str(caught.value)
                assert len(str(caught.value)) < 500
            assert sent() == []
            return
        for call in calls:
            call()
    finally:
        shell.magics_manager.registry["OrnbMagics"].params = {}
    posted = sent()
    assert posted
    assert all(row.reached(body) for body in posted)


def named(words: dict[str, Any]) -> str:
    (name,) = words
    return {"prompt": "prompt|messages|template|question|takes a text", "tools": "functions"}.get(
        name, name
    )


# ------------------------------------------------------------------ no word is forgotten


SIGNATURES = {
    "ornb.ask": ornb.ask,
    "ornb.quote": ornb.quote,
    "Chat": ornb.Chat.__init__,
    "Chat.ask": ornb.Chat.ask,
    "ornb.compare": ornb.compare,
    "ornb.batch": ornb.batch,
    "ornb.measure": ornb.measure,
}
OF_THE_API = {"model", "models", "provider", "max_tokens", "seed", "store", "prefix", "tools"}
"""Words of one verb that are fields of a request elsewhere, at some servers at least."""
POSITIONS = {"self", "params", "data", "template"}


def keywords(verb: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(verb).parameters) - POSITIONS


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_word_of_another_verb_is_taken_or_refused_by_name(name: str) -> None:
    every = set().union(*map(keywords, SIGNATURES.values()))
    foreign = every - keywords(SIGNATURES[name]) - OF_THE_API - {"label"}
    assert foreign <= set(ELSEWHERE)


@pytest.mark.parametrize("word", [*ELSEWHERE])
def test_a_word_that_no_service_knows_is_never_sent(word: str, sent: Any) -> None:
    for name, verb in (("Client.chat", ornb.client().chat), ("Client.stream", stream)):
        if word in ("messages", "model"):
            continue
        with pytest.raises(ConfigError, match=f"{re.escape(name)} takes no {word}"):
            verb("Hi", **{word: "x"}) if name == "Client.chat" else verb(**{word: "x"})
    assert sent() == []


# ------------------------------------------------------------------ shapes


def test_the_value_of_an_answer_is_in_the_reply(sent: Any, shell: Any) -> None:
    assert ornb.ask("Which?", "a/b", schema=City).value == City("Bern")
    chat = ornb.Chat("a/b")
    assert chat.ask("Which?", schema=City).value == chat.value == City("Bern")
    assert chat.regenerate(schema=City).value == City("Bern")
    assert chat.edit("1", "Which one?", schema=City).value == City("Bern")
    assert "value" not in json.dumps(chat.conversation.to_json())
    assert chat.ask("Hi").text == BERN
    assert chat.value is None
    chat.close()
    assert ornb.compare("Which?", ["a/b"], schema=City).replies["a/b"].value == City("Bern")
    shell.find_cell_magic("ornb")("a/b --schema City --into reply", "Which?")
    assert shell.user_ns["reply"].value == City("Bern")
    with_schema = [body for body in sent() if "response_format" in body]
    assert len(with_schema) == len(sent()) - 1


WRONG = [STREAM, delta('{"town": "Bern"}'), FINISH]


def test_an_answer_of_another_shape_is_an_error_that_keeps_it(shell: Any) -> None:
    with ChatServer(WRONG) as server:
        ornb.connect(base_url=server.url)
        with pytest.raises(SchemaMismatch) as caught:
            ornb.ask("Which?", "a/b", schema=City, label="wrong")
        kept = caught.value.reply
        assert (kept.text, kept.value, kept.cost_usd) == ('{"town": "Bern"}', None, 0.000145)
        row = ornb.usage.df.set_index("label").loc["wrong"]
        assert (row["status"], row["cost_usd"]) == ("ok", 0.000145)

        both = ornb.compare("Which?", ["a/b"], schema=City)
        assert both.df["status"].tolist() == ["error"]
        assert both.replies["a/b"].value is None
        assert both.replies["a/b"].text == '{"town": "Bern"}'

        with pytest.raises(SchemaMismatch):
            shell.find_cell_magic("ornb")("a/b --schema City --into reply", "Which?")
        assert (shell.user_ns["reply"].text, shell.user_ns["reply"].value) == (kept.text, None)

        times = measure(schema=City)
        assert times["status"].tolist() == ["ok"]


def test_a_schema_that_is_not_there_is_met_with_near_ones(shell: Any, sent: Any) -> None:
    with pytest.raises(ConfigError, match=r"no such variable.*Did you mean 'City'"):
        shell.find_cell_magic("ornb")("a/b --schema Citty", "Which?")
    assert sent() == []


def test_schema_and_response_format_are_not_given_together(sent: Any) -> None:
    for verb in (VERBS["`ask`, `quote`"][0], chat_ask, compare, batch, measure):
        with pytest.raises(ConfigError, match="schema and response_format"):
            verb(schema=City, response_format={"type": "json_object"})
    assert sent() == []


@pytest.mark.parametrize("n", [0, 2, "1", 1.5, [1], True])
def test_a_call_gives_one_answer(n: Any, sent: Any) -> None:
    for verb in (*VERBS["`ask`, `quote`"], stream, chat_ask, chat, compare, batch, measure):
        with pytest.raises(ConfigError, match=r"^n is .*nothing was sent\. Ask several times"):
            verb(n=n)
    with pytest.raises(ConfigError, match=r"^n is 2"):
        ornb.compare("Hi", {"a/b": {}, "c/d": {"n": 2}})
    assert sent() == []
    assert ornb.ask("Hi", "a/b", n=1).text == ornb.ask("Hi", "a/b", n=None).text == BERN


def test_a_label_is_a_text(sent: Any) -> None:
    for verb in (*VERBS["`ask`, `quote`"], stream, chat_ask, chat, compare, batch, measure):
        with pytest.raises(ConfigError, match="label is 7"):
            verb(label=7)
    assert sent() == []


def test_a_class_as_response_format_is_told_of_schema(sent: Any) -> None:
    for verb in (*VERBS["`ask`, `quote`"], stream, chat_ask, chat, compare, batch, measure):
        with pytest.raises(ConfigError, match="schema=City"):
            verb(response_format=City)
    assert sent() == []


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (float("nan"), "metadata is nan"),
        ({"a": [1, {2, 3}]}, r"metadata\.a\[1\] is of the type set"),
        ({"a": City}, r"metadata\.a is the class City"),
        ({dt.date(2026, 1, 1): 1}, "metadata has a key of the type date"),
        (City("Bern"), "metadata is of the type City"),
    ],
)
def test_what_has_no_form_in_json_is_refused_with_its_place(
    value: Any, place: str, sent: Any
) -> None:
    for verb in (*VERBS["`ask`, `quote`"], stream, chat_ask, chat, compare, batch, measure):
        with pytest.raises(ConfigError, match=f"{place}.*nothing was sent"):
            verb(metadata=value)
    itself: list[Any] = []
    itself.append(itself)
    with pytest.raises(ConfigError, match="lies in itself"):
        ornb.ask("Hi", "a/b", metadata=itself)
    with pytest.raises(ConfigError, match=r"messages\[0\]\.content is of the type date"):
        ornb.ask([{"role": "user", "content": dt.date(2026, 1, 1)}], "a/b")
    assert sent() == []


# ------------------------------------------------------------------ prompts and files


@pytest.mark.parametrize("prompt", ["", " \n", None, []])
def test_an_empty_prompt_is_refused_in_the_same_words(prompt: Any, sent: Any) -> None:
    verbs = [*VERBS["`ask`, `quote`"], compare, measure] + [chat_ask] * (prompt != [])
    for verb in verbs:
        with pytest.raises(ConfigError, match=f"^{EMPTY}$"):
            verb(prompt=prompt)
    with pytest.raises(ConfigError, match=f"^{EMPTY}$"):
        stream(messages=prompt)
    assert sent() == []


def test_a_file_needs_no_words(sent: Any, shell: Any) -> None:
    for verb in (VERBS["`ask`, `quote`"][0], chat_ask, compare):
        verb(prompt=" ", attach=[PNG])
    ornb.batch([" "], "{{text}}", "a/b", attach=PNG, progress=False)
    shell.find_cell_magic("ornb")("a/b --attach {{cat}}", " ")
    contents = [last(body) for body in sent()]
    assert [[part["type"] for part in content] for content in contents] == [["image_url"]] * 5


def test_files_go_with_the_last_of_several_messages(sent: Any) -> None:
    ornb.ask(MESSAGES, "a/b", attach=PNG, system="Be brief.")
    (body,) = sent()
    assert body["messages"][:3] == [{"role": "system", "content": "Be brief."}, *MESSAGES[:2]]
    assert [part["type"] for part in last(body)] == ["text", "image_url"]
    with pytest.raises(ConfigError, match="attach goes with a question"):
        ornb.ask(MESSAGES[:2], "a/b", attach=PNG)


@pytest.mark.parametrize(
    ("attach", "said"),
    [("no.png", "There is no file no.png"), (7, "A int cannot be attached"), ([7], "A int cannot")],
)
def test_what_cannot_be_attached_is_refused_by_every_verb(
    attach: Any, said: str, sent: Any
) -> None:
    for verb in (*VERBS["`ask`, `quote`"], chat_ask, compare, batch, measure):
        with pytest.raises(ConfigError, match=said):
            verb(attach=attach)
    assert sent() == []


def test_a_model_that_takes_no_images_is_named_before_anything_is_sent() -> None:
    ornb.connect(offline=True)
    blind = "openai/gpt-3.5-turbo"
    before = ornb.usage.df["status"].eq("ok").sum()
    for verb, words in (
        (ornb.ask, {"model": blind}),
        (ornb.quote, {"model": blind}),
        (ornb.compare, {"models": ["openai/gpt-4o-mini", blind]}),
        (ornb.measure, {"models": [blind]}),
    ):
        with pytest.raises(ConfigError, match=f"{blind} takes text, so not image.png"):
            verb(prompt="What is this?", attach=PNG, **words)
    with pytest.raises(ConfigError, match=f"{blind} takes text, so not image.png"):
        batch(model=blind, attach=PNG)
    assert ornb.usage.df["status"].eq("ok").sum() == before


def test_each_row_of_a_batch_goes_with_its_own_files(sent: Any, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    (tmp_path / "dog.png").write_bytes(PNG + b"dog")
    frame = pd.DataFrame(
        {
            "name": ["cat", "dog", "cow", None, "cat"],
            "more": [[PNG], [PNG, PNG], PNG, PNG, [PNG]],
        }
    )
    paths = f"{tmp_path}/{{{{name}}}}.png"
    given = {"attach": [paths, "{{more}}"], "template": "What is it?", "progress": False}
    plan = ornb.batch(frame, model="a/b", **{**given, "dry_run": True})
    assert (plan.calls, plan.repeats, plan.skipped, plan.prompt) == (2, 1, 2, "What is it?")
    answers = ornb.batch(frame, model="a/b", **given)
    assert answers["status"].tolist() == ["ok", "ok", "skipped", "skipped", "cached"]
    assert answers["error"].iloc[2].startswith("There is no file cow.png")
    assert answers["error"].iloc[3] == "name is missing"
    urls = [[part["image_url"]["url"] for part in last(body)[1:]] for body in sent()]
    assert sorted(map(len, urls)) == [2, 3]
    assert len({row[0] for row in urls}) == 2
    with pytest.raises(ConfigError, match=r"Row 2: There is no file cow\.png"):
        ornb.batch(frame.iloc[[2]], model="a/b", **given)
    with pytest.raises(ConfigError, match="data has no column 'nme'"):
        ornb.batch(frame, "{{name}}", "a/b", attach="{{nme}}.png")


def test_rows_with_pictures_are_priced_by_their_own_request() -> None:
    """Their lengths may be the same although what they cost is not."""
    ornb.connect(offline=True)
    model, files = "openai/gpt-4o-mini", [PNG + bytes(3), PNG + bytes(300)]
    frame = pd.DataFrame({"text": ["x" * 397, "x"], "file": files})
    words: dict[str, Any] = {"max_tokens": 9}
    plan = ornb.batch(frame, "{{text}}", model, attach="{{file}}", dry_run=True, **words)
    each = [
        ornb.quote(text, model, attach=file, **words).worst_usd
        for text, file in zip(frame["text"], files, strict=True)
    ]
    assert each[0] != each[1]
    assert plan.worst_usd == sum(filter(None, each))


def test_a_quote_is_of_what_ask_would_send() -> None:
    ornb.connect(offline=True)

    def tokens(**words: Any) -> int:
        quoted = ornb.quote("Which?", "openai/gpt-4o-mini", max_tokens=9, **words).prompt_tokens
        assert quoted is not None
        return quoted

    assert tokens(label="mine") == tokens()
    assert tokens(system="Be brief.") > tokens() + len("Be brief.")
    assert tokens(schema=City) > tokens() + len("json_schema")
    assert tokens(attach=PNG) > tokens() + 10_000


def test_a_refused_call_of_ask_is_a_row_that_was_not_sent() -> None:
    with pytest.raises(ConfigError) as caught:
        ornb.ask("Hi", "a/b", label="refused", files=["cat.png"])
    row = ornb.usage.df.set_index("label").loc["refused"]
    assert (row["status"], row["cost_usd"], row["error"]) == ("error", 0.0, str(caught.value))
    assert caught.value.reply is None, "nothing had arrived"


def cell(shell: Any, **words: Any) -> Any:
    model, label = words.pop("model"), words.pop("label")
    options = " ".join(f"--param {name}={value}" for name, value in words.items())
    return shell.find_cell_magic("ornb")(f"{model} --label {label} {options}", "Hi")


ASKING: dict[str, Callable[..., Any]] = {
    "ask": VERBS["`ask`, `quote`"][0],
    "Client.chat": VERBS["`Client`"][0],
    "Client.stream": stream,
    "Chat.ask": chat_ask,
    "compare": lambda model, **words: compare(models=[model], **words).df,
    "batch": batch,
    "measure": lambda model, **words: measure(models=model, **words),
    "%%ornb": cell,
}


def refused(verb: Callable[..., Any], **words: Any) -> str:
    """What a call is refused with; where that is not raised, a table has it."""
    try:
        table = verb(label="refused", **words)
    except ornb.errors.OrnbError as error:
        return str(error)
    return str(table["error"].iloc[0])


@pytest.mark.parametrize("name", ASKING)
def test_a_call_that_is_refused_before_it_leaves_is_one_row(
    name: str, shell: Any, sent: Any
) -> None:
    """By a check, or by a budget."""
    verb = functools.partial(cell, shell) if name == "%%ornb" else ASKING[name]
    ornb.connect(offline=True)
    paid = {"model": "openai/gpt-4o-mini", "max_tokens": 9}
    for words, ceiling in (({**paid, "n": 2}, 1), (paid, "0.0000001")):
        before = len(ornb.usage)
        with ornb.budget(ceiling, practice=True) as budget:
            why = refused(verb, **words)
        rows = ornb.usage.df.iloc[before:]
        assert rows[["status", "label", "error", "cost_usd", "attempts"]].values.tolist() == [
            ["error", "refused", why, 0.0, 0]
        ]
        assert rows["model"].tolist() == [words["model"]]
        assert rows["source"].isna().all()
        assert budget.refused == (ceiling != 1)
    assert sent() == []


def test_what_is_only_quoted_is_no_row(shell: Any) -> None:
    before = len(ornb.usage)
    for quoted in (
        lambda: ornb.quote("", "a/b"),
        lambda: ornb.batch(["a"], "{{b}}", "a/b", dry_run=True),
        lambda: shell.find_cell_magic("ornb")("a/b --quote", " "),
    ):
        with pytest.raises(ConfigError):
            quoted()
    assert len(ornb.usage) == before


def test_no_key_that_was_taken_for_a_model_is_in_a_row() -> None:
    with pytest.raises(ConfigError, match="model is a key"):
        ornb.ask("Hi", "sk-or-v1-0123456789", label="a key")
    assert ornb.usage.df.set_index("label").loc[["a key"], "model"].isna().all()


# ------------------------------------------------------------------ servers that stream no schema


def refusing(status: int, message: str = "stream with response_format is not supported") -> Any:
    def script(_: bytes, body: bytes) -> Any:
        asked = json.loads(body)
        if asked.get("stream") and "response_format" in asked:
            return [whole({"error": {"message": message, "code": status}}, status)]
        return ANSWER if asked.get("stream") else [WHOLE]

    return script


def streamed(server: ChatServer) -> list[bool]:
    posts = [json.loads(body) for head, body in server.requests if head.startswith(b"POST")]
    assert all(("stream" in body) == ("stream_options" in body) for body in posts)
    return ["stream" in body for body in posts]


@pytest.mark.parametrize("status", [400, 422, 500, 501])
def test_a_server_that_streams_no_schema_is_asked_for_the_whole(status: int) -> None:
    with ChatServer(refusing(status)) as server:
        ornb.connect(base_url=server.url, retries=0)
        reply = ornb.ask("Which?", "a/b", schema=City)
        assert reply.value == City("Bern")
        assert (reply.status, reply.attempts, reply.http_status) == ("ok", 2, 200)
        assert reply.timing.time_to_first_token_s is None
        assert ornb.ask("Which?", "a/b", schema=City).attempts == 1
        assert ornb.ask("Hi", "a/b").timing.time_to_first_token_s is not None
        assert streamed(server) == [True, False, False, True]


def test_every_verb_gets_its_schema_there() -> None:
    for verb in (chat_ask, compare, batch, measure):
        with ChatServer(refusing(400)) as server:
            ornb.connect(base_url=server.url)
            before = len(ornb.usage)
            verb(schema=City)
            verb(schema=City)
            assert ornb.usage.df["status"].iloc[before:].tolist() == ["ok"] * 2
            assert streamed(server)[:2] == [True, False]


def test_a_refusal_that_is_about_something_else_is_raised_and_not_remembered() -> None:
    with ChatServer([whole({"error": {"message": "no such schema", "code": 400}}, 400)]) as server:
        ornb.connect(base_url=server.url)
        with pytest.raises(ornb.errors.BadRequest, match="no such schema"):
            ornb.ask("Which?", "a/b", schema=City)
        assert streamed(server) == [True, False]
        with pytest.raises(ornb.errors.BadRequest):
            ornb.ask("Hi", "a/b")
        server.play(ANSWER)
        assert ornb.ask("Which?", "a/b", schema=City).value == City("Bern")
        assert streamed(server) == [True, False, True, True]
