"""The child's side of a process that belongs to its parent: see `ornb.offline`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from ornb.errors import OfflineError


def read_config() -> dict[str, Any]:
    """Read the parent's JSON line from stdin, in the child."""
    # Unbuffered: a buffered reader would be left holding its lock by the thread that follows.
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            os._exit(0)
        line += byte
    config = json.loads(line)
    if not isinstance(config, dict):
        raise OfflineError("The parent sent no JSON object.")
    return config


def follow_parent() -> None:
    """From now on, end this process as soon as its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch_stdin, daemon=True).start()
    if hasattr(os, "getppid"):
        threading.Thread(target=_watch_ppid, args=(os.getppid(),), daemon=True).start()


def announce(info: dict[str, Any]) -> None:
    """Report to the parent, once, that this child is ready (or, with "error", cannot be)."""
    sys.stdout.write(json.dumps(info) + "\n")
    sys.stdout.flush()
    # Nobody reads stdout after this line; a library's chatter must not fill the pipe.
    with Path(os.devnull).open("wb") as devnull:
        os.dup2(devnull.fileno(), 1)


def _watch_stdin() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)  # at once: native threads and open answers have nobody left to serve


def _watch_ppid(parent: int) -> None:
    """Catch what the pipe cannot: a copy of its write end living on in some other process."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)
