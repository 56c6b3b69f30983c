"""A class: names in, keys with a limit out, on the offline server and on one that fails."""

from __future__ import annotations

import csv
import json
import os
import pickle
import resource
import signal
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from wire import WireServer, whole

import ornb
from ornb import errors
from ornb.api.client import Client, Secret
from ornb.offline import OfflineServer
from ornb.runs.classroom import CLASS_COLUMNS, CLASS_USAGE_COLUMNS, Classroom

DOCS = Path(__file__).parents[1] / "docs"
MANAGER = "a-management-key"
TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture(scope="module")
def service() -> Iterator[OfflineServer]:
    with OfflineServer(model="off", management_key=MANAGER) as running:
        yield running


@pytest.fixture
def plan(service: OfflineServer, request: pytest.FixtureRequest) -> Any:
    """Begins a class of this test's own."""

    def begin(students: Any, limit_usd: Any = "0.50", **more: Any) -> Classroom:
        more = {"title": request.node.name, "management_key": MANAGER, **more}
        return ornb.classroom(students, limit_usd, base_url=service.base_url, **more)

    return begin


def as_manager(service: OfflineServer, path: str, method: str = "GET", **more: Any) -> Any:
    headers = {"Authorization": f"Bearer {MANAGER}"}
    url = service.base_url + path
    return requests.request(method, url, headers=headers, timeout=60, **more)


# --- the plan, and the keys -----------------------------------------------------------------------


def test_nothing_is_made_before_it_is_asked_for(plan, service) -> None:
    before = as_manager(service, "/keys").json()["data"]
    room = plan(["Ada", "Ben"])
    assert "No student has a key: .make() makes 2 keys." in repr(room)
    assert "From then on they can cost at most $1.00 in all." in repr(room)
    assert "From now on" not in repr(room)
    assert as_manager(service, "/keys").json()["data"] == before


def test_each_student_gets_a_key_that_answers(plan, service) -> None:
    keys = plan(["Ada", "Ben"]).make().hand_out()
    assert sorted(keys) == ["Ada", "Ben"]
    client = Client(keys["Ada"], service.base_url)
    assert client.chat("Hi").text
    assert (client.key()["limit"], client.key()["is_management_key"]) == (0.5, False)


def test_keys_are_given_once(plan) -> None:
    room = plan(["Ada"]).make()
    assert room.df["is_held"].all()
    assert room.hand_out()
    assert room.hand_out() == {}
    assert not room.df["is_held"].any()


def test_a_table_says_what_holds_for_one_student(plan) -> None:
    table = pd.DataFrame({"name": ["Ada", "Ben"], "limit_usd": [3, None], "age": [9, 10]})
    room = plan(table, 1, limit_reset="weekly", expires_at=TOMORROW).make()
    assert room.df["limit_usd"].tolist() == [3, 1]
    assert room.df["limit_reset"].tolist() == ["weekly"] * 2
    assert room.df["expires_at"].iloc[0] == pd.Timestamp(TOMORROW.replace(microsecond=0))


def test_a_file_of_numbers_names_students_too(plan, tmp_path) -> None:
    (tmp_path / "class.csv").write_text("name,limit_usd\n4711,0.25\n4712,\n")
    room = plan(tmp_path / "class.csv", 1)
    assert room.df["student"].tolist() == ["4711", "4712"]
    assert room.worst_usd == 1.25


@pytest.mark.parametrize(
    ("reset", "days", "most"), [(None, 9, 2.0), ("daily", 9, 20.0), ("daily", None, None)]
)
def test_the_most_it_can_cost_counts_each_reset(plan, reset, days, most) -> None:
    end = None if days is None else datetime.now(UTC) + timedelta(days=days)
    room = plan(["Ada"], 2, limit_reset=reset, expires_at=end)
    assert room.worst_usd == most
    assert room.make().worst_usd == most
    if most is None:
        assert "can cost any amount" in repr(room)


