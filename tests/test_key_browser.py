"""The sign-in form in a real browser: what it shows, and that it forgets what was typed."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import requests
from playwright.sync_api import expect

from ornb.api import keys
from ornb.notebook.key import BINDER, KeyForm
from ornb.offline import OfflineServer
from tests.axe import violations
from tests.lab import BUSY
from tests.test_keys import KEY_DATA

SENTINEL = "sk-or-v1-5entine1-ddabdd00"
"""Its letters are shortcuts of JupyterLab: dd deletes a cell, 00 restarts the kernel."""
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def shown(draw):
    return draw(KeyForm())


def box(page, label="API key"):
    return page.get_by_label(label)


def say(form, **values):
    """Let a form say something, in one message."""
    with form.hold_sync():
        for name, value in values.items():
            form.set_trait(name, value)
    return form


def set_state(shown, **values):
    """Let the kernel say something; what was typed gets to no service."""
    say(shown.widget, **values)
    shown.deliver("update")


def signed_in(form, data=KEY_DATA):
    """Bring a form to where a key is in use."""
    info = keys.describe(data)
    share = info.remaining_usd / info.limit_usd if info.limit_usd else None
    told = {"facts": info.facts(), "advice": info.advice(), "_left": share}
    return say(form, signed_in=True, status="Signed in", **told)


def everywhere(page):
    """Whatever of the page could be saved, copied or read later."""
    return page.evaluate("""() => JSON.stringify([
        document.documentElement.outerHTML,
        [...document.querySelectorAll("input, textarea")].map((one) => one.value),
        globalThis.ornbState, globalThis.saved,
        Object.keys(localStorage).map((name) => localStorage[name]),
        Object.keys(sessionStorage).map((name) => sessionStorage[name]),
        String(getSelection()),
    ])""")


# --- what was typed -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["Enter", "button"])
@pytest.mark.parametrize(
    ("label", "kind", "button"),
    [("API key", "key", "Sign in"), ("Code it shows", "code", "Use code")],
)
def test_what_is_typed_leaves_in_a_message_and_is_gone(shown, page, way, label, kind, button):
    box(page, label).press_sequentially(SENTINEL)
    if way == "Enter":
        box(page, label).press("Enter")
    else:
        page.get_by_role("button", name=button, exact=True).click()
    assert shown.sent == [{"type": kind, kind: SENTINEL}]
    expect(box(page, label)).to_have_value("")
    assert "5entine1" not in everywhere(page)


def test_undo_does_not_bring_it_back(shown, page):
    box(page).press_sequentially(SENTINEL)
    box(page).press("Enter")
    expect(box(page)).to_be_focused()
    set_state(shown, busy=True)
    set_state(shown, busy=False)
    for shortcut in ("Control+z", "Control+z", "Control+Shift+z"):
        box(page).press(shortcut)
    expect(box(page)).to_have_value("")


def test_a_form_that_is_taken_away_forgets_what_is_half_typed(shown, page):
    page.evaluate("globalThis.kept = document.querySelector('input')")
    box(page).press_sequentially(SENTINEL)
    shown.unmount()
    assert page.evaluate("kept.value") == ""
    assert page.locator("#widget").inner_html() == ""


@pytest.mark.parametrize("label", ["API key", "Code it shows"])
def test_the_boxes_are_for_secrets(shown, page, label):
    for name, value in {"type": "password", "autocomplete": "off", "spellcheck": "false"}.items():
        expect(box(page, label)).to_have_attribute(name, value)
    assert page.locator("form").count() == 0  # which a browser would offer to remember


def test_nothing_typed_is_said_and_not_sent(shown, page):
    box(page).press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Paste the key first.")
    page.get_by_role("button", name="Use code").click()
    expect(page.get_by_role("alert")).to_have_text("Paste the code first.")
    box(page).press("a")
    expect(page.get_by_role("alert")).to_be_hidden()
    assert shown.sent == []


def test_keys_do_not_reach_the_page_around(shown, page):
    page.evaluate("""() => {
        globalThis.heard = [];
        document.addEventListener("keydown", (event) => heard.push(event.key));
    }""")
    box(page).press_sequentially("dd00")
    box(page).press("Enter")
    page.get_by_role("button", name="Use code").press("x")
    assert page.evaluate("heard") == []
    box(page).press("Control+s")
    assert page.evaluate("heard") == ["Control", "s"] or page.evaluate("heard") == ["s"]


# --- how it goes ----------------------------------------------------------------------------------


def test_while_the_service_is_asked_nothing_more_is_taken(shown, page):
    box(page).fill("one")
    box(page).press("Enter")
    expect(page.get_by_role("status")).to_have_text("Asking …")
    set_state(shown, busy=True, status="Checking the key …")
    expect(page.get_by_role("status")).to_have_text("Checking the key …")
    for name in ("Sign in", "Use code"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_disabled()
    box(page, "Code it shows").press("Enter")
    assert len(shown.sent) == 1


def test_a_busy_kernel_is_said(shown, page):
    box(page).fill("one")
    box(page).press("Enter")
    expect(page.get_by_role("status")).to_have_text(
        "The kernel is busy; it comes to this when it is free"
    )


@pytest.mark.parametrize("label", ["API key", "Code it shows"])
def test_a_refusal_is_shown_and_the_box_has_the_keyboard(shown, page, label):
    box(page, label).fill("one")
    box(page, label).press("Enter")
    set_state(shown, busy=True, status="…")
    shown.widget.error = "openrouter.ai does not know this key."
    set_state(shown, busy=False, status="")
    expect(page.get_by_role("alert")).to_have_text("openrouter.ai does not know this key.")
    expect(box(page, label)).to_be_focused()
    box(page, label).press("a")
    expect(page.get_by_role("alert")).to_be_hidden()
    shown.deliver("update")
    assert shown.widget.error == ""
    box(page, label).press("Enter")
    assert [message.get("key") or message.get("code") for message in shown.sent] == ["one", "a"]


def test_a_refusal_before_anybody_was_asked_frees_the_form_too(shown, page):
    box(page).fill("one")
    box(page).press("Enter")
    shown.widget.error = "OrnbError: no thread"
    shown.deliver("update")
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_enabled()


def test_signed_in_the_facts_are_shown_and_no_box(shown, page):
    box(page).fill("one")
    box(page).press("Enter")
    set_state(shown, busy=True)
    signed_in(shown.widget)
    set_state(shown, busy=False)
    account = page.get_by_role("group", name="The key in use")
    expect(account).to_be_focused()
    expect(account.locator("dt")).to_have_text(list(shown.widget.facts))
    expect(account.locator("dd")).to_have_text(list(shown.widget.facts.values()))
    expect(account.get_by_role("img", name="67 % of the limit is left")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Signed in")
    expect(box(page)).to_be_hidden()


def test_sign_out_asks_the_kernel_and_leaves_the_keyboard_in_the_box(draw, page):
    shown = draw(signed_in(KeyForm()))
    page.get_by_role("button", name="Sign out").click()
    assert shown.sent == [{"type": "sign_out"}]
    expect(page.get_by_role("button", name="Sign out")).to_be_disabled()
    set_state(shown, busy=True)
    set_state(shown, signed_in=False, facts={}, _left=None, busy=False, status="Signed out.")
    expect(box(page)).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("Signed out.")


def test_the_keyboard_elsewhere_is_left_alone(draw, page):
    shown = draw(KeyForm())
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('input'), { id: 'other' }))"
    )
    box(page).fill("one")
    box(page).press("Enter")
    page.locator("#other").focus()
    set_state(shown, busy=True)
    set_state(shown, busy=False)
    expect(page.locator("#other")).to_be_focused()


def test_what_the_service_says_is_text(draw, page):
    form = signed_in(KeyForm(), KEY_DATA | {"label": HOSTILE})
    form.error = HOSTILE
    draw(form)
    assert page.get_by_text(HOSTILE).count() == 2
    assert page.locator("#widget img").count() == 0


# --- the ways in ----------------------------------------------------------------------------------


def test_links_lead_to_openrouter_and_tell_it_nothing(shown, page):
    opener = page.get_by_role("link", name="Open OpenRouter")
    expect(opener).to_have_attribute("href", re.compile("^https://openrouter.ai/auth[?]"))
    expect(page.get_by_role("link", name="openrouter.ai/settings/keys")).to_have_attribute(
        "href", keys.KEYS_URL
    )
    for one in page.get_by_role("link").all():
        expect(one).to_have_attribute("target", "_blank")
        expect(one).to_have_attribute("rel", "noopener noreferrer")
    set_state(shown, _auth_url="https://openrouter.ai/auth?again")
    expect(opener).to_have_attribute("href", "https://openrouter.ai/auth?again")


def test_a_limit_and_an_expiry_are_suggested(shown, page):
    expect(page.locator("#widget")).to_contain_text("a limit of a few dollars and an expiry date")


def test_another_service_takes_keys_only(draw, page):
    draw(KeyForm("http://127.0.0.1:4000/v1"))
    expect(page.get_by_text("Sign in to 127.0.0.1:4000")).to_be_visible()
    expect(box(page, "Code it shows")).to_be_hidden()
    assert page.get_by_role("link").count() == 0


def test_a_page_over_plain_http_is_warned_of(new_page, draw):
    page = new_page()
    page.add_init_script("Object.defineProperty(globalThis, 'isSecureContext', { value: false })")
    draw(KeyForm(), page=page)
    expect(page.locator(".mind")).to_contain_text("plain http")


def test_labels_are_unique_though_each_widget_loads_the_module_anew(shown, page):
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    shown.mount_again()
    both = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(both) == len(set(both)) > len(ids)


def test_two_views_of_one_form_agree(shown, page):
    second = shown.mount_again()
    box(page).first.fill("one")
    box(page).first.press("Enter")
    set_state(shown, busy=True)
    signed_in(shown.widget)
    set_state(shown, busy=False)
    expect(page.get_by_role("button", name="Sign out")).to_have_count(2)
    second.get_by_role("button", name="Sign out").click()
    assert shown.sent[-1] == {"type": "sign_out"}


# --- how it looks ---------------------------------------------------------------------------------


def state(name):
    """A form in one of its states."""
    form = signed_in(KeyForm()) if name.startswith("in") else KeyForm()
    if name == "trouble":
        form.error = "openrouter.ai does not know this key. " * 3
        say(form, advice=BINDER)
    elif name == "busy":
        say(form, busy=True, status="Checking the key …")
    elif name == "in with advice":
        signed_in(form, KEY_DATA | {"label": "long" * 20, "limit": None, "expires_at": None})
    return form


STATES = ["start", "trouble", "busy", "in", "in with advice"]


@pytest.mark.parametrize("theme", ["light", "dark", None])
@pytest.mark.parametrize("name", STATES)
def test_axe_finds_nothing_to_complain_about(draw, page, theme, name):
    draw(state(name), theme=theme)
    assert violations(page) == []


@pytest.mark.parametrize("width", [760, 420, 300])
@pytest.mark.parametrize("name", STATES)
def test_nothing_sticks_out_at_any_width(draw, page, width, name):
    page.set_viewport_size({"width": width, "height": 700})
    draw(state(name))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sticking = page.evaluate("""() => [...document.querySelectorAll("#widget *")].filter((one) =>
        one.checkVisibility() && !one.closest("svg") && getComputedStyle(one).overflowX !== "hidden"
        && one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0)
        .map((one) => one.outerHTML)""")
    assert sticking == []


# --- in JupyterLab --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    """A service whose key is the sentinel."""
    with OfflineServer(model="off", token=SENTINEL) as running:
        yield running


@pytest.fixture
def saving_widgets(lab):
    """JupyterLab saves the state of widgets with the notebook, which it does not by default."""
    toggle = "jupyterapp.commands.execute('@jupyter-widgets/jupyterlab-manager:saveWidgetState')"
    lab.page.evaluate(toggle)
    yield
    lab.page.evaluate(toggle)


@pytest.fixture
def console(lab):
    """Every line of the browser's console, errors or not."""
    lines = []

    def note(message):
        lines.append(message.text)

    lab.page.on("console", note)
    yield lines
    lab.page.remove_listener("console", note)


