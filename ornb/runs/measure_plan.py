"""What a measurement will ask for, in which order, and what that can cost."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count, product
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import session
from ..api.body import EMPTY, messages_from, text_of
from ..api.refusals import mapping
from ..api.reply import counted, format_usd
from ..api.transport import POOL_SIZE
from ..errors import BudgetExceeded, ConfigError, OrnbError, whole
from ..messages.asked import fields_of, files_of, messages_of

if TYPE_CHECKING:
    from ..api.client import Client

CONNECTIONS = ("warm", "cold")
"""Kept open, and opened before the times begin; or made anew for each request."""
MARK = 8
"""Characters of its own before each prompt."""
FREE_A_MINUTE = 20
"""Calls of free models that OpenRouter answers in a minute."""


# --- the plan -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Burst:
    """Requests of one kind that start together."""

    number: int
    model: str | None
    label: str
    """Of the prompt."""
    concurrency: int
    """How many requests."""
    connection: str
    """"warm" or "cold"."""
    repeat: int | None
    """None: a warm-up."""


@dataclass(frozen=True)
class MeasurePlan:
    """What is asked of whom, and how often."""

    models: tuple[str | None, ...]
    prompts: Mapping[str, list[dict[str, Any]]]
    """Label to messages."""
    repeats: int
    levels: tuple[int, ...]
    """Requests that start together, in turns."""
    warmup: int
    """Calls of each model and prompt that go ahead."""
    connections: tuple[str, ...]
    prompt_cache: bool
    params: Mapping[str, Any]
    """Further fields of each request."""
    seed: int

    @property
    def calls_each(self) -> int:
        """Calls of each model and prompt."""
        return self.warmup + self.repeats * sum(self.levels) * len(self.connections)

    @property
    def calls(self) -> int:
        """Calls in all."""
        return self.calls_each * len(self.models) * len(self.prompts)

    def bursts(self) -> Iterator[Burst]:
        """Yield the warm-ups, then every kind once in each repeat, each time in another order.

        The order is the same for the same seed.
        """
        mixed = random.Random(self.seed)  # noqa: S311 - an order, not a secret
        asked = [(model, label) for model in self.models for label in self.prompts]
        kinds = list(product(asked, self.levels, self.connections))
        ahead = list(product(asked, [1], ["warm"]))
        rounds = [(None, ahead)] * self.warmup + [(n, kinds) for n in range(self.repeats)]
        number = count()
        for repeat, these in rounds:
            for (model, label), level, connection in mixed.sample(these, len(these)):
                yield Burst(next(number), model, label, level, connection, repeat)

    def messages(self, label: str, mark: str) -> list[dict[str, Any]]:
        """Return a prompt, made unlike any other where caches are to be avoided.

        They know a prompt by its beginning, so `mark` stands before it.
        """
        messages = self.prompts[label]
        return messages if self.prompt_cache else _marked(messages, mark)

    def describe(self) -> str:
        """Return the run in a line, for people."""
        parts = [counted(len(self.models), "model"), counted(len(self.prompts), "prompt")]
        if len(self.connections) > 1:
            parts.append(" and ".join(self.connections))
        if self.levels != (1,):
            parts.append(f"{' + '.join(map(str, self.levels))} at once")
        parts.append(counted(self.repeats, "repeat"))
        warmups = self.warmup * len(self.models) * len(self.prompts)
        ahead = f", {warmups} to warm up" if warmups else ""
        return f"{counted(self.calls, 'call')}: {' x '.join(parts)}{ahead}."


def _marked(messages: list[dict[str, Any]], mark: str) -> list[dict[str, Any]]:
    first, *rest = messages
    content, said = first.get("content"), f"[request {mark}]\n"
    if isinstance(content, list):
        content = [{"type": "text", "text": said}, *content]
    else:
        content = said + str(content or "")
    return [{**first, "content": content}, *rest]


# --- the price ------------------------------------------------------------------------------------


@dataclass
class Price:
    """What a run is likely to cost, and can cost at most, in USD."""

    plan: MeasurePlan
    likely_usd: Decimal = Decimal(0)
    worst_usd: Decimal = Decimal(0)
    unknown: dict[str, str] = field(default_factory=dict)
    """Models whose cost nothing bounds, and why; not in the two sums."""
    free_calls: int = 0

    def describe(self, service: Client, cap: Decimal | None) -> str:
        """Return what the run costs, in a line or a few, for people."""
        offline = service.source == "offline"
        about = f"about {format_usd(float(self.likely_usd))}"
        most = f"{format_usd(float(self.worst_usd))} at most"
        limit = "" if cap is None else format_usd(float(cap))
        lines = ["Offline nothing is billed."] if offline else []
        missing = "What it can cost is not known"
        if self.worst_usd or self.free_calls or not self.unknown:
            missing = "Not in that"
            lines = [f"It is likely to cost {about}, {most}{limit and f'; the limit is {limit}'}."]
            if offline:
                lines = [f"Offline nothing is billed; live it would cost {about}, {most}."]
                lines += [f"These are {of}." for of in [session.price_days(self.plan.models)] if of]
        lines += [f"{missing}: {reason}." for reason in dict.fromkeys(self.unknown.values())]
        if self.unknown and limit and not offline:
            lines.append(f"No further call is sent once {limit} was billed.")
        if service.source == "live" and self.free_calls > FREE_A_MINUTE:
            lines.append(
                f"{self.free_calls} of the calls are free, and OpenRouter answers {FREE_A_MINUTE} "
                "of those a minute: ornb.quota(wait=True) spaces them."
            )
        return "\n".join(lines)

    def check(self, cap: Decimal) -> None:
        """Refuse a run that could cost more than `cap`, in USD."""
        if self.worst_usd > cap:
            raise BudgetExceeded(
                f"Nothing was sent: {counted(self.plan.calls, 'call')} could cost "
                f"{format_usd(float(self.worst_usd))}, and max_usd is {format_usd(float(cap))}. "
                "Lower max_tokens, repeats or concurrency, or raise max_usd.",
                asked_usd=self.worst_usd,
                left_usd=cap,
                limit_usd=cap,
            )


def price_of(plan: MeasurePlan) -> Price:
    """Quote every model and prompt once, for all its calls; offline, at the real service."""
    price, calls = Price(plan), plan.calls_each
    asked = {name: value for name, value in plan.params.items() if name not in ("label", "ornb")}
    for model, label in product(plan.models, plan.prompts):
        try:
            quoted = session.quote(plan.messages(label, "0" * MARK), model, **asked)
        except OrnbError as error:  # the calls will fail too, and say so in their rows
            price.unknown[str(model)] = str(error).rstrip(".")
            continue
        worst = quoted.worst_usd
        if worst is None:
            price.unknown[str(model)] = str(quoted.unknown)
        else:
            price.worst_usd += calls * worst
            price.likely_usd += calls * (worst if quoted.likely_usd is None else quoted.likely_usd)
            price.free_calls += calls if quoted.is_free else 0
    return price


# --- arguments ------------------------------------------------------------------------------------


def ids_of(models: Any) -> tuple[str | None, ...]:
    """Read whom to ask: ids, those of a frame or a picker, or the default."""
    chosen = models.index if isinstance(models, pd.DataFrame) else getattr(models, "value", models)
    if chosen is None or isinstance(chosen, str):
        return (session.model_id(chosen),)
    if not isinstance(chosen, Iterable):
        raise ConfigError(f"models is {models!r}; give ids such as 'openai/gpt-4o-mini'.")
    ids = tuple(dict.fromkeys(session.model_id(each) for each in chosen))
    if not ids:
        raise ConfigError("models is empty, so there is nothing to measure; give ids.")
    return ids


def prompts_of(
    prompt: Any, asked: Mapping[Any, Mapping[str, Any]], service: Client, system: Any, attach: Any
) -> dict[str, list[dict[str, Any]]]:
    """Make the messages of each prompt, by its label; `asked` has the fields of each model."""
    files = files_of(attach)
    return {
        label: messages_of(
            each, asked, system=system, attach=files, listed=lambda: session.catalogue_of(service)
        )
        for label, each in _labelled(prompt).items()
    }


def _labelled(prompt: Any) -> dict[str, Any]:
    if prompt is None:
        raise ConfigError(EMPTY)
    if isinstance(prompt, Mapping):
        named = {str(label): each for label, each in prompt.items()}
    elif isinstance(prompt, str) or (
        isinstance(prompt, Sequence) and prompt and isinstance(prompt[0], Mapping)
    ):
        named = {_label(prompt): prompt}
    elif isinstance(prompt, Sequence):
        named = {}
        for n, each in enumerate(prompt):
            label = _label(each)
            named[label if label not in named else f"{label} ({n + 1})"] = each
    else:
        raise ConfigError(f"prompt is {prompt!r}; give a text, messages, or several of them.")
    if not named:
        raise ConfigError(EMPTY)
    return named


def _label(prompt: Any) -> str:
    text = prompt if isinstance(prompt, str) else text_of(messages_from(prompt)[-1].get("content"))
    text = " ".join(text.split())
    return text if len(text) <= 40 else text[:39] + "…"


def levels_of(concurrency: Any) -> tuple[int, ...]:
    """Read how many requests start together."""
    levels = [concurrency] if isinstance(concurrency, int) else concurrency
    if not isinstance(levels, Sequence) or isinstance(levels, str) or not levels:
        raise ConfigError(f"concurrency is {concurrency!r}; give a number, or several.")
    return tuple(dict.fromkeys(whole("concurrency", each, 1, POOL_SIZE) for each in levels))


def connections_of(connection: Any) -> tuple[str, ...]:
    """Read which connections are asked for."""
    asked = [connection] if isinstance(connection, str) else list(connection or ())
    if not asked or set(asked) - set(CONNECTIONS):
        raise ConfigError(f"connection is {connection!r}; it takes 'warm', 'cold' or both.")
    return tuple(dict.fromkeys(asked))


def request_of(
    service: Client, provider: Any, max_tokens: Any, params: dict[str, Any], schema: Any
) -> dict[str, Any]:
    """Make the fields of every request; the offline server is asked for its clock too."""
    if provider is not None:
        named = [provider] if isinstance(provider, str) else provider
        if not isinstance(named, Iterable):
            raise ConfigError(f"provider is {provider!r}; give names, or the API's own object.")
        asked = dict(named) if isinstance(named, Mapping) else {"only": list(named)}
        params = {**params, "provider": asked}
    made = fields_of("ornb.measure", params, schema)
    if max_tokens is not None:
        made["max_tokens"] = whole("max_tokens", max_tokens, 1)
    if service.asks["response_cache"]:
        made.setdefault("response_cache", False)  # its times are not the model's
    if service.source == "offline":
        made["ornb"] = {"clock": True, **mapping(made.get("ornb"))}
    return made
