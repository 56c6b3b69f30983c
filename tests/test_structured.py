"""Answers as values: what goes out is strict, what comes back is checked, a mismatch says where."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime as dt
import enum
import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pydantic
import pytest
from cassettes import exchanges
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from wire import DONE, END, STREAM, WireServer, delta

import ornb
from ornb.api.client import Client, Reply
from ornb.errors import ConfigError, OrnbError, SchemaMismatch
from ornb.messages.hints import inlined, of_hint
from ornb.messages.schema import parse, response_format, schema_of


class Kind(enum.Enum):
    CITY = "city"
    TOWN = "town"


@dataclass
class Place:
    """Where something is."""

    country: str
    since: dt.date | None = None


@dataclass
class City:
    """A city in the text.

    More words, for people.
    """

    name: Annotated[str, "as written"]
    people: int
    area_km2: float = field(default=0.0, metadata={"description": "land only"})
    kind: Kind = Kind.CITY
    size: Literal["small", "large"] = "small"
    places: list[Place] = field(default_factory=list)


class Book(TypedDict):
    title: str
    year: NotRequired[int]


class Novel(pydantic.BaseModel):
    title: str
    year: int | None = None


class Author(pydantic.BaseModel):
    """Who wrote it."""

    name: str = pydantic.Field(description="family name last")
    books: list[Novel] = []
    born: dt.date | None = None


class Node(pydantic.BaseModel):
    children: list[Node] = []


JSON_SCHEMA = {
    "title": "price list",
    "type": "object",
    "properties": {
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "price": {"type": "number"}},
            },
        }
    },
    "required": ["items"],
}
BERLIN = {"name": "Berlin", "people": 3_700_000}


def objects(schema: Any):
    """Every object schema inside a schema."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for child in schema.values():
            yield from objects(child)
    elif isinstance(schema, list):
        for child in schema:
            yield from objects(child)


# ---- what goes out


@pytest.mark.parametrize("shape", [City, Book, Author, JSON_SCHEMA], ids=str)
def test_every_object_of_a_strict_schema_is_closed_and_whole(shape):
    form = response_format(shape)
    assert form["type"] == "json_schema"
    assert form["json_schema"]["strict"] is True
    schema = form["json_schema"]["schema"]
    Draft202012Validator.check_schema(schema)
    assert list(objects(schema))
    for one in objects(schema):
        assert one["additionalProperties"] is False
        assert one["required"] == list(one["properties"])
    assert '"default"' not in json.dumps(schema)
    json.dumps(form, allow_nan=False)


def test_names_are_what_services_take():
    assert response_format(City)["json_schema"]["name"] == "City"
    assert response_format(JSON_SCHEMA)["json_schema"]["name"] == "price_list"
    assert (
        response_format(JSON_SCHEMA, name="ünï codé!" * 20)["json_schema"]["name"][:9]
        == "_n_cod_n_"
    )
    assert len(response_format(JSON_SCHEMA, name="x" * 99)["json_schema"]["name"]) == 64


def test_a_dataclass_says_what_its_fields_mean():
    schema = schema_of(City)
    assert schema["description"] == "A city in the text."
    assert schema["properties"]["name"] == {"type": "string", "description": "as written"}
    assert schema["properties"]["area_km2"]["description"] == "land only"
    assert schema["properties"]["kind"] == {"enum": ["city", "town"], "type": "string"}
    assert schema["properties"]["places"]["items"]["properties"]["since"] == {
        "anyOf": [{"type": "string", "format": "date"}, {"type": "null"}],
        "default": None,
    }
    assert schema["required"] == ["name", "people"]


def test_the_docstring_that_dataclass_makes_up_is_not_sent():
    @dataclass
    class Point:
        x: int

    assert "description" not in schema_of(Point)


def test_objects_of_free_keys_cannot_be_strict():
    @dataclass
    class Prices:
        by_name: dict[str, float]

    form = response_format(Prices)["json_schema"]
    assert form["strict"] is False
    assert form["schema"]["properties"]["by_name"]["additionalProperties"] == {"type": "number"}
    with pytest.raises(ConfigError, match="free keys, and by_name is one"):
        response_format(Prices, strict=True)


