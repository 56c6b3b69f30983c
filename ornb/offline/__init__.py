"""The embedded offline default: OpenRouter's API on this machine, without key or network.

`start` runs the server of `ornb.offline.server` in a process of its own, once per Python process,
and ends it with that process. ``python -m ornb.offline`` runs it by hand. Importing this package
loads no web server.

Such a process belongs to the one that started it. That writes one JSON line to the child's stdin
and keeps the pipe open; the child (`child`) reports that it is ready with one JSON line on stdout.
Whatever ends the parent, ``kill -9`` included, closes the pipe, and the child leaves. Nothing
secret is on a command line, where every user of the machine could read it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any, Literal, Self, get_args

from ornb.errors import ConfigError, OfflineError

__all__ = ["Child", "OfflineServer", "start"]

Model = Literal["auto", "off"]

START_TIMEOUT_S = 60.0

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
            raise OfflineError(
                f"{what} could not be started with {sys.executable!r}: {err}."
            ) from err
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
        self._hang_up()
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
        self._hang_up()
        self._process.returncode = 0  # not ours to wait for

    def _hang_up(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

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


class OfflineServer:
    """A running offline server, for callers with its `token`, or with a key that it made.

    `management_key` makes such keys. With `model` "auto" the local model answers where it is
    installed; with "off", or ``ORNB_OFFLINE_MODEL=off``, answers are canned. After `patience_s` a
    silent one sends keep-alives.
    """

    def __init__(
        self,
        *,
        model: Model = "auto",
        tokens_per_s: float = 60.0,
        first_token_s: float = 0.2,
        generation_delay_s: float = 0.3,
        patience_s: float = 1.0,
        port: int = 0,
        token: str | None = None,
        management_key: str | None = None,
    ) -> None:
        self.model = _effective(model)
        self.token = token or secrets.token_urlsafe(32)
        self.management_key = management_key or secrets.token_urlsafe(32)
        config: dict[str, Any] = {
            "token": self.token,
            "management_key": self.management_key,
            "local_model": self.model == "auto",
            "tokens_per_s": tokens_per_s,
            "first_token_s": first_token_s,
            "generation_delay_s": generation_delay_s,
            "patience_s": patience_s,
            "port": port,
        }
        self._child = Child(__name__, config, what="The offline server", timeout_s=START_TIMEOUT_S)
        self.port: int = self._child.ready["port"]
        self.base_url = f"http://127.0.0.1:{self.port}/api/v1"
        self.snapshot_date: str = self._child.ready["snapshot"]
        self.why_canned: str = self._child.ready["why_canned"]

    @property
    def alive(self) -> bool:
        """Whether the server runs, and belongs to this process."""
        return self._child.alive

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._child.pid

    def close(self) -> None:
        """End the server; safe to call twice."""
        self._child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "alive" if self.alive else "closed"
        return f"<OfflineServer {self.base_url}, catalogue of {self.snapshot_date}, {state}>"


_lock = threading.Lock()
_current: OfflineServer | None = None
_inherited: list[OfflineServer] = []


def start(*, model: Model = "auto") -> OfflineServer:
    """Return this process's offline server, starting it where there is none.

    One that died, or was started with another `model`, is replaced under the same address and
    token, so that clients made before go on.
    """
    global _current  # noqa: PLW0603 - one server per process is the point
    wanted = _effective(model)
    with _lock:
        former = _current
        if former is not None and former.alive and former.model == wanted:
            return former
        if former is None:
            _current = OfflineServer(model=wanted)
        else:
            former.close()
            _current = _replacement(former, wanted)
        return _current


def _replacement(former: OfflineServer, model: Model) -> OfflineServer:
    kept: Any = {name: getattr(former, name) for name in ("token", "management_key")}
    kept["model"] = model
    with contextlib.suppress(OfflineError):  # someone may have taken the port meanwhile
        return OfflineServer(port=former.port, **kept)
    return OfflineServer(**kept)


def _effective(model: str) -> Model:
    if model not in get_args(Model):
        raise ConfigError(f"model is {model!r}; the offline server takes 'auto' or 'off'.")
    return "off" if model == "off" or os.environ.get("ORNB_OFFLINE_MODEL") == "off" else "auto"


def _after_fork() -> None:
    """In a forked copy of this process: the server belongs to the original."""
    global _current, _lock  # noqa: PLW0603
    _lock = threading.Lock()  # the old one may be held by a thread that was not copied
    if _current is not None:
        _current._child.disown()
        _inherited.append(_current)
        _current = None


@atexit.register
def _close_current() -> None:
    if _current is not None:
        _current.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
