"""The slots of a node: never more runs than it may make, none leaked, no runner lost."""

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncsched import Scheduler, every
from asyncsched.stores import MemoryJobStore
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.review.support import WAIT_S, HeldClaims
from tests.scheduler.support import ledger, named, running, second

pytestmark = pytest.mark.anyio


async def nothing() -> None:
    """Return at once."""


@pytest.mark.parametrize("overlap", ["skip", "queue_one", "queue_all", "allow"])
async def test_catching_up_keeps_to_what_a_node_may_run(overlap: Any) -> None:
    clock, now, most = VirtualClock(), 0, 0

    async def work() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await clock.sleep(1)
        now -= 1

    async with running(clock, max_concurrent_runs=2) as (scheduler, _log):
        await scheduler.add_job(
            work, every(minutes=1, start=second(-300), end=second(0)), id="work", coalesce="all", max_instances=10,
            overlap=overlap, next_run_time=second(-240),
        )  # fmt: skip
        await clock.advance(seconds=10)
        assert most == 2
        assert await ledger(scheduler) == [f"{instant} succeeded" for instant in (-240, -180, -120, -60, 0)]


async def test_a_job_store_that_is_removed_during_a_claim_leaks_no_slot() -> None:
    held, begun = HeldClaims(MemoryJobStore()), 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        await anyio.sleep_forever()

    with anyio.fail_after(WAIT_S):
        async with Scheduler(stores={"other": held.as_store()}, shutdown_grace=None) as scheduler:
            await scheduler.add_job(work, store="other")
            await held.claimed.wait()
            async with anyio.create_task_group() as group:
                group.start_soon(scheduler.remove_jobstore, "other")
                await anyio.wait_all_tasks_blocked()
                held.answer.set()
            await anyio.wait_all_tasks_blocked()
            assert scheduler.health().unsettled_runs == 0
            assert begun == 0


async def test_a_cancellation_that_comes_when_its_job_is_over_stops_nobody(
    anyio_backend: tuple[str, dict[str, Any]],
) -> None:
    """A job may leave its task to a home-made timeout, and the task is a runner's."""
    if anyio_backend[0] == "trio":
        pytest.skip("trio's tasks cannot be cancelled by whoever has them")
    tasks: list[asyncio.Task[Any]] = []

    async def leave_task_behind() -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)

    with anyio.fail_after(WAIT_S):
        async with Scheduler(shutdown_grace=0) as scheduler:
            await scheduler.add_job(leave_task_behind)
            await scheduler.wait_until_idle()
            await anyio.wait_all_tasks_blocked()
            tasks[0].cancel()
            await anyio.wait_all_tasks_blocked()
            run = await scheduler.run_job(nothing)
            with anyio.fail_after(2):
                await run.wait()


@pytest.mark.parametrize("turns", range(12))
async def test_a_run_can_be_cancelled_at_any_moment_of_its_beginning(store: JobStore, turns: int) -> None:
    @named
    async def endless() -> None:
        await anyio.sleep_forever()

    with anyio.fail_after(WAIT_S):
        async with Scheduler(store, shutdown_grace=0) as scheduler:
            for _ in range(3):
                run = await scheduler.run_job(endless)
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                assert await scheduler.cancel_run(run.id)
                await scheduler.wait_until_idle()
                assert (await scheduler.get_runs())[0].state == "cancelled"
