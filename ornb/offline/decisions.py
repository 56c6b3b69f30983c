"""``POST /api/alpha/decisions``: canned decisions, the same to the same request.

References
----------
OpenRouter, ``POST /api/alpha/decisions``, as the official SDK 1.3.84 has it (2026-10-27).
"""

from __future__ import annotations

import json
import secrets
import zlib
from typing import Any

from .handler import ApiHandler
from .question import json_object
from .store import CANNED_PROVIDER, DECIDER_ID
from .wire import Fault, Json, dumps

NOTE = "No model decided: these figures are made from a checksum of the request"


class Decisions(ApiHandler):
    """``POST /api/alpha/decisions``."""

    def post(self) -> None:
        """Decide by a checksum."""
        body = json_object(self.request.body)
        self._refuse_other_models(body.get("model"))
        state, questions = body.get("state"), body.get("questions")
        if not isinstance(state, str | dict | list) or not state:
            raise Fault(400, "state: give a text, an object or a list.")
        if not isinstance(questions, dict) or not questions:
            raise Fault(400, "questions: give an object with at least one question.")
        text = json.dumps([state, questions])
        made = "gen-dec-" + secrets.token_hex(8)
        answer = {
            "id": made,
            "model": DECIDER_ID,
            "provider": CANNED_PROVIDER,
            "answers": {name: _answer(name, each, text) for name, each in questions.items()},
            "usage": {"input_tokens": -(-len(text) // 4), "output_tokens": 0, "cost": 0},
        }
        self.set_header("X-Ornb-Note", NOTE)
        self.set_header("X-Generation-Id", made)
        self.finish(dumps(answer))

    def _refuse_other_models(self, model: Any) -> None:
        """The snapshot lists models that chat alone: any other id may be of one that decides."""
        if not isinstance(model, str) or "/" not in model:
            raise Fault(400, f"{model} is not a valid model ID")
        if self.application.store.find(model) is not None:
            message = f"{model} does not support decisions."
            raise Fault(404, message, error_type="not_found")


def _answer(name: str, question: Any, text: str) -> Json:
    kind = question.get("type") if isinstance(question, dict) else None
    criteria = question.get("criteria") if isinstance(question, dict) else None
    if kind == "noul":
        return {"type": kind, "noul": _share(text, name)}
    if kind == "choice" and isinstance(criteria, dict) and len(criteria) > 1:
        shares = _shares([str(option) for option in criteria], text, name)
        chosen = max(shares, key=lambda option: shares[option])
        known = {"probabilities": shares, "confidence": shares[chosen]}
        return {"type": kind, "choice": chosen, **known}
    if kind == "score" and isinstance(criteria, list) and 2 <= len(criteria) <= 10:
        shares = _shares([str(place) for place in range(len(criteria))], text, name)
        score = round(sum(int(place) * share for place, share in shares.items()), 2)
        legend = dict(zip(shares, criteria, strict=True))
        known = {"probabilities": shares, "confidence": max(shares.values())}
        return {"type": kind, "score": score, "legend": legend, **known}
    if kind == "box":
        raise Fault(404, "No endpoints found that support image input. Offline, none is read.")
    raise Fault(400, f"questions.{name}: this is no question of type noul, choice or score.")


def _share(*words: str) -> float:
    return zlib.crc32("\0".join(words).encode(errors="replace")) % 101 / 100


def _shares(options: list[str], text: str, name: str) -> dict[str, float]:
    """Two decimals each, as the service gives them."""
    weights = [0.05 + _share(text, name, option) for option in options]
    return {
        option: round(weight / sum(weights), 2)
        for option, weight in zip(options, weights, strict=True)
    }
