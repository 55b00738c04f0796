"""What the tests of jobs and their definitions share: stores of each kind, and a clock that stands still."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from asyncsched.stores import JobStore, MemoryJobStore, SQLiteJobStore
from asyncsched.testing import VirtualClock

OpenStore: TypeAlias = Callable[[], JobStore]


@pytest.fixture
def clock() -> VirtualClock:
    """Virtual time, beginning on 2026-01-01 at midnight UTC."""
    return VirtualClock()


@pytest.fixture
def open_sqlite(tmp_path: Path) -> OpenStore:
    """Makes SQLite stores over the same file."""
    return lambda: SQLiteJobStore(tmp_path / "jobs.db", synchronous="OFF")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    """Makes stores over the same jobs, in memory, in a file and on a server in turn."""
    if request.param != "memory":
        maker: OpenStore = request.getfixturevalue(f"open_{request.param}")
        return maker
    store = MemoryJobStore()
    return lambda: store


@pytest.fixture
def store(open_store: OpenStore) -> JobStore:
    """One store, in memory, in a file and on a server in turn."""
    return open_store()
