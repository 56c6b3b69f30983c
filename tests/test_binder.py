"""binder/ builds an image from this checkout: what repo2docker reads is there, and agrees."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
BINDER = ROOT / "binder"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SCRIPTS = ("postBuild", "start")


def requirement_lines() -> list[str]:
    lines = (BINDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_requirements_are_the_projects_dependencies_and_the_local_model() -> None:
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["local"]
    assert {Requirement(line) for line in requirement_lines()} == set(map(Requirement, wanted))


def test_requirements_are_sorted_and_named_once() -> None:
    names = [Requirement(line).name for line in requirement_lines()]
    assert names == sorted(set(names))


def test_jupyterlab_is_left_to_the_base_image() -> None:
    names = {Requirement(line).name for line in requirement_lines()}
    assert names.isdisjoint({"jupyterlab", "notebook", "jupyter"})


def test_no_requirement_points_into_the_checkout() -> None:
    """One local path, and every commit would install every package again."""
    assert [line for line in requirement_lines() if line.startswith("-") or "/" in line] == []


def test_runtime_is_a_python_that_ornb_supports() -> None:
    name, _, version = (BINDER / "runtime.txt").read_text(encoding="utf-8").strip().partition("-")
    assert name == "python"
    assert version in SpecifierSet(PROJECT["requires-python"])


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_executable_here_and_in_git(name: str) -> None:
    assert os.access(BINDER / name, os.X_OK)
    listing = ["git", "ls-files", "--stage", f"binder/{name}"]
    tracked = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.stdout:  # nothing outside git, or before the first commit
        assert tracked.stdout.startswith("100755 ")


@pytest.mark.parametrize("path", sorted(BINDER.iterdir()), ids=lambda path: path.name)
def test_lines_end_as_linux_wants_them(path: Path) -> None:
    content = path.read_bytes()
    assert b"\r" not in content
    assert content.endswith(b"\n")


def test_binder_holds_nothing_that_repo2docker_would_prefer() -> None:
    """A Dockerfile or an environment.yml there would switch the other files off."""
    names = {path.name for path in BINDER.iterdir()}
    assert names == {"requirements.txt", "runtime.txt", *SCRIPTS}


def test_postbuild_installs_this_checkout_alone_and_fetches_the_model() -> None:
    script = (BINDER / "postBuild").read_text(encoding="utf-8")
    assert "pip install --no-cache-dir --no-deps --editable ." in script
    assert "python -m ornb.offline.model" in script


def test_start_runs_its_command_with_sleeping_model_threads() -> None:
    command = [BINDER / "start", "sh", "-c", 'echo "$OMP_WAIT_POLICY|$1|$$"', "sh", "two words"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    answer, _ = started.communicate(timeout=60)
    # The same process number: the script has replaced itself, so signals reach the server.
    assert answer == f"PASSIVE|two words|{started.pid}\n"


@pytest.mark.parametrize("page", ["README.md", "docs/binder.md"])
def test_the_badge_opens_the_tour(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.search(
        r"\(https://mybinder\.org/v2/gh/[\w.-]+/[\w.-]+/[\w.-]+\?urlpath=(\S+?)\)", text
    )
    assert found
    assert "/" not in found[1], "a slash in the address of a query is written %2F"
    place = unquote(found[1])
    assert place == "lab/tree/notebooks/01-start-here.ipynb"
    assert (ROOT / place.removeprefix("lab/tree/")).exists()
