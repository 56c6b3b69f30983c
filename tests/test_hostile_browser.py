"""Hostile answers in a real browser: in a bare page, in JupyterLab, and in an exported page."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import nbformat
import pytest
from markdown_it import MarkdownIt
from nbconvert import HTMLExporter
from playwright.sync_api import Browser, Page, expect

from ornb.api.reply import Reply
from ornb.messages import Conversation
from ornb.notebook.shown import call_for_page
from ornb.text.export import save, to_notebook
from ornb.text.markdown import StreamRenderer, render
from ornb.text.rendering import reply_html
from tests.hostile import (
    ANSWER,
    AWAY,
    CALLS,
    FETCHES,
    GROUPS,
    HANDLERS,
    HERE,
    ODD_HOSTS,
    POKE,
    SCRIPTS,
    Trap,
    conversation,
    settle,
)
from tests.kept import transcript
from tests.lab import Lab, LabNotebook, Traffic
from tests.stages import reply
from tests.wire import FINISH, STREAM, WireServer, delta

pytestmark = pytest.mark.browser

ORIGIN = "http://localhost:9/"
"""Never connected to: the page is answered here."""
STATIC = ".ornb-static"


@pytest.fixture
def blank(page: Page) -> Callable[[str], Trap]:
    """A page of an ordinary origin with a trap set, whose body is given."""

    def show(body: str) -> Trap:
        document = f"<!doctype html><html><body><main>{body}</main></body></html>"
        trap = Trap(page)
        page.route(
            ORIGIN, lambda r: r.fulfill(content_type="text/html; charset=utf-8", body=document)
        )
        page.goto(ORIGIN)
        return trap

    return show


def test_the_corpus_bites_where_nothing_is_cleaned(browser: Browser) -> None:
    """Otherwise the tests below would prove nothing. Each has a frame and a number of its own."""
    careless = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    numbered = [
        text.replace("top.hit=1", f"top.hit={number}")
        .replace(AWAY, f"{AWAY}{number}-")
        .replace(HERE, f"{HERE}{number}-")
        for number, text in enumerate((SCRIPTS | HANDLERS | FETCHES).values())
    ]
    frames = (f'<iframe srcdoc="{escape(careless.render(text))}"></iframe>' for text in numbered)
    context = browser.new_context()
    Traffic(context)  # other hosts are refused, here too
    page = context.new_page()
    trap = Trap(page)
    page.route(ORIGIN, lambda route: route.fulfill(content_type="text/html", body="".join(body)))
    body = ["<script>ran = []; Object.defineProperty(top, 'hit', {set: n => ran.push(n)})</script>"]
    body.extend(frames)
    page.goto(ORIGIN)
    settle(page)
    ran = set(page.evaluate("ran"))
    fetched = {found[1] for url in trap.asked if (found := re.search(r"[/-](\d+)-", url))}
    context.close()
    assert len(ran) > 15, sorted(ran)
    assert len(fetched) > 15, sorted(fetched)


@pytest.mark.parametrize("group", GROUPS)
def test_an_answer_alone_does_nothing(blank: Any, group: str) -> None:
    sections = (f"<section>{render(text)}</section>" for text in GROUPS[group].values())
    blank("".join(sections)).assert_tame("section")


def test_an_answer_does_nothing_at_any_moment_of_its_arrival(blank: Any, page: Page) -> None:
    """What is open is cleaned like what is finished, however the answer was cut."""
    trap = blank("<div class=done></div><div class=tail></div>")
    stream, chance = StreamRenderer(), random.Random(3)
    for piece in cut(ANSWER, chance):
        finished, tail = stream.feed(piece)
        page.evaluate(
            """([finished, tail]) => {
              document.querySelector(".done").insertAdjacentHTML("beforeend", finished);
              document.querySelector(".tail").innerHTML = tail;
            }""",
            [finished, tail],
        )
    trap.assert_tame("main")
    page.locator(".done").evaluate("(e, html) => { e.innerHTML = html }", stream.finish())
    trap.assert_tame("main")


def test_no_field_of_a_conversation_does_anything(blank: Any) -> None:
    """Names, errors, notes, sources, files and tools are a stranger's words too."""
    talk = conversation()
    said = talk.path[-1].reply
    assert said is not None
    body = transcript(talk)["text/html"] + reply_html(said)
    blank(body).assert_tame("main > div")


def test_a_live_answers_sources_lead_where_they_say(chat_stage: Any, page: Page) -> None:
    one = chat_stage()
    honest = {"url": "https://good.example/", "title": "Your bank"}
    cited = [{"url_citation": {"url": url, "title": "Your bank"}} for url in ODD_HOSTS]
    trap = Trap(page)
    one.begin()
    one.end(reply("x", annotations=(*cited, {"url_citation": honest})))
    expect(page.locator(".sources li").last).to_contain_text("good.example")
    trap.assert_tame(".sources")
    assert page.locator(".sources a").count() == 3  # an alphabet and a user's name are told