def test_a_limit_that_begins_anew_at_the_very_end_does_not_count(plan) -> None:
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=2)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert plan(["Ada"], 1, limit_reset="daily", expires_at=midnight).worst_usd == 2
    weeks = 7 - now.weekday() <= 1
    assert plan(["Ada"], 1, limit_reset="weekly", expires_at=midnight).worst_usd == 1 + weeks


def test_a_class_is_found_again(plan) -> None:
    plan(["Ada", "Ben"]).make()
    again = plan(["Ada", "Ben", "Cy"]).make()
    assert list(again.hand_out()) == ["Cy"]
    assert again.df["status"].tolist() == ["active"] * 3


def test_a_paused_key_is_found_again_and_not_made_twice(plan) -> None:
    plan(["Ada"]).make().pause()
    again = plan(["Ada"]).make()
    assert again.df["status"].tolist() == ["paused"]
    assert again.hand_out() == {}


def test_a_key_that_has_ended_is_found_again_and_costs_nothing() -> None:
    pages = listed(record_of("Ada", expires_at="2026-01-01T00:00:00Z", limit_reset="daily"))
    with WireServer(*pages) as server:
        room = ornb.classroom(["Ada"], 1, title="T", management_key=MANAGER, base_url=server.url)
        assert b"include_expired=true" in server.requests[0][0]
    assert room.df["status"].tolist() == ["expired"]
    assert room.worst_usd == 0


def test_more_students_than_a_page_are_all_found(plan) -> None:
    names = [f"student {n}" for n in range(130)]
    plan(names, 1).make()
    again = plan(names, 1)
    assert "130 active" in repr(again)
    again.close()
    assert "130 without a key" in repr(plan(names, 1))


# --- what is done with them afterwards ------------------------------------------------------------


def test_a_paused_key_is_refused_until_it_is_resumed(plan, service) -> None:
    room = plan(["Ada", "Ben"]).make()
    ada, ben = (Client(key, service.base_url) for key in room.hand_out().values())
    room.pause("Ada")
    assert room.df["status"].tolist() == ["paused", "active"]
    with pytest.raises(errors.AuthenticationError):
        ada.chat("Hi")
    assert ben.chat("Hi").text
    room.resume()
    assert ada.chat("Hi").text


def test_a_raised_limit_is_the_services(plan, service) -> None:
    room = plan(["Ada", "Ben"]).make()
    room.raise_limit("1.50", "Ben")
    assert room.df["limit_usd"].tolist() == [0.5, 1.5]
    assert Client(room.hand_out()["Ben"], service.base_url).key()["limit"] == 1.5


def test_a_deleted_key_is_refused(plan, service) -> None:
    room = plan(["Ada"]).make()
    client = Client(room.hand_out()["Ada"], service.base_url)
    room.close("Ada")
    with pytest.raises(errors.AuthenticationError):
        client.chat("Hi")
    assert "1 without a key" in repr(room)


def test_what_a_class_can_cost_says_that_it_counts_keys_to_be_made(plan) -> None:
    room = plan(["Ada", "Ben"]).make()
    room.close("Ada")
    assert "at most $1.00 in all.\n.make() makes 1 key, counted in that." in repr(room)


def test_a_key_that_somebody_else_deleted_is_closed(plan, service) -> None:
    room = plan(["Ada"]).make()
    for record in as_manager(service, "/keys").json()["data"]:
        as_manager(service, f"/keys/{record['hash']}", "DELETE")
    room.close()
    assert "1 without a key" in repr(room)
    assert "No student has a key: .make() makes 1 key." in repr(room)  # one was made before
    assert "From now on" not in repr(room)


def test_usage_is_by_student_and_model(plan, service) -> None:
    room = plan(["Ada", "Ben"]).make()
    reply = Client(room.hand_out()["Ada"], service.base_url).chat("Hi")
    used = room.usage().set_index("student")
    assert used.loc["Ada", ["model", "requests"]].tolist() == ["ornb/canned", 1]
    assert used.loc["Ada", "completion_tokens"] == reply.usage.completion_tokens
    assert used.loc["Ben", ["requests", "cost_usd"]].tolist() == [0, 0]


