"""How the usage table shows itself: a line, a text table, an HTML table. No widget, no script."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd

from ..api.reply import NO_TEX, NOT_BILLED, counted, format_usd, is_unbilled
from .table import one_engine


def kept_words(is_kept: bool, name: str = "") -> str:
    """Say what becomes of the calls when their kernel ends; `name` is the tracker's."""
    if is_kept:
        return f"Kept beyond this kernel: {name}.history()"
    return f"Kept in this kernel only; {name}.persist() keeps them for good, these too"


def text_table(frame: pd.DataFrame, kept: str) -> str:
    """Write the total, the last ten calls and what becomes of them as text."""
    head = _total_line(frame)
    if frame.empty:
        return head
    rows = [_cells(row) for row in frame.tail(10).itertuples(index=False)]
    return f"{head}\n{pd.DataFrame(rows).to_string(index=False)}\n{kept}"


def _total_line(frame: pd.DataFrame) -> str:
    """Return in a line what all of it used; money charged apart from money that was not."""
    if frame.empty:
        return "no calls yet"
    parts = [counted(len(frame), "call")]
    for status, word in (("error", "error"), ("stopped", "stopped")):
        count = int((frame["status"] == status).sum())
        if count:
            parts.append(f"{count:,} {word}" if word == "stopped" else counted(count, word))
    counts = (frame[name] for name in ("prompt_tokens", "completion_tokens"))
    sent, made = (int(count.to_numpy("float64", na_value=0).sum()) for count in counts)
    parts.append(f"{sent:,} → {made:,} tokens")
    return " · ".join([*parts, *money(frame), *_stood_in(frame)])


def _stood_in(frame: pd.DataFrame) -> list[str]:
    """Who answered under names of others, also when that was recorded."""
    if said := one_engine(frame):
        return [said]
    served = frame["served_model"].dropna().unique()
    return [f"{name} answered" for name in served if name.startswith("ornb/")]


def money(frame: pd.DataFrame) -> list[str]:
    """Say what calls cost, by whose word, in pieces; what was billed comes first."""
    recorded = frame["source"] == "recorded"
    here = frame["source"].isin(["local", "canned"])
    unsent = frame["source"].isna() & (frame["cost_usd"] == 0)
    billed = frame["cost_source"].isin(["billed", "fee"])
    was = recorded & frame["cost_usd"].notna()
    live = frame[billed & ~recorded & ~here & ~unsent]
    parts = []
    if len(live):
        parts.append(f"{format_usd(float(live['cost_usd'].sum()))} billed")
    reckoned = frame.loc[(frame["cost_source"] == "proxy") & ~recorded, "cost_usd"]
    if len(reckoned):
        parts.append(f"{format_usd(float(reckoned.sum()))} reckoned by a proxy")
    own = frame.loc[~recorded & ~here, "byok_usd"]
    if (own > 0).any():
        parts.append(f"{format_usd(float(own.sum()))} paid by own keys")
    if untold := int(((frame["cost_source"] == "fee") & ~recorded).sum()):
        parts.append(f"{counted(untold, 'call')} paid by own keys, an amount not reported")
    if was.any():
        amount = float(frame.loc[was, "cost_usd"].sum())
        parts.append(f"{format_usd(amount)} when recorded, not billed now")
    estimated = frame[frame["cost_source"] == "estimated"]
    if len(estimated):
        amount = float(estimated["estimate_usd"].sum())
        parts.append(f"about {format_usd(amount)} estimated for {counted(len(estimated), 'call')}")
    unknown = int(((frame["cost_source"] == "unknown") & ~here).sum())
    if unknown:
        parts.append(f"{counted(unknown, 'call')} of unknown cost")
    answers = int((here & (frame["status"] != "error")).sum())
    if answers:
        parts.append(f"{counted(answers, 'answer')} from this machine, not billed")
    return parts


def _cells(row: Any) -> dict[str, str]:
    """One row as a person reads it."""
    return {
        "time (UTC)": "" if pd.isna(row.started_at) else f"{row.started_at:%H:%M:%S}",
        "label": _shown(row.label),
        "model": _shown(row.model),
        "source": _shown(row.source),
        "tokens": f"{_count(row.prompt_tokens)} → {_count(row.completion_tokens)}",
        "billed": _billed(row),
        "estimated": "" if pd.isna(row.estimate_usd) else format_usd(row.estimate_usd),
        "first token": _seconds(row.time_to_first_token_s),
        "duration": _seconds(row.duration_s),
        "end": _end(row),
    }


