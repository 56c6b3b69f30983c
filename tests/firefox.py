"""Debian's Firefox, driven over WebDriver BiDi: Playwright drives builds of its own only."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket

PREFERENCES = """
user_pref("network.proxy.type", 1);
user_pref("network.proxy.http", "127.0.0.1");
user_pref("network.proxy.http_port", 9);
user_pref("network.proxy.ssl", "127.0.0.1");
user_pref("network.proxy.ssl_port", 9);
user_pref("network.proxy.no_proxies_on", "127.0.0.1, localhost");
"""
"""The lock on foreign hosts: nobody listens there."""
MIDDLE = """(found => {
  found.scrollIntoView({block: "center", behavior: "instant"});
  const {x, y, width, height} = found.getBoundingClientRect();
  return [Math.round(x + width / 2), Math.round(y + height / 2)];
})"""


class Firefox:
    """One page of it."""

    def __init__(self, address: str) -> None:
        self._line = websocket.create_connection(address, timeout=180, suppress_origin=True)
        self._numbers = itertools.count(1)
        self.version: str = self("session.new", capabilities={})["capabilities"]["browserVersion"]
        self._page = self("browsingContext.getTree")["contexts"][0]["context"]

    def __call__(self, method: str, **params: Any) -> Any:
        """Give a command of WebDriver BiDi, and return its result."""
        number = next(self._numbers)
        self._line.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            said = json.loads(self._line.recv())
            if said.get("id") == number:
                assert said["type"] == "success", said
                return said["result"]

    def open(self, url: str) -> None:
        """Go to a page, in front, where it can have the focus."""
        self("browsingContext.navigate", context=self._page, url=url, wait="interactive")
        self("browsingContext.activate", context=self._page)

    def run(self, script: str) -> Any:
        """Value of JavaScript, or of the promise that it gives, by way of JSON."""
        whole = f"(async () => JSON.stringify(await ({script})))()"
        target = {"context": self._page}
        said = self("script.evaluate", expression=whole, target=target, awaitPromise=True)
        assert said["type"] == "success", said
        return json.loads(said["result"].get("value") or "null")

    def until(self, script: str) -> Any:
        """Wait until JavaScript gives something, and return that."""
        deadline = time.monotonic() + 90
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"{script}: {self.run('document.body.innerText')}"
            time.sleep(0.05)
        return value

    def click(self, element: str) -> None:
        """Click with the mouse on what JavaScript gives, once it is there."""
        self.until(f"Boolean({element})")
        x, y = self.run(f"{MIDDLE}({element})")
        steps = [
            {"type": "pointerMove", "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self._act({"type": "pointer", "id": "mouse", "actions": steps})

    def type(self, text: str) -> None:
        """Type into what has the focus; a line end is Enter."""
        keys = ["\ue007" if key == "\n" else key for key in text]
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keys", "actions": steps})

    def screenshot(self) -> str:
        """A PNG of the page, in base64."""
        taken: str = self("browsingContext.captureScreenshot", context=self._page)["data"]
        return taken

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def _act(self, source: dict[str, Any]) -> None:
        self("input.performActions", context=self._page, actions=[source])


@contextlib.contextmanager
def firefox(folder: Path) -> Iterator[Firefox]:
    """Start Firefox with a profile in `folder`; skip where there is none."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("no Firefox found (on Debian: apt-get install firefox-esr)")
    profile = folder / "firefox"
    profile.mkdir()
    (profile / "user.js").write_text(PREFERENCES, encoding="utf-8")
    log = folder / "firefox.log"
    options = ("--headless", "--no-remote", "--remote-debugging-port=0", "--width=1200")
    with log.open("wb") as output:
        command = [program, *options, "--height=1000", "--profile", str(profile)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 90
        while not (found := re.search(r"BiDi listening on (ws://\S+)", log.read_text("utf-8"))):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        with contextlib.closing(Firefox(f"{found[1]}/session")) as page:
            yield page
    finally:
        process.terminate()
        process.wait(timeout=20)
