#!/usr/bin/env bash
# litellm 1.110.2, streams of OpenRouter: a comment between the chunk with the finish reason and the
# chunk with the usage makes the usage and the cost unknown, and an estimate takes their place.
#
# Behaviour: `litellm.completion(model="openrouter/...", stream=True, stream_options={"include_usage":
# True})` and `litellm.stream_chunk_builder` give the counts and the cost that the last chunk has. If
# a comment line (": OPENROUTER PROCESSING", which OpenRouter's documentation says may come at any
# time, and which the standard for server-sent events passes over) stands before that chunk, they
# give litellm's own estimate of the tokens, and no cost. Nothing tells that these are not the bill.
#
# Surprise: a line that says nothing changes what a call cost.
#
# Seen on 2026-11-30, Python 3.11:
#   without a comment: prompt, completion, cost = (5, 7, 0.001)
#   with a comment: prompt, completion, cost = (8, 1, None)
#
# Exits 0 as long as that is so, and 1 once it is not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check "litellm==1.110.2"

cat > "$work/read.py" <<'PY'
"""Reads one stream twice through litellm: with a comment before the usage, and without."""
import json, os, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

litellm.suppress_debug_info = True

USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "cost": 0.001}
BASE = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1, "model": "lab/one"}


def event(delta=None, finish=None, **more):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return "data: " + json.dumps({**BASE, "choices": choices, **more}) + "\n\n"


START = event({"role": "assistant", "content": "Hi"}) + event({"content": ""}, "stop")
END = event(usage=USAGE) + "data: [DONE]\n\n"
BODIES = [START + END, START + ": OPENROUTER PROCESSING\n\n" + END]


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = BODIES.pop(0).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
found = []
for name in ("without", "with"):
    stream = litellm.completion(
        model="openrouter/lab/one",
        api_base=f"http://127.0.0.1:{server.server_port}/api/v1",
        api_key="none",
        messages=[{"role": "user", "content": "Hi"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    usage = litellm.stream_chunk_builder(list(stream)).usage
    found.append((usage.prompt_tokens, usage.completion_tokens, getattr(usage, "cost", None)))
    print(f"{name} a comment: prompt, completion, cost = {found[-1]}")
sys.exit(found[0] == found[1])
PY
cd "$work"
"$work/env/bin/python" -W ignore read.py
