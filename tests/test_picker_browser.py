"""The picker in a real browser: what a person sees, types, clicks and hears."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

import ornb
from ornb.notebook.picker import FILTERS, ModelPicker
from tests.axe import violations
from tests.lab import BUSY
from tests.page import until
from tests.test_picker import HOSTILE, MODELS, RECORDS, frame, ids, modalities, record


@pytest.fixture
def shown(draw):
    return draw(ModelPicker(MODELS))


def rows(page):
    """Ids of the rows drawn, in their order."""
    return page.locator("[data-row] .id").all_text_contents()


def many(count):
    """A catalogue of `count` models, all different."""
    authors = ["acme", "lab", "openlab", "strange", "mistr", "claud"]
    return frame(
        [
            record(
                f"{authors[n % 6]}/model-{n}",
                name=f"{authors[n % 6].title()}: Model {n}",
                created=1_700_000_000 + n,
                context_length=1000 * (n % 900 + 4),
                price=(f"0.0000{n:05}", f"0.000{n:05}"),
            )
            for n in range(count)
        ]
    )


def search(page):
    return page.get_by_role("searchbox", name="Search models")


def chip(page, name):
    return page.get_by_role("group", name="Filters").get_by_role("button", name=name, exact=True)


# --- what is seen ---------------------------------------------------------------------------------


def test_rows_counts_and_source_are_shown(shown, page):
    assert rows(page) == ids(shown.widget.matches)
    expect(page.locator(".foot")).to_contain_text("9 of 10 models")
    expect(page.locator(".notes")).to_contain_text("10 ids are 8 models")
    expect(page.locator(".foot")).to_contain_text("catalogue of 2026-08-22")
    expect(page.locator(".badge")).to_have_text("offline snapshot")


def test_values_are_written_as_people_say_them(shown, page):
    def cells(model_id):
        row = page.get_by_role("row").filter(has=page.get_by_text(model_id, exact=True))
        return row.get_by_role("gridcell").all_text_contents()[1:]

    assert cells("acme/orbit-pro") == ["1M", "$3.00", "$15.00", "61.5", "2026-07-25"]
    assert cells("acme/orbit-mini")[:3] == ["128k", "$0.0375", "$0.25"]
    assert cells("lab/rocket-2:free")[1:3] == ["free", "free"]
    assert cells("openrouter/auto")[:3] == ["2M", "varies", "varies"]
    assert cells("strange/bare") == ["\N{EN DASH}"] * 5


def test_hostile_names_are_text(shown, page):
    expect(page.get_by_text(HOSTILE, exact=True)).to_be_visible()
    assert page.locator("#widget img").count() == 0


def test_only_the_columns_asked_for_are_shown(draw, page):
    draw(ModelPicker(MODELS, columns=["author", "coding_index"]))
    expect(page.get_by_role("columnheader")).to_have_text(
        [re.compile("^Model"), re.compile("^Author"), re.compile("^Coding")]
    )


def test_at_most_200_rows_are_drawn_and_the_rest_is_counted(draw, page):
    draw(ModelPicker(many(450)))
    assert len(rows(page)) == 200
    expect(page.get_by_text("and 250 more: type to narrow")).to_be_attached()
    search(page).fill("model-44")
    assert len(rows(page)) == 11
    expect(page.locator(".more")).to_be_hidden()


def test_nothing_found_is_said(shown, page):
    search(page).fill("no such thing")
    expect(page.get_by_text("No model matches. Remove a filter or a word.")).to_be_visible()


def test_a_kind_that_the_snapshot_lacks_says_where_it_is_listed(draw, page):
    draw(ModelPicker(MODELS, filters={"kind": "embeddings"}))
    said = page.get_by_text("None of these models makes embeddings; ornb.sign_in() goes live")
    expect(said).to_be_visible()


def test_a_word_misspelt_is_put_right_by_keyboard(shown, page):
    search(page).fill("rokcet")
    expect(page.locator(".more")).to_have_text("Nothing fits “rokcet”. Did you mean rocket?")
    expect(page.get_by_role("status")).to_have_text("0 of 10 models. Did you mean rocket?")
    assert violations(page) == []
    page.get_by_role("button", name="rocket", exact=True).press("Enter")
    expect(search(page)).to_have_value("rocket")
    expect(search(page)).to_be_focused()
    assert len(rows(page)) == 3


def test_the_best_match_is_first_and_a_third_click_on_a_header_goes_back_to_it(shown, page):
    search(page).fill("rocket2")
    assert rows(page) == ["lab/rocket-2", "lab/rocket-2:free"]
    head = page.get_by_role("columnheader", name="Prompt").get_by_role("button")
    head.click()
    assert rows(page) == ["lab/rocket-2:free", "lab/rocket-2"]
    head.click()
    head.click()
    shown.deliver()
    assert shown.widget.sort == ("match", False)
    assert page.locator("[aria-sort]").count() == 0
    search(page).fill("")
    expect(page.get_by_role("columnheader", name="Created")).to_have_attribute(
        "aria-sort", "descending"
    )


def test_a_filter_that_hides_all_for_want_of_facts_says_so(draw, page):
    draw(ModelPicker(frame([{"id": "a"}, {"id": "b"}]), min_context=8000))
    said = "No model matches: this server tells context_length of none."
    expect(page.get_by_text(said)).to_be_visible()


def test_an_empty_catalogue_is_drawn(draw, page):
    draw(ModelPicker(frame([])))
    expect(page.locator(".foot")).to_contain_text("0 of 0 models")
    search(page).press("ArrowDown")


def test_a_row_is_made_once_and_reused(shown, page):
    page.evaluate("document.querySelector('[data-row]').dataset.mine = 'yes'")
    search(page).fill("nothing")
    search(page).fill("")
    assert page.locator("[data-mine]").count() == 1


# --- filters --------------------------------------------------------------------------------------


def test_typing_filters_while_the_kernel_is_busy(shown, page):
    search(page).press_sequentially("ROCKET 2")
    assert rows(page) == ["lab/rocket-2", "lab/rocket-2:free"]
    expect(page.locator(".foot")).to_contain_text("2 of 10 models")


def test_what_the_person_set_reaches_python(shown, page):
    search(page).fill("orbit")
    chip(page, "Tools").click()
    chip(page, "Vision").click()
    chip(page, "Files").click()
    page.get_by_label("Context length, at least").select_option("≥ 1M tokens")
    page.get_by_label("Price of a million completion tokens").select_option("≤ $1.00 per M")
    chip(page, "Batch").click()
    shown.deliver()
    assert shown.widget.filters == {
        "search": "orbit",
        "tools": True,
        "accepts": ("image", "file"),
        "min_context": 1_000_000,
        "max_completion_usd_per_million": 1.0,
        "batch": True,
    }


def test_a_chip_is_taken_back_by_a_second_click(shown, page):
    for name in ("Free", "Vision", "Batch"):
        chip(page, name).click()
        expect(chip(page, name)).to_have_attribute("aria-pressed", "true")
        chip(page, name).click()
        expect(chip(page, name)).to_have_attribute("aria-pressed", "false")
    shown.deliver()
    assert shown.widget.filters == {"batch": False}


def test_filters_set_from_python_show_in_the_page(shown, page):
    shown.widget.filters = {
        "search": "rocket",
        "free": False,
        "min_context": 30_000,
        "max_completion_usd_per_million": 2.5,
        "max_prompt_usd_per_million": 2,
        "author": ["lab", "acme"],
        "aliases": False,
    }
    shown.deliver()
    assert rows(page) == ["lab/rocket-2"]
    expect(search(page)).to_have_value("rocket")
    expect(chip(page, "Not free")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label("Context length").locator(":checked")).to_have_text("≥ 30k tokens")
    expect(page.get_by_label("Price of").locator(":checked")).to_have_text("≤ $2.50 per M")
    expect(page.get_by_role("button", name="Remove filter:")).to_have_text(
        ["author lab", "author acme", "prompt ≤ $2.00 per M", "no aliases"]
    )


def test_a_filter_without_a_control_can_be_removed(shown, page):
    shown.widget.filters = {"author": ["lab", "acme"], "routers": False}
    shown.deliver()
    page.get_by_role("button", name="Remove filter: author lab").click()
    page.get_by_role("button", name="Remove filter: no routers").click()
    shown.deliver()
    assert shown.widget.filters == {"author": ("acme",), "batch": False}


def test_reset_takes_all_filters_back(shown, page):
    expect(page.get_by_role("button", name="Reset")).to_be_hidden()
    shown.widget.filters = {"search": "x", "tools": False, "family": "Rocket", "batch": True}
    shown.deliver()
    page.get_by_role("button", name="Reset").click()
    shown.deliver()
    assert shown.widget.filters == {"batch": False}
    assert rows(page) == ids(shown.widget.matches)


def test_kinds_are_a_choice_where_there_are_several(draw, page):
    vectors = record("acme/vectors", architecture=modalities(["text"], ["embeddings"]))
    voice = record("acme/voice", architecture=modalities(["text"], ["speech"]))
    song = modalities(["text"], ["text", "audio"])
    by_the_song = record("acme/song", price=("0", "0"), architecture=song)
    drawn = draw(ModelPicker(frame([record("acme/chats"), vectors, voice, by_the_song])))
    page.get_by_label("What the model makes").select_option("embeddings")
    assert rows(page) == ["acme/vectors"]
    drawn.deliver()
    assert drawn.widget.filters == {"kind": ("embeddings",), "batch": False}
    assert ids(drawn.widget.matches) == ["acme/vectors"]
    drawn.widget.kind = ["decisions"]
    drawn.deliver()
    expect(page.locator(".more")).to_have_text("None of these models makes decisions.")
    page.get_by_role("button", name="Remove filter: kind decisions").click()
    assert len(rows(page)) == 4
    expect(page.locator("[data-row]", has_text="acme/song")).to_contain_text("other unit")


def test_kinds_are_no_choice_where_all_models_chat(shown, page):
    expect(page.get_by_label("What the model makes")).to_have_count(0)


def test_the_page_reads_every_filter(shown):
    assert set(FILTERS) <= shown.names()


def test_a_header_sorts_and_sorts_back(shown, page):
    head = page.get_by_role("columnheader", name="Completion")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert rows(page)[0] == "lab/rocket-2:free"
    assert set(rows(page)[-2:]) == {"openrouter/auto", "strange/bare"}, "missing ones last"
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    assert rows(page)[0] == "strange/hostile"
    assert set(rows(page)[-2:]) == {"openrouter/auto", "strange/bare"}, "missing ones last"
    expect(page.get_by_role("columnheader", name="Created")).not_to_have_attribute(
        "aria-sort", re.compile(".*")
    )
    shown.deliver()
    assert shown.widget.sort == ("completion_usd_per_million", False)


def test_maker_output_and_prompt_price_are_filters_at_hand(shown, page):
    opener = chip(page, "More …")
    expect(page.get_by_label("Maker")).to_be_hidden()
    opener.press("Enter")
    expect(opener).to_have_attribute("aria-expanded", "true")
    page.get_by_label("Maker").select_option("acme")
    page.get_by_label("Output kind").select_option("text")
    page.get_by_label("Prompt price").select_option("≤ $1.00 per M")
    assert rows(page) == ["acme/orbit-mini"]
    shown.deliver()
    assert shown.widget.filters == {
        "author": ("acme",),
        "returns": ("text",),
        "max_prompt_usd_per_million": 1.0,
        "batch": False,
    }
    page.get_by_label("Maker").select_option("Any maker")
    shown.deliver()
    assert shown.widget.author is None
    shown.widget.author = ["lab", "acme"]
    shown.deliver()
    expect(page.get_by_label("Maker").locator(":checked")).to_have_text("lab, acme")


@pytest.mark.parametrize("width", [700, 420])
def test_names_of_a_narrow_list_are_told_apart(draw, page, width):
    page.set_viewport_size({"width": width - 60, "height": 900})
    known = [record(f"openai/gpt-4o{of}", name=f"OpenAI: GPT-4o{of}") for of in ("", "-mini")]
    draw(ModelPicker(frame(known), value="openai/gpt-4o-mini"))
    titles = page.locator(".rows .title")
    expect(titles).to_have_text(["GPT-4o", "GPT-4o-mini"], use_inner_text=True)
    cut = "titles => titles.filter(title => title.scrollWidth > title.clientWidth).length"
    assert titles.evaluate_all(cut) == 0
    expect(page.locator(".heading strong")).to_have_text("OpenAI: GPT-4o-mini")


def test_columns_are_chosen_and_seen_however_narrow_it_is(draw, page):
    page.set_viewport_size({"width": 420, "height": 900})
    shown = draw(ModelPicker(MODELS, value="acme/orbit-pro"))
    chip(page, "More …").click()
    page.get_by_role("checkbox", name="Coding").check()
    page.get_by_role("checkbox", name="Context").uncheck()
    head = page.get_by_role("columnheader", name="Coding")
    head.scroll_into_view_if_needed()
    expect(head).to_be_in_viewport()
    expect(page.get_by_role("row", selected=True).get_by_role("gridcell").last).to_have_text("70.0")
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    assert violations(page) == []
    shown.deliver()
    assert "context_length" not in shown.widget.columns
    assert shown.widget.columns[-1] == "coding_index"
    shown.widget.columns = ["created"]
    shown.deliver()
    assert page.get_by_role("columnheader").count() == 2
    expect(page.get_by_role("checkbox", name="Coding")).not_to_be_checked()


# --- choosing -------------------------------------------------------------------------------------


def test_a_click_picks_at_once(shown, page):
    page.get_by_text("acme/orbit-mini", exact=True).click()
    assert shown.saved == [{"value": "acme/orbit-mini"}]
    shown.deliver()
    assert ids(shown.widget.selected) == ["acme/orbit-mini"]
    expect(page.get_by_role("row", selected=True)).to_contain_text("acme/orbit-mini")
    expect(page.get_by_role("group", name="Details")).to_contain_text("131,072 tokens")


def test_a_pick_can_be_taken_back(shown, page):
    page.get_by_text("acme/orbit-mini", exact=True).click()
    page.get_by_role("button", name="Remove acme/orbit-mini").click()
    shown.deliver()
    assert shown.widget.value is None
    expect(page.get_by_role("row", selected=True)).to_have_count(0)


def test_a_value_set_from_python_is_marked(shown, page):
    shown.widget.value = "lab/rocket-2"
    shown.deliver()
    expect(page.get_by_role("row", selected=True)).to_contain_text("lab/rocket-2")
    details = page.get_by_role("group", name="Details")
    expect(details).to_contain_text("Goes away")
    expect(details).to_contain_text("2026-12-31")
    expect(details).to_contain_text("2025-06-30")


def test_several_can_be_picked_up_to_the_most(draw, page):
    shown = draw(ModelPicker(MODELS, multiple=True, max_choices=2))
    for model_id in ("acme/orbit-mini", "acme/orbit-pro", "lab/rocket-2"):
        page.get_by_text(model_id, exact=True).click()
    shown.deliver()
    assert shown.widget.value == ("acme/orbit-mini", "acme/orbit-pro")
    expect(page.get_by_role("group", name="Picked models")).to_contain_text("Picked 2 of 2")
    expect(page.locator(".notice")).to_have_text("2 picked, which is the most. Remove one first.")
    page.get_by_text("acme/orbit-mini", exact=True).click()
    shown.deliver()
    assert shown.widget.value == ("acme/orbit-pro",)


def test_what_is_picked_is_compared_by_a_line_or_by_a_function(draw, page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    shown = draw(ModelPicker(MODELS, multiple=True, value=["acme/orbit-pro"]))
    button = page.get_by_role("button", name="compare")
    expect(button).to_have_count(0)
    page.get_by_text("lab/rocket-2", exact=True).click()
    button.press("Enter")
    expect(page.get_by_text("Copied: paste it into a cell")).to_be_visible()
    line = page.evaluate("navigator.clipboard.readText()")
    assert line == 'ornb.compare("Your question", ["acme/orbit-pro", "lab/rocket-2"])'
    compared = []
    shown.widget.on_compare(compared.append)
    shown.deliver()
    page.get_by_role("button", name="Compare these").click()
    shown.deliver()
    assert compared == [["acme/orbit-pro", "lab/rocket-2"]]
    assert violations(page) == []


def test_a_function_that_fails_to_compare_is_said(draw, page):
    shown = draw(ModelPicker(MODELS, multiple=True, value=["acme/orbit-pro", "lab/rocket-2"]))
    shown.widget.on_compare(lambda ids: ids["first"])
    shown.deliver()
    page.get_by_role("button", name="Compare these").click()
    shown.deliver()
    expect(page.get_by_role("alert")).to_contain_text("TypeError")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder."""
    monkeypatch.setattr("platformdirs.user_data_path", lambda _: tmp_path / "ornb")
    return tmp_path / "ornb"


