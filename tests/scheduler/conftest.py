"""What tests through the public scheduler share: a store of each kind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from asyncsched.stores import MemoryJobStore, SQLiteJobStore
from asyncsched.stores.base import JobStore


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], JobStore]:
    """Makes job stores over the same jobs: the second one finds what the first one left."""
    if request.param == "memory":
        store = MemoryJobStore()
        return lambda: store
    return lambda: SQLiteJobStore(tmp_path / "jobs.db", synchronous="OFF")


@pytest.fixture
def store(open_store: Callable[[], JobStore]) -> JobStore:
    """A job store, in memory and in a file in turn."""
    return open_store()
