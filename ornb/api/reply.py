"""The values of a chat call: what was said, what it used, how long it took."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple


class Event(NamedTuple):
    """One piece of an answer, as it arrives.

    Attributes
    ----------
    type : str
        "text", "reasoning", "tool_call", "image", "annotation", "usage" or "finish".
    text : str
        The piece, for text and reasoning; never empty there.
    data : Any
        The piece, for the other types: as the API sent it, `Usage` for "usage".

    Examples
    --------
    >>> {event.type for event in ornb.client().stream("Hi")} >= {"text", "usage", "finish"}
    True
    """

    type: str
    text: str = ""
    data: Any = None


@dataclass(frozen=True)
class Usage:
    """What a call used; None where nobody said.

    Attributes
    ----------
    prompt_tokens : int or None
        Tokens sent, by the answering model's tokenizer; cached ones are among them.
    completion_tokens : int or None
        Tokens answered; reasoning is among them.
    total_tokens : int or None
        Both together.
    reasoning_tokens : int or None
        A part of `completion_tokens` (recordings have it above them; it is kept as sent).
    cached_tokens : int or None
        A part of `prompt_tokens`, read from the provider's cache.
    cache_write_tokens : int or None
        A part of `prompt_tokens`, written to the provider's cache.
    cost_usd : float or None
        What was charged, in USD. 0 is free, None is unknown.
    is_byok : bool or None
        Whether a key of the user's own with the provider paid.
    byok_usd : float or None
        What that provider took for it, in USD, beside `cost_usd`; None where no such key paid.
    server_tool_usd : float or None
        A part of `cost_usd`: what tools that the service ran cost, in USD.
    raw : mapping
        The `usage` object as it came; of several in one stream, what they say together.

    Examples
    --------
    >>> Usage.from_json({"prompt_tokens": 22, "completion_tokens": 9, "cost": 0.000145}).cost_usd
    0.000145

    References
    ----------
    OpenRouter docs, "Usage accounting"; 2026-08-22.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost_usd: float | None = None
    is_byok: bool | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    byok_usd: float | None = None
    server_tool_usd: float | None = None

    @property
    def lacks_byok(self) -> bool:
        """Whether a key of the user's own paid, and nobody told how much."""
        return bool(self.is_byok) and self.byok_usd is None

    @classmethod
    def from_json(cls, usage: Mapping[str, Any]) -> Usage:
        """Read the ``usage`` object of an answer.

        Parameters
        ----------
        usage : mapping
            As the API sends it; every key may be missing or null.

        Returns
        -------
        Usage
            With what could be read.

        Examples
        --------
        >>> Usage.from_json({"completion_tokens_details": {"reasoning_tokens": 5}}).reasoning_tokens
        5
        """
        sent = usage.get("prompt_tokens_details")
        made = usage.get("completion_tokens_details")
        costs = usage.get("cost_details")
        costs = costs if isinstance(costs, Mapping) else {}
        # Of calls on the service's own key it repeats `cost`.
        byok = (
            amount(costs.get("upstream_inference_cost")) if usage.get("is_byok") is True else None
        )
        prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        total = _count(usage, "total_tokens")
        if total is None and prompt is not None and completion is not None:  # as of decisions
            total = prompt + completion
        return cls(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=total,
            reasoning_tokens=_count(made, "reasoning_tokens"),
            cached_tokens=_count(sent, "cached_tokens"),
            cache_write_tokens=_count(sent, "cache_write_tokens"),
            cost_usd=amount(usage.get("cost")),
            is_byok=usage.get("is_byok") if isinstance(usage.get("is_byok"), bool) else None,
            byok_usd=byok,
            server_tool_usd=amount(costs.get("server_tool_cost")),
            raw=usage,
        )


