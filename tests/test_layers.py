"""The direction of imports, lazy ones included: the contracts that stand in pyproject.toml."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import grimp
import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT: Final = Path(__file__).parent.parent


def test_imports_point_downwards(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])  # the linter adds the working directory to it
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_every_module_of_the_engine_has_its_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (contract for contract in project["tool"]["importlinter"]["contracts"] if contract["id"] == "layers")
    named = {module.strip(" ()") for line in layers["layers"] for module in line.split("|")}
    modules = {f"_engine.{path.stem}" for path in (ROOT / "asyncsched" / "_engine").glob("[!_]*.py")}
    assert modules - named == set(), "give each a line in [tool.importlinter] of pyproject.toml"
    assert {name for name in named if name.startswith("_engine.")} - modules == set(), "gone; take it out there"


def test_nothing_in_the_package_imports_its_public_face() -> None:
    graph = grimp.build_graph("asyncsched", cache_dir=None)
    assert graph.find_modules_that_directly_import("asyncsched") == set()


def test_importing_the_package_loads_no_driver_and_no_second_loop() -> None:
    unwanted = ("aiosqlite", "asyncpg", "trio", "uvloop")
    program = f"import sys, asyncsched; print([name for name in {unwanted} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
