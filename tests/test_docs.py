"""Every Python block of the README and of the pages in docs/ is executed, on asyncio and on trio.

A block is a program of its own, run in an empty folder. The words after ``python`` on its fence say
otherwise where that cannot be:

* ``continued``: the block goes on where the one before it ended;
* ``forever``: the program has no end; it is cancelled after half a second;
* ``asyncio``: it needs asyncio, and is not run on trio;
* ``postgres``: it finds the URL of an empty schema in ``DATABASE_URL``;
* ``pytest``: it is a test module, and pytest runs it.
"""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio
import pytest

if TYPE_CHECKING:
    from tests.postgres.server import PostgresServer

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").rglob("*.md") if "adr" not in page.parts)]
FENCE: Final = re.compile(r"^```python(?P<words>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
WORDS: Final = frozenset({"continued", "forever", "asyncio", "postgres", "pytest"})
LIMIT_S: Final = 30.0
FOREVER_S: Final = 0.5
PYTEST_OPTIONS: Final = ("-o", "asyncio_default_fixture_loop_scope=function")  # unset, it is warned about


class Block(NamedTuple):
    page: str
    line: int
    words: frozenset[str]
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    code = ""
    for found in FENCE.finditer(text):
        words = frozenset(found["words"].split())
        code = code + "\n\n" + found["code"] if "continued" in words else found["code"]
        yield Block(page.relative_to(ROOT).as_posix(), text[: found.start()].count("\n") + 1, words, code)


BLOCKS: Final = [block for page in PAGES for block in blocks_of(page)]


def loops_of(block: Block) -> list[str]:
    if "anyio.run(main)" not in block.code or "asyncio" in block.words:
        return ["asyncio"]
    return ["asyncio", "trio"]


CASES: Final = [
    pytest.param(block, loop, id=f"{block}-{loop}")
    for block in BLOCKS
    if "pytest" not in block.words and "__main__" not in block.code
    for loop in loops_of(block)
]
PROGRAMS: Final = [pytest.param(block, id=str(block)) for block in BLOCKS if "__main__" in block.code]
TEST_MODULES: Final = [pytest.param(block, id=str(block)) for block in BLOCKS if "pytest" in block.words]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def database_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty schema for a block that asks for one."""
    if "postgres" not in request.node.callspec.params["block"].words:
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    schema: str = request.getfixturevalue("postgres_schema")
    monkeypatch.setenv("DATABASE_URL", f"{server.dsn()}?schema={schema}")


def bounded_run(
    loop: str, limit_s: float, *, may_go_on: bool
) -> Callable[[Callable[[], Coroutine[Any, Any, Any]]], None]:
    """What stands in for `anyio.run` in a block: that loop, and an end in sight."""

    async def bounded(main: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        with anyio.move_on_after(limit_s) as scope:
            await main()
        assert may_go_on or not scope.cancelled_caught, f"the block did not end within {limit_s} s"

    return lambda main: anyio.run(bounded, main, backend=loop)


@pytest.mark.usefixtures("database_url")
@pytest.mark.parametrize(("block", "loop"), CASES)
def test_block_runs(block: Block, loop: str, empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forever = "forever" in block.words
    name = f"block_{re.sub(r'[^a-z]', '_', block.page.lower())}_{block.line}_{loop}"
    file = empty_folder / f"{name}.py"
    code = block.code.replace("anyio.run(main)", "run_bounded(main)")
    code = code.replace('"docs.', f'"{name}.')  # names that a process knows only once
    file.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    vars(module)["run_bounded"] = bounded_run(loop, FOREVER_S if forever else LIMIT_S, may_go_on=forever)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)


def child(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", PROGRAMS)
def test_program_runs(block: Block, empty_folder: Path) -> None:
    (empty_folder / "program.py").write_text(block.code, encoding="utf-8")
    child(empty_folder, "program.py")


@pytest.mark.parametrize("block", TEST_MODULES)
def test_test_module_passes(block: Block, empty_folder: Path) -> None:
    (empty_folder / "test_block.py").write_text(block.code, encoding="utf-8")
    child(empty_folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", *PYTEST_OPTIONS, "test_block.py")


def test_there_are_blocks_on_every_guide_page() -> None:
    pages = {block.page for block in BLOCKS}
    guides = {page.relative_to(ROOT).as_posix() for page in PAGES if page.name != "README.md" or page.parent == ROOT}
    assert guides - pages == set()


def test_the_words_on_a_fence_are_known() -> None:
    assert {word for block in BLOCKS for word in block.words} <= WORDS
