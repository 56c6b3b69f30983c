#!/usr/bin/env bash
# openrouter 1.3.84 (the official SDK): a client made for another address asks OpenRouter's own for
# decisions.
#
# Behaviour: OpenRouter(server_url="http://127.0.0.1:9/api/v1") sends models.list to that address,
# and alpha.decisions.create to https://openrouter.ai/api/alpha/decisions. The method reads its own
# list of servers, and never the client's server_url; server_url= of the call itself is heeded.
#
# Surprise: whoever points the client at a gateway, a proxy or a test server reaches it with all
# calls but this one, and nothing says so.
#
# Seen on 2026-11-30, Python 3.11:
#   models: http://127.0.0.1:9/api/v1/models?offset=0&limit=500
#   decisions: https://openrouter.ai/api/alpha/decisions
#   decisions, server_url of the call: http://127.0.0.1:9/api/alpha/decisions
#
# Nothing leaves the machine: requests are taken down instead of sent.
# Exits 0 as long as that is so, and 1 once it is not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check "openrouter==1.3.84"

cat > "$work/ask.py" <<'PY'
import contextlib, sys
import httpx
from openrouter import OpenRouter

asked = []


def take_down(request):
    asked.append(str(request.url))
    return httpx.Response(404, json={"error": {"code": 404, "message": "No."}})


QUESTIONS = {"angry": {"type": "noul", "instructions": "Is the writer angry?"}}
ASK = {"model": "typesafe/jev-1.13", "state": "Cold soup!", "questions": QUESTIONS}
http = httpx.Client(transport=httpx.MockTransport(take_down))
client = OpenRouter(api_key="none", server_url="http://127.0.0.1:9/api/v1", client=http)
for call in (
    lambda: client.models.list(),
    lambda: client.alpha.decisions.create(**ASK),
    lambda: client.alpha.decisions.create(**ASK, server_url="http://127.0.0.1:9"),
):
    with contextlib.suppress(Exception):  # the 404
        call()
for name, url in zip(("models", "decisions", "decisions, server_url of the call"), asked):
    print(f"{name}: {url}")
here = "http://127.0.0.1:9/api"
wanted = [f"{here}/v1/models", "https://openrouter.ai/api/alpha/decisions", f"{here}/alpha/decisions"]
sys.exit([url.partition("?")[0] for url in asked] != wanted)
PY
"$work/env/bin/python" "$work/ask.py"
