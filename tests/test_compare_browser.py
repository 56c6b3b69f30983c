"""The comparison in a real browser: in a bare page, then in JupyterLab with a kernel."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from ornb.api.reply import Reply
from ornb.text.comparison import MIME_COMPARISON, Answers
from tests.axe import violations
from tests.hostile import ANSWER, Trap
from tests.stages import MODELS
from tests.stages import timed as reply
from tests.wire import STREAM, WireServer, delta

pytestmark = pytest.mark.browser

EVIL = '<img src="https://host.example/x.png" onerror="top.hit=1">'


@pytest.fixture
def stage(compare_stage: Any) -> Any:
    return compare_stage


# ------------------------------------------------------------------ what is seen


def test_columns_are_there_before_the_kernel_can_say_anything(stage: Any, page: Page) -> None:
    one = stage(heard=False)
    expect(page.get_by_role("article")).to_have_count(3)
    expect(page.get_by_text("What is it?")).to_be_visible()
    expect(one.column(0)).to_contain_text("acme")
    expect(one.column(0).get_by_label("Waiting for the first word")).to_be_visible()


def test_answers_grow_side_by_side_and_end_with_their_facts(stage: Any, page: Page) -> None:
    one = stage()
    logs = page.get_by_role("log")
    one.say("A *cat* 😀.\n\n```python\nx = 1\n```\n\nIt **pur", "A dog")
    expect(logs.nth(0)).to_contain_text("It **pur")
    expect(logs.nth(1)).to_have_text("A dog", use_inner_text=True)
    assert logs.nth(0).get_attribute("aria-live") == "off"
    assert logs.nth(0).get_attribute("aria-busy") == "true"
    one.say("rs**.")
    expect(logs.nth(0).locator("strong")).to_have_text("purrs")
    expect(page.get_by_role("status")).to_have_text("0 of 3 done")
    one.end(0, reply("x"))
    expect(logs.nth(0)).to_have_attribute("aria-busy", "false")
    expect(page.get_by_role("status")).to_have_text("1 of 3 done")
    expect(one.column(0)).to_contain_text("Served by NorthCloud · acme/orbit-2026")
    terms = [
        "Cost, billed $0.00015",
        "First token 0.20 s",
        "Total time 2.00 s",
        "Tokens/s, over 2.00 s 45",
        "Tokens, in → out 22 → 90",
        "Finish complete",
    ]
    expect(one.column(0).locator("dl > div")).to_have_text(terms, use_inner_text=True)
    expect(one.column(1).locator("dd").first).to_have_text("\u2013")


def test_the_best_of_each_figure_is_marked_once_all_are_there(stage: Any, page: Page) -> None:
    one = stage()
    one.say("a", "b", "c")
    one.end(1, reply("b", first=0.1, whole=4, model="acme/comet-2026"))
    one.end(2, reply("c", first=0.4, whole=1, model="lab/small"))
    expect(one.column(2).locator("footer")).to_contain_text("1.00 s")
    assert page.locator(".best:visible").count() == 0
    one.end(0, reply("a", first=0.4, whole=3))
    expect(one.column(1).locator(".best:visible")).to_have_text(["fastest"])
    expect(one.column(2).locator(".best:visible")).to_have_text(["fastest", "fastest"])
    assert one.column(0).locator(".best:visible").count() == 0  # equal costs: none is the lowest


def test_one_engine_under_several_names_is_said_above_and_nothing_is_marked(
    stage: Any, page: Page
) -> None:
    one = stage()
    one.say("a", "b", "c")
    for place in range(3):
        own = f"A tiny model. Here: temperature 0.8, seed {place}"
        one.end(place, reply("x", first=0.1 + place, whole=4 - place, source="local", note=own))
    said = "acme/orbit-2026 answered under all 3 names: no figure here tells the models apart."
    expect(page.locator(".engine")).to_have_text(said)
    assert page.locator(".best:visible").count() == 0
    expect(one.column(2).locator(".served")).to_contain_text("temperature 0.8, seed 2")
    expect(page.locator(".notes")).to_have_text("A tiny model")


def test_the_line_of_times_is_drawn_to_one_scale(stage: Any, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")  # widths at once
    one = stage()
    one.end_all()
    expect(page.get_by_role("status")).to_have_text("3 answers")
    widths = page.locator(".wrote").evaluate_all("all => all.map(e => parseFloat(e.style.width))")
    assert widths == pytest.approx([30, 60, 90], abs=0.5)


def test_an_error_is_told_in_its_column_alone(stage: Any, page: Page) -> None:
    one = stage()
    one.say("Fine.", "Half")
    one.end(1, reply("Half", status="error"), error="The provider went away.")
    expect(one.column(1)).to_contain_text("The provider went away.")
    expect(one.column(1)).to_contain_text("Half")
    expect(one.column(0)).not_to_contain_text("went away")
    one.say("Still.")
    expect(one.column(0)).to_contain_text("Still.")


def test_a_note_that_all_share_is_told_once(stage: Any, page: Page) -> None:
    one = stage()
    for place in range(3):
        one.end(place, reply("x", source="local", note="A tiny model."))
    expect(page.get_by_text("A tiny model.")).to_have_count(1)
    expect(page.get_by_text("local demo model")).to_have_count(3)


def test_reasoning_is_folded_and_apart(stage: Any, page: Page) -> None:
    one = stage()
    one.say("Hm.", kind="reasoning")
    expect(one.column(0).get_by_text("Thinking …")).to_be_visible()
    expect(one.column(0).get_by_text("Hm.")).to_be_hidden()
    one.say("So.")
    one.column(0).get_by_text("Reasoning").click()
    expect(one.column(0).get_by_text("Hm.")).to_be_visible()


def test_a_long_prompt_can_be_unfolded(stage: Any, page: Page) -> None:
    stage(prompt="line\n" * 9)
    more = page.get_by_role("button", name="Whole prompt")
    folded = page.locator(".prompt").bounding_box()
    more.click()
    assert page.locator(".prompt").bounding_box()["height"] > folded["height"]
    assert more.get_attribute("aria-expanded") == "true"


def test_the_reader_stays_where_they_are(stage: Any, page: Page) -> None:
    """Several ends at once can be followed by nobody."""
    one = stage()
    one.say("line\n\n" * 60)
    log = page.get_by_role("log").first
    assert log.evaluate("e => e.scrollTop") == 0
    expect(log).to_have_class(re.compile("clipped"))
    log.evaluate("e => { e.scrollTop = 60 }")
    one.say("line\n\n" * 20 + "end\n\n")
    expect(log).to_contain_text("end")
    assert log.evaluate("e => e.scrollTop") == 60


@pytest.mark.parametrize(
    ("width", "rows", "scrolls"),
    [(420, [1, 1, 1, 1], False), (700, [2, 2], False), (1200, [4], False), (900, [4], True)],
)
def test_columns_fit_the_room_there_is(
    stage: Any, page: Page, width: int, rows: list[int], scrolls: bool
) -> None:
    page.set_viewport_size({"width": width + 24, "height": 800})
    one = stage([*MODELS, "lab/large"])
    one.end_all("a", "b", "c", "d")
    tops = page.get_by_role("article").evaluate_all("all => all.map(e => e.offsetTop)")
    assert [tops.count(top) for top in sorted(set(tops))] == rows
    over = page.locator(".grid").evaluate("e => e.scrollWidth > e.clientWidth + 1")
    assert over == scrolls
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_no_figure_is_cut_off_in_three_columns(stage: Any, page: Page) -> None:
    page.set_viewport_size({"width": 950, "height": 800})
    one = stage()
    one.end(0, reply("x", finish_reason="a_word_of_its_own_maker_and_longer_than_a_column"))
    expect(one.column(0)).to_contain_text("longer_than_a_column")
    fits = """all => all.every(e => e.getBoundingClientRect().right
        < e.closest("article").getBoundingClientRect().right)"""
    assert one.column(0).locator(".value").evaluate_all(fits)


def test_sixteen_columns_can_be_scrolled_through(stage: Any, page: Page) -> None:
    page.set_viewport_size({"width": 1100, "height": 800})
    one = stage([f"lab/m{n}" for n in range(16)])
    one.end_all(*"abcdefghijklmnop")
    expect(one.column(15)).not_to_be_in_viewport()
    page.get_by_role("log").nth(15).focus()
    expect(one.column(15)).to_be_in_viewport()


def test_motion_is_left_out_for_those_who_ask(stage: Any, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    stage()
    for selector in (".wait i", ".doing"):
        name = page.locator(selector).first.evaluate(
            "(e, s) => getComputedStyle(e, s === '.doing' ? '::before' : null).animationName",
            selector,
        )
        assert name == "none"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("moment", ["writing", "over", "blind", "voted"])
def test_axe_finds_nothing_to_complain_about(
    stage: Any, page: Page, theme: str, moment: str
) -> None:
    one = stage(blind=moment in ("blind", "voted"), prompt="line\n" * 9, theme=theme)
    page.emulate_media(reduced_motion="reduce")  # colours at once
    one.say("Hm.", "Hm.", kind="reasoning")
    one.say("See [this](https://example.org):\n\n```python\nx = 1  # one\n```\n" + "\nline\n" * 60)
    one.end(1, reply("", status="error"), error="The provider went away.")
    if moment != "writing":
        one.end(0, reply("a", first=0.1))
        one.end(2, reply("b", whole=9, source="local", note="A tiny model."))
    if moment == "voted":
        page.get_by_role("button", name="Choose A").click()
        one.carry()
        expect(page.get_by_text("Your choice")).to_be_visible()
    assert violations(page) == []


# ------------------------------------------------------------------ stopping


def test_stop_is_above_the_text_and_does_not_move(stage: Any, page: Page) -> None:
    one = stage()
    stop = page.get_by_role("button", name="Stop acme/orbit")
    every = page.get_by_role("button", name="Stop all")
    before = [stop.bounding_box(), every.bounding_box()]
    one.say("A cat.\n\n" * 30, "A dog.\n\n" * 9)
    one.end(1, reply("A dog."))
    assert [stop.bounding_box(), every.bounding_box()] == before
    stop.click()
    expect(stop).to_be_disabled()
    expect(one.column(0)).to_contain_text("stopping")
    every.click()
    assert one.sent("stop") == [{"type": "stop", "place": 0}, {"type": "stop"}]
    one.end(0, reply("A cat.", status="stopped"))
    expect(stop).to_be_hidden()
    expect(one.column(0)).to_contain_text("live")


def test_a_stop_that_is_not_heard_says_what_else_there_is(stage: Any, page: Page) -> None:
    one = stage()
    one.say("A cat.")
    page.get_by_role("button", name="Stop all").click()
    expect(page.get_by_role("status")).to_contain_text("interrupting it stops all")


# ------------------------------------------------------------------ the vote


def test_a_blind_page_knows_no_names(stage: Any, page: Page) -> None:
    one = stage(blind=True)
    one.end_all()
    expect(one.column(0)).to_contain_text("shown after the vote")
    seen = page.content() + json.dumps(page.evaluate("[globalThis.ornbState]"))
    for secret in (*MODELS, "orbit", "NorthCloud", "0.00015", "2.00 s"):
        assert secret not in seen


def test_a_click_votes_and_reveals(stage: Any, page: Page) -> None:
    one = stage(blind=True)
    expect(page.get_by_role("button", name="Choose A")).to_be_hidden()
    one.end_all()
    expect(page.get_by_role("status")).to_have_text("Which answer is best?")
    page.get_by_role("button", name="Choose B").click()
    expect(page.get_by_role("button", name="Choose B")).to_be_hidden()
    one.carry()
    assert one.it.vote == "B"
    expect(one.column(1)).to_contain_text("Your choice")
    expect(page.get_by_role("status")).to_have_text(f"You chose {one.it.winner}")
    expect(one.column(1)).to_contain_text("NorthCloud")
    for place, model in enumerate(one.it.to_json()["order"]):
        expect(one.column(place)).to_contain_text(model.partition("/")[2])


def test_a_letter_goes_to_its_button_and_enter_votes(stage: Any, page: Page) -> None:
    one = stage(blind=True)
    page.evaluate("""() => {
      window.leaked = [];
      document.addEventListener("keydown", event => window.leaked.push(event.key));
    }""")
    one.end_all()
    expect(page.get_by_role("button", name="Choose B")).to_be_visible()  # drawn with the next frame
    page.get_by_role("log").first.focus()
    page.keyboard.press("b")  # in JupyterLab's command mode this would add a cell
    expect(page.get_by_role("button", name="Choose B")).to_be_focused()
    page.keyboard.press("t")
    expect(page.get_by_role("button", name="Tie")).to_be_focused()
    assert page.evaluate("window.leaked") == []
    assert one.it.vote is None
    page.keyboard.press("Enter")
    one.carry()
    assert one.it.vote == "tie"
    expect(page.get_by_text("Tie", exact=True)).to_have_count(4)  # three marks, a hidden button
    expect(page.get_by_role("status")).to_have_text("You called it a tie")


def test_the_vote_is_in_the_order_of_the_tabulator(stage: Any, page: Page) -> None:
    one = stage(blind=True)
    one.end_all()
    page.get_by_role("button", name="Tie").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Choose A")).to_be_focused()
    page.keyboard.press("Space")
    one.carry()
    assert one.it.vote == "A"


def test_a_refused_vote_says_why_and_can_be_given_again(stage: Any, page: Page) -> None:
    one = stage(blind=True)
    one.end_all()
    page.evaluate("model.set('vote', 'Z'); model.save_changes()")
    expect(page.get_by_role("alert")).to_be_hidden()
    one.carry()
    expect(page.get_by_role("alert")).to_contain_text("give one of")
    expect(page.get_by_role("button", name="Choose A")).to_be_visible()  # the kernel said so
    page.get_by_role("button", name="Choose A").click()
    one.carry()
    assert one.it.vote == "A"
    expect(page.get_by_role("alert")).to_be_hidden()


def test_an_answer_that_is_not_there_cannot_be_chosen(stage: Any, page: Page) -> None:
    one = stage(blind=True)
    one.say("a", "", "c")
    one.end(1, reply("", status="error"), error="acme/orbit went away")
    one.end(0, reply("a"))
    one.end(2, reply("c"))
    expect(page.get_by_role("button", name="Choose B")).to_be_disabled()
    expect(one.column(1)).to_contain_text("why is told after the vote")
    expect(page.get_by_role("button", name="Choose A")).to_be_enabled()


# ------------------------------------------------------------------ nothing is lost


def test_a_lost_message_makes_the_page_ask_for_everything(stage: Any, page: Page) -> None:
    one = stage()
    one.say("A cat ", "A dog ")
    one.said[0].say("text", "that ")
    one.lose()
    one.say_until_it_greets(lambda: one.say("purrs.", "barks."))
    one.carry()
    logs = page.get_by_role("log")
    cat, dog = re.compile(r"^A cat that (purrs\.)+$"), re.compile(r"^A dog (barks\.)+$")
    expect(logs.nth(0)).to_have_text(cat, use_inner_text=True)
    one.say(" So.")
    cat = re.compile(r"^A cat that (purrs\.)+ So\.$")
    expect(logs.nth(0)).to_have_text(cat, use_inner_text=True)
    expect(logs.nth(1)).to_have_text(dog, use_inner_text=True)


def test_a_link_defined_late_is_right_at_the_end(stage: Any, page: Page) -> None:
    one = stage()
    text = "See [this][k].\n\nMore.\n\n[k]: https://example.org/k\n"
    for piece in text.splitlines(keepends=True):
        one.say(piece)
    one.end(0, reply(text))
    link = page.get_by_role("link", name="this")
    expect(link).to_have_attribute("href", "https://example.org/k")
    expect(page.get_by_text("See")).to_have_count(1)


def test_a_page_that_is_not_heard_greets_again_and_then_rests(stage: Any, new_page: Any) -> None:
    page = new_page()
    page.clock.install(time=datetime(2026, 1, 1))
    page.clock.pause_at(datetime(2026, 1, 2))  # from here on no time passes by itself
    one = stage(heard=False, page=page)
    assert len(one.sent("hello")) == 1
    page.clock.run_for(1000)
    assert len(one.sent("hello")) == 2
    one.carry()
    page.clock.run_for(10_000)
    assert len(one.sent("hello")) == 2


def test_the_ordinary_output_is_hidden_while_the_kernel_answers(stage: Any, page: Page) -> None:
    one = stage()
    page.evaluate(
        """id => document.body.insertAdjacentHTML("beforeend",
        `<div class="jp-OutputArea-child"><p class="ornb-static-${id}">kept</p></div>`)""",
        one.shown.get("_lasting_id"),
    )
    kept = page.get_by_text("kept")
    expect(kept).to_be_hidden()
    one.shown.unmount()
    expect(kept).to_be_visible()


def test_a_page_that_was_loaded_again_knows_that_it_no_longer_saves(stage: Any, page: Page) -> None:
    one = stage()
    note = page.get_by_text("not saved in the notebook")
    one.tell("state", **one.whole | {"page": "the page before"})
    expect(note).to_be_hidden()
    one.tell("delta", changes={}, done={"0": {"live": False, "status": "ok"}})
    expect(note).to_be_visible()


def test_two_views_show_the_same(stage: Any, page: Page) -> None:
    one = stage()
    second = one.shown.mount_again()
    one.say("A cat.")
    expect(second).to_contain_text("A cat.")
    one.end_all()
    expect(second).to_contain_text("complete")


def test_code_can_be_copied(stage: Any, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    one = stage()
    one.say("```python\nx = '<b>'\n```\n\nMore.\n\n")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "x = '<b>'\n"


def test_a_remote_picture_waits_for_a_click(stage: Any, page: Page) -> None:
    one = stage()
    one.say("![a cat](https://localhost:8/cat.png)\n\nMore.\n\n")
    expect(page.get_by_role("button", name="Load image")).to_be_visible()
    assert one.shown.refused == []
    with page.expect_console_message(lambda line: "ERR_FAILED" in line.text):
        page.get_by_role("button", name="Load image").click()
    expect(page.get_by_role("img", name="Image from localhost:8")).to_be_attached()
    assert one.shown.refused == ["https://localhost:8/cat.png"]
    one.shown.refused.clear()
    one.shown.complaints.clear()


# ------------------------------------------------------------------ hostile text


def test_no_field_of_an_answer_is_taken_for_html(stage: Any, page: Page) -> None:
    one, trap = stage([EVIL, "a/b"], prompt=EVIL), Trap(page)
    one.say(EVIL, kind="reasoning")
    said = Reply(
        reasoning=EVIL, model=EVIL, provider=EVIL, note=EVIL, finish_reason=EVIL, images=(EVIL,)
    )
    one.end(0, said)
    one.end(1, said, error=EVIL)
    expect(page.locator(".prompt")).to_have_text(EVIL)
    assert page.locator("#widget img").count() == 0
    trap.assert_nothing_happened()


def test_hostile_answers_run_nothing_and_fetch_nothing(stage: Any, page: Page) -> None:
    one, trap = stage(prompt="Hi"), Trap(page)
    for i in range(0, len(ANSWER), 700):
        one.say(ANSWER[i : i + 700], ANSWER[i : i + 700])
    one.end(0, reply(ANSWER))
    trap.assert_tame(".ornb-text")


# ------------------------------------------------------------------ in JupyterLab

IMPORT = "from ornb.notebook.compare import compare"
SETUP = f"""import ornb
{IMPORT}
ornb.connect(offline=True)
def simulated(tokens, chunk_s):
    return dict(ornb=dict(simulate=dict(tokens=tokens, chunk_s=chunk_s)))
