"""Measure the house that the package is: its size, its rooms, and what stands on what.

    python tools/house.py

A room is one folder or file of `ornb/`; a floor imports only from those below it.
`tests/test_project.py` holds every import to that.
"""

from __future__ import annotations

import ast
import io
import json
import pkgutil
import re
import subprocess
import sys
import tokenize
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ornb"

FLOORS = (
    ("errors", "columns"),
    ("api", "offline", "pricing"),
    ("catalog", "ledger", "recording"),
    ("messages",),
    ("session", "text"),
    ("runs", "plots", "notebook"),
    ("__init__",),
)
"""From the ground up: the rooms, each a folder or file of `ornb/`."""

SELF_DISPLAY = {
    ("api.reply", "text.rendering"),
    ("ledger.tracker", "notebook.panel"),
}
"""The exception: a value that shows itself asks, at that moment, how to be shown."""

FLOOR = {room: floor for floor, rooms in enumerate(FLOORS, 1) for room in rooms}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
Function = ast.FunctionDef | ast.AsyncFunctionDef


# ---- imports -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Import:
    """One name that a module of ours imports."""

    importer: str
    """Dotted name below `ornb`, such as `widgets.base`; `__init__` is the package's own."""
    imported: str
    """The same for our modules, the plain name for others."""
    is_ours: bool
    at_load: bool
    """False inside a function."""
    for_types: bool
    """For the type checker alone."""
    line: int

    def __str__(self) -> str:
        return f"ornb.{self.importer} line {self.line} imports {self.imported}"


def place_of(module: str) -> tuple[int, str]:
    """The floor and the room of a module; KeyError if it has none."""
    room = module.partition(".")[0]
    return FLOOR[room], room


def _imports_of(module: str) -> list[Import]:
    found: list[Import] = []

    def visit(node: ast.AST, *, at_load: bool, for_types: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                visit(child, at_load=False, for_types=True)
            for child in node.orelse:
                visit(child, at_load=at_load, for_types=for_types)
            return
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, is_ours in _imported(module, node):
                found.append(Import(module, name, is_ours, at_load, for_types, node.lineno))
        inside = isinstance(node, Function)
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr):  # most of a tree, and no import is in one
                visit(child, at_load=at_load and not inside, for_types=for_types)

    visit(TREES[module], at_load=True, for_types=False)
    return found


def _imported(module: str, node: ast.Import | ast.ImportFrom) -> list[tuple[str, bool]]:
    if isinstance(node, ast.Import):
        targets = [alias.name for alias in node.names]
    elif node.level:
        is_package = MODULES[module].name == "__init__.py"
        parts = [] if module == "__init__" else module.split(".")
        parents = parts[: len(parts) - node.level + is_package] if parts else []
        base = ".".join(["ornb", *parents, *([node.module] if node.module else [])])
        targets = [f"{base}.{alias.name}" for alias in node.names]
    else:
        targets = [f"{node.module}.{alias.name}" for alias in node.names]
    return [_resolved(target) for target in targets]


def _resolved(target: str) -> tuple[str, bool]:
    """The module behind a dotted name, which may end in a name inside that module."""
    top, _, rest = target.partition(".")
    if top != "ornb":
        return top, False
    while rest and rest not in MODULES:
        rest = rest.rpartition(".")[0]
    return rest or "__init__", True


IMPORTS = [found for module in MODULES for found in _imports_of(module)]


def stacked(graph: dict[str, set[str]]) -> tuple[int, set[str]]:
    """How many floors a graph of imports has, and what of it is in circles."""
    left = {name: needs - {name} for name, needs in graph.items()}
    floors = 0
    while ground := {name for name, needs in left.items() if not needs & set(left)}:
        floors += 1
        left = {name: needs for name, needs in left.items() if name not in ground}
    while roof := set(left) - set().union(*left.values()):
        left = {name: needs for name, needs in left.items() if name not in roof}
    return floors, set(left)


# ---- docstrings --------------------------------------------------------------------------------