def record_of(name: str, **more: Any) -> dict[str, Any]:
    return {"hash": f"of {name}", "name": f"T: {name}", "limit": 1, "usage": 0, **more}


def made(name: str) -> bytes:
    return whole({"key": f"sk-or-v1-{name}", "data": record_of(name)}, 201)


def listed(*records: dict[str, Any]) -> tuple[list[bytes], ...]:
    """The pages of a list: its records, and an empty one."""
    return [whole({"data": [*records]})], *([[whole({"data": []})]] if records else [])


def test_costs_of_a_student_add_up_to_what_the_key_has_spent() -> None:
    """Finished days by model; today is told of the key alone."""
    day = {"date": "2026-11-29", "model": "a/b", "requests": 2, "prompt_tokens": 5, "usage": 0.1}
    days = [day, {**day, "date": "2026-11-28", "usage": 0.2}]
    ada = record_of("Ada", usage=0.37, byok_usage=0)
    pages = listed(ada)
    with WireServer(*pages, *pages, [whole({"data": days})]) as server:
        room = ornb.classroom(["Ada"], 1, title="T", management_key=MANAGER, base_url=server.url)
        used = room.usage()
        assert b"/activity?api_key_hash=of+Ada" in server.requests[-1][0]
    assert used["cost_usd"].tolist() == [0.3, 0.07]
    assert used["requests"].tolist() == [4, pd.NA]
    assert used["model"].isna().tolist() == [False, True]
    assert used.attrs["source"] == "live"


def test_what_is_asked_for_is_what_was_planned() -> None:
    with WireServer(*listed(), *listed(), [made("Ada")]) as server:
        terms = {"limit_reset": "monthly", "expires_at": "2099-12-24T09:30+02:00", "title": " T "}
        ornb.classroom([" Ada "], 0.1, management_key=MANAGER, base_url=server.url, **terms).make()
        assert json.loads(server.requests[-1][1]) == {
            "name": "T: Ada",
            "limit": 0.1,
            "limit_reset": "monthly",
            "expires_at": "2099-12-24T07:30:00Z",
            "include_byok_in_limit": True,
        }


def test_odd_records_of_the_service_are_survived() -> None:
    odd = [None, "key", {}, {"hash": 3}, {"hash": "a"}, {"hash": "b", "name": "T: Ada"}]
    pages = listed(*odd)
    with WireServer(*pages, [whole({"data": []})], *pages, [whole({"data": []})]) as server:
        room = ornb.classroom(["Ada"], 1, title="T", management_key=MANAGER, base_url=server.url)
        assert room.df["status"].tolist() == ["active"]
        assert room.worst_usd is None
        assert room.usage()["cost_usd"].isna().all()


# --- a failure in the middle ----------------------------------------------------------------------


def test_what_was_made_before_a_failure_is_named_and_held() -> None:
    busy = whole({"error": {"message": "Slow down", "code": 429}}, 429)
    ada = record_of("Ada")
    pages = listed(), listed(), ([made("Ada")], [busy]), listed(ada), ([made("Ben")], [made("Cy")])
    with WireServer(*(script for part in pages for script in part)) as server:
        room = ornb.classroom(
            ["Ada", "Ben", "Cy"], 1, title="T", management_key=MANAGER, base_url=server.url
        )
        with pytest.raises(errors.RateLimited, match="before that: Ada; not: Ben, Cy"):
            room.make()
        assert room.df["is_held"].tolist() == [True, False, False]
        room.make()
    assert sorted(room.hand_out()) == ["Ada", "Ben", "Cy"]


@pytest.mark.parametrize("end", ["refused", "interrupted"])
def test_a_class_that_no_name_was_given_to_is_in_the_exception(end) -> None:
    def interrupt(head: bytes, body: bytes) -> list[str]:
        os.kill(os.getpid(), signal.SIGINT)
        return ["stall"]

    busy = whole({"error": {"message": "Slow down", "code": 429}}, 429)
    pages = (*listed(), *listed(), [made("Ada")], [busy] if end == "refused" else interrupt)
    kind = errors.RateLimited if end == "refused" else KeyboardInterrupt
    given: Any = {"title": "T", "management_key": MANAGER}
    with WireServer(*pages) as server, pytest.raises(kind, match="not: Ben") as caught:
        ornb.classroom(["Ada", "Ben"], 1, base_url=server.url, **given).make()
    error: Any = caught.value
    assert list(error.classroom.hand_out()) == ["Ada"]


