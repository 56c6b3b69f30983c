"""One call of the decisions API, which is no chat: a state and questions in, probabilities out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..errors import UnexpectedAnswer
from .body import check_fields
from .stream import Stream

if TYPE_CHECKING:
    import requests

    from .reply import Event


class DecisionCall(Stream):
    """The same way, gate and row as a chat call's; only what goes out and comes in differs."""

    @property
    def _url(self) -> str:
        # Beside the version of the others, not under it (2026-11-30).
        return self._service.base_url.removesuffix("/v1") + "/alpha/decisions"

    def _request(self) -> dict[str, Any]:
        check_fields({"label": self._label, **self._params}, "Client.decide")
        return {"model": self._model, **self._params}

    def _take(self, chunk: Any, text: str, now: float, response: requests.Response) -> list[Event]:
        """Let the answers stand where a chat has its text; `text` stays as it came."""
        if isinstance(chunk, dict) and isinstance(chunk.get("answers"), dict):
            said = {"message": {"content": json.dumps(chunk["answers"])}}
            chunk = {**chunk, "choices": [said]}
            if isinstance(used := chunk.get("usage"), dict):
                names = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
                chunk["usage"] = {names.get(key, key): value for key, value in used.items()}
        return super()._take(chunk, text, now, response)

    def _refuse_empty(self, answer: Any, response: requests.Response) -> None:
        if isinstance(answer, dict) and not isinstance(answer.get("answers"), dict):
            raise UnexpectedAnswer(
                f"{self._service.host} answered JSON without `answers` (status "
                f"{response.status_code}), which is no decision. Check base_url."
            )
