#!/usr/bin/env bash
# mystmd 1.8.3 with jupyter-server 2.21.1 and ipykernel 7.4.0, `myst build --site --execute`: what
# a later cell updates by its display_id is not in the page.
#
# Behaviour: a cell shows "before" with a display_id, the next cell updates it to "after". The
# content that is built has "before". nbclient 0.11.0 executes the same notebook to "after", as
# JupyterLab does. An update in the cell itself is taken by both.
#
# Surprise: both kinds of execution follow the same protocol, in which an update goes to every
# output with that display_id, and neither says a word of the difference.
#
# Seen on 2026-11-30, Python 3.11, Node.js 20.20:
#   mystmd: ["in the same cell", "before"]
#   nbclient: ["in the same cell", "after"]
#
# The theme of a page is fetched from the web; without, the build fails once the content is there.
# Exits 0 as long as that is so, and 1 once it is not.
set -euo pipefail
work=$(mktemp -d)
trap 'kill ${server:-} 2>/dev/null || true; rm -rf "$work"' EXIT
export HOME=$work
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check jupyter-server==2.21.1 ipykernel==7.4.0 nbclient==0.11.0
npm install --silent --no-audit --no-fund --prefix "$work/node" mystmd@1.8.3
export PATH=$work/env/bin:$PATH
mkdir "$work/book"
cd "$work/book"
printf 'version: 1\nproject:\n  toc:\n    - file: lesson.ipynb\nsite:\n  template: book-theme\n' > myst.yml
cat > ../write.py <<'PY'
import nbformat

CELLS = [
    "own = display('first', display_id=True)\nown.update('in the same cell')",
    "shown = display('before', display_id=True)",
    "shown.update('after')",
]
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
nbformat.write(notebook, "lesson.ipynb")
PY
python ../write.py

port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
jupyter server --allow-root --no-browser --ServerApp.ip=127.0.0.1 --ServerApp.port="$port" \
  --IdentityProvider.token=any > ../server.log 2>&1 & server=$!
until grep -q "is running at" ../server.log; do sleep 0.2; done
JUPYTER_BASE_URL=http://127.0.0.1:$port JUPYTER_TOKEN=any \
  "$work/node/node_modules/.bin/myst" build --site --execute > ../build.log 2>&1 || true

cat > ../look.py <<'PY'
import json, sys
from pathlib import Path

import nbclient, nbformat


def outputs(node):
    if node.get("type") == "output" and node["jupyter_data"].get("data"):
        yield node["jupyter_data"]["data"]["text/plain"]["content"].strip("'")
    for child in node.get("children", []):
        yield from outputs(child)


built = [*outputs(json.loads(Path("_build/site/content/index.json").read_text())["mdast"])]
notebook = nbclient.execute(nbformat.read("lesson.ipynb", 4))
run = [one.data["text/plain"].strip("'") for cell in notebook.cells for one in cell.outputs]
print("mystmd:", json.dumps(built))
print("nbclient:", json.dumps(run))
sys.exit((built[1:], run[1:]) != (["before"], ["after"]) or built[0] != run[0])
PY
python ../look.py
