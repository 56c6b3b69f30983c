"""The sign-in form's Python side: what it does with what was typed, and what is left of it."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from ipywidgets import Widget

import ornb
from ornb import session
from ornb.api import keys
from ornb.api.client import Secret
from ornb.errors import AuthenticationError, ConfigError
from ornb.notebook.key import KeyForm, sign_in
from ornb.offline import OfflineServer
from tests.lab import notebook_of, run_headless
from tests.page import PATIENCE_S, displayed, from_page
from tests.wire import WireServer, whole

SENTINEL = "sk-or-v1-5entine1-of-the-form-tests"
AUTH_PAGE = "https://auth.example/allow"


@pytest.fixture(scope="module")
def server() -> Any:
    """A service whose key is the sentinel."""
    with OfflineServer(model="off", token=SENTINEL) as running:
        yield running


@pytest.fixture(autouse=True)
def _connection_of_before() -> Any:
    """What a test signs in to is left again."""
    yield
    ornb.connect(offline=True)


@pytest.fixture
def form(server: OfflineServer) -> KeyForm:
    return KeyForm(server.base_url, auth_url=AUTH_PAGE)


def type_in(form: KeyForm, **content: Any) -> dict[str, Any]:
    """Do as the page does, and wait for what comes of it."""
    from_page(form, content)
    form.wait(PATIENCE_S)
    assert not form.busy
    return content


def page_state(form: KeyForm, name: str) -> Any:
    """A value as the page has it."""
    return form.get_state()[name]


def code_for(form: KeyForm, server: OfflineServer) -> str:
    """What the sign-in page would show for the link of the form."""
    challenge = page_state(form, "_auth_url").partition("code_challenge=")[2].partition("&")[0]
    answer = requests.post(
        f"{server.base_url}/auth/keys/code",
        json={"code_challenge": challenge, "code_challenge_method": "S256"},
        headers={"Authorization": f"Bearer {server.token}"},
        timeout=60,
    )
    return str(answer.json()["data"]["id"])


# ---- signing in ---------------------------------------------------------------------------------


def test_a_key_is_checked_and_used(form: KeyForm, server: OfflineServer) -> None:
    type_in(form, type="key", key=f" {SENTINEL}\n")
    assert (form.signed_in, form.busy, form.error, form.status) == (True, False, "", "Signed in")
    assert form.facts["Key"] == "ornb offline"
    assert form.key_info is not None
    assert form.key_info.is_free_tier
    client = session.client()
    assert (client.base_url, client.has_key, client.source) == (server.base_url, True, "live")
    assert ornb.ask("Hi", "openai/gpt-4o-mini").source == "canned"


def test_a_code_becomes_a_key_that_is_used(form: KeyForm, server: OfflineServer) -> None:
    type_in(form, type="code", code=code_for(form, server))
    assert (form.signed_in, form.error) == (True, "")
    assert session.client().key()["label"] == "ornb offline"


def test_a_link_serves_until_it_gave_a_key(form: KeyForm, server: OfflineServer) -> None:
    link, code = page_state(form, "_auth_url"), code_for(form, server)
    type_in(form, type="code", code="a-typo")
    assert "did not take the code" in form.error
    assert page_state(form, "_auth_url") == link
    type_in(form, type="code", code=code)
    assert form.signed_in
    assert page_state(form, "_auth_url") != link


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"type": "key", "key": "sk-or-v1-wrong"}, "does not know this key"),
        ({"type": "key", "key": "two words"}, "blanks"),
        ({"type": "key", "key": ""}, "no key yet"),
        ({"type": "key"}, "no key yet"),
        ({"type": "code", "code": "made-up"}, "did not take the code"),
        ({"type": "code", "code": "two words"}, "not a code"),
    ],
)
def test_a_refusal_is_short_and_the_form_usable_again(
    form: KeyForm, content: dict[str, Any], words: str
) -> None:
    before = session.client()
    type_in(form, **content)
    assert words in form.error
    assert len(form.error) < 160
    assert (form.signed_in, form.busy, form.status) == (False, False, "")
    assert session.client() is before
    type_in(form, type="key", key=SENTINEL)
    assert (form.signed_in, form.error) == (True, "")


def test_a_key_of_another_kind_is_refused_before_anybody_is_asked() -> None:
    form = KeyForm("https://openrouter.ai/api/v1")
    type_in(form, type="key", key="hunter2")
    assert "begin with sk-or-" in form.error
    assert "hunter2" not in form.error


@pytest.mark.parametrize("content", [None, "key", ["key"], {}, {"type": "?"}, {"type": ["key"]}])
def test_other_messages_do_nothing(form: KeyForm, content: Any) -> None:
    from_page(form, content)
    assert (form.busy, form.signed_in, form.error) == (False, False, "")


def test_one_thing_at_a_time() -> None:
    go = threading.Event()

    def late(*_: bytes) -> Iterator[bytes]:
        go.wait(PATIENCE_S)
        yield whole({"data": {"label": "slow"}})

    with WireServer(late) as wire:
        form = KeyForm(wire.url)
        for _ in range(3):
            from_page(form, {"type": "key", "key": "abc"})
        assert (form.busy, form.status) == (True, "Checking the key …")
        go.set()
        assert form.wait(PATIENCE_S)
        assert len(wire.requests) == 1


def test_the_handler_does_not_wait_for_the_network() -> None:
    with WireServer(["stall"]) as wire:
        form = KeyForm(wire.url)
        from_page(form, {"type": "key", "key": "abc"})
        assert form.busy
        assert form.wait(0.05) is False


def test_a_service_without_accounts_is_signed_in_to_without_facts() -> None:
    unknown = [whole({"error": {"message": "no such path", "code": 404}}, 404)]
    with WireServer(unknown, unknown, [whole({"data": [{"id": "m"}]})]) as wire:
        form = KeyForm(wire.url)
        type_in(form, type="key", key="abc")
    assert (form.signed_in, form.facts, form.key_info) == (True, {}, None)


def test_what_is_left_of_the_limit_is_a_share() -> None:
    data = {"label": "l", "limit": 20, "limit_remaining": 5}
    with WireServer([whole({"data": data})]) as wire:
        form = KeyForm(wire.url)
        type_in(form, type="key", key="abc")
    assert page_state(form, "_left") == 0.25


def test_a_budget_of_the_account_that_is_spent_is_no_key_without_a_limit() -> None:
    spent = {"scope": "workspace", "limit_usd": 10, "remaining_usd": 0}
    data = {"label": "l", "limit": None, "effective_budget": spent}
    with WireServer([whole({"data": data})]) as wire:
        form = KeyForm(wire.url)
        type_in(form, type="key", key="abc")
    assert page_state(form, "_left") == 0
    assert form.facts["Budget"] == "$0 of $10.00 left (workspace): calls are refused"
    assert "no limit" not in form.advice


# ---- signing out --------------------------------------------------------------------------------


def test_signing_out_goes_back_to_the_offline_default(form: KeyForm) -> None:
    type_in(form, type="key", key=SENTINEL)
    type_in(form, type="sign_out")
    assert (form.signed_in, form.facts, form.key_info, page_state(form, "_left")) == (
        False,
        {},
        None,
        None,
    )
    assert form.status == "Signed out. ornb is offline again; nothing is billed"
    assert session.client().source == "offline"


def test_signing_out_goes_back_to_the_environment(
    form: KeyForm, server: OfflineServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-of-the-environment")
    monkeypatch.setenv("OPENROUTER_BASE_URL", server.base_url)
    type_in(form, type="key", key=SENTINEL)
    form.sign_out()
    assert form.status == f"Signed out. Calls go to {form.service}, with a key"
    assert session.client().has_key


def test_signing_out_leaves_alone_what_was_connected_since(
    form: KeyForm, server: OfflineServer
) -> None:
    type_in(form, type="key", key=SENTINEL)
    since = ornb.connect("another", server.base_url)
    form.sign_out()
    assert session.client() is since


def test_signing_out_without_being_signed_in_changes_nothing(form: KeyForm) -> None:
    before = session.client()
    form.sign_out()
    assert session.client() is before
    assert (form.status, form.error) == ("", "")


# ---- nothing of the key is left -----------------------------------------------------------------


def everything_of(form: KeyForm) -> str:
    """All traits, the state of all widgets, and what the form shows."""
    bundle = displayed(form)
    values = [f"{name}={value!r}" for name, value in form.trait_values().items()]
    states = json.dumps(Widget.get_manager_state(), default=repr)
    return f"{values} {states} {bundle} {form!r} {form.key_info!r} {vars(form)!r}"


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """What is in the log, but for Jupyter's own note of each message that it brings."""
    records = [record for record in caplog.records if record.name != "Comm"]
    return "\n".join(map(caplog.handler.format, records))


