"""A lesson recorded once with a key, and replayed anywhere without one.

`record` writes what is asked and answered to a file of JSON lines, `replay` answers out of it.
Both stand between `ornb.api.transport.Adapter` and the network, so whatever asks is recorded and
answered alike: a cell, a chat, a comparison, a measurement.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any, TypeVar

import requests

from ..api.others import KINDS, kind_of
from ..api.transport import Adapter
from .lines import Request
from .opened import Onward, Opened, question_of
from .player import Missing, Pace, Replay
from .recorder import Recorder

__all__ = ["Pace", "Recorder", "Recordings", "Replay"]

Tape = TypeVar("Tape", bound=Opened)


class Recordings:
    """The recordings that a session has open, for all requests of its process."""

    def __init__(self) -> None:
        self.opened: tuple[Opened, ...] = ()
        """The innermost last."""
        self._open_locks()

    def _open_locks(self) -> None:
        """Make the locks: in a fork other ones, as a thread of its parent may have had them."""
        self._lock = threading.RLock()
        for tape in self.opened:
            tape._open_locks()

    def record(self, path: str | os.PathLike[str], *, catalogue: bool = False) -> Recorder:
        """Write down every call from now on, for `replay`.

        In a ``with`` for the block, else until ``.close()`` or the next `record`. Each call is in
        the file as soon as it has ended. Keys and the account's ids are not written; prompts and
        answers are.

        Parameters
        ----------
        path : str or path-like
            A file of JSON lines. One that is there is added to.
        catalogue : bool
            True writes the lists of models, providers and endpoints too, some 500 kB each time they
            are fetched.

        Returns
        -------
        Recorder
            Says how many calls it has; ``.close()`` ends it.

        Raises
        ------
        ConfigError
            The file cannot be written, or is something else than a recording of this format.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> lesson = pathlib.Path(tempfile.mkdtemp()) / "lesson.jsonl"
        >>> with ornb.record(lesson) as recorder:
        ...     reply = ornb.ask("What is a token?")
        >>> recorder.calls
        1
        """
        return self._open(Recorder(path, catalogue=catalogue))

    def replay(
        self, path: str | os.PathLike[str], *, pace: Pace = "recorded", missing: Missing = "error"
    ) -> Replay:
        """Answer every call from now on out of a recording.

        In a ``with`` for the block, else until ``.close()`` or the next `replay`. Nothing that is
        replayed is billed, and each answer says when it was recorded. What was asked again and
        again is answered in the recorded order, then from the first answer on.

        Parameters
        ----------
        path : str or path-like
            What `record` has written.
        pace : {"recorded", "instant"}
            Whether answers take the time they took. Their figures are the recorded ones either way.
        missing : {"error", "ask"}
            What becomes of a chat that was not recorded: a `NotRecorded` that says how it differs,
            or a call to the service beneath. The catalogue, where it was not recorded, is always
            asked there: without a key that is the snapshot of the offline default.

        Returns
        -------
        Replay
            Says what it has; ``.close()`` ends it.

        Raises
        ------
        ConfigError
            There is no such file, nothing in it can be used, or there is no such pace.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> lesson = pathlib.Path(tempfile.mkdtemp()) / "lesson.jsonl"
        >>> with ornb.record(lesson):
        ...     reply = ornb.ask("What is a token?")
        >>> with ornb.replay(lesson, pace="instant"):
        ...     again = ornb.ask("What is a token?")
        >>> again.text == reply.text, again.source, again.recorded_from
        (True, 'recorded', 'canned')
        """
        return self._open(Replay(path, pace=pace, missing=missing))

    def stand_in(self, path: str | os.PathLike[str], base_url: str, pace: Pace) -> Replay:
        """Answer the calls to one address out of a recording; any other replay comes before it."""
        tape = Replay(path, pace=pace, missing="ask", only=base_url.removesuffix("/v1"))
        tape.among, tape.of_block = self, True
        with self._lock:
            self._set(tape, *self.opened)
        return tape

    def answers(self, body: Mapping[str, Any], base_url: str) -> bool:
        """Return whether a recording answers a call: it costs nothing then, and counts nowhere."""
        tape = self._answering(base_url)
        if tape is None:
            return False
        kind = KINDS.get(kind_of(body))
        question = Request("POST", kind.path if kind else "/chat/completions", {}, dict(body))
        return tape.missing == "error" or tape.has(question)

    def default_model(self, base_url: str) -> str | None:
        """Return the model that answered where none was named in the recording, if known."""
        tape = self._answering(base_url)
        return None if tape is None else tape.default_model

    def models(self, path: str, base_url: str) -> list[str]:
        """Return the models that a recording has answers of, of the kind of a path."""
        tape = self._answering(base_url)
        return [] if tape is None else tape.models(path)

    def note_default_model(self, model: str) -> None:
        """Write down which model answers where none is named."""
        for tape in self.opened:
            if isinstance(tape, Recorder):
                tape.note_default_model(model)

    def _answering(self, base_url: str) -> Replay | None:
        """The innermost replay that answers for an address."""
        tapes = [t for t in self.opened if isinstance(t, Replay) and base_url.startswith(t.only)]
        return tapes[-1] if tapes else None

    def _open(self, tape: Tape) -> Tape:
        tape.among = self
        with self._lock:
            tape.set_aside = tuple(each for each in self.opened if tape.replaces(each))
            self._set(*(each for each in self.opened if each not in tape.set_aside), tape)
        return tape

    def begin_block(self, tape: Opened) -> None:
        """Have it open for a block, and those that it replaced afterwards again."""
        with self._lock:
            if tape in self.opened and not tape.of_block:  # meant for the block, not for good
                tape.of_block = True
                before = [each for each in self.opened if each is not tape]
                again = [each for each in tape.set_aside if not tape.excludes(each)]
                self._set(*again, *before, tape)
                tape.set_aside = ()

    def close(self, tape: Opened) -> None:
        """End one; safe to do twice."""
        with self._lock:
            self._set(*(each for each in self.opened if each is not tape))

    def _set(self, *tapes: Opened) -> None:
        self.opened = tapes
        Adapter.between = self._pass if tapes else None

    def _pass(self, request: requests.PreparedRequest, onward: Onward) -> requests.Response:
        """Pass a request through those that listen, then to the innermost that answers."""
        question = question_of(request)
        if question is None:
            return onward()
        tapes = [each for each in self.opened if each.takes(str(request.url), question)]
        answering = [each for each in tapes if not each.listens][-1:]
        for tape in (*answering, *(each for each in tapes if each.listens)):
            onward = _through(tape, request, question, onward)
        return onward()


def _through(
    tape: Opened, request: requests.PreparedRequest, question: Request, onward: Onward
) -> Onward:
    return lambda: tape.between(request, question, onward)
