"""What one long answer costs on its way to the page: bytes, messages, CPU of the kernel.

Run: ``python benchmarks/long_answer.py`` (some three minutes). A real kernel streams 4,000 tokens
over 20 s to nobody, and every message it publishes is weighed. Beside `ornb.Chat`: plain text
deltas at 30 and at 12 a second, which is the least that shows the same; and what people use today,
an ``HTML`` widget or ``display(Markdown)`` with the whole text for each token (those two as fast as
they go, since only their number counts), and the chat of Panel, from the environment of `peers.py`
where that is there. Bars: the page's part of a chat at most 1.3 x the deltas
at 30 a second, and at most 3 x those at 12; twice the tokens at most 2.1 x the bytes; and at most
30 messages a second for 64 answers at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _table import QUICK, row
from jupyter_client.manager import start_new_kernel
from peers import PYTHON, installed

if TYPE_CHECKING:
    from collections.abc import Iterator

MIME = "application/vnd.ornb.transcript+json"
TOKENS, SECONDS = (400, 2.0) if QUICK else (4000, 20.0)
SETUP = f"""
import time, ornb, ipywidgets
from comm import create_comm
from IPython.display import Markdown, display
TOKENS, SECONDS = {TOKENS}, {SECONDS}
words = [f"word{{n % 97}} " for n in range(TOKENS)]
ornb.connect(offline=True)
chat = ornb.Chat("openai/gpt-4o-mini")
display(chat)  # its code goes to the page once, whatever is answered; then the page says hello
chat._on_message(chat, {{"type": "hello", "page": "bench", "writes": True}}, [])

def deltas(per_second):
    channel = create_comm(target_name="bench")
    began, sent = time.perf_counter(), 0
    while sent < TOKENS:
        time.sleep(1 / per_second)
        now = min(TOKENS, int((time.perf_counter() - began) / SECONDS * TOKENS))
        channel.send({{"text": "".join(words[sent:now])}})
        sent = now
"""
WAYS = {
    "deltas at 30 Hz": "deltas(30)",
    "deltas at 12 Hz": "deltas(12)",
    "ornb.Chat": f"""
chat.ask("Go on", ornb={{"simulate": {{"tokens": TOKENS, "chunk_s": {SECONDS / TOKENS}}}}})
""",
    "HTML widget, whole text": """
shown, text = ipywidgets.HTML(), ""
for word in words:
    text += word
    shown.value = text
""",
    "display(Markdown), whole text": """
handle, text = display(Markdown(""), display_id=True), ""
for word in words:
    text += word
    handle.update(Markdown(text))
""",
}


TWICE = f"""
chat.ask("Go on", ornb={{"simulate": {{"tokens": 2 * TOKENS, "chunk_s": {SECONDS / TOKENS}}}}})
"""
AT_ONCE, EACH_S = 64, 8
MANY = f"""
wish = {{"simulate": {{"tokens": 50 * {EACH_S}, "chunk_s": 0.02}}}}
chats = [ornb.Chat("openai/gpt-4o-mini", ornb=wish) for _ in range({AT_ONCE})]
for each in chats:
    each._on_message(each, {{"type": "hello", "page": "bench"}}, [])
for each in chats:
    each._on_message(each, {{"type": "ask", "text": "Go on", "id": "1"}}, [])
while any(each.busy for each in chats):
    time.sleep(0.05)
"""
PANEL_TOKENS = 300 if QUICK else 1000
PANEL = """
import time
import panel as pn
pn.extension()
chat, message = pn.chat.ChatInterface(), None
display(chat)
"""
PANEL_SHOWS = f"""
for n in range({PANEL_TOKENS}):
    message = chat.stream(f"word{{n % 97}} ", message=message)
