"""A column of prompts, a table of answers: checked first, asked once, paid once, nothing lost."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import pickle
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from wire import DONE, END, SOON_S, STALL_S, STREAM, WireServer, delta, event, whole

import ornb
from ornb import session
from ornb.errors import ConfigError, PriceUnknown
from ornb.pricing import EXACT
from ornb.runs.answers import BATCH_COLUMNS, Answer, Shape, with_answers
from ornb.runs.plan import total
from ornb.runs.rows import Requests
from ornb.runs.run import BatchInterrupted
from ornb.runs.store import TABLE, AnswerStore, Memory, default_path
from ornb.runs.work import InTurn, address_of
from tests.page import until

DOCS = Path(__file__).parents[1] / "docs"
MODEL = "acme/orbit"
KEY = "sk-or-v1-" + "5e" * 16
GATEWAY = "gw-" + "6f" * 8
COST = 0.0005
RECORD = {
    "id": MODEL,
    "name": "Acme: Orbit",
    "context_length": 8192,
    "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
    "pricing": {"prompt": "0.000002", "completion": "0.00001"},
    "top_provider": {"context_length": 8192, "max_completion_tokens": 4096},
    "supported_parameters": ["max_tokens"],
}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
CALL = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
ARMOR = {"status": {"tool_uses": {"c": {"outcome": "flagged"}}}}
USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30, "cost": COST}


def answered(text):
    yield STREAM
    yield delta(text, "stop") + event(choices=[], usage=USAGE) + DONE + END


def refused(status, message="No", **headers):
    return [whole({"error": {"code": status, "message": message}}, status, **headers)]


class Service:
    """OpenRouter on loopback, which keeps what it was asked. `script(prompt, n)` may answer."""

    def __init__(self, script=None):
        self.asked: list[str] = []
        self.keys: list[bytes | None] = []
        self.gateways: list[str | None] = []
        self._script = script
        self._lock = threading.Lock()
        self._server = WireServer(self._answer)
        self.url = self._server.url

    def _answer(self, head, body):
        path = head.split()[1].decode()
        if path.endswith("/models"):
            return [whole({"data": [RECORD]})]
        if not path.endswith("/chat/completions"):
            return refused(404)
        prompt = json.loads(body)["messages"][-1]["content"]
        with self._lock:
            self.asked.append(prompt)
            nth = self.asked.count(prompt)
            key = re.search(rb"Authorization: Bearer (\S+)", head)
            self.keys.append(key and key[1])
            gateway = re.search(rb"X-Gateway: (\S+)", head)
            self.gateways.append(gateway and gateway[1].decode())
        return (self._script and self._script(prompt, nth)) or answered(f"said {prompt}")

    @property
    def requests(self):
        return self._server.requests

    def close(self):
        self._server.__exit__()


@pytest.fixture(autouse=True)
def _interruptible():
    """Hear Ctrl-C, also where what started the tests ignores it, as a shell's background job."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def serve(monkeypatch):
    """Connect this kernel to a service of the test's own."""
    made = []

    def start(script=None, **options):
        made.append(Service(script))
        ornb.connect(base_url=made[-1].url, **options)
        session.usage.clear()
        return made[-1]

    monkeypatch.setattr(session.default.budgets, "_session", [])
    monkeypatch.setitem(session.default.parts, Memory, Memory())
    yield start
    for service in made:
        service.close()
    ornb.connect(offline=True)


def _unfinished():
    return session.default.part(Memory)


def batch(data, template="{{text}}", model=MODEL, **options):
    return ornb.batch(data, template, model, **{"progress": False, "max_tokens": 100, **options})


def texts(n):
    return [f"text {i}" for i in range(n)]


# --- the table ------------------------------------------------------------------------------------


def odd_frame():
    return pd.DataFrame(
        {
            "city": pd.Categorical(["Ulm", "Bonn", "Ulm"], categories=["Bonn", "Ulm", "Köln"]),
            "day": pd.to_datetime(["2026-01-01", None, "2026-03-01"], utc=True),
            "people": pd.array([1, None, 3], dtype="Int64"),
            "share": np.array([0.5, np.nan, 1.5], dtype="float32"),
            "tags": [["a"], {"b": 1}, None],
            7: [1, 2, 3],
        },
        index=pd.MultiIndex.from_tuples([("x", 1), ("x", 1), ("y", 2)], names=["letter", "n"]),
    )


def test_index_columns_and_dtypes_of_the_data_are_kept(serve):
    serve()
    frame = odd_frame()
    before = frame.copy(deep=True)
    answers = batch(frame, "{{city}} {{7}}")
    pd.testing.assert_frame_equal(answers[list(frame)], before)
    pd.testing.assert_frame_equal(frame, before)
    assert list(answers) == [*frame, *BATCH_COLUMNS]
    assert answers["answer"].tolist() == ["said Ulm 1", "said Bonn 2", "said Ulm 3"]


def test_the_columns_have_the_documented_dtypes_also_of_nothing(serve):
    serve()
    for frame in (batch(["a"]), batch([]), batch([None])):
        for name, (dtype, _) in BATCH_COLUMNS.items():
            wanted = pd.Series(["a"]).dtype if dtype == "str" else dtype
            assert frame[name].dtype == wanted, name


def test_a_series_and_a_list_are_tables_too(serve):
    serve()
    named = pd.Series(["a", "b"], index=[5, 6], name="review")
    assert batch(named, "On {{review}}")["answer"].to_dict() == {5: "said On a", 6: "said On b"}
    assert batch(named.rename(None))["answer"].tolist() == ["said a", "said b"]
    assert batch(("a",), None)["answer"].tolist() == ["said a"]
    assert batch(["a"]).columns[0] == "text"


@pytest.mark.parametrize("data", ["a text", b"bytes", 7, None, [1, 2], {"a": 1}, [{"a": 1}, "b"]])
def test_what_is_no_table_is_refused(data):
    with pytest.raises(ConfigError, match="give a DataFrame"):
        batch(data)


def test_columns_of_several_levels_are_refused():
    frame = pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")]))
    with pytest.raises(ConfigError, match="several levels"):
        batch(frame, "{{a}}")
    with pytest.raises(ConfigError, match="several levels"):
        batch(pd.Series(["a"], name=("a", "b")))


def test_a_prefix_is_a_text():
    with pytest.raises(ConfigError, match="prefix is 3; give a text"):
        batch(["a"], prefix=3)


def test_names_that_would_be_there_twice_are_refused_unless_prefixed(serve):
    service = serve()
    frame = pd.DataFrame({"text": ["a"], "status": ["new"], "answer": ["?"]})
    with pytest.raises(ConfigError, match=r"'answer', 'status' already.*prefix="):
        batch(frame)
    assert service.asked == []
    answers = batch(frame, prefix="llm_")
    assert answers.loc[0, ["status", "llm_status", "llm_answer"]].tolist() == [
        "new",
        "ok",
        "said a",
    ]


scalars = st.one_of(st.text(max_size=4), st.integers(-9, 9), st.none(), st.floats(allow_nan=False))


