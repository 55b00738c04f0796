"""Lives of a scheduler as asyncio programs lead them: native cancellations, loops that just end, fixtures."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
import pytest_asyncio

from asyncsched import Scheduler
from asyncsched.stores import JobStore
from asyncsched.stores.postgres import PostgresJobStore
from tests.faults.support import until


async def nothing() -> int:
    return 7


async def wait_for_ever() -> None:
    await asyncio.sleep(3600)


@pytest_asyncio.fixture
async def scheduler() -> AsyncGenerator[Scheduler]:
    async with Scheduler() as s:
        yield s


@pytest.mark.asyncio
async def test_a_generator_fixture_may_hold_it(scheduler: Scheduler) -> None:
    assert await (await scheduler.run_job(nothing)).wait() == 7


@pytest.mark.asyncio
async def test_a_task_cancelled_at_any_turn_of_its_start_and_exit(store: JobStore) -> None:

    async def live(s: Scheduler) -> None:
        async with s:
            await s.run_job(nothing)

    for turns in range(60):
        s = Scheduler(store)
        task = asyncio.create_task(live(s))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            async with asyncio.timeout(20):
                await task
        await until(lambda s=s: s.state == "stopped")  # type: ignore[misc]
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.xfail(reason="asyncpg leaves a future behind when it is cancelled while it asks for TLS")
@pytest.mark.asyncio
async def test_a_start_that_is_cancelled_leaves_nothing_to_complain_of(
    open_postgres: Callable[[], PostgresJobStore],
) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    for turns in range(60):
        task = asyncio.create_task(Scheduler(open_postgres()).__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            async with asyncio.timeout(20):
                await (await task).shutdown()
    gc.collect()
    assert complaints == []


@pytest.mark.asyncio
async def test_a_cancellation_during_the_exit_cuts_the_grace_short() -> None:
    s = Scheduler(shutdown_grace=None)

    async def live() -> None:
        async with s:
            await s.run_job(wait_for_ever)
            await until(lambda: s.health().running_runs == 1)

    task = asyncio.create_task(live())
    await until(lambda: s.state == "draining")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(20):
            await task
    assert s.state == "stopped"


def test_a_loop_that_ends_takes_the_scheduler_down(store: JobStore) -> None:
    s = Scheduler(store, shutdown_grace=None)

    async def start_and_leave() -> None:
        await s.__aenter__()
        await s.run_job(nothing)
        await asyncio.sleep(0.02)

    for _ in range(2):  # and it can be started again, on another loop
        asyncio.run(start_and_leave())
        assert s.state == "stopped"
    gc.collect()  # nothing complains that it was never awaited or closed
