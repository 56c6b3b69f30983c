from __future__ import annotations

import subprocess
import sys

import pytest
from wire import FINISH, STREAM, WireServer, delta, whole

import ornb
from ornb import errors, session

KEY = "sk-or-v1-" + "5e" * 32
RECORD = {
    "id": "acme/orbit",
    "name": "Acme: Orbit",
    "created": 1772323200,
    "context_length": 8192,
    "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
    "pricing": {"prompt": "0.000002", "completion": "0.00001"},
}


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """Each test chooses its own service and counts its own calls."""
    for name in ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "ORNB_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(session, "_default", session._Default(announced=True))
    ornb.usage.clear()


def test_without_a_key_the_offline_default_answers_and_says_so(monkeypatch, capsys) -> None:
    monkeypatch.setattr(session, "_default", session._Default())
    assert ornb.client().source == "offline"
    said = capsys.readouterr().out
    assert "offline" in said
    assert "2026-08-22" in said
    ornb.models()
    assert capsys.readouterr().out == "", "once is enough"


def test_a_key_in_the_environment_goes_to_openrouter(monkeypatch, capsys) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    assert ornb.client().base_url == "https://openrouter.ai/api/v1"
    assert ornb.client().has_key
    assert capsys.readouterr().out == ""


def test_an_address_in_the_environment_needs_no_key(monkeypatch) -> None:
    monkeypatch.setenv("OPENROUTER_BASE_URL", "http://127.0.0.1:11434/v1")
    assert (ornb.client().base_url, ornb.client().has_key) == ("http://127.0.0.1:11434/v1", False)


def test_a_key_of_the_environment_is_not_sent_to_an_address_given_here(monkeypatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    assert ornb.connect(base_url="http://127.0.0.1:9/v1").has_key is False


def test_offline_and_a_key_exclude_each_other() -> None:
    with pytest.raises(errors.ConfigError, match="choose one"):
        ornb.connect("sk-x", offline=True)


def test_the_catalogue_is_fetched_once() -> None:
    with WireServer([whole({"data": [RECORD]})]) as server:
        ornb.connect(base_url=server.url)
        first, second = ornb.models(), ornb.models()
        assert len(server.requests) == 1
        assert first.equals(second)
        first["name"] = "changed"
        assert ornb.models()["name"].tolist() == ["Acme: Orbit"], "a caller's change stays his own"
        ornb.models(refresh=True)
        assert len(server.requests) == 2
    assert ornb.models().attrs["source"] == "live"


def test_offline_the_catalogue_says_that_it_is_a_snapshot() -> None:
    models = ornb.models()
    assert len(models) == 421
    assert (models.attrs["source"], models.attrs["snapshot"]) == ("snapshot", "2026-08-22")
    assert 0 < len(ornb.models(free=True)) < 30


def test_a_call_is_estimated_beside_what_was_billed() -> None:
    with WireServer([whole({"data": [RECORD]})], [STREAM, delta("A"), FINISH]) as server:
        ornb.connect(base_url=server.url)
        ornb.models()
        ornb.ask("Hi", "acme/orbit", label="lesson")
    row = ornb.usage.df.iloc[-1]
    assert (row["label"], row["cost_usd"], row["cost_source"]) == ("lesson", 0.000145, "billed")
    assert row["estimate_usd"] == pytest.approx(22 * 0.000002 + 9 * 0.00001)


def test_a_system_message_goes_first() -> None:
    with WireServer([STREAM, delta("A"), FINISH]) as server:
        ornb.connect(base_url=server.url)
        ornb.ask("Hi", "acme/orbit", system="Be brief.")
        ornb.ask([{"role": "user", "content": "Hi"}], "acme/orbit", system="Be brief.")
    bodies = [body for _, body in server.requests]
    assert b'[{"role": "system", "content": "Be brief."}, {"role": "user"' in bodies[0]
    assert bodies[0] == bodies[1]


def test_an_error_is_a_row_too() -> None:
    ornb.connect(offline=True)
    with pytest.raises(errors.BadRequest, match="not a valid model"):
        ornb.ask("Hi", "nobody/nothing")
    with pytest.raises(errors.ConfigError):
        ornb.ask("")
    assert ornb.usage.df["status"].tolist() == ["error", "error"]
    assert ornb.ask("Hi", "openai/gpt-4o-mini").text, "usable again at once"


def test_the_default_model_follows_the_service(monkeypatch) -> None:
    assert session.default_model() == "ornb/canned", "the tests switch the local model off"
    ornb.connect(KEY)
    assert session.default_model() == "openrouter/free"
    with WireServer([whole([RECORD])]) as server:
        ornb.connect(base_url=server.url)
        assert session.default_model() == "acme/orbit"
    monkeypatch.setenv("ORNB_MODEL", "acme/other")
    assert session.default_model() == "acme/other"


@pytest.mark.parametrize("choice", [3, "", ("a/b", "c/d"), ["a/b"]])
def test_what_is_no_model_is_refused(choice) -> None:
    with pytest.raises(errors.ConfigError, match="give one id"):
        session.model_id(choice)


def test_the_offline_default_is_started_again_when_its_process_ended() -> None:
    from ornb import offline

    ornb.client()
    offline.start().close()
    assert ornb.ask("Hi").source in ("canned", "local")


@pytest.mark.parametrize(
    "code",
    [
        "import ornb, ornb.client; assert callable(ornb.client)",
        "import ornb; from ornb.client import Client; assert callable(ornb.client)",
        "import ornb; ornb.client; import ornb.client; assert callable(ornb.client)",
    ],
)
def test_a_public_name_is_never_hidden_by_its_module(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_every_public_name_is_there() -> None:
    for name in ornb.__all__:
        assert getattr(ornb, name) is not None
        assert name in dir(ornb)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = ornb.nothing_like_it


def test_a_wrong_model_is_met_with_near_ones_and_the_part_is_kept() -> None:
    with pytest.raises(ornb.OrnbError, match="Did you mean openai/gpt-4o-mini") as caught:
        ornb.ask("Hi", "openai/gpt4o-mini")
    assert caught.value.reply is not None


def test_what_is_no_prompt_is_not_priced() -> None:
    with pytest.raises(errors.ConfigError, match=r"quote\(5\) is no prompt"):
        ornb.quote(5, "openai/gpt-4o-mini")