@pytest.mark.parametrize("name", CALLS)
def test_what_a_person_allows_is_what_runs(chat_stage: Any, page: Page, name: str) -> None:
    """Every letter of it, in the order in which it runs."""
    one = chat_stage()
    one.begin()
    asked = {"id": "c", "function": {"name": "delete\u202e", "arguments": CALLS[name]}}
    one.tell("tool", call={**call_for_page(asked), "state": "asking"})
    shown = page.get_by_label("Arguments", exact=True)
    expect(page.get_by_role("button", name="Run")).to_be_visible()
    text = shown.inner_text()
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    spelt = re.sub("\u27e8U\\+(....)\u27e9", lambda found: chr(int(found[1], 16)), text)
    assert json.loads(spelt) == json.loads(CALLS[name])
    assert "\u202e" not in page.locator(".step summary").inner_text()
    for box in (shown.bounding_box(), page.get_by_role("button", name="Run").bounding_box()):
        assert box is not None
        assert box["height"] < 300
        assert box["x"] + box["width"] < page.viewport_size["width"]  # type: ignore[index]
    shown.press("End")
    page.wait_for_function(
        "pre => pre.scrollTop + pre.clientHeight > pre.scrollHeight - 2",
        arg=shown.element_handle(),
    )


# ------------------------------------------------------------------ in JupyterLab

CELLS = [
    "import ornb\nornb.connect(base_url={url!r})\nchat = ornb.Chat('acme/orbit')\nchat",
    "_ = chat.ask('Go')",
    "%%ornb acme/orbit\nGo",
    "ornb.ask('Go', model='acme/orbit')",
    "ornb.compare('Go', ['acme/orbit', 'acme/comet'])",
    "old = ornb.Chat.reopen({talk!r})\nold",
]
LIVE = [
    *(f".ornb-chat {part}" for part in (".ornb-text", ".steps", ".sources", ".answer .trouble")),
    ".ornb-chat .facts > span:not(.actions)",
    ".ornb-compare .said",
]
"""What the page draws of an answer, beside our buttons."""


FOREIGN = """root => [...document.querySelectorAll(`${root} .jp-RenderedMarkdown *`)].filter(e =>
  e.matches("script, img, iframe, object, embed, form, input, style, link, video, audio, svg image,"
    + " [data-commandlinker-command], [srcset]")
  || [...e.attributes].some(a => a.name.startsWith("on"))
  || /^(?!https?:|mailto:|#)/.test(e.getAttribute("href") ?? "#")
).map(e => e.outerHTML.slice(0, 200))"""
"""Elements in drawn Markdown that do something."""


def cut(text: str, chance: random.Random, longest: int = 400) -> Iterator[str]:
    """The text in pieces of random length."""
    at = 0
    while at < len(text):
        size = chance.randint(1, longest)
        yield text[at : at + size]
        at += size