def test_a_key_whose_answer_was_lost_is_found_and_can_be_made_anew() -> None:
    pages = (*listed(), *listed(), ["reset"], *listed(record_of("Ada")), [whole({"deleted": True})])
    with WireServer(*pages) as server:
        room = ornb.classroom(["Ada"], 1, title="T", management_key=MANAGER, base_url=server.url)
        with pytest.raises(errors.TransportError, match="not: Ada"):
            room.make()
        assert room.make().df[["status", "is_held"]].values.tolist() == [["active", False]]
        room.close("Ada")
        assert "1 without a key" in repr(room)


@pytest.mark.parametrize("said", [b"", b"<html>", b'{"error": {"code": 500}}'])
def test_a_change_that_the_service_does_not_confirm_is_not_believed(said: bytes) -> None:
    pages = listed(record_of("Ada"))
    with WireServer(*pages, [whole(said)]) as server:
        room = ornb.classroom(["Ada"], 1, title="T", management_key=MANAGER, base_url=server.url)
        for change in (room.pause, room.close):
            with pytest.raises(errors.UnexpectedAnswer, match="before that: nobody; not: Ada"):
                change()
    assert room.df["status"].tolist() == ["active"]


def test_two_keys_of_one_name_at_the_service_are_told_of() -> None:
    twins = record_of("Ada"), {**record_of("Ada"), "hash": "another"}
    with (
        WireServer(*listed(*twins)) as server,
        pytest.raises(errors.ConfigError, match="two keys named 'T: Ada'"),
    ):
        ornb.classroom(["Ada"], 1, title="T", management_key=MANAGER, base_url=server.url)


@pytest.mark.parametrize(
    "said",
    [b"[1]", b"{", b"{}", b'{"key": null, "data": {"hash": "a"}}', b'{"key": "xyzxyz", "data": 1}'],
)
def test_an_answer_without_a_key_and_its_record_is_refused_and_not_repeated(said: bytes) -> None:
    with WireServer(*listed(), *listed(), [whole(said)]) as server:
        room = ornb.classroom(["Ada"], 1, title="T", management_key=MANAGER, base_url=server.url)
        with pytest.raises(errors.UnexpectedAnswer, match="Check base_url") as caught:
            room.make()
    assert "xyzxyz" not in str(caught.value)


# --- files, and where a key is not ----------------------------------------------------------------