def test_nothing_is_kept_before_it_is_asked_for(data, shown, page):
    page.get_by_text("acme/orbit-pro", exact=True).click()
    shown.deliver()
    assert not data.exists()
    chip(page, "More …").click()
    page.get_by_role("checkbox", name="Keep what I pick").check()
    shown.deliver()
    for model_id in ("lab/rocket-2", "acme/orbit-mini"):
        page.get_by_text(model_id, exact=True).click()
        shown.deliver()
    last = page.get_by_role("group", name="Last picked")
    expect(last.get_by_role("button")).to_have_text(["Acme: Orbit mini", "lab: rocket 2"])
    page.get_by_role("checkbox", name="Keep what I pick").uncheck()
    shown.deliver()
    expect(last).to_have_count(0)


def test_a_favourite_is_there_in_the_next_picker(data, draw, page):
    shown = draw(ModelPicker(MODELS, value="acme/orbit-pro"))
    star = page.get_by_role("button", name="Favourite", exact=True)
    star.press("Enter")
    shown.deliver()
    expect(star).to_have_attribute("aria-pressed", "true")
    expect(star).to_be_focused()
    shown = draw(ModelPicker(MODELS))
    assert shown.widget.favourites == ["acme/orbit-pro"]
    page.get_by_role("group", name="Favourites").get_by_role("button").click()
    shown.deliver()
    assert shown.widget.value == "acme/orbit-pro"
    assert violations(page) == []
    star.click()
    shown.deliver()
    assert ModelPicker(MODELS).favourites == []


