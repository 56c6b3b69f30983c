"""Take the README's picture: the real thing, in a real JupyterLab, on the local model.

Run from the project's root: ``.venv/bin/python docs/picture.py``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from lab import CHROMIUM_ARGS, Lab, lab_server  # noqa: E402 - found only now

from ornb.offline import model  # noqa: E402
from tools.system import find_browser  # noqa: E402

CELLS = [
    "import ornb\n\npicker = ornb.ModelPicker(value='openai/gpt-5.4-nano', height=260)\npicker",
    "chat = ornb.Chat(picker, max_tokens=160)\nchat",
    "ornb.usage",
]
SETUP = "import os; os.environ |= {{'ORNB_OFFLINE_MODEL': '', 'ORNB_CACHE_DIR': {!r}}}"
QUESTIONS = [
    "What is the capital of France, and what is it known for?",
    "Name the capital of Japan.",
]


def main() -> None:
    """Drive the notebook as a person would, and write ``docs/tour.png``."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=CHROMIUM_ARGS)
        with lab_server(Path(folder)) as wait_for_url:
            lab = Lab(browser, wait_for_url(), Path(folder) / "root")
            lab.load()
            lab.page.set_viewport_size({"width": 955, "height": 1876})
            notebook = lab.open([*CELLS, SETUP.format(str(model.cache_dir()))])
            notebook.cell(3).click()
            lab.page.keyboard.press("Control+Enter")
            notebook.wait_idle()
            notebook.run_all()
            picker, chat = notebook.output(0), notebook.output(1)
            picker.get_by_role("searchbox").fill("gpt-5")
            for number, question in enumerate(QUESTIONS):
                chat.get_by_role("textbox").fill(question)
                chat.get_by_role("textbox").press("Enter")
                facts = chat.locator(".ornb-chat").get_by_text("to first token")
                facts.nth(number).wait_for(timeout=60_000)
            notebook.cell(2).locator(".jp-InputArea").click()
            lab.page.keyboard.press("Control+Enter")
            notebook.wait_idle()
            notebook.cell(3).locator(".jp-InputArea").click()  # no toolbar in the picture
            notebook.cell(0).scroll_into_view_if_needed()
            lab.page.mouse.move(5, 5)
            first, last = (notebook.cell(i).bounding_box() for i in (0, 2))
            box = {**first, "height": last["y"] + last["height"] - first["y"]}
            lab.page.screenshot(path=ROOT / "docs/tour.png", clip=box)
        browser.close()


if __name__ == "__main__":
    main()