def test_a_persons_schema_is_neither_changed_nor_closed_without_strict():
    before = copy.deepcopy(JSON_SCHEMA)
    assert response_format(JSON_SCHEMA, strict=False)["json_schema"]["schema"] == before
    response_format(JSON_SCHEMA)
    assert before == JSON_SCHEMA


def test_pydantic_definitions_are_put_where_they_are_used():
    schema = response_format(Author)["json_schema"]["schema"]
    assert "$ref" not in json.dumps(schema)
    assert schema["properties"]["books"]["items"]["required"] == ["title", "year"]
    assert schema["properties"]["name"]["description"] == "family name last"


def test_a_shape_within_itself_keeps_its_references():
    schema = response_format(Node)["json_schema"]["schema"]
    assert "$ref" in json.dumps(schema)
    assert parse('{"children": [{"children": []}]}', Node).children[0].children == []
    assert inlined(Node.model_json_schema()) is None


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("City", "is no shape of an answer"),
        (list[City], "wrap a list"),
        (None, "is no shape"),
        (int, "an object at its top"),
        (bytes, "bytes has no form in JSON"),
        ({"type": "array"}, "Give a list a name"),
        ({"type": "text"}, "no JSON schema: at type"),
        ({"type": "object", "properties": {"a": {"minimum": "x"}}}, "at properties.a.minimum"),
        (pydantic.RootModel[list[int]], "an object at its top"),
    ],
    ids=str,
)
def test_what_is_no_shape_is_refused(shape, words):
    with pytest.raises(ConfigError) as caught:
        response_format(shape)
    assert words in str(caught.value)


def test_hints_without_a_form_in_json_are_refused_with_their_place():
    @dataclass
    class Odd:
        raw: bytes

    class Color(enum.Enum):
        RED = (255, 0, 0)

    with pytest.raises(ConfigError, match=r"Odd\.raw: bytes has no form in JSON"):
        schema_of(Odd)
    with pytest.raises(ConfigError, match="JSON takes text and numbers only"):
        of_hint(Color, "color")
    with pytest.raises(ConfigError, match="Node lies in itself"):
        of_hint(list[Node], "nodes")
    with pytest.raises(ConfigError, match="cannot be evaluated"):
        schema_of(dataclasses.make_dataclass("Lost", [("a", "Unheard")]))
    with pytest.raises(ConfigError, match="has no form"):
        of_hint(dict[int, str], "d")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type X = ... came with Python 3.12")
def test_an_alias_within_itself_is_refused():
    names: dict[str, Any] = {}
    exec("type Json = dict[str, Json] | list[Json] | str", names)
    with pytest.raises(ConfigError, match="lies in itself"):
        of_hint(names["Json"], "json")


def test_the_form_matches_what_a_recorded_call_sent(shared_data):
    """A library's call with a strict schema, that was answered; and its answer is read."""

    @dataclass
    class Person:
        name: str
        age: int

    recorded = [
        exchange
        for exchange in exchanges(shared_data)
        if "data_extraction" in exchange.name and "response_format" in exchange.request
    ]
    asked, answered = recorded[-1].request, json.loads(recorded[-1].body)
    theirs, ours = asked["response_format"], response_format(Person)
    assert theirs.keys() == ours.keys()
    assert theirs["json_schema"]["strict"] is ours["json_schema"]["strict"] is True
    schema = dict(ours["json_schema"]["schema"])
    assert schema.pop("title") == "Person"
    assert schema == theirs["json_schema"]["schema"]
    text = answered["choices"][0]["message"]["content"]
    assert parse(Reply(text=text), Person) == Person("Ella Thompson", 29)


def test_pydantic_is_not_imported():
    code = "import sys; from ornb.messages import schema, tools; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ---- what comes back


def test_a_dataclass_comes_back_as_itself():
    answer = BERLIN | {"kind": "town", "places": [{"country": "DE", "since": "1990-10-03"}]}
    city = parse(json.dumps(answer), City)
    assert city == City(
        "Berlin", 3_700_000, 0.0, Kind.TOWN, "small", [Place("DE", dt.date(1990, 10, 3))]
    )
    assert isinstance(parse('{"name": "B", "people": 3.0, "area_km2": 2}', City).area_km2, float)