def test_a_file_of_favourites_that_is_none_is_said_and_left_alone(data, draw, page):
    data.mkdir()
    (data / "picker.json").write_text("[1", encoding="utf-8")
    shown = draw(ModelPicker(MODELS, value="acme/orbit-pro"))
    expect(page.get_by_text("Your favourites cannot be read from")).to_be_visible()
    page.get_by_role("button", name="Favourite", exact=True).click()
    shown.deliver()
    expect(page.get_by_role("alert")).to_contain_text("Put that file right, or delete it.")
    assert (data / "picker.json").read_text(encoding="utf-8") == "[1"


def test_an_alias_says_what_it_stands_for(shown, page):
    page.get_by_text("~lab/rocket-latest", exact=True).click()
    expect(page.get_by_role("list", name="Abilities")).to_contain_text("alias of lab/rocket-2")


def test_a_row_is_opened_by_keyboard_for_its_description_and_providers(draw, page):
    models = ornb.models()
    models.loc["openai/gpt-4o-mini", "description"] = HOSTILE
    shown = draw(ModelPicker(models, search="gpt-4o-mini"))
    search(page).press("ArrowDown")
    page.keyboard.press("ArrowRight")
    details = page.get_by_role("group", name="Details")
    expect(details).to_contain_text("This comes when the kernel is free.")
    expect(details.get_by_role("button", expanded=True)).to_have_text("Less")
    shown.deliver()
    expect(details.get_by_text(HOSTILE, exact=True)).to_be_visible()
    until(lambda: shown.widget._closer["providers"] is not None)
    shown.deliver()
    expect(details.get_by_role("row").nth(1).get_by_role("cell")).to_have_text(
        ["$0.15", "$0.60", "\N{EN DASH}", "\N{EN DASH}"]
    )
    expect(details.get_by_role("rowheader").first).to_have_text("Azure")
    expect(details).to_contain_text(
        "This listing (offline snapshot, catalogue of 2026-08-22) tells no times."
    )
    expect(details.get_by_role("link")).to_have_attribute(
        "href", "https://openrouter.ai/openai/gpt-4o-mini"
    )
    assert violations(page) == []
    page.keyboard.press("ArrowLeft")
    expect(details.get_by_role("table")).to_be_hidden()


