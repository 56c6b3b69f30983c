"""The usage panel in a real browser: the figures, their accessibility, and what stays of them."""

from __future__ import annotations

from html import escape
from typing import Any

import pytest
from playwright.sync_api import expect

from ornb.ledger.tracker import UsageTracker
from ornb.notebook.panel import UsagePanel
from tests.axe import violations
from tests.test_panel import HOSTILE, reply

pytestmark = pytest.mark.browser

FREE = {"minute": [3, 20], "day": [49, 50], "note": "documented limits", "refusal": ""}
BUDGETS = [
    {"name": "Budget", "text": "$1.00 of $4.00 spent", "spent": 0.25, "kept": 0.5, "limited": True},
    {"name": "Budget", "text": "$1.00 spent, 2 calls", "spent": 0, "kept": 0, "limited": False},
]


def state(name, tracker=None):
    """A panel in one of its states, which looks only when it is told to."""
    tracker = UsageTracker() if tracker is None else tracker
    panel = UsagePanel(tracker)
    panel.close()
    if name in ("full", "trouble"):
        for n in range(12):
            ends = {3: "error", 5: "stopped"}
            model = f"acme/a-model-with-a-long-name-and-a-number-{n}"
            status, seconds = ends.get(n, "ok"), None if n == 3 else 0.1 * (n + 1)
            tracker.record(
                reply(0.3 * n, model=model, status=status, seconds=seconds), estimate_usd=0.2 * n
            )
        tracker.record(reply(None), estimate_usd=1234.5)
        for source in ("recorded", "local", "canned"):
            tracker.record(reply(0.0, source=source), estimate_usd=1e-6)
        panel.look()
        panel.set_trait("free_calls", FREE)
        panel.set_trait("budgets", [{"low": False, **each} for each in BUDGETS])
    if name == "trouble":
        panel.error = "The database is gone. " * 8
        panel.set_trait("free_calls", {**FREE, "refusal": "Last: the free calls are used up. " * 4})
        panel.set_trait("budgets", [{**BUDGETS[0], "low": True, "spent": 0.9, "kept": 0.1}])
    return panel


STATES = ["empty", "full", "trouble"]


def tile(page, name) -> Any:
    return page.locator(f".tile:has(dt:text-is('{name}'))")


def test_the_figures_are_drawn(draw, page):
    panel = draw(state("full")).widget
    region = page.get_by_role("region", name="Usage")
    for each in panel.tiles:
        expect(tile(page, each["name"]).locator(".value")).to_have_text(each["value"])
        expect(tile(page, each["name"]).locator(".note")).to_have_text(each["notes"])
    expect(region.locator("header .badge")).to_have_text(
        ["13 live", "1 recorded", "1 local", "1 canned"]
    )
    table = region.get_by_role("table", name="Usage by model")
    expect(table.locator("tbody tr")).to_have_count(8)
    dearest = panel.models["rows"][0]
    row = table.get_by_role("row", name=dearest["model"])
    for name in ("tokens", "billed", "estimated", "first"):
        expect(row.locator(f"td.{name}")).to_have_text(dearest[name])
    expect(region.get_by_text("and 8 more")).to_be_visible()
    expect(page.locator("time")).to_contain_text("Updated ")


def test_the_last_calls_are_bars_with_a_name(draw, page):
    draw(state("full"))
    strip = page.get_by_role("img", name="Time to first token of the last 16 calls")
    expect(strip).to_have_attribute("aria-label", "Time to first token of the last 16 calls: "
                                    "0.10 s to 1.20 s, 1 failed")  # fmt: skip
    heights = [bar.bounding_box()["height"] for bar in strip.locator(".call.live.ok").all()[:3]]
    assert heights == sorted(heights)
    expect(strip.locator(".call.error")).to_have_count(1)
    expect(strip.locator(".call.stopped")).to_have_count(1)
    expect(strip.locator(".call.error")).to_have_attribute(
        "title", "acme/a-model-with-a-long-name-and-a-number-3, live, error, no time"
    )


def test_budgets_and_free_calls_are_meters(draw, page):
    draw(state("full"))
    budget = page.get_by_role("meter", name="Budget")
    expect(budget).to_have_count(1)  # one has no ceiling
    expect(budget).to_have_attribute("aria-valuenow", "75")
    expect(page.get_by_text("$1.00 of $4.00 spent")).to_be_visible()
    expect(page.get_by_text("$1.00 spent, 2 calls")).to_be_visible()
    expect(page.get_by_role("meter", name="Free calls this minute")).to_have_attribute(
        "aria-valuetext", "3 of 20 this minute"
    )
    today = page.get_by_role("meter", name="Free calls today")
    expect(today).to_have_class("meter low")


def test_a_call_is_drawn_when_the_kernel_tells(draw, page):
    shown = draw(state("empty", tracker := UsageTracker()))
    expect(page.get_by_text("What this kernel asks is counted here")).to_be_visible()
    expect(page.get_by_role("table")).to_have_count(0)
    tracker.record(reply(0.25))
    shown.widget.look()
    shown.deliver()
    expect(tile(page, "Billed").locator(".value")).to_have_text("$0.25")
    expect(page.get_by_text("What this kernel asks is counted here")).to_be_hidden()
    expect(page.get_by_role("row", name="acme/orbit")).to_be_visible()


def test_what_did_not_change_is_not_drawn_anew(draw, page):
    shown = draw(state("full"))
    page.evaluate("globalThis.row = document.querySelector('tbody tr')")
    shown.widget.set_trait("free_calls", {**FREE, "minute": [4, 20]})
    shown.deliver()
    expect(page.get_by_text("4 of 20 this minute")).to_be_visible()
    assert page.evaluate("row.isConnected")


