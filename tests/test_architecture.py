"""The shape of the code: sizes, promises and what the planner imports."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from grimp import build_graph

from tests.conftest import ROOT

MODULES = sorted(path for folder in ("llmops", "demo") for path in (ROOT / folder).rglob("*.py"))
MODULE_LINES, FUNCTION_LINES, PARAMETERS = 350, 40, 6
HEAVY = {
    "ray",
    "torch",
    "transformers",
    "lm_eval",
    "peft",
    "trl",
    "datasets",
    "accelerate",
    "aiohttp",
    "uvicorn",
    "numpy",
}
"""What the extras bring; the planner imports none of it."""
SLOW = HEAVY | {"asyncio", "fsspec", "jinja2", "jsonschema", "pygit2"}
"""What takes more than about 5 ms to import, and what a plan of nothing does not need."""
EFFECTS = {"pygit2", "subprocess", "socket", "shutil", "tempfile", "signal", "fcntl"}
"""A module that imports one of these touches the world and says so."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


@pytest.fixture(params=MODULES, ids=name, scope="module")
def module(request: pytest.FixtureRequest) -> Path:
    path = request.param
    assert isinstance(path, Path)
    return path


def test_modules_are_short(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= MODULE_LINES


def test_functions_are_short_and_take_few_arguments(module: Path) -> None:
    for function in functions(ast.parse(module.read_text())):
        lines = (function.end_lineno or 0) - function.lineno + 1
        arguments = function.args
        names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        assert lines <= FUNCTION_LINES, f"{function.name} has {lines} lines"
        assert len([one for one in names if one not in ("self", "cls")]) <= PARAMETERS, function.name


def test_the_docstring_is_a_map_line_and_a_promise(module: Path) -> None:
    text = ast.get_docstring(ast.parse(module.read_text())) or ""
    if module.name == "__init__.py" and len(text.splitlines()) == 1:
        return  # a folder of plug-ins says what lies in it
    first, last = text.splitlines()[0], text.rpartition("\n\n")[2]

    assert first.endswith((".", "?", ":")), f"map line: {first!r}"
    assert last == "Pure." or last.startswith("Effects: "), f"promise: {last!r}"
    assert last.endswith(".")


def test_a_pure_module_imports_nothing_that_touches_the_world(module: Path) -> None:
    tree = ast.parse(module.read_text())
    if not (ast.get_docstring(tree) or "").endswith("\n\nPure."):
        return
    imported = {word.partition(".")[0] for word in imports(tree)}

    assert not imported & (EFFECTS | {"os", "time", "random"}), name(module)


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_no_import_hides_in_a_function(module: Path) -> None:
    for function in functions(ast.parse(module.read_text())):
        hidden = [node for node in ast.walk(function) if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert not hidden, f"{function.name} imports inside"


def test_an_import_by_name_keeps_to_the_layers() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    ranks = {folder.strip(): rank for rank, layer in enumerate(layers) for folder in layer.split("|")}

    for importer, imported in imports_by_name():
        above, below = (".".join(name.split(".")[:2]) for name in (importer, imported))
        is_below = above == below or ranks.get(above, -1) < ranks.get(below, len(layers))
        assert is_below, f"{importer} imports {imported}, which is not below it"


def test_an_import_by_name_closes_no_cycle() -> None:
    graph = build_graph("llmops")
    edges = imports_by_name()
    for importer, imported in edges:
        graph.add_import(importer=importer, imported=imported)

    for importer, imported in edges:
        chain = graph.find_shortest_chain(importer=imported, imported=importer)
        assert chain is None, f"{importer} -> {' -> '.join(chain or ())}"


def imports_by_name() -> list[tuple[str, str]]:
    """Find the imports of our own modules through importlib: importer and imported, every one where a name is made."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / "llmops").rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    edges: list[tuple[str, str]] = []
    for importer, path in modules.items():
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call) and node.args]
        names = [text(call.args[0]) for call in calls if ast.unparse(call.func).endswith("import_module")]
        for name in names:
            every = [one for one in modules if name.endswith(".") and one.startswith(name)]
            edges += [(importer, one) for one in every or [name] if one.startswith("llmops.")]
    return edges


def text(node: ast.expr) -> str:
    """What stands in a literal, or at the beginning of an f-string."""
    first = node.values[0] if isinstance(node, ast.JoinedStr) else node
    return str(first.value) if isinstance(first, ast.Constant) else ""


def test_only_the_command_line_prints_and_exits(module: Path) -> None:
    if "cli" in module.parts or "demo" in module.parts or module.name == "__main__.py":
        return
    calls = [node.func for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)]

    assert not [call for call in calls if isinstance(call, ast.Name) and call.id in ("print", "exit", "input")]


def test_nothing_is_called_by_an_empty_word() -> None:
    words = {path.stem for path in MODULES}

    assert not words & {"utils", "util", "helpers", "helper", "common_utils", "misc", "manager", "base"}


@pytest.mark.parametrize("command", [["--version"], ["check"], ["plan"], ["check", "--help"]])
def test_the_planner_imports_no_heavy_library(command: list[str], repo_folder: Path) -> None:
    assert imported(command, repo_folder) & HEAVY == set()


@pytest.mark.parametrize("command", ["check", "plan"])
def test_where_nothing_changed_the_start_up_path_is_clean(command: str, repo_folder: Path) -> None:
    imported([command], repo_folder)  # fills the index

    assert imported([command], repo_folder) & SLOW == set()


@pytest.mark.parametrize("command", ["check", "plan"])
def test_where_nothing_is_new_no_kind_is_looked_at(command: str, repo_folder: Path) -> None:
    imported([command], repo_folder)  # fills the index

    assert {name for name in modules([command], repo_folder) if name.startswith("llmops.kinds.")} == set()


@pytest.mark.parametrize("command", ["check", "plan"])
def test_a_plan_knows_of_no_forge(command: str, repo_folder: Path) -> None:
    assert not [name for name in modules([command], repo_folder) if name.startswith("llmops.forge")]


def imported(command: list[str], folder: Path) -> set[str]:
    """Run a command and give the packages that it imported, those of our own and of others."""
    return {name.partition(".")[0] for name in modules(command, folder)}


def modules(command: list[str], folder: Path) -> set[str]:
    """Run a command and give the modules that it imported."""
    script = [sys.executable, "-X", "importtime", "-c", "from llmops.__main__ import run; run()"]
    done = subprocess.run([*script, *command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 8), done.stderr[-500:]
    found = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "msgspec" in found
    return found


@pytest.fixture
def repo_folder(tmp_path: Path) -> Path:
    """A repository with one spec."""
    from tests.repos import Repo
    from tests.trees import spec

    made = Repo(tmp_path)
    settings = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {}\n"
    made.commit(
        {
            "llmops.yaml": settings,
            "specs/d.yaml": spec("Dataset", "d", "format: text\nsources: [{path: kb/a.txt}]"),
            "kb/a.txt": "a\n",
        },
        "first",
    )
    subprocess.run([sys.executable, "-m", "llmops", "init"], cwd=made.folder, check=True, capture_output=True)
    return made.folder


def test_every_dependency_has_an_exact_version_in_the_constraints() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {normal(one) for one in wanted}
    pinned = {normal(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}

    assert names <= pinned


def normal(requirement: str) -> str:
    """Return a requirement's name as PyPI spells it (PEP 503)."""
    word = requirement
    for mark in ("[", ">", "=", "<", ";", " "):
        word = word.partition(mark)[0]
    return word.lower().replace("_", "-").replace(".", "-")
