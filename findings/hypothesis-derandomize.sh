#!/usr/bin/env bash
# hypothesis 6.170.17: with derandomize=True a test's examples still depend on which modules of the
# project happen to be imported.
#
# Behaviour: hypothesis collects the literals of the project's own modules that are in sys.modules
# (not those of installed packages) and draws texts and numbers from them. derandomize=True fixes
# the seed, not this pool. The same test, unchanged, tries a word of a module that it never names
# once another test has imported that module.
#
# Surprise: the setting is documented as running the same test cases each time. A suite that is cut
# among processes (pytest-xdist) imports other modules in each run, so a derandomized test can meet
# a failing example in one run and not in the next, with no change to the code.
#
# Seen on 2026-11-30, Python 3.11:
#   alone: 500 examples, the same again: True, "quetzalcoatl" among them: False
#   beside an imported module: the same as alone: False, "quetzalcoatl" among them: True
#
# Exits 0 as long as that is so, and 1 once it is not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check hypothesis==6.170.17

mkdir "$work/project"
cat > "$work/project/birds.py" <<'PY'
FEATHERED = "quetzalcoatl"
PY
cat > "$work/project/tried.py" <<'PY'
"""Print the examples of a test; an argument is a module to import first."""
import importlib, json, sys
from hypothesis import given, settings, strategies as st

for name in sys.argv[1:]:
    importlib.import_module(name)
tried = []


@settings(derandomize=True, database=None, max_examples=500)
@given(st.text())
def test(text):
    tried.append(text)


test()
print(json.dumps(tried))
PY
cd "$work/project"
"$work/env/bin/python" tried.py > "$work/alone"
"$work/env/bin/python" tried.py > "$work/again"
"$work/env/bin/python" tried.py birds > "$work/beside"
python3 - "$work" <<'PY'
import json, pathlib, sys

alone, again, beside = (
    json.loads(pathlib.Path(sys.argv[1], name).read_text()) for name in ("alone", "again", "beside")
)
word = "quetzalcoatl"
print(f'alone: {len(alone)} examples, the same again: {alone == again}, "{word}" among them: {word in alone}')
print(f'beside an imported module: the same as alone: {alone == beside}, "{word}" among them: {word in beside}')
sys.exit(not (alone == again and alone != beside and word not in alone and word in beside))
PY