@given(st.lists(st.tuples(scalars, scalars), max_size=6), st.data())
def test_whatever_the_data_holds_stays_as_it_was(rows, data):
    index = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    frame = pd.DataFrame(rows, columns=["a", "b"], index=pd.Index(index, name="i"))
    made = with_answers(frame, [Answer("x")] * len(frame), None, "")
    pd.testing.assert_frame_equal(made[["a", "b"]], frame)
    assert made["answer"].tolist() == ["x"] * len(frame)


# --- the template ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (
            "On {{revew}}",
            r"no column 'revew'.*Did you mean 'review'\?.*Its columns: review, the day",
        ),
        ("On {{revew.name}}", "no column 'revew'"),
        ("On {{the dya}}", "Did you mean 'the day'"),
        ("On {review}", "names no column"),
        ("", "no template"),
        (None, "no template"),
        ("{{n}}", "2 columns 'n'"),
        ("{{review.nothing}}", "Row 4: .*cannot take .nothing"),
    ],
)
def test_a_template_that_does_not_fit_is_refused_before_the_first_call(serve, template, words):
    service = serve()
    frame = pd.DataFrame([["a", "b", 1, 2]], columns=["review", "the day", "n", "n"], index=[4])
    with pytest.raises(ConfigError, match=words):
        batch(frame, template)
    assert service.asked == []


def test_a_template_takes_columns_of_any_name_and_leaves_single_braces_alone(serve):
    service = serve()
    frame = pd.DataFrame({"the day": ["Monday"], "who": [{"name": "Ann"}], "n": [1]})
    template = 'JSON like {"a": {x}} and {{ {y} }}: {{ the day }}, {{who.name}}, {{n}}'
    batch(frame, template, system="You know {{the day}}.")
    assert service.asked == ['JSON like {"a": {x}} and {{ {y} }}: Monday, Ann, 1']


def test_rows_with_missing_values_are_skipped_and_say_so(serve):
    service = serve()
    frame = pd.DataFrame({"a": ["x", None, "y", " "], "b": [1.5, 2, np.nan, 4], "c": [None] * 4})
    answers = batch(frame, "{{a}}")
    assert answers["status"].tolist() == ["ok", "skipped", "ok", "skipped"]
    assert answers["error"].iloc[[1, 3]].tolist() == ["a is missing", "the prompt is empty"]
    both = batch(frame.head(3), "{{a}} {{b}}")
    assert both["status"].tolist() == ["ok", "skipped", "skipped"]
    assert answers.loc[1, "cost_usd"] == 0
    assert pd.isna(answers.loc[1, "cost_source"])
    assert len(service.asked) == 3


@pytest.mark.parametrize("gone", [None, np.nan, pd.NA, pd.NaT, "absent"], ids=str)
def test_a_value_that_is_missing_inside_a_cell_skips_its_row(serve, gone):
    service = serve()
    shop = {} if isinstance(gone, str) else {"name": gone}
    frame = pd.DataFrame(
        {"shop": [{"name": "Corner"}, shop, None], "tags": [["a"], [gone] * (shop != {}), ["b"]]}
    )
    answers = batch(frame, "About {{ shop.name }}", system="{{shop['name']}}, {{tags[0]}}")
    assert answers["status"].tolist() == ["ok", "skipped", "skipped"]
    assert answers["error"].tolist()[1:] == [
        "shop.name, shop['name'], tags[0] are missing",
        "shop.name, shop['name'] are missing",
    ]
    assert service.asked == ["About Corner"]


def test_a_cell_of_another_kind_skips_its_row_and_no_other(serve):
    service = serve()
    cells = [{"items": "pens"}, {}, "none", 7, ["items"], {"items": " "}]
    answers = batch(pd.DataFrame({"shop": cells}), "{{shop.items}}")
    assert answers["status"].tolist() == ["ok"] + ["skipped"] * 5
    assert answers["error"].tolist()[1:] == ["shop.items is missing"] * 4 + ["the prompt is empty"]
    assert service.asked == ["pens"]


def test_a_path_that_no_row_has_is_refused(serve):
    service = serve()
    frame = pd.DataFrame({"shop": [None, {"name": "Corner"}, {"name": "Mill"}]}, index=[3, 4, 5])
    with pytest.raises(ConfigError, match=r"Row 4: .*cannot take .nmae.*Did you mean 'name'"):
        batch(frame, "{{shop.nmae}}")
    assert service.asked == []


def test_a_null_of_arrow_is_missing_too(serve):
    arrow = pytest.importorskip("pyarrow")
    serve()
    kind = pd.ArrowDtype(arrow.struct([("name", arrow.string())]))
    shops = pd.array([{"name": "Corner"}, {"name": None}, None], dtype=kind)
    answers = batch(pd.DataFrame({"shop": shops}), "{{shop.name}}")
    assert answers["status"].tolist() == ["ok", "skipped", "skipped"]
    assert answers["error"].tolist()[1:] == ["shop.name is missing"] * 2


def test_a_cell_goes_whole(serve):
    service = serve()
    lines = [f"line {n} of the minutes" for n in range(2000)]
    table = pd.DataFrame({"n": range(100), "text": ["x" * 500] * 100})
    frame, template = pd.DataFrame({"lines": [lines], "table": [table]}), "{{lines}} and {{table}}"
    plan = batch(frame, template, dry_run=True)
    answers = batch(frame, template)
    said, _, rows = service.asked[0].partition(" and ")
    assert json.loads(said) == lines
    assert rows.count("x" * 500) == 100
    assert plan.longest > len(service.asked[0])
    told = f"nothing is left out of the longest request ({plan.longest:,} bytes)"
    assert repr(plan).endswith(told)
    assert answers.attrs == {"ornb": told}
    assert batch(["a"]).attrs == frame.attrs == {}


def test_figures_go_as_they_are(serve):
    service = serve()
    frame = pd.DataFrame(
        {
            "order": [720575940631, None],
            "amount": [98765432109.75, 1],
            "share": np.array([0.1, 1], dtype="float32"),
            "cent": [Decimal("1E+5"), 1],
        }
    )
    batch(frame, "{{order}} {{amount}} {{share}} {{cent}}")
    assert service.asked == ["720575940631 98765432109.75 0.1 100000"]


def test_values_are_not_searched_for_names_again(serve):
    service = serve()
    batch(["{{text}} and {{password}}"])
    assert service.asked == ["{{text}} and {{password}}"]


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=8))
def test_rows_have_one_hash_exactly_if_they_ask_the_same(pairs):
    frame = pd.DataFrame(pairs, columns=["a", "b"]).astype(object)
    rows = Requests(frame, "<{{a}}|{{b}}>", None, {"model": "x"}, "here")
    asked = [rows.body(i)["messages"][0]["content"] for i in range(len(rows))]
    hashes = [row.digest for row in rows]
    for i in range(len(rows)):
        for j in range(i):
            assert (asked[i] == asked[j]) == (hashes[i] == hashes[j])


