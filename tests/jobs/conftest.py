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


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, open_sqlite: OpenStore) -> OpenStore:
    """Makes stores over the same jobs, in memory and in a file in turn."""
    if request.param == "sqlite":
        return open_sqlite
    store = MemoryJobStore()
    return lambda: store


@pytest.fixture
def store(open_store: OpenStore) -> JobStore:
    """One store, in memory and in a file in turn."""
    return open_store()
