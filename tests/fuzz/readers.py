"""How others read an answer, and ornb: each tells what it found in the fields of `Said`.

ornb, the ``openai`` package and the official one read in this process. The others live in an
environment of their own: ``python readers.py NAME URL`` reads there, one answer a line of input.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

HELLO: list[Any] = [{"role": "user", "content": "Hi"}]
Found = dict[str, Any]
Read = Callable[[bool], Found]
"""Asks for an answer, streamed or not, and tells what was found."""


def found(message: Any, finish: Any, usage: Any) -> Found:
    """What a message of these packages holds, which they lay out as the API does."""
    message, usage = _plain(message) or {}, _plain(usage) or {}
    content, audio = message.get("content"), message.get("audio") or {}
    if isinstance(content, list):
        content = "".join(part["text"] for part in content)
    said = [text for text in (content or audio.get("transcript"), message.get("refusal")) if text]
    return {
        "text": "\n\n".join(said),
        "reasoning": message.get("reasoning") or message.get("reasoning_content") or "",
        "tool_calls": sorted(map(_call, message.get("tool_calls") or [])),
        "images": [image["image_url"]["url"] for image in message.get("images") or []],
        "annotations": [_told(each) for each in message.get("annotations") or []],
        "finish_reason": finish,
        "usage": _usage(usage),
    }


def _call(call: Any) -> list[str]:
    return [call.get("id") or "", call["function"]["name"], call["function"].get("arguments") or ""]


def _usage(usage: Found) -> dict[str, float]:
    sent, made = (usage.get(f"{kind}_tokens_details") or {} for kind in ("prompt", "completion"))
    counts = [f"{kind}_tokens" for kind in ("prompt", "completion", "total")]
    told = {**{name: usage.get(name) for name in counts}, "cost_usd": usage.get("cost")}
    told |= {"cached_tokens": sent.get("cached_tokens")}
    told |= {"reasoning_tokens": made.get("reasoning_tokens")}
    return _told(told)


def _told(value: Any) -> Any:
    """The same without what only fills a type's places."""
    if not isinstance(value, dict):
        return value
    return {key: _told(inner) for key, inner in value.items() if inner is not None}


def _plain(value: Any) -> Any:
    if not hasattr(value, "model_dump"):
        return value
    return value.model_dump(mode="json", exclude_unset=True, warnings=False)


def _first(choices: Any) -> Any:
    return next(choice for choice in choices if not choice.index)


# --- who reads ------------------------------------------------------------------------------------


@contextlib.contextmanager
def ornb(url: str) -> Iterator[Read]:
    from ornb.api.client import Client
    from ornb.errors import OrnbError

    def read(streamed: bool) -> Found:
        stream, said = client.stream(HELLO, "lab/one"), {"text": "", "reasoning": ""}
        try:
            if streamed:
                for event in stream:
                    if event.type in said:
                        said[event.type] += event.text
                reply = stream.reply
            else:
                reply = client.chat(HELLO, "lab/one")
        except OrnbError as error:
            if error.reply is None or error.reply.finish_reason != "error":
                raise
            reply = error.reply
        if streamed:
            assert said == {name: getattr(reply, name) for name in said}, "events tell otherwise"
        told = vars(reply)
        usage = {name: value for name, value in vars(reply.usage).items() if name in COUNTED}
        return {
            **{name: told[name] for name in ("text", "reasoning", "finish_reason")},
            **{name: list(told[name]) for name in ("images", "annotations")},
            "tool_calls": sorted(map(_call, reply.tool_calls)),
            "usage": _told(usage),
        }

    client = Client(base_url=url)
    yield read
    client.close()


COUNTED = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "cost_usd"),
    *("cached_tokens", "reasoning_tokens"),
)


@contextlib.contextmanager
def openai(url: str) -> Iterator[Read]:
    from openai import OpenAI

    def read(streamed: bool) -> Found:
        if streamed:
            with chat.stream(model="lab/one", messages=HELLO) as stream:
                answer: Any = stream.until_done().current_completion_snapshot
        else:
            answer = chat.create(model="lab/one", messages=HELLO)
        choice = _first(answer.choices)
        return found(choice.message, choice.finish_reason, answer.usage)

    with OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        chat = client.chat.completions
        yield read