def test_the_button_asks_the_kernel(draw, page):
    shown = draw(state("full"))
    page.get_by_role("button", name="Count again").click()
    assert shown.sent == [{"type": "refresh"}]


def test_the_minute_passes_and_the_kernel_is_asked(draw, new_page):
    page = new_page()
    page.clock.install()
    shown = draw(state("full"), page=page)
    assert shown.sent == []
    page.clock.run_for(62_000)
    assert shown.sent == [{"type": "look"}]
    shown.unmount()
    page.clock.run_for(130_000)
    assert shown.sent == [{"type": "look"}]


def test_words_from_outside_are_text(draw, page):
    panel = state("empty", tracker := UsageTracker())
    tracker.record(reply(model=HOSTILE, source="live"))
    panel.error = HOSTILE
    panel.look()
    draw(panel)
    expect(page.get_by_role("alert")).to_have_text(HOSTILE)
    expect(page.get_by_role("rowheader")).to_have_text(HOSTILE)
    assert page.locator("#widget img").count() == 0


def test_the_ordinary_output_is_hidden_while_the_live_one_is_there(draw, page):
    panel = state("full")
    shown = draw(panel)
    name = f"ornb-static-{shown.get('_lasting_id')}"
    page.evaluate(
        "(html) => document.body.insertAdjacentHTML('beforeend', html)",
        f'<pre class="{name}">{escape(repr(panel))}</pre>',
    )
    static = page.locator(f".{name}")
    expect(static).to_be_hidden()
    shown.unmount()
    expect(static).to_be_visible()
    expect(static).to_contain_text("13 live, 1 recorded, 1 local, 1 canned; as of ")


def test_two_views_of_one_panel_agree(draw, page):
    shown = draw(state("full", tracker := UsageTracker()))
    second = shown.mount_again()
    tracker.record(reply(0.25))
    shown.widget.look()
    shown.deliver()
    expect(second.locator(".value").nth(3)).to_have_text("17")
    expect(shown.root.locator(".value").nth(3)).to_have_text("17")


@pytest.mark.parametrize("theme", ["light", "dark", None])
@pytest.mark.parametrize("name", STATES)
def test_axe_finds_nothing_to_complain_about(draw, page, theme, name):
    draw(state(name), theme=theme)
    assert violations(page) == []


def test_the_table_fits_beside_a_window_of_700_pixels(draw, page):
    page.set_viewport_size({"width": 612, "height": 700})
    tracker, model = UsageTracker(), "anthropic/claude-sonnet-4.5"
    for _ in range(15):
        tracker.record(reply(0.0, model=model, source=None, status="error", seconds=None))
    tracker.record(reply(0.0, model=model, source="local", used=(124, 121)), estimate_usd=69e-6)
    panel = state("of its own", tracker)
    panel.look()
    draw(panel)
    wide = "table => [table.scrollWidth, table.clientWidth]"
    needed, there = page.locator(".table").evaluate(wide)
    assert needed <= there


def test_what_becomes_of_the_calls_is_said(draw, page):
    panel = state("empty")
    draw(panel)
    expect(page.locator(".kept")).to_contain_text("Kept in this kernel only; .persist() keeps")


@pytest.mark.parametrize("width", [1000, 760, 560, 320])
@pytest.mark.parametrize("name", STATES)
def test_nothing_sticks_out_at_any_width(draw, page, width, name):
    page.set_viewport_size({"width": width, "height": 700})
    draw(state(name))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sticking = page.evaluate("""() => [...document.querySelectorAll("#widget *")].filter((one) =>
        one.checkVisibility() && !one.closest("svg, .table, .unseen")
        && getComputedStyle(one).overflowX !== "hidden"
        && one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0)
        .map((one) => one.outerHTML)""")
    assert sticking == []


def test_in_jupyterlab_calls_appear_and_the_figures_stay(lab):
    notebook = lab.open(
        [
            "import ornb\nornb.connect(offline=True)\nornb.usage.panel()",
            "replies = [ornb.ask('Hi', 'openai/gpt-4o-mini') for _ in range(3)]",
            "block = ornb.budget(2, practice=True)",
        ]
    )
    notebook.run_all()
    out = notebook.output(0)
    expect(tile(out, "Calls").locator(".value")).to_have_text("3")
    expect(out.locator("header .badge")).to_have_text(["3 canned"])
    expect(out.locator(".gauge").first).to_contain_text("$2.00 left")
    expect(out.locator(".ornb-static")).to_be_hidden()
    notebook.save()

    notebook = notebook.reload()  # the kernel lives: the panel is there, and live
    out = notebook.output(0)
    expect(tile(out, "Calls").locator(".value")).to_have_text("3")
    notebook.python("ornb.ask('Hi', 'openai/gpt-4o-mini').source")
    expect(tile(out, "Calls").locator(".value")).to_have_text("4")

    notebook = notebook.close_and_reopen()  # the kernel is gone: the ordinary output is there
    static = notebook.output(0).locator(".ornb-static")
    expect(static).to_be_visible()
    expect(static).to_contain_text("3 canned")
    expect(static).to_contain_text("$2.00 left")
    gone = notebook.output(0).get_by_text("Error displaying widget")
    expect(gone).to_be_attached()
    expect(gone).to_be_hidden()
    assert all("widget model not found" in line for line in lab.console_errors)
    lab.console_errors.clear()
