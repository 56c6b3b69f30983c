"""What every test and every example may lean on: recorded data, no key, and no way out."""

from __future__ import annotations

import gc
import ipaddress
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

import ornb
from ornb import session
from ornb.offline import OfflineServer
from tests.page import until

# A real browser, a real JupyterLab; in a bare page each widget, the chat and the comparison.
pytest_plugins = ["tests.lab", "tests.esm", "tests.stages", "tests.javascript"]

SAME_CASES = not os.environ.get("ORNB_NEW_CASES")  # make test-all looks for new ones
settings.register_profile(
    "here",
    deadline=None,  # a slow machine is no fault of the code
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=SAME_CASES,
)
settings.load_profile("here")
if SAME_CASES:
    # Else it tries the words of our modules as well, of those that are loaded by then: other ones
    # in each worker (findings/hypothesis-derandomize.sh).
    providers.is_local_module_file = lambda _path: False


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker by which `make test` leaves tests to `make test-all`."""
    config.addinivalue_line("markers", "long: slow by nature; make test-all runs it")


# Whatever imports jsonschema (ornb, nbformat) would have it build grammars of IRIs with this: two
# seconds for a check of formats that no one makes here. It came with JupyterLab, not with ornb.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

# What is made until the first test stays to the end. Looked through for garbage again and again, it
# would take a third of the time until then, and a part of each test's.
gc.disable()


def pytest_collection_finish() -> None:
    """Leave out what is there for good, and look for garbage from now on."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """A worker for each core, and two more: many tests wait for something at any time."""
    free = getattr(os, "sched_getaffinity", None)
    cores = len(free(0)) if free else os.cpu_count() or 1
    return cores + 2 if cores > 1 else 1


def pytest_sessionstart() -> None:
    """Pass over finalizers that garbage collection calls where a test is nested too deep for them.

    Such tests read JSON as deep as it goes; whose garbage is collected then is chance.
    """
    report = sys.unraisablehook

    def seen(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, RecursionError):
            report(unraisable)

    sys.unraisablehook = seen


RECORDED = Path(__file__).parents[1] / "shared" / "data"


# Whoever runs the tests may have a key: it is neither used nor needed. The local model answers
# slowly, so only the tests that are about it ask for it.
for _name in ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "ORNB_MODEL"):
    os.environ.pop(_name, None)
os.environ["ORNB_OFFLINE_MODEL"] = "off"
os.environ["ORNB_JOURNAL"] = "off"  # nor is the disk of whoever runs them written to

# A run in the background has Ctrl-C switched off; some tests press it, here and in processes of
# their own.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _offline() -> None:
    # Canned answers at a tenth of the time: who waits for one needs not see it being written.
    usual: dict[str, Any] = OfflineServer.__init__.__kwdefaults__  # type: ignore[assignment]
    usual.update(tokens_per_s=600.0, first_token_s=0.02)
    ornb.connect(offline=True)  # chosen, so that no example is told that it is offline


@pytest.fixture(autouse=True)
def _names_of_the_examples(doctest_namespace: dict[str, Any]) -> None:
    doctest_namespace["ornb"] = ornb


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Give the folder of recorded answers; it lies beside the checkout, and is not a part of it."""
    if not RECORDED.is_dir():
        pytest.skip(f"no recorded answers at {RECORDED}")
    return RECORDED


@pytest.fixture(autouse=True)
def _widgets_end_with_their_test() -> Iterator[None]:
    """Ipywidgets keeps every widget until it is closed; thousands of them slow all that follows."""
    yield
    if widgets := sys.modules.get("ipywidgets"):
        widgets.Widget.close_all()
        # One that still looks would ask the next test's service.
        until(lambda: all(each.name != "ornb-panel" for each in threading.enumerate()))


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the session that of a kernel that has just begun; afterwards it is what it was."""

    def begin(*, announced: bool = False) -> None:
        monkeypatch.setattr(session.default, "connection", None)
        monkeypatch.setattr(session.default, "announced", announced)
        monkeypatch.setattr(session.default, "warned", set())

    return begin


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Have a folder made by the worker that asks first, for all workers of this run."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def folder_of(name: str, make: Callable[[Path], None]) -> Path:
        folder, made = shared / name, shared / f"{name}.made"
        try:
            folder.mkdir()
        except FileExistsError:
            until(made.exists, 300)
        else:
            try:
                make(folder)
            finally:
                made.touch()
        return folder

    return folder_of


class ForeignAddressError(BaseException):
    """A test reached for another machine. No ``except Exception`` may swallow it."""


_guard = {"on": False}


def _refuse_foreign(event: str, args: tuple[Any, ...]) -> None:
    """Look at every address before Python's sockets use it, whichever library asks."""
    if not (_guard and _guard["on"]) or event not in _EVENTS:  # gone while Python ends
        return
    address = args[_EVENTS[event]]
    host = address[0] if isinstance(address, tuple) else address
    if event != "socket.getaddrinfo" and not isinstance(address, tuple):
        return  # a socket file, or an address given before
    if not _is_loopback(host):
        raise ForeignAddressError(f"{event} of {host!r}: tests talk to this machine only")


_EVENTS = {"socket.getaddrinfo": 0, "socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1}


def _is_loopback(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(str(name).partition("%")[0]).is_loopback
    except ValueError:
        return False


sys.addaudithook(_refuse_foreign)  # cannot be taken out again, hence the switch


@pytest.fixture(scope="session", autouse=True)
def _only_this_machine() -> Any:
    _guard["on"] = True
    yield
    _guard["on"] = False