@pytest.fixture(scope="module")
def attacker() -> Iterator[str]:
    """Address of a service whose every answer is the corpus."""
    pieces = [delta(piece) for piece in cut(ANSWER, random.Random(7))]
    script = [STREAM, *[step for piece in pieces for step in (piece, 0.004)], FINISH]
    with WireServer(script) as server:
        yield server.url


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of a conversation with the corpus."""
    return str(save(conversation(ANSWER), tmp_path_factory.mktemp("talk") / "talk.json"))


@pytest.fixture
def attacked(lab_as_left: Lab, attacker: str, talk: str) -> tuple[LabNotebook, Trap]:
    """A notebook whose every way to an answer shows the corpus; trusted, as it ran."""
    trap = Trap(lab_as_left.page)
    return lab_as_left.ran(*(cell.format(url=attacker, talk=talk) for cell in CELLS)), trap


def test_a_trusted_notebook_is_not_touched(attacked: tuple[LabNotebook, Trap]) -> None:
    notebook, trap = attacked
    before = notebook.locator(".jp-Cell").count()
    expect(notebook.output(0).get_by_role("article", name="Answer")).to_have_attribute(
        "aria-busy", "false"
    )
    expect(notebook.locator(".ornb-compare .text[aria-busy='false']")).to_have_count(2)
    expect(notebook.locator(".ornb-chat .sources a").first).to_be_visible()
    for part in LIVE:
        trap.assert_tame(part)
    assert notebook.locator(STATIC).count() == 5
    trap.assert_tame(STATIC)
    click_everything(notebook, trap)
    assert notebook.locator(".jp-Cell").count() == before, "a command of JupyterLab's ran"
    assert notebook.python("len(chat.conversation)") == 2


def test_an_exported_page_is_not_touched(
    attacked: tuple[LabNotebook, Trap], page: Page, tmp_path: Path
) -> None:
    notebook, _ = attacked
    trap = Trap(page)
    page.goto(exported(notebook.save(), tmp_path))
    assert page.locator(STATIC).count() == 5
    trap.assert_tame(STATIC)


def test_a_reopened_notebook_is_not_touched_be_it_trusted_or_not(
    attacked: tuple[LabNotebook, Trap],
) -> None:
    notebook, trap = attacked
    notebook.save()
    notebook = notebook.close_and_reopen()
    expect(notebook.locator(f".jp-mod-trusted {STATIC}")).to_have_count(5)
    trap.assert_tame(STATIC)
    # As it comes from somebody else: what it holds is not what was signed here.
    data = json.loads(notebook.file.read_text(encoding="utf-8"))
    data["cells"][3]["outputs"][-1]["data"]["text/plain"] += " changed"
    notebook.file.write_text(json.dumps(data), encoding="utf-8")
    notebook = notebook.close_and_reopen()
    expect(notebook.locator(STATIC)).to_have_count(5)
    expect(notebook.locator(f".jp-mod-trusted {STATIC}")).to_have_count(0)
    trap.assert_tame(STATIC)
    notebook.lab.console_errors.clear()  # JupyterLab's own, of the widget that is gone


def test_a_notebook_made_of_a_hostile_conversation_is_not_touched(lab: Lab) -> None:
    """JupyterLab's own Markdown renderer, MathJax and mermaid, in a trusted notebook."""
    talk = Conversation()
    for text in (ANSWER, "It costs from $5 to $10.", *GROUPS["deep"].values()):
        talk.add_user(text)
        talk.add_reply(Reply(text=text, reasoning=text[:500], model="acme/orbit"))
    trap = Trap(lab.page)
    folder = lab.root / "made"
    folder.mkdir(exist_ok=True)
    save(talk, folder / "talk.ipynb")
    lab.close_all()
    notebook = lab.show("made/talk.ipynb").run_all()
    cells = notebook.locator(".jp-MarkdownCell .jp-RenderedMarkdown")
    expect(cells.nth(4)).to_contain_text("It costs from $5 to $10.")
    assert cells.nth(4).locator("mjx-container").count() == 0
    for cell in cells.all():
        cell.evaluate(POKE)
    assert lab.page.evaluate(FOREIGN, ".jp-NotebookPanel") == []
    trap.assert_nothing_happened()
    assert notebook.python("len(chat.conversation)") == len(talk)
    # JupyterLab's own, of widgets that went with the notebook before.
    assert all("widget model not found" in line for line in lab.console_errors)
    lab.console_errors.clear()


def test_a_conversation_exported_twice_over_is_not_touched(page: Page, tmp_path: Path) -> None:
    """As a notebook, and that as nbconvert's page, which cleans less than JupyterLab does."""
    made = [to_notebook(conversation(text)) for text in (ANSWER, *GROUPS["deep"].values())]
    cells = [
        cell | {"id": f"c{n}"} for n, cell in enumerate(c for one in made for c in one["cells"])
    ]
    whole = nbformat.reads(json.dumps(made[0] | {"cells": cells}), as_version=4)
    trap = Trap(page)
    page.goto(exported(whole, tmp_path))
    page.locator("body").evaluate(POKE)
    assert page.evaluate(FOREIGN, "body") == []
    trap.assert_nothing_happened()


def exported(notebook: nbformat.NotebookNode, folder: Path) -> str:
    """Where the notebook is as nbconvert's HTML, without what nbconvert itself fetches."""
    html, _ = HTMLExporter(require_js_url="", mathjax_url="", jquery_url="").from_notebook_node(
        notebook
    )
    file = folder / "exported.html"
    file.write_text(html.replace("https://cdnjs", "about:cdnjs"), encoding="utf-8")
    return file.as_uri()


def click_everything(notebook: LabNotebook, trap: Trap) -> None:
    """Click what can be clicked in the answers; only a new window without a way back may open."""
    for root in notebook.locator(f".ornb-chat .ornb-text, {STATIC}").all():
        root.evaluate(
            """root => {
              for (const e of root.querySelectorAll("*:not(a):not(a *):not(button)"))
                e.dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}));
            }"""
        )
    trap.assert_nothing_happened()
    link = notebook.locator(".ornb-chat .ornb-text a[href^='https://hostile.example']").first
    with notebook.page.context.expect_page() as opened:
        link.click(modifiers=[])
    popup = opened.value
    assert popup.evaluate("window.opener") is None
    popup.close()
    assert notebook.page.evaluate("window.hit ?? null") is None
    assert all(url.startswith(AWAY) and HERE not in url for url in notebook.lab.traffic.foreign)
    notebook.lab.traffic.foreign.clear()  # this one click was meant
    notebook.lab.console_errors.clear()
    trap.asked.clear()
    trap.opened.clear()