DIRECTIVE = re.compile(r"^\.\. auto(?:function|class|module):: (\S+)((?:\n   :.*)*)", re.MULTILINE)


@dataclass(frozen=True)
class Public:
    """A function, method or class, and where it is."""

    name: str
    node: Function | ast.ClassDef

    @property
    def docstring(self) -> str:
        """What it says of itself."""
        return ast.get_docstring(self.node) or ""

    @property
    def sections(self) -> set[str]:
        """Titles of the docstring's sections."""
        return {
            title
            for title, underline in pairwise(self.docstring.splitlines())
            if underline and set(underline) == {"-"}
        }

    @property
    def decorators(self) -> set[str]:
        """As they are written."""
        return {ast.unparse(decorator) for decorator in self.node.decorator_list}


def public_names() -> list[Public]:
    """Functions, methods and classes without an underscore."""
    found: list[Public] = []

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                found.append(Public(f"{prefix}.{node.name}", node))
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}.{node.name}")

    for module, tree in TREES.items():
        if not any(part.startswith("_") for part in module.split(".")):
            visit(tree.body, f"ornb.{module}")
    # Overloads and setters are documented where the name itself is.
    again = re.compile(r"(typing\.)?overload|.*\.setter")
    return [each for each in found if not any(map(again.fullmatch, each.decorators))]


def published_names() -> set[str]:
    """What the reference lists, by the modules that define it; "a.B." stands for all in a B."""
    found = set()
    for page in (ROOT / "docs" / "api").glob("*.md"):
        for name, options in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            it = pkgutil.resolve_name(name if name.startswith("ornb.") else f"ornb:{name}")
            listed = [it]
            chosen = re.findall(r":members: (.*)", options)
            if isinstance(it, ModuleType):
                members = (
                    chosen[0].split(",")
                    if chosen
                    else {*dir(it)} - {*re.split(r"\W+", options.partition("exclude-")[2])}
                )
                listed = [getattr(it, member.strip()) for member in members]
            names = {f"{one.__module__}.{one.__qualname__}" for one in listed if callable(one)}
            inside = {""} if isinstance(it, ModuleType) or not chosen else chosen[0].split(", ")
            found |= names | {f"{name}.{each}" for name in names for each in inside}
    return found


# ---- the table ---------------------------------------------------------------------------------

PASSED = """
import json, sys, threading, ornb
ornb.ask("Hi")
passed = set()
def note(frame, event, _):
    if event == "call":
        passed.add(frame.f_globals.get("__name__") or "")
threading.setprofile(note); sys.setprofile(note)
ornb.ask("Hi")
sys.setprofile(None)
print(json.dumps(sorted(name for name in passed if name.startswith("ornb."))))
"""
"""The modules whose code runs in one call of a kernel that has made one already."""

CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*|__\w+__")
MAKES_NO_STATE = re.compile(
    r"_of_today|re\.compile|\S*(itemgetter|TypeVar|Context|Lock|frozenset|tuple|Path|Table)$"
)


def _docstring_lines(tree: ast.Module) -> set[int]:
    texts = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )
    return {line for node in texts for line in range(node.lineno, (node.end_lineno or 0) + 1)}


def _code_lines(module: str) -> set[int]:
    text = MODULES[module].read_text(encoding="utf-8")
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in nothing and token.type != tokenize.ENDMARKER:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return lines - _docstring_lines(TREES[module])


def with_state() -> dict[str, list[str]]:
    """Modules with names that hold what the process has done: rebound, or made to be changed."""
    plain = {
        node.name
        for tree in TREES.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.decorator_list and not node.bases
    }
    found: dict[str, list[str]] = {}
    for module, tree in TREES.items():
        names = {
            name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names
        }
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                made = node.value
                call = ast.unparse(made.func) if isinstance(made, ast.Call) else ""
                changes = isinstance(made, ast.Call | ast.Dict | ast.List | ast.Set)
                if isinstance(target, ast.Name) and changes and not MAKES_NO_STATE.match(call):
                    names |= (
                        {target.id} if not CONSTANT.fullmatch(target.id) or call in plain else set()
                    )
        if names:
            found[module] = sorted(names)
    return found


