"""The embedded offline default: OpenRouter's API on this machine, without key or network.

`start` runs the server of `ornb.offline.server` in a process of its own, once per Python process,
and ends it with that process. ``python -m ornb.offline`` runs it by hand. Importing this package
loads no web server.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import threading
from types import TracebackType
from typing import Any, Literal, Self, get_args

from ornb.errors import ConfigError, OfflineError

from .child import Child

__all__ = ["OfflineServer", "start"]

Model = Literal["auto", "off"]

START_TIMEOUT_S = 60.0


class OfflineServer:
    """A running offline server, for callers with its `token` only.

    With `model` "auto" the local model answers where it is installed; with "off", or
    ``ORNB_OFFLINE_MODEL=off``, answers are canned. After `patience_s` a silent one sends
    keep-alives.
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
    ) -> None:
        self.model = _effective(model)
        self.token = token or secrets.token_urlsafe(32)
        config: dict[str, Any] = {
            "token": self.token,
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
    with contextlib.suppress(OfflineError):  # someone may have taken the port meanwhile
        return OfflineServer(model=model, port=former.port, token=former.token)
    return OfflineServer(model=model, token=former.token)


def _effective(model: str) -> Model:
    if model not in get_args(Model):
        msg = f"model is {model!r}; the offline server takes 'auto' or 'off'."
        raise ConfigError(msg)
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
