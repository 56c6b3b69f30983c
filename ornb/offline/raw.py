r"""Bytes in place of an answer: the steps that the simulation ``raw`` takes, read and played.

A step is an object, or one word::

    [{"text": "HTTP/1.1 200 OK\r\n"}, {"pause_s": 2}, {"base64": "AAEC"}, "reset"]
    [{"text": "x", "pause_s": 0.1, "times": 50}]

============= ======= =============================================================================
name          type    effect
============= ======= =============================================================================
text, base64  str     what is sent, head and all: nothing is added to it
pause_s       number  seconds of silence, after the bytes if there are some
times         int     do this step so many times (default: 1)
============= ======= =============================================================================

Of the words, ``"close"`` and ``"reset"`` (TCP RST) end the connection, and ``"hang"`` keeps it open
and silent. Without one the connection goes on, and the next request on it is answered like any
other. All steps together send at most 64 MiB, and take at most 600 s, or until the caller leaves.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .wire import Fault

if TYPE_CHECKING:
    from tornado.iostream import IOStream

MAX_BYTES = 64 * 2**20
MAX_STEPS = 10_000
MAX_TIMES = 1_000_000
LONGEST_S = 600.0
ENDS = ("close", "reset", "hang")
_NAMES = {"text", "base64", "pause_s", "times"}


@dataclass(frozen=True)
class Step:
    """One step, checked."""

    data: bytes = b""
    pause_s: float = 0.0
    times: int = 1
    end: str | None = None


def steps_of(value: Any) -> tuple[Step, ...]:
    """Read the steps."""
    if not isinstance(value, list) or len(value) > MAX_STEPS:
        raise Fault(400, f"ornb.simulate.raw takes a list of at most {MAX_STEPS} steps.")
    steps = tuple(map(_step, value))
    if sum(len(step.data) * step.times for step in steps) > MAX_BYTES:
        raise Fault(400, f"ornb.simulate.raw sends at most {MAX_BYTES} bytes.")
    return steps


def _step(value: Any) -> Step:
    if isinstance(value, str) and value in ENDS:
        return Step(end=value)
    if not isinstance(value, dict) or not value.keys() <= _NAMES:
        raise Fault(
            400,
            f"ornb.simulate.raw has the step {str(value)[:60]!r}; it takes one of "
            f"{', '.join(ENDS)}, or an object of {', '.join(sorted(_NAMES))}.",
        )
    times, pause = value.get("times", 1), value.get("pause_s", 0)
    if type(times) is not int or not 0 <= times <= MAX_TIMES:
        raise Fault(400, f"ornb.simulate.raw: times is {times!r}, not 0 to {MAX_TIMES}.")
    if type(pause) not in (int, float) or not 0 <= pause <= LONGEST_S:
        raise Fault(400, f"ornb.simulate.raw: pause_s is {pause!r}, not 0 to {LONGEST_S:g} s.")
    try:
        coded = base64.b64decode(value.get("base64", ""), validate=True)
        data = value.get("text", "").encode() + coded
    except (AttributeError, TypeError, ValueError) as error:
        raise Fault(400, "ornb.simulate.raw: text or base64 is not what it should be.") from error
    return Step(data, pause, times)


async def play(stream: IOStream, steps: tuple[Step, ...]) -> bool:
    """Send the steps; whether the connection goes on."""
    gone = asyncio.Event()
    stream.set_close_callback(gone.set)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_S):
            for step in steps:
                if step.end is not None:
                    await _end(stream, step.end, gone)
                    return False
                await _send(stream, step, gone)
            stream.set_close_callback(None)
            return not gone.is_set()
    stream.close()
    return False


async def _send(stream: IOStream, step: Step, gone: asyncio.Event) -> None:
    """One write where there is no pause between."""
    rounds = step.times if step.pause_s else min(step.times, 1)
    data = step.data if step.pause_s else step.data * step.times
    for _ in range(rounds):
        if data:
            await stream.write(data)
        with contextlib.suppress(TimeoutError):
            if step.pause_s:
                await asyncio.wait_for(gone.wait(), step.pause_s)


async def _end(stream: IOStream, how: str, gone: asyncio.Event) -> None:
    if how == "hang":
        await gone.wait()
    hang_up(stream, reset=how == "reset")


def hang_up(stream: IOStream, *, reset: bool) -> None:
    """Close a connection, by a reset or an orderly end."""
    if reset and not stream.closed():
        # Lingering for 0 s makes close() send a reset.
        linger = struct.pack("HH" if os.name == "nt" else "ii", 1, 0)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    stream.close()
