"""What tests through the public scheduler share: a store of each kind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from asyncsched.stores import MemoryJobStore, SQLiteJobStore
from asyncsched.stores.base import JobStore


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], JobStore]:
    """Makes job stores over the same jobs: the second one finds what the first one left."""
    if request.param == "postgres":
        open_postgres: Callable[[], JobStore] = request.getfixturevalue("open_postgres")
        return open_postgres
    if request.param == "sqlite":
        return lambda: SQLiteJobStore(tmp_path / "jobs.db", synchronous="OFF")
    store = MemoryJobStore()
    return lambda: store


@pytest.fixture
def store(open_store: Callable[[], JobStore]) -> JobStore:
    """A job store, in memory, in a file and on a server in turn."""
    return open_store()
