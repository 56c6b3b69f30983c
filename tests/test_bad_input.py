"""What a person may do wrong, from the cell down to the wire: one message, one row, and on."""

from __future__ import annotations

import socket

import pytest
from wire import WireServer, whole

import ornb
from ornb import errors
from tests.page import printed

PAGE = whole(b"<html><title>Company sign-in</title></html>", 502, "text/html")


@pytest.fixture(autouse=True)
def _fresh(anew):
    anew(announced=True)
    ornb.usage.clear()


@pytest.fixture
def nobody_there() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}/api/v1"


def wrong_key(_) -> None:
    ornb.connect("sk-or-v1-wrong", base_url=ornb.connect(offline=True).base_url)


def no_server(url) -> None:
    ornb.connect(base_url=url, retries=0)


def a_page(_) -> None:
    ornb.connect(base_url=WireServer([PAGE]).url, retries=0)


def offline(_) -> None:
    ornb.connect(offline=True)


CASES = [
    pytest.param(wrong_key, "openai/gpt-4o-mini", "Hi", errors.AuthenticationError, id="wrong key"),
    pytest.param(offline, "nobody/nothing", "Hi", errors.BadRequest, id="unknown model"),
    pytest.param(offline, "openai/gpt-4o-mini", "  ", errors.ConfigError, id="empty prompt"),
    pytest.param(no_server, "a/b", "Hi", errors.ConnectionFailed, id="no server"),
    pytest.param(a_page, "a/b", "Hi", errors.ProviderUnavailable, id="a proxy's page"),
]


@pytest.mark.parametrize(("connect", "model", "prompt", "kind"), CASES)
def test_a_bad_call_is_one_message_and_one_row(connect, model, prompt, kind, nobody_there) -> None:
    connect(nobody_there)
    with pytest.raises(kind) as caught:
        ornb.ask(prompt, model)
    message = str(caught.value)
    assert len(message) < 500
    assert "\n" not in message
    assert message.endswith((".", ")")), "it says what to do next"
    assert printed(caught.value) == [f"{kind.__name__}: {message}"]
    assert ornb.usage.df[["status", "error"]].to_numpy().tolist() == [["error", message]]
    ornb.connect(offline=True)
    assert ornb.ask("Hi", "openai/gpt-4o-mini").status == "ok"


@pytest.mark.parametrize(("connect", "model", "prompt", "kind"), CASES)
def test_a_chat_is_usable_again_after_it(connect, model, prompt, kind, nobody_there) -> None:
    connect(nobody_there)
    chat = ornb.Chat(model)
    with pytest.raises(kind):
        chat.ask(prompt)
    assert len(ornb.usage) == 1
    ornb.connect(offline=True)
    chat.model = "openai/gpt-4o-mini"
    assert chat.ask("Hi").status == "ok"
    chat.close()


def test_a_prompt_of_four_megabytes_is_answered_or_refused_in_one_message() -> None:
    ornb.connect(offline=True)
    reply = ornb.ask("word " * 800_000, "openai/gpt-4o-mini")
    assert reply.usage.prompt_tokens > 500_000
    with pytest.raises(errors.PayloadTooLarge) as caught:
        ornb.ask("word " * 5_000_000, "openai/gpt-4o-mini")
    assert len(str(caught.value)) < 500
    assert ornb.usage.df["status"].tolist() == ["ok", "error"]


@pytest.mark.parametrize("kind", [errors.ConfigError, errors.NotFound, errors.BudgetExceeded])
def test_a_message_keeps_both_its_ends_and_is_short_whatever_it_repeats(kind) -> None:
    said = str(kind(f"There is no {'9' * 10**6}: look at ornb.models()."))
    assert said.startswith("There is no 999")
    assert said.endswith("999: look at ornb.models().")
    assert len(said) < 1_000


def test_damaged_catalogue_records_are_named_and_the_rest_is_shown() -> None:
    records = [{"name": "no id"}, {"id": "acme/orbit", "pricing": {"prompt": None}}, {"id": "a/b"}]
    with WireServer([whole({"data": records})]) as server:
        ornb.connect(base_url=server.url)
        models = ornb.models()
        picker = ornb.ModelPicker(value="acme/orbit")
    assert models.index.tolist() == ["acme/orbit", "a/b"]
    assert any("id" in note for note in models.attrs["notes"])
    assert picker.selected.index.tolist() == ["acme/orbit"]
    picker.close()
