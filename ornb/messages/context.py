"""Room for a prompt: does it fit the model, by how much not, and which models would take it.

A row of `ornb.models` or the record itself will do for a model.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..api.body import messages_from
from ..api.parameters import listed_count, record_of
from ..api.refusals import mapping
from ..api.reply import counted
from ..errors import OrnbError

if TYPE_CHECKING:
    import pandas as pd

    from ..api.body import Messages

TOKENS_A_MESSAGE = 4
"""What a message adds to its text, about."""
DOUBT = 0.3
"""Share by which the estimate may well be wrong."""
UNCOUNTED = 10_000
"""Tokens that each image, file or recording may come to before a prompt is said to fit. (A small
picture was 8,500 in a call recorded with gpt-4o-mini, and 40 with a Claude model.)"""
_MODALITIES = {"image_url": "image", "file": "file", "input_audio": "audio", "video_url": "video"}
"""Types of a message's parts that are no text, and the input modality that each needs."""
_WORDS = {"audio": "recording"}
_SAID = re.compile(
    r"context (?:length|window)\D{0,40}?([\d,]{3,})(.{1,80}?)([\d,]{3,}) tokens", re.DOTALL
)
"""How services say it: "... maximum context length is 8192 tokens. However, you requested about
9000 tokens", or "your prompt has 9000 tokens"."""
_KINDS = re.compile(
    r"([A-Za-z]+)|(\d+)|(\s*\n\s*| {2,})|([!-/:-@\[-`{-~]+)|([^\x00-\x7f]+)", re.ASCII
)
"""Words, numbers, line ends and indents, punctuation, and everything beyond ASCII."""


def suggest(
    models: pd.DataFrame,
    *,
    accepts: str | Iterable[str] = (),
    parameters: str | Iterable[str] = (),
    min_context: int = 0,
    n: int = 3,
) -> list[str]:
    """Name a few models that can do something, capable and cheap ones first.

    Of the chat models that can, the better half by intelligence index is taken, and of it the
    cheapest first, one of each author. Where too few have an index, the others follow by price.

    Parameters
    ----------
    models : pandas.DataFrame
        A models frame.
    accepts : str or iterable of str
        Input modalities: "image", "file", "audio".
    parameters : str or iterable of str
        Parameters such as "tools".
    min_context : int
        Tokens.
    n : int
        How many at most.

    Returns
    -------
    list of str
        Ids.

    Raises
    ------
    ConfigError
        There is no such modality or parameter.

    Examples
    --------
    >>> len(suggest(ornb.models(), accepts=["image", "file"]))
    3
    """
    from ..catalog.filters import filter_models
    from ..pricing import blended_usd_per_million

    able = filter_models(
        models,
        accepts=accepts or None,
        parameters=parameters or None,
        min_context=min_context or None,
        returns="text",
        routers=False,
        aliases=False,
        batch=False,
    )
    price = blended_usd_per_million(
        able["prompt_usd_per_million"], able["completion_usd_per_million"]
    )
    index = able.get("intelligence_index", price * math.nan)  # a past day has none
    order = able.assign(weak=~(index >= index.median()), price=price, better=-index, key=able.index)
    order = order[price.notna()].sort_values(["weak", "price", "better", "key"])
    varied = order[~order["author"].duplicated()]
    return list(dict.fromkeys([*varied.index, *order.index]))[:n]


@dataclass(frozen=True)
class FitReport:
    """Whether a prompt and its answer fit a model's context, and if not, what does."""

    model: str
    prompt_tokens: int
    """By the rule of thumb, or exact when `is_exact`."""
    max_tokens: int = 0
    """Tokens kept for the answer."""
    context_length: int | None = None
    is_exact: bool = False
    """Whether the service counted, rather than the rule of thumb."""
    uncounted: tuple[str, ...] = ()
    """What is in the prompt too, and nobody but the model can count: ("image", "image")."""
    alternatives: tuple[str, ...] = ()
    """Ids of models that have room."""

    @property
    def over_by(self) -> int:
        """Tokens too many; 0 if there are none, or if the context is unknown."""
        needed = self.prompt_tokens + self.max_tokens
        return max(0, needed - self.context_length) if self.context_length else 0

    @property
    def verdict(self) -> str:
        """One of "fits", "may not fit" (a rule of thumb leaves a doubt), "too long", "unknown"."""
        if not self.context_length:
            return "unknown"
        doubt = 0 if self.is_exact else math.ceil(self.prompt_tokens * DOUBT)
        left = self.context_length - self.prompt_tokens - self.max_tokens
        if left < -doubt:
            return "too long"
        return "fits" if left >= doubt + UNCOUNTED * len(self.uncounted) else "may not fit"

    def __str__(self) -> str:
        about = "" if self.is_exact else "About "
        parts = f"{about}{self.prompt_tokens:,} tokens of prompt"
        if self.uncounted:
            others = [counted(n, word) for word, n in Counter(self.uncounted).items()]
            parts += f" (without its {in_words(others, 'and')})"
        if self.max_tokens:
            parts += f" and {self.max_tokens:,} of answer"
        if not self.context_length:
            return f"{parts}; how many {self.model} takes is not listed."
        limit = f"{self.model}, which takes {self.context_length:,} in all"
        if not self.over_by:
            left = self.context_length - self.prompt_tokens - self.max_tokens
            return f"{parts} leave {left:,} free in {limit}."
        advice = f", or ask a model with room: {in_words(self.alternatives)}" * bool(
            self.alternatives
        )
        return f"{parts} are {self.over_by:,} too many for {limit}. Shorten it{advice}."


