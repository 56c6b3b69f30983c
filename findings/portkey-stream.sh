#!/usr/bin/env bash
# @portkey-ai/gateway 1.15.2 with @hono/node-server 1.19.19, to which npm resolves its "^1.3.3": every
# request for a stream is answered 500.
#
# Behaviour: POST /v1/chat/completions with "stream": true, to a provider that streams as OpenAI
# documents it, gives status 500 and {"status":"failure","message":"Something went wrong"}; the
# gateway's own log says "TypeError: immutable". The same request without "stream" is answered 200.
# With @hono/node-server 1.13.7 the stream is answered 200 as well.
#
# Surprise: nothing of the request or of the provider is wrong, and nothing in the answer says that
# leaving out "stream" would do.
#
# Seen on 2026-11-30, Node 20.20.2:
#   @hono/node-server 1.19.19: whole 200, stream 500 {"status":"failure","message":"Something went wrong"}
#   @hono/node-server 1.13.7: whole 200, stream 200
#
# Exits 0 as long as that is so, and 1 once it is not.
set -euo pipefail
work=$(mktemp -d)
trap 'kill ${provider:-} ${gateway:-} 2>/dev/null || true; rm -rf "$work"' EXIT

cat > "$work/provider.cjs" <<'JS'
// A provider on loopback; writes its port.
const choice = (said) => ({ id: "x", created: 1, model: "m", choices: [{ index: 0, ...said }] });
const server = require("http").createServer((request, answer) => {
  let body = "";
  request.on("data", (piece) => { body += piece; });
  request.on("end", () => {
    if (JSON.parse(body).stream) {
      answer.writeHead(200, { "content-type": "text/event-stream" });
      answer.write(`data: ${JSON.stringify(choice({ delta: { content: "Hi" }, finish_reason: "stop" }))}\n\n`);
      answer.end("data: [DONE]\n\n");
    } else {
      answer.writeHead(200, { "content-type": "application/json" });
      answer.end(JSON.stringify(choice({ message: { role: "assistant", content: "Hi" }, finish_reason: "stop" })));
    }
  });
});
server.listen(0, "127.0.0.1", () => require("fs").writeFileSync(process.argv[2], String(server.address().port)));
JS
node "$work/provider.cjs" "$work/port" & provider=$!
until [ -s "$work/port" ]; do sleep 0.1; done

ask() {  # the version of @hono/node-server -> what came of a whole answer and of a stream
  mkdir -p "$work/$1"
  cat > "$work/$1/package.json" <<JSON
{ "private": true, "dependencies": { "@portkey-ai/gateway": "1.15.2" },
  "overrides": { "hono": "4.13.19", "@hono/node-server": "$1" } }
JSON
  (cd "$work/$1" && npm install --silent --ignore-scripts --no-audit --no-fund)
  local port
  port=$(node -e 'const s = require("net").createServer().listen(0, () => { console.log(s.address().port); s.close(); })')
  node "$work/$1/node_modules/@portkey-ai/gateway/build/start-server.js" --port="$port" --headless > "$work/$1/log" 2>&1 &
  gateway=$!
  until grep -q Ready "$work/$1/log"; do sleep 0.2; done
  for stream in false true; do
    curl -s -o "$work/$1/$stream" -w '%{http_code}\n' "http://127.0.0.1:$port/v1/chat/completions" \
      -H 'content-type: application/json' -H 'authorization: Bearer none' -H 'x-portkey-provider: openai' \
      -H "x-portkey-custom-host: http://127.0.0.1:$(cat "$work/port")/v1" \
      -d "{\"model\": \"m\", \"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"stream\": $stream}"
  done | paste -sd' '
  kill "$gateway"
}

newest=$(ask 1.19.19)
echo "@hono/node-server 1.19.19 (whole, stream): $newest $(cat "$work/1.19.19/true")"
older=$(ask 1.13.7)
echo "@hono/node-server 1.13.7 (whole, stream): $older"
[ "$newest" = "200 500" ] && [ "$older" = "200 200" ]
