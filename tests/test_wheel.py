"""What `pip install .` gives: the wheel has all of the package, and works without the checkout."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest
from lab import private_environment

ROOT = Path(__file__).parents[1]
WITHIN = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"

pytestmark = pytest.mark.slow


def run(*command: str | Path, folder: Path = ROOT, **options: Any) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("what builds the wheel is not installed: pip install hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for path in (ROOT / "ornb").rglob("*") if path.is_file())
    there = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert packed == there
    assert {Path(name).suffix for name in packed} >= {".py", ".js", ".css", ".typed"}


INSTALLED = """
import json, ornb
picker = ornb.ModelPicker(value="openai/gpt-4o-mini")
print(json.dumps({
    "file": ornb.__file__,
    "models": len(ornb.models()),
    "prices": len(ornb.price_history("openai/gpt-4o-mini")),
    "source": ornb.ask("Hello", "openai/gpt-4o-mini").source,
    "script": len(picker._esm),
    "chat": ornb.Chat(picker).ask("Hello").source,
}))
"""


@pytest.mark.skipif(os.name != "posix", reason="environments are laid out otherwise there")
def test_installed_without_the_checkout_it_answers_and_draws(wheel: Path, tmp_path: Path) -> None:
    """In a new environment, which borrows the dependencies of this one and no more."""
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    python = venv / "bin/python"
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel
    )
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (venv / WITHIN / "borrowed.pth").write_text("\n".join(sorted(borrowed)), encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()
    environment = private_environment(home)
    environment.pop("PYTHONPATH", None)  # it would bring the checkout
    said = run(python, "-c", INSTALLED, folder=home, env=environment)
    told = json.loads(said.splitlines()[-1])
    assert Path(told["file"]).is_relative_to(venv)
    assert (told["source"], told["chat"]) == ("canned", "canned")
    assert told["models"] > 300
    assert told["prices"] > 1
    assert told["script"] > 1000
