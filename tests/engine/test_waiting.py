"""Waiting for the end of a run."""

import pytest

from asyncsched import RunFailed, Scheduler

pytestmark = pytest.mark.anyio


async def double(number: int) -> int:
    return number * 2


async def fail() -> None:
    raise ValueError("no")


async def test_a_result_is_handed_over_even_if_the_ledger_keeps_no_runs() -> None:
    async with Scheduler() as scheduler:
        job = await scheduler.add_job(double, id="double", args=(1,), keep_runs=0, paused=True)
        run = await job.run_now(21)
        assert await run.wait() == 42
        assert await scheduler.get_runs(job_id="double") == []


async def test_a_failure_is_raised_from_the_recorded_text() -> None:
    async with Scheduler() as scheduler:
        run = await scheduler.run_job(fail)
        with pytest.raises(RunFailed, match="ValueError: no") as caught:
            await run.wait()
        assert caught.value.message == "no"
        assert "raise ValueError" in caught.value.traceback_text
