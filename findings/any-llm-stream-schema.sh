#!/usr/bin/env bash
# any-llm-sdk 1.13.0, its gateway, provider "openai": a valid request for a stream of an answer of a
# given form is answered 500, before anything is sent on.
#
# Behaviour: POST /v1/chat/completions with "stream": true and a `response_format` of the type
# json_schema gives status 500 and {"detail":"The request could not be completed by the provider"}.
# The provider is never asked: the SDK raises ValueError("stream is not supported for
# response_format"), and the gateway turns every exception into that answer. The same request
# without "stream" is answered 200, from the provider's answer.
#
# Surprise: it is the request that is refused, not the provider that failed, and nothing in the
# answer says that leaving out "stream" would do. A client that asks again meets the same.
#
# Seen on 2026-11-30, Python 3.11:
#   stream: 500 {"detail":"The request could not be completed by the provider"}
#   whole: 200
#   the provider was asked 1 time(s)
#
# Exits 0 as long as that is so, and 1 once it is not.
set -euo pipefail
work=$(mktemp -d)
trap 'kill ${server:-} 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check "any-llm-sdk[gateway,openai]==1.13.0"

cat > "$work/provider.py" <<'PY'
"""A provider on loopback; writes its port, and a line for each question."""
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "{}"}}
ANSWER = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [CHOICE]}


class Provider(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        print("asked", file=open(sys.argv[2], "a"), flush=True)
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Provider)
print(server.server_port, file=open(sys.argv[1], "w"), flush=True)
server.serve_forever()
PY
touch "$work/asked"
python3 "$work/provider.py" "$work/port" "$work/asked" & server=$!
until [ -s "$work/port" ]; do sleep 0.1; done

gateway_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat > "$work/gateway.yml" <<YML
database_url: "sqlite:///$work/gateway.db"
host: "127.0.0.1"
port: $gateway_port
master_key: "any-key"
require_pricing: false
providers: {openai: {api_key: "none", api_base: "http://127.0.0.1:$(cat "$work/port")/v1"}}
YML
"$work/env/bin/any-llm-gateway" serve --config "$work/gateway.yml" > "$work/log" 2>&1 & server="$server $!"

cat > "$work/ask.py" <<'PY'
import json, sys, time, urllib.error, urllib.request

URL = f"http://127.0.0.1:{sys.argv[1]}/v1"
FORM = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
ASK = {"model": "openai:m", "user": "me", "response_format": FORM}
ASK["messages"] = [{"role": "user", "content": "Hi"}]
open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def post(path, body):
    head = {"Content-Type": "application/json", "Authorization": "Bearer any-key"}
    head["X-AnyLLM-Key"] = "Bearer any-key"
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), head)
    try:
        with open_url(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


for _ in range(300):
    try:
        post("/users", {"user_id": "me"})
        break
    except OSError:
        time.sleep(0.2)
streamed, whole = post("/chat/completions", ASK | {"stream": True}), post("/chat/completions", ASK)
asked = len(open(sys.argv[2]).readlines())
print("stream:", *streamed)
print("whole:", whole[0])
print("the provider was asked", asked, "time(s)")
is_so = streamed[0] == 500 and "stream" not in streamed[1] and whole[0] == 200 and asked == 1
sys.exit(not is_so)
PY
python3 "$work/ask.py" "$gateway_port" "$work/asked"
