"""What a chat of 2,000 turns costs: CPU of a turn, bytes to the page and into the file.

Run: ``python benchmarks/long_chat.py`` (some two minutes). A real kernel asks a server in a process
of its own, which answers at once with 60 words, and every message it publishes is weighed, headers
too. Bars: CPU of a turn at 2,000 turns at most 1.5 x that at 20; bytes to the page, those included
that it puts into the notebook, at most 3 x what the notebook keeps in the end. Beside it the same
over the words alone, and what an output costs that is sent whole after each turn.
"""

from __future__ import annotations

import json
import statistics

import _server
from _table import QUICK, row
from long_answer import kernel, run

TURNS = 200 if QUICK else 2000
SETUP = """
import json, time, ornb
from IPython.display import display
ornb.connect("sk-or-v1-0123456789", base_url={url!r})
ornb.models()
chat = ornb.Chat("bench/n60-f0-g0-c0")
display(chat)
chat._on_message(chat, {{"type": "hello", "page": "bench", "writes": True}}, [])
"""
ASK = f"""
took = []
for n in range({TURNS}):
    began = time.process_time()
    chat.ask(f"Question {{n}}, which is about as long as one of a person is.", max_tokens=60)
    took.append(time.process_time() - began)
"""
KEPT = """
path = chat.conversation.path
kept = [bundle for bundle, _ in chat._kept._bundles(chat._kept.pieces)]
print("CPU", json.dumps([took, sum(len(turn.text.encode()) for turn in path),
    len(json.dumps(kept)), len(kept)]))
"""


def main() -> None:
    """Ask and ask, and print what it took."""
    with _server.running() as server, kernel("python3") as client:
        run(client, SETUP.format(url=server.url), timed=False)
        ran = run(client, ASK)
        times, words, kept, outputs = json.loads(run(client, KEPT, timed=False).told)
    few, many = (1e3 * statistics.median(part) for part in (times[10:30], times[-20:]))
    row(
        f"CPU of a chat's turn at {TURNS:,} turns over at 20",
        many / few,
        bar=1.5,
        beside=f"{few:.2f} ms each, then {many:.2f} ms",
    )
    sent = ran.to_page + ran.kept
    row(
        f"bytes to the page and the file in {TURNS:,} turns, over what the notebook keeps",
        sent / kept,
        bar=3,
        beside=f"{sent / 1e6:.1f} MB, over the words alone {sent / words:.1f} x; the notebook's "
        f"{outputs} outputs {kept / 1e6:.1f} MB; sent whole after each turn they would be "
        f"{kept / 2e6 * TURNS:,.0f} MB",
    )
    row("the same: messages to the page a turn", len(ran.sent_at) / TURNS, "messages")


if __name__ == "__main__":
    main()
