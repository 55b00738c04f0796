"""The matrix that backend-neutral tests run over, and the account of what it left out."""

import importlib.util
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings

from asyncsched.stores.postgres import PostgresJobStore
from tests.postgres.server import PostgresServer, fresh_schema, running_server

_HAS_UVLOOP: Final = importlib.util.find_spec("uvloop") is not None
_BACKENDS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "asyncio": ("asyncio", {}),
    "asyncio+uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}

# The machine that runs the suite may be busy: how long an example takes says nothing here.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def _cell(name: str) -> Any:
    missing = name == "asyncio+uvloop" and not _HAS_UVLOOP
    marks = [pytest.mark.skip(reason="uvloop is not installed")] if missing else []
    return pytest.param(_BACKENDS[name], id=name, marks=marks)


@pytest.fixture(scope="module", params=[_cell(name) for name in _BACKENDS])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The loop that a test marked ``anyio`` runs on: every one of the matrix in turn."""
    backend: tuple[str, dict[str, Any]] = request.param
    return backend


@pytest.fixture(autouse=True)
def audible() -> None:
    """Have the library's loggers heard, whatever a test before has made of them."""
    logging.disable(logging.NOTSET)
    for name in ("asyncsched", "asyncsched.run"):
        logger = logging.getLogger(name)
        logger.disabled, logger.propagate = False, True
        logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def postgres_server() -> PostgresServer:
    """The PostgreSQL server of the session, with ``fsync`` on; nobody stops it."""
    return running_server()


@pytest.fixture
def postgres_schema(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of a schema that is not there yet, and will not be there afterwards."""
    schema = fresh_schema()
    yield schema
    postgres_server.execute(f'drop schema if exists "{schema}" cascade')


@pytest.fixture
def open_postgres(postgres_server: PostgresServer, postgres_schema: str) -> Callable[[], PostgresJobStore]:
    """Makes PostgreSQL stores over the same schema, which nobody else uses."""
    return lambda: PostgresJobStore(postgres_server.dsn(), schema=postgres_schema)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=list(_BACKENDS),
        default=None,
        help="run only this loop of the matrix; may be given several times",
    )


def _backend_of(item: pytest.Item) -> str | None:
    callspec: Any = getattr(item, "callspec", None)
    chosen = None if callspec is None else callspec.params.get("anyio_backend")
    return next((name for name, backend in _BACKENDS.items() if backend == chosen), None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--backend")
    if not wanted:
        return
    left_out = [item for item in items if _backend_of(item) not in {None, *wanted}]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the cells that did not run, by reason, so that none is missed in silence."""
    skipped: list[pytest.TestReport] = terminalreporter.stats.get("skipped", [])
    reasons = Counter(_reason(report) for report in skipped)
    terminalreporter.write_line(f"cells of the matrix that did not run: {reasons.total()}")
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"  {count} x {reason}")


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return re.sub(r"^Skipped: ", "", text)
