"""`Scheduler.health`: asked at any time, and from any thread."""

import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import anyio
import pytest

from asyncsched import Scheduler, every
from asyncsched.executors import AsyncExecutor, ThreadExecutor
from asyncsched.stores import JobStore, MemoryJobStore
from tests.scheduler.support import named

pytestmark = pytest.mark.anyio

FAR = datetime(2200, 1, 1, tzinfo=UTC)


@named
async def job() -> None: ...


async def test_a_scheduler_that_has_stopped_says_so_whatever_is_due(open_store: Callable[[], JobStore]) -> None:
    s = Scheduler(open_store())
    async with s:
        await s.add_job(job, every(hours=1, start=FAR), id="far")
        with anyio.fail_after(10):
            while s.health().stores["default"].next_wakeup != FAR:
                await anyio.lowlevel.checkpoint()
        assert s.health().ok
    health = s.health()
    assert (health.state, health.ok, health.oldest_due) == ("stopped", False, None)
    assert health.stores["default"].next_wakeup is None


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what other threads bring about."""
    with anyio.fail_after(10):
        while not is_so():
            await anyio.lowlevel.checkpoint()


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Have threads take turns as often as the interpreter can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hasty_threads")
async def test_other_threads_may_ask_while_things_change() -> None:
    begun: list[int] = []
    release, stop = threading.Event(), threading.Event()
    asked: list[object] = []

    def hold() -> None:
        begun.append(1)
        release.wait(30)

    def ask() -> None:
        while not stop.is_set():
            try:
                asked.append(s.health().ok)
            except BaseException as error:
                asked.append(error)

    thread = threading.Thread(target=ask)
    async with Scheduler(executors={"thread": ThreadExecutor(30)}, shutdown_grace=0) as s:
        thread.start()
        try:
            for number in range(20):
                await s.add_jobstore(MemoryJobStore(), f"store {number}")
                await s.add_executor(AsyncExecutor(), f"executor {number}")
                run = await s.run_job(hold)
                await until(lambda count=number + 1: len(begun) == count)  # type: ignore[misc]
                await run.cancel()
                if number % 2:
                    await s.remove_jobstore(f"store {number}")
            await until(lambda: s.health().abandoned_threads == 20)
            release.set()
            await until(lambda: s.health().abandoned_threads == 0)
        finally:
            release.set()
            stop.set()
            thread.join()
    assert set(asked) == {True}