def test_a_typed_dict_and_a_json_schema_come_back_as_dicts():
    assert parse('{"title": "Emma"}', Book) == {"title": "Emma"}
    assert parse('{"items": []}', JSON_SCHEMA) == {"items": []}


def test_a_pydantic_model_comes_back_by_its_own_rules():
    author = parse('{"name": "Austen", "born": "1775-12-16", "books": [{"title": "Emma"}]}', Author)
    assert author.born == dt.date(1775, 12, 16)
    assert author.books == [Novel(title="Emma")]


@pytest.mark.parametrize(
    "text",
    [
        '{"title": "Emma"}',
        '\n  {"title": "Emma"} \n',
        '```json\n{"title": "Emma"}\n```',
        '```\n{"title": "Emma"}',
        '~~~json\n{"title": "Emma"}\n~~~',
        'Here it is:\n\n```json\n{"title": "Emma"}\n```\nHope it helps {smile}.',
        '```python\nx = {}\n```\n\n```json\n{"title": "Emma"}\n```',
        'The book is {"title": "Emma"}, as asked.',
        'I {think} that {"title": "Emma"} is it.',
        '```json\n{"year": 1815}\n```\nor rather\n```json\n{"title": "Emma"}\n```',
    ],
)
def test_fences_and_words_around_it_are_put_up_with(text):
    assert parse(text, Book) == {"title": "Emma"}


@pytest.mark.parametrize(
    ("answer", "path", "words"),
    [
        (
            {"items": [{"price": 1}, {"price": "2"}]},
            "$.items[1].price",
            "expected a number, got '2'",
        ),
        ({}, "$", "expected the field 'items', got {}"),
        ([], "$", "expected an object, got []"),
        (7, "$", "expected an object, got 7"),
        ({"items": None}, "$.items", "at items: expected an array, got None"),
    ],
)
def test_a_mismatch_says_where_what_and_keeps_the_answer(answer, path, words):
    reply = Reply(text=json.dumps(answer))
    with pytest.raises(SchemaMismatch) as caught:
        parse(reply, JSON_SCHEMA)
    assert caught.value.path == path
    assert words in str(caught.value)
    assert caught.value.reply is reply
    assert isinstance(caught.value, OrnbError | ValueError)


@pytest.mark.parametrize(
    ("shape", "answer", "path", "words"),
    [
        (City, BERLIN | {"kind": "village"}, "$.kind", "one of 'city', 'town'"),
        (City, BERLIN | {"mayor": "x"}, "$", "no field 'mayor', only name, people"),
        (
            City,
            BERLIN | {"places": [{"country": "DE", "since": "soon"}]},
            "$.places[0].since",
            "since",
        ),
        (City, {"name": "B", "people": 1.5}, "$.people", "an integer, got 1.5"),
        (City, {"name": "B", "people": True}, "$.people", "an integer, got True"),
        (Author, {"name": "A", "born": "soon"}, "$.born", "at born: expected a valid date"),
        (Author, {}, "$", "the field 'name'"),
        (Author, {"name": "A", "books": [{}]}, "$.books[0]", "the field 'title'"),
        (Book, {"title": 7}, "$.title", "expected a string, got 7"),
    ],
)
def test_a_mismatch_of_a_class_says_where_too(shape, answer, path, words):
    with pytest.raises(SchemaMismatch) as caught:
        parse(json.dumps(answer), shape)
    assert caught.value.path == path
    assert words in str(caught.value)