@contextlib.contextmanager
def openrouter(url: str) -> Iterator[Read]:
    from openrouter import OpenRouter
    from openrouter.utils import serializers

    def read(streamed: bool) -> Found:
        if not streamed:
            answer = client.chat.send(model="lab/one", messages=HELLO)
            choice = _first(answer.choices)
            return found(choice.message, choice.finish_reason, answer.usage)
        message: Found = {"tool_calls": []}
        finish = usage = None
        with client.chat.send(model="lab/one", messages=HELLO, stream=True) as chunks:
            for chunk in chunks:
                usage = chunk.usage or usage
                for choice in [each for each in chunk.choices if each.index == 0]:
                    _add(message, _plain(choice.delta))
                    finish = choice.finish_reason or finish
        return found(message, finish, usage)

    # It makes a class anew for each piece that it reads, which is nearly all of its time.
    make, made = serializers.create_model, {}
    serializers.create_model = lambda name, body, **config: made.setdefault(
        (name, str(body)), made.get((name, str(body))) or make(name, body=body, **config)
    )
    try:
        with OpenRouter(api_key="none", server_url=url) as client:
            yield read
    finally:
        serializers.create_model = make


def _add(message: Found, delta: Found) -> None:
    """Put a piece in: the official package reads pieces, and has nothing that joins them."""
    calls = message["tool_calls"]
    for call in delta.pop("tool_calls", None) or []:
        known = [each for each in calls if each["index"] == call["index"]][-1:]
        if not known or (call.get("id") or known[0]["id"]) != known[0]["id"]:
            known = [{"id": None, **call, "function": {"name": "", "arguments": ""}}]
            calls += known
        for key, text in (call.get("function") or {}).items():
            if text and text != known[0]["function"]["name"]:
                known[0]["function"][key] += text
    for key, value in delta.items():
        if isinstance(value, str | list) and key != "role":
            message[key] = message.get(key, type(value)()) + value
        elif isinstance(value, dict):
            _add(message.setdefault(key, {"tool_calls": []}), value)


@contextlib.contextmanager
def litellm(url: str) -> Iterator[Read]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else its import asks the network
    import litellm as library

    library.suppress_debug_info = True
    asked = {"model": "openrouter/lab/one", "api_base": url, "api_key": "none", "messages": HELLO}

    def read(streamed: bool) -> Found:
        answer = library.completion(**asked, stream=streamed, max_retries=0)
        if streamed:
            answer = library.stream_chunk_builder(list(answer))
        choice = answer.choices[0]
        return found(choice.message, choice.finish_reason, answer.usage)

    yield read


@contextlib.contextmanager
def pydantic_ai(url: str) -> Iterator[Read]:
    from pydantic_ai import direct, messages
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel("lab/one", provider=OpenAIProvider(base_url=url, api_key="none"))
    question: list[Any] = [messages.ModelRequest([messages.UserPromptPart("Hi")])]

    def read(streamed: bool) -> Found:
        if streamed:
            with direct.model_request_stream_sync(model, question) as stream:
                list(stream)
                answer = stream.response
        else:
            answer = direct.model_request_sync(model, question)
        parts: dict[str, list[Any]] = {}
        for part in answer.parts:
            parts.setdefault(part.part_kind, []).append(part)
        calls = parts.get("tool-call", [])
        usage = answer.usage
        counts = {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens}
        counts |= {"total_tokens": usage.total_tokens, "cached_tokens": usage.cache_read_tokens}
        counts |= {"reasoning_tokens": usage.details.get("reasoning_tokens")}
        return {
            "text": "".join(part.content for part in parts.get("text", [])),
            "reasoning": "".join(part.content for part in parts.get("thinking", [])),
            "tool_calls": sorted(
                [each.tool_call_id, each.tool_name, each.args or ""] for each in calls
            ),
            "images": [part.content.data_uri for part in parts.get("file", [])],
            "annotations": [],
            "finish_reason": (answer.provider_details or {}).get("finish_reason"),
            "usage": _told(counts),
        }

    yield read


READERS: dict[str, Callable[[str], contextlib.AbstractContextManager[Read]]] = {
    "ornb": ornb,
    "openai": openai,
    "openrouter": openrouter,
    "litellm": litellm,
    "pydantic-ai": pydantic_ai,
}


def attempt(read: Read, streamed: bool) -> Found | str:
    """What was found, or the error that was raised, in words."""
    try:
        return read(streamed)
    except Exception as error:  # noqa: BLE001 - whatever it is, that is what is looked for
        return f"{type(error).__name__}: {str(error)[:300]}"


if __name__ == "__main__":
    with READERS[sys.argv[1]](sys.argv[2]) as chosen:
        for line in sys.stdin:
            print(json.dumps(attempt(chosen, line.strip() == "stream")), flush=True)
