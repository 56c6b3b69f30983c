"""ornb beside what people would use instead, from the package index, in one run.

Run: ``python benchmarks/peers.py`` (three minutes; the first time some more, to install them). The
others live in an environment of their own, ``.venv-peers``; one that cannot be installed there is
named as missing. All ask the same server (`_server.py`), a process of its own that stamps its own
clock: the truth of a time to the first token is when its first text left, less when the request
came. Each client runs in a process of its own (`_peer.py`), one after the other.

Bars: import at most 0.6 x requests' in a fresh process; a streamed chunk 1.5 x a raw socket with
json.loads; 5 ms of error (p95) at 64 streams; no new connection for 20 streams after one.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _server import running
from _table import QUICK, row

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
HOME = HERE.parent / ".venv-peers"
PYTHON = HOME / "bin" / "python"
PEERS = {  # what is measured: what pip installs for it, and what is imported
    "requests": (["requests"], "requests"),
    "openai": (["openai"], "openai"),
    "openrouter": (["openrouter"], "openrouter"),
    "litellm": (["litellm"], "litellm"),
    "chatlas": (["chatlas", "openai"], "chatlas"),
    "llm-openrouter": (["llm", "llm-openrouter"], "llm"),
}
ROUNDS = 3 if QUICK else 5
LONGEST_S = 120


def main() -> None:
    """Install what is not there yet, measure, and print a row a measure."""
    there = [name for name, (packages, _) in PEERS.items() if installed(*packages)]
    imports: dict[str, list[float]] = {name: [] for name in (*there, "ornb")}
    for _ in range(ROUNDS):
        for name, seconds in imports.items():
            seconds.append(_import_s(name))
    with running() as server:
        found = {name: _measured(name, server.port) for name in ("ornb", *there)}
    missing = {name: "missing" for name in PEERS if name not in there}
    _print(imports, found, missing)


def installed(*packages: str) -> bool:
    """Have packages in the peers' environment; False where that is not to be had."""
    if not PYTHON.exists():
        print(f"Making {HOME.name} ...", flush=True)
        venv.create(HOME, with_pip=True)
    if len(versions(*packages)) == len(packages):
        return True
    print(f"Installing {' '.join(packages)} ...", flush=True)
    install = [PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
    return subprocess.run(install, check=False).returncode == 0


def versions(*packages: str) -> dict[str, str]:
    """Give the versions in the peers' environment; none where there is none yet."""
    if not PYTHON.exists():
        return {}
    code = f"import importlib.metadata as m; print(*map(m.version, {packages}))"
    command = [PYTHON, "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return dict(zip(packages, told.stdout.split(), strict=False))


def _import_s(name: str) -> float:
    """CPU seconds of an import in a fresh process."""
    module = "ornb" if name == "ornb" else PEERS[name][1]
    code = f"import time; a = time.process_time(); import {module}; print(time.process_time() - a)"
    environment = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    python = sys.executable if name == "ornb" else PYTHON
    told = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return float(told.stdout.split()[-1])


def _measured(name: str, port: int) -> dict[str, Any]:
    python = sys.executable if name == "ornb" else PYTHON
    command = [python, HERE / "_peer.py", name, str(port)]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=LONGEST_S
        )
        told, why = ended.stdout, ended.stderr
    except subprocess.TimeoutExpired as error:
        told, why = (error.stdout or b"").decode(), f"it hung for {LONGEST_S} s"
    found: dict[str, Any] = {}
    for line in told.splitlines():
        if line.startswith("{"):
            found |= json.loads(line)
    if "errors_ms_64" not in found:
        print(f"{name} did not come to its end: {why[-300:]}", flush=True)
    return found


def _print(
    imports: dict[str, list[float]], found: dict[str, dict[str, Any]], missing: dict[str, str]
) -> None:
    def over_requests(name: str) -> list[float]:
        return [a / b for a, b in zip(imports[name], imports["requests"], strict=True)]

    def beside(what: str, figure: Callable[[Any], float]) -> dict[str, float | str]:
        others = {name: facts.get(what) for name, facts in found.items() if name != "ornb"}
        told = {name: "hung" if it is None else figure(it) for name, it in others.items()}
        return {**told, **missing}

    there = {name: statistics.median(over_requests(name)) for name in imports}
    there.pop("ornb")
    what = "import in a fresh process, CPU over `import requests`"
    row(what, over_requests("ornb"), bar=0.6, beside={**there, **missing})
    ours = found["ornb"]
    what = "CPU of a streamed chunk, all at once, over a raw socket and json.loads"
    row(what, ours["chunk"], bar=1.5, beside=beside("chunk", statistics.median))
    for level in (1, 16, 64):
        what, key = (
            f"error of the time to the first token, p95, {level} at once",
            f"errors_ms_{level}",
        )
        late = {"the server's own lateness": _p95(ours[f"server_late_ms_{level}"])}
        row(what, _p95(ours[key]), "ms", bar=5, beside={**beside(key, _p95), **late})
    what = "new connections for 20 streams after one"
    row(what, ours["connections"], "", bar=0, beside=beside("connections", float))


def _p95(errors: list[float]) -> float:
    return sorted(errors)[int(0.95 * (len(errors) - 1) + 0.5)]


if __name__ == "__main__":
    main()