def test_a_class_that_refuses_its_values_is_a_mismatch():
    @dataclass
    class Share:
        percent: float

        def __post_init__(self):
            if not 0 <= self.percent <= 100:
                raise ValueError("percent is 0 to 100")

    with pytest.raises(SchemaMismatch, match=r"a Share \(percent is 0 to 100\)"):
        parse('{"percent": 130}', Share)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(text=""), "is empty"),
        (Reply(text="I cannot do that."), "has no JSON in it"),
        (Reply(text='{"title": "Em', finish_reason="length"), "Ask with more max_tokens"),
        (Reply(text='{"title": "Em', status="stopped"), "was stopped before"),
        (Reply(text='{"title": NaN}'), "has no JSON in it"),
        (Reply(text='{"year": 1' + "0" * 5000 + "}"), "has no JSON in it"),
        (Reply(text='{"a":' * 50_000), "has no JSON in it"),
        (Reply(text="{" * 50_000), "has no JSON in it"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_without_json_it_says_why(reply, words):
    with pytest.raises(SchemaMismatch) as caught:
        parse(reply, Book)
    assert words in str(caught.value)
    assert caught.value.reply is reply
    assert len(str(caught.value)) < 400


def test_long_and_hostile_values_are_shortened_in_the_message():
    with pytest.raises(SchemaMismatch) as caught:
        parse(json.dumps({"title": ["<script>" * 10_000]}), Book)
    assert len(str(caught.value)) < 300


def test_a_schema_fetches_nothing():
    """The suite's guard would end the run; a reference outside is refused before."""
    schema = {"type": "object", "properties": {"a": {"$ref": "https://example.org/s.json"}}}
    with pytest.raises(ConfigError, match="refers to"):
        parse('{"a": 1}', schema)


@pytest.mark.parametrize("levels", [101, 900])
def test_a_schema_within_itself_survives_a_deep_answer(levels):
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}}}
    with pytest.raises(SchemaMismatch, match=r"at most 100 levels|no JSON"):
        parse('{"a":' * levels + "{}" + "}" * levels, schema)


def test_a_schema_within_itself_takes_a_hundred_levels():
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}}}
    assert parse('{"a":' * 99 + "{}" + "}" * 99, schema)


def test_over_the_wire_there_and_back():
    pieces = [
        delta('```json\n{"name": "Ber'),
        delta('lin", "people": 3700000}'),
        delta("\n```", "stop"),
    ]
    with WireServer([STREAM, *pieces, DONE, END]) as server:
        client = Client("k", server.url)
        stream = client.stream("Which city?", "acme/orbit", response_format=response_format(City))
        for _ in stream:
            pass
        client.close()
    assert parse(stream.reply, City) == City("Berlin", 3_700_000)
    sent = json.loads(server.requests[0][1])["response_format"]["json_schema"]
    assert sent["schema"]["title"] == "City"


def test_the_canned_answer_is_a_mismatch_that_keeps_the_reply():
    """It is JSON when a form is asked for, and says that it is canned."""
    with pytest.raises(SchemaMismatch) as caught:
        parse(ornb.ask("Which city?", "ornb/canned", response_format=response_format(City)), City)
    assert caught.value.reply.source == "canned"
    assert "no field 'canned'" in str(caught.value) or "the field 'name'" in str(caught.value)


# ---- round trips

names = st.text(max_size=8)
places = st.builds(Place, names, st.none() | st.dates())
cities = st.builds(
    City,
    names,
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(Kind),
    st.sampled_from(["small", "large"]),
    st.lists(places, max_size=3),
)


def written(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value.isoformat()


@given(cities)
def test_what_is_written_by_the_schema_comes_back_equal(city):
    text = json.dumps(dataclasses.asdict(city), default=written)
    assert parse(text, City) == city
    strict = response_format(City)["json_schema"]["schema"]
    assert Draft202012Validator(strict).is_valid(json.loads(text))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_any_json_is_either_the_shape_or_a_mismatch(value):
    for shape in (City, Book, Author, JSON_SCHEMA):
        with contextlib.suppress(SchemaMismatch):
            parse(json.dumps(value), shape)


@given(st.text(max_size=80))
def test_any_text_is_either_the_shape_or_a_mismatch(text):
    with contextlib.suppress(SchemaMismatch):
        assert isinstance(parse(text, {"type": "object", "properties": {}}), dict)


@given(
    st.dictionaries(st.text(max_size=4), values, max_size=4),
    st.sampled_from(["", "```json\n", "So: "]),
)
def test_an_object_is_found_in_what_is_around_it(value, before):
    after = "\n```" if before.startswith("`") else ""
    assert parse(before + json.dumps(value) + after, {"type": "object", "properties": {}}) == value
