"""Fixtures for pytest: ``pytest_plugins = ["asyncsched.testing.plugin"]`` in the topmost ``conftest.py``.

They are built without a loop, so the same ones serve tests that the anyio plugin drives, on any
loop, and tests that pytest-asyncio drives, in either mode. A test starts the scheduler itself, with
``async with scheduler:``, in its own task and on its own loop.
"""

from collections.abc import Iterator

import pytest

from asyncsched.scheduler import Scheduler
from asyncsched.testing.clock import VirtualClock
from asyncsched.testing.recorder import EventLog, recorded

__all__ = ["scheduler", "scheduler_events", "virtual_clock"]


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """A clock that stands at the first instant of 2026 (UTC) until the test advances it."""
    return VirtualClock()


@pytest.fixture
def scheduler(virtual_clock: VirtualClock) -> Scheduler:
    """A scheduler in memory by that clock, in UTC, which gives running jobs no grace; not started."""
    return Scheduler(clock=virtual_clock, timezone="UTC", shutdown_grace=0)


@pytest.fixture
def scheduler_events(scheduler: Scheduler) -> Iterator[EventLog]:
    """The log of everything that the fixture ``scheduler`` publishes during the test, its start included."""
    with recorded(scheduler) as log:
        yield log
