"""The sums of the usage in a reader's words: what the panel shows, and its twin of plain HTML.

What was charged stands apart from what is estimated, and live calls apart from all others. The page
draws these words and shares; it computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING, Any

from .. import session
from ..api.reply import NOT_BILLED, counted, format_usd
from ..ledger.display import SCROLLS, STYLE
from ..messages import shortened, well_formed
from ..text.rendering import SOURCES, static_html

if TYPE_CHECKING:
    from ..ledger.budget import Budget
    from ..ledger.quota import Quota
    from ..ledger.totals import Sums, Totals

SHOWN_MODELS = 8
"""Rows of the table; the others are counted below it."""
SHOWN_BUDGETS = 4
NONE = "—"
"""In the place of a figure that nobody has."""
UNSENT = "not sent"
"""In the place of the source of calls that have none."""
LONGEST_NAME = 120

_OFFLINE = ("local", "canned")
_ORDER = ("live", "recorded", *_OFFLINE)


def shown(totals: Totals, budgets: Sequence[Budget], quota: Quota | None) -> dict[str, Any]:
    """Put the sums into words: the traits of `ornb.notebook.panel.UsagePanel`, as JSON."""
    makers = (_billed, _estimated, _tokens, _calls, _first_token)
    tiles = [
        {"name": name, "value": value, "notes": [note for note in notes if note]}
        for name, value, notes in (make(totals) for make in makers)
    ]
    return {
        "tiles": tiles,
        "sources": [_source(name, totals) for name in _sources(totals)],
        "latest": [
            {
                "model": _name(each.model),
                "source": _source_name(each.source),
                "status": well_formed(each.status or ""),
                "seconds": each.time_to_first_token_s,
            }
            for each in totals.latest
        ],
        "budgets": [_budget(each) for each in budgets[-SHOWN_BUDGETS:]],
        "free_calls": {} if quota is None or quota.day_limit is None else _free_calls(quota),
        "models": _models(totals),
    }


# ------------------------------------------------------------------ the figures at the top


def _billed(totals: Totals) -> tuple[str, str, list[str]]:
    live, recorded, offline = (totals.of(*of) for of in (("live",), ("recorded",), _OFFLINE))
    value = "$0" if not live.calls else _usd(live.cost_usd)
    unknown, answers = live.unknown + recorded.unknown, offline.calls - offline.errors
    return (
        "Billed",
        value,
        [
            f"{_usd(live.byok_usd)} paid by own keys" if live.byok_usd else "",
            f"{counted(live.byok_unknown, 'call')} paid by own keys, an amount not reported"
            if live.byok_unknown
            else "",
            f"{_usd(live.proxy_usd)} of it reckoned by a proxy" if live.proxy_usd else "",
            f"{counted(live.unbilled, 'call')} without a bill" if live.unbilled else "",
            f"{counted(unknown, 'call')} of unknown cost" if unknown else "",
            f"{_usd(recorded.cost_usd)} when recorded" if recorded.calls else "",
            f"{counted(answers, 'answer')} offline, free" if answers else "",
        ],
    )


def _estimated(totals: Totals) -> tuple[str, str, list[str]]:
    live, recorded, offline = (totals.of(*of) for of in (("live",), ("recorded",), _OFFLINE))
    unpriced = live.calls - live.priced
    made_here = [model for model, source in totals.groups if source in _OFFLINE]
    return (
        "Estimated",
        _usd(live.estimate_usd),
        [
            "by the listed prices" if live.priced else "",
            f"{_usd(live.unbilled_usd)} of it without a bill" if live.unbilled else "",
            f"{counted(unpriced, 'call')} not priced" if unpriced else "",
            f"{_usd(recorded.estimate_usd)} when recorded" if recorded.priced else "",
            f"{_usd(offline.estimate_usd)} if offline were live" if offline.priced else "",
            session.price_days(made_here) if offline.priced else "",
        ],
    )


def _tokens(totals: Totals) -> tuple[str, str, list[str]]:
    used, live = totals.of(), totals.of("live")
    elsewhere = _all_tokens(used) - _all_tokens(live)
    told = (used.prompt_tokens, used.completion_tokens) != (None, None)
    return (
        "Tokens",
        f"{_all_tokens(used):,}" if told or not used.calls else NONE,
        [
            _in_and_out(used) if told else "",
            f"{used.reasoning_tokens:,} of reasoning" if used.reasoning_tokens else "",
            f"{used.cached_tokens:,} from a cache" if used.cached_tokens else "",
            f"{elsewhere:,} not live" if elsewhere and _all_tokens(live) else "",
        ],
    )


def _calls(totals: Totals) -> tuple[str, str, list[str]]:
    used = totals.of()
    fine = "all answered" if used.calls else "none yet"
    return "Calls", f"{used.calls:,}", _ends(used) or [fine]


def _first_token(totals: Totals) -> tuple[str, str, list[str]]:
    """Of live calls where there are any: what a tape or a tiny model takes says nothing of them."""
    source = next((name for name in _sources(totals) if name in totals.medians), None)
    if source is None:
        return "First token", NONE, []
    seconds, count = totals.medians[source]
    return "First token", _seconds(seconds), [f"median of {counted(count, f'{source} call')}"]


# ------------------------------------------------------------------ budgets and free calls


def _budget(budget: Budget) -> dict[str, Any]:
    head, _, text = repr(budget).partition(": ")
    name, _, remark = head.removesuffix(")").partition(" (")
    limit = budget.limit_usd
    shares = {
        "spent": _share(budget.spent_usd, limit),
        "kept": _share(budget.held_usd + budget.reserved_usd, limit),
    }
    left = 1 - sum(shares.values())
    text += f"; {remark}" if remark else ""
    return {"name": name, "text": text, **shares, "limited": limit is not None, "low": left < 0.1}


def _free_calls(quota: Quota) -> dict[str, Any]:
    whose = {"documented": "documented limits", "key": "the key's limits"}
    notes = [whose.get(quota.limits_from, "limits of a refusal"), "the day ends at 00:00 UTC"]
    if quota.waits:
        notes.append("calls are spaced")
    if quota.refused_by is not None:
        notes.append(well_formed(f"the key's budget: {quota.refused_by}"))
    if quota.wait_s > 0:
        notes.append(f"next one in {quota.wait_s:.0f} s")
    return {
        "minute": [quota.minute_used, quota.minute_limit],
        "day": [quota.day_used, quota.day_limit],
        "note": ", ".join(notes),
        "refusal": "" if quota.last_refusal is None else well_formed(f"Last: {quota.last_refusal}"),
    }


def _share(amount: Decimal, limit: Decimal | None) -> float:
    """Part of a bar, 0 to 1; all of it where the ceiling is 0."""
    if limit is None or amount <= 0:
        return 0.0
    return 1.0 if limit <= amount else round(float(amount / limit), 4)


# ------------------------------------------------------------------ the table of models


def _models(totals: Totals) -> dict[str, Any]:
    def weight(item: tuple[tuple[str | None, str | None], Sums]) -> tuple[bool, Decimal, int]:
        (_, source), sums = item
        return source == "live", sums.cost_usd or Decimal(0), sums.calls

    listed = sorted(totals.groups.items(), key=weight, reverse=True)
    rows = [_row(model, source, sums) for (model, source), sums in listed[:SHOWN_MODELS]]
    names = ", ".join(totals.engines)
    engines = f"Answered under other names: by {names}" if names else ""
    return {"rows": rows, "more": len(listed) - len(rows), "engines": engines}


def _row(model: str | None, source: str | None, sums: Sums) -> dict[str, str]:
    return {
        "model": _name(model),
        "source": _source_name(source),
        "calls": f"{sums.calls:,}",
        "ends": " · ".join(_ends(sums)),
        "tokens": _in_and_out(sums),
        "billed": _row_billed(source, sums),
        "estimated": _usd(sums.estimate_usd),
        "first": _seconds(sums.median_time_to_first_token_s),
    }


def _row_billed(source: str | None, sums: Sums) -> str:
    if source in _OFFLINE or (source is None and not sums.cost_usd):
        return NOT_BILLED
    missing = sums.unbilled + sums.unknown
    if source == "recorded" and sums.cost_usd is not None:
        return f"was {_usd(sums.cost_usd)}"
    if sums.cost_usd is None:
        return "unknown"
    own = f" + {_usd(sums.byok_usd)} by own keys" if sums.byok_usd else ""
    missing += sums.byok_unknown
    if sums.proxy_usd:
        own += f" ({_usd(sums.proxy_usd)} of it reckoned by a proxy)"
    return _usd(sums.cost_usd) + own + (f" + {missing:,} unknown" if missing else "")


# ------------------------------------------------------------------ words


def _source(source: str | None, totals: Totals) -> dict[str, str]:
    name = _source_name(source)
    title = SOURCES.get(name, name) if source else "refused before they left, and free"
    return {"source": name, "calls": f"{totals.of(source).calls:,}", "title": well_formed(title)}


def _source_name(source: str | None) -> str:
    return well_formed(source or UNSENT)


def _sources(totals: Totals) -> list[str | None]:
    there = {source for _, source in totals.groups if source != ""}
    known = [name for name in _ORDER if name in there]
    others = sorted(name for name in there if name and name not in _ORDER)
    return [*known, *others, *([None] if None in there else [])]


def _name(model: str | None) -> str:
    return well_formed(shortened(model, LONGEST_NAME)) if model else "not named"


def _usd(amount: Decimal | None) -> str:
    return NONE if amount is None else format_usd(float(amount))


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:,.0f} s"


def _all_tokens(sums: Sums) -> int:
    return (sums.prompt_tokens or 0) + (sums.completion_tokens or 0)


def _in_and_out(sums: Sums) -> str:
    sent, made = sums.prompt_tokens, sums.completion_tokens
    if sent is None and made is None:
        return NONE
    return " → ".join("?" if count is None else f"{count:,}" for count in (sent, made))


def _ends(sums: Sums) -> list[str]:
    """How calls ended that did not end well."""
    errors = [counted(sums.errors, "error")] if sums.errors else []
    return errors + ([f"{sums.stopped:,} stopped"] if sums.stopped else [])


# ------------------------------------------------------------------ the twin


def page_text(said: dict[str, Any], at: datetime | None) -> str:
    """Write what the panel shows, as of a time, as plain text."""
    if not said["sources"]:
        lines = ["Usage: no calls yet"]
    else:
        lines = [f"Usage: {_source_words(said)}{_as_of(at)}"]
        lines += [f"  {each['name']:<12} {_tile_words(each)}" for each in said["tiles"]]
        lines += [f"  {said['models']['engines']}"] if said["models"]["engines"] else []
    lines += [f"  {name:<12} {text}" for name, text in _limits(said)]
    lines += [f"  {said['kept']}"] if said["sources"] else []
    return "\n".join(lines)


def _limits(said: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Budgets and free calls."""
    yield from ((each["name"], each["text"]) for each in said["budgets"])
    if said["free_calls"] and said["sources"]:
        yield "Free calls", _free_words(said["free_calls"])