def _end(row: Any) -> str:
    if row.status == "error":
        return f"error: {_shown(row.error)}"[:80]
    return str(row.status) if row.status != "ok" else _shown(row.finish_reason)


def _billed(row: Any) -> str:
    """What was charged, and nothing else: an estimate has a column of its own."""
    if is_unbilled(_shown(row.source) or None, row.cost_usd, _shown(row.status)):
        return NOT_BILLED
    if row.cost_source == "proxy":
        return f"{format_usd(row.cost_usd)} by the proxy"
    if row.cost_source in ("billed", "fee"):
        own = "" if pd.isna(row.byok_usd) else f" + {format_usd(row.byok_usd)} by own key"
        own = " + unknown by own key" if row.cost_source == "fee" else own
        return ("was " if row.source == "recorded" else "") + format_usd(row.cost_usd) + own
    return "unknown"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> str:
    return "?" if pd.isna(value) else f"{value:,}"


def _seconds(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2f} s"


CLASSES = f"ornb-usage {NO_TEX}"
"""Of the element around: Jupyter would typeset "$0.03 billed, $0.01 estimated" as a formula."""
SCROLLS = 'tabindex="0" role="group" aria-label="Usage"'
"""Of that element too, where it may be wider than its place: it is then scrolled by key."""
_RIGHT = ("tokens", "billed", "estimated", "first token", "duration")
# Colours are JupyterLab's where it is there; elsewhere they follow the text around.
STYLE = """<style>
.ornb-usage { font-size: var(--jp-ui-font-size1, 13px); color: var(--jp-ui-font-color1, inherit) }
.ornb-usage { overflow-x: auto }
.ornb-usage table { border-collapse: collapse; margin: 0 0 6px; font-size: inherit;
  color: inherit }
.ornb-usage.ornb-usage tr { background: none }
.ornb-usage.ornb-usage :is(th, td) { padding: 3px 12px 3px 0; text-align: left; border: 0;
  border-bottom: 1px solid var(--jp-border-color2, rgba(128, 128, 128, .3)); background: none;
  white-space: nowrap; max-width: 22em; overflow: hidden; text-overflow: ellipsis }
.ornb-usage.ornb-usage th { font-weight: 500;
  color: color-mix(in srgb, currentColor 75%, transparent) }
.ornb-usage.ornb-usage .ornb-right { text-align: right; font-variant-numeric: tabular-nums }
.ornb-usage.ornb-usage .ornb-words { white-space: normal; max-width: 60em }
.ornb-usage .ornb-badge { padding: 0 6px; border-radius: 8px; border: 1px solid currentColor;
  font-size: .85em; opacity: .8 }
.ornb-usage .ornb-live { color: var(--jp-success-color1, #388e3c) }
.ornb-usage .ornb-error { color: var(--jp-error-color1, #d32f2f) }
.ornb-usage p { margin: 0; color: var(--jp-ui-font-color2, inherit) }
</style>"""
"""Of all tables of usage that stand in a page as they are."""


def html_table(frame: pd.DataFrame, kept: str) -> str:
    """Write the same as HTML for a notebook; all text in it is escaped."""
    total = escape(_total_line(frame))
    if frame.empty:
        return f'{STYLE}<div class="{CLASSES}"><p>Usage: {total}.</p></div>'
    last = [_cells(row) for row in frame.tail(10).itertuples(index=False)]
    names = [name for name in last[0] if any(cells[name] for cells in last)]
    head = "".join(f'<th scope="col"{_class(name)}>{escape(name)}</th>' for name in names)
    body = "".join(
        f"<tr>{''.join(_html_cell(name, cells[name]) for name in names)}</tr>" for cells in last
    )
    shown = f"Last {len(last)} of " if len(frame) > len(last) else ""
    return (
        f'{STYLE}<div class="{CLASSES}" {SCROLLS}><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table><p>{shown}{total}</p><p>{escape(kept)}</p></div>"
    )


def _class(name: str) -> str:
    return ' class="ornb-right"' if name in _RIGHT else ""


def _html_cell(name: str, value: str) -> str:
    text = escape(value)
    if name == "source" and value:
        live = " ornb-live" if value == "live" else ""
        return f'<td><span class="ornb-badge{live}">{text}</span></td>'
    if name == "end" and value.startswith("error"):
        return f'<td class="ornb-error" title="{text}">{text}</td>'
    return f'<td{_class(name)} title="{text}">{text}</td>'