def test_the_hash_knows_model_parameters_schema_and_service():
    frame = pd.DataFrame({"text": ["a"]})
    asked = [
        ({"model": "x"}, None, "here"),
        ({"model": "y"}, None, "here"),
        ({"model": "x", "temperature": 0}, None, "here"),
        ({"model": "x", "response_format": {"type": "json_object"}}, None, "here"),
        ({"model": "x"}, "Be brief.", "here"),
        ({"model": "x"}, None, "there"),
    ]
    hashes = {
        next(iter(Requests(frame, "{{text}}", system, body, where))).digest
        for body, system, where in asked
    }
    assert len(hashes) == len(asked)


# --- the cost, first ------------------------------------------------------------------------------


def test_a_dry_run_sends_nothing_and_knows_the_cost(serve):
    service = serve()
    plan = batch(["a", "b", "a", None], dry_run=True)
    once = session.quote("a", MODEL, max_tokens=100)
    assert service.asked == []
    assert (plan.rows, plan.calls, plan.repeats, plan.skipped, plan.cached) == (4, 2, 1, 1, 0)
    assert plan.worst_usd == 2 * once.worst_usd
    assert plan.likely_usd == 2 * once.likely_usd
    assert plan.prompt == "a"
    assert re.match(
        r"Batch: 4 rows, 2 calls of acme/orbit .* about \$\S+, at most \$\S+$", repr(plan)
    )


def test_the_cost_is_shown_before_the_first_call(serve, capsys):
    seen = []

    def script(prompt, _):
        seen.append(capsys.readouterr().out)
        return answered(prompt)

    serve(script)
    batch(["a"], progress=True, cap_usd="0.50")
    assert re.search(r"1 call of acme/orbit, about .*, at most .*; stops before \$0.5", seen[0])
    assert "1/1" in capsys.readouterr().err


@given(st.lists(st.text(max_size=30), max_size=12))
@example(["\x1b", "\x7f"])
def test_a_plan_is_the_sum_of_its_calls(asked):
    plan = ornb.batch(asked, None, "openai/gpt-4o-mini", max_tokens=50, dry_run=True)
    sent = [text for text in dict.fromkeys(asked) if text.strip()]
    quotes = [session.quote(text, "openai/gpt-4o-mini", max_tokens=50) for text in sent]
    assert plan.worst_usd == sum((each.worst_usd for each in quotes), Decimal(0))
    assert plan.likely_usd == sum((each.likely_usd for each in quotes), Decimal(0))
    assert total(quotes)[0] == plan.likely_usd


def test_a_cap_holds_and_nothing_is_lost(serve):
    service = serve()
    once = session.quote("text 0", MODEL, max_tokens=100).worst_usd
    cap = EXACT.add(once, Decimal("0.00051"))  # after one call of 0.0005, one more fits
    answers = batch(texts(6), cap_usd=cap, concurrency=4)
    assert answers["status"].tolist() == ["ok"] * 2 + ["skipped"] * 4
    assert answers["error"].iloc[-1].startswith("acme/orbit was not sent: it can cost up to")
    assert answers["cost_usd"].sum() == 2 * COST <= float(cap)
    again = batch(texts(6), cap_usd=1)
    assert again["status"].tolist() == ["cached"] * 2 + ["ok"] * 4
    assert Counter(service.asked) == Counter(texts(6)), "each was paid once"


def test_a_budget_that_is_full_of_calls_under_way_is_waited_for(serve):
    """With room for two at their worst, eight are asked two by two, and none counts as refused."""
    serve()
    once = session.quote("text 0", MODEL, max_tokens=100).worst_usd
    with ornb.budget(2 * once + 8 * Decimal("0.0005")) as budget:
        answers = batch(texts(8), concurrency=8)
    assert answers["status"].tolist() == ["ok"] * 8
    assert (budget.calls, budget.refused, budget.reserved_usd) == (8, 0, 0)
    assert budget.spent_usd == 8 * Decimal("0.0005")


def test_a_budget_that_is_spent_ends_the_batch_politely(serve, capsys):
    serve()
    with ornb.budget("0.0001") as budget:
        answers = batch(texts(50), progress=True)
    assert set(answers["status"]) == {"skipped"}
    assert budget.refused == 1
    assert "50 rows skipped; the last: acme/orbit was not sent" in capsys.readouterr().out


def test_practice_budgets_stop_offline_batches(serve):
    ornb.connect(offline=True)
    with ornb.budget("0.00013", practice=True) as budget:
        answers = batch(texts(12), model="openai/gpt-4o-mini", max_tokens=20, concurrency=1)
    counts = Counter(answers["status"])
    assert counts["ok"] >= 1
    assert counts["skipped"] >= 1
    assert budget.spent_usd <= Decimal("0.00013")


def test_a_cap_that_could_not_hold_is_refused(serve):
    service = serve()
    with pytest.raises(PriceUnknown, match="no price is listed for nobody/nothing"):
        batch(["a"], model="nobody/nothing", cap_usd=1)
    assert service.asked == []


def test_a_client_made_by_hand_is_capped_too(serve):
    service = serve()
    client = ornb.Client(base_url=service.url)
    answers = batch(texts(4), client=client, cap_usd="0.0001")
    assert set(answers["status"]) == {"skipped"}
    assert batch(["a"], client=client)["status"].tolist() == ["ok"]
    assert service.asked == ["a"]
    assert len(session.usage) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"concurrency": 1.5},
        {"cap_usd": "much"},
        {"messages": []},
        {"stream": False},
        {"schema": {"type": "object"}, "response_format": {}},
        {"temperature": float("nan")},
        {"store": "nonsense://"},
        {"schema": {"type": "array"}},
    ],
)
def test_arguments_that_cannot_work_are_refused(serve, wrong):
    service = serve()
    with pytest.raises(ConfigError):
        batch(["a"], **wrong)
    assert service.asked == []


# --- asked once -----------------------------------------------------------------------------------


def test_identical_rows_are_asked_once(serve):
    service = serve()
    answers = batch(["a", "b", "a", "a"])
    assert Counter(service.asked) == {"a": 1, "b": 1}
    assert answers["answer"].tolist() == ["said a", "said b", "said a", "said a"]
    assert answers["status"].tolist() == ["ok", "ok", "cached", "cached"]
    assert answers["attempts"].tolist() == [1, 1, 0, 0]
    assert answers["cost_usd"].tolist() == [COST, COST, 0, 0]
    assert answers["completion_tokens"].sum() == 20


def test_a_batch_that_was_finished_is_asked_anew_without_a_store(serve):
    service = serve()
    for _ in range(2):
        assert batch(["a"])["status"].tolist() == ["ok"]
    assert len(service.asked) == 2


