"""Find, or install, what pip cannot bring: a browser for the tests, libgomp for the local model.

`make test` runs `python tools/system.py browser`, and both `make lab` and `make test` run
`python tools/system.py openmp`. Only the standard library is imported, so that the script also
runs before anything is installed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

SHELLS = ("chromium-headless-shell", "chrome-headless-shell")
"""The browser without its windows, which Playwright takes for tests: less than half the work."""
BROWSER_NAMES = (
    *SHELLS,
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
)
MAC_BROWSERS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
NO_BROWSER = """\
No Chromium or Chrome was found, and none could be installed here. One of these helps:
  ORNB_CHROMIUM=/path/to/chrome make test      use a browser that you have
  .venv/bin/python -m playwright install --with-deps chromium
  sudo apt-get install chromium                on Debian
"""
NO_OPENMP = """\
The local model needs the OpenMP library (libgomp1), which this machine lacks; until it is there,
offline answers are canned ones. Install it with: sudo apt-get install libgomp1"""


def find_browser() -> str | None:
    """Path of a Chromium that starts, or None.

    Looked for in this order: the variable `ORNB_CHROMIUM`, the usual names on `PATH`, macOS
    applications, the browser that Playwright downloaded for itself.

    Returns
    -------
    str or None
        The program's path. `ORNB_CHROMIUM` is returned as it is: who sets it has chosen.
    """
    if chosen := os.environ.get("ORNB_CHROMIUM"):
        return chosen
    on_path = (shutil.which(name) for name in BROWSER_NAMES)
    for path in (*on_path, *MAC_BROWSERS):
        if path and _starts(path):
            return path
    downloaded = _playwright_browser()
    return downloaded if downloaded and _starts(downloaded) else None


def install_browser() -> str | None:
    """Install a Chromium by the first way that works here, and return its path.

    Root on Debian takes the distribution's package (no other download, and its libraries come
    along). Everyone else takes Playwright's own build, then Debian's through a sudo that asks no
    password.

    Returns
    -------
    str or None
        The program's path; None when no way worked.
    """
    debian = _is_debian()
    packages = ("chromium-headless-shell", "fonts-dejavu-core")
    if debian and _is_root() and apt_install(*packages) and (found := find_browser()):
        return found
    libraries = ["--with-deps"] if _is_root() and sys.platform == "linux" else []
    _run([sys.executable, "-m", "playwright", "install", *libraries, "chromium"], seconds=600)
    if found := find_browser():
        return found
    if debian and not _is_root() and shutil.which("sudo"):
        apt_install(*packages, prefix=["sudo", "-n"])
    return find_browser()


def apt_install(*packages: str, prefix: list[str] | None = None) -> bool:
    """Install Debian packages without asking anything; True when all are there.

    Parameters
    ----------
    *packages : str
        Package names.
    prefix : list of str, optional
        What stands before `apt-get`, such as `["sudo", "-n"]`.

    Returns
    -------
    bool
        Whether apt-get said that it did.
    """
    apt = [*(prefix or []), "apt-get", "-qq", "-y"]
    # A fresh container has no package lists, so the update is part of the install; its failure is
    # not (a single dead mirror in the list must not stop us).
    _run([*apt, "update"], seconds=180)
    return _run([*apt, "install", "--no-install-recommends", *packages], seconds=900)


def openmp_loads() -> bool:
    """Whether the OpenMP library that the local model is linked to can be loaded.

    Returns
    -------
    bool
        Always True elsewhere than on Linux, where the library comes inside the wheel.
    """
    if sys.platform != "linux":
        return True
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        return False
    return True


def _starts(path: str) -> bool:
    try:
        subprocess.run([path, "--version"], capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _playwright_browser() -> str | None:
    # In a process of its own: Playwright's synchronous API cannot be entered twice.
    code = (
        "from playwright.sync_api import sync_playwright as start\n"
        "with start() as playwright: print(playwright.chromium.executable_path)"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
        )
    except subprocess.SubprocessError:
        return None
    path = done.stdout.strip()
    return path if Path(path).is_file() else None


def _os_id() -> str:
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return dict(line.split("=", 1) for line in lines if "=" in line).get("ID", "").strip('"')


def _is_debian() -> bool:
    # Ubuntu's "chromium" is a stub for a snap, which Playwright cannot drive: Debian alone counts.
    return _os_id() == "debian" and shutil.which("apt-get") is not None


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _run(command: list[str], *, seconds: int) -> bool:
    """Run a command with its output on stderr, and give up on it after some seconds."""
    print("+", " ".join(command), file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            env=environment,
            timeout=seconds,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as err:
        print(err, file=sys.stderr)
        return False
    return True


def browser() -> int:
    """Print the path of a Chromium, installing one first where there is none.

    Beside a whole one Debian's root gets the quicker shell, too.

    Returns
    -------
    int
        Exit status: 0, or 1 when there is no browser.
    """
    path = find_browser()
    is_best = os.environ.get("ORNB_CHROMIUM") or any(map(shutil.which, SHELLS))
    if path is None:
        path = install_browser()
    elif not is_best and _is_debian() and _is_root() and apt_install(SHELLS[0]):
        path = find_browser()
    if path is None:
        print(NO_BROWSER, file=sys.stderr)
        return 1
    print(path)
    return 0


def openmp() -> int:
    """See that the local model can load; install its library as root, else say how.

    Returns
    -------
    int
        Always 0: without the library, ornb still gives canned answers.
    """
    if openmp_loads():
        return 0
    if _is_root() and shutil.which("apt-get") and apt_install("libgomp1") and openmp_loads():
        return 0
    print(NO_OPENMP, file=sys.stderr)
    return 0


if __name__ == "__main__":
    commands = {"browser": browser, "openmp": openmp}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(f"usage: python tools/system.py {{{'|'.join(commands)}}}")
    sys.exit(commands[sys.argv[1]]())