def test_a_row_whose_providers_cannot_be_had_says_why(shown, page):
    page.get_by_text("acme/orbit-mini", exact=True).click()
    details = page.get_by_role("group", name="Details")
    details.get_by_role("button", name="Description and providers").click()
    shown.deliver()
    expect(details).to_contain_text("This listing has no description.")
    until(lambda: shown.widget._closer["note"])
    shown.deliver()
    expect(details).to_contain_text("acme/orbit-mini")
    expect(details).to_contain_text(shown.widget._closer["note"])
    page.get_by_text("lab/rocket-2", exact=True).click()
    expect(details.get_by_role("button", expanded=False)).to_be_visible()


# --- keyboard and screen reader -------------------------------------------------------------------


def focused(page):
    return page.evaluate("document.activeElement.querySelector('.id')?.textContent ?? null")


def test_the_list_is_walked_with_the_keyboard_and_enter_picks(shown, page):
    order = rows(page)
    search(page).press("ArrowDown")
    assert focused(page) == order[0]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert focused(page) == order[1]
    page.keyboard.press("End")
    assert focused(page) == order[-1]
    page.keyboard.press("ArrowDown")
    assert focused(page) == order[-1]
    page.keyboard.press("Home")
    assert focused(page) == order[0]
    page.keyboard.press("Enter")
    shown.deliver()
    assert shown.widget.value == order[0]