def cells(server):
    return [
        "import ornb\nfrom ornb.notebook.key import sign_in\nornb.connect(offline=True)",
        f"form = sign_in({server.base_url!r}, auth_url='https://openrouter.ai/auth')\nform",
    ]


def files_with(lab, text):
    """Files of JupyterLab, its kernels and its notebooks that hold `text`."""
    folder = lab.root.parent
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert {"notebook.ipynb", "server.log"} <= {path.name for path in found}
    return [str(path) for path in found if text.encode() in path.read_bytes()]


def saved_forms(notebook):
    """The forms in the widget state that a save writes."""
    saved = notebook.save()
    state = saved.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    return [each["state"] for each in state.values() if "signed_in" in each["state"]]


def in_the_kernel(notebook):
    """All that a kernel shows or saves of its widgets, variables and inputs."""
    return notebook.python(
        "[repr(__import__('ipywidgets').Widget.get_manager_state()), repr(form), repr(vars(form)),"
        " repr(form.trait_values()), repr(ornb.client()), repr(globals().get('In'))]"
    )


def left_of_it(lab, notebook, console):
    """Every place where the sentinel is, once it was typed."""
    places = {
        "page": everywhere(lab.page),
        "kernel": json.dumps(in_the_kernel(notebook)),
        "console": json.dumps(console),
        "outputs": json.dumps(notebook.outputs(1)),
    }
    return files_with(lab, "5entine1") + [name for name in places if "5entine1" in places[name]]