def test_a_file_takes_the_keys_for_its_owner_alone(plan, tmp_path, service) -> None:
    path = tmp_path / "keys.csv"
    room = plan(["Ada, the first", "Ben"]).make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    rows = dict(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    assert list(rows) == ["Ada, the first", "Ben"]
    assert Client(rows["Ben"], service.base_url).key()["limit"] == 0.5
    assert room.hand_out() == {}


def test_no_file_is_written_over_and_nothing_is_made_then(plan, tmp_path) -> None:
    path = tmp_path / "names.csv"
    path.write_text("mine")
    room = plan(["Ada"])
    with pytest.raises(errors.ConfigError, match=r"names\.csv cannot be made \(File exists\)"):
        room.make(path)
    assert path.read_text() == "mine"
    assert "1 without a key" in repr(room)


@pytest.mark.parametrize("path", [5, True, "keys\0.csv"])
def test_what_is_no_path_is_refused_and_nothing_is_made_then(plan, path) -> None:
    room = plan(["Ada"])
    with pytest.raises(errors.ConfigError, match="cannot be made"):
        room.make(path)
    assert "1 without a key" in repr(room)


def test_a_name_without_a_sign_to_show_is_told_apart_by_what_is_seen(plan) -> None:
    """A joiner within a name is a part of it, as in Persian."""
    name = "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627"
    assert list(plan([name]).make().hand_out()) == [name]


def test_keys_that_are_held_go_to_a_file_that_comes_later(plan, tmp_path) -> None:
    room = plan(["Ada"]).make()
    room.make(tmp_path / "keys.csv")
    assert (tmp_path / "keys.csv").read_text().startswith('"Ada",sk-or-v1-')
    assert room.hand_out() == {}


def test_what_a_full_disk_does_not_take_is_held(plan, tmp_path) -> None:
    room, whole_line = plan(["Ada", "Ben"]), len('"Ada",sk-or-v1-') + 64 + 1
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole_line + 20, before[1]))
    try:
        with pytest.raises(errors.ConfigError, match=r"disk full.* before that: Ada; not: Ben"):
            room.make(tmp_path / "keys.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(room.hand_out()) == ["Ben"]


def test_a_class_is_not_pickled(plan) -> None:
    with pytest.raises(TypeError, match="a key is not pickled"):
        pickle.dumps(plan(["Ada"]))


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("students", "terms", "words"),
    [
        (["Ada", " ada "], {}, "Two students are named 'ada'"),
        (["Zo\u00e9", "Zoe\u0301"], {}, "Two students are named"),
        (["Ada", "Ada\u200b"], {}, "Two students are named"),
        (["Ada\ud800"], {}, "A student's name is 'Ada(.ud800|\ufffd)'"),  # as Arrow has it
        (["Ada\ufffd"], {}, "A student's name is 'Ada\ufffd'"),
        (["Ada\x00"], {}, "A student's name is 'Ada.x00'"),
        (["Ada", " "], {}, "A student's name is ' '"),
        (pd.DataFrame({"name;limit_usd": ["Ada;5"]}), {}, "columns are parted by ';'"),
        (["Ada", None], {}, "A student's name is None"),
        ([], {}, "There are no students"),
        (pd.DataFrame({"who": ["Ada"], "age": [9]}), {}, "one column `name`"),
        (pd.DataFrame({"name": ["Ada"], "limit": [1]}), {}, "did you mean 'limit_usd'"),
        (["Ada"], {"limit_usd": None}, "limit_usd=None is not an amount in USD"),
        (["Ada"], {"limit_usd": "lots"}, "'lots' is not an amount"),
        (["Ada"], {"limit_usd": -1}, "-1 is not an amount"),
        (["Ada"], {"limit_usd": True}, "True is not an amount"),
        (["Ada"], {"limit_usd": 0}, "limit_usd is 0"),
        (["Ada"], {"limit_reset": "dayly"}, "did you mean 'daily'"),
        (["Ada"], {"expires_at": "2026-01-01"}, "is in the past"),
        (["Ada"], {"expires_at": "24.12.2027"}, "is no date such as"),
        (["Ada"], {"title": " "}, "title is empty"),
        (["Ada"], {"title": 5}, "title is 5; give a text"),
        (["Ada"], {"management_key": "a b"}, "That is not a key"),
        (["Ada"], {"management_key": None}, "There is no key"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_made(plan, students, terms, words) -> None:
    with pytest.raises(errors.ConfigError, match=words):
        plan(students, **terms)


def test_an_ordinary_key_is_told_what_it_takes(plan, service) -> None:
    with pytest.raises(errors.Forbidden, match="A class needs a management key"):
        plan(["Ada"], management_key=Secret(service.token))
    with pytest.raises(errors.AuthenticationError, match="ordinary one, or not known"):
        plan(["Ada"], management_key="unheard-of")


@pytest.mark.parametrize("url", [3, "http://[bad", "ftp://example.org"])
def test_what_is_no_address_is_refused_before_a_key_is_sent_there(url: Any) -> None:
    with pytest.raises(errors.ConfigError, match="is not an address such as"):
        ornb.classroom(["Ada"], 1, management_key=MANAGER, base_url=url)


def test_a_server_that_makes_no_keys_says_so() -> None:
    missing = whole({"error": {"message": "Not Found"}}, 404)
    with (
        WireServer([missing]) as server,
        pytest.raises(errors.NotFound, match="has no keys to make for others"),
    ):
        ornb.classroom(["Ada"], 1, management_key=MANAGER, base_url=server.url)


def test_who_is_not_in_the_class_is_told_who_is(plan) -> None:
    room = plan(["Ada"]).make()
    with pytest.raises(errors.ConfigError, match="did you mean 'Ada'"):
        room.pause("Adda")
    with pytest.raises(errors.ConfigError, match="Ben has no key"):
        plan(["Ada", "Ben"]).raise_limit(1, "Ben")


# --- the offline server, as others see it ---------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/keys", {}, 400),
        ("POST", "/keys", {"name": ""}, 400),
        ("POST", "/keys", {"name": "a", "limit": -1}, 400),
        ("POST", "/keys", {"name": "a", "limit": 10**400}, 400),
        ("POST", "/keys", {"name": "a", "limit_reset": "hourly"}, 400),
        ("POST", "/keys", {"name": "a", "limit_reset": []}, 400),
        ("POST", "/keys", {"name": "a", "disabled": "no"}, 400),
        ("POST", "/keys", {"name": "a", "include_byok_in_limit": None}, 400),
        ("POST", "/keys", {"name": "a", "expires_at": "2020-01-01T00:00:00Z"}, 400),
        ("POST", "/keys", {"name": "a", "expires_at": "2036-01-01T00:00Z"}, 400),
        ("POST", "/keys", {"name": "a", "expires_at": {"a:": "b:"}}, 400),
        ("POST", "/keys", {"name": "a", "expires_at": "9999-12-31T23:59:59-23:59"}, 400),
        ("GET", "/keys?offset=x", None, 400),
        ("GET", f"/keys?offset={'9' * 5000}", None, 400),
        ("GET", "/keys/none", None, 404),
        ("POST", "/keys/none", {"name": "a"}, 405),
        ("PATCH", "/keys/none", {"limit": 1}, 404),
        ("DELETE", "/keys/none", None, 404),
        ("POST", "/chat/completions", {"messages": []}, 403),
    ],
)
def test_the_server_refuses_as_the_service_does(service, method, path, body, status) -> None:
    answer = as_manager(service, path, method, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, status)


def test_a_change_of_nothing_is_refused(service) -> None:
    made = as_manager(service, "/keys", "POST", json={"name": "a"}).json()["data"]
    answer = as_manager(service, f"/keys/{made['hash']}", "PATCH", json={})
    assert answer.status_code == 400
    assert as_manager(service, f"/keys/{made['hash']}").json()["data"] == made


@pytest.mark.parametrize("path", ["/keys", "/activity"])
def test_the_server_has_keys_and_activity_for_management_keys_alone(service, path) -> None:
    headers = {"Authorization": f"Bearer {service.token}"}
    answer = requests.get(service.base_url + path, headers=headers, timeout=60)
    assert answer.status_code == 403
    assert "Only management keys" in answer.json()["error"]["message"]


# --- the pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "columns"),
    [("### Students", CLASS_COLUMNS), ("### Class usage", CLASS_USAGE_COLUMNS)],
)
def test_the_page_on_tables_describes_those_of_a_class(heading, columns) -> None:
    page = (DOCS / "tables.md").read_text(encoding="utf-8")
    table = page.split(f"\n{heading}\n")[1].split("\n| --- | --- | --- |\n")[1]
    rows = [line.strip("| ").split(" | ") for line in table.split("\n\n")[0].splitlines()]
    assert rows == [[f"`{n}`", dtype, meaning] for n, (dtype, meaning) in columns.items()]


def test_tables_of_nobody_have_the_documented_dtypes(plan) -> None:
    room = plan(["Ada"])
    for frame, columns in ((room.df, CLASS_COLUMNS), (room.usage(), CLASS_USAGE_COLUMNS)):
        found = {name: str(dtype) for name, dtype in frame.dtypes.items()}
        text = str(pd.Series(["a"]).dtype)  # "str" in pandas 3, "object" before
        assert found == {n: text if d == "str" else d for n, (d, _) in columns.items()}
