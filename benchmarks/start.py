"""From a fresh process to a picker of models: CPU over that of pandas and anywidget alone.

Run: ``python benchmarks/start.py``. Bar: `import ornb` and a picker, of the catalogue that comes
with the package, take at most 1.4 x ``import pandas, anywidget``. Bytecode is cached for both, and
they take turns. The service of the offline mode is a process of its own, and is not counted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from _table import QUICK, row

ROUNDS = 3 if QUICK else 11
BEFORE = "import pandas, anywidget"
OURS = "import ornb; ornb.ModelPicker()"
SAY = "; import time; print(time.process_time())"


def main() -> None:
    """Print the row."""
    with tempfile.TemporaryDirectory() as folder:
        for code in (BEFORE, OURS):
            _seconds(code, folder)  # warm: bytecode
        rounds = [(_seconds(OURS, folder), _seconds(BEFORE, folder)) for _ in range(ROUNDS)]
    best, least = (min(each) for each in zip(*rounds, strict=True))
    row(
        "fresh process to a picker made, CPU over `import pandas, anywidget`",
        [ours / before for ours, before in rounds],
        bar=1.4,
        beside=f"{best:.2f} s at best, pandas and anywidget alone {least:.2f} s",
    )


def _seconds(code: str, folder: str) -> float:
    own = {"PYTHONPYCACHEPREFIX": folder, "HOME": folder, "ORNB_OFFLINE_MODEL": "off"}
    unset = ("PYTHONDONTWRITEBYTECODE", "OPENROUTER_API_KEY")
    environment = {k: v for k, v in os.environ.items() if k not in unset} | own
    command = [sys.executable, "-c", code + SAY]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(told.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
