"""``POST /embeddings`` by the local model, or as ``POST /rerank`` by hashed words: each says so.

Each word, and each run of three letters in it, adds to or takes from one of the dimensions, by its
checksum; so texts that share words are near each other, and synonyms are not.

References
----------
OpenRouter, ``POST /embeddings`` and ``POST /rerank``, by the official SDK 1.3.84 (2026-10-27).
Weinberger et al., "Feature hashing for large scale multitask learning", 2009.
"""

from __future__ import annotations

import base64
import contextlib
import math
import re
import struct
import zlib
from dataclasses import replace
from typing import Any

from .answers import LOCAL_NOTE, Unavailable
from .decisions import NoChat
from .question import json_object
from .store import CANNED_PROVIDER, EMBEDDER_ID, LOCAL_ID, LOCAL_PROVIDER, RERANKER_ID
from .wire import AnsweredBy, Fault, Json

DIMENSIONS, MOST_DIMENSIONS = 256, 4096
LOCAL_DIMENSIONS = 576
_LOCAL = AnsweredBy(
    *("local", LOCAL_ID, LOCAL_PROVIDER),
    f"{LOCAL_NOTE}, and it was made to write: vectors are the mean of its last hidden states",
)
_EMBEDDER = AnsweredBy(
    *("canned", EMBEDDER_ID, CANNED_PROVIDER),
    "No model made these vectors: words are hashed, so texts that share words are near",
)
_RERANKER = AnsweredBy(
    *("canned", RERANKER_ID, CANNED_PROVIDER),
    "No model made this order: it goes by the words that are shared",
)
_WORD = re.compile(r"\w+")


class Embeddings(NoChat):
    """``POST /embeddings``."""

    async def post(self) -> None:
        """Have the local model read each text, or hash its words."""
        body = json_object(self.request.body)
        model = body.get("model")
        self.refuse_other_models(model, "embeddings", LOCAL_ID)
        texts, wanted = body.get("input"), body.get("dimensions")
        texts = [texts] if isinstance(texts, str) else texts
        size = DIMENSIONS if wanted is None else wanted
        if not isinstance(texts, list) or not texts or not all(map(_is_text, texts)):
            raise Fault(400, "input: give a text, or a list of texts, none of them empty.")
        if type(size) is not int or not 1 <= size <= MOST_DIMENSIONS:
            raise Fault(400, f"dimensions: give 1 to {MOST_DIMENSIONS}.")
        local, origin = self.application.local, _EMBEDDER
        found: list[Any] = []
        if model != EMBEDDER_ID and not local.why_not:
            if wanted in (None, LOCAL_DIMENSIONS):
                with contextlib.suppress(Unavailable):
                    found, tokens = await local.embed(texts)
                    origin, size = _LOCAL, LOCAL_DIMENSIONS
            else:
                why = (
                    f"{origin.note} (the local model gives {LOCAL_DIMENSIONS} numbers, not {size})"
                )
                origin = replace(origin, note=why)
        if not found:
            found, tokens = [vector(text, size) for text in texts], _tokens(texts)
        if body.get("encoding_format") == "base64":
            found = [base64.b64encode(struct.pack(f"<{size}f", *one)).decode() for one in found]
        data: list[Json] = [
            {"object": "embedding", "index": n, "embedding": one} for n, one in enumerate(found)
        ]
        used = {"prompt_tokens": tokens, "total_tokens": tokens, "cost": 0}
        answer = {"object": "list", "data": data, "usage": used}
        self.send_by(origin, "embeddings", tokens, answer)


class Rerank(NoChat):
    """``POST /rerank``."""

    def post(self) -> None:
        """Order by the words that are shared."""
        body = json_object(self.request.body)
        self.refuse_other_models(body.get("model"), "rerank")
        query, documents = body.get("query"), body.get("documents")
        most = body.get("top_n")
        if not isinstance(query, str) or not query.strip():
            raise Fault(400, "query: give a text.")
        listed = documents if isinstance(documents, list) else []
        texts: list[Any] = [each.get("text") if isinstance(each, dict) else each for each in listed]
        if not texts or not all(map(_is_text, texts)):
            raise Fault(400, "documents: give a list of texts, none of them empty.")
        if most is not None and (type(most) is not int or most < 1):
            raise Fault(400, "top_n: give a number from 1 on.")
        asked = vector(query, MOST_DIMENSIONS)
        scores = [
            max(0.0, math.fsum(map(float.__mul__, asked, vector(text, MOST_DIMENSIONS))))
            for text in texts
        ]
        order = sorted(range(len(texts)), key=lambda place: -scores[place])[:most]
        results = [
            {"index": n, "relevance_score": round(scores[n], 6), "document": {"text": texts[n]}}
            for n in order
        ]
        tokens = _tokens([query, *texts])
        answer = {"results": results, "usage": {"total_tokens": tokens, "cost": 0}}
        self.send_by(_RERANKER, "rerank", tokens, answer)


def vector(text: str, size: int) -> list[float]:
    """Hash the words of a text; the length of the vector is 1."""
    found = [0.0] * size
    for word in _WORD.findall(text.casefold()) or [text]:
        parts = [f"<{word}>"[at : at + 3] for at in range(len(word))]
        for part, weight in ((word, 1.0), *((each, 0.5 / len(parts)) for each in parts)):
            checksum = zlib.crc32(part.encode(errors="replace"))
            found[checksum % size] += weight if checksum & 0x8000_0000 else -weight
    length = math.hypot(*found)
    if not length:  # all took away what others added
        found[zlib.crc32(text.encode(errors="replace")) % size] = length = 1.0
    return [number / length for number in found]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _tokens(texts: list[Any]) -> int:
    return -(-sum(map(len, texts)) // 4)