def test_a_store_keeps_answers_from_run_to_run(serve, tmp_path):
    service = serve()
    first = batch(["a", "b"], store=tmp_path / "kept" / "answers.sqlite3")
    again = batch(["a", "b", "c", "a"], store=str(tmp_path / "kept" / "answers.sqlite3"))
    assert again["status"].tolist() == ["cached", "cached", "ok", "cached"]
    assert Counter(service.asked) == {"a": 1, "b": 1, "c": 1}
    kept = [name for name in BATCH_COLUMNS if name not in ("status", "attempts")]
    pd.testing.assert_frame_equal(again.head(2)[kept], first[kept])
    assert again["attempts"].tolist() == [0, 0, 1, 0]
    assert len(session.usage) == 3
    plan = batch(["a", "b"], store=tmp_path / "kept" / "answers.sqlite3", dry_run=True)
    assert (plan.calls, plan.cached, plan.worst_usd) == (0, 2, 0)


@pytest.mark.parametrize(
    ("said", "beside", "finish", "words"),
    [
        ({"images": [PICTURE]}, {}, "stop", "1 image came, which a row does not hold; .* ornb.ask"),
        ({"content": "See.", "images": [PICTURE]}, {}, "stop", "1 image came"),
        ({"tool_calls": [CALL, CALL | {"id": "d"}]}, {}, "tool_calls", "2 tool calls came"),
        ({}, {"safeguard_results": [ARMOR]}, "stop", "blocked by the armor plugin"),
        ({}, {}, "content_filter", "ended by a content filter"),
    ],
)
def test_what_a_row_does_not_hold_is_said_in_it(serve, tmp_path, said, beside, finish, words):
    piece = {"choices": [{"index": 0, "delta": said, "finish_reason": finish}]} | beside
    serve(lambda prompt, nth: [STREAM, event(**piece, usage=USAGE), DONE, END])
    for status in ("ok", "cached"):
        row = batch(["a"], store=tmp_path / "a.sqlite3").iloc[0]
        assert row["status"] == status
        assert re.search(words, row["error"])
    row = batch(["a"], store=tmp_path / "b.sqlite3", schema={"type": "object"}).iloc[0]
    assert row["status"] == "error"
    assert re.search(words, row["error"])


def test_a_store_that_cannot_be_opened_is_told_before_the_first_call(serve, monkeypatch):
    service = serve()
    monkeypatch.setattr("ornb.runs.store.default_path", lambda: Path(os.devnull) / "no.sqlite3")
    with pytest.raises(ConfigError, match="cannot be opened"):
        batch(["a"], store=True)
    assert service.asked == []


def test_resume_false_replaces_what_is_kept(serve, tmp_path):
    serve(lambda prompt, nth: answered(f"{prompt} {nth}"))
    path = tmp_path / "a.sqlite3"
    said = [
        batch(["a"], store=path, resume=resume)["answer"].item() for resume in (True, False, True)
    ]
    assert said == ["a 1", "a 2", "a 2"]


def test_store_true_is_a_file_of_the_user(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("platformdirs.user_data_path", lambda _: tmp_path / "ornb")
    serve()
    batch(["a"], store=True)
    assert default_path().is_file()
    assert default_path().stat().st_mode & 0o077 == 0


def test_a_store_has_no_prompt_and_no_key(serve, tmp_path):
    service = serve(api_key=KEY)
    path = tmp_path / "a.sqlite3"
    batch(["What nobody else should read"], "{{text}} at all", store=path)
    assert service.keys == [KEY.encode()]
    with closing(sqlite3.connect(path)) as connection, connection:
        dump = "\n".join(connection.iterdump())
    assert "said What nobody" in dump, "the answer is there, which is the point"
    assert "Authorization" not in dump
    assert KEY not in dump
    assert len(re.findall("What nobody", dump)) == 1


def test_a_store_that_breaks_costs_no_answer(serve, tmp_path):
    path = tmp_path / "a.sqlite3"

    def script(prompt, _):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"DROP TABLE IF EXISTS {TABLE}")
        return answered(prompt)

    serve(script)
    with pytest.warns(RuntimeWarning, match="cannot be written to.*are in the frame") as told:
        answers = batch(["a", "b"], store=path, concurrency=1)
    assert told[0].filename == __file__, "whose line it is"
    assert answers["answer"].tolist() == ["a", "b"]


texts_of_answers = st.text(max_size=20)


@given(texts_of_answers, st.none() | st.floats(0, 1), st.none() | st.integers(0, 9))
def test_what_is_kept_comes_back_as_it_was(text, cost, tokens):
    text = text.replace("\x00", "").encode("utf-8", "replace").decode()
    store = AnswerStore("sqlite://")
    answer = Answer(text, cost_usd=cost, prompt_tokens=tokens, source="live", attempts=2)
    store.put({"digest": Answer("older")})
    store.put({"digest": answer})
    assert store.read(["digest", "other"]) == {"digest": answer}
    store.close()


def test_an_answer_that_comes_after_the_end_is_kept_and_holds_no_file_open(tmp_path):
    path = tmp_path / "a.sqlite3"
    store = AnswerStore(path)
    store.close()
    store.put({"late": Answer("Yes.")})
    assert list(tmp_path.iterdir()) == [path], "no journal of an open connection"
    again = AnswerStore(path)
    assert again.read(["late"])["late"].text == "Yes."
    again.close()


def test_a_store_that_cannot_be_read_is_let_go_of(serve, tmp_path):
    serve()
    batch(["a"], store=tmp_path / "a.sqlite3")
    with sqlite3.connect(tmp_path / "a.sqlite3") as other:
        other.execute(f"UPDATE {TABLE} SET text = CAST(x'ff' AS TEXT)")  # no text in UTF-8
    other.close()
    with pytest.raises(ConfigError, match="cannot be read"):
        batch(["a"], store=tmp_path / "a.sqlite3")
    assert [file.name for file in tmp_path.iterdir()] == ["a.sqlite3"]


# --- errors are rows ------------------------------------------------------------------------------


def test_errors_are_rows_and_are_asked_again(serve, tmp_path):
    def script(prompt, nth):
        return refused(400, "Not this one") if prompt == "bad" and nth == 1 else None

    service = serve(script)
    first = batch(["a", "bad", "b", "bad"], store=tmp_path / "a.sqlite3")
    assert first["status"].tolist() == ["ok", "error", "ok", "error"]
    assert "Not this one" in first.loc[1, "error"]
    assert pd.isna(first.loc[1, "answer"])
    again = batch(["a", "bad", "b", "bad"], store=tmp_path / "a.sqlite3")
    assert again["status"].tolist() == ["cached", "ok", "cached", "cached"]
    assert Counter(service.asked) == {"a": 1, "b": 1, "bad": 2}


def test_an_answer_that_breaks_off_keeps_its_part(serve):
    def script(prompt, _):
        return [STREAM, delta("half an ans"), "close"] if prompt == "bad" else None

    serve(script)
    answers = batch(["bad", "a"])
    assert answers["status"].tolist() == ["error", "ok"]
    assert answers.loc[0, "answer"] == "half an ans"
    assert answers["cost_source"].tolist() == ["unknown", "billed"]