@dataclass(frozen=True)
class Timing:
    """When a call began and how long its parts took, in seconds, by a clock that cannot jump.

    Times run from the first write to the socket, so that waiting in a queue of ours is not
    mistaken for the model's.

    Attributes
    ----------
    started_at : datetime or None
        When it was asked for (UTC).
    queued_s : float or None
        From the call to the first write: connecting, and waiting for a turn.
    connect_s : float or None
        Of that, making the connection; None when a kept one served.
    time_to_first_token_s : float or None
        To the read that held the first piece of text, of reasoning too; None if not
        streamed.
    time_to_first_answer_s : float or None
        The same to the first piece that is not reasoning.
    duration_s : float or None
        To the last byte.
    connection_reused : bool or None
        Whether a kept connection served; None if nothing was sent.
    time_to_first_byte_s : float or None
        To the head of the answer, which may come long before the first token.
    time_to_first_reasoning_s : float or None
        To the read that held the first piece of reasoning; None if there was none.
    arrival : str or None
        How the text came: "in pieces"; "in one piece" though a stream was asked for, as from a
        gateway that holds it back, so that no first token can be timed; "whole" where none was
        asked for. None if no text came.

    Examples
    --------
    >>> timing = ornb.ask("Hi").timing
    >>> 0 < timing.time_to_first_token_s < timing.duration_s
    True
    """

    started_at: datetime | None = None
    queued_s: float | None = None
    connect_s: float | None = None
    time_to_first_token_s: float | None = None
    time_to_first_answer_s: float | None = None
    duration_s: float | None = None
    connection_reused: bool | None = None
    time_to_first_byte_s: float | None = None
    time_to_first_reasoning_s: float | None = None
    arrival: str | None = None

    def tokens_per_second(self, completion_tokens: int | None) -> float | None:
        """Return the rate over the whole duration, the wait for the first token included.

        Parameters
        ----------
        completion_tokens : int or None
            Tokens answered.

        Returns
        -------
        float or None
            Tokens a second; None where either is unknown, or a stream came in one piece.

        Examples
        --------
        >>> Timing(duration_s=2.0).tokens_per_second(50)
        25.0
        """
        if not self.duration_s or completion_tokens is None or self.arrival == ONE_PIECE:
            return None
        return completion_tokens / self.duration_s


class ResponseCache(NamedTuple):
    """What OpenRouter's response cache says of an answer.

    Attributes
    ----------
    hit : bool
        Whether the answer came from it, at no cost; False: it was made now, and kept.
    age_s : float or None
        Seconds since it was made; None where it was made now.
    ttl_s : float or None
        Seconds that it is kept yet.

    Examples
    --------
    >>> ResponseCache.from_headers({"X-OpenRouter-Cache-Status": "HIT"}).hit
    True
    """

    hit: bool
    age_s: float | None = None
    ttl_s: float | None = None

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> ResponseCache | None:
        """Read the headers of an answer.

        Parameters
        ----------
        headers : mapping of str to str
            Case-insensitive.

        Returns
        -------
        ResponseCache or None
            None where the cache was not asked.
        """
        status = headers.get("X-OpenRouter-Cache-Status")
        if not status:
            return None
        age, ttl = (_seconds(headers.get(f"X-OpenRouter-Cache-{name}")) for name in ("Age", "TTL"))
        return cls(status.strip().upper() == "HIT", age, ttl)


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


