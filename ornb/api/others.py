"""Calls that are no chats: decisions, embeddings, reranking. One way, row, bound and replay."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import UnexpectedAnswer
from .body import check_fields
from .reply import counted
from .stream import Stream

if TYPE_CHECKING:
    import requests

    from .reply import Event


class Kind(NamedTuple):
    """How one kind of model is asked, and where its answer is."""

    path: str
    needs: tuple[str, ...]
    """Fields that every request of this kind has, and no other."""
    takes: tuple[str, ...]
    """Those of its own that it may have."""
    told: str
    """Where the answer is, in the body of one."""
    many: str | None = None
    """The field with a list, each item of which is a prompt to the model."""

    def prompts(self, body: Mapping[str, Any]) -> int:
        """Return how many prompts to a model a request is."""
        return len(body[self.many]) if self.many and isinstance(body[self.many], list) else 1


KINDS = {
    "decisions": Kind("/decisions", ("state", "questions"), (), "answers"),
    "embeddings": Kind(
        "/embeddings", ("input",), ("dimensions", "encoding_format", "input_type"), "data", "input"
    ),
    "rerank": Kind("/rerank", ("query", "documents"), ("top_n",), "results", "documents"),
}
"""By the name of the kind, as of the official SDK 1.3.84; 2026-10-27. Billed for input alone."""
_COUNTS = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}


def kind_of(body: Mapping[str, Any]) -> str:
    """Return the kind of model that a request is for."""
    if "messages" not in body:
        for name, kind in KINDS.items():
            if all(field in body for field in kind.needs):
                return name
    return "chat"


class OtherCall(Stream):
    """The same way, gate and row as a chat call's; only what goes out and comes in differs."""

    @property
    def _kind(self) -> str:
        return kind_of(self._params)

    @property
    def _wanted(self) -> str:
        return f"an answer of the kind {self._kind}"

    @property
    def _url(self) -> str:
        base = self._service.base_url
        if self._kind == "decisions":  # beside the version of the others, not under it (2026-11-30)
            base = base.removesuffix("/v1") + "/alpha"
        return base + KINDS[self._kind].path

    def _request(self) -> dict[str, Any]:
        check_fields({"label": self._label, **self._params}, "This call")
        return {"model": self._model, **self._params}

    def _take(
        self, chunk: Any, text: str | None, now: float, response: requests.Response
    ) -> list[Event]:
        """Let the answer stand where a chat has its text; `text` stays as it came."""
        key = KINDS[self._kind].told
        told = chunk.get(key) if isinstance(chunk, dict) else None
        if isinstance(told, dict | list):
            # Vectors are heavy, and kept once.
            is_light = self._kind != "embeddings"
            text = json.dumps({k: v for k, v in chunk.items() if is_light or k != key})
            said = {"message": {"content": self._said(told)}}
            chunk = {**chunk, "choices": [said]}
            if isinstance(used := chunk.get("usage"), dict):
                used = {_COUNTS.get(key, key): value for key, value in used.items()}
                if self._kind != "decisions":  # which tell both counts
                    sent = used.get("prompt_tokens")
                    sent = used.get("total_tokens") if sent is None else sent
                    used |= {"prompt_tokens": sent, "completion_tokens": 0}
                chunk["usage"] = used
        return super()._take(chunk, text, now, response)

    def _said(self, told: Any) -> str:
        """The answer as text: JSON; of embeddings their number, as the reply's value has them."""
        if self._kind != "embeddings":
            return json.dumps(told)
        found = vectors(told, len(self._params["input"]))
        self._assembly.outcome["value"] = found
        return counted(len(found) - found.count(""), "embedding")

    def _refuse_empty(self, answer: Any, response: requests.Response) -> None:
        told, kind = KINDS[self._kind].told, self._kind
        found = answer.get(told) if isinstance(answer, dict) else None
        if not isinstance(found, dict if kind == "decisions" else list):
            raise UnexpectedAnswer(
                f"{self._service.host} answered JSON without `{told}` (status "
                f"{response.status_code}), which is not {self._wanted}. Check base_url."
            )
        if kind == "embeddings" and not any(self.reply.value):
            raise UnexpectedAnswer(
                f"{self._service.host} gave {counted(len(found), 'embedding')} for "
                f"{counted(len(self._params['input']), 'text')}, none of which can be told to be "
                "of one of them. Ask again, or another model or provider."
            )


def vectors(told: Any, count: int) -> list[str]:
    """Return float32 numbers in base64 for each of so many texts; empty for what has not one."""
    listed = [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
    places: list[Any] = [each.get("index") for each in listed]
    in_order = list(range(count))
    if places in (in_order, [None] * count):  # nearly always
        return [_encoded(each.get("embedding")) for each in listed]
    found: dict[int, str] = {}
    for place, each in zip(places, listed, strict=True):
        if type(place) is int and 0 <= place < count:  # of two for one text, neither is sure
            found[place] = "" if place in found else _encoded(each.get("embedding"))
    return [found.get(place, "") for place in in_order]


def _encoded(vector: Any) -> str:
    if isinstance(vector, str):
        return "".join(vector.split()) if "\n" in vector else vector
    if not isinstance(vector, list):
        return ""
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except (struct.error, OverflowError):
        return ""