@pytest.mark.parametrize("status", [401, 402, 404])
def test_what_no_row_can_do_better_ends_the_batch(serve, status):
    service = serve(lambda *_: refused(status, "Never"), retries=0)
    answers = batch(texts(30), concurrency=2)
    assert len(service.asked) < 6
    assert answers["status"].iloc[0] == "error"
    assert answers["status"].iloc[-1] == "skipped"
    assert "Never" in answers["error"].iloc[-1]


def test_a_refusal_that_names_a_time_is_waited_for(serve):
    """One 429 holds all calls back, and then the row is asked again: a refusal is no error."""
    times = []

    def script(prompt, nth):
        times.append((prompt, time.monotonic()))
        return refused(429, "Slow down", Retry_After="1") if len(times) == 1 else None

    serve(script, retries=0)
    answers = batch(texts(3), concurrency=1)
    assert answers["status"].tolist() == ["ok"] * 3
    assert answers["attempts"].tolist() == [2, 1, 1]
    assert [prompt for prompt, _ in times] == ["text 0", *texts(3)]
    assert times[1][1] - times[0][1] >= 0.95
    assert len(session.usage) == 4


def test_patience_has_an_end(serve):
    service = serve(lambda *_: refused(429, "No", Retry_After="0"), retries=0)
    answers = batch(["a"])
    assert answers.loc[0, ["status", "attempts"]].tolist() == ["error", 4]
    assert len(service.asked) == 4
    serve(lambda *_: refused(429, "Tomorrow", Retry_After="9000"), retries=0)
    assert batch(["a"])["attempts"].tolist() == [1]


def test_free_models_are_spaced_and_the_setting_is_put_back(serve, monkeypatch):
    from ornb.ledger.quota import FreeQuota

    now = [1_790_000_000.0]
    counter = FreeQuota(clock=lambda: now[0])
    monkeypatch.setattr(session.default, "quota", counter)
    waits = []

    def wait(self, seconds):
        waits.append(seconds)
        now[0] += seconds
        return False

    monkeypatch.setattr("ornb.runs.run.Run._wait", wait)
    serve()
    counter.believe({"is_free_tier": True})  # an account of OpenRouter's
    answers = batch(texts(22), model="acme/orbit:free", concurrency=4)
    assert set(answers["status"]) == {"ok"}
    assert sum(waits) == pytest.approx(60)
    assert counter.wait is False


def test_the_free_calls_of_a_day_end_the_batch(serve, monkeypatch):
    from ornb.ledger.quota import FreeQuota

    counter = FreeQuota(clock=lambda: 1_790_000_000.0)
    monkeypatch.setattr(session.default, "quota", counter)
    service = serve()
    counter.believe({"free_model_daily_requests": {"limit": 3, "used": 0}})
    answers = batch(texts(5), model="acme/orbit:free", concurrency=1)
    assert answers["status"].tolist() == ["ok"] * 3 + ["skipped"] * 2
    assert session.usage.df["status"].tolist() == ["ok"] * 3 + ["error"], "the one refused"
    assert "was not sent" in answers["error"].iloc[-1]
    assert len(service.asked) == 3


# --- structured output ----------------------------------------------------------------------------


@dataclass
class Opinion:
    """What a customer thinks."""

    mood: Literal["good", "bad"]
    stars: int | None
    sure: bool = True
    reasons: list[str] | None = None
    share: float = 0.0
    word: str = ""


def test_a_schema_gives_columns_of_its_types(serve):
    said = {
        "a": {
            "mood": "good",
            "stars": 5,
            "sure": True,
            "reasons": ["x"],
            "share": 0.5,
            "word": "w",
        },
        "b": {"mood": "bad", "stars": None, "sure": False, "reasons": None, "share": 1, "word": ""},
    }
    service = serve(lambda prompt, _: answered(json.dumps(said[prompt]) if prompt in said else "?"))
    answers = batch(["a", "b", "none", None], schema=Opinion)
    assert list(answers)[1:8] == ["answer", "mood", "stars", "sure", "reasons", "share", "word"]
    dtypes = answers.dtypes.astype(str)[["mood", "stars", "sure", "reasons", "share"]].tolist()
    assert dtypes == ["category", "Int64", "boolean", "object", "float64"]
    assert answers["mood"].cat.categories.tolist() == ["good", "bad"]
    assert answers["mood"].value_counts().to_dict() == {"good": 1, "bad": 1}
    assert answers["stars"].tolist() == [5, pd.NA, pd.NA, pd.NA]
    assert answers["status"].tolist() == ["ok", "ok", "error", "skipped"]
    assert "no JSON" in answers.loc[2, "error"]
    assert answers.loc[2, "answer"] == "?"
    assert answers.loc[2, "cost_usd"] == COST, "it was paid for, all the same"
    assert len(service.asked) == 3


def test_a_shape_is_checked_for_a_batch_and_not_for_each_of_its_answers(serve, monkeypatch):
    """That took ten times as long as reading the answer."""
    checks, check = [], Draft202012Validator.check_schema
    monkeypatch.setattr(
        Draft202012Validator, "check_schema", lambda schema: checks.append(1) or check(schema)
    )
    serve(lambda *_: answered('{"year": 1815}'))
    shape = {"type": "object", "properties": {"year": {"type": "integer"}}}
    counts = []
    for rows in (1, 5):
        assert batch([str(n) for n in range(rows)], schema=shape)["year"].tolist() == [1815] * rows
        counts.append(len(checks) - sum(counts))
    assert counts[0] == counts[1] > 0


def test_answers_of_another_shape_are_asked_again(serve, tmp_path):
    shape = {"type": "object", "properties": {"year": {"type": "integer"}}, "required": ["year"]}
    serve(lambda _, nth: answered("Sorry" if nth == 1 else '{"year": 1815}'))
    runs = [batch(["a"], schema=shape, store=tmp_path / "a.sqlite3") for _ in range(3)]
    assert [run["status"].item() for run in runs] == ["error", "ok", "cached"]
    assert [run["year"].item() for run in runs[1:]] == [1815, 1815]


LEAST, BEYOND = -(2**63), 89014103211118510720


@pytest.mark.parametrize(
    ("kind", "said", "kept", "dtype"),
    [
        ("integer", [LEAST, 2**63 - 1], [LEAST, 2**63 - 1], "Int64"),
        ("integer", [BEYOND, 7], [BEYOND, 7], "object"),
        ("integer", [1e300, 7], [1e300, 7], "object"),
        ("integer", [3.0, 7], [3, 7], "Int64"),
        ("number", [BEYOND, 0.5], [BEYOND, 0.5], "object"),
        ("number", [10**400, 0.5], [10**400, 0.5], "object"),
        ("number", [-0.0, 2**53], [0.0, 2**53], "float64"),
        (["integer", "null"], [BEYOND, None], [BEYOND, None], "object"),
        ("array", [[BEYOND], []], [[BEYOND], []], "object"),
    ],
    ids=str,
)
def test_a_figure_that_its_dtype_cannot_hold_is_kept(serve, tmp_path, kind, said, kept, dtype):
    shape = {"type": "object", "properties": {"code": {"type": kind}}, "required": ["code"]}
    serve(lambda prompt, _: answered(json.dumps({"code": said[int(prompt)]})))
    for status in ("ok", "cached"):
        answers = batch(["0", "1"], schema=shape, store=tmp_path / "a.sqlite3")
        assert answers["status"].tolist() == [status] * 2
        assert (answers["code"].tolist(), str(answers["code"].dtype)) == (kept, dtype)