@dataclass(frozen=True)
class Reply:
    """The answer to one chat call, whole or as far as it came.

    Shows itself in a notebook as safe HTML; ``print(reply.text)`` gives the plain text.

    Attributes
    ----------
    text : str
        The answer; where the model refused, the words of its refusal.
    reasoning : str
        What the model thought aloud; "" when it did not, or did not show it.
    images : tuple of str
        Images made, as data URLs.
    annotations : tuple of dict
        Web citations and parsed files.
    tool_calls : tuple of dict
        Functions that the model asks to be called, arguments as a JSON string.
    reasoning_details : tuple of dict
        To be sent back unchanged when the conversation goes on after tool calls.
    logprobs : tuple of dict
        One entry a token, if ``logprobs=True`` was asked for and the provider gave them.
    usage : Usage
        Tokens and what was charged.
    timing : Timing
        When, and how long; in s.
    requested_model : str or None
        The model asked for.
    model : str or None
        The model that served, which fallbacks, aliases and routers make another one.
    provider : str or None
        Who ran it, where the service says.
    finish_reason : str or None
        "stop", "length", "tool_calls", "content_filter" or "error"; None if it was cut
        short.
    native_finish_reason : str or None
        The same in the provider's own word.
    generation_id : str or None
        The id to look the bill up by.
    source : str
        "live", "recorded", "local" (a small model on this machine) or "canned".
    note : str or None
        What the source says of itself, in a line.
    recorded_at : datetime or None
        When it was recorded (UTC); None unless `source` is "recorded".
    recorded_from : str or None
        The source it had then.
    status : str
        "ok", "stopped" or "error".
    error : str or None
        What went wrong, for people; None unless `status` is "error".
    http_status : int or None
        Status of the answer; None where none came.
    attempts : int
        Requests sent for it; above 1 when a refusal was asked again.
    label : str or None
        The caller's own word for the call.
    refusal : str
        The part of `text` that the model marked as a refusal; "" if it did not refuse.
    blocked : str or None
        Which safeguard of the service held something back, and why; None if none did.
    service_tier : str or None
        The tier that served, such as "flex", where the service says.
    metadata : mapping or None
        How the call was routed (``openrouter_metadata``), if it was asked for.
    response_cache : ResponseCache or None
        What OpenRouter's response cache says, where it was asked for.
    proxy_cost_usd : float or None
        What a LiteLLM proxy reckons the call to cost, in USD, which is no provider's bill; None
        where no such proxy answered, or it knows no price.
    value : Any
        What the text says in the form of the ``schema`` that was asked for; else None.
    raw_chunks : tuple of str
        The JSON texts that arrived, untouched: one for a plain answer, one a chunk for a
        stream.

    Examples
    --------
    >>> Reply(text="A cat.", model="acme/orbit", usage=Usage(prompt_tokens=22, completion_tokens=3))
    Reply('A cat.', 'acme/orbit', 22 → 3 tokens, cost not reported)
    """

    text: str = ""
    reasoning: str = ""
    images: tuple[str, ...] = ()
    annotations: tuple[dict[str, Any], ...] = ()
    tool_calls: tuple[dict[str, Any], ...] = ()
    reasoning_details: tuple[dict[str, Any], ...] = ()
    logprobs: tuple[dict[str, Any], ...] = ()
    usage: Usage = field(default_factory=Usage)
    timing: Timing = field(default_factory=Timing)
    requested_model: str | None = None
    model: str | None = None
    provider: str | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    generation_id: str | None = None
    source: str = "live"
    note: str | None = None
    recorded_at: datetime | None = None
    recorded_from: str | None = None
    status: str = "ok"
    error: str | None = None
    http_status: int | None = None
    attempts: int = 0
    label: str | None = None
    refusal: str = ""
    blocked: str | None = None
    service_tier: str | None = None
    metadata: Mapping[str, Any] | None = None
    response_cache: ResponseCache | None = None
    proxy_cost_usd: float | None = None
    value: Any = None
    raw_chunks: tuple[str, ...] = field(default=(), repr=False)

    @property
    def cost_usd(self) -> float | None:
        """What was charged, or a proxy reckons, in USD; None until the service said."""
        return self.usage.cost_usd if self.proxy_cost_usd is None else self.proxy_cost_usd

    @property
    def raw(self) -> Any:
        """What arrived, parsed: the answer, or the list of a stream's chunks."""
        chunks = [json.loads(chunk) for chunk in self.raw_chunks]
        return chunks[0] if len(chunks) == 1 else chunks

    @property
    def is_empty(self) -> bool:
        """Whether the answer has come to its end, and nothing is in it but perhaps thoughts."""
        there = self.text.strip() or self.images or self.tool_calls
        return self.status == "ok" and self.timing.duration_s is not None and not there

    @property
    def facts(self) -> list[str]:
        """The line under an answer, in pieces: model, provider, tokens, cost, times."""
        usage, timing = self.usage, self.timing
        pieces = [self.model or self.requested_model, self.provider]
        if usage.prompt_tokens is not None and usage.completion_tokens is not None:
            pieces.append(f"{usage.prompt_tokens:,} → {usage.completion_tokens:,} tokens")
        pieces.append(self._cost())
        if self.response_cache is not None and self.response_cache.hit:
            pieces.append("from OpenRouter's response cache")
        if timing.time_to_first_token_s is not None:
            pieces.append(f"{timing.time_to_first_token_s:.2f} s to first token")
        elif timing.arrival == ONE_PIECE:
            pieces.append("came in one piece")
        if timing.duration_s is not None:
            pieces.append(f"{timing.duration_s:.2f} s")
        pieces.append(self._ending())
        return [piece for piece in pieces if piece]

    def _ending(self) -> str | None:
        """What is to be said of how it ended."""
        if self.status != "ok":
            return self.status
        if self.blocked or self.refusal:
            return self.blocked or "the model refused"
        if self.finish_reason in ENDINGS:
            return ENDINGS[self.finish_reason]
        if self.tool_calls:
            return f"asks for {counted(len(self.tool_calls), 'tool call')}"
        return NO_ANSWER if self.is_empty else None

    def _cost(self) -> str:
        cost = charged(self)
        if is_unbilled(self.recorded_from or source_of(self), cost, self.status):
            return NOT_BILLED
        when = "billed" if self.proxy_cost_usd is None else "reckoned by the proxy"
        when = "when recorded" if self.source == "recorded" else when
        fee = "cost not reported" if cost is None else f"{format_usd(cost)} {when}"
        own = self.usage.byok_usd
        if own is None and not self.usage.lacks_byok:
            return fee
        paid = "an amount not reported" if own is None else format_usd(own)
        return f"{paid} paid by your own key" + ("" if cost == 0 else f" + {fee}")

    def row(self, estimate_usd: float | None = None) -> dict[str, Any]:
        """Return the call as a row of a table.

        Parameters
        ----------
        estimate_usd : float, optional
            What the listed prices make of it, in USD.

        Returns
        -------
        dict
            Columns as in `ornb.usage` (docs/tables.md), None where not known.

        Examples
        --------
        >>> Reply(requested_model="acme/orbit", usage=Usage(22, 9)).row()["prompt_tokens"]
        22
        """
        return dict(zip(CALL, values_of(self, estimate_usd), strict=True))

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= 60 else self.text[:59] + "…"
        return f"Reply({text!r}, {', '.join(self._plain_facts())})"

    def _plain_facts(self) -> Iterable[str]:
        for piece in self.facts:
            is_name = piece in (self.model, self.requested_model)
            yield repr(piece) if is_name or not piece.isprintable() else piece

    def _repr_html_(self) -> str:
        # Imported here, against the order of the house: a reply that is the last value of a cell
        # must show itself safely, and most programs never show one.
        from ..text.rendering import reply_html

        return reply_html(self)


