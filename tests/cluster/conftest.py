"""The stores that nodes share, each in turn."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.postgres.server import fresh_schema, running_server


def _sqlite(directory: Path) -> str:
    return f"sqlite:///{directory}/jobs.db?synchronous=NORMAL"


def _postgres(_directory: Path) -> str:
    return running_server().dsn(schema=fresh_schema())


STORES: Final[dict[str, Callable[[Path], str]]] = {
    "sqlite": _sqlite,
    "postgres": _postgres,
}
"""What makes the URL of a fresh store, by the name of its kind."""


@pytest.fixture(params=list(STORES))
def cluster_store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh store, for any number of schedulers, in this process and in others."""
    kind: str = request.param
    return STORES[kind](tmp_path)
