"""From a key press in the picker's search box to the painted list, at 400 and at 4,000 models.

Run from the project's root: ``python benchmarks/picker.py``. The floor is a frame of the browser,
1/60 s; the bar is a median of two frames.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from _table import row
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from esm import show  # noqa: E402 - found only now
from lab import CHROMIUM_ARGS  # noqa: E402
from test_picker_browser import many  # noqa: E402

from ornb.notebook.picker import ModelPicker  # noqa: E402
from tools.system import find_browser  # noqa: E402

WORDS = ["claud", "model 39", "mistr", "lab: 1", "openlab 7"]
KEYSTROKES = """async (words) => {
    const box = document.querySelector("input[type=search]");
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    const painted = () => new Promise((done) => requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = done;
        channel.port2.postMessage(0);
    }));
    const times = [];
    for (const word of words) {
        for (let n = 1; n <= word.length; n += 1) {
            await frame();
            await new Promise((done) => setTimeout(done, Math.random() * 12));
            const start = performance.now();
            box.value = word.slice(0, n);
            box.dispatchEvent(new InputEvent("input", { bubbles: true }));
            const worked = performance.now() - start;
            await painted();
            times.push([worked, performance.now() - start]);
        }
        box.value = "";
        box.dispatchEvent(new InputEvent("input", { bubbles: true }));
        await painted();
    }
    return times;
}"""


def main() -> None:
    """Type the words, and print what each letter took."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=CHROMIUM_ARGS)
        for count in (400, 4000):
            page = browser.new_page()
            show(page, ModelPicker(many(count)))
            times = sorted(total for _, total in page.evaluate(KEYSTROKES, WORDS))
            frames = [total * 60 / 1000 for total in times]
            row(f"picker of {count:,} models, key press to painted list", frames, "frames", bar=2)
            print(
                f"{count:5,} models, {len(times)} keys: median {statistics.median(times):.0f} ms "
                f"({statistics.median(times) * 60 / 1000:.1f} frames, bar 2), "
                f"p90 {times[int(0.9 * len(times))]:.0f} ms"
            )
        browser.close()


if __name__ == "__main__":
    main()