CALL = (
    *("started_at", "label", "model", "served_model", "provider", "source", "prompt_tokens"),
    *("completion_tokens", "reasoning_tokens", "cached_tokens", "cache_write_tokens"),
    *("total_tokens", "cost_usd", "cost_source", "byok_usd", "server_tool_usd", "estimate_usd"),
    *("arrival", "time_to_first_token_s", "time_to_first_answer_s", "duration_s"),
    *("finish_reason", "status"),
    *("error", "http_status", "generation_id", "attempts"),
)
"""What a row of a table says of a call: names of columns, with their units."""


def values_of(reply: Reply, estimate_usd: float | None) -> tuple[Any, ...]:
    """Values of `CALL`, as one tuple in its order: see `Reply.row`."""
    used, timing = reply.usage, reply.timing
    return (
        timing.started_at,
        reply.label,
        reply.requested_model,
        reply.model,
        reply.provider,
        source_of(reply),
        used.prompt_tokens,
        used.completion_tokens,
        used.reasoning_tokens,
        used.cached_tokens,
        used.cache_write_tokens,
        used.total_tokens,
        charged(reply),
        cost_source(reply, estimate_usd),
        used.byok_usd,
        used.server_tool_usd,
        estimate_usd,
        timing.arrival,
        timing.time_to_first_token_s,
        timing.time_to_first_answer_s,
        timing.duration_s,
        reply.finish_reason,
        reply.status,
        reply.error,
        reply.http_status,
        reply.generation_id,
        reply.attempts,
    )


NO_TEX = "mathjax_ignore tex2jax_ignore"
"""Classes of HTML in which Jupyter takes no dollars for a formula: of MathJax 3 and 2."""