@pytest.mark.parametrize("said", ['{"x": 1e400}', '{"x": [{"y": -1e400}]}', '{"z": 1e999}'])
def test_a_figure_beyond_the_floats_is_an_error_with_its_place(serve, said):
    from pydantic import BaseModel, ConfigDict

    class Any(BaseModel):
        model_config = ConfigDict(extra="allow")
        x: object = None

    serve(lambda *_: answered(said))
    for shape in ({"type": "object"}, {"type": "object", "properties": {"x": {}}}, Any):
        answers = batch(["a"], schema=shape, resume=False)
        assert answers["status"].tolist() == ["error"]
        assert re.search(
            r"at (x|x\[0\]\.y|z): expected a number up to 1\.8e308", answers.loc[0, "error"]
        )
        assert answers.loc[0, "answer"] == said


def test_a_value_that_pydantic_writes_otherwise_is_kept(serve):
    from pydantic import BaseModel, field_serializer

    class Way(BaseModel):
        length: int
        is_open: bool

        @field_serializer("length")
        def _length(self, value: int) -> str:
            return f"{value} km"

        @field_serializer("is_open")
        def _open(self, value: bool) -> str:
            return "yes" if value else "no"

    serve(lambda *_: answered('{"length": 3, "is_open": true}'))
    answers = batch(["a"], schema=Way)
    assert answers.loc[0, ["length", "is_open"]].tolist() == ["3 km", "yes"]


def test_figures_of_a_service_that_no_dtype_holds_cost_no_answer(serve, tmp_path):
    usage = {"prompt_tokens": 10**30, "completion_tokens": 2, "cost": 0.5}
    ended = event(choices=[], usage=usage) + DONE + END
    serve(lambda *_: [STREAM, delta("Yes", "stop") + ended])
    for status in ("ok", "cached"):
        answers = batch(["a"], store=tmp_path / "a.sqlite3")
        assert answers.loc[0, ["answer", "status"]].tolist() == ["Yes", status]
        assert answers.loc[0, ["completion_tokens", "cost_usd"]].tolist() == [2, 0.5]


def test_a_schema_without_properties_is_one_column(serve):
    serve(lambda *_: answered('{"x": 1}'))
    answers = batch(["a"], schema={"type": "object"})
    assert answers["parsed"].tolist() == [{"x": 1}]


def test_pydantic_models_read_by_their_own_rules(serve):
    from pydantic import BaseModel, field_validator

    class Year(BaseModel):
        year: int

        @field_validator("year")
        @classmethod
        def _later(cls, value: int) -> int:
            return value + 1

    serve(lambda *_: answered('{"year": 1814}'))
    assert batch(["a"], schema=Year)["year"].tolist() == [1815]


def test_a_property_with_the_name_of_a_column_is_refused(serve):
    serve()
    with pytest.raises(ConfigError, match="'status' would be a column that every batch has"):
        batch(["a"], schema={"type": "object", "properties": {"status": {"type": "string"}}})
    frame = pd.DataFrame({"text": ["a"], "mood": ["?"]})
    with pytest.raises(ConfigError, match="'mood' already"):
        batch(frame, schema={"type": "object", "properties": {"mood": {"type": "string"}}})


@pytest.mark.parametrize(
    ("node", "dtype"),
    [
        ({"type": "string"}, "str"),
        ({"type": ["integer", "null"]}, "Int64"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "float64"),
        ({"enum": ["a", "b", None]}, "category"),
        ({"enum": [1, 2]}, "object"),
        ({"type": ["integer", "string"]}, "object"),
        ({"type": "array"}, "object"),
        (True, "object"),
    ],
)
def test_types_of_properties(node, dtype):
    assert Shape({"type": "object", "properties": {"x": node}}).dtypes == {"x": dtype}


# --- interrupted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("store", [None, "file"])
def test_an_interrupt_keeps_what_there_is_and_the_same_call_goes_on(serve, tmp_path, store):
    def script(prompt, nth):
        if nth == 1 and prompt == "text 10":
            os.kill(os.getpid(), signal.SIGINT)
            return [STREAM, delta("beg"), "stall"]
        return None

    service = serve(script)
    store = tmp_path / "a.sqlite3" if store else None
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match="10 of 20 rows are answered") as caught:
        batch(texts(20), concurrency=1, store=store)
    assert time.monotonic() - began < SOON_S, "the stalled call was cut"
    frame = caught.value.frame
    assert isinstance(caught.value, BatchInterrupted)
    assert frame["status"].tolist() == ["ok"] * 10 + ["stopped"] + ["skipped"] * 9
    assert frame["error"].iloc[-1] == "interrupted"
    assert session.usage.df["status"].tolist() == ["ok"] * 10 + ["stopped"]
    again = batch(texts(20), store=store)
    assert again["status"].tolist() == ["cached"] * 10 + ["ok"] * 10
    assert Counter(service.asked) == Counter([*texts(20), "text 10"])
    if store is None:  # finished now, so nothing is remembered
        assert batch(texts(20))["status"].tolist() == ["ok"] * 20


def test_what_was_stopped_stays_set_aside_in_the_budget(serve):
    def script(*_):
        os.kill(os.getpid(), signal.SIGINT)
        return [STREAM, delta("beg"), "stall"]

    serve(script)
    with ornb.budget(1) as budget, pytest.raises(KeyboardInterrupt):
        batch(texts(5), concurrency=1)
    assert budget.reserved_usd == 0
    assert budget.held_usd == session.quote("text 0", MODEL, max_tokens=100).worst_usd


KILLED = """
import os, sys
import ornb
ornb.connect(base_url=sys.argv[1])
data = [f"text {i}" for i in range(20)]
ornb.batch(data, None, "acme/orbit", max_tokens=100, store=sys.argv[2], concurrency=4)
"""


