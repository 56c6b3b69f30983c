#!/usr/bin/env bash
# jsonschema 4.26.0 with its extra "format-nongpl", which every JupyterLab brings (by way of
# jupyter-events): `import jsonschema` costs many times what it costs without the extra, in every
# process, whether or not a format is ever checked.
#
# Behaviour: jsonschema tries to import the optional packages behind its format checkers as it is
# imported. One of them, rfc3987-syntax 1.1.0, builds its parsers (lark 1.3.1) at import, for
# two formats: "iri" and "iri-reference".
#
# Surprise: an optional package for two rare formats is paid for by each program that only
# validates, once it runs where JupyterLab is installed: in each kernel, test worker and tool.
#
# Seen on 2026-11-30, Python 3.11, CPU of the import, least of five:
#   plain: 0.09 s
#   with format-nongpl: 1.41 s
#   without rfc3987_syntax alone: 0.12 s
#
# Exits 0 as long as the import takes four times as long, and 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for name in plain formats; do python3 -m venv "$work/$name"; done
"$work/plain/bin/pip" install -q --disable-pip-version-check jsonschema==4.26.0
"$work/formats/bin/pip" install -q --disable-pip-version-check \
  "jsonschema[format-nongpl]==4.26.0" rfc3987-syntax==1.1.0 lark==1.3.1

cost() {
  for _ in 1 2 3 4 5; do
    "$1/bin/python" -c "$2
import time
began = time.process_time()
import jsonschema
print(time.process_time() - began)"
  done | sort -g | head -1
}
plain=$(cost "$work/plain" "")
formats=$(cost "$work/formats" "")
without=$(cost "$work/formats" "import sys; sys.modules['rfc3987_syntax'] = None")
printf 'plain: %.2f s\nwith format-nongpl: %.2f s\nwithout rfc3987_syntax alone: %.2f s\n' "$plain" "$formats" "$without"
python3 -c "import sys; sys.exit(not ($formats > 4 * $plain and $formats > 4 * $without))"
