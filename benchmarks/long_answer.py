"""What one long answer costs on its way to the page: bytes, messages, CPU of the kernel.

Run: ``python benchmarks/long_answer.py`` (a minute and a half). A real kernel streams 4,000 tokens
over 20 s to nobody, and every message it publishes is weighed. Beside `ornb.Chat`: plain text
deltas at 30 and at 12 a second, which is the least that shows the same; and what people use today,
an ``HTML`` widget or ``display(Markdown)`` with the whole text for each token (those two as fast as
they go, since only their number counts). Bars: the page's part of a chat at most 1.3 x the deltas
at 30 a second, and at most 3 x those at 12.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from jupyter_client.manager import start_new_kernel

TOKENS, SECONDS = 4000, 20.0
SETUP = f"""
import time, ornb, ipywidgets
from comm import create_comm
from IPython.display import Markdown, display
TOKENS, SECONDS = {TOKENS}, {SECONDS}
words = [f"word{{n % 97}} " for n in range(TOKENS)]
ornb.connect(offline=True)
chat = ornb.Chat("openai/gpt-4o-mini")
display(chat)  # its code goes to the page once, whatever is answered; then the page says hello
chat._heard(chat, {{"type": "hello", "page": "bench"}}, [])

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


def main() -> None:
    """Stream the same answer in each way, and print what it took."""
    environment = {**os.environ, "ORNB_OFFLINE_MODEL": "off"}
    manager, client = start_new_kernel(env=environment)
    try:
        _run(client, SETUP)
        _run(client, WAYS["deltas at 30 Hz"].replace("30", "300"))  # warm
        floor = 0
        for name, code in WAYS.items():
            to_page, kept, count, cpu = _run(client, code)
            floor = floor or to_page
            print(
                f"{name:30} {count:6,} messages, {to_page / 1000:9,.0f} kB to the page "
                f"({to_page / floor:6.2f} x 30 Hz), {kept / 1000:5,.0f} kB kept, {cpu:5.2f} s CPU"
            )
            sys.stdout.flush()
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _run(client: Any, code: str) -> tuple[int, int, int, float]:
    """Bytes to the page, bytes of outputs that are kept, messages, seconds of CPU."""
    timed = f"_began = time.process_time()\n{code}\nprint('CPU', time.process_time() - _began)"
    asked = client.execute(timed if code is not SETUP else code)
    to_page, kept, count, cpu = 0, 0, 0, 0.0
    while True:
        message = client.get_iopub_msg(timeout=120)
        kind, content = message["msg_type"], message["content"]
        if kind == "error":
            raise RuntimeError("\n".join(content["traceback"]))
        if kind == "stream" and content["text"].startswith("CPU"):
            cpu = float(content["text"].split()[1])
        elif kind in ("comm_msg", "comm_open", "display_data", "update_display_data"):
            parts = [message["header"], message["parent_header"], message["metadata"], content]
            size = sum(len(json.dumps(part, default=str)) for part in parts)
            lasting = "application/vnd.ornb.transcript+json" in content.get("data", {})
            kept, to_page = kept + size * lasting, to_page + size * (not lasting)
            count += 1
        idle = kind == "status" and content["execution_state"] == "idle"
        if idle and message["parent_header"].get("msg_id") == asked:
            return to_page, kept, count, cpu


if __name__ == "__main__":
    main()