def test_a_key_typed_in_jupyterlab_is_nowhere_afterwards(lab, server, saving_widgets, console):
    notebook = lab.open(cells(server))
    notebook.run_all()
    output = notebook.output(1)
    box(output).click()
    lab.page.keyboard.type(f"{SENTINEL}-wrong")
    lab.page.keyboard.press("Enter")
    expect(output.get_by_role("alert")).to_contain_text("does not know this key")
    assert len(saved_forms(notebook)) == 1
    assert left_of_it(lab, notebook, console) == []

    lab.page.keyboard.type(SENTINEL)  # the box has the keyboard again
    lab.page.keyboard.press("Enter")
    expect(output.get_by_role("button", name="Sign out")).to_be_visible()
    assert notebook.python("[ornb.ask('Hi', 'openai/gpt-4o-mini').source, form.signed_in]") == [
        "canned",
        True,
    ]
    assert [form["signed_in"] for form in saved_forms(notebook)] == [True]
    assert files_with(lab, server.base_url) != []  # the search finds what is there
    assert left_of_it(lab, notebook, console) == []
    assert notebook.locator(".jp-Cell").count() == 2  # no letter was a shortcut

    output.get_by_role("button", name="Sign out").click()
    expect(output.get_by_role("status")).to_contain_text("Signed out.")
    assert notebook.python("[ornb.client().source, form.facts]") == ["offline", {}]