def test_the_key_is_in_no_trait_repr_log_or_message(
    form: KeyForm, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sent = type_in(form, type="key", key=SENTINEL)
    assert form.signed_in
    assert "key" not in sent
    assert "5entine1" not in everything_of(form) + logged(caplog) + repr(session.client())


def test_a_refused_key_is_nowhere_either(
    server: OfflineServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    form = KeyForm(server.base_url)
    for wrong in ("5entine1-wrong", "5entine1 with blanks"):
        sent = type_in(form, type="key", key=wrong)
        assert form.error
        assert "5entine1" not in everything_of(form) + logged(caplog) + repr(sent)


def test_a_failure_of_our_own_does_not_tell_the_key(
    form: KeyForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(key: Secret, _: str) -> None:
        raise ValueError(f"bad header: Bearer {key.reveal()}")

    monkeypatch.setattr(keys, "check", broken)
    type_in(form, type="key", key=SENTINEL)
    assert "Sign-in failed inside ornb (ValueError)" in form.error
    assert "5entine1" not in everything_of(form)


def test_the_link_in_the_traits_does_not_tell_the_verifier() -> None:
    with WireServer([whole({"error": {"message": "Invalid code", "code": 403}}, 403)]) as wire:
        form = KeyForm(wire.url, auth_url=AUTH_PAGE)
        assert page_state(form, "_auth_url").startswith(f"{AUTH_PAGE}?code_challenge=")
        type_in(form, type="code", code="a-code")
        verifier = json.loads(wire.requests[0][1])["code_verifier"]
    assert len(verifier) > 40
    assert verifier not in everything_of(form)


# ---- what it says -------------------------------------------------------------------------------


def test_openrouter_is_the_service_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert KeyForm().service == "openrouter.ai"
    assert page_state(KeyForm(), "_auth_url").startswith("https://openrouter.ai/auth?")
    monkeypatch.setenv("OPENROUTER_BASE_URL", "http://127.0.0.1:4000/v1")
    assert KeyForm().service == "127.0.0.1:4000"
    assert page_state(KeyForm(), "_auth_url") == ""


def test_a_key_in_the_environment_is_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", SENTINEL)
    form = KeyForm()
    assert form.status == "OPENROUTER_API_KEY is set; a key given here takes its place"
    assert "5entine1" not in everything_of(form)


def test_binder_is_warned_of_before_and_after(
    server: OfflineServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BINDER_LAUNCH_HOST", "https://mybinder.org/")
    form = KeyForm(server.base_url)
    assert "Binder advises against" in form.advice
    type_in(form, type="key", key=SENTINEL)
    assert "delete the key" in form.advice
    form.sign_out()
    assert "Binder advises against" in form.advice


@pytest.mark.parametrize("url", ["ftp://example.org", "openrouter.ai", "https://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="not an address"):
        KeyForm(url)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="no 'api_key'"):
        KeyForm(api_key=SENTINEL)


def test_where_nothing_runs_it_says_what_to_do_instead() -> None:
    form = sign_in()
    bundle = displayed(form)
    for text in (repr(form), bundle["text/plain"], bundle["text/html"]):
        assert "OPENROUTER_API_KEY" in text
        assert "prompt=True" in text


# ---- the keyring --------------------------------------------------------------------------------


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> list[Secret]:
    """A keyring that lasts as long as a test; tests/test_keys.py is about the real one."""
    kept: list[Secret] = []
    monkeypatch.setattr(keys, "remember", lambda key, _: kept.append(key))
    monkeypatch.setattr(keys, "recall", lambda _: kept[-1] if kept else None)
    return kept


def test_a_key_is_kept_where_that_was_asked_for(
    server: OfflineServer, keyring: list[Secret]
) -> None:
    type_in(KeyForm(server.base_url), type="key", key=SENTINEL)
    assert keyring == []
    form = KeyForm(server.base_url, remember=True)
    assert not form.signed_in
    type_in(form, type="key", key=SENTINEL)
    assert [key.reveal() for key in keyring] == [SENTINEL]
    assert "kept in this computer's keyring" in form.status


def test_a_kept_key_signs_in_by_itself(server: OfflineServer, keyring: list[Secret]) -> None:
    keyring.append(Secret(SENTINEL))
    form = KeyForm(server.base_url, remember=True)
    assert form.wait(PATIENCE_S)
    assert session.client().base_url == server.base_url


def test_a_keyring_that_fails_is_said_and_the_key_used_all_the_same(
    server: OfflineServer, keyring: list[Secret], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ConfigError("This computer's keyring cannot be used.")

    monkeypatch.setattr(keys, "remember", broken)
    form = KeyForm(server.base_url, remember=True)
    type_in(form, type="key", key=SENTINEL)
    assert (form.signed_in, form.status) == (True, "Signed in")
    assert "cannot be used" in form.error


# ---- the prompt ---------------------------------------------------------------------------------


def typing(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    def asked(question: str) -> str:
        assert question.startswith("API key for 127.0.0.1")
        if isinstance(answer, BaseException):
            raise answer
        return str(answer)

    monkeypatch.setattr("getpass.getpass", asked)


def test_the_prompt_signs_in(server: OfflineServer, monkeypatch: pytest.MonkeyPatch) -> None:
    typing(monkeypatch, SENTINEL)
    info = sign_in(server.base_url, prompt=True)
    assert info is not None
    assert info.label == "ornb offline"
    assert session.client().base_url == server.base_url


def test_the_prompt_refuses_as_the_form_does(
    server: OfflineServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    typing(monkeypatch, "5entine1-wrong")
    with pytest.raises(AuthenticationError, match="does not know this key") as caught:
        sign_in(server.base_url, prompt=True)
    assert "5entine1" not in str(caught.value)


@pytest.mark.parametrize("error", [EOFError(), NotImplementedError()])
def test_a_prompt_that_nobody_sees_is_an_error_that_says_so(
    server: OfflineServer, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    typing(monkeypatch, error)
    with pytest.raises(ConfigError, match="nobody here to type"):
        sign_in(server.base_url, prompt=True)


def test_the_prompt_warns_on_binder(
    server: OfflineServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BINDER_REPO_URL", "https://example.org/repo")
    typing(monkeypatch, SENTINEL)
    sign_in(server.base_url, prompt=True)
    assert "Binder advises against" in capsys.readouterr().out


# ---- a notebook that runs by itself -------------------------------------------------------------


@pytest.mark.slow
def test_a_headless_notebook_goes_on_past_the_form_and_past_the_prompt(tmp_path: Any) -> None:
    """nbclient saves the state of all widgets by default, and has nobody who types."""
    notebook = notebook_of(
        [
            "from ornb.notebook.key import sign_in\nsign_in()",
            "from ornb.errors import ConfigError\n"
            "try:\n    sign_in(prompt=True)\nexcept ConfigError as error:\n    print(error)",
        ]
    )
    run_headless(notebook, tmp_path, OPENROUTER_API_KEY=SENTINEL)
    text = io.StringIO()
    json.dump(notebook, text)
    assert "5entine1" not in text.getvalue()
    assert "nobody here to type" in notebook.cells[1].outputs[0]["text"]
    state = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert any("_auth_url" in each["state"] for each in state.values())