"""


def main() -> None:
    """Stream the same answer in each way, and print what it took."""
    sizes: dict[str, float] = {}
    times: dict[str, float] = {}
    with kernel("python3") as client:
        run(client, SETUP, timed=False)
        run(client, WAYS["deltas at 30 Hz"].replace("30", "300"))  # warm
        for name, code in WAYS.items():
            ran = run(client, code)
            sizes[name], times[name] = ran.to_page, 1e6 * ran.cpu_s / TOKENS
            print(
                f"{name:30} {len(ran.sent_at):6,} messages, {ran.to_page / 1000:9,.0f} kB to the "
                f"page ({ran.to_page / sizes['deltas at 30 Hz']:6.2f} x 30 Hz), "
                f"{ran.kept / 1000:5,.0f} kB kept, {ran.cpu_s:5.2f} s CPU",
                flush=True,
            )
        twice, many = run(client, TWICE), run(client, MANY)
    floor = sizes["deltas at 30 Hz"]
    what = f"bytes to the page for an answer of {TOKENS:,} tokens, over plain deltas at 30 Hz"
    ratios = {name: size / floor for name, size in sizes.items()}
    row(what, ratios.pop("ornb.Chat"), bar=1.3, beside=ratios)
    ours = times.pop("ornb.Chat")
    beside = {name: f"{took:.0f} us" for name, took in times.items()}
    row("CPU of the kernel for a token shown", ours, "us", beside={**beside, "Panel": _panel()})
    row("bytes to the page for twice the tokens", twice.to_page / sizes["ornb.Chat"], bar=2.1)
    row(
        f"{AT_ONCE} answers at once, 50 tokens a second each: messages in the busiest second",
        _busiest(many.sent_at),
        "messages",
        bar=30,
        beside="a message a token 3,200, deltas at 30 Hz each 1,920",
    )


def _busiest(sent_at: list[float]) -> int:
    """Messages in the busiest second while all stream: not the questions, not the ends."""
    while_all = [at for at in sent_at if 1.5 < at - sent_at[0] < EACH_S - 1]
    return max(sum(begin <= at < begin + 1 for at in while_all) for begin in while_all)


def _panel() -> str:
    """CPU of Panel's chat for a token; it draws all of the answer again for each."""
    if not PYTHON.exists() or not installed("panel", "ipykernel", "ipywidgets"):
        return "missing"
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "kernels" / "peers" / "kernel.json"
        spec.parent.mkdir(parents=True)
        argv = [str(PYTHON), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": argv, "display_name": "peers", "language": "python"}))
        os.environ["JUPYTER_PATH"] = folder
        with kernel("peers") as client:
            run(client, PANEL, timed=False)
            cpu = run(client, PANEL_SHOWS).cpu_s
    return f"{1e6 * cpu / PANEL_TOKENS:,.0f} us (of {PANEL_TOKENS})"


@contextlib.contextmanager
def kernel(name: str) -> Iterator[Any]:
    """Start a kernel, and end it with the block."""
    environment = {**os.environ, "ORNB_OFFLINE_MODEL": "off"}
    manager, client = start_new_kernel(kernel_name=name, env=environment)
    try:
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@dataclass
class Ran:
    """What a kernel published while it ran some code."""

    to_page: int = 0
    """Bytes to the page."""
    kept: int = 0
    """Bytes of outputs that stay in the notebook."""
    told: str = ""
    """What it printed after "CPU"."""
    sent_at: list[float] = field(default_factory=list)
    """When each message was sent, in s."""

    @property
    def cpu_s(self) -> float:
        """CPU of what was timed."""
        return float(self.told)


def run(client: Any, code: str, *, timed: bool = True) -> Ran:
    """Run code in a kernel, and weigh what it publishes."""
    if timed:
        code = f"_began = time.process_time()\n{code}\nprint('CPU', time.process_time() - _began)"
    asked = client.execute(code)
    ran = Ran()
    while True:
        message = client.get_iopub_msg(timeout=120)
        kind, content = message["msg_type"], message["content"]
        if kind == "error":
            raise RuntimeError("\n".join(content["traceback"]))
        if kind == "stream" and content["text"].startswith("CPU"):
            ran.told = content["text"].partition(" ")[2]
        elif kind in ("comm_msg", "comm_open", "display_data", "update_display_data"):
            parts = [message["header"], message["parent_header"], message["metadata"], content]
            size = sum(len(json.dumps(part, default=str)) for part in parts)
            said = content.get("data", {})
            of_chat = said.get("content") if isinstance(said.get("content"), dict) else {}
            if MIME in said or of_chat.get("type") == "kept":
                ran.kept += size
            else:
                ran.to_page += size
            ran.sent_at.append(message["header"]["date"].timestamp())
        idle = kind == "status" and content["execution_state"] == "idle"
        if idle and message["parent_header"].get("msg_id") == asked:
            return ran


if __name__ == "__main__":
    main()
