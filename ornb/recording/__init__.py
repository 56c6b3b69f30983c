"""A lesson recorded once with a key, and replayed anywhere without one.

`record` writes what is asked and answered to a file of JSON lines, `replay` answers out of it.
Both stand between `ornb.api.transport.Adapter` and the network, so whatever asks is recorded and
answered alike: a cell, a chat, a comparison, a measurement.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .lines import Request
from .opened import opened
from .player import Missing, Pace, Replay
from .recorder import Recorder

__all__ = [
    "Recorder",
    "Replay",
    "answers",
    "default_model",
    "note_default_model",
    "opened",
    "record",
    "replay",
    "stand_in",
]


def record(path: str | os.PathLike[str], *, catalogue: bool = False) -> Recorder:
    """Write down every call from now on, for `replay`.

    In a ``with`` for the block, else until ``.close()`` or the next `record`. Each call is in the
    file as soon as it has ended. Keys and the account's ids are not written; prompts and answers
    are.

    Parameters
    ----------
    path : str or path-like
        A file of JSON lines. One that is there is added to.
    catalogue : bool
        True writes the lists of models, providers and endpoints too, some 500 kB each time they are
        fetched.

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
    return Recorder(path, catalogue=catalogue).open()


def replay(
    path: str | os.PathLike[str], *, pace: Pace = "recorded", missing: Missing = "error"
) -> Replay:
    """Answer every call from now on out of a recording.

    In a ``with`` for the block, else until ``.close()`` or the next `replay`. Nothing that is
    replayed is billed, and each answer says when it was recorded. What was asked again and again
    is answered in the recorded order, then from the first answer on.

    Parameters
    ----------
    path : str or path-like
        What `record` has written.
    pace : {"recorded", "instant"}
        Whether answers take the time they took. Their figures are the recorded ones either way.
    missing : {"error", "ask"}
        What becomes of a chat that was not recorded: a `NotRecorded` that says how it differs, or
        a call to the service beneath. The catalogue, where it was not recorded, is always asked
        there: without a key that is the snapshot of the offline default.

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
    return Replay(path, pace=pace, missing=missing).open()


def stand_in(path: str | os.PathLike[str], base_url: str) -> Replay:
    """Answer the calls to one address out of a recording; any other replay comes before it."""
    return Replay(path, missing="ask", only=base_url).open(beneath=True)


def answers(body: Mapping[str, Any], base_url: str) -> bool:
    """Return whether a recording answers a chat: it costs nothing then and counts for no limit."""
    question = Request("POST", "/chat/completions", {}, dict(body))
    tape = _answering(base_url)
    return tape is not None and (tape.missing == "error" or tape.has(question))


def default_model(base_url: str) -> str | None:
    """Return the model that answered where none was named when the recording was made, if known."""
    tape = _answering(base_url)
    return None if tape is None else tape.default_model


def note_default_model(model: str) -> None:
    """Write down which model answers where none is named."""
    for tape in opened():
        if isinstance(tape, Recorder):
            tape.note_default_model(model)


def _answering(base_url: str) -> Replay | None:
    """The innermost replay that answers for an address."""
    tapes = [t for t in opened() if isinstance(t, Replay) and base_url.startswith(t.only)]
    return tapes[-1] if tapes else None
