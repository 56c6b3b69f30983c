"""Processes that belong to their parent: started with secrets on stdin, gone when it is gone.

The parent writes one JSON line to the child's stdin and keeps the pipe open; the child reports
that it is ready with one JSON line on stdout. Whatever ends the parent, ``kill -9`` included,
closes the pipe, and the child leaves. Nothing secret is on a command line, where every user of
the machine could read it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

from ornb.errors import OfflineError

# The module is found where the parent found it, without putting that folder (or the notebook's
# own folder, which may hold a `random.py`) in front of the standard library.
_BOOTSTRAP = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); module = sys.argv.pop(1); "
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)
_ROOT = str(Path(__file__).resolve().parents[2])
_LEAVE_S = 2.0


def _environ() -> dict[str, str]:
    """The environment without OpenRouter's key: a child has no use for it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OPENROUTER_")}


class Child:
    """A running child process, ``python -m module --child``; `ready` is what it reported.

    `what` is what it is, for messages: "The offline server".
    """

    def __init__(
        self,
        module: str,
        config: dict[str, Any],
        *,
        what: str,
        timeout_s: float,
        env: dict[str, str] | None = None,
    ) -> None:
        self._what = what
        self._owner = os.getpid()
        # A file, not a pipe: nobody reads it while all is well, and a full pipe would block.
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-c", _BOOTSTRAP, _ROOT, module, "--child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={**_environ(), **(env or {})},
                # A process group of its own: Jupyter's interrupt goes to the kernel's whole group.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except (OSError, ValueError) as err:
            self._stderr.close()
            msg = f"{what} could not be started with {sys.executable!r}: {err}."
            raise OfflineError(msg) from err
        self.pid = self._process.pid
        self.ready = self._wait_ready(config, timeout_s)

    @property
    def alive(self) -> bool:
        """Whether the process runs and is ours (not our parent's, after a fork)."""
        return self._owner == os.getpid() and self._process.poll() is None

    def close(self) -> None:
        """End the process; safe to call twice, and in a forked copy of the parent."""
        if self._owner != os.getpid():
            return
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def disown(self) -> None:
        """Forget an inherited child, in a forked copy of its parent.

        The copy's end of the pipe is closed, or the child would outlive its real parent.
        """
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.returncode = 0  # not ours to wait for

    def _wait_ready(self, config: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        lines: list[bytes] = []
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:  # pragma: no cover - both are PIPE
            raise AssertionError
        # Pipes have no read timeout on every system; a thread has.
        reader = threading.Thread(target=lambda: lines.append(stdout.readline()), daemon=True)
        reader.start()
        try:
            stdin.write(json.dumps(config).encode() + b"\n")
            stdin.flush()
        except OSError:
            pass  # it died at once; stderr knows why
        reader.join(timeout_s)
        try:
            ready = json.loads(lines[0])
        except (IndexError, ValueError) as err:
            slow = not lines and self._process.poll() is None
            self._process.kill()
            reader.join()
            why = f"was not ready within {timeout_s:g} s" if slow else "ended at once"
            msg = f"{self._what} {why}.{self._last_words()}"
            self.close()
            raise OfflineError(msg) from err
        if not isinstance(ready, dict) or "error" in ready:
            self.close()
            raise OfflineError(str(ready.get("error") if isinstance(ready, dict) else ready))
        return ready

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LEAVE_S)
        self._stderr.seek(0)
        tail = self._stderr.read()[-2000:].decode(errors="replace").strip()
        return f" It said:\n{tail}" if tail else ""


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
        msg = "The parent sent no JSON object."
        raise OfflineError(msg)
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