def test_space_ticks_and_unticks_where_several_can_be_picked(draw, page):
    shown = draw(ModelPicker(MODELS, multiple=True))
    search(page).press("ArrowDown")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.keyboard.press("Space")
    shown.deliver()
    assert shown.widget.value == (rows(page)[0],)


def test_a_page_is_what_fits_and_the_focused_row_is_seen(draw, page):
    draw(ModelPicker(many(300)))
    search(page).press("ArrowDown")
    for _ in range(3):
        page.keyboard.press("PageDown")
    place = page.evaluate("""() => {
        const row = document.activeElement, list = row.closest(".scroller");
        const [r, l] = [row.getBoundingClientRect(), list.getBoundingClientRect()];
        const head = list.querySelector(".headrow").getBoundingClientRect().height;
        return { at: [...row.parentNode.children].indexOf(row), fits: Math.round(l.height / 44),
                 seen: r.top >= l.top + head - 1 && r.bottom <= l.bottom + 1 };
    }""")
    assert place["seen"]
    assert 3 * (place["fits"] - 3) <= place["at"] <= 3 * place["fits"]


def test_up_from_the_first_row_and_any_letter_lead_back_to_the_search(shown, page):
    search(page).press("ArrowDown")
    page.keyboard.press("ArrowUp")
    expect(search(page)).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.type("rock")
    expect(search(page)).to_be_focused()
    expect(search(page)).to_have_value("rock")


