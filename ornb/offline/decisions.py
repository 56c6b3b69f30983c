"""``POST /api/alpha/decisions``: by the local model's token probabilities, or canned.

References
----------
OpenRouter, ``POST /api/alpha/decisions``, as the official SDK 1.3.84 has it (2026-10-27).
"""

from __future__ import annotations

import json
import secrets
import time
import zlib
from string import ascii_uppercase
from typing import Any

from .answers import LOCAL_NOTE, Unavailable
from .handler import ApiHandler
from .question import json_object
from .store import CANNED_PROVIDER, DECIDER_ID, LOCAL_ID, LOCAL_PROVIDER
from .wire import AnsweredBy, Completion, Fault, Finish, Json, dumps

_CANNED = AnsweredBy(
    *("canned", DECIDER_ID, CANNED_PROVIDER),
    "No model decided: these figures are made from a checksum of the request",
)
_LOCAL = AnsweredBy(
    *("local", LOCAL_ID, LOCAL_PROVIDER),
    f"{LOCAL_NOTE}. The figures are probabilities of its first token, a letter for each option",
)
_SHORT = {"decisions": "dec", "embeddings": "emb"}
"""In ids."""
_BLIND = "No endpoints found that support image input. Offline, none is read."


class NoChat(ApiHandler):
    """What the paths share that do not chat."""

    managing = False

    def refuse_other_models(self, model: Any, kind: str, *but: str) -> None:
        """The snapshot lists models that chat alone: any other id may be of one of this kind."""
        if not isinstance(model, str) or "/" not in model:
            raise Fault(400, f"{model} is not a valid model ID")
        if model not in but and self.application.store.find(model) is not None:
            raise Fault(404, f"{model} does not support {kind}.", error_type="not_found")

    def send_by(self, origin: AnsweredBy, api_type: str, tokens: int, answer: Json) -> None:
        """Answer, say who made it, and keep what it took."""
        made = f"gen-{_SHORT.get(api_type, api_type)}-{secrets.token_hex(8)}"
        began = time.perf_counter() - self.request.request_time()
        finish = Finish(None, prompt_tokens=tokens, completion_tokens=0)
        record = Completion(origin, made, started=began).generation(
            finish, streamed=False, api_type=api_type
        )
        self.application.remember(record, self.token)
        self.set_header("X-Ornb-Source", origin.source)
        self.set_header("X-Ornb-Note", origin.note)
        self.set_header("X-Generation-Id", made)
        who = {"id": made, "model": origin.model, "provider": origin.provider}
        self.finish(dumps({**who, **answer}))


class Decisions(NoChat):
    """``POST /api/alpha/decisions``."""

    async def post(self) -> None:
        """Decide each question."""
        body = json_object(self.request.body)
        model, state, questions = (body.get(name) for name in ("model", "state", "questions"))
        self.refuse_other_models(model, "decisions", LOCAL_ID)
        if not isinstance(state, str | dict | list) or not state:
            raise Fault(400, "state: give a text, an object or a list.")
        if any(isinstance(each, dict) and each.get("type") == "image_url" for each in state):
            raise Fault(404, _BLIND)
        if not isinstance(questions, dict) or not questions:
            raise Fault(400, "questions: give an object with at least one question.")
        options = {name: _options(name, each) for name, each in questions.items()}
        text = state if isinstance(state, str) else json.dumps(state, ensure_ascii=False)
        local, origin = self.application.local, _CANNED
        has_letters = all(len(each) <= len(ascii_uppercase) for each in options.values())
        if model != DECIDER_ID and has_letters and not local.why_not:
            try:
                shares, tokens = {}, 0
                for name, asked in questions.items():
                    shares[name], sent = await self._by_model(text, asked, options[name])
                    tokens, origin = tokens + sent, _LOCAL
            except Unavailable:
                origin = _CANNED
        if origin is _CANNED:
            whole = json.dumps([state, questions])
            shares = {name: _by_checksum(whole, name, options[name]) for name in questions}
            tokens = -(-len(whole) // 4)
        answers = {name: _answer(questions[name], shares[name]) for name in questions}
        used = {"input_tokens": tokens, "output_tokens": 0, "cost": 0}
        self.send_by(origin, "decisions", tokens, {"answers": answers, "usage": used})

    async def _by_model(
        self, text: str, question: Json, options: list[str]
    ) -> tuple[dict[str, float], int]:
        """Ask the local model for a word or a letter: what each has of the first token."""
        words, how = dict(zip(options, ("Yes", "No"), strict=False)), "one word, Yes or No."
        asked = f"{text}\n\n{question.get('instructions')}\n"
        if question["type"] != "noul":
            words, how = dict(zip(options, ascii_uppercase, strict=False)), "one letter."
            meant = question["criteria"]
            labels = meant if question["type"] == "score" else options
            lines = zip(words.values(), labels, strict=True)
            asked += "".join(f"{letter}: {label}\n" for letter, label in lines)
        found, tokens = await self.application.local.first_token(f"{asked}Answer with {how}")
        weights = dict.fromkeys(options, 1e-6)  # also where it said something else altogether
        for option, word in words.items():
            same = (share for token, share in found.items() if _is(token, word))
            weights[option] += sum(same)
        return _normal(weights), tokens


def _is(token: str, word: str) -> bool:
    """Whether a token is the word; of letters only the large one, as "a" begins sentences."""
    return token.strip() == word or (len(word) > 1 and token.strip() == word.lower())


def _options(name: str, question: Any) -> list[str]:
    """What can be answered: yes and no, the options, the places of the levels."""
    kind = question.get("type") if isinstance(question, dict) else None
    criteria = question.get("criteria") if isinstance(question, dict) else None
    if isinstance(question, dict) and question.get("instructions") is None:
        raise Fault(400, f"questions.{name}: give instructions, such as a question.")
    if kind == "noul":
        return ["yes", "no"]
    if kind == "choice" and isinstance(criteria, dict) and len(criteria) > 1:
        return list(criteria)
    if kind == "score" and isinstance(criteria, list) and 2 <= len(criteria) <= 10:
        return [str(place) for place in range(len(criteria))]
    if kind == "box":
        raise Fault(404, _BLIND)
    raise Fault(400, f"questions.{name}: this is no question of type noul, choice or score.")


def _answer(question: Json, shares: dict[str, float]) -> Json:
    kind, chosen = question["type"], max(shares, key=lambda option: shares[option])
    if kind == "noul":
        return {"type": kind, "noul": shares["yes"]}
    known = {"type": kind, "probabilities": shares, "confidence": shares[chosen]}
    if kind == "choice":
        return {"choice": chosen, **known}
    score = round(sum(int(place) * share for place, share in shares.items()), 2)
    return {"score": score, "legend": dict(zip(shares, question["criteria"], strict=True)), **known}


def _by_checksum(text: str, name: str, options: list[str]) -> dict[str, float]:
    def weight(option: str) -> float:
        words = "\0".join((text, name, option)).encode(errors="replace")
        return 0.05 + zlib.crc32(words) % 101 / 100

    return _normal({option: weight(option) for option in options})


def _normal(weights: dict[str, float]) -> dict[str, float]:
    """Two decimals each, as the service gives them."""
    return {option: round(weight / sum(weights.values()), 2) for option, weight in weights.items()}
