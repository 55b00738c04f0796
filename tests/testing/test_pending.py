"""`run_pending`: what is due now, to its end, and nothing else."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from asyncsched import JobDefaults, Limit, Retry, Run, Scheduler, SchedulerStateError, after, current_scheduler, every
from asyncsched.testing import VirtualClock, run_pending

pytestmark = pytest.mark.anyio


def scheduler(clock: VirtualClock | None, **options: Any) -> Scheduler:
    return Scheduler(clock=clock, timezone="UTC", shutdown_grace=0, **options)


def ended(runs: Sequence[Run[Any]]) -> list[tuple[str, str]]:
    return [(run.job_id, run.state) for run in runs]


async def tick() -> str:
    return "tock"


async def fail() -> None:
    raise ValueError("no")


async def test_what_is_due_runs_and_the_clock_stands_still() -> None:
    clock = VirtualClock()
    async with scheduler(clock) as s:
        for job_id in ("a", "b"):
            await s.add_job(tick, every(hours=1, start="now"), id=job_id)
        await s.add_job(fail, after(0), id="fails")
        await s.add_job(tick, every(hours=1), id="later")
        now = clock.now_us()
        runs = await run_pending(s)
        assert sorted(ended(runs)) == [("a", "succeeded"), ("b", "succeeded"), ("fails", "failed")]
        assert {run.result for run in runs} == {"tock", None}
        assert clock.now_us() == now
        assert await run_pending(s) == []
        clock.step(seconds=3600)  # an administrator sets the clock: nothing but this call looks at it
        assert sorted(ended(await run_pending(s))) == [("a", "succeeded"), ("b", "succeeded"), ("later", "succeeded")]


async def test_what_follows_at_once_belongs_to_it_and_what_waits_does_not() -> None:
    clock = VirtualClock()
    log: list[str] = []

    async def first() -> None:
        log.append("first")
        await current_scheduler().add_job(second, id="second")

    async def second() -> None:
        log.append("second")

    async def sleeper() -> None:
        await clock.sleep(30)

    async with scheduler(clock) as s:
        await s.add_job(first, id="first")
        await s.add_job(sleeper, id="sleeper")
        await s.add_job(tick, after(10), id="later")
        assert ended(await run_pending(s)) == [("first", "succeeded"), ("second", "succeeded")]
        assert log == ["first", "second"]
        assert [run.job_id for run in await s.get_runs(state="running")] == ["sleeper"]
        assert await run_pending(s) == []
        await clock.advance(seconds=30)
        assert [run.state for run in await s.get_runs(job_id="sleeper")] == ["succeeded"]


async def test_runs_that_the_ledger_drops_are_returned_too_in_the_order_of_their_ends() -> None:
    clock = VirtualClock()
    defaults = JobDefaults(keep_runs=1, coalesce="all")
    async with scheduler(clock, defaults=defaults) as s:
        await s.add_job(tick, every(minutes=1), id="tick")
        clock.step(seconds=180)
        runs = await run_pending(s)
        assert [run.fire_time.minute for run in runs] == [1, 2, 3]
        assert len(await s.get_runs(job_id="tick")) == 1


async def test_by_a_real_clock_it_waits_for_threads_as_well() -> None:
    def work(seconds: float) -> float:
        anyio.run(anyio.sleep, seconds)
        return seconds

    async with scheduler(None) as s:
        long_ago = datetime.now(UTC) - timedelta(days=1)
        await s.add_job(work, every(days=2, start=long_ago), id="work", executor="thread", args=[0.05],
                        next_run_time=long_ago)  # fmt: skip
        await s.add_job(tick, every(days=2), id="tomorrow")
        runs = await run_pending(s)
        assert [(run.job_id, run.result) for run in runs] == [("work", 0.05)]
        assert await run_pending(s) == []


async def test_where_it_would_do_nothing_or_never_end_it_is_refused() -> None:
    clock = VirtualClock()
    asked: list[str] = []

    async def asks() -> None:
        try:
            await run_pending(s)
        except SchedulerStateError as error:
            asked.append(str(error))

    s = scheduler(clock)
    with pytest.raises(SchedulerStateError, match="async with scheduler"):
        await run_pending(s)
    async with s:
        await s.add_job(asks, id="asks")
        assert ended(await run_pending(s)) == [("asks", "succeeded")]
        assert len(asked) == 1
        assert "a job cannot await it" in asked[0]
        await s.pause()
        with pytest.raises(SchedulerStateError, match="resume"):
            await run_pending(s)


async def test_runs_that_wait_for_a_retry_or_a_limit_are_left() -> None:
    clock = VirtualClock()

    async def sleeper() -> None:
        await clock.sleep(30)

    async with scheduler(clock) as s:
        await s.set_limit(Limit("one", concurrency=1))
        await s.add_job(fail, after(0), id="fails", retry=Retry(max_attempts=2, delay=60, jitter=False))
        await s.add_job(sleeper, id="holds", limit="one")
        assert await run_pending(s) == []
        await s.add_job(tick, id="waits", limit="one")
        assert await run_pending(s) == []
        waiting = await s.get_runs(state="pending")
        assert sorted((run.job_id, run.attempt) for run in waiting) == [("fails", 1), ("waits", 0)]
        clock.step(seconds=60)
        assert [(run.job_id, run.state, run.attempt) for run in await run_pending(s)] == [("fails", "failed", 2)]