def test_a_key_typed_while_the_kernel_is_busy_is_in_no_file(lab, server, saving_widgets, console):
    notebook = lab.open([*cells(server), BUSY])
    notebook.start_all()
    output = notebook.output(1)
    box(output).click()
    lab.page.keyboard.type(SENTINEL)
    lab.page.keyboard.press("Enter")
    expect(notebook.locator(".jp-InputPrompt").nth(2)).to_have_text("[*]:")
    assert len(saved_forms(notebook)) == 1
    assert files_with(lab, "5entine1") == []
    assert "5entine1" not in everywhere(lab.page)
    notebook.free()
    notebook.wait_idle()
    expect(output.get_by_role("button", name="Sign out")).to_be_visible()
    saved_forms(notebook)
    assert left_of_it(lab, notebook, console) == []


def test_the_pasted_code_signs_in_and_a_reload_keeps_it(lab, server):
    notebook = lab.open(cells(server))
    notebook.run_all()
    output = notebook.output(1)
    link = output.get_by_role("link", name="Open OpenRouter").get_attribute("href")
    box(output, "Code it shows").fill(allow(server, link))
    output.get_by_role("button", name="Use code").click()
    expect(output.get_by_role("status")).to_have_text("Signed in")
    notebook.save()
    notebook.reload()
    expect(output.get_by_role("button", name="Sign out")).to_be_visible()
    expect(output.locator("dd").first).to_have_text("ornb offline")


def allow(server, link) -> Any:
    """Do what a person does on the sign-in page: allow, and get a code."""
    challenge = link.partition("code_challenge=")[2].partition("&")[0]
    answer = requests.post(
        f"{server.base_url}/auth/keys/code",
        json={"code_challenge": challenge, "code_challenge_method": "S256"},
        headers={"Authorization": f"Bearer {server.token}"},
        timeout=60,
    )
    return answer.json()["data"]["id"]
