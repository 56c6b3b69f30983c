"""Work that is done in a fork of the test's process, while other threads hold what they hold."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest


def forks(test: Callable) -> Callable:
    """Mark a test that forks."""
    quiet = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    return pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")(quiet(test))


def done_in_a_fork(work: Callable[[], object]) -> bool:
    """Whether a fork did it, without an error and within a minute."""
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            signal.alarm(60)
            work()
            failed = 0
        finally:
            os._exit(failed)
    return os.waitpid(child, 0)[1] == 0