def in_words(names: Sequence[str], last: str = "or") -> str:
    """Put names into a sentence.

    >>> in_words(["a", "b", "c"]), in_words(["a"])
    ('a, b or c', 'a')
    """
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def fits(
    messages: Messages,
    model: Any,
    max_tokens: int | None = None,
    *,
    models: pd.DataFrame | None = None,
    refusal: OrnbError | None = None,
) -> FitReport:
    """Check whether messages fit a model's context, by how much not, and what they would fit.

    Tokens are estimated (`estimate_tokens`), since each model counts its own way; hence the
    verdict "may not fit". Images, files and sound are named but not counted.

    Parameters
    ----------
    messages : str or sequence of dict
        As they would be sent.
    model : Series or mapping
        A row of `ornb.models`, or its record.
    max_tokens : int, optional
        Tokens to keep for the answer.
    models : pandas.DataFrame, optional
        Models to look for room in.
    refusal : OrnbError, optional
        The service's own `ContextTooLong`, after the fact: its counts take the estimate's place.

    Returns
    -------
    FitReport
        Its text is for people.

    Raises
    ------
    ConfigError
        `model` is no model.

    Examples
    --------
    >>> fits("word " * 100_000, {"id": "lab/a", "context_length": 8_192}).verdict
    'too long'
    """
    record = record_of(model)
    prompt, kinds = _estimate(messages_from(messages, may_be_empty=True))
    limit = listed_count(record.get("context_length"))
    answer = max_tokens or 0
    said = _SAID.search(str(refusal)) if refusal is not None else None
    if said:
        limit, total = (int(said[group].replace(",", "")) for group in (1, 3))
        answer = 0 if "requested" not in said[2] else min(answer, total)
        prompt = total - answer
    needed = prompt + answer
    report = FitReport(
        str(record.get("id", "the model")),
        prompt,
        answer,
        limit,
        is_exact=said is not None,
        uncounted=() if said else tuple(_WORDS.get(kind, kind) for kind in kinds),
    )
    if models is None or not report.over_by:
        return report
    room = needed if said else math.ceil(needed * (1 + DOUBT))
    accepts = {*kinds}.intersection(_MODALITIES.values())
    able = suggest(models, accepts=sorted(accepts), min_context=room)
    return replace(report, alternatives=tuple(able))


def estimate_tokens(text: str) -> int:
    """Estimate how many tokens a text is, for any model, by the lengths of words.

    Next to the tokenizer of SmolLM2 that is within 15 % for English prose, Python and JSON. Long
    numbers and other languages may be off by half: there tokenizers differ most.
    """
    tokens = 0.0
    for piece in _KINDS.finditer(text):
        length = piece.end() - piece.start()
        match piece.lastindex:
            case 1:
                tokens += 1 + max(0, length - 7) / 6
            case 2 | 4:
                tokens += math.ceil(length / 2)
            case 3:
                tokens += 1
            case _:
                tokens += len(piece.group().encode("utf-8", "replace")) / 3
    return math.ceil(tokens)


def _estimate(messages: Iterable[Mapping[str, Any]]) -> tuple[int, list[str]]:
    """Tokens of the text, and the modalities of the parts that are none."""
    texts, kinds, count = [], [], 0
    for message in messages:
        count += 1
        content = message.get("content")
        text = {"type": "text", "text": content}
        parts = content if isinstance(content, list | tuple) else [text]
        for part in map(mapping, parts):
            kind = str(part.get("type"))
            if kind == "text":
                texts.append(str(part.get("text") or ""))
            elif part:
                kinds.append(_MODALITIES.get(kind, kind))
        extras = (message.get(key) for key in ("tool_calls", "reasoning_details"))
        texts += [json.dumps(extra, default=str) for extra in extras if extra]
    return sum(map(estimate_tokens, texts)) + TOKENS_A_MESSAGE * count, kinds
