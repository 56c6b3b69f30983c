"""Fuzz ornb: ``make fuzz SECONDS=60``, or ``python -m tests.fuzz --seconds 60 markdown sse``.

With Google's atheris (``pip install atheris``; it has wheels for some Pythons only) the fuzzer is
guided by the code that an input reaches; without it inputs are mutated blindly, and that is said.
What was found interesting is kept in test-results/fuzz, and is where the next run begins. An input
that fails is kept there too: ``python -m tests.fuzz --replay FILE`` runs it again.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "test-results" / "fuzz"
LONGEST_S = 600
"""By the clock, for an input that waits for ever; `targets.check` ends one that works for ever."""


def main() -> int:
    """Run the targets one after the other; the exit status counts those that failed."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # as pytest has it
    os.environ["ORNB_OFFLINE_MODEL"] = "off"
    options = _options()
    if options.replay:
        name = options.replay.name.partition("-")[0]
        return _replay(name, options.replay)
    if options.answers:
        from tests.fuzz.differences import read_many

        return read_many(options.answers, peers=options.peers)
    if options.here:
        return _fuzz(options.names[0], options.seconds, options.runs)
    from tests.fuzz.targets import TARGETS

    names = options.names or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        print(f"no target {unknown[0]!r}: there are {', '.join(TARGETS)}")
        return 2
    each = max(1, options.seconds // len(names))
    failed = [name for name in names if _in_a_process(name, each, options.runs)]
    print(f"\n{len(names) - len(failed)} of {len(names)} held", *failed, sep="; failed: ")
    return len(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="TARGET", help="only these")
    parser.add_argument("--seconds", type=int, default=60, help="for all of them together")
    parser.add_argument("--runs", type=int, help="at most so many inputs each: the same every time")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one kept input again")
    parser.add_argument("--answers", type=int, help="let others read so many, beside ornb")
    parser.add_argument("--peers", action="store_true", help="those of .venv-peers too")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_a_process(name: str, seconds: int, runs: int | None) -> int:
    """A fuzzer ends its process, and one that is instrumented should see one target only."""
    command = [sys.executable, "-m", "tests.fuzz", "--here", "--seconds", str(seconds), name]
    environment = dict(os.environ)
    if runs is not None:
        command += ["--runs", str(runs)]
        environment["PYTHONHASHSEED"] = "0"  # the order of a set decides what is reached
    print(f"\n== {name}", flush=True)
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def _fuzz(name: str, seconds: int, runs: int | None) -> int:
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: mutating blindly")
        return _blindly(name, seconds, runs)
    _with_atheris(name, seconds, runs)
    return 0


def _with_atheris(name: str, seconds: int, runs: int | None) -> None:
    import atheris

    packages = _packages(name)
    with atheris.instrument_imports(include=packages):
        from tests.fuzz import targets
    target = targets.TARGETS[name]
    arguments = [
        *([] if runs is None else [f"-runs={runs}", "-seed=1"]),
        f"-max_total_time={seconds}",
        f"-max_len={target.longest}",
        f"-timeout={LONGEST_S}",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
        "-verbosity=0",
        f"-artifact_prefix={KEPT / name}-",
        str(_folder(name, fresh=runs is not None)),
    ]
    atheris.Setup([sys.argv[0], *arguments], lambda data: targets.check(name, data))
    atheris.Fuzz()


def _packages(name: str) -> list[str]:
    """Asked of another process, since what is imported already is not instrumented."""
    code = f"from tests.fuzz.targets import TARGETS; print(*TARGETS[{name!r}].packages)"
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def _folder(name: str, *, fresh: bool = False) -> Path:
    """What is known of inputs so far, the seeds first; the seeds alone, if `fresh`."""
    from tests.fuzz.targets import TARGETS

    folder = KEPT / (f"{name}-fresh" if fresh else name)
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for place, seed in enumerate(TARGETS[name].seeds()):
        (folder / f"seed-{place}").write_bytes(seed)
    return folder


def mutated(chance: random.Random, seeds: list[bytes], longest: int) -> bytes:
    """One of the seeds with some bytes changed, put in, taken out, or from another."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(0, 6)):
        kind, at = chance.randint(0, 4), chance.randint(0, len(data))
        if kind == 0 and at:
            data[at - 1] = chance.randrange(256)
        elif kind == 1:
            data[at:at] = chance.randbytes(chance.randint(1, 4))
        elif kind == 2:
            del data[at : at + chance.randint(1, 8)]
        elif kind == 3:
            other = chance.choice(seeds)
            start = chance.randint(0, len(other))
            data[at:at] = other[start : start + chance.randint(1, 40)]
        else:
            data[at:at] = data[max(0, at - 8) : at]
    return bytes(data[:longest])


def _blindly(name: str, seconds: int, limit: int | None) -> int:
    from tests.fuzz import targets

    target = targets.TARGETS[name]
    seeds, runs = target.seeds(), 0
    chance = random.Random(None if limit is None else 1)
    end = time.monotonic() + seconds
    while time.monotonic() < end and runs != limit:
        data = mutated(chance, seeds, target.longest)
        try:
            targets.check(name, data)
        except Exception:  # noqa: BLE001 - whatever it is, that is what is looked for
            traceback.print_exc()
            _folder(name)
            path = KEPT / f"{name}-crash-{time.time_ns():x}"
            path.write_bytes(data)
            print(f"kept: {path.relative_to(ROOT)}")
            return 1
        runs += 1
    print(f"{runs:,} runs")
    return 0


def _replay(name: str, path: Path) -> int:
    from tests.fuzz import targets

    targets.check(name, path.read_bytes())
    print(f"{name} holds with {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
