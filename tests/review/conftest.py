"""A store of each kind."""

from pathlib import Path

import pytest

from asyncsched.stores import MemoryJobStore, SQLiteJobStore
from asyncsched.stores.base import JobStore


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> JobStore:
    """A job store, in memory, in a file and on a server in turn."""
    if request.param == "memory":
        return MemoryJobStore()
    if request.param == "postgres":
        opened: JobStore = request.getfixturevalue("open_postgres")()
        return opened
    return SQLiteJobStore(tmp_path / "jobs.db", synchronous="OFF")
