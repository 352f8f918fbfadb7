"""The shape of the library: imports without circles, short files."""

from __future__ import annotations

import ast
import functools
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import oahier

ROOT = Path(oahier.__file__).parent
LONGEST, MEDIAN = 300, 113
"""Lines of a file."""


@functools.cache
def _files() -> dict[str, Path]:
    """Files by module name; that of a package is its ``__init__.py``."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("oahier", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node, without what is looked at by type checkers only."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


@functools.cache
def _imports(module: str, *, types: bool = False) -> set[str]:
    """Files of the library that a file imports, at its top or inside a function, or for type checkers too."""
    known, found = _files(), set()
    tree = _tree(known[module])
    for node in ast.walk(tree) if types else _statements(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {node.module} if inner - set(known) else set()
            found |= inner
    return (found & set(known)) - {module}


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, empty where there is none."""
    finished: set[str] = set()
    way: list[str] = []

    def visit(module: str) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in finished:
            return []
        way.append(module)
        for other in sorted(graph[module]):
            if found := visit(other):
                return found
        finished.add(way.pop())
        return []

    for module in sorted(graph):
        if found := visit(module):
            return found
    return []


def test_no_file_imports_itself_by_a_detour() -> None:
    """Imports inside functions count too; those for type checkers do not."""
    assert not _circle({module: _imports(module) for module in _files()})


def test_types_are_imported_by_a_detour_in_one_file_only() -> None:
    """``model.checks`` has the type of the model that it checks."""
    packages = {name for name, path in _files().items() if path.name == "__init__.py"}  # their names are lazy
    known = {*packages, "oahier.model.checks"}
    assert not _circle({module: _imports(module, types=module not in known) for module in _files()})


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}}
    assert _circle(graph) == ["b", "c", "b"]
    assert "oahier.specs.errors" in _imports("oahier")
    assert "oahier.model" not in _imports("oahier.model.checks"), "a type only"


def test_files_that_the_architecture_page_names_exist() -> None:
    text = (ROOT.parent / "docs" / "concepts" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_/]+\.py)`", text))
    assert "model/steps.py" in named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_files_are_short() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in _files().items()}
    assert [name for name, count in lines.items() if count > LONGEST] == []
    assert statistics.median(lines.values()) <= MEDIAN


QUESTIONS = re.compile(r"(What|Which|Where|Whether|How|Who|Why|When|Whatever|Whoever)\b")


def test_module_docstrings_are_noun_phrases() -> None:
    docstrings = {name: ast.get_docstring(_tree(path)) or "" for name, path in _files().items()}
    assert [name for name, docstring in docstrings.items() if not docstring] == []
    assert [name for name, docstring in docstrings.items() if QUESTIONS.match(docstring)] == []


LEVELS = {
    "callbacks.figures",
    "callbacks.severity_axis",
    "cli.data.split_command",
    "cli.predict",
    "data.datamodule",
    "data.manifest.columns",
    "data.manifest.manifest",
    "data.splitting.balance",
    "data.splitting.plans",
    "data.splitting.strata",
    "data.summary",
    "export.data_section",
    "intake.manifest_files",
    "intake.oaizib_cm_table",
    "intake.table_rows",
    "latent.training_knees",
    "phantom.generate",
    "prediction.inputs",
    "prediction.knee_pages",
    "prediction.one_knee",
    "prediction.training_embeddings",
    "study.axis_tables",
    "study.report.axes",
    "study.report.references",
    "testing.batches",
    "testing.callback",
    "testing.losses",
    "testing.model",
}
"""Files that name a level of the default hierarchy still; the list may only shrink."""


def test_levels_are_named_in_the_hierarchy_only() -> None:
    found = set()
    for name, path in _files().items():
        docstrings = {
            ast.get_docstring(node, clean=False) for node in ast.walk(_tree(path)) if _may_have_one(node)
        }
        literals = {
            node.value for node in ast.walk(_tree(path)) if isinstance(node, ast.Constant)
        } - docstrings
        if {"kl", "oa"} & {item for item in literals if isinstance(item, str)}:
            found.add(name.removeprefix("oahier."))
    assert found - LEVELS - {"hierarchy", "specs.old_paths"} == set()


def _may_have_one(node: ast.AST) -> bool:
    return isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
