"""A store of each kind."""

from pathlib import Path

import pytest

from asyncsched.stores import MemoryJobStore, SQLiteJobStore
from asyncsched.stores.base import JobStore


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> JobStore:
    """A job store, in memory and in a file in turn."""
    if request.param == "memory":
        return MemoryJobStore()
    return SQLiteJobStore(tmp_path / "jobs.db", synchronous="OFF")
