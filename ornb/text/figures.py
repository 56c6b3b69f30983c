"""The facts under an answer, one by one, for where they stand apart: in columns and tables."""

from __future__ import annotations

from typing import NamedTuple

from ..api.reply import (
    ENDINGS,
    NOT_BILLED,
    ONE_PIECE,
    Reply,
    charged,
    format_usd,
    is_unbilled,
    source_of,
)

NONE = "\N{EN DASH}"
"""Stands where there is no figure."""


class Figure(NamedTuple):
    """One of the facts under an answer."""

    key: str
    name: str
    value: str
    """In a reader's words."""
    remark: str = ""
    """What the value is, where that is not plain: billed or estimated, over which time."""
    number: float | None = None
    """The value in USD, seconds or tokens a second, to be compared."""


def figures(reply: Reply, estimate_usd: float | None) -> list[Figure]:
    """Return the facts under an answer, always all; an estimate only where nothing was billed."""
    used, timing = reply.usage, reply.timing
    first, whole = timing.time_to_first_token_s, timing.duration_s
    rate = timing.tokens_per_second(used.completion_tokens)
    sent, made = _count(used.prompt_tokens), _count(used.completion_tokens)
    came = f"came {ONE_PIECE}" if timing.arrival == ONE_PIECE else ""
    over = f"over {_seconds(whole)}" if rate is not None else ""
    return [
        _cost(reply, estimate_usd),
        Figure("first", "First token", _seconds(first), came, first),
        Figure("whole", "Total time", _seconds(whole), number=whole),
        Figure("rate", "Tokens/s", _rate(rate), over, rate),
        Figure(
            "tokens",
            "Tokens",
            NONE if sent == made == NONE else f"{sent} → {made}",
            "in → out, the small model's" if _origin(reply) == "local" else "in → out",
        ),
        Figure("end", "Finish", _ending(reply)),
    ]


def _cost(reply: Reply, estimate_usd: float | None) -> Figure:
    billed = charged(reply)
    if is_unbilled(_origin(reply), billed, reply.status):
        live = "" if estimate_usd is None else f", ≈ {format_usd(estimate_usd)} live"
        return Figure("cost", "Cost", f"{format_usd(0)}{live}", NOT_BILLED)
    if billed is None and estimate_usd is not None:
        return Figure("cost", "Cost", f"≈ {format_usd(estimate_usd)}", "estimated", estimate_usd)
    if billed is None:
        return Figure("cost", "Cost", NONE, "not reported")
    remark = "billed" if reply.proxy_cost_usd is None else "reckoned by the proxy"
    remark = "when recorded" if reply.source == "recorded" else remark
    if own := reply.usage.byok_usd:
        billed, remark = billed + own, f"{remark}, your own key's part too"
    if reply.usage.lacks_byok:  # no figure to be compared
        return Figure("cost", "Cost", format_usd(billed), f"{remark}, your own key's part unknown")
    return Figure("cost", "Cost", format_usd(billed), remark, billed)


def _origin(reply: Reply) -> str | None:
    """Where an answer was made, also a recorded one."""
    return reply.recorded_from or source_of(reply)


def _rate(rate: float | None) -> str:
    if rate is None:
        return NONE
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def _ending(reply: Reply) -> str:
    if reply.status != "ok":
        return reply.status
    if reply.blocked or reply.refusal:
        return reply.blocked or "refused"
    if reply.is_empty and reply.finish_reason not in ENDINGS:
        return "empty"
    words = {"stop": "complete", "length": ENDINGS["length"], None: NONE}
    return words.get(reply.finish_reason, str(reply.finish_reason))


def _seconds(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f} s"


def _count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"
