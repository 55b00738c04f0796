"""The limits of size and shape, measured over the syntax tree of the package."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

import pytest

ROOT: Final = Path(__file__).parent.parent
PACKAGE: Final = ROOT / "asyncsched"
FILES: Final = sorted(PACKAGE.rglob("*.py"))

FILE_LINES: Final = 400
FUNCTION_LINES: Final = 60
CLASS_LINES: Final = 300
PUBLIC_METHODS: Final = 15
NESTING: Final = 3
FACADE_METHOD_LINES: Final = 10

FORBIDDEN_NAMES: Final = frozenset({"utils", "util", "helpers", "helper", "common", "misc"})


# The facade has as many methods as the public API lists, each of which only hands on. It is written in parts.
FACADE: Final = "Scheduler"
FACADE_PARTS: Final = "Calls"
STORE_PORT: Final = (PACKAGE / "stores" / "base.py", ("LedgerStore", "JobStore"))

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
DEEPENING: Final = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)


def body_of(function: Function | ast.ClassDef) -> list[ast.stmt]:
    """The statements without the docstring."""
    first = function.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return function.body[1:] if is_docstring else function.body


def line_count(statements: list[ast.stmt]) -> int:
    return (statements[-1].end_lineno or 0) - statements[0].lineno + 1 if statements else 0


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def classes(tree: ast.AST) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def public_methods(node: ast.ClassDef) -> list[Function]:
    """Those a user can call; overloads of one method count once, properties are no methods."""
    found = {
        child.name: child
        for child in node.body
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        and not child.name.startswith("_")
        and not is_property(child)
    }
    return list(found.values())


def is_property(method: Function) -> bool:
    return any(isinstance(mark, ast.Name) and mark.id == "property" for mark in method.decorator_list)


def is_elif(parent: ast.AST, child: ast.AST) -> bool:
    return isinstance(parent, ast.If) and isinstance(child, ast.If) and parent.orelse == [child]


def depth(node: ast.AST) -> int:
    """How deep the deepest statement of a function stands; a function within starts anew."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        step = isinstance(child, DEEPENING) and not is_elif(node, child)
        deepest = max(deepest, step + depth(child))
    return deepest


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.fixture(params=FILES, ids=name)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_a_file_can_be_read_in_one_go(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES


def test_a_module_is_named_after_a_concept(path: Path) -> None:
    assert FORBIDDEN_NAMES.isdisjoint(path.relative_to(PACKAGE).with_suffix("").parts)


def test_functions_are_short(tree: ast.Module) -> None:
    sizes = {node.name: line_count(body_of(node)) for node in functions(tree)}
    assert {found: size for found, size in sizes.items() if size > FUNCTION_LINES} == {}


def test_nesting_is_shallow(tree: ast.Module) -> None:
    depths = {f"{node.name}:{node.lineno}": depth(node) for node in functions(tree)}
    assert {found: deep for found, deep in depths.items() if deep > NESTING} == {}


def test_classes_are_small(tree: ast.Module) -> None:
    sizes = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in classes(tree)}
    assert {found: size for found, size in sizes.items() if size > CLASS_LINES} == {}


def test_classes_have_few_public_methods(tree: ast.Module) -> None:
    counts = {
        node.name: len(own_methods(node)) for node in classes(tree) if not is_protocol(node) and not is_facade(node)
    }
    assert {found: count for found, count in counts.items() if count > PUBLIC_METHODS} == {}


def own_methods(node: ast.ClassDef) -> set[str]:
    """The public methods; of a job store those that it has beside what the protocol asks for."""
    methods = {method.name for method in public_methods(node)}
    return methods - methods_of_a_store() if node.name.endswith(("JobStore", "FaultyStore")) else methods


def methods_of_a_store() -> set[str]:
    path, ports = STORE_PORT
    found = [node for node in classes(ast.parse(path.read_text(encoding="utf-8"))) if node.name in ports]
    assert len(found) == len(ports)
    return {method.name for node in found for method in public_methods(node)}


def is_facade(node: ast.ClassDef) -> bool:
    return node.name == FACADE or node.name.endswith(FACADE_PARTS)


def is_protocol(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)


def test_methods_of_the_facade_only_hand_on() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in FILES]
    facade = [node for tree in trees for node in classes(tree) if is_facade(node)]
    assert FACADE in {node.name for node in facade}
    sizes = {method.name: statement_count(method) for node in facade for method in public_methods(node)}
    assert {method: size for method, size in sizes.items() if size > FACADE_METHOD_LINES} == {}


def statement_count(method: Function) -> int:
    """Statements, nested ones too: a call that is written over many lines is one."""
    return sum(isinstance(node, ast.stmt) for statement in body_of(method) for node in ast.walk(statement))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n    return 1", 0),
        ("def f():\n    if a:\n        pass\n    elif b:\n        pass\n    elif c:\n        pass", 1),
        (
            "def f():\n    for a in b:\n        with c:\n            try:\n                pass\n            finally:\n                pass",
            3,
        ),
        ("def f():\n    while a:\n        def g():\n            if b:\n                pass", 1),
        ("def f():\n    match a:\n        case 1:\n            if b:\n                pass", 2),
    ],
)
def test_depth_is_counted_as_a_reader_does(source: str, expected: int) -> None:
    (function,) = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    assert depth(function) == expected