def test_escape_clears_the_search_from_the_list_too(shown, page):
    search(page).fill("rocket")
    search(page).press("ArrowDown")
    page.keyboard.press("Escape")
    expect(search(page)).to_be_focused()
    expect(search(page)).to_have_value("")
    assert len(rows(page)) == 9


def test_one_row_is_in_the_tab_order(shown, page):
    assert page.locator("[data-row][tabindex='0']").count() == 1
    search(page).press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.locator("[data-row][tabindex='0'] .id").text_content() == rows(page)[1]
    search(page).fill("rocket")
    assert page.locator("[data-row][tabindex='0'] .id").text_content() == rows(page)[0]


def test_keys_do_not_reach_the_notebook_but_save_does(shown, page):
    page.evaluate("""() => { globalThis.reached = [];
        document.addEventListener("keydown", (event) => {
            event.preventDefault();
            reached.push(event.key);
        }); }""")
    search(page).press("ArrowDown")
    for key in ("d", "Enter", "ArrowUp", "Escape", "Control+Enter", "Control+s"):
        page.keyboard.press(key)
    assert page.evaluate("reached") == ["s"]


def test_the_count_is_announced_once_the_typing_rests(shown, page):
    status = page.get_by_role("status")
    search(page).press_sequentially("rocket")
    expect(status).to_have_text("3 of 10 models")


