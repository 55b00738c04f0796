"""A store that is away holds up nothing but itself, definitions included."""

import anyio
import pytest

from asyncsched import JobNotFoundError, Scheduler, StoreUnavailableError, every
from asyncsched.stores import MemoryJobStore
from asyncsched.testing import FaultyStore

pytestmark = pytest.mark.anyio


async def work() -> None: ...


async def test_jobs_of_other_stores_are_at_hand_while_one_is_away() -> None:
    away = FaultyStore(MemoryJobStore())
    async with Scheduler(away, stores={"sound": MemoryJobStore()}) as scheduler:
        await scheduler.add_job(work, every(hours=1), id="there")
        away.break_down()
        await scheduler.add_job(work, every(hours=1), id="here", store="sound")
        assert (await scheduler.get_job("here")).store == "sound"
        await scheduler.modify_job("here", name="changed")
        await scheduler.pause_job("here")
        await scheduler.remove_job("here")
        with pytest.raises(StoreUnavailableError):
            await scheduler.get_job("there")
        away.heal()
        with pytest.raises(JobNotFoundError):
            await scheduler.get_job("here")
        assert (await scheduler.get_job("there")).id == "there"


async def test_waiting_runs_start_as_soon_as_more_are_allowed() -> None:
    gate, first, second = anyio.Event(), anyio.Event(), anyio.Event()
    begun = iter([first, second])

    async def wait() -> None:
        next(begun).set()
        await gate.wait()

    async with Scheduler() as scheduler:
        job = await scheduler.add_job(wait, every(hours=1), id="job")
        runs = [await job.run_now() for _ in range(2)]
        with anyio.fail_after(5):  # less than the tick that would find the second one anyway
            await first.wait()
            await job.modify(max_instances=2)
            await second.wait()
            gate.set()
            for run in runs:
                await run.wait()