def _longest_python() -> tuple[int, str, str]:
    return max(
        (
            len({*range(node.lineno, (node.end_lineno or 0) + 1)} & _code_of[module]),
            "60",
            f"{module}.{node.name}",
        )
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, Function)
    )


def javascript_functions() -> list[tuple[int, str]]:
    """Lines and name of each function of the widgets' scripts: named, method, or arrow with a name.

    They end, as they are laid out, at the next brace that stands where they began.
    """
    begins = re.compile(
        r"( *)(?:export |default |async )*(?:function (\w+)|const (\w+) = .*=> \{$"
        r"|(?!(?:if|for|while|switch)\b)(\w+)\(.*\) \{$)"
    )
    found = []
    for path in sorted(PACKAGE.rglob("*.js")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for at, line in enumerate(lines):
            if (begin := begins.match(line)) and not line.endswith("}"):
                end = next(n for n in range(at, len(lines)) if lines[n].startswith(begin[1] + "}"))
                name = begin[2] or begin[3] or begin[4]
                found.append((end - at + 1, f"{path.name} {name}"))
    return found


def _longest_javascript() -> tuple[int, str, str]:
    lines, name = max(javascript_functions())
    return lines, "80", name


def _private_accesses() -> int:
    """What tests touch that begins with an underscore, and is no hook of IPython's."""
    private = re.compile(r"_[a-zA-Z]\w*(?<!_)")
    found = 0
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in {"self", "cls"}:
                found += bool(private.fullmatch(node.attr))
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ornb"):
                found += sum(bool(private.fullmatch(alias.name)) for alias in node.names)
    return found


_code_of: dict[str, set[int]] = {}


def main() -> None:
    """Print the figures, and what they are made of."""
    _code_of.update({module: _code_lines(module) for module in MODULES})
    total = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES.values())
    published = published_names()
    inside = [
        each
        for each in public_names()
        if each.name not in published and each.name.rpartition(".")[0] + "." not in published
    ]
    documented = sum(len(each.docstring.splitlines()) for each in inside)
    graph: dict[str, set[str]] = {module.partition(".")[0]: set() for module in MODULES}
    for each in IMPORTS:
        if each.is_ours and (each.importer, each.imported) not in SELF_DISPLAY:
            graph[each.importer.partition(".")[0]].add(each.imported.partition(".")[0])
    floors, circles = stacked(graph)
    done = subprocess.run(
        [sys.executable, "-c", PASSED], capture_output=True, text=True, check=True, cwd=ROOT
    )
    passed = json.loads(done.stdout.splitlines()[-1])
    state = with_state()
    code = sum(map(len, _code_of.values()))
    said = f"{len(inside)} names"
    holders = ", ".join(f"{module} ({', '.join(names)})" for module, names in state.items())
    rows = (
        ("", "today", "bar", ""),
        ("lines of Python, all / code", f"{total:,} / {code:,}", "28,000 / 18,000", ""),
        ("docstring lines inside, a name", f"{documented / len(inside):.1f}", "3", said),
        ("rooms / floors", f"{len(graph) - 1} / {floors - 1}", "14 / 6", ""),
        ("rooms in circles", len(circles), "0", ", ".join(sorted(circles))),
        ("modules that ornb.ask passes", len(passed), "14", ", ".join(n[5:] for n in passed)),
        ("modules with state", len(state), "3", holders),
        ("longest function, Python", *_longest_python()),
        ("longest function, JavaScript", *_longest_javascript()),
        ("private accesses in tests", _private_accesses(), "100", ""),
    )
    for what, figure, bar, of in rows:
        print(f"{what:32}{figure:>16}{bar:>17}  {of}".rstrip())


if __name__ == "__main__":
    main()