def test_the_grid_says_how_many_rows_there_are(draw, page):
    draw(ModelPicker(many(450), multiple=True))
    grid = page.get_by_role("grid", name="Models")
    expect(grid).to_have_attribute("aria-rowcount", "451")
    expect(grid).to_have_attribute("aria-multiselectable", "true")


@pytest.mark.parametrize("theme", ["light", "dark", None])
@pytest.mark.parametrize("width", [900, 420])
def test_axe_finds_nothing_to_complain_about(draw, page, theme, width):
    page.set_viewport_size({"width": width, "height": 900})
    picker = ModelPicker(
        MODELS,
        multiple=True,
        value=["acme/orbit-pro", "lab/rocket-2:free"],
        filters={"author": ["lab", "acme"]},
    )
    picker.error = "something went wrong"
    draw(picker, theme=theme)
    search(page).press("ArrowDown")
    assert violations(page) == []


# --- around ---------------------------------------------------------------------------------------


def test_the_id_is_copied(draw, page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    draw(ModelPicker(MODELS, value="acme/orbit-pro"))
    page.get_by_role("button", name="Copy id").click()
    expect(page.get_by_role("button", name="Copy id")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "acme/orbit-pro"


def test_the_id_is_copied_where_the_clipboard_is_not_allowed(draw, page):
    draw(ModelPicker(MODELS, value="acme/orbit-pro"))
    page.evaluate("""() => {
        Object.defineProperty(navigator, "clipboard", { value: undefined });
        document.addEventListener("copy", () => {
            globalThis.copied = document.activeElement.value; }); }""")
    page.get_by_role("button", name="Copy id").click()
    page.wait_for_function("globalThis.copied === 'acme/orbit-pro'")


def test_the_pandas_code_is_copied_once_it_is_for_these_filters(draw, page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    shown = draw(ModelPicker(MODELS))
    search(page).fill("rocket")
    button = page.get_by_role("button", name="Copy pandas")
    button.click()
    expect(page.locator(".notice")).to_have_text("The code comes when the kernel is free.")
    shown.deliver()
    expect(page.get_by_text("Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == shown.widget.code


def test_two_views_of_one_picker_agree(shown, page):
    second = shown.mount_again()
    second.get_by_role("searchbox").fill("rocket")
    expect(search(page).first).to_have_value("rocket")
    page.locator("#widget").get_by_text("lab/rocket-2", exact=True).click()
    expect(second.get_by_role("row", selected=True)).to_contain_text("lab/rocket-2")


def test_a_view_taken_away_leaves_nothing(shown, page):
    search(page).fill("rocket")
    shown.unmount()
    assert page.locator("#widget").inner_html() == ""
    shown.widget.search = "x"
    shown.deliver()


def test_an_observers_exception_shows_and_can_be_dismissed(shown, page):
    def broken(_change):
        raise ValueError("no such column: price")

    shown.widget.observe(broken, names=["value"])
    page.get_by_text("lab/rocket-2", exact=True).click()
    shown.deliver()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("ValueError: no such column: price (test_picker_browser.py")
    alert.get_by_role("button", name="Dismiss").click()
    expect(alert).to_be_hidden()


@pytest.mark.parametrize("width", [900, 700, 420])
def test_nothing_sticks_out_at_any_width(draw, page, width):
    page.set_viewport_size({"width": width, "height": 900})
    draw(ModelPicker(frame([*RECORDS, record("x/" + "long" * 30, name="Long: " + "name " * 30)])))
    page.get_by_text("acme/orbit-pro", exact=True).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sticking = page.evaluate("""() => [...document.querySelectorAll(".head button")].filter((one) =>
        one.checkVisibility() && one.scrollWidth > one.parentElement.clientWidth).length""")
    assert sticking == 0
    expect(page.get_by_role("columnheader", name="Completion")).to_be_visible()


PRESS = """async (word) => {
    const box = document.querySelector("input[type=search]");
    box.value = word;
    box.dispatchEvent(new InputEvent("input", { bubbles: true }));
    await new Promise((done) => requestAnimationFrame(done));
}"""


def test_a_key_press_is_in_the_next_frame_and_the_page_stays_small(draw, page):
    """How long it takes is benchmarks/picker.py's to say."""
    draw(ModelPicker(many(4000)))
    for word in ("model 39", "model"):
        page.evaluate(PRESS, word)
        shown = rows(page)
        assert 0 < len(shown) <= 200
        assert all("39" in one for one in shown) or word == "model"


# --- in JupyterLab --------------------------------------------------------------------------------

CELL = f"""
import json
from ornb import catalog
from ornb.notebook.picker import ModelPicker
models = catalog.to_frame(json.loads({json.dumps(RECORDS)!r}), source="snapshot")
"""


PICKER = "picker = ModelPicker(models)\npicker"


def test_a_pick_in_jupyterlab_is_a_value_in_the_kernel(lab_as_left):
    notebook = lab_as_left.ran(CELL, PICKER).run_all()
    output = notebook.output(1)
    search(output).fill("orbit mini")
    output.get_by_text("acme/orbit-mini", exact=True).click()
    output.get_by_role("columnheader", name="Context").get_by_role("button").click()
    notebook.wait_idle()
    assert notebook.python("picker.value") == "acme/orbit-mini"
    assert notebook.python("picker.filters") == {"search": "orbit mini", "batch": False}
    assert notebook.python("list(picker.matches.index)") == rows(output)


def test_keys_in_the_list_are_no_shortcuts_of_jupyterlab(lab_as_left):
    notebook = lab_as_left.ran(CELL, PICKER).run_all()
    output = notebook.output(1)
    for key in ("ArrowDown", "ArrowDown", "Enter", "Escape", "ArrowDown"):
        notebook.page.keyboard.press(key) if key != "ArrowDown" else search(output).press(key)
    row = output.locator("[data-row]").first
    row.focus()
    notebook.page.keyboard.type("dd")
    expect(search(output)).to_have_value("dd")
    assert notebook.locator(".jp-Cell").count() == 2


def test_the_theme_of_jupyterlab_is_followed(lab_as_left):
    notebook = lab_as_left.ran(CELL, PICKER)
    scheme = "getComputedStyle(document.querySelector('.ornb-picker')).colorScheme"
    seen = []
    for theme in ("light", "dark"):
        notebook.theme(theme)
        seen.append(notebook.page.evaluate(scheme))
    assert seen == ["light", "dark"]


def test_it_filters_in_jupyterlab_while_the_kernel_is_busy(lab):
    notebook = lab.open([CELL, PICKER, BUSY])
    notebook.start_all()
    output = notebook.output(1)
    search(output).press_sequentially("rocket 2")
    expect(output.get_by_text("2 of 10 models", exact=False).first).to_be_visible()
    assert rows(output) == ["lab/rocket-2", "lab/rocket-2:free"]
    expect(notebook.locator(".jp-InputPrompt").nth(2)).to_have_text("[*]:")
    notebook.free()
    notebook.wait_idle()
    assert notebook.python("picker.search") == "rocket 2"


def test_it_takes_its_place_among_other_widgets(lab):
    box = """
import ipywidgets
ipywidgets.HBox([ModelPicker(models, height=200), ipywidgets.VBox([
    ModelPicker(models, height=150), ipywidgets.Button(description="below")])])
"""
    notebook = lab.open([CELL, box])
    notebook.run_all()
    output = notebook.output(1)
    expect(output.locator(".ornb-picker .rows .title:visible")).not_to_have_count(0)
    expect(output.get_by_role("button", name="below")).to_be_visible()
    # All in one look: a notebook that has just run may still be scrolled.
    first, second, below = output.locator(".ornb-picker, button:text-is('below')").evaluate_all(
        "all => all.map((one) => one.getBoundingClientRect().toJSON())"
    )
    assert first["width"] > 300
    assert second["width"] > 250
    assert first["right"] <= second["left"]
    assert 0 <= below["top"] - second["bottom"] < 20
