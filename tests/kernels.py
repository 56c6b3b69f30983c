"""Kernels that are forked from a process which has imported their libraries already, on Linux.

To start a kernel and import pandas costs a second of a processor, and a test run starts a hundred.
ornb is not among what is imported before: each kernel imports it anew, as anyone's does.

JupyterLab starts this file as the kernel's command. It hands over to a fork of the process that
`serve` runs in, passes on the signals that it gets, and lasts as long as the kernel does.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

LIBRARIES = (
    *("ipykernel.kernelapp", "pandas", "requests", "sqlalchemy"),
    *("jsonschema", "pygments", "markdown_it"),
)
"""None that looks for its kernel, or at the environment, while it is imported: ipywidgets and
plotly do."""


def serve(number: int) -> None:
    """Make a kernel for whoever comes to a socket that is open under this number."""
    import gc
    import importlib

    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no one asks how a kernel ended
    door = socket.socket(fileno=number)
    while True:
        caller, _ = door.accept()
        if os.fork() == 0:
            door.close()
            return _become_kernel(caller)
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