def test_a_kernel_that_is_killed_pays_for_nothing_twice(serve, tmp_path):
    held = threading.Event()

    def script(prompt, _):
        if prompt not in texts(12):
            held.wait(STALL_S)
        return

    service, path = serve(script), tmp_path / "a.sqlite3"
    process = subprocess.Popen([sys.executable, "-c", KILLED, service.url, str(path)])

    def kept():
        if not path.exists():
            return 0
        with closing(sqlite3.connect(path)) as connection, connection:
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
            if (TABLE,) not in tables:
                return 0
            return connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0]

    until(lambda: kept() >= 12 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait(STALL_S)
    held.set()
    answers = batch(texts(20), None, store=path)
    assert answers["status"].tolist() == ["cached"] * 12 + ["ok"] * 8
    assert answers["answer"].tolist() == [f"said text {i}" for i in range(20)]
    counts = Counter(service.asked)
    assert all(counts[text] == 1 for text in texts(12))
    assert all(counts[text] <= 2 for text in texts(20)), "only what was under way"
    assert answers["cost_usd"].sum() == pytest.approx(20 * COST)


# --- executors ------------------------------------------------------------------------------------


def same_as_the_ledger(frame):
    """Whether what the rows of a first run say is what the usage table says."""
    calls = session.usage.df
    rows = frame[frame["status"] != "cached"]
    assert sorted(calls["generation_id"].dropna()) == sorted(rows["generation_id"].dropna())
    for column in ("prompt_tokens", "completion_tokens", "cost_usd", "estimate_usd"):
        assert calls[column].sum() == pytest.approx(rows[column].sum())
    return len(calls) == len(rows)


def test_the_usage_table_has_the_same_rows_and_sums(serve):
    serve()
    answers = batch([*texts(30), *texts(5)], label="lesson", concurrency=16)
    assert same_as_the_ledger(answers)
    assert set(session.usage.df["label"]) == {"lesson"}
    assert answers["estimate_usd"].iloc[0] == 0.00014


def test_threads_of_ones_own_are_left_running(serve):
    serve()
    with ThreadPoolExecutor(3) as pool:
        assert set(batch(texts(9), executor=pool)["status"]) == {"ok"}
        assert pool.submit(int).result() == 0


def test_no_more_calls_are_under_way_than_asked_for(serve):
    lock, now, most, five = threading.Lock(), [0], [0], threading.Barrier(5)

    def script(prompt, _):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        if prompt in texts(5):
            five.wait(STALL_S)  # passed only if all five are under way together

        def steps():
            yield STREAM
            yield 0.01
            with lock:
                now[0] -= 1
            yield delta(prompt, "stop") + event(choices=[], usage=USAGE) + DONE + END

        return steps()

    serve(script)
    batch(texts(40), concurrency=5)
    assert most[0] == 5


class Counting(ThreadPoolExecutor):
    """How many pieces of work were handed out and are not done."""

    most = 0

    def submit(self, *args, **kwargs):
        future = super().submit(*args, **kwargs)
        self.open = getattr(self, "open", set()) | {future}
        self.open = {each for each in self.open if not each.done()}
        self.most = max(self.most, len(self.open))
        return future


def test_work_is_handed_out_little_by_little(serve):
    serve()
    with Counting(2) as pool:
        batch(texts(60), executor=pool, concurrency=6)
        assert pool.most <= 6


def test_where_no_thread_can_be_started_calls_go_one_by_one(serve, monkeypatch):
    serve()
    monkeypatch.setattr("ornb.runs.run.own_executor", lambda _: InTurn())
    answers = batch(texts(3), None)
    assert answers["status"].tolist() == ["ok"] * 3


def test_an_executor_that_is_shut_down_loses_nothing(serve):
    service = serve()
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with ornb.budget(1) as budget:
        answers = batch(texts(2), executor=pool)
    assert answers["status"].tolist() == ["skipped"] * 2
    assert "takes no work" in answers["error"].iloc[0]
    assert (service.asked, budget.reserved_usd, len(session.usage)) == ([], 0, 0)


class Failing(ThreadPoolExecutor):
    """Loses every second piece of work."""

    count = 0

    def submit(self, fn, *args, **kwargs):
        self.count += 1
        if self.count % 2:
            return super().submit(fn, *args, **kwargs)
        future: Future = Future()
        future.set_exception(MemoryError("out of memory"))
        return future


def test_a_worker_that_breaks_is_a_row_with_an_error(serve):
    serve()
    with Failing(2) as pool, ornb.budget(1) as budget:
        answers = batch(texts(4), executor=pool)
    assert answers["status"].tolist() == ["ok", "error"] * 2
    assert "MemoryError: out of memory" in answers["error"].iloc[1]
    assert budget.reserved_usd == 0
    assert budget.held_usd > 0, "whether it was sent nobody knows"


def test_processes_do_as_well(serve, tmp_path):
    service = serve(api_key=KEY, headers={"X-Gateway": GATEWAY})
    with ProcessPoolExecutor(2, get_context("spawn")) as pool, ornb.budget(1) as budget:
        answers = batch([*texts(8), "text 0"], executor=pool, store=tmp_path / "a.sqlite3")
    assert answers["answer"].tolist() == [f"said text {i}" for i in [*range(8), 0]]
    assert set(service.keys) == {KEY.encode()}, "it travelled through the pipe"
    assert set(service.gateways) == {GATEWAY}, "so did that"
    assert same_as_the_ledger(answers)
    assert (budget.calls, budget.spent_usd) == (8, 8 * Decimal("0.0005"))
    assert answers["time_to_first_token_s"].notna().sum() == 8


class FarAway(Executor):
    """As an executor whose workers are on other machines: what is pickled goes over a network."""

    def submit(self, fn, *args, **kwargs):
        work = pickle.dumps((fn, args, kwargs))
        assert KEY.encode() not in work
        assert GATEWAY.encode() not in work
        fn, args, kwargs = pickle.loads(work)
        return InTurn().submit(fn, *args, **kwargs)


def test_to_other_machines_no_key_and_no_header_goes(serve, monkeypatch):
    service = serve(api_key=KEY, headers={"X-Gateway": GATEWAY, "X-Team": "red"})
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    missing = batch(["a"], executor=FarAway())
    assert "no ORNB_HEADERS in its environment" in missing["error"].iloc[0]
    monkeypatch.setenv("ORNB_HEADERS", '{"X-Gateway": "of somebody else"}')
    other = batch(["b"], executor=FarAway())
    assert "another ORNB_HEADERS than yours" in other["error"].iloc[0]
    assert service.asked == []
    monkeypatch.setenv("ORNB_HEADERS", json.dumps({"X-Team": "red", "X-Gateway": GATEWAY}))
    assert batch(["c"], executor=FarAway())["status"].tolist() == ["ok"]
    assert service.gateways == [GATEWAY]


def test_what_a_connection_asks_for_is_asked_for_elsewhere_too(serve):
    service = serve(router_metadata=True, response_cache=60)
    batch(["a"], executor=FarAway())
    head = next(head for head, _ in service.requests if head.startswith(b"POST"))
    for line in (b"X-OpenRouter-Metadata: enabled", b"X-OpenRouter-Cache-TTL: 60"):
        assert line + b"\r\n" in head


def test_processes_reach_the_offline_server(serve):
    serve()
    ornb.connect(offline=True)
    session.usage.clear()
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        answers = batch(["a", "b"], executor=pool, max_tokens=3)
    assert answers["source"].tolist() == ["canned"] * 2
    assert same_as_the_ledger(answers)


def test_errors_of_processes_come_back_whole(serve):
    serve(lambda *_: refused(429, "Slow", Retry_After="0"), retries=0)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        answers = batch(["a"], executor=pool)
    assert answers.loc[0, ["status", "attempts"]].tolist() == ["error", 4]


def test_a_worker_that_is_killed_is_an_error_and_the_rest_goes_on_later(serve):
    pids = []

    def script(prompt, nth):
        if prompt == "text 1" and nth == 1:
            os.kill(pids[0], signal.SIGKILL)
            return [5.0]
        return None

    serve(script)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pids.append(pool.submit(os.getpid).result())
        answers = batch(texts(6), executor=pool, concurrency=2)
    assert answers["status"].iloc[0] == "ok"
    assert answers["status"].iloc[1] == "error"
    assert "skipped" in set(answers["status"])
    assert batch(texts(6))["status"].tolist() == ["cached"] + ["ok"] * 5


def test_answers_that_come_after_an_interrupt_are_kept(serve):
    held = threading.Event()

    def script(prompt, nth):
        if nth > 1:
            return
        if prompt == "text 1":
            os.kill(os.getpid(), signal.SIGINT)
        held.wait(STALL_S)
        return

    service = serve(script)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        with pytest.raises(KeyboardInterrupt) as caught:
            batch(texts(4), executor=pool, concurrency=2)
        assert set(caught.value.frame["status"]) == {"stopped", "skipped"}
        held.set()
    assert session.usage.df["status"].tolist() == ["ok", "ok"]
    again = batch(texts(4))
    assert again["status"].tolist() == ["cached", "cached", "ok", "ok"]
    assert Counter(service.asked) == Counter(texts(4))


# --- the key --------------------------------------------------------------------------------------


def test_no_repr_shows_the_key(serve):
    serve(api_key=KEY)
    pool = ProcessPoolExecutor(1)
    address = address_of(ornb.client(), pool)
    assert KEY not in repr(address)
    assert pickle.loads(pickle.dumps(address)) == address
    pool.shutdown()
    far = address_of(ornb.client(), InTurn())
    assert KEY.encode() not in pickle.dumps(far)


# --- a cluster ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    """Two processes of Dask that have KEY; the suite's warnings are not their own."""
    import dask
    from distributed import Client, LocalCluster

    dask.config.set({"distributed.comm.timeouts.connect": "30s"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENROUTER_API_KEY", KEY)
        made = LocalCluster(
            n_workers=2, threads_per_worker=4, processes=True, dashboard_address=None
        )
    with made, Client(made) as client:
        yield client


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_dask_cluster_does_as_well(serve, cluster, tmp_path):
    service = serve(api_key=KEY)
    pool = cluster.get_executor()
    with ornb.budget(1) as budget:
        answers = batch(
            [*texts(24), *texts(4)], executor=pool, concurrency=8, store=tmp_path / "a.sqlite3"
        )
    assert answers["status"].tolist() == ["ok"] * 24 + ["cached"] * 4
    assert answers["answer"].iloc[23] == "said text 23"
    assert Counter(service.asked) == Counter(texts(24))
    assert set(service.keys) == {KEY.encode()}
    assert same_as_the_ledger(answers)
    assert budget.spent_usd == 24 * Decimal("0.0005")

    ornb.connect("sk-or-v1-somebody-elses", service.url)
    other = batch(texts(30), executor=pool, concurrency=2, resume=False)
    assert "another OPENROUTER_API_KEY than yours" in other["error"].iloc[-1]
    assert set(other["status"]) == {"error", "skipped"}
    assert len(service.asked) == 24, "no key of somebody else's pays"

    ornb.connect(offline=True)
    offline = batch(["a", "b"], executor=pool, max_tokens=3)
    assert offline["source"].tolist() == ["canned"] * 2


# --- the pages ------------------------------------------------------------------------------------


def test_the_page_on_tables_describes_a_batch():
    page = (DOCS / "tables.md").read_text(encoding="utf-8")
    table = page.split("\n## Batch\n")[1].split("\n| --- | --- | --- |\n")[1]
    rows = [line.strip("| ").split(" | ") for line in table.split("\n\n")[0].splitlines()]
    assert rows == [[f"`{n}`", dtype, meaning] for n, (dtype, meaning) in BATCH_COLUMNS.items()]


def test_the_examples_of_the_page_run():
    ornb.connect(offline=True)
    failed, tried = doctest.testfile(
        str(DOCS / "batch.md"),
        module_relative=False,
        globs={"ornb": ornb},
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert tried > 5
    assert failed == 0


def test_the_page_names_every_argument():
    import inspect

    page = (DOCS / "batch.md").read_text(encoding="utf-8")
    module = importlib.import_module("ornb.runs.batch")
    missing = [name for name in inspect.signature(module.batch).parameters if name not in page]
    assert missing == []


def test_a_batch_of_a_model_that_is_none_says_why_once_and_stops(capsys):
    ornb.connect(offline=True)
    answers = ornb.batch([f"text {n}" for n in range(40)], model="openai/gpt4o-mini")
    assert set(answers["status"]) == {"error", "skipped"}
    assert answers["error"].str.contains("Did you mean openai/gpt-4o-mini").all()
    said = capsys.readouterr()
    last = said.out.splitlines()[-1]
    assert re.match(
        r"\d+ rows failed and \d+ rows skipped; the last: openai/gpt4o-mini is not", last
    )
    assert said.out.count("is not a valid model ID") == 1
    assert "0/40" in said.err
    assert "40/40" not in said.err, "a bar that is full would look like a success"
    assert re.search(r"\d+ failed", said.err)


# --- resumed elsewhere than on threads ------------------------------------------------------------


def interrupted_then_resumed(serve, pool, store):
    """Stop a batch at its sixth text, and run the same again on the same executor."""
    held = threading.Event()

    def script(prompt, nth):
        if nth > 1 or prompt in texts(5):
            return
        if prompt == "text 5":
            os.kill(os.getpid(), signal.SIGINT)
        held.wait(STALL_S)
        return

    service = serve(script, api_key=KEY)
    with pytest.raises(KeyboardInterrupt) as caught:
        batch(texts(12), executor=pool, concurrency=2, store=store)
    first = caught.value.frame
    held.set()
    again = batch(texts(12), executor=pool, concurrency=2, store=store)
    assert set(first["status"]) == {"ok", "stopped", "skipped"}
    # Two at once: when the sixth was asked, one of the first five may not have come back.
    assert first["status"].tolist()[:5].count("ok") >= 4
    assert set(again["status"]) == {"cached", "ok"}
    assert again["answer"].tolist() == [f"said text {i}" for i in range(12)]
    paid = Counter(service.asked)
    done = [
        text for text, status in zip(first["text"], first["status"], strict=True) if status == "ok"
    ]
    assert all(paid[text] == 1 for text in done)
    assert all(paid[text] <= 2 for text in texts(12)), "only what was under way"
    assert sum(paid.values()) <= 14


def test_processes_go_on_where_they_were_stopped(serve, tmp_path):
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        interrupted_then_resumed(serve, pool, tmp_path / "a.sqlite3")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_dask_cluster_goes_on_where_it_was_stopped(serve, cluster, tmp_path):
    interrupted_then_resumed(serve, cluster.get_executor(), tmp_path / "a.sqlite3")
