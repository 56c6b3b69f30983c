"""The official SDKs take the offline server for the real API.

They are imported by the worker that asks for them: that takes a second of a processor.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ornb.offline import OfflineServer

# The official package reads pages with jsonpath, which looks for syntax that Python 3.14 drops.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:ast\.\w+ is deprecated:DeprecationWarning:jsonpath\.jsonpath"
)

HELLO = [{"role": "user", "content": "Hello there, server"}]


@pytest.fixture(scope="module")
def server():
    with OfflineServer(
        model="off", tokens_per_s=2000, first_token_s=0, generation_delay_s=0
    ) as running:
        yield running


@pytest.fixture
def official(server):
    from openrouter import OpenRouter

    with OpenRouter(api_key=server.token, server_url=server.base_url) as client:
        yield client


@pytest.fixture
def openai():
    import openai

    return openai


@pytest.fixture
def compatible(server, openai):
    with openai.OpenAI(api_key=server.token, base_url=server.base_url, max_retries=0) as client:
        yield client


def test_openrouter_lists_models(official):
    answer = official.models.list().result
    assert len(answer.data) == answer.total_count == 421
    assert official.models.count().data.count == 421


def test_openrouter_reads_one_model_and_the_providers(official):
    assert official.models.get(author="openai", slug="gpt-4").data.id == "openai/gpt-4"
    assert len(official.providers.list().data) == 103


@pytest.mark.filterwarnings("ignore:warning. .. DEPRECATED:DeprecationWarning")
def test_openrouter_reads_key_and_credits(official):
    assert official.api_keys.get_current_key_metadata().data.usage == 0
    assert official.credits.get_credits().data.total_usage == 0


def test_openrouter_makes_lists_and_changes_keys(server):
    from openrouter import OpenRouter

    with OpenRouter(api_key=server.management_key, server_url=server.base_url) as manager:
        keys, end = manager.api_keys, datetime.now(UTC) + timedelta(days=30)
        for name in ("Ada", "Ben"):
            made = keys.create(name=name, limit=2, limit_reset="weekly", expires_at=end)
        assert [each.name for each in keys.list().data] == ["Ada", "Ben"]
        assert [each.name for each in keys.list(offset=1).data] == ["Ben"]
        with OpenRouter(api_key=made.key, server_url=server.base_url) as ben:
            ben.chat.send(model="openai/gpt-4", messages=HELLO)
        (row,) = manager.analytics.get_user_activity(request={"api_key_hash": made.data.hash}).data
        assert (row.requests, row.usage) == (1, 0)
        assert keys.update(hash=made.data.hash, disabled=True).data.disabled
        assert len(keys.list().data) == 1
        assert len(keys.list(include_disabled=True).data) == 2
        assert keys.get(hash=made.data.hash).data.expires_at == end
        assert keys.delete(hash=made.data.hash)


def test_openrouter_with_an_ordinary_key_makes_none(official):
    with pytest.raises(Exception, match="Only management keys") as caught:
        official.api_keys.create(name="Ada")
    assert caught.value.status_code == 403


def test_openrouter_chats_and_reads_the_generation(official):
    answer = official.chat.send(model="openai/gpt-4", messages=HELLO)
    assert answer.choices[0].message.content.startswith("This is a canned answer")
    record = official.generations.get_generation(id=answer.id).data
    assert record.native_tokens_completion == answer.usage.completion_tokens


def test_openrouter_decides(official, server):
    questions = {
        "angry": {"type": "noul", "instructions": "Is the writer angry?"},
        "topic": {"type": "choice", "instructions": "What?", "criteria": {"a": None, "b": "Bee"}},
        "stars": {"type": "score", "instructions": "How good?", "criteria": ["low", "high"]},
    }
    answer = official.alpha.decisions.create(
        server_url=server.base_url.removesuffix("/api/v1"),
        model="ornb/canned-decisions",
        state={"review": "Cold soup"},
        questions=questions,
    )
    assert [each.type for each in answer.answers.values()] == ["noul", "choice", "score"]
    assert answer.model == "ornb/canned-decisions"
    assert answer.usage.input_tokens > 0
    assert answer.usage.cost == 0


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_openrouter_embeds(official, encoding):
    texts, name = ["Cold soup", "The soup was cold"], "ornb/canned-embeddings"
    answer = official.embeddings.generate(input=texts, model=name, encoding_format=encoding)
    assert [each.index for each in answer.data] == [0, 1]
    assert {type(each.embedding) for each in answer.data} == {list if encoding == "float" else str}
    assert answer.model == name
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.cost == 0


def test_openrouter_reranks(official):
    name = "ornb/canned-rerank"
    answer = official.rerank.rerank(query="cold soup", documents=["Lovely", "Cold"], model=name)
    assert [each.index for each in answer.results] == [1, 0]
    assert answer.results[0].document.text == "Cold"
    assert answer.model == name


def test_openrouter_streams(official):
    plain = official.chat.send(model="openai/gpt-4", messages=HELLO)
    with official.chat.send(model="openai/gpt-4", messages=HELLO, stream=True) as stream:
        chunks = list(stream)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said == plain.choices[0].message.content
    assert chunks[-1].usage.total_tokens == plain.usage.total_tokens


def test_openrouter_reads_our_errors(official):
    with pytest.raises(Exception, match="is not a valid model ID") as caught:
        official.chat.send(model="nobody/none", messages=HELLO)
    assert caught.value.status_code == 400


def test_openai_lists_models(compatible):
    assert len(compatible.models.list().data) == 421


def test_openai_chats(compatible):
    answer = compatible.chat.completions.create(model="openai/gpt-4", messages=HELLO)
    assert answer.model == "ornb/canned"
    assert answer.usage.completion_tokens == len(answer.choices[0].message.content.split())


def test_openai_streams(compatible):
    plain = compatible.chat.completions.create(model="openai/gpt-4", messages=HELLO)
    with compatible.chat.completions.create(
        model="openai/gpt-4", messages=HELLO, stream=True
    ) as stream:
        chunks = list(stream)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said == plain.choices[0].message.content


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        ({"status": 429, "retry_after": 1}, "RateLimitError"),
        ({"status": 401}, "AuthenticationError"),
        ({"status": 500}, "InternalServerError"),
    ],
)
def test_openai_reads_our_errors(compatible, openai, wish, error):
    with pytest.raises(getattr(openai, error)):
        compatible.chat.completions.create(
            model="openai/gpt-4", messages=HELLO, extra_body={"ornb": {"simulate": wish}}
        )


def test_openai_sees_an_error_in_mid_stream(compatible, openai):
    wish = {"error_after_chunks": 2, "message": "gone"}
    stream = compatible.chat.completions.create(
        model="openai/gpt-4", messages=HELLO, stream=True, extra_body={"ornb": {"simulate": wish}}
    )
    with stream, pytest.raises(openai.APIError, match="gone"):
        list(stream)