models = dict(zip(
    ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4"], [simulated(40, .01), simulated(60, .02)]
))
"""


def test_a_blind_comparison_in_jupyterlab_is_voted_on_and_lasts(lab: Any) -> None:
    blind = "both = compare('What is a token?', models, blind=True)\nboth"
    notebook = lab.open([SETUP, blind])
    notebook.run_all()
    out = notebook.output(1)
    expect(out.get_by_role("article")).to_have_count(2)  # and not four: shown once
    expect(out.get_by_role("button", name="Choose B")).to_be_visible()
    expect(out).to_contain_text("Which answer is best?")
    out.get_by_role("log").first.focus()
    lab.page.keyboard.press("b")  # JupyterLab would add a cell
    expect(out.get_by_role("button", name="Choose B")).to_be_focused()
    lab.page.keyboard.press("Enter")
    expect(out).to_contain_text("Your choice")
    winner = notebook.python("both.winner")
    expect(out.get_by_role("status")).to_have_text(f"You chose {winner}")
    assert notebook.locator(".jp-Cell").count() == 2
    assert sorted(notebook.python("list(both.df['vote'])")) == ["lost", "won"]
    assert sorted(notebook.python("list(ornb.usage.df['model'])")) == sorted(
        ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4"]
    )

    notebook.save()
    kept = next(o["data"] for o in notebook.outputs(1) if MIME_COMPARISON in o.get("data", {}))
    assert Answers.from_json(kept[MIME_COMPARISON]).winner == winner

    notebook = notebook.reload()  # the kernel lives: the comparison is there
    expect(notebook.output(1)).to_contain_text("Your choice")
    notebook = notebook.close_and_reopen()  # the kernel is gone: the ordinary output is there
    expect(notebook.output(1).locator("table").first).to_contain_text(f"{winner} (chosen)")
    expect(notebook.output(1)).to_contain_text("not billed")
    error = notebook.output(1).get_by_text("Error displaying widget")  # JupyterLab's own
    expect(error).to_have_count(1)
    expect(error).to_be_hidden()
    assert all("widget model not found" in line for line in lab.console_errors)
    lab.console_errors.clear()


@pytest.fixture
def halves() -> Iterator[str]:
    """Address of a server whose answers begin and fall silent."""
    with WireServer([STREAM, delta("Half an answer"), "stall"]) as server:
        yield server.url


def test_stop_is_heard_while_the_cell_waits(lab: Any, halves: str) -> None:
    setup = f"import ornb\n{IMPORT}\nornb.connect(base_url={halves!r})"
    notebook = lab.open([setup, "both = compare('Hi', ['acme/orbit', 'acme/comet'])", "1 + 1"])
    notebook.start_all()
    out = notebook.output(1)
    expect(out.get_by_role("log").nth(1)).to_contain_text("Half an answer")
    notebook.wait_said("said.heard")  # the page's greeting; what it says later is heard as well
    out.get_by_role("button", name="Stop acme/orbit").click()
    expect(out.get_by_role("article").first).to_contain_text("stopped")
    expect(notebook.locator(".jp-InputPrompt").nth(1)).to_have_text(re.compile(r"\[\*\]"))
    out.get_by_role("button", name="Stop all").click()
    notebook.wait_idle()
    expect(notebook.output(2)).to_contain_text("2")
    assert notebook.python("[r.text for r in both.replies.values()]") == ["Half an answer"] * 2


def test_the_interrupt_button_stops_all_and_keeps_the_parts(lab: Any, halves: str) -> None:
    setup = f"import ornb\n{IMPORT}\nornb.connect(base_url={halves!r})"
    notebook = lab.open([setup, "compare('Hi', ['acme/orbit', 'acme/comet'])"])
    notebook.start_all()
    expect(notebook.output(1).get_by_role("log").nth(1)).to_contain_text("Half an answer")
    notebook.interrupt()
    notebook.wait_idle()
    assert notebook.errors() == ["cell 1: KeyboardInterrupt: "]
    kept = next(o["data"] for o in notebook.outputs(1) if MIME_COMPARISON in o.get("data", {}))
    assert list(Answers.from_json(kept[MIME_COMPARISON]).df["text"]) == ["Half an answer"] * 2
