"""Who goes first when not everything can start at once."""

import pytest

from asyncsched import JobSubmitted, at, every
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import named, running, second

pytestmark = pytest.mark.anyio


async def test_a_larger_priority_starts_earlier_then_what_was_due_earlier(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def short() -> None:
        await clock.sleep(1)

    async with running(clock, store, max_concurrent_runs=1, start_paused=True) as (scheduler, log):
        for job_id, priority, due in [
            ("low", -5, 1), ("late", 0, 30), ("early", 0, 10), ("high late", 7, 50), ("high early", 7, 20),
        ]:  # fmt: skip
            await scheduler.add_job(short, at(second(due)), id=job_id, priority=priority)
        await clock.advance(seconds=60)
        await scheduler.resume()
        await clock.advance(seconds=10)
        order = [event.job_id for event in log.of(JobSubmitted)]
        assert order == ["high early", "high late", "early", "late", "low"]


async def test_waiting_runs_go_by_priority_too(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def short() -> None:
        await clock.sleep(1)

    async with running(clock, store, max_concurrent_runs=1) as (scheduler, log):
        for number, priority in enumerate((0, 3, -3, 9)):
            await scheduler.add_job(short, every(days=1), id=f"{priority}", priority=priority)
            await clock.advance(seconds=0.001 * number)
        await scheduler.pause()
        for job_id in ("0", "3", "-3", "9"):
            await scheduler.run_job(job_id)
        await scheduler.resume()
        await clock.advance(seconds=10)
        assert [event.job_id for event in log.of(JobSubmitted)] == ["9", "3", "0", "-3"]


async def test_a_changed_priority_counts_for_the_next_start(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def short() -> None:
        await clock.sleep(1)

    async with running(clock, store, max_concurrent_runs=1, start_paused=True) as (scheduler, log):
        for job_id in ("a", "b", "c"):
            await scheduler.add_job(short, at(second(10)), id=job_id)
        await scheduler.modify_job("c", priority=1)
        await clock.advance(seconds=20)
        await scheduler.resume()
        await clock.advance(seconds=10)
        assert next(event.job_id for event in log.of(JobSubmitted)) == "c"


async def test_everything_starts_in_order_of_its_time_where_there_is_room(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def nothing() -> None: ...

    async with running(clock, store) as (scheduler, log):
        for due in (7, 3, 9, 1, 5):
            await scheduler.add_job(nothing, at(second(due)), id=f"{due}", priority=-due)
        await clock.advance(seconds=10)
        assert [event.job_id for event in log.of(JobSubmitted)] == ["1", "3", "5", "7", "9"]
