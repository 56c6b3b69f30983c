"""Keys: the sign-in by a pasted code, what the service says of a key, and the keyring."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import traceback
import types
import urllib.parse
from collections.abc import Iterator
from typing import Any

import keyring as real
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from keyring.errors import PasswordDeleteError

from ornb.api import keys
from ornb.api.client import OPENROUTER, Secret
from ornb.api.keys import KeyInfo, Pkce, check, describe, exchange, tidy
from ornb.errors import (
    AuthenticationError,
    BadRequest,
    ConfigError,
    ConnectionFailed,
    Forbidden,
    OrnbError,
    ServerError,
    UnexpectedAnswer,
)
from ornb.offline import OfflineServer
from tests.page import displayed
from tests.wire import WireServer, whole

SENTINEL = "sk-or-v1-5entine1-of-the-key-tests"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
"""RFC 7636, appendix B."""

KEY_DATA = {
    "label": "sk-or-v1-1a2...9f0",
    "limit": 20,
    "limit_remaining": 13.4,
    "limit_reset": "monthly",
    "usage": 41.25,
    "usage_daily": 0.31,
    "is_free_tier": False,
    "is_management_key": False,
    "expires_at": "2026-12-31T23:59:00+01:00",
    "free_model_daily_requests": {"limit": 1000, "used": 12, "remaining": 988},
}


@pytest.fixture(scope="module")
def server() -> Any:
    with OfflineServer(model="off") as running:
        yield running


def new_code(server: OfflineServer, pkce: Pkce) -> str:
    """What the sign-in page would show for this link."""
    form = {"code_challenge": pkce.challenge, "code_challenge_method": "S256"}
    answer = requests.post(
        f"{server.base_url}/auth/keys/code",
        json=form,
        headers={"Authorization": f"Bearer {server.token}"},
        timeout=60,
    )
    return str(answer.json()["data"]["id"])


# ---- PKCE ---------------------------------------------------------------------------------------


def test_the_challenge_is_that_of_the_rfc() -> None:
    assert Pkce(VERIFIER).challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_verifiers_are_random_and_of_the_form_that_the_rfc_wants() -> None:
    made = {Pkce().verifier.reveal() for _ in range(50)}
    assert len(made) == 50
    assert all(Pkce(verifier) for verifier in made)


@pytest.mark.parametrize("verifier", ["", "a" * 42, "a" * 129, "a" * 42 + "+", VERIFIER + "\n"])
def test_other_verifiers_are_refused(verifier: str) -> None:
    with pytest.raises(ConfigError, match="43 to 128"):
        Pkce(verifier)


def test_the_link_has_the_challenge_and_the_label_and_calls_nobody_back() -> None:
    url = urllib.parse.urlsplit(Pkce(VERIFIER).url(key_label="my lesson & co"))
    assert (url.scheme, url.netloc, url.path) == ("https", "openrouter.ai", "/auth")
    assert urllib.parse.parse_qs(url.query) == {
        "code_challenge": ["E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"],
        "code_challenge_method": ["S256"],
        "key_label": ["my lesson & co"],
    }


def test_the_verifier_shows_nowhere() -> None:
    pkce = Pkce(VERIFIER)
    assert VERIFIER not in f"{pkce} {pkce!r} {pkce.url()} {pkce.verifier!r}"
    for attempt in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(pkce)


# ---- a code for a key ---------------------------------------------------------------------------


def test_a_code_becomes_a_key_that_works(server: OfflineServer) -> None:
    pkce = Pkce()
    key = exchange(f" {new_code(server, pkce)}\n", pkce, server.base_url)
    assert repr(key) == "Secret(…)"
    info = check(key, server.base_url)
    assert info is not None
    assert info.label == "ornb offline"


def test_a_code_works_once(server: OfflineServer) -> None:
    pkce = Pkce()
    code = new_code(server, pkce)
    exchange(code, pkce, server.base_url)
    with pytest.raises(Forbidden, match="works once, within 10 minutes") as caught:
        exchange(code, pkce, server.base_url)
    assert caught.value.status_code == 403
    assert code not in str(caught.value)


def test_a_code_of_another_link_is_refused(server: OfflineServer) -> None:
    code = new_code(server, Pkce())
    with pytest.raises(Forbidden, match="only for the page opened from here"):
        exchange(code, Pkce(), server.base_url)


@pytest.mark.parametrize("code", ["", "  ", "two words", "né", "x" * 3000, None])
def test_what_is_no_code_is_not_sent(code: Any) -> None:
    with WireServer([whole({})]) as wire:
        with pytest.raises(ConfigError, match="not a code"):
            exchange(code, Pkce(), wire.url)
        assert wire.requests == []


def test_the_exchange_carries_no_key_and_the_documented_fields(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", SENTINEL)
    with WireServer([whole({"key": "sk-or-v1-made", "user_id": None})]) as wire:
        assert exchange(Secret("code-1"), Pkce(VERIFIER), wire.url).reveal() == "sk-or-v1-made"
        head, body = wire.requests[0]
    assert head.startswith(b"POST /api/v1/auth/keys HTTP/1.1")
    assert b"authorization" not in head.lower()
    assert json.loads(body) == {
        "code": "code-1",
        "code_verifier": VERIFIER,
        "code_challenge_method": "S256",
    }


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        pytest.param(400, BadRequest, "S256 challenge. Open the sign-in page again", id="method"),
        pytest.param(403, Forbidden, "copy it again, or open the page anew", id="expired"),
        pytest.param(405, BadRequest, "base_url must begin with https", id="not https"),
        pytest.param(500, ServerError, "Try again shortly", id="the service failed"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, kind: type[OrnbError], words: str) -> None:
    answer = whole({"error": {"code": status, "message": "Invalid code"}}, status)
    with WireServer([answer]) as wire, pytest.raises(kind, match=words):
        exchange("code-1", Pkce(), wire.url)


@pytest.mark.parametrize(
    "body",
    [b"<html>" + SENTINEL.encode(), b"[]", b'{"key": null}', b'"' + SENTINEL.encode() + b'"'],
)
def test_an_answer_without_a_key_is_not_repeated(body: bytes) -> None:
    with WireServer([whole(body)]) as wire, pytest.raises(UnexpectedAnswer) as caught:
        exchange("code-1", Pkce(), wire.url)
    chain = f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    assert "without a key" in chain
    assert "5entine1" not in chain


# ---- is it a key --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [" {} \n", '"{}"', "`{}`", "' {} '"])
def test_what_a_copy_brings_along_is_taken_off(text: str) -> None:
    assert tidy(text.format(SENTINEL), OPENROUTER) == SENTINEL


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no key yet"),
        ("my secret password", "blanks"),
        ("sk-or-v1-abc\nsk-or-v1-def", "blanks"),
        ("sk-or-v1-пароль", "no key has"),
        ("sk-or-v1-\x00abc", "no key has"),
        ("OPENROUTER_API_KEY=sk-or-v1-abc", "begin with sk-or-"),
        ("hunter2", "begin with sk-or-"),
        (None, "no key yet"),
    ],
)
def test_what_cannot_be_a_key_is_refused_and_not_repeated(text: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        tidy(text, OPENROUTER)
    for word in ("password", "пароль", "hunter2", "abc"):
        assert word not in str(caught.value)


def test_other_services_have_other_keys() -> None:
    assert tidy("sk-1234", "http://127.0.0.1:4000/v1") == "sk-1234"


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        (OPENROUTER, True),
        ("https://eu.openrouter.ai/api/v1", True),
        ("https://openrouter.ai.example/api/v1", False),
        ("https://evil.example/openrouter.ai", False),
        ("http://127.0.0.1:11434/v1", False),
    ],
)
def test_openrouter_is_known_by_its_host(url: str, ours: bool) -> None:
    assert keys.is_openrouter(url) is ours


# ---- what the service says of it ----------------------------------------------------------------


def test_a_wrong_key_is_said_to_be_unknown_and_not_repeated(server: OfflineServer) -> None:
    with pytest.raises(AuthenticationError, match=r"does not know this key. Copy it") as caught:
        check(Secret(SENTINEL), server.base_url)
    assert "5entine1" not in f"{caught.value} {caught.value.__cause__} {caught.value.raw}"


def test_nobody_there_is_said() -> None:
    with pytest.raises(ConnectionFailed, match="Nobody answers"):
        check(Secret("abc"), "http://127.0.0.1:9/v1")


def test_a_server_without_accounts_takes_a_key_in_silence() -> None:
    unknown = [whole({"error": {"message": "no such path", "code": 404}}, 404)]
    with WireServer(unknown, unknown, [whole({"data": [{"id": "m"}]})]) as wire:
        assert check(Secret("abc"), wire.url) is None
        assert b"Bearer abc" in wire.requests[-1][0]


def test_a_name_that_is_the_key_itself_is_not_shown() -> None:
    with WireServer([whole({"data": {"label": f"my {SENTINEL}"}})]) as wire:
        info = check(Secret(SENTINEL), wire.url)
    assert info is not None
    assert info.label == "my [key]"


def test_whole_keys_in_names_are_shortened() -> None:
    assert describe({"label": SENTINEL}).label == "sk-or-v1-5en…sts"
    assert describe({"label": "sk-or-v1-1a2...9f0"}).label == "sk-or-v1-1a2...9f0"


def test_the_facts_read_well() -> None:
    info = describe(KEY_DATA)
    assert info.facts() == {
        "Key": "sk-or-v1-1a2...9f0",
        "Limit": "$20.00 a month",
        "Left": "$13.40",
        "Spent": "$41.25, $0.31 today",
        "Free requests": "988 of 1,000 left today",
        "Account": "has bought credits",
        "Expires": "2026-12-31 22:59 UTC",
    }
    assert repr(info).splitlines()[1] == "Limit          $20.00 a month"


def test_a_key_without_a_limit_or_an_end_gets_advice() -> None:
    assert describe(KEY_DATA).advice() == ""
    assert describe({}).advice() == "This key has no limit and no expiry date."
    assert describe(KEY_DATA | {"limit": None}).advice() == "This key has no limit."


def test_a_spent_limit_of_nothing_is_no_missing_limit() -> None:
    info = describe({"limit": 0, "limit_remaining": 0})
    assert (info.facts()["Limit"], info.facts()["Left"]) == ("$0", "$0")


SPENT = {
    "scope": "workspace",
    "limit_usd": 10,
    "spend_usd": 10.2,
    "remaining_usd": -0.2,
    "reset_interval": "daily",
    "resets_at": "2026-12-02T00:00:00Z",
    "include_byok": True,
    "budget_id": "b-1",
    "guardrail_id": None,
}
MEMBER = {**SPENT, "scope": "workspace_default_member", "spend_usd": 4, "remaining_usd": 6}


def test_a_key_without_a_limit_is_held_by_a_budget_of_the_account() -> None:
    """Its own limit is not all: with a spent budget every call is refused."""
    data = KEY_DATA | {"limit": None, "limit_remaining": None}
    info = describe(data | {"effective_budget": SPENT, "budgets": [MEMBER, SPENT]})
    assert info.facts()["Limit"] == "none of its own"
    assert info.facts()["Budget"] == (
        "$0 of $10.00 a day left (workspace): calls are refused until 2026-12-02 00:00 UTC"
    )
    assert info.advice() == ""
    assert info.budget is not None
    assert info.budget.is_spent
    assert [each.scope for each in info.budgets] == ["workspace_default_member", "workspace"]
    assert info.limit_usd is None


def test_the_budget_that_ends_first_is_shown_beside_the_keys_own_limit() -> None:
    info = describe(KEY_DATA | {"effective_budget": MEMBER, "budgets": [MEMBER]})
    assert (info.facts()["Limit"], info.facts()["Left"]) == ("$20.00 a month", "$13.40")
    assert info.facts()["Budget"] == "$6.00 of $10.00 a day left (workspace default member)"


def test_a_budget_that_is_the_keys_own_limit_is_not_told_twice() -> None:
    own = {**SPENT, "scope": "key_limit", "limit_usd": 20, "remaining_usd": 13.4}
    info = describe(KEY_DATA | {"effective_budget": own, "budgets": [own]})
    assert "Budget" not in info.facts()
    assert info.budget == info.budgets[0]


def test_a_budget_for_good_ends_for_good() -> None:
    forever = {**SPENT, "reset_interval": None, "resets_at": None}
    told = describe({"effective_budget": forever}).facts()["Budget"]
    assert told == "$0 of $10.00 left (workspace): calls are refused"


def test_without_a_word_of_the_effective_one_the_least_budget_counts() -> None:
    info = describe({"budgets": [MEMBER, SPENT, None, 3, {"limit_usd": 5}]})
    assert info.budget is not None
    assert info.budget.scope == "workspace"
    both = describe({"limit": 5, "limit_remaining": 0, "budgets": [MEMBER]}).budget
    assert both is not None
    assert both.scope == "key_limit"
    assert both.is_spent
    own = describe({"limit": 5, "limit_remaining": 1}).budget
    assert own is not None
    assert (own.limit_usd, own.remaining_usd, own.scope) == (5, 1, "key_limit")
    assert describe({}).budget is None


@pytest.mark.parametrize("name", ["is_management_key", "is_provisioning_key"])
def test_a_management_key_is_told(name: str) -> None:
    assert "cannot chat" in describe({name: True}).facts()["Kind"]


def test_hostile_names_are_text_in_html() -> None:
    page = displayed(describe({"label": "<img src=x onerror=alert(1)>"}))["text/html"]
    assert "<img" not in page
    assert "&lt;img" in page


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


BUDGET = st.dictionaries(st.sampled_from([*SPENT, "else"]), JSON)
NAMES = st.sampled_from([*KEY_DATA, "effective_budget", "budgets", "else"])


@given(st.dictionaries(NAMES, JSON | BUDGET | st.lists(BUDGET, max_size=2)))
def test_any_answer_can_be_described(data: dict[str, Any]) -> None:
    info = describe(data)
    assert isinstance(info, KeyInfo)
    assert all(isinstance(text, str) for text in info.facts().values())
    assert displayed(info)["text/html"]


# ---- Binder -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["BINDER_LAUNCH_HOST", "BINDER_REPO_URL"])
def test_binder_is_known_by_its_environment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert not keys.on_binder()
    monkeypatch.setenv(name, "https://mybinder.org/")
    assert keys.on_binder()


# ---- the keyring --------------------------------------------------------------------------------


def test_the_keyring_is_not_loaded_unless_asked_for() -> None:
    code = "import sys, ornb.api.keys, ornb.notebook.key; sys.exit('keyring' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    for attempt in (keys.recall, keys.forget, lambda: keys.remember(Secret(SENTINEL))):
        with pytest.raises(ConfigError, match="pip install keyring") as caught:
            attempt()
        assert "5entine1" not in str(caught.value)


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """A keyring of this test's own: the package's calls, over a dict."""
    kept: dict[tuple[str, str], str] = {}
    ring, errors = types.ModuleType("keyring"), types.ModuleType("keyring.errors")
    ring.set_password = lambda name, who, what: kept.__setitem__((name, who), what)  # type: ignore[attr-defined]
    ring.get_password = lambda name, who: kept.get((name, who))  # type: ignore[attr-defined]
    ring.delete_password = lambda name, who: kept.pop((name, who))  # type: ignore[attr-defined]
    errors.KeyringError = type("KeyringError", (Exception,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", ring)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    return kept


def test_each_host_has_its_key_in_the_keyring(keyring: dict[tuple[str, str], str]) -> None:
    keys.remember(Secret("one"))
    keys.remember(Secret("two"), "http://127.0.0.1:4000/v1")
    assert keyring == {("ornb", "openrouter.ai"): "one", ("ornb", "127.0.0.1:4000"): "two"}
    found = keys.recall()
    assert found is not None
    assert (found.reveal(), repr(found)) == ("one", "Secret(…)")
    assert (keys.forget(), keys.forget(), keys.recall()) == (True, False, None)
    assert len(keyring) == 1


def test_a_computer_without_a_keyring_is_said(
    keyring: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = sys.modules["keyring"]

    def broken(*_: str) -> None:
        raise sys.modules["keyring.errors"].KeyringError(SENTINEL)

    monkeypatch.setattr(ring, "get_password", broken)
    with pytest.raises(ConfigError, match=r"cannot be used \(KeyringError\)") as caught:
        keys.recall()
    assert "5entine1" not in str(caught.value)


def test_stop_while_the_keyring_asks_leaves_no_key_in_variables(
    keyring: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asks(name: str, who: str, what: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["keyring"], "set_password", asks)
    with pytest.raises(KeyboardInterrupt) as caught:
        keys.remember(Secret(SENTINEL))
    for frame, _ in traceback.walk_tb(caught.value.__traceback__):
        if "ornb" in frame.f_code.co_filename or frame.f_code.co_name == "asks":
            held = {k: v for k, v in frame.f_locals.items() if frame is not sys._getframe()}
            assert "5entine1" not in repr(held), frame.f_code.co_name


@pytest.fixture
def real_keyring() -> Iterator[dict[tuple[str, str], str]]:
    """The true package, with a backend that keeps what it is given for this test alone."""
    kept: dict[tuple[str, str], str] = {}

    class Memory(KeyringBackend):  # type: ignore[misc]
        priority = 1

        def get_password(self, service: str, username: str) -> str | None:
            return kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            kept[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            if kept.pop((service, username), None) is None:
                raise PasswordDeleteError("There is no such password.")

    before = real.get_keyring()
    real.set_keyring(Memory())
    yield kept
    real.set_keyring(before)


def test_the_real_package_keeps_a_key_and_forgets_it(
    real_keyring: dict[tuple[str, str], str],
) -> None:
    assert keys.recall() is None
    keys.remember(Secret(SENTINEL))
    assert real_keyring == {("ornb", "openrouter.ai"): SENTINEL}
    found = keys.recall()
    assert found is not None
    assert found.reveal() == SENTINEL
    assert (keys.forget(), keys.forget(), keys.recall()) == (True, False, None)


def test_a_real_computer_without_a_keyring_is_said() -> None:
    before = real.get_keyring()
    real.set_keyring(NoKeyring())
    try:
        for attempt in (keys.recall, lambda: keys.remember(Secret(SENTINEL))):
            with pytest.raises(ConfigError, match=r"cannot be used \(NoKeyringError\)") as caught:
                attempt()
            assert "5entine1" not in str(caught.value)
    finally:
        real.set_keyring(before)