def page_html(said: dict[str, Any], at: datetime | None, *, css_class: str = "") -> str:
    """Write what the panel shows as HTML with no script; `css_class` lets the live one hide it."""
    words = f"{_source_words(said)}{_as_of(at)}" if said["sources"] else "no calls yet"
    facts = [(each["name"], _tile_words(each)) for each in said["tiles"] if said["sources"]]
    facts += _limits(said)
    body = f"<p><strong>Usage</strong>: {escape(words)}</p>"
    if facts:
        rows = (
            f'<tr><th scope="row">{escape(name)}</th>'
            f'<td class="ornb-words">{escape(text)}</td></tr>'
            for name, text in facts
        )
        body += f"<table><tbody>{''.join(rows)}</tbody></table>"
    body += _models_html(said["models"])
    body += f"<p>{escape(said['kept'])}</p>" if said["sources"] else ""
    inner = f'{STYLE}<div class="ornb-usage" {SCROLLS}>{body}</div>'
    return static_html(inner, css_class=css_class)


HEADS = {
    "model": "Model",
    "source": "Source",
    "calls": "Calls",
    "tokens": "Tokens",
    "billed": "Billed",
    "estimated": "Estimated",
    "first": "First token",
}
"""Columns of the table of models, and what stands above them."""


def _models_html(models: dict[str, Any]) -> str:
    if not models["rows"]:
        return ""
    head = "".join(f'<th scope="col"{_side(key)}>{name}</th>' for key, name in HEADS.items())
    body = "".join(
        "<tr>" + "".join(f"<td{_side(key)}>{_cell(row, key)}</td>" for key in HEADS) + "</tr>"
        for row in models["rows"]
    )
    more = f"<p>and {models['more']:,} more: ornb.usage.summary()</p>" if models["more"] else ""
    more += f"<p>{escape(models['engines'])}</p>" if models["engines"] else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(row: dict[str, str], key: str) -> str:
    ends = f" ({row['ends']})" if key == "calls" and row["ends"] else ""
    return escape(row[key] + ends)


def _side(key: str) -> str:
    return "" if key in ("model", "source") else ' class="ornb-right"'


def _tile_words(tile: dict[str, Any]) -> str:
    return " · ".join([tile["value"], *tile["notes"]])


def _source_words(said: dict[str, Any]) -> str:
    return ", ".join(f"{each['calls']} {each['source']}" for each in said["sources"])


def _free_words(free: dict[str, Any]) -> str:
    (minute, a_minute), (day, a_day) = free["minute"], free["day"]
    words: Iterable[str] = (
        f"{minute:,} of {a_minute:,} this minute, {day:,} of {a_day:,} today ({free['note']})",
        free["refusal"],
    )
    return " · ".join(filter(None, words))


def _as_of(at: datetime | None) -> str:
    return "" if at is None else f"; as of {at:%Y-%m-%d %H:%M:%S} UTC"
