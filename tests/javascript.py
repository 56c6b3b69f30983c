"""The widgets' JavaScript without a browser, in Deno, which also knows its types.

    def test_a_change_is_applied(javascript):
        grown = javascript("grow", {"html": "", "tail": "", "think": ""}, change)

`tests/javascript.js` has what can be called.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "ornb" / "notebook").glob("*.js"))
CALLS = ROOT / "tests" / "javascript.js"
QUIET = {"NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1", "DENO_DIR": str(ROOT / ".pytest_cache/deno")}


def deno(*words: str | Path, **options: Any) -> subprocess.Popen[str]:
    """Start Deno, as the environment of the tests has it; it may read files, and nothing else."""
    program = Path(sys.executable).with_name("deno")
    if not program.exists():
        pytest.skip("no Deno in this environment: pip install deno")
    config = ROOT / "tests" / "javascript.json"
    command = [program, words[0], "--config", config, "--no-remote", "--no-npm", *words[1:]]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **QUIET}, **options
    )


@pytest.fixture(scope="module")
def javascript() -> Iterator[Callable[..., Any]]:
    """Call a function of the widgets' scripts."""
    with deno("run", "--no-check", CALLS, stdin=subprocess.PIPE) as process:
        requests, answers = process.stdin, process.stdout
        assert requests is not None
        assert answers is not None

        def call(name: str, *given: Any) -> Any:
            requests.write(json.dumps([name, *given]) + "\n")
            requests.flush()
            line = answers.readline()
            assert line, f"{name}({str(given)[:300]}) failed; see above"
            return json.loads(line)

        yield call
        requests.close()