def counted(count: int, noun: str) -> str:
    """Write how many there are: "1 call", "1,200 calls"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_usd(amount: float) -> str:
    """Write USD so that small ones stay legible: two digits below a dollar, cents above.

    >>> [format_usd(amount) for amount in (0, 0.000145, 0.0123, 3.5)]
    ['$0', '$0.00015', '$0.012', '$3.50']
    """
    if amount == 0:
        return "$0"
    if abs(amount) >= 1:
        return f"${amount:,.2f}"
    digits = 1
    while digits < 12 and abs(amount) < 10 ** -(digits - 1):
        digits += 1
    return f"${amount:.{digits}f}"


ONE_PIECE = "in one piece"
"""How a streamed answer came that something held back."""
ENDINGS = {"length": "cut at max_tokens", "content_filter": "ended by a content filter"}
"""Finish reasons by which an answer is not all there, in a reader's words."""
NO_ANSWER = "the answer is empty"
"""Said of one that came to its end with nothing in it, without any error."""
NOT_BILLED = "not billed"
"""Said where no bill is to come: of answers from this machine, of refusals, of what never left."""

# The provider may have worked, and be paid, although a gateway on the way gave up.
_MAYBE_BILLED = frozenset({408, 504, 524})


def source_of(reply: Reply) -> str | None:
    """Return who answered a call, or refused it; None for a call that was not sent."""
    # A call that ended has a duration, and one that left was written at some moment.
    never_left = reply.timing.duration_s is not None and reply.timing.queued_s is None
    sent = reply.status == "ok" or reply.attempts or not never_left
    return reply.source if sent else None


def charged(reply: Reply) -> float | None:
    """Return the USD that a call was charged; None where only the books can tell.

    0 where the service refused, or nothing was sent, since nothing was generated.
    """
    told, status = reply.cost_usd, reply.http_status or 0
    if told is not None or reply.status == "ok":
        return told
    refused = reply.status == "error" and status >= 400 and status not in _MAYBE_BILLED
    return 0.0 if refused or source_of(reply) is None else None


def cost_source(reply: Reply, estimate_usd: float | None) -> str:
    """Return what kind of figure a call's cost is.

    "billed", "fee" (billed, but an own key paid more, and nobody told how much), "proxy",
    "estimated" or "unknown".
    """
    if charged(reply) is None:
        return "unknown" if estimate_usd is None else "estimated"
    if reply.proxy_cost_usd is not None:
        return "proxy"
    return "fee" if reply.usage.lacks_byok else "billed"


def not_sent(error: Exception, source: str, model: str | None, label: str | None) -> Reply:
    """Return the reply of a call that was refused before it left: of no source, and at no cost."""
    began = Timing(started_at=datetime.now(UTC), duration_s=0.0)
    return Reply(
        requested_model=model,
        status="error",
        error=str(error),
        label=label,
        source=source,
        timing=began,
    )


def beside(reply: Reply, elsewhere: str) -> str | None:
    """Say what a row with an answer's text does not hold of it, or why it has no text."""
    if reply.blocked or reply.refusal:
        return reply.blocked or "the model refused"
    counts = (("image", len(reply.images)), ("tool call", len(reply.tool_calls)))
    came = [f"{n} {noun}{'s' * (n > 1)}" for noun, n in counts if n]
    if came:
        return f"{' and '.join(came)} came, which a row does not hold; {elsewhere}"
    if reply.finish_reason == "content_filter" and not reply.text:
        return ENDINGS["content_filter"]
    return NO_ANSWER if reply.is_empty else None


def is_unbilled(source: str | None, cost_usd: float | None, status: str) -> bool:
    """Return whether there is no bill at all, rather than one of 0 or one that comes later."""
    refused = cost_usd == 0 and (status == "error" or source is None)
    return source in ("local", "canned") or refused


def _count(counts: Any, key: str) -> int | None:
    value = counts.get(key) if isinstance(counts, Mapping) else None
    number = amount(value)
    return None if number is None or number >= 2**63 else int(number)  # as tables hold it


def amount(value: Any) -> float | None:
    """Read a count or a price; None for what is no number, and for one below 0."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):  # an int beyond the floats
        return None
    return number if 0 <= number < float("inf") else None
