"""tools/system.py finds a browser that starts, and installs one where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "tools/system.py"
STARTS = "#!/bin/sh\necho Chromium 1\n"
BREAKS = "#!/bin/sh\nexit 1\n"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder that is the whole PATH of the script."""
    return tmp_path


def put(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)
    return path


def run(*arguments: str, path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    plain = {name: value for name, value in os.environ.items() if name != "ORNB_CHROMIUM"}
    return subprocess.run(
        command,
        env=plain | {"PATH": str(path)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def is_root_on_debian() -> bool:
    release = Path("/etc/os-release")
    debian = release.exists() and "\nID=debian\n" in f"\n{release.read_text(encoding='utf-8')}"
    return debian and os.geteuid() == 0


def test_chosen_browser_is_taken_as_it_is(programs: Path) -> None:
    put(programs, "chromium", STARTS)
    assert run("browser", path=programs, ORNB_CHROMIUM="/my/own").stdout == "/my/own\n"


def test_browser_that_does_not_start_is_passed_over(programs: Path) -> None:
    put(programs, "chromium", BREAKS)
    chrome = put(programs, "google-chrome", STARTS)
    assert run("browser", path=programs).stdout == f"{chrome}\n"


@pytest.mark.skipif(not is_root_on_debian(), reason="only root on Debian installs with apt-get")
@pytest.mark.parametrize("at_hand", [None, "chromium"])
def test_root_on_debian_updates_the_lists_and_then_installs_the_package(
    programs: Path, at_hand: str | None
) -> None:
    if at_hand:  # the shell is quicker
        put(programs, at_hand, STARTS)
    names = ("asked", "packaged", "chromium-headless-shell")
    asked, packaged, installed = (programs / name for name in names)
    put(programs, packaged.name, STARTS)
    put(
        programs,
        "apt-get",
        f"""#!/bin/sh
        echo "$*" >> '{asked}'
        case "$*" in *install*) /bin/cp -p '{packaged}' '{installed}' ;; esac
        """,
    )
    assert run("browser", path=programs).stdout == f"{installed}\n"
    update, install = asked.read_text(encoding="utf-8").splitlines()
    assert update.endswith(" update")
    assert "install --no-install-recommends chromium-headless-shell" in install


def test_a_browser_serves_where_the_quicker_one_cannot_be_installed(programs: Path) -> None:
    chromium = put(programs, "chromium", STARTS)
    put(programs, "apt-get", BREAKS)
    assert run("browser", path=programs).stdout == f"{chromium}\n"


def test_library_of_the_local_model_is_never_a_reason_to_stop(programs: Path) -> None:
    assert run("openmp", path=programs).returncode == 0


def test_unknown_command_says_how_to_call_it(programs: Path) -> None:
    done = run("browzer", path=programs)
    assert done.returncode == 1
    assert "usage: python tools/system.py {browser|openmp}" in done.stderr
