"""Kernels that are forked from a process which has imported their libraries already, on Linux.

To start a kernel and import pandas costs two seconds of a processor, and a test run starts two
hundred. ornb is not among what is imported before: each kernel imports it anew, as anyone's does.

Whoever finds kernels in the folder of `specs` starts this file as the kernel's command. It hands
over to a fork of the process that `serve` runs in, passes on the signals that it gets, and lasts as
long as the kernel does.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
from functools import cache
from pathlib import Path

LIBRARIES = (
    *("ipykernel.kernelapp", "pandas", "requests", "sqlalchemy"),
    *("sqlalchemy.dialects.sqlite", "jsonschema", "pygments", "markdown_it"),
    *("latex2mathml.converter", "psygnal"),
)
"""None that looks for its kernel, or at the environment, while it is imported: ipywidgets and
plotly do."""


@cache
def specs() -> str:
    """Give a folder for JUPYTER_PATH whose Python is forked, as long as this process lasts."""
    import atexit
    import subprocess
    import tempfile

    if sys.platform != "linux":
        return ""
    folder = Path(tempfile.mkdtemp(prefix="ornb-", dir="/tmp"))  # a socket's name must be short
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    argv = [sys.executable, "-IS", __file__, str(folder / "door"), "-f", "{connection_file}"]
    spec = folder / "kernels/python3/kernel.json"
    spec.parent.mkdir(parents=True)
    described = {"display_name": "Python 3 (ipykernel)", "language": "python", "argv": argv}
    spec.write_text(json.dumps(described | {"metadata": {"debugger": True}}), encoding="utf-8")
    lean = "import sys; sys.modules['rfc3987_syntax'] = None; "  # see conftest.py
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(folder / "door"))
        door.listen()
        number = door.fileno()
        process = subprocess.Popen(
            [sys.executable, "-c", f"{lean}from tests.kernels import serve; serve({number})"],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"PYTHONHASHSEED": "0"},  # what notebooks show hangs on it
            stdin=subprocess.PIPE,
            pass_fds=[number],
            start_new_session=True,
        )
    atexit.register(process.communicate)
    return str(folder)


def serve(number: int) -> None:
    """Make a kernel for whoever comes to a socket open under this number, until stdin ends."""
    import gc
    import importlib
    import select

    for name in LIBRARIES:
        importlib.import_module(name)
    sys.modules["pandas"].set_option("display.max_columns", 20)  # it sees no kernel yet: 0
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no one asks how a kernel ended
    door = socket.socket(fileno=number)
    while door in select.select([door, sys.stdin], [], [])[0]:
        caller, _ = door.accept()
        if os.fork() == 0:
            door.close()
            _become_kernel(caller)
            break
        caller.close()


def _become_kernel(caller: socket.socket) -> None:
    import threading

    from ipykernel.kernelapp import IPKernelApp

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    _, streams, *_ = socket.recv_fds(caller, 1, 3)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    folder, environment, words = json.loads(caller.makefile().readline())
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    caller.sendall(str(os.getpid()).encode())

    def end_with_the_caller() -> None:
        caller.recv(1)
        os.killpg(os.getpid(), signal.SIGKILL)

    threading.Thread(target=end_with_the_caller, daemon=True).start()
    IPKernelApp.launch_instance(words)


def call(place: str, words: list[str]) -> None:
    """Have a kernel made, and be it for whoever has started this process."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(place)
        socket.send_fds(line, [b"."], [0, 1, 2])
        line.sendall(json.dumps([str(Path.cwd()), dict(os.environ), words]).encode() + b"\n")
        kernel = int(line.recv(20))
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda number, _: os.killpg(kernel, number))
        line.recv(1)  # it ends with the kernel


if __name__ == "__main__":
    call(sys.argv[1], sys.argv[2:])
